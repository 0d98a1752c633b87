"""labkit run on tiny notebooks: the record, refusals, failures, dying kernels, and nothing left
behind.
"""

import json
import os
import re
import shutil
import socket
import time
from pathlib import Path

import nbformat
import pytest
from jupyter_client.connect import LocalPortCache
from jupyter_client.kernelspec import NoSuchKernel

import course.chapters
from course.lab import Lab
from course.runs import notebook
from course.runs.notebook import (
    find_notebook,
    harvest,
    labkit_hash,
    notebook_hash,
    notebook_parameters,
    notebooks,
    read,
)
from course.runs.records import collect
from course.runs.runner import check_parameters, parse_value, run
from course.runs.sweep import sweep
from labkit.base import LabError, cache_path

PARAMETERS = ('profile = "quick"\ndataset = "fashion"\nseed = 0\nseeds = None\nrate = 0.5\nepochs '
              '= 3\nnames = ["a"]')
SHOW = ("from IPython.display import display\n"
        "def show(**b): display({'application/vnd.labkit+json': b, 'text/plain': 'x'}, raw=True)\n")


def write_notebook(folder, *cells, name="01_tiny", parameters=PARAMETERS):
    """A notebook of a parameters cell and these code cells. -> its path"""
    node = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_markdown_cell("# Tiny"),
        nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})])
    node.cells += [nbformat.v4.new_code_cell(c) for c in cells]
    node.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3",
                                   "language": "python"}
    nbformat.write(node, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One run with another seed and a fine parameter: (record, folder of the runs, notebook)."""
    folder = tmp_path_factory.mktemp("done")
    cells = [SHOW + "show(kind='setup', data='d1', versions={'torch': '2'}, device='cpu')",
             "import os, time\nkept = bytearray(60_000_000)\nend = time.process_time() + 1\n"
             "while time.process_time() < end: pass\ntime.sleep(0.3)",
             "show(kind='record', name='threads', value=os.environ['OMP_NUM_THREADS'])\n"
             "show(kind='record', name='rate', value=[rate, seed, dataset])"]
    path = write_notebook(folder, *cells)
    before = dict(os.environ)
    record = run(path, seed=3, parameters={"rate": 1}, out=folder / "runs", progress=False)
    assert dict(os.environ) == before
    return record, folder / "runs", path


# ------------------------------------------------------------------ the record


def test_record_has_its_schema(done):
    record, runs, path = done
    final = Path(record["source"])
    assert final.parent == runs and re.fullmatch("01-quick-fashion-s3-[0-9a-f]{8}", final.name)
    assert sorted(p.name for p in final.iterdir()) == ["01_tiny.ipynb", "record.json"]
    assert [p.name for p in runs.iterdir()] == [final.name]  # no leftovers
    stored = json.loads((final / "record.json").read_text(encoding="utf-8"))
    assert stored == {k: v for k, v in record.items() if k != "source"}
    assert set(stored) == {"notebook", "status", "error", "parameters", "seconds", "cpu_seconds",
                           "peak_mb", "labkit",
                           "notebook_hash", "data", "versions", "device", "started", "records",
                           "claims",
                           "digest"}
    assert (stored["notebook"], stored["status"], stored["error"]) == ("01_tiny", "ok", None)
    assert stored["parameters"] == {"profile": "quick", "dataset": "fashion", "seed": 3,
                                    "seeds": None, "rate": 1,
                                    "epochs": 3, "names": ["a"]}
    assert (stored["data"], stored["versions"], stored["device"]) == ("d1", {"torch": "2"}, "cpu")
    assert (stored["labkit"] == labkit_hash() and stored["notebook_hash"]
            == notebook_hash(read(path)))
    assert stored["started"].endswith("+00:00")


def test_the_hash_is_of_what_a_notebooks_numbers_depend_on(tmp_path, monkeypatch):
    """A mended grader, an exercise or another chapter makes no record stale; training makes all."""
    python = shutil.ignore_patterns("__pycache__")
    for package in ("labkit", "course"):
        shutil.copytree(notebook.ROOT / package, tmp_path / package, ignore=python)
    numbered = [p.stem for p in notebooks(notebook.ROOT / "notebooks")]
    monkeypatch.setattr(notebook, "ROOT", tmp_path)
    monkeypatch.setattr(course.chapters, "HERE", tmp_path / "course" / "chapters")

    def changed(*place):
        """The notebooks whose hash another line in (or a new) file changes."""
        before, path = {name: labkit_hash(name) for name in numbered}, tmp_path.joinpath(*place)
        path.write_text((path.read_text() if path.exists() else "") + "\n# another line\n")
        return [name for name in numbered if labkit_hash(name) != before[name]]

    assert len(numbered) >= 8
    for place in ("grading/grade.py", "cli.py", "runs/sweep.py", "exercises/engine.py",
                  "figures.py"):
        assert changed("course", *place.split("/")) == [], place
    for place in (("labkit", "training.py"), ("labkit", "attack", "new.py"), ("course", "lab.py"),
                  ("course", "claims.py"), ("course", "claimfile.py")):
        assert changed(*place) == numbered, place
    for name in numbered:
        chapter = ("course", "chapters", name[3:])
        assert changed(*chapter, "exercises.py") == changed(*chapter, "exercises_new.py") == []
        assert changed(*chapter, "code.py") == changed(*chapter, "more.py") == [name]


def test_cost_is_measured(done):
    record, _, _ = done
    assert record["peak_mb"] > 80  # the cell alone held 60 MB
    assert 1 <= record["cpu_seconds"] <= record["seconds"] * os.cpu_count() + 1
    assert record["seconds"] > 1.3


def test_parameters_reach_the_notebook(done):
    record, _, _ = done
    assert record["records"]["rate"] == [1, 3, "fashion"]
    assert record["records"]["threads"] == os.environ.get("OMP_NUM_THREADS", "1")


def test_a_mended_text_is_the_same_notebook_and_mended_code_is_not():
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("Truth"),
                                           nbformat.v4.new_code_cell("x = 1")])
    before = notebook_hash(node)
    node.cells[0].source = "The truth"
    assert notebook_hash(node) == before
    node.cells[1].source = "x = 2"
    assert notebook_hash(node) != before


def test_executed_notebook_is_the_record(done):
    record, _, path = done
    executed = Path(record["source"]) / "01_tiny.ipynb"
    assert harvest(read(executed))["records"] == record["records"]
    assert notebook_parameters(executed) == record["parameters"]  # injected values included
    assert notebook_hash(read(executed)) == notebook_hash(read(path))  # and not counted here
    assert harvest(read(path))["claims"] == []


def test_same_run_replaces_and_other_seed_does_not(tmp_path):
    path = write_notebook(tmp_path, "1 + 1")
    first = run(path, out=tmp_path / "runs", progress=False)
    (Path(first["source"]) / "mine.txt").write_text("old")
    stale, fresh = tmp_path / "runs" / ".tmp-stale", tmp_path / "runs" / ".tmp-fresh"
    stale.mkdir()
    fresh.mkdir()
    os.utime(stale, (time.time() - 2 * 86400,) * 2)
    again = run(path, out=tmp_path / "runs", progress=False)
    assert again["source"] == first["source"] and not (Path(first["source"]) / "mine.txt").exists()
    assert not stale.exists() and fresh.exists()  # leftovers go after a day
    fresh.rmdir()
    other = run(path, seed=1, out=tmp_path / "runs", progress=False)
    assert {p.name for p in (tmp_path / "runs").iterdir()} == {Path(r["source"]).name
                                                               for r in (again, other)}


def test_a_copy_under_another_name_has_a_folder_of_its_own(tmp_path):
    first = run(write_notebook(tmp_path, "1 + 1"), out=tmp_path / "runs", progress=False)
    copy = run(write_notebook(tmp_path, "1 + 1", name="01_copy"), out=tmp_path / "runs",
               progress=False)
    assert first["notebook_hash"] == copy["notebook_hash"] and first["source"] != copy["source"]
    assert {r["notebook"] for r in collect(tmp_path / "runs")} == {"01_tiny", "01_copy"}


def test_a_failing_rerun_leaves_the_finished_run(tmp_path, monkeypatch):
    ending = "import os\nclass NotForThisData(Exception): pass\nexec(os.environ['ENDING'])"
    path, runs, found = write_notebook(tmp_path, ending), tmp_path / "runs", {}
    for word, ending in (("failed", "1 / 0"), ("skipped", "raise NotForThisData()"),
                         ("failed", "1 / 0"), ("ok", "")):
        monkeypatch.setenv("ENDING", ending)
        record = run(path, out=runs, progress=False)
        assert record["status"] == word and (Path(record["source"]) / "01_tiny.ipynb").exists()
        found[word] = Path(record["source"]).name
    kept = (runs / found["ok"] / "record.json").read_bytes()
    assert found["failed"] == f"{found['ok']}-failed" and found["skipped"] == found["ok"]
    # what failed before is of no use any more
    assert [p.name for p in runs.iterdir()] == [found["ok"]]
    for word, ending in (("failed", "1 / 0"), ("skipped", "raise NotForThisData()")):
        monkeypatch.setenv("ENDING", ending)
        assert Path(run(path, out=runs, progress=False)["source"]).name == f"{found['ok']}-{word}"
        assert (runs / found["ok"] / "record.json").read_bytes() == kept
    again, = sweep([path], out=runs)
    assert again["known"] and again["status"] == "ok"


@pytest.mark.parametrize("kernel", [None, {"name": "python3", "display_name": "Python 3"},
                                    {"name": "of another machine", "display_name": "?",
                                     "language": "python"}])
def test_a_notebook_whose_language_is_not_said_runs(tmp_path, kernel):
    path = write_notebook(tmp_path, "assert rate == 2")
    node = nbformat.read(path, 4)
    node.metadata = {} if kernel is None else {"kernelspec": kernel}
    nbformat.write(node, path)
    record = run(path, parameters={"rate": 2}, out=tmp_path / "runs", progress=False)
    assert (record["status"], record["error"]) == ("ok", None)


def test_home_is_where_runs_go(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    record = run(write_notebook(tmp_path, "1"), out="~/runs", progress=False)
    assert Path(record["source"]).parent == tmp_path / "home" / "runs" and not (tmp_path
                                                                                / "~").exists()
    assert sweep([tmp_path / "01_tiny.ipynb"], out="~/runs")[0]["known"]
    monkeypatch.setenv("LABKIT_CACHE", "~/cache")
    assert cache_path() == tmp_path / "home" / "cache"


# ------------------------------------------------------------------ failures


def test_failed_cell(tmp_path):
    record = run(write_notebook(tmp_path, SHOW + "show(kind='record', name='kept', value=1)",
                                "1 / 0", "2"),
                 out=tmp_path / "runs", progress=False)
    assert record["status"] == "failed"
    assert record["error"] == "ZeroDivisionError: division by zero (cell 4)"
    assert record["records"] == {"kept": 1}
    assert (Path(record["source"]) / "record.json").exists()


def test_not_for_this_data_is_skipped(tmp_path):
    cell = ("from labkit.base import NotForThisData\nraise NotForThisData('needs images, "
            "and\\nloans has none')")
    record = run(write_notebook(tmp_path, cell), dataset="loans", out=tmp_path / "runs",
                 progress=False)
    assert record["status"] == "skipped"
    assert record["error"] == "NotForThisData: needs images, and loans has none (cell 3)"


@pytest.mark.parametrize("death", ["import os; os._exit(1)", "import os; os.kill(os.getpid(), 9)"])
def test_dying_kernel_fails_this_notebook_alone(tmp_path, death):
    record = run(write_notebook(tmp_path, SHOW + "show(kind='record', name='kept', value=1)", death,
                                "2"),
                 out=tmp_path / "runs", progress=False)
    assert (record["status"] == "failed" and "DeadKernel" in record["error"]
            and "(cell 4)" in record["error"])
    assert "\n" not in record["error"] and record["records"] == {"kept": 1}
    assert sorted(p.name for p in Path(record["source"]).iterdir()) == ["01_tiny.ipynb",
                                                                        "record.json"]
    assert len(list((tmp_path / "runs").iterdir())) == 1


@pytest.mark.parametrize("taken, status", [(1, "ok"), (3, "failed")])
def test_a_kernel_that_finds_its_port_taken_is_started_anew(tmp_path, monkeypatch, taken, status):
    free, starts = LocalPortCache.find_available_port, []
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def find(self, ip):
            starts.append(1)
            # a kernel has five
            return other.getsockname()[1] if len(starts) <= 5 * taken else free(self, ip)

        monkeypatch.setattr(LocalPortCache, "find_available_port", find)
        record = run(write_notebook(tmp_path, "1"), out=tmp_path / "runs", progress=False)
    assert record["status"] == status and len(starts) == 5 * min(taken + 1, 3)
    assert status == "ok" or "Kernel died before replying" in record["error"]


def test_what_fails_before_the_first_cell_fails_this_notebook_alone(tmp_path, monkeypatch):
    def fails(*given, **settings):
        raise ValueError("no\nroom")

    monkeypatch.setattr("papermill.execute_notebook", fails)
    record = run(write_notebook(tmp_path, "1"), out=tmp_path / "runs", progress=False)
    assert (record["status"], record["error"]) == ("failed", "ValueError: no room")
    assert record["claims"] == [] and collect(tmp_path / "runs")[0]["status"] == "failed"


def test_without_a_kernel_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("jupyter_client.kernelspec.KernelSpecManager.get_kernel_spec",
                        lambda self, name: (_ for _ in ()).throw(NoSuchKernel(name)))
    with pytest.raises(LabError, match="python -m ipykernel install"):
        run(write_notebook(tmp_path, "1"), out=tmp_path / "runs", progress=False)
    assert not list((tmp_path / "runs").iterdir())


def test_time_limit(tmp_path):
    record = run(write_notebook(tmp_path, "import time; time.sleep(60)"), timeout=3,
                 out=tmp_path / "runs",
                 progress=False)
    assert record["status"] == "failed" and record["error"].startswith("Timeout: the notebook took "
                                                                       "longer than 3 s")
    assert record["seconds"] < 50


def test_memory_limit_counts_the_workers_too(tmp_path):
    cell = ("import subprocess, sys, time\nhog = 'import time; kept = bytearray(300_000_000); "
            "time.sleep(60)'\n"
            "both = [subprocess.Popen([sys.executable, '-c', hog]) for _ in "
            "range(2)]\ntime.sleep(60)")
    record = run(write_notebook(tmp_path, cell), memory=450, out=tmp_path / "runs", progress=False)
    assert record["error"] == "MemoryLimit: the notebook took more than 450 MB (cell 3)"
    assert record["status"] == "failed" and record["peak_mb"] > 450 and record["seconds"] < 50
    fine = run(write_notebook(tmp_path, "1", name="02_fine"), memory=450, timeout=60,
               out=tmp_path / "runs",
               progress=False)
    assert fine["status"] == "ok"


# ------------------------------------------------------------------ refusals


def test_unknown_parameters_are_refused_with_the_nearest(tmp_path):
    path = write_notebook(tmp_path, "1")
    with pytest.raises(LabError, match="no parameter 'epoch'.*did you mean 'epochs'"):
        run(path, parameters={"epoch": 3}, out=tmp_path / "runs")
    with pytest.raises(LabError, match="profile 'quik'.*did you mean 'quick'"):
        run(path, profile="quik", out=tmp_path / "runs")
    with pytest.raises(LabError, match="profile 'no'"):
        run(path, parameters={"profile": "no"}, out=tmp_path / "runs")
    for limit in ({"timeout": 0}, {"memory": -1}, {"memory": float("nan")}):
        with pytest.raises(LabError, match="give a number above 0"):
            run(path, out=tmp_path / "runs", **limit)
    assert not (tmp_path / "runs").exists()
    bare = write_notebook(tmp_path, "1", name="02_bare", parameters="size = 1")
    assert check_parameters(bare) == {"size": 1}
    with pytest.raises(LabError, match="no parameter 'seed'"):
        check_parameters(bare, seed=1)
    with pytest.raises(LabError, match="no parameter 'dataset'"):
        check_parameters(bare, dataset="digits")


def test_a_lost_tag_is_named(tmp_path):
    path = write_notebook(tmp_path, "1")
    node = nbformat.read(path, 4)
    node.cells[1].metadata = {}
    nbformat.write(node, path)
    assert check_parameters(path) == {}  # its own settings are what was asked for
    for asked in ({"dataset": "digits"}, {"seed": 1}, {"profile": "full"},
                  {"parameters": {"epochs": 1}}):
        with pytest.raises(LabError, match="no cell with the tag 'parameters'.*tag the cell"):
            check_parameters(path, **asked)


def test_what_the_notebook_would_refuse_is_refused_before_it_runs(tmp_path):
    path = write_notebook(tmp_path, "1")
    assert check_parameters(path, seed=2**64 - 1, parameters={"seeds": None})["seed"] == 2**64 - 1
    for asked, said in (({"seed": 2**64}, "64 bits"), ({"seed": -1}, "0 or more"),
                        ({"parameters": {"seed": 2**64}}, "64 bits"), ({"parameters": {"seeds": 0}},
                                                                       "seeds is 0"),
                        ({"parameters": {"seeds": "many"}}, "seeds is 'many'"),
                        ({"parameters": {"dataset": "fashon"}}, "no data set 'fashon'")):
        with pytest.raises(LabError, match=said):
            check_parameters(path, **asked)
    Lab("start_here", seed=2**64 - 1)
    with pytest.raises(LabError, match="64 bits"):
        Lab("start_here", seed=2**64)


@pytest.mark.parametrize("name, good, bad", [("rate", 1, "fast"), ("epochs", 5, 5.0),
                                             ("epochs", 5, True),
                                             ("names", ["b"], "b"), ("dataset", "digits", 5),
                                             ("seeds", 5, None)])
def test_types_are_those_of_the_defaults(tmp_path, name, good, bad):
    path = write_notebook(tmp_path, "1")
    assert check_parameters(path, parameters={name: good})[name] == good
    if bad is not None:
        with pytest.raises(LabError, match=f"{name}.*must be of the type"):
            check_parameters(path, parameters={name: bad})


def test_values_of_the_command_line():
    read = {"3": 3, "0.1": 0.1, "1e-3": 0.001, "null": None, "None": None, "true": True,
            "[1, 2]": [1, 2],
            "cifar10": "cifar10", "folder:a/b": "folder:a/b"}
    assert [parse_value(text) for text in read] == list(read.values())
    with pytest.raises(LabError, match="cannot be read"):
        parse_value("[1")


def test_parameters_must_be_literals(tmp_path):
    path = write_notebook(tmp_path, "1", parameters="seed = 0\nrate: float = -0.5\nout = open('x')")
    with pytest.raises(LabError, match="only literals"):
        notebook_parameters(path)
    path = write_notebook(tmp_path, "1",
                          parameters="seed = 0  # why\nrate: float = -0.5\npair = (1, 2)")
    assert notebook_parameters(path) == {"seed": 0, "rate": -0.5, "pair": (1, 2)}


def test_notebooks_are_found_by_number_name_or_path(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    path = write_notebook(tmp_path / "notebooks", "1")
    write_notebook(tmp_path / "notebooks", "1", name="02_more")
    for name in ("01", "01.ipynb", "01_tiny", "01_tiny.ipynb", str(path)):
        assert find_notebook(name, tmp_path / "notebooks") == path
    monkeypatch.chdir(tmp_path)
    assert find_notebook("02").name == "02_more.ipynb"
    assert [p.stem for p in notebooks()] == ["01_tiny", "02_more"]
    with pytest.raises(LabError, match="no notebook '03'.*01_tiny, 02_more"):
        find_notebook("03")
    (tmp_path / "broken.ipynb").write_text("{", encoding="utf-8")
    with pytest.raises(LabError, match="no notebook that can be read"):
        check_parameters(find_notebook(tmp_path / "broken.ipynb"))


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="cannot be written"):
        run(write_notebook(tmp_path, "1"), out=tmp_path / "file", progress=False)
