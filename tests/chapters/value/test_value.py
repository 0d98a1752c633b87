"""Chapter 14: values, samplers and changes against the definition; markets; who may do what."""

import numpy as np
import pytest

from course.chapters.value import games, markets, payroll, removing, sampling, trials
from course.exercises import find
from labkit.base import LabError

VALUE = find("14.3").solution
SIZES = [(3, 2, 2), (3, 3, 1), (4, 2), (2, 2, 2), (5,)]


def by_definition(game):
    """Equation 2 in plain Python: every order whose shards stand together."""
    from itertools import permutations
    n = len(game.of)
    total, count = np.zeros(n), 0
    for order in permutations(range(n)):
        shards = [game.of[i] for i in order]
        if sum(a != b for a, b in zip(shards, shards[1:], strict=False)) != len(set(shards)) - 1:
            continue
        count += 1
        inside = np.zeros((1, n), bool)
        before = 0.0
        for i in order:
            inside[0, i] = True
            now = float(game.worth(inside)[0])
            total[i] += now - before
            before = now
    return total / count


@pytest.mark.parametrize("sizes", SIZES)
def test_exact_values_are_the_definition(sizes):
    game = games.made_up(np.random.default_rng(1), sizes)
    want = by_definition(game)
    np.testing.assert_allclose(games.exact(game, VALUE), want, atol=1e-12)
    np.testing.assert_allclose(games.by_orders(game, games.all_orders(game)), want, atol=1e-12)


def test_the_worked_example_and_plain_values():
    example = games.of_table([0, 0, 1], games.EXAMPLE)
    np.testing.assert_allclose(games.exact(example, VALUE), [3, 7, 2])
    np.testing.assert_allclose(games.shapley(example, VALUE), [8 / 3, 20 / 3, 8 / 3])
    np.testing.assert_allclose(games.by_orders(example, games.every_order(3)),
                               [8 / 3, 20 / 3, 8 / 3])


@pytest.mark.parametrize("sizes", SIZES)
def test_strata_and_changes_are_exact_when_every_sample_is_listed(sizes):
    game = games.made_up(np.random.default_rng(2), sizes)
    rows, old = removing.every_cut(game), games.exact(game, VALUE)
    np.testing.assert_allclose(sampling.means(game, rows, game.worth(rows)), old, atol=1e-12)
    for gone in ([0], [0, len(game.of) - 1], [1, 0]):
        after = game.without(gone)
        want = games.exact(after, VALUE) - old
        want[gone] = 0
        found, calls = sampling.bdelta(game, gone, rows)
        np.testing.assert_allclose(found, want, atol=1e-12)
        assert 0 < calls <= 2 * len(rows)


@pytest.mark.parametrize("sizes", [(3, 2, 2), (3, 3, 1), (2, 2, 2)])
def test_delta_is_exact_and_its_printed_form_only_for_a_whole_shard(sizes):
    game = games.made_up(np.random.default_rng(3), sizes)
    for p in range(len(game.of)):
        after = game.without([p])
        want = games.exact(after, VALUE) - games.exact(game, VALUE)
        want[p] = 0
        rows = removing.every_cut(after)
        np.testing.assert_allclose(sampling.delta(game, p, rows)[0], want, atol=1e-12)
        wrong = np.abs(sampling.delta(game, p, rows, printed=True)[0] - want).max()
        assert (wrong < 1e-12) == ((game.of == game.of[p]).sum() == 1)


def test_a_sampler_without_strata_is_biased_and_the_two_lemmas_are_told_apart():
    bias = removing.biases(games.made_up(np.random.default_rng(4)), VALUE)
    assert bias["printed lemma"] > 0.01 and bias["without strata"] > 0.01
    assert bias["corrected lemma"] < 1e-9 and bias["with strata"] < 1e-9


@pytest.mark.parametrize("sampler", [sampling.mcs, sampling.us, sampling.pus])
def test_samplers_come_to_the_exact_values(sampler):
    game = games.made_up(np.random.default_rng(5), (3, 3, 2))
    want, rng = games.exact(game, VALUE), np.random.default_rng(6)
    few, many = (np.mean([np.abs(sampler(game, rng, calls) - want).mean() for _ in range(5)])
                 for calls in (400, 20000))
    assert many < few / 3 and many < 0.02


def test_random_orders_keep_shards_together_and_are_uniform():
    game = games.Game(np.array([0, 1, 0, 1]), None)
    orders = games.draw_orders(game, np.random.default_rng(7), 8000)
    names, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(names) == 8 and abs(counts - 1000).max() < 160
    assert {tuple(o) for o in names} == {tuple(o) for o in games.all_orders(game)}
    assert len(np.unique(games.draw_orders(game, np.random.default_rng(8), 5000, free=True),
                         axis=0)) == 24


def test_the_learners_functions_agree_with_the_fast_ones():
    game = games.made_up(np.random.default_rng(9), (3, 2, 2))
    rows = removing.every_cut(game)
    side, b, c = sampling.strata(game, rows)
    for t in range(0, len(rows), 7):
        found = find("14.4").solution(rows[t], game.of)
        told = found[0] != 0
        assert (found[0] == side[t]).all()
        assert (found[1:, told] == np.stack([b[t], c[t]])[:, told]).all()
    u = games.table(game, 0)
    change = games.exact(game.without([0]), VALUE) - games.exact(game, VALUE)
    np.testing.assert_allclose(find("14.5").solution(u[:, 0::2] - u[:, 1::2]), change[1:3])


