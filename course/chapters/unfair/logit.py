"""A logistic regression to the optimum, and three ways in which it forgets rows. Float64, numpy."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from labkit.base import Diverged
from labkit.unlearn.sisa import by_hash


@dataclass(frozen=True)
class Table:
    """Rows of a table. x (n, d); yes (n,): 1 where the favourable label stands; group (n,) 0 or 1.
    """

    x: np.ndarray
    yes: np.ndarray
    group: np.ndarray

    def __len__(self):
        return len(self.yes)

    def rows(self, at):
        return Table(self.x[at], self.yes[at], self.group[at])

    def without(self, gone):
        """All rows but these positions."""
        stays = np.ones(len(self), bool)
        stays[gone] = False
        return self.rows(stays)


def weights(yes, balanced) -> np.ndarray:
    """What each row's loss counts; they sum to 1. balanced: either label counts one half."""
    if not balanced:
        return np.full(len(yes), 1 / len(yes))
    return np.where(yes == 1, 0.5 / max(1, (yes == 1).sum()), 0.5 / max(1, (yes == 0).sum()))


def _design(x):
    return np.concatenate([np.ones((len(x), 1)), x], 1)


def answers(w, x) -> np.ndarray:
    """Probability of a yes. w (d + 1,), the intercept first; x (n, d) -> (n,)"""
    return expit(_design(x) @ w)


def gradients(w, table) -> np.ndarray:
    """∇ℓ of each row's own loss. -> (n, d + 1)"""
    return (answers(w, table.x) - table.yes)[:, None] * _design(table.x)


def hessian(w, table, ridge, balanced) -> np.ndarray:
    """Of the weighted loss and the ridge (not on the intercept). -> (d + 1, d + 1)"""
    p, x = answers(w, table.x), _design(table.x)
    h = (x * (weights(table.yes, balanced) * p * (1 - p))[:, None]).T @ x
    return h + np.diag(_penalty(w, ridge))


def _penalty(w, ridge):
    return np.r_[1e-9, np.full(len(w) - 1, ridge)]


def fit_logistic(table, ridge, balanced=True, steps=50) -> np.ndarray:
    """argmin Σ c_i ℓ_i + ridge/2 ‖w‖², by Newton's method with halved steps. -> (d + 1,)"""
    x, sign, c = _design(table.x), 2 * table.yes - 1, weights(table.yes, balanced)

    def loss(w):
        return c @ np.logaddexp(0, -sign * (x @ w)) + (_penalty(w, ridge) * w * w).sum() / 2

    w = np.zeros(x.shape[1])
    for _ in range(steps):
        gradient = c @ gradients(w, table) + _penalty(w, ridge) * w
        if np.abs(gradient).max() < 1e-9:
            return w
        step = np.linalg.solve(hessian(w, table, ridge, balanced), gradient)
        size, here = 1.0, loss(w)
        while loss(w - size * step) > here and size > 1e-6:
            size /= 2
        w = w - size * step
    if np.abs(gradient).max() > 1e-5:
        raise Diverged("The logistic regression found no optimum: give a larger ridge.")
    return w


def smooth_gap(w, table):
    """Mean probability of a yes among those who deserve it, group 0 less group 1, and its gradient.
    """
    p, x = answers(w, table.x), _design(table.x)
    slope, means = (p * (1 - p))[:, None] * x, []
    for g in (0, 1):
        at = (table.yes == 1) & (table.group == g)
        means.append((p[at].mean(), slope[at].mean(0)))
    return means[0][0] - means[1][0], means[0][1] - means[1][1]


def influence_on_gap(w, own, n, ridge, balanced=True) -> np.ndarray:
    """Change of the smooth gap when one own row is deleted, to first order. -> (m,)

    ∇Fᵀ H⁻¹ (g_i − ḡ) s, where ḡ is the mean gradient of the rows that share the deleted one's
    weight: with balanced weights those of its label, s = 1 / (2 (n_c − 1)); without all rows,
    s = 1 / (n − 1). n: rows of the whole training set; F, H and ḡ are taken on the own rows.
    """
    _, direction = smooth_gap(w, own)
    along = gradients(w, own) @ np.linalg.solve(hessian(w, own, ridge, balanced), direction)
    if not balanced:
        return (along - along.mean()) / (n - 1)
    change = np.empty(len(own))
    for label in (0, 1):
        at = own.yes == label
        n_c = at.mean() * n
        change[at] = (along[at] - along[at].mean()) / (2 * max(1.0, n_c - 1))
    return change


def first_order(w, table, gone, tau, balanced=True) -> np.ndarray:
    """w + τ Σ c_i ∇ℓ_i over the deleted rows: one step, nothing retrained. -> (d + 1,)"""
    c = weights(table.yes, balanced)[gone]
    return w + tau * c @ gradients(w, table.rows(gone))


def sisa_answers(table, x, ridge, shards, seed, gone=()) -> np.ndarray:
    """Mean answer of a regression a shard; shards are trained without the deleted rows. -> (n,)"""
    place = by_hash(len(table), shards, 1, seed)
    parts = [np.setdiff1d(place.rows(s, 1).numpy(), gone) for s in range(shards)]
    return np.mean([answers(fit_logistic(table.rows(part), ridge), x) for part in parts], 0)
