"""labkit.unlearn.masks and .sparse, the chapter on sparsity: masks against numpy and closed forms,
and that nothing loses them.
"""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import labkit as lk
from course.chapters import sparsity as sparsity_chapter
from labkit import measure, unlearn
from labkit.base import LabError
from labkit.training import fit, predict
from labkit.unlearn import METHODS
from labkit.unlearn.second_order import curvature_product

RECIPE = dict(epochs=4, lr=0.1, batch_size=64)
SETTINGS = {"finetune": dict(lr=0.05), "gradient_ascent": dict(lr=0.01),
            "neggrad_plus": dict(lr=0.02),
            "random_labels": {}, "scrub": {}, "first_order": {}, "influence": dict(cg_steps=5,
                                                                                   n_rows=200),
            "ssd": dict(n_rows=200), "fisher_forgetting": dict(n_rows=200, alpha=1e-4),
            "l1_finetune": {}, "salun": {}}
NOBODY = torch.empty(0, dtype=torch.long)


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(),
                                                 strict=True))


def weights(model):
    return torch.cat([p.detach().flatten() for p in unlearn.prunable(model).values()])


@pytest.fixture(scope="module")
def world():
    """A small network of convolutions and linear layers, dense and pruned to 80 %."""
    data = lk.data.load("digits", n_train=600, n_test=300, device="cpu")

    def build(seed):
        return lk.models.build("strided_cnn", data, seed, width=4)

    dense = fit(build(1), data.x, data.y, seed=1, **RECIPE)
    model, mask = sparsity_chapter.omp(build, data, sparsity=0.8, seed=1, dense=dense, **RECIPE)
    return SimpleNamespace(data=data, build=build, dense=dense, model=model, mask=mask,
                           forget=data.forget_class(3))


# ---- masks

@pytest.mark.parametrize("sparsity", [0, 0.3, 0.5, 0.95, 0.999])
def test_the_magnitude_mask_is_that_of_a_sort(world, sparsity):
    w = np.abs(weights(world.dense).numpy())
    mask = sparsity_chapter.magnitude_mask(world.dense, sparsity)
    expected = np.ones(len(w), bool)
    expected[np.argsort(w, kind="stable")[: round(sparsity * len(w))]] = False
    assert [*mask] == [k for k, p in world.dense.named_parameters() if p.dim() > 1]
    assert np.array_equal(torch.cat([m.flatten() for m in mask.values()]).numpy(), expected)
    pruned = sparsity_chapter.apply_mask(copy.deepcopy(world.dense), mask)
    assert unlearn.sparsity(pruned) == round(sparsity * len(w)) / len(w)
    assert all(torch.equal(p, q) for (k, p), q in zip(world.dense.named_parameters(),
                                                      pruned.parameters(), strict=True)
               if k not in mask), "a bias was pruned"


def test_ties_are_cut_at_the_exact_count():
    model = nn.Linear(5, 4, bias=False)
    nn.init.constant_(model.weight, -0.25)
    keep = sparsity_chapter.magnitude_mask(model, 0.35)["weight"].flatten()
    assert keep.tolist() == [False] * 7 + [True] * 13
    model.weight.data.zero_()  # a weight that is 0 by itself is not pruned for that
    assert sparsity_chapter.magnitude_mask(model, 0.5)["weight"].sum() == 10


def test_a_mask_within_a_mask(world):
    first = sparsity_chapter.magnitude_mask(world.build(7), 0.5)
    second = sparsity_chapter.magnitude_mask(world.dense, 0.75, within=first)
    total = sum(m.numel() for m in first.values())
    assert sum(int(m.sum()) for m in second.values()) == total - round(0.75 * total)
    assert not any((second[k] & ~first[k]).any() for k in first)
    looser = sparsity_chapter.magnitude_mask(world.dense, 0.25, within=first)
    assert all(torch.equal(looser[k], first[k]) for k in first), "a pruned weight came back"


