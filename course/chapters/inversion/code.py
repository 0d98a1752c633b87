"""Readers of a deletion: linear models undone, guesses from a difference, labels from probes."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from labkit.attack.differences import difference, moved, unflat
from labkit.attack.requests import params_of
from labkit.base import LabError
from labkit.measure.images import mse
from labkit.rules import checked
from labkit.unlearn.second_order import curvature_product

LOSSES = ("square", "logistic", "softmax")


@dataclass(frozen=True)
class Rebuilt:
    """row (d,) float64: the deleted row's columns.

    rank_one: share of the undone step that one row explains, 0 to 1; ill_conditioned: the
    constant's entry is so near 0 that it tells neither the row's length nor its sign.
    """

    row: torch.Tensor
    rank_one: float
    ill_conditioned: bool


@checked(penalty="above 0")
def fit_linear(x, y, *, loss: str, penalty: float) -> torch.Tensor:
    """Train a linear model to its optimum by scikit-learn.

    (n, d), (n,) -> weights (k, d + 1) float64, intercept last. Minimises Σ loss + penalty/2 · ‖w‖²
    (the intercept is free). loss: 'square' (ridge on the one-hot labels; two classes: on 0/1),
    'logistic' (two classes, k = 1) or 'softmax'.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    if loss not in LOSSES:
        raise LabError(f"There is no loss {loss!r}: choose one of {', '.join(LOSSES)}.")
    x, y = x.double().flatten(1).cpu().numpy(), y.cpu().numpy()
    k = int(y.max()) + 1
    if loss != "square" and (loss == "logistic") != (k == 2):
        raise LabError(f"There are {k} classes: the logistic loss is for two, softmax for more.")
    if not np.isfinite(x).all():
        raise LabError("The rows hold NaN or infinite values: clean them before fitting.")
    if loss == "square":
        goal = y[:, None].astype(float) if k == 2 else np.eye(k)[y]
        fitted = Ridge(alpha=penalty, solver="cholesky").fit(x, goal)
    elif loss == "logistic":
        fitted = LogisticRegression(C=1 / penalty, solver="newton-cholesky", tol=1e-10,
                                    max_iter=1000).fit(x, y)
    else:
        fitted = LogisticRegression(C=1 / penalty, solver="lbfgs", tol=1e-9,
                                    max_iter=5000).fit(x, y)
    return torch.from_numpy(np.c_[np.atleast_2d(fitted.coef_), np.ravel(fitted.intercept_)])


@checked(penalty="above 0")
def rebuild_row(before, after, public, *, n: int, loss: str, penalty: float) -> Rebuilt:
    """The one row whose exact deletion turned `before` into `after`.

    before, after: weights (k, d + 1), intercept last; public (m, d): rows of the same kind, no
    labels needed; n: rows trained on before. At both optima the gradient is 0, so
    H (w_after − w_before) = gradient of the deleted row = residual · [x, 1]: exact for the square
    loss, one Newton step for the others. H is estimated by n / m times that of the public rows.
    That matrix has rank one; the column of ones gives the scale. Where that would make the row
    longer than every public one (ill-conditioned), it gets their median length, and of several
    outputs the sign whose residual fits `before` (with one output some label fits either sign).
    Errors grow with d / m: ten public rows a column give a cosine near 0.95. Source: Bertran et al.
    2024 (HRec); the rule for ill-conditioned rows is ours.
    """
    d = public.flatten(1).shape[1]
    if loss not in LOSSES or loss == "softmax" and len(before) < 2:
        raise LabError(f"There is no loss {loss!r} for weights of {len(before)} rows: choose one "
                       f"of {', '.join(LOSSES)}; softmax has a row a class.")
    if before.shape != after.shape or before.shape[1] != d + 1:
        raise LabError(f"The weights are {tuple(before.shape)} and {tuple(after.shape)} for {d} "
                       "columns: give two of one shape, and a column for the intercept.")
    step, before, x = (after - before).double(), before.double(), public.double().flatten(1)
    if not step.any():
        raise LabError("The two models are equal: no row was deleted, or the training did not "
                       "reach the optimum.")
    x = torch.cat([x, x.new_ones(len(x), 1)], 1)
    gradient = _undone(x, before, step, loss).T @ x * (n - 1) / len(x)
    gradient[:, :-1] += penalty * step[:, :-1]
    u, s, v = torch.linalg.svd(gradient, full_matrices=False)
    lengths, row = x.norm(dim=1), v[0] / v[0, -1]
    if ill := bool(row.norm() > lengths.max()):
        c = lengths.median() * v[0, -1].sign()
        signs = (c, -c) if len(before) > 1 else (c,)
        row = v[0] * min(signs, key=lambda c: _misfit(before, v[0] * c, s[0] * u[:, 0] / c, loss))
    return Rebuilt(row[:-1], float(s[0].square() / s.square().sum()), ill)


