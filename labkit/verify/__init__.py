"""Verification of unlearning: what an owner can find out by asking, what a verifier can from a log, and who cheats."""

from .backdoor import Trigger, hits, plant, stamp

__all__ = [
    "Trigger", "hits", "plant", "stamp",
]
