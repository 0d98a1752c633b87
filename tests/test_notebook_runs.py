"""Every notebook runs again: as committed, and in profile smoke on another seed and photographs."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from groups import BUDGETS, FACTOR
from test_notebooks import MARK, each, outputs

from course.claimfile import PROFILES, load_claims
from course.runs.runner import run

ROOT = Path(__file__).resolve().parents[1]
# keys of values that are measured times
TIMES = {"cpu", "seconds", "cpu_seconds", "wall", "rte", "ms", "time"}


def nbval(*paths):
    """pytest --nbval-lax in a process of its own -> exit status, text, CPU seconds, MB."""
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-q", "-p",
               "no:cacheprovider", *map(str, paths)]
    # one worker: two notebooks run at a time, and no process is missing from the memory
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             env=os.environ | {"LABKIT_JOBS": "1"})
    text = child.stdout.read().decode(errors="replace")
    if not hasattr(os, "wait4"):  # Windows
        return child.wait(), text, None, None
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return child.returncode, text, used.ru_utime + used.ru_stime, used.ru_maxrss / unit


def within(profile, cpu, mb):
    seconds, most = BUDGETS[profile]
    assert cpu is None or cpu <= FACTOR * seconds, f"{cpu:.0f} CPU s; the budget is {seconds}"
    assert mb is None or mb <= FACTOR * most, f"{mb:.0f} MB; the budget is {most}"


@pytest.mark.slow
@each
def test_runs_again_and_prints_the_same(path, costs):
    status, text, cpu, mb = nbval(path)
    costs(path.stem, "as committed", "quick", cpu, mb)
    assert status == 0, text[-4000:]
    within("quick", cpu, mb)


def test_nbval_would_see_a_difference(tmp_path):
    def tiny(name, stored):
        cell = nbformat.v4.new_code_cell(f"{MARK}\nprint(1 + 1)", execution_count=1)
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=stored)]
        node = nbformat.v4.new_notebook(cells=[cell])
        node.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python",
                                       "name": "python3"}
        nbformat.write(node, tmp_path / name)
        return tmp_path / name

    status, text, *_ = nbval(tiny("right.ipynb", "2\n"), tiny("falsified.ipynb", "3\n"))
    assert status == 1 and "1 failed, 1 passed" in text, text[-2000:]


def check_record(record):
    """It ended well and judged every claim of its profile, but for those it says it cannot judge.
    """
    assert record["status"] == "ok", record["error"]
    profile = PROFILES.index(record["parameters"]["profile"])
    claims = [c for c in load_claims().values() if c.chapter == record["notebook"][3:]]
    wanted = {c.id for c in claims if PROFILES.index(c.profile) <= max(profile, 1)}
    verdicts = {c["id"]: c["verdict"] for c in record["claims"]}
    [executed] = Path(record["source"]).glob("*.ipynb")
    excuses = sum("not judged" in str(o.get("data", {}).get("text/markdown", ""))
                  for o in outputs(executed))
    assert len(wanted - set(verdicts)) <= excuses, f"without a verdict: {wanted - set(verdicts)}"
    if profile == 0:
        assert set(verdicts.values()) <= {"too few", "report"}, verdicts
    else:
        assert not set(verdicts.values()) & {"too few", "not run", None}, verdicts


def without_times(value):
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if str(k).lower() not in TIMES}
    return [without_times(v) for v in value] if isinstance(value, list) else value


def numbers(record):
    claims = {(c["id"], p["name"]): p["values"] for c in record["claims"] for p in c["parts"]
              if p["name"] not in TIMES}
    return without_times(record["records"]), claims, record["data"], record["versions"]


@pytest.mark.slow
@each
def test_smoke_on_another_seed_and_photographs(path, tmp_path, photographs, costs, monkeypatch):
    """Once with one worker and once with two: the same numbers, within the budget."""
    records = []
    for workers in ("1", "2"):
        monkeypatch.setenv("LABKIT_JOBS", workers)
        record = run(path, profile="smoke", seed=1, dataset=f"folder:{photographs}",
                     out=tmp_path / workers, progress=False)
        costs(path.stem, f"smoke, seed 1, photographs, {workers} w.", "smoke",
              record["cpu_seconds"], record["peak_mb"])
        check_record(record)
        records.append(record)
    assert numbers(records[0]) == numbers(records[1])
    within("smoke", records[0]["cpu_seconds"], records[0]["peak_mb"])


@pytest.mark.slow
@pytest.mark.skipif("LABKIT_SEEDS" not in os.environ, reason="before a release: make test SEEDS=1")
@each
def test_another_seed_at_full_size(path, tmp_path, costs, monkeypatch):
    monkeypatch.setenv("LABKIT_JOBS", "1")
    record = run(path, seed=1, out=tmp_path, progress=False)
    costs(path.stem, "seed 1", "quick", record["cpu_seconds"], record["peak_mb"])
    check_record(record)
    within("quick", record["cpu_seconds"], record["peak_mb"])
