"""Monitor: CPU milliseconds a request at 6,000 training rows, features (with the trial step) and
score together.

    make bench            (or: python benches/bench_monitor.py ROUNDS)
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import sys
import time

import torch

import labkit as lk
from course.chapters import desk as desk_chapter
from labkit import defend

ROWS, PANEL, SIZE, COUNT = 6000, 500, 180, 200
LIMIT = 5.0  # CPU milliseconds a request at most, after warm-up


def main(rounds=7):
    torch.set_num_threads(1)
    data = lk.data.load("fashion", n_train=ROWS, device="cpu")
    model = lk.models.build("mlp", data, 0, hidden=64)
    lk.training.fit(model, data.x, data.y, epochs=2, lr=0.1, seed=0)
    start = time.process_time()
    desk = desk_chapter.prepare(model, data, (data.x_test[:PANEL], data.y_test[:PANEL]))
    ready = time.process_time() - start
    losses, good = desk.rows["loss"].numpy(), True
    asked = {s: defend.benign(s, data, SIZE, COUNT, 0, losses) for s in ("one-user", "one-class",
                                                                         "hard-rows")}
    # warm-up as well
    known = {s: [desk_chapter.features(desk, r) for r in rows] for s, rows in asked.items()}
    requests = [r for rows in asked.values() for r in rows]
    for method in ("nearest", "robust", "forest"):
        monitor, times = desk_chapter.fit_monitor(known, known, method=method), []
        some = requests[:: 30 if method == "forest" else 6]
        for _ in range(rounds):
            start = time.process_time()
            for r in some:
                desk_chapter.score(monitor, [desk_chapter.features(desk, r)])
            times.append(1000 * (time.process_time() - start) / len(some))
        middle = statistics.median(times)
        # a hundred trees: scikit-learn takes longer for one row than all features do
        judged = method != "forest"
        print(f"{method}, {ROWS} rows, {SIZE} a request, panel of {PANEL}, {rounds} rounds: "
              f"{middle:.2f} CPU ms each "
              f"(rounds: {min(times):.2f} to {max(times):.2f}; " + (f"wanted: {LIMIT:g})" if judged
                                                                    else "not judged)"))
        good &= middle <= LIMIT or not judged
    print(f"once a model: {ready:.2f} CPU s")
    print("within" if good else "NOT within")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
