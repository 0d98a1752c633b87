"""What only the chapter on verification uses: owners, logs, providers, trials, audits, figures."""

from . import provider
from .audit import SORTS, cheating_logs, detections, largest_use, suspicion
from .forging import SLACK, forged_runs, forging, scaling, swapped_steps, swaps_shown
from .keeping import (
    CHEATS,
    OTHER_SEED,
    audit_runs,
    counted,
    imitation,
    kept_runs,
    known_in_words,
)
from .log import Log, checkpoint, file_of, load_log, restored, save, shown, tampered, write_log
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
from .pictures import (
    detected,
    forged_panel,
    grid,
    known_beyond,
    one_owner,
    passing_steps,
    who_passes,
)
from .provider import (
    adversarial_nearest,
    adversarial_search,
    edit_log,
    forge,
    honest,
    ignore,
    nearest,
    stand_ins,
)
from .replay import (
    Report,
    floor,
    follows,
    max_use_pvalue,
    replay_errors,
    step_of,
    usage,
    verify,
)
from .telling import (
    accusing,
    percent,
    strengths_shown,
    told_accused,
    told_fooled,
    told_one_test,
    told_passing,
    told_strengths,
)
from .telling_logs import (
    AGREED,
    flagged,
    kept_shown,
    told_counts,
    told_detections,
    told_floor,
    told_growth,
    told_kept,
)
from .trials import (
    ALPHA,
    PROVIDERS,
    QUERIES,
    World,
    accusations,
    accused_runs,
    all_trials,
    answers,
    ask,
    gone,
    passing,
    planted,
    rates,
    strengths,
    trial,
    tried,
)

__all__ = [
    "AGREED", "ALPHA", "CHEATS", "Decision", "Log", "OTHER_SEED", "PROVIDERS", "QUERIES",
    "Report", "SLACK", "SORTS", "World", "accusations", "accused_runs", "accusing",
    "adversarial_nearest", "adversarial_search", "all_trials", "answers", "ask", "audit_runs",
    "cheating_logs", "checkpoint", "counted", "critical_value", "decide", "detected",
    "detections", "edit_log", "file_of", "flagged", "floor", "follows", "forge", "forged_panel",
    "forged_runs", "forging", "fresh_log", "fresh_rate", "gone", "grid", "honest", "ignore",
    "imitation", "kept_runs", "kept_shown", "known_beyond", "known_in_words", "largest_use",
    "load_log", "make_trigger", "max_use_pvalue", "miss_rate", "nearest", "one_owner",
    "passing", "passing_steps", "percent", "planted", "planted_rate", "pool", "provider",
    "rates", "replay_errors", "restored", "save", "scaling", "sgd_step", "shown", "stand_ins",
    "step_of", "strengths", "strengths_shown", "suspicion", "swapped_steps", "swaps_shown",
    "tampered", "told_accused", "told_counts", "told_detections", "told_floor", "told_fooled",
    "told_growth", "told_kept", "told_one_test", "told_passing", "told_strengths",
    "train_logged", "trial", "tried", "usage", "verify", "who_passes", "write_log",
]
