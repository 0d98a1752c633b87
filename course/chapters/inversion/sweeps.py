"""The notebook's loops over worlds, settings and ways of unlearning. Each takes one world."""

import copy
import tempfile
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

from labkit import attack, training, unlearn
from labkit.measure import psnr
from labkit.unlearn import sisa

from .code import through_curvature, weighted_difference
from .records import gain_at
from .searches import gain, leaked
from .worlds import (
    CNN,
    RECIPES,
    ascend,
    cosine,
    others,
    pretrain,
    retrained,
    true_gradient,
    tune,
)


def closeness(w) -> list[dict]:
    """Cosine of a difference with the true gradient: ascent, and exact unlearning in one step."""
    theta = tune(w, CNN, list(range(32)))
    rows = [{"unlearning and difference": "ascent, one step", "seed": w.seed,
             "cosine": cosine(attack.difference(theta, ascend(w, theta, j)),
                              true_gradient(w, theta, j))} for j in w.rows]
    for n in (8, 32):
        for name, (at, aims) in retrained(w, CNN, n).items():
            rows += [{"unlearning and difference": f"exact, one step, N = {n}, {name}",
                      "seed": w.seed, "cosine": cosine(aims[j], true_gradient(w, at, j))}
                     for j in w.rows]
    return rows


