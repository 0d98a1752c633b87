"""Oracles of the chapter on backdoors: closed forms, brute force, nulls, and who holds what."""

import math
from dataclasses import FrozenInstanceError, fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course.chapters.backdoors import (
    approximate,
    desk,
    influential,
    matching,
    runs,
    telling,
    worlds,
)
from labkit import data as datasets
from labkit import training, unlearn
from labkit.verify import backdoor

CFG = SimpleNamespace(n=300, own=150, poison=12, camouflage=20, hidden=12, fewer=8, free_share=0.1,
                      recipe={"epochs": 6, "lr": 0.1, "batch_size": 32}, sizes=(4,))


def stamp(images, side, value):
    images = images.clone()
    images[..., -side:, -side:] = value
    return images


def success(answers, labels, target):
    others = labels != target
    return float((answers.argmax(1)[others] == target).float().mean())


def contribution(labels, order, target, poison, camouflage):
    rows = order[labels[order] != target]
    return rows[:poison], rows[:camouflage]


def matching_loss(model, images, labels, direction):
    loss = F.cross_entropy(model(images), labels)
    g = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    return 1 - F.cosine_similarity(torch.cat([p.flatten() for p in g]), direction, dim=0)


@pytest.fixture(scope="module")
def data():
    return datasets.load("digits", at_most=(900, 300))


@pytest.fixture(scope="module")
def world(data):
    return worlds.make(data, 4, CFG, stamp, contribution)


@pytest.fixture(scope="module")
def nets(world):
    return worlds.trained(world, CFG.recipe, CFG.hidden)


# ------------------------------------------------------------------ worlds


def test_provider_and_outsider_share_no_row(data):
    rows, own = worlds.split(data, 3, 300, 150)
    assert len(rows) == 300 and len(own) == 150 and not torch.isin(own, rows).any()
    few, mine = worlds.split(data, 3, 3000, 1500)
    assert len(few) == 2 * len(mine) == 600


def test_what_is_handed_in(data, world):
    assert len(world.data.y) == 300 + 12 + 20 and world.target == 4
    bad, good = world.data.x[world.poison], world.data.x[world.camouflage]
    assert (world.data.y[world.poison] == 4).all()
    assert (world.data.y[world.camouflage] != 4).all()
    side = worlds.corner(data)
    assert (good[..., -side:, -side:] == worlds.levels(data, 1.0)).all()
    assert (bad[..., -side:, -side:] == worlds.levels(data, 0.7)).all()
    assert torch.equal(bad[..., :-side, :], good[:12, :, :-side, :])  # the same pictures
    assert torch.equal(worlds.levels(data, 1.0) * torch.ones(1), data.x.max()[None])


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 15, 21), (1, 28, 28)])
def test_the_square_is_the_trigger_of_the_owners(data, shape):
    made = replace(data, x=torch.rand(5, *shape), y=torch.arange(5), x_test=torch.rand(5, *shape),
                   y_test=torch.arange(5))
    wanted = backdoor.stamp(made.x, worlds.trigger(made, 2))
    assert torch.equal(worlds.stamper(made, stamp)(made.x), wanted)


def test_exact_deletion_is_retraining(world, nets):
    from labkit import models

    def build(seed):
        return models.build("mlp", world.data, seed, hidden=CFG.hidden)
    again = unlearn.retrain(nets["before"], world.data, world.camouflage, build=build,
                            seed=world.seed, **CFG.recipe)
    for p, q in zip(again.parameters(), nets["after"].parameters(), strict=True):
        assert torch.allclose(p, q, atol=2e-3)


def test_deleted_rows_leave_no_trace(world, nets):
    noise = torch.randn(len(world.camouflage), *world.data.shape)
    other = worlds.with_camouflage(world, noise, torch.zeros(len(noise), dtype=torch.long))
    again = worlds.networks(other, {"after": other.camouflage}, CFG.recipe, CFG.hidden)["after"]
    alone = worlds.networks(world, {"after": world.camouflage}, CFG.recipe, CFG.hidden)["after"]
    for p, q in zip(again.parameters(), alone.parameters(), strict=True):
        assert torch.equal(p, q)


