"""Exercises of notebook 05: directions, rough images, a linear layer, linear models, a prior.

Solutions use torch only, so that they can be copied out. The project is tried on Fashion-MNIST.
"""

from functools import lru_cache
from types import SimpleNamespace

import torch

from course.chapters.inversion import crowds, searches, worlds
from course.exercises.engine import Exercise
from labkit import data


# ---------------- 5.1
def cosine_distance(gradient, update):
    """1 less the cosine of the angle between two vectors, 0 to 2. (d,), (d,) -> scalar"""
    return 1 - gradient @ update / (gradient.norm() * update.norm())


def _direction_cases():
    g, cases = torch.Generator().manual_seed(41), []
    for what, d, one, other in (
            ("two random vectors", 5, 1, 1), ("vectors of different lengths", 7, 3, 0.2),
            ("a short gradient", 6, 0.01, 1), ("a short update", 4, 2, 0.01),
            ("long vectors", 3, 20, 30), ("one entry", 1, 1, 1), ("many entries", 500, 1, 2)):
        a, b = torch.randn(d, generator=g), torch.randn(d, generator=g)
        cases.append((what, (one * a, other * b)))
    a = torch.tensor([1., -2, 2, 0])
    return cases + [
        ("the same vector twice", (a, a)), ("one direction, other lengths", (a, 3 * a)),
        ("opposite directions", (a, -0.5 * a)), ("a right angle", (a, torch.tensor([2., 1, 0, 5]))),
        ("an obtuse angle", (torch.tensor([3., 4]), torch.tensor([-4., -3])))]


COSINE = Exercise(
    id="5.1", title="How far apart two directions are", difficulty=1, minutes=5, points=1,
    trains="cosine distance: a comparison that ignores lengths and keeps the sign of a direction",
    solution=cosine_distance, cases=_direction_cases, atol=1e-5, gradients=(0,),
    hints=("The size of a step is not known to the attacker, its direction is. Compare the "
           "directions: 0 for the same, 1 at a right angle, 2 for opposite ones.",
           "D = 1 − ⟨g, u⟩ / (‖g‖ ‖u‖), with ⟨g, u⟩ = Σ_i g_i u_i and ‖g‖² = Σ_i g_i².",
           "The operator `@` gives the inner product of two vectors, and `.norm()` a vector's "
           "length. Divide the first by the product of both lengths, and take it from 1."),
    mistakes=(
        ("1 - gradient", "gradient", "The cosine instead of the distance", "this is the cosine, "
         "which is largest for equal directions. A distance is 0 there: take it from 1."),
        ("gradient @ update", "(gradient @ update).abs()", "The absolute value of the cosine",
         "you took the absolute value of the cosine, so opposite directions count as equal. Keep "
         "the sign."),
        ("1 - ", "1 + ", "1 plus the cosine",
         "you added the cosine to 1, so equal directions are farthest apart: subtract it."),
        (" / (gradient.norm() * update.norm())", "",
         "The inner product is not divided by the norms",
         "your inner product is not divided by the lengths, so a longer vector seems nearer."),
        ("(gradient.norm() * update.norm())", "update.norm()", "Divided by the update's norm only",
         "the length of the gradient still counts: divide by its norm too."),
        ("(gradient.norm() * update.norm())", "gradient.norm()",
         "Divided by the gradient's norm only",
         "the length of the update still counts: divide by its norm too."),
        ("norm()", "square().sum()", "Divided by the squared norms",
         "you divided by the squared norms: leave out the square, or take the root."),
        ("1 - ", "2 - 2 * ",
         "The squared distance between the two vectors of length 1: twice as large",
         "this is the squared distance between the two vectors of length 1: it is twice as large."),
        ("gradient @ update", "(gradient * update).mean()",
         "The mean of the products instead of their sum",
         "you took the mean of the products: an inner product is their sum."),
        ("return", "with torch.no_grad(): return", "The result carries no gradient",
         "the value is right, and it is cut off from its arguments: the search below needs its "
         "gradient. Leave out .item(), .detach(), .numpy() and torch.tensor(…)."),
        (("1 - ", "norm())"), ("(", "norm())).clamp(-1, 1).acos()"),
         "The angle instead of 1 less its cosine",
         "this is the angle: take 1 less its cosine, which has a gradient everywhere."),
    ),
    remark="`1 - F.cosine_similarity(gradient, update, dim=0)` does the same. The sign counts: a "
           "difference of models with the wrong sign sends the attack the other way.",
)


