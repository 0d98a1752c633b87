"""Intervals: Student's t over seeds; a bootstrap only over many rows or targets."""

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


def bootstrap_interval(values, clusters=None, level: float = 0.95, draws: int = 2000, seed: int = 0):
    """Mean and percentile bootstrap interval over rows or targets. (n,) -> (mean, low, high).

    clusters: (n,) labels (the seed each row came from); whole clusters are drawn, then rows inside them.
    Refuses fewer than 20 values: percentile bootstraps over a handful are too narrow (three seeds cover 67 %).
    """
    v = _finite(values)
    if len(v) < 20:
        raise LabError(f"A bootstrap over {len(v)} values is too narrow: give at least 20, or use t_interval over "
                       "seeds.")
    rng = np.random.default_rng(seed)
    if clusters is None:
        means = v[rng.integers(0, len(v), (draws, len(v)))].mean(1)
    else:
        if np.shape(clusters) != v.shape:
            raise LabError(f"A bootstrap got {len(v)} values and {np.size(clusters)} cluster labels: give one a value.")
        groups = [v[np.asarray(clusters) == c] for c in np.unique(clusters)]
        if len({len(g) for g in groups}) == 1:  # the same draws at once: 50 times quicker
            table, (k, m) = np.array(groups), (len(groups), len(groups[0]))
            means = table[rng.integers(0, k, (draws, k))[..., None], rng.integers(0, m, (draws, k, m))].mean((1, 2))
            return float(v.mean()), *map(float, np.quantile(means, [0.5 - level / 2, 0.5 + level / 2]))
        means = np.empty(draws)
        for d in range(draws):
            picked = [groups[i] for i in rng.integers(0, len(groups), len(groups))]
            means[d] = np.concatenate([g[rng.integers(0, len(g), len(g))] for g in picked]).mean()
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return float(v.mean()), float(low), float(high)


def target_interval(values, clusters=None, level: float = 0.95) -> tuple[float, float, float]:
    """The interval for rows or targets: a (clustered) bootstrap from 20 values on, Student's t below.

    Where all values are 0, or all are 1, resampling cannot show any doubt; then the exact (Clopper-Pearson) bound is
    taken: 21 successes of 21 say "at least 84 %", not "100 %".
    """
    v = _finite(values)
    if v.min() == v.max() and v[0] in (0.0, 1.0):
        bound = (0.5 - level / 2) ** (1 / len(v))
        return (1.0, bound, 1.0) if v[0] else (0.0, 0.0, 1 - bound)
    return bootstrap_interval(v, clusters, level) if len(v) >= 20 else t_interval(v, level)


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
