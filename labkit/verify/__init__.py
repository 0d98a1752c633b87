"""Verification of unlearning: what an owner can find out by asking, what a verifier can from a log, and who cheats."""

from . import provider
from .backdoor import (
    Decision,
    Trigger,
    critical_value,
    decide,
    fresh_rate,
    hits,
    make_trigger,
    miss_rate,
    plant,
    planted_rate,
    pool,
    stamp,
)
from .log import Log, checkpoint, load_log
from .logged import sgd_step, train_logged
from .replay import Report, floor, follows, max_use_pvalue, replay_errors, usage, verify

__all__ = [
    "Decision", "Log", "Report", "Trigger", "checkpoint", "critical_value", "decide", "floor", "follows", "fresh_rate",
    "hits", "load_log", "make_trigger", "max_use_pvalue", "miss_rate", "plant", "planted_rate", "pool", "provider",
    "replay_errors", "sgd_step", "stamp", "train_logged", "usage", "verify",
]
