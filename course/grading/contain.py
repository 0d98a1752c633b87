"""Runs learners' code in a process that is limited, watched and ended with all it has started; in
bubblewrap if it can. course.grading.grading is the other end, which sends events.
"""

import ctypes
import json
import os
import queue
import secrets
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import psutil

from course.grading.grading import one_line
from course.runs.watch import memory_of

START = 120  # seconds a process may take to import torch
PROCESSES = 32  # that a copy may have at once
DISK = 100  # MB that it may write in bubblewrap
EVENTS = 1000  # that are read of one process; the honest ones are a few for each exercise
STATES = ("right", "tampered", "wrong", "error", "timeout", "out of memory", "crashed",
          "not attempted", "missing")  # the better first; docs/teaching.md says what they mean
# The environment; no secrets go along.
KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "PATHEXT", "COMSPEC")
PLACES = ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "IPYTHONDIR", "MPLCONFIGDIR")
PACKAGE = Path(__file__).resolve().parents[2]
SET = {"PYTHONPATH": str(PACKAGE), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg",
       "PYTHONDONTWRITEBYTECODE": "1", "CUDA_VISIBLE_DEVICES": "", "LABKIT_DEVICE": "cpu",
       "PYTHONIOENCODING": "utf-8"}


def bubblewrap() -> tuple[bool, str]:
    """(whether it works here, a sentence to tell)."""
    why = "is not installed"
    if shutil.which("bwrap"):
        with tempfile.TemporaryDirectory() as folder, suppress(OSError, subprocess.TimeoutExpired):
            probe = [*_bubblewrapped(folder), sys.executable, "-c", "import numpy"]
            if subprocess.run(probe, capture_output=True, timeout=30).returncode == 0:
                return True, ("In bubblewrap: learners' code may write one temporary folder and "
                              "has no network.")
        why = "does not work here (it has to be 0.8 or newer, and allowed to make namespaces)"
    return False, (f"bubblewrap {why}: learners' code runs with your rights. It could write your "
                   "files and use the network. Grade only code you would run, or install "
                   "bubblewrap (Linux).")


def _bubblewrapped(folder):
    """The words before a command that may write this folder, of DISK MB.

    The system is read-only; homes and sockets (Docker's) unseen; no network, no capabilities.
    """
    tops = (Path("/tmp"), Path("/run"), Path.home().resolve())
    hidden = [p for p in tops if p.is_dir() and p != Path("/")]
    needed = {Path(p).resolve() for p in (
        PACKAGE, sys.prefix, sys.base_prefix, *site.getsitepackages(), site.getusersitepackages())}
    needed = [p for p in sorted(needed) if p.is_dir() and any(p.is_relative_to(h) for h in hidden)]
    words = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    words += [w for p in hidden for w in ("--tmpfs", str(p))]
    words += [w for p in needed for w in ("--ro-bind", str(p), str(p))]
    words += ["--size", str(DISK * 2**20), "--tmpfs", folder]
    # read-only: these would take any amount of memory
    words += [w for p in ("/dev", *hidden) for w in ("--remount-ro", str(p))]
    words += ["--chdir", folder, "--unshare-all", "--cap-drop", "ALL"]
    return [*words, "--die-with-parent", "--new-session"]


def run(program, found, timeout, memory, sandbox) -> tuple[list[str], str, str]:
    """Run a program, put its states in `found`. -> (keys under way, how it ended, note)"""
    place = tempfile.TemporaryDirectory(prefix="labkit-grade-", ignore_cleanup_errors=True)
    with place as folder, _adopting() as mine:
        # a shell in between, so that code that kills its parent does not kill the grader
        shell = ["sh", "-c", '"$@"; exit $?', "sh"] if os.name == "posix" else []
        command = _bubblewrapped(folder) if sandbox else shell
        command += [sys.executable, "-m", "course.grading.grading"]
        kept = {k: os.environ[k] for k in KEPT if k in os.environ}
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            cwd=folder, env=kept | dict.fromkeys(PLACES, folder) | SET,
            start_new_session=os.name == "posix")
        try:
            nonce, lines = secrets.token_hex(16), queue.Queue()
            pump = (process.stdout, nonce, lines)
            threading.Thread(target=_pump, args=pump, daemon=True).start()
            keys = keys_of(program)
            longest = START + 2 * timeout * (len(keys) + 1)
            job = {"nonce": nonce, "program": program, "done": [id for _, id in found],
                   "memory": memory, "disk": DISK, "seconds": min(10.0, timeout / 2),
                   "cpu": longest}
            with suppress(OSError):
                process.stdin.write(json.dumps(job).encode())
                process.stdin.close()
            return _follow(process, lines, keys, found, timeout, longest, memory, mine)
        finally:
            _kill(process, mine)


