"""labkit.unlearn: each method against a closed form, and against the tests that fakes fail.

The checks of the first part are plain functions: they run over every method of METHODS and over
deliberate fakes.
"""

import copy
from collections import namedtuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import labkit as lk
from labkit.base import Diverged, LabError
from labkit.data import Data
from labkit.measure import evaluate
from labkit.training import fit, predict
from labkit.unlearn import METHODS, second_order
from labkit.unlearn.second_order import conjugate_gradients, curvature_product, fisher_diagonal

World = namedtuple("World", "data build recipe seed original forget retrained")
NAMES = [*METHODS]
NOBODY = torch.empty(0, dtype=torch.long)

# the strengths of notebook 01's grid that suit 1,500 rows: their mean step is shorter than that
# of 6,000 rows
SMALL = {"finetune": dict(lr=0.2, epochs=3, schedule="onecycle"), "gradient_ascent": dict(lr=0.08),
         "neggrad_plus": dict(beta=0.85, epochs=3, lr=0.05), "random_labels": dict(lr=0.003),
         "scrub": dict(lr=0.06), "first_order": dict(tau=2e-3), "influence": {},
         "ssd": dict(alpha=3), "fisher_forgetting": dict(alpha=3e-6),
         "l1_finetune": dict(lr=0.2, epochs=3, schedule="onecycle"), "salun": dict(lr=0.003)}


def make_world(data, model, recipe, seed, **settings):
    def build(s):
        return lk.models.build(model, data, s, **settings)

    forget = data.forget_random(0.1, seed)
    original = fit(build(seed), data.x, data.y, seed=seed, **recipe)
    retrained = METHODS["retrain"](original, data, forget, build=build, seed=seed, **recipe)
    return World(data, build, recipe, seed, original, forget, retrained)


def small_world(seed):
    return make_world(lk.data.load("fashion", n_train=1500, n_test=500, seed=seed, device="cpu"),
                      "mlp",
                      dict(epochs=20, lr=0.1, batch_size=64), seed, hidden=32)


@pytest.fixture(scope="module")
def worlds():
    return small_world(2), small_world(3)


@pytest.fixture(scope="module")
def mlp(worlds):
    return worlds[0]


@pytest.fixture(scope="module")
def cnn():
    data = lk.data.load("digits", n_train=200, n_test=100, device="cpu")
    return make_world(data, "strided_cnn", dict(epochs=4, lr=0.1, batch_size=64), 1, width=4)


def call(method, world, forget, **settings):
    """A method of METHODS (retrain with the original's own recipe), or any function of the same
    signature.
    """
    if method == "retrain":
        settings = dict(build=world.build, seed=world.seed) | world.recipe | settings
    return (METHODS[method] if method in NAMES else method)(world.original, world.data, forget,
                                                            **settings)


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(),
                                                 strict=True))


# ---- what every method must pass; each raises AssertionError

def leaves_the_given_model_alone(method, world):
    model, before, data = world.original, copy.deepcopy(world.original), world.data
    x, y, grads = (data.x.clone(), data.y.clone(),
                   [copy.deepcopy(p.grad) for p in model.parameters()])
    result = call(method, world, world.forget)
    assert result is not model and not result.training
    assert same(model, before)
    for p, g in zip(model.parameters(), grads, strict=True):
        assert p.grad is None if g is None else torch.equal(p.grad, g), (
            "gradients were left on the given model")
    theirs = {p.untyped_storage().data_ptr() for p in result.parameters()}
    assert not theirs & {p.untyped_storage().data_ptr() for p in model.parameters()}, (
        "the two share weights")
    assert torch.equal(data.x, x) and torch.equal(data.y, y), "the data were changed"


def asked_for_nothing_changes_nothing(method, world):
    before = copy.deepcopy(world.original)
    for nobody in (NOBODY, np.array([], dtype=np.uint8)):
        result = call(method, world, nobody)
        assert result is not world.original and same(result, before)


def reads_the_forget_set(method, world):
    n = len(world.data.y)
    other = torch.arange(n)[~torch.isin(torch.arange(n), world.forget)][: len(world.forget)]
    a, b = call(method, world, world.forget), call(method, world, other)
    assert not same(a, b), "two forget sets of equal size gave one and the same model"


def gives_the_same_twice(method, world):
    torch.manual_seed(1)
    a = call(method, world, world.forget)
    torch.manual_seed(2)
    assert same(a, call(method, world, world.forget))


