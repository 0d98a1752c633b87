"""Attackers who know the defence: what is left of noise, pruning, fine-tuning and changed answers."""

import copy

import torch

from ..base import LabError
from .differences import difference, flat, moved


def kept(model) -> torch.Tensor:
    """Which parameters of a released model are not exactly zero, in the order of `flat`. -> (d,) bool.

    Pass it as `mask` to `invert`, with the difference of the models as target: magnitude pruning replaces a pruned
    weight's movement by −θ, which drowns the rest, but it says where. Needs to know: both models, nothing more.
    """
    return flat(model) != 0


def masked(vector, mask) -> torch.Tensor:
    """The vector with zeros where the mask is False: what `invert` makes of its targets. (…, d), (…, d) bool -> (…, d).

    Raises LabError if nothing is left. Needs to know: both models, as `kept`.
    """
    if vector.shape[-1] != mask.shape[-1]:
        raise LabError(f"The vector has {vector.shape[-1]} numbers and the mask {mask.shape[-1]}: take both from "
                       "versions of one model.")
    left = torch.where(mask, vector, 0.0)
    if not left.any():
        raise LabError("Under the mask the vector is zero: no coordinate that moved is left to compare.")
    return left


def average(releases):
    """The mean of several releases of one model, in float64. -> a model.

    Fresh noise on each of n releases leaves noise of 1/√n; the same noise on all of them leaves all of it.
    Needs to know: n releases of the same θ_u, e.g. answers to n requests that change nothing.
    """
    releases = list(releases)
    if not releases or len({tuple(p.shape for p in m.parameters()) for m in releases}) != 1:
        raise LabError("Only releases of one network have a mean: give at least one model, all of the same shapes.")
    mean = copy.deepcopy(releases[0]).double()
    with torch.no_grad():
        for p, *parts in zip(mean.parameters(), *(m.parameters() for m in releases), strict=True):
            p.copy_(torch.stack([q.double() for q in parts]).mean(0))
    return mean


def subtract_path(before, after, imitations) -> torch.Tensor:
    """(θ_u' − θ) − (θ' − θ): the movement of a fine-tuned release less that of imitated fine-tuning. -> (d,).

    after: θ_u', unlearned and then fine-tuned. imitations: models θ' that the attacker fine-tuned from θ in the same
    way, e.g. defend.finetune_release(theta, x, y, …) for some seeds; their mean movement is subtracted.
    Needs to know: steps, learning rate and batch size of the fine-tuning, and its rows: other rows of the same
    distribution subtract a path of their own noise (on Fashion-MNIST they gained nothing). In small batches also their
    order, that is the seed.
    """
    imitations = list(imitations)
    if not imitations:
        raise LabError("There is no imitation to subtract: give at least one fine-tuned copy of the original.")
    return moved(difference(before, after) - torch.stack([difference(before, m) for m in imitations]).mean(0))


def rescale(probabilities, temperature: float = 1.0, floor: float = 1e-38) -> torch.Tensor:
    """Logits from answers, up to a constant: T (log p − its mean over classes), in float64. (n, k) -> (n, k).

    A temperature only divides these by T. Without knowing T leave it at 1: all changes shrink alike, and the class
    that falls most stays the same. `confidence_change(lambda x: rescale(before(x)), lambda x: rescale(after(x)),
    probes, …)` compares them in place of probabilities; rescale(p, T).softmax(1) are the probabilities at T = 1.
    floor: smallest answer that is believed; for answers of d decimals give 0.5 · 10^−d.
    Needs to know: answers; T only where sizes matter.
    """
    if not 0 < temperature < float("inf") or not 0 < floor < 1:
        raise LabError(f"Temperature {temperature} and floor {floor}: give a positive temperature, and a floor between "
                       "0 and 1.")
    logits = probabilities.double().clamp(min=floor).log()
    return temperature * (logits - logits.mean(1, keepdim=True))