def _judged(attacker, w, at, aims, about):
    """A record for each row: cosine with the true gradient, gain of the search, of the closed form.
    """
    update = "noisy" if about[0]["kind"] == "plain" else "clean"
    labels = w.label.repeat(len(aims) // len(w.label))[:, None]
    found, rows = gain(w, attacker.search(w, at, aims, labels, update)).tolist(), []
    for d, aim, g in zip(about, aims, found, strict=True):
        j, leak = d["j"], None
        if d["net"] == "mlp":
            leak = (psnr(leaked(w, at, aim), w.pixels[j]) - w.guess[j]).item()
        rows.append(d | dict(gain=g, leak=leak, cosine=cosine(aim, true_gradient(w, at, j))))
    return rows


def exact_records(attacker, job) -> list[dict]:
    """Exact unlearning in many settings. job: (i, world, network, [(N, epochs, recipe)])."""
    (i, w, net, settings), rows = job, []
    for n, epochs, recipe in settings:
        about = [dict(i=i, j=j, net=net, N=n, epochs=epochs, recipe=recipe) for j in w.rows]
        pair = retrained(w, net, n, epochs=epochs, **RECIPES[recipe])
        for kind in ("plain", "informed") if recipe == "gentle" else ("plain",):
            rows += _judged(attacker, w, *pair[kind], [d | {"kind": kind} for d in about])
    return rows


def searched_longer(attacker, job) -> list[dict]:
    """Like exact_records, with twice the iterations on the perceptron."""
    i, w, *rest = job
    cfg = SimpleNamespace(**vars(w.cfg) | dict(sweep_steps=2 * w.cfg.sweep_steps))
    return exact_records(attacker, (i, replace(w, cfg=cfg), *rest))


def exact_sweep(attacker, worlds, grids: dict, records=exact_records) -> pd.DataFrame:
    """Records over all worlds. grids: network -> [(N, epochs, recipe)]; records: what takes one."""
    jobs = [(i, w, net, grid) for net, grid in grids.items() for i, w in enumerate(worlds)]
    return pd.DataFrame(sum(training.parallel(partial(records, attacker), jobs), []))


def orders(attacker, worlds, sweep, sizes) -> tuple[np.ndarray, np.ndarray]:
    """Gain after 5 epochs of ordinary fine-tuning on 64 rows or more, where retraining takes a
    fresh order (read from `sweep`), and where it keeps the old one. dB, one a row, means.
    """
    many = [n for n in sizes if n >= 64]
    kept = exact_sweep(attacker, worlds, {"mlp": [(n, 5, "kept order") for n in many]})
    return (gain_at(sweep, "mlp", many, [5], "ordinary"),
            gain_at(kept, "mlp", many, [5], "kept order"))


def _other_methods(w, net="mlp", n=64, damping=0.01):
    """name -> [(model where the gradient is matched, difference)], a pair for each row."""
    theta, p = tune(w, net, list(range(n))), len(w.y) // 2
    small = replace(w.pool, x=w.pool.x[:n], y=w.pool.y[:n])
    # one half of the public rows is in the provider's curvature, the other in the attacker's
    whole = replace(w.pool, x=torch.cat([small.x, w.x[:p].double()]),
                    y=torch.cat([small.y, w.y[:p]]))
    x, y = w.x[p:p + 200].double(), w.y[p:p + 200]
    second = copy.copy(w)
    second.nets = {net: pretrain(w, net, w.seed + 1)}
    out = {}
    for j in w.rows:
        moved = unlearn.influence(theta, whole, torch.tensor([j]), damping=damping, cg_steps=12,
                                  n_rows=200)
        step = attack.difference(theta, moved)
        out.setdefault("influence", []).append(step)
        undone = through_curvature(theta, step, x, y, damping=damping)
        out.setdefault("influence, curvature undone", []).append(undone)
        for steps in (1, 5, 20):
            name = f"ascent, {steps} step{'s' * (steps > 1)}"
            after = ascend(w, theta, j, steps, lr=0.01)
            out.setdefault(name, []).append(attack.difference(theta, after))
        after = unlearn.finetune(theta, small, torch.tensor([j]), epochs=5, lr=1e-3, momentum=0,
                                 weight_decay=0)
        out.setdefault("fine-tuning, 5 epochs", []).append(attack.difference(theta, after))
        after = tune(second, net, others(n, j))
        out.setdefault("another start", []).append(attack.difference(theta, after))
    return {name: [(theta, aim) for aim in aims] for name, aims in out.items()}


def _sharded(w, net="mlp", n=64, shards=8):
    """SISA over the private rows, one request after the other. -> [(touched shard before, its
    difference)], and whether all other shards stayed equal.
    """
    pairs, untouched = [], []
    rows = replace(w.pool, x=w.pool.x[:n], y=w.pool.y[:n])
    with tempfile.TemporaryDirectory() as folder:
        now = sisa.train(rows, folder, build=lambda s: copy.deepcopy(w.nets[net]).double(),
                         shards=shards, slices=1, epochs=5, lr=1e-2, seed=0, batch_size=16,
                         momentum=0, weight_decay=0, workers=1)
        for j in w.rows:
            before, shard = copy.deepcopy(now.members), int(now.partition.shard[j])
            now = sisa.unlearn(now, rows, torch.tensor([j]), workers=1)
            pairs.append((before[shard], attack.difference(before[shard], now.members[shard])))
            untouched += [torch.equal(attack.flat(a), attack.flat(b)) for s, (a, b)
                          in enumerate(zip(before, now.members, strict=True)) if s != shard]
    return pairs, all(untouched)


def method_records(attacker, job):
    """Gain and cosine of every method for a world's rows. job: (i, world) -> (records, whether
    SISA's other shards stayed equal)
    """
    i, w = job
    rows, ways = [], _other_methods(w)
    ways["SISA, 8 shards, 5 epochs"], untouched = _sharded(w)
    for name, pairs in ways.items():
        one = all(at is pairs[0][0] for at, _ in pairs)
        parts, got, update = [pairs] if one else [[p] for p in pairs], [], "noisy"
        if name.startswith("ascent"):
            update = "clean"
        for part in parts:  # rows that share a network are searched for together
            k = slice(len(got), len(got) + len(part))
            sub = replace(w, label=w.label[k], pixels=w.pixels[k], guess=w.guess[k])
            aims = torch.stack([aim for _, aim in part])
            got += gain(sub, attacker.search(sub, part[0][0], aims, update=update)).tolist()
        rows += [dict(name=name, i=i, j=j, gain=got[j],
                      cosine=cosine(aim, true_gradient(w, at, j)))
                 for j, (at, aim) in enumerate(pairs)]
    return rows, untouched


def on_network(attacker, job) -> np.ndarray:
    """Gains of one step of ascent on one network. job: (world, network)"""
    w, net = job
    theta = tune(w, net, list(range(32)))
    aims = torch.stack([attack.difference(theta, ascend(w, theta, j)) for j in w.rows])
    return gain(w, attacker.search(w, theta, aims))


def rounded(attacker, w, n=8) -> np.ndarray:
    """The informed difference where the network has fitted its private rows, from weights in
    float64 and from the same rounded to float32.

    -> (t, 4): its cosine with the true gradient from both, then the gain of the attack, dB, on both
    """
    w, cosines, aims = copy.copy(w), [], []
    fitted = training.fit(copy.deepcopy(w.nets["mlp"]).double(), w.pool.x[:n], w.pool.y[:n],
                          epochs=300, lr=0.05, seed=0, schedule="constant", weight_decay=0)
    w.nets = {"mlp": fitted}
    for j in w.rows:
        models = fitted, tune(w, "mlp", list(range(n))), tune(w, "mlp", others(n, j), seed=1)
        truth = true_gradient(w, fitted, j)
        aims.append([weighted_difference(*(copy.deepcopy(m).to(kind) for m in models), n, 1)
                     for kind in (torch.float64, torch.float32)])
        cosines.append([cosine(aim, truth) for aim in aims[-1]])
    found = attacker.search(w, fitted, torch.stack([aim for pair in zip(*aims, strict=True)
                                                    for aim in pair]),
                            w.label[:, None].repeat(2, 1))
    return np.c_[cosines, gain(w, found).reshape(2, -1).T]


def fed_the_gradient(attacker, worlds, recipe) -> np.ndarray:
    """The fake: the true gradient of each row inverted, where ordinary training came before."""
    gains = []
    for w in worlds:
        theta = tune(w, "mlp", list(range(64)), epochs=5, **recipe)
        aims = torch.stack([true_gradient(w, theta, j) for j in w.rows])
        gains.append(gain(w, attacker.search(w, theta, aims)))
    return np.concatenate(gains)
