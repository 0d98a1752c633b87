"""Exercise of notebook 05 on the closed form: what a linear layer gives away."""

import torch

from course.exercises.engine import Exercise

# ---------------- 5.3 leak


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
    delta, x = torch.randn(10, generator=g), torch.randn(6, generator=g)
    cases.append(("noise in every unit", (delta[:, None] * x + 0.1 * torch.randn(10, 6, generator=g), delta)))
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


def _strongest(weight_gradient, bias_gradient):
    """The unit of largest absolute b alone"""
    return _ratios(weight_gradient, bias_gradient)[bias_gradient.abs().argmax()]


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
    id="5.3", title="What a linear layer gives away",
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
                      "them."),
        (_strongest, "you read the strongest unit alone. Least squares uses all of them: each W_i counts by its b_i."),
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
