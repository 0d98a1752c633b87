"""Attacks: requests that do harm, readers of what a deletion gives away; each by threat model."""

from .differences import difference, flat, leak, unflat
from .holdings import BlackBox, Holdings, UnlearningOracle, check_request, hold
from .inversion import Inversion, invert, similarity, total_variation
from .labels import Probes, probes_by_gradient
from .requests import (
    Choice,
    baseline,
    choose,
    first_order_effects,
    influence_effects,
    logits_at,
    project,
    removal,
    through,
)
from .uncertainty import label_flip, margin, pick_targets
from .victims import (
    Victim,
    answer,
    influence_against_retraining,
    random_requests,
    step_sizes,
    victim,
)

__all__ = [
    "BlackBox", "Choice", "Holdings", "Inversion", "Probes", "UnlearningOracle", "Victim",
    "answer", "baseline", "check_request", "choose", "difference", "first_order_effects",
    "flat", "hold", "influence_against_retraining", "influence_effects", "invert", "label_flip",
    "leak", "logits_at", "margin", "pick_targets", "probes_by_gradient", "project",
    "random_requests", "removal", "similarity", "step_sizes", "through", "total_variation",
    "unflat", "victim",
]