def small_pool(seed=0, n=300, k=3):
    r = np.random.default_rng(seed)
    y = r.integers(k, size=n)
    x = r.standard_normal((n, 4)) + 2.5 * np.eye(4)[y]
    return markets.Pool(x[:200], y[:200], x[200:], y[200:], k)


def small_market(seed=0, **settings):
    return markets.make(small_pool(), np.random.default_rng(seed),
                        **(dict(owners=9, shards=3, each=3, judging=(60, 60)) | settings))


def test_a_coalitions_accuracy_is_that_of_models_trained_on_it():
    market, rng = small_market().fitted(), np.random.default_rng(10)
    for inside in rng.random((12, 9)) < 0.5:
        votes = np.full((3, len(market.judge_y)), -1)
        for j in range(3):
            own = np.flatnonzero(inside & (market.of == j))
            if len(own):
                rows = np.concatenate([market.rows[i] for i in own])
                votes[j] = markets.fit("svm", market.x[rows], market.y[rows], market.judge_x)
        right = find("14.2").solution(votes, 3) == market.judge_y
        want = [0.0, 0.0] if not inside.any() else [right[:60].mean(), right[60:].mean()]
        got = [market.accuracy(inside[None], test)[0] for test in (False, True)]
        np.testing.assert_allclose(got, want)


def test_rows_of_owners_validation_and_spare_do_not_meet():
    market = small_market(each=4)
    held = np.concatenate(market.rows)
    assert len(set(held)) == 36 and not set(held) & set(market.spare)
    for x in market.x[held]:
        assert not (market.judge_x == x).all(1).any()
    assert (np.bincount(market.of) == 3).all()


def test_properties_hold_on_a_market_and_can_fail():
    game = small_market().fitted().game()
    assert all(all(c) for c in trials.properties(game, np.random.default_rng(1), VALUE).values())
    wrong = trials.properties(game, np.random.default_rng(1), lambda u: 1.1 * VALUE(u))
    assert not all(wrong["balance"]) and not all(wrong["both forms"])


def test_an_owner_who_adds_nothing_gains_nothing_by_a_second_name():
    """The null of the payroll: a market whose utility does not hang on the owner's rows."""
    market = small_market().fitted()
    constant = markets.replace(market, judge_y=np.zeros_like(market.judge_y) - 1)
    values = games.exact(constant.game(), VALUE)
    assert not values.any()


def test_an_owner_can_register_rows_of_its_own_only():
    market = small_market().fitted()
    pay = payroll.register(market, 0, 1, VALUE)
    owner = payroll.Owner(0, market.rows[0], pay)
    with pytest.raises(LabError, match="of its own only"):
        owner.register(owner.rows, market.rows[1])
    for name in ("market", "values", "rows_of_others"):
        with pytest.raises(AttributeError):
            getattr(owner, name)
    with pytest.raises(AttributeError):
        owner.market = market
    assert np.isfinite(payroll.split(owner))


def test_honest_pay_is_the_value_and_one_name_more_changes_two_shards_only():
    market = small_market(each=4).fitted()
    scene = payroll.schemes(market, 2, np.random.default_rng(0), VALUE, market.spare)
    values = games.exact(market.game(), VALUE)
    assert scene["honest"] == pytest.approx(values[2] / values.sum())
    changed = markets.joined(market, market.rows[2], (market.of[2] + 1) % 3)
    slow, fast = changed.fitted(), changed.fitted([(market.of[2] + 1) % 3])
    for a, b in zip(slow.votes, fast.votes, strict=True):
        assert (a == b).all()


def test_removal_curves_are_retrainings_and_random_is_the_null():
    market = small_market().fitted()
    curves, values, _ = removing.removal(market, VALUE, np.random.default_rng(2), 20)
    best = np.argsort(-values, kind="stable")
    left = np.ones((1, 9), bool)
    left[0, best[:3]] = False
    assert curves["sharded"][3] == market.accuracy(left, test=True)[0]
    assert {len(c) for c in curves.values()} == {5} and removing.area(curves, "sharded") == 0
    assert len({c[0] for c in curves.values()} - {curves["sharded"][0]}) <= 1


def test_the_order_of_two_exits_ends_at_the_same_values():
    game = small_market().fitted().game()
    largest, mean, *_, p, q = trials.first_leaver(game, np.random.default_rng(3), VALUE)
    assert largest >= mean >= 0 and game.of[p] != game.of[q]
    one, other = (games.exact(game.without([a]).without([b]), VALUE) for a, b in ((p, q), (q, p)))
    np.testing.assert_array_equal(one, other)


def test_equal_calls_are_equal():
    game = small_market().fitted().game()
    counted = []

    def worth(rows):
        counted.append(len(rows))
        return game.worth(rows)

    rows = sampling.draw(game, np.random.default_rng(4), 600)
    watched = games.Game(game.of, worth)
    _, calls = sampling.bdelta(watched, [0, 4], rows)
    assert calls == sum(counted)
    counted.clear()
    sampling.mcs(watched, np.random.default_rng(5), 900)
    assert sum(counted) == 900
