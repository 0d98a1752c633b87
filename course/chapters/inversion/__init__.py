"""What only the chapter on inversion uses."""

from .code import (
    Rebuilt,
    assign,
    fit_linear,
    label_of_update,
    probes_by_queries,
    rebuild_row,
    ssim,
    through_curvature,
    weighted_difference,
)
from .crowds import crowd, crowd_gains, gains, no_prior, smooth, with_prior
from .labels import SHARES, deleted_class, labels_read, labels_trial
from .pictures import decibels, frames, gallery, panel, unlearners
from .searches import TVS, Attacker, first_look, gain, leaked, rehearse
from .sweeps import closeness, exact_records, method_records, on_network, rounded
from .tables import TABLES, halves, linear_jobs, linear_trial, one_deletion, rule_of_thumb
from .worlds import (
    CNN,
    RECIPES,
    ascend,
    cosine,
    others,
    prepare,
    pretrain,
    retrained,
    true_gradient,
    tune,
    world,
)

__all__ = [
    "CNN", "RECIPES", "SHARES", "TABLES", "TVS", "Attacker", "Rebuilt", "ascend", "assign",
    "closeness", "cosine", "crowd", "crowd_gains", "decibels", "deleted_class", "exact_records",
    "first_look", "fit_linear", "frames", "gain", "gains", "gallery", "halves", "label_of_update",
    "labels_read", "labels_trial", "leaked", "linear_jobs", "linear_trial", "method_records",
    "no_prior", "on_network", "one_deletion", "others", "panel", "prepare", "pretrain",
    "probes_by_queries", "rebuild_row", "rehearse", "retrained", "rounded", "rule_of_thumb",
    "smooth", "ssim", "through_curvature", "true_gradient", "tune", "unlearners",
    "weighted_difference", "with_prior", "world",
]
