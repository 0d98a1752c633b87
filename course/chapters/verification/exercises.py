"""Exercises of notebook 09: hits by chance, and one logged step replayed. The others are in nb05_log.

Solutions use torch only, and what they import themselves, so that they can be copied out.
"""

import math
from statistics import NormalDist

import torch

from course.chapters.verification.exercises_log import FORGING, TAINTED
from course.exercises.engine import Exercise

# ---------------- 9.1 critical_value


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
        ("a usual test", (30, 0.1, 0.01)),
        ("few queries", (5, 0.2, 0.05)),
        ("many queries", (60, 0.12, 0.001)),
        ("a lenient test", (40, 0.25, 0.3)),
        ("a likely hit", (25, 0.8, 0.05)),
        ("an even chance", (17, 0.5, 0.02)),
        ("a rare hit", (50, 0.004, 0.1)),
        ("one query", (1, 0.3, 0.1)),
        ("all hits may be chance", (3, 0.9, 0.1)),
        ("no hit is possible", (12, 0.0, 0.05)),
        ("exactly 1 − alpha is reached, two queries", (2, 0.5, 0.25)),
        ("exactly 1 − alpha is reached, four queries", (4, 0.5, 0.3125)),
    ]


def _chance(n, q, k):
    return math.comb(n, k) * q**k * (1 - q) ** (n - k)


def _smallest(n, fits):
    return next((k for k in range(n + 1) if fits(k)), n)


def _strict(n, q, alpha):
    """P(X <= k) > 1 - alpha: exact equality is refused"""
    return _smallest(n, lambda k: sum(_chance(n, q, j) for j in range(k + 1)) > 1 - alpha)


def _one_more(n, q, alpha):
    """P(X < k) instead of P(X <= k): 1 too large"""
    return critical_value(n, q, alpha) + 1


def _one_less(n, q, alpha):
    """The last k that does not reach 1 - alpha: 1 too small"""
    return critical_value(n, q, alpha) - 1


def _lower_tail(n, q, alpha):
    """alpha instead of 1 - alpha: the lower tail"""
    return critical_value(n, q, 1 - alpha)


def _two_sided(n, q, alpha):
    """alpha is halved, as for a two-sided test"""
    return critical_value(n, q, alpha / 2)


def _normal(n, q, alpha):
    """The normal approximation, rounded up"""
    return math.ceil(n * q + NormalDist().inv_cdf(1 - alpha) * math.sqrt(n * q * (1 - q)))


def _expected(n, q, alpha):
    """The expected number of hits, rounded"""
    return round(n * q)


def _no_coefficient(n, q, alpha):
    """The binomial coefficient is missing"""
    return _smallest(n, lambda k: sum(q**j * (1 - q) ** (n - j) for j in range(k + 1)) >= 1 - alpha)


def _single(n, q, alpha):
    """P(X = k) <= alpha above the mean, instead of the sum of a tail"""
    return _smallest(n, lambda k: k >= n * q and _chance(n, q, k) <= alpha)


def _share(n, q, alpha):
    """The share of hits k / n instead of k"""
    return critical_value(n, q, alpha) / n


CRITICAL = Exercise(
    id="9.1", title="How many hits are still chance",
    trains="an exact binomial test: a sum of probabilities, its tail, and where the inequality is strict",
    difficulty=2, minutes=10, points=2, solution=critical_value, cases=_query_cases,
    hints=("A model that never saw the trigger still hits it now and then, at the rate q. Find the count that such a "
           "model exceeds with a chance of alpha at most.",
           "P(X ≤ k) = Σ_{j = 0..k} C(n, j) q^j (1 − q)^(n − j). The answer is the smallest k for which this is at "
           "least 1 − α.",
           "Start with a sum of 0 and let k run from 0 to n. Add the chance of exactly k hits, with `math.comb(n, k)`. "
           "Return k as soon as the sum is large enough."),
    mistakes=(
        (_strict, "you ask for more than 1 − alpha. Exactly 1 − alpha is enough."),
        (_one_more, "your k is 1 too large. P(X ≤ k) includes k itself, and P(X < k) does not."),
        (_one_less, "your k is 1 too small: it is the last that falls short. Return the first that does not."),
        (_lower_tail, "you compared the sum with alpha, so you found the lower tail. Too many hits are suspicious: "
                      "compare with 1 − alpha."),
        (_two_sided, "you halved alpha. Only too many hits count against the provider, so the test has one side."),
        (_normal, "you used the normal approximation. It is off for small n and rare hits: add up the exact "
                  "probabilities."),
        (_expected, "this is the expected number of hits. Chance alone often gives more: alpha must come in."),
        (_no_coefficient, "the number of ways to place k hits among n queries is missing. Multiply by "
                          "`math.comb(n, k)`."),
        (_single, "you compared the chance of exactly k hits. Add up the chances of 0 to k hits first."),
        (_share, "this is a share of the queries. Return the count k."),
    ),
    remark="`verify.critical_value` does the same for any n. A count above k accuses an honest provider with a chance "
           "of alpha at most.",
)

