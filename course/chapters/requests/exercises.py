"""Exercises of notebook 03: what a deletion does, a request inside its budget, past a gate.

Solutions use torch only, and what they import themselves, so that they can be copied out.
"""

from dataclasses import dataclass

import torch

from course.chapters.requests import gate
from course.exercises.engine import Exercise


# ---------------- 3.1 margin
def margin(logits, label):
    """Logit of the label minus the largest other one. (k,) float, int -> scalar tensor"""
    others = torch.cat([logits[:label], logits[label + 1:]])
    return logits[label] - others.max()


def _logit_cases():
    g, cases = torch.Generator().manual_seed(31), []
    for what, k, label in (("the label leads or not, three classes", 3, 1), ("two classes", 2, 0),
                           ("the first class", 6, 0), ("the last class", 6, 5),
                           ("many classes", 40, 17)):
        cases.append((what, (3 * torch.randn(k, generator=g), label)))
    return cases + [
        ("the label leads", (torch.tensor([0.5, 4.0, 1.0, -2.0]), 1)),
        ("another label wins", (torch.tensor([5.0, -1.0, 2.0, 2.5]), 2)),
        ("a tie with another label", (torch.tensor([2.0, 2.0, -1.0]), 0)),
        ("all logits below 0", (torch.tensor([-3.0, -1.5, -2.0]), 2)),
        ("the runner-up twice", (torch.tensor([1.0, 3.0, 1.0]), 1)),
    ]


MARGIN = Exercise(
    id="3.1", title="How far to another label?",
    trains="the margin: what an attacker on labels lowers, and why the label itself is left out of "
           "the maximum",
    difficulty=1, minutes=5, points=1, solution=margin, cases=_logit_cases, gradients=(0,),
    hints=("The label holds while its logit is above all others. How far above the strongest of "
           "the others is it?",
           "m = z_y − max over c ≠ y of z_c. It is below 0 when another label has won.",
           "Join the logits before the label and those after it with `torch.cat`, take the "
           "largest, and subtract it from the label's logit. Keep tensors: a gradient has to come "
           "through."),
    mistakes=(
        ("others.max()", "logits.max()", "The label is among the others",
         "you took the largest of all logits: the label is among them, so the margin never gets "
         "above 0. Leave it out."),
        (("logits[label] -", "- others"), ("others.max() -", "- logits[label]#"),
         "The largest other logit minus that of the label",
         "you subtracted the label's logit from the other one: it is the other way round, above 0 "
         "while the label holds."),
        ("others.max()", "others.mean()", "The mean of the others instead of the largest",
         "you took the mean of the others: the strongest of them wins, so take the largest."),
        ("logits[label] - others.max()",
         "logits.softmax(0)[label] - torch.cat([logits.softmax(0)[:label], "
         "logits.softmax(0)[label + 1:]]).max()", "A margin of probabilities",
         "you compared probabilities: the margin is one of logits, before the softmax."),
        ("others.max()", "others.sum()", "The sum of the others instead of the largest",
         "you added up the others: only the strongest of them can win, so take the largest."),
    ),
    remark="`attack.margin` does it for many rows at once. With two classes it is the log-odds of "
           "the label.",
)


# ---------------- 3.2 hypergradient
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
    id="3.2", title="Through the unlearning",
    trains="the chain rule through an unlearning step: where the outer gradient is taken, and what "
           "multiplies it",
    difficulty=3, minutes=12, points=3, solution=hypergradient, cases=_gradient_cases, atol=1e-5,
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


# ---------------- 3.3 project
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
    id="3.3", title="Back inside the budget",
    trains="Euclidean projection onto a box with a budget; bisection; why scaling is not "
           "projecting",
    difficulty=3, minutes=12, points=2, solution=project, cases=_weight_cases, atol=1e-4,
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


