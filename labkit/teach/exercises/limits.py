"""What keeps a learner's function from stopping the notebook: a time limit, capped printing, the random state."""

import contextlib
import ctypes
import sys
import threading

import numpy as np
import torch


class TimeUp(BaseException):
    """Raised inside a learner's function when its time is up; `except Exception` does not catch it."""


def limited(work, seconds) -> str:
    """Run work() in a thread of its own for at most so many seconds. -> "done" | "stopped" | "left behind"

    Works on every platform, and where the notebook's own thread may not set signals. When the time is up, TimeUp is
    raised in the thread, again and again for a second. That ends loops of Python code. It cannot end a single call
    into C that does not return (a long sleep, a huge matrix product), nor a loop that catches everything: such a
    thread is left behind, and ends with the kernel.
    """
    thread = threading.Thread(target=_quietly, args=(work,), daemon=True)
    thread.start()
    try:
        thread.join(seconds)
    finally:  # the reader's own interrupt comes here too
        late = thread.is_alive()
        for _ in range(20 if late else 0):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(TimeUp))
            thread.join(0.05)
            if not thread.is_alive():
                break
    return "done" if not late else "left behind" if thread.is_alive() else "stopped"


@contextlib.contextmanager
def random_state_kept():
    """Put the global random states of torch and NumPy back: the rest of the notebook must not notice the check."""
    state = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            np.random.set_state(state)


def printing_capped(characters=2000):
    """Show the first characters that are printed and drop the rest: an endless loop may print."""
    return contextlib.redirect_stdout(_Capped(sys.stdout, characters))


class _Capped:
    def __init__(self, stream, left):
        self.stream, self.left = stream, left

    def write(self, text):
        if self.left > 0:
            self.stream.write(text[: self.left] + ("\n[more was printed]\n" if len(text) > self.left else ""))
        self.left -= len(text)
        return len(text)

    def __getattr__(self, name):  # flush, isatty, encoding
        return getattr(self.stream, name)


def _quietly(work):
    with contextlib.suppress(TimeUp):
        work()
