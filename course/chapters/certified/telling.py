"""Measured numbers in words and tables."""

import numpy as np
import pandas as pd

from labkit.measure import interval, show_interval


def show(values, limits=None) -> str:
    """Mean and interval."""
    return show_interval(values, limits=limits)


def side(values, above="yes", below="no", neither="not settled in this run", line=0.0,
         limits=None) -> str:
    """A word for an interval above the line, below it, or around it."""
    _, low, high = interval(values, None, limits)
    return above if low > line else below if high < line else neither


def each(trials, *path) -> np.ndarray:
    """One number a trial, from a dict of dicts."""
    found = []
    for t in trials:
        for key in path:
            t = t[key]
        found.append(t)
    return np.array(found, float)


def epsilon_words(epsilon) -> str:
    """A large ε as a power of ten."""
    return f"{epsilon:.2g}" if epsilon < 1000 else f"10^{np.log10(epsilon):.1f}"


def by_damping(grid, trials, bounds, trivial) -> pd.DataFrame:
    """A row a damping: step, residual, distance gained, bound. bounds: (models, grid)"""
    runs = {key: np.array([t["sweep"][key] for t in trials]) for key in trials[0]["sweep"]}
    rows = []
    for i, damping in enumerate(grid):
        held = np.isfinite(bounds[:, i])
        rows.append({
            "λ": f"{damping:g}", "step's length": f"{np.median(runs['step'][:, i]):.3g}",
            "gradient, after / before": f"{np.median(runs['residual'][:, i]):.3g}",
            "distance gained": f"{np.median(runs['gain'][:, i]):.2g}",
            "test accuracy": f"{np.median(runs['accuracy'][:, i]):.0f} %",
            "theorem holds": f"{held.sum()} of {len(held)}",
            "its bound / 2C": f"{np.median(bounds[held, i]) / trivial:.3g}" if held.any() else "—"})
    return pd.DataFrame(rows)


def receipts(trials) -> pd.DataFrame:
    """A row a provider: on how many of the models each test was passed."""
    tests = ("model changed", "unknown id refused", "retraining is nearer")
    return pd.DataFrame([{"provider": kind} | {
        test: f"{sum(t[kind][i] for t in trials)} of {len(trials)}" for i, test in
        enumerate(tests)} for kind in trials[0]])
