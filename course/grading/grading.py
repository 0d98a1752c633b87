"""The process in which one learner's exercise cells run: `python -m course.grading.grading`.

Reads a job from standard input, runs its items, and writes one line an event to what was standard
output, each behind a secret that came with the job. What the learner's code prints goes nowhere.
"""

import ast
import asyncio
import builtins
import codeop
import copy
import json
import linecache
import os
import re
import sys
import types
from contextlib import suppress
from unittest.mock import MagicMock

import psutil
from IPython.core.inputtransformer2 import TransformerManager

# the check, and the solutions and cases that it stands on
OURS = re.compile(r"course\.exercises\b|course\.chapters\.\w+\.exercises\b")
TIMED = re.compile(r"\A(\s*)%%.*")  # %%time and the like above a cell, which is run without it


def main():
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    job = json.loads(sys.stdin.read())
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # input() gets an end of file, and no print is taken for a result
        os.dup2(nothing, descriptor)
    nonce = job.pop("nonce")
    _limit(CPU=job["cpu"], FSIZE=job["disk"] * 2**20, CORE=0)

    def tell(**event):
        out.write(nonce + json.dumps(event) + "\n")
        out.flush()

    run(job, tell)
    tell(end=True)
    os._exit(0)  # threads that were left behind must not hold the process


def run(job, tell):
    """Run helpers and exercise cells in order; tell the state of each exercise."""
    import torch

    torch.set_num_threads(1)
    # torch imports and replaces in itself, before all else, what it needs later (seconds)
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    torch.func.grad(torch.sum)(torch.ones(1))
    cell, helpers = {}, []  # cell: its number, the exercises told, its imports that failed
    scope = _namespace(torch, job, tell, cell)
    # a leap over the memory limit fails before it is sampled
    _limit(DATA=_data() + job["memory"] * 2**20)
    tell(begin=None)
    for item in job["program"]:
        cell |= {"cell": item.get("cell"), "told": [], "failed": []}
        if not item["ids"]:
            problem = _problem(item["source"], scope, cell["failed"])
            helpers += [f"a helper of it failed: {p}" for p in (problem, *cell["failed"]) if p]
            continue
        tell(begin=item["cell"])
        problem = _problem(TIMED.sub(r"\1", item["source"]), scope, cell["failed"])
        words = [problem or "its cell ran, and no check was asked for", *cell["failed"], *helpers]
        state = _state("crashed", problem) if problem else "missing"
        for id in (i for i in item["ids"] if i not in cell["told"]):
            tell(cell=item["cell"], id=id, state=state, note=one_line("; ".join(words)))
        tell(begin=None)


def _namespace(torch, job, tell, cell):
    """What the cells see. Its `exercise` is the course's, and tells the results."""
    import IPython.core.getipython
    import numpy
    from IPython.display import display

    import course
    import labkit
    from course import exercises

    # kept: a learner's code may replace the module's
    judge, known = exercises.judge, dict(exercises.EXERCISES)

    def exercise(id):
        def decorate(function):
            result = judge(known[id], function, job["seconds"])
            state, note = _state(result.state, result.what), f"{result.what} {result.cause}".strip()
            if replaced := _put_back(modules):
                state = "tampered"
                note = f"the copy replaced {replaced}, which the check uses: look at its code"
            cell["told"].append(id)
            words = "; ".join(filter(None, [*cell["failed"], note]))
            tell(cell=cell["cell"], id=id, state=state, note=one_line(words))
            return function if result.state == "right" else known[id].solution

        return decorate

    course.exercise = exercises.exercise = exercise
    modules = _contents(torch)
    solutions = [known[id].solution for id in job["done"]]  # by earlier processes
    sys.modules["__main__"] = types.ModuleType("__main__")
    scope = vars(sys.modules["__main__"])
    scope |= {s.__name__: s for s in solutions}
    # magics, which become calls of get_ipython(), do nothing, wherever it is taken from
    magics = IPython.get_ipython = IPython.core.getipython.get_ipython = MagicMock()
    scope |= {"np": numpy, "torch": torch, "F": torch.nn.functional, "lk": labkit, "copy": copy,
              "exercise": exercise, "display": display, "get_ipython": magics}
    return scope


def _problem(source, scope, failed):
    """Run a cell. -> None, or the exception in one line

    An import that fails is noted in `failed`, and the rest goes on: a plot's window or a package
    that is not here must not take the exercise with it.
    """
    name = f"<cell {len(linecache.cache)}>"
    try:
        text = TransformerManager().transform_cell(source)
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        compiled = codeop.Compile()  # keeps what is imported from __future__
        compiled.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        for line in ast.parse(text).body:
            try:
                waiting = eval(compiled(ast.Module([line], []), name, "exec"), scope)
                if waiting is not None:  # a line with await is a coroutine
                    asyncio.run(waiting)
            except Exception as error:
                if not isinstance(line, ast.Import | ast.ImportFrom):
                    raise
                # cut, as the check's own words follow
                failed.append(f"`{ast.unparse(line)}` failed: {_error(error)}"[:120])
    except BaseException as error:  # SystemExit too
        return _error(error)
    return None


def _error(error):
    return one_line(f"{type(error).__name__}: {error}")


def _state(state, text):
    """The state, or "out of memory" where an allocation failed at the process's own limit."""
    failed = any(words in str(text) for words in ("MemoryError", "can't allocate memory"))
    return "out of memory" if failed else state


def _contents(torch):
    """(name, module or class, its callables now) of what a check calls."""
    places = {"builtins": builtins, "numpy": sys.modules["numpy"], "torch": torch,
              "torch.Tensor": torch.Tensor}
    places |= {name: m for name, m in sys.modules.items() if OURS.match(name)}
    # torch.Storage is changed by torch's default dtype
    return [(name, place, {k: v for k, v in vars(place).items() if callable(v) and k != "Storage"})
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
    """Bytes of this process that RLIMIT_DATA counts; more than any limit where it is not told."""
    return getattr(psutil.Process().memory_info(), "data", 2**50)


def one_line(text):
    return "".join(c for c in " ".join(str(text).split()) if c.isprintable())[:300]


if __name__ == "__main__":
    main()
