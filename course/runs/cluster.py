"""The workers of a Dask cluster, which have the same files and code, take the runs of a sweep."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from course.chapters import chapters
from course.runs.notebook import labkit_hash
from labkit.base import LabError

ANSWER = 10  # seconds that a Dask scheduler has to answer


@contextmanager
def cluster(address):
    """-> an executor, as of concurrent.futures; a dead worker's tasks go to another one."""
    with _client(address) as client:
        try:
            versions = client.run(_version)
        except Exception as problem:
            raise LabError(f"The Dask workers lack labkit ({type(problem).__name__}): install it "
                           "there.") from None
        if other := [worker for worker, version in versions.items() if version != _version()]:
            raise LabError(f"The Dask worker {other[0]} has another version of labkit: install "
                           "this one there.")
        yield client.get_executor()


def _client(address):
    try:
        from distributed import Client
    except ImportError:
        raise LabError("--scheduler needs Dask, which is not here: pip install "
                       "distributed.") from None
    try:
        with ThreadPoolExecutor(1) as thread:  # a notebook has a loop of its own in this one
            thread.submit(asyncio.run, _ask(address)).result()
        return Client(address, timeout=ANSWER, set_as_default=False)
    except Exception:  # Dask has many names for this
        raise LabError(f"No Dask scheduler answers at {address!r}: start one with 'dask "
                       "scheduler', and its workers with 'dask worker ADDRESS'.") from None


async def _ask(address):
    """A client that finds nobody leaves a traceback behind: so the scheduler is asked before."""
    from distributed.core import rpc

    async with rpc(address) as scheduler:
        said = await asyncio.wait_for(scheduler.identity(), ANSWER)
    if said["type"] != "Scheduler":
        raise LookupError(said["type"])


def _version():
    """The hashes of every chapter's code."""
    return [labkit_hash(f"00_{name}") for name in chapters()]
