"""Intervals: Student's t over seeds, or over the means of the seeds; a bootstrap only over many independent rows."""

import numpy as np

from ..base import LabError


def t_interval(values, level: float = 0.95) -> tuple[float, float, float]:
    """Mean and the t interval of independent values, one a seed. (n,) -> (mean, low, high), the values' unit.

    With one value the interval is infinite: a single run says nothing about the next.
    """
    from scipy.special import stdtrit  # the t quantile; scipy.stats takes a second longer to import

    v = _finite(values)
    if len(v) == 1:
        return float(v[0]), float("-inf"), float("inf")
    half = stdtrit(len(v) - 1, 0.5 + level / 2) * v.std(ddof=1) / np.sqrt(len(v))
    return float(v.mean()), float(v.mean() - half), float(v.mean() + half)


def bootstrap_interval(values, level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Mean and percentile bootstrap interval over independent rows or targets. (n,) -> (mean, low, high).

    Refuses fewer than 20 values: percentile bootstraps over a handful are too narrow (three seeds cover 67 %).
    """
    v = _finite(values)
    if len(v) < 20:
        raise LabError(f"A bootstrap over {len(v)} values is too narrow: give at least 20, or use t_interval over "
                       "seeds.")
    means = v[np.random.default_rng(seed).integers(0, len(v), (draws, len(v)))].mean(1)
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return float(v.mean()), float(low), float(high)


def cluster_interval(values, clusters, level: float = 0.95) -> tuple[float, float, float]:
    """Student's t over the clusters' means: rows of one seed share its models and are no independent units.

    clusters: (n,) labels, the seed each value came from. A bootstrap over 3 to 5 clusters covers 75 to 90 %, this 95.
    """
    v, labels = _finite(values), np.asarray(clusters)
    if labels.shape != v.shape:
        raise LabError(f"There are {labels.size} cluster labels for {len(v)} values: give one a value.")
    return t_interval([v[labels == c].mean() for c in np.unique(labels)], level)


def target_interval(values, clusters=None, level: float = 0.95, difference=False) -> tuple[float, float, float]:
    """The interval for rows or targets: cluster_interval with clusters, else a bootstrap (t below 20 values).

    Where all values are 0, or all are 1, they show no doubt; then the exact (Clopper-Pearson) bound over the values is
    taken: 21 successes of 21 say "at least 84 %", not "100 %". A share's interval is cut off at 0 and 1, where shares
    end. difference: the values are differences, and 0 is not the least possible one.
    """
    v = _finite(values)
    if v.min() == v.max() and v[0] in (0.0, 1.0):
        bound = (0.5 - level / 2) ** (1 / len(v))
        return (1.0, bound, 1.0) if v[0] else (0.0, bound - 1 if difference else 0.0, 1 - bound)
    if clusters is not None:
        mean, low, high = cluster_interval(v, clusters, level)
    else:
        mean, low, high = bootstrap_interval(v, level) if len(v) >= 20 else t_interval(v, level)
    if not difference and set(v.tolist()) <= {0.0, 1.0}:
        low, high = max(low, 0.0), min(high, 1.0)
    return mean, low, high


def show_interval(values, digits: int | None = None, unit: str = "") -> str:
    """'86.1 ± 0.9': mean and half width of the t interval, with the decimals the half width supports."""
    mean, low, high = t_interval(values)
    half = (high - low) / 2
    if not np.isfinite(half):
        return f"{_short(mean, 3)}{unit}"
    if half <= 1e-9 * abs(mean):
        return f"{_short(mean, 4)} ± 0{unit}"
    if digits is None:  # one significant digit of the half width, two when it starts with a 1
        digits = max(0, int(np.ceil(-np.log10(half) + (0.3 if f"{half:e}"[0] == "1" else 0))))
    return f"{mean:z.{digits}f} ± {half:.{digits}f}{unit}"


def _short(value, digits):
    """So many significant digits, and all of those before the point: 54321 rather than 5.43e+04."""
    return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"


def _finite(values):
    v = np.asarray(values, dtype=float).ravel()
    if len(v) == 0:
        raise LabError("An interval needs at least one value and got none.")
    if not np.isfinite(v).all():
        raise LabError("An interval was asked of values with NaN or infinity in them: look for the run that diverged.")
    return v
