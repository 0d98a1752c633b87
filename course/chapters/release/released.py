"""What is let out under each defence, and what somebody who knows it aims at."""

import torch

from labkit import attack
from labkit.base import spawn_seeds

from .adaptive import average, kept, subtract_path
from .changed import add_noise, finetune_release, prune, update_rms
from .worlds import retrained, row_losses

NOISE, PRUNED, STEPS = (1, 3, 10, 30), (0.1, 0.5, 0.9), (1, 5, 20)
DEFENCES = ({"none": ("none", 0)} | {f"noise × {t:g}": ("noise", t) for t in NOISE}
            | {f"pruning {100 * s:g} %": ("pruning", s) for s in PRUNED}
            | {f"fine-tuning {s}": ("fine-tuning", s) for s in STEPS})
TUNING = dict(lr=0.01, batch_size=64)


def released_as(w, name):
    """One defence on each deletion. -> (models, what the adaptive attacker aims at, masks)

    The last two are None where there is nothing to adapt to, and where nothing is masked.
    """
    kind, strength = DEFENCES[name]
    models = [changed(w, a, name, j) for j, a in enumerate(w.after)]
    if kind == "noise":
        noisy = [[model, *(changed(w, a, name, j, again) for again in range(1, 10))]
                 for j, (model, a) in enumerate(zip(models, w.after, strict=True))]
        return models, aims_at(w, map(average, noisy)), None
    if kind == "pruning":
        return models, aims_at(w, models), torch.stack([kept(m) for m in models])
    if kind == "fine-tuning":
        mine = imitations(w, strength)
        return models, torch.stack([subtract_path(w.theta, m, mine) for m in models]), None
    return models, None, None


def changed(w, model, name, j, again=0):
    """The network after deletion j under one defence. again: which of its noisy releases."""
    base = [s % 10**8 for s in spawn_seeds(w.seed, 3, "release")]
    kind, strength = DEFENCES[name]
    if kind == "noise":
        return add_noise(model, strength * update_rms(w.theta, model),
                         base[0] + 1000 * NOISE.index(strength) + 10 * j + again)
    if kind == "pruning":
        return prune(model, strength)
    if kind == "fine-tuning":
        return finetune_release(model, *w.kept, seed=base[1] + j, steps=strength, **TUNING)
    return model


def retrained_rise(w, name):
    """How much the loss of each deleted row rises from the old network to one that was retrained
    without the row and then changed as the release is, with the same draws. -> numpy (t,)
    """
    models = [changed(w, exact, name, j) for j, exact in enumerate(retrained(w))]
    return row_losses(w, models) - row_losses(w, [w.theta] * len(models))


def imitations(w, steps, count=5) -> list:
    """The old network, fine-tuned as the provider does it, on the attacker's own public rows."""
    base = spawn_seeds(w.seed, 3, "release")[2] % 10**8
    return [finetune_release(w.theta, *w.own, seed=base + s, steps=steps, **TUNING)
            for s in range(count)]


def alike(w, steps) -> float:
    """Cosine between the provider's path of fine-tuning and the mean of the imitated ones."""
    path = attack.difference(w.after[0], changed(w, w.after[0], f"fine-tuning {steps}", 0))
    mine = aims_at(w, imitations(w, steps)).mean(0)
    return torch.nn.functional.cosine_similarity(path, mine, dim=0).item()


def aims_at(w, models):
    """The difference of each model and the old one. -> (t, d)"""
    return torch.stack([attack.difference(w.theta, m) for m in models])
