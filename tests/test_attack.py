"""labkit.attack against closed forms, brute force, finite differences and another solver; and what
it must not see.
"""

import copy
import importlib
import inspect
import itertools
import math
import pkgutil
from dataclasses import fields, is_dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from torch import nn

import labkit as lk
from course.chapters import requests
from course.chapters import uncertainty as doubt
from labkit import attack
from labkit.base import LabError
from labkit.training import fit, predict
from labkit.unlearn import METHODS
from labkit.unlearn.second_order import conjugate_gradients, curvature_product

first_order = METHODS["first_order"]
# what deleting a row adds to the bias
TABLE = torch.randn(40, 3, generator=torch.Generator().manual_seed(5)) * 0.1


def generator(seed):
    return torch.Generator().manual_seed(seed)


def rows_of(n, d=5, k=3, seed=0, dtype=torch.float64):
    g = generator(seed)
    return SimpleNamespace(x=torch.randn(n, d, generator=g, dtype=dtype),
                           y=torch.randint(k, (n,), generator=g))


def net(d=5, k=3, hidden=4, seed=1, dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return lk.models.mlp((d,), k, hidden).to(dtype).eval()


def linear_net(d=5, k=3, seed=1):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(d, k)).eval()


def shift_bias(model, rows):
    """An unlearner that needs no gradient and is additive in the rows."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        model[1].bias += TABLE[rows].sum(0)
    return model


@pytest.fixture
def tiny():
    """A net of 39 weights in double precision, 9 owned rows of 30, and an input that nobody owns.
    """
    data = rows_of(30)
    held = attack.hold(data, [0, 2, 3, 7, 11, 12, 20, 25, 29], 4)
    return SimpleNamespace(model=net(), data=data, held=held, x=rows_of(1, seed=9).x[0])


@pytest.fixture(scope="module")
def fashion():
    data = lk.data.load("fashion", n_train=200, n_test=200, moments="test", device="cpu")
    model = fit(lk.models.build("mlp", data, 0, hidden=8), data.x, data.y, epochs=15, lr=0.1,
                seed=0, batch_size=32)
    return SimpleNamespace(data=data, model=model)


def slopes(f, at, h=1e-5):
    """Central differences of f in each coordinate. -> (m, …)."""
    return torch.stack([(f(at + h * e) - f(at - h * e)) / (2 * h)
                        for e in torch.eye(len(at), dtype=at.dtype)])


def params_of(model):
    return {k: p.detach() for k, p in model.named_parameters()}


def flat(tree):
    return torch.cat([t.flatten() for t in tree.values()])


def row_gradients(model, x, y):
    """One backward pass a row. -> (m, weights)."""
    return torch.stack([torch.cat([g.flatten() for g in torch.autograd.grad(
        F.cross_entropy(model(xi[None]), yi[None]), list(model.parameters()))])
        for xi, yi in zip(x, y, strict=True)])


def output_gradients(model, x):
    """∇ of each logit of one input. -> (k, weights)."""
    return torch.stack([torch.cat([g.flatten() for g in torch.autograd.grad(
        z, list(model.parameters()), retain_graph=True)]) for z in model(x[None])[0]])


def dense_gauss_newton(model, x, damping):
    """Jᵀ (diag p − ppᵀ) J averaged over rows, entry by entry, plus damping · I."""
    total = 0
    for xi in x:
        j, p = output_gradients(model, xi), model(xi[None])[0].softmax(-1).detach()
        total = total + j.T @ (p.diag() - torch.outer(p, p)) @ j
    return total / len(x) + damping * torch.eye(total.shape[0], dtype=total.dtype)


# ---- projection

@pytest.mark.parametrize("budget", [1, 2, 3.5, 6, 9])
@pytest.mark.parametrize("spread", [0.3, 1, 4])
def test_projection_is_the_nearest_feasible_point(budget, spread):
    for seed in range(4):
        w = (torch.randn(6, generator=generator(seed), dtype=torch.float64) + 0.4) * spread
        got = attack.project(w, budget)
        wanted = minimize(lambda v, w=w: ((v - w.numpy()) ** 2).sum(),
                          np.full(6, min(budget, 6) / 12), method="SLSQP",
                          jac=lambda v, w=w: 2 * (v - w.numpy()), bounds=[(0, 1)] * 6,
                          constraints={"type": "ineq", "fun": lambda v: budget - v.sum(),
                                       "jac": lambda v: -np.ones(6)},
                          options={"ftol": 1e-10, "maxiter": 500})
        assert wanted.success
        assert got.min() >= 0 and got.max() <= 1 and got.sum() <= budget + 1e-9
        assert np.allclose(got, wanted.x, atol=1e-5)
        assert torch.equal(attack.project(got, budget), got)


def test_projection_of_extreme_weights():
    assert attack.project(-torch.rand(5), 1).tolist() == [0] * 5
    assert attack.project(torch.full((5,), 7.0), 9).tolist() == [1] * 5
    assert (attack.project(torch.tensor([9.0, 0.2, -3.0]), 1).tolist()
            == pytest.approx([1, 0, 0], abs=1e-6))
    assert torch.allclose(attack.project(torch.full((8,), 50.0), 2), torch.full((8,), 0.25),
                          atol=1e-5)
    inside = torch.tensor([0.5, 0.0, 1.0])
    assert torch.equal(attack.project(inside, 2), inside)


# ---- second-order tools

def test_many_curvature_products_at_once_are_those_of_the_dense_matrix(tiny):
    params, x, y = params_of(tiny.model), tiny.data.x, tiny.data.y
    directions = {k: torch.randn(3, *p.shape, generator=generator(2), dtype=p.dtype)
                  for k, p in params.items()}
    got = torch.func.vmap(
        lambda v: curvature_product(tiny.model, params, x, y, v, damping=0.07))(directions)
    dense = dense_gauss_newton(tiny.model, x, 0.07)
    for c in range(3):
        one = {k: v[c] for k, v in directions.items()}
        wanted = curvature_product(tiny.model, params, x, y, one, "gauss-newton", 0.07)
        mine = flat({k: v[c] for k, v in got.items()})
        assert (torch.allclose(mine, flat(wanted), atol=1e-10)
                and torch.allclose(mine, dense @ flat(one), atol=1e-10))


def test_conjugate_gradients_solve_every_right_hand_side():
    g = generator(3)
    root = torch.randn(7, 7, generator=g, dtype=torch.float64)
    a = root @ root.T + 0.5 * torch.eye(7, dtype=torch.float64)
    b = torch.randn(4, 7, generator=g, dtype=torch.float64)
    b[2] = 0

    def product(v):  # the seven numbers live in two tensors
        out = torch.cat([v["p"].flatten(1), v["q"]], 1) @ a
        return {"p": out[:, :4].view(-1, 2, 2), "q": out[:, 4:]}

    got = conjugate_gradients(product, {"p": b[:, :4].view(-1, 2, 2), "q": b[:, 4:]}, 25, 1e-12)
    got = torch.cat([got["p"].flatten(1), got["q"]], 1)
    assert torch.allclose(got, torch.linalg.solve(a, b.T).T, atol=1e-9) and not got[2].any()


# ---- effects and hypergradients

def test_hypergradients_are_the_slopes_of_the_objective(tiny):
    unlearned, out = (attack.removal(tiny.model, tiny.held, tau=0.3),
                      attack.logits_at(tiny.model, tiny.x))

    def objective(weights):
        return doubt.underconfidence(1, 2.0)(out(unlearned(weights)) * 3)

    weights = torch.rand(len(tiny.held), generator=generator(0),
                         dtype=torch.float64).requires_grad_()
    (got,) = torch.autograd.grad(objective(weights), weights)
    wanted = slopes(lambda w: objective(w).detach(), weights.detach())
    assert wanted.abs().max() > 1e-3 and torch.allclose(got, wanted, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("tau", [0.02, 1.7])
def test_first_order_effects_are_the_jacobian_of_removal(tiny, tau):
    out, unlearned = (attack.logits_at(tiny.model, tiny.x),
                      attack.removal(tiny.model, tiny.held, tau=tau))
    got = attack.first_order_effects(tiny.model, tiny.held, out, tau=tau)
    zero = torch.zeros(len(tiny.held), dtype=torch.float64)
    assert got.shape == (9, 3)
    assert torch.allclose(got, slopes(lambda w: out(unlearned(w)), zero), rtol=1e-5, atol=1e-8)
    dots = (row_gradients(tiny.model, tiny.held.x, tiny.held.y)
            @ output_gradients(tiny.model, tiny.x).T)
    assert torch.allclose(got, tau * dots, atol=1e-10)


def test_influence_effects_are_those_of_the_dense_inverse(tiny):
    got = attack.influence_effects(tiny.model, tiny.held, attack.logits_at(tiny.model, tiny.x),
                                   damping=0.05,
                                   cg_steps=200, n_rows=6, shrink=0.8)
    inverse = torch.linalg.inv(dense_gauss_newton(tiny.model, tiny.held.x[:6], 0.05))
    g, j = row_gradients(tiny.model, tiny.held.x, tiny.held.y), output_gradients(tiny.model, tiny.x)
    assert torch.allclose(got, 0.8 / 30 * g @ inverse @ j.T, rtol=1e-6, atol=1e-9)


def test_removal_of_whole_rows_is_first_order_unlearning(fashion):
    held = attack.hold(fashion.data, range(40, 80), 12)
    request = held.rows[[0, 5, 6, 7, 22, 39]]
    got = attack.removal(fashion.model, held, tau=2e-3)(torch.isin(held.rows, request).float())
    wanted = first_order(fashion.model, fashion.data, request, tau=2e-3)
    for name, p in wanted.named_parameters():
        assert torch.allclose(got[name], p, atol=1e-6)
    assert not torch.allclose(flat(got), flat(params_of(fashion.model)), atol=1e-4)


def test_through_moves_the_outputs_linearly():
    effects, start = torch.randn(4, 3, generator=generator(0)), torch.tensor([1.0, 2.0, 3.0])
    objective = attack.through(effects, start, lambda z: (z ** 2).sum())
    assert objective(torch.tensor([0.0, 1, 0, 1])).item() == pytest.approx(
        ((start + effects[1] + effects[3]) ** 2).sum().item(), rel=1e-6)


# ---- the choice of rows

def some_holdings(m, budget, n=100):
    data = rows_of(n, dtype=torch.float32)
    return attack.hold(data, torch.randperm(n, generator=generator(m))[:m], budget)


@pytest.mark.parametrize("budget, negative", [(1, 6), (3, 6), (5, 20), (7, 4), (6, 6), (10, 12),
                                              (20, 20)])
def test_on_a_linear_objective_the_best_rows_are_chosen(budget, negative):
    held = some_holdings(20, budget)
    c = torch.rand(20, generator=generator(budget)) + 0.05
    c[torch.randperm(20, generator=generator(1))[:negative]] *= -1
    choice = attack.choose(lambda w: w @ c, held)
    best = c.argsort()[: min(budget, negative)]
    assert (set(choice.rows.tolist()) == set(held.rows[best].tolist())
            and len(choice.rows) == len(best))
    assert choice.rounded == pytest.approx(c[best].sum().item(), abs=1e-5)


@pytest.mark.parametrize("budget, negative", [(8, 6), (40, 27), (30, 11)])
def test_a_size_between_the_dozen_is_found_where_the_relaxed_weights_are_whole(budget, negative):
    c = torch.cat([-torch.ones(negative), torch.ones(50 - negative)])
    choice = attack.choose(lambda w: w @ c, some_holdings(50, budget))
    assert choice.rounded == -negative and len(choice.rows) == negative


def test_a_choice_is_fixed_by_its_inputs():
    held, g = some_holdings(30, 7), generator(0)
    root, c, state = (torch.randn(5, 30, generator=g), torch.randn(30, generator=g),
                      torch.get_rng_state())
    first, second = (attack.choose(lambda w: w @ c + (root @ w).pow(2).sum(), held)
                     for _ in range(2))
    assert torch.equal(first.rows, second.rows) and first.rounded == second.rounded
    assert torch.equal(torch.get_rng_state(), state)


def test_if_every_row_hurts_one_row_is_asked_for():
    choice = attack.choose(lambda w: w.sum(), some_holdings(10, 4))
    assert (len(choice.rows) == 1 and choice.rounded == 1
            and choice.relaxed == pytest.approx(0, abs=1e-6))


def subsets(m, budget):
    for size in range(1, budget + 1):
        for rows in itertools.combinations(range(m), size):
            yield torch.zeros(m).index_fill(0, torch.tensor(rows), 1.0)


@pytest.mark.parametrize("seed", range(6))
def test_against_all_subsets(seed):
    held, g = some_holdings(8, 3), generator(seed)
    c, root = torch.randn(8, generator=g), torch.randn(8, 8, generator=g)
    for curve in (0.0, 0.05):
        def objective(w, curve=curve):
            return w @ c + curve * (root @ w).pow(2).sum()

        values = sorted(objective(w).item() for w in subsets(8, 3))
        choice = attack.choose(objective, held)
        # of 92 subsets
        assert values[0] - 1e-5 <= choice.rounded <= values[0 if curve == 0 else 4] + 1e-5


@pytest.mark.parametrize("budget", [1, 4, 9, 40])
def test_a_choice_is_owned_within_budget_and_adds_up(budget):
    held, g = some_holdings(40, budget), generator(budget)
    effects, start = torch.randn(40, 3, generator=g), torch.randn(3, generator=g)
    objective = attack.through(effects, start, doubt.underconfidence(0, 1.0))
    choice = attack.choose(objective, held)
    assert torch.equal(attack.check_request(choice.rows, held), choice.rows)
    assert choice.relaxed <= objective(torch.full((40,), budget / 40)).item() + 1e-6
    assert choice.relaxed == pytest.approx(objective(choice.weights).item(), abs=1e-5)
    assert choice.rounded == pytest.approx(
        objective(torch.isin(held.rows, choice.rows).float()).item(), abs=1e-5)
    assert choice.gap == choice.rounded - choice.relaxed
    assert (choice.weights.min() >= 0 and choice.weights.max() <= 1
            and choice.weights.sum() <= budget + 1e-4)
    assert not choice.weights.requires_grad


def test_baselines():
    data = rows_of(50, dtype=torch.float32)
    held = attack.hold(data, range(10, 40), 5)
    for seed in range(3):
        rows = attack.baseline("random", held, seed)
        assert (torch.equal(rows, attack.baseline("random", held, seed))
                and len(attack.check_request(rows, held)) == 5)
    assert not torch.equal(attack.baseline("random", held, 0), attack.baseline("random", held, 1))
    rows = attack.baseline("same-class", held, 0, label=2)
    assert ((data.y[rows] == 2).all() and len(rows) == 5
            and len(attack.check_request(rows, held)) == 5)
    everything = attack.baseline("same-class", held.with_budget(30), 0, label=2)
    assert set(everything.tolist()) == {r for r in range(10, 40) if data.y[r] == 2}
    x = data.x[45]
    wanted = sorted(range(10, 40), key=lambda r: float((data.x[r] - x).norm()))[:5]
    assert attack.baseline("nearest", held, 0, x=x).tolist() == wanted
    with pytest.raises(LabError):
        attack.baseline("best", held, 0)


# ---- holdings

def test_holdings_are_copies():
    data = rows_of(20, dtype=torch.float32)
    x, y = data.x.clone(), data.y.clone()
    rows = torch.tensor([3, 1, 8])
    held = attack.hold(data, rows, 2)
    assert (len(held) == 3 and held.n == 20 and torch.equal(held.x, x[held.rows])
            and torch.equal(held.y, y[held.rows]))
    held.x.zero_()
    held.y.zero_()
    assert torch.equal(data.x, x) and torch.equal(data.y, y)


@pytest.mark.parametrize("budget", [0, -1, True, False, 4, 1.0, "2", None])
def test_a_budget_that_cannot_be_is_refused(budget):
    data = rows_of(20)
    with pytest.raises(LabError, match="budget"):
        attack.hold(data, [1, 2, 5], budget)
    with pytest.raises(LabError, match="budget"):
        attack.hold(data, [1, 2, 5], 3).with_budget(budget)


@pytest.mark.parametrize("rows", [[], [20], [-1], [1, 1], [1.5]])
def test_nobody_owns_rows_that_cannot_be(rows):
    with pytest.raises(LabError):
        attack.hold(rows_of(20), rows, 1)


@pytest.mark.parametrize("request_", [[4], [1, 4], [1, 1], [20], [-1], [1, 2, 5], [], [0.5], "all"])
def test_a_request_that_cannot_be_is_refused(request_):
    held = attack.hold(rows_of(20), [1, 2, 5], 2)
    with pytest.raises(LabError):
        attack.check_request(request_, held)
    with pytest.raises(LabError):
        held.without(request_)


def test_what_is_left_after_a_request():
    data = rows_of(20)
    held = attack.hold(data, [1, 2, 5, 9, 13], 4)
    left = held.without([2, 13])
    assert left.rows.tolist() == [1, 5, 9] and left.budget == 2 and left.n == 20
    assert torch.equal(left.x, data.x[[1, 5, 9]]) and torch.equal(left.y, data.y[[1, 5, 9]])
    with pytest.raises(LabError, match="does not own"):
        left.without([2])
    assert left.without([1, 9]) is None
    assert held.rows.tolist() == [1, 2, 5, 9, 13] and held.budget == 4
    everything = attack.hold(data, [1, 2], 2)
    assert everything.without([1]).budget == 1 and everything.without([1, 2]) is None


# ---- black boxes

def oracle_of(model, held, unlearn=shift_bias, **settings):
    return attack.UnlearningOracle(model, unlearn, held, **settings)


@pytest.fixture
def boxed():
    data = rows_of(40, dtype=torch.float32)
    return SimpleNamespace(model=linear_net(), data=data, held=attack.hold(data, range(5, 25), 6))


def test_a_black_box_counts_and_refuses(boxed):
    box = attack.BlackBox(boxed.model, limit=10)
    answers = box(boxed.data.x[:7].requires_grad_())
    assert box.queries == 7 and not answers.requires_grad and answers.grad_fn is None
    assert torch.allclose(answers, boxed.model(boxed.data.x[:7]).softmax(1), atol=1e-6)
    assert (answers >= 0).all() and torch.allclose(answers.sum(1), torch.ones(7), atol=1e-6)
    with pytest.raises(LabError, match="limit of 10"):
        box(boxed.data.x[:4])
    assert box.queries == 7
    assert len(box(boxed.data.x[:3])) == 3 and box.queries == 10
    free = attack.BlackBox(boxed.model)
    for _ in range(5):
        free(boxed.data.x)
    assert free.queries == 200


def test_an_oracle_counts_and_refuses(boxed):
    oracle = oracle_of(boxed.model, boxed.held, limit=3)
    x = boxed.data.x[:4].clone().requires_grad_()
    for i in range(2):
        answers = oracle([5, 6], x)
        assert oracle.queries == i + 1 and not answers.requires_grad and answers.grad_fn is None
        assert torch.allclose(answers.sum(1), torch.ones(4), atol=1e-6) and (answers >= 0).all()
    for wrong in ([4], [5, 25], [5, 5], [], [40], range(5, 12)):
        with pytest.raises(LabError):
            oracle(wrong, x)
    assert oracle.queries == 2
    oracle([7], x)
    with pytest.raises(LabError, match="limit of 3"):
        oracle([7], x)
    assert oracle.queries == 3


def test_an_oracle_always_starts_from_the_deployed_model(fashion):
    data, held = fashion.data, attack.hold(fashion.data, range(30), 10)
    before = copy.deepcopy(fashion.model.state_dict())
    oracle = oracle_of(fashion.model, held, lambda m, rows: first_order(m, data, rows, tau=5e-3))
    x = data.x_test[:5]
    first = oracle([1, 2, 3], x)
    oracle(range(10), x)
    assert torch.equal(oracle([1, 2, 3], x), first)
    assert torch.allclose(
        first, predict(first_order(fashion.model, data, [1, 2, 3], tau=5e-3), x).softmax(1))
    assert not torch.allclose(first, predict(fashion.model, x).softmax(1), atol=1e-4)
    assert all(torch.equal(before[k], v) for k, v in fashion.model.state_dict().items())


def attributes(thing):
    """Everything that can be read off an object, private names too; what a function closes over is
    not.
    """
    for name in {*dir(thing), *type(thing).__slots__, *getattr(thing, "__dict__", {})}:
        value = getattr(thing, name, None)
        yield name, value
        if is_dataclass(value) and not isinstance(value, type):
            for part in fields(value):
                yield part.name, getattr(value, part.name)
        elif isinstance(value, list | tuple | set):
            yield from ((name, v) for v in value)
        elif isinstance(value, dict):
            yield from ((name, v) for v in value.values())


def test_no_attribute_of_a_black_box_leads_to_the_network(boxed):
    oracle, box = oracle_of(boxed.model, boxed.held), attack.BlackBox(boxed.model)
    for thing in (oracle, box):
        with pytest.raises(TypeError):
            vars(thing)
        assert not hasattr(thing, "__dict__")
        found = dict(attributes(thing))
        assert {"queries", "limit"} <= found.keys()
        for name, value in attributes(thing):
            assert not isinstance(value, nn.Module | nn.Parameter), name
            if isinstance(value, torch.Tensor):
                assert not value.requires_grad, name
                for p in boxed.model.parameters():
                    assert (value.untyped_storage().data_ptr()
                            != p.untyped_storage().data_ptr()), name
        for name in ("model", "parameters", "state_dict", "named_parameters", "__self__"):
            assert not hasattr(thing, name)
        with pytest.raises(AttributeError):
            thing.model = boxed.model


ATTACKS_OF_CHAPTERS = ["course.chapters.requests.code", "course.chapters.uncertainty.effects",
                       "course.chapters.uncertainty.estimates",
                       "course.chapters.uncertainty.choosing", "course.chapters.inversion.code",
                       "course.chapters.desk.adaptive",
                       "course.chapters.release.adaptive", "course.chapters.certified.slow"]
# What a public function of labkit.attack, or of a chapter's attacks, may ask for under these names,
# and what it is there. Whoever adds a function that takes one says so here.
GRANTED = {
    # makes the holdings: the attacker's own rows are cut out of the data
    ("hold", "data"), ("hold", "rows"),
    # the attacker's own requests
    ("check_request", "request"), ("at_once", "request"), ("spread", "request"),
    ("baseline", "x"), ("check_target", "x"), ("side_effect", "x"), ("logits_at", "x"),
    ("ensemble_outputs", "x"),
    ("zeroth_order_effects", "x"), ("by_surrogates", "x"), ("by_trials", "x"),  # the target
    ("own_networks", "train"),  # the published recipe, on the attacker's own rows
    ("provider_step", "rows"), ("overstated", "rows"),  # what was measured on tuning networks
    ("craft", "x"), ("craft", "y"),  # own rows, before they are handed in
    ("row_losses", "x"), ("row_losses", "y"), ("monitored", "y"),  # own rows, out of the holdings
    # public, dummies
    ("through_curvature", "x"), ("through_curvature", "y"),
    ("similarity", "x"), ("similarity", "y"),
    ("fit_linear", "x"), ("fit_linear", "y"),  # the provider's own training
    ("influence", "x"), ("influence", "y"), ("within", "x"),  # own rows, as they are changed
    ("split", "data"), ("trial", "data"),  # who sets the stage: draws providers and collections
    # who sets the stage: trains the victims, and tunes on other seeds
    ("victim", "data"), ("victim", "train"), ("step_sizes", "data"), ("step_sizes", "train"),
    ("influence_against_retraining", "train"),
    # the judge's measures
    ("ssim", "originals"), ("assign", "originals"), ("mc_dropout", "x"),
}
ASKED = {"data", "originals", "forget", "deleted", "rows", "request", "retained", "private",
         "train", "x", "y"}


def test_no_attacker_is_given_the_training_data():
    found = set()
    modules = [f"labkit.attack.{part.name}" for part in pkgutil.iter_modules(attack.__path__)]
    for module in map(importlib.import_module, modules + ATTACKS_OF_CHAPTERS):
        for name, function in vars(module).items():
            if (inspect.isfunction(function) and function.__module__ == module.__name__
                and not name.startswith("_")):
                found |= {(name, p) for p in inspect.signature(function).parameters if p in ASKED}
    assert not found - GRANTED, "say in GRANTED what it is, or do without"
    assert not GRANTED - found, "no such parameter: take it out of GRANTED"


def test_white_box_attacks_fail_on_a_black_box(boxed):
    out = attack.logits_at(boxed.model, boxed.data.x[0])
    weights = torch.ones(len(boxed.held))
    for box in (attack.BlackBox(boxed.model), oracle_of(boxed.model, boxed.held)):
        for act in (lambda b: attack.first_order_effects(b, boxed.held, out, tau=1.0),
                    lambda b: attack.influence_effects(b, boxed.held, out),
                    lambda b: attack.removal(b, boxed.held, tau=1.0)(weights),
                    lambda b: requests.craft(b, boxed.data.x[:2], boxed.data.y[:2], boxed.data.x[0],
                                             1, eps=0.1)):
            with pytest.raises((AttributeError, TypeError)):
                act(box)
        assert box.queries == 0


def test_zeroth_order_effects_read_no_gradient(boxed, monkeypatch):
    def never(*_, **__):
        raise AssertionError("a gradient was asked for")

    for owner, names in ((torch.autograd, ("grad", "backward")), (torch.Tensor, ("backward",)),
                         (torch.func, ("grad", "grad_and_value", "vjp", "jvp", "jacrev", "jacfwd")),
                         (attack.requests, ("jacrev", "jvp"))):
        for name in names:
            monkeypatch.setattr(owner, name, never)
    oracle = oracle_of(boxed.model, boxed.held)
    got = doubt.zeroth_order_effects(oracle, boxed.data.x[0], pairs=2000, seed=1)
    assert oracle.queries == 4000 and got.shape == (20, 3) and not got.requires_grad
    # log-odds are linear in the rows here: all that a difference of two requests can tell is effect
    # minus mean effect
    table = TABLE[boxed.held.rows]
    for c in (1, 2):
        estimate, true = got[:, c] - got[:, 0], table[:, c] - table[:, 0]
        assert np.corrcoef(estimate, true)[0, 1] > 0.99
        assert np.polyfit(true, estimate, 1)[0] == pytest.approx(20 / 19, abs=0.1)


@pytest.mark.parametrize("pairs, budget", [(1, 1), (4, 6), (7, 20)])
def test_zeroth_order_queries_are_two_a_pair_and_fixed_by_the_seed(boxed, pairs, budget):
    def run(seed):
        asked = []
        oracle = oracle_of(boxed.model, boxed.held.with_budget(budget),
                           lambda m, rows: asked.append(rows) or shift_bias(m, rows),
                           limit=2 * pairs)
        got = doubt.zeroth_order_effects(oracle, boxed.data.x[0], pairs=pairs, seed=seed)
        assert oracle.queries == 2 * pairs == len(asked)
        for plus, minus in zip(asked[::2], asked[1::2], strict=True):
            assert len(plus) == len(minus) == min(budget, 10) and not torch.isin(plus, minus).any()
        return got

    assert torch.equal(run(3), run(3)) and not torch.equal(run(3), run(4))
    with pytest.raises(LabError, match="limit"):
        doubt.zeroth_order_effects(oracle_of(boxed.model, boxed.held, limit=2 * pairs - 1),
                                      boxed.data.x[0],
                                    pairs=pairs, seed=0)


def two_points(f, plus, minus):
    return doubt.two_point(plus, minus, *(torch.stack([f(w) for w in side])
                                          for side in (plus, minus)))


def test_two_points_are_unbiased_on_a_quadratic():
    g = generator(0)
    m, r, batches, q = 4, 2, 1500, 4
    h = torch.randn(r, m, m, generator=g, dtype=torch.float64)
    c, b = (torch.randn(s, generator=g, dtype=torch.float64) for s in ((m,), (r, m)))

    def f(w):
        return b @ w + 0.5 * torch.einsum("i,rij,j->r", w, h, w)

    gradient = (b + 0.5 * (h + h.transpose(1, 2)) @ c).T
    u = 0.3 * torch.randn(batches, q, m, generator=g, dtype=torch.float64)
    got = torch.stack([two_points(f, c + v, c - v) for v in u])
    error = got.std(0) / batches ** 0.5
    assert ((got.mean(0) - gradient).abs() < 4 * error).all() and error.max() < 0.1


def test_even_orders_cancel_exactly():
    u = torch.randn(50, 6, generator=generator(1))
    assert not two_points(
        lambda w: torch.stack([w.pow(2).sum(), w[0] * w[1], w.abs().max() + 3]), u, -u).any()


def test_two_points_over_all_disjoint_pairs_give_the_centred_coefficients():
    m, size = 6, 2
    c = torch.randn(m, 2, generator=generator(2), dtype=torch.float64)
    plus, minus = [], []
    for p in itertools.combinations(range(m), size):
        for q in itertools.combinations(set(range(m)) - set(p), size):
            plus.append([float(i in p) for i in range(m)])
            minus.append([float(i in q) for i in range(m)])
    got = two_points(lambda w: w @ c, torch.tensor(plus, dtype=c.dtype),
                     torch.tensor(minus, dtype=c.dtype))
    assert torch.allclose(got, (c - c.mean(0)) * m / (m - 1), atol=1e-10)


# ---- targets and goals

def some_probabilities(n=400, k=4, seed=0, sharp=2.5):
    g = generator(seed)
    p = (torch.randn(n, k, generator=g, dtype=torch.float64) * sharp).softmax(1)
    return p, torch.multinomial(p, 1, generator=g).squeeze(1)


def test_targets_follow_the_rule():
    p, y = some_probabilities()
    fit_ = {i for i in range(len(y)) if int(p[i].argmax()) == y[i] and 0.6 <= p[i].max() <= 0.97}
    everything = attack.pick_targets(p, y, len(fit_), 0)
    assert set(everything.tolist()) == fit_ and len(everything) == len(fit_)
    picked = attack.pick_targets(p, y, 20, 3)
    assert torch.equal(picked, attack.pick_targets(p, y, 20, 3)) and len(picked.unique()) == 20
    assert (not torch.equal(picked, attack.pick_targets(p, y, 20, 4))
            and set(picked.tolist()) <= fit_)
    narrow = attack.pick_targets(p, y, 3, 0, low=0.7, high=0.8)
    assert ((p[narrow].amax(1) >= 0.7) & (p[narrow].amax(1) <= 0.8)).all()
    with pytest.raises(LabError, match=f"{len(fit_)} rows"):
        attack.pick_targets(p, y, len(fit_) + 1, 0)


def test_targets_that_give_the_attack_away_are_refused():
    data = rows_of(20)
    held, p = attack.hold(data, [2, 5, 6], 2), torch.tensor([0.2, 0.7, 0.1])
    doubt.check_target(data.x[3], p, 1, held)
    doubt.check_target(data.x[3], p, torch.tensor(1), held)
    for row in (2, 5, 6):
        with pytest.raises(LabError, match="one of the requested"):
            doubt.check_target(data.x[row].clone(), p, 1, held)
    for label in (0, 2):
        with pytest.raises(LabError, match="calls the target 1"):
            doubt.check_target(data.x[3], p, label, held)


def test_the_margin_is_what_the_eye_reads_off():
    z = torch.randn(5, 7, 4, generator=generator(0))
    before = z.clone()
    for label in range(4):
        got = attack.margin(z, label)
        for i, j in itertools.product(range(5), range(7)):
            rest = [float(z[i, j, c]) for c in range(4) if c != label]
            assert got[i, j] == pytest.approx(float(z[i, j, label]) - max(rest), abs=1e-6)
    assert torch.equal(z, before)
    assert attack.label_flip(2)(z[0, 0]) == attack.margin(z[0, 0], 2)


def test_overconfidence_falls_as_the_logit_of_the_label_rises():
    z, goal = torch.tensor([0.3, -1.0, 2.0]), doubt.overconfidence(1)
    values = [goal(z + torch.tensor([0, s, 0])).item() for s in np.linspace(-5, 8, 40)]
    assert all(b < a for a, b in zip(values, values[1:], strict=False))
    assert goal(z).item() == pytest.approx(-math.log(z.softmax(0)[1].item()), rel=1e-5)


@pytest.mark.parametrize("k", [2, 4, 10])
def test_underconfidence_at_equal_logits(k):
    z = torch.full((k,), 1.3, dtype=torch.float64)
    assert doubt.underconfidence(0, 0.0)(z).item() == pytest.approx(-math.log(k))
    assert doubt.underconfidence(0, 0.4, weight=3)(z).item() == pytest.approx(-math.log(k) + 1.2)


def test_the_hinge_acts_below_kappa_only():
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    z, entropy = p.log(), -float((p * p.log()).sum())
    gap = math.log(0.5 / 0.3)
    assert doubt.underconfidence(0, gap - 1e-9)(z).item() == pytest.approx(-entropy)
    assert doubt.underconfidence(0, 0.0)(z).item() == pytest.approx(-entropy)
    assert doubt.underconfidence(0, gap + 0.2)(z).item() == pytest.approx(-entropy + 5 * 0.2)
    assert doubt.underconfidence(1, 0.0)(z).item() == pytest.approx(-entropy + 5 * gap)


@pytest.mark.parametrize("kappa", [-1e-9, -1, math.nan])
def test_a_margin_below_zero_would_not_keep_the_label(kappa):
    with pytest.raises(LabError, match="kappa"):
        doubt.underconfidence(0, kappa)


def test_the_soft_set_size_hardens():
    p, _ = some_probabilities(60, 5, sharp=1.5)
    for q in (0.3, 0.8, 0.97):
        hard = doubt.conformal_sets(p, q).sum(1)
        far = (1 - p - q).abs().amin(1)
        for row, size in zip(p[far > 1e-3], hard[far > 1e-3], strict=True):
            outputs = torch.cat([row.log(), torch.tensor([q], dtype=row.dtype)])
            for sign in (1, -1):
                hardened = doubt.set_size(sign, 1e-5)(outputs).item()
                assert hardened == pytest.approx(sign * int(size), abs=1e-6)
            errors = [abs(doubt.set_size(1, t)(outputs).item() - int(size))
                      for t in (1e-1, 1e-2, 1e-3, 1e-4)]
            assert errors[-1] <= errors[0] + 1e-9


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.5])
def test_the_soft_threshold_is_near_the_conformal_one(alpha):
    p, y = some_probabilities(20000)
    hard = doubt.conformal_threshold(p, y, alpha)
    assert doubt.soft_threshold(p, y, alpha, width=0.005).item() == pytest.approx(hard, abs=0.01)
    p = p.requires_grad_()
    (slope,) = torch.autograd.grad(doubt.soft_threshold(p, y, alpha), p)
    # a shift of all scores
    assert torch.isfinite(slope).all() and slope.sum().item() == pytest.approx(-1, abs=1e-6)


def test_ensemble_outputs_are_the_log_of_the_mean(tiny):
    members = [net(seed=s) for s in range(3)]
    mean = sum(m(tiny.x[None])[0].softmax(-1) for m in members) / 3
    for i, m in enumerate(members):
        assert torch.allclose(doubt.ensemble_outputs(members, i, tiny.x)(params_of(m)),
                              mean.log(), atol=1e-12)
    alone = doubt.ensemble_outputs(members[:1], 0, tiny.x)(params_of(members[0]))
    assert torch.allclose(alone, members[0](tiny.x[None])[0].log_softmax(-1), atol=1e-12)


def test_effects_of_the_members_add_up(tiny):
    members, tau = [net(seed=s) for s in range(3)], 1e-5
    effects = sum(attack.first_order_effects(
                      m, tiny.held, doubt.ensemble_outputs(members, i, tiny.x), tau=tau)
                  for i, m in enumerate(members))

    def answer(weights):
        params = [attack.removal(m, tiny.held, tau=tau)(weights) for m in members]
        return (sum(attack.logits_at(m, tiny.x)(p).softmax(-1)
                    for m, p in zip(members, params, strict=True)) / 3).log()

    weights = torch.tensor([1.0, 0, 1, 0, 0, 0, 1, 1, 0], dtype=torch.float64)
    change = answer(weights) - answer(torch.zeros_like(weights))
    assert (torch.allclose(weights @ effects, change, rtol=1e-3, atol=1e-9)
            and change.abs().max() > 1e-7)


# ---- crafted rows

def crafted(fashion, **settings):
    data = fashion.data
    x, y = data.x[:6], data.y[:6]
    target = data.x_test[0]
    other = (int(predict(fashion.model, target[None]).argmax()) + 1) % 10
    return x, requests.craft(fashion.model, x, y, target, other,
                             **{"eps": 0.2, "steps": 30, **settings}), (
        fashion.model, y, target, other)


@pytest.mark.parametrize("eps", [0.01, 0.2, 1.0])
def test_crafted_rows_stay_near_and_match_better(fashion, eps):
    x, got, (model, y, target, other) = crafted(fashion, eps=eps)
    assert (got - x).abs().max() <= eps + 1e-6 and not got.requires_grad
    assert matching(model, got, y, target, other) > matching(model, x, y, target, other)
    assert torch.equal(got, crafted(fashion, eps=eps)[1])
    assert not torch.equal(got, crafted(fashion, eps=eps, seed=1)[1])


def test_crafted_rows_stay_within_the_range_of_pixels(fashion):
    low, high = fashion.data.x.min().item(), fashion.data.x.max().item()
    x, got, (model, y, target, other) = crafted(fashion, low=low, high=high)
    assert (got.min() >= low - 1e-6 and got.max() <= high + 1e-6
            and (got - x).abs().max() <= 0.2 + 1e-6)
    assert matching(model, got, y, target, other) > matching(model, x, y, target, other)
    channels = torch.full((1, 1, 1), low), torch.full((1, 1, 1), high)
    assert torch.equal(got, crafted(fashion, low=channels[0], high=channels[1])[1])
    assert crafted(fashion)[1].min() < low


def test_crafted_rows_respect_a_largest_value_alone(fashion):
    high = fashion.data.x.max().item()
    assert crafted(fashion, high=high)[1].max() <= high + 1e-6


def test_crafted_rows_without_a_step_stay_within_the_range_of_pixels(fashion):
    low, high = fashion.data.x.min().item(), fashion.data.x.max().item()
    assert crafted(fashion, low=low, high=high, steps=0)[1].min() >= low - 1e-6


def test_crafting_with_no_room_changes_nothing(fashion):
    x, got, _ = crafted(fashion, eps=0)
    assert torch.equal(x, got)
    for eps in (-0.1, math.nan):
        with pytest.raises(LabError, match="eps"):
            crafted(fashion, eps=eps)


def matching(model, x, y, target, adversarial):
    """Cosine of Σ ∇ℓ(x_i, y_i) with −∇ℓ(target, adversarial): 1 is what `craft` strives for."""
    found = requests.code._summed(model, requests.code.params_of(model), x, y)
    return F.cosine_similarity(found, requests.code._wanted(model, target, adversarial),
                               dim=0).item()


def test_matching_is_the_cosine_of_the_gradients(tiny):
    x, y = tiny.held.x[:3], tiny.held.y[:3]
    a = row_gradients(tiny.model, x, y).sum(0)
    b = -row_gradients(tiny.model, tiny.x[None], torch.tensor([2]))[0]
    assert (matching(tiny.model, x, y, tiny.x, 2)
            == pytest.approx(float(a @ b / a.norm() / b.norm()), abs=1e-9))


# ---- campaigns

class Recorder:
    """An additive unlearner that writes down what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, model, rows):
        self.asked.append(rows.tolist())
        return shift_bias(model, rows)


