"""The three ways to find a mask, training and unlearning under it, and how it is measured."""

import copy
import functools

import torch
from torch import nn
from torch.nn.utils import parametrize

from labkit.base import LabError
from labkit.measure.accuracy import gap
from labkit.rules import checked, is_number
from labkit.training import fit
from labkit.unlearn.masks import apply_mask, fitting, keep_top, prunable
from labkit.unlearn.second_order import curvature_product


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
    """A copy of the model, pruned and trained with the pruned weights held at 0. recipe: fit's."""
    return detach_mask(fit(attach_mask(model, mask), x, y, **recipe), mask)


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


@checked(lr=None, steps=None)
def ascent_bound(model, initial, data, *, lr, steps, mask=None, n_rows=500, iterations=30,
                 seed=0) -> dict:
    """η² t ‖m ∘ (θ_t − θ_0)‖₂ σ(m), bounds ascent's distance to retraining, up to a constant.

    model: θ_t, after `steps` = t steps of training at rate `lr` = η from `initial` = θ_0; mask: m,
    or None for dense. -> bound, path (the norm), sigma: the largest singular value of the Hessian
    of the mean loss over the kept weights (biases count as kept), by power iteration on `n_rows`
    random training rows. The proposition takes for granted, and a real run breaks: plain SGD at
    one rate (else give the mean rate; a guide only); an expansion about θ_0, so that σ should be
    taken along the way and is taken at its end; one pass of ascent that undoes one descent; one
    mask for the original, the ascent and the retrained model. Compare values over sparsity, never
    with the measured distance. Source: Jia et al. 2023, Prop. 2, after Thudi et al. 2022.
    """
    mask = mask or {}
    start, end = fitting(initial, mask), fitting(model, mask)
    if [p.shape for p in start.values()] != [p.shape for p in end.values()]:
        raise LabError("The model and its initial state have weights of different shapes: give two "
                       "states of one network.")
    with torch.no_grad():
        gaps = [(end[k] - start[k]) * mask.get(k, True) for k in end]
        path = float(sum((g.cpu().double() ** 2).sum() for g in gaps) ** 0.5)
    sigma = _largest_curvature(attach_mask(model, mask).eval(), data, n_rows, iterations, seed)
    return {"bound": lr**2 * steps * path * sigma, "path": path, "sigma": sigma}


def _largest_curvature(net, data, n_rows, iterations, seed):
    params = {k: p.detach() for k, p in net.named_parameters()}
    draw = torch.Generator().manual_seed(seed)
    pick = torch.randperm(len(data.y), generator=draw)[:n_rows].to(data.y.device)
    x, y = data.x[pick], data.y[pick]
    v = {k: torch.randn(p.shape, generator=draw).to(p) for k, p in params.items()}
    for _ in range(iterations):
        size = _norm(v)
        v = curvature_product(net, params, x, y, {k: t / size for k, t in v.items()}, "hessian")
    return _norm(v)


def _norm(v):
    return float(sum((t**2).sum() for t in v.values()) ** 0.5)


def disparity(row, reference) -> float:
    """Mean of |method − retrained| over UA, MIA, RA and TA, in points (Jia et al. 2023). 0 is best.

    MIA: svc_mia's efficacy. For pruned models the reference is the retrained model of **the same
    sparsity**: it is weaker than the dense one, so that less disparity is not yet a better model.
    """
    return gap(row, reference, ("UA", "MIA", "RA", "TA"))


@torch.no_grad()
def weight_distance(a, b) -> float:
    """l2 distance of two models' parameters, matched by name; LabError for two architectures."""
    p, q = dict(a.named_parameters()), dict(b.named_parameters())
    if {k: t.shape for k, t in p.items()} != {k: t.shape for k, t in q.items()}:
        raise LabError("The two models have different parameters: a weight distance needs one "
                       "architecture.")
    return float(sum(((p[k] - q[k]).cpu().double() ** 2).sum() for k in p) ** 0.5)
