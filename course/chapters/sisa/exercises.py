"""Exercises of notebook 02: where rows lie, and what forgetting costs.

Solutions use torch only, and what they import themselves, so that they can be copied out.
"""

import numpy as np
import torch

from course.chapters.sisa.risk import as_partition, by_risk, expected_cost, heavy_tail
from course.exercises.engine import Exercise


# ---------------- 2.1 place
def place(row, shards, slices, seed):
    """The place of one row, from a hash of its id alone: (shard, slice), both counted from 0."""
    import hashlib

    digest = hashlib.blake2b(f"{seed}:{row}".encode(), digest_size=8).digest()
    number = int.from_bytes(digest, "big")
    return number % shards, number // shards % slices


def _place_cases():
    return [
        ("as many shards as slices", (17, 4, 4, 0)),
        ("the row after it", (18, 4, 4, 0)),
        ("another seed", (17, 4, 4, 5)),
        ("row 0", (0, 5, 3, 1)),
        ("one shard", (812, 1, 9, 2)),
        ("one slice", (812, 9, 1, 2)),
        ("one shard with one slice", (3, 1, 1, 3)),
        ("twice as many slices as shards", (1234, 5, 10, 3)),
        ("more shards than slices", (4999, 20, 3, 42)),
        ("many shards and slices", (77, 50, 48, 7)),
    ]


PLACE = Exercise(
    id="2.1", title="A place that no other row decides",
    trains="placing by a hash of the id: a deletion moves nobody; shard and slice must not be tied",
    difficulty=2, minutes=8, points=1, solution=place, cases=_place_cases,
    hints=("Turn the seed and the row's id into one large number. Divided by S, its remainder "
           "gives the shard. The quotient, of which the shard uses nothing, gives the slice.",
           "z = the 8 bytes of blake2b(\"seed:row\") read as one big-endian number; shard = z mod "
           "S, slice = ⌊z / S⌋ mod R.",
           "Encode the text and give it to `hashlib.blake2b` with a digest size of 8. Make a "
           "number of the digest's bytes with `int.from_bytes`, in the order 'big'. Take the "
           "remainder by `shards`; divide with `//` before you take the remainder by `slices`."),
    mistakes=(
        ("// shards ", "",
         "The slice is number % slices, so it follows from the shard where both counts share a "
         "factor",
         "your slice is the number's remainder as well, so it is tied to the shard: with as many "
         "slices as shards, each shard would have one slice with rows and the rest empty. Divide "
         "by shards first."),
        ('int.from_bytes(digest, "big")', "row",
         "Rows are dealt out in their order, without a hash",
         "you placed the row by its position: neighbours go side by side, so data in an order (by "
         "class, by owner) are dealt out in it, and the seed changes nothing. Hash the text with "
         "seed and row."),
        ("{seed}:", "", "The row alone is hashed, without the seed",
         "your place does not depend on the seed: hash the text with both, the seed, a colon, the "
         "row."),
        (("% shards,", "% slices"), ("% shards + 1,", "% slices + 1"),
         "Shards and slices are counted from 1",
         "your shards and slices are counted from 1: a remainder starts at 0, and so do they."),
        ('int.from_bytes(digest, "big")', 'hash(f"{seed}:{row}")',
         "Python's own hash() of the text",
         "Python's hash() of a text is another one in each process, so tomorrow nobody finds the "
         "row again. Take blake2b."),
        ('int.from_bytes(digest, "big")', "hash((seed, row))",
         "Python's own hash() of the two numbers",
         "you took Python's hash(): what it gives is up to the version of Python, and a place has "
         "to be the same for years. Take blake2b."),
        ("number % shards, number // shards % slices", "number // shards % slices, number % shards",
         "Shard and slice are swapped",
         "both numbers are right, in the wrong order: the shard comes first."),
        (", digest_size=8).digest()", ").digest()[:8]",
         "The first 8 bytes of the long digest instead of a digest of 8 bytes",
         "you cut 8 bytes off a longer digest. blake2b mixes the length in, so they differ from a "
         "digest of 8 bytes: ask for digest_size=8."),
        ("big", "little", "The bytes are read in little-endian order",
         "you read the bytes from the wrong end: the first one counts most ('big')."),
    ),
    remark="`labkit.unlearn.sisa.place` is this function. A random permutation of all rows would "
           "do for training; but one row less, and it would place the others anew.",
)


