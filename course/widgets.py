"""Explorers: a panel of controls over results that are there. Dragging redraws, never retrains."""

import io
import time

import ipywidgets as widgets
from matplotlib.backends.backend_agg import FigureCanvasAgg

from labkit.base import LabError


def explorer(figure, update, **controls):
    """A panel: `controls` above `figure`, a sentence below it -> an ipywidgets box to display.

    figure: a matplotlib Figure whose artists exist already. update(**values) gets the controls'
    values at every change, changes those artists and returns one sentence that says what is seen.
    The figure is then drawn into the same picture: no new axes, no layout, so that a redraw stays
    under 200 ms (`box.redraw_ms` is the last one's time). All controls work by Tab and arrow keys.
    """
    if not controls:
        raise LabError("An explorer needs at least one control: give it as a keyword, e.g. "
                       "strength=widget.")
    figure.set_layout_engine("none")
    canvas = FigureCanvasAgg(figure)
    picture = widgets.Image(format="png", layout={"max_width": "100%"})
    sentence = widgets.HTML()
    row = widgets.HBox(list(controls.values()), layout={"flex_flow": "row wrap"})
    box = widgets.VBox([row, picture, sentence])

    def redraw(change=None):
        start = time.perf_counter()
        seen = update(**{name: control.value for name, control in controls.items()})
        sentence.value = f"<p role='status' aria-live='polite'>{seen}</p>"
        buffer = io.BytesIO()
        canvas.print_png(buffer)
        picture.value = buffer.getvalue()
        box.redraw_ms = 1000 * (time.perf_counter() - start)

    for control in controls.values():
        control.observe(redraw, names="value")
    box.redraw_ms = 0.0
    redraw()
    return box


def dropdown(label, options, value=None):
    """A drop-down list. options: list of values, or (text, value) pairs."""
    return _control(widgets.Dropdown, label, options, value)


def slider(label, options, value=None):
    """A slider over a list of values, or of (text, value) pairs; arrow keys move it one step."""
    return _control(widgets.SelectionSlider, label, options, value, layout={"width": "26em"})


def _control(kind, label, options, value, **looks):
    if value is not None:
        looks["value"] = value
    style = {"description_width": "initial"}
    return kind(options=options, description=label, style=style, **looks)
