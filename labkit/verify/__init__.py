"""Verification of unlearning: what an owner can find out by asking."""

from .backdoor import Trigger, hits, plant, stamp

__all__ = ["Trigger", "hits", "plant", "stamp"]
