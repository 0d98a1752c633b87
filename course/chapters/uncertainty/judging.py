"""What the judge does: providers carry the requests out, and the answers are compared.

A record is a dict: i (victim), j (target), goal, budget, how, and what `attack.answer` says of it.
"""

import numpy as np
import pandas as pd

import labkit as lk
from labkit import attack
from labkit.training import parallel, predict

from .choosing import by_influence

STEP, SAME, FRESH = "first-order", "retrained, same seed", "retrained, fresh seed"
RANDOM = tuple(f"random {k}" for k in range(1, 5))


def controls_of(v):
    """Four random requests of the full budget to one victim: name -> row ids."""
    return dict(zip(RANDOM, attack.random_requests(v, len(RANDOM)), strict=True))


def stepped(v, request, tau):
    """The network after first-order unlearning; None where it diverged, which is a lost run."""
    try:
        model = lk.unlearn.first_order(v.model, v.data, request, tau=tau)
        predict(model, v.x)
        return model
    except lk.Diverged:
        return None


def after_step(victims, planned, controls, tau):
    """Records of all requests meant for first-order unlearning, and of the random ones.

    planned: (i, j) -> {(aim, goal, budget): row ids}; controls: one {name: row ids} a victim.
    """
    def chosen(job):
        (i, j), v = job, victims[job[0]]
        return [dict(i=i, j=j, goal=goal, budget=budget, how=STEP)
                | attack.answer(v, j, stepped(v, asked, tau))
                for (aim, goal, budget), asked in planned[job].items() if aim == "first-order"]

    def at_random(i):
        v = victims[i]
        return _each_target(i, v, STEP, {k: stepped(v, r, tau) for k, r in controls[i].items()})

    records = parallel(chosen, list(planned)) + parallel(at_random, range(len(victims)))
    return sum(records, [])


def after_retraining(victims, planned, controls, train, how):
    """The same for requests that have retraining in mind, eight networks trained at a time.

    how: SAME repeats each victim's own training without the rows; FRESH draws new initial weights
    and a new order for each network, and gets requests of the full budget only.
    """
    jobs = []
    for i, v in enumerate(victims):
        asked = [(j, goal, budget, rows) for (k, j), own in planned.items() if k == i
                 for (aim, goal, budget), rows in own.items() if aim == "retraining"]
        full = [a for a in asked if a[2] == v.held.budget]
        less = [a for a in asked if a[2] != v.held.budget and how == SAME]
        jobs += [(i, part[s:s + 8]) for part in (full, less) for s in range(0, len(part), 8)]

    def chosen(job):
        (i, part), v = job, victims[job[0]]
        first = (part[0][0], ("retraining", part[0][1]))
        models = train(v.data, _seeds(v, how, len(part), first), [rows for *_, rows in part])
        return [dict(i=i, j=j, goal=goal, budget=budget, how=how) | attack.answer(v, j, model)
                for (j, goal, budget, _), model in zip(part, models, strict=True)]

    def at_random(i):
        v = victims[i]
        models = train(v.data, _seeds(v, how, len(RANDOM), RANDOM[0]), list(controls[i].values()))
        return _each_target(i, v, how, dict(zip(RANDOM, models, strict=True)))

    return sum(parallel(chosen, jobs) + parallel(at_random, range(len(victims))), [])


def _seeds(v, how, count, first):
    return [v.seed] * count if how == SAME else lk.spawn_seeds(v.seed, count, f"fresh {first}")


def _each_target(i, v, how, models):
    return [dict(i=i, j=j, goal=name, budget=v.held.budget, how=how) | attack.answer(v, j, model)
            for name, model in models.items() for j in range(len(v.x))]


def against_random(records, controls=None):
    """Records as a table, each beside the mean of the random requests to the same target.

    controls: records of the random requests, where they are not among these. New columns:
    p_random, H_random (their means), dp, dH (the differences), move (nats in the intended
    direction: entropy down for "over", up for all other goals).
    """
    table = pd.DataFrame(records)
    beside = table if controls is None else controls
    mean = beside[beside.goal.isin(RANDOM)].groupby(["i", "j", "how"])[["p", "H"]].mean()
    table = table.join(mean.add_suffix("_random"), on=["i", "j", "how"])
    dp, dH = table.p - table.p_random, table.H - table.H_random
    return table.assign(dp=dp, dH=dH, move=np.where(table.goal == "over", -1, 1) * dH)


