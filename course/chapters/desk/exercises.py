"""Exercises of notebook 10: a limit, medoids, a running sum, how to spread under it, a gate.

Solutions use torch only, and what they import themselves, so that they can be copied out.
"""

from itertools import combinations

import torch

from course.exercises.engine import Exercise

from .monitor import conformal_limit


# ---------------- 10.1
def threshold(scores, share):
    """The smallest score with at most a share of all strictly above it. (n,), float -> float"""
    fits = [t for t in scores.tolist() if (scores > t).sum().item() / len(scores) <= share]
    return min(fits)


def _score_cases():
    # where count / n can equal the share, the share is exact in binary: no rounding decides a case
    g, cases = torch.Generator().manual_seed(62), []
    for what, n, share in (("a quarter of the scores", 20, 0.25),
                           ("a share between two counts", 30, 0.05), ("many scores", 150, 0.01),
                           ("exactly two scores", 16, 0.125),
                           ("too few scores for the share", 5, 0.1), ("nearly one score", 9, 0.1),
                           ("a large share", 11, 0.7), ("no score may lie above", 12, 0.0),
                           ("all scores may lie above", 8, 1.0), ("one score", 1, 0.5)):
        cases.append((what, (torch.randn(n, generator=g, dtype=torch.float64), share)))
    return cases + [
        ("skewed scores", (torch.rand(40, generator=g, dtype=torch.float64).log().neg(), 0.125)),
        ("ties above the threshold", (torch.tensor([1., 2, 2, 2, 3, 4, 4, 0]), 0.25)),
        ("ties at the threshold", (torch.tensor([3., 5, 3, 3, 1, 3, 6, 2]), 0.5)),
        ("equal scores", (torch.full((6,), 0.5), 0.25)),
        ("many equal scores below the threshold", (torch.tensor([1., 1, 2, 1, 1, 3, 1, 1]), 0.25)),
        ("many equal scores above the threshold", (torch.tensor([5., 1, 5, 2, 5, 3, 5, 4]), 0.5)),
        ("scores below 0", (torch.tensor([-1., -7, -3, -9]), 0.25))]


def _from_top(scores, m):
    return scores.sort(descending=True).values[min(m, len(scores) - 1)].item()


