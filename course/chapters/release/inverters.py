"""Defences of several strengths against two inverters, one that knows the defence and one not."""

import copy
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from labkit import attack
from labkit.base import LabError
from labkit.measure import psnr

from .released import NOISE, aims_at, released_as
from .worlds import row_losses, run_all, test_accuracy

# What an inverter may use: searches with two weights of the prior, and two closed forms.
METHODS = (1e-3, 1e-1, "closed form", "rank one")


def closed_form(weight, bias, believed):
    """The input of the first layer from its update: labkit's, for a layer alone.

    weight (h, d), bias (h,): its update; believed (h, d): which weights count. -> (d,)
    """
    units = bias.square() @ believed.to(bias)
    return bias @ (weight * believed) / units.clamp(min=1e-300)


def rank_one(w, aim, label):
    """The picture as the direction of the first layer's update, as the network saw it. -> (d,)

    Without noise that update has rank one, δ xᵀ. Its length and sign are fitted to the mean picture
    of the class.
    """
    first = next(w.theta.parameters())  # its weights come first in every difference
    direction = torch.linalg.svd(aim[: first.numel()].view(first.shape), full_matrices=False)[2][0]
    return direction * (direction @ w.means[label].double().flatten())


def by_closed_form(w, aim, mask, closed, label=None):
    """closed(weight, bias, believed) on the first layer of a difference. -> (d,)

    label: with it, inputs of which the mask leaves nothing are those of the mean of this class.
    """
    weight, bias = list(attack.unflat(w.theta, aim).values())[:2]
    if mask is None:
        return closed(weight, bias, torch.ones_like(weight, dtype=torch.bool))
    believed = list(attack.unflat(w.theta, mask).values())[0]
    x = closed(weight, bias, believed)
    if label is None:
        return x
    return torch.where(bias.square() @ believed.to(bias) > 0, x, w.means[label].flatten().to(x))


def pictures(w, aims, mask=None, methods=METHODS, closed=closed_form, row=None) -> dict:
    """What an inverter rebuilds. method -> pictures (t, c, h, w) in [0, 1].

    aims (t, d): differences of weights, of the first t deletions, or all of deletion `row`; mask
    (t, d) or None: the coordinates to compare; methods: numbers are weights of the prior in the
    search of notebook 05; closed: the closed form used.
    """
    tvs, t, shape = [m for m in methods if not isinstance(m, str)], len(aims), w.data.shape
    label, out = w.label[:t] if row is None else w.label[[row] * t], {}
    if tvs:
        r = len(tvs)
        found = attack.invert(copy.deepcopy(w.theta).float(), aims.repeat(r, 1),
                              label[:, None].repeat(r, 1), shape=shape, mean=w.data.mean,
                              std=w.data.std, steps=w.steps, seed=w.seed,
                              tv=torch.tensor(tvs).repeat_interleave(t),
                              mask=None if mask is None else mask.repeat(r, 1))
        out = dict(zip(tvs, found.images[:, 0].split(t), strict=True))
    for name in (m for m in methods if isinstance(m, str)):
        rows = [rank_one(w, aim, label[j]) if name == "rank one"
                else by_closed_form(w, aim, None if mask is None else mask[j], closed, label[j])
                for j, aim in enumerate(aims)]
        out[name] = w.data.pixels(torch.stack(rows).float().view(-1, *shape)).clamp(0, 1)
    return {m: out[m] for m in methods}


def gains(w, images) -> np.ndarray:
    """PSNR less that of the class mean, dB: what the attack adds to a guess. -> (t,)"""
    t = len(images)
    return (psnr(images, w.pixels[:t]) - w.guess[:t]).cpu().numpy()


def near(gain) -> np.ndarray:
    """1 where the picture is at least 5 dB nearer than the class mean, else 0. (t,) -> (t,)"""
    return (np.asarray(gain) >= 5).astype(float)


