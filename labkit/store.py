"""One store for what stays on disk: JSON and tensors, whole and checksummed, without pickle."""

import json
import re
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of

from .base import make_folder, sha256, write_bytes

MARK = b', "sha256": "'


def plain(tensors) -> dict:
    """Copies on the CPU, in rows, without gradients: what safetensors and checksums want."""
    return {name: t.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, t in tensors.items()}


def save(path, about: dict, tensors=None, beside=None):
    """Write a line of JSON with the sha256 of all, and behind it the tensors as safetensors.

    about: JSON, not empty. tensors: name -> tensor. beside: a path for them. LabError: disk full.
    """
    text = json.dumps(about).encode()
    blob = bytes_of(plain(tensors)) if tensors else b""
    line = text[:-1] + MARK + sha256(text, blob).encode() + b'"}'
    make_folder(Path(path).parent)
    if beside:
        write_bytes(beside, blob)
    write_bytes(path, line + b"\n" + blob if blob and not beside else line)


def load(path, beside=None):
    """-> (about, tensors) as they were saved, or a LookupError that says in a few words why not."""
    try:
        line, _, blob = Path(path).read_bytes().partition(b"\n")
        blob = Path(beside).read_bytes() if beside else blob
    except FileNotFoundError:
        raise LookupError("is missing") from None
    except OSError:
        raise LookupError("cannot be read") from None
    text, mark, digest = line.rpartition(MARK)
    if not mark:
        raise LookupError("cannot be read")
    if digest != sha256(text + b"}", blob).encode() + b'"}':
        raise LookupError("is damaged: its checksum does not fit")
    return json.loads(text + b"}"), tensors_of(blob) if blob else {}


def result(folder, name: str, function, item):
    """function(item), a JSON value; or what a run that was cut off left of it in `folder`.

    Other code, data or settings need another folder. Tuples come back as lists.
    """
    path = path_of(folder, f"{function.__name__} {name}", "json")
    with suppress(LookupError):
        return load(path)[0]["value"]
    kept = json.dumps({"value": function(item)}, default=lambda value: value.tolist())
    save(path, kept := json.loads(kept))
    return kept["value"]


def path_of(folder, name: str, ending: str) -> Path:
    """A file of the folder, named in small letters, digits, points and hyphens."""
    return Path(folder) / f"{re.sub(r'[^a-z0-9.]+', '-', name.lower()).strip('-')}.{ending}"
