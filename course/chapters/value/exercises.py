"""Exercises of notebook 14: a scan, a vote, exact values, strata, a change, an estimator.

Solutions use NumPy only, and what they import themselves, so that they can be copied out.
"""

import numpy as np

from course.exercises.engine import Exercise


# ---------------- 14.1 marginals
def marginals(order, u):
    """What each owner adds when it joins. order int (n,), utilities (n + 1,) -> (n,) by owner"""
    found = np.zeros(len(order))
    found[order] = u[1:] - u[:-1]
    return found


def _scan_cases():
    r, cases = np.random.default_rng(141), []
    for what, n in (("three owners", 3), ("one owner", 1), ("many owners", 40), ("six owners", 6)):
        cases.append((what, (r.permutation(n), np.concatenate([[0], r.random(n)]))))
    return cases + [("nobody adds anything", (np.array([2, 0, 1]), np.zeros(4))),
                    ("an owner does harm", (np.array([1, 2, 0]), np.array([0, 0.5, 0.2, 0.9])))]


SCAN = Exercise(
    id="14.1", title="What each owner adds", trains="differences along an order, put back by owner",
    difficulty=1, minutes=6, points=1, solution=marginals, cases=_scan_cases,
    hints=("The owners join one after the other. Each is credited with the rise at its own place.",
           "The owner π(t) gets U(t) − U(t − 1), where U(t) is the utility of the first t owners.",
           "Make zeros, and set the entries at `order` to `u[1:] - u[:-1]`."),
    mistakes=(
        ("found[order] = u[1:] - u[:-1]", "found = u[1:] - u[:-1]", "In the order of joining",
         "you left the rises in the order of joining: entry i has to be owner i's."),
        ("found[order] = u[1:] - u[:-1]", "found = (u[1:] - u[:-1])[order]",
         "Read by the order, not written", "you took the rise at place order[i] for owner i: the "
         "order says who joins at place t, so write there and do not read."),
        ("u[1:] - u[:-1]", "u[:-1] - u[1:]", "The sign turned round",
         "the sign is turned round: an owner gets what the utility rose by."),
        ("u[1:] - u[:-1]", "u[1:]", "The utility itself",
         "you gave each owner the utility of all who were there: subtract what stood before."),
    ),
    remark="`here.by_orders` does it for many orders at once.",
)


# ---------------- 14.2 vote
def vote(votes, k):
    """The class with most votes, the lowest of equals. votes int (m, rows), -1: none; k -> (rows,)
    """
    count = np.zeros((votes.shape[1], k), int)
    for c in range(k):
        count[:, c] = (votes == c).sum(0)
    return count.argmax(1)


def _vote_cases():
    r, cases = np.random.default_rng(142), []
    for what, m, n, k in (("five shards", 5, 60, 4), ("two classes", 4, 40, 2),
                          ("one shard", 1, 6, 3), ("more rows than votes", 3, 80, 6)):
        cases.append((what, (r.integers(-1 if m > 1 else 0, k, (m, n)), k)))
    return cases + [
        ("ties", (np.array([[2, 1, 0], [1, 2, 2], [-1, -1, -1]]), 3)),
        ("shards without a vote", (np.array([[1, 2], [-1, -1], [-1, -1], [-1, -1]]), 3))]


VOTE = Exercise(
    id="14.2", title="The vote of the shards", trains="counting by class; what a missing vote is",
    difficulty=2, minutes=8, points=1, solution=vote, cases=_vote_cases,
    hints=("Count for each row how many shards name each class. A shard without owners says −1 "
           "and is counted nowhere.",
           "argmax over c of #{j : votes[j] = c}, with c from 0 to k − 1; the first of equals.",
           "Fill a (rows, k) array, one column a class, with `(votes == c).sum(0)`; `argmax(1)` "
           "takes the first of equals."),
    mistakes=(
        ("(votes == c)", "(np.maximum(votes, 0) == c)", "An empty shard votes for class 0",
         "you let a shard without a vote vote for class 0: −1 is no vote."),
        ("count.argmax(1)", "k - 1 - count[:, ::-1].argmax(1)", "The highest of equals",
         "among equals you take the highest class: take the lowest."),
        ("count.argmax(1)", "count.max(1)", "How many votes",
         "you gave the number of votes: give the class that has them."),
        ("count.argmax(1)", "count.argmin(1)", "Fewest votes",
         "you took the class with fewest votes."),
    ),
    remark="`Market.right` adds one-hot votes, for many coalitions at once.",
)


