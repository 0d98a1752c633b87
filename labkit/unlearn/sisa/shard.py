"""Training one shard: slice after slice, from scratch or from its last sound checkpoint."""

import time

import numpy as np
import torch
import torch.nn.functional as F

from ...base import Diverged
from ...training import sgd, step
from . import checkpoints


def train_shard(ensemble, data, shard, first):
    """From the last sound checkpoint at or before `first` slices to the last one, in this process.

    -> dict: tensors of the trained model, start (slices kept), visits, cpu (seconds), notes.
    """
    cpu, recipe, p = time.process_time(), ensemble.recipe, ensemble.partition
    model = ensemble.build(seed_of(recipe["seed"], shard, 0))
    settings = (recipe[k] for k in ("lr", "momentum", "weight_decay"))
    optimizer = sgd(model.parameters(), *settings)
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
    for done in range(start + 1, p.slices + 1):
        rows = p.rows(shard, done, ensemble.removed).to(data.x.device)
        visits += train_slice(model, optimizer, data, rows, shard, done, recipe)
        if done in kept:
            checkpoints.save(ensemble.folder, shard, done, model,
                             optimizer if recipe["save_optimizer"] else None, rows, recipe)
    return dict(tensors=checkpoints.state(model), start=start, visits=visits, notes=notes,
                cpu=time.process_time() - cpu)


def train_slice(model, optimizer, data, rows, shard, i, recipe):
    """Slice step i, from 1: 2e'/(R + 1) passes over the slices so far, e' in all. -> visits"""
    slices, size = recipe["slices"], recipe["batch_size"]
    left = visits = round(2 * recipe["epochs"] / (slices + 1) * len(rows))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(recipe["seed"], shard, i))  # order of the rows, dropout
        batches = []
        while left > 0:
            order = torch.randperm(len(rows))[:left]
            batches += rows[order.to(rows.device)].tensor_split(-(-len(order) // size))
            if 1 == len(order) < len(rows):  # BatchNorm cannot train on a last batch of one row
                batches[-2:] = [torch.cat(batches[-2:])]
            left -= len(order)
        model.train()
        for t, batch in enumerate(batches):
            # share of the whole training; a slice's part is fixed, however many rows it has
            done = i * (i - 1) / 2 + i * (t + 0.5) / len(batches)
            done = done / (slices * (slices + 1) / 2)
            step(optimizer, F.cross_entropy(model(data.x[batch]), data.y[batch]),
                 recipe["lr"] * min(done / 0.3, (1 - done) / 0.7))
    if not all(torch.isfinite(t).all() for t in model.state_dict().values()):
        raise Diverged(f"SISA diverged in shard {shard} at learning rate {recipe['lr']}: lower it.")
    return visits


def kept_slices(slices: int, keep: int) -> list[int]:
    """After which slices a checkpoint is kept: every `keep`-th, and the last, the model in use."""
    return [done for done in range(1, slices + 1) if done % keep == 0 or done == slices]


def seed_of(seed: int, shard: int, step: int) -> int:
    """Of the initial weights: step 0; of the order of the rows in slice step i: i."""
    return int(np.random.SeedSequence([seed, shard, step]).generate_state(1)[0])
