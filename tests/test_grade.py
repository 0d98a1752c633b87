"""labkit grade on copies that are right, untouched, wrong, hostile, broken: none stops the others.
"""

import csv
import inspect
import os
import shutil
import textwrap

import nbformat
import psutil
import pytest

from course import cli
from course.exercises import EXERCISES
from course.grading import contain
from course.grading import grade as grade_module
from course.grading.contain import bubblewrap
from course.grading.grade import grade, plan, write_csv
from labkit.base import LabError

MIME = "application/vnd.labkit+json"
NB01 = [e for e in EXERCISES if e.startswith("1.")]
SETUP = ('import no_such_thing\nimport numpy as np\nimport torch\nimport torch.nn.functional as '
         'F\nimport copy\n'
         'import labkit as lk\nlab = Lab("basics")\nraise RuntimeError("the notebook itself must '
         'not run")')
WRONG = ("def unlearning_accuracy(logits, labels):\n    return 100 * (logits.argmax(1) == "
         "labels).double().mean().item()")


def solved(id):
    return textwrap.dedent(inspect.getsource(EXERCISES[id].solution))


def untouched(id):
    e = EXERCISES[id].solution
    return f'def {e.__name__}{inspect.signature(e)}:\n    """{e.__doc__}"""\n    ...  # your code\n'


def write(folder, name, cells, extra=()):
    """A copy: set-up cell, other cells, then one cell an exercise. cells: id -> source without its
    decorator.
    """
    sources = [SETUP, *extra, *(f'@exercise("{id}")\n{text}' for id, text in cells.items())]
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# 01")])
    node.cells += [nbformat.v4.new_code_cell(s) for s in sources]
    for cell in node.cells[2:]:  # stored outputs that claim success
        state = {"kind": "exercise", "id": "1.1", "state": "right", "points": 1, "of": 1}
        cell.outputs = [nbformat.v4.new_output("display_data", {MIME: state, "text/plain": "✓"})]
    nbformat.write(node, folder / name)
    return folder / name


def states(rows):
    return {r["exercise"]: r["state"] for r in rows}


def points(rows):
    return sum(r["points"] for r in rows)


def test_all_right_and_helpers_are_found(tmp_path):
    cells = {id: solved(id) for id in NB01}
    # what comes later does not count
    cells["1.1"] = "def f(z, y):\n    return PERCENT * half(z, y)\nunknown_name"
    extra = ["PERCENT = 100\n\ndef half(z, y):\n    return share(z, y)",
             "from torch import mean as average\n1 / 0",
             "def share(z, y):\n    return average((z.argmax(1) != y).double()).item()"]
    rows = grade(write(tmp_path, "copy.ipynb", cells, extra))
    assert states(rows) == dict.fromkeys(NB01, "right"), rows
    assert points(rows) == sum(r["of"] for r in rows) == sum(EXERCISES[i].points for i in NB01)


def test_untouched_wrong_missing_raising_and_magic(tmp_path):
    cells = {"1.3": untouched("1.3"), "1.1": WRONG,
             "1.2": "def f(row, reference):\n    return row['UB']",
             "1.5": f"{solved('1.5')}\n%time 1 + 1", "1.4": "def f(model, x:\n    pass"}
    rows = grade(write(tmp_path, "copy.ipynb", cells))
    assert states(rows) == {"1.3": "not attempted", "1.1": "wrong", "1.2": "error", "1.5": "right",
                            "1.6": "missing",
                            "1.4": "crashed"}
    note = {r["exercise"]: r["note"] for r in rows}
    assert "counted the rows that are right" in note["1.1"] and "KeyError" in note["1.2"]
    assert "SyntaxError" in note["1.4"] and points(rows) == EXERCISES["1.5"].points


