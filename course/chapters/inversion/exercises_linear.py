"""Exercise of notebook 05 on linear models: a deleted row from two ridge regressions."""

import torch

from course.exercises.engine import Exercise

# ---------------- 5.5 rebuild_row


def rebuild_row(before, after, public, n, penalty):
    """The row deleted between two ridge regressions on n and n − 1 rows. (d + 1,), (d + 1,), (m, d), … -> (d,)"""
    m, d = public.shape
    x = torch.cat([public, public.new_ones(m, 1)], 1)
    free = public.new_ones(d + 1)
    free[d] = 0
    s = (n - 1) / m * x.T @ x + penalty * free.diag()
    v = s @ (before - after)
    return v[:d] / v[d]


def ridge(rows, y, penalty):
    """Weights of a ridge regression with a free intercept, which comes last. (n, d), (n,), number -> (d + 1,)"""
    x = torch.cat([rows, rows.new_ones(len(rows), 1)], 1)
    on_weights = torch.diag(rows.new_tensor([penalty] * rows.shape[1] + [0]))
    return torch.linalg.solve(x.T @ x + on_weights, x.T @ y)


def _ridge_cases():
    g, cases = torch.Generator().manual_seed(45), []
    for what, n, d, m, penalty, shift in (("as many public rows as are left", 30, 4, 29, 1.0, 0.5),
                                          ("few public rows", 60, 3, 20, 2.0, 0.3),
                                          ("many public rows", 25, 5, 400, 3.0, 0.4),
                                          ("one weight", 15, 1, 40, 0.5, 1.0), ("no penalty", 40, 4, 100, 0.0, 0.5),
                                          ("a large penalty", 50, 3, 120, 40.0, 0.7),
                                          ("centred rows", 30, 3, 90, 5.0, 0.0), ("many weights", 80, 12, 60, 1, 0.2)):
        rows = shift + torch.rand(n + m, d, generator=g, dtype=torch.float64)
        y = rows[:n] @ torch.randn(d, generator=g, dtype=torch.float64) + 0.5
        y += 0.5 * torch.randn(n, generator=g, dtype=torch.float64)
        cases.append((what, (ridge(rows[:n], y, penalty), ridge(rows[1:n], y[1:], penalty), rows[n:], n, penalty)))
    rows = torch.rand(20, 3, generator=g, dtype=torch.float64)
    y = torch.randn(20, generator=g, dtype=torch.float64)
    cases.append(("the public rows are the rows left", (ridge(rows, y, 2.0), ridge(rows[1:], y[1:], 2.0), rows[1:], 20,
                                                        2.0)))
    return cases


def _matrix(public, n, penalty, on_intercept=0.0):
    x = torch.cat([public, public.new_ones(len(public), 1)], 1)
    on_weights = torch.diag(public.new_tensor([penalty] * public.shape[1] + [on_intercept]))
    return (n - 1) / len(public) * x.T @ x + on_weights


def _row(matrix, move):
    v = matrix @ move
    return v[:-1] / v[-1]


def _no_penalty(before, after, public, n, penalty):
    """The penalty is left out"""
    return _row(_matrix(public, n, 0), before - after)


def _penalty_on_all(before, after, public, n, penalty):
    """The penalty acts on the intercept too"""
    return _row(_matrix(public, n, penalty, penalty), before - after)


def _no_ones(before, after, public, n, penalty):
    """No column of ones: the intercept is left out of the matrix"""
    move, d = before - after, public.shape[1]
    return _matrix(public, n, penalty)[:d, :d] @ move[:d] / move[d]


def _inverse(before, after, public, n, penalty):
    """The inverse of the matrix instead of the matrix"""
    v = torch.linalg.solve(_matrix(public, n, penalty), before - after)
    return v[:-1] / v[-1]


def _not_by_last(before, after, public, n, penalty):
    """Not divided by the last entry"""
    return (_matrix(public, n, penalty) @ (before - after))[:-1]


def _last_kept(before, after, public, n, penalty):
    """The last entry, the 1, is kept"""
    v = _matrix(public, n, penalty) @ (before - after)
    return v / v[-1]


def _not_scaled(before, after, public, n, penalty):
    """The sum over the public rows stands for that over the rows left"""
    return _row(_matrix(public, len(public) + 1, penalty), before - after)


def _mean_of_public(before, after, public, n, penalty):
    """The mean over the public rows, not multiplied by n − 1"""
    return _row(_matrix(public, 2, penalty), before - after)


def _all_n(before, after, public, n, penalty):
    """n instead of n − 1"""
    return _row(_matrix(public, n + 1, penalty), before - after)


def _centred(before, after, public, n, penalty):
    """The public rows are centred first"""
    return _row(_matrix(public - public.mean(0), n, penalty), before - after)


def _difference(before, after, public, n, penalty):
    """The difference of the weights alone, divided by its last entry"""
    move = before - after
    return move[:-1] / move[-1]


REBUILD = Exercise(
    id="5.5", title="A deleted row, from two ridge regressions",
    trains="normal equations before and after a deletion; a matrix estimated from public rows; a free intercept",
    difficulty=4, minutes=20, points=3, solution=rebuild_row, cases=_ridge_cases,
    hints=("Write down the equations that both fits solve, and subtract them. What is left is the deleted row with its "
           "1 for the intercept, times one number. The matrix of the rows left is not known, but public rows give a "
           "good guess.",
           "S (w_before − w_after) = r · [x, 1], with r the row's residual and S = (n − 1)/m · XᵀX + penalty · "
           "diag(1, …, 1, 0), where X is the public rows with a column of ones.",
           "Put a column of ones behind the public rows. Multiply its transpose by it, times (n − 1) / m. Add the "
           "penalty on the diagonal, with 0 for the intercept. Multiply by the difference of the weights, and divide "
           "all entries but the last by the last."),
    mistakes=(
        (_no_penalty, "the penalty is missing in your matrix: both fits have it in their equations."),
        (_penalty_on_all, "your penalty acts on the intercept too: that is free, so the diagonal ends in 0."),
        (_no_ones, "your matrix leaves the intercept out: put a column of ones behind the public rows."),
        (_inverse, "you solved with the matrix: the fit has done that already. Multiply by it to get back."),
        (_not_by_last, "this is the row times its residual: divide by the last entry, which is the residual times 1."),
        (_last_kept, "your last entry is the 1 of the intercept: leave it out."),
        (_not_scaled, "you added up over the m public rows, and the model was fitted on n − 1. Multiply the sum by "
                      "(n − 1) / m, and the penalty not."),
        (_mean_of_public, "you took the mean over the public rows, while the fit has a sum over n − 1. Multiply by "
                          "n − 1."),
        (_all_n, "you counted the deleted row: the matrix is that of the n − 1 rows left."),
        (_centred, "you centred the public rows: the column of ones does that already. Take them as they are."),
        (_difference, "you left the matrix out: the weights move by its inverse times the row. Multiply it back."),
    ),
    remark="`attack.rebuild_row` does this for several outputs. With the rows left as public rows it is exact.",
)
