"""What only the chapter on leakage uses."""

from . import drawing
from .answering import RULES, label_only, rounded, served, spread, tempered, top
from .attackers import (
    CHEN,
    Attacker,
    against_a_rule,
    by_original,
    contest,
    fit,
    reached,
    rehearse,
    sure_before,
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
    vulnerable,
)
from .labels import SHARES, deleted_class, label_records, labels_trial
from .private import epsilon_of, fit_private, private_versions
from .quality import epsilon, forgetting_quality
from .shadows import GRID, TARGETS, WATCHED, make_worlds, tune_methods, unlearn_all
from .sides import estimators, forest, in_shards, logistic, networks, plans, small, two_sides
from .telling import (
    contests,
    difference,
    gap_of,
    less,
    methods,
    project_table,
    share,
    side,
    tau,
)
from .ulira import auc, gaussians, logit_confidence, per_row_attack, population_attack
from .versions import FEATURES, attack_model, features

__all__ = [
    "CHEN", "FEATURES", "GRID", "RULES", "SHARES", "TARGETS", "WATCHED", "Attacker",
    "against_a_rule", "attack_model", "auc", "by_original", "contest", "contests", "deleted_class",
    "difference", "drawing", "epsilon", "epsilon_of", "epsilons", "estimators", "exposure",
    "features", "fit", "fit_private", "folds", "forest", "forgetting_quality", "gap_of",
    "gaussians", "in_shards", "judged_on_what_it_learned", "label_only", "label_records",
    "labels_trial", "lazy", "less", "logistic", "logit_confidence", "make_worlds", "methods",
    "more_exposed", "networks", "on_rows", "other_strangers", "per_row_attack", "plans",
    "population_attack", "private_versions", "project_table", "qualities", "reached", "rehearse",
    "rounded", "row_contest", "served", "share", "side", "small", "spread", "sure_before", "tau",
    "tempered", "top", "tune_methods", "two_sides", "unlearn_all", "vulnerable",
]
