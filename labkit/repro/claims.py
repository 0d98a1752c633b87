"""Claims: what a paper says, and whether our numbers bear it out. Reads data/claims.yaml; design section 5."""

import json
import math
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import numpy as np

from ..base import LabError, data_path
from ..measure.intervals import bootstrap_interval, t_interval, target_interval

PROFILES = ("quick", "full", "paper")
KINDS = ("check", "effect", "equivalence", "report")
# Worst first; a conjunction takes the first of these that one of its parts has.
ORDER = ("failed", "not reproduced", "inconclusive", "too few", "partly", "reproduced", "passed", "report")
CONFIGURATION = ("id", "notebook", "profile", "dataset", "parameters", "labkit", "notebook_hash", "data")


@dataclass(frozen=True)
class Part:
    """One measured quantity of a claim; bound is for effects, margin (± around 0) for equivalences."""

    name: str
    kind: str
    quantity: str
    side: str = "above"
    bound: float = 0.0
    margin: float | None = None
    min_units: int | None = None


@dataclass(frozen=True)
class Claim:
    """One line of the scoreboard: who says what, their figure, and how ours is judged."""

    id: str
    notebook: str
    paper: str
    where: str
    says: str
    figure: str
    unit: str
    profile: str
    parts: tuple[Part, ...]
    min_units: int = 3


def load_claims(path=None) -> dict[str, Claim]:
    """All claims by id, in the file's order. path: another claims.yaml. LabError names the id and the field."""
    content = _read(path)
    papers, claims = ["new here", *content.get("papers", {})], {}
    for entry in content["claims"]:
        name = str(entry.get("id", "without an id")) if isinstance(entry, dict) else repr(entry)
        if name in claims:
            raise LabError(f"Claim {name!r}: the field 'id' is there twice; ids must differ.")
        raw = _checked(Claim, entry, f"Claim {name!r}")
        _demand(f"Claim {name!r}", parts=(isinstance(raw["parts"], list) and raw["parts"], "a list, not empty"))
        claim = Claim(**raw | {"parts": tuple(_part(p, name) for p in raw["parts"])})
        names, words = {p.name for p in claim.parts}, "id where says figure unit".split()
        _demand(f"Claim {name!r}", **{w: (isinstance(getattr(claim, w), str), "text") for w in words})
        _demand(f"Claim {name!r}", profile=(claim.profile in PROFILES, f"one of {PROFILES}"),
                paper=(claim.paper in papers, "listed under papers:"),
                parts=(len(names) == len(claim.parts), "named apart"),
                notebook=(isinstance(claim.notebook, str), 'quoted, as in "01"'),
                min_units=(isinstance(claim.min_units, int) and claim.min_units > 1, "a whole number above 1"))
        claims[name] = claim
    return claims


def load_papers(path=None) -> dict[str, dict]:
    """The claims' papers by citation key: title (or about), authors, year; venue, pages, url … where known."""
    return _read(path).get("papers", {})


