"""labkit grade: runs the exercise cells of learners' copies, each copy in a process of its own, and gives points.

What runs is not the whole notebook (a minute a learner) but its exercise cells, in their order, after np, torch, F and
lk are imported; of the other cells only the imports, functions, classes and literal constants whose names the
exercise cells use. The check is the grader's, made anew; outputs stored in the copy count for nothing.

The learner's code and the check share a process. Faked outputs, a replaced `lk.exercise` and printed results do not
count there; somebody who studies this file and takes the process apart can still cheat. Read the code of a
surprising success.
"""

import ast
import csv
import io
import json
import os
import queue
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from ..base import LabError, write_bytes
from ..repro.notebook import read

CELL = re.compile(r"""exercise\(\s*["'](\d+\.\d+)["']""")
LAB = re.compile(r"""Lab\(\s*["'](\d\d)""")
START = 120  # seconds a process may take to import torch
PREAMBLE = {"np": "import numpy as np", "torch": "import torch", "F": "import torch.nn.functional as F",
            "lk": "import labkit as lk", "pd": "import pandas as pd", "copy": "import copy"}
KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "PATHEXT", "COMSPEC")  # no secrets go along


def grade(path, *, timeout=30.0, memory=2000.0, sandbox=None) -> list[dict]:
    """One row an exercise: file, exercise, state, points, of, note.

    timeout: seconds an exercise cell may take, its check included; memory: MB (PSS) of all its processes together.
    sandbox: the words before the command, as `bubblewrap()` returns them. States: right, wrong, error (the function
    raised), not attempted, missing (no such cell), crashed (the cell failed or its process ended), timeout, out of
    memory. A copy that cannot be graded gives one row with an empty exercise and the reason as its state.
    """
    from .exercises import EXERCISES

    def row(id="", state="", points=0, note=""):
        return {"file": str(path), "exercise": id, "state": state, "points": points,
                "of": EXERCISES[id].points if id else 0, "note": note}

    try:
        program, expected = plan(path)
    except LabError as problem:
        return [row(state="cannot be read", note=str(problem))]
    if not expected:
        return [row(state="no exercises", note="neither an exercise cell nor the number of a notebook is in it")]
    wanted = {id for item in program for id in item["ids"]}
    found, helpers = {}, True
    while wanted - set(found):  # once, and again after each exercise that ended the process
        rest = [i for i in program if set(i["ids"]) - set(found) or (not i["ids"] and (helpers or i.get("ours")))]
        began, end, note = _run(rest, found, timeout, memory, sandbox or [])
        for id in began:
            found.setdefault(id, (end, note))
        if not began and wanted - set(found):  # it ended before, or between, the exercises
            if not helpers:
                return [row(state="cannot be graded", note=f"its process ended without a result ({end}: {note})")]
            helpers = False  # once more, without the copy's own helpers
    return [row(id, found[id][0], EXERCISES[id].points if found[id][0] == "right" else 0, found[id][1])
            if id in found else row(id, "missing", note="no cell of this copy has it") for id in expected]


def plan(path) -> tuple[list[dict], list[str]]:
    """(what to run, in the copy's order; the exercises it should have). Of two cells with one exercise, the later."""
    from .exercises import EXERCISES

    node = read(path)
    cells = [str(c.source) for c in node.cells if c.cell_type == "code"]
    ids = [[i for i in CELL.findall(source) if i in EXERCISES] for source in cells]
    last = {i: n for n, found in enumerate(ids) for i in found}
    numbers = {i.split(".")[0] for i in last} | {str(int(n)) for n in LAB.findall("".join(cells))}
    if not numbers and Path(path).name[:2].isdigit():
        numbers = {str(int(Path(path).name[:2]))}
    expected = [e for e in EXERCISES if e.split(".")[0] in numbers]
    items, spare = [], []  # (place in the copy, what to run); (place, text, names) of statements that may be needed
    for n, source in enumerate(cells):
        if mine := [i for i in dict.fromkeys(ids[n]) if last[i] == n]:
            items.append(((n, 0), {"ids": mine, "source": source}))
        elif not ids[n]:
            spare += [((n, k), text, names) for k, (text, names) in enumerate(_helpers(source))]
    used = set().union(*(_names(item["source"]) for _, item in items))
    while found := [h for h in spare if h[2] & used]:
        spare = [h for h in spare if h not in found]
        items += [(place, {"ids": [], "source": text}) for place, text, _ in found]
        used |= set().union(*(_names(text) for _, text, _ in found))
    ours = [line for name, line in PREAMBLE.items() if name in used | {"np", "torch", "lk"}]
    return ([{"ids": [], "source": line, "ours": True} for line in ours]
            + [item for _, item in sorted(items, key=lambda i: i[0])]), expected


