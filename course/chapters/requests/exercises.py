"""Exercises of notebook 03: what a deletion does, a request inside its budget.

Solutions use torch only, and what they import themselves, so that they can be copied out.
"""

from dataclasses import dataclass

import torch

from course.exercises.engine import Exercise


# ---------------- 3.1 hypergradient
def hypergradient(theta, gradients, weights, tau, loss_gradient):
    """d loss(θ_u) / d weights for θ_u = θ + τ Σ w_i g_i. (d,), (m, d), (m,) -> (m,)"""
    unlearned = theta + tau * gradients.T @ weights
    return tau * gradients @ loss_gradient(unlearned)


@dataclass(frozen=True, repr=False)
class LossGradient:
    """A made-up loss, ½ θᵀAθ − bᵀθ − Σ cos θ with A and b from the seed; called, its gradient."""

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
    for what, m, d, tau in (("more rows than parameters", 6, 3, 0.2),
                            ("more parameters than rows", 2, 7, 0.3),
                            ("as many rows as parameters", 4, 4, 0.4), ("a step of 1", 5, 3, 1.0),
                            ("one row", 1, 4, 0.5), ("one parameter", 5, 1, 0.5),
                            ("many rows", 40, 10, 0.05)):
        theta, gradients = torch.randn(d, generator=g), torch.randn(m, d, generator=g)
        weights = torch.rand(m, generator=g)
        cases.append((what, (theta, gradients, weights, tau, LossGradient(m + d, d))))
    theta, gradients, weights, *rest = cases[0][1]
    return cases + [("no row asked for yet", (theta, gradients, torch.zeros_like(weights), *rest)),
                    ("whole weights", (theta, gradients, (weights > 0.5).float(), *rest))]


HYPERGRADIENT = Exercise(
    id="3.1", title="Through the unlearning",
    trains="the chain rule through an unlearning step: where the outer gradient is taken, and what "
           "multiplies it",
    difficulty=4, minutes=15, points=3, solution=hypergradient, cases=_gradient_cases, atol=1e-5,
    hints=("A little more weight on row i moves the unlearned parameters a little along g_i. What "
           "that does to the attacker's loss is the product of this move with the loss's gradient, "
           "at the parameters after unlearning.",
           "θ_u = θ + τ Σ w_i g_i, so ∂θ_u/∂w_i = τ g_i and ∂ℓ/∂w_i = τ g_i · ∇ℓ(θ_u).",
           "Multiply the transposed gradients by the weights, times tau, and add that to theta. "
           "Call `loss_gradient` there. Multiply the gradients, one row each, by what it gives, "
           "times tau."),
    mistakes=(
        ("(unlearned)", "(theta)",
         "The loss's gradient is taken at the parameters before unlearning",
         "you took the loss's gradient at theta: the attacker is judged after unlearning, so take "
         "it at the unlearned parameters. Only with all weights 0 are they the same."),
        ("theta +", "theta -", "θ − τ Σ w_i g_i as the unlearned parameters",
         "you subtracted the step: to unlearn is to go up the loss of the rows, so add it."),
        (("theta +", "return "), ("theta -", "return -"), "θ − τ Σ w_i g_i, and its derivative",
         "you went down the loss of the rows, and the derivative has the minus too. To unlearn is "
         "to go up: add the step."),
        ("return tau * ", "return ", "The factor τ in front is missing",
         "the factor tau in front is missing: a weight moves the parameters by tau times its row's "
         "gradient."),
        ("gradients.T @ weights", "gradients.sum(0)",
         "The weights are not used: all rows are unlearned",
         "your unlearned parameters do not depend on the weights: multiply each row's gradient by "
         "its weight before you add them up."),
        ("return tau", "return tau * tau", "τ twice in front",
         "tau stands in front twice: the derivative of the step by a weight has it once."),
        ("gradients @ loss", "gradients.T @ loss", "The transposed gradients in the last product",
         "your last product sums over the rows: there is one answer for each row, so multiply the "
         "gradients as given, (m, d), by the loss's gradient, (d,)."),
        ("tau * gradients @ loss", "loss",
         "The gradient with respect to the parameters, not the weights",
         "this is the gradient by the parameters: go on to the weights. Each one moves the "
         "parameters along its row's gradient."),
        ("(unlearned)", "(unlearned) * weights",
         "Each row's entry is multiplied by its weight once more",
         "you multiplied by the weights once more: the derivative of w g by w is g."),
    ),
    remark="With a real network nobody stores all g_i: `attack.removal` is differentiable, and "
           "autograd forms these products. A positive entry says that asking for the row raises "
           "the attacker's loss.",
)


