"""Gathers the records of runs and of executed notebooks."""

from pathlib import Path

from course.runs.folders import read_record, unfinished
from course.runs.notebook import ending, harvest, notebook_hash, notebook_parameters, read
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
        begun = unfinished(path) if path.is_dir() else {}  # first: what ends meanwhile is found
        found = _files(path)
        records += [_load(p) for p in found]
        ended = {p.parent.name for p in found}
        records += [record for name, record in begun.items() if name not in ended]
    return records


def _files(path):
    if path.is_file():
        return [path]
    if (path / "record.json").exists():
        return [path / "record.json"]
    inside = sorted(p for p in path.iterdir() if not p.name.startswith("."))
    # A folder with a notebook and no record is half a run: reading its record will say so.
    runs = [p for p in inside if (p / "record.json").exists() or any(p.glob("*.ipynb"))]
    return [p for p in inside if p.suffix == ".ipynb"] + [p / "record.json" for p in runs]


def _load(path):
    run = path.parent if path.name == "record.json" else path
    try:
        record = _from_notebook(path) if path.suffix == ".ipynb" else read_record(path)
        _check(record)
    except (LabError, OSError, ValueError, TypeError, AttributeError, RecursionError) as problem:
        missing = isinstance(problem, FileNotFoundError)
        reason = "there is no record.json" if missing else " ".join(str(problem).split())
        record = {"notebook": run.name if run.is_dir() else run.stem, "status": "damaged",
                  "parameters": {}, "claims": [],
                  "error": f"The record cannot be used: {reason.rstrip('.')}. Run it again."}
    return record | {"source": str(run)}


def _check(record):
    """LabError, TypeError or AttributeError where a record is not what the report reads."""
    if missing := [k for k in ("notebook", "status", "parameters", "claims") if k not in record]:
        raise LabError(f"it lacks {missing[0]!r}")
    claims = record["claims"]
    if not isinstance(record["parameters"], dict) or not isinstance(claims, list):
        raise LabError("its parameters are no mapping, or its claims no list")
    if not all({"id", "profile", "parts"} <= set(c) and isinstance(c["id"], str) and c["parts"]
               for c in claims):
        raise LabError("one of its claims lacks its id, profile or parts")
    for part in (part for claim in claims for part in claim["parts"]):
        if not {"name", "kind", "n", "values"} <= set(part):
            raise LabError("one of its claims lacks values")
        if not isinstance(part["values"], list) or part["n"] != len(part["values"]):
            raise LabError("one of its claims has not as many values as it says")


def _from_notebook(path):
    node = read(path)
    times = node.metadata.get("papermill", {})
    if not any(c.get("execution_count") or c.get("outputs") for c in node.cells):
        raise LabError("The notebook was not executed.")
    return {"notebook": path.stem, "parameters": notebook_parameters(path),
            "seconds": times.get("duration"), "started": times.get("start_time") or "",
            "labkit": None, "notebook_hash": notebook_hash(node)} | ending(node) | harvest(node)
