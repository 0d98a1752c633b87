"""What a deletion changed: differences of parameters, and the input that one gives away."""

import torch
from torch import nn

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


def leak(model, target, mask=None) -> torch.Tensor:
    """The input of the first linear layer, in closed form. target (d,) -> (inputs,).

    As the model saw it. Unit i of that layer has dL/dW_i = (dL/db_i) · input, so for one deleted
    row any unit with dL/db_i ≠ 0 gives the input away; the units are averaged by (dL/db_i)². On an
    mlp the input is the image itself. mask: None, or (d,) bool, the coordinates to believe; an
    input without any comes out as 0. Source: Phong et al. 2017; Geiping et al. 2020, Prop. 3.1.
    """
    linear = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    biased = [name for name, m in linear.items() if m.bias is not None]
    if not biased:
        raise LabError("The model has no linear layer with a bias: the leak reads inputs from one.")
    names = [f"{biased[0]}.{k}".lstrip(".") for k in ("weight", "bias")]
    weight, bias = (unflat(model, target.double())[name] for name in names)
    if mask is None:
        return bias @ weight / bias.square().sum().clamp(min=1e-300)
    counts, believed = (unflat(model, mask.double())[name] for name in names)
    bias = bias * believed
    return bias @ (weight * counts) / (bias.square() @ counts).clamp(min=1e-300)
