"""Many worlds for the attack by row: half of the rows each, some of them unlearned."""

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from labkit import measure, models, training, unlearn
from labkit.base import Diverged, spawn_seeds
from labkit.data import Data

from .sides import small
from .ulira import logit_confidence

TARGETS, WATCHED = 50, 200  # rows that are asked to be deleted, rows that stay
GRID = {"fine-tuning": (unlearn.finetune, [dict(epochs=2, lr=r) for r in (0.01, 0.03, 0.1, 0.2)]),
        "NegGrad+": (unlearn.neggrad_plus, [dict(epochs=2, lr=0.02, beta=b)
                                            for b in (0.9, 0.8, 0.7, 0.6)]),
        "random labels": (unlearn.random_labels, [dict(epochs=2, lr=r)
                                                  for r in (0.01, 0.03, 0.1, 0.3)]),
        "first-order": (unlearn.first_order, [dict(tau=t) for t in (1e-3, 3e-3, 5e-3, 1e-2)]),
        "SCRUB": (unlearn.scrub, [dict(lr=r) for r in (0.01, 0.03, 0.1, 0.2)])}
ALL = ("untouched", *GRID, "retraining", "retraining again", "retraining once more")


@dataclass(frozen=True)
class Worlds:
    """Originals, each of one half of a universe of rows; the halves come in pairs that fill it.

    data: the universe as training rows, the first TARGETS rows can be deleted, the next WATCHED
    ones are looked at and stay; inside (s, n) bool: the rows of each world; seeds (s,); nets: the
    originals; recipe: how they were trained.
    """

    data: Data
    inside: torch.Tensor
    seeds: list
    nets: list
    recipe: dict

    def forget(self, s) -> torch.Tensor:
        """The rows that world s is asked to delete: all of its targets."""
        return self.inside[s, :TARGETS].nonzero().squeeze(1)

    def alone(self, s):
        """World s as data of its own, with its forget set in the numbers of that data."""
        rows = self.inside[s].nonzero().squeeze(1)
        own = replace(self.data, x=self.data.x[rows], y=self.data.y[rows])
        return own, torch.isin(rows, self.forget(s)).nonzero().squeeze(1)


def halves(count: int, n: int, seed: int) -> torch.Tensor:
    """(count, n) bool: each world has half of the targets, of the watched and of the other rows.

    World 2j + 1 has what world 2j lacks, so every row is inside in exactly half of them.
    """
    rng, cuts = np.random.default_rng(seed), (0, TARGETS, TARGETS + WATCHED, n)
    worlds = []
    for _ in range(count // 2):
        first = np.zeros(n, bool)
        for a, b in itertools.pairwise(cuts):
            first[a + rng.permutation(b - a)[: (b - a) // 2]] = True
        worlds += [first, ~first]
    return torch.from_numpy(np.array(worlds))


def make_worlds(data, seed: int, count: int, rows: int, recipe) -> Worlds:
    """So many worlds on a universe of 2 · rows rows, with their originals."""
    d = data.resplit(seed)
    n = min(2 * rows, len(d.y) // 2 * 2)
    universe = replace(d, x=small(d.x)[:n], y=d.y[:n], x_test=small(d.x_test))
    inside = halves(count, n, seed)
    worlds = Worlds(universe, inside, spawn_seeds(seed, count, "worlds"), [], recipe)
    return replace(worlds, nets=trained(worlds, range(count), worlds.seeds))


def trained(worlds, chosen, seeds, without_targets=False) -> list:
    """Networks on the rows of the chosen worlds, from scratch; retraining leaves out the targets.

    The rows that a world lacks are left out of the batches of the universe.
    """
    recipe, skip = dict(worlds.recipe), []
    hidden = recipe.pop("hidden")
    for s in chosen:
        outside = ~worlds.inside[s]
        if without_targets:
            outside[:TARGETS] = True
        skip.append(outside.nonzero().squeeze(1))
    nets = [models.build("mlp", worlds.data, seed, hidden=hidden) for seed in seeds]
    return training.fit_many(nets, worlds.data.x, worlds.data.y, seeds=list(seeds), skip=skip,
                             pack=16, **recipe)


def unlearned(worlds, name, settings, chosen=None) -> list:
    """Each world's network after the method has deleted the world's targets.

    'retraining' takes the seeds of the originals; 'retraining again' and 'retraining once more'
    take seeds of their own, so that they share no luck with any of the others.
    """
    chosen = range(len(worlds.seeds)) if chosen is None else chosen
    if name == "untouched":
        return [worlds.nets[s] for s in chosen]
    if name.startswith("retraining"):
        seeds, purpose = [worlds.seeds[s] for s in chosen], name.partition(" ")[2]
        if purpose:
            seeds = [spawn_seeds(seed, 1, purpose)[0] for seed in seeds]
        return trained(worlds, chosen, seeds, without_targets=True)
    method = GRID[name][0]
    return [method(worlds.nets[s], *worlds.alone(s), **settings) for s in chosen]


def confidences(worlds, nets) -> np.ndarray:
    """Logit-scaled confidence of each network on targets and watched rows. -> (s, 250)"""
    x, y = (t[: TARGETS + WATCHED] for t in (worlds.data.x, worlds.data.y))
    return np.stack([logit_confidence(training.predict(net, x), y).cpu().numpy() for net in nets])


def gaps(worlds, nets, references) -> list:
    """Gap of UA, RA, TA to the retrained network of the same world, points."""
    found = []
    for s, (net, reference) in enumerate(zip(nets, references, strict=True)):
        own, forget = worlds.alone(s)
        found.append(measure.gap(*(measure.evaluate(m, own, forget) for m in (net, reference))))
    return found


def tune_methods(worlds) -> tuple[dict, dict]:
    """The setting of each method with the smallest gap to retraining. -> settings, {(name, i): gap}

    worlds: of tuning seeds. A setting that diverges has no gap.
    """
    references, tried = unlearned(worlds, "retraining", {}), {}
    for name, (_, grid) in GRID.items():
        for i, settings in enumerate(grid):
            try:
                nets = unlearned(worlds, name, settings)
                tried[name, i] = float(np.mean(gaps(worlds, nets, references)))
            except Diverged:
                tried[name, i] = math.inf
    best = {name: min(range(len(grid)), key=lambda i: tried[name, i])
            for name, (_, grid) in GRID.items()}
    return {name: GRID[name][1][i] for name, i in best.items()}, tried


def unlearn_all(worlds, settings, names=ALL, gap_worlds=16) -> tuple[dict, dict]:
    """Every method on every world. -> {name: confidences (s, 250)}, {name: gaps}"""
    first = list(range(min(gap_worlds, len(worlds.seeds))))
    nets = {name: unlearned(worlds, name, settings.get(name, {})) for name in names}
    some = {name: [made[s] for s in first] for name, made in nets.items()}
    gap = {name: gaps(worlds, some[name], some["retraining"]) for name in names}
    return {name: confidences(worlds, made) for name, made in nets.items()}, gap
