"""Runs learners' code in a process that is limited, watched and ended with all it has started; in bubblewrap if it can.

Limits: seconds, memory of all processes together, their number, the size of a file. What the code prints is not read;
events come over a pipe, each behind a secret. course.grading.grading is the other end.
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

START = 120  # seconds a process may take to import torch
PROCESSES = 32  # that a copy may have at once
DISK = 100  # MB that it may write in bubblewrap
EVENTS = 1000  # that are read of one process; the honest ones are a few for each exercise
STATES = ("right", "tampered", "wrong", "error", "timeout", "out of memory", "crashed", "not attempted", "missing")
KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "PATHEXT", "COMSPEC")  # no secrets go along
PACKAGE = Path(__file__).resolve().parents[2]


def bubblewrap() -> tuple[list[str], str]:
    """(the words that wrap a command, a sentence for the teacher). FOLDER stands for the writable folder."""
    words, why = _words(), "is not installed"
    if shutil.which("bwrap"):
        with tempfile.TemporaryDirectory() as folder, suppress(OSError, subprocess.TimeoutExpired):
            probe = [folder if w == "FOLDER" else w for w in words] + [sys.executable, "-c", "import numpy"]
            if subprocess.run(probe, capture_output=True, timeout=30).returncode == 0:
                return words, "In bubblewrap: learners' code may write one temporary folder and has no network."
        why = "does not work here (it has to be 0.8 or newer, and allowed to make namespaces)"
    return [], (f"bubblewrap {why}: learners' code runs with your rights. It could write your files and use the "
                "network. Grade only code you would run, or install bubblewrap (Linux).")


def _words():
    """The system read-only; homes and sockets (an agent's, Docker's) out of sight; no network, no capabilities."""
    hidden = [p for p in (Path("/tmp"), Path("/run"), Path.home().resolve()) if p.is_dir() and p != Path("/")]
    needed = {Path(p).resolve() for p in (PACKAGE, sys.prefix, sys.base_prefix, *site.getsitepackages(),
                                          site.getusersitepackages())}
    needed = [p for p in sorted(needed) if p.is_dir() and any(p.is_relative_to(h) for h in hidden)]
    words = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    words += [w for p in hidden for w in ("--tmpfs", str(p))]
    words += [w for p in needed for w in ("--ro-bind", str(p), str(p))]
    words += ["--size", str(DISK * 2**20), "--tmpfs", "FOLDER"]
    words += [w for p in ("/dev", *hidden) for w in ("--remount-ro", str(p))]  # they would take any amount of memory
    return [*words, "--chdir", "FOLDER", "--unshare-all", "--cap-drop", "ALL", "--die-with-parent", "--new-session"]


def run(program, found, timeout, memory, sandbox) -> tuple[list[str], str, str]:
    """Run a program in a new process; put its states in `found`. -> (exercises under way, how it ended, note)"""
    with tempfile.TemporaryDirectory(prefix="labkit-grade-", ignore_cleanup_errors=True) as folder, _adopting() as mine:
        keep = {k: os.environ[k] for k in KEPT if k in os.environ}
        keep |= dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "IPYTHONDIR", "MPLCONFIGDIR"), folder)
        keep |= {"PYTHONPATH": str(PACKAGE), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg",
                 "PYTHONDONTWRITEBYTECODE": "1", "CUDA_VISIBLE_DEVICES": "", "LABKIT_DEVICE": "cpu",
                 "PYTHONIOENCODING": "utf-8"}
        # a shell in between, so that code that kills its parent does not kill the grader
        outer = sandbox or (["sh", "-c", '"$@"; exit $?', "sh"] if os.name == "posix" else [])
        command = [folder if w == "FOLDER" else w for w in outer] + [sys.executable, "-m", "course.grading.grading"]
        nonce, lines = secrets.token_hex(16), queue.Queue()
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   cwd=folder, env=keep, start_new_session=os.name == "posix")
        try:
            threading.Thread(target=_pump, args=(process.stdout, nonce, lines), daemon=True).start()
            ids = [i for item in program for i in item["ids"]]
            job = {"nonce": nonce, "program": program, "done": list(found), "seconds": min(10.0, timeout / 2),
                   "memory": memory, "disk": DISK, "cpu": START + 2 * timeout * (len(ids) + 1)}
            with suppress(OSError):
                process.stdin.write(json.dumps(job).encode())
                process.stdin.close()
            return _follow(process, lines, ids, found, timeout, memory, mine)
        finally:
            _kill(process, mine)


def _follow(process, lines, ids, found, timeout, memory, mine):
    began, doing, limit, since = [], "it could not be started", START, time.monotonic()
    latest = since + START + 2 * timeout * (len(ids) + 1)  # whatever it says about itself
    before = _shared(), time.time()
    while True:
        for event in _waiting(lines):
            if event is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                if process.returncode is None:
                    return began, "crashed", f"{doing}, and sent more than {EVENTS} events"
                return began, "crashed", f"{doing}; exit code {process.returncode}"
            if event.get("end"):
                return [], "done", ""
            if event.get("id") in ids and event.get("state") in STATES:
                better(found, event["id"], event["state"], _clean(event.get("note")))
            if isinstance(event.get("begin"), list):
                began, limit, since = [i for i in ids if i in event["begin"]], timeout, time.monotonic()
            doing = _clean(event.get("doing", doing))
        if time.monotonic() > min(since + limit, latest):
            return began, "timeout", f"{doing}, for longer than {limit:g} s"
        family = _family(mine)
        if len(family) > PROCESSES:
            return began, "crashed", f"{doing}, and started more than {PROCESSES} processes"
        if max(_memory(family), _files_in_memory(family, *before)) > memory:
            return began, "out of memory", f"{doing}, and took more than {memory:g} MB"


def better(found, id, state, note):
    """Keep the better of two results for one exercise, in the order of STATES; of two alike the later."""
    if id not in found or STATES.index(state) <= STATES.index(found[id][0]):
        found[id] = (state, note)


def _waiting(lines):
    """The events that have come, all of them: what is seen now must not be taken for an earlier cell's."""
    with suppress(queue.Empty):
        yield lines.get(timeout=0.1)
        while True:
            yield lines.get_nowait()


