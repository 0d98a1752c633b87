"""Exercises of notebook 12: a global mask, an l1 schedule, a masked step, MIA-efficacy, disparity.

Solutions use torch and NumPy only, and what they import themselves, so that they can be copied out.
"""

import importlib

import numpy as np
import torch

from course.exercises.engine import Exercise


# ---------------- 12.1
def magnitude_mask(weights, sparsity):
    """True where a weight stays; the round(sparsity * n) smallest |w| go, ties in order. -> dict"""
    size = torch.cat([w.abs().flatten() for w in weights.values()])
    keep = torch.ones(len(size), dtype=torch.bool)
    keep[size.argsort(stable=True)[: round(sparsity * len(size))]] = False
    parts = keep.split([w.numel() for w in weights.values()])
    return {name: m.view(w.shape) for (name, w), m in zip(weights.items(), parts, strict=True)}


def _weight_cases():
    # sparsity * n never ends in .5: no way of rounding decides a case
    g, cases = torch.Generator().manual_seed(71), []

    def draw(shape, scale=1.0):
        return scale * torch.randn(shape, generator=g)

    for what, sparsity in (("a sparse network", 0.95), ("a little is pruned", 0.1),
                           ("a half is pruned", 0.52)):
        conv, hidden, out = draw((4, 2, 3, 3)), draw((6, 5), 0.2), draw((3, 6), 3)
        weights = {"conv.weight": conv, "hidden.weight": hidden, "out.weight": out}
        cases.append((what, (weights, sparsity)))
    return cases + [
        ("one layer", ({"out.weight": draw((5, 4))}, 0.3)),
        ("a layer of small weights, pruned whole",
         ({"a": draw((3, 3), 0.001), "b": 5 + draw((4, 2)).abs()}, 0.6)),
        ("negative weights only", ({"a": -draw((2, 4)).abs(), "b": -draw((3, 3)).abs()}, 0.4)),
        ("nothing is pruned", ({"a": draw((2, 2)), "b": draw((3, 1))}, 0.0)),
        ("a whole number of weights", ({"a": draw((2, 6)), "b": draw((4, 2))}, 0.75)),
        ("many ties", ({"a": torch.tensor([[1., -1, 2], [1, -2, 0]]),
                        "b": torch.tensor([[-1., 1, 1, 3]])}, 0.4)),
        ("many weights, many ties",
         ({"a": draw((20, 12)).round(), "b": draw((9, 10)).round()}, 0.44)),
        ("all weights equal", ({"a": torch.full((2, 3), -0.5), "b": torch.full((1, 4), 0.5)}, 0.3)),
        ("zeros from an earlier pruning",
         ({"a": torch.tensor([[0., 5], [0, 4]]), "b": torch.zeros(3, 2)}, 0.32)),
        ("float64", ({"a": draw((3, 4)).double(), "b": draw((2, 2)).double()}, 0.7)),
        ("names that are not in the order of the alphabet",
         ({"out": draw((3, 4)).round(), "conv": draw((2, 5)).round(), "body": draw((4, 4)).round()},
          0.44))]


def _layerwise(weights, sparsity):
    """The same share of every layer instead of the smallest of all"""
    return {name: magnitude_mask({name: w}, sparsity)[name] for name, w in weights.items()}


