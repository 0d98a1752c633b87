"""Measures: accuracy and cost, membership inference, uncertainty, images, intervals."""

from .accuracy import Cost, accuracy, disparity, evaluate, gap, timed, unlearning_accuracy, weight_distance
from .images import assign, lpips, mse, psnr, ssim
from .intervals import decimals, interval, show_interval
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
from .uncertainty import (
    brier,
    conformal_sets,
    conformal_threshold,
    ece,
    entropy,
    fit_temperature,
    mc_dropout,
    nll,
)

__all__ = [
    "Cost", "accuracy", "assign", "auc", "best_threshold", "brier", "conformal_sets", "conformal_threshold", "decimals",
    "disparity", "ece", "entropy", "evaluate", "fit_temperature", "gap", "interval", "label_free_features",
    "loss_scores", "lpips", "mc_dropout", "membership_auc", "mse", "nll", "population_attack", "psnr", "show_interval",
    "ssim", "svc_mia", "timed", "tpr_at_fpr", "unlearning_accuracy", "weight_distance",
]
