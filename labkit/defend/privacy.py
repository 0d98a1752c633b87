"""What differential privacy promises for several rows at once."""

import math

from ..rules import checked


@checked(k="from 1")
def group_epsilon(epsilon, delta, k) -> tuple[float, float]:
    """(k ε, min(1, k e^((k − 1) ε) δ)): the promise for k ≥ 1 rows at once, from that for one.

    Exchanging a row is k = 2: one out, one in.
    Source: Dwork and Roth 2014, Theorem 2.2 and after it.
    """
    log = math.log(k) + (k - 1) * epsilon + math.log(delta)
    return k * epsilon, min(1.0, math.exp(min(log, 0.0)))
