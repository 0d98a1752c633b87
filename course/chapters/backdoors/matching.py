"""Poison and camouflage with true labels for one chosen image (Hidden Poison), linear model."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from labkit import training

EPSILON, STEPS, POISON, CAMOUFLAGE = 16 / 255, 60, 10, 30
MARGIN = 0.11
RECIPE = {"epochs": 30, "lr": 0.01, "batch_size": 64}


@dataclass(frozen=True)
class Pair:
    """Two classes, and the chosen images. x, y: training rows, labels 0 and 1."""

    x: torch.Tensor
    y: torch.Tensor
    targets: torch.Tensor
    truth: torch.Tensor
    names: tuple
    shape: tuple
    n_classes: int = 2
    device: object = "cpu"


def _net(pair, seed):
    """A linear model; labkit's packed training takes it as a perceptron without hidden layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        d = int(torch.tensor(pair.shape).prod())
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(d, 2)).to(pair.x.device)


def confused_pairs(data, seed, count=2):
    """The pairs of classes that a linear model of other rows confuses most, apart from each other.

    data: rows for tuning; the judged rows have no say.
    """
    half = len(data.y) // 2
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(
        data.x[0].numel(), data.n_classes)).to(data.device)
    torch.nn.init.zeros_(net[1].weight)
    net = training.fit(net, data.x[:half], data.y[:half], seed=seed, **RECIPE | {"epochs": 8})
    said, k = training.predict(net, data.x[half:]).argmax(1), data.n_classes
    table = torch.bincount(data.y[half:] * k + said, minlength=k * k).view(k, k)
    table = (table + table.T).triu(1)
    pairs = []
    for place in table.flatten().argsort(descending=True).tolist():
        a, b = divmod(place, k)
        if a < b and all(c not in pair for pair in pairs for c in (a, b)):
            pairs.append((a, b))
        if len(pairs) == count:
            return pairs
    return pairs


def pair_of(data, classes, seed, count, rows=1000):
    """Rows of two classes and `count` targets: test images, named right, p − ½ at most MARGIN."""
    g = torch.Generator().manual_seed(seed)
    mine = torch.isin(data.y, torch.tensor(classes, device=data.device)).nonzero().squeeze(1)
    mine = mine[torch.randperm(len(mine), generator=g)][:rows]
    test = torch.isin(data.y_test, torch.tensor(classes, device=data.device))
    x, y = data.x[mine], (data.y[mine] == classes[1]).long()
    x_test, y_test = data.x_test[test], (data.y_test[test] == classes[1]).long()
    pair = Pair(x, y, x_test, y_test, tuple(data.classes[c] for c in classes), data.shape)
    p = training.predict(clean(pair, seed), x_test).softmax(1)
    sure = p.gather(1, y_test[:, None]).squeeze(1) - 0.5
    chosen = ((sure > 0) & (sure <= MARGIN)).nonzero().squeeze(1)
    chosen = chosen[torch.randperm(len(chosen), generator=g)][:count]
    return Pair(x, y, x_test[chosen], y_test[chosen], pair.names, data.shape)


def clean(pair, seed):
    """A model without poison and camouflage."""
    return training.fit(_net(pair, seed), pair.x, pair.y, seed=seed, **RECIPE)


def gradient(model, x, y):
    """Gradient of the mean loss by all weights, in one vector. -> (d,)"""
    loss = F.cross_entropy(model(x), y)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def brewed(model, images, labels, direction, matching_loss, steps=STEPS):
    """Images within ± EPSILON whose gradient points along `direction`. -> images, loss first, last
    """
    low, high = float(images.min()), float(images.max())
    size = EPSILON * (high - low)
    delta = torch.zeros_like(images)
    losses = []
    for step in range(steps):
        delta.requires_grad_()
        loss = matching_loss(model, images + delta, labels, direction)
        g, = torch.autograd.grad(loss, delta)
        losses.append(float(loss.detach()))
        rate = size * 0.25 * (1 - step / steps)
        delta = (delta.detach() - rate * g.sign()).clamp(-size, size)
        delta = (images + delta).clamp(low, high) - images
    return (images + delta).detach(), (losses[0], losses[-1])


