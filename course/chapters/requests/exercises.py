"""Exercises of notebook 03: entropy and calibration error, the attack, prediction sets.

Solutions use torch only, and what they import themselves, so that they can be copied out.
"""

from dataclasses import dataclass

import torch

from course.exercises.engine import Exercise


# ---------------- 3.1 entropy
def entropy(p):
    """Entropy of each row in nats; a probability of 0 adds 0. (n, k) -> (n,)"""
    logs = torch.where(p > 0, p, 1).log()  # log 1 = 0 where p is 0
    return -(p * logs).sum(1)


def _probability_cases():
    g, cases = torch.Generator().manual_seed(31), []
    for what, n, k, scale in (("more rows than classes", 7, 3, 1),
                              ("more classes than rows", 2, 9, 1),
                              ("as many rows as classes", 4, 4, 2), ("two classes", 6, 2, 1),
                              ("one row", 1, 5, 1), ("many rows", 300, 10, 3)):
        cases.append((what, ((scale * torch.randn(n, k, generator=g)).softmax(1),)))
    return cases + [
        ("classes of probability 0",
         (torch.tensor([[.5, .5, 0, 0], [0, .2, .7, .1], [.9, 0, 0, .1]]),)),
        ("rows that are certain", (torch.eye(4)[[2, 0, 0]],)),
        ("equal probabilities", (torch.full((3, 8), 1 / 8),)),
        ("tiny probabilities", (torch.tensor([[1 - 3e-5, 1e-5, 2e-5], [.4, .6 - 1e-6, 1e-6]]),)),
    ]


ENTROPY = Exercise(
    id="3.1", title="How unsure is it?",
    trains="entropy of a prediction; the limit at probability 0; the class axis", difficulty=1,
    minutes=5, points=1, solution=entropy, cases=_probability_cases, any_float=True,
    hints=("A row that spreads its probability is unsure. Each class adds its probability times "
           "how surprising it would be, and a class of probability 0 adds nothing.",
           "H = −Σ_c p_c ln p_c, the sum over the classes c of a row, with 0 · ln 0 = 0.",
           "Replace the zeros by ones (`torch.where`) before the logarithm, so that it is 0 there. "
           "Multiply by the probabilities, add up over dimension 1, and change the sign."),
    mistakes=(
        ("log()", "log2()", "Bits instead of nats",
         "your entropy is in bits: take the natural logarithm for nats."),
        ("torch.where(p > 0, p, 1)", "p", "0 · log 0 is left as it is: NaN",
         "0 · log 0 is NaN to a computer: its limit is 0, so a class of probability 0 must add 0."),
        ("-(p", "(p", "The minus is missing",
         "the minus is missing: logarithms of probabilities are negative, entropy is not."),
        ("sum(1)", "sum(0)", "The sum runs over the rows instead of the classes",
         "you added up over the rows: each row has an entropy, so add up over the classes, "
         "dimension 1."),
        ("sum(1)", "mean(1)", "The mean over the classes instead of the sum",
         "you took the mean over the classes: entropy is their sum, weighted by p already."),
        ("sum(1)", "sum(1).mean()", "One number for all rows, their mean",
         "you averaged over the rows: give one value for each of them."),
        ("torch.where(p > 0, p, 1)", "(p + 1e-3)", "log(p + 0.001), so that zeros do no harm",
         "you added something to p inside the logarithm, and enough to be seen in every row. Treat "
         "the zeros alone."),
        ("-(p * logs).sum(1)", "entropy(p.softmax(1))", "A softmax is taken of the probabilities",
         "you took a softmax of the argument: it holds probabilities already."),
    ),
    remark="`torch.special.entr(p).sum(1)` does the same. The largest value is ln k, with all "
           "classes alike.",
)


# ---------------- 3.2 ece
def ece(confidence, correct, bins):
    """Expected calibration error with equal-width bins, 0 to 1. (n,), (n,) bool, int -> float"""
    which = (confidence * bins).long().clamp(max=bins - 1)
    total = 0.0
    for b in range(bins):
        inside = which == b
        if inside.any():
            gap = confidence[inside].mean() - correct[inside].float().mean()
            total += inside.float().mean() * gap.abs()
    return float(total)


