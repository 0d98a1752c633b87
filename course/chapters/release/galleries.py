"""Galleries of rebuilt pictures, and the panel of the explorer."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from labkit.measure import psnr

# nearest: pixels keep their edges, and the file stays small
LOOKS = dict(cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")


def seen(image):
    """(c, h, w) -> what imshow takes."""
    return image.detach().cpu().permute(1, 2, 0).squeeze().numpy()


def bare(ax):
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def decibels(image, original) -> str:
    """'23 dB': the PSNR of a picture, as a text to stand under it."""
    return f"{psnr(image, original).item():.0f} dB"


def strip(original, made, mean, rows=("",)):
    """One deleted picture, what attackers rebuild, and the class mean, each with its PSNR.

    made: title -> pictures (c, h, w), one for each of rows (names left of the figure's rows; None
    for an empty place); the deleted picture and the class mean stand at the ends of every row.
    """
    columns = {"deleted": [original] * len(rows)} | made | {"class mean": [mean] * len(rows)}
    wide, tall = 1.35 * len(columns) + (1.1 if rows[0] else 0), 1.75 * len(rows) + 0.35
    fig, axes = plt.subplots(len(rows), len(columns), figsize=(wide, tall), squeeze=False)
    for at, (title, images) in enumerate(columns.items()):
        axes[0, at].set_title(title, fontsize=12)
        for ax, image in zip(axes[:, at], images, strict=True):
            bare(ax)
            if image is None:
                continue
            ax.imshow(seen(image), **LOOKS)
            if title != "deleted":
                ax.set_xlabel(decibels(image, original), fontsize=12, labelpad=2)
    for ax, name in zip(axes[:, 0], rows, strict=True):
        ax.set_ylabel(name, fontsize=12, rotation=0, ha="right", va="center", labelpad=8)
    return fig


def before_and_after(w, j, found, defences, rows, hunted=None):
    """A strip: deletion j without a defence and under several strengths of one.

    found: Sweep; defences: title -> name; rows: text at the left -> 'plain', 'adaptive', or
    'hunting', whose pictures stand in hunted: (seed, name) -> pictures.
    """
    def one(name, who):
        images = (hunted.get((w.seed, name)) if who == "hunting"
                  else found.made.get((w.seed, name, who)))
        return None if images is None else images[j]

    made = {title: [one(name, who) for who in rows.values()]
            for title, name in ({"no defence": "none"} | defences).items()}
    return strip(w.pixels[j], made, w.mean_pictures[j], tuple(rows))


def panel(w, found):
    """The explorer's figure, and what redraws it: a deleted row under any defence.

    -> (figure, redraw(defence, row) -> a sentence that says what is seen)
    """
    figure = Figure(figsize=(8, 2.9), layout="none")
    axes = figure.subplots(1, 4)
    figure.subplots_adjust(left=0.02, right=0.98, bottom=0.13, top=0.86, wspace=0.1)
    titles = ("deleted", "plain inverter", "adaptive inverter", "class mean")
    drawn = [ax.imshow(seen(w.pixels[0]), **LOOKS) for ax in axes]
    for ax, title in zip(axes, titles, strict=True):
        bare(ax)
        ax.set_title(title, fontsize=13)

    def redraw(defence, row):
        original, mean = w.pixels[row], w.mean_pictures[row]
        plain, adaptive = (found.made[w.seed, defence, who][row] for who in ("plain", "adaptive"))
        for ax, at, image in zip(axes, drawn, (original, plain, adaptive, mean), strict=True):
            at.set_data(seen(image))
            if ax is not axes[0]:
                ax.set_xlabel(decibels(image, original), fontsize=13)
        a, b = (found.dB[w.seed, defence, who][row] for who in ("plain", "adaptive"))
        return (f"{defence}, row {row}: against the class mean the plain inverter has {a:+.1f} dB, "
                f"the one that knows the defence {b:+.1f} dB.")

    return figure, redraw
