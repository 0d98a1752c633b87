"""Networks trained by DP-SGD, and what attacks on deletions get out of them."""

import copy
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from labkit import attack, training
from labkit.base import LabError, spawn_seeds

from .changed import add_noise
from .inverters import METHODS, gains, pictures
from .private import fit_private
from .released import aims_at
from .worlds import ascend, run_all, test_accuracy

INFLUENCE = dict(n_rows=200, cg_steps=8)


@dataclass(frozen=True)
class Setting:
    """What all trials share. build: seed -> fresh network; sigma: ε -> noise multiplier; how: other
    settings of fit_private; shrink: how much less retraining does than influence predicts; damping:
    of influence; targets: how many a network.
    """

    build: object
    sigma: dict
    how: dict
    shrink: float
    damping: float
    targets: int


def shrinkage(found) -> float:
    """The factor on influence that fits retraining best. found: rows of
    attack.influence_against_retraining, of which those with the full budget count.
    """
    rows = [r for part in found for r in part[1::2]]
    top = sum(r["predicted"] * r["real"] for r in rows)
    return float(np.clip(top / sum(r["predicted"] ** 2 for r in rows), 0.05, 1.0))


def private_ascent(theta, pool, j, sigma, seed, releases=1, clip=1.0, lr=1e-3):
    """The step of ascent, made private itself: its gradient clipped, and noise of σ times the clip
    added. With several releases, each with noise of its own, their mean.
    """
    step = attack.difference(theta, ascend(theta, pool, j, lr))
    after = ascend(theta, pool, j, lr * min(1.0, clip * lr / step.norm().item()))
    return add_noise(after, lr * clip * sigma / releases**0.5, seed)


def passed(model, held, clip=1.0):
    """min(1, clip / ‖∇ℓ_i‖): what DP-SGD lets through of the gradient of each row held. -> (m, 1)
    """
    params = {name: p.detach() for name, p in model.named_parameters()}

    def size(x, y):
        def loss(p):
            return F.cross_entropy(torch.func.functional_call(model, p, (x[None],)), y[None])

        return sum(g.square().sum() for g in torch.func.grad(loss)(params).values()).sqrt()

    sizes = torch.func.vmap(size, chunk_size=100)(held.x, held.y)
    return (clip / sizes.clamp(min=clip))[:, None]


def requests_for(setting, model, held, x, label, j, clipped) -> dict:
    """Requests that should flip a target: chosen as if training were not private, random, and,
    where there is noise, by somebody who knows the clipping (clipped: what it lets through).
    """
    out, goal = attack.logits_at(model, x), attack.label_flip(label)
    effects = attack.influence_effects(model, held, out, damping=setting.damping, **INFLUENCE)
    start = out(dict(model.named_parameters())).detach()
    asked = {"chosen": attack.choose(attack.through(setting.shrink * effects, start, goal), held,
                                     steps=12).rows,
             "random": attack.baseline("random", held, j)}
    if clipped is not None:
        aim = attack.through(setting.shrink * clipped * effects, start, goal)
        asked["aware"] = attack.choose(aim, held, steps=12).rows
    return asked


def flips(setting, v, model, sigma) -> dict:
    """Private retraining with a fresh seed, without a request: 1 where the target's label flips.

    -> {who: one number a target}; who: chosen, random, aware
    """
    out = {who: [] for who in ("chosen", "random", "aware")}
    clipped = passed(model, v.held) if sigma else None
    for j, s in enumerate(spawn_seeds(v.seed, setting.targets, "private retraining")):
        x = v.x[[j]]
        label = int(training.predict(model, x).argmax())
        asked = requests_for(setting, model, v.held, x[0], label, j, clipped)
        for who, rows in asked.items():
            after, _ = fit_private(setting.build(s), v.data.x, v.data.y, seed=s, skip=rows,
                                   noise_multiplier=sigma, **setting.how)
            out[who].append(float(training.predict(after, x).argmax().item() != label))
    return out


def trial(job, setting) -> dict:
    """(victim, world, ε) -> what inversion gains from three kinds of step, flips, accuracy, ε."""
    v, w, epsilon = job
    sigma, base = setting.sigma[epsilon], spawn_seeds(v.seed, 1, "private")[0] % 10**8
    model, spent = fit_private(setting.build(v.seed), v.data.x, v.data.y, seed=v.seed,
                               noise_multiplier=sigma, **setting.how)
    theta = copy.deepcopy(model).double()
    out, at = {}, replace(w, theta=theta)
    for name, releases in (("ascent", None), ("noisy", 1), ("averaged", 10)):
        after = [ascend(theta, w.pool, j) if releases is None
                 else private_ascent(theta, w.pool, j, sigma, base + j, releases)
                 for j in range(len(w.label))]
        made = [gains(w, images) for images in
                pictures(at, aims_at(at, after), methods=METHODS[1:]).values()]
        out[name] = max(made, key=np.mean)  # what does best, in the attacker's favour
        out[f"{name} accuracy"] = [np.mean([test_accuracy(a, v.data) for a in after])]
    return out | flips(setting, v, model, sigma) | dict(
        accuracy=[test_accuracy(model, v.data)], spent=[spent.epsilon], steps=[spent.steps])


@dataclass(frozen=True)
class Private:
    """runs: (seed, ε) -> what trial found; seeds: networks none of whose trainings was lost."""

    seeds: list
    runs: dict

    def of(self, epsilon, what) -> np.ndarray:
        """One thing that trial found at this ε, network after network."""
        return np.concatenate([np.asarray(self.runs[s, epsilon][what], float)
                               for s in self.seeds])

    def beyond(self, epsilon, who) -> np.ndarray:
        """Flips less those of a random request of the same target: one number a target."""
        return self.of(epsilon, who) - self.of(epsilon, "random")


def private_trials(victims, worlds, setting) -> Private:
    """Every victim at every ε."""
    jobs = [(v, w, e) for e in setting.sigma for v, w in zip(victims, worlds, strict=True)]
    found = run_all(partial(trial, setting=setting), jobs)
    lost = {v.seed for (v, *_), one in zip(jobs, found, strict=True) if one is None}
    if len(lost) == len(victims):
        raise LabError("Of each network some private training left NaN: lower lr in the settings.")
    return Private([v.seed for v in victims if v.seed not in lost],
                   {(v.seed, e): one for (v, _, e), one in zip(jobs, found, strict=True)
                    if v.seed not in lost})
