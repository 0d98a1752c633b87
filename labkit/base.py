"""What every other module needs: one kind of error, the device, seeds, where files lie."""

import errno
import hashlib
import os
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np

LARGEST_SEED = 2**64 - 1  # torch takes no larger one


class LabError(Exception):
    """Something the user can mend. One sentence: what was wrong, what was expected, what to do."""

    def _render_traceback_(self):  # IPython shows this instead of a traceback
        return [f"labkit: {self}"]


class Diverged(LabError):
    """Training or unlearning blew the weights up: there is no model to release."""


class NotForThisData(LabError):
    """The notebook cannot use this data set; its run is recorded as 'skipped', not 'failed'."""


# a full disk, a spent quota, a folder that is read-only, a file in a folder's place
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM,
              errno.EEXIST, errno.ENOTDIR}


def device(name=None):
    """The torch.device to work on: cuda, else cpu (mps has no double precision), or as asked by
    LABKIT_DEVICE, or by `name`."""
    import torch  # here, so that `labkit --help` need not wait for it
    if chosen := name or os.environ.get("LABKIT_DEVICE"):
        try:
            return torch.device(chosen)
        except RuntimeError:
            what = "The device" if name else "LABKIT_DEVICE"
            raise LabError(f"{what} is {chosen!r}, which torch does not know: use cpu, cuda or "
                           "mps.") from None
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def jobs() -> int:
    """Worker processes to use: LABKIT_JOBS, else the cores this process may use."""
    text = os.environ.get("LABKIT_JOBS", "")
    if text and not (text.isdigit() and int(text) > 0):
        raise LabError(f"LABKIT_JOBS is {text!r}: give a whole number of processes, 1 or more.")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return int(text or cores or 1)


def spawn_seeds(seed: int, n: int, purpose: str = "") -> list[int]:
    """n 32-bit seeds drawn from `seed` for one purpose: seed + 1 would be the next run's own."""
    drawn = np.random.SeedSequence([seed, zlib.crc32(purpose.encode())]).generate_state(n)
    return [int(s) for s in drawn]


def data_path(name: str) -> Path:
    """A file of the project: in the wheel labkit/_data, else the repository's data/."""
    here = Path(__file__).resolve().parent
    for folder in (here / "_data", here.parent / "data"):
        if (folder / name).exists():
            return folder / name
    raise LabError(f"The file data/{name} is missing: install labkit again, or restore it with "
                   "'git checkout data'.")


def cache_path() -> Path:
    """Where downloads go: LABKIT_CACHE, else the repository's data/cache, else ~/.cache/labkit."""
    if folder := os.environ.get("LABKIT_CACHE"):
        return home(folder)
    root = Path(__file__).resolve().parent.parent
    if (root / "pyproject.toml").exists():
        return root / "data" / "cache"
    return Path.home() / ".cache" / "labkit"


def home(path) -> Path:
    """The path with a leading ~ as the home folder: a shell leaves it in --out=~/runs."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise LabError(f"The home folder in {str(path)!r} is unknown: write it out.") from None


def make_folder(path) -> Path:
    """The folder, made with its parents where it is not there. LabError when that is impossible."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise LabError(f"The folder {str(path)!r} cannot be written ({problem.strerror}): give "
                       "another one.") from None
    return Path(path)


def sha256(*blobs: bytes, digits=64) -> str:
    """Hex digits of the SHA-256 over blobs, one after the other."""
    return hashlib.sha256(b"".join(blobs)).hexdigest()[:digits]


def write_bytes(path, content: bytes, advice="make room there, or give another folder"):
    """Write a file in one step: who reads sees the old one or the new one. LabError with advice."""
    fresh = Path(f"{path}.{os.getpid()}.part")  # two processes may write the same file
    try:
        fresh.write_bytes(content)
        os.replace(fresh, path)
    except OSError as problem:
        with suppress(OSError):
            fresh.unlink()
        raise LabError(f"{str(path)!r} cannot be written ({problem.strerror}): {advice}.") from None


def show(function):
    """Show a function's source in a notebook: nothing in labkit is hidden from the reader."""
    import inspect

    from IPython.display import Markdown, display

    root = Path(__file__).resolve().parents[1]
    where = Path(inspect.getsourcefile(function)).resolve().relative_to(root).as_posix()
    display(Markdown(f"```python\n# {where}\n{inspect.getsource(function)}```"))
