"""Uncertainty as a target, and four ways to estimate it.

A goal maps outputs of a target to a loss that the attacker minimises. The objectives of Qian et al.
2025 could not be read; these are reconstructed from its abstract (direction chosen, label kept).
"""

import math

import torch
import torch.nn.functional as F
from torch.func import functional_call

from labkit.attack.uncertainty import margin
from labkit.base import LabError
from labkit.rules import checked


def check_target(x, probabilities, label, holdings):
    """Refuse a target that the attacker put into the training set, or a label not the model's.

    x (…), probabilities (k,) of it before the attack, label: the label to keep.
    """
    if (holdings.x == x).flatten(1).all(1).any():
        raise LabError("The target is one of the requested training rows: deleting it would be the "
                       "attack. Take an input that was not trained on.")
    if (called := int(probabilities.argmax())) != int(label):
        raise LabError(f"The model calls the target {called}, not {int(label)}: keep the label "
                       "that the model gives, or aim with over- and underconfidence.")


def overconfidence(label):
    """Make the model surer: minimise −log p(label). -> goal (k,) -> scalar.

    The label is kept by the goal itself.
    """
    return lambda z: -z.log_softmax(-1)[label]


@checked
def underconfidence(label, kappa, weight=5.0):
    """Make the model unsure and keep the label: minimise −H(p) + weight · max(0, κ − margin).

    kappa: the margin to keep, in logits (log-odds against the runner-up), 0 or more.
    """
    def goal(z):
        log_p = z.log_softmax(-1)
        return (log_p.exp() * log_p).sum() + weight * (kappa - margin(z, label)).clamp(min=0)

    return goal


def set_size(scale, temperature=0.05):
    """The size of a conformal set, softened: Σ_c sigmoid((q − (1 − p_c)) / temperature).

    Takes outputs (k + 1,): logits and the threshold q, which moves with the model. scale: −1 to
    enlarge, 1 to shrink.
    """
    def goal(outputs):
        p = outputs[:-1].softmax(-1)
        return scale * ((outputs[-1] - 1 + p) / temperature).sigmoid().sum()

    return goal


def soft_threshold(probabilities, labels, alpha, width=0.05):
    """The conformal threshold, smooth: scores 1 − p(label) averaged around the quantile's rank.

    (n, k), (n,) -> scalar. width: spread of the weights in ranks, as a share of n. The attack
    differentiates this; the judge uses conformal_threshold.
    """
    scores = (1 - probabilities.gather(1, labels[:, None]).squeeze(1)).sort().values
    n = len(scores)
    ranks = (torch.arange(n, device=scores.device) + 0.5) / n
    weights = (-0.5 * ((ranks - (1 - alpha)) / width) ** 2).softmax(0)
    return (weights * scores).sum()


def ensemble_outputs(members, i, x):
    """params of member i -> log of the ensemble's mean probability at x (k,).

    The others stay as they are. Effects add up over members: one request reaches all of them.
    """
    with torch.no_grad():
        others = sum(m(x[None])[0].softmax(-1) for j, m in enumerate(members) if j != i)

    def out(params):
        own = functional_call(members[i], params, (x[None],))[0].softmax(-1)
        return ((own + others) / len(members)).log()

    return out


def nll(logits, labels) -> float:
    """Mean negative log-likelihood of the labels in nats. (n, k), (n,) -> float."""
    return F.cross_entropy(logits, labels).item()


def fit_temperature(logits, labels) -> float:
    """The T > 0 that minimises the loss of softmax(logits / T) on calibration rows.

    (n, k), (n,) -> float between 0.05 and 20, by bounded scalar search over log T. Source: Guo et
    al. 2017.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(lambda log_t: nll(logits / math.exp(log_t), labels),
                            bounds=(-3.0, 3.0), method="bounded", options={"xatol": 1e-3})
    return math.exp(found.x)


def mc_dropout(model, x, passes: int = 20, seed: int = 0, params=None) -> torch.Tensor:
    """Mean probabilities over passes with dropout left on. (n, …) -> (n, k).

    The seed fixes the masks. params: weights by name to use instead of the model's own;
    differentiable in them, so that an attack can aim at it. Source: Gal and Ghahramani 2016.
    """
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    if not layers:
        raise LabError("MC dropout needs a network with dropout: build one, e.g. "
                       "models.build('mlp', …, dropout=0.2).")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in layers:
            layer.train()
        try:
            repeated = x.repeat(passes, *[1] * (x.dim() - 1))
            logits = functional_call(model, params or {}, (repeated,))
        finally:
            for layer in layers:
                layer.eval()
    return logits.softmax(1).view(passes, len(x), -1).mean(0)


def conformal_threshold(probabilities, labels, alpha: float = 0.1) -> float:
    """Split conformal threshold q: the ⌈(n + 1)(1 − α)⌉-th smallest score 1 − p(label) of n rows.

    Sets {c: 1 − p_c ≤ q} then hold the true label with probability at least 1 − α on rows drawn
    like these calibration rows; 1 when n is too small for that. Source: Sadinle et al. 2019 (least
    ambiguous sets).
    """
    scores = (1 - probabilities.gather(1, labels[:, None]).squeeze(1)).sort().values
    rank = math.ceil((len(scores) + 1) * (1 - alpha) - 1e-9)  # 10 · (1 − 0.7) is a hair above 3
    return scores[rank - 1].item() if rank <= len(scores) else 1.0


def conformal_sets(probabilities, threshold: float) -> torch.Tensor:
    """Which labels are in each row's prediction set. (n, k) -> (n, k) bool."""
    return 1 - probabilities <= threshold
