"""The chapter's loops: two halves, versions, attackers, rules, privacy, shadows, judges."""

import inspect
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import integrate, stats

import labkit as lk
from course.chapters import leakage as here
from course.chapters.leakage import attackers, fooling, judging, private, shadows, sides
from labkit.base import LabError

RECIPE = dict(hidden=8, epochs=3, lr=0.1, batch_size=16)


@pytest.fixture(scope="module")
def data():
    return lk.data.load("fashion", at_most=(800, 200), moments="test", device="cpu")


@pytest.fixture(scope="module")
def halves(data):
    return here.two_sides(data, 5)


@pytest.fixture(scope="module")
def planned(halves):
    return here.plans(halves[1], [11, 12], rows=60, deletions=3, size=2)


@pytest.fixture(scope="module")
def worlds(data):
    return here.make_worlds(data, 7, 6, 180, dict(hidden=8, epochs=2, lr=0.1, batch_size=64))


# ---------------- two halves


def rows_of(x):
    return {r.numpy().tobytes() for r in x}


def test_the_halves_and_their_strangers_share_no_row(halves):
    parts = [rows_of(x) for side in halves for x in (side.x, side.x_out)]
    assert [len(p) for p in parts] == [400, 100, 400, 100]
    assert len(set.union(*parts)) == 1000


def test_small_rows_are_means_over_squares():
    x = torch.rand(3, 3, 32, 32)
    expected = x.view(3, 3, 8, 4, 8, 4).mean((3, 5)).flatten(1)
    torch.testing.assert_close(here.small(x), expected)
    assert torch.equal(here.small(x[:, :1, :16, :16]), x[:, :1, :16, :16].flatten(1))
    table = torch.rand(4, 900)
    assert torch.equal(here.small(table), table)


def test_a_plan_deletes_different_rows(planned):
    for plan in planned:
        gone, strangers = torch.cat(plan.gone), torch.cat(plan.strangers)
        assert len(plan.rows.unique()) == 60 and len(gone.unique()) == len(strangers.unique()) == 6
        assert 0 <= gone.min() and gone.max() < 60


def test_more_deletions_than_rows_are_refused(halves):
    assert len(here.plans(halves[0], [1], rows=10**6, deletions=3)[0].rows) == 400
    with pytest.raises(LabError, match="fewer deletions"):
        here.plans(halves[0], [1], rows=60, deletions=101)


# ---------------- versions


def by_hand(side, plan, skip, seed):
    """One network by `fit`, with the weights that its seed gives."""
    net = lk.models.mlp((side.x.shape[1],), side.k, RECIPE["hidden"])
    sides._begin(net, seed)
    recipe = {k: v for k, v in RECIPE.items() if k != "hidden"}
    return lk.training.fit(net, side.x[plan.rows], side.y[plan.rows], seed=seed, skip=skip,
                           **recipe)


def test_versions_are_real_retrainings_with_the_same_seed(halves, planned):
    side = halves[1]
    pairs = here.networks(side, planned, RECIPE)
    assert pairs.before.shape == (2 * 3 * 4, side.k) and pairs.deleted.sum() == 12
    assert pairs.original.tolist() == [0] * 12 + [1] * 12
    plan, at = planned[1], 12 + 4  # the second deletion of the second original
    net, later = by_hand(side, plan, None, 12), by_hand(side, plan, plan.gone[1], 12)
    x = torch.cat([side.x[plan.rows][plan.gone[1]], side.x_out[plan.strangers[1]]])
    for found, model in ((pairs.before, net), (pairs.after, later)):
        expected = lk.training.predict(model, x).softmax(1).numpy()
        np.testing.assert_allclose(found[at:at + 4], expected, atol=1e-4)
    assert pairs.deleted[at:at + 4].tolist() == [True, True, False, False]
    labels = torch.cat([side.y[plan.rows][plan.gone[1]], side.y_out[plan.strangers[1]]])
    assert pairs.y[at:at + 4].tolist() == labels.tolist()


def test_a_fresh_seed_changes_the_version_after_only(halves, planned):
    same, fresh = (here.networks(halves[1], planned, RECIPE, fresh=f) for f in (False, True))
    np.testing.assert_allclose(same.before, fresh.before, atol=1e-5)
    assert np.abs(same.after - fresh.after).max() > 0.01


