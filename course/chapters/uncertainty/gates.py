"""The provider's gates: scores of requests, thresholds from benign ones, what an attacker sees of
them.
"""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch.func import functional_call

from labkit import attack, defend
from labkit.training import parallel, predict

GATES = ("validation loss", "labels changed", "isolated gradients", "gradient length")
USELESS = 0.20  # a gate that catches no larger share is useless: the bound of claim unc-defences


def desk(v):
    """What a provider has ready before requests come in.

    Validation logits (n, k), isolated training rows, residuals, losses of the training rows.
    """
    logits = predict(v.model, v.data.x)
    losses = F.cross_entropy(logits, v.data.y, reduction="none").cpu().numpy()
    return (predict(v.model, v.validation[0]), defend.isolated(v.model, v.data.x, v.data.y),
            defend.residuals(v.model, v.data.x, v.data.y), losses)


def on_a_trial_copy(v, request, tau):
    """Validation logits after first-order unlearning of a request. -> (n, k)

    Those of `labkit.unlearn.first_order`, without a copy of the network and a look at the request
    each time: thousands of requests are scored.
    """
    lost = F.cross_entropy(v.model(v.data.x[request]), v.data.y[request], reduction="sum")
    named = dict(v.model.named_parameters())
    slopes = torch.autograd.grad(lost, list(named.values()))
    with torch.no_grad():
        after = {k: p + tau * g for (k, p), g in zip(named.items(), slopes, strict=True)}
        return torch.cat([functional_call(v.model, after, (part,))
                          for part in v.validation[0].split(512)]).float()


def scores(v, ready, request, tau):
    """The four scores of one request; the first two on a trial copy, by first-order unlearning."""
    before, alone, proxy, _ = ready
    after = on_a_trial_copy(v, request, tau)
    if torch.isfinite(after).all():
        on_trial = loss_gate(before, after, v.validation[1]), label_gate(before, after)
    else:
        on_trial = 1e9, 1.0  # a copy that breaks is as suspicious as can be
    return dict(zip(GATES, (*on_trial, isolation_gate(alone, request),
                            defend.gradient_gate(proxy, request)), strict=True))


def scored(victims, desks, planned, tau, benign):
    """Scores of all requests, a row each: stream ("attack" or a benign one), i, and of attacks j,
    aim, goal.

    benign: requests of each realistic stream; a fifth more, "…, held out", checks the threshold.
    """
    def of_attack(i):
        return [dict(i=i, j=j, stream="attack", aim=aim, goal=goal)
                | scores(victims[i], desks[i], rows, tau)
                for (k, j), own in planned.items() if k == i
                for (aim, goal, budget), rows in own.items()
                if budget == victims[i].held.budget and goal != "flip"]

    def of_stream(job):
        (i, stream), v = job, victims[job[0]]
        real, first = stream in defend.REALISTIC, v.seed % 10**6
        # a threshold at 1 % needs a hundred, here of the random stream alone
        parts = (("", benign if real else max(100, benign), first),
                 (", held out", benign // 5 if real else 0, first + 1))
        return [dict(i=i, stream=stream + tag) | scores(v, desks[i], request, tau)
                for tag, count, seed in parts
                for request in defend.benign(stream, v.data, v.held.budget, count, seed,
                                             desks[i][-1])]

    jobs = [(i, s) for i in range(len(victims)) for s in defend.STREAMS]
    return pd.DataFrame(sum(parallel(of_stream, jobs)
                            + parallel(of_attack, range(len(victims))), []))


def thresholds(gate, name, streams):
    """One gate's threshold for each victim, at 1 % refused of the benign requests of the streams.
    """
    benign = gate[gate.stream.isin(streams)]
    return {i: defend.threshold(part[name]) for i, part in benign.groupby("i")}


def caught(gate, streams):
    """The chosen requests, with 1.0 or 0.0 a gate: whether it refuses them."""
    out = gate[gate.stream == "attack"][["i", "j", "aim", "goal", *GATES]].copy()
    for name in GATES:
        out[name] = (out[name] > out.i.map(thresholds(gate, name, streams))).astype(float)
    return out


def refused(gate, name, streams):
    """Of the kinds of realistic requests the one that a gate with a threshold from `streams`
    refuses most: a row a request, with columns stream, i and refused (1.0 or 0.0).
    """
    real = gate[gate.stream.isin(defend.REALISTIC)]
    real = real.assign(refused=(real[name] > real.i.map(thresholds(gate, name, streams)))
                       .astype(float))
    worst = real.groupby("stream").refused.mean().idxmax()
    return real[real.stream == worst]


def kept_thresholds(gate, name):
    """For each victim, whether fresh benign requests keep the gate's threshold, within chance."""
    found = []
    for i, limit in thresholds(gate, name, defend.REALISTIC).items():
        own = gate[gate.i == i]
        unseen = own[own.stream.isin([f"{s}, held out" for s in defend.REALISTIC])][name]
        enough = own.stream.isin(defend.REALISTIC).sum() >= 1000
        allowed = 0.01 + 3 * np.sqrt(0.01 * 0.99 / len(unseen))
        found.append(bool(enough and (unseen > limit).mean() <= allowed))
    return found


# ---- what an attacker who knows the gate can compute of it


def as_seen(name, v, tau):
    """A gate's score of relaxed weights, from what the attacker holds: ω (m,) -> scalar.

    The public rows stand in for the provider's validation rows, the own rows for all training rows.
    At a whole request it is the gate's own formula; its slope is that of a smooth stand-in.
    """
    if name in ("isolated gradients", "gradient length"):
        held = v.held
        if name == "gradient length":
            proxy = defend.residuals(v.model, held.x, held.y)
            return lambda w: (w @ proxy / w.sum().clamp(min=1e-9)).norm()
        alone = defend.isolated(v.model, held.x, held.y).float()
        return lambda w: w @ alone / w.sum().clamp(min=1e-9)
    (x, y), step = v.public, attack.removal(v.model, v.held, tau=tau)
    before = predict(v.model, x)
    called = before.argmax(1, keepdim=True)

    def after(w):
        return functional_call(v.model, step(w), (x,))

    def changed(w):
        z = after(w)
        margin = (z.gather(1, called) - z.scatter(1, called, -torch.inf).amax(1, keepdim=True))
        smooth = (-4 * margin).sigmoid().mean()
        return (margin < 0).double().mean() + (smooth - smooth.detach())

    if name == "labels changed":
        return changed
    return lambda w: F.cross_entropy(after(w), y) - F.cross_entropy(before, y)


def loss_gate(before, after, labels) -> float:
    """Rise of the validation loss, nats. before, after: (n, k) logits; labels (n,)."""
    return (F.cross_entropy(after, labels) - F.cross_entropy(before, labels)).item()


def label_gate(before, after) -> float:
    """Share of validation rows whose predicted label changes. (n, k), (n, k) -> 0 to 1."""
    return (before.argmax(1) != after.argmax(1)).double().mean().item()


def isolation_gate(alone, request) -> float:
    """Share of the requested rows that are isolated. alone: from `isolated`."""
    return alone[request].double().mean().item()
