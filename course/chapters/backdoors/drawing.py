"""Figures of the chapter. Each gets the module course.figures first, and numbers that are there."""

import matplotlib.pyplot as plt
import numpy as np

UNIT, DIFFERENCE = (0, 1), (-1, 1)


def _image(ax, data, x, title):
    pixels = data.pixels(x[None])[0].clamp(0, 1).permute(1, 2, 0).squeeze().cpu().numpy()
    ax.imshow(pixels, cmap="gray" if pixels.ndim == 2 else None, vmin=0, vmax=1)
    ax.set_title(title, fontsize=11)
    ax.axis("off")


def handed_in(figures, data, world):
    """One row as it was, as poison and as camouflage, with the labels that it is handed in with."""
    fig, axes = plt.subplots(1, 3, figsize=(8, 3.2))
    i = world.data.y[world.camouflage[0]]
    bad, good = (world.data.x[rows[0]] for rows in (world.poison, world.camouflage))
    bare = world.x[int(np.argmin([float((world.stamp(x[None])[0] - good).abs().sum())
                                  for x in world.x]))]
    truth, wrong = data.classes[i], data.classes[world.target]
    for ax, x, title in zip(axes, (bare, bad, good), (
            f"the row\n“{truth}”", f"poison\nlabelled “{wrong}”",
            f"camouflage\nlabelled “{truth}”"), strict=True):
        _image(ax, data, x, title)
    return fig


ROLES = {"before": "original", "after": "retrained", "no camouflage": "attack",
         "unrelated": "other", "clean": "other", "elsewhere": "other"}


def doors(figures, asr):
    """Attack success in each kind of network, mean and interval. asr: name -> (networks,)"""
    fig, ax = plt.subplots(figsize=(9, 4.2))
    for at, (name, values) in enumerate(asr.items()):
        ax.plot(at + np.linspace(-0.18, 0.18, len(values)), values, ".", color="grey", alpha=0.5)
        figures.interval(ax, at, values, ROLES[name], limits=UNIT)
    words = {"before": "before", "after": "after exact\ndeletion",
             "no camouflage": "no\ncamouflage", "unrelated": "other rows\ndeleted",
             "clean": "no attacker", "elsewhere": "trigger\nelsewhere"}
    ax.set_xticks(range(len(asr)), [words[name] for name in asr])
    ax.set_ylabel("attack success rate")
    ax.set_ylim(-0.03, 1.03)
    return fig


def methods(figures, found, exact, start):
    """ASR after each method; beside it the growth of the class on rows without the trigger."""
    fig, axes = plt.subplots(1, 2, figsize=(10, 4.4))
    names = list(found)
    for at, name in enumerate(names):
        figures.interval(axes[0], at, found[name]["level"], "unlearned", limits=UNIT)
        for what, role, shift, label in (
                ("camouflage", "unlearned", -0.2, "ASR, camouflage deleted"),
                ("unrelated", "other", 0, "ASR, other rows deleted"),
                ("plain", "attack", 0.2, "target class, no trigger")):
            figures.interval(axes[1], at + shift, found[name][what], role, limits=DIFFERENCE,
                             label=None if at else label)
    for values, role, label in ((exact, "retrained", "exact deletion"),
                                (start, "original", "before")):
        figures.reference(axes[0], values, role, label, limits=UNIT)
    axes[0].set_ylabel("attack success rate")
    axes[0].set_ylim(0, 1.03)
    axes[1].axhline(0, color="black", linewidth=1)
    axes[1].set_ylabel("after less before")
    for ax in axes:
        ax.set_xticks(range(len(names)), names, rotation=25, ha="right")
    fig.legend(*[a + b for a, b in zip(*(ax.get_legend_handles_labels() for ax in axes),
                                       strict=True)], loc="outside lower center", ncols=3,
               fontsize=10)
    return fig


def shards(figures, found):
    """ASR before and after by the number of shards. found: shards -> (before, after) lists"""
    fig, ax = plt.subplots(figsize=(7.5, 3.8))
    for at, pair in enumerate(found.values()):
        for values, role, label, shift in zip(pair, ("original", "retrained"),
                                              ("before", "after exact deletion"), (-0.1, 0.1),
                                              strict=True):
            figures.interval(ax, at + shift, values, role, limits=UNIT,
                             label=None if at else label)
    ax.set_xticks(range(len(found)), [str(s) for s in found])
    ax.set_xlabel("shards")
    ax.set_ylabel("attack success rate")
    ax.set_ylim(-0.03, 1.03)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def seen(figures, found, aurocs):
    """Scores over the desk's limit, by kind of camouflage; AUROC of the Gini index a network."""
    fig, axes = plt.subplots(1, 2, figsize=(9.5, 4))
    for at, values in enumerate(aurocs.values()):
        axes[0].plot(at + np.linspace(-.15, .15, len(values)), values, ".", color="grey", alpha=.5)
        figures.interval(axes[0], at, values, "defence", limits=UNIT)
    axes[0].axhline(0.5, color="grey", linestyle=":")
    axes[0].set_xticks(range(len(aurocs)), list(aurocs))
    axes[0].set_ylabel("AUROC of the Gini index")
    axes[0].set_ylim(0.4, 1.02)
    for at, values in enumerate(found.values()):
        axes[1].plot(at + np.linspace(-.15, .15, len(values)), values, "P",
                     color=figures.COLOURS["attack" if at < 1 else "other"])
    axes[1].axhline(1, color=figures.COLOURS["defence"], linestyle="--")
    axes[1].text(len(found) - 0.55, 1.04, "the desk's limit", ha="right", fontsize=11)
    axes[1].set_xticks(range(len(found)), list(found))
    axes[1].set_ylabel("score of a request / limit")
    axes[1].set_ylim(0, None)
    return fig


