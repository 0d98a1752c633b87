"""How sure a model is, and whether it is right to be: entropy, calibration error, Brier score, likelihood."""

import torch
import torch.nn.functional as F


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
    """Expected calibration error of the top label: mean |confidence − accuracy| over equal-width bins; 0 to 1."""
    from torchmetrics.functional.classification import multiclass_calibration_error

    return multiclass_calibration_error(probabilities, labels, probabilities.shape[1], n_bins=bins, norm="l1").item()