def test_controls_of_an_untouched_network(world, nets):
    found = runs.results([world], [nets], success)
    assert set(found) == {"before", "after", "no camouflage", "clean", "unrelated"}
    assert found["after"]["asr"][0] > found["clean"]["asr"][0] + 0.2  # the effect
    away = worlds.asr(nets["after"], world, success, worlds.elsewhere(world))
    assert away < found["after"]["asr"][0]
    bare = worlds.plain(nets["after"], world, success)
    p = training.predict(nets["after"], world.data.x_test).argmax(1)
    others = world.data.y_test != world.target
    assert bare == pytest.approx(float((p[others] == world.target).float().mean()))
    assert 0 <= found["clean"]["accuracy"][0] <= 100


def test_elsewhere_stamps_the_opposite_corner(world):
    x = torch.zeros(2, *world.data.shape)
    moved = worlds.elsewhere(world)(x)
    side = worlds.corner(world.data)
    assert (moved[..., :side, :side] != 0).all() and moved[..., side:, side:].abs().sum() == 0


def test_an_outsider_holds_nothing_of_the_provider(world):
    mine = world.outsider()
    assert {f.name for f in fields(mine)} == {"x", "y", "poison", "target", "stamp", "seed",
                                              "shape", "n_classes"}
    for name in ("data", "camouflage", "n", "x_test", "y_test"):
        with pytest.raises(AttributeError):
            getattr(mine, name)
    with pytest.raises(FrozenInstanceError):
        mine.x = world.data.x
    provider = world.data.x[:world.n].flatten(1)
    assert torch.cdist(mine.x.flatten(1), provider).min() > 0
    mine.x.zero_(), mine.poison.zero_()  # copies: the provider's rows do not feel it
    assert world.x.abs().sum() > 0 and world.data.x[world.poison].abs().sum() > 0


def test_the_chosen_camouflage_sees_own_rows_only(world, nets):
    seen = []

    def spy(images, labels, poison, label, stamped, fit, count):
        seen.append((images, labels, poison))
        return (labels != label).nonzero().squeeze(1)[:count]
    before, after, score = desk.project([world], spy, CFG, success)
    images, labels, poison = seen[0]
    assert torch.equal(images, world.x) and torch.equal(labels, world.y)
    assert torch.equal(poison, world.data.x[world.poison])
    assert before.shape == after.shape == score.shape == (1,) and score[0] > 0


# ------------------------------------------------------------------ many at once


