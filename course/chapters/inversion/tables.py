"""Linear models: trials of the closed form on images and on tables."""

import numpy as np
import torch
import torch.nn.functional as F

from .code import fit_linear, rebuild_row
from .worlds import cosine

TABLES = ("breast-cancer", "loans")


def halves(data, seed: int, side: int):
    """Rows of a data set, half private, half public: a table's columns, or images averaged down to
    side × side. -> x, y (private), x, y (public)
    """
    d = data.resplit(seed)
    x = torch.cat([d.x, d.x_test])
    x, y = (F.adaptive_avg_pool2d(x, side).flatten(1) if x.dim() == 4 else x,
            torch.cat([d.y, d.y_test]))
    half = len(x) // 2
    return x[:half], y[:half], x[half:], y[half:]


def one_deletion(data, seed: int, j: int, penalty: float, side: int = 0):
    """Two ridge regressions, without and with the exact deletion of row j, and what is public.

    -> before (d + 1,), after (d + 1,), public rows (m, d), n, the deleted row (d,), its class mean
    """
    x, y, public, known = halves(data, seed, side)
    left = [r for r in range(len(x)) if r != j]
    before, after = (fit_linear(x[r], y[r], loss="square", penalty=penalty)[0]
                     for r in (range(len(x)), left))
    return before, after, public.double(), len(x), x[j].double(), public[known == y[j]].mean(0)


def linear_trial(job) -> list[dict]:
    """Train, delete a row exactly, rebuild it, m times. job: (name, data, loss, penalty, seed,
    side, m) -> records: cosine with that row of the rebuilt one, of its class mean, and of the
    public row whose prediction changed most.
    """
    name, data, loss, penalty, seed, side, m = job
    x, y, public, known = halves(data, seed, side)
    fit, rows = dict(loss=loss, penalty=penalty), []
    ones = torch.ones(len(public), 1, device=x.device)
    full = fit_linear(x, y, **fit)
    for j in range(m):
        left = [r for r in range(len(x)) if r != j]
        less = fit_linear(x[left], y[left], **fit)
        found = rebuild_row(full, less, public, n=len(x), **fit)
        moved = (torch.cat([public, ones], 1).double() @ (less - full).T.to(x.device)).norm(dim=1)
        guesses = found.row.to(x.device), public[known == y[j]].mean(0), public[moved.argmax()]
        close = [cosine(v.double(), x[j].double()) for v in guesses]
        rows.append(dict(data=name, loss=loss, penalty=penalty, seed=seed, side=side, j=j,
                         rebuilt=close[0], mean=close[1], changed=close[2], columns=x.shape[1],
                         n=len(x), public=len(public), unclear=found.ill_conditioned))
    return rows


def linear_jobs(sources, images: str, seeds, m: int):
    """All trials, and the size of picture that is judged. sources: name -> Data -> (jobs, side)

    Ridge regression on pictures of several sizes, a softmax on one, and two losses on tables. The
    judged size is the largest with at least as many rows a column as the paper's image sets.
    """
    data = sources[images]
    half, (channels, *sides) = (len(data.y) + len(data.y_test)) // 2, data.shape
    tried = [s for s in (2, 3, 4, 5, 7, 10)
             if s <= min(sides) and half / (channels * s * s) >= 5]
    side = max([s for s in tried if half / (channels * s * s) >= 60000 / 784], default=2)
    soft = "softmax" if data.n_classes > 2 else "logistic"
    jobs = [(images, data, "square", 1.0, s, size, m) for s in seeds for size in tried]
    jobs += [(images, data, soft, 10.0, s, min(4, side), 4) for s in seeds]
    jobs += [(name, sources[name], loss, p, s, 0, m) for name in TABLES for s in seeds
             for loss, p in (("square", 1.0), ("square", 10.0), ("square", 100.0),
                             ("logistic", 10.0))]
    return jobs, side


def rule_of_thumb(rows_a_column) -> np.ndarray:
    """Cosine to expect with so many private and as many public rows a column: 1 / √(1 + 2 d/n)."""
    return 1 / np.sqrt(1 + 2 / np.asarray(rows_a_column))


def sizes_told(on_images) -> str:
    """What the panel of cosines against rows a column shows, on records of linear_trial."""
    by = on_images.groupby("side")
    ratio, close = by.n.first() / by["columns"].first(), by[["rebuilt", "mean"]].mean()
    least = ratio.idxmin()
    above = bool((close.rebuilt > rule_of_thumb(ratio)).all())
    return (f"With {ratio[least]:.0f} rows a column, the fewest in the right panel, it is "
            f"{close.rebuilt[least]:.3f}, and the class mean's {close['mean'][least]:.2f}."
            + " At every size the mean cosine lies above the rule of thumb." * above)
