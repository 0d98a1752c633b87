"""Everything that is measured on one network: the step, its solvers, its distance, its promise."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from .network import fit_in_ball, fresh, full_hessian, gradient, right
from .promise import with_noise
from .rows import world
from .solvers import batch_products, by_cg, off


@dataclass(frozen=True)
class Spectrum:
    """H of the rows that stay, taken apart, so that every damping costs one product."""

    values: torch.Tensor
    vectors: torch.Tensor

    def solve(self, g, damping) -> torch.Tensor:
        """(H + damping · I)⁻¹ g."""
        return self.vectors @ ((self.vectors.T @ g) / (self.values + damping))

    @property
    def ends(self) -> tuple:
        """The least and the largest eigenvalue."""
        return float(self.values[0]), float(self.values[-1])


@dataclass(frozen=True)
class Trained:
    """A network in its ball, and what the provider knows of it."""

    task: object
    net: torch.nn.Module
    w: torch.Tensor
    spectrum: Spectrum
    g: torch.Tensor  # of the rows that stay
    rest: float  # G, the length of the gradient of all rows

    @property
    def stay(self):
        """x, y of the rows that stay."""
        return self.task.x[self.task.stay], self.task.y[self.task.stay]

    def residual(self, w) -> float:
        """Length of the retain set's gradient at w, over that at the trained weights."""
        return float(gradient(self.net, w, *self.stay).norm() / self.g.norm())

    def by_rows(self, rows) -> torch.Tensor:
        """The step's gradient if training on all rows has converged: −(m/(n − m)) ∇L(these)."""
        m, n = len(rows), len(self.task.y)
        return -m / (n - m) * gradient(self.net, self.w, self.task.x[rows], self.task.y[rows])


def train(data, cfg, seed, radius) -> Trained:
    """Draw rows, train in the ball, take the Hessian of the rows that stay apart."""
    task = world(data, seed, cfg.n, cfg.share)
    w = fit_in_ball(task, radius=radius, seed=seed, **cfg.recipe)
    net = fresh(task, cfg.recipe["hidden"], seed)
    x, y = task.x[task.stay], task.y[task.stay]
    spectrum = Spectrum(*torch.linalg.eigh(full_hessian(net, w, x, y)))
    return Trained(task, net, w, spectrum, gradient(net, w, x, y),
                   float(gradient(net, w, task.x, task.y).norm()))


def balls(data, cfg, seed) -> dict:
    """Test accuracy by the radius of the ball, also without one. -> radius -> percent"""
    task = world(data, seed, cfg.n, cfg.share)
    net = fresh(task, cfg.recipe["hidden"], seed)
    return {radius: right(net, fit_in_ball(task, radius=radius, seed=seed, **cfg.recipe),
                          task.x_test, task.y_test) for radius in (*cfg.radii, float("inf"))}


def sweep(t, dampings, reference=None) -> dict:
    """By damping: length of the step, residual, distance gained to the reference, accuracy.

    -> name -> (dampings,). The step: w − (H + λ I)⁻¹ ∇L, with the gradient of all rows that stay.
    """
    found = {"step": [], "residual": [], "gain": [], "accuracy": []}
    for damping in dampings:
        step = -t.spectrum.solve(t.g, damping)
        found["step"].append(float(step.norm()))
        found["residual"].append(t.residual(t.w + step))
        found["accuracy"].append(right(t.net, t.w + step, t.task.x_test, t.task.y_test))
        if reference is not None:
            found["gain"].append(nearer(t.w, t.w + step, reference))
    return {name: np.array(v) for name, v in found.items() if v}


def nearer(before, after, reference) -> float:
    """Distance before − after."""
    return float((before - reference).norm() - (after - reference).norm())


def lissa_curve(t, solve, scale, damping, cfg, seed, steps, batch=None) -> dict:
    """Relative error of LiSSA against the exact step. scale: in largest damped eigenvalues.

    -> at (steps,), error (steps,), seconds. solve: (g, product, scale, steps, watch) -> like g.
    """
    exact, errors = t.spectrum.solve(t.g, damping), []
    product = batch_products(t.net, t.w, *t.stay, damping=damping, batch=batch or cfg.batch,
                             copies=cfg.copies, seed=seed)
    begun = time.process_time()
    solve(t.g.expand(cfg.copies, -1), product, scale * (t.spectrum.ends[1] + damping), steps,
          lambda i, k: errors.append(off(k.mean(0), exact)))
    return {"error": np.array(errors), "seconds": time.process_time() - begun}


