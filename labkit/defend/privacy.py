"""What differential privacy promises: for several rows at once, and by Gaussian noise."""

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


def gaussian_delta(epsilon, mu) -> float:
    """The exact δ at ε of Gaussian noise: Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ). ε of 0 or more.

    mu: what one row moves over the noise's deviation, Δ/σ; of k noisy steps √k times that.
    Source: Balle and Wang 2018, Theorem 8.
    """
    from scipy.stats import norm

    return (norm.cdf(mu / 2 - epsilon / mu)
            - math.exp(epsilon + norm.logcdf(-mu / 2 - epsilon / mu)))


@checked
def gaussian_epsilon(mu, delta) -> float:
    """The exact ε at δ of Gaussian noise; mu as in gaussian_delta, infinite without noise."""
    from scipy.optimize import brentq

    if mu == math.inf:
        return math.inf

    def excess(epsilon):
        return gaussian_delta(epsilon, mu) - delta

    return 0.0 if excess(0.0) <= 0 else float(brentq(excess, 0.0, 10 * mu * (mu + 10)))
