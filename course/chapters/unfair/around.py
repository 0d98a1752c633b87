"""Deletions around a victim, and how well the network then withstands small changes there."""

import numpy as np
import torch
from torch.func import functional_call

from labkit import attack, training

from .nets import provider, train
from .never import box

EPSILONS = (0.01, 0.02, 0.03, 0.04, 0.06, 0.08)  # of a pixel's range, 0 to 1
PGD_STEPS = 10
AROUND = 20  # test rows in a victim's neighbourhood, itself among them
PLANS = ("chosen", "without direction", "by influence", "nearest", "same label", "random")


def bounds(data, eps):
    """eps and step in units of normalised rows, and the ends of what a pixel may be."""
    scaled = eps / data.std
    return {"eps": scaled, "step": 2.5 * scaled / PGD_STEPS, "steps": PGD_STEPS,
            "low": box(data, data.x)[0], "high": box(data, data.x)[1]}


def neighbourhood(data, v) -> torch.Tensor:
    """The test rows of the victim's label that are nearest to it, itself first. -> (AROUND,)"""
    at = (data.y_test == data.y_test[v]).nonzero().squeeze(1)
    far = (data.x_test[at] - data.x_test[v]).flatten(1).norm(dim=1)
    return at[far.argsort()[:AROUND]]


def robust(model, data, at, pgd, eps) -> float:
    """Share of test rows that keep their label under the attack."""
    x, y = data.x_test[at], data.y_test[at]
    moved = pgd(model, x, y, **bounds(data, eps))
    return (training.predict(model, moved).argmax(1) == y).double().mean().item()


def near_and_along(held, v, y, direction, weight) -> torch.Tensor:
    """Score of own rows of the victim's label: near it, and on the side of its adversarial
    direction. Both terms standardised; −∞ for other labels. Source: Zhao et al. 2024, after their
    description (density and direction). -> (m,)
    """
    to = (held.x - v).flatten(1)
    own = held.y == y
    terms = [-to.norm(dim=1), torch.nn.functional.cosine_similarity(to, direction.flatten()[None])]
    near, along = ((t - t[own].mean()) / t[own].std() for t in terms)
    return torch.where(own, near + weight * along, -torch.inf)


def margin_effects(net, x, y) -> torch.Tensor:
    """How deleting each own row moves the mean margin of label y at inputs x (1, …). -> (m,)"""
    others = torch.arange(net.data.n_classes) != y

    def out(params):
        logits = functional_call(net.model, params, (x,))
        return (logits[:, y] - logits[:, others].logsumexp(1)).mean()[None]

    return attack.influence_effects(net.model, net.held, out)[:, 0]


def plans(net, at, pgd, eps, seed) -> dict:
    """A request a plan: the same number of own rows each. Of the test rows the attacker looks at
    the victim alone, the first of `at`. -> name -> row ids
    """
    data, held = net.data, net.held
    x, y = data.x_test[at[:1]], data.y_test[at[:1]]
    moved = pgd(net.model, x, y, **bounds(data, eps))
    label, victim, direction = int(y[0]), x[0], moved[0] - x[0]
    few = min(held.budget, int((held.y == label).sum()) // 2)
    held, top = held.with_budget(few), {}
    for name, weight in (("chosen", 1.0), ("without direction", 0.0)):
        top[name] = near_and_along(held, victim, label, direction, weight)
    top["by influence"] = -margin_effects(net, moved, label)
    asked = {name: held.rows[score.argsort(descending=True)[:few]] for name, score in top.items()}
    asked["nearest"] = attack.baseline("nearest", held, seed, x=victim)
    asked["same label"] = attack.baseline("same-class", held, seed, label=label)
    asked["random"] = attack.baseline("random", held, seed)
    return {name: attack.check_request(asked[name], held) for name in PLANS}


def victims(data, model, count, seed) -> list:
    """Test rows that the network gets right, of different labels."""
    right = (training.predict(model, data.x_test).argmax(1) == data.y_test)
    order = torch.randperm(len(right), generator=torch.Generator().manual_seed(seed))
    found, labels = [], set()
    for v in order[right[order]].tolist():
        if len(found) < count and int(data.y_test[v]) not in labels:
            found.append(v)
            labels.add(int(data.y_test[v]))
    return found


def around_trial(data, settings, eps, count, pgd, seed) -> list:
    """Robust and clean accuracy around each victim of one network, and clean accuracy on all test
    rows, after every plan. -> one dict a victim: plan -> (robust, clean, all), shares
    """
    net, found = provider(data, *settings, seed), []
    for j, v in enumerate(victims(net.data, net.model, count, seed % 2**31)):
        at = neighbourhood(net.data, v)
        asked = plans(net, at, pgd, eps, seed % 2**31 + j)
        models = [net.model, *train(net.data, seed, settings[1], list(asked.values()))]
        row = {}
        for name, model in zip(("original", *asked), models, strict=True):
            right = training.predict(model, net.data.x_test).argmax(1) == net.data.y_test
            row[name] = (robust(model, net.data, at, pgd, eps),
                         right[at].double().mean().item(), right.double().mean().item())
        found.append(row)
    return found


def tune_epsilon(data, settings, pgd, seeds, count):
    """The ε at which the robust accuracy around victims of untouched networks is nearest to a half.

    -> (ε, ε -> robust accuracy, clean accuracy there)
    """
    shares, clean = np.zeros(len(EPSILONS)), []
    for s in seeds:
        net = provider(data, *settings, s)
        spots = [neighbourhood(net.data, v) for v in victims(net.data, net.model, count,
                                                             s % 2**31)]
        shares += [np.mean([robust(net.model, net.data, at, pgd, e) for at in spots])
                   / len(seeds) for e in EPSILONS]
        clean += [robust(net.model, net.data, at, pgd, 0.0) for at in spots]
    best = EPSILONS[int(np.abs(shares - 0.5).argmin())]
    return best, dict(zip(EPSILONS, shares.tolist(), strict=True)), float(np.mean(clean))
