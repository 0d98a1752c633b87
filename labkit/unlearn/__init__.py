"""Unlearning methods, one signature: method(model, data, forget, *, settings) -> new model."""

from . import sisa
from .exact import retrain
from .first_order import finetune, first_order, gradient_ascent, neggrad_plus, random_labels, scrub
from .second_order import fisher_forgetting, influence, ssd

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
}

__all__ = [*METHODS, "METHODS", "sisa"]