# ---------------- 5.2
def total_variation(images):
    """Mean absolute difference of neighbours of each image, across + down. (n, c, h, w) -> (n,)"""
    across = (images[:, :, :, 1:] - images[:, :, :, :-1]).abs().mean((1, 2, 3))
    down = (images[:, :, 1:, :] - images[:, :, :-1, :]).abs().mean((1, 2, 3))
    return across + down


def _image_cases():
    g, cases = torch.Generator().manual_seed(42), []
    for what, shape in (("grey images", (3, 1, 5, 4)), ("colour images", (2, 3, 4, 6)),
                        ("one image", (1, 3, 4, 5)), ("square images", (4, 2, 5, 5)),
                        ("two pixels each way", (3, 3, 2, 2)), ("two rows", (2, 1, 2, 7)),
                        ("two columns", (2, 2, 6, 2)), ("larger images", (3, 3, 12, 10))):
        cases.append((what, (torch.rand(*shape, generator=g),)))
    ramp = torch.linspace(0, 1, 5).expand(1, 1, 4, 5)
    board = (torch.arange(4)[:, None] + torch.arange(6)) % 2
    return cases + [
        ("a flat image and a rough one",
         (torch.stack([torch.full((1, 4, 6), 0.3), board[None].float()]),)),
        ("a ramp from left to right", (ramp.clone(),)),
        ("a ramp from bottom to top", (ramp.mT.flip(2).clone(),)),
        ("values below 0", (torch.randn(2, 1, 4, 5, generator=g),))]


TV = Exercise(
    id="5.2", title="How rough an image is", difficulty=2, minutes=10, points=1,
    trains="total variation: slices of a batch of images, the absolute value, and over what a mean "
           "is taken",
    solution=total_variation, cases=_image_cases, gradients=(0,),
    hints=("In a natural image most pixels are like their neighbours, in noise they are not. "
           "Measure how much a pixel differs from its right neighbour, and from the one below.",
           "TV = mean |x[c, i, j+1] − x[c, i, j]| + mean |x[c, i+1, j] − x[c, i, j]|, each mean "
           "over all c, i, j of one image for which both pixels exist.",
           "Take all columns but the first less all columns but the last. Then absolute values, "
           "and the mean over dimensions 1, 2 and 3. Do the same with rows, and add the two."),
    mistakes=(
        ("abs()", "square()", "Squared differences instead of absolute ones",
         "you squared the differences: that punishes a sharp edge more than a slow ramp. Take "
         "absolute values."),
        ("mean(", "sum(", "The sum over the pixels instead of the mean",
         "you added the differences up: take their mean, so that large images are not rougher."),
        (("[:, :, :, 1:]", "[:, :, :, :-1]", "[:, :, 1:, :]", "[:, :, :-1, :]"),
         ("", ".roll(1, 3)", "", ".roll(1, 2)"),
         "The last pixel is compared with the first one, by torch.roll", "torch.roll compares the "
         "last pixel with the first one, and they are no neighbours. Cut the image with slices."),
        (" + down", "", "Horizontal neighbours only",
         "you compared horizontal neighbours only: add the vertical ones."),
        ("across + ", "", "Vertical neighbours only",
         "you compared vertical neighbours only: add the horizontal ones."),
        ("across + down", "(across + down).mean()", "One number for all images, their mean",
         "you averaged over the whole batch: give one value for each image."),
        ("(1, 2, 3)", "(2, 3)", "A value for each channel of an image",
         "you have one value for each channel: take the mean over dimension 1 as well."),
        (".abs()", "", "The differences keep their signs, so they cancel",
         "your differences keep their signs, so up and down cancel. Take absolute values."),
        (".abs().mean((1, 2, 3))", ".mean((1, 2, 3)).abs()",
         "The absolute value is taken after the mean", "you took the absolute value after the "
         "mean, when the differences had already cancelled. Take it of each one."),
        ("across + down", "across + down + images.diff(dim=1).abs().mean((1, 2, 3))",
         "Differences between channels are added",
         "you compared channels as well: red and green of one pixel are no neighbours."),
        ("across + down", "(across + down) / 2",
         "The mean of the two directions instead of their sum",
         "you averaged the two directions: add them."),
    ),
    remark="`attack.total_variation` is this function. The attack adds a little of it to the "
           "distance, so that of images that fit alike the smoother one wins.",
)


