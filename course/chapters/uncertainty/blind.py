"""Requests chosen from answers alone, and what providers make of them."""

import labkit as lk
from labkit import attack
from labkit.training import parallel

from .choosing import by_surrogates, by_trials, own_networks
from .judging import SAME, STEP, stepped


def surrogates_for(victims, train, count=3):
    """`count` networks of each victim's attacker, trained on its own rows."""
    return parallel(lambda i: own_networks(victims[i], train, lk.spawn_seeds(
        victims[i].seed, count, "surrogate")), range(len(victims)))


def from_answers(victims, surrogates, attacker, train, *, pairs, estimate, tau):
    """Records of requests chosen on surrogates (retrained) and by trials (first-order, queries).

    surrogates: a list of networks a victim; pairs: how many pairs of trials, one try each. ->
    (records of surrogates, records of trials)
    """
    def chosen(job):
        (i, j), v = job, victims[job[0]]
        goals = {g: attacker.goals[g](v.label[j]) for g in ("over", "under")}
        box = attack.BlackBox(v.model, limit=1)
        start = box(v.x[[j]])[0].clamp(min=1e-12).log()
        on_trial, tried = _remembering(lambda r: stepped(v, r, tau)), []
        for count in pairs:
            oracle = attack.UnlearningOracle(v.model, on_trial, v.held, limit=2 * count)
            found = by_trials(oracle, v.x[j], start, goals, pairs=count, seed=j, estimate=estimate)
            tried += [dict(i=i, j=j, goal=g, how=STEP, queries=oracle.queries + box.queries)
                      | attack.answer(v, j, stepped(v, rows, tau)) for g, rows in found.items()]
        return by_surrogates(surrogates[i], v.x[j], start, v.held, goals, attacker), tried

    def retrained(i):
        v, keys = victims[i], [(j, g) for j in range(len(victims[i].x)) for g in ("over", "under")]
        models = train(v.data, [v.seed] * len(keys), [found[i, j][0][g] for j, g in keys])
        return [dict(i=i, j=j, goal=g, how=SAME) | attack.answer(v, j, model)
                for (j, g), model in zip(keys, models, strict=True)]

    jobs = [(i, j) for i, v in enumerate(victims) for j in range(len(v.x))]
    found = dict(zip(jobs, parallel(chosen, jobs), strict=True))
    return (sum(parallel(retrained, range(len(victims))), []),
            sum([tried for _, tried in found.values()], []))


def _remembering(unlearn):
    """The same unlearning, which computes a request once: fewer pairs are the first of more."""
    known = {}

    def on_trial(_, request):
        key = tuple(request.tolist())
        if key not in known:
            known[key] = unlearn(request)
        return known[key]

    return on_trial
