"""Worker processes: one function on many items, one thread a process."""

import ctypes
import gc
import io
import os
import signal
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import torch
from torch import nn

from .base import LabError, jobs
from .store import result


def parallel(function, items, workers=None, keep=None) -> list:
    """[function(item) for item in items], spread over worker processes of one thread each.

    `function` may use all that a notebook defines; what it changes stays in the worker. On a GPU: a
    plain loop. With a seed an item, the number of workers changes nothing. keep: a folder for the
    results, JSON values, to go on from when cut off. LabError when a worker is killed.
    """
    items = list(items)
    if keep is not None:
        return parallel(lambda i: result(keep, f"{i:04}", function, items[i]), range(len(items)),
                        workers)
    workers = min(workers or jobs(), len(items))
    if not torch.cuda.is_available():
        # forking beside a started thread pool can hang; more threads give other last digits
        torch.set_num_threads(1)
    if workers < 2 or torch.cuda.is_available() or _FORKED is not None:
        return [function(item) for item in items]
    if sys.platform == "linux":
        return _forked(function, items, workers)
    from joblib import Parallel, delayed
    run, call = Parallel(workers, "loky", return_as="generator"), delayed(_packed_call)
    blobs = run(call(function, item) for item in items)
    return [_unpacked(blob) for blob in blobs]


_FORKED = None  # what the forked workers read; set only while they are started


def _forked(function, items, workers):
    """The results of workers forked from this process, which need nothing sent to them."""
    global _FORKED
    # its first use imports 4 s of torch: here, not in each worker
    torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
    _FORKED = (function, items)
    gc.freeze()  # or the collector writes to every object, and each worker copies all memory
    try:
        with (warnings.catch_warnings(action="ignore", category=DeprecationWarning),
              ProcessPoolExecutor(workers, get_context("fork"), _end_with_parent,
                                  (os.getpid(),)) as pool):
            blobs = pool.map(_forked_call, range(len(items)))  # opened as they come
            return [_unpacked(blob) for blob in blobs]
    except BrokenProcessPool:
        raise LabError("A worker process was killed from outside, as the system does when memory "
                       "runs short: run this again, with LABKIT_JOBS=1 in the environment if it "
                       "happens twice.") from None
    finally:
        gc.unfreeze()
        _FORKED = None


def _end_with_parent(parent):
    """Linux shall end this worker when its parent is killed: it would wait for ever."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def _forked_call(i):
    function, items = _FORKED
    return _packed_call(function, items[i])


def _packed_call(function, item):
    """Results travel as bytes: torch's own way of sharing tensors needs an open file for each.

    By torch.save, as pickle would write the whole of a tensor once for each of its slices.
    """
    torch.set_num_threads(1)
    packed = io.BytesIO()
    torch.save(function(item), packed)
    return packed.getvalue()


def _unpacked(blob):
    return torch.load(io.BytesIO(blob), weights_only=False)  # written by our own worker