# ---------------- 5.3
def leak(weight_gradient, bias_gradient):
    """The input x of a linear layer, from dL/dW = δ xᵀ, dL/db = δ of a row. (h, d), (h,) -> (d,)"""
    share = bias_gradient / bias_gradient.square().sum()
    return share @ weight_gradient


def _layer_cases():
    g, cases = torch.Generator().manual_seed(43), []
    for what, h, d, scale, dead in (
            ("more inputs than units", 4, 7, 1, 0), ("more units than inputs", 8, 3, 1, 0),
            ("as many units as inputs", 5, 5, 2, 0), ("some dead units", 9, 4, 1, 3),
            ("most units dead", 20, 6, 1, 18), ("one unit", 1, 5, 1, 0), ("one input", 6, 1, 1, 2),
            ("a small gradient", 6, 4, 0.02, 1)):
        delta, x = scale * torch.randn(h, generator=g), torch.randn(d, generator=g)
        delta[:dead] = 0  # the first ones: a ReLU that was off
        cases.append((what, (delta[:, None] * x, delta)))
    # deltas of a last layer, softmax − onehot: they add up to 0, here exactly
    last, x = torch.tensor([.125, .25, -.75, .125, .25]), torch.tensor([.5, -1, 2, .25])
    cases.append(("deltas that add up to 0", (last[:, None] * x, last)))
    for what, tiny in (("noise, and units that are nearly dead", 2e-6),
                       ("noise, and one unit that matters", 1e-7)):
        delta, x = tiny * torch.randn(12, generator=g), torch.randn(5, generator=g)
        delta[7], delta[9] = -0.8, 0.7 if tiny > 1e-6 else 0.0
        cases.append((what, (delta[:, None] * x + 1e-5 * torch.randn(12, 5, generator=g), delta)))
    delta, x = torch.randn(10, generator=g), torch.randn(6, generator=g)
    noisy = delta[:, None] * x + 0.1 * torch.randn(10, 6, generator=g)
    return [*cases, ("noise in every unit", (noisy, delta))]


