"""A stream of requests that is not uniform, on real ensembles, partition by partition."""

import tempfile

import numpy as np
import pandas as pd
import torch

from labkit import measure, training
from labkit.processes import parallel
from labkit.unlearn import sisa

from .experiments import some_rows
from .risk import RULES, as_partition, by_risk, costs, expected_cost, heavy_tail, steps

NAMES = {"uniform": "uniform, by hash", "equal-requests": "equal requests (Bourtoule et al.)",
         "late": "likely leavers late (Yan et al.)", "root": "the course's solution",
         "yours": "yours"}


def unequal_requests(data, assign, *, seeds, rows, build, recipe, requests: int, shards=5,
                     slices=4) -> pd.DataFrame:
    """A stream of requests with a heavy tail on real SISA ensembles, by partition.

    assign(risk, shards, slices) -> (shard, slice) is compared, as 'yours', with every rule of
    `by_risk`. All partitions get as many visits of training as SISA with even slices. Columns:
    rule, seed; expected, counted (a request's visits, % of training's); misjudged (expected if all
    rows were asked for equally often); dearest (of all rows); test (accuracy, %); trained (visits);
    sizes (rows), asked (% of requests), both by shard, rarely asked first.
    """
    jobs, alike = [], []
    for seed in seeds:
        risk = heavy_tail(rows, np.random.default_rng(seed))
        places = {rule: by_risk(risk, shards, slices, seed, rule) for rule in RULES}
        mine = as_partition(assign(risk.clone(), shards, slices), rows, shards, slices)
        same = [torch.equal(getattr(mine, x), getattr(places["root"], x)) for x in
                ("shard", "slice")]
        if all(same):  # the course's solution, run once
            alike.append(seed)
        else:
            places["yours"] = mine
        jobs += [(seed, rule, p) for rule, p in places.items()]
    found = pd.DataFrame(parallel(lambda job: _stream(data, *job, build, recipe, requests), jobs))
    again = found[(found.rule == "root") & found.seed.isin(alike)].assign(rule="yours")
    return pd.concat([found, again], ignore_index=True).sort_values("seed", kind="stable")


def _stream(data, seed, rule, p, build, recipe, requests):
    """One seed and one partition: train, then delete so many rows one after the other."""
    n, rng = len(p.shard), np.random.default_rng(seed)
    risk, d = heavy_tail(n, rng), some_rows(data, n, seed)
    # steps of other sizes than even ones would train for more or for less
    even = n * (p.slices + 1) / 2 / steps(p).sum().item()
    with tempfile.TemporaryDirectory() as folder:
        e = sisa.train(d, folder, build=build, shards=p.shards, slices=p.slices, seed=seed,
                       partition=p, workers=1, **recipe | {"epochs": recipe["epochs"] * even})
        test = measure.accuracy(training.predict(e, d.x_test), d.y_test)
        for row in rng.choice(n, requests, replace=False, p=(risk / risk.sum()).numpy()):
            e = sisa.unlearn(e, d, [row], workers=1)
    sizes = np.bincount(p.shard, minlength=p.shards)
    asked = 100 * np.bincount(p.shard, risk, p.shards) / risk.sum().item()
    order = np.argsort(asked / sizes.clip(1), kind="stable")
    trained = e.ledger[0]["visits"]
    return dict(seed=seed, rule=rule, trained=trained, test=test,
                expected=100 * expected_cost(risk, p), misjudged=100 * costs(p).mean().item(),
                counted=100 * np.mean([line["visits"] for line in e.ledger[1:]]) / trained,
                dearest=100 * costs(p).max().item(), sizes=sizes[order], asked=asked[order])


def names(streams) -> dict:
    """What each rule is called; 'yours' says so where it is the course's solution, place by place.
    """
    cost = streams.set_index(["rule", "seed"]).expected
    alike = (cost["yours"] - cost["root"]).abs().max() == 0
    return NAMES | ({"yours": "yours (the course's solution)"} if alike else {})


def priced(streams) -> pd.DataFrame:
    """What `unequal_requests` found, a line a partition, with 95 % intervals over seeds."""
    show, called = measure.show_interval, names(streams)
    if called["yours"] != NAMES["yours"]:
        streams = streams[streams.rule != "root"]
    return pd.DataFrame([{
        "partition": called[rule], "expected, % of training": show(part.expected),
        "counted": show(part.counted), "if all ask equally": show(part.misjudged),
        "dearest row": show(part.dearest), "test accuracy, %": show(part.test, limits=(0, 100))}
        for rule, part in streams.groupby("rule", sort=False)])