def _follow(process, lines, keys, found, timeout, longest, memory, mine):
    began, doing, limit, since = [], "labkit was being imported", START, time.monotonic()
    latest = since + longest  # whatever it says about itself
    before = _shared(), time.time()
    while True:
        with suppress(queue.Empty):
            event = lines.get(timeout=0.1)
            if event is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                if process.returncode is None:
                    return began, "crashed", f"{doing}, and sent more than {EVENTS} events"
                return began, "crashed", f"{doing}; exit code {process.returncode}"
            if event.get("end"):
                return [], "done", ""
            key = event.get("cell"), event.get("id")
            if key in keys and event.get("state") in STATES:
                better(found, key, event["state"], one_line(event.get("note")))
            if "begin" in event and event["begin"] in [None, *(cell for cell, _ in keys)]:
                began = [key for key in keys if key[0] == event["begin"]]
                doing = "the cell was running" if began else "no exercise's cell was running"
                limit, since = timeout, time.monotonic()
            if not lines.empty():  # what is seen below must not be an earlier cell's
                continue
        if time.monotonic() > min(since + limit, latest):
            return began, "timeout", f"{doing}, for longer than {limit:g} s"
        family = _family(mine)
        if len(family) > PROCESSES:
            return began, "crashed", f"{doing}, and started more than {PROCESSES} processes"
        if max(memory_of(family) / 2**20, _files_in_memory(family, *before)) > memory:
            return began, "out of memory", f"{doing}, and took more than {memory:g} MB"


def keys_of(program):
    """(cell, exercise) of all exercises: a copy may have several cells with one."""
    return [(item["cell"], id) for item in program for id in item["ids"]]


def better(found, key, state, note):
    """Keep the better of two results of one key, by STATES; of two alike the later."""
    if key not in found or STATES.index(state) <= STATES.index(found[key][0]):
        found[key] = (state, note)


def _pump(stream, nonce, lines):
    """The events among a stream's lines, then None. Without the secret others wrote them."""
    with suppress(ValueError, OSError):
        said = iter(lambda: stream.readline(100_000), b"")
        for line in islice((line for line in said if line.startswith(nonce.encode())), EVENTS):
            with suppress(ValueError, RecursionError):
                event = json.loads(line[len(nonce):])
                if isinstance(event, dict):
                    lines.put(event)
    lines.put(None)


@contextmanager
def _adopting():
    """Yields the children that were here. On Linux, what leaves its parent becomes one."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else lambda *_: None
    prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    try:
        yield set(psutil.Process().children(recursive=True))
    finally:
        prctl(36, 0, 0, 0, 0)


def _family(mine):
    """All processes below this one that were not here before."""
    return [p for p in psutil.Process().children(recursive=True) if p not in mine]


def _files_in_memory(family, shared, since):
    """MB of files in memory that these processes hold open, and of this user's in /dev/shm that are
    newer than `since`.

    Not simply what the machine has more of than the `shared` MB before: a browser takes as much.
    That is the measure only where a process hides its files (prctl with PR_SET_DUMPABLE).
    """
    found, held = [], ("/memfd:", "/dev/shm/")
    for process in family:
        try:
            files = list(os.scandir(f"/proc/{process.pid}/fd"))
        except PermissionError:
            return _shared() - shared
        except OSError:  # it has ended, or this is not Linux
            continue
        for file in files:
            with suppress(OSError):
                if os.readlink(file.path).startswith(held):
                    found.append(os.stat(file.path))
    with suppress(OSError):
        here = [file.stat(follow_symlinks=False) for file in os.scandir("/dev/shm")]
        found += [f for f in here if f.st_uid == os.getuid() and f.st_ctime >= since]
    return sum({(f.st_dev, f.st_ino): f.st_blocks for f in found}.values()) * 512 / 2**20


def _shared():
    """MB of files in memory (/dev/shm, memfd_create) of the whole machine; 0 if not told."""
    return getattr(psutil.virtual_memory(), "shared", 0) / 2**20


def _kill(process, mine):
    """End a process and all that came from it; what is being ended may start others."""
    with suppress(OSError, AttributeError):  # Windows has no groups
        os.killpg(process.pid, signal.SIGKILL)
    for _ in range(100):
        for member in (left := _family(mine)):
            with suppress(psutil.Error):
                member.kill()
        psutil.wait_procs(left, timeout=1)  # which also takes their exit statuses
        if not left:
            break
    process.wait()
