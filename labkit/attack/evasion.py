"""The attacker who knows the filter and the monitor: their features as smooth functions of the relaxed weights.

It knows their code, its own rows and public rows; never the held-out panel that the provider looks at.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch.func import functional_call

from ..base import LabError
from ..training import predict


def evading(objective, penalty, weight):
    """The objective ω -> objective(ω) + weight · penalty(ω), for `choose`. weight: 0 or more, in the objective's unit.

    Source: adaptive attacks as in Carlini and Wagner 2017: put the detector's loss into the attack's.
    """
    if not weight >= 0:
        raise LabError(f"weight is {weight!r}: the price of being noticed must be 0 or more.")
    return lambda weights: objective(weights) + weight * penalty(weights)


def clustered(holdings, alone):
    """The owned rows that a filter of isolated rows would let through. alone: (m,) bool over the owned rows.

    The attacker computes `alone` itself, with defend.isolated on its own (and public) rows.
    """
    if alone.shape != holdings.rows.shape or alone.dtype != torch.bool:
        raise LabError(f"alone has shape {tuple(alone.shape)} and type {alone.dtype}: give one bool for each of the "
                       f"{len(holdings)} owned rows.")
    if alone.all():
        raise LabError("The filter stops every owned row: there is nothing left to ask for.")
    keep = ~alone
    return replace(holdings, rows=holdings.rows[keep], x=holdings.x[keep], y=holdings.y[keep],
                   budget=min(holdings.budget, int(keep.sum())))


def monitored(residuals, y, prior, values):
    """The monitor's features of a weighted request: ω (m,) -> (3 + q,), differentiable in ω.

    In this order: length of the weighted mean residual, coherence, χ² of the classes a row, weighted means of the q
    columns of values (m, q), e.g. isolated (0 or 1), loss, entropy. residuals (m, k), y (m,): of the owned rows; prior
    (k,): class shares. At weights of 0 and 1 these are the features of defend.features.
    """
    if not len(residuals) == len(y) == len(values):
        raise LabError(f"{len(residuals)} residuals, {len(y)} labels and {len(values)} values were given: give one of "
                       "each a row.")
    unit, hot = F.normalize(residuals, dim=1), F.one_hot(y, len(prior)).to(residuals.dtype)
    prior = prior.to(residuals.dtype).clamp(min=1e-12)

    def seen(weights):
        total, squares = weights.sum().clamp(min=1e-6), weights.square()
        pairs = (weights @ unit).square().sum() - (squares * unit.square().sum(1)).sum()
        pull = (weights @ residuals / total).square().sum()
        return torch.cat([torch.stack([(pull + 1e-20).sqrt(), pairs / (total**2 - squares.sum()).clamp(min=1e-6),
                                       ((weights @ hot / total - prior).square() / prior).sum()]),
                          weights @ values.to(residuals.dtype) / total])

    return seen


def conspicuous(seen, centre, scale, slack=1.0):
    """The penalty ω -> Σ max(0, |feature − centre| / scale − slack)². seen: from `monitored`; centre, scale (f,).

    The attacker takes centre and scale from benign requests that it draws among its own and public rows.
    """
    if not (torch.as_tensor(scale) > 0).all():
        raise LabError("A scale of the features is 0 or less: leave features out that never change.")
    return lambda weights: (((seen(weights) - centre) / scale).abs() - slack).clamp(min=0).square().sum()


def unlike(seen, streams, slack=0.0):
    """The penalty ω -> max(0, Mahalanobis distance to the nearest stream − slack)². For monitors that measure so.

    streams: [(mean (f,), precision (f, f)), …] from benign requests that the attacker draws itself, e.g. by
    defend.mean_and_precision. slack: a distance that is usual among them.
    """
    if not streams:
        raise LabError("No benign streams to look like were given: draw some, and give the mean and precision of each.")

    def penalty(weights):
        found = seen(weights)
        distances = [(found - torch.as_tensor(m).to(found)) @ torch.as_tensor(p).to(found)
                     @ (found - torch.as_tensor(m).to(found)) for m, p in streams]
        return ((torch.stack(distances).min() + 1e-12).sqrt() - slack).clamp(min=0).square()

    return penalty


def side_effect(model, x, unlearned):
    """The penalty ω -> mean KL(before ‖ after) on public rows x, in nats: what a trial run would show.

    unlearned: ω -> params, from `removal`, `newton` or `ascent`.
    """
    before = predict(model, x).log_softmax(1)
    return lambda weights: F.kl_div(functional_call(model, unlearned(weights), (x,)).log_softmax(1), before,
                                    reduction="batchmean", log_target=True)
