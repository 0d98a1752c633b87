"""What the notebook on basics says of its runs: choices, tables, comparisons over seeds."""

import numpy as np
import pandas as pd

import labkit as lk

from .plots import NAMES
from .runs import KINDS, strength

show = lk.measure.show_interval
UNDECIDED = {
    "undecided": "The interval lies on both sides of the line, so these seeds do not decide it.",
    "too few": "These are too few seeds for a verdict."}
COLUMNS = {"UA": "UA %", "RA": "RA %", "TA": "TA %", "gap": "gap, points", "AUC": "MIA, AUC",
           "above": "AUC less retraining's, paired",
           "cpu": "RTE, CPU s", "visits": "visits, 1000 rows"}


def points(values):
    """Mean and 95 % interval of a difference of two shares, in points. -> text"""
    return show(values, limits=(-100, 100)) + " points"


def mean_gaps(runs, grid, kind, method):
    """Mean gap over seeds at each strength of the grid; NaN where a run was lost. -> (strengths,)
    """
    part = runs[(runs.kind == kind) & (runs.method == method)].groupby("strength").gap
    means = part.agg(lambda gaps: gaps.mean(skipna=False))
    return means.reindex([strength(k) for k in grid[method][kind]]).to_numpy()


def ends(runs, grid, chosen):
    """Which choices stand at an end of their grid, and what lies there: list of texts."""
    found = []
    for (kind, method), settings in chosen.items():
        first, *_, last = (strength(k) for k in grid[method][kind])
        name = f"{NAMES[method]}, {kind}"
        if strength(settings) == last:
            found.append(f"{name} (strong end: a longer grid may find better)")
        elif strength(settings) == first:
            idle = moved(runs, kind, method, first) < 0.5
            found.append(f"{name} (weak end: " + (
                "it hardly changes the model there, a weaker one still less)" if idle
                else "a longer grid may find better)"))
    return found


def moved(runs, kind, method, at):
    """How far a method's mean UA, RA and TA lie from the untouched model's, in points."""
    part, names = runs[runs.kind == kind], ["UA", "RA", "TA"]
    here = part[(part.method == method) & (part.strength == at)][names].mean()
    return float((here - part[part.method == "untouched"][names].mean()).abs().mean())


def choices(runs, grid, chosen):
    """One line a method: the gap at every strength tried, the chosen one marked. -> table"""
    def told(kind, method):
        at, texts = strength(chosen.get((kind, method), {"": None})), []
        values = map(strength, grid[method][kind])
        for v, gap in zip(values, mean_gaps(runs, grid, kind, method), strict=True):
            text = f"{v:g}: lost" if np.isnan(gap) else f"{v:g}: {gap:.1f}"
            texts.append(f"[{text}]" if v == at else text)
        return " · ".join(texts)

    return pd.DataFrame({
        NAMES[m]: {"strength": next(iter(grid[m]["random"][0]))}
        | {f"{kind} request": told(kind, m) for kind in KINDS} for m in grid}).T


def curve(runs, method, column, seeds):
    """(strengths, (seeds, strengths) values) of a method; a strength that lost a run is left out.
    """
    part = runs[runs.method == method]
    wide = part.pivot(index="seed", columns="strength", values=column).loc[seeds]
    strengths = [v for v in part.strength.unique() if wide[v].notna().all()]
    return np.array(strengths), wide[strengths].to_numpy(float)


def of_methods(results, kind, columns):
    """Mean and 95 % interval over seeds, a row a method, and a caption. -> table, str"""
    part = results[results.kind == kind].assign(visits=lambda t: t.visits / 1000)

    def cell(values):
        limits = {"cpu": None, "visits": None, "AUC": (0, 1), "above": (-1, 1)}.get(
            values.name, (0, 100))
        values = values.dropna()
        if len(values) < 3:
            return "" if values.empty else f"{values.mean():.2g}"
        return (f"{values.iloc[0]:.4g} each" if np.ptp(values) < 1e-9
                else show(values, limits=limits))

    table = part.groupby("method", sort=False)[list(columns)].agg(cell)
    table = table.rename(columns=COLUMNS, index=NAMES)
    lost = part[part.gap.isna()].groupby("method").size()
    text = ", ".join(f"{NAMES.get(m, m)} {n}" for m, n in lost.items()) or "none"
    return table, f"{kind} request, {part.seed.nunique()} seeds; runs lost: {text}"


def of_column(results, kind, column):
    """method -> a measure of each seed, the smallest mean first."""
    found = results[results.kind == kind].dropna(subset=column)
    found = {m: part.set_index("seed")[column] for m, part in found.groupby("method")}
    return dict(sorted(found.items(), key=lambda item: item[1].mean()))


def beyond(found, sign, beside="untouched", least=0.0, limits=(-100, 100)):
    """Methods whose measure lies on this side of another row's, by more than `least`. -> names

    found: method -> values by seed; sign: 1, greater; -1, smaller; least: a number, or one a seed.
    Paired over seeds, corrected for as many looks as there are methods (Bonferroni).
    """
    differences = {m: (sign * (found[m] - found[beside])).dropna() for m in found if m in NAMES}
    inside = {m: (v - least).dropna().clip(*limits) for m, v in differences.items()}
    level = 1 - 0.05 / max(len(inside), 1)
    return [NAMES[m] for m, v in inside.items()
            if len(v) and lk.measure.interval(v, None, limits, level)[1] > 0]


def by_seed(results, kind, method, column):
    """seed -> value of a method, without lost runs."""
    part = results[(results.kind == kind) & (results.method == method)]
    return part.set_index("seed")[column].dropna()


def fine_tuning(results, seeds):
    """Fine-tuning's visits, CPU and gaps as shares of another row's, by seed, and the seeds.

    Seeds that lost a run of either kind of request are left out. -> dict, list
    """
    rows = {(k, c): by_seed(results, k, "finetune", c) for k in KINDS
            for c in ("visits", "cpu", "gap")}
    both = [s for s in seeds if all(s in rows[k, "gap"] for k in KINDS)]

    def share(kind, column, other):
        found = rows[kind, column] / by_seed(results, kind, other, column)
        return found.reindex(both).to_numpy()

    shares = {c: share("random", c, "retrained") for c in ("visits", "cpu")}
    return shares | {f"gap ({k})": share(k, "gap", "untouched") for k in KINDS}, both


def ratio(values):
    """Mean and 95 % interval of a ratio, the ends of which the claims table shows. -> text"""
    return show(values, 2, clusters=np.arange(len(values)))


def matched(runs, method, refs, seeds):
    """TA of each seed where the method's UA equals retraining's; NaN where it never does.

    On the straight line between the two runs of the seed that are nearest in UA. -> (seeds,)
    """
    found = []
    for s in seeds:
        part = runs[(runs.method == method) & (runs.seed == s)].dropna(subset="UA")
        part = part.sort_values("UA")
        found.append(np.interp(refs[s]["rows"]["random"]["UA"], part.UA, part.TA, left=np.nan,
                               right=np.nan))
    return np.array(found)
