"""Exercises of notebook 03 on the attack: the projection onto the budget, and the gradient through unlearning."""

from dataclasses import dataclass

import torch

from course.exercises.engine import Exercise

# ---------------- 3.4 project


def project(weights, budget):
    """The nearest point with 0 ≤ w ≤ 1 and a sum of at most the budget. (m,), number -> (m,)"""
    clipped = weights.clamp(0, 1)
    if clipped.sum() <= budget:
        return clipped
    low, high = 0.0, weights.max().item()
    for _ in range(50):
        mu = (low + high) / 2
        if (weights - mu).clamp(0, 1).sum() > budget:
            low = mu
        else:
            high = mu
    return (weights - high).clamp(0, 1)


def _weight_cases():
    g, cases = torch.Generator().manual_seed(33), []
    for what, m, budget, scale in (("a few weights, over budget", 6, 2, 0.5), ("many weights, over budget", 200, 15, 1),
                                   ("a budget for all of them", 7, 7, 1), ("a budget that is not whole", 9, 2.5, 0.8),
                                   ("one weight, over budget", 1, 0.25, 0.2), ("a budget of one row", 12, 1, 1.5)):
        cases.append((what, (0.5 + scale * torch.randn(m, generator=g).abs() - 0.3 * torch.rand(m, generator=g),
                             budget)))
    return cases + [
        ("weights within bounds and budget", (torch.tensor([.2, .1, .5, 0]), 2)),
        ("weights out of bounds, within the budget", (torch.tensor([1.7, -.4, .3, -2]), 3)),
        ("one far above 1, over budget", (torch.tensor([2.6, .9, .8, .7, -.5]), 2)),
        ("negative weights, over budget", (torch.tensor([.9, -.6, .8, -1.5, .7, .2]), 1)),
        ("equal weights, over budget", (torch.full((5,), 0.8), 2)),
        ("no budget", (torch.tensor([.4, 1.2, -.1]), 0)),
    ]


def _shifted(weights, budget, low, upper):
    """clip(weights − mu, 0, upper) with the budget as its sum, mu ≥ low."""
    high = float(weights.max())
    for _ in range(60):
        mu = (low + high) / 2
        low, high = (mu, high) if (weights - mu).clamp(0, upper).sum() > budget else (low, mu)
    return (weights - high).clamp(0, upper)


def _scaled(weights, budget):
    """The clipped weights are scaled down to the budget"""
    clipped = weights.clamp(0, 1)
    return clipped * min(1.0, budget / max(float(clipped.sum()), 1e-12))


def _below_only(weights, budget):
    """Clipped at 0 only, never at 1"""
    clipped = weights.clamp(min=0)
    return clipped if clipped.sum() <= budget else _shifted(weights, budget, 0.0, None)


def _no_clip_at_one(weights, budget):
    """After the shift, clipped at 0 only"""
    clipped = weights.clamp(0, 1)
    return clipped if clipped.sum() <= budget else _shifted(weights, budget, 0.0, None)


def _always_equal(weights, budget):
    """The sum is always the budget, also where less is asked for"""
    return _shifted(weights, budget, float(weights.min()) - 1, 1)


def _top(weights, budget):
    """1 for the largest weights, as many as the budget allows, 0 for the others"""
    picked = torch.zeros_like(weights)
    picked[weights.topk(min(int(budget), len(weights))).indices] = 1
    return picked


def _one_shift(weights, budget):
    """One shift by the excess over m, without a search"""
    clipped = weights.clamp(0, 1)
    over = clipped.sum() - budget
    return clipped if over <= 0 else (weights - over / len(weights)).clamp(0, 1)


def _shift_of_clipped(weights, budget):
    """The clipped weights are shifted instead of the weights"""
    clipped = weights.clamp(0, 1)
    return clipped if clipped.sum() <= budget else _shifted(clipped, budget, 0.0, 1)


def _no_budget(weights, budget):
    """Clipped, and the budget is not used"""
    return weights.clamp(0, 1)


