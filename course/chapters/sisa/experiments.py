"""The loops over seeds and requests of the notebook on SISA, and what is counted in them."""

import tempfile
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from labkit import measure, models, training
from labkit.processes import parallel
from labkit.unlearn import sisa

from . import cost
from .code import verify_exact

LAYOUTS = ((5, 1), (5, 10), (20, 1), (20, 10))  # (shards, slices) whose visits are counted


def some_rows(data, rows: int, seed: int):
    """The first `rows` training rows of a reshuffled pool."""
    d = data.resplit(seed)
    return replace(d, x=d.x[:rows], y=d.y[:rows], noisy=d.noisy[:0])


def small_net(data):
    """seed -> a small network for `data`, for what does not depend on the network."""
    return lambda seed: models.build("mlp", data, seed, hidden=16)


def twenty_requests(partition, seed: int) -> list[list[int]]:
    """Two rows of one last slice, then three rows of three shards, then 18 random single rows."""
    rng, slices = np.random.default_rng(seed), partition.slices
    two = partition.rows(0, slices)
    two = two[partition.slice[two] == slices - 1][:2].tolist()
    three = [partition.rows(s, slices)[-1].item() for s in (1, 2, 3)]
    others = rng.permutation(np.setdiff1d(np.arange(len(partition.shard)), two + three))[:18]
    return [two, three] + [[int(i)] for i in others]


