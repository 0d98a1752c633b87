"""The figures of the notebook on SISA. `figures` is course.figures: colours, markers, intervals."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .code import storage
from .streams import NAMES


def grid(figures, visits, where):
    """What each training step visits, by shard; hatched: made again for a row. -> figure

    visits: (S, R) whole numbers; where: (shard, slice) of the deleted row, from 0.
    """
    S, R = visits.shape
    fig, ax = plt.subplots(figsize=(7.5, 4.2))
    for s in range(S):
        for r in range(R):
            again = s == where[0] and r >= where[1]
            ax.barh(s, 0.94, left=r, height=0.8, edgecolor="white", alpha=0.9 if again else 0.18,
                    color=figures.COLOURS["unlearned" if again else "other"],
                    hatch="//" if again else None)
            ax.text(r + 0.47, s, f"{visits[s, r]:,}", ha="center", va="center",
                    fontweight="bold" if again else None)
    ax.set(xlabel="training step r, on the rows of slices 1 to r", ylabel="shard",
           xticks=np.arange(R) + 0.47, xticklabels=range(1, R + 1),
           yticks=range(S), yticklabels=range(1, S + 1),
           title="Visits of each step; hatched: made again for one row")
    ax.invert_yaxis()
    ax.grid(False)
    return fig


def speedups(figures, counts, share):
    """Speed-up of a batch against its size: lines from share(S, R, K), points counted. -> figure"""
    fig, axes = plt.subplots(1, 2, figsize=(10, 4.6), sharey=True)
    for ax, S in zip(axes, (5, 20), strict=True):
        for R, line, shade in ((1, "-", 1), (10, "--", 0)):
            K = np.unique(np.geomspace(1, 6 * S, 40).round().astype(int))
            ax.plot(K, [1 / share(S, R, int(k)) for k in K], line,
                    color=figures.SHADES[shade][0], label=f"formula, R = {R}")
            for k, part in counts[(counts.S == S) & (counts.R == R)].groupby("K"):
                figures.interval(ax, [k], (part.whole / part.visits).to_numpy(), "unlearned",
                                 f"counted, R = {R}" if k == 1 else None, shade)
        ax.axhline(1, color=figures.COLOURS["retrained"], linestyle=":", label="retraining")
        ax.set(title=f"{S} shards", xlabel="requests in one batch, K", xscale="log", yscale="log")
        ax.set_xticks([1, S, 3 * S, 5 * S], ["1", f"S = {S}", f"{3 * S}", f"{5 * S}"])
        ax.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
        ax.minorticks_off()
    axes[0].set_ylabel("speed-up over retraining (visits)")
    axes[1].legend()
    return fig


def _points(figures, ax, x, runs, label, role="unlearned", shade=None, line="-", nudge=1.0):
    """Means with their 95 % intervals as whiskers, and a line through them. runs: one a point."""
    colour = figures.COLOURS[role] if shade is None else figures.SHADES[shade][0]
    x = nudge * np.asarray(x, float)  # side by side where the means are equal
    ax.plot(x, [np.mean(r) for r in runs], line, color=colour, linewidth=1.6)
    for i, (at, r) in enumerate(zip(x, runs, strict=True)):
        figures.interval(ax, [at], r, role, label if i == 0 else None, shade, limits=(0, 100))


def accuracy(figures, of, shards):
    """Test accuracy against the number of shards. of(S, column) -> values by seed. -> figure"""
    fig, ax = plt.subplots(figsize=(8, 4.6))
    figures.reference(ax, of(1, "mean"), "original", "one model on all rows", limits=(0, 100))
    for column, label, look in (
            ("mean", "SISA, mean of the softmax", dict(nudge=0.97, shade=0)),
            ("vote", "SISA, vote", dict(nudge=1.03, shade=1, line="--")),
            ("lone", "a lone shard", dict(role="other", line=":"))):
        _points(figures, ax, shards[1:], [of(S, column) for S in shards[1:]], label, **look)
    figures.log_axis(ax, shards, "number of shards, S (1: one model)")
    ax.set(ylabel="test accuracy (%)", title="What the number of shards does to accuracy")
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def payers(figures, who):
    """Recall of rare and of common classes against the number of shards. -> figure"""
    fig, ax = plt.subplots(figsize=(7.5, 4.4))
    layouts = sorted(who.S.unique())
    for column, label, look in (
            ("common", "common classes", dict(shade=0, nudge=0.97)),
            ("rare", "rare classes (a tenth of their rows)", dict(shade=1, line="--", nudge=1.03))):
        _points(figures, ax, layouts, [who[who.S == S][column] for S in layouts], label, **look)
    figures.log_axis(ax, layouts, "number of shards, S (1: one model)")
    ax.set(ylabel="recall on the test set (%)", ylim=(0, 100), title="Who pays for the shards?")
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def partitions(figures, streams, shown=("uniform", "equal-requests", "late", "yours")):
    """Rows and requests of each shard, by partition; first seed. -> figure"""
    fig, axes = plt.subplots(1, len(shown), figsize=(11, 4), sharex=True, sharey=True)
    for ax, rule in zip(axes, shown, strict=True):
        one = streams[streams.rule == rule].iloc[0]
        y, rows = np.arange(len(one.sizes)), 100 * one.sizes / one.sizes.sum()
        ax.barh(y - 0.2, rows, 0.38, color=figures.COLOURS["other"], label="of the rows")
        ax.barh(y + 0.2, one.asked, 0.38, color=figures.COLOURS["unlearned"], hatch="//",
                edgecolor="white", label="of the requests")
        ax.set(title=NAMES[rule].split(" (")[0].split(",")[0], xlabel="share (%)", yticks=y,
               yticklabels=y + 1)
        ax.grid(False, axis="y")
    axes[0].set_ylabel("shard, rarely asked first")
    axes[0].invert_yaxis()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def left_behind(figures, fresh, left):
    """How many rows fresh partitions put in one shard, and how many were left there. -> figure"""
    fig, ax = plt.subplots(figsize=(7.5, 4.4))
    width = max(1, round((fresh.max() - fresh.min()) / 30))  # whole rows, or some bars get more
    ax.hist(fresh, np.arange(fresh.min() - 0.5, fresh.max() + width, width),
            color=figures.COLOURS["retrained"], alpha=0.7,
            label="fresh partitions of the same rows")
    ax.axvline(left, color=figures.COLOURS["attack"], linestyle="--",
               label="after the chosen requests")
    ax.set(xlabel="rows in shard 1", ylabel="partitions (of 1,000)",
           title="What chosen requests leave behind",
           xlim=(min(left, fresh.min()) - 30, fresh.max() + 30))
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def explorer(figures, counts, of, share, *, shards, model, slices):
    """The figure of the explorer, and what redraws it: redraw(S, R, K) -> a sentence.

    share(S, R, K): expected share of all visits; of(S, column): accuracies by seed, measured at
    `slices`; model: a member, whose size the checkpoints have.
    """
    fig = Figure(figsize=(10, 4.2), layout="none")
    left, right = fig.subplots(1, 2)
    fig.subplots_adjust(left=0.08, right=0.98, bottom=0.15, top=0.9, wspace=0.25)
    many = np.unique(np.geomspace(1, 100, 50).round().astype(int))
    star = dict(color="black", markersize=15)
    curve, = left.plot(many, 0 * many + 1.0, color=figures.COLOURS["unlearned"], label="formula")
    dots, = left.plot([], [], "s", color=figures.SHADES[1][0], label="counted")
    here, = left.plot([], [], "*", label="chosen K", **star)
    left.axhline(1, color=figures.COLOURS["retrained"], linestyle=":", label="retraining")
    left.set(xscale="log", yscale="log", ylim=(0.9, 35), xlabel="requests in one batch, K",
             ylabel="speed-up (visits)")
    left.set_xticks([1, 10, 100], ["1", "10", "100"])
    left.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    left.minorticks_off()
    left.legend(loc="upper right")
    chosen = _accuracies(figures, right, of, shards, star)

    def redraw(S, R, K):
        curve.set_ydata([1 / share(S, R, int(k)) for k in many])
        here.set_data([K], [1 / share(S, R, K)])
        part = counts[(counts.S == S) & (counts.R == R)].groupby("K")[["whole", "visits"]].sum()
        dots.set_data(part.index, part.whole / part.visits)
        left.set_title(f"S = {S}, R = {R}: {1 / share(S, R, K):.1f} times at K = {K}")
        chosen.set_data([S], [of(S, "mean").mean()])
        return (f"{S} shards of {R} slices: a batch of {K} costs {100 * share(S, R, K):.0f} % of "
                f"retraining, test accuracy {of(S, 'mean').mean():.1f} % (measured at R = "
                f"{slices}), {storage(model, S, R) / 1e6:.1f} MB of checkpoints.")

    return fig, redraw


def _accuracies(figures, ax, of, shards, star):
    """The explorer's right half; returns the mark of the chosen number of shards."""
    for column, role, line, label in (("mean", "unlearned", "-s", "SISA"),
                                      ("lone", "other", ":x", "a lone shard")):
        ax.plot(shards, [of(S, column).mean() for S in shards], line,
                color=figures.COLOURS[role], label=label)
    ax.axhline(of(1, "mean").mean(), color=figures.COLOURS["original"], linestyle="--",
               label="one model")
    mark, = ax.plot([], [], "*", **star)
    figures.log_axis(ax, shards, "number of shards, S")
    ax.set_ylabel("test accuracy (%)")
    ax.legend(loc="lower left")
    return mark
