"""Checks a learner's function: runs it beside the worked solution, under a time limit, and says what differs."""

import ast
import copy
import inspect
import linecache
import re
import textwrap
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from course.exercises.feedback import difference, pattern, render
from course.exercises.limits import TimeUp, global_state, limited, printing_capped, put_back, state_kept

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
    mistakes: tuple  # at least four: (planted mistake, message that fits it), or an edit, see _planted_mistake
    remark: str = ""  # shown when it is right
    measure: Callable | None = None  # (result, *arguments) -> what is compared, where several results are right
    measured: str = ""  # its name
    rtol: float = 1e-4
    atol: float = 1e-6
    any_float: bool = False  # float64 may stand where float32 is expected: where the notebook can go on with it
    gradients: tuple[int, ...] = ()  # positions of arguments by which the notebook differentiates the result

    def __post_init__(self):
        found = tuple(_planted_mistake(self.solution, *mistake) for mistake in self.mistakes)
        object.__setattr__(self, "mistakes", found)  # (function, message) from here on


@dataclass
class Result:
    """What came of a check. state: right | wrong | error | timeout | not attempted."""

    exercise: Exercise
    state: str
    what: str = ""  # what differs; where it is right, what to mind
    cause: str = ""  # one likely cause
    points: int = field(init=False)

    def __post_init__(self):
        self.points = self.exercise.points if self.state == "right" else 0


@dataclass
class Outcome:
    """What a function did with one input: a value or an exception, its gradients, and what else it changed."""

    value: object = None
    error: BaseException | None = None
    slopes: list | None = None  # by the arguments that the exercise names; None where no gradient comes through
    changed: str | None = None  # "changes its argument {0}", or a state of the whole notebook
    seeds: tuple = ()  # random states that it moved


