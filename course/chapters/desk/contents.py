"""What a request shows, and what becomes of it: a monitor's features, a trial run, quarantine.

Nothing here refuses a lawful deletion. What looks suspicious is removed later, by retraining.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from labkit.base import LabError
from labkit.defend.gates import isolated, residuals
from labkit.measure.uncertainty import ece, entropy
from labkit.rows import check_forget
from labkit.rules import checked
from labkit.training import predict


@dataclass(frozen=True, eq=False)
class Desk:
    """What the provider computes once, before requests come in. Made by `prepare`.

    proxy (n, k): residuals; rows: {feature: (n,) value of each training row}; y (n,); prior (k,):
    class shares; panel: None, or (logits (p, k), labels (p,), held-out inputs of the last layer
    (p, d), those of the training rows (n, d), tau, what `trial_start` found).
    """

    proxy: torch.Tensor
    rows: dict
    y: torch.Tensor
    prior: torch.Tensor
    panel: tuple | None


@checked
def prepare(model, data, panel=None, *, tau=5e-4, share=0.1) -> Desk:
    """Look at every training row once; prepare again when the model has changed.

    panel: (x, y) held-out rows for the trial step, or None for no trial. tau: strength of that
    step, as in unlearn.first_order; share: of medoids, as in `isolated`.
    """
    logits, proxy = predict(model, data.x), residuals(model, data.x, data.y)
    inputs, size = last_inputs(model, data.x), proxy.norm(dim=1)
    rows = {"norm percentile": size.argsort().argsort().float() / max(1, len(size) - 1),
            "isolated": isolated(model, data.x, data.y, share).float(),
            "self-influence": self_influence(proxy, inputs).log1p(),
            "loss": F.cross_entropy(logits, data.y, reduction="none"),
            "entropy": entropy(logits.softmax(1))}
    prior = torch.bincount(data.y, minlength=proxy.shape[1]).double() / len(data.y)
    if panel is not None:
        (x, y), before = panel, predict(model, panel[0])
        panel = (before, y, last_inputs(model, x), inputs, tau, trial_start(before, y))
    return Desk(proxy, rows, data.y, prior, panel)


def features(desk, request, after=None) -> dict:
    """What a monitor sees of one request, or of the rows of a window. (b,) -> {name: value}.

    Means over its rows of norm percentile (0 to 1), isolated, self-influence (log), loss and
    entropy (nats); length of the mean residual; coherence; χ² of its classes a row; and with a
    panel the five `trial_scores`. after: (p, k) logits of the panel after a trial of your own, e.g.
    a full first-order step; without it only the last layer takes the step.
    """
    request = check_forget(request, len(desk.y)).to(desk.y.device)
    found = {name: values[request].double().mean().item() for name, values in desk.rows.items()}
    proxy = desk.proxy[request]
    found["gradient length"] = proxy.double().mean(0).norm().item()
    found["coherence"] = coherence(proxy)
    found["class χ²"] = chi_squared(desk.y[request], desk.prior) / len(request)
    if desk.panel is not None:
        before, y, held_out, inputs, tau, start = desk.panel
        if after is None:  # W + τ Σ residual ⊗ input: first-order unlearning of the last layer
            after = before + tau * held_out @ (inputs[request].T @ proxy)
        found |= trial_scores(start, after, y)
    return found


def coherence(gradients) -> float:
    """Mean cosine between two different rows' gradients: 1 when all pull one way. (b, k) -> float.

    From −1 to 1; of one row 0.
    """
    unit, b = F.normalize(gradients.double(), dim=1), len(gradients)
    if b < 2:
        return 0.0
    return ((unit.sum(0).square().sum() - unit.square().sum()) / (b * (b - 1))).item()


def chi_squared(labels, prior) -> float:
    """Pearson's χ² of the labels (b,) against class shares (k,), 0 or more."""
    expected = prior.double() * len(labels)
    seen = torch.bincount(labels, minlength=len(prior)).double()
    if len(seen) > len(prior) or (seen[expected == 0] > 0).any():
        raise LabError("A label was requested of a class that the prior gives no share: take the "
                       "shares of the training set.")
    return ((seen - expected).square() / expected)[expected > 0].sum().item()


def last_inputs(model, x) -> torch.Tensor:
    """What the last linear layer is given, with a 1 for its bias. (n, …) -> (n, d + 1)."""
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    if not layers:
        raise LabError("The monitor looks at the last linear layer, and this network has none: use "
                       "one that ends in nn.Linear.")
    seen = []
    hook = layers[-1].register_forward_pre_hook(
        lambda layer, args: seen.append(args[0].detach().float()))
    try:
        predict(model, x)
    finally:
        hook.remove()
    return F.pad(torch.cat(seen), (0, 1), value=1.0)


