"""Two people's halves of the data, and versions of models before and after a deletion.

The attacker has one half and makes shadow versions of it, the provider the other. All rows are
small here, so that hundreds of retrainings fit in a minute.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from labkit import attack, models, training
from labkit.base import LabError, spawn_seeds

FEW = 256  # numbers a row at most


@dataclass(frozen=True)
class Side:
    """One person's half. x, y: rows to train on; x_out, y_out: strangers that no model ever sees.

    k: number of classes.
    """

    x: torch.Tensor
    y: torch.Tensor
    x_out: torch.Tensor
    y_out: torch.Tensor
    k: int


@dataclass(frozen=True)
class Plan:
    """One original and its deletions. Made by `plans`.

    seed: of the network; rows (n,): of the side, to train on; gone: for each deletion, positions
    among `rows`; strangers: for each deletion as many rows of x_out.
    """

    seed: int
    rows: torch.Tensor
    gone: list
    strangers: list


@dataclass(frozen=True)
class Pairs:
    """Answers of two versions, a row each. before, after (m, k): probabilities; y (m,): labels.

    deleted (m,) bool: deleted between the versions, else never in either; original (m,): number of
    the original; accuracy: (training, test) of each original.
    """

    before: np.ndarray
    after: np.ndarray
    y: np.ndarray
    deleted: np.ndarray
    original: np.ndarray
    accuracy: list

    def of(self, chosen):
        """The pairs of some originals only."""
        at = np.isin(self.original, chosen)
        return replace(self, **{f: getattr(self, f)[at] for f in
                                ("before", "after", "y", "deleted", "original")})


def small(x) -> torch.Tensor:
    """Rows (n, …) as (n, d): pictures averaged over squares until at most 256 numbers are left."""
    while x.dim() == 4 and x[0].numel() > FEW:
        x = F.avg_pool2d(x, 2)
    return x.flatten(1)


def two_sides(data, seed: int) -> tuple[Side, Side]:
    """All rows, split anew: (the attacker's half, the provider's half). A fifth are strangers."""
    d = data.resplit(seed)
    x, y = torch.cat([small(d.x), small(d.x_test)]), torch.cat([d.y, d.y_test])
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed)).to(y.device)
    sides = []
    for part in order[: 2 * (len(y) // 2)].chunk(2):
        cut = round(0.8 * len(part))
        sides.append(Side(x[part[:cut]], y[part[:cut]], x[part[cut:]], y[part[cut:]],
                          data.n_classes))
    return tuple(sides)


def plans(side, seeds, *, rows: int, deletions: int, size: int = 1) -> list[Plan]:
    """A plan for each seed: so many rows (or all), and so many deletions of `size` different rows.
    """
    found, count, rows = [], deletions * size, min(rows, len(side.y))
    if count > min(rows, len(side.y_out)):
        raise LabError(f"{count} rows to delete, {rows} to train on and {len(side.y_out)} strangers"
                       ": ask for fewer deletions, or give more rows.")
    for seed in seeds:
        rng = np.random.default_rng(seed)
        chosen = torch.from_numpy(rng.permutation(len(side.y))[:rows])
        gone = rng.permutation(rows)[:count].reshape(deletions, size)
        strangers = rng.permutation(len(side.y_out))[:count].reshape(deletions, size)
        found.append(Plan(seed, chosen, [torch.from_numpy(g) for g in gone],
                          [torch.from_numpy(s) for s in strangers]))
    return found


def collected(side, made) -> Pairs:
    """What black boxes answered. made: (plan, box before, a box after each deletion) of all."""
    parts = []
    for i, (plan, before, after) in enumerate(made):
        x, y = side.x[plan.rows], side.y[plan.rows]
        accuracy = [float((before(rows).argmax(1) == labels).double().mean())
                    for rows, labels in ((x, y), (side.x_out, side.y_out))]
        both = list(zip(plan.gone, plan.strangers, strict=True))
        rows = [torch.cat([x[g], side.x_out[s]]) for g, s in both]
        labels = torch.cat([torch.cat([y[g], side.y_out[s]]) for g, s in both])
        answered = [box(r) for box, r in zip(after, rows, strict=True)]
        deleted = torch.cat([torch.arange(2 * len(g)) < len(g) for g in plan.gone])
        parts.append((before(torch.cat(rows)), torch.cat(answered), labels, deleted,
                      torch.full((len(labels),), i), accuracy))
    *columns, accuracy = zip(*parts, strict=True)
    return Pairs(*(torch.cat(c).cpu().numpy() for c in columns), list(accuracy))


def two_alike(pairs) -> tuple[int, int]:
    """A deleted row and a stranger that the original classifies right, and equally surely.

    The deleted one is the first with a probability below 0.9, which leaves it room to move.
    """
    kept, sure = pairs.before.argmax(1) == pairs.y, pairs.before.max(1)
    some = np.flatnonzero(kept & pairs.deleted)
    i = next((r for r in some if sure[r] < 0.9), some[0])
    return int(i), int(np.argmin(np.where(kept & ~pairs.deleted, abs(sure - sure[i]), 9.0)))


def networks(side, planned, recipe, fresh=False) -> Pairs:
    """Perceptrons, retrained for each deletion with the original's seed, or a fresh one each.

    The seed gives the first weights and the order of rows. recipe: of labkit.training.fit, and
    hidden.
    """
    made, recipe = [], dict(recipe)
    hidden = recipe.pop("hidden")
    for plan in planned:
        seeds = [plan.seed] * (len(plan.gone) + 1)
        if fresh:
            seeds[1:] = spawn_seeds(plan.seed, len(plan.gone), "fresh")
        nets = [models.mlp((side.x.shape[1],), side.k, hidden) for _ in seeds]
        for net, seed in zip(nets, seeds, strict=True):
            _begin(net, seed)
        nets = training.fit_many(nets, side.x[plan.rows], side.y[plan.rows], seeds=seeds,
                                 skip=[None, *plan.gone], pack=len(nets), workers=1, **recipe)
        first, *later = map(attack.BlackBox, nets)
        made.append((plan, first, later))
    return collected(side, made)


def _begin(net, seed):
    """First weights from the seed, as torch draws them; torch's own numbers are left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in net:
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()


