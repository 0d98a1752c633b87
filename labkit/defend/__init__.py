"""Defences: benign request streams, what gates need, promises of privacy."""

from .gates import (
    gradient_gate,
    isolated,
    medoids,
    residuals,
    threshold,
)
from .privacy import gaussian_delta, gaussian_epsilon, group_epsilon
from .streams import REALISTIC, STREAMS, benign

__all__ = [
    "REALISTIC", "STREAMS", "benign", "gaussian_delta", "gaussian_epsilon", "gradient_gate",
    "group_epsilon", "isolated", "medoids", "residuals", "threshold",
]
