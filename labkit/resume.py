"""Long runs that are cut off: what they have computed stays on disk, and the same run goes on from there."""

import hashlib
import json
import os
import re
import time
from pathlib import Path

import torch
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of

from .base import make_folder, write_bytes

SECONDS = "resume.cpu_seconds"


def result(folder, name: str, function, item):
    """function(item), a JSON value; or what an interrupted run left of it in `folder` under `name`.

    The folder is Lab.unfinished's: another one for other code, data or settings. Tuples come back as lists.
    """
    path = _path(folder, f"{function.__name__} {name}", "json")
    blob = read(path)
    if blob is None:
        blob = json.dumps(function(item), default=lambda value: value.tolist()).encode()
        write(path, blob)
    return json.loads(blob)


def network(folder, name: str, fresh, train):
    """train() -> network, and the CPU seconds it took; or the network that an interrupted run left, and its seconds.

    fresh: an untrained network of the same kind, which takes the kept weights. folder: None keeps nothing.
    """
    path = None if folder is None else _path(folder, f"network {name}", "safetensors")
    if path and (blob := read(path)) is not None:
        tensors = tensors_of(blob)
        seconds = float(tensors.pop(SECONDS))
        fresh.load_state_dict(tensors)
        return fresh.eval(), seconds
    start = time.process_time()
    model = train()
    seconds = time.process_time() - start
    if path:
        tensors = {k: t.detach().cpu().contiguous() for k, t in model.state_dict().items()}
        write(path, bytes_of(tensors | {SECONDS: torch.tensor(seconds, dtype=torch.double)}))
    return model, seconds


def _path(folder, name, ending):
    return Path(folder) / f"{re.sub(r'[^a-z0-9.]+', '-', name.lower()).strip('-')}.{ending}"


def read(path):
    """The content behind the checksum of the first line; None when there is no file or it is damaged."""
    try:
        digest, _, blob = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    return blob if hashlib.sha256(blob).hexdigest().encode() == digest else None


def write(path, blob):
    """Under another name, then renamed: a run that is killed leaves no half file."""
    make_folder(path.parent)
    write_bytes(path, hashlib.sha256(blob).hexdigest().encode() + b"\n" + blob, part=f"{os.getpid()}.tmp")
