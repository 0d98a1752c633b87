"""Faults: killed processes, full and read-only disks, files cut off or changed, a clock that is set
back.

Afterwards no run is lost, doubled or half-recorded, the files that were there are as they were, and
the report says what happened.
"""

import errno
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from test_bad_input import contents, sentence
from test_runner import SHOW, write_notebook
from test_sweep import begin, kernels, place, wait_for  # noqa: F401  (place is a fixture)

from course import cli, report
from course.chapters import sisa as sisa_chapter
from course.chapters import verification as verification_chapter
from course.chapters.sparsity import network
from course.claimfile import load_claims
from course.claims import judge
from course.grading.grade import write_csv
from course.runs import folders, records, runner
from course.runs.notebook import labkit_hash, notebook_hash, notebooks, read
from course.runs.sweep import _jobs, _one, sweep
from labkit import base, models, store
from labkit.base import LabError
from labkit.data import Data, load
from labkit.training import parallel
from labkit.unlearn import sisa

# and for each how long it may live, in seconds:
KILLS = {"worker": 4, "kernel": 6, "run": 7, "sweep": 3}
LIVES = {"worker": 0.7, "kernel": 2.0, "run": 3.0, "sweep": 6.0}
KILL_SEED = int(os.environ.get("LABKIT_KILL_SEED", 7))  # a failure tells its seed


def toy(n=40):
    draw = torch.Generator().manual_seed(0)
    x, x_test = torch.randn(n, 4, generator=draw), torch.randn(9, 4, generator=draw)
    return Data("toy", x, torch.arange(n) % 3, x_test, torch.arange(9) % 3, tuple("abc"),
                torch.zeros(4), torch.ones(4),
                {})


DATA = toy()
RECIPE = dict(epochs=2, lr=0.1, batch_size=16)
SHARDS = dict(shards=2, slices=2, epochs=1, lr=0.1, seed=0, workers=1)


def build(seed):
    return models.build("mlp", DATA, seed, hidden=30)


def statuses(folder):
    return Counter(r["status"] for r in records.collect(folder))


def notes_of(folder):
    return report.scoreboard(records.collect(folder)).attrs["notes"]


# ------------------------------------------------------------------ kill -9

NOTE = """
import json, os, time
def note(word):
    with open(os.environ["NOTES"], "a") as file:
        file.write(f"{word} NAME {seed}\\n")
note("begin")
"""
COUNTING = NOTE.replace("NAME", "01_tiny") + SHOW + """
time.sleep(0.4)
show(kind="record", name="value", value=sum(i * i for i in range(10_000)) + seed)
claim = json.loads('''CLAIM''')
claim["units"] = [2 * seed, 2 * seed + 1]
show(kind="claim", claim=claim)
note("end")
"""
WORKING = NOTE.replace("NAME", "02_workers") + SHOW + """
from labkit.training import parallel
def work(i):
    time.sleep(0.7)
    return i * i + seed
show(kind="record", name="value", value=parallel(work, range(4), workers=2))
note("end")
"""


def living():
    """The processes of this test by what they are: the sweep, runs, kernels, worker processes of
    kernels.
    """
    found = {"sweep": [], "run": [], "kernel": [], "worker": []}
    for process in kernels(None):
        try:
            words, parent = process.cmdline(), process.parent()
            if any("ipykernel" in w for w in words):
                forked = parent and any("ipykernel" in w for w in parent.cmdline())
                found["worker" if forked else "kernel"].append(process)
            elif "course" in words:
                found["sweep" if "sweep" in words else "run"].append(process)
        except psutil.Error:
            pass
    return found


