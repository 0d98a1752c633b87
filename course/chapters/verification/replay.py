"""Verification by replay: a verifier who recomputes every gradient of a provider's log."""

import copy
from dataclasses import dataclass
from math import inf

import torch
import torch.nn.functional as F

from labkit.base import LabError
from labkit.rows import check_forget
from labkit.rules import checked, is_whole

from .log import Log, checkpoint, load_log, restored, tensors_in
from .logged import sgd_step


@dataclass(frozen=True, eq=False)
class Report:
    """A verdict. reasons: one sentence for each thing that speaks against it.

    steps, errors (m,): what was replayed; disjoint, last_matches, init_matches: True, False, or
    None where it was not looked at.
    """

    verified: bool
    reasons: tuple
    steps: torch.Tensor | None = None
    errors: torch.Tensor | None = None
    disjoint: bool | None = None
    last_matches: bool | None = None
    init_matches: bool | None = None


@checked(steps=None)
def replay_errors(folder, data, build, steps=None, seed=0, change=None):
    """Replay from checkpoint to checkpoint. -> (steps (m,) where each ends, errors (m,) float64).

    folder: of the log, or a Log. build: seed -> network. steps: None all, a number (that many drawn
    with `seed`), or a list of steps: the stretches that hold them. The error is the l2 distance of
    replayed and logged weights; where there is momentum, lr times the distance of the buffers is
    added in squares, for a provider free to name buffers could reach any weights. change: 'order'
    shuffles the rows of each batch, 'float64' computes in double precision.
    """
    log = _opened(folder, len(data.y), data)
    recipe, model, draw = log.header["recipe"], build(0), torch.Generator().manual_seed(seed)
    settings = {k: recipe[k] for k in ("momentum", "weight_decay")}
    model = model.to(data.device, torch.float64 if change == "float64" else None).train()
    dtype, errors, spans = next(model.parameters()).dtype, [], _spans(log, steps, draw)
    for first, last in spans:
        velocity = restored(checkpoint(log, first, model), model)
        for line in log.lines[first:last]:
            rows = torch.tensor(line["rows"], dtype=torch.long)
            if change == "order":
                rows = rows[torch.randperm(len(rows), generator=draw)]
            rows = rows.to(data.device)
            if len(rows):
                sgd_step(model, velocity, data.x[rows].to(dtype), data.y[rows], lr=line["lr"],
                         **settings)
        logged, square = checkpoint(log, last, model), 0.0
        for name, t in tensors_in(model, velocity).items():
            if t.is_floating_point():
                scale = recipe["lr"] if name.startswith("momentum.") else 1
                off = scale * (t.cpu().double() - logged[name].double())
                square += float(off.square().sum())
        errors.append(square**0.5)
    return (torch.tensor([last for _, last in spans]), torch.tensor(errors, dtype=torch.float64))


def step_of(log, step, data, build):
    """What a verifier needs for one step without momentum, as vectors.

    -> weights before (d,), the gradient of its batch there (d,), the logged weights after (d,)
    """
    model = build(0).train()

    def weights(at):
        restored(checkpoint(log, at, model), model)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    after, before = weights(step), weights(step - 1)
    rows = torch.tensor(log.lines[step - 1]["rows"], device=data.device)
    loss = F.cross_entropy(model(data.x[rows]), data.y[rows])
    found = torch.autograd.grad(loss, list(model.parameters()))
    return before, torch.cat([g.flatten() for g in found]), after


def floor(folder, data, build, *, steps=None, seed=0) -> float:
    """The largest error of an honest log under what one concedes: batches shuffled, float64.

    Give the log of a run known to be honest. A tolerance below this refuses honest providers; sweep
    it from here up.
    """
    return max(float(replay_errors(folder, data, build, steps, seed, change)[1].max())
               for change in ("order", "float64"))


@checked(steps=None)
def verify(folder, data, served, forget, *, tolerance, build=None, init_seed=None, recipe=None,
           steps=None, seed=0) -> Report:
    """Check a proof of retraining: chain, batches, replay, last and first checkpoint.

    served: the model in use, whose weights must be the last checkpoint's. tolerance: largest l2
    error of a replay, such as ten times the honest floor. build(init_seed): the initial weights
    agreed on; without them a provider may start at the model it should have forgotten. recipe: dict
    of agreed settings (epochs, lr, batch_size, momentum, weight_decay). steps, seed: as in
    replay_errors. Nothing the provider says about errors is read. Source: Zhang et al. 2024, PoRT
    (i) to (iii).
    """
    gone = set(check_forget(forget, len(data.y)).tolist())
    _check_steps(steps)  # a mistake of the caller is no reason against the provider
    try:
        log = load_log(folder, data)
        first, last = checkpoint(log, 0), checkpoint(log, len(log.lines))
        make = build or (lambda _: copy.deepcopy(served))
        at, errors = replay_errors(log, data, make, steps, seed)
    except LabError as refusal:
        return Report(False, (str(refusal),))
    reasons = _forgotten(log, gone)
    disjoint = not reasons
    if (bad := ~(errors <= tolerance)).any():
        reasons.append(f"{int(bad.sum())} of {len(at)} replays miss the logged weights by more "
                       f"than {tolerance:.1e}, at most by {errors.max():.1e} (step "
                       f"{at[errors.argmax()]}).")
    last_matches, init_matches = _same(served, last), None
    if not last_matches:
        reasons.append("The served model is not the last checkpoint of the log.")
    if build is not None and init_seed is not None:
        init_matches = _same(build(init_seed), first)
    if init_matches is False:
        reasons.append("The first checkpoint of the log is not the initialisation that was agreed "
                       "on.")
    said = log.header["recipe"]
    reasons += [f"The log was made with {k} {said.get(k)}, and {v} was agreed on."
                for k, v in (recipe or {}).items() if said.get(k) != v]
    reasons += _incomplete(log, gone)
    return Report(not reasons, tuple(reasons), at, errors, disjoint, last_matches, init_matches)


