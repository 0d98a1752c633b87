"""Every notebook: agrees with its source, reads well, runs again, runs on other seeds and data,
stays in its budget.

Notebooks are found by their names, so a new one is covered as soon as it is there.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest

from course.claimfile import PROFILES, load_claims
from course.runs.notebook import notebook_parameters
from course.runs.runner import run

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
# The quick profile on 2 cores; a test fails at FACTOR times as much. A notebook's budget is the
# time that its text states, but at least the first and at most the second of these.
SECONDS, MB = (60, 100), 1500
STATED = {"twenty seconds": 20, "one minute": 60, "a minute": 60, "a minute and a half": 90,
          "two minutes": 120,
          "three minutes": 180}
FACTOR = float(os.environ.get("LABKIT_BUDGET_FACTOR", "2"))  # raise it on a slow or busy machine
# Two runs of one seed are compared on these two chapters; LABKIT_SAME=all (make same) compares all
# of them.
SAME = None if os.environ.get("LABKIT_SAME") == "all" else ("basics", "verification")
# Pictures of one's own cost a quarter of an hour; four chapters are left out unless
# LABKIT_PICTURES=all.
LEFT_OUT = () if os.environ.get("LABKIT_PICTURES") == "all" else ("sisa", "requests", "inversion",
                                                                  "desk")
PICTURES = [p for p in NOTEBOOKS if p.stem[3:] not in LEFT_OUT]
MARK = "# NBVAL_CHECK_OUTPUT"
# keys of values that are measured times
TIMES = {"cpu", "seconds", "cpu_seconds", "wall", "rte", "ms"}

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def timed(test):
    """Mark a slow test that runs alone: it is timed, or takes all cores."""
    return pytest.mark.slow(pytest.mark.timed(test))


def cells(path, kind=None):
    return [c for c in nbformat.read(path, as_version=4).cells if kind in (None, c.cell_type)]


def budget(path):
    """Seconds: what the notebook's first cell states, within SECONDS."""
    words = re.search(r"\*Time\*: (?:about )?(.+?) to run", cells(path)[0].source)[1]
    return min(max(STATED[words], SECONDS[0]), SECONDS[1])


def outputs(path):
    return [o for c in cells(path, "code") for o in c.outputs]


def build(*arguments):
    return subprocess.run([sys.executable, str(ROOT / "notebooks" / "build.py"), *arguments],
                          capture_output=True,
                          text=True)


# ------------------------------------------------------------------ as they lie there (quick)


def test_there_are_notebooks():
    sources = sorted(p.stem for p in (ROOT / "notebooks" / "source").glob("[0-9][0-9]_*.py"))
    assert sources and sources == [p.stem for p in NOTEBOOKS]
    gone = {*(SAME or ()), *LEFT_OUT} - {name[3:] for name in sources}
    assert not gone, f"these tests name chapters that are not there: {gone}"


@each
def test_a_notebook_says_how_long_it_takes(path):
    assert 0 < budget(path) <= SECONDS[1]


def test_sources_and_notebooks_agree():
    done = build("--check")
    assert done.returncode == 0, done.stdout + done.stderr


@each
def test_ids_are_unique_and_come_from_the_text(path):
    sys.path.insert(0, str(ROOT / "notebooks"))
    try:
        from build import convert
    finally:
        sys.path.pop(0)
    source = ROOT / "notebooks" / "source" / f"{path.stem}.py"
    ids = [c["id"] for c in convert(source).cells]
    assert ids == [c["id"] for c in convert(source).cells] and len(set(ids)) == len(ids)
    assert ids == [c["id"] for c in cells(path)]


@each
def test_cells_fit_on_a_screen(path):
    long = [(i, len(c.source.splitlines())) for i, c in enumerate(cells(path), 1)
            if c.cell_type == "code" and len(c.source.splitlines()) > 25]
    assert not long, f"cells of more than 25 lines (number, lines): {long}"