def closes_the_gap(method, worlds, settings=None, at_least=0.04):
    """The mean share of the distance in UA from the original to retraining: above 0, not above 1,
    model of use.
    """
    closed, loss_of_ta = [], []
    for w in worlds:
        before, target = (evaluate(m, w.data, w.forget) for m in (w.original, w.retrained))
        assert target["UA"] - before["UA"] > 5, "this world has nothing to forget"
        after = evaluate(call(method, w, w.forget, **(settings or {})), w.data, w.forget)
        closed.append((after["UA"] - before["UA"]) / (target["UA"] - before["UA"]))
        loss_of_ta.append(before["TA"] - after["TA"])
    assert at_least < np.mean(closed), (
        f"UA has hardly moved: {np.round(closed, 2)} of the way to retraining")
    assert np.mean(closed) <= 1, f"UA has gone past retraining's: {np.round(closed, 2)} of the way"
    assert np.mean(loss_of_ta) < 10, f"TA has fallen by {np.round(loss_of_ta, 1)} points"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_every_method_passes_the_null_tests(name, kind, request):
    world = request.getfixturevalue(kind)
    leaves_the_given_model_alone(name, world)
    asked_for_nothing_changes_nothing(name, world)
    reads_the_forget_set(name, world)
    gives_the_same_twice(name, world)


@pytest.mark.parametrize("name", SMALL)
def test_every_method_moves_towards_retraining(name, worlds):
    closes_the_gap(name, worlds, SMALL[name])


@pytest.mark.slow  # about 30 s
@pytest.mark.timeout(600)
@pytest.mark.parametrize("model, seeds, settings, recipe", [
    ("mlp", (1, 2, 3), dict(hidden=64), dict(epochs=12, lr=0.15, batch_size=256)),
    ("strided_cnn", (1,), {}, dict(epochs=12, lr=0.1, batch_size=128)),
])
def test_the_shipped_defaults_are_sensible(model, seeds, settings, recipe):
    data = lk.data.load("fashion", device="cpu")
    found = [make_world(data.resplit(s), model, recipe, s, **settings) for s in seeds]
    failed = {}
    for name in SMALL:
        try:
            closes_the_gap(name, found)
        except AssertionError as error:
            failed[name] = str(error).splitlines()[0]
    assert not failed


BAD_REQUESTS = {
    "twice": (torch.tensor([3, 7, 3]), "3 twice"), "beyond": (torch.tensor([0, 1500]), "1500"),
    "negative": (torch.tensor([-1]), "-1"), "floats": (torch.tensor([1.0, 2.0]), "float32"),
    "mask": (torch.zeros(1500, dtype=torch.bool), "mask"),
    "everything": (torch.arange(1500), "whole training set"),
    "a table": (torch.zeros(2, 2, dtype=torch.long), "flat list"),
    "text": ("all of it", "flat list"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("request_", BAD_REQUESTS)
def test_every_method_refuses_a_bad_request(name, request_, mlp):
    forget, words = BAD_REQUESTS[request_]
    with pytest.raises(LabError) as caught:
        call(name, mlp, forget)
    assert words in str(caught.value) and "\n" not in str(caught.value)


STRENGTH = dict(finetune="lr", gradient_ascent="lr", neggrad_plus="lr", random_labels="lr",
                scrub="lr",
                first_order="tau", retrain="lr", fisher_forgetting="alpha", influence="scale",
                l1_finetune="lr", salun="lr")


@pytest.mark.parametrize("name", STRENGTH)
def test_a_method_that_blows_up_says_so(name, mlp):
    more = dict(cap=1e38) if name == "fisher_forgetting" else {}
    with pytest.raises(Diverged, match="diverged"):
        call(name, mlp, mlp.forget, **{STRENGTH[name]: 1e200 if name == "influence" else 1e38},
             **more)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "retrain"])  # it has fresh weights
def test_unlearning_a_model_that_diverged_is_a_lost_run(name, mlp):
    broken = copy.deepcopy(mlp.original)
    next(broken.parameters()).data[0, 0] = torch.nan
    with pytest.raises(Diverged):
        call(name, mlp._replace(original=broken), mlp.forget)


def test_a_weight_that_cannot_be_dampened_is_a_lost_run(mlp):
    """A unit at rest in the only row taken for all has the information 0; times infinity: NaN."""
    with pytest.raises(Diverged, match="ssd"):
        call("ssd", mlp, mlp.forget, dampening=float("inf"), alpha=0, n_rows=1)


