"""The scoreboard: records pooled over seeds, as Markdown and HTML, and as tables for programs."""

import html
import importlib.util
import json
import os
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from course import words
from course.chapters import number
from course.claimfile import load_claims
from course.pooling import pooled, run_in_words
from course.runs.records import collect as collect  # for those who script against records
from labkit.base import LabError, make_folder, write_bytes

COLUMNS = ["notebook", "claim", "says", "paper", "paper's figure", "ours", "needs", "holds", "n",
           "verdict", "profile", "dataset"]
NAMED = ("profile", "dataset", "seed")  # parameters that have columns of their own
BACKS = words.COLOURS | {"too few": "#BBBBBB", "not run": "#DDDDDD"}
NOT_RUN = {"verdict": "not run", "parameters": {}, "seeds": [], "executed": []}
BEGIN, END = "<!-- scoreboard:begin -->", "<!-- scoreboard:end -->"


def scoreboard(records) -> pd.DataFrame:
    """One row a claim and configuration (profile, data set, other settings), or "not run".

    Its attrs["notes"] say what was left out, failed or was skipped, attrs["changed"] what the
    predicates with a † were, attrs["links"] give each row's executed notebook (that of its first
    run) or None. Outer seeds are pooled (a seed twice raises LabError); of several versions of the
    code only the newest is shown.
    """
    pairs, notes = _pooled(records)
    table = pd.DataFrame([_row(claim, record, [r for c, r in pairs if c is claim])
                          for claim, record in pairs], columns=COLUMNS).fillna("")
    notes += [f"{run_in_words(r)}: {r['status']}. {r.get('error') or ''}".strip()
              for r in records if r["status"] != "ok"]
    changed = [f"† {claim.id}: predicate {words.change_in_words(c)}"
               for claim in load_claims().values() for c in claim.changed]
    links = [next(iter(record["executed"]), None) for _, record in pairs]
    table.attrs = {"links": links, "changed": changed, "notes": notes}
    return table


def _row(claim, record, beside):
    """beside: all records of this claim; what tells them apart stands after the data set."""
    row = {"notebook": number(claim.chapter), "claim": claim.id, "says": words.said(claim),
           "paper": claim.paper, "paper's figure": claim.figure, "verdict": record["verdict"]}
    if record["verdict"] == "not run":
        return row
    part, rule = next((p, rule) for p, rule in zip(record["parts"], claim.parts, strict=True)
                      if p["name"] == record["decided_by"])
    ours = words.parts_in_words(record, claim, deciding=record["verdict"] != "report")
    settings = [f", {k}={v}" for k, v in record["parameters"].items()
                if k not in NAMED and any(o["parameters"].get(k) != v for o in beside)]
    runs = f" in {record['runs']} runs" * (record["runs"] > 1)
    return row | {
        "ours": "; ".join(filter(None, [ours, words.would_have_shown(part, rule)])),
        "needs": _needs(rule), "holds": words.parts_held(record, claim),
        "n": words.counted(part["n"], claim.unit) + runs, "profile": record["profile"],
        "dataset": record["dataset"] + "".join(settings)}


def _needs(rule) -> str:
    """What the interval must do for the claim to hold, in words."""
    decides = {"check": "all hold", "equivalence": f"within ± {rule.margin}",
               "effect": f"{rule.side} {rule.bound:g}", "report": ""}[rule.kind]
    return decides + ", by construction" * bool(rule.by_construction)


def parts_table(records) -> pd.DataFrame:
    """One row a claim, part and configuration, with plain numbers, for programs.

    mean of a check: the share that holds. verdict: the part's own; claim_verdict: that of the whole
    claim. seeds: the outer ones, a space between. parameters: the others, as JSON.
    """
    rows = []
    for claim, run in _pooled(records)[0]:
        others = {k: v for k, v in run["parameters"].items() if k not in NAMED}
        text = json.dumps(others, sort_keys=True, default=str)
        for part, rule in zip(run["parts"], claim.parts, strict=True):
            rows.append({
                "notebook": number(claim.chapter), "claim": claim.id, "part": rule.name,
                "kind": rule.kind, "quantity": rule.quantity, "needs": _needs(rule),
                "by_construction": bool(rule.by_construction), "changed": len(claim.changed),
                **{k: part.get(k) for k in ("mean", "low", "high", "detectable", "n")},
                "unit": claim.unit, "verdict": part["verdict"], "claim_verdict": run["verdict"],
                **{k: run["parameters"].get(k) for k in ("profile", "dataset")},
                "seeds": " ".join(map(str, run["seeds"])),
                "parameters": text if run["verdict"] != "not run" else "",
                "paper": claim.paper, "paper_figure": claim.figure,
                **{k: run.get(k) for k in ("labkit", "notebook_hash", "data")}})
    return pd.DataFrame(rows).astype(dict.fromkeys(("mean", "low", "high", "detectable"), float))


