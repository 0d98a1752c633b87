"""What every method does first with a deletion request."""

import copy

import torch

from ..base import Diverged
from ..data import check_forget
from ..rows import check_settings


def begin(model, data, forget, **settings):
    """Check request and settings (rows.RULES); return a copy of the model to work on, the forget and the retain rows.

    forget: training rows, each once. An empty request is allowed here: it asks for nothing and must change nothing.
    The copy is in evaluation mode, so that no method moves running statistics by looking at data.
    """
    check_settings(**settings)
    forget = check_forget(forget, len(data.y), allow_empty=True).to(data.x.device)
    keep = torch.ones(len(data.y), dtype=torch.bool, device=data.x.device)
    keep[forget] = False
    return copy.deepcopy(model).eval(), forget, keep.nonzero().squeeze(1)


def batches(rows, batch_size, generator):
    """The rows in a new order, cut into batches; the last one may be smaller."""
    order = torch.randperm(len(rows), generator=generator).to(rows.device)
    return rows[order].split(batch_size)


def finite(model, name, lr):
    """The model; Diverged when a step has blown its weights up."""
    if not all(torch.isfinite(p).all() for p in model.parameters()):
        raise Diverged(f"{name} diverged at strength {lr}: its weights are no longer finite; take a smaller one, or "
                       "look for NaN in the rows.")
    return model
