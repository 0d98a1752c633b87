"""What only the chapter on SISA uses: speed, storage, and a proof of exactness."""

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace

import torch

from labkit.unlearn.sisa import checkpoints
from labkit.unlearn.sisa.ensemble import Sisa, train
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
