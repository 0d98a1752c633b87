"""The user's view of a deletion: likelihood ratios by row, forgetting quality, two versions."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from course.chapters.leakage import quality, ulira, versions
from labkit.base import LabError


# ---------------- U-LiRA
def test_logit_confidence_against_the_definition_and_where_it_rounds():
    z = torch.randn(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.arange(50) % 7
    p = z.softmax(1)[torch.arange(50), y]
    torch.testing.assert_close(ulira.logit_confidence(z, y), p.log() - (1 - p).log())
    sure = torch.tensor([[200.0, 0.0, 0.0]])  # p is 1 in float64, and 1 − p is 0
    found = ulira.logit_confidence(sure, torch.tensor([0]))
    assert found.item() == pytest.approx(200 - math.log(2))


def draws(seed, shadows, rows, apart):
    """Scores of shadows: N(mean of the row + apart where inside, spread of the row)."""
    rng = np.random.default_rng(seed)
    inside = rng.permuted(np.arange(shadows)[:, None].repeat(rows, 1), axis=0) < shadows // 2
    mean, spread = 3 * rng.normal(size=rows), rng.uniform(0.5, 2, rows)
    return mean + spread * (rng.normal(size=(shadows, rows)) + apart * inside), inside


def test_the_likelihood_ratio_against_scipy_by_hand():
    scores, inside = draws(0, 12, 5, 1.0)
    means, spread = ulira.gaussians(scores, inside)
    for j in range(5):
        for side, chosen in ((0, ~inside[:, j]), (1, inside[:, j])):
            part = scores[chosen, j]
            assert means[side, j] == pytest.approx(part.mean())
            assert spread[side, j] == pytest.approx(part.std(ddof=1))
    by_hand = (stats.norm(means[1], spread[1]).logpdf(scores[0])
               - stats.norm(means[0], spread[0]).logpdf(scores[0]))
    np.testing.assert_allclose(ulira.likelihood_ratio(scores[0], means, spread), by_hand)


def test_a_side_that_does_not_move_keeps_a_floor():
    scores, inside = draws(1, 20, 4, 0.0)
    scores[:, 2] = 7.0
    _, spread = ulira.gaussians(scores, inside)
    assert (spread[:, 2] >= np.median(spread, 1) / 10 - 1e-12).all() and (spread > 0).all()
    assert np.isfinite(ulira.likelihood_ratio(scores, *ulira.gaussians(scores, inside))).all()


def test_the_attack_by_row_reaches_what_two_gaussians_allow_and_the_population_does_not():
    scores, inside = draws(2, 400, 60, 1.0)
    judged = np.arange(100)
    by_row = ulira.auc(ulira.per_row_attack(scores, inside, judged), inside[judged])
    of_all = ulira.auc(ulira.population_attack(scores, inside, judged), inside[judged])
    best = stats.norm.cdf(1 / math.sqrt(2))  # AUC of N(0, 1) against N(1, 1)
    assert by_row == pytest.approx(best, abs=0.02) and of_all < best - 0.1


@pytest.mark.parametrize("seed", range(5))
def test_rows_that_make_no_difference_are_not_told(seed):
    scores, inside = draws(seed, 120, 60, 0.0)
    judged = np.arange(40)
    for attack in (ulira.per_row_attack, ulira.population_attack):
        # 2,400 scores: three standard errors of an AUC at 0.5
        found = ulira.auc(attack(scores, inside, judged), inside[judged])
        assert abs(found - 0.5) < 3 / math.sqrt(3 * 2400), found


def test_the_judged_models_are_not_among_the_shadows():
    scores, inside = draws(3, 40, 10, 1.0)
    judged = np.arange(8)
    found = ulira.per_row_attack(scores, inside, judged)
    other = scores.copy()
    other[0] += 100.0  # moves nobody's Gaussians but its own ratio
    np.testing.assert_array_equal(ulira.per_row_attack(other, inside, judged)[1:], found[1:])


@pytest.mark.parametrize("attack", [ulira.gaussians])
def test_too_few_shadows_are_refused(attack):
    with pytest.raises(LabError, match="fewer than two"):
        attack(np.zeros((3, 2)), np.array([[1, 1], [1, 0], [0, 0]], bool))
    with pytest.raises(LabError, match="differ"):
        attack(np.zeros((3, 2)), np.zeros((3, 1), bool))


@pytest.mark.parametrize("seed", range(4))
def test_tpr_at_fpr_against_every_limit(seed):
    rng = np.random.default_rng(seed)
    found, truth = rng.integers(0, 40, 300) / 7, rng.random(300) < 0.4
    for share in (0.0, 0.01, 0.1):
        limits = [t for t in np.r_[found, -1.0] if (found[~truth] > t).mean() <= share]
        assert ulira.tpr_at_fpr(found, truth, share) == pytest.approx(
            max((found[truth] > t).mean() for t in limits))


# ---------------- forgetting quality
def by_brute_force(one, other, delta=1e-5):
    """ε as the report says it, rule by rule."""
    if min(np.ptp(one), np.ptp(other)) < 0.01 * max(np.ptp(one), np.ptp(other)):
        return 50.0
    values, found = sorted({*one, *other}), [0.0]
    up, down = (one, other) if np.median(one) >= np.median(other) else (other, one)
    peak, wide = (one, other) if np.std(one) <= np.std(other) else (other, one)
    rules = [(np.mean([v >= t for v in down]), np.mean([v < t for v in up])) for t in values]
    rules += [(np.mean([s <= v <= t for v in wide]), np.mean([not s <= v <= t for v in peak]))
              for s, t in itertools.combinations_with_replacement(values, 2)]
    for fpr, fnr in rules:
        if fpr == fnr == 0:
            return math.inf
        for a, b in ((fpr, fnr), (fnr, fpr)):
            if a > 0 and b > 0 and 1 - delta - a > 0:
                found.append(math.log(1 - delta - a) - math.log(b))
    return max(found)


@pytest.mark.parametrize("seed", range(12))
def test_epsilon_against_brute_force(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 15))
    one, other = rng.normal(rng.uniform(0, 2), rng.uniform(0.3, 2), n), rng.normal(size=n)
    if seed % 3 == 0:
        one, other = one.round(1), other.round(1)  # ties
    assert quality.epsilon(one, other) == pytest.approx(by_brute_force(one, other), abs=1e-12)


@pytest.mark.parametrize("apart", [0.0, 0.5, 1.0, 2.0])
def test_epsilon_of_two_gaussians_at_a_known_distance(apart):
    m = 120
    at = (np.arange(m) + 0.5) / m
    one, other = stats.norm.ppf(at) + apart, stats.norm.ppf(at)  # quantiles in place of draws

    def truth(least):
        """The largest ε of any limit or interval whose errors are at least so large."""
        t = np.r_[np.linspace(-5, 7, 601)]
        s, e = (t[i] for i in np.triu_indices(len(t), 1))
        called = stats.norm.cdf(e) - stats.norm.cdf(s)
        caught = stats.norm.cdf(e - apart) - stats.norm.cdf(s - apart)
        fpr = np.r_[stats.norm.sf(t), called, caught]
        fnr = np.r_[stats.norm.cdf(t - apart), 1 - caught, 1 - called]
        seen = (fpr >= least) & (fnr >= least)
        return max(np.log((1 - fpr) / fnr)[seen].max(), np.log((1 - fnr) / fpr)[seen].max())

    # errors come in steps of 1 / m: the truth for two steps, and for half a step
    assert truth(2 / m) - 0.1 <= quality.epsilon(one, other) <= truth(0.5 / m) + 0.3
    assert truth(2 / m) >= apart - 0.1


def test_epsilon_grows_with_distance_and_is_the_same_both_ways():
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=60), rng.normal(size=60)
    found = [quality.epsilon(a + shift, b) for shift in (0.0, 1.0, 2.0, 3.0)]
    assert found == sorted(found)
    for shift in (0.3, 1.0):
        assert quality.epsilon(a + shift, b) == pytest.approx(quality.epsilon(b, a + shift))
        assert quality.epsilon(a + shift, b) <= math.log(59)


def test_epsilon_at_its_ends():
    assert quality.epsilon([1.0, 2, 3], [7.0, 8, 9]) == math.inf
    assert quality.epsilon([1.0, 1, 1], [0.0, 8, 9]) == quality.CONSTANT
    assert quality.epsilon([0.0, 1, 2, 5], [0.0, 1, 2, 5]) < 1.2  # equal sides: chance of 4 models
    for one, other in (([1.0, 2], [1.0]), ([1.0], [1.0]), ([[1.0]], [[1.0]])):
        with pytest.raises(LabError, match="N models with N"):
            quality.epsilon(one, other)


def test_quality_is_the_mean_of_halvings():
    rng = np.random.default_rng(6)
    u, r = rng.normal(size=(20, 8)), rng.normal(size=(20, 8)) + np.linspace(0, 6, 8)
    eps = [by_brute_force(u[:, j], r[:, j]) for j in range(8)]
    halvings = [0.0 if e >= 6.5 else 2 / 2 ** (int(e / 0.5) + 1) for e in eps]
    assert quality.forgetting_quality(u, r) == pytest.approx(np.mean(halvings))
    assert 0 < np.mean(halvings) < 1


# ---------------- two versions
def answers(seed, n, k=5):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, k))
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    return p, rng


@pytest.mark.parametrize("kind", versions.FEATURES)
def test_features_row_by_row(kind):
    p, rng = answers(0, 9)
    q, _ = answers(1, 9)
    found = versions.features(p, q, kind)
    for i in range(9):
        a, b = p[i], q[i]
        if kind.startswith("sorted"):
            order = sorted(range(5), key=lambda c: a[c])  # noqa: B023
            a, b = a[order], b[order]
        if "log" in kind:
            a, b = np.log(a), np.log(b)
        expected = {"distance": [np.sqrt(((a - b) ** 2).sum())]}.get(
            kind, [*(a - b)] if "difference" in kind else [*a, *b])
        np.testing.assert_allclose(found[i], expected)


@pytest.mark.parametrize("name", ["logistic", "forest", "network"])
@pytest.mark.parametrize("kind", ["sorted difference", "concatenation"])
def test_two_equal_versions_tell_nothing(name, kind):
    p, rng = answers(2, 600)
    truth = rng.random(600) < 0.5
    seen = versions.features(p, p, kind)
    model = versions.attack_model(name).fit(seen[:300], truth[:300])
    assert abs(ulira.auc(versions.score(model, seen[300:]), truth[300:]) - 0.5) < 0.12


@pytest.mark.parametrize("name", ["logistic", "forest", "network"])
def test_a_fall_of_the_label_is_learned(name):
    p, rng = answers(3, 800)
    truth = rng.random(800) < 0.5
    q = p.copy()
    top = p.argmax(1)
    q[np.arange(800), top] *= np.where(truth, 0.8, 1.0)  # what is deleted is less likely after
    seen = versions.features(p, q, "sorted log difference")
    model = versions.attack_model(name).fit(seen[:400], truth[:400])
    assert ulira.auc(versions.score(model, seen[400:]), truth[400:]) > 0.95


def test_a_single_query_is_scaled_as_the_training_rows_were():
    p, rng = answers(4, 200)
    truth = p[:, 0] > 0.2
    model = versions.attack_model("logistic").fit(versions.classic(p), truth)
    seen = versions.classic(p)
    together = versions.score(model, seen)
    alone = np.r_[[versions.score(model, seen[[i]])[0] for i in range(20)]]
    np.testing.assert_allclose(alone, together[:20])
    assert np.ptp(alone) > 0


def test_versions_that_cannot_be_compared():
    p, _ = answers(5, 4)
    with pytest.raises(LabError, match="shapes"):
        versions.features(p, p[:3], "distance")
    with pytest.raises(LabError, match="no features"):
        versions.features(p, p, "entropy")
    with pytest.raises(LabError, match="no attack model"):
        versions.attack_model("tree")