def bubblewrap() -> tuple[list[str], str]:
    """(the words that wrap a command, a sentence for the teacher). FOLDER stands for the writable folder."""
    words = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--bind", "FOLDER", "FOLDER",
             "--chdir", "FOLDER", "--unshare-all", "--die-with-parent", "--new-session"]
    why = "is not installed"
    if shutil.which("bwrap"):
        with tempfile.TemporaryDirectory() as folder, suppress(OSError, subprocess.TimeoutExpired):
            probe = [folder if w == "FOLDER" else w for w in words] + [sys.executable, "-c", ""]
            if subprocess.run(probe, capture_output=True, timeout=30).returncode == 0:
                return words, "In bubblewrap: learners' code may write one temporary folder and has no network."
        why = "does not work here"
    return [], (f"bubblewrap {why}: learners' code runs with your rights. It could write your files and use the "
                "network. Grade only code you would run, or install bubblewrap (Linux).")


def write_csv(rows, path):
    """file, exercise, state, points: one line an exercise."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["file", "exercise", "state", "points"], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    if os.path.isfile(path) and not os.path.islink(path) or not os.path.lexists(path):
        write_bytes(path, text.getvalue().encode(), "give another --csv")
        return
    try:  # /dev/stdout and the like cannot be replaced
        Path(path).write_bytes(text.getvalue().encode())
    except OSError as problem:
        raise LabError(f"{str(path)!r} cannot be written ({problem.strerror}): give another --csv.") from None


def _names(source):
    try:
        return {n.id for n in ast.walk(ast.parse(_plain(source))) if isinstance(n, ast.Name)}
    except SyntaxError:
        return set(re.findall(r"[^\W\d]\w*", source))


def _helpers(source):
    """(text, names) of the top-level imports, functions, classes and literal constants of a cell."""
    found = []
    with suppress(SyntaxError):
        for line in ast.parse(_plain(source)).body:
            if isinstance(line, ast.Import | ast.ImportFrom):
                names = {(a.asname or a.name).split(".")[0] for a in line.names}
            elif isinstance(line, ast.FunctionDef | ast.ClassDef):
                names = {line.name}
            elif isinstance(line, ast.Assign) and not any(isinstance(n, ast.Call) for n in ast.walk(line)):
                names = {n.id for t in line.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
            else:
                continue
            found.append((ast.unparse(line), names))
    return found


def _plain(source):
    """Without the lines for IPython: %magic, !command."""
    return "\n".join("" if line.lstrip()[:1] in ("%", "!") else line for line in source.split("\n"))


def _run(program, found, timeout, memory, sandbox):
    """Run a program in a new process; put its states in `found`. -> (exercises under way, how it ended, note)"""
    with tempfile.TemporaryDirectory(prefix="labkit-grade-", ignore_cleanup_errors=True) as folder:
        keep = {k: os.environ[k] for k in KEPT if k in os.environ}
        package = str(Path(__file__).resolve().parents[2])
        keep |= dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "IPYTHONDIR", "MPLCONFIGDIR"), folder)
        keep |= {"PYTHONPATH": package, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1",
                 "CUDA_VISIBLE_DEVICES": "", "LABKIT_DEVICE": "cpu", "PYTHONIOENCODING": "utf-8"}
        command = [folder if w == "FOLDER" else w for w in sandbox] + [sys.executable, "-m", "labkit.teach.grading"]
        nonce = secrets.token_hex(16)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   cwd=folder, env=keep, start_new_session=os.name == "posix")
        lines = queue.Queue()
        threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True).start()
        with suppress(OSError):
            job = {"nonce": nonce, "program": program, "done": list(found), "seconds": min(10.0, timeout / 2)}
            process.stdin.write(json.dumps(job).encode())
            process.stdin.close()
        try:
            return _follow(process, lines, nonce, found, timeout, memory)
        finally:
            _kill(process)


def _follow(process, lines, nonce, found, timeout, memory):
    began, doing, limit, since = [], "it could not be started", START, time.monotonic()
    while True:
        with suppress(queue.Empty):
            line = lines.get(timeout=0.1)
            if line is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                return began, "crashed", f"{doing}; exit code {process.returncode}"
            if line.startswith(nonce):  # all else was printed by somebody else
                event = json.loads(line[len(nonce):])
                if event.get("end"):
                    return [], "done", ""
                if "id" in event:
                    found[event["id"]] = (event["state"], event["note"])
                if "begin" in event:
                    began, limit, since = event["begin"], timeout, time.monotonic()
                doing = event.get("doing", doing)
        if time.monotonic() > since + limit:
            return began, "timeout", f"{doing}, for longer than {limit:g} s"
        if _memory(process.pid) > memory:
            return began, "out of memory", f"{doing}, and took more than {memory:g} MB"


def _pump(stream, lines):
    with suppress(ValueError, OSError):
        for line in iter(lambda: stream.readline(100_000), b""):
            lines.put(line.decode("utf-8", "replace").rstrip("\n"))
    lines.put(None)


def _family(pid):
    import psutil

    with suppress(psutil.Error):
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    return []


def _memory(pid):
    """MB of a process and its descendants: PSS on Linux, else RSS."""
    import psutil

    total = 0
    for process in _family(pid):
        with suppress(psutil.Error):
            used = process.memory_info().rss
            with suppress(psutil.AccessDenied):
                used = getattr(process.memory_full_info(), "pss", used)
            total += used
    return total / 2**20


def _kill(process):
    for member in _family(process.pid):
        with suppress(Exception):
            member.kill()
    if os.name == "posix":
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
