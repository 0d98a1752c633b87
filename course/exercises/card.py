"""The card below an exercise: HTML with folds and no script, a text twin for terminals, and the state for machines."""

import html
import inspect

MIME = "application/vnd.labkit+json"
LOOKS = {  # state -> (sign, words, colour of the edge: Okabe and Ito's palette)
    "right": ("✓", "right", "#009E73"),
    "wrong": ("✗", "not yet right", "#D55E00"),
    "error": ("!", "your code raised an exception", "#CC79A7"),
    "timeout": ("⧗", "stopped: it took too long", "#E69F00"),
    "not attempted": ("○", "not attempted, the worked solution stands in", "#0072B2"),
}
STANDS_IN = "The worked solution stands in, so that the notebook goes on. Change your cell and run it again."
HINTS = ("the idea", "the formula", "almost the code")


def show(result):
    """Display the card of a check: HTML, text and state in one output; the text alone outside IPython."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.display import display

    if InteractiveShell.initialized():
        display({MIME: state(result), "text/html": to_html(result), "text/plain": to_text(result)}, raw=True)
    else:
        print(to_text(result))


def state(result) -> dict:
    """For machines: kind, id, state, points, and of: the points one can have."""
    exercise = result.exercise
    return {"kind": "exercise", "id": exercise.id, "state": result.state, "points": result.points,
            "of": exercise.points}


def to_text(result) -> str:
    """The card for a terminal. Hints and solution are a call away, as a terminal cannot fold."""
    sign, words, _ = LOOKS[result.state]
    exercise = result.exercise
    lines = [f"{sign} {_title(exercise)}: {words}", f"  {_facts(exercise)}"]
    lines += [f"  {name}: {text}" for name, text in _says(result)]
    lines += [f"  {STANDS_IN}"] if result.state not in ("right", "not attempted") else []
    place = "course.exercises"
    lines += [f'  Hints: {place}.hint("{exercise.id}", 1), then 2, 3. Solution: {place}.solution("{exercise.id}")']
    return "\n".join(lines)


def to_html(result) -> str:
    """The card for a notebook. Colours of text and ground are the page's own, so it reads in dark and light."""
    sign, words, colour = LOOKS[result.state]
    exercise = result.exercise
    plain = result.state != "right"  # what a learner's code says is shown as it is
    body = [f"<p><b>{name}</b>: {html.escape(text) if plain else _code(text)}</p>" for name, text in _says(result)]
    body += [f"<p>{STANDS_IN}</p>"] if result.state not in ("right", "not attempted") else []
    body += [_fold(f"Hint {i}: {name}", f"<p>{_code(text)}</p>")
             for i, (name, text) in enumerate(zip(HINTS, exercise.hints, strict=True), 1)]
    source = html.escape(inspect.getsource(exercise.solution))
    body += [_fold("Worked solution", f"<pre style='overflow-x:auto'><code>{source}</code></pre>")]
    return (f'<div style="border:1px solid {colour};border-left-width:8px;border-radius:4px;padding:0.4em 1em;'
            f'margin:0.4em 0;max-width:60em"><p><b>{sign} {html.escape(_title(exercise))}: {words}</b><br>'
            f"<small>{_facts(exercise)}</small></p>{''.join(body)}</div>")


def _says(result):
    if result.state == "right":
        return [(name, text) for name, text in (("Remark", result.exercise.remark), ("Mind", result.what)) if text]
    return [(name, text) for name, text in (("What differs", result.what), ("Likely cause", result.cause)) if text]


def _title(exercise):
    return f"Exercise {exercise.id} · {exercise.title}"


def _facts(exercise):
    n = exercise.points
    return f"difficulty {exercise.difficulty} of 5 · {exercise.minutes} minutes · {n} point{'s' * (n != 1)}"


def _fold(summary, content):
    return f"<details><summary>{summary}</summary>{content}</details>"


def _code(text):
    """Escaped, with `...` as code and line breaks kept."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts)).replace("\n", "<br>")
