"""A monitor over requests in time: a score against benign requests, an alarm when scores add up."""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from labkit.base import LabError
from labkit.defend.gates import sorted_scores
from labkit.rules import checked


@dataclass(frozen=True, eq=False)
class Monitor:
    """A detector fitted on benign requests. Made by `fit_monitor`.

    centre, scale (f,): median and MAD of each feature; streams: [(mean (f,), precision (f, f)), …],
    or None; forest: an IsolationForest, or None; limits: {stream: score that it alone would ask
    for}; threshold: the largest of these.
    """

    names: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    streams: list | None = None
    forest: object = None
    limits: dict = field(default_factory=dict)
    threshold: float = float("inf")


@checked
def fit_monitor(benign, held_back, *, false_positives=0.01, method="nearest", seed=0) -> Monitor:
    """A monitor from benign requests, {stream: [features, …]}: to learn from, and held back.

    method: 'nearest' (Mahalanobis distance to the nearest benign stream), 'robust' (largest
    distance of a feature from its median over all streams, in units of 1.4826 · MAD) or 'forest'
    (scikit-learn's IsolationForest, seed). The threshold is the largest that any held-back stream
    asks for, so that at most a share `false_positives` of new requests of **each** stream is
    stopped, the hardest one included. Give requests of all the sizes that people send: features of
    few rows scatter more, and limits set on large requests stop small ones far too often.
    """
    if not benign or not held_back or not all(map(len, (*benign.values(), *held_back.values()))):
        raise LabError("A monitor was asked of an empty stream: give benign requests of each "
                       "stream, to learn from and held back.")
    names = tuple(next(iter(benign.values()))[0])
    tables = [_matrix(rows, names) for rows in benign.values()]
    learnt, streams, forest = np.concatenate(tables), None, None
    centre, spread = np.median(learnt, 0), learnt.std(0)
    mad = 1.4826 * np.median(np.abs(learnt - centre), 0)
    scale = np.where(mad > 0, mad, np.where(spread > 0, spread, 1.0))  # MAD 0: most are alike
    if method == "nearest":
        streams = [mean_and_precision(table) for table in tables]
    elif method == "forest":
        from sklearn.ensemble import IsolationForest

        forest = IsolationForest(random_state=seed).fit(learnt)
    elif method != "robust":
        raise LabError(f"There is no method {method!r}: choose 'nearest', 'robust' or 'forest'.")
    bare = Monitor(names, centre, scale, streams, forest)
    limits = {stream: conformal_limit(score(bare, rows), false_positives)
              for stream, rows in held_back.items()}
    return replace(bare, limits=limits, threshold=max(limits.values()))


def mean_and_precision(table) -> tuple[np.ndarray, np.ndarray]:
    """Mean and shrunk inverse covariance (Ledoit and Wolf 2004). (m, f) -> (f,), (f, f).

    Each is scaled to spread 1 before. Without shrinking, features that hardly vary or move together
    would blow the inverse up. The covariance S becomes (1 − s) S + s μ I, μ its mean eigenvalue and
    s the share that leaves the least expected error. scikit-learn has the same, and takes seconds
    to import.
    """
    spread = np.where(table.std(0) > 0, table.std(0), 1.0)
    x = (table - table.mean(0)) / spread
    m, f = x.shape
    covariance = x.T @ x / m
    mu = np.trace(covariance) / f
    apart = np.square(covariance).sum() - f * mu**2  # squared distance of S from μ I
    lengths = np.square(x).sum(1)
    error = (lengths @ lengths / m - np.square(covariance).sum()) / m  # of S, as estimated
    share = min(error, apart) / apart if apart > 0 and f > 1 else 0.0
    shrunk = (1 - share) * covariance + share * mu * np.eye(f)
    return table.mean(0), np.linalg.pinv(shrunk, hermitian=True) / np.outer(spread, spread)


def score(monitor, rows) -> np.ndarray:
    """How unlike benign requests each one is; above monitor.threshold: suspicious.

    [features, …] -> (m,).
    """
    table = _matrix(rows, monitor.names)
    if monitor.forest is not None:
        return -monitor.forest.score_samples(table)
    if monitor.streams is None:
        return np.abs(deviations(monitor, rows)).max(1)
    squares = [(((table - m) @ p) * (table - m)).sum(1) for m, p in monitor.streams]
    return np.min([np.sqrt(s.clip(0)) for s in squares], 0)


