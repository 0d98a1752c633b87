"""Exercises of notebook 02: where rows lie. What forgetting costs is in nb02_cost.py, the vote in nb02_vote.py.

Solutions use torch, F and copy only, and what they import themselves, so that they can be copied out.
"""

import hashlib

import torch

from course.chapters.sisa.exercises_cost import BATCH, SHARE
from course.chapters.sisa.exercises_vote import MAJORITY
from course.exercises.engine import Exercise

# ---------------- 2.1 place


def place(row, shards, slices, seed):
    """The place of one row, from a hash of its id alone: (shard, slice), both counted from 0."""
    import hashlib

    digest = hashlib.blake2b(f"{seed}:{row}".encode(), digest_size=8).digest()
    number = int.from_bytes(digest, "big")
    return number % shards, number // shards % slices


def _number(text, order="big"):
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), order)


def _split(number, shards, slices):
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


def _tied(row, shards, slices, seed):
    """The slice is number % slices, so it follows from the shard where both counts share a factor"""
    number = _number(f"{seed}:{row}")
    return number % shards, number % slices


def _by_position(row, shards, slices, seed):
    """Rows are dealt out in their order, without a hash"""
    return _split(row, shards, slices)


def _no_seed(row, shards, slices, seed):
    """The row alone is hashed, without the seed"""
    return _split(_number(f"{row}"), shards, slices)


def _from_one(row, shards, slices, seed):
    """Shards and slices are counted from 1"""
    shard, slice_ = place(row, shards, slices, seed)
    return shard + 1, slice_ + 1


def _hash_of_text(row, shards, slices, seed):
    """Python's own hash() of the text"""
    return _split(hash(f"{seed}:{row}"), shards, slices)


def _hash_of_numbers(row, shards, slices, seed):
    """Python's own hash() of the two numbers"""
    return _split(hash((seed, row)), shards, slices)


def _swapped(row, shards, slices, seed):
    """Shard and slice are swapped"""
    return place(row, shards, slices, seed)[::-1]


def _cut_digest(row, shards, slices, seed):
    """The first 8 bytes of the long digest instead of a digest of 8 bytes"""
    return _split(int.from_bytes(hashlib.blake2b(f"{seed}:{row}".encode()).digest()[:8], "big"), shards, slices)


def _little_endian(row, shards, slices, seed):
    """The bytes are read in little-endian order"""
    return _split(_number(f"{seed}:{row}", "little"), shards, slices)


PLACE = Exercise(
    id="2.1", title="A place that no other row decides",
    trains="placing by a hash of the id: a deletion moves nobody; shard and slice must not be tied",
    difficulty=2, minutes=8, points=1, solution=place, cases=_place_cases,
    hints=("Turn the seed and the row's id into one large number. Divided by S, its remainder gives the shard. The "
           "quotient, of which the shard uses nothing, gives the slice.",
           "z = the 8 bytes of blake2b(\"seed:row\") read as one big-endian number; shard = z mod S, "
           "slice = ⌊z / S⌋ mod R.",
           "Encode the text and give it to `hashlib.blake2b` with a digest size of 8. Make a number of the digest's "
           "bytes with `int.from_bytes`, in the order 'big'. Take the remainder by `shards`; divide with `//` before "
           "you take the remainder by `slices`."),
    mistakes=(
        (_tied, "your slice is the number's remainder as well, so it is tied to the shard: with as many slices as "
                "shards, each shard would have one slice with rows and the rest empty. Divide by shards first."),
        (_by_position, "you placed the row by its position: neighbours go side by side, so data in an order (by class, "
                       "by owner) are dealt out in it, and the seed changes nothing. Hash the text with seed and row."),
        (_no_seed, "your place does not depend on the seed: hash the text with both, the seed, a colon, the row."),
        (_from_one, "your shards and slices are counted from 1: a remainder starts at 0, and so do they."),
        (_hash_of_text, "Python's hash() of a text is another one in each process, so tomorrow nobody finds the row "
                        "again. Take blake2b."),
        (_hash_of_numbers, "you took Python's hash(): what it gives is up to the version of Python, and a place has to "
                           "be the same for years. Take blake2b."),
        (_swapped, "both numbers are right, in the wrong order: the shard comes first."),
        (_cut_digest, "you cut 8 bytes off a longer digest. blake2b mixes the length in, so they differ from a digest "
                      "of 8 bytes: ask for digest_size=8."),
        (_little_endian, "you read the bytes from the wrong end: the first one counts most ('big')."),
    ),
    remark="`labkit.unlearn.sisa.place` is this function. A random permutation of all rows would do for training; "
           "but one row less, and it would place the others anew.",
)

