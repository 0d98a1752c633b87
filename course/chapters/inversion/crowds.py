"""Several rows in one request, and a search with any prior."""

import copy
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch

from labkit import attack, training
from labkit.measure import psnr

from .code import assign
from .searches import TVS
from .worlds import ascend, tune


def crowd(w, u: int, n: int = 8) -> SimpleNamespace:
    """The first n private rows, deleted u at a time by one step of ascent on the perceptron.

    -> model θ; aims (n / u, d): the differences; label, pixels, guess: of all n rows, in order.
    """
    theta, groups = tune(w, "mlp", list(range(32))), torch.arange(n).view(-1, u)
    label, pixels = w.pool.y[:n], w.data.pixels(w.data.x[:n])
    aims = torch.stack([attack.difference(theta, ascend(w, theta, g)) for g in groups])
    return SimpleNamespace(w=w, u=u, model=theta, aims=aims, label=label, pixels=pixels,
                           guess=psnr(w.means[label], pixels))


def in_order(c, images) -> torch.Tensor:
    """Rebuilt pictures (n, c, h, w) of a crowd, sorted by the judge.

    A mean gradient keeps the labels apart, but not the order within a label.
    """
    images = images.clone()
    for g in torch.arange(len(images)).view(-1, c.u):
        for y in c.label[g].unique():
            same = g[(c.label[g] == y).cpu()]
            images[same] = images[same][assign(images[same], c.pixels[same])]
    return images


def gains(c, images) -> list[float]:
    """PSNR less that of the class mean, dB, for each row of a crowd."""
    return (psnr(in_order(c, images), c.pixels) - c.guess).tolist()


def _searched(attacker, c, weights) -> list[list[float]]:
    """Gains of the attack on a crowd, dB, for each weight of the prior, with twice the iterations
    of single rows.
    """
    m, r = len(weights), len(c.aims)
    found = attacker.search(c.w, c.model, c.aims.repeat(m, 1),
                            c.label.view(r, c.u).repeat(m, 1), steps=2 * c.w.cfg.sweep_steps,
                            tv=torch.tensor(weights).repeat_interleave(r))
    return [gains(c, images.flatten(0, 1)) for images in found.images.split(r)]


def _rehearsed(job) -> list[float]:
    attacker, w, u = job
    return [float(np.mean(g)) for g in _searched(attacker, crowd(w, u), TVS)]


def rehearse_crowds(attacker, w, sizes):
    """The weight of the prior for requests of each size, from eight rows of a world of its own.

    -> ({rows in the request: the weight of highest mean gain}, {the same: gain in dB for each of
    TVS})
    """
    rows = training.parallel(_rehearsed, [(attacker, w, u) for u in sizes])
    return ({u: TVS[int(np.argmax(row))] for u, row in zip(sizes, rows, strict=True)},
            dict(zip(sizes, rows, strict=True)))


def crowd_gains(attacker, weights, job) -> list[float]:
    """The attack on one world's requests of u rows. job: (world, u); weights: of the prior, by u"""
    w, u = job
    return _searched(attacker, crowd(w, u), [weights[u]])[0]


def crowd_sizes(attacker, weights, worlds) -> dict:
    """Rows in the request -> gains, dB, of eight rows a world. weights: of the prior, by size."""
    jobs = [(w, u) for u in weights for w in worlds]
    found = training.parallel(partial(crowd_gains, attacker, weights), jobs)
    return {u: np.concatenate([g for (_, v), g in zip(jobs, found, strict=True) if v == u])
            for u in weights}


def search_with(c, prior, *, steps: int, lr=0.1) -> torch.Tensor:
    """The search for a crowd's pictures with any prior: least 1 − cosine + mean prior.

    prior: pictures (n, c, h, w) in [0, 1], in the order of c.label -> (n,), differentiable.
    -> (n, c, h, w). Starts from the noise that attack.invert starts from.
    """
    net, d, labels = copy.deepcopy(c.model).float(), c.w.data, c.label.view(-1, c.u)
    goals = (c.aims / c.aims.norm(dim=1, keepdim=True)).to(d.x)
    noise = torch.Generator().manual_seed(c.w.seed)
    x = torch.randn(*labels.shape, *d.shape, generator=noise).to(d.x).clamp(0, 1).requires_grad_()
    adam = torch.optim.Adam([x], lr)
    for step in range(steps):
        halvings = sum(step >= share * steps for share in (3 / 8, 5 / 8, 7 / 8))
        adam.param_groups[0]["lr"] = lr * 0.5**halvings
        cosines = attack.similarity(net, (x - d.mean) / d.std, labels, goals)
        unlikely = prior(x.flatten(0, 1)).view(labels.shape).mean(1)
        x.grad = torch.autograd.grad((1 - cosines + unlikely).sum(), x)[0]
        adam.step()
        x.data.clamp_(0, 1)
    return x.detach().flatten(0, 1)


class Search:
    """What an answer to the project gets: search(prior) -> pictures (n, c, h, w) of a crowd."""

    def __init__(self, crowd, steps: int):
        self._crowd, self._steps = crowd, steps

    def __call__(self, prior):
        return search_with(self._crowd, prior, steps=self._steps)

    def __repr__(self):
        return "the search"

    def __deepcopy__(self, memo):
        return self  # it keeps nothing of a call, and is compared by what it is

    def judge(self, pictures) -> list[float]:
        """PSNR of each rebuilt picture less that of its class mean, dB."""
        return gains(self._crowd, pictures)


def with_prior(c, rebuild) -> torch.Tensor:
    """Run an answer to the project on a crowd: it gets a search, public pictures and labels."""
    search = Search(c, 2 * c.w.cfg.sweep_steps)
    return rebuild(search, c.w.data.pixels(c.w.x), c.w.y, c.label)


def no_prior(search, public, classes, label):
    """The plain inverter: nothing but the cosine."""
    return search(lambda images: 0 * images.sum((1, 2, 3)))


def smooth(weight: float):
    """The inverter with total variation as its prior, as in the notebook."""
    return lambda search, *rest: search(lambda images: weight * attack.total_variation(images))


def compare_priors(requests, answers):
    """Run answers to the project on crowds. answers: name -> function as in the project.

    -> (name -> gains in dB over all rows, name -> sorted pictures of the first crowd)
    """
    made = {}
    for rebuild in answers.values():  # a worked solution may stand in for the reader's
        if rebuild not in made:
            made[rebuild] = [in_order(c, with_prior(c, rebuild)) for c in requests]
    gained = {name: np.array([g for c, pictures in zip(requests, made[rebuild], strict=True)
                              for g in gains(c, pictures)]) for name, rebuild in answers.items()}
    return gained, {name: made[rebuild][0] for name, rebuild in answers.items()}
