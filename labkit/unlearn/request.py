"""What every method does with a deletion request, and exact unlearning, the reference of all."""

import copy

import torch

from ..base import Diverged
from ..rows import check_forget
from ..rules import checked
from ..training import fit, kept


def begin(model, data, forget):
    """Check the request; return a copy of the model to work on, the forget and the retain rows.

    forget: training rows, each once. None at all is allowed here: an empty request changes nothing.
    The copy is in evaluation mode: no method moves running statistics by looking at data.
    """
    forget = check_forget(forget, len(data.y), allow_empty=True).to(data.x.device)
    keep = kept(len(data.y), forget, data.x.device)
    return copy.deepcopy(model).eval(), forget, keep.nonzero().squeeze(1)


def batches(rows, batch_size, generator):
    """The rows in a new order, cut into batches; the last one may be smaller."""
    order = torch.randperm(len(rows), generator=generator).to(rows.device)
    return rows[order].split(batch_size)


def finite(model, name, lr):
    """The model; Diverged when a step has blown its weights up."""
    if not all(torch.isfinite(p).all() for p in model.parameters()):
        raise Diverged(f"{name} diverged at strength {lr}: lower it, or look for NaN in the rows.")
    return model


@checked(epochs="passes, 0 or more")
def retrain(model, data, forget, *, build, epochs, lr, seed, batch_size=128, momentum=0.9,
            weight_decay=5e-4, schedule="onecycle", augment=None):
    """A new model trained on the retain set alone.

    build: seed -> fresh network; the rest is as in `training.fit`. With seed and recipe of the
    original this is *same-seed retraining*: same initial weights, same batches less the forgotten
    rows; another seed makes it *fresh-seed retraining*.
    """
    _, forget, _ = begin(model, data, forget)
    return fit(build(seed), data.x, data.y, epochs=epochs, lr=lr, seed=seed, batch_size=batch_size,
               momentum=momentum, weight_decay=weight_decay, schedule=schedule, augment=augment,
               skip=forget)
