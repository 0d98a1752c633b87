"""Providers, one honest and the others not. -> (the model it serves, the folder of its log)."""

import copy
import shutil
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F

from labkit.base import LabError
from labkit.measure.accuracy import timed
from labkit.rows import check_forget
from labkit.rules import checked

from . import log as logs
from .logged import fresh_log, sgd_step, train_logged


def honest(data, forget, folder, *, build, seed, init_seed=None, **recipe):
    """Retrain without the rows and log it. -> (model, folder).

    build: seed -> network; init_seed: of the first weights (default: seed); seed: of the batches;
    recipe: epochs, lr, batch_size, momentum, weight_decay, every, as in train_logged. forget=():
    the original training.
    """
    start = build(seed if init_seed is None else init_seed)
    return train_logged(start, data, folder, seed=seed, forget=forget, **recipe), Path(folder)


def ignore(model, log, folder):
    """Do nothing: serve the original model and show the original log. -> (model, folder).

    log: its folder.
    """
    with _copy(log, folder):
        return copy.deepcopy(model), Path(folder)


def edit_log(model, log, folder, forget):
    """Serve the original; strike the rows out of the log, chain it anew. -> (model, folder)."""
    old = logs.load_log(log)
    gone = set(check_forget(forget, old.header["n"]).tolist())
    with _copy(log, folder) as fresh:
        lines = [line | {"rows": [r for r in line["rows"] if r not in gone]} for line in old.lines]
        logs.write_log(fresh, old.header, lines)
    return copy.deepcopy(model), Path(folder)


@checked
def adversarial_search(data, forget, folder, *, build, seed, init_seed=None, candidates=50,
                       finish=False, **recipe):
    """Retrain on rows that imitate the forgotten ones, by random search. -> (model, folder).

    Batches come from **all** rows; the k forgotten ones of a batch give way to the best of
    `candidates` random sets of k retained rows unused in this epoch: least sum over tensors of the
    l2 distance of mean gradients, model in evaluation mode. Used rows leave the pool; when it is
    short the epoch ends, or with finish=True the rows that are left are used without a stand-in
    (each exactly once; ours). Taking rows out of the permutation keeps batches of one size (our
    reconstruction). Source: Zhang et al. 2024, Algorithm 1, S_r.
    """
    rows, draw = check_forget(forget, len(data.y)).to(data.device), _generator(seed)
    size = recipe.get("batch_size")

    def choose(model, _, forget, state):
        left = state["order"] if state["start"] == 0 else state["left"]
        batch, pool = left[:size], left[size:]
        gone, pool_ok = torch.isin(batch, rows), ~torch.isin(pool, rows)
        state["left"], k = pool, int(gone.sum())
        if k > int(pool_ok.sum()):
            return batch[~gone] if finish else None
        if k == 0:
            return batch if len(batch) else None
        model.eval()  # once for all gradients of this step
        pool, target = pool[pool_ok], _gradient(model, data, batch[gone])
        sets = [pool[torch.randperm(len(pool), generator=draw)[:k].to(pool.device)]
                for _ in range(candidates)]
        found = [_gradient(model, data, s) for s in sets]
        model.train()
        distances = [sum((a - b).norm() for a, b in zip(g, target, strict=True)) for g in found]
        best = sets[int(torch.stack(distances).argmin())]
        state["left"] = state["left"][~torch.isin(state["left"], best)]
        batch = batch.clone()
        batch[gone] = best
        return batch

    return _retrained(data, folder, build, seed, init_seed, choose, recipe)


def adversarial_nearest(data, forget, folder, *, build, seed, init_seed=None, **recipe):
    """Retrain with the batches of all rows, forgotten ones replaced by their nearest retained.

    Nearest: `nearest`, the first that the batch does not hold yet; the same rows stand in epoch
    after epoch. No gradient is spent. -> (model, folder). Source: Zhang et al. 2024, Algorithm 1,
    S_n.
    """
    swap = stand_ins(data, forget, "nearest", seed)
    choose = lambda model, batch, *_: swap(batch)[0]  # noqa: E731
    return _retrained(data, folder, build, seed, init_seed, choose, recipe)


@checked(replace=None)
def forge(log, data, forget, folder, *, build, replace="nearest", move=True, nudge=1e-3, seed=0):
    """Turn the log of the original training into one without the rows. -> (model, folder, Cost).

    No training: in each batch retained rows of the same class stand in for forgotten ones (replace:
    'nearest' or 'random'). move: the checkpoint of such a step becomes one step from the
    **original** checkpoint before, on the forged batch; False keeps the original one (Thudi et al.
    2022), which costs no gradient. nudge: learning rate of a step on one random retained row that
    moves the clean checkpoints, 0 for none. Needs a log with every=1. The Cost is measure's.
    Source: Zhang et al. 2024, forging. With momentum 0 a replay is off by lr · (k/b) · ‖mean
    gradient gap‖, their bound: just so where the checkpoint is kept; where it is moved, one step
    **later**, and stretched by the curvature of the loss, so that the bound can be broken.
    """
    model, cost = timed(_forge, log, data, forget, folder, build(0), replace, move, nudge, seed)
    return model, Path(folder), cost


