"""Requests that do harm: crafted rows, effects estimated in three ways, campaigns, and gates."""

import torch
import torch.nn.functional as F
from torch.func import grad

from labkit.attack.requests import choose, curvature, jacobian, params_of, row_losses, row_products
from labkit.base import LabError
from labkit.rules import checked
from labkit.unlearn.second_order import conjugate_gradients


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


def first_order_effects(model, holdings, out, *, tau) -> torch.Tensor:
    """How deleting each owned row moves out(θ) under first-order unlearning. -> (m, r).

    τ ⟨∇ out_c, ∇ℓ_i⟩, the derivative at ω = 0 of out(θ + τ Σ ω_i ∇ℓ_i). out: params -> (r,), e.g.
    logits_at(model, x).
    """
    return tau * row_products(model, holdings, jacobian(model, out))


@checked
def newton(model, holdings, *, damping=0.01, cg_steps=10, n_rows=250):
    """Influence unlearning as a function of weights: ω -> θ + H⁻¹ Σ ω_i ∇ℓ_i / n.

    Differentiable in ω, with an implicit gradient: backward through H⁻¹ is H⁻¹ again, one more
    solve. H does not move with ω.
    """
    params = params_of(model)
    product = curvature(model, holdings, n_rows, damping)
    sizes = [p.numel() for p in params.values()]

    class Solve(torch.autograd.Function):
        @staticmethod
        def forward(_, flat):
            parts = zip(params.items(), flat.split(sizes), strict=True)
            right = {k: part.view(1, *p.shape) for (k, p), part in parts}
            solved = conjugate_gradients(product, right, cg_steps)
            return torch.cat([v.flatten() for v in solved.values()])

        @staticmethod
        def backward(_, upstream):
            return Solve.forward(None, upstream)

    def unlearned(weights):
        def loss(p):
            return (weights * row_losses(model, p, holdings.x, holdings.y)).sum()

        g = grad(loss)(params)
        step = Solve.apply(torch.cat([g[k].flatten() for k in params]) / holdings.n).split(sizes)
        return {k: p + s.view(p.shape) for (k, p), s in zip(params.items(), step, strict=True)}

    return unlearned


def two_point(f, plus, minus) -> torch.Tensor:
    """Zeroth-order estimate of the Jacobian of f from pairs of points. -> (m, r).

    f: point (m,) -> (r,); plus, minus: (q, m). Mean over pairs of (plus − minus) (f(plus) −
    f(minus)), divided by the mean squared difference of a coordinate. With plus, minus = c ± μu and
    Gaussian u this is the two-point estimator of Nesterov and Spokoiny 2017, unbiased where f is
    quadratic, because the even orders cancel.
    """
    difference = plus - minus
    answers = torch.stack([f(p) - f(q) for p, q in zip(plus, minus, strict=True)])
    return difference.T @ answers / (len(plus) * difference.pow(2).mean())


@checked
def zeroth_order_effects(oracle, x, *, pairs, seed) -> torch.Tensor:
    """How deleting each owned row moves the log-probabilities of x, by trial requests. -> (m, k).

    oracle: UnlearningOracle; x (…): one target. Each of `pairs` pairs are two disjoint random
    requests of as many rows as the budget allows (half the owned rows at most): 2 · pairs queries.
    Real requests hold whole rows, so the two points of a pair are their indicator vectors. Noise
    makes the largest estimates too large, so they are shrunk by their reliability: the agreement of
    two halves of the pairs (Spearman-Brown), which needs no further query and is never taken below
    0.05, so that an order of the rows is left.
    """
    held, draw = oracle.holdings, torch.Generator().manual_seed(seed)
    if len(held) < 2:
        raise LabError("Trial requests come in disjoint pairs: at least 2 owned rows are needed.")
    size = min(held.budget, len(held) // 2)
    plus, minus = torch.zeros(2, pairs, len(held), device=held.x.device)
    for i in range(pairs):
        order = torch.randperm(len(held), generator=draw).to(held.x.device)
        plus[i, order[:size]] = minus[i, order[size : 2 * size]] = 1

    def log_probabilities(indicator):
        return oracle(held.rows[indicator > 0], x[None])[0].clamp(min=1e-12).log()

    if pairs == 1:
        return two_point(log_probabilities, plus, minus)
    halves = [two_point(log_probabilities, plus[h::2], minus[h::2]) for h in (0, 1)]
    a, b = (h.flatten() - h.mean() for h in halves)
    agreement = float((a @ b) / (a.norm() * b.norm()).clamp(min=1e-30))
    sizes = torch.tensor([len(plus[h::2]) for h in (0, 1)], dtype=torch.float) / pairs
    reliability = max(0.05, 2 * agreement / (1 + agreement))
    return reliability * (sizes[0] * halves[0] + sizes[1] * halves[1])


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


def loss_gate(before, after, labels) -> float:
    """Rise of the validation loss, nats. before, after: (n, k) logits; labels (n,)."""
    return (F.cross_entropy(after, labels) - F.cross_entropy(before, labels)).item()


def label_gate(before, after) -> float:
    """Share of validation rows whose predicted label changes. (n, k), (n, k) -> 0 to 1."""
    return (before.argmax(1) != after.argmax(1)).double().mean().item()


def isolation_gate(alone, request) -> float:
    """Share of the requested rows that are isolated. alone: from `isolated`."""
    return alone[request].double().mean().item()


def gradient_gate(proxy, request) -> float:
    """Norm of the mean residual of the requested rows: large when they all pull one way.

    proxy: from `residuals`.
    """
    return proxy[request].mean(0).norm().item()
