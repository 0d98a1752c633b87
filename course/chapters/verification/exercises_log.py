"""Exercises of notebook 09 on what a log holds: steps that touched a forgotten row, and rows that were replaced."""

import torch

from course.exercises.engine import Exercise

# ---------------- 9.3 tainted_steps


def tainted_steps(batches, forget):
    """The steps, counted from 1, whose batch holds a forgotten row. list of (b,) int64, (m,) int64 -> list of int"""
    rows, steps = set(forget.tolist()), []
    for step, batch in enumerate(batches, start=1):
        if rows.intersection(batch.tolist()):
            steps.append(step)
    return steps


def _ids(*rows):
    return torch.tensor(rows, dtype=torch.int64)


def _batch_cases():
    g = torch.Generator().manual_seed(53)
    cases = [("batches of three rows", ([_ids(4, 7, 1), _ids(0, 2, 9), _ids(3, 8, 5), _ids(6, 4, 2)], _ids(7, 2)))]
    for what, n, b, m in (("one epoch", 40, 5, 3), ("many forgotten rows", 30, 4, 12), ("batches of one row", 12, 1, 5),
                          ("large batches", 60, 20, 2), ("many batches", 100, 3, 9)):
        order = torch.randperm(n, generator=g)
        cases.append((what, (list(order.split(b)), torch.randperm(n, generator=g)[:m])))
    return cases + [
        ("row 0 is forgotten", ([_ids(3, 0), _ids(1, 2), _ids(0, 5)], _ids(0))),
        ("two forgotten rows in one batch", ([_ids(1, 2), _ids(3, 4), _ids(5, 6)], _ids(4, 3))),
        ("a row twice in one batch", ([_ids(8, 8, 1), _ids(2, 3, 4)], _ids(8))),
        ("a batch without rows", ([_ids(5), _ids(), _ids(2, 5)], _ids(5))),
        ("nothing is forgotten", ([_ids(1, 2), _ids(3)], _ids())),
        ("no batches", ([], _ids(1, 2))),
        ("no batch is touched", ([_ids(1, 2), _ids(3, 4)], _ids(9))),
        ("every batch is touched", ([_ids(10, 11), _ids(11, 12), _ids(12, 10)], _ids(10, 12))),
    ]


def _where(batches, touched):
    return [step for step, batch in enumerate(batches, 1) if touched(batch)]


def _tensor_sets(batches, forget):
    """Sets of tensor elements, which are hashed by identity"""
    return _where(batches, lambda batch: set(batch) & set(forget))


def _from_zero(batches, forget):
    """Steps are counted from 0"""
    return [step - 1 for step in tainted_steps(batches, forget)]


def _first_row(batches, forget):
    """Only the first row of each batch is looked at"""
    return _where(batches, lambda batch: torch.isin(batch[:1], forget).any())


def _whole_batch(batches, forget):
    """All rows of the batch must be forgotten ones"""
    return _where(batches, lambda batch: torch.isin(batch, forget).all())


def _all_forgotten(batches, forget):
    """All forgotten rows must be in the batch"""
    return _where(batches, lambda batch: torch.isin(forget, batch).all())


def _each_hit(batches, forget):
    """A step once for each forgotten row in its batch"""
    rows = set(forget.tolist())
    return [step for step, batch in enumerate(batches, 1) for row in batch.tolist() if row in rows]


def _positions(batches, forget):
    """Places in the batch are compared instead of row numbers"""
    return _where(batches, lambda batch: torch.isin(torch.arange(len(batch)), forget).any())


def _clean_steps(batches, forget):
    """The steps that touched none"""
    return _where(batches, lambda batch: not torch.isin(batch, forget).any())


def _row_zero_lost(batches, forget):
    """any() over the rows that were hit: row 0 counts as False"""
    rows = set(forget.tolist())
    return _where(batches, lambda batch: any(row for row in batch.tolist() if row in rows))


def _first_step(batches, forget):
    """Only the first such step"""
    return tainted_steps(batches, forget)[:1]