def test_names_narrow_the_mask(world):
    mask = sparsity_chapter.magnitude_mask(world.dense, 0.9, names=["0.weight", "2.weight"])
    assert [*mask] == ["0.weight", "2.weight"]
    with pytest.raises(LabError, match="'0.bias'.*0.weight, 2.weight, 5.weight"):
        sparsity_chapter.magnitude_mask(world.dense, 0.9, names=["0.bias"])


def test_sparsity_below_a_threshold():
    model = nn.Linear(4, 1)
    model.weight.data = torch.tensor([[0.0, 1e-4, -1e-2, 1.0]])
    assert [unlearn.sparsity(model, t) for t in (0, 1e-3, 1e-2, 2)] == [0.25, 0.5, 0.75, 1.0]


def test_the_mask_survives_momentum_and_weight_decay(world):
    data, recipe = world.data, dict(epochs=2, lr=0.1, seed=3, momentum=0.9, weight_decay=0.05)
    found = sparsity_chapter.fit_masked(world.dense, world.mask, data.x, data.y, **recipe)
    assert sparsity_chapter.check_mask(found, world.mask) is found
    assert unlearn.sparsity(found) == unlearn.sparsity(world.model)
    # the definition: put the pruned weights back to 0 after every step
    by_hand = sparsity_chapter.apply_mask(copy.deepcopy(world.dense), world.mask).train()
    optimizer = torch.optim.SGD(by_hand.parameters(), 0.1, 0.9, nesterov=True, weight_decay=0.05)
    order, steps = torch.Generator().manual_seed(3), 2 * -(-len(data.x) // 128)
    rates = lk.training._schedule("onecycle", 0.1, steps)
    for epoch in range(2):
        for i, rows in enumerate(torch.randperm(len(data.x), generator=order).split(128)):
            optimizer.param_groups[0]["lr"] = rates[epoch * steps // 2 + i]
            optimizer.zero_grad()
            F.cross_entropy(by_hand(data.x[rows]), data.y[rows]).backward()
            optimizer.step()
            sparsity_chapter.apply_mask(by_hand, world.mask)
    assert same(found, by_hand)
    assert [k for k, _ in found.named_parameters()] == [k for k,
                                                        _ in world.dense.named_parameters()]
    assert type(found[0]) is nn.Conv2d and not same(found, world.dense)


def test_a_lost_mask_is_caught(world):
    lost = METHODS["finetune"](world.model, world.data, world.forget)  # without prune_then
    with pytest.raises(LabError,
                       match=r"The mask was lost: \d+ of the \d+ pruned weights of 0.weight"):
        sparsity_chapter.check_mask(lost, world.mask)
    one = copy.deepcopy(world.model)
    one[0].weight.data[~world.mask["0.weight"]] += torch.eye(
        int((~world.mask["0.weight"]).sum()))[0] * 1e-30
    with pytest.raises(LabError, match="1 of the"):
        sparsity_chapter.check_mask(one, world.mask)
    with pytest.raises(LabError, match="lost"):
        sparsity_chapter.prune_then(METHODS["finetune"], world.mask)(world.dense, world.data,
                                                                     world.forget)

    def fake(model, data, forget):  # a method that gives back another, dense network
        return copy.deepcopy(world.dense)

    with pytest.raises(LabError, match="lost"):
        sparsity_chapter.prune_then(fake, world.mask)(world.model, world.data, world.forget)


# ---- omp, imp, synflow

@pytest.mark.parametrize("rounds, rewind", [(1, 0), (1, 1), (3, 0.5)])
def test_imp_prunes_rewinds_and_trains_on(world, rounds, rewind):
    data = world.data
    model, mask = sparsity_chapter.imp(world.build, data, sparsity=0.8, seed=1, rounds=rounds,
                                       rewind=rewind, **RECIPE)
    n = len(weights(model))
    assert unlearn.sparsity(model) == round(0.8 * n) / n
    early = fit(world.build(1), data.x, data.y, seed=1, span=(0, rewind), **RECIPE)
    assert same(early, world.build(1)) == (rewind == 0)
    last, kept = world.dense, None
    for k in range(1, rounds + 1):
        kept = sparsity_chapter.magnitude_mask(last, 1 - 0.2 ** (k / rounds), within=kept)
        last = sparsity_chapter.fit_masked(early, kept, data.x, data.y, seed=1, span=(rewind, 4),
                                           **RECIPE)
    assert all(torch.equal(kept[k], mask[k]) for k in mask)
    assert same(last, model)
    assert measure.accuracy(predict(model, data.x),
                            data.y) > 60, "the sparse network has learned nothing"


def test_omp_is_one_round_of_imp_and_takes_a_trained_model(world):
    again, mask = sparsity_chapter.omp(world.build, world.data, sparsity=0.8, seed=1, **RECIPE)
    assert same(again, world.model) and all(torch.equal(mask[k], world.mask[k]) for k in mask)


def test_a_new_mask_never_saw_the_forget_set(world):
    data, forget = world.data, world.forget
    settings = dict(sparsity=0.8, seed=1, skip=forget, **RECIPE)
    model, mask = sparsity_chapter.omp(world.build, data, **settings)
    x = data.x.clone()
    x[forget] = 99.0  # whatever stands in the forgotten rows
    changed, changed_mask = sparsity_chapter.omp(world.build,
                                                 lk.data.Data(**{**vars(data), "x": x}), **settings)
    assert same(model, changed) and all(torch.equal(mask[k], changed_mask[k]) for k in mask)
    assert any(not torch.equal(mask[k], world.mask[k]) for k in mask)


def test_retraining_with_the_old_mask_is_masked_training_without_the_rows(world):
    data, forget = world.data, world.forget
    retrain = sparsity_chapter.prune_then(METHODS["retrain"], world.mask)
    found = retrain(world.model, data, forget, build=world.build, seed=5, **RECIPE)
    expected = sparsity_chapter.fit_masked(world.build(5), world.mask, data.x, data.y, seed=5,
                                           skip=forget, **RECIPE)
    assert same(found, expected) and unlearn.sparsity(found) == unlearn.sparsity(world.model)


def chain(widths, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(*[nn.Linear(a, b, bias=False) for a, b in zip(widths, widths[1:],
                                                                       strict=False)])


def test_synflow_conserves_its_scores():
    model = chain([6, 40, 3, 20, 4])
    scores = sparsity_chapter.synflow_scores(model, (6,))
    product = torch.ones(6, dtype=torch.double)
    for layer in model:
        product = layer.weight.detach().double().abs() @ product
    for s in scores.values():
        torch.testing.assert_close(s.sum(), product.sum())  # R itself
        assert (s >= 0).all()
    # into and out of each hidden unit
    hidden = scores["0.weight"].sum(1), scores["1.weight"].sum(0)
    torch.testing.assert_close(*hidden)


def test_synflow_keeps_every_layer_alive_where_one_shot_pruning_empties_one():
    model = chain([16, 200, 200, 8])
    n = len(weights(model))
    for sparsity in (0.9, 0.998):
        rounds = {k: sparsity_chapter.synflow_mask(model, (16,), sparsity, rounds=k)
                  for k in (1, 100)}
        for mask in rounds.values():
            assert sum(int(m.sum()) for m in mask.values()) == n - round(sparsity * n)
        assert all(m.any() for m in rounds[100].values()), f"a layer is empty at {sparsity}"
    assert not all(m.any() for m
                   in rounds[1].values()), "one shot was expected to empty a layer here"
    again = sparsity_chapter.synflow_mask(model, (16,), 0.998)
    assert all(torch.equal(again[k], m) for k, m in rounds[100].items())


def test_synflow_on_a_network_of_the_course(world):
    fresh, before = world.build(2), world.build(2)
    mask = sparsity_chapter.synflow_mask(fresh, world.data.shape, 0.9, rounds=20)
    assert same(fresh, before) and all(m.any() for m in mask.values())
    model = sparsity_chapter.fit_masked(fresh, mask, world.data.x, world.data.y, seed=2, **RECIPE)
    n = len(weights(model))
    assert unlearn.sparsity(model) == round(0.9 * n) / n


# ---- prune first, then unlearn

@pytest.mark.parametrize("name", SETTINGS)
def test_every_method_keeps_the_mask(world, name):
    method, before = sparsity_chapter.prune_then(METHODS[name],
                                                 world.mask), copy.deepcopy(world.model)
    result = method(world.model, world.data, world.forget, **SETTINGS[name])
    sparsity_chapter.check_mask(result, world.mask)
    assert unlearn.sparsity(result) == unlearn.sparsity(world.model)
    assert same(world.model, before) and not same(result, before) and not result.training
    assert [k for k, _ in result.named_parameters()] == [k for k, _ in before.named_parameters()]
    assert same(method(world.model, world.data, NOBODY, **SETTINGS[name]), before)
    assert method.__name__ == name


def test_the_list_of_methods_is_covered():
    assert {"retrain", *SETTINGS} == set(METHODS)


def test_with_nothing_pruned_every_method_is_itself(world):
    everything = sparsity_chapter.magnitude_mask(world.dense, 0)
    # Fisher draws its noise in another order
    for name in ("finetune", "gradient_ascent", "influence", "ssd"):
        a = sparsity_chapter.prune_then(METHODS[name], everything)(world.dense, world.data,
                                                                   world.forget, **SETTINGS[name])
        b = METHODS[name](world.dense, world.data, world.forget, **SETTINGS[name])
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            torch.testing.assert_close(p, q)


def test_ascent_on_a_pruned_model_moves_the_kept_weights_alone(world):
    one_step = dict(lr=0.05, momentum=0, batch_size=10**6)
    result = sparsity_chapter.prune_then(METHODS["gradient_ascent"], world.mask)(
        world.model, world.data, world.forget, **one_step)
    loss = F.cross_entropy(world.model(world.data.x[world.forget]), world.data.y[world.forget])
    slopes = torch.autograd.grad(loss, list(world.model.parameters()))
    for (k, p), q, g in zip(world.model.named_parameters(), result.parameters(), slopes,
                            strict=True):
        torch.testing.assert_close(q, p + 0.05 * g * world.mask.get(k, 1))


def test_influence_on_a_pruned_model_solves_for_the_kept_weights(world):
    """Steps of conjugate gradients on the whole network with a masked product: the same subspace,
    the same answer.
    """
    data, forget, mask = world.data, world.forget, world.mask
    found = sparsity_chapter.prune_then(METHODS["influence"], mask)(world.model, data, forget,
                                                                    cg_steps=4, n_rows=100)
    params = {k: p.detach() for k, p in world.model.named_parameters()}
    retain = data.split(forget).retain

    def masked(v):
        return {k: t * mask.get(k, 1) for k, t in v.items()}

    def mean_gradient(rows):
        loss = F.cross_entropy(world.model(data.x[rows]), data.y[rows])
        return torch.autograd.grad(loss, list(world.model.parameters()))

    share = len(forget) / len(data.y)
    v = masked({k: share * (f - r) for k, f, r in zip(params, mean_gradient(forget),
                                                      mean_gradient(retain),
                                                       strict=True)})
    pick = retain[torch.randperm(len(retain), generator=torch.Generator().manual_seed(0))[:100]]

    def product(u):
        x, y = data.x[pick], data.y[pick]
        return masked(curvature_product(world.model, params, x, y, u, damping=0.01))

    step = unlearn.second_order.conjugate_gradients(
        torch.func.vmap(product), {k: t[None] for k, t in v.items()}, 4)
    for (k, p), q in zip(world.model.named_parameters(), found.parameters(), strict=True):
        torch.testing.assert_close(q, p + step[k][0], rtol=1e-4, atol=1e-6)


# ---- l1-sparse fine-tuning

def test_l1_without_strength_is_finetuning_bit_for_bit(world):
    settings = dict(epochs=2, lr=0.05, seed=4, batch_size=64)
    for schedule in ("constant", "onecycle"):
        a = unlearn.l1_finetune(world.dense, world.data, world.forget, gamma=0, schedule=schedule,
                                **settings)
        assert same(a, METHODS["finetune"](world.dense, world.data, world.forget, schedule=schedule,
                                           **settings))
    assert same(unlearn.l1_finetune(world.dense, world.data, NOBODY, gamma=1.0), world.dense)


def test_l1_strengths():
    assert [unlearn.l1_strength(e, 4, 0.8) for e in range(4)] == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert [unlearn.l1_strength(e, 4, 0.8, "growing")
            for e in range(4)] == pytest.approx([0, 0.2, 0.4, 0.6])
    assert [unlearn.l1_strength(e, 4, 0.8, "constant") for e in range(4)] == [0.8] * 4
    assert [unlearn.l1_strength(e, 4, 0.8, no_l1_epochs=2)
            for e in range(4)] == pytest.approx([0.8, 0.4, 0, 0])
    assert [unlearn.l1_strength(e, 4, 0.8, "constant", 1) for e in range(4)] == [0.8, 0.8, 0.8, 0]


def test_l1_in_one_step(world):
    data, gamma = world.data, 0.01
    keep = data.split(world.forget).retain
    slopes = torch.autograd.grad(F.cross_entropy(world.dense(data.x[keep]), data.y[keep]),
                                 list(world.dense.parameters()))
    found = unlearn.l1_finetune(world.dense, data, world.forget, gamma=gamma, epochs=1, lr=0.05,
                                batch_size=10**6,
                                momentum=0, weight_decay=0)
    for p, q, g in zip(world.dense.parameters(), found.parameters(), slopes, strict=True):
        torch.testing.assert_close(q, p - 0.05 * (g + gamma * p.sign()))


def test_l1_on_a_quadratic_ends_at_the_soft_threshold():
    """min ½ ‖θ − a‖² + γ ‖θ‖₁ is sign(a) max(|a| − γ, 0); subgradient steps of falling length get
    there.
    """
    torch.manual_seed(0)
    model = nn.Linear(10, 3)
    targets = [p.detach().clone() for p in model.parameters()]
    for step in range(1500):
        loss = sum(0.5 * (p - a).square().sum() for p, a in zip(model.parameters(), targets,
                                                                strict=True))
        slopes = torch.autograd.grad(loss + 0.1 * unlearn.l1_norm(model), list(model.parameters()))
        with torch.no_grad():
            for p, g in zip(model.parameters(), slopes, strict=True):
                p -= g / (step + 2)
    for p, a in zip(model.parameters(), targets, strict=True):
        torch.testing.assert_close(p.detach(), a.sign() * (a.abs() - 0.1).clamp(min=0), rtol=0,
                                   atol=2e-3)


def test_l1_makes_small_weights_and_its_schedule_is_used(world):
    settings = dict(epochs=4, lr=0.05)
    share = [unlearn.sparsity(unlearn.l1_finetune(world.dense, world.data, world.forget, gamma=g,
                                                  **settings), 1e-3)
             for g in (0, 1e-2, 1e-1)]
    assert share[0] < 0.02 and 2 * share[0] < share[1] and share[1] + 0.1 < share[2]
    runs = [unlearn.l1_finetune(world.dense, world.data, world.forget, gamma=1e-2, gamma_schedule=s,
                                **settings)
            for s in ("decaying", "growing", "constant")]
    assert not same(runs[0], runs[1]) and not same(runs[0], runs[2])


def test_a_penalty_of_nothing_and_the_whole_span_change_no_bit(world):
    data = world.data
    for settings in (dict(penalty=lambda model, epoch: 0.0), dict(span=(0, RECIPE["epochs"]))):
        assert same(fit(world.build(1), data.x, data.y, seed=1, **RECIPE, **settings), world.dense)
    epochs = []
    fit(world.build(1), data.x, data.y, seed=1, **RECIPE, span=(1, 3), penalty=lambda m,
        e: epochs.append(e) or 0.0)
    assert epochs == [1] * 10 + [2] * 10
    parts = fit(world.build(1), data.x, data.y, seed=1, momentum=0, span=(0, 1.5), **RECIPE)
    parts = fit(parts, data.x, data.y, seed=1, momentum=0, span=(1.5, 4), **RECIPE)
    assert same(parts, fit(world.build(1), data.x, data.y, seed=1, momentum=0, **RECIPE))


# ---- SalUn

def test_salun_moves_salient_weights_alone(world):
    data, forget = world.data, world.forget
    moving = unlearn.saliency_mask(world.dense, data.x[forget], data.y[forget], 0.3)
    loss = F.cross_entropy(world.dense(data.x[forget]), data.y[forget], reduction="sum")
    slopes = torch.cat([g.abs().flatten()
                        for g in torch.autograd.grad(loss, list(world.dense.parameters()))])
    chosen = torch.cat([m.flatten() for m in moving.values()])
    assert chosen.sum() == len(chosen) - round(0.7 * len(chosen))
    assert slopes[chosen].min() >= slopes[~chosen].max()
    result = unlearn.salun(world.dense, data, forget, share=0.3, lr=0.02)
    for (k, p), q in zip(world.dense.named_parameters(), result.parameters(), strict=True):
        assert torch.equal(p[~moving[k]], q[~moving[k]])
        assert not moving[k].any() or not torch.equal(p, q)
    everything = unlearn.salun(world.dense, data, forget, share=1, lr=0.02, seed=2)
    assert same(everything, METHODS["random_labels"](world.dense, data, forget, lr=0.02, seed=2))
    assert same(unlearn.salun(world.dense, data, NOBODY), world.dense)
    sparse = sparsity_chapter.prune_then(unlearn.salun, world.mask)(world.model, data, forget)
    assert unlearn.sparsity(sparse) == unlearn.sparsity(world.model)


# ---- the bound

def test_the_bound_is_the_product_it_says(world):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
    start = copy.deepcopy(model)
    data = SimpleNamespace(
        x=torch.randn(40, 64, generator=torch.Generator().manual_seed(0)).double(),
        y=torch.arange(40) % 3)
    with torch.no_grad():
        model[1].weight += 0.1
        model[1].bias += 0.2
    mask = {"1.weight": torch.arange(192).view(3, 64) % 4 == 0}
    found = sparsity_chapter.ascent_bound(model, start, data, lr=0.1, steps=7, mask=mask, n_rows=40,
                                          iterations=100)
    kept = torch.cat([mask["1.weight"].flatten(), torch.ones(3, dtype=torch.bool)])

    def loss(flat):
        weight, bias = (flat * kept).split([192, 3])
        return F.cross_entropy(F.linear(data.x, weight.view(3, 64), bias), data.y)

    at = torch.cat([p.detach().flatten() for p in model.parameters()])
    hessian = torch.autograd.functional.hessian(loss, at)
    assert found["sigma"] == pytest.approx(torch.linalg.matrix_norm(hessian, 2).item(), rel=1e-4)
    assert found["path"] == pytest.approx((48 * 0.1**2 + 3 * 0.2**2) ** 0.5)
    assert found["bound"] == pytest.approx(0.1**2 * 7 * found["path"] * found["sigma"])
    dense = sparsity_chapter.ascent_bound(model, start, data, lr=0.1, steps=7, n_rows=40)
    assert dense["path"] > found["path"] and dense["sigma"] > found["sigma"]


# ---- measures

def test_disparity_by_hand():
    """The first row of the paper's table: FT dense against retraining, class-wise."""
    row = {"UA": 22.53, "MIA": 75.00, "RA": 99.87, "TA": 94.31, "sparsity": 0.0}
    reference = {"UA": 100.0, "MIA": 100.0, "RA": 100.0, "TA": 94.83}
    assert sparsity_chapter.disparity(row, reference) == pytest.approx(25.78)
    assert sparsity_chapter.disparity(reference, reference) == 0
    with pytest.raises(LabError, match="MIA"):
        sparsity_chapter.disparity({"UA": 1.0, "RA": 1.0, "TA": 1.0}, reference)


def test_weight_distance(world):
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    b.load_state_dict({"weight": a.weight + 3, "bias": a.bias - torch.tensor([4.0, 8.0])})
    assert sparsity_chapter.weight_distance(a, b) == pytest.approx((4 * 9 + 16 + 64) ** 0.5,
                                                                   rel=1e-6)
    with pytest.raises(LabError, match="one architecture"):
        sparsity_chapter.weight_distance(a, nn.Linear(3, 2))


def test_svc_mia_with_permuted_labels_is_blind(world):
    """When who was a member is drawn at random, the attack gets half of them right."""
    data, found = lk.data.load("digits", device="cpu"), []
    for seed in range(3):
        data = data.resplit(seed)
        model = fit(lk.models.build("mlp", data, 0, hidden=16), world.data.x, world.data.y,
                    epochs=8, lr=0.1, seed=0)
        found.append(measure.svc_mia(model, data, data.forget_random(0.1))["privacy"])
    assert abs(np.mean(found) - 50) < 4


def test_the_cost_of_pruning_is_counted_by_itself(world):
    recipe = dict(sparsity=0.8, seed=1, **RECIPE)
    _, whole = measure.timed(sparsity_chapter.omp, world.build, world.data, **recipe)
    _, given = measure.timed(sparsity_chapter.omp, world.build, world.data, dense=world.dense,
                             **recipe)
    n = len(world.data.y)
    # 4 dense + 1 early + 3 sparse epochs; 1 + 3
    assert whole.visits == 8 * n and given.visits == 4 * n


# ---- what goes wrong is said in one sentence

@pytest.mark.parametrize("bad", [1, 1.5, -0.1, "half", None, float("nan")])
def test_a_sparsity_that_is_none(world, bad):
    for call in (lambda: sparsity_chapter.magnitude_mask(world.dense, bad),
                 lambda: sparsity_chapter.synflow_mask(world.dense, world.data.shape, bad),
                 lambda: sparsity_chapter.omp(world.build, world.data, sparsity=bad, seed=1,
                                              **RECIPE)):
        with pytest.raises(LabError, match="sparsity is .*0 to below 1"):
            call()


def test_a_mask_of_another_model(world):
    other = lk.models.build("strided_cnn", world.data, 1, width=5)
    for call in (lambda: sparsity_chapter.apply_mask(other, world.mask),
                 lambda: sparsity_chapter.check_mask(other, world.mask),
                 lambda: sparsity_chapter.prune_then(METHODS["finetune"],
                                                     world.mask)(other, world.data, world.forget),
                 lambda: sparsity_chapter.fit_masked(nn.Linear(2, 2), world.mask, world.data.x,
                                                     world.data.y, seed=0, **RECIPE)):
        with pytest.raises(LabError, match="The mask belongs to another model: it covers 0.weight"):
            call()


@pytest.mark.parametrize("settings, what", [
    (dict(gamma=-1e-3), "gamma is -0.001"), (dict(gamma="much"), "gamma is 'much'"),
    (dict(gamma=float("nan")), "gamma is nan"), (dict(gamma_schedule="rising"),
                                                 "'rising'.*'decaying', 'growing'"),
    (dict(no_l1_epochs=2, epochs=2), "no_l1_epochs is 2"), (dict(gamma=1e30, lr=1e10), "diverged"),
])
def test_l1_settings_that_make_no_sense(world, settings, what):
    with pytest.raises(LabError, match=what):
        unlearn.l1_finetune(world.dense, world.data, world.forget, **settings)


def test_other_bad_input(world):
    with pytest.raises(LabError, match="share is 0"):
        unlearn.salun(world.dense, world.data, world.forget, share=0)
    with pytest.raises(LabError, match="rounds is 0"):
        sparsity_chapter.imp(world.build, world.data, sparsity=0.5, seed=1, rounds=0, **RECIPE)
    with pytest.raises(LabError, match="rewind is 4"):
        sparsity_chapter.omp(world.build, world.data, sparsity=0.5, seed=1, rewind=4, **RECIPE)
    broken = copy.deepcopy(world.dense)
    broken[0].weight.data[0] = float("nan")
    with pytest.raises(LabError, match="NaN"):
        sparsity_chapter.magnitude_mask(broken, 0.5)
    with pytest.raises(LabError, match="no class 10"):
        world.data.forget_class(10)
    rest = world.data.split(world.forget).retain
    without = lk.data.Data(**{**vars(world.data), "x": world.data.x[rest], "y": world.data.y[rest],
                              "noisy": NOBODY})
    with pytest.raises(LabError, match="empty"):
        without.forget_class(3)
