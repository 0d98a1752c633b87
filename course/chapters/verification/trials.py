"""The owners' side of the experiment: rows with triggers, six providers, questions, and who passes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from labkit import measure, models, training, unlearn, verify
from labkit.attack import BlackBox
from labkit.base import Diverged, NotForThisData, spawn_seeds

from . import provider
from .owners import critical_value, decide, fresh_rate, make_trigger, miss_rate, planted_rate, pool
from .replay import floor
from .replay import verify as replayed

PROVIDERS = ("honest", "ignores", "edits the log", "forges", "nearest", "search")
QUERIES, ALPHA = 30, 1e-3
PLAIN = dict(momentum=0, weight_decay=0, schedule="constant")  # what a log can replay step by step


@dataclass(frozen=True)
class World:
    """What all runs share.

    data: as loaded; model, settings: of labkit.models.build; recipe: epochs, lr, batch_size;
    owners, each: how many, rows of each; candidates: sets that the search tries a batch; place: a
    folder for logs.
    """

    data: Any
    model: str
    settings: dict
    recipe: dict
    owners: int
    each: int
    candidates: int
    place: Path

    def build(self, seed):
        """A fresh network; the same seed gives the same initial weights."""
        return models.build(self.model, self.data, seed, **self.settings)

    def drawn(self, seed, m):
        """m random training rows, sorted: a stream of its own, as training draws from `seed`."""
        draw = torch.Generator().manual_seed(spawn_seeds(seed, 1, "rows")[0])
        return torch.randperm(len(self.data.y), generator=draw)[:m].sort().values


def planted(world, seed, owners=None, each=None, purpose="triggers"):
    """A split in which each owner has stamped half of its rows.

    owners, each: other numbers than the world's. -> (data, rows (owners, each) int64, triggers)
    """
    owners, each = owners or world.owners, each or world.each
    d, owned = world.data.resplit(seed), world.drawn(seed, owners * each)
    order = torch.randperm(len(owned), generator=torch.Generator().manual_seed(seed))
    owned, white = owned[order].view(owners, each), float(((1 - d.mean) / d.std).max())
    triggers = [make_trigger(d.shape, d.n_classes, s, pixels=16, value=white)
                for s in spawn_seeds(seed, owners, purpose)]
    for rows, trigger in zip(owned, triggers, strict=True):
        d, _ = verify.plant(d, rows, trigger, seed=seed)
    return d, owned, triggers


def tried(provide, d, *args, **settings):
    """A provider's (model, log), or None where a cheat's network diverges: one lost run."""
    try:
        answer = provide(d, *args, **settings)
        for x in (d.x, d.x_test):
            training.predict(answer[0], x)  # refuses a network that answers NaN
    except Diverged:
        if provide is provider.honest:
            raise
        return None
    return answer


def answers(world, seed):
    """What every provider answers when all owners ask for deletion, and the original.

    -> dict name -> (model, folder of its log); a cheat that diverged is missing.
    """
    (d, owned, _), folder = planted(world, seed), world.place / f"matrix-{seed}"
    forget, common = gone(owned), dict(build=world.build, seed=seed, **world.recipe)
    model, log = provider.honest(d, (), folder / "original", **common)
    out = {"original": (model, log),
           "honest": provider.honest(d, forget, folder / "honest", **common)}
    out["ignores"] = provider.ignore(model, log, folder / "ignores")
    out["edits the log"] = provider.edit_log(model, log, folder / "edits", forget)
    *out["forges"], _ = provider.forge(log, d, forget, folder / "forges", build=world.build,
                                       seed=seed)
    out["nearest"] = tried(provider.adversarial_nearest, d, forget, folder / "nearest", **common)
    out["search"] = tried(provider.adversarial_search, d, forget, folder / "search",
                          candidates=world.candidates, **common)
    return {name: answer for name, answer in out.items() if answer is not None}


def gone(owned) -> torch.Tensor:
    """All owners' rows in one sorted list. (owners, each) -> (owners · each,)"""
    return owned.flatten().sort().values


def _questions(d, trigger, key, test) -> torch.Tensor:
    """Test pictures of other classes: thirty for the test, or the others to measure rates on."""
    order = torch.randperm(len(d.y_test), generator=torch.Generator().manual_seed(key)).to(d.device)
    order = order[d.y_test[order] != trigger.label]
    return d.x_test[order[:QUERIES] if test else order[QUERIES:]]


def rates(model, d, triggers, seed) -> list:
    """How often a model answers each owner's label: [(p with its trigger, q with fresh ones)]."""
    box, out = BlackBox(model), []
    for i, t in enumerate(triggers):
        x = _questions(d, t, seed + i, test=False)
        out.append((planted_rate(box, x[:200], t), fresh_rate(box, x, t, d.shape, seed + i)))
    return out


def ask(d, triggers, before, after, seed) -> list:
    """One test an owner: thirty questions to the model `after`. No test where no trigger took.

    Decided with the q of the old model (before: its rates) and with that of the new one (…_now).
    -> [dict(owner, label, hits, p, q, q_now, deleted, deleted_now, beta, beta_now, …)]
    """
    out, box, now = [], BlackBox(after), rates(after, d, triggers, seed)
    for i, (t, (p, q), (_, q_now)) in enumerate(zip(triggers, before, now, strict=True)):
        if p > q:
            hits, m = verify.hits(box, _questions(d, t, seed + i, test=True), t)
            k_now = critical_value(m, q_now, ALPHA)
            out.append(dict(owner=i, p=p, q=q, q_now=q_now, hits=hits, deleted_now=hits <= k_now,
                            beta_now=miss_rate(m, p, k_now), label=t.label,
                            **vars(decide(hits, m, p, q, ALPHA))))
    return out


