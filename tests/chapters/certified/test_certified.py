"""The exact Gaussian curve, certified removal of a convex model, the damped step, its solvers."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from scipy.optimize import minimize

import labkit as lk
from course.chapters import certified as here
from course.chapters.certified import convex, network, promise, rows, solvers, tuning
from labkit.base import Diverged, LabError
from labkit.data import load


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=gen(seed), dtype=torch.float64)


# ---------------- what noise promises
@pytest.mark.parametrize("mu, epsilon", [(0.3, 0.1), (1.0, 0.0), (1.0, 1.0), (3.0, 2.0),
                                         (5.0, 20.0)])
def test_the_exact_curve_against_integration(mu, epsilon):
    def beyond(z):
        return max(stats.norm.pdf(z, mu) - math.exp(epsilon) * stats.norm.pdf(z), 0.0)

    edge = mu / 2 + epsilon / mu  # where the two densities differ by the factor
    area, _ = integrate.quad(beyond, edge, edge + 40, epsabs=1e-13)
    assert lk.defend.gaussian_delta(epsilon, mu) == pytest.approx(area, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("mu", [0.05, 0.5, 2.0, 40.0, 4000.0])
def test_epsilon_is_where_the_curve_is_delta(mu):
    epsilon = lk.defend.gaussian_epsilon(mu, 1e-5)
    assert lk.defend.gaussian_delta(epsilon, mu) == pytest.approx(1e-5, rel=1e-4) or epsilon == 0
    if mu > 10:  # the sheet's asymptote
        assert epsilon == pytest.approx(mu**2 / 2 + mu * stats.norm.isf(1e-5), rel=0.01)


def test_epsilon_at_the_ends():
    assert lk.defend.gaussian_epsilon(math.inf, 1e-5) == math.inf
    assert lk.defend.gaussian_epsilon(1e-7, 1e-5) == 0.0
    with pytest.raises(LabError, match="delta is 0"):
        lk.defend.gaussian_epsilon(1.0, 0)


def test_the_textbook_is_safe_to_one_and_not_beyond():
    for epsilon in (0.01, 0.1, 0.5, 1.0):
        exact = promise.exact_sigma(2.0, epsilon, 1e-5)
        assert promise.classic_sigma(2.0, epsilon, 1e-5) >= exact
        assert lk.defend.gaussian_delta(epsilon, 2.0 / exact) == pytest.approx(1e-5, rel=1e-6)
    assert promise.classic_sigma(2.0, 50.0, 1e-5) < promise.exact_sigma(2.0, 50.0, 1e-5)
    assert promise.classic_epsilon(2.0, promise.classic_sigma(2.0, 3.0, 1e-5),
                                   1e-5) == pytest.approx(3.0)


def test_the_exact_sigma_takes_a_curve_of_ones_own():
    seen = []

    def curve(epsilon, mu):
        seen.append((epsilon, mu))
        return lk.defend.gaussian_delta(epsilon, mu)

    assert promise.exact_sigma(1.0, 1.0, 1e-5, curve) == promise.exact_sigma(1.0, 1.0, 1e-5)
    assert len(seen) > 5 and {e for e, _ in seen} == {1.0}


@pytest.mark.parametrize("least", [-0.5, 0.0, 0.3])
def test_the_theorem_never_beats_the_ball(least):
    for radius in (1.0, 20.0):
        for damping in np.logspace(-3, 5, 30):
            bound = promise.theorem(radius, damping, least)
            if damping + least <= 0:
                assert bound == math.inf
            else:
                assert bound >= 2 * radius
                assert bound == pytest.approx(2 * radius * (radius + damping) / (damping + least))
    assert promise.theorem(1.0, 1.0, 5.0) < 2.0  # a sum of squares would be another matter
    assert promise.theorem(1.0, 1.0, 0.0, rest=3.0) == promise.theorem(1.0, 1.0, 0.0) + 3.0


# ---------------- the convex model
@pytest.fixture(scope="module")
def task():
    x = rows.unit(normal(120, 6, seed=1))
    y = torch.where(x[:, 0] + 0.3 * normal(120, seed=2) > 0, 1.0, -1.0).double()
    return rows.World(x[:80], y[:80], x[80:], y[80:], torch.arange(8), 2, 5)


def loss(w, x, y, lam, b):
    return (torch.nn.functional.softplus(-y * (x @ w)).sum() + lam * len(x) * (w @ w) / 2 + b @ w)


def test_gradient_and_hessian_are_those_of_autograd(task):
    w, b = normal(6, seed=3), normal(6, seed=4)
    want = torch.autograd.functional.jacobian(lambda v: loss(v, task.x, task.y, 0.1, b), w)
    torch.testing.assert_close(convex.gradient(w, task.x, task.y, 0.1, b), want)
    want = torch.autograd.functional.hessian(lambda v: loss(v, task.x, task.y, 0.1, b), w)
    torch.testing.assert_close(convex.hessian(w, task.x, 0.1), want)


def test_the_optimum_is_that_of_another_solver(task):
    b = normal(6, seed=4)
    found = convex.solve(task.x, task.y, 0.05, b)
    other = minimize(lambda v: float(loss(torch.from_numpy(v), task.x, task.y, 0.05, b)),
                     np.zeros(6), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(found, other.x, atol=1e-5)
    with pytest.raises(Diverged):
        convex.solve(task.x, task.y, 0.05, b, steps=1)


def test_without_noise_the_optimum_is_scikit_learns(task):
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1 / (0.05 * len(task.y)), fit_intercept=False, tol=1e-10,
                               max_iter=1000)
    model.fit(task.x, task.y)
    np.testing.assert_allclose(convex.solve(task.x, task.y, 0.05), model.coef_[0], atol=1e-4)


def test_a_removal_is_one_newton_step_by_autograd(task):
    b = normal(6, seed=4)
    w = convex.solve(task.x, task.y, 0.05, b)
    rest = task.x[1:], task.y[1:]
    g = torch.autograd.functional.jacobian(lambda v: loss(v, *rest, 0.05, b), w)
    h = torch.autograd.functional.hessian(lambda v: loss(v, *rest, 0.05, b), w)
    torch.testing.assert_close(convex.removal(w, *rest, task.x[0], task.y[0], 0.05),
                               w - torch.linalg.solve(h, g), atol=1e-9, rtol=0)


@pytest.mark.parametrize("seed", range(6))
def test_what_a_removal_leaves_is_below_its_bound(seed):
    """Also from weights that are no optimum, as after earlier removals."""
    x = rows.unit(normal(40, 5, seed=seed))
    y = torch.where(normal(40, seed=seed + 50) > 0, 1.0, -1.0).double()
    w, b = 3 * normal(5, seed=seed + 90), normal(5, seed=seed)
    before = convex.gradient(w, x, y, 0.02, b)
    new = convex.removal(w, x[1:], y[1:], x[0], y[0], 0.02)
    added = convex.gradient(new, x[1:], y[1:], 0.02, b) - before
    assert added.norm() <= convex.bound(x[1:], new - w) + 1e-9


def test_the_bound_is_its_formula(task):
    step = normal(6, seed=8)
    want = np.linalg.norm(task.x, 2) * np.linalg.norm(step) * np.linalg.norm(task.x @ step) / 4
    assert convex.bound(task.x, step) == pytest.approx(want)


def test_the_budget_inverts_its_delta():
    limit = convex.budget(2.0, 1.0, 1e-4)
    c = 2.0 / limit
    assert 1.5 * math.exp(-c**2 / 2) == pytest.approx(1e-4)
    assert convex.budget(1.0, 1.0, 1e-4) == pytest.approx(0.228, abs=0.001)  # Marchant's


def test_the_ledger_stops_before_the_budget_overruns(task):
    order = torch.arange(40)
    few = convex.remove_one_by_one(convex.removal, task, order, lam=0.05, sigma=0.3)
    many = convex.remove_one_by_one(convex.removal, task, order, lam=0.05, sigma=3.0)
    assert few.full and few.removals < many.removals
    assert few.bounds[-1] <= few.budget and len(few.bounds) == few.removals
    assert all(a <= b + 1e-9 for a, b in zip(few.residuals, few.bounds, strict=True))
    assert all(a <= b + 1e-9 for a, b in few.own)
    assert few.untouched[0] > few.residuals[0]  # doing nothing leaves more
    none = convex.remove_one_by_one(convex.removal, task, order, lam=0.05, sigma=1e-9)
    assert none.removals == 0 and none.full and torch.equal(none.w, none.first)


def test_many_removals_end_near_the_optimum_without_the_rows(task):
    done = convex.remove_one_by_one(convex.removal, task, torch.arange(10), lam=0.1, sigma=30.0)
    b = 30.0 * torch.randn(6, generator=gen(task.seed), dtype=torch.float64)
    want = convex.solve(task.x[10:], task.y[10:], 0.1, b)
    assert done.removals == 10
    assert (done.w - want).norm() < 0.05 * (done.first - want).norm()


# ---------------- the network
@pytest.fixture(scope="module")
def small():
    x = normal(60, 5, seed=11)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long()
    return rows.World(x[:40], y[:40], x[40:], y[40:], torch.arange(4), 3, 1)


RECIPE = dict(hidden=4, epochs=6, lr=0.02, seed=3, batch_size=10)


@pytest.fixture(scope="module")
def trained(small):
    net = network.fresh(small, 4, 3)
    w = network.fit_in_ball(small, radius=3.0, **RECIPE)
    x, y = small.x[small.stay], small.y[small.stay]
    spectrum = here.deep.Spectrum(*torch.linalg.eigh(network.full_hessian(net, w, x, y)))
    return here.deep.Trained(small, net, w, spectrum, network.gradient(net, w, x, y), 0.0)


def test_the_hessian_is_that_of_autograd(small, trained):
    x, y = trained.stay

    def mean_loss(v):
        return torch.nn.functional.cross_entropy(network.logits(trained.net, v, x), y)

    want = torch.autograd.functional.hessian(mean_loss, trained.w)
    torch.testing.assert_close(network.full_hessian(trained.net, trained.w, x, y, chunk=7), want)
    v = normal(len(trained.w), seed=5)
    torch.testing.assert_close(
        network.times_hessian(trained.net, trained.w, x, y, v, 0.3), want @ v + 0.3 * v)
    torch.testing.assert_close(trained.g,
                               torch.autograd.functional.jacobian(mean_loss, trained.w))


def test_flat_and_unflat_are_inverse(small):
    net = network.fresh(small, 4, 3)
    w = network.flat(net)
    assert all(torch.equal(p, network.unflat(net, w)[k]) for k, p in net.named_parameters())
    assert network.unflat(net, w.expand(2, -1))["0.weight"].shape == (2, 4, 5)
    assert torch.equal(w, network.flat(network.fresh(small, 4, 3)))
    assert not torch.equal(w, network.flat(network.fresh(small, 4, 4)))


def test_the_weights_stay_in_the_ball_and_a_wide_ball_is_adam(small):
    held = network.fit_in_ball(small, radius=1.5, **RECIPE)
    assert held.norm() <= 1.5 + 1e-12
    free = network.fit_in_ball(small, radius=math.inf, **RECIPE)
    net, order = network.fresh(small, 4, 3), gen(3)
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for t in range(24):
        if t % 4 == 0:
            batches = torch.randperm(40, generator=order).split(10)
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - t / 24)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(small.x[batches[t % 4]]),
                                          small.y[batches[t % 4]]).backward()
        optimizer.step()
    torch.testing.assert_close(free, network.flat(net))


def test_coupled_retraining_meets_the_same_batches_without_the_rows(small):
    """Rows that are left out take no part: whatever they hold, the retrained weights are the same.
    """
    one = network.fit_in_ball(small, small.gone, radius=3.0, **RECIPE)
    x = small.x.clone()
    x[small.gone] += 100.0
    assert torch.equal(one, network.fit_in_ball(replace(small, x=x), small.gone, radius=3.0,
                                                **RECIPE))
    nobody = network.fit_in_ball(small, torch.tensor([], dtype=torch.long), radius=3.0, **RECIPE)
    assert torch.equal(nobody, network.fit_in_ball(small, radius=3.0, **RECIPE))


@pytest.mark.parametrize("damping", [0.5, 2.0])
def test_both_solvers_reach_the_exact_step(trained, damping):
    x, y = trained.stay
    h = network.full_hessian(trained.net, trained.w, x, y)
    exact = torch.linalg.solve(h + damping * torch.eye(len(h)), trained.g)
    torch.testing.assert_close(trained.spectrum.solve(trained.g, damping), exact)
    cg = solvers.by_cg(trained.net, trained.w, x, y, trained.g, damping=damping, steps=80)
    assert solvers.off(cg, exact) < 1e-4

    def product(v):
        return v @ h + damping * v

    found = solvers.lissa(trained.g, product, 2 * (trained.spectrum.ends[1] + damping), 400)
    assert solvers.off(found, exact) < 1e-4


def test_lissa_is_its_series_and_diverges_below_half(trained):
    h = network.full_hessian(trained.net, trained.w, *trained.stay)
    largest = trained.spectrum.ends[1] + 0.5

    def product(v):
        return v @ h + 0.5 * v

    m = torch.eye(len(h)) - (h + 0.5 * torch.eye(len(h))) / (2 * largest)
    series = sum(torch.linalg.matrix_power(m, j) @ trained.g for j in range(6)) / (2 * largest)
    torch.testing.assert_close(solvers.lissa(trained.g, product, 2 * largest, 5), series)
    grown = [solvers.lissa(trained.g, product, largest / 4, n).norm() for n in (10, 20)]
    assert grown[1] > 100 * grown[0] > 100


def test_small_batches_are_fresh_unbiased_and_damped(trained):
    x, y = trained.stay
    v = normal(1, len(trained.w), seed=6)
    product = solvers.batch_products(trained.net, trained.w, x, y, damping=0.3, batch=9, copies=500,
                                     seed=1)
    one = product(v.expand(500, -1))
    assert not torch.equal(one[0], one[1])
    want = network.times_hessian(trained.net, trained.w, x, y, v[0], 0.3)
    error = one.std(0) / 500**0.5
    assert ((one.mean(0) - want).abs() < 5 * error + 1e-9).all()


def test_watch_sees_every_step_and_nothing_is_no_number():
    seen = []
    solvers.lissa(torch.ones(3), lambda v: v, 2.0, 4, lambda t, k: seen.append((t, k.clone())))
    assert [t for t, _ in seen] == [1, 2, 3, 4]
    assert solvers.off(torch.tensor([math.nan]), torch.ones(1)) == math.inf


def test_a_full_step_lowers_the_gradient_and_none_leaves_it(trained):
    found = here.deep.sweep(trained, (0.3, 1e9), trained.w)
    assert found["residual"][0] < 1 and found["residual"][1] == pytest.approx(1)
    assert found["gain"][0] == pytest.approx(-found["step"][0])  # away from where it was
    assert found["step"][1] < 1e-6


def test_the_short_form_is_the_whole_gradient_at_an_optimum(small, trained):
    """∇L over all rows is the weighted mean of those that stay and go."""
    n, m = len(small.y), len(small.gone)
    every = network.gradient(trained.net, trained.w, small.x, small.y)
    torch.testing.assert_close(trained.by_rows(small.gone), trained.g - n / (n - m) * every)


def test_visits_are_counted_by_hand(trained):
    cfg = SimpleNamespace(recipe={"epochs": 5}, copies=2, batch=7)
    assert here.deep.visits(trained, cfg, retraining=True) == 5 * 36
    assert here.deep.visits(trained, cfg, lissa_steps=10) == 36 + 2 * 2 * 7 * 10
    assert here.deep.visits(trained, cfg, cg=3) == 36 + 2 * 36 * 3
    assert here.deep.first_below([0.5, 0.2, 0.05, 0.3], 0.1) == 3
    assert here.deep.first_below([0.5, 0.2], 0.1) == 3
    steps = here.deep.cg_steps(trained, 1.0)
    exact = trained.spectrum.solve(trained.g, 1.0)
    by = [solvers.off(solvers.by_cg(trained.net, trained.w, *trained.stay, trained.g, damping=1.0,
                                    steps=s), exact) for s in (max(1, steps - 1), steps)]
    assert by[1] < 0.1 and (steps == 1 or by[0] >= 0.1)


def test_ten_requests_are_one_in_one_part(trained):
    one = here.deep.one_after_the_other(trained, 1.0, 1, 60)
    torch.testing.assert_close(one, trained.w - trained.spectrum.solve(trained.g, 1.0), rtol=1e-3,
                               atol=1e-5)
    four = here.deep.one_after_the_other(trained, 1.0, 4, 60)
    assert 0 < (four - one).norm()


def test_noise_is_drawn_anew_and_none_changes_nothing(small, trained):
    found = promise.with_noise(trained.net, trained.w, small.x_test, small.y_test, (0.0, 1e6), 5,
                               40)
    assert found[0] == network.right(trained.net, trained.w, small.x_test, small.y_test)
    assert abs(found[1] - 100 / 3) < 12


# ---------------- rows and rules
def test_worlds_are_disjoint_and_small():
    data = load("digits")
    made = rows.world(data, 3, 400, 0.1)
    assert made.x.shape == (400, 64) and made.x.dtype == torch.float64
    assert len(made.gone) == 40 and len(made.stay) == 360
    assert not set(made.gone.tolist()) & set(made.stay.tolist())
    pair = rows.two_classes(data, 3, 100)
    assert set(pair.y.tolist()) == {-1.0, 1.0} and torch.allclose(pair.x.norm(dim=1),
                                                                  torch.ones(100).double())
    both = torch.cat([made.x, made.x_test])
    assert len(torch.unique(both, dim=0)) >= len(both) - 2  # no row twice
    with pytest.raises(LabError, match="Two classes"):
        rows.two_classes(data, 3, 10)


def test_pictures_are_averaged_and_tables_stay():
    assert rows.small(torch.zeros(2, 3, 32, 32)).shape == (2, 48)
    assert rows.small(torch.zeros(2, 1, 28, 28)).shape == (2, 64)
    assert rows.small(torch.ones(2, 30)).shape == (2, 30)
    assert rows.small(torch.ones(1, 1, 28, 28)).mean() == 1.0


def test_the_smallest_ball_that_costs_a_point(monkeypatch):
    table = {5.0: 60.0, 10.0: 79.5, 20.0: 80.4, math.inf: 80.0}
    monkeypatch.setattr(tuning, "balls", lambda *_: table)
    cfg = SimpleNamespace(radii=(5.0, 10.0, 20.0))
    assert tuning.smallest_ball(None, cfg, [1, 2]) == (10.0, table)


def test_the_largest_damping_within_a_tenth(monkeypatch):
    monkeypatch.setattr(tuning, "sweep", lambda t, d: {"residual": np.array([9, 0.5, 0.54, 0.56])})
    assert tuning.damping_of([None], (0.0, 0.1, 1.0, 10.0))[0] == 1.0


def test_regularisation_takes_most_removals_among_the_cheap(task, monkeypatch):
    monkeypatch.setattr(tuning, "two_classes", lambda *_: task)
    cfg = SimpleNamespace(pair_rows=0, limit=20, allowed=5.0)
    best, table, plain = tuning.regularisation(None, cfg, [1])
    top = max(convex.accuracy(convex.solve(task.x, task.y, lam), task.x_test, task.y_test)
              for lam in tuning.LAMBDAS)
    allowed = {s: r for s, (r, a) in table.items() if a >= top - 5.0}
    assert table[best][0] == max(allowed.values()) and plain in tuning.LAMBDAS
