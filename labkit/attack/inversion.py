"""Unlearning inversion: what the server that keeps both models can read from their difference (Hu et al. 2024)."""

from dataclasses import dataclass, field
from itertools import repeat

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, vmap

from ..base import LabError, NotForThisData
from ..rows import check_settings
from ..training import predict
from .differences import unflat

WEIGHTLESS = (nn.Flatten, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.Tanh, nn.Sigmoid, nn.Softplus)


@dataclass(frozen=True)
class Inversion:
    """What `invert` found. images (t, u, c, h, w): pixels in [0, 1]; labels (t, u); loss (t,): cosine distance plus
    TV at the end, the attack's own; frames: iteration -> images at that time."""

    images: torch.Tensor
    labels: torch.Tensor
    loss: torch.Tensor
    frames: dict = field(default_factory=dict)


def leak(model, target, mask=None) -> torch.Tensor:
    """The input of the first linear layer, in closed form. target (d,) -> (inputs of that layer,), as the model saw it.

    Unit i of that layer has dL/dW_i = (dL/db_i) · input, so for one deleted row any unit with dL/db_i ≠ 0 gives the
    input away; the units are averaged by (dL/db_i)². On an mlp the input is the image itself. mask: None, or (d,) bool,
    the coordinates to believe (see attack.kept); an input without any comes out as 0. Source: Phong et al. 2017;
    Geiping et al. 2020, Prop. 3.1.
    """
    found = next((k for k, m in model.named_modules() if isinstance(m, nn.Linear) and m.bias is not None), None)
    if found is None:
        raise LabError("The model has no linear layer with a bias, and the leak reads inputs from one.")
    gradient = unflat(model, target.double())
    weight, bias = (gradient[f"{found}.{k}".lstrip(".")] for k in ("weight", "bias"))
    if mask is None:
        return bias @ weight / bias.square().sum().clamp(min=1e-300)
    believed = unflat(model, mask.double())
    bias, counts = bias * believed[f"{found}.bias".lstrip(".")], believed[f"{found}.weight".lstrip(".")]
    return bias @ (weight * counts) / (bias.square() @ counts).clamp(min=1e-300)


def similarity(model, x, y, targets, mask=None) -> torch.Tensor:
    """Cosine of the gradient of the mean loss on each dummy batch with its target. -> (t,), differentiable in x and y.

    x (t, u, …): t batches of u inputs; y (t, u) labels, or (t, u, k) probabilities; targets (t, d) of length 1. For
    chains of linear and convolutional layers all t gradients come from one pass; other networks go through vmap.
    mask: None, or (d,) or (t, d) bool, the coordinates that count, of the gradient and of the target.
    """
    if mask is not None:
        mask = torch.atleast_2d(mask)
        targets = F.normalize(targets * mask, dim=1)  # 0 where masked, so that only the gradient's norm needs the mask
    if not _is_chain(model):
        return _similarity_any(model, x, y, targets, mask)
    t, u = x.shape[:2]
    a, ins, outs = x.flatten(0, 1), [], []
    for m in model:
        if _plain(m):
            if isinstance(m, nn.Linear) and a.dim() > 2:
                return _similarity_any(model, x, y, targets, mask)
            ins.append(a)
            outs.append(m(a))
        a = outs[-1] if _plain(m) else m(a)
    loss = F.cross_entropy(a, y.flatten(0, 1), reduction="sum") / u
    deltas = torch.autograd.grad(loss, outs, create_graph=True)  # rows do not meet, so the sum keeps them apart
    sizes = [p.numel() for p in model.parameters()]
    parts, counts = iter(targets.split(sizes, 1)), repeat(1) if mask is None else iter(mask.split(sizes, 1))
    dot, square = 0, 0
    for m, i, d in zip((m for m in model if _plain(m)), ins, deltas, strict=True):
        if isinstance(m, nn.Conv2d):  # a convolution is a linear layer on patches, summed over positions
            i = F.unfold(i, m.kernel_size, m.dilation, m.padding, m.stride).unflatten(0, (t, u))
            d = d.flatten(2).unflatten(0, (t, u))
            weight = torch.einsum("tuol,tuil->toi", d, i).flatten(1)
            dot, square = dot + (weight * next(parts)).sum(1), square + (weight.square() * next(counts)).sum(1)
            bias = d.sum((1, 3))
        else:  # the gradient Σ δ aᵀ is not formed: ⟨Σ δ aᵀ, T⟩ = Σ δᵀ T a, and its norm is a sum of inner products
            i, d = i.unflatten(0, (t, u)), d.unflatten(0, (t, u))
            dot = dot + (d * (i @ next(parts).view(t, m.out_features, m.in_features).mT)).sum((1, 2))
            if mask is None:
                square = square + ((d @ d.mT) * (i @ i.mT)).sum((1, 2))
            else:  # no inner product knows the mask
                square = square + ((d.mT @ i).flatten(1).square() * next(counts)).sum(1)
            bias = d.sum(1)
        if m.bias is not None:
            dot, square = dot + (bias * next(parts)).sum(1), square + (bias.square() * next(counts)).sum(1)
    return dot / square.clamp(min=1e-30).sqrt()


