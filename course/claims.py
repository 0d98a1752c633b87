"""Judges claims: do our numbers bear out what a paper says?"""

import math

import numpy as np

from course.chapters import number
from course.claimfile import PROFILES, Change, Claim, Part
from labkit.base import LabError
from labkit.measure.intervals import decimals, interval

# Worst first; a conjunction takes the first of these that one of its parts has.
ORDER = ("failed", "not reproduced", "undecided", "too few", "reproduced", "passed", "report")
HOLDS = ("reproduced", "passed")
# Okabe-Ito: told apart by colour-blind readers; the word is always there too.
COLOURS = {"reproduced": "#0072B2", "passed": "#0072B2", "undecided": "#F0E442",
           "not reproduced": "#D55E00", "failed": "#D55E00"}


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
            raise LabError(f"Part {part.name!r} is a check and takes True or False; it got "
                           f"{bad[0]!r}.")
        result["mean"] = float(np.mean(values)) if values else None
        verdict = "passed" if n >= (part.min_units or 1) else "too few"
        verdict = verdict if all(values) else "failed"
        return result | {"verdict": verdict if enough_power else "too few", "values": values}

    numeric = all(isinstance(v, (int, float)) for v in values)
    if not numeric and kind != "report":
        raise LabError(f"Part {part.name!r} takes numbers only; it got {values!r:.80}.")
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
            raise LabError(f"Claim {claim.id!r}: {error}") from None
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


def in_words(result: dict, part: Part) -> str:
    """A judged part as text, '0.36 [0.31, 0.42]': as many decimals as its interval supports."""
    if result["kind"] == "check":
        return f"{sum(result['values'])} of {result['n']} hold"
    if result["mean"] is None:
        return f"{result['n']} figure{'s' * (result['n'] > 1)}" if result["values"] else "nothing"
    mean, low, high = (result[k] for k in ("mean", "low", "high"))
    if low is None:
        return f"{mean:.3g}"
    digits = decimals((high - low) / 2)
    margin = part.margin or 0
    lines = {"effect": [part.bound], "equivalence": [-margin, margin]}.get(part.kind, [])
    if any(round(end, digits) == line for end in (low, high) for line in lines):
        digits += 1  # rounded, the end would lie on the line that decides
    return f"{mean:z.{digits}f} [{low:z.{digits}f}, {high:z.{digits}f}]"  # z: no -0.00


def parts_in_words(result: dict, claim: Claim, deciding=False) -> str:
    """All judged parts of a claim, or the one that decides, named where the claim has several."""
    pairs = [(p, rule) for p, rule in zip(result["parts"], claim.parts, strict=True)
             if not deciding or p["name"] == result["decided_by"]]
    named = len(claim.parts) > 1
    return "; ".join(f"{p['name']} " * named + in_words(p, rule) for p, rule in pairs)


def would_have_shown(result: dict, part: Part) -> str:
    """What an undecided part could have decided with this n; empty where that is not known."""
    size = result.get("detectable")
    if size is None:
        return ""
    if part.limits and size > abs(part.limits[part.side == "above"] - part.bound):
        return "no difference that is possible would have been shown"
    beyond = "" if part.bound == 0 or part.kind == "equivalence" else f" beyond {part.bound:g}"
    margin = "a margin of ± " if part.kind == "equivalence" else ""
    return f"{margin}{size:.2g}{beyond} would have been shown"


def parts_held(result: dict, claim: Claim) -> str:
    """'2 of 3': how many of the parts hold that can fail; empty where there are fewer than two."""
    can_fail = {p.name for p in claim.parts if p.kind != "report" and not p.by_construction}
    verdicts = [p["verdict"] for p in result["parts"] if p["name"] in can_fail]
    return f"{sum(v in HOLDS for v in verdicts)} of {len(verdicts)}" if len(verdicts) > 1 else ""


def change_in_words(change: Change) -> str:
    """What follows 'predicate' in the note on a claim that has changed."""
    when = "after" if change.known else "before"
    return (f"changed on {change.date}, {when} numbers were known. It was: {change.predicate} "
            f"Why: {change.why}")


def _interval(part, values, clusters):
    least, most = part.limits or (-math.inf, math.inf)
    if out := [f"{v:g}" for v in values if v < least - 1e-6 or v > most + 1e-6]:
        raise LabError(f"Part {part.name!r} got {out[0]}; it is a quantity from {least:g} to "
                       f"{most:g}.")
    try:
        mean, low, high = interval(values, clusters, part.limits)
    except LabError as error:
        raise LabError(f"Part {part.name!r}: {error}") from None
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
    from scipy.special import stdtrit

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
