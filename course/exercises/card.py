"""The card below an exercise: HTML with folds and no script, text for terminals, and its state."""

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
STANDS_IN = ("the worked solution stands in, so that the notebook goes on. Change your cell and "
             "run it again.")
HINTS = ("the idea", "the formula", "almost the code")


def show(result):
    """Display the card: HTML, text and state in one output; the text alone outside IPython."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.display import display

    if InteractiveShell.initialized():
        display({MIME: state(result), "text/html": to_html(result), "text/plain": to_text(result)},
                raw=True)
    else:
        print(to_text(result))


def state(result) -> dict:
    """For machines: kind, id, state, points, and of: the points one can have."""
    exercise = result.exercise
    return {"kind": "exercise", "id": exercise.id, "state": result.state,
            "points": result.points, "of": exercise.points}


def to_text(result) -> str:
    """The card for a terminal. Hints and solution are a call away, as a terminal cannot fold."""
    title, facts, says = _parts(result)
    id = result.exercise.id
    help = (f'Hints: course.exercises.hint("{id}", 1), then 2, 3. '
            f'Solution: course.exercises.solution("{id}")')
    return "\n  ".join([title, facts, *map(": ".join, says), help])


def to_html(result) -> str:
    """The card for a notebook. Text and ground have the page's own colours, dark or light."""
    title, facts, says = _parts(result)
    colour, exercise = LOOKS[result.state][2], result.exercise
    shown = _code if result.state == "right" else html.escape  # a learner's code shows as it is
    body = [f"<p><b>{name}</b>: {shown(text)}</p>" for name, text in says]
    body += [_fold(f"Hint {i}: {name}", f"<p>{_code(text)}</p>")
             for i, (name, text) in enumerate(zip(HINTS, exercise.hints, strict=True), 1)]
    source = html.escape(inspect.getsource(exercise.solution))
    body.append(_fold("Worked solution",
                      f"<pre style='overflow-x:auto'><code>{source}</code></pre>"))
    return (f'<div style="border:1px solid {colour};border-left-width:8px;border-radius:4px;'
            'padding:0.4em 1em;margin:0.4em 0;max-width:60em">'
            f"<p><b>{html.escape(title)}</b><br><small>{facts}</small></p>{''.join(body)}</div>")


def _parts(result):
    """Title, facts, and what the card says: (name, text)."""
    exercise, n, (sign, words, _) = result.exercise, result.exercise.points, LOOKS[result.state]
    differs = {"What differs": result.what, "Likely cause": result.cause, "Now": STANDS_IN}
    says = {"right": {"Remark": exercise.remark, "Mind": result.what},
            "not attempted": {}}.get(result.state, differs)
    return (f"{sign} Exercise {exercise.id} · {exercise.title}: {words}",
            f"difficulty {exercise.difficulty} of 5 · {exercise.minutes} minutes · "
            f"{n} point{'s' * (n != 1)}", [(name, text) for name, text in says.items() if text])


def _fold(summary, content):
    return f"<details><summary>{summary}</summary>{content}</details>"


def _code(text):
    """Escaped, with `...` as code and line breaks kept."""
    parts = html.escape(text).split("`")
    parts[1::2] = [f"<code>{p}</code>" for p in parts[1::2]]
    return "".join(parts).replace("\n", "<br>")
