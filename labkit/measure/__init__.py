"""Measures: accuracy and cost, membership inference, uncertainty, intervals."""

from .accuracy import Cost, accuracy, evaluate, gap, timed, unlearning_accuracy
from .intervals import bootstrap_interval, show_interval, t_interval
from .membership import (
    auc,
    best_threshold,
    label_free_features,
    loss_scores,
    membership_auc,
    population_attack,
    svc_mia,
    tpr_at_fpr,
)
from .uncertainty import brier, ece, entropy, nll

__all__ = [
    "Cost", "accuracy", "auc", "best_threshold", "bootstrap_interval", "brier", "ece", "entropy", "evaluate", "gap",
    "label_free_features", "loss_scores", "membership_auc", "nll", "population_attack", "show_interval", "svc_mia",
    "t_interval", "timed", "tpr_at_fpr", "unlearning_accuracy",
]
