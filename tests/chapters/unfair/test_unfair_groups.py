"""Section 1: the regression, its scores, its three ways of forgetting, requests, intervals."""

import numpy as np
import pytest
import torch
from fairlearn.metrics import MetricFrame, demographic_parity_difference, true_positive_rate
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

import course.exercises  # noqa: F401  before a chapter's exercises
import labkit as lk
from course.chapters import unfair as here
from course.chapters.unfair import fooling, groups, logit, telling
from course.chapters.unfair.exercises import any_move, watch
from labkit.base import Diverged, LabError
from labkit.unlearn.sisa import by_hash

RIDGE = 1e-2


@pytest.fixture(scope="module")
def loans():
    return lk.data.load("loans", device="cpu")


@pytest.fixture(scope="module")
def split(loans):
    return here.tables(loans.resplit(3))


def request(score, rows, budget):
    order = score.argsort(descending=True)[:budget]
    return rows[order[score[order] > 0]]


def simple_gap(p, panel):
    rates = telling.rates(p, panel)
    return rates[0] - rates[1]


@pytest.fixture(scope="module")
def panels(loans):
    return [groups.trial(loans, RIDGE, 3.0, request, (0.01, 0.05), s) for s in (1, 2, 3)]


# ---------------- the regression


@pytest.mark.parametrize("balanced", [True, False])
def test_the_regression_is_scikit_learns(split, balanced):
    train, panel = split
    w = here.fit_logistic(train, RIDGE, balanced)
    # scikit-learn's C multiplies the sum of the losses; a balanced one weighs n / (2 n_c)
    other = LogisticRegression(C=1 / (RIDGE * len(train)), tol=1e-10, max_iter=5000,
                               class_weight="balanced" if balanced else None)
    other.fit(train.x, train.yes)
    assert here.answers(w, panel.x) == pytest.approx(other.predict_proba(panel.x)[:, 1], abs=1e-4)


def test_the_optimum_has_no_gradient_and_its_hessian_is_the_gradients_slope(split):
    train, _ = split
    w = here.fit_logistic(train, RIDGE)

    def gradient(v):
        c = logit.weights(train.yes, True)
        return c @ logit.gradients(v, train) + np.r_[1e-9, np.full(len(v) - 1, RIDGE)] * v

    assert np.abs(gradient(w)).max() < 1e-8
    way = np.random.default_rng(0).normal(size=len(w))
    slope = (gradient(w + 1e-5 * way) - gradient(w - 1e-5 * way)) / 2e-5
    assert logit.hessian(w, train, RIDGE, True) @ way == pytest.approx(slope, abs=1e-6)


def test_separable_rows_without_a_ridge_are_refused():
    table = here.Table(np.array([[-1.0], [1.0]]), np.array([0, 1]), np.array([0, 1]))
    with pytest.raises(Diverged, match="ridge"):
        here.fit_logistic(table, 0.0, steps=5)


def test_weights_sum_to_one_and_balance_the_labels():
    yes = np.array([1, 1, 1, 0])
    assert logit.weights(yes, False).tolist() == [0.25] * 4
    balanced = logit.weights(yes, True)
    assert balanced.sum() == pytest.approx(1) and balanced[yes == 1].sum() == pytest.approx(0.5)


def test_the_smooth_gap_and_its_gradient(split):
    train, _ = split
    w = here.fit_logistic(train, RIDGE)
    value, slope = here.smooth_gap(w, train)
    p, deserve = here.answers(w, train.x), train.yes == 1
    assert value == pytest.approx(p[deserve & (train.group == 0)].mean()
                                  - p[deserve & (train.group == 1)].mean())
    way = np.random.default_rng(1).normal(size=len(w))
    ends = [here.smooth_gap(w + s * 1e-6 * way, train)[0] for s in (1, -1)]
    assert slope @ way == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4)


# ---------------- scores


@pytest.mark.parametrize("balanced", [True, False])
def test_scores_foretell_real_retraining_of_every_row(loans, balanced):
    """The oracle: delete each of 250 rows in turn and fit again."""
    d = loans.resplit(4)
    train = here.tables(d)[0].rows(np.arange(250))
    w = here.fit_logistic(train, RIDGE, balanced)
    score = here.influence_on_gap(w, train, len(train), RIDGE, balanced)
    start = here.smooth_gap(w, train)[0]
    real = np.array([here.smooth_gap(here.fit_logistic(train.without([i]), RIDGE, balanced),
                                     train)[0] - start for i in range(len(train))])
    assert spearmanr(score, real)[0] > 0.9
    assert (np.sign(score) == np.sign(real)).mean() > 0.9  # rows few for so many columns: no slope


