"""Gates in front of a request: what scores of suspicion stand on, and thresholds of a refusal."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from ..base import LabError
from ..rules import checked
from ..training import predict


def residuals(model, x, y) -> torch.Tensor:
    """Each row's loss gradient in its logits, softmax − one-hot, a proxy of its own. -> (n, k)."""
    logits = predict(model, x)
    return logits.softmax(1) - F.one_hot(y, logits.shape[1])


@checked
def medoids(proxy, share: float = 0.1):
    """Rows that stand for all others, by greedy facility location. (n, k) -> picked, joined (n,).

    Picked, one after the other, is the row that raises Σ_i max_m (d_max − ‖proxy_i − proxy_m‖)
    most, until c = ⌈share · n⌉, or until every row has a twin among the picked. joined: for each
    row the position in `picked` (c,) of the medoid it is most similar to. Greedy reaches at least
    1 − 1/e of the best sum (Nemhauser et al. 1978).
    """
    if not len(proxy) or not torch.isfinite(proxy).all():
        raise LabError(f"Medoids were asked of {len(proxy)} rows with NaN, infinity or nothing in "
                       "them: give at least one row of finite gradients.")
    distance = torch.cdist(proxy, proxy, compute_mode="donot_use_mm_for_euclid_dist")
    similarity = distance.max() - distance
    best, picked = torch.zeros(len(proxy), device=proxy.device), []
    for _ in range(math.ceil(share * len(proxy))):
        gain = (similarity - best[:, None]).clamp(min=0).sum(0)
        gain[picked] = -1
        if picked and gain.max() <= 1e-6 * len(proxy) * distance.max():
            break  # every row has a twin: another medoid would look isolated for nothing
        picked.append(int(gain.argmax()))
        best = torch.maximum(best, similarity[:, picked[-1]])
    joined = similarity[:, picked].argmax(1)
    joined[picked] = torch.arange(len(picked), device=proxy.device)
    return torch.tensor(picked, device=proxy.device), joined


def isolated(model, x, y, share: float = 0.1) -> torch.Tensor:
    """Which rows have a gradient unlike all others of their class. -> (n,) bool.

    In each class, ⌈share · n_c⌉ `medoids` of the residuals are picked; every row joins its most
    similar medoid; a row that is alone there is isolated. Source: EPIC (Yang et al. 2022), cluster
    size ≤ 1; as a filter of requests it is a reconstruction of Qian et al. 2023.
    """
    proxy, alone = residuals(model, x, y), torch.zeros(len(y), dtype=torch.bool, device=y.device)
    for c in y.unique():
        rows = (y == c).nonzero().squeeze(1)
        _, joined = medoids(proxy[rows], share)
        alone[rows] = torch.bincount(joined)[joined] <= 1
    return alone


@checked
def threshold(scores, false_positives: float = 0.01) -> float:
    """The score above which at most a share `false_positives` of benign requests lies.

    Refuse what is above it. Needs at least 1 / false_positives scores: fewer cannot show so small a
    share.
    """
    scores = sorted_scores(scores, false_positives)
    return float(scores[len(scores) - 1 - int(np.floor(len(scores) * false_positives))])


def sorted_scores(scores, false_positives):
    """The scores as a sorted array, if they are finite and enough to show so small a share."""
    scores = np.sort(np.asarray(scores, dtype=float))
    if len(scores) * false_positives < 1 - 1e-9:
        raise LabError(f"{len(scores)} benign requests cannot show a share of {false_positives}: "
                       f"give at least {math.ceil(1 / false_positives - 1e-9)}.")
    if not np.isfinite(scores).all():
        raise LabError("A threshold was asked of scores with NaN or infinity in them: look for the "
                       "request that broke the model.")
    return scores


def gradient_gate(proxy, request) -> float:
    """Norm of the mean residual of the requested rows: large when they all pull one way.

    proxy: from `residuals`.
    """
    return proxy[request].mean(0).norm().item()
