"""Exercises of notebook 01, section 1; those of sections 2 and 3 are in nb01_attack.py and nb01_ascent.py.

Each exercise is data: solution, inputs, and the mistakes that its check must tell from the solution, each with the
message that fits it. Solutions use np, torch and F only, so that they can be copied out.
"""

import numpy as np
import torch
import torch.nn.functional as F

from course.chapters.basics.exercises_ascent import ASCENT
from course.chapters.basics.exercises_attack import AUC, THRESHOLD
from course.exercises.engine import Exercise

# ---------------- 1.1 batches_without


def batches_without(n, forget, batch_size, seed):
    """Batches of one epoch over n rows: the order is drawn for all rows, the forgotten ones are dropped."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    stays = torch.ones(n, dtype=torch.bool)
    stays[forget] = False
    return [batch[stays[batch]] for batch in order.split(batch_size)]


def _order(n, seed):
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def _rows(*numbers):
    return torch.tensor(numbers, dtype=torch.long)


def _batch_cases():
    return [
        ("a batch size that does not divide n", (10, _rows(3, 7), 4, 1)),
        ("an empty request", (12, _rows(), 4, 2)),
        ("a batch that loses all its rows", (9, _order(9, 5)[3:6], 3, 5)),
        ("a last batch that loses all its rows", (7, _order(7, 6)[6:], 3, 6)),
        ("another seed", (10, _rows(3, 7), 4, 3)),
        ("one row in a batch", (5, _rows(4), 1, 4)),
        ("one batch for all", (6, _rows(0, 5), 8, 7)),
        ("one row", (1, _rows(), 1, 8)),
        ("many rows", (101, _order(101, 9)[:30], 16, 10)),
    ]


def _cut_first(n, forget, batch_size, seed):
    """The forgotten rows are cut out before the order is drawn"""
    keep = torch.tensor([i for i in range(n) if i not in forget.tolist()], dtype=torch.long)
    return list(keep[_order(len(keep), seed)].split(batch_size))


def _refilled(n, forget, batch_size, seed):
    """The forgotten rows are dropped before the order is cut into batches"""
    order = _order(n, seed)
    return list(order[~torch.isin(order, forget)].split(batch_size))


def _inverted(n, forget, batch_size, seed):
    """The forgotten rows are kept and the others dropped"""
    return [b[torch.isin(b, forget)] for b in _order(n, seed).split(batch_size)]


def _no_empty(n, forget, batch_size, seed):
    """Batches that lost all their rows are left out"""
    return [b for b in batches_without(n, forget, batch_size, seed) if len(b)]


def _no_last(n, forget, batch_size, seed):
    """The last, smaller batch is left out"""
    return batches_without(n, forget, batch_size, seed)[: n // batch_size]


def _in_order(n, forget, batch_size, seed):
    """The rows are not shuffled"""
    return [b[~torch.isin(b, forget)] for b in torch.arange(n).split(batch_size)]


def _as_lists(n, forget, batch_size, seed):
    """Lists are returned instead of tensors"""
    return [b.tolist() for b in batches_without(n, forget, batch_size, seed)]


BATCHES = Exercise(
    id="1.1", title="The same batches, less some rows", trains="same-seed retraining: change one thing only",
    difficulty=3, minutes=12, points=2, solution=batches_without, cases=_batch_cases,
    hints=("A row that stays must meet the same batch as in training on everything. So what is drawn, and what is "
           "cut, may not depend on who leaves.",
           "With the order π of all n rows and batch size b, batch t is π[tb], …, π[(t+1)b − 1] without the rows in "
           "the forget set.",
           "Draw the order of all n rows with the seeded generator. Make a mask with one True a row and set the "
           "forgotten ones to False. Split the order, and index each batch with the mask of its own rows."),
    mistakes=(
        (_cut_first, "you drew an order of the remaining rows only. It has nothing to do with the original's order, "
                     "so the two models would differ by chance as well. Draw it for all n rows."),
        (_refilled, "you dropped the rows before cutting, so later rows move up into earlier batches. Cut first, then "
                    "drop from each batch."),
        (_inverted, "your mask is the wrong way round: these are the forgotten rows."),
        (_no_empty, "you left out a batch that lost all its rows. Keep it, empty, so that batch number t is the same "
                    "one for both models (the learning rate follows t)."),
        (_no_last, "the last batch is missing: it may be smaller than the others."),
        (_in_order, "your rows come in their original order: draw one with torch.randperm and the seeded generator."),
        (_as_lists, "the batches should be tensors, so that they can index the data."),
    ),
    remark="labkit.training.fit does the same with `skip=`.",
)

# ---------------- 1.2 unlearning_accuracy


def unlearning_accuracy(logits, labels):
    """Percent of rows that are misclassified. (n, k), (n,) -> float"""
    return 100 * (logits.argmax(1) != labels).double().mean().item()


def _logit_cases():
    g, cases = torch.Generator().manual_seed(12), []
    for what, n, k in (("more rows than classes", 40, 3), ("as many rows as classes", 7, 7), ("one row", 1, 4),
                       ("two classes", 11, 2), ("many rows", 500, 10)):
        cases.append((what, (torch.randn(n, k, generator=g), torch.randint(0, k, (n,), generator=g))))
    logits = torch.randn(9, 5, generator=g)
    cases.append(("every row right", (logits, logits.argmax(1))))
    cases.append(("every row wrong", (logits, (logits.argmax(1) + 1) % 5)))
    labels = torch.arange(12) % 4
    sure = 3 * F.one_hot(labels, 4) + torch.randn(12, 4, generator=g)
    cases.append(("negative logits", (sure - 20, labels)))
    cases.append(("mostly right", (sure, labels)))
    return cases


def _as_accuracy(logits, labels):
    """The rows that are right are counted"""
    return 100 * (logits.argmax(1) == labels).double().mean().item()


def _as_share(logits, labels):
    """A share from 0 to 1 instead of percent"""
    return unlearning_accuracy(logits, labels) / 100


def _as_count(logits, labels):
    """The number of wrong rows instead of their percentage"""
    return float((logits.argmax(1) != labels).sum().item())


def _wrong_axis(logits, labels):
    """The largest logit of each column instead of each row"""
    return 100 * (logits.argmax(0) != labels).double().mean().item()


def _as_tensor(logits, labels):
    """A tensor instead of a number"""
    return 100 * (logits.argmax(1) != labels).double().mean()


def _mean_doubt(logits, labels):
    """One minus the mean probability of the label, not the share of wrong rows"""
    return 100 * (1 - logits.softmax(1).gather(1, labels[:, None])).double().mean().item()


ACCURACY = Exercise(
    id="1.2", title="Unlearning accuracy", trains="UA is an error rate; its target is retraining's value, not 100",
    difficulty=2, minutes=8, points=1, solution=unlearning_accuracy, cases=_logit_cases,
    hints=("The model's answer for a row is the class with the largest logit. Compare it with the label, row by row.",
           "UA = 100 · (1/n) Σ 1[argmaxₖ zᵢₖ ≠ yᵢ], with zᵢₖ the logit of row i for class k.",
           "Take `argmax` along the axis of the classes, compare with `!=`, turn the booleans into numbers, take the "
           "mean, times 100, and `.item()`."),
    mistakes=(
        (_as_accuracy, "you counted the rows that are right. Mind the name: UA is the share that is wrong."),
        (_as_share, "your result is a share between 0 and 1, and UA is given in percent."),
        (_as_count, "you counted rows: divide by their number, and give percent."),
        (_wrong_axis, "argmax ran down the columns. Rows are dimension 0, classes are dimension 1."),
        (_as_tensor, "your result is still a tensor: end with .item()."),
        (_mean_doubt, "you averaged probabilities. A row counts as wrong or right, however sure the model is."),
    ),
)

# ---------------- 1.3 gap_to_retraining


def gap_to_retraining(row, reference):
    """Mean absolute difference of UA, RA and TA to the retrained model's, in points. dict, dict -> float"""
    return float(np.mean([abs(row[name] - reference[name]) for name in ("UA", "RA", "TA")]))


