"""Exercises of notebook 12: a global mask. The others are in nb07_schedule, _step, _attack and _disparity.

Solutions use torch and NumPy only, and what they import themselves, so that they can be copied out.
"""

import math

import torch

from course.chapters.sparsity.exercises_attack import EFFICACY
from course.chapters.sparsity.exercises_disparity import DISPARITY
from course.chapters.sparsity.exercises_schedule import SCHEDULE
from course.chapters.sparsity.exercises_step import STEP
from course.exercises.engine import Exercise

# ---------------- 12.1 magnitude_mask


def magnitude_mask(weights, sparsity):
    """True where a weight stays. round(sparsity * n) of all n go, the smallest |w| first, ties in order. -> dict"""
    size = torch.cat([w.abs().flatten() for w in weights.values()])
    keep = torch.ones(len(size), dtype=torch.bool)
    keep[size.argsort(stable=True)[: round(sparsity * len(size))]] = False
    parts = keep.split([w.numel() for w in weights.values()])
    return {name: part.view(w.shape) for (name, w), part in zip(weights.items(), parts, strict=True)}


def _weight_cases():
    # sparsity * n never ends in .5: no way of rounding decides a case
    g, cases = torch.Generator().manual_seed(71), []

    def draw(shape, scale=1.0):
        return scale * torch.randn(shape, generator=g)

    for what, sparsity in (("a sparse network", 0.95), ("a little is pruned", 0.1), ("a half is pruned", 0.52)):
        weights = {"conv.weight": draw((4, 2, 3, 3)), "hidden.weight": draw((6, 5), 0.2), "out.weight": draw((3, 6), 3)}
        cases.append((what, (weights, sparsity)))
    return cases + [
        ("one layer", ({"out.weight": draw((5, 4))}, 0.3)),
        ("a layer of small weights, pruned whole", ({"a": draw((3, 3), 0.001), "b": 5 + draw((4, 2)).abs()}, 0.6)),
        ("negative weights only", ({"a": -draw((2, 4)).abs(), "b": -draw((3, 3)).abs()}, 0.4)),
        ("nothing is pruned", ({"a": draw((2, 2)), "b": draw((3, 1))}, 0.0)),
        ("a whole number of weights", ({"a": draw((2, 6)), "b": draw((4, 2))}, 0.75)),
        ("many ties", ({"a": torch.tensor([[1., -1, 2], [1, -2, 0]]), "b": torch.tensor([[-1., 1, 1, 3]])}, 0.4)),
        ("many weights, many ties", ({"a": draw((20, 12)).round(), "b": draw((9, 10)).round()}, 0.44)),
        ("all weights equal", ({"a": torch.full((2, 3), -0.5), "b": torch.full((1, 4), 0.5)}, 0.3)),
        ("zeros from an earlier pruning", ({"a": torch.tensor([[0., 5], [0, 4]]), "b": torch.zeros(3, 2)}, 0.32)),
        ("float64", ({"a": draw((3, 4)).double(), "b": draw((2, 2)).double()}, 0.7)),
        ("names that are not in the order of the alphabet", ({"out": draw((3, 4)).round(), "conv": draw((2, 5)).round(),
                                                              "body": draw((4, 4)).round()}, 0.44)),
    ]


def _masked(weights, order, count):
    """Keep all but the first `count` of the flat order."""
    keep = torch.ones(len(order), dtype=torch.bool)
    keep[order[:count]] = False
    parts = keep.split([w.numel() for w in weights.values()])
    return {name: part.view(w.shape) for (name, w), part in zip(weights.items(), parts, strict=True)}


def _flat(weights):
    return torch.cat([w.flatten() for w in weights.values()])


def _by_size(weights, count):
    return _masked(weights, _flat(weights).abs().argsort(stable=True), count)


def _layerwise(weights, sparsity):
    """The same share of every layer instead of the smallest of all"""
    return {name: magnitude_mask({name: w}, sparsity)[name] for name, w in weights.items()}


def _signed(weights, sparsity):
    """Without abs: large negative weights are pruned"""
    return _masked(weights, _flat(weights).argsort(stable=True), round(sparsity * len(_flat(weights))))


def _inverted(weights, sparsity):
    """True where a weight is pruned"""
    return {name: ~keep for name, keep in magnitude_mask(weights, sparsity).items()}


def _kept_share(weights, sparsity):
    """The sparsity is taken for the share that is kept"""
    return magnitude_mask(weights, 1 - sparsity)


def _largest(weights, sparsity):
    """The largest weights are pruned"""
    order = _flat(weights).abs().argsort(stable=True, descending=True)
    return _masked(weights, order, round(sparsity * len(order)))


