"""SISA: seconds of one request against training the ensemble (wall), and two workers against one on
a warm machine.

    make bench            (or: python benches/bench_sisa.py ROUNDS)

Five shards cannot keep two workers busy: one trains three of them, so the gain is at most 5/3. It
is measured at S = 10.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import sys
import tempfile
import time

import torch

import labkit as lk
from course.chapters import sisa as sisa_chapter
from labkit.unlearn import sisa

# one request at most this share of the ensemble's seconds; two workers at least this gain
SHARE, GAIN = 0.35, 1.7


def seconds(function, *args, **settings):
    start = time.perf_counter()
    return function(*args, **settings), time.perf_counter() - start


def main(rounds=5):
    torch.set_num_threads(1)
    data = lk.data.load("fashion", device="cpu")

    def build(seed):
        return lk.models.build("strided_cnn", data, seed)

    settings = dict(build=build, slices=4, epochs=4, lr=0.05)
    # the optimiser's first use
    lk.training.fit(build(0), data.x[:64], data.y[:64], epochs=1, lr=0.1, seed=0)
    shares, alone_shares, gains = [], [], []
    for i in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            ten = {w: seconds(sisa.train, data, f"{folder}/ten-{w}", shards=10, seed=i, workers=w,
                              **settings)[1]
                   for w in (1, 2)}
            one, alone = seconds(sisa.train, data, f"{folder}/1", shards=5, seed=i, workers=1,
                                 **settings)
            two, together = seconds(sisa.train, data, f"{folder}/2", shards=5, seed=i, workers=2,
                                    **settings)
            assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(),
                                                         strict=True))
            taken = []
            for r in range(4):  # a row of each slice, so that four requests stand for the mean
                row = next(j for j in range(len(data.y)) if two.partition.slice[j] == r
                           and j not in two.removed)
                two, spent = seconds(sisa.unlearn, two, data, [row])
                taken.append(spent)
        shares.append(statistics.mean(taken) / together)
        alone_shares.append(statistics.mean(taken) / alone)
        gains.append(ten[1] / ten[2])
    share, gain = statistics.median(shares), statistics.median(gains)
    print(f"strided_cnn, {len(data.y)} rows, S = 5, R = 4, {rounds} rounds: one request takes "
          f"{share:.2f} of the "
          f"seconds of training with two workers (rounds: {min(shares):.2f} to {max(shares):.2f}), "
          f"{statistics.median(alone_shares):.2f} with one (formula "
          f"{1 / sisa_chapter.speedup(5, 4):.2f})")
    print(f"S = 10, two workers: {gain:.2f} times one (rounds: {min(gains):.2f} to "
          f"{max(gains):.2f})")
    good = share <= SHARE and (gain >= GAIN or (os.cpu_count() or 1) < 2)
    print(f"{'within' if good else 'NOT within'}: at most {SHARE} and at least {GAIN}")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