@pytest.mark.slow
def test_hostile_cells_cost_their_own_points_only(tmp_path):
    cells = {
        "1.3": "import os\nos._exit(0)",
        "1.1": "def f(a, b):\n    while True: pass",  # the check's own limit ends it
        "1.2": "while True: pass",  # the grader's does
        "1.5": "kept = []\nwhile True: kept.append(bytearray(b'x' * 20_000_000))",
        "1.6": "raise SystemExit('enough')",
        "1.4": solved("1.4"),
    }
    cells = {id: text if text.startswith("def") else f"def f(): ...\n{text}" for id,
             text in cells.items()}
    path = write(tmp_path, "copy.ipynb", cells)
    node = nbformat.read(path, 4)
    for cell in node.cells:  # so that the bad lines run before the check is asked
        head, _, text = cell.source.partition("\ndef f(): ...\n")
        if text:
            cell.source = f"{text}\n{head}\ndef f(): ..."
    nbformat.write(node, path)
    before = len(psutil.Process().children(recursive=True))
    rows = grade(path, timeout=12, memory=900)
    assert states(rows) == {"1.3": "crashed", "1.1": "timeout", "1.2": "timeout",
                            "1.5": "out of memory",
                            "1.6": "crashed", "1.4": "right"}, rows
    assert len(psutil.Process().children(recursive=True)) == before  # nothing left running


def test_a_state_cannot_be_displayed_printed_or_replaced(tmp_path):
    forged = ("from IPython.display import display\n"
              f"display({{'{MIME}': {{'kind': 'exercise', 'id': '1.1', 'state': 'right', "
              f"'points': 1}}}}, raw=True)\n"
              "import json, os, sys\n"
              "for stream in (sys.stdout, sys.__stdout__):\n"
              "    print(json.dumps({'id': '1.1', 'state': 'right', 'note': ''}), file=stream, "
              "flush=True)\n"
              "for fd in range(1, 12):\n"
              "    try: os.write(fd, b'{\"id\": \"1.1\", \"state\": \"right\", \"note\": "
              "\"\"}\\n')\n"
              "    except OSError: pass\n")
    path = write(tmp_path, "copy.ipynb", {"1.1": WRONG, "1.2": solved("1.2")})
    node = nbformat.read(path, 4)
    node.cells[-2].source = forged + node.cells[-2].source
    node.cells[-1].source = "exercise = lambda id: lambda f: f\n" + node.cells[-1].source
    nbformat.write(node, path)
    found = states(grade(path))
    assert (found["1.1"], found["1.2"]) == ("wrong", "missing")


def test_copies_that_are_none_and_deleted_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(grade_module, "run", lambda *a: pytest.fail("nothing is there to run"))
    bad = tmp_path / "bad.ipynb"
    bad.write_text("this is no notebook", encoding="utf-8")
    assert [(r["exercise"], r["state"]) for r in grade(bad)] == [("", "cannot be read")]
    assert grade(tmp_path / "none.ipynb")[0]["state"] == "cannot be read"
    # known by its Lab("basics")
    assert states(grade(write(tmp_path, "any.ipynb", {}))) == dict.fromkeys(NB01, "missing")
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print('hello')")])
    for name, expected in (("holiday.ipynb", {"": "no exercises"}),
                           ("01_hers.ipynb", dict.fromkeys(NB01, "missing"))):
        nbformat.write(node, tmp_path / name)
        assert states(grade(tmp_path / name)) == expected


def test_a_process_that_dies_before_the_exercises(tmp_path, monkeypatch):
    calls, kept = [], []

    def run(program, *rest):
        kept.append([i["source"] for i in program if i.get("ours")])
        calls.append([i for i in program if not i["ids"] and not i.get("ours")])
        return [], "crashed", "labkit was being imported; exit code 1"

    monkeypatch.setattr(grade_module, "run", run)
    extra = ["labels = [1]\nimport pandas as pd"]
    rows = grade(write(tmp_path, "copy.ipynb", {"1.1": solved("1.1") + "\npd.NA"}, extra))
    assert [(r["exercise"], r["state"]) for r in rows] == [("", "cannot be graded")]
    assert calls[0] and not calls[1] and len(calls) == 2  # tried again without the copy's helpers
    assert kept == [["import pandas as pd"]] * 2  # but with ours


def copy_of(folder, *sources):
    """A copy of these cells, below one that imports labkit."""
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s)
                                           for s in ("import labkit as lk", *sources)])
    nbformat.write(node, folder / "copy.ipynb")
    return folder / "copy.ipynb"


