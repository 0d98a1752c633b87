"""What an owner can conclude from a private trigger: hits by chance, errors of both kinds."""

from dataclasses import dataclass

import numpy as np
import torch

from labkit.base import LabError
from labkit.rules import check, checked, is_whole
from labkit.verify.backdoor import Trigger, answers, hits


@dataclass(frozen=True)
class Decision:
    """What the test says. deleted: hits ≤ k; confidence ρ = 1 − β.

    alpha: chance to accuse an honest provider.
    """

    deleted: bool
    confidence: float
    k: int
    alpha: float
    beta: float


@checked
def make_trigger(shape, n_classes, seed, pixels=4, value=2.0) -> Trigger:
    """Random places anywhere in the image and a random label, as in Athena's code.

    shape: of one row, (c, h, w) or (d,). value: in the units of the inputs, about white in
    normalised pictures; exactly white is (1 - data.mean) / data.std.
    """
    places = _places(shape)
    if not is_whole(pixels) or not 1 <= pixels <= places:
        raise LabError(f"The trigger has {pixels!r} pixels: give a whole number from 1 to "
                       f"{places}.")
    rng = np.random.default_rng(seed)
    chosen = sorted(rng.choice(places, pixels, replace=False).tolist())
    return Trigger(tuple(chosen), float(value), int(rng.integers(n_classes)))


def _places(shape):
    return shape[-1] * shape[-2] if len(shape) == 3 else shape[-1]


def planted_rate(box, x, trigger, y=None) -> float:
    """p: how often the owner's own trigger works on the model in use *before* the request.

    (hits + 1) / (queries + 2), Laplace's rule (our choice): from finitely many queries no rate is
    quite 0 or 1.
    """
    found, asked = hits(box, x, trigger, y)
    return (found + 1) / (asked + 2)


@checked
def fresh_rate(box, x, trigger, shape, seed, y=None, triggers=20) -> float:
    """q: how often triggers that nobody planted work, of one label, value and size elsewhere.

    box: Athena asks the old model; how readily a network gives a label differs from one network to
    the next, so ask the model that is *tested* too (ours). x: as many inputs as there are, for it
    is the input rather than the trigger that draws the label; each goes to one trigger. triggers:
    how many. The label is kept because models favour some labels on stamped inputs (our choice;
    Athena draws it too). Smoothed as planted_rate.
    """
    rng = np.random.default_rng(seed)
    places, size = sorted(set(range(_places(shape))) - set(trigger.pixels)), len(trigger.pixels)
    if len(places) < size:
        raise LabError(f"The trigger covers {size} places and {len(places)} are left: use a "
                       "smaller trigger.")
    x = x if y is None else x[y != trigger.label]
    # few inputs: each goes to every trigger
    x = (x.clone(memory_format=torch.contiguous_format) if len(x) >= triggers
         else x.repeat_interleave(triggers, 0))
    flat = x.flatten(2) if x.dim() == 4 else x  # a view: stamped in place, 2,000 pictures at once
    if flat.shape[-1] != _places(shape):
        raise LabError(f"The rows have {flat.shape[-1]} places and the shape {tuple(shape)} has "
                       f"{_places(shape)}: give the shape of one row.")
    for i in range(triggers):
        flat[i::triggers, ..., rng.choice(places, size, replace=False).tolist()] = trigger.value
    found, asked = answers(box, x, trigger.label)
    return (found + 1) / (asked + 2)


@checked(n="from 1", alpha="below 1")
def critical_value(n, q, alpha) -> int:
    """h* = min{h : P(Bin(n, q) > h) ≤ α}: at most so many hits of n still look deleted. Exact."""
    # P(Bin > h), exact where 1 − α would round; scipy.stats takes a second longer
    from scipy.special import bdtrc

    return int(np.argmax(bdtrc(np.arange(n + 1), n, q) <= alpha))


@checked(n="from 1")
def miss_rate(n, p, k) -> float:
    """β = P(Bin(n, p) ≤ k): the chance that a provider who kept the rows looks as if it had not."""
    from scipy.special import bdtr

    if not is_whole(k) or not 0 <= k <= n:
        raise LabError(f"k is {k!r}: give a whole number of hits from 0 to {n}.")
    return float(bdtr(k, n, p))


@checked(n="from 1", alpha="below 1")
def decide(hits, n, p, q, alpha=1e-3) -> Decision:
    """Test 'deleted' (rate q) against 'not deleted' (rate p) after n queries with `hits` hits.

    alpha: the chance granted to accuse an honest provider. A verdict 'deleted' is worth its
    confidence ρ = 1 − β and no more. Source: Sommer et al. 2022; h* (their k*) and β as in their
    code.
    """
    if not is_whole(hits) or not 0 <= hits <= n:
        raise LabError(f"{hits!r} hits of {n} queries: give a whole number from 0 to {n}.")
    if p <= q:
        raise LabError(f"The planted trigger works at a rate of {p:.3g} and fresh ones at "
                       f"{q:.3g}: it never took, so it can show nothing; plant more rows.")
    k = critical_value(n, q, alpha)
    beta = miss_rate(n, p, k)
    return Decision(hits <= k, 1 - beta, k, alpha, beta)


@checked(n="from 1", p=None, q=None, alpha=None)
def pool(hits, n, p, q, alpha=1e-3) -> Decision:
    """One test for several owners: c·n queries against the means of their p's and q's.

    hits, p, q: lists of c, one an owner; n: queries of each. Rates that differ spread a sum less
    than their mean repeated (Hoeffding 1956), so both errors stay below the tails while h* lies
    between the means. Source: Sommer et al. 2022.
    """
    if not len(hits) == len(p) == len(q) or len(hits) == 0:
        raise LabError(f"The owners gave {len(hits)} counts of hits, {len(p)} p's and {len(q)} "
                       "q's: give one of each.")
    for rate in (*p, *q):
        check("p", rate)
    return decide(sum(hits), len(hits) * n, sum(p) / len(p), sum(q) / len(q), alpha)
