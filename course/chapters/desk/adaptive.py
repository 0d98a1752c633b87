"""Attackers who know the desk: requests that look ordinary to a filter and to a monitor."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch.func import functional_call

from labkit.base import LabError
from labkit.rules import checked
from labkit.training import predict


@checked
def evading(objective, penalty, weight):
    """The objective ω -> objective(ω) + weight · penalty(ω), for `choose`.

    weight: 0 or more, the price of being noticed in the objective's unit.
    Source: adaptive attacks as in Carlini and Wagner 2017: the detector's loss in the attack's.
    """
    return lambda weights: objective(weights) + weight * penalty(weights)


def clustered(holdings, alone):
    """The owned rows that a filter of isolated rows would let through. alone: (m,) bool of them.

    The attacker computes `alone` itself, with defend.isolated on its own (and public) rows.
    """
    if alone.shape != holdings.rows.shape or alone.dtype != torch.bool:
        raise LabError(f"alone has shape {tuple(alone.shape)} and type {alone.dtype}: give one "
                       f"bool for each of the {len(holdings)} owned rows.")
    if alone.all():
        raise LabError("The filter stops every owned row: there is nothing left to ask for.")
    keep = ~alone
    return replace(holdings, rows=holdings.rows[keep], x=holdings.x[keep], y=holdings.y[keep],
                   budget=min(holdings.budget, int(keep.sum())))


def monitored(residuals, y, prior, values):
    """The monitor's features of a weighted request: ω (m,) -> (3 + q,), differentiable in ω.

    In this order: length of the weighted mean residual, coherence, χ² of the classes a row,
    weighted means of the q columns of values (m, q), e.g. isolated (0 or 1), loss, entropy.
    residuals (m, k), y (m,): of the owned rows; prior (k,): class shares. At weights of 0 and 1
    these are those of `features`.
    """
    if not len(residuals) == len(y) == len(values):
        raise LabError(f"{len(residuals)} residuals, {len(y)} labels and {len(values)} values were "
                       "given: give one of each a row.")
    unit, hot = F.normalize(residuals, dim=1), F.one_hot(y, len(prior)).to(residuals.dtype)
    prior, values = prior.to(residuals.dtype).clamp(min=1e-12), values.to(residuals.dtype)

    def seen(weights):
        total, squares = weights.sum().clamp(min=1e-6), weights.square()
        pairs = (weights @ unit).square().sum() - (squares * unit.square().sum(1)).sum()
        length = ((weights @ residuals / total).square().sum() + 1e-20).sqrt()
        cosine = pairs / (total**2 - squares.sum()).clamp(min=1e-6)
        unusual = ((weights @ hot / total - prior).square() / prior).sum()
        return torch.cat([torch.stack([length, cosine, unusual]), weights @ values / total])

    return seen


def unlike(seen, streams, slack=0.0):
    """The penalty ω -> max(0, Mahalanobis distance to the nearest stream − slack)².

    For monitors that measure so. streams: [(mean (f,), precision (f, f)), …] from benign requests
    that the attacker draws itself, e.g. by mean_and_precision. slack: a distance that is usual
    among them.
    """
    if not streams:
        raise LabError("No benign streams to look like were given: draw some, and give the mean "
                       "and precision of each.")

    def penalty(weights):
        found, squares = seen(weights), []
        for mean, precision in streams:
            apart = found - torch.as_tensor(mean).to(found)
            squares.append(apart @ torch.as_tensor(precision).to(found) @ apart)
        return ((torch.stack(squares).min() + 1e-12).sqrt() - slack).clamp(min=0).square()

    return penalty


def side_effect(model, x, unlearned):
    """The penalty ω -> mean KL(before ‖ after) on public rows x, in nats: what a trial shows.

    unlearned: ω -> params, e.g. from attack.removal.
    """
    before = predict(model, x).log_softmax(1)

    def penalty(weights):
        after = functional_call(model, unlearned(weights), (x,)).log_softmax(1)
        return F.kl_div(after, before, reduction="batchmean", log_target=True)

    return penalty
