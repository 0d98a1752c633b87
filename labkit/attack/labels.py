"""Which class was deleted? Probes of extreme confidence, and how far each class's confidence falls (Hu et al. 2024)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..base import LabError


@dataclass(frozen=True)
class Probes:
    """images (k, m, …): m probes a class, pixels in [0, 1]; confidence (k, m) that the model gives their class;
    queries: rows asked for a probe, on average (0 where gradients were read)."""

    images: torch.Tensor
    confidence: torch.Tensor
    queries: float


def probes_by_gradient(model, n_classes: int, count: int, *, shape, mean, std, steps=300, lr=0.05, enough=0.9995,
                       seed=0) -> Probes:
    """White-box probes: from noise, signed descent on the cross-entropy to each class; a probe that is sure enough
    stays as it is. count: probes a class; lr: step in pixels; enough: confidence. Source: Hu et al. 2024, Eq. 8.
    """
    x, labels = _noise(n_classes, count, shape, seed, next(model.parameters()))
    for _ in range(steps):
        x.requires_grad_()
        logits = model((x - mean) / std)
        open_ = logits.detach().softmax(1).gather(1, labels[:, None]).squeeze(1) < enough
        (g,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), x)
        x = (x.detach() - lr * g.sign() * open_.view(-1, *[1] * len(shape))).clamp(0, 1)
        if not open_.any():
            break
    with torch.no_grad():
        p = model((x - mean) / std).softmax(1).gather(1, labels[:, None])
    return Probes(x.view(n_classes, count, *shape), p.view(n_classes, count), 0.0)


def probes_by_queries(box, n_classes: int, count: int, *, shape, mean, std, steps=100, coordinates=64, lr=0.1, h=1e-2,
                      enough=0.9995, seed=0) -> Probes:
    """Black-box probes: the same search by zeroth-order coordinate descent (ZOO, Chen et al. 2017) with Adam.

    box: attack.BlackBox. Each of `steps` iterations asks 2 · `coordinates` answers a probe, symmetric differences of
    h pixels at random coordinates; a probe that is sure enough asks no more. lr falls to a fifth at confidence 0.9.
    """
    x, labels = _noise(n_classes, count, shape, seed, mean)
    flat, draw, asked = x.flatten(1), torch.Generator().manual_seed(seed + 1), box.queries
    first, second, times = (torch.zeros_like(flat) for _ in range(3))
    if not 0 < coordinates <= flat.shape[1]:
        raise LabError(f"{coordinates} coordinates of {flat.shape[1]}: give at least 1 and at most all of them.")

    def confidence(rows, y):
        return box((rows.view(-1, *shape) - mean) / std).gather(1, y[:, None]).squeeze(1)

    p = confidence(flat, labels)
    for _ in range(steps):
        open_ = (p < enough).nonzero().squeeze(1)
        if not len(open_):
            break
        where = torch.rand(len(open_), flat.shape[1], generator=draw).topk(coordinates).indices.to(flat.device)
        rows = flat[open_, None].repeat(1, 2 * coordinates, 1)
        at = torch.cat([where, where], 1)[..., None]
        nudge = torch.cat([torch.full_like(where, 1), torch.full_like(where, -1)], 1)[..., None] * h
        rows.scatter_add_(2, at, nudge.to(rows))
        loss = -confidence(rows.flatten(0, 1), labels[open_].repeat_interleave(2 * coordinates)).clamp(min=1e-12).log()
        up, down = loss.view(len(open_), 2, coordinates).unbind(1)
        g, i = (up - down) / (2 * h), (open_[:, None], where)
        times[i] += 1
        first[i], second[i] = 0.9 * first[i] + 0.1 * g, 0.999 * second[i] + 0.001 * g**2
        step = first[i] / (1 - 0.9 ** times[i]) / ((second[i] / (1 - 0.999 ** times[i])).sqrt() + 1e-8)
        rate = torch.where(p[open_] > 0.9, lr / 5, lr)[:, None]
        flat[i] = (flat[i] - rate * step).clamp(0, 1)
        p[open_] = confidence(flat[open_], labels[open_])
    return Probes(flat.view(n_classes, count, *shape), p.view(n_classes, count), (box.queries - asked) / len(flat))


def confidence_change(before, after, probes: Probes, *, mean, std) -> torch.Tensor:
    """Mean over each class's probes of p_u(class | probe) − p(class | probe). -> (k,).

    before, after: attack.BlackBox of the two models. Changes are of the order 1e-5 to 1e-2: answers that are rounded
    to a few digits hide them. Source: Hu et al. 2024, Eqs. 9 and 10.
    """
    k, m = probes.images.shape[:2]
    x, labels = (probes.images.flatten(0, 1) - mean) / std, torch.arange(k, device=mean.device).repeat_interleave(m)
    p, p_u = (box(x).double().gather(1, labels[:, None]).view(k, m) for box in (before, after))
    return (p_u - p).mean(1)


def deleted_classes(change, count: int = 1) -> torch.Tensor:
    """The `count` classes whose confidence fell most. (k,) -> (count,). Source: Hu et al. 2024, Eq. 11."""
    if not 0 < count <= len(change):
        raise LabError(f"{count} classes were asked for and there are {len(change)}.")
    return change.argsort()[:count]


def label_of_update(model, target, count: int = 1) -> torch.Tensor:
    """Labels of `count` deleted rows from the last layer's bias, without any search. target (d,) -> (count,) sorted.

    The gradient of that bias is the mean of p − onehot(y): one row makes its own label's entry the only negative
    one. For more rows, the most negative entry is named, 1/count is added back, and so on (which ignores p, so it
    is a guess). Source: Zhao et al. 2020 (iDLG) for one row.
    """
    *_, (name, bias) = model.named_parameters()
    if not name.endswith("bias") or bias.dim() != 1:
        raise LabError("The model's last parameter is not a bias: the label is read from the last layer's bias.")
    if not target.any() or len(target) != sum(p.numel() for p in model.parameters()) or not 0 < count <= len(target):
        raise LabError(f"The target has {len(target)} numbers, {'some' if target.any() else 'none'} of them not 0, and "
                       f"{count} labels were asked for: give a difference of two versions of this model.")
    p_minus_y = target[-len(bias):].clone()
    p_minus_y /= -p_minus_y[p_minus_y < 0].sum()  # the size of the step is not known; the negative part is about −1
    found = []
    for _ in range(count):
        found.append(int(p_minus_y.argmin()))
        p_minus_y[found[-1]] += 1 / count
    return torch.tensor(sorted(found))


def _noise(n_classes, count, shape, seed, like):
    if count < 1:
        raise LabError(f"{count} probes a class were asked for: give at least 1.")
    start = torch.randn(n_classes * count, *shape, generator=torch.Generator().manual_seed(seed)).clamp(0, 1)
    return start.to(like), torch.arange(n_classes, device=like.device).repeat_interleave(count)
