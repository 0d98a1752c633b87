"""Training: fit one model, fit many at once, predict. Worker processes: labkit.processes."""

import copy
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

from .base import Diverged, LabError
from .processes import parallel
from .rows import check_settings, is_number


def fit(model, x, y, *, epochs, lr, seed, batch_size=128, momentum=0.9, weight_decay=5e-4, schedule="onecycle",
        skip=None, penalty=None, span=None, augment=None):
    """Train `model` in place by SGD with Nesterov momentum on cross-entropy, and return it.

    x (n, …) float32, y (n,) int64, both on the model's device. epochs: passes over the rows, fractions allowed.
    lr: peak learning rate; schedule: 'onecycle' (up, then down to 0), 'constant', or 'multistep' (a tenth after half of
    the steps, a hundredth after three quarters). seed: the order of the rows, and the masks of dropout layers.
    skip: (m,) rows to leave out. **All** rows are permuted and the skipped ones are dropped from their batch,
    so the other rows meet the same batches as in training on everything with the same seed.
    penalty: (model, epoch from 0) -> a scalar to add to the loss of each batch. span: (first, last) epochs, to run
    only that part of the schedule, with momentum starting at 0. augment: (rows of a batch, generator) -> rows, such as
    flip_and_crop; what a row becomes does not depend on the rows left out.
    Raises Diverged when the loss or a weight becomes NaN or infinite.
    """
    _check_recipe(epochs, lr=lr, seed=seed, batch_size=batch_size, momentum=momentum, weight_decay=weight_decay)
    n = len(x)
    steps_per_epoch = -(-n // batch_size)
    steps = round(epochs * steps_per_epoch)
    keep = None
    if skip is not None:
        keep = torch.ones(n, dtype=torch.bool, device=x.device)
        keep[skip] = False
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum, nesterov=momentum > 0, weight_decay=weight_decay)
    rates = _schedule(schedule, lr, steps)
    first, last = (0, steps) if span is None else (round(e * steps_per_epoch) for e in span)
    order, moves = (torch.Generator().manual_seed(seed) for _ in range(2))
    loss = torch.zeros(())
    model.train()
    with dropout_masks(model, seed):
        for step in range(last):
            if step % steps_per_epoch == 0:
                rows = torch.randperm(n, generator=order).to(x.device)
            if step < first:
                continue
            start = step % steps_per_epoch * batch_size
            batch = rows[start : start + batch_size]
            xs = x[batch] if augment is None else augment(x[batch], moves)
            if keep is not None:
                xs, batch = xs[keep[batch]], batch[keep[batch]]
            if len(batch):
                optimizer.param_groups[0]["lr"] = rates[step]
                loss = F.cross_entropy(model(xs), y[batch])
                if penalty is not None:
                    loss = loss + penalty(model, step // steps_per_epoch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    model.eval()
    if not torch.isfinite(loss) or not all(torch.isfinite(p).all() for p in model.parameters()):
        raise Diverged(f"Training diverged (loss {loss.item()}) at learning rate {lr}: try a smaller one.")
    return model


def flip_and_crop(x, draw, pad=4):
    """Each image mirrored left to right with probability 1/2, then shifted by up to `pad` pixels, zeros coming in.

    x (n, c, h, w); draw: the generator. The usual augmentation for CIFAR (He et al. 2016: 4 pixels); torchvision's
    transforms would move all images of a batch alike. On normalised images a zero is the mean, and not black.
    """
    n, c, h, w = x.shape
    flips = (torch.rand(n, generator=draw) < 0.5).to(x.device)
    shifts = torch.randint(0, 2 * pad + 1, (2, n, 1), generator=draw).to(x.device)
    x = F.pad(torch.where(flips[:, None, None, None], x.flip(3), x), (pad,) * 4)
    image, channel, row, column = (torch.arange(k, device=x.device) for k in (n, c, h, w))
    row, column = row + shifts[0], column + shifts[1]  # (n, h), (n, w)
    return x[image[:, None, None, None], channel[:, None, None], row[:, None, :, None], column[:, None, None, :]]


@torch.no_grad()
def predict(model, x, batch_size: int = 512) -> torch.Tensor:
    """Logits of x in evaluation mode, always float32. (n, …) -> (n, k). The model's mode is put back.

    Raises Diverged when an answer is NaN or infinite, as those of a blown-up network are, even with finite weights.
    """
    was_training = model.training
    model.eval()
    try:
        logits = torch.cat([model(part) for part in x.split(batch_size)]).float()
    except RuntimeError as error:
        if "memory" in str(error):
            raise
        raise LabError(f"The network does not take rows of shape {tuple(x.shape[1:])} "
                       f"({str(error).splitlines()[0]}): give rows like those it was built for.") from None
    finally:
        model.train(was_training)
    if not torch.isfinite(logits).all():
        if not torch.isfinite(x).all():
            raise LabError("The rows hold NaN or infinite values: clean them first.")
        raise Diverged("The network answers NaN or infinity, so it has diverged: lower the learning rate or the "
                       "strength that made it.")
    return logits


def fit_packed(models, x, y, *, epochs, lr, seeds, batch_size=128, momentum=0.9, weight_decay=5e-4,
               schedule="onecycle", skip=None):
    """Train K multilayer perceptrons of one shape at once, as batched matrix products; returns K trained copies.

    models: list of K `models.mlp`; seeds: K orders of the rows; skip: None, or a list of K row tensors to leave out.
    The same recipe as `fit`, 1.4 to 2.8 times quicker for small nets. Sums run in another order than in `fit`, so
    the last digits differ, and a batch whose rows are all skipped is a step of momentum and decay here, none in `fit`:
    compare packed models only with packed ones.
    """
    _check_recipe(epochs, lr=lr, batch_size=batch_size, momentum=momentum, weight_decay=weight_decay)
    n, k = len(x), len(models)
    if len(seeds) != k or (skip is not None and len(skip) != k):
        raise LabError(f"fit_packed got {k} models, {len(seeds)} seeds and {k if skip is None else len(skip)} "
                       "skip lists: give one of each a model.")
    if not all(_is_mlp(m) for m in models):
        raise LabError("fit_packed trains multilayer perceptrons without dropout: use fit_many for other networks.")
    layers = [_linear_layers(m) for m in models]
    weights = [[torch.stack([getattr(net[i], p).detach() for net in layers]) for p in ("weight", "bias")]
               for i in range(len(layers[0]))]
    parameters = [w.requires_grad_() for pair in weights for w in pair]
    keep = torch.ones(k, n, device=x.device)
    for j, rows in enumerate(skip or []):
        keep[j, rows] = 0
    steps_per_epoch = -(-n // batch_size)
    steps = round(epochs * steps_per_epoch)
    optimizer = torch.optim.SGD(parameters, lr, momentum, nesterov=momentum > 0, weight_decay=weight_decay)
    rates = _schedule(schedule, lr, steps)
    orders = [torch.Generator().manual_seed(s) for s in seeds]
    flat = x.flatten(1)
    for step in range(steps):
        if step % steps_per_epoch == 0:
            rows = torch.stack([torch.randperm(n, generator=g) for g in orders]).to(x.device)
        start = step % steps_per_epoch * batch_size
        batch = rows[:, start : start + batch_size]
        out = flat[batch]  # (K, b, d)
        for i, (weight, bias) in enumerate(weights):
            out = torch.baddbmm(bias[:, None], out if i == 0 else out.relu(), weight.transpose(1, 2))
        w = keep.gather(1, batch)
        losses = F.cross_entropy(out.flatten(0, 1), y[batch].flatten(), reduction="none").view(k, -1)
        loss = ((losses * w).sum(1) / w.sum(1).clamp(min=1)).sum()  # each model's own mean; gradients do not mix
        optimizer.param_groups[0]["lr"] = rates[step]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if not torch.isfinite(loss) or not all(torch.isfinite(p).all() for p in parameters):
        raise Diverged(f"Training diverged at learning rate {lr}: try a smaller one.")
    trained = []
    for j, model in enumerate(models):
        net = copy.deepcopy(model)
        for layer, (weight, bias) in zip(_linear_layers(net), weights, strict=True):
            layer.weight.data.copy_(weight[j].detach())
            layer.bias.data.copy_(bias[j].detach())
        trained.append(net.eval())
    return trained


def fit_many(models, x, y, *, seeds, skip=None, pack=8, workers=None, **recipe):
    """Train many models, the quickest way this machine has; returns them in order.

    models: list of networks; seeds: as many row orders; skip: None or as many row tensors. MLPs are packed
    `pack` at a time, everything is spread over worker processes on a CPU. `recipe` goes to `fit`, or for MLPs to
    `fit_packed`, which has no penalty and no span. The result does not depend on the number of workers.
    """
    skip = [None] * len(models) if skip is None else skip
    if all(_is_mlp(m) for m in models):
        packs = [slice(i, i + pack) for i in range(0, len(models), pack)]

        def job(part):
            left_out = [torch.empty(0, dtype=torch.long) if s is None else s for s in skip[part]]
            return fit_packed(models[part], x, y, seeds=seeds[part], skip=left_out, **recipe)

        return [m for group in parallel(job, packs, workers) for m in group]
    return parallel(lambda i: fit(copy.deepcopy(models[i]), x, y, seed=seeds[i], skip=skip[i], **recipe),
                    range(len(models)), workers)


@contextmanager
def dropout_masks(model, seed):
    """Draw dropout masks from `seed` and leave torch's own random numbers alone; without dropout, do nothing."""
    if any(isinstance(m, nn.Dropout) for m in model.modules()):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    else:
        yield


def _check_recipe(epochs, **settings):
    if not is_number(epochs) or not 0 <= epochs < float("inf"):
        raise LabError(f"epochs is {epochs!r}: give passes over the rows, 0 or more; fractions are allowed.")
    check_settings(**settings)


def _schedule(name, lr, steps):
    if name == "constant":
        return [lr] * steps
    if name == "multistep":
        return [lr * 0.1 ** ((2 * s >= steps) + (4 * s >= 3 * steps)) for s in range(steps)]
    if name != "onecycle":
        raise LabError(f"There is no schedule {name!r}: choose 'onecycle', 'constant' or 'multistep'.")
    up = max(1, round(0.3 * steps))
    return [lr * min((s + 1) / up, (steps - s) / max(1, steps - up)) for s in range(steps)]


def _is_mlp(model):
    return isinstance(model, nn.Sequential) and all(isinstance(m, nn.Flatten | nn.Linear | nn.ReLU) for m in model)


def _linear_layers(model):
    return [m for m in model if isinstance(m, nn.Linear)]
