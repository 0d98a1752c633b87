"""The provider of notebook 05 again: public rows, a few private ones, and deletions of them."""

import copy
import time
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from labkit import training, unlearn
from labkit.base import Diverged
from labkit.data import Data
from labkit.measure import accuracy, psnr


@dataclass(frozen=True)
class World:
    """One split, a network, and the deletion of each of t private rows by one step of ascent.

    theta: the network before; after: t networks, one deletion each; pool: the private rows,
    float64; pixels (t, …), label (t,): what was deleted; means (k, …): mean pictures of the
    classes, as the network sees them; guess (t,): PSNR of the class mean, dB; kept, own: (inputs,
    labels) of the public rows that the provider and the attacker may use; steps: of a search;
    start: the network before it was tuned on the private rows.
    """

    seed: int
    data: Data
    theta: torch.nn.Module
    after: list
    pool: Data
    pixels: torch.Tensor
    label: torch.Tensor
    guess: torch.Tensor
    means: torch.Tensor
    kept: tuple
    own: tuple
    steps: int
    start: torch.nn.Module = None

    @property
    def mean_pictures(self):
        """The class mean of each deleted row: what anyone guesses who knows the label. (t, …)"""
        return self.data.pixels(self.means[self.label]).clamp(0, 1)


def world(d, seed, build, *, deleted, epochs, lr, steps) -> World:
    """A network trained on two thirds of a split, then tuned on 32 of the other third's rows.

    build: seed -> fresh network; deleted: how many of the 32 rows are deleted, one at a time.
    """
    part = len(d.y) // 3
    x, y = d.x[part:], d.y[part:]
    means = torch.stack([d.pixels(x[y == c]).mean(0) if (y == c).any() else d.pixels(x).mean(0)
                         for c in range(d.n_classes)])
    start = training.fit(build(seed), x, y, epochs=epochs, lr=lr / 2, seed=seed).double()
    pool = private_rows(d)
    theta = tune(start, pool.x, pool.y)
    pixels, label, half = d.pixels(d.x[:deleted]), d.y[:deleted], len(x) // 2
    return World(seed, d, theta, [ascend(theta, pool, j) for j in range(deleted)], pool, pixels,
                 label, psnr(means[label], pixels), (means - d.mean) / d.std,
                 (x[:half], y[:half]), (x[half:], y[half:]), steps, start)


def tune(start, x, y):
    """How θ is made of the public network. -> a network"""
    return training.fit(copy.deepcopy(start), x, y, epochs=1, lr=1e-3, seed=0, momentum=0,
                        weight_decay=0, schedule="constant")


def private_rows(d) -> Data:
    """The 32 private rows, in the precision in which their deletion is compared."""
    return replace(d, x=d.x[:32].double(), y=d.y[:32])


def ascend(model, pool, j, lr=1e-3):
    """One step of ascent on row j of the pool: approximate unlearning. -> a network."""
    rows = torch.tensor([j], device=pool.device)
    return unlearn.gradient_ascent(model, pool, rows, epochs=1, lr=lr, batch_size=1, momentum=0)


def test_accuracy(model, d) -> float:
    """In percent, whatever the precision of the weights."""
    return accuracy(training.predict(copy.deepcopy(model).float(), d.x_test), d.y_test)


def row_losses(w, models):
    """Loss of each deleted row under a network of its own, the deletions in order. -> numpy (t,)"""
    with torch.no_grad():
        return torch.stack([F.cross_entropy(m(w.pool.x[[j]]), w.pool.y[[j]])
                            for j, m in enumerate(models)]).cpu().numpy()


def retrained(w) -> list:
    """For each deletion the network that never saw its row: tuned on the other private rows."""
    rest = [torch.arange(len(w.pool.y), device=w.pool.device) != j for j in range(len(w.after))]
    return [tune(w.start, w.pool.x[keep], w.pool.y[keep]) for keep in rest]


def run_all(function, jobs) -> list:
    """function of each job, in order; None where a network diverged: a lost run."""
    def run(job):
        try:
            return function(job)
        except Diverged:
            return None

    return training.parallel(run, jobs)


def seconds(function) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    function()
    return time.process_time() - start
