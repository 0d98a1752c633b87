"""Attackers who know what was done to a release: averages, imitated paths, masks, logarithms."""

import copy

import torch

from labkit.attack.differences import difference, flat, moved
from labkit.attack.labels import Probes
from labkit.base import LabError
from labkit.rules import checked


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
