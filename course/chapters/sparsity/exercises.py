"""Exercises of notebook 12: disparity, a global mask, a masked step, salient weights; a schedule.

Solutions use torch and NumPy only, and what they import themselves, so that they can be copied out.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from course.exercises.engine import Exercise
from labkit import data, models, training, unlearn

from .distances import disparity as distance
from .trials import score


# ---------------- 12.1
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
    id="12.1", title="The distance to retraining, over four measures", difficulty=1, minutes=5,
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


# ---------------- 12.2
def magnitude_mask(weights, sparsity):
    """True where a weight stays; the round(sparsity * n) smallest |w| go, ties in order. -> dict"""
    size = torch.cat([w.abs().flatten() for w in weights.values()])
    keep = torch.ones(len(size), dtype=torch.bool, device=size.device)
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
    id="12.2", title="Which weights may stay", difficulty=2, minutes=12, points=2,
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
    id="12.3", title="A step that keeps the mask", difficulty=3, minutes=10, points=2,
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
def salient(model, x, y, share):
    """True where |gradient| of the summed loss on x, y is among the largest -> dict, all weights"""
    weights = dict(model.named_parameters())
    loss = F.cross_entropy(model(x), y, reduction="sum")
    slopes = torch.autograd.grad(loss, list(weights.values()))
    size = torch.cat([g.abs().flatten() for g in slopes])
    move = torch.ones(len(size), dtype=torch.bool, device=size.device)
    move[size.argsort(stable=True)[: round((1 - share) * len(size))]] = False
    parts = move.split([w.numel() for w in weights.values()])
    return {name: m.view(w.shape) for (name, w), m in zip(weights.items(), parts, strict=True)}


def _small_net(seed, *sizes, dtype=torch.float32):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [layer for a, b in zip(sizes, sizes[1:], strict=False)
                  for layer in (torch.nn.Linear(a, b), torch.nn.ReLU())]
    return torch.nn.Sequential(*layers[:-1]).to(dtype)


def _saliency_cases():
    # (1 - share) * n never ends in .5: no way of rounding decides a case. Three classes or more:
    # with two, gradients tie but for their last digits
    g, cases = torch.Generator().manual_seed(76), []
    for i, (what, sizes, rows, share) in enumerate((
            ("half of the weights", (5, 6, 4), 20, 0.5), ("a tenth", (5, 4, 4), 12, 0.1),
            ("nearly all", (3, 5, 4), 9, 0.9), ("one row", (6, 3), 1, 0.33),
            ("one layer, many rows", (8, 4), 60, 0.27), ("three layers", (4, 5, 5, 3), 30, 0.4),
            ("all weights", (3, 4, 3), 8, 1.0))):
        x = torch.randn((rows, sizes[0]), generator=g)
        y = torch.randint(0, sizes[-1], (rows,), generator=g)
        cases.append((what, (_small_net(i, *sizes), x, y, share)))
    pruned = _small_net(9, 4, 8, 3)
    pruned[0].weight.data[::2] = 0  # half of the hidden units, with their biases
    pruned[0].bias.data[::2] = -1
    x, y = torch.randn((15, 4), generator=g), torch.arange(15) % 3
    far = 3 * torch.randn((6, 4), generator=g)
    wide = _small_net(10, 4, 40, 3)  # most units never fire: many gradients are exactly 0
    wide[0].bias.data[5:] = -99
    return cases + [
        ("a pruned network: units without any gradient", (pruned, x, y, 0.3)),
        ("so many gradients of 0 that some of them may move", (wide, x, y, 0.6)),
        ("a class by itself", (_small_net(11, 4, 5, 3), x, torch.full((15,), 2), 0.52)),
        ("rows far out", (_small_net(12, 4, 5, 3), far, torch.arange(6) % 3, 0.6)),
        ("float64", (_small_net(13, 4, 5, 3, dtype=torch.float64), x.double(), y, 0.4))]


SALIENT = Exercise(
    id="12.4", title="Which weights may move", difficulty=4, minutes=15, points=3,
    trains="SalUn's mask: a gradient that leaves no trace, one order over all parameters, and an "
           "exact count",
    solution=salient, cases=_saliency_cases,
    hints=("A weight matters to some rows if a small change of it changes their loss. So rank all "
           "parameters, biases too, by the size of the gradient. The ranking is the one of "
           "exercise 12.2.",
           "With L the summed cross-entropy of the rows and n the number of all parameters: of "
           "|∂L/∂θ_i| the round((1 − share) n) smallest stay put, of equal ones the first.",
           "Take the parameters from `named_parameters()`, and their gradients with "
           "`torch.autograd.grad`. Join the flattened absolute values with `torch.cat`, sort with "
           "`argsort(stable=True)`, set the first places of a mask of all True to False, and cut "
           "it with `split` and `view`."),
    mistakes=(
        ("g.abs()", "g", "Without abs: gradients are ranked with their signs",
         "you ranked the gradients with their signs. A large negative one matters as much: take "
         "absolute values."),
        ("[: round((1 - share)", "[round(share", "The weights that matter least may move",
         "your mask is True where the gradient is small. The largest ones may move."),
        ("round((1 - share)", "round(share", "share is taken for the part that stays put",
         "you let 1 − share of the weights move. share is the part that may move."),
        ("size = torch.cat([g.abs().flatten() for g in slopes])",
         "size = torch.cat([w.detach().abs().flatten() for w in weights.values()])",
         "Weights are ranked by their size instead of their gradient",
         "you ranked the weights themselves, as in exercise 12.2. Rank their gradients on the rows "
         "given."),
        ("size = torch.cat([g.abs().flatten() for g in slopes])",
         "size = torch.cat([(g * w.detach()).abs().flatten()"
         " for g, w in zip(slopes, weights.values())])",
         "Ranked by weight times gradient, as SynFlow does",
         "you ranked weight times gradient, SynFlow's score. SalUn takes the gradient alone."),
        ("dict(model.named_parameters())",
         "{k: w for k, w in model.named_parameters() if w.dim() > 1}",
         "Biases are left out", "biases are missing. The mask covers every parameter."),
        ("stable=True", "stable=True, descending=True",
         "The largest gradients stay put", "you kept the largest gradients in place. The smallest "
         "ones stay put."),
        ("round(", "int(", "The number that stays is rounded down",
         "you rounded the number that stays put down. Use `round`."),
        ("m.view(w.shape)", "m", "The masks stay flat",
         "your masks are flat. Give each the shape of its parameter."),
        ("m.view(w.shape)", "m.view(w.shape).float()", "Zeros and ones instead of bools",
         "your masks hold numbers. Make them bool."),
        ("slopes = torch.autograd.grad(loss, list(weights.values()))",
         "loss.backward()\n    slopes = [w.grad for w in weights.values()]",
         "backward() leaves gradients in the model",
         "`backward()` leaves gradients in the model, and the next step would add to them. Take "
         "`torch.autograd.grad`."),
    ),
    remark="`unlearn.saliency_mask` does the same, 512 rows at a time. With it random labels "
           "become SalUn.",
)


# ---------------- 12.5
def sparsity_schedule(epochs, total):
    """Strength of the l1 norm in each epoch: a quarter of the one before, so that most comes early

    epochs: how many, total: what they add up to. -> list of floats
    """
    weights = [0.25**epoch for epoch in range(epochs)]
    return [total * w / sum(weights) for w in weights]


def constant_schedule(epochs, total):
    """The same strength in every epoch."""
    return [total / epochs] * epochs


def decaying_schedule(epochs, total):
    """The paper's: down along a line, which would reach 0 one epoch after the last."""
    line = [1 - epoch / epochs for epoch in range(epochs)]
    return [total * w / sum(line) for w in line]


