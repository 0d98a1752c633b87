"""Numbers with their intervals, as sentences and tables show them."""

import numpy as np
import pandas as pd

from labkit.measure import interval


def pm(values, clusters, sign="-", digits=1, limits=None) -> str:
    """'4.2 [2.0, 6.1]' over the means of the seeds; '4.2' where one seed has no interval.

    clusters: the seed of each value; None where each value is a seed's. limits: of the quantity.
    """
    mean, low, high = interval(values, clusters, limits)
    shown = f"{mean:{sign}z.{digits}f}"
    return shown + (f" [{low:z.{digits}f}, {high:z.{digits}f}]" if np.isfinite(low) else "")


def tell(values, clusters, above: str, unclear: str = "", below: str = "") -> str:
    """One of three texts: the whole 95 % interval is above 0, holds it (or there is none), or is
    below.
    """
    _, low, high = interval(values, clusters)
    return above if low > 0 else below if high < 0 else unclear


def half_width(values, clusters) -> float:
    """Half the width of the 95 % interval over the means of the seeds: a smaller mean would not be
    told from 0.
    """
    _, low, high = interval(values, clusters)
    return (high - low) / 2


def share_near(gains, clusters) -> str:
    """Percent of rows at least 5 dB nearer than the class mean, with its interval."""
    return pm(100.0 * (gains >= 5), clusters, digits=0, limits=(0, 100))


def change_table(alone, clusters) -> pd.DataFrame:
    """What one_thing_at_a_time found, a row a change, with intervals."""
    return pd.DataFrame([{"what alone is changed": what, "gain before, dB": pm(old, clusters),
                          "after": pm(new, clusters), "change": pm(new - old, clusters, "+")}
                         for what, (old, new) in alone.items()])


def crowd_table(in_crowd, weights, clusters) -> pd.DataFrame:
    """What crowd_sizes found, a row a size of request, with intervals."""
    return pd.DataFrame([{"rows in the request": u, "weight of the prior": f"{weights[u]:g}",
                          "gain, dB": pm(g, clusters), "at least 5 dB, %": share_near(g, clusters)}
                         for u, g in in_crowd.items()])


def rank_by_seed(a, b, clusters) -> list[float]:
    """Spearman's rank correlation of two columns, within each seed."""
    frame = pd.DataFrame(dict(a=a, b=b, seed=clusters))
    return [g[["a", "b"]].rank().corr().iloc[0, 1] for _, g in frame.groupby("seed", sort=False)]
