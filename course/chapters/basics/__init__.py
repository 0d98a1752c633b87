"""What only the chapter on basics uses."""

from .code import (
    auc,
    best_threshold,
    label_free_features,
    loss_scores,
    membership_auc,
    population_attack,
)

__all__ = [
    "auc", "best_threshold", "label_free_features", "loss_scores", "membership_auc",
    "population_attack",
]
