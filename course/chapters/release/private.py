"""Differential privacy: DP-SGD (Abadi et al. 2016) with Opacus, and what its ε says of deletions.

The promise is about what training releases. A later step of unlearning is no part of it: unless
that step is clipped and noised too (add_noise, with ε from epsilon_of at sample_rate 1), its
difference gives the row away as ever.
"""

import copy
import math
import warnings
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn

from labkit.base import Diverged, LabError, spawn_seeds
from labkit.rules import checked
from labkit.training import dropout_masks


@dataclass(frozen=True)
class Spent:
    """What a training run cost. (epsilon, delta): for one row more or less.

    noise_multiplier: σ, in units of the clip; sample_rate: chance of each row to be in a batch.
    """

    epsilon: float
    delta: float
    noise_multiplier: float
    steps: int
    sample_rate: float


@checked(epochs=None)
def fit_private(model, x, y, *, epsilon=None, noise_multiplier=None, delta=1e-5, clip=1.0, epochs=3,
                batch_size=256, lr=0.5, momentum=0.9, seed=0, skip=None):
    """Train a copy of `model` by DP-SGD on cross-entropy. -> (plain model in eval mode, Spent).

    Each step takes each row with chance batch_size / n (Poisson sampling, as the accountant
    assumes), clips each row's gradient to the norm `clip`, sums, adds N(0, (σ · clip)²) to each
    coordinate and divides by batch_size. x (n, …), y (n,). Give epsilon, for which the least σ is
    looked up, or noise_multiplier = σ itself; epsilon = math.inf clips without noise. delta: below
    1/n. lr: constant. skip: (m,) rows to leave out; the others are drawn as without it.
    Same seed, same weights (on one thread): a secret seed is part of the promise. **Never** release
    models with and without a row that share a seed: equal noise cancels.
    """
    n = len(x)
    _check_together(model, n, epsilon, noise_multiplier, batch_size, epochs)
    rate, steps = batch_size / n, max(1, round(epochs * n / batch_size))
    sigma = noise_multiplier if epsilon is None else noise_for(epsilon, delta, rate, steps)
    guarded = _guarded(copy.deepcopy(model), lr, momentum, sigma, clip, batch_size, seed)
    draw = torch.Generator().manual_seed(spawn_seeds(seed, 1, "batches")[0])
    left_out = torch.empty(0, dtype=torch.long) if skip is None else torch.as_tensor(skip).cpu()
    net = guarded[0]
    with dropout_masks(net, seed), warnings.catch_warnings():
        # the input needs no gradient
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        for _ in range(steps):
            drawn = torch.rand(n, generator=draw) < rate
            drawn[left_out] = False
            batch = drawn.nonzero().squeeze(1).to(x.device)
            _step(*guarded, x[batch], y[batch])
    plain = copy.deepcopy(model)  # Opacus leaves hooks and attributes on the one it trained
    plain.load_state_dict(net._module.state_dict())
    return plain.eval(), Spent(epsilon_of(sigma, rate, steps, delta), delta, sigma, steps, rate)


def _guarded(net, lr, momentum, sigma, clip, batch_size, seed):
    """Opacus' three wrappers: they clip each row's gradient, and add the noise.

    In ghost mode: two passes, no gradient of a row is stored (Li et al. 2022).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.grad_sample import GradSampleModuleFastGradientClipping
        from opacus.optimizers import DPOptimizerFastGradientClipping
        from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

    device = next(net.parameters()).device
    noise = torch.Generator(device).manual_seed(spawn_seeds(seed, 1, "noise")[0])
    net = GradSampleModuleFastGradientClipping(net.train(), max_grad_norm=clip,
                                               use_ghost_clipping=True)
    optimizer = DPOptimizerFastGradientClipping(
        torch.optim.SGD(net.parameters(), lr, momentum), noise_multiplier=sigma,
        max_grad_norm=clip, expected_batch_size=batch_size, generator=noise)
    return net, optimizer, DPLossFastGradientClipping(net, optimizer, nn.CrossEntropyLoss())


def _step(net, optimizer, criterion, x, y):
    criterion(net(x), y).backward()
    if not all(torch.isfinite(p.grad).all() for p in net.parameters() if p.requires_grad):
        raise Diverged(f"A gradient is NaN or infinite at learning rate "
                       f"{optimizer.param_groups[0]['lr']}, and clipping cannot bound that: look "
                       "for such values in x, or try a smaller rate.")
    optimizer.step()


def epsilon_of(noise_multiplier, sample_rate, steps, delta) -> float:
    """ε at delta of so many steps of DP-SGD, by Opacus' RDP accountant (Mironov et al. 2019).

    An upper bound, for data sets that differ in one row more or less. No noise: inf.
    sample_rate = 1: the Gaussian mechanism.
    """
    return composed([Spent(math.nan, delta, noise_multiplier, steps, sample_rate)], delta)


@checked(steps="from 1")
def noise_for(epsilon, delta, sample_rate, steps) -> float:
    """Opacus' σ, whose ε is at most `epsilon` and at least epsilon − 0.01; 0 for math.inf."""
    return 0.0 if epsilon == math.inf else _noise_for(epsilon, delta, sample_rate, steps)


@lru_cache
def _noise_for(epsilon, delta, sample_rate, steps):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in _accounted
        from opacus.accountants.utils import get_noise_multiplier

        try:
            return get_noise_multiplier(target_epsilon=epsilon, target_delta=delta, steps=steps,
                                        sample_rate=sample_rate, accountant="rdp")
        except ValueError:
            raise LabError(f"No noise reaches epsilon {epsilon} at delta {delta}: give a larger "
                           "one, or fewer steps.") from None


@checked
def composed(releases, delta) -> float:
    """ε at delta of several releases about the same rows, each with its own fresh noise.

    releases: Spents. The accountant adds their Rényi divergences, which is tighter than adding
    their ε. Models from before and after a deletion are two releases about all other rows.
    """
    runs = [(s.noise_multiplier, s.sample_rate, s.steps) for s in releases]
    if not runs or not all(s >= 0 and 0 < rate <= 1 and steps >= 1 for s, rate, steps in runs):
        raise LabError("The accountant needs at least one release, each with a noise multiplier of "
                       "0 or more, a sample rate above 0 and up to 1, and 1 or more steps; it got "
                       f"{runs}.")
    return math.inf if any(s == 0 for s, *_ in runs) else _accounted(tuple(runs), delta)


@lru_cache(maxsize=256)
def _accounted(history, delta):
    """ε of runs (σ, sample rate, steps); remembered, as many networks are trained the same way."""
    with warnings.catch_warnings():
        # it warns where its largest order is the best one; the bound still holds
        warnings.simplefilter("ignore")
        from opacus.accountants import RDPAccountant

        accountant = RDPAccountant()
        accountant.history = list(history)
        return float(accountant.get_epsilon(delta))


def _check_together(model, n, epsilon, noise_multiplier, batch_size, epochs):
    if (epsilon is None) == (noise_multiplier is None):
        raise LabError("DP-SGD needs epsilon or noise_multiplier, one of the two: give "
                       "epsilon=3.0, for example.")
    if batch_size > n or not epochs > 0:
        raise LabError(f"batch_size {batch_size} with {n} rows and {epochs} epochs: give 1 to {n} "
                       "rows a batch, and more than 0 epochs.")
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
        raise LabError("The model has BatchNorm, which mixes the rows of a batch, so that no row "
                       "can be clipped alone: take a network without it, or with GroupNorm.")
