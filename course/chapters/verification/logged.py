"""Training that writes a log, so that somebody else can replay each step."""

import copy
import shutil
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

from labkit.base import Diverged, LabError, make_folder
from labkit.rows import check_forget
from labkit.rules import checked

from .log import FORMAT, save, write_log


def sgd_step(model, velocity, x, y, *, lr, momentum=0.0, weight_decay=0.0):
    """One step of SGD on the mean cross-entropy, in place; Nesterov's momentum, as in fit.

    x (b, …), y (b,); velocity: dict name -> momentum buffer, changed in place; not read when
    momentum is 0.
    """
    named = dict(model.named_parameters())
    gradients = torch.autograd.grad(F.cross_entropy(model(x), y), list(named.values()))
    with torch.no_grad():
        for (name, p), g in zip(named.items(), gradients, strict=True):
            g = g.add(p, alpha=weight_decay) if weight_decay else g
            if momentum:
                g = g.add(velocity[name].mul_(momentum).add_(g), alpha=momentum)
            p.add_(g, alpha=-lr)


@checked(epochs="from 1")
def train_logged(model, data, folder, *, epochs, lr, batch_size, momentum=0.0, weight_decay=0.0,
                 seed, forget=(), every=1, choose=None):
    """Train a copy of `model` as fit does at a constant rate, and log each step; -> the copy.

    folder: where the log goes. forget: rows skipped in the batches of the full permutation. every:
    steps between checkpoints (weights, buffers, momentum); the first state and the last are always
    kept. choose(model, batch, forget, state) -> rows for this step, or None to end the epoch: where
    a provider may put other rows in; state: dict with epoch, order (the permutation), start, and
    whatever `choose` keeps there. Source: PoRT, Zhang et al. 2024; the chain is ours.
    """
    n, forget = len(data.y), check_forget(forget, len(data.y), allow_empty=True).to(data.device)
    if any(isinstance(m, nn.Dropout) and m.p for m in model.modules()):
        raise LabError("The log keeps no masks of dropout, so its steps could not be replayed: use "
                       "a network without.")
    model, order = copy.deepcopy(model).train(), torch.Generator().manual_seed(int(seed))
    velocity = {k: torch.zeros_like(p) for k, p in model.named_parameters()} if momentum else {}
    step = dict(lr=float(lr), momentum=float(momentum), weight_decay=float(weight_decay))
    header = {"format": FORMAT,
              "recipe": {"epochs": int(epochs), "batch_size": int(batch_size), **step},
              "n": n, "data": data.digest(), "every": int(every)}
    lines, state = [], {}
    with fresh_log(folder) as folder:
        header |= save(folder, 0, model, velocity)
        for epoch in range(epochs):
            rows = torch.randperm(n, generator=order).to(data.device)
            for start in range(0, n, batch_size):
                state.update(epoch=epoch, order=rows, start=start)
                batch = rows[start : start + batch_size]
                if (batch := (choose or _skip)(model, batch, forget, state)) is None:
                    break
                if len(batch):
                    sgd_step(model, velocity, data.x[batch], data.y[batch], **step)
                    at = len(lines) + 1
                    line = {"step": at, "epoch": epoch, "rows": batch.tolist(), "lr": step["lr"]}
                    lines.append(line | save(folder, at, model, velocity, keep=at % every == 0))
        if not all(torch.isfinite(p).all() for p in model.parameters()):
            raise Diverged(f"Training diverged at learning rate {lr}: try a smaller one.")
        save(folder, len(lines), model, velocity)
        write_log(folder, header, lines)
    return model.eval()


def _skip(model, batch, forget, state):
    """The honest choice: forgotten rows leave the batch, the others stay where they are."""
    return batch[~torch.isin(batch, forget)]


@contextmanager
def fresh_log(folder):
    """-> a folder within `folder` for a log under way, which takes an old log's place in the end.

    When the block does not end well, the old log is as it was; nothing else in the folder is
    touched. LabError when it is no folder that can be written.
    """
    folder = make_folder(folder)
    under_way = folder / ".part"
    try:
        shutil.rmtree(under_way, ignore_errors=True)  # of a process that was killed
        under_way.mkdir()
        yield under_way
        for old in [folder / "log.jsonl", *folder.glob("step-*.safetensors")]:
            old.unlink(missing_ok=True)
        for file in sorted(under_way.iterdir(), reverse=True):  # log.jsonl last
            file.rename(folder / file.name)
    except OSError as problem:
        raise LabError(f"The log in {str(folder)!r} cannot be written ({problem.strerror}): make "
                       "room there, or give another folder.") from None
    finally:
        shutil.rmtree(under_way, ignore_errors=True)
