"""One network, one request, every method: what is trained, unlearned and measured of it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import sqrt
from typing import NamedTuple

import numpy as np
import torch

from labkit import training, unlearn
from labkit.base import Diverged, LabError
from labkit.measure import accuracy, timed
from labkit.models import n_weights

from .code import finetune_masked, fit_masked, prune_then
from .distances import weight_distance
from .extras import network

COLUMNS = ["UA", "MIA", "RA", "TA"]
# What a method's network counts that diverged: wrong everywhere.
LOST = {"UA": 100.0, "MIA": 100.0, "RA": 0.0, "TA": 0.0}
# How far from the original a setting takes these two, whose direction hangs on no setting: with one
# network all others of the grid are there.
STRAIGHT = {"influence": ("scale", float), "Fisher": ("alpha", sqrt)}


class Network(NamedTuple):
    """A trained network before unlearning: its split, seed and share of zeros; mask None: dense."""

    data: object
    seed: int
    sparsity: float
    model: torch.nn.Module
    mask: dict | None
    cpu: float  # seconds to get it


@dataclass
class Study:
    """What all experiments share.

    build: seed -> fresh network; recipe: fit's settings; mask: (dense network, sparsity) -> mask;
    prune: (build, data, seed, mask) -> sparse network; disparity: (row, row) -> points; methods:
    name -> function; grid: name -> its settings to try; fixed: name -> the settings that stay;
    chosen: name -> place in its grid, once the rule has been applied; probe: network -> % on a new
    task; done: (seed, sparsity, asked, method, place) -> a network that is there already.
    """

    data: object
    build: Callable
    recipe: dict
    mask: Callable
    prune: Callable
    disparity: Callable
    methods: dict
    grid: dict
    fixed: dict
    chosen: dict = field(default_factory=dict)
    probe: Callable | None = None
    done: dict = field(default_factory=dict)


def on(method, mask):
    """The method itself for a dense network; for a sparse one the method that keeps the mask."""
    if mask is None:
        return method
    if method is unlearn.finetune:
        return partial(finetune_masked, mask=mask)
    return prune_then(method, mask)


def attempt(function, *args, **settings):
    """What the function gives, or None where a method's network diverged: no model to release."""
    try:
        return function(*args, **settings)
    except Diverged:
        return None


def parallel(job, items, keep=None):
    """training.parallel. Methods are attempted, so what diverges is an original or retrained."""
    try:  # a kept result is named after its function, and a partial has no name
        return training.parallel(lambda item: job(item), items, keep=keep)
    except Diverged:
        raise LabError("An original or a retrained network diverged, and all others are compared "
                       "with it: lower lr in the cell of the settings.") from None


def originals(study, job, folder=None):
    """(seed, sparsities) -> its networks before unlearning. folder: keeps them for a stopped run.
    """
    (seed, sparsities), data = job, study.data.resplit(job[0])
    dense, spent = network(folder, f"{seed} dense", study.build(seed), lambda: training.fit(
        study.build(seed), data.x, data.y, seed=seed, **study.recipe))
    found = [Network(data, seed, 0.0, dense, None, spent)]
    for s in sparsities[1:]:
        mask = study.mask(dense, s)
        model, more = network(folder, f"{seed} {s}", study.build(seed),
                              lambda mask=mask: study.prune(study.build, data, seed, mask))
        found.append(Network(data, seed, s, model, mask, spent + more))
    return found


def asked_rows(net, asked):
    """The rows of a request: a class by its number, or "random", a tenth of all."""
    if asked == "random":
        return net.data.forget_random(0.1, net.seed)
    return net.data.forget_class(asked)


def retrain(study, data, seed, mask, forget):
    """Retraining without the rows, under the mask: same first weights, same batches less them."""
    how = dict(seed=seed, skip=forget, **study.recipe)
    if mask is None:
        return training.fit(study.build(seed), data.x, data.y, **how)
    return fit_masked(study.build(seed), mask, data.x, data.y, **how)


