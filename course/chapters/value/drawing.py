"""Figures of notebook 14. figures: course.figures, given by the notebook."""

import matplotlib.pyplot as plt
import numpy as np

from labkit.measure import interval

ROLES = {"sharded": "attack", "Shapley": "original", "leave-one-out": "defence", "random": "other"}
LINES = {"MCS": "other", "US": "original", "PUS": "retrained"}


def _bars(ax, game, values, figures, label, shift=0.0, role="original", hatch=None):
    there = np.concatenate(game.shards)
    at = np.arange(len(there)) + shift
    return ax.bar(at, 100 * values[there], 0.4, color=figures.COLOURS[role], label=label,
                  hatch=hatch)


def _shard_lines(ax, game):
    edges = np.cumsum([len(d) for d in game.shards])[:-1] - 0.5
    for x in edges:
        ax.axvline(x, color="#666666", linewidth=1, linestyle=":")
    middles = np.cumsum([0, *map(len, game.shards)])
    ax.set_xticks([(a + b - 1) / 2 for a, b in zip(middles, middles[1:], strict=False)],
                  [f"shard {j + 1}" for j in range(len(game.shards))])
    ax.grid(axis="x", visible=False)
    ax.axhline(0, color="black", linewidth=0.8)


def values(figures, game, sharded, plain):
    """Each owner's sharded and plain value, shard by shard."""
    fig, ax = plt.subplots(figsize=(9, 4))
    _bars(ax, game, sharded, figures, "sharded value", -0.2, "attack")
    _bars(ax, game, plain, figures, "plain Shapley value", 0.2, "original", "//")
    _shard_lines(ax, game)
    ax.set_ylabel("value, points of accuracy")
    ax.legend(loc="upper right", ncols=2)
    ax.margins(y=0.2)
    return fig


def growth(figures, sizes, grown, shards):
    """What exact values cost, by the number of owners."""
    fig, ax = plt.subplots(figsize=(8, 3.8))
    names = ("model fits", "utilities of sharded values", "utilities of plain Shapley values")
    for name, y, role in zip(names, grown, ("retrained", "attack", "original"), strict=True):
        ax.plot(sizes, y, marker=figures.MARKERS[role], color=figures.COLOURS[role], label=name)
    ax.axhline(1e6, color=figures.COLOURS["other"], linestyle="--", label="a million")
    ax.set_yscale("log")
    ax.set_xlabel(f"owners, in {shards} shards")
    ax.set_ylabel("number")
    ax.legend()
    return fig


def errors(figures, found, budgets):
    """Mean absolute error of three samplers by utility calls. found: (name, calls) -> (markets,)
    """
    fig, ax = plt.subplots(figsize=(8, 4))
    for name, role in LINES.items():
        for i, calls in enumerate(budgets):
            figures.interval(ax, calls * {"MCS": 0.93, "US": 1, "PUS": 1.07}[name],
                             100 * np.array(found[name, calls]), role,
                             name if i == 0 else None, limits=(0, 1000))
    ax.set_yscale("log")
    figures.log_axis(ax, budgets, "utility calls")
    ax.set_ylabel("mean absolute error, points")
    ax.legend()
    return fig


def leaving(figures, trials):
    """Error after an exit: keep the old values, recompute, estimate the change."""
    fig, ax = plt.subplots(figsize=(8, 4))
    names = {"nothing": ("keep the old values", "other"), "recompute": ("recompute", "original"),
             "change": ("estimate the change", "retrained")}
    for i, (key, (label, role)) in enumerate(names.items()):
        for x, who in enumerate(("one", "several")):
            figures.interval(ax, x + 0.18 * (i - 1), 100 * np.array([t[who, key] for t in trials]),
                             role, label if x == 0 else None, limits=(0, 1000))
    ax.set_xticks([0, 1], ["one owner leaves", "5 % leave"])
    ax.set_xlim(-0.5, 1.5)
    ax.set_ylabel("mean absolute error, points")
    ax.set_ylim(bottom=0)
    ax.legend()
    return fig


