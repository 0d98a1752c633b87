"""Figures, tables and words of the chapter, from made-up numbers."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course import figures
from course.chapters import certified as here
from course.chapters.certified import convex, drawing, telling

GRID = (0.0, 0.1, 1.0)
SIGMAS = (0.001, 0.01, 0.1, 100.0)


def trial(shift):
    return {"sweep": {"step": np.array([9.0, 0.5, 0.1]) + shift,
                      "residual": np.array([40.0, 0.4, 0.8]) + shift,
                      "gain": np.array([-8.0, 0.1, 0.01]) + shift,
                      "accuracy": np.array([20.0, 75.0, 76.0]) + shift},
            "noisy": np.array([75.0, 74.0, 60.0, 11.0]) + shift, "far": {"once": 3.0 + shift},
            "accuracy": {"original": 76.0 + shift, "coupled": 75.0 - shift}}


TRIALS = [trial(0.01 * i) for i in range(4)]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_figures_name_their_axes_and_use_the_courses_colours():
    ledger = convex.Ledger(0.5, bounds=[0.1, 0.2], residuals=[0.01, 0.02], untouched=[0.2, 0.4],
                           removals=2)
    slowed = [{name: {"removals": [30 + i, 20, 5], "accuracy": [91, 91, 90 + i]}
               for name in ("on purpose", "at random")} for i in range(3)]
    made = [drawing.two_clouds(figures, 1.0, 0.5, 0.2),
            drawing.sigmas(figures, (0.1, 1, 10), (9, 1, 0.1), (8, 0.9, 0.2)),
            drawing.ledger(figures, ledger), drawing.dampings(figures, GRID, TRIALS, 0.1),
            drawing.solver(figures, {0.5: np.array([1.0, 9.0]), 2.0: np.array([0.9, 0.1])}, 2.0),
            drawing.noise(figures, SIGMAS, TRIALS, 10.0, (1e6, 1e4, 100, 1)),
            drawing.slowed(figures, (0, 0.1, 0.5), slowed)]
    for fig in made:
        for ax in fig.axes:
            assert ax.get_xlabel() and ax.get_ylabel()
    colours = {line.get_color() for line in made[3].axes[0].lines}
    assert figures.COLOURS["unlearned"] in colours and figures.COLOURS["original"] in colours


def test_the_explorer_moves_one_marker_and_says_what_is_seen():
    fig, redraw = drawing.explorer(figures, SIGMAS, TRIALS, 10.0)
    before = len(fig.axes[0].lines)
    said = redraw(0.01, "a promise")
    assert "σ = 0.01" in said and "a promise" in said and "74 %" in said
    assert len(fig.axes[0].lines) == before
    assert redraw(100.0, "a promise") != said


def test_a_table_leaves_out_where_the_theorem_does_not_hold():
    bounds = np.array([[np.inf, 60.0, 44.0], [np.inf, np.inf, 42.0]])
    table = telling.by_damping(GRID, TRIALS[:2], bounds, 20.0)
    assert list(table["theorem holds"]) == ["0 of 2", "1 of 2", "2 of 2"]
    assert list(table["its bound / 2C"]) == ["—", "3", "2.15"]
    assert list(table["λ"]) == ["0", "0.1", "1"]


def test_words_for_intervals_and_large_numbers():
    assert telling.side([1.0, 1.1, 0.9]) == "yes" and telling.side([-1.0, -1.1, -0.9]) == "no"
    assert telling.side([-1.0, 1.0, 0.1], neither="open") == "open"
    assert telling.epsilon_words(12.3) == "12" and telling.epsilon_words(1e6) == "10^6.0"
    np.testing.assert_array_equal(telling.each(TRIALS, "far", "once"), [3.0, 3.01, 3.02, 3.03])


def test_receipts_are_counted_by_test():
    trials = [{"real": [True, True, True], "fake": [True, False, False]},
              {"real": [True, True, False], "fake": [True, False, True]}]
    table = telling.receipts(trials)
    assert list(table["model changed"]) == ["2 of 2", "2 of 2"]
    assert list(table["unknown id refused"]) == ["2 of 2", "0 of 2"]
    assert list(table["retraining is nearer"]) == ["1 of 2", "1 of 2"]


def test_every_name_that_is_promised_is_there():
    assert all(hasattr(here, name) for name in here.__all__)
