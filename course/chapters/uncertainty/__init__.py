"""What only the chapter on uncertainty uses."""

from .effects import newton, two_point, zeroth_order_effects
from .estimates import (
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
    "check_target", "conformal_sets", "conformal_threshold", "ensemble_outputs",
    "fit_temperature", "mc_dropout", "newton", "nll", "overconfidence", "set_size",
    "soft_threshold", "two_point", "underconfidence", "zeroth_order_effects",
]
