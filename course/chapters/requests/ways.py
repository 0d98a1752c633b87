"""Requests against many targets, carried out by every way of unlearning."""

import shutil
import tempfile
from dataclasses import replace
from itertools import product

from labkit import attack
from labkit.base import Diverged, spawn_seeds
from labkit.training import parallel, predict
from labkit.unlearn import first_order, sisa

from .beside import beside, wrong
from .tables import FRESH, SAME


def surer(label):
    """The opposite wish, a surer label: z -> −log p(label). It shows how well a prediction holds
    for margins that rise.
    """
    return lambda z: -z.log_softmax(-1)[label]


def under_retraining(victim, j, shrink, **settings) -> tuple:
    """Logits of target j, and what influence says each deletion adds to them under retraining.

    shrink: how much of the prediction comes true; settings: of `influence_effects`. -> (k,), (m, k)
    """
    out = attack.logits_at(victim.model, victim.x[j])
    moves = shrink * attack.influence_effects(victim.model, victim.held, out, **settings)
    return out(dict(victim.model.named_parameters())).detach(), moves


def unlearned(victim, method, request):
    """The network after method(victim, request); None where it diverged or cannot answer, which is
    a lost run.
    """
    try:
        model = method(victim, request)
        predict(model, victim.x)
        return model
    except Diverged:
        return None


def approximate(victims, methods, requests, controls) -> list:
    """Answers after approximate unlearning: a row a target, way of unlearning and request.

    methods: name -> (aim, method); requests: (victim, target) -> {aim: rows}; controls: for each
    victim its random requests. Rows: i, j, how, aim, request, rows, those of `attack.answer` and of
    `beside`; UA, percent of the rows asked for that are got wrong, and the same before.
    """
    def chosen(job):
        v, asked = victims[job[0]], requests[job]
        return [_row(v, job, how, aim, "chosen", asked[aim], unlearned(v, method, asked[aim]))
                for how, (aim, method) in methods.items()]

    def at_random(i):
        return [row for how, (_, method) in methods.items() for row in _of_random(
            victims, i, how, controls, [unlearned(victims[i], method, r) for r in controls[i]])]

    return (sum(parallel(chosen, list(requests)), [])
            + sum(parallel(at_random, range(len(victims))), []))


def retrained(victims, train, requests, controls, pack=8) -> list:
    """The same after exact retraining: with the victim's own seed, and with a fresh one.

    Requests that had first-order unlearning in mind are met by same-seed retraining, too.
    """
    def some(job):
        i, how, part = job
        v, asked = victims[i], [requests[i, j][aim] for j, aim in part]
        seeds = _seeds(v, how, len(part), f"fresh {part[0]}")
        return [_row(v, (i, j), how, aim, "chosen", rows, model) for (j, aim), rows, model in
                zip(part, asked, train(v.data, seeds, asked), strict=True)]

    def at_random(job):
        (i, how), asked = job, controls[job[0]]
        seeds = _seeds(victims[i], how, len(asked), "fresh random")
        return _of_random(victims, i, how, controls, train(victims[i].data, seeds, asked))

    jobs, every = [], list(product(range(len(victims)), (SAME, FRESH)))
    for i, how in every:
        aims = ["retraining"] + ["first-order"] * (how == SAME)
        part = [(j, aim) for aim in aims for k, j in requests if k == i]
        jobs += [(i, how, part[s : s + pack]) for s in range(0, len(part), pack)]
    return sum(parallel(some, jobs), []) + sum(parallel(at_random, every), [])


def sharded(victims, build, recipe, requests, controls, shards=3) -> list:
    """The same under SISA, whose shards without a requested row stay as they are.

    The ensemble is copied for each request, since unlearning destroys its checkpoints.
    """
    def of_victim(i):
        v = victims[i]
        with tempfile.TemporaryDirectory() as folder:
            sisa.train(v.data, f"{folder}/all", build=build, shards=shards, slices=1, seed=v.seed,
                       workers=1, **recipe)

            def without(name, asked):
                shutil.copytree(f"{folder}/all", f"{folder}/{name}")
                return sisa.unlearn(sisa.load(f"{folder}/{name}", v.data, build), v.data, asked,
                                    workers=1)

            few = controls[i][:2]
            rows = _of_random(victims, i, "SISA", controls,
                              [without(f"random {k}", r) for k, r in enumerate(few)])
            for job in (job for job in requests if job[0] == i):
                asked = requests[job]["retraining"]
                rows.append(_row(v, job, "SISA", "retraining", "chosen", asked,
                                 without(f"target {job[1]}", asked)))
        return rows

    return sum(parallel(of_victim, range(len(victims))), [])


