"""What only the chapter on defences uses."""

from .adaptive import (
    average,
    clustered,
    confidence_change,
    evading,
    kept,
    monitored,
    rescale,
    side_effect,
    subtract_path,
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
from .private import Spent, composed, epsilon_of, fit_private, noise_for
from .release import (
    Filtered,
    add_noise,
    finetune_release,
    label_only,
    prune,
    rounded,
    tempered,
    top_k,
    update_rms,
)

__all__ = [
    "Desk", "Filtered", "Monitor", "Spent", "add_noise", "average", "chi_squared", "clustered",
    "coherence", "composed", "confidence_change", "conformal_limit", "cusum", "detection",
    "deviations", "epsilon_of", "evading", "features", "finetune_release", "fit_cusum",
    "fit_monitor", "fit_private", "kept", "label_only", "last_inputs", "mean_and_precision",
    "monitored", "noise_for", "prepare", "prune", "quarantine", "rescale", "rounded", "score",
    "self_influence", "side_effect", "split_request", "subtract_path", "tempered", "top_k",
    "trial_scores", "trial_start", "unlike", "update_rms",
]
