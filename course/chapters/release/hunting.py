"""An attack on the difference in function: which picture's loss rose most by the release?

Notebook 05 compares weights. Here nothing is compared but losses, so a path through the space of
weights does not hide anything by itself.
"""

import copy

import torch
import torch.nn.functional as F
from torch.func import functional_call, stack_module_state, vmap

from .inverters import gains
from .released import imitations, released_as

# Of the prior, in spreads of the rise over public rows. At the heaviest the search hardly leaves
# the class mean.
WEIGHTS = (3, 10, 30, 100, 300)


def answers(models, d):
    """Pixels (n, …) -> logits (n, k): each row by its own model, or all by the only one given."""
    models = [copy.deepcopy(m).float() for m in models]
    if len(models) == 1:
        return lambda images: models[0]((images - d.mean) / d.std)
    params, _ = stack_module_state(models)

    def one(weights, row):
        return functional_call(models[0], weights, (row[None],))[0]

    return lambda images: vmap(one)(params, (images - d.mean) / d.std)


def usual(w, t):
    """The prior of exercise 5.5: pictures near the class mean, in units of its spread, and smooth.

    -> function of pictures (t, c, h, w) that gives (t,), small where they are likely
    """
    public, classes = w.data.pixels(w.own[0]), w.own[1]
    rows = [public[classes == c] if (classes == c).sum() > 1 else public for c in w.label[:t]]
    mean = torch.stack([r.mean(0) for r in rows])
    spread = torch.stack([r.var(0) for r in rows]) + 0.05

    def prior(images):
        unusual = ((images - mean) ** 2 / spread).mean((1, 2, 3))
        return unusual + sum(images.diff(dim=side).abs().mean((1, 2, 3)) for side in (2, 3))

    return prior


def usual_rise(w, model, others, count=200):
    """Spread of the rise over the attacker's own rows: the unit in which a rise is large."""
    x, y = w.data.pixels(w.own[0][:count]), w.own[1][:count]
    with torch.no_grad():
        new, *old = (F.cross_entropy(answers([m], w.data)(x), y, reduction="none")
                     for m in (model, *others))
    return (new - torch.stack(old).mean(0)).std().item()


def scene(w, name):
    """A defence's releases, and what they may be compared with. -> (models, base -> others)

    base: the old model, or the attacker's imitations of the provider's fine-tuning.
    """
    models, bases = released_as(w, name)[0], {"old": [w.theta]}
    if name.startswith("fine-tuning"):
        bases["imitations"] = imitations(w, int(name.split()[-1]))
    return models, bases


def hunt(w, climb, models, others, weight):
    """Pictures that the search finds, from the class mean on. -> (t, c, h, w)

    climb(images, label, released, others, prior, size) -> images: one step. weight: of the prior.
    """
    unit, prior = usual_rise(w, models[0], others), usual(w, len(models))
    released, before = answers(models, w.data), [answers([m], w.data) for m in others]
    images = w.mean_pictures[: len(models)]
    for step in range(w.steps):
        halvings = sum(step >= share * w.steps for share in (3 / 8, 5 / 8, 7 / 8))
        images = climb(images, w.label[: len(models)], released, before,
                       lambda x: weight * unit * prior(x), 0.04 * 0.5**halvings)
    return images


def rehearse_hunt(extra, climb, names) -> dict:
    """What serves the hunter best against each defence, on a split that is not judged.

    -> name -> (base, weight of the prior, mean gain there in dB)
    """
    best = {}
    for name in names:
        models, bases = scene(extra, name)
        tried = [(base, weight, float(gains(extra, hunt(extra, climb, models, others,
                                                        weight)).mean()))
                 for base, others in bases.items() for weight in WEIGHTS]
        best[name] = max(tried, key=lambda one: one[2])
    return best


def hunts(worlds, climb, rehearsed) -> dict:
    """The hunter in every world, with what it rehearsed. -> (seed, name) -> pictures (t, …)"""
    made = {}
    for w in worlds:
        for name, (base, weight, _) in rehearsed.items():
            models, bases = scene(w, name)
            made[w.seed, name] = hunt(w, climb, models, bases[base], weight)
    return made
