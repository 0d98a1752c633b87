"""SISA: sharded, isolated, sliced, aggregated training, and exact unlearning from checkpoints.

Bourtoule et al. 2021 (S&P), "Machine Unlearning". Everything random is a function of (seed, shard, slice), and no row
decides anything about another row. So a shard that starts again from a checkpoint ends bit for bit where training
without the forgotten rows would have ended: `verify_exact` trains that from scratch and compares.
"""

import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ... import store
from ...base import LabError, make_folder
from ...rows import check_forget, checked_seed, is_number, is_whole
from ...training import parallel
from . import checkpoints
from .cost import kept_slices
from .partition import Partition, by_hash
from .shard import seed_of, train_shard


class Sisa(nn.Module):
    """A SISA ensemble, called like any network: it returns the logarithm of the members' mean softmax.

    members: one network a shard. partition: who is where. removed: ids forgotten so far. ledger: one dict a request,
    the first for training: what was asked, what was retrained, what it cost. folder: where its checkpoints lie.
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
        """The members' own answers, (voting shards, n, k). A shard whose rows have all been forgotten has no vote."""
        return torch.stack([self.members[s](x) for s in self.voting])

    @property
    def voting(self) -> list[int]:
        """The shards that still have rows."""
        p = self.partition
        return [s for s in range(p.shards) if len(p.rows(s, p.slices, self.removed))]


def aggregate(logits, how: str = "mean", weights=None):
    """Combine members' logits (S, n, k) into log-scores (n, k).

    how: 'mean' of the softmax vectors, or 'vote': each member votes for its largest logit, and the mean softmax
    decides between equal votes. weights: (S,), for example rows a shard; default: all members count the same.
    Averaging the members' *weights* instead would not be SISA: networks trained apart do not share coordinates.
    """
    w = torch.ones(len(logits), device=logits.device) if weights is None else torch.as_tensor(weights).float()
    w = (w / w.sum())[:, None, None].to(logits.device)
    mean = (w * logits.softmax(2)).sum(0)
    if how == "mean":
        return mean.clamp(min=1e-30).log()
    if how != "vote":
        raise LabError(f"There is no aggregation {how!r}: choose 'mean' or 'vote'.")
    votes = (w * F.one_hot(logits.argmax(2), logits.shape[2])).sum(0)
    equal = votes > votes.max(1, keepdim=True).values - 1e-6
    winner = torch.where(equal, mean, -1).argmax(1)  # by 1e-3 ahead; adding the mean alone could overrule a vote
    return (votes + 1e-3 * (mean + F.one_hot(winner, logits.shape[2]))).clamp(min=1e-30).log()


def train(data, folder, *, build, shards: int, slices: int, epochs: float, lr: float, seed: int, batch_size: int = 32,
          momentum: float = 0.9, weight_decay: float = 5e-4, keep: int = 1, partition: Partition | None = None,
          without=(), save_optimizer: bool = True, workers: int | None = None) -> Sisa:
    """Train S shards, each in R growing slices, shards side by side in worker processes.

    data: x (n, …), y (n,). folder: for the checkpoints, new or empty. build: seed -> fresh network. epochs: e', the
    passes that training without slices would take; each slice step takes 2e'/(R + 1) passes over the slices so far.
    lr: peak of a one-cycle schedule over a shard's whole training. keep: keep every k-th slice's checkpoint only.
    partition: default by_hash. without: ids to leave out from the start. The result does not depend on `workers`.
    Exactness needs the rows' preprocessing to be free of them too: load data with moments="test". On a GPU, call
    torch.use_deterministic_algorithms(True) first.
    """
    n = len(data.y)
    seed = checked_seed(seed)
    partition = by_hash(n, shards, slices, seed) if partition is None else partition
    if (partition.shards, partition.slices, len(partition.shard)) != (shards, slices, n):
        raise LabError(f"The partition places {len(partition.shard)} rows in {partition.shards} × {partition.slices}, "
                       f"asked was {n} rows in {shards} × {slices}: make it with the same numbers.")
    if not is_whole(keep) or keep < 1:
        raise LabError(f"keep is {keep!r}: give a whole number k, 1 or more, to keep every k-th slice's checkpoint.")
    if not is_whole(batch_size) or batch_size < 1 or not is_number(epochs) or epochs <= 0:
        raise LabError(f"SISA was asked for {epochs!r} epochs in batches of {batch_size!r}: give numbers above 0, the "
                       "batch size a whole one.")
    folder = make_folder(folder)
    if any(folder.iterdir()):
        raise LabError(f"The folder {folder.name!r} is not empty: give each ensemble a folder of its own.")
    recipe = dict(seed=seed, slices=slices, epochs=epochs, lr=lr, batch_size=batch_size, momentum=momentum,
                  weight_decay=weight_decay, keep=keep, save_optimizer=save_optimizer)
    recipe = {k: v.item() if isinstance(v, np.generic) else v for k, v in recipe.items()}  # JSON knows no numpy
    without = check_forget(list(without), n, allow_empty=True).tolist()
    ensemble = Sisa([build(seed_of(seed, s, 0)) for s in range(shards)], partition, removed=sorted(without),
                    recipe=recipe, build=build, folder=folder, ledger=[])
    store.save(folder / "ensemble.json", {
        "recipe": recipe, "shards": int(shards), "shard": partition.shard.tolist(),
        "slice": partition.slice.tolist()})
    return _run(ensemble, data, {s: 0 for s in range(shards)}, [], workers)


