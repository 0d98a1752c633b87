"""Exercises of notebook 01, section 2: AUC by ranks, and the threshold of the membership attack."""

import numpy as np

from course.exercises.engine import Exercise

# ---------------- 1.4 auc_by_ranks


def auc_by_ranks(members, strangers):
    """Chance that a member scores above a stranger, ties count half, without comparing all pairs. -> float"""
    below = np.searchsorted(np.sort(strangers), members, side="left")
    up_to = np.searchsorted(np.sort(strangers), members, side="right")
    return float((below + up_to).mean() / 2 / len(strangers))


def _score_cases():
    rng = np.random.default_rng(14)
    return [
        ("more members than strangers", (rng.normal(1, 1, 30), rng.normal(0, 1, 11))),
        ("more strangers than members", (rng.normal(0, 1, 8), rng.normal(0, 2, 40))),
        ("many ties", (rng.integers(0, 4, 25).astype(float), rng.integers(0, 4, 18).astype(float))),
        ("a tie in one place", (np.array([-2.0, -1.0, 0.5]), np.array([-1.0, -3.0]))),
        ("all scores equal", (np.full(6, -1.5), np.full(4, -1.5))),
        ("every member above every stranger", (rng.uniform(2, 3, 9), rng.uniform(0, 1, 5))),
        ("every member below every stranger", (rng.uniform(-9, -8, 5), rng.uniform(-2, -1, 9))),
        ("one row on each side", (np.array([-0.3]), np.array([-0.7]))),
        ("many rows", (rng.normal(0.3, 1, 3000).round(2), rng.normal(0, 1, 2000).round(2))),
    ]


def _pairs(members, strangers, ties):
    difference = members[:, None] - strangers[None, :]
    return float((difference > 0).mean() + ties * (difference == 0).mean())


def _no_ties(members, strangers):
    """Ties count nothing"""
    return _pairs(members, strangers, 0)


def _whole_ties(members, strangers):
    """Ties count as won"""
    return _pairs(members, strangers, 1)


def _swapped(members, strangers):
    """Members and strangers are swapped"""
    return _pairs(strangers, members, 0.5)


def _rank_sum(members, strangers):
    """The mean rank of the members among all rows, in which they also stand above each other"""
    everyone = np.sort(np.concatenate([members, strangers]))
    ranks = (np.searchsorted(everyone, members, "left") + np.searchsorted(everyone, members, "right")) / 2
    return float(ranks.mean() / len(strangers))


def _not_divided(members, strangers):
    """The number of strangers below instead of their share"""
    return len(strangers) * _pairs(members, strangers, 0.5)


def _wrong_count(members, strangers):
    """Divided by the number of members twice"""
    return len(strangers) / len(members) * _pairs(members, strangers, 0.5)


AUC = Exercise(
    id="1.4", title="AUC without comparing all pairs", trains="the definition of AUC, ties, and counting by sorting",
    difficulty=4, minutes=20, points=3, solution=auc_by_ranks, cases=_score_cases,
    hints=("For one member, the strangers below it can be counted at once when the strangers are sorted: its place "
           "among them is their number.",
           "AUC = mean over members of (#{strangers < m} + #{strangers ≤ m}) / (2 · #strangers). A tie is in the "
           "second count only, so it counts half.",
           "Sort the strangers. `np.searchsorted` with `side='left'` counts those below each member, with "
           "`side='right'` those below or equal. Add the two, take the mean, divide by two and by the number."),
    mistakes=(
        (_no_ties, "a tie counts nothing in your version: it should count half."),
        (_whole_ties, "a tie counts as a win in your version: it should count half."),
        (_swapped, "you count the strangers above a member: it is the chance that the member scores higher."),
        (_rank_sum, "you ranked the members among all rows, so they count the members below them as well. Rank them "
                    "among the strangers, or subtract what they contribute."),
        (_not_divided, "you have the mean number of strangers below a member: divide by the number of strangers."),
        (_wrong_count, "you divided by the number of members where the number of strangers belongs."),
    ),
    remark="The check looks at results only. If yours compares every member with every stranger, try it with 100,000 "
           "scores on each side.",
)

# ---------------- 1.5 best_threshold


def best_threshold(members, strangers):
    """A threshold t with the largest TPR − FPR; a row is called a member when its score is above t. -> float"""
    scores = np.unique(np.concatenate([members, strangers]))
    tries = np.concatenate([[scores[0] - 1], (scores[:-1] + scores[1:]) / 2])
    tpr = (members[:, None] > tries).mean(0)
    fpr = (strangers[:, None] > tries).mean(0)
    return float(tries[np.argmax(tpr - fpr)])


def _advantage(threshold, members, strangers):
    return float((members > threshold).mean() - (strangers > threshold).mean())


