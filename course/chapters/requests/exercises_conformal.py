"""Exercise of notebook 03 on prediction sets: the conformal threshold."""

import math

import numpy as np
import torch

from course.exercises.engine import Exercise

# ---------------- 3.5 conformal_threshold


def conformal_threshold(scores, alpha):
    """The ⌈(n + 1)(1 − α)⌉-th smallest score; 1.0 when there are fewer. (n,), float -> float"""
    import math

    rank = math.ceil((len(scores) + 1) * (1 - alpha))
    if rank > len(scores):
        return 1.0
    return scores.sort().values[rank - 1].item()


def _calibration_cases():
    # (n + 1)(1 − α) is either exact in binary, or far from a whole number: rounding does not decide the rank
    g, cases = torch.Generator().manual_seed(35), []
    for what, n, alpha in (("a rank that is not whole", 12, 0.1), ("a rank that is whole", 15, 0.25),
                           ("the rank of the largest score", 7, 0.125), ("many scores", 200, 0.1),
                           ("too few scores", 5, 0.1), ("far too few scores", 2, 0.01), ("one score, enough", 1, 0.5),
                           ("one score, too few", 1, 0.25), ("half of them", 10, 0.5), ("large alpha", 9, 0.97),
                           ("another level", 30, 0.2)):
        cases.append((what, (0.05 + 0.9 * torch.rand(n, generator=g), alpha)))
    return cases + [("tied scores", (torch.tensor([.5, .2, .5, .2, .7, .2, .5]), 0.375))]


def _at_rank(scores, rank):
    """The score of this rank, from 1; 1.0 when there are fewer."""
    return scores.sort().values[rank - 1].item() if rank <= len(scores) else 1.0


def _rank(scores, alpha):
    return math.ceil((len(scores) + 1) * (1 - alpha))


def _interpolated(scores, alpha):
    """The plain quantile, between two scores"""
    return torch.quantile(scores, 1 - alpha).item()


def _no_plus_one(scores, alpha):
    """Rank n (1 − α), without the + 1"""
    return _at_rank(scores, math.ceil(len(scores) * (1 - alpha)))


def _floor(scores, alpha):
    """The rank is rounded down"""
    return _at_rank(scores, math.floor((len(scores) + 1) * (1 - alpha)))


def _alpha(scores, alpha):
    """α instead of 1 − α"""
    return _at_rank(scores, _rank(scores, 1 - alpha))


def _largest(scores, alpha):
    """The largest score when there are too few"""
    return _at_rank(scores, min(_rank(scores, alpha), len(scores)))


def _crash(scores, alpha):
    """No answer when there are too few scores"""
    return scores.sort().values[_rank(scores, alpha) - 1].item()


def _infinite(scores, alpha):
    """Infinity when there are too few scores"""
    return _at_rank(scores, _rank(scores, alpha)) if _rank(scores, alpha) <= len(scores) else math.inf


def _from_zero(scores, alpha):
    """The rank counts from 0"""
    rank = _rank(scores, alpha)
    return 1.0 if rank >= len(scores) else _at_rank(scores, rank + 1)


def _higher(scores, alpha):
    """np.quantile of rank / n with method 'higher'"""
    level = min(_rank(scores, alpha) / len(scores), 1.0)
    return float(np.quantile(scores.numpy(), level, method="higher"))


def _unsorted(scores, alpha):
    """The scores are not sorted"""
    rank = _rank(scores, alpha)
    return scores[rank - 1].item() if rank <= len(scores) else 1.0


CONFORMAL = Exercise(
    id="3.5", title="A threshold that keeps its promise",
    trains="the conformal quantile: where the + 1 comes from, and what to do with too few rows",
    difficulty=3, minutes=10, points=2, solution=conformal_threshold, cases=_calibration_cases,
    hints=("The score of a new row is equally likely to take each of the n + 1 places among the calibration scores. "
           "Take the smallest threshold that keeps it in at least a share 1 − alpha of them.",
           "rank = ⌈(n + 1)(1 − α)⌉; the threshold is the score of that rank in ascending order, from 1, and 1.0 if "
           "the rank is larger than n.",
           "Get the rank with `math.ceil`. If it is larger than the number of scores, give 1.0. Else sort the scores, "
           "and take the one at the rank less 1, as a float: positions count from 0."),
    mistakes=(
        (_interpolated, "this is the plain quantile, between two scores. It has no + 1 for the new row, so it covers "
                        "too few: take the score at the rank."),
        (_no_plus_one, "your rank forgets the new row: it is one of n + 1, so multiply n + 1 by 1 − alpha."),
        (_floor, "you rounded the rank down: that covers less than 1 − alpha. Round up."),
        (_alpha, "you took alpha for 1 − alpha: alpha is the share of rows that may be missed."),
        (_largest, "with too few scores you gave the largest one: it promises less than 1 − alpha. Give 1.0, so that "
                   "the set holds all classes."),
        (_crash, "with a small n the rank exceeds the number of scores, and there is no such entry: give 1.0 then."),
        (_infinite, "with too few scores you gave infinity, as papers do. Scores here are 1 − p: give 1.0, which is "
                    "enough to take in all classes."),
        (_from_zero, "you are one score too high: the rank counts from 1, positions from 0."),
        (_higher, "np.quantile with 'higher' spreads the levels over n − 1 steps, so it lands one score too high. "
                  "Sort, and take the score at the rank."),
        (_unsorted, "your scores are not sorted: the rank is a place in ascending order."),
    ),
    remark="`measure.conformal_threshold` takes probabilities and labels, and makes the scores 1 − p itself.",
)