def test_models_of_scikit_learn_are_fitted_without_the_row(halves, planned):
    side, asked = halves[1], []

    class Remembers:
        """Says 1 for the label of rows that it was fitted on, and 1 / k of all others."""

        def fit(self, x, y):
            self.known = {r.tobytes(): c for r, c in zip(x, y, strict=True)}
            self.classes_ = np.arange(side.k)
            asked.append(len(y))
            return self

        def predict_proba(self, x):
            return np.array([np.eye(side.k)[self.known[r.tobytes()]] if r.tobytes() in self.known
                             else np.full(side.k, 1 / side.k) for r in x])

    pairs = here.estimators(side, planned, lambda seed: Remembers())
    assert asked == [60, 58, 58, 58] * 2
    assert (pairs.before[pairs.deleted].max(1) == 1).all()
    assert np.allclose(pairs.after, 1 / side.k)
    assert np.allclose(pairs.before[~pairs.deleted], 1 / side.k)


def test_a_class_that_a_model_never_saw_gets_nothing(halves):
    side = halves[1]
    rows = side.y != 3
    box = sides.Answering(here.logistic(0).fit(side.x[rows].numpy(), side.y[rows].numpy()), side.k)
    p = box(side.x[:5])
    assert (p[:, 3] == 0).all()
    torch.testing.assert_close(p.sum(1), torch.ones(5, dtype=torch.float64))


def test_shards_train_only_the_one_that_had_the_row(halves, monkeypatch):
    side = halves[1]
    plans, runs = here.plans(side, [3], rows=50, deletions=4), []
    real = lk.training.fit_many
    monkeypatch.setattr(sides.training, "fit_many", lambda nets, x, y, **s: runs.append(
        (len(nets), len(x), s["batch_size"])) or real(nets, x, y, **s))
    pairs = here.in_shards(side, plans, RECIPE | {"batch_size": 20})
    assert [n for _, n, _ in runs] == [10] * 5 and {b for *_, b in runs} == {4}
    assert sum(k for k, *_ in runs) == 5 + 4  # each deletion trains one network
    assert np.allclose(pairs.after.sum(1), 1, atol=1e-5)
    # one network's answer can move the mean of five by a fifth
    assert np.abs(pairs.before - pairs.after).max() <= 0.2 + 1e-6


# ---------------- the attacker


def made_pairs(seed, m=80, originals=4, fall=0.0, k=5):
    rng = np.random.default_rng(seed)
    z = 2 * rng.normal(size=(m, k))
    deleted = rng.permutation(m) < m // 2
    later = z + 0.02 * rng.normal(size=(m, k))
    later[np.arange(m), z.argmax(1)] -= fall * deleted
    p, q = (np.exp(a) / np.exp(a).sum(1, keepdims=True) for a in (z, later))
    return sides.Pairs(p, q, z.argmax(1), deleted, np.arange(m) % originals, [(1, 1)] * originals)


def test_the_attack_finds_what_is_there_and_nothing_else():
    own, judged = made_pairs(0, 400, fall=0.3), made_pairs(1, 400, fall=0.3)
    assert np.mean(here.contest(own, judged)["two"]) > 0.9
    null = [np.mean(here.contest(made_pairs(s, 400), made_pairs(s + 50, 400))["two"])
            for s in range(4)]
    assert abs(np.mean(null) - 0.5) < 0.06, null
    assert abs(np.mean(here.contest(own, judged)["classic"]) - 0.5) < 0.1


def test_the_attacker_never_reads_which_judged_rows_were_deleted():
    """Its scores stay bit for bit when the truth of the judged side is turned round."""
    own, judged = made_pairs(0, 120, fall=0.3), made_pairs(1, 120, fall=0.3)
    attacker = here.rehearse(own)
    assert list(inspect.signature(attacker.__call__).parameters) == ["before", "after"]
    scores = attacker(judged.before, judged.after)
    right = here.by_original(attacker, judged)
    turned = sides.replace(judged, deleted=~judged.deleted)
    np.testing.assert_array_equal(attacker(turned.before, turned.after), scores)
    np.testing.assert_allclose(here.by_original(attacker, turned), 1 - np.array(right))
    for name in ("model_", "net", "weights", "parameters"):
        assert not hasattr(judged, name)  # answers are all that a pair holds