def _elementwise(batches, forget):
    """The batch is compared with the forgotten rows place by place"""
    return _where(batches, lambda batch: (batch == forget).any())


def _mask(batches, forget):
    """True or False for each step instead of the steps"""
    return [bool(torch.isin(batch, forget).any()) for batch in batches]


TAINTED = Exercise(
    id="9.3", title="Which steps touched a forgotten row",
    trains="membership by value: tensors in a set are compared by identity, so the sets never meet",
    difficulty=2, minutes=8, points=2, solution=tainted_steps, cases=_batch_cases,
    hints=("One forgotten row is enough to taint a batch. Compare row numbers as plain whole numbers, because two "
           "tensors that hold 7 are two different things to a set.",
           "T = {t : B_t ∩ F ≠ ∅}, with the batch B_t of step t = 1, 2, … and the forgotten rows F.",
           "Make a set of `forget.tolist()`. Go through the batches with `enumerate`, which can start at 1. Keep the "
           "step where the set has a row in common with the batch's list."),
    mistakes=(
        (_tensor_sets, "your result is always empty: a set compares tensors by identity, not by the number they hold. "
                       "Use `.tolist()` first."),
        (_from_zero, "you counted from 0. The first step of a log is step 1."),
        (_first_row, "you looked at the first row of each batch only. A forgotten row may stand anywhere in it."),
        (_whole_batch, "you ask that all rows of a batch are forgotten ones. One is enough."),
        (_all_forgotten, "you ask that a batch holds all forgotten rows. One is enough."),
        (_each_hit, "a step with two forgotten rows comes twice in your list. Give each step once."),
        (_positions, "you compared places in the batch. The batch holds the row numbers: compare those."),
        (_clean_steps, "these are the steps that touched no forgotten row. Return the others."),
        (_row_zero_lost, "row 0 is lost: `any` takes the number 0 for False. Ask whether a row was found, not which."),
        (_first_step, "you stopped at the first such step. Go through all of them."),
        (_elementwise, "you compared two tensors place by place. Ask for each row whether it is among the forgotten "
                       "ones, as `torch.isin` does."),
        (_mask, "you gave True or False for each step. Return the numbers of the steps."),
    ),
    remark="`torch.isin(batch, forget).any()` tells the same. An empty answer deserves a test with a row that must be "
           "found.",
)

# ---------------- 9.4 forging_bound


def forging_bound(old_gradients, new_gradients, batch_size, lr):
    """How far the step moves when k of the batch's rows are replaced. (k, d), (k, d), int, float -> float"""
    k = len(old_gradients)
    change = old_gradients.mean(0) - new_gradients.mean(0)
    return lr * (k / batch_size) * change.norm().item()


def _gradient_cases():
    g, cases = torch.Generator().manual_seed(54), []
    for what, k, d, b, lr in (("a few rows", 3, 5, 10, 0.1), ("one row", 1, 4, 8, 0.5), ("all rows", 6, 3, 6, 0.2),
                              ("one weight", 4, 1, 12, 0.3), ("more rows than weights", 9, 2, 20, 1.0),
                              ("a batch of one row", 1, 6, 1, 0.7), ("a large batch", 5, 30, 256, 2.0),
                              ("a small learning rate", 2, 7, 5, 0.02), ("a large learning rate", 3, 3, 9, 4.0)):
        cases.append((what, (torch.randn(k, d, generator=g), 2 * torch.randn(k, d, generator=g), b, lr)))
    a = torch.tensor([[1., 2, -2], [4., 0, 3]])
    return cases + [
        ("the same gradients", (a, a.clone(), 4, 0.5)),
        ("the same gradients in another order", (a, a.flip(0), 4, 0.5)),
        ("gradients turned round", (a, -a, 4, 0.5)),
        ("replacements without a gradient", (a, torch.zeros(2, 3), 8, 0.5)),
    ]


def _mean_change(old_gradients, new_gradients):
    return (old_gradients.mean(0) - new_gradients.mean(0)).norm().item()


def _whole_batch_replaced(old_gradients, new_gradients, batch_size, lr):
    """Divided by k only, as if the whole batch were replaced"""
    return lr * _mean_change(old_gradients, new_gradients)


