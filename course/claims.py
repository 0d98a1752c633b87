"""Judges claims: do our numbers bear out what a paper says? Records of several runs are pooled and judged again."""

import json
import math

import numpy as np

from course.claimfile import PROFILES, Claim, Part, load_claims
from labkit.base import LabError
from labkit.measure.intervals import decimals, interval

# Worst first; a conjunction takes the first of these that one of its parts has.
ORDER = ("failed", "not reproduced", "undecided", "too few", "reproduced", "passed", "report")
HOLDS = ("reproduced", "passed")
CONFIGURATION = ("id", "notebook", "profile", "dataset", "parameters", "labkit", "notebook_hash", "data")

# From so many runs on a run is the unit, for its seeds share the settings that it chose. With fewer, t would know too
# little of the spread between runs: then seeds count as independent, and rows or targets are clustered by seed.
RUNS = 5


def judge_part(part: Part, values, *, min_units=3, clusters=None, enough_power=True) -> dict:
    """Judge one part. values: (n,) numbers (booleans for a check) -> name, kind, n, mean, low, high, verdict, values.

    The 95 % interval is measure.interval's, with the part's limits. None where there is none (one unit, no spread,
    booleans, text). An undecided part has `detectable`: what this n would have shown, beyond the bound or as a margin,
    four times in five. A part by construction is passed or failed, not reproduced. NaN raises LabError.
    """
    values = given if isinstance(given := _plain(values), list) else [given]
    result = {"name": part.name, "kind": part.kind, "n": len(values), "mean": None, "low": None, "high": None}
    if part.kind == "check":
        if bad := [v for v in values if not isinstance(v, bool)]:
            raise LabError(f"Part {part.name!r} is a check and takes True or False; it got {bad[0]!r}.")
        enough = len(values) >= (part.min_units or 1)
        verdict = "failed" if not all(values) else "passed" if enough else "too few"
        return result | {"mean": float(np.mean(values)) if values else None, "verdict": verdict, "values": values}

    numeric = all(isinstance(v, (int, float)) for v in values)
    if not numeric and part.kind != "report":
        raise LabError(f"Part {part.name!r} takes numbers only; it got {values!r:.80}.")
    if numeric and values:
        result |= dict(zip(("mean", "low", "high"), _interval(part, values, clusters), strict=True))
    units = len(values) if clusters is None else len(set(clusters))
    too_few = len(values) < max(2, part.min_units or min_units) or not enough_power
    too_few |= clusters is not None and units < 3  # many targets of two models are two models
    verdict = "report" if part.kind == "report" else "too few" if too_few else _verdict(part, result)
    if verdict == "undecided" and result["low"] is not None:
        result["detectable"] = _detectable(part, result, units)
    return result | {"verdict": verdict, "values": values}


def judge(claim: Claim, values, *, profile, units=None, clusters=None) -> dict:
    """Judge a claim; a conjunction takes its worst part. values: a list, or part name -> list.

    units: what the values were repeated over (the seeds), no repeats. clusters: labels of the values (the seed each
    row came from), a list for all parts or part name -> list. mean, low and high are those of the part that decides.
    """
    if profile not in PROFILES:
        raise LabError(f"Claim {claim.id!r}: the profile {profile!r} is unknown; use one of {PROFILES}.")
    names = [p.name for p in claim.parts]
    by_part = values if isinstance(values, dict) else {names[0]: values}
    for name in names + list(by_part):
        if name not in by_part:
            raise LabError(f"Claim {claim.id!r}: values for the part {name!r} are missing; its parts are {names}.")
        if name not in names:
            raise LabError(f"Claim {claim.id!r} has no part {name!r}; its parts are {names}.")
    units, clusters = _plain(units), _plain(clusters)
    for name, labels in (("units", units), ("clusters", clusters)):
        if not isinstance(labels, (list, dict, type(None))):
            raise LabError(f"Claim {claim.id!r}: {name} is {labels!r}; give a list of labels.")
    if units is not None and len(set(units)) < len(units):
        twice = next(u for u in units if units.count(u) > 1)
        raise LabError(f"Claim {claim.id!r}: the unit {twice!r} is there twice; every {claim.unit} counts once.")
    enough_power = PROFILES.index(profile) >= PROFILES.index(claim.profile)
    parts = []
    for part in claim.parts:
        rows, labels = by_part[part.name], clusters.get(part.name) if isinstance(clusters, dict) else clusters
        judged = claim.unit == "seed" and part.kind in ("effect", "equivalence")
        if units is not None and judged and len(units) != np.size(rows):
            raise LabError(f"Claim {claim.id!r}, part {part.name!r}: {np.size(rows)} values over {len(units)} seeds.")
        try:
            parts.append(judge_part(part, rows, min_units=claim.min_units, clusters=labels,
                                    enough_power=enough_power))
        except LabError as error:
            raise LabError(f"Claim {claim.id!r}: {error}") from None
    worst = min(parts, key=lambda p: ORDER.index(p["verdict"]))
    plain = {p["name"]: p["values"] for p in parts}
    return {"id": claim.id, "notebook": claim.notebook, "profile": profile, "unit": claim.unit, "units": units,
            "values": plain if isinstance(values, dict) else plain[names[0]], "clusters": clusters,
            "mean": worst["mean"], "low": worst["low"], "high": worst["high"], "verdict": worst["verdict"],
            "decided_by": worst["name"], "parts": parts}


