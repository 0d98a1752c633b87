"""Forged logs, many of them: how far their replays miss, with what rate and share, at what cost."""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from labkit import training

from . import provider
from .log import checkpoint, load_log, restored
from .replay import floor, replay_errors
from .trials import PLAIN

KEPT = dict(move=False, nudge=0.0)  # the checkpoints of the old log stay (Thudi et al.)
SLACK = 1e-3  # of rounding, where a bound is held against an error


def warmed(world, s) -> dict:
    """Weights after half of the training, from which every forged run starts."""
    d = world.data.resplit(s)
    recipe = world.recipe | {"epochs": world.recipe["epochs"] // 2}
    return training.fit(world.build(s), d.x, d.y, seed=s, **PLAIN, **recipe).state_dict()


def starting_at(world, state):
    """seed -> a network with these weights, whatever the seed."""
    def same(_):
        net = world.build(0)
        net.load_state_dict(state)
        return net
    return same


def _logged(world, start, lr, s):
    """One honest epoch at rate lr. -> (data, folder of this run, log, settings of forge)"""
    d, top = world.data.resplit(s), world.place / f"forge-{lr}-{s}"
    _, log = provider.honest(d, (), top / "log", build=start, seed=s, epochs=1, lr=lr,
                             batch_size=world.recipe["batch_size"])
    return d, top, log, dict(build=world.build, seed=s)


def forging(world, start, job, rates, parts) -> list:
    """One run, its log forged for each share to forget in up to three ways. job: (lr, seed).

    -> [dict(kind, lr, share, seed, errors, floor, swapped, spent)]; errors and swapped: a value a
    step; spent: rows differentiated over the rows that an epoch of retraining would use.
    """
    (lr, s), out = job, []
    d, top, log, how = _logged(world, start, lr, s)
    noise, lines = floor(log, d, world.build), load_log(log).lines
    for part in parts:
        ways, forget = {"as published": {}}, world.drawn(s, round(part * len(d.y)))
        if lr == rates[-1] or part == parts[2]:
            ways["kept"] = KEPT
        if lr == rates[-1]:
            ways["kept, random"] = KEPT | {"replace": "random"}
        for kind, way in ways.items():
            _, folder, cost = provider.forge(log, d, forget, top / f"{kind} {part}", **how, **way)
            _, errors = replay_errors(folder, d, world.build)
            swapped = [a["rows"] != b["rows"] for a, b in
                       zip(lines, load_log(folder).lines, strict=True)]
            out.append(dict(kind=kind, lr=lr, share=part, seed=s, errors=errors.tolist(),
                            floor=noise, swapped=swapped,
                            spent=cost.visits / (len(d.y) - len(forget))))
    return out


def forged_runs(world, seeds, rates, parts) -> pd.DataFrame:
    """forging for each seed and rate; median: of the errors at swapped steps, nan without any."""
    states = training.parallel(lambda s: warmed(world, s), seeds)
    warm = {s: starting_at(world, state) for s, state in zip(seeds, states, strict=True)}
    jobs = [(lr, s) for s in seeds for lr in rates[::-1]]
    found = training.parallel(lambda job: forging(world, warm[job[1]], job, rates, parts), jobs)
    forged = pd.DataFrame(sum(found, []))
    forged["median"] = [float(np.median(np.array(e)[w])) if any(w) else np.nan
                        for e, w in zip(forged.errors, forged.swapped, strict=True)]
    return forged


def scaling(forged, rates, parts) -> dict:
    """How errors grow, a value a seed. rate, share: slope of log error over log lr, log share;
    gained: log error with random stand-ins less that with look-alikes; late: the largest error of
    a published log over what the bound says of the step before.
    """
    kept = forged[forged.kind == "kept"]
    logs = forged[forged.lr == rates[-1]].pivot(index=["share", "seed"], columns="kind",
                                                values="median")
    # as published, a step shows the error of the one before, which may be none
    logs = logs[["kept", "kept, random"]].map(np.log)
    pairs = forged[forged.kind == "as published"].merge(kept, on=["lr", "share", "seed"],
                                                        suffixes=("", "_kept"))
    # kept errors are the bound itself: the same step, with and without the swap
    pairs["late"] = [max((e / f for e, f, now, before in zip(r.errors[1:], r.errors_kept,
                                                             r.swapped[1:], r.swapped,
                                                             strict=False)
                          if now and before), default=0.0) for r in pairs.itertuples()]
    return {"rate": _slopes(kept[kept.share == parts[2]], "lr"),
            "share": _slopes(kept[kept.lr == rates[-1]], "share"),
            "gained": (logs["kept, random"] - logs["kept"]).groupby("seed").mean().tolist(),
            "late": pairs.groupby("seed", sort=False).late.max().tolist()}


def _slopes(frame, column):
    return [float(np.polyfit(np.log(g[column]), np.log(g["median"]), 1)[0])
            for _, g in frame.groupby("seed")]


def swapped_steps(world, s, *, lr, share, steps):
    """One log, forged both ways: what happens at its first steps with swapped rows.

    -> [dict(step, rows taken out, rows put in, old, new, b, kept, moved)]; old, new (k, d):
    gradients of the rows taken out and put in, one a row; b: the size of the batch; kept, moved:
    the replay error of this step where checkpoints are kept, and of the next where they are moved
    (nan if that has no swapped row, as its checkpoint was nudged, too).
    """
    start = starting_at(world, warmed(world, s))
    d, top, log, how = _logged(world, start, lr, s)
    forget, errors = world.drawn(s, round(share * len(d.y))), {}
    for kind, way in (("kept", KEPT), ("moved", {})):
        _, folder, _ = provider.forge(log, d, forget, top / f"example {kind}", **how, **way)
        errors[kind] = replay_errors(folder, d, world.build)[1].tolist()
    old, new, model, out = load_log(log), load_log(top / "example kept"), world.build(0), []
    pairs = [(a, b) for a, b in zip(old.lines, new.lines, strict=True) if a["rows"] != b["rows"]]
    swapped = {a["step"] for a, _ in pairs}
    for a, b in pairs[:steps]:
        restored(checkpoint(old, a["step"] - 1, model), model)
        left, came = zip(*((i, j) for i, j in zip(a["rows"], b["rows"], strict=True) if i != j),
                         strict=True)
        out.append({"step": a["step"], "rows taken out": left, "rows put in": came,
                    "old": _gradients(model, d, left), "new": _gradients(model, d, came),
                    "b": len(a["rows"]), "kept": errors["kept"][a["step"] - 1],
                    "moved": errors["moved"][a["step"]] if a["step"] + 1 in swapped else np.nan})
    return out


def swaps_shown(steps, formula) -> pd.DataFrame:
    """swapped_steps as a table, beside the formula's values, one a step."""
    return pd.DataFrame([{
        "step": t["step"], "rows taken out": ", ".join(map(str, t["rows taken out"])),
        "rows put in": ", ".join(map(str, t["rows put in"])), "your formula": f"{f:.1e}",
        "error, checkpoints kept": f"{t['kept']:.1e}",
        "error one step later, moved": f"{t['moved']:.1e}" if t["moved"] == t["moved"] else "–"}
        for t, f in zip(steps, formula, strict=True)])


def _gradients(model, d, rows):
    """The gradient of each row's loss, one vector a row. -> (k, d)"""
    losses = [F.cross_entropy(model(d.x[[i]]), d.y[[i]]) for i in rows]
    return torch.stack([torch.cat([g.flatten() for g in
                                   torch.autograd.grad(loss, list(model.parameters()))])
                        for loss in losses])