@pytest.mark.slow
def test_whatever_is_killed_no_run_is_lost_doubled_or_half_recorded(place, capfd):  # noqa: F811
    draw, log, left = random.Random(KILL_SEED), [], [kind for kind, n in KILLS.items()
                                                     for _ in range(n)]
    draw.shuffle(left)
    claim = judge(load_claims()["basics-ga-damage"], [1.0, 1.2], profile="quick")
    write_notebook(place / "notebooks", COUNTING.replace("CLAIM", json.dumps(claim)))
    write_notebook(place / "notebooks", WORKING, name="02_workers")
    runs, seeds, began, rounds, process = place / "runs", 2, time.monotonic(), 0, None
    while left or process.returncode:
        # all runs are there, and somebody is to be killed yet
        seeds += process is not None and process.returncode == 0
        rounds, process = rounds + 1, begin("all", "--seeds", f"0-{seeds - 1}", "--jobs", 2)
        while process.poll() is None:
            time.sleep(0.2)
            if not left or not living()[left[-1]]:  # its turn has come when there is one
                continue
            time.sleep(draw.uniform(0, LIVES[left[-1]]))
            with suppress(psutil.Error, IndexError):  # it ended by itself
                draw.choice(living()[left[-1]]).kill()
                log.append(f"{left.pop()} at {time.monotonic() - began:.1f} s")
        out, err = process.communicate()
        assert "Traceback" not in out + err, (KILL_SEED, log, out, err)
        check_what_is_told(place, runs)
    with capfd.disabled():
        print(f"\n{len(log)} kills with seed {KILL_SEED} and {rounds} sweeps in "
              f"{time.monotonic() - began:.0f} s: "
              f"{', '.join(log)}")
    assert len(log) == sum(KILLS.values()) >= 20
    jobs = _jobs(notebooks("notebooks"), range(seeds), [None], "quick", {}, runs.resolve(), None,
                 None)
    wait_for(lambda: not kernels(place))  # no process stays
    # and no half folder, no lock
    assert sorted(p.name for p in runs.iterdir()) == sorted(job["name"] for job in jobs)
    for job in jobs:
        record = folders.read_record(runs / job["name"] / "record.json")
        square = sum(i * i for i in range(10_000)) + job["seed"]
        assert (record["status"], record["notebook"]) == ("ok", job["notebook"])
        assert record["parameters"] == job["parameters"]
        assert record["records"]["value"] == (square if job["notebook"] == "01_tiny" else
                                              [i * i + job["seed"] for i in range(4)])
        assert sorted(p.name for p
                      in (runs / job["name"]).iterdir()) == [f"{job['notebook']}.ipynb",
                                                             "record.json"]
    done = (place / "notes").read_text()
    n = 2 * seeds
    again = begin("all", "--seeds", f"0-{seeds - 1}")
    assert f"{n} runs: {n} ok; {n} of them were there before" in again.communicate()[0]
    assert (place / "notes").read_text() == done  # nothing ran twice
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", "runs"])
    assert stop.value.code == 0 and "lost" not in capfd.readouterr().out
    board = report.scoreboard(records.collect(runs)).set_index("claim")
    assert board.loc["basics-ga-damage",
                     "n"] == f"{n} seeds in {seeds} runs" and not board.attrs["notes"]


def check_what_is_told(place, runs):  # noqa: F811
    """Each run that began has a record, or the report says what became of it; no run is there
    twice.
    """
    notes = (place / "notes").read_text() if (place / "notes").exists() else ""
    lines = {tuple(line.split()[1:]) for line in notes.splitlines()}
    found = records.collect(runs) if runs.exists() else []
    told = Counter((r["notebook"], str(r["parameters"].get("seed"))) for r in found)
    assert lines <= set(told), (KILL_SEED, lines - set(told))
    assert max(told.values(), default=1) == 1 or {k for k, n in told.items() if n > 1} <= {
        k for k in told if k[1] == "None"}, (KILL_SEED, told)
    notes = "\n".join(report.scoreboard(found).attrs["notes"])
    for r in found:
        assert r["status"] in ("ok", "failed", "lost", "under way"), (KILL_SEED, r)
        if r["status"] != "ok":
            assert r["error"] and f"{r['status']}. {r['error']}" in notes
            assert any(word in r["error"] for word in ("Dead", "died", "worker process was killed",
                                                       "exit code -9",
                                                       "It was killed",
                                                       "when it has ended")), (KILL_SEED, r)


@pytest.mark.slow
def test_the_report_tells_a_killed_run_from_one_under_way(place):  # noqa: F811
    write_notebook(place / "notebooks", NOTE.replace("NAME", "01_tiny")
                   + "time.sleep(float(os.environ['PAUSE']))")
    words = [sys.executable, "-m", "course", "run", "01", "--seed", "3"]
    process = subprocess.Popen(words, env=os.environ | {"PAUSE": "60"})
    wait_for((place / "notes").exists)
    assert statuses("runs") == {"under way": 1}
    process.kill()
    process.wait()
    found, = records.collect("runs")
    assert (found["status"], found["notebook"], found["parameters"]["seed"]) == ("lost", "01_tiny",
                                                                                 3)
    assert notes_of("runs") == ["01_tiny (profile quick, dataset fashion, seed 3): lost. It was "
                                "killed before its "
                                "record was complete. Run it again."]
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", "runs"])
    assert stop.value.code == 0 and "seed 3): lost." in Path("runs/scoreboard.md").read_text()
    wait_for(lambda: not kernels(place))
    subprocess.run(words, env=os.environ | {"PAUSE": "0"}, check=True, stdout=subprocess.DEVNULL)
    assert statuses("runs") == {"ok": 1} and not list(Path("runs").glob(".*"))


