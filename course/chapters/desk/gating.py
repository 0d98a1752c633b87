"""Any gate that scores tables of features: its limit, its errors, and the attacker who knows it."""

import numpy as np
import torch

from labkit import attack, defend

from .asking import expected_margin
from .contents import features
from .monitor import conformal_limit


def table(rows) -> torch.Tensor:
    """[features, …] as a table, columns by name. -> (m, f) float64"""
    return torch.tensor([[row[name] for name in sorted(row)] for row in rows], dtype=torch.float64)


def judged_by(score, benign, groups) -> dict:
    """Scores of groups of requests under a gate. score: (benign, requests) -> (r,), see `suspicion`

    benign: {stream: [features, …]} to learn from; groups: {name: [features, …]}. All are scored in
    one call, so that each request meets the same gate. -> {name: (m,) array}
    """
    learnt = torch.stack([table(rows) for rows in benign.values()])
    found = np.asarray(score(learnt, table([r for rows in groups.values() for r in rows])),
                       dtype=float)
    cuts = np.cumsum([len(rows) for rows in groups.values()])[:-1]
    return dict(zip(groups, np.split(found, cuts), strict=True))


def variants(victim, j, request, more, seed) -> list:
    """What an attacker who knows a gate tries: its strong rows, fewer of them, and mixed.

    The first quarter, half, three quarters and all of the request's rows, bare and filled up to the
    budget with own rows, drawn at random or as a person with few interests; and `more` requests.
    """
    held, rng = victim.held, np.random.default_rng(seed)
    counts = np.bincount(held.y.cpu().numpy(), minlength=1) > 0
    share = rng.dirichlet(np.full(len(counts), 0.3)) * counts
    liking = torch.from_numpy(share)[held.y.cpu()].to(held.rows.device).numpy(force=True)
    found = list(more)
    for part in (0.25, 0.5, 0.75, 1.0):
        strong = request[: max(1, round(part * len(request)))]
        found.append(strong)
        free = np.flatnonzero(~torch.isin(held.rows, strong).cpu().numpy())
        room = min(held.budget - len(strong), len(free))
        for weight in (np.ones(len(free)), liking[free] + 1e-9):
            if room > 0:
                fill = rng.choice(free, room, replace=False, p=weight / weight.sum())
                found.append(torch.cat([strong, held.rows[torch.from_numpy(fill).to(
                    held.rows.device)]]))
    return [attack.check_request(r, held) for r in found]


def candidates(victim, j, plain, disguised, desk, rules) -> list:
    """Requests that should still flip target j under first-order unlearning: [(rows, shows), …].

    The plain one stands first, whether it should or not.
    """
    tried = variants(victim, j, plain, [disguised], victim.seed % 10**6 + j)
    works = [r for r in tried
             if expected_margin(victim, j, "first-order", r, rules, None) < 0]
    return [(r, features(desk, r)) for r in [plain, *works]]


def limit_of(scores, false_positives=0.01) -> float:
    """The limit of a gate: the largest that a stream's held-back requests ask for.

    scores: {stream: (m,)}; see `conformal_limit`.
    """
    return max(conformal_limit(scores[s], false_positives) for s in defend.REALISTIC)
