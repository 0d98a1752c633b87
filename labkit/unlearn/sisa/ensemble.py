"""SISA: sharded, isolated, sliced, aggregated training, and exact unlearning from checkpoints.

Bourtoule et al. 2021 (S&P), "Machine Unlearning". Everything random is a function of (seed, shard,
slice), and no row decides anything about another row. So a shard that starts again from a
checkpoint ends bit for bit where training without the forgotten rows would have ended.
"""

import time
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ... import store
from ...base import LabError, make_folder
from ...processes import parallel
from ...rows import check_forget
from ...rules import checked
from . import checkpoints
from .partition import Partition, by_hash
from .shard import seed_of, train_shard

RESTARTED = "restarted after slice"


class Sisa(nn.Module):
    """A SISA ensemble, called like any network: the logarithm of the members' mean softmax.

    members: one network a shard. removed: ids forgotten. ledger: a dict for training, each request.
    """

    def __init__(self, members, partition, *, removed, recipe, build, folder, ledger):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.partition, self.removed, self.recipe = partition, tuple(removed), recipe
        self.build, self.folder, self.ledger = build, Path(folder), ledger

    def forward(self, x):
        """(n, …) -> (n, k) log-probabilities, for each class the mean over shards."""
        return aggregate(self.logits(x), "mean")

    def logits(self, x):
        """The members' own answers, (voting shards, n, k)."""
        return torch.stack([self.members[s](x) for s in self.voting])

    @property
    def voting(self) -> list[int]:
        """The shards that still have rows: one whose rows have all been forgotten has no vote."""
        p = self.partition
        return [s for s in range(p.shards) if len(p.rows(s, p.slices, self.removed))]


def aggregate(logits, how: str = "mean", weights=None):
    """Combine members' logits (S, n, k) into log-scores (n, k).

    how: 'mean' of the softmax vectors, or 'vote': each member votes for its largest logit, and the
    mean softmax decides between equal votes. weights: (S,), such as rows a shard; default: equal.
    """
    w = torch.as_tensor([1.0] * len(logits) if weights is None else weights).float()
    w = (w / w.sum())[:, None, None].to(logits.device)
    mean = (w * logits.softmax(2)).sum(0)
    if how == "mean":
        return mean.clamp(min=1e-30).log()
    if how != "vote":
        raise LabError(f"There is no aggregation {how!r}: choose 'mean' or 'vote'.")
    votes = (w * F.one_hot(logits.argmax(2), logits.shape[2])).sum(0)
    equal = votes > votes.max(1, keepdim=True).values - 1e-6
    winner = F.one_hot(torch.where(equal, mean, -1).argmax(1), logits.shape[2])
    # adding the mean alone could overrule a vote
    return (votes + 1e-3 * (mean + winner)).clamp(min=1e-30).log()


@checked(keep="from 1", epochs="above 0")
def train(data, folder, *, build, shards, slices, epochs, lr, seed, batch_size=32, momentum=0.9,
          weight_decay=5e-4, keep=1, partition=None, without=(), save_optimizer=True, workers=None):
    """Train S shards, each in R growing slices, side by side in worker processes. -> Sisa

    data: x (n, …), y (n,). folder: for the checkpoints, new or empty; an error leaves it empty, a
    training that is cut off can be gone on with by `load`. build: seed -> fresh network.
    epochs: passes that training without slices would take; lr: peak of a one-cycle schedule. keep:
    keep every k-th slice's checkpoint only. partition: default by_hash. without: ids to leave out
    from the start. Exactness needs data loaded with moments="test", and on a GPU
    torch.use_deterministic_algorithms(True).
    """
    n, seed = len(data.y), int(seed)
    p = by_hash(n, shards, slices, seed) if partition is None else partition
    if (p.shards, p.slices, len(p.shard)) != (shards, slices, n):
        raise LabError(f"The partition places {len(p.shard)} rows in {p.shards} × {p.slices}, "
                       f"asked was {n} rows in {shards} × {slices}: make it with the same numbers.")
    folder = make_folder(folder)
    if any(folder.iterdir()):
        raise LabError(f"The folder {folder.name!r} is not empty: give each ensemble its own.")
    recipe = dict(seed=seed, slices=slices, epochs=epochs, lr=lr, batch_size=batch_size,
                  momentum=momentum, weight_decay=weight_decay, keep=keep,
                  save_optimizer=save_optimizer)
    recipe = {k: v.item() if isinstance(v, np.generic) else v for k, v in recipe.items()}  # JSON
    without = sorted(check_forget(list(without), n, allow_empty=True).tolist())
    ensemble = Sisa([None] * p.shards, p, removed=without, recipe=recipe, build=build,
                    folder=folder, ledger=[])
    store.save(folder / "ensemble.json", {"recipe": recipe, "shards": int(shards),
                                          "shard": p.shard.tolist(), "slice": p.slice.tolist()})
    try:
        return _run(ensemble, data, {s: 0 for s in range(shards)}, [], workers)
    except Exception as problem:  # what it has written would bar the folder to another try
        cut_off = type(problem) is LabError or isinstance(problem, OSError)  # killed worker, disk
        for file in [] if cut_off else folder.iterdir():  # then `load` goes on from it
            file.unlink()
        raise


