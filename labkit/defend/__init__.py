"""Defences: benign request streams, gates in front of the unlearner, the desk's rules, a monitor over time."""

from .desk import Desk, chi_squared, coherence, features, last_inputs, prepare, self_influence
from .gates import (
    conformal_limit,
    gradient_gate,
    isolated,
    isolation_gate,
    label_gate,
    loss_gate,
    medoids,
    residuals,
    threshold,
)
from .monitor import Monitor, cusum, detection, deviations, fit, fit_cusum, mean_and_precision, score
from .private import Spent, composed, epsilon_of, fit_private, group_epsilon, membership_bound, noise_for
from .release import Filtered, add_noise, finetune_release, label_only, prune, rounded, tempered, top_k, update_rms
from .requests import (
    calibrate,
    canary,
    check_contents,
    decide,
    influence_scores,
    outliers,
    quarantine,
    register,
    row_hash,
    split_request,
)
from .streams import REALISTIC, STREAMS, benign

__all__ = [
    "REALISTIC", "STREAMS", "Desk", "Filtered", "Monitor", "Spent", "add_noise", "benign", "calibrate", "canary",
    "check_contents", "chi_squared", "coherence", "composed", "conformal_limit", "cusum", "decide", "detection",
    "deviations", "epsilon_of", "features", "finetune_release", "fit", "fit_cusum", "fit_private", "gradient_gate",
    "group_epsilon", "influence_scores", "isolated", "isolation_gate", "label_gate", "label_only", "last_inputs",
    "loss_gate", "mean_and_precision", "medoids", "membership_bound", "noise_for", "outliers", "prepare", "prune",
    "quarantine", "register", "residuals", "rounded", "row_hash", "score", "self_influence", "split_request",
    "tempered", "threshold", "top_k", "update_rms",
]
