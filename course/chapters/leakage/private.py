"""A linear classifier with differential privacy: gradient descent, each row clipped, plus noise."""

import math

import torch

from labkit.base import spawn_seeds
from labkit.defend.privacy import gaussian_epsilon

from .sides import collected


def clipped_sum(weights, x, y, keep, clip) -> torch.Tensor:
    """Sum over kept rows of each row's gradient of the cross-entropy, of length `clip` at most.

    weights (v, d + 1, k): v models; x (n, d + 1), last column 1; y (n,); keep (v, n) bool.
    A row's gradient is x ⊗ (p − onehot(y)), so its length is |x| · |p − onehot(y)|. -> like weights
    """
    v, d, k = weights.shape
    side_by_side = weights.transpose(0, 1).reshape(d, v * k)  # one product for all models
    p = (x @ side_by_side).view(-1, v, k).softmax(2)
    residual = p - torch.nn.functional.one_hot(y, k)[:, None]
    length = x.norm(dim=1)[:, None] * residual.norm(dim=2)
    scale = keep.T * (clip / length.clamp(min=1e-12)).clamp(max=1)
    summed = x.T @ (residual * scale[..., None]).flatten(1)
    return summed.view(d, v, k).transpose(0, 1)


def fit_private(x, y, k, gone, seeds, *, sigma, steps=30, lr=30.0, clip=1.0) -> torch.Tensor:
    """Linear models on all rows but `gone`, each with noise of its own. -> (v, d + 1, k).

    Each step: the clipped sum, plus N(0, (σ · clip)²) on every weight, over n. Source: Abadi et al.
    2016, with all rows in every batch. gone, seeds: one a model; **a released model never shares
    its noise with another**, for equal noise cancels in their difference. sigma = 0: no privacy.
    """
    x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    x = x / x.norm(dim=1).mean()
    keep = torch.ones(len(seeds), len(x), dtype=torch.bool, device=x.device)
    for left, rows in zip(keep, gone, strict=True):
        left[rows] = False
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    weights = torch.zeros(len(seeds), x.shape[1], k, device=x.device)
    for _ in range(steps):
        step = clipped_sum(weights, x, y, keep, clip)
        if sigma:
            noise = torch.stack([torch.randn(x.shape[1], k, generator=g) for g in draws])
            step = step + sigma * clip * noise.to(step)
        weights = weights - lr / len(x) * step
    return weights


def private_versions(side, planned, *, sigma, steps=30):
    """Versions of linear models trained with privacy (or with sigma = 0, without). -> Pairs"""
    made = []
    for plan in planned:
        x, y = side.x[plan.rows], side.y[plan.rows]
        seeds = spawn_seeds(plan.seed, len(plan.gone) + 1, "noise")
        weights = fit_private(x, y, side.k, [[], *plan.gone], seeds, sigma=sigma, steps=steps)
        length = torch.cat([x, torch.ones_like(x[:, :1])], 1).norm(dim=1).mean()
        first, *later = (_answering(w, length) for w in weights)
        made.append((plan, first, later))
    return collected(side, made)


def _answering(w, length):
    return lambda x: ((x @ w[:-1] + w[-1]) / length).softmax(1)


def epsilon_of(sigma, steps, delta) -> float:
    """The exact ε at delta of so many noisy steps on all rows.

    They are one Gaussian mechanism with μ = √steps / σ.
    """
    return gaussian_epsilon(math.sqrt(steps) / sigma if sigma else math.inf, delta)
