"""Exact unlearning: train again without the rows. The reference for every other method and every attack."""

from ..base import LabError
from ..training import fit
from .request import begin


def retrain(model, data, forget, *, build, epochs, lr, seed, batch_size=128, momentum=0.9, weight_decay=5e-4,
            schedule="onecycle", augment=None):
    """A new model trained on the retain set alone.

    build: seed -> freshly initialised network (the given `model` is only looked at to be replaced). With the seed
    and recipe of the original this is *same-seed retraining*: same initial weights, same batches less the forgotten
    rows, so that an empty request gives the original back bit for bit. With another seed it is *fresh-seed
    retraining*; two of them show how much retraining differs from itself.
    epochs, lr (peak of the schedule), batch_size in rows and the rest: as in `training.fit`.
    """
    _, forget, _ = begin(model, data, forget, lr=lr, seed=seed)
    if not callable(build):
        raise LabError(f"build is {build!r}: give a function from a seed to a fresh network.")
    return fit(build(seed), data.x, data.y, epochs=epochs, lr=lr, seed=seed, batch_size=batch_size,
               momentum=momentum, weight_decay=weight_decay, schedule=schedule, augment=augment, skip=forget)
