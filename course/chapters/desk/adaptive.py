"""Attackers who know the defence: requests that look ordinary, releases that are undone."""

import copy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch.func import functional_call

from labkit.attack.differences import difference, flat, moved
from labkit.attack.labels import Probes
from labkit.base import LabError
from labkit.rules import checked
from labkit.training import predict


def average(releases):
    """The mean of several releases of one model, in float64. -> a model.

    Fresh noise on each of n releases leaves noise of 1/√n; the same noise on all leaves all of it.
    Needs to know: n releases of the same θ_u, e.g. answers to n requests that change nothing.
    """
    releases = list(releases)
    if not releases or len({tuple(p.shape for p in m.parameters()) for m in releases}) != 1:
        raise LabError("Only releases of one network have a mean: give at least one model, all of "
                       "the same shapes.")
    mean = copy.deepcopy(releases[0]).double()
    with torch.no_grad():
        for p, *parts in zip(mean.parameters(), *(m.parameters() for m in releases), strict=True):
            p.copy_(torch.stack([q.double() for q in parts]).mean(0))
    return mean


def subtract_path(before, after, imitations) -> torch.Tensor:
    """(θ_u' − θ) − (θ' − θ): a fine-tuned release's movement less imitated fine-tuning's. -> (d,).

    after: θ_u', unlearned and then fine-tuned. imitations: models θ' that the attacker fine-tuned
    from θ in the same way, e.g. finetune_release(theta, x, y, …) for some seeds; their mean
    movement is subtracted. Needs to know: steps, learning rate and batch size of the fine-tuning,
    and its rows: other rows of the same distribution subtract a path of their own noise (on
    Fashion-MNIST they gained nothing). In small batches also their order, that is the seed.
    """
    imitations = list(imitations)
    if not imitations:
        raise LabError("There is no imitation to subtract: give at least one fine-tuned copy of "
                       "the original.")
    paths = torch.stack([difference(before, m) for m in imitations])
    return moved(difference(before, after) - paths.mean(0))


def kept(model) -> torch.Tensor:
    """Which parameters of a released model are not exactly zero, in the order of `flat`. -> (d,)

    Pass it as `mask` to attack.leak or attack.invert, with the difference of the models as target:
    magnitude pruning replaces a pruned weight's movement by −θ, which drowns the rest, but it says
    where. Needs to know: both models, nothing more.
    """
    return flat(model) != 0


@checked(floor="below 1")
def rescale(probabilities, temperature: float = 1.0, floor: float = 1e-38) -> torch.Tensor:
    """Logits from answers, up to a constant: T (log p − its mean over classes). (n, k) float64.

    A temperature only divides these by T. Without knowing T leave it at 1: all changes shrink
    alike, and the class that falls most stays the same. Of two models compare these in place of
    probabilities; rescale(p, T).softmax(1) are the probabilities at T = 1. floor: smallest answer
    that is believed; for answers of d decimals give 0.5 · 10^−d.
    Needs to know: answers; T only where sizes matter.
    """
    logits = probabilities.double().clamp(min=floor).log()
    return temperature * (logits - logits.mean(1, keepdim=True))


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


def confidence_change(before, after, probes: Probes, *, mean, std) -> torch.Tensor:
    """Mean over each class's probes of p_u(class | probe) − p(class | probe). -> (k,).

    before, after: attack.BlackBox of the two models. Changes are of the order 1e-5 to 1e-2:
    answers that are rounded to a few digits hide them. Source: Hu et al. 2024, Eqs. 9 and 10.
    """
    k, m = probes.images.shape[:2]
    x = (probes.images.flatten(0, 1) - mean) / std
    labels = torch.arange(k, device=mean.device).repeat_interleave(m)[:, None]
    p, p_u = (box(x).double().gather(1, labels).view(k, m) for box in (before, after))
    return (p_u - p).mean(1)