# ---------------- 14.3 sharded_values
def sharded_values(u):
    """Exact values of one shard's owners. u float (2^(m-1), 2^s), bit i of a column's number:
    owner i is in; bit j of a row's: the other shard j is -> (s,)"""
    b, c = ([int(number).bit_count() for number in range(size)] for size in u.shape)
    b, c, columns = np.array(b), np.array(c), np.arange(u.shape[1])
    s, found = int(c.max()), []
    for i in range(s):
        out = columns[columns >> i & 1 == 0]
        gain = u[:, out + (1 << i)] - u[:, out]
        found.append(np.mean([gain[b == x][:, c[out] == y].mean()
                              for x in range(b.max() + 1) for y in range(s)]))
    return np.array(found)


def _table_cases():
    r, cases = np.random.default_rng(143), []
    for what, m, s in (("three shards", 3, 3), ("one shard", 1, 3), ("owners alone", 4, 1),
                       ("larger shards", 3, 5)):
        u = r.random((2**(m - 1), 2**s))
        u[0, 0] = 0
        cases.append((what, (u,)))
    return cases + [("the worked example, first shard",
                     (np.array([[0., 2, 2, 10], [2, 2, 10, 12]]),))]


_MEANS = ("np.mean([gain[b == x][:, c[out] == y].mean()\n" + 30 * " "
          + "for x in range(b.max() + 1) for y in range(s)])")
EXACT = Exercise(
    id="14.3", title="Exact values of a shard", trains="averages of averages; subsets as bits",
    difficulty=3, minutes=15, points=2, solution=sharded_values, cases=_table_cases,
    hints=("For one owner, take each coalition without it, and how much it adds. Average by how "
           "many other shards and how many mates are there, then average these averages.",
           "1/(m s) Σ over b < m and c < s of the mean of U(DS ∪ S ∪ {i}) − U(DS ∪ S) over |DS| = "
           "b, |S| = c.",
           "Columns without owner i are those with bit i at 0; the column with it has the number "
           "plus 2^i. Count the ones of each number for b and c, and take means group by group."),
    mistakes=(
        (_MEANS,
         "gain.mean()", "All coalitions alike", "you averaged over all coalitions at once: those "
         "of middling size are many. Average within each pair of sizes first."),
        (_MEANS,
         "np.mean([gain[:, c[out] == y].mean() for y in range(s)])", "Shards not by their number",
         "you averaged over the other shards at once: take their number into account, too."),
        ("u[:, out + (1 << i)] - u[:, out]", "u[:, out] - u[:, out + (1 << i)]", "The wrong sign",
         "the sign is turned round: with the owner, less without."),
        ("found.append(np.mean(", "found.append(s * np.mean(", "Not divided by the shard's size",
         "your values are too large by the number of owners: divide by m and by s."),
    ),
    remark="`here.exact` uses what you wrote, shard by shard.",
)


# ---------------- 14.4 strata
def strata(inside, of):
    """What one coalition tells of each owner. bool (n,), shards int (n,) -> int (3, n): side (1
    with, -1 without, 0 nothing), shards b, owners c; b and c are 0 where side is 0"""
    n, found = len(of), np.zeros((3, len(of)), int)
    count = {j: int(inside[of == j].sum()) for j in set(of.tolist())}
    size = {j: int((of == j).sum()) for j in count}
    b = sum(count[j] > 0 for j in count)
    partial = [j for j in count if 0 < count[j] < size[j]]
    for i in range(n):
        j = int(of[i])
        if partial and j not in partial:
            continue
        if inside[i]:
            found[:, i] = 1, b, count[j]
        else:
            found[:, i] = -1, b + (count[j] == 0), count[j] + 1
    return found


def _strata_cases():
    r, cases = np.random.default_rng(144), []
    for what, sizes in (("three shards", (3, 2, 2)), ("one shard", (4,)), ("many", (3, 3, 3, 3))):
        of = r.permutation(np.repeat(np.arange(len(sizes)), sizes))
        order = np.lexsort((r.random(len(of)), r.permutation(len(sizes))[of]))
        for cut in range(1, len(of) + 1):
            inside = np.zeros(len(of), bool)
            inside[order[:cut]] = True
            cases.append((f"{what}, {cut} inside", (inside, of)))
    return cases


