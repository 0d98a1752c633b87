"""What only the chapter on verification uses: owners, logs, providers."""

from . import provider
from .log import Log, checkpoint, file_of, load_log, restored, save, write_log
from .logged import fresh_log, sgd_step, train_logged
from .owners import (
    Decision,
    critical_value,
    decide,
    fresh_rate,
    make_trigger,
    miss_rate,
    planted_rate,
    pool,
)
from .provider import (
    adversarial_nearest,
    adversarial_search,
    edit_log,
    forge,
    honest,
    ignore,
    nearest,
)
from .replay import Report, floor, follows, max_use_pvalue, replay_errors, usage, verify

__all__ = [
    "Decision", "Log", "Report", "adversarial_nearest", "adversarial_search",
    "checkpoint", "critical_value", "decide", "edit_log", "file_of", "floor", "follows",
    "forge", "fresh_log", "fresh_rate", "honest", "ignore", "load_log", "make_trigger",
    "max_use_pvalue", "miss_rate", "nearest", "planted_rate", "pool", "provider",
    "replay_errors", "restored", "save", "sgd_step", "train_logged", "usage", "verify",
    "write_log",
]
