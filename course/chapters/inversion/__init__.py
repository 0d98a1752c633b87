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

__all__ = [
    "Rebuilt", "assign", "fit_linear", "label_of_update", "probes_by_queries", "rebuild_row",
    "ssim", "through_curvature", "weighted_difference",
]
