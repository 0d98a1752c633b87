"""What only the chapter on sparsity uses."""

from .code import (
    apply_mask,
    attach_mask,
    check_mask,
    detach_mask,
    finetune_masked,
    fit_masked,
    imp,
    magnitude_mask,
    omp,
    prune_then,
    synflow_mask,
    synflow_scores,
)
from .distances import ascent_bound, disparity, weight_distance
from .drawn import (
    backdoor_figure,
    bound_figure,
    explorer_figure,
    four_bars,
    methods_figure,
    schedules_figure,
    sweep_figure,
)
from .extras import flip_and_crop, network
from .further import (
    backdoored,
    bound_ratios,
    corner_trigger,
    digit_probe,
    elsewhere,
    leaks,
    of_network,
    other_masks,
    shaped,
    three_convolutions,
)
from .judging import (
    at_an_edge,
    differ,
    each_seed,
    in_words,
    judged_runs,
    least,
    minus,
    rehearse,
    seconds,
    side,
    splits,
    tenth_place,
)
from .said import (
    diverged,
    in_full,
    of_rates,
    relabelling,
    ruin,
    second_network,
)
from .tables import (
    fixed,
    grid,
    in_brief,
    methods_table,
    one_split,
    random_changes,
    random_tenth,
    shortcuts,
    try_schedules,
    tuning_table,
    turned,
)
from .trials import COLUMNS, Network, Study, attempt, contest, on, parallel, score, unlearned

# Jia et al. 2023, CIFAR-10, ResNet-18, one class forgotten, 10 trials: UA, MIA, RA, TA, disparity
# of (method, sparsity).
PUBLISHED = {
    ("retrained", 0.0): (100.00, 100.00, 100.00, 94.83, 0.0),
    ("retrained", 0.95): (100.00, 100.00, 99.99, 91.80, 0.0),
    ("FT", 0.0): (22.53, 75.00, 99.87, 94.31, 25.78),
    ("FT", 0.95): (73.64, 83.02, 99.87, 94.32, 11.50),
    ("GA", 0.0): (93.08, 94.03, 92.60, 86.64, 7.12),
    ("GA", 0.95): (98.09, 97.74, 87.74, 82.58, 6.41),
    ("Fisher", 0.0): (79.93, 100.00, 99.45, 94.18, 5.32),
    ("Fisher", 0.95): (94.83, 100.00, 99.48, 94.04, 1.98),
    ("influence", 0.0): (87.82, 95.96, 97.98, 91.42, 5.41),
    ("influence", 0.95): (99.47, 99.93, 97.24, 90.76, 1.10)}

__all__ = [
    "COLUMNS", "Network", "PUBLISHED", "Study", "apply_mask", "ascent_bound", "at_an_edge",
    "attach_mask", "attempt", "backdoor_figure", "backdoored", "bound_figure", "bound_ratios",
    "check_mask", "contest", "corner_trigger", "detach_mask", "differ", "digit_probe", "disparity",
    "diverged", "each_seed", "elsewhere", "explorer_figure", "finetune_masked", "fit_masked",
    "fixed", "flip_and_crop", "four_bars", "grid", "imp", "in_brief", "in_full", "in_words",
    "judged_runs", "leaks", "least", "magnitude_mask", "methods_figure", "methods_table", "minus",
    "network", "of_network", "of_rates", "omp", "on", "one_split", "other_masks", "parallel",
    "prune_then", "random_changes", "random_tenth", "rehearse", "relabelling", "ruin",
    "schedules_figure", "score", "second_network", "seconds", "shaped", "shortcuts", "side",
    "splits", "sweep_figure", "synflow_mask", "synflow_scores", "tenth_place", "three_convolutions",
    "try_schedules", "tuning_table", "turned", "unlearned", "weight_distance",
]
