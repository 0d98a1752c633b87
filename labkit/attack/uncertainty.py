"""Attacks on how sure a model is: targets, goals, and the estimators they can be aimed at.

A goal maps outputs of a target to a loss that the attacker minimises. The objectives of Qian et al. 2025 could not be
read; these are reconstructed from its abstract (direction chosen, label kept).
"""

import torch

from ..base import LabError


def pick_targets(probabilities, labels, count, seed, low=0.6, high=0.97) -> torch.Tensor:
    """Targets by a rule fixed beforehand: classified right, confidence between low and high, drawn at random.

    (n, k), (n,) -> indices into the rows given, (count,). The rule looks at the model before any attack.
    """
    confidence, called = probabilities.max(1)
    fit = ((called == labels) & (confidence >= low) & (confidence <= high)).nonzero().squeeze(1).cpu()
    if len(fit) < count:
        raise LabError(f"{count} targets were asked for and {len(fit)} rows are classified right with a confidence "
                       f"from {low} to {high}: ask for fewer, or widen the range.")
    return fit[torch.randperm(len(fit), generator=torch.Generator().manual_seed(seed))[:count]]


def check_target(x, probabilities, label, holdings):
    """Refuse a target that the attacker itself put into the training set, or one whose label is not the model's.

    x (…), probabilities (k,) of it before the attack, label: the label to keep.
    """
    if (holdings.x == x).flatten(1).all(1).any():
        raise LabError("The target is one of the requested training rows: deleting it would be the attack. Take an "
                       "input that was not trained on.")
    if int(probabilities.argmax()) != int(label):
        raise LabError(f"The model calls the target {int(probabilities.argmax())}, not {int(label)}: keep the label "
                       "that the model gives, or aim with miscalibration.")


def margin(outputs, label):
    """Logit of the label minus the largest other one; positive while the label holds. (…, k) -> (…)."""
    others = outputs.clone()
    others[..., label] = -torch.inf
    return outputs[..., label] - others.amax(-1)


def overconfidence(label):
    """Make the model surer: minimise −log p(label). The label is kept by the goal itself. -> goal (k,) -> scalar."""
    return lambda z: -z.log_softmax(-1)[label]


def underconfidence(label, kappa, weight=5.0):
    """Make the model unsure and keep the label: minimise −H(p) + weight · max(0, κ − margin).

    kappa: the margin to keep, in logits (log-odds against the runner-up), 0 or more.
    """
    if not kappa >= 0:
        raise LabError(f"kappa is {kappa!r}: the margin that keeps the label must be 0 or more.")

    def goal(z):
        log_p = z.log_softmax(-1)
        return (log_p.exp() * log_p).sum() + weight * (kappa - margin(z, label)).clamp(min=0)

    return goal


def label_flip(label):
    """The older attack, for comparison: minimise the margin until another label wins."""
    return lambda z: margin(z, label)


def miscalibration(label, true_label, kappa):
    """Be sure where wrong and unsure where right: the goal that hurts calibration most (Obadinma et al. 2024)."""
    return overconfidence(label) if label != true_label else underconfidence(label, kappa)


def set_size(scale, temperature=0.05):
    """The size of a conformal set, softened: Σ_c sigmoid((q − (1 − p_c)) / temperature).

    Takes outputs (k + 1,): logits and the threshold q, which moves with the model. scale: −1 to enlarge, 1 to shrink.
    """
    def goal(outputs):
        p = outputs[:-1].softmax(-1)
        return scale * ((outputs[-1] - 1 + p) / temperature).sigmoid().sum()

    return goal


def soft_threshold(probabilities, labels, alpha, width=0.05):
    """The conformal threshold as a smooth function: scores 1 − p(label), averaged around the quantile's rank.

    (n, k), (n,) -> scalar. width: spread of the weights in ranks, as a share of n. The attack differentiates this;
    the judge uses measure.conformal_threshold.
    """
    scores = (1 - probabilities.gather(1, labels[:, None]).squeeze(1)).sort().values
    n = len(scores)
    ranks = (torch.arange(n, device=scores.device) + 0.5) / n
    weights = (-0.5 * ((ranks - (1 - alpha)) / width) ** 2).softmax(0)
    return (weights * scores).sum()


def ensemble_outputs(members, i, x):
    """params of member i -> log of the ensemble's mean probability at x (k,), the other members as they are.

    Effects add up over members: the same request reaches all of them.
    """
    from torch.func import functional_call

    with torch.no_grad():
        others = sum(m(x[None])[0].softmax(-1) for j, m in enumerate(members) if j != i)
    return lambda params: ((functional_call(members[i], params, (x[None],))[0].softmax(-1) + others)
                           / len(members)).log()
