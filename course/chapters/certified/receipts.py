"""Providers who issue a receipt for a deletion: real ones, and some that make it up."""

from dataclasses import dataclass

import torch

from labkit.base import LabError

from .convex import removal, solve

FAKES = ("nothing done", "a little noise", "noise, ids checked")  # they delete nothing
REAL, RETRAINED, OTHER = "removal", "retraining", "removal of other rows"


@dataclass(frozen=True)
class Receipt:
    """What the owner gets. It names a method and a promise; anybody can print that."""

    rows: tuple
    method: str = "certified removal (Newton step)"
    epsilon: float = 1.0
    delta: float = 1e-4


class Provider:
    """Holds the rows and a model; `delete(rows)` -> (weights, receipt), or LabError.

    kind: REAL, RETRAINED, OTHER or one of FAKES; `weights` are the ones that were released before.
    """

    __slots__ = ("_b", "_kind", "_lam", "_task", "weights")

    def __init__(self, kind, task, *, lam, b):
        self._kind, self._task, self._lam, self._b = kind, task, lam, b
        self.weights = solve(task.x, task.y, lam, b)

    def delete(self, rows):
        """New weights, and a receipt for these rows."""
        rows = list(rows)
        if self._kind not in FAKES[:2] and not all(0 <= i < len(self._task.y) for i in rows):
            raise LabError(f"The request names row {max(rows)}, which is not here: ask for rows "
                           "that are.")
        return self._work(rows), Receipt(tuple(rows))

    def _work(self, rows):
        w, n = self.weights, len(self._task.y)
        if self._kind == "nothing done":
            return w.clone()
        if "noise" in self._kind:
            g = torch.Generator().manual_seed(len(rows))
            return w + 0.01 * w.norm() / len(w) ** 0.5 * torch.randn(w.shape, generator=g).to(w)
        if self._kind == OTHER:
            rows = [n - 1 - i for i in range(len(rows))]
        if self._kind == RETRAINED:
            return retrained(self._task, rows, self._lam, self._b, w)
        keep = torch.ones(n, dtype=torch.bool)
        for i in rows:
            keep[i] = False
            w = removal(w, self._task.x[keep], self._task.y[keep], self._task.x[i],
                        self._task.y[i], self._lam)
        return w


def retrained(task, rows, lam, b, start=None) -> torch.Tensor:
    """The auditor's reference: the optimum without these rows, with the provider's own b."""
    keep = torch.ones(len(task.y), dtype=torch.bool)
    keep[list(rows)] = False
    return solve(task.x[keep], task.y[keep], lam, b, start)


def audit(provider, reference, rows, unknown, survives) -> list:
    """Three tests of one receipt. reference: the auditor's retrained weights. -> [bool] · 3

    survives: (before, after, reference, refused) -> (3,) bool. The auditor asks for the rows, and
    for one more id that no row has.
    """
    before = provider.weights
    after, _ = provider.delete(rows)
    try:
        provider.delete([*rows, unknown])
        refused = False
    except LabError:
        refused = True
    return [bool(t) for t in survives(before, after, reference, refused)]


def trial(task, *, lam, sigma, rows, survives) -> dict:
    """Every provider's receipt for the same rows, and the audit with the wrong b. -> kind -> tests

    Also "a hundredth of the step", and "nearer than it was": whether that one passes where the
    third test asks for no more than that.
    """
    g = torch.Generator().manual_seed(task.seed)
    b, other = (sigma * torch.randn(task.x.shape[1], generator=g, dtype=torch.float64)
                for _ in range(2))
    reference, unknown = retrained(task, rows, lam, b), len(task.y) + 7
    found = {kind: audit(Provider(kind, task, lam=lam, b=b), reference, rows, unknown, survives)
             for kind in (REAL, RETRAINED, *FAKES, OTHER)}
    real = Provider(REAL, task, lam=lam, b=b)
    found["another b"] = audit(real, retrained(task, rows, lam, other), rows, unknown, survives)
    before, (after, _) = real.weights, real.delete(rows)
    short = before + 0.01 * (after - before)
    found["a hundredth of the step"] = [bool(t) for t in survives(before, short, reference, True)]
    found["nearer than it was"] = [bool((short - reference).norm() < (before - reference).norm())]
    return found


def survives(before, after, reference, refused) -> torch.Tensor:
    """It changed; the unknown id was refused; retraining is nearer to it than before, and than the
    old model is to it. -> (3,) bool"""
    left = (after - reference).norm()
    nearer = left < min((before - reference).norm(), (after - before).norm())
    return torch.tensor([bool((before != after).any()), bool(refused), bool(nearer)])
