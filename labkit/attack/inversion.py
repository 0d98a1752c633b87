"""Unlearning inversion: what the server that keeps both models reads from their difference.

Source: Hu et al. 2024.
"""

from dataclasses import dataclass, field
from itertools import repeat

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, vmap

from ..base import LabError, NotForThisData
from ..rules import checked
from ..training import predict
from .differences import unflat
from .requests import params_of

WEIGHTLESS = (nn.Flatten, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.Tanh, nn.Sigmoid, nn.Softplus)


@dataclass(frozen=True)
class Inversion:
    """What `invert` found. images (t, u, c, h, w): pixels in [0, 1]; labels (t, u).

    loss (t,): cosine distance plus TV at the end, the attack's own; frames: iteration -> images at
    that time.
    """

    images: torch.Tensor
    labels: torch.Tensor
    loss: torch.Tensor
    frames: dict = field(default_factory=dict)


def similarity(model, x, y, targets, mask=None) -> torch.Tensor:
    """Cosine of the gradient of the mean loss on each dummy batch with its target. -> (t,)

    Differentiable in x and y. x (t, u, …): t batches of u inputs; y (t, u) labels, or (t, u, k)
    probabilities; targets (t, d) of length 1. For chains of linear and convolutional layers all t
    gradients come from one pass; other networks go through vmap. mask: None, or (d,) or (t, d)
    bool, the coordinates that count, of the gradient and of the target.
    """
    if mask is not None:
        mask = torch.atleast_2d(mask)
        targets = F.normalize(targets * mask, dim=1)  # so that only the gradient needs the mask
    passed = _pass(model, x.flatten(0, 1)) if _is_chain(model) else None
    if passed is None:
        return _similarity_any(model, x, y, targets, mask)
    logits, layers, ins, outs = passed
    batches, sizes = x.shape[:2], [p.numel() for p in model.parameters()]
    loss = F.cross_entropy(logits, y.flatten(0, 1), reduction="sum") / batches[1]
    deltas = torch.autograd.grad(loss, outs, create_graph=True)  # rows do not meet in the sum
    parts = iter(targets.split(sizes, 1))
    counts = repeat(None) if mask is None else iter(mask.split(sizes, 1))
    dot, square = 0, 0
    for layer, i, d in zip(layers, ins, deltas, strict=True):
        terms = _conv_terms if isinstance(layer, nn.Conv2d) else _linear_terms
        along, length, bias = terms(layer, i, d, batches, next(parts), next(counts))
        dot, square = dot + along, square + length
        if layer.bias is not None:
            dot = dot + (bias * next(parts)).sum(1)
            square = square + _squares(bias, next(counts))
    return dot / square.clamp(min=1e-30).sqrt()


def _pass(model, a):
    """Through a chain: (logits, layers with weights, their inputs and outputs).

    None if a linear layer meets more than rows.
    """
    layers, ins, outs = [], [], []
    for layer in model:
        if not _weighs(layer):
            a = layer(a)
            continue
        if isinstance(layer, nn.Linear) and a.dim() > 2:
            return None
        layers.append(layer)
        ins.append(a)
        outs.append(a := layer(a))
    return a, layers, ins, outs


