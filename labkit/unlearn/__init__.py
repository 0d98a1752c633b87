"""Unlearning methods, one signature: method(model, data, forget, *, settings) -> new model."""

from . import sisa
from .exact import retrain
from .first_order import finetune, first_order, gradient_ascent, neggrad_plus, random_labels, scrub
from .pruning import (
    apply_mask,
    attach_mask,
    check_mask,
    detach_mask,
    fit_masked,
    imp,
    magnitude_mask,
    omp,
    prunable,
    sparsity,
    synflow_mask,
    synflow_scores,
)
from .second_order import fisher_forgetting, influence, ssd
from .sparse import ascent_bound, l1_finetune, l1_norm, l1_strength, prune_then, saliency_mask, salun

METHODS = {
    "retrain": retrain,
    "finetune": finetune,
    "gradient_ascent": gradient_ascent,
    "neggrad_plus": neggrad_plus,
    "random_labels": random_labels,
    "scrub": scrub,
    "ssd": ssd,
    "first_order": first_order,
    "influence": influence,
    "fisher_forgetting": fisher_forgetting,
    "l1_finetune": l1_finetune,
    "salun": salun,
}

__all__ = [
    *METHODS, "METHODS", "apply_mask", "ascent_bound", "attach_mask", "check_mask", "detach_mask", "fit_masked", "imp",
    "l1_norm", "l1_strength", "magnitude_mask", "omp", "prunable", "prune_then", "saliency_mask", "sisa", "sparsity",
    "synflow_mask", "synflow_scores",
]
