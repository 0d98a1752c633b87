"""The scoreboard: gathers the records of runs and of executed notebooks, pools them over seeds, draws the table."""

import html
import json
import math
import os
from pathlib import Path

from ..base import LabError
from .claims import load_claims, merge
from .notebook import first_error, harvest, notebook_hash, notebook_parameters, read

BEGIN, END = "<!-- scoreboard:begin -->", "<!-- scoreboard:end -->"
# Okabe-Ito: told apart by colour-blind readers; the word is always there too.
COLOURS = {"reproduced": "#0072B2", "passed": "#0072B2", "partly": "#56B4E9", "inconclusive": "#F0E442",
           "not reproduced": "#D55E00", "failed": "#D55E00", "too few": "#BBBBBB", "not run": "#DDDDDD",
           "report": "#FFFFFF"}
COLUMNS = ["notebook", "claim", "says", "paper", "paper's figure", "ours", "needs", "n", "verdict", "profile",
           "dataset"]


def collect(paths) -> list[dict]:
    """The records under paths: run folders, folders of those, record.json files, executed notebooks.

    Each record has `source`, where it came from. What cannot be read comes as a record with the status "damaged" and
    the reason in `error`. Hidden folders (unfinished runs) are left out. A path that is not there raises LabError.
    """
    records = []
    for path in map(Path, [paths] if isinstance(paths, (str, Path)) else paths):
        if not path.exists():
            raise LabError(f"There is nothing at {str(path)!r}: give a folder of runs, or run 'labkit run 01' first.")
        if path.is_file():
            found = [path]
        elif (path / "record.json").exists():
            found = [path / "record.json"]
        else:
            inside = sorted(p for p in path.iterdir() if not p.name.startswith("."))
            found = [p for p in inside if p.suffix == ".ipynb"]
            # A folder with a notebook and no record is half a run: reading its record will say so.
            found += [p / "record.json" for p in inside if p.is_dir()
                      and ((p / "record.json").exists() or any(p.glob("*.ipynb")))]
        records += [_load(p) for p in found]
    return records


def scoreboard(records):
    """One row per claim and configuration (profile, data set, other settings), "not run" where there is none.

    -> pandas DataFrame; its attrs["notes"] say what was left out, failed or was skipped. Outer seeds are pooled (a
    seed twice raises LabError); of several versions of the code only the newest is shown.
    """
    import pandas as pd

    claims, notes = load_claims(), []
    kept = _newest([r for r in records if r["status"] == "ok"], notes)
    found = [c | {k: r.get(k) for k in ("notebook", "parameters", "labkit", "notebook_hash", "data")}
             | {"dataset": r["parameters"].get("dataset", "")} for r in kept for c in r["claims"]]
    for name in sorted({c["id"] for c in found} - set(claims)):
        notes.append(f"The claim {name} is not in claims.yaml and was left out.")
    merged = merge([c for c in found if c["id"] in claims], claims)
    rows = []
    for claim in claims.values():
        ours = [m for m in merged if m["id"] == claim.id]
        for record in ours or [None]:
            rows.append(_row(claim, record, [m for m in ours if m is not record]))
    for r in records:
        if r["status"] != "ok":
            where = "" if r["status"] == "damaged" else f" ({_configuration_words(r)})"
            notes.append(f"{r['notebook']}{where}: {r['status']}. {r.get('error') or ''}".strip())
    table = pd.DataFrame(rows, columns=COLUMNS)
    table.attrs["notes"] = notes
    return table


def runs_table(records):
    """One row a run: notebook, profile, data set, seed, status, wall and CPU seconds, peak MB. -> pandas DataFrame."""
    import pandas as pd

    return pd.DataFrame([{
        "notebook": r["notebook"], "profile": r["parameters"].get("profile", ""),
        "dataset": r["parameters"].get("dataset", ""), "seed": r["parameters"].get("seed", ""), "status": r["status"],
        "seconds": r.get("seconds"), "CPU seconds": r.get("cpu_seconds"), "peak MB": r.get("peak_mb")}
        for r in records])


