"""What the attack by row sees of each method, of the rows that stay, and what F says."""

import numpy as np
from scipy.stats import kendalltau

from .quality import epsilon
from .shadows import TARGETS, WATCHED
from .ulira import auc, gaussians, per_row_attack, population_attack, tpr_at_fpr

FOLDS = 3


def folds(count: int) -> list:
    """The worlds judged in each of three turns; pairs of worlds stay together."""
    pairs = np.arange(count // 2)
    return [np.sort(np.r_[2 * p, 2 * p + 1]) for p in np.array_split(pairs, FOLDS)]


def found_by(attack, scores, inside) -> np.ndarray:
    """An attack's values for every world, each judged by shadows of the other folds. -> (s, m)

    attack: (scores, inside, judged) -> (j, m), as in `ulira`.
    """
    found = np.empty(scores.shape)
    for judged in folds(len(scores)):
        found[judged] = attack(scores, inside, judged)
    return found


def by_world(found, inside) -> np.ndarray:
    """AUC in each judged world, over its targets: inside (and unlearned) against outside."""
    return np.array([auc(f, i) for f, i in zip(found, inside, strict=True)])


def row_contest(scores, inside, by_row=per_row_attack) -> dict:
    """Both attacks on the targets. -> row, population: AUCs by world; pooled, tpr: of all pairs.

    by_row: an attack as found_by takes it. found: its values (s, 50).
    """
    scores, inside = scores[:, :TARGETS], inside[:, :TARGETS]
    row, all_ = (found_by(a, scores, inside) for a in (by_row, population_attack))
    return {"row": by_world(row, inside), "population": by_world(all_, inside),
            "pooled": (auc(row, inside), auc(all_, inside)),
            "tpr": (tpr_at_fpr(row, inside), tpr_at_fpr(all_, inside)), "found": row}


def exposure(scores, inside) -> np.ndarray:
    """How far apart the two Gaussians of each row lie, in their mean deviation. (s, m) -> (m,)"""
    means, spread = gaussians(scores, inside)
    return (means[1] - means[0]) / np.sqrt((spread**2).mean(0))


def more_exposed(scores, inside, names) -> dict:
    """Watched rows that a method exposes more than retraining does, beyond retraining's own noise.

    The base is a retraining with seeds of its own, for a method shares the luck of the original's
    seed. The limit is the 97.5 % point of what yet another retraining adds to the base: a method
    that is one more retraining passes it in a share of 0.025. -> {name: (200,)}
    """
    at = slice(TARGETS, TARGETS + WATCHED)
    watched = {name: exposure(s[:, at], inside[:, at]) for name, s in scores.items()}
    base = watched["retraining again"]
    limit = np.quantile(watched["retraining once more"] - base, 0.975, method="weibull")
    return {name: (watched[name] - base > limit).astype(float) for name in names}


def vulnerable(scores, inside, share=0.2) -> list:
    """For each fold, the targets that lie furthest apart in the **untouched** shadows of others."""
    chosen = []
    for judged in folds(len(scores)):
        shadows = np.setdiff1d(np.arange(len(scores)), judged)
        apart = exposure(scores[shadows, :TARGETS], inside[shadows, :TARGETS])
        chosen.append(np.argsort(-apart)[: max(1, round(share * TARGETS))])
    return chosen


def on_rows(found, inside, chosen) -> float:
    """Pooled AUC on the chosen targets of each fold only."""
    parts = [(found[np.ix_(judged, rows)].ravel(), inside[np.ix_(judged, rows)].ravel())
             for judged, rows in zip(folds(len(found)), chosen, strict=True)]
    return auc(*(np.concatenate(p) for p in zip(*parts, strict=True)))


def epsilons(scores, other, inside) -> np.ndarray:
    """ε of each target: the worlds that had it, after the method and after retraining. -> (50,)"""
    return np.array([epsilon(scores[inside[:, j], j], other[inside[:, j], j])
                     for j in range(TARGETS)])


def qualities(scores, inside, names) -> dict:
    """H of each target, by method, against retraining with seeds of its own; F is the mean of H.

    -> {name: (50,)}, see `quality`.
    """
    found = {}
    for name in names:
        eps = epsilons(scores[name], scores["retraining again"], inside)
        bins = np.floor(np.minimum(eps, 99) / 0.5)
        found[name] = np.where(bins < 13, 2.0 ** -bins, 0.0)
    return found


def tau_interval(halvings, gap, draws=500) -> tuple:
    """Kendall's tau of the orders by F and by a small gap, and its interval. -> tau, low, high

    halvings: method -> (50,) of `qualities`; gap: method -> (g,), points. The interval is the
    middle 95 % of tau over targets and networks drawn anew, with replacement.
    """
    h, g = (np.array([list(d[m]) for m in halvings]) for d in (halvings, gap))
    rng = np.random.default_rng(0)

    def drawn(a):
        return a[:, rng.integers(a.shape[1], size=a.shape[1])].mean(1)

    found = [kendalltau(drawn(h), -drawn(g)).statistic for _ in range(draws)]
    low, high = np.nanquantile(found, (0.025, 0.975))
    return float(kendalltau(h.mean(1), -g.mean(1)).statistic), float(low), float(high)
