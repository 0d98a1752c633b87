"""Pools the records of several runs of one claim, and judges them together."""

import json
from itertools import zip_longest

from course.claimfile import Claim, load_claims
from course.claims import judge
from labkit.base import LabError

RUN = ("parameters", "labkit", "notebook_hash", "data")  # what a claim takes from its run's record
CONFIGURATION = ("id", "notebook", "profile", "dataset", *RUN)

# From so many runs on a run is the unit, for its seeds share the settings that it chose. With
# fewer, t would know too little of their spread: seeds count, and are clusters of rows or targets.
RUNS = 5


def pooled(runs: list[dict], claims: dict[str, Claim], notes: list[str]) -> list[dict]:
    """The claims in the records of runs, merged. notes gets what was left out and why."""
    found = [c | {k: r.get(k) for k in ("notebook", "executed", *RUN)}
             | {"dataset": r["parameters"].get("dataset", "")} for r in runs for c in r["claims"]]
    for name in sorted({c["id"] for c in found} - set(claims)):
        notes.append(f"The claim {name} is not in claims.yaml and was left out.")
    known = [c for c in found if c["id"] in claims]
    for name in sorted({c["id"] for c in known if not _fits(c, claims[c["id"]])}):
        notes.append(f"The claim {name} had other parts when some of its records were made; they "
                     "were left out.")
    return merge([c for c in known if _fits(c, claims[c["id"]])], claims)


def _fits(record, claim):
    """Whether a record has the parts of the claim today; one that is now a report takes any."""
    pairs = zip_longest(record["parts"], claim.parts)
    return all(p and now and p["name"] == now.name and now.kind in (p["kind"], "report")
               for p, now in pairs)


def merge(records, claims=None) -> list[dict]:
    """Pool claim records over outer seeds and judge them again -> one a CONFIGURATION.

    A unit, or an outer seed, that is there twice raises LabError: it would count as new evidence.
    """
    claims, groups = load_claims() if claims is None else claims, {}
    for record in records:
        if (name := record["id"]) not in claims:
            raise LabError(f"A record is about a claim {name!r}, which claims.yaml does not list.")
        key = {k: record.get(k) for k in CONFIGURATION}
        key["parameters"] = {k: v for k, v in (key["parameters"] or {}).items() if k != "seed"}
        groups.setdefault(json.dumps(key, sort_keys=True, default=str), []).append(record)
    return [_merged(claims[group[0]["id"]], group) for group in groups.values()]


def _merged(claim, group):
    seeds = [s for r in group if (s := (r.get("parameters") or {}).get("seed")) is not None]
    if twice := [s for s in seeds if seeds.count(s) > 1]:
        raise LabError(f"Claim {claim.id!r}: two records of the seed {twice[0]} would be pooled; "
                       "leave one of them out.")
    values, clusters = {p.name: [] for p in claim.parts}, _clusters(claim, group)
    for part in (p for record in group for p in record["parts"]):
        values.setdefault(part["name"], []).extend(part["values"])
    clustered = len(group) >= RUNS or claim.unit in ("row", "target") and (
        len(group) > 1 or group[0].get("clusters") is not None)
    units = [u for r in group for u in r["units"]] if all(r.get("units") for r in group) else None
    judged = judge(claim, values, profile=group[0]["profile"], units=units,
                   clusters=clusters if clustered else None)
    kept = {k: group[0][k] for k in CONFIGURATION if k in group[0]}
    return kept | judged | {"seeds": seeds, "runs": len(group),
                            "executed": [r["executed"] for r in group if r.get("executed")]}


def _clusters(claim, group):
    """Part -> labels of the pooled values: the run of each, or within few runs its own label."""
    own = []
    for record in group:
        given = record.get("clusters")
        own.append({name: (given.get(name) if isinstance(given, dict) else given) or []
                    for name in (p["name"] for p in record["parts"])})
    seen, shared, clusters = set(), set(), {}
    for labels in (set().union(*parts.values()) for parts in own):
        shared |= labels & seen
        seen |= labels
    if seeds := [s for s in shared if isinstance(s, int) and s > 10**6]:  # no index: spawned
        raise LabError(f"Claim {claim.id!r}: the inner seed {seeds[0]} is in two records; every "
                       "one counts once.")
    for i, record in enumerate(group):
        for part in record["parts"]:
            labels = own[i][part["name"]]
            if len(group) >= RUNS or len(labels) != part["n"]:
                labels = [f"run {i}"] * part["n"]
            elif shared:  # they number the seeds within a run
                labels = [f"run {i}: {label}" for label in labels]
            clusters.setdefault(part["name"], []).extend(labels)
    return clusters
