"""The scoreboard: records pooled over seeds, as a table of claims for readers and one of parts for programs."""

import json
from pathlib import Path

from course.claimfile import load_claims
from course.claims import fits, in_words, merge, parts_held, would_have_shown
from course.report.draw import to_html, to_markdown, update_readme, write, write_table
from course.runs.notebook import find_notebook, labkit_hash, notebook_hash, read
from course.runs.records import collect
from labkit.base import LabError

__all__ = ["collect", "scoreboard", "parts_table", "runs_table", "to_markdown", "to_html", "update_readme", "write",
           "write_table"]

COLUMNS = ["notebook", "claim", "says", "paper", "paper's figure", "ours", "needs", "holds", "n", "verdict",
           "profile", "dataset"]


def scoreboard(records):
    """One row per claim and configuration (profile, data set, other settings), "not run" where there is none.

    -> pandas DataFrame; its attrs["notes"] say what was left out, failed or was skipped, attrs["changed"] what the
    predicates with a † were, attrs["links"] give each row's executed notebook (that of its first run) or None. Outer
    seeds are pooled (a seed twice raises LabError); of several versions of the code only the newest is shown.
    """
    import pandas as pd

    rows, notes = _pooled(records)
    by_claim = {}
    for claim, record in rows:
        by_claim.setdefault(claim.id, []).append(record)
    table = pd.DataFrame([_row(claim, record, [r for r in by_claim[claim.id] if r is not record])
                          for claim, record in rows], columns=COLUMNS)
    table.attrs["links"] = [next(iter(record["executed"]), None) if record else None for _, record in rows]
    for r in records:
        if r["status"] != "ok":
            where = f" ({words})" if (words := _configuration_words(r)) else ""
            notes.append(f"{r['notebook']}{where}: {r['status']}. {r.get('error') or ''}".strip())
    table.attrs["changed"] = [f"† {claim.id}: predicate changed on {c.date}, {'after' if c.known else 'before'} "
                              f"numbers were known. It was: {c.predicate} Why: {c.why}"
                              for claim in load_claims().values() for c in claim.changed]
    table.attrs["notes"] = notes
    return table


def parts_table(records):
    """One row per claim, part and configuration, with plain numbers, for programs. -> pandas DataFrame

    mean of a check: the share that holds. verdict: the part's own; claim_verdict: that of the whole claim. seeds: the
    outer ones, a space between. parameters: the others, as JSON.
    """
    import pandas as pd

    rows = []
    for claim, record in _pooled(records)[0]:
        measured = {p["name"]: p for p in record["parts"]} if record else {}
        given = dict(record["parameters"]) if record else {}
        where = {k: given.pop(k, None) for k in ("profile", "dataset")} | {
            "seeds": " ".join(map(str, record["seeds"])) if record else "", "parameters": json.dumps(
                {k: v for k, v in given.items() if k != "seed"}, sort_keys=True, default=str) if record else ""}
        for rule in claim.parts:
            part = measured.get(rule.name, {"n": 0, "verdict": "not run"})
            rows.append({"notebook": claim.notebook, "claim": claim.id, "part": rule.name, "kind": rule.kind,
                         "quantity": rule.quantity, "needs": _needs(rule),
                         "by_construction": bool(rule.by_construction), "changed": len(claim.changed)}
                        | {k: part.get(k) for k in ("mean", "low", "high", "detectable", "n")}
                        | {"unit": claim.unit, "verdict": part["verdict"],
                           "claim_verdict": record["verdict"] if record else "not run"} | where
                        | {"paper": claim.paper, "paper_figure": claim.figure}
                        | {k: (record or {}).get(k) for k in ("labkit", "notebook_hash", "data")})
    return pd.DataFrame(rows).astype({k: float for k in ("mean", "low", "high", "detectable")})


def _pooled(records):
    """-> [(claim, its pooled record or None)] in the order of claims.yaml, and notes on what was left out."""
    claims, notes = load_claims(), []
    kept = _newest([r for r in records if r["status"] == "ok"], notes)
    found = [c | {k: r.get(k) for k in ("notebook", "parameters", "labkit", "notebook_hash", "data")}
             | {"dataset": r["parameters"].get("dataset", ""), "executed": _executed(r)} for r in kept
             for c in r["claims"]]
    for name in sorted({c["id"] for c in found} - set(claims)):
        notes.append(f"The claim {name} is not in claims.yaml and was left out.")
    known = [c for c in found if c["id"] in claims]
    for name in sorted({c["id"] for c in known if not fits(c, claims[c["id"]])}):
        notes.append(f"The claim {name} had other parts when some of its records were made; they were left out.")
    merged = merge([c for c in known if fits(c, claims[c["id"]])], claims)
    return [(claim, record) for claim in claims.values()
            for record in [m for m in merged if m["id"] == claim.id] or [None]], notes


