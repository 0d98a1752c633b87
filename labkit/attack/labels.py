"""Which class was deleted? Probes of extreme confidence, whose fall tells it (Hu et al. 2024)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..rules import checked


@dataclass(frozen=True)
class Probes:
    """images (k, m, …): m probes a class, pixels in [0, 1].

    confidence (k, m): that the model gives their class; queries: rows asked for a probe, on average
    (0 where gradients were read).
    """

    images: torch.Tensor
    confidence: torch.Tensor
    queries: float


@checked
def probes_by_gradient(model, n_classes: int, count: int, *, shape, mean, std, steps=300, lr=0.05,
                       enough=0.9995, seed=0) -> Probes:
    """White-box probes: from noise, signed descent on the cross-entropy to each class.

    A probe that is sure enough stays as it is. count: probes a class; lr: step in pixels; enough:
    confidence. Source: Hu et al. 2024, Eq. 8.
    """
    x, labels = noise(n_classes, count, shape, seed, next(model.parameters()))
    for _ in range(steps):
        x.requires_grad_()
        logits = model((x - mean) / std)
        sure = logits.detach().softmax(1).gather(1, labels[:, None]).squeeze(1)
        open_ = sure < enough
        (g,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), x)
        x = (x.detach() - lr * g.sign() * open_.view(-1, *[1] * len(shape))).clamp(0, 1)
        if not open_.any():
            break
    with torch.no_grad():
        p = model((x - mean) / std).softmax(1).gather(1, labels[:, None])
    return Probes(x.view(n_classes, count, *shape), p.view(n_classes, count), 0.0)


def noise(n_classes, count, shape, seed, like):
    """Where probes start: images of clipped noise (k · count, …), and their classes."""
    draw = torch.Generator().manual_seed(seed)
    start = torch.randn(n_classes * count, *shape, generator=draw).clamp(0, 1)
    labels = torch.arange(n_classes, device=like.device)
    return start.to(like), labels.repeat_interleave(count)