# ---------------- 2.2 first_slices
def first_slices(shard, slice_, request):
    """The first slice hit in each shard that a request hits. (n,), (n,), (k,) -> {shard: slice}"""
    first = {}
    for row in request.tolist():
        s, r = int(shard[row]), int(slice_[row])
        if s not in first or r < first[s]:
            first[s] = r
    return first


def _request_cases():
    g, cases = torch.Generator().manual_seed(22), []
    for what, n, s, r, k in (("a request of several rows", 30, 4, 5, 8), ("one row", 12, 3, 4, 1),
                             ("an empty request", 12, 3, 4, 0), ("every row", 25, 3, 5, 25),
                             ("one shard", 20, 1, 6, 4), ("one slice", 20, 5, 1, 6),
                             ("many shards, few of them hit", 60, 20, 4, 6),
                             ("many rows", 500, 8, 12, 40)):
        shard, slice_ = (torch.randint(0, m, (n,), generator=g) for m in (s, r))
        cases.append((what, (shard, slice_, torch.randperm(n, generator=g)[:k])))
    shard, slice_ = torch.tensor([0, 0, 1, 1, 1, 2]), torch.tensor([0, 3, 1, 2, 3, 2])
    requests = {"rows of one shard, the latest slice first": [4, 2, 3],
                "rows of one shard, the latest slice last": [2, 3, 4], "two shards": [5, 1]}
    return cases + [(what, (shard, slice_, torch.tensor(rows))) for what, rows in requests.items()]


FIRST = Exercise(
    id="2.2", title="Where each shard goes back to",
    trains="a batch of requests: each shard restarts once, and alone", difficulty=2, minutes=8,
    points=1, solution=first_slices, cases=_request_cases,
    hints=("A shard's checkpoints from the first hit slice on have seen a row that has to go. "
           "Later hits in the same shard change nothing, and hits in other shards do not concern "
           "it.",
           "first[s] = min { slice(row) : row in the request, shard(row) = s }, for the shards s "
           "with such a row.",
           "Start with an empty dict and go through the rows of the request. Get the row's shard "
           "and slice as ints, and put the slice in the dict if the shard is not there yet, or is "
           "there with a larger slice."),
    mistakes=(
        ("r < first[s]", "r > first[s]", "The last slice hit instead of the first",
         "you took the last slice hit: the checkpoint before it has seen the rows of the earlier "
         "ones. Take the first."),
        ("return first", "return dict.fromkeys(first, min(first.values(), default=0))",
         "One slice for all shards, the first hit anywhere",
         "all shards go back to the same slice in your version. They were trained apart: each one "
         "has a first slice of its own."),
        ("r < first[s]", "True", "The last row of the request decides",
         "in your version a later row of the request overwrites an earlier one: keep the smaller "
         "slice."),
        (" or r < first[s]", "", "The first row of the request decides",
         "in your version the first row of the request decides for its shard: a later one may lie "
         "in an earlier slice."),
        ("return first",
         "return dict.fromkeys(range(int(shard.max()) + 1), int(slice_.max()) + 1) | first",
         "Shards that are not hit are listed, with the number of slices",
         "you list shards that the request does not hit: leave them out, their models stay."),
        ("slice_[row]", "slice_[shard == shard[row]].min()",
         "The first slice of all rows in the shard, not of those in the request",
         "you looked at all rows of the shard: only those in the request have to go."),
        ("first[s] = r", "first[s] = torch.tensor(r)", "The slices are tensors instead of ints",
         "the slices should be ints: `int(…)` or `.item()` makes one of a tensor with one "
         "element."),
        ("request.tolist()", "(request - 1).tolist()",
         "Rows are counted from 1, so each one gets the place of the row before",
         "you looked one row too low: row ids count from 0."),
        ("return first", "return {s: r - 1 for s, r in first.items()}",
         "The slice before the first one hit",
         "you are one slice too early: this is the last one that has not seen the rows. Give the "
         "first that has."),
    ),
    remark="With the dict, `sisa.unlearn` destroys the checkpoints from these slices on, then "
           "trains. A batch costs each shard one restart, however many of its rows go.",
)


