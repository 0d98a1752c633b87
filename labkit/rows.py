"""Which rows: checked forget sets, splits, stratified draws."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from .base import LARGEST_SEED, LabError


@dataclass(frozen=True, eq=False)
class Split:
    """Which rows are forgotten, which stay, which test rows count.

    forget, retain: training indices, together all of them, none twice. test: test indices without the classes in
    `dropped`: those whose every training row is forgotten (Liu et al. 2023, class-wise forgetting).
    """

    forget: torch.Tensor
    retain: torch.Tensor
    test: torch.Tensor
    dropped: tuple[int, ...] = ()

    def __post_init__(self):
        rows = torch.cat([self.forget, self.retain]).sort().values
        if not torch.equal(rows, torch.arange(len(rows), device=rows.device)):
            raise LabError("A split's forget and retain rows must be disjoint and cover all training rows: "
                           "make it with data.split(forget).")


def check_forget(forget, n: int, allow_empty: bool = False) -> torch.Tensor:
    """A forget set as a LongTensor, order kept. forget: list, array or tensor of training indices; n: training rows.

    LabError when it is not a flat list of whole numbers, is empty, has duplicates, is out of range or is everything.
    """
    try:
        rows = forget if isinstance(forget, torch.Tensor) else torch.from_numpy(np.array(forget, order="C"))
    except (TypeError, ValueError):
        rows = None
    if rows is None or rows.ndim != 1:
        raise LabError(f"A forget set is a flat list of training indices: got {some([forget])}.")
    if len(rows) == 0 and not allow_empty:
        raise LabError("The forget set is empty: give at least one training index.")
    if len(rows) and (rows.dtype == torch.bool or rows.is_floating_point() or rows.is_complex()):
        raise LabError(f"The forget set holds {rows.dtype} values: give training indices as whole numbers "
                       "(of a mask: mask.nonzero().flatten()).")
    rows = rows.long()
    outside = rows[(rows < 0) | (rows >= n)]
    if len(outside):
        raise LabError(f"The forget set holds the index {int(outside[0])}: training indices run from 0 to {n - 1}.")
    values, counts = rows.unique(return_counts=True)
    if len(values) < len(rows):
        raise LabError(f"The forget set holds the index {int(values[counts > 1][0])} twice: give each row once.")
    if len(rows) == n:
        raise LabError(f"The forget set is the whole training set ({n} rows): leave at least one row to learn from.")
    return rows


def stratified(y, n, cap, rng, what) -> np.ndarray:
    """Row numbers, sorted: n of them (at most cap), each class in proportion and at least once."""
    counts = np.bincount(y)
    k = np.count_nonzero(counts)
    for limit in (n, cap):
        if limit is not None and (not is_whole(limit) or limit < k):
            raise LabError(f"Asked for {limit!r} {what}: give a whole number from {k} (one a class) to {len(y)}.")
    if n is not None and n > len(y):
        raise LabError(f"Asked for {n} {what}: there are only {len(y)}.")
    n = min(v for v in (n, cap, len(y)) if v is not None)
    if n == len(y):
        return np.arange(n)
    share = counts * n / len(y)
    take = np.maximum(np.floor(share), counts > 0).astype(int)
    while take.sum() < n:
        take[np.argmax(share - take)] += 1
    while take.sum() > n:  # rare classes got a row that others must give
        take[np.argmax(np.where(take > 1, take - share, -1))] -= 1
    return np.sort(np.concatenate([rng.choice(np.flatnonzero(y == c), t, replace=False) for c, t in enumerate(take)]))


def is_whole(value) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_number(value) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


# What a setting of training or unlearning must be, by its name.
RULES = {name: rule for names, rule in {
    "batch batch_size chunk cg_steps restarts rows": (lambda v: is_whole(v) and v > 0, "a whole number, 1 or more"),
    "epochs max_epochs steps": (lambda v: is_whole(v) and v >= 0, "a whole number, 0 or more"),
    "seed": (lambda v: is_whole(v) and 0 <= v <= LARGEST_SEED, "a whole number, 0 or more, of 64 bits at most"),
    "lr weight_decay damping": (lambda v: is_number(v) and 0 <= v < math.inf, "a finite number, 0 or more"),
    "alpha cap dampening gamma": (lambda v: is_number(v) and v >= 0, "a number, 0 or more"),
    "temperature": (lambda v: is_number(v) and 0 < v < math.inf, "a finite number above 0"),
    "momentum": (lambda v: is_number(v) and 0 <= v < 1, "a number from 0 to below 1"),
    "beta scale tau": (lambda v: is_number(v) and math.isfinite(v), "a finite number"),
}.items() for name in names.split()}


def check_settings(**given):
    """LabError at the first of the given settings that breaks its rule in RULES."""
    for name, value in given.items():
        fits, words = RULES[name]
        if not fits(value):
            raise LabError(f"{name} is {value!r}: give {words}.")


def checked_seed(seed) -> int:
    """The seed as an int, if it is one that NumPy and torch take."""
    if not is_whole(seed) or not 0 <= seed <= LARGEST_SEED:
        raise LabError(f"seed is {seed!r}: give a whole number, 0 or more{' (64 bits at most)' * is_whole(seed)}.")
    return int(seed)


def some(items) -> str:
    text = ", ".join(map(str, items)).replace("\n", " ")
    return text if len(text) <= 120 else text[:120] + " …"
