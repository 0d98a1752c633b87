"""Which genuine rows to ask to forget: effects on a target, relaxed weights, projection, rounding.

No formula of Qian et al. 2023 or 2025 could be read; what is here is reconstructed from what they
say they do.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.func import functional_call, jacrev, jvp, vmap

from ..base import LabError
from ..rules import checked
from ..unlearn.second_order import conjugate_gradients, curvature_product


@dataclass(frozen=True)
class Choice:
    """A chosen request. rows: ids to ask for; weights (m,): the relaxed solution.

    relaxed, rounded: the objective there and at the request; gap: what rounding cost.
    """

    rows: torch.Tensor
    weights: torch.Tensor
    relaxed: float
    rounded: float

    @property
    def gap(self):
        return self.rounded - self.relaxed


def project(weights, budget) -> torch.Tensor:
    """The nearest point with 0 ≤ ω ≤ 1 and Σ ω ≤ budget. (m,) -> (m,).

    Clip if that is enough; else clip(ω − μ) with the shift μ > 0 at which the sum is the budget,
    found by bisection.
    """
    clipped = weights.clamp(0, 1)
    if clipped.sum() <= budget:
        return clipped
    low, high = 0.0, float(weights.max())
    for _ in range(30):
        middle = (low + high) / 2
        if (weights - middle).clamp(0, 1).sum() > budget:
            low = middle
        else:
            high = middle
    return (weights - high).clamp(0, 1)


@checked(step="above 0")
def choose(objective, holdings, *, steps=20, step=0.5, seed=0) -> Choice:
    """Minimise `objective(ω)` over 0 ≤ ω ≤ 1, Σ ω ≤ budget by projected descent, then round.

    objective: (m,) weights of the owned rows -> scalar, differentiable: through effects (see
    `through`), or through a differentiable unlearner (as `removal`). step: largest change of a
    weight in the first step, falling with the square root of the steps. seed: of the rounding.
    Source: reconstruction from Qian et al. 2023 and 2025 (bi-level problem, ω relaxed to [0, 1]).
    """
    weights = holdings.x.new_full((len(holdings),), holdings.budget / len(holdings))
    relaxed, best = float("inf"), weights
    for i in range(steps + 1):
        weights.requires_grad_()
        value = objective(weights)
        if not torch.isfinite(value):
            raise LabError("The objective is NaN or infinite: look for the model or the effects "
                           "that diverged.")
        if value.item() < relaxed:
            relaxed, best = value.item(), weights.detach()
        (gradient,) = torch.autograd.grad(value, weights)
        size = gradient.abs().max().clamp(min=1e-12) * (i + 1) ** 0.5
        weights = project(weights.detach() - step / size * gradient, holdings.budget)
    picked, rounded = _rounded(objective, best, holdings.budget, seed)
    return Choice(holdings.rows[picked], best, relaxed, rounded)


def _rounded(objective, weights, budget, seed):
    """The best of two dozen requests. -> (indices of owned rows, objective there).

    The largest weights, in a dozen numbers from 1 to the budget, and a dozen random draws in which
    row i is asked for with probability ω_i.
    """
    order = weights.argsort(descending=True)
    counts = torch.logspace(0, math.log10(budget), 12).round().long().unique().tolist()
    draw = torch.Generator().manual_seed(seed)
    tried = [order[:k] for k in counts]
    for _ in range(12):
        hit = torch.rand(len(order), generator=draw).to(order.device) < weights
        hit = hit.nonzero().squeeze(1)
        tried.append(hit[weights[hit].argsort(descending=True)][:budget])
    zero = torch.zeros_like(weights)
    with torch.no_grad():
        values = [objective(zero.index_fill(0, rows, 1.0)).item() for rows in tried]
    value, i = min((value, i) for i, value in enumerate(values) if len(tried[i]))
    return tried[i], value


def row_losses(model, params, x, y) -> torch.Tensor:
    """Cross-entropy of each row under the given parameters. -> (m,), nats."""
    return F.cross_entropy(functional_call(model, params, (x,)), y, reduction="none")


def logits_at(model, x):
    """params -> logits of one input x (…): the outputs that most attacks look at."""
    return lambda params: functional_call(model, params, (x[None],))[0]


def first_order_effects(model, holdings, out, *, tau) -> torch.Tensor:
    """How deleting each owned row moves out(θ) under first-order unlearning. -> (m, r).

    τ ⟨∇ out_c, ∇ℓ_i⟩, the derivative at ω = 0 of out(θ + τ Σ ω_i ∇ℓ_i). out: params -> (r,), e.g.
    logits_at(model, x).
    """
    return tau * row_products(model, holdings, jacobian(model, out))


@checked
def influence_effects(model, holdings, out, *, damping=0.01, cg_steps=10, n_rows=250,
                      shrink=1.0) -> torch.Tensor:
    """How deleting each owned row moves out(θ) under retraining, by influence. -> (m, r).

    ⟨H⁻¹ ∇ out_c, ∇ℓ_i⟩ / n. H: Gauss-Newton matrix on the first `n_rows` owned rows plus
    `damping` · I (the weight decay of the victim's training is the fitting value). shrink: factor
    on the result, for attackers who have measured how much influence overstates. Source: Koh and
    Liang 2017, eq. 2.
    """
    product = curvature(model, holdings, n_rows, damping)
    solved = conjugate_gradients(product, jacobian(model, out), cg_steps)
    return shrink / holdings.n * row_products(model, holdings, solved)


def through(effects, start, goal):
    """The objective ω -> goal(start + ωᵀ effects): outputs moved linearly.

    effects (m, r), start (r,).
    """
    return lambda weights: goal(start + weights @ effects)


def removal(model, holdings, *, tau):
    """First-order unlearning as a function of weights: ω -> params θ + τ Σ ω_i ∇ℓ_i.

    Differentiable in ω.
    """
    params = params_of(model)

    def unlearned(weights):
        x, y = holdings.x, holdings.y
        if not torch.is_grad_enabled():  # a rounded request has few rows with a weight
            rows = weights.nonzero().squeeze(1)
            weights, x, y = weights[rows], x[rows], y[rows]
        g = torch.func.grad(lambda p: (weights * row_losses(model, p, x, y)).sum())(params)
        return {k: params[k] + tau * g[k] for k in params}

    return unlearned


def baseline(kind, holdings, seed, x=None, label=None) -> torch.Tensor:
    """A request without optimisation, of as many rows as the budget. -> row ids

    kind: 'random', 'same-class' (of `label`; with fewer owned rows than the budget it is asked for
    whole) or 'nearest' (to the input x, by pixels).
    """
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(holdings), generator=draw).to(holdings.rows.device)
    if kind == "same-class":
        order = order[holdings.y[order] == label]
        if not len(order):
            raise LabError(f"No owned row has the label {label!r}: give one of "
                           f"{holdings.y.unique().tolist()}.")
    elif kind == "nearest":
        if x is None or x.shape[-holdings.x[0].dim():] != holdings.x.shape[1:]:
            raise LabError("The nearest rows need the input to be near to: give x, of the shape of "
                           f"an owned row, {tuple(holdings.x.shape[1:])}.")
        order = (holdings.x - x).flatten(1).norm(dim=1).argsort()
    elif kind != "random":
        raise LabError(f"There is no baseline {kind!r}: choose 'random', 'same-class' or "
                       "'nearest'.")
    return holdings.rows[order[: holdings.budget]]


def params_of(model) -> dict:
    """The parameters, detached: dict name -> tensor."""
    return {k: p.detach() for k, p in model.named_parameters()}


def curvature(model, holdings, n_rows, damping):
    """v -> (H + damping · I) v for many v at once, dict name -> (r, …): on the first owned rows."""
    params, x, y = params_of(model), holdings.x[:n_rows], holdings.y[:n_rows]
    return vmap(lambda v: curvature_product(model, params, x, y, v, damping=damping))


def jacobian(model, out) -> dict:
    """∇ out_c for each output of out: params -> (r,): dict name -> (r, …)."""
    return jacrev(out)(params_of(model))


def row_products(model, holdings, directions) -> torch.Tensor:
    """⟨v_c, ∇ℓ_i⟩ of each owned row and direction. directions: name -> (r, …). -> (m, r).

    All directions in one forward pass.
    """
    params = params_of(model)

    def losses(p):
        return row_losses(model, p, holdings.x, holdings.y)

    along = vmap(lambda v: jvp(losses, (params,), (v,))[1],
                 chunk_size=max(1, 2**24 // holdings.x.numel()))  # memory grows with both
    return along(directions).T.contiguous()
