"""Attacks on the payroll: two names for one owner, copies in another shard; and what they earn."""

import numpy as np

from labkit.base import LabError

from .games import exact
from .markets import holding, joined


class Owner:
    """What an owner holds: its own rows, their shard, and a form to register a name with rows.

    It sees neither others' rows nor values before payday; the broker deals a new name to a shard.
    """

    __slots__ = ("name", "rows", "_register")

    def __init__(self, name, rows, register):
        self.name, self.rows, self._register = name, tuple(int(r) for r in rows), register

    def register(self, keep, give):
        """Hold `keep` under the own name and `give` under a new one; all must be own rows."""
        if not set(keep) | set(give) <= set(self.rows):
            raise LabError("An owner can register rows of its own only.")
        return self._register(np.array(keep, int), np.array(give, int))


def split(owner):
    """Half of the rows under the own name, half under another."""
    half = len(owner.rows) // 2
    return owner.register(owner.rows[:half], owner.rows[half:])


def copy(owner):
    """All rows under either name."""
    return owner.register(owner.rows, owner.rows)


def register(market, name, shard, value):
    """The broker's desk: what both names together are paid, of the total. -> function"""
    home = int(market.of[name])

    def pay(keep, give):
        changed = joined(holding(market, name, keep), give, shard)
        same = len(keep) == len(market.rows[name])  # then its own shard's models stay
        changed = changed.fitted(sorted({int(shard)} | (set() if same else {home})))
        values = exact(changed.game(), value)
        return float((values[name] + values[-1]) / values.sum())
    return pay


def schemes(market, name, rng, value, spare):
    """Pay of one owner, of the total, by what it does. spare: rows nobody holds. -> name -> float
    """
    values, home = exact(market.game(), value), int(market.of[name])
    other = int(rng.choice([j for j in range(market.of.max() + 1) if j != home]))
    elsewhere = Owner(name, market.rows[name], register(market, name, other, value))
    beside = Owner(name, market.rows[name], register(market, name, home, value))
    fresh = rng.choice(spare, len(market.rows[name]), replace=False)
    return {"honest": float(values[name] / values.sum()), "split": split(elsewhere),
            "same shard": split(beside), "duplicates": copy(elsewhere),
            "fresh rows": register(market, name, other, value)(market.rows[name], fresh)}
