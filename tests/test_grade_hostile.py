"""labkit grade against copies that mean harm: each ends in a sentence, its other exercises are
graded, nothing stays.

What they try is bounded in count and time, so that a failure of the grader is no harm either.
"""

import csv
import os
import sys
import threading
import time

import nbformat
import psutil
import pytest
from test_grade import NB01, labkit, points, solved, states, write

from course.grading import contain
from course.grading import grade as grade_module
from course.grading.grade import LARGEST, grade, plan

SLEEP = "61.25"  # seconds of a `sleep` that no other process has; it would go away by itself
TELL = ("import gc, types\n"  # the grader's own way to tell an event
        "tell = next(f for f in gc.get_objects()\n"
        "            if type(f) is types.FunctionType "
        "and f.__qualname__ == 'main.<locals>.tell')\n")
FORKED = ("import os, time\nfor _ in range(4):\n    if os.fork() == 0:\n"
          "        kept = b'x' * 400_000_000\n"
          "        time.sleep(60)\ntime.sleep(60)")
DETACHED = ("import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
            f"        os.execve('/bin/sleep', ['sleep', '{SLEEP}'], {{}})\n"
            f"    os._exit(0)\nos.wait()\n")

# name: (what stands in the cell before the function, which is right; its state; words of the note)
CASES = {
    "an endless loop": ("while True: pass", "timeout", "for longer than 6 s"),
    "an endless sleep": ("import time\ntime.sleep(60)", "timeout", "for longer than 6 s"),
    "it stops itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "timeout",
                        "for longer than 6 s"),
    "an exception that has no end":
         ("class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E()",
          "timeout", "for longer than 6 s"),
    "many processes":
         (f"import subprocess, time\nfor _ in range(50): subprocess.Popen(['sleep', '{SLEEP}'])\n"
          "time.sleep(60)", "crashed", "started more than 32 processes"),
    "it detaches a process": (DETACHED, "right", ""),
    "20 GB at once": ("kept = b'x' * (20 << 30)", "out of memory", "MemoryError"),
    "20 GB by and by": ("kept = []\nfor _ in range(1000): kept.append(b'x' * 20_000_000)",
                        "out of memory", ""),
    "memory of its children": (FORKED, "out of memory", "took more than 900 MB"),
    "files in memory": ("import os, time\nfiles = [os.memfd_create('x') for _ in range(25)]\n"
                        "for f in files: os.write(f, b'x' * 90_000_000)\ntime.sleep(60)",
                        "out of memory", "took more"),
    "a large file": ("open('x', 'wb').write(b'x' * 150_000_000)", "crashed", "File too large"),
    "it prints 1 GB": ("for _ in range(1000): print('x' * 1_000_000)", "right", ""),
    "it prints 1 GB where results go": (
        "import os\nfor fd in range(3, 30):\n    try:\n        for _ in range(1000): os.write(fd, "
        "b'x' * 1_000_000)\n"
        "    except OSError: pass", "right", ""),
    "sys.exit": ("import sys\nsys.exit(0)", "crashed", "SystemExit"),
    "os._exit": ("import os\nos._exit(0)", "crashed", "the cell was running; exit code 0"),
    "it closes all descriptors": ("import os\nos.closerange(0, 100)", "crashed",
                                  "the cell was running"),
    "it kills its group": ("import os\nos.killpg(0, 9)", "crashed", "exit code"),
    "it kills its parent": ("import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(60)", "timeout",
                            ""),
    "recursion without end":
         ("import sys\nsys.setrecursionlimit(10**9)\ndef g(a): return repr([g(a)])\ng(1)",
          ("crashed", "out of memory"), ""),
    "something for later": ("import atexit, threading, time\natexit.register(time.sleep, 60)\n"
                            "threading.Thread(target=time.sleep, args=(60,)).start()", "right", ""),
    "it replaces the comparison":
         ("import course.exercises.engine as e\ne.difference = lambda *a, **k: None",
          "tampered", "replaced course.exercises.engine.difference"),
    "it replaces what a chapter's check stands on":
         ("import course.chapters.basics.exercises as e\ne._gap_cases = lambda: []",
          "tampered", "replaced course.chapters.basics.exercises._gap_cases"),
    "it replaces what the comparison calls": ("np.isclose = lambda *a, **k: np.array(True)",
                                              "tampered",
                                              "replaced numpy.isclose"),
    "it empties the list of exercises": ("import course.exercises as e\ne.EXERCISES.clear()",
                                         "right", ""),
    "it begins for ever": (TELL + "for _ in range(100_000): tell(begin=1)", "crashed",
                           "more than 1000 events"),
    "it tells nonsense":
         (TELL + "tell(cell=1, id=['1.1'], state={}, begin=7, doing=None)\n"
          "tell(cell=1, id='9.9', state='right')\n"
          "tell(cell=2, id='1.2', state='first in class')", "right", ""),
}


