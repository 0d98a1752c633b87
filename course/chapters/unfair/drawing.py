"""Figures of the chapter."""

import matplotlib.pyplot as plt
import numpy as np

from labkit.measure import interval

from .nets import REQUESTS
from .never import KINDS
from .telling import POINTS, RISE, rates

LABELS = {"same groups and labels": "same groups\nand labels", "same groups": "same\ngroups",
          "approved of the group": "approved of\nthe group", "without direction":
          "without\ndirection", "by influence": "by\ninfluence", "same label": "same\nlabel",
          "random of the class": "random of\nthe class", "least sure": "least\nsure",
          "noise": "moved at\nrandom"}


def _point(ax, at, values, role, limits, marker=None):
    mean, low, high = interval(values, None, limits)
    ok = np.isfinite(low)
    ax.errorbar(at, mean, yerr=[[mean - low], [high - mean]] if ok else None, capsize=4,
                fmt=marker or "o", color=role)


def _names(ax, names):
    ax.set_xticks(range(len(names)), [LABELS.get(n, n) for n in names])
    ax.set_xlim(-0.5, len(names) - 0.5)


def untouched(figures, one, drawn, splits):
    """Signed gap of untouched models: bootstrap of one split's held-out rows, and all splits.

    one: the gap of the first split; drawn: its bootstrap; splits: the gap of each split.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    colour = figures.COLOURS["original"]
    left.hist(drawn, bins=30, orientation="horizontal", color=colour, alpha=0.5)
    left.axhline(one, color=colour, label="as measured")
    for end in np.quantile(drawn, (0.025, 0.975)):
        left.axhline(end, color=colour, linestyle="--")
    left.set_title("one split, its rows drawn anew")
    left.set_xlabel("drawings")
    left.set_ylabel("signed gap, untouched model")
    right.plot(np.arange(1, len(splits) + 1), splits, "o", color=colour)
    right.set_title("each dot: another split")
    right.set_xlabel("split")
    for ax in (left, right):
        ax.axhline(0, color="black", linewidth=1)
    return fig


def rises(figures, rise, accuracy):
    """Rise of the gap and change of accuracy for each kind of request, exact retraining."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), sharex=True)
    for ax, values, limits in ((left, rise, RISE), (right, accuracy, POINTS)):
        for at, (kind, v) in enumerate(values.items()):
            role = "attack" if kind == "chosen" else "retrained"
            _point(ax, at, v, figures.COLOURS[role], limits, figures.MARKERS[role])
        ax.axhline(0, color=figures.COLOURS["original"], linestyle="--")
        _names(ax, list(values))
        ax.tick_params(axis="x", labelsize=9)
    left.set_ylabel("rise of the signed gap")
    right.axhspan(-1, 1, color="grey", alpha=0.15, linewidth=0)
    right.set_ylabel("change of accuracy, points")
    return fig


def releases(figures, found):
    """Rise of the gap under each kind of unlearning: chosen on a surrogate, and of the same groups.

    found: release -> {kind: values}
    """
    fig, ax = plt.subplots(figsize=(8.5, 3.8))
    for at, by in enumerate(found.values()):
        for shift, kind, role in ((-0.1, "chosen", "attack"), (0.1, "same groups", "other")):
            _point(ax, at + shift, by[kind], figures.COLOURS[role], RISE, figures.MARKERS[role])
    for label, role in (("chosen", "attack"), ("random of the same groups", "other")):
        ax.plot([], [], figures.MARKERS[role], color=figures.COLOURS[role], label=label)
    ax.axhline(0, color=figures.COLOURS["original"], linestyle="--", label="untouched model")
    _names(ax, list(found))
    ax.set_ylabel("rise of the signed gap")
    fig.legend(loc="outside lower center", ncols=3, fontsize=11)
    return fig


