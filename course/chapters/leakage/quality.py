"""Forgetting quality F, the measure of the NeurIPS 2023 challenge, from models alone.

For each deleted row: how well can the best of many rules tell N unlearned models from N retrained
ones by their score on that row? The rules' errors give an ε, as in differential privacy; small ε,
large F. Source: `unlearning_evaluation/metric.py` and its report; two traps of that code are said
where they are avoided.
"""

import numpy as np

from labkit.base import LabError

BINS = 13  # of width 0.5 in ε, from 0 to 6.5
CONSTANT = 50.0  # ε where one side hardly moves, and is told at a glance


def rule_errors(one, other) -> tuple:
    """FPR and FNR of all rules that call a score `one`'s: above a limit, or inside an interval.

    one, other (N,): scores of the models to tell apart; `one` has the larger median for single
    limits, the smaller spread for intervals (both choices from the scores, as the source does).
    -> (r,), (r,): share of the negatives called positive, share of the positives missed.
    """
    a, b = np.asarray(one, float), np.asarray(other, float)
    limits = np.unique(np.r_[a, b])
    up, down = (a, b) if np.median(a) >= np.median(b) else (b, a)
    fpr, fnr = [(down >= t).mean() for t in limits], [(up < t).mean() for t in limits]
    peak, wide = (a, b) if a.std() <= b.std() else (b, a)
    below = {x: np.searchsorted(np.sort(s), limits, "left") for x, s in (("p", peak), ("w", wide))}
    upto = {x: np.searchsorted(np.sort(s), limits, "right") for x, s in (("p", peak), ("w", wide))}
    i, j = np.triu_indices(len(limits))
    caught, called = ((upto[x][j] - below[x][i]) / len(a) for x in ("p", "w"))
    return np.r_[fpr, called], np.r_[fnr, 1 - caught]


def epsilon(one, other, delta: float = 1e-5) -> float:
    """The largest ε that one of the rules' errors proves, for one row. one, other (N,).

    max(log(1 − δ − FPR) − log FNR, log(1 − δ − FNR) − log FPR), not below 0. A rule with both
    errors 0 proves ε = ∞; one with exactly one of them 0 is left out, for N models cannot show an
    error of 0. So ε is ln(N − 1) at most, or ∞. Where the scores of one side differ by less than
    1 % of the other side's, ε = 50.
    """
    one, other = np.asarray(one, float), np.asarray(other, float)
    if one.shape != other.shape or one.ndim != 1 or len(one) < 2:
        raise LabError(f"Forgetting quality compares N models with N: {one.shape} and "
                       f"{other.shape} were given.")
    if min(np.ptp(one), np.ptp(other)) < 0.01 * max(np.ptp(one), np.ptp(other)):
        return CONSTANT
    fpr, fnr = rule_errors(one, other)
    if ((fpr == 0) & (fnr == 0)).any():
        return float("inf")
    both = (fpr > 0) & (fnr > 0)
    fpr, fnr = fpr[both], fnr[both]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.r_[np.log(np.clip(1 - delta - fpr, 0, None)) - np.log(fnr),
                      np.log(np.clip(1 - delta - fnr, 0, None)) - np.log(fpr)]
    return float(max(found.max(initial=0.0), 0.0))


def forgetting_quality(unlearned, retrained, delta: float = 1e-5) -> float:
    """F: the mean over rows of H, which is 1 for ε below 0.5, half of it for the next bin, …

    unlearned, retrained (N, m): scores of N models each on the m deleted rows. H = 2 / 2^b with b
    the bin of ε, of width 0.5, from 1 to 13; beyond 6.5 it is 0. -> 0 to 1.
    """
    eps = np.array([epsilon(u, r, delta) for u, r in zip(np.asarray(unlearned).T,
                                                         np.asarray(retrained).T, strict=True)])
    bins = np.floor(np.minimum(eps, 99) / 0.5) + 1
    return float(np.where(bins <= BINS, 2.0 ** (1 - bins), 0.0).mean())
