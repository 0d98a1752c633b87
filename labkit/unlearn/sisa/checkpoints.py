"""Checkpoints of a shard: safetensors and JSON, checked before they are trusted."""

import os
from contextlib import suppress
from pathlib import Path

import torch

from ... import store
from ...base import LabError, sha256

FORMAT = 2  # 1: the checksum was that of the tensors alone


def path(folder, shard: int, done: int) -> Path:
    """The checkpoint of a shard after its first `done` slices; its JSON lies beside it."""
    return Path(folder) / f"shard-{shard:03d}-after-{done:03d}.safetensors"


def save(folder, shard, done, model, optimizer, seen, recipe):
    """Write the full state after `done` slices: weights, buffers, the optimiser's state, counters.

    seen: (m,) ids of the rows it was trained on: their hash is kept. optimizer: None leaves its
    state out, a fault. Learning rate and random numbers follow from (seed, shard, slice).
    """
    target = path(folder, shard, done)
    about = {"format": FORMAT, "shard": shard, "slices done": done,
             "rows seen": fingerprint(seen), "recipe": recipe}
    store.save(target.with_suffix(".json"), about, state(model, optimizer), beside=target)


def load(folder, shard, done, seen, recipe) -> dict | None:
    """The tensors of a sound checkpoint, or a LookupError that says in a few words why not."""
    target, name = path(folder, shard, done), f"checkpoint of shard {shard} after slice {done}"
    with suppress(OSError):
        if target.with_suffix(".json").read_bytes().startswith(b'{"format": 1, '):
            raise LookupError(f"the {name} is of an earlier version of labkit")
    try:
        about, tensors = store.load(target.with_suffix(".json"), beside=target)
    except LookupError as fault:
        raise LookupError(f"the {name} {fault}") from None
    kept = [about.get(key) for key in ("format", "recipe", "shard", "slices done")]
    if kept != [FORMAT, recipe, shard, done]:
        raise LookupError(f"the {name} belongs to another run")
    if about.get("rows seen") != fingerprint(seen):
        raise LookupError(f"the {name} has seen other rows than the ones that are left")
    return tensors


def state(model, optimizer=None) -> dict:
    """All tensors of a model (weights and buffers) and of its optimiser, under flat names."""
    tensors = {f"model.{name}": t for name, t in model.state_dict().items()}
    kept = optimizer.state_dict()["state"] if optimizer else {}
    tensors |= {f"optimizer.{i}.{key}": t for i, values in kept.items()
                for key, t in values.items() if isinstance(t, torch.Tensor)}
    return store.plain(tensors)


def restore(tensors, model, optimizer=None):
    """Put a checkpoint's tensors back into a model and, if given, its optimiser, in place."""
    weights, kept = {}, {}
    for part, key, t in ((*name.split(".", 1), t) for name, t in tensors.items()):
        if part == "model":
            weights[key] = t
        else:
            i, key = key.split(".", 1)
            kept.setdefault(int(i), {})[key] = t
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise LabError("The checkpoints hold another network than `build` makes: give the build "
                       "that the ensemble was trained with.") from None
    if optimizer is not None:
        optimizer.load_state_dict(optimizer.state_dict() | {"state": kept})


def wipe(folder, shard: int, after: int) -> int:
    """Destroy a shard's checkpoints after more than `after` slices; -> how many there were.

    Overwritten with zeros, flushed to the disk, then removed. Backups, snapshots and spare blocks
    of SSDs keep what they have: there, keep the folder encrypted and destroy the key.
    """
    names = f"shard-{shard:03d}-after-"
    stale = [p for p in Path(folder).glob(f"{names}*.safetensors")
             if int(p.stem.rsplit("-", 1)[1]) > after]
    files = [*Path(folder).glob(f"{names}*.part"),  # what a killed process was writing
             *(file for p in stale for file in (p, p.with_suffix(".json")))]
    try:
        for file in filter(Path.exists, files):
            with open(file, "r+b") as f:
                f.write(bytes(file.stat().st_size))
                f.flush()
                os.fsync(f.fileno())
            file.unlink()
    except OSError as problem:
        raise LabError(f"{str(file)!r} holds what is to be forgotten and cannot be destroyed "
                       f"({problem.strerror}): make its folder writable, then open the ensemble "
                       "with sisa.load.") from None
    return len(stale)


def size(folder) -> int:
    """Bytes of all checkpoints in a folder, their JSON included."""
    return sum(p.stat().st_size for p in Path(folder).glob("shard-*"))


def fingerprint(rows) -> str:
    """sha256 of row ids, 16 hex digits: which rows, not what is in them."""
    return sha256(rows.cpu().numpy().astype("<i8").tobytes(), digits=16)
