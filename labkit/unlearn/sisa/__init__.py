"""SISA: exact unlearning by sharding and slicing."""

from . import cost
from .checkpoints import size
from .ensemble import Exactness, Sisa, aggregate, load, train, unlearn, verify_exact
from .partition import Partition, by_hash, by_risk, place

__all__ = ["Exactness", "Partition", "Sisa", "aggregate", "by_hash", "by_risk", "cost", "load", "place",
           "size", "train", "unlearn", "verify_exact"]
