"""Galleries of rebuilt pictures, and the panel of the explorer."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from labkit import attack
from labkit.measure import psnr

from .code import assign
from .searches import TVS
from .worlds import RECIPES, ascend, tune

# nearest: pixels keep their edges, and the file stays small
LOOKS = dict(cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")


def _seen(image):
    return image.detach().cpu().permute(1, 2, 0).squeeze().numpy()


def _bare(ax):
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def gallery(rows, *, names=(), under=None, titles=(), size=1.2):
    """A figure of pictures. rows: lists of images (c, h, w) in [0, 1], one a row of the figure.

    names: a text left of each row; under: lists of texts like rows, '' for none; titles: a text
    above each column; size: inches a picture.
    """
    m, under = len(rows[0]), under or [[""] * len(row) for row in rows]
    # room for a line of text under a picture, and for the names
    tall = 0.28 * max(t.count("\n") + 1 if t else 0 for row in under for t in row)
    shape = (size * max(4, m) + (1.2 if names else 0), (size + tall) * len(rows) + 0.3)
    fig, axes = plt.subplots(len(rows), m, figsize=shape, squeeze=False)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            ax = axes[i, j]
            ax.imshow(_seen(image), **LOOKS)
            _bare(ax)
            if under[i][j]:
                ax.set_xlabel(under[i][j], fontsize=12, labelpad=2)
            if i == 0 and titles:
                ax.set_title(titles[j], fontsize=13)
        if names:
            axes[i, 0].set_ylabel(names[i], fontsize=13, rotation=0, ha="right", va="center",
                                  labelpad=8)
    return fig


def beside(pictures, originals, **looks):
    """A gallery with the originals on top and rows of rebuilt pictures, each with its PSNR.

    pictures: name -> tensors (n, c, h, w); looks: settings of gallery.
    """
    rows = [originals, *pictures.values()]
    under = [[""] * len(originals)] + [[decibels(a, b) for a, b in zip(row, originals, strict=True)]
                                       for row in pictures.values()]
    return gallery(rows, names=("deleted", *pictures), under=under, **looks)


def decibels(image, original) -> str:
    """'23 dB': the PSNR of a picture, as a text to stand under it."""
    return f"{psnr(image, original).item():.0f} dB"


# --------------------------------------------------------------------------------- the explorer


def unlearners(sizes) -> list[str]:
    """What the explorer's list offers."""
    return ["ascent"] + [f"exact, N = {n}" for n in sizes]


def _leave(w, how, u):
    """θ and the difference, after a request of the first u rows."""
    n, recipe = 32, {}
    if how != "ascent":
        n, recipe = int(how.split("= ")[1]), dict(epochs=5) | RECIPES["ordinary"]
    theta = tune(w, "mlp", list(range(n)), **recipe)
    after = (ascend(w, theta, range(u)) if how == "ascent"
             else tune(w, "mlp", list(range(u, n)), seed=1, **recipe))
    return theta, attack.difference(theta, after)


def frames(attacker, job) -> dict:
    """A request of u rows, rebuilt: (unlearner, weight of the prior, iteration) -> pictures, in the
    judge's order. job: (world, u, names of unlearners, iterations, the last one being the end)
    """
    w, u, hows, steps = job
    out = {}
    for how in hows:
        theta, aim = _leave(w, how, u)
        found = attacker.search(w, theta, aim.repeat(len(TVS), 1),
                                w.label[None, :u].repeat(len(TVS), 1), tv=torch.tensor(TVS),
                                steps=steps[-1], frames=steps[:-1])
        for at, tv in enumerate(TVS):
            order = assign(found.images[at], w.pixels[:u])
            out |= {(how, tv, s): frame[at][order].cpu() for s, frame in found.frames.items()}
    return out


def panel(w, films):
    """The explorer's figure, and what redraws it. films: rows in the request -> what frames made.

    -> (figure, redraw(step, tv, batch, how) -> a sentence that says what is seen)
    """
    most, shape, colours = max(films), w.data.shape[1:], w.data.shape[0]
    figure = Figure(figsize=(9, 5.2), layout="none")
    axes = figure.subplots(2, most, squeeze=False)
    figure.subplots_adjust(left=0.12, right=0.99, bottom=0.08, top=0.97, wspace=0.1, hspace=0.12)
    blank = np.zeros((*shape, *(3,) * (colours == 3)))
    drawn = [[ax.imshow(blank, **LOOKS) for ax in row] for row in axes]
    for ax in axes.flat:
        _bare(ax)
    for ax, text in zip(axes[:, 0], ("deleted", "rebuilt"), strict=True):
        ax.set_ylabel(text, fontsize=14)

    def redraw(step, tv, batch, how):
        shown, pixels = films[batch][how, tv, step], w.pixels.cpu()
        values = psnr(shown, pixels[:batch])
        for j in range(most):
            for row, source in enumerate((pixels, shown)):
                axes[row, j].set_visible(j < batch)
                if j < batch:
                    drawn[row][j].set_data(_seen(source[j]))
            if j < batch:
                axes[1, j].set_xlabel(f"{values[j].item():.1f} dB\n(class mean "
                                      f"{w.guess[j].item():.1f} dB)", fontsize=12)
        over = (values - w.guess[:batch].cpu()).mean().item()
        return (f"{how}, {batch} row{'s' * (batch > 1)} in the request, prior {tv:g}, after {step} "
                f"iterations: {over:+.1f} dB against the class mean.")

    return figure, redraw