def trial(world, seed, given=None) -> list:
    """All providers of one seed, both checks; given: the answers, if they are there already.

    -> a dict a provider: lists over owners as in ask, and provider, seed, pooled, replay (bool),
    noise (the replay's floor), error (its largest), reasons
    """
    d, owned, triggers = planted(world, seed)
    given, rows = given or answers(world, seed), []
    noise = floor(given["original"][1], d, world.build)  # not the log that it judges
    before = rates(given["original"][0], d, triggers, seed)
    for name in [p for p in PROVIDERS if p in given]:
        model, log = given[name]
        if not (tests := ask(d, triggers, before, model, seed)):
            raise NotForThisData("No owner's trigger took: take more training images.")
        column = {c: [test[c] for test in tests] for c in tests[0]}
        together = pool(column["hits"], QUERIES, column["p"], column["q"])
        report = replayed(log, d, model, gone(owned), tolerance=10 * noise, build=world.build,
                          init_seed=seed, recipe=world.recipe)
        rows.append(dict(column, provider=name, seed=seed, pooled=together.deleted,
                         replay=report.verified, noise=noise, reasons=report.reasons,
                         error=float(report.errors.max())))
    return rows


def all_trials(world, seeds, given) -> pd.DataFrame:
    """trial for each seed, side by side. given: the answers of the first seed's providers."""
    rest = training.parallel(lambda s: trial(world, s), seeds[1:])
    return pd.DataFrame(trial(world, seeds[0], given) + sum(rest, []))


def passing(matrix) -> dict:
    """provider -> three (mean, low, high): share that passes of single tests, pooled, replays."""
    out = {}
    for name, g in matrix.groupby("provider", sort=False):
        single, networks = np.concatenate(g.deleted.tolist()), np.repeat(g.seed, g.deleted.map(len))
        # owners of one seed ask one network
        out[name] = [measure.interval(single, networks, (0, 1)),
                     *(measure.interval(g[check], limits=(0, 1)) for check in ("pooled", "replay"))]
    return out


def _accused(world, s) -> list:
    """One seed of accused_runs."""
    d, owned, triggers = planted(world, s)
    plain = dict(world.recipe, seed=s, **PLAIN)
    old = training.fit(world.build(s), d.x, d.y, **plain)
    new = unlearn.retrain(old, d, owned.flatten(), build=world.build, **plain)
    labels = {"bare_old": training.predict(old, d.x_test).argmax(1),
              "bare": training.predict(new, d.x_test).argmax(1)}
    out = ask(d, triggers, rates(old, d, triggers, s), new, s)
    for test in out:
        others = d.y_test != test["label"]
        test.update({name: float((given[others] == test["label"]).float().mean())
                     for name, given in labels.items()}, seed=s)
    return out


def accused_runs(world, seeds) -> pd.DataFrame:
    """An honest provider for each seed (no log), asked by its owners: a row a test.

    As in ask, and seed; bare, bare_old: how often the new model and the old give the owner's label
    to pictures of other classes without any trigger.
    """
    return pd.DataFrame(sum(training.parallel(lambda s: _accused(world, s), seeds), []))


def accusations(tests, matrix, rates) -> pd.DataFrame:
    """A table: honest tests that accuse, with their share, and how many catch who ignores.

    tests: as from accused_runs; matrix: as from all_trials; rates: dict 'deleted' (q of the old
    model) and 'deleted_now' (of the new) -> (mean, low, high) of accusations
    """
    idle = matrix[matrix.provider == "ignores"]
    return pd.DataFrame([{
        "q measured on": "the old model (published)" if c == "deleted" else "the new one (ours)",
        "honest providers accused": f"{(~tests[c]).sum()} of {len(tests)} tests",
        "per cent": f"{100 * m:.1f} [{100 * low:.1f}, {100 * high:.1f}]",
        "ignoring providers caught, %":
            f"{100 - 100 * np.concatenate(idle[c].tolist()).mean():.0f}"}
        for c, (m, low, high) in rates.items()])


def _strength(world, job) -> list:
    """One network of strengths. job: (owners, rows of each, seed)."""
    owners, each, s = job
    d, _, triggers = planted(world, s, owners, each, "few")
    model = training.fit(world.build(s), d.x, d.y, seed=s, **PLAIN, **world.recipe)
    box = BlackBox(model)
    p = [planted_rate(box, d.x_test[:300], t, d.y_test[:300]) for t in triggers]
    q = [fresh_rate(box, d.x_test, t, d.shape, s, d.y_test) for t in triggers]
    return [dict(owners=owners, each=each, seed=s, p=a, q=b,
                 escape=decide(0, QUERIES, a, b).beta if a > b else 1.0)
            for a, b in zip(p, q, strict=True)]


def strengths(world, sizes, seeds) -> pd.DataFrame:
    """p, q and the chance to escape (escape) of each owner, for each (owners, rows of each), seed.
    """
    jobs = [(*size, s) for size in sizes for s in seeds]
    return pd.DataFrame(sum(training.parallel(lambda job: _strength(world, job), jobs), []))