def _planted_mistake(solution, wrong, *edit):
    """(function, message) of (function, message) or of an edit: (old, new, what it is, message).

    An edit replaces `old` by `new` all over the solution's source. For several replacements both are tuples.
    The edited function sees the names of the solution's module, the solution itself among them.
    """
    if callable(wrong):
        return wrong, *edit
    new, what, message = edit
    source = textwrap.dedent(inspect.getsource(solution))
    for a, b in [(wrong, new)] if isinstance(wrong, str) else zip(wrong, new, strict=True):
        if a not in source:
            raise ValueError(f"{a!r} does not occur in {solution.__name__}: the mistake “{what}” edits it.")
        source = source.replace(a, b)
    scope = {}
    exec(compile(source, f"<{what}>", "exec"), solution.__globals__, scope)
    function = scope[solution.__name__]
    function.__name__ = "_" + re.sub(r"\W+", "_", what.lower())[:50]
    function.__doc__ = what
    return function, message


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

    It gets copies of the arguments and `seconds` for all cases together; global state is put back.
    """
    with state_kept():
        return _check(exercise, function, seconds)


def _check(exercise, function, seconds):
    if problem := _signature_problem(exercise.solution, function):
        return Result(exercise, "wrong", problem, "the arguments are given by position, in the order of the template")
    cases, outcomes = exercise.cases(), []
    with printing_capped():
        ended = limited(lambda: outcomes.extend(_outcome(function, args, exercise.gradients) for _, args in cases),
                        seconds)
    if ended != "done":
        what = f"no answer after {seconds:g} s on {describe(exercise, cases[min(len(outcomes), len(cases) - 1)])}"
        left = " Its thread could not be ended: restart the kernel." if ended == "left behind" else ""
        return Result(exercise, "timeout", what + "." + left,
                      "a loop whose condition never becomes false, or work that grows fast with the input")
    wanted = [_outcome(exercise.solution, args, exercise.gradients) for _, args in cases]
    found = [_compare(exercise, *each) for each in zip(cases, outcomes, wanted, strict=True)]
    if not any(found):
        moved = sorted({name for o, w in zip(outcomes, wanted, strict=True) for name in set(o.seeds) - set(w.seeds)})
        return Result(exercise, "right", f"your function changes {' and '.join(moved)} for the whole notebook: take a "
                      "generator of its own, as torch.Generator().manual_seed(seed)." if moved else "")
    kind, text, cause = next(f for f in found if f)
    same, near = _planted(exercise, cases, outcomes, wanted, [f is None for f in found])
    if kind == "error":
        return Result(exercise, "error", text, same or cause)
    if kind in ("changed", "gradient"):
        return Result(exercise, "wrong", text, same or cause)
    common = None
    if kind == "value":
        common = pattern(*([_measured(exercise, o, case) for o, case in zip(each, cases, strict=True)]
                           for each in (outcomes, wanted)))
    if kind in ("value", "length", "shape"):
        cause = near or _where(cases, found) or cause
    return Result(exercise, "wrong", f"{text}." + (f" Over all inputs: {common}." if common else ""), same or cause)


def describe(exercise, case) -> str:
    """The input in words: what is special about it, and its arguments in a few characters."""
    what, args = case
    names = list(inspect.signature(exercise.solution).parameters)
    return f"{what} ({', '.join(f'{n} = {render(a)}' for n, a in zip(names, args, strict=True))})"


def _compare(exercise, case, outcome, want):
    """(kind, sentence, likely cause) of what differs on one case, or None."""
    on = f"On {describe(exercise, case)}"
    names = list(inspect.signature(exercise.solution).parameters)
    if outcome.error is not None:
        return ("error", f"{on}: {_error_text(outcome.error)}",
                "the line named above meets a value it was not written for")
    found = _difference(exercise, outcome.value, want.value)
    if exercise.measure and (not found or found[0] == "value"):
        mine, best = (_measured(exercise, o, case) for o in (outcome, want))
        found = difference(mine, best, exercise.rtol, exercise.atol, exercise.measured)
    if found:
        return found[0], f"{on}: {found[1]}", found[2]
    if outcome.changed is not None:
        text = f"{on}: the result is right, but your function {outcome.changed.format(*map(repr, names))}."
        return "changed", text, next(cause for start, cause in CHANGES.items() if outcome.changed.startswith(start))
    if want.slopes is not None and (outcome.slopes is None or _uneven(outcome.slopes, want.slopes)):
        by = " and ".join(repr(names[i]) for i in exercise.gradients)
        lost = "gets lost" if outcome.slopes is None else "is not that of the solution"
        return ("gradient", f"{on}: the value is right, but its gradient by {by} {lost}, and the notebook needs it.",
                ".item(), .detach(), .numpy(), torch.tensor(…) and torch.no_grad() cut a result off from its arguments")
    return None


LEFT = "leaves a gradient (.grad) in"
CHANGES = {  # how a sentence about something changed begins -> a likely cause
    "changes its argument": "work on a copy: clone(), copy.deepcopy(), or a new list",
    "leaves a gradient": "take it with torch.autograd.grad, or call backward() on the loss of a copy of the model",
    "changes": "leave the settings of the whole notebook alone: give dtype= where a tensor is made",
}


def _difference(exercise, got, want):
    wider = (isinstance(got, torch.Tensor) and isinstance(want, torch.Tensor)
             and (got.dtype, want.dtype) == (torch.float64, torch.float32))
    return difference(got.float() if wider and exercise.any_float else got, want, exercise.rtol, exercise.atol)


def _uneven(mine, theirs):
    size = max(float(t.abs().max()) for t in theirs)
    return difference(mine, theirs, 1e-3, 1e-3 * size + 1e-6) is not None


def _measured(exercise, outcome, case):
    if not exercise.measure or outcome.error is not None:
        return outcome.value
    return exercise.measure(outcome.value, *case[1])


def _planted(exercise, cases, outcomes, wanted, right):
    """(message of the planted mistake that does the same on every input, guess from that which does on most), or None.

    For the guess count the inputs on which one of the two is wrong: where both are right, nothing is learnt.
    """
    most, guess = 0.5, None
    for mistake, message in exercise.mistakes:
        theirs = [_outcome(mistake, args, exercise.gradients) for _, args in cases]
        alike = [_alike(exercise, *pair) for pair in zip(outcomes, theirs, strict=True)]
        if all(alike):
            return message, None
        fine = [_compare(exercise, *each) is None for each in zip(cases, theirs, wanted, strict=True)]
        telling = [a for a, r, f in zip(alike, right, fine, strict=True) if not (r and f)]
        if sum(telling) > most * len(telling):
            most, guess = sum(telling) / len(telling), f"a guess, as it fits most of the inputs: {message}"
    return None, guess


def _where(cases, found):
    """On which inputs it is wrong, where it is right on others; or None."""
    wrong = [what for (what, _), f in zip(cases, found, strict=True) if f]
    if len(wrong) == len(cases):
        return None
    names = ", ".join(f"“{w}”" for w in wrong[:4]) + (" and others" if len(wrong) > 4 else "")
    right = len(cases) - len(wrong)
    return f"it is right on {right} of {len(cases)} inputs, and wrong on {names}: what is special there?"


def _alike(exercise, a, b):
    if a.error is not None or b.error is not None:
        return type(a.error) is type(b.error) and str(a.error) == str(b.error)
    return (a.changed == b.changed and (a.slopes is None) == (b.slopes is None)
            and difference(a.value, b.value, exercise.rtol, exercise.atol) is None)


def _outcome(function, args, gradients=()):
    given, before = copy.deepcopy(args), global_state()
    try:
        value = function(*given)
    except TimeUp:
        raise
    except BaseException as problem:  # SystemExit and KeyboardInterrupt of the learner's own too
        return Outcome(error=problem)
    finally:
        moved = put_back(before)
    pairs = enumerate(zip(given, args, strict=True))
    changed = next((f"{how} its argument {{{i}}}" for i, (a, b) in pairs if (how := _touched(a, b))), None)
    seeds = tuple(name for name in moved if "random" in name)
    settings = [f"changes {name} for the whole notebook" for name in moved if name not in seeds]
    slopes = _slopes(function, args, gradients) if gradients else None
    return Outcome(value, slopes=slopes, changed=changed or next(iter(settings), None), seeds=seeds)


def _slopes(function, args, positions):
    """The gradient of the result's sum by each of these arguments, or None where it cannot be had."""
    given = list(copy.deepcopy(args))
    by = [given[i].requires_grad_() for i in positions]
    try:
        return list(torch.autograd.grad(function(*given).sum(), by))
    except Exception:
        return None


def _touched(a, b):
    if isinstance(b, torch.nn.Module):
        if a.training != b.training or difference([*a.state_dict().values()], [*b.state_dict().values()], 0, 0):
            return "changes"
        return LEFT if any(p.grad is not None for p in a.parameters()) else None
    return "changes" if difference(a, b, 0, 0) else LEFT if getattr(a, "grad", None) is not None else None


def _signature_problem(solution, function):
    names = list(inspect.signature(solution).parameters)
    try:
        theirs = inspect.signature(function)
        theirs.bind(*names)
    except TypeError:
        count = sum(p.default is p.empty for p in theirs.parameters.values())
        return (f"your function asks for {count} argument{'s' * (count != 1)}, and the exercise gives {len(names)}: "
                f"{', '.join(names)}.")
    except ValueError:  # something built in, which tells no signature
        return None
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
