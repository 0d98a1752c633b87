"""Exercises of notebook 11: noise on a release, and privacy for many deletions.

Solutions use torch only, and what they import themselves, so that they can be copied out.
"""

import torch

from course.exercises.engine import Exercise


# ---------------- 11.1
def release(weights, update, times, noise):
    """The weights plus noise of rms times * rms of the update. (d,), (d,), float, (d,) -> (d,)"""
    wanted = times * update.square().mean().sqrt()
    return weights + wanted * noise / noise.square().mean().sqrt()


def _noise_cases():
    g, cases = torch.Generator().manual_seed(63), []
    for what, d, times, size, mean in (
            ("noise as large as the update", 6, 1.0, 3, 0), ("twice the update", 8, 2.0, 0.5, 0),
            ("a tenth of the update", 5, 0.1, 2, 0), ("no noise at all", 4, 0.0, 1.5, 0),
            ("one weight", 1, 1.5, 4, 0), ("many weights", 400, 3.0, 1.7, 0),
            ("large noise", 7, 1.0, 100, 0), ("small noise", 9, 1.0, 0.01, 0),
            ("noise off centre", 6, 0.7, 1, 3)):
        weights, update = torch.randn(2, d, generator=g)
        noise = mean + size * torch.randn(d, generator=g)
        cases.append((what, (weights, 0.5 * update, times, noise)))
    w, u, z = torch.tensor([[1., -2, 0.5, 0], [0.5, 0.5, -0.5, 0.5], [6., 0, 0, 0]])
    return cases + [
        ("an update that is the same everywhere", (w, u.abs(), 2.0, z + 2)),
        ("noise on one weight", (w, u, 1.0, z)), ("weights of 0", (0 * w, u, 0.5, z - 1)),
        ("an update of 0", (w, 0 * u, 2.0, z + 1))]


RELEASE = Exercise(
    id="11.1", title="Noise as large as the update", difficulty=1, minutes=6, points=1,
    trains="rms against norm; a scale that is measured on the noise drawn, not assumed",
    solution=release, cases=_noise_cases, rtol=1e-5,
    hints=("Whoever compares two releases sees the update. Hide it under noise whose size is known "
           "exactly: measure the noise that was drawn, and stretch it.",
           "w + c z, with c = times · rms(u) / rms(z) and rms(x) = √(Σ_i x_i² / d).",
           "Square the update, take the mean and the root. Do the same with the noise. Their ratio "
           "and the factor stretch the noise. Add that to the weights, in a new tensor."),
    mistakes=(
        (" / noise.square().mean().sqrt()", "", "The noise's own rms is taken for 1",
         "you took the rms of the noise for 1. Measure it, and divide by it."),
        ("update.square().mean().sqrt()", "update.norm()",
         "The norm of the update with the rms of the noise", "you took the norm of the update and "
         "the rms of the noise. The norm is √d times as large: take the rms of both."),
        ("noise.square().mean().sqrt()", "noise.norm()",
         "The rms of the update with the norm of the noise", "you took the norm of the noise and "
         "the rms of the update. Your noise is √d times too small: take the rms of both."),
        (".sqrt()", "", "The root is missing: mean squares",
         "you compared mean squares. Take the root of each."),
        ("square().mean().sqrt()", "abs().mean()", "The mean absolute value instead of the rms",
         "you took mean absolute values. The rms squares first, then takes the root of the mean."),
        ("square().mean().sqrt()", "std(correction=0)",
         "The standard deviation, which leaves the mean out",
         "you took standard deviations, which subtract the mean first. The rms does not."),
        ("update.square()", "weights.square()",
         "The rms of the weights instead of that of the update",
         "you scaled the noise to the weights. It has to hide the update: take the update's rms."),
        ("return weights", "return update + weights", "The update is added as well",
         "you added the update as well. The weights given are the ones to be released."),
        ("weights + ", "", "The noise alone, without the weights",
         "you returned the noise. Add it to the weights."),
        ("times * update", "update", "The factor is forgotten", "you did not use `times`."),
        (("return weights + ", "noise.square().mean().sqrt()"),
         ("return weights.add_(", "noise.square().mean().sqrt())"), "The given weights are changed",
         "`+=` changes the tensor you were given. Make a new one."),
    ),
    remark="The rms of what is added is now exact for each release, not only on average. An "
           "attacker who sees several releases of the same weights can average the noise away.",
)


# ---------------- 11.2
def after_deletions(epsilon, delta, k):
    """What (epsilon, delta)-DP for one row promises for k. float, float, int -> (float, float)"""
    import math

    total = delta * sum(math.exp(i * epsilon) for i in range(k))
    return k * epsilon, min(1.0, total)


