"""A run's folder: hidden and locked while it lives, then renamed; and what killed runs leave."""

import errno
import json
import os
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from course.runs.notebook import notebook_parameters
from labkit.base import LabError, make_folder, sha256

ORDER = ("skipped", "ok")  # how a finished run ended: the later stays
# Locks are flock's, by hand: filelock locks no folders, hands its lock to no child, and where a
# drive knows no flock it leaves a file that outlives a killed process.
STALE = 24 * 3600  # seconds after which the leftovers of a killed run are swept away


@contextmanager
def under_way(final):
    """-> .tmp-<run>-…, a folder whose lock this process holds; it is gone when the block ends.

    LabError when the disk is full or the folder cannot be written.
    """
    token = secrets.token_hex(4)  # not the time: the clock may be set back
    temporary = final.parent / f".tmp-{final.name}-{os.getpid()}-{token}"
    fresh = make_folder(final.parent / f".new-{token}")
    lock = _lock(fresh)
    try:
        fresh.rename(temporary)  # nobody sees it without its lock, as that of a killed run
        yield temporary
    except OSError as problem:
        raise LabError(f"The run {final.name} could not be kept in {str(final.parent)!r} "
                       f"({problem.strerror}): make room there or give another folder, and run it "
                       "again.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def put(temporary, final) -> Path:
    """Give a complete run its place; -> the place.

    What is finished stays: a failure goes beside it, to <run>-failed, and a run that skipped to
    <run>-skipped where one was ok.
    """
    guard = _lock(final.parent)  # of two that end at once the second sees the first
    try:
        new, failure = _rank(temporary), final.with_name(f"{final.name}-failed")
        beside = final.with_name(f"{final.name}-{ORDER[new - 1]}") if new else failure
        place = beside if new < _rank(final) else final
        _put(temporary, place)
        killed = [left for left in final.parent.glob(".tmp-*")
                  if run_of(left) == final.name and held(left) is False]
        for left in [failure] * (new > 0) + killed:
            shutil.rmtree(left, ignore_errors=True)
        return place
    finally:
        if guard is not None:
            os.close(guard)


def _put(temporary, final):
    """As near to one step as folders allow: the old run steps aside, the new one takes its name."""
    aside = temporary.with_name(f"{temporary.name}.old")
    while True:
        with suppress(FileNotFoundError):
            final.rename(aside)
        try:
            temporary.rename(final)
            break
        except OSError as problem:
            if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                with suppress(OSError):
                    aside.rename(final)
                raise
            shutil.rmtree(aside, ignore_errors=True)  # another process was quicker: that goes
    shutil.rmtree(aside, ignore_errors=True)


def tidy(runs):
    """Put in place what was complete when killed; remove what other killed runs left a day ago."""
    for left in sorted(runs.glob(".tmp-*")):
        if alive := held(left):
            continue
        with suppress(OSError):
            if alive is False and _complete(left) and not (runs / run_of(left)).exists():
                left.rename(runs / run_of(left))
            elif time.time() - left.stat().st_mtime > STALE:
                shutil.rmtree(left, ignore_errors=True)


def unfinished(runs) -> list[dict]:
    """A record for each run that was begun and left none: "lost" (killed) or "under way"."""
    begun = {}
    for left in sorted([*runs.glob(".lock-*"), *runs.glob(".tmp-*")]):
        if not (runs / run_of(left) / "record.json").exists():
            begun.setdefault(run_of(left), []).append(left)
    found = []
    for name, traces in begun.items():
        record = {"notebook": name, "status": "lost", "parameters": {}, "claims": [],
                  "source": str(traces[-1])}
        for notebook in (file for trace in traces for file in trace.glob("*.ipynb")):
            with suppress(LabError):
                record |= {"notebook": notebook.stem, "parameters": notebook_parameters(notebook)}
        alive = [held(trace) for trace in traces]
        if True in alive:
            record |= {"status": "under way", "error": "Its record comes when it has ended."}
        else:
            maybe = " or is still under way" if None in alive else ""
            record["error"] = f"It was killed before its record was complete{maybe}. Run it again."
        found.append(record)
    return found


def held(path):
    """Whether a living process holds a lock; None where nobody can tell, as on Windows."""
    lock = _lock(path, wait=False)
    if lock is not None and lock is not True:
        os.close(lock)
        return False
    return lock


def run_of(trace) -> str:
    """The run whose lock or unfinished folder this is."""
    if trace.name.startswith(".lock-"):
        return trace.name.removeprefix(".lock-")
    return trace.name.removeprefix(".tmp-").rsplit("-", 2)[0]


@contextmanager
def locked(path, wait, stopped):
    """-> (whether the job is ours, the descriptors that hold it). The run inherits the lock: it
    ends with the process.

    So a run whose sweep was killed with -9 still has it, and nothing needs to be cleaned up. Not on
    Windows.
    """
    try:
        import fcntl
    except ImportError:
        yield True, ()
        return
    while True:
        with open(path, "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine = path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())
            except OSError:
                mine = False
            if mine or not wait or stopped():
                yield mine, (file.fileno(),) if mine else ()
                if mine:
                    path.unlink(missing_ok=True)
                return
        time.sleep(0.25)


def read_record(path) -> dict:
    """The record in a file. ValueError when it is none, is cut off, or is not as it was written."""
    record = json.loads(Path(path).read_text(encoding="utf-8"))
    if isinstance(record, dict) and record.get("digest", digest(record)) != digest(record):
        raise ValueError("its digest does not fit, so it was changed after it was written")
    return record


def digest(record) -> str:
    """12 hex digits over all of a record but its digest, as it reads once it has been JSON."""
    plain = json.loads(json.dumps(record, default=str))
    plain.pop("digest", None)
    return sha256(json.dumps(plain, sort_keys=True).encode(), digits=12)


def _lock(path, wait=True):
    """A descriptor that holds the lock; True when another process does, None without locks."""
    try:
        import fcntl

        handle = os.open(path, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_SH | fcntl.LOCK_NB)
        return handle
    except OSError as problem:
        os.close(handle)
        return True if isinstance(problem, BlockingIOError) else None


def _complete(folder) -> bool:
    with suppress(OSError, ValueError):
        return isinstance(read_record(folder / "record.json"), dict)
    return False


def _rank(folder) -> int:
    """0 for no finished run, else from 1 on its place in ORDER."""
    with suppress(OSError, ValueError, AttributeError):
        return 1 + ORDER.index(read_record(folder / "record.json").get("status"))
    return 0