# ---------------- 2.3 expected_share
def expected_share(slices):
    """Expected share of a shard's training that one request costs; slices are hit equally often."""
    everything = sum(range(1, slices + 1))
    shares = [sum(range(hit, slices + 1)) / everything for hit in range(1, slices + 1)]
    return sum(shares) / slices


def _slice_cases():
    return [("two slices", (2,)), ("three slices", (3,)), ("one slice", (1,)),
            ("four slices", (4,)), ("ten slices", (10,)), ("many slices", (75,))]


SHARE = Exercise(
    id="2.3", title="What slices save",
    trains="an expected cost as a plain average; why slicing saves a third at most", difficulty=3,
    minutes=12, points=2, solution=expected_share, cases=_slice_cases, rtol=1e-6,
    hints=("Step i trains on the first i slices, so it takes i units of time. A row in slice r "
           "spoils step r and all steps after it.",
           "share(r) = (r + … + R) / (1 + … + R), and the answer is the mean of share(r) over r = "
           "1 … R.",
           "Add up 1 to R for a whole training. For each r from 1 to R, add up r to R (`range` "
           "stops before its end) and divide by the whole. Take the mean of these R shares."),
    mistakes=(
        ("sum(range(hit, slices + 1)) / everything", "(slices - hit + 1) / slices",
         "Every step takes the same time, as if it saw its own slice only",
         "your steps all take the same time. Step i trains on i slices, so the late ones, which "
         "are done again most often, take the longest."),
        ("range(hit,", "range(hit + 1,", "Training starts after the hit slice",
         "you start after the slice that was hit: its own step has seen the row, so it has to be "
         "done again too."),
        ("sum(shares) / slices", "shares[0]", "The worst case: the first slice is hit",
         "this is the worst case, a row in the first slice: take the mean over all slices."),
        ("sum(shares) / slices", "shares[-1]", "The best case: the last slice is hit",
         "this is the best case, a row in the last slice: take the mean over all slices."),
        ("for hit in range(1, slices + 1)", "for hit in range(slices)",
         "The slice hit runs from 0 to R − 1, while steps count from 1",
         "your hit slice runs from 0, and your steps count from 1: let both count from 1, so that "
         "slice R has its turn."),
        ("return sum", "return 1 - sum", "The share that is saved",
         "this is the share that is saved: give the share that is trained again."),
        ("(shares) / slices", "(shares)", "The sum over the slices instead of their mean",
         "you added the shares up: divide by the number of slices, as one request hits one of "
         "them."),
        ("sum(shares) / slices", "2 / 3", "The value for very many slices",
         "this is where the share goes with very many slices: it depends on how many there are."),
    ),
    remark="The sums come to 2/3 + 1/(3R): even very many slices save a third, and each one costs "
           "a checkpoint. `here.cost.slicing` gives it for batches too.",
)


# ---------------- 2.4 batch_share
def batch_share(shards, slices, requests):
    """Expected share of all visits that a batch of requests makes necessary. ints -> float"""
    steps = range(1, slices + 1)
    spared = [(1 - step / (shards * slices)) ** requests for step in steps]
    return sum(step * (1 - p) for step, p in zip(steps, spared, strict=True)) / sum(steps)


def _batch_cases():
    return [("one request", (5, 4, 1)), ("a few requests", (10, 3, 4)),
            ("one slice", (6, 1, 6)), ("one shard", (1, 7, 3)),
            ("one shard with one slice", (1, 1, 2)), ("no request", (4, 4, 0)),
            ("more slices than shards", (3, 20, 5)), ("more requests than shards", (5, 10, 30)),
            ("many shards", (200, 2, 12))]