# ---------------- 9.2 replay_error


def replay_error(before, gradient, after, lr):
    """l2 distance between one SGD step from `before` and the logged `after`, in float64. (d,) each -> float"""
    replayed = before.double() - lr * gradient.double()
    return (replayed - after.double()).norm().item()


def _step_cases():
    g, cases = torch.Generator().manual_seed(52), []

    def draw(d, scale=1.0):
        return scale * torch.randn(d, generator=g)

    for what, d, lr in (("a forged step", 5, 0.1), ("a large step", 4, 2.0), ("many weights", 300, 0.05),
                        ("one weight", 1, 0.3), ("a learning rate of 0", 6, 0.0)):
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
        ("weights that stayed", (a, b, a.clone(), 0.5)),
    ]


def _off(before, gradient, after, lr):
    return before.double() - lr * gradient.double() - after.double()


def _uphill(before, gradient, after, lr):
    """The step goes up the gradient"""
    return _off(before, -gradient, after, lr).norm().item()


def _squared(before, gradient, after, lr):
    """The squared norm"""
    return _off(before, gradient, after, lr).square().sum().item()


def _root_mean(before, gradient, after, lr):
    """The root of the mean square instead of the norm"""
    return _off(before, gradient, after, lr).square().mean().sqrt().item()


def _mean(before, gradient, after, lr):
    """The mean absolute difference instead of the norm"""
    return _off(before, gradient, after, lr).abs().mean().item()


def _largest(before, gradient, after, lr):
    """The largest absolute difference"""
    return _off(before, gradient, after, lr).abs().max().item()


def _no_step(before, gradient, after, lr):
    """The distance between before and after, without a step"""
    return _off(before, gradient, after, 0).norm().item()


def _no_lr(before, gradient, after, lr):
    """The learning rate is forgotten"""
    return _off(before, gradient, after, 1).norm().item()


def _float32(before, gradient, after, lr):
    """Computed in float32"""
    return (before - lr * gradient - after).norm().item()


def _half_float32(before, gradient, after, lr):
    """Learning rate times gradient in float32, the rest in float64"""
    return (before.double() - lr * gradient - after.double()).norm().item()


def _relative(before, gradient, after, lr):
    """Divided by the norm of the logged weights"""
    return (_off(before, gradient, after, lr).norm() / after.double().norm()).item()


REPLAY = Exercise(
    id="9.2", title="Does the step lead where the log says",
    trains="one SGD step by hand, an l2 distance, and rounding: float32 hides the errors that are looked for",
    difficulty=1, minutes=6, points=1, solution=replay_error, cases=_step_cases, atol=1e-11,
    hints=("Take the step yourself from the weights before it. Then measure how far you are from the weights in the "
           "log. An honest log leaves rounding only, so compute with more digits than the log has.",
           "ε = ‖(w − η g) − w′‖₂ with w before, w′ after, and the learning rate η.",
           "Turn all three tensors into float64 with `.double()`. Subtract the learning rate times the gradient, then "
           "subtract what was logged. End with `.norm()` and `.item()`."),
    mistakes=(
        (_uphill, "your step goes up the gradient. SGD subtracts it."),
        (_squared, "this is the squared distance. Take the root."),
        (_root_mean, "you took the mean of the squares. The l2 norm uses their sum."),
        (_mean, "this is the mean absolute difference. The l2 norm is the root of the sum of squares."),
        (_largest, "this is the largest difference of a single weight. The l2 norm counts all of them."),
        (_no_step, "you compared the weights before and after. Take the step from `before` first."),
        (_no_lr, "the learning rate is missing. Multiply the gradient by it."),
        (_float32, "you computed in float32, whose rounding hides what you measure. Convert to float64 first."),
        (_half_float32, "your product of learning rate and gradient is rounded to float32. Convert the gradient too."),
        (_relative, "you divided by the norm of the weights. The exercise asks for the distance itself."),
    ),
    remark="`verify.replay_errors` does this for every step of a log. It replays in the model's own precision, and in "
           "float64 with `change=\"float64\"`. A tolerance has to lie above what an honest log leaves.",
)

EXERCISES = (CRITICAL, REPLAY, TAINTED, FORGING)