LEAK = Exercise(
    id="5.3", title="What a linear layer gives away", difficulty=3, minutes=12, points=2,
    trains="the gradient of a linear layer is an outer product; least squares instead of a mean of "
           "ratios",
    solution=leak, cases=_layer_cases, atol=1e-3,
    hints=("Row i of the weight's gradient is the input times a number, and the bias's gradient "
           "holds that number. Any unit gives the input away, but a dead one says nothing and a "
           "weak one drowns in noise.",
           "W_i = b_i x for each unit i. The x with the least Σ_i ‖W_i − b_i x‖² is Σ_i b_i W_i / "
           "Σ_i b_i².",
           "Add up the rows of the weight's gradient, each times its entry of the bias's gradient: "
           "that is a vector times a matrix. Divide by the sum of the squared entries."),
    mistakes=(
        ("share @ weight_gradient", "(weight_gradient / bias_gradient[:, None]).mean(0)",
         "The mean of W_i / b_i over all units: NaN at dead ones", "a dead unit has gradient 0, "
         "and 0 / 0 is NaN. Weight each unit by its b, so that it adds 0."),
        ("share @ weight_gradient",
         "(weight_gradient / bias_gradient[:, None])[bias_gradient != 0].mean(0)",
         "The mean of W_i / b_i over the units that are not exactly 0",
         "you averaged the ratios: a unit that is nearly dead is almost all noise and counts as "
         "much as the others. Weight the units by b."),
        ("share @ weight_gradient", "weight_gradient[0] / bias_gradient[0]",
         "W_0 / b_0, the first unit only",
         "you read the first unit only, and it may be dead. Use all of them."),
        ("share @ weight_gradient",
         "(weight_gradient / bias_gradient[:, None])[bias_gradient != 0][0]",
         "The first unit that is not exactly 0", "you read the first unit that is not exactly 0, "
         "and it may be nearly dead and noisy. Use all of them."),
        ("share @ weight_gradient",
         "(weight_gradient / bias_gradient[:, None])[bias_gradient.abs().argmax()]",
         "The unit of largest absolute b alone", "you read the strongest unit alone. Least squares "
         "uses all of them: each W_i counts by its b_i."),
        ("share @ weight_gradient", "weight_gradient[weight_gradient.norm(dim=1).argmax()]",
         "The longest row of dL/dW, not divided", "you took a row of the weight's gradient as it "
         "is: it is the input times that unit's b, so divide."),
        ("bias_gradient /", "bias_gradient.abs() /",
         "The rows are weighted by the absolute values of b, so their signs are lost",
         "you weighted by the absolute value of b: rows with b below 0 point away from x, so keep "
         "the sign."),
        (".square()", "", "Σ b_i W_i is divided by Σ b_i", "you divided by the sum of b: each row "
         "has one b already, and you multiplied by another. Divide by the sum of squares."),
        ("square().sum()", "norm()", "Σ b_i W_i is divided by the norm of b, without the square",
         "you divided by the norm of b: square it, as b comes in twice."),
        (" / bias_gradient.square().sum()", "", "Σ b_i W_i, not divided", "your result is too "
         "large or too small by the same factor for all inputs: divide by the sum of b squared."),
        ("share @ weight_gradient", "weight_gradient.sum(0) / bias_gradient.sum()",
         "The sum of the rows divided by the sum of b", "you divided sum by sum: where the entries "
         "of b cancel, as in a last layer, that is 0 / 0. Weight by b first."),
        ("share @ weight_gradient", "(share[:, None] * weight_gradient).sum(1)",
         "The sum runs over the inputs instead of the units", "you added up over the inputs: the "
         "answer has one value for each of them, so add up over the units, dimension 0."),
        ("share @", "-share @", "The sign is turned",
         "the sign is turned: in W_i = b_i x there is no minus."),
    ),
    remark="`attack.leak` does this with a model's first linear layer. With several rows in the "
           "batch the same formula gives a mixture of them.",
)


# ---------------- 5.4
def rebuild_row(before, after, public, n, penalty):
    """The row deleted between two ridge regressions on n and n − 1 rows. (d + 1,), … -> (d,)"""
    m, d = public.shape
    x = torch.cat([public, public.new_ones(m, 1)], 1)
    free = public.new_ones(d + 1)
    free[d] = 0
    s = (n - 1) / m * x.T @ x + penalty * free.diag()
    v = s @ (before - after)
    return v[:d] / v[d]


def ridge(rows, y, penalty):
    """Weights of a ridge regression, its free intercept last. (n, d), (n,), number -> (d + 1,)"""
    x = torch.cat([rows, rows.new_ones(len(rows), 1)], 1)
    on_weights = torch.diag(rows.new_tensor([penalty] * rows.shape[1] + [0]))
    return torch.linalg.solve(x.T @ x + on_weights, x.T @ y)


def _ridge_cases():
    g, cases = torch.Generator().manual_seed(45), []
    for what, n, d, m, penalty, shift in (
            ("as many public rows as are left", 30, 4, 29, 1.0, 0.5),
            ("few public rows", 60, 3, 20, 2.0, 0.3), ("many public rows", 25, 5, 400, 3.0, 0.4),
            ("one weight", 15, 1, 40, 0.5, 1.0), ("no penalty", 40, 4, 100, 0.0, 0.5),
            ("a large penalty", 50, 3, 120, 40.0, 0.7), ("centred rows", 30, 3, 90, 5.0, 0.0),
            ("many weights", 80, 12, 60, 1, 0.2)):
        rows = shift + torch.rand(n + m, d, generator=g, dtype=torch.float64)
        y = rows[:n] @ torch.randn(d, generator=g, dtype=torch.float64) + 0.5
        y += 0.5 * torch.randn(n, generator=g, dtype=torch.float64)
        before, after = ridge(rows[:n], y, penalty), ridge(rows[1:n], y[1:], penalty)
        cases.append((what, (before, after, rows[n:], n, penalty)))
    rows = torch.rand(20, 3, generator=g, dtype=torch.float64)
    y = torch.randn(20, generator=g, dtype=torch.float64)
    before, after = ridge(rows, y, 2.0), ridge(rows[1:], y[1:], 2.0)
    return [*cases, ("the public rows are the rows left", (before, after, rows[1:], 20, 2.0))]