def test_an_attacker_with_labels_gets_no_truth_of_the_judged():
    own, judged = made_pairs(0, 60), made_pairs(1, 80)

    def attacker(*given):
        mine, theirs = given[:4], given[4:]
        for pairs, tensors, fields in ((own, mine, ("before", "after", "y", "deleted")),
                                       (judged, theirs, ("before", "after", "y"))):
            assert len(tensors) == len(fields)
            for f, t in zip(fields, tensors, strict=True):
                np.testing.assert_array_equal(getattr(pairs, f), t.numpy())
        return -theirs[1].max(1).values

    found = here.reached(attacker, own, judged)
    at = judged.original == 2
    one_version = judged.before[np.arange(80), judged.y]
    assert here.reached(here.sure_before, own, judged)[2] == pytest.approx(
        here.auc(one_version[at], judged.deleted[at]))
    assert found[2] == pytest.approx(here.auc(-judged.after[at].max(1), judged.deleted[at]))


def test_what_was_chosen_did_best_on_the_other_half_of_the_shadows():
    own = made_pairs(2, 200, fall=0.15)
    chosen = here.rehearse(own)
    learn, judge = own.of([0, 1]), own.of([2, 3])
    tried = {kind: here.auc(here.fit(learn, kind, "logistic")(judge.before, judge.after),
                            judge.deleted) for kind in here.FEATURES}
    assert chosen.rehearsed == pytest.approx(max(tried.values()))
    assert tried[chosen.kind] == max(tried.values())


def test_who_undoes_a_rule_that_can_be_undone_loses_nothing():
    own, judged = made_pairs(3, 300, fall=0.2), made_pairs(4, 300, fall=0.2)

    def rule(p):
        return here.tempered(p, 50.0)

    known = here.rehearse(own)
    full = here.by_original(known, judged)
    plain, adaptive, way = here.against_a_rule(known, own, judged, rule,
                                               lambda p: here.tempered(p, 0.02))
    assert np.mean(adaptive) >= np.mean(full) - 0.05 and way in ("learned anew", "taken back")
    assert len(plain) == len(adaptive) == 4
    # who stays as it was, as taking back did better on shadows, has what there was without a rule
    sure = here.Attacker(known.kind, known.name, known.model, rehearsed=1.0)
    *_, back, way = here.against_a_rule(sure, own, judged, rule, lambda p: here.tempered(p, 0.02))
    assert way == "taken back" and back == pytest.approx(full)
    same, anew, way = here.against_a_rule(known, own, judged, here.RULES["all"])
    assert same == anew == full and way == "learned anew"


def test_who_guesses_a_rule_right_has_what_there_was_and_takes_both_versions_back_alike():
    own, judged = made_pairs(3, 300, fall=0.2), made_pairs(4, 300, fall=0.2)
    known, asked = here.rehearse(own), []
    flat = here.served(judged, lambda p: here.tempered(p, 10.0))

    def undo(served, mine):
        asked.append((len(served), len(mine)))
        return here.tempered(served, 0.1)

    assert here.who_guesses(known, own, flat, undo) == pytest.approx(
        here.by_original(known, judged))
    assert asked == [(600, 600)]


def test_an_attack_on_columns_is_that_on_features():
    own, judged = made_pairs(0, 120, fall=0.3), made_pairs(1, 120, fall=0.3)
    seen = [here.features(p.before, p.after, "sorted difference") for p in (own, judged)]
    attacker = here.fit(own, "sorted difference", "logistic")
    assert here.on_views(*seen, own, judged) == here.by_original(attacker, judged)


def test_behind_a_rule_nobody_reads_what_nobody_was_given():
    """Labels alone, and the same labels in both versions: nothing is left but for undefended."""
    own, judged = made_pairs(0, 200), made_pairs(1, 200)
    by_confidence = [sides.replace(p, deleted=p.before.max(1) > np.median(p.before.max(1)))
                     for p in (own, judged)]
    seen = []

    def views(before, after, decimals):
        seen.append(decimals)
        p, q = before.round(decimals=decimals), after.round(decimals=decimals)
        return torch.cat([p - q, p.sort(1).values], 1)

    behind = here.behind_rounding(views, *by_confidence, 0)
    assert seen == [0, 0] and list(behind) == ["two", "classic", "undefended"]
    assert np.mean(behind["undefended"]) > 0.9 > np.mean(behind["two"])
    column = np.array([views(*map(torch.from_numpy, (p.before, p.after)), 0)[:, 5:].numpy()
                       for p in by_confidence])
    assert behind["classic"] == here.on_views(*column, *by_confidence)


