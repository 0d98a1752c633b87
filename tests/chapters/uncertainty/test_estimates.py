"""Temperature, conformal sets and MC dropout against known answers; dropout in training and its
random numbers.
"""

import copy
import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

import labkit as lk
from course.chapters import uncertainty as chapter
from labkit.base import LabError
from labkit.training import fit, fit_many, fit_packed

D, K = 6, 3
RECIPE = dict(epochs=3, lr=0.2, batch_size=16)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def rows(n=90, seed=0):
    g = generator(seed)
    x = torch.randn(n, D, generator=g)
    return x, (x @ torch.randn(D, K, generator=g)).argmax(1)


def build(seed=0, **settings):
    return lk.models.build("mlp", SimpleNamespace(shape=(D,), n_classes=K, x=torch.zeros(1)), seed,
                           **{"hidden": 8, **settings})


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


# ---- temperature

@pytest.mark.parametrize("temperature", [0.2, 0.5, 1.0, 2.5, 8.0])
def test_a_known_temperature_is_found(temperature):
    g = generator(0)
    true = torch.randn(20000, 5, generator=g, dtype=torch.float64) * 2
    labels = torch.multinomial(true.softmax(1), 1, generator=g).squeeze(1)
    found = chapter.fit_temperature(true * temperature, labels)
    assert found == pytest.approx(temperature, rel=0.04)
    best = chapter.nll(true * temperature / found, labels)
    assert best <= chapter.nll(true, labels) + 1e-7
    assert all(best <= chapter.nll(true * temperature / (found * f), labels) for f in (0.97, 1.03))


def test_the_temperature_stays_between_its_bounds():
    logits = torch.randn(200, 4, generator=generator(1), dtype=torch.float64)
    assert 0.049 < chapter.fit_temperature(logits, logits.argmax(1)) < 0.06
    assert 19 < chapter.fit_temperature(logits, logits.argmin(1)) < 20.1


# ---- conformal sets

@pytest.mark.parametrize("n, alpha", [(99, 0.1), (37, 0.1), (50, 0.25), (19, 0.05), (20, 0.5)])
def test_conformal_sets_cover_what_they_promise(n, alpha):
    g = generator(n)
    p = (torch.randn(1000, 4, generator=g, dtype=torch.float64) * 2).softmax(1)
    # the model is not right
    labels = torch.multinomial(p.flip(1) * 0.3 + p * 0.7, 1, generator=g).squeeze(1)
    covered = []
    for _ in range(200):
        order = torch.randperm(1000, generator=g)
        test = order[n:]
        sets = chapter.conformal_sets(p[test], chapter.conformal_threshold(p[order[:n]],
                                                                             labels[order[:n]],
                                                                             alpha))
        covered.append(sets.gather(1, labels[test, None]).double().mean().item())
    error = np.std(covered) / math.sqrt(200)
    assert np.mean(covered) == pytest.approx(math.ceil((n + 1) * (1 - alpha) - 1e-9) / (n + 1),
                                             abs=4 * error)
    assert np.mean(covered) >= 1 - alpha - 4 * error


def test_the_conformal_threshold_by_hand():
    scores = torch.tensor([0.3, 0.1, 0.5, 0.2, 0.4, 0.6, 0.9, 0.7, 0.8], dtype=torch.float64)
    p = torch.stack([1 - scores, scores], 1)
    for alpha, wanted in ((0.1, 0.9), (0.2, 0.8), (0.5, 0.5), (0.55, 0.5), (0.9, 0.1)):
        assert chapter.conformal_threshold(p, torch.zeros(9).long(),
                                            alpha) == pytest.approx(wanted)
    assert chapter.conformal_threshold(p, torch.zeros(9).long(), 0.09) == 1.0  # rank 10 of 9
    assert chapter.conformal_threshold(p[:8], torch.zeros(8).long(), 0.1) == 1.0
    assert chapter.conformal_sets(p, 1.0).all()


def test_the_rank_does_not_suffer_from_rounding():
    scores = torch.arange(1, 10, dtype=torch.float64) / 10
    p = torch.stack([1 - scores, scores], 1)
    assert chapter.conformal_threshold(p, torch.zeros(9).long(), 0.7) == pytest.approx(0.3)


# ---- MC dropout

