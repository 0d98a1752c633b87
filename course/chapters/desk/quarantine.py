"""Requests at the desk: whose rows, which to unlearn now, what a trial run shows, and when the rest is removed.

Nothing here refuses a lawful deletion. What looks suspicious is quarantined: removed a little later, by retraining.
"""

import hashlib

import torch
import torch.nn.functional as F
from torch.func import functional_call, grad, jvp

from course.chapters.desk.monitor import conformal_limit
from labkit.base import LabError
from labkit.measure.uncertainty import ece
from labkit.rows import check_forget
from labkit.rules import is_whole


def split_request(alone, request):
    """Rows to unlearn now and rows to quarantine: those whose gradient is isolated. -> two LongTensors, order kept.

    alone: (n,) bool, from `isolated`. Source: what others say of Qian et al. 2023 (drop from a request the points
    whose gradients are unlike their class); reconstructed, and "drop" is read as "remove later".
    """
    if alone.dtype != torch.bool or alone.dim() != 1:
        raise LabError(f"alone has type {alone.dtype} and {alone.dim()} dimensions: give one bool a training row, "
                       "as `isolated` does.")
    request = check_forget(request, len(alone)).to(alone.device)
    return request[~alone[request]], request[alone[request]]


def influence_scores(model, x_val, y_val, x, y, tau) -> torch.Tensor:
    """What each requested row adds to the validation loss of the unlearned model. x (b, …), y (b,) -> (b,), nats.

    s_i = ⟨∇L_val(θ_u), τ ∇ℓ_i(θ)⟩ with θ_u = θ + τ Σ ∇ℓ_i(θ): the other reading of "gradient influence on the
    unlearned model" in Qian et al. 2023, whose formula could not be read. Positive: removing the row does harm.
    """
    params = {k: p.detach() for k, p in model.named_parameters()}

    def losses(p, inputs, labels):
        return F.cross_entropy(functional_call(model, p, (inputs,)), labels, reduction="none")

    step = grad(lambda p: losses(p, x, y).sum())(params)
    unlearned = {k: params[k] + tau * step[k] for k in params}
    uphill = grad(lambda p: losses(p, x_val, y_val).mean())(unlearned)
    return _all_finite(tau * jvp(lambda p: losses(p, x, y), (params,), (uphill,))[1], "influence scores")


def outliers(scores, mads: float = 3.0) -> torch.Tensor:
    """Which scores are unusually large either way: |s| > median + mads · MAD of |s|. (n,) -> (n,) bool.

    MAD: median absolute deviation, not scaled to a standard deviation. Where more than half of the scores are alike
    it is 0, and any other score is an outlier. Gradients have heavy tails: of benign requests too, 3 MAD mark far more
    than 1 % of the rows; set `mads` on benign requests.
    """
    if not mads > 0:
        raise LabError(f"mads is {mads!r}: give how many median deviations are still usual, above 0.")
    size = _all_finite(torch.as_tensor(scores), "scores").abs()
    if len(size) == 0:
        raise LabError("Outliers were asked of no scores: give at least one.")
    middle = size.quantile(0.5)
    return size > middle + mads * (size - middle).abs().quantile(0.5)


def row_hash(x, y) -> str:
    """SHA-256 of one row: shape, type, values to the last bit, label. x (…), y a number -> 64 hex digits."""
    content = x.detach().cpu().contiguous()
    head = f"{tuple(content.shape)} {content.dtype} {int(y)} ".encode()
    return hashlib.sha256(head + content.numpy().tobytes()).hexdigest()


def register(data, owners) -> dict:
    """What a provider writes down at training time: {row: (owner, hash)}. owners: {name: row ids}.

    Erase a row's entry when the row is deleted: a hash that stays proves to anyone who holds the row that it was here.
    """
    registry = {}
    for owner, rows in owners.items():
        for row in check_forget(rows, len(data.y)).tolist():
            if row in registry:
                raise LabError(f"Row {row} is said to belong to {registry[row][0]!r} and to {owner!r}: give each row "
                               "one owner.")
            registry[row] = (owner, row_hash(data.x[row], data.y[row]))
    return registry


def check_contents(registry, owner, rows, x, y):
    """Accept a request whose rows are recorded, belong to `owner`, and are sent with the recorded contents.

    rows (b,), x (b, …), y (b,): what the requester sends. -> rows. Stops requests for rows that were never trained on
    (Hu et al. 2024, Huang et al. 2025); rows prepared before training pass, and so does every choice of own rows.
    """
    rows = rows.tolist() if hasattr(rows, "tolist") else list(rows)
    if odd := [row for row in rows if not is_whole(row)]:
        raise LabError(f"A request names the row {odd[0]!r}: give row numbers, whole ones.")
    if not rows or len(set(rows)) < len(rows) or not len(rows) == len(x) == len(y):
        raise LabError(f"A request sends {len(rows)} row numbers, {len(x)} contents, {len(y)} labels: give at least "
                       "one row, each once, with its content and label.")
    for row, content, label in zip(rows, x, y, strict=True):
        if row not in registry:
            raise LabError(f"Row {row} is not in the registry: only rows that were trained on can be withdrawn.")
        if registry[row][0] != owner:
            raise LabError(f"Row {row} does not belong to {owner!r}: only own rows can be withdrawn.")
        if registry[row][1] != row_hash(content, label):
            raise LabError(f"Row {row} was sent with other contents than were trained on: send it unchanged.")
    return torch.tensor(rows)


