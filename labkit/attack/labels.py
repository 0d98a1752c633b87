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


def _noise(n_classes, count, shape, seed, like):
    if count < 1:
        raise LabError(f"{count} probes a class were asked for: give at least 1.")
    start = torch.randn(n_classes * count, *shape, generator=torch.Generator().manual_seed(seed)).clamp(0, 1)
    return start.to(like), torch.arange(n_classes, device=like.device).repeat_interleave(count)
