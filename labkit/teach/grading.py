"""The process in which one learner's exercise cells run: `python -m labkit.teach.grading`, started by grade.py.

Reads a job from standard input, runs its items in an IPython shell, and writes one line an event to what was
standard output, each behind a secret that came with the job. What the learner's code prints goes nowhere.
"""

import json
import os
import sys


def main():
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    job = json.loads(sys.stdin.read())
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # input() gets an end of file, and prints cannot be taken for results
        os.dup2(nothing, descriptor)
    nonce = job.pop("nonce")

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

    import labkit
    from labkit.teach import exercises

    torch.set_num_threads(1)
    judge, find = exercises.judge, exercises.find  # kept: a learner's code may replace the module's
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.user_ns |= {find(id).solution.__name__: find(id).solution for id in job["done"]}
    told, helpers = set(job["done"]), []

    def exercise(id):
        def decorate(function):
            result = judge(find(id), function, job["seconds"])
            told.add(id)
            tell(id=id, state=result.state, note=_line(f"{result.what} {result.cause}"))
            return function if result.state == "right" else find(id).solution

        return decorate

    labkit.exercise = exercises.exercise = exercise
    for item in job["program"]:
        if item["ids"]:
            tell(begin=item["ids"], doing="the cell was running")
        problem = _problem(shell, item["source"])
        if problem and not item["ids"]:
            helpers.append(f"a helper of it failed: {problem}")
        for id in item["ids"]:
            if id not in told:
                tell(id=id, state="crashed" if problem else "missing",
                     note=_line("; ".join([problem or "its cell ran, and no check was asked for", *helpers])))
        tell(begin=[], doing="between the cells")


def _problem(shell, source):
    """Run source as a cell. -> None, or the exception in one line"""
    try:
        result = shell.run_cell(source, store_history=False, silent=True)
    except BaseException as error:  # SystemExit from IPython's own hooks
        return _line(f"{type(error).__name__}: {error}")
    error = result.error_before_exec or result.error_in_exec
    return _line(f"{type(error).__name__}: {error}") if error is not None else None


def _line(text):
    return "".join(c for c in " ".join(str(text).split()) if c.isprintable())[:300]


if __name__ == "__main__":
    main()
