"""Exercises of notebook 04: doubt, calibration, a wish, trials, prediction sets, a gate.

Solutions use torch only, and what they import themselves, so that they can be copied out.
"""

from dataclasses import dataclass

import torch

from course.chapters.uncertainty.evading import cut_down, indicator
from course.exercises.engine import Exercise


# ---------------- 4.1 entropy
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
    id="4.1", title="How unsure is it?",
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


# ---------------- 4.2 ece
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
    id="4.2", title="Is it right as often as it says?",
    trains="calibration error: a gap for each bin, its absolute value, its weight; edges and empty "
           "bins",
    difficulty=2, minutes=10, points=1, solution=ece, cases=_confidence_cases,
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


# ---------------- 4.3 underconfidence
def underconfidence(z, label, kappa, weight):
    """−H(p) + weight · max(0, kappa − margin) of the logits z (k,), label its class. -> scalar"""
    p = z.softmax(0)
    others = torch.cat([z[:label], z[label + 1:]])
    margin = z[label] - others.max()
    return (p * z.log_softmax(0)).sum() + weight * (kappa - margin).clamp(min=0)


def _logit_cases():
    g, cases = torch.Generator().manual_seed(36), []
    for what, k, scale, kappa, weight in (("the label wins by far", 5, 1.0, 0.5, 5.0),
                                          ("many classes", 12, 2.0, 0.5, 5.0),
                                          ("a large margin to keep", 4, 1.0, 3.0, 5.0),
                                          ("another weight", 6, 1.5, 2.0, 0.7),
                                          ("no margin to keep", 3, 1.0, 0.0, 5.0)):
        z = scale * torch.randn(k, generator=g)
        cases.append((what, (z, int(z.argmax()), kappa, weight)))
    z = torch.tensor([0.4, 1.9, -0.3, 1.6])
    return cases + [("another class is ahead", (z, 3, 0.5, 5.0)),
                    ("the label is last", (z, 2, 0.5, 2.0)),
                    ("ahead, and by less than the margin to keep", (z, 1, 0.5, 5.0)),
                    ("ahead, and by more", (z, 1, 0.2, 5.0)),
                    ("two classes", (torch.tensor([0.7, 0.2]), 0, 1.0, 3.0)),
                    ("large logits", (torch.tensor([12.0, 9.0, -40.0]), 0, 0.5, 5.0)),
                    ("the weight is 0", (z, 0, 4.0, 0.0))]


UNDERCONFIDENCE = Exercise(
    id="4.3", title="Unsure, and still the same answer",
    trains="an objective with a hinge: what is wished for, what is to be kept, and the signs of "
           "both",
    difficulty=3, minutes=10, points=2, solution=underconfidence, cases=_logit_cases,
    gradients=(0,), atol=1e-5,
    hints=("A loss is minimised, so what is wished for, entropy, enters with a minus. The hinge "
           "costs nothing while the label leads by enough, and grows as the lead shrinks below "
           "that.",
           "L = −H(p) + λ max(0, κ − m), H(p) = −Σ_c p_c ln p_c, m = z_y less the largest other "
           "logit; λ is `weight`.",
           "Take p and its logarithm with softmax and log_softmax. Put the logits before and after "
           "the label together, and take their largest. The margin is the label's logit less that. "
           "Add the sum of p ln p, and `weight` times kappa less the margin, clamped at 0."),
    mistakes=(
        ("return (p", "return -(p", "The entropy enters with a plus",
         "your loss falls when the entropy falls: that makes the model surer. A wish enters a loss "
         "with a minus."),
        ("(kappa - margin).clamp(min=0)", "(kappa - margin)",
         "The hinge is missing: a line without a bend",
         "your second part also rewards a lead beyond kappa, so it fights the first part. Clamp it "
         "at 0."),
        ("kappa - margin", "margin - kappa", "The hinge is turned round",
         "your hinge costs where the label leads: it should cost where the lead is too small."),
        ("others.max()", "z.max()", "The largest of all logits, the label's among them",
         "you took the largest of all logits, the label's own among them: the margin is then never "
         "above 0."),
        ("others.max()", "others.mean()", "The mean of the other logits",
         "you compared with the mean of the other logits: the label is lost to the largest."),
        (" + weight * (kappa - margin).clamp(min=0)", "", "The hinge is left out",
         "your loss says nothing of the label: without the hinge this is an attack on labels."),
        ("weight * ", "", "The weight is not used",
         "you left out the weight: it says what a lost label costs against a nat of entropy."),
        ("(kappa - margin)", "(kappa - margin.detach())",
         "The margin is cut off from the logits",
         "the value is right and its slope is not: do not detach the margin, the attack goes down "
         "that slope."),
        ("z[label] - others.max()", "p[label] - torch.cat([p[:label], p[label + 1:]]).max()",
         "The margin of the probabilities instead of the logits",
         "you took the margin of the probabilities: here it is in logits, which never saturate."),
    ),
    remark="`here.underconfidence` makes this goal for one label. The attack looks for the request "
           "that makes it smallest.",
)


