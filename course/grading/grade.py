"""labkit grade: runs the exercise cells of learners' copies, each copy in a process of its own.

docs/teaching.md says what runs of a copy, what counts, and what a learner could still forge.
"""

import ast
import os
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path

from course.chapters import chapters
from course.exercises import EXERCISES
from course.grading.contain import better, keys_of, run
from course.runs.notebook import read
from labkit.base import LabError, write_bytes

CELL = re.compile(r"""^\s*@.*\bexercise\(\s*["'](\d+\.\d+)["']""", re.M)  # where ast fails
TRIES = 5  # cells with one exercise that are run; the last ones
LAB = re.compile(r"""Lab\(\s*["'](\w+)""")
LARGEST = 20  # MB; a copy with all its figures has less than 1
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)  # for ast, on hostile text
GIVEN = {"np", "torch", "lk", "exercise"}  # what no copy need give, see grading.py


def grade(path, *, timeout=30.0, memory=2000.0, sandbox=False) -> list[dict]:
    """One row an exercise: file, exercise, state, points, of, note.

    timeout: seconds an exercise cell may take, its check included; memory: MB (PSS) of all its
    processes together. sandbox: whether they run in bubblewrap.
    States: contain.STATES. A copy that cannot be graded gives one row with an empty exercise and
    the reason as its state.
    """
    def row(id="", state="", note=""):
        of = EXERCISES[id].points if id else 0
        return {"file": str(path), "exercise": id, "state": state,
                "points": of if state == "right" else 0, "of": of, "note": note}

    try:
        program, expected = plan(path)
    except LabError as problem:
        return [row(state="cannot be read", note=str(problem))]
    if not expected:
        return [row(state="no exercises",
                    note="neither an exercise cell nor the number of a notebook is in it")]
    found, why = _found(program, timeout, memory, sandbox)
    if why:
        return [row(state="cannot be graded", note=why)]
    best = _best(found)
    return [row(id, *best.get(id, ("missing", "no cell of this copy has it"))) for id in expected]


def _found(program, timeout, memory, sandbox):
    """Run the program, and again after each exercise that ended the process.

    -> ((cell, exercise) -> (state, note), why nothing can be graded or None)
    """
    wanted, found, helpers = set(keys_of(program)), {}, True
    while wanted - set(found):
        known = len(found)
        rest = [i for i in program
                if set(keys_of([i])) - set(found) or (not i["ids"] and (helpers or i["ours"]))]
        began, end, note = run(rest, found, timeout, memory, sandbox)
        for key in began:
            found.setdefault(key, (end, note))
        if len(found) == known:  # it ended before, or between, the exercises
            note = f"its process ended without a result ({end}: {note})"
            if not helpers and not found:
                return found, note
            found |= {} if helpers else dict.fromkeys(wanted - set(found), ("crashed", note))
            helpers = False  # once more, without the copy's own helpers
    return found, None


def _best(found):
    """Exercise -> (state, note): the best of its cells, and how many there are."""
    best, tries = {}, {}
    for (_, id), result in found.items():
        better(best, id, *result)
        tries.setdefault(id, []).append(result[0])
    for id, states in tries.items():
        if len(states) > 1:
            told = f"{len(states)} cells have it ({', '.join(states)}) and the best counts"
            best[id] = best[id][0], "; ".join(filter(None, (told, best[id][1])))
    return best


def plan(path) -> tuple[list[dict], list[str]]:
    """(what to run, in the copy's order: cells with exercises, and statements that they need;
    the exercises it should have).
    """
    cells = [str(c.source) for c in _opened(path).cells if c.cell_type == "code"]
    asked = [[i for i in _ids(source) if i in EXERCISES] for source in cells]
    program, tries = {}, Counter()
    for n in reversed(range(len(cells))):
        if ids := [i for i in asked[n] if tries[i] < TRIES]:
            program[n, 0] = {"cell": n, "ids": ids, "source": cells[n]}
        tries.update(ids)
    todo = [name for item in program.values() for name in _names(item["source"])]
    # name -> (place, text) of the statements that give it; before the copy's cells stands ours
    givers = {"pd": [((-1, 0), "import pandas as pd")]}
    for n in (n for n, ids in enumerate(asked) if not ids):
        for k, (text, names) in enumerate(_helpers(cells[n])):
            for name in names - GIVEN:
                givers.setdefault(name, []).append(((n, k), text))
    while todo:
        for place, text in givers.pop(todo.pop(), []):  # once: a copy may have 10,000 helpers
            program[place] = {"ids": [], "source": text, "ours": place[0] < 0}
            todo += _names(text)
    return [program[place] for place in sorted(program)], _expected(path, cells, asked)


def _expected(path, cells, asked):
    """The exercises of the chapters that the cells name, or else of the file's number."""
    labs = filter(None, map(chapters().get, LAB.findall("".join(cells))))
    numbers = {int(i.split(".")[0]) for ids in asked for i in ids} | set(map(int, labs))
    if not numbers and Path(path).name[:2].isdigit():
        numbers = {int(Path(path).name[:2])}
    return [e for e in EXERCISES if int(e.split(".")[0]) in numbers]


def write_csv(rows, path):
    """file, exercise, state, points: one line an exercise."""
    import pandas as pd

    table = pd.DataFrame(rows, columns=["file", "exercise", "state", "points"])
    content = table.to_csv(index=False, lineterminator="\r\n").encode(errors="backslashreplace")
    if not os.path.lexists(path) or os.path.isfile(path) and not os.path.islink(path):
        return write_bytes(path, content, "give another --csv")
    try:  # a link, or /dev/stdout, must not be replaced
        Path(path).write_bytes(content)
    except OSError as problem:
        raise LabError(f"{str(path)!r} cannot be written ({problem.strerror}): give another "
                       "--csv.") from None


def _opened(path):
    """The notebook; LabError: a link, no file (a pipe would never end), too large, no notebook."""
    path = Path(path)
    if path.is_symlink():
        raise LabError(f"{path.name} is a link, which may lead anywhere: give the file itself.")
    if path.exists() and not path.is_file():
        raise LabError(f"{path.name} cannot be read (it is no file): give an .ipynb file.")
    if path.exists() and path.stat().st_size > LARGEST * 2**20:
        raise LabError(f"{path.name} has more than {LARGEST} MB: clear its outputs and save it.")
    return read(path)


def _ids(source):
    """The ids that a cell's code asks a check for, not its comments and texts. Each once."""
    try:
        calls = [n for n in ast.walk(_tree(source)) if isinstance(n, ast.Call)]
    except UNREADABLE:
        return list(dict.fromkeys(CELL.findall(source)))
    asked = [c for c in calls if getattr(c.func, "attr", getattr(c.func, "id", "")) == "exercise"]
    given = [a for c in asked for a in (*c.args, *(k.value for k in c.keywords))]
    return list(dict.fromkeys(getattr(a, "value", None) for a in given))


def _names(source):
    try:
        return {n.id for n in ast.walk(_tree(source)) if isinstance(n, ast.Name)}
    except UNREADABLE:
        return set(re.findall(r"[^\W\d]\w*", source))


def _helpers(source):
    """(text, names) of a cell's imports, functions, classes and literal constants at top level."""
    found = []
    with suppress(*UNREADABLE):
        for line in _tree(source).body:
            if isinstance(line, ast.Import | ast.ImportFrom):
                names = {(a.asname or a.name).split(".")[0] for a in line.names}
            elif isinstance(line, ast.FunctionDef | ast.ClassDef):
                names = {line.name}
            elif isinstance(line, ast.Assign) and not any(
                    isinstance(n, ast.Call) for n in ast.walk(line)):
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