THRESHOLD = Exercise(
    id="10.1", title="Where a gate closes", difficulty=1, minutes=8, points=1,
    trains="a threshold from benign scores: an upper tail, a strict inequality, and rounding to "
           "the safe side",
    solution=threshold, cases=_score_cases,
    hints=("The gate refuses what scores above the threshold. Go as low as you can while no more "
           "than the share of benign requests is refused. With few scores that may mean none.",
           "t = min {s_j : #{i : s_i > s_j} / n ≤ share}.",
           "For each score, count the scores strictly above it and divide by their number. Keep "
           "those scores for which this is at most the share, and return the smallest."),
    mistakes=(
        ("scores > t", "scores >= t", "A score equal to the threshold counts as above it",
         "you counted a score equal to the threshold as above it. The gate refuses only what is "
         "strictly above."),
        ("<= share", "< share", "Less than the share: exactly the share is refused",
         "you ask for less than the share. Exactly the share is allowed."),
        ("min(fits)", "torch.quantile(scores, 1 - share).item()",
         "torch.quantile, which interpolates between two scores",
         "your quantile lies between two scores. Return one of the scores itself."),
        ("min(fits)", "torch.quantile(scores, share).item()",
         "The quantile of the share instead of 1 less the share",
         "this quantile has a share of the scores below it. The share belongs above it, and the "
         "result should be one of the scores."),
        ("min(fits)", "scores.sort().values[int(len(scores) * (1 - share))].item()",
         "ordered[int(n * (1 - share))]: one score too high where n * share is whole",
         "where n times the share is whole, your index is one too high: indices start at 0. It "
         "runs out of range at a share of 0."),
        ("min(fits)", "scores.sort().values[len(scores) - 1 - int(len(scores) * share)].item()",
         "ordered[n - 1 - m] at a share of 1: the index -1 is the largest score",
         "at a share of 1 your index is −1, which Python takes for the last score. The answer "
         "there is the smallest."),
        ("min(fits)", "_from_top(scores, round(len(scores) * share))",
         "The allowed number is rounded to the nearest instead of down", "you rounded the number "
         "of allowed scores to the nearest one. That may exceed the share: round down."),
        ("return min(fits)",
         "import math\n    return _from_top(scores, math.ceil(len(scores) * share))",
         "The allowed number is rounded up", "you rounded the number of allowed scores up, so more "
         "than the share lies above. Round down."),
        ("min(fits)", "_from_top(scores, max(1, int(len(scores) * share)))",
         "One score is always let above", "you always leave one score above. If the share is less "
         "than one score, none may lie above."),
        ("return min(fits)",
         "from statistics import NormalDist\n"
         "    z = NormalDist().inv_cdf(min(max(1 - share, 1e-6), 1 - 1e-6))\n"
         "    return (scores.mean() + z * scores.std(correction=0)).item()",
         "Mean and standard deviation, as if the scores were normal",
         "you assumed a normal distribution. Scores are often skewed: count them instead."),
        ("min(fits)", "scores.flip(0)[min(int(len(scores) * share), len(scores) - 1)].item()",
         "The scores are not sorted", "you picked by position without sorting the scores first."),
        ("fits =", "scores = scores.unique()\n    fits =", "Equal scores count once",
         "you counted equal scores once. Each is a request of its own: take the share of all "
         "scores."),
        ("min(fits)", "max(0, len(scores) - 1 - int(len(scores) * share))",
         "The position in the sorted scores instead of the score",
         "this is a position among the sorted scores. Return the score that stands there."),
    ),
    remark="`defend.threshold` counts in the same way, and gives no answer from fewer than 1 / "
           "share scores: so few cannot show so small a share.",
)


# ---------------- 10.2
def medoids(similarity, k):
    """k different columns, each raising the sum of best similarities most. (n, n) -> list of int"""
    best, chosen = torch.zeros(len(similarity)), []
    for _ in range(k):
        gain = (similarity - best[:, None]).clamp(min=0).sum(0)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        best = torch.maximum(best, similarity[:, chosen[-1]])
    return chosen


def _similarity_cases():
    g, cases = torch.Generator().manual_seed(61), []
    for what, n, k, scale in (("points in the plane", 8, 3, 1), ("one medoid", 6, 1, 1),
                              ("every row", 5, 5, 1), ("many rows", 40, 2, 1),
                              ("small similarities", 7, 4, 0.01),
                              ("large similarities", 9, 3, 100)):
        points = torch.randn(n, 2, generator=g).double()
        weight = 0.5 + torch.rand(n, 1, generator=g).double()
        distance = (points[:, None] - points).norm(dim=2)  # two near points tie, hence the weights
        cases.append((what, (scale * weight * (distance.max() - distance), k)))
    line = torch.tensor([0., 1, 2, 10, 11, 12, 13])
    misses = torch.zeros(6, 6)
    for column, rows in enumerate(([1, 2, 3, 4], [0, 1, 2], [3, 4, 5])):
        misses[rows, column] = 1
    return cases + [
        ("similarities that are not symmetric",
         (torch.rand(6, 6, generator=g, dtype=torch.float64), 3)),
        ("one row", (torch.tensor([[2.]]), 1)),
        ("two groups on a line", (13 - (line[:, None] - line).abs(), 2)),
        ("all columns alike good", (torch.eye(4), 3)),
        ("a row twice", (torch.tensor([[3., 3, 1], [3., 3, 1], [1., 1, 3]]), 3)),
        ("nothing is left to gain",
         (torch.tensor([[0., 2, 0, 0], [0., 2, 1, 0], [0., 2, 0, 1], [0., 2, 1, 1]]), 3)),
        ("the best pair leaves out the best column", (misses, 2)),
        ("no row is like another", (torch.zeros(3, 3), 2))]


