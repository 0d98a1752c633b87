"""Certified removal for a convex model: Guo et al. 2020, and the budget that fills up."""

import math
from dataclasses import dataclass, field

import torch

from labkit.base import Diverged


def gradient(w, x, y, lam, b) -> torch.Tensor:
    """Of Σ log(1 + e^(−y w·x)) + λ n |w|² / 2 + b·w. x (n, d), y (n,) in {−1, 1} -> (d,)"""
    pull = -y * torch.sigmoid(-y * (x @ w))
    return x.T @ pull + lam * len(x) * w + b


def hessian(w, x, lam) -> torch.Tensor:
    """Second derivative of the same sum. -> (d, d)"""
    s = torch.sigmoid(x @ w)
    return (x * (s * (1 - s))[:, None]).T @ x + lam * len(x) * torch.eye(x.shape[1]).to(x)


def solve(x, y, lam, b=None, start=None, steps=50) -> torch.Tensor:
    """The one optimum of the sum, by Newton's method. -> (d,); Diverged where it is not reached."""
    b = torch.zeros(x.shape[1]).to(x) if b is None else b
    w = torch.zeros_like(b) if start is None else start.clone()
    for _ in range(steps):
        g = gradient(w, x, y, lam, b)
        if g.norm() < 1e-9:
            return w
        step, t = torch.linalg.solve(hessian(w, x, lam), g), 1.0
        while t > 1e-4 and gradient(w - t * step, x, y, lam, b).norm() >= g.norm():
            t /= 2  # too far: far from the optimum the bowl is another one
        w = w - t * step
    raise Diverged("The optimum was not reached: raise the regularisation lam.")


def budget(sigma, epsilon, delta) -> float:
    """How large the gradient that is left may get: σ ε / c, with δ = 1.5 e^(−c²/2)."""
    return sigma * epsilon / math.sqrt(2 * math.log(1.5 / delta))


def removal(w, x, y, x_gone, y_gone, lam) -> torch.Tensor:
    """Weights without one row: w + H⁻¹ Δ, with H of the rows that stay, Δ of the row that goes.

    Source: Guo et al. 2020, equation 2; here for sums, so that Δ = λ w + ∇ℓ.
    """
    pull = -y_gone * torch.sigmoid(-y_gone * (x_gone @ w))
    return w + torch.linalg.solve(hessian(w, x, lam), lam * w + pull * x_gone)


def bound(x, step) -> float:
    """What one removal adds at most to the gradient: ¼ ‖X‖₂ |s| |X s| (their Corollary 1)."""
    largest = torch.linalg.eigvalsh(x.T @ x)[-1].clamp(min=0).sqrt()
    return float(largest * step.norm() * (x @ step).norm() / 4)


@dataclass
class Ledger:
    """What a provider writes down: after each removal, the bound so far and the true gradient."""

    budget: float
    bounds: list = field(default_factory=list)  # cumulated
    residuals: list = field(default_factory=list)  # length of the true gradient
    own: list = field(default_factory=list)  # (what this removal added, its own bound)
    untouched: list = field(default_factory=list)  # the gradient had nothing been done
    removals: int = 0
    full: bool = False
    first: torch.Tensor | None = None  # the weights before any removal
    w: torch.Tensor | None = None


def remove_one_by_one(remove, task, order, *, lam, sigma, epsilon=1.0, delta=1e-4, limit=None,
                      b=None, watch=True) -> Ledger:
    """Delete rows in this order until the budget is full; the removal that overruns is not counted.

    remove: (w, x, y, x_gone, y_gone, lam) -> w, one row at a time. The provider knows b and
    starts from the exact optimum. watch: note the true gradient too, which no provider needs.
    """
    g = torch.Generator().manual_seed(task.seed)
    b = sigma * torch.randn(task.x.shape[1], generator=g, dtype=torch.float64) if b is None else b
    w = first = solve(task.x, task.y, lam, b)
    keep = torch.ones(len(task.y), dtype=torch.bool)
    ledger = Ledger(budget(sigma, epsilon, delta), first=first, w=w)
    spent, before = 0.0, torch.zeros_like(w)
    for i in order[:limit].tolist():
        keep[i] = False
        x, y = task.x[keep], task.y[keep]
        new = remove(w, x, y, task.x[i], task.y[i], lam)
        own = bound(x, new - w)
        if spent + own > ledger.budget:
            ledger.full = True
            break
        w, spent = new, spent + own
        ledger.removals, ledger.w = ledger.removals + 1, w
        ledger.bounds.append(spent)
        if watch:
            now = gradient(w, x, y, lam, b)
            ledger.residuals.append(float(now.norm()))
            ledger.own.append((float((now - before).norm()), own))
            ledger.untouched.append(float(gradient(first, x, y, lam, b).norm()))
            before = now
    return ledger


def accuracy(w, x, y) -> float:
    """Share of rows on the right side, in percent."""
    return 100 * float((y * (x @ w) > 0).double().mean())
