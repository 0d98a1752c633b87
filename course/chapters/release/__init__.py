"""What only the chapter on releases uses."""

from .adaptive import average, confidence_change, kept, rescale, subtract_path
from .changed import (
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
from .private import Spent, composed, epsilon_of, fit_private, noise_for

__all__ = [
    "Filtered", "Spent", "add_noise", "average", "composed", "confidence_change", "epsilon_of",
    "finetune_release", "fit_private", "kept", "label_only", "noise_for", "prune", "rescale",
    "rounded", "subtract_path", "tempered", "top_k", "update_rms",
]
