"""What a monitor looks at: features of one request, or of all rows of a window of requests."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from course.chapters.desk.quarantine import trial_scores, trial_start
from labkit.base import LabError
from labkit.defend.gates import isolated, residuals
from labkit.measure.uncertainty import entropy
from labkit.rows import check_forget
from labkit.training import predict


@dataclass(frozen=True, eq=False)
class Desk:
    """What the provider computes once, before requests come in. Made by `prepare`.

    proxy (n, k): residuals; rows: {feature: (n,) value of each training row}; y (n,); prior (k,): class shares;
    panel: None, or (logits (p, k), labels (p,), held-out inputs of the last layer (p, d), those of the training rows
    (n, d), tau, what `trial_start` found).
    """

    proxy: torch.Tensor
    rows: dict
    y: torch.Tensor
    prior: torch.Tensor
    panel: tuple | None


def prepare(model, data, panel=None, *, tau=5e-4, share=0.1) -> Desk:
    """Look at every training row once. panel: (x, y) held-out rows for the trial step, or None for no trial.

    tau: strength of that step, as in unlearn.first_order; share: of medoids, as in `isolated`. Prepare again when the
    model has changed.
    """
    logits, proxy = predict(model, data.x), residuals(model, data.x, data.y)
    inputs, size = last_inputs(model, data.x), proxy.norm(dim=1)
    rows = {"norm percentile": size.argsort().argsort().float() / max(1, len(size) - 1),
            "isolated": isolated(model, data.x, data.y, share).float(),
            "self-influence": self_influence(proxy, inputs).log1p(),
            "loss": F.cross_entropy(logits, data.y, reduction="none"), "entropy": entropy(logits.softmax(1))}
    prior = torch.bincount(data.y, minlength=proxy.shape[1]).double() / len(data.y)
    if panel is not None:
        before = predict(model, panel[0])
        panel = (before, panel[1], last_inputs(model, panel[0]), inputs, tau, trial_start(before, panel[1]))
    return Desk(proxy, rows, data.y, prior, panel)


def features(desk, request, after=None) -> dict:
    """What a monitor sees of one request, or of the rows of a window. request (b,) -> {name: value}.

    Means over its rows of norm percentile (0 to 1), isolated, self-influence (log), loss and entropy (nats); length
    of the mean residual; coherence; χ² of its classes a row; and with a panel the five scores of `canary` after a
    trial step. after: (p, k) logits of the panel after a trial of your own, e.g. a full first-order step; without it
    only the last layer takes the step.
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
    """Mean cosine between two different rows' gradients: 1 when all pull one way. (b, k) -> −1 to 1; one row: 0."""
    unit, b = F.normalize(gradients.double(), dim=1), len(gradients)
    return ((unit.sum(0).square().sum() - unit.square().sum()) / (b * (b - 1))).item() if b > 1 else 0.0


def chi_squared(labels, prior) -> float:
    """Pearson's χ² of the labels' histogram against class shares. labels (b,), prior (k,) -> float, 0 or more."""
    expected = prior.double() * len(labels)
    seen = torch.bincount(labels, minlength=len(prior)).double()
    if len(seen) > len(prior) or (seen[expected == 0] > 0).any():
        raise LabError("A label was requested of a class that the prior gives no share: take the shares of the "
                       "training set.")
    return ((seen - expected).square() / expected)[expected > 0].sum().item()


def last_inputs(model, x) -> torch.Tensor:
    """What the last linear layer is given, with a 1 appended for its bias. (n, …) -> (n, d + 1)."""
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    if not layers:
        raise LabError("The monitor looks at the last linear layer, and this network has none: use one that ends in "
                       "nn.Linear.")
    seen = []
    hook = layers[-1].register_forward_pre_hook(lambda layer, args: seen.append(args[0].detach().float()))
    try:
        predict(model, x)
    finally:
        hook.remove()
    return F.pad(torch.cat(seen), (0, 1), value=1.0)


def self_influence(proxy, inputs, damping: float = 0.01) -> torch.Tensor:
    """g_iᵀ F⁻¹ g_i in the last layer, F approximated by a Kronecker product. (n, k), (n, d) -> (n,), 0 or more.

    The gradient of row i is residual ⊗ input, so the product splits: (rᵀ R⁻¹ r)(hᵀ A⁻¹ h), R and A the mean outer
    products, each with `damping` times its mean eigenvalue added. Source: K-FAC (Martens and Grosse 2015).
    """
    def split(v):
        second = v.double().T @ v.double() / len(v)
        damp = damping * second.diagonal().mean().clamp(min=1e-12) * torch.eye(len(second), device=v.device)
        return (v.double() * torch.linalg.solve(second + damp, v.double().T).T).sum(1)

    return (split(proxy) * split(inputs)).float()
