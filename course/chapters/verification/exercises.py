"""Exercises of notebook 09: hits by chance, a logged step replayed, and what a log holds.

Solutions use torch only, and what they import themselves, so that they can be copied out.
"""

import torch

from course.exercises.engine import Exercise


# ---------------- 9.1
def critical_value(n, q, alpha):
    """The smallest whole k with P(X <= k) >= 1 - alpha, for X ~ Binomial(n, q). -> int"""
    import math

    total = 0.0
    for k in range(n + 1):
        total += math.comb(n, k) * q**k * (1 - q) ** (n - k)
        if total >= 1 - alpha:
            return k
    return n


def _query_cases():
    return [
        ("a usual test", (30, 0.1, 0.01)), ("few queries", (5, 0.2, 0.05)),
        ("many queries", (60, 0.12, 0.001)), ("a lenient test", (40, 0.25, 0.3)),
        ("a likely hit", (25, 0.8, 0.05)), ("an even chance", (17, 0.5, 0.02)),
        ("a rare hit", (50, 0.004, 0.1)), ("one query", (1, 0.3, 0.1)),
        ("all hits may be chance", (3, 0.9, 0.1)), ("no hit is possible", (12, 0.0, 0.05)),
        ("exactly 1 − alpha is reached, two queries", (2, 0.5, 0.25)),
        ("exactly 1 − alpha is reached, four queries", (4, 0.5, 0.3125))]


CRITICAL = Exercise(
    id="9.1", title="How many hits are still chance", difficulty=2, minutes=10, points=2,
    trains="an exact binomial test: a sum of probabilities, its tail, and where the inequality is "
           "strict",
    solution=critical_value, cases=_query_cases,
    hints=("A model that never saw the trigger still hits it now and then, at the rate q. Find the "
           "count that such a model exceeds with a chance of alpha at most.",
           "P(X ≤ k) = Σ_{j = 0..k} C(n, j) q^j (1 − q)^(n − j). The answer is the smallest k for "
           "which this is at least 1 − α.",
           "Start with a sum of 0 and let k run from 0 to n. Add the chance of exactly k hits, "
           "with `math.comb(n, k)`. Return k as soon as the sum is large enough."),
    mistakes=(
        ("total >=", "total >", "P(X <= k) > 1 - alpha: exact equality is refused",
         "you ask for more than 1 − alpha. Exactly 1 − alpha is enough."),
        ("return k", "return k + 1", "P(X < k) instead of P(X <= k): 1 too large",
         "your k is 1 too large. P(X ≤ k) includes k itself, and P(X < k) does not."),
        ("return k", "return k - 1", "The last k that does not reach 1 - alpha: 1 too small",
         "your k is 1 too small: it is the last that falls short. Return the first that does not."),
        ("1 - alpha", "alpha", "alpha instead of 1 - alpha: the lower tail",
         "you compared the sum with alpha, so you found the lower tail. Too many hits are "
         "suspicious: compare with 1 − alpha."),
        ("alpha:", "alpha / 2:", "alpha is halved, as for a two-sided test",
         "you halved alpha. Only too many hits count against the provider, so the test has one "
         "side."),
        ("total = 0.0",
         "from statistics import NormalDist\n    z = NormalDist().inv_cdf(1 - alpha)\n"
         "    return math.ceil(n * q + z * math.sqrt(n * q * (1 - q)))",
         "The normal approximation, rounded up", "you used the normal approximation. It is off for "
         "small n and rare hits: add up the exact probabilities."),
        ("total = 0.0", "return round(n * q)", "The expected number of hits, rounded",
         "this is the expected number of hits. Chance alone often gives more: alpha must come in."),
        ("math.comb(n, k) * ", "", "The binomial coefficient is missing", "the number of ways to "
         "place k hits among n queries is missing. Multiply by `math.comb(n, k)`."),
        (("total +=", "total >= 1 - alpha"), ("total =", "k >= n * q and total <= alpha"),
         "P(X = k) <= alpha above the mean, instead of the sum of a tail",
         "you compared the chance of exactly k hits. Add up the chances of 0 to k hits first."),
        ("return k", "return k / n", "The share of hits k / n instead of k",
         "this is a share of the queries. Return the count k."),
    ),
    remark="`here.critical_value` does the same for any n. A count above k accuses an honest "
           "provider with a chance of alpha at most.",
)


