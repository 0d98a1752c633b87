"""What only the chapter on uncertainty uses."""

from . import draw
from .blind import from_answers, surrogates_for
from .choosing import (
    Attacker,
    hingeless,
    overstated,
    plan,
    provider_step,
    requests_for,
    through_the_step,
)
from .claiming import best_gates, by_aim, by_direction, by_estimator, claim, in_all_runs
from .doubts import after_scaling, aimed_at_estimates, coverage, other_networks
from .effects import two_point, zeroth_order_effects
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
from .evading import against_a_gate, by_way, without_hinge
from .gates import (
    GATES,
    USELESS,
    caught,
    desk,
    kept_thresholds,
    refused,
    scored,
    thresholds,
)
from .judging import (
    FRESH,
    RANDOM,
    SAME,
    STEP,
    after_retraining,
    after_step,
    against_random,
    contest,
    controls_of,
    crossings,
    duel,
    luck,
    of,
    spread,
    stepped,
    success,
)
from .telling import (
    beyond_softmax,
    count,
    decisions,
    ends,
    estimators,
    gained,
    outcomes,
    selections,
    share,
    told,
    which_fits,
)

__all__ = [
    "FRESH", "GATES", "RANDOM", "SAME", "STEP", "USELESS", "Attacker", "after_retraining",
    "after_scaling", "after_step", "against_a_gate", "against_random", "aimed_at_estimates",
    "best_gates", "beyond_softmax", "by_aim", "by_direction", "by_estimator", "by_way", "caught",
    "check_target", "claim", "conformal_sets", "conformal_threshold", "contest", "controls_of",
    "count", "coverage", "crossings", "decisions", "desk", "draw", "duel", "ends",
    "ensemble_outputs", "estimators", "fit_temperature", "from_answers", "gained", "hingeless",
    "in_all_runs", "kept_thresholds", "luck", "mc_dropout", "nll", "of", "other_networks",
    "outcomes", "overconfidence", "overstated", "plan", "provider_step", "refused", "requests_for",
    "scored", "selections", "set_size", "share", "soft_threshold", "spread", "stepped", "success",
    "surrogates_for", "thresholds", "through_the_step", "told", "two_point", "underconfidence",
    "which_fits", "without_hinge", "zeroth_order_effects",
]
