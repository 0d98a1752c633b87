"""Measured numbers in words."""

import numpy as np
import pandas as pd

from labkit.measure import interval, show_interval

UNIT, DIFFERENCE = (0, 1), (-1, 1)


def share(values) -> str:
    """Mean and interval of shares: '0.82 [0.78, 0.86]'."""
    return show_interval(np.asarray(values, float), limits=UNIT)


def difference(values) -> str:
    """Mean and interval of a difference of shares."""
    return show_interval(np.asarray(values, float), limits=DIFFERENCE)


def less(one, other) -> np.ndarray:
    """Network by network, one less the other."""
    return np.asarray(one, float) - np.asarray(other, float)


def side(values, above, below, neither, line=0.0, limits=DIFFERENCE) -> str:
    """Words for a quantity whose interval lies above the line, below it, or holds it."""
    _, low, high = interval(np.asarray(values, float), None, limits)
    return above if low > line else below if high < line else neither


def beyond(values, line=0.0, limits=(-2, 2)) -> list:
    """Names whose whole interval lies above the line. values: name -> numbers"""
    return [name for name, v in values.items() if interval(v, None, limits)[1] > line]


def listed(values) -> str:
    """'a 0.1 [0, 0.2], b …': name -> differences of shares."""
    return ", ".join(f"{name} {show_interval(v, limits=(-2, 2))}" for name, v in values.items())


def places(claim, parts) -> str:
    """Places for `Lab.say_committed`: 'a: {claim.a}; b: {claim.b}'."""
    return "; ".join(f"{part}: {{{claim}.{part}}}" for part in parts)


def controls(found, asr) -> pd.DataFrame:
    """A row for each kind of network. found: as worlds.results; asr: with the other corner too"""
    words = {"before": "before", "after": "after exact deletion", "no camouflage": "no camouflage",
             "clean": "no attacker", "unrelated": "other rows deleted"}
    return pd.DataFrame([{
        "network": words[name], "ASR": share(asr[name]), "without square": share(r["plain"]),
        "accuracy": show_interval(r["accuracy"], limits=(0, 100))} for name, r in found.items()])


def free_table(found) -> pd.DataFrame:
    """A row for each set of deleted rows: ASR, and the same pictures without the square."""
    return pd.DataFrame([{"deleted": {"all rows": "nothing"}.get(k, k), "ASR": share(found[k]),
                          "without square": share(found[f"{k}, no square"])}
                         for k in ("all rows", "random", "chosen")])


def project_table(tried, points) -> pd.DataFrame:
    """A row for each choice of camouflage. tried: who -> (before, after, scores)"""
    return pd.DataFrame([{
        "camouflage": who, "ASR before": share(before), "after": share(after),
        "rise": difference(less(after, before)), "seen": share(np.asarray(s) > 1),
        "judged": f"{points[who].mean():.2f}"} for who, (before, after, s) in tried.items()])
