"""Shortcuts that mislead, for the section that shows them; and a look at the scores."""

import numpy as np
from scipy.stats import spearmanr

from .groups import SHARE, own_table, owner, tables
from .logit import answers, fit_logistic, influence_on_gap, smooth_gap


def whole_group(data, ridge, seeds, gap) -> np.ndarray:
    """Rise of the gap when every row of group 1 is deleted, far beyond any budget. -> (splits,)"""
    rises = []
    for seed in seeds:
        train, panel = tables(data.resplit(seed))
        before, after = (answers(fit_logistic(t, ridge), panel.x)
                         for t in (train, train.rows(train.group == 0)))
        rises.append(gap(after, panel) - gap(before, panel))
    return np.array(rises)


def on_training_rows(data, ridge, request, seeds, gap) -> np.ndarray:
    """Rise of the gap that the chosen request makes among the training rows. -> (splits,)"""
    rises = []
    for seed in seeds:
        d = data.resplit(seed)
        train, _ = tables(d)
        held, group = owner(d, seed)
        w = fit_logistic(train, ridge)
        score = influence_on_gap(w, own_table(held, group), held.n, ridge)
        rows = request(_tensor(score), held.rows, held.budget).numpy()
        left = train.without(rows)
        again = fit_logistic(left, ridge)
        rises.append(gap(answers(again, left.x), left) - gap(answers(w, train.x), train))
    return np.array(rises)


def predicted_and_real(data, ridge, count, seed):
    """Change of the smooth gap on the own rows by single deletions: predicted, and by retraining.

    -> predicted (count,), real (count,), their rank correlation
    """
    d = data.resplit(seed)
    train, _ = tables(d)
    held, group = owner(d, seed, SHARE)
    own, w = own_table(held, group), fit_logistic(train, ridge)
    score, start = influence_on_gap(w, own, held.n, ridge), smooth_gap(w, own)[0]
    tried = np.random.default_rng(seed).choice(len(own), min(count, len(own)), False)
    real = np.array([smooth_gap(fit_logistic(train.without([held.rows[i]]), ridge), own)[0] - start
                     for i in tried])
    return score[tried], real, float(spearmanr(score[tried], real)[0])


def _tensor(values):
    import torch
    return torch.from_numpy(values)
