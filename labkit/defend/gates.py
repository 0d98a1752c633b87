"""Gates before a request is carried out: each gives a suspicion score, higher is more suspicious.

These are the defences that people already have against conventional attacks. A gate tries the request on a copy
first (before, after: logits of clean validation rows), or looks at the gradients of the requested rows.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from ..base import LabError
from ..training import predict


def loss_gate(before, after, labels) -> float:
    """Rise of the validation loss, nats. before, after: (n, k) logits; labels (n,)."""
    return (F.cross_entropy(after, labels) - F.cross_entropy(before, labels)).item()


def label_gate(before, after) -> float:
    """Share of validation rows whose predicted label changes. (n, k), (n, k) -> 0 to 1."""
    return (before.argmax(1) != after.argmax(1)).double().mean().item()


def residuals(model, x, y) -> torch.Tensor:
    """Gradient of each row's loss in its logits, softmax − one-hot: the usual proxy of its gradient. -> (n, k)."""
    logits = predict(model, x)
    return logits.softmax(1) - F.one_hot(y, logits.shape[1])


def isolated(model, x, y, share: float = 0.1) -> torch.Tensor:
    """Which rows have a gradient unlike all others of their class. -> (n,) bool.

    In each class, ⌈share · n_c⌉ medoids of the residuals are picked greedily (facility location); every row joins its
    most similar medoid; a row that is alone there is isolated. Source: EPIC (Yang et al. 2022), cluster size ≤ 1; as a
    filter of requests it is a reconstruction of Qian et al. 2023.
    """
    proxy, alone = residuals(model, x, y), torch.zeros(len(y), dtype=torch.bool, device=y.device)
    for c in y.unique():
        rows = (y == c).nonzero().squeeze(1)
        distance = torch.cdist(proxy[rows], proxy[rows], compute_mode="donot_use_mm_for_euclid_dist")
        similarity = distance.max() - distance
        best, medoids = torch.zeros(len(rows), device=y.device), []
        for _ in range(math.ceil(share * len(rows))):
            gain = (similarity - best[:, None]).clamp(min=0).sum(0)
            gain[medoids] = -1
            if medoids and gain.max() <= 1e-6 * len(rows) * distance.max():
                break  # every row has a twin among the medoids: another one would look isolated for nothing
            medoids.append(int(gain.argmax()))
            best = torch.maximum(best, similarity[:, medoids[-1]])
        joined = similarity[:, medoids].argmax(1)
        joined[medoids] = torch.arange(len(medoids), device=y.device)
        alone[rows] = torch.bincount(joined, minlength=len(medoids))[joined] <= 1
    return alone


def isolation_gate(alone, request) -> float:
    """Share of the requested rows that are isolated. alone: from `isolated`."""
    return alone[request].double().mean().item()


def gradient_gate(proxy, request) -> float:
    """Norm of the mean residual of the requested rows: large when they all pull one way. proxy: from `residuals`."""
    return proxy[request].mean(0).norm().item()


def threshold(scores, false_positives: float = 0.01) -> float:
    """The score above which at most a share `false_positives` of benign requests lies. Refuse what is above it.

    Needs at least 1 / false_positives scores: fewer cannot show so small a share.
    """
    scores = np.sort(np.asarray(scores, dtype=float))
    if len(scores) * false_positives < 1:
        raise LabError(f"{len(scores)} benign requests cannot show a share of {false_positives}: give at least "
                       f"{int(np.ceil(1 / false_positives))}.")
    return float(scores[len(scores) - 1 - int(np.floor(len(scores) * false_positives))])
