"""What a deletion changed: the differences of two models' parameters that inversion takes for gradients."""

import torch

from ..base import LabError
from ..unlearn.second_order import curvature_product


def flat(model) -> torch.Tensor:
    """All parameters as one float64 vector, in the order of named_parameters. -> (d,)"""
    return torch.cat([p.detach().double().flatten() for p in model.parameters()])


def unflat(model, vector) -> dict:
    """A vector (d,) cut into the shapes of the model's parameters: dict name -> tensor."""
    sizes = [p.numel() for p in model.parameters()]
    if vector.shape[-1] != sum(sizes):
        raise LabError(f"The vector has {vector.shape[-1]} numbers and the model {sum(sizes)} weights: give a "
                       "difference of two versions of this model.")
    return {k: part.view(p.shape) for (k, p), part in zip(model.named_parameters(), vector.split(sizes), strict=True)}


def difference(before, after) -> torch.Tensor:
    """θ_u − θ in float64: the *naive* target. -> (d,).

    Training subtracts gradients, so leaving rows out, or walking uphill on them, adds theirs: this sign is that of
    the gradient of the deleted rows (Hu et al. 2024, Eq. 2). Needs to know: both models.
    """
    if [p.shape for p in before.parameters()] != [p.shape for p in after.parameters()]:
        raise LabError("The two models have parameters of different shapes, so they have no difference: give two "
                       "versions of one network.")
    return moved(flat(after) - flat(before))


def weighted_difference(start, before, after, n: int, u: int) -> torch.Tensor:
    """(n − u)(θ_u − θ_0) − n(θ − θ_0) in float64: the *informed* target, matched at θ_0. -> (d,).

    start: θ_0, where both trainings began; n rows before, u of them deleted. After one full-batch step each this is
    lr times the summed gradient of the deleted rows, exactly. Needs to know: θ_0, n and u, more than the server of
    the threat model. Source: the released code of Hu et al. 2024.
    """
    if not 0 < u < n:
        raise LabError(f"{u} of {n} rows deleted: give 0 < u < n, as the weights are n and n − u.")
    return moved((n - u) * difference(start, after) - n * difference(start, before))


def through_curvature(model, vector, x, y, *, damping: float) -> torch.Tensor:
    """The vector times (C + damping · I), with C the Gauss-Newton curvature of the mean loss at public rows. -> (d,).

    Influence unlearning moves by C⁻¹ g, so its difference must be multiplied back before a gradient can be matched to
    it (as HRec does for linear models, Bertran et al. 2024). Needs to know: the damping, and labelled public rows.
    """
    params = {k: p.detach() for k, p in model.named_parameters()}
    v = unflat(model, vector.to(x.dtype))
    product = curvature_product(model, params, x, y, v, "gauss-newton", damping)
    return torch.cat([product[k].double().flatten() for k in params])


def moved(vector) -> torch.Tensor:
    """The vector, unless all of it is 0: then LabError."""
    if not vector.any():
        raise LabError("The two models are equal: their difference is zero, so there is nothing to invert. Was the "
                       "request carried out?")
    return vector
