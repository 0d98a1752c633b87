"""What only the chapter on defences uses."""

from .adaptive import (
    ascent,
    average,
    clustered,
    confidence_change,
    evading,
    monitored,
    rescale,
    side_effect,
    subtract_path,
    unlike,
)
from .contents import Desk, chi_squared, coherence, features, last_inputs, prepare, self_influence
from .monitor import (
    Monitor,
    cusum,
    detection,
    deviations,
    fit,
    fit_cusum,
    mean_and_precision,
    score,
)
from .private import Spent, composed, epsilon_of, fit_private, noise_for
from .quarantine import (
    calibrate,
    canary,
    check_contents,
    decide,
    influence_scores,
    outliers,
    quarantine,
    register,
    row_hash,
    split_request,
    trial_scores,
    trial_start,
)
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
    "Desk", "Filtered", "Monitor", "Spent", "add_noise", "ascent", "average", "calibrate",
    "canary", "check_contents", "chi_squared", "clustered", "coherence", "composed",
    "confidence_change", "cusum", "decide", "detection", "deviations", "epsilon_of", "evading",
    "features", "finetune_release", "fit", "fit_cusum", "fit_private", "group_epsilon",
    "influence_scores", "label_only", "last_inputs", "mean_and_precision", "monitored",
    "noise_for", "outliers", "prepare", "prune", "quarantine", "register", "rescale", "rounded",
    "row_hash", "score", "self_influence", "side_effect", "split_request", "subtract_path",
    "tempered", "top_k", "trial_scores", "trial_start", "unlike", "update_rms",
]