def _pump(stream, nonce, lines):
    """The events among the lines of a stream, then None. What does not begin with the secret, others have written."""
    with suppress(ValueError, OSError):
        ours = (line for line in iter(lambda: stream.readline(100_000), b"") if line.startswith(nonce.encode()))
        for line in islice(ours, EVENTS):
            with suppress(ValueError, RecursionError):
                event = json.loads(line[len(nonce):])
                if isinstance(event, dict):
                    lines.put(event)
    lines.put(None)


def _clean(text):
    return "".join(c for c in str(text) if c.isprintable())[:300]


@contextmanager
def _adopting():
    """Yields the children that are here before. On Linux, what leaves its parent becomes a child of this process."""
    before = set(psutil.Process().children(recursive=True))
    _subreaper(1)
    try:
        yield before
    finally:
        _subreaper(0)


def _subreaper(on):
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, on, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _family(mine):
    """All processes below this one that were not here before."""
    return [p for p in psutil.Process().children(recursive=True) if p not in mine]


def _memory(family):
    """MB of these processes: PSS on Linux, else RSS."""
    total = 0
    for process in family:
        with suppress(psutil.Error):
            used = process.memory_info().rss
            with suppress(psutil.AccessDenied):
                used = getattr(process.memory_full_info(), "pss", used)
            total += used
    return total / 2**20


def _files_in_memory(family, shared, since):
    """MB of files in memory that these processes hold open, and of this user's in /dev/shm that are newer than `since`.

    Not simply what the machine has more of than the `shared` MB before: a browser takes as much. That is the measure
    only where a process hides its files (prctl with PR_SET_DUMPABLE).
    """
    sizes, held = {}, ("/memfd:", "/dev/shm/")
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
                    found = os.stat(file.path)
                    sizes[found.st_dev, found.st_ino] = found.st_blocks * 512
    with suppress(OSError):
        for file in os.scandir("/dev/shm"):
            found = file.stat(follow_symlinks=False)
            if found.st_uid == os.getuid() and found.st_ctime >= since:
                sizes[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(sizes.values()) / 2**20


def _shared():
    """MB of files in memory (/dev/shm, memfd_create), of the whole machine; 0 where it is not told."""
    return getattr(psutil.virtual_memory(), "shared", 0) / 2**20


def _kill(process, mine):
    """End a process and whatever came from it, also what left its session; what is being ended may start others."""
    process.kill()
    if os.name == "posix":
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(100):
        if not (left := _family(mine)):
            return
        for member in left:
            with suppress(psutil.Error):
                member.kill()
        psutil.wait_procs(left, timeout=1)  # which also takes their exit statuses
