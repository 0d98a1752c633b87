"""Measured numbers: gaps, watches and false friends, and how they are put into words."""

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from labkit.measure import interval, show_interval

from .groups import SHARE

RISE, POINTS, SHARES = (-2, 2), (-100, 100), (-1, 1)


def rates(p, panel) -> np.ndarray:
    """Share that is told yes among those who deserve it, of group 0 and of group 1. -> (2,)"""
    return np.array([(p >= 0.5)[(panel.yes == 1) & (panel.group == g)].mean() for g in (0, 1)])


def selection(p, panel) -> float:
    """Signed demographic-parity gap: share told yes, of all of group 0 less of all of group 1."""
    return float((p >= 0.5)[panel.group == 0].mean() - (p >= 0.5)[panel.group == 1].mean())


def correct(p, panel) -> float:
    """Accuracy, percent."""
    return float(100 * ((p >= 0.5) == panel.yes).mean())


def over(panels, measure, release="exact", kind=None, share=SHARE) -> np.ndarray:
    """measure(answers, panel) on each split: before, or after a kind of request."""
    return np.array([measure(p.before[release] if kind is None else p.after[release, kind, share],
                             p) for p in panels])


def corrected(values, ratio) -> tuple:
    """Mean and 95 % interval for splits that share rows: the variance of the mean is s² (1/J + r).

    r: held-out rows over training rows. Source: Nadeau and Bengio 2003. -> (mean, low, high)
    """
    v = np.asarray(values, float)
    half = stdtrit(len(v) - 1, 0.975) * v.std(ddof=1) * np.sqrt(1 / len(v) + ratio)
    return float(v.mean()), float(v.mean() - half), float(v.mean() + half)


def shared(values, ratio) -> str:
    """Mean and the interval of `corrected`, in words."""
    return "{:.3f} [{:.3f}, {:.3f}]".format(*corrected(values, ratio))


def caught(panels, watch, share, against="random", asked="chosen") -> np.ndarray:
    """For each split, the share of harmless requests whose alarm is below that of what was asked:
    an AUC over all pairs. watch: (before, after (r, n), deserved, group) -> alarms (r,).
    """
    def alarms(kind):
        return np.array([watch(p.before["exact"], p.after["exact", kind, share][None], p.yes,
                               p.group)[0] for p in panels])

    attacks, calm = alarms(asked), alarms(against)
    return ((attacks[:, None] > calm) + 0.5 * (attacks[:, None] == calm)).mean(1)


def say(values, limits=RISE) -> str:
    """Mean and interval inside the limits: '0.06 [0.05, 0.07]'."""
    return show_interval(values, limits=limits)


def side(values, limits=RISE, above="more", below="less", neither="not told apart") -> str:
    """A word for a difference whose interval lies above 0, below 0, or holds it."""
    _, low, high = interval(values, None, limits)
    return above if low > 0 else below if high < 0 else neither


def edges(**choices) -> str:
    """Names of settings chosen at the end of what was tried, or 'none'. name=(choice, grid)"""
    found = [name for name, (chosen, grid) in choices.items() if chosen in (grid[0], grid[-1])]
    return ", ".join(found) or "none"


def by_network(values, count) -> np.ndarray:
    """Mean over the victims of each network: the unit. (networks · count,) -> (networks,)"""
    return np.asarray(values, float).reshape(-1, count).mean(1)


def requests_table(rises, accuracy, parity) -> pd.DataFrame:
    """A row a request: rise of the gap, of demographic parity, change of accuracy."""
    return pd.DataFrame([{"request": kind, "rise of the gap": say(rises[kind]),
                          "rise of the parity gap": say(parity[kind]),
                          "accuracy, points": say(accuracy[kind], POINTS)} for kind in rises])


def watches_table(found) -> pd.DataFrame:
    """A row for each size and comparison, a column a watch. found: row name -> watch -> AUCs"""
    return pd.DataFrame([{"requests": name} | {who: say(v, (0, 1)) for who, v in by.items()}
                         for name, by in found.items()])
