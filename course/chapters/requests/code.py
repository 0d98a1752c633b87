"""Requests that do harm: rows crafted to be deleted, and campaigns over time."""

import torch
import torch.nn.functional as F
from torch.func import grad, vmap

from labkit.attack.requests import choose, params_of, row_losses
from labkit.rules import checked


@checked
def craft(model, x, y, target, adversarial, *, eps, steps=60, lr=0.1, low=None, high=None, seed=0):
    """Perturb rows x so that *removing* them pushes `target` towards the label `adversarial`.

    -> x + δ, ‖δ‖∞ ≤ eps. Gradient matching: minimise 1 − cos(Σ ∇ℓ(x_i + δ_i, y_i), −∇ℓ(target,
    adversarial)) over δ by Adam on signs, where removal moves along + Σ ∇ℓ. The labels y stay what
    they are. x (b, …), y (b,), target (…); eps in the units of x (normalised pixels); low, high:
    smallest and largest values an input may have, tensors or numbers. `model` is the attacker's
    own: crafted rows go into the victim's training before the victim exists. Source:
    reconstruction after Qian et al. 2023 (crafted requests); the recipe is gradient matching
    (Geiping et al. 2021) with its sign turned.
    """
    params, wanted = params_of(model), _wanted(model, target, adversarial)
    draw = torch.Generator().manual_seed(seed)
    delta = ((2 * torch.rand(x.shape, generator=draw) - 1).to(x.device) * eps / 2).requires_grad_()
    optimizer = torch.optim.Adam([delta], lr=lr * eps)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def stay_inside():
        with torch.no_grad():
            d = delta.clamp(-eps, eps)
            limited = low is not None or high is not None
            delta.copy_((x + d).clamp(low, high) - x if limited else d)

    stay_inside()
    for _ in range(steps if eps else 0):
        loss = 1 - F.cosine_similarity(_summed(model, params, x + delta, y), wanted, dim=0)
        (gradient,) = torch.autograd.grad(loss, delta)
        delta.grad = gradient.sign()
        optimizer.step()
        rates.step()
        stay_inside()
    return (x + delta).detach()


def _summed(model, params, x, y):
    """Σ ∇ℓ(x_i, y_i) as one vector."""
    gradient = grad(lambda p: row_losses(model, p, x, y).sum())(params)
    return torch.cat([g.flatten() for g in gradient.values()])


def _wanted(model, target, adversarial):
    label = torch.as_tensor([int(adversarial)], device=target.device)
    return -_summed(model, params_of(model), target[None], label)


def campaign(model, holdings, plan, unlearn, benign):
    """Rounds of requests: in each the attacker's is unlearned, then a benign one.

    -> (model, all rows the attacker asked for). plan: (model, holdings, round, rounds) -> row ids
    or None, made by `at_once`, `spread` or `replan`; unlearn: (model, rows) -> model; benign: list
    of row tensors, one a round; the requester's own rows are taken out of them. Source: the setting
    of Zhao et al. 2023, reconstructed (its formulas could not be read).
    """
    asked, held, gone = [], holdings, holdings.rows[:0]
    for i, others in enumerate(benign):
        request = None if held is None else plan(model, held, i, len(benign))
        if request is not None and len(request):
            held = held.without(request)
            model = unlearn(model, request)
            asked.append(request)
        others = others[~torch.isin(others, torch.cat([holdings.rows, gone]))]
        gone = torch.cat([gone, others])
        if len(others):
            model = unlearn(model, others)
    return model, torch.cat(asked) if asked else gone[:0]


def at_once(request):
    """The whole request in the first round."""
    return lambda model, held, i, rounds: request if i == 0 else None


def spread(request):
    """The same request in equal parts, one a round, fixed beforehand: it does not adapt."""
    return lambda model, held, i, rounds: request.tensor_split(rounds)[i]


@checked
def replan(objective, horizon, steps=8):
    """Look at the present model in each round, plan, send this round's share of the budget.

    objective: (model, holdings) -> (ω -> scalar), e.g. through fresh effects. horizon: 'greedy'
    plans this round's share only; 'receding' plans all that is left of the budget and sends the
    strongest rows of the plan. steps: of `choose`, for each plan.
    """
    def plan(model, held, i, rounds):
        share = max(1, -(-held.budget // (rounds - i)))
        now = held if horizon == "receding" else held.with_budget(share)
        weights = choose(objective(model, now), now, steps=steps).weights
        best = weights.topk(min(share, len(held)))
        return held.rows[best.indices[best.values > 0.05]]  # others would only harm the plan

    return plan


def flat_problem(model, holdings, loss, most=2**26):
    """An attack in vectors: parameters θ (d,), the rows' gradients (m, d), θ -> loss, θ -> ∇ loss.

    loss: parameters by name -> scalar. most: numbers that all gradients may have together: of a
    large network fewer owned rows are taken, the first ones.
    """
    params = params_of(model)
    sizes = [p.numel() for p in params.values()]
    m = max(1, min(len(holdings), most // sum(sizes)))

    def named(theta):
        parts = zip(params.items(), theta.split(sizes), strict=True)
        return {k: part.view(p.shape) for (k, p), part in parts}

    def of_row(p, x, y):
        return row_losses(model, p, x[None], y[None]).sum()

    each = vmap(grad(of_row), (None, 0, 0))(params, holdings.x[:m], holdings.y[:m])
    theta = torch.cat([p.flatten() for p in params.values()])
    rows = torch.cat([each[k].flatten(1) for k in params], 1)

    def slope(theta):
        found = grad(loss)(named(theta))
        return torch.cat([found[k].flatten() for k in params])

    return theta, rows, lambda theta: loss(named(theta)), slope
