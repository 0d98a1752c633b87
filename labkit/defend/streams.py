"""Benign requests: what people ask for who mean no harm. A monitor's threshold is set on these, never on an attack."""

import numpy as np
import torch

from ..base import LabError
from ..rules import checked_seed, is_whole

# The first is the easy one that papers use; a fair threshold comes from the other four.
STREAMS = ("random", "one-user", "one-class", "hard-rows", "look-alikes")
REALISTIC = STREAMS[1:]


def benign(kind, data, size, count, seed, losses=None) -> list[torch.Tensor]:
    """`count` deletion requests of `size` training rows each (fewer where there are no more). -> LongTensors.

    random: any rows. one-user: a person with few interests, whose class shares are drawn from Dirichlet(0.3) (the
    usual split of federated learning). one-class: rows of one class. hard-rows: drawn in proportion to their loss,
    as when people withdraw what was labelled wrongly; needs `losses` (n,). look-alikes: a row and its nearest
    neighbours by pixels, as when one thing was photographed many times.
    """
    rng, y = np.random.default_rng(checked_seed(seed)), data.y.cpu().numpy()
    n = len(y)
    if kind not in STREAMS:
        raise LabError(f"There is no stream {kind!r}: choose one of {', '.join(STREAMS)}.")
    if not is_whole(size) or not 1 <= size < n:
        raise LabError(f"A request of {size!r} rows was asked for from {n}: give 1 to {n - 1}.")
    if kind == "hard-rows" and losses is None:
        raise LabError("The stream hard-rows needs the loss of each training row: give losses=(n,) values.")
    if losses is not None and (np.shape(losses) != (n,) or not np.isfinite(losses).all()):
        raise LabError(f"The losses have the shape {np.shape(losses)}, or NaN in them: give one finite number for each "
                       f"of the {n} training rows.")
    classes = [np.flatnonzero(y == c) for c in np.unique(y)]
    flat = data.x.flatten(1)
    requests = []
    for _ in range(count):
        if kind == "random":
            rows = rng.choice(n, size, replace=False)
        elif kind == "one-class":
            rows = rng.permutation(classes[rng.integers(len(classes))])[:size]
        elif kind == "one-user":
            share = rng.dirichlet(np.full(len(classes), 0.3))
            p = np.concatenate([np.full(len(c), s / len(c)) for c, s in zip(classes, share, strict=True)])
            rows = rng.choice(np.concatenate(classes), min(size, int((p > 0).sum())), replace=False, p=p)
        elif kind == "hard-rows":
            p = np.asarray(losses, dtype=float) + 1e-6
            rows = rng.choice(n, size, replace=False, p=p / p.sum())
        else:
            centre = flat[[int(rng.integers(n))]]  # cdist without a difference of all rows in memory
            distance = torch.cdist(centre, flat, compute_mode="donot_use_mm_for_euclid_dist")[0]
            rows = distance.topk(size, largest=False).indices.cpu().numpy()
        requests.append(torch.from_numpy(np.sort(rows)).to(data.device))
    return requests
