"""Requests over time: the attacker sees the model change, other people's requests come in between."""

import torch

from ..base import LabError
from .requests import choose


def campaign(model, holdings, plan, unlearn, benign):
    """Rounds of requests. In each the attacker's request is unlearned, then a benign one. -> (model, all asked rows).

    plan: (model, holdings, round, rounds) -> row ids or None, made by `at_once`, `spread` or `replan`; unlearn: (model,
    rows) -> model; benign: list of row tensors, one a round; the requester's own rows are taken out of them.
    Source: the setting of Zhao et al. 2023, reconstructed (its formulas could not be read).
    """
    asked, held, gone = [], holdings, torch.empty(0, dtype=torch.long, device=holdings.rows.device)
    for i, others in enumerate(benign):
        request = None if held is None else plan(model, held, i, len(benign))
        if request is not None and len(request):
            held = held.without(request)
            model = unlearn(model, request)
            asked.append(request)
        others = others[~torch.isin(others, torch.cat([holdings.rows, gone]))]
        gone = torch.cat([gone, others])
        if len(others):
            model = unlearn(model, others)
    return model, torch.cat(asked) if asked else gone[:0]


def at_once(request):
    """The whole request in the first round."""
    return lambda model, held, i, rounds: request if i == 0 else None


def spread(request):
    """The same request in equal parts, one a round, fixed beforehand: requests over time that do not adapt."""
    return lambda model, held, i, rounds: request.tensor_split(rounds)[i]


def replan(objective, horizon, steps=8):
    """Look at the present model in each round, plan, send this round's share of the budget.

    objective: (model, holdings) -> (ω -> scalar), e.g. through fresh effects. horizon: 'greedy' plans this round's
    share only; 'receding' plans all that is left of the budget and sends the strongest rows of the plan. steps: of
    `choose`, for each plan.
    """
    if horizon not in ("greedy", "receding"):
        raise LabError(f"There is no horizon {horizon!r}: choose 'greedy' or 'receding'.")

    def plan(model, held, i, rounds):
        share = max(1, -(-held.budget // (rounds - i)))
        now = held if horizon == "receding" else held.with_budget(share)
        weights = choose(objective(model, now), now, steps=steps).weights
        best = weights.topk(min(share, len(held)))
        return held.rows[best.indices[best.values > 0.05]]  # rows of weight 0 would only do harm to the plan

    return plan
