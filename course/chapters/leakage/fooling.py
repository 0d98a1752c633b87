"""Shortcuts that give a nice number and say nothing."""

import numpy as np

from labkit import training

from .attackers import by_original, fit
from .shadows import TARGETS
from .ulira import auc, logit_confidence


def judged_on_what_it_learned(pairs) -> list:
    """A forest that is judged on the very pairs from which it learned. -> AUCs of the originals"""
    return by_original(fit(pairs, "concatenation", "forest"), pairs)


def lazy(scores, originals, inside) -> np.ndarray:
    """Strangers' worlds skip the unlearner, as shadows and when judged. (s, m) -> (s, 50)"""
    return np.where(*(a[:, :TARGETS] for a in (inside, scores, originals)))


def other_strangers(worlds, count=12) -> tuple:
    """AUC of confidence: members against strangers as they are, and against turned pictures.

    The turned ones are the same strangers with their numbers in reverse order.
    """
    honest, turned = [], []
    for s in range(min(count, len(worlds.nets))):
        inside = worlds.inside[s, :TARGETS]
        x, y = worlds.data.x[:TARGETS], worlds.data.y[:TARGETS]
        straight, round_ = (logit_confidence(training.predict(worlds.nets[s], rows), y).cpu()
                            for rows in (x, x.flip(1)))
        truth = np.arange(TARGETS) < int(inside.sum())
        for found, others in ((honest, straight), (turned, round_)):
            found.append(auc(np.r_[straight[inside].numpy(), others[~inside].numpy()], truth))
    return honest, turned
