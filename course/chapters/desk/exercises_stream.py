"""Exercise of notebook 10 on many requests: a running sum."""

import torch

from course.exercises.engine import Exercise

# ---------------- 10.3 cusum


def cusum(scores, drift, limit):
    """The first t, counted from 1, at which the running sum is above the limit, or None. (T,), float, float -> int"""
    total = 0.0
    for t, score in enumerate(scores.tolist(), start=1):
        total = max(0.0, total + score - drift)
        if total > limit:
            return t
    return None


def _stream_cases():
    g, cases = torch.Generator().manual_seed(65), []
    for what, n, late, drift, limit in (("a rise after calm requests", 12, 2, 0.5, 2), ("a long calm", 80, 1, 0.5, 4),
                                        ("no rise", 30, 0, 1, 5), ("a slow rise", 60, 0.8, 0.5, 3)):
        scores = torch.randn(n, generator=g, dtype=torch.float64)
        scores[n // 2:] += late
        cases.append((what, (scores, drift, limit)))
    for what, scores, drift, limit in (
            ("exactly the limit, then more", [1, 2, 1, 0.5, 3], 0.5, 2.5),
            ("exactly the limit, no more", [2, 2, 0, 1, 0.5], 1, 2),
            ("an alarm at the first request", [5, 0, 0], 1, 2),
            ("an alarm at the last request", [1, 1, 1, 1], 0.5, 1.75),
            ("low scores before high ones", [-4, -4, -4, 2, 2, 2], 0.5, 2),
            ("many small excesses", [0.75] * 10, 0.5, 1.25),
            ("one peak among low scores", [0, 0, 3, 0, 0, 0, 3, 0], 1, 2.5),
            ("two peaks and a dip", [2, -3, 2, -1, 2, 2], 0.5, 2),
            ("a limit of 0", [0.5, 0.25, 0.75, 0.5], 0.5, 0),
            ("a drift of 0", [0.5, 0, 0.5, 0.5], 0, 1.25),
            ("two alarms", [3, 3, -9, -9, 4, 4], 1, 3),
            ("one request", [1], 0.5, 1), ("no requests", [], 0.5, 1)):
        cases.append((what, (torch.tensor(scores, dtype=torch.float64), drift, limit)))
    return cases


def _watch(scores, limit, step, start=0.0):
    """The first t at which the sum, changed by step(sum, score), is above the limit."""
    total = start
    for t, score in enumerate(scores.tolist(), 1):
        total = step(total, score)
        if total > limit:
            return t
    return None


def _at_limit(scores, drift, limit):
    """An alarm at exactly the limit"""
    return _watch(scores, limit - 1e-9, lambda s, x: max(0, s + x - drift))


def _no_floor(scores, drift, limit):
    """The sum may fall below 0"""
    return _watch(scores, limit, lambda s, x: s + x - drift)


def _term_floor(scores, drift, limit):
    """Each term is cut at 0 instead of the sum"""
    return _watch(scores, limit, lambda s, x: s + max(0, x - drift))


def _no_drift(scores, drift, limit):
    """The drift is forgotten"""
    return cusum(scores, 0, limit)


def _single(scores, drift, limit):
    """Each score alone, without a sum"""
    return _watch(scores, limit, lambda s, x: x - drift)


def _absolute(scores, drift, limit):
    """The absolute value instead of the positive part"""
    return _watch(scores, limit, lambda s, x: abs(s + x - drift))


def _drift_once(scores, drift, limit):
    """The drift is subtracted once, from the limit's side, instead of at each step"""
    return _watch(scores, limit + drift, lambda s, x: max(0, s + x))


def _from_zero(scores, drift, limit):
    """Counted from 0"""
    t = cusum(scores, drift, limit)
    return None if t is None else t - 1


def _late(scores, drift, limit):
    """Compared before the score is added"""
    t = cusum(scores[:-1], drift, limit)
    return None if t is None else t + 1


def _last(scores, drift, limit):
    """The last t above the limit instead of the first"""
    total, found = 0.0, None
    for t, score in enumerate(scores.tolist(), 1):
        total = max(0.0, total + score - drift)
        found = t if total > limit else found
    return found


def _no_none(scores, drift, limit):
    """The number of scores where there is no alarm"""
    return cusum(scores, drift, limit) or len(scores)


def _minus_one(scores, drift, limit):
    """-1 where there is no alarm"""
    return cusum(scores, drift, limit) or -1


CUSUM = Exercise(
    id="10.3", title="When small excesses add up",
    trains="CUSUM: a sum that forgets calm times, and an alarm that waits for no single high score",
    difficulty=2, minutes=10, points=2, solution=cusum, cases=_stream_cases,
    hints=("An attacker can split one suspicious request into many that stay below every threshold. Add up by how much "
           "each one exceeds what is usual, and never let the sum fall below 0.",
           "S_0 = 0, S_t = max(0, S_{t−1} + x_t − d) with the drift d. The answer is the first t with S_t > h, for "
           "the limit h.",
           "Go through the scores with `enumerate`, which can start at 1. Change the sum first, cut it at 0, then "
           "compare it. Return inside the loop, and None after it."),
    mistakes=(
        (_at_limit, "you raise the alarm at exactly the limit. The sum has to be above it."),
        (_no_floor, "your sum falls below 0, so a calm time gives an attacker credit. Cut it at 0 after each step."),
        (_term_floor, "you cut each term at 0, so your sum never falls and every stream ends in an alarm. Cut the sum "
                      "instead."),
        (_no_drift, "the drift is missing. Subtract it from each score, or usual scores add up too."),
        (_single, "you compared single scores with the limit. Add up what exceeds the drift."),
        (_absolute, "you took the absolute value, so low scores raise the alarm as well. Take the larger of 0 and the "
                    "sum."),
        (_drift_once, "you subtracted the drift once. It is subtracted at every step."),
        (_from_zero, "you counted from 0. The first request is number 1."),
        (_late, "you compared before you added the score, so your alarm comes one request late."),
        (_last, "you returned the last request above the limit. The alarm is the first."),
        (_no_none, "you returned the number of requests where there was no alarm. Return None, or it looks like an "
                   "alarm at the last one."),
        (_minus_one, "you returned −1 where there was no alarm. Return None."),
    ),
    remark="With a drift above the mean benign score, the sum keeps falling back to 0 while all is calm. A higher "
           "limit gives fewer false alarms, and later true ones.",
)
