"""Requests that widen the gap between two groups of applicants, and what they are compared with."""

from dataclasses import dataclass

import numpy as np
import torch

from labkit import attack

from .logit import (
    Table,
    answers,
    first_order,
    fit_logistic,
    influence_on_gap,
    sisa_answers,
)

SHARE = 0.05  # of all rows, what may be asked for at most
TAUS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
SHARDS = 3
PLAIN = ("random", "same groups", "same groups and labels", "approved of the group")


@dataclass(frozen=True)
class Panel:
    """Held-out applicants of one split, and what each version answers them.

    yes, group (n,): their label and group; before, after: name -> probability of a yes (n,).
    after is keyed (release, request, share of rows); asked: request -> rows in the full request.
    """

    yes: np.ndarray
    group: np.ndarray
    before: dict
    after: dict
    asked: dict


def tables(data) -> tuple[Table, Table]:
    """Training and held-out rows; the favourable label is the first class (approved)."""
    return tuple(Table(x.double().numpy(), (y == 0).numpy().astype(int), g.numpy()) for x, y, g in (
        (data.x, data.y, data.groups), (data.x_test, data.y_test, data.groups_test)))


def owner(data, seed, share=SHARE):
    """Somebody who owns half of the training rows, and the groups of those. -> Holdings, (m,)"""
    rows = torch.randperm(len(data.y), generator=torch.Generator().manual_seed(seed))
    rows = rows[: len(rows) // 2].sort().values
    held = attack.hold(data, rows, int(share * len(data.y)))
    return held, data.groups[rows].numpy()


def own_table(held, group) -> Table:
    """The owner's rows as a table."""
    return Table(held.x.double().numpy(), (held.y == 0).numpy().astype(int), group)


def compared(chosen, held, group, seed) -> dict:
    """Random requests as large as the chosen one: of any rows; with as many of each group; with as
    many of each group and label; of approved applicants of group 1. -> name -> row ids
    """
    own, draw = own_table(held, group), np.random.default_rng(seed)
    rows, size = held.rows.numpy(), len(chosen)
    picked = np.isin(rows, chosen.numpy())
    keys = {"random": np.zeros(len(rows), int), "same groups": own.group,
            "same groups and labels": 2 * own.group + own.yes}
    found = {name: np.concatenate([draw.choice(rows[key == k], (picked & (key == k)).sum(), False)
                                   for k in np.unique(key)]) for name, key in keys.items()}
    deserving = rows[(own.group == 1) & (own.yes == 1)]
    found["approved of the group"] = draw.choice(deserving, min(size, len(deserving)), False)
    return {name: np.sort(found[name]).astype(int) for name in PLAIN}


def trial(data, ridge, tau, request, shares, seed) -> Panel:
    """One split: an owner's requests, and the answers to the held-out rows before and after.

    request: (scores, rows, budget) -> row ids; shares: of the rows, from small to SHARE.
    """
    d = data.resplit(seed)
    train, panel = tables(d)
    before, after, asked = {}, {}, {}
    held, group = owner(d, seed)
    own = own_table(held, group)

    def choose(w, share=SHARE, balanced=True, sign=1):
        score = torch.from_numpy(sign * influence_on_gap(w, own, held.n, ridge, balanced))
        picked = request(score, held.rows, int(share * held.n))
        return attack.check_request(picked, held)

    for balanced, name in ((True, "exact"), (False, "unweighted")):
        w = fit_logistic(train, ridge, balanced)
        before[name] = answers(w, panel.x)
        for share in shares if balanced else shares[-1:]:
            chosen = choose(w, share, balanced)
            asked = {"chosen": chosen.numpy()} | compared(chosen, held, group, seed)
            if balanced:  # influential and harmless: it helps group 1
                asked["turned round"] = choose(w, share, sign=-1).numpy()
            for kind, rows in asked.items():
                again = fit_logistic(train.without(rows), ridge, balanced)
                after[name, kind, share] = answers(again, panel.x)
    w = fit_logistic(train, ridge)
    before["first-order"] = before["exact"]
    before["SISA"] = sisa_answers(train, panel.x, ridge, SHARDS, seed)
    blind = choose(fit_logistic(own, ridge))  # a surrogate, trained on nothing but own rows
    for kind, rows in ({"chosen": blind.numpy()} | compared(blind, held, group, seed)).items():
        if kind in ("chosen", *PLAIN[:2]):
            kept = fit_logistic(train.without(rows), ridge)
            after["exact, surrogate", kind, SHARE] = answers(kept, panel.x)
            step = first_order(w, train, rows, tau)
            after["first-order", kind, SHARE] = answers(step, panel.x)
            after["SISA", kind, SHARE] = sisa_answers(train, panel.x, ridge, SHARDS, seed, rows)
    before["exact, surrogate"] = before["exact"]
    return Panel(panel.yes, panel.group, before, after, asked)


def tune_tables(data, seeds):
    """Ridge with the best balanced accuracy on held-out rows, and the τ whose answers are nearest
    to retraining's after random requests. -> (ridge, τ)
    """
    def balanced(w, t):
        said = answers(w, t.x) >= 0.5
        return np.mean([said[t.yes == 1].mean(), 1 - said[t.yes == 0].mean()])

    splits = [(tables(d), owner(d, s)[0].rows.numpy()) for s in seeds for d in [data.resplit(s)]]
    ridge = max(RIDGES, key=lambda r: np.mean([balanced(fit_logistic(a, r), b)
                                               for (a, b), _ in splits]))
    errors = np.zeros(len(TAUS))
    for (train, panel), rows in splits:
        gone = rows[:: max(1, round(0.5 / SHARE))]  # one own row in ten: a twentieth of all
        w, kept = fit_logistic(train, ridge), fit_logistic(train.without(gone), ridge)
        there = answers(kept, panel.x)
        errors += [np.abs(answers(first_order(w, train, gone, t), panel.x) - there).mean()
                   for t in TAUS]
    return ridge, TAUS[int(errors.argmin())]


def bootstrap(p, panel, count, seed) -> np.ndarray:
    """Signed gaps on held-out rows drawn anew with replacement, the deserving of each group among
    themselves. -> (count,)
    """
    draw, said = np.random.default_rng(seed), p >= 0.5
    parts = [said[(panel.yes == 1) & (panel.group == g)] for g in (0, 1)]
    means = [draw.choice(part, (count, len(part))).mean(1) for part in parts]
    return means[0] - means[1]
