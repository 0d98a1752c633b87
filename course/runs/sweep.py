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
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil

from course.runs.cluster import cluster
from course.runs.folders import DONE, digest, locked, record_in, tidy
from course.runs.notebook import labkit_hash, notebook_hash, read
from course.runs.runner import PINNED, check_parameters, run_name
from labkit.base import LabError, home, make_folder, write_bytes
from labkit.base import jobs as cores
from labkit.rules import check

SWEPT = {"profile": "--profile", "dataset": "--dataset", "seed": "--seeds"}
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
    check("--jobs", jobs, (lambda v: v > 0, "the notebooks to run at a time, 1 or more"))
    if clash := [SWEPT[name] for name in parameters or {} if name in SWEPT]:
        raise LabError(f"A sweep takes that parameter from {clash[0]}, not from -p.")
    out = home(out).resolve()
    everything = _jobs(paths, seeds, datasets, profile, parameters or {}, out, timeout, memory)
    tidy(make_folder(out))
    for job in everything:
        job["before"] = record_in(out / job["name"])
    results = {job["name"]: _result(job, job["before"], known=True) for job in everything
               if job["before"] and job["before"]["status"] in DONE}
    known, begun = len(results), time.perf_counter()
    stop = out / f".stop-{os.getpid()}-{secrets.token_hex(4)}"
    shared = {"out": str(out), "stop": str(stop), "cwd": os.getcwd(),
              "workers": str(1 if scheduler else max(1, cores() // jobs))}
    several = cluster(scheduler) if scheduler else ThreadPoolExecutor(jobs)
    with several as workers, _stopping(stop):
        if todo := len(everything) - known:
            print(f"0 of {todo} runs, {'one a worker thread' if scheduler else jobs} at a time",
                  flush=True)
        while left := [j | shared for j in everything if j["name"] not in results]:
            with closing(_ended(workers, left)) as ended:
                for job, record in ended:
                    if record["status"] != "busy":
                        results[job["name"]] = _result(job, record)
                    if record["status"] not in ("busy", "stopped"):
                        _tell(job, record, len(results) - known, todo, begun)
            time.sleep(0.25 * (len(results) < todo + known))  # another sweep is at the rest
    return [results[job["name"]] for job in everything]


def _jobs(paths, seeds, datasets, profile, parameters, out, timeout, memory):
    found = []
    limits = {"timeout": timeout, "memory": memory}
    extra = [f"--{k}={v}" for k, v in limits.items() if v is not None]
    extra += [word for k, v in parameters.items() for word in ("-p", f"{k}={json.dumps(v)}")]
    for path in paths:
        hashes = (notebook_hash(read(path)), labkit_hash(path.stem))
        for dataset in datasets:
            usual = check_parameters(path, profile=profile, dataset=dataset, seed=max(seeds),
                                     parameters=parameters, **limits)
            for seed in seeds:
                values = usual | ({"seed": seed} if "seed" in usual else {})
                words = ["run", str(Path(path).resolve()), f"--profile={profile}", f"--seed={seed}",
                         f"--out={out}", *([f"--dataset={dataset}"] if dataset else []), *extra]
                found.append({"name": run_name(path.stem, values, hashes), "notebook": path.stem,
                              "seed": seed, "words": words, "parameters": values})
    # stable: a sweep cut short has all notebooks on the first seeds
    return sorted(found, key=lambda job: job["seed"])


def _ended(workers, jobs):
    """Run these jobs; -> (job, record) of each as it ends. Closed before, it stops all."""
    tasks = {workers.submit(_one, job): job for job in jobs}
    try:
        for task in as_completed(tasks):
            try:
                record = task.result()
            except Exception as problem:  # its worker died again and again, or Dask itself did
                why = f"the run was given up ({type(problem).__name__}: {problem})"
                record = {"status": "lost", "error": why}
            yield tasks[task], record
    except BaseException:  # as when nobody reads the lines any more
        _stop(jobs[0]["stop"])
        wait(tasks)  # workers elsewhere look for the file
        raise


def _tell(job, record, done, todo, begun):
    left = (time.perf_counter() - begun) / done * (todo - done) / 60
    error = f" ({record['error']})" if record.get("error") else ""
    print(f"[{done}/{todo}, about {left:.0f} min left] {job['name']}: {record['status']}{error}",
          flush=True)


def _one(job):
    """Run one job, unless its record is there, it runs elsewhere (busy), or all was stopped. -> its
    record.

    The run inherits the lock on it: it still has it when the sweep was killed with -9.
    """
    lock = Path(job["out"]) / f".lock-{job['name']}"
    if _stopped(job):
        return {"status": "stopped"}
    try:
        lock.touch()
        with locked(lock, wait=False) as (mine, handles):
            # removed before or after we opened it, by its last holder or a tidy: try it again
            there = os.fstat(handles[0]).st_nlink > 0 if mine else lock.exists()
            if mine is False or not there:
                return {"status": "busy"}
            record = _new_record(job) or _started(job, handles)
            lock.unlink(missing_ok=True)
            return record
    except OSError as problem:
        return {"status": "lost",
                "error": f"{problem.strerror}: {problem.filename or job['out']}"}


def _started(job, handles):
    """Start the run as a process and wait. -> its record, or what is known without one."""
    folder = Path(job["out"]) / job["name"]
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            [sys.executable, "-m", "course", *job["words"]], cwd=job["cwd"], stderr=said,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=handles,
            env=os.environ | PINNED | {"LABKIT_JOBS": job["workers"]}, start_new_session=True)
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
    """The record of a finished run. A failure counts if it is not the one from before the sweep.

    It is that of a process that we waited for, and is not tried twice. Times say nothing: the clock
    may be set back.
    """
    record = record_in(Path(job["out"]) / job["name"])
    return record if record and (record["status"] in DONE or record != job["before"]) else None


def _stop(stop):
    STOPPED.add(stop)
    with suppress(OSError):
        Path(stop).touch()


def _stopped(job):
    return job["stop"] in STOPPED or os.path.exists(job["stop"])


def _result(job, record, known=False):
    shown = {k: job[k] for k in ("name", "notebook", "seed")}
    return shown | {"status": record["status"], "error": record.get("error"), "known": known}


def _kill(child):
    """The run and what it started. The kernel leads a process group, with its workers in it."""
    with suppress(psutil.Error):
        run = psutil.Process(child.pid)
        run.suspend()  # it starts nothing new while we look
        for process in [run, *run.children(recursive=True)]:
            with suppress(OSError, AttributeError):  # the last: Windows has no groups
                os.killpg(os.getpgid(process.pid), signal.SIGKILL)
            with suppress(psutil.Error):
                process.kill()
    child.wait()


@contextmanager
def _stopping(stop):
    """Ctrl-C and SIGTERM leave a file that every job looks for; a second is not caught."""
    def leave(number, frame):
        _stop(str(stop))
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
