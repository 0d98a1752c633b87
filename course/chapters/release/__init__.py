"""What only the chapter on releases uses."""

from .adaptive import average, confidence_change, kept, rescale, subtract_path
from .answering import ANSWERS, harm, named
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
from .galleries import before_and_after, panel, strip
from .hunting import WEIGHTS, hunt, hunts, rehearse_hunt
from .inverters import (
    by_closed_form,
    closed_form,
    gains,
    near,
    pictures,
    rank_one,
    sweep,
    together,
)
from .plots import privacy_figure, who_withstands
from .private import Spent, composed, epsilon_of, fit_private, noise_for
from .released import (
    DEFENCES,
    NOISE,
    PRUNED,
    STEPS,
    aims_at,
    alike,
    imitations,
    retrained_rise,
)
from .rule import PRICE, TOO_DEAR, Published, Publisher, harder
from .telling import (
    LIMITS,
    Outcome,
    in_dB,
    of,
    outcomes,
    percent,
    sides,
    spread,
    still_unlearned,
    told,
    verdicts,
    withstanding,
)
from .trained import INFLUENCE, Setting, private_ascent, private_trials, shrinkage
from .worlds import ascend, retrained, row_losses, run_all, seconds, test_accuracy, world

__all__ = [
    "ANSWERS", "DEFENCES", "INFLUENCE", "LIMITS", "NOISE", "PRICE", "PRUNED", "STEPS",
    "TOO_DEAR", "WEIGHTS", "Filtered", "Outcome", "Published", "Publisher", "Setting", "Spent",
    "add_noise",
    "aims_at", "alike", "ascend", "average", "before_and_after", "by_closed_form", "closed_form",
    "composed", "confidence_change", "epsilon_of", "finetune_release",
    "fit_private", "gains", "harder", "harm", "hunt", "hunts", "imitations", "in_dB",
    "kept", "label_only", "named",
    "near", "noise_for", "of", "outcomes", "panel", "percent", "pictures", "privacy_figure",
    "private_ascent", "private_trials", "prune", "rank_one", "rehearse_hunt", "rescale",
    "retrained", "retrained_rise", "rounded", "row_losses", "run_all", "seconds", "shrinkage",
    "sides", "spread", "still_unlearned", "strip", "subtract_path", "sweep", "tempered",
    "test_accuracy", "together", "told", "top_k", "update_rms", "verdicts", "who_withstands",
    "withstanding", "world",
]