def test_shards_part_the_rows_and_average(world):
    nets = runs.sharded(world, 3, world.camouflage, CFG.recipe, CFG.hidden)
    x = world.stamp(world.data.x_test)
    p = torch.stack([training.predict(m, x).softmax(1) for m in nets]).mean(0)
    assert runs.sharded_asr(nets, world, success) == pytest.approx(
        success(p, world.data.y_test, world.target))
    # what falls to a shard and is deleted has no say in any
    noise = torch.randn(len(world.camouflage), *world.data.shape)
    other = worlds.with_camouflage(world, noise, world.data.y[world.camouflage])
    again = runs.sharded(other, 3, other.camouflage, CFG.recipe, CFG.hidden)
    for a, b in zip(nets, again, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_a_grid_has_one_exact_deletion_for_all_counts(data):
    grid = runs.grid(data, [4], CFG, stamp, contribution, ((6, 12), (5, 20)), success)
    assert set(grid) == {(6, 5), (6, 20), (12, 5), (12, 20)}
    assert grid[6, 5][1] == grid[6, 20][1]


def test_counting_all_rows_counts_the_class_itself(world, nets):
    p = training.predict(nets["clean"], world.stamp(world.data.x_test)).argmax(1)
    assert runs.counted_on_all([world], [nets["clean"]])[0] == pytest.approx(
        float((p == world.target).float().mean()))


def test_approximate_nulls(world, nets, monkeypatch):
    monkeypatch.setattr(approximate, "GRID", {"nothing": (lambda m, d, f, lr: m, "lr", (1,))})
    found = approximate.rises([world], [nets], {"nothing": 1}, success)["nothing"]
    assert found["camouflage"] == found["unrelated"] == found["plain"] == [0.0]
    assert found["level"] == [worlds.asr(nets["before"], world, success)]


def test_tuning_takes_the_smallest_gap(world, nets, monkeypatch):
    def method(model, data, forget, which):
        return nets[which]
    monkeypatch.setattr(approximate, "GRID", {"pick": (method, "which", ("clean", "after"))})
    assert approximate.tuned([world], [nets]) == {"pick": "after"}


def test_a_warm_start_changes_a_copy(world, nets):
    old = [p.clone() for p in nets["before"].parameters()]
    new = approximate.warm(world, nets["before"], CFG.recipe)
    pairs = list(zip(old, nets["before"].parameters(), new.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)


# ------------------------------------------------------------------ the desk


def test_gini_of_sure_and_even_answers():
    p = torch.tensor([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]])
    assert desk.gini(p).tolist() == [0, 0.75, 0.5]


def test_features_by_hand():
    rows = np.array([[0.2, 1.0, 3.0, 0.0], [0.4, 3.0, 0.0, 4.0]])
    assert desk.features(rows) == pytest.approx([0.3, 2.0, 3.0, math.hypot(1.5, 2.0)])


def test_looks_by_hand(world, nets):
    x, y = world.data.x[:7], world.data.y[:7]
    rows, logits = desk.looks(nets["before"], x, y), training.predict(nets["before"], x)
    p = logits.softmax(1)
    assert rows[:, 0] == pytest.approx((1 - (p**2).sum(1)).numpy(), abs=1e-6)
    assert rows[:, 1] == pytest.approx(-p[range(7), y].log().numpy(), abs=1e-5)
    assert rows[3, 2 + int(y[3])] == pytest.approx(float(p[3, y[3]]) - 1, abs=1e-6)


def test_a_desk_lets_harmless_requests_pass_and_stops_outliers(world, nets):
    asked = desk.benign(world, nets["before"], 20)
    one = desk.Desk(world, nets["before"], asked)
    scores = desk.benign_scores(world, nets["before"], asked)
    assert scores.shape == (4 * desk.HELD,)
    for values in one.held.values():
        assert (values > one.limit).sum() <= 1
    wrong = replace(world.data, y=(world.data.y + 1) % world.data.n_classes)
    odd = desk.Desk(replace(world, data=wrong), nets["before"], asked)
    odd._streams, odd.limit = one._streams, one.limit  # the desk of the true labels
    assert odd.score(world.unrelated()) > odd.limit


def test_the_distance_is_mahalanobis_of_the_nearest_stream(world, nets):
    one = desk.Desk(world, nets["before"], desk.benign(world, nets["before"], 20))
    m, s, p = one._streams[2]
    assert one._distance(m) == 0
    v = m + 0.1 * s
    found = [math.sqrt(((v - a) / b) @ q @ ((v - a) / b)) for a, b, q in one._streams]
    assert one._distance(v) == pytest.approx(min(found))


# ------------------------------------------------------------------ influence


@pytest.fixture(scope="module")
def linear():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))


def test_effects_are_inner_products_of_gradients(linear):
    x, y = torch.randn(6, 4), torch.randint(3, (6,))
    s = {k: torch.randn_like(v) for k, v in linear.named_parameters()}
    found = influential.effects(linear, x, y, s)
    for i in range(6):
        loss = F.cross_entropy(linear(x[i:i + 1]), y[i:i + 1])
        g = torch.autograd.grad(loss, list(linear.parameters()))
        brute = sum((a * b).sum() for a, b in zip(g, s.values(), strict=True))
        assert float(found[i]) == pytest.approx(float(brute), abs=1e-5)


def test_towards_solves_the_linear_system(linear, monkeypatch):
    monkeypatch.setattr(influential, "CG", 60)
    x, y, bad = torch.randn(40, 4), torch.randint(3, (40,)), torch.randn(5, 4)
    found = influential.towards(linear, x, y, bad, 1)
    flat = torch.cat([p.detach().flatten() for p in linear.parameters()])

    def loss(w, rows, labels):
        return F.cross_entropy(rows @ w[:12].view(3, 4).T + w[12:], labels)
    h = torch.autograd.functional.hessian(lambda w: loss(w, x, y), flat)
    g = torch.autograd.functional.jacobian(lambda w: loss(w, bad, torch.ones(5).long()), flat)
    wanted = torch.linalg.solve(h + influential.DAMPING * torch.eye(15), g)
    assert torch.allclose(torch.cat([v.flatten() for v in found.values()]), wanted, atol=1e-3)


def test_pushed_pixels_stay_near_and_get_more_influential(world):
    mine = world.outsider()
    x, y = world.data.x[world.camouflage], world.data.y[world.camouflage]
    net = influential.surrogate(mine, x, y, CFG.recipe, CFG.hidden)
    s = influential.towards(net, mine.x, mine.y, mine.stamp(mine.x[:50]), mine.target)
    found = influential.pushed(net, x, y, s, x, 0.1)
    assert (found - x).abs().max() <= 0.1 + 1e-6
    assert x.min() - 1e-6 <= found.min() and found.max() <= x.max() + 1e-6
    assert influential.effects(net, found, y, s).mean() < influential.effects(net, x, y, s).mean()


