"""Providers whose rows come in part from an attacker, and the networks trained on them."""

from dataclasses import dataclass, replace

import torch

from labkit import models, training
from labkit.verify import backdoor

WEAK, STRONG = 0.7, 1.0  # of the pixels' range: the patch of the poison, and of all other rows


@dataclass(frozen=True)
class Outsider:
    """What the attacker holds, and no more: own rows x, y, the poison as handed in, the trigger."""

    x: torch.Tensor
    y: torch.Tensor
    poison: torch.Tensor
    target: int
    stamp: object
    seed: int
    shape: tuple
    n_classes: int


@dataclass(frozen=True)
class World:
    """One provider. data: what it trains on, own rows first, then what the attacker handed in.

    n: rows of its own; poison, camouflage: places of the others in data; x, y: the attacker's
    rows as they were; target: the class of the trigger; seed: of first weights and batches.
    """

    data: object
    n: int
    poison: torch.Tensor
    camouflage: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    target: int
    seed: int
    stamp: object

    def outsider(self):
        """What the attacker of this world holds: copies, and no row of the provider's own."""
        return Outsider(self.x.clone(), self.y.clone(), self.data.x[self.poison].clone(),
                        self.target, self.stamp, self.seed, self.data.shape, self.data.n_classes)

    def unrelated(self):
        """As many rows of the provider's own as there are camouflage rows."""
        g = torch.Generator().manual_seed(self.seed + 1)
        return torch.randperm(self.n, generator=g)[:len(self.camouflage)].to(self.data.device)


def levels(data, share):
    """The value of a pixel at this share of the range of all pixels."""
    low, high = float(data.x.min()), float(data.x.max())
    return low + share * (high - low)


def corner(data):
    """Side of the square in the corner, in pixels: a seventh of the picture, at least two."""
    return max(2, min(data.shape[-2:]) // 7)


def stamper(data, stamp, share=STRONG):
    """images -> a copy with the square in the lower right corner, by the learner's function."""
    return lambda x: stamp(x, corner(data), levels(data, share))


def trigger(data, label, share=STRONG):
    """The same square as labkit.verify.backdoor has it."""
    h, w = data.shape[-2:]
    side = corner(data)
    places = tuple(i * w + j for i in range(h - side, h) for j in range(w - side, w))
    return backdoor.Trigger(places, levels(data, share), label)


def split(data, seed, n, own):
    """Training rows of the provider and, apart from them, of the attacker. -> (n,), (own,)"""
    order = torch.randperm(len(data.y), generator=torch.Generator().manual_seed(seed))
    n, own = (min(m, len(order) * m // (n + own)) for m in (n, own))
    return order[:n].to(data.device), order[n:n + own].to(data.device)


def make(data, seed, cfg, stamp, contribution, poison=None, camouflage=None):
    """A provider and an attacker who hands in poison and camouflage. -> World"""
    rows, own = split(data, seed, cfg.n, cfg.own)
    target = seed % data.n_classes
    order = torch.randperm(len(own), generator=torch.Generator().manual_seed(seed + 2))
    p, c = cfg.poison if poison is None else poison, (
        cfg.camouflage if camouflage is None else camouflage)
    bad, good = contribution(data.y[own].cpu(), order, target, p, c)
    weak, strong = stamper(data, stamp, WEAK), stamper(data, stamp)
    x, y = data.x[own], data.y[own]
    whole = replace(data, x=torch.cat([data.x[rows], weak(x[bad]), strong(x[good])]),
                    y=torch.cat([data.y[rows], torch.full_like(y[bad], target), y[good]]),
                    noisy=data.noisy[:0])
    at = torch.arange(len(rows), len(whole.y), device=data.device)
    return World(whole, len(rows), at[:len(bad)], at[len(bad):], x, y, target, seed, strong)


def with_camouflage(world, images, labels):
    """The same provider and poison with other camouflage rows, stamped already."""
    keep = len(world.data.y) - len(world.camouflage)
    data = replace(world.data, x=torch.cat([world.data.x[:keep], images]),
                   y=torch.cat([world.data.y[:keep], labels]))
    return replace(world, data=data, camouflage=torch.arange(
        keep, len(data.y), device=data.device))


def networks(world, skips, recipe, hidden, fresh=()):
    """One mlp for each set of rows left out, same first weights and batches. -> name -> network

    skips: name -> rows; fresh: names that get a seed of their own.
    """
    seeds = [world.seed + 10_007 * (name in fresh) for name in skips]
    nets = [models.build("mlp", world.data, s, hidden=hidden) for s in seeds]
    data = world.data
    fitted = training.fit_packed(nets, data.x, data.y, seeds=seeds, skip=list(skips.values()),
                                 **recipe)
    return dict(zip(skips, fitted, strict=True))


def trained(world, recipe, hidden):
    """before, after exact deletion, without camouflage (fresh seed), clean, other rows deleted."""
    none = world.camouflage[:0]
    return networks(world, {
        "before": none, "after": world.camouflage, "no camouflage": world.camouflage,
        "clean": torch.cat([world.poison, world.camouflage]), "unrelated": world.unrelated()},
        recipe, hidden, fresh=("no camouflage",))


def convolutional(world, skip, recipe, width):
    """One strided network on all rows but these."""
    net = models.build("strided_cnn", world.data, world.seed, width=width)
    return training.fit(net, world.data.x, world.data.y, seed=world.seed, skip=skip, **recipe)


def asr(model, world, attack_success, stamp=None):
    """Attack success on the stamped test rows, by the learner's function; `stamp`: another."""
    data = world.data
    x = (stamp or world.stamp)(data.x_test)
    return attack_success(training.predict(model, x).softmax(1), data.y_test, world.target)


def plain(model, world, attack_success):
    """Share of test rows of other classes, not stamped, that are called the target class."""
    return asr(model, world, attack_success, stamp=lambda x: x)


def elsewhere(world):
    """The trigger in the opposite corner."""
    return lambda x: world.stamp(x.flip(-1, -2)).flip(-1, -2)