# ---------------- 9.2
def replay_error(before, gradient, after, lr):
    """l2 distance, in float64, of one SGD step from `before` to the logged `after`. -> float"""
    replayed = before.double() - lr * gradient.double()
    return (replayed - after.double()).norm().item()


def _step_cases():
    g, cases = torch.Generator().manual_seed(52), []

    def draw(d, scale=1.0):
        return scale * torch.randn(d, generator=g)

    for what, d, lr in (("a forged step", 5, 0.1), ("a large step", 4, 2.0),
                        ("many weights", 300, 0.05), ("one weight", 1, 0.3),
                        ("a learning rate of 0", 6, 0.0)):
        cases.append((what, (draw(d), draw(d), draw(d), lr)))
    for what, d, size, lr in (("an honest log of large weights", 6, 1000, 0.01),
                              ("an honest log of many weights", 200, 3, 0.1),
                              ("an honest log, weights near 0", 7, 0.001, 0.3),
                              ("a step too small for float32", 5, 5000, 1e-6)):
        before, gradient = draw(d, size), draw(d)
        cases.append((what, (before, gradient, before - lr * gradient, lr)))
    a, b = torch.tensor([1., -2, 4]), torch.tensor([2., 8, -4])
    return cases + [
        ("a log that is exact", (a, b, a - 0.25 * b, 0.25)),
        ("a step in the wrong direction", (a, b, a + 0.25 * b, 0.25)),
        ("weights that stayed", (a, b, a.clone(), 0.5))]


REPLAY = Exercise(
    id="9.2", title="Does the step lead where the log says", difficulty=1, minutes=6, points=1,
    trains="one SGD step by hand, an l2 distance, and rounding: float32 hides the errors that are "
           "looked for",
    solution=replay_error, cases=_step_cases, atol=1e-11,
    hints=("Take the step yourself from the weights before it. Then measure how far you are from "
           "the weights in the log. An honest log leaves rounding only, so compute with more "
           "digits than the log has.",
           "ε = ‖(w − η g) − w′‖₂ with w before, w′ after, and the learning rate η.",
           "Turn all three tensors into float64 with `.double()`. Subtract the learning rate times "
           "the gradient, then subtract what was logged. End with `.norm()` and `.item()`."),
    mistakes=(
        ("- lr", "+ lr", "The step goes up the gradient",
         "your step goes up the gradient. SGD subtracts it."),
        ("norm()", "square().sum()", "The squared norm",
         "this is the squared distance. Take the root."),
        ("norm()", "square().mean().sqrt()", "The root of the mean square instead of the norm",
         "you took the mean of the squares. The l2 norm uses their sum."),
        ("norm()", "abs().mean()", "The mean absolute difference instead of the norm",
         "this is the mean absolute difference. The l2 norm is the root of the sum of squares."),
        ("norm()", "abs().max()", "The largest absolute difference",
         "this is the largest difference of a single weight. The l2 norm counts all of them."),
        (" - lr * gradient.double()", "", "The distance between before and after, without a step",
         "you compared the weights before and after. Take the step from `before` first."),
        ("lr * ", "", "The learning rate is forgotten",
         "the learning rate is missing. Multiply the gradient by it."),
        (".double()", "", "Computed in float32", "you computed in float32, whose rounding hides "
         "what you measure. Convert to float64 first."),
        ("gradient.double()", "gradient",
         "Learning rate times gradient in float32, the rest in float64", "your product of learning "
         "rate and gradient is rounded to float32. Convert the gradient too."),
        ("norm().item()", "norm().item() / after.double().norm().item()",
         "Divided by the norm of the logged weights",
         "you divided by the norm of the weights. The exercise asks for the distance itself."),
    ),
    remark="`here.replay_errors` does this for every step of a log. It replays in the model's "
           'own precision, and in float64 with `change="float64"`. A tolerance has to lie above '
           "what an honest log leaves.",
)


# ---------------- 9.3
def tainted_steps(batches, forget):
    """The steps, from 1, whose batch holds a forgotten row. list of (b,), (m,) -> list of int"""
    rows, steps = set(forget.tolist()), []
    for step, batch in enumerate(batches, start=1):
        if rows.intersection(batch.tolist()):
            steps.append(step)
    return steps


def _ids(*rows):
    return torch.tensor(rows, dtype=torch.int64)


