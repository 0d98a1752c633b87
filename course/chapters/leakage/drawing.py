"""Figures of the chapter. Each gets the module course.figures first, and numbers that are there."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import AutoLocator
from scipy.stats import norm

from labkit.measure import interval

from .shadows import TARGETS
from .ulira import gaussians

UNIT, HALF = (0, 1), 0.5


def label_falls(figures, falls, classes, c):
    """Mean change of the probes of each class after a half of class c was deleted, two ways.

    falls: method -> (k,).
    """
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    ways = (("ascent", "unlearned", "one step of ascent"), ("exact", "retrained", "retraining"))
    for ax, (how, role, title) in zip(axes, ways, strict=True):
        at = np.arange(len(classes))
        ax.bar(at, np.asarray(falls[how]), color=[figures.COLOURS[role if i == c else "other"]
                                                  for i in at])
        ax.axhline(0, color="black", linewidth=1)
        names = [f"{name} *" if i == c else f"{name}" for i, name in enumerate(classes)]
        ax.set_xticks(at, names, rotation=60, ha="right", fontsize=9)
        ax.set_title(title)
    axes[0].set_ylabel("change of confidence")
    return fig


def two_answers(figures, pairs, rows, titles, classes):
    """Answers of both versions to some rows, and below them the change; the own label has a star.
    """
    fig, axes = plt.subplots(2, len(rows), figsize=(9, 5.2), sharey="row", sharex="col",
                             height_ratios=(3, 2))
    at = np.arange(len(classes))
    for (ax, below), i, title in zip(axes.T, rows, titles, strict=True):
        for p, role, label, shift in ((pairs.before, "original", "before", -0.2),
                                      (pairs.after, "retrained", "after", 0.2)):
            ax.bar(at + shift, p[i], 0.4, color=figures.COLOURS[role], label=label)
        below.bar(at, pairs.after[i] - pairs.before[i], color=figures.COLOURS["other"])
        below.axhline(0, color="black", linewidth=1)
        names = [f"{name} *" if c == pairs.y[i] else f"{name}" for c, name in enumerate(classes)]
        below.set_xticks(at, names, rotation=60, ha="right", fontsize=9)
        ax.set_title(title)
    axes[0, 0].set_ylabel("probability")
    axes[1, 0].set_ylabel("after less before")
    axes[0, 0].set_ylim(0, 1)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def contests(figures, found):
    """AUC of both attacks with one version and of that with two, for each victim. found: contests.
    """
    fig, ax = plt.subplots(figsize=(8.5, 4))
    for at, result in enumerate(found.values()):
        for key, role, marker, label, shift in (
                ("classic", "other", "o", "one version (classic)", -0.2),
                ("label", "other", "s", "one version, own label", 0),
                ("two", "attack", "P", "two versions", 0.2)):
            figures.interval(ax, at + shift, result[key], role, label=label if not at else None,
                             limits=UNIT).lines[0].set_marker(marker)
    _finished(fig, ax, list(found), "AUC over originals")
    return fig


ATTACKERS = (("o", "plain attacker", -0.2), ("P", "adaptive: knows the rule", 0.0),
             ("X", "guesses the rule", 0.2))


def rules(figures, found, private):
    """AUC under each rule, for the attackers who know it, who do not, and who guess.

    found: rule -> (plain, adaptive) or (plain, adaptive, guessing), lists of AUC; private: the same
    for the linear models. None where there is no such attacker.
    """
    fig, ax = plt.subplots(figsize=(9, 4.4))
    names = [*found, *private]
    for at, name in enumerate(names):
        for values, (marker, _, shift) in zip((found | private)[name], ATTACKERS, strict=False):
            if values is not None:
                figures.interval(ax, at + shift, values, "attack", limits=UNIT,
                                 label=None).lines[0].set_marker(marker)
    for marker, label, _ in ATTACKERS:
        ax.plot([], [], marker, color=figures.COLOURS["attack"], label=label)
    if private:
        ax.axvline(len(found) - 0.5, color="grey", linewidth=1)
        ax.text(len(found) - 0.45, 1.03, "linear models", fontsize=11)
        ax.text(len(found) - 0.55, 1.03, "network", fontsize=11, ha="right")
    _finished(fig, ax, names, "AUC over originals")
    ax.set_ylim(None, 1.09)
    return fig


def methods(figures, found):
    """AUC of both attacks in every judged world, mean and interval. found: method -> contest."""
    fig, ax = plt.subplots(figsize=(9, 4.4))
    for at, (name, result) in enumerate(found.items()):
        role = {"untouched": "original", "retraining": "retrained"}.get(name, "unlearned")
        figures.interval(ax, at - 0.12, result["row"], role, limits=UNIT, label=None)
        figures.interval(ax, at + 0.12, result["population"], "other", limits=UNIT,
                         label="one rule for all rows" if not at else None)
    for role, label in (("original", "row by row, untouched"), ("unlearned", "row by row, "
                        "unlearned"), ("retrained", "row by row, retrained")):
        ax.plot([], [], figures.MARKERS[role], color=figures.COLOURS[role], label=label)
    _finished(fig, ax, list(found), "AUC over judged networks")
    return fig


def _finished(fig, ax, names, ylabel):
    ax.axhline(HALF, color="black", linestyle=":", linewidth=1.5, label="a coin")
    ax.set_xticks(range(len(names)), [name if "=" in name else name.replace(" ", "\n", 1)
                                      for name in names])
    ax.set_ylabel(ylabel)
    fig.legend(loc="outside lower center", fontsize=11, ncols=4)


def row_panels(figures, scores, inside, row, names):
    """Scores of one row's shadows on both sides, with their Gaussians; a panel a method."""
    fig, axes = plt.subplots(1, len(names), figsize=(10, 3.8), sharex=True, sharey=True)
    for ax, name in zip(axes, names, strict=True):
        _row(ax, figures, scores[name], inside, row)
        ax.set_title(name)
        ax.set_xlabel("logit confidence")
    axes[0].set_ylabel("density")
    _no_negative_density(axes[0])
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