def runs_table(records):
    """One row a run: notebook, profile, data set, seed, status, wall and CPU seconds, peak MB. -> pandas DataFrame."""
    import pandas as pd

    return pd.DataFrame([{
        "notebook": r["notebook"], "profile": r["parameters"].get("profile", ""),
        "dataset": r["parameters"].get("dataset", ""), "seed": r["parameters"].get("seed", ""), "status": r["status"],
        "seconds": r.get("seconds"), "CPU seconds": r.get("cpu_seconds"), "peak MB": r.get("peak_mb")}
        for r in records])


def _newest(records, notes) -> list[dict]:
    """Of each configuration the records of the newest code: numbers of two versions are not pooled.

    Newest is the code that is here, whatever the clock said when it ran; without records of it, the last to begin.
    """
    groups = {}
    for r in records:
        settings = {k: v for k, v in r["parameters"].items() if k != "seed"}
        groups.setdefault(json.dumps([r["notebook"], settings], sort_keys=True, default=str), []).append(r)
    kept = []
    for group in groups.values():
        here = _versions_here(group[0]["notebook"]) if len({_version(r) for r in group}) > 1 else None
        newest = max(group, key=lambda r: (_version(r) == here, r.get("started") or ""))
        same = [r for r in group if _version(r) == _version(newest)]
        kept += same
        if left := len(group) - len(same):
            last = newest == max(group, key=lambda r: r.get("started") or "")
            notes.append(f"{newest['notebook']} ({_configuration_words(newest)}): {left} {'older ' * last}"
                         f"record{'s' * (left > 1)} of another version of the code left out"
                         f"{'' if last else ', though begun later by the clock'}.")
    return kept


def _version(record):
    return record.get("labkit"), record.get("notebook_hash")


def _versions_here(notebook):
    try:
        return labkit_hash(notebook), notebook_hash(read(find_notebook(notebook)))
    except LabError:  # the notebook is not here
        return None


def _row(claim, record, others):
    told = [claim.notebook, claim.id, claim.says + " †" * bool(claim.changed), claim.paper, claim.figure,
            "", "", "", "", "not run", "", ""]
    row = dict(zip(COLUMNS, told, strict=True))
    if record is None:
        return row
    decisive = next(p for p in record["parts"] if p["name"] == record["decided_by"])
    reports = all(p["kind"] == "report" for p in record["parts"])
    shown = record["parts"] if reports else [decisive]
    rules = {p.name: p for p in claim.parts}
    ours = "; ".join((f"{p['name']} " if len(record["parts"]) > 1 else "") + in_words(p, rules[p["name"]])
                     for p in shown)
    ours += f"; {shown}" if not reports and (shown := would_have_shown(decisive, rules[decisive["name"]])) else ""
    # What tells this row from another one of the same claim, besides profile and data set.
    settings = {k: v for k, v in record["parameters"].items() if k not in ("seed", "profile", "dataset")
                and any(o["parameters"].get(k) != v for o in others)}
    extra = "".join(f", {k}={v}" for k, v in settings.items())
    n = f"{decisive['n']} {claim.unit}{'s' * (decisive['n'] != 1)}"
    n += f" in {record['runs']} runs" * (record["runs"] > 1)
    return row | {"ours": ours, "needs": _needs(rules[decisive["name"]]), "holds": parts_held(record, claim), "n": n,
                  "verdict": record["verdict"], "profile": record["profile"],
                  "dataset": f"{record['dataset']}{extra}"}


def _executed(record):
    """The executed notebook that a run's record came with, or that it names; as text, None when there is none."""
    place = Path(record.get("source") or "none")
    path = place if place.suffix == ".ipynb" else place / f"{record['notebook']}.ipynb"
    path = path if path.is_file() else Path(str(record.get("executed") or "none"))
    return str(path) if path.is_file() else None


def _needs(rule) -> str:
    """What the interval must do for the claim to hold, in words."""
    return {"check": "all hold", "equivalence": f"within ± {rule.margin}", "effect": f"{rule.side} {rule.bound:g}",
            "report": ""}[rule.kind] + ", by construction" * bool(rule.by_construction)


def _configuration_words(record) -> str:
    return ", ".join(f"{k} {v}" for k, v in record["parameters"].items() if k in ("profile", "dataset", "seed"))
