"""Exercises of notebook 05: directions and rough images. The others are in nb04_leak, nb04_labels, nb04_linear.

Solutions use torch only, so that they can be copied out.
"""

import torch

from course.chapters.inversion.exercises_labels import DELETED
from course.chapters.inversion.exercises_leak import LEAK
from course.chapters.inversion.exercises_linear import REBUILD
from course.exercises.engine import Exercise

# ---------------- 5.1 cosine_distance


def cosine_distance(gradient, target):
    """1 less the cosine of the angle between two vectors, 0 to 2. (d,), (d,) -> scalar"""
    return 1 - gradient @ target / (gradient.norm() * target.norm())


def _direction_cases():
    g, cases = torch.Generator().manual_seed(41), []
    for what, d, one, other in (("two random vectors", 5, 1, 1), ("vectors of different lengths", 7, 3, 0.2),
                                ("a short gradient", 6, 0.01, 1), ("a short target", 4, 2, 0.01),
                                ("long vectors", 3, 20, 30), ("one entry", 1, 1, 1), ("many entries", 500, 1, 2)):
        cases.append((what, (one * torch.randn(d, generator=g), other * torch.randn(d, generator=g))))
    a = torch.tensor([1., -2, 2, 0])
    return cases + [
        ("the same vector twice", (a, a)),
        ("one direction, other lengths", (a, 3 * a)),
        ("opposite directions", (a, -0.5 * a)),
        ("a right angle", (a, torch.tensor([2., 1, 0, 5]))),
        ("an obtuse angle", (torch.tensor([3., 4]), torch.tensor([-4., -3]))),
    ]


def _cosine(gradient, target):
    """The cosine instead of the distance"""
    return 1 - cosine_distance(gradient, target)


def _absolute_cosine(gradient, target):
    """The absolute value of the cosine"""
    return 1 - (1 - cosine_distance(gradient, target)).abs()


def _plus(gradient, target):
    """1 plus the cosine"""
    return 2 - cosine_distance(gradient, target)


def _no_norms(gradient, target):
    """The inner product is not divided by the norms"""
    return 1 - gradient @ target


def _norm_of_target(gradient, target):
    """Divided by the target's norm only"""
    return 1 - gradient @ target / target.norm()


def _norm_of_gradient(gradient, target):
    """Divided by the gradient's norm only"""
    return 1 - gradient @ target / gradient.norm()


def _squared_norms(gradient, target):
    """Divided by the squared norms"""
    return 1 - gradient @ target / (gradient.square().sum() * target.square().sum())


def _euclidean(gradient, target):
    """The squared distance between the two vectors of length 1: twice as large"""
    return 2 * cosine_distance(gradient, target)


def _mean_product(gradient, target):
    """The mean of the products instead of their sum"""
    return 1 - (gradient * target).mean() / (gradient.norm() * target.norm())


def _cut_off(gradient, target):
    """The result carries no gradient"""
    return torch.tensor(cosine_distance(gradient, target).item())


def _angle(gradient, target):
    """The angle instead of 1 less its cosine"""
    return (1 - cosine_distance(gradient, target)).clamp(-1, 1).acos()


COSINE = Exercise(
    id="5.1", title="How far apart two directions are",
    trains="cosine distance: a comparison that ignores lengths and keeps the sign of a direction",
    difficulty=1, minutes=5, points=1, solution=cosine_distance, cases=_direction_cases, atol=1e-5,
    gradients=(0,),
    hints=("The size of a step is not known to the attacker, its direction is. Compare the directions: 0 for the same, "
           "1 at a right angle, 2 for opposite ones.",
           "D = 1 − ⟨g, t⟩ / (‖g‖ ‖t‖), with ⟨g, t⟩ = Σ_i g_i t_i and ‖g‖² = Σ_i g_i².",
           "The operator `@` gives the inner product of two vectors, and `.norm()` a vector's length. Divide the first "
           "by the product of both lengths, and take it from 1."),
    mistakes=(
        (_cosine, "this is the cosine, which is largest for equal directions. A distance is 0 there: take it from 1."),
        (_absolute_cosine, "you took the absolute value of the cosine, so opposite directions count as equal. Keep "
                           "the sign."),
        (_plus, "you added the cosine to 1, so equal directions are farthest apart: subtract it."),
        (_no_norms, "your inner product is not divided by the lengths, so a longer vector seems nearer."),
        (_norm_of_target, "the length of the gradient still counts: divide by its norm too."),
        (_norm_of_gradient, "the length of the target still counts: divide by its norm too."),
        (_squared_norms, "you divided by the squared norms: leave out the square, or take the root."),
        (_euclidean, "this is the squared distance between the two vectors of length 1: it is twice as large."),
        (_mean_product, "you took the mean of the products: an inner product is their sum."),
        (_cut_off, "the value is right, and it is cut off from its arguments: the search below needs its gradient. "
                   "Leave out .item(), .detach(), .numpy() and torch.tensor(…)."),
        (_angle, "this is the angle: take 1 less its cosine, which has a gradient everywhere."),
    ),
    remark="`1 - F.cosine_similarity(gradient, target, dim=0)` does the same. The sign counts: a difference of models "
           "with the wrong sign sends the attack the other way.",
)

