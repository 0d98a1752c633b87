"""Means over networks in words: percent and points with their interval, and what it decides."""

import numpy as np
import pandas as pd

from labkit.measure import interval, show_interval

from .asking import AIMS
from .outcomes import less

PERCENT, POINTS = (0, 100), (-100, 100)  # what a quantity can be at all


def percent(values, clusters, limits=PERCENT, digits=0) -> str:
    """Mean and interval in percent (of shares) or points, over networks: '12 [3, 20]'."""
    return show_interval(100 * np.asarray(values, float), clusters=list(clusters), limits=limits,
                         digits=digits)


def ends(values, clusters, limits=PERCENT) -> tuple:
    """(mean, low, high) in percent, over networks."""
    return interval(100 * np.asarray(values, float), list(clusters), limits)


def effect(frame, limits=POINTS) -> str:
    """'12 [3, 20] points, shown' of a frame with i and value; shown: the interval lies above 0."""
    _, low, high = ends(frame.value, frame.i, limits)
    word = "shown" if low > 0 else "the opposite is shown" if high < 0 else "undecided"
    return f"{percent(frame.value, frame.i, limits)} points, {word}"


def monitor_parts(requests, alarms) -> dict:
    """Values and clusters of the claim def-monitor, as `lab.claim` takes them.

    requests, alarms: {(who, aim): a frame}, the first with i and flagged, a row a request, the
    second with i and wait, a row a network and stream.
    """
    parts = {aim: requests["plain", aim].flagged for aim in AIMS} | {
        f"early, {aim}": alarms["plain", aim].wait for aim in AIMS}
    for name, frames, column in (("adaptive", requests, "flagged"),
                                 ("adaptive-delay", alarms, "wait")):
        parts[name] = sum(np.asarray(frames["adaptive", aim][column]) for aim in AIMS) / 2
    late = [name for name in parts if name.startswith("early") or name.endswith("delay")]
    i = {name: (alarms if name in late else requests)["plain", "retraining"].i for name in parts}
    return dict(values={name: list(x) for name, x in parts.items()},
                clusters={name: x.tolist() for name, x in i.items()})


def alarms_told(alarms, most) -> pd.DataFrame:
    """A row an attacker: requests until the alarm, sequences with one, mean and interval.

    alarms: {(who, aim): rows of `streamed`}; most: requests where no alarm comes.
    """
    return pd.DataFrame([{
        "attacker": who, "aimed at": aim,
        "requests until the alarm": show_interval(rows.wait, clusters=rows.i.tolist(),
                                                  limits=(0, most)),
        "sequences with an alarm, %": percent(rows.alarmed, rows.i)}
        for (who, aim), rows in alarms.items()])


def noisiest(shares, digits=1) -> str:
    """Mean and interval in percent, '2.0 [0.0, 5.0]', of the group with the largest mean.

    shares: {name: (values, clusters)}, each in shares.
    """
    return percent(*max(shares.values(), key=lambda pair: np.mean(pair[0])), digits=digits)


def flagged_less(a, b) -> pd.DataFrame:
    """Share flagged of the requests in a, less that in b, target by target: for `effect`."""
    return less(*(frame.assign(value=frame.flagged) for frame in (a, b)))


def spared(ways) -> str:
    """Streams with an alarm that planning spares, at once less planned, with what it decides.

    ways: {(aim, how): rows of `campaigns`}, in the same order of networks and streams.
    """
    told = []
    for who in ("quiet", "plain"):
        for aim in AIMS:
            now, then = (ways[aim, f"{who}, {how}"] for how in ("at once", "planned"))
            gap = now.alarmed - then.alarmed.to_numpy()
            told.append(f"{effect(now.assign(value=gap))} ({who}, {aim})")
    return "; ".join(told)


def campaigns_told(ways, each) -> pd.DataFrame:
    """A row a campaign: streams with an alarm, success before it, requests that are never sent.

    ways: {(aim, how): rows of `campaigns`}; each: {(aim, how): `by_target` of them}. Sent at once
    is sent all, by construction.
    """
    return pd.DataFrame([{
        "aimed at": aim, "requests": how,
        "streams with an alarm, %": percent(rows.alarmed, rows.i),
        "success, points": percent(each[aim, how].value, each[aim, how].i, POINTS),
        "never sent, %": "0 (by construction)" if how.endswith("at once") else
        percent(rows.given_up, rows.i)} for (aim, how), rows in ways.items()])


def gates_told(crowd, attacks, takes) -> pd.DataFrame:
    """A row a gate: the hardest kind stopped, and what it flags and takes of each attacker.

    crowd, attacks: rows from `met`; takes: {(gate, "plain" or "knows"): a frame with i, value}.
    """
    people = {"plain": ("plain", "the plain attacker"), "knows": ("knowing", "one who knows it")}
    flagged = {key: (g.flagged, g.i) for key, g in attacks.groupby(["gate", "who"])}
    return pd.DataFrame([{
        "gate": name,
        "hardest kind stopped, %": 100 * crowd[crowd.gate == name].groupby("stream").stopped.mean()
        .max()} | {f"flagged, {short}, %": percent(*flagged[name, who])
                   for who, (short, _) in people.items()}
        | {f"takes from {whose}, points": percent(takes[name, who].value, takes[name, who].i,
                                                  POINTS) for who, (_, whose) in people.items()}
        for name in dict.fromkeys(gate for gate, _ in takes)])
