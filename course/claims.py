"""Judges claims: do our numbers bear out what a paper says?"""

import math

import numpy as np
from scipy.special import stdtrit

from course.chapters import number
from course.claimfile import PROFILES, Claim, Part
from labkit.base import LabError
from labkit.measure.intervals import interval

# Worst first; a conjunction takes the first of these that one of its parts has.
ORDER = ("failed", "not reproduced", "undecided", "too few", "reproduced", "passed", "report")


def judge_part(part: Part, values, *, min_units=3, clusters=None, enough_power=True) -> dict:
    """Judge one part -> name, kind, n, mean, low, high, verdict, values.

    values: (n,) numbers, booleans for a check. The 95 % interval is measure.interval's, with the
    part's limits; None where there is none (one unit, no spread, booleans, text). An undecided part
    has `detectable`: what this n would have shown, beyond the bound or as a margin, four times in
    five. A part by construction is passed or failed, not reproduced. NaN raises LabError.
    """
    values = given if isinstance(given := plain(values), list) else [given]
    n, kind = len(values), part.kind
    result = {"name": part.name, "kind": kind, "n": n, "mean": None, "low": None, "high": None}
    if kind == "check":
        if bad := [v for v in values if not isinstance(v, bool)]:
            raise LabError(f"A check takes True or False; it got {bad[0]!r}.")
        too_few = not enough_power or n < (part.min_units or 1) and all(values)
        verdict = "too few" if too_few else "passed" if all(values) else "failed"
        mean = float(np.mean(values)) if values else None
        return result | {"mean": mean, "verdict": verdict, "values": values}

    numeric = all(isinstance(v, (int, float)) for v in values)
    if not numeric and kind != "report":
        raise LabError(f"An {kind} takes numbers only; it got {values!r:.80}.")
    if numeric and values:
        result |= _interval(part, values, clusters)
    units = n if clusters is None else len(set(clusters))
    too_few = n < max(2, part.min_units or min_units) or not enough_power
    too_few |= clusters is not None and units < 3  # many targets of two models are two models
    verdict = "report" if kind == "report" else "too few" if too_few else _verdict(part, result)
    if verdict == "undecided" and result["low"] is not None:
        result["detectable"] = _detectable(part, result, units)
    return result | {"verdict": verdict, "values": values}


def judge(claim: Claim, values, *, profile, units=None, clusters=None) -> dict:
    """Judge a claim; a conjunction takes its worst part. values: a list, or part name -> list.

    units: what the values were repeated over (the seeds), no repeats. clusters: labels of values
    (the seed each row came from), a list for all parts or part name -> list. mean, low and high are
    those of the part that decides.
    """
    first = claim.parts[0].name
    by_part = values if isinstance(values, dict) else {first: values}
    units, clusters = plain(units), plain(clusters)
    for problem in _problems(claim, by_part, profile, units, clusters):
        raise LabError(f"Claim {claim.id!r}{problem}.")
    power = PROFILES.index(profile) >= PROFILES.index(claim.profile)
    parts = []
    for part in claim.parts:
        labels = clusters.get(part.name) if isinstance(clusters, dict) else clusters
        try:
            parts.append(judge_part(part, by_part[part.name], min_units=claim.min_units,
                                    clusters=labels, enough_power=power))
        except LabError as error:
            raise LabError(f"Claim {claim.id!r}, part {part.name!r}: {error}") from None
    worst = min(parts, key=lambda p: ORDER.index(p["verdict"]))
    kept = {p["name"]: p["values"] for p in parts}
    return {"id": claim.id, "notebook": number(claim.chapter), "profile": profile,
            "unit": claim.unit, "units": units,
            "values": kept if isinstance(values, dict) else kept[first], "clusters": clusters,
            **{k: worst[k] for k in ("mean", "low", "high", "verdict")},
            "decided_by": worst["name"], "parts": parts}


def _problems(claim, by_part, profile, units, clusters):
    """In words, where the values, units or clusters are not those of this claim."""
    names = [p.name for p in claim.parts]
    if profile not in PROFILES:
        yield f": the profile {profile!r} is unknown; use one of {PROFILES}"
    for name in (n for n in names if n not in by_part):
        yield f": values for the part {name!r} are missing; its parts are {names}"
    for name in (n for n in by_part if n not in names):
        yield f" has no part {name!r}; its parts are {names}"
    for name, labels in (("units", units), ("clusters", clusters)):
        if not isinstance(labels, (list, dict, type(None))):
            yield f": {name} is {labels!r}; give a list of labels"
    for unit in (u for u in units or () if list(units).count(u) > 1):
        yield f": the unit {unit!r} is there twice; every {claim.unit} counts once"
    for part in claim.parts if units is not None and claim.unit == "seed" else ():
        n = np.size(by_part[part.name])
        if part.kind in ("effect", "equivalence") and n != len(units):
            yield f", part {part.name!r}: {n} values over {len(units)} seeds"


def _interval(part, values, clusters):
    least, most = part.limits or (-math.inf, math.inf)
    if out := [v for v in values if v < least - 1e-6 or v > most + 1e-6]:
        raise LabError(f"It got {out[0]:g}; it is a quantity from {least:g} to {most:g}.")
    mean, low, high = interval(values, clusters, part.limits)
    low, high = (low, high) if math.isfinite(low) else (None, None)  # JSON has no infinity
    return {"mean": mean, "low": low, "high": high}


def _verdict(part, result):
    low, high = result["low"], result["high"]
    if low is None and part.by_construction:  # no spread: the code gives the same each time
        low = high = result["mean"]
    if low is None:
        return "undecided"
    least, most = (part.bound, math.inf) if part.side == "above" else (-math.inf, part.bound)
    if part.kind == "equivalence":
        least, most = -part.margin, part.margin
    yes, no = ("passed", "failed") if part.by_construction else ("reproduced", "not reproduced")
    inside, outside = least < low and high < most, high < least or low > most
    return yes if inside else no if outside else "undecided"


def _detectable(part, result, units):
    """The distance beyond the bound, or the margin, decided with a power of 80 %: t, not exact."""
    t = stdtrit(units - 1, 0.975)
    error = (result["high"] - result["low"]) / 2 / t
    return float(error * (t + stdtrit(units - 1, 0.9 if part.kind == "equivalence" else 0.8)))


def plain(value):
    """numpy, torch or pandas -> Python, so that a record is JSON."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        value = value.reset_index().to_dict("list")
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value
