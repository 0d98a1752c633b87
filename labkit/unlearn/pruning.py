"""Pruning: masks, the three ways to find one (OMP, IMP, SynFlow), and training that keeps it.

A mask is a plain dict: name of a parameter -> bool tensor of its shape, True where the weight lives. Weight matrices
and convolutions are pruned, biases and normalisation never; `names` narrows it (Jia et al. 2023 prune convolutions
alone). Sparsity is the share of the named weights that is 0.
"""

import copy

import torch
from torch import nn
from torch.nn.utils import parametrize

from ..base import LabError
from ..rows import is_number, is_whole
from ..training import fit


def magnitude_mask(model, sparsity, names=None, within=None) -> dict:
    """Keep the largest weights by absolute value, over all layers together (global, unstructured, in one shot).

    sparsity: in [0, 1); exactly round(sparsity · n) of the n weights are pruned, of equal ones the first. within: an
    earlier mask that the new one must lie inside; sparsity counts what that one pruned.
    """
    return keep_top({k: p.detach().abs() for k, p in prunable(model, names).items()}, sparsity, within)


def synflow_mask(model, shape, sparsity, rounds=100, names=None) -> dict:
    """Prune an untrained network without data, so that no layer runs empty: rounds of global pruning by synflow_scores.

    shape: of one row. After round k of `rounds` the sparsity is 1 − (1 − s)^(k / rounds). rounds=1 is the one-shot
    version that empties layers. Source: Tanaka et al. 2020 (100 rounds there and in Jia et al. 2023).
    """
    _whole(rounds, "rounds")
    net, mask = copy.deepcopy(model).cpu(), None
    for k in range(1, rounds + 1):
        mask = keep_top(synflow_scores(net, shape, names), _part(sparsity, k, rounds), within=mask)
        apply_mask(net, mask)
    return {k: keep.to(next(model.parameters()).device) for k, keep in mask.items()}


def synflow_scores(model, shape, names=None) -> dict:
    """|w · ∂R/∂w| in double precision on the CPU: dict name -> tensor.

    R: sum of the outputs for a row of ones, with all parameters made positive. Without biases the scores of every
    layer of a chain add up to the same sum, R (conservation).
    """
    net = copy.deepcopy(model).cpu().double().eval()
    for p in net.parameters():
        p.data.abs_()
    weights = prunable(net, names)
    total = net(torch.ones(1, *shape, dtype=torch.double)).sum()
    slopes = torch.autograd.grad(total, list(weights.values()))
    return {k: w.detach() * g for (k, w), g in zip(weights.items(), slopes, strict=True)}


def omp(build, data, **settings):
    """One-shot magnitude pruning with rewinding: train, prune once, back to the early weights, train the sparse net.

    Costs two trainings. Settings as in imp, without rounds. Source: Ma et al. 2021; the default of Jia et al. 2023.
    """
    return imp(build, data, rounds=1, **settings)


def imp(build, data, *, sparsity, epochs, lr, seed, rounds=13, rewind=1, skip=None, dense=None, names=None, **recipe):
    """Iterative magnitude pruning with rewinding. -> (sparse model, mask).

    Train; then `rounds` times: prune the same share of what is left, put the survivors back to their values after
    `rewind` epochs (0: the initial ones), train on from that point of the schedule. Costs rounds + 1 trainings; 13
    rounds of 20 % make 95 %. build: seed -> fresh network; dense: the dense model trained by this very recipe, which
    saves the first training. skip: rows to leave out of everything: with the forget set this is retraining **with a
    new mask**, one that the forget set had no part in. The rest is fit's.
    Source: Frankle et al. 2020; 20 % a round in Jia et al. 2023 (rewinding to epoch 8 of 182).
    """
    _whole(rounds, "rounds")
    if not is_number(rewind) or not 0 <= rewind < epochs:
        raise LabError(f"rewind is {rewind!r}: give epochs from 0 to below the {epochs} of the training.")
    recipe = dict(epochs=epochs, lr=lr, seed=seed, skip=skip) | recipe
    _part(sparsity, 1, rounds)
    model = fit(build(seed), data.x, data.y, **recipe) if dense is None else dense
    early = fit(build(seed), data.x, data.y, span=(0, rewind), **recipe)
    mask = None
    for k in range(1, rounds + 1):
        mask = magnitude_mask(model, _part(sparsity, k, rounds), names, within=mask)
        model = fit_masked(early, mask, data.x, data.y, span=(rewind, epochs), **recipe)
    return model, mask


def fit_masked(model, mask, x, y, **recipe):
    """A copy of the model, pruned and then trained with the pruned weights held at 0. recipe: fit's settings."""
    return detach_mask(fit(attach_mask(model, mask), x, y, **recipe), mask)


def attach_mask(model, mask):
    """A copy that computes with weight · mask: whatever is done to it, gradients, momentum, weight decay, curvature
    or noise, the pruned weights take no part. Its parameters have other names until detach_mask."""
    net = apply_mask(copy.deepcopy(model), mask)
    for name, keep in mask.items():
        layer, _, weight = name.rpartition(".")
        module = net.get_submodule(layer)
        factor = torch.ones_like(getattr(module, weight)).detach().masked_fill_(~keep, 0)  # the weight's own layout
        parametrize.register_parametrization(module, weight, _Masked(factor), unsafe=True)
    return net


def detach_mask(model, mask):
    """Back to a plain network, in place: weight · mask becomes the weight. Checked with check_mask."""
    for name in mask:
        layer, _, weight = name.rpartition(".")
        module = model.get_submodule(layer)
        if parametrize.is_parametrized(module, weight):
            parametrize.remove_parametrizations(module, weight, leave_parametrized=True)
            for other in [k for k in module._parameters if k != weight]:  # torch puts the weight last: back in front
                module._parameters[other] = module._parameters.pop(other)
    return check_mask(model, mask)


class _Masked(nn.Module):
    def __init__(self, keep):
        super().__init__()
        self.register_buffer("keep", keep)

    def forward(self, weight):
        return weight * self.keep


def apply_mask(model, mask):
    """Set the weights outside the mask to 0, in place; returns the model."""
    weights = fitting(model, mask)
    with torch.no_grad():
        for name, keep in mask.items():
            weights[name].masked_fill_(~keep, 0)
    return model


def check_mask(model, mask):
    """The model, unless a weight outside the mask is not 0: then LabError. Momentum and weight decay revive them."""
    weights = fitting(model, mask)
    for name, keep in mask.items():
        alive = int((weights[name].detach()[~keep] != 0).sum())
        if alive:
            raise LabError(f"The mask was lost: {alive} of the {int((~keep).sum())} pruned weights of {name} are not "
                           "0; train with fit_masked, unlearn with prune_then.")
    return model


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


def fitting(model, mask) -> dict:
    """The model's parameters by name, if the mask belongs to it."""
    weights = dict(model.named_parameters())
    for name, keep in mask.items():
        if name not in weights or weights[name].shape != keep.shape:
            here = f"has {tuple(weights[name].shape)} there" if name in weights else "has no such weight"
            raise LabError(f"The mask belongs to another model: it covers {name} of shape {tuple(keep.shape)}, and "
                           f"this model {here}; compute the mask on this model.")
    return weights