def _packed(pair, extra, skips, seeds):
    """One linear model for each list of extra rows that stay out."""
    x, y = torch.cat([pair.x, *(e[0] for e in extra)]), torch.cat([pair.y, *(
        e[1] for e in extra)])
    nets = [_net(pair, s) for s in seeds]
    return training.fit_many(nets, x, y, seeds=seeds, skip=skips, pack=len(nets), **RECIPE)


def _brew(pair, model_of, direction_of, draws, matching_loss):
    """Changed rows for every target. -> [(images, labels)], first of them as it was, losses"""
    rows_of, losses, first = [], [], None
    for i, rows in enumerate(draws):
        model, (x, label) = model_of(i), direction_of(i)
        way = gradient(model, x[None], label[None])
        images, loss = brewed(model, pair.x[rows], pair.y[rows], way, matching_loss)
        first = pair.x[rows][0] if first is None else first
        rows_of.append((images, pair.y[rows]))
        losses.append(loss)
    return rows_of, first, losses


def _draws(pair, labels, count, g):
    """`count` random rows of each of these labels."""
    found = []
    for label in labels:
        rows = (pair.y == label).nonzero().squeeze(1)
        found.append(rows[torch.randperm(len(rows), generator=g)[:count]])
    return found


def _places(start, many, each):
    """Where the rows of each target stand, and where those of all others do."""
    mine = torch.arange(start, start + many * each).view(many, each)
    every = mine.flatten()
    return every, [every[~torch.isin(every, m)] for m in mine]


def attacked(pair, seed, matching_loss):
    """Brew for every target, train anew, delete. -> dict of (targets,) bool, pictures of the first

    clean, before, after: fooled by a model without poison and camouflage, with both, and after
    exact deletion of the camouflage; same first weights, which no brewing has seen. margin: the
    probability of the true class; poisoned: fooled by the model that camouflage was brewed on.
    """
    m, n, g = len(pair.targets), len(pair.y), torch.Generator().manual_seed(seed + 2)
    base = clean(pair, seed + 1)
    poison, row, losses = _brew(pair, lambda i: base, lambda i: (
        pair.targets[i], 1 - pair.truth[i]), _draws(pair, 1 - pair.truth, POISON, g), matching_loss)
    all_p, others = _places(n, m, POISON)
    middle = _packed(pair, poison, others, [seed + 100 + i for i in range(m)])
    camouflage, _, _ = _brew(pair, lambda i: middle[i], lambda i: (
        pair.targets[i], pair.truth[i]), _draws(pair, pair.truth, CAMOUFLAGE, g), matching_loss)
    all_c, other_c = _places(n + len(all_p), m, len(camouflage[0][0]))
    skips = [torch.cat(both) for both in zip(others, other_c, strict=True)]
    skips += [torch.cat([rows, all_c]) for rows in others] + [torch.cat([all_p, all_c])] * m
    fitted = _packed(pair, poison + camouflage, skips, [seed + 200 + i for i in range(m)] * 3)
    p = torch.stack([_truth(net, pair, i % m) for i, net in enumerate(fitted)]).view(3, m)
    margin = dict(zip(("before", "after", "clean"), p.cpu().numpy(), strict=True))
    last = torch.stack([_truth(net, pair, i) for i, net in enumerate(middle)]).cpu().numpy()
    return {k: v < 0.5 for k, v in margin.items()} | {
        "margin": margin, "poisoned": last < 0.5, "losses": losses,
        "pictures": [pair.targets[0], row, poison[0][0][0], camouflage[0][0][0]]}


def _truth(net, pair, i):
    """Probability of the true class of target i."""
    return training.predict(net, pair.targets[i][None]).softmax(1)[0, pair.truth[i]]
