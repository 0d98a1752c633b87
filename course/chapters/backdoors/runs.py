"""Many providers at once: shards, counts, and the wrong way to count."""

import numpy as np
import torch

from labkit import models, training

from .worlds import asr, make, networks, plain


def accuracy(model, data):
    """Test accuracy, in percent."""
    return 100 * float((training.predict(model, data.x_test).argmax(1) == data.y_test)
                       .float().mean())


def sharded(world, shards, skip, recipe, hidden):
    """SISA without slices: a network a shard, on the rows that fell to it. -> networks"""
    data = world.data
    order = torch.randperm(len(data.y), generator=torch.Generator().manual_seed(world.seed + 3))
    gone = torch.zeros(len(data.y), dtype=torch.bool)
    gone[skip.cpu()] = True
    nets = []
    for s in range(shards):
        rows = order[s::shards]
        net = models.build("mlp", data, world.seed + s, hidden=hidden)
        left_out = gone[rows].nonzero().squeeze(1)
        nets.append(training.fit(net, data.x[rows], data.y[rows], seed=world.seed + s,
                                 skip=left_out, **recipe))
    return nets


def sharded_asr(nets, world, attack_success):
    """Attack success against the mean of the shards' probabilities."""
    x = world.stamp(world.data.x_test)
    mean = sum(training.predict(m, x).softmax(1) for m in nets) / len(nets)
    return attack_success(mean, world.data.y_test, world.target)


def results(worlds, found, attack_success):
    """ASR, the target class on plain rows and accuracy of every network. -> name -> arrays"""
    table = {}
    for name in found[0]:
        table[name] = {
            "asr": np.array([asr(m[name], w, attack_success) for w, m in zip(
                worlds, found, strict=True)]),
            "plain": np.array([plain(m[name], w, attack_success) for w, m in zip(
                worlds, found, strict=True)]),
            "accuracy": np.array([accuracy(m[name], w.data) for w, m in zip(
                worlds, found, strict=True)])}
    return table


def sharded_both(worlds, shards, cfg, attack_success):
    """ASR against so many shards, before and after exact deletion. -> two lists"""
    def one(world):
        skips = (world.camouflage[:0], world.camouflage)
        return [sharded_asr(sharded(world, shards, skip, cfg.recipe, cfg.hidden), world,
                            attack_success) for skip in skips]
    return list(zip(*training.parallel(one, worlds), strict=True))


def grid(data, seeds, cfg, stamp, contribution, counts, attack_success):
    """ASR before and after over counts. -> (poison, camouflage) -> (before, after), lists"""
    def one(job):
        seed, p = job
        most = max(counts[1])
        world = make(data, seed, cfg, stamp, contribution, poison=p, camouflage=most)
        skips = {c: world.camouflage[c:] for c in counts[1]} | {"after": world.camouflage}
        nets = networks(world, skips, cfg.recipe, cfg.hidden)
        return {c: asr(m, world, attack_success) for c, m in nets.items()}

    jobs = [(seed, p) for seed in seeds for p in counts[0]]
    found = dict(zip(jobs, training.parallel(one, jobs), strict=True))
    return {(p, c): ([found[s, p][c] for s in seeds], [found[s, p]["after"] for s in seeds])
            for p in counts[0] for c in counts[1]}


def counted_on_all(worlds, models):
    """The wrong way: stamped test rows called the target class, its own rows included."""
    return [float((training.predict(m, w.stamp(w.data.x_test)).argmax(1) == w.target).float()
                  .mean()) for w, m in zip(worlds, models, strict=True)]
