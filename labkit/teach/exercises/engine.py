"""Checks a learner's function: runs it beside the worked solution, under a time limit, and says what differs."""

import ast
import copy
import inspect
import linecache
import textwrap
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from .feedback import CAUSES, difference, pattern, render
from .limits import TimeUp, limited, printing_capped, random_state_kept

LIMIT = 10.0  # seconds a learner's function may take for the whole check


@dataclass(frozen=True)
class Exercise:
    """One exercise, all of it data. The learner's function gets copies of the arguments, by position."""

    id: str
    title: str
    trains: str  # for the teacher's table
    difficulty: int  # 1 to 5
    minutes: int
    points: int
    hints: tuple[str, str, str]  # the idea, the formula, almost code
    solution: Callable
    cases: Callable  # () -> list of (what is special about this input, its arguments); the same ones every time
    mistakes: tuple  # (a planted mistake, the message that fits it), at least four
    remark: str = ""  # shown when it is right
    measure: Callable | None = None  # (result, *arguments) -> what is compared, where several results are right
    measured: str = ""  # its name
    rtol: float = 1e-4
    atol: float = 1e-6


@dataclass
class Result:
    """What came of a check. state: right | wrong | error | timeout | not attempted."""

    exercise: Exercise
    state: str
    what: str = ""  # what differs
    cause: str = ""  # one likely cause
    points: int = field(init=False)

    def __post_init__(self):
        self.points = self.exercise.points if self.state == "right" else 0


@dataclass
class Outcome:
    """What a function did with one input: a value or an exception, and whether it changed an argument."""

    value: object = None
    error: BaseException | None = None
    changed: int | None = None  # position of the argument


def attempted(function) -> bool:
    """Whether the body holds more than a docstring and `...`, `pass` or `raise NotImplementedError`."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return True
    found = next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)), None)
    return found is None or not all(_idle(line) for line in found.body)


def check(exercise: Exercise, function, seconds: float = LIMIT) -> Result:
    """Run `function` on every case of the exercise and compare it with the worked solution.

    It gets copies of the arguments, `seconds` for all cases together, and a random state that is put back.
    """
    if problem := _signature_problem(exercise.solution, function):
        return Result(exercise, "wrong", problem, "the arguments are given by position, in the order of the template")
    cases, outcomes = exercise.cases(), []
    with random_state_kept(), printing_capped():
        ended = limited(lambda: outcomes.extend(_outcome(function, args) for _, args in cases), seconds)
    if ended != "done":
        what = f"no answer after {seconds:g} s on {describe(exercise, cases[min(len(outcomes), len(cases) - 1)])}"
        left = " Its thread could not be ended: restart the kernel." if ended == "left behind" else ""
        return Result(exercise, "timeout", what + "." + left, "a loop whose condition never becomes false")
    wanted = [_outcome(exercise.solution, args) for _, args in cases]
    for case, outcome, want in zip(cases, outcomes, wanted, strict=True):
        if kind_and_text := _compare(exercise, case, outcome, want):
            break
    else:
        return Result(exercise, "right")
    kind, text = kind_and_text
    planted = _planted(exercise, cases, outcomes)
    if kind == "error":
        return Result(exercise, "error", text, planted or "the line named above meets a value it was not written for")
    if kind == "changed":
        return Result(exercise, "wrong", text, planted or "work on a copy: clone(), copy.deepcopy(), or a new list")
    common = None
    if kind == "value":
        common = pattern(*([_measured(exercise, o, case) for o, case in zip(found, cases, strict=True)]
                           for found in (outcomes, wanted)))
    return Result(exercise, "wrong", f"{text}." + (f" Over all inputs: {common}." if common else ""),
                  planted or CAUSES[kind])


def describe(exercise, case) -> str:
    """The input in words: what is special about it, and its arguments in a few characters."""
    what, args = case
    names = list(inspect.signature(exercise.solution).parameters)
    return f"{what} ({', '.join(f'{n} = {render(a)}' for n, a in zip(names, args, strict=True))})"


def _compare(exercise, case, outcome, want):
    """(kind, sentence) of what differs on one case, or None."""
    on = f"On {describe(exercise, case)}"
    if outcome.error is not None:
        return "error", f"{on}: {_error_text(outcome.error)}"
    found = difference(outcome.value, want.value, exercise.rtol, exercise.atol)
    if exercise.measure and (not found or found[0] == "value"):
        mine, best = (_measured(exercise, o, case) for o in (outcome, want))
        found = difference(mine, best, exercise.rtol, exercise.atol, exercise.measured)
    if found:
        return found[0], f"{on}: {found[1]}"
    if outcome.changed is not None:
        name = list(inspect.signature(exercise.solution).parameters)[outcome.changed]
        return "changed", f"{on}: the result is right, but your function changes its argument {name!r}."
    return None


def _measured(exercise, outcome, case):
    if not exercise.measure or outcome.error is not None:
        return outcome.value
    return exercise.measure(outcome.value, *case[1])


def _planted(exercise, cases, outcomes):
    """The message of the planted mistake that does just what the learner's function did, on every case."""
    for mistake, message in exercise.mistakes:
        if all(_alike(exercise, outcome, _outcome(mistake, args))
               for (_, args), outcome in zip(cases, outcomes, strict=True)):
            return message
    return None


def _alike(exercise, a, b):
    if a.error is not None or b.error is not None:
        return type(a.error) is type(b.error) and str(a.error) == str(b.error)
    return a.changed == b.changed and difference(a.value, b.value, exercise.rtol, exercise.atol) is None


def _outcome(function, args):
    given = copy.deepcopy(args)
    try:
        value = function(*given)
    except TimeUp:
        raise
    except BaseException as problem:  # SystemExit and KeyboardInterrupt of the learner's own too
        return Outcome(error=problem)
    pairs = enumerate(zip(given, args, strict=True))
    changed = next((i for i, (a, b) in pairs if not _untouched(a, b)), None)
    return Outcome(value, changed=changed)


def _untouched(a, b):
    if isinstance(b, torch.nn.Module):
        return a.training == b.training and difference(list(a.state_dict().values()), list(b.state_dict().values()),
                                                       0, 0) is None
    return difference(a, b, 0, 0) is None


def _signature_problem(solution, function):
    names = list(inspect.signature(solution).parameters)
    try:
        theirs = inspect.signature(function)
        theirs.bind(*names)
    except TypeError:
        count = sum(p.default is p.empty for p in theirs.parameters.values())
        return (f"your function asks for {count} argument{'s' * (count != 1)}, and the exercise gives {len(names)}: "
                f"{', '.join(names)}.")
    return None


def _error_text(error):
    """Type, message and, where it is known, the line of the learner's code."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".removesuffix(": ")
    own = [f for f in traceback.extract_tb(error.__traceback__)[1:] if f.name != "_outcome"]
    mine = [f for f in own if own and f.filename == own[0].filename]
    if not mine:
        return text
    line = linecache.getline(mine[-1].filename, mine[-1].lineno).strip()
    return f"{text} (line {mine[-1].lineno} of the cell{f': {line}' if line else ''})"


def _idle(line):
    if isinstance(line, ast.Raise):
        return "NotImplementedError" in ast.unparse(line)
    return isinstance(line, ast.Pass) or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
