"""Sentences about what was measured."""

import json

import numpy as np

from labkit.base import LabError, data_path

from .judging import minus
from .tables import in_brief, turned


def ruin(runs, place, sparsity):
    """How many networks fine-tuning at a place of its grid ruins, in words.

    Ruined: fewer than half as many retained rows right as the retrained network of that request.
    """
    of_class, told = runs[runs.asked != "random"].set_index(["seed", "asked"]), []
    for s, kind in ((0.0, "dense"), (sparsity, "sparse")):
        part = of_class[of_class.sparsity == s]
        tuned = part[(part.method == "FT") & (part.setting == place)].RA
        gone = int((tuned < part[part.method == "retrained"].RA.loc[tuned.index] / 2).sum())
        told.append(f"{gone} of {len(tuned)} {kind} networks (mean RA {tuned.mean():.0f} %)"
                    + ": not forgetting but collapse makes their UA" * (gone > 0))
    return f"fewer than half of retraining's retained rows stay right in {'; in '.join(told)}."


def diverged(runs, tried):
    """Where networks diverged, in words; empty where none did."""
    groups = runs[runs.setting >= 0].groupby(["method", "setting", "sparsity"])
    gone = groups.lost.agg(["sum", "size"])
    told = [f"{name} at {in_brief(tried[name][i])}, {100 * s:g} % sparse: {row['sum']} of "
            f"{row['size']}" for (name, i, s), row in gone[gone["sum"] > 0].iterrows()]
    return (f"Networks that diverged, and count as wrong everywhere: {'; '.join(told)}."
            if told else "")


def relabelling(value, points, methods, sparsity, own):
    """RL's and SalUn's disparity beside the least of the others, picked on the same splits.

    own: the place of FT's rate that sparse networks would take: dense RL has a setting of its own,
    so it is compared with sparse FT at one, too.
    """
    others = {f"{m} at {100 * s:g} % sparsity": value("gap", m, s)
              for m in methods for s in (0.0, sparsity)}
    others[f"FT at {100 * sparsity:g} % sparsity with its own rate"] = value("gap", "FT", sparsity,
                                                                             own)
    others = {which: v for which, v in others.items() if all(map(np.isfinite, v))}
    best = min(others, key=lambda which: np.mean(others[which]))
    less = [f"{points(minus(value('gap', m), others[best]))} ({m})" for m in ("RL", "SalUn")]
    return (f"RL and SalUn need no pruning: beside {best}, the best of the others on these very "
            f"splits, the disparity of each less that of this is {' and '.join(less)} points.")


def second_network(first, second, settings, diverged, side):
    """What a second network says of the parts that the first one measured; see turned."""
    other, opened = (", ".join(parts) or "none" for parts in turned(first, second, side))
    taken = "; ".join(f"{m} {in_brief(v)}" for m, v in settings.items())
    return (f"With the second network ({taken}) on the other side of the line: {other}. Decided "
            f"with one, open with the other: {opened}. Diverged: {diverged}.")


def in_full(seeds):
    """What the committed run in `full` shares with this run, and whether it has the second network.

    seeds: those judged here. -> words
    """
    try:
        path = data_path("records") / "12_sparsity-full-fashion-s0.json"
        record = json.loads(path.read_text(encoding="utf-8"))
    except (LabError, FileNotFoundError):  # an installed labkit brings no records
        return "No run in `full` is committed, so the second network has not been run."
    units = {claim["id"]: claim["units"] for claim in record["claims"]}
    there = units["sparse-ft"]
    lacks = ("" if "sparse-network" in units else
             ", from earlier cells, without the second network, which no committed run has yet")
    return (f"The committed run in `full` is of {record['started'][:10]}{lacks}. Of its "
            f"{len(there)} seeds {len(set(seeds) & set(there))} are this run's, and some are the "
            "committed quick runs': it is no independent evidence.")


def of_rates(rates, rule, own):
    """What FT's grid of rates leaves open about dense networks (rule) and sparse ones (own)."""
    edge = own in (0, len(rates) - 1)
    dense = (f"between {rates[rule]:g} and {rates[rule + 1]:g}" if rule + 1 < len(rates)
             else f"above {rates[rule]:g}")
    return ("in this run " + f"the sparse one, {rates[own]:g}, is at its grid's edge, and " * edge
            + f"no dense one {dense} was tried")
