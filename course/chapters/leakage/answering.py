"""What a provider may answer instead of its probabilities, and what an attacker makes of it."""

from dataclasses import replace

import numpy as np

from labkit.base import LabError


def rounded(p, decimals: int) -> np.ndarray:
    """Probabilities with so many decimals. (m, k) -> (m, k)"""
    return np.round(p, decimals)


def top(p, k: int) -> np.ndarray:
    """The k largest probabilities; the others share what is left evenly. (m, c) -> (m, c)

    As in the released code of Chen et al. 2021.
    """
    p = np.asarray(p, float)
    if not 1 <= k <= p.shape[1]:
        raise LabError(f"The {k} largest of {p.shape[1]} probabilities: give 1 to {p.shape[1]}.")
    kept = p >= np.sort(p, 1)[:, [-k]]
    left, others = 1 - np.where(kept, p, 0).sum(1), (~kept).sum(1)
    return np.where(kept, p, (left / np.maximum(others, 1))[:, None])


def label_only(p) -> np.ndarray:
    """1 for the likeliest class, 0 for the others. (m, k) -> (m, k)"""
    return np.eye(p.shape[1])[np.argmax(p, 1)]


def tempered(p, t: float) -> np.ndarray:
    """Softmax at temperature t of the model that gave p: p^(1/t), made to sum to 1."""
    z = np.log(np.clip(p, 1e-30, None)) / t
    z = np.exp(z - z.max(1, keepdims=True))
    return z / z.sum(1, keepdims=True)


def served(pairs, rule):
    """The pairs as somebody sees them who gets only what the rule lets through."""
    return replace(pairs, before=rule(pairs.before), after=rule(pairs.after))


def spread(p) -> float:
    """Root mean square of the log-probabilities, each row's mean taken away. (m, k) -> float"""
    z = np.log(np.clip(p, 1e-30, None))
    return float(np.sqrt(((z - z.mean(1, keepdims=True)) ** 2).mean()))


RULES = {"all": lambda p: p, "2 decimals": lambda p: rounded(p, 2),
         "top 3": lambda p: top(p, 3), "label only": label_only}
