"""Exercises of notebook 04 with a closed form: a linear layer's leak, and a row from two ridge regressions."""

import torch

from .engine import Exercise

# ---------------- 4.3 leak


def leak(weight_gradient, bias_gradient):
    """The input x of a linear layer, from dL/dW = δ xᵀ and dL/db = δ of one row. (h, d), (h,) -> (d,)"""
    share = bias_gradient / bias_gradient.square().sum()
    return share @ weight_gradient


def _layer_cases():
    g, cases = torch.Generator().manual_seed(43), []
    for what, h, d, scale, dead in (("more inputs than units", 4, 7, 1, 0), ("more units than inputs", 8, 3, 1, 0),
                                    ("as many units as inputs", 5, 5, 2, 0), ("some dead units", 9, 4, 1, 3),
                                    ("most units dead", 20, 6, 1, 18), ("one unit", 1, 5, 1, 0),
                                    ("one input", 6, 1, 1, 2), ("a small gradient", 6, 4, 0.02, 1)):
        delta, x = scale * torch.randn(h, generator=g), torch.randn(d, generator=g)
        delta[:dead] = 0  # the first ones: a ReLU that was off
        cases.append((what, (delta[:, None] * x, delta)))
    # deltas of a last layer, softmax − onehot: they add up to 0, here exactly
    last, x = torch.tensor([.125, .25, -.75, .125, .25]), torch.tensor([.5, -1, 2, .25])
    cases.append(("deltas that add up to 0", (last[:, None] * x, last)))
    for what, tiny in (("noise, and units that are nearly dead", 2e-6), ("noise, and one unit that matters", 1e-7)):
        delta, x = tiny * torch.randn(12, generator=g), torch.randn(5, generator=g)
        delta[7], delta[9] = -0.8, 0.7 if tiny > 1e-6 else 0.0
        cases.append((what, (delta[:, None] * x + 1e-5 * torch.randn(12, 5, generator=g), delta)))
    return cases


def _ratios(weight_gradient, bias_gradient):
    return weight_gradient / bias_gradient[:, None]


def _mean_ratio(weight_gradient, bias_gradient):
    """The mean of W_i / b_i over all units: NaN at dead ones"""
    return _ratios(weight_gradient, bias_gradient).mean(0)


def _mean_of_live(weight_gradient, bias_gradient):
    """The mean of W_i / b_i over the units that are not exactly 0"""
    return _ratios(weight_gradient, bias_gradient)[bias_gradient != 0].mean(0)


def _first_unit(weight_gradient, bias_gradient):
    """W_0 / b_0, the first unit only"""
    return _ratios(weight_gradient, bias_gradient)[0]


def _first_live(weight_gradient, bias_gradient):
    """The first unit that is not exactly 0"""
    return _ratios(weight_gradient, bias_gradient)[bias_gradient != 0][0]


def _largest_row(weight_gradient, bias_gradient):
    """The longest row of dL/dW, not divided"""
    return weight_gradient[weight_gradient.norm(dim=1).argmax()]


def _lost_signs(weight_gradient, bias_gradient):
    """The rows are weighted by the absolute values of b, so their signs are lost"""
    return leak(weight_gradient, bias_gradient.abs())


def _over_sum(weight_gradient, bias_gradient):
    """Σ b_i W_i is divided by Σ b_i"""
    return bias_gradient @ weight_gradient / bias_gradient.sum()


def _over_norm(weight_gradient, bias_gradient):
    """Σ b_i W_i is divided by the norm of b, without the square"""
    return bias_gradient @ weight_gradient / bias_gradient.norm()


def _not_divided(weight_gradient, bias_gradient):
    """Σ b_i W_i, not divided"""
    return bias_gradient @ weight_gradient


def _sums(weight_gradient, bias_gradient):
    """The sum of the rows divided by the sum of b"""
    return weight_gradient.sum(0) / bias_gradient.sum()


def _over_inputs(weight_gradient, bias_gradient):
    """The sum runs over the inputs instead of the units"""
    return (weight_gradient * bias_gradient[:, None]).sum(1) / bias_gradient.square().sum()


def _flipped(weight_gradient, bias_gradient):
    """The sign is turned"""
    return -leak(weight_gradient, bias_gradient)


LEAK = Exercise(
    id="4.3", title="What a linear layer gives away",
    trains="the gradient of a linear layer is an outer product; least squares instead of a mean of ratios",
    difficulty=3, minutes=12, points=2, solution=leak, cases=_layer_cases, atol=1e-3,
    hints=("Row i of the weight's gradient is the input times a number, and the bias's gradient holds that number. Any "
           "unit gives the input away, but a dead one says nothing and a weak one drowns in noise.",
           "W_i = b_i x for each unit i. The x with the least Σ_i ‖W_i − b_i x‖² is Σ_i b_i W_i / Σ_i b_i².",
           "Add up the rows of the weight's gradient, each times its entry of the bias's gradient: that is a vector "
           "times a matrix. Divide by the sum of the squared entries."),
    mistakes=(
        (_mean_ratio, "a dead unit has gradient 0, and 0 / 0 is NaN. Weight each unit by its b, so that it adds 0."),
        (_mean_of_live, "you averaged the ratios: a unit that is nearly dead is almost all noise and counts as much as "
                        "the others. Weight the units by b."),
        (_first_unit, "you read the first unit only, and it may be dead. Use all of them."),
        (_first_live, "you read the first unit that is not exactly 0, and it may be nearly dead and noisy. Use all of "
                      "them, or the strongest."),
        (_largest_row, "you took a row of the weight's gradient as it is: it is the input times that unit's b, so "
                       "divide."),
        (_lost_signs, "you weighted by the absolute value of b: rows with b below 0 point away from x, so keep the "
                      "sign."),
        (_over_sum, "you divided by the sum of b: each row has one b already, and you multiplied by another. Divide by "
                    "the sum of squares."),
        (_over_norm, "you divided by the norm of b: square it, as b comes in twice."),
        (_not_divided, "your result is too large or too small by the same factor for all inputs: divide by the sum of "
                       "b squared."),
        (_sums, "you divided sum by sum: where the entries of b cancel, as in a last layer, that is 0 / 0. Weight by b "
                "first."),
        (_over_inputs, "you added up over the inputs: the answer has one value for each of them, so add up over the "
                       "units, dimension 0."),
        (_flipped, "the sign is turned: in W_i = b_i x there is no minus."),
    ),
    remark="`attack.leak` does this with a model's first linear layer. With several rows in the batch the same formula "
           "gives a mixture of them.",
)

# ---------------- 4.5 rebuild_row


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
    id="4.5", title="A deleted row, from two ridge regressions",
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
