"""labkit sweep on tiny notebooks: nothing lost or run twice, whatever is killed; limits, refusals,
a Dask cluster.
"""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from test_runner import write_notebook

from course.cli import main
from course.runs.choices import parse_datasets, parse_notebooks, parse_seeds
from course.runs.sweep import sweep
from labkit.base import LabError

ROOT = Path(__file__).resolve().parents[1]
# Leaves a line when it begins and one when it ends: what was run, and how often.
COUNTS = """
import os, time
def note(word):
    with open(os.environ["NOTES"], "a") as file:
        file.write(f"{word} {dataset} {seed}\\n")
note("begin")
time.sleep(float(os.environ.get("PAUSE", "0.2")))
note("end")
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder with notebooks/01_tiny.ipynb that notes each run; it is the working
    directory.
    """
    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path / "notebooks", COUNTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("PYTHONPATH",
                       os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    return tmp_path


def notes(place, word="end"):
    """How often each (data set, seed) ended (or began)."""
    lines = (place / "notes").read_text().splitlines() if (place / "notes").exists() else []
    return Counter(tuple(line.split()[1:]) for line in lines if line.startswith(word))


def begin(*words, **environment):
    """labkit sweep in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", "course", "sweep", *map(str, words)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
                            | environment,
                            start_new_session=True)


def wait_for(condition, seconds=300):  # a busy machine takes its time
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def status(found):
    return [r["status"] for r in found]


def kernels(place):
    """The processes that these runs started: they have this folder's file of notes in their
    environment.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("NOTES") == os.environ["NOTES"]:
                found += [process] if process.status() != psutil.STATUS_ZOMBIE else []
        except psutil.Error:
            pass
    return found


def half_done(runs):
    return [p.name for p in runs.iterdir() if p.name.startswith(".")
            or not (p / "record.json").exists()]


# ------------------------------------------------------------------ what is asked for


@pytest.mark.parametrize("text, seeds", [("3", [3]), ("0-4", [0, 1, 2, 3, 4]), ("0,3,7", [0, 3, 7]),
                                         ("5-5", [5]), ("7, 0-2", [7, 0, 1, 2])])
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text, said", [("4-0", "backwards: write 0-4"),
                                        ("0-3,2", "seed '2' is there twice"),
                                        ("0-300000", "more than 10,000"),
                                        (f"0-{10**19}", "more than 10,000"),
                                        ("0-5000,6000-12000", "more than 10,000"),
                                        ("9" * 5000, "too large"),
                                        ("1-" + "9" * 21, "too large")] + [
    (text, "cannot be read") for text in ("-1", "", "1,,2", "1.5", "0-", "a")])
def test_bad_seeds(text, said):
    began = time.process_time()
    with pytest.raises(LabError, match=said) as told:
        parse_seeds(text)
    assert len(str(told.value)) < 250 and time.process_time() - began < 0.5
    assert len(parse_seeds("0-9999")) == 10_000  # in a moment, too
    assert time.process_time() - began < 1


def test_notebooks_by_number_range_name_and_all(place):
    folder = place / "notebooks"
    for name in ("02_more", "03_last"):
        write_notebook(folder, "1", name=name)
    for words, stems in ((["01-03"], ["01_tiny", "02_more", "03_last"]),
                         (["3-3", "01_tiny"], ["03_last", "01_tiny"]),
                         (["all"], ["01_tiny", "02_more", "03_last"])):
        assert [p.stem for p in parse_notebooks(words)] == stems
    for words, said in ((["03-01"], "backwards: write 01-03"), (["02-05"], "no notebook '05'"),
                        (["nine"], "no notebook"),
                        (["01", "01-02"], "'01_tiny' is there twice"),
                        (["all", "02"], "'02_more' is there twice"),
                        ([], "No notebook was named")):
        with pytest.raises(LabError, match=said):
            parse_notebooks(words)


