"""Approximate unlearning of the camouflage, and how its settings are chosen."""

import copy
from functools import partial

from labkit import measure, training, unlearn

from . import worlds as w

GRID = {"fine-tuning": (unlearn.finetune, "lr", (0.01, 0.03, 0.1)),
        "NegGrad+": (unlearn.neggrad_plus, "beta", (0.8, 0.9, 0.95, 0.98)),
        "first-order": (unlearn.first_order, "tau", (3e-4, 1e-3, 3e-3, 1e-2)),
        "SCRUB": (unlearn.scrub, "lr", (0.003, 0.01, 0.03, 0.1))}


def tuned(worlds, found):
    """For each method the setting with the smallest gap of UA, RA, TA to retraining. -> dict"""
    best = {}
    for name, (method, key, values) in GRID.items():
        gaps = []
        for value in values:
            total = 0.0
            for world, nets in zip(worlds, found, strict=True):
                net = method(nets["before"], world.data, world.camouflage, **{key: value})
                total += measure.gap(*(measure.evaluate(m, world.data, world.camouflage)
                                       for m in (net, nets["after"])))
            gaps.append(total)
        best[name] = values[min(range(len(values)), key=gaps.__getitem__)]
    return best


def rises(worlds, found, settings, attack_success):
    """ASR and the target class on plain rows, after less before. -> method -> what -> list

    camouflage, unrelated: ASR after deleting these; plain: rows without the trigger; level: the ASR
    after deleting the camouflage.
    """
    methods = {name: partial(method, **{key: settings[name]})
               for name, (method, key, _) in GRID.items()}
    table = {name: {"camouflage": [], "unrelated": [], "plain": [], "level": []}
             for name in methods}
    for world, nets in zip(worlds, found, strict=True):
        start = w.asr(nets["before"], world, attack_success)
        bare = w.plain(nets["before"], world, attack_success)
        for name, method in methods.items():
            one = method(nets["before"], world.data, world.camouflage)
            other = method(nets["before"], world.data, world.unrelated())
            reached = w.asr(one, world, attack_success)
            for what, value in (("camouflage", reached - start), ("level", reached),
                                ("unrelated", w.asr(other, world, attack_success) - start),
                                ("plain", w.plain(one, world, attack_success) - bare)):
                table[name][what].append(value)
    return table


def warm(world, model, recipe):
    """Training goes on from the old weights without the camouflage: a warm start, not exact."""
    return training.fit(copy.deepcopy(model), world.data.x, world.data.y, seed=world.seed + 9,
                        skip=world.camouflage, **recipe | {"epochs": 1, "lr": 0.005})
