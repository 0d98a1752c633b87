"""One look for every notebook: colours that mean the same everywhere, large type, intervals."""

import matplotlib.pyplot as plt
import numpy as np

from labkit.measure import intervals

# Okabe and Ito's palette: told apart with any colour vision; markers repeat what colours say.
COLOURS = {"original": "#0072B2", "unlearned": "#E69F00", "retrained": "#009E73",
           "attack": "#D55E00", "defence": "#CC79A7", "other": "#666666"}
MARKERS = dict(zip(COLOURS, "osD^Px", strict=True))
# Several unlearned models in one figure: shades of one hue, and a marker each.
SHADES = (("#E69F00", "s"), ("#8A5A00", "v"), ("#F2C879", "o"))


def style():
    """Set matplotlib's defaults for the course: readable from the last row of a lecture hall."""
    plt.rcParams.update({
        "figure.figsize": (8, 4.5), "figure.constrained_layout.use": True,
        "savefig.facecolor": "white", "font.size": 13, "axes.titlesize": 14, "axes.labelsize": 13,
        "legend.fontsize": 12, "xtick.labelsize": 12, "ytick.labelsize": 12,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
        "grid.alpha": 0.25, "lines.linewidth": 2.2, "lines.markersize": 7, "legend.frameon": False,
    })


def band(ax, x, runs, role, label=None, clusters=None, limits=None, **line):
    """Mean with its 95 % band, if there are several units. x: (p,), runs: (seeds, p) -> the line.

    clusters: the seed of each row, where rows are targets; limits: (0, 100) for shares in percent.
    """
    runs = np.asarray(runs, float)
    mean, low, high = np.array([intervals.interval(v, clusters, limits) for v in runs.T]).T
    known, colour = np.isfinite(low), COLOURS[role]
    ax.fill_between(np.asarray(x, float)[known], low[known], high[known], color=colour, alpha=0.2,
                    linewidth=0)
    return ax.plot(x, mean, color=colour, marker=MARKERS[role], label=label or role, **line)[0]


def interval(ax, x, y, role, label=None, shade=None, limits=None, clusters=None, **style):
    """A point with its 95 % interval. x, y: a number, or one a seed (with clusters, a target).

    shade: number of the shade among SHADES, where several unlearned models share a figure.
    """
    def middle(v):
        if np.size(v) < 2:
            return float(np.squeeze(v)), None
        mean, low, high = intervals.interval(v, clusters, limits)
        return mean, [[mean - low], [high - mean]] if np.isfinite(low) else None

    (x_mean, x_err), (y_mean, y_err) = middle(x), middle(y)
    colour, marker = (COLOURS[role], MARKERS[role]) if shade is None else SHADES[shade]
    return ax.errorbar(x_mean, y_mean, xerr=x_err, yerr=y_err, fmt=marker, color=colour,
                       label=label, capsize=3, **style)


def log_axis(ax, values, label):
    """A logarithmic x axis that names the tried values themselves, at most five of them."""
    ax.set_xscale("log")
    shown = list(values) if len(values) <= 5 else list(values[:: -(-len(values) // 4)])
    ax.set_xticks(shown, [f"{v:g}" for v in shown])
    ax.set_xticks([], minor=True)
    ax.set_xlabel(label)


def reference(ax, runs, role, label, horizontal=True, limits=None):
    """A line with a 95 % band across the axes, for retraining and the original. runs: (seeds,)."""
    mean, low, high = intervals.interval(runs, limits=limits)
    span, line = (ax.axhspan, ax.axhline) if horizontal else (ax.axvspan, ax.axvline)
    if np.isfinite(low):
        span(low, high, color=COLOURS[role], alpha=0.15, linewidth=0)
    return line(mean, color=COLOURS[role], linestyle="--", label=label)
