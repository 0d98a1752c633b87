"""What only the chapter on sparsity uses."""

from .code import (
    apply_mask,
    ascent_bound,
    attach_mask,
    check_mask,
    detach_mask,
    disparity,
    fit_masked,
    imp,
    magnitude_mask,
    omp,
    prune_then,
    synflow_mask,
    synflow_scores,
    weight_distance,
)
from .extras import flip_and_crop, network

__all__ = [
    "apply_mask", "ascent_bound", "attach_mask", "check_mask", "detach_mask", "disparity",
    "fit_masked", "flip_and_crop",
    "imp", "magnitude_mask", "network", "omp", "prune_then", "synflow_mask", "synflow_scores",
    "weight_distance",
]
