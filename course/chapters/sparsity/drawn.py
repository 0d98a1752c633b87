"""The figures. `figures` is the course's module of that name: colours, markers, intervals.

value(column, method, sparsity, place): one value a seed; rows: of a class, see judging.each_row.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .judging import each_row
from .trials import COLUMNS


def dot(figures, ax, x, values, role, rows, label=None, shade=None, **style):
    """A share in percent, one value a split, with its 95 % interval."""
    repeated, split = each_row([v for v in values if np.isfinite(v)], rows)
    if len(repeated):
        figures.interval(ax, x, repeated, role, label, shade, limits=(0, 100), clusters=split,
                         **style)


def four_bars(figures, found, columns=COLUMNS):
    """One network of each kind: found is kind -> model -> measures in percent. -> figure"""
    fig, axes = plt.subplots(1, len(found), figsize=(10, 4), sharey=True)
    for ax, (kind, models) in zip(axes, found.items(), strict=True):
        for i, (name, role) in enumerate((("original", "original"), ("fine-tuned", "unlearned"),
                                          ("retrained", "retrained"))):
            x = np.arange(len(columns)) + 0.27 * (i - 1)
            bars = ax.bar(x, [models[name][c] for c in columns], 0.25,
                          color=figures.COLOURS[role], label=name)
            ax.bar_label(bars, fmt="%.0f", fontsize=11)
        ax.set(title=kind, xticks=range(len(columns)), xticklabels=columns, ylim=(0, 112))
        ax.grid(axis="x", visible=False)
    axes[0].set_ylabel("%")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return fig


def sweep_figure(figures, value, rates, sparsity, rule, rows):
    """UA and disparity of fine-tuning against the learning rate, dense and sparse. -> figure

    rates: place in the grid -> rate; rule: the place that the rule takes.
    """
    fig, axes = plt.subplots(1, 2, figsize=(11, 4.6))
    for ax, column in zip(axes, ("UA", "gap"), strict=True):
        for shade, (s, kind) in enumerate(((0.0, "dense"), (sparsity, "sparse"))):
            for i, rate in rates.items():
                dot(figures, ax, rate * (0.94, 1.06)[shade], value(column, "FT", s, i),
                    "unlearned", rows, None if i else f"fine-tuned, {kind}", shade)
            ax.axhline(np.mean(value(column, "original", s)), linewidth=1.6,
                       color=figures.COLOURS["original"], linestyle=":" if s else "-",
                       label=f"original, {kind}")
        ax.axhline(np.mean(value(column, "retrained")), linestyle="--",
                   color=figures.COLOURS["retrained"], label="retrained")
        ax.axvline(rates[rule], color="black", linewidth=1, alpha=0.4, label="chosen by the rule")
        figures.log_axis(ax, list(rates.values()), "learning rate of fine-tuning")
    axes[0].set(ylabel="UA, %", ylim=(-5, 106), title="Forgetting")
    axes[1].set(ylabel="disparity, points", ylim=(-3, None), title="Distance to retraining")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return fig


def methods_figure(figures, value, methods, sparsity, rows):
    """Disparity of the untouched networks and of every method, dense and sparse. -> figure"""
    fig, ax = plt.subplots(figsize=(10, 4.6))
    for i, name in enumerate(("original", *methods)):
        for shade, (s, kind) in enumerate(((0.0, "dense"), (sparsity, "sparse"))):
            role = "original" if name == "original" else "unlearned"
            style = {} if i else {"markerfacecolor": "white"} if s else {}
            label = f"{role}, {kind}" if i < 2 else None
            dot(figures, ax, i + (-0.13, 0.13)[shade], value("gap", name, s), role, rows, label,
                shade if i else None, **style)
    ax.axhline(0, color=figures.COLOURS["retrained"], linestyle="--", label="retrained")
    ax.axvline(0.5, color="black", linewidth=0.8, alpha=0.4)
    ax.set(xticks=range(1 + len(methods)), xticklabels=["untouched", *methods], ylim=(-3, None),
           xlim=(-0.5, len(methods) + 0.5),
           ylabel="disparity, points")
    ax.grid(axis="x", visible=False)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=5, fontsize=11)
    return fig


def schedules_figure(figures, strengths, gaps, original, rows):
    """Strength of the norm an epoch, and the disparity after it. strengths, gaps: name -> list."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    greys = {name: (figures.SHADES[i % 3][0], figures.SHADES[i % 3][1], line) for i, (name, line)
             in enumerate(zip(strengths, ("-", "--", "-.", ":"), strict=False))}
    for name, values in strengths.items():
        colour, marker, line = greys[name]
        left.plot(range(len(values)), values, line, marker=marker, color=colour, label=name)
    left.set(xlabel="epoch e", ylabel="strength of the norm, γ in epoch e", ylim=(0, None),
             xticks=range(len(values)))
    left.legend()
    dot(figures, right, 0, original, "original", rows)
    for i, values in enumerate(gaps.values(), 1):
        dot(figures, right, i, values, "unlearned", rows, None, (i - 1) % 3)
    right.axhline(0, color=figures.COLOURS["retrained"], linestyle="--", label="retrained")
    right.set(xticks=range(1 + len(gaps)), ylim=(-3, None), ylabel="disparity, points")
    right.set_xticklabels(["original", *gaps], rotation=20, ha="right")
    right.legend(loc="upper right")
    return fig


