"""The runs of a sweep on a Dask cluster, whose workers have the same files and code."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from course.chapters import chapters
from course.runs.notebook import labkit_hash
from labkit.base import LabError

ANSWER = 10  # seconds that a Dask scheduler has to answer


@contextmanager
def cluster(address, run, lost):
    """-> a function that runs jobs as tasks of a Dask cluster, which replaces dead workers.

    run: job -> result, on a worker; lost: (job, record) -> result, where Dask gave a job up.
    """
    def start(left):
        from distributed import as_completed

        tasks = {client.submit(run, job, pure=False): job for job in left}
        for task in as_completed(tasks, loop=client.loop):
            record = {"status": "lost", "error": f"Dask gave the run up ({task.status})"}
            yield task.result() if task.status == "finished" else lost(tasks[task], record)

    with _client(address) as client:
        try:
            versions = client.run(_version)
        except Exception as problem:
            raise LabError(f"The Dask workers lack labkit ({type(problem).__name__}): install it "
                           "there.") from None
        if other := [worker for worker, version in versions.items() if version != _version()]:
            raise LabError(f"The Dask worker {other[0]} has another version of labkit: install "
                           "this one there.")
        yield start


def _client(address):
    """A client of the cluster, asked first: one that finds nobody leaves a traceback behind."""
    try:
        from distributed import Client
        from distributed.comm import connect
    except ImportError:
        raise LabError("--scheduler needs Dask, which is not here: pip install "
                       "distributed.") from None

    async def who():
        comm = await connect(address, timeout=ANSWER)
        await comm.write({"op": "identity", "reply": True})
        said = await comm.read()
        comm.abort()
        return said["type"]

    try:
        with ThreadPoolExecutor(1) as thread:  # a notebook has a loop of its own in this one
            answer = thread.submit(asyncio.run, asyncio.wait_for(who(), ANSWER)).result()
        if answer != "Scheduler":
            raise LookupError
        return Client(address, timeout=ANSWER, set_as_default=False)
    except Exception:  # Dask has many names for this
        raise LabError(f"No Dask scheduler answers at {address!r}: start one with 'dask "
                       "scheduler', and its workers with 'dask worker ADDRESS'.") from None


def _version():
    """The hashes of every chapter's code."""
    return [labkit_hash(f"00_{name}") for name in chapters()]
