"""Measured numbers in words."""

import numpy as np
import pandas as pd

from labkit.measure import interval, show_interval

UNIT, DIFFERENCE = (0, 1), (-1, 1)


def share(values) -> str:
    """Mean and interval of AUCs or shares: '0.82 [0.78, 0.86]'."""
    return show_interval(values, limits=UNIT)


def difference(values) -> str:
    """Mean and interval of a difference of AUCs."""
    return show_interval(values, limits=DIFFERENCE)


def less(one, other) -> np.ndarray:
    """Original by original, or world by world, one less the other."""
    return np.asarray(one, float) - np.asarray(other, float)


def side(values, above="more", below="less", neither="not told apart here") -> str:
    """A word for a difference whose interval lies above 0, below 0, or holds it."""
    _, low, high = interval(values, None, DIFFERENCE)
    return above if low > 0 else below if high < 0 else neither


def contests(found) -> pd.DataFrame:
    """A row a victim: accuracies, both attacks, what was chosen on shadows."""
    return pd.DataFrame([{
        "victim": name, "training, test accuracy":
            " / ".join(f"{100 * a:.0f}" for a in np.mean(pairs.accuracy, 0)),
        "one version": share(c["classic"]), "two versions": share(c["two"]),
        "gain": difference(less(c["two"], c["classic"])), "features": c["kind"]}
        for name, (c, pairs) in found.items()])


def methods(found, untouched) -> pd.DataFrame:
    """A row a method: both attacks, the difference from doing nothing, TPR at 1 % FPR."""
    return pd.DataFrame([{
        "method": name, "row by row": share(c["row"]), "one rule": share(c["population"]),
        "untouched less method": difference(less(untouched["row"], c["row"])),
        "TPR at 1 % FPR": f"{100 * c['tpr'][0]:.1f} %"} for name, c in found.items()])


def project_table(reached) -> pd.DataFrame:
    """A row for each way of answering, a column for each attacker. reached: where -> who -> AUCs"""
    return pd.DataFrame([{"answers": where} | {who: share(a) for who, a in by.items()}
                         for where, by in reached.items()])


def gap_of(pairs) -> np.ndarray:
    """Training less test accuracy of each original."""
    return -np.diff(np.array(pairs.accuracy), axis=1).ravel()


def tau(first, second) -> float:
    """Kendall's tau of two dicts with the same keys."""
    from scipy.stats import kendalltau

    return float(kendalltau(*([d[k] for k in first] for d in (first, second))).statistic)
