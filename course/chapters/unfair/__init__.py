"""What only the chapter on unfair deletions uses."""

from . import drawing
from .around import AROUND, EPSILONS, PGD_STEPS, PLANS, around_trial, tune_epsilon
from .fooling import on_training_rows, predicted_and_real, whole_group
from .groups import (
    PLAIN,
    RIDGES,
    SHARE,
    bootstrap,
    own_table,
    owner,
    tables,
    trial,
    tune_tables,
)
from .logit import (
    Table,
    answers,
    fit_logistic,
    influence_on_gap,
    smooth_gap,
)
from .nets import class_trial, small, worst_class
from .never import KINDS, RATES, STEPS, burn_trial, over_trial, tune_strengths
from .telling import (
    POINTS,
    RISE,
    SHARES,
    by_network,
    caught,
    correct,
    corrected,
    edges,
    over,
    requests_table,
    say,
    selection,
    shared,
    side,
    watches_table,
)

__all__ = [
    "AROUND", "EPSILONS", "KINDS", "PGD_STEPS", "PLAIN", "PLANS", "POINTS", "RATES", "RIDGES",
    "RISE", "SHARE", "SHARES", "STEPS", "Table", "answers", "around_trial", "bootstrap",
    "burn_trial", "by_network", "caught", "class_trial", "correct", "corrected", "drawing",
    "edges", "fit_logistic", "influence_on_gap", "on_training_rows", "over", "over_trial",
    "own_table", "owner", "predicted_and_real", "requests_table", "say", "selection", "shared",
    "side", "small", "smooth_gap", "tables", "trial", "tune_epsilon", "tune_strengths",
    "tune_tables", "watches_table", "whole_group", "worst_class",
]
