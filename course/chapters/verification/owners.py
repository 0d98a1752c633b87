"""What an owner can conclude from a private trigger: hits by chance, errors of both kinds."""

from dataclasses import dataclass, replace

import numpy as np

from labkit.base import LabError
from labkit.rules import checked_seed, is_number, is_whole
from labkit.verify.backdoor import Trigger, _checked, hits


@dataclass(frozen=True)
class Decision:
    """What the test says. deleted: hits ≤ k; confidence ρ = 1 − β; alpha: chance to accuse an honest provider."""

    deleted: bool
    confidence: float
    k: int
    alpha: float
    beta: float


def make_trigger(shape, n_classes, seed, pixels=4, value=2.0) -> Trigger:
    """Random places anywhere in the image and a random label, as in Athena's code.

    shape: of one row, (c, h, w) or (d,). value: in the units of the inputs, about white in normalised pictures;
    exactly white is (1 - data.mean) / data.std.
    """
    places = shape[-1] * shape[-2] if len(shape) == 3 else shape[-1]
    if not is_whole(pixels) or not 1 <= pixels <= places:
        raise LabError(f"The trigger has {pixels!r} pixels: give a whole number from 1 to {places}.")
    if not is_whole(n_classes) or n_classes < 2 or not is_number(value) or not np.isfinite(value):
        raise LabError(f"A trigger needs 2 classes or more and a finite value: got {n_classes!r} and {value!r}.")
    rng = np.random.default_rng(checked_seed(seed))
    chosen = sorted(rng.choice(places, pixels, replace=False).tolist())
    return Trigger(tuple(chosen), float(value), int(rng.integers(n_classes)))


def planted_rate(box, x, trigger, y=None) -> float:
    """p: how often the owner's own trigger works on the model in use *before* the request.

    (hits + 1) / (queries + 2), Laplace's rule (our choice): from finitely many queries no rate is quite 0 or 1.
    """
    found, asked = hits(box, x, trigger, y)
    return (found + 1) / (asked + 2)


def fresh_rate(box, x, trigger, shape, seed, y=None, triggers=20) -> float:
    """q: how often triggers that nobody planted work, of the owner's label, value and size at other places.

    box: Athena asks the old model; how readily a network gives a label differs from one network to the next, so ask
    the model that is *tested* too (ours). x: as many inputs as there are, for it is the input rather than the trigger
    that draws the label; each goes to one trigger. triggers: how many. The label is kept because models favour some
    labels on stamped inputs (our choice; Athena draws it too). Smoothed as planted_rate.
    """
    if not is_whole(triggers) or triggers < 1:
        raise LabError(f"triggers is {triggers!r}: give a whole number of fresh triggers, 1 or more.")
    rng, found, asked = np.random.default_rng(checked_seed(seed)), 0, 0
    size = shape[-1] * shape[-2] if len(shape) == 3 else shape[-1]
    places = sorted(set(range(size)) - set(trigger.pixels))
    if len(places) < len(trigger.pixels):
        raise LabError(f"The trigger covers {len(trigger.pixels)} places and {len(places)} are left: use a smaller "
                       "trigger.")
    x = x if y is None else x[y != trigger.label]
    for i in range(triggers):
        fresh = replace(trigger, pixels=tuple(rng.choice(places, len(trigger.pixels), replace=False).tolist()))
        more, queries = hits(box, x[i::triggers] if len(x) >= triggers else x, fresh)
        found, asked = found + more, asked + queries
    return (found + 1) / (asked + 2)


def critical_value(n, q, alpha) -> int:
    """k* = min{k : P(Bin(n, q) ≤ k) ≥ 1 − α}: at most so many hits still look deleted. Exact binomial tail."""
    from scipy.special import bdtrc  # P(Bin > k), exact where 1 − α would round; scipy.stats takes a second longer

    _checked(n, alpha=alpha, q=q)
    return int(np.argmax(bdtrc(np.arange(n + 1), n, q) <= alpha))


def miss_rate(n, p, k) -> float:
    """β = P(Bin(n, p) ≤ k): the chance that a provider who kept the rows looks as if it had deleted them."""
    from scipy.special import bdtr

    _checked(n, p=p)
    if not is_whole(k) or not 0 <= k <= n:
        raise LabError(f"k is {k!r}: give a whole number of hits from 0 to {n}.")
    return float(bdtr(k, n, p))


def decide(hits, n, p, q, alpha=1e-3) -> Decision:
    """Test 'deleted' (rate q) against 'not deleted' (rate p) after n queries with `hits` hits.

    alpha: the chance granted to accuse an honest provider. A verdict 'deleted' is worth its confidence ρ = 1 − β and
    no more. Source: Sommer et al. 2022; k* and β as their code computes them.
    """
    _checked(n, alpha=alpha, p=p, q=q)
    if not is_whole(hits) or not 0 <= hits <= n:
        raise LabError(f"{hits!r} hits of {n} queries: give a whole number from 0 to {n}.")
    if p <= q:
        raise LabError(f"The planted trigger works at a rate of {p:.3g} and fresh ones at {q:.3g}: it never took, so "
                       "it can show nothing; plant more rows.")
    k = critical_value(n, q, alpha)
    beta = miss_rate(n, p, k)
    return Decision(hits <= k, 1 - beta, k, alpha, beta)


def pool(hits, n, p, q, alpha=1e-3) -> Decision:
    """One test for several owners: c·n queries against the means of their p's and q's (Sommer et al. 2022).

    hits, p, q: lists of c, one an owner; n: queries of each. Rates that differ spread a sum less than their mean
    repeated (Hoeffding 1956), so both errors stay below the tails while k* lies between the means.
    """
    if not len(hits) == len(p) == len(q) or len(hits) == 0:
        raise LabError(f"The owners gave {len(hits)} counts of hits, {len(p)} p's and {len(q)} q's: give one of each.")
    for own in (*p, *q):
        _checked(n, rate=own)
    return decide(sum(hits), len(hits) * n, sum(p) / len(p), sum(q) / len(q), alpha)
