"""The chapter's figures. looks: the module course.figures, with the course's colours and marks."""

import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from labkit import measure


def grid(lines):
    """Pictures with their classes above. lines: [(name, data, rows)], one line of pictures each."""
    width = max(len(rows) for _, _, rows in lines)
    fig, axes = plt.subplots(len(lines), width, figsize=(1.8 * width, 2.1 * len(lines)),
                             squeeze=False)
    for line, (name, d, rows) in zip(axes, lines, strict=True):
        for ax, row in zip(line, rows, strict=False):
            ax.imshow(d.pixels(d.x[[row]])[0].cpu().permute(1, 2, 0).squeeze(), cmap="gray_r",
                      vmin=0, vmax=1)
            ax.set_title(d.classes[int(d.y[row])], fontsize=12)
        for ax in line:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        line[0].set_ylabel(name, fontsize=13)
    return fig


def one_owner(looks, p, q, most, m, hits):
    """Hits that either kind of model would give, and below them what each provider's gave.

    p, q: rates of the old model and of one without the rows; most: hits that do not accuse, of m;
    hits: dict provider -> its hits
    """
    fig, (ax, below) = plt.subplots(2, 1, figsize=(8, 5.6), sharex=True,
                                    height_ratios=(1.3, 1))
    k = np.arange(m + 1)
    for rate, role, name, wrong in ((q, "retrained", "rows gone (rate q): accused", k > most),
                                    (p, "original", "old model (rate p): passes", k <= most)):
        chances = np.array([math.comb(m, h) * rate**h * (1 - rate) ** (m - h) for h in k.tolist()])
        ax.bar(k, chances, color=looks.COLOURS[role], alpha=0.7,
               label=f"{name} with a chance of {chances[wrong].sum():.1g}")
    ax.set(ylabel="chance")
    ax.legend(loc="upper center", fontsize=12)
    for row, (name, count) in enumerate(hits.items()):
        role = "retrained" if name == "honest" else "attack"
        below.plot(count, row, looks.MARKERS[role], color=looks.COLOURS[role], markersize=10)
    for part in (ax, below):
        part.axvline(most + 0.5, color="black", linestyle="--")
    below.set(yticks=range(len(hits)), yticklabels=list(hits), ylim=(len(hits) - 0.5, -0.5),
              xlabel=f"hits of {m} questions (right of the dashed line: accused)")
    return fig


def who_passes(spread, runs):
    """Providers in rows, checks in columns. spread: as from passing; runs: dict provider -> runs"""
    fig, ax = plt.subplots(figsize=(8.6, 4.6))
    ax.imshow([[mean for mean, *_ in three] for three in spread.values()], cmap="Blues", vmin=0,
              vmax=1.6, aspect="auto")
    for row, (name, three) in enumerate(spread.items()):
        # one seed alone has no interval: anything may come
        mean, low, high = np.clip(three[0], 0, 1) * 100
        cells = [f"{mean:.0f} %  [{low:.0f}, {high:.0f}]"]
        cells += [f"{round(share * runs[name])} of {runs[name]} runs" for share, *_ in three[1:]]
        for column, text in enumerate(cells):
            ax.text(column, row, text, ha="center", va="center", fontsize=13)
    ax.set(xticks=range(3), xticklabels=["an owner's test\nsays “deleted”",
                                         "all owners'\ntests pooled", "replay of\nthe log"],
           yticks=range(len(spread)), yticklabels=list(spread))
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return fig