def _share_twice(old_gradients, new_gradients, batch_size, lr):
    """The share k / b comes in twice"""
    return lr * (len(old_gradients) / batch_size) ** 2 * _mean_change(old_gradients, new_gradients)


def _row_by_row(old_gradients, new_gradients, batch_size, lr):
    """The sum of the norms of the row differences"""
    return lr / batch_size * (old_gradients - new_gradients).norm(dim=1).sum().item()


def _frobenius(old_gradients, new_gradients, batch_size, lr):
    """The norm of the whole matrix of differences"""
    return lr / batch_size * (old_gradients - new_gradients).norm().item()


def _squared(old_gradients, new_gradients, batch_size, lr):
    """The squared norm"""
    return lr * len(old_gradients) / batch_size * _mean_change(old_gradients, new_gradients) ** 2


def _no_lr(old_gradients, new_gradients, batch_size, lr):
    """The learning rate is forgotten"""
    return forging_bound(old_gradients, new_gradients, batch_size, 1.0)


def _weights_for_rows(old_gradients, new_gradients, batch_size, lr):
    """The number of weights d is taken for k"""
    return lr * old_gradients.shape[1] / batch_size * _mean_change(old_gradients, new_gradients)


def _one_mean(old_gradients, new_gradients, batch_size, lr):
    """The mean over all entries, rows and weights alike"""
    return lr * len(old_gradients) / batch_size * (old_gradients.mean() - new_gradients.mean()).abs().item()


def _lengths(old_gradients, new_gradients, batch_size, lr):
    """The difference of the two means' norms"""
    change = old_gradients.mean(0).norm() - new_gradients.mean(0).norm()
    return lr * len(old_gradients) / batch_size * change.abs().item()


def _not_divided(old_gradients, new_gradients, batch_size, lr):
    """Not divided by the batch size"""
    return lr * len(old_gradients) * _mean_change(old_gradients, new_gradients)


def _one_row(old_gradients, new_gradients, batch_size, lr):
    """Divided by the batch size, without k"""
    return lr / batch_size * _mean_change(old_gradients, new_gradients)


FORGING = Exercise(
    id="9.4", title="What replacing k rows of a batch changes",
    trains="the gradient of a batch as a mean: shares of it, and the norm of a sum against a sum of norms",
    difficulty=3, minutes=12, points=2, solution=forging_bound, cases=_gradient_cases,
    hints=("The step follows the mean gradient of the batch. The rows that stay cancel when the two steps are "
           "compared, so only the replaced ones and their share of the batch are left.",
           "‖Δw‖ = η (k / b) ‖ḡ_old − ḡ_new‖₂, with each ḡ the mean of k gradients.",
           "The mean over dimension 0 of each matrix gives two vectors. Subtract them and take the norm. Multiply it "
           "by the learning rate and by the share of the batch that was replaced."),
    mistakes=(
        (_whole_batch_replaced, "you took the replaced rows for the whole batch. Multiply by their share, k / b."),
        (_share_twice, "the share k / b comes in twice. The means over the k rows need it once."),
        (_row_by_row, "you added up the norms of single rows, where differences cannot cancel. Take the mean first, "
                      "then one norm."),
        (_frobenius, "you took the norm of the whole matrix. Take the mean over the rows first."),
        (_squared, "you squared the norm. The distance is the norm itself."),
        (_no_lr, "the learning rate is missing. A step is the learning rate times the gradient."),
        (_weights_for_rows, "your k is the number of weights. The rows are dimension 0."),
        (_one_mean, "you averaged over all entries. Keep one mean for each weight: dimension 0 only."),
        (_lengths, "you subtracted two norms, which ignores the directions. Subtract the vectors, then take the norm."),
        (_not_divided, "you did not divide by the batch size. SGD follows the mean of the batch."),
        (_one_row, "you divided a mean by the batch size, as if one row were replaced. Multiply by k too."),
    ),
    remark="Rows with similar gradients leave the step almost where it was. That is why a log can be forged, and why "
           "replay alone proves little.",
)