def by_coefficient(c):
    return lambda model, held: lambda w: w @ c[held.rows]


NOBODY = torch.empty(0, dtype=torch.long)
C = -torch.rand(40, generator=generator(8)) - 0.1
OTHERS = [torch.tensor(rows) for rows in ([30, 31, 6], [7, 8], [31, 32, 35], [33, 5])]


def plans(request):
    return {"at_once": requests.at_once(request), "spread": requests.spread(request),
            "greedy": requests.replan(by_coefficient(C), "greedy"),
            "receding": requests.replan(by_coefficient(C), "receding")}


@pytest.mark.parametrize("name", ["at_once", "spread", "greedy", "receding"])
@pytest.mark.parametrize("budget, rounds", [(6, 4), (1, 4), (3, 4), (20, 3), (5, 1), (7, 2)])
def test_a_campaign_asks_for_own_rows_once_and_within_budget(boxed, name, budget, rounds):
    held, unlearn = boxed.held.with_budget(budget), Recorder()
    request = held.rows[torch.randperm(20, generator=generator(0))[:budget]]
    model, asked = requests.campaign(boxed.model, held, plans(request)[name], unlearn,
                                     OTHERS[:rounds])
    assert len(asked.unique()) == len(asked) <= budget and torch.isin(asked, held.rows).all()
    everything = [r for rows in unlearn.asked for r in rows]
    assert len(everything) == len(set(everything))
    others = set(everything) - set(asked.tolist())
    assert others == {int(r) for rows in OTHERS[:rounds] for r in rows} - set(held.rows.tolist())
    assert torch.allclose(model[1].bias, boxed.model[1].bias + TABLE[everything].sum(0), atol=1e-5)
    assert held.budget == budget and len(held) == 20
    if name in ("at_once", "spread"):
        assert set(asked.tolist()) == set(request.tolist())
    else:  # every row helps by itself: replanning asks for the best ones in the end
        assert set(asked.tolist()) == set(held.rows[C[held.rows].argsort()[:budget]].tolist())


