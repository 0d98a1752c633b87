"""What only the chapter on sparsity uses."""

from .code import (
    apply_mask,
    ascent_bound,
    attach_mask,
    check_mask,
    detach_mask,
    disparity,
    fit_masked,
    fitting,
    imp,
    magnitude_mask,
    masked,
    omp,
    prune_then,
    synflow_mask,
    synflow_scores,
    weight_distance,
)

__all__ = [
    "apply_mask", "ascent_bound", "attach_mask", "check_mask", "detach_mask", "disparity",
    "fit_masked", "fitting", "imp", "magnitude_mask", "masked", "omp", "prune_then",
    "synflow_mask", "synflow_scores", "weight_distance",
]
