"""The project: a release rule, and three attackers who judge it."""

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch

from labkit import attack
from labkit.base import LabError

from .adaptive import average, kept
from .inverters import gains, pictures
from .released import aims_at
from .worlds import ascend, retrained, row_losses, test_accuracy

STEP = 0.05  # the step of a provider that deletes harder: fifty times that of the sections
PRICE = 3.0  # points of test accuracy that a rule may cost against the old network
TOO_DEAR = -100.0  # what a rule is judged that costs more
TOOLS = (1e-1, "closed form", "rank one")


@dataclass(frozen=True, eq=False)
class Published:
    """What a rule made. releases: ten of each deletion; imitations: ten of the old network, by the
    attacker, on its own rows; exact: one of each network retrained without the row, with the seed
    of the first release. Two are equal if their first releases have equal weights.
    """

    releases: list
    imitations: list
    exact: list

    __hash__ = None

    def __eq__(self, other):
        return isinstance(other, Published) and all(
            torch.equal(attack.flat(mine[0]), attack.flat(theirs[0]))
            for mine, theirs in zip(self.releases, other.releases, strict=True))


@dataclass(frozen=True)
class Publisher:
    """publish(rule) -> Published. rule(model, size, x, y, seed) -> the model that is released.

    model: the network after a deletion (float64); size: rms of its update; x, y: rows that may be
    used; seed: another one for each release.
    """

    w: object
    again: int = 10

    def __repr__(self):
        return "the provider"

    def __deepcopy__(self, memo):
        return self  # it keeps nothing of a call: a rule gets copies

    def __call__(self, rule) -> Published:
        w = self.w
        sizes = [d.square().mean().sqrt().item() for d in aims_at(w, w.after)]
        made = [[rule(copy.deepcopy(model), size, *w.kept, 1000 * j + i)
                 for i in range(self.again)]
                for j, (model, size) in enumerate(zip(w.after, sizes, strict=True))]
        mine = [rule(copy.deepcopy(w.theta), float(np.median(sizes)), *w.own, 10**6 + i)
                for i in range(self.again)]
        exact = [rule(model, size, *w.kept, 1000 * j)
                 for j, (model, size) in enumerate(zip(retrained(w), sizes, strict=True))]
        return Published(made, mine, exact)

    def price(self, published) -> float:
        """Points of test accuracy lost against the old network, the mean over the deletions."""
        after = [test_accuracy(models[0], self.w.data) for models in published.releases]
        return test_accuracy(self.w.theta, self.w.data) - float(np.mean(after))

    def rise(self, published) -> float:
        """Is the row still unlearned? Loss of the deleted rows under the first releases less that
        under retrained networks to which the rule did the same, the mean over the deletions.
        """
        after = row_losses(self.w, [models[0] for models in published.releases])
        return float(np.mean(after - row_losses(self.w, published.exact)))

    def gains(self, published) -> dict:
        """attacker -> dB over the class mean, one a deletion, with the tool that serves it best.

        plain: one release; averaging: ten of them, zeros left out; imitating: also subtracts what
        the rule does to the old network on the attacker's own rows.
        """
        w, out = self.w, {}
        believed = [believe(models) for models in published.releases]
        means = [attack.flat(average(models)) for models in published.releases]
        path, mine = attack.flat(average(published.imitations)), believe(published.imitations)
        old = attack.flat(w.theta)
        aims = {"plain": [(attack.flat(m[0]) - old, None) for m in published.releases],
                "averaging": [(m - old, b) for m, b in zip(means, believed, strict=True)],
                "imitating": [(m - path, b & mine) for m, b in zip(means, believed, strict=True)]}
        for who, pairs in aims.items():
            vectors = torch.stack([vector for vector, _ in pairs])
            masks = None if who == "plain" else torch.stack([b for _, b in pairs])
            if masks is not None and masks.all():
                masks = None
            out[who] = self._best(vectors if masks is None else vectors * masks, masks)
        return out

    def _best(self, vectors, masks):
        """Gains of the tool with the highest mean; 0, a guess, where a release says nothing."""
        told = vectors.norm(dim=1) > 1e-12 * attack.flat(self.w.theta).norm()
        if not told.any():
            return np.zeros(len(vectors))
        vectors = torch.where(told[:, None], vectors, torch.ones_like(vectors))
        known = told.cpu().numpy()
        made = pictures(self.w, vectors, masks, TOOLS)
        return max((gains(self.w, images) * known for images in made.values()), key=np.mean)

    def judge(self, published) -> float:
        """Minus what leaks, in dB; TOO_DEAR where the rule costs more than PRICE. More is better.
        """
        if not isinstance(published, Published):
            raise LabError("Your function gives something else than what publish(rule) gives: end "
                           "it with return publish(rule).")
        if self.price(published) > PRICE:
            return TOO_DEAR
        return 0.0 - leak(self.gains(published))


def leak(gains) -> float:
    """What the best attacker gains, dB, the mean over the deletions. gains: of Publisher.gains.

    A gain below 0 counts as 0: the class mean is free, and how far below it a picture lies tells
    what the noise looks like, not what is left of the row.
    """
    return max(float(np.maximum(g, 0).mean()) for g in gains.values())


def believe(models) -> torch.Tensor:
    """Which weights are zero in none of the models. -> (d,) bool"""
    return torch.stack([kept(m) for m in models]).all(0)


def harder(w, deleted=3, step=STEP) -> Publisher:
    """A provider of the same world that deletes its first rows with a larger step."""
    after = [ascend(w.theta, w.pool, j, step) for j in range(min(deleted, len(w.label)))]
    return Publisher(replace(w, after=after))
