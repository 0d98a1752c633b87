"""What only the chapter on basics uses."""

from . import exposure, grids, plots, runs, tables, told
from .code import (
    auc,
    best_threshold,
    label_free_features,
    loss_scores,
    membership_auc,
    membership_scores,
    over_kinds,
    population_attack,
)

__all__ = [
    "auc", "best_threshold", "exposure", "grids", "label_free_features", "loss_scores",
    "membership_auc", "membership_scores", "over_kinds", "plots", "population_attack", "runs",
    "tables", "told",
]
