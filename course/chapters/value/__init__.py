"""What only the chapter on value uses."""

from dataclasses import replace

from . import drawing, sampling
from .games import (
    EXAMPLE,
    Game,
    all_orders,
    by_order,
    by_orders,
    every_order,
    exact,
    made_up,
    of_table,
    shapley,
    table,
)
from .markets import make, pool
from .payroll import Owner, schemes
from .removing import area, biases, falls, removal
from .telling import beyond, ratio, side
from .trials import (
    BUDGETS,
    errors,
    first_leaver,
    growth,
    leaving,
    plain_shapley,
    properties,
    some,
    summary,
)

__all__ = ["BUDGETS", "EXAMPLE", "Game", "Owner", "all_orders", "area", "beyond", "biases",
           "by_order", "by_orders", "drawing", "errors", "every_order", "exact", "falls",
           "first_leaver", "growth", "leaving", "made_up", "make", "of_table", "plain_shapley",
           "pool", "properties", "ratio", "removal", "replace", "sampling", "schemes", "shapley",
           "side", "some", "summary", "table"]
