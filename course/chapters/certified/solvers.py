"""Solve (H + damping · I) s = g without H: LiSSA on small batches, conjugate gradients on all rows.

A *visit* is one row's gradient; a product with the Hessian of a row counts as two.
"""

import torch
from torch.func import vmap

from labkit.unlearn.second_order import conjugate_gradients

from .network import times_hessian


def batch_products(net, w, x, y, *, damping, batch, copies, seed):
    """Products with the damped Hessians of fresh small batches, one for each of the copies.

    -> product(v): (copies, p) -> (copies, p); each call draws `batch` rows a copy anew.
    """
    order = torch.Generator().manual_seed(seed)
    one = vmap(lambda v, xs, ys: times_hessian(net, w, xs, ys, v, damping))

    def product(v):
        rows = torch.randint(len(y), (copies, batch), generator=order)
        return one(v, x[rows], y[rows])
    return product


def lissa(g, product, scale, steps, watch=None) -> torch.Tensor:
    """K = g at first, then K = g + K − (H_t + λ I) K / scale, so many times; at the end K / scale.

    g (…, p), one row a copy; product: like g -> like g, with a fresh batch at each call; scale:
    above every eigenvalue it can meet. watch: called with (t, the estimates) after each step.
    Source: Agarwal et al. 2017, as in Zhang et al. 2024, Proposition 3.5. -> like g
    """
    k = g
    for t in range(steps):
        k = g + k - product(k) / scale
        if watch is not None:
            watch(t + 1, k / scale)
    return k / scale


def by_cg(net, w, x, y, g, *, damping, steps, tolerance=1e-6) -> torch.Tensor:
    """The same by conjugate gradients on all rows, with labkit's solver. -> (p,)"""
    one = vmap(lambda v: times_hessian(net, w, x, y, v, damping))
    found = conjugate_gradients(lambda d: {"w": one(d["w"])}, {"w": g[None]}, steps, tolerance)
    return found["w"][0]


def off(found, exact) -> float:
    """Relative error: |found − exact| / |exact|; infinite where it is no number."""
    error = float((found - exact).norm() / exact.norm())
    return error if error == error else float("inf")
