"""Means over targets with intervals over networks, pictures, and the explorer's figure."""

import numpy as np

from labkit.measure import interval, show_interval

SAME, FRESH = "retrained, same seed", "retrained, fresh seed"  # exact ways of unlearning
PERCENT, POINTS, DIFFERENCE = (0, 100), (-100, 100), (-1, 1)  # what a quantity can be at all


def percent(hits, clusters) -> str:
    """The share of hits (0 or 1; NaN, a lost run, is none) in percent, with its interval.

    clusters: the network of each hit, since targets of one network are no independent units.
    """
    hits = 100 * np.nan_to_num(np.asarray(hits, float))
    return show_interval(hits, unit=" %", clusters=list(clusters), limits=PERCENT)


def points(ours, theirs, clusters) -> str:
    """The difference of two shares of hits in points, with its interval; as in `percent`."""
    ours, theirs = (np.nan_to_num(np.asarray(hits, float)) for hits in (ours, theirs))
    return show_interval(100 * (ours - theirs), clusters=list(clusters), limits=POINTS)


def told(frame, column, limits=None, unit="") -> str:
    """Mean of a column of targets with its interval over networks (column i); NaN is left out."""
    there = frame.dropna(subset=[column])
    if not len(there):
        return "all lost"
    return show_interval(there[column], unit=unit, clusters=there.i.tolist(), limits=limits)


def ends(frame, column, limits=None) -> tuple:
    """The interval itself: (low, high); where all runs are lost, it says nothing."""
    there = frame.dropna(subset=[column])
    if not len(there):
        return -np.inf, np.inf
    return interval(there[column], there.i, limits)[1:]


def flips(table, how, aim=None, request="chosen"):
    """A row a target under one way of unlearning, with flipped: 1 where its label is lost.

    aim: what the request had in mind (where several are there); request: chosen or random; the
    random ones are averaged for each target. NaN for a lost run. In the order of (i, j).
    """
    part = table[(table.how == how) & table.request.str.startswith(request)]
    if aim is not None:
        part = part[part.aim == aim]
    means = part.groupby(["i", "j"], as_index=False)[
        [k for k in ("p", "kept", "test", "others") if k in part]].mean()
    return means.assign(flipped=1 - means.kept)


def by_size(curve, how, budgets) -> list:
    """The share of labels changed by chosen requests of each budget, as text. -> (budgets,)"""
    parts = [flips(curve[curve.budget == b], how) for b in budgets]
    return [percent(part.flipped, part.i) for part in parts]


def falls(victims, table, how, aim):
    """`flips` of the chosen requests with fall: what they take off the label's probability."""
    part = flips(table, how, aim)
    before = [victims[i].p[j].max().item() for i, j in zip(part.i, part.j, strict=True)]
    return part.assign(fall=before - part.p)


def with_label(victims, requests, aim) -> list:
    """Share of the rows asked for with the target's label, a number a target."""
    return [(victims[i].data.y[asked[aim]] == victims[i].label[j]).double().mean().item()
            for (i, j), asked in requests.items()]


def fitted(scatter) -> float:
    """Slope of the line through the origin: the share of what was predicted that comes true."""
    return float((scatter.predicted * scatter.real).sum() / (scatter.predicted**2).sum())


def picture(data, x):
    """A row as matplotlib shows it: an image; a table as one line of grey values."""
    if x.dim() != 3:
        return (x.cpu()[None],)
    pixels = data.pixels(x).cpu().permute(1, 2, 0)
    return (pixels.squeeze(2), "gray_r") if x.shape[0] == 1 else (pixels,)


def draw(ax, data, x, title="", **text):
    """One row as an image, without ticks."""
    ax.imshow(*picture(data, x))
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.set_title(title, **{"fontsize": 9} | text)


def explorer(victims, curve, table, budgets, colours):
    """(figure, redraw) of the explorer: one target, its probability against the rows asked for.

    curve: rows of `smaller`; table: rows of all ways; redraw: (target, budget, how) -> sentence.
    """
    from matplotlib.figure import Figure  # late: exercises are loaded without a picture

    figure = Figure(figsize=(10, 4.2), layout="none")
    left, right = figure.subplots(1, 2, width_ratios=(1, 2.2))
    figure.subplots_adjust(left=0.03, right=0.98, bottom=0.15, top=0.88, wspace=0.2)
    line = right.plot([], [], "-^", color=colours["attack"], label="chosen rows, label kept")[0]
    lost = right.plot([], [], "x", color=colours["attack"], markersize=13, markeredgewidth=3,
                      label="label lost")[0]
    random = right.plot([], [], "--", color=colours["other"], label="random rows")[0]
    before = right.plot([], [], ":", color=colours["original"], label="before any request")[0]
    here = right.axvline(budgets[0], color=colours["other"], alpha=0.3, linewidth=8)
    right.set(xlim=(0, 1.05 * budgets[-1]), ylim=(-0.03, 1.03), xticks=budgets,
              xlabel="rows asked for", ylabel="probability of the label")
    right.legend(loc="lower left", fontsize=10)

    def redraw(target, budget, how):
        (i, j), v = target, victims[target[0]]
        draw(left, v.data, v.x[j], f"target: {v.data.classes[v.label[j]]}", fontsize=13)
        part = curve[(curve.i == i) & (curve.j == j) & (curve.how == how)
                     & (curve.request == "chosen")].sort_values("budget")
        blind = flips(table, how, request="random")
        blind = blind[(blind.i == i) & (blind.j == j)].p.item()
        first, gone = v.p[j].max().item(), part[part.kept == 0]
        line.set_data(part.budget, part.p)
        lost.set_data(gone.budget, gone.p)
        random.set_data([0, budgets[-1]], [blind] * 2)
        before.set_data([0, budgets[-1]], [first] * 2)
        here.set_xdata([budget] * 2)
        right.set_title(how, fontsize=13)
        now = part[part.budget == budget].iloc[0]
        return (f"{budget} chosen rows, {how}: the probability of the label goes from {first:.2f} "
                f"to {now.p:.2f} (random rows: {blind:.2f}), and the label is "
                f"{'kept' if now.kept == 1 else 'lost'}.")

    return figure, redraw
