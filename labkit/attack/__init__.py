"""Attacks: requests for deletion that do harm. Each function takes only what its threat model grants."""

from .blackbox import two_point, zeroth_order_effects
from .crafted import craft, matching
from .holdings import BlackBox, Holdings, UnlearningOracle, check_request, hold
from .requests import (
    Choice,
    ascent,
    baseline,
    choose,
    first_order_effects,
    influence_effects,
    logits_at,
    newton,
    project,
    removal,
    through,
)
from .sequential import at_once, campaign, replan, spread
from .uncertainty import (
    check_target,
    ensemble_outputs,
    label_flip,
    margin,
    miscalibration,
    overconfidence,
    pick_targets,
    set_size,
    soft_threshold,
    underconfidence,
)

__all__ = [
    "BlackBox", "Choice", "Holdings", "UnlearningOracle", "ascent", "at_once", "baseline", "campaign", "check_request",
    "check_target", "choose", "craft", "ensemble_outputs", "first_order_effects", "hold", "influence_effects",
    "label_flip", "logits_at", "margin", "matching", "miscalibration", "newton", "overconfidence", "pick_targets",
    "project", "removal", "replan", "set_size", "soft_threshold", "spread", "through", "two_point", "underconfidence",
    "zeroth_order_effects",
]
