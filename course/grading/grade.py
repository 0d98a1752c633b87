"""labkit grade: runs the exercise cells of learners' copies, each copy in a process of its own, and gives points.

What runs is not the whole notebook (a minute a learner) but its exercise cells, in their order, after np, torch, F and
lk are imported; of the other cells only the imports, functions, classes and literal constants whose names the
exercise cells use. The check is the grader's, made anew; outputs stored in the copy count for nothing.

The learner's code and the check share a process. Faked outputs, a replaced `exercise` and printed results do not
count there; somebody who studies this file and takes the process apart can still cheat. Read the code of a
surprising success.
"""

import ast
import csv
import io
import os
import re
from contextlib import suppress
from pathlib import Path

from course.chapters import chapters
from course.grading.contain import better, run
from course.grading.grading import exercise_of
from course.runs.notebook import read
from labkit.base import LabError, write_bytes

CELL = re.compile(r"""^\s*@.*\bexercise\(\s*["'](\d+\.\d+)["']""", re.M)  # where Python cannot read the cell
TRIES = 5  # cells with one exercise that are run; the last ones
LAB = re.compile(r"""Lab\(\s*["'](\w+)""")
LARGEST = 20  # MB; a copy with all its figures has less than 1
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)  # what ast raises on hostile text
PREAMBLE = {"np": "import numpy as np", "torch": "import torch", "F": "import torch.nn.functional as F",
            "lk": "import labkit as lk",
            "exercise": "from course import exercise", "pd": "import pandas as pd", "copy": "import copy"}


def grade(path, *, timeout=30.0, memory=2000.0, sandbox=None) -> list[dict]:
    """One row an exercise: file, exercise, state, points, of, note.

    timeout: seconds an exercise cell may take, its check included; memory: MB (PSS) of all its processes together.
    sandbox: the words before the command, as `bubblewrap()` returns them. States: right, wrong, error (the function
    raised), not attempted, missing (no such cell), crashed (the cell failed or its process ended), timeout, out of
    memory, tampered (the copy replaced parts of the grader). A copy that cannot be graded gives one row with an empty
    exercise and the reason as its state.
    """
    from course.exercises import EXERCISES

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
        known = len(found)
        rest = [i for i in program if set(i["ids"]) - set(found) or (not i["ids"] and (helpers or i.get("ours")))]
        began, end, note = run(rest, found, timeout, memory, sandbox or [])
        for id in began:
            found.setdefault(id, (end, note))
        if len(found) == known:  # it ended before, or between, the exercises
            note = f"its process ended without a result ({end}: {note})"
            if not helpers and not found:
                return [row(state="cannot be graded", note=note)]
            found |= {} if helpers else dict.fromkeys(wanted - set(found), ("crashed", note))
            helpers = False  # once more, without the copy's own helpers
    best = {}
    for key, result in found.items():
        better(best, exercise_of(key), *result)
    for id, (state, note) in best.items():
        if len(tries := [found[k][0] for k in found if exercise_of(k) == id]) > 1:
            told = f"{len(tries)} cells have it ({', '.join(tries)}) and the best counts"
            best[id] = state, "; ".join(filter(None, (told, note)))
    return [row(id, best[id][0], EXERCISES[id].points if best[id][0] == "right" else 0, best[id][1])
            if id in best else row(id, "missing", note="no cell of this copy has it") for id in expected]


