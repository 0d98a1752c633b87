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

__all__ = [
    "apply_mask", "ascent_bound", "attach_mask", "check_mask", "detach_mask", "disparity",
    "fit_masked", "imp", "magnitude_mask", "omp", "prune_then", "synflow_mask", "synflow_scores",
    "weight_distance",
]
