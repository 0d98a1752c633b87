"""Which class was deleted, from answers at probes."""

import copy

import torch

from labkit import attack

from .code import probes_by_queries
from .worlds import ascend, pretrain, tune, world

SHARES = {"10": 0.1, "50": 0.5, "100": 1.0}  # of a class, withdrawn


def deleted_class(before, after, probe_class) -> int:
    """The class whose probes lost most confidence in it, on average. (m, k), (m, k), (m,) -> int

    Source: Hu et al. 2024, Eqs. 9-11.
    """
    rows = torch.arange(len(probe_class))
    change = after[rows, probe_class] - before[rows, probe_class]
    means = [change[probe_class == c].mean() for c in range(before.shape[1])]
    return int(torch.stack(means).argmin())


def _named_right(w, before, after, probes, c, decimals=16):
    """Whether the probes name class c, from the answers of two black boxes."""
    x = (probes.images.flatten(0, 1) - w.data.mean) / w.data.std
    answers = [attack.BlackBox(model)(x).cpu().double().round(decimals=decimals)
               for model in (before, after)]
    which = torch.arange(w.data.n_classes).repeat_interleave(probes.images.shape[1])
    return deleted_class(*answers, which) == c


def _prepared(data, seed, cfg):
    """A world with a perceptron, fine-tuned on 512 private rows, and probes made on it."""
    w = world(data, seed, cfg)
    w.nets["mlp"] = pretrain(w, "mlp")
    theta = tune(w, "mlp", list(range(min(512, len(w.pool.y)))))
    plain, k = copy.deepcopy(theta).float(), data.n_classes
    look = dict(shape=data.shape, mean=data.mean, std=data.std)
    return w, theta, {
        "gradient": attack.probes_by_gradient(plain, k, 10, steps=3 * cfg.probe_steps, **look),
        "queries": probes_by_queries(attack.BlackBox(plain), k, 3, steps=cfg.probe_steps,
                                     coordinates=32, **look)}


def labels_trial(data, cfg, seed):
    """Each class named right or not. -> ({(probes, method, share): [0.0 or 1.0 a class]}, queries
    a probe). 'rounded': gradient-made probes, answers with four decimals.
    """
    w, theta, probes = _prepared(data, seed, cfg)
    m, hit = min(512, len(w.pool.y)), {}
    plain, y = copy.deepcopy(theta).float(), w.pool.y[:m]
    for name, share in SHARES.items():
        for c in y.unique().tolist():
            of = (y == c).nonzero().flatten().tolist()
            gone = of[: max(1, round(share * len(of)))]
            left = [r for r in range(m) if r not in set(gone)]
            for how, after in (("ascent", ascend(w, theta, gone).float()),
                               ("exact", tune(w, "mlp", left, seed=1).float())):
                right = {kind: _named_right(w, plain, after, p, c) for kind, p in probes.items()}
                right["rounded"] = _named_right(w, plain, after, probes["gradient"], c, 4)
                for kind, value in right.items():
                    hit.setdefault((kind, how, name), []).append(float(value))
    return hit, probes["queries"].queries