def test_scores_of_a_linearised_deletion_are_exact(split):
    """A tiny loss of weight in place of a deletion: the score is its derivative."""
    train = split[0].rows(np.arange(200))
    w = here.fit_logistic(train, RIDGE, False)
    score = here.influence_on_gap(w, train, len(train), RIDGE, False)
    i, small = 17, 1e-5
    c = np.full(200, 1 / 200) + small / 199 * (1 / 200)  # the others gain what row i loses
    c[i] = (1 - small) / 200
    c = c / c.sum()
    v = w.copy()
    for _ in range(5):  # Newton steps on the tilted loss
        gradient = c @ logit.gradients(v, train) + np.r_[1e-9, np.full(len(v) - 1, RIDGE)] * v
        v = v - np.linalg.solve(logit.hessian(v, train, RIDGE, False), gradient)
    change = (here.smooth_gap(v, train)[0] - here.smooth_gap(w, train)[0]) / small
    assert change == pytest.approx(score[i], rel=0.02, abs=1e-7)


def test_an_owner_of_half_foretells_too(loans):
    _, _, rank = here.predicted_and_real(loans, RIDGE, 40, 5)
    assert rank > 0.8


# ---------------- forgetting


def test_a_first_order_step_is_the_gradient_of_what_was_deleted(split):
    train, _ = split
    w, gone = here.fit_logistic(train, RIDGE), np.array([3, 8, 100])
    c = logit.weights(train.yes, True)
    step = sum(c[i] * logit.gradients(w, train)[i] for i in gone)
    assert logit.first_order(w, train, gone, 2.0) == pytest.approx(w + 2.0 * step)
    assert np.array_equal(logit.first_order(w, train, gone, 0.0), w)


def test_sisa_is_the_mean_of_shards_that_never_saw_the_row(split):
    train, panel = split
    place = by_hash(len(train), 3, 1, 9)
    gone = place.rows(1, 1).numpy()[:5]
    parts = [np.setdiff1d(place.rows(s, 1).numpy(), gone) for s in range(3)]
    by_hand = sum(here.answers(here.fit_logistic(train.rows(p), RIDGE), panel.x)
                  for p in parts) / 3
    assert logit.sisa_answers(train, panel.x, RIDGE, 3, 9, gone) == pytest.approx(by_hand)
    changed = train.x.copy()
    changed[gone] += 100  # what is deleted has no say
    other = here.Table(changed, train.yes, train.group)
    assert logit.sisa_answers(other, panel.x, RIDGE, 3, 9, gone) == pytest.approx(by_hand)


# ---------------- requests


def test_comparisons_are_made_of_the_same_groups_and_labels(loans):
    d = loans.resplit(6)
    held, group = here.owner(d, 6)
    chosen = held.rows[torch.randperm(len(held))[:60]]
    asked = groups.compared(chosen, held, group, 1)
    assert list(asked) == list(here.PLAIN)

    def make_up(rows, *columns):
        return sorted(zip(*(c[rows].tolist() for c in columns), strict=True))

    for name, columns in (("same groups", (d.groups,)), ("same groups and labels",
                                                         (d.groups, d.y))):
        assert make_up(torch.from_numpy(asked[name]), *columns) == make_up(chosen, *columns)
    for rows in asked.values():
        assert len(rows) == len(set(rows.tolist())) == 60
        assert set(rows.tolist()) <= set(held.rows.tolist())
    guess = torch.from_numpy(asked["approved of the group"])
    assert d.groups[guess].all() and not d.y[guess].any()


def test_the_owner_has_half_of_the_rows_and_a_twentieth_as_budget(loans):
    held, group = here.owner(loans, 2)
    assert len(held) == len(loans.y) // 2 == len(group)
    assert held.budget == int(0.05 * len(loans.y))
    assert torch.equal(loans.groups[held.rows], torch.from_numpy(group))


def test_a_request_for_other_peoples_rows_is_refused(loans):
    """The learner's function gets own rows only; what it makes up is refused."""
    def greedy(score, rows, budget):
        others = np.setdiff1d(np.arange(len(loans.y)), rows.numpy())
        return torch.from_numpy(others[:budget])

    with pytest.raises(LabError, match="does not own"):
        groups.trial(loans, RIDGE, 3.0, greedy, (0.05,), 1)
    with pytest.raises(LabError, match="budget"):
        groups.trial(loans, RIDGE, 3.0, lambda s, rows, b: rows, (0.05,), 1)


def test_nothing_asked_for_changes_nothing_and_chance_is_small(panels):
    """The null: random requests move the gap by about nothing; the attack moves it."""
    def rise(kind):
        """By probabilities: decisions of three splits would be too few."""
        def smooth(p, panel):
            means = [p[(panel.yes == 1) & (panel.group == g)].mean() for g in (0, 1)]
            return means[0] - means[1]

        return np.mean([smooth(p.after["exact", kind, 0.05], p) - smooth(p.before["exact"], p)
                        for p in panels])

    assert abs(rise("random")) < 0.01 < 0.03 < rise("chosen")