def _undone(x, weights, step, loss):
    """How the residuals of the rows x moved with the step, to first order. -> (m, k)"""
    moved_scores = x @ step.T
    if loss == "square":
        return moved_scores
    scores = x @ weights.T
    if loss == "logistic":
        p = scores.sigmoid()
        return p * (1 - p) * moved_scores
    p = scores.softmax(1)
    return p * (moved_scores - (p * moved_scores).sum(1, keepdim=True))


def _misfit(weights, row, residual, loss):
    """How far prediction less label at [x, 1] is from the residual (k,), for the best label."""
    scores = weights @ row
    p = scores.softmax(0) if loss == "softmax" else scores
    return float((p - torch.eye(len(p)).to(p) - residual).norm(dim=1).min())


def weighted_difference(start, before, after, n: int, u: int) -> torch.Tensor:
    """(n − u)(θ_u − θ_0) − n(θ − θ_0) in float64: the *informed* target, matched at θ_0. -> (d,).

    start: θ_0, where both trainings began; n rows before, u of them deleted. After one full-batch
    step each this is lr times the summed gradient of the deleted rows, exactly. Needs to know: θ_0,
    n and u, more than the server of the threat model. Source: the released code of Hu et al. 2024.
    """
    if not 0 < u < n:
        raise LabError(f"{u} of {n} rows deleted: give 0 < u < n, as the weights are n and n − u.")
    return moved((n - u) * difference(start, after) - n * difference(start, before))


def through_curvature(model, vector, x, y, *, damping: float) -> torch.Tensor:
    """The vector times (C + damping · I), C the Gauss-Newton curvature at public rows. -> (d,).

    Of the mean loss. Influence unlearning moves by C⁻¹ g, so its difference must be multiplied back
    before a gradient can be matched to it (as HRec does for linear models, Bertran et al. 2024).
    Needs to know: the damping, and labelled public rows.
    """
    params = params_of(model)
    v = unflat(model, vector.to(x.dtype))
    product = curvature_product(model, params, x, y, v, "gauss-newton", damping)
    return torch.cat([product[k].double().flatten() for k in params])


def label_of_update(model, target, count: int = 1) -> torch.Tensor:
    """Labels of `count` deleted rows from the last layer's bias: (d,) -> (count,), sorted.

    Without any search. The gradient of that bias is the mean of p − onehot(y): one row makes its
    own label's entry the only negative one. For more rows, the most negative entry is named,
    1/count is added back, and so on (which ignores p, so it is a guess). Source: Zhao et al. 2020
    (iDLG) for one row.
    """
    *_, (name, bias) = model.named_parameters()
    if not name.endswith("bias") or bias.dim() != 1:
        raise LabError("The model's last parameter is not a bias: the label is read from the last "
                       "layer's bias.")
    size, some = sum(p.numel() for p in model.parameters()), target.any()
    if not some or len(target) != size or not 0 < count <= len(target):
        raise LabError(f"The target has {len(target)} numbers, {'some' if some else 'none'} of "
                       f"them not 0, and {count} labels were asked for: give a difference of two "
                       "versions of this model.")
    p_minus_y = target[-len(bias):].clone()
    p_minus_y /= -p_minus_y[p_minus_y < 0].sum()  # the step's size is not known; this part is ~ −1
    found = []
    for _ in range(count):
        found.append(int(p_minus_y.argmin()))
        p_minus_y[found[-1]] += 1 / count
    return torch.tensor(sorted(found))


def ssim(images, originals) -> torch.Tensor:
    """Structural similarity (Wang et al. 2004, 11×11 Gaussian window), −1 to 1.

    (n, c, h, w) twice -> (n,).
    """
    mse(images, originals)  # refuses what is not in [0, 1]
    # written out: importing torchmetrics takes longer than measuring
    a, b, channels = images.float(), originals.float(), images.shape[1]
    bell = torch.exp(-(torch.arange(-5.0, 6, device=a.device) ** 2) / (2 * 1.5**2))
    window = (bell.outer(bell) / bell.sum() ** 2).expand(channels, 1, -1, -1)
    parts = F.pad(torch.cat([a, b, a * a, b * b, a * b]), (5, 5, 5, 5), mode="reflect")
    mean_a, mean_b, aa, bb, ab = F.conv2d(parts, window, groups=channels).chunk(5)
    squares, product = mean_a**2 + mean_b**2, mean_a * mean_b
    spread = (aa - mean_a**2).clamp(min=0) + (bb - mean_b**2).clamp(min=0)
    alike = (2 * product + 0.01**2) * (2 * (ab - product) + 0.03**2)
    return (alike / ((squares + 0.01**2) * (spread + 0.03**2))).flatten(1).mean(1)


def assign(images, originals) -> torch.Tensor:
    """The order of a rebuilt batch that fits the originals best.

    (u, c, h, w) twice -> (u,) indices into images. A mean gradient does not say in which order the
    rows stood, so the judge may sort them (least total MSE).
    """
    from scipy.optimize import linear_sum_assignment

    cost = (images[None].double() - originals[:, None].double()).square().mean((-3, -2, -1))
    return torch.from_numpy(linear_sum_assignment(cost.cpu().numpy())[1]).to(images.device)
