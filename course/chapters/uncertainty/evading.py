"""Selections that mind a gate: the plain one cut down, and what providers make of any of them."""

import pandas as pd
import torch

from labkit import attack
from labkit.training import parallel

from .choosing import hingeless, through_the_step
from .gates import as_seen, scores
from .judging import STEP, against_random, stepped


def indicator(rows, m, like=None):
    """ω with 1 at the positions `rows` of m owned rows, 0 elsewhere. -> (m,)"""
    zeros = torch.zeros(m) if like is None else like.new_zeros(m)
    return zeros.index_fill(0, rows, 1.0)


def cut_down(rows, suspicion, limit, m):
    """The longest beginning of a request (positions) that the gate lets pass. -> positions"""
    with torch.no_grad():
        for k in range(len(rows), 0, -1):
            if suspicion(indicator(rows[:k], m)) <= limit:
                return rows[:k]
    return rows[:0]


def lean(f):
    """The same function of ω, which keeps no graph where no slope can be asked for."""
    def of_weights(w):
        with torch.set_grad_enabled(w.requires_grad):
            return f(w)

    return of_weights


def against_a_gate(victims, desks, planned, jobs, name, limits, aim, attacker, ways):
    """Records of requests that know one gate, and of the plain ones, under first-order unlearning.

    jobs: (i, j) targets; name, limits: the gate, and its threshold for each victim; aim: the share
    of the threshold that the attacker allows itself, whose rows are not the provider's; ways: name
    -> (loss, suspicion, limit, m, budget) -> positions. Columns: way, rows (how many), refused (1.0
    where the provider's gate refuses), and what `attack.answer` says; a refused request changes
    nothing.
    """
    def of_one(job):
        (i, j), v = job, victims[job[0]]
        m, budget, limit = len(v.held), v.held.budget, aim * limits[i]
        seen = lean(as_seen(name, v, attacker.tau))
        out = attack.logits_at(v.model, v.x[j])
        step, found = attack.removal(v.model, v.held, tau=attacker.tau), []
        for goal in ("over", "under"):
            wish = attacker.goals[goal](v.label[j])
            plain = torch.cat([(v.held.rows == r).nonzero()[0] for r in
                               planned[job]["first-order", goal, budget]])
            asked = {"plain": plain, "plain, cut down": cut_down(plain, seen, limit, m)}
            asked |= {way: select(lean(lambda w, wish=wish: wish(out(step(w)))), seen, limit, m,
                                  budget)
                      for way, select in ways.items()}
            for way, rows in asked.items():
                request = v.held.rows[rows]
                refused = bool(len(rows)) and (
                    scores(v, desks[i], request, attacker.tau)[name] > limits[i])
                nothing = refused or not len(rows)
                model = v.model if nothing else stepped(v, request, attacker.tau)
                found.append(dict(i=i, j=j, goal=goal, how=STEP, way=way, rows=len(rows),
                                  refused=float(refused)) | attack.answer(v, j, model))
        return found

    return sum(parallel(of_one, jobs), [])


def by_way(records, beside):
    """Records of `against_a_gate`, way -> table; done: the move, 0 where the request is refused.

    beside: table with the random requests to the same targets.
    """
    table = against_random(records, beside)
    table["done"] = table.move.where(table.refused == 0, 0.0)
    return dict(list(table.groupby("way", sort=False)))


def without_hinge(victims, jobs, tau, budget):
    """The shortcut: what requests for entropy alone do under first-order unlearning, a row each.

    jobs: (i, j) targets. Columns: i, j, and what `attack.answer` says.
    """
    def of_one(job):
        (i, j), v = job, victims[job[0]]
        asked = through_the_step(v, j, hingeless(v.label[j]), tau, budget)
        return dict(i=i, j=j) | attack.answer(v, j, stepped(v, asked, tau))

    return pd.DataFrame(parallel(of_one, jobs))