def _confidence_cases():
    g, cases = torch.Generator().manual_seed(32), []
    for what, n, bins, trust in (("a few rows", 12, 3, .7), ("more bins than rows", 4, 20, .9),
                                 ("one bin", 9, 1, .8), ("one row", 1, 5, .5),
                                 ("many rows", 400, 10, .8), ("two bins", 30, 2, 1.2)):
        # no confidence near an edge: there the rounding of confidence * bins would decide
        inside = 0.05 + 0.9 * torch.rand(n, generator=g)
        confidence = (torch.randint(0, bins, (n,), generator=g) + inside) / bins
        cases.append((what, (confidence, torch.rand(n, generator=g) < trust * confidence, bins)))
    quarters = torch.tensor([.25, .5, .75, .75, .5, .625, .375, .875])
    return cases + [
        ("confidences of exactly 1",
         (torch.tensor([1., 1, 1, .9, .6]), torch.tensor([1, 0, 0, 1, 1]) > 0, 4)),
        ("confidences on the edges of bins",
         (quarters, torch.tensor([0, 1, 1, 1, 0, 0, 0, 1]) > 0, 4)),
        ("too sure in one bin, not sure enough in the other",
         (torch.tensor([.6, .6, .6, .9, .9, .9]), torch.tensor([1, 1, 1, 1, 0, 0]) > 0, 5)),
        ("always right, always sure", (torch.ones(5), torch.ones(5) > 0, 10)),
        ("never right", (torch.tensor([.3, .55, .99, 1]), torch.zeros(4) > 0, 8)),
    ]


ECE = Exercise(
    id="3.2", title="Is it right as often as it says?",
    trains="calibration error: a gap for each bin, its absolute value, its weight; edges and empty "
           "bins",
    difficulty=2, minutes=12, points=1, solution=ece, cases=_confidence_cases,
    hints=("Put rows of similar confidence into one bin. There, compare how sure they are on "
           "average with how many are right. A bin with many rows counts more.",
           "ECE = Σ_b (n_b / n) · |conf_b − acc_b|, over the bins that have rows; the bin is "
           "⌊confidence · B⌋, and B − 1 for a confidence of 1.",
           "The bin's number is the confidence times `bins` as a whole number, at most bins − 1. "
           "Go through the bins: leave out empty ones, take the mean of the confidences and of "
           "`correct` (as floats), and add the absolute difference times the bin's share of all "
           "rows."),
    mistakes=(
        (("inside.float().mean() * ", "float(total)"), ("", "float(total) / len(which.unique())"),
         "The plain mean over the bins that have rows",
         "all bins count the same in yours, however few rows they hold: weight each by its share."),
        (("inside.float().mean() * ", "float(total)"), ("", "float(total) / bins"),
         "The sum of the gaps divided by the number of bins",
         "you divided by the number of bins: weight each bin by its share of the rows instead."),
        (".abs()", "", "The gaps keep their signs, so they cancel between bins",
         "your gaps keep their signs, so too sure in one bin cancels not sure enough in another. "
         "Take the absolute value in each bin."),
        ((".abs()", "float(total)"), ("", "abs(float(total))"),
         "The absolute value is taken once, after the sum over the bins",
         "you took the absolute value after the sum, when the gaps had already cancelled. Take it "
         "in each bin."),
        ("confidence[inside].mean() - correct[inside].float().mean()",
         "(confidence - correct.float())[inside].abs().mean()",
         "The absolute value is taken in each row, before the mean over the bin",
         "you took the absolute value in each row: one row is right or wrong and never 70 % right. "
         "Average in the bin first."),
        (".clamp(max=bins - 1)", "", "A confidence of 1 lies in no bin",
         "a confidence of exactly 1 falls out of your last bin: networks that overfit have many."),
        ("inside.any()", "True", "Empty bins give NaN",
         "an empty bin makes your result NaN, as its mean divides by zero: leave it out."),
        ("float(total)", "100 * float(total)", "In percent",
         "your result is in percent: give it between 0 and 1."),
        ("long().clamp(max=bins - 1)", "ceil().long().clamp(min=1) - 1",
         "A bin holds its upper edge instead of the lower one",
         "your bins hold their upper edges: here a bin holds its lower edge, and the last one 1 "
         "too."),
        ("confidence[inside].mean()", "(b + 0.5) / bins",
         "The middle of the bin stands for its mean confidence",
         "you took the middle of the bin: take the mean confidence of its rows."),
    ),
    remark="`measure.ece` is this without a loop. It takes probabilities and labels, with 10 bins "
           "unless told.",
)


# ---------------- 3.3 hypergradient
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
    id="3.3", title="Through the unlearning",
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
    id="3.4", title="Back inside the budget",
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


