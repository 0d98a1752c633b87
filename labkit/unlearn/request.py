"""What every method does first with a deletion request."""

import copy

import torch

from ..base import Diverged
from ..rows import check_forget
from ..training import kept


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