def test_curvature_that_is_not_finite_is_a_lost_run(mlp):
    """The gradient is finite, so nothing else would say that the step is none."""
    def kinked(out, y):  # |o|^1.5 at 0: slope 0, curvature infinite
        return F.cross_entropy(out, y) + (out - out.detach()).abs().pow(1.5).sum()

    def steep(out, y):  # finite too, until two of them are multiplied
        return 1e25 * F.cross_entropy(out, y)

    for loss in (kinked, steep):
        with pytest.raises(Diverged, match="curvature"):
            call("influence", mlp, mlp.forget, loss=loss)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1e30])
@pytest.mark.parametrize("at", [1, 3])
def test_conjugate_gradients_stop_at_what_is_not_finite(bad, at):
    sides, steps = {"w": torch.randn(2, 5, generator=torch.Generator().manual_seed(0))}, []
    scale = torch.linspace(1, 9, 5)

    def product(v):
        steps.append(1)
        out = v["w"] * scale
        if len(steps) == at:
            out[1, 2] = bad * v["w"][1, 2].sign() * 1e10 if bad == 1e30 else bad
        return {"w": out}

    with pytest.raises(Diverged, match="curvature"):
        conjugate_gradients(product, sides, 4)


@pytest.mark.parametrize("name", NAMES)
def test_forget_sets_may_be_lists_and_arrays(name, mlp):
    rows = mlp.forget[:50]
    expected = call(name, mlp, rows)
    assert (same(expected, call(name, mlp, rows.tolist()))
            and same(expected, call(name, mlp, rows.numpy())))


def test_small_number_types_are_not_taken_for_masks(mlp):
    rows = np.array([1, 0, 200], dtype=np.uint8)
    for name in ("retrain", "finetune", "ssd"):
        assert same(call(name, mlp, rows), call(name, mlp, torch.tensor([1, 0, 200])))
    for nobody in ([], torch.tensor([])):  # of type float, as Python makes them
        assert same(call("retrain", mlp, nobody), mlp.original)


# ---- fakes: each must be caught by the checks named beside it

def returns_what_it_got(model, data, forget):
    return model


def returns_a_copy(model, data, forget):
    return copy.deepcopy(model)


def trains_on_everything(model, data, forget):
    return fit(copy.deepcopy(model), data.x, data.y, epochs=2, lr=0.03, seed=0, schedule="constant")


def collapses(model, data, forget):
    fake = copy.deepcopy(model)
    with torch.no_grad():
        fake[-1].weight.zero_()
        fake[-1].bias.zero_()
        fake[-1].bias[int(forget.sum()) % 10 if len(forget) else 0] += 9
    return fake


def edits_in_place(model, data, forget):
    with torch.no_grad():
        model[-1].weight.mul_(1.0001)
    return copy.deepcopy(model)


def rolls_dice(model, data, forget):
    fake = copy.deepcopy(model)
    with torch.no_grad():
        fake[-1].weight.add_(0.01 * torch.randn(fake[-1].weight.shape))
    return fake


FAKES = [
    (returns_what_it_got, [leaves_the_given_model_alone, asked_for_nothing_changes_nothing,
                           reads_the_forget_set, closes_the_gap]),
    (returns_a_copy, [reads_the_forget_set, closes_the_gap]),
    (trains_on_everything, [asked_for_nothing_changes_nothing, reads_the_forget_set,
                            closes_the_gap]),
    (collapses, [asked_for_nothing_changes_nothing, closes_the_gap]),
    (edits_in_place, [leaves_the_given_model_alone, asked_for_nothing_changes_nothing]),
    (rolls_dice, [asked_for_nothing_changes_nothing, gives_the_same_twice]),
]


@pytest.mark.parametrize("fake, check", [(f, c) for f, checks in FAKES for c in checks],
                         ids=lambda f: f.__name__)
def test_fakes_are_caught(fake, check, mlp):
    world = mlp._replace(original=copy.deepcopy(mlp.original))
    with pytest.raises(AssertionError):
        check(fake, [world] if check is closes_the_gap else world)


# ---- closed forms, on a toy whose rows can be told apart

N, D, K = 60, 6, 3


@pytest.fixture
def toy():
    """(data, model, forget): 60 different rows, a trained net of 4 hidden units, 10 rows to forget;
    doubles.
    """
    return make_toy()


