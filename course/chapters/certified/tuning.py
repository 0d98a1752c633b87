"""Settings, chosen on other seeds than those judged; each rule in one function."""

import numpy as np
import torch

from . import convex
from .deep import balls, first_below, lissa_curve, sweep
from .rows import two_classes

LAMBDAS = (0.001, 0.003, 0.01, 0.03, 0.1)
SIGMAS = (0.3, 1.0, 3.0, 10.0)


def smallest_ball(data, cfg, seeds, allowed=1.0) -> tuple:
    """The smallest radius that costs at most one point of test accuracy. -> radius, table"""
    found = [balls(data, cfg, seed) for seed in seeds]
    mean = {radius: float(np.mean([f[radius] for f in found])) for radius in found[0]}
    fit = [r for r in cfg.radii if mean[r] >= mean[float("inf")] - allowed]
    return min(fit, default=max(cfg.radii)), mean


def damping_of(trained, dampings, within=1.1) -> tuple:
    """The largest damping whose residual is within a tenth of the least. -> damping, residuals

    More damping makes the theorem's bound smaller, so of nearly equal ones the largest is taken.
    """
    found = np.mean([sweep(t, dampings)["residual"] for t in trained], 0)
    fit = [d for d, r in zip(dampings, found, strict=True) if r <= within * found.min()]
    return max(fit), found


def lissa_setting(trained, solve, damping, cfg, level=0.05) -> tuple:
    """The scale that comes below half of the claim's error soonest, and in how many steps.

    -> scale, steps (a quarter more than it took here), took: scale -> steps, curves: scale ->
    (steps,) error on the first network
    """
    curves = {scale: [lissa_curve(t, solve, scale, damping, cfg, 7, cfg.lissa_steps)["error"]
                      for t in trained] for scale in cfg.scales}
    took = {scale: float(np.mean([first_below(c, level) for c in of_scale]))
            for scale, of_scale in curves.items()}
    scale = min(took, key=took.get)
    steps = min(cfg.lissa_steps, int(1.25 * took[scale]))
    return scale, steps, took, {s: c[0] for s, c in curves.items()}


def regularisation(data, cfg, seeds) -> tuple:
    """λ and σ with most removals, at most `cfg.allowed` points below the best λ without noise.

    -> (lam, sigma), table: (lam, sigma) -> (removals, accuracy), best accuracy without noise
    """
    tasks, found = [two_classes(data, seed, cfg.pair_rows) for seed in seeds], {}
    plain = {lam: np.mean([convex.accuracy(convex.solve(t.x, t.y, lam), t.x_test, t.y_test)
                           for t in tasks]) for lam in LAMBDAS}
    for lam in LAMBDAS:
        for sigma in SIGMAS:
            done = [convex.remove_one_by_one(convex.removal, t, torch.arange(cfg.limit), lam=lam,
                                             sigma=sigma, watch=False) for t in tasks]
            found[lam, sigma] = (np.mean([d.removals for d in done]),
                                 np.mean([convex.accuracy(d.first, t.x_test, t.y_test)
                                          for d, t in zip(done, tasks, strict=True)]))
    best = max(plain.values())
    fit = [s for s, (_, accuracy) in found.items() if accuracy >= best - cfg.allowed]
    return max(fit or found, key=lambda s: found[s][0]), found, max(plain, key=plain.get)