def unlearned(study, net, asked, name, places):
    """[(network or None where it diverged, CPU seconds)] of a method at these places of its grid.
    """
    def one(i):
        ready = study.done.get((net.seed, net.sparsity, asked, name, i))
        if ready is not None:
            return ready, 0.0
        settings = study.fixed[name] | study.grid[name][i]
        if name == "SalUn":  # half of the weights that are left
            gone = sum(int((~keep).sum()) for keep in (net.mask or {}).values())
            settings["share"] = 0.5 * (1 - gone / n_weights(net.model))
        model, spent = timed(attempt, on(study.methods[name], net.mask), net.model, net.data,
                             asked_rows(net, asked), **settings)
        return model, spent.cpu_seconds

    if name not in STRAIGHT or len(places) == 1:
        return [one(i) for i in places]
    knob, length = STRAIGHT[name]
    steps = [length(study.grid[name][i][knob]) for i in places]
    last, spent = one(places[int(np.argmax(steps))])
    if last is None:
        return [one(i) for i in places]
    return [(along(net.model, last, step / max(steps)), spent) for step in steps]


@torch.no_grad()
def along(model, moved, share):
    """A network on the straight line from `model` (share 0) to `moved` (share 1)."""
    found = copy.deepcopy(moved)
    for p, start in zip(found.parameters(), model.parameters(), strict=True):
        p.copy_(start + share * (p - start))
    return found


def score(model, data, forget):
    """UA, MIA-efficacy, RA and TA in percent. Diverged: the network answers NaN."""
    split = data.split(forget)
    x, y = data.x_test[split.test], data.y_test[split.test]
    # 256 rows at a time are faster than the usual 512
    logits, logits_test = (training.predict(model, rows, 256) for rows in (data.x, x))
    gone, kept = (accuracy(logits[rows], data.y[rows]) for rows in (split.forget, split.retain))
    sure, sure_test = (z.double().softmax(1).gather(1, right[:, None]).cpu().numpy()
                       for z, right in ((logits, data.y), (logits_test, y)))
    retained, forgotten = (sure[rows.cpu().numpy()] for rows in (split.retain, split.forget))
    return {"UA": 100 - gone, "MIA": _efficacy(retained, sure_test, forgotten), "RA": kept,
            "TA": accuracy(logits_test, y)}


def _efficacy(retained, test, forgotten):
    """Percent of the forgotten that an SVC, fitted to retained and test rows, calls non-member."""
    from sklearn.svm import SVC  # a second to import, which other notebooks need not wait

    n = min(len(retained), len(test))
    attack = SVC(C=3, gamma="auto", kernel="rbf")
    attack.fit(np.concatenate([retained[:n], test[:n]]), np.repeat([1, 0], n))
    return float(100 * (attack.predict(forgotten) == 0).mean())


def contest(study, job):
    """One network, one request, all methods of the plan, and retraining with the same mask.

    job: (network, asked, method -> places in its grid). -> rows (dicts): method, setting, the four
    measures, gap (the disparity), cpu, distance (of the weights to the retrained ones), lost.
    """
    net, asked, plan = job
    forget = asked_rows(net, asked)
    exact, spent = timed(reference, study, net, asked)
    target = score(exact, net.data, forget)
    rows = [dict(method="retrained", setting=-1, cpu=spent.cpu_seconds, distance=0.0, **target),
            dict(method="original", setting=-1, cpu=0.0,
                 distance=weight_distance(net.model, exact),
                 **score(net.model, net.data, forget))]
    digits = {0: study.probe(exact)} if study.probe and net.mask is None else {}
    for name, places in plan.items():
        for i, (after, cpu) in zip(places, unlearned(study, net, asked, name, places),
                                   strict=True):
            found = attempt(score, after, net.data, forget) if after else None
            if digits and name == "l1" and i == study.chosen.get("l1"):
                # diverged: no features, chance
                digits[len(rows)] = (attempt(study.probe, after) if found else None) or 10.0
            rows.append(dict(method=name, setting=i, cpu=cpu, lost=not found,
                             distance=weight_distance(after, exact) if found else np.nan,
                             **found or LOST))
    return [dict(lost=False) | row | dict(
        seed=net.seed, asked=asked, sparsity=net.sparsity, gap=study.disparity(row, target),
        digits=digits.get(i, np.nan)) for i, row in enumerate(rows)]


def reference(study, net, asked):
    """The retrained network of a request, with the network's own mask; one that is there already.
    """
    ready = study.done.get((net.seed, net.sparsity, asked, "retrained", -1))
    return ready or retrain(study, net.data, net.seed, net.mask, asked_rows(net, asked))