def to_markdown(table) -> str:
    """The table as GitHub Markdown, its notes below it."""
    def cell(value):
        return str(value).replace("|", "\\|").replace("\n", " ")

    lines = ["| " + " | ".join(map(cell, table.columns)) + " |", "|" + " --- |" * len(table.columns)]
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in table.itertuples(index=False)]
    notes = [f"- {' '.join(n.split())}" for n in table.attrs.get("notes", [])]
    return "\n".join(lines + ([""] + notes if notes else [])) + "\n"


def to_html(table) -> str:
    """The table as one self-contained page; the verdict is a word on a colour that colour-blind readers can tell."""
    def cell(column, value):
        text = html.escape(str(value))
        if column != "verdict":
            return f"<td>{text}</td>"
        back = COLOURS.get(value, "#FFFFFF")
        ink = "#FFFFFF" if back in ("#0072B2", "#D55E00") else "#000000"
        return f'<td style="background:{back};color:{ink}">{text}</td>'

    head = "".join(f"<th>{html.escape(c)}</th>" for c in table.columns)
    body = "\n".join("<tr>" + "".join(map(cell, table.columns, row)) + "</tr>" for row in table.itertuples(index=False))
    notes = "".join(f"<li>{html.escape(n)}</li>" for n in table.attrs.get("notes", []))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Scoreboard</title>