def _privacy_cases():
    return [
        ("three rows", (0.5, 1e-6, 3)), ("two rows", (1.0, 1e-5, 2)), ("one row", (1.0, 1e-5, 1)),
        ("many rows, a small ε", (0.01, 1e-7, 100)), ("ten rows", (0.1, 1e-3, 10)),
        ("a large ε", (3.0, 1e-9, 6)), ("a δ that grows past 1", (2.0, 0.01, 4)),
        ("an ε of 0", (0.0, 1e-5, 4)), ("an ε of 0 and a δ that grows past 1", (0.0, 0.4, 5)),
        ("a δ of 0", (0.3, 0.0, 7)), ("both 0", (0.0, 0.0, 3)), ("a δ of 1", (1.5, 1.0, 2)),
        ("no row", (0.7, 1e-4, 0))]


DELETIONS = Exercise(
    id="11.2", title="What privacy for one row promises for k", difficulty=2, minutes=10, points=2,
    trains="group privacy: ε grows with the number of rows, δ much faster; an exact sum against "
           "its bounds",
    solution=after_deletions, cases=_privacy_cases, rtol=1e-6, atol=1e-15,
    hints=("Go from one data set to the other a row at a time. Each row multiplies a probability "
           "by e^ε at most and adds δ, and the δ of earlier rows is multiplied again.",
           "(k ε, δ Σ_{i = 0..k−1} e^{iε}). The sum is (e^{kε} − 1) / (e^ε − 1), and k where ε = "
           "0. A δ above 1 says no more than 1.",
           "Add up `math.exp` of i times epsilon for i from 0 to k − 1, which needs no case for 0. "
           "Multiply by delta, and take the smaller of that and 1. Return the pair with k times "
           "epsilon first."),
    mistakes=(
        ("sum(math.exp(i * epsilon) for i in range(k))", "k * math.exp((k - 1) * epsilon)",
         "k times the largest term, k e^((k - 1) epsilon) delta: an upper bound",
         "k e^{(k−1)ε} δ is an upper bound of the sum: it takes each term for the largest. Give "
         "the sum itself."),
        ("sum(math.exp(i * epsilon) for i in range(k))", "k * math.exp(k * epsilon)",
         "k e^(k epsilon) delta: a looser upper bound", "k e^{kε} δ is an upper bound, and a loose "
         "one. Give the sum itself: its terms run from 1 to e^{(k−1)ε}."),
        ("k * epsilon, min", "math.sqrt(k) * epsilon, min",
         "sqrt(k) epsilon, as if k releases were composed", "the root of k belongs to advanced "
         "composition, for k releases about the same row. For k rows ε grows by the factor k."),
        ("sum(math.exp(i * epsilon) for i in range(k))", "k", "k delta, as for k releases",
         "k δ is the rule for k releases about the same row. For k rows the earlier δ is "
         "multiplied by e^ε at each further row."),
        ("range(k)", "range(k + 1)", "The sum has one term too many",
         "your sum has one term too many. It ends at i = k − 1."),
        ("range(k)", "range(1, k + 1)", "The sum starts at i = 1",
         "your sum starts at i = 1, so each term is e^ε times too large. The first term is 1."),
        ("sum(math.exp(i * epsilon) for i in range(k))", "math.exp((k - 1) * epsilon)",
         "The last term alone", "you took the last term only. Add all k terms up."),
        ("min(1.0, total)", "total", "delta is not cut at 1",
         "your δ exceeds 1. It bounds a probability: cut it at 1."),
        ("sum(math.exp(i * epsilon) for i in range(k))",
         "math.expm1(k * epsilon) / math.expm1(epsilon)",
         "The closed form, which divides by 0 at epsilon = 0",
         "the closed form divides by 0 where ε is 0. The sum is k there."),
        ("min(1.0, total)", "delta", "delta stays as it is",
         "your δ does not grow. Every further row adds to it."),
        ("return k * epsilon", "return epsilon", "epsilon stays as it is",
         "your ε does not grow. It is k times as large for k rows."),
        ("k * epsilon, min(1.0, total)", "min(1.0, total), k * epsilon",
         "The two values are swapped", "both values are right, in the wrong order. ε comes first."),
    ),
    remark="This holds for every mechanism, and a particular one may promise more. With ε = 1 for "
           "one row, ten rows are left with ε = 10, which is next to nothing.",
)

EXERCISES = (RELEASE, DELETIONS)
