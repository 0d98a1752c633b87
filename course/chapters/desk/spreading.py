"""An attacker who knows the running sum, and spreads its requests so that it stays low."""

import itertools

import numpy as np
import torch

from labkit import defend
from labkit.unlearn import first_order

from .contents import features
from .outcomes import flips, without
from .watching import START, log_scores, running

MARGINS = (1.0, 0.75, 0.5, 0.25)  # of the limit: how near to it an attacker plans to go


def thirds(request) -> list:
    """A request cut into three of about the same size, strong rows in each. (b,) -> up to three"""
    return [request[p::3] for p in range(min(3, len(request)))]


def parts_of(victim, i, j, aim, request, desk, monitor, rules) -> dict:
    """Scores of a request's thirds, and whether target j flips once 0, 1, … of them are done.

    Under first-order unlearning one follows the other; under retraining it is the rows in all.
    """
    parts, model, flipped = thirds(request), victim.model, [0.0]
    if aim == "retraining":
        sent = [torch.cat(parts[:p]) for p in range(1, len(parts) + 1)]
        flipped += [flips(victim, j, net) for net in without(victim, sent, rules.train)]
    else:
        for part in parts:
            model = first_order(model, victim.data, part, tau=rules.tau)
            flipped.append(flips(victim, j, model))
    shown = log_scores(monitor, [features(desk, part) for part in parts])
    return dict(i=i, j=j, aim=aim, scores=shown.tolist(), flipped=flipped)


def hasty(scores, *_):
    """Places of requests that go out as soon as they can: each second one. (m,) -> list"""
    return list(range(0, 2 * len(scores), 2))


def sent_in(pool, scores, places, length, count, rng) -> np.ndarray:
    """Streams of benign scores with the attacker's at its places after START. -> (count, length)"""
    lines = rng.choice(pool, (count, length))
    for place, value in zip(places, scores, strict=True):
        if place is not None:
            lines[:, START + place] = value
    return lines


def rehearsed(plan, scores, pool, settled, length, rng, count=100, most=0.05) -> list:
    """The places of a plan that goes up to the largest of MARGINS with few alarms in rehearsal.

    plan: (scores, usual, drift, limit, places in all) -> a place or None for each score; pool:
    benign scores to rehearse with, which an attacker can draw; few: in at most a share `most` of
    the sequences, or else as few as a plan gets that sends anything.
    """
    (drift, limit), tried = settled, []
    for margin in MARGINS:
        places = plan(scores, float(pool.mean()), drift, margin * limit, length - START)
        lines = sent_in(pool, scores, places, length, count, rng)
        alarmed = (running(lines, drift).max(1) > limit).mean()
        if any(p is not None for p in places) or not tried:
            tried.append((alarmed, places))
        if alarmed <= most:
            break
    return min(tried, key=lambda one: one[0])[1]


def campaign(groups, places, pool, settled, length, rng, count=100) -> dict:
    """What comes of requests sent at their places, in `count` new streams of others' requests.

    groups: one a target, with scores and flipped; places: one for each score, in that order. Of a
    target with a part that is not sent, the parts before it count. From the alarm on nothing of the
    attacker's is carried out. -> shares alarmed, flipped (of targets), and
    quiet: alarms in the same time where nobody attacks; took: requests until the last one.
    """
    drift, limit = settled
    scores = [s for g in groups for s in g["scores"]]
    took = 1 + max((START + p for p in places if p is not None), default=START)
    calm = running(rng.choice(pool, (count, length)), drift)[:, :took]
    sums = running(sent_in(pool, scores, places, length, count, rng), drift)[:, :took]
    alarm = np.where((sums > limit).any(1), (sums > limit).argmax(1), length)
    out, at = np.zeros(count), 0
    for g in groups:
        mine = itertools.takewhile(lambda p: p is not None, places[at:at + len(g["scores"])])
        carried = sum(((alarm > START + p).astype(int) for p in mine), np.zeros(count, int))
        out += np.asarray(g["flipped"])[carried]
        at += len(g["scores"])
    return dict(alarmed=(alarm < length).mean(), quiet=(calm > limit).any(1).mean(),
                flipped=(out / len(groups)).mean(), took=took)


def campaigns(i, aim, kinds, held, fresh, settled, plans, length) -> list:
    """A row for each kind of plan and benign stream: what `campaign` says of it.

    kinds: {name: groups}; plans: {name: (plan, whether it is rehearsed)}; held, fresh: {stream:
    log scores}, to rehearse with and to judge on.
    """
    rows = []
    for s, stream in enumerate(defend.REALISTIC):
        for name, groups in kinds.items():
            rng = np.random.default_rng([i, s])
            scores, (plan, knows) = [x for g in groups for x in g["scores"]], plans[name]
            places = rehearsed(plan, scores, held[stream], settled, length, rng) if knows \
                else plan(scores)
            rows.append(dict(i=i, aim=aim, how=name, stream=stream,
                             given_up=np.mean([p is None for p in places]))
                        | campaign(groups, places, fresh[stream], settled, length, rng))
    return rows