SIDES = ((0, "other", "never saw it"), (1, "attack", "had it"))


def _no_negative_density(ax):
    """The ticks of the rows lie below 0, where no density is: the axis has no numbers there."""
    ax.set_yticks([tick for tick in ax.get_yticks() if 0 <= tick <= ax.get_ylim()[1]])


def _row(ax, figures, scores, inside, row):
    """Draw one row's points and Gaussians. -> the artists, two of each side."""
    drawn = []
    grid, values, heights = row_curves(scores, inside, row)
    for side, role, label in SIDES:
        line, = ax.plot(grid, heights[side], color=figures.COLOURS[role], label=label)
        low = -0.06 * max(map(np.max, heights)) * (1 + side)  # a row of ticks a side
        dots, = ax.plot(values[side], np.full(len(values[side]), low), "|", markersize=9,
                        color=figures.COLOURS[role])
        drawn.append((line, dots))
    return drawn


def row_curves(scores, inside, row):
    """x of the curves (200,), the scores of each side, and the two densities there."""
    means, spread = gaussians(scores[:, [row]], inside[:, [row]])
    low, high = scores[:, row].min(), scores[:, row].max()
    grid = np.linspace(low - 1, high + 1, 200)
    values = [scores[inside[:, row] == bool(side), row] for side in (0, 1)]
    return grid, values, [norm.pdf(grid, means[side, 0], spread[side, 0]) for side in (0, 1)]


def explorer(figures, scores, inside, found, start):
    """Figure and redraw(method, row) of one target's shadows, `start` first. -> (figure, function)
    """
    fig, ax = plt.subplots(figsize=(8, 4), layout="none")
    fig.subplots_adjust(left=0.12, right=0.97, bottom=0.16, top=0.96)
    first = next(iter(scores))
    drawn = _row(ax, figures, scores[first], inside, start)
    ax.set_xlabel("logit confidence in the row's label")
    ax.set_ylabel("density")
    ax.legend(loc="upper left")

    def redraw(method, row):
        grid, values, heights = row_curves(scores[method], inside, row)
        top = max(map(np.max, heights))
        for (line, dots), v, height in zip(drawn, values, heights, strict=True):
            line.set_data(grid, height)
            dots.set_data(v, np.full(len(v), -0.06 * top * (1 + (dots is drawn[1][1]))))
        ax.set_xlim(grid[0], grid[-1])
        ax.yaxis.set_major_locator(AutoLocator())
        ax.set_ylim(-0.2 * top, 1.35 * top)
        _no_negative_density(ax)
        apart = (values[1].mean() - values[0].mean()) / np.sqrt(
            (values[1].var(ddof=1) + values[0].var(ddof=1)) / 2)
        order = np.argsort(-np.asarray(found[method]))
        place = int(np.where(order == row)[0][0]) + 1
        return (f"{method}, target {row}: the means of the two sides lie {apart:.2f} deviations "
                f"apart, in place {place} of {TARGETS} by that distance.")

    redraw(first, start)
    return fig, redraw


def quality(figures, gap, halvings, ceiling):
    """Gap to retraining and forgetting quality F side by side, a line a method, the best on top.

    gap: method -> numbers, points; halvings: method -> H of each target; ceiling: H of retraining
    against retraining.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    names = sorted(halvings, key=lambda m: np.mean(gap[m]))
    for at, name in enumerate(names):
        role = "original" if name == "untouched" else "unlearned"
        for ax, values, limits in ((left, gap[name], None), (right, halvings[name], UNIT)):
            mean, low, high = interval(values, None, limits)
            ax.errorbar(mean, at, xerr=[[mean - low], [high - mean]], fmt=figures.MARKERS[role],
                        color=figures.COLOURS[role], capsize=4)
    mean, low, high = interval(ceiling, None, UNIT)
    right.axvspan(low, high, color=figures.COLOURS["retrained"], alpha=0.15, linewidth=0)
    right.axvline(mean, color=figures.COLOURS["retrained"], linestyle="--",
                  label="retraining against retraining")
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    left.set_xlim(0, None)
    right.set_xlim(0, None)
    left.set_xlabel("gap to retraining, points: small is good")
    right.set_xlabel("forgetting quality F: large is good")
    fig.legend(loc="outside lower center", fontsize=11)
    return fig
