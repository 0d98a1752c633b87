"""Membership inference against a model: what an attacker reads from losses and answers."""

import numpy as np
import torch
import torch.nn.functional as F

from labkit.base import Diverged, LabError, NotForThisData
from labkit.measure.uncertainty import entropy
from labkit.training import predict


def loss_scores(logits, labels) -> np.ndarray:
    """Membership score of each row: minus its cross-entropy, so that members score high.

    (n, k), (n,) -> (n,).
    """
    return -F.cross_entropy(logits.cpu().double(), labels.cpu(), reduction="none").numpy()


def auc(members, others) -> float:
    """Chance that a member scores higher than a non-member; ties count half.

    (n,), (m,) -> 0 to 1; 0.5 is blind.
    """
    members, others = _two(members, others)
    others = np.sort(others)
    below, up_to = (np.searchsorted(others, members, side) for side in ("left", "right"))
    return float((below + up_to).mean() / 2 / len(others))


def best_threshold(members, others) -> float:
    """The score above which calling a row a member is right most often, both sides equal."""
    members, others = _two(members, others)
    candidates = np.unique(np.concatenate([members, others]))
    between = (candidates[1:] + candidates[:-1]) / 2
    middles = np.concatenate([[candidates[0] - 1], between, [candidates[-1] + 1]])
    tpr = 1 - np.searchsorted(np.sort(members), middles, "right") / len(members)
    fpr = 1 - np.searchsorted(np.sort(others), middles, "right") / len(others)
    return float(middles[np.argmax(tpr - fpr)])


def population_attack(forget_features, test_features, attack="logistic", folds=10, seed=0) -> dict:
    """One rule for all rows, fitted and judged on different folds: forget set against test rows.

    features: (n,) scores or (n, d) features. attack: 'threshold' (first column only) or 'logistic'
    (standardised, both sides weighted equally). Returns auc and balanced accuracy, each the mean
    over the held-out folds. 0.5 means that the model answers the forget set as it answers
    strangers. Source: the NeurIPS 2023 unlearning challenge's starting kit (logistic regression on
    losses, 10 folds).
    """
    from sklearn.model_selection import StratifiedKFold

    sides = forget_features, test_features
    a, b = (np.asarray(features, float).reshape(len(features), -1) for features in sides)
    x, y = np.concatenate([a, b]), np.r_[np.ones(len(a)), np.zeros(len(b))]
    if not np.isfinite(x).all():
        raise LabError("A membership feature is NaN or infinite: look for the model that diverged.")
    if min(len(a), len(b)) < folds:
        raise LabError(f"A {folds}-fold attack needs {folds} rows on each side and got {len(a)} "
                       f"and {len(b)}.")
    aucs, accuracies = [], []
    for fit_rows, held_out in StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, y):
        score, called = _attack_fold(attack, x[fit_rows], y[fit_rows], x[held_out])
        member = y[held_out] == 1
        aucs.append(auc(score[member], score[~member]))  # scores of several rules are not pooled
        accuracies.append((called[member].mean() + 1 - called[~member].mean()) / 2)
    return {"auc": float(np.mean(aucs)), "accuracy": float(np.mean(accuracies))}


def label_free_features(logits) -> np.ndarray:
    """What tells without the label: largest probability and entropy. (n, k) -> (n, 2)."""
    probabilities = logits.cpu().double().softmax(1)  # Apple's GPUs have no double precision
    return torch.stack([probabilities.max(1).values, entropy(probabilities)], 1).numpy()


def membership_scores(model, data, forget) -> list:
    """What the loss attack compares: [(weight, scores of forgotten rows, scores of strangers)].

    Strangers are all test rows; where whole classes are forgotten, the test rows of these classes
    alone: rows of other classes would be told apart by their class, not by membership. Where whole
    classes are forgotten beside other rows, each forgotten row meets the test rows of its own
    class: one entry a class, weighted by its forgotten rows. The weights add up to 1.
    """
    split = data.split(forget)
    y, dropped = data.y[split.forget], list(split.dropped)
    own = y.unique().tolist()
    kinds = [dropped] if own == dropped else [[c] for c in own]
    if not dropped:
        kinds = [range(data.n_classes)]
    unseen = set(data.y_test.tolist())
    if dropped and (alone := [data.classes[c] for c in own if c not in unseen]):
        raise NotForThisData(f"The test set has no row of the class {alone[0]!r}, so there is "
                             "nobody to compare its forgotten rows with: add test rows of it, or "
                             "keep some of its training rows.")
    found = []
    for labels in kinds:
        labels = torch.tensor(list(labels), device=data.device)
        mine = split.forget[torch.isin(y, labels)]
        strangers = torch.isin(data.y_test, labels).nonzero().squeeze(1)
        inside = loss_scores(predict(model, data.x[mine]), data.y[mine])
        outside = loss_scores(predict(model, data.x_test[strangers]), data.y_test[strangers])
        found.append((len(mine) / len(y), inside, outside))
    return found


def over_kinds(attack, found) -> float:
    """Mean of attack(members, strangers) over membership_scores, weighted; NaN for a lost run."""
    if found is None:
        return float("nan")
    return float(sum(weight * attack(inside, outside) for weight, inside, outside in found))


def membership_auc(model, data, forget) -> float:
    """AUC of the loss score: forget set against unseen rows of the same kind. 0.5 is blind.

    The retrained model lies at 0.5 for every kind of request: see membership_scores.
    """
    return over_kinds(auc, membership_scores(model, data, forget))


def _attack_fold(attack, x, y, x_new):
    if attack == "threshold":
        cut = best_threshold(x[y == 1, 0], x[y == 0, 0])
        return x_new[:, 0], x_new[:, 0] > cut
    if attack != "logistic":
        raise LabError(f"There is no membership attack {attack!r}: choose 'threshold' or "
                       "'logistic'.")
    from sklearn.linear_model import LogisticRegression

    mean, sd = x.mean(0), x.std(0) + 1e-12
    rule = LogisticRegression(class_weight="balanced").fit((x - mean) / sd, y)
    p = rule.predict_proba((x_new - mean) / sd)[:, 1]
    return p, p > 0.5


def _two(members, others):
    members, others = (np.asarray(scores, float).ravel() for scores in (members, others))
    if not len(members) or not len(others):
        raise LabError("A membership test needs scores of members and of non-members, and one side "
                       "is empty.")
    if not (np.isfinite(members).all() and np.isfinite(others).all()):
        raise Diverged("A membership score is NaN or infinite: look for the model that diverged.")
    return members, others