def passing_steps(looks, forged, parts, rate):
    """Steps of forged logs that pass against the tolerance: checkpoints moved, and kept."""
    fig, axes = plt.subplots(1, 2, figsize=(8.2, 3.7), sharey=True)
    eps, colour = np.logspace(-8, 0, 41), looks.COLOURS["attack"]
    for ax, kind in zip(axes, ("as published", "kept"), strict=True):
        for part, style in zip(parts, (":", "--", "-"), strict=True):
            these = forged[(forged.kind == kind) & (forged.share == part) & (forged.lr == rate)]
            runs = [[np.mean(np.array(e) <= t) for t in eps] for e in these.errors]
            ax.plot(eps, 100 * np.array(runs).T, color=colour, alpha=0.35, linewidth=1,
                    linestyle=style)
            ax.plot(eps, 100 * np.mean(runs, axis=0), color=colour, linestyle=style,
                    label=f"{100 * part:g} % forgotten")
        ax.axvline(forged.floor.max(), color="black", linestyle="-.", label="honest floor")
        ax.set(xscale="log", xlabel="tolerance ε (l2 distance of weights)", ylim=(-3, 103),
               title="Checkpoints moved (as published)" if kind == "as published"
               else "Checkpoints kept (Thudi et al.)")
    axes[0].set_ylabel("steps that pass (%)")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def forged_panel(looks, forged, rate):
    """The explorer's figure and its redraw(eps, part, lr): logs as published, errors by step."""
    published = forged[forged.kind == "as published"].set_index(["lr", "share"]).sort_index()
    noise, steps = forged.floor.max(), len(forged.errors.iloc[0])
    fig = Figure(figsize=(9, 4.2), layout="none")
    ax = fig.subplots()
    fig.subplots_adjust(left=0.09, right=0.98, bottom=0.16, top=0.92)
    dots = ax.plot([], [], "o", color=looks.COLOURS["attack"], markersize=5,
                   label="forged step (no error: 1e-8)")[0]
    bar = ax.axhline(1e-4, color=looks.COLOURS["defence"], linewidth=2.2, label="tolerance ε")
    ax.axhline(noise, color="black", linestyle="-.", label="honest floor")
    ax.set(yscale="log", ylim=(3e-9, 10), xlabel="step", ylabel="replay error", xlim=(0, steps + 1))
    ax.legend(loc="upper right", fontsize=12, ncols=3)

    def redraw(eps, part, lr):
        e = np.maximum(np.array(published.loc[lr, part].errors.iloc[0]), 1e-8)
        dots.set_data(np.arange(1, len(e) + 1), e)
        bar.set_ydata([eps, eps])
        return (f"With {100 * part:g} % forgotten and a learning rate of {lr:g}, "
                f"{100 * (e <= eps).mean():.0f} % of the forged steps pass at a tolerance of "
                f"{eps:.0e}, which is {eps / noise:,.0f} times the honest floor.")

    return fig, redraw


def known_beyond(looks, saved, roles):
    """What models know beyond honest retraining, an interval each. roles: dict name -> role"""
    fig, ax = plt.subplots(figsize=(8.6, 3.8))
    for row, (name, values) in enumerate(saved.items()):
        looks.interval(ax, values, row, roles.get(name, "attack"), markersize=9)
    ax.axvline(0, color=looks.COLOURS["retrained"], linestyle="--")
    ax.set(yticks=range(len(saved)), yticklabels=list(saved), ylim=(len(saved) - 0.5, -0.5),
           xlabel="known beyond honest retraining, same seed (nats)")
    return fig


def detected(looks, found, styles):
    """Logs flagged against the share forgotten, a panel a cheat. styles: dict audit -> (role, line)

    found: as from detections.
    """
    cheats, shares = list(found.cheat.unique()), sorted(found.share.unique())
    fig, axes = plt.subplots(1, len(cheats), figsize=(10, 3.9), sharey=True)
    for ax, cheat in zip(axes, cheats, strict=True):
        for shift, (name, (role, line)) in enumerate(styles.items()):
            g = found[(found.audit == name) & (found.cheat == cheat)].set_index("share").found
            runs = np.array([measure.interval(g[s], limits=(0, 1)) for s in shares])
            mean, low, high = 100 * np.clip(runs, 0, 1).T
            ax.errorbar(np.arange(len(shares)) + 0.12 * (shift - 1), mean,
                        [mean - low, high - mean], fmt=looks.MARKERS[role], linestyle=line,
                        color=looks.COLOURS[role], capsize=3, label=name)
        ax.set(title=cheat.replace(", ", ",\n"), xlabel="rows forgotten (%)", ylim=(-4, 104))
        ax.set_xticks(range(len(shares)), [f"{100 * s:g}" for s in shares])
    axes[0].set_ylabel("cheats flagged (%)")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