# ---------------- 5.2 total_variation


def total_variation(images):
    """Mean absolute difference of neighbours, across plus down, of each image. (n, c, h, w) -> (n,)"""
    across = (images[:, :, :, 1:] - images[:, :, :, :-1]).abs().mean((1, 2, 3))
    down = (images[:, :, 1:, :] - images[:, :, :-1, :]).abs().mean((1, 2, 3))
    return across + down


def _image_cases():
    g, cases = torch.Generator().manual_seed(42), []
    for what, shape in (("grey images", (3, 1, 5, 4)), ("colour images", (2, 3, 4, 6)), ("one image", (1, 3, 4, 5)),
                        ("square images", (4, 2, 5, 5)), ("two pixels each way", (3, 3, 2, 2)),
                        ("two rows", (2, 1, 2, 7)), ("two columns", (2, 2, 6, 2)), ("larger images", (3, 3, 12, 10))):
        cases.append((what, (torch.rand(*shape, generator=g),)))
    ramp = torch.linspace(0, 1, 5).expand(1, 1, 4, 5)
    board = (torch.arange(4)[:, None] + torch.arange(6)) % 2
    return cases + [
        ("a flat image and a rough one", (torch.stack([torch.full((1, 4, 6), 0.3), board[None].float()]),)),
        ("a ramp from left to right", (ramp.clone(),)),
        ("a ramp from bottom to top", (ramp.mT.flip(2).clone(),)),
        ("values below 0", (torch.randn(2, 1, 4, 5, generator=g),)),
    ]


def _steps(images, dim):
    return images.diff(dim=dim)


def _squared(images):
    """Squared differences instead of absolute ones"""
    return sum(_steps(images, d).square().mean((1, 2, 3)) for d in (2, 3))


def _summed(images):
    """The sum over the pixels instead of the mean"""
    return sum(_steps(images, d).abs().sum((1, 2, 3)) for d in (2, 3))


def _wrapped(images):
    """The last pixel is compared with the first one, by torch.roll"""
    return sum((images - images.roll(1, d)).abs().mean((1, 2, 3)) for d in (2, 3))


def _across_only(images):
    """Horizontal neighbours only"""
    return _steps(images, 3).abs().mean((1, 2, 3))


def _down_only(images):
    """Vertical neighbours only"""
    return _steps(images, 2).abs().mean((1, 2, 3))


def _whole_batch(images):
    """One number for all images, their mean"""
    return total_variation(images).mean()


def _each_channel(images):
    """A value for each channel of an image"""
    return sum(_steps(images, d).abs().mean((2, 3)) for d in (2, 3))


def _not_absolute(images):
    """The differences keep their signs, so they cancel"""
    return sum(_steps(images, d).mean((1, 2, 3)) for d in (2, 3))


def _absolute_late(images):
    """The absolute value is taken after the mean"""
    return sum(_steps(images, d).mean((1, 2, 3)).abs() for d in (2, 3))


def _channels_too(images):
    """Differences between channels are added"""
    return sum(_steps(images, d).abs().mean((1, 2, 3)) for d in (1, 2, 3))


def _halved(images):
    """The mean of the two directions instead of their sum"""
    return total_variation(images) / 2


TV = Exercise(
    id="5.2", title="How rough an image is",
    trains="total variation: slices of a batch of images, the absolute value, and over what a mean is taken",
    difficulty=2, minutes=10, points=1, solution=total_variation, cases=_image_cases, gradients=(0,),
    hints=("In a natural image most pixels are like their neighbours, in noise they are not. Measure how much a pixel "
           "differs from its right neighbour, and from the one below.",
           "TV = mean |x[c, i, j+1] − x[c, i, j]| + mean |x[c, i+1, j] − x[c, i, j]|, each mean over all c, i, j of "
           "one image for which both pixels exist.",
           "Take all columns but the first less all columns but the last. Then absolute values, and the mean over "
           "dimensions 1, 2 and 3. Do the same with rows, and add the two."),
    mistakes=(
        (_squared, "you squared the differences: that punishes a sharp edge more than a slow ramp. Take absolute "
                   "values."),
        (_summed, "you added the differences up: take their mean, so that large images are not rougher."),
        (_wrapped, "torch.roll compares the last pixel with the first one, and they are no neighbours. Cut the image "
                   "with slices."),
        (_across_only, "you compared horizontal neighbours only: add the vertical ones."),
        (_down_only, "you compared vertical neighbours only: add the horizontal ones."),
        (_whole_batch, "you averaged over the whole batch: give one value for each image."),
        (_each_channel, "you have one value for each channel: take the mean over dimension 1 as well."),
        (_not_absolute, "your differences keep their signs, so up and down cancel. Take absolute values."),
        (_absolute_late, "you took the absolute value after the mean, when the differences had already cancelled. "
                         "Take it of each one."),
        (_channels_too, "you compared channels as well: red and green of one pixel are no neighbours."),
        (_halved, "you averaged the two directions: add them."),
    ),
    remark="`attack.total_variation` is this function. The attack adds a little of it to the distance, so that of "
           "images that fit alike the smoother one wins.",
)

EXERCISES = (COSINE, TV, LEAK, DELETED, REBUILD)