# ---------------- 4.4 conformal_threshold
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
    id="4.4", title="A threshold that keeps its promise",
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


# ---------------- 4.5 two_point
def two_point(plus, minus, after_plus, after_minus):
    """Effects of rows from pairs of trials. (q, m), (q, m), (q, r), (q, r) -> (m, r)"""
    difference = plus - minus
    change = after_plus - after_minus
    size = (difference**2).mean()
    return difference.T @ change / (len(plus) * size)


def _trial_cases():
    g, cases = torch.Generator().manual_seed(37), []
    for what, q, m, r, size in (("more pairs than rows", 12, 5, 2, 2),
                                ("more rows than pairs", 3, 9, 4, 2),
                                ("as many pairs as rows", 4, 4, 3, 1), ("one pair", 1, 6, 2, 3),
                                ("one answer", 7, 6, 1, 3), ("many pairs", 60, 10, 3, 5)):
        plus, minus = torch.zeros(2, q, m)
        for i in range(q):
            order = torch.randperm(m, generator=g)
            plus[i, order[:size]] = minus[i, order[size:2 * size]] = 1
        cases.append((what, (plus, minus, *torch.randn(2, q, r, generator=g))))
    plus, minus, *_ = cases[0][1]
    real = torch.randn(2, 5, 4, generator=g)
    return cases + [
        ("nothing moves", (plus, minus, torch.ones(12, 2), torch.ones(12, 2))),
        ("points that are no requests", (*real, *torch.randn(2, 5, 3, generator=g))),
        ("half of the rows asked for in both",
         (plus.clone().index_fill_(1, torch.tensor([0]), 1), minus.clone().index_fill_(
             1, torch.tensor([0]), 1), *torch.randn(2, 12, 2, generator=g)))]


TWO_POINT = Exercise(
    id="4.5", title="Effects without a gradient",
    trains="a zeroth-order estimate: correlate what was asked with what came back, and scale "
           "it; the mean effect of all rows is lost",
    difficulty=4, minutes=12, points=3, solution=two_point, cases=_trial_cases, atol=1e-5,
    hints=("In each pair, rows in the first request pushed the answer one way, rows in the second "
           "the other way. Add up, over the pairs, the change of the answer with the sign with "
           "which the row took part. What the other rows did averages out, but for their mean.",
           "s_i = Σ_q (a_qi − b_qi) (f(a_q) − f(b_q)) / (Q v), with v the mean over all q and i of "
           "(a_qi − b_qi)².",
           "Subtract the requests, and the answers. Multiply the transposed first by the second. "
           "Divide by the number of pairs times the mean of the squared first."),
    mistakes=(
        ("(len(plus) * size)", "len(plus)", "Not divided by the mean square",
         "your estimates are too small: a row takes part in few of the pairs. Divide by the mean "
         "squared difference of the requests, too."),
        ("(len(plus) * size)", "size", "Summed over the pairs instead of averaged",
         "you summed over the pairs: more trials should make the estimate better, not larger. "
         "Divide by their number."),
        ("plus - minus", "plus", "The second request of each pair is not used",
         "you left the second request out of the difference: its rows pushed the answer the other "
         "way, and get no estimate."),
        ("after_plus - after_minus", "after_plus", "The second answer of each pair is not used",
         "you left the second answers out: all that does not hang on the request cancels only in "
         "their difference."),
        ("after_plus - after_minus", "after_minus - after_plus", "The sign of the change",
         "your signs are turned round: it is the first request's answer less the second's."),
        ("(difference**2).mean()", "difference.mean() ** 2",
         "The square of the mean instead of the mean square",
         "you squared the mean: as many rows are in as out, so it is 0. Take the mean of the "
         "squares."),
        ("(difference**2).mean()", "(difference**2).sum()", "The sum of the squares",
         "you divided by the sum of all squares: that counts pairs and rows once more. Take their "
         "mean."),
        ("(difference**2).mean()", "(difference**2).mean(0)[:, None]",
         "A mean square for each row instead of one for all",
         "you took a mean square for each row: a row that no pair holds then makes a division by "
         "zero. Take one for all."),
    ),
    remark="`here.two_point` is this function. A row that was in no pair has the estimate 0: "
           "nothing was learned of it.",
)


