"""Runs a notebook with papermill and keeps what came of it: runs/<run>/ with the executed notebook
and record.json.
"""

import difflib
import json
import os
import re
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from course.claimfile import PROFILES
from course.runs.choices import check_dataset
from course.runs.folders import digest, put, tidy, under_way
from course.runs.notebook import (
    find_notebook,
    first_error,
    harvest,
    injected,
    labkit_hash,
    notebook_hash,
    notebook_parameters,
    read,
)
from course.runs.watch import watching
from labkit.base import LARGEST_SEED, UNWRITABLE, LabError, home, sha256


def check_parameters(path, *, profile="quick", dataset=None, seed=0, parameters=None) -> dict:
    """All parameters of a run, defaults included. LabError: unknown name or profile, wrong type."""
    stem, defaults, given = Path(path).stem, notebook_parameters(path), dict(parameters or {})
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
    if type(given.get("seed", 0)) is int and not 0 <= given.get("seed", 0) <= LARGEST_SEED:
        raise LabError(f"The seed is {given['seed']}: give a whole number, 0 or more, of 64 bits "
                       "at most.")
    if (count := given.get("seeds")) is not None and (type(count) is not int or count < 1):
        raise LabError(f"seeds is {count!r}: give a number of seeds, 1 or more, or None for the "
                       "profile's own.")
    if isinstance(given.get("dataset"), str):
        check_dataset(given["dataset"])
    return defaults | given


def check_limits(timeout, memory):
    """LabError when a limit, seconds or MB, is no number above 0. None is none."""
    for name, limit in (("--timeout", timeout), ("--memory", memory)):
        if limit is not None and (not isinstance(limit, int | float) or not limit > 0):
            raise LabError(f"The limit {name} is {limit!r}: give a number above 0.")


def parse_value(text: str):
    """The value of a -p option: YAML, and 1e-3 is a number (YAML 1.1 takes it for text)."""
    import yaml

    if text.strip() == "None":  # as papermill's own -p takes it
        return None
    if re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", text):
        return float(text)
    try:
        return yaml.safe_load(text)
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


def run(notebook, *, profile="quick", dataset=None, seed=0, parameters=None, out=None, timeout=None,
        memory=None, progress=True) -> dict:
    """Run one notebook and write <out>/<run>/ (its name is that of run_name). -> the record.

    out: the folder of the runs, "runs" by default; a run of the same name there is replaced by one
    that ended as well or better, and a worse one goes beside it (<run>-failed). timeout: seconds
    for the whole notebook; memory: MB that its processes may take together, looked at four times a
    second. The record is that of record.json, with `source`, the run's folder, besides. A notebook
    that fails, goes over a limit or whose kernel dies gives a record with status "failed"; bad
    input raises LabError before anything runs, a full disk at the end.
    """
    path = find_notebook(notebook)
    values = check_parameters(path, profile=profile, dataset=dataset, seed=seed,
                              parameters=parameters)
    check_limits(timeout, memory)
    source, code = read(path), labkit_hash(path.stem)
    runs = home(out or "runs")
    final = runs / run_name(path.stem, values, (notebook_hash(source), code))
    with under_way(final) as temporary:
        tidy(runs)
        record = {"notebook": path.stem, "status": "ok", "error": None, "parameters": values}
        executed = temporary / f"{path.stem}.ipynb"
        bar = progress and sys.stderr.isatty()
        record |= _execute(path, executed, values, timeout, memory, bar)
        node = read(executed) if executed.exists() else source
        record |= {"labkit": code, "notebook_hash": notebook_hash(source)} | harvest(node)
        record["digest"] = digest(record)
        text = json.dumps(record, indent=1, default=str)
        (temporary / "record.json").write_text(text, encoding="utf-8")
        place = put(temporary, final)
    return record | {"source": str(place)}


def _execute(path, executed, values, timeout, memory, bar):
    from jupyter_client.kernelspec import NoSuchKernel

    started, clock, cpu = datetime.now(UTC), time.perf_counter(), _children_cpu()
    watched, result = {"peak": 0, "over": None}, {"status": "ok", "error": None}
    pinned = dict(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE",
                  PYDEVD_DISABLE_FILE_VALIDATION="1")  # the last: older kernels warn on stderr
    with _environment(**pinned), watching(watched, timeout, memory):
        try:
            _papermill(path, executed, values, bar, watched)
        except NoSuchKernel:
            raise LabError("There is no Jupyter kernel 'python3': run 'python -m ipykernel "
                           "install'.") from None
        except Exception as problem:  # it fails this notebook alone; but not a full disk
            if isinstance(problem, OSError) and problem.errno in UNWRITABLE:
                raise
            result = _failure(problem, executed, watched["over"])
    cpu = None if cpu is None else round(_children_cpu() - cpu, 3)
    return result | {"seconds": round(time.perf_counter() - clock, 3), "cpu_seconds": cpu,
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
                str(path), str(executed), parameters=values, kernel_name="python3",
                language="python",  # its metadata may lack it
                progress_bar={"desc": path.stem} if bar else False,
                extra_arguments=["--log-level=CRITICAL"])  # no kernel chatter on stderr
        except RuntimeError as problem:
            if last or watched["over"] or "died before replying" not in str(problem):
                raise


def _failure(problem, executed, over):
    node = read(executed) if executed.exists() else None
    if not over and node and (error := first_error(node)):
        name, message, number = error
        return {"status": "skipped" if name == "NotForThisData" else "failed",
                "error": f"{name}: {message} (cell {number})"}
    cells = [c for c in node.cells if not injected(c)] if node else []
    begun = [i for i, c in enumerate(cells, 1)
             if c.metadata.get("papermill", {}).get("start_time")]
    message = over or f"{type(problem).__name__}: {' '.join(str(problem).split())}"
    return {"status": "failed", "error": message + (f" (cell {begun[-1]})" if begun else "")}


@contextmanager
def _environment(**values):
    added = {k: v for k, v in values.items() if k not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _children_cpu():
    try:
        import resource
    except ImportError:  # Windows
        return None
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _fits(value, default):
    if default is None or (isinstance(default, float) and type(value) is int):
        return True
    return type(value) is type(default) or (isinstance(default, tuple) and isinstance(value, list))


def _nearest(name, known):
    near = difflib.get_close_matches(str(name), list(known), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""