def _forge(log, data, forget, folder, model, replace, move, nudge, seed):
    old, model = logs.load_log(log, data), model.to(data.device).train()
    if old.header["every"] != 1:
        raise LabError(f"The log has a checkpoint every {old.header['every']} steps: forging "
                       "starts from each step's own, so train with every=1.")
    settings = {k: old.header["recipe"][k] for k in ("lr", "momentum", "weight_decay")}
    swap, draw = stand_ins(data, forget, replace, seed), _generator(seed)
    retain, lines = data.split(forget).retain, []
    with _copy(log, folder) as fresh:
        for line in old.lines:
            step, rows = line["step"], torch.tensor(line["rows"], device=data.device)
            batch, tainted = swap(rows)
            line = line | {"rows": batch.tolist()}
            if tainted and move:
                velocity = logs.restored(logs.checkpoint(old, step - 1, model), model)
                sgd_step(model, velocity, data.x[batch], data.y[batch], **settings)
            elif not tainted and nudge:
                velocity = logs.restored(logs.checkpoint(old, step, model), model)
                one = retain[torch.randint(len(retain), (1,), generator=draw).to(retain.device)]
                sgd_step(model, {}, data.x[one], data.y[one], lr=nudge)
            else:
                lines.append(line)
                continue
            lines.append(line | logs.save(fresh, step, model, velocity))
        logs.write_log(fresh, old.header, lines)
    logs.restored(logs.checkpoint(logs.load_log(folder), len(lines), model), model)
    return model.eval()


def nearest(data, forget, top=32) -> torch.Tensor:
    """Retained rows of the same class by cosine similarity of raw pixels, best first.

    -> (u, top) int64, -1 to fill. Raw: x · std + mean; normalised rows have other angles.
    Source: Zhang et al. 2024, S_n.
    """
    split = data.split(forget)
    found = torch.full((len(split.forget), top), -1, dtype=torch.long, device=data.device)
    unit = [F.normalize((data.x[r] * data.std + data.mean).flatten(1), dim=1)
            for r in (split.forget, split.retain)]
    for label in data.y[split.forget].unique().tolist():
        a, b = (data.y[r] == label for r in (split.forget, split.retain))
        if not b.any():
            raise LabError(f"Every row of class {data.classes[label]} is forgotten, so none of "
                           "that class can stand in: keep some, or use adversarial_search.")
        best = (unit[0][a] @ unit[1][b].T).topk(min(top, int(b.sum())), dim=1).indices
        found[a.nonzero(), torch.arange(best.shape[1], device=data.device)] = split.retain[b][best]
    return found


def stand_ins(data, forget, kind, seed):
    """swap(batch, first=0) -> (the batch with stand-ins for forgotten rows, were there any?).

    Stand-ins are retained rows of the same class. kind: 'nearest' or 'random'; first: the rank of
    the neighbour that is tried first.
    """
    if kind not in ("nearest", "random"):
        raise LabError(f"There is no replacement {kind!r}: choose 'nearest' or 'random'.")
    rows, draw = check_forget(forget, len(data.y)), _generator(seed)
    best = nearest(data, rows).cpu().tolist()  # also refuses a class of which nothing is left
    options = {r: [i for i in row if i >= 0] for r, row in zip(rows.tolist(), best, strict=True)}
    retain, labels = data.split(rows).retain.cpu(), data.y.cpu()
    of_class = {c: retain[labels[retain] == c] for c in labels[rows.cpu()].unique().tolist()}

    def ranked(row):
        if kind == "nearest":
            return options[row]
        pool = of_class[int(labels[row])]
        return pool[torch.randint(len(pool), (32,), generator=draw)].tolist()

    def swap(batch, first=0):
        held = batch.tolist()
        if options.keys().isdisjoint(held):
            return batch, False
        used, out = set(held), []
        for row in held:
            if row in options:
                best = ranked(row)
                best = best[first % len(best):] + best[:first % len(best)]
                # none free: one row counts twice
                row = next((i for i in best if i not in used), best[0])
                used.add(row)
            out.append(row)
        return torch.tensor(out, device=batch.device), out != held

    return swap


def _retrained(data, folder, build, seed, init_seed, choose, recipe):
    start = build(seed if init_seed is None else init_seed)
    model = train_logged(start, data, folder, seed=seed, choose=choose, **recipe)
    try:
        logs.load_log(folder)
    except LabError:
        raise LabError("No unused retained row was left to put into the first batch of an epoch, "
                       "so there is no step to show: a full batch gives no choice; take smaller "
                       "batches, or finish=True.") from None
    return model, Path(folder)


def _gradient(model, data, rows):
    """Gradients of the mean loss, one a tensor."""
    loss = F.cross_entropy(model(data.x[rows]), data.y[rows])
    return torch.autograd.grad(loss, list(model.parameters()))


def _generator(seed):
    return torch.Generator().manual_seed(int(seed))


@contextmanager
def _copy(log, folder):
    """-> a folder with a copy of the log, to be changed; at the end it is the log in `folder`."""
    log, folder = Path(log), Path(folder)
    if log.resolve() == folder.resolve():
        raise LabError(f"The new log would overwrite the original in {folder}: give another "
                       "folder.")
    steps = logs.load_log(log).checkpoints
    with fresh_log(folder) as fresh:
        for name in [logs.file_of(log, s).name for s in steps] + ["log.jsonl"]:
            shutil.copyfile(log / name, fresh / name)
        yield fresh