def of(table, how, goal):
    """The records of one goal under one way of unlearning, whole budget, by victim and target."""
    part = table[(table.how == how) & (table.goal == goal) & (table.budget == table.budget.max())]
    return part.sort_values(["i", "j"])


def crossings(table, act):
    """Whether the decision on a target changes under exact retraining: a row each, 1.0 or 0.0.

    low, high: seen by a person, acted on, after one random request; over, under: those of them that
    the chosen requests carry across; chance over, chance under: those that another random one does.
    """
    part = table[table.how == SAME]
    sides = {g: part[part.goal == g].sort_values(["i", "j"]) for g in ("over", "under", *RANDOM)}
    high = {g: side.top.to_numpy() >= act for g, side in sides.items()}
    one, two = (high[name] for name in RANDOM[:2])
    found = {"low": ~one, "high": one, "over": ~one & high["over"], "under": one & ~high["under"],
             "chance over": ~one & two, "chance under": one & ~two}
    return pd.DataFrame(found).astype(float).assign(i=sides["over"].i.to_numpy())


def spread(victims, controls, train, entropy):
    """γ: 1.96 times the RMS entropy difference of two models that only chance tells apart (nats).

    Each is retrained with a fresh seed after a random request; over all measured rows that could
    have been targets. entropy: (n, k) probabilities -> (n,).
    """
    def of_one(i):
        v, (x, y) = victims[i], victims[i].measure
        now = predict(v.model, x).softmax(1)
        sure = now.max(1).values
        fit = (now.argmax(1) == y) & (sure >= 0.6) & (sure <= 0.97)
        asked = list(controls[i].values())
        models = train(v.data, lk.spawn_seeds(v.seed, len(asked), "spread"), asked)
        H = [entropy(predict(m, x[fit]).softmax(1)) for m in models]
        return np.mean([(a - b).pow(2).mean().item() for k, a in enumerate(H) for b in H[:k]])

    return float(1.96 * np.sqrt(np.mean(parallel(of_one, range(len(victims))))))


def success(table, gamma):
    """1.0 where the entropy moved by more than γ as intended and the label is kept, else 0.0."""
    return ((table.move > gamma) & (table.kept == 1)).astype(float).to_numpy()


def luck(table, how, gamma):
    """The random requests judged in the same way, each against the mean of the other three.

    -> their records with two more columns, over and under: 1.0 where the entropy moved by more than
    γ in that direction and the label is kept: what chance alone reaches.
    """
    part = table[(table.how == how) & table.goal.isin(RANDOM)].sort_values(["i", "j", "goal"])
    of_target = part.groupby(["i", "j"]).H
    others = (of_target.transform("sum") - part.H) / (of_target.transform("count") - 1)
    rise, kept = part.H - others, part.kept == 1
    return part.assign(over=((-rise > gamma) & kept).astype(float),
                       under=((rise > gamma) & kept).astype(float))


def duel(table, gamma, names=None):
    """Exact retraining, a row each target: i, whether requests to make unsure and the label attack
    succeed (under, flip), whether the former keep the label (kept), and the share of the random
    requests that succeed (chance). names: i -> what the network is called.
    """
    under, flip = of(table, SAME, "under"), of(table, SAME, "flip")
    chance = luck(table, SAME, gamma).groupby(["i", "j"]).under.mean()
    return pd.DataFrame({"i": [names[i] if names else i for i in under.i.tolist()],
                         "under": success(under, gamma), "flip": success(flip, gamma),
                         "kept": under.kept.to_numpy(), "chance": chance.to_numpy()})


def contest(v, attacker, train, gamma):
    """`duel` on one more network, whose seed is its name."""
    asked, targets = dict(controls_of(v)), range(len(v.x))
    for j in targets:
        out = attack.logits_at(v.model, v.x[j])
        start = out(dict(v.model.named_parameters())).detach()
        effects = by_influence(v.model, v.held, out, attacker)
        asked |= {(j, g): attack.choose(attack.through(effects, start,
                                                       attacker.goals[g](v.label[j])), v.held).rows
                  for g in ("under", "flip")}
    models = dict(zip(asked, train(v.data, [v.seed] * len(asked), list(asked.values())),
                      strict=True))
    records = _each_target(v.seed, v, SAME, {name: models[name] for name in RANDOM})
    records += [dict(i=v.seed, j=j, goal=g, budget=v.held.budget, how=SAME)
                | attack.answer(v, j, models[j, g]) for j in targets for g in ("under", "flip")]
    return duel(against_random(records), gamma)