def judge_part(part: Part, values, *, unit="seed", min_units=3, clusters=None, enough_power=True) -> dict:
    """Judge one part. values: (n,) numbers (booleans for a check) -> name, kind, n, mean, low, high, verdict, values.

    The 95 % interval is Student's t; with at least 20 rows or targets a bootstrap, drawn by clusters where given.
    low and high are None where there is no interval (one value, booleans, text). NaN raises LabError.
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
        result |= dict(zip(("mean", "low", "high"), _interval(part, values, unit, clusters), strict=True))
    too_few = len(values) < max(2, part.min_units or min_units) or not enough_power
    verdict = "report" if part.kind == "report" else "too few" if too_few else _verdict(part, result)
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
            parts.append(judge_part(part, rows, unit=claim.unit, min_units=claim.min_units, clusters=labels,
                                    enough_power=enough_power))
        except LabError as error:
            raise LabError(f"Claim {claim.id!r}: {error}") from None
    worst = min(parts, key=lambda p: ORDER.index(p["verdict"]))
    plain = {p["name"]: p["values"] for p in parts}
    return {"id": claim.id, "notebook": claim.notebook, "profile": profile, "unit": claim.unit, "units": units,
            "values": plain if isinstance(values, dict) else plain[names[0]], "clusters": clusters,
            "mean": worst["mean"], "low": worst["low"], "high": worst["high"], "verdict": worst["verdict"],
            "decided_by": worst["name"], "parts": parts}


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
            if not labels or len(labels) != part["n"]:  # rows of one run share their models: the run is the cluster
                labels = [f"run {number}"] * part["n"]
            elif numbered:
                labels = [f"run {number}: {label}" for label in labels]
            values.setdefault(part["name"], []).extend(part["values"])
            clusters.setdefault(part["name"], []).extend(labels)
    has_units = all(r.get("units") for r in group)
    clustered = claim.unit in ("row", "target") and (len(group) > 1 or group[0].get("clusters") is not None)
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


def _interval(part, values, unit, clusters):
    if not all(math.isfinite(v) for v in values):
        raise LabError(f"Part {part.name!r} got NaN or infinity: look for the run that diverged.")
    many = unit in ("row", "target") and len(values) >= 20
    if many and clusters is not None and len(clusters) != len(values):
        raise LabError(f"Part {part.name!r}: {len(clusters)} cluster labels for {len(values)} values; give one each.")
    if unit in ("row", "target") and part.kind != "report":
        mean, low, high = target_interval(values, clusters if many else None)
    else:
        mean, low, high = bootstrap_interval(values, clusters) if many else t_interval(values)
    return (mean, low, high) if math.isfinite(low) else (mean, None, None)  # JSON has no infinity


def _verdict(part, result):
    mean, low, high = (result[k] for k in ("mean", "low", "high"))
    if part.kind == "equivalence":
        inside, outside = -part.margin < low and high < part.margin, high < -part.margin or low > part.margin
        agrees = abs(mean) < part.margin
    elif part.side == "above":
        inside, outside, agrees = low > part.bound, high < part.bound, mean > part.bound
    else:
        inside, outside, agrees = high < part.bound, low > part.bound, mean < part.bound
    return "reproduced" if inside else "not reproduced" if outside else "partly" if agrees else "inconclusive"


def _part(entry, claim_id):
    name = entry.get("name", "without a name") if isinstance(entry, dict) else repr(entry)
    where = f"Claim {claim_id!r}, part {name!r}"
    part = Part(**_checked(Part, entry, where))
    margin = part.kind != "equivalence" or _finite(part.margin) and part.margin > 0
    _demand(where, kind=(part.kind in KINDS, f"one of {KINDS}"), margin=(margin, "a number above 0"),
            side=(part.side in ("above", "below"), "above or below"), name=(isinstance(part.name, str), "text"),
            quantity=(isinstance(part.quantity, str), "text"), bound=(_finite(part.bound), "a number"),
            min_units=(part.min_units is None or type(part.min_units) is int and part.min_units > 0, "whole, above 0"))
    return part


def _finite(value):
    return type(value) in (int, float) and math.isfinite(value)


def _demand(where, /, **rules):
    for field, (kept, rule) in rules.items():
        if not kept:
            raise LabError(f"{where}: the field {field!r} must be {rule}.")


def _checked(cls, entry, where):
    if not isinstance(entry, dict):
        raise LabError(f"{where}: it must be a mapping of fields to values.")
    known = {f.name: f.default is MISSING for f in fields(cls)}
    if unknown := [k for k in entry if k not in known]:
        raise LabError(f"{where}: the field {unknown[0]!r} is unknown; the fields are {list(known)}.")
    if missing := [k for k, needed in known.items() if needed and k not in entry]:
        raise LabError(f"{where}: the field {missing[0]!r} is missing.")
    return entry


def _read(path):
    import yaml

    try:
        path = data_path("claims.yaml") if path is None else Path(path)
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise LabError(f"{path.name} cannot be read ({' '.join(str(error).split())}): restore it.") from None
    if not isinstance(content, dict) or not isinstance(content.get("claims"), list):
        raise LabError(f"{path.name} must have a list under 'claims:'.")
    if not isinstance(content.get("papers", {}), dict):
        raise LabError(f"{path.name} must have a mapping under 'papers:', from a citation key to its fields.")
    return content


def _plain(value):
    """numpy or torch -> Python, so that a record is JSON."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value
