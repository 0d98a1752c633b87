"""Exercise of notebook 10 on gates: a threshold from benign scores."""

import math
from statistics import NormalDist

import torch

from course.exercises.engine import Exercise

# ---------------- 10.2 threshold


def threshold(scores, share):
    """The smallest of the scores with at most a share of all scores strictly above it. (n,), float -> float"""
    fits = [t for t in scores.tolist() if (scores > t).sum().item() / len(scores) <= share]
    return min(fits)


def _score_cases():
    # where count / n can equal the share, the share is exact in binary: no rounding decides a case
    g, cases = torch.Generator().manual_seed(62), []
    for what, n, share in (("a quarter of the scores", 20, 0.25), ("a share between two counts", 30, 0.05),
                           ("many scores", 150, 0.01), ("exactly two scores", 16, 0.125),
                           ("too few scores for the share", 5, 0.1), ("nearly one score", 9, 0.1),
                           ("a large share", 11, 0.7), ("no score may lie above", 12, 0.0),
                           ("all scores may lie above", 8, 1.0), ("one score", 1, 0.5)):
        cases.append((what, (torch.randn(n, generator=g, dtype=torch.float64), share)))
    return cases + [
        ("skewed scores", (torch.rand(40, generator=g, dtype=torch.float64).log().neg(), 0.125)),
        ("ties above the threshold", (torch.tensor([1., 2, 2, 2, 3, 4, 4, 0]), 0.25)),
        ("ties at the threshold", (torch.tensor([3., 5, 3, 3, 1, 3, 6, 2]), 0.5)),
        ("equal scores", (torch.full((6,), 0.5), 0.25)),
        ("many equal scores below the threshold", (torch.tensor([1., 1, 2, 1, 1, 3, 1, 1]), 0.25)),
        ("many equal scores above the threshold", (torch.tensor([5., 1, 5, 2, 5, 3, 5, 4]), 0.5)),
        ("scores below 0", (torch.tensor([-1., -7, -3, -9]), 0.25)),
    ]


def _count(scores, share):
    return math.floor(len(scores) * share)


def _ordered(scores):
    return scores.sort().values


def _from_top(scores, m):
    return _ordered(scores).flip(0)[min(m, len(scores) - 1)].item()


def _at_or_above(scores, share):
    """A score equal to the threshold counts as above it"""
    return min(t for t in scores.tolist() if (scores >= t).double().mean() <= share)


def _strict(scores, share):
    """Less than the share: exactly the share is refused"""
    return min(t for t in scores.tolist() if (scores > t).double().mean() < share)


def _quantile(scores, share):
    """torch.quantile, which interpolates between two scores"""
    return torch.quantile(scores, 1 - share).item()


def _low_quantile(scores, share):
    """The quantile of the share instead of 1 less the share"""
    return torch.quantile(scores, share).item()


def _one_too_high(scores, share):
    """ordered[int(n * (1 - share))]: one score too high where n * share is whole"""
    return _ordered(scores)[int(len(scores) * (1 - share))].item()


def _wraps(scores, share):
    """ordered[n - 1 - m] at a share of 1: the index -1 is the largest score"""
    return _ordered(scores)[len(scores) - 1 - _count(scores, share)].item()


def _rounded(scores, share):
    """The allowed number is rounded to the nearest instead of down"""
    return _from_top(scores, round(len(scores) * share))


def _rounded_up(scores, share):
    """The allowed number is rounded up"""
    return _from_top(scores, math.ceil(len(scores) * share))


def _one_at_least(scores, share):
    """One score is always let above"""
    return _from_top(scores, max(1, _count(scores, share)))


def _bell(scores, share):
    """Mean and standard deviation, as if the scores were normal"""
    z = NormalDist().inv_cdf(min(max(1 - share, 1e-6), 1 - 1e-6))
    return (scores.mean() + z * scores.std(correction=0)).item()


def _unsorted(scores, share):
    """The scores are not sorted"""
    return scores.flip(0)[min(_count(scores, share), len(scores) - 1)].item()


def _distinct(scores, share):
    """Equal scores count once"""
    return threshold(scores.unique(), share)


def _place(scores, share):
    """The position in the sorted scores instead of the score"""
    return max(0, len(scores) - 1 - _count(scores, share))


THRESHOLD = Exercise(
    id="10.2", title="Where a gate closes",
    trains="a threshold from benign scores: an upper tail, a strict inequality, and rounding to the safe side",
    difficulty=1, minutes=8, points=1, solution=threshold, cases=_score_cases,
    hints=("The gate refuses what scores above the threshold. Go as low as you can while no more than the share of "
           "benign requests is refused. With few scores that may mean none.",
           "t = min {s_j : #{i : s_i > s_j} / n ≤ share}.",
           "For each score, count the scores strictly above it and divide by their number. Keep those scores for "
           "which this is at most the share, and return the smallest."),
    mistakes=(
        (_at_or_above, "you counted a score equal to the threshold as above it. The gate refuses only what is "
                       "strictly above."),
        (_strict, "you ask for less than the share. Exactly the share is allowed."),
        (_quantile, "your quantile lies between two scores. Return one of the scores itself."),
        (_low_quantile, "this quantile has a share of the scores below it. The share belongs above it, and the result "
                        "should be one of the scores."),
        (_one_too_high, "where n times the share is whole, your index is one too high: indices start at 0. It runs out "
                        "of range at a share of 0."),
        (_wraps, "at a share of 1 your index is −1, which Python takes for the last score. The answer there is the "
                 "smallest."),
        (_rounded, "you rounded the number of allowed scores to the nearest one. That may exceed the share: round "
                   "down."),
        (_rounded_up, "you rounded the number of allowed scores up, so more than the share lies above. Round down."),
        (_one_at_least, "you always leave one score above. If the share is less than one score, none may lie above."),
        (_bell, "you assumed a normal distribution. Scores are often skewed: count them instead."),
        (_unsorted, "you picked by position without sorting the scores first."),
        (_distinct, "you counted equal scores once. Each is a request of its own: take the share of all scores."),
        (_place, "this is a position among the sorted scores. Return the score that stands there."),
    ),
    remark="`defend.threshold` counts in the same way, and gives no answer from fewer than 1 / share scores: so few "
           "cannot show so small a share.",
)