def smaller(victims, train, methods, estimate, budgets, *, tau, targets) -> list:
    """Answers to requests of several budgets: approximate unlearning, same-seed retraining.

    methods: name -> method, met by requests chosen through first-order effects at step tau;
    estimate: (victim, target) -> logits and effects under retraining; targets: of each victim.
    Rows as those of `approximate`, with the budget; two random requests are retrained, too.
    """
    def requests_of(v, j):
        start, moves = estimate(v, j)
        out, goal = attack.logits_at(v.model, v.x[j]), attack.label_flip(v.label[j])
        steps = attack.first_order_effects(v.model, v.held, out, tau=tau)
        return {(aim, j, b): attack.choose(attack.through(effects, start, goal),
                                           v.held.with_budget(b), steps=12).rows
                for aim, effects in (("first-order", steps), ("retraining", moves))
                for b in budgets}

    def of_victim(i):
        v, asked, rows = victims[i], {}, []
        for j in range(targets):
            asked |= requests_of(v, j)
        exact = {key: r for key, r in asked.items() if key[0] == "retraining"}
        networks = dict(zip(exact, train(v.data, [v.seed] * len(exact), list(exact.values())),
                            strict=True))
        for (aim, j, b), r in asked.items():
            models = ({SAME: networks[aim, j, b]} if aim == "retraining" else
                      {how: unlearned(v, method, r) for how, method in methods.items()})
            rows += [_row(v, (i, j), how, aim, "chosen", r, model, budget=b)
                     for how, model in models.items()]
        blind = attack.random_requests(v, 2)
        exact = train(v.data, [v.seed] * len(blind), blind)
        return rows + [row | dict(budget=max(budgets)) for row in
                       _of_random(victims, i, SAME, {i: blind}, exact)]

    return sum(parallel(of_victim, range(len(victims))), [])


def of_fewer_rows(victims, jobs, shares, margin, *, tau, steps=12) -> list:
    """First-order unlearning of requests with the same budget, chosen among fewer owned rows.

    jobs: (victim, target) pairs; shares: of the training rows, that are owned, the first ones of
    those held (which are in random order); margin: (logits, label) -> scalar to lower. -> rows as
    those of `approximate`, with the share.
    """
    def one(job):
        v, rows = victims[job[0]], []
        out, label = attack.logits_at(v.model, v.x[job[1]]), v.label[job[1]]
        for share in shares:
            m = max(v.held.budget, round(share * v.held.n))
            held = replace(v.held, rows=v.held.rows[:m], x=v.held.x[:m], y=v.held.y[:m])
            step = attack.removal(v.model, held, tau=tau)
            asked = attack.choose(lambda w, step=step: margin(out(step(w)), label), held,
                                  steps=steps).rows
            model = unlearned(v, lambda v, r: first_order(v.model, v.data, r, tau=tau), asked)
            rows.append(_row(v, job, "first-order", "first-order", "chosen", asked, model,
                             share=share))
        return rows

    return sum(parallel(one, jobs), [])


def _seeds(victim, how, n, purpose):
    return [victim.seed] * n if how == SAME else spawn_seeds(victim.seed, n, purpose)


def _row(victim, job, how, aim, request, rows, model, **more):
    i, j = job
    return _rows(victim, i, [j], how, aim, request, rows, model, **more)[0]


def _rows(victim, i, targets, how, aim, request, rows, model, **more):
    more |= dict(UA=wrong(victim, model, rows), before=wrong(victim, victim.model, rows))
    return [dict(i=i, j=j, how=how, aim=aim, request=request, rows=len(rows),
                 **attack.answer(victim, j, model), **also, **more)
            for j, also in zip(targets, beside(victim, model, targets), strict=True)]


def _of_random(victims, i, how, controls, models):
    """Answers at every target of victim i after the first of its random requests."""
    v = victims[i]
    return [row for k, model in enumerate(models)
            for row in _rows(v, i, range(len(v.x)), how, "none", f"random {k + 1}", controls[i][k],
                             model)]
