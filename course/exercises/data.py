"""What an exercise is, what came of checking it, and how its planted mistakes are written."""

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Exercise:
    """One exercise, all of it data. The learner's function gets copies of the arguments."""

    id: str
    title: str
    trains: str  # for the teacher's table
    difficulty: int  # 1 to 5
    minutes: int
    points: int
    hints: tuple[str, str, str]  # the idea, the formula, almost code
    solution: Callable
    cases: Callable  # () -> list of (what is special here, its arguments), the same ones every time
    mistakes: tuple  # at least four (planted mistake, message that fits it), or edits, see planted
    remark: str = ""  # shown when it is right
    measured: str = ""  # if several results are right, the name of what is compared instead
    measure: Callable = lambda result, *arguments: result  # that
    # A project: right where the measure reaches floor(*arguments), which is measured too; a measure
    # that raises says what the result should have been.
    floor: Callable | None = None
    rtol: float = 1e-4
    atol: float = 1e-6
    any_float: bool = False  # float64 may stand for float32: where the notebook can go on with it
    gradients: tuple[int, ...] = ()  # arguments by which the notebook differentiates the result

    def __post_init__(self):
        found = tuple(planted(self.solution, *mistake) for mistake in self.mistakes)
        object.__setattr__(self, "mistakes", found)  # (function, message) from here on

    @property
    def arguments(self) -> list[str]:
        """Names of the solution's arguments."""
        return list(inspect.signature(self.solution).parameters)


@dataclass
class Result:
    """What came of a check. state: right | wrong | error | timeout | not attempted."""

    exercise: Exercise
    state: str
    what: str = ""  # what differs; where it is right, what to mind
    cause: str = ""  # one likely cause

    @property
    def points(self) -> int:
        return self.exercise.points if self.state == "right" else 0


def planted(solution, wrong, *edit):
    """(function, message) of (function, message) or of an edit: (old, new, what it is, message).

    An edit replaces `old` by `new` all over the solution's source; both are tuples for several.
    The edited function sees the names of the solution's module, the solution itself among them.
    """
    if callable(wrong):
        return wrong, *edit
    new, what, message = edit
    source = textwrap.dedent(inspect.getsource(solution))
    for a, b in [(wrong, new)] if isinstance(wrong, str) else zip(wrong, new, strict=True):
        if a not in source:
            raise ValueError(f"{a!r} does not occur in {solution.__name__}: “{what}” edits it.")
        source = source.replace(a, b)
    scope = {}
    exec(compile(source, f"<{what}>", "exec"), solution.__globals__, scope)
    function = scope[solution.__name__]
    function.__name__ = "_" + re.sub(r"\W+", "_", what.lower())[:50]
    function.__doc__ = what
    return function, message
