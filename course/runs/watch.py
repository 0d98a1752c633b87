"""Watches what a run's processes take, and ends them where they go over a limit."""

import threading
import time
from contextlib import contextmanager, suppress

import psutil


@contextmanager
def watching(watched, timeout, memory):
    """Samples the PSS of the kernel and its descendants: the children that were not there before.

    Over a limit it kills them, the kernel first. RLIMIT_AS would not do: CUDA reserves far more.
    """
    stop, me = threading.Event(), psutil.Process()
    before, end = set(me.children(recursive=True)), time.perf_counter() + (timeout or float("inf"))

    def sample():
        wait = 0.25
        while not stop.wait(wait):
            start = time.perf_counter()
            family = [p for p in me.children(recursive=True) if p not in before]
            now = memory_of(family)
            watched["peak"] = max(watched["peak"], now)
            if time.perf_counter() > end:
                watched["over"] = f"Timeout: the notebook took longer than {timeout:g} s"
            elif memory and now > memory * 2**20:
                watched["over"] = f"MemoryLimit: the notebook took more than {memory:g} MB"
            if watched["over"]:
                for process in family:
                    with suppress(psutil.Error):
                        process.kill()
                return
            # Adding up pages takes a while: without a limit to keep, a twentieth of a core.
            wait = 0.25 if memory else max(0.25, 20 * (time.perf_counter() - start))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def memory_of(processes) -> int:
    """Bytes of these processes together: PSS on Linux, else RSS."""
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            used = process.memory_info().rss
            with suppress(psutil.AccessDenied):
                used = getattr(process.memory_full_info(), "pss", used)
            total += used
    return total