def _all_ties(weights, sparsity):
    """A threshold prunes every weight up to it, ties too"""
    size = _flat(weights).abs()
    count = round(sparsity * len(size))
    threshold = size.sort().values[count - 1] if count else -1
    return {name: w.abs() > threshold for name, w in weights.items()}


def _no_ties(weights, sparsity):
    """A threshold keeps every weight at it, ties too"""
    size = _flat(weights).abs()
    threshold = size.sort().values[min(round(sparsity * len(size)), len(size) - 1)]
    return {name: w.abs() >= threshold for name, w in weights.items()}


def _quantile(weights, sparsity):
    """torch.quantile as the threshold: its count is not round(sparsity * n), and ties fall together"""
    threshold = torch.quantile(_flat(weights).abs(), sparsity)
    return {name: w.abs() > threshold for name, w in weights.items()}


def _floor(weights, sparsity):
    """The number to prune is rounded down"""
    return _by_size(weights, math.floor(sparsity * len(_flat(weights))))


def _ceil(weights, sparsity):
    """The number to prune is rounded up"""
    return _by_size(weights, math.ceil(sparsity * len(_flat(weights))))


def _last_ties(weights, sparsity):
    """Of equal weights the last are pruned"""
    order = _flat(weights).abs().argsort(stable=True, descending=True).flip(0)
    return _masked(weights, order, round(sparsity * len(order)))


def _by_name(weights, sparsity):
    """The layers are sorted by their names"""
    return magnitude_mask(dict(sorted(weights.items())), sparsity)


def _floats(weights, sparsity):
    """Zeros and ones instead of bools"""
    return {name: keep.float() for name, keep in magnitude_mask(weights, sparsity).items()}


def _unshaped(weights, sparsity):
    """The masks stay flat"""
    return {name: keep.flatten() for name, keep in magnitude_mask(weights, sparsity).items()}


def _in_place(weights, sparsity):
    """The weights given are pruned on the way"""
    mask = magnitude_mask(weights, sparsity)
    for name, keep in mask.items():
        weights[name][~keep] = 0
    return mask


def _pruned_weights(weights, sparsity):
    """The pruned weights instead of the mask"""
    return {name: weights[name] * keep for name, keep in magnitude_mask(weights, sparsity).items()}


MASK = Exercise(
    id="12.1", title="Which weights may stay",
    trains="global, unstructured magnitude pruning: one order over all layers, and an exact count",
    difficulty=2, minutes=12, points=2, solution=magnitude_mask, cases=_weight_cases,
    hints=("Small weights go first, whichever layer they are in. So put all weights in one line before you sort them, "
           "and remember where each came from.",
           "Of n = Σ_l n_l weights the round(s n) with the smallest |w| are pruned; of equal ones, those that come "
           "first.",
           "Join the flattened absolute values with `torch.cat`, and sort with `argsort(stable=True)`. Start from a "
           "mask of all True and set the first places of that order to False. `split` cuts it into layers, and `view` "
           "gives each its shape back."),
    mistakes=(
        (_layerwise, "you prune the same share of every layer. A global mask sorts the weights of all layers together, "
                     "so one layer may lose more than another."),
        (_signed, "you sorted the weights with their signs, so large negative ones are pruned. Sort the absolute "
                  "values."),
        (_inverted, "your mask is True where a weight is pruned. It should be True where a weight stays."),
        (_kept_share, "you kept a share as large as the sparsity. The sparsity is the share that is pruned."),
        (_largest, "you pruned the largest weights. The smallest ones go."),
        (_all_ties, "your threshold prunes all weights equal to it, so more are pruned than asked for. Count places "
                    "in the sorted order instead."),
        (_no_ties, "your threshold keeps all weights equal to it, so fewer are pruned than asked for. Count places in "
                   "the sorted order instead."),
        (_quantile, "a quantile lies between two weights, and equal ones fall together. Count round(s n) places in "
                    "the sorted order instead."),
        (_floor, "you rounded the number to prune down. Use `round`."),
        (_ceil, "you rounded the number to prune up. Use `round`."),
        (_last_ties, "of equal weights you pruned the last ones. The first ones go."),
        (_by_name, "you sorted the layers by name. Of equal weights the first in the order of the dict go."),
        (_floats, "your masks hold numbers. Make them bool."),
        (_unshaped, "your masks are flat. Give each the shape of its weights."),
        (_in_place, "you set weights to 0 on the way. Return the mask, and leave the weights as they are."),
        (_pruned_weights, "these are the pruned weights. Return the mask: True where a weight stays."),
    ),
    remark="`unlearn.magnitude_mask` does this to a model. Biases and normalisation are left alone there, and an "
           "earlier mask can be given, which the new one must lie inside.",
)

EXERCISES = (MASK, SCHEDULE, STEP, EFFICACY, DISPARITY)