def estimators(side, planned, make) -> Pairs:
    """Models of scikit-learn, retrained for each deletion. make: seed -> untrained model."""
    made = []
    for plan in planned:
        x, y = (t[plan.rows].cpu().numpy() for t in (side.x, side.y))
        keep = [np.arange(len(y)), *(np.setdiff1d(np.arange(len(y)), g) for g in plan.gone)]
        first, *later = (Answering(make(plan.seed).fit(x[rows], y[rows]), side.k)
                         for rows in keep)
        made.append((plan, first, later))
    return collected(side, made)


def logistic(seed):
    """Logistic regression on all classes, with a penalty that makes it generalise."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=0.03, max_iter=500)


def forest(seed):
    """A random forest of 30 trees, grown with this seed."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(30, random_state=seed % 2**31)


class Answering:
    """A model of scikit-learn as a black box: rows in, probabilities of all k classes out."""

    __slots__ = ("_answer",)

    def __init__(self, model, k):
        def answer(x):
            p = np.zeros((len(x), k))
            p[:, model.classes_] = model.predict_proba(x.cpu().numpy())
            return torch.from_numpy(p)

        self._answer = answer

    def __call__(self, x):
        return self._answer(x)


def in_shards(side, planned, recipe, shards=5) -> Pairs:
    """SISA: so many networks, each on a part of the rows, whose probabilities are averaged.

    Only the network that had the row is trained again. With the recipe's epochs and a batch of
    batch_size / shards rows each takes as many steps as the one network of `networks`.
    """
    recipe = dict(recipe)
    hidden, size = recipe.pop("hidden"), max(1, round(recipe.pop("batch_size") / shards))
    made = []
    for plan in planned:
        x, y, nets, again = side.x[plan.rows], side.y[plan.rows], [], {}
        for s, rows in enumerate(torch.arange(len(y)).chunk(shards)):  # the rows are in no order
            mine = [(d, g - rows[0]) for d, g in enumerate(plan.gone) if rows[0] <= g <= rows[-1]]
            pack = [models.mlp((x.shape[1],), side.k, hidden) for _ in range(len(mine) + 1)]
            seed = spawn_seeds(plan.seed, shards, "shards")[s]
            for net in pack:
                _begin(net, seed)
            first, *later = training.fit_many(
                pack, x[rows], y[rows], seeds=[seed] * len(pack), pack=len(pack), workers=1,
                skip=[None, *(g for _, g in mine)], batch_size=size, **recipe)
            nets.append(attack.BlackBox(first))
            again |= {d: (s, attack.BlackBox(net)) for (d, _), net in zip(mine, later, strict=True)}
        made.append((plan, _together(nets), [
            _together([*nets[:s], net, *nets[s + 1:]])
            for s, net in (again[d] for d in range(len(plan.gone)))]))
    return collected(side, made)


def _together(boxes):
    return lambda x: sum(box(x) for box in boxes) / len(boxes)