def inverted(job, closed):
    """(world, defence, tools) -> {who: {method: pictures}}, the releases' mean accuracy, and the
    loss of each deleted row under its release.
    """
    w, name, tools = job
    models, adaptive, mask = released_as(w, name)
    aims = {"plain": (aims_at(w, models), None)}
    if adaptive is not None:
        aims["adaptive"] = (adaptive, mask)
    return {who: pictures(w, aim, m, tools.get((name, who), METHODS), closed)
            for who, (aim, m) in aims.items()}, np.mean([test_accuracy(m, w.data)
                                                         for m in models]), row_losses(w, models)


@dataclass(frozen=True)
class Sweep:
    """All defences against both inverters. seeds: those worlds in which no network was lost.

    made: (seed, defence, who) -> pictures (t, …); dB: the same -> their gains (t,); accuracy:
    (seed, defence) -> %; tools: (defence, who) -> the method that did best in the rehearsal;
    rehearsed: the same -> its mean gain there, dB; rise: (seed, defence) -> by how much the loss of
    each deleted row is higher under its release than under the network before (t,).
    """

    seeds: list
    made: dict
    dB: dict
    accuracy: dict
    tools: dict
    rehearsed: dict
    rise: dict = field(default_factory=dict)

    def gain(self, defence, who="plain") -> np.ndarray:
        """All deleted rows' gains, dB, world after world."""
        return np.concatenate([self.dB[s, defence, who] for s in self.seeds])

    def risen(self, defence) -> np.ndarray:
        """How much the loss of all deleted rows rose from the old network to the release."""
        return np.concatenate([self.rise[s, defence] for s in self.seeds])

    def price(self, defence) -> np.ndarray:
        """Test accuracy less that without the defence, points, one a world."""
        return np.array([self.accuracy[s, defence] - self.accuracy[s, "none"] for s in self.seeds])

    @property
    def enough(self):
        """The weakest noise that kept the plain inverter below 1 dB in the rehearsal, or None."""
        return next((t for t in NOISE
                     if self.rehearsed.get((f"noise × {t:g}", "plain"), np.inf) < 1), None)


def sweep(worlds, extra, defences, closed=closed_form) -> Sweep:
    """Both inverters rehearse in the world `extra` which tool is best against which of the
    defences, then use that one in the others. closed: the closed form, as in by_closed_form.
    """
    run, names = partial(inverted, closed=closed), ["none", *defences]
    tools, rehearsed = {}, {}
    for name, found in zip(names, run_all(run, [(extra, n, {}) for n in names]), strict=True):
        for who, made in (found or ({}, 0))[0].items():
            means = {m: gains(extra, images).mean() for m, images in made.items()}
            best = max(means, key=means.get)
            tools[name, who], rehearsed[name, who] = (best,), float(means[best])
    jobs = [(w, name, tools) for w in worlds for name in names]
    found = list(zip(jobs, run_all(run, jobs), strict=True))
    lost = {w.seed for (w, *_), one in found if one is None}
    if len(lost) == len(worlds):
        raise LabError("Of each network some defence left NaN: lower lr in the settings.")
    result = Sweep([w.seed for w in worlds if w.seed not in lost], {}, {}, {}, tools, rehearsed)
    for (w, name, _), one in found:
        if w.seed in lost:
            continue
        result.accuracy[w.seed, name] = one[1]
        result.rise[w.seed, name] = one[2] - row_losses(w, [w.theta] * len(one[2]))
        for who, images in one[0].items():
            result.made[w.seed, name, who] = next(iter(images.values()))
            result.dB[w.seed, name, who] = gains(w, result.made[w.seed, name, who])
    return result


def together(*sweeps) -> Sweep:
    """Several sweeps of the same worlds as one, with the worlds that no sweep lost."""
    seeds = [s for s in sweeps[0].seeds if all(s in one.seeds for one in sweeps)]
    parts = ({k: v for one in sweeps for k, v in getattr(one, name).items()}
             for name in ("made", "dB", "accuracy", "tools", "rehearsed", "rise"))
    return Sweep(seeds, *parts)
