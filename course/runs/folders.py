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

DONE = ("skipped", "ok")  # how a finished run ended: the later stays
STALE = 24 * 3600  # seconds after which the leftovers of a killed run are swept away


@contextmanager
def locked(path, wait=True, shared=False):
    """-> (whether the lock is ours, the descriptors that hold it); (None, …) without locks.

    A lock ends with its process and with those that inherited its descriptor. flock's by hand:
    filelock locks no folders, hands its lock to no child, and where a drive knows no flock it
    leaves a file that outlives a killed process.
    """
    ours, handles = None, ()
    with suppress(ImportError, OSError):
        import fcntl

        handles = (os.open(path, os.O_RDONLY),)
        try:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(handles[0], kind if wait else kind | fcntl.LOCK_NB)
            ours = True
        except BlockingIOError:
            ours = False
    try:
        yield ours, handles
    finally:
        for handle in handles:
            os.close(handle)


def held(path):
    """Whether a living process holds a lock; None where nobody can tell, as on Windows."""
    with locked(path, wait=False, shared=True) as (free, _):
        return None if free is None else not free


@contextmanager
def under_way(final):
    """-> .tmp-<run>-…, a folder whose lock this process holds; it is gone when the block ends.

    LabError when the disk is full or the folder cannot be written.
    """
    token = secrets.token_hex(4)  # not the time: the clock may be set back
    temporary = final.parent / f".tmp-{final.name}-{os.getpid()}-{token}"
    fresh = make_folder(final.parent / f".new-{token}")
    with locked(fresh):
        try:
            fresh.rename(temporary)  # nobody sees it without its lock, as that of a killed run
            yield temporary
        except OSError as problem:
            raise LabError(f"The run {final.name} could not be kept in {str(final.parent)!r} "
                           f"({problem.strerror}): make room there or give another folder, and "
                           "run it again.") from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def put(temporary, final) -> Path:
    """Give a complete run its place; -> the place.

    What is finished stays: a failure goes beside it, to <run>-failed, and a run that skipped to
    <run>-skipped where one was ok.
    """
    with locked(final.parent):  # of two that end at once the second sees the first
        better = _rank(temporary) >= _rank(final)
        status = record_in(temporary)["status"]
        place = final if better else final.with_name(f"{final.name}-{status}")
        _swap(temporary, place)
        of_no_use = [left for left in final.parent.glob(".tmp-*")
                     if run_of(left) == final.name and held(left) is False]
        if status in DONE:
            of_no_use.append(final.with_name(f"{final.name}-failed"))
        for left in of_no_use:
            shutil.rmtree(left, ignore_errors=True)
        return place


def _swap(temporary, place):
    """As near to one step as folders allow: the old run steps aside, the new one takes its name."""
    aside = temporary.with_name(f"{temporary.name}.old")
    while True:
        with suppress(FileNotFoundError):
            place.rename(aside)
        try:
            temporary.rename(place)  # killed before, the next run's tidy puts the one aside back
            return shutil.rmtree(aside, ignore_errors=True)
        except OSError as problem:
            if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                with suppress(OSError):
                    aside.rename(place)
                raise
            shutil.rmtree(aside, ignore_errors=True)  # without locks, another was quicker


def tidy(runs):
    """Put in place what was complete when killed; remove what other killed runs left a day ago, and
    the locks of runs that have a record.
    """
    with locked(runs):  # not while another process has put the old run aside
        for left in _traces(runs):
            # held until it is gone: a job that took it in between would have a lock nobody sees;
            # shared: who asks meanwhile whether the run lives is not misled
            with locked(left, wait=False, shared=True) as (free, _), suppress(OSError):
                final = runs / run_of(left)
                if free is False:  # it lives
                    continue
                if left.is_file() and record_in(final):
                    left.unlink()
                elif free and record_in(left) and not final.exists():
                    left.rename(final)
                elif time.time() - left.stat().st_mtime > STALE:
                    shutil.rmtree(left, ignore_errors=True)


def unfinished(runs) -> dict:
    """Run -> a record for each that was begun and left none: "lost" (killed) or "under way"."""
    begun = {}
    for left in _traces(runs):
        if not (runs / run_of(left) / "record.json").exists():
            begun.setdefault(run_of(left), []).append(left)
    return {name: _unfinished(name, traces) for name, traces in begun.items()}


def _unfinished(name, traces):
    record = {"notebook": name, "parameters": {}, "claims": [], "source": str(traces[-1])}
    for notebook in (file for trace in traces for file in trace.glob("*.ipynb")):
        with suppress(LabError):
            record |= {"notebook": notebook.stem, "parameters": notebook_parameters(notebook)}
    alive = [held(trace) for trace in traces]
    if True in alive:
        return record | {"status": "under way", "error": "Its record comes when it has ended."}
    maybe = " or is still under way" if None in alive else ""
    return record | {"status": "lost", "error": "It was killed before its record was complete"
                                                f"{maybe}. Run it again."}


def _traces(runs):
    """The locks and unfinished folders there are."""
    return sorted([*runs.glob(".lock-*"), *runs.glob(".tmp-*")])


def run_of(trace) -> str:
    """The run whose lock or unfinished folder this is."""
    kind, _, name = trace.name[1:].partition("-")
    return name if kind == "lock" else name.rsplit("-", 2)[0]


def read_record(path) -> dict:
    """The record in a file. ValueError when it is none, is cut off, or is not as it was written."""
    record = json.loads(Path(path).read_text(encoding="utf-8"))
    if isinstance(record, dict) and record.get("digest", digest(record)) != digest(record):
        raise ValueError("its digest does not fit, so it was changed after it was written")
    return record


def record_in(folder) -> dict | None:
    """The record of a run that has ended; None where it is not there, or damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = read_record(folder / "record.json")
        return record if record["status"] else None


def digest(record) -> str:
    """12 hex digits over all of a record but its digest, as it reads once it has been JSON."""
    plain = json.loads(json.dumps(record, default=str))
    plain.pop("digest", None)
    return sha256(json.dumps(plain, sort_keys=True).encode(), digits=12)


def _rank(folder):
    """0 for no finished run, else from 1 on its place in DONE."""
    status = (record_in(folder) or {}).get("status")
    return DONE.index(status) + 1 if status in DONE else 0