def test_the_attacker_and_the_others_take_turns(boxed):
    unlearn = Recorder()
    _, asked = requests.campaign(boxed.model, boxed.held,
                                 requests.spread(torch.tensor([9, 10, 11, 12, 13])), unlearn,
                               OTHERS)
    assert unlearn.asked == [[9, 10], [30, 31], [11], [12], [32, 35], [13], [33]]
    assert asked.tolist() == [9, 10, 11, 12, 13]


def test_without_others_an_additive_unlearner_does_not_mind_when(boxed):
    request = boxed.held.rows[[1, 4, 5, 11, 17]]
    models = [requests.campaign(boxed.model, boxed.held, plan, shift_bias, [NOBODY] * 3)[0]
              for plan in (requests.at_once(request), requests.spread(request))]
    wanted = shift_bias(boxed.model, request)
    for model in models:
        assert torch.allclose(model[1].bias, wanted[1].bias, atol=1e-6)
        assert torch.equal(model[1].weight, wanted[1].weight)


def test_replanning_sees_the_present_model(boxed):
    seen = []

    def objective(model, held):
        seen.append((model[1].bias.detach().clone(), held.rows.tolist(), held.budget))
        return lambda w: w @ C[held.rows]

    for horizon, budgets in (("greedy", [2, 2, 2]), ("receding", [6, 4, 2])):
        seen.clear()
        requests.campaign(boxed.model, boxed.held, requests.replan(objective, horizon), shift_bias,
                          OTHERS[:3])
        assert ([b for *_, b in seen] == budgets
                and [len(rows) for _, rows, _ in seen] == [20, 18, 16])
        assert (torch.equal(seen[0][0], boxed.model[1].bias)
                and not torch.equal(seen[1][0], seen[0][0]))


def test_campaigns_that_cannot_be_are_refused(boxed):
    for horizon in ("far", None, "Greedy"):
        with pytest.raises(LabError, match="horizon"):
            requests.replan(by_coefficient(C), horizon)
    for request in (torch.arange(5, 12), torch.tensor([4]), torch.tensor([5, 5])):
        with pytest.raises(LabError):
            requests.campaign(boxed.model, boxed.held, requests.at_once(request), shift_bias,
                              [NOBODY])
    model, asked = requests.campaign(boxed.model, boxed.held, requests.at_once(torch.tensor([5])),
                                     shift_bias, [])
    assert len(asked) == 0 and torch.equal(model[1].bias, boxed.model[1].bias)
