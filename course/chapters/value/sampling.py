"""Estimates from sampled coalitions: values (MCS, US, PUS) and changes at an exit (Delta, BDelta).

Strata are numbered (shards in the coalition, owners of the last shard in it), as in Alg. 3.
"""

import numpy as np

from .games import Game, by_orders, draw_orders, prefixes


def strata(game, rows):
    """What each coalition tells of each owner (Alg. 3). bool (t, n) -> side, b, c, each (t, n)

    side: 1 with the owner, -1 without, 0 nothing. Coalitions have at most one shard in part.
    """
    of, shards = game.of, game.shards
    size, count, touched = (np.zeros((len(rows), len(of)), int) for _ in range(3))
    partial = np.zeros(rows.shape, bool)
    b = np.zeros(len(rows), int)
    for d in shards:
        inside = rows[:, d].sum(1)
        size[:, d], count[:, d], touched[:, d] = len(d), inside[:, None], (inside > 0)[:, None]
        partial[:, d] = ((inside > 0) & (inside < len(d)))[:, None]
        b += inside > 0
    told = (of >= 0) & (partial | ~partial.any(1, keepdims=True))
    side = np.where(rows, 1, -1) * told
    return side, b[:, None] + ((side < 0) & (touched == 0)), count + (side < 0)


def means(game, rows, u, weigh=None, told=strata, empty=0.0):
    """(1 / (m |d|)) times the sum over strata of weight (mean with - mean without). -> (n,)

    weigh: (b, c) of each owner -> weights; None: 1. empty: the utility of the empty coalition. A
    stratum that has no coalition on one side is left out, and the others count more.
    """
    n, shards = len(game.of), game.shards
    side, b, c = told(game, rows)
    m, most = len(shards), max(map(len, shards))
    who = np.broadcast_to(np.arange(n), rows.shape)
    place = ((who * (m + 2) + b) * (most + 2) + c)
    total = []
    for sign in (1, -1):
        at = side == sign
        weights = np.broadcast_to(np.asarray(u)[:, None], rows.shape)[at]
        shape = n * (m + 2) * (most + 2)
        total.append([np.bincount(place[at], w, shape).reshape(n, m + 2, most + 2)
                      for w in (weights, None)])
    (plus, n_plus), (minus, n_minus) = total
    minus[:, 1, 1] += empty - minus[:, 1, 1]  # it is known
    n_minus[:, 1, 1] = 1
    gain = plus / np.maximum(n_plus, 1) - minus / np.maximum(n_minus, 1)
    grid = np.zeros((n, m + 2, most + 2))
    for d in shards:
        grid[d, 1:m + 1, 1:len(d) + 1] = 1
    known = grid * (n_plus > 0) * (n_minus > 0)
    weight = known if weigh is None else known * weigh(*np.indices(known.shape))
    filled = grid.sum((1, 2)) / np.maximum(known.sum((1, 2)), 1)
    return (gain * weight).sum((1, 2)) * filled / np.maximum(grid.sum((1, 2)), 1)


def draw(game, rng, count, paired=False):
    """Coalitions as Alg. 3 draws them: an order, cut at a random place. -> bool (count, n)"""
    orders = draw_orders(game, rng, count // (2 if paired else 1))
    n = orders.shape[1]
    cut = rng.integers(1, n + 1, len(orders))
    rows = prefixes(game, orders, cut)
    if not paired:
        return rows
    rest = prefixes(game, orders[:, ::-1], n - cut)
    return np.concatenate([rows, rest])


def mcs(game, rng, calls):
    """Permutation sampling (Alg. 2)."""
    return by_orders(game, draw_orders(game, rng, calls // (game.of >= 0).sum()))


def us(game, rng, calls, paired=False):
    """Utility sampling with strata (Alg. 3); paired: each coalition with its complement (PUS)."""
    rows = draw(game, rng, calls, paired)
    rows = rows[rows.any(1)]
    return means(game, rows, game.worth(rows))


def pus(game, rng, calls):
    """Paired utility sampling."""
    return us(game, rng, calls, paired=True)


def delta(game, p, rows, printed=False):
    """The change of the stayers' values when p leaves, from coalitions of stayers (Alg. 4).

    rows: as `draw` gives them for the game after the exit. Two calls a coalition that is used.
    printed: the lemma as printed, where whole shards come in place of p. -> (changes, calls)
    """
    after, home = game.without([p]), game.of == game.of[p]
    mates = home.copy()
    mates[p] = False
    with_p = rows.copy()
    with_p[:, p] = True
    change, m = np.zeros(len(game.of)), len(game.shards)
    used = np.zeros(len(rows), bool)
    if mates.any():  # those of p's own shard
        side, *_ = strata(after, rows)
        use = (side[:, mates] != 0).any(1)
        found = means(after, rows[use], game.worth(rows[use]) - game.worth(with_p[use]),
                      lambda i, b, c: c / mates.sum(), empty=-float(game.worth(
                          np.eye(len(game.of), dtype=bool)[[p]])[0]))
        change[mates] = found[mates] * mates.sum() / (mates.sum() + 1)
        used = use
    elsewhere = (game.of >= 0) & ~home
    there = ~rows[:, home].any(1) if printed or not mates.any() else rows[:, mates].all(1)
    these, those = rows[there].copy(), with_p[there].copy()
    if printed:
        those[:, home] = True
    base = Game(np.where(home, -1, game.of), game.worth)  # p's shard counts in the differences
    u = game.worth(these) - game.worth(those)
    bare = these.copy()
    bare[:, home] = False
    alone = np.zeros((2, len(game.of)), bool)
    alone[0, mates if not printed else []] = True
    alone[1, home] = True
    nothing = np.diff(game.worth(alone)[::-1])[0]
    found = means(base, bare, u, lambda i, b, c: b / (m - 1), empty=nothing)
    change[elsewhere] = found[elsewhere] * (m - 1) / m
    return change, 2 * int((used | there).sum())


def bdelta(game, leavers, rows):
    """The change when several leave at once, from coalitions of the old game (Alg. 5, with strata).
    -> (changes, calls)
    """
    left = rows.copy()
    left[:, list(leavers)] = False
    use = (rows != left).any(1)
    u = np.zeros(len(rows))
    u[use] = game.worth(left[use]) - game.worth(rows[use])
    change = means(game, rows, u)
    change[list(leavers)] = 0
    return change, 2 * int(use.sum())


def without_strata(game, leavers, rows):
    """Alg. 5 as printed: one running mean an owner and side. -> changes"""
    left = rows.copy()
    left[:, list(leavers)] = False
    u, (side, *_) = game.worth(left) - game.worth(rows), strata(game, rows)
    mean = [(u[:, None] * (side == s)).sum(0) / np.maximum((side == s).sum(0), 1) for s in (1, -1)]
    change = mean[0] - mean[1]
    change[list(leavers)] = 0
    return change
