"""Which rows: checked forget sets, splits, stratified draws."""

from dataclasses import dataclass

import numpy as np
import torch

from .base import LabError
from .rules import is_whole, some


@dataclass(frozen=True, eq=False)
class Split:
    """Which rows are forgotten, which stay, which test rows count: (m,) int64 indices each.

    test: without the classes in `dropped`, whose every training row is forgotten (Liu et al. 2023).
    """

    forget: torch.Tensor
    retain: torch.Tensor
    test: torch.Tensor
    dropped: tuple[int, ...] = ()

    def __post_init__(self):
        rows = torch.cat([self.forget, self.retain]).sort().values
        if not torch.equal(rows, torch.arange(len(rows), device=rows.device)):
            raise LabError("A split's forget and retain rows must be disjoint and cover all "
                           "training rows: make it with data.split(forget).")


def check_forget(forget, n: int, allow_empty: bool = False) -> torch.Tensor:
    """A forget set as a LongTensor, order kept. forget: training indices, of the n there are.

    LabError when it is no flat list of whole numbers, empty, out of range, not unique or all rows.
    """
    rows = forget
    try:
        if not isinstance(forget, torch.Tensor):
            rows = torch.from_numpy(np.array(forget, order="C"))
    except (TypeError, ValueError):
        rows = None
    if rows is None or rows.ndim != 1:
        raise LabError(f"A forget set is a flat list of training indices: got {some([forget])}.")
    if len(rows) == 0 and not allow_empty:
        raise LabError("The forget set is empty: give at least one training index.")
    if len(rows) and (rows.dtype == torch.bool or rows.is_floating_point() or rows.is_complex()):
        raise LabError(f"The forget set holds {rows.dtype} values: give training indices as whole "
                       "numbers (of a mask: mask.nonzero().flatten()).")
    rows = rows.long()
    if len(outside := rows[(rows < 0) | (rows >= n)]):
        raise LabError(f"The forget set holds the index {int(outside[0])}: training indices run "
                       f"from 0 to {n - 1}.")
    values, counts = rows.unique(return_counts=True)
    if len(values) < len(rows):
        raise LabError(f"The forget set holds the index {int(values[counts > 1][0])} twice: give "
                       "each row once.")
    if len(rows) == n:
        raise LabError(f"The forget set is the whole training set ({n} rows): leave at least one "
                       "row to learn from.")
    return rows


def stratified(y, n, cap, rng, what) -> np.ndarray:
    """Row numbers, sorted: n of them (at most cap), each class in proportion and at least once."""
    counts = np.bincount(y)
    k = np.count_nonzero(counts)
    for limit in (n, cap):
        if limit is not None and (not is_whole(limit) or limit < k):
            raise LabError(f"Asked for {limit!r} {what}: give a whole number from {k} (one a "
                           f"class) to {len(y)}.")
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
    return np.sort(np.concatenate([rng.choice(np.flatnonzero(y == c), t, replace=False)
                                   for c, t in enumerate(take)]))
