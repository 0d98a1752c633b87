"""Unlearning methods, one signature: method(model, data, forget, *, settings) -> new model."""

from . import sisa
from .exact import retrain
from .first_order import finetune, first_order, gradient_ascent, neggrad_plus, random_labels, scrub
from .masks import prunable, sparsity
from .second_order import fisher_forgetting, influence, ssd
from .sparse import l1_finetune, l1_norm, l1_strength, saliency_mask, salun

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
    *METHODS, "METHODS", "l1_norm", "l1_strength", "prunable", "saliency_mask",
    "sisa", "sparsity",
]
