"""Figures and explorers: colours that can be told apart, intervals that are drawn, redraws that are
quick.
"""

import ast
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import labkit as lk
from course import figures, widgets
from labkit.base import LabError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _plots():
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    yield
    plt.close("all")


def _lab_colour(hex_colour, matrix):
    """CIE Lab of an sRGB colour as seen through a 3×3 matrix on linear RGB."""
    rgb = np.array([int(hex_colour[i:i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(matrix @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722],
                    [0.0193, 0.1192, 0.9505]]) @ linear
    f = np.where((t := xyz / [0.9505, 1, 1.089]) > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira, Fernandes 2009, severity 1.0
VISION = {
    "usual": np.eye(3),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}


@pytest.mark.parametrize("vision", VISION)
def test_role_colours_are_told_apart(vision):
    """A difference of 10 in CIE Lab is seen at a glance; every role also has a marker of its own.
    """
    seen = {role: _lab_colour(c, VISION[vision]) for role, c in figures.COLOURS.items()}
    for a, b in combinations(seen, 2):
        assert np.linalg.norm(seen[a] - seen[b]) > 10, (vision, a, b)


def test_markers_differ():
    assert len(set(figures.MARKERS.values())) == len(figures.MARKERS) == len(figures.COLOURS)
    assert len({m for _, m in figures.SHADES}) == len(figures.SHADES)


def test_band_draws_mean_and_t_interval():
    import matplotlib.pyplot as plt
    runs = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 9.0]])
    ax = plt.figure().add_subplot()
    line = figures.band(ax, [0, 1], runs, "unlearned")
    assert line.get_ydata() == pytest.approx(runs.mean(0))
    drawn = ax.collections[0].get_paths()[0].vertices[:, 1]
    intervals = [lk.measure.interval(c) for c in runs.T]
    assert drawn.min() == pytest.approx(min(i[1] for i in intervals))
    assert drawn.max() == pytest.approx(max(i[2] for i in intervals))


def test_band_over_targets_is_taken_seed_by_seed():
    import matplotlib.pyplot as plt
    runs, clusters = np.random.default_rng(0).normal([[0.0, 2.0]], 1, (24, 2)), [0] * 12 + [1] * 12
    ax = plt.figure().add_subplot()
    figures.band(ax, [0, 1], runs, "unlearned", clusters=clusters)
    drawn = ax.collections[0].get_paths()[0].vertices[:, 1]
    intervals = [lk.measure.interval(c, clusters) for c in runs.T]
    assert drawn.min() == pytest.approx(min(i[1] for i in intervals))
    assert drawn.max() == pytest.approx(max(i[2] for i in intervals))


def test_the_band_of_a_share_in_percent_ends_at_0_and_100():
    import matplotlib.pyplot as plt
    ax = plt.figure().add_subplot()
    runs, clusters = np.array([[100.0, 0.0, 100.0]] * 11
                              + [[0.0, 0.0, 100.0]]), [0] * 4 + [1] * 4 + [2] * 4
    figures.band(ax, [0, 1, 2], runs, "unlearned", clusters=clusters, limits=(0, 100))
    drawn = ax.collections[0].get_paths()[0].vertices
    assert drawn[:, 1].min() == 0 and drawn[:, 1].max() == 100
    bound = lk.measure.interval([0.0] * 12, clusters, (0, 100))[2]  # none of twelve is not 0 %
    assert drawn[drawn[:, 0] == 1, 1].max() == pytest.approx(bound) and bound > 20
    assert drawn[drawn[:, 0] == 2, 1].min() == pytest.approx(100 - bound)


def test_interval_draws_both_directions():
    import matplotlib.pyplot as plt
    ax = plt.figure().add_subplot()
    bars = figures.interval(ax, [1.0, 2.0, 3.0], [5.0], "original")
    assert bars.has_xerr and not bars.has_yerr
    bars = figures.interval(ax, 0.0, [1.0, 2.0, 3.0], "original", shade=1)
    assert bars.has_yerr and bars[0].get_color() == figures.SHADES[1][0]


def test_log_axis_names_tried_values():
    import matplotlib.pyplot as plt
    ax = plt.figure().add_subplot()
    figures.log_axis(ax, [0.001, 0.01, 0.02, 0.04, 0.06, 0.1], "learning rate")
    labels = [t.get_text() for t in ax.get_xticklabels()]
    assert labels[0] == "0.001" and 3 <= len(labels) <= 5


def _panel():
    import matplotlib.pyplot as plt
    fig, axes = plt.subplots(1, 2, figsize=(10, 4.2))
    axes[0].set_ylim(0, 1)
    lines = [ax.plot(np.zeros(40))[0] for ax in axes for _ in range(4)]
    calls = []

    def update(level, kind):
        calls.append((level, kind))
        for line in lines:
            line.set_ydata(np.full(40, level))
        return f"level {level} of {kind}"

    controls = dict(level=widgets.slider("level", [("low", 0.2), ("high", 0.8)]),
                    kind=widgets.dropdown("kind", ["a", "b"]))
    return widgets.explorer(fig, update, **controls), controls, calls


def test_explorer_redraws_at_every_change():
    box, controls, calls = _panel()
    picture, sentence = box.children[1], box.children[2]
    before = picture.value
    assert before[:8] == b"\x89PNG\r\n\x1a\n" and "level 0.2 of a" in sentence.value
    controls["level"].value = 0.8
    assert picture.value != before and calls[-1] == (0.8, "a")
    controls["kind"].value = "b"
    assert calls[-1] == (0.8, "b") and 'role=\'status\'' in sentence.value


def test_explorer_redraws_within_200_ms():
    box, controls, _ = _panel()
    times = []
    for i in range(10):
        controls["level"].value = (0.2, 0.8)[i % 2 == 0]
        times.append(box.redraw_ms)
    assert np.median(times) < 200, times


def test_explorer_needs_a_control():
    import matplotlib.pyplot as plt
    with pytest.raises(LabError, match="at least one control"):
        widgets.explorer(plt.figure(), lambda: "")


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_every_picture_has_alt_text(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    pictures = [o for c in cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]
    assert pictures
    for output in pictures:
        assert len(output["metadata"].get("image/png", {}).get("alt", "")) >= 40


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks" / "source").glob("*.py")),
                         ids=lambda p: p.stem)
def test_figures_come_through_the_helper(path):
    """plt.show() would bypass the alt text; an explorer has its static twin before it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = [n.func.attr for n in ast.walk(tree) if isinstance(n, ast.Call)
              and isinstance(n.func, ast.Attribute)]
    assert "show" not in [n.func.attr for n in ast.walk(tree) if isinstance(n, ast.Call)
                          and isinstance(n.func, ast.Attribute) and getattr(n.func.value, "id", "")
                          == "plt"]
    assert called.count("figure") >= called.count("explorer")