PROJECT = Exercise(
    id="3.4", title="Back inside the budget",
    trains="Euclidean projection onto a box with a budget; bisection; why scaling is not projecting",
    difficulty=3, minutes=15, points=2, solution=project, cases=_weight_cases, atol=1e-4,
    hints=("Clipping to 0 … 1 may be all there is to do. If the sum is still over budget, the nearest point lowers "
           "all weights by the same shift, and clips again. The sum falls as the shift grows.",
           "w = clip(w, 0, 1) if its sum is at most the budget B; else w = clip(w − μ, 0, 1) with the μ > 0 for which "
           "Σ clip(w − μ, 0, 1) = B.",
           "Return the clipped weights if their sum is small enough. Else let low be 0 and high the largest weight. "
           "Fifty times: take the middle; if the weights less the middle, clipped, are still over budget, the middle "
           "is the new low, else the new high. Shift by what you found, and clip."),
    mistakes=(
        (_scaled, "you scaled the weights: that also lands within the budget, but not at the nearest point. Subtract "
                  "the same shift from all."),
        (_below_only, "your weights may exceed 1: clip them at both ends."),
        (_no_clip_at_one, "after the shift a weight may still be above 1: clip it at both ends, and in the search "
                          "too."),
        (_always_equal, "your sum is always the budget: it is an upper bound. When clipping alone stays below it, "
                        "stop there."),
        (_top, "you chose whole rows: here weights stay between 0 and 1. Rounding comes at the end of the attack."),
        (_one_shift, "one shift by the excess over m is too small: weights that reach 0 give nothing more, so the "
                     "sum stays over budget. Search for the shift."),
        (_shift_of_clipped, "you shifted the clipped weights: a weight of 2.6 should stay at 1 for longer than one of "
                            "1.1. Shift the weights as given, then clip."),
        (_no_budget, "you clipped, and the budget is not used: the sum may be too large."),
    ),
    remark="`attack.project` is this function. The shift is the Lagrange multiplier of the budget: the price of one "
           "more request.",
)

# ---------------- 3.3 hypergradient


def hypergradient(theta, gradients, weights, tau, loss_gradient):
    """d loss(θ_u) / d weights for θ_u = θ + τ Σ w_i g_i. (d,), (m, d), (m,), float, callable -> (m,)"""
    unlearned = theta + tau * gradients.T @ weights
    return tau * gradients @ loss_gradient(unlearned)


@dataclass(frozen=True, repr=False)
class LossGradient:
    """A made-up loss of d parameters, ½ θᵀAθ − bᵀθ − Σ cos θ with A and b from the seed; called, its gradient."""

    seed: int
    d: int

    def __call__(self, theta):
        a, b = self._drawn()
        return a @ theta - b + theta.sin()

    def loss(self, theta):
        a, b = self._drawn()
        return theta @ a @ theta / 2 - b @ theta - theta.cos().sum()

    def _drawn(self):
        g = torch.Generator().manual_seed(self.seed)
        a, b = torch.randn(self.d, self.d, generator=g), torch.randn(self.d, generator=g)
        return a + a.T, b

    def __repr__(self):
        return f"the gradient of a loss of {self.d} parameters"


def _gradient_cases():
    g, cases = torch.Generator().manual_seed(34), []
    for what, m, d, tau in (("more rows than parameters", 6, 3, 0.2), ("more parameters than rows", 2, 7, 0.3),
                            ("as many rows as parameters", 4, 4, 0.4), ("a step of 1", 5, 3, 1.0),
                            ("one row", 1, 4, 0.5), ("one parameter", 5, 1, 0.5), ("many rows", 40, 10, 0.05)):
        theta, gradients = torch.randn(d, generator=g), torch.randn(m, d, generator=g)
        cases.append((what, (theta, gradients, torch.rand(m, generator=g), tau, LossGradient(m + d, d))))
    theta, gradients, weights, tau, loss_gradient = cases[0][1]
    cases.append(("no row asked for yet", (theta, gradients, torch.zeros_like(weights), tau, loss_gradient)))
    cases.append(("whole weights", (theta, gradients, (weights > 0.5).float(), tau, loss_gradient)))
    return cases