REBUILD = Exercise(
    id="5.4", title="A deleted row, from two ridge regressions", difficulty=4, minutes=20, points=3,
    trains="normal equations before and after a deletion; a matrix estimated from public rows; a "
           "free intercept",
    solution=rebuild_row, cases=_ridge_cases,
    hints=("Write down the equations that both fits solve, and subtract them. What is left is the "
           "deleted row with its 1 for the intercept, times one number. The matrix of the rows "
           "left is not known, but public rows give a good guess.",
           "S (w_before − w_after) = r · [x, 1], with r the row's residual and S = (n − 1)/m · XᵀX "
           "+ penalty · diag(1, …, 1, 0), where X is the public rows with a column of ones.",
           "Put a column of ones behind the public rows. Multiply its transpose by it, times (n − "
           "1) / m. Add the penalty on the diagonal, with 0 for the intercept. Multiply by the "
           "difference of the weights, and divide all entries but the last by the last."),
    mistakes=(
        (" + penalty * free.diag()", "", "The penalty is left out",
         "the penalty is missing in your matrix: both fits have it in their equations."),
        ("free[d] = 0", "", "The penalty acts on the intercept too",
         "your penalty acts on the intercept too: that is free, so the diagonal ends in 0."),
        (("s @ (before - after)", "v[d]"),
         ("s[:d, :d] @ (before - after)[:d]", "(before - after)[d]"),
         "No column of ones: the intercept is left out of the matrix",
         "your matrix leaves the intercept out: put a column of ones behind the public rows."),
        ("s @ (before - after)", "torch.linalg.solve(s, before - after)",
         "The inverse of the matrix instead of the matrix",
         "you solved with the matrix: the fit has done that already. Multiply by it to get back."),
        (" / v[d]", "", "Not divided by the last entry", "this is the row times its residual: "
         "divide by the last entry, which is the residual times 1."),
        ("v[:d]", "v", "The last entry, the 1, is kept",
         "your last entry is the 1 of the intercept: leave it out."),
        ("(n - 1) / m * ", "", "The sum over the public rows stands for that over the rows left",
         "you added up over the m public rows, and the model was fitted on n − 1. Multiply the sum "
         "by (n − 1) / m, and the penalty not."),
        ("(n - 1) / m", "1 / m", "The mean over the public rows, not multiplied by n − 1",
         "you took the mean over the public rows, while the fit has a sum over n − 1. Multiply by "
         "n − 1."),
        ("(n - 1)", "n", "n instead of n − 1",
         "you counted the deleted row: the matrix is that of the n − 1 rows left."),
        ("cat([public", "cat([public - public.mean(0)", "The public rows are centred first",
         "you centred the public rows: the column of ones does that already. Take them as they "
         "are."),
        ("s @ (before - after)", "before - after",
         "The difference of the weights alone, divided by its last entry", "you left the matrix "
         "out: the weights move by its inverse times the row. Multiply it back."),
    ),
    remark="`here.rebuild_row` does this for several outputs. With the rows left as public rows "
           "it is exact.",
)


# ---------------- 5.5
def with_a_prior(search, public, classes, label):
    """search(prior): near public pictures of the class, in units of their spread, and smooth."""
    mean = torch.stack([public[classes == c].mean(0) for c in label])
    spread = torch.stack([public[classes == c].var(0) for c in label]) + 0.05

    def prior(images):
        unusual = ((images - mean) ** 2 / spread).mean((1, 2, 3))
        rough = sum(images.diff(dim=side).abs().mean((1, 2, 3)) for side in (2, 3))
        return 0.03 * (unusual + rough)

    return search(prior)


