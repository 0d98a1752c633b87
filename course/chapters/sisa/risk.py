"""Partitions for requests that are not uniform: whose rows lie together, and who comes late.

Everything here looks at all rows to place one: keep such a partition, and never make it anew after
a deletion.
"""

import numpy as np
import torch

from labkit.base import LabError
from labkit.rules import checked
from labkit.unlearn.sisa import Partition, by_hash
from labkit.unlearn.sisa.partition import check_shards

RULES = ("uniform", "equal-requests", "late", "root")


def heavy_tail(n: int, rng) -> torch.Tensor:
    """How often each of n rows asks, (n,) float64, drawn from Pareto's law with exponent 1.16.

    Four fifths of the requests come from one fifth of the rows, before the tail is cut by n. The
    published code of Bourtoule et al. 2021 draws this law.
    """
    return torch.from_numpy(1 + rng.pareto(1.16, n))


@checked
def by_risk(risk, shards: int, slices: int, seed: int = 0, rule: str = "equal-requests"):
    """A partition for rows that are asked for with unequal probabilities. -> Partition

    risk: (n,) probabilities, or anything proportional to them. rule:
    'uniform': by a hash of the row's id, whatever the risk.
    'equal-requests': rows sorted by risk and cut so that each shard expects equally many requests
    (Bourtoule et al. 2021, Algorithm 1, rebuilt with C = sum(risk) / S); slices by hash.
    'late': shards of one size that each get rows of every risk, and in each the likely leavers in
    the last slices (the order of ARCANE, Yan et al. 2022, rebuilt inside SISA).
    'root': rows sorted by risk and cut at equal shares of the sum of √risk; inside a shard as
    'late' (the course's). The sum over shards of P(hit) × rows is smallest at these cuts if the
    risk is even inside each shard, and else near that: the best cuts can be a fifth better.
    """
    risk = torch.as_tensor(np.asarray(risk, dtype=float).ravel())
    n, shards, slices = len(risk), int(shards), int(slices)
    check_shards(n, shards)
    if not torch.isfinite(risk).all() or (risk < 0).any() or risk.sum() == 0:
        raise LabError("Withdrawal probabilities must be finite, not negative and not all 0: give "
                       "one a training row.")
    if rule not in RULES:
        raise LabError(f"There is no rule {rule!r}: choose one of {', '.join(RULES)}.")
    hashed = by_hash(n, shards, slices, seed)
    if rule == "uniform":
        return hashed
    order = risk.argsort(stable=True)
    shard = torch.empty(n, dtype=torch.long)
    weight = {"equal-requests": risk, "late": None, "root": risk.sqrt()}[rule]
    shard[order] = torch.arange(n) % shards if weight is None else _cut(weight[order], shards)
    slice_ = hashed.slice if rule == "equal-requests" else _late(order, shard, shards, slices)
    return Partition(shard, slice_, shards, slices)


def _cut(weight, shards):
    """Runs of rows that hold about equal shares of the weight, (n,): but no shard without a row."""
    n = len(weight)
    middle = (weight.cumsum(0) - weight / 2) / weight.sum()
    found = (shards * middle).long().clamp(max=shards - 1)
    # the i-th row from below or above cannot leave the shards on that side empty
    rank = torch.arange(n)
    return found.clamp(max=rank).maximum(rank - (n - shards))


def _late(order, shard, shards, slices):
    """Slices of one size in each shard, its rows in the given order."""
    slice_ = torch.empty(len(order), dtype=torch.long)
    for s in range(shards):
        rows = order[shard[order] == s]
        slice_[rows] = torch.arange(len(rows)) * slices // len(rows)
    return slice_


def steps(partition) -> torch.Tensor:
    """Rows that each slice step trains on, (S, R): those of the slices up to it."""
    rows = torch.zeros(partition.shards, partition.slices, dtype=torch.long)
    rows.index_put_((partition.shard, partition.slice), torch.tensor(1), accumulate=True)
    return rows.cumsum(1)


def costs(partition) -> torch.Tensor:
    """The share of training's visits that the deletion of each row costs, (n,) float64."""
    visited = steps(partition).double()
    again = visited.flip(1).cumsum(1).flip(1) / visited.sum()
    return again[partition.shard, partition.slice]


def expected_cost(risk, partition) -> float:
    """What one request is expected to cost, as a share of training's visits; P(row) ∝ risk."""
    risk = torch.as_tensor(risk).double()
    return float(risk @ costs(partition) / risk.sum())


def as_partition(places, n: int, shards: int, slices: int) -> Partition:
    """The Partition of (shard, slice), two (n,) LongTensors; LabError where they cannot be one."""
    names = (("shard", shards), ("slice", slices))
    for (name, most), found in zip(names, places, strict=True):
        whole = isinstance(found, torch.Tensor) and found.dtype == torch.long
        if not whole or found.shape != (n,):
            raise LabError(f"The {name} of each row was expected as a LongTensor of {n} entries: "
                           "give one whole number a row.")
        if not 0 <= int(found.min()) <= int(found.max()) < most:
            raise LabError(f"A {name} lies between {int(found.min())} and {int(found.max())}, and "
                           f"there are {most}, counted from 0: keep to 0 … {most - 1}.")
    return Partition(*places, int(shards), int(slices))