def test_datasets(tmp_path):
    assert parse_datasets(None) == [None]
    assert parse_datasets(f"fashion,folder:{tmp_path}") == ["fashion", f"folder:{tmp_path}"]
    comma = tmp_path / "it's a [v2], final, really"
    # the one before the comma is there too, or not yet
    for place in (comma, tmp_path / "it's a [v2]"):
        comma.mkdir(exist_ok=True)
        place.mkdir(exist_ok=True)
        assert parse_datasets(f"fashion, folder:{comma},digits") == ["fashion", f"folder:{comma}",
                                                                     "digits"]
        comma.rmdir()
    for text, said in (("fashon", "no data set 'fashon'"), ("fashion,", "no data set ''"),
                       ("folder:none", "no folder"),
                       ("digits,digits", "twice")):
        with pytest.raises(LabError, match=said):
            parse_datasets(text)


@pytest.mark.parametrize("settings, said", [
    ({"jobs": 0}, "--jobs is 0"), ({"timeout": 0}, "--timeout is 0"),
                                            ({"memory": -5}, "--memory is -5"),
    ({"seeds": [0, 2**64]}, "64 bits"),
    ({"profile": "quik"}, "did you mean 'quick'"), ({"parameters": {"epoch": 1}},
                                                    "did you mean 'epochs'"),
    ({"parameters": {"seed": 1}}, "from --seeds, not from -p"),
    ({"scheduler": "tcp://127.0.0.1:9"}, "No Dask scheduler"),
    ({"scheduler": "nonsense"}, "No Dask scheduler"), ({"out": "notebooks/01_tiny.ipynb"},
                                                       "cannot be written"),
])
def test_bad_input_is_told_before_anything_runs(place, settings, said, monkeypatch):
    if "scheduler" in settings:
        pytest.importorskip("distributed")
        monkeypatch.setattr("course.runs.cluster.ANSWER", 1)
    with pytest.raises(LabError, match=said):
        sweep(parse_notebooks(["01"]), **{"seeds": [0, 1]} | settings)
    assert not notes(place, "begin")


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_one_sentence_and_nothing_behind_it(place):
    pytest.importorskip("distributed")
    with socket.socket() as silent, socket.socket() as closed:
        for mute in (silent, closed):
            mute.bind(("127.0.0.1", 0))
        silent.listen()  # takes the call and says nothing
        ports = [mute.getsockname()[1] for mute in (silent, closed)]
        for address in ("nonsense", "foo://x", *(f"tcp://127.0.0.1:{port}" for port in ports)):
            process = begin("01", "--seeds", 1, "--scheduler", address)
            out, err = process.communicate(timeout=300)
            assert process.returncode == 2 and not out
            assert (err.startswith(f"labkit: No Dask scheduler answers at '{address}'")
                    and err.count("\n") == 1), err


