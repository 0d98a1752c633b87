"""Parts of the claims: values a target, and names as claims.yaml has them."""

import numpy as np
import pandas as pd

from .gates import GATES, kept_thresholds


def best_gates(frame):
    """Aim of a request -> the gate that catches most of those. frame: of `caught`."""
    return {aim: rows[list(GATES)].mean().idxmax() for aim, rows in frame.groupby("aim")}


def by_aim(gate, frame):
    """Parts of the claim on defences: share caught by the best gate for each aim, kept thresholds.

    frame: of `caught`, with thresholds from realistic requests.
    """
    parts, fresh, best = {}, [], best_gates(frame)
    for aim, rows in frame.groupby("aim"):
        name = best[aim]
        parts[f"caught, aimed at {aim}"] = rows.groupby(["i", "j"])[name].mean()
        fresh += kept_thresholds(gate, name)
    return parts | {"threshold": fresh}


def by_direction(name, frame):
    """The moves in the two directions as two parts of a claim: each has to hold by itself."""
    return {f"{name}, {text}": frame[frame.goal == g].sort_values(["i", "j"]).move
            for g, text in (("over", "surer"), ("under", "unsure"))}


def by_estimator(sides, held, v):
    """The parts of the claim on better estimates. sides: (estimator, goal) -> records; held: share
    of measured rows in the conformal sets, for each network; v: a victim, for the two sizes.
    """
    # validation and measured rows are both samples: three standard errors of a share of 0.9
    slack = 3 * np.sqrt(0.09 * (1 / len(v.validation[1]) + 1 / len(v.measure[1])))
    parts = {"coverage": [share >= 0.9 - slack for share in held]}
    for name in ("temperature", "dropout", "ensemble", "conformal"):
        parts |= by_direction(name, pd.concat([sides[name, g] for g in ("over", "under")]))
    return parts


def in_all_runs(claim_id, sides, names):
    """'conformal set down: {unc-estimators.conformal, surer}.', with a place for each part of a
    claim where lab.say_committed puts what all committed runs say.

    sides: (estimator, goal); names: estimator -> what it is called.
    """
    ways = {"over": ("down", "surer"), "under": ("up", "unsure")}
    return "; ".join(f"{names[e]} {ways[g][0]}: {{{claim_id}.{e}, {ways[g][1]}}}"
                     for e, g in sides) + "."


def claim(lab, name, parts, seeds, clusters=None):
    """lab.claim without lost runs. parts: name -> values; seeds: the victim's seed of each target.

    clusters: name of a part -> the seed of each value, where they are not one a target.
    """
    given, labels = {}, {}
    for part, values in parts.items():
        values, where = np.asarray(values), (clusters or {}).get(part, seeds)
        there = np.isfinite(values.astype(float))
        given[part] = values[there].tolist()
        if len(values) == len(where):
            labels[part] = [c for c, kept in zip(where, there, strict=True) if kept]
    return lab.claim(name, given, clusters=labels)
