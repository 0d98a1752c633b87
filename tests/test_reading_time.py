"""How long a slow reader sits over each notebook: two hours are meant, three the most.

12 seconds a line of code, 130 words a minute of text shown or displayed, exercises as stated.
"""

from pathlib import Path

import nbformat
import pytest

from course.exercises import EXERCISES

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
MOST = 60, 450, 3.0  # cells, lines of code, hours


def lines(cell):
    return [line for line in cell.source.splitlines() if line.strip()]


def words(cell):
    """Words that a reader reads: a cell of text, or what a cell of code displays as text."""
    if cell.cell_type == "markdown":
        return len(cell.source.split())
    shown = [o.get("data", {}).get("text/markdown", "") for o in cell.outputs]
    return sum(len(str(text).split()) for text in shown)


def size(path):
    """(cells, lines of code, hours) of a notebook."""
    cells = nbformat.read(path, as_version=4).cells
    code = sum(len(lines(c)) for c in cells if c.cell_type == "code")
    minutes = sum(e.minutes for e in EXERCISES.values()
                  if e.id.split(".")[0] == str(int(path.stem[:2])))
    seconds = 12 * code + 60 * sum(map(words, cells)) / 130 + 60 * minutes
    return len(cells), code, seconds / 3600


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_can_be_read_in_three_hours(path):
    found = size(path)
    assert all(n <= most for n, most in zip(found, MOST, strict=True)), (found, MOST)
