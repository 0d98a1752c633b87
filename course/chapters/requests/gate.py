"""A gate at the desk: what it scores, where its limit comes from, and who gets past it."""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from labkit import attack, defend
from labkit.training import parallel, predict
from labkit.unlearn import first_order

from .tables import POINTS, ends, told


def benign_scores(victim, *, size, count, seed) -> dict:
    """The score `gradient_gate` of benign requests: stream -> (count,) array.

    size: rows a request; streams: those of `defend.benign`, which draws them.
    """
    x, y = victim.data.x, victim.data.y
    losses = F.cross_entropy(predict(victim.model, x), y, reduction="none").cpu().numpy()
    proxy = defend.residuals(victim.model, x, y)
    return {stream: np.array([defend.gradient_gate(proxy, rows) for rows in
                              defend.benign(stream, victim.data, size, count, seed, losses)])
            for stream in defend.STREAMS}


def refusals(fresh, limits) -> pd.DataFrame:
    """Whether each limit refuses each fresh benign request: rows with kind, stream, i, refused.

    fresh: for each victim what `benign_scores` gives; limits: kind -> one limit a victim; refused
    is 0 or 1, i the victim's number.
    """
    return pd.DataFrame([dict(kind=kind, stream=stream, i=i, refused=float(score > each[i]))
                         for kind, each in limits.items() for i, scores in enumerate(fresh)
                         for stream in defend.STREAMS for score in scores[stream]])


def plain(effects, start, label, budget) -> torch.Tensor:
    """Row by row the one that lowers the margin most, whatever a gate sees. -> indices (budget,).

    effects (m, k): what asking for a row adds to the logits start (k,).
    """
    logits, left = start, torch.ones(len(effects), dtype=torch.bool, device=effects.device)
    picked = []
    for _ in range(min(budget, len(effects))):
        after = attack.margin(logits + effects, label)
        picked.append(int(after.where(left, torch.inf).argmin()))
        logits, left[picked[-1]] = logits + effects[picked[-1]], False
    return torch.tensor(picked, device=effects.device)


def diluted(picked, proxy, limit, budget, seed=0) -> torch.Tensor:
    """The first of the picked rows, and random ones, so that the gate lets them through.

    picked (b,): indices, the strongest first; proxy (m, k): residuals. As many of the picked as
    pass when random rows fill up the budget; nothing where not even one passes. -> indices
    """
    draw = torch.Generator().manual_seed(seed)
    others = torch.randperm(len(proxy), generator=draw).to(proxy.device)
    others = others[~torch.isin(others, picked)]
    for strong in range(len(picked), 0, -1):
        rows = torch.cat([picked[:strong], others[: budget - strong]])
        if defend.gradient_gate(proxy, rows) <= limit:
            return rows
    return picked[:0]


def past_the_gate(victim, j, rows, limit, tau) -> dict:
    """A request of owned rows (their positions) at a desk with a gate and first-order unlearning.

    score: what the gate sees; passed: whether it is at most the limit; flipped: whether target j
    has another label after it, 0 where the request is refused or empty.
    """
    if not len(rows):
        return dict(score=0.0, passed=False, flipped=0.0, rows=0)
    request = attack.check_request(victim.held.rows[rows], victim.held)
    proxy = defend.residuals(victim.model, victim.data.x, victim.data.y)
    score = defend.gradient_gate(proxy, request)
    after = first_order(victim.model, victim.data, request, tau=tau)
    flipped = 1 - attack.answer(victim, j, after)["kept"]
    return dict(score=score, passed=score <= limit, flipped=flipped * (score <= limit),
                rows=len(request))


def gain_behind(behind, who, control, kind) -> tuple:
    """Labels that one selection changes more than another behind a gate, in points.

    behind: (selection, kind of limit) -> rows of `at_the_desk`. -> (mean and interval over networks
    as text, the interval's lower end)
    """
    ours, theirs = (behind[name, kind].sort_values(["i", "j"]).reset_index()
                    for name in (who, control))
    apart = ours.assign(apart=100 * (ours.flipped - theirs.flipped))
    return told(apart, "apart", POINTS), ends(apart, "apart", POINTS)[0]


def of_reused(desk, kind, controls) -> str:
    """How many random requests one kind of limit refuses, and in how many cases, in a sentence.

    desk: rows of `at_the_desk`; controls: as it takes them. One request serves several targets.
    """
    rows = desk[(desk.who == "random") & (desk.kind == kind)]
    request = [(i, j % len(controls[i])) for i, j in zip(rows.i, rows.j, strict=True)]
    refused = [r for r, passed in zip(request, rows.passed, strict=True) if not passed]
    return (f"Random requests are reused, {len(set(request))} for {len(rows)} targets: the "
            f"{len(refused)} refusals under the limit from {kind} rows are of {len(set(refused))}."
            if refused else "")


def at_the_desk(victims, asked, controls, limits, selections, *, tau, budget) -> list:
    """Selections against each target, at a desk with each of the limits.

    asked: (victim, target) -> row ids of the plain request; controls: for each victim its random
    requests; limits: kind -> one limit a victim; selections: name -> function as in exercise 3.5.
    -> rows with i, j, who, kind and those of `past_the_gate`.
    """
    def one(job):
        (i, j), v = job, victims[job[0]]
        out = attack.logits_at(v.model, v.x[j])
        start = out(dict(v.model.named_parameters())).detach()
        adds = attack.first_order_effects(v.model, v.held, out, tau=tau)
        proxy, found = defend.residuals(v.model, v.held.x, v.held.y), []
        random, picked = ((v.held.rows == ids[:, None]).int().argmax(1)
                          for ids in (controls[i][j % len(controls[i])], asked[job]))
        for kind in limits:
            limit = limits[kind][i]
            rows = {"random": random, "plain": picked,
                    "diluted": diluted(picked, proxy, limit, budget)}
            rows |= {who: choose(adds, start, v.label[j], proxy, limit, budget)
                     for who, choose in selections.items()}
            found += [dict(i=i, j=j, who=who, kind=kind) | past_the_gate(v, j, r, limit, tau)
                      for who, r in rows.items()]
        return found

    return sum(parallel(one, list(asked)), [])
