"""What only the chapter on requests uses."""

from .code import (
    at_once,
    campaign,
    craft,
    first_order_effects,
    gradient_gate,
    isolation_gate,
    label_gate,
    loss_gate,
    newton,
    replan,
    spread,
    two_point,
    zeroth_order_effects,
)
from .uncertainty import (
    check_target,
    conformal_sets,
    conformal_threshold,
    ensemble_outputs,
    fit_temperature,
    mc_dropout,
    nll,
    overconfidence,
    set_size,
    soft_threshold,
    underconfidence,
)

__all__ = [
    "at_once", "campaign", "check_target", "conformal_sets", "conformal_threshold", "craft",
    "ensemble_outputs", "first_order_effects", "fit_temperature", "gradient_gate",
    "isolation_gate", "label_gate", "loss_gate", "mc_dropout", "newton", "nll",
    "overconfidence", "replan", "set_size", "soft_threshold", "spread", "two_point",
    "underconfidence", "zeroth_order_effects",
]
