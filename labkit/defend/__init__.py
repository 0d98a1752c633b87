"""Defences: benign request streams, gates in front of the unlearner, the desk's rules, a monitor over time."""

from .gates import conformal_limit, isolated, medoids, residuals, threshold
from .privacy import group_epsilon
from .streams import REALISTIC, STREAMS, benign

__all__ = [
    "REALISTIC", "STREAMS", "benign", "conformal_limit", "group_epsilon", "isolated", "medoids", "residuals",
    "threshold",
]