def _conv_terms(layer, i, d, batches, part, count):
    """Its weight's share of ⟨g, T⟩ and of ‖g‖², and the gradient of its bias.

    A convolution is a linear layer on patches, summed over positions.
    """
    i = F.unfold(i, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    i, d = i.unflatten(0, batches), d.flatten(2).unflatten(0, batches)
    weight = torch.einsum("tuol,tuil->toi", d, i).flatten(1)
    return (weight * part).sum(1), _squares(weight, count), d.sum((1, 3))


def _linear_terms(layer, i, d, batches, part, count):
    """The same for a linear layer, whose gradient g = Σ δ aᵀ is not formed.

    ⟨Σ δ aᵀ, T⟩ = Σ δᵀ T a, and its norm is a sum of inner products.
    """
    i, d = i.unflatten(0, batches), d.unflatten(0, batches)
    along = (d * (i @ part.view(-1, layer.out_features, layer.in_features).mT)).sum((1, 2))
    if count is None:
        return along, ((d @ d.mT) * (i @ i.mT)).sum((1, 2)), d.sum(1)
    return along, _squares((d.mT @ i).flatten(1), count), d.sum(1)  # no inner product knows a mask


def _squares(gradient, count):
    return (gradient.square() if count is None else gradient.square() * count).sum(1)


def total_variation(images) -> torch.Tensor:
    """Mean absolute difference of neighbours, across plus down: anisotropic TV.

    (…, c, h, w) -> (…).
    """
    across = (images[..., 1:] - images[..., :-1]).abs().mean((-3, -2, -1))
    return across + (images[..., 1:, :] - images[..., :-1, :]).abs().mean((-3, -2, -1))


@checked
def invert(model, targets, labels, *, shape, mean, std, steps, lr=0.1, tv=1e-2, signed=False,
           restarts=1, seed=0, frames=(), batch=1, mask=None) -> Inversion:
    """Search for the images whose gradient points where the target points: 1 − cosine + tv · TV.

    All targets at once. model: where the gradient is taken (θ, or θ_0 for the informed target).
    targets (t, d): only directions count. labels (t, u): taken as known; None: soft labels of
    `batch` images a target are searched for too (DLG). shape, mean, std: of an image and its
    normalisation. steps: iterations; lr: step of Adam in pixels, halved after 3/8, 5/8 and 7/8 of
    them; tv: a number, or (t,) one a target; signed: give Adam the sign of the gradient alone, as
    the released code does. Images stay in [0, 1]. restarts: starts from other noise, of which the
    smallest loss is kept, **never** the best picture. mask: None, or (d,) or (t, d) bool, the
    coordinates to compare.
    Source: Hu et al. 2024 with the search of Geiping et al. 2020.
    """
    if len(shape) != 3:
        raise NotForThisData("Inversion by search rebuilds images; tables need the closed form.")
    aim, mask = _directions(model, torch.atleast_2d(targets), mask)
    noise, like = torch.Generator().manual_seed(seed), next(model.parameters())
    k = predict(model, like.new_zeros(1, *shape)).shape[-1]
    labels = None if labels is None else _labels(labels, aim, k)
    t, u = len(aim) * restarts, batch if labels is None else labels.shape[1]
    images = torch.randn(t, u, *shape, generator=noise).to(like).clamp(0, 1).requires_grad_()
    soft = [torch.randn(t, u, k, generator=noise).to(like).requires_grad_()] * (labels is None)
    truth, aim, tv, mask = (None if v is None else v.repeat_interleave(restarts, 0) for v in
                            (labels, aim.to(like), _strengths(tv, len(aim)).to(like), mask))

    def losses():
        y = soft[0].softmax(2) if soft else truth
        cosine = similarity(model, (images - mean) / std, y, aim, mask)
        return 1 - cosine + tv * total_variation(images).mean(1)

    passing = _descend(losses, [images, *soft], steps, lr, signed, frames)
    final = losses().detach().view(-1, restarts)
    best = final.argmin(1) + restarts * torch.arange(len(final), device=final.device)
    found = soft[0].detach().argmax(2)[best] if soft else labels
    frames = {step: seen[best] for step, seen in passing.items()}
    return Inversion(frames[steps], found, final.min(1).values, frames)


def _descend(losses, searched, steps, lr, signed, frames):
    """Adam on the images, searched[0], and what else is searched for. -> step -> images then."""
    images, adam, seen = searched[0], torch.optim.Adam(searched, lr), {}
    for step in range(steps):
        if step in frames:
            seen[step] = images.detach().clone()
        halvings = sum(step >= share * steps for share in (3 / 8, 5 / 8, 7 / 8))
        adam.param_groups[0]["lr"] = lr * 0.5**halvings
        gradients = torch.autograd.grad(losses().sum(), searched)
        for part, g in zip(searched, gradients, strict=True):
            part.grad = g.sign() if signed else g
        adam.step()
        with torch.no_grad():
            images.clamp_(0, 1)
    return seen | {steps: images.detach()}


def _directions(model, targets, mask):
    """The targets (t, d) at length 1 where the mask counts, and the mask (t, d) or None."""
    if targets.dim() != 2 or not len(targets):
        raise LabError(f"The targets have the shape {tuple(targets.shape)}: give at least one "
                       "difference, (t, d).")
    unflat(model, targets[0])  # refuses vectors of another length
    if mask is not None:
        if mask.shape not in (targets.shape[1:], targets.shape):
            raise LabError(f"The mask is {tuple(mask.shape)} and the targets "
                           f"{tuple(targets.shape)}: give one for all targets, (d,), or one each, "
                           "(t, d).")
        mask = torch.atleast_2d(mask).expand(len(targets), -1)
        targets = targets * mask
    norm = targets.norm(dim=1, keepdim=True)
    if not norm.min() > 0 or not torch.isfinite(norm).all():
        raise LabError("A target is zero or not finite: where the model did not change there is "
                       "nothing to invert.")
    return targets / norm, mask


def _labels(labels, targets, k):
    """The labels as a tensor (t, u) of classes below k."""
    try:
        labels = torch.as_tensor(labels, device=targets.device)
    except ValueError:
        labels = torch.empty(0)  # rows of different lengths
    if labels.dim() != 2 or len(labels) != len(targets) or not labels.numel():
        raise LabError(f"There are {len(targets)} targets and labels of shape "
                       f"{tuple(labels.shape)}: give a row of labels for each target, (t, u), all "
                       "of one length.")
    if labels.dtype != torch.int64 or labels.min() < 0 or labels.max() >= k:
        raise LabError(f"The labels reach from {labels.min()} to {labels.max()}: give class "
                       f"indices (int64) from 0 to {k - 1}.")
    return labels


def _strengths(tv, t):
    """The weight of TV for each target. -> (t,)"""
    weights = torch.as_tensor(tv)
    if weights.numel() not in (1, t) or not weights.isfinite().all():
        raise LabError(f"tv is {tv}: give one finite number, or one for each of the {t} targets.")
    return weights.expand(t)


def _similarity_any(model, x, y, targets, mask=None):
    def loss(p, rows, labels):
        return F.cross_entropy(functional_call(model, p, (rows,)), labels)

    gradients = vmap(grad(loss), (None, 0, 0))(params_of(model), x, y)
    g = torch.cat([part.flatten(1) for part in gradients.values()], 1)
    g = g if mask is None else g * mask
    return (g * targets).sum(1) / g.square().sum(1).clamp(min=1e-30).sqrt()


def _is_chain(model):
    """Layers one after the other, each used once, none working in place."""
    return (isinstance(model, nn.Sequential) and len(set(map(id, model))) == len(model)
            and all(_weighs(m) or isinstance(m, WEIGHTLESS) and not getattr(m, "inplace", False)
                    for m in model))


def _weighs(m):
    """Has weights whose gradient has a closed form here."""
    if isinstance(m, nn.Conv2d):
        return m.groups == 1 and m.padding_mode == "zeros" and isinstance(m.padding, tuple)
    return isinstance(m, nn.Linear)