def test_a_trial_answers_for_every_release_and_is_repeatable(panels, loans):
    assert {k[0] for k in panels[0].after} == {"exact", "unweighted", "exact, surrogate",
                                               "first-order", "SISA"}
    again = groups.trial(loans, RIDGE, 3.0, request, (0.01, 0.05), 1)
    for key, p in again.after.items():
        assert np.array_equal(p, panels[0].after[key])


def test_tuning_looks_at_its_own_splits_and_stays_inside(loans):
    ridge, tau = here.tune_tables(loans, [1, 2])
    assert ridge in groups.RIDGES and tau in groups.TAUS


# ---------------- measures


def test_rates_and_parity_are_fairlearns(panels):
    p = panels[0]
    said = (p.before["exact"] >= 0.5).astype(int)
    frame = MetricFrame(metrics=true_positive_rate, y_true=p.yes, y_pred=said,
                        sensitive_features=p.group).by_group
    assert telling.rates(p.before["exact"], p) == pytest.approx([frame[0], frame[1]])
    signed = here.selection(p.before["exact"], p)
    assert abs(signed) == pytest.approx(demographic_parity_difference(
        p.yes, said, sensitive_features=p.group))
    assert here.correct(p.before["exact"], p) == pytest.approx(100 * (said == p.yes).mean())


def test_a_gap_keeps_its_sign():
    panel = groups.Panel(np.ones(4, int), np.array([0, 0, 1, 1]), {}, {}, {})
    assert simple_gap(np.array([1, 1, 0, 0.9]), panel) == 0.5
    assert simple_gap(np.array([1, 0, 1, 0.9]), panel) == -0.5


def test_the_bootstrap_is_centred_and_as_wide_as_a_binomial(panels):
    p = panels[0]
    drawn = here.bootstrap(p.before["exact"], p, 4000, 1)
    a, b = telling.rates(p.before["exact"], p)
    n = [((p.yes == 1) & (p.group == g)).sum() for g in (0, 1)]
    assert drawn.mean() == pytest.approx(a - b, abs=0.005)
    assert drawn.std() == pytest.approx(np.sqrt(a * (1 - a) / n[0] + b * (1 - b) / n[1]), rel=0.1)


def test_the_corrected_interval():
    v = np.random.default_rng(0).normal(size=40)
    mean, low, high = here.corrected(v, 0.0)
    wanted = lk.measure.interval(v)
    assert (mean, low, high) == pytest.approx(wanted)
    _, low, high = here.corrected(v, 1 / 3)
    assert (high - low) == pytest.approx((wanted[2] - wanted[1]) * np.sqrt(1 + 40 / 3))


def test_an_alarm_is_counted_against_every_harmless_request():
    yes, group = np.ones(2, int), np.array([0, 1])
    panels = [groups.Panel(yes, group, {"exact": np.zeros(2)},
                           {("exact", "chosen", 0.05): np.array([c, 0]),
                            ("exact", "random", 0.05): np.array([r, 0])}, {})
              for c, r in ((3, 1), (2, 2), (0, 4))]
    found = here.caught(panels, lambda before, after, deserved, group: after[:, 0], 0.05)
    assert found.tolist() == pytest.approx([2 / 3, 1.5 / 3, 0])


def test_an_edge_is_named():
    assert telling.edges(a=(1, (1, 2, 3)), b=(2, (1, 2, 3))) == "a"
    assert telling.edges(b=(2, (1, 2, 3))) == "none"


def test_false_friends(loans):
    gone = fooling.whole_group(loans, RIDGE, [1, 2], simple_gap)
    trained = fooling.on_training_rows(loans, RIDGE, request, [1, 2], simple_gap)
    assert gone.shape == trained.shape == (2,)
    train, panel = here.tables(loans.resplit(1))
    others = train.without(np.flatnonzero(train.group == 1))
    assert gone[0] == pytest.approx(
        simple_gap(here.answers(here.fit_logistic(others, RIDGE), panel.x), panel)
        - simple_gap(here.answers(here.fit_logistic(train, RIDGE), panel.x), panel))


def test_a_request_turned_round_helps_the_group(panels):
    """As influential as the attack, and harmless: any move sees it, the watch does not."""
    for p in panels:
        alarm = {k: watch(p.before["exact"], p.after["exact", k, 0.05][None], p.yes, p.group)[0]
                 for k in ("chosen", "random", "turned round")}
        assert alarm["turned round"] < alarm["random"] < alarm["chosen"]
    assert here.caught(panels, any_move, 0.05, asked="turned round").mean() > 0.8
    assert here.caught(panels, watch, 0.05, asked="turned round").mean() < 0.2
