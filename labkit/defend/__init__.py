"""Defences: benign request streams, and gates in front of the unlearner."""

from .gates import gradient_gate, isolated, isolation_gate, label_gate, loss_gate, residuals, threshold
from .streams import REALISTIC, STREAMS, benign

__all__ = ["REALISTIC", "STREAMS", "benign", "gradient_gate", "isolated", "isolation_gate", "label_gate", "loss_gate",
           "residuals", "threshold"]