def hostile(folder, code, name="copy.ipynb"):
    """A copy whose cell 1.1 begins with this code, and whose 1.2 is right."""
    path = write(folder, name, {"1.1": solved("1.1"), "1.2": solved("1.2")})
    node = nbformat.read(path, 4)
    node.cells[-2].source = f"{code}\n{node.cells[-2].source}"
    nbformat.write(node, path)
    return path


def seconds(state):
    """Few where the limit is the subject; else more than any machine needs."""
    return 6 if state == "timeout" else 300


def left_over():
    """Processes and folders that should not be there."""
    sleeping = [p.pid for p in psutil.process_iter(["cmdline"]) if SLEEP in (p.info["cmdline"]
                                                                             or [])]
    return sleeping + [p.pid for p in psutil.Process().children(recursive=True)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="some of it is Linux's")
@pytest.mark.parametrize("name", CASES)
def test_harm_ends_in_a_sentence(tmp_path, name):
    code, state, words = CASES[name]
    before, start = left_over(), time.monotonic()
    rows = grade(hostile(tmp_path, code), timeout=seconds(state), memory=900)
    found = states(rows)
    assert found["1.1"] in ((state,) if isinstance(state, str)
                            else state) and found["1.2"] == "right", rows
    assert words in next(r["note"] for r in rows if r["exercise"] == "1.1"), rows
    assert list(found) == NB01 and left_over() == before \
        and time.monotonic() - start < 120 + seconds(state)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux's")
def test_memory_that_another_program_takes_is_not_the_copys(tmp_path):
    """A browser beside the grader holds files in memory too."""
    files = [os.memfd_create("another") for _ in range(3)]
    here, taken = tmp_path / "the copy is being graded", tmp_path / "the memory is taken"

    def take():
        while not here.exists():
            time.sleep(0.1)
        for file in files:
            for _ in range(40):
                os.write(file, b"x" * 10_000_000)
        taken.touch()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    try:
        code = (f"import os, time\nopen({str(here)!r}, 'w').close()\n"
                f"while not os.path.exists({str(taken)!r}): time.sleep(0.1)\ntime.sleep(1)")
        rows = grade(hostile(tmp_path, code), timeout=300, memory=900)
        thread.join()
        assert sum(os.fstat(file).st_blocks * 512 for file in files) > 1.1e9
        assert (states(rows)["1.1"], states(rows)["1.2"]) == ("right", "right"), rows
    finally:
        for file in files:
            os.close(file)


def test_files_in_memory_that_a_process_hides_count_too(monkeypatch):
    """A process that cannot be looked into is judged by what the whole machine takes."""
    def refuse(_):
        raise PermissionError

    monkeypatch.setattr(contain.os, "scandir", refuse)
    monkeypatch.setattr(contain, "_shared", lambda: 1000.0)
    assert contain._files_in_memory([psutil.Process()], 300.0, time.time()) == 700


@pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux's")
def test_files_in_memory_are_counted_once():
    file = os.memfd_create("mine")
    twice = os.dup(file)
    try:
        start = contain._files_in_memory([psutil.Process()], 0, time.time())
        os.write(file, b"x" * 2**24)
        assert contain._files_in_memory([psutil.Process()], 0, time.time()) - start == 16
    finally:
        os.close(file)
        os.close(twice)


