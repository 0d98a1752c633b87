"""Three figures with intervals. `figures` is the course's module of that name: colours, markers."""

import matplotlib.pyplot as plt

from .records import gain_at
from .tables import rule_of_thumb

MEAN = dict(linestyle="-.", linewidth=1.5, label="class mean")


def exact_figure(figures, sweep, sizes, epochs, sure, clusters):
    """Exact unlearning. Left: gain against the number of private rows, for two recipes and the
    informed difference. Right: gain after gentle fine-tuning against `sure`, one a row.
    """
    fig, axes = plt.subplots(1, 2, figsize=(10, 4.6), sharey=True)
    colour, grey = figures.COLOURS["attack"], figures.COLOURS["other"]
    for recipe, kind, marker, line, aside in (("gentle", "informed", "s", ":", 0.87),
                                              ("gentle", "plain", "o", "-", 1),
                                              ("ordinary", "plain", "^", "--", 1.15)):
        gains = [gain_at(sweep, "mlp", [n], epochs, recipe, kind) for n in sizes]
        at = [n * aside for n in sizes]
        axes[0].plot(at, [g.mean() for g in gains], line, color=colour, linewidth=1)
        for x, g in zip(at, gains, strict=True):
            label = f"{recipe}, {kind}" if x == at[0] else None
            drawn = figures.interval(axes[0], x, g, "attack", label, clusters=clusters)
            drawn[0].set_marker(marker)
    axes[1].plot(sure, gain_at(sweep, "mlp", sizes, epochs, "gentle"), "o", color=colour)
    for ax in axes:
        ax.axhline(0, color=grey, **MEAN)
    axes[0].set_ylabel("gain over the class mean (dB)")
    axes[1].set(xlabel="probability of the row's label under θ₀", xlim=(-0.03, 1.03))
    figures.log_axis(axes[0], sizes, "private rows N")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def methods_figure(figures, gains, exact, clusters):
    """Ways of unlearning from least to most gain. gains: name -> dB a row; exact: which retrain."""
    fig, ax = plt.subplots(figsize=(9, 5))
    order = sorted(gains, key=lambda name: gains[name].mean())
    for at, name in enumerate(order):
        role = "retrained" if name in exact else "unlearned"
        figures.interval(ax, gains[name], at, role, clusters=clusters)
    for role, text in (("unlearned", "approximate"), ("retrained", "exact")):
        ax.plot([], [], figures.MARKERS[role], color=figures.COLOURS[role], label=text)
    ax.axvline(0, color=figures.COLOURS["other"], **MEAN)
    ax.set_yticks(range(len(order)), order)
    ax.set_xlabel("gain over the class mean (dB)")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def linear_figure(figures, row, rebuilt, mean, on_images):
    """Left: the columns of one deleted row, rebuilt, and its class mean. Right: cosine against rows
    a column, for records of linear_trial on pictures of several sizes.
    """
    fig, axes = plt.subplots(1, 2, figsize=(10.5, 4.6), width_ratios=(3, 2))
    colour, grey = figures.COLOURS["attack"], figures.COLOURS["other"]
    axes[0].bar(range(len(row)), row, color="#cccccc", label="deleted row")
    axes[0].plot(rebuilt, figures.MARKERS["attack"], color=colour, label="rebuilt")
    axes[0].plot(mean, "x", color=grey, label="class mean")
    axes[0].set(xlabel="column of the table", ylabel="value (standard deviations)")
    ratios = []
    for _, g in on_images.groupby("side", sort=False):
        ratios.append(g.n.iloc[0] / g["columns"].iloc[0])
        figures.interval(axes[1], ratios[-1], g.rebuilt, "attack", clusters=g.seed.tolist(),
                         limits=(-1, 1))
    axes[1].plot(ratios, rule_of_thumb(ratios), "--", color=grey, label="rule of thumb")
    figures.log_axis(axes[1], sorted(map(round, ratios)), "private rows a column")
    axes[1].set_ylabel("cosine of rebuilt and deleted row")
    handles, texts = axes[0].get_legend_handles_labels()
    more = axes[1].get_legend_handles_labels()
    fig.legend(handles + more[0], texts + more[1], loc="outside lower center", ncols=4)
    return fig
