"""Benign requests: what people ask for who mean no harm. Thresholds are set on these alone."""

import numpy as np
import torch

from ..base import LabError
from ..rules import checked, is_whole

# The first is the easy one that papers use; a fair threshold comes from the other four.
STREAMS = ("random", "one-user", "one-class", "hard-rows", "look-alikes")
REALISTIC = STREAMS[1:]


@checked(size=None, count="steps")
def benign(kind, data, size, count, seed, losses=None) -> list[torch.Tensor]:
    """`count` (0 or more) deletion requests of `size` training rows each, or as many as there are.

    random: any rows. one-user: a person with few interests, whose class shares are drawn from
    Dirichlet(0.3) (the usual split of federated learning). one-class: rows of one class. hard-rows:
    drawn in proportion to their loss, as when people withdraw what was labelled wrongly; needs
    `losses` (n,). look-alikes: a row and its nearest neighbours by pixels, as when one thing was
    photographed many times.
    """
    n = len(data.y)
    if not is_whole(size) or not 1 <= size < n:
        raise LabError(f"A request of {size!r} rows was asked for from {n}: give 1 to {n - 1}.")
    if kind == "hard-rows" and losses is None:
        raise LabError("The stream hard-rows needs the loss of each training row: give "
                       "losses=(n,) values.")
    if losses is not None and (np.shape(losses) != (n,) or not np.isfinite(losses).all()):
        raise LabError(f"The losses have the shape {np.shape(losses)}, or NaN in them: give one "
                       f"finite number for each of the {n} training rows.")
    draw = _drawer(kind, data, size, np.random.default_rng(seed), losses)
    return [torch.from_numpy(np.sort(draw())).to(data.device) for _ in range(count)]


def _drawer(kind, data, size, rng, losses):
    """The function that draws the rows of the next request."""
    y = data.y.cpu().numpy()
    n, classes, flat = len(y), [np.flatnonzero(y == c) for c in np.unique(y)], data.x.flatten(1)

    def one_class():
        return rng.permutation(classes[rng.integers(len(classes))])[:size]

    def one_user():
        share = rng.dirichlet(np.full(len(classes), 0.3))
        p = np.repeat(share / [len(c) for c in classes], [len(c) for c in classes])
        return rng.choice(np.concatenate(classes), min(size, int((p > 0).sum())), replace=False,
                          p=p)

    def hard_rows():
        p = np.asarray(losses, dtype=float) + 1e-6
        return rng.choice(n, size, replace=False, p=p / p.sum())

    def look_alikes():
        centre = flat[[int(rng.integers(n))]]
        # without a difference of all rows in memory
        distance = torch.cdist(centre, flat, compute_mode="donot_use_mm_for_euclid_dist")[0]
        return distance.topk(size, largest=False).indices.cpu().numpy()

    drawers = {"random": lambda: rng.choice(n, size, replace=False), "one-user": one_user,
               "one-class": one_class, "hard-rows": hard_rows, "look-alikes": look_alikes}
    if kind not in drawers:
        raise LabError(f"There is no stream {kind!r}: choose one of {', '.join(STREAMS)}.")
    return drawers[kind]
