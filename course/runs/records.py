"""Gathers the records of runs and of executed notebooks; what cannot be read is told and never
fatal.
"""

from pathlib import Path

from course.runs.folders import read_record, run_of, unfinished
from course.runs.notebook import first_error, harvest, notebook_hash, notebook_parameters, read
from labkit.base import LabError


def collect(paths) -> list[dict]:
    """The records under paths: run folders, folders of those, record.json files, executed
    notebooks.

    Each record has `source`, where it came from. What cannot be read comes as a record with the
    status "damaged" and the reason in `error`; a run that was begun in a folder and left no record
    as "lost" (it was killed) or "under way". A path that is not there raises LabError.
    """
    records = []
    for path in map(Path, [paths] if isinstance(paths, (str, Path)) else paths):
        if not path.exists():
            raise LabError(f"There is nothing at {str(path)!r}: give a folder of runs, or run "
                           "'labkit run 01' first.")
        begun = unfinished(path) if path.is_dir() else []  # first: what ends meanwhile is found
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
        ended = {p.parent.name for p in found}
        records += [_load(p) for p in found]
        records += [r for r in begun if run_of(Path(r["source"])) not in ended]
    return records


def _load(path: Path) -> dict:
    name = path.parent.name if path.name == "record.json" else path.stem
    try:
        record = _from_notebook(path) if path.suffix == ".ipynb" else read_record(path)
        _check(record)
    except (LabError, OSError, ValueError, TypeError, AttributeError, RecursionError) as problem:
        missing = isinstance(problem, FileNotFoundError)
        reason = "there is no record.json" if missing else " ".join(str(problem).split())
        record = {"notebook": name, "status": "damaged", "parameters": {}, "claims": [],
                  "error": f"The record cannot be used: {reason.rstrip('.')}. Run it again."}
    return record | {"source": str(path.parent if path.name == "record.json" else path)}


def _check(record):
    """LabError, TypeError or AttributeError where a record is not what the report reads."""
    if missing := [k for k in ("notebook", "status", "parameters", "claims") if k not in record]:
        raise LabError(f"it lacks {missing[0]!r}")
    claims = record["claims"]
    if not isinstance(record["parameters"], dict) or not isinstance(claims, list):
        raise LabError("its parameters are no mapping, or its claims no list")
    if not all({"id", "profile", "parts"} <= set(c) for c in claims) or not all(
            {"name", "kind", "n", "values"} <= set(p) for c in claims for p in c["parts"]):
        raise LabError("one of its claims lacks its profile, parts or values")
    if not all(isinstance(c["id"], str) and c["parts"] and all(
            isinstance(p["values"], list) and p["n"] == len(p["values"]) for p in c["parts"])
            for c in claims):
        raise LabError("one of its claims has no id, no parts, or not as many values as it says")


def _from_notebook(path: Path) -> dict:
    node = read(path)
    times = node.metadata.get("papermill", {})
    if not any(c.get("execution_count") or c.get("outputs") for c in node.cells):
        raise LabError("The notebook was not executed.")
    error = first_error(node)
    status = "ok" if error is None else "skipped" if error[0] == "NotForThisData" else "failed"
    return {"notebook": path.stem, "status": status, "parameters": notebook_parameters(path),
            "error": error and f"{error[0]}: {error[1]} (cell {error[2]})",
            "seconds": times.get("duration"),
            "started": times.get("start_time") or "", "labkit": None,
            "notebook_hash": notebook_hash(node)} | harvest(node)
