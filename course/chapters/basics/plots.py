"""The figures of the notebook on basics. `figures` is course.figures: colours, markers, intervals.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .runs import strength

NAMES = {"finetune": "fine-tuning", "gradient_ascent": "gradient ascent",
         "neggrad_plus": "NegGrad+", "random_labels": "random labels", "scrub": "SCRUB",
         "first_order": "first-order", "influence": "influence", "ssd": "SSD",
         "fisher_forgetting": "Fisher forgetting"}
# Shade and marker of the methods that share a figure: the same ones in every figure.
LOOKS = {"finetune": (0, "s"), "gradient_ascent": (1, "v"), "random_labels": (2, "o"),
         "neggrad_plus": (0, ">")}


def deleted_rows(figures, data, rows, models, predict):
    """Some deleted rows, as pictures where they are, with what each model gives their label.

    rows: (m,) training rows; models: name of a colour -> model; predict: (model, x) -> logits.
    """
    labels, x = data.y[rows], data.x[rows]
    fig, axes = plt.subplots(2, len(rows), figsize=(10, 3.9), height_ratios=(1, 1.3))
    for i, (top, ax) in enumerate(axes.T):
        picture = data.pixels(x[i:i + 1])[0].cpu().numpy() if x.dim() == 4 else None
        if picture is not None:
            picture = picture.transpose(1, 2, 0).squeeze()
            top.imshow(picture, cmap="gray_r" if picture.ndim == 2 else None, vmin=0, vmax=1)
        top.axis("off")
        top.set_title(str(data.classes[int(labels[i])])[:11], fontsize=11)
        for j, (role, model) in enumerate(models.items()):
            p = predict(model, x[i:i + 1]).softmax(1)[0, labels[i]].item()
            ax.bar(j, p, color=figures.COLOURS[role], label=role if i == 0 else None)
        ax.set(ylim=(0, 1), xticks=[], yticks=(0, 0.5, 1))
        ax.tick_params(labelleft=i == 0)
    axes[1, 0].set_ylabel("probability of\nthe right label")
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def strangers(figures, ua, error):
    """UA of retrained models against their test error, a mark for each seed. -> figure"""
    fig, ax = plt.subplots(figsize=(7, 4.8))
    low, high = min(ua.min(), error.min()) - 1, max(ua.max(), error.max()) + 1
    grey = figures.COLOURS["other"]
    ax.fill_between([low, high], [low - 3, high - 3], [low + 3, high + 3], color=grey, alpha=0.12,
                    linewidth=0, label="within 3 points")
    ax.plot([low, high], [low, high], ":", color=grey, label="equal")
    ax.plot(error, ua, figures.MARKERS["retrained"], color=figures.COLOURS["retrained"], alpha=0.5,
            label="retrained, by seed (dark: two)")
    ax.set(xlabel="test error of the retrained model, 100 − TA (%)", xlim=(low, high),
           ylabel="UA of the retrained model (%)", ylim=(low, high),
           title="Errors on the deleted rows and on strangers")
    fig.legend(loc="outside lower center", ncols=3)
    return fig


def uphill(figures, walk, reference, original):
    """UA, RA and TA after each step of ascent, with both references as lines. -> figure

    walk: table of runs.uphill; reference, original: rows of measures.
    """
    fig, axes = plt.subplots(1, 3, figsize=(10, 4.2), sharex=True, sharey=True)
    for ax, column in zip(axes, ("UA", "RA", "TA"), strict=True):
        for role, row in (("original", original), ("retrained", reference)):
            ax.axhline(row[column], color=figures.COLOURS[role], linewidth=1.8,
                       linestyle="--" if role == "retrained" else ":", label=role)
        ax.plot(walk.step, walk[column], "-", color=figures.COLOURS["unlearned"],
                marker=figures.MARKERS["unlearned"], markersize=4, label="gradient ascent")
        ax.set(title=column, xlabel="steps")
    axes[0].set(ylabel="percent of rows", ylim=(0, 102))
    fig.suptitle("Ascent on the forget set, one seed")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def trade(figures, curve, refs):
    """TA against UA of two methods, a mark for each strength, means with intervals. -> figure

    curve: (method, column) -> strengths, (seeds, strengths); refs: role -> column -> (seeds,).
    """
    fig, ax = plt.subplots(figsize=(8, 4.8))
    for method, line in (("finetune", "-"), ("gradient_ascent", "--")):
        shade, marker = LOOKS[method]
        x, y = curve(method, "UA")[1], curve(method, "TA")[1]
        ax.plot(x.mean(0), y.mean(0), line, linewidth=1.6, color=figures.SHADES[shade][0])
        for i in range(x.shape[1]):
            drawn = figures.interval(ax, x[:, i], y[:, i], None, None if i else NAMES[method],
                                     shade, limits=(0, 100), elinewidth=1)
            drawn.lines[0].set_marker(marker)
    for role in ("original", "retrained"):
        figures.interval(ax, refs[role]["UA"], refs[role]["TA"], role, role, limits=(0, 100),
                         elinewidth=1)
    ax.set(xlabel="UA, deleted rows that are wrong (%)", ylabel="TA, test rows that are right (%)",
           title="What a higher UA costs the others")
    fig.legend(loc="outside lower center", ncols=4, columnspacing=1)
    return fig


def gaps(figures, by_kind):
    """Gap to retraining of every method, smallest first. by_kind: kind -> method -> (seeds,)"""
    fig, axes = plt.subplots(1, 2, figsize=(10, 5.2))
    roles = {"untouched": "original", "retrained, fresh seed": "retrained"}
    for ax, (kind, found) in zip(axes, by_kind.items(), strict=True):
        for i, (method, values) in enumerate(found.items()):
            figures.interval(ax, values.to_numpy(), [i], roles.get(method, "unlearned"),
                             limits=(0, 100), elinewidth=1.6)
        figures.reference(ax, found["untouched"], "original", None, False, (0, 100))
        ax.set(yticks=range(len(found)), yticklabels=[NAMES.get(m, m) for m in found],
               xlabel="gap to retraining (points)", title=f"{kind} request", xlim=(0, None))
        ax.invert_yaxis()
    return fig


def rates(inside, outside):
    """FPR and TPR at every threshold, the highest first, from 0 to 1. (n,), (m,) -> (k,), (k,)"""
    cuts = np.unique(np.concatenate([inside, outside]))[::-1]
    above = (1 - np.searchsorted(np.sort(v), cuts, "left") / len(v) for v in (outside, inside))
    return tuple(np.r_[0, share] for share in above)


def roc(figures, scores):
    """ROC curves of the loss attack. scores: role -> (members' scores, strangers'). -> figure"""
    fig, ax = plt.subplots(figsize=(6.5, 5))
    for (role, (inside, outside)), line in zip(scores.items(), ("-", "--"), strict=True):
        fpr, tpr = rates(inside, outside)
        ax.plot(100 * fpr, 100 * tpr, line, color=figures.COLOURS[role], label=role)
    ax.plot([0, 100], [0, 100], ":", color=figures.COLOURS["other"], label="blind")
    ax.set(xlabel="strangers called members, FPR (%)", ylabel="members called members, TPR (%)",
           xlim=(0, 100), ylim=(0, 100), title="Every threshold of the loss attack, one seed")
    fig.legend(loc="outside lower center", ncols=3)
    return fig


def exposure(figures, curves, refs):
    """Exposure against UA of methods that push the forget set away, beside both references.

    curves: method -> (UA (strengths,), exposure (seeds, strengths), bool (strengths,): of use);
    refs: role -> (UA (seeds,), exposure (seeds,)). -> figure
    """
    fig, ax = plt.subplots(figsize=(8.5, 5))
    for method, (x, y, usable) in curves.items():
        shade, marker = LOOKS[method]
        ax.plot(x, y.mean(0), color=figures.SHADES[shade][0], linestyle=":", linewidth=1.6)
        for n, i in enumerate(np.flatnonzero(usable)):
            drawn = figures.interval(ax, [x[i]], y[:, i], None, None if n else NAMES[method],
                                     shade, limits=(-1, 1), elinewidth=1.6)
            drawn.lines[0].set_marker(marker)
    for role, (x, y) in refs.items():
        figures.interval(ax, [x.mean()], y, role, role, limits=(-1, 1))
    ax.axvline(refs["retrained"][0].mean(), color=figures.COLOURS["retrained"], linestyle="--",
               label="retraining's UA")
    ax.set(xlabel="UA of the unlearned model (%)", ylabel="exposure: AUC − 0.5, without labels",
           title="How exposed is the forget set?")
    ax.axhline(0, color=figures.COLOURS["other"], linestyle=":", linewidth=1.4)
    fig.legend(loc="outside lower center", ncols=3, columnspacing=1, handletextpad=0.3)
    return fig


SHOWN = ("UA", "RA", "TA", "AUC")
FPR = np.linspace(0, 1, 101)


def mean_tpr(runs):
    """TPR of the loss attack at each share FPR of accused strangers, mean over runs. -> (101,)

    Steps as they are: the best that is reached with at most so many strangers. NaN: no run is left.
    """
    curves = []
    for found in runs.scores.dropna():
        parts = [(weight, *rates(inside, outside)) for weight, inside, outside in found]
        curves.append(sum(weight * tpr[np.searchsorted(fpr, FPR, "right") - 1]
                          for weight, fpr, tpr in parts))
    return np.mean(curves or [np.nan * FPR], axis=0)


def explorer(figures, runs, grid):
    """The figure of the explorer, and what redraws it. -> figure, redraw(method, step, request)

    runs: table of on_tuning_seeds with AUC, in 0 to 1; grid: method -> kind -> settings.
    """
    fig = Figure(figsize=(10, 4.4), layout="none")
    left, right = fig.subplots(1, 2)
    fig.subplots_adjust(left=0.07, right=0.98, bottom=0.26, top=0.9, wspace=0.3)
    roles = {"untouched": "original", "unlearned": "unlearned", "retrained": "retrained"}
    dots = {name: left.plot([], [], figures.MARKERS[role], color=figures.COLOURS[role], label=name,
                            alpha=0.8)[0] for name, role in roles.items()}
    curves = {name: right.plot(100 * FPR, 100 * FPR, line, color=figures.COLOURS[role],
                               label=name)[0]
              for (name, role), line in zip(roles.items(), ("--", "-", "-."), strict=True)}
    right.plot([0, 100], [0, 100], ":", color=figures.COLOURS["other"], label="blind")
    left.set(xticks=range(4), xticklabels=["UA", "RA", "TA", "AUC × 100"], xlim=(-0.5, 3.5),
             ylim=(0, 102), ylabel="percent")
    right.set(xlabel="strangers called members, FPR (%)", ylim=(0, 102), xlim=(0, 102),
              ylabel="members called\nmembers, TPR (%)", title="loss attack")
    look = dict(ncols=4, columnspacing=0.8, handletextpad=0.3, fontsize=11)
    fig.legend(handles=list(dots.values()), loc="lower left", bbox_to_anchor=(0.05, 0), **look)
    fig.legend(handles=right.lines, loc="lower right", **look)

    def redraw(method, step, request):
        settings = grid[method][request][min(step, len(grid[method][request]) - 1)]
        groups = _groups(runs, method, strength(settings), request)
        for (name, part), shift in zip(groups.items(), (-0.2, 0, 0.2), strict=True):
            values = part[list(SHOWN)].to_numpy() * [1, 1, 1, 100]
            dots[name].set_data(np.tile(np.arange(4) + shift, len(values)), values.ravel())
            curves[name].set_ydata(100 * mean_tpr(part))
        left.set_title(f"{NAMES[method]}, {next(iter(settings))} = {strength(settings):g}")
        return told(groups, NAMES[method], settings, request)

    return fig, redraw


def _groups(runs, method, at, request):
    part = runs[runs.kind == request]
    return {"untouched": part[part.method == "untouched"],
            "unlearned": part[(part.method == method) & (part.strength == at)],
            "retrained": part[part.method == "retrained"]}


def told(groups, method, settings, request):
    """What the explorer shows, in one sentence."""
    gap = groups["unlearned"].gap
    start = f"{method} at {next(iter(settings))} = {strength(settings):g}, {request} request: "
    if gap.isna().all():
        return start + "the runs diverged and are lost."
    lost = f" ({gap.isna().sum()} run lost)" if gap.isna().any() else ""
    auc = {name: f"{part.AUC.mean():.2f}" for name, part in groups.items()}
    return start + (f"gap to retraining {gap.mean():.1f} points{lost}, of the untouched model "
                    f"{groups['untouched'].gap.mean():.1f}; AUC {auc['unlearned']}, untouched "
                    f"{auc['untouched']}, retrained {auc['retrained']}.")


def follow(method, request, step, grid):
    """Let the slider `step` have the strengths of the chosen method and request, and no others."""
    def renew(change=None):
        settings = grid[method.value][request.value]
        step.options = [(f"{strength(s):g}", i) for i, s in enumerate(settings)]

    method.observe(renew, names="value")
    request.observe(renew, names="value")
    renew()
