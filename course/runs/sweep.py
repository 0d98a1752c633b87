"""Many runs: every notebook on every data set and seed, each a `labkit run` of its own.

Finished ones are not repeated. A killed subprocess fails alone; a killed worker process would take
its whole batch with it.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path

from course.runs.cluster import cluster
from course.runs.folders import digest, locked, read_record, tidy
from course.runs.notebook import ROOT, labkit_hash, notebook_hash, read
from course.runs.runner import check_limits, check_parameters, run_name
from labkit.base import LabError, home, make_folder, write_bytes
from labkit.base import jobs as cores

SWEPT = {"profile": "--profile", "dataset": "--dataset", "seed": "--seeds"}
DONE = ("ok", "skipped")  # what is not run again
STOPPED = set()  # this process's sweeps that were stopped: a full disk takes no file that says so


def sweep(paths, *, seeds=(0,), datasets=(None,), profile="quick", parameters=None, out="runs",
          jobs=1, scheduler=None, timeout=None, memory=None) -> list[dict]:
    """Run each notebook with each data set and outer seed, `jobs` at a time. -> one dict a run.

    Each has name (its folder in `out`), notebook, status (that of its record; lost: it left none;
    stopped: not run) and error; known says that its record was there before. scheduler: the address
    of a Dask cluster, whose workers see the same files and take one run a worker thread, whatever
    jobs says. Bad input raises LabError before anything runs. Ctrl-C stops all runs; the same call
    goes on where it was.
    """
    if jobs < 1:
        raise LabError(f"--jobs is {jobs}: give the notebooks to run at a time, 1 or more.")
    if clash := [SWEPT[name] for name in parameters or {} if name in SWEPT]:
        raise LabError(f"A sweep takes that parameter from {clash[0]}, not from -p.")
    check_limits(timeout, memory)
    out = home(out).resolve()
    everything = _jobs(paths, seeds, datasets, profile, parameters or {}, out, timeout, memory)
    tidy(make_folder(out))
    results = _known(everything, out)
    stop = out / f".stop-{os.getpid()}-{secrets.token_hex(4)}"
    shared = {"out": str(out), "stop": str(stop), "cwd": os.getcwd(),
              "workers": 1 if scheduler else max(1, cores() // jobs)}
    here = nullcontext(partial(_threads, jobs))
    several = cluster(scheduler, _one, _result) if scheduler else here
    with several as start, _stopping(stop), _progress(len(everything) - len(results)) as tell:
        for wait in (False, True):  # what another sweep is at comes last
            left = [j | shared | {"wait": wait} for j in everything if j["name"] not in results]
            for result in start(left) if left else ():
                if result["status"] != "busy":
                    results[result["name"]] = result
                    tell(result)
    return [results[job["name"]] for job in everything]


def _known(everything, out):
    """Name -> result of the runs that were finished before; each job gets its record of before."""
    results = {}
    for job in everything:
        record = job["before"] = _record(out / job["name"])
        if record and record["status"] in DONE:
            results[job["name"]] = _result(job, record, known=True)
            with suppress(OSError):
                (out / f".lock-{job['name']}").unlink()  # left by a run whose sweep was killed
    return results


def _jobs(paths, seeds, datasets, profile, parameters, out, timeout, memory):
    found = []
    limits = {"timeout": timeout, "memory": memory}
    extra = [f"--{k}={v}" for k, v in limits.items() if v is not None]
    extra += [word for k, v in parameters.items() for word in ("-p", f"{k}={json.dumps(v)}")]
    for path in paths:
        hashes = (notebook_hash(read(path)), labkit_hash(path.stem))
        for dataset in datasets:
            usual = check_parameters(path, profile=profile, dataset=dataset, seed=max(seeds),
                                     parameters=parameters)
            for seed in seeds:
                values = usual | ({"seed": seed} if "seed" in usual else {})
                words = ["run", str(Path(path).resolve()), f"--profile={profile}", f"--seed={seed}",
                         f"--out={out}", *([f"--dataset={dataset}"] if dataset else []), *extra]
                found.append({"name": run_name(path.stem, values, hashes), "notebook": path.stem,
                              "dataset": values.get("dataset", ""), "seed": seed, "words": words,
                              "parameters": values})
    # stable: a sweep cut short has all notebooks on the first seeds
    return sorted(found, key=lambda job: job["seed"])


def _threads(jobs, left):
    from joblib import Parallel, delayed

    several = Parallel(jobs, backend="threading", return_as="generator_unordered")
    return several(delayed(_one)(job) for job in left)


def _one(job):
    """Run one job, unless its record is there, it runs elsewhere (busy), or all was stopped."""
    lock = Path(job["out"]) / f".lock-{job['name']}"
    try:
        with locked(lock, job["wait"], lambda: _stopped(job)) as (mine, handed):
            if _stopped(job) or not mine:
                return _result(job, {"status": "stopped" if _stopped(job) else "busy"})
            return _result(job, _new_record(job) or _started(job, handed))
    except OSError as problem:
        why = f"{problem.strerror}: {problem.filename or job['out']}"
        return _result(job, {"status": "lost", "error": why})


def _started(job, handed):
    """Start the run as a process and wait. -> its record, or what is known without one."""
    folder = Path(job["out"]) / job["name"]
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            [sys.executable, "-m", "course", *job["words"]], cwd=job["cwd"], stderr=said,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=handed,
            env=_environment(job["workers"]), start_new_session=True)
        while child.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                child.wait(0.25)
            if _stopped(job) and child.poll() is None:
                _kill(child)
                for half in folder.parent.glob(f".tmp-{folder.name}-{child.pid}-*"):
                    shutil.rmtree(half, ignore_errors=True)
                return {"status": "stopped"}
        tidy(folder.parent)  # it may have been killed when all was written
        if record := _new_record(job):
            return record
        said.seek(0)
        last = said.read().decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
    lost = {"notebook": job["notebook"], "status": "lost", "parameters": job["parameters"],
            "claims": [], "error": f"exit code {child.returncode}, no record ({last[0]})"}
    with suppress(LabError):  # for the report; the next sweep runs it again
        text = json.dumps(lost | {"digest": digest(lost)})
        write_bytes(make_folder(folder) / "record.json", text.encode())
    return lost


def _new_record(job):
    """The record of a finished run. A failure counts if it is not the one from before the sweep
    began.

    It is that of a process that we waited for, and is not tried twice. Times say nothing: the clock
    may be set back.
    """
    record = _record(Path(job["out"]) / job["name"])
    return record if record and (record["status"] in DONE or record != job["before"]) else None


def _record(folder):
    with suppress(OSError, ValueError, KeyError, TypeError):  # not there, or damaged: it runs again
        record = read_record(folder / "record.json")
        return record if record["status"] else None


def _stopped(job):
    return job["stop"] in STOPPED or os.path.exists(job["stop"])


def _result(job, record, known=False):
    shown = {k: job[k] for k in ("name", "notebook", "dataset", "seed")}
    return shown | {"status": record["status"], "error": record.get("error"), "known": known}


def _kill(child):
    """The run and what it started. The kernel leads a process group, with its workers in it."""
    import psutil

    with suppress(psutil.Error):
        run = psutil.Process(child.pid)
        run.suspend()  # it starts nothing new while we look
        for process in [run, *run.children(recursive=True)]:
            with suppress(psutil.Error, OSError, AttributeError):  # the last: Windows has no groups
                os.killpg(os.getpgid(process.pid), signal.SIGKILL)
            with suppress(psutil.Error):
                process.kill()
    child.wait()


@contextmanager
def _stopping(stop):
    """Ctrl-C and SIGTERM leave a file that every job looks for; a second is not caught."""
    def leave(number, frame):
        STOPPED.add(str(stop))
        with suppress(OSError):
            stop.touch()
        signal.signal(number, before[number])

    main = threading.current_thread() is threading.main_thread()
    before = {n: signal.signal(n, leave) for n in (signal.SIGINT, signal.SIGTERM) if main}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        with suppress(OSError):
            stop.unlink()


@contextmanager
def _progress(total):
    """A bar with the time left; without a terminal a line a run."""
    from tqdm.auto import tqdm

    begun, done = time.perf_counter(), 0

    def tell(result):
        nonlocal done
        done += 1
        bar.update()
        if result["status"] == "stopped":
            return
        error = f" ({result['error']})" if result["error"] else ""
        line = f"{result['name']}: {result['status']}{error}"
        if bar.disable:
            left = (time.perf_counter() - begun) / done * (total - done) / 60
            print(f"[{done}/{total}, about {left:.0f} min left] {line}", flush=True)
        elif result["status"] not in DONE:
            bar.write(line)

    with tqdm(total=total, desc="sweep", unit="run", disable=None if total else True) as bar:
        yield tell


def _environment(workers):
    """One thread a process; a notebook's workers such that all runs together fill the cores."""
    paths = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    if not ROOT.name.endswith("-packages"):  # not installed: the runs take this copy too
        paths.insert(0, str(ROOT))
    return os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE",
                         "LABKIT_JOBS": str(workers), "PYTHONPATH": os.pathsep.join(paths)}