def total_variation(images) -> torch.Tensor:
    """Mean absolute difference of neighbours, across plus down: anisotropic TV. (…, c, h, w) -> (…)."""
    across = (images[..., 1:] - images[..., :-1]).abs().mean((-3, -2, -1))
    return across + (images[..., 1:, :] - images[..., :-1, :]).abs().mean((-3, -2, -1))


def invert(model, targets, labels, *, shape, mean, std, steps, lr=0.1, tv=1e-2, signed=False, restarts=1, seed=0,
           frames=(), batch=1, mask=None) -> Inversion:
    """Search for the images whose gradient points where the target points: 1 − cosine + tv · TV, all targets at once.

    model: where the gradient is taken (θ, or θ_0 for the informed target). targets (t, d): only directions count.
    labels (t, u): taken as known; None: soft labels of `batch` images a target are searched for too (DLG). shape, mean,
    std: of an image and its normalisation. steps: iterations; lr: step of Adam in pixels, halved after 3/8, 5/8 and
    7/8 of them; tv: a number, or (t,) one a target; signed: give Adam the sign of the gradient alone, as the released
    code does. Images stay in [0, 1]. restarts: starts from other noise, of which the smallest loss is kept, **never**
    the best picture. mask: None, or (d,) or (t, d) bool, the coordinates to compare (see attack.kept).
    Source: Hu et al. 2024 with the search of Geiping et al. 2020.
    """
    if len(shape) != 3:
        raise NotForThisData("Inversion by search rebuilds images; for tables use attack.rebuild_row.")
    targets = torch.atleast_2d(targets)
    if targets.dim() != 2 or not len(targets):
        raise LabError(f"The targets have the shape {tuple(targets.shape)}: give at least one difference, (t, d).")
    unflat(model, targets[0])  # refuses vectors of another length
    if labels is not None:
        try:
            labels = torch.as_tensor(labels, device=targets.device)
        except ValueError:
            labels = torch.empty(0)  # rows of different lengths
        if labels.dim() != 2 or len(labels) != len(targets) or not labels.numel():
            raise LabError(f"There are {len(targets)} targets and labels of shape {tuple(labels.shape)}: give a row of "
                           "labels for each target, (t, u), all of one length.")
    if mask is not None:
        if mask.shape not in (targets.shape[1:], targets.shape):
            raise LabError(f"The mask is {tuple(mask.shape)} and the targets {tuple(targets.shape)}: give one for all "
                           "targets, (d,), or one each, (t, d).")
        mask = torch.atleast_2d(mask).expand(len(targets), -1)
        targets = targets * mask
    if not (norm := targets.norm(dim=1, keepdim=True)).min() > 0 or not torch.isfinite(norm).all():
        raise LabError("A target is zero or not finite: where the model did not change there is nothing to invert.")
    check_settings(lr=lr, seed=seed, steps=steps, batch=batch, restarts=restarts)
    if torch.as_tensor(tv).numel() not in (1, len(targets)) or not torch.as_tensor(tv).isfinite().all():
        raise LabError(f"tv is {tv}: give one finite number, or one for each of the {len(targets)} targets.")
    t, like = len(targets) * restarts, next(model.parameters())
    aim = (targets / norm).to(like.dtype).repeat_interleave(restarts, 0)
    mask = mask if mask is None else mask.repeat_interleave(restarts, 0)
    strength = torch.as_tensor(tv).to(like).expand(len(targets)).repeat_interleave(restarts)
    u = batch if labels is None else labels.shape[1]
    noise = torch.Generator().manual_seed(seed)
    images = torch.randn(t, u, *shape, generator=noise).to(like).clamp(0, 1).requires_grad_()
    if labels is None:
        k = predict(model, images[0].detach()).shape[-1]
        soft = torch.randn(t, u, k, generator=noise).to(like).requires_grad_()
    searched = [images] + ([soft] if labels is None else [])
    truth = None if labels is None else _checked(labels, model, images).repeat_interleave(restarts, 0)
    adam, kept = torch.optim.Adam(searched, lr), {}

    def losses():
        y = soft.softmax(2) if labels is None else truth
        cosine = similarity(model, (images - mean) / std, y, aim, mask)
        return 1 - cosine + strength * total_variation(images).mean(1)

    for step in range(steps):
        if step in frames:
            kept[step] = images.detach().clone()
        adam.param_groups[0]["lr"] = lr * 0.5 ** sum(step >= share * steps for share in (3 / 8, 5 / 8, 7 / 8))
        gradients = torch.autograd.grad(losses().sum(), searched)
        for part, g in zip(searched, gradients, strict=True):
            part.grad = g.sign() if signed else g
        adam.step()
        with torch.no_grad():
            images.clamp_(0, 1)
    final = losses().detach().view(-1, restarts)
    best = final.argmin(1) + restarts * torch.arange(len(targets), device=final.device)
    found = soft.detach().argmax(2)[best] if labels is None else labels
    kept[steps] = images.detach()
    return Inversion(kept[steps][best], found, final.min(1).values, {s: v[best] for s, v in kept.items()})