def deviations(monitor, rows) -> np.ndarray:
    """Which feature stands out: (value − median) / (1.4826 · MAD) of each. -> (m, f), signed."""
    return (_matrix(rows, monitor.names) - monitor.centre) / monitor.scale


@checked
def conformal_limit(scores, false_positives: float = 0.01) -> float:
    """The score above which a **new** benign request lies with chance `false_positives` at most.

    The ⌈(n + 1)(1 − fpr)⌉-th smallest of n scores, as in split conformal prediction.
    `defend.threshold` counts on the very scores it was set on: set on 100, it stops two of the next
    100 on average, where one was promised.
    """
    scores = sorted_scores(scores, false_positives)
    return float(scores[math.ceil((len(scores) + 1) * (1 - false_positives) - 1e-9) - 1])


@checked
def cusum(scores, drift, limit):
    """Index of the first request with S_t = max(0, S_{t−1} + score_t − drift) above `limit`.

    None if there is none. Small suspicions add up, and what is below `drift` takes away.
    Source: Page 1954.
    """
    total = 0.0
    for t, value in enumerate(_sequence(scores)):
        total = max(0.0, total + value - drift)
        if total > limit:
            return t
    return None


@checked
def fit_cusum(sequences, false_positives: float = 0.01) -> tuple[float, float]:
    """Drift and limit from benign sequences of one length: {stream: (B, T) scores}.

    drift: mean and half a standard deviation, of the stream where that is largest. limit: at most a
    share `false_positives` of new benign sequences of T requests of any stream raises an alarm.
    Where single benign scores are huge, give logarithms.
    """
    if not sequences or not all(map(len, sequences.values())):
        raise LabError("An alarm was asked of no benign sequences: give some of each stream.")
    if len({len(s) for rows in sequences.values() for s in rows}) > 1:
        raise LabError("The benign sequences have different lengths: cut them all to the same "
                       "number of requests.")
    stacked = [np.stack([_sequence(s) for s in rows]) for rows in sequences.values()]
    drift = max(rows.mean() + rows.std() / 2 for rows in stacked)

    def highest(rows):
        total = top = np.zeros(len(rows))
        for column in rows.T:
            total = np.maximum(0, total + column - drift)
            top = np.maximum(top, total)
        return top

    return float(drift), max(conformal_limit(highest(rows), false_positives) for rows in stacked)


def detection(alarms, start: int = 0) -> dict:
    """Alarms of sequences in which the attack begins at request `start` -> TPR, delay, early.

    alarms: [index or None, …]. TPR: share of sequences with the alarm at `start` or later; delay:
    mean number of requests from the first malicious one to the alarm, where there is one (0: at
    once; NaN: never); early: share with a false alarm before.
    """
    if not len(alarms):
        raise LabError("Detection was asked of no sequences: give the alarm of at least one.")
    late = [a - start for a in alarms if a is not None and a >= start]
    early = sum(a is not None and a < start for a in alarms)
    delay = float(np.mean(late)) if late else float("nan")
    return {"TPR": len(late) / len(alarms), "delay": delay, "early": early / len(alarms)}


def _sequence(scores):
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 1 or not len(scores) or not np.isfinite(scores).all():
        raise LabError(f"A sequence of scores has shape {scores.shape}, or NaN or infinity in it: "
                       "give one finite number a request, at least one.")
    return scores


def _matrix(rows, names):
    """[features, …] as an array, columns in the order of `names`."""
    if not len(rows):
        raise LabError("The stream is empty: give the features of at least one request.")
    for row in rows:
        if odd := ", ".join(sorted(set(row) ^ set(names))):
            raise LabError("The features of a request differ from those the monitor knows in "
                           f"{odd}: compute them in the same way.")
    table = np.array([[row[name] for name in names] for row in rows], dtype=float)
    if not np.isfinite(table).all():
        name = names[int(np.argwhere(~np.isfinite(table))[0, 1])]
        raise LabError(f"The feature {name!r} is NaN or infinite in a request: look for the step "
                       "that diverged.")
    return table
