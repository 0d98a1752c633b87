"""Exercises of notebook 02 on cost: the share of a shard to train again, and the rows of a batch of requests."""

from course.exercises.engine import Exercise

# ---------------- 2.4 expected_share


def expected_share(slices):
    """Expected share of a shard's training that one request makes necessary; each slice is hit equally often."""
    everything = sum(range(1, slices + 1))
    shares = [sum(range(hit, slices + 1)) / everything for hit in range(1, slices + 1)]
    return sum(shares) / slices


def _slice_cases():
    return [("two slices", (2,)), ("three slices", (3,)), ("one slice", (1,)), ("four slices", (4,)),
            ("ten slices", (10,)), ("many slices", (75,))]


def _not_growing(slices):
    """Every step takes the same time, as if it saw its own slice only"""
    return sum((slices - hit + 1) / slices for hit in range(1, slices + 1)) / slices


def _after_the_hit(slices):
    """Training starts after the hit slice"""
    return sum(sum(range(hit + 1, slices + 1)) for hit in range(1, slices + 1)) / sum(range(slices + 1)) / slices


def _worst(slices):
    """The worst case: the first slice is hit"""
    return 1.0


def _best(slices):
    """The best case: the last slice is hit"""
    return slices / sum(range(slices + 1))


def _from_zero(slices):
    """The slice hit runs from 0 to R − 1, while steps count from 1"""
    return sum(sum(range(hit, slices + 1)) for hit in range(slices)) / sum(range(slices + 1)) / slices


def _saved(slices):
    """The share that is saved"""
    return 1 - expected_share(slices)


def _summed(slices):
    """The sum over the slices instead of their mean"""
    return slices * expected_share(slices)


def _limit(slices):
    """The value for very many slices"""
    return 2 / 3


SHARE = Exercise(
    id="2.4", title="What slices save", trains="an expected cost as a plain average; why slicing saves a third at most",
    difficulty=3, minutes=12, points=2, solution=expected_share, cases=_slice_cases, rtol=1e-6,
    hints=("Step i trains on the first i slices, so it takes i units of time. A row in slice r spoils step r and all "
           "steps after it.",
           "share(r) = (r + … + R) / (1 + … + R), and the answer is the mean of share(r) over r = 1 … R.",
           "Add up 1 to R for a whole training. For each r from 1 to R, add up r to R (`range` stops before its end) "
           "and divide by the whole. Take the mean of these R shares."),
    mistakes=(
        (_not_growing, "your steps all take the same time. Step i trains on i slices, so the late ones, which are "
                       "done again most often, take the longest."),
        (_after_the_hit, "you start after the slice that was hit: its own step has seen the row, so it has to be done "
                         "again too."),
        (_worst, "this is the worst case, a row in the first slice: take the mean over all slices."),
        (_best, "this is the best case, a row in the last slice: take the mean over all slices."),
        (_from_zero, "your hit slice runs from 0, and your steps count from 1: let both count from 1, so that slice R "
                     "has its turn."),
        (_saved, "this is the share that is saved: give the share that is trained again."),
        (_summed, "you added the shares up: divide by the number of slices, as one request hits one of them."),
        (_limit, "this is where the share goes with very many slices: it depends on how many there are."),
    ),
    remark="The sums come to 2/3 + 1/(3R): even very many slices save a third, and each one costs a checkpoint. "
           "`sisa.cost.slicing` gives it for batches too.",
)

# ---------------- 2.5 batch_rows


def batch_rows(n, shards, requests):
    """Expected rows to visit again for a batch of distinct requests; one slice, rows placed independently. -> float"""
    not_hit = (1 - 1 / shards) ** requests
    return float((n - requests) * (1 - not_hit))


def _batch_cases():
    return [("a few requests", (1000, 10, 4)), ("one request", (1000, 10, 1)), ("a request a shard", (60, 6, 6)),
            ("more requests than shards", (500, 5, 30)), ("one shard", (100, 1, 7)), ("no request", (100, 4, 0)),
            ("half of all rows", (40, 20, 20)), ("all rows but one", (9, 8, 8)), ("many shards", (5000, 200, 12))]


def _not_hit(shards, requests):
    return (1 - 1 / shards) ** requests


def _hit_twice(n, shards, requests):
    """A shard that is hit twice counts twice"""
    return requests * n / shards


def _forgotten_too(n, shards, requests):
    """The forgotten rows are visited again"""
    return n * (1 - _not_hit(shards, requests))


def _never_all(n, shards, requests):
    """(1/S) to the power K as the chance that a shard is not hit"""
    return (n - requests) * (1 - (1 / shards) ** requests)


def _capped(n, shards, requests):
    """Every request hits a shard of its own, until all are hit"""
    return min(requests, shards) * n / shards


def _spared(n, shards, requests):
    """The rows in the shards that are not hit"""
    return (n - requests) * _not_hit(shards, requests)


def _equal_shards(n, shards, requests):
    """The formula for shards of exactly n/S rows: all K are taken off after the chance"""
    return n * (1 - _not_hit(shards, requests)) - requests


def _one_request(n, shards, requests):
    """The chance that one request hits the shard, whatever their number"""
    return (n - requests) / shards


BATCH = Exercise(
    id="2.5", title="The price of a batch",
    trains="the chance that a shard is hit at least once; why batches are cheap",
    difficulty=2, minutes=8, points=1, solution=batch_rows, cases=_batch_cases, rtol=1e-6,
    hints=("Take one row that stays. It is visited again when at least one of the forgotten rows lies in its shard. "
           "The chance of the opposite is easier.",
           "A forgotten row misses that shard with the chance 1 − 1/S, and all K miss it with (1 − 1/S)^K. So the "
           "n − K rows that stay come to (n − K) · (1 − (1 − 1/S)^K).",
           "Raise 1 − 1/shards to the power `requests`: the chance to be spared. One minus it, times the number of "
           "rows that stay."),
    mistakes=(
        (_hit_twice, "you count a shard that is hit twice as two: in a batch it is trained again once."),
        (_forgotten_too, "you visit the forgotten rows again: take them off before you multiply."),
        (_never_all, "(1/S)^K is the chance that all requests hit one given shard. It is spared when all of them miss "
                     "it: each with 1 − 1/S."),
        (_capped, "you let every request hit a shard of its own: two may well lie in the same one."),
        (_spared, "these are the rows in shards that nobody hit: you are asked for the others."),
        (_equal_shards, "this is the paper's formula, for shards of n/S rows each. Here rows are placed independently: "
                        "the chance holds for the n − K rows that stay, so take K off first."),
        (_one_request, "this is the chance that one request hits the shard: with more of them it grows."),
    ),
    remark="`sisa.cost.visits(n, 1, shards, 1, requests, batch=True)` gives the same. `sisa.cost.sharding_batch` is "
           "the paper's, for shards of equal size: it is lower by K (1 − 1/S)^K rows, less than one row a request.",
)