def unlearn(ensemble: Sisa, data, forget, workers: int | None = None) -> Sisa:
    """A new ensemble without the rows `forget`: one row, or a batch of them; each touched shard restarts once.

    Each touched shard goes back to its last checkpoint that has not seen the rows. Later checkpoints are destroyed
    *before* anything is retrained, and new ones take their place. A checkpoint that is missing or damaged is not
    trusted: training goes back to the last sound one, with a warning and a note in the ledger.
    data: as in training; the forgotten rows' contents are not read any more. The given object keeps its weights in
    memory (drop it), but cannot unlearn any more: its checkpoints are gone. Raises LabError on unknown ids and on
    ids that were forgotten before.
    """
    n = len(ensemble.partition.shard)
    if len(data.y) != n:
        raise LabError(f"The ensemble was trained on {n} rows and got data of {len(data.y)}: keep forgotten rows in "
                       "their place (their contents are not read), so that ids stay what they are.")
    forget = check_forget(forget, n).cpu()  # the partition lies there
    if again := sorted(set(forget.tolist()) & set(ensemble.removed)):
        raise LabError(f"Row {again[0]} has been forgotten already: ask only for rows that are still there.")
    if len(_read(ensemble.folder, "ledger")["removed"]) != len(ensemble.removed):
        raise LabError("This ensemble is out of date, it has unlearned since: go on with the one that unlearn "
                       "returned, or open its folder again with sisa.load.")
    removed = sorted({*ensemble.removed, *forget.tolist()})
    if len(removed) == n:
        raise LabError("Nothing would be left to learn from: keep at least one row.")
    shard, slice_ = ensemble.partition.shard[forget], ensemble.partition.slice[forget]
    first = {int(s): int(slice_[shard == s].min()) for s in shard.unique()}  # slices before it have not seen the rows
    new = Sisa(ensemble.members, ensemble.partition, removed=removed, recipe=ensemble.recipe, build=ensemble.build,
               folder=ensemble.folder, ledger=list(ensemble.ledger))
    return _run(new, data, first, forget.tolist(), workers)


def load(folder, data, build, workers: int | None = None) -> Sisa:
    """Open an ensemble that an earlier process trained into `folder`.

    A shard whose last checkpoint is not sound (damaged, or the process was killed while it unlearned) is trained
    on from its last sound one, with a warning and a note in the ledger.
    """
    about, log = _read(folder, "ensemble"), _read(folder, "ledger")
    partition = Partition(torch.tensor(about["shard"]), torch.tensor(about["slice"]), about["shards"],
                          about["recipe"]["slices"])
    if len(data.y) != len(partition.shard):
        raise LabError(f"The ensemble was trained on {len(partition.shard)} rows and got data of {len(data.y)}: give "
                       "the data of its training, forgotten rows in their place.")
    for line in log["ledger"]:  # JSON's keys are strings
        line["restarted after slice"] = {int(s): start for s, start in line["restarted after slice"].items()}
    fresh = [build(seed_of(about["recipe"]["seed"], s, 0)) for s in range(about["shards"])]
    ensemble = Sisa(fresh, partition, removed=log["removed"], recipe=about["recipe"], build=build, folder=folder,
                    ledger=log["ledger"])
    return _run(ensemble, data, {s: partition.slices for s in range(partition.shards)}, log.get("pending", []), workers)


