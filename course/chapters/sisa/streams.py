"""A stream of requests that is not uniform, on real ensembles, partition by partition."""

import tempfile

import numpy as np
import pandas as pd

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
    rows were asked for equally often); dearest (of all rows); test (accuracy, %); sizes (rows),
    asked (% of requests), both by shard, rarely asked first.
    """
    def run(job):
        seed, rule = job
        d, rng = some_rows(data, rows, seed), np.random.default_rng(seed)
        n, risk = len(d.y), heavy_tail(len(d.y), rng)
        if rule == "yours":
            p = as_partition(assign(risk.clone(), shards, slices), n, shards, slices)
        else:
            p = by_risk(risk, shards, slices, seed, rule)
        # steps of other sizes than even ones would train for more or for less
        even = n * (slices + 1) / 2 / steps(p).sum().item()
        with tempfile.TemporaryDirectory() as folder:
            e = sisa.train(d, folder, build=build, shards=shards, slices=slices, seed=seed,
                           partition=p, workers=1, **recipe | {"epochs": recipe["epochs"] * even})
            test = measure.accuracy(training.predict(e, d.x_test), d.y_test)
            for row in rng.choice(n, requests, replace=False, p=risk.numpy() / risk.sum().item()):
                e = sisa.unlearn(e, d, [row], workers=1)
        asked = np.bincount(p.shard, risk, shards) / risk.sum().item()
        order = np.argsort(asked / np.bincount(p.shard, minlength=shards).clip(1), kind="stable")
        return dict(
            seed=seed, rule=rule, expected=100 * expected_cost(risk, p), test=test,
            counted=100 * np.mean([x["visits"] for x in e.ledger[1:]]) / e.ledger[0]["visits"],
            misjudged=100 * costs(p).mean().item(), dearest=100 * costs(p).max().item(),
            sizes=np.bincount(p.shard, minlength=shards)[order], asked=100 * asked[order])

    return pd.DataFrame(parallel(run, [(s, r) for s in seeds for r in (*RULES, "yours")]))


def priced(streams) -> pd.DataFrame:
    """What `unequal_requests` found, a line a partition, with 95 % intervals over seeds."""
    show = measure.show_interval
    return pd.DataFrame([{
        "partition": NAMES[rule], "expected, % of training": show(part.expected),
        "counted": show(part.counted), "if all ask equally": show(part.misjudged),
        "dearest row": show(part.dearest), "test accuracy, %": show(part.test, limits=(0, 100))}
        for rule, part in streams.groupby("rule", sort=False)])
