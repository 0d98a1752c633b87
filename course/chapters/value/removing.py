"""Experiments of notebook 14 that list every sample of a tiny game, or remove half of a market."""

import numpy as np

from . import markets, sampling
from .games import all_orders, exact, prefixes
from .trials import everyone, plain_shapley


def every_cut(game):
    """All pairs of an order and a place to cut it, as coalitions. -> bool (t, n)"""
    orders = all_orders(game)
    n = orders.shape[1]
    return prefixes(game, np.repeat(orders, n, 0), np.tile(np.arange(1, n + 1), len(orders)))


def biases(game, value):
    """Largest bias of the printed and corrected forms, by enumeration. -> name -> float"""
    p, gone, old = 0, [0, int(np.flatnonzero(game.of == 1)[0])], exact(game, value)
    found = {}
    for name, change, left in (
            ("printed lemma", sampling.delta(game, p, every_cut(game.without([p])), True)[0], [p]),
            ("corrected lemma", sampling.delta(game, p, every_cut(game.without([p])))[0], [p]),
            ("without strata", sampling.without_strata(game, gone, every_cut(game)), gone),
            ("with strata", sampling.bdelta(game, gone, every_cut(game))[0], gone)):
        after = game.without(left)
        truly = (exact(after, value) - old)[after.of >= 0]
        found[name] = float(np.abs(change[after.of >= 0] - truly).max())
    return found


def curve(market, order, half):
    """Test accuracy with the first 0, 1, … half of `order` removed. -> (half + 1,)"""
    rows = np.ones((half + 1, len(market.of)), bool)
    for step in range(half):
        rows[step + 1:, order[step]] = False
    return market.accuracy(rows, test=True)


def removal(market, value, rng, orders, tries=10):
    """Removal curves by four rules. -> (name -> curve, sharded values, estimated plain values)"""
    game, n = market.game(), len(market.of)
    values, plain = exact(game, value), plain_shapley(game, rng, orders)
    less = np.ones((n, n), bool) & ~np.eye(n, dtype=bool)
    alone = game.worth(everyone(game)) - game.worth(less)
    curves = {name: curve(market, np.argsort(-v, kind="stable"), n // 2)
              for name, v in (("sharded", values), ("Shapley", plain), ("leave-one-out", alone))}
    curves["random"] = np.mean([curve(market, rng.permutation(n), n // 2)
                                for _ in range(tries)], 0)
    return curves, values, plain


def area(curves, name):
    """Area between a rule's curve and the sharded value's, mean over the steps."""
    return float((curves[name] - curves["sharded"])[1:].mean())


def falls(market, rng, counts, value):
    """Fall of test accuracy with the better-paid half removed, by number of shards, and random."""
    found, n = {}, len(market.of)
    for m in counts:
        dealt = markets.again(market, rng, m)
        values = exact(dealt.game(), value)
        best = curve(dealt, np.argsort(-values, kind="stable"), n // 2)
        luck = np.mean([curve(dealt, rng.permutation(n), n // 2) for _ in range(10)], 0)
        found[m] = (best[0] - best[-1], luck[0] - luck[-1], best[0])
    return found
