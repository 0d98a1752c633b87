"""Linear models: exact deletion of one row is inverted in closed form with public rows (Bertran et al. 2024)."""

from dataclasses import dataclass

import numpy as np
import torch

from ..base import LabError

LOSSES = ("square", "logistic", "softmax")


@dataclass(frozen=True)
class Rebuilt:
    """row (d,) float64: the deleted row's columns; rank_one: share of the undone step that one row explains, 0 to 1.

    ill_conditioned: the constant's entry is so near 0 that it tells neither the row's length nor its sign.
    """

    row: torch.Tensor
    rank_one: float
    ill_conditioned: bool


def fit_linear(x, y, *, loss: str, penalty: float) -> torch.Tensor:
    """Train a linear model to its optimum by scikit-learn. (n, d), (n,) -> weights (k, d + 1) float64, intercept last.

    Minimises Σ loss + penalty/2 · ‖w‖² (the intercept is free). loss: 'square' (ridge on the one-hot labels; two
    classes: on 0/1), 'logistic' (two classes, k = 1) or 'softmax'.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    if loss not in LOSSES:
        raise LabError(f"There is no loss {loss!r}: choose one of {', '.join(LOSSES)}.")
    x, y = x.double().flatten(1).cpu().numpy(), y.cpu().numpy()
    k = int(y.max()) + 1
    if loss != "square" and (loss == "logistic") != (k == 2):
        raise LabError(f"There are {k} classes: the logistic loss is for two, softmax for more.")
    if not penalty > 0:
        raise LabError(f"The penalty is {penalty!r}: give a number above 0.")
    if not np.isfinite(x).all():
        raise LabError("The rows hold NaN or infinite values: clean them before fitting.")
    if loss == "square":
        goal = y[:, None].astype(float) if k == 2 else np.eye(k)[y]
        fitted = Ridge(alpha=penalty, solver="cholesky").fit(x, goal)
    elif loss == "logistic":
        fitted = LogisticRegression(C=1 / penalty, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(x, y)
    else:
        fitted = LogisticRegression(C=1 / penalty, solver="lbfgs", tol=1e-9, max_iter=5000).fit(x, y)
    return torch.from_numpy(np.c_[np.atleast_2d(fitted.coef_), np.ravel(fitted.intercept_)])


def rebuild_row(before, after, public, *, n: int, loss: str, penalty: float) -> Rebuilt:
    """The one row whose exact deletion turned `before` into `after`.

    before, after: weights (k, d + 1), intercept last; public (m, d): rows of the same kind, no labels needed; n: rows
    trained on before. At both optima the gradient is 0, so H (w_after − w_before) = gradient of the deleted row =
    residual · [x, 1]: exact for the square loss, one Newton step for the others. H is estimated by n / m times that of
    the public rows. That matrix has rank one; the column of ones gives the scale. Where that would make the row longer
    than every public one (ill-conditioned), it gets their median length, and of several outputs the sign whose
    residual fits `before` (with one output some label fits either sign).
    Errors grow with d / m: ten public rows a column give a cosine near 0.95. Source: Bertran et al. 2024 (HRec); the
    rule for ill-conditioned rows is ours.
    """
    if loss not in LOSSES or loss == "softmax" and len(before) < 2:
        raise LabError(f"There is no loss {loss!r} for weights of {len(before)} rows: choose one of "
                       f"{', '.join(LOSSES)}; softmax has a row a class.")
    if before.shape != after.shape or before.shape[1] != public.flatten(1).shape[1] + 1:
        raise LabError(f"The weights are {tuple(before.shape)} and {tuple(after.shape)} for "
                       f"{public.flatten(1).shape[1]} columns: give two of one shape, and a column for the intercept.")
    step = (after - before).double()
    if not step.any():
        raise LabError("The two models are equal: no row was deleted, or the training did not reach the optimum.")
    x = public.double().flatten(1)
    x = torch.cat([x, x.new_ones(len(x), 1)], 1)
    undone = x @ step.T  # (m, k): how the scores of the public rows moved
    if loss != "square":
        scores = x @ before.double().T
        if loss == "logistic":
            p = scores.sigmoid()
            undone = p * (1 - p) * undone
        else:
            p = scores.softmax(1)
            undone = p * (undone - (p * undone).sum(1, keepdim=True))
    gradient = undone.T @ x * (n - 1) / len(x)
    gradient[:, :-1] += penalty * step[:, :-1]
    u, s, v = torch.linalg.svd(gradient, full_matrices=False)
    lengths, row = x.norm(dim=1), v[0] / v[0, -1]
    if ill := bool(row.norm() > lengths.max()):
        c = lengths.median() * v[0, -1].sign()
        signs = (c, -c) if len(before) > 1 else (c,)
        row = v[0] * min(signs, key=lambda c: _misfit(before.double(), v[0] * c, s[0] * u[:, 0] / c, loss))
    return Rebuilt(row[:-1], float(s[0].square() / s.square().sum()), ill)


def _misfit(weights, row, residual, loss):
    """How far prediction less label at [x, 1] is from the residual (k,) that was read, for the label that fits best."""
    scores = weights @ row
    p = scores.softmax(0) if loss == "softmax" else scores
    return float((p - torch.eye(len(p)).to(p) - residual).norm(dim=1).min())