def make_toy(hidden=4, n=N, d=D, train=30):
    g = torch.Generator().manual_seed(5)
    x, x_test = torch.randn(n, d, generator=g).double(), torch.randn(20, d, generator=g).double()
    rule = torch.randn(d, K, generator=g).double()
    y = (x @ rule + torch.randn(n, K, generator=g).double()).argmax(1)
    data = Data("toy", x, y, x_test, (x_test @ rule).argmax(1), ("a", "b", "c"),
                torch.zeros(d), torch.ones(d), {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(d, hidden), nn.Tanh(),
                              nn.Linear(hidden, K)).double()
    return (data, fit(model, x, y, epochs=train, lr=0.3, seed=0, batch_size=32),
            torch.arange(3, 43, 4))


def watched(model, log):
    """The model, noting the rows of each forward pass; copies note them too."""
    model.register_forward_pre_hook(lambda module, inputs: log.append(inputs[0].detach().clone()))
    return model


def which(data, batch):
    """Row numbers of a batch."""
    found = (data.x[None] == batch[:, None]).all(-1)
    assert (found.sum(1) == 1).all()
    return found.int().argmax(1)


def gradient(model, x, y, loss=F.cross_entropy, **settings):
    return torch.autograd.grad(loss(model(x), y, **settings), list(model.parameters()))


def moved(model, steps):
    """A copy of the model, each weight moved by its step."""
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for p, s in zip(copied.parameters(), steps, strict=True):
            p += s
    return copied


def close(a, b, **tolerance):
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, **tolerance)


def retained(forget, n=N):
    return torch.arange(n)[~torch.isin(torch.arange(n), forget)]


def test_retraining_starts_elsewhere_and_never_sees_a_forgotten_row(toy):
    data, model, forget = toy
    log = []

    def build(seed):
        return watched(lk.models.build("mlp", data, seed, hidden=4).double(), log)

    recipe = dict(build=build, lr=0.1, batch_size=16)
    original = fit(build(1), data.x, data.y, epochs=3, lr=0.1, seed=1, batch_size=16)
    log.clear()
    again = METHODS["retrain"](original, data, forget, epochs=3, seed=1, **recipe)
    seen = torch.cat([which(data, b) for b in log])
    assert not torch.isin(seen, forget).any()
    assert torch.equal(seen.bincount(minlength=N)[retained(forget)],
                       torch.full((N - len(forget),), 3))
    fresh = METHODS["retrain"](original, data, forget, epochs=0, seed=2, **recipe)
    start = METHODS["retrain"](original, data, forget, epochs=0, seed=1, **recipe)
    assert same(fresh, build(2)) and same(start, build(1))
    assert not any(torch.equal(a, b)
                   for a, b in zip(fresh.parameters(), start.parameters(), strict=True))
    assert not same(again, METHODS["retrain"](original, data, forget, epochs=3, seed=2, **recipe))
    # the given model is only looked at to be replaced
    assert same(again, METHODS["retrain"](fresh, data, forget, epochs=3, seed=1, **recipe))


def test_finetuning_is_fit_on_the_retain_set_from_the_given_weights(toy):
    data, model, forget = toy
    log = []
    result = METHODS["finetune"](watched(copy.deepcopy(model), log), data, forget, epochs=3,
                                 lr=0.05, seed=9)
    expected = fit(copy.deepcopy(model), data.x, data.y, epochs=3, lr=0.05, seed=9,
                   schedule="constant", skip=forget)
    assert same(result, expected) and not same(result, model)
    seen = torch.cat([which(data, b) for b in log])
    assert sorted(set(seen.tolist())) == retained(forget).tolist()


def test_finetuning_one_step_is_plain_descent_on_the_retain_set(toy):
    data, model, forget = toy
    keep = retained(forget)
    result = METHODS["finetune"](model, data, forget, epochs=1, lr=0.05, batch_size=N, momentum=0,
                                 weight_decay=0)
    close(result, moved(model, [-0.05 * g for g in gradient(model, data.x[keep], data.y[keep])]))


def test_ascent_is_one_step_uphill_and_sees_only_the_forget_set(toy):
    data, model, forget = toy
    log = []
    result = METHODS["gradient_ascent"](watched(copy.deepcopy(model), log), data, forget, lr=0.05,
                                        batch_size=N)
    close(result, moved(model, [0.05 * g for g in gradient(model, data.x[forget], data.y[forget])]))
    assert sorted(torch.cat([which(data, b) for b in log]).tolist()) == forget.tolist()
    twice = METHODS["gradient_ascent"](model, data, forget, lr=0.05, batch_size=N, epochs=2,
                                       momentum=0)
    close(twice, moved(result, [0.05 * g
                                for g in gradient(result, data.x[forget], data.y[forget])]))
    before, after = (F.cross_entropy(m(data.x[forget]), data.y[forget]) for m in (model, twice))
    assert after > before


