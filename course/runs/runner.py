"""Runs a notebook with papermill and keeps it, executed, with its record.json in runs/<run>/."""

import difflib
import json
import os
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch  # the one thing in the library that puts a mapping back

from course.claimfile import PROFILES
from course.runs import notebook as books
from course.runs.choices import check_dataset
from course.runs.folders import digest, put, tidy, under_way
from course.runs.watch import watching
from labkit.base import UNWRITABLE, LabError, home, sha256
from labkit.rules import RULES, check, is_number, is_whole

COUNT = (lambda v: v is None or is_whole(v) and v > 0,
         "a number of seeds, 1 or more, or None for the profile's own")
LIMIT = (lambda v: v is None or is_number(v) and v > 0, "a number above 0")
PINNED = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE",
          "PYDEVD_DISABLE_FILE_VALIDATION": "1"}  # the last: older kernels warn on stderr


def check_parameters(path, *, profile="quick", dataset=None, seed=0, parameters=None, timeout=None,
                     memory=None) -> dict:
    """All parameters of a run, defaults included. LabError: unknown name or profile, wrong type,
    a limit that is no number above 0.
    """
    check("The limit --timeout", timeout, LIMIT)
    check("The limit --memory", memory, LIMIT)
    stem, defaults, given = Path(path).stem, books.notebook_parameters(path), dict(parameters or {})
    if (asked := given.get("profile", profile)) not in PROFILES:
        raise LabError(f"The profile {asked!r} is unknown{_nearest(asked, PROFILES)}; use one of "
                       f"{PROFILES}.")
    wanted = {"profile": (profile, "quick"), "dataset": (dataset, None), "seed": (seed, 0)}
    for name, (value, usual) in wanted.items():
        if value is not None and (name in defaults or value != usual):
            given.setdefault(name, value)
    if given and not defaults:
        raise LabError(f"{stem} has no cell with the tag 'parameters', so it cannot be given "
                       f"{next(iter(given))!r}: tag the cell that sets profile, dataset and seed.")
    for name, value in given.items():
        if name not in defaults:
            raise LabError(f"{stem} has no parameter {name!r}{_nearest(name, defaults)}; it has "
                           f"{', '.join(defaults) or 'none'}.")
        if not _fits(value, defaults[name]):
            raise LabError(f"{stem}: the parameter {name!r} is {value!r}, but must be of the type "
                           f"{type(defaults[name]).__name__}, like its default {defaults[name]!r}.")
    check("The seed", given.get("seed", 0), RULES["seed"])
    check("seeds", given.get("seeds"), COUNT)
    if isinstance(given.get("dataset"), str):
        check_dataset(given["dataset"])
    return defaults | given


def _fits(value, default):
    if default is None or (isinstance(default, float) and type(value) is int):
        return True
    return type(value) is type(default) or (isinstance(default, tuple) and isinstance(value, list))


