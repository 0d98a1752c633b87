"""Unlearning methods, one signature: method(model, data, forget, *, settings) -> new model."""

from . import sisa
from .first_order import finetune, first_order, gradient_ascent, neggrad_plus, random_labels, scrub
from .masks import prunable, sparsity
from .request import retrain
from .second_order import fisher_forgetting, influence, ssd
from .sparse import l1_finetune, l1_norm, l1_strength, saliency_mask, salun

METHODS = {method.__name__: method for method in (
    retrain, finetune, gradient_ascent, neggrad_plus, random_labels, scrub, ssd, first_order,
    influence, fisher_forgetting, l1_finetune, salun)}

__all__ = [*METHODS, "METHODS", "l1_norm", "l1_strength", "prunable", "saliency_mask", "sisa",
           "sparsity"]