@pytest.mark.parametrize("beta", [1.0, 0.95, 0.5, 0.0])
def test_neggrad_plus_mixes_the_two_gradients(toy, beta):
    data, model, forget = toy
    keep = retained(forget)
    result = METHODS["neggrad_plus"](model, data, forget, lr=0.05, beta=beta, batch_size=N)
    g_r, g_f = (gradient(model, data.x[i], data.y[i]) for i in (keep, forget))
    close(result, moved(model, [-0.05 * (beta * r - (1 - beta) * f)
                                for r, f in zip(g_r, g_f, strict=True)]))


def test_neggrad_plus_passes_once_over_the_retain_set_with_forget_batches_in_turn(toy):
    data, model, forget = toy
    log = []
    METHODS["neggrad_plus"](watched(copy.deepcopy(model), log), data, forget, batch_size=8)
    keep, drop = [which(data, b) for b in log[::2]], [which(data, b) for b in log[1::2]]
    assert (sorted(torch.cat(keep).tolist()) == retained(forget).tolist()
            and len(drop) == len(keep) == 7)
    assert ([len(b) for b in drop] == [8, 2, 8, 2, 8, 2, 8]
            and torch.isin(torch.cat(drop), forget).all())


def test_random_labels_are_never_the_true_ones(toy, monkeypatch):
    data, model, forget = toy
    log, targets, real = [], [], F.cross_entropy
    monkeypatch.setattr(F, "cross_entropy",
                        lambda out, y, **kw: targets.append(y.clone()) or real(out, y, **kw))
    METHODS["random_labels"](watched(copy.deepcopy(model), log), data, forget, epochs=40, lr=1e-3,
                             batch_size=32)
    assert [len(b) for b in log] == [32, 28] * 40
    rows, taught = torch.cat([which(data, b) for b in log]), torch.cat(targets)
    on_forget = torch.isin(rows, forget)
    assert torch.equal(taught[~on_forget], data.y[rows[~on_forget]])
    assert (taught[on_forget] != data.y[rows[on_forget]]).all()
    # drawn anew each epoch: over 40 epochs both wrong labels come up, about equally often
    for row in forget:
        drawn = taught[rows == row]
        assert len(drawn) == 40 and 8 <= (drawn == drawn[0]).sum() <= 32


def test_random_labels_one_step(toy):
    data, model, forget = toy
    result = METHODS["random_labels"](model, data, forget, epochs=1, lr=0.05, batch_size=N, seed=3)
    y = data.y.clone()
    y[forget] = (y[forget] + torch.randint(1, K, (len(forget),),
                                           generator=torch.Generator().manual_seed(3))) % K
    close(result, moved(model, [-0.05 * g for g in gradient(model, data.x, y)]))


def kl(teacher, student, x, temperature=1.0):
    """KL(teacher ‖ student), mean over rows, from its definition."""
    p, q = (torch.softmax(m(x) / temperature, 1) for m in (teacher, student))
    return (p * (p.log() - q.log())).sum(1).mean()


def test_scrub_starts_where_the_divergence_is_flat(toy):
    data, model, forget = toy
    still = METHODS["scrub"](model, data, forget, epochs=1, lr=1.0, alpha=0.0, gamma=0.0,
                             batch_size=N)
    # the teacher's own gradient is 0: nothing to walk along yet
    close(still, model, rtol=0, atol=1e-12)
    one = METHODS["scrub"](model, data, forget, epochs=1, lr=0.05, gamma=0.7, batch_size=N,
                           momentum=0)
    keep = retained(forget)
    close(one, moved(model, [-0.05 * 0.7 * g for g in gradient(model, data.x[keep], data.y[keep])]))


def test_scrub_step_by_step(toy):
    data, model, forget = toy
    keep, lr, gamma, alpha, temperature = retained(forget), 0.3, 0.9, 0.4, 3.0
    student, teacher = copy.deepcopy(model), copy.deepcopy(model)
    for epoch in range(4):
        if epoch < 3:
            loss = -kl(teacher, student, data.x[forget], temperature) * temperature**2
            student = moved(
                student, [-lr * g for g in torch.autograd.grad(loss, list(student.parameters()))])
        loss = gamma * F.cross_entropy(student(data.x[keep]), data.y[keep])
        loss = loss + alpha * kl(teacher, student, data.x[keep], temperature) * temperature**2
        student = moved(
            student, [-lr * g for g in torch.autograd.grad(loss, list(student.parameters()))])
    result = METHODS["scrub"](model, data, forget, epochs=4, max_epochs=3, lr=lr, gamma=gamma,
                              alpha=alpha, temperature=temperature, batch_size=N, momentum=0)
    close(result, student)


