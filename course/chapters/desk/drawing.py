"""The notebook's figures. Each gets course.figures as its first argument: looks, and intervals."""

import numpy as np
import torch

from labkit.training import predict

from .spreading import by_target
from .telling import POINTS, ends
from .watching import LENGTH, START


def picture(data, x):
    """A row as matplotlib shows it: an image; a table as one line of grey values."""
    if x.dim() != 3:
        return (x.cpu()[None],)
    pixels = data.pixels(x).cpu().permute(1, 2, 0)
    return (pixels.squeeze(2), "gray_r") if x.shape[0] == 1 else (pixels,)


def one_request(look, victim, j, rows, models):
    """The target, eight of the rows asked for, and what models say of it. -> (figure, found)

    models: name -> (role, network); found: name -> (k,) probabilities.
    """
    from matplotlib import pyplot as plt  # late: exercises are loaded without a picture

    fig, axes = plt.subplot_mosaic([[*"tabcdpp"], [*"tefghpp"]], figsize=(10.5, 3.7),
                                   width_ratios=(1.6, 1, 1, 1, 1, 2, 2))
    label, names, ax, found = victim.label[j], victim.data.classes, axes["p"], {}
    pairs = [("t", victim.x[j], f"target:\n{names[label]}", 12)] + [
        (place, victim.data.x[row], names[int(victim.data.y[row])], 9)
        for place, row in zip("abcdefgh", rows.tolist(), strict=False)]
    for place, x, title, size in pairs:
        axes[place].imshow(*picture(victim.data, x))
        axes[place].set_title(title, fontsize=size)
    for place in "tabcdefgh":
        axes[place].set(xticks=[], yticks=[])
        axes[place].spines[:].set_visible(False)
    for at, (name, (role, model)) in enumerate(models.items()):
        p = found[name] = predict(model, victim.x[[j]])[0].softmax(0).cpu()
        ax.barh(-at, p[label], color=look.COLOURS[role])
        other = int(p.index_fill(0, torch.tensor([label]), -1).argmax())
        ax.plot(p[other], -at, "kx", markersize=10, markeredgewidth=2.5)
        ax.text(1.03, -at, f"× {names[other]}", fontsize=10, va="center")
    ax.set(yticks=range(0, -len(models), -1), yticklabels=list(models), xlim=(0, 1.45),
           xticks=(0, 0.5, 1), xlabel="probability: label (bar), other (×)")
    return fig, found


def strips(look, groups, lines, xlabel, star=None, log=False):
    """Scores as points, a line of them for each group, with limits. -> figure

    groups: {name: (role, (m,))}; lines: {label: (where, style)}; star: (score, name) or None.
    """
    from matplotlib import pyplot as plt

    fig, ax = plt.subplots(figsize=(9, 1.6 + 0.42 * len(groups)))
    rng = np.random.default_rng(0)
    for at, (role, values) in enumerate(groups.values()):
        ax.plot(values, -at + rng.uniform(-0.28, 0.28, len(values)), ".", alpha=0.5, markersize=5,
                color=look.COLOURS[role])
    for (label, (where, style)), colour in zip(lines.items(), ("black", look.COLOURS["defence"]),
                                               strict=False):
        ax.axvline(where, color=colour, linestyle=style, label=label)
    names, top = list(groups), 0
    if star is not None:
        ax.plot(star[0], 1, "*", color=look.COLOURS["attack"], markersize=16)
        names, top = [star[1], *groups], 1
    ax.set(yticks=range(top, -len(groups), -1), yticklabels=names, xlabel=xlabel)
    if log:
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
    fig.legend(loc="outside lower center", ncols=3, fontsize=11)
    return fig


def class_plane(look, proxy, picked, joined, asked):
    """One class's residuals in their two widest directions: medoids, isolated rows. -> figure

    proxy (c, k); picked, joined: from `joined_to`; asked (c,) bool: rows of a request.
    """
    from matplotlib import pyplot as plt

    fig, ax = plt.subplots(figsize=(8.5, 4.2))
    centred = proxy - proxy.mean(0)
    flat = (centred @ torch.linalg.svd(centred, full_matrices=False)[2][:2].T).cpu().numpy()
    alone = (torch.bincount(joined)[joined] <= 1).cpu().numpy()
    medoid = np.isin(np.arange(len(flat)), picked) & ~alone
    grey, pink, red = (look.COLOURS[role] for role in ("other", "defence", "attack"))
    looks = ((~alone & ~medoid, ".", grey, "rows", {}),
             (medoid, "o", "black", "medoids that others join",
              dict(fillstyle="none", markersize=11)),
             (alone, "P", pink, "isolated", dict(markersize=10)),
             (asked.cpu().numpy(), "x", red, "asked for", dict(markersize=9)))
    for which, mark, colour, label, style in looks:
        ax.plot(*flat[which].T, mark, color=colour, label=label, **style)
    ax.set(xlabel="residual, widest direction", ylabel="second widest")
    fig.legend(loc="outside lower center", ncols=4)
    return fig


