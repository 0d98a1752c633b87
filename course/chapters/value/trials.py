"""Experiments of notebook 14: one market or one game in, figures out."""

import numpy as np
import pandas as pd

from . import sampling
from .games import Game, all_orders, by_orders, draw_orders, exact, made_up

BUDGETS = (3000, 15000, 60000)
SAMPLERS = {"MCS": sampling.mcs, "US": sampling.us, "PUS": sampling.pus}


def everyone(game):
    return (game.of >= 0)[None]


def shard_players(game, value):
    """Plain Shapley values of the shards, each as one player. -> (m,)"""
    shards = game.shards

    def worth(rows):
        whole = np.zeros((len(rows), len(game.of)), bool)
        for j, d in enumerate(shards):
            whole[:, d] = rows[:, [j]]
        return game.worth(whole)
    return exact(Game(np.zeros(len(shards), int), worth), value)


def properties(game, rng, value, sizes=(3, 2, 2)):
    """The checks of val-properties: on a market, the others on made-up games. -> name -> [bool]"""
    def close(a, b):
        return bool(np.allclose(a, b, atol=1e-9, rtol=0))

    values, shards = exact(game, value), game.shards
    paid = [values[d].sum() for d in shards]
    a, b = made_up(rng, sizes), made_up(rng, sizes)
    both = Game(a.of, lambda rows: 2 * a.worth(rows) + b.worth(rows))
    swap = np.array([1, 0, *range(2, len(a.of))])
    alike = Game(a.of, lambda rows: a.worth(rows) + a.worth(rows[:, swap]))
    idle = Game(a.of, lambda rows: a.worth(rows & (np.arange(len(a.of)) != 0)))
    equals = exact(alike, value)
    return {"balance": [close(paid, shard_players(game, value)),
                        close(values.sum(), game.worth(everyone(game)))],
            "symmetry": [close(equals[0], equals[1])],
            "zero element": [close(exact(idle, value)[0], 0)],
            "additivity": [close(exact(both, value), 2 * exact(a, value) + exact(b, value))],
            "both forms": [close(exact(a, value), by_orders(a, all_orders(a)))]}


def plain_shapley(game, rng, orders):
    """Plain Shapley values, estimated over orders and their reverses. -> (n,)"""
    drawn = draw_orders(game, rng, orders // 2, free=True)
    return by_orders(game, np.concatenate([drawn, drawn[:, ::-1]]))


def errors(game, truth, rng, budgets, repeats=1):
    """Mean absolute error and rank correlation of each sampler. -> name -> [(mae, rho, relative)]
    """
    there = game.of >= 0
    found = {}
    for name, sampler in SAMPLERS.items():
        for calls in budgets:
            got = [sampler(game, rng, calls)[there] for _ in range(repeats)]
            off = [np.abs(g - truth[there]) for g in got]
            ranks = [np.corrcoef(g.argsort().argsort(), truth[there].argsort().argsort())[0, 1]
                     for g in got]
            size = np.maximum(np.abs(truth[there]), 1e-12)
            found[name, calls] = (np.mean(off), np.mean(ranks), np.mean([o / size for o in off]))
    return found


def summary(found):
    """A table of what `errors` gives, means over markets."""
    return pd.DataFrame([{"sampler": name, "utility calls": f"{calls:,}",
                          "error, points": 100 * np.mean([f[name, calls][0] for f in found]),
                          "rank correlation": np.mean([f[name, calls][1] for f in found]),
                          "relative error, %": 100 * np.mean([f[name, calls][2] for f in found])}
                         for name, calls in found[0]])


def at_cost(run, draw, calls):
    """run(rows) -> (result, calls) on as many drawn coalitions as cost about `calls`."""
    trial = draw(1000)
    used = max(run(trial)[1], 1) / len(trial)
    return run(draw(max(int(calls / used), 1)))[0]


def leaving(game, truth, rng, calls, value):
    """Mean absolute errors after one exit and after 5 %, equal calls. -> name -> error"""
    n = len(game.of)
    p = int(rng.integers(n))
    several = rng.choice(n, max(2, round(0.05 * n)), replace=False)
    found = {}
    for name, gone in (("one", [p]), ("several", several)):
        after = game.without(gone)
        want, stay = exact(after, value), after.of >= 0
        truly = want - truth
        found[name, "recompute"] = np.abs(sampling.us(after, rng, calls) - want)[stay].mean()
        if name == "one":
            change = at_cost(lambda rows, p=p: sampling.delta(game, p, rows),
                             lambda t, a=after: some(sampling.draw(a, rng, t)), calls)
            old = sampling.us(game, rng, calls) - truth  # the error of old values
            found[name, "old estimated"] = np.abs(change + old - truly)[stay].mean()
        else:
            change = at_cost(lambda rows, x=gone: sampling.bdelta(game, x, rows),
                             lambda t: some(sampling.draw(game, rng, t)), calls)
        found[name, "change"] = np.abs(change - truly)[stay].mean()
        found[name, "nothing"] = np.abs(truly)[stay].mean()
    return found


def some(rows):
    return rows[rows.any(1)]


def first_leaver(game, rng, value):
    """Two owners of two shards leave, in either order: the stayers' values between the exits.
    -> (largest change over the mean size, mean change, values with p gone, with q gone, p, q)
    """
    d, e = rng.choice(len(game.shards), 2, replace=False)
    p, q = int(rng.choice(game.shards[d])), int(rng.choice(game.shards[e]))
    without_p, without_q = (exact(game.without([i]), value) for i in (p, q))
    stay = game.without([p, q]).of >= 0
    size = np.abs(exact(game, value))[stay].mean()
    moved = np.abs(without_p - without_q)[stay]
    return float(moved.max() / size), float(moved.mean() / size), without_p, without_q, p, q


def growth(sizes, shards):
    """Fits, utilities of the exact value, and coalitions in all, by the number of owners."""
    d = np.array(sizes) / shards
    return shards * (2**d - 1), shards * 2**(shards - 1) * 2**d, 2.0**np.array(sizes)
