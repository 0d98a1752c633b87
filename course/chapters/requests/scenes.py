"""Two longer attacks on one target: rows prepared before training, requests over time."""

from dataclasses import replace

import numpy as np
import torch

from labkit import attack, defend
from labkit.base import Diverged, spawn_seeds
from labkit.measure import accuracy
from labkit.training import parallel, predict
from labkit.unlearn import first_order

from .beside import beside
from .code import at_once, campaign, craft, replan, spread
from .ways import unlearned


def planted(victim, j, rows, mine, train, unlearn, *, eps) -> dict:
    """Rows prepared for target j: the victim trained on them, before and after they are asked for.

    mine: the attacker's own network, on which the rows are prepared; unlearn: (victim, rows) ->
    model; eps: in normalised pixels. p of the label before and after, for the prepared and for the
    same genuine rows; after exact retraining; pictures: the first prepared rows.
    """
    label, x = victim.label[j], victim.data.x.clone()
    z = predict(mine, victim.x[[j]])[0]
    other = z.index_fill(0, torch.tensor([label], device=z.device), -torch.inf).argmax()
    x[rows] = craft(mine, x[rows], victim.data.y[rows], victim.x[j], int(other), eps=eps,
                    low=victim.held.x.min(), high=victim.held.x.max())
    data = replace(victim.data, x=x)
    poisoned = replace(victim, data=data, model=train(data, [victim.seed])[0])
    pairs = {"": poisoned, "genuine ": victim}
    found = {}
    for name, v in pairs.items():
        before, after = (attack.answer(victim, j, m)
                         for m in (v.model, unlearned(v, unlearn, rows)))
        found |= {f"{name}before": before["p"], f"{name}after": after["p"],
                  f"{name}flipped": float(before["kept"] > after["kept"])}
        again = train(v.data, [v.seed], [rows])[0]
        found[f"{name}retrained"] = attack.answer(victim, j, again)["p"]
    test = [accuracy(predict(v.model, v.measure[0]), v.measure[1]) for v in pairs.values()]
    return found | dict(test=test[0] - test[1], pictures=x[rows[:7]].cpu())


def own_network(victim, train):
    """What the attacker trains on its own rows, by the recipe that the provider publishes."""
    held = victim.held
    mine = replace(victim.data, x=held.x, y=held.y, noisy=held.rows[:0])
    return train(mine, spawn_seeds(victim.seed, 3, "surrogate")[:1])[0]


def fresh_objective(victim, j, tau):
    """(model, holdings) -> ω -> margin of target j, through effects at that model."""
    def objective(model, held):
        out = attack.logits_at(model, victim.x[j])
        effects = attack.first_order_effects(model, held, out, tau=tau)
        start = out(dict(model.named_parameters())).detach()
        return attack.through(effects, start, attack.label_flip(victim.label[j]))

    return objective


def flips_at_once(victim, tau, budgets, targets) -> list:
    """Share of the first targets that one request of each budget flips. -> (budgets,)"""
    share = []
    for b in budgets:
        held = victim.held.with_budget(b)
        flips = []
        for j in range(targets):
            objective = fresh_objective(victim, j, tau)(victim.model, victim.held)
            asked = attack.choose(objective, held, steps=8).rows
            model = unlearned(victim, lambda v, r: first_order(v.model, v.data, r, tau=tau),
                              asked)
            flips.append(attack.answer(victim, j, model)["kept"] == 0)
        share.append(np.mean(flips))
    return share


def over_time(victim, j, receding, *, tau, budget, size, rounds) -> list:
    """Target j after a campaign, for each plan: plan, kept, margin (logits), test and others (%).

    receding: a plan as `campaign` takes it; size: rows of the benign request after each round.
    NaN where the network diverged, which is a lost run.
    """
    held, objective = victim.held.with_budget(budget), fresh_objective(victim, j, tau)
    others = defend.benign("one-user", victim.data, size, rounds, 7 * j + 1)
    once, rows = attack.choose(objective(victim.model, held), held, steps=8).rows, []
    plans = {"random, spread": spread(attack.baseline("random", held, 10 * j + 3)),
             "at once": at_once(once), "spread": spread(once),
             "greedy": replan(objective, "greedy"), "receding horizon": receding}
    for name, plan in plans.items():
        row = dict.fromkeys(("rows", "margin", "test", "others", "kept"), np.nan)
        row |= dict(j=j, plan=name)
        rows.append(row)
        try:
            model, asked = campaign(victim.model, held, plan,
                                    lambda m, r: first_order(m, victim.data, r, tau=tau), others)
            z, also = predict(model, victim.x[[j]])[0], beside(victim, model, [j])[0]
        except Diverged:
            continue
        row |= attack.answer(victim, j, model) | also | dict(
            rows=len(asked), margin=attack.margin(z, victim.label[j]).item())
    return rows


def campaigns(victims, jobs, receding, *, tau, **settings) -> list:
    """`over_time` for every (victim, target) of jobs. receding: (victim, target) -> plan."""
    def one(job):
        v, j = victims[job[0]], job[1]
        return [dict(i=job[0]) | row for row in over_time(v, j, receding(v, j), tau=tau,
                                                          **settings)]

    return sum(parallel(one, jobs), [])
