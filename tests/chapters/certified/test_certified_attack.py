"""The attack on the cost of removal, and the receipts: what each may hold, and what each does."""

import importlib
import inspect

import pytest
import torch

from course.chapters.certified import convex, receipts, rows, slow
from labkit.attack import Holdings, check_request, hold
from labkit.base import LabError

LAM = 0.02


def normal(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def made(seed, n=140, d=8):
    x = normal(n, d, seed=seed)
    y = torch.where(normal(n, seed=seed + 1) > 0, 1.0, -1.0).double()
    x[:, 0] += 1.2 * y
    x = rows.unit(x)
    half = (n - 20) // 2
    provider = rows.World(x[:half], y[:half], x[-20:], y[-20:], torch.arange(5), 2, seed)
    return provider, (x[half:2 * half], y[half:2 * half])


@pytest.fixture
def scene():
    provider, known = made(3)
    return provider, known, hold(provider, torch.arange(8), 8)


def test_influence_is_how_far_the_removal_moves_the_weights(scene):
    provider, _, own = scene
    w = convex.solve(provider.x, provider.y, LAM)
    for i in range(3):
        rest = torch.arange(len(provider.y)) != i
        inverse = torch.linalg.inv(convex.hessian(w, provider.x[rest], LAM))
        found = slow.influence(own.x[i:i + 1], own.y[i:i + 1], w, inverse, LAM)
        new = convex.removal(w, provider.x[rest], provider.y[rest], own.x[i], own.y[i], LAM)
        assert float(found) == pytest.approx(float((new - w).norm()))


@pytest.mark.parametrize("size", [0.1, 0.5])
def test_poison_stays_in_its_ball_and_raises_the_score(scene, size):
    provider, known, own = scene
    before = own.x.clone()
    found = slow.poison(own, *known, size, lam=LAM)
    assert torch.equal(own.x, before)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(8).double())
    # the row before it was scaled lies within size, so the scaled one lies at most so far away
    assert ((found - own.x).norm(dim=1) <= size / (1 - size / 2) + 1e-9).all()

    def score(x):
        everything = torch.cat([known[0], x]), torch.cat([known[1], own.y])
        w = convex.solve(*everything, LAM)
        inverse = torch.linalg.inv(convex.hessian(w, everything[0], LAM))
        return slow.influence(x, own.y, w, inverse, LAM).sum()

    assert score(found) > score(own.x)
    assert score(found) > score(slow.shaken(own, size, 1))


def test_size_nought_leaves_the_rows(scene):
    _, known, own = scene
    torch.testing.assert_close(slow.poison(own, *known, 0.0, lam=LAM), own.x)


def test_the_null_moves_as_far_and_in_no_direction(scene):
    own = scene[2]
    a, b = slow.shaken(own, 0.3, 1), slow.shaken(own, 0.3, 2)
    assert not torch.equal(a, b)
    torch.testing.assert_close(slow.shaken(own, 0.3, 1), a)
    torch.testing.assert_close(a.norm(dim=1), torch.ones(8).double())


def test_poisoned_rows_fill_the_budget_sooner_and_random_ones_hardly(scene):
    totals = {"plain": 0, "random": 0, "poison": 0}
    for seed in range(5):
        provider, known = made(10 * seed)
        own = hold(provider, torch.arange(8), 8)
        for name, x in (("plain", own.x), ("random", slow.shaken(own, 0.4, seed)),
                        ("poison", slow.poison(own, *known, 0.4, lam=LAM))):
            totals[name] += slow.removals(provider, x, convex.removal, lam=LAM, sigma=3.0,
                                          limit=30)["removals"]
    assert totals["poison"] < 0.7 * totals["random"] and totals["random"] > 0.5 * totals["plain"]


def test_the_attacker_reaches_no_row_of_the_provider(scene):
    """It is given copies of its own rows, and a collection that shares nothing with the provider's.
    """
    provider, known, own = scene
    assert isinstance(own, Holdings)
    own.x[0] = 7.0
    assert not (provider.x == 7.0).any()
    with pytest.raises(LabError, match="does not own"):
        check_request([20], own)
    for attack in (slow.poison, slow.shaken, slow.handed_in):
        assert not {"provider", "task", "data", "b", "sigma"} & set(
            inspect.signature(attack).parameters)
    both, theirs = slow.split(_digits(), 4, 60)
    far = torch.cdist(both.x, theirs[0])
    assert far.min() > 1e-6 and torch.cdist(both.x_test, theirs[0]).min() > 1e-6


