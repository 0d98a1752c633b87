"""How sure a model is, and whether it is right to be: entropy, calibration error."""

import torch


def entropy(probabilities) -> torch.Tensor:
    """Entropy of each row in nats, between 0 and ln k. (n, k) -> (n,)."""
    return torch.special.entr(probabilities).sum(1)


def ece(probabilities, labels, bins: int = 10) -> float:
    """Expected calibration error of the top label, 0 to 1.

    Mean |confidence − accuracy| over equal-width bins. A bin holds its lower edge, the last one
    also 1: torchmetrics gives confidences of exactly 1, which overfitted networks have, a bin of
    their own.
    """
    confidence, called = probabilities.max(1)
    off = confidence - (called == labels).to(confidence.dtype)
    which = (confidence * bins).long().clamp(max=bins - 1)
    return (off.new_zeros(bins).index_add(0, which, off).abs().sum() / len(labels)).item()
