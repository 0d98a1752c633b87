"""What only the chapter on the desk uses."""

from .adaptive import (
    clustered,
    evading,
    monitored,
    side_effect,
    unlike,
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

__all__ = [
    "Desk", "Monitor", "chi_squared", "clustered",
    "coherence", "conformal_limit", "cusum", "detection",
    "deviations", "evading", "features", "fit_cusum",
    "fit_monitor", "last_inputs", "mean_and_precision",
    "monitored", "prepare", "quarantine", "score",
    "self_influence", "side_effect", "split_request",
    "trial_scores", "trial_start", "unlike",
]
