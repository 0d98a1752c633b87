"""What only the chapter on leakage uses."""

from . import drawing
from .answering import RULES, label_only, rounded, served, spread, tempered, top
from .attackers import (
    CHEN,
    Attacker,
    against_a_rule,
    behind_rounding,
    by_original,
    contest,
    fit,
    on_views,
    reached,
    rehearse,
    sure_before,
    who_guesses,
)
from .fooling import judged_on_what_it_learned, lazy, other_strangers
from .judging import (
    epsilons,
    exposure,
    folds,
    more_exposed,
    on_rows,
    qualities,
    row_contest,
    tau_interval,
    vulnerable,
)
from .labels import SHARES, deleted_class, label_records, labels_trial
from .private import epsilon_of, fit_private, private_versions
from .quality import epsilon, forgetting_quality
from .shadows import GRID, TARGETS, WATCHED, make_worlds, tune_methods, unlearn_all
from .sides import (
    estimators,
    forest,
    in_shards,
    logistic,
    networks,
    plans,
    small,
    two_alike,
    two_sides,
)
from .telling import (
    beyond,
    both_attackers,
    contests,
    difference,
    gain_less,
    gap_of,
    hidden,
    less,
    methods,
    places,
    project_table,
    share,
    side,
)
from .ulira import auc, gaussians, logit_confidence, per_row_attack, population_attack
from .versions import FEATURES, attack_model, features

__all__ = [
    "CHEN", "FEATURES", "GRID", "RULES", "SHARES", "TARGETS", "WATCHED", "Attacker",
    "against_a_rule", "attack_model", "auc", "behind_rounding", "beyond", "both_attackers",
    "by_original", "contest", "contests", "deleted_class", "difference", "drawing", "epsilon",
    "epsilon_of", "epsilons", "estimators", "exposure", "features", "fit", "fit_private", "folds",
    "forest", "forgetting_quality", "gain_less", "gap_of", "gaussians", "hidden", "in_shards",
    "judged_on_what_it_learned", "label_only", "label_records", "labels_trial", "lazy", "less",
    "logistic", "logit_confidence", "make_worlds", "methods", "more_exposed", "networks", "on_rows",
    "on_views", "other_strangers", "per_row_attack", "places", "plans", "population_attack",
    "private_versions", "project_table", "qualities", "reached", "rehearse", "rounded",
    "row_contest", "served", "share", "side", "small", "spread", "sure_before", "tau_interval",
    "tempered", "top", "tune_methods", "two_alike", "two_sides", "unlearn_all", "vulnerable",
    "who_guesses",
]