def first_below(errors, level) -> int:
    """The first step at which the error is below the level; one more than there are if never."""
    below = np.flatnonzero(np.asarray(errors) < level)
    return int(below[0]) + 1 if len(below) else len(errors) + 1


def cg_steps(t, damping, level=0.1, most=60) -> int:
    """Steps of conjugate gradients until the relative error is below the level."""
    exact = t.spectrum.solve(t.g, damping)
    for steps in range(1, most + 1):
        if off(by_cg(t.net, t.w, *t.stay, t.g, damping=damping, steps=steps), exact) < level:
            return steps
    return most + 1


def visits(t, cfg, *, retraining=False, lissa_steps=None, cg=None) -> float:
    """Rows differentiated: a gradient of a row counts 1, a product with its Hessian 2."""
    n = len(t.task.stay)
    if retraining:
        return cfg.recipe["epochs"] * n
    if lissa_steps is not None:
        return n + 2 * cfg.copies * cfg.batch * lissa_steps
    return n + 2 * n * cg


def one_after_the_other(t, damping, parts, cg) -> torch.Tensor:
    """The request in so many parts; each step starts from the weights without noise. -> (p,)"""
    w, n = t.w, len(t.task.y)
    keep = torch.ones(n, dtype=torch.bool)
    for rows in t.task.gone.chunk(parts):
        keep[rows] = False
        x, y = t.task.x[keep], t.task.y[keep]
        w = w - by_cg(t.net, w, x, y, gradient(t.net, w, x, y), damping=damping, steps=cg)
    return w


def trial(data, cfg, chosen, seed) -> dict:
    """One judged network: all that the claims and figures need. chosen: radius, damping, scale."""
    radius, damping = chosen["radius"], chosen["damping"]
    t = train(data, cfg, seed, radius)
    again = dict(cfg.recipe, radius=radius)
    begun = time.process_time()
    coupled = fit_in_ball(t.task, t.task.gone, seed=seed, **again)
    seconds = time.process_time() - begun
    stranger = fit_in_ball(t.task, t.task.gone, seed=seed + 1, **again)
    x_test, y_test = t.task.x_test, t.task.y_test
    others = t.task.stay[:len(t.task.gone)]
    w = {"all rows": t.w - t.spectrum.solve(t.g, damping),
         "deleted rows": t.w - t.spectrum.solve(t.by_rows(t.task.gone), damping),
         "other rows": t.w - t.spectrum.solve(t.by_rows(others), damping)}
    after = w["all rows"]
    curves = {name: lissa_curve(t, chosen["solve"], scale, damping, cfg, seed, steps)
              for name, scale, steps in (("chosen", chosen["scale"], chosen["steps"]),
                                         ("quarter", 0.25, cfg.diverging))}
    ten, once = (one_after_the_other(t, damping, parts, cfg.cg) for parts in (10, 1))
    far = {name: float((v - coupled).norm()) for name, v in (("ten", ten), ("once", once),
                                                              ("untouched", t.w))}
    enough = first_below(curves["chosen"]["error"], 0.1)
    sigmas = (*cfg.sigmas, *chosen["sigmas"])
    return {
        "t": {"ends": t.spectrum.ends, "rest": t.rest, "length": float(t.w.norm())},
        "sweep": sweep(t, cfg.dampings, coupled),
        "residual": {name: t.residual(v) for name, v in w.items()},
        "gain": {name: nearer(t.w, v, coupled) for name, v in w.items()},
        "to stranger": (float((t.w - stranger).norm()), float((after - stranger).norm())),
        "error": {name: c["error"][-1] for name, c in curves.items()},
        "visits": {"retraining": visits(t, cfg, retraining=True),
                   "lissa": visits(t, cfg, lissa_steps=enough),
                   "cg": visits(t, cfg, cg=cg_steps(t, damping))},
        "seconds": (seconds, curves["chosen"]["seconds"]),
        "far": far, "step": float((after - t.w).norm()),
        "noisy": with_noise(t.net, after, x_test, y_test, sigmas, seed, cfg.draws),
        "accuracy": {"original": right(t.net, t.w, x_test, y_test),
                     "step": right(t.net, after, x_test, y_test),
                     "coupled": right(t.net, coupled, x_test, y_test)}}
