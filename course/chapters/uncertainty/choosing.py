"""What the attacker does: what it has tuned, the requests that it chooses, with weights or without.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch

from labkit import attack
from labkit.training import parallel

from .effects import zeroth_order_effects
from .estimates import check_target


@dataclass(frozen=True)
class Attacker:
    """What an attacker knows before it sees its victim.

    goals: name -> (label -> (logits (k,) -> loss)); tau: the provider's step, as published; shrink:
    what retraining does, as a share of what influence predicts; damping: the weight decay of the
    training recipe.
    """

    goals: dict[str, Callable]
    tau: float
    shrink: float
    damping: float


def provider_step(rows, at_most):
    """The largest tau whose test accuracy is at most `at_most` points below that of retraining.

    rows: of `attack.step_sizes`. The smallest tau where none is.
    """
    found = {}
    for row in rows:
        found.setdefault(row["tau"], []).append(row["TA"])
    fine = [tau for tau, less in found.items() if np.mean(less) >= -at_most]
    return max(fine, default=min(found))


def overstated(rows):
    """Slope through the origin: what retraining does, as a share of what influence predicts.

    rows: of `attack.influence_against_retraining`. Kept between 0.05 and 1.
    """
    predicted, real = (np.array([row[k] for row in rows]) for k in ("predicted", "real"))
    return float(np.clip((predicted * real).sum() / (predicted**2).sum(), 0.05, 1.0))


def by_influence(model, held, out, attacker):
    """How deleting each owned row moves out(θ) under retraining, as the attacker expects it."""
    return attacker.shrink * attack.influence_effects(model, held, out, damping=attacker.damping,
                                                      n_rows=200, cg_steps=8)


def through_the_step(v, j, goal, tau, budget, steps=12):
    """The request that makes the goal smallest at target j after first-order unlearning."""
    out, step = attack.logits_at(v.model, v.x[j]), attack.removal(v.model, v.held, tau=tau)
    return attack.choose(lambda w: goal(out(step(w))), v.held.with_budget(budget), steps=steps).rows


def requests_for(v, j, attacker, budgets):
    """All requests chosen against one target: (aim, goal, budget) -> row ids.

    Aimed at retraining through influence, at first-order unlearning through its very step; budgets
    below the full one, at over- and under-confidence alone, through the step's linear effects.
    """
    check_target(v.x[j], v.p[j], v.label[j], v.held)
    out = attack.logits_at(v.model, v.x[j])
    start = out(dict(v.model.named_parameters())).detach()
    effects = {"first-order": attack.first_order_effects(v.model, v.held, out, tau=attacker.tau),
               "retraining": by_influence(v.model, v.held, out, attacker)}
    chosen = {}
    for name, goal in attacker.goals.items():
        wish = goal(v.label[j])
        chosen["first-order", name, v.held.budget] = through_the_step(v, j, wish, attacker.tau,
                                                                      v.held.budget)
        for (aim, moved), budget in product(effects.items(), budgets):
            less = budget < v.held.budget
            if aim == "retraining" and not less or less and name != "flip":
                chosen[aim, name, budget] = attack.choose(attack.through(moved, start, wish),
                                                          v.held.with_budget(budget)).rows
    return {k: attack.check_request(rows, v.held) for k, rows in chosen.items()}


def plan(victims, attacker, budgets, few):
    """`requests_for` every target: (i, j) -> requests; the first few of a victim with all budgets.
    """
    jobs = [(i, j) for i, v in enumerate(victims) for j in range(len(v.x))]
    return dict(zip(jobs, parallel(
        lambda job: requests_for(victims[job[0]], job[1], attacker,
                                 budgets if job[1] < few else budgets[-1:]), jobs), strict=True))


# ---- from answers alone


def own_networks(v, train, seeds):
    """Surrogates: networks that the attacker trains on its own rows by the published recipe."""
    held = v.held
    return train(replace(v.data, x=held.x, y=held.y, noisy=held.rows[:0]), seeds)


def by_surrogates(networks, x, start, held, goals, attacker):
    """Requests chosen on surrogates, {goal: rows}.

    x (…): the target; start (k,): log-probabilities that the victim answered; goals: name -> loss
    of such log-probabilities.
    """
    effects = sum(by_influence(s, held, attack.logits_at(s, x), attacker) for s in networks)
    effects = effects / len(networks)
    return {g: attack.choose(attack.through(effects, start, goal), held).rows
            for g, goal in goals.items()}


def by_trials(oracle, x, start, goals, *, pairs, seed, estimate):
    """Requests chosen by pairs of trial requests, {goal: rows}: 2 · pairs queries."""
    effects = zeroth_order_effects(oracle, x, pairs=pairs, seed=seed, estimate=estimate)
    return {g: attack.choose(attack.through(effects, start, goal), oracle.holdings).rows
            for g, goal in goals.items()}


def hingeless(label):
    """The shortcut: entropy alone, with no word on the label. (k,) -> scalar"""
    return lambda z: -torch.special.entr(z.softmax(-1)).sum(-1)