def before_after(look, defence, bare, plain, adaptive):
    """Success without a desk, of plain and of adaptive requests before a defence. -> figure

    bare, plain, adaptive: {aim: frame of `success`}, drawn as points with intervals over networks.
    """
    from matplotlib import pyplot as plt

    fig, ax = plt.subplots(figsize=(9, 1.6 + 0.75 * len(bare)))
    rows = (("other", "plain, no desk", bare), ("defence", f"plain, {defence}", plain),
            ("attack", f"adaptive, {defence}", adaptive))
    for at, aim in enumerate(bare):
        for k, (role, label, frames) in enumerate(rows):
            mean, low, high = ends(frames[aim].value, frames[aim].i, POINTS)
            ax.errorbar(mean, -at + 0.25 - 0.25 * k, xerr=[[mean - low], [high - mean]],
                        fmt=look.MARKERS[role], color=look.COLOURS[role], capsize=3,
                        label=label if at == 0 else None)
    ax.axvline(0, color="black", linewidth=1)
    ax.set(yticks=range(0, -len(bare), -1), yticklabels=[f"aimed at\n{aim}" for aim in bare],
           ylim=(-len(bare) + 0.5, 0.6), xlim=(min(-30, ax.get_xlim()[0]), 103),
           xlabel="labels changed beyond a random request's (% of targets)")
    fig.legend(loc="outside lower center", ncols=3)
    return fig


def spread_out(look, table, aims, names):
    """Campaigns: streams with an alarm, and success before it. -> figure

    table: rows of `campaigns`; names: the ways to send, in order
    """
    from matplotlib import pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(10, 4.6), sharey=True)
    rows = [(aim, how) for aim in aims for how in names]
    for at, (aim, how) in enumerate(rows):
        part = table[(table.aim == aim) & (table.how == how)]
        each = by_target(part)
        for ax, values, i, limits in ((axes[0], part.alarmed, part.i, (0, 100)),
                                      (axes[1], each.value, each.i, POINTS)):
            look.interval(ax, 100 * values, -at - 0.5 * (aim != aims[0]), "attack",
                          limits=limits, clusters=i.tolist())
    places = [-at - 0.5 * (aim != aims[0]) for at, (aim, _) in enumerate(rows)]
    axes[0].set(yticks=places, xlim=(-3, 103), xlabel="streams with an alarm (%)",
                yticklabels=[f"{how}, for {aim}" for aim, how in rows])
    axes[0].tick_params(axis="y", labelsize=10)
    axes[1].axvline(0, color="black", linewidth=1)
    axes[1].set(xlabel="success before the alarm (points)")
    return fig


def explorer(look, tape, settled):
    """(figure, redraw) of the explorer: a recorded stream of requests and the monitor's sum.

    tape: from `tapes`; settled: (drift, limit); redraw: (stream, who, time) -> sentence.
    """
    from matplotlib.figure import Figure

    limit = settled[1]
    figure = Figure(figsize=(9, 4), layout="none")
    ax = figure.subplots()
    figure.subplots_adjust(left=0.09, right=0.98, bottom=0.16, top=0.84)
    curve = ax.plot([], [], "o-", color=look.COLOURS["defence"], markersize=5,
                    label="running sum")[0]
    ax.axhline(limit, color="black", linestyle="--", label="alarm above this")
    begin = ax.axvline(START + 1, color=look.COLOURS["attack"], linestyle=":",
                       label="attack begins")
    ax.set(xlim=(0.5, LENGTH + 0.5), ylim=(-0.05 * limit, 2.2 * limit), xlabel="request",
           ylabel="sum (log score)")
    figure.legend(loc="upper center", fontsize=11, ncols=3)

    def redraw(stream, who, time):
        total = tape[stream, who][:time]
        curve.set_data(np.arange(1, time + 1), np.minimum(total, 2.1 * limit))
        begin.set_visible(who != "nobody")
        over = np.flatnonzero(total > limit)
        return (f"After {time} requests the sum is {total[-1]:.1f}; the limit is {limit:.1f}. "
                + (f"The alarm was raised at request {over[0] + 1}." if len(over)
                   else "No alarm so far."))

    return figure, redraw
