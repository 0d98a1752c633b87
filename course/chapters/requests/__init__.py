"""What only the chapter on requests uses."""

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
from .gate import benign_scores, diluted, past_the_gate, plain, refusals
from .scenes import flips_at_once, fresh_objective, over_time, own_network, planted
from .tables import (
    DIFFERENCE,
    PERCENT,
    POINTS,
    draw,
    ends,
    explorer,
    fitted,
    flips,
    percent,
    picture,
    told,
    with_label,
)
from .ways import FRESH, SAME, approximate, retrained, sharded, smaller, surer, unlearned

__all__ = [
    "DIFFERENCE", "FRESH", "PERCENT", "POINTS", "SAME", "approximate", "at_once", "benign_scores",
    "by_budget", "campaign", "craft", "diluted", "draw", "ends", "every_way", "explorer", "fitted",
    "flat_problem", "flips", "flips_at_once", "fresh_objective", "one_request", "over_time",
    "own_network", "past_the_gate", "percent", "picture", "plain", "planted", "predicted_and_real",
    "refusals", "replan", "retrained", "rows_beside", "sharded", "smaller", "sorted_effects",
    "spread", "surer", "the_walk", "told", "unlearned", "with_label",
]
