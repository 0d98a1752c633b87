"""What a request does to everybody but its target: other inputs, and the accuracy on all."""

from inspect import signature

import numpy as np
import torch

from labkit import attack
from labkit.base import Diverged
from labkit.measure import accuracy
from labkit.training import predict

# the rule by which targets are drawn
LOW, HIGH = (signature(attack.pick_targets).parameters[k].default for k in ("low", "high"))


def could_be_targets(probabilities, labels) -> torch.Tensor:
    """Which inputs the rule of `pick_targets` would take. (m, k), (m,) -> (m,) bool"""
    confidence, called = probabilities.max(1)
    return (called == labels) & (confidence >= LOW) & (confidence <= HIGH)


def qualifying(victims) -> tuple:
    """(could be a target: 0 or 1, network) for every input to measure on, of all victims."""
    fit = [could_be_targets(predict(v.model, v.measure[0]).softmax(1), v.measure[1]).tolist()
           for v in victims]
    return sum(fit, []), [i for i, part in enumerate(fit) for _ in part]


def wrong(victim, model, rows) -> float:
    """UA: percent of the deleted rows (ids) that the model gets wrong; NaN for a lost run."""
    if model is None:
        return np.nan
    return 100 - accuracy(predict(model, victim.data.x[rows]), victim.data.y[rows])


def beside(victim, model, targets) -> list:
    """What else a request did, beside each of the targets (numbers j): dicts with test and others.

    test: accuracy on the inputs to measure on, percent; others: percent of the bystanders whose
    label is not the one that the attacked network gave. Bystanders could have been targets by the
    rule; the target itself is none of them. NaN for a lost run: model None, or one that diverged.
    """
    x, y = victim.measure
    try:
        before, after = predict(victim.model, x), None if model is None else predict(model, x)
    except Diverged:
        after = None
    if after is None:
        return [dict(test=np.nan, others=np.nan) for _ in targets]
    fit = could_be_targets(before.softmax(1), y)
    changed = (before.argmax(1) != after.argmax(1)).double()
    rows = []
    for j in targets:
        there = fit & ~(x == victim.x[j]).flatten(1).all(1)
        rows.append(dict(test=accuracy(after, y), others=100 * changed[there].mean().item()))
    return rows
