"""What only the chapter on certificates uses."""

from . import convex, deep, drawing, promise, receipts, slow, tuning
from .convex import Ledger, remove_one_by_one
from .promise import classic_epsilon, classic_sigma, exact_sigma, implied_epsilon, theorem
from .rows import two_classes, world
from .telling import by_damping, each, epsilon_words, show, side

__all__ = [
    "Ledger", "by_damping", "classic_epsilon", "classic_sigma", "convex", "deep", "drawing", "each",
    "epsilon_words", "exact_sigma", "implied_epsilon", "promise", "receipts", "remove_one_by_one",
    "show", "side", "slow", "theorem", "tuning", "two_classes", "world",
]
