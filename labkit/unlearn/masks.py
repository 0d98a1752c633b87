"""Which weights stay when a network is pruned: one order over all layers.

A mask is a plain dict: name of a parameter -> bool tensor of its shape, True where the weight
lives. Weight matrices and convolutions are pruned, biases and normalisation never; `names` narrows
it (Jia et al. 2023 prune convolutions alone). Sparsity: share of the named weights that is 0.
"""

import torch

from ..base import Diverged, LabError
from ..rules import checked


def sparsity(model, threshold=0.0, names=None) -> float:
    """Share of the prunable weights with |w| ≤ threshold, from 0 to 1.

    After l1 few are exactly 0: give 1e-3, say.
    """
    w = torch.cat([p.detach().flatten() for p in prunable(model, names).values()])
    return int((w.abs() <= threshold).sum()) / len(w)


def prunable(model, names=None) -> dict:
    """name -> parameter for all weights of two or more dimensions, or for those in `names`."""
    weights = {k: p for k, p in model.named_parameters() if p.dim() > 1}
    if unknown := [n for n in names or () if n not in weights]:
        known = ", ".join(weights)
        raise LabError(f"There is no weight {unknown[0]!r} to prune: choose from {known}.")
    return weights if names is None else {k: weights[k] for k in weights if k in names}


@checked(sparsity="from 0 to 1")
def keep_top(scores, sparsity, within=None) -> dict:
    """Mask of the highest scores (≥ 0, name -> tensor) over all tensors together.

    Exactly round(sparsity · n) of the n are pruned, of equal ones the first. within: an earlier
    mask that the new one must lie inside; sparsity counts what that one pruned.
    """
    flat = torch.cat([s.flatten() for s in scores.values()])
    if not torch.isfinite(flat).all():
        raise Diverged("A pruning score is NaN or infinite: look for the model that diverged.")
    if within is not None:
        flat = flat.masked_fill(~torch.cat([within[k].flatten() for k in scores]), -1)
    keep = torch.ones(len(flat), dtype=torch.bool, device=flat.device)
    keep[flat.argsort(stable=True)[: round(sparsity * len(flat))]] = False
    keep &= flat >= 0
    parts = keep.split([s.numel() for s in scores.values()])
    return {k: part.view(s.shape) for (k, s), part in zip(scores.items(), parts, strict=True)}


def apply_mask(model, mask):
    """Set the weights outside the mask to 0, in place; returns the model."""
    weights = fitting(model, mask)
    with torch.no_grad():
        for name, keep in mask.items():
            weights[name].masked_fill_(~keep, 0)
    return model


def fitting(model, mask) -> dict:
    """The model's parameters by name, if the mask belongs to it."""
    weights = dict(model.named_parameters())
    for name, keep in mask.items():
        w = weights.get(name)
        if w is None or w.shape != keep.shape:
            here = "has no such weight" if w is None else f"has {tuple(w.shape)} there"
            raise LabError(f"The mask belongs to another model: it covers {name} of shape "
                           f"{tuple(keep.shape)}, and this model {here}; compute the mask on "
                           "this model.")
    return weights
