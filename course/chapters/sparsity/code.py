"""The three ways to find a mask; training and unlearning under it."""

import copy
import functools

import torch
from torch import nn
from torch.nn.utils import parametrize

from labkit.base import LabError
from labkit.rules import checked, is_number
from labkit.training import fit
from labkit.unlearn.masks import apply_mask, fitting, keep_top, prunable


@checked
def magnitude_mask(model, sparsity, names=None, within=None) -> dict:
    """Keep the largest weights by absolute value, over all layers together (global, one shot).

    sparsity: in [0, 1); exactly round(sparsity · n) of the n weights are pruned, of equal ones the
    first. within: an earlier mask that the new one must lie inside.
    """
    return keep_top({k: p.detach().abs() for k, p in prunable(model, names).items()},
                    sparsity, within)


@checked
def synflow_mask(model, shape, sparsity, rounds=100, names=None) -> dict:
    """Prune an untrained network without data, so that no layer runs empty, by synflow_scores.

    shape: of one row. After round k of `rounds` the sparsity is 1 − (1 − s)^(k / rounds). rounds=1
    is the one-shot version that empties layers.
    Source: Tanaka et al. 2020 (100 rounds there and in Jia et al. 2023).
    """
    net, mask = copy.deepcopy(model).cpu(), None
    for k in range(1, rounds + 1):
        scores = synflow_scores(net, shape, names)
        mask = keep_top(scores, _after(sparsity, k, rounds), within=mask)
        apply_mask(net, mask)
    return {k: keep.to(next(model.parameters()).device) for k, keep in mask.items()}


def synflow_scores(model, shape, names=None) -> dict:
    """|w · ∂R/∂w| in double precision on the CPU: dict name -> tensor.

    R: sum of the outputs for a row of ones, with all parameters made positive. Without biases the
    scores of every layer of a chain add up to the same sum, R (conservation).
    """
    net = copy.deepcopy(model).cpu().double().eval()
    for p in net.parameters():
        p.data.abs_()
    weights = prunable(net, names)
    total = net(torch.ones(1, *shape, dtype=torch.double)).sum()
    slopes = torch.autograd.grad(total, list(weights.values()))
    return {k: w.detach() * g for (k, w), g in zip(weights.items(), slopes, strict=True)}


def omp(build, data, **settings):
    """One-shot magnitude pruning: train, prune once, back to the early weights, train the rest.

    Costs two trainings. Settings as in imp, without rounds.
    Source: Ma et al. 2021; the default of Jia et al. 2023.
    """
    return imp(build, data, rounds=1, **settings)


@checked(epochs=None, lr=None)
def imp(build, data, *, sparsity, epochs, lr, seed, rounds=13, rewind=1, skip=None, dense=None,
        names=None, **recipe):
    """Iterative magnitude pruning with rewinding. -> (sparse model, mask).

    Train; then `rounds` times: prune the same share of what is left, put the survivors back to
    their values after `rewind` epochs (0: the initial ones), train on from that point of the
    schedule. Costs rounds + 1 trainings; 13 rounds of 20 % make 95 %. build: seed -> fresh
    network; dense: the dense model trained by this very recipe, which saves the first training.
    skip: rows to leave out of everything: with the forget set this is retraining **with a new
    mask**, one that the forget set had no part in. The rest is fit's.
    Source: Frankle et al. 2020; 20 % a round in Jia et al. 2023 (rewinding to epoch 8 of 182).
    """
    if not is_number(rewind) or not 0 <= rewind < epochs:
        raise LabError(f"rewind is {rewind!r}: give epochs from 0 to below the {epochs} of the "
                       "training.")
    recipe = dict(epochs=epochs, lr=lr, seed=seed, skip=skip) | recipe
    model = fit(build(seed), data.x, data.y, **recipe) if dense is None else dense
    early = fit(build(seed), data.x, data.y, span=(0, rewind), **recipe)
    mask = None
    for k in range(1, rounds + 1):
        mask = magnitude_mask(model, _after(sparsity, k, rounds), names, within=mask)
        model = fit_masked(early, mask, data.x, data.y, span=(rewind, epochs), **recipe)
    return model, mask


