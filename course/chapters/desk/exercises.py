"""Exercises of notebook 10: medoids. The others are in nb06_gate, nb06_release and nb06_stream.

Solutions use torch only, and what they import themselves, so that they can be copied out.
"""

import math
from itertools import combinations

import torch

from course.chapters.desk.exercises_gate import THRESHOLD
from course.chapters.desk.exercises_release import DELETIONS, RELEASE
from course.chapters.desk.exercises_stream import CUSUM
from course.exercises.engine import Exercise

# ---------------- 10.1 medoids


def medoids(similarity, k):
    """k different columns, each the one that raises the sum of best similarities most. (n, n), int -> list of int"""
    best, chosen = torch.zeros(len(similarity)), []
    for _ in range(k):
        gain = (similarity - best[:, None]).clamp(min=0).sum(0)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        best = torch.maximum(best, similarity[:, chosen[-1]])
    return chosen


def _similarity_cases():
    g, cases = torch.Generator().manual_seed(61), []
    for what, n, k, scale in (("points in the plane", 8, 3, 1), ("one medoid", 6, 1, 1), ("every row", 5, 5, 1),
                              ("many rows", 40, 2, 1), ("small similarities", 7, 4, 0.01),
                              ("large similarities", 9, 3, 100)):
        points, weight = torch.randn(n, 2, generator=g).double(), 0.5 + torch.rand(n, 1, generator=g).double()
        distance = (points[:, None] - points).norm(dim=2)  # two near points tie, so rows count differently
        cases.append((what, (scale * weight * (distance.max() - distance), k)))
    line = torch.tensor([0., 1, 2, 10, 11, 12, 13])
    misses = torch.zeros(6, 6)
    for column, rows in enumerate(([1, 2, 3, 4], [0, 1, 2], [3, 4, 5])):
        misses[rows, column] = 1
    return cases + [
        ("similarities that are not symmetric", (torch.rand(6, 6, generator=g, dtype=torch.float64), 3)),
        ("one row", (torch.tensor([[2.]]), 1)),
        ("two groups on a line", (13 - (line[:, None] - line).abs(), 2)),
        ("all columns alike good", (torch.eye(4), 3)),
        ("a row twice", (torch.tensor([[3., 3, 1], [3., 3, 1], [1., 1, 3]]), 3)),
        ("nothing is left to gain", (torch.tensor([[0., 2, 0, 0], [0., 2, 1, 0], [0., 2, 0, 1], [0., 2, 1, 1]]), 3)),
        ("the best pair leaves out the best column", (misses, 2)),
        ("no row is like another", (torch.zeros(3, 3), 2)),
    ]


def _greedy(similarity, k, gains):
    """k times the column of largest gains(best), a chosen one never again."""
    best, chosen = torch.zeros(len(similarity)), []
    for _ in range(k):
        gain = gains(best)
        gain[chosen] = -math.inf
        chosen.append(int(gain.argmax()))
        best = torch.maximum(best, similarity[:, chosen[-1]])
    return chosen


def _top_sums(similarity, k):
    """The k columns of largest sum, whatever the others cover already"""
    return similarity.sum(0).sort(descending=True, stable=True).indices[:k].tolist()


def _rows(similarity, k):
    """Rows and columns are swapped"""
    return medoids(similarity.T, k)


def _last_tie(similarity, k):
    """Of tied columns the last"""
    return [len(similarity) - 1 - j for j in medoids(similarity.flip(0, 1), k)]


def _twice(similarity, k):
    """A column may be chosen again when nothing is left to gain"""
    best, chosen = torch.zeros(len(similarity)), []
    for _ in range(k):
        chosen.append(int((similarity - best[:, None]).clamp(min=0).sum(0).argmax()))
        best = torch.maximum(best, similarity[:, chosen[-1]])
    return chosen


def _sorted(similarity, k):
    """Sorted by index instead of in the order chosen"""
    return sorted(medoids(similarity, k))


