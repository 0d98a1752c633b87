"""Verification by replay: a verifier who recomputes every gradient of a provider's log."""

import copy
from dataclasses import dataclass

import torch

from course.chapters.verification.log import Log, checkpoint, load_log, restored
from course.chapters.verification.logged import sgd_step
from labkit.base import LabError
from labkit.rows import check_forget, is_number, is_whole


@dataclass(frozen=True, eq=False)
class Report:
    """A verdict. reasons: one sentence for each thing that speaks against it; steps, errors (m,): what was replayed;
    disjoint, last_matches, init_matches: True, False, or None where it was not looked at."""

    verified: bool
    reasons: tuple
    steps: torch.Tensor | None = None
    errors: torch.Tensor | None = None
    disjoint: bool | None = None
    last_matches: bool | None = None
    init_matches: bool | None = None


def replay_errors(folder, data, build, steps=None, seed=0, change=None):
    """Replay from logged checkpoint to logged checkpoint. -> (steps (m,) where a replay ends, errors (m,) float64).

    folder: of the log, or a Log. build: seed -> network. steps: None all, a number (that many drawn with `seed`), or
    a list of steps: the stretches that hold them. The error is the l2 distance of replayed and logged weights; where
    there is momentum, lr times the distance of the buffers is added in squares, for a provider free to name buffers
    could reach any weights. change: 'order' shuffles the rows of each batch, 'float64' computes in double precision.
    """
    log = folder if isinstance(folder, Log) else load_log(folder, data)
    recipe, model, draw = log.header["recipe"], build(0), torch.Generator().manual_seed(seed)
    settings = {k: recipe[k] for k in ("momentum", "weight_decay")}
    model = model.to(data.device, torch.float64 if change == "float64" else None).train()
    if change not in (None, "order", "float64"):
        raise LabError(f"There is no change {change!r}: choose 'order' or 'float64', or None for a plain replay.")
    like, errors, spans = next(model.parameters()), [], _spans(log, steps, draw)
    for first, last in spans:
        velocity = restored(checkpoint(log, first, model), model)
        for line in log.lines[first:last]:
            rows = torch.tensor(line["rows"], dtype=torch.long)
            rows = (rows[torch.randperm(len(rows), generator=draw)] if change == "order" else rows).to(data.device)
            if len(rows):
                sgd_step(model, velocity, data.x[rows].to(like.dtype), data.y[rows], lr=line["lr"], **settings)
        logged, square = checkpoint(log, last, model), 0.0
        mine = {f"model.{k}": t for k, t in model.state_dict().items()}
        mine |= {f"momentum.{k}": t for k, t in velocity.items()}
        for name, t in mine.items():
            if t.is_floating_point():
                scale = recipe["lr"] if name.startswith("momentum.") else 1
                square += float((scale * (t.cpu().double() - logged[name].double())).square().sum())
        errors.append(square**0.5)
    return torch.tensor([last for _, last in spans]), torch.tensor(errors, dtype=torch.float64)


def floor(folder, data, build, *, steps=None, seed=0) -> float:
    """The largest error of an honest log under the changes one concedes: rows of a batch shuffled, float64.

    Give the log of a run known to be honest. A tolerance below this refuses honest providers; sweep it from here up.
    """
    return max(float(replay_errors(folder, data, build, steps, seed, c)[1].max()) for c in ("order", "float64"))