def runs_table(records) -> pd.DataFrame:
    """One row a run: notebook, settings, status and cost."""
    costs = {"seconds": "seconds", "CPU seconds": "cpu_seconds", "peak MB": "peak_mb"}
    return pd.DataFrame([
        {"notebook": r["notebook"]} | {k: r["parameters"].get(k, "") for k in NAMED}
        | {"status": r["status"]} | {k: r.get(v) for k, v in costs.items()} for r in records])


def _pooled(records):
    """-> [(claim, its pooled record, or NOT_RUN with its parts)], notes on what was left out"""
    claims, notes, pairs = load_claims(), [], []
    merged = pooled([r | {"executed": _executed(r)} for r in records], claims, notes)
    for claim in claims.values():
        idle = NOT_RUN | {"parts": [{"n": 0, "verdict": "not run"}] * len(claim.parts)}
        pairs += [(claim, m) for m in [m for m in merged if m["id"] == claim.id] or [idle]]
    return pairs, notes


def _executed(record):
    """The path of a run's executed notebook, beside its record or named in it; None without one."""
    place = Path(record.get("source") or "none")
    beside = place if place.suffix == ".ipynb" else place / f"{record['notebook']}.ipynb"
    places = beside, Path(record.get("executed") or "none")
    return next((str(path) for path in places if path.is_file()), None)


def to_markdown(table, folder=".") -> str:
    """The table as GitHub Markdown, its notes below. folder: where it will lie, for the links."""
    def escape(value):
        return str(value).replace("|", "\\|").replace("\n", " ")

    rows = [[*map(escape, table.columns)], ["---"] * len(table.columns),
            *_cells(table, folder, escape, "[{}]({})")]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    notes = [f"- {' '.join(n.split())}" for n in table.attrs.get("notes", [])]
    return "\n".join(lines + ([""] + notes if notes else [])) + "\n"


def to_html(table, folder=".") -> str:
    """The table as one self-contained page; the verdict is a word on a colour."""
    def cell(column, text):
        back = BACKS.get(text, "#FFFFFF")
        ink = "#FFFFFF" if back in ("#0072B2", "#D55E00") else "#000000"
        style = f' style="background:{back};color:{ink}"' * (column == "verdict")
        return f"<td{style}>{text}</td>"

    head = "".join(f"<th>{html.escape(c)}</th>" for c in table.columns)
    body = "\n".join("<tr>" + "".join(map(cell, table.columns, row)) + "</tr>"
                     for row in _cells(table, folder, html.escape, '<a href="{1}">{0}</a>'))
    below = table.attrs.get("notes", []) + table.attrs.get("changed", [])
    notes = "".join(f"<li>{html.escape(n)}</li>" for n in below)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Scoreboard</title>
<style>
body {{ font: 15px/1.4 sans-serif; margin: 2em; color: #000; background: #fff }}
table {{ border-collapse: collapse }}
th, td {{ border: 1px solid #999; padding: .3em .5em; text-align: left }}
</style></head><body>
<h1>Scoreboard</h1>
<p>Ours: mean [95 % interval]. Verdicts: see the course's page on claims.</p>
<table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table>
<ul>{notes}</ul>
</body></html>
"""


def _cells(table, folder, escape, link_form):
    """Rows of escaped texts; the first one is a link where the row has an executed notebook."""
    rows = []
    links = table.attrs.get("links") or [None] * len(table)
    for row, link in zip(table.itertuples(index=False), links, strict=True):
        first, *others = (escape(str(value)) for value in row)
        place = quote(Path(os.path.relpath(link, folder)).as_posix()) if link else None
        rows.append([link_form.format(first, place) if link else first, *others])
    return rows


def update_readme(readme_path, markdown: str) -> None:
    """Replaces what stands between the two scoreboard comments of the file, and nothing else."""
    path = Path(readme_path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise LabError(f"{str(path)!r} cannot be read ({problem.strerror}): give the README to "
                       "update.") from None
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or text.count(BEGIN) + text.count(END) > 2:
        raise LabError(f"{path.name} must hold the lines {BEGIN} and {END} once each, in this "
                       "order.")
    write(path, f"{before}{BEGIN}\n{markdown.strip()}\n{END}{after}")


def write_table(folder, name: str, table) -> list[Path]:
    """<name>.csv, and <name>.parquet where pyarrow is there, in the folder -> what was written"""
    written = [Path(folder) / f"{name}.csv"]
    write(written[0], table.to_csv(index=False, lineterminator="\n"))
    if importlib.util.find_spec("pyarrow"):
        written.append(Path(folder) / f"{name}.parquet")
        write(written[1], table.to_parquet(index=False))
    return written


def write(path, content: str | bytes) -> None:
    """Writes a file in one step, its folder too: a reader sees the old one or the new one."""
    make_folder(Path(path).parent)
    content = content.encode() if isinstance(content, str) else content
    write_bytes(path, content, "give another place")