def _forgotten(log, gone):
    """A sentence, in a list, if batches hold forgotten rows."""
    tainted = [line["step"] for line in log.lines if not gone.isdisjoint(line["rows"])]
    return [f"{len(tainted)} of {len(log.lines)} logged batches hold forgotten rows, the first at "
            f"step {tainted[0]}."] if tainted else []


def _incomplete(log, gone):
    """A sentence, in a list, if full batches are not just the rows that stay."""
    n, stays = log.header["n"], log.header["n"] - len(gone)
    whole = all(len(set(line["rows"])) == len(line["rows"]) == stays for line in log.lines)
    return [] if whole or log.header["recipe"]["batch_size"] < n else [
        "A full batch must hold each retained row once, and the logged ones do not."]


@checked
def usage(folder, n) -> torch.Tensor:
    """How often each of n rows was used in each epoch. -> (epochs, n) int64, to audit a log."""
    log = _opened(folder, n)
    counts = torch.zeros(log.header["recipe"]["epochs"], n, dtype=torch.long)
    for line in log.lines:
        rows = torch.tensor(line["rows"], dtype=torch.long)
        counts[line["epoch"]].index_add_(0, rows, torch.ones_like(rows))
    return counts


def max_use_pvalue(counts, eligible: int) -> float:
    """How likely is a row used as often as the most used one, in batches drawn *with* replacement?

    counts (epochs, n) from usage; eligible: rows that may be drawn (n less the forgotten ones). The
    most generous reading: with permutations, as in train_logged, any count above 1 in one epoch is
    proof. A binomial tail of the total over epochs, times `eligible` for the choice of the largest
    (union bound). Not in the papers.
    """
    from scipy.special import bdtrc

    most, total = int(counts.sum(0).max()), int(counts.sum())
    return min(1.0, eligible * float(bdtrc(most - 1, total, 1 / eligible)))


@checked
def follows(folder, n, forget, seed) -> bool:
    """Are the batches those of a seed committed in advance, less the forgotten rows?

    Leaves no choice of batches.
    """
    log, order = _opened(folder, n), torch.Generator().manual_seed(seed)
    gone, recipe = set(check_forget(forget, n).tolist()), log.header["recipe"]
    due = [batch for _ in range(recipe["epochs"])
           for batch in torch.randperm(n, generator=order).split(recipe["batch_size"])]
    due = [[i for i in batch.tolist() if i not in gone] for batch in due]
    return [b for b in due if b] == [line["rows"] for line in log.lines]


def _opened(folder, n, data=None):
    """The Log in a folder, if it is not one already; LabError when it is not of n rows."""
    log = folder if isinstance(folder, Log) else load_log(folder, data)
    if n != log.header["n"]:
        raise LabError(f"The log is of {log.header['n']} rows, and n is {n}: give the size of the "
                       "training set.")
    return log


def _same(model, tensors):
    mine = tensors_in(model, {})
    theirs = {k: t for k, t in tensors.items() if k.startswith("model.")}
    return mine.keys() == theirs.keys() and all(torch.equal(t.cpu(), theirs[k])
                                                for k, t in mine.items())


def _check_steps(steps, most=inf):
    listed = isinstance(steps, list) and steps
    if not (steps is None or is_whole(steps) and steps >= 1
            or listed and all(is_whole(s) and 1 <= s <= most for s in steps)):
        raise LabError(f"steps is {steps!r}: give None, how many to draw, or a list of steps from 1"
                       f"{f' to {most}' if most < inf else ''}.")


def _spans(log, steps, draw):
    """Stretches (checkpoint, next checkpoint) to replay."""
    _check_steps(steps, len(log.lines))
    spans = list(zip(log.checkpoints, log.checkpoints[1:], strict=False))
    if steps is None:
        return spans
    if is_whole(steps):
        drawn = torch.randperm(len(spans), generator=draw)[:steps]
        return [spans[i] for i in sorted(drawn.tolist())]
    return [(a, b) for a, b in spans if any(a < s <= b for s in steps)]