@dataclass
class Exactness:
    """equal: bitwise. compared: number of tensors. differing: where they differ, as 'shard 2 after slice 4: name'."""

    equal: bool
    compared: int
    differing: list[str]


def verify_exact(ensemble: Sisa, data, workers: int | None = None) -> Exactness:
    """Train the same SISA from scratch without the forgotten rows and compare every tensor with torch.equal.

    Compared are the members and everything in the checkpoints, optimiser state included. In the from-scratch run the
    forgotten rows hold NaN and the label −1, so that a run that reads one of them cannot end well. The partition is
    the same, by design: it says where the rows that are left lie.
    """
    x, y = data.x.clone(), data.y.clone()
    x[list(ensemble.removed)], y[list(ensemble.removed)] = float("nan"), -1
    p, settings = ensemble.partition, dict(ensemble.recipe)
    with tempfile.TemporaryDirectory() as folder:
        scratch = train(SimpleNamespace(x=x, y=y), folder, build=ensemble.build, shards=p.shards, partition=p,
                        without=ensemble.removed, workers=workers, **settings)
        compared, differing = 0, []
        for s in range(p.shards):
            pairs = [("in use", checkpoints.state(ensemble.members[s]), checkpoints.state(scratch.members[s]))]
            for done in kept_slices(p.slices, settings["keep"]):
                pair = []
                for e in (ensemble, scratch):
                    try:
                        pair.append(checkpoints.load(e.folder, s, done, p.rows(s, done, e.removed), e.recipe))
                    except LookupError:
                        pair.append({})
                pairs.append((f"after slice {done}", *pair))
            for when, a, b in pairs:
                for name in a.keys() | b.keys():
                    compared += 1
                    if name not in a or name not in b or not torch.equal(a[name], b[name]):
                        differing.append(f"shard {s} {when}: {name}")
    return Exactness(not differing, compared, sorted(differing))


def _run(ensemble, data, first, asked, workers):
    """Train each shard of `first` on from the slice given there; put the new members and a ledger line in place."""
    torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)  # its first use in a process takes seconds: not counted
    wall, cpu = time.perf_counter(), time.process_time()
    ledger = {"removed": ensemble.removed, "ledger": ensemble.ledger}  # grows with the line below
    store.save(ensemble.folder / "ledger.json", ledger | {"pending": asked})
    wiped = sum(checkpoints.wipe(ensemble.folder, s, after) for s, after in first.items())
    cpu = time.process_time() - cpu
    work = dict(zip(first, parallel(lambda s: train_shard(ensemble, data, s, first[s]), first, workers), strict=True))
    for s, done in work.items():
        ensemble.members[s] = ensemble.build(seed_of(ensemble.recipe["seed"], s, 0))
        checkpoints.restore(done["tensors"], ensemble.members[s].eval())
    notes = [note for done in work.values() for note in done["notes"]]
    for note in notes:
        warnings.warn(f"SISA: {note}", stacklevel=3)
    if asked or notes or not ensemble.ledger:
        ensemble.ledger.append({
            "asked": asked, "restarted after slice": {s: done["start"] for s, done in work.items()},
            "visits": sum(done["visits"] for done in work.values()), "seconds": time.perf_counter() - wall,
            "cpu_seconds": cpu + sum(done["cpu"] for done in work.values()), "destroyed": wiped,
            "bytes": checkpoints.size(ensemble.folder), "notes": notes})
        store.save(ensemble.folder / "ledger.json", ledger)
    return ensemble.eval()


def _read(folder, name):
    try:
        return store.load(Path(folder) / f"{name}.json")[0]
    except LookupError:
        raise LabError(f"There is no SISA ensemble in the folder {Path(folder).name!r} ({name}.json "
                       "is missing or damaged): give the folder that sisa.train wrote to.") from None
