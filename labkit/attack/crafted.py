"""Rows crafted before training so that their deletion is the attack: clean labels, small perturbations."""

import torch
from torch.func import functional_call, grad

from ..base import LabError
from .requests import row_losses


def craft(model, x, y, target, adversarial, *, eps, steps=60, lr=0.1, low=None, high=None, seed=0):
    """Perturb rows x so that *removing* them pushes `target` towards the label `adversarial`. -> x + δ, ‖δ‖∞ ≤ eps.

    Gradient matching: minimise 1 − cos(Σ ∇ℓ(x_i + δ_i, y_i), −∇ℓ(target, adversarial)) over δ by Adam on signs, where
    removal moves along + Σ ∇ℓ. The labels y stay what they are. x (b, …), y (b,), target (…); eps in the units of x
    (normalised pixels); low, high: smallest and largest values an input may have, tensors or numbers.
    `model` is the attacker's own: crafted rows go into the victim's training before the victim exists.
    Source: reconstruction after Qian et al. 2023 (crafted requests); the recipe is gradient matching (Geiping et al.
    2021) with its sign turned.
    """
    if not eps >= 0:
        raise LabError(f"eps is {eps!r}: the largest change of a value must be 0 or more.")
    params = {k: p.detach() for k, p in model.named_parameters()}
    label = torch.as_tensor([int(adversarial)], device=x.device)
    wanted = grad(lambda p: row_losses(model, p, target[None], label).sum())(params)
    wanted = -torch.cat([g.flatten() for g in wanted.values()])
    delta = (2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) - 1).to(x.device) * eps / 2
    delta = delta.requires_grad_()
    optimizer = torch.optim.Adam([delta], lr=lr * eps)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def inside(d):
        d = d.clamp(-eps, eps)
        return d if low is None and high is None else (x + d).clamp(low, high) - x

    with torch.no_grad():
        delta.copy_(inside(delta))
    for _ in range(steps if eps else 0):
        g = grad(lambda p: row_losses(model, p, x + delta, y).sum())(params)
        flat = torch.cat([v.flatten() for v in g.values()])
        loss = 1 - torch.nn.functional.cosine_similarity(flat, wanted, dim=0)
        (gradient,) = torch.autograd.grad(loss, delta)
        delta.grad = gradient.sign()
        optimizer.step()
        rates.step()
        with torch.no_grad():
            delta.copy_(inside(delta))
    return (x + delta).detach()


def matching(model, x, y, target, adversarial) -> float:
    """Cosine between Σ ∇ℓ(x_i, y_i) and −∇ℓ(target, adversarial): 1 is what `craft` strives for."""
    params = {k: p.detach() for k, p in model.named_parameters()}

    def flat(xs, ys):
        g = grad(lambda p: torch.nn.functional.cross_entropy(functional_call(model, p, (xs,)), ys, reduction="sum"))
        return torch.cat([v.flatten() for v in g(params).values()])

    wanted = -flat(target[None], torch.as_tensor([int(adversarial)], device=x.device))
    return torch.nn.functional.cosine_similarity(flat(x, y), wanted, dim=0).item()