def _best_set(similarity, k):
    """The best of all sets of k columns, in order of index"""
    sets = combinations(range(len(similarity)), k)
    return list(max(sets, key=lambda s: similarity[:, list(s)].amax(1).sum()))


MEDOIDS = Exercise(
    id="10.2", title="Rows that stand for the others", difficulty=3, minutes=15, points=2,
    trains="greedy facility location: a gain is what is new, so it depends on what is chosen "
           "already",
    solution=medoids, cases=_similarity_cases,
    hints=("Each row is served by the chosen column that is most similar to it. A new column helps "
           "a row only where it is better than the best so far. Choose the column that helps most "
           "in total, and start again.",
           "j* = argmax_j Σ_i max(0, S[i, j] − b_i), with b_i = max_{j chosen} S[i, j], and b_i = "
           "0 at first. A tie goes to the smaller index, and no column is chosen twice.",
           "Keep a vector of the best similarities, 0 at first. Subtract it from every column and "
           "cut at 0, then add up over the rows. Give the columns already chosen a negative gain "
           "before you take the argmax. Then raise the vector with `torch.maximum`."),
    mistakes=(
        ("similarity - best[:, None]", "similarity",
         "The k columns of largest sum, whatever the others cover already",
         "you chose by the sums of whole columns, so two medoids may serve the same rows. Count "
         "only what a column adds to those chosen before."),
        ("best, chosen =", "similarity = similarity.T\n    best, chosen =",
         "Rows and columns are swapped", "you chose rows of the matrix. S[i, j] says how well "
         "column j stands for row i: choose columns, and add up over i."),
        ("gain.argmax()", "len(gain) - 1 - gain.flip(0).argmax()", "Of tied columns the last",
         "your ties go to the larger index. They should go to the smaller one, as `argmax` does "
         "it."),
        ("gain[chosen] = -1", "", "A column may be chosen again when nothing is left to gain",
         "you chose a column twice. When nothing is left to gain, take the first one not chosen "
         "yet."),
        ("return chosen", "return sorted(chosen)", "Sorted by index instead of in the order chosen",
         "you sorted the result. Keep the order in which the columns were chosen."),
        ("torch.maximum(best, similarity[:, chosen[-1]])", "similarity[:, chosen[-1]]",
         "The best similarity so far is overwritten by that to the last medoid",
         "you kept the similarity to the last medoid only. A row stays with the better of old and "
         "new: take the maximum."),
        ("gain.argmax()", "gain.argmax() if chosen else 0", "Column 0 is always the first medoid",
         "you started with column 0. The first medoid is the column of the largest sum."),
        ("gain[chosen] = -1", "if gain.max() < 1e-9: break",
         "Stops when nothing is left to gain, with fewer than k",
         "you stopped when nothing was left to gain. The exercise asks for k columns."),
        (("(similarity - best[:, None]).clamp(min=0).sum(0)", "= -1"),
         ("-best if best.any() else similarity.sum(0)", "= -float('inf')"),
         "After the first, always the row that is served worst",
         "you went on with the row that is served worst. That is another method, farthest first. "
         "Choose the column with the largest total gain."),
        (".sum(0)", ".amax(0)", "The largest gain of a single row instead of the sum over rows",
         "you looked at the one row that gains most. Add the gains of all rows up."),
        (_best_set, "you searched for the best set of all. The greedy choice never takes a column "
         "back, and it can end with another set."),
        ("return chosen", "return list(torch.tensor(chosen))",
         "The entries are tensors instead of ints",
         "the entries are tensors. Make ints of them, with `int(…)` or `.tolist()`."),
    ),
    remark="`defend.isolated` picks its medoids this way in each class, but stops when nothing is "
           "left to gain. A row that is alone with its medoid is isolated. Greedy reaches at least "
           "1 − 1/e of the best sum, about 63 %.",
)


# ---------------- 10.3
def cusum(scores, drift, limit):
    """The first t, from 1, at which the running sum is above the limit, or None. (T,), … -> int"""
    total = 0.0
    for t, score in enumerate(scores.tolist(), start=1):
        total = max(0.0, total + score - drift)
        if total > limit:
            return t
    return None


