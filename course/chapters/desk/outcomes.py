"""What becomes of requests: the filter by rows, unlearning, retraining, and what still flips."""

import math

import numpy as np
import pandas as pd
import torch

from labkit import attack, defend
from labkit.training import parallel
from labkit.unlearn import first_order

from .asking import losses, people
from .contents import split_request


def without(victim, requests, train) -> list:
    """Networks retrained without the rows of each request, in order; equal requests once."""
    keys = [tuple(sorted(r.tolist())) for r in requests]
    first = dict(zip(keys, requests, strict=True))
    nets = train(victim.data, [victim.seed] * len(first), list(first.values()))
    models = dict(zip(first, nets, strict=True))
    return [models[key] for key in keys]


def flips(victim, j, model) -> float:
    """1 where target j has another label than before any request, else 0."""
    return 1.0 - attack.answer(victim, j, model)["kept"]


def unlearned(victim, request, tau):
    """The network after first-order unlearning of a request, which may be empty."""
    return first_order(victim.model, victim.data, request, tau=tau) if len(request) \
        else victim.model


def alone_in_class(proxy, y, share, medoids) -> torch.Tensor:
    """Rows that nobody joins: each class's own ⌈share · n_c⌉ medoids, by the given function.

    proxy (n, k): residuals; medoids: (similarity (c, c), number) -> columns in the order picked,
    of which those count that still add something. As `defend.isolated`. -> (n,) bool
    """
    alone = torch.zeros(len(y), dtype=torch.bool, device=y.device)
    for c in y.unique():
        rows = (y == c).nonzero().squeeze(1)
        similarity, picked, joined = joined_to(proxy[rows], share, medoids)
        alone[rows] = torch.bincount(joined)[joined] <= 1
    return alone


def joined_to(proxy, share, medoids) -> tuple:
    """Similarities of one class, its medoids, and for each row the place of its own among them.

    proxy (c, k) -> (c, c), list, (c,)
    """
    distance = torch.cdist(proxy, proxy, compute_mode="donot_use_mm_for_euclid_dist")
    similarity, best, picked = distance.max() - distance, torch.zeros(len(proxy)).to(proxy), []
    for column in medoids(similarity.clone(), math.ceil(share * len(proxy))):
        gain = (similarity[:, column] - best).clamp(min=0).sum()
        if picked and gain <= 1e-6 * len(proxy) * distance.max():
            break  # every row has a twin: another medoid would look isolated for nothing
        picked.append(int(column))
        best = torch.maximum(best, similarity[:, column])
    joined = similarity[:, picked].argmax(1)
    joined[picked] = torch.arange(len(picked), device=proxy.device)
    return similarity, picked, joined


def isolated_shares(victims, shares, budget) -> dict:
    """Isolated rows among those that people ask for: (share of medoids, stream) -> mean share."""
    def of_one(v):
        out = {}
        hard = losses(v)
        for share in shares:
            alone = defend.isolated(v.model, v.data.x, v.data.y, share)
            for stream in defend.REALISTIC:
                asked = torch.cat(defend.benign(stream, v.data, budget, 40, v.seed % 10**6, hard))
                out[share, stream] = alone[asked].double().mean().item()
        return out

    found = parallel(of_one, victims)
    return {key: np.mean([one[key] for one in found]) for key in found[0]}


def waiting(victim, alone, count, part="filter") -> dict:
    """Share of the rows of new benign requests that wait, for each stream."""
    return {s: alone[torch.cat(people(victim, s, count, part))].double().mean().item()
            for s in defend.REALISTIC}


def queue(victim, alone, count=60, stream="hard-rows") -> list:
    """Benign requests one after the other, in which a row leaves once.

    -> [(request, those of its rows that wait), …]
    """
    asked, gone = [], torch.zeros(len(alone), dtype=torch.bool, device=alone.device)
    for request in people(victim, stream, count, "waiting"):
        request = request[~gone[request]]
        gone[request] = True
        asked += [(request, split_request(alone, request)[1])] if len(request) else []
    return asked


def filtered(victim, i, aim, asked, alone, rules) -> list:
    """A row for each target, person and desk (with the filter or not): what is left, does it flip?

    asked: for each target {who: request}; alone (n,): rows that wait. held: share of the request
    that waits; flip: before what waits is removed; exact: after exact retraining without what is
    unlearnt at once (aim retraining), or without the whole request (plain, no filter).
    """
    rows = []
    for j, of_target in enumerate(asked):
        for who, request in of_target.items():
            now, later = split_request(alone, attack.check_request(request, victim.held))
            rows += [dict(i=i, j=j, who=who, aim=aim, request=request, filter=False, held=0.0),
                     dict(i=i, j=j, who=who, aim=aim, request=now, filter=True,
                          held=len(later) / len(request))]
    exact = [r for r in rows
             if aim == "retraining" or (r["who"] == "plain" and not r["filter"])]
    nets = without(victim, [r["request"] for r in exact], rules.train)
    for r, model in zip(exact, nets, strict=True):
        r["exact"] = flips(victim, r["j"], model)
    for r in rows:
        r["flip"] = r["exact"] if aim == "retraining" else \
            flips(victim, r["j"], unlearned(victim, r["request"], rules.tau))
    return rows


def success(table, control, **where) -> pd.DataFrame:
    """Flips of the rows that fit, less flips by a random request of the same target.

    table, control: rows with i, j, aim, flip; control holds the random requests' rows, one a
    target and aim. -> a frame with i, j, value, in order
    """
    part = table[np.logical_and.reduce([table[key] == value for key, value in where.items()])]
    both = part.merge(control[["i", "j", "aim", "flip"]], on=["i", "j", "aim"],
                      suffixes=("", "_random")).sort_values(["i", "j"], kind="stable")
    return both.assign(value=both.flip - both.flip_random).reset_index(drop=True)


def less(a, b) -> pd.DataFrame:
    """The difference of two frames of `success`, target by target."""
    both = a.merge(b[["i", "j", "value"]], on=["i", "j"], suffixes=("", "_b"))
    return both.assign(value=both.value - both.value_b)
