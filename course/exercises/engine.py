"""Checks a learner's function: runs it beside the worked solution, and says what differs."""

import ast
import contextlib
import copy
import inspect
import re
import sys
import textwrap
import traceback
from dataclasses import dataclass

import torch

from course.exercises import limits
from course.exercises.data import Exercise, Result
from course.exercises.feedback import difference, pattern, render

LIMIT = 10.0  # seconds a learner's function may take for the whole check


@dataclass
class Outcome:
    """What a function did with one input: value or exception, gradients, what else it changed."""

    value: object = None
    error: BaseException | None = None
    slopes: list | None = None  # by the exercise's gradients; None where none comes through
    changed: tuple | None = None  # (one of CHANGES, of what)
    seeds: frozenset = frozenset()  # random states that it moved


IDLE = re.compile(r"""pass|\.\.\.|raise NotImplementedError.*|["'].*""", re.DOTALL)


def attempted(function) -> bool:
    """Whether the body holds more than a docstring, `...`, `pass`, `raise NotImplementedError`."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return True
    found = next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)), None)
    return found is None or not all(IDLE.fullmatch(ast.unparse(line)) for line in found.body)


@limits.state_kept()
def check(exercise: Exercise, function, seconds: float = LIMIT) -> Result:
    """Run `function` on every case of the exercise and compare it with the worked solution.

    It gets copies of the arguments and `seconds` for all cases; global state is put back.
    """
    torch.set_default_dtype(torch.float32)  # whatever the notebook has set
    if problem := _signature_problem(exercise, function):
        return Result(exercise, "wrong", problem,
                      "the arguments are given by position, in the order of the template")
    cases, outcomes = exercise.cases(), []
    with contextlib.redirect_stdout(limits.Capped(sys.stdout)):
        ended = limits.limited(lambda: outcomes.extend(
            _outcome(exercise, function, args) for _, args in cases), seconds)
    if ended != "done":
        on = describe(exercise, cases[min(len(outcomes), len(cases) - 1)])
        left = " Its thread could not be ended: restart the kernel."
        text = f"no answer after {seconds:g} s on {on}.{left if ended == 'left behind' else ''}"
        return Result(exercise, "timeout", text, "a loop whose condition never becomes false, or "
                                                 "work that grows fast with the input")
    wanted = [_outcome(exercise, exercise.solution, args) for _, args in cases]
    found = [_compare(exercise, *each) for each in zip(cases, outcomes, wanted, strict=True)]
    if any(found):
        return _not_right(exercise, cases, outcomes, wanted, found)
    pairs = zip(outcomes, wanted, strict=True)
    moved = " and ".join(sorted(set().union(*(o.seeds - w.seeds for o, w in pairs))))
    return Result(exercise, "right", moved and f"your function changes {moved} for the whole "
                  "notebook: take a generator of its own, as torch.Generator().manual_seed(seed).")


def _not_right(exercise, cases, outcomes, wanted, found):
    """The result of the first case that differs, with the cause that fits all of them best."""
    kind, text, cause = next(filter(None, found))
    same, near = _fitting(exercise, cases, outcomes, wanted, found)
    if {f[0] for f in found if f} == {"value"}:
        common = pattern(*([exercise.measure(o.value, *args) for o, (_, args) in
                            zip(each, cases, strict=True)] for each in (outcomes, wanted)))
        text += f" Over all inputs: {common}." if common else ""
    if kind in ("value", "length", "shape"):
        cause = near or _where(cases, found) or cause
    return Result(exercise, "error" if kind == "error" else "wrong", text, same or cause)


def describe(exercise, case) -> str:
    """The input in words: what is special about it, and its arguments in a few characters."""
    what, args = case
    pairs = zip(exercise.arguments, args, strict=True)
    return f"{what} ({', '.join(f'{name} = {render(a)}' for name, a in pairs)})"


CHANGES = {  # what a function did besides -> a likely cause
    "changes its argument": "work on a copy: clone(), copy.deepcopy(), or a new list",
    "leaves a gradient (.grad) in its argument":
        "take it with torch.autograd.grad, or call backward() on the loss of a copy of the model",
    "changes": "leave the settings of the whole notebook alone: give dtype= where a tensor is made",
}
CUT_OFF = (".item(), .detach(), .numpy(), torch.tensor(…) and torch.no_grad() cut a result off "
           "from its arguments")


def _compare(exercise, case, outcome, want):
    """(kind, sentence, likely cause) of what differs on one case, or None."""
    on = f"On {describe(exercise, case)}"
    if outcome.error is not None:
        return ("error", f"{on}: {_error_text(outcome.error)}",
                "the line named above meets a value it was not written for")
    got = outcome.value
    if exercise.any_float and getattr(got, "dtype", None) == torch.float64:
        got = got.float()
    if exercise.floor:
        found = _short(exercise, got, case[1])
    else:
        found = difference(got, want.value, exercise.rtol, exercise.atol)
    if exercise.measured and found and found[0] == "value":
        mine, best = (exercise.measure(o.value, *case[1]) for o in (outcome, want))
        found = difference(mine, best, exercise.rtol, exercise.atol, exercise.measured)
    if found:
        return found[0], f"{on}: {found[1]}.", found[2]
    if outcome.changed:
        how, what = outcome.changed
        return ("changed", f"{on}: the result is right, but your function {how} {what}.",
                CHANGES[how])
    if lost := _lost(outcome.slopes, want.slopes):
        by = " and ".join(repr(exercise.arguments[i]) for i in exercise.gradients)
        return ("gradient", f"{on}: the value is right, but its gradient by {by} {lost}, and the "
                "notebook needs it.", CUT_OFF)
    return None


def _short(exercise, result, arguments):
    """What a project lacks: its measure stays below the floor; or None."""
    try:
        reached = float(exercise.measure(result, *arguments))
    except Exception as error:
        return "shape", _error_text(error), "read again what the template says is returned"
    if reached >= (floor := float(exercise.floor(*arguments))):
        return None
    text = f"{exercise.measured} is {reached:.3g}, and at least {floor:.3g} is asked for"
    return "floor", text, "it works, and another idea may get further"


def _lost(mine, theirs):
    """What is wrong with the gradients, if they are asked for and something is; or None."""
    if not theirs or mine is None:
        return "gets lost" if theirs else None
    near = 1e-3 * max(float(t.abs().max()) for t in theirs) + 1e-6
    return "is not that of the solution" if difference(mine, theirs, 1e-3, near) else None


def _fitting(exercise, cases, outcomes, wanted, found):
    """(message of the planted mistake that does the same on all cases, guess from the nearest one).

    For the guess count inputs on which one of the two is wrong: both right tells nothing.
    """
    most, guess = 0.5, None
    for mistake, message in exercise.mistakes:
        theirs = [_outcome(exercise, mistake, args) for _, args in cases]
        alike = [_alike(exercise, *pair) for pair in zip(outcomes, theirs, strict=True)]
        if all(alike):
            return message, None
        wrong = [_compare(exercise, *each) for each in zip(cases, theirs, wanted, strict=True)]
        telling = [a for a, *either in zip(alike, wrong, found, strict=True) if any(either)]
        if sum(telling) > most * len(telling):
            most = sum(telling) / len(telling)
            guess = f"a guess, as it fits most of the inputs: {message}"
    return None, guess


def _alike(exercise, a, b):
    if a.error is not None or b.error is not None:
        return type(a.error) is type(b.error) and str(a.error) == str(b.error)
    return (a.changed == b.changed and (a.slopes is None) == (b.slopes is None)
            and difference(a.value, b.value, exercise.rtol, exercise.atol) is None)


def _where(cases, found):
    """On which inputs it is wrong, where it is right on others; or None."""
    wrong, n = [f"“{what}”" for (what, _), f in zip(cases, found, strict=True) if f], len(cases)
    names = ", ".join(wrong[:4]) + " and others" * (len(wrong) > 4)
    right = f"it is right on {n - len(wrong)} of {n} inputs"
    return f"{right}, and wrong on {names}: what is special there?" if len(wrong) < n else None


def _outcome(exercise, function, args):
    given = copy.deepcopy(args)
    try:
        with limits.state_kept() as moved:
            value = function(*given)
    except limits.TimeUp:
        raise
    except BaseException as problem:  # SystemExit and KeyboardInterrupt of the learner's own too
        return Outcome(error=problem)
    each = zip(exercise.arguments, given, args, strict=True)
    changed = [(how, repr(name)) for name, a, b in each if (how := _touched(a, b))]
    seeds = frozenset(name for name in moved if "random" in name)
    changed += [("changes", f"{name} for the whole notebook") for name in moved
                if name not in seeds]
    slopes = _slopes(function, args, exercise.gradients) if exercise.gradients else None
    return Outcome(value, None, slopes, changed[0] if changed else None, seeds)


def _slopes(function, args, positions):
    """The gradient of the result's sum by these arguments, or None where none comes through."""
    given = list(copy.deepcopy(args))
    by = [given[i].requires_grad_() for i in positions]
    try:
        return list(torch.autograd.grad(function(*given).sum(), by))
    except Exception:
        return None


