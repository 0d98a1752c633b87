"""Which class was deleted? Probes on the old model, asked again on the new one (Hu et al. 2024)."""

import copy
from dataclasses import dataclass, replace

import torch

from labkit import attack, models, training, unlearn
from labkit.data import Data

from .probes import probes_by_queries

SHARES = {"10": 0.1, "50": 0.5, "100": 1.0}  # of a class, withdrawn


@dataclass(frozen=True)
class Provider:
    """A network trained on public rows, and fine-tuned on private ones of which some will go.

    start: the network before fine-tuning, float64; pool: the private rows, float64.
    """

    start: torch.nn.Module
    pool: Data

    def tuned(self, rows, seed=0):
        """Fine-tuned from `start` on so many of the private rows: one pass of plain SGD."""
        return training.fit(copy.deepcopy(self.start), self.pool.x[rows], self.pool.y[rows],
                            epochs=1, lr=1e-3, seed=seed, batch_size=128, momentum=0,
                            weight_decay=0, schedule="constant")

    def ascended(self, model, rows):
        """One step of ascent on the rows that were withdrawn."""
        return unlearn.gradient_ascent(model, self.pool, torch.as_tensor(rows), epochs=1, lr=1e-3,
                                       batch_size=len(rows), momentum=0)


def provider(data, seed, cfg) -> Provider:
    """Split the data anew: a third is the private pool, the rest is public and trains the start."""
    d, private = data.resplit(seed), len(data.y) // 3
    start = training.fit(models.build("mlp", d, seed, hidden=cfg.hidden), d.x[private:],
                         d.y[private:], epochs=cfg.label_epochs, lr=0.05, seed=seed)
    pool = replace(d, x=d.x[:private].double(), y=d.y[:private])
    return Provider(start.double(), pool)


def mean_changes(before, after, probe_class) -> torch.Tensor:
    """How much the probes of each class changed in it, on average. (m, k), (m, k), (m,) -> (k,)"""
    rows = torch.arange(len(probe_class))
    change = after[rows, probe_class] - before[rows, probe_class]
    return torch.stack([change[probe_class == c].mean() for c in range(before.shape[1])])


def deleted_class(before, after, probe_class) -> int:
    """The class whose probes lost most confidence in it, on average. (m, k), (m, k), (m,) -> int

    Source: Hu et al. 2024, Eqs. 9-11.
    """
    return int(mean_changes(before, after, probe_class).argmin())


def answers(box, probes, data, decimals=16) -> tuple:
    """What a black box says of the probes, and the class of each. -> (m, k) float64, (m,)"""
    x = (probes.images.flatten(0, 1) - data.mean) / data.std
    which = torch.arange(data.n_classes).repeat_interleave(probes.images.shape[1])
    return box(x).cpu().double().round(decimals=decimals), which


def find_probes(old, data, cfg) -> dict:
    """Probes on the old network, by its gradients and by queries to it alone."""
    look = dict(shape=data.shape, mean=data.mean, std=data.std)
    return {"gradient": attack.probes_by_gradient(old, data.n_classes, 10,
                                                  steps=3 * cfg.probe_steps, **look),
            "queries": probes_by_queries(attack.BlackBox(old), data.n_classes, 3,
                                         steps=cfg.probe_steps, coordinates=32, **look)}


def labels_trial(data, cfg, name_class, seed) -> tuple:
    """Each class deleted in part or whole, and named right or not from answers.

    name_class: (before, after, probe_class) -> int, e.g. `deleted_class`. -> {(probes, method,
    share): [0.0 or 1.0 a class]}, queries a probe, {(method, share, class): mean changes (k,)};
    'rounded': gradient-made probes, answers with four decimals.
    """
    p = provider(data, seed, cfg)
    m, hit, falls = min(512, len(p.pool.y)), {}, {}
    theta, y = p.tuned(list(range(m))), p.pool.y[:m]
    old = copy.deepcopy(theta).float()
    probes = find_probes(old, data, cfg)
    for name, share in SHARES.items():
        for c in y.unique().tolist():
            of = (y == c).nonzero().flatten().tolist()
            gone = of[: max(1, round(share * len(of)))]
            left = [r for r in range(m) if r not in set(gone)]
            for how, new in (("ascent", p.ascended(theta, gone)), ("exact", p.tuned(left, seed=1))):
                new = new.float()
                right = {kind: _named(old, new, found, data, name_class) == c
                         for kind, found in probes.items()}
                right["rounded"] = _named(old, new, probes["gradient"], data, name_class, 4) == c
                for kind, value in right.items():
                    hit.setdefault((kind, how, name), []).append(float(value))
                falls[how, name, c] = _named(old, new, probes["gradient"], data, mean_changes)
    return hit, probes["queries"].queries, falls


def _named(old, new, probes, data, name_class, decimals=16):
    """What a function makes of the answers of the two black boxes."""
    (before, which), (after, _) = (answers(attack.BlackBox(m), probes, data, decimals)
                                   for m in (old, new))
    return name_class(before, after, which)


def label_records(trials) -> dict:
    """Labels named right: kind -> (0 or 1 a class and trial, number of the trial).

    Kinds: probes by gradient, by queries, from rounded answers, all after ascent; 'exact-10' and so
    on after exact retraining, by the share withdrawn. trials: what labels_trial gave.
    """
    asked = {kind: [(kind, "ascent", s) for s in SHARES]
             for kind in ("gradient", "queries", "rounded")}
    asked |= {f"exact-{s}": [("gradient", "exact", s)] for s in SHARES}
    return {kind: ([v for key in keys for hit, *_ in trials for v in hit[key]],
                   [i for key in keys for i, (hit, *_) in enumerate(trials) for _ in hit[key]])
            for kind, keys in asked.items()}
