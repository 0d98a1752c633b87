"""The process in which one learner's exercise cells run: `python -m course.grading.grading`, started by grade.py.

Reads a job from standard input, runs its items in an IPython shell, and writes one line an event to what was
standard output, each behind a secret that came with the job. What the learner's code prints goes nowhere.
"""

import ast
import builtins
import io
import json
import os
import re
import sys
from contextlib import suppress

TIMED = re.compile(r"\A(\s*)%%.*")  # %%time and the like above a cell: what is below is run without it


def main():
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    job = json.loads(sys.stdin.read())
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # input() gets an end of file, and prints cannot be taken for results
        os.dup2(nothing, descriptor)
    sys.stdout = sys.stderr = Nowhere()
    nonce = job.pop("nonce")
    _limit(CPU=job["cpu"], FSIZE=job["disk"] * 2**20, CORE=0)

    def tell(**event):
        out.write(nonce + json.dumps(event) + "\n")
        out.flush()

    tell(doing="labkit was being imported")
    run(job, tell)
    tell(end=True)
    os._exit(0)  # threads that were left behind must not hold the process


def run(job, tell):
    """Run helpers and exercise cells in order; tell the state of each exercise."""
    import torch
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    import course
    from course import exercises

    torch.set_num_threads(1)
    _warm(torch)
    _limit(DATA=int(_data() + job["memory"] * 2**20))  # a leap over the memory limit fails before it is sampled
    judge, find = exercises.judge, exercises.find  # kept: a learner's code may replace the module's
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    failed = []
    shell.ast_transformers.append(lenient := Lenient())
    shell.note_failed = lambda text: failed.append(_failure(text, sys.exc_info()[1]))
    solutions = [find(exercise_of(key)).solution for key in job["done"]]
    shell.user_ns |= {solution.__name__: solution for solution in solutions}
    told, helpers, under_way = set(job["done"]), [], []

    def exercise(id):
        def decorate(function):
            result = judge(known[id], function, job["seconds"])
            state, note = _state(result.state, result.what), _line(f"{result.what} {result.cause}")
            if replaced := _put_back(modules):
                state, note = "tampered", f"the copy replaced {replaced}, which the check uses: look at its code"
            key = next((k for k in under_way if exercise_of(k) == id), id)
            told.add(key)
            tell(id=key, state=state, note=_line("; ".join(filter(None, [*failed, note.strip()]))))
            return function if result.state == "right" else known[id].solution

        return decorate

    known = dict(exercises.EXERCISES)
    course.exercise = exercises.exercise = exercise
    modules = _contents(torch)
    tell(begin=[], doing="the cells before the exercises were running")
    for item in job["program"]:
        under_way[:], failed[:] = item["ids"], []
        if item["ids"]:
            tell(begin=item["ids"], doing="the cell was running")
        lenient.on = bool(item["ids"])
        problem = _problem(shell, TIMED.sub(r"\1", item["source"]) if lenient.on else item["source"])
        if problem and not item["ids"]:
            helpers.append(f"a helper of it failed: {problem}")
        for id in item["ids"]:
            if id not in told:
                tell(id=id, state=_state("crashed", problem) if problem else "missing",
                     note=_line("; ".join([problem or "its cell ran, and no check was asked for", *failed, *helpers])))
        if item["ids"]:
            tell(begin=[], doing="between the cells")


class Lenient:
    """Changes an exercise's cell: lines for IPython at its top level are left out, imports there may fail, with a note.

    A plot's window, a package that is not here or its installation must not take the exercise with them.
    """

    on = False

    def visit(self, tree):  # IPython calls this with each cell
        if self.on:
            tree.body = [_tried(line) if isinstance(line, ast.Import | ast.ImportFrom) else line
                         for line in tree.body if not _magic(line)]
        return tree


def _magic(line):
    call = getattr(line, "value", None)
    place = getattr(getattr(call, "func", None), "value", None)
    return isinstance(line, ast.Expr) and getattr(getattr(place, "func", None), "id", "") == "get_ipython"


def _tried(line):
    if isinstance(line, ast.ImportFrom) and line.module == "__future__":
        return line
    tree = ast.parse(f"try: pass\nexcept Exception: get_ipython().note_failed({ast.unparse(line)!r})").body[0]
    for node in ast.walk(tree):
        ast.copy_location(node, line)
    tree.body = [line]
    return tree


def _failure(text, error):
    return _line(f"`{text}` failed: {type(error).__name__}: {error}")[:120]  # the check's own words follow


def exercise_of(key):
    """The exercise of a key: "1.2" of "1.2", or of "1.2#2" for the second cell with it."""
    return key.split("#")[0]


def _warm(torch):
    """Let torch import what it needs later (seconds), and replace in itself what it then replaces, before all else."""
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    torch.func.grad(torch.sum)(torch.ones(1))


def _problem(shell, source):
    """Run source as a cell. -> None, or the exception in one line"""
    try:
        result = shell.run_cell(source, store_history=False, silent=True)
    except BaseException as error:  # SystemExit from IPython's own hooks
        return _line(f"{type(error).__name__}: {error}")
    error = result.error_before_exec or result.error_in_exec
    return _line(f"{type(error).__name__}: {error}") if error is not None else None


class Nowhere(io.TextIOBase):
    """Takes any amount of text. IPython would put a `write` into it that keeps all of it in memory."""

    def write(self, text):
        return len(text)

    def __setattr__(self, name, value):
        pass


def _state(state, text):
    """The state, or "out of memory" where an allocation failed at the process's own limit."""
    return "out of memory" if any(w in str(text) for w in ("MemoryError", "can't allocate memory")) else state


def _contents(torch):
    """(name, module or class, its callables now) of what a check calls; IPython puts words of its own into builtins."""
    places = {"builtins": builtins, "numpy": sys.modules["numpy"], "torch": torch, "torch.Tensor": torch.Tensor}
    places |= {name: m for name, m in sys.modules.items() if name.startswith("course.exercises")}
    shell = ("exit", "quit", "display", "get_ipython", "Storage")  # the last is torch's, changed by its default dtype
    return [(name, place, {k: v for k, v in vars(place).items() if callable(v) and k not in shell})
            for name, place in places.items()]


def _put_back(modules):
    """Undo what the copy replaced, so that its other exercises are judged as they are. -> the first name, or None"""
    first = None
    for name, place, then in modules:
        for key, value in then.items():
            if vars(place).get(key) is not value:
                setattr(place, key, value)
                first = first or f"{name}.{key}"
    return first


def _limit(**limits):
    """Limits of this process and of each of its children, by resource's names; only where the system has them."""
    with suppress(ImportError):
        import resource

        for name, value in limits.items():
            with suppress(AttributeError, ValueError, OSError):
                resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (int(value), int(value)))


def _data():
    """Bytes of this process that RLIMIT_DATA counts; without Linux's file an amount that limits nothing."""
    with suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmData"))
    return 2**50


def _line(text):
    return "".join(c for c in " ".join(str(text).split()) if c.isprintable())[:300]


if __name__ == "__main__":
    main()