def test_a_run_that_a_sweep_lost_has_a_record_that_says_why(place):  # noqa: F811
    write_notebook(place / "notebooks",
                   "import os; os.kill(os.getppid(), 9)\nimport time; time.sleep(60)")
    found, = sweep(notebooks("notebooks"), seeds=[5])
    assert found["status"] == "lost" and "exit code -9" in found["error"]
    note, = notes_of("runs")
    assert "seed 5): lost. exit code -9, no record (no message)" in note
    assert [p.name for p in Path("runs").iterdir()
            if not p.name.startswith(".tmp-")] == [found["name"]]


def ended(pids):
    return not [p for p in pids if psutil.pid_exists(p) and psutil.Process(p).status()
                != psutil.STATUS_ZOMBIE]


def test_workers_end_with_the_process_that_started_them(tmp_path):
    def work(i):
        (tmp_path / str(os.getpid())).touch()
        time.sleep(60)

    child = os.fork()
    if not child:
        parallel(work, range(4), workers=2)
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    workers = [int(p.name) for p in tmp_path.iterdir()]
    assert not ended(workers)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    wait_for(lambda: ended(workers))


def test_a_killed_worker_is_one_sentence():
    def work(i):
        os.kill(os.getpid(), signal.SIGKILL) if i == 1 else time.sleep(0.1)

    sentence(lambda: parallel(work, range(4), workers=2), "worker process was killed", "memory",
             "run this again")
    # the next call has workers again
    assert parallel(lambda i: i, range(3), workers=2) == [0, 1, 2]


def written(folder, value):
    """A folder with a whole record in it."""
    folder.mkdir(parents=True)
    record = {"notebook": "01", "status": "ok", "parameters": {"value": value}, "claims": []}
    (folder / "record.json").write_text(json.dumps(record | {"digest": folders.digest(record)}))
    return folder


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("at", range(5))
def test_killed_while_a_run_is_put_in_place(tmp_path, before, at):
    """At each of the steps that put a new run where an old one is: afterwards one of the two is
    there, whole.
    """
    final = tmp_path / "01-quick-a-s0-abcdef12"
    if before:
        written(final, "old")
    child = os.fork()
    if not child:
        steps = [0]

        def dying(function):
            def step(*given, **more):
                if steps[0] == at:
                    os._exit(9)
                steps[0] += 1
                return function(*given, **more)

            return step

        try:
            with folders.under_way(final) as temporary:
                shutil.copy(written(tmp_path / "x", "new") / "record.json", temporary)
                shutil.rmtree(tmp_path / "x")
                Path.rename, shutil.rmtree = dying(Path.rename), dying(shutil.rmtree)
                folders.put(temporary, final)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    folders.tidy(tmp_path)
    assert folders.read_record(final / "record.json")["parameters"]["value"] in ("new", "old")
    assert statuses(tmp_path) == {"ok": 1}
    with folders.under_way(final) as temporary:
        shutil.copy(final / "record.json", temporary)
        folders.put(temporary, final)
    assert [p.name for p in tmp_path.iterdir()] == [final.name]


def test_the_same_run_put_in_place_many_times_at_once(tmp_path):
    final, wrong = tmp_path / "01-quick-a-s0-abcdef12", []

    def one(i):
        try:
            for k in range(10):
                with folders.under_way(final) as temporary:
                    shutil.copy(written(tmp_path / f"x{i}" / f"{k}", i) / "record.json", temporary)
                    folders.put(temporary, final)
        except BaseException as problem:
            wrong.append(problem)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong and folders.read_record(final / "record.json")["status"] == "ok"
    assert not list(tmp_path.glob(".tmp-*"))


def put_new(final):
    with folders.under_way(final) as temporary:
        shutil.copytree(written(final.parents[1] / "x", "new"), temporary, dirs_exist_ok=True)
        return folders.put(temporary, final)


def test_a_run_that_cannot_take_its_place_leaves_the_old_one_there(tmp_path, monkeypatch):
    final, rename = written(tmp_path / "runs" / "01-quick-a-s0-abcdef12", "old"), Path.rename

    def refused(path, target):
        if target == final and not path.name.endswith(".old"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(LabError, match="could not be kept"):
        put_new(final)
    assert folders.record_in(final)["parameters"]["value"] == "old"
    assert list(final.parent.iterdir()) == [final]


def test_without_locks_the_later_of_two_that_end_at_once_stays(tmp_path, monkeypatch):
    final, rename = tmp_path / "runs" / "01-quick-a-s0-abcdef12", Path.rename

    def rivalled(path, target):
        if target == final and not final.exists():
            written(final, "a rival's")
            monkeypatch.setattr(Path, "rename", rename)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rivalled)
    assert put_new(final) == final
    assert folders.record_in(final)["parameters"]["value"] == "new"
    assert list(final.parent.iterdir()) == [final]