@pytest.mark.slow
def test_the_comparison_is_replaced_while_it_is_checked(tmp_path):
    code = ("def f(logits, labels):\n    import course.exercises.engine as e\n"
            "    e.difference = lambda *a, **k: None\n    return 0.0")
    cells = {"1.1": code, "1.2": "def f(row, reference):\n    return 'forty'", "1.5": solved("1.5")}
    path = write(tmp_path, "copy.ipynb", cells)
    found = states(grade(path))
    assert (found["1.1"], found["1.2"], found["1.5"]) == ("tampered", "wrong", "right")


# What a copy tries in bubblewrap. Each line of ATTEMPTS is tried; those that succeed are in `done`.
ATTEMPTS = """import ctypes, errno, os, signal, socket, subprocess
def tcp(): socket.create_connection(("127.0.0.1", {port}), 2)
def unix(): socket.socket(socket.AF_UNIX).connect({sock!r})
def shm(): open("/dev/shm/x", "wb").write(b"x")
def tmp(): open(os.path.join(os.sep, "tmp", "x"), "wb").write(b"x")
def home(): open(os.path.expanduser("~{user}/labkit-test-x"), "wb").write(b"x")
def outside(): open({outside!r}, "wb").write(b"x")
def package(): open(lk.__file__, "ab").write(b"")
def remount():
    if ctypes.CDLL(None).mount(None, b"/", None, 32 | 4096, None): raise OSError("mount")\
  # MS_REMOUNT | MS_BIND
def others(): os.kill({pid}, 0)
def disk():
    for i in range(8): open(f"{{i}}", "wb").write(b"x" * 50_000_000)
done = []
for attempt in (tcp, unix, shm, tmp, home, outside, package, remount, others, disk):
    try: attempt()
    except OSError: continue
    done.append(attempt.__name__)
for i in range(8):
    if os.path.exists(str(i)): os.remove(str(i))
open("mine", "w").write("fine")
assert not done, done
"""


@pytest.mark.slow
@pytest.mark.skipif(not contain.bubblewrap()[0], reason=contain.bubblewrap()[1])
def test_bubblewrap_contains(tmp_path):
    import pwd
    import socket

    place = tmp_path / "s"
    short = os.path.join(os.sep, "tmp", f"labkit-{os.getpid()}")  # a socket's path has to be short
    os.symlink(tmp_path, short)
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        unix.bind(f"{short}/s")
        unix.listen()
        os.unlink(short)
        code = ATTEMPTS.format(port=tcp.getsockname()[1], sock=str(place), pid=os.getpid(),
                               outside=str(tmp_path / "x"), user=pwd.getpwuid(os.getuid()).pw_name)
        path = hostile(tmp_path, code)
        rows = grade(path, timeout=300, sandbox=contain.bubblewrap()[0])
        assert (states(rows)["1.1"], states(rows)["1.2"]) == ("right", "right"), rows
        assert not (tmp_path / "x").exists()


@pytest.mark.slow
@pytest.mark.skipif(not contain.bubblewrap()[0], reason=contain.bubblewrap()[1])
@pytest.mark.parametrize("name", ["many processes", "it detaches a process",
                                  "memory of its children",
                                  "files in memory", "it kills its parent", "an endless loop"])
def test_the_limits_hold_in_bubblewrap(tmp_path, name):
    code, state, words = CASES[name]
    before = left_over()
    rows = grade(hostile(tmp_path, code), timeout=seconds(state), memory=900,
                 sandbox=contain.bubblewrap()[0])
    assert (states(rows)["1.1"], states(rows)["1.2"]) == (state, "right"), rows
    assert words in next(r["note"] for r in rows if r["exercise"]
                         == "1.1") and left_over() == before


# ------------------------------------------------------------------ before anything runs (quick)


def as_link(path, folder):
    path.symlink_to(hostile(folder, "", "other.ipynb"))


def as_large(path, folder):
    with open(path, "wb") as out:
        out.truncate(200 * 2**20)


FILES = {"a link": (as_link, "is a link"), "a link to a device": (lambda p,
                                                                  _: p.symlink_to("/dev/zero"),
                                                                  "is a link"),
         "a pipe": (lambda p, _: os.mkfifo(p), "it is no file"),
         "200 MB": (as_large, f"more than {LARGEST} MB"),
         "a folder": (lambda p, _: p.mkdir(), "it is no file")}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.timeout(60)
