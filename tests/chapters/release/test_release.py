"""The chapter on defences at the desk and in the release: numpy, closed forms, gradients row by
row.
"""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chi2
from torch import nn
from torch.func import functional_call, grad, vmap

import labkit as lk
from course.chapters import release as here
from labkit import attack, defend
from labkit.attack import BlackBox, inversion
from labkit.base import LabError
from labkit.training import fit

SHAPE = (1, 8, 8)


def seeded(make, seed=0, dtype=torch.float32):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().to(dtype).eval()


def rows_of(n, k=4, seed=0, shape=SHAPE, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=g, dtype=dtype), torch.randint(k, (n,), generator=g)


def mlp(hidden=7):
    return lk.models.mlp(SHAPE, 4, hidden)


def cnn():
    return lk.models.strided_cnn(SHAPE, 4, 3)


def weights(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


def unchanged(model, before):
    return all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def gradient(model, x, y):
    loss = F.cross_entropy(model(x), y)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def move(model, vector):
    with torch.no_grad():
        for p, part in zip(model.parameters(), inversion.unflat(model, vector).values(),
                           strict=True):
            p += part


# ------------------------------------------------------------------------------- the model released


@pytest.mark.parametrize("make", [lambda: mlp(40), cnn])
def test_noise_has_the_rms_asked_for_in_every_tensor(make):
    model = seeded(make, dtype=torch.float64)
    noise = inversion.unflat(model, attack.difference(model, here.add_noise(model, 0.3,
                                                                                    seed=1)))
    for part in noise.values():  # the sum of squares is chi-squared whatever the tensor's shape
        low, high = chi2.ppf([5e-4, 1 - 5e-4], part.numel())
        assert low < part.square().sum().item() / 0.3**2 < high
    assert abs(torch.cat([p.flatten() for p in noise.values()]).mean()) < 4 * 0.3 / sum(
        p.numel() for p in noise.values()) ** 0.5


def test_noise_is_one_vector_however_the_weights_are_cut():
    one, other = nn.Linear(6, 10, bias=False).double(), nn.Linear(15, 4, bias=False).double()
    drawn = [attack.difference(m, here.add_noise(m, 2.0, seed=5)) for m in (one, other)]
    torch.testing.assert_close(*drawn)
    assert not torch.allclose(drawn[0], attack.difference(one, here.add_noise(one, 2.0,
                                                                                      seed=6)))


def test_float32_models_get_the_same_noise():
    model = seeded(mlp)
    noisy, exact = here.add_noise(model, 0.1,
                                          3), here.add_noise(copy.deepcopy(model).double(),
                                                                     0.1, 3)
    torch.testing.assert_close(attack.flat(noisy), attack.flat(exact), rtol=1e-6, atol=1e-7)
    assert next(noisy.parameters()).dtype == torch.float32


def test_the_rms_of_an_update():
    before, after = (nn.Linear(1, 2) for _ in range(2))
    with torch.no_grad():
        for p, values in zip(before.parameters(), ([[1.0], [2.0]], [3.0, 4.0]), strict=True):
            p.copy_(torch.tensor(values))
        for p, values in zip(after.parameters(), ([[2.0], [0.0]], [3.0, 6.0]), strict=True):
            p.copy_(torch.tensor(values))
    assert here.update_rms(before, after) == pytest.approx(math.sqrt((1 + 4 + 0 + 4) / 4))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0, 1 / 3])
@pytest.mark.parametrize("make", [mlp, cnn])
def test_pruning_zeroes_the_smallest_weights_of_all_layers_and_nothing_else(make, share):
    model = seeded(make)
    pruned = here.prune(model, share)
    old = np.concatenate([p.detach().numpy().ravel() for p in model.parameters() if p.dim() > 1])
    new = np.concatenate([p.detach().numpy().ravel() for p in pruned.parameters() if p.dim() > 1])
    count = round(share * len(old))
    expected = old.copy()
    expected[np.argsort(np.abs(old), kind="stable")[:count]] = 0
    assert (new == 0).sum() == count and np.array_equal(new, expected)
    for (name, p), q in zip(model.named_parameters(), pruned.parameters(), strict=True):
        assert p.dim() > 1 or torch.equal(p, q), name


