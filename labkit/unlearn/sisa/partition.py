"""Which shard and which slice a row belongs to: by the row alone."""

import hashlib
from dataclasses import dataclass

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
    number = int(hashlib.blake2b(f"{seed}:{row}".encode(), digest_size=8).hexdigest(), 16)
    shards, slices = int(shards), int(slices)
    return number % shards, number // shards % slices  # not number % slices: tied to it


@checked
def by_hash(n: int, shards: int, slices: int, seed: int = 0) -> Partition:
    """Uniform sharding of n rows: about n / S a shard, n / (S·R) a slice, binomially spread."""
    check_shards(n, shards)
    places = torch.tensor([place(row, shards, slices, seed) for row in range(n)])
    return Partition(places[:, 0], places[:, 1], int(shards), int(slices))


def check_shards(n: int, shards: int):
    """LabError where there are more shards than rows."""
    if shards > n:
        raise LabError(f"SISA was asked for {shards} shards of {n} rows: ask for {n} at most.")