@each
def test_parameters_are_literals(path):
    tagged = [c for c in cells(path) if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    # raises on anything else
    assert {"profile", "dataset", "seed", "seeds"} <= set(notebook_parameters(path))


@each
def test_figures_are_few_small_and_described(path):
    pictures = [o for o in outputs(path) if "image/png" in o.get("data", {})]
    assert len(pictures) <= 8
    for picture in pictures:
        alt = picture.metadata.get("image/png", {}).get("alt", "")
        assert len(alt) >= 40, (f"a figure without alt text: show it with lab.figure (it has "
                                f"{alt!r})")
        assert len(picture.data["image/png"]) * 3 / 4 <= 80_000, f"{alt[:50]}: over 80 kB"


@each
def test_static_text_types_no_results(path):
    patterns = r"\d\s*±|±\s*\d|AUC (?:of|is|=) 0\.\d|\b\d+\.\d+\s*%"
    found = [(i, m.group(0)) for i, c in enumerate(cells(path), 1) if c.cell_type == "markdown"
             if (m := re.search(patterns, c.source))]
    assert not found, (f"numbers of results in markdown (cell, text): {found}; let a code cell "
                       f"display them")


@each
def test_notebook_is_committed_with_its_outputs(path):
    node = nbformat.read(path, as_version=4)
    assert [c.execution_count
            for c in cells(path, "code")] == list(range(1, len(cells(path, "code")) + 1))
    assert not [o for o in outputs(path) if o.output_type == "error"]
    assert set(node.metadata) == {"kernelspec", "language_info",
                                  "labkit"}, "built by make notebooks, with no leftovers"
    assert all(set(c.metadata) <= {"tags"} for c in node.cells)
    text = path.read_text(encoding="utf-8")
    assert "widget-view" not in text and not re.search(r" at 0x[0-9a-f]{6,}",
                                                       text), "state of one process"


@each
def test_marked_cells_have_text_to_compare(path):
    marked = [c for c in cells(path, "code") if MARK in c.source]
    assert marked, "nbval compares nothing in this notebook"
    for cell in marked:
        assert cell.outputs, f"nothing to compare below: {cell.source[:60]}"
        assert all(o.output_type == "stream" and o.name == "stdout" and o.text.strip()
                   for o in cell.outputs), \
            f"a marked cell prints text and nothing else: {cell.source[:60]}"


# ------------------------------------------------------ run again (each run is shared by the tests)


def nbval(*paths):
    """pytest --nbval-lax in a process of its own."""
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-q", "-p",
               "no:cacheprovider"]
    return subprocess.run([*command, *map(str, paths)], cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """An ImageFolder: the shop's clothes as 3-channel 32x32 pictures, each on a random colour, some
    upside down.
    """
    from PIL import Image

    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(5)
    with np.load(ROOT / "data" / "fashion.npz") as file:
        for part, n in (("train", 1200), ("test", 500)):
            for i, (x, label) in enumerate(zip(file[f"x_{part}"][:n], file[f"y_{part}"][:n],
                                               strict=True)):
                grey = np.asarray(Image.fromarray(x).resize((32, 32)), np.float32)[..., None] / 255
                ink, paper = rng.uniform(0.6, 1, 3), rng.uniform(0, 0.4, 3)
                place = folder / part / f"class{label}"
                place.mkdir(parents=True, exist_ok=True)
                colours = 255 * (grey * ink + (1 - grey) * paper)
                Image.fromarray(colours.astype(np.uint8)).save(place / f"{i:04d}.png")
    return folder


@pytest.fixture(scope="session")
def record_of(tmp_path_factory, pictures, costs):
    """record_of(path, kind) -> the record of a papermill run; run once, then remembered."""
    kinds = {"seed 1": dict(seed=1), "seed 1, again": dict(seed=1),
             "own pictures": dict(dataset=f"folder:{pictures}")}
    done = {}

    def get(path, kind):
        if (path, kind) not in done:
            record = run(path, out=tmp_path_factory.mktemp("runs"), progress=False, **kinds[kind])
            costs.append((path.stem, kind, record["seconds"], record["cpu_seconds"],
                          record["peak_mb"]))
            done[path, kind] = record
        return done[path, kind]

    return get


def check_record(record):
    """It ended well, and every claim has a verdict, but for larger profiles and those it says it
    cannot judge.
    """
    assert record["status"] == "ok", record["error"]
    claims = [c for c in load_claims().values() if c.chapter == record["notebook"][3:]]
    wanted = {c.id for c in claims if PROFILES.index(c.profile)
              <= PROFILES.index(record["parameters"]["profile"])}
    verdicts = {c["id"]: c["verdict"] for c in record["claims"]}
    [executed] = Path(record["source"]).glob("*.ipynb")
    excuses = sum("not judged" in str(o.get("data", {}).get("text/markdown", ""))
                  for o in outputs(executed))
    assert len(wanted - set(verdicts)) <= excuses, f"without a verdict: {wanted - set(verdicts)}"
    assert not [name for name, verdict in verdicts.items() if verdict in ("too few", "not run",
                                                                          None)], verdicts


@timed
@each
def test_runs_again_and_prints_the_same(path, costs):
    start = time.perf_counter()
    done = nbval(path)
    costs.append((path.stem, "nbval", time.perf_counter() - start, None, None))
    assert done.returncode == 0, done.stdout[-4000:]


def test_nbval_would_see_a_difference(tmp_path):
    def tiny(name, stored):
        cell = nbformat.v4.new_code_cell(f"{MARK}\nprint(1 + 1)", execution_count=1)
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=stored)]
        node = nbformat.v4.new_notebook(cells=[cell])
        node.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python",
                                       "name": "python3"}
        nbformat.write(node, tmp_path / name)
        return tmp_path / name

    done = nbval(tiny("right.ipynb", "2\n"), tiny("falsified.ipynb", "3\n"))
    assert done.returncode == 1 and "1 failed, 1 passed" in done.stdout, done.stdout[-2000:]


