"""labkit.attack.inversion against autograd, dense matrices, closed forms and requests that were
never made.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.func import functional_call, jacrev

import labkit as lk
from course.chapters import inversion as chapter
from labkit import attack
from labkit.attack import inversion
from labkit.base import LabError, NotForThisData
from labkit.measure import images as measure
from labkit.training import fit

SHAPE, MEAN, STD = (1, 8, 8), 0.3, 0.35


def seeded(make, seed=0, dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().to(dtype).eval()


def rows_of(n, shape=SHAPE, k=4, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=g, dtype=dtype), torch.randint(k, (n,), generator=g)


def gradient(model, x, y, reduction="mean"):
    loss = F.cross_entropy(model(x), y, reduction=reduction)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def ascended(model, x, y, lr=0.05):
    """The provider: one step uphill on the request."""
    after = copy.deepcopy(model)
    step = gradient(model, x, y).to(next(model.parameters()))
    with torch.no_grad():
        for p, part in zip(after.parameters(), step.split([p.numel() for p in model.parameters()]),
                           strict=True):
            p += lr * part.view(p.shape)
    return after


def cosine(a, b):
    return F.cosine_similarity(a.flatten().double(), b.flatten().double(), dim=0).item()


def mlp(hidden=7):
    return lk.models.mlp(SHAPE, 4, hidden)


# -------------------------------------------------------------------------------- the analytic leak

LEAKS = {
    "mlp": (mlp, 1),
    "small_cnn": (lambda: lk.models.small_cnn(SHAPE, 4, 3), 7),
    "strided_cnn": (lambda: lk.models.strided_cnn(SHAPE, 4, 3), 5),
    "first linear without bias": (lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(64, 6, bias=False), nn.Tanh(), nn.Linear(6, 4)), 3),
}


@pytest.mark.parametrize("name", LEAKS)
def test_the_leak_is_the_input_of_the_first_linear_layer_with_a_bias(name):
    make, layer = LEAKS[name]
    model, (x, y) = seeded(make), rows_of(1)
    leaked = attack.leak(model, attack.difference(model, ascended(model, x, y)))
    seen = model[:layer](x).flatten().detach()
    assert seen.norm() > 0 and (leaked - seen).norm() <= 1e-6 * seen.norm()


def test_the_leak_works_on_a_bare_linear_layer_and_for_any_step_size():
    model, (x, y) = seeded(lambda: nn.Linear(9, 3)), rows_of(1, (9,), 3)
    for lr in (1e-3, 10.0):
        torch.testing.assert_close(attack.leak(model, attack.difference(model, ascended(model, x, y,
                                                                                        lr))), x[0],
                                   rtol=1e-6, atol=1e-8)


def test_two_rows_leak_their_average_weighted_by_residuals_not_either_row():
    model, (x, y) = seeded(lambda: nn.Linear(9, 3)), (rows_of(2, (9,), 3)[0], torch.tensor([0, 1]))
    residual = model(x).softmax(1) - F.one_hot(y, 3)
    # what each unit says; the leak weighs them by (Σ residual)²
    units = (residual.T @ x) / residual.sum(0)[:, None]
    weight = residual.sum(0).square()
    leaked = attack.leak(model, attack.difference(model, ascended(model, x, y)))
    torch.testing.assert_close(leaked, ((weight[:, None] * units).sum(0) / weight.sum()).detach())
    assert max(cosine(leaked, row) for row in x) < 0.99


def test_no_leak_without_a_biased_linear_layer():
    model = seeded(lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(),
                                         nn.Linear(72, 4, bias=False)))
    with pytest.raises(LabError, match="no linear layer with a bias"):
        attack.leak(model, attack.flat(model))


# --------------------------------------------------------------------------- differences of weights


@pytest.mark.parametrize("deleted", [[3], [1, 6]])
def test_the_weighted_difference_of_one_full_batch_step_is_lr_times_the_summed_gradient(deleted):
    start, (x, y), lr = seeded(mlp), rows_of(8, seed=3), 0.3
    recipe = dict(epochs=1, lr=lr, seed=0, batch_size=16, momentum=0, weight_decay=0,
                  schedule="constant")
    kept = [i for i in range(8) if i not in deleted]
    before = fit(copy.deepcopy(start), x, y, **recipe)
    after = fit(copy.deepcopy(start), x[kept], y[kept], **recipe)
    truth = gradient(start, x[deleted], y[deleted], "sum")
    found = chapter.weighted_difference(start, before, after, 8, len(deleted))
    assert found.dtype == torch.float64 and cosine(found, truth) > 0.999
    torch.testing.assert_close(found, lr * truth, rtol=1e-8, atol=1e-10)
    # the mean's other rows are in the naive one
    assert cosine(attack.difference(before, after), truth) < 0.99


@pytest.mark.parametrize("u", [0, 8, 9, -1])
def test_the_weighted_difference_refuses_impossible_counts(u):
    model = seeded(mlp)
    with pytest.raises(LabError, match=f"{u} of 8 rows"):
        chapter.weighted_difference(model, seeded(mlp, 1), seeded(mlp, 2), 8, u)


def test_the_difference_points_up_the_gradient_of_the_request():
    model, (x, y) = seeded(mlp), rows_of(2)
    torch.testing.assert_close(attack.difference(model, ascended(model, x, y, 0.1)),
                               0.1 * gradient(model, x, y))


def test_descending_on_the_retained_rows_of_a_trained_model_points_the_same_way():
    """At an optimum the gradient of the others is minus that of the deleted row: leaving out and
    ascending agree.
    """
    model, (x, y) = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(5, 3))), rows_of(40, (5,),
                                                                                          3)
    plain = dict(seed=0, batch_size=64, momentum=0, weight_decay=0, schedule="constant")
    fit(model, x, y, epochs=1500, lr=1.0, **plain)
    after = fit(copy.deepcopy(model), x[1:], y[1:], epochs=1, lr=0.1, **plain)
    assert cosine(attack.difference(model, after), gradient(model, x[:1], y[:1])) > 0.999


def test_the_difference_is_taken_in_float64():
    before, after = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        before.weight.fill_(1.0)
        after.weight.fill_(2.0**-30)
    assert (after.weight - before.weight).item() == -1.0  # float32 loses the small one
    assert attack.difference(before, after).tolist() == [2.0**-30 - 1.0]


def test_the_difference_refuses_other_shapes_and_equal_models():
    model = seeded(mlp)
    with pytest.raises(LabError, match="different shapes"):
        attack.difference(model, seeded(lambda: mlp(8)))
    with pytest.raises(LabError, match="difference is zero"):
        attack.difference(model, copy.deepcopy(model))


def test_flat_and_unflat_are_inverse_and_in_order():
    model = seeded(lambda: lk.models.small_cnn(SHAPE, 4, 2), dtype=torch.float32)
    vector = attack.flat(model)
    assert vector.dtype == torch.float64 and not vector.requires_grad
    back = inversion.unflat(model, vector)
    assert list(back) == [k for k, _ in model.named_parameters()]
    assert all(torch.equal(back[k], p.double()) for k, p in model.named_parameters())


# ----------------------------------------------------------------------- influence, multiplied back


def dense_curvature(model, x):
    params, start = {k: p.detach() for k, p in model.named_parameters()}, attack.flat(model)
    # (n, k, d)
    jac = jacrev(lambda v: functional_call(model, inversion.unflat(model, v), (x,)))(start)
    p = functional_call(model, params, (x,)).softmax(1)
    q = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    return torch.einsum("nad,nab,nbe->de", jac, q, jac) / len(x)


def test_through_curvature_is_the_dense_gauss_newton_matrix_and_undoes_influence():
    model, (x, y) = seeded(lambda: lk.models.mlp((5,), 3, 4)), rows_of(20, (5,), 3)
    dense = dense_curvature(model, x) + 0.07 * torch.eye(39, dtype=torch.float64)
    v = torch.randn(39, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(chapter.through_curvature(model, v, x, y, damping=0.07), dense @ v)
    g = gradient(model, x[:1], y[:1])
    moved = torch.linalg.solve(dense, g)
    assert cosine(moved, g) < 0.95  # so there is something to undo
    torch.testing.assert_close(chapter.through_curvature(model, moved, x, y, damping=0.07), g)
    relabelled = chapter.through_curvature(model, moved, x, (y + 1) % 3, damping=0.07)
    torch.testing.assert_close(relabelled, g)  # Gauss-Newton does not read the labels


# --------------------------------------------------------------------------------------- similarity


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x):
        return x + self.conv(x).relu()


PLAIN = {
    "mlp": mlp,
    "mlp without bias": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 5, bias=False),
                                              nn.Sigmoid(),
                                              nn.Linear(5, 4, bias=False)),
    "strided_cnn": lambda: lk.models.strided_cnn(SHAPE, 4, 2),
    "small_cnn": lambda: lk.models.small_cnn(SHAPE, 4, 2),
    "odd convolution": lambda: nn.Sequential(
        nn.Conv2d(1, 3, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), bias=False),
                                             nn.Softplus(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(18, 4)),
    "one layer": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4)),
}
OTHER = {
    "residual": lambda: nn.Sequential(nn.Conv2d(1, 2, 3), Residual(), nn.Flatten(),
                                      nn.Linear(72, 4)),
    "grouped": lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 4, 3, groups=2), nn.Flatten(),
                                     nn.Linear(64, 4)),
    "same": lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding="same"), nn.ELU(), nn.Flatten(),
                                  nn.Linear(128, 4)),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), nn.Tanh(),
                                    nn.Linear(5, 4)),
    "bare linear": lambda: nn.Linear(64, 4),
    "circular padding": lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1,
                                                        padding_mode="circular"), nn.Flatten(),
                                              nn.Linear(128, 4)),
    "in-place ReLU": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(inplace=True),
                                           nn.Linear(5, 4)),
}
SHORTCUT = [
    "circular padding",
    "in-place ReLU",
]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("u", [1, 3])
@pytest.mark.parametrize("name", [*PLAIN, *[k for k in OTHER if k not in ("circular padding",
                                                                          "in-place ReLU")],
                                  *SHORTCUT])
def test_similarity_is_the_cosine_of_autograd_gradients(name, u, soft, monkeypatch):
    model = seeded({**PLAIN, **OTHER}[name])
    x, y = rows_of(2 * u, (64,) if name == "bare linear" else SHAPE, seed=u)
    y = torch.randn(2 * u, 4,
                    generator=torch.Generator().manual_seed(5)).double().softmax(1) if soft else y
    x, y = x.unflatten(0, (2, u)), y.unflatten(0, (2, u))
    truth = torch.stack([gradient(model, x[i], y[i]) for i in range(2)])
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(6), dtype=truth.dtype)
    targets = F.normalize(truth / truth.norm(dim=1, keepdim=True)
                          + noise / noise.norm(dim=1, keepdim=True), dim=1)
    expected = F.cosine_similarity(truth, targets, dim=1)
    assert expected.min() > 0.3
    general = inversion._similarity_any(model, x, y, targets)
    torch.testing.assert_close(general, expected)
    if name in PLAIN:
        monkeypatch.setattr(inversion, "_similarity_any", None)  # one pass must do
    torch.testing.assert_close(attack.similarity(model, x, y, targets), expected)
    torch.testing.assert_close(attack.similarity(model, x, y, F.normalize(truth, dim=1)),
                               torch.ones(2).double())


@pytest.mark.parametrize("name", ["mlp", "strided_cnn", "small_cnn"])
def test_targets_do_not_meet(name):
    """Each batch has its own cosine: one by one, or all at once."""
    model, (x, y) = seeded(PLAIN[name]), rows_of(6)
    x, y = x.unflatten(0, (3, 2)), y.unflatten(0, (3, 2))
    targets = torch.randn(3, len(attack.flat(model)), generator=torch.Generator().manual_seed(4),
                          dtype=x.dtype)
    targets = F.normalize(targets, dim=1)
    alone = torch.cat([attack.similarity(model, x[i : i + 1], y[i : i + 1], targets[i : i + 1])
                       for i in range(3)])
    torch.testing.assert_close(attack.similarity(model, x, y, targets), alone)


@pytest.mark.parametrize("make", [
    lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Tanh(), nn.Linear(3, 3)),
    lambda: nn.Sequential(nn.Conv2d(1, 2, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)),
])
def test_similarity_is_differentiable_in_images_and_soft_labels(make):
    model, (x, _) = seeded(make), rows_of(4, (1, 4, 4))
    g = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 2, 3, generator=g, dtype=torch.float64).requires_grad_()
    targets = F.normalize(torch.randn(2, len(attack.flat(model)), generator=g, dtype=torch.float64),
                          dim=1)
    assert torch.autograd.gradcheck(lambda x, s: attack.similarity(model, x, s.softmax(2), targets),
                                    (x.unflatten(0, (2, 2)).requires_grad_(), logits))


# ---------------------------------------------------------------------------------- total variation


def test_total_variation_by_hand_and_by_loop():
    image = torch.tensor([[[0.0, 1.0], [0.5, 0.5]]])
    assert attack.total_variation(image).item() == pytest.approx((1 + 0) / 2 + (0.5 + 0.5) / 2)
    assert attack.total_variation(torch.full((2, 3, 5, 4), 0.7)).tolist() == [0, 0]
    x = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0)).double()
    for picture, found in zip(x, attack.total_variation(x), strict=True):
        across = [abs(c[i][j + 1] - c[i][j]) for c in picture.tolist() for i in range(5)
                  for j in range(3)]
        down = [abs(c[i + 1][j] - c[i][j]) for c in picture.tolist() for i in range(4)
                for j in range(4)]
        assert found.item() == pytest.approx(sum(across) / len(across) + sum(down) / len(down))


# --------------------------------------------------------------------------------------- the search


@pytest.fixture(scope="module")
def digits():
    pixels, y = load_digits(return_X_y=True)
    return torch.tensor(pixels / 16, dtype=torch.float32).view(-1, *SHAPE), torch.tensor(y)


@pytest.fixture(scope="module")
def case(digits):
    """Four deletions, each by one ascent step, from a small net that has not been trained."""
    (pixels, y), rows = digits, torch.tensor([10, 21, 32, 43])
    model = seeded(lambda: lk.models.mlp(SHAPE, 10, 24), dtype=torch.float32)
    x = (pixels - MEAN) / STD
    targets = torch.stack([attack.difference(model, ascended(model, x[i : i + 1], y[i : i + 1]))
                           for i in rows])
    return model, targets, y[rows, None], pixels[rows]


def search(case, which=slice(None), labels=True, **settings):
    model, targets, y, _ = case
    given = dict(shape=SHAPE, mean=MEAN, std=STD, steps=150, tv=1e-3)
    return attack.invert(model, targets[which], y[which] if labels else None,
                         **{**given, **settings})


@pytest.mark.parametrize("kind", ["mlp", "strided_cnn"])
def test_the_search_rebuilds_the_deleted_image_and_no_other(digits, case, kind):
    (pixels, y), (_, _, labels, originals) = digits, case
    model, targets = case[:2]
    if kind != "mlp":
        model, x = seeded(lambda: lk.models.strided_cnn(SHAPE, 10, 8),
                          dtype=torch.float32), (originals - MEAN) / STD
        targets = torch.stack([attack.difference(model, ascended(model, x[i : i + 1], labels[i]))
                               for i in range(4)])
    found = search((model, targets, labels, originals), steps=300)
    assert (found.images.shape == (4, 1, *SHAPE) and found.images.min() >= 0 and found.images.max()
            <= 1)
    gained = measure.psnr(found.images[:, 0], originals)
    class_means = torch.stack([pixels[y == k].mean(0) for k in labels.flatten()])
    assert (gained > measure.psnr(class_means, originals) + 5).sum() >= 3
    other = targets.roll(1, 0)  # another request's update, under the right label
    wrong = search((model, other, labels, originals), steps=300).images[:, 0]
    assert (gained > measure.psnr(wrong, originals) + 5).sum() >= 3


def test_the_loss_is_the_cosine_distance_plus_tv_with_one_weight_a_target(case):
    model, targets, y, _ = case
    tv = torch.tensor([0.0, 1.0, 0.0, 0.5])
    found = search(case, tv=tv, steps=8)
    aim = F.normalize(targets, dim=1).float()
    rough = attack.total_variation(found.images[:, 0])
    expected = 1 - attack.similarity(model, (found.images - MEAN) / STD, y, aim) + tv * rough
    torch.testing.assert_close(found.loss, expected.detach())
    assert rough[1] < attack.total_variation(search(case, tv=0.0, steps=8).images[1, 0])


def test_same_seed_same_result_and_only_directions_count(case):
    model, targets, y, originals = case
    first, again, other = search(case, steps=12), search(case, steps=12), search(case, steps=12,
                                                                                 seed=1)
    assert torch.equal(first.images, again.images) and torch.equal(first.loss, again.loss)
    assert not torch.equal(first.images, other.images)
    scaled = search((model, 8 * targets, y, originals), steps=12)  # a power of two changes no digit
    assert torch.equal(scaled.images, first.images)


def test_frames_are_kept_before_their_iteration_and_at_the_end(case):
    found = search(case, steps=10, frames=(0, 4), signed=True)  # then no step is longer than lr
    assert list(found.frames) == [0, 4, 10] and torch.equal(found.frames[10], found.images)
    start = torch.randn(4, 1, *SHAPE, generator=torch.Generator().manual_seed(0)).clamp(0, 1)
    assert torch.equal(found.frames[0], start)
    assert (found.frames[4]
            - start).abs().max() <= 4 * 0.1 + 1e-6 and not torch.equal(found.frames[4], start)


def test_of_the_restarts_the_smallest_loss_is_kept_not_the_best_picture(case):
    model, targets, y, _ = case
    kept = search(case, slice(2), restarts=3, steps=15, frames=(5,))
    each = search((model, targets[:2].repeat_interleave(3, 0), y[:2].repeat_interleave(3, 0), None),
                  steps=15,
                  frames=(5,))  # the same noise, with nothing thrown away
    best = each.loss.view(2, 3).argmin(1) + torch.tensor([0, 3])
    assert torch.equal(kept.loss, each.loss[best]) and torch.equal(kept.images, each.images[best])
    assert torch.equal(kept.frames[5], each.frames[5][best])
    assert (each.loss.view(2, 3).amax(1) > kept.loss).all()


def test_without_labels_they_are_searched_for_too(case):
    found = search(case, labels=False, batch=2, steps=5)
    assert found.images.shape == (4, 2, *SHAPE) and found.labels.shape == (4, 2)
    assert found.labels.dtype == torch.int64 and 0 <= found.labels.min() and found.labels.max() < 10
    found = search(case, labels=False, steps=200)
    assert (found.labels == case[2]).sum() >= 3


@pytest.mark.parametrize("labels", [True, False])
def test_the_search_leaves_the_model_as_it_was(case, labels):
    model, before = case[0], attack.flat(case[0])
    search(case, labels=labels, steps=3)
    assert torch.equal(attack.flat(model), before) and all(p.grad is None
                                                           for p in model.parameters())
    assert all(p.requires_grad for p in model.parameters()) and not model.training


@pytest.mark.parametrize("y, says", [
    ([[10]], "from 10 to 10.*0 to 9"), ([[-1]], "from -1"), ([[3.0]], "class indices"),
    ([[1], [2]], r"labels of shape \(2, 1\)"),
    ([3], "labels"),
])
def test_bad_labels_are_named(case, y, says):
    with pytest.raises(LabError, match=says):
        search((case[0], case[1][:1], torch.tensor(y), None), steps=1)


def test_a_zero_target_and_a_table_are_refused(case):
    model, targets, y, originals = case
    with pytest.raises(LabError, match="target is zero"):
        search((model, targets * torch.tensor([1, 0, 1, 1])[:, None], y, originals), steps=1)
    with pytest.raises(NotForThisData, match="closed form"):
        search(case, shape=(64,), steps=1)


@pytest.mark.parametrize("spoil", [lambda t: t * float("nan"), lambda t: t[:, 1:]])
def test_a_target_of_another_model_or_without_numbers_is_refused(case, spoil):
    with pytest.raises(LabError):
        search((case[0], spoil(case[1]), case[2], None), steps=1)
