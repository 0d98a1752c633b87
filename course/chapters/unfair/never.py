"""Requests for rows that were never in the data: copies of own rows, and rows made to do harm."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch.func import functional_call, grad

from labkit import attack, measure, training, unlearn
from labkit.base import Diverged

from .nets import provider, train

TAUS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
STEPS = 12  # halvings on the way to the boundary
COPIES = ("noise", "blended", "pushed")
KINDS = ("ordinary", "least sure", *COPIES)


def added(data, x, y):
    """The data with foreign rows behind its own, and where those are: the provider takes what is
    sent to it at its word.
    """
    both = replace(data, x=torch.cat([data.x, x]), y=torch.cat([data.y, y]))
    return both, torch.arange(len(data.y), len(both.y))


def box(data, like):
    """The values of black and white pixels, shaped to broadcast over rows like these; of a table:
    the least and greatest value of each column.
    """
    if len(data.shape) == 3:
        return -data.mean / data.std, (1 - data.mean) / data.std
    return like.amin(0), like.amax(0)


def copies(net, c, count, push, seed):
    """Own rows of class c and what becomes of them. -> kind -> (x, y), queries a row, distances.

    push: (ask, x, other, steps) -> points. Each row's other is the nearest own row to which the
    model gives another label; noise moves a row as far as pushing did, in a random direction.
    Least sure: genuine rows of the class, those that the model doubts most or gets wrong.
    """
    held, ask = net.held, attack.BlackBox(net.model)
    p = ask(held.x)
    said, mine = p.argmax(1), (held.y == c).nonzero().squeeze(1)
    at = ((held.y == c) & (said == c)).nonzero().squeeze(1)
    unsure = mine[p[mine, c].argsort()[:count]]
    at = at[torch.randperm(len(at), generator=torch.Generator().manual_seed(seed))[:count]]
    x, others = held.x[at], held.x[said != c]
    before = ask.queries
    nearest = torch.cdist(x.flatten(1), others.flatten(1)).argmin(1)
    pushed = push(ask, x, others[nearest], STEPS)
    queries = (ask.queries - before) / len(at)
    far = (pushed - x).flatten(1).norm(dim=1)
    low, high = box(net.data, held.x)
    way = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed + 1))
    way = way / way.flatten(1).norm(dim=1).view(-1, *[1] * (x.dim() - 1))
    noisy = as_far(x, way, far, low, high)
    half = (x + others[nearest]) / 2
    y = torch.full((len(at),), c)
    made = {"ordinary": (x, y), "least sure": (held.x[unsure], held.y[unsure]),
            "noise": (noisy, y), "blended": (half, ask(half).argmax(1)),
            "pushed": (pushed, y)}
    other_way = (others[nearest] - x).flatten(1).norm(dim=1)
    return made, held.rows[at], queries, float((far / other_way).mean())


def as_far(x, way, far, low, high):
    """Rows moved along `way` so that each, cut to low and high, lies `far` from where it was."""
    size = far.clone()
    for _ in range(40):
        moved = torch.clamp(x + way * size.view(-1, *[1] * (x.dim() - 1)), low, high)
        size = size * far / (moved - x).flatten(1).norm(dim=1).clamp(min=1e-9)
    return moved


def forgetters(tau, lr):
    """Unlearners that work on the rows they are sent: name -> (model, data, rows) -> model."""
    return {"first-order": lambda m, d, rows: unlearn.first_order(m, d, rows, tau=tau),
            "ascent": lambda m, d, rows: unlearn.gradient_ascent(m, d, rows, lr=lr)}


def over_trial(data, settings, strengths, push, register, seed) -> dict:
    """One network: class accuracy after each kind of request under each unlearner, and what a
    register and exact unlearning make of it. The class goes round with the seed.
    """
    net, c = provider(data, *settings, seed), seed % data.n_classes
    count = max(2, int((net.data.y == c).sum()) // 10)
    made, rows, queries, share = copies(net, c, count, push, seed % 2**31)
    of_class = net.data.y_test == c

    def score(model):
        try:
            right = training.predict(model, net.data.x_test).argmax(1) == net.data.y_test
        except Diverged:
            return 100 / data.n_classes
        return 100 * right[of_class].double().mean().item()

    fall = {(how, kind): score(net.model) - score(forget(net.model, *added(net.data, *made[kind])))
            for how, forget in forgetters(*strengths).items() for kind in KINDS}
    # a copy that has not moved is the stored row: it would be found, and rightly
    stirred = {k: (made[k][0] != made["ordinary"][0]).flatten(1).any(1) for k in COPIES}
    sent = [torch.cat([made[k][j][stirred[k]] for k in COPIES]) for j in (0, 1)]
    gone = register(net.data.x, net.data.y, *sent)
    known = register(net.data.x, net.data.y, net.data.x[rows], net.data.y[rows])
    again = train(net.data, seed, settings[1], [gone[gone >= 0]])[0]
    same = all(torch.equal(a, b) for a, b in zip(again.parameters(), net.model.parameters(),
                                                  strict=True))
    return {"class": c, "before": score(net.model), "fall": fall, "queries": queries,
            "share": share, "refused": bool((gone < 0).all() and (known >= 0).all()),
            "same": same, "pictures": {kind: made[kind][0][0] for kind in ("ordinary", *COPIES)}}


def tune_strengths(data, settings, seeds):
    """τ and learning rate with the smallest gap of UA, RA, TA to retraining, when a tenth of a
    class is asked for, own rows all of them. -> ((τ, lr), table name -> gaps)
    """
    gaps = {"first-order": np.zeros(len(TAUS)), "ascent": np.zeros(len(RATES))}
    for s in seeds:
        net = provider(data, *settings, s)
        rows = net.held.rows[net.held.y == s % data.n_classes]
        rows = rows[: max(2, int((net.data.y == s % data.n_classes).sum()) // 10)]
        there = measure.evaluate(train(net.data, s, settings[1], [rows])[0], net.data, rows)
        for i, (tau, lr) in enumerate(zip(TAUS, RATES, strict=True)):
            for how, forget in forgetters(tau, lr).items():
                try:
                    here = measure.evaluate(forget(net.model, net.data, rows), net.data, rows)
                    gaps[how][i] += measure.gap(here, there) / len(seeds)
                except Diverged:
                    gaps[how][i] += 100
    return (TAUS[gaps["first-order"].argmin()], RATES[gaps["ascent"].argmin()]), gaps


def ascended(model, x, y, lr, epochs, momentum=0.9):
    """Gradient ascent on the rows, unrolled: weights that are a function of x. -> name -> tensor"""
    params = {k: p.detach() for k, p in model.named_parameters()}
    speed = {k: torch.zeros_like(p) for k, p in params.items()}

    def loss(p):
        return F.cross_entropy(functional_call(model, p, (x,)), y)

    for _ in range(epochs):
        up = grad(loss)(params)
        speed = {k: momentum * speed[k] + up[k] for k in params}
        params = {k: params[k] + lr * speed[k] for k in params}
    return params


def burn(net, count, lr, epochs, steps, seed):
    """Rows that, when forgotten by ascent, raise the loss on the attacker's own rows. Start: noise.

    -> noise (count, …), optimised (count, …), labels. Source: Huang et al. 2025, white box.
    """
    draw, held = torch.Generator().manual_seed(seed), net.held
    low, high = (b.to(held.x) for b in box(net.data, held.x))
    noise = low + (high - low) * torch.rand((count, *held.x.shape[1:]), generator=draw)
    y = torch.randint(net.data.n_classes, (count,), generator=draw)
    kept_x, kept_y = held.x[:300], held.y[:300]
    x = noise.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], 0.1)
    for _ in range(steps):
        after = ascended(net.model, x, y, lr, epochs)
        harm = F.cross_entropy(functional_call(net.model, after, (kept_x,)), kept_y)
        optimizer.zero_grad()
        (-harm.clamp(max=20)).backward()
        optimizer.step()
        with torch.no_grad():
            x.copy_(torch.clamp(x, low, high))
    return noise, x.detach(), y


def burn_trial(data, settings, lr, count, epochs, steps, seed) -> dict:
    """Test accuracy after ascent on random noise, on optimised rows and on own rows, and after a
    fine-tuning on the provider's data that follows. -> (kind, mended or not) -> percent
    """
    net = provider(data, *settings, seed)
    noise, made, y = burn(net, count, lr, epochs, steps, seed % 2**31)
    found = {}
    for kind, x, labels in (("noise", noise, y), ("optimised", made, y),
                            ("own rows", net.held.x[:count], net.held.y[:count])):
        both, rows = added(net.data, x, labels)
        model = unlearn.gradient_ascent(net.model, both, rows, lr=lr, epochs=epochs)
        mended = unlearn.finetune(model, both, rows, epochs=1)
        for m, how in ((model, "ascent"), (mended, "then fine-tuned")):
            found[kind, how] = measure.accuracy(training.predict(m, net.data.x_test),
                                                net.data.y_test)
    found["original"] = measure.accuracy(training.predict(net.model, net.data.x_test),
                                         net.data.y_test)
    return found
