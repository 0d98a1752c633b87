"""An attacker who knows the running sum, and spreads its requests so that it stays low."""

import itertools

import numpy as np
import pandas as pd

from labkit import defend

from .watching import START, log_scores, running

MARGINS = (1.0, 0.75, 0.5, 0.25)  # of the limit: how near to it an attacker plans to go


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


def campaign(worth, scores, places, pool, settled, length, rng, count=100) -> dict:
    """What comes of requests sent at their places, in `count` new streams of others' requests.

    worth (t,): success of each request, if it is carried out; from the alarm on none of the
    attacker's is. -> alarmed, calm: shares of streams with an alarm in that time, with the attack
    and without; success: mean over all targets; each (t,): of
    each target; given_up: share not sent; took: requests until the
    last one of the attacker's.
    """
    drift, limit = settled
    took = 1 + max((START + p for p in places if p is not None), default=START)
    calm = running(rng.choice(pool, (count, length)), drift)[:, :took]
    sums = running(sent_in(pool, scores, places, length, count, rng), drift)[:, :took]
    alarm = np.where((sums > limit).any(1), (sums > limit).argmax(1), length)
    carried = [0 * alarm if p is None else alarm > START + p for p in places]
    each = np.asarray(worth) * np.mean(carried, 1)
    return dict(alarmed=(alarm < length).mean(), calm=(calm > limit).any(1).mean(),
                success=(np.asarray(worth) @ np.array(carried)).mean() / len(places), each=each,
                given_up=np.mean([p is None for p in places]), took=took)


def campaigns(worth, ways, monitors, pools, settled, length) -> list:
    """A row for each network, aim, way to send and benign stream: what `campaign` says of it.

    worth: {(who, aim): a frame with i, value (success) and shows of each request}; ways: {how:
    (who, plan)}, a plan other than `hasty` is rehearsed; of each network: monitors, pools {part:
    {stream: log scores}}, settled (drift, limit).
    """
    rows, aims = [], sorted({aim for _, aim in worth})
    for i, aim, (how, (who, plan)) in itertools.product(monitors, aims, ways.items()):
        mine = worth[who, aim][worth[who, aim].i == i]
        scores = log_scores(monitors[i], mine.shows.tolist()).tolist()
        for s, stream in enumerate(defend.REALISTIC):
            rng, (held, fresh) = np.random.default_rng([i, s]), (
                pools[i][part][stream] for part in ("hold", "fresh"))
            places = plan(scores) if plan is hasty else rehearsed(plan, scores, held, settled[i],
                                                                  length, rng)
            rows.append(dict(i=i, aim=aim, how=how, stream=stream) | campaign(
                mine.value, scores, places, fresh, settled[i], length, rng))
    return rows


def by_target(part) -> pd.DataFrame:
    """Success before the alarm, target by target, mean over streams: a frame with i, j, value.

    part: rows of `campaigns` of one aim and one way to send.
    """
    rows = [(i, j, x) for i, each in zip(part.i, part["each"], strict=True)
            for j, x in enumerate(each)]
    return pd.DataFrame(rows, columns=["i", "j", "value"]).groupby(
        ["i", "j"], as_index=False).mean()