def _touched(a, b):
    """What was done to the argument b, of which the function got the copy a; or None."""
    weights, states = [a], (a, b)
    if isinstance(b, torch.nn.Module):
        weights, states = a.parameters(), [[m.training, *m.state_dict().values()] for m in (a, b)]
    if difference(*states, 0, 0):
        return "changes its argument"
    left = any(getattr(w, "grad", None) is not None for w in weights)
    return "leaves a gradient (.grad) in its argument" if left else None


def _signature_problem(exercise, function):
    names = exercise.arguments
    try:
        theirs = inspect.signature(function)
        theirs.bind(*names)
    except TypeError:
        count = sum(p.default is p.empty for p in theirs.parameters.values())
        return (f"your function asks for {count} argument{'s' * (count != 1)}, and the exercise "
                f"gives {len(names)}: {', '.join(names)}.")
    except ValueError:  # something built in, which tells no signature
        pass
    return None


def _error_text(error):
    """Type, message and, where it is known, the line of the learner's code."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".removesuffix(": ")
    own = [f for f in traceback.extract_tb(error.__traceback__)[1:] if f.name != "_outcome"]
    mine = [f for f in own if f.filename == own[0].filename]
    if not mine:
        return text
    line = f": {mine[-1].line}" if mine[-1].line else ""
    return f"{text} (line {mine[-1].lineno} of the cell{line})"
