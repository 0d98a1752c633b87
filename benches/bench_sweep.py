"""labkit sweep: two runs at a time against one, on a notebook that only computes. Wall seconds, in
turn, best of each.

    make bench            (or: python benches/bench_sweep.py ROUNDS)

Wall-clock times need two cores that nobody else uses: on a busy machine this says so and judges
nothing.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import psutil

from course.runs.sweep import sweep
from labkit.base import jobs as cores

LIMIT = 1.8  # times as fast with two jobs, at least
FREE = 1.7  # cores that must be idle before a round for it to count
RUNS, SECONDS = 4, 8
BUSY = (f"import time\nend = time.process_time() + {SECONDS}\nwhile time.process_time() < end: "
        f"sum(range(1000))")


def notebook(folder):
    node = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_code_cell("seed = 0", metadata={"tags": ["parameters"]}),
                                           nbformat.v4.new_code_cell(BUSY)])
    node.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3",
                                   "language": "python"}
    nbformat.write(node, folder / "01_busy.ipynb")
    return folder / "01_busy.ipynb"


def idle():
    """Cores that were idle in the last second."""
    return cores() * (1 - psutil.cpu_percent(interval=1)
                      / 100) if cores() == psutil.cpu_count() else cores()


def main(rounds=2):
    if cores() < 2:
        print("one core: two jobs cannot be faster than one; not judged")
        return 0
    times, free = {1: [], 2: []}, []
    with tempfile.TemporaryDirectory() as folder:
        path = notebook(Path(folder))
        for i in range(rounds):
            for jobs in (1, 2) if i % 2 else (2, 1):
                free.append(idle())
                start = time.perf_counter()
                with contextlib.redirect_stdout(io.StringIO()):
                    found = sweep([path], seeds=range(RUNS), jobs=jobs,
                                  out=Path(folder) / f"runs-{i}-{jobs}")
                times[jobs].append(time.perf_counter() - start)
                assert all(r["status"] == "ok" for r in found), found
    ratio = min(times[1]) / min(times[2])
    print(f"{RUNS} runs of {SECONDS} CPU seconds, {rounds} rounds: one at a time "
          f"{min(times[1]):.1f} s (rounds: "
          f"{min(times[1]):.1f} to {max(times[1]):.1f}), two {min(times[2]):.1f} s "
          f"({min(times[2]):.1f} to "
          f"{max(times[2]):.1f}): {ratio:.2f} times as fast (wanted: {LIMIT:g}); idle cores before "
          f"a round: "
          f"{min(free):.1f} to {max(free):.1f}")
    if ratio < LIMIT and min(free) < FREE:
        print("other processes took the cores; not judged")
        return 0
    print("within" if ratio >= LIMIT else "NOT within")
    return int(ratio < LIMIT)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