@lru_cache(1)
def _trial():
    """Three small networks on handwritten digits, a class of each to forget, and retraining."""
    digits, found = data.load("digits", at_most=(600, 400), device="cpu"), []
    recipe = dict(epochs=12, lr=0.1, batch_size=64)
    for seed, label in ((11, 0), (12, 4), (13, 9)):
        d = digits.resplit(seed)

        def build(seed, d=d):
            return models.build("mlp", d, seed, hidden=32)

        forget = d.forget_class(label)
        model = training.fit(build(seed), d.x, d.y, seed=seed, **recipe)
        exact = unlearn.retrain(model, d, forget, build=build, seed=seed, **recipe)
        found.append((d, model, forget, score(exact, d, forget)))
    return found


def closeness(strengths, epochs, total):
    """100 less the mean disparity to retraining, in points, of l1 with these strengths."""
    strengths = [float(s) for s in strengths]
    if len(strengths) != epochs:
        raise ValueError(f"it has {len(strengths)} strengths for {epochs} epochs; give one an "
                         "epoch")
    if not np.isfinite(strengths).all() or min(strengths) < 0:
        raise ValueError("a strength is negative or not finite; give 0 or more")
    if abs(sum(strengths) - total) > 1e-3 * total:
        raise ValueError(f"the strengths add up to {sum(strengths):.4g}; they share out a total of "
                         f"{total:g}")
    return _closeness(tuple(strengths))