# ---------------- 4.6 under_the_gate
@dataclass(frozen=True, repr=False)
class World:
    """A made-up provider that unlearns linearly: m rows, a target, 60 public rows, 4 classes."""

    seed: int
    m: int

    def drawn(self):
        """Logits (61, 4), the target's first, and what each row does to them (m, 61, 4)."""
        g = torch.Generator().manual_seed(self.seed)
        heads, inputs = torch.randn(4, 6, generator=g), torch.randn(61, 6, generator=g)
        moves = 0.04 * torch.randn(self.m, 4, 6, generator=g)
        return inputs @ heads.T, torch.einsum("mcd,nd->mnc", moves, inputs)

    def after(self, w):
        logits, effects = self.drawn()
        return logits + torch.einsum("m,mnc->nc", w, effects)


class Wish(World):
    """The attacker's loss: minus the log-probability of the label that the target has now."""

    def __call__(self, w):
        label = int(self.drawn()[0][0].argmax())
        return -self.after(w)[0].log_softmax(0)[label]

    def __repr__(self):
        return f"a loss of {self.m} weights"


class Gate(World):
    """The share of public rows whose label changes, with the slope of a smooth stand-in."""

    def __call__(self, w):
        called = self.drawn()[0][1:].argmax(1, keepdim=True)
        z = self.after(w)[1:]
        margin = z.gather(1, called) - z.scatter(1, called, -torch.inf).amax(1, keepdim=True)
        smooth = (-4 * margin).sigmoid().mean()
        return (margin < 0).double().mean() + (smooth - smooth.detach())

    def __repr__(self):
        return f"a gate's score of {self.m} weights"


