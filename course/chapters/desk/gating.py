"""Any gate that scores tables of features: its limit, its errors, and the attacker who knows it."""

import numpy as np
import torch

from labkit import attack, defend

from .asking import expected_margin, people
from .contents import features
from .monitor import conformal_limit, mean_and_precision, score
from .outcomes import flips, unlearned


def residual_lengths(victim, groups) -> dict:
    """The gate of one number: {name: [request, …]} -> {name: (m,) lengths of mean residuals}."""
    proxy = defend.residuals(victim.model, victim.data.x, victim.data.y)
    return {name: torch.tensor([defend.gradient_gate(proxy, r) for r in asked])
            for name, asked in groups.items()}


def two_limits(victims, requests, threshold, count) -> dict:
    """The gate of one number with a limit from random rows, and one fair to every stream.

    requests: {network: attacks}; threshold: (scores, share) -> limit. -> {"random" or "people":
    (2, networks): share of attacks caught, share of people stopped}
    """
    rows = {"random": [], "people": []}
    for i, asked in requests.items():
        seen = residual_lengths(victims[i], {"attack": asked} | {
            s: people(victims[i], s, count, "gate hold") for s in defend.STREAMS})
        limit = {s: threshold(seen[s], 0.01) for s in defend.STREAMS}
        for name, at in (("random", limit["random"]), ("people", max(limit.values()))):
            above = {s: (x > at).double().mean().item() for s, x in seen.items()}
            rows[name].append((above["attack"], np.mean([above[s] for s in defend.REALISTIC])))
    return {name: np.transpose(found) for name, found in rows.items()}


def table(rows) -> torch.Tensor:
    """[features, …] as a table, columns by name. -> (m, f) float64"""
    return torch.tensor([[row[name] for name in sorted(row)] for row in rows], dtype=torch.float64)


def judged_by(gate, benign, groups) -> dict:
    """Scores of groups of requests under a gate. gate: (benign, requests) -> (r,), see `suspicion`

    benign: {stream: [features, …]} to learn from; groups: {name: [features, …]}. All are scored in
    one call, so that each request meets the same gate. -> {name: (m,) array}
    """
    learnt = torch.stack([table(rows) for rows in benign.values()])
    found = np.asarray(gate(learnt, table([r for rows in groups.values() for r in rows])),
                       dtype=float)
    cuts = np.cumsum([len(rows) for rows in groups.values()])[:-1]
    return dict(zip(groups, np.split(found, cuts), strict=True))


def variants(victim, request, more, seed) -> list:
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


def candidates(victim, j, aim, plain, disguised, desk, rules, known) -> list:
    """Requests that should still flip target j under the unlearner `aim`: [(rows, shows), …].

    The plain one stands first, whether it should or not. known: as in `choose_request`.
    """
    tried = variants(victim, plain, [disguised], victim.seed % 10**6 + j)
    works = [r for r in tried if expected_margin(victim, j, aim, r, rules, known) < 0]
    return [(r, features(desk, r)) for r in [plain, *works]]


def quietest(tried, monitor) -> list:
    """Of each target's candidates the request with the lowest score. -> [(b,), …]"""
    return [each[int(score(monitor, [shows for _, shows in each]).argmin())][0] for each in tried]


def nearest(benign, requests) -> torch.Tensor:
    """The monitor's score: distance to the nearest stream, as `fit_monitor` measures it.

    benign (s, m, f), requests (r, f) -> (r,)
    """
    squares = []
    for seen in benign.numpy():
        mean, precision = mean_and_precision(seen)
        apart = requests.numpy() - mean
        squares.append(((apart @ precision) * apart).sum(1))
    return torch.from_numpy(np.min(squares, 0).clip(0)).sqrt()


def met(victim, i, tried, benign, gates, rules) -> tuple:
    """Each gate at one desk, its limit at 1 % of each benign stream's held-back requests.

    tried: for each target what `candidates` gives; benign: {part: {stream: [features, …]}}, the
    parts learn, hold, fresh; gates: {name: score}. The plain attacker sends the first of tried, the
    one who knows the gate that with the lowest score. -> rows of attacks (i, gate, who, j, flagged,
    flip), rows of people (i, gate, stream, stopped)
    """
    groups = {(part, s): rows for part in ("hold", "fresh") for s, rows in benign[part].items()}
    groups |= {j: [shows for _, shows in each] for j, each in enumerate(tried)}
    attacks, crowd = [], []
    for name, gate in gates.items():
        found = judged_by(gate, benign["learn"], groups)
        limit = max(conformal_limit(found["hold", s]) for s in benign["hold"])
        crowd += [dict(i=i, gate=name, stream=s, stopped=(found["fresh", s] > limit).mean())
                  for s in benign["fresh"]]
        for j, each in enumerate(tried):
            for who, at in (("plain", 0), ("knows", int(found[j].argmin()))):
                after = unlearned(victim, each[at][0], rules.tau)
                attacks.append(dict(i=i, j=j, gate=name, who=who, aim="first-order",
                                    flagged=float(found[j][at] > limit),
                                    flip=flips(victim, j, after)))
    return attacks, crowd