def exactness(data, *, rows: int, requests: int, seed: int, lr: float) -> pd.DataFrame:
    """Requests one after the other, each compared with training from scratch, tensor by tensor.

    A line a request and checkpoint: momentum (whether it was kept in the checkpoints), request
    (rows), restarted (whether from a checkpoint), compared, differing (tensors), first (the name of
    a differing one). Without momentum: half as many requests, each on a fresh ensemble, so that no
    difference counts twice.
    """
    d, build = some_rows(data, rows, seed), small_net(data)
    settings = dict(build=build, shards=5, slices=4, seed=seed, epochs=4, lr=lr, batch_size=32,
                    workers=1)
    # loads what the workers share
    training.fit(build(0), data.x[:64], data.y[:64], epochs=1, lr=0.1, seed=0)

    def run(keep):
        lines = []
        with tempfile.TemporaryDirectory() as folder:
            e = sisa.train(d, f"{folder}/e", save_optimizer=keep, **settings)
            for asked in twenty_requests(e.partition, seed)[:requests if keep else requests // 2]:
                new = sisa.unlearn(e, d, asked, workers=1)
                check = verify_exact(new, d, workers=1)
                lines.append(dict(momentum=keep, request=asked, compared=check.compared,
                                  restarted=any(new.ledger[-1]["restarted after slice"].values()),
                                  differing=len(check.differing),
                                  first=next(iter(check.differing), "")))
                e = new if keep else sisa.train(d, f"{folder}/{len(lines)}", save_optimizer=False,
                                                **settings)
        return lines

    return pd.DataFrame([line for lines in parallel(run, [True, False]) for line in lines])


def draw(rng, there, k: int):
    """k of the rows that are still there, drawn uniformly."""
    return rng.choice(np.flatnonzero(there), k, replace=False)


def in_training(data, added_up, *, seeds, rows: int, epochs: int, lr: float, singles: int):
    """Real requests: visits counted by the training loop, and added up. -> table, a line a request

    added_up(partition, there, request, epochs) -> visits. Per seed and layout: `singles` single
    requests, then one of S and one of 3S rows.
    """
    def run(job):
        seed, (S, R) = job
        d, rng, lines = some_rows(data, rows, seed), np.random.default_rng(seed), []
        there = np.ones(len(d.y), bool)
        with tempfile.TemporaryDirectory() as folder:
            e = sisa.train(d, folder, build=small_net(data), shards=S, slices=R, seed=seed,
                           epochs=epochs, lr=lr, workers=1, batch_size=64)
            for k in [1] * singles + [S, 3 * S]:
                request = draw(rng, there, k)
                e = sisa.unlearn(e, d, request, workers=1)
                lines.append(dict(seed=seed, S=S, R=R, K=k, counted=e.ledger[-1]["visits"],
                                  added=added_up(e.partition, there, request, epochs)))
        return lines

    done = parallel(run, [(s, layout) for s in seeds for layout in LAYOUTS])
    return pd.DataFrame([line for lines in done for line in lines])


def many_requests(n: int, added_up, *, seeds, epochs: float) -> pd.DataFrame:
    """Mean visits of 160 single requests in a row and of 20 batches of S, 3S and 5S, by layout.

    For each seed a fresh partition of n rows; each batch meets the full ensemble. Columns: kind,
    K, visits, formula, seed, S, R, whole (visits of retraining without the rows that left).
    """
    lines = []
    for seed, (S, R) in [(s, layout) for s in seeds for layout in LAYOUTS]:
        rng, partition = np.random.default_rng(seed), sisa.by_hash(n, S, R, seed)
        there = np.ones(n, bool)
        singles = [added_up(partition, there, draw(rng, there, 1), epochs) for _ in range(160)]
        # as 160 leave in turn, retraining has n − 1 to n − 160 rows
        found = [dict(kind="sequential", K=1, visits=np.mean(singles), whole=epochs * (n - 80.5),
                      formula=cost.visits(n, epochs, S, R, 160) / 160)]
        for k in (S, 3 * S, 5 * S):
            batches = [added_up(partition, there := np.ones(n, bool), draw(rng, there, k), epochs)
                       for _ in range(20)]
            found.append(dict(kind="batch", K=k, visits=np.mean(batches), whole=epochs * (n - k),
                              formula=cost.visits(n, epochs, S, R, k, batch=True)))
        lines += [f | dict(seed=seed, S=S, R=R) for f in found]
    return pd.DataFrame(lines)


def off(counts) -> np.ndarray:
    """visits / formula − 1, one value a seed."""
    sums = counts.groupby("seed", sort=False)[["visits", "formula"]].sum()
    return (sums.visits / sums.formula - 1).to_numpy()


def by_layout(counts) -> dict:
    """`off` for each kind of request and layout, under the names of the claim's parts."""
    return {f"{kind}-S{S}-R{R}": off(counts[(counts.S == S) & (counts.R == R)
                                            & (counts.kind == kind)])
            for kind in ("sequential", "batch") for S, R in LAYOUTS}


def gain(counts, slices: int, times: int) -> np.ndarray:
    """Speed-up in visits at K = times × S, mean of S = 5 and 20, one value a seed."""
    part = counts[(counts.R == slices) & (counts.K == times * counts.S)]
    return (part.whole / part.visits).groupby(part.seed, sort=False).mean().to_numpy()


def ensembles(data, jobs, *, build, recipe, timed: int, timed_at=(5, 4)) -> pd.DataFrame:
    """Trains an ensemble for each (seed, shards, slices) of jobs. -> table, a line each

    Columns: mean and vote (test accuracy of the ensemble, %), lone (mean of its members alone),
    bytes of checkpoints; for the layout `timed_at`, from `timed` single requests a slice: visits
    and cpu_seconds, training's over the mean request's.
    """
    accuracy = measure.accuracy

    def run(job):
        seed, S, R = job
        d = data.resplit(seed)
        with tempfile.TemporaryDirectory() as folder:
            e = sisa.train(d, folder, build=build, shards=S, slices=R, seed=seed, workers=1,
                           **recipe)
            with torch.no_grad():
                answers = e.logits(d.x_test)
            found = dict(seed=seed, S=S, R=R, mean=accuracy(sisa.aggregate(answers), d.y_test),
                         bytes=sisa.size(folder),
                         vote=accuracy(sisa.aggregate(answers, "vote"), d.y_test),
                         lone=np.mean([accuracy(a, d.y_test) for a in answers]))
            if (S, R) == timed_at:
                order = np.random.default_rng(seed).permutation(len(d.y))
                for request in np.concatenate([order[e.partition.slice[order] == r][:timed]
                                               for r in range(R)]):
                    e = sisa.unlearn(e, d, [request], workers=1)
                for what in ("visits", "cpu_seconds"):
                    found[what] = e.ledger[0][what] / np.mean([x[what] for x in e.ledger[1:]])
        return found

    return pd.DataFrame(parallel(run, jobs))


def rare_classes(data, *, seeds, build, recipe, layouts=(1, 5, 20)) -> pd.DataFrame:
    """Recall (%) of the classes that kept a tenth of their rows, a fifth of all, and of the others.

    Columns: seed, S, rare, common. One slice a shard.
    """
    def run(job):
        seed, S = job
        d, rng = data.resplit(seed), np.random.default_rng(seed)
        few = rng.permutation(d.n_classes)[: max(1, d.n_classes // 5)]
        thin = np.isin(d.y.cpu().numpy(), few) & (rng.random(len(d.y)) > 0.1)
        kept = torch.from_numpy(np.flatnonzero(~thin)).to(d.x.device)
        d = replace(d, x=d.x[kept], y=d.y[kept], noisy=d.noisy[:0])
        with tempfile.TemporaryDirectory() as folder:
            e = sisa.train(d, folder, build=build, shards=S, slices=1, seed=seed, workers=1,
                           **recipe)
            hit = (training.predict(e, d.x_test).argmax(1) == d.y_test).cpu()
        scarce = torch.from_numpy(np.isin(d.y_test.cpu().numpy(), few))
        recall = [100 * hit[part].double().mean().item() for part in (scarce, ~scarce)]
        return dict(seed=seed, S=S, rare=recall[0], common=recall[1])

    return pd.DataFrame(parallel(run, [(s, S) for s in seeds for S in layouts]))
