"""The attacker with two versions: learns from its own shadow versions, attacks another person's."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from .answering import served
from .ulira import auc
from .versions import FEATURES, attack_model, classic, features, score

CHEN = tuple(kind for kind in FEATURES if "log" not in kind)  # the features of Chen et al.


@dataclass(frozen=True)
class Attacker:
    """A fitted attack. kind: its features, 'classic' for the version before alone; name: model.

    rehearsed: AUC on the attacker's own shadows, where the features were chosen.
    """

    kind: str
    name: str
    model: object
    rehearsed: float = 0.5

    def __call__(self, before, after) -> np.ndarray:
        """Scores of rows from the answers of two versions, (m, k) each. -> (m,)"""
        return score(self.model, seen(before, after, self.kind))


def seen(before, after, kind) -> np.ndarray:
    """What the attack model reads of the answers. -> (m, f)"""
    return classic(before) if kind == "classic" else features(before, after, kind)


def fit(own, kind, name) -> Attacker:
    """Learn on one's own pairs which rows were deleted."""
    return Attacker(kind, name, attack_model(name).fit(seen(own.before, own.after, kind),
                                                       own.deleted))


def rehearse(own, kinds=FEATURES, names=("logistic",)) -> Attacker:
    """The features and the model that do best on shadows, fitted on all of them.

    Half of the shadow originals fit, the other half judges. own: Pairs of the attacker's versions.
    """
    originals = np.unique(own.original)
    half = originals[: -(-len(originals) // 2)]
    learn, judge = own.of(half), own.of(np.setdiff1d(originals, half))

    def reached(kind, name):
        return auc(fit(learn, kind, name)(judge.before, judge.after), judge.deleted)

    tried = {(kind, name): reached(kind, name) for kind in kinds for name in names}
    best = max(tried, key=tried.get)
    return replace(fit(own, *best), rehearsed=tried[best])


def aucs(scores, pairs) -> list:
    """AUC of the scores on the pairs of each original."""
    return [auc(scores[pairs.original == i], pairs.deleted[pairs.original == i])
            for i in np.unique(pairs.original)]


def by_original(attacker, pairs) -> list:
    """AUC of the attack on the pairs of each original."""
    return aucs(attacker(pairs.before, pairs.after), pairs)


def on_views(mine, theirs, own, judged) -> list:
    """AUCs of a logistic regression on what is seen of one's own and of the judged pairs.

    mine (n, f), theirs (m, f): columns made from the answers of the Pairs own and judged.
    """
    return aucs(score(attack_model("logistic").fit(mine, own.deleted), theirs), judged)


def behind_rounding(views, own, judged, decimals) -> dict:
    """AUCs behind rounded answers, of two versions and of one, by views as in exercise 6.4.

    views: (before, after, decimals) tensors -> (m, 2k), both attacks' columns. -> two, classic, and
    undefended: a classic attack that reads answers which nobody was given.
    """
    seen_by = [views(torch.from_numpy(p.before), torch.from_numpy(p.after), decimals).numpy()
               for p in (own, judged)]
    k = own.before.shape[1]
    read = {"two": [a[:, :k] for a in seen_by], "classic": [a[:, k:] for a in seen_by],
            "undefended": [classic(p.before) for p in (own, judged)]}
    return {who: on_views(*columns, own, judged) for who, columns in read.items()}


def contest(own, judged, kinds=FEATURES, names=("logistic",)) -> dict:
    """Both attacks, learned on one's own pairs and judged on the other person's.

    -> two, classic: AUCs of the originals; label: those of the confidence that the version before
    had in the row's own label, which needs no learning; kind, name: what the attack with two
    versions chose.
    """
    two = rehearse(own, kinds, names)
    one = rehearse(own, ("classic",), names)
    return {"two": by_original(two, judged), "classic": by_original(one, judged),
            "label": reached(sure_before, own, judged), "kind": two.kind, "name": two.name,
            "attacker": two}


def reached(attacker, own, judged) -> list:
    """AUCs of an attacker that uses labels: own pairs and their truth in, and judged answers.

    attacker: (before, after, y, deleted) of one's own, (before, after, y) of the judged -> scores;
    all are tensors. The truth of the judged pairs is not handed over.
    """
    given = [torch.from_numpy(getattr(pairs, f)) for pairs, fields in (
        (own, ("before", "after", "y", "deleted")), (judged, ("before", "after", "y")))
        for f in fields]
    return aucs(np.asarray(attacker(*given)), judged)


def sure_before(own_before, own_after, own_y, own_deleted, before, after, y):
    """How sure the version before was of the row's own label: one version, with the label."""
    return before.gather(1, y[:, None]).squeeze(1)


def against_a_rule(plain, own, judged, rule, undo=None, names=("logistic",)) -> tuple:
    """The attacker who does not know of a rule, and the one who does. -> two lists of AUCs, way

    plain: one who learned from its own full answers. The adaptive one knows the rule: it passes its
    own versions through it and learns anew, or, where the rule has an inverse `undo` (answers ->
    answers), takes it back and stays as it was. It keeps what did better on its own shadows; way is
    'learned anew' or 'taken back'.
    """
    seen_by = served(judged, rule)
    anew = rehearse(served(own, rule), names=names)
    adaptive, way = by_original(anew, seen_by), "learned anew"
    if undo is not None and plain.rehearsed >= anew.rehearsed:
        adaptive, way = by_original(plain, served(seen_by, undo)), "taken back"
    return by_original(plain, seen_by), adaptive, way


def who_guesses(plain, own, judged, undo) -> list:
    """AUCs of the plain attacker on answers that were taken back by a guess at the rule.

    undo: (answers, own answers) -> answers, as in exercise 6.3; it gets both versions together, so
    that they are taken back alike. The rule itself is not handed over.
    """
    both = undo(np.concatenate([judged.before, judged.after]),
                np.concatenate([own.before, own.after]))
    before, after = np.split(both, 2)
    return by_original(plain, replace(judged, before=before, after=after))
