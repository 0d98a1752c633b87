"""Exact unlearning: train again without the rows. The reference for every method and attack."""

from ..rules import checked
from ..training import fit
from .request import begin


@checked(epochs="passes, 0 or more")
def retrain(model, data, forget, *, build, epochs, lr, seed, batch_size=128, momentum=0.9,
            weight_decay=5e-4, schedule="onecycle", augment=None):
    """A new model trained on the retain set alone.

    build: seed -> fresh network; the rest is as in `training.fit`. With seed and recipe of the
    original this is *same-seed retraining*: same initial weights, same batches less the forgotten
    rows. Another seed makes it *fresh-seed retraining*, which differs from itself too.
    """
    _, forget, _ = begin(model, data, forget)
    return fit(build(seed), data.x, data.y, epochs=epochs, lr=lr, seed=seed, batch_size=batch_size,
               momentum=momentum, weight_decay=weight_decay, schedule=schedule, augment=augment,
               skip=forget)
