"""What a deletion changed: the differences of parameters that inversion takes for gradients."""

import torch

from ..base import LabError


def flat(model) -> torch.Tensor:
    """All parameters as one float64 vector, in the order of named_parameters. -> (d,)"""
    return torch.cat([p.detach().double().flatten() for p in model.parameters()])


def unflat(model, vector) -> dict:
    """A vector (d,) cut into the shapes of the model's parameters: dict name -> tensor."""
    sizes = [p.numel() for p in model.parameters()]
    if vector.shape[-1] != sum(sizes):
        raise LabError(f"The vector has {vector.shape[-1]} numbers and the model {sum(sizes)} "
                       "weights: give a difference of two versions of this model.")
    parts = zip(model.named_parameters(), vector.split(sizes), strict=True)
    return {name: part.view(p.shape) for (name, p), part in parts}


def kept(model) -> torch.Tensor:
    """Which parameters of a released model are not exactly zero, in the order of `flat`. -> (d,)

    Pass it as `mask` to `invert`, with the difference of the models as target: magnitude pruning
    replaces a pruned weight's movement by −θ, which drowns the rest, but it says where. Needs to
    know: both models, nothing more.
    """
    return flat(model) != 0


def difference(before, after) -> torch.Tensor:
    """θ_u − θ in float64: the *naive* target. -> (d,).

    Training subtracts gradients, so leaving rows out, or walking uphill on them, adds theirs: this
    sign is that of the gradient of the deleted rows (Hu et al. 2024, Eq. 2). Needs to know: both
    models.
    """
    if [p.shape for p in before.parameters()] != [p.shape for p in after.parameters()]:
        raise LabError("The two models have parameters of different shapes, so they have no "
                       "difference: give two versions of one network.")
    return moved(flat(after) - flat(before))


def moved(vector) -> torch.Tensor:
    """The vector, unless all of it is 0: then LabError."""
    if not vector.any():
        raise LabError("The two models are equal: their difference is zero, so there is nothing to "
                       "invert. Was the request carried out?")
    return vector
