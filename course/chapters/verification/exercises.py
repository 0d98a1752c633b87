"""Exercises of notebook 09: a logged step replayed, what a log holds, a test planned, an audit.

Solutions use torch only, and what they import themselves, so that they can be copied out.
"""

import torch

from course.exercises.engine import Exercise

from .audit import largest_use, suspicion


# ---------------- 9.1
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
    id="9.1", title="Does the step lead where the log says", difficulty=1, minutes=6, points=1,
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


# ---------------- 9.2
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
    id="9.2", title="Which steps touched a forgotten row", difficulty=2, minutes=8, points=2,
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


# ---------------- 9.3
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
    id="9.3", title="What replacing k rows of a batch changes", difficulty=3, minutes=12, points=2,
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

# ---------------- 9.4
def questions(p, q, alpha, beta, most):
    """The fewest questions whose test errs with at most alpha and beta, or None up to `most`."""
    import math

    for m in range(1, most + 1):
        accused, escapes = 1.0, 0.0
        for hits in range(m + 1):
            ways = math.comb(m, hits)
            accused -= ways * q**hits * (1 - q) ** (m - hits)
            escapes += ways * p**hits * (1 - p) ** (m - hits)
            if accused <= alpha:
                break
        if escapes <= beta:
            return m
    return None


def _plan_cases():
    return [
        ("a usual test", (0.6, 0.1, 0.001, 0.001, 100)),
        ("a trigger that took well", (0.9, 0.05, 0.001, 0.001, 60)),
        ("two errors of unlike size", (0.5, 0.1, 0.2, 0.001, 60)),
        ("the same the other way round", (0.5, 0.1, 0.001, 0.2, 60)),
        ("rates that lie near", (0.45, 0.3, 0.1, 0.1, 90)),
        ("fresh triggers work often", (0.9, 0.5, 0.01, 0.05, 60)),
        ("fresh triggers never work", (0.5, 0.0, 0.01, 0.125, 20)),
        ("the trigger works always", (1.0, 0.5, 0.125, 0.01, 20)),
        ("one question is enough", (0.75, 0.25, 0.25, 0.25, 5)),
        ("alpha is reached exactly", (0.75, 0.5, 0.25, 0.5, 30)),
        ("just as many as there may be", (0.6, 0.1, 0.01, 0.01, 18)),
        ("one more than there may be", (0.6, 0.1, 0.01, 0.01, 17)),
        ("more than there may be", (0.2, 0.1, 0.001, 0.001, 25))]


PLAN = Exercise(
    id="9.4", title="How many questions does the test need", difficulty=4, minutes=18, points=3,
    trains="two exact binomial tails against one threshold; a plan for both errors before the test",
    solution=questions, cases=_plan_cases,
    hints=("Try one number of questions after the other. For each, first fix how many hits may be "
           "chance, by alpha alone. Then ask how likely the old model gives no more than these.",
           "h* is the smallest h with P(Bin(m, q) > h) ≤ α, and m will do if P(Bin(m, p) ≤ h*) ≤ "
           "β. Each chance of exactly h hits is C(m, h) rʰ (1 − r)ᵐ⁻ʰ, with r = q or p.",
           "For m from 1 to most: let hits run from 0, take `math.comb(m, hits)` times the powers "
           "of q off from 1 and add up the same with p. Stop where the first is at most alpha. If "
           "the second is at most beta there, return m. After all, return None."),
    mistakes=(
        ("escapes <= beta", "escapes <= alpha", "Alpha is asked for twice",
         "you held both errors against alpha. The old model may escape with beta."),
        (("accused <= alpha", "escapes <= beta"), ("accused <= beta", "escapes <= alpha"),
         "Alpha and beta change places", "alpha and beta have changed places: alpha is the chance "
         "to accuse an honest provider."),
        ("accused <= alpha", "accused < alpha", "Exactly alpha is refused",
         "you ask for less than alpha. Exactly alpha is granted."),
        ("escapes <= beta", "escapes < beta", "Exactly beta is refused",
         "you ask for less than beta. Exactly beta is granted."),
        ("return m", "return hits", "The hits that do not accuse are returned",
         "this is the number of hits that do not accuse. Return the number of questions."),
        ("most + 1", "most", "The last number is not tried",
         "you stop one short of `most`: it may still be asked."),
        ("escapes += ways * p**hits * (1 - p)", "escapes += ways * q**hits * (1 - q)",
         "Both errors are computed with q", "you computed both errors with q. The old model "
         "answers at rate p."),
        ("math.comb(m, hits)", "1", "The binomial coefficient is missing",
         "the number of ways to place the hits among the questions is missing: `math.comb`."),
        ("return None", "return most", "The most there may be, where nothing is enough",
         "you returned `most` though it is not enough. Say so with None."),
        ("accused <= alpha:", "accused <= alpha / 2:", "alpha is halved, as for a two-sided test",
         "you halved alpha. Only too many hits accuse, so the test has one side."),
        ("            if accused", "            if hits >= m * (p + q) / 2 and accused",
         "The threshold lies half-way between the rates at least", "you set the threshold half-way "
         "between the rates. Alpha alone sets it."),
    ),
    remark="Both errors jump as the number of questions grows, as hits are whole numbers: one "
           "question more can make a test worse.",
)