def test_of_equal_weights_the_first_are_pruned():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -1.0], [1.0, 3.0]]))
        model[1].weight.copy_(torch.tensor([[-1.0, 0.5], [2.0, 1.0]]))
    pruned = here.prune(model, 3 / 8)  # 0.5, and two of the five of size 1
    assert pruned[0].weight.tolist() == [[0.0, 0.0], [1.0, 3.0]]
    assert pruned[1].weight.tolist() == [[-1.0, 0.0], [2.0, 1.0]]


def test_fine_tuning_takes_the_steps_asked_for():
    model, (x, y) = seeded(mlp), rows_of(50)
    assert unchanged(here.finetune_release(model, x, y, steps=0, lr=0.1, seed=0),
                     weights(model))
    for steps in (1, 3, 7):  # 3 steps an epoch
        tuned = here.finetune_release(model, x, y, steps=steps, lr=0.1, seed=4,
                                              batch_size=20, momentum=0)
        by_hand, order = copy.deepcopy(model), torch.Generator().manual_seed(4)
        batches = [b for _ in range(3)
                   for b in torch.randperm(50, generator=order).split(20)][:steps]
        for b in batches:
            move(by_hand, -0.1 * gradient(by_hand, x[b], y[b]))
        torch.testing.assert_close(attack.flat(tuned), attack.flat(by_hand), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("change", [
    lambda m, x, y: here.add_noise(m, 0.5, 0), lambda m, x, y: here.prune(m, 0.5),
    lambda m, x, y: here.finetune_release(m, x, y, steps=2, lr=0.1, seed=0),
    lambda m, x, y: here.fit_private(m, x, y, noise_multiplier=1.0, batch_size=20,
                                             epochs=1)[0],
    lambda m, x, y: here.average([m, here.add_noise(m, 0.5, 0)]),
    lambda m, x, y: here.tempered(m, 2.0)(x),
])
def test_the_given_model_is_never_changed(change):
    model, (x, y) = seeded(mlp), rows_of(40)
    before = weights(model)
    changed = change(model, x, y)
    assert unchanged(model, before) and not model.training and all(p.grad is None
                                                                   for p in model.parameters())
    assert isinstance(changed, torch.Tensor) or not torch.equal(attack.flat(changed),
                                                                attack.flat(model))


# -------------------------------------------------------------------------------------- the answers


class Fixed(nn.Module):
    """Logits that are the input itself, so that answers are known."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x + 0 * self.unused


P = torch.tensor([[0.6, 0.25, 0.1, 0.05], [0.3, 0.3, 0.2, 0.2], [0.123456, 0.4, 0.376544, 0.1]])


def test_rounded_answers():
    expected = np.round(P.numpy().astype(float), 2)
    assert np.allclose(here.rounded(BlackBox(Fixed()), 2)(P.log()), expected, atol=1e-7)
    assert here.rounded(BlackBox(Fixed()), 0)(P.log()).tolist() == [[1, 0, 0, 0], [0] * 4,
                                                                            [0] * 4]


def test_top_k_keeps_the_largest_and_spreads_the_rest():
    answers = here.top_k(BlackBox(Fixed()), 2)(P.log())
    torch.testing.assert_close(answers,
                               torch.tensor([[0.6, 0.25, 0.075, 0.075], [0.3, 0.3, 0.2, 0.2],
                                             [0.111728, 0.4, 0.376544, 0.111728]]))
    torch.testing.assert_close(answers.sum(1), torch.ones(3))
    one = here.top_k(BlackBox(Fixed()), 1)(torch.zeros(1, 4) + torch.tensor([0.0, 1, 1, 0]))
    assert one[0, 1] > one[0, 2] and one[0, 0] == one[0, 2] == one[0, 3]  # of equals the first
    torch.testing.assert_close(here.top_k(BlackBox(Fixed()), 9)(P.log()), P)


def test_label_only():
    answers = here.label_only(BlackBox(Fixed()))(torch.tensor([[0.0, 3, 1], [2, 2, 1]]))
    assert answers.tolist() == [[0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_tempered_is_softmax_of_divided_logits(temperature):
    z = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)) * 8
    for box in (BlackBox(Fixed()), Fixed()):
        answers = here.tempered(box, temperature)(z)
        torch.testing.assert_close(answers, (z / temperature).softmax(1), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("wrap", [lambda b: here.rounded(b, 3),
                                  lambda b: here.top_k(b, 2), here.label_only,
                                  lambda b: here.tempered(b, 2.0),
                                  lambda b: here.rounded(here.tempered(b, 2.0), 3)])
def test_changed_answers_count_and_carry_no_gradient(wrap):
    model, (x, _) = seeded(mlp), rows_of(5)
    box = BlackBox(model, limit=12)
    changed = wrap(box)
    assert not changed(x.requires_grad_()).requires_grad
    assert changed.queries == box.queries == 5 and changed.limit == 12
    box(x)
    assert changed.queries == 10  # one counter
    with pytest.raises(LabError, match="limit of 12 queries"):
        changed(x)


def test_temperature_is_undone_and_no_change_of_order_without_knowing_it():
    z = torch.randn(30, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3
    centred = z - z.mean(1, keepdim=True)
    for temperature in (0.5, 4.0):
        answers = (z / temperature).softmax(1)
        torch.testing.assert_close(here.rescale(answers, temperature), centred)
        torch.testing.assert_close(here.rescale(answers, temperature).softmax(1),
                                   z.softmax(1))
        torch.testing.assert_close(here.rescale(answers) * temperature, centred)
    assert here.rescale(torch.tensor([[1.0, 0.0]]),
                                floor=math.exp(-4)).tolist() == [[2.0, -2.0]]


def test_the_label_attack_runs_on_rescaled_answers():
    """One class's logit falls: a temperature hides neither the class nor, once rescaled, how far it
    fell.
    """
    model, images = seeded(lambda: nn.Linear(6, 4)), rows_of(20, shape=(6,))[0].view(4, 5, 6)
    probes = attack.Probes(images, torch.ones(4, 5), 0.0)
    after = copy.deepcopy(model)
    with torch.no_grad():
        after.bias[2] -= 0.4
    norm = dict(mean=torch.zeros(6), std=torch.ones(6))
    for temperature, known in ((1.0, 1.0), (8.0, 8.0), (8.0, 1.0)):
        before, since = (here.Filtered(here.tempered(m, temperature), lambda p,
                                               t=known: here.rescale(p, t))
                         for m in (model, after))
        change = here.confidence_change(before, since, probes, **norm)
        # centred: 0.4 is spread over 4 classes
        expected = torch.full((4,), 0.1) - 0.4 * F.one_hot(torch.tensor(2), 4)
        torch.testing.assert_close(change, (expected * known / temperature).double(), rtol=1e-3,
                                   atol=1e-5)
        assert change.argmin() == 2


# ------------------------------------------------------------------------------- adaptive inversion


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x):
        return x + self.layer(x).relu()


NETS = {
    "mlp": mlp, "strided_cnn": cnn, "small_cnn": lambda: lk.models.small_cnn(SHAPE, 4, 2),
    "no bias": lambda: nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.Tanh(), nn.Flatten(),
                                     nn.Linear(72, 4, bias=False)),
    "residual": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 6), Residual(), nn.Linear(6, 4)),
}


@pytest.mark.parametrize("each", [False, True], ids=["one mask", "a mask a target"])
@pytest.mark.parametrize("u", [1, 3])
@pytest.mark.parametrize("name", NETS)
def test_masked_similarity_is_the_cosine_over_the_kept_coordinates(name, u, each, monkeypatch):
    model, (x, y) = seeded(NETS[name], dtype=torch.float64), rows_of(2 * u, seed=u,
                                                                     dtype=torch.float64)
    x, y = x.unflatten(0, (2, u)), y.unflatten(0, (2, u))
    g = torch.Generator().manual_seed(6)
    truth = torch.stack([gradient(model, x[i], y[i]) for i in range(2)])
    targets = F.normalize(truth + truth.norm(dim=1, keepdim=True) / truth.shape[1] ** 0.5
                          * torch.randn(
        truth.shape, generator=g, dtype=torch.float64), dim=1)
    mask = torch.rand(truth.shape, generator=g) < 0.4
    mask = mask if each else mask[0]
    picked = mask if each else mask.expand(2, -1)
    expected = torch.stack([F.cosine_similarity(truth[i][picked[i]], targets[i][picked[i]], dim=0)
                            for i in range(2)])
    torch.testing.assert_close(inversion._similarity_any(model, x, y, F.normalize(targets * mask,
                                                                                  dim=1),
                                                         torch.atleast_2d(mask)), expected)
    if name != "residual":
        monkeypatch.setattr(inversion, "_similarity_any", None)  # one pass must do
    torch.testing.assert_close(attack.similarity(model, x, y, targets, mask), expected)
    garbage = torch.where(picked, targets, 100.0)  # what lies outside the mask is not looked at
    torch.testing.assert_close(attack.similarity(model, x, y, garbage, mask), expected)
    torch.testing.assert_close(attack.similarity(model, x, y, targets, torch.ones_like(mask)),
                               attack.similarity(model, x, y, targets))


def test_a_masked_search_undoes_pruning():
    model, (x, y) = seeded(lambda: mlp(16), dtype=torch.float64), rows_of(1, dtype=torch.float64)
    x = x.clamp(0, 1)
    after = copy.deepcopy(model)
    move(after, 1e-3 * gradient(model, x, y))
    released = here.prune(after, 0.5)
    target, mask = attack.difference(model, released), here.kept(released)
    assert mask.dtype == torch.bool and mask.sum() == len(mask) - round(0.5 * (16 * 64 + 16 * 4))
    torch.testing.assert_close(target * mask, 1e-3 * gradient(model, x, y) * mask)
    how = dict(shape=SHAPE, mean=0.0, std=1.0, steps=150, lr=0.1, tv=0.0)
    plain, adaptive = (lk.measure.psnr(attack.invert(model, target[None], y[None], mask=m,
                                                     **how).images[0], x).item()
                       for m in (None, mask))
    assert adaptive > 30 > plain + 10
    twice = attack.invert(model, target[None], y[None], mask=mask[None], restarts=2, **how)
    assert twice.loss < 1e-3


@pytest.mark.parametrize("make, layer", [(lambda: mlp(40), 1), (cnn, 5)])
def test_the_masked_leak_undoes_pruning_without_a_search(make, layer):
    model, (x, y) = seeded(make, dtype=torch.float64), rows_of(1, dtype=torch.float64)
    after = copy.deepcopy(model)
    move(after, 1e-3 * gradient(model, x, y))
    released = here.prune(after, 0.6)
    target, mask = attack.difference(model, released), here.kept(released)
    seen = model[:layer](x).flatten().detach()
    assert F.cosine_similarity(attack.leak(model, target), seen, dim=0) < 0.9
    torch.testing.assert_close(attack.leak(model, target, mask), seen, rtol=1e-6, atol=1e-8)
    mask[:5] = False  # of the first unit nothing is believed: another one says the same
    torch.testing.assert_close(attack.leak(model, target, mask), seen, rtol=1e-6, atol=1e-8)
    assert not attack.leak(model, target, torch.zeros_like(mask)).any()


def test_masks_that_do_not_fit_are_refused():
    model, (_, y) = seeded(mlp), rows_of(1)
    target = attack.flat(model)
    how = dict(shape=SHAPE, mean=0.0, std=1.0, steps=1)
    with pytest.raises(LabError, match="The mask is"):
        attack.invert(model, target[None], y[None], mask=torch.ones(3, dtype=torch.bool), **how)
    with pytest.raises(LabError, match="target is zero"):
        attack.invert(model, target[None], y[None], mask=torch.zeros(len(target), dtype=torch.bool),
                      **how)


def test_averaging_leaves_the_mean_of_the_noise():
    model = seeded(mlp, dtype=torch.float64)
    for n in (1, 4, 25):
        releases = [here.add_noise(model, 0.2, seed) for seed in range(n)]
        left = attack.difference(model, here.average(releases))
        noises = torch.stack([attack.difference(model, r) for r in releases])
        torch.testing.assert_close(left, noises.mean(0))
        low, high = chi2.ppf([5e-4, 1 - 5e-4], len(left))
        assert low < left.square().sum().item() / (0.2**2 / n) < high
    same = here.average([here.add_noise(model, 0.2, 0)] * 9)
    torch.testing.assert_close(attack.flat(same),
                               attack.flat(here.add_noise(model, 0.2, 0)))


def test_averaging_refuses_nothing_and_other_shapes():
    for releases in ([], [seeded(mlp), seeded(lambda: mlp(8))]):
        with pytest.raises(LabError, match="releases of one network"):
            here.average(releases)


def test_subtracting_the_path_leaves_the_update():
    """The same fine-tuning on θ and on θ_u: what is left is the update, as far as the path does not
    depend on it.
    """
    theta, (x, y) = seeded(mlp, dtype=torch.float64), rows_of(60, dtype=torch.float64)
    update = 1e-5 * gradient(theta, x[:1], y[:1])
    unlearned = copy.deepcopy(theta)
    move(unlearned, update)
    tune = lambda m, seed: here.finetune_release(  # noqa: E731
        m, x[1:], y[1:], steps=4, lr=0.01, seed=seed)
    released = tune(unlearned, 0)
    naive, own = (attack.difference(theta, released),
                  here.subtract_path(theta, released, [tune(theta, 0)]))
    assert (F.cosine_similarity(naive, update, dim=0) < 0.3 < 0.99
            < F.cosine_similarity(own, update, dim=0))
    others = [tune(theta, s) for s in (1, 2, 3)]
    torch.testing.assert_close(here.subtract_path(theta, released, others),
                               naive - sum(attack.flat(m) - attack.flat(theta) for m in others) / 3)
    with pytest.raises(LabError, match="no imitation"):
        here.subtract_path(theta, released, [])


# --------------------------------------------------------------------------------- private training


def clipped_mean(model, x, y, clip):
    """Gradients row by row, each cut to the norm `clip`; their mean. -> (d,)"""
    params = {k: p.detach() for k, p in model.named_parameters()}

    def loss(p, row, label):
        return F.cross_entropy(functional_call(model, p, (row[None],)), label[None])

    rows = torch.cat([g.flatten(1) for g in vmap(grad(loss), (None, 0, 0))(params, x, y).values()],
                     1)
    return (rows * (clip / rows.norm(dim=1, keepdim=True)).clamp(max=1)).mean(0)


@pytest.mark.parametrize("clip", [0.5, 1.5, 1e6])
@pytest.mark.parametrize("make", [mlp, cnn, NETS["small_cnn"]])
def test_a_step_without_noise_is_the_mean_of_clipped_gradients(make, clip):
    model, (x, y) = seeded(make), rows_of(24)
    trained, spent = here.fit_private(model, x, y, epsilon=math.inf, clip=clip, epochs=1,
                                              batch_size=24, lr=0.1,
                                        momentum=0)
    assert spent == here.Spent(math.inf, 1e-5, 0.0, 1, 1.0)
    step = (attack.flat(model) - attack.flat(trained)) / 0.1
    torch.testing.assert_close(step, clipped_mean(model, x, y, clip).double(), rtol=1e-4, atol=2e-6)
    if clip == 1e6:
        torch.testing.assert_close(step, gradient(model, x, y).double(), rtol=1e-4, atol=2e-6)


def test_one_seed_with_and_without_a_row_cancels_the_noise():
    """Why two releases must not share a seed: their difference is the clipped gradient of the row
    itself.
    """
    model, (x, y) = seeded(mlp), rows_of(24)
    how = dict(noise_multiplier=5.0, clip=1.5, epochs=1, batch_size=24, lr=0.1, momentum=0)
    both = [here.fit_private(model, x, y, skip=skip, **how)[0] for skip in (None, [7])]
    row = clipped_mean(model, x[7:8], y[7:8], 1.5).double()
    torch.testing.assert_close(24 * attack.difference(*both) / 0.1, row, rtol=1e-3, atol=1e-3)
    fresh = here.fit_private(model, x, y, skip=[7], seed=1, **how)[0]
    assert F.cosine_similarity(attack.difference(both[0], fresh), row, dim=0).abs() < 0.2


def test_skipped_rows_are_never_looked_at():
    model, (x, y) = seeded(mlp), rows_of(40)
    spoiled = x.clone()
    spoiled[[3, 9]] = math.nan
    how = dict(noise_multiplier=1.0, epochs=2, batch_size=10, skip=torch.tensor([3, 9]))
    one, two = (attack.flat(here.fit_private(model, rows, y, **how)[0])
                for rows in (x, spoiled))
    assert torch.equal(one, two)


def test_the_noise_of_a_step():
    """σ · clip on the sum, divided by the batch, on every coordinate."""
    model, (x, y) = seeded(lambda: mlp(60)), rows_of(10)
    settings = dict(clip=0.7, epochs=1, batch_size=10, lr=1.0, momentum=0)
    quiet, _ = here.fit_private(model, x, y, noise_multiplier=0.0, **settings)
    loud, _ = here.fit_private(model, x, y, noise_multiplier=3.0, **settings)
    noise = attack.difference(quiet, loud)
    low, high = chi2.ppf([5e-4, 1 - 5e-4], len(noise))
    assert low < noise.square().sum().item() / (3.0 * 0.7 / 10) ** 2 < high


def test_batches_are_poisson():
    """Without clipping and noise one step moves by the sum over a random batch, whose rows come
    independently.
    """
    model = nn.Linear(1, 2, bias=False)
    x, y = torch.ones(200, 1), torch.zeros(200, dtype=torch.long)
    sizes = []
    for seed in range(60):
        nn.init.zeros_(model.weight)
        moved, _ = here.fit_private(model, x, y, noise_multiplier=0.0, clip=9.0, epochs=0.1,
                                            batch_size=20, lr=1.0,
                                      momentum=0, seed=seed)
        sizes.append(moved.weight[0].item() * 20 / 0.5)  # each row adds lr · 0.5 / 20
    assert np.allclose(sizes, np.round(sizes), atol=1e-3)
    # n p (1 − p) = 18
    assert abs(np.mean(sizes) - 20) < 4 * math.sqrt(18 / 60) and 9 < np.var(sizes, ddof=1) < 32


def test_an_empty_batch_adds_noise_and_nothing_else():
    model, (x, y) = seeded(mlp), rows_of(3)
    for sigma in (0.0, 1.0):
        moved = [not torch.equal(attack.flat(here.fit_private(
            model, x, y, noise_multiplier=sigma, epochs=1 / 3, batch_size=1, seed=s)[0]),
                                 attack.flat(model))
            for s in range(6)]
        assert any(moved) and all(moved) == (sigma > 0)  # (2/3)³ of the batches are empty


@pytest.mark.parametrize("make", [mlp, cnn])
def test_the_private_model_is_a_plain_one(make):
    model, (x, y) = seeded(make), rows_of(64)
    trained, spent = here.fit_private(model, x, y, noise_multiplier=1.0, epochs=1,
                                              batch_size=16)
    assert list(trained.state_dict()) == list(model.state_dict())
    assert spent.steps == 4 and spent.sample_rate == 0.25 and not trained.training
    for m, given in zip(trained.modules(), model.modules(), strict=True):
        assert type(m) is type(given) and set(vars(m)) == set(vars(given))
        assert not (m._forward_hooks or m._backward_hooks or m._forward_pre_hooks
                    or m._backward_pre_hooks)
    assert all(not vars(p) and p.grad is None and p.requires_grad for p in trained.parameters())
    for again in (copy.deepcopy(trained), pickle.loads(pickle.dumps(trained))):
        assert torch.equal(again(x), trained(x))
    fit(copy.deepcopy(trained), x, y, epochs=1, lr=0.1, seed=0)


def test_same_seed_same_weights():
    model, (x, y) = seeded(mlp), rows_of(64)
    how = dict(noise_multiplier=1.0, epochs=2, batch_size=16)
    one, two, other = (attack.flat(here.fit_private(model, x, y, seed=s, **how)[0])
                       for s in (3, 3, 4))
    assert torch.equal(one, two) and not torch.allclose(one, other)
    state = torch.get_rng_state()
    here.fit_private(model, x, y, seed=3, **how)
    assert torch.equal(torch.get_rng_state(), state)


def test_private_training_learns():
    x, _ = rows_of(400)
    y = (x.flatten(1)[:, 0] > 0).long()
    trained, spent = here.fit_private(seeded(mlp), x, y, epsilon=8.0, epochs=10,
                                              batch_size=64, lr=1.0)
    assert (trained(x).argmax(1) == y).double().mean() > 0.75 and spent.epsilon <= 8.0


# -------------------------------------------------------------------------------- what ε stands for


@pytest.mark.parametrize("sigma, steps, delta", [(1.0, 1, 1e-5), (4.0, 20, 1e-5), (0.7, 3, 1e-3),
                                                 (30.0, 100, 1e-6)])
def test_epsilon_of_the_gaussian_mechanism(sigma, steps, delta):
    """Rényi divergence αT/(2σ²), turned into (ε, δ) by Balle et al. 2020, over the accountant's
    orders.
    """
    orders = [1 + i / 10 for i in range(1, 100)] + list(range(12, 64))
    epsilon = min(a * steps / (2 * sigma**2) + math.log((a - 1) / a)
                  - (math.log(delta) + math.log(a)) / (a - 1)
                  for a in orders)
    assert here.epsilon_of(sigma, 1.0, steps, delta) == pytest.approx(epsilon, rel=1e-9)
    # it is an upper bound: the exact δ of the T-fold Gaussian mechanism (Balle and Wang 2018) at
    # this ε is smaller
    mu, cdf = math.sqrt(steps) / sigma, lambda v: 0.5 * math.erfc(-v / math.sqrt(2))
    assert cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * cdf(-mu / 2 - epsilon / mu) <= delta


def test_epsilon_grows_with_steps_and_rate_and_falls_with_noise():
    base = here.epsilon_of(1.0, 0.05, 60, 1e-5)
    assert here.epsilon_of(1.0, 0.05, 120, 1e-5) > base > here.epsilon_of(1.0, 0.05,
                                                                                          30, 1e-5)
    assert here.epsilon_of(1.0, 0.1, 60, 1e-5) > base > here.epsilon_of(1.5, 0.05,
                                                                                        60, 1e-5)
    assert here.epsilon_of(1.0, 0.05, 60, 1e-3) < base < here.epsilon_of(1.0, 1.0,
                                                                                         60, 1e-5)
    assert here.epsilon_of(0.0, 0.05, 60, 1e-5) == math.inf


def test_the_noise_looked_up_is_the_least_that_keeps_epsilon():
    sigma = here.noise_for(3.0, 1e-5, 0.05, 60)
    assert here.epsilon_of(sigma, 0.05, 60,
                                   1e-5) <= 3.0 < here.epsilon_of(sigma - 2e-3, 0.05, 60,
                                                                          1e-5)
    assert here.noise_for(math.inf, 1e-5, 0.05, 60) == 0
    with pytest.raises(LabError, match="steps is 0"):  # no step spends anything: no σ is the least
        here.noise_for(3.0, 1e-5, 0.05, 0)


def test_releases_compose():
    once = here.Spent(here.epsilon_of(2.0, 0.05, 40, 1e-5), 1e-5, 2.0, 40, 0.05)
    twice = here.composed([once, once], 1e-5)
    # as if it had gone on
    assert twice == pytest.approx(here.epsilon_of(2.0, 0.05, 80, 1e-5))
    assert once.epsilon < twice < 2 * once.epsilon
    assert here.composed([once], 1e-5) == once.epsilon
    free = here.Spent(math.inf, 1e-5, 0.0, 40, 0.05)
    # one release without noise is enough
    assert here.composed([once, free], 1e-5) == math.inf


@pytest.mark.parametrize("k", [1, 2, 3, 10])
@pytest.mark.parametrize("epsilon", [0.01, 0.5, 2.0])
def test_groups_are_rows_changed_one_after_the_other(epsilon, k):
    """P(S) ≤ e^ε P'(S) + δ, k times: (ε, δ) then (kε, Σ e^(iε) δ), of which the formula takes k
    times the last term.
    """
    delta, total, slack = 1e-12, 0.0, 0.0
    for _ in range(k):
        total, slack = total + epsilon, math.exp(epsilon) * slack + delta
    found = defend.group_epsilon(epsilon, delta, k)
    assert found[0] == pytest.approx(total) and slack <= found[1] * (1 + 1e-9)
    assert found[1] == pytest.approx(k * math.exp((k - 1) * epsilon) * delta)
    assert defend.group_epsilon(50.0, 0.1, 100) == (5000.0, 1.0)


# ----------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("settings, says", [
    (dict(epsilon=0.0), "epsilon is 0.0"), (dict(epsilon=-1.0), "epsilon is -1.0"),
    (dict(epsilon=math.nan), "epsilon is nan"),
    (dict(), "one of the two"), (dict(epsilon=1.0, noise_multiplier=1.0), "one of the two"),
    (dict(epsilon=1.0, delta=0.0), "delta is 0.0"), (dict(noise_multiplier=1.0, delta=1.0),
                                                     "delta is 1.0"),
    (dict(epsilon=1.0, clip=0.0), "clip is 0.0"), (dict(epsilon=1.0, clip=-1.0), "clip is -1.0"),
    (dict(noise_multiplier=-1.0), "noise_multiplier is -1.0"),
    (dict(noise_multiplier=math.inf), "noise_multiplier is inf"),
    (dict(epsilon=1.0, batch_size=33), "batch_size 33 with 32 rows"), (dict(epsilon=1.0, epochs=0),
                                                                       "0 epochs"),
    (dict(epsilon=1e-9), "No noise reaches"),
])
def test_private_training_refuses(settings, says):
    x, y = rows_of(32)
    with pytest.raises(LabError, match=says):
        here.fit_private(seeded(mlp), x, y, **dict(batch_size=8) | settings)


def test_batch_norm_and_nan_are_refused():
    x, y = rows_of(32)
    with pytest.raises(LabError, match="BatchNorm"):
        here.fit_private(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(),
                                               nn.Linear(72, 4)), x, y,
                           epsilon=math.inf, batch_size=8)
    x[5, 0, 0, 0] = math.nan
    # one lost run, which a notebook counts
    with pytest.raises(lk.Diverged, match="NaN or infinite"):
        here.fit_private(seeded(mlp), x, y, epsilon=math.inf, batch_size=32, epochs=1)


@pytest.mark.parametrize("call, says", [
    (lambda m: here.add_noise(m, -1.0, 0), "rms is -1.0"),
                                        (lambda m: here.add_noise(m, math.nan, 0),
                                         "rms is nan"),
    (lambda m: here.prune(m, 1.1), "share is 1.1"), (lambda m: here.prune(m, -0.1),
                                                             "share is -0.1"),
    (lambda m: here.prune(nn.LayerNorm(4), 0.5), "no weight matrix"),
    (lambda m: here.finetune_release(m, *rows_of(4), steps=-1, lr=0.1, seed=0),
     "steps is -1"),
    (lambda m: here.finetune_release(m, *rows_of(4), steps=1.5, lr=0.1, seed=0),
     "steps is 1.5"),
    (lambda m: here.update_rms(m, copy.deepcopy(m)), "difference is zero"),
    (lambda m: here.rounded(m, -1), "decimals is -1"), (lambda m: here.top_k(m, 0),
                                                                "k is 0"),
    (lambda m: here.tempered(m, 0.0), "temperature is 0.0"),
                                        (lambda m: here.rescale(P, 0.0),
                                         "temperature is 0.0"),
    (lambda m: here.rescale(P, 1.0, 0.0), "floor is 0.0"),
    (lambda m: defend.group_epsilon(1.0, 1e-5, 0), "k is 0"),
    (lambda m: defend.group_epsilon(-1.0, 1e-5, 1), "epsilon is -1.0"),
    (lambda m: here.epsilon_of(1.0, 0.0, 10, 1e-5), "at least one release"),
    (lambda m: here.epsilon_of(-1.0, 0.1, 10, 1e-5), "at least one release"),
    (lambda m: here.epsilon_of(1.0, 0.1, 0, 1e-5), "at least one release"),
    (lambda m: here.composed([], 1e-5), "at least one release"),
    (lambda m: here.epsilon_of(1.0, 0.1, 1, 0.0), "delta is 0"),
    (lambda m: here.noise_for(0.0, 1e-5, 0.1, 10), "epsilon is 0"),
])
def test_refusals(call, says):
    with pytest.raises(LabError, match=says):
        call(seeded(mlp))
