"""Games of owners in shards: exact values, plain Shapley values, orders and coalitions."""

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import pandas as pd


@dataclass
class Game:
    """Owners in shards and what a coalition is worth.

    of: (n,) the shard of each owner, -1 for who has left. worth: bool (t, n) -> utilities (t,).
    """

    of: np.ndarray
    worth: object

    @property
    def shards(self):
        """Owners of each shard, a list of int arrays; shards whose owners all left are gone."""
        return [np.flatnonzero(self.of == j) for j in np.unique(self.of[self.of >= 0])]

    def without(self, owners):
        """The game after these owners left."""
        of = self.of.copy()
        of[list(owners)] = -1
        return Game(of, self.worth)


def subsets(size):
    """All subsets as bool rows: bit i of the row's number says whether i is in. -> (2^size, size)
    """
    return (np.arange(2**size)[:, None] >> np.arange(size)) & 1 == 1


def table(game, j):
    """Utilities with any other shards complete, and any part of shard j. -> (2^(m-1), 2^|d|)"""
    shards = game.shards
    own, rest = shards[j], [d for i, d in enumerate(shards) if i != j]
    full, part = subsets(len(rest)), subsets(len(own))
    rows = np.zeros((len(full), len(part), len(game.of)), bool)
    rows[:, :, own] = part
    for i, d in enumerate(rest):
        rows[:, :, d] = full[:, i, None, None]
    return game.worth(rows.reshape(-1, len(game.of))).reshape(len(full), len(part))


def exact(game, value):
    """Values of all owners by a function of each shard's table (exercise 14.3). -> (n,)"""
    found = np.zeros(len(game.of))
    for j, own in enumerate(game.shards):
        found[own] = value(table(game, j))
    return found


def all_orders(game):
    """Every order in which the members of each shard stand together. -> (orders, n of owners)"""
    found = [np.concatenate(parts) for shards in permutations(game.shards)
             for parts in product(*(map(np.array, permutations(d)) for d in shards))]
    return np.array(found)


def every_order(n):
    """All orders of n owners. -> (n!, n)"""
    return np.array(list(permutations(range(n))))


def by_order(orders, added):
    """A table: what each owner adds, an order a line, the mean below."""
    lines = [{"order": ", ".join(str(i + 1) for i in order)}
             | {f"owner {i + 1}": a for i, a in enumerate(by)}
             for order, by in zip(orders, added, strict=True)]
    mean = {f"owner {i + 1}": a for i, a in enumerate(np.mean(added, 0))}
    return pd.DataFrame([*lines, {"order": "mean"} | mean])


def draw_orders(game, rng, count, free=False):
    """Random orders, uniform among those (`free`: among all). -> (count, owners)"""
    there = np.flatnonzero(game.of >= 0)
    keys = rng.random((count, len(there)))
    if not free:
        ranks = rng.random((count, game.of.max() + 1)).argsort(1).argsort(1)
        keys = keys + ranks[:, game.of[there]]
    return there[keys.argsort(1)]


def prefixes(game, orders, lengths):
    """The first owners of each order, as coalitions. -> bool (t, n)"""
    found = np.zeros((len(orders), len(game.of)), bool)
    inside = np.arange(orders.shape[1]) < np.asarray(lengths)[:, None]
    np.put_along_axis(found, orders, inside, 1)
    return found


def by_orders(game, orders):
    """Mean marginal contribution of each owner over these orders (eq. 2). -> (n,)"""
    t, n = orders.shape
    rows = prefixes(game, np.repeat(orders, n, 0), np.tile(np.arange(1, n + 1), t))
    u = np.concatenate([np.zeros((t, 1)), game.worth(rows).reshape(t, n)], 1)
    gained = np.zeros((t, len(game.of)))
    np.put_along_axis(gained, orders, np.diff(u), 1)
    return gained.mean(0)


def shapley(game, value):
    """Plain Shapley values by enumeration of all coalitions, up to some 15 owners. -> (n,)"""
    alone = np.where(game.of >= 0, 0, -1)  # one shard with all: the sharded value is the plain one
    return exact(Game(alone, game.worth), value)


def made_up(rng, sizes=(3, 2, 2)):
    """A game with random utilities in [0, 1], the empty coalition worth 0."""
    n = sum(sizes)
    worth = rng.random(2**n)
    worth[0] = 0
    return Game(np.repeat(np.arange(len(sizes)), sizes),
                lambda rows: worth[rows @ (1 << np.arange(n))])


def of_table(of, worths):
    """A game from {(owners, from 1): utility}; what is not named is worth 0."""
    n, worth = len(of), np.zeros(2**len(of))
    for owners, u in worths.items():
        worth[sum(1 << (i - 1) for i in owners)] = u
    return Game(np.array(of), lambda rows: worth[rows @ (1 << np.arange(n))])


EXAMPLE = {(1,): 2, (2,): 2, (3,): 2, (1, 2): 10, (1, 3): 2, (2, 3): 10, (1, 2, 3): 12}