def _threshold_cases():
    rng = np.random.default_rng(15)
    far = rng.normal(0, 1, 30)
    far[:3] = -60
    return [
        ("many more strangers than members", (rng.normal(1, 1, 12), rng.normal(0, 1, 150))),
        ("many more members than strangers", (rng.normal(0.5, 1, 200), rng.normal(-0.5, 1, 15))),
        ("members with a few very low scores", (far + 1, rng.normal(-1, 1, 40))),
        ("ties", (rng.integers(1, 6, 30).astype(float), rng.integers(0, 5, 25).astype(float))),
        ("no overlap", (rng.uniform(5, 6, 10), rng.uniform(0, 1, 10))),
        ("one row on each side", (np.array([-0.2]), np.array([-0.9]))),
        ("one row on each side, the wrong way round", (np.array([-0.9]), np.array([-0.2]))),
        ("all members below all strangers", (np.array([-20.0, -18.0, -16.5, -15.0]), np.linspace(0.0, 40.0, 9))),
        ("all scores negative", (rng.normal(-20, 1, 25), rng.normal(-22, 2, 30))),
        ("members that reach less far on both sides", (rng.normal(0, 0.3, 60), rng.normal(0, 3, 60))),
        ("two best thresholds with a worse one between", (np.array([1.0, 3.0]), np.array([0.0, 2.0]))),
    ]


def _all_cuts(members, strangers):
    scores = np.unique(np.concatenate([members, strangers]))
    cuts = np.concatenate([[scores[0] - 1], (scores[:-1] + scores[1:]) / 2])
    return cuts, (members[:, None] > cuts).mean(0), (strangers[:, None] > cuts).mean(0)


def _most_right(members, strangers):
    """The threshold with the most rows right, so that the larger side decides"""
    cuts, tpr, fpr = _all_cuts(members, strangers)
    return float(cuts[np.argmax(tpr * len(members) + (1 - fpr) * len(strangers))])


def _only_tpr(members, strangers):
    """Only the members found count"""
    cuts, tpr, _ = _all_cuts(members, strangers)
    return float(cuts[np.argmax(tpr)])


def _only_fpr(members, strangers):
    """Only the strangers spared count"""
    return float(strangers.max())


def _difference_reversed(members, strangers):
    """FPR − TPR is made large"""
    cuts, tpr, fpr = _all_cuts(members, strangers)
    return float(cuts[np.argmax(fpr - tpr)])


def _halfway(members, strangers):
    """The middle between the two means"""
    return float((members.mean() + strangers.mean()) / 2)


def _closed(members, strangers):
    """A score equal to the threshold is taken for a member"""
    tries = np.unique(np.concatenate([members, strangers]))
    gain = (members[:, None] >= tries).mean(0) - (strangers[:, None] >= tries).mean(0)
    return float(tries[np.argmax(gain)])


def _between(members, strangers):
    """The mean of all the best thresholds, which may lie between two groups of them"""
    cuts, tpr, fpr = _all_cuts(members, strangers)
    return float(cuts[np.isclose(tpr - fpr, (tpr - fpr).max())].mean())


def _the_gain(members, strangers):
    """The largest TPR − FPR is returned instead of the threshold"""
    return _advantage(best_threshold(members, strangers), members, strangers)


THRESHOLD = Exercise(
    id="1.5", title="The attack's threshold", trains="an attack is a score and a threshold; balance of both errors",
    difficulty=3, minutes=15, points=2, solution=best_threshold, cases=_threshold_cases, measure=_advantage,
    measured="TPR − FPR at your threshold", rtol=1e-9, atol=1e-9,
    hints=("Between two neighbouring scores nothing changes, so one threshold for each gap between the sorted scores "
           "is enough, and one below all of them.",
           "Find t that makes TPR(t) − FPR(t) largest, with TPR(t) = #{members > t} / #members and FPR(t) the same "
           "for strangers.",
           "Put all scores together, sort them, take the middles between neighbours and one value below the smallest. "
           "Compute TPR and FPR at each, and return the one with the largest difference."),
    mistakes=(
        (_most_right, "you counted rows that are right, so the larger side decides. Take shares: each side counts the "
                      "same."),
        (_only_tpr, "you made TPR large alone: call everybody a member, and it is 1. The strangers have to count."),
        (_only_fpr, "you spared every stranger and so miss members: both errors count."),
        (_difference_reversed, "you made FPR − TPR large: it is the other way round, TPR − FPR."),
        (_halfway, "you took the middle of two means: one row far out moves it. Try every cut between the scores."),
        (_closed, "you counted a score equal to the threshold as above it. A row is called a member when its score is "
                  "strictly above t, so t has to lie below the member's own score."),
        (_between, "you took the mean of all the best thresholds: they need not be neighbours, and a worse one may lie "
                   "between them. Return one of them."),
        (_the_gain, "you returned the largest TPR − FPR itself: return the threshold where it is reached."),
    ),
    remark="Chosen on the rows it is judged on, a threshold looks better than it is: section 5 uses held-out folds.",
)