MASK = Exercise(
    id="12.1", title="Which weights may stay", difficulty=2, minutes=12, points=2,
    trains="global, unstructured magnitude pruning: one order over all layers, and an exact count",
    solution=magnitude_mask, cases=_weight_cases,
    hints=("Small weights go first, whichever layer they are in. So put all weights in one line "
           "before you sort them, and remember where each came from.",
           "Of n = Σ_l n_l weights the round(s n) with the smallest |w| are pruned; of equal ones, "
           "those that come first.",
           "Join the flattened absolute values with `torch.cat`, and sort with "
           "`argsort(stable=True)`. Start from a mask of all True and set the first places of that "
           "order to False. `split` cuts it into layers, and `view` gives each its shape back."),
    mistakes=(
        (_layerwise, "you prune the same share of every layer. A global mask sorts the weights of "
         "all layers together, so one layer may lose more than another."),
        (".abs()", "", "Without abs: large negative weights are pruned", "you sorted the weights "
         "with their signs, so large negative ones are pruned. Sort the absolute values."),
        ("m.view", "~m.view", "True where a weight is pruned",
         "your mask is True where a weight is pruned. It should be True where a weight stays."),
        ("round(sparsity", "round((1 - sparsity)",
         "The sparsity is taken for the share that is kept",
         "you kept a share as large as the sparsity. The sparsity is the share that is pruned."),
        ("stable=True", "stable=True, descending=True", "The largest weights are pruned",
         "you pruned the largest weights. The smallest ones go."),
        ("= False", "= False\n    keep &= ~torch.isin(size, size[~keep])",
         "A threshold prunes every weight up to it, ties too",
         "your threshold prunes all weights equal to it, so more are pruned than asked for. Count "
         "places in the sorted order instead."),
        ("= False", "= False\n    keep |= torch.isin(size, size[keep])",
         "A threshold keeps every weight at it, ties too", "your threshold keeps all weights equal "
         "to it, so fewer are pruned than asked for. Count places in the sorted order instead."),
        ("= False", "= False\n    keep = size > torch.quantile(size, sparsity)",
         "torch.quantile as the threshold: its count is not round(sparsity * n), and ties fall "
         "together", "a quantile lies between two weights, and equal ones fall together. Count "
         "round(s n) places in the sorted order instead."),
        ("round(", "int(", "The number to prune is rounded down",
         "you rounded the number to prune down. Use `round`."),
        (("size =", "round("), ("import math\n    size =", "math.ceil("),
         "The number to prune is rounded up", "you rounded the number to prune up. Use `round`."),
        ("stable=True)", "stable=True, descending=True).flip(0)",
         "Of equal weights the last are pruned",
         "of equal weights you pruned the last ones. The first ones go."),
        ("size =", "weights = dict(sorted(weights.items()))\n    size =",
         "The layers are sorted by their names",
         "you sorted the layers by name. Of equal weights the first in the order of the dict go."),
        ("m.view(w.shape)", "m.view(w.shape).float()", "Zeros and ones instead of bools",
         "your masks hold numbers. Make them bool."),
        ("m.view(w.shape)", "m", "The masks stay flat",
         "your masks are flat. Give each the shape of its weights."),
        ("return {",
         "[w.mul_(m.view(w.shape)) for w, m in zip(weights.values(), parts)]\n    return {",
         "The weights given are pruned on the way",
         "you set weights to 0 on the way. Return the mask, and leave the weights as they are."),
        ("m.view(w.shape)", "w * m.view(w.shape)", "The pruned weights instead of the mask",
         "these are the pruned weights. Return the mask: True where a weight stays."),
    ),
    remark="`here.magnitude_mask` does this to a model. Biases and normalisation are left alone "
           "there, and an earlier mask can be given, which the new one must lie inside.",
)


# ---------------- 12.2
def l1_strength(epoch, epochs, gamma, no_l1_epochs=0):
    """The decaying strength of the l1 norm in epoch 0, 1, …; 0 in the last no_l1_epochs -> float"""
    share = epoch / (epochs - no_l1_epochs)
    return gamma * max(0.0, 1 - share)


def _epoch_cases():
    return [
        ("the first epoch", (0, 10, 5e-4, 0)), ("the second epoch", (1, 10, 5e-4, 0)),
        ("the last epoch", (9, 10, 2e-3, 0)), ("the middle", (5, 10, 1.0, 0)),
        ("one epoch in all", (0, 1, 0.3, 0)),
        ("the first epoch, some without l1", (0, 10, 1e-3, 4)),
        ("an early epoch, some without l1", (2, 10, 1e-3, 4)),
        ("the last epoch with l1", (5, 10, 1e-3, 4)),
        ("the first epoch without l1", (6, 10, 1e-3, 4)),
        ("the second epoch without l1", (7, 10, 1e-3, 4)),
        ("the last epoch, without l1", (9, 10, 1e-3, 4)), ("one epoch without l1", (3, 7, 0.5, 1)),
        ("only one epoch with l1", (0, 8, 0.02, 7)),
        ("only the first epoch had l1", (1, 8, 0.02, 7)), ("a strength of 0", (1, 4, 0.0, 0)),
        ("a large strength", (3, 12, 40.0, 2))]


