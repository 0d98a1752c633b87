"""How sure a model is, and whether it is right to be: entropy, calibration error, Brier score, likelihood."""

import math

import torch
import torch.nn.functional as F
from torch.func import functional_call

from ..base import LabError


def entropy(probabilities) -> torch.Tensor:
    """Entropy of each row in nats, between 0 and ln k. (n, k) -> (n,)."""
    return torch.special.entr(probabilities).sum(1)


def nll(logits, labels) -> float:
    """Mean negative log-likelihood of the labels in nats. (n, k), (n,) -> float."""
    return F.cross_entropy(logits, labels).item()


def brier(probabilities, labels) -> float:
    """Brier score: squared error of the whole probability vector, summed over classes, mean over rows; 0 to 2."""
    return (probabilities - F.one_hot(labels, probabilities.shape[1])).pow(2).sum(1).mean().item()


def ece(probabilities, labels, bins: int = 10) -> float:
    """Expected calibration error of the top label: mean |confidence − accuracy| over equal-width bins; 0 to 1.

    A bin holds its lower edge, the last one also 1: torchmetrics gives confidences of exactly 1, which overfitted
    networks have, a bin of their own.
    """
    confidence, called = probabilities.max(1)
    off = confidence - (called == labels).to(confidence.dtype)
    which = (confidence * bins).long().clamp(max=bins - 1)
    return (off.new_zeros(bins).index_add(0, which, off).abs().sum() / len(labels)).item()


def fit_temperature(logits, labels) -> float:
    """The T > 0 that minimises the likelihood loss of softmax(logits / T) on calibration rows. (n, k), (n,) -> float.

    Source: Guo et al. 2017. Between 0.05 and 20, by bounded scalar search over log T.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(lambda log_t: nll(logits / math.exp(log_t), labels), bounds=(-3.0, 3.0), method="bounded",
                            options={"xatol": 1e-3})
    return math.exp(found.x)


def mc_dropout(model, x, passes: int = 20, seed: int = 0, params=None) -> torch.Tensor:
    """Mean probabilities over passes with dropout left on, and the masks fixed by the seed. (n, …) -> (n, k).

    params: weights by name to use instead of the model's own; differentiable in them, so that an attack can aim at
    it. Source: Gal and Ghahramani 2016.
    """
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    if not layers:
        raise LabError("MC dropout needs a network with dropout: build one, e.g. models.build('mlp', …, dropout=0.2).")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in layers:
            layer.train()
        try:
            logits = functional_call(model, params or {}, (x.repeat(passes, *[1] * (x.dim() - 1)),))
        finally:
            for layer in layers:
                layer.eval()
    return logits.softmax(1).view(passes, len(x), -1).mean(0)


def conformal_threshold(probabilities, labels, alpha: float = 0.1) -> float:
    """Split conformal threshold q: the ⌈(n + 1)(1 − α)⌉-th smallest score 1 − p(label) of n calibration rows.

    Sets {c: 1 − p_c ≤ q} then hold the true label with probability at least 1 − α on rows drawn like the calibration
    rows; 1 when n is too small for that. Source: Sadinle et al. 2019 (least ambiguous sets).
    """
    scores = (1 - probabilities.gather(1, labels[:, None]).squeeze(1)).sort().values
    rank = math.ceil((len(scores) + 1) * (1 - alpha) - 1e-9)  # 10 · (1 − 0.7) is a hair above 3
    return scores[rank - 1].item() if rank <= len(scores) else 1.0


def conformal_sets(probabilities, threshold: float) -> torch.Tensor:
    """Which labels are in each row's prediction set. (n, k) -> (n, k) bool."""
    return 1 - probabilities <= threshold
