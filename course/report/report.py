"""The scoreboard: records pooled over seeds, a table of claims, and one of parts for programs."""

import json
from pathlib import Path

from course.chapters import number
from course.claimfile import load_claims
from course.claims import change_in_words, parts_held, parts_in_words, would_have_shown
from course.pooling import pooled
from course.report.draw import to_html, to_markdown, update_readme, write, write_table
from course.runs.notebook import find_notebook, labkit_hash, notebook_hash, read
from course.runs.records import collect
from labkit.base import LabError

__all__ = ["collect", "scoreboard", "parts_table", "runs_table", "to_markdown", "to_html",
           "update_readme", "write", "write_table"]

COLUMNS = ["notebook", "claim", "says", "paper", "paper's figure", "ours", "needs", "holds", "n",
           "verdict", "profile", "dataset"]


def scoreboard(records):
    """One row a claim and configuration (profile, data set, other settings), or "not run".

    -> pandas DataFrame; its attrs["notes"] say what was left out, failed or was skipped,
    attrs["changed"] what the predicates with a † were, attrs["links"] give each row's executed
    notebook (that of its first run) or None. Outer seeds are pooled (a seed twice raises LabError);
    of several versions of the code only the newest is shown.
    """
    import pandas as pd

    claims, pairs, notes = _pooled(records)
    by_claim = {}
    for claim, record in pairs:
        by_claim.setdefault(claim.id, []).append(record)
    rows = [_row(claim, record, by_claim[claim.id]) for claim, record in pairs]
    table = pd.DataFrame(rows, columns=COLUMNS).fillna("")
    table.attrs["links"] = [next(iter(record["executed"]), None) if record else None
                            for _, record in pairs]
    for r in records:
        if r["status"] != "ok":
            where = f" ({words})" if (words := _configuration_words(r)) else ""
            notes.append(f"{r['notebook']}{where}: {r['status']}. {r.get('error') or ''}".strip())
    table.attrs["changed"] = [f"† {claim.id}: predicate {change_in_words(c)}"
                              for claim in claims.values() for c in claim.changed]
    table.attrs["notes"] = notes
    return table


def _row(claim, record, beside):
    """beside: all records of this claim; what tells them apart stands after the data set."""
    row = {"notebook": number(claim.chapter), "claim": claim.id,
           "says": claim.says + " †" * bool(claim.changed), "paper": claim.paper,
           "paper's figure": claim.figure, "verdict": "not run"}
    if record is None:
        return row
    part, rule = next((p, rule) for p, rule in zip(record["parts"], claim.parts, strict=True)
                      if p["name"] == record["decided_by"])
    reports = all(p["kind"] == "report" for p in record["parts"])
    shown = "" if reports else would_have_shown(part, rule)
    settings = {k: v for k, v in record["parameters"].items() if k not in (
        "seed", "profile", "dataset") and any(o["parameters"].get(k) != v for o in beside)}
    n = f"{part['n']} {claim.unit}{'s' * (part['n'] != 1)}"
    return row | {
        "ours": parts_in_words(record, claim, deciding=not reports) + f"; {shown}" * bool(shown),
        "needs": _needs(rule), "holds": parts_held(record, claim),
        "n": n + f" in {record['runs']} runs" * (record["runs"] > 1),
        "verdict": record["verdict"], "profile": record["profile"],
        "dataset": record["dataset"] + "".join(f", {k}={v}" for k, v in settings.items())}


def _needs(rule) -> str:
    """What the interval must do for the claim to hold, in words."""
    words = {"check": "all hold", "equivalence": f"within ± {rule.margin}",
             "effect": f"{rule.side} {rule.bound:g}", "report": ""}[rule.kind]
    return words + ", by construction" * bool(rule.by_construction)