SCHEDULE = Exercise(
    id="12.2", title="A strength that decays", difficulty=1, minutes=6, points=1,
    trains="the l1 schedule: where it starts, where it ends, and what the last epochs are for",
    solution=l1_strength, cases=_epoch_cases, atol=1e-10,
    hints=("Press weights towards 0 at first, and let the network recover at the end. The line "
           "falls from gamma in epoch 0 and would reach 0 in the first epoch without l1; there it "
           "stays.",
           "γ_e = γ max(0, 1 − e / (E − E₀)), with e = 0, 1, …, the number of epochs E, and the "
           "last E₀ of them without l1.",
           "Divide the epoch by the number of epochs that have l1. Take this from 1, replace what "
           "is negative by 0, and multiply by gamma."),
    mistakes=(
        ("max(0.0, 1 - share)", "share if share < 1 else 0.0", "The strength grows from 0",
         "your strength grows. It should be gamma in epoch 0 and decay."),
        ("max(0.0, 1 - share)", "(share < 1)", "The strength stays the same while there is l1",
         "your strength does not decay. Let it fall along a line."),
        (" - no_l1_epochs", "", "no_l1_epochs is not used",
         "`no_l1_epochs` is not used. Your line should reach 0 that many epochs before the end."),
        ("1 - share", "1 - epoch / epochs if share < 1 else 0.0",
         "Decays over all epochs and is cut to 0 at the end", "your line decays over all epochs "
         "and is then cut off. It should reach 0 where the epochs without l1 begin."),
        ("epoch /", "(epoch + 1) /", "Counts epochs from 1",
         "your epochs count from 1. The first is epoch 0 and has the full gamma."),
        ("(epochs - no_l1_epochs)", "max(1, epochs - no_l1_epochs - 1)",
         "The last epoch with l1 has strength 0 already",
         "the last epoch with l1 should still have a little. The line reaches 0 one epoch later."),
        ("max(0.0, 1 - share)", "(1 - share)", "Goes below 0 in the last epochs",
         "your strength is negative in the last epochs, which rewards large weights. Stop at 0."),
        ("max(0.0, 1 - share)", "abs(1 - share)",
         "The absolute value: it grows again in the last epochs",
         "your strength grows again in the last epochs. It should stay 0 there."),
        (("epoch /", "1 - share"), ("(epoch - no_l1_epochs) /", "1 - share if share >= 0 else 0.0"),
         "The first epochs are without l1 instead of the last",
         "your first epochs are without l1. The last ones should be."),
        ("gamma * ", "", "The factor without gamma",
         "this is the factor alone. Multiply by gamma."),
        ("epochs - ", "epochs + ", "E + no_l1_epochs in the denominator",
         "you added the epochs without l1 to the number of epochs. Take them off."),
    ),
    remark="`unlearn.l1_strength` knows the growing and the constant schedule too. The paper keeps "
           "the decaying one.",
)


