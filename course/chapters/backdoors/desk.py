"""The desk: scores of deletion requests, with limits from benign streams."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from labkit import models, training
from labkit.defend import streams

from . import worlds as w

LEARN, HELD = 50, 100  # benign requests of each stream: to learn from, to set the limit on


def gini(p):
    """Gini index of answers, 1 − Σ p². (n, k) -> (n,)"""
    return 1 - (p**2).sum(1)


def looks(model, x, y):
    """What the desk knows of each row: Gini, loss, and the error of each class. -> (n, 2 + k)"""
    logits = training.predict(model, x)
    p = logits.softmax(1)
    loss = F.cross_entropy(logits, y, reduction="none")
    return torch.cat([gini(p)[:, None], loss[:, None],
                      p - F.one_hot(y, p.shape[1])], 1).cpu().numpy()


def features(rows):
    """Of a request: mean Gini, mean and largest loss, length of the mean error. (m, 2 + k) -> (4,)

    The last is the gradient gate of notebook 10.
    """
    return np.array([rows[:, 0].mean(), rows[:, 1].mean(), rows[:, 1].max(),
                     np.linalg.norm(rows[:, 2:].mean(0))])


def benign(world, model, size):
    """Requests of the provider's own users: stream -> list of rows. None of them means harm."""
    own = replace(world.data, x=world.data.x[:world.n], y=world.data.y[:world.n])
    losses = looks(model, own.x, own.y)[:, 1]
    return {kind: streams.benign(kind, own, size, LEARN + HELD, world.seed, losses)
            for kind in streams.REALISTIC}


class Desk:
    """Knows four benign streams of one provider; a request far from all of them is refused."""

    def __init__(self, world, model, requests):
        self._rows = looks(model, world.data.x, world.data.y)
        known = {kind: np.array([features(self._rows[r.cpu().numpy()]) for r in asked])
                 for kind, asked in requests.items()}
        self._streams = []
        for f in known.values():
            learnt = f[:LEARN]
            spread = learnt.std(0) + 1e-9
            shape = np.cov((learnt / spread).T) + 0.05 * np.eye(learnt.shape[1])
            self._streams.append((learnt.mean(0), spread, np.linalg.inv(shape)))
        held = {kind: np.sort([self._distance(v) for v in f[LEARN:]]) for kind, f in known.items()}
        # the limit of the hardest stream: at most one in a hundred of any stream is refused
        self.limit = max(v[int(np.ceil((len(v) + 1) * 0.99)) - 1] for v in held.values())
        self.held = held

    def _distance(self, value):
        return min(float(np.sqrt(((value - m) / s) @ p @ ((value - m) / s)))
                   for m, s, p in self._streams)

    def score(self, request):
        """How far a request is from the nearest benign stream; above `limit` it is refused."""
        return self._distance(features(self._rows[request.cpu().numpy()]))


def judged(worlds, models, requests):
    """Score over limit of each provider's camouflage request; above 1 it is seen. -> (n,)"""
    found = []
    for world, model, asked in zip(worlds, models, requests, strict=True):
        desk = Desk(world, model, asked)
        found.append(desk.score(world.camouflage) / desk.limit)
    return np.array(found)


def answers(world, model):
    """Probabilities of the requested rows and of as many clean training rows. -> two arrays"""
    return [training.predict(model, world.data.x[rows]).softmax(1)
            for rows in (world.camouflage, world.unrelated())]


def benign_scores(world, model, asked):
    """Scores over the limit of the harmless requests that set it. -> (4 HELD,)"""
    desk = Desk(world, model, asked)
    return np.concatenate(list(desk.held.values())) / desk.limit


def project(worlds, choose, cfg, attack_success):
    """Camouflage by `choose` in every network. -> ASR before, after, score over the limit: (n,)"""
    def one(world):
        mine = world.outsider()

        def fit(images, labels):
            net = models.build("mlp", mine, mine.seed + 55, hidden=cfg.hidden)
            return training.fit(net, images, labels, seed=mine.seed + 55, **cfg.recipe)

        rows = choose(mine.x, mine.y, mine.poison, mine.target, mine.stamp, fit,
                      len(world.camouflage))
        there = w.with_camouflage(world, mine.stamp(mine.x[rows]), mine.y[rows])
        nets = w.networks(there, {"before": there.camouflage[:0], "after": there.camouflage},
                          cfg.recipe, cfg.hidden)
        desk = Desk(there, nets["before"], benign(there, nets["before"], len(rows)))
        before, after = (w.asr(nets[k], there, attack_success) for k in ("before", "after"))
        return before, after, desk.score(there.camouflage) / desk.limit

    found = training.parallel(one, worlds)
    return tuple(np.array(values) for values in zip(*found, strict=True))
