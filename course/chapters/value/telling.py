"""Words for intervals: which side of a line they lie on."""

import numpy as np

from labkit.measure import interval, show_interval


def _ends(values, clusters=None):
    units = len(values) if clusters is None else len(set(clusters))
    if units < 2:
        return -np.inf, np.inf
    _, low, high = interval(values, clusters)
    return (low, high) if np.isfinite(low) else (-np.inf, np.inf)


def side(values, above="above", below="below", open="not settled by this run", bound=0.0,
         clusters=None):
    """One of three texts: the whole interval above the bound, below it, or neither."""
    low, high = _ends(values, clusters)
    return above if low > bound else below if high < bound else open


def beyond(groups, bound=0.0):
    """Names of the groups whose whole interval lies above the bound."""
    return [name for name, values in groups.items() if _ends(values)[0] > bound]


def ratio(above, below):
    """Ratio unit by unit, and as text. -> (array, text)"""
    found = np.asarray(above, float) / np.maximum(np.asarray(below, float), 1e-12)
    return found, show_interval(found, 2) if len(found) > 1 else f"{found[0]:.2f}"
