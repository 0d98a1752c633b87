"""Pools the records of several runs of one claim, and judges them together."""

import functools
import json
from collections import Counter, defaultdict
from itertools import zip_longest

from course.claimfile import load_claims
from course.claims import judge
from course.runs.notebook import find_notebook, labkit_hash, notebook_hash, read
from course.runs.records import collect
from labkit.base import LabError, data_path

RUN = ("parameters", "labkit", "notebook_hash", "data")  # what a claim takes from its run's record
CONFIGURATION = ("id", "notebook", "profile", "dataset", *RUN)

# From so many runs on a run is the unit, for its seeds share the settings that it chose. With
# fewer, t would know too little of their spread: seeds count, and are clusters of rows or targets.
RUNS = 5


@functools.cache
def pooled_claims(chapter: str, profile: str, dataset: str) -> dict:
    """Claim id -> the chapter's committed runs judged together, but for claims that changed."""
    try:
        files = sorted(data_path("records").glob(f"[0-9][0-9]_{chapter}-*.json"))
    except LabError:  # an installed labkit brings no records
        return {}
    wanted = {"profile": profile, "dataset": dataset}.items()
    runs = [r for r in collect(files) if wanted <= r["parameters"].items()]
    return {merged["id"]: merged for merged in pooled(runs, load_claims(), [])}


def pooled(records, claims, notes) -> list[dict]:
    """The claims of the runs that were ok, merged. notes: a list, gets what was left out and why"""
    runs = _newest([r for r in records if r["status"] == "ok"], notes)
    found = [c | {k: r.get(k) for k in ("notebook", "executed", *RUN)}
             | {"dataset": r["parameters"].get("dataset", "")} for r in runs for c in r["claims"]]
    kept, left = [], {}
    for record in found:
        claim = claims.get(record["id"])
        if claim and _fits(record, claim):
            kept.append(record)
        else:
            left[record["id"]] = ("had other parts when some of its records were made; they were "
                                  "left out" if claim else "is not in claims.yaml and was left out")
    notes += [f"The claim {name} {why}." for name, why in sorted(left.items())]
    return merge(kept, claims)


def merge(records, claims) -> list[dict]:
    """Pool claim records over outer seeds and judge them again -> one a CONFIGURATION.

    A unit, or an outer seed, that is there twice raises LabError: it would count as new evidence.
    """
    for name in (r["id"] for r in records if r["id"] not in claims):
        raise LabError(f"A record is about a claim {name!r}, which claims.yaml does not list.")
    return [_merged(claims[group[0]["id"]], group) for group in _alike(records, CONFIGURATION)]


def run_in_words(record) -> str:
    """01_basics (profile quick, dataset fashion, seed 1)"""
    named = [f"{k} {v}" for k, v in record["parameters"].items()
             if k in ("profile", "dataset", "seed")]
    return record["notebook"] + f" ({', '.join(named)})" * bool(named)


def _alike(records, fields):
    """Lists of the records that agree in these fields; their outer seeds may differ."""
    groups = defaultdict(list)
    for record in records:
        key = {k: record.get(k) for k in fields}
        key["parameters"] = {k: v for k, v in (key["parameters"] or {}).items() if k != "seed"}
        groups[json.dumps(key, sort_keys=True, default=str)].append(record)
    return groups.values()


def _newest(records, notes):
    """Of each configuration the records of the newest code: two versions are not pooled.

    Newest is the code that is here, whatever the clock said when it ran; without records of it, the
    last to begin.
    """
    def version(r):
        return r.get("labkit"), r.get("notebook_hash")

    kept = []
    for group in _alike(records, ("notebook", "parameters")):
        last = version(max(group, key=lambda r: r.get("started") or ""))
        versions = {version(r) for r in group}
        here = _version_here(group[0]["notebook"]) if len(versions) > 1 else None
        newest = here if here in versions else last
        same = [r for r in group if version(r) == newest]
        kept += same
        if left := len(group) - len(same):
            notes.append(f"{run_in_words(same[-1])}: {left} {'older ' * (newest == last)}"
                         f"record{'s' * (left > 1)} of another version of the code left out"
                         f"{', though begun later by the clock' * (newest != last)}.")
    return kept


def _version_here(notebook):
    try:
        return labkit_hash(notebook), notebook_hash(read(find_notebook(notebook)))
    except LabError:  # the notebook is not here
        return None


def _fits(record, claim):
    """Whether a record has the parts of the claim today; one that is now a report takes any."""
    pairs = zip_longest(record["parts"], claim.parts)
    return all(p and now and p["name"] == now.name and now.kind in (p["kind"], "report")
               for p, now in pairs)


def _merged(claim, group):
    seeds = [s for r in group if (s := (r.get("parameters") or {}).get("seed")) is not None]
    if twice := [s for s in seeds if seeds.count(s) > 1]:
        raise LabError(f"Claim {claim.id!r}: two records of the seed {twice[0]} would be pooled; "
                       "leave one of them out.")
    values = defaultdict(list)
    for part in (p for record in group for p in record["parts"]):
        values[part["name"]] += part["values"]
    clustered = len(group) >= RUNS or claim.unit in ("row", "target") and (
        len(group) > 1 or group[0].get("clusters") is not None)
    units = [u for r in group for u in r["units"]] if all(r.get("units") for r in group) else None
    clusters = _clusters(claim, group)
    judged = judge(claim, values, profile=group[0]["profile"], units=units,
                   clusters=clusters if clustered else None)
    for part in judged["parts"]:  # a run may have had no value of one part
        found = [p for r in group for p in r["parts"] if p["name"] == part["name"]]
        part["runs"] = sum(p["n"] > 0 for p in found)
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
    runs_of = Counter(label for parts in own for label in set().union(*parts.values()))
    shared = [label for label, runs in runs_of.items() if runs > 1]
    if seeds := [s for s in shared if isinstance(s, int) and s > 10**6]:  # no index: spawned
        raise LabError(f"Claim {claim.id!r}: the inner seed {seeds[0]} is in two records; every "
                       "one counts once.")
    clusters = defaultdict(list)
    for i, record in enumerate(group):
        for part in record["parts"]:
            labels = own[i][part["name"]]
            if len(group) >= RUNS or len(labels) != part["n"]:
                labels = [f"run {i}"] * part["n"]
            elif shared:  # they number the seeds within a run
                labels = [f"run {i}: {label}" for label in labels]
            clusters[part["name"]] += labels
    return clusters