def test_two_alike_are_known_to_the_original_and_as_sure():
    pairs = made_pairs(2, 200)
    i, j = here.two_alike(pairs)
    assert pairs.deleted[i] and not pairs.deleted[j]
    sure = pairs.before.max(1)
    assert pairs.before[[i, j]].argmax(1).tolist() == pairs.y[[i, j]].tolist() and sure[i] < 0.9
    assert abs(sure[j] - sure[i]) == abs(sure[~pairs.deleted] - sure[i]).min()  # all are right here


def test_a_contest_has_the_confidence_in_the_own_label_beside_it():
    own, judged = made_pairs(0, 120), made_pairs(1, 120)
    at = judged.original == 1
    confidence = judged.before[np.arange(120), judged.y]
    assert here.contest(own, judged)["label"][1] == pytest.approx(
        here.auc(confidence[at], judged.deleted[at]))


# ---------------- answering


def test_the_three_largest_stay_and_the_rest_is_even():
    p = np.array([[0.5, 0.2, 0.15, 0.1, 0.05], [0.1, 0.1, 0.6, 0.15, 0.05]])
    found = here.top(p, 3)
    np.testing.assert_allclose(found[0], [0.5, 0.2, 0.15, 0.075, 0.075])
    np.testing.assert_allclose(found.sum(1), 1)
    np.testing.assert_allclose(here.top(p, 5), p)
    for k in (0, 6):
        with pytest.raises(LabError, match="give 1 to 5"):
            here.top(p, k)


def test_a_temperature_divides_logits():
    z = torch.randn(20, 6, dtype=torch.float64)
    for t in (0.5, 1.0, 10.0):
        np.testing.assert_allclose(here.tempered(z.softmax(1).numpy(), t), (z / t).softmax(1))
    p = z.softmax(1).numpy()
    np.testing.assert_allclose(here.tempered(here.tempered(p, 10.0), 0.1), p)
    assert here.spread(here.tempered(p, 4.0)) == pytest.approx(here.spread(p) / 4)


def test_labels_alone_and_rounding():
    p = np.array([[0.337, 0.333, 0.33], [0.1, 0.1, 0.8]])
    assert here.label_only(p).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert here.rounded(p, 2).tolist() == [[0.34, 0.33, 0.33], [0.1, 0.1, 0.8]]
    pairs = made_pairs(5)
    both = here.served(pairs, here.label_only)
    assert set(np.unique(both.before)) == set(np.unique(both.after)) == {0.0, 1.0}
    assert both.deleted is pairs.deleted


# ---------------- privacy


def test_each_rows_gradient_is_clipped_alone():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(9, 4, generator=g), torch.randint(3, (9,), generator=g)
    weights = torch.randn(2, 4, 3, generator=g)
    keep = torch.ones(2, 9, dtype=torch.bool)
    keep[1, [2, 5]] = False
    for clip in (0.5, 100.0):
        found = private.clipped_sum(weights, x, y, keep, clip)
        for v in range(2):
            total = torch.zeros(4, 3)
            for i in keep[v].nonzero().flatten().tolist():
                w = weights[v].clone().requires_grad_()
                (slope,) = torch.autograd.grad(F.cross_entropy((x[i] @ w)[None], y[[i]]), w)
                total += slope * min(1.0, clip / slope.norm().item())
            torch.testing.assert_close(found[v], total, rtol=1e-4, atol=1e-5)


def test_without_noise_a_deletion_is_a_retraining_without_the_row(halves):
    side = halves[1]
    x, y = side.x[:40], side.y[:40]
    all_, less = here.fit_private(x, y, side.k, [[], [7]], [1, 2], sigma=0, steps=5)
    again = here.fit_private(x, y, side.k, [[7]], [3], sigma=0, steps=5)[0]
    torch.testing.assert_close(less, again)
    assert not torch.allclose(all_, less)