def parts_table(records):
    """One row a claim, part and configuration, with plain numbers, for programs -> pandas DataFrame

    mean of a check: the share that holds. verdict: the part's own; claim_verdict: that of the whole
    claim. seeds: the outer ones, a space between. parameters: the others, as JSON.
    """
    import pandas as pd

    rows, named = [], ("profile", "dataset", "seed")
    for claim, record in _pooled(records)[1]:
        run = record or {"parameters": {}, "parts": [], "seeds": [], "verdict": "not run"}
        measured, given = {p["name"]: p for p in run["parts"]}, run["parameters"]
        others = json.dumps({k: v for k, v in given.items() if k not in named}, sort_keys=True,
                            default=str)
        for rule in claim.parts:
            part = measured.get(rule.name, {"n": 0, "verdict": "not run"})
            rows.append({
                "notebook": number(claim.chapter), "claim": claim.id, "part": rule.name,
                "kind": rule.kind, "quantity": rule.quantity, "needs": _needs(rule),
                "by_construction": bool(rule.by_construction), "changed": len(claim.changed),
                **{k: part.get(k) for k in ("mean", "low", "high", "detectable", "n")},
                "unit": claim.unit, "verdict": part["verdict"], "claim_verdict": run["verdict"],
                "profile": given.get("profile"), "dataset": given.get("dataset"),
                "seeds": " ".join(map(str, run["seeds"])), "parameters": others if record else "",
                "paper": claim.paper, "paper_figure": claim.figure,
                **{k: run.get(k) for k in ("labkit", "notebook_hash", "data")}})
    return pd.DataFrame(rows).astype(dict.fromkeys(("mean", "low", "high", "detectable"), float))


def runs_table(records):
    """One row a run: notebook, settings, status and cost -> pandas DataFrame"""
    import pandas as pd

    costs = {"seconds": "seconds", "CPU seconds": "cpu_seconds", "peak MB": "peak_mb"}
    return pd.DataFrame([
        {"notebook": r["notebook"]}
        | {k: r["parameters"].get(k, "") for k in ("profile", "dataset", "seed")}
        | {"status": r["status"]} | {k: r.get(v) for k, v in costs.items()} for r in records])


def _pooled(records):
    """-> claims, [(claim, its pooled record or None)] in order, notes on what was left out."""
    claims, notes = load_claims(), []
    kept = _newest([r for r in records if r["status"] == "ok"], notes)
    merged = pooled([r | {"executed": _executed(r)} for r in kept], claims, notes)
    pairs = [(claim, record) for claim in claims.values()
             for record in [m for m in merged if m["id"] == claim.id] or [None]]
    return claims, pairs, notes


def _newest(records, notes) -> list[dict]:
    """Of each configuration the records of the newest code: two versions are not pooled.

    Newest is the code that is here, whatever the clock said when it ran; without records of it, the
    last to begin.
    """
    def version(r):
        return r.get("labkit"), r.get("notebook_hash")

    def begun(r):
        return r.get("started") or ""

    groups, kept = {}, []
    for r in records:
        settings = {k: v for k, v in r["parameters"].items() if k != "seed"}
        key = json.dumps([r["notebook"], settings], sort_keys=True, default=str)
        groups.setdefault(key, []).append(r)
    for group in groups.values():
        several = len({version(r) for r in group}) > 1
        here = _version_here(group[0]["notebook"]) if several else None
        newest = max(group, key=lambda r: (version(r) == here, begun(r)))
        same = [r for r in group if version(r) == version(newest)]
        kept += same
        if left := len(group) - len(same):
            last = newest == max(group, key=begun)
            notes.append(f"{newest['notebook']} ({_configuration_words(newest)}): {left} "
                         f"{'older ' * last}record{'s' * (left > 1)} of another version of the "
                         f"code left out{'' if last else ', though begun later by the clock'}.")
    return kept


def _version_here(notebook):
    try:
        return labkit_hash(notebook), notebook_hash(read(find_notebook(notebook)))
    except LabError:  # the notebook is not here
        return None


def _executed(record):
    """The path of a run's executed notebook, beside its record or named in it; None without one."""
    place = Path(record.get("source") or "none")
    path = place if place.suffix == ".ipynb" else place / f"{record['notebook']}.ipynb"
    path = path if path.is_file() else Path(str(record.get("executed") or "none"))
    return str(path) if path.is_file() else None


def _configuration_words(record) -> str:
    named = ("profile", "dataset", "seed")
    return ", ".join(f"{k} {v}" for k, v in record["parameters"].items() if k in named)
