"""A likelihood ratio for each row: U-LiRA, and the attack on the whole population beside it.

Shadows are models that an attacker makes himself, with the provider's recipe. For a row x they are
of two kinds: those that trained on x and then unlearned it, and those that never saw x **and ran
the unlearner on something else**. Source: Hayes et al. 2025, after LiRA (Carlini et al. 2022).
"""

import numpy as np
import torch
from scipy.stats import norm

from labkit.base import LabError


def logit_confidence(logits, y) -> torch.Tensor:
    """log p_y − log(1 − p_y), worked out from logits so that nothing is rounded away. -> (n,).

    logits (n, k), y (n,): close to a Gaussian over models, which a probability is not.
    """
    label = torch.nn.functional.one_hot(y, logits.shape[1]).bool()
    z = logits.double()
    return z[label] - z.masked_fill(label, -torch.inf).logsumexp(1)


def gaussians(scores, inside, floor: float = 1e-3) -> tuple:
    """Mean and standard deviation of each row's scores, on both sides. -> (2, m), (2, m).

    scores (s, m): of s shadows on m rows; inside (s, m) bool: whether the shadow trained on the
    row (and unlearned it). First entry: outside, second: inside. Two shadows a side at least; no
    deviation is below `floor`, or below a tenth of the median of its side.
    """
    scores, inside = np.asarray(scores, float), np.asarray(inside, bool)
    if scores.shape != inside.shape or scores.ndim != 2:
        raise LabError(f"Scores {scores.shape} and sides {inside.shape} differ: give one of each "
                       "for every shadow and row.")
    if min(inside.sum(0).min(), (~inside).sum(0).min()) < 2:
        raise LabError("A row has fewer than two shadows on one side: make more shadows.")
    parts = [np.where(side, scores, np.nan) for side in (~inside, inside)]
    means = np.stack([np.nanmean(p, 0) for p in parts])
    spread = np.stack([np.nanstd(p, 0, ddof=1) for p in parts])
    return means, np.maximum(spread, np.maximum(floor, np.median(spread, 1, keepdims=True) / 10))


def likelihood_ratio(score, means, spread) -> np.ndarray:
    """log N(score | inside) − log N(score | outside): above 0, the row was more likely inside.

    score (…, m); means, spread (2, m) from `gaussians`.
    """
    outside, inside = (norm.logpdf(score, means[s], spread[s]) for s in (0, 1))
    return inside - outside


def per_row_attack(scores, inside, judged) -> np.ndarray:
    """`likelihood_ratio` of judged models by the shadows among the others. -> (j, m).

    scores, inside (s, m): of all models; judged: (j,) positions of those that are attacked, which
    are never among the shadows.
    """
    shadows = np.setdiff1d(np.arange(len(scores)), judged)
    means, spread = gaussians(scores[shadows], inside[shadows])
    return likelihood_ratio(scores[judged], means, spread)


def population_attack(scores, inside, judged) -> np.ndarray:
    """One line for all rows, as in notebook 01: a logistic regression on the score. -> (j, m).

    It learns from the same shadows as `per_row_attack`, without knowing which row a score is of.
    """
    from sklearn.linear_model import LogisticRegression

    shadows = np.setdiff1d(np.arange(len(scores)), judged)
    fitted = LogisticRegression().fit(scores[shadows].reshape(-1, 1), inside[shadows].ravel())
    return fitted.decision_function(scores[judged].reshape(-1, 1)).reshape(len(judged), -1)


def auc(found, truth) -> float:
    """Chance that a member's score lies above a stranger's; ties count one half."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(np.asarray(truth, bool).ravel(), np.asarray(found).ravel()))


def tpr_at_fpr(found, truth, fpr: float = 0.01) -> float:
    """Share of members above the score that at most a share `fpr` of strangers exceeds."""
    found, truth = np.asarray(found).ravel(), np.asarray(truth, bool).ravel()
    strangers = np.sort(found[~truth])[::-1]
    limit = strangers[int(np.floor(fpr * len(strangers)))]
    return float((found[truth] > limit).mean())