def test_mc_dropout_is_decided_by_its_seed():
    model, (x, _) = build(dropout=0.4).eval(), rows(20)
    state = torch.get_rng_state()
    a, b, c = (chapter.mc_dropout(model, x, passes=5, seed=s) for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.allclose(a, c, atol=1e-4)
    assert torch.equal(torch.get_rng_state(), state)
    assert a.shape == (20, K) and torch.allclose(a.sum(1), torch.ones(20),
                                                 atol=1e-6) and (a >= 0).all()
    assert not any(m.training for m in model.modules())
    assert not torch.allclose(a, model(x).softmax(1), atol=1e-4)


def test_mc_dropout_averages_over_all_masks():
    model, x = build(hidden=4, dropout=0.5).eval(), rows(3)[0] * 3
    hidden = torch.relu(model[1](x))
    exact = sum(model[4](hidden * torch.tensor(mask) * 2).softmax(1)
                for mask in itertools.product([0.0, 1.0], repeat=4)) / 16
    got = chapter.mc_dropout(model, x, passes=40000)
    assert (got - exact).abs().max() < 0.01 and (exact - model(x).softmax(1)).abs().max() > 0.02


def test_mc_dropout_with_given_weights():
    model, other, (x, _) = build(0, dropout=0.3).eval(), build(1, dropout=0.3).eval(), rows(8)
    own = chapter.mc_dropout(model, x, seed=3)
    assert torch.equal(chapter.mc_dropout(model, x, seed=3, params=dict(model.named_parameters())),
                       own)
    given = chapter.mc_dropout(model, x, seed=3, params=dict(other.named_parameters()))
    assert torch.equal(given, chapter.mc_dropout(other, x,
                                                  seed=3)) and not torch.allclose(given, own,
                                                                                  atol=1e-3)
    assert torch.equal(chapter.mc_dropout(model, x, seed=3), own)


def test_mc_dropout_can_be_aimed_at():
    model, x = build(dropout=0.3).double().eval(), rows(1, seed=3)[0].double()
    start = {k: p.detach() for k, p in model.named_parameters()}
    direction = {k: torch.randn(p.shape, generator=generator(1), dtype=p.dtype) for k,
                 p in start.items()}

    def out(params):
        return chapter.mc_dropout(model, x, passes=7, seed=2, params=params)[0].log()

    def moved(h):
        return out({k: p + h * direction[k] for k, p in start.items()})

    slope = (moved(1e-6) - moved(-1e-6)) / 2e-6
    jacobian = torch.func.jacrev(out)(start)
    assert torch.allclose(sum((jacobian[k] * direction[k]).flatten(1).sum(1) for k in start), slope,
                          atol=1e-6)
    held = lk.attack.hold(SimpleNamespace(x=rows(9)[0].double(), y=rows(9)[1]), range(6), 3)
    effects = lk.attack.first_order_effects(model, held, out, tau=1e-4)
    weights = torch.tensor([1.0, 0, 1, 1, 0, 0], dtype=torch.float64)
    change = out(lk.attack.removal(model, held, tau=1e-4)(weights)) - moved(0)
    assert torch.allclose(weights @ effects, change, rtol=2e-2, atol=1e-8)


def test_mc_dropout_needs_dropout_and_tidies_up():
    with pytest.raises(LabError, match="dropout"):
        chapter.mc_dropout(build().eval(), rows(4)[0])
    model = build(dropout=0.3).eval()
    with pytest.raises(RuntimeError):
        chapter.mc_dropout(model, torch.zeros(4, D + 1))
    assert not any(m.training for m in model.modules())


# ---- dropout in networks and in training

def test_dropout_does_not_change_the_initial_weights():
    for seed in range(3):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            bare = nn.Sequential(nn.Flatten(), nn.Linear(D, 8), nn.ReLU(), nn.Linear(8, K))
        plain, zero, dropped = build(seed), build(seed, dropout=0), build(seed, dropout=0.5)
        assert same(plain, bare) and same(zero, bare) and same(dropped, bare)
        assert len(plain) == len(zero) == 4 and isinstance(dropped[3],
                                                           nn.Dropout) and dropped[3].p == 0.5
    assert not same(build(0), build(1))


def test_training_with_dropout_is_decided_by_the_seed():
    x, y = rows()
    torch.manual_seed(11)
    a = fit(build(dropout=0.4), x, y, seed=3, **RECIPE)
    torch.manual_seed(12)
    state = torch.get_rng_state()
    b = fit(build(dropout=0.4), x, y, seed=3, **RECIPE)
    assert torch.equal(torch.get_rng_state(), state)
    assert same(a, b) and not a.training and not a[3].training
    assert not same(a, fit(build(dropout=0.4), x, y, seed=4, **RECIPE))
    assert not same(a, fit(build(), x, y, seed=3, **RECIPE))


def test_training_that_fails_leaves_the_random_numbers_alone():
    x, y = rows()
    state = torch.get_rng_state()
    with pytest.raises(LabError):
        fit(build(dropout=0.4), x * 1e20, y, seed=3, epochs=3, lr=1e20)
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_drops_in_training_only():
    x, y = rows()
    model = fit(build(dropout=0.4), x, y, seed=3, **RECIPE)
    bare = nn.Sequential(*[m for m in copy.deepcopy(model) if not isinstance(m, nn.Dropout)])
    assert torch.equal(model(x), bare(x)) and torch.equal(model(x), model(x))
    assert torch.equal(functional_call(model, {}, (x,)), model(x))


def test_many_networks_with_dropout_are_those_trained_alone():
    x, y = rows()
    nets = fit_many([build(s, dropout=0.4) for s in range(2)], x, y, seeds=[5, 6], workers=1,
                    **RECIPE)
    for s, net in enumerate(nets):
        assert same(net, fit(build(s, dropout=0.4), x, y, seed=5 + s, **RECIPE))


def test_networks_with_dropout_cannot_be_packed():
    x, y = rows()
    with pytest.raises(LabError):
        fit_packed([build(s, dropout=0.4) for s in range(2)], x, y, seeds=[5, 6], **RECIPE)
