"""Exercises that check themselves: @exercise("1.2") above a function of the reader's."""

import difflib
import inspect

from course import chapters
from course.exercises import card
from course.exercises.engine import LIMIT, Exercise, Result, attempted, check
from labkit.base import LabError

__all__ = ["EXERCISES", "Exercise", "Result", "check", "exercise", "find", "hint", "judge",
           "solution", "teaching_table"]
EXERCISES = chapters.exercises()


def exercise(id: str = None):
    """Decorator: check the function below, show a card, return it if right, else the solution."""
    if id is None or callable(id):
        name = getattr(id, "__name__", "the function")
        near = next((e.id for e in EXERCISES.values() if e.solution.__name__ == name), "1.2")
        raise LabError(f'@exercise above {name} has no id: write @exercise("{near}"), with the '
                       "number in the exercise's title.")
    found = find(id)

    def decorate(function):
        result = judge(found, function)
        card.show(result)
        return function if result.state == "right" else found.solution

    return decorate


def judge(found: Exercise, function, seconds: float = LIMIT) -> Result:
    """`check`, but 'not attempted', and nothing runs, while the body is still `...`."""
    if inspect.isclass(function):
        text = "below it stands a class, and the exercise asks for a function."
        head = f"{found.solution.__name__}{inspect.signature(found.solution)}"
        return Result(found, "wrong", text, f"write {head} with def")
    if not callable(function):
        raise LabError(f'@exercise("{found.id}") stands directly above a def; '
                       f"it got {type(function).__name__}.")
    ready = attempted(function)
    return check(found, function, seconds) if ready else Result(found, "not attempted")


def find(id: str) -> Exercise:
    """The exercise of this id; LabError naming the nearest one."""
    if str(id) in EXERCISES:
        return EXERCISES[str(id)]
    near = difflib.get_close_matches(str(id), EXERCISES, 1, 0)[0]
    raise LabError(f"There is no exercise {str(id)!r}: did you mean {near!r}? "
                   "It stands in the exercise's title.")


def hint(id: str, n: int = 1):
    """Print hint 1 (the idea), 2 (the formula) or 3 (almost the code)."""
    if n not in (1, 2, 3):
        raise LabError(f"There is no hint {n!r}: ask for 1, 2 or 3.")
    print(f"Hint {n}, {card.HINTS[n - 1]}: {find(id).hints[n - 1]}")


def solution(id: str):
    """Print the worked solution."""
    print(inspect.getsource(find(id).solution))


def teaching_table(prefix: str = "") -> str:
    """Markdown for the teacher's page: what each exercise trains, and common wrong answers."""
    lines = ["| exercise | trains | difficulty | minutes | points | "
             "common wrong answers, and what the card says |", "|---|---|---|---|---|---|"]
    for e in (e for e in EXERCISES.values() if e.id.startswith(prefix)):
        wrong = "<br>".join(f"{f.__doc__.rstrip('.')}: *{message}*" for f, message in e.mistakes)
        lines.append(f"| **{e.id}** {e.title} | {e.trains} | {e.difficulty} | {e.minutes} "
                     f"| {e.points} | {wrong} |")
    return "\n".join(lines)
