"""Exercises of notebook 02: where rows lie, the vote, and what forgetting costs.

Solutions use torch and F only, and what they import themselves, so that they can be copied out.
"""

import torch
import torch.nn.functional as F

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


# ---------------- 2.3 majority
def majority(logits):
    """The class with most votes; of tied ones, the likeliest on average. (S, n, k) -> (n,) int64"""
    votes = F.one_hot(logits.argmax(2), logits.shape[2]).sum(0)
    mean = logits.softmax(2).mean(0)
    fewer = votes < votes.max(1, keepdim=True).values
    return mean.masked_fill(fewer, -1).argmax(1)


def _probabilities(*rows):
    """Logits (S, 1, k) of members that give these probabilities to one row."""
    return torch.tensor(rows).log()[:, None]


def _member_cases():
    g = torch.Generator().manual_seed(24)
    cases = [
        ("two unsure members against one sure one",
         (_probabilities([.5, .3, .2], [.5, .3, .2], [.05, .9, .05]),)),
        ("two against two, the later class surer",
         (_probabilities([.4, .3, .3], [.4, .3, .3], [.1, .1, .8], [.1, .1, .8]),)),
        ("two members that disagree, and a class both like",
         (_probabilities([.5, .45, .05], [.02, .47, .51]),)),
        ("a tie, with one member's logits far larger",
         (torch.tensor([[[40., 0, 0]], [[9., 10, -90]], [[0., 3, 0]], [[2., 1, 0]]]),)),
    ]
    for what, s, n, k in (("more rows than members", 4, 60, 5), ("more members than rows", 7, 3, 4),
                          ("two members", 2, 30, 3), ("one member", 1, 12, 4),
                          ("two classes", 6, 25, 2), ("one row", 5, 1, 6),
                          ("many members", 20, 50, 8)):
        logits = torch.randn(s, n, k, generator=g)
        cases.append((what, (logits * (0.5 + 3 * torch.rand(s, 1, 1, generator=g)),)))
    cases.append(("negative logits", (cases[4][1][0] - 30,)))
    return cases


MAJORITY = Exercise(
    id="2.3", title="A vote, and its ties",
    trains="aggregating members; a vote is not a mean, and ties are common", difficulty=3,
    minutes=12, points=2, solution=majority, cases=_member_cases,
    hints=("Each member votes for its largest logit, and only the classes with most votes stay in "
           "the race. Where more than one is left, look at the members' probabilities.",
           "v(c) = #{s : argmax logits_s = c} and p(c) = mean over s of softmax(logits_s)(c). "
           "Predict the class with the largest p(c) among those with v(c) = max v.",
           "Make the votes one-hot with `F.one_hot` and add them up over the members. Take the "
           "softmax over the classes and its mean over the members. Set that mean to −1 where a "
           "class has fewer votes than the best one (`masked_fill`), and take the argmax of each "
           "row."),
    mistakes=(
        (".masked_fill(fewer, -1)", "", "No vote: the largest mean probability",
         "you took the mean of the probabilities: one sure member outweighs two unsure ones. In a "
         "vote each counts the same."),
        (("softmax(2).", ".masked_fill(fewer, -1)"), ("", ""), "No vote: the largest mean logit",
         "you took the mean of the logits: that is no vote, and a member with larger logits counts "
         "more. Let each one choose a class first."),
        ("mean.masked_fill(fewer, -1)", "(~fewer).long()",
         "Of tied classes the one with the lowest number",
         "your ties go to the class with the lowest number: let the mean probability decide."),
        (("sum(0)", "mean.masked_fill(fewer, -1)"), ("sum(1)", "votes"),
         "The votes are added up over the rows instead of the members",
         "you added the votes up over the rows: add them up over the members, dimension 0."),
        (("softmax(2).", "-1"), ("", "-torch.inf"), "Ties are decided by the mean logit",
         "your ties are decided by the mean logit: take the softmax first, as logits of different "
         "members have no common scale."),
        ("(fewer, -1)", "(fewer & ((~fewer).sum(1, keepdim=True) < 2), -1)",
         "On a tie, the largest mean probability of all classes",
         "on a tie you look at all classes: only those with most votes are still in the race."),
        ("mean.masked_fill(fewer, -1)",
         "(~fewer * (1 + F.one_hot(logits[0].argmax(1), logits.shape[2])))",
         "On a tie, the vote of the first member",
         "on a tie you follow the first member: no member may count more than another."),
        ("mean.masked_fill(fewer, -1).argmax(1)", "votes.max(1).values",
         "The number of votes instead of the class",
         "you returned how many votes the winner has: return its class."),
    ),
    remark="`sisa.aggregate(logits, \"vote\")` decides in the same way. With two classes and an "
           "even number of members a tie is common: an odd number avoids it.",
)