def test_nobody_takes_a_lock_while_it_is_tidied_away(tmp_path, monkeypatch):
    final, lock, taken = written(tmp_path / "01-a", "old"), tmp_path / ".lock-01-a", []
    record_in = folders.record_in

    def meanwhile(folder):
        with folders.locked(lock, wait=False) as (mine, _):
            taken.append(mine)
        assert folders.held(lock) is False  # and the run is not said to live
        return record_in(folder)

    lock.touch()
    monkeypatch.setattr(folders, "record_in", meanwhile)
    folders.tidy(tmp_path)
    assert taken == [False] and list(tmp_path.iterdir()) == [final]


def test_a_job_whose_lock_was_tidied_away_tries_again(tmp_path, monkeypatch):
    def late(path, **how):
        path.unlink()
        return folders.locked(path, **how)

    monkeypatch.setattr("course.runs.sweep.locked", late)
    monkeypatch.setattr("course.runs.sweep._started", lambda *_: pytest.fail("it has no lock"))
    job = {"out": str(tmp_path), "name": "01-a", "stop": str(tmp_path / ".stop"), "before": None}
    assert _one(job) == {"status": "busy"}


def test_an_ensemble_whose_writer_was_killed_forgets_what_was_half_written(tmp_path):
    ensemble = sisa.train(DATA, tmp_path / "e", build=build, **SHARDS)
    target = next((tmp_path / "e").glob("shard-000-after-002.safetensors"))
    half = Path(f"{target}.part")
    half.write_bytes(target.read_bytes()[:-9])
    row = int(ensemble.partition.rows(0, 1)[0])
    sisa.unlearn(ensemble, DATA, [row], workers=1)
    assert not half.exists()
    assert sisa_chapter.verify_exact(sisa.load(tmp_path / "e", DATA, build, workers=1), DATA,
                                     workers=1).equal


def test_a_log_whose_writer_was_killed_leaves_the_old_one(tmp_path):
    def choose(model, batch, forget, state):
        return os.kill(os.getpid(), signal.SIGKILL) if state["epoch"] == 1 else batch

    verification_chapter.train_logged(build(0), DATA, tmp_path / "log", seed=0, **RECIPE)
    head, before = verification_chapter.load_log(tmp_path / "log").head, contents(tmp_path)
    child = os.fork()
    if not child:
        verification_chapter.train_logged(build(1), DATA, tmp_path / "log", seed=1, choose=choose,
                                          **RECIPE)
    os.waitpid(child, 0)
    assert list((tmp_path / "log/.part").glob("step-*"))
    assert verification_chapter.load_log(tmp_path / "log").head == head
    verification_chapter.train_logged(build(0), DATA, tmp_path / "log", seed=0, **RECIPE)
    assert contents(tmp_path) == before


# ------------------------------------------------------------------ full and read-only disks


@pytest.fixture
def disk(tmp_path):
    """A disk of 1 MB, of its own."""
    (tmp_path / "disk").mkdir()
    if not shutil.which("mount") or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none",
                                                    tmp_path / "disk"],
                                                   capture_output=True).returncode:
        pytest.skip("no small disk can be mounted: that takes root's rights on Linux")
    yield tmp_path / "disk"
    subprocess.run(["umount", "-l", tmp_path / "disk"], check=True)


def fill(disk, leave=0):
    """A file that takes all room but `leave` bytes. -> its path"""
    free = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - leave)))
    return disk / "ballast"


def wide(seed):
    return models.build("mlp", DATA, seed, hidden=300)


def log(folder, seed=0):
    verification_chapter.train_logged(wide(seed), DATA, folder / "log", seed=seed, **RECIPE)


def csv(folder, points=0):
    write_csv([{"file": "a" * 20_000, "exercise": "1.1", "state": "right", "points": points}],
              folder / "points.csv")


def board(folder, seed=0):
    rows = report.scoreboard([])
    report.write(folder / "scoreboard.md", report.to_markdown(rows) + f"{seed}\n")
    report.write_table(folder, "scoreboard", report.parts_table([]).assign(seed=seed))


def ensemble(folder, seed=0):
    if (folder / "e").exists():
        e = sisa.load(folder / "e", DATA, build, workers=1)
        sisa.unlearn(e, DATA, [[i for i in range(40) if i not in e.removed][0]], workers=1)
    else:
        sisa.train(DATA, folder / "e", build=build, **SHARDS)


def command(folder, seed=0):
    """labkit report, in the process that it is."""
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", str(Path(__file__).parent), "--out", str(folder / "out")])
    if stop.value.code:
        raise LabError("labkit report: it cannot be written, with exit code 2.")