def _similarity_any(model, x, y, targets, mask=None):
    params = {k: p.detach() for k, p in model.named_parameters()}

    def loss(p, rows, labels):
        return F.cross_entropy(functional_call(model, p, (rows,)), labels)

    gradients = vmap(grad(loss), (None, 0, 0))(params, x, y)
    g = torch.cat([part.flatten(1) for part in gradients.values()], 1)
    g = g if mask is None else g * mask
    return (g * targets).sum(1) / g.square().sum(1).clamp(min=1e-30).sqrt()


def _is_chain(model):
    """Layers one after the other, each used once, none working in place."""
    return (isinstance(model, nn.Sequential) and len(set(map(id, model))) == len(model)
            and all(_plain(m) or isinstance(m, WEIGHTLESS) and not getattr(m, "inplace", False) for m in model))


def _plain(m):
    conv = isinstance(m, nn.Conv2d) and m.groups == 1 and m.padding_mode == "zeros" and isinstance(m.padding, tuple)
    return conv or isinstance(m, nn.Linear)


def _checked(labels, model, images):
    k = predict(model, images[0].detach()).shape[-1]
    if labels.dtype != torch.int64 or labels.min() < 0 or labels.max() >= k:
        raise LabError(f"The labels reach from {labels.min()} to {labels.max()}: give class indices (int64) from 0 to "
                       f"{k - 1}.")
    return labels
