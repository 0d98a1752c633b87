"""Attacks from answers alone: zeroth-order estimates over a provider who unlearns and predicts. No gradient is read."""

import torch

from ..base import LabError


def two_point(f, plus, minus) -> torch.Tensor:
    """Zeroth-order estimate of the Jacobian of f from pairs of points. -> (m, r).

    f: point (m,) -> (r,); plus, minus: (q, m). Mean over pairs of (plus − minus) (f(plus) − f(minus)), divided by the
    mean squared difference of a coordinate. With plus, minus = c ± μu and Gaussian u this is the two-point estimator
    of Nesterov and Spokoiny 2017, unbiased where f is quadratic, because the even orders cancel.
    """
    difference = plus - minus
    answers = torch.stack([f(p) - f(q) for p, q in zip(plus, minus, strict=True)])
    return difference.T @ answers / (len(plus) * difference.pow(2).mean())


def zeroth_order_effects(oracle, x, *, pairs, seed) -> torch.Tensor:
    """Estimate how deleting each owned row moves the log-probabilities of x, by trial requests. -> (m, k).

    oracle: UnlearningOracle; x (…): one target. Each of `pairs` pairs are two disjoint random requests of as many
    rows as the budget allows (half the owned rows at most): 2 · pairs queries. Real requests hold whole rows, so the
    two points of a pair are their indicator vectors. Noise makes the largest estimates too large, so they are shrunk
    by their reliability: the agreement of two halves of the pairs (Spearman-Brown), which needs no further query and
    is never taken below 0.05, so that an order of the rows is left.
    """
    if len(oracle.holdings) < 2:
        raise LabError("Trial requests come in disjoint pairs: at least 2 owned rows are needed.")
    held, draw = oracle.holdings, torch.Generator().manual_seed(seed)
    size = min(held.budget, len(held) // 2)
    plus, minus = torch.zeros(2, pairs, len(held), device=held.x.device)
    for i in range(pairs):
        order = torch.randperm(len(held), generator=draw).to(held.x.device)
        plus[i, order[:size]] = minus[i, order[size : 2 * size]] = 1

    def log_probabilities(indicator):
        return oracle(held.rows[indicator > 0], x[None])[0].clamp(min=1e-12).log()

    halves = [two_point(log_probabilities, plus[h::2], minus[h::2]) for h in (0, 1)] if pairs > 1 else []
    if not halves:
        return two_point(log_probabilities, plus, minus)
    a, b = (h.flatten() - h.mean() for h in halves)
    agreement = float((a @ b) / (a.norm() * b.norm()).clamp(min=1e-30))
    sizes = torch.tensor([len(plus[h::2]) for h in (0, 1)], dtype=torch.float) / pairs
    return max(0.05, 2 * agreement / (1 + agreement)) * (sizes[0] * halves[0] + sizes[1] * halves[1])
