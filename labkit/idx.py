"""Idx files, the format of MNIST, also gzipped, and downloads that leave no half of one behind."""

import gzip
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from .base import LabError


def read_idx(path: Path) -> np.ndarray:
    """An idx file of bytes, gzipped or not: its array, uint8."""
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        shape = np.frombuffer(data, ">i4", data[3], 4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, zlib.error):
        raise LabError(f"{path} is missing or damaged: install its package again, or remove its "
                       "folder.") from None


@contextmanager
def whole_downloads(folder):
    """What a failed download began in `folder` goes: torchvision takes half a file for whole."""
    before = set(folder.rglob("*"))
    try:
        yield
    except BaseException:  # Ctrl-C too
        for path in set(folder.rglob("*")) - before:
            if path.is_file():
                path.unlink()
        raise


def whole_idx(path) -> bool:
    """Whether it is an idx file by its name, and can be read."""
    with suppress(LabError):
        return "-ubyte" in path.name and read_idx(path).size > 0
    return False
