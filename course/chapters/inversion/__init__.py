"""What only the chapter on inversion uses."""

from .code import (
    Rebuilt,
    assign,
    fit_linear,
    label_of_update,
    rebuild_row,
    ssim,
    through_curvature,
    weighted_difference,
)
from .crowds import (
    compare_priors,
    crowd,
    crowd_gains,
    crowd_sizes,
    gains,
    in_order,
    no_prior,
    rehearse_crowds,
    smooth,
    with_prior,
)
from .pictures import beside, decibels, frames, gallery, panel, unlearners
from .plots import exact_figure, linear_figure, methods_figure
from .records import (
    closed_form,
    exact_parts,
    gain_at,
    likeness,
    look_gains,
    one_thing_at_a_time,
    over_guesses,
    overview,
    rank_correlations,
    recipe_costs,
    summaries,
    sureness,
)
from .searches import (
    TVS,
    Attacker,
    edge_told,
    first_look,
    gain,
    leaked,
    rehearsal_table,
    rehearsal_told,
    rehearse,
)
from .sweeps import (
    closeness,
    exact_records,
    exact_sweep,
    fed_the_gradient,
    method_records,
    on_network,
    orders,
    rounded,
    searched_longer,
)
from .tables import (
    TABLES,
    halves,
    linear_jobs,
    linear_trial,
    one_deletion,
    rule_of_thumb,
    sizes_told,
)
from .telling import (
    causes_told,
    change_table,
    crowd_table,
    half_width,
    order_told,
    pm,
    rank_by_seed,
    rounding_told,
    share_near,
    sureness_told,
    tables_told,
    tell,
)
from .worlds import (
    CNN,
    RECIPES,
    ascend,
    cosine,
    others,
    prepare,
    pretrain,
    retrained,
    true_gradient,
    tune,
    world,
)

__all__ = [
    "CNN", "RECIPES", "TABLES", "TVS", "Attacker", "Rebuilt", "ascend", "assign", "beside",
    "causes_told", "change_table", "closed_form", "closeness", "compare_priors", "cosine", "crowd",
    "crowd_gains", "crowd_sizes", "crowd_table", "decibels", "edge_told", "exact_figure",
    "exact_parts", "exact_records", "exact_sweep", "fed_the_gradient", "first_look", "fit_linear",
    "frames", "gain", "gain_at", "gains", "gallery", "half_width", "halves", "in_order",
    "label_of_update", "leaked", "likeness", "linear_figure", "linear_jobs", "linear_trial",
    "look_gains", "method_records", "methods_figure", "no_prior", "on_network", "one_deletion",
    "one_thing_at_a_time", "order_told", "orders", "others", "over_guesses", "overview", "panel",
    "pm", "prepare", "pretrain", "rank_by_seed", "rank_correlations", "rebuild_row", "recipe_costs",
    "rehearsal_table", "rehearsal_told", "rehearse", "rehearse_crowds", "retrained", "rounded",
    "rounding_told", "rule_of_thumb", "searched_longer", "share_near", "sizes_told", "smooth",
    "ssim", "summaries", "sureness", "sureness_told", "tables_told", "tell", "through_curvature",
    "true_gradient", "tune", "unlearners", "weighted_difference", "with_prior", "world",
]