def removal(figures, curves):
    """Test accuracy by share removed, a line a rule, with bands over markets."""
    fig, ax = plt.subplots(figsize=(8, 4.3))
    for name, role in ROLES.items():
        runs = 100 * np.array([c[name] for c in curves])
        x = np.linspace(0, 50, runs.shape[1])
        if len(runs) > 1:
            figures.band(ax, x, runs, role, name, limits=(0, 100), markevery=3)
        else:
            ax.plot(x, runs[0], color=figures.COLOURS[role], label=name)
    ax.set_xlabel("owners removed, best paid first, %")
    ax.set_ylabel("test accuracy, %")
    ax.legend()
    return fig


def shards(figures, trials):
    """Fall of accuracy with half removed, by number of shards, beside random owners."""
    fig, ax = plt.subplots(figsize=(8, 3.8))
    counts = list(trials[0])
    for part, label, role in ((0, "best paid half", "attack"), (1, "random half", "other")):
        for x, m in enumerate(counts):
            figures.interval(ax, x + 0.1 * part - 0.05, 100 * np.array(
                [t[m][part] for t in trials]), role, label if x == 0 else None)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set_xticks(range(len(counts)), [f"{m} shards" for m in counts])
    ax.set_ylabel("fall of accuracy, points")
    ax.legend()
    return fig


def payroll(figures, gains):
    """What each scheme adds to an owner's pay. gains: name -> (values, clusters)"""
    fig, ax = plt.subplots(figsize=(8, 4))
    for x, (name, (gain, of)) in enumerate(gains.items()):
        role = "retrained" if name == "fresh rows" else "attack"
        many = len(set(of)) > 1
        figures.interval(ax, x, 100 * np.array(gain), role, clusters=of if many else None)
        ax.plot(x + 0.15 + np.linspace(0, 0.15, len(gain)), 100 * np.array(gain), ".",
                color=figures.COLOURS["other"], markersize=5)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set_xticks(range(len(gains)), ["two names,\ntwo shards", "two names,\none shard",
                                      "copies in\nanother shard", "new rows in\nanother shard"])
    ax.set_xlim(-0.5, len(gains) - 0.3)
    ax.set_ylabel("change of pay, % of all pay")
    return fig


def explorer(figures, game, before, after):
    """Who leaves, and what the others' values become. after: owner -> values -> (figure, function)
    """
    fig, ax = plt.subplots(figsize=(9, 4), layout="none")
    fig.subplots_adjust(left=0.1, right=0.98, bottom=0.12, top=0.95)
    _bars(ax, game, before, figures, "before", -0.2, "original")
    start = next(iter(after))
    later = _bars(ax, game, after[start], figures, "after the exit", 0.2, "retrained", "//")
    _shard_lines(ax, game)
    ax.set_ylabel("value, points of accuracy")
    ax.legend(loc="upper right", ncols=2)
    every = 100 * np.concatenate([before, *after.values()])
    ax.set_ylim(min(every.min() * 1.15, -0.5), every.max() * 1.25)
    there = np.concatenate(game.shards)

    def redraw(owner):
        for bar, v in zip(later, 100 * after[owner][there], strict=True):
            bar.set_height(v)
        change = 100 * (after[owner] - before)
        change[owner] = 0
        own = (game.of == game.of[owner]) & (np.arange(len(game.of)) != owner)
        rest = game.of != game.of[owner]
        return (f"Owner {owner + 1} leaves, worth {100 * before[owner]:.1f} points. Mates in its "
                f"shard move by {np.abs(change[own]).mean():.2f} points on average, owners of "
                f"other shards by {np.abs(change[rest]).mean():.2f}.")

    redraw(start)
    return fig, redraw


def share(values, clusters=None, digits=1):
    """Points of accuracy or percent with their interval, as text."""
    values = 100 * np.asarray(values, float)
    middle, low, high = interval(values, clusters) if len(values) > 1 else (values[0], np.nan, 0)
    if not np.isfinite(low):
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