def test_scrub_obeys_its_teacher_on_the_retain_set(mlp):
    student = call("scrub", mlp, mlp.forget, **SMALL["scrub"])
    split = mlp.data.split(mlp.forget)
    with torch.no_grad():
        on_retain, on_forget = (kl(mlp.original, student, mlp.data.x[i]).item()
                                for i in (split.retain, split.forget))
    assert on_retain < 0.05 and on_forget > 1.5 * on_retain


def test_first_order_is_one_summed_step(toy):
    data, model, forget = toy
    method, x, y = METHODS["first_order"], data.x, data.y
    loop = [sum(g) for g in zip(*[gradient(model, x[i : i + 1], y[i : i + 1])
                                  for i in forget.tolist()], strict=True)]
    close(method(model, data, forget, tau=0.01), moved(model, [0.01 * g for g in loop]))
    # a sum, not a mean: two requests add up
    a, b, both = (method(model, data, f, tau=0.01) for f in (forget[:4], forget[4:], forget))
    close(both, moved(a, [q - p for q, p in zip(b.parameters(), model.parameters(), strict=True)]))


def test_first_order_with_corrected_labels(toy):
    data, model, forget = toy
    method, x = METHODS["first_order"], data.x[forget]
    corrected = (data.y[forget] + 1) % K
    new, old = (gradient(model, x, y, reduction="sum") for y in (corrected, data.y[forget]))
    expected = moved(model, [-0.01 * (n - o) for n, o in zip(new, old, strict=True)])
    result = method(model, data, forget, tau=0.01, relabel=corrected)
    close(result, expected)
    assert F.cross_entropy(result(x), corrected) < F.cross_entropy(model(x), corrected)
    # nothing to correct
    close(method(model, data, forget, tau=0.01, relabel=data.y[forget]), model)


# ---- curvature

def matrix(product, params):
    """The matrix of a linear map dict -> dict, column by column."""
    columns = []
    for k, p in params.items():
        for i in range(p.numel()):
            v = {name: torch.zeros_like(q) for name, q in params.items()}
            v[k].view(-1)[i] = 1.0
            columns.append(torch.cat([t.flatten() for t in product(v).values()]))
    return torch.stack(columns, 1)


def explicit_curvature(model, params, x, y, curvature):
    shapes = {k: p.shape for k, p in params.items()}

    def out(flat):
        parts = flat.split([s.numel() for s in shapes.values()])
        weights = {k: t.view(s) for (k, s), t in zip(shapes.items(), parts, strict=True)}
        return torch.func.functional_call(model, weights, (x,))

    flat = torch.cat([p.flatten() for p in params.values()])
    if curvature == "hessian":
        return torch.autograd.functional.hessian(lambda f: F.cross_entropy(out(f), y), flat)
    jacobian = torch.autograd.functional.jacobian(out, flat)  # (n, k, weights)
    p = out(flat).softmax(1)
    of_loss = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return torch.einsum("nkp,nkl,nlq->pq", jacobian, of_loss, jacobian) / len(x)


@pytest.mark.parametrize("curvature", ["gauss-newton", "hessian"])
def test_curvature_products_are_those_of_the_explicit_matrix(toy, curvature):
    data, model, _ = toy
    params = {k: p.detach() for k, p in model.named_parameters()}
    x, y = data.x[:20], data.y[:20]
    h = matrix(lambda v: curvature_product(model, params, x, y, v, curvature), params)
    torch.testing.assert_close(h, explicit_curvature(model, params, x, y, curvature), rtol=1e-8,
                               atol=1e-10)
    torch.testing.assert_close(h, h.T)
    if curvature == "gauss-newton":
        assert torch.linalg.eigvalsh(h).min() > -1e-10
    damped = matrix(lambda v: curvature_product(model, params, x, y, v, curvature, damping=0.3),
                    params)
    torch.testing.assert_close(damped, h + 0.3 * torch.eye(len(h), dtype=h.dtype))


def test_an_unknown_curvature_is_named(toy):
    data, model, forget = toy
    with pytest.raises(LabError, match="'newton'.*gauss-newton.*hessian"):
        METHODS["influence"](model, data, forget, curvature="newton")


