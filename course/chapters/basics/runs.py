"""The runs of the notebook on basics: references, the grid on tuning seeds, judged runs."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

import labkit as lk
from labkit.base import Diverged
from labkit.data import Data

from .code import label_free_features, membership_scores

KINDS = ("random", "class")


@dataclass
class World:
    """What the notebook fixes once. Its functions make rows of tables, and change nothing.

    build: seed -> network; recipe: epochs, lr, batch_size; share: of the rows that a random request
    names; whole: seed -> class that a class request names; measures: (model, data, forget,
    reference's row or None) -> row, the notebook's own; refs: seed -> what `references` gives;
    last: the seed whose rows were drawn last -> these rows.
    """

    data: Data
    build: Callable
    recipe: dict
    share: float
    whole: dict
    measures: Callable
    refs: dict = field(default_factory=dict)
    last: dict = field(default_factory=dict)

    def split(self, seed):
        """The rows drawn anew by a seed; kept until the next seed, as its runs follow in a row."""
        if seed not in self.last:
            self.last = {seed: self.data.resplit(seed)}
        return self.last[seed]

    def measured(self, model, d, forget, reference=None):
        """A row of measures, with the scores that section 4's attack compares."""
        row = self.measures(model, d, forget, reference)
        return row | {"scores": membership_scores(model, d, forget)}


def references(world, seed) -> dict:
    """The models of one seed: the original and what retraining gives, with measures and costs.

    models: original, random and class (retrained with the same seed), fresh (retrained for the
    random request from another seed). rows: their measures. requests: kind -> rows asked for.
    """
    d, models, costs = world.data.resplit(seed), {}, {}
    requests = {"random": d.forget_random(world.share, seed),
                "class": d.forget_class(world.whole[seed])}
    models["original"] = lk.training.fit(world.build(seed), d.x, d.y, seed=seed, **world.recipe)
    for kind, forget in requests.items():
        models[kind], costs[kind] = lk.measure.timed(
            lk.unlearn.retrain, models["original"], d, forget, build=world.build, seed=seed,
            **world.recipe)
    other = lk.spawn_seeds(seed, 1, "fresh")[0]
    models["fresh"] = lk.unlearn.retrain(models["original"], d, requests["random"],
                                         build=world.build, seed=other, **world.recipe)
    rows = {kind: world.measured(models[kind], d, requests[kind]) for kind in KINDS}
    rows |= {name: world.measured(models[name], d, requests["random"], rows["random"])
             for name in ("original", "fresh")}
    return dict(seed=seed, requests=requests, models=models, costs=costs, rows=rows)


def strength(settings):
    """The strength of a method's settings: their first entry."""
    return next(iter(settings.values()))


def attempt(world, seed, kind, method, settings, function=None):
    """One unlearning run: (its measures, cost and strength; the model). Lost: (NaN; None).

    function: the method itself, where it is none of labkit's.
    """
    # a function of a learner's gets rows of its own, which it may spoil
    ref, d = world.refs[seed], world.data.resplit(seed) if function else world.split(seed)
    forget, row = ref["requests"][kind], dict(seed=seed, kind=kind, method=method,
                                              strength=strength(settings | {"": 0.0}))
    try:
        model, cost = lk.measure.timed(function or lk.unlearn.METHODS[method],
                                       ref["models"]["original"], d, forget, **settings)
        found = world.measured(model, d, forget, ref["rows"][kind])
    except lk.Diverged:
        names = ("UA", "RA", "TA", "gap", "cpu", "visits")
        return row | dict.fromkeys(names, np.nan) | {"scores": None}, None
    return row | found | dict(cpu=cost.cpu_seconds, visits=cost.visits), model


def untouched_and_retrained(world, seed, kind):
    """Two rows: the original and the reference, as if they were methods."""
    ref, d = world.refs[seed], world.split(seed)
    return [dict(seed=seed, kind=kind, method=name, strength=0.0)
            | world.measured(ref["models"][key], d, ref["requests"][kind], ref["rows"][kind])
            for name, key in (("untouched", "original"), ("retrained", kind))]


def on_tuning_seeds(world, grid, seeds):
    """Every method at every strength, on each seed and kind of request. -> table of runs"""
    def runs(job):
        seed, kind = job
        rows = [attempt(world, seed, kind, m, settings)[0]
                for m in grid for settings in grid[m][kind]]
        return rows + untouched_and_retrained(world, seed, kind)

    return _table(lk.training.parallel(runs, [(s, kind) for s in seeds for kind in KINDS]))


def swept(world, grid, methods, seeds):
    """These methods at every strength for the random request. -> table of runs

    inside, outside: what section 5's attack reads of forgotten and of unseen rows, (m, 2), (t, 2).
    """
    def runs(seed):
        d, rows = world.split(seed), []
        for method in methods:
            for settings in grid[method]["random"]:
                row, model = attempt(world, seed, "random", method, settings)
                rows.append(row | seen(model, d, world.refs[seed]["requests"]["random"]))
        return rows

    return _table(lk.training.parallel(runs, seeds))


def seen(model, d, forget):
    """Largest probability and entropy of forgotten and of unseen rows; None for a lost run."""
    if model is None:
        return dict(inside=None, outside=None)
    inside, outside = (label_free_features(lk.training.predict(model, x))
                       for x in (d.x[forget], d.x_test))
    return dict(inside=inside, outside=outside)


def judged(world, chosen, seeds, class_seeds, sweep):
    """Every method at its chosen strength on judged seeds, beside both references. -> table

    chosen: (kind, method) -> settings. The class request runs on the first class_seeds seeds.
    sweep: runs of `swept`, none of which is run again.
    """
    done = {(r["seed"], r["kind"], r["method"], r["strength"]): r for r in
            sweep.drop(columns=["inside", "outside"]).to_dict("records")}

    def runs(job):
        seed, kind = job
        ref, rows = world.refs[seed], untouched_and_retrained(world, seed, kind)
        rows[1].update(cpu=ref["costs"][kind].cpu_seconds, visits=ref["costs"][kind].visits)
        if kind == "random":
            rows.append(dict(seed=seed, kind=kind, method="retrained, fresh seed")
                        | ref["rows"]["fresh"])
        return rows + [done.get((seed, k, m, strength(settings)))
                       or attempt(world, seed, k, m, settings)[0]
                       for (k, m), settings in chosen.items() if k == kind]

    jobs = [(s, "random") for s in seeds] + [(s, "class") for s in seeds[:class_seeds]]
    return _table(lk.training.parallel(runs, jobs))


def longer(world, settings, seeds, times=(2, 4)):
    """Fine-tuning for more epochs: the share of the untouched gap left, and of visits spent."""
    def run(job):
        seed, t = job
        row, _ = attempt(world, seed, "random", "finetune",
                         settings | dict(epochs=t * settings["epochs"]))
        ref = world.refs[seed]
        return dict(times=t, left=row["gap"] / ref["rows"]["original"]["gap"],
                    spent=row["visits"] / ref["costs"]["random"].visits)

    found = lk.training.parallel(run, [(s, t) for s in seeds for t in times])
    return pd.DataFrame(found, columns=["times", "left", "spent"])


def own(world, methods, seeds):
    """Functions (model, data, forget) -> model on the random request. methods: name -> function.

    A function that stands there under two names runs once. -> table
    """
    def runs(seed):
        d, rows, done = world.data.resplit(seed), [], {}
        for name, function in methods.items():
            if function not in done:
                row, model = attempt(world, seed, "random", name, {}, function)
                done[function] = row | seen(model, d, world.refs[seed]["requests"]["random"])
            rows.append(done[function] | {"method": name})
        return rows

    return _table(lk.training.parallel(runs, seeds))


def uphill(step, original, d, forget, *, lr, steps):
    """UA, RA, TA after each of so many steps of ascent on the whole forget set. -> table, model

    It ends before its steps are done where the network answers NaN.
    """
    model, rows = original, []
    for t in range(steps + 1):
        try:
            rows.append({"step": t} | lk.measure.evaluate(model, d, forget))
        except Diverged:
            break
        if t < steps:
            model = step(model, d.x[forget], d.y[forget], lr)
    return pd.DataFrame(rows), model


def by_hand(build, batches, d, forget, *, epochs, lr, batch_size, seed, order):
    """Plain SGD over batches(n, forget, batch_size, seed of the epoch). -> model

    seed: of the initial weights; order: of the first epoch's order of the rows.
    """
    model = build(seed).train()
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9)
    for epoch in range(epochs):
        for batch in batches(len(d.y), forget.cpu(), batch_size, (order + epoch) % 2**31):
            if len(batch):
                loss = torch.nn.functional.cross_entropy(model(d.x[batch]), d.y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return model.eval()


def same_batches(build, batches, d, forget, *, seed, **recipe):
    """Percent of test rows answered otherwise than by a model of all rows. -> dict

    same: trained without the forget set on the same batches less these rows; other: in another
    order of the rows. Both start from the same weights.
    """
    def answers(rows, order):
        model = by_hand(build, batches, d, rows, seed=seed, order=order, **recipe)
        return lk.training.predict(model, d.x_test).argmax(1)

    everything = answers(forget[:0], seed)
    return {name: 100 * (answers(forget, order) != everything).double().mean().item()
            for name, order in (("same", seed), ("other", seed + recipe["epochs"]))}


def _table(lists):
    return pd.DataFrame([row for rows in lists for row in rows])
