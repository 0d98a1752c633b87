"""Answers changed on the way out, and the class of a deleted row named from them."""

import copy

import numpy as np

from labkit import attack

from .adaptive import confidence_change, rescale
from .changed import label_only, rounded, tempered, top_k

# name -> (a BlackBox -> changed answers, the smallest answer that is believed for its logarithm)
ANSWERS = {"all digits": (lambda box: box, 1e-38),
           "4 decimals": (lambda box: rounded(box, 4), 0.5e-4),
           "2 decimals": (lambda box: rounded(box, 2), 0.5e-2),
           "top 3": (lambda box: top_k(box, 3), 1e-38), "label only": (label_only, 1e-38),
           "T = 10": (lambda box: tempered(box, 10.0), 1e-38),
           "T = 0.3": (lambda box: tempered(box, 0.3), 1e-38)}


def answering(model, name, who):
    """A model's answers under a defence: as they are (plain) or as logarithms (adaptive)."""
    change, smallest = ANSWERS[name]
    box = change(attack.BlackBox(model))
    return box if who == "plain" else lambda x: rescale(box(x), floor=smallest)


def named(w) -> dict:
    """1 where label inference names the class of the deleted row, a tie by lot.

    -> {(defence, who): one number a deleted row}. The class whose ten probes lose most confidence
    is named; with logarithms the sizes of all changes shrink alike under a temperature, so that it
    need not be known.
    """
    d, lot = w.data, np.random.default_rng(w.seed)
    old, *new = (copy.deepcopy(m).float() for m in (w.theta, *w.after))
    probes, out = attack.probes_by_gradient(old, d.n_classes, 10, shape=d.shape, mean=d.mean,
                                            std=d.std, seed=w.seed % 10**6), {}
    for name in ANSWERS:
        for who in ("plain", "adaptive"):
            before, *after = (answering(m, name, who) for m in (old, *new))
            changes = [confidence_change(before, box, probes, mean=d.mean, std=d.std)
                       for box in after]
            lowest = [(c == c.min()).nonzero().flatten().tolist() for c in changes]
            out[name, who] = np.array([float(lot.choice(low) == y) for low, y in
                                       zip(lowest, w.label.tolist(), strict=True)])
    return out


def harm(model, d, name) -> dict:
    """What honest people get: first labels changed, %; how far that label's probability moves."""
    box = attack.BlackBox(copy.deepcopy(model).float())
    p, q = box(d.x_test), ANSWERS[name][0](box)(d.x_test)
    first = p.argmax(1)
    return {"first label changed, %": 100 * (q.argmax(1) != first).double().mean().item(),
            "its probability moves by": (q - p).gather(1, first[:, None]).abs().mean().item()}