BATCH = Exercise(
    id="2.4", title="The price of a batch",
    trains="an expectation step by step; why a large batch is no bargain", difficulty=4,
    minutes=15, points=3, solution=batch_share, cases=_batch_cases, rtol=1e-6,
    hints=("Look at one step of one shard, say step i. Which of the S · R places must a row lie in "
           "so that this step has to be made again? The chance that no row of the batch lies in "
           "one of them is easier.",
           "Step i goes over the slices 1 … i of its shard: i of S · R places. It is spared with "
           "the chance (1 − i / (S R))^K. It takes i units of work, so the share is the sum of "
           "i · (1 − (1 − i / (S R))^K) over i, divided by the sum of i.",
           "For each step from 1 to R raise 1 minus step / (shards times slices) to the power "
           "`requests`. Weight one minus that with the number of the step, add up, and divide by "
           "the sum of the steps' numbers. All shards are alike, so S drops out of the mean."),
    mistakes=(
        ("1 - step / (shards * slices)", "1 - 1 / (shards * slices)",
         "Only hits in the step's own slice count",
         "you count hits in the slice of the step's own number. A step goes over all slices so "
         "far: a hit in any of them spoils it."),
        ("step * (1 - p) for step, p in zip(steps, spared, strict=True)) / sum(steps)",
         "1 - p for p in spared) / slices", "Every step takes the same work",
         "your steps all weigh the same. Step i goes over i slices, so the late ones, which are "
         "spoiled most often, take the most."),
        ("(1 - step / (shards * slices)) ** requests", "1 - requests * step / (shards * slices)",
         "The chances of the requests are added up",
         "you add the chances of the single requests up, so a step that is hit twice counts twice "
         "and the share can pass 1. It is made again once: start from the chance that none hits."),
        ("(1 - step / (shards * slices)) ** requests", "1 - (step / (shards * slices)) ** requests",
         "All requests have to hit a step",
         "in your version a step is made again when all rows of the batch lie in its slices: one "
         "is enough."),
        ("(shards * slices)", "slices", "All requests lie in the same shard",
         "you let all rows of the batch lie in the shard you look at: each is there with the "
         "chance 1/S only."),
        ("(1 - p)", "p", "The share that is saved",
         "this is the share that is spared: give the share that is made again."),
        (" ** requests", "", "One request, whatever their number",
         "this is the share for one request: with more of them it grows."),
        ("(1 - step / (shards * slices)) ** requests",
         "1 - (1 - (1 - 1 / shards) ** requests) * step / slices",
         "A shard that is hit restarts as after one request",
         "you let a shard that is hit start again as after one request. Several rows in one shard "
         "hit earlier slices: take the batch into account at each step."),
    ),
    remark="With one request it is the share of 2.3 divided by S. "
           "`here.cost.visits(n, epochs, S, R, K, batch=True)` is n − K rows times this.",
)


# ---------------- 2.5 assign
def assign(risk, shards, slices):
    """A place for each row, cheap where requests are many. (n,) -> (shard, slice), both (n,) int64

    Shards: rows in order of risk, cut at equal shares of the sum of √risk, so that those who leave
    often lie in few and small shards. Slices: of one size, those who leave often last.
    """
    order = risk.argsort(stable=True)
    root = risk[order].sqrt()
    shard, slice_ = torch.empty_like(order), torch.empty_like(order)
    shard[order] = (shards * (root.cumsum(0) - root / 2) / root.sum()).long().clamp(max=shards - 1)
    for s in range(shards):
        rows = order[shard[order] == s]
        slice_[rows] = torch.arange(len(rows)) * slices // max(1, len(rows))
    return shard, slice_