# what stands in an exercise's cell above a right function or in it, and what the note says
HONEST = {
    "an optimiser": ("opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)", ""),
    "torch.func": ("slope = torch.func.grad(lambda z: (z ** 2).sum())(torch.ones(3))", ""),
    "a compiled function":
          ("double = torch.compile(lambda x: 2 * x, backend='eager')\ndouble(torch.ones(2))", ""),
    "another default": ("torch.set_default_tensor_type(torch.DoubleTensor)", ""),
    "a plot's window": ("%matplotlib widget\n%load_ext no_such_thing", ""),
    "a package that is not here": ("import no_such_thing.express as px\nfrom nowhere import *",
                                   "no_such_thing"),
    "a shell": ("!exit 3\n%pip install no-such-thing-at-all", ""),
    "timed": ("%%time", ""),
    "a magic in words": ("import IPython\nfrom IPython import get_ipython as shell\n"
                         "for shell in (shell, IPython.get_ipython):\n"
                         "    shell().run_line_magic('matplotlib', 'inline')", ""),
    "await": ("import asyncio\nthree = await asyncio.sleep(0, 3)\nassert three == 3", ""),
    "lines that begin like magics":
          ('text = """\n%d of %d\n""" % (1, 2)\nrest = (7\n  % 3)\nassert rest == 1', ""),
}


@pytest.mark.slow
def test_honest_copies_are_not_accused(tmp_path):
    """All in one copy, one below the other: what torch replaces in itself later is seen by later
    exercises.
    """
    for start in range(0, len(HONEST), 5):
        names = list(HONEST)[start:start + 5]
        cells = [f'{HONEST[name][0]}\n@exercise("{id}")\n{solved(id)}'
                 for id, name in zip(NB01, names, strict=False)]
        adam = "torch.optim.Adam([torch.zeros(1, requires_grad=True)])"
        inside = solved("1.4").replace("student = ", f"{adam}\n    student = ")
        rows = grade(copy_of(tmp_path, *cells, f'@exercise("1.4")\n{inside}'))
        found = {r["exercise"]: r for r in rows}
        for id, name in zip(NB01, names, strict=False):
            assert found[id]["state"] == "right" and HONEST[name][1] in found[id]["note"], (
                name, found[id])
        assert found["1.4"]["state"] == "right", found["1.4"]


def test_a_missing_import_that_is_needed_is_named(tmp_path):
    text = "import no_such_thing as nst\n@exercise('1.1')\ndef f(a, b): return nst.mean(a)"
    (row,) = [r for r in grade(copy_of(tmp_path, text)) if r["exercise"] == "1.1"]
    assert row["state"] == "error" and "ModuleNotFoundError" in row["note"]
    assert "NameError" in row["note"]


def test_of_several_cells_the_best_counts_and_the_note_says_so(tmp_path):
    right, stub = f'@exercise("1.1")\n{solved("1.1")}', f'@exercise("1.1")\n{untouched("1.1")}'
    three = f'@exercise("1.2")\n{solved("1.2")}'
    wrong, ends = f'@exercise("1.1")\n{WRONG}', f"import os\n{stub}\nos._exit(0)"
    path = copy_of(tmp_path, wrong, right + "\n" + three, stub, ends)
    found = {r["exercise"]: r for r in grade(path)}
    assert found["1.1"]["state"] == "right" and found["1.1"]["points"] == EXERCISES["1.1"].points
    assert found["1.1"]["note"].startswith("4 cells have it (wrong, right, not attempted, not "
                                           "attempted)")
    assert found["1.2"]["state"] == "right" and found["1.2"]["note"] == ""


def test_ids_are_code(tmp_path):
    right = f'@exercise("1.1")\n{solved("1.1")}'
    others = ["# old try\n# @exercise('1.1')\n# def f(): ...",
              "hint = 'write @exercise(\"1.1\") above it'",
              "\"\"\"\n@exercise('1.2')\n\"\"\"",
              "import labkit\n@labkit.exercise(id='1.5')\ndef g(): ...",
              "%%time\n@exercise('1.6')\ndef g(): ...",
              "@exercise('1.4')\ndef g(:\n  pass\n# @exercise('1.3')"]
    program, _ = plan(copy_of(tmp_path, right, *others))
    assert [i["ids"] for i in program if i["ids"]] == [["1.1"], ["1.5"], ["1.6"], ["1.4"]]