def bound_figure(figures, of, distance, sparsity):
    """The bound's parts, and what it bounds, sparse over dense: one ratio a seed. -> figure"""
    fig, ax = plt.subplots(figsize=(9, 3.8))
    labels = ["path\n$\\Vert m \\circ (\\theta_t - \\theta_0) \\Vert_2$",
              "curvature\n$\\sigma(m)$", "bound", "distance,\nuntouched", "distance,\nafter ascent"]
    parts = [of["path"], of["sigma"], of["bound"], distance["original"], distance["GA"]]
    roles = ("other", "other", "other", "original", "unlearned")
    for i, (values, role) in enumerate(zip(parts, roles, strict=True)):
        if there := [v for v in values if np.isfinite(v)]:
            figures.interval(ax, i, there, role)
    ax.axhline(1, color="black", linewidth=1, linestyle="--")
    ax.set(xticks=range(len(labels)), xticklabels=labels, ylim=(0, None),
           ylabel=f"{100 * sparsity:g} % sparse over dense")
    ax.grid(axis="x", visible=False)
    return fig


def backdoor_figure(figures, clean, tuned, sparsities, rows):
    """Success of the backdoor and clean accuracy. clean(column, model, sparsity) -> a seed."""
    fig, axes = plt.subplots(1, 2, figsize=(11, 4.2))
    models = [("original", "original", None), (tuned, "unlearned", 0), ("l1", "unlearned", 1),
              ("retrained", "retrained", None)]
    for i, (name, role, shade) in enumerate(models):
        for j, s in enumerate(sparsities if name != "l1" else sparsities[:1]):
            for ax, column in zip(axes, ("ASR", "SA"), strict=True):
                dot(figures, ax, j + 0.14 * (i - 1.5), clean(column, name, s), role, rows,
                    None if j else name, shade)
    for ax, title in zip(axes, ("Stamped images called 0 (ASR), %",
                                "Accuracy on clean images (SA), %"), strict=True):
        ax.set(title=title, xlabel="sparsity, %", xlim=(-0.5, len(sparsities) - 0.5),
               xticks=range(len(sparsities)), xticklabels=[f"{100 * s:g}" for s in sparsities])
    axes[0].set_ylim(-5, 105)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return fig


def explorer_figure(figures, rows_of):
    """Figure and redraw(s, lr, label) of the explorer. rows_of(s, lr, label): method -> row."""
    fig = Figure(figsize=(8.5, 4.2), layout="none")
    ax = fig.subplots()
    fig.subplots_adjust(left=0.1, right=0.98, bottom=0.1, top=0.86)
    bars = ax.bar(COLUMNS, [0.0] * 4, width=0.5, color=figures.COLOURS["unlearned"],
                  label="fine-tuned")
    marks = {m: ax.plot(np.arange(4) + shift, [0.0] * 4, linestyle="none", marker=marker,
                        markersize=13, label=m, color=figures.COLOURS[m])[0]
             for m, marker, shift in (("original", 9, -0.35), ("retrained", 8, 0.35))}
    ax.set(ylim=(-4, 105), ylabel="%")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=12)

    def redraw(s, lr, label):
        found = rows_of(s, lr, label)
        for m, mark in marks.items():
            mark.set_ydata([found[m][c] for c in COLUMNS])
        for bar, c in zip(bars, COLUMNS, strict=True):
            bar.set_height(found["FT"][c])
        return (f"{100 * s:g} % sparse, learning rate {lr:g}: the disparity to retraining is "
                f"{found['FT']['gap']:.1f} points, the accuracy on retained rows "
                f"{found['FT']['RA']:.1f} %.")

    return fig, redraw
