"""What is asked for at a desk: benign requests, and what two attackers choose against a target."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from labkit import attack, defend
from labkit.base import Diverged, LabError, spawn_seeds
from labkit.measure import evaluate
from labkit.training import parallel, predict
from labkit.unlearn import first_order

from .adaptive import evading

AIMS = ("first-order", "retraining")  # the unlearner that a request has in mind


@dataclass(frozen=True)
class Rules:
    """What is settled, and known to all, before the first request.

    train: (data, seeds, skip) -> networks, one a seed; tau: step of first-order unlearning;
    damping: of influence, the recipe's weight decay; shrink: the attacker's factor on influence.
    """

    train: Callable
    tau: float
    damping: float
    shrink: float = 1.0


TAUS = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3)


def largest_step(data, seeds, train, budget) -> float:
    """The provider's step of first-order unlearning, by the rule of notebook 03 on four requests.

    Of TAUS the largest with which random requests cost at most half a point of test accuracy
    against retraining, on other seeds than those judged; the smallest where there is none.
    """
    found = parallel(lambda seed: _cost(data.resplit(seed), seed, train, budget), seeds)
    return max((tau for k, tau in enumerate(TAUS) if np.mean([c[k] for c in found]) >= -0.5),
               default=TAUS[0])


def _cost(d, seed, train, budget):
    """Test accuracy after each of TAUS less that of retraining, points. -> (taus, requests)"""
    model, rng = train(d, [seed])[0], np.random.default_rng(seed)
    tried = [torch.from_numpy(rng.permutation(len(d.y))[:budget]).to(d.device) for _ in range(4)]
    there = [evaluate(exact, d, r)["TA"]
             for r, exact in zip(tried, train(d, [seed] * 4, tried), strict=True)]
    rows = []
    for tau in TAUS:
        for request, exact in zip(tried, there, strict=True):
            try:
                left = evaluate(first_order(model, d, request, tau=tau), d, request)["TA"]
            except Diverged:
                left = 0.0  # a step that leaves no network costs all of it
            rows.append(left - exact)
    return np.reshape(rows, (len(TAUS), len(tried)))


def surviving(function, jobs, lost) -> list:
    """[(job, function(job)), …] of the victims job[0] that no method made diverge.

    lost: a set that gets the others, which are left out from then on. LabError when none is left.
    """
    def run(job):
        try:
            return function(job)
        except Diverged:
            return None

    jobs = [job for job in jobs if job[0] not in lost]
    found = list(zip(jobs, parallel(run, jobs), strict=True))
    lost.update(job[0] for job, one in found if one is None)
    left = [(job, one) for job, one in found if job[0] not in lost]
    if jobs and not left:
        raise LabError("Of each network some method left NaN: lower lr, or the largest tau, in the "
                       "settings.")
    return left


def losses(victim) -> np.ndarray:
    """Cross-entropy of each training row, nats: what people with hard rows go by. -> (n,)"""
    z = predict(victim.model, victim.data.x)
    return F.cross_entropy(z, victim.data.y, reduction="none").cpu().numpy()


def people(victim, stream, count, part) -> list:
    """Benign requests of a third, two thirds and all of the budget, as people ask for few or many.

    stream: as in `defend.benign`; part: what they are for, each part has requests of its own. Where
    a limit at 1 % is set on them (part ends with "hold") they are a hundred at least.
    """
    budget = victim.held.budget
    count = max(102, count) if part.endswith("hold") else count
    hard = losses(victim)
    seeds = zip((budget // 3, 2 * budget // 3, budget), spawn_seeds(victim.seed, 3, part),
                strict=True)
    return [rows for size, seed in seeds for rows in
            defend.benign(stream, victim.data, size, count // 3, seed % 10**6, hard)]


def influence(victim, j, rules) -> tuple:
    """Logits of target j now, and what influence says each owned row's deletion adds. (k,), (m, k)

    Of retraining, without the factor `shrink`.
    """
    out = attack.logits_at(victim.model, victim.x[j])
    effects = attack.influence_effects(victim.model, victim.held, out, damping=rules.damping,
                                       n_rows=200, cg_steps=8)
    return out(dict(victim.model.named_parameters())).detach(), effects


def overstated(victims, rules, targets) -> float:
    """Share of the margin change that influence predicts and retraining shows, for flip requests.

    victims: of a rehearsal; with the first `targets` of each. Kept within 0.05 and 1.
    """
    top, bottom = np.sum(parallel(lambda v: _slope(v, rules, targets), victims), 0)
    return float(np.clip(top / bottom, 0.05, 1.0))


def _slope(v, rules, targets):
    asked, predicted = [], []
    for j in range(targets):
        start, effects = influence(v, j, rules)
        goal = attack.through(effects, start, attack.label_flip(v.label[j]))
        asked.append(attack.choose(goal, v.held).rows)
        moved = start + effects[torch.isin(v.held.rows, asked[-1])].sum(0)
        predicted.append((attack.margin(moved, v.label[j])
                          - attack.margin(start, v.label[j])).item())
    models = rules.train(v.data, [v.seed] * len(asked), asked)
    z = [[predict(m, v.x[[j]])[0] for m in (model, v.model)] for j, model in enumerate(models)]
    real = [(attack.margin(a, v.label[j]) - attack.margin(b, v.label[j])).item()
            for j, (a, b) in enumerate(z)]
    return np.dot(predicted, real), np.dot(predicted, predicted)


def remembered(step):
    """ω -> step(ω), where the same weights, asked about twice, are answered from memory."""
    last = [None, None]

    def unlearned(weights):
        if last[0] is not weights:
            last[:] = weights, step(weights)
        return last[1]

    return unlearned


def choose_request(victim, held, j, aim, rules, known, penalty=None, step=None) -> torch.Tensor:
    """Rows of `held` that should flip target j under the unlearner `aim`. -> row ids

    known: what `influence` says of the target; penalty: None, or (ω -> what being noticed costs,
    price of a unit in logits); step: ω -> params after first-order unlearning, if it is there.
    """
    goal = attack.label_flip(victim.label[j])
    if aim == "retraining":
        start, effects = known
        effects = effects[torch.isin(victim.held.rows, held.rows)]
        objective = attack.through(rules.shrink * effects, start, goal)
    else:
        out = attack.logits_at(victim.model, victim.x[j])
        step = step or remembered(attack.removal(victim.model, held, tau=rules.tau))

        def objective(weights):
            return goal(out(step(weights)))

    if penalty is not None:
        objective = evading(objective, *penalty)
    return attack.choose(objective, held, steps=12).rows


def expected_margin(victim, j, aim, request, rules, known) -> float:
    """Margin of target j after the request, as the attacker works it out. Below 0: it flips."""
    weights = torch.isin(victim.held.rows, request).float()
    if aim == "retraining":
        start, effects = known
        z = start + weights @ (rules.shrink * effects)
    else:
        with torch.no_grad():
            step = attack.removal(victim.model, victim.held, tau=rules.tau)
            z = attack.logits_at(victim.model, victim.x[j])(step(weights))
    return attack.margin(z, victim.label[j]).item()
