"""Attacks: requests that do harm, and readers of what a deletion gives away. Each function takes only what its threat
model grants."""

from .adaptive import average, kept, masked, rescale, subtract_path
from .crafted import craft, matching
from .differences import difference, flat, through_curvature, unflat, weighted_difference
from .evasion import clustered, conspicuous, evading, monitored, side_effect, unlike
from .holdings import BlackBox, Holdings, UnlearningOracle, check_request, hold
from .inversion import Inversion, invert, leak, similarity, total_variation
from .labels import Probes, confidence_change, deleted_classes, label_of_update, probes_by_gradient, probes_by_queries
from .linear import Rebuilt, fit_linear, rebuild_row
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
from .zeroth_order import two_point, zeroth_order_effects

__all__ = [
    "BlackBox", "Choice", "Holdings", "Inversion", "Probes", "Rebuilt", "UnlearningOracle", "ascent", "at_once",
    "average", "baseline", "campaign", "check_request", "check_target", "choose", "clustered", "confidence_change",
    "conspicuous", "craft", "deleted_classes", "difference", "ensemble_outputs", "evading", "first_order_effects",
    "fit_linear", "flat", "hold", "influence_effects", "invert", "kept", "label_flip", "label_of_update", "leak",
    "logits_at", "margin", "masked", "matching", "miscalibration", "monitored", "newton", "overconfidence",
    "pick_targets", "probes_by_gradient", "probes_by_queries", "project", "rebuild_row", "removal", "replan",
    "rescale", "set_size", "side_effect", "similarity", "soft_threshold", "spread", "subtract_path", "through",
    "through_curvature", "total_variation", "two_point", "underconfidence", "unflat", "unlike", "weighted_difference",
    "zeroth_order_effects",
]
