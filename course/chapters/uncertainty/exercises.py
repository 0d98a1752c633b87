"""Exercises of notebook 04: entropy, calibration error, prediction sets.

Solutions use torch only, and what they import themselves, so that they can be copied out.
"""


import torch

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


# ---------------- 4.3 conformal_threshold
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
    id="4.3", title="A threshold that keeps its promise",
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


EXERCISES = (ENTROPY, ECE, CONFORMAL)
