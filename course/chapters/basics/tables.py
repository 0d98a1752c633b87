"""What the notebook on basics says of its runs: choices, tables, comparisons over seeds."""

import numpy as np
import pandas as pd

import labkit as lk

from .plots import NAMES
from .runs import KINDS, strength

show = lk.measure.show_interval
COLUMNS = {"UA": "UA %", "RA": "RA %", "TA": "TA %", "gap": "gap, points", "AUC": "MIA, AUC",
           "cpu": "RTE, CPU s", "visits": "visits, 1000 rows"}


def mean_gaps(runs):
    """Mean gap of (kind, method, strength) over seeds; NaN where a run was lost."""
    return runs.groupby(["kind", "method", "strength"], sort=False)["gap"].agg(
        lambda gaps: gaps.mean(skipna=False))


def ends(grid, chosen, mean_gap):
    """Which choices stand at an end of their grid, and what lies there: list of texts."""
    found = [_at_the_end(grid, chosen, mean_gap, *key) for key in chosen]
    return [text for text in found if text]


def _at_the_end(grid, chosen, mean_gap, kind, method):
    first, *_, last = (strength(k) for k in grid[method][kind])
    at, name = strength(chosen[kind, method]), f"{NAMES[method]}, {kind}"
    if at == last:
        return f"{name} (strong end: a longer grid may find better)"
    if at != first:
        return ""
    idle = abs(mean_gap[kind, method, first] / mean_gap[kind, "untouched", 0.0] - 1) < 0.05
    return f"{name} (weak end: " + ("it hardly changes the model there, so no weaker one would do "
                                    "better)" if idle else "a longer grid may find better)")


def choices(grid, chosen, mean_gap, kind):
    """One line a method: the gap at every strength tried, the chosen one marked. -> table"""
    rows = {}
    for method in grid:
        at = strength(chosen.get((kind, method), {"": None}))
        texts = []
        for v in map(strength, grid[method][kind]):
            gap = mean_gap[kind, method, v]
            told = "lost" if np.isnan(gap) else f"{gap:.1f}"
            texts.append(f"[{v:g}: {told}]" if v == at else f"{v:g}: {told}")
        name = next(iter(grid[method][kind][0]))
        rows[NAMES[method]] = {"strength": name, "gap at each strength": "  ·  ".join(texts)}
    return pd.DataFrame(rows).T


def of_methods(results, kind, columns):
    """Mean and 95 % interval over seeds, a row a method, and a caption. -> table, str"""
    part = results[results.kind == kind].assign(visits=lambda t: t.visits / 1000)

    def cell(values):
        limits = (None if values.name in ("cpu", "visits") else (0, 1) if values.name == "AUC"
                  else (0, 100))
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


def gaps(results, kind):
    """method -> gap of each seed, the smallest mean first."""
    found = results[(results.kind == kind) & (results.method != "retrained")].dropna(subset="gap")
    found = {m: part.set_index("seed").gap for m, part in found.groupby("method")}
    return dict(sorted(found.items(), key=lambda item: item[1].mean()))


def beyond(found, sign, looks):
    """Methods whose gap lies on this side of the untouched model's. -> names, or 'none'

    found: method -> gaps by seed; sign: 1, further away; -1, closer. Paired over seeds, corrected
    for that many looks (Bonferroni).
    """
    differences = {m: (sign * (found[m] - found["untouched"])).dropna() for m in found
                   if m in NAMES}
    names = [NAMES[m] for m, v in differences.items()
             if lk.measure.interval(v, None, (-100, 100), 1 - 0.05 / looks)[1] > 0]
    return ", ".join(names) or "none"


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
