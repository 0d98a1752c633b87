"""What SISA costs in theory: rows to visit again. Bourtoule et al. 2021, formulas.

n training rows, S shards, R slices, K requests drawn uniformly, e' epochs. A visit is one row in
one training step.
"""

from math import comb

from labkit.base import LabError


def sharding_sequential(n: int, shards: int, requests: int) -> float:
    """Expected rows to retrain for K requests in turn, R = 1: (n/S + 1/(2S) − 1) K − K²/(2S)."""
    return (n / shards + 1 / (2 * shards) - 1) * requests - requests**2 / (2 * shards)


def slicing(slices: int, requests: int = 1, keep: int = 1) -> float:
    """Expected share of a shard's training that K requests in that shard make necessary, 0 to 1.

    K = 1 and keep = 1: 2/3 + 1/(3R). Batch: 1 − E[r(r − 1)] / (R(R + 1)), r = the first slice hit,
    P(r ≥ i) = ((R − i + 1)/R)^K. keep = k: training starts again after slice k·⌊(r − 1)/k⌋ (ours).
    """
    if requests == 0:
        return 0.0
    at_least = [((slices - i + 1) / slices) ** requests for i in range(1, slices + 2)]
    total = 0.0
    for r in range(1, slices + 1):
        start = keep * ((r - 1) // keep)
        share = 1 - start * (start + 1) / (slices * (slices + 1))
        total += (at_least[r - 1] - at_least[r]) * share
    return total


def visits(n: int, epochs: float, shards: int, slices: int = 1, requests: int = 1, *,
           batch=False, keep=1) -> float:
    """Expected visits to unlearn K requests, in turn or as one batch (binomial in each shard)."""
    if not 0 < requests < n:
        raise LabError(f"The cost of {requests} requests of {n} rows was asked: give 1 to {n - 1}.")
    if not batch:
        return epochs * sharding_sequential(n, shards, requests) * slicing(slices, 1, keep)
    p = 1 / shards
    hits = (comb(requests, j) * p**j * (1 - p) ** (requests - j) for j in range(requests + 1))
    share = sum(chance * slicing(slices, j, keep) for j, chance in enumerate(hits))
    return epochs * (n - requests) * share