def verify(folder, data, served, forget, *, tolerance, build=None, init_seed=None, recipe=None, steps=None,
           seed=0) -> Report:
    """Check a proof of retraining: chain, batches without forgotten rows, replay, last checkpoint, first checkpoint.

    served: the model in use, whose weights must be the last checkpoint's. tolerance: largest l2 error of a replay.
    build(init_seed): the initial weights agreed on; without them a provider may start at the model it should have
    forgotten. recipe: dict of agreed settings (epochs, lr, batch_size, momentum, weight_decay). steps, seed: as in
    replay_errors. Nothing the provider says about errors is read. Source: Zhang et al. 2024, PoRT (i) to (iii).
    """
    gone = set(check_forget(forget, len(data.y)).tolist())
    if not is_number(tolerance) or not tolerance >= 0:
        raise LabError(f"The tolerance is {tolerance!r}: give an l2 distance of 0 or more, for example ten times the "
                       "honest floor.")
    # a mistake of the caller is no reason against the provider
    if not (steps is None or is_whole(steps) and steps > 0
            or isinstance(steps, list) and steps and all(is_whole(s) and s > 0 for s in steps)):
        raise LabError(f"steps is {steps!r}: give None, how many to draw, or a list of steps from 1.")
    try:
        log = load_log(folder, data)
        first, last = checkpoint(log, 0), checkpoint(log, len(log.lines))
        at, errors = replay_errors(log, data, build or (lambda _: copy.deepcopy(served)), steps, seed)
    except LabError as refusal:
        return Report(False, (str(refusal),))
    said, reasons = log.header["recipe"], []
    tainted = [line["step"] for line in log.lines if not gone.isdisjoint(line["rows"])]
    last_matches = _same(served, last)
    init_matches = None if build is None or init_seed is None else _same(build(init_seed), first)
    if tainted:
        reasons.append(f"{len(tainted)} of {len(log.lines)} logged batches hold forgotten rows, the first at step "
                       f"{tainted[0]}.")
    if (bad := ~(errors <= tolerance)).any():
        reasons.append(f"{int(bad.sum())} of {len(at)} replays miss the logged weights by more than {tolerance:.1e}, "
                       f"at most by {errors.max():.1e} (step {at[errors.argmax()]}).")
    if not last_matches:
        reasons.append("The served model is not the last checkpoint of the log.")
    if init_matches is False:
        reasons.append("The first checkpoint of the log is not the initialisation that was agreed on.")
    reasons += [f"The log was made with {k} {said.get(k)}, and {v} was agreed on." for k, v in (recipe or {}).items()
                if said.get(k) != v]
    stays = len(data.y) - len(gone)
    if said["batch_size"] >= len(data.y) and any(len(set(s["rows"])) != stays or len(s["rows"]) != stays
                                                     for s in log.lines):
        reasons.append("A full batch must hold each retained row once, and the logged ones do not.")
    return Report(not reasons, tuple(reasons), at, errors, not tainted, last_matches, init_matches)


def usage(folder, n) -> torch.Tensor:
    """How often each of n rows was used in each epoch. -> (epochs, n) int64, to audit a log."""
    log = folder if isinstance(folder, Log) else load_log(folder)
    if n != log.header["n"]:
        raise LabError(f"The log is of {log.header['n']} rows, and n is {n}: give the size of the training set.")
    counts = torch.zeros(log.header["recipe"]["epochs"], n, dtype=torch.long)
    for line in log.lines:
        rows = torch.tensor(line["rows"], dtype=torch.long)
        counts[line["epoch"]].index_add_(0, rows, torch.ones_like(rows))
    return counts


def max_use_pvalue(counts, eligible: int) -> float:
    """How likely is a row used as often as the most used one, if every batch were drawn *with* replacement?

    counts (epochs, n) from usage; eligible: rows that may be drawn (n less the forgotten ones). The most generous
    reading: with permutations, as in train_logged, any count above 1 in one epoch is proof. A binomial tail of the
    total over epochs, times `eligible` for the choice of the largest (union bound). Not in the papers.
    """
    from scipy.special import bdtrc

    return min(1.0, eligible * float(bdtrc(int(counts.sum(0).max()) - 1, int(counts.sum()), 1 / eligible)))


def follows(folder, n, forget, seed) -> bool:
    """Are the batches those of a seed committed in advance, less the forgotten rows? Leaves no choice of batches."""
    log, order = folder if isinstance(folder, Log) else load_log(folder), torch.Generator().manual_seed(seed)
    if n != log.header["n"]:
        raise LabError(f"The log is of {log.header['n']} rows, and n is {n}: give the size of the training set.")
    gone, size = set(check_forget(forget, n).tolist()), log.header["recipe"]["batch_size"]
    due = [batch for _ in range(log.header["recipe"]["epochs"])
           for batch in torch.randperm(n, generator=order).split(size)]
    due = [[i for i in batch.tolist() if i not in gone] for batch in due]
    return [b for b in due if b] == [line["rows"] for line in log.lines]


def _same(model, tensors):
    mine = {f"model.{k}": t.detach().cpu() for k, t in model.state_dict().items()}
    theirs = {k: t for k, t in tensors.items() if k.startswith("model.")}
    return mine.keys() == theirs.keys() and all(torch.equal(t, theirs[k]) for k, t in mine.items())


def _spans(log, steps, draw):
    """Stretches (checkpoint, next checkpoint) to replay."""
    spans = list(zip(log.checkpoints, log.checkpoints[1:], strict=False))
    if steps is None:
        return spans
    if is_whole(steps) and 1 <= steps:
        return [spans[i] for i in sorted(torch.randperm(len(spans), generator=draw)[:steps].tolist())]
    if isinstance(steps, list) and steps and all(is_whole(s) and 1 <= s <= len(log.lines) for s in steps):
        return [(a, b) for a, b in spans if any(a < s <= b for s in steps)]
    raise LabError(f"steps is {steps!r}: give None, how many to draw, or a list of steps from 1 to {len(log.lines)}.")
