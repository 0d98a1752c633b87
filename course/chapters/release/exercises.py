"""Exercises of notebook 11: noise, privacy for many, a mask, a search in function, a release rule.

Solutions use torch only, and what they import themselves, so that they can be copied out.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F

from course.exercises.engine import Exercise
from labkit import data, models

from . import rule as judging
from .worlds import world


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


# ---------------- 11.3
def masked_leak(weight, bias, kept):
    """A layer's input from its update, by the weights that count. (h, d), (h,), (h, d) -> (d,)"""
    units = bias.square() @ kept.to(bias.dtype)
    return bias @ (weight * kept) / units.clamp(min=torch.finfo(bias.dtype).tiny)


def _mask_cases():
    g, cases = torch.Generator().manual_seed(71), []
    for what, h, d, share, least in (
            ("half of the weights pruned", 6, 8, 0.5, 1), ("a tenth pruned", 5, 7, 0.1, 1),
            ("nothing pruned", 4, 6, 0.0, 1), ("nine of ten pruned", 12, 9, 0.9, 0),
            ("all pruned", 3, 4, 1.0, 0), ("one unit", 1, 5, 0.4, 0),
            ("one input", 7, 1, 0.5, 1), ("many units", 40, 20, 0.6, 1)):
        x, bias = torch.randn(d, generator=g), torch.randn(h, generator=g)
        kept = torch.rand(h, d, generator=g) >= share
        kept[0] |= torch.full((d,), bool(least))
        junk = torch.randn(h, d, generator=g)
        weight = torch.where(kept, bias[:, None] * x, junk).double()
        cases.append((what, (weight, bias.double(), kept)))
    weight, bias, kept = (v.clone() for v in cases[0][1])
    asleep = bias.clone()
    asleep[1:3] = 0
    noisy = weight + 0.1 * torch.randn(weight.shape, generator=g, dtype=torch.float64)
    return cases + [("two units asleep", (asleep[:, None] * weight, asleep, kept)),
                    ("an update with noise", (noisy, bias, kept))]


MASKED = Exercise(
    id="11.3", title="A picture from the weights that are left", difficulty=3, minutes=12, points=2,
    trains="the closed form of notebook 05 where part of the update is missing; a weighted mean, "
           "input by input",
    solution=masked_leak, cases=_mask_cases, rtol=1e-8, atol=1e-10,
    hints=("Each weight that was kept says what its input was: its update is the unit's bias "
           "update times the input. Average over the units, with the squared bias updates as "
           "weights, and for each input over those units whose weight was kept.",
           "x_j = Σ_i m_ij b_i W_ij / Σ_i m_ij b_i², with W and b the updates and m the mask. An "
           "input that no kept weight reads becomes 0.",
           "Multiply the weights' update by the mask, and the bias update from the left to that. "
           "Multiply the squared bias update to the mask. Divide, with the denominator kept above "
           "0 by clamp."),
    mistakes=(
        ("(weight * kept)", "weight", "The pruned weights count in the numerator",
         "you let pruned weights count above the line: what they moved by is −θ, and no gradient."),
        ("bias.square() @ kept.to(bias.dtype)", "bias.square().sum()",
         "The denominator runs over all units",
         "your denominator runs over all units. For each input only those count whose weight was "
         "kept."),
        (".clamp(min=torch.finfo(bias.dtype).tiny)", "", "0 / 0 where nothing was kept",
         "an input that no kept weight reads comes out as NaN. It should be 0."),
        ("bias.square() @", "bias.abs() @", "The bias update is not squared below the line",
         "below the line stands the squared bias update: each unit's estimate W / b gets the "
         "weight b²."),
        (("weight * kept", "kept.to"), ("weight * ~kept", "(~kept).to"), "The mask is turned round",
         "you used the weights that were pruned. `kept` says which ones were not."),
        ("bias @ (weight * kept) / units.clamp(min=torch.finfo(bias.dtype).tiny)",
         "(weight * kept / bias[:, None]).sum(0) / kept.sum(0).clamp(min=1)",
         "All units have the same weight",
         "you gave every unit the same weight, and divided by bias updates near 0. Weigh with "
         "their squares."),
    ),
    remark="With everything kept this is the closed form of notebook 05. It is run below, in every "
           "attack by closed form.",
)