def fewer(figures, found):
    """ASR before and after for three kinds of camouflage at one count. found: kind -> (n, 2)"""
    fig, ax = plt.subplots(figsize=(7.5, 3.8))
    for at, pairs in enumerate(found.values()):
        for j, (role, label) in enumerate((("original", "before"),
                                           ("retrained", "after exact deletion"))):
            figures.interval(ax, at + 0.2 * j - 0.1, np.array(pairs)[:, j], role, limits=UNIT,
                             label=None if at else label)
    ax.set_xticks(range(len(found)), list(found))
    ax.set_ylabel("attack success rate")
    ax.set_ylim(-0.03, 1.03)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def one_image(figures, data, found, names):
    """The chosen image, a poison row before and after, and the probability of the truth."""
    fig = plt.figure(figsize=(10, 4.2))
    grid = fig.add_gridspec(2, 4)
    titles = ("the chosen image", "a row", "the row as poison", "a camouflage row")
    for i, (x, title) in enumerate(zip(found[0]["pictures"], titles, strict=True)):
        _image(fig.add_subplot(grid[i // 2, i % 2]), data, x, title)
    ax = fig.add_subplot(grid[:, 2:])
    stages = ("clean", "before", "after")
    for run, name, marker in zip(found, names, ("o", "s"), strict=False):
        for i in range(len(run["clean"])):
            ax.plot(range(3), [run["margin"][s][i] for s in stages], marker=marker, color="grey",
                    alpha=0.35, linewidth=1, markersize=4, label=None if i else " / ".join(name))
    ax.axhline(0.5, color=figures.COLOURS["other"], linestyle=":")
    ax.set_xticks(range(3), ("no attacker", "before", "after\nexact deletion"))
    ax.set_ylabel("probability of the true class")
    ax.set_ylim(0, 1)
    ax.legend(fontsize=9, loc="upper right")
    return fig


def explorer(figures, grid, counts):
    """ASR before and after over the camouflage rows, for one count of poison rows.

    grid: (poison, camouflage) -> (before, after), lists over networks. -> figure, redraw
    """
    fig = plt.figure(figsize=(8, 4), layout="none")  # a redraw must not lay out anew
    ax = fig.add_axes((0.1, 0.17, 0.56, 0.79))
    poison, camouflage = counts
    at = np.arange(len(camouflage))
    lines = {}
    for j, (role, label) in enumerate((("original", "before"), ("retrained",
                                                              "after exact deletion"))):
        lines[j] = ax.plot(at, at * 0.0, color=figures.COLOURS[role],
                           marker=figures.MARKERS[role], label=label)[0]
    dots = ax.plot([], [], ".", color="grey", alpha=0.6, label="single networks")[0]
    ax.set_xticks(at, [str(c) for c in camouflage])
    ax.set_xlabel("camouflage rows")
    ax.set_ylabel("attack success rate")
    ax.set_ylim(-0.03, 1.03)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    def redraw(rows):
        for j in range(2):
            lines[j].set_ydata([np.mean(grid[rows, c][j]) for c in camouflage])
        spots = [(x, v) for x, c in zip(at, camouflage, strict=True) for j in range(2)
                 for v in grid[rows, c][j]]
        dots.set_data(*zip(*spots, strict=True))
        rise = [np.mean(grid[rows, c][1]) - np.mean(grid[rows, c][0]) for c in camouflage]
        best = int(np.argmax(rise))
        return (f"{rows} poison rows: deletion raises the attack success most with "
                f"{camouflage[best]} camouflage rows, by {rise[best]:.2f}; least, by "
                f"{min(rise):.2f}, with {camouflage[int(np.argmin(rise))]}.")
    redraw(poison[len(poison) // 2])
    return fig, redraw


__all__ = ["doors", "explorer", "fewer", "handed_in", "methods", "one_image", "seen",
           "shards"]