def test_without_dask_the_sentence_says_what_to_install(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(LabError, match="pip install distributed"):
        sweep(parse_notebooks(["01"]), scheduler="tcp://127.0.0.1:8786")


def test_bad_words_on_the_command_line_are_one_line(place, capfd):
    for words, said in (("01 --seeds 4-0", "backwards"), ("09", "no notebook"),
                        ("01 --jobs 0", "--jobs"),
                        ("01 --dataset fashon", "no data set"), ("01 -p epochs", "has no value")):
        with pytest.raises(SystemExit) as stop:
            main(["sweep", *words.split()])
        out, err = capfd.readouterr()
        assert stop.value.code == 2 and said in err and not out
        assert err.startswith("labkit: ") and err.count("\n") == 1


# ------------------------------------------------------------------ running


@pytest.mark.slow
def test_every_run_once_and_only_what_changed_again(place):
    settings = {"datasets": ["fashion", "digits"], "jobs": 2, "parameters": {"rate": 1e-5}}
    found = sweep(parse_notebooks(["01"]), seeds=[0, 1], **settings)
    assert status(found) == ["ok"] * 4 and not any(r["known"] for r in found)
    # cut short, it has every data set on the first seeds
    assert [r["seed"] for r in found] == [0, 0, 1, 1]
    assert sum(notes(place).values()) == 4 and not half_done(place / "runs")
    records = [json.loads((place / "runs" / r["name"] / "record.json").read_text()) for r in found]
    assert {r["parameters"]["rate"] for r in records} == {1e-5}
    write_notebook(place / "notebooks", "1", name="02_other")
    damaged = place / "runs" / found[1]["name"] / "record.json"
    damaged.write_text("[]")
    again = sweep(parse_notebooks(["all"]), seeds=[0], **settings)
    assert [r["known"] for r in again] == [True, False, False,
                                           False] and sum(notes(place).values()) == 5
    write_notebook(place / "notebooks", COUNTS + "# changed")
    assert [r["known"] for r in sweep(parse_notebooks(["all"]), **settings)] == [False, False, True,
                                                                                 True]
    assert sum(notes(place).values()) == 7


@pytest.mark.slow
def test_failures_stay_alone_and_run_again(place):
    folder = place / "notebooks"
    write_notebook(folder, "kept = bytearray(600_000_000)\nimport time; time.sleep(60)",
                   name="02_hog")
    write_notebook(folder, "import time; time.sleep(600)", name="03_slow")
    write_notebook(folder, "1 / 0", name="04_wrong")
    write_notebook(folder, "import os, signal; os.kill(os.getppid(), signal.SIGKILL)\nimport time; "
                           "time.sleep(60)",
                   name="05_kills")
    write_notebook(folder, "class NotForThisData(Exception): pass\nraise NotForThisData('no')",
                   name="06_skips")
    process = begin("all", "--jobs", 2, "--timeout", 45, "--memory", 400)
    out, err = process.communicate()
    assert process.returncode == 1 and "Traceback" not in out + err
    assert ("6 runs: " in out and "1 ok" in out and "1 skipped" in out and "3 failed" in out
            and "1 lost" in out)
    assert "labkit report runs" in out and len([line for line in out.splitlines()
                                                if line.startswith("[")]) == 6
    for said in ("took more than 400 MB", "took longer than 45 s", "ZeroDivisionError",
                 "exit code -9, no record"):
        assert said in err
    wait_for(lambda: not kernels(place))
    write_notebook(folder, "1", name="05_kills")
    process = begin("01", "04-06")
    out, _ = process.communicate()
    assert "[1/2" in out and "2 of them were there before" in out  # failures run again, others not
    assert "04-quick" in out and "05-quick" in out


@pytest.mark.slow
def test_a_sweep_killed_in_the_middle_goes_on(place):
    words = ("01", "--seeds", "0-5", "--jobs", 2)
    first = begin(*words, PAUSE="3")
    wait_for(lambda: sum(notes(place).values()) >= 2 and sum(notes(place, "begin").values()) >= 3)
    first.kill()
    first.communicate()
    second = begin(*words)  # while orphans of the first are still at it
    out, err = second.communicate()
    assert second.returncode == 0, out + err
    assert "6 runs: 6 ok" in out
    assert notes(place) == notes(place, "begin") == Counter({("fashion", str(s)): 1
                                                             for s in range(6)})
    assert not half_done(place / "runs")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_every_process_and_leaves_no_half_record(place, number):
    words = ("01", "--seeds", "0-5", "--jobs", 2)
    first = begin(*words, PAUSE="0.2" if number == signal.SIGTERM else "60")
    wait_for(lambda: sum(notes(place, "begin").values()) >= 2)
    first.send_signal(number)
    out, err = first.communicate(timeout=300)
    assert (first.returncode == 130 and "the same command goes on" in out and "Traceback" not in out
            + err)
    assert not kernels(place) and not half_done(place / "runs")
    recorded, ended = len(list((place / "runs").iterdir())), sum(notes(place).values())
    second = begin(*words)
    out, _ = second.communicate()
    assert (second.returncode == 0 and "6 runs: 6 ok" in out
            and f"{recorded} of them were there before" in out)
    # a run that was stopped after its last cell counts twice
    assert sum(notes(place).values()) == 6 + ended - recorded


def test_a_sweep_whose_lines_nobody_reads_stops_its_runs(place, monkeypatch):
    began = []

    def started(job, handles):
        began.append(job["seed"])
        end = time.monotonic() + 5
        # a run on a Dask worker sees no more than the file
        while job["seed"] and not os.path.exists(job["stop"]) and time.monotonic() < end:
            time.sleep(0.05)
        return {"status": "stopped" if os.path.exists(job["stop"]) else "ok"}

    def unread(text, **_):
        if text.startswith("[1/4"):
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("course.runs.sweep._started", started)
    monkeypatch.setattr("course.runs.sweep.print", unread, raising=False)
    with pytest.raises(BrokenPipeError):
        sweep(parse_notebooks(["01"]), seeds=range(4))
    assert began in ([0], [0, 1]) and not list(Path("runs").iterdir())


def test_each_line_tells_the_time_left_and_what_was_wrong(place, monkeypatch, capsys):
    found = {0: {"status": "ok", "error": None}, 1: {"status": "failed", "error": "E: no (cell 3)"}}
    monkeypatch.setattr("course.runs.sweep._started", lambda job, _: found[job["seed"]])
    clock = iter([0, 720, 1000])  # seconds
    monkeypatch.setattr("course.runs.sweep.time", SimpleNamespace(
        sleep=time.sleep, perf_counter=lambda: next(clock)))
    names = [r["name"] for r in sweep(parse_notebooks(["01"]), seeds=[0, 1])]
    assert capsys.readouterr().out.splitlines() == [
        "0 of 2 runs, 1 at a time", f"[1/2, about 12 min left] {names[0]}: ok",
        f"[2/2, about 0 min left] {names[1]}: failed (E: no (cell 3))"]


@pytest.mark.slow
def test_two_sweeps_at_once_share_the_runs(place):
    both = [begin("01", "--seeds", "0-4", "--jobs", 2) for _ in range(2)]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert all("5 runs: 5 ok" in out for out, _ in said), said
    assert notes(place) == Counter({("fashion", str(s)): 1
                                    for s in range(5)}) and not half_done(place / "runs")


@pytest.mark.slow
def test_a_dask_cluster_does_every_run_once_though_a_worker_dies(place):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True,
                                  dashboard_address=None) as cluster:
        process = begin("01", "--seeds", "0-5", "--scheduler", cluster.scheduler_address)
        wait_for(lambda: sum(notes(place).values()) >= 1 and notes(place, "begin") != notes(place))
        victim = next(iter(cluster.workers.values())).pid
        os.kill(victim, signal.SIGKILL)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    assert "6 runs: 6 ok" in out
    assert notes(place) == notes(place, "begin") == Counter({("fashion", str(s)): 1
                                                             for s in range(6)})
    assert not half_done(place / "runs")


@pytest.mark.slow
def test_ctrl_c_reaches_the_runs_of_a_dask_cluster(place):
    distributed = pytest.importorskip("distributed")
    os.environ["PAUSE"] = "60"
    try:
        with distributed.LocalCluster(n_workers=1, threads_per_worker=2,
                                      dashboard_address=None) as cluster:
            process = begin("01", "--seeds", "0-3", "--scheduler", cluster.scheduler_address)
            wait_for(lambda: sum(notes(place, "begin").values()) == 2)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=300)
            assert process.returncode == 130 and "Traceback" not in out + err
            assert not [p for p in kernels(place) if "ipykernel_launcher" in p.cmdline()]
    finally:
        del os.environ["PAUSE"]
    assert "4 stopped" in out and not half_done(place / "runs")
