"""Explorers: a panel of controls over results that are already computed. Dragging redraws, it never
retrains.
"""

import io
import time

from labkit.base import LabError


def explorer(figure, update, **controls):
    """A panel: `controls` above `figure`, and a sentence below it. Returns an ipywidgets box;
    display it.

    figure: a matplotlib Figure whose artists exist already. update(**values) changes those artists
    and returns one sentence that says what is seen. It is called with the controls' values at every
    change; the figure is then drawn once more into the same picture (no new axes, no layout: a
    redraw stays under 200 ms). The box has the last redraw time in `box.redraw_ms`. Every control
    can be reached with Tab and moved with the arrow keys.
    """
    import ipywidgets as widgets
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if not controls:
        raise LabError("An explorer needs at least one control: give it as a keyword, e.g. "
                       "strength=widget.")
    figure.set_layout_engine("none")
    canvas = FigureCanvasAgg(figure)
    picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
    sentence = widgets.HTML()
    row = widgets.HBox(list(controls.values()), layout=widgets.Layout(flex_flow="row wrap"))
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
    import ipywidgets as widgets

    return widgets.Dropdown(**_given(label, options, value))


def slider(label, options, value=None):
    """A slider over a list of values, or of (text, value) pairs; arrow keys move it one step."""
    import ipywidgets as widgets

    layout = widgets.Layout(width="26em")
    return widgets.SelectionSlider(**_given(label, options, value), layout=layout)


def _given(label, options, value):
    given = {"options": options, "description": label, "style": {"description_width": "initial"}}
    return given if value is None else given | {"value": value}