<style>
body {{ font: 15px/1.4 sans-serif; margin: 2em; color: #000; background: #fff }}
table {{ border-collapse: collapse }} th, td {{ border: 1px solid #999; padding: .3em .5em; text-align: left }}
</style></head><body>
<h1>Scoreboard</h1>
<p>Ours: mean [95 % interval]. Verdicts: see the course's page on claims.</p>
<table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table>
<ul>{notes}</ul>
</body></html>
"""


def update_readme(readme_path, markdown: str) -> None:
    """Replaces what stands between the two scoreboard comments of the file, and nothing else."""
    path = Path(readme_path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise LabError(f"{str(path)!r} cannot be read ({problem.strerror}): give the README to update.") from None
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise LabError(f"{path.name} must hold the lines {BEGIN} and {END} once each, in this order.")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    write(path, f"{before}{BEGIN}\n{markdown.strip()}\n{END}{after}")


def write(path, text: str) -> None:
    """Writes a text file in one step, its folder too: a reader sees the old one or the new one."""
    temporary = Path(f"{path}.{os.getpid()}.tmp")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as problem:
        temporary.unlink(missing_ok=True) if temporary.is_file() else None
        raise LabError(f"{str(path)!r} cannot be written ({problem.strerror}): give another place.") from None


def _load(path: Path) -> dict:
    name = path.parent.name if path.name == "record.json" else path.stem
    try:
        record = _from_notebook(path) if path.suffix == ".ipynb" else json.loads(path.read_text(encoding="utf-8"))
        if missing := [k for k in ("notebook", "status", "parameters", "claims") if k not in record]:
            raise LabError(f"it lacks {missing[0]!r}")
        if not isinstance(record["parameters"], dict) or not isinstance(record["claims"], list):
            raise LabError("its parameters are no mapping, or its claims no list")
        if not all({"id", "profile", "parts"} <= set(c) for c in record["claims"]) or not all(
                {"name", "kind", "n", "values"} <= set(p) for c in record["claims"] for p in c["parts"]):
            raise LabError("one of its claims lacks its profile, parts or values")
        if not all(isinstance(c["id"], str) and c["parts"] and all(
                isinstance(p["values"], list) and p["n"] == len(p["values"]) for p in c["parts"])
                for c in record["claims"]):
            raise LabError("one of its claims has no id, no parts, or not as many values as it says")
    except (LabError, OSError, ValueError, TypeError, AttributeError, RecursionError) as problem:
        reason = "there is no record.json" if isinstance(problem, FileNotFoundError) else " ".join(str(problem).split())
        record = {"notebook": name, "status": "damaged", "parameters": {}, "claims": [],
                  "error": f"The record cannot be used: {reason.rstrip('.')}. Run it again."}
    return record | {"source": str(path.parent if path.name == "record.json" else path)}


def _from_notebook(path: Path) -> dict:
    node = read(path)
    times = node.metadata.get("papermill", {})
    if not any(c.get("execution_count") or c.get("outputs") for c in node.cells):
        raise LabError("The notebook was not executed.")
    error = first_error(node)
    status = "ok" if error is None else "skipped" if error[0] == "NotForThisData" else "failed"
    return {"notebook": path.stem, "status": status, "parameters": notebook_parameters(path),
            "error": error and f"{error[0]}: {error[1]} (cell {error[2]})", "seconds": times.get("duration"),
            "started": times.get("start_time") or "", "labkit": None,
            "notebook_hash": notebook_hash(node)} | harvest(node)


def _newest(records, notes) -> list[dict]:
    """Of each configuration the records of the newest code: numbers of two versions are not pooled."""
    groups = {}
    for r in records:
        settings = {k: v for k, v in r["parameters"].items() if k != "seed"}
        groups.setdefault(json.dumps([r["notebook"], settings], sort_keys=True, default=str), []).append(r)
    kept = []
    for group in groups.values():
        newest = max(group, key=lambda r: r.get("started") or "")
        same = [r for r in group if all(r.get(k) == newest.get(k) for k in ("labkit", "notebook_hash"))]
        kept += same
        if left := len(group) - len(same):
            notes.append(f"{newest['notebook']} ({_configuration_words(newest)}): {left} older "
                         f"record{'s' * (left > 1)} of another version of the code left out.")
    return kept


def _row(claim, record, others):
    told = [claim.notebook, claim.id, claim.says, claim.paper, claim.figure, "", "", "", "not run", "", ""]
    row = dict(zip(COLUMNS, told, strict=True))
    if record is None:
        return row
    decisive = next(p for p in record["parts"] if p["name"] == record["decided_by"])
    reports = all(p["kind"] == "report" for p in record["parts"])
    shown = record["parts"] if reports else [decisive]
    rules = {p.name: p for p in claim.parts}
    ours = "; ".join((f"{p['name']} " if len(record["parts"]) > 1 else "") + _ours(p, _bounds(rules[p["name"]]))
                     for p in shown)
    # What tells this row from another one of the same claim, besides profile and data set.
    settings = {k: v for k, v in record["parameters"].items() if k not in ("seed", "profile", "dataset")
                and any(o["parameters"].get(k) != v for o in others)}
    extra = "".join(f", {k}={v}" for k, v in settings.items())
    n = f"{decisive['n']} {claim.unit}{'s' * (decisive['n'] != 1)}"
    return row | {"ours": ours, "needs": _needs(rules[decisive["name"]]), "n": n, "verdict": record["verdict"],
                  "profile": record["profile"], "dataset": f"{record['dataset']}{extra}"}


def _bounds(rule):
    return {"effect": (rule.bound,), "equivalence": (-(rule.margin or 0), rule.margin)}.get(rule.kind, ())


def _needs(rule) -> str:
    """What the interval must do for the claim to hold, in words."""
    return {"check": "all hold", "equivalence": f"within ± {rule.margin}", "effect": f"{rule.side} {rule.bound:g}",
            "report": ""}[rule.kind]


def _ours(part, bounds=()) -> str:
    if part["kind"] == "check":
        return f"{sum(part['values'])} of {part['n']} hold"
    if part["mean"] is None:
        return f"{part['n']} figures" if part["values"] else "nothing"
    if part["low"] is None:
        return f"{part['mean']:.3g}"
    half = (part["high"] - part["low"]) / 2
    if half == 0:
        return f"{part['mean']:.3g} [{part['low']:.3g}, {part['high']:.3g}]"
    # As many decimals as the interval supports: one digit of its half width, two when that starts with a 1.
    digits = max(0, -math.floor(math.log10(half)) + (f"{half:e}"[0] == "1"))
    if any(round(end, digits) == bound for end in (part["low"], part["high"]) for bound in bounds):
        digits += 1  # rounded, the end would lie on the line that decides
    return f"{part['mean']:.{digits}f} [{part['low']:.{digits}f}, {part['high']:.{digits}f}]"


def _configuration_words(record) -> str:
    return ", ".join(f"{k} {v}" for k, v in record["parameters"].items() if k in ("profile", "dataset", "seed"))
