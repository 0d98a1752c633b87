"""Every notebook as it lies there: agrees with its source, reads well, has its outputs.

Notebooks are found by their names, so a new one is covered as soon as it is there.
"""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from course.runs.notebook import notebook_parameters

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
MARK = "# NBVAL_CHECK_OUTPUT"

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def cells(path, kind=None):
    return [c for c in nbformat.read(path, as_version=4).cells if kind in (None, c.cell_type)]


def outputs(path):
    return [o for c in cells(path, "code") for o in c.outputs]


def build(*arguments):
    return subprocess.run([sys.executable, str(ROOT / "notebooks" / "build.py"), *arguments],
                          capture_output=True,
                          text=True)


def test_there_are_notebooks():
    sources = sorted(p.stem for p in (ROOT / "notebooks" / "source").glob("[0-9][0-9]_*.py"))
    assert sources and sources == [p.stem for p in NOTEBOOKS]


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
def test_no_cell_ends_in_the_text_of_an_object(path):
    """What a cell returns by the way is not what it shows: only widgets and pictures are."""
    cells = nbformat.read(path, 4).cells
    bare = [(k, out["data"]["text/plain"][:40]) for k, cell in enumerate(cells)
            for out in cell.get("outputs", []) if out.output_type == "execute_result"
            and set(out["data"]) == {"text/plain"}]
    assert not bare


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
        assert len(picture.data["image/png"]) * 3 / 4 <= 80 * 1024, f"{alt[:50]}: over 80 kB"


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
