"""Other estimates of doubt under the attack."""

import numpy as np
import torch
from torch.func import functional_call

import labkit as lk
from labkit import attack
from labkit.measure import entropy
from labkit.training import parallel, predict

from .estimates import (
    conformal_sets,
    ensemble_outputs,
    fit_temperature,
    mc_dropout,
    set_size,
    soft_threshold,
)
from .judging import RANDOM, stepped


def other_networks(v, train, recipe, hidden):
    """On a victim's rows: a perceptron with dropout, and five networks of the usual kind."""
    drop = lk.models.build("mlp", v.data, v.seed, hidden=hidden, dropout=0.3)
    five = train(v.data, lk.spawn_seeds(v.seed, 5, "ensemble"))
    return lk.training.fit(drop, v.data.x, v.data.y, seed=v.seed, **recipe), five


def true_scores(model, rows):
    """Conformal scores of labelled rows: 1 − probability of the true label. -> (n,)"""
    p = predict(model, rows[0]).softmax(1)
    return 1 - p.gather(1, rows[1][:, None]).squeeze(1)


def coverage(v, threshold):
    """Share of a victim's measured rows whose conformal set holds the label, at 9 in 10 promised.
    """
    q = threshold(true_scores(v.model, v.validation), 0.1)
    sets = conformal_sets(predict(v.model, v.measure[0]).softmax(1), q)
    return sets.gather(1, v.measure[1][:, None]).double().mean().item()


def after_scaling(victims, planned, controls, tau):
    """Records of the entropy after temperature scaling, fitted anew after each deletion.

    kept: 1.0 where the label is as before any request.
    The requests are those that had the bare softmax in mind, under first-order unlearning.
    """
    def scaled(v, request, targets):
        model = stepped(v, request, tau)
        if model is None:
            return [[np.nan for _ in targets]] * 2
        T = fit_temperature(predict(model, v.validation[0]), v.validation[1])
        z = predict(model, v.x[targets])
        kept = [float(c == v.label[j]) for c, j in zip(z.argmax(1).tolist(), targets, strict=True)]
        return entropy((z / T).softmax(1)).tolist(), kept

    def of_one(i):
        v = victims[i]
        every = list(range(len(v.x)))
        usual = np.mean([scaled(v, r, every)[0] for r in controls[i].values()], 0)
        found = []
        for j in every:
            for goal, sign in (("over", -1), ("under", 1)):
                asked = planned[i, j]["first-order", goal, v.held.budget]
                (after,), (kept,) = scaled(v, asked, [j])
                found.append(dict(i=i, j=j, estimator="temperature", goal=goal, kept=kept,
                                  move=sign * (after - usual[j]), at_random=usual[j]))
        return found

    return sum(parallel(of_one, range(len(victims))), [])


def _outputs(v, j, drop, five):
    """For each estimator, (network, its differentiable outputs at target j) of every network."""
    x, logits, (px, py) = v.x[j], attack.logits_at(v.model, v.x[j]), v.public

    def with_threshold(p):  # the public rows stand in for the provider's validation rows
        q = soft_threshold(functional_call(v.model, p, (px,)).softmax(1), py, 0.1)
        return torch.cat([logits(p), q[None]])

    def dropped(p):
        return mc_dropout(drop, x[None], 20, seed=0, params=p)[0].log()

    return {"dropout": [(drop, dropped)],
            "ensemble": [(m, ensemble_outputs(five, k, x)) for k, m in enumerate(five)],
            "conformal": [(v.model, with_threshold)]}


def _requests_against(v, parts, name, attacker):
    """Requests for 'over' and 'under' aimed at one estimator under first-order unlearning."""
    network, out = parts[0]
    if name == "conformal":  # set sizes saturate: through the unlearning, not its linear effects
        step = attack.removal(v.model, v.held, tau=attacker.tau)
        goals = {g: lambda w, scale=scale: set_size(scale)(out(step(w)))
                 for g, scale in (("over", 1), ("under", -1))}
    else:
        start = out(dict(network.named_parameters())).detach()
        effects = sum(attack.first_order_effects(m, v.held, o, tau=attacker.tau)
                      for m, o in parts)
        goals = {g: attack.through(effects, start, attacker.goals[g](int(start.argmax())))
                 for g in ("over", "under")}
    return {g: attack.choose(goal, v.held, steps=8).rows for g, goal in goals.items()}


@torch.no_grad()
def estimate(name, v, networks, x, threshold):
    """Entropy by MC dropout (new masks) or ensemble, or size of the conformal set, at an input, and
    the likeliest label there.
    """
    if name == "dropout":
        p = mc_dropout(networks[0], x[None], 50, seed=1)
    else:
        p = sum(m(x[None]).softmax(1) for m in networks) / len(networks)
    if name == "conformal":
        q = threshold(true_scores(networks[0], v.validation), 0.1)
        return float(conformal_sets(p, q).sum()), int(p.argmax())
    return entropy(p).item(), int(p.argmax())


def aimed_at_estimates(victims, extras, controls, attacker, threshold):
    """Records of requests aimed at each estimator: move as intended, less what random ones do.

    extras: of `other_networks`, one a victim; threshold: (scores, alpha) -> float. kept: 1.0 where
    the label that goes with the estimate is as before any request.
    """
    def without(v, networks, request):
        return [lk.unlearn.first_order(m, v.data, request, tau=attacker.tau) for m in networks]

    def of_one(i):
        (v, (drop, five)), found = (victims[i], extras[i]), []
        behind = {"dropout": [drop], "ensemble": five, "conformal": [v.model]}
        blank = {name: [without(v, nets, controls[i][k]) for k in RANDOM[:2]]
                 for name, nets in behind.items()}  # the same for all targets of a victim
        for j in range(len(v.x)):
            for name, parts in _outputs(v, j, drop, five).items():
                def at(nets, name=name, x=v.x[j]):
                    return estimate(name, v, nets, x, threshold)

                label = at(behind[name])[1]
                at_random = sum(at(nets)[0] for nets in blank[name]) / 2
                for goal, rows in _requests_against(v, parts, name, attacker).items():
                    after, now = at(without(v, behind[name], rows))
                    sign = -1 if goal == "over" else 1
                    found.append(dict(i=i, j=j, estimator=name, goal=goal, at_random=at_random,
                                      move=sign * (after - at_random), kept=float(now == label)))
        return found

    return sum(parallel(of_one, range(len(victims))), [])