@lru_cache(64)
def _closeness(strengths):
    gaps = []
    for d, model, forget, reference in _trial():
        after = unlearn.finetune(model, d, forget, epochs=len(strengths), lr=0.1, batch_size=64,
                                 penalty=lambda net, e: strengths[e] * unlearn.l1_norm(net))
        gaps.append(distance(score(after, d, forget), reference))
    return 100 - float(np.mean(gaps))


def _half_way(epochs, total):
    """Half of the way from the better plain schedule to the worked one, on the same networks."""
    plain = max(closeness(schedule(epochs, total), epochs, total)
                for schedule in (constant_schedule, decaying_schedule))
    return (plain + closeness(sparsity_schedule(epochs, total), epochs, total)) / 2


def _schedule_cases():
    return [("three epochs", (3, 0.02)), ("five epochs", (5, 0.02)),
            ("eight epochs, a weak norm", (8, 0.006))]


PROJECT = Exercise(
    id="12.5", title="A sparsity schedule", difficulty=5, minutes=25, points=5,
    trains="to argue when a penalty should act, to measure it against plain schedules of the same "
           "total, and to keep other networks for the verdict",
    solution=sparsity_schedule, cases=_schedule_cases,
    measured="the closeness to retraining (100 less the disparity, in points)",
    measure=closeness, floor=_half_way,
    hints=("What does the norm do, and what does training without it do afterwards? The retained "
           "rows have to win back what they need. Which of the two should come last?",
           "γ_e = total · w_e / Σ w. The paper's w_e = 1 − e / E falls along a line. Try others: "
           "growing, a step, powers of a number below 1. Only the shape counts, as the total is "
           "given.",
           "Make a list of weights `w`, one for each epoch, large at first and small soon after, "
           "and return `[total * v / sum(w) for v in w]`."),
    mistakes=(
        (constant_schedule, "this is the constant schedule, one of the two to beat."),
        (decaying_schedule, "this is the paper's straight line, one of the two to beat."),
        ("0.25**epoch", "epoch + 1.0", "The strength grows from epoch to epoch",
         "your strength grows, so that the norm is strongest when no epoch is left to recover in."),
        ("total * w / sum(weights)", "total * w", "The strengths do not add up to the total",
         "your strengths do not add up to `total`: divide by the sum of the weights."),
        ("range(epochs)", "range(epochs - 1)", "An epoch without a strength",
         "an epoch is missing. Give a strength for each of the `epochs`, 0 if you like."),
        ("0.25**epoch", "(epoch == epochs - 1) * 1.0", "All in the last epoch",
         "you put all of it into the last epoch, and nothing repairs what it breaks."),
        ("0.25**epoch", "1.0 - 2.0 * (epoch == epochs - 1)", "A negative strength at the end",
         "your last strength is negative, which rewards large weights. Give 0 or more."),
    ),
    remark="On other networks the order may differ: look at the next cell, and at its intervals.",
)

EXERCISES = (DISPARITY, MASK, STEP, SALIENT, PROJECT)