def _after(sparsity, k, rounds):
    """Sparsity after round k when every round prunes the same share of what is left."""
    return sparsity if k == rounds else 1 - (1 - sparsity) ** (k / rounds)


def fit_masked(model, mask, x, y, **recipe):
    """A copy of the model, pruned and trained with the pruned weights held at 0. recipe: fit's.

    The gradient at a pruned weight is 0 before the optimiser sees it. Weight and velocity start at
    0 there, so they stay: bit for bit what attach_mask gives, in less time.
    """
    net, hooks = apply_mask(copy.deepcopy(model), mask), []
    weights = fitting(net, mask)
    for name, keep in mask.items():
        # ones_like, and a product: the layout in memory that attach_mask's weights have
        factor = torch.ones_like(weights[name]).detach().masked_fill_(~keep, 0)
        weights[name].data = weights[name].data * factor
        hooks.append(weights[name].register_hook(functools.partial(torch.mul, factor)))
    fit(net, x, y, **recipe)
    for hook in hooks:
        hook.remove()
    return check_mask(net, mask)


def finetune_masked(model, data, forget, *, mask, seed=0, schedule="constant", **settings):
    """unlearn.finetune of a pruned network that keeps its mask: prune_then's, in less time."""
    check_mask(model, mask)
    return fit_masked(model, mask, data.x, data.y, skip=forget, seed=seed, schedule=schedule,
                      **settings)


def attach_mask(model, mask):
    """A copy that computes with weight · mask, so that pruned weights take no part in anything.

    Not in gradients, momentum, weight decay, curvature or noise. Its parameters have other names
    until detach_mask.
    """
    net = apply_mask(copy.deepcopy(model), mask)
    for name, keep in mask.items():
        layer, _, weight = name.rpartition(".")
        module = net.get_submodule(layer)
        # ones_like: the weight's own layout
        factor = torch.ones_like(getattr(module, weight)).detach().masked_fill_(~keep, 0)
        parametrize.register_parametrization(module, weight, _Masked(factor), unsafe=True)
    return net


def detach_mask(model, mask):
    """Back to a plain network, in place: weight · mask becomes the weight, and is checked."""
    for name in mask:
        layer, _, weight = name.rpartition(".")
        module = model.get_submodule(layer)
        if parametrize.is_parametrized(module, weight):
            parametrize.remove_parametrizations(module, weight, leave_parametrized=True)
            for other in [k for k in module._parameters if k != weight]:
                # torch puts the weight last: back in front
                module._parameters[other] = module._parameters.pop(other)
    return check_mask(model, mask)


class _Masked(nn.Module):
    def __init__(self, keep):
        super().__init__()
        self.register_buffer("keep", keep)

    def forward(self, weight):
        return weight * self.keep


def check_mask(model, mask):
    """The model; LabError if a weight outside the mask is not 0: momentum and decay revive them."""
    weights = fitting(model, mask)
    for name, keep in mask.items():
        if alive := int((weights[name].detach()[~keep] != 0).sum()):
            raise LabError(f"The mask was lost: {alive} of the {int((~keep).sum())} pruned weights "
                           f"of {name} are not 0; train with fit_masked, unlearn with prune_then.")
    return model


def prune_then(method, mask):
    """The same method for a model pruned by `mask`: it works on the remaining weights alone.

    -> method(model, data, forget, *, settings). While it runs the network computes with
    weight · mask, so gradients, curvature and noise at pruned weights count for nothing; at the
    end weight · mask is written back (a projection for methods that add noise to all weights), and
    checked. prune_then(retrain, mask) is retraining **with the old mask**; the mask saw the forget
    set, so imp(..., skip=forget) is the clean reference. LabError when the given model is not
    pruned by the mask. Source: Jia et al. 2023, 'prune first, then unlearn'.
    """
    @functools.wraps(method)
    def on_pruned(model, data, forget, **settings):
        check_mask(model, mask)
        if "build" in settings:
            build = settings["build"]
            settings["build"] = lambda seed: attach_mask(build(seed), mask)
        return detach_mask(method(attach_mask(model, mask), data, forget, **settings), mask)

    return on_pruned