def _digits():
    from labkit.data import load
    return load("digits")


def test_what_a_learner_hands_in_is_moved_back(scene):
    _, known, own = scene

    def greedy(x, y, known_x, known_y, size, lam):
        known_x += 1.0  # a copy
        return x + 5.0

    before = known[0].clone()
    found = slow.handed_in(greedy, own, *known, 0.2, LAM)
    assert torch.equal(known[0], before)
    assert ((found - own.x).norm(dim=1) <= 0.2 / 0.9 + 1e-9).all()
    torch.testing.assert_close(slow.within(own.x + 1.0, own.x, 0.2).sub(own.x).norm(dim=1),
                               torch.full((8,), 0.2).double())


def test_the_projects_solution_beats_chance_on_the_ledger():
    importlib.import_module("course.exercises")  # first: it loads the chapters' exercises
    given = importlib.import_module("course.chapters.certified.exercises")
    for _, case in given._poison_cases():
        best, floor = given.written(given.costly_rows(*case), *case), given.half_way(*case)
        chance = given.written(given._at_random(*case), *case)
        assert best > floor > chance
        with pytest.raises(ValueError, match="at most"):
            given.written(case[0] + 1.0, *case)
        with pytest.raises(ValueError, match="shape"):
            given.written(case[0][:2], *case)


# ---------------- receipts
@pytest.fixture
def audited():
    provider, _ = made(5)
    return receipts.trial(provider, lam=LAM, sigma=1.0, rows=[0, 1, 2],
                          survives=receipts.survives)


def test_real_receipts_pass_and_those_for_nothing_do_not(audited):
    assert audited[receipts.REAL] == audited[receipts.RETRAINED] == [True, True, True]
    assert audited["nothing done"] == [False, False, False]
    assert audited["a little noise"] == [True, False, False]
    assert audited["noise, ids checked"] == [True, True, False]
    assert audited["a hundredth of the step"][2] is False
    assert audited["nearer than it was"] == [True] and audited["another b"][2] is False


def test_a_removal_ends_near_retraining():
    provider, _ = made(5)
    b = normal(8, seed=1)
    real = receipts.Provider(receipts.REAL, provider, lam=LAM, b=b)
    exact = receipts.retrained(provider, [0, 1, 2], LAM, b)
    after, receipt = real.delete([0, 1, 2])
    assert (after - exact).norm() < 0.1 * (real.weights - exact).norm()
    assert receipt.rows == (0, 1, 2)
    torch.testing.assert_close(
        receipts.Provider(receipts.RETRAINED, provider, lam=LAM, b=b).delete([0, 1, 2])[0], exact)
    keep = torch.arange(len(provider.y)) > 2
    torch.testing.assert_close(exact, convex.solve(provider.x[keep], provider.y[keep], LAM, b))


def test_an_unknown_id_is_refused_by_who_looks():
    provider, _ = made(5)
    for kind, refuses in ((receipts.REAL, True), (receipts.RETRAINED, True),
                          ("nothing done", False), ("a little noise", False),
                          ("noise, ids checked", True), (receipts.OTHER, True)):
        made_up = receipts.Provider(kind, provider, lam=LAM, b=normal(8, seed=1))
        if refuses:
            with pytest.raises(LabError, match="not here"):
                made_up.delete([0, 10**6])
        else:
            made_up.delete([0, 10**6])


def test_the_receipts_look_alike():
    """Nothing in the text tells them apart: that is why they have to be tested."""
    provider, _ = made(5)
    seen = {receipts.Provider(kind, provider, lam=LAM, b=normal(8, seed=1)).delete([0, 1])[1]
            for kind in (receipts.REAL, receipts.RETRAINED, receipts.OTHER, *receipts.FAKES)}
    assert len(seen) == 1


def test_the_tests_get_weights_and_nothing_of_the_provider():
    provider, _ = made(5)
    got = []

    def survives(*given):
        got.extend(given)
        return receipts.survives(*given)

    receipts.trial(provider, lam=LAM, sigma=1.0, rows=[0], survives=survives)
    assert {type(g) for g in got} == {torch.Tensor, bool}
    assert not any(g is provider.x for g in got)
