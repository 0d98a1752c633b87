"""What Gaussian noise promises, and what the theorem for networks lets one promise."""

import math

import numpy as np
import torch
from scipy.optimize import brentq

from labkit.base import spawn_seeds
from labkit.defend.privacy import gaussian_delta, gaussian_epsilon

from .network import right

DELTA = 1e-5


def classic_sigma(sensitivity, epsilon, delta) -> float:
    """The textbook's deviation, Δ/ε · √(2 ln(1.25/δ)); proved for ε up to 1 only."""
    return sensitivity / epsilon * math.sqrt(2 * math.log(1.25 / delta))


def exact_sigma(sensitivity, epsilon, delta, delta_of=gaussian_delta) -> float:
    """The least deviation at which δ(ε) is delta, by bisection over μ = Δ/σ.

    delta_of: (epsilon, mu) -> δ, which rises with mu.
    """
    def excess(log_mu):
        return float(delta_of(epsilon, math.exp(log_mu))) - delta

    return sensitivity / math.exp(brentq(excess, math.log(1e-4), math.log(1e4)))


def classic_epsilon(sensitivity, sigma, delta) -> float:
    """The ε that the textbook's formula gives when it is turned round, as it is often quoted."""
    return sensitivity / sigma * math.sqrt(2 * math.log(1.25 / delta))


def implied_epsilon(sensitivity, sigma, delta=DELTA) -> float:
    """The exact ε of noise of this deviation."""
    return gaussian_epsilon(sensitivity / sigma, delta)


def theorem(radius, damping, least, rest=0.0, lipschitz=1.0) -> float:
    """How far step and retraining may be apart: (2C(MC + λ) + G) / (λ + λ_min).

    radius C; damping λ; least: the smallest eigenvalue λ_min; rest: G, the length of the gradient
    where training stopped; lipschitz: M, of the Hessian. Infinite where λ + λ_min ≤ 0, for the
    theorem then says nothing. Source: Zhang et al. 2024, Theorem 3.4, with their term for
    training that has not converged.
    """
    if damping + least <= 0:
        return math.inf
    return (2 * radius * (lipschitz * radius + damping) + rest) / (damping + least)


def with_noise(net, w, x, y, sigmas, seed, draws=5) -> np.ndarray:
    """Test accuracy of the released weights w + N(0, σ² I), mean of the draws. -> (sigmas,)"""
    found = []
    for sigma in sigmas:
        noises = (torch.randn(len(w), generator=torch.Generator().manual_seed(s), dtype=w.dtype)
                  for s in spawn_seeds(seed, draws, "release"))
        found.append(np.mean([right(net, w + sigma * noise, x, y) for noise in noises]))
    return np.array(found)
