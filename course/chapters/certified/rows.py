"""Rows that the chapter learns from: small pictures, drawn anew for each model."""

from dataclasses import dataclass

import torch
from torch.nn.functional import adaptive_avg_pool2d

from labkit.base import LabError

MOST = 64  # numbers a row: a Hessian then fits in memory and in a minute


@dataclass(frozen=True)
class World:
    """Rows of one model, float64. x (n, d), y (n,), x_test, y_test; gone (m,): the request."""

    x: torch.Tensor
    y: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor
    gone: torch.Tensor
    k: int
    seed: int

    @property
    def stay(self) -> torch.Tensor:
        """The rows that stay."""
        keep = torch.ones(len(self.y), dtype=torch.bool)
        keep[self.gone] = False
        return keep.nonzero().squeeze(1)


def small(x) -> torch.Tensor:
    """Rows of at most 64 numbers each: pictures are averaged down, tables stay. -> (n, d) float64
    """
    if x.dim() == 4 and x[0].numel() > MOST:
        side = max(1, int((MOST / x.shape[1]) ** 0.5))
        x = adaptive_avg_pool2d(x, side)
    return x.flatten(1).double().cpu()


def pooled(data) -> tuple:
    """All rows of a data set, training and test. -> x (n, d) float64, y (n,)"""
    return (torch.cat([small(data.x), small(data.x_test)]),
            torch.cat([data.y, data.y_test]).cpu())


def world(data, seed, n, share=0.1) -> World:
    """Draw n training rows, as many test rows as are left up to n, and a tenth as the request."""
    x, y = pooled(data)
    n = min(n, int(0.75 * len(y)))
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    train, test = order[:n], order[n:2 * n]
    gone = torch.arange(10 * max(1, round(share * n / 10)))  # the order is random already
    return World(x[train], y[train], x[test], y[test], gone, data.n_classes, seed)


def two_classes(data, seed, n, classes=(0, 1)) -> World:
    """A world of two classes, y = -1 or 1, each row of length 1 as Guo et al. ask for."""
    a, b = classes
    x, y = pooled(data)
    keep = (y == a) | (y == b)
    x, y = x[keep], y[keep]
    n = min(n, int(0.75 * len(y)))
    if n < 20:
        raise LabError(f"Two classes have {len(y)} rows together: give data with more.")
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    x, y = unit(x)[order], torch.where(y[order] == a, -1.0, 1.0).double()
    return World(x[:n], y[:n], x[n:2 * n], y[n:2 * n], torch.arange(n // 2), 2, seed)


def unit(x) -> torch.Tensor:
    """Rows scaled to length 1."""
    return x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)