def classes(figures, found, name):
    """Recall of the attacked class and accuracy, before and after each request. found: trials."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), sharex=True)
    for at, kind in enumerate(("original", *REQUESTS)):
        role = {"original": "original", "chosen": "attack"}.get(kind, "retrained")
        for ax, j in ((left, 0), (right, 1)):
            _point(ax, at, [f[kind][j] for f in found], figures.COLOURS[role], (0, 100),
                   figures.MARKERS[role])
    for ax, label in ((left, f"recall of “{name}”, %"), (right, "accuracy, %")):
        ax.set_ylabel(label)
        _names(ax, ["original", *REQUESTS])
        ax.tick_params(axis="x", labelsize=10)
    return fig


def pictures(figures, data, rows, name):
    """One own row and its three copies, as pictures."""
    fig, axes = plt.subplots(1, len(rows), figsize=(9, 2.7))
    for ax, kind in zip(axes, rows, strict=True):
        pixels = data.pixels(rows[kind][None])[0].permute(1, 2, 0).numpy()
        ax.imshow(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0,
                  vmax=1)
        ax.set_title({"noise": "moved at random"}.get(kind, kind))
        ax.axis("off")
    return fig


def falls(figures, before, fall):
    """Accuracy on the class after each kind of request, under both unlearners.

    before: of the originals; fall: (unlearner, kind) -> points.
    """
    fig, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for ax, how in zip(axes, ("first-order", "ascent"), strict=True):
        figures.reference(ax, before, "original", "original; exact unlearning of the copies",
                          limits=(0, 100))
        for at, kind in enumerate(KINDS):
            role = "attack" if kind == "pushed" else "unlearned"
            _point(ax, at, np.subtract(before, fall[how, kind]), figures.COLOURS[role], (0, 100),
                   figures.MARKERS[role])
        _names(ax, KINDS)
        ax.tick_params(axis="x", labelsize=10)
        ax.set_title(how)
    axes[0].set_ylabel("accuracy on the class, %")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", fontsize=11)
    return fig


def around(figures, found, names):
    """Robust and clean accuracy around the victims after each plan. found: name -> (networks, 2)"""
    fig, ax = plt.subplots(figsize=(9.5, 4.2))
    for at, name in enumerate(names):
        role = {"original": "original", "chosen": "attack", "without direction": "attack",
                "by influence": "attack"}.get(name, "retrained")
        for shift, j, face in ((-0.1, 0, None), (0.1, 1, "white")):
            mean, low, high = interval(100 * found[name][:, j], None, (0, 100))
            ax.errorbar(at + shift, mean, yerr=[[mean - low], [high - mean]], capsize=4,
                        fmt=figures.MARKERS[role], color=figures.COLOURS[role],
                        markerfacecolor=face)
    ax.plot([], [], "o", color="black", label="under attack")
    ax.plot([], [], "o", color="black", markerfacecolor="white", label="as they are")
    _names(ax, names)
    ax.tick_params(axis="x", labelsize=10)
    ax.set_ylabel("right around victims, %")
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def explorer(figures, panels, shares):
    """Figure and redraw(kind, share): what those who deserve a yes are told, group by group.

    -> (figure, function)
    """
    fig, ax = plt.subplots(figsize=(8, 4), layout="none")
    fig.subplots_adjust(left=0.12, right=0.97, bottom=0.14, top=0.86)
    before = 100 * np.array([rates(p.before["exact"], p) for p in panels])
    roles = (("original", before), ("attack", before))
    dots = [ax.plot(np.arange(2) + 0.2 * i - 0.1, v.mean(0), figures.MARKERS[role],
                    markersize=11, color=figures.COLOURS[role], label=label)[0]
            for i, ((role, v), label) in enumerate(zip(
                roles, ("before", "after the request"), strict=True))]
    lines = [ax.plot([at, at], [0, 1], color="black", linewidth=1.5)[0]
             for at in (-0.1, 0.9, 0.1, 1.1)]
    ax.set_xticks([0, 1], ["group 0", "group 1"])
    ax.set_ylabel("told yes among those who deserve it, %")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    def redraw(kind, share):
        after = 100 * np.array([rates(p.after["exact", kind, share], p) for p in panels])
        for v, dot, pair in ((before, dots[0], lines[:2]), (after, dots[1], lines[2:])):
            ends = [interval(v[:, g], None, (0, 100)) for g in (0, 1)]
            dot.set_ydata([mean for mean, _, _ in ends])
            for (_, low, high), line in zip(ends, pair, strict=True):
                line.set_ydata((low, high))
        rise = (after[:, 0] - after[:, 1] - before[:, 0] + before[:, 1]).mean()
        return (f"{100 * share:g} % of the rows, {kind}: the gap rises by {rise:.1f} points on "
                f"average; group 1 is told yes {after[:, 1].mean():.1f} times in 100, before it "
                f"was {before[:, 1].mean():.1f}.")

    most = [100 * rates(p.after["exact", "chosen", shares[-1]], p).min() for p in panels]
    ax.set_ylim(max(0, np.mean(most) - 10), 100)
    ax.set_xlim(-0.5, 1.5)
    redraw("chosen", shares[-1])
    return fig, redraw