def canary(before, after, y, near: float = 0.1) -> dict:
    """A trial run looked at from five sides, on held-out rows. (n, k), (n, k) logits, (n,) -> {name: score}.

    loss rise, nats; label flips: share of rows; worst class: largest fall of a class's accuracy; ECE rise; near the
    boundary: mean |change| of the called label's probability on the share `near` of rows with the smallest margin
    before (at least one). Higher is more suspicious; 0 everywhere for a request that changes nothing.
    """
    if before.shape != after.shape or before.dim() != 2 or len(y) != len(before) or not len(y):
        raise LabError(f"The trial gave logits {tuple(before.shape)} before, {tuple(after.shape)} after, for {len(y)} "
                       "labels: give both for the same rows.")
    if not 0 < near <= 1:
        raise LabError(f"near is {near!r}: give the share of rows that count as near the boundary, above 0, at most 1.")
    return trial_scores(trial_start(before, y, near), after, y)


def trial_start(before, y, near: float = 0.1) -> tuple:
    """What `canary` needs of the model before the trial, worked out once for many trials. (p, k), (p,) -> a tuple."""
    p = _all_finite(before, "logits of the trial").softmax(1)
    called, counts, top = p.argmax(1), torch.bincount(y), p.topk(2, dim=1).values
    rows = (top[:, 0] - top[:, 1]).argsort()[: max(1, int(near * len(y)))]
    right = torch.bincount(y[called == y], minlength=len(counts))
    return called, counts, right, rows, p[rows, called[rows]], F.cross_entropy(before, y), ece(p, y)


def trial_scores(start, after, y) -> dict:
    """The scores of `canary`. start: from `trial_start`; after (p, k): logits after the trial; y (p,)."""
    called, counts, right, rows, sure, loss, error = start
    q = _all_finite(after, "logits of the trial").softmax(1)
    now, seen = q.argmax(1), counts > 0
    still = torch.bincount(y[now == y], minlength=len(counts))
    return {"loss rise": (F.cross_entropy(after, y) - loss).item(),
            "label flips": (called != now).double().mean().item(),
            "worst class": ((right - still)[seen] / counts[seen]).max().item(),
            "ECE rise": ece(q, y) - error,
            "near the boundary": (q[rows, called[rows]] - sure).abs().mean().item()}


def calibrate(benign, false_positives: float = 0.01) -> dict:
    """A limit for each score of `canary` from benign requests: {stream: [scores, …]} -> {name: limit}.

    Each score may stop a share false_positives / (number of scores), so that all together stop at most
    `false_positives` of new benign requests; each limit is the largest that any stream asks for.
    """
    if not benign or not all(len(rows) for rows in benign.values()):
        raise LabError("Limits were asked of an empty stream: give benign requests of each stream.")
    names = list(next(iter(benign.values()))[0])
    if any(set(row) != set(names) for rows in benign.values() for row in rows):
        raise LabError(f"The benign requests were scored in different ways: give {', '.join(names)} for each.")
    return {name: max(conformal_limit([row[name] for row in rows], false_positives / len(names))
                      for rows in benign.values()) for name in names}


def decide(scores, limits):
    """'publish', or 'quarantine' when a score is above its limit. -> (decision, [names of the scores above])."""
    if set(scores) != set(limits):
        raise LabError(f"The scores are {', '.join(scores)} and the limits {', '.join(limits)}: calibrate the same "
                       "scores.")
    above = [name for name in scores if not scores[name] <= limits[name]]  # NaN is above every limit
    return ("quarantine" if above else "publish"), above


def quarantine(stream, period: int) -> dict:
    """When quarantined rows are removed: by one exact retraining after each `period` requests, if rows wait.

    stream: [(request, quarantined rows of it), …]. -> removed: {row: index of the request after which it is gone},
    mean and max: delay in requests (at most period − 1), retrains: their number. The last rows are removed at the end
    of their period, also when the stream ends before it.
    """
    if not is_whole(period) or period < 1:
        raise LabError(f"period is {period!r}: give after how many requests the model is retrained, 1 or more.")
    if not len(stream):
        raise LabError("The stream is empty: give at least one pair of a request and its quarantined rows.")
    removed, delays = {}, []
    for i, (request, held) in enumerate(stream):
        asked = {int(row) for row in request}
        for row in map(int, held):
            if row not in asked or row in removed:
                raise LabError(f"Row {row} is quarantined at request {i} and was "
                               f"{'quarantined before' if row in removed else 'not asked for there'}: give each "
                               "quarantined row once, with its own request.")
            removed[row] = i // period * period + period - 1
            delays.append(removed[row] - i)
    return {"removed": removed, "mean": sum(delays) / max(1, len(delays)), "max": max(delays, default=0),
            "retrains": len(set(removed.values()))}


def _all_finite(values, what):
    if not torch.isfinite(values).all():
        raise LabError(f"The {what} hold NaN or infinity: the step was too strong, or the model had diverged before.")
    return values