def test_every_release_has_noise_of_its_own(halves):
    side = halves[1]
    plans = here.plans(side, [1], rows=40, deletions=2)
    quiet, noisy = (here.private_versions(side, plans, sigma=s, steps=3) for s in (0.0, 20.0))
    assert np.abs(quiet.before - quiet.after).max() < 0.5 * np.abs(
        noisy.before - noisy.after).max()
    x, y = side.x[:40], side.y[:40]
    one, other = here.fit_private(x, y, side.k, [[], []], [4, 5], sigma=20.0, steps=3)
    assert not torch.allclose(one, other)
    # the noise has the deviation that was asked for
    one, other = here.fit_private(x, y, side.k, [[], []], [4, 5], sigma=2000.0, steps=1, lr=40.0)
    assert ((one - other).std() / (2000 * math.sqrt(2))).item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("sigma, steps", [(1.0, 1), (8.0, 30), (3.0, 10)])
def test_epsilon_is_that_of_two_gaussians_and_below_opacus_bound(sigma, steps):
    epsilon, mu = here.epsilon_of(sigma, steps, 1e-4), math.sqrt(steps) / sigma

    def beyond(x):  # what the best test gains beyond e^ε: the definition of δ
        return max(stats.norm.pdf(x, mu) - math.exp(epsilon) * stats.norm.pdf(x), 0)

    # the integrand is 0 below the point where the ratio of the densities is e^ε
    start = epsilon / mu + mu / 2
    delta, _ = integrate.quad(beyond, start, start + 12, epsabs=1e-12)
    assert delta == pytest.approx(1e-4, rel=1e-3)
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(sigma, 1.0, steps)]
    assert 0.6 * accountant.get_epsilon(1e-4) < epsilon <= accountant.get_epsilon(1e-4)


def test_no_noise_promises_nothing_and_much_noise_nearly_all():
    assert here.epsilon_of(0, 30, 1e-4) == math.inf
    assert here.epsilon_of(1e6, 1, 1e-4) == 0.0


# ---------------- shadows


def test_every_row_is_inside_half_of_the_worlds_and_pairs_fill_the_universe(worlds):
    inside = worlds.inside.numpy()
    assert (inside.sum(0) == 3).all() and (inside[::2] ^ inside[1::2]).all()
    assert (inside[:, :here.TARGETS].sum(1) == here.TARGETS // 2).all()
    for s in range(6):
        own, forget = worlds.alone(s)
        assert len(own.y) == inside[s].sum() and len(forget) == here.TARGETS // 2
        assert rows_of(own.x[forget]) == rows_of(worlds.data.x[worlds.forget(s)])


def test_retraining_never_sees_the_targets_and_originals_see_nothing_from_outside(worlds):
    """Targets replaced by other pictures change no retrained network; outside rows, no original."""
    other = shadows.replace(worlds, data=shadows.replace(
        worlds.data, x=torch.cat([-worlds.data.x[:here.TARGETS], worlds.data.x[here.TARGETS:]])))
    one, two = (shadows.unlearned(w, "retraining", {}, [0, 1]) for w in (worlds, other))
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a[1].weight, b[1].weight)
    x = worlds.data.x.clone()
    x[~worlds.inside[2]] += 5.0
    moved = shadows.replace(worlds, data=shadows.replace(worlds.data, x=x))
    again = shadows.trained(moved, [2], [worlds.seeds[2]])[0]
    torch.testing.assert_close(again[1].weight, worlds.nets[2][1].weight)


def test_methods_get_the_world_alone_and_its_targets(worlds, monkeypatch):
    asked = []

    def method(net, own, forget, *, lr):
        asked.append((len(own.y), rows_of(own.x[forget]), lr))
        return net

    monkeypatch.setitem(shadows.GRID, "made", (method, [dict(lr=1)]))
    shadows.unlearned(worlds, "made", dict(lr=1), [0, 3])
    assert asked == [(int(worlds.inside[s].sum()), rows_of(worlds.data.x[worlds.forget(s)]), 1)
                     for s in (0, 3)]


