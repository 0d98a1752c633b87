"""Keeps a learner's function from stopping or changing the notebook: time, prints, state."""

import contextlib
import ctypes
import random
import sys
import threading
import time

import numpy as np
import torch

IMPORTS = 60  # seconds for which imports are not counted: torch's compiler alone may take ten
GLOBAL = {  # what a function may change for the whole notebook: how to read it, how to put it back
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's random state": (torch.get_rng_state, torch.set_rng_state),
    "NumPy's random state": (np.random.get_state, np.random.set_state),
    "Python's random state": (random.getstate, random.setstate),
}


class TimeUp(BaseException):
    """Raised inside a learner's function when its time is up; `except Exception` misses it."""


def limited(work, seconds) -> str:
    """Run work() in a thread for so many seconds, less its imports. -> done | stopped | left behind

    A thread works on every platform, and where the notebook's own may not set signals. TimeUp is
    raised in it for a second. That ends loops of Python code, but no single call into C (a long
    sleep, a huge product), nor a loop that catches everything: those end with the kernel.
    """
    def quietly():
        with contextlib.suppress(TimeUp):
            work()

    thread = threading.Thread(target=quietly, daemon=True)
    thread.start()
    end = time.monotonic() + seconds
    last = end + IMPORTS
    try:
        while thread.is_alive() and (now := time.monotonic()) < min(end, last):
            thread.join(0.05)
            end += (time.monotonic() - now) * _imports(thread)
    finally:  # the reader's own interrupt comes here too
        late = thread.is_alive()
        for _ in range(20 * late):
            if thread.is_alive():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident),
                                                           ctypes.py_object(TimeUp))
                thread.join(0.05)
    return "done" if not late else "left behind" if thread.is_alive() else "stopped"


def _imports(thread):
    """Whether the thread is inside an import."""
    frame = sys._current_frames().get(thread.ident)
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


@contextlib.contextmanager
def state_kept():
    """Puts back each of GLOBAL. Yields a list, which afterwards names those that had changed."""
    before, changed = {name: get() for name, (get, _) in GLOBAL.items()}, []
    try:
        yield changed
    finally:
        for name, (get, put) in GLOBAL.items():
            if not _equal(get(), before[name]):
                put(before[name])
                changed.append(name)


def _equal(a, b):
    if isinstance(a, tuple) and len(a) < 9:  # Python's own holds a tuple of 625 numbers
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool((a == b).all()) if isinstance(a, torch.Tensor | np.ndarray) else a == b


class Capped:
    """A stream that shows the first characters and drops the rest: an endless loop may print."""

    def __init__(self, stream, characters=2000):
        self.stream, self.left = stream, characters

    def write(self, text):
        if self.left >= 0:
            more = "\n[more was printed]\n" if len(text) > self.left else ""
            self.stream.write(text[:self.left] + more)
            self.left -= len(text)
        return len(text)

    def __getattr__(self, name):  # flush, isatty, fileno
        return getattr(self.stream, name)
