"""Providers to attack: public rows, a private pool, networks, and what is done to them."""

import copy
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import torch
import torch.nn.functional as F

from labkit import attack, models, training, unlearn
from labkit.data import Data
from labkit.measure import psnr

CNN = "strided_cnn"
# How a provider fine-tunes. Two are controls between the gentle and the ordinary recipe; the last
# is the ordinary one, but retraining keeps the order of the first training.
RECIPES = {"gentle": dict(lr=1e-3, batch_size=128), "ordinary": dict(lr=1e-2, batch_size=16),
           "large steps": dict(lr=1e-2, batch_size=128),
           "small batches": dict(lr=1e-3, batch_size=16),
           "kept order": dict(lr=1e-2, batch_size=16, keep_order=True)}


@dataclass
class World:
    """One split of the data with its networks. The first rows of its pool will be deleted.

    x (p, …), y (p,): public rows; pool: the private rows, float64; pixels (t, …), label (t,): the
    rows to be deleted, in [0, 1]; means (k, …): class means of the public rows; guess (t,): PSNR of
    the class mean, dB; nets: name -> network trained on the public rows; cfg: the settings.
    """

    seed: int
    data: Data
    x: torch.Tensor
    y: torch.Tensor
    pool: Data
    means: torch.Tensor
    pixels: torch.Tensor
    label: torch.Tensor
    guess: torch.Tensor
    cfg: SimpleNamespace
    nets: dict = field(default_factory=dict)

    @property
    def rows(self):
        """The rows of the pool that will be deleted, one request each."""
        return range(len(self.label))


def world(data, seed: int, cfg) -> World:
    """Split the data anew: a third is the private pool, the rest is public."""
    d, private = data.resplit(seed), len(data.y) // 3
    x, y, t = d.x[private:], d.y[private:], cfg.deleted
    means = torch.stack([d.pixels(x[y == c]).mean(0) if (y == c).any() else d.pixels(x).mean(0)
                         for c in range(d.n_classes)])
    pool = replace(d, x=d.x[:private][:512].double(), y=d.y[:private][:512])  # at most 256 serve
    pixels, label = d.pixels(d.x[:t]), d.y[:t]
    return World(seed, d, x, y, pool, means, pixels, label, psnr(means[label], pixels), cfg)


def pretrain(w, net: str, seed: int | None = None):
    """θ_0: a network trained on the public rows of a world."""
    seed, cfg = w.seed if seed is None else seed, w.cfg
    fresh = models.build(net, w.data, seed, **cfg.nets[net])
    epochs = max(1, cfg.epochs // 2) if net == "small_cnn" else cfg.epochs
    return training.fit(fresh, w.x, w.y, epochs=epochs, lr=cfg.lr, seed=seed)


def prepare(data, seeds, rehearsal: int, cfg):
    """The judged worlds, and one more to rehearse on, with their networks. -> (worlds, world)

    small_cnn is slow, so only the first two worlds have it.
    """
    worlds, extra = [world(data, s, cfg) for s in seeds], world(data, rehearsal, cfg)
    jobs = [(w, net) for net in list(cfg.nets)[::-1]
            for w in (worlds if net != "small_cnn" else worlds[:2])]
    jobs += [(extra, "mlp"), (extra, CNN)]
    for (w, net), model in zip(jobs, training.parallel(lambda job: pretrain(*job), jobs),
                               strict=True):
        w.nets[net] = model
    return worlds, extra


def tune(w, net: str, rows, seed=0, epochs=1, lr=1e-3, batch_size=128, skip=None):
    """Fine-tune the public network on rows of the private pool, by plain SGD in float64.

    skip: places in `rows` that stay empty, so that the others meet the same batches as with all.
    """
    start = copy.deepcopy(w.nets[net]).double()
    return training.fit(start, w.pool.x[rows], w.pool.y[rows], epochs=epochs, lr=lr, seed=seed,
                        batch_size=batch_size, momentum=0, weight_decay=0, schedule="constant",
                        skip=skip)


def ascend(w, model, rows, steps=1, lr=1e-3):
    """Approximate unlearning: so many steps uphill on the loss of the rows that were withdrawn."""
    rows = torch.as_tensor(rows, device=w.pool.device).flatten()
    return unlearn.gradient_ascent(model, w.pool, rows, epochs=steps, lr=lr,
                                   batch_size=len(rows), momentum=0)


def others(n: int, i: int) -> list[int]:
    """The first n rows of the pool without row i, which must be one of them."""
    assert i < n
    return [j for j in range(n) if j != i]


def retrained(w, net: str, n: int, keep_order=False, **recipe) -> dict:
    """Exact unlearning: fine-tuned again from θ_0 without each deleted row, in a fresh order or,
    with keep_order, in that of the first training, where the row's place stays empty.

    -> {"plain": (θ, differences (t, d)), "informed": (θ_0, those that know θ_0 and n)}; the first
    of each pair is the model where a gradient is to be matched.
    """
    from .code import weighted_difference

    start, before = copy.deepcopy(w.nets[net]).double(), tune(w, net, list(range(n)), **recipe)
    after = [tune(w, net, list(range(n)), skip=[j], **recipe) if keep_order
             else tune(w, net, others(n, j), seed=1, **recipe) for j in w.rows]
    return {"plain": (before, torch.stack([attack.difference(before, a) for a in after])),
            "informed": (start, torch.stack([weighted_difference(start, before, a, n, 1)
                                             for a in after]))}


def true_gradient(w, model, rows) -> torch.Tensor:
    """What the attacker would like to have; only the judge can compute it. -> (d,)"""
    rows = torch.as_tensor(rows, device=w.pool.device).flatten()
    loss = F.cross_entropy(model(w.pool.x[rows]), w.pool.y[rows])
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def cosine(a, b) -> float:
    """Cosine of two vectors, however short. (d,), (d,) -> float"""
    return float((a / a.norm()) @ (b / b.norm()))
