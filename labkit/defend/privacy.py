"""What differential privacy promises for several rows at once."""

import math

from ..base import LabError
from ..rules import is_number, is_whole


def group_epsilon(epsilon, delta, k) -> tuple[float, float]:
    """(k ε, min(1, k e^((k − 1) ε) δ)): the promise for k rows at once, from that for one. k ≥ 1 rows.

    Exchanging a row is k = 2: one out, one in. Source: Dwork and Roth 2014, Theorem 2.2 and after it.
    """
    check_promise(epsilon, delta)
    if not is_whole(k) or k < 1:
        raise LabError(f"The group has {k!r} rows: give a whole number, 1 or more.")
    log = math.log(k) + (k - 1) * epsilon + math.log(delta)
    return k * epsilon, min(1.0, math.exp(min(log, 0.0)))


def check_promise(epsilon, delta):
    check_delta(delta)
    if not is_number(epsilon) or not epsilon > 0:
        raise LabError(f"epsilon is {epsilon!r}: give a positive number, or math.inf for no promise.")


def check_delta(delta):
    if not is_number(delta) or not 0 < delta < 1:
        raise LabError(f"delta is {delta!r}: give a number between 0 and 1, below one over the number of rows.")
