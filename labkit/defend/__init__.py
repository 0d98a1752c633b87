"""Defences: benign request streams, what gates need, promises of privacy."""

from .gates import isolated, medoids, residuals, threshold
from .privacy import group_epsilon
from .streams import REALISTIC, STREAMS, benign

__all__ = [
    "REALISTIC", "STREAMS", "benign", "group_epsilon", "isolated", "medoids", "residuals",
    "threshold",
]
