"""Unlearning that favours sparse weights: l1-sparse fine-tuning; SalUn, which moves a share."""

import torch
import torch.nn.functional as F

from ..base import LabError
from ..rules import checked, is_number
from .first_order import finetune, random_labels
from .masks import keep_top
from .request import begin, finite


def l1_finetune(model, data, forget, *, gamma=1e-3, gamma_schedule="decaying", no_l1_epochs=0,
                epochs=2, lr=0.03, schedule="constant", batch_size=128, momentum=0.9,
                weight_decay=5e-4, seed=0, augment=None):
    """l1-sparse unlearning: fine-tune on the retain set with γ_e ‖θ‖₁ added to the loss.

    gamma: strength; gamma_schedule, no_l1_epochs: see l1_strength. The norm runs over all
    parameters, biases too, its gradient is γ_e sign(θ), and nothing is cut off at the end (as in
    the released code): weights become small, seldom 0. The other settings are finetune's; with
    gamma=0 it *is* finetune. epochs: passes over the retain set.
    Source: l1-sparse MU in Jia et al. 2023 (10 epochs there).
    """
    l1_strength(0, epochs, gamma, gamma_schedule, no_l1_epochs)

    def penalty(net, epoch):
        return l1_strength(epoch, epochs, gamma, gamma_schedule, no_l1_epochs) * l1_norm(net)

    return finetune(model, data, forget, epochs=epochs, lr=lr, schedule=schedule,
                    batch_size=batch_size, momentum=momentum, weight_decay=weight_decay, seed=seed,
                    augment=augment, penalty=penalty)


@checked(epochs=None)
def l1_strength(epoch, epochs, gamma, gamma_schedule="decaying", no_l1_epochs=0) -> float:
    """γ_e in epoch e = 0, 1, …; 0 in the last no_l1_epochs.

    With E = epochs − no_l1_epochs: 'decaying' γ (1 − e / E), which the paper keeps, 'growing'
    γ e / E, 'constant' γ.
    """
    if not is_number(epochs) or not is_number(no_l1_epochs) or not 0 <= no_l1_epochs < epochs:
        raise LabError(f"no_l1_epochs is {no_l1_epochs!r}: give a number from 0 to below the "
                       f"{epochs} epochs.")
    share = epoch / (epochs - no_l1_epochs)
    factors = {"decaying": 1 - share, "growing": share, "constant": 1.0}
    return gamma * factors[gamma_schedule] if share < 1 else 0.0


def l1_norm(model) -> torch.Tensor:
    """‖θ‖₁ over all parameters, differentiable (subgradient 0 at 0)."""
    return sum(p.abs().sum() for p in model.parameters())


def salun(model, data, forget, *, share=0.5, epochs=2, lr=0.01, batch_size=128, momentum=0.9,
          seed=0):
    """SalUn: random labels on the forget set, but only the weights that matter to it may move.

    share: of all weights, those with the largest gradient of the forget loss (0.5: threshold at
    the median). Pruned weights are counted, with a gradient of 0: for half of what is left of a
    pruned model give 0.5 · (what is left). epochs, lr and the rest are random_labels', which
    share=1 gives back; no weight decay, so the others stay bit for bit.
    Source: Fan et al. 2024 (share 0.5, 10 epochs, lr 0.013; there a drawn label may be the true
    one).
    """
    forget = begin(model, data, forget)[1]
    moving = saliency_mask(model, data.x[forget], data.y[forget], share) if len(forget) else None
    return finite(random_labels(model, data, forget, epochs=epochs, lr=lr, batch_size=batch_size,
                                momentum=momentum, seed=seed, moving=moving), "salun", lr)


@checked
def saliency_mask(model, x, y, share=0.5) -> dict:
    """Where the summed loss of the rows has its largest |gradient|.

    x (n, …), y (n,): the forget set. share: of all weights together. -> name -> bool for **all**
    parameters. Source: Fan et al. 2024, m_S.
    """
    weights = dict(model.named_parameters())
    total = [torch.zeros_like(p) for p in weights.values()]
    was_training = model.training
    model.eval()
    for xs, ys in zip(x.split(512), y.split(512), strict=True):
        loss = F.cross_entropy(model(xs), ys, reduction="sum")
        slopes = torch.autograd.grad(loss, list(weights.values()))
        total = [t + g for t, g in zip(total, slopes, strict=True)]
    model.train(was_training)
    return keep_top({k: t.abs() for k, t in zip(weights, total, strict=True)}, 1 - share)
