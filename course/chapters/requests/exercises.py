"""Exercises of notebook 03: entropy and calibration error. The attack is in nb03_more.py, sets in nb03_conformal.py.

Solutions use torch only, and what they import themselves, so that they can be copied out.
"""

import math

import numpy as np
import torch

from course.chapters.requests.exercises_conformal import CONFORMAL
from course.chapters.requests.exercises_more import HYPERGRADIENT, PROJECT
from course.exercises.engine import Exercise

# ---------------- 3.1 entropy


def entropy(p):
    """Entropy of each row in nats; a probability of 0 adds 0. (n, k) -> (n,)"""
    logs = torch.where(p > 0, p, 1).log()  # log 1 = 0 where p is 0
    return -(p * logs).sum(1)


def _probability_cases():
    g, cases = torch.Generator().manual_seed(31), []
    for what, n, k, scale in (("more rows than classes", 7, 3, 1), ("more classes than rows", 2, 9, 1),
                              ("as many rows as classes", 4, 4, 2), ("two classes", 6, 2, 1), ("one row", 1, 5, 1),
                              ("many rows", 300, 10, 3)):
        cases.append((what, ((scale * torch.randn(n, k, generator=g)).softmax(1),)))
    return cases + [
        ("classes of probability 0", (torch.tensor([[.5, .5, 0, 0], [0, .2, .7, .1], [.9, 0, 0, .1]]),)),
        ("rows that are certain", (torch.eye(4)[[2, 0, 0]],)),
        ("equal probabilities", (torch.full((3, 8), 1 / 8),)),
        ("tiny probabilities", (torch.tensor([[1 - 3e-5, 1e-5, 2e-5], [.4, .6 - 1e-6, 1e-6]]),)),
    ]


def _bits(p):
    """Bits instead of nats"""
    return entropy(p) / math.log(2)


def _nan_at_zero(p):
    """0 · log 0 is left as it is: NaN"""
    return -(p * p.log()).sum(1)


def _positive(p):
    """The minus is missing"""
    return -entropy(p)


def _over_rows(p):
    """The sum runs over the rows instead of the classes"""
    return torch.special.entr(p).sum(0)


def _mean_of_classes(p):
    """The mean over the classes instead of the sum"""
    return torch.special.entr(p).mean(1)


def _one_number(p):
    """One number for all rows, their mean"""
    return entropy(p).mean()


def _large_eps(p):
    """log(p + 0.001), so that zeros do no harm"""
    return -(p * (p + 1e-3).log()).sum(1)


def _softmax_again(p):
    """A softmax is taken of the probabilities"""
    return entropy(p.softmax(1))


ENTROPY = Exercise(
    id="3.1", title="How unsure is it?", trains="entropy of a prediction; the limit at probability 0; the class axis",
    difficulty=1, minutes=5, points=1, solution=entropy, cases=_probability_cases, any_float=True,
    hints=("A row that spreads its probability is unsure. Each class adds its probability times how surprising it "
           "would be, and a class of probability 0 adds nothing.",
           "H = −Σ_c p_c ln p_c, the sum over the classes c of a row, with 0 · ln 0 = 0.",
           "Replace the zeros by ones (`torch.where`) before the logarithm, so that it is 0 there. Multiply by the "
           "probabilities, add up over dimension 1, and change the sign."),
    mistakes=(
        (_bits, "your entropy is in bits: take the natural logarithm for nats."),
        (_nan_at_zero, "0 · log 0 is NaN to a computer: its limit is 0, so a class of probability 0 must add 0."),
        (_positive, "the minus is missing: logarithms of probabilities are negative, entropy is not."),
        (_over_rows, "you added up over the rows: each row has an entropy, so add up over the classes, dimension 1."),
        (_mean_of_classes, "you took the mean over the classes: entropy is their sum, weighted by p already."),
        (_one_number, "you averaged over the rows: give one value for each of them."),
        (_large_eps, "you added something to p inside the logarithm, and enough to be seen in every row. Treat the "
                     "zeros alone."),
        (_softmax_again, "you took a softmax of the argument: it holds probabilities already."),
    ),
    remark="`torch.special.entr(p).sum(1)` does the same. The largest value is ln k, with all classes alike.",
)

# ---------------- 3.2 ece


def ece(confidence, correct, bins):
    """Expected calibration error of the top label with equal-width bins, 0 to 1. (n,), (n,) bool, int -> float"""
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
    for what, n, bins, trust in (("a few rows", 12, 3, .7), ("more bins than rows", 4, 20, .9), ("one bin", 9, 1, .8),
                                 ("one row", 1, 5, .5), ("many rows", 400, 10, .8), ("two bins", 30, 2, 1.2)):
        # no confidence near an edge: there the rounding of confidence * bins would decide
        inside = 0.05 + 0.9 * torch.rand(n, generator=g)
        confidence = (torch.randint(0, bins, (n,), generator=g) + inside) / bins
        cases.append((what, (confidence, torch.rand(n, generator=g) < trust * confidence, bins)))
    quarters = torch.tensor([.25, .5, .75, .75, .5, .625, .375, .875])
    return cases + [
        ("confidences of exactly 1", (torch.tensor([1., 1, 1, .9, .6]), torch.tensor([1, 0, 0, 1, 1]) > 0, 4)),
        ("confidences on the edges of bins", (quarters, torch.tensor([0, 1, 1, 1, 0, 0, 0, 1]) > 0, 4)),
        ("too sure in one bin, not sure enough in the other",
         (torch.tensor([.6, .6, .6, .9, .9, .9]), torch.tensor([1, 1, 1, 1, 0, 0]) > 0, 5)),
        ("always right, always sure", (torch.ones(5), torch.ones(5) > 0, 10)),
        ("never right", (torch.tensor([.3, .55, .99, 1]), torch.zeros(4) > 0, 8)),
    ]