def self_influence(proxy, inputs, damping: float = 0.01) -> torch.Tensor:
    """g_iᵀ F⁻¹ g_i in the last layer, 0 or more; F by a Kronecker product. (n, k), (n, d) -> (n,).

    The gradient of row i is residual ⊗ input, so the product splits: (rᵀ R⁻¹ r)(hᵀ A⁻¹ h), R and A
    the mean outer products, each with `damping` times its mean eigenvalue added.
    Source: K-FAC (Martens and Grosse 2015).
    """
    def split(v):
        v = v.double()
        second = v.T @ v / len(v)
        damp = damping * second.diagonal().mean().clamp(min=1e-12)
        whole = second + damp * torch.eye(len(second), device=v.device)
        return (v * torch.linalg.solve(whole, v.T).T).sum(1)

    return (split(proxy) * split(inputs)).float()


@checked
def trial_start(before, y, near: float = 0.1) -> tuple:
    """What `trial_scores` needs of the model before the trial. (p, k) logits, (p,) -> a tuple."""
    p = _all_finite(before).softmax(1)
    called, counts, top = p.argmax(1), torch.bincount(y), p.topk(2, dim=1).values
    rows = (top[:, 0] - top[:, 1]).argsort()[: max(1, int(near * len(y)))]
    right = torch.bincount(y[called == y], minlength=len(counts))
    return called, counts, right, rows, p[rows, called[rows]], F.cross_entropy(before, y), ece(p, y)


def trial_scores(start, after, y) -> dict:
    """A trial run looked at from five sides, on held-out rows. -> {name: score}.

    start: from `trial_start`; after (p, k): logits after the trial; y (p,). loss rise, nats; label
    flips: share of rows; worst class: largest fall of a class's accuracy; ECE rise; near the
    boundary: mean |change| of the called label's probability on the share `near` of rows with the
    smallest margin before (at least one). 0 everywhere for a request that changes nothing.
    """
    called, counts, right, rows, sure, loss, error = start
    q = _all_finite(after).softmax(1)
    now, seen = q.argmax(1), counts > 0
    still = torch.bincount(y[now == y], minlength=len(counts))
    return {"loss rise": (F.cross_entropy(after, y) - loss).item(),
            "label flips": (called != now).double().mean().item(),
            "worst class": ((right - still)[seen] / counts[seen]).max().item(),
            "ECE rise": ece(q, y) - error,
            "near the boundary": (q[rows, called[rows]] - sure).abs().mean().item()}


def _all_finite(logits):
    if not torch.isfinite(logits).all():
        raise LabError("The logits of the trial hold NaN or infinity: the step was too strong, or "
                       "the model had diverged before.")
    return logits


def split_request(alone, request):
    """Rows to unlearn now and rows to quarantine: those whose gradient is isolated, in order.

    alone: (n,) bool, from `isolated`. Source: what others say of Qian et al. 2023 (drop from a
    request the points whose gradients are unlike their class); reconstructed, and "drop" is read
    as "remove later".
    """
    if alone.dtype != torch.bool or alone.dim() != 1:
        raise LabError(f"alone has type {alone.dtype} and {alone.dim()} dimensions: give one bool "
                       "a training row, as `isolated` does.")
    request = check_forget(request, len(alone)).to(alone.device)
    return request[~alone[request]], request[alone[request]]


@checked
def quarantine(stream, period: int) -> dict:
    """When quarantined rows are removed: by one exact retraining after each `period` requests.

    stream: [(request, quarantined rows of it), …]. -> removed: {row: index of the request after
    which it is gone}, mean and max: delay in requests (at most period − 1), retrains: their number.
    The last rows are removed at the end of their period, also when the stream ends before it.
    """
    if not len(stream):
        raise LabError("The stream is empty: give at least one pair of a request and its "
                       "quarantined rows.")
    removed, delays = {}, []
    for i, (request, held) in enumerate(stream):
        asked = {int(row) for row in request}
        for row in map(int, held):
            if row not in asked or row in removed:
                what = "quarantined before" if row in removed else "not asked for there"
                raise LabError(f"Row {row} is quarantined at request {i} and was {what}: give each "
                               "quarantined row once, with its own request.")
            removed[row] = i // period * period + period - 1
            delays.append(removed[row] - i)
    return {"removed": removed, "mean": sum(delays) / max(1, len(delays)),
            "max": max(delays, default=0), "retrains": len(set(removed.values()))}
