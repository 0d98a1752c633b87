"""Attackers who know the defence: what is left of noise, pruning, fine-tuning and changed answers."""


import torch

from .differences import flat


def kept(model) -> torch.Tensor:
    """Which parameters of a released model are not exactly zero, in the order of `flat`. -> (d,) bool.

    Pass it as `mask` to `invert`, with the difference of the models as target: magnitude pruning replaces a pruned
    weight's movement by −θ, which drowns the rest, but it says where. Needs to know: both models, nothing more.
    """
    return flat(model) != 0