def test_the_setting_with_the_smallest_gap_is_taken(worlds):
    settings, tried = here.tune_methods(worlds)
    for name, (_, grid) in here.GRID.items():
        gaps = [tried[name, i] for i in range(len(grid))]
        assert settings[name] == grid[int(np.argmin(gaps))]
    phi, gap = here.unlearn_all(worlds, settings, ("untouched", "retraining"), 4)
    assert phi["untouched"].shape == (6, here.TARGETS + here.WATCHED)
    assert gap["retraining"] == [0.0] * 4 and len(gap["untouched"]) == 4


# ---------------- judging


def made_scores(seed, s=36, m=here.TARGETS + here.WATCHED, apart=0.0):
    rng = np.random.default_rng(seed)
    inside = shadows.halves(s, 300, seed).numpy()[:, :m]
    mean, spread = 3 * rng.normal(size=m), rng.uniform(0.5, 2, m)
    return mean + spread * (rng.normal(size=(s, m)) + apart * inside), inside


def test_folds_hold_every_world_once_and_pairs_together():
    for count in (12, 18, 96):
        folds = here.folds(count)
        assert sorted(np.concatenate(folds)) == list(range(count)) and len(folds) == 3
        assert all((f[::2] + 1 == f[1::2]).all() for f in folds)


def test_a_world_is_judged_by_other_folds_only():
    scores, inside = made_scores(0, m=here.TARGETS)
    found = judging.found_by(here.per_row_attack, scores, inside)
    moved = scores.copy()
    moved[0] += 50.0
    again = judging.found_by(here.per_row_attack, moved, inside)
    fold = here.folds(len(scores))[0]
    assert 0 in fold
    np.testing.assert_array_equal(found[fold[1:]], again[fold[1:]])
    for judged in here.folds(len(scores)):
        np.testing.assert_allclose(found[judged], here.per_row_attack(scores, inside, judged))


def test_row_by_row_sees_what_one_rule_misses_and_nothing_where_nothing_is():
    scores, inside = made_scores(1, 60, apart=1.0)
    found = here.row_contest(scores, inside)
    assert found["row"].mean() > 0.68 and found["row"].mean() > found["population"].mean() + 0.08
    assert found["pooled"][0] == pytest.approx(here.auc(found["found"], inside[:, :50]))
    null = [here.row_contest(*made_scores(s)) for s in range(6)]
    assert abs(np.mean([n["row"].mean() for n in null]) - 0.5) < 0.02
    assert abs(np.mean([n["population"].mean() for n in null]) - 0.5) < 0.02


def test_exposure_is_the_distance_in_deviations():
    scores, inside = made_scores(2, 4000, 3, apart=0.7)
    np.testing.assert_allclose(here.exposure(scores, inside), 0.7, atol=0.1)


def test_retained_rows_rise_by_luck_in_a_share_of_the_band():
    """Also where a method shares the seed of 'retraining': that is neither base nor band."""
    rows, luck = here.TARGETS + here.WATCHED, []
    inside = shadows.halves(60, 300, 10).numpy()[:, :rows]
    for draw in range(12):
        rng, scores = np.random.default_rng(100 + draw), {}
        for name in ("retraining", "retraining again", "retraining once more", "exposing"):
            scores[name] = rng.normal(size=(60, rows)) + 1.5 * (name == "exposing") * inside
        scores["same seed"] = scores["retraining"] + 0.1 * rng.normal(size=(60, rows))
        found = here.more_exposed(scores, inside, ("retraining once more", "retraining",
                                                   "same seed", "exposing"))
        assert found["retraining once more"].mean() == 0.025
        assert found["exposing"].mean() > 0.9
        luck.append([found[m].mean() for m in ("retraining", "same seed")])
    # 12 draws of 200 rows and a limit from as many: the share is 0.025 ± 3 × 0.016 / √12
    assert np.mean(luck, 0) == pytest.approx([0.025, 0.025], abs=0.014)


def test_further_retrainings_have_seeds_of_their_own(worlds):
    names = ("retraining", "retraining again", "retraining once more")
    first = [shadows.unlearned(worlds, name, {}, [1])[0][1].weight for name in names]
    assert not any(torch.allclose(a, b) for a, b in itertools.combinations(first, 2))
    again = shadows.unlearned(worlds, "retraining again", {}, [1])[0][1].weight
    torch.testing.assert_close(again, first[1])