# ---------------- 9.5
def _mixed(draw, rows, epochs, share, honest, cheats):
    """Counts of honest logs of both kinds and of cheats of both, in an order of its own."""
    ones, found = torch.ones(1, epochs, rows), []
    for _ in range(cheats):
        places = torch.randint(rows, (round(share * rows),), generator=draw)
        extra = torch.zeros(rows).index_add_(0, places, torch.ones(len(places)))
        again = torch.stack([torch.multinomial(1 + extra, rows + len(places), True,
                                               generator=draw).bincount(minlength=rows)
                             for _ in range(epochs)])
        found += [(1 + extra).expand(epochs, rows), again.float()]
    chance = torch.randint(rows, (honest, epochs, rows), generator=draw)
    counts = torch.zeros(chance.shape).scatter_add_(2, chance, torch.ones(chance.shape))
    return torch.cat([ones, counts, torch.stack(found)])[_order(honest + 2 * cheats + 1)]


def _order(logs):
    return torch.randperm(logs, generator=torch.Generator().manual_seed(56))


def _use_cases():
    draw = torch.Generator().manual_seed(55)
    return [(what, (_mixed(draw, rows, epochs, share, 200, 20),)) for what, rows, epochs, share in (
        ("few rows, few epochs", 300, 5, 0.1), ("more epochs", 400, 8, 0.05),
        ("more rows", 900, 6, 0.04))]


def _found(scores, counts):
    """Share of the cheating logs that lie above what 1 % of either kind of honest logs do."""
    if scores.shape != counts.shape[:1]:
        raise ValueError(f"there are {len(counts)} logs: give one score a log, not a tensor of "
                         f"shape {tuple(scores.shape)}")
    scores = scores.double()[_order(len(counts)).argsort()]
    limit = max(scores[0], torch.quantile(scores[1:201], 0.99, interpolation="higher"))
    return float((scores[201:] > limit).double().mean())


def _half_way(counts):
    return (_found(largest_use(counts), counts) + _found(suspicion(counts), counts)) / 2


AUDIT = Exercise(
    id="9.5", title="An audit that catches the look-alikes", difficulty=5, minutes=25, points=4,
    trains="a test statistic of one's own: what is chance in one epoch does not come back in the "
           "next; a threshold set on honest logs",
    solution=suspicion, cases=_use_cases, measured="the share of cheating logs that is flagged",
    measure=_found, floor=_half_way,
    hints=("The largest count looks at one row and forgets in which epoch it was used. Think of "
           "what an honest provider's epochs have in common, and what a cheat's have.",
           "With c_ei the uses of row i in epoch e and d_ei = c_ei − the epoch's mean, add up "
           "d_ei · d_fi over all pairs of epochs e ≠ f and all rows.",
           "Take each epoch's mean off. Sum over epochs and square, then take away the sum of the "
           "squares: what is left are the products of different epochs. Average over rows."),
    mistakes=(
        (largest_use, "this is the plain count that you are to beat. Look at all rows, not at the "
                      "most used one."),
        ("pairs = above.sum(1).square() - above.square().sum(1)",
         "pairs = above.square().sum(1)", "How uneven single epochs are",
         "you measured how uneven the counts of single epochs are. Honest draws with replacement "
         "are uneven too: compare epochs."),
        ("return pairs.mean(1)", "return -pairs.mean(1)", "The sign is turned round",
         "your score falls where rows repeat. A larger score should be more suspicious."),
        ("return pairs.mean(1)", "return pairs.mean()", "One score for all logs together",
         "you averaged over the logs too. Give one score for each log."),
        ("pairs = above.sum(1).square() - above.square().sum(1)",
         "pairs = (counts == 0).float().sum(1)", "How many rows were not used",
         "you counted unused rows. Honest draws with replacement leave more of them unused."),
        ("counts.float() - counts.float().mean(2, keepdim=True)",
         "counts.float() - counts.float().mean(1, keepdim=True)",
         "Each row's own mean is taken off",
         "you took each row's mean off, and with it what you look for. Take off the epoch's mean."),
    ),
    remark="Run on the notebook's logs next. See what your audit has left where a provider "
           "changes its look-alikes in each epoch.",
)

EXERCISES = (REPLAY, TAINTED, FORGING, PLAN, AUDIT)