# ---------------- 11.4
def climb(images, label, released, others, prior, size):
    """One step uphill on the rise of the loss less the prior. -> images (n, …) in [0, 1]"""
    x = images.detach().clone().requires_grad_()

    def loss(model):
        return F.cross_entropy(model(x), label, reduction="none")

    rise = loss(released) - torch.stack([loss(model) for model in others]).mean(0)
    (slope,) = torch.autograd.grad((rise - prior(x)).sum(), x)
    return (x.detach() + size * slope.sign()).clamp(0, 1)


def _middling(images):
    return 0.3 * (images - 0.5).square().flatten(1).sum(1)


def _no_prior(images):
    return 0 * images.flatten(1).sum(1)


def _strong(images):
    return 40 * (images - 0.25).square().flatten(1).sum(1)


def _climb_cases():
    g, cases = torch.Generator().manual_seed(72), []
    for what, n, k, m, prior, size in (
            ("one image", 1, 3, 1, _middling, 0.05), ("four images", 4, 3, 2, _middling, 0.02),
            ("no prior", 3, 4, 2, _no_prior, 0.1), ("a strong prior", 5, 3, 3, _strong, 0.04),
            ("a large step", 4, 5, 2, _middling, 0.9), ("five others", 2, 3, 5, _middling, 0.03)):
        nets = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, k)).double()
                for _ in range(m + 1)]
        for p in (p for net in nets for p in net.parameters()):
            p.data = torch.randn(p.shape, generator=g, dtype=torch.float64)
        images = torch.rand(n, 1, 3, 3, generator=g, dtype=torch.float64)
        label = torch.randint(k, (n,), generator=g)
        cases.append((what, (images, label, nets[0], nets[1:], prior, size)))
    return cases


CLIMB = Exercise(
    id="11.4", title="Whose loss rose?", difficulty=4, minutes=20, points=3,
    trains="an attack that compares what models do, not where their weights are; a gradient by the "
           "input through several models",
    solution=climb, cases=_climb_cases, rtol=1e-6, atol=1e-8,
    hints=("The release treats the deleted picture worse than the old model did. Move each picture "
           "to where that difference grows, and away from pictures that nobody would take for one.",
           "x ← clip(x + s · sign ∇_x [ℓ(x; released) − mean_m ℓ(x; m) − prior(x)], 0, 1), with m "
           "over the other models.",
           "Make a copy of the images that requires a gradient. Take the loss of each image, "
           "without averaging over images, under the released model, and the mean of those of the "
           "others. Differentiate the sum of difference less prior. Add size times the sign, clip, "
           "and let the result carry no gradient."),
    mistakes=(
        ("+ size * slope", "- size * slope", "Downhill instead of uphill",
         "you went downhill: the picture that is looked for is where the loss *rose*."),
        (" - torch.stack([loss(model) for model in others]).mean(0)", "",
         "The loss of the released model alone",
         "you look for a large loss. What counts is by how much it is larger than under the other "
         "models."),
        (".mean(0)", ".sum(0)", "The sum over the other models instead of their mean",
         "you subtracted the sum over the other models: take their mean."),
        ("torch.stack([loss(model) for model in others]).mean(0)", "loss(others[0])",
         "Only the first of the other models",
         "you compared with the first of the other models only: take the mean over all."),
        ("rise - prior(x)", "rise + prior(x)", "The prior with the wrong sign",
         "your search goes where the prior is large, and that is where pictures are unlikely: "
         "subtract it."),
        ("rise - prior(x)", "rise", "The prior is forgotten", "you did not use the prior."),
        (".clamp(0, 1)", "", "Pixels leave [0, 1]", "your pixels leave [0, 1]: clip them."),
        ("slope.sign()", "slope", "The gradient itself instead of its sign",
         "you stepped along the gradient. Its size says little here: take its sign, so that each "
         "pixel moves by `size`."),
    ),
    remark="It is run below, sixty steps a picture, from the class mean on.",
)


# ---------------- 11.5
def release_rule(publish):
    """Noise hides the update, and fine-tuning repairs what the noise has spoilt."""
    from course.chapters import release as here

    def rule(model, size, x, y, seed):
        noisy = here.add_noise(model, 10 * size, seed)
        return here.finetune_release(noisy, x, y, steps=40, lr=0.01, batch_size=64, seed=seed)

    return publish(rule)


def kept_as_it_is(publish):
    """No defence."""
    return publish(lambda model, size, x, y, seed: model)