# ---------------- 3.5 conformal_threshold
def conformal_threshold(scores, alpha):
    """The ⌈(n + 1)(1 − α)⌉-th smallest score; 1.0 when there are fewer. (n,), float -> float"""
    import math

    rank = math.ceil((len(scores) + 1) * (1 - alpha))
    if rank > len(scores):
        return 1.0
    return scores.sort().values[rank - 1].item()


def _calibration_cases():
    # (n + 1)(1 − α) is exact in binary or far from a whole number: rounding does not decide
    g, cases = torch.Generator().manual_seed(35), []
    for what, n, alpha in (("a rank that is not whole", 12, 0.1),
                           ("a rank that is whole", 15, 0.25),
                           ("the rank of the largest score", 7, 0.125), ("many scores", 200, 0.1),
                           ("too few scores", 5, 0.1), ("far too few scores", 2, 0.01),
                           ("one score, enough", 1, 0.5), ("one score, too few", 1, 0.25),
                           ("half of them", 10, 0.5), ("large alpha", 9, 0.97),
                           ("another level", 30, 0.2)):
        cases.append((what, (0.05 + 0.9 * torch.rand(n, generator=g), alpha)))
    return cases + [("tied scores", (torch.tensor([.5, .2, .5, .2, .7, .2, .5]), 0.375))]


CONFORMAL = Exercise(
    id="3.5", title="A threshold that keeps its promise",
    trains="the conformal quantile: where the + 1 comes from, and what to do with too few rows",
    difficulty=3, minutes=10, points=2, solution=conformal_threshold, cases=_calibration_cases,
    hints=("The score of a new row is equally likely to take each of the n + 1 places among the "
           "calibration scores. Take the smallest threshold that keeps it in at least a share 1 − "
           "alpha of them.",
           "rank = ⌈(n + 1)(1 − α)⌉; the threshold is the score of that rank in ascending order, "
           "from 1, and 1.0 if the rank is larger than n.",
           "Get the rank with `math.ceil`. If it is larger than the number of scores, give 1.0. "
           "Else sort the scores, and take the one at the rank less 1, as a float: positions count "
           "from 0."),
    mistakes=(
        (("rank > len(scores)", "scores.sort().values[rank - 1]"),
         ("False", "torch.quantile(scores, 1 - alpha)"),
         "The plain quantile, between two scores",
         "this is the plain quantile, between two scores. It has no + 1 for the new row, so it "
         "covers too few: take the score at the rank."),
        ("(len(scores) + 1)", "len(scores)", "Rank n (1 − α), without the + 1",
         "your rank forgets the new row: it is one of n + 1, so multiply n + 1 by 1 − alpha."),
        ("ceil", "floor", "The rank is rounded down",
         "you rounded the rank down: that covers less than 1 − alpha. Round up."),
        ("(1 - alpha)", "alpha", "α instead of 1 − α",
         "you took alpha for 1 − alpha: alpha is the share of rows that may be missed."),
        ("return 1.0", "rank = len(scores)", "The largest score when there are too few",
         "with too few scores you gave the largest one: it promises less than 1 − alpha. Give 1.0, "
         "so that the set holds all classes."),
        ("rank > len(scores)", "False", "No answer when there are too few scores",
         "with a small n the rank exceeds the number of scores, and there is no such entry: give "
         "1.0 then."),
        ("return 1.0", "return math.inf", "Infinity when there are too few scores",
         "with too few scores you gave infinity, as papers do. Scores here are 1 − p: give 1.0, "
         "which is enough to take in all classes."),
        (("rank >", "rank - 1"), ("rank >=", "rank"), "The rank counts from 0",
         "you are one score too high: the rank counts from 1, positions from 0."),
        (("return 1.0", "scores.sort().values[rank - 1]"),
         ("rank = len(scores)", 'scores.quantile(rank / len(scores), interpolation="higher")'),
         "np.quantile of rank / n with method 'higher'",
         "np.quantile with 'higher' spreads the levels over n − 1 steps, so it lands one score too "
         "high. Sort, and take the score at the rank."),
        (".sort().values", "", "The scores are not sorted",
         "your scores are not sorted: the rank is a place in ascending order."),
    ),
    remark="`here.conformal_threshold` takes probabilities and labels, and makes the scores 1 − "
           "p itself.",
)


EXERCISES = (ENTROPY, ECE, HYPERGRADIENT, PROJECT, CONFORMAL)
