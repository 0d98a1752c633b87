"""What only the chapter on SISA uses: speed, storage, shards by risk, and a proof of exactness."""

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch

from labkit.base import LabError
from labkit.rules import checked
from labkit.unlearn.sisa import checkpoints
from labkit.unlearn.sisa.ensemble import Sisa, train
from labkit.unlearn.sisa.partition import Partition, check_shards, place
from labkit.unlearn.sisa.shard import kept_slices

from .cost import slicing


def speedup(shards: int, slices: int = 1, keep: int = 1) -> float:
    """Retraining's visits over those of one request: S / (2/3 + 1/(3R))."""
    return shards / slicing(slices, 1, keep)


def storage(model, shards: int, slices: int, *, momentum: bool = True, keep: int = 1) -> int:
    """Bytes of the tensors in all checkpoints: S × (kept slices) × (weights, buffers, momentum)."""
    kept = len(kept_slices(slices, keep))
    weights = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    everything = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    return shards * kept * (everything + weights * momentum)


@dataclass
class Exactness:
    """equal: bitwise. compared: tensors. differing: where, as 'shard 2 after slice 4: name'."""

    equal: bool
    compared: int
    differing: list[str]


def verify_exact(ensemble: Sisa, data, workers: int | None = None) -> Exactness:
    """Train the same SISA from scratch without the forgotten rows and compare by torch.equal.

    Compared are the members and everything in the checkpoints, optimiser state included. In the
    from-scratch run the forgotten rows hold NaN and the label −1, so that a run that reads one of
    them cannot end well. The partition is the same: it says where the rows that are left lie.
    """
    x, y = data.x.clone(), data.y.clone()
    x[list(ensemble.removed)], y[list(ensemble.removed)] = float("nan"), -1
    p, compared, differing = ensemble.partition, 0, []
    with tempfile.TemporaryDirectory() as folder:
        scratch = train(SimpleNamespace(x=x, y=y), folder, build=ensemble.build, shards=p.shards,
                        partition=p, without=ensemble.removed, workers=workers, **ensemble.recipe)
        for s in range(p.shards):
            a, b = _tensors(ensemble, s), _tensors(scratch, s)
            compared += len(a.keys() | b.keys())
            differing += a.keys() ^ b.keys()
            differing += [name for name in a.keys() & b.keys() if not torch.equal(a[name], b[name])]
    return Exactness(not differing, compared, sorted(differing))


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
    check_shards(n, shards)
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


def _tensors(ensemble, s):
    """Every tensor of one shard, in use and in its sound checkpoints, by its place."""
    p, parts = ensemble.partition, {"in use": checkpoints.state(ensemble.members[s])}
    for done in kept_slices(p.slices, ensemble.recipe["keep"]):
        with suppress(LookupError):
            rows = p.rows(s, done, ensemble.removed)
            parts[f"after slice {done}"] = checkpoints.load(ensemble.folder, s, done, rows,
                                                            ensemble.recipe)
    return {f"shard {s} {when}: {name}": t
            for when, tensors in parts.items() for name, t in tensors.items()}
