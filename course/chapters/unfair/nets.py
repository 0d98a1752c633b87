"""Small networks on small pictures, and requests that lower the recall of one class."""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch.func import functional_call

from labkit import attack, models, training
from labkit.data import Data

FEW = 256  # numbers a row at most
REQUESTS = ("chosen", "least sure", "random of the class", "random")


@dataclass(frozen=True)
class Net:
    """A provider's network on a split of its own. data: what it trained on, and test rows; model;
    held: what somebody owns, half of the training rows; seed.
    """

    data: Data
    model: torch.nn.Module
    held: attack.Holdings
    seed: int


def small(data, rows=None) -> Data:
    """The data with pictures averaged over squares until at most 256 numbers are left."""
    def less(x):
        while x.dim() == 4 and x[0].numel() > FEW and min(x.shape[2:]) > 1:
            x = F.avg_pool2d(x, 2)
        return x

    cut = slice(rows)
    return replace(data, x=less(data.x[cut]), y=data.y[cut], x_test=less(data.x_test),
                   noisy=data.noisy[:0])


def train(data, seed, recipe, without=None) -> list:
    """The network of one seed, once for each set of rows to leave out; None: once, on all rows."""
    settings = {k: v for k, v in recipe.items() if k != "hidden"}
    skip = [None] if without is None else without
    nets = [models.build("mlp", data, seed, hidden=recipe["hidden"]) for _ in skip]
    return training.fit_many(nets, data.x, data.y, seeds=[seed] * len(nets), skip=skip,
                             pack=len(nets), workers=1, **settings)


def provider(data, rows, recipe, share, seed) -> Net:
    """A network on so many rows of a fresh split, and an owner of half of them."""
    d = data.resplit(seed)
    d = replace(d, x=d.x[:rows], y=d.y[:rows])
    draw = torch.Generator().manual_seed(seed)
    own = torch.randperm(len(d.y), generator=draw)[: len(d.y) // 2].sort().values
    held = attack.hold(d, own, max(1, int(share * len(d.y))))
    return Net(d, train(d, seed, recipe)[0], held, seed)


def recalls(model, data) -> np.ndarray:
    """Share of the test rows of each class that are recognised, in percent. -> (k,)"""
    right = (training.predict(model, data.x_test).argmax(1) == data.y_test).double()
    return 100 * np.array([right[data.y_test == c].mean() for c in range(data.n_classes)])


def recall_effects(net, c) -> torch.Tensor:
    """How deleting each own row moves the mean probability of class c on one's own rows of it."""
    at = net.held.y == c
    x = net.held.x[at]

    def out(params):
        return functional_call(net.model, params, (x,)).softmax(1)[:, c].mean()[None]

    return attack.influence_effects(net.model, net.held, out)[:, 0]


def class_trial(data, c, request, settings, seed) -> dict:
    """Recall of class c and accuracy, percent, before and after each request.

    settings: rows, recipe and share, as in provider; request: (scores, rows, budget) -> row ids.
    Least sure: own rows of the class that the network doubts most, no influence needed. Random of
    the class: the mean of two draws. -> name -> (recall of c, accuracy)
    """
    net = provider(data, *settings, seed)
    held, draw = net.held, seed % 2**31
    chosen = attack.check_request(request(-recall_effects(net, c), held.rows, held.budget), held)
    size = held.with_budget(len(chosen))
    sure = training.predict(net.model, held.x).softmax(1)[:, c] + 2 * (held.y != c)
    asked = {"chosen": chosen, "least sure": held.rows[sure.argsort()[:len(chosen)]],
             "random of the class": attack.baseline("same-class", size, draw, label=c),
             "random": attack.baseline("random", size, draw),
             "again": attack.baseline("same-class", size, draw + 1, label=c)}
    nets, found = [net.model, *train(net.data, seed, settings[1], list(asked.values()))], {}
    for name, model in zip(("original", *asked), nets, strict=True):
        right = training.predict(model, net.data.x_test).argmax(1) == net.data.y_test
        found[name] = np.array([recalls(model, net.data)[c], 100 * right.double().mean().item()])
    found["random of the class"] = (found["random of the class"] + found.pop("again")) / 2
    found["of the class"] = (held.y[torch.isin(held.rows, chosen)] == c).double().mean().item()
    return found


def worst_class(data, settings, seeds) -> int:
    """The class with the lowest mean recall, on tuning seeds."""
    nets = [provider(data, *settings, s) for s in seeds]
    return int(np.mean([recalls(n.model, n.data) for n in nets], 0).argmin())