def _bin_of(confidence, bins):
    return (confidence * bins).long().clamp(max=bins - 1)


def _signed_gaps(confidence, correct, which, bins):
    """(share of the rows, mean confidence − accuracy) for each bin; NaN where it is empty."""
    masks = [which == b for b in range(bins)]
    gaps = [(confidence[m].mean() - correct[m].float().mean()).item() for m in masks]
    return np.array([m.float().mean().item() for m in masks]), np.array(gaps)


def _unweighted(confidence, correct, bins):
    """The plain mean over the bins that have rows"""
    return float(np.nanmean(abs(_signed_gaps(confidence, correct, _bin_of(confidence, bins), bins)[1])))


def _by_bins(confidence, correct, bins):
    """The sum of the gaps divided by the number of bins"""
    return float(np.nansum(abs(_signed_gaps(confidence, correct, _bin_of(confidence, bins), bins)[1]))) / bins


def _signed(confidence, correct, bins):
    """The gaps keep their signs, so they cancel between bins"""
    return (confidence.mean() - correct.float().mean()).item()


def _late_abs(confidence, correct, bins):
    """The absolute value is taken once, after the sum over the bins"""
    return abs(_signed(confidence, correct, bins))


def _per_row(confidence, correct, bins):
    """The absolute value is taken in each row, before the mean over the bin"""
    return (confidence - correct.float()).abs().mean().item()


def _one_dropped(confidence, correct, bins):
    """A confidence of 1 lies in no bin"""
    share, gap = _signed_gaps(confidence, correct, (confidence * bins).long(), bins)
    return float(np.nansum(share * abs(gap)))


def _nan_empty(confidence, correct, bins):
    """Empty bins give NaN"""
    share, gap = _signed_gaps(confidence, correct, _bin_of(confidence, bins), bins)
    return float((share * abs(gap)).sum())


def _percent(confidence, correct, bins):
    """In percent"""
    return 100 * ece(confidence, correct, bins)


def _upper_edge(confidence, correct, bins):
    """A bin holds its upper edge instead of the lower one"""
    which = (confidence * bins).ceil().long().clamp(min=1) - 1
    share, gap = _signed_gaps(confidence, correct, which, bins)
    return float(np.nansum(share * abs(gap)))


def _middle(confidence, correct, bins):
    """The middle of the bin stands for its mean confidence"""
    which = _bin_of(confidence, bins)
    return ece((which + 0.5) / bins, correct, bins)


ECE = Exercise(
    id="3.2", title="Is it right as often as it says?",
    trains="calibration error: a gap for each bin, its absolute value, its weight; edges and empty bins",
    difficulty=2, minutes=12, points=1, solution=ece, cases=_confidence_cases,
    hints=("Put rows of similar confidence into one bin. There, compare how sure they are on average with how many "
           "are right. A bin with many rows counts more.",
           "ECE = Σ_b (n_b / n) · |conf_b − acc_b|, over the bins that have rows; the bin is ⌊confidence · B⌋, and "
           "B − 1 for a confidence of 1.",
           "The bin's number is the confidence times `bins` as a whole number, at most bins − 1. Go through the bins: "
           "leave out empty ones, take the mean of the confidences and of `correct` (as floats), and add the absolute "
           "difference times the bin's share of all rows."),
    mistakes=(
        (_unweighted, "all bins count the same in yours, however few rows they hold: weight each by its share."),
        (_by_bins, "you divided by the number of bins: weight each bin by its share of the rows instead."),
        (_signed, "your gaps keep their signs, so too sure in one bin cancels not sure enough in another. Take the "
                  "absolute value in each bin."),
        (_late_abs, "you took the absolute value after the sum, when the gaps had already cancelled. Take it in each "
                    "bin."),
        (_per_row, "you took the absolute value in each row: one row is right or wrong and never 70 % right. Average "
                   "in the bin first."),
        (_one_dropped, "a confidence of exactly 1 falls out of your last bin: networks that overfit have many."),
        (_nan_empty, "an empty bin makes your result NaN, as its mean divides by zero: leave it out."),
        (_percent, "your result is in percent: give it between 0 and 1."),
        (_upper_edge, "your bins hold their upper edges: here a bin holds its lower edge, and the last one 1 too."),
        (_middle, "you took the middle of the bin: take the mean confidence of its rows."),
    ),
    remark="`measure.ece` is this without a loop. It takes probabilities and labels, with 10 bins unless told.",
)

EXERCISES = (ENTROPY, ECE, HYPERGRADIENT, PROJECT, CONFORMAL)