# ---------------- 3.2 project
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
    for what, m, budget, scale in (("a few weights, over budget", 6, 2, 0.5),
                                   ("many weights, over budget", 200, 15, 1),
                                   ("a budget for all of them", 7, 7, 1),
                                   ("a budget that is not whole", 9, 2.5, 0.8),
                                   ("one weight, over budget", 1, 0.25, 0.2),
                                   ("a budget of one row", 12, 1, 1.5)):
        weights = 0.5 + scale * torch.randn(m, generator=g).abs()
        cases.append((what, (weights - 0.3 * torch.rand(m, generator=g), budget)))
    return cases + [
        ("weights within bounds and budget", (torch.tensor([.2, .1, .5, 0]), 2)),
        ("weights out of bounds, within the budget", (torch.tensor([1.7, -.4, .3, -2]), 3)),
        ("one far above 1, over budget", (torch.tensor([2.6, .9, .8, .7, -.5]), 2)),
        ("negative weights, over budget", (torch.tensor([.9, -.6, .8, -1.5, .7, .2]), 1)),
        ("equal weights, over budget", (torch.full((5,), 0.8), 2)),
        ("no budget", (torch.tensor([.4, 1.2, -.1]), 0)),
    ]


def _top(weights, budget):
    """1 for the largest weights, as many as the budget allows, 0 for the others"""
    picked = torch.zeros_like(weights)
    picked[weights.topk(min(int(budget), len(weights))).indices] = 1
    return picked


PROJECT = Exercise(
    id="3.2", title="Back inside the budget",
    trains="Euclidean projection onto a box with a budget; bisection; why scaling is not "
           "projecting",
    difficulty=3, minutes=15, points=2, solution=project, cases=_weight_cases, atol=1e-4,
    hints=("Clipping to 0 … 1 may be all there is to do. If the sum is still over budget, the "
           "nearest point lowers all weights by the same shift, and clips again. The sum falls as "
           "the shift grows.",
           "w = clip(w, 0, 1) if its sum is at most the budget B; else w = clip(w − μ, 0, 1) with "
           "the μ > 0 for which Σ clip(w − μ, 0, 1) = B.",
           "Return the clipped weights if their sum is small enough. Else let low be 0 and high "
           "the largest weight. Fifty times: take the middle; if the weights less the middle, "
           "clipped, are still over budget, the middle is the new low, else the new high. Shift by "
           "what you found, and clip."),
    mistakes=(
        ("(weights - high).clamp(0, 1)", "clipped * budget / clipped.sum()",
         "The clipped weights are scaled down to the budget",
         "you scaled the weights: that also lands within the budget, but not at the nearest point. "
         "Subtract the same shift from all."),
        ("clamp(0, 1)", "clamp(min=0)", "Clipped at 0 only, never at 1",
         "your weights may exceed 1: clip them at both ends."),
        (("mu).clamp(0, 1)", "high).clamp(0, 1)"), ("mu).clamp(min=0)", "high).clamp(min=0)"),
         "After the shift, clipped at 0 only",
         "after the shift a weight may still be above 1: clip it at both ends, and in the search "
         "too."),
        (("<= budget", "high = 0.0"), ("< 0", "high = weights.min().item() - 1"),
         "The sum is always the budget, also where less is asked for",
         "your sum is always the budget: it is an upper bound. When clipping alone stays below it, "
         "stop there."),
        (_top,
         "you chose whole rows: here weights stay between 0 and 1. Rounding comes at the end of "
         "the attack."),
        ("weights - high", "weights - (clipped.sum() - budget) / len(weights)",
         "One shift by the excess over m, without a search",
         "one shift by the excess over m is too small: weights that reach 0 give nothing more, so "
         "the sum stays over budget. Search for the shift."),
        (("weights.max", "(weights -"), ("clipped.max", "(clipped -"),
         "The clipped weights are shifted instead of the weights",
         "you shifted the clipped weights: a weight of 2.6 should stay at 1 for longer than one of "
         "1.1. Shift the weights as given, then clip."),
        ("clipped.sum() <= budget", "True", "Clipped, and the budget is not used",
         "you clipped, and the budget is not used: the sum may be too large."),
    ),
    remark="`attack.project` is this function. The shift is the Lagrange multiplier of the budget: "
           "the price of one more request.",
)


EXERCISES = (HYPERGRADIENT, PROJECT)
