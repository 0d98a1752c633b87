"""Means over networks in words: percent and points with their interval, and what it decides."""

import numpy as np

from labkit.measure import interval, show_interval

PERCENT, POINTS, TWICE = (0, 100), (-100, 100), (-200, 200)  # what a quantity can be at all


def percent(values, clusters, limits=PERCENT) -> str:
    """Mean and interval in percent (of shares) or points, over networks: '12 [3, 20]'."""
    return show_interval(100 * np.asarray(values, float), clusters=list(clusters), limits=limits,
                         digits=0)


def ends(values, clusters, limits=PERCENT) -> tuple:
    """(mean, low, high) in percent, over networks."""
    return interval(100 * np.asarray(values, float), list(clusters), limits)


def effect(frame, limits=POINTS) -> str:
    """'12 [3, 20] points, shown' of a frame with i and value; shown: the interval lies above 0."""
    _, low, high = ends(frame.value, frame.i, limits)
    word = "shown" if low > 0 else "the opposite is shown" if high < 0 else "undecided"
    return f"{percent(frame.value, frame.i, limits)} points, {word}"
