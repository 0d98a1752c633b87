"""What only the chapter on requests uses."""

from .beside import HIGH, LOW, beside, could_be_targets, qualifying, wrong
from .code import at_once, campaign, craft, flat_problem, replan, spread
from .drawing import (
    by_budget,
    every_way,
    one_request,
    predicted_and_real,
    rows_beside,
    sorted_effects,
    the_walk,
)
from .gate import (
    at_the_desk,
    benign_scores,
    diluted,
    gain_behind,
    of_reused,
    past_the_gate,
    plain,
    refusals,
)
from .plans import adapting, ceiling, in_margins, of_plans, worn_out
from .prices import (
    against_random,
    decided,
    forgets,
    forgotten,
    largest,
    lost,
    of_request,
    of_step,
    of_ways,
    price,
    rises,
    short,
)
from .scenes import campaigns, flips_at_once, fresh_objective, over_time, own_network, planted
from .tables import (
    DIFFERENCE,
    FRESH,
    PERCENT,
    POINTS,
    SAME,
    by_size,
    draw,
    ends,
    explorer,
    falls,
    fitted,
    flips,
    percent,
    picture,
    points,
    told,
    with_label,
)
from .ways import (
    approximate,
    of_fewer_rows,
    retrained,
    sharded,
    smaller,
    surer,
    under_retraining,
    unlearned,
)

__all__ = [
    "DIFFERENCE", "FRESH", "HIGH", "LOW", "PERCENT", "POINTS", "SAME", "adapting", "against_random",
    "approximate", "at_once", "at_the_desk", "benign_scores", "beside", "by_budget", "by_size",
    "campaign", "campaigns", "ceiling", "could_be_targets", "craft", "decided", "diluted", "draw",
    "ends", "every_way", "explorer", "falls", "fitted", "flat_problem", "flips", "flips_at_once",
    "forgets", "forgotten", "fresh_objective", "gain_behind", "in_margins", "largest", "lost",
    "of_fewer_rows", "of_plans", "of_request", "of_reused", "of_step", "of_ways", "one_request",
    "over_time", "own_network", "past_the_gate", "percent", "picture", "plain", "planted", "points",
    "predicted_and_real", "price", "qualifying", "refusals", "replan", "retrained", "rises",
    "rows_beside", "sharded", "short", "smaller", "sorted_effects", "spread", "surer", "the_walk",
    "told", "under_retraining", "unlearned", "with_label", "worn_out", "wrong",
]