def test_conjugate_gradients_solve_the_system():
    g = torch.Generator().manual_seed(1)
    root, b = torch.randn(12, 12, generator=g).double(), torch.randn(12, generator=g).double()
    a = root @ root.T + 0.5 * torch.eye(12).double()

    def product(v):
        left, right = (torch.cat([v["w"].flatten(1), v["b"]], 1) @ a).split([8, 4], 1)
        return {"w": left.view(-1, 2, 4), "b": right}

    right_side = {"w": b[:8].view(1, 2, 4), "b": b[None, 8:]}
    x = conjugate_gradients(product, right_side, 30, tolerance=1e-12)
    exact = torch.linalg.solve(a, b)
    torch.testing.assert_close(torch.cat([x["w"].flatten(), x["b"][0]]), exact)
    errors = []
    for steps in (0, 1, 3, 6, 12):
        x = conjugate_gradients(product, right_side, steps)
        e = torch.cat([x["w"].flatten(), x["b"][0]]) - exact
        errors.append((e @ a @ e).item())  # the norm that the method lowers at every step
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-9 * errors[0]
    zero = {k: torch.zeros_like(t) for k, t in right_side.items()}
    assert all((t == 0).all() for t in conjugate_gradients(product, zero, 5).values())
    downhill = conjugate_gradients(lambda v: {k: -t for k, t in v.items()}, right_side, 5)
    assert all((t == 0).all() for t in downhill.values()), "negative curvature: stop, do not walk"
    both = {k: torch.cat([t, -t]) for k, t in right_side.items()}
    turned = conjugate_gradients(
        lambda v: {k: t * torch.tensor([1.0, -1]).view(-1, *[1] * (t.dim() - 1))
                   for k, t in product(v).items()}, both, 12)
    torch.testing.assert_close(turned["b"][0], exact[8:]), "one side stops, the other goes on"
    assert all((t[1] == 0).all() for t in turned.values())


@pytest.mark.parametrize("curvature", ["gauss-newton", "hessian"])
def test_influence_is_exact_on_a_quadratic(toy, curvature):
    data, _, forget = toy

    def loss(out, y):
        return (out - F.one_hot(y, K).to(out.dtype)).pow(2).sum(1).mean()

    def optimum(rows):
        x = torch.cat([data.x[rows], torch.ones(len(rows), 1).double()], 1)
        solution = torch.linalg.lstsq(x, F.one_hot(data.y[rows], K).double()).solution
        model = nn.Linear(D, K).double()
        model.weight.data, model.bias.data = solution[:D].T.contiguous(), solution[D].clone()
        return model

    original, target = optimum(torch.arange(N)), optimum(retained(forget))
    settings = dict(loss=loss, curvature=curvature, damping=0.0, cg_steps=50, n_rows=N)
    close(METHODS["influence"](original, data, forget, **settings), target, rtol=1e-5, atol=1e-6)
    half = METHODS["influence"](original, data, forget, scale=0.5, **settings)
    for o, h, t in zip(original.parameters(), half.parameters(), target.parameters(), strict=True):
        torch.testing.assert_close(h, (o + t) / 2, rtol=1e-5, atol=1e-6)


def test_influence_steps_along_the_difference_of_the_gradients(toy):
    """With a huge damping the inverse is I / damping, and the step is (∇L_D − ∇L_r) / damping."""
    data, model, forget = toy
    keep = retained(forget)
    g_all, g_keep = (gradient(model, data.x[i], data.y[i]) for i in (torch.arange(N), keep))
    expected = moved(model, [(a - r) / 1e6 * 1e5 for a, r in zip(g_all, g_keep, strict=True)])
    close(METHODS["influence"](model, data, forget, damping=1e6, scale=1e5), expected, rtol=1e-4,
          atol=1e-8)


# ---- Fisher information

def fisher_by_rows(model, x, y):
    total = [torch.zeros_like(p) for p in model.parameters()]
    for i in range(len(x)):
        total = [t + g**2 for t, g in zip(total, gradient(model, x[i : i + 1], y[i : i + 1]),
                                          strict=True)]
    return [t / len(x) for t in total]