# ---------------- 2.4 expected_share
def expected_share(slices):
    """Expected share of a shard's training that one request costs; slices are hit equally often."""
    everything = sum(range(1, slices + 1))
    shares = [sum(range(hit, slices + 1)) / everything for hit in range(1, slices + 1)]
    return sum(shares) / slices


def _slice_cases():
    return [("two slices", (2,)), ("three slices", (3,)), ("one slice", (1,)),
            ("four slices", (4,)), ("ten slices", (10,)), ("many slices", (75,))]


SHARE = Exercise(
    id="2.4", title="What slices save",
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


# ---------------- 2.5 batch_rows
def batch_rows(n, shards, requests):
    """Expected rows to visit again for a batch; one slice, rows placed independently. -> float"""
    not_hit = (1 - 1 / shards) ** requests
    return float((n - requests) * (1 - not_hit))


def _batch_cases():
    return [("a few requests", (1000, 10, 4)), ("one request", (1000, 10, 1)),
            ("a request a shard", (60, 6, 6)), ("more requests than shards", (500, 5, 30)),
            ("one shard", (100, 1, 7)), ("no request", (100, 4, 0)),
            ("half of all rows", (40, 20, 20)), ("all rows but one", (9, 8, 8)),
            ("many shards", (5000, 200, 12))]


BATCH = Exercise(
    id="2.5", title="The price of a batch",
    trains="the chance that a shard is hit at least once; why batches are cheap", difficulty=2,
    minutes=8, points=1, solution=batch_rows, cases=_batch_cases, rtol=1e-6,
    hints=("Take one row that stays. It is visited again when at least one of the forgotten rows "
           "lies in its shard. The chance of the opposite is easier.",
           "A forgotten row misses that shard with the chance 1 − 1/S, and all K miss it with (1 − "
           "1/S)^K. So the n − K rows that stay come to (n − K) · (1 − (1 − 1/S)^K).",
           "Raise 1 − 1/shards to the power `requests`: the chance to be spared. One minus it, "
           "times the number of rows that stay."),
    mistakes=(
        ("(n - requests) * (1 - not_hit)", "requests * n / shards",
         "A shard that is hit twice counts twice",
         "you count a shard that is hit twice as two: in a batch it is trained again once."),
        ("(n - requests)", "n", "The forgotten rows are visited again",
         "you visit the forgotten rows again: take them off before you multiply."),
        ("(1 - 1 / shards)", "(1 / shards)",
         "(1/S) to the power K as the chance that a shard is not hit",
         "(1/S)^K is the chance that all requests hit one given shard. It is spared when all of "
         "them miss it: each with 1 − 1/S."),
        ("(n - requests) * (1 - not_hit)", "min(requests, shards) * n / shards",
         "Every request hits a shard of its own, until all are hit",
         "you let every request hit a shard of its own: two may well lie in the same one."),
        ("(1 - not_hit)", "not_hit", "The rows in the shards that are not hit",
         "these are the rows in shards that nobody hit: you are asked for the others."),
        ("(n - requests) * (1 - not_hit)", "n * (1 - not_hit) - requests",
         "The formula for shards of exactly n/S rows: all K are taken off after the chance",
         "this is the paper's formula, for shards of n/S rows each. Here rows are placed "
         "independently: the chance holds for the n − K rows that stay, so take K off first."),
        (" ** requests", "", "The chance that one request hits the shard, whatever their number",
         "this is the chance that one request hits the shard: with more of them it grows."),
    ),
    remark="`here.cost.visits(n, 1, shards, 1, requests, batch=True)` gives the same. "
           "The paper's formula is for shards of equal size: it is lower by K "
           "(1 − 1/S)^K rows, less than one row a request.",
)


EXERCISES = (PLACE, FIRST, MAJORITY, SHARE, BATCH)