def _nearest(name, known):
    near = difflib.get_close_matches(str(name), list(known), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def parse_value(text: str):
    """The value of a -p option: YAML, and 1e-3 is a number (YAML 1.1 takes it for text)."""
    import yaml

    if re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", text):
        return float(text)
    try:
        return None if text.strip() == "None" else yaml.safe_load(text)  # as papermill's own -p
    except (yaml.YAMLError, ValueError, RecursionError):
        raise LabError(f"The parameter value {text!r} cannot be read: give a number, a word or [1, "
                       "2].") from None


def run_name(notebook: str, values: dict, hashes: tuple[str, str]) -> str:
    """A run's folder: number, profile, data, seed, 8 hex digits over hashes and all values."""
    told = json.dumps([notebook, *hashes, values], sort_keys=True, default=str).encode()
    slug = re.sub(r"[^a-z0-9]+", "-", str(values.get("dataset", "data")).lower()).strip("-")[-40:]
    number = notebook.split("_")[0] if notebook[:1].isdigit() else notebook
    profile, seed = values.get("profile", "quick"), values.get("seed", 0)
    return f"{number}-{profile}-{slug}-s{seed}-{sha256(told, digits=8)}"


def run(notebook, *, profile="quick", dataset=None, seed=0, parameters=None, out="runs",
        timeout=None, memory=None, progress=True) -> dict:
    """Run one notebook and write <out>/<run>/. -> the record, with `source`, the run's folder.

    A run of the same name there is replaced by one that ended as well or better. timeout: seconds
    for the whole notebook; memory: MB that its processes may take together, looked at four times a
    second. A notebook that fails, goes over a limit or whose kernel dies gives a record with status
    "failed"; bad input raises LabError before anything runs, a full disk at the end.
    """
    path = books.find_notebook(notebook)
    values = check_parameters(path, profile=profile, dataset=dataset, seed=seed,
                              parameters=parameters, timeout=timeout, memory=memory)
    hashes = {"notebook_hash": books.notebook_hash(books.read(path)),
              "labkit": books.labkit_hash(path.stem)}
    final = home(out) / run_name(path.stem, values, tuple(hashes.values()))
    with under_way(final) as temporary:
        tidy(final.parent)
        executed = temporary / f"{path.stem}.ipynb"
        ended = _execute(path, executed, values, timeout, memory, progress and sys.stderr.isatty())
        record = {"notebook": path.stem, "parameters": values} | ended | hashes
        record |= books.harvest(_written(executed))
        text = json.dumps(record | {"digest": digest(record)}, indent=1, default=str)
        (temporary / "record.json").write_text(text, encoding="utf-8")
        return json.loads(text) | {"source": str(put(temporary, final))}


def _execute(path, executed, values, timeout, memory, bar):
    from jupyter_client.kernelspec import NoSuchKernel

    started, clock, cpu = datetime.now(UTC), time.perf_counter(), sum(os.times()[2:4])
    watched, result = {"peak": 0, "over": None}, {"status": "ok", "error": None}
    with patch.dict(os.environ, PINNED | dict(os.environ)), watching(watched, timeout, memory):
        try:
            _papermill(path, executed, values, bar, watched)
        except NoSuchKernel:
            raise LabError("There is no Jupyter kernel 'python3': run 'python -m ipykernel "
                           "install'.") from None
        except Exception as problem:  # it fails this notebook alone; but not a full disk
            if isinstance(problem, OSError) and problem.errno in UNWRITABLE:
                raise
            result = _failure(problem, executed, watched["over"])
    return result | {"seconds": round(time.perf_counter() - clock, 3),
                     # of the children, user and system; Windows does not count them
                     "cpu_seconds": round(sum(os.times()[2:4]) - cpu, 3) or None,
                     "peak_mb": round(watched["peak"] / 2**20, 1),
                     "started": started.isoformat(timespec="seconds")}


def _papermill(path, executed, values, bar, watched):
    """papermill, begun anew where the kernel did not come up: another program may have its port.

    Jupyter looks for free ports and lets go of them; the kernel takes them a second later.
    """
    import papermill

    for last in (False, False, True):
        try:
            return papermill.execute_notebook(
                path, executed, parameters=values, kernel_name="python3",
                language="python",  # its metadata may lack it
                progress_bar={"desc": path.stem} if bar else False,
                extra_arguments=["--log-level=CRITICAL"])  # no kernel chatter on stderr
        except RuntimeError as problem:
            if last or watched["over"] or "died before replying" not in str(problem):
                raise


def _failure(problem, executed, over):
    node = _written(executed)
    if not over and (found := books.ending(node))["status"] != "ok":
        return found
    begun = [i for i, c in enumerate(books.own_cells(node), 1)
             if c.metadata.get("papermill", {}).get("start_time")]
    message = over or f"{type(problem).__name__}: {' '.join(str(problem).split())}"
    return {"status": "failed", "error": message + (f" (cell {begun[-1]})" if begun else "")}


def _written(executed):
    """What papermill wrote; a notebook without cells where it failed before."""
    from nbformat.v4 import new_notebook

    return books.read(executed) if executed.exists() else new_notebook()
