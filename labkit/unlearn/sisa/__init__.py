"""SISA: exact unlearning by sharding and slicing."""

from .checkpoints import size
from .ensemble import Sisa, aggregate, load, train, unlearn
from .partition import Partition, by_hash, place

__all__ = ["Partition", "Sisa", "aggregate", "by_hash", "load", "place", "size", "train", "unlearn"]
