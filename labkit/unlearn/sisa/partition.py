"""Which shard and which slice a row belongs to: by the row alone, or by how likely it leaves."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from ...base import LabError
from ...rules import checked


@dataclass(frozen=True, eq=False)
class Partition:
    """shard, slice: (n,) int64, the place of each row, from 0. shards, slices: how many."""

    shard: torch.Tensor
    slice: torch.Tensor
    shards: int
    slices: int

    def rows(self, shard: int, slices: int, removed=()) -> torch.Tensor:
        """The rows of a shard's first `slices` slices that are still there, in rising order."""
        there = (self.shard == shard) & (self.slice < slices)
        there[torch.as_tensor(list(removed), dtype=torch.long)] = False
        return there.nonzero().flatten()


def place(row: int, shards: int, slices: int, seed: int = 0) -> tuple[int, int]:
    """(shard, slice) of one row, from a hash of its id: so no deletion moves anybody else."""
    digest = hashlib.blake2b(f"{seed}:{row}".encode(), digest_size=8).digest()
    number = int.from_bytes(digest, "big")
    shards, slices = int(shards), int(slices)
    # number % slices would tie the slice to the shard
    return number % shards, number // shards % slices


@checked
def by_hash(n: int, shards: int, slices: int, seed: int = 0) -> Partition:
    """Uniform sharding of n rows: about n / S rows a shard, n / (S·R) a slice, binomially spread.

    Raises LabError when there are more shards than rows, or less than one shard or slice.
    """
    _check(n, shards)
    places = torch.tensor([place(row, shards, slices, seed) for row in range(n)])
    return Partition(places[:, 0], places[:, 1], int(shards), int(slices))


@checked
def by_risk(risk, shards: int, slices: int, seed: int = 0,
            rule: str = "equal-requests") -> Partition:
    """Distribution-aware sharding: rows sorted by how likely they are withdrawn, cut into shards.

    risk: (n,) withdrawal probabilities, or anything proportional to them. rule: 'equal-requests'
    cuts so that each shard expects equally many requests (Bourtoule et al. 2021, Algorithm 1, with
    C = sum(risk) / S); 'least-work' cuts so that the expected number of rows to retrain for one
    request, sum over shards of P(hit) × rows, is smallest (ours; the best cut among 200 candidates,
    equal requests and equal sizes). Slices come from the hash, as in `by_hash`. The sort looks at
    all rows: keep this partition, and never make it anew after a deletion.
    """
    risk = np.asarray(risk, dtype=float).ravel()
    n = len(risk)
    _check(n, shards)
    if not np.isfinite(risk).all() or (risk < 0).any() or risk.sum() == 0:
        raise LabError("Withdrawal probabilities must be finite, not negative and not all 0: give "
                       "one a training row.")
    order = np.argsort(risk, kind="stable")
    # of the requests, among the first i rows
    share = np.concatenate([[0], np.cumsum(risk[order])]) / risk.sum()
    rules = {"equal-requests": _equal_requests, "least-work": _least_work}
    if rule not in rules:
        raise LabError(f"There is no rule {rule!r}: choose 'equal-requests' or 'least-work'.")
    cuts = rules[rule](share, int(shards))
    shard = np.empty(n, dtype=np.int64)
    shard[order] = np.searchsorted(cuts, np.arange(n), side="right")
    places = torch.tensor([place(row, shards, slices, seed)[1] for row in range(n)])
    return Partition(torch.from_numpy(shard), places, int(shards), int(slices))


def _equal_requests(share, shards):
    """Cuts where the share of requests reaches 1/S, 2/S, …; but no shard without a row."""
    cuts = np.searchsorted(share, np.arange(1, shards) / shards)
    for s in range(len(cuts)):
        least = (cuts[s - 1] if s else 0) + 1
        cuts[s] = np.clip(cuts[s], least, len(share) - 1 - (shards - 1 - s))
    return cuts


def _least_work(share, shards):
    """Cuts that minimise the sum of (share of requests) × (rows): dynamic programming."""
    n = len(share) - 1
    even = [np.linspace(0, n, parts + 1).round().astype(int) for parts in (min(n, 200), shards)]
    at = np.unique(np.concatenate([*even, _equal_requests(share, shards)]))
    # of one shard from candidate i to j
    work = (share[at][None] - share[at][:, None]) * (at[None] - at[:, None])
    work[np.tril_indices(len(at))] = np.inf
    best, back = work[0], []
    for _ in range(shards - 1):
        total = best[:, None] + work
        back.append(total.argmin(0))
        best = total.min(0)
    cuts, j = [], len(at) - 1
    for step in reversed(back):
        j = step[j]
        cuts.append(at[j])
    return np.array(cuts[::-1], dtype=int)


def _check(n, shards):
    if shards > n:
        raise LabError(f"SISA was asked for {shards} shards of {n} rows: there cannot be more "
                       "shards than rows.")