def _risk_cases():
    rng = np.random.default_rng(25)
    two = torch.from_numpy(np.where(rng.random(400) < 0.1, 10.0, 1.0))
    quiet = heavy_tail(900, rng) * torch.from_numpy(rng.random(900) < 0.7)
    return [
        ("few rows make most requests", (heavy_tail(1000, rng), 5, 4)),
        ("one slice", (heavy_tail(500, rng), 6, 1)),
        ("two slices", (heavy_tail(400, rng), 3, 2)),
        ("many slices", (heavy_tail(600, rng), 4, 6)),
        ("a tenth of the rows asks ten times as often", (two, 4, 2)),
        ("a third never asks", (quiet, 5, 4)),
        ("most hardly ever ask", (torch.from_numpy(rng.random(800) ** 8), 8, 3)),
    ]


def requests_a_training(places, risk, shards, slices):
    """How many requests, as they are expected, cost as many visits as one training."""
    return 1 / expected_cost(risk, as_partition(places, len(risk), shards, slices))


def _published(risk, shards, slices):
    """A little more than the best of the uniform partition and of both published ideas."""
    rules = ("uniform", "equal-requests", "late")
    return 1e-6 + max(1 / expected_cost(risk, by_risk(risk, shards, slices, 0, rule))
                      for rule in rules)


ASSIGN = Exercise(
    id="2.5", title="A partition for those who leave",
    trains="a partition as an optimum; a published rule that saves nothing; what a saving costs",
    difficulty=5, minutes=30, points=5, solution=assign, cases=_risk_cases,
    measured="the number of requests that one training pays for", measure=requests_a_training,
    floor=_published,
    hints=("Two things make a request cheap: few rows in the shard that is hit, and a late slice. "
           "Who leaves often should have both. But a small shard makes the others larger.",
           "With p the risk of a row and shards of rows of like risk, a shard of m rows costs "
           "about p m² a request. The sum over S shards is smallest where √p · m is the same in "
           "all: cut the sorted rows where the sum of √p reaches 1/S, 2/S, …",
           "Sort the rows by risk. Give each the shard in which its cumulative sum of square "
           "roots falls, as a share of the total times `shards`, rounded down. Then go through "
           "the shards, and number the rows of each in the same order from the first slice to "
           "the last, in equal parts."),
    mistakes=(
        (("(shards * (root.cumsum(0) - root / 2) / root.sum()).long().clamp(max=shards - 1)",
          "order[shard[order] == s]"),
         ("torch.arange(len(order)) % shards", "(shard == s).nonzero().flatten()"),
         "Even shards, slices in the order of the rows",
         "your places do not hang on the risk in a way that helps: it is the uniform partition, "
         "with a little less chance in it."),
        (".sqrt()", "",
         "Shards that expect equally many requests",
         "your shards expect equally many requests each. Then P(hit) = 1/S whatever their sizes, "
         "and the rows to train again come to n/S: the shards save nothing. Leavers need shards "
         "that are smaller, but not that much smaller."),
        ("(shards * (root.cumsum(0) - root / 2) / root.sum()).long().clamp(max=shards - 1)",
         "torch.arange(len(order)) % shards",
         "Even shards, likely leavers in the last slices",
         "you let likely leavers come late, and all shards are alike. That is as far as one of the "
         "published ideas goes: shards of unequal size get further."),
        ("root = risk[order].sqrt()", "root = torch.ones_like(risk)",
         "Sorted rows in shards of one size",
         "your shards are sorted, and of one size. So each hit costs the same number of rows, "
         "whoever it was: the sizes have to follow the risk."),
        ("torch.arange(len(rows)) * slices", "torch.arange(len(rows)).flip(0) * slices",
         "Likely leavers in the first slices",
         "your likely leavers come first: a row in the first slice sends its shard back to the "
         "very beginning. Let them come last."),
        ("risk.argsort(stable=True)", "torch.arange(len(risk))",
         "Nothing is sorted",
         "you cut the rows in their given order, so every shard and slice holds rows of every "
         "risk: sort them by risk first."),
        ("return shard, slice_", "return shard + 1, slice_",
         "Shards are counted from 1",
         "your shards are counted from 1: count them from 0."),
    ),
    remark="How far can it go? Try slices of other sizes, and look at the accuracy that the next "
           "cell measures, at its price when the guess about who leaves was wrong.",
)


EXERCISES = (PLACE, FIRST, SHARE, BATCH, ASSIGN)