# ---------------- 12.3
def masked_step(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """One SGD step; where keep is False both end at 0. -> (new weight, new velocity)"""
    new_velocity = keep * (momentum * velocity + grad + weight_decay * weight)
    return keep * (weight - lr * new_velocity), new_velocity


def _step_cases():
    g, cases = torch.Generator().manual_seed(73), []

    def draw(shape):
        return torch.randn(shape, generator=g)

    def three(shape):
        return draw(shape), draw(shape), draw(shape)

    for what, shape, lr, momentum, decay in (
            ("just pruned: nothing is 0 yet", (3, 4), 0.1, 0.9, 0.05),
            ("a convolution, just pruned", (2, 3, 2, 2), 0.5, 0.8, 0.3),
            ("no momentum", (2, 5), 0.3, 0.0, 0.2), ("no weight decay", (4, 2), 0.3, 0.9, 0.0),
            ("a learning rate of 0", (3, 3), 0.0, 0.5, 0.1)):
        keep = torch.rand(shape, generator=g) < 0.5
        cases.append((what, (*three(shape), keep, lr, momentum, decay)))
    keep = torch.rand((4, 5), generator=g) < 0.3
    pruned = keep * draw((4, 5))
    only = torch.tensor([[True, False, True], [False, True, False]])
    return cases + [
        ("weights pruned, velocity from before",
         (pruned, draw((4, 5)), draw((4, 5)), keep, 0.2, 0.9, 0.1)),
        ("weights pruned, no velocity yet",
         (pruned, draw((4, 5)), torch.zeros(4, 5), keep, 0.2, 0.9, 0.1)),
        ("no gradient", (draw((2, 3)), torch.zeros(2, 3), draw((2, 3)), only, 0.4, 0.7, 0.5)),
        ("nothing is pruned", (*three((3, 2)), torch.ones(3, 2).bool(), 0.1, 0.9, 0.2)),
        ("everything is pruned", (*three((2, 2)), torch.zeros(2, 2).bool(), 0.1, 0.9, 0.2)),
        ("float64", (*(t.double() for t in three((2, 3))), only, 0.3, 0.6, 0.4))]


STEP = Exercise(
    id="12.3", title="A step that keeps the mask", difficulty=3, minutes=12, points=2,
    trains="where a mask is lost: momentum and weight decay move weights whose gradient is 0",
    solution=masked_step, cases=_step_cases,
    hints=("Three things move a weight: its gradient, its decay, and the velocity it had before. A "
           "mask on one of them leaves two. So let all three come together, and mask what comes "
           "out: the velocity, and the weight.",
           "v′ = m ⊙ (μ v + g + λ w) and w′ = m ⊙ (w − η v′), with the mask m (1 where keep is "
           "True), momentum μ, gradient g, weight decay λ and learning rate η.",
           "Add momentum times the velocity, the gradient, and the decay times the weight. "
           "Multiply the sum by `keep`: this is the new velocity. Take the learning rate times it "
           "off the weight, and multiply by `keep` again. Make new tensors, and return the weight "
           "first."),
    mistakes=(
        ("keep * ", "", "The mask is not used",
         "this is a plain SGD step. Mask the new velocity and the new weight."),
        (("keep * ", "grad +"), ("", "keep * grad +"), "Only the gradient is masked",
         "you masked the gradient alone. Old velocity and weight decay still move pruned weights: "
         "mask the new velocity and the new weight."),
        (("keep * ", "new_velocity ="), ("", "weight = keep * weight\n    new_velocity ="),
         "The weight is masked before the step and not after it",
         "you masked the weight before the step, and the step brings it back. Mask after it."),
        (("keep * ", "new_velocity ="),
         ("", "weight, grad = keep * weight, keep * grad\n    new_velocity ="),
         "Weight and gradient are masked before the step; the velocity brings pruned weights back",
         "you masked weight and gradient before the step, and the old velocity brings pruned "
         "weights back. Mask the new velocity and the new weight."),
        (("keep * ", "new_velocity ="),
         ("", "grad, velocity = keep * grad, keep * velocity\n    new_velocity ="),
         "Gradient and velocity are masked before weight decay is added",
         "you masked before weight decay was added, so pruned weights decay slowly instead of "
         "being 0. Mask the new velocity and the new weight."),
        ("return keep * ", "return ", "The velocity is masked, the weight keeps its old value",
         "you masked the velocity, so pruned weights stay where they are. They should be 0: mask "
         "the new weight too."),
        ("= keep * ", "= ", "The weight is masked, the velocity goes on at pruned weights",
         "you masked the weight, but its velocity goes on at pruned places. Mask the new velocity "
         "too."),
        ("keep * ", "~keep * ", "The mask is read the other way round",
         "you took the mask the other way round. True means that a weight stays."),
        ("return keep * (weight - lr * new_velocity), new_velocity",
         "velocity.copy_(new_velocity)\n"
         "    return weight.copy_(keep * (weight - lr * velocity)), velocity",
         "Weight and velocity are changed in place", "you changed weight and velocity in place. "
         "Make new tensors: `a * b` instead of `a *= b` or `a.mul_(b)`."),
        ("momentum * velocity + ", "", "The old velocity is forgotten",
         "the old velocity is missing. Add momentum times it."),
        ("lr * new_velocity", "lr * velocity",
         "The step is taken with the velocity before this gradient",
         "your step uses the velocity before this gradient. Compute the new velocity first."),
        ("), new_velocity", "), velocity", "The old velocity is returned",
         "you returned the velocity that was given. Return the new one."),
        (" + weight_decay * weight", "", "Weight decay is forgotten",
         "weight decay is missing. Add it times the weight to the gradient."),
        ((" + weight_decay * weight", "- lr * new_velocity"),
         ("", "- lr * new_velocity - lr * weight_decay * weight"),
         "Weight decay shrinks the weight directly and stays out of the velocity",
         "your weight decay stays out of the velocity, as in AdamW. In SGD it is added to the "
         "gradient."),
        ("grad + weight_decay * weight", "(1 - momentum) * (grad + weight_decay * weight)",
         "The gradient is multiplied by 1 - momentum",
         "you multiplied the gradient by 1 − momentum. PyTorch's SGD adds the whole gradient."),
        (("grad + weight_decay * weight", "lr * new_velocity"),
         ("lr * (grad + weight_decay * weight)", "new_velocity"),
         "The learning rate is in the velocity instead of the step",
         "the learning rate is in your velocity. It belongs to the step alone."),
        ("weight - lr", "weight + lr", "The step goes up",
         "your step goes up the gradient. SGD subtracts it."),
        ("keep * (weight - lr * new_velocity), new_velocity",
         "new_velocity, keep * (weight - lr * new_velocity)", "Velocity first, then weight",
         "you returned the velocity first. The weight comes first."),
    ),
    remark="`here.fit_masked` gets the same by computing with weight · mask, so that no "
           "optimizer can revive a pruned weight, and checks it at the end. On the weights that "
           "stay, this step is `torch.optim.SGD`'s.",
)


# ---------------- 12.4
def mia_efficacy(confidence_retain, confidence_test, confidence_forget):
    """Percent of the forget set called non-member by an SVC fitted to retain and test rows."""
    from sklearn.svm import SVC

    n = min(len(confidence_retain), len(confidence_test))
    x = np.concatenate([confidence_retain[:n], confidence_test[:n]])[:, None]
    attack = SVC(C=3, gamma="auto", kernel="rbf").fit(x, np.repeat([1, 0], n))
    return float(100 * (attack.predict(confidence_forget[:, None]) == 0).mean())


def _confidence_cases():
    importlib.import_module("sklearn.svm")  # seconds that should not count against the learner's
    rng, cases = np.random.default_rng(74), []
    for what, members, others, rows in (
            ("a model that overfits", 40, 15, 60), ("few test rows", 60, 5, 50),
            ("one row more in the retain set", 9, 8, 90), ("equally many", 12, 12, 80),
            ("fewer retained than test rows", 7, 30, 80), ("many rows", 300, 100, 200)):
        retain = rng.beta(9, 1, members)
        retain[others:] = rng.beta(1, 3, len(retain[others:]))  # rows that do not count differ
        test = rng.beta(3, 1.5, others)
        test[members:] = rng.beta(9, 1, len(test[members:]))
        cases.append((what, retain, test, rng.beta(3, 1, rows)))
    cases += [
        ("a class forgotten whole", rng.beta(9, 1, 30), rng.beta(4, 2, 20), rng.beta(1, 30, 25)),
        ("a forget set still known by heart",
         rng.beta(9, 1, 30), rng.beta(2, 2, 20), 1 - 0.02 * rng.random(25)),
        ("members less sure than strangers",
         rng.beta(2, 4, 25), rng.beta(6, 1, 20), rng.random(60)),
        ("confidences close together",
         rng.uniform(0.6, 0.7, 20), rng.uniform(0.1, 0.35, 15), rng.random(70)),
        ("members in the middle", rng.uniform(0.4, 0.6, 20),
         np.r_[0.02, 0.05, 0.08, 0.9, 0.94, 0.97, 0.99], rng.random(80)),
        ("one row is forgotten", rng.beta(9, 1, 12), rng.beta(2, 2, 10), np.array([0.15])),
    ]
    return [(what, (a, b, rows[_clear(a, b, rows)])) for what, a, b, rows in cases]


def _clear(retain, test, forget):
    """Rows off the boundary; near it the training rows' order decides as the solver stops early."""
    from sklearn.svm import SVC

    n = min(len(retain), len(test))
    x = np.concatenate([retain[:n], test[:n]])[:, None]
    attack = SVC(C=3, gamma="auto", kernel="rbf").fit(x, np.repeat([1, 0], n))
    return np.abs(attack.decision_function(forget[:, None])) > 0.02


EFFICACY = Exercise(
    id="12.4", title="Called a non-member", difficulty=3, minutes=12, points=2,
    trains="MIA-efficacy as published: who is a member, who never takes part in the fit, and what "
           "is counted",
    solution=mia_efficacy, cases=_confidence_cases,
    hints=("The attack learns from rows whose status is known: retained rows are members, test "
           "rows are not. Only then does it see the forget set, and you count how much of it "
           "passes for unseen.",
           "MIA = 100 · #{i in D_f : attack(p_i) = non-member} / |D_f|, with p_i the probability "
           "of the true label, and the attack fitted to the first n of D_r against the first n of "
           "D_t, n = min(|D_r|, |D_t|).",
           "Cut both to the first n, join them with `np.concatenate`, and make a column of them "
           'with `[:, None]`. The targets are n ones, then n zeros. Fit `SVC(C=3, gamma="auto", '
           'kernel="rbf")`, predict the column of the forget set, and take the mean of what is 0, '
           "in percent."),
    mistakes=(
        ("== 0", "== 1", "The share called member",
         "you counted the rows called member. Efficacy counts those called non-member."),
        ("100 * ", "", "A share from 0 to 1", "this is a share from 0 to 1. Give percent."),
        (("100 * ", "mean()"), ("", "sum()"), "The number of rows instead of percent",
         "this is a number of rows. Divide by the size of the forget set, and give percent."),
        (("[:n]", ", n)"), ("", ", [len(confidence_retain), len(confidence_test)])"),
         "All rows of the retain set: unbalanced",
         "you used all rows, so the larger side weighs more. Take the first n of both."),
        (("confidence_test[:n]", ", n)"), ("confidence_test", ", [n, len(confidence_test)])"),
         "The retain set is cut, the test set is not", "you cut the retain set only. Where it is "
         "the smaller one, cut the test set to its length."),
        ("confidence_retain[:n]", "confidence_retain[-n:]",
         "The last retained rows instead of the first",
         "you took the last retained rows. The published attack takes the first."),
        (("[:n]", ", n)", 'kernel="rbf"'),
         ("", ", [len(confidence_retain), len(confidence_test)])",
          'kernel="rbf", class_weight="balanced"'),
         "All rows, with the classes weighted equally", "you used all rows and weighted the "
         "classes. The published attack takes the first n of both."),
        (("confidence_retain[:n]", ", n)"),
         ("confidence_retain[:n], confidence_forget", ", [n + len(confidence_forget), n])"),
         "The forget set stands among the members", "the forget set is among your members, so the "
         "attack learns the answer. It must not take part in the fit."),
        (("confidence_test[:n]", ", n)"),
         ("confidence_test[:n], confidence_forget", ", [n, n + len(confidence_forget)])"),
         "The forget set stands among the non-members", "the forget set is among your non-members, "
         "so the attack learns to call it that. It must not take part in the fit."),
        ("n = min", "confidence_retain = confidence_forget\n    n = min",
         "Learns forget set against test rows, and is judged on the forget set",
         "your attack is tuned on the forget set itself. Fit it to retained against test rows."),
        ("(attack.predict(confidence_forget[:, None]) == 0).mean()",
         "attack.score(x, np.repeat([1, 0], n))", "The accuracy on the rows it learned from",
         "this is the accuracy of the attack on the rows it learned from. Ask it about the forget "
         "set."),
        ("confidence_forget[:, None]", "x[n:]",
         "The share of the test rows that is called non-member",
         "these are test rows called non-member. Ask the attack about the forget set."),
        ('C=3, gamma="auto", kernel="rbf"', "", "SVC() with its default settings",
         "you used the default settings of `SVC`. The published attack has C = 3 and gamma "
         "'auto'."),
        ("C=3, ", "", "C is left at 1",
         "your C is 1, the default. The published attack has C = 3."),
        ('gamma="auto", ', "", "gamma is left at 'scale'", "your gamma is 'scale', the default, "
         "which depends on the spread of the confidences. The published attack has 'auto'."),
        ('"rbf"', '"linear"', "A linear kernel", "your kernel is linear, which knows one "
         "threshold. The published attack has an rbf kernel."),
    ),
    remark="`measure.svc_mia` does this from a model and its data. The target is what the "
           "retrained model gets, not 100: a row that was never seen is often called a member all "
           "the same.",
)


# ---------------- 12.5
def disparity(method, retrained):
    """Mean of |method - retrained| over UA, MIA, RA and TA, in points. dict, dict -> float"""
    columns = ("UA", "MIA", "RA", "TA")
    return sum(abs(method[c] - retrained[c]) for c in columns) / len(columns)


def _column_cases():
    rng, cases = np.random.default_rng(75), []
    same = {"UA": 14.0, "MIA": 20.0, "RA": 99.0, "TA": 86.0}
    for i in range(4):
        method, retrained = ({c: float(rng.uniform(0, 100)) for c in same} for _ in range(2))
        cases.append((f"random measures {i + 1}", (method, retrained)))
    # Jia et al. 2023, one class of CIFAR-10
    of_class = {"UA": 100.0, "MIA": 100.0, "RA": 100.0, "TA": 94.83}
    return cases + [
        ("fine-tuning, a class forgotten",
         ({"UA": 22.53, "MIA": 75.0, "RA": 99.87, "TA": 94.31}, of_class)),
        ("differences that cancel", ({"UA": 20.0, "MIA": 14.0, "RA": 95.0, "TA": 90.0}, same)),
        ("the retrained model itself", (dict(same), same)),
        ("forgotten more than by retraining", (same | {"UA": 60.0, "MIA": 80.0}, same)),
        ("a column too many", (same | {"RTE": 2.5, "RA": 97.0}, same | {"RTE": 43.0})),
        ("another order of the columns", ({"TA": 80.0, "RA": 90.0, "MIA": 31.0, "UA": 11.0}, same))]


DISPARITY = Exercise(
    id="12.5", title="The distance to retraining, over four measures", difficulty=1, minutes=5,
    points=1,
    trains="a method is judged by its distance to retraining, forgetting and usefulness together",
    solution=disparity, cases=_column_cases,
    hints=("In each column too much is as bad as too little: what counts is how far the method is "
           "from the retrained model. The four columns count alike.",
           "disparity = ¼ (|UA − UA*| + |MIA − MIA*| + |RA − RA*| + |TA − TA*|), with the star for "
           "the retrained model of the same sparsity.",
           "Go through the four names. Take `abs` of each difference, add them up, and divide by "
           "four."),
    mistakes=(
        ("abs(", "(", "Signed differences, which cancel", "your differences keep their signs, so "
         "too much and too little cancel. Take absolute values."),
        (("sum(abs(", "c]) for c in columns"), ("abs(sum(", "c] for c in columns)"),
         "The absolute value of the mean instead of the mean of absolute values",
         "you took the absolute value after averaging, when the differences had already cancelled. "
         "Take it of each difference first."),
        (" / len(columns)", "", "The sum instead of the mean",
         "you added the four differences up: take their mean."),
        ("abs(method[c] - retrained[c])", "(method[c] - retrained[c]) ** 2",
         "The mean of the squares",
         "you squared the differences. Take absolute values, so that the result is in points."),
        (("sum(abs(method[c] - retrained[c])", "len(columns)"),
         ("(sum((method[c] - retrained[c]) ** 2", "len(columns)) ** 0.5"),
         "The root of the mean square", "you took the root of the mean square, in which one large "
         "difference weighs more. Take the mean of absolute values."),
        (("sum(", " / len(columns)"), ("max(", ""), "The largest difference",
         "this is the largest of the four differences: take their mean."),
        (', "MIA", "RA", "TA"', ",", "UA alone", "you looked at UA alone. A model that forgets "
         "everything has a high UA too: take all four."),
        ('"MIA", ', "", "The mean over UA, RA and TA, without MIA",
         "MIA is missing: this is the gap of exercise 1.3. Average over four columns."),
        ('("UA", "MIA", "RA", "TA")', "list(method)", "Every column is averaged, also the run time",
         "you averaged every column, also the run time. Take UA, MIA, RA and TA only."),
        ("abs(method[c] - retrained[c]) for c in columns",
         "abs(a - b) for a, b in list(zip(method.values(), retrained.values()))[:4]",
         "Columns are paired by their place instead of their name",
         "you paired the columns by their place. Look each up by its name."),
        ("retrained[c]", "100", "The distance to 100 instead of to the retrained model",
         "you measured the distance to 100. The retrained model is the goal, and it rarely has "
         "100."),
        ("retrained[c])", "retrained[c]) / retrained[c] * 100",
         "Relative to the retrained model, in percent of it",
         "you divided by the retrained model's value. Disparity is in points, not relative."),
        ("len(columns)", "len(columns) / 100", "A share instead of points",
         "you divided by 100. Disparity is in points, as its columns are."),
    ),
    remark="`here.disparity` does the same. For a pruned network the retrained model has the "
           "same sparsity. That one is weaker than the dense one, so a smaller disparity is not "
           "yet a better model.",
)

EXERCISES = (MASK, SCHEDULE, STEP, EFFICACY, DISPARITY)