def long_run(folder, seed=0):
    """What a long run has computed so far."""
    store.result(folder / "kept", f"item {seed}", len, "x" * 9)
    network(folder / "kept", f"seed {seed}", build(seed), lambda: build(seed))


WRITERS = [log, csv, board, ensemble, command, long_run]


@pytest.mark.parametrize("write", WRITERS)
def test_a_full_disk_is_one_sentence_and_what_was_there_stays(disk, write):
    write(disk)
    before = contents(disk)
    ballast = fill(disk)
    sentence(lambda: write(disk, 1), "cannot be written")
    ballast.unlink()
    assert contents(disk) == before
    write(disk, 1)  # and with room it goes on


@pytest.mark.parametrize("write", WRITERS)
def test_a_read_only_disk_is_one_sentence_and_nothing_changes(disk, write):
    write(disk)
    before = contents(disk)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    sentence(lambda: write(disk, 1), "cannot be written")
    assert contents(disk) == before


@pytest.mark.parametrize("write", WRITERS)
def test_a_disk_that_takes_half_a_file(tmp_path, write, monkeypatch):
    """The same without a disk of its own: every write ends half-way."""
    def half(real):
        def write(self, content, *given, **more):
            real(self, content[:len(content) // 2], *given, **more)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return write

    write(tmp_path)
    before = contents(tmp_path)
    with monkeypatch.context() as patch:
        for name in ("write_bytes", "write_text"):
            patch.setattr(Path, name, half(getattr(Path, name)))
        sentence(lambda: write(tmp_path, 1), "cannot be written")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("write, name", [(log, "log"), (csv, "points.csv"),
                                         (board, "scoreboard.md"), (ensemble, "e"),
                                         (command, "out")])
def test_something_else_in_the_place(tmp_path, write, name):
    if name in ("points.csv", "scoreboard.md"):
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("mine")
    before = contents(tmp_path)
    sentence(lambda: sisa.train(DATA, tmp_path / "e", build=build, **SHARDS) if name == "e"
             else write(tmp_path),
             "cannot be written")
    assert contents(tmp_path) == before


def test_an_ensemble_goes_on_where_the_disk_was_full(disk):
    first = sisa.train(DATA, disk / "e", build=wide, **SHARDS)
    row = int(first.partition.rows(0, 1)[0])
    ballast = fill(disk, leave=4096)  # the ledger finds room, the retrained shard does not
    (disk / "e" / "ensemble.json").rename(disk / "e" / "kept")
    (disk / "e" / "kept").rename(disk / "e" / "ensemble.json")
    before = set(contents(disk / "e"))
    with open(ballast, "ab") as file:  # what wiping frees, too
        real = sisa.checkpoints.wipe

        def wipe_and_fill(*given):
            count = real(*given)
            file.write(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize))
            file.flush()
            return count

        sisa.checkpoints.wipe = wipe_and_fill
        try:
            sentence(lambda: sisa.unlearn(first, DATA, [row], workers=1), "cannot be written",
                     "make room")
        finally:
            sisa.checkpoints.wipe = real
    ballast.unlink()
    assert not [p for p in contents(disk / "e") if p not in before]
    with pytest.warns(UserWarning, match="shard 0 .* missing"):
        again = sisa.load(disk / "e", DATA, wide, workers=1)
    assert again.removed == (row,) and again.ledger[-1]["asked"] == [row]
    assert sisa_chapter.verify_exact(again, DATA, workers=1).equal


@pytest.mark.parametrize("fault", ["full at the start", "full at the end", "read-only"])
def test_a_run_without_room(disk, tmp_path, fault):
    path = write_notebook(tmp_path, "print('x' * 2_000_000)" if fault == "full at the end" else "1")
    good = write_notebook(tmp_path, "1", name="02_good")
    kept = runner.run(good, out=disk / "runs", progress=False)
    before = contents(disk / "runs")
    ballast = fill(disk, 0 if fault == "full at the start" else 200_000)
    if fault == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    said = "Read-only" if fault == "read-only" else "No space left on device"
    sentence(lambda: runner.run(path, out=disk / "runs", progress=False), said, "give another")
    assert contents(disk / "runs") == before and statuses(disk / "runs") == {"ok": 1}
    if fault == "full at the start":
        # the old run of this name stays
        sentence(lambda: runner.run(good, out=disk / "runs", progress=False), said)
        assert contents(disk / "runs") == before
        ballast.unlink()
        assert runner.run(path, out=disk / "runs",
                          progress=False)["status"] == kept["status"] == "ok"


@pytest.mark.slow
def test_a_sweep_without_room_says_so_and_goes_on_with_room(disk, place):  # noqa: F811
    found = sweep(notebooks("notebooks"), seeds=[0], out=disk / "runs")
    ballast = fill(disk)
    again = sweep(notebooks("notebooks"), seeds=[0, 1], out=disk / "runs")
    assert [r["status"]
            for r in again] == ["ok", "lost"] and again[0]["known"] and found[0]["status"] == "ok"
    assert "No space left on device" in again[1]["error"] and "make room there" in again[1]["error"]
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    third, = sweep(notebooks("notebooks"), seeds=[2], out=disk / "runs")
    assert third["status"] == "lost" and third["error"].startswith("Read-only file system")
    # reading needs no room
    assert sweep(notebooks("notebooks"), seeds=[0], out=disk / "runs")[0]["known"]
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    ballast.unlink()
    assert [r["status"] for r in sweep(notebooks("notebooks"), seeds=[0, 1],
                                       out=disk / "runs")] == ["ok", "ok"]
    assert statuses(disk / "runs") == {"ok": 2} and not list((disk / "runs").glob(".*"))


# ------------------------------------------------------------------ files cut off


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big")
                                                   for n in array.shape) + array.tobytes()


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """A small MNIST in the cache, unpacked, and no network."""
    def nothing(*_, **__):
        raise OSError("no network in this test")

    raw = tmp_path / "mnist" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, n in (("train", 40), ("t10k", 20)):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(np.full((n, 28, 28), 7,
                                                                          np.uint8)))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(n, dtype=np.uint8)
                                                                  % 10))
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", nothing)
    return raw


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_an_unpacked_file_of_mnist_that_is_cut_off_is_named(mnist, name):
    assert len(load("mnist").y) == 40
    whole = (mnist / name).read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 6, 0):
        (mnist / name).write_bytes(whole[:length])
        text = sentence(lambda: load("mnist"), f"damaged or incomplete: {name})", "MNIST/raw")
        # the others are sound and not named; the second is the advice
        assert text.count("-ubyte") == 2


