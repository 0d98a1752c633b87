"""The chapter's figures. looks: the module course.figures, with the course's colours and marks."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from labkit.measure import interval

from .gates import GATES, USELESS
from .judging import SAME, STEP
from .telling import PERCENT

GOAL_MARKS = {"over": ("^", "-", "to make surer"), "under": ("v", "--", "to make unsure")}


def _image(ax, data, x):
    """A row as matplotlib shows it: an image; a row of a table as one line of grey values."""
    if x.dim() != 3:
        ax.imshow(x.cpu()[None], aspect="auto")
    else:
        pixels = data.pixels(x).cpu().permute(1, 2, 0)
        ax.imshow(pixels.squeeze(2) if x.shape[0] == 1 else pixels, cmap="gray_r")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.grid(False)


def one_target(looks, v, j, panels, act):
    """A target, and what each model says of it. panels: (title, role, p (k,), p retrained or None).
    """
    fig, axes = plt.subplots(1, 1 + len(panels), figsize=(11, 3.9), width_ratios=[0.8, 1, 1, 1])
    _image(axes[0], v.data, v.x[j])
    axes[0].set_title("the target")
    order = np.argsort(-v.p[j].cpu().numpy(), kind="stable")[:4][::-1]
    for ax, (title, role, p, exact) in zip(axes[1:], panels, strict=True):
        ax.barh(range(len(order)), p.cpu().numpy()[order], color=looks.COLOURS[role], height=0.6,
                label="first-order unlearning" if role == "unlearned" else "original")
        if exact is not None:
            ax.plot(exact.cpu().numpy()[order], range(len(order)), looks.MARKERS["retrained"],
                    color=looks.COLOURS["retrained"], label="retrained", linestyle="none")
        ax.axvline(act, color="black", linestyle=":", label="acted on above")
        ax.set(xlim=(0, 1.02), xlabel="probability", title=title, yticks=range(len(order)),
               yticklabels=[], xticks=(0, 0.5, 1), xticklabels=("0", "0.5", "1"))
    axes[1].set_yticklabels([v.data.classes[c] for c in order], fontsize=11)
    pairs = dict(zip(*reversed([sum(x, []) for x in zip(*(ax.get_legend_handles_labels() for ax in
                                                          axes[1:]), strict=True)]), strict=True))
    fig.legend(pairs.values(), pairs.keys(), loc="outside lower center", ncols=4)
    return fig


def reliability(looks, answers, bins=10):
    """Share that is right against confidence, bin by bin. answers: (confidence, correct) a network.
    """
    fig, ax = plt.subplots(figsize=(6.4, 4.2))
    edges, means = np.linspace(0, 1, bins + 1), []
    for confidence, correct in answers:
        sure, right = confidence.cpu().numpy(), correct.cpu().numpy()
        which = np.minimum((sure * bins).astype(int), bins - 1)
        means.append([100 * right[which == b].mean() if (which == b).sum() >= 5 else np.nan
                      for b in range(bins)])
    for b, column in enumerate(np.array(means).T):
        seen = column[np.isfinite(column)]
        if len(seen):
            looks.interval(ax, (edges[b] + edges[b + 1]) / 2, seen.tolist(), "original",
                           label="original", limits=PERCENT)
    ax.plot([0, 1], [0, 100], ":", color=looks.COLOURS["other"], label="calibrated")
    ax.set(xlim=(0, 1), ylim=(0, 102), xlabel="confidence", ylabel="right (%)")
    handles, labels = ax.get_legend_handles_labels()
    found = dict(zip(labels, handles, strict=True))
    ax.legend(found.values(), found.keys(), loc="upper left")
    return fig


def arrows(looks, table, victims, act):
    """For each target its confidence before, after random and after chosen requests.

    table: of `against_random`, full budget. Left first-order unlearning, right exact retraining.
    """
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 4.6), sharey=True)
    before = {(i, j): v.p[j].max().item() for i, v in enumerate(victims) for j in range(len(v.x))}
    order = sorted(before, key=before.get)
    for ax, how in zip(axes, (STEP, SAME), strict=True):
        for goal, (_, line, _) in GOAL_MARKS.items():
            part = table[(table.how == how) & (table.goal == goal)].set_index(["i", "j"])
            for at, job in enumerate(order):
                ax.annotate("", (at, part.p[job]), (at, part.p_random[job]), arrowprops=dict(
                    arrowstyle="-|>", color=looks.COLOURS["attack"], linestyle=line, lw=1.6))
            lost = [at for at, job in enumerate(order) if part.kept[job] == 0]
            ax.plot(lost, part.p[[order[at] for at in lost]], "1", color="black", markersize=12,
                    markeredgewidth=2)
        ax.plot(range(len(order)), part.p_random[order], looks.MARKERS["other"], markersize=6,
                color=looks.COLOURS["other"])
        ax.plot(range(len(order)), [before[job] for job in order], looks.MARKERS["original"],
                markersize=4, color=looks.COLOURS["original"])
        ax.axhline(act, color="black", linestyle=":")
        ax.set(xlabel="targets, in one order for both", title=how, ylim=(0, 1.02), xticks=[])
    axes[0].set_ylabel("probability of the label")
    line = plt.Line2D
    colours = looks.COLOURS
    handles = [line([], [], color=colours["original"], marker="o", linestyle="none",
                    label="before any request"),
               line([], [], color=colours["other"], marker="x", linestyle="none",
                    label="random requests"),
               *(line([], [], color=colours["attack"], marker=mark, linestyle=style, label=text)
                 for mark, style, text in GOAL_MARKS.values()),
               line([], [], color="black", marker="1", markersize=12, markeredgewidth=2,
                    linestyle="none", label="label lost"),
               line([], [], color="black", linestyle=":", label="acted on above")]
    fig.legend(handles=handles, loc="outside lower center", ncols=3)
    return fig


def trials(looks, tried, white):
    """Entropy moved as intended against queries. tried, white: tables with move, by goal; white is
    the attack that sees the weights.
    """
    fig, ax = plt.subplots(figsize=(8, 5.2))
    asked = sorted(tried.queries.unique())
    for shift, (goal, (mark, line, text)) in zip((0.97, 1.03), GOAL_MARKS.items(), strict=True):
        part = tried[tried.goal == goal]
        groups = [part[part.queries == q] for q in asked]
        for q, g in zip(asked, groups, strict=True):
            mean, low, high = interval(g.move.fillna(0), g.i)
            if np.isfinite(low):
                ax.errorbar(shift * q, mean, [[mean - low], [high - mean]], capsize=3,
                            color=looks.COLOURS["attack"])
        ax.plot(np.multiply(asked, shift), [g.move.fillna(0).mean() for g in groups], line,
                marker=mark, color=looks.COLOURS["attack"], label=text)
        ax.axhline(white[white.goal == goal].move.mean(), color=looks.COLOURS["attack"],
                   linestyle=line, linewidth=1, alpha=0.6, label=f"{text}, with the weights")
    ax.axhline(0, color=looks.COLOURS["other"], linestyle=":", label="random requests")
    looks.log_axis(ax, asked, "queries to the provider, per target")
    ax.set_ylabel("entropy moved as intended (nats)")
    handles, labels = ax.get_legend_handles_labels()
    order = (0, 2, 4, 1, 3)  # what is alike side by side
    fig.legend([handles[k] for k in order], [labels[k] for k in order],
               loc="outside lower center", ncols=2)
    return fig


def gates(looks, easy, fair):
    """Share that each gate catches, by thresholds from easy and from fair benign requests."""
    fig, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True)
    for ax, aim in zip(axes, ("first-order", "retraining"), strict=True):
        for frame, role, text, shift in ((easy, "other", "threshold from random requests", -0.12),
                                         (fair, "defence", "threshold from realistic requests",
                                          0.12)):
            part = frame[frame.aim == aim]
            for k, name in enumerate(GATES):
                looks.interval(ax, k + shift, (100 * part[name]).tolist(), role, limits=PERCENT,
                               clusters=part.i.tolist(), label=text if k == 0 else None)
        ax.axhline(100 * USELESS, color=looks.COLOURS["other"], linestyle="--", linewidth=1.5,
                   label="useless at or below")
        ax.set(xticks=range(len(GATES)), xticklabels=[g.replace(" ", "\n") for g in GATES],
               title=f"Aimed at {aim}", ylim=(-3, 103))
        ax.tick_params(axis="x", labelsize=11)
    axes[0].set_ylabel("malicious requests caught (%)")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def explorer(looks, curve, victims, act, luck):
    """(figure, redraw(goal, budget, how) -> sentence) over targets at several budgets.

    curve: table with i, j, how, goal, budget, p, p_random, kept, won (success, 0 or 1); luck: how
    -> the random requests, of `judging.luck`.
    """
    shown = curve.j.unique()  # chance is that of the targets that are shown
    chance = {(how, goal): part[part.j.isin(shown)][goal].mean() for how, part in luck.items()
              for goal in ("over", "under")}
    budgets, targets = sorted(curve.budget.unique()), len(curve.groupby(["i", "j"]))
    figure, sticks, marks, share, whiskers, at, blind = _panel(looks, budgets, targets, act)

    def redraw(goal, budget, how):
        part = curve[(curve.goal == goal) & (curve.how == how)]
        now = part[part.budget == budget].sort_values(["p_random", "i", "j"])
        y, kept = np.arange(len(now)), now.kept.to_numpy() == 1
        pairs = zip(now.p_random, now.p, strict=True)
        sticks.set_segments([[(a, k), (b, k)] for k, (a, b) in enumerate(pairs)])
        before = np.array([victims[i].p[j].max().item() for i, j in zip(now.i, now.j, strict=True)])
        every = np.full(len(now), True)
        for line, x, which in zip(marks, (before, now.p_random, now.p, now.p),
                                  (every, every, kept, ~kept), strict=True):
            line.set_data(np.asarray(x)[which], y[which])
        found = [interval(100 * g.won, g.i, PERCENT) for _, g in part.groupby("budget")]
        share.set_data(budgets, [mean for mean, _, _ in found])
        whiskers.set_segments([[(b, max(low, 0)), (b, min(high, 100))]
                               for b, (_, low, high) in zip(budgets, found, strict=True)])
        won = found[budgets.index(budget)][0]
        at.set_data([budget], [won])
        blind.set_ydata([100 * chance[how, goal]] * 2)
        figure.axes[0].set_title(f"{how}, {budget} rows", fontsize=13)
        return (f"{budget} rows, unlearned by {how}: the probability of the label goes from "
                f"{now.p_random.mean():.2f} to {now.p.mean():.2f} on average, the label holds for "
                f"{int(kept.sum())} of {len(now)} targets, and {won:.0f} % are moved beyond the "
                f"spread of retraining; of random requests, {100 * chance[how, goal]:.0f} %.")

    return figure, redraw


def _panel(looks, budgets, targets, act):
    """The explorer's figure, with artists that are moved later."""
    figure = Figure(figsize=(10, 4.6), layout="none")
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.14, top=0.9, wspace=0.2)
    attack, other = looks.COLOURS["attack"], looks.COLOURS["other"]
    sticks = left.hlines(range(targets), 0, 0, color=other, alpha=0.5)
    left.axvline(act, color="black", linestyle=":", label="acted on above")
    marks = [left.plot([], [], marker, color=colour, label=text)[0] for marker, colour, text in
             (("o", looks.COLOURS["original"], "before any request"),
              ("x", other, "random requests"), ("^", attack, "chosen, label kept"),
              ("1", "black", "chosen, label lost"))]
    left.set(xlim=(0, 1.02), ylim=(-0.7, 1.75 * targets), xlabel="probability of the label",
             ylabel="targets", yticks=[])
    left.legend(loc="upper left", fontsize=10)
    whiskers = right.vlines(budgets, 0, 0, color=attack, linewidth=1.5)
    share, = right.plot([], [], "-^", color=attack, label="success, with 95 % interval")
    at, = right.plot([], [], "o", color=attack, markersize=17, fillstyle="none",
                     label="shown on the left")
    blind = right.axhline(0, color=other, linestyle=":", label="random requests, all rows")
    right.set(xlim=(0, 1.05 * max(budgets)), ylim=(-4, 142), xlabel="rows asked for",
              ylabel="success (% of targets)", xticks=budgets, yticks=range(0, 101, 20))
    right.legend(loc="upper left", fontsize=10)
    return figure, sticks, marks, share, whiskers, at, blind
