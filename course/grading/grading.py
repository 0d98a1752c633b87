"""The process in which one learner's exercise cells run: `python -m course.grading.grading`,
started by grade.py.

Reads a job from standard input, runs its items in an IPython shell, and writes one line an event to
what was standard output, each behind a secret that came with the job. What the learner's code
prints goes nowhere.
"""

import ast
import builtins
import io
import json
import os
import re
import sys
from contextlib import suppress

# the check, and the solutions and cases that it stands on
OURS = re.compile(r"course\.exercises\b|course\.chapters\.\w+\.exercises\b")
TIMED = re.compile(r"\A(\s*)%%.*")  # %%time and the like above a cell, which is run without it


def main():
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    job = json.loads(sys.stdin.read())
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # input() gets an end of file, and no print is taken for a result
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
    import IPython.core.interactiveshell  # noqa: F401  imports come before the limit
    import torch

    import course.exercises  # noqa: F401

    torch.set_num_threads(1)
    _warm(torch)
    # a leap over the memory limit fails before it is sampled
    _limit(DATA=int(_data() + job["memory"] * 2**20))
    shell, lenient, failed = _shell()
    told, helpers, under_way = set(job["done"]), [], []
    _judging(torch, shell, job, tell, told, under_way, failed)
    tell(begin=[], doing="the cells before the exercises were running")
    for item in job["program"]:
        source, under_way[:], failed[:] = item["source"], item["ids"], []
        lenient.on = bool(item["ids"])
        if not item["ids"]:
            if problem := _problem(shell, source):
                helpers.append(f"a helper of it failed: {problem}")
            continue
        tell(begin=item["ids"], doing="the cell was running")
        problem = _problem(shell, TIMED.sub(r"\1", source))
        words = [problem or "its cell ran, and no check was asked for", *failed, *helpers]
        for id in item["ids"]:
            if id not in told:
                state = _state("crashed", problem) if problem else "missing"
                tell(id=id, state=state, note=one_line("; ".join(words)))
        tell(begin=[], doing="between the cells")


def _shell():
    """An IPython shell, what changes exercises' cells, a list of imports that failed there."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    settings = Config({"HistoryManager": {"enabled": False}})
    shell, lenient, failed = InteractiveShell.instance(config=settings), Lenient(), []
    shell.ast_transformers.append(lenient)
    shell.note_failed = lambda text: failed.append(_failure(text, sys.exc_info()[1]))
    return shell, lenient, failed


def _judging(torch, shell, job, tell, told, under_way, failed):
    """Make the course's `exercise` tell its results; give the shell what was found before."""
    import course
    from course import exercises

    # kept: a learner's code may replace the module's
    judge, known = exercises.judge, dict(exercises.EXERCISES)
    solutions = [known[exercise_of(key)].solution for key in job["done"]]
    shell.user_ns |= {solution.__name__: solution for solution in solutions}

    def exercise(id):
        def decorate(function):
            result = judge(known[id], function, job["seconds"])
            state, note = _state(result.state, result.what), f"{result.what} {result.cause}".strip()
            if replaced := _put_back(modules):
                state = "tampered"
                note = f"the copy replaced {replaced}, which the check uses: look at its code"
            key = next((k for k in under_way if exercise_of(k) == id), id)
            told.add(key)
            tell(id=key, state=state, note=one_line("; ".join(filter(None, [*failed, note]))))
            return function if result.state == "right" else known[id].solution

        return decorate

    course.exercise = exercises.exercise = exercise
    modules = _contents(torch)


class Lenient:
    """Leaves lines for IPython out of an exercise's cell, and lets imports there fail with a note.

    A plot's window or a package that is not here must not take the exercise with them.
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
    name = getattr(getattr(place, "func", None), "id", "")
    return isinstance(line, ast.Expr) and name == "get_ipython"


def _tried(line):
    if isinstance(line, ast.ImportFrom) and line.module == "__future__":
        return line
    noted = f"get_ipython().note_failed({ast.unparse(line)!r})"
    tree = ast.parse(f"try: pass\nexcept Exception: {noted}").body[0]
    for node in ast.walk(tree):
        ast.copy_location(node, line)
    tree.body = [line]
    return tree


def _failure(text, error):
    # cut, as the check's own words follow
    return one_line(f"`{text}` failed: {type(error).__name__}: {error}")[:120]


def exercise_of(key):
    """The exercise of a key: "1.2" of "1.2", or of "1.2#2" for the second cell with it."""
    return key.split("#")[0]


def _warm(torch):
    """Let torch import and replace in itself, before all else, what it needs later (seconds)."""
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    torch.func.grad(torch.sum)(torch.ones(1))


def _problem(shell, source):
    """Run source as a cell. -> None, or the exception in one line"""
    try:
        result = shell.run_cell(source, store_history=False, silent=True)
    except BaseException as error:  # SystemExit from IPython's own hooks
        return one_line(f"{type(error).__name__}: {error}")
    error = result.error_before_exec or result.error_in_exec
    return one_line(f"{type(error).__name__}: {error}") if error is not None else None


class Nowhere(io.TextIOBase):
    """Takes any amount of text. IPython's `write` for it would keep all of it in memory."""

    def write(self, text):
        return len(text)

    def __setattr__(self, name, value):
        pass


def _state(state, text):
    """The state, or "out of memory" where an allocation failed at the process's own limit."""
    failed = any(words in str(text) for words in ("MemoryError", "can't allocate memory"))
    return "out of memory" if failed else state


def _contents(torch):
    """(name, module or class, its callables now) of what a check calls."""
    places = {"builtins": builtins, "numpy": sys.modules["numpy"], "torch": torch,
              "torch.Tensor": torch.Tensor}
    places |= {name: m for name, m in sys.modules.items() if OURS.match(name)}
    # IPython's, and torch's that is changed by its default dtype
    shell = ("exit", "quit", "display", "get_ipython", "Storage")
    return [(name, place, {k: v for k, v in vars(place).items() if callable(v) and k not in shell})
            for name, place in places.items()]


def _put_back(modules):
    """Undo what the copy replaced, for its other exercises. -> the first name, or None"""
    first = None
    for name, place, then in modules:
        for key, value in then.items():
            if vars(place).get(key) is not value:
                setattr(place, key, value)
                first = first or f"{name}.{key}"
    return first


def _limit(**limits):
    """Limits of this process and of each of its children, where the system has them."""
    with suppress(ImportError):
        import resource

        for name, value in limits.items():
            with suppress(AttributeError, ValueError, OSError):
                resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (int(value), int(value)))


def _data():
    """Bytes of this process that RLIMIT_DATA counts; more than any limit outside Linux."""
    with suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmData"))
    return 2**50


def one_line(text):
    return "".join(c for c in " ".join(str(text).split()) if c.isprintable())[:300]


if __name__ == "__main__":
    main()