def _last_only(similarity, k):
    """The best similarity so far is overwritten by that to the last medoid"""
    best, chosen = torch.zeros(len(similarity)), []
    for _ in range(k):
        gain = (similarity - best[:, None]).clamp(min=0).sum(0)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        best = similarity[:, chosen[-1]]
    return chosen


def _first_given(similarity, k):
    """Column 0 is always the first medoid"""
    raised = similarity.clone()
    raised[:, 0] += similarity.sum() + 1

    def gains(best):
        return ((similarity if best.any() else raised) - best[:, None]).clamp(min=0).sum(0)

    return _greedy(similarity, k, gains)


def _stops(similarity, k):
    """Stops when nothing is left to gain, with fewer than k"""
    chosen = medoids(similarity, k)
    covered = [similarity[:, chosen[:m]].amax(1).sum() if m else 0 for m in range(k + 1)]
    return [j for m, j in enumerate(chosen) if covered[m + 1] - covered[m] > 1e-9]


def _farthest(similarity, k):
    """After the first, always the row that is served worst"""
    first = similarity.sum(0)
    return _greedy(similarity, k, lambda best: first.clone() if not best.any() else -best)


def _largest_entry(similarity, k):
    """The largest gain of a single row instead of the sum over rows"""
    return _greedy(similarity, k, lambda best: (similarity - best[:, None]).clamp(min=0).amax(0))


def _best_set(similarity, k):
    """The best of all sets of k columns, in order of index"""
    return list(max(combinations(range(len(similarity)), k), key=lambda s: similarity[:, list(s)].amax(1).sum()))


def _tensors(similarity, k):
    """The entries are tensors instead of ints"""
    return list(torch.tensor(medoids(similarity, k)))


MEDOIDS = Exercise(
    id="10.1", title="Rows that stand for the others",
    trains="greedy facility location: a gain is what is new, so it depends on what is chosen already",
    difficulty=3, minutes=15, points=2, solution=medoids, cases=_similarity_cases,
    hints=("Each row is served by the chosen column that is most similar to it. A new column helps a row only where it "
           "is better than the best so far. Choose the column that helps most in total, and start again.",
           "j* = argmax_j Σ_i max(0, S[i, j] − b_i), with b_i = max_{j chosen} S[i, j], and b_i = 0 at first. A tie "
           "goes to the smaller index, and no column is chosen twice.",
           "Keep a vector of the best similarities, 0 at first. Subtract it from every column and cut at 0, then add "
           "up over the rows. Give the columns already chosen a negative gain before you take the argmax. Then raise "
           "the vector with `torch.maximum`."),
    mistakes=(
        (_top_sums, "you chose by the sums of whole columns, so two medoids may serve the same rows. Count only what "
                    "a column adds to those chosen before."),
        (_rows, "you chose rows of the matrix. S[i, j] says how well column j stands for row i: choose columns, and "
                "add up over i."),
        (_last_tie, "your ties go to the larger index. They should go to the smaller one, as `argmax` does it."),
        (_twice, "you chose a column twice. When nothing is left to gain, take the first one not chosen yet."),
        (_sorted, "you sorted the result. Keep the order in which the columns were chosen."),
        (_last_only, "you kept the similarity to the last medoid only. A row stays with the better of old and new: "
                     "take the maximum."),
        (_first_given, "you started with column 0. The first medoid is the column of the largest sum."),
        (_stops, "you stopped when nothing was left to gain. The exercise asks for k columns."),
        (_farthest, "you went on with the row that is served worst. That is another method, farthest first. Choose "
                    "the column with the largest total gain."),
        (_largest_entry, "you looked at the one row that gains most. Add the gains of all rows up."),
        (_best_set, "you searched for the best set of all. The greedy choice never takes a column back, and it can "
                    "end with another set."),
        (_tensors, "the entries are tensors. Make ints of them, with `int(…)` or `.tolist()`."),
    ),
    remark="`defend.isolated` picks its medoids this way in each class, but stops when nothing is left to gain. A row "
           "that is alone with its medoid is isolated. Greedy reaches at least 1 − 1/e of the best sum, about 63 %.",
)

EXERCISES = (MEDOIDS, THRESHOLD, CUSUM, RELEASE, DELETIONS)
