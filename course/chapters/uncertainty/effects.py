"""Effects of a deletion from answers alone: trial requests."""

import torch

from labkit.base import LabError
from labkit.rules import checked


def two_point(plus, minus, after_plus, after_minus) -> torch.Tensor:
    """Zeroth-order estimate of a Jacobian from pairs of points and their answers. -> (m, r).

    plus, minus: (q, m) points; after_plus, after_minus: (q, r) answers there. Mean over pairs of
    (plus − minus) (after_plus − after_minus), divided by the mean squared difference of a
    coordinate. With plus, minus = c ± μu and Gaussian u this is the two-point estimator of Nesterov
    and Spokoiny 2017, unbiased where the answers are quadratic, because the even orders cancel.
    """
    difference = plus - minus
    answers = after_plus - after_minus
    return difference.T @ answers / (len(plus) * difference.pow(2).mean())


@checked
def zeroth_order_effects(oracle, x, *, pairs, seed, estimate=two_point) -> torch.Tensor:
    """How deleting each owned row moves the log-probabilities of x, by trial requests. -> (m, k).

    oracle: UnlearningOracle; x (…): one target. Each of `pairs` pairs are two disjoint random
    requests of as many rows as the budget allows (half the owned rows at most): 2 · pairs queries.
    estimate: what makes effects of the answers, as `two_point`. Real requests hold whole rows, so
    the two points of a pair are their indicator vectors; as both ask for as many, the mean effect
    of all rows is lost. Noise makes the largest estimates too large, so they are shrunk by their
    reliability: the agreement of two halves of the pairs (Spearman-Brown), which needs no further
    query and is never taken below 0.05, so that an order of the rows is left.
    """
    held, draw = oracle.holdings, torch.Generator().manual_seed(seed)
    if len(held) < 2:
        raise LabError("Trial requests come in disjoint pairs: at least 2 owned rows are needed.")
    size = min(held.budget, len(held) // 2)
    plus, minus = torch.zeros(2, pairs, len(held), device=held.x.device)
    for i in range(pairs):
        order = torch.randperm(len(held), generator=draw).to(held.x.device)
        plus[i, order[:size]] = minus[i, order[size : 2 * size]] = 1

    def log_probabilities(indicator):
        return oracle(held.rows[indicator > 0], x[None])[0].clamp(min=1e-12).log()

    asked = [(log_probabilities(p), log_probabilities(m)) for p, m in zip(plus, minus, strict=True)]
    after = [torch.stack(side) for side in zip(*asked, strict=True)]
    if pairs == 1:
        return estimate(plus, minus, *after)
    halves = [estimate(*(t[h::2] for t in (plus, minus, *after))) for h in (0, 1)]
    a, b = (h.flatten() - h.mean() for h in halves)
    agreement = float((a @ b) / (a.norm() * b.norm()).clamp(min=1e-30))
    sizes = torch.tensor([len(plus[h::2]) for h in (0, 1)], dtype=torch.float) / pairs
    reliability = max(0.05, 2 * agreement / (1 + agreement))
    return reliability * (sizes[0] * halves[0] + sizes[1] * halves[1])