@timed
@each
def test_runs_on_another_seed(path, record_of):
    record = record_of(path, "seed 1")
    assert record["parameters"]["seed"] == 1
    check_record(record)


@timed
@pytest.mark.parametrize("path", PICTURES, ids=lambda p: p.stem)
def test_runs_on_pictures_of_ones_own(path, record_of):
    record = record_of(path, "own pictures")
    assert record["status"] == "skipped" or record["parameters"]["dataset"].startswith("folder:")
    if record["status"] == "skipped":
        assert record["error"].startswith("NotForThisData")
    else:
        check_record(record)


@timed
@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if SAME is None or p.stem[3:] in SAME],
                         ids=lambda p: p.stem)
def test_same_seed_gives_the_same_record(path, record_of):
    def without_times(value):
        if isinstance(value, dict):
            return {k: without_times(v) for k, v in value.items() if str(k).lower() not in TIMES}
        return [without_times(v) for v in value] if isinstance(value, list) else value

    def numbers(record):
        claims = {c["id"]: without_times(c["values"]) for c in record["claims"]}
        return (without_times(record["records"]), claims, record["data"], record["notebook_hash"],
                record["labkit"])

    first, second = (numbers(record_of(path, kind)) for kind in ("seed 1", "seed 1, again"))
    assert first == second


@timed
@each
def test_stays_in_its_budget(path, record_of):
    """Where there are two runs the quicker counts: what else the machine does is not the notebook's
    fault.
    """
    kinds = ("seed 1", "seed 1, again") if SAME is None or path.stem[3:] in SAME else ("seed 1",)
    records = [record_of(path, kind) for kind in kinds]
    seconds, memory = (min(r[key] for r in records) for key in ("seconds", "peak_mb"))
    assert seconds <= FACTOR * budget(path), f"{seconds:.0f} s; the budget is {budget(path)} s"
    assert memory <= FACTOR * MB, f"{memory:.0f} MB; the budget is {MB} MB"
