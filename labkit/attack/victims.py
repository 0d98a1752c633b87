"""Victims: trained networks with the rows of each party, their targets, and what an attacker tunes.

Tuning uses other seeds than those that are judged: two numbers are taken from them, the step of
first-order unlearning that a provider would take, and how much influence overstates.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..data import Data
from ..measure.accuracy import evaluate
from ..measure.uncertainty import entropy
from ..training import predict
from ..unlearn.first_order import first_order
from .holdings import Holdings, hold
from .requests import baseline, choose, influence_effects, logits_at, through
from .uncertainty import margin, pick_targets


@dataclass(frozen=True)
class Victim:
    """A trained network, the rows of each party, and its targets.

    x (t, …), p (t, k), label (t ints): the targets, and what the network says of them before any
    request. held: what the attacker owns. validation, public, measure: the (inputs, labels) of the
    provider, of anybody, and of those who judge; targets are among the last.
    """

    seed: int
    data: Data
    model: torch.nn.Module
    held: Holdings
    x: torch.Tensor
    p: torch.Tensor
    label: list
    validation: tuple
    public: tuple
    measure: tuple


def victim(data, seed, train, *, targets, budget) -> Victim:
    """A network trained on a split of its own, whose attacker owns half of the training rows.

    train: (data, seeds, skip) -> networks, one a seed. The test rows are divided: 40 % validation,
    20 % public, 40 % to measure on. targets: how many are drawn by `pick_targets`; budget: rows
    that the attacker may ask for.
    """
    d = data.resplit(seed)
    model, m = train(d, [seed])[0], len(d.y_test)
    cuts = {"validation": slice(int(0.4 * m)), "public": slice(int(0.4 * m), int(0.6 * m)),
            "measure": slice(int(0.6 * m), None)}
    parts = {name: (d.x_test[cut], d.y_test[cut]) for name, cut in cuts.items()}
    x, y = parts["measure"]
    p = predict(model, x).softmax(1)
    picked = pick_targets(p, y, targets, seed)
    owned = np.random.default_rng(seed).permutation(len(d.y))[: len(d.y) // 2]
    return Victim(seed, d, model, hold(d, owned, budget), x[picked], p[picked],
                  p[picked].argmax(1).tolist(), **parts)


def answer(victim, j, model) -> dict:
    """What a model says of target j. model: None for a lost run, which answers NaN.

    p: probability of the label, H: entropy in nats, kept: 1 where the label is kept, else 0, top:
    largest probability.
    """
    if model is None:
        return dict.fromkeys(("p", "H", "kept", "top"), np.nan)
    p = predict(model, victim.x[[j]]).softmax(1)
    return dict(p=p[0, victim.label[j]].item(), H=entropy(p).item(),
                kept=float(p.argmax() == victim.label[j]), top=p.max().item())


def random_requests(victim, count) -> list:
    """Requests of the full budget without a thought: what every chosen one is compared with."""
    return [baseline("random", victim.held, victim.seed % 10**6 + i) for i in range(count)]


def step_sizes(data, seed, train, *, budget, taus) -> list:
    """UA and TA of first-order unlearning less those of retraining, for each tau, points.

    Two random requests to one network. -> rows with seed, tau, UA, TA.
    """
    d, rows = data.resplit(seed), []
    model, rng = train(d, [seed])[0], np.random.default_rng(seed)
    tried = [torch.from_numpy(rng.permutation(len(d.y))[:budget]).to(d.device) for _ in range(2)]
    for request, exact in zip(tried, train(d, [seed] * 2, tried), strict=True):
        there = evaluate(exact, d, request)
        for tau in taus:
            here = evaluate(first_order(model, d, request, tau=tau), d, request)
            rows.append({"seed": seed, "tau": tau} | {k: here[k] - there[k] for k in here})
    return rows


def influence_against_retraining(victim, train, goals, *, targets, **settings) -> list:
    """Margin changes that influence predicts for chosen requests, and those of retraining.

    goals: name -> (label -> goal); each for the first `targets`, with a third of the budget and
    with all of it. settings: of `influence_effects`. -> rows with seed, goal, j, predicted, real
    (logits).
    """
    rows, requests, held = [], [], victim.held
    for j in range(targets):
        out, label = logits_at(victim.model, victim.x[j]), victim.label[j]
        start = out(dict(victim.model.named_parameters())).detach()
        effects = influence_effects(victim.model, held, out, **settings)
        for name, goal in goals.items():
            for budget in (held.budget // 3, held.budget):
                picked = choose(through(effects, start, goal(label)),
                                held.with_budget(budget)).rows
                moved = start + effects[torch.isin(held.rows, picked)].sum(0)
                change = margin(moved, label) - margin(start, label)
                rows.append({"seed": victim.seed, "goal": name, "j": j,
                             "predicted": change.item()})
                requests.append(picked)
    networks = train(victim.data, [victim.seed] * len(requests), requests)
    for row, model in zip(rows, networks, strict=True):
        now, before = (predict(m, victim.x[[row["j"]]])[0] for m in (model, victim.model))
        label = victim.label[row["j"]]
        row["real"] = (margin(now, label) - margin(before, label)).item()
    return rows
