"""Pruning: masks, the three ways to find one (OMP, IMP, SynFlow), and training that keeps it.

A mask is a plain dict: name of a parameter -> bool tensor of its shape, True where the weight lives. Weight matrices
and convolutions are pruned, biases and normalisation never; `names` narrows it (Jia et al. 2023 prune convolutions
alone). Sparsity is the share of the named weights that is 0.
"""


import torch

from ..base import LabError
from ..rows import is_number, is_whole


def sparsity(model, threshold=0.0, names=None) -> float:
    """Share of the prunable weights with |w| ≤ threshold, from 0 to 1. After l1 few are exactly 0: give 1e-3, say."""
    w = torch.cat([p.detach().flatten() for p in prunable(model, names).values()])
    return int((w.abs() <= threshold).sum()) / len(w)


def prunable(model, names=None) -> dict:
    """name -> parameter for all weights of two or more dimensions, or for those in `names`."""
    weights = {k: p for k, p in model.named_parameters() if p.dim() > 1}
    if unknown := [n for n in names or () if n not in weights]:
        raise LabError(f"There is no weight {unknown[0]!r} to prune: choose from {', '.join(weights)}.")
    return weights if names is None else {k: weights[k] for k in weights if k in names}


def keep_top(scores, sparsity, within=None) -> dict:
    """Mask of the highest scores (≥ 0, dict name -> tensor) over all tensors together; ties: the first are pruned."""
    _part(sparsity, 1, 1)
    flat = torch.cat([s.flatten() for s in scores.values()])
    if not torch.isfinite(flat).all():
        raise LabError("A pruning score is NaN or infinite: look for the model that diverged.")
    if within is not None:
        flat = flat.masked_fill(~torch.cat([within[k].flatten() for k in scores]), -1)
    keep = torch.ones(len(flat), dtype=torch.bool, device=flat.device)
    keep[flat.argsort(stable=True)[: round(sparsity * len(flat))]] = False
    keep &= flat >= 0
    parts = keep.split([s.numel() for s in scores.values()])
    return {k: part.view(s.shape) for (k, s), part in zip(scores.items(), parts, strict=True)}


def _part(sparsity, k, rounds):
    """Sparsity after round k when every round prunes the same share of what is left."""
    if not is_number(sparsity) or not 0 <= sparsity < 1:
        raise LabError(f"sparsity is {sparsity!r}: give a share of the weights from 0 to below 1, for example 0.95.")
    return sparsity if k == rounds else 1 - (1 - sparsity) ** (k / rounds)


def _whole(value, name):
    if not is_whole(value) or value < 1:
        raise LabError(f"{name} is {value!r}: give a whole number, 1 or more.")