def test_vulnerable_rows_are_chosen_without_the_judged_worlds():
    scores, inside = made_scores(3)
    scores[:, 4] += 30.0 * inside[:, 4]
    chosen = here.vulnerable(scores, inside)
    assert all(4 in rows and len(rows) == 10 for rows in chosen)
    fold = here.folds(len(scores))[1]
    moved = scores.copy()
    moved[fold] = 0.0
    assert chosen[1].tolist() == here.vulnerable(moved, inside)[1].tolist()


def test_f_over_worlds_is_f_of_the_formula():
    scores, inside = made_scores(4, 40)
    other, _ = made_scores(5, 40)
    pair = {"a": scores, "retraining again": other}
    sides_ = [np.stack([s[inside[:, j], j] for j in range(here.TARGETS)], 1)
              for s in (scores, other)]
    found = here.qualities(pair, inside, ["a"])["a"]
    assert found.shape == (here.TARGETS,)
    assert found.mean() == pytest.approx(here.forgetting_quality(*sides_))
    alike = here.qualities({"a": scores, "retraining again": scores}, inside, ["a"])
    assert alike["a"].mean() > 0.1


def test_the_order_by_f_and_the_order_by_the_gap():
    rng = np.random.default_rng(0)
    clear = {name: i + 0.01 * rng.normal(size=50) for i, name in enumerate("abcd")}
    gap = {name: [10 - i, 10.1 - i] for i, name in enumerate("abcd")}  # more F, a smaller gap
    assert here.tau_interval(clear, gap) == (1, 1, 1)
    assert here.tau_interval(clear, {m: [-v for v in g] for m, g in gap.items()}) == (-1, -1, -1)
    unclear = {name: rng.normal(size=50) for name in "abcd"}
    _, low, high = here.tau_interval(unclear, gap)
    assert low < 0 < high


# ---------------- what would fool


def test_shortcuts_look_better_than_they_are():
    null = made_pairs(6, 200)
    assert np.mean(here.judged_on_what_it_learned(null)) > 0.8
    scores, inside = made_scores(7)
    moved = scores + 3.0  # an unlearner that moves every row of every model
    honest = here.row_contest(moved, inside)["row"].mean()
    targets = inside[:, :here.TARGETS]
    lazy = here.row_contest(fooling.lazy(moved, scores, inside), targets)["row"].mean()
    assert abs(honest - 0.5) < 0.06 and lazy > 0.8


def test_turned_strangers_are_told_by_their_looks(worlds):
    straight, turned = here.other_strangers(worlds, 4)
    assert len(straight) == len(turned) == 4 and np.mean(turned) > np.mean(straight)


# ---------------- in words


def test_words_follow_the_interval():
    up, down, open_ = [0.1, 0.12, 0.11], [-0.1, -0.12, -0.11], [0.3, -0.3, 0.01]
    assert [here.side(v) for v in (up, down, open_)] == ["more", "less", "not told apart here"]
    assert here.beyond({"a": up, "b": down, "c": open_}) == ["a"]
    assert here.beyond({"a": up}, 0.105) == []  # the mean lies above, its interval does not
    one, other = ({"two": [0.9, 0.8], "classic": [c, c], "label": [0.5, 0.5]} for c in (0.5, 0.7))
    np.testing.assert_allclose(here.gain_less(one, other, "classic"), [0.2, 0.2])
    np.testing.assert_allclose(here.gain_less(one, other, "label"), [0, 0])
    low, mid, high = ([c - 0.01, c, c + 0.01] for c in (0.5, 0.54, 0.7))
    found = {name: {"population": p, "row": r} for name, p, r in (
        ("hides", low, high), ("open", mid, high), ("seen", high, high), ("gone", low, low))}
    assert here.hidden(found, 0.54)[0] == ["hides"]
    assert here.hidden({m: found[m] for m in ("open", "seen")}, 0.54) == ([], "open")
    assert here.places("leak", ["a b", "c"]) == "a b: {leak.a b}; c: {leak.c}"
    pairs = made_pairs(0)
    pairs.accuracy[:] = [(0.9, 0.7), (1.0, 0.6)]
    np.testing.assert_allclose(here.gap_of(pairs), [0.2, 0.4])
    assert attackers.CHEN == tuple(k for k in here.FEATURES if "log" not in k)