STRATA = Exercise(
    id="14.4", title="What one utility tells", trains="an algorithm's bookkeeping, read with care",
    difficulty=4, minutes=15, points=3, solution=strata, cases=_strata_cases,
    hints=("Find the shard that is there in part. If there is one, the coalition tells only of its "
           "members. If all shards are complete or absent, it tells of everybody.",
           "Inside: (+1, b, c of its shard). Outside, its shard there in part: (−1, b, c + 1). "
           "Outside, its shard absent: (−1, b + 1, 1).",
           "Count members of each shard that are inside, b as the shards with any, and go through "
           "the owners: skip those of other shards if one shard is partial."),
    mistakes=(
        ("if partial and j not in partial:", "if False:", "Everybody is told of",
         "a coalition with a shard in part tells only of that shard's members: the others would "
         "not join next in an order."),
        ("b + (count[j] == 0), count[j] + 1", "b, count[j] + 1", "An absent shard is not counted",
         "for an owner of an absent shard the stratum is b + 1: with it there is one shard more."),
        ("b + (count[j] == 0), count[j] + 1", "b + (count[j] == 0), count[j]",
         "The owner itself is not counted", "without the owner the stratum is c + 1: it is named "
         "by the coalition that the owner would make."),
        ("found[:, i] = -1, b", "found[:, i] = 1, b", "One side only",
         "an owner outside is on the other side: −1."),
    ),
    remark="`here.strata` does it for many coalitions at once.",
)


# ---------------- 14.5 mates_change
def mates_change(d):
    """How values change in the shard that one owner p leaves. d float (2^(m-1), 2^r): utility
    without p less with p, r mates stay; bits as in 14.3 -> (r,)"""
    b, c = ([int(number).bit_count() for number in range(size)] for size in d.shape)
    b, c, columns = np.array(b), np.array(c), np.arange(d.shape[1])
    r, m, found = int(c.max()), int(b.max()) + 1, []
    for i in range(r):
        out = columns[columns >> i & 1 == 0]
        gain = d[:, out + (1 << i)] - d[:, out]
        found.append(sum((y + 1) / r * gain[b == x][:, c[out] == y].mean()
                         for x in range(m) for y in range(r)) / (m * (r + 1)))
    return np.array(found)


def _change_cases():
    r, cases = np.random.default_rng(145), []
    for what, m, s in (("three shards", 3, 3), ("one shard", 1, 3), ("one mate", 4, 1),
                       ("larger shards", 3, 5), ("two mates", 2, 2)):
        cases.append((what, (r.standard_normal((2**(m - 1), 2**s)),)))
    return cases


CHANGE = Exercise(
    id="14.5", title="When a mate leaves", trains="a lemma turned into code; weights of strata",
    difficulty=4, minutes=15, points=3, solution=mates_change, cases=_change_cases,
    hints=("It is 14.3 on differences, with other weights: the more mates are there, the likelier "
           "p was among them.",
           "1/(m (r+1)) Σ_b Σ_{c=1}^{r} c/r · [mean of d with i, less mean of d without i], where "
           "c counts the mates that are there with i.",
           "Take the loops of 14.3. Multiply each group's mean by (y + 1) / r, y the mates without "
           "i; add up, and divide by m (r + 1)."),
    mistakes=(
        ("(y + 1) / r * gain", "gain", "No weights", "you left the weights c/r out."),
        ("(y + 1) / r * gain", "y / r * gain", "One less in the weights",
         "your c does not count owner i itself: c runs from 1 to r."),
        ("(m * (r + 1))", "(m * r)", "The new size of the shard",
         "you divide by the new size of the shard: the lemma has the old one, r + 1."),
        ("d[:, out + (1 << i)] - d[:, out]", "d[:, out] - d[:, out + (1 << i)]", "The wrong sign",
         "the sign is turned round: with owner i, less without."),
    ),
    remark="`here.delta` estimates the same from samples, and for the other shards as well.",
)


# ---------------- 14.6 estimate
def estimate(of, coalitions, u):
    """Values from sampled coalitions. Shards int (n,), bool (t, n), utilities (t,) -> (n,)"""
    n = len(of)

    def averages(y):
        plus, minus = {}, {}
        sizes = {int(j): int((of == j).sum()) for j in np.unique(of)}
        for inside, value in zip(coalitions, y, strict=True):
            count = {j: int(inside[of == j].sum()) for j in sizes}
            b = sum(c > 0 for c in count.values())
            partial = [j for j in sizes if 0 < count[j] < sizes[j]]
            for i in np.flatnonzero(np.isin(of, partial or list(sizes))):
                c = count[int(of[i])]
                side, key = (plus, (i, b, c)) if inside[i] else (minus, (i, b + (c == 0), c + 1))
                total, times = side.get(key, (0.0, 0))
                side[key] = total + value, times + 1
        for i in range(n):
            minus[i, 1, 1] = 0.0, 1
        found = np.zeros(n)
        for i in range(n):
            gains = [plus[key][0] / plus[key][1] - minus[key][0] / minus[key][1]
                     for key in plus if key[0] == i and key in minus]
            found[i] = np.mean(gains) if gains else 0.0
        return found

    shards = np.stack([coalitions[:, of == j].any(1) for j in np.unique(of)], 1)
    crowd = np.stack([coalitions[:, of == j].sum(1) ** 0.5 for j in np.unique(of)], 1)
    seen = np.concatenate([coalitions, shards, crowd], 1).astype(float)
    weights = np.linalg.solve(seen.T @ seen + 0.1 * np.eye(seen.shape[1]), seen.T @ u)
    rest = averages(u - seen @ weights)
    found = rest + weights[:n]
    for at, j in enumerate(np.unique(of)):  # the shard's own parts, shared among its equals
        s = int((of == j).sum())
        whole = weights[n + at] + weights[n + len(shards[0]) + at] * s ** 0.5
        found[of == j] += whole / s
    return found


