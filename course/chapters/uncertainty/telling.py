"""Numbers in sentences: a mean over targets with its interval over networks."""

import numpy as np

from labkit.measure import interval, show_interval

PERCENT = (0, 100)


def _there(frame, column):
    return frame.dropna(subset=[column])  # a lost run is left out


def told(frame, column, unit="", limits=None) -> str:
    """Mean of a column of targets with its interval over networks (column i), as text."""
    there = _there(frame, column)
    return show_interval(there[column], unit=unit, clusters=there.i.tolist(), limits=limits)


def ends(frame, column, limits=None):
    """The interval itself: (low, high)."""
    there = _there(frame, column)
    return interval(there[column], there.i, limits)[1:]


def share(hits, clusters) -> str:
    """The share of hits (0 or 1; NaN, a lost run, is none) in percent, as text."""
    hits = 100 * np.nan_to_num(np.asarray(hits, float))
    return show_interval(hits, unit=" %", clusters=list(clusters), limits=PERCENT)