def noise_alone(publish):
    """Ten times the update's size."""
    from course.chapters import release as here

    return publish(lambda model, size, x, y, seed: here.add_noise(model, 10 * size, seed))


def pruning_alone(publish):
    """Half of the weights."""
    from course.chapters import release as here

    return publish(lambda model, size, x, y, seed: here.prune(model, 0.5))


def tuning_alone(publish):
    """Forty steps on rows that may be used."""
    from course.chapters import release as here

    return publish(lambda model, size, x, y, seed: here.finetune_release(
        model, x, y, steps=40, lr=0.01, batch_size=64, seed=seed))


BASELINES = (kept_as_it_is, noise_alone, pruning_alone, tuning_alone)


@lru_cache(maxsize=1)
def _provider():
    """A provider with a small perceptron, two deletions, and ten releases of each."""
    d = data.load("fashion", at_most=(1500, 1000), moments="test").resplit(3)
    w = world(d, 3, lambda seed: models.build("mlp", d, seed, hidden=32), deleted=2, epochs=5,
              lr=0.1, steps=40)
    return judging.harder(w, step=0.4)


def _release_case():
    return [("two deletions, ten releases of each", (_provider(),))]


def mark_of(rule) -> float:
    """What the judge gives a rule, on its own network: the number that is held against the floor.
    """
    return _provider().judge(rule(_provider()))


def _hidden(published, publish):
    return publish.judge(published)


@lru_cache(maxsize=1)
def _half_way():
    """Half-way from the best baseline to the rule above."""
    publish = _provider()
    best, ours = (max(publish.judge(answer(publish)) for answer in some)
                  for some in (BASELINES, (release_rule,)))
    return (best + ours) / 2


RULE = Exercise(
    id="11.5", title="A release rule", difficulty=5, minutes=25, points=5,
    trains="a defence against somebody who knows it: several releases, masks, imitation; utility "
           "as a bound, not as an afterthought; a deletion that has to last",
    solution=release_rule, cases=_release_case, measure=_hidden,
    measured="minus what the best attacker gains over the class mean (dB, 0 where it gains "
             f"nothing; {judging.TOO_DEAR:g} where the rule costs more than {judging.PRICE:g} "
             "points of test accuracy)",
    floor=lambda *case: _half_way(),
    hints=("One defence hides and costs accuracy, another gives accuracy back. Which attacker is "
           "left by the first, and does the second leave that one anything?",
           "θ_r = tune(θ_u + c · size · z), z standard normal, fresh for each seed: the mean of "
           "ten such releases still has the path of the tuning in it.",
           "Inside your function define the rule: `here.add_noise` of some times `size`, then "
           "`here.finetune_release` on x and y, both with the seed. Return publish(rule)."),
    mistakes=(
        ("return here.finetune_release(noisy, x, y, steps=40, lr=0.01, batch_size=64, seed=seed)",
         "return model", "The model as it is, without any defence",
         "your rule changes nothing: the difference of the two models is the update itself."),
        ("return here.finetune_release(noisy, x, y, steps=40, lr=0.01, batch_size=64, seed=seed)",
         "return noisy", "Noise alone, which nobody repairs",
         "noise of that size costs more accuracy than is allowed. Repair the model after it."),
        ("here.add_noise(model, 10 * size, seed)", "model", "Tuning alone",
         "your rule tunes and hides nothing first: part of a large update stays in the difference, "
         "and the mean of ten releases shows it."),
        ("return here.finetune_release(noisy, x, y, steps=40, lr=0.01, batch_size=64, seed=seed)",
         "return here.prune(model, 0.5)", "Pruning alone",
         "zeros can be seen: who masks them reads the rest as ever."),
        ("here.add_noise(model, 10 * size, seed)", "here.add_noise(model, 1000 * size, seed)",
         "Noise so large that nothing repairs it",
         "your rule hides the update and the model with it: mind the price."),
        ("lr=0.01", "lr=0.0001", "Tuning too gentle to repair anything",
         "your tuning hardly moves the weights, so what the noise cost is not given back."),
    ),
    remark="Judged on a network and rows of its own with a larger step; below it is run on other "
           "splits, beside the single defences, and asked whether the row is still unlearned.",
)

EXERCISES = (RELEASE, DELETIONS, MASKED, CLIMB, RULE)
