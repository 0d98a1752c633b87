"""Inversion: CPU seconds a target, all targets in one batch against one at a time, at equal
quality.

    make bench            (or: python benches/bench_inversion.py ROUNDS)
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import copy
import statistics
import sys
import time
from dataclasses import replace

import torch

import labkit as lk
from labkit import attack

TARGETS, PUBLIC = 16, 2000
# one at a time takes at least so many times the CPU seconds of the batch
GAIN = {"mlp": 5.0, "strided_cnn": 2.0}
SLACK = 0.5  # dB that the batch may be worse on average


def updates(net, data, **settings):
    """A network trained on public rows, and the updates that one step of ascent on each of the
    first rows leaves.
    """
    start = lk.models.build(net, data, 0, **settings)
    lk.training.fit(start, data.x[-PUBLIC:], data.y[-PUBLIC:], epochs=3, lr=0.1, seed=0)
    theta, rows = start.double(), replace(data, x=data.x[:TARGETS].double(), y=data.y[:TARGETS])
    after = [lk.unlearn.gradient_ascent(theta, rows, torch.tensor([i]), lr=1e-3, momentum=0)
             for i in range(TARGETS)]
    return copy.deepcopy(theta).float(), torch.stack([attack.difference(theta, a) for a in after])


def main(rounds=5):
    torch.set_num_threads(1)
    data, good = lk.data.load("fashion", device="cpu"), True
    labels, originals = data.y[:TARGETS, None], data.pixels(data.x[:TARGETS])
    for net, settings, steps in (("mlp", {"hidden": 64}, 60), ("strided_cnn", {}, 60)):
        model, aims = updates(net, data, **settings)
        how = dict(shape=data.shape, mean=data.mean, std=data.std, steps=steps, tv=1e-2)
        attack.invert(model, aims[:2], labels[:2], **how | {"steps": 2})  # first use
        ratios, losses = [], []
        for r in range(rounds):
            spent = time.process_time()
            batch = attack.invert(model, aims, labels, seed=r, **how).images
            batched = time.process_time() - spent
            alone = torch.cat([attack.invert(model, aims[[i]], labels[[i]], seed=r * TARGETS + i,
                                             **how).images
                               for i in range(TARGETS)])
            ratios.append((time.process_time() - spent - batched) / batched)
            one, many = (lk.measure.psnr(images[:, 0], originals).mean().item()
                         for images in (alone, batch))
            losses.append(one - many)
        ratio, loss = statistics.median(ratios), statistics.mean(losses)
        print(f"{net}, {TARGETS} targets, {steps} iterations, {rounds} rounds: one at a time takes "
              f"{ratio:.1f} times "
              f"the batch's CPU seconds (rounds: {min(ratios):.1f} to {max(ratios):.1f}; wanted: "
              f"{GAIN[net]:g}), "
              f"and is {loss:+.2f} dB better (allowed: {SLACK})")
        good &= ratio >= GAIN[net] and loss <= SLACK
    print("within" if good else "NOT within")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