# ---------------- 3.4 next_request
def next_request(plan, rows, budget, left):
    """The rows to ask for in this round, of a plan for all that is left of the budget.

    plan: budget -> (m,) weights of the rows, chosen at the present model; rows (m,): their ids;
    left: rounds that are left, this one included. -> ids (b,)
    """
    share = -(-budget // left)
    weights = plan(budget)
    best = weights.topk(min(share, len(rows)))
    return rows[best.indices[best.values > 0.05]]


@dataclass(frozen=True, repr=False)
class Plan:
    """Made-up plans for m rows: another budget, other weights. Below 0.05 a row would do harm."""

    seed: int
    m: int

    def __call__(self, budget):
        g = torch.Generator().manual_seed(self.seed + 97 * budget)
        weights = torch.rand(self.m, generator=g)
        weak = torch.randperm(self.m, generator=g)[: max(0, self.m - budget - 2)]
        return weights.index_fill(0, weak, 0.0)

    def __repr__(self):
        return f"a plan for {self.m} rows"


def _round_cases():
    g, cases = torch.Generator().manual_seed(36), []
    for what, m, budget, left in (("the first of five rounds", 30, 20, 5),
                                  ("a share that is not whole", 25, 11, 4),
                                  ("the last round", 12, 3, 1), ("two rounds left", 40, 9, 2),
                                  ("more budget than rows", 4, 9, 2),
                                  ("less than a row a round", 15, 2, 5),
                                  ("one row left", 1, 1, 3)):
        ids = torch.randperm(10 * m, generator=g)[:m]
        cases.append((what, (Plan(m + budget, m), ids, budget, left)))
    return cases + [("a plan that wants almost nothing", (_thin, torch.arange(50, 58), 6, 2)),
                    ("a plan that wants nothing", (_nothing, torch.arange(70, 75), 4, 2))]


def _thin(budget):
    """Two rows of eight are worth asking for."""
    return torch.tensor([0.0, 0.9, 0.01, 0.0, 0.6, 0.02, 0.0, 0.03]) * (budget > 4)


def _nothing(budget):
    """No row is worth asking for."""
    return torch.full((5,), 0.01) * budget / 4


def _sorted_rows(rows, *_):
    return rows.sort().values


NEXT = Exercise(
    id="3.4", title="Look, plan, send a part",
    trains="receding horizon: plan for all that is left, carry out the first part, plan anew",
    difficulty=4, minutes=10, points=3, solution=next_request, cases=_round_cases,
    measured="the rows asked for", measure=_sorted_rows,
    hints=("In each round the attacker plans as if everything were still to be sent, and then "
           "sends only this round's share of it: the strongest rows of the plan. In the next round "
           "the model is another, and so is the plan.",
           "share = ⌈budget / rounds left⌉. Of the weights ω = plan(budget), the rows of the "
           "`share` largest, without those of ω_i ≤ 0.05.",
           "Divide the budget by the rounds that are left and round up. Get the weights for the "
           "whole budget. `topk` gives the largest ones, at most as many as there are rows; keep "
           "those above 0.05, and look up their ids."),
    mistakes=(
        ("plan(budget)", "plan(share)", "The plan is for this round's share only",
         "you planned for this round alone: that is the greedy attacker. Plan for all that is left "
         "of the budget."),
        ("-(-budget // left)", "budget // left", "The share is rounded down",
         "you rounded the share down: rows are left over at the end. Round up."),
        ("min(share, len(rows))", "min(budget, len(rows))", "The whole budget in this round",
         "you sent the whole plan: only this round's share goes out, the rest is planned anew."),
        ("[best.values > 0.05]", "", "Rows that the plan does not want are asked for, too",
         "you asked for rows of weight 0.05 or less: the plan does not want them, and they would "
         "only harm it."),
        ("rows[best.indices[best.values > 0.05]]", "best.indices[best.values > 0.05]",
         "Positions instead of ids",
         "you gave positions among the rows: look up their ids."),
        ("weights.topk(min(share, len(rows)))",
         "(-weights).topk(min(share, len(rows)))", "The weakest rows of the plan",
         "you took the smallest weights: the largest are those that the plan wants most."),
    ),
    remark="`here.replan` does this, and the greedy plan. Engineers call it model predictive "
           "control: a long plan, a short step, and a new look.",
)


# ---------------- 3.5 stealthy
def stealthy(effects, start, label, proxy, limit, budget):
    """Rows that lower the target's margin while the gate's score stays within its limit.

    effects (m, k): what asking for a row adds to the target's logits start (k,), whose label is
    given; proxy (m, k): each row's residual. The gate's score is the length of the mean residual
    of the rows asked for. -> indices (b,) int64, at most budget, each once
    """
    def margin(z):
        others = torch.cat([z[..., :label], z[..., label + 1:]], -1)
        return z[..., label] - others.amax(-1)

    lowest, found = margin(start), torch.zeros(0, dtype=torch.long)
    for price in (0, 0.3, 1, 3, 10, 30):  # what a unit of score above the limit costs
        logits, pull, picked = start, torch.zeros_like(start), []
        for size in range(1, min(budget, len(effects)) + 1):
            above = ((pull + proxy).norm(dim=1) / size - limit).clamp(min=0)
            cost = margin(logits + effects) + price * above
            cost[picked] = torch.inf
            best = int(cost.argmin())
            picked.append(best)
            logits, pull = logits + effects[best], pull + proxy[best]
            if pull.norm() / size <= limit and margin(logits) < lowest:
                lowest, found = margin(logits), torch.tensor(picked)
    return found


def _gate_cases():
    cases = []
    for what, seed, m, k, limit, budget in (
            ("a gate of medium strictness", 1, 60, 4, 0.22, 12),
            ("a strict gate", 2, 80, 5, 0.15, 16), ("three classes", 3, 40, 3, 0.25, 10),
            ("two classes", 4, 50, 2, 0.2, 10), ("many rows", 5, 200, 10, 0.25, 30)):
        g = torch.Generator().manual_seed(seed)
        y = torch.randint(k, (m,), generator=g)
        p = (2 * torch.randn(m, k, generator=g) + 1.5 * torch.eye(k)[y]).softmax(1)
        proxy = p - torch.eye(k)[y]
        near = 12 * torch.rand(m, 1, generator=g) ** 2 / budget  # how near the target a row lies
        start = torch.randn(k, generator=g).sort(descending=True).values + 2 * torch.eye(k)[0]
        turn = torch.randperm(k, generator=g)
        label = int((turn == 0).nonzero())
        cases.append((what, (near * proxy, start[turn], label, proxy, limit, budget)))
    return cases


def _fall(rows, effects, start, label, proxy, limit, budget):
    """How far a request lowers the margin, in logits; nothing where the gate refuses it."""
    if rows.dtype != torch.long or rows.dim() != 1:
        raise ValueError("asked was for the rows' indices, a tensor (b,) of int64")
    if len(rows.unique()) < len(rows) or len(rows) > budget:
        raise ValueError("a row is asked for twice, or more rows than the budget allows")
    if not len(rows) or proxy[rows].mean(0).norm() > limit * (1 + 1e-5):
        return 0.0
    z = torch.stack([start, start + effects[rows].sum(0)])
    return -float(gate.attack.margin(z, label).diff())


def _halfway(effects, start, label, proxy, limit, budget):
    """Halfway from the plain choice, diluted until the gate lets it through, to the solution."""
    picked = gate.plain(effects, start, label, budget)
    both = (gate.diluted(picked, proxy, limit, budget),
            stealthy(effects, start, label, proxy, limit, budget))
    return sum(_fall(rows, effects, start, label, proxy, limit, budget) for rows in both) / 2


STEALTHY = Exercise(
    id="3.5", title="Past the gate",
    trains="an adaptive attack: two aims in one loss, a constraint that is checked, the price of "
           "being noticed",
    difficulty=5, minutes=25, points=5, solution=stealthy, cases=_gate_cases,
    measured="the fall of the margin behind the gate", measure=_fall, floor=_halfway,
    hints=("The gate sees one thing, the mean residual: rows that pull it to opposite sides cancel "
           "there. They need not cancel at the target.",
           "Lower margin + price · max(0, score − limit) instead of the margin alone, and in the "
           "end keep only what is within the limit. Which price is right differs from target to "
           "target: try several.",
           "For each of a few prices build a request row by row: of the rows that are left, take "
           "the one after which margin plus price times excess is lowest. After each row, if the "
           "score is within the limit and the margin lower than ever before, remember the request. "
           "Or use gradients on relaxed weights, and `project`."),
    mistakes=(
        ("(0, 0.3, 1, 3, 10, 30)", "(0,)", "The gate has no price: only what passes is kept",
         "you chose as if there were no gate, and kept what happens to pass: let the score count "
         "while you choose."),
        ("pull.norm() / size <= limit and ", "", "The limit is not checked at the end",
         "your request is over the limit: the gate refuses it, and nothing is deleted. Keep only "
         "what is within the limit."),
        (("cost = margin", "< lowest"), ("cost = -margin", "> lowest"),
         "The margin is raised", "you raise the margin: the attacker wants it low, below 0."),
        ("cost[picked] = torch.inf", "cost = cost + 0", "A row is asked for more than once",
         "a row can be asked for once: leave out what is picked already."),
        ("found = margin(logits), torch.tensor(picked)",
         "found = margin(logits), torch.tensor(picked)[:1]", "Only the first row is returned",
         "you return one row: the gate looks at the mean, and needs the others that balance it."),
    ),
    remark="The gate's own score in the attacker's loss: that is how a defence falls that nobody "
           "had attacked. Notebook 10 lets a monitor meet such an attacker.",
)


EXERCISES = (MARGIN, HYPERGRADIENT, PROJECT, NEXT, STEALTHY)
