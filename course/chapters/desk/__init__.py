"""What only the chapter on the desk uses."""

from .adaptive import clustered, evading, monitored, side_effect, unlike
from .asking import (
    AIMS,
    Rules,
    choose_request,
    expected_margin,
    influence,
    largest_step,
    losses,
    overstated,
    people,
    remembered,
    surviving,
)
from .contents import (
    Desk,
    chi_squared,
    coherence,
    features,
    last_inputs,
    prepare,
    quarantine,
    self_influence,
    split_request,
    trial_scores,
    trial_start,
)
from .drawing import before_after, class_plane, explorer, one_request, spread_out, strips
from .gating import (
    candidates,
    judged_by,
    met,
    nearest,
    quietest,
    residual_lengths,
    table,
    two_limits,
    variants,
)
from .monitor import (
    Monitor,
    conformal_limit,
    cusum,
    detection,
    deviations,
    fit_cusum,
    fit_monitor,
    mean_and_precision,
    score,
)
from .outcomes import (
    alone_in_class,
    filtered,
    flips,
    isolated_shares,
    joined_to,
    less,
    queue,
    success,
    unlearned,
    waiting,
    without,
)
from .spreading import by_target, campaign, campaigns, hasty, rehearsed, sent_in
from .telling import (
    PERCENT,
    POINTS,
    alarms_told,
    campaigns_told,
    effect,
    ends,
    flagged_less,
    gates_told,
    monitor_parts,
    noisiest,
    percent,
    spared,
)
from .watching import (
    LENGTH,
    START,
    above_drift,
    benign_features,
    beyond_threshold,
    disguise,
    log_scores,
    ready,
    running,
    seen_by_monitor,
    streamed,
    tapes,
)

__all__ = [
    "AIMS", "LENGTH", "PERCENT", "POINTS", "START", "Desk", "Monitor", "Rules", "above_drift",
    "alarms_told", "alone_in_class", "before_after", "benign_features", "beyond_threshold",
    "by_target", "campaign", "campaigns", "campaigns_told", "candidates", "chi_squared",
    "choose_request", "class_plane", "clustered", "coherence", "conformal_limit", "cusum",
    "detection", "deviations", "disguise", "effect", "ends", "evading", "expected_margin",
    "explorer", "features", "filtered", "fit_cusum", "fit_monitor", "flagged_less", "flips",
    "gates_told", "hasty", "influence", "isolated_shares", "joined_to", "judged_by",
    "largest_step", "last_inputs", "less", "log_scores", "losses", "mean_and_precision", "met",
    "monitor_parts", "monitored", "nearest", "noisiest", "one_request", "overstated", "people",
    "percent", "prepare", "quarantine", "queue", "quietest", "ready", "rehearsed", "remembered",
    "residual_lengths", "running", "score", "seen_by_monitor", "self_influence", "sent_in",
    "side_effect", "spared", "split_request", "spread_out", "streamed", "strips", "success",
    "surviving", "table", "tapes", "trial_scores", "trial_start", "two_limits", "unlearned",
    "unlike", "variants", "waiting", "without",
]