def under_the_gate(loss, suspicion, limit, m, budget):
    """Positions of at most `budget` of m rows with suspicion(ω) ≤ limit and a small loss(ω)."""
    from labkit.attack import project

    best, least = torch.zeros(0, dtype=torch.long), float("inf")
    draw = torch.Generator().manual_seed(0)
    for strength in (0.0, 10.0, 100.0):
        w = torch.full((m,), budget / m)
        for step in range(1, 13):
            w.requires_grad_()
            value = loss(w)
            if strength > 0:
                value = value + strength * (suspicion(w) - limit).clamp(min=0)
            (slope,) = torch.autograd.grad(value, w)
            size = slope.abs().max().clamp(min=1e-12) * step**0.5
            w = project(w.detach() - 0.5 / size * slope, budget)
        order = w.argsort(descending=True)
        tried = [order[: max(1, budget * part // 4)] for part in (4, 3, 2, 1)]
        drawn = [(torch.rand(m, generator=draw) < w).nonzero().squeeze(1) for _ in range(8)]
        tried += [rows[w[rows].argsort(descending=True)][:budget] for rows in drawn]
        passed = []
        for rows in tried:
            asked = torch.zeros(m).index_fill(0, rows, 1.0)
            passed.append(float(suspicion(asked)) <= limit)
            if passed[-1] and float(loss(asked)) < least:
                best, least = rows, float(loss(asked))
        if passed[0]:  # the whole budget passes: a larger strength only costs
            break
    return best


def _plain(loss, suspicion, limit, m, budget):
    """The rows that help most, and the gate is not looked at"""
    w = torch.zeros(m, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(w), w)
    return slope.argsort()[:budget]


def _cut(loss, suspicion, limit, m, budget):
    """The plain request, cut down until it passes"""
    return cut_down(_plain(loss, suspicion, limit, m, budget), suspicion, limit, m)


def _quiet(loss, suspicion, limit, m, budget):
    """The rows that the gate minds least, and the loss is not looked at"""
    alone = torch.stack([suspicion(row).detach() for row in torch.eye(m)])
    return cut_down(alone.argsort()[:budget], suspicion, limit, m)


def _best_row(loss, suspicion, limit, m, budget):
    """One row, the best of those that pass"""
    tried = [(float(loss(row)), i) for i, row in enumerate(torch.eye(m))
             if float(suspicion(row)) <= limit]
    return torch.tensor([min(tried)[1]])


def _nothing(loss, suspicion, limit, m, budget):
    """An empty request"""
    return torch.zeros(0, dtype=torch.long)


def gained(rows, loss, suspicion, limit, m, budget):
    """How far a request lowers the loss; ValueError where it breaks a rule."""
    rows = torch.as_tensor(rows, dtype=torch.long)
    if rows.dim() != 1 or len(rows.unique()) != len(rows) or len(rows) > budget:
        raise ValueError(f"a request is a (k,) tensor of different positions, at most {budget}")
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < m:
        raise ValueError(f"positions are 0 to {m - 1}")
    w = indicator(rows, m)
    if float(suspicion(w)) > limit:
        raise ValueError(f"the gate refuses it: its score is {float(suspicion(w)):.3g}, and at "
                         f"most {limit:.3g} passes")
    return float(loss(torch.zeros(m)) - loss(w))


def half_way(*arguments):
    """Half way from what the plain request, cut down, gains to what the course's selection does."""
    return (gained(_cut(*arguments), *arguments)
            + gained(under_the_gate(*arguments), *arguments)) / 2


def _gate_cases():
    return [(what, (Wish(seed, m), Gate(seed, m), limit, m, budget))
            for what, seed, m, limit, budget in (("a gate of six labels in a hundred", 4, 60, 0.06,
                                                  12), ("a strict gate", 17, 60, 0.04, 12),
                                                 ("few rows", 24, 24, 0.04, 8),
                                                 ("many rows", 3, 120, 0.09, 24))]


GATED = Exercise(
    id="4.6", title="Under the gate",
    trains="an adaptive attack: a constraint as a penalty, its strength searched, and the result "
           "checked against the gate itself",
    difficulty=5, minutes=25, points=5, solution=under_the_gate, cases=_gate_cases,
    measured="the fall of the loss", measure=gained, floor=half_way,
    hints=("The plain request spends the gate's patience on rows that change many labels. Look for "
           "rows that help as much and change fewer: let the walk itself feel the gate.",
           "Walk down L(ω) + ρ max(0, S(ω) − s) for several strengths ρ, S being the gate's score "
           "and s its limit. Round each walk's end to requests of several sizes, and keep the best "
           "that passes.",
           "For each ρ of a ladder from 0 up: start at budget / m everywhere; a few times, "
           "take the gradient of loss plus ρ times the excess, step against it, and bring the "
           "weights back with `labkit.attack.project`. Round by the k largest for several k, and "
           "by drawing row i with probability ω_i. If `suspicion` of such a request is within the "
           "limit and its loss is the least so far, keep it."),
    mistakes=(
        (_plain, "you ask for what helps most, and the gate refuses it: look at `suspicion` before "
                 "you return."),
        (_cut, "this is the plain request, cut down until it passes: it is half of the floor. Let "
               "the gate's score steer which rows are asked for, not only how many."),
        (_quiet, "you ask for what the gate minds least: it passes, and does little. Weigh both."),
        (_best_row, "one row passes and does little: the budget is larger."),
        (_nothing, "an empty request passes and does nothing."),
        ("(suspicion(w) - limit).clamp(min=0)", "(limit - suspicion(w)).clamp(min=0)",
         "The penalty is turned round", "your penalty is paid below the limit: turn it round."),
    ),
    remark="It is judged on a made-up provider here. Below it meets the notebook's own, whose gate "
           "looks at rows that you have not seen.",
)


EXERCISES = (ENTROPY, ECE, UNDERCONFIDENCE, CONFORMAL, TWO_POINT, GATED)