def _gap_cases():
    rng, cases = np.random.default_rng(13), []
    for i in range(4):
        row, reference = ({n: float(rng.uniform(0, 100)) for n in ("UA", "RA", "TA")} for _ in range(2))
        cases.append((f"random measures {i + 1}", (row, reference)))
    same = {"UA": 14.0, "RA": 99.0, "TA": 86.0}
    return [
        *cases,
        ("differences that cancel", ({"UA": 20.0, "RA": 96.0, "TA": 83.0}, same)),
        ("the retrained model itself", (dict(same), same)),
        ("a measure too many", (same | {"AUC": 0.62, "UA": 10.0}, same | {"AUC": 0.5})),
        ("another order of the keys", ({"TA": 80.0, "UA": 11.0, "RA": 90.0, "gap": 7.0}, same)),
    ]


def _signed(row, reference):
    """Signed differences, which cancel"""
    return float(np.mean([row[n] - reference[n] for n in ("UA", "RA", "TA")]))


def _late_abs(row, reference):
    """The absolute value of the mean instead of the mean of absolute values"""
    return abs(_signed(row, reference))


def _summed(row, reference):
    """The sum instead of the mean"""
    return 3 * gap_to_retraining(row, reference)


def _squared(row, reference):
    """The root of the mean square instead of the mean absolute difference"""
    return float(np.sqrt(np.mean([(row[n] - reference[n]) ** 2 for n in ("UA", "RA", "TA")])))


def _all_columns(row, reference):
    """Every measure of the row is averaged, also those that do not belong to the gap"""
    return float(np.mean([abs(row[n] - reference[n]) for n in row if n in reference]))


def _relative(row, reference):
    """Relative differences instead of points"""
    return float(np.mean([abs(row[n] - reference[n]) / reference[n] for n in ("UA", "RA", "TA")]) * 100)


GAP = Exercise(
    id="1.3", title="The gap to retraining", trains="a method is judged by its distance to the retrained model",
    difficulty=1, minutes=5, points=1, solution=gap_to_retraining, cases=_gap_cases,
    hints=("A UA that is 5 points too high is as far off as one that is 5 points too low.",
           "gap = ⅓ (|UA − UA*| + |RA − RA*| + |TA − TA*|), with the star for the retrained model.",
           "Go through the three names, take `abs` of each difference, and the mean of the three."),
    mistakes=(
        (_signed, "your differences keep their signs, so too much and too little cancel. Take absolute values."),
        (_late_abs, "you took the absolute value after averaging, when the differences had already cancelled. Take it "
                    "of each difference first."),
        (_summed, "you added the three differences up: take their mean."),
        (_squared, "you squared the differences: take absolute values, so that the gap stays a mean of points."),
        (_all_columns, "you averaged every measure in the row: the gap takes UA, RA and TA only."),
        (_relative, "you divided by the reference: the gap is in points, not relative."),
    ),
    remark="labkit.measure.gap takes the columns as an argument; with MIA among them it is Jia et al.'s disparity.",
)

EXERCISES = (BATCHES, ACCURACY, GAP, AUC, THRESHOLD, ASCENT)
