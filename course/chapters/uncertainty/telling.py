"""Numbers in sentences and claims: a mean over targets with its interval over networks."""

import numpy as np
import pandas as pd

from labkit.measure import interval, show_interval
from labkit.training import predict

SHARE, DIFFERENCE, PERCENT, POINTS = (0, 1), (-1, 1), (0, 100), (-100, 100)  # what is possible


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
    """How many hits (0 or 1; NaN, a lost run, is none) as text, '86 [60, 96] % (18 of 21)'."""
    hits = 100 * np.nan_to_num(np.asarray(hits, float))
    text = show_interval(hits, unit=" %", clusters=list(clusters), limits=PERCENT)
    return f"{text} ({count(hits / 100)})"


def count(hits) -> str:
    """'18 of 21'"""
    return f"{int(np.nansum(hits))} of {len(hits)}"


def gained(more, clusters) -> tuple[str, bool]:
    """Differences of 0, 1 or a share a target: text in points, and whether they are above 0."""
    more = 100 * np.asarray(more, float)
    above = interval(more, list(clusters), POINTS)[1] > 0
    return show_interval(more, clusters=list(clusters), limits=POINTS), above


def which_fits(less) -> str:
    """Of the predictions b) weaker and c) as strong or stronger, the one that the moves speak for.

    less: a table for each direction; column less is what retraining lacks against the step, nats.
    """
    less = list(less)
    found, means = [ends(frame, "less") for frame in less], {f.less.mean() > 0 for f in less}
    if all(low > 0 for low, _ in found):
        return "b) fits."
    if all(high < 0 for _, high in found):
        return "c) fits, it is stronger."
    if len(means) > 1:
        spoken = "b) in one direction and c) in the other"
    else:
        spoken = "b)" if means == {True} else "c)"
    return f"the means speak for {spoken}, and so few networks do not settle it."


def decisions(victims, act, entropy, ece):
    """What hangs on confidence: ([(confidence, correct) a network], table with a row a network).

    act: a confidence this high is acted on; entropy: (n, k) -> (n,); ece: (confidence, correct,
    bins) -> float.
    """
    answers, rows = [], []
    for v in victims:
        p = predict(v.model, v.measure[0]).softmax(1)
        sure, right = p.max(1).values, p.argmax(1) == v.measure[1]
        acted = sure >= act
        answers.append((sure, right))
        rows.append({"wrong": 100 * (~right).double().mean().item(), "ece": ece(sure, right, 10),
                     "entropy": entropy(p).mean().item(),
                     "acted": 100 * acted.double().mean().item(),
                     "wrong acted": 100 * int((~right & acted).sum()) / max(1, int(acted.sum()))})
    return answers, pd.DataFrame(rows).astype(float)


def outcomes(found):
    """What became of the chosen requests, as text. found: (how, goal) -> records of it."""
    return pd.DataFrame([
        {"unlearning": how,
         "surer: Δp": told(found[how, "over"], "dp", limits=DIFFERENCE),
         "surer: label kept": count(found[how, "over"].kept),
         "unsure: ΔH, nats": told(found[how, "under"], "dH"),
         "unsure: label kept": count(found[how, "under"].kept),
         "label attack: flipped": count(1 - found[how, "flip"].kept)}
        for how in dict.fromkeys(how for how, _ in found)])


def estimators(sides, names):
    """Moves of each estimate and labels kept, as text.

    sides: (estimator, goal) -> records; names: estimator -> what it is called.
    """
    unit = {e: " labels" if e == "conformal" else " nats" for e in names}
    return pd.DataFrame([
        {"estimate": text} | {k: v for g, way in (("under", "up"), ("over", "down"))
                              for k, v in ((f"moved {way}", told(sides[e, g], "move", unit[e])),
                                           (f"{way}: label kept", count(sides[e, g].kept)))}
        for e, text in names.items()])


def beyond_softmax(sides, estimator, goal):
    """An estimate's records with a column more: its move less that of softmax, target by target."""
    plain = sides["softmax", goal].set_index(["i", "j"]).move
    part = sides[estimator, goal].set_index(["i", "j"])
    return part.assign(more=part.move - plain).reset_index()


def selections(met):
    """What became of requests that meet a gate, as text. met: gate -> {way: records}."""
    return pd.DataFrame([{"gate": gate, "selection": way, "rows": f"{g.rows.mean():.0f}",
                          "refused": count(g.refused),
                          "moved as intended, nats": told(g, "done")}
                         for gate, by_way in met.items() for way, g in by_way.items()])
