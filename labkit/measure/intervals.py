"""The interval of everything that is shown or judged: Student's t over the independent units."""

import numpy as np

from ..base import LabError


def interval(values, clusters=None, limits=None, level: float = 0.95) -> tuple[float, float, float]:
    """Mean and interval of independent values, or of clusters' means. (n,) -> (mean, low, high).

    clusters: (n,) labels, the seed or network that each value came from: rows of one network are no
    independent units, and every cluster counts once. limits: the least and the greatest possible
    value, (0, 1) for a share and (-1, 1) for a difference of shares; the interval is then Student's
    t on the logit scale and ends inside them. One unit, or no spread and no limits: infinite, for
    nothing says what the next unit would give.
    """
    from scipy.special import stdtrit  # scipy.stats takes a second longer to import

    v = _finite(values)
    labels = np.arange(len(v)) if clusters is None else np.asarray(clusters)
    if labels.shape != v.shape:
        raise LabError(f"There are {labels.size} cluster labels for {len(v)} values: give one a "
                       "value.")
    means = np.array([v[labels == c].mean() for c in np.unique(labels)])
    units, mean = len(means), float(means.mean())
    if units == 1:
        return mean, float("-inf"), float("inf")
    se = means.std(ddof=1) / np.sqrt(units)
    spread = se > 1e-9 * max(1.0, np.abs(v).max())
    t = stdtrit(units - 1, 0.5 + level / 2)
    if limits is None:
        half = t * se if spread else float("inf")
        return mean, float(mean - half), float(mean + half)
    return mean, *_within(limits, v, units, mean, se, t, spread)


def _within(limits, v, units, mean, se, t, spread):
    """The interval's ends inside the limits, on the logit scale.

    The error is at least that of independent rows: a few clusters may agree by chance. Of counts
    (each value a success or a failure) half of √(rows a cluster) rows, at most two, are in doubt:
    no interval has width 0 because all targets agreed. Chosen by simulated coverage: 3 to 10
    clusters of unequal size, shares of 2 to 98 %.
    """
    from scipy.special import expit, logit

    least, most = limits
    if out := [u for u in v if not least - 1e-6 <= u <= most + 1e-6]:
        raise LabError(f"A value is {out[0]:g}; its limits are {least:g} and {most:g}.")
    width, rows = most - least, len(v)
    place, doubt = min(max((mean - least) / width, 0.0), 1.0), 0.0
    se = max(se, v.std() / np.sqrt(rows)) / width
    counts = {least, most} | ({0.0} if least == -most else set())
    if set(v.tolist()) <= counts:
        step, unsure = 1 / (len(counts) - 1) / rows, min(np.sqrt(rows / units) / 2, 2)
        doubt = step * unsure
        se = max(se, step * np.sqrt(unsure))
    elif not spread:
        return float(least), float(most)
    inner = min(max(place, doubt), 1 - doubt)
    half = t * se / (inner * (1 - inner))
    low, high = expit(logit(inner) - half), expit(logit(inner) + half)
    low, high = 0.0 if place < doubt else low, 1.0 if place > 1 - doubt else high
    return float(least + width * low), float(least + width * high)


def show_interval(values, digits=None, unit: str = "", clusters=None, limits=None) -> str:
    """'86.1 ± 0.9', with limits or clusters '0.36 [0.31, 0.42]': decimals as the width supports."""
    mean, low, high = interval(values, clusters, limits)
    half = (high - low) / 2
    if not np.isfinite(half):
        return f"{_short(mean, 3)}{unit}"
    digits = decimals(half) if digits is None else digits
    if clusters is None and limits is None:
        return f"{mean:z.{digits}f} ± {half:.{digits}f}{unit}"
    return f"{mean:z.{digits}f} [{low:z.{digits}f}, {high:z.{digits}f}]{unit}"


def decimals(half: float) -> int:
    """How many decimals an interval of this half width supports: one digit, two after a 1."""
    if half <= 0:
        return 2
    return max(0, -int(np.floor(np.log10(half))) + (f"{half:e}"[0] == "1"))


def _short(value, digits):
    """So many significant digits, and all of those before the point: 54321 rather than 5.43e+04."""
    return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"


def _finite(values):
    v = np.asarray(values, dtype=float).ravel()
    if len(v) == 0:
        raise LabError("An interval needs at least one value and got none.")
    if not np.isfinite(v).all():
        raise LabError("An interval got NaN or infinity: look for the run that diverged.")
    return v