def _stream_cases():
    g, cases = torch.Generator().manual_seed(65), []
    for what, n, late, drift, limit in (("a rise after calm requests", 12, 2, 0.5, 2),
                                        ("a long calm", 80, 1, 0.5, 4), ("no rise", 30, 0, 1, 5),
                                        ("a slow rise", 60, 0.8, 0.5, 3)):
        scores = torch.randn(n, generator=g, dtype=torch.float64)
        scores[n // 2:] += late
        cases.append((what, (scores, drift, limit)))
    for what, scores, drift, limit in (
            ("exactly the limit, then more", [1, 2, 1, 0.5, 3], 0.5, 2.5),
            ("exactly the limit, no more", [2, 2, 0, 1, 0.5], 1, 2),
            ("an alarm at the first request", [5, 0, 0], 1, 2),
            ("an alarm at the last request", [1, 1, 1, 1], 0.5, 1.75),
            ("low scores before high ones", [-4, -4, -4, 2, 2, 2], 0.5, 2),
            ("many small excesses", [0.75] * 10, 0.5, 1.25),
            ("one peak among low scores", [0, 0, 3, 0, 0, 0, 3, 0], 1, 2.5),
            ("two peaks and a dip", [2, -3, 2, -1, 2, 2], 0.5, 2),
            ("a limit of 0", [0.5, 0.25, 0.75, 0.5], 0.5, 0),
            ("a drift of 0", [0.5, 0, 0.5, 0.5], 0, 1.25),
            ("two alarms", [3, 3, -9, -9, 4, 4], 1, 3), ("one request", [1], 0.5, 1),
            ("no requests", [], 0.5, 1)):
        cases.append((what, (torch.tensor(scores, dtype=torch.float64), drift, limit)))
    return cases


CUSUM = Exercise(
    id="10.3", title="When small excesses add up", difficulty=2, minutes=10, points=2,
    trains="CUSUM: a sum that forgets calm times, and an alarm that waits for no single high score",
    solution=cusum, cases=_stream_cases,
    hints=("An attacker can split one suspicious request into many that stay below every "
           "threshold. Add up by how much each one exceeds what is usual, and never let the sum "
           "fall below 0.",
           "S_0 = 0, S_t = max(0, S_{t−1} + x_t − d) with the drift d. The answer is the first t "
           "with S_t > h, for the limit h.",
           "Go through the scores with `enumerate`, which can start at 1. Change the sum first, "
           "cut it at 0, then compare it. Return inside the loop, and None after it."),
    mistakes=(
        ("total > limit", "total >= limit", "An alarm at exactly the limit",
         "you raise the alarm at exactly the limit. The sum has to be above it."),
        ("max(0.0, total + score - drift)", "total + score - drift", "The sum may fall below 0",
         "your sum falls below 0, so a calm time gives an attacker credit. Cut it at 0 after each "
         "step."),
        ("max(0.0, total + score - drift)", "total + max(0.0, score - drift)",
         "Each term is cut at 0 instead of the sum", "you cut each term at 0, so your sum never "
         "falls and every stream ends in an alarm. Cut the sum instead."),
        (" - drift", "", "The drift is forgotten",
         "the drift is missing. Subtract it from each score, or usual scores add up too."),
        ("total + score", "score", "Each score alone, without a sum",
         "you compared single scores with the limit. Add up what exceeds the drift."),
        ("max(0.0, total + score - drift)", "abs(total + score - drift)",
         "The absolute value instead of the positive part", "you took the absolute value, so low "
         "scores raise the alarm as well. Take the larger of 0 and the sum."),
        ((" - drift", "> limit"), ("", "> limit + drift"),
         "The drift is subtracted once, from the limit's side, instead of at each step",
         "you subtracted the drift once. It is subtracted at every step."),
        ("start=1", "start=0", "Counted from 0",
         "you counted from 0. The first request is number 1."),
        ("tolist(), start=1", "tolist()[:-1], start=2", "Compared before the score is added",
         "you compared before you added the score, so your alarm comes one request late."),
        (("total = 0.0", "return t", "return None"),
         ("total, found = 0.0, None", "found = t", "return found"),
         "The last t above the limit instead of the first",
         "you returned the last request above the limit. The alarm is the first."),
        ("return None", "return len(scores)", "The number of scores where there is no alarm",
         "you returned the number of requests where there was no alarm. Return None, or it looks "
         "like an alarm at the last one."),
        ("return None", "return -1", "-1 where there is no alarm",
         "you returned −1 where there was no alarm. Return None."),
    ),
    remark="With a drift above the mean benign score, the sum keeps falling back to 0 while all is "
           "calm. A higher limit gives fewer false alarms, and later true ones.",
)


# ---------------- 10.4
def spread(scores, usual, drift, limit, length):
    """Where in the stream each request is sent, as early as the sum allows; None: not at all.

    scores: of the attacker's requests, sent in this order, one a place; usual: what everybody
    else's request scores. The predicted sum is 0 at first, and at the places of these requests it
    is not above the limit. A request for which no place of the first `length` is left is skipped.
    -> list of int or None
    """
    total, free, places = 0.0, 0, []
    for score in scores:
        now, at = total, free
        while at < length and max(0.0, now + score - drift) > limit:
            now, at = max(0.0, now + usual - drift), at + 1
        if at == length:
            places.append(None)
            continue
        places.append(at)
        total, free = max(0.0, now + score - drift), at + 1
    return places


def _plan_cases():
    # all numbers are exact in binary: no rounding decides a case
    return [(what, args) for what, *args in (
        ("room for two at once", [2.0, 2.0, 2.0], 0.5, 1.0, 2.0, 20),
        ("exactly the limit", [3.0, 3.0], 0.5, 1.0, 2.0, 12),
        ("one that is too high by itself", [1.5, 4.0, 1.5], 0.5, 1.0, 2.0, 12),
        ("the first is too high", [9.0, 2.0, 2.0], 0.5, 1.0, 1.5, 10),
        ("others keep the sum up", [2.0, 2.0, 2.0, 2.0], 1.0, 1.0, 2.0, 15),
        ("others raise the sum", [1.5, 1.5, 1.5], 1.25, 1.0, 0.875, 9),
        ("others lie far below", [2.5, 2.5, 2.5], -2.0, 1.0, 2.0, 9),
        ("low ones after a high one", [2.5, 0.5, 0.5, 2.5], 0.75, 1.0, 2.0, 15),
        ("a long wait", [3.0, 3.0, 3.0], 0.875, 1.0, 2.5, 60),
        ("the stream ends", [3.0, 3.0, 3.0], 0.5, 1.0, 2.0, 6),
        ("the last place", [2.0, 2.0], 0.5, 1.0, 1.0, 3),
        ("one place too few", [2.0, 2.0], 0.5, 1.0, 1.0, 2),
        ("a short one fits behind", [3.0, 3.0, 1.0], 0.5, 1.0, 2.0, 3),
        ("a limit of 0", [1.0, 1.5, 0.75], 0.5, 1.0, 0.0, 5),
        ("scores below the drift", [0.5, 0.25, 2.0], 0.5, 1.0, 1.0, 8),
        ("nothing to send", [], 0.5, 1.0, 2.0, 8), ("no places", [2.0], 0.5, 1.0, 2.0, 0))]


SPREAD = Exercise(
    id="10.4", title="Under the sum", difficulty=4, minutes=15, points=3,
    trains="an adaptive attack on a defence with memory: predict its state, and wait while it "
           "forgets",
    solution=spread, cases=_plan_cases,
    hints=("Play the desk yourself. Keep the sum as the desk would have it, and before each "
           "request ask: would it pass the limit now? If so, let somebody else go first, and ask "
           "again.",
           "At a place with the sum S: send if max(0, S + score − d) ≤ h, and the sum becomes "
           "that. Else wait, and it becomes max(0, S + usual − d).",
           "For each score start from the sum and the free place that the last sent request left. "
           "In a while loop wait, as long as places are left and sending would pass the limit. If "
           "none is left, append None and keep sum and place as they were before the waiting. Else "
           "append the place; the sum takes the score, and the next place is free."),
    mistakes=(
        ("max(0.0, now + usual - drift), at", "now, at", "The sum stays while one waits",
         "your sum does not fall while the attacker waits, so waiting never helps. Other people's "
         "requests change it, too."),
        ("max(0.0, now + usual - drift), at", "now + usual - drift, at",
         "The sum falls below 0 while one waits",
         "you let the sum fall below 0 while waiting: patience earns no credit at a desk that cuts "
         "it at 0."),
        ("max(0.0, now + score - drift) > limit", "max(0.0, now + score - drift) >= limit",
         "Exactly the limit is avoided",
         "you avoid the limit itself. The alarm is raised above it only."),
        ("max(0.0, now + score - drift) > limit", "now > limit",
         "The sum is looked at before the request is added",
         "you looked at the sum before your own request. It is the sum after it that must not pass "
         "the limit."),
        ("            continue", "            break", "Nothing more is tried after one that fails",
         "you stopped at the first request without a place. Skip it, and try the next one."),
        ("total, free = max(0.0, now + score - drift), at + 1",
         "total, free = max(0.0, now + score - drift), at",
         "Two requests share a place", "you sent two requests at one place. The next free place is "
         "one further."),
        ("            continue", "            total, free = now, at\n            continue",
         "A skipped request uses up the time it waited",
         "a request that you skip is never waited for. Start the next one from where the last sent "
         "one left off."),
        ("total, free = max(0.0, now + score - drift), at + 1", "total, free = 0.0, at + 1",
         "The sum is forgotten after each request",
         "you forgot what your own earlier requests left in the sum."),
    ),
    remark="The desk of the notebook sees scores that scatter. So the attacker plans with a part "
           "of the limit, and rehearses how large a part it may be.",
)


# ---------------- 10.5 suspicion
def suspicion(benign, requests):
    """How suspicious each request is, from what benign requests show. Larger: more.

    benign (s, m, f): f features of m benign requests of each of s streams; requests (r, f): those
    to judge, benign ones among them. -> (r,) float
    """
    scores = []
    for seen in benign:
        spread = torch.where(seen.std(0) > 0, seen.std(0), 1.0)
        old, new = (seen - seen.mean(0)) / spread, (requests - seen.mean(0)) / spread
        together = old.T @ old / len(old)
        inverse = torch.linalg.inv(0.9 * together + 0.1 * torch.eye(old.shape[1]).to(old))
        usual, found = (((z @ inverse) * z).sum(1).clamp(min=0).sqrt() for z in (old, new))
        scores.append(found / usual.quantile(0.95))  # 1: as far out as one in twenty there
    return torch.stack(scores).amin(0)


HELD = 102  # benign requests of each stream among those to judge: a limit at 1 % is set on them


def _gate_cases():
    cases = []
    for what, seed, s, m, f, attacks in (
            ("four streams", 1, 4, 60, 6, 100), ("two streams", 2, 2, 80, 5, 80),
            ("many features", 3, 4, 100, 13, 100), ("few benign requests", 4, 4, 35, 5, 60),
            ("three streams", 5, 3, 60, 8, 100)):
        g = torch.Generator().manual_seed(seed)
        learnt, held, odd = [], [], []
        for stream in range(s):
            turn = torch.linalg.qr(torch.randn(f, f, generator=g).double()).Q
            wide = turn * torch.logspace(0.5, -1, f).double()  # wide one way, narrow another
            centre = 3 * torch.randn(f, generator=g).double()
            draw = torch.randn(m + HELD, f, generator=g).double()
            if stream == 0:  # these people differ much in how far out they are
                draw *= torch.randn(m + HELD, 1, generator=g).double().exp().clamp(max=3)
            draw = draw @ wide.T + centre
            learnt.append(draw[:m])
            held.append(draw[m:])
            away = torch.randn(attacks // s, f, generator=g).double()
            away[:, f // 2:] += 7 * torch.sign(away[:, f // 2:])  # far out where it is narrow
            away[::3, 0] += 25  # and some plainly so
            odd.append(away @ wide.T + centre)
        mixed = torch.cat([*held, *odd])
        cases.append((what, (torch.stack(learnt), mixed[_shuffled(len(mixed))])))
    return cases


def _shuffled(r):
    return torch.randperm(r, generator=torch.Generator().manual_seed(r))


def _caught(scores, benign, requests):
    """Share of the attacks above the limit of which at most 1 % of each stream lies above."""
    if not isinstance(scores, torch.Tensor) or scores.shape != (len(requests),):
        raise ValueError(f"asked was for one score a request, a tensor of {len(requests)} numbers")
    if not torch.isfinite(scores).all():
        raise ValueError("a score is NaN or infinite: look for a division by 0")
    ordered = torch.empty(len(requests), dtype=torch.float64)
    ordered[_shuffled(len(requests))] = scores.detach().cpu().double()
    held = ordered[:HELD * len(benign)].view(len(benign), HELD)
    limit = max(conformal_limit(each) for each in held.numpy())
    return float((ordered[held.numel():] > limit).double().mean())


def largest_deviation(benign, requests):
    """A plain gate: the largest distance of a feature from its median, in usual distances."""
    seen = benign.flatten(0, 1)
    middle = seen.median(0).values
    usual = (seen - middle).abs().median(0).values.clamp(min=1e-9)
    return ((requests - middle).abs() / usual).amax(1)


def _halfway(benign, requests):
    """Halfway from the plain gate to the solution."""
    return sum(_caught(gate(benign, requests), benign, requests)
               for gate in (largest_deviation, suspicion)) / 2


SUSPICION = Exercise(
    id="10.5", title="A gate of your own", difficulty=5, minutes=25, points=5,
    trains="a detector from benign data alone: spread, correlation, several kinds of people, and "
           "one limit for all of them",
    solution=suspicion, cases=_gate_cases,
    measured="the share of attacks above the limit", measure=_caught, floor=_halfway,
    hints=("Ask of each stream how far a request lies from it, in that stream's own terms. A "
           "request is in order when it is near to one of them.",
           "d_s(x)² = (x − μ_s)ᵀ Σ_s⁻¹ (x − μ_s), mean and covariance of the stream s. Divide d_s "
           "by what is usual among its own requests, and take the smallest over the streams.",
           "For each stream scale features to spread 1, take the covariance, add a little of the "
           "identity so that it can be inverted, and work out the distance of the requests and of "
           "the stream's own ones. Divide the first by a high quantile of the second. In the end "
           "`torch.stack(…).amin(0)`."),
    mistakes=(
        ("amin(0)", "amax(0)", "Far from one stream is enough",
         "you took the largest distance over the streams, so most benign people look odd: they are "
         "far from the other streams. Near to one is enough."),
        ("for seen in benign:", "for seen in benign.flatten(0, 1)[None]:",
         "All streams in one heap",
         "you put all streams into one heap. What lies between two kinds of people then looks "
         "like the most usual thing of all."),
        ("torch.linalg.inv(0.9 * together + 0.1 * torch.eye(old.shape[1]).to(old))",
         "torch.eye(old.shape[1]).to(old)", "Features are taken one by one",
         "you took features one by one. An attack can be usual in each and odd in how they go "
         "together."),
        ("torch.stack(scores).amin(0)", "-torch.stack(scores).amin(0)",
         "Large where a request is in order", "your score is large where a request is in order. "
         "Turn it round."),
        ("for seen in benign:", "for seen in benign[:1]:", "Only the first stream is known",
         "you know the first stream only: other people's requests are no attacks."),
    ),
    remark="A gate is judged on who is stopped by mistake and who gets through, and then again by "
           "an attacker who has read it.",
)


EXERCISES = (THRESHOLD, MEDOIDS, CUSUM, SPREAD, SUSPICION)