def test_an_archive_of_cifar_that_is_cut_off_is_named(mnist, tmp_path):
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "cifar-10-python.tar.gz").write_bytes(gzip.compress(bytes(5000))[:-20])
    before = contents(tmp_path)
    sentence(lambda: load("cifar10"), "is damaged or incomplete: cifar-10-python.tar.gz",
             "put cifar-10-python.tar.gz")
    assert contents(tmp_path) == before


def test_a_download_onto_a_full_disk_leaves_nothing(disk, monkeypatch):
    import torchvision

    def download(root, **_):
        fill(disk, 100_000)
        with open(Path(root) / "cifar-10-python.tar.gz", "wb") as file:
            file.write(bytes(300_000))

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", download)
    monkeypatch.setenv("LABKIT_CACHE", str(disk))
    sentence(lambda: load("cifar10"), "No space left on device", "make room", "LABKIT_CACHE")
    assert not list((disk / "cifar10").iterdir())
    (disk / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    sentence(lambda: load("cifar100"), "Read-only file system", "LABKIT_CACHE")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"),
                                   KeyboardInterrupt()])
def test_half_a_download_goes_and_what_was_there_stays(tmp_path, monkeypatch, error):
    import torchvision

    def download(root, **_):
        (Path(root) / "SVHN").mkdir()
        (Path(root) / "SVHN" / "half.mat").write_bytes(bytes(9))
        raise error

    (tmp_path / "svhn").mkdir()
    (tmp_path / "svhn" / "mine.mat").write_bytes(b"mine")
    monkeypatch.setattr(torchvision.datasets, "SVHN", download)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    with pytest.raises((LabError, KeyboardInterrupt)):
        load("svhn")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["mine.mat"]


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "ppm", "tif", "webp"])
def test_a_picture_that_is_cut_off_is_named_or_whole(tmp_path, kind):
    """Wherever a file ends: the pixels are those of the whole picture, or the sentence names the
    file.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    for part in ("train", "test"):
        for label in "ab":
            (tmp_path / part / label).mkdir(parents=True)
            Image.fromarray(pixels).save(tmp_path / part / label / f"0.{kind}")
    file = tmp_path / "train" / "a" / f"0.{kind}"
    content, whole, refused = file.read_bytes(), load(f"folder:{tmp_path}", size=16).x, 0
    for length in sorted({*range(0, len(content), 1 + len(content) // 40), *range(len(content) - 12,
                                                                                  len(content))}):
        file.write_bytes(content[:length])
        try:
            assert torch.equal(load(f"folder:{tmp_path}", size=16).x, whole), length
        except LabError as problem:
            assert str(file) in str(problem) and "replace it" in str(problem)
            refused += 1
    assert refused > 35


def test_an_idx_file_cut_anywhere_is_named(tmp_path):
    from labkit.idx import read_idx

    content = gzip.compress(idx_bytes(np.arange(200, dtype=np.uint8).reshape(8, 5, 5)))
    for length in range(len(content)):
        (tmp_path / "images-ubyte.gz").write_bytes(content[:length])
        sentence(lambda: read_idx(tmp_path / "images-ubyte.gz"), "images-ubyte.gz", "damaged")


# ------------------------------------------------------------------ a changed byte


def flipped(content, at, with_=1):
    return content[:at] + bytes([content[at] ^ with_]) + content[at + 1:]


def test_a_changed_byte_in_a_record_is_told(tmp_path):
    claim = judge(load_claims()["basics-ga-damage"], [1.0, 1.25, 3.5], profile="quick")
    record = {"notebook": "01_basics", "status": "ok", "error": None,
              "parameters": {"profile": "quick", "seed": 0},
              "claims": [claim], "records": {"a": 1}}
    (tmp_path / "r").mkdir()
    file = tmp_path / "r" / "record.json"
    content = json.dumps(record | {"digest": folders.digest(record)}, indent=1).encode()
    file.write_bytes(content)
    sound, = records.collect(tmp_path)
    assert sound["status"] == "ok"
    told = 0
    for at in range(len(content)):
        for change in (1, 16):
            file.write_bytes(flipped(content, at, change))
            found, = records.collect(tmp_path)
            if found["status"] == "damaged":
                told += 1
                continue
            # A blank that became another blank, or the name of the digest itself: nothing that
            # counts is changed.
            assert {k: found[k] for k in record} == record, (at, change)
    assert told > 1.6 * len(content)
    file.write_bytes(content.replace(b"3.5", b"4.5"))
    assert "r: damaged. The record cannot be used: its digest does not fit" in notes_of(tmp_path)[0]


@pytest.mark.slow
def test_a_sweep_does_not_take_a_changed_record(place):  # noqa: F811
    first, = sweep(notebooks("notebooks"))
    file = Path("runs") / first["name"] / "record.json"
    file.write_text(file.read_text().replace('"seconds": ', '"seconds": 1'))
    assert [(r["known"], r["status"]) for r in sweep(notebooks("notebooks"))] == [(False, "ok")]
    assert statuses("runs") == {"ok": 1}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_any_changed_byte_of_a_checkpoint_of_a_log_is_seen(tmp_path, momentum):
    verification_chapter.train_logged(build(0), DATA, tmp_path, seed=0, momentum=momentum, every=3,
                                      **RECIPE)
    file = verification_chapter.log.file_of(tmp_path, 3)
    content, read_as = file.read_bytes(), verification_chapter.load_log(tmp_path)
    kept, head = verification_chapter.checkpoint(read_as, 3), 8 + int.from_bytes(content[:8],
                                                                                 "little")
    # Each byte of the header, in each bit; and, as their names are one byte apart, numbers read as
    # another type.
    spots = [(at, 1 << bit) for at in range(head) for bit in (0, 3, 7)]
    spots += [(at, 1) for at in range(head, len(content), 29)]
    spots += [(at + k, ord("F") ^ ord(other)) for at in range(head) if content[at:at + 3] == b"F32"
              for k, other in ((0, "I"), (0, "U"))]
    harmless = 0
    for at, change in spots:
        file.write_bytes(flipped(content, at, change))
        try:
            found = verification_chapter.checkpoint(read_as, 3)
        except LabError as problem:
            assert "checkpoint of step 3 is not the logged one" in str(problem)
        else:  # blanks that pad the header
            assert all(torch.equal(found[k], kept[k]) and found[k].dtype == kept[k].dtype
                       for k in kept), at
            harmless += 1
    assert harmless < 30


def test_any_changed_byte_of_what_a_long_run_kept_is_seen(tmp_path):
    """It is trained again: no changed weight is taken for a trained one."""
    model, trained = build(0), []
    network(tmp_path, "a", build(1), lambda: model)
    file, = tmp_path.iterdir()
    content = file.read_bytes()
    for at in range(0, len(content), 3):
        file.write_bytes(flipped(content, at))
        found, _ = network(tmp_path, "a", build(1), lambda: trained.append(1) or model)
        assert found is model
    assert len(trained) == len(range(0, len(content), 3))


def test_any_changed_byte_of_an_ensemble_is_seen_and_no_row_comes_back(tmp_path):
    e = sisa.train(DATA, tmp_path / "e", build=build, **SHARDS)
    sisa.unlearn(e, DATA, [11, 17], workers=1)
    for name in ("ledger.json", "ensemble.json"):
        file = tmp_path / "e" / name
        content, kept = file.read_bytes(), sisa.ensemble._read(tmp_path / "e", file.stem)
        for at in range(len(content)):
            file.write_bytes(flipped(content, at))
            try:  # the 17th digit of a number of seconds may be another one and the number the same
                assert sisa.ensemble._read(tmp_path / "e", file.stem) == kept, at
            except LabError as problem:
                assert f"{name} is missing or damaged" in str(problem)
        file.write_bytes(content.replace(b"[11, 17]", b"[11, 16]", 1))
        if content != file.read_bytes():
            sentence(lambda: sisa.load(tmp_path / "e", DATA, build),
                     "ledger.json is missing or damaged")
        file.write_bytes(content)
    assert sisa.load(tmp_path / "e", DATA, build, workers=1).removed == (11, 17)


# ------------------------------------------------------------------ the clock


@pytest.mark.slow
def test_a_clock_set_back_in_the_middle_of_a_sweep(place, monkeypatch):  # noqa: F811
    """A failure after the clock was set back is a failure, tried once; one from "the future" is an
    old one.
    """
    write_notebook(place / "notebooks", NOTE.replace("NAME", "01_tiny") + "1 / 0")
    real = time.time
    # the runs live an hour before the sweep that began them
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    found, = sweep(notebooks("notebooks"))
    assert (found["status"], found["error"]) == ("failed",
                                                 "ZeroDivisionError: division by zero (cell 3)")
    # the record is an hour younger than the next sweep
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    os.utime(Path("runs") / found["name"] / "record.json", (real() + 86400,) * 2)
    found, = sweep(notebooks("notebooks"))
    assert found["status"] == "failed" and not found["known"]
    assert (place / "notes").read_text().count("begin") == 2  # once in each sweep
    assert statuses("runs") == {"failed": 1}


def test_runs_of_one_instant_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1e9)
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)
    final = tmp_path / "01-quick-a-s0-abcdef12"
    with folders.under_way(final) as one, folders.under_way(final) as two:
        assert one != two and statuses(tmp_path) == {"under way": 1}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("age", [3, -3])
def test_a_living_run_keeps_its_folder_whatever_the_clock_says(tmp_path, age):
    final = tmp_path / "01-quick-a-s0-abcdef12"
    dead = tmp_path / ".tmp-01-quick-a-s1-abcdef12-77-00000000"
    dead.mkdir()
    with folders.under_way(final) as temporary:
        for folder in (temporary, dead):
            os.utime(folder, (time.time() - age * 86400,) * 2)
        folders.tidy(tmp_path)
        assert temporary.exists() and dead.exists() == (age < 0)


def test_the_report_takes_the_code_that_is_here_whatever_the_time_stamps_say():
    path = notebooks()[1]

    def record(seed, labkit, started, value):
        claim = judge(load_claims()["basics-ga-damage"], [value, value + 0.1, value + 0.2],
                      profile="quick")
        return {"notebook": path.stem, "status": "ok", "labkit": labkit,
                "notebook_hash": notebook_hash(read(path)),
                "parameters": {"profile": "quick", "dataset": "fashion", "seed": seed},
                "claims": [claim],
                "started": started}

    future = [record(s, "an older one", "2099-01-01T00:00:00+00:00", -1.0) for s in (0, 1)]
    here = [record(s, labkit_hash(path.stem), "2026-01-01T00:00:00+00:00", 1.0) for s in (0, 1)]
    table = report.scoreboard([*future, *here])
    row = table.set_index("claim").loc["basics-ga-damage"]
    assert row["ours"].startswith("1.") and row["n"] == "6 seeds in 2 runs"
    assert "2 records of another version of the code left out" in table.attrs["notes"][0]
    # neither is here: the time stamps are all there is
    gone = [r | {"labkit": "a third"} for r in here]
    assert report.scoreboard([*future, *gone]).set_index("claim").loc["basics-ga-damage",
                                                                      "ours"].startswith("-0.9")


def test_two_runs_in_one_second_both_count(tmp_path):
    for seed in (0, 1):
        claim = judge(load_claims()["basics-ga-damage"], [1.0 + seed, 1.5], profile="quick")
        (tmp_path / f"r{seed}").mkdir()
        (tmp_path / f"r{seed}" / "record.json").write_text(json.dumps({
            "notebook": "01_basics", "status": "ok", "parameters": {"profile": "quick",
                                                                    "seed": seed},
            "claims": [claim], "started": "2026-01-01T00:00:00+00:00", "labkit": "a",
                                                                       "notebook_hash": "b"}))
    table = report.scoreboard(records.collect(tmp_path)).set_index("claim")
    assert table.loc["basics-ga-damage", "n"] == "4 seeds in 2 runs"


def test_what_the_system_calls_unwritable_is_known():
    assert {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES} <= base.UNWRITABLE