# ---------------- 2.2 first_slices


def first_slices(shard, slice_, request):
    """For each shard that the request hits, the first slice hit. (n,), (n,), (k,) -> dict of ints, {shard: slice}"""
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
                             ("many shards, few of them hit", 60, 20, 4, 6), ("many rows", 500, 8, 12, 40)):
        cases.append((what, (torch.randint(0, s, (n,), generator=g), torch.randint(0, r, (n,), generator=g),
                             torch.randperm(n, generator=g)[:k])))
    shard, slice_ = torch.tensor([0, 0, 1, 1, 1, 2]), torch.tensor([0, 3, 1, 2, 3, 2])
    cases += [("rows of one shard, the latest slice first", (shard, slice_, torch.tensor([4, 2, 3]))),
              ("rows of one shard, the latest slice last", (shard, slice_, torch.tensor([2, 3, 4]))),
              ("two shards", (shard, slice_, torch.tensor([5, 1])))]
    return cases


def _places(shard, slice_, request):
    return list(zip(shard[request].tolist(), slice_[request].tolist(), strict=True))


def _latest(shard, slice_, request):
    """The last slice hit instead of the first"""
    hits = _places(shard, slice_, request)
    return {s: max(r for t, r in hits if t == s) for s, _ in hits}


def _common(shard, slice_, request):
    """One slice for all shards, the first hit anywhere"""
    hits = _places(shard, slice_, request)
    return {s: min(r for _, r in hits) for s, _ in hits}


def _last_seen(shard, slice_, request):
    """The last row of the request decides"""
    return {s: r for s, r in _places(shard, slice_, request)}


def _first_seen(shard, slice_, request):
    """The first row of the request decides"""
    return {s: r for s, r in reversed(_places(shard, slice_, request))}


def _every_shard(shard, slice_, request):
    """Shards that are not hit are listed, with the number of slices"""
    return dict.fromkeys(range(int(shard.max()) + 1), int(slice_.max()) + 1) | first_slices(shard, slice_, request)


def _whole_shard(shard, slice_, request):
    """The first slice of all rows in the shard, not of those in the request"""
    return {s: int(slice_[shard == s].min()) for s in set(shard[request].tolist())}


def _tensors(shard, slice_, request):
    """The slices are tensors instead of ints"""
    return {s: torch.tensor(r) for s, r in first_slices(shard, slice_, request).items()}


def _row_before(shard, slice_, request):
    """Rows are counted from 1, so each one gets the place of the row before"""
    return first_slices(shard, slice_, request - 1)


def _last_clean(shard, slice_, request):
    """The slice before the first one hit"""
    return {s: r - 1 for s, r in first_slices(shard, slice_, request).items()}


FIRST = Exercise(
    id="2.2", title="Where each shard goes back to", trains="a batch of requests: each shard restarts once, and alone",
    difficulty=2, minutes=8, points=1, solution=first_slices, cases=_request_cases,
    hints=("A shard's checkpoints from the first hit slice on have seen a row that has to go. Later hits in the same "
           "shard change nothing, and hits in other shards do not concern it.",
           "first[s] = min { slice(row) : row in the request, shard(row) = s }, for the shards s with such a row.",
           "Start with an empty dict and go through the rows of the request. Get the row's shard and slice as ints, "
           "and put the slice in the dict if the shard is not there yet, or is there with a larger slice."),
    mistakes=(
        (_latest, "you took the last slice hit: the checkpoint before it has seen the rows of the earlier ones. Take "
                  "the first."),
        (_common, "all shards go back to the same slice in your version. They were trained apart: each one has a first "
                  "slice of its own."),
        (_last_seen, "in your version a later row of the request overwrites an earlier one: keep the smaller slice."),
        (_first_seen, "in your version the first row of the request decides for its shard: a later one may lie in an "
                      "earlier slice."),
        (_every_shard, "you list shards that the request does not hit: leave them out, their models stay."),
        (_whole_shard, "you looked at all rows of the shard: only those in the request have to go."),
        (_tensors, "the slices should be ints: `int(…)` or `.item()` makes one of a tensor with one element."),
        (_row_before, "you looked one row too low: row ids count from 0."),
        (_last_clean, "you are one slice too early: this is the last one that has not seen the rows. Give the first "
                      "that has."),
    ),
    remark="With the dict, `sisa.unlearn` destroys the checkpoints from these slices on, then trains. A batch costs "
           "each shard one restart, however many of its rows go.",
)

EXERCISES = (PLACE, FIRST, MAJORITY, SHARE, BATCH)
