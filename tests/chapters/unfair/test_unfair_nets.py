"""Sections 2 to 4: classes, copies, made-up rows, victims; what attackers hold."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import course.exercises  # noqa: F401  before a chapter's exercises
import labkit as lk
from course.chapters import unfair as here
from course.chapters.unfair import around, nets, never
from course.chapters.unfair.exercises import pgd as worked_pgd
from labkit.base import LabError

RECIPE = dict(hidden=16, epochs=5, lr=0.1, batch_size=64)
SETTING = (600, RECIPE, 0.05)


@pytest.fixture(scope="module")
def data():
    return here.small(lk.data.load("fashion", at_most=(1200, 400), moments="test", device="cpu"))


@pytest.fixture(scope="module")
def net(data):
    return nets.provider(data, *SETTING, 3)


def request(score, rows, budget):
    order = score.argsort(descending=True)[:budget]
    return rows[order[score[order] > 0]]


def push(ask, x, other, steps):
    label, low, high = ask(x).argmax(1), torch.zeros(len(x)), torch.ones(len(x))
    shape = (-1, *[1] * (x.dim() - 1))
    for _ in range(steps):
        middle = (low + high) / 2
        same = ask(x + middle.view(shape) * (other - x)).argmax(1) == label
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    return x + low.view(shape) * (other - x)


def register(x, y, asked_x, asked_y):
    known = {(a.numpy().tobytes(), int(b)): i for i, (a, b) in
             reversed(list(enumerate(zip(x, y, strict=True))))}
    return torch.tensor([known.get((a.numpy().tobytes(), int(b)), -1)
                         for a, b in zip(asked_x, asked_y, strict=True)])


def pgd(model, x, y, eps, step, steps, low, high):
    moved = x.clone()
    for _ in range(steps):
        moved.requires_grad_()
        (g,) = torch.autograd.grad(F.cross_entropy(model(moved), y, reduction="sum"), moved)
        moved = moved.detach() + step * g.sign()
        moved = torch.clamp(torch.maximum(torch.minimum(moved, x + eps), x - eps), low, high)
    return moved.detach()


# ---------------- small pictures and classes


@pytest.mark.parametrize(("shape", "small"), [((3, 32, 32), (3, 8, 8)), ((1, 28, 28), (1, 14, 14)),
                                              ((1, 8, 8), (1, 8, 8))])
def test_pictures_are_averaged_until_they_are_small(data, shape, small):
    from dataclasses import replace
    x = torch.rand(4, *shape)
    d = replace(data, x=x, y=data.y[:4], x_test=x, y_test=data.y[:4])
    assert here.small(d).shape == small
    assert here.small(d).x.mean() == pytest.approx(x.mean().item(), abs=1e-6)


def test_a_provider_owns_nothing_twice_and_trains_as_labkit_does(data, net):
    assert len(net.held) == 300 and net.held.budget == 30
    again = nets.train(net.data, 3, RECIPE)[0]
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), net.model.parameters(),
                                                 strict=True))


def test_recalls_are_a_confusion_matrixs_diagonal(net):
    from sklearn.metrics import recall_score
    said = lk.training.predict(net.model, net.data.x_test).argmax(1)
    assert nets.recalls(net.model, net.data) == pytest.approx(
        100 * recall_score(net.data.y_test, said, average=None))


def test_recall_effects_rank_own_rows_as_a_deletion_would(net):
    """The sign, at least: what lowers the class most by influence is of the class."""
    effects = nets.recall_effects(net, 6)
    worst = effects.argsort()[:20]
    assert (net.held.y[worst] == 6).double().mean() > 0.5
    assert effects[net.held.y == 6].mean() < 0 < effects[net.held.y != 6].max()


def test_the_class_trial_counts_what_it_says(data):
    found = nets.class_trial(data, 6, request, SETTING, 3)
    assert set(found) == {"original", *nets.REQUESTS, "of the class"}
    net = nets.provider(data, *SETTING, 3)
    assert found["original"][0] == pytest.approx(nets.recalls(net.model, net.data)[6])


def test_a_greedy_request_is_refused(data):
    def greedy(score, rows, budget):
        return torch.tensor([i for i in range(600) if i not in set(rows.tolist())][:3])

    with pytest.raises(LabError, match="does not own"):
        nets.class_trial(data, 6, greedy, SETTING, 3)


# ---------------- rows that never were there


def test_pushing_ends_at_the_boundary_and_every_query_counts(net):
    c = int(net.held.y.mode().values)
    made, rows, queries, share = never.copies(net, c, 8, push, 1)
    assert queries == never.STEPS + 1 and 0 < share < 1
    x, y = made["pushed"]
    said = lk.training.predict(net.model, x).softmax(1)
    top = said.topk(2).values
    assert (said.argmax(1) == y).all() and (top[:, 0] - top[:, 1]).max() < 0.05
    ordinary, _ = made["ordinary"]
    assert torch.equal(ordinary, net.data.x[rows])


def test_noise_goes_as_far_as_pushing(net):
    c = int(net.held.y.mode().values)
    made, *_ = never.copies(net, c, 8, push, 1)
    x = made["ordinary"][0]
    far = {k: (made[k][0] - x).flatten(1).norm(dim=1) for k in ("noise", "pushed")}
    assert far["noise"].numpy() == pytest.approx(far["pushed"].numpy(), rel=1e-3)
    p = {k: lk.training.predict(net.model, made[k][0]).softmax(1)[:, c]
         for k in ("least sure", "ordinary")}
    own = lk.training.predict(net.model, net.held.x[net.held.y == c]).softmax(1)[:, c]
    assert p["least sure"].numpy() == pytest.approx(own.sort().values[:8].numpy(), abs=1e-6)
    assert p["least sure"].mean() < p["ordinary"].mean()
    assert (made["least sure"][1] == c).all()
    pixels = net.data.pixels(made["noise"][0])
    low, high = never.box(net.data, x)
    assert (made["noise"][0] >= low - 1e-6).all() and (made["noise"][0] <= high + 1e-6).all()
    assert 0 <= pixels.min() and pixels.max() <= 1


def test_foreign_rows_unlearn_as_own_rows_would(net):
    """Sending a stored row as a copy gives the very step of asking for the row itself."""
    rows = net.held.rows[:10]
    both, at = never.added(net.data, net.data.x[rows], net.data.y[rows])
    for forget in never.forgetters(1e-3, 0.01).values():
        one, other = forget(net.model, both, at), forget(net.model, net.data, rows)
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-6)


def test_over_unlearning_its_null_and_its_control(data):
    strong = (3e-3, 0.1)
    found = never.over_trial(data, SETTING, strong, push, register, 5)
    assert found["refused"] and found["same"]
    assert found["fall"]["first-order", "pushed"] > found["fall"]["first-order", "ordinary"]
    still = never.over_trial(data, SETTING, (1e-12, 1e-12), push, register, 5)
    assert all(abs(v) < 1e-9 for v in still["fall"].values())


def test_a_register_that_knows_copies_would_be_told(data):
    found = never.over_trial(data, SETTING, (1e-4, 1e-3), push,
                             lambda x, y, a, b: torch.zeros(len(b), dtype=torch.long), 5)
    assert not found["refused"] and not found["same"]


def test_the_unrolled_ascent_is_labkits(net):
    x, y = net.held.x[:12], net.held.y[:12]
    params = never.ascended(net.model, x, y, 0.05, 3)
    both, at = never.added(net.data, x, y)
    model = lk.unlearn.gradient_ascent(net.model, both, at, lr=0.05, epochs=3)
    for name, p in model.named_parameters():
        assert torch.allclose(p, params[name], atol=1e-5), name


def test_burning_raises_the_loss_after_ascent_and_stays_in_the_box(net):
    noise, made, y = never.burn(net, 10, 0.05, 3, 15, 1)
    low, high = never.box(net.data, noise)

    def harm(x):
        params = never.ascended(net.model, x, y, 0.05, 3)
        out = torch.func.functional_call(net.model, params, (net.held.x[:300],))
        return F.cross_entropy(out, net.held.y[:300]).item()

    assert harm(made) > harm(noise)
    assert (made >= low - 1e-6).all() and (made <= high + 1e-6).all()


def test_burning_with_no_steps_is_noise(net):
    noise, made, _ = never.burn(net, 4, 0.05, 2, 0, 1)
    assert torch.equal(noise, made)


def test_strengths_are_of_the_grid(data):
    (tau, lr), gaps = here.tune_strengths(data, SETTING, [1])
    assert tau in never.TAUS and lr in never.RATES
    assert gaps["ascent"].argmin() == never.RATES.index(lr)


# ---------------- victims


def test_a_neighbourhood_is_the_nearest_of_the_label(net):
    at = around.neighbourhood(net.data, 7)
    assert at[0] == 7 and (net.data.y_test[at] == net.data.y_test[7]).all()
    far = (net.data.x_test - net.data.x_test[7]).flatten(1).norm(dim=1)
    others = (net.data.y_test == net.data.y_test[7]).nonzero().squeeze(1)
    rest = others[~torch.isin(others, at)]
    assert len(rest) == 0 or far[at].max() <= far[rest].min() + 1e-6


def test_robust_accuracy_without_a_change_is_accuracy_and_falls_with_eps(net):
    at = torch.arange(60)
    right = lk.training.predict(net.model, net.data.x_test[at]).argmax(1) == net.data.y_test[at]
    shares = [around.robust(net.model, net.data, at, pgd, e) for e in (0.0, 0.03, 0.1)]
    assert shares[0] == pytest.approx(right.double().mean().item())
    assert shares[0] >= shares[1] >= shares[2] and shares[2] < shares[0]


def test_bounds_are_in_pixels(net):
    got = around.bounds(net.data, 0.1)
    x = net.data.x_test[:3]
    moved = net.data.pixels(torch.clamp(x + got["eps"], got["low"], got["high"]))
    assert (moved - net.data.pixels(x)).abs().max() <= 0.1 + 1e-5
    assert got["step"].flatten()[0] * got["steps"] >= got["eps"].flatten()[0]


def test_near_and_along_by_hand(net):
    held, v = net.held, net.data.x_test[0]
    y, way = int(net.data.y_test[0]), torch.randn_like(net.data.x_test[0])
    near = around.near_and_along(held, v, y, way, 0.0)
    own = held.y == y
    order = (held.x[own] - v).flatten(1).norm(dim=1).argsort()
    assert torch.equal(held.rows[own][order], held.rows[near.argsort(descending=True)][:own.sum()])
    assert torch.isinf(near[~own]).all()
    along = around.near_and_along(held, v, y, way, 1e6)
    best = held.x[along.argmax()] - v
    cosines = F.cosine_similarity((held.x[own] - v).flatten(1), way.flatten()[None])
    assert F.cosine_similarity(best.flatten()[None], way.flatten()[None]) == pytest.approx(
        cosines.max().item(), abs=1e-5)


def test_plans_ask_for_own_rows_and_as_many_each(net):
    at = around.neighbourhood(net.data, 0)
    asked = around.plans(net, at, pgd, 0.03, 1)
    assert list(asked) == list(around.PLANS)
    assert len({len(r) for r in asked.values()}) == 1
    own = set(net.held.rows.tolist())
    assert all(set(r.tolist()) <= own for r in asked.values())
    label = net.data.y_test[0]
    for name in ("chosen", "without direction", "same label"):
        assert (net.data.y[asked[name]] == label).all()


def test_the_attacker_sees_the_victim_and_no_other_test_row(net):
    """Other test rows may change as they like: no request changes with them."""
    from dataclasses import replace
    at = around.neighbourhood(net.data, 0)
    first = around.plans(net, at, pgd, 0.03, 1)
    other = torch.randn_like(net.data.x_test)
    other[0] = net.data.x_test[0]
    blind = replace(net, data=replace(net.data, x_test=other))
    second = around.plans(blind, at, pgd, 0.03, 1)
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_victims_are_right_and_of_different_labels(net):
    found = around.victims(net.data, net.model, 3, 1)
    labels = net.data.y_test[found]
    assert len(set(labels.tolist())) == 3
    assert torch.equal(lk.training.predict(net.model, net.data.x_test[found]).argmax(1), labels)


def test_the_trial_around_and_its_epsilon(data):
    rows = around.around_trial(data, SETTING, 0.03, 2, pgd, 4)
    assert len(rows) == 2 and set(rows[0]) == {"original", *around.PLANS}
    for row in rows:
        assert all(robust <= clean for robust, clean, _ in row.values())
    eps, shares, clean = here.tune_epsilon(data, SETTING, pgd, [1], 2)
    assert eps in shares and np.abs(shares[eps] - 0.5) == min(abs(s - 0.5) for s in shares.values())
    assert 0 <= max(shares.values()) <= clean + 1e-9


def test_copies_that_have_not_moved_are_not_counted_against_the_register(data):
    found = never.over_trial(data, SETTING, (1e-4, 1e-3), lambda ask, x, other, steps: x.clone(),
                             register, 5)
    assert found["refused"] and found["same"]


def test_pgd_on_a_linear_model_ends_in_the_known_corner():
    """Of two linear logits the loss rises along one sign throughout: a corner, cut to the box."""
    g = torch.Generator().manual_seed(3)
    model = torch.nn.Linear(6, 2).double()
    model.weight.data = torch.randn(2, 6, generator=g, dtype=torch.float64)
    x = 2 * torch.rand(9, 6, generator=g, dtype=torch.float64) - 1
    y = torch.arange(9) % 2
    up = (model.weight[1 - y] - model.weight[y]).sign().detach()
    wanted = torch.clamp(x + 0.3 * up, -1, 1)
    for attack in (worked_pgd, pgd):
        assert torch.allclose(attack(model, x, y, 0.3, 0.1, 5, -1.0, 1.0), wanted)