def test_plan_takes_what_is_needed_and_both_of_two(tmp_path):
    extra = (["import matplotlib.pyplot as plt\nK = 2\nL = open('x')\ndef unused(): pass\nlabels = "
              "K"])
    path = write(tmp_path, "copy.ipynb", {"1.1": WRONG + "\n    labels"}, extra)
    node = nbformat.read(path, 4)
    node.cells.append(nbformat.v4.new_code_cell('# again\n@exercise("1.1")\ndef f(a, b): return '
                                                'pd.NA'))
    node.cells.append(nbformat.v4.new_code_cell('@exercise("7.9")\ndef f(): ...'))
    nbformat.write(node, path)
    program, expected = plan(path)
    sources = [i["source"] for i in program]
    assert expected == NB01 and [i["ids"] for i in program if i["ids"]] == [["1.1"], ["1.1"]]
    assert "import pandas as pd" in sources
    assert not any(w in s for s in sources for w in ("plt", "unused", "open", "Lab(", "no_such",
                                                     "7.9"))


def test_sandbox_sentence(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    works, sentence = bubblewrap()
    assert works is False and "not installed" in sentence and "your rights" in sentence
    monkeypatch.setattr(shutil, "which", lambda name: "/nowhere/bwrap")
    monkeypatch.setattr(contain.subprocess, "run", lambda *a, **k: type("R", (), {"returncode": 1}))
    assert "does not work here" in bubblewrap()[1]


@pytest.mark.skipif(not bubblewrap()[0],
                    reason="bubblewrap is not here, or may not make namespaces")
def test_bubblewrap_keeps_writing_and_network_inside(tmp_path):
    escaped = tmp_path / "escaped.txt"
    text = (f"try: open({str(escaped)!r}, 'w')\nexcept OSError as e: seen = str(e)\n"
            "open('inside.txt', 'w').write('fine')\nimport socket\n"
            "try: socket.create_connection(('192.0.2.1', 9), 1); net = True\nexcept OSError as e: "
            "net = e.errno\n"
            "import errno\nassert net == errno.ENETUNREACH, net\n")
    path = write(tmp_path, "copy.ipynb", {"1.1": solved("1.1")})
    node = nbformat.read(path, 4)
    node.cells[-1].source = text + node.cells[-1].source
    nbformat.write(node, path)
    rows = grade(path, sandbox=bubblewrap()[0])
    assert states(rows)["1.1"] == "right" and not escaped.exists(), rows


def labkit(capfd, *words):
    with pytest.raises(SystemExit) as stop:
        cli.main(list(map(str, words)))
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    return stop.value.code or 0, out, err


def test_command(tmp_path, capfd):
    good = write(tmp_path, "good.ipynb", {"1.1": solved("1.1"), "1.2": untouched("1.2")})
    bad = tmp_path / "bad.ipynb"
    bad.write_text("{", encoding="utf-8")
    code, out, _ = labkit(capfd, "grade", good, bad, "--csv", tmp_path / "points.csv")
    assert code == 1 and "cannot be read" in out and "not attempted" in out and "ubblewrap" in out
    with open(tmp_path / "points.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "exercise", "state", "points"] and len(rows) == 1 + len(NB01) + 1
    assert [str(good), "1.1", "right", "1"] in rows and [str(bad), "", "cannot be read",
                                                         "0"] in rows


def test_command_is_zero_when_all_could_be_graded(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(grade_module, "run", lambda program, found,
                        *a: found.update({(1, "1.1"): ("wrong", "")}) or
                        ([], "done", ""))
    assert labkit(capfd, "grade", write(tmp_path, "a.ipynb", {"1.1": WRONG}))[0] == 0


@pytest.mark.parametrize("words", [[], ["a.ipynb", "--timeout", "0"], ["a.ipynb", "--memory", "x"],
                                   ["a.ipynb", "--csv", "no/such/folder/x.csv"]])
def test_bad_usage_is_two(words, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = labkit(capfd, "grade", *words)
    assert code == 2 and err
    with pytest.raises(LabError, match="cannot be written"):
        write_csv([], tmp_path / "no" / "x.csv")


@pytest.mark.skipif(os.name != "posix", reason="links and /dev/stdout")
def test_a_link_and_a_device_are_written_to(tmp_path, capfd):
    file, link = tmp_path / "points.csv", tmp_path / "link.csv"
    link.symlink_to(file)
    for _ in range(2):  # when there is no file yet, and when there is one
        write_csv([], link)
        assert link.is_symlink() and "exercise" in file.read_text(encoding="utf-8")
    write_csv([], "/dev/stdout")
    assert capfd.readouterr().out == "file,exercise,state,points\r\n"
    with pytest.raises(LabError, match="cannot be written"):
        write_csv([], tmp_path)
