"""Targets of an attack and what is aimed at there: a margin, a flipped label."""

import torch

from ..base import LabError
from ..rules import checked


@checked
def pick_targets(probabilities, labels, count, seed, low=0.6, high=0.97) -> torch.Tensor:
    """Targets by a rule fixed beforehand: classified right, confidence between low and high.

    Drawn at random. (n, k), (n,) -> indices into the rows given, (count,). The rule looks at the
    model before any attack.
    """
    confidence, called = probabilities.max(1)
    fit = (called == labels) & (confidence >= low) & (confidence <= high)
    fit = fit.nonzero().squeeze(1).cpu()
    if len(fit) < count:
        raise LabError(f"{count} targets were asked for and {len(fit)} rows are classified right "
                       f"with a confidence from {low} to {high}: ask for fewer, or widen the "
                       "range.")
    return fit[torch.randperm(len(fit), generator=torch.Generator().manual_seed(seed))[:count]]


def margin(outputs, label):
    """Logit of the label minus the largest other one; positive while the label holds.

    (…, k) -> (…).
    """
    others = outputs.clone()
    others[..., label] = -torch.inf
    return outputs[..., label] - others.amax(-1)


def label_flip(label):
    """The older attack, for comparison: minimise the margin until another label wins."""
    return lambda z: margin(z, label)