def test_a_copy_that_is_no_file_of_its_own(tmp_path, name, monkeypatch):
    monkeypatch.setattr(grade_module, "run", lambda *a: pytest.fail("nothing is there to run"))
    make, words = FILES[name]
    make(tmp_path / "copy.ipynb", tmp_path)
    (row,) = grade(tmp_path / "copy.ipynb")
    assert row["state"] == "cannot be read" and words in row["note"] and row["note"].endswith(".")


TEXTS = {"a null byte": "K = 1\0", "minus signs": "K = " + "-" * 100_000 + "1",
         "a long sum": "K = 1" + "+1" * 20_000,
         "deep attributes": "K = a" + ".b" * 20_000, "half a character": "K = '\ud800'",
         "brackets": "K = " + "[" * 5000, "what can be read and not written": "K = " + "-" * 900
         + "1",
         "digits": "K = " + "1" * 100_000}


@pytest.mark.parametrize("name", TEXTS)
def test_text_that_upsets_the_parser(tmp_path, name):
    node = nbformat.read(write(tmp_path, "copy.ipynb", {"1.1": "def f(a, b): return K"}), 4)
    node.cells += [nbformat.v4.new_code_cell(TEXTS[name]),
                   nbformat.v4.new_code_cell('@exercise("1.2")\n' + TEXTS[name])]
    (tmp_path / "copy.ipynb").write_text(nbformat.writes(node, ensure_ascii=True), encoding="utf-8")
    program, expected = plan(tmp_path / "copy.ipynb")
    assert expected == NB01 and [i["ids"] for i in program if i["ids"]] == [["1.1"], ["1.2"]]


@pytest.mark.timeout(60)
def test_a_long_chain_of_helpers_takes_seconds(tmp_path):
    chain = "\n".join(f"x{i + 1} = x{i}" for i in reversed(range(20_000)))
    path = write(tmp_path, "copy.ipynb", {"1.1": "def f(a, b): return x20000"},
                 ["x0 = 1\n" + chain])
    assert len(plan(path)[0]) > 20_000


NAMES = ["../up.ipynb", "a\x1b[31mb.ipynb", "a\nb.ipynb", "[red]a.ipynb",
         os.fsdecode(b"\xff\xfe.ipynb"),
         "; touch sprung;.ipynb", "$(touch sprung).ipynb", "-rf.ipynb", "x" * 240 + ".ipynb"]


def test_odd_names_are_only_names(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(grade_module, "run", lambda program, found, *a: found.update(dict.fromkeys(
        ((1, "1.1"), (2, "1.2")), ("right", ""))) or ([], "done", ""))
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    for name in NAMES:
        hostile(tmp_path / "in", "", name)
    before = sorted(map(str, tmp_path.rglob("*")))
    code, out, _ = labkit(capfd, "grade", "--csv", tmp_path / "points.csv", "--", *NAMES)
    assert code == 0, out
    assert "\x1b" not in out and "[red]a.ipynb" in out
    with open(tmp_path / "points.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sum(r["state"] == "right"
               for r in rows) == 2 * len(NAMES) and len(rows) == len(NAMES) * len(NB01)
    assert sorted(map(str, tmp_path.rglob("*"))) == sorted([*before, str(tmp_path / "points.csv")])


def test_no_event_of_a_stranger_gets_through():
    import io
    import queue

    lines = queue.Queue()
    said = (b'{"id": "1.1"}\nxx{"id": "1.1"}\nkey[1]\nkey{\nkey{"id": 3}\n' + b"x" * 300_000 + b"\n"
            + b'key{}\n' * 5000)
    contain._pump(io.BytesIO(said), "key", lines)
    events = list(lines.queue)
    assert events[0] == {"id": 3} and events[-1] is None and len(events) == contain.EVENTS - 2 + 1


def test_a_process_that_only_begins_again_ends(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(grade_module, "run", lambda program, *a: calls.append(1)
                        or ([], "done", ""))
    (row,) = grade(hostile(tmp_path, ""))
    assert row["state"] == "cannot be graded" and len(calls) == 2 and points([row]) == 0
