"""The monitor at work: what it sees of requests, sequences of them, and an attacker's disguise."""

from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F

from labkit import defend
from labkit.measure import entropy
from labkit.training import predict
from labkit.unlearn import first_order

from .adaptive import monitored, side_effect, unlike
from .asking import people
from .contents import features, prepare
from .monitor import detection, fit_cusum, score
from .outcomes import flips, without

LENGTH, START = 30, 10  # requests in a sequence; from this one on each second one is malicious


def ready(victim, rules, share):
    """The provider's desk for one network: `prepare` with its validation rows for the trial."""
    return prepare(victim.model, victim.data, victim.validation, tau=rules.tau, share=share)


def benign_features(victim, desk, part, count, streams=defend.REALISTIC) -> dict:
    """Features of benign requests of one part: {stream: [features, …]}."""
    return {s: [features(desk, r) for r in people(victim, s, count, part)] for s in streams}


def disguise(victim, share, step):
    """What the attacker knows of the monitor: a penalty on weights unlike benign requests.

    The attacker draws those among its own rows. Added is 30 times what a trial on 100 public rows
    shows. step: ω -> params after first-order unlearning. -> ω -> penalty
    """
    held, proxy = victim.held, defend.residuals(victim.model, victim.held.x, victim.held.y)
    alone = defend.isolated(victim.model, held.x, held.y, share)
    z, k = predict(victim.model, held.x), proxy.shape[1]
    values = torch.stack([alone.float(), F.cross_entropy(z, held.y, reduction="none"),
                          entropy(z.softmax(1))], 1)
    prior = torch.bincount(held.y, minlength=k) / len(held.y)
    seen = monitored(proxy, held.y, prior, values)
    looks = unlike(seen, _own_streams(victim, seen, values[:, 1]), slack=2.0)
    shows = side_effect(victim.model, victim.public[0][:100], step)
    return lambda weights: looks(weights) + 30 * shows(weights)


def _own_streams(victim, seen, hard):
    """Mean and precision of what benign requests among the attacker's own rows show."""
    from .monitor import mean_and_precision

    held, streams = victim.held, []
    own = SimpleNamespace(x=held.x, y=held.y, device=held.x.device)
    for stream in defend.REALISTIC:
        asked = defend.benign(stream, own, held.budget, 40, victim.seed % 10**6, hard.cpu().numpy())
        drawn = [torch.zeros(len(held), device=held.x.device).index_fill(0, r, 1.0) for r in asked]
        table = torch.stack([seen(w) for w in drawn]).cpu().double().numpy()
        streams.append(mean_and_precision(table))
    return streams


def seen_by_monitor(victim, i, aim, asked, desk, rules) -> list:
    """A row for each request (b,), one a target: what it shows, whether the target flips.

    flip: under the unlearner aimed at; exact: under exact retraining without the whole request.
    """
    rows = []
    for j, (request, net) in enumerate(zip(asked, without(victim, asked, rules.train),
                                           strict=True)):
        exact = flips(victim, j, net)
        after = net if aim == "retraining" else first_order(victim.model, victim.data, request,
                                                            tau=rules.tau)
        rows.append(dict(i=i, j=j, aim=aim, request=request, flip=flips(victim, j, after),
                         exact=exact, shows=features(desk, request)))
    return rows


def log_scores(monitor, rows) -> np.ndarray:
    """Logarithms of the monitor's scores, which CUSUM adds up. [features, …] -> (m,)"""
    return np.log(score(monitor, rows))


def streamed(i, held, fresh, malicious, cusum, count=100) -> tuple:
    """Alarms in sequences of requests, each second one malicious from START on.

    held, fresh: {stream: (m,) log scores}, to set drift and limit on, and new ones; malicious:
    {(who, aim): (t,) log scores}; cusum: (scores, drift, limit) -> number of the request with the
    alarm, from 1, or None. -> (drift, limit), rows with i, stream, who, aim, alarmed (share of the
    sequences) and wait: requests from the first malicious one to the alarm, all that are left where
    none comes.
    """
    rng, rows = np.random.default_rng(i), []
    settled = fit_cusum({s: rng.choice(held[s], (count, LENGTH)) for s in defend.REALISTIC})
    for stream in defend.REALISTIC:
        quiet = rng.choice(fresh[stream], (count, LENGTH))
        for (who, aim), bad in [(("nobody", ""), None), *malicious.items()]:
            loud, start = quiet.copy(), START if aim else 0
            if aim:
                loud[:, start::2] = rng.choice(bad, loud[:, start::2].shape)
            alarms = [cusum(torch.from_numpy(row), *settled) for row in loud]
            found = detection([a if a is None else a - 1 for a in alarms], start)
            wait = (found["TPR"] * np.nan_to_num(found["delay"])
                    + (1 - found["TPR"]) * (LENGTH - start))
            rows.append(dict(i=i, stream=stream, who=who, aim=aim, alarmed=found["TPR"],
                             wait=wait))
    return settled, rows


def beyond_threshold(alarms, requests, draws):
    """What the sum adds to the threshold: alarms, with once and value. -> such a frame

    alarms: rows of `streamed` of one attacker, with i and alarmed; requests: with i and flagged;
    draws: how many of them a sequence has. once: the share of sequences in which the threshold
    alone flags one at least, 1 − (1 − p)^draws with p the share flagged of that network's requests;
    value: alarmed − once.
    """
    flagged = requests.groupby("i").flagged.mean()
    once = 1 - (1 - alarms.i.map(flagged)) ** draws
    return alarms.assign(once=once, value=alarms.alarmed - once)


def above_drift(bad, key, pools, settled) -> np.ndarray:
    """Share of requests that raise the sum: an attacker's, and new benign ones. -> (2, networks)

    Of each network: bad {key: (m,) log scores}; pools {"fresh": {stream: log scores}}; settled
    (drift, limit).
    """
    rows = [[(scores > drift).mean() for scores in (
        bad[i][key], np.concatenate([*pools[i]["fresh"].values()]))]
        for i, (drift, _) in settled.items()]
    return np.transpose(rows)


def tapes(fresh, malicious, settled, seed=1) -> dict:
    """The running sum over one recorded stream of LENGTH requests: {(stream, who): (LENGTH,)}.

    fresh: {stream: log scores}; malicious: {who: log scores}, with "nobody" for a calm one.
    """
    rng, (drift, _), found = np.random.default_rng(seed), settled, {}
    for stream, pool in fresh.items():
        for who in ("nobody", *malicious):
            line = rng.choice(pool, LENGTH)
            if who != "nobody":
                line[START::2] = rng.choice(malicious[who], len(line[START::2]))
            found[stream, who] = running(line[None], drift)[0]
    return found


def running(scores, drift) -> np.ndarray:
    """S_t = max(0, S_{t−1} + s_t − d) along each sequence. (B, T) -> (B, T)"""
    total, out = np.zeros(len(scores)), np.empty(scores.shape)
    for t, column in enumerate(scores.T):
        total = out[:, t] = np.maximum(0, total + column - drift)
    return out