def _batch_cases():
    g = torch.Generator().manual_seed(53)
    of_three = [_ids(4, 7, 1), _ids(0, 2, 9), _ids(3, 8, 5), _ids(6, 4, 2)]
    cases = [("batches of three rows", (of_three, _ids(7, 2)))]
    for what, n, b, m in (("one epoch", 40, 5, 3), ("many forgotten rows", 30, 4, 12),
                          ("batches of one row", 12, 1, 5), ("large batches", 60, 20, 2),
                          ("many batches", 100, 3, 9)):
        order = torch.randperm(n, generator=g)
        cases.append((what, (list(order.split(b)), torch.randperm(n, generator=g)[:m])))
    return cases + [
        ("row 0 is forgotten", ([_ids(3, 0), _ids(1, 2), _ids(0, 5)], _ids(0))),
        ("two forgotten rows in one batch", ([_ids(1, 2), _ids(3, 4), _ids(5, 6)], _ids(4, 3))),
        ("a row twice in one batch", ([_ids(8, 8, 1), _ids(2, 3, 4)], _ids(8))),
        ("a batch without rows", ([_ids(5), _ids(), _ids(2, 5)], _ids(5))),
        ("nothing is forgotten", ([_ids(1, 2), _ids(3)], _ids())), ("no batches", ([], _ids(1, 2))),
        ("no batch is touched", ([_ids(1, 2), _ids(3, 4)], _ids(9))),
        ("every batch is touched", ([_ids(10, 11), _ids(11, 12), _ids(12, 10)], _ids(10, 12)))]


TAINTED = Exercise(
    id="9.3", title="Which steps touched a forgotten row", difficulty=2, minutes=8, points=2,
    trains="membership by value: tensors in a set are compared by identity, so the sets never meet",
    solution=tainted_steps, cases=_batch_cases,
    hints=("One forgotten row is enough to taint a batch. Compare row numbers as plain whole "
           "numbers, because two tensors that hold 7 are two different things to a set.",
           "T = {t : B_t ∩ F ≠ ∅}, with the batch B_t of step t = 1, 2, … and the forgotten rows "
           "F.",
           "Make a set of `forget.tolist()`. Go through the batches with `enumerate`, which can "
           "start at 1. Keep the step where the set has a row in common with the batch's list."),
    mistakes=(
        (".tolist()", "", "Sets of tensor elements, which are hashed by identity",
         "your result is always empty: a set compares tensors by identity, not by the number they "
         "hold. Use `.tolist()` first."),
        ("start=1", "start=0", "Steps are counted from 0",
         "you counted from 0. The first step of a log is step 1."),
        ("batch.tolist()", "batch[:1].tolist()", "Only the first row of each batch is looked at",
         "you looked at the first row of each batch only. A forgotten row may stand anywhere in "
         "it."),
        ("intersection", "issuperset", "All rows of the batch must be forgotten ones",
         "you ask that all rows of a batch are forgotten ones. One is enough."),
        ("intersection", "issubset", "All forgotten rows must be in the batch",
         "you ask that a batch holds all forgotten rows. One is enough."),
        ("if rows.intersection(batch.tolist())",
         "for _ in [row for row in batch.tolist() if row in rows]",
         "A step once for each forgotten row in its batch",
         "a step with two forgotten rows comes twice in your list. Give each step once."),
        ("batch.tolist()", "range(len(batch))",
         "Places in the batch are compared instead of row numbers",
         "you compared places in the batch. The batch holds the row numbers: compare those."),
        ("if rows", "if not rows", "The steps that touched none",
         "these are the steps that touched no forgotten row. Return the others."),
        ("rows.intersection(batch.tolist())", "any(rows.intersection(batch.tolist()))",
         "any() over the rows that were hit: row 0 counts as False", "row 0 is lost: `any` takes "
         "the number 0 for False. Ask whether a row was found, not which."),
        ("return steps", "return steps[:1]", "Only the first such step",
         "you stopped at the first such step. Go through all of them."),
        ("rows.intersection(batch.tolist())", "(batch == forget).any()",
         "The batch is compared with the forgotten rows place by place",
         "you compared two tensors place by place. Ask for each row whether it is among the "
         "forgotten ones, as `torch.isin` does."),
        (("rows.intersection(batch.tolist())", "(step)"),
         ("True", "(bool(rows.intersection(batch.tolist())))"),
         "True or False for each step instead of the steps",
         "you gave True or False for each step. Return the numbers of the steps."),
    ),
    remark="`torch.isin(batch, forget).any()` tells the same. An empty answer deserves a test with "
           "a row that must be found.",
)