def unpaired(of, coalitions, u):
    """The mean utility with an owner less that without it"""
    return np.array([u[c].mean() - u[~c].mean() if c.any() and not c.all() else 0.0
                     for c in coalitions.T])


def by_strata(of, coalitions, u):
    """Utility sampling with strata, and no model of the utility"""
    from .games import Game
    from .sampling import means
    return means(Game(np.asarray(of), None), coalitions, u)


def _nothing(of, coalitions, u):
    """Nothing for anybody"""
    return np.zeros(len(of))


def _equal(of, coalitions, u):
    """The same for everybody"""
    return np.full(len(of), u.max() / len(of))


def _smooth(seed, sizes):
    """A game like a market: owners differ, more owners add less. -> game, exact values"""
    from .games import Game, exact
    r, of = np.random.default_rng(seed), np.repeat(np.arange(len(sizes)), sizes)
    weight, pull = 0.5 + r.random(len(of)), r.standard_normal((len(of), 8)) * 0.05

    def worth(rows):
        total = np.stack([(rows * (of == j) * weight).sum(1) for j in range(len(sizes))], 1)
        rough = np.sin(rows @ pull * 6).mean(1) * 0.05
        return np.sqrt(total).sum(1) / 12 + rough * rows.any(1)

    game = Game(of, worth)
    return game, exact(game, sharded_values)


def _sampled():
    from .sampling import draw
    cases = []
    for what, seed, sizes, t in (("four shards", 61, (5, 5, 5, 5), 700),
                                 ("three shards", 62, (6, 6, 6), 600)):
        game, _ = _smooth(seed, sizes)
        rows = draw(game, np.random.default_rng(seed), t)
        cases.append((what, (game.of, rows, game.worth(rows))))
    return cases


def accuracy_of(result, of, coalitions, u):
    """1 less the error, in units of the mean size of a value; ValueError where they are no values.
    """
    values = np.asarray(result, float)
    if values.shape != of.shape or not np.isfinite(values).all():
        raise ValueError(f"values are finite numbers, one for each of the {len(of)} owners; yours "
                         f"have the shape {values.shape}")
    _, truth = _smooth(61 if len(of) == 20 else 62, (5,) * 4 if len(of) == 20 else (6,) * 3)
    return 1 - float(np.abs(values - truth).mean() / np.abs(truth).mean())


def half_way(*arguments):
    """Half way from utility sampling to the course's."""
    return (accuracy_of(by_strata(*arguments), *arguments)
            + accuracy_of(estimate(*arguments), *arguments)) / 2


PROJECT = Exercise(
    id="14.6", title="An estimator of your own",
    trains="a control variate: what a rough model explains need not be sampled",
    difficulty=5, minutes=25, points=5, solution=estimate, cases=_sampled,
    measured="1 less the error, relative to the mean size of a value", measure=accuracy_of,
    floor=half_way,
    hints=("Much of the scatter in a stratum comes from *which* others are there. A rough model of "
           "the utility knows some of that.",
           "If U ≈ Σ w_i over the owners inside, the value of owner i in that model is w_i. Add "
           "to it the strata's estimate from U less the model. The empty coalition has 0 in both.",
           "Fit the utilities by ridge regression on the columns of `coalitions`, without a "
           "constant; run the averages by strata on the residuals; add the weights."),
    mistakes=(
        (by_strata, "this is utility sampling itself, the lower end of what is asked for: take "
                    "away first what a rough model explains."),
        (unpaired, "you compare coalitions with and without an owner whatever their size: larger "
                   "ones are worth more anyway. Use strata."),
        (_nothing, "your values are all 0."),
        (_equal, "your values are all equal: they tell no owner from another."),
    ),
    remark="It is judged on made-up games here, and meets a market below.",
)


EXERCISES = (SCAN, VOTE, EXACT, STRATA, CHANGE, PROJECT)
