"""Training: fit one model, fit many at once, predict."""

import copy
from contextlib import contextmanager
from itertools import islice

import torch
import torch.nn.functional as F
from torch import nn

from .base import Diverged, LabError
from .processes import parallel
from .rules import checked


@checked(epochs="passes, 0 or more", penalty=None)
def fit(model, x, y, *, epochs, lr, seed, batch_size=128, momentum=0.9, weight_decay=5e-4,
        schedule="onecycle", skip=None, penalty=None, span=None, augment=None):
    """Train `model` in place by SGD with Nesterov momentum on cross-entropy, and return it.

    x (n, …) float32, y (n,) int64, both on the model's device. epochs: passes over the rows.
    lr: peak rate; schedule: 'onecycle' (up, then down to 0), 'constant', or 'multistep' (a tenth
    after half of the steps, a hundredth after three quarters). seed: row order, dropout masks.
    skip: (m,) rows to leave out. **All** rows are permuted, then the skipped ones are dropped from
    their batch: the others meet the same batches as in training on everything with this seed.
    penalty: (model, epoch from 0) -> scalar, added to each batch's loss. span: (first, last)
    epochs, to run that part of the schedule alone, with momentum from 0. augment: (rows,
    generator) -> rows. Raises Diverged on a NaN or infinite loss or weight.
    """
    per_epoch = -(-len(x) // batch_size)
    steps = round(epochs * per_epoch)
    first, last = (0, steps) if span is None else (round(e * per_epoch) for e in span)
    keep, moves = kept(len(x), skip, x.device), torch.Generator().manual_seed(seed)
    optimizer = sgd(model.parameters(), lr, momentum, weight_decay)
    rates, loss = _schedule(schedule, lr, steps), torch.zeros(())
    batches = _batches(len(x), batch_size, last, [seed], x.device)
    model.train()
    with dropout_masks(model, seed):
        for t, (batch,) in islice(enumerate(batches), first, None):
            xs = x[batch] if augment is None else augment(x[batch], moves)
            if keep is not None:
                xs, batch = xs[keep[batch]], batch[keep[batch]]
            if len(batch):
                loss = F.cross_entropy(model(xs), y[batch])
                if penalty is not None:
                    loss = loss + penalty(model, t // per_epoch)
                step(optimizer, loss, rates[t])
    model.eval()
    _check_finite(loss, model.parameters(), lr)
    return model


@checked
@torch.no_grad()
def predict(model, x, batch_size: int = 512) -> torch.Tensor:
    """Logits of x in evaluation mode, always float32. (n, …) -> (n, k). The mode is put back.

    Raises Diverged when an answer is NaN or infinite, as it can be even with finite weights.
    """
    was_training = model.training
    model.eval()
    try:
        logits = torch.cat([model(part) for part in x.split(batch_size)]).float()
    except RuntimeError as error:
        if "memory" in str(error):
            raise
        raise LabError(f"The network does not take rows of shape {tuple(x.shape[1:])} ("
                       f"{str(error).splitlines()[0]}): give rows it was built for.") from None
    finally:
        model.train(was_training)
    if not torch.isfinite(logits).all():
        if not torch.isfinite(x).all():
            raise LabError("The rows hold NaN or infinite values: clean them first.")
        raise Diverged("The network answers NaN or infinity, so it has diverged: lower the "
                       "learning rate or the strength that made it.")
    return logits


@checked(epochs="passes, 0 or more")
def fit_packed(models, x, y, *, epochs, lr, seeds, batch_size=128, momentum=0.9, weight_decay=5e-4,
               schedule="onecycle", skip=None):
    """Train K multilayer perceptrons of one shape at once, as batched matrix products.

    models: K `models.mlp`; seeds: K row orders; skip: None, or K row tensors to leave out. -> K
    trained copies. 1.4 to 2.8 times quicker than `fit` for small nets. Compare packed models only
    with packed ones: sums run in another order, and a batch whose rows are all skipped is a step of
    momentum and decay here, none in `fit`.
    """
    n, k = len(x), len(models)
    if len(seeds) != k or (skip is not None and len(skip) != k):
        raise LabError(f"fit_packed got {k} models, {len(seeds)} seeds and "
                       f"{k if skip is None else len(skip)} skip lists: give one of each a model.")
    if not all(_is_mlp(m) for m in models):
        raise LabError("fit_packed trains perceptrons as models.mlp makes them, without dropout or "
                       "a layer used twice: use fit_many for others.")
    weights = [torch.stack(same).detach().requires_grad_()
               for same in zip(*(m.parameters() for m in models), strict=True)]
    keep = torch.stack([kept(n, rows, x.device) for rows in skip or [[]] * k]).float()
    steps = round(epochs * -(-n // batch_size))
    optimizer = sgd(weights, lr, momentum, weight_decay)
    rates, flat, loss = _schedule(schedule, lr, steps), x.flatten(1), torch.zeros(())
    for t, batch in enumerate(_batches(n, batch_size, steps, seeds, x.device)):
        out = _logits(weights, flat[batch])
        w = keep.gather(1, batch)
        losses = F.cross_entropy(out.flatten(0, 1), y[batch].flatten(), reduction="none")
        # each model's own mean; gradients do not mix
        loss = ((losses.view(k, -1) * w).sum(1) / w.sum(1).clamp(min=1)).sum()
        step(optimizer, loss, rates[t])
    _check_finite(loss, weights, lr)
    return [_unstacked(weights, i, model) for i, model in enumerate(models)]


@checked(epochs="passes, 0 or more", penalty=None)
def fit_many(models, x, y, *, seeds, skip=None, pack=8, workers=None, **recipe):
    """Train many models, the quickest way this machine has; returns them in order.

    seeds: as many row orders; skip: None or as many row tensors. MLPs are packed `pack` at a time;
    all is spread over worker processes, whose number changes no result. recipe: that of `fit`, or
    for MLPs of `fit_packed`, without penalty and span.
    """
    skip = [None] * len(models) if skip is None else skip
    if all(_is_mlp(m) for m in models):
        packs = [slice(i, i + pack) for i in range(0, len(models), pack)]

        def job(part):
            left_out = [[] if rows is None else rows for rows in skip[part]]
            return fit_packed(models[part], x, y, seeds=seeds[part], skip=left_out, **recipe)

        return [m for group in parallel(job, packs, workers) for m in group]
    return parallel(lambda i: fit(copy.deepcopy(models[i]), x, y, seed=seeds[i], skip=skip[i],
                                  **recipe), range(len(models)), workers)


@contextmanager
def dropout_masks(model, seed):
    """Draw dropout masks from `seed`, leave torch's own numbers alone; without dropout: nothing."""
    drops = any(isinstance(m, nn.Dropout) for m in model.modules())
    with torch.random.fork_rng(devices=[], enabled=drops):
        if drops:
            torch.manual_seed(seed)
        yield


def _batches(n, batch_size, steps, seeds, device):
    """The rows of each step, (K, b): each seed permutes **all** n rows anew in every epoch."""
    orders = [torch.Generator().manual_seed(seed) for seed in seeds]
    per_epoch = -(-n // batch_size)
    for step in range(steps):
        if step % per_epoch == 0:
            rows = torch.stack([torch.randperm(n, generator=g) for g in orders]).to(device)
        start = step % per_epoch * batch_size
        yield rows[:, start : start + batch_size]


def kept(n, skip, device):
    """(n,) bool: the rows that stay; None when none is named to be left out."""
    if skip is None:
        return None
    keep = torch.ones(n, dtype=torch.bool, device=device)
    keep[skip] = False
    return keep


def sgd(weights, lr, momentum, weight_decay):
    """The optimiser of every training here: SGD, with Nesterov momentum where there is momentum."""
    return torch.optim.SGD(weights, lr, momentum, nesterov=momentum > 0, weight_decay=weight_decay)


def step(optimizer, loss, lr):
    """One step down the gradient of the loss at the rate lr."""
    optimizer.param_groups[0]["lr"] = lr
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _schedule(name, lr, steps):
    if name == "constant":
        return [lr] * steps
    if name == "multistep":
        return [lr * 0.1 ** ((2 * s >= steps) + (4 * s >= 3 * steps)) for s in range(steps)]
    up = max(1, round(0.3 * steps))
    return [lr * min((s + 1) / up, (steps - s) / max(1, steps - up)) for s in range(steps)]


def _check_finite(loss, weights, lr):
    if not torch.isfinite(loss) or not all(torch.isfinite(w).all() for w in weights):
        raise Diverged(f"Training diverged (loss {loss.item()}) at learning rate {lr}: try a "
                       "smaller one.")


def _is_mlp(model):
    """What `_logits` works out: linear layers with biases, ReLU between, no weight used twice."""
    kinds = [type(m) for m in model] if isinstance(model, nn.Sequential) else []
    depth = len(kinds) // 2
    return (depth > 0 and kinds == [nn.Flatten, *[nn.Linear, nn.ReLU] * (depth - 1), nn.Linear]
            and len(list(model.parameters())) == 2 * depth)


def _logits(weights, x):
    """K models, each on its own rows: (K, b, d) -> (K, b, k). weights: (K, out, in), (K, out), …"""
    for i, (weight, bias) in enumerate(zip(weights[::2], weights[1::2], strict=True)):
        x = torch.baddbmm(bias[:, None], x if i == 0 else x.relu(), weight.transpose(1, 2))
    return x


def _unstacked(weights, i, like):
    """Model i of a pack, as a copy of `like`."""
    net = copy.deepcopy(like)
    for p, trained in zip(net.parameters(), weights, strict=True):
        p.data.copy_(trained[i].detach())
    return net.eval()
