"""How far a network is from the retrained one: in four measures, in weights, and by the bound."""

import torch
import torch.nn.functional as F

from labkit.base import LabError
from labkit.measure.accuracy import gap
from labkit.rules import checked
from labkit.unlearn.masks import fitting

from .code import attach_mask


@checked(lr=None, steps=None)
def ascent_bound(model, initial, data, *, lr, steps, mask=None, n_rows=500, iterations=30,
                 seed=0) -> dict:
    """η² t ‖m ∘ (θ_t − θ_0)‖₂ σ(m), bounds ascent's distance to retraining, up to a constant.

    model: θ_t, after `steps` = t steps of training at rate `lr` = η from `initial` = θ_0; mask: m,
    or None for dense. -> bound, path (the norm), sigma: the largest singular value of the Hessian
    of the mean loss over the kept weights (biases count as kept), by power iteration on `n_rows`
    random training rows. The proposition takes for granted, and a real run breaks: plain SGD at
    one rate (else give the mean rate; a guide only); an expansion about θ_0, so that σ should be
    taken along the way and is taken at its end; one pass of ascent that undoes one descent; one
    mask for the original, the ascent and the retrained model. Compare values over sparsity, never
    with the measured distance. Source: Jia et al. 2023, Prop. 2, after Thudi et al. 2022.
    """
    mask = mask or {}
    start, end = fitting(initial, mask), fitting(model, mask)
    if [p.shape for p in start.values()] != [p.shape for p in end.values()]:
        raise LabError("The model and its initial state have weights of different shapes: give two "
                       "states of one network.")
    with torch.no_grad():
        gaps = [(end[k] - start[k]) * mask.get(k, True) for k in end]
        path = float(sum((g.cpu().double() ** 2).sum() for g in gaps) ** 0.5)
    sigma = _largest_curvature(attach_mask(model, mask).eval(), data, n_rows, iterations, seed)
    return {"bound": lr**2 * steps * path * sigma, "path": path, "sigma": sigma}


def _largest_curvature(net, data, n_rows, iterations, seed):
    """Power iteration; H v is the gradient of (gradient · v), whose first half is taken once."""
    weights = list(net.parameters())
    draw = torch.Generator().manual_seed(seed)
    pick = torch.randperm(len(data.y), generator=draw)[:n_rows].to(data.y.device)
    v = [torch.randn(p.shape, generator=draw).to(p) for p in weights]
    loss = F.cross_entropy(net(data.x[pick]), data.y[pick])
    slopes = torch.autograd.grad(loss, weights, create_graph=True)
    for _ in range(iterations):
        size = _norm(v)
        v = torch.autograd.grad(slopes, weights, [t / size for t in v], retain_graph=True)
    return _norm(v)


def _norm(v):
    return float(sum((t**2).sum() for t in v) ** 0.5)


def disparity(row, reference) -> float:
    """Mean of |method − retrained| over UA, MIA, RA and TA, in points (Jia et al. 2023). 0 is best.

    MIA: svc_mia's efficacy. For pruned models the reference is the retrained model of **the same
    sparsity**: it is weaker than the dense one, so that less disparity is not yet a better model.
    """
    return gap(row, reference, ("UA", "MIA", "RA", "TA"))


@torch.no_grad()
def weight_distance(a, b) -> float:
    """l2 distance of two models' parameters, matched by name; LabError for two architectures."""
    p, q = dict(a.named_parameters()), dict(b.named_parameters())
    if {k: t.shape for k, t in p.items()} != {k: t.shape for k, t in q.items()}:
        raise LabError("The two models have different parameters: a weight distance needs one "
                       "architecture.")
    return float(sum(((p[k] - q[k]).cpu().double() ** 2).sum() for k in p) ** 0.5)