@lru_cache(maxsize=1)
def _crowded():
    """Three requests of eight rows, of a provider with a small perceptron, and what is public."""
    cfg = SimpleNamespace(deleted=24, nets={"mlp": {"hidden": 32}}, epochs=2, lr=0.05,
                          sweep_steps=60)
    w = worlds.world(data.load("fashion", at_most=(3000, 600), moments="test"), 5, cfg)
    w.nets["mlp"] = worlds.pretrain(w, "mlp")
    c = crowds.crowd(w, 8, 24)
    return crowds.Search(c, 60), w.data.pixels(w.x), w.y, c.label


def _crowd_case():
    return [("three requests of eight rows each", _crowded())]


def _mean_gain(pictures, search, *rest):
    return sum(gains := search.judge(pictures)) / len(gains)


@lru_cache(maxsize=1)
def _half_way():
    """Half-way from the best baseline, no prior or a smooth one, to the prior above."""
    case = _crowded()
    plain = [crowds.no_prior, *(crowds.smooth(tv) for tv in searches.TVS)]
    baseline = max(_mean_gain(attack(*case), *case) for attack in plain)
    return (baseline + _mean_gain(with_a_prior(*case), *case)) / 2


PRIOR = Exercise(
    id="5.5", title="A prior that takes a crowd apart", difficulty=5, minutes=25, points=5,
    trains="a search in which the update does not decide everything; a prior fitted to public "
           "pictures, and how strong it may be",
    solution=with_a_prior, cases=_crowd_case, measure=_mean_gain,
    measured="the mean gain over the class mean (dB)",
    floor=lambda *case: _half_way(),
    hints=("Many sets of eight pictures explain the update about equally well. Public pictures of "
           "the same class tell which of them are likely, pixel by pixel.",
           "prior(x)_i = α · mean over pixels of (x_i − μ_c)² / (σ²_c + ε), c the class of picture "
           "i; the cosine lies between 0 and 2, so start with α near 0.01. Smoothness "
           "can be added.",
           "Stack the mean of the public pictures of each row's class, and the variance plus a "
           "small number. Define a function of the pictures inside yours that gives one number a "
           "picture, and return what the search makes of it."),
    mistakes=(
        ("return 0.03 *", "return 0 *", "A prior that is 0 everywhere",
         "your prior is 0 everywhere, so the search is the plain one: give likely pictures less "
         "than unlikely ones."),
        ("return 0.03 *", "return 10 *", "A prior so strong that only the class mean is left",
         "your prior is so strong that the update does not count: what comes out is the mean of "
         "the class, which anybody could guess. Make it weaker."),
        ("return 0.03 *", "return -0.03 *", "A prior with the wrong sign",
         "your prior is largest for likely pictures, and the search looks for the least: turn the "
         "sign."),
        ("((images - mean) ** 2 / spread)", "images", "A prior for dark pictures",
         "your prior compares with nothing: it only asks for few bright pixels. Compare with what "
         "is usual in public pictures of the class."),
        ("unusual + rough", "rough", "A smooth prior, and nothing learned from public pictures",
         "your prior asks for smooth pictures only, which was tried above. Public pictures of the "
         "class say more about what is likely."),
        ("return search(prior)", "return mean", "The class mean, without any search",
         "these are the class means, which anybody could guess: the update was not used. Call the "
         "search with your prior, and return what it gives."),
    ),
    # on twelve splits that no notebook judges (Lab's seed 1000, lab.seeds(12, "tune")) it is 1.9
    # [0.8, 2.9] dB above total variation of weight 0.1, the best of searches.TVS on six of them
    remark="It is run on other rows below. On twelve splits that this notebook does not judge it "
           "was nearer than the best smooth prior; few splits can be too few to show it. It "
           "helps where the update leaves many sets of pictures open, and hurts where it is clear.",
)

EXERCISES = (COSINE, TV, LEAK, REBUILD, PRIOR)