def _at_theta(theta, gradients, weights, tau, loss_gradient):
    """The loss's gradient is taken at the parameters before unlearning"""
    return tau * gradients @ loss_gradient(theta)


def _minus(theta, gradients, weights, tau, loss_gradient):
    """θ − τ Σ w_i g_i as the unlearned parameters"""
    return tau * gradients @ loss_gradient(theta - tau * gradients.T @ weights)


def _downhill(theta, gradients, weights, tau, loss_gradient):
    """θ − τ Σ w_i g_i, and its derivative"""
    return -_minus(theta, gradients, weights, tau, loss_gradient)


def _no_tau(theta, gradients, weights, tau, loss_gradient):
    """The factor τ in front is missing"""
    return gradients @ loss_gradient(theta + tau * gradients.T @ weights)


def _all_rows(theta, gradients, weights, tau, loss_gradient):
    """The weights are not used: all rows are unlearned"""
    return tau * gradients @ loss_gradient(theta + tau * gradients.sum(0))


def _tau_squared(theta, gradients, weights, tau, loss_gradient):
    """τ twice in front"""
    return tau * hypergradient(theta, gradients, weights, tau, loss_gradient)


def _transposed(theta, gradients, weights, tau, loss_gradient):
    """The transposed gradients in the last product"""
    return tau * gradients.T @ loss_gradient(theta + tau * gradients.T @ weights)


def _parameters(theta, gradients, weights, tau, loss_gradient):
    """The gradient with respect to the parameters, not the weights"""
    return loss_gradient(theta + tau * gradients.T @ weights)


def _weighted(theta, gradients, weights, tau, loss_gradient):
    """Each row's entry is multiplied by its weight once more"""
    return weights * hypergradient(theta, gradients, weights, tau, loss_gradient)


HYPERGRADIENT = Exercise(
    id="3.3", title="Through the unlearning",
    trains="the chain rule through an unlearning step: where the outer gradient is taken, and what multiplies it",
    difficulty=4, minutes=15, points=3, solution=hypergradient, cases=_gradient_cases, atol=1e-5,
    hints=("A little more weight on row i moves the unlearned parameters a little along g_i. What that does to the "
           "attacker's loss is the product of this move with the loss's gradient, at the parameters after unlearning.",
           "θ_u = θ + τ Σ w_i g_i, so ∂θ_u/∂w_i = τ g_i and ∂ℓ/∂w_i = τ g_i · ∇ℓ(θ_u).",
           "Multiply the transposed gradients by the weights, times tau, and add that to theta. Call `loss_gradient` "
           "there. Multiply the gradients, one row each, by what it gives, times tau."),
    mistakes=(
        (_at_theta, "you took the loss's gradient at theta: the attacker is judged after unlearning, so take it at "
                    "the unlearned parameters. Only with all weights 0 are they the same."),
        (_minus, "you subtracted the step: to unlearn is to go up the loss of the rows, so add it."),
        (_downhill, "you went down the loss of the rows, and the derivative has the minus too. To unlearn is to go "
                    "up: add the step."),
        (_no_tau, "the factor tau in front is missing: a weight moves the parameters by tau times its row's gradient."),
        (_all_rows, "your unlearned parameters do not depend on the weights: multiply each row's gradient by its "
                    "weight before you add them up."),
        (_tau_squared, "tau stands in front twice: the derivative of the step by a weight has it once."),
        (_transposed, "your last product sums over the rows: there is one answer for each row, so multiply the "
                      "gradients as given, (m, d), by the loss's gradient, (d,)."),
        (_parameters, "this is the gradient by the parameters: go on to the weights. Each one moves the parameters "
                      "along its row's gradient."),
        (_weighted, "you multiplied by the weights once more: the derivative of w g by w is g."),
    ),
    remark="With a real network nobody stores all g_i: `attack.removal` is differentiable, and autograd forms these "
           "products. A positive entry says that asking for the row raises the attacker's loss.",
)