def in_words(result: dict, part: Part) -> str:
    """A judged part as text, '0.36 [0.31, 0.42]': as many decimals as its interval supports."""
    if result["kind"] == "check":
        return f"{sum(result['values'])} of {result['n']} hold"
    if result["mean"] is None:
        return f"{result['n']} figure{'s' * (result['n'] > 1)}" if result["values"] else "nothing"
    if result["low"] is None:
        return f"{result['mean']:.3g}"
    ends, half = (result["low"], result["high"]), (result["high"] - result["low"]) / 2
    digits = decimals(half)
    lines = {"effect": (part.bound,), "equivalence": (-(part.margin or 0), part.margin)}.get(part.kind, ())
    if any(round(end, digits) == line for end in ends for line in lines):
        digits += 1  # rounded, the end would lie on the line that decides
    return "{0:z.{3}f} [{1:z.{3}f}, {2:z.{3}f}]".format(result["mean"], *ends, digits)  # z: no -0.00


def would_have_shown(result: dict, part: Part) -> str:
    """What an undecided part could have decided with this n, in words; empty where that is not known."""
    size = result.get("detectable")
    if size is None:
        return ""
    if part.limits and size > abs(part.limits[part.side == "above"] - part.bound):
        return "no difference that is possible would have been shown"
    beyond = "" if part.bound == 0 or part.kind == "equivalence" else f" beyond {part.bound:g}"
    margin = "a margin of ± " if part.kind == "equivalence" else ""
    return f"{margin}{size:.2g}{beyond} would have been shown"


def parts_held(result: dict, claim: Claim) -> str:
    """'2 of 3': how many of a claim's parts hold that can fail; empty where there are fewer than two."""
    can_fail = {p.name for p in claim.parts if p.kind != "report" and not p.by_construction}
    verdicts = [p["verdict"] for p in result["parts"] if p["name"] in can_fail]
    return f"{sum(v in HOLDS for v in verdicts)} of {len(verdicts)}" if len(verdicts) > 1 else ""


def merge(records, claims=None) -> list[dict]:
    """Pool claim records of one configuration over outer seeds and judge them again. -> one record a configuration.

    A configuration is whatever the records carry of CONFIGURATION, `parameters` without the seed. A unit (or, where
    the records have none, an outer seed) that is there twice raises LabError: it would count as new evidence.
    """
    claims, groups = load_claims() if claims is None else claims, {}
    for record in records:
        if record["id"] not in claims:
            raise LabError(f"A record is about the claim {record['id']!r}, which claims.yaml does not list.")
        groups.setdefault(configuration(record), []).append(record)
    return [_pool(claims[group[0]["id"]], group) for group in groups.values()]


def fits(record: dict, claim: Claim) -> bool:
    """Whether a claim's record has the parts that the claim has now; one that became a report takes any values."""
    pairs = zip(record["parts"], claim.parts)  # noqa: B905 their numbers are compared first
    return len(record["parts"]) == len(claim.parts) and all(
        p["name"] == now.name and (p["kind"] == now.kind or now.kind == "report") for p, now in pairs)