def test_the_fisher_diagonal_is_the_mean_of_squared_row_gradients(toy):
    data, model, _ = toy
    expected = fisher_by_rows(model, data.x, data.y)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    for chunk, rows in ((1, slice(None)), (7, slice(None)), (500, slice(None)), (32, order)):
        found = fisher_diagonal(model, data.x[rows], data.y[rows], chunk)
        assert [*found] == [k for k, _ in model.named_parameters()]
        for a, b in zip(found.values(), expected, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("alpha, dampening", [(1.5, 1.0), (2.0, 0.5), (1.0, 5.0)])
def test_ssd_shrinks_the_selected_weights_by_the_formula(toy, alpha, dampening):
    data, model, forget = toy
    of_all, of_forget = (fisher_by_rows(model, data.x[i], data.y[i])
                         for i in (torch.arange(N), forget))
    results = [METHODS["ssd"](model, data, forget, alpha=alpha, dampening=dampening, n_rows=N,
                              seed=s) for s in (0, 1)]
    count = 0
    for result in results:  # another order of the rows gives the same model
        for p, new, a, f in zip(model.parameters(), result.parameters(), of_all, of_forget,
                                strict=True):
            selected = f > alpha * a
            count += int(selected.sum())
            assert torch.equal(new[~selected], p[~selected])
            torch.testing.assert_close(
                new, torch.where(selected, p * (dampening * a / f).clamp(max=1), p))
    assert 0 < count < 2 * lk.models.n_weights(model)
    assert same(METHODS["ssd"](model, data, forget, alpha=1e9), model)


def true_fisher(model, x):
    """Its expectation over labels drawn from the model: mean over rows of Σ_k p_k (∂ log p_k)²."""
    p = predict(model, x).double().softmax(1)
    total = [torch.zeros_like(w) for w in model.parameters()]
    for i in range(len(x)):
        for k in range(K):
            g = gradient(model, x[i : i + 1], torch.tensor([k]))
            total = [t + p[i, k] * q**2 for t, q in zip(total, g, strict=True)]
    return [t / len(x) for t in total]


def noise(model, result):
    pairs = zip(model.parameters(), result.parameters(), strict=True)
    return torch.cat([(new - p).detach().flatten() for p, new in pairs])


def test_fisher_forgetting_adds_noise_where_the_information_is_low():
    data, model, forget = make_toy(hidden=150, n=300, d=20, train=2)
    information = torch.cat([f.flatten()
                             for f in true_fisher(model, data.x[retained(forget, 300)])])
    z2 = []
    for seed in range(3):
        result = METHODS["fisher_forgetting"](model, data, forget, alpha=1e-4, cap=1e12, seed=seed)
        z2.append(noise(model, result) ** 2 * information / 1e-4)
    z2 = torch.stack(z2)  # squares of standard normals, 3,600 weights × 3 draws
    low, high = information.quantile(torch.tensor([0.25, 0.75]).double())
    assert information[information > 0].max() > 10 * low
    for part in (information <= low, (low < information) & (information <= high),
                 information > high):
        assert 0.85 < z2[:, part].mean() < 1.25, "the variance does not follow alpha / F"
    assert (abs(noise(model, result).mean())
            < 4 * noise(model, result).std() / len(information) ** 0.5)


def test_fisher_forgetting_is_capped_and_scales_with_alpha():
    data, model, forget = make_toy(hidden=150, n=100, d=20, train=2)
    method = METHODS["fisher_forgetting"]
    capped = noise(model, method(model, data, forget, alpha=1e-4, cap=0.5))
    # every 1 / F lies above this cap: 3,600 weights
    assert 0.93 < (capped**2 / (1e-4 * 0.5)).mean() < 1.07
    other = noise(model, method(model, data, forget, alpha=4e-4, cap=0.5))
    torch.testing.assert_close(other, 2 * capped)
    assert same(method(model, data, forget, alpha=0.0), model)
    assert not torch.equal(capped, noise(model,
                                         method(model, data, forget, alpha=1e-4, cap=0.5, seed=1)))


def test_the_list_of_methods_is_whole():
    assert {"retrain", *SMALL} == set(METHODS) and second_order.ssd is lk.unlearn.ssd
    for name, method in METHODS.items():
        assert method.__name__ == name and getattr(lk.unlearn, name) is method
        assert "et al. 20" in " ".join(method.__doc__.split()) or name == "retrain", (
            f"{name} names no source")


@pytest.mark.parametrize("name", ["retrain", "finetune", "l1_finetune"])
def test_augmentation_reaches_the_training(name, mlp):
    seen = []

    def look(batch, draw):
        seen.append(len(batch))
        return batch

    how = dict(epochs=1, lr=0.1) | (dict(build=mlp.build, seed=3) if name == "retrain" else {})
    plain = METHODS[name](mlp.original, mlp.data, [1, 2], **how)
    assert seen == []
    assert same(plain, METHODS[name](mlp.original, mlp.data, [1, 2], augment=look, **how))
    assert sum(seen) == len(mlp.data.y)
