"""Training one shard: slice after slice, from scratch or from its last sound checkpoint."""

import time

import numpy as np
import torch
import torch.nn.functional as F

from ...base import Diverged
from . import checkpoints
from .cost import epochs_per_slice, kept_slices


def train_shard(ensemble, data, shard, first):
    """From the last sound checkpoint at or before `first` slices to the last one, in this process.

    -> dict: tensors of the trained model, start (slices that were not trained again), visits, cpu
    seconds, notes.
    """
    cpu, recipe, p = time.process_time(), ensemble.recipe, ensemble.partition
    model = ensemble.build(seed_of(recipe["seed"], shard, 0))
    optimizer = torch.optim.SGD(model.parameters(), recipe["lr"], recipe["momentum"],
                                nesterov=recipe["momentum"] > 0,
                                weight_decay=recipe["weight_decay"])
    kept, start, notes, visits = kept_slices(p.slices, recipe["keep"]), 0, [], 0
    for done in reversed([k for k in kept if k <= first]):
        rows = p.rows(shard, done, ensemble.removed)
        try:
            tensors = checkpoints.load(ensemble.folder, shard, done, rows, recipe)
        except LookupError as fault:
            notes.append(str(fault))
            continue
        checkpoints.restore(tensors, model, optimizer)
        start = done
        break
    if notes:
        notes = [f"{'; '.join(notes)}. Shard {shard} is trained again "
                 f"{f'from slice {start} on' if start else 'from the start'}."]
        checkpoints.wipe(ensemble.folder, shard, start)
    for step in range(start, p.slices):
        rows = p.rows(shard, step + 1, ensemble.removed).to(data.x.device)
        visits += train_slice(model, optimizer, data, rows, shard, step, recipe)
        if step + 1 in kept:
            checkpoints.save(ensemble.folder, shard, step + 1, model,
                             optimizer if recipe["save_optimizer"] else None, rows, recipe)
    return dict(tensors=checkpoints.state(model), start=start, visits=visits, notes=notes,
                cpu=time.process_time() - cpu)


def train_slice(model, optimizer, data, rows, shard, step, recipe):
    """One slice step: 2e'/(R + 1) passes over the slices so far. -> visits

    Nothing here depends on later slices.
    """
    slices, size = recipe["slices"], recipe["batch_size"]
    left = visits = round(epochs_per_slice(recipe["epochs"], slices) * len(rows))
    with torch.random.fork_rng(devices=[]):
        # order of the rows, dropout
        torch.manual_seed(seed_of(recipe["seed"], shard, step + 1))
        batches = []
        while left > 0:
            order = torch.randperm(len(rows))[:left]
            batches += rows[order.to(rows.device)].tensor_split(-(-len(order) // size))
            if 1 == len(order) < len(rows):  # BatchNorm cannot train on a last batch of one row
                batches[-2:] = [torch.cat(batches[-2:])]
            left -= len(order)
        model.train()
        for t, batch in enumerate(batches):
            # share of the whole training that is done; a slice's part of it is fixed, however many
            # rows it has
            done = step * (step + 1) / 2 + (step + 1) * (t + 0.5) / len(batches)
            done = done / (slices * (slices + 1) / 2)
            optimizer.param_groups[0]["lr"] = recipe["lr"] * min(done / 0.3, (1 - done) / 0.7)
            optimizer.zero_grad()
            F.cross_entropy(model(data.x[batch]), data.y[batch]).backward()
            optimizer.step()
    if not all(torch.isfinite(t).all() for t in model.state_dict().values()):
        raise Diverged(f"SISA diverged in shard {shard} at learning rate {recipe['lr']}: try a "
                       "smaller one.")
    return visits


def seed_of(seed: int, shard: int, step: int) -> int:
    """Of the initial weights: step 0; of the order of the rows in slice step i: i."""
    return int(np.random.SeedSequence([seed, shard, step]).generate_state(1)[0])
