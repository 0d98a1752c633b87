"""Readers of a deletion: linear models undone, guesses from a difference, labels from probes."""

from dataclasses import dataclass

import numpy as np
import torch

from labkit.attack.differences import difference, moved, unflat
from labkit.attack.labels import Probes, noise
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


@checked
def probes_by_queries(box, n_classes: int, count: int, *, shape, mean, std, steps=100,
                      coordinates=64, lr=0.1, h=1e-2, enough=0.9995, seed=0) -> Probes:
    """Black-box probes: the same search by zeroth-order coordinate descent with Adam.

    box: attack.BlackBox. Each of `steps` iterations asks 2 · `coordinates` answers a probe,
    symmetric differences of h pixels at random coordinates; a probe that is sure enough asks no
    more. lr falls to a fifth at confidence 0.9. Source: ZOO, Chen et al. 2017.
    """
    x, labels = noise(n_classes, count, shape, seed, mean)
    flat, draw, asked = x.flatten(1), torch.Generator().manual_seed(seed + 1), box.queries
    first, second, times = (torch.zeros_like(flat) for _ in range(3))
    if not 0 < coordinates <= flat.shape[1]:
        raise LabError(f"{coordinates} coordinates of {flat.shape[1]}: give at least 1 and at most "
                       "all of them.")

    def confidence(pixels, y):
        return box((pixels.view(-1, *shape) - mean) / std).gather(1, y[:, None]).squeeze(1)

    p = confidence(flat, labels)
    for _ in range(steps):
        open_ = (p < enough).nonzero().squeeze(1)
        if not len(open_):
            break
        where = torch.rand(len(open_), flat.shape[1], generator=draw).topk(coordinates).indices
        where = where.to(flat.device)
        p_beside = confidence(_beside(flat[open_], where, h).flatten(0, 1),
                              labels[open_].repeat_interleave(2 * coordinates))
        loss = -p_beside.clamp(min=1e-12).log()
        up, down = loss.view(len(open_), 2, coordinates).unbind(1)
        g, i = (up - down) / (2 * h), (open_[:, None], where)
        times[i] += 1
        first[i], second[i] = 0.9 * first[i] + 0.1 * g, 0.999 * second[i] + 0.001 * g**2
        spread = (second[i] / (1 - 0.999 ** times[i])).sqrt() + 1e-8
        step = first[i] / (1 - 0.9 ** times[i]) / spread
        rate = torch.where(p[open_] > 0.9, lr / 5, lr)[:, None]
        flat[i] = (flat[i] - rate * step).clamp(0, 1)
        p[open_] = confidence(flat[open_], labels[open_])
    queries = (box.queries - asked) / len(flat)
    return Probes(flat.view(n_classes, count, *shape), p.view(n_classes, count), queries)


def _beside(flat, where, h):
    """Each image (n, d) with h more at each of the coordinates (n, c), then less. -> (n, 2c, d)"""
    images = flat[:, None].repeat(1, 2 * where.shape[1], 1)
    at = torch.cat([where, where], 1)[..., None]
    signs = torch.cat([torch.full_like(where, 1), torch.full_like(where, -1)], 1)
    return images.scatter_add_(2, at, (signs[..., None] * h).to(images))


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
    from torchmetrics.functional.image import structural_similarity_index_measure

    mse(images, originals)  # refuses what is not in [0, 1]
    return structural_similarity_index_measure(images.float(), originals.float(), data_range=1.0,
                                               reduction="none")


def assign(images, originals) -> torch.Tensor:
    """The order of a rebuilt batch that fits the originals best.

    (u, c, h, w) twice -> (u,) indices into images. A mean gradient does not say in which order the
    rows stood, so the judge may sort them (least total MSE).
    """
    from scipy.optimize import linear_sum_assignment

    cost = (images[None].double() - originals[:, None].double()).square().mean((-3, -2, -1))
    return torch.from_numpy(linear_sum_assignment(cost.cpu().numpy())[1]).to(images.device)