def configuration(record: dict) -> str:
    """What two records must share to be pooled, as text: the CONFIGURATION keys, parameters without the seed."""
    key = {k: record.get(k) for k in CONFIGURATION}
    key["parameters"] = {k: v for k, v in (record.get("parameters") or {}).items() if k != "seed"}
    return json.dumps(key, sort_keys=True, default=str)


def _pool(claim: Claim, group: list[dict]) -> dict:
    seeds = [(r.get("parameters") or {}).get("seed") for r in group]
    for seed in {s for s in seeds if s is not None and seeds.count(s) > 1}:
        raise LabError(f"Claim {claim.id!r}: two records of the seed {seed} would be pooled; leave one of them out.")
    values, clusters, units = {p.name: [] for p in claim.parts}, {p.name: [] for p in claim.parts}, []
    numbered = _indices(claim, group)
    for number, record in enumerate(group):
        units += record.get("units") or []
        for part in record["parts"]:
            given = record.get("clusters")
            labels = given.get(part["name"]) if isinstance(given, dict) else given
            if len(group) >= RUNS or not labels or len(labels) != part["n"]:
                labels = [f"run {number}"] * part["n"]
            elif numbered:
                labels = [f"run {number}: {label}" for label in labels]
            values.setdefault(part["name"], []).extend(part["values"])
            clusters.setdefault(part["name"], []).extend(labels)
    has_units = all(r.get("units") for r in group)
    clustered = len(group) >= RUNS or claim.unit in ("row", "target") and (
        len(group) > 1 or group[0].get("clusters") is not None)
    judged = judge(claim, values, profile=group[0]["profile"], units=units if has_units else None,
                   clusters=clusters if clustered else None)
    kept = {k: group[0][k] for k in CONFIGURATION if k in group[0]}
    return kept | judged | {"seeds": [s for s in seeds if s is not None], "runs": len(group),
                            "executed": [r["executed"] for r in group if r.get("executed")]}


def _indices(claim, group):
    """Whether the runs share cluster labels that number the seeds within a run. LabError: they share a seed itself."""
    seen = set()
    for record in group:
        given = record.get("clusters") or []
        labels = {label for part in (given.values() if isinstance(given, dict) else [given]) for label in part}
        if seeds := [label for label in labels & seen if isinstance(label, int) and label > 10**6]:  # no index: spawned
            raise LabError(f"Claim {claim.id!r}: the inner seed {seeds[0]} is in two records; every one counts once.")
        if labels & seen:
            return True
        seen |= labels
    return False


def _interval(part, values, clusters):
    if not all(math.isfinite(v) for v in values):
        raise LabError(f"Part {part.name!r} got NaN or infinity: look for the run that diverged.")
    least, most = part.limits or (-math.inf, math.inf)
    if out := [v for v in values if not least - 1e-6 <= v <= most + 1e-6]:
        raise LabError(f"Part {part.name!r} got {out[0]:g}; it is a quantity from {least:g} to {most:g}.")
    if clusters is not None and len(clusters) != len(values):
        raise LabError(f"Part {part.name!r}: {len(clusters)} cluster labels for {len(values)} values; give one each.")
    mean, low, high = interval(values, clusters, part.limits)
    return (mean, low, high) if math.isfinite(low) else (mean, None, None)  # JSON has no infinity


def _verdict(part, result):
    mean, low, high = (result[k] for k in ("mean", "low", "high"))
    if part.by_construction and low is None:
        low = high = mean  # no spread: the code gives the same each time, as it should
    if low is None:
        return "undecided"
    if part.kind == "equivalence":
        inside, outside = -part.margin < low and high < part.margin, high < -part.margin or low > part.margin
    elif part.side == "above":
        inside, outside = low > part.bound, high < part.bound
    else:
        inside, outside = high < part.bound, low > part.bound
    if part.by_construction:
        return "passed" if inside else "failed" if outside else "undecided"
    return "reproduced" if inside else "not reproduced" if outside else "undecided"


def _detectable(part, result, units):
    """The distance beyond the bound, or the margin, that would be decided with a power of 80 %: t, not exact."""
    from scipy.special import stdtrit

    t = stdtrit(units - 1, 0.975)
    error = (result["high"] - result["low"]) / 2 / t
    return float(error * (t + stdtrit(units - 1, 0.9 if part.kind == "equivalence" else 0.8)))


def _plain(value):
    """numpy or torch -> Python, so that a record is JSON."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value