def plan(path) -> tuple[list[dict], list[str]]:
    """(what to run, in the copy's order; the exercises it should have).

    Of several cells with one exercise all are run; the ids of the second begin with a key of their own, "1.2#2".
    """
    from course.exercises import EXERCISES

    node = _opened(path)
    cells = [str(c.source) for c in node.cells if c.cell_type == "code"]
    ids = [[i for i in _ids(source) if i in EXERCISES] for source in cells]
    places = {}
    for n, found in enumerate(ids):
        for i in found:
            places.setdefault(i, []).append(n)
    tries = {i: there[-TRIES:] for i, there in places.items()}
    numbers = {i.split(".")[0] for i in tries} | {str(int(n)) for name in LAB.findall("".join(cells)) if (n := chapters().get(name))}
    if not numbers and Path(path).name[:2].isdigit():
        numbers = {str(int(Path(path).name[:2]))}
    expected = [e for e in EXERCISES if e.split(".")[0] in numbers]
    items, spare = [], []  # (place in the copy, what to run); (place, text, names) of statements that may be needed
    for n, source in enumerate(cells):
        if mine := [i + (f"#{k + 1}" if k else "") for i in ids[n] if n in tries[i] for k in [tries[i].index(n)]]:
            items.append(((n, 0), {"ids": mine, "source": source}))
        elif not ids[n]:
            spare += [((n, k), text, names) for k, (text, names) in enumerate(_helpers(source))]
    used = set().union(*(_names(item["source"]) for _, item in items))
    givers, taken, todo = {}, {}, sorted(used)
    for place, text, names in spare:
        for name in names:
            givers.setdefault(name, []).append((place, text))
    while todo:  # each name once: a copy of ten thousand helpers must not take an hour
        for place, text in givers.pop(todo.pop(), []):
            if place not in taken:
                taken[place] = text
                todo += sorted(_names(text))
                used |= _names(text)
    items += [(place, {"ids": [], "source": text}) for place, text in taken.items()]
    ours = [line for name, line in PREAMBLE.items() if name in used | {"np", "torch", "lk", "exercise"}]
    return ([{"ids": [], "source": line, "ours": True} for line in ours]
            + [item for _, item in sorted(items, key=lambda i: i[0])]), expected


def write_csv(rows, path):
    """file, exercise, state, points: one line an exercise."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["file", "exercise", "state", "points"], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    if os.path.isfile(path) and not os.path.islink(path) or not os.path.lexists(path):
        write_bytes(path, text.getvalue().encode(errors="backslashreplace"), "give another --csv")
        return
    try:  # /dev/stdout and the like cannot be replaced
        Path(path).write_bytes(text.getvalue().encode(errors="backslashreplace"))
    except OSError as problem:
        raise LabError(f"{str(path)!r} cannot be written ({problem.strerror}): give another --csv.") from None


def _opened(path):
    """The notebook; LabError when it is a link, no file (a pipe would never end), too large or no notebook."""
    path = Path(path)
    if path.is_symlink():
        raise LabError(f"{path.name} is a link, which may lead anywhere: give the file itself.")
    if path.exists() and not path.is_file():
        raise LabError(f"{path.name} is no notebook that can be read (it is no file): give an .ipynb file that Jupyter "
                       "opens.")
    if path.exists() and path.stat().st_size > LARGEST * 2**20:
        raise LabError(f"{path.name} has more than {LARGEST} MB: clear its outputs in Jupyter, save it, give it again.")
    return read(path)


def _ids(source):
    """The ids that a cell's code asks a check for: not those in its comments and texts. Each once."""
    try:
        calls = [n for n in ast.walk(_tree(source)) if isinstance(n, ast.Call)]
    except UNREADABLE:
        return list(dict.fromkeys(CELL.findall(source)))
    asked = [c for c in calls if getattr(c.func, "attr", getattr(c.func, "id", "")) == "exercise"]
    given = [a for c in asked for a in (*c.args[:1], *(k.value for k in c.keywords if k.arg == "id"))]
    return list(dict.fromkeys(a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str)))


def _names(source):
    try:
        return {n.id for n in ast.walk(_tree(source)) if isinstance(n, ast.Name)}
    except UNREADABLE:
        return set(re.findall(r"[^\W\d]\w*", source))


def _helpers(source):
    """(text, names) of the top-level imports, functions, classes and literal constants of a cell."""
    found = []
    with suppress(*UNREADABLE):
        for line in _tree(source).body:
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


def _tree(source):
    """The syntax tree of a cell, without the lines for IPython: %magic, !command."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.parse(re.sub(r"^([ \t]*)[%!].*", r"\1pass", source, flags=re.M))