def unlearn(ensemble: Sisa, data, forget, workers: int | None = None) -> Sisa:
    """A new ensemble without the rows `forget`, one or a batch; each touched shard restarts once.

    Each touched shard goes back to its last sound checkpoint that has not seen the rows, with a
    warning and a note in the ledger where one is missing or damaged. Later ones are destroyed
    *before* anything is retrained. data: as in training; the forgotten rows' contents are not read.
    The given ensemble cannot unlearn any more: its checkpoints are gone. LabError on ids that are
    unknown or forgotten already.
    """
    p, n = ensemble.partition, len(ensemble.partition.shard)
    if len(data.y) != n:
        raise LabError(f"The ensemble was trained on {n} rows and got data of {len(data.y)}: keep "
                       "forgotten rows in their place (their contents are not read).")
    forget = check_forget(forget, n).cpu()  # the partition lies there
    if again := sorted(set(forget.tolist()) & set(ensemble.removed)):
        raise LabError(f"Row {again[0]} has been forgotten already: ask for rows still there.")
    if len(_read(ensemble.folder, "ledger")["removed"]) != len(ensemble.removed):
        raise LabError("This ensemble is out of date, it has unlearned since: go on with the one "
                       "that unlearn returned, or open its folder again with sisa.load.")
    removed = sorted({*ensemble.removed, *forget.tolist()})
    if len(removed) == n:
        raise LabError("Nothing would be left to learn from: keep at least one row.")
    shard, slice_ = p.shard[forget], p.slice[forget]
    first = {int(s): int(slice_[shard == s].min()) for s in shard.unique()}  # slices before them
    new = Sisa(ensemble.members, p, removed=removed, recipe=ensemble.recipe, build=ensemble.build,
               folder=ensemble.folder, ledger=list(ensemble.ledger))
    return _run(new, data, first, forget.tolist(), workers)


def load(folder, data, build, workers: int | None = None) -> Sisa:
    """Open an ensemble that an earlier process trained into `folder`.

    A shard without a sound last checkpoint is trained on from its last sound one, with a warning.
    """
    about, log = _read(folder, "ensemble"), _read(folder, "ledger")
    recipe, shards = about["recipe"], about["shards"]
    p = Partition(*(torch.tensor(about[k]) for k in ("shard", "slice")), shards, recipe["slices"])
    if len(data.y) != len(p.shard):
        raise LabError(f"The ensemble was trained on {len(p.shard)} rows and got data of "
                       f"{len(data.y)}: give those of its training, forgotten rows in their place.")
    for line in log["ledger"]:  # JSON's keys are strings
        line[RESTARTED] = {int(s): start for s, start in line[RESTARTED].items()}
    ensemble = Sisa([None] * shards, p, removed=log["removed"], recipe=recipe, build=build,
                    folder=folder, ledger=log["ledger"])
    first = dict.fromkeys(range(shards), p.slices)
    return _run(ensemble, data, first, log.get("pending", []), workers)


def _run(ensemble, data, first, asked, workers):
    """Train each shard of `first` on from the slice given there; add its line to the ledger."""
    torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)  # its first use takes seconds: not counted
    wall, cpu = time.perf_counter(), time.process_time()
    ledger = {"removed": ensemble.removed, "ledger": ensemble.ledger}  # also with the line below
    store.save(ensemble.folder / "ledger.json", ledger | {"pending": asked})
    wiped = sum(checkpoints.wipe(ensemble.folder, s, after) for s, after in first.items())
    cpu = time.process_time() - cpu
    done = parallel(lambda s: train_shard(ensemble, data, s, first[s]), first, workers)
    work = dict(zip(first, done, strict=True))
    for s, done in work.items():
        ensemble.members[s] = ensemble.build(seed_of(ensemble.recipe["seed"], s, 0))
        checkpoints.restore(done["tensors"], ensemble.members[s].eval())
    notes = [note for done in work.values() for note in done["notes"]]
    for note in notes:
        warnings.warn(f"SISA: {note}", stacklevel=3)
    if asked or notes or not ensemble.ledger:
        ensemble.ledger.append({
            "asked": asked, RESTARTED: {s: done["start"] for s, done in work.items()},
            "visits": sum(done["visits"] for done in work.values()),
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": cpu + sum(done["cpu"] for done in work.values()), "destroyed": wiped,
            "bytes": checkpoints.size(ensemble.folder), "notes": notes})
        store.save(ensemble.folder / "ledger.json", ledger)
    return ensemble.eval()


def _read(folder, name):
    folder = Path(folder)
    try:
        return store.load(folder / f"{name}.json")[0]
    except LookupError:
        raise LabError(f"There is no SISA ensemble in the folder {folder.name!r} ({name}.json is "
                       "missing or damaged): give the folder that sisa.train wrote to.") from None
