"""A provider's log on disk: each step's batch, rate and hashes, chained; checkpoints beside it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of

from labkit.base import LabError, sha256, write_bytes
from labkit.rules import is_number, is_whole
from labkit.store import plain

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Log:
    """A log whose chain holds.

    header: recipe, number of rows, digest of the data; lines: one dict a step; checkpoints: the
    steps whose weights are on disk; head: hash of the whole, which a provider can publish.
    """

    folder: Path
    header: dict
    lines: list
    checkpoints: list
    head: str


def save(folder, step, model, velocity, keep=True) -> dict:
    """Write a checkpoint unless keep is False; -> hashes of weights and buffers, of momentum."""
    tensors = plain(tensors_in(model, velocity))
    if keep:
        file_of(folder, step).write_bytes(bytes_of(tensors))
    return _hashes(tensors)


def write_log(folder, header, lines):
    """Chain the lines, each with the hash of the line before, and write them all at once."""
    previous, out = "", []
    for entry in (header, *lines, {"end": len(lines)}):
        out.append(json.dumps(entry | {"previous": previous}))
        previous = _sha(out[-1].encode())
    write_bytes(Path(folder) / "log.jsonl", ("\n".join(out) + "\n").encode())


def load_log(folder, data=None) -> Log:
    """Read a log; check its chain, its form, its checkpoints and, if given, that it is of `data`.

    Raises LabError, one sentence, at the first fault. A chain shows that nothing was changed after
    the head was published; a provider can chain anything, so it says nothing about whether the
    steps were made.
    """
    folder = Path(folder)
    header, lines, head = _chain(folder)
    if fault := _fault(header, lines):
        raise LabError(f"The log cannot be replayed: {fault}; ask the provider for a complete one.")
    if data is not None and (header.get("data"), header["n"]) != (data.digest(), len(data.y)):
        raise LabError(f"The log belongs to other data (digest {header.get('data')}, not "
                       f"{data.digest()}): give the data that the model was trained on.")
    at = sorted({*range(0, len(lines), header["every"]), len(lines)})
    here = set(os.listdir(folder))
    if missing := [s for s in at if file_of("", s).name not in here]:
        raise LabError(f"The checkpoint of step {missing[0]} is missing: a log needs one every "
                       f"{header['every']} steps, and the first and the last.")
    return Log(folder, header, lines, at, head)


def _chain(folder):
    """-> (header, lines, hash of the last line) of a log whose chain holds."""
    try:
        out = (folder / "log.jsonl").read_bytes().split(b"\n")
    except OSError:
        raise LabError(f"There is no log in {folder}: give the folder that the provider wrote."
                       ) from None
    if out[-1] or len(out) < 3 or not out[-2].startswith(b'{"end": '):
        raise LabError("The log is truncated: its last line is missing; ask the provider for the "
                       "whole file.")
    previous, entries = "", []
    for i, text in enumerate(out[:-1], 1):
        entry = _object(text)
        if entry.pop("previous", None) != previous:
            raise LabError(f"The chain of the log breaks at line {i}: it or the line before was "
                           "changed, or one is missing; ask for the log as it was written.")
        before, previous = previous, _sha(text)
        entries.append(entry)
    header, *lines, end = entries
    last = json.dumps({"end": len(lines), "previous": before}).encode()
    if end != {"end": len(lines)} or out[-2] != last:
        raise LabError(f"The last line of the log is not that of {len(lines)} steps: it was "
                       "changed or steps are missing; ask for the log as it was written.")
    return header, lines, previous


def shown(folder, steps) -> list:
    """The first steps of a log as one reads them: rows and hashes shortened. -> [dict] a line."""
    lines = (Path(folder) / "log.jsonl").read_text(encoding="utf-8").splitlines()
    out = []
    for text in lines[1 : 1 + steps]:
        line = json.loads(text)
        rows = ", ".join(map(str, line["rows"][:4])) + f", … ({len(line['rows'])})"
        out.append({"step": line["step"], "rows of the batch": rows, "learning rate": line["lr"],
                    "hash of the weights": line["weights"][:8] + "…",
                    "hash of the line before": line["previous"][:8] + "…",
                    "hash of this line": _sha(text.encode())[:8] + "…"})
    return out


def tampered(folder, step, place) -> str:
    """What load_log says of a log in which one row of a step was changed and the rest left.

    place: an empty or new folder for the changed copy of its lines.
    """
    lines = (Path(folder) / "log.jsonl").read_text(encoding="utf-8").splitlines()
    line = json.loads(lines[step])  # line 0 is the header
    line["rows"][0] += 1
    lines[step] = json.dumps(line)
    Path(place).mkdir(parents=True, exist_ok=True)
    (Path(place) / "log.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    try:
        load_log(place)
    except LabError as refusal:
        return str(refusal)
    return ""


def checkpoint(log, step, model=None) -> dict:
    """The tensors after `step` ('model.…' and 'momentum.…'), if their hashes are the logged ones.

    model: whose names and shapes they must have, momentum buffers among them where the recipe has
    momentum.
    """
    entry = log.lines[step - 1] if step else log.header
    try:
        tensors = tensors_of(file_of(log.folder, step).read_bytes())
        fits = _hashes(tensors) == {k: entry.get(k) for k in ("weights", "momentum")}
    except Exception:  # whatever safetensors says of bytes that are not its own
        fits = False
    if not fits:
        raise LabError(f"The checkpoint of step {step} is not the logged one: its hash differs, so "
                       "it was changed or comes from another run.")
    if model is None:
        return tensors
    momentum = log.header["recipe"]["momentum"]
    if momentum and not any(k.startswith("momentum.") for k in tensors):
        raise LabError(f"The checkpoint of step {step} lacks the momentum buffers, and momentum is "
                       "not 0: without them the next step cannot be replayed; ask for them.")
    due = tensors_in(model, dict(model.named_parameters()) if momentum else {})
    if {k: t.shape for k, t in tensors.items()} != {k: t.shape for k, t in due.items()}:
        raise LabError("The log holds another network than the one it is replayed with: give the "
                       "build of the served model.")
    return tensors


def tensors_in(model, velocity) -> dict:
    """What a checkpoint holds: weights and buffers as 'model.…', momentum as 'momentum.…'."""
    return ({f"model.{k}": t for k, t in model.state_dict().items()}
            | {f"momentum.{k}": t for k, t in velocity.items()})


def restored(tensors, model) -> dict:
    """Put a checkpoint into `model`, in place; -> momentum by name, like its weights."""
    model.load_state_dict({k[6:]: t for k, t in tensors.items() if k.startswith("model.")})
    return {k: tensors[f"momentum.{k}"].to(p, copy=True) for k, p in model.named_parameters()
            if f"momentum.{k}" in tensors}


def file_of(folder, step) -> Path:
    """The checkpoint after `step` steps."""
    return Path(folder) / f"step-{step:06d}.safetensors"


def _fault(header, lines):
    """What is wrong with the form of a log, in a few words, or None."""
    recipe = header["recipe"] if isinstance(header.get("recipe"), dict) else {}
    whole = header.get("every"), header.get("n"), recipe.get("epochs"), recipe.get("batch_size")
    rates = [recipe.get(k) for k in ("lr", "momentum", "weight_decay")]
    if header.get("format") != FORMAT or not all(is_whole(v) and v > 0 for v in whole):
        return "its header lacks the format, the recipe, or the number of rows"
    if not all(is_number(v) and 0 <= v < float("inf") for v in rates):
        return "its recipe lacks the learning rate, momentum or weight decay"
    epoch = 0
    for i, line in enumerate(lines, 1):
        rows, at = line.get("rows"), line.get("epoch")
        if line.get("step") != i or not is_whole(at) or at not in (epoch, epoch + 1):
            return f"line {i + 1} is not that of step {i}, or its epoch is out of order"
        if not isinstance(rows, list) or not set(map(type, rows)) <= {int} or not all(
                0 <= r < header["n"] for r in (min(rows, default=0), max(rows, default=0))):
            return f"step {i} names rows that do not exist"
        if len(rows) > recipe["batch_size"] or line.get("lr") != recipe["lr"]:
            return f"step {i} has another batch size or learning rate than the recipe"
        epoch = at
    if not lines or epoch != recipe["epochs"] - 1:
        return f"it has {len(lines)} steps and does not reach the last of {recipe['epochs']} epochs"
    return None


def _object(text):
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        entry = None
    return entry if isinstance(entry, dict) else {}


def _hashes(tensors):
    """sha256 of names, shapes, types and bytes: of weights with buffers, of momentum or None."""
    found = {}
    for part, start in (("weights", "model."), ("momentum", "momentum.")):
        blobs = [blob for k, t in sorted(tensors.items()) if k.startswith(start)
                 for blob in (_kind(k, t), t.numpy())]
        found[part] = _sha(*blobs) if blobs else None
    return found


def _kind(name, tensor):
    """Name, shape, and the type if not float32: bytes read as another type are other numbers."""
    kind = "" if tensor.dtype == torch.float32 else str(tensor.dtype)
    return f"{name}{tuple(tensor.shape)}{kind}".encode()


def _sha(*blobs):
    return sha256(*blobs, digits=32)