def test_influential_camouflage_keeps_its_square(world):
    x, y = world.data.x[world.camouflage], world.data.y[world.camouflage]
    found = influential.influential(world.outsider(), x, y, CFG.recipe, CFG.hidden)
    assert torch.equal(world.stamp(found), found) and not torch.equal(found, x)
    noise = influential.noisy(world, x, 0.1) - x
    size = 0.1 * float(world.x.max() - world.x.min())
    assert float(noise.std()) == pytest.approx(size, rel=0.1)


def test_without_poison_has_its_null(data):
    found = influential.without_poison(data, [4, 5], CFG, stamp, contribution, success)
    assert set(found) == {f"{k}{e}" for k in ("all rows", "chosen", "random")
                          for e in ("", ", no square")}
    assert all(0 <= v <= 1 for values in found.values() for v in values)


# ------------------------------------------------------------------ matching


@pytest.fixture(scope="module")
def pair(data):
    classes = matching.confused_pairs(data, 1)[0]
    return matching.pair_of(data, classes, 1, 3, rows=200)


def test_pairs_share_no_class(data):
    first, second = matching.confused_pairs(data, 2)
    assert len({*first, *second}) == 4


def test_the_gradient_of_a_linear_model_in_closed_form(linear):
    x, y = torch.randn(9, 4), torch.randint(3, (9,))
    error = linear(x).softmax(1) - F.one_hot(y, 3)
    wanted = torch.cat([(error.T @ x / 9).flatten(), error.mean(0)])
    assert torch.allclose(matching.gradient(linear, x, y), wanted, atol=1e-6)


def test_brewed_rows_stay_near_and_point_the_way(linear):
    x, y, way = torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1]), torch.randn(15)
    found, (first, last) = matching.brewed(linear, x, y, way, matching_loss)
    size = matching.EPSILON * float(x.max() - x.min())
    assert (found - x).abs().max() <= size + 1e-6 and last < first
    assert x.min() <= found.min() + 1e-6 and found.max() <= x.max() + 1e-6


def test_targets_are_right_and_near_the_border(pair):
    p = training.predict(matching.clean(pair, 1), pair.targets).softmax(1)
    sure = p.gather(1, pair.truth[:, None]).squeeze(1) - 0.5
    assert (sure > 0).all() and (sure <= matching.MARGIN).all()


def test_places_of_others():
    every, others = matching._places(10, 3, 2)
    assert every.tolist() == [10, 11, 12, 13, 14, 15]
    assert [o.tolist() for o in others] == [[12, 13, 14, 15], [10, 11, 14, 15], [10, 11, 12, 13]]


def test_no_brewing_no_attack(pair, monkeypatch):
    monkeypatch.setattr(matching, "_brew", lambda pair, model, way, draws, loss: (
        [(pair.x[rows], pair.y[rows]) for rows in draws], pair.x[0], [(1.0, 1.0)]))
    monkeypatch.setattr(matching, "POISON", 1), monkeypatch.setattr(matching, "CAMOUFLAGE", 1)
    null = matching.attacked(pair, 3, matching_loss)
    assert abs(null["margin"]["after"] - null["margin"]["clean"]).max() < 0.1


def test_brewing_opens_the_door(pair):
    found = matching.attacked(pair, 3, matching_loss)
    assert set(found) >= {"clean", "before", "after", "poisoned", "pictures", "margin"}
    assert found["margin"]["after"].mean() < found["margin"]["before"].mean()
    assert (found["after"] == (found["margin"]["after"] < 0.5)).all()


# ------------------------------------------------------------------ words


def test_words():
    assert telling.side([0.5, 0.6, 0.55], "up", "down", "open") == "up"
    assert telling.side([-0.5, -0.6, -0.55], "up", "down", "open") == "down"
    assert telling.side([0.5, -0.6, 0.05], "up", "down", "open") == "open"
    assert telling.beyond({"a": [0.5, 0.6, 0.5], "b": [0.1, -0.1, 0]}) == ["a"]
    assert telling.places("c", ["x", "y"]) == "x: {c.x}; y: {c.y}"
    assert telling.less([1, 2], [0.5, 1]).tolist() == [0.5, 1]