# ---------------- 9.4
def forging_bound(old_gradients, new_gradients, batch_size, lr):
    """How far a step moves when k rows of its batch are replaced. (k, d) twice, … -> float"""
    k = len(old_gradients)
    change = old_gradients.mean(0) - new_gradients.mean(0)
    return lr * (k / batch_size) * change.norm().item()


def _gradient_cases():
    g, cases = torch.Generator().manual_seed(54), []
    for what, k, d, b, lr in (
            ("a few rows", 3, 5, 10, 0.1), ("one row", 1, 4, 8, 0.5), ("all rows", 6, 3, 6, 0.2),
            ("one weight", 4, 1, 12, 0.3), ("more rows than weights", 9, 2, 20, 1.0),
            ("a batch of one row", 1, 6, 1, 0.7), ("a large batch", 5, 30, 256, 2.0),
            ("a small learning rate", 2, 7, 5, 0.02), ("a large learning rate", 3, 3, 9, 4.0)):
        old, new = torch.randn(k, d, generator=g), torch.randn(k, d, generator=g)
        cases.append((what, (old, 2 * new, b, lr)))
    a = torch.tensor([[1., 2, -2], [4., 0, 3]])
    return cases + [
        ("the same gradients", (a, a.clone(), 4, 0.5)),
        ("the same gradients in another order", (a, a.flip(0), 4, 0.5)),
        ("gradients turned round", (a, -a, 4, 0.5)),
        ("replacements without a gradient", (a, torch.zeros(2, 3), 8, 0.5))]


FORGING = Exercise(
    id="9.4", title="What replacing k rows of a batch changes", difficulty=3, minutes=12, points=2,
    trains="the gradient of a batch as a mean: shares of it, and the norm of a sum against a sum "
           "of norms",
    solution=forging_bound, cases=_gradient_cases,
    hints=("The step follows the mean gradient of the batch. The rows that stay cancel when the "
           "two steps are compared, so only the replaced ones and their share of the batch are "
           "left.",
           "‖Δw‖ = η (k / b) ‖ḡ_old − ḡ_new‖₂, with each ḡ the mean of k gradients.",
           "The mean over dimension 0 of each matrix gives two vectors. Subtract them and take the "
           "norm. Multiply it by the learning rate and by the share of the batch that was "
           "replaced."),
    mistakes=(
        ("(k / batch_size) * ", "", "Divided by k only, as if the whole batch were replaced",
         "you took the replaced rows for the whole batch. Multiply by their share, k / b."),
        ("(k / batch_size)", "(k / batch_size) ** 2", "The share k / b comes in twice",
         "the share k / b comes in twice. The means over the k rows need it once."),
        (("k /", "change.norm()"), ("1 /", "(old_gradients - new_gradients).norm(dim=1).sum()"),
         "The sum of the norms of the row differences", "you added up the norms of single rows, "
         "where differences cannot cancel. Take the mean first, then one norm."),
        (("k /", "change.norm()"), ("1 /", "(old_gradients - new_gradients).norm()"),
         "The norm of the whole matrix of differences",
         "you took the norm of the whole matrix. Take the mean over the rows first."),
        ("norm().item()", "norm().item() ** 2", "The squared norm",
         "you squared the norm. The distance is the norm itself."),
        ("lr * ", "", "The learning rate is forgotten",
         "the learning rate is missing. A step is the learning rate times the gradient."),
        ("len(old_gradients)", "old_gradients.shape[1]", "The number of weights d is taken for k",
         "your k is the number of weights. The rows are dimension 0."),
        (("mean(0)", "norm()"), ("mean()", "abs()"),
         "The mean over all entries, rows and weights alike",
         "you averaged over all entries. Keep one mean for each weight: dimension 0 only."),
        (("mean(0)", "change.norm()"), ("mean(0).norm()", "change.abs()"),
         "The difference of the two means' norms", "you subtracted two norms, which ignores the "
         "directions. Subtract the vectors, then take the norm."),
        ("(k / batch_size)", "k", "Not divided by the batch size",
         "you did not divide by the batch size. SGD follows the mean of the batch."),
        ("k /", "1 /", "Divided by the batch size, without k",
         "you divided a mean by the batch size, as if one row were replaced. Multiply by k too."),
    ),
    remark="Rows with similar gradients leave the step almost where it was. That is why a log can "
           "be forged, and why replay alone proves little.",
)

EXERCISES = (CRITICAL, REPLAY, TAINTED, FORGING)
