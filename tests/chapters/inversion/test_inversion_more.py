"""Labels from probes and updates, linear models undone, image measures: against loops, autograd and
scikit-learn's optima; and what these attackers are never given."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import correlate
from torch import nn

import labkit as lk
from course.chapters import inversion, release
from labkit import attack
from labkit.base import LabError
from labkit.measure import images as measure

SHAPE, ZERO = (1, 4, 4), torch.tensor(0.0)
GIVEN = dict(shape=SHAPE, mean=ZERO, std=torch.tensor(1.0))


def seeded(make, seed=0, dtype=torch.float32):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().to(dtype).eval()


def softmax_model(scale=1.0, k=3, seed=0):
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, k)), seed)
    with torch.no_grad():
        model[1].weight.mul_(scale)
    return model


def ascended(model, x, y, lr=0.1):
    """The provider: one step uphill on the request."""
    after = copy.deepcopy(model)
    F.cross_entropy(after(x), y).backward()
    with torch.no_grad():
        for p in after.parameters():
            p += lr * p.grad
    return after


def update(model, x, y):
    return attack.difference(model, ascended(model, x, y))


# ------------------------------------------------------------------------------------------- probes


def test_gradient_probes_are_sure_and_inside_the_pixels():
    model = softmax_model(40.0)
    probes = attack.probes_by_gradient(model, 3, 4, **GIVEN)
    assert (probes.images.shape == (3, 4, *SHAPE) and probes.images.min() >= 0
            and probes.images.max() <= 1)
    # row k is sure of class k
    own = torch.stack([model(probes.images[k]).softmax(1)[:, k] for k in range(3)])
    torch.testing.assert_close(probes.confidence, own.detach())
    assert probes.confidence.min() >= 0.9995 and probes.queries == 0
    assert not probes.images.requires_grad and all(p.grad is None for p in model.parameters())


def test_gradient_probes_take_signed_steps_and_stop_when_sure():
    model = softmax_model()
    start, one = (attack.probes_by_gradient(model, 3, 2, **GIVEN, steps=s).images for s in (0, 1))
    x = start.flatten(0, 1).requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(model(x), torch.tensor([0, 0, 1, 1, 2, 2])), x)
    torch.testing.assert_close(one.flatten(0, 1), (x.detach() - 0.05 * g.sign()).clamp(0, 1))
    idle = attack.probes_by_gradient(model, 3, 2, **GIVEN, steps=50, enough=0.0)
    assert torch.equal(idle.images, start)


def test_probes_are_normalised_as_the_model_was_trained():
    given = dict(shape=SHAPE, mean=torch.tensor(0.4), std=torch.tensor(0.2))
    model = softmax_model(3.0)
    by_hand = nn.Sequential(nn.Flatten(), copy.deepcopy(model[1]))
    with torch.no_grad():  # the same function of the pixels
        by_hand[1].weight.div_(0.2)
        by_hand[1].bias.sub_(0.4 * by_hand[1].weight.sum(1))
    probes, same = attack.probes_by_gradient(model, 3, 2,
                                             **given), attack.probes_by_gradient(by_hand, 3, 2,
                                                                                 **GIVEN)
    torch.testing.assert_close(probes.images, same.images, rtol=0, atol=1e-4)


def test_no_probes_is_an_error():
    with pytest.raises(LabError, match="count is 0"):
        attack.probes_by_gradient(softmax_model(), 3, 0, **GIVEN)


# ---------------------------------------------------------------------------------- deleted classes


def test_confidence_change_against_a_loop():
    before, after = softmax_model(3.0), softmax_model(3.0, seed=1)
    given = dict(mean=torch.tensor(0.2), std=torch.tensor(0.5))
    probes = attack.Probes(torch.rand(3, 4, *SHAPE, generator=torch.Generator().manual_seed(0)),
                           torch.ones(3, 4), 0.0)
    boxes = attack.BlackBox(before), attack.BlackBox(after)
    found = release.confidence_change(*boxes, probes, **given)
    for k in range(3):
        change = [(m((probes.images[k, j : j + 1] - 0.2) / 0.5).softmax(1)[0, k].item())
                  for m in (before, after)
                  for j in range(4)]
        assert found[k].item() == pytest.approx((sum(change[4:]) - sum(change[:4])) / 4, abs=1e-6)
    assert (boxes[0].queries == boxes[1].queries == 12 and found.dtype == torch.float64
            and not found.requires_grad)
    assert release.confidence_change(boxes[0], boxes[0], probes, **given).tolist() == [0, 0, 0]


@pytest.mark.parametrize("deleted", [0, 1, 2])
def test_the_class_walked_uphill_loses_the_most_confidence(deleted):
    before = softmax_model(2.0, seed=4)
    probes = attack.probes_by_gradient(before, 3, 5, **GIVEN, enough=0.9)
    after = ascended(before, probes.images[deleted][:1], torch.tensor([deleted]), 0.5)
    boxes = attack.BlackBox(before), attack.BlackBox(after)
    change = release.confidence_change(*boxes, probes, mean=ZERO, std=GIVEN["std"])
    assert change.argmin() == deleted and change[deleted] < 0


# ------------------------------------------------------------------------------ labels of an update

NETS = {"mlp": lambda: lk.models.mlp((1, 8, 8), 6, 9),
        "strided_cnn": lambda: lk.models.strided_cnn((1, 8, 8), 6, 3),
        "small_cnn": lambda: lk.models.small_cnn((1, 8, 8), 6, 3)}


@pytest.mark.parametrize("name", NETS)
def test_the_label_of_one_deleted_row_is_read_from_the_last_bias(name):
    for seed in range(3):
        model, x = seeded(NETS[name], seed), torch.randn(1, 1, 8, 8,
                                                         generator=torch.Generator().manual_seed(seed))
        for y in range(6):
            moved = update(model, x, torch.tensor([y]))
            assert [inversion.label_of_update(model, s * moved).tolist()
                    for s in (1.0, 1e-6, 1e4)] == [[y]] * 3


def test_the_labels_of_a_batch_are_right_in_most_cases_and_sorted():
    model, right, g = seeded(NETS["mlp"]), 0, torch.Generator().manual_seed(0)
    pairs = list(itertools.combinations(range(6), 2))
    for pair in pairs:
        moved = update(model, torch.randn(2, 1, 8, 8, generator=g), torch.tensor(pair[::-1]))
        found = inversion.label_of_update(model, moved, 2).tolist()
        assert found == sorted(found)
        assert inversion.label_of_update(model, 100 * moved, 2).tolist() == found
        right += found == list(pair)
    assert right > 0.8 * len(pairs)
    twice = update(model, torch.randn(2, 1, 8, 8, generator=g), torch.tensor([4, 4]))
    # the same label may come twice
    assert inversion.label_of_update(model, twice, 2).tolist() == [4, 4]
    three = update(model, torch.randn(3, 1, 8, 8, generator=g), torch.tensor([4, 2, 4]))
    assert inversion.label_of_update(model, three, 3).tolist() == [2, 4, 4]


def test_reading_the_label_leaves_the_update_alone_and_needs_a_bias():
    model = seeded(NETS["mlp"])
    moved = update(model, torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
                   torch.tensor([2]))
    copied = moved.clone()
    inversion.label_of_update(model, moved, 2)
    assert torch.equal(moved, copied)
    bare = nn.Sequential(nn.Flatten(), nn.Linear(64, 6, bias=False))
    with pytest.raises(LabError, match="not a bias"):
        inversion.label_of_update(bare, attack.flat(bare))


def test_an_update_without_a_negative_entry_names_no_class():
    model = softmax_model()
    with pytest.raises(LabError):
        inversion.label_of_update(model, torch.zeros(51))


# ------------------------------------------------------------------------------------ linear models

LOSSES = {"square": 3, "logistic": 2, "softmax": 3}


def table(loss, n=120, d=5, seed=0):
    k, g = LOSSES[loss], torch.Generator().manual_seed(seed)
    truth = torch.randn(k, d, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    x = torch.randn(n, d, generator=g, dtype=torch.float64) + 0.5
    noise = torch.randn(n, k, generator=g, dtype=torch.float64)
    return x, (x @ truth.T + noise).argmax(1)


def deletion(loss, n=120, d=5, penalty=5.0, row=7, seed=0):
    x, y = table(loss, n, d, seed)
    kept = torch.arange(n) != row
    return (inversion.fit_linear(x, y, loss=loss, penalty=penalty),
            inversion.fit_linear(x[kept], y[kept], loss=loss, penalty=penalty), x[kept], x[row])


def cosine(a, b):
    return F.cosine_similarity(a, b, dim=0).item()


def test_ridge_in_closed_form():
    for loss_classes in (2, 3):
        x, y = table("square" if loss_classes == 3 else "logistic")
        goal = F.one_hot(y).double() if loss_classes == 3 else y[:, None].double()
        ones = torch.cat([x, torch.ones(len(x), 1).double()], 1)
        ridge = torch.diag(torch.tensor([3.0] * 5 + [0.0]).double())
        expected = torch.linalg.solve(ones.T @ ones + ridge, ones.T @ goal).T
        torch.testing.assert_close(inversion.fit_linear(x, y, loss="square", penalty=3.0), expected)


@pytest.mark.parametrize("loss, tolerance", [("square", 1e-8), ("logistic", 1e-6),
                                             ("softmax", 1e-4)])
def test_at_the_optimum_the_gradient_is_zero(loss, tolerance):
    x, y = table(loss)
    w = inversion.fit_linear(x, y, loss=loss, penalty=3.0).requires_grad_()
    scores = x @ w[:, :-1].T + w[:, -1]
    if loss == "square":
        data = (scores - F.one_hot(y)).square().sum() / 2
    elif loss == "logistic":
        data = F.binary_cross_entropy_with_logits(scores[:, 0], y.double(), reduction="sum")
    else:
        data = F.cross_entropy(scores, y, reduction="sum")
    (g,) = torch.autograd.grad(data + 3.0 / 2 * w[:, :-1].square().sum(), w)
    assert g.abs().max() < tolerance * len(x) and w.shape == (1 if loss == "logistic" else 3, 6)


@pytest.mark.parametrize("loss, least", [("square", 1 - 1e-8), ("logistic", 0.99),
                                         ("softmax", 0.99)])
def test_with_the_true_retained_rows_the_deleted_row_comes_back(loss, least):
    for row in (0, 7, 50):
        before, after, kept, x = deletion(loss, row=row)
        found = inversion.rebuild_row(before, after, kept, n=120, loss=loss, penalty=5.0)
        assert cosine(found.row, x) > least and found.rank_one > least
        size = (found.row.norm() / x.norm()).item()
        assert size == pytest.approx(1, abs=1e-6 if loss == "square" else 0.15)


def test_the_square_loss_comes_back_whatever_the_penalty():
    for penalty in (0.1, 100.0):
        before, after, kept, x = deletion("square", penalty=penalty)
        found = inversion.rebuild_row(before, after, kept, n=120, loss="square", penalty=penalty)
        torch.testing.assert_close(found.row, x, rtol=1e-6, atol=1e-6)
        wrong = inversion.rebuild_row(before, after, kept, n=120, loss="square", penalty=penalty
                                      + 50)
        assert (wrong.row - x).norm() > 0.05 * x.norm()


@pytest.mark.parametrize("loss", LOSSES)
def test_public_rows_of_the_same_kind_do_and_more_of_them_do_better(loss):
    rows, errors = range(0, 48, 4), {}
    cases = [deletion(loss, n=400, row=r) for r in rows]
    for m in (10, 50, 150, 5000):  # two, ten, thirty, a thousand rows a column
        found = [inversion.rebuild_row(b, a, table(loss, m, seed=r + 1000)[0], n=400, loss=loss,
                                       penalty=5.0).row
                 for r, (b, a, _, _) in zip(rows, cases, strict=True)]
        close = [cosine(f, x) for f, (*_, x) in zip(found, cases, strict=True)]
        errors[m] = 1 - float(np.median(close))
    assert errors[5000] < errors[150] < errors[10]
    assert errors[5000] < 0.02 and errors[150] < 0.05 and errors[50] < 0.1


def test_a_row_whose_constant_is_lost_gets_a_usual_length_and_the_sign_that_fits():
    """The ones-column's entry of the undone step is pushed through 0: before, that turned the row's
    sign.
    """
    before, after, kept, x = deletion("square")
    good = dict(n=120, loss="square", penalty=5.0)
    found = inversion.rebuild_row(before, after, kept, **good)
    assert not found.ill_conditioned
    k, d = before.shape[0], before.shape[1] - 1
    extended = torch.cat([kept, torch.ones(len(kept), 1, dtype=kept.dtype)], 1)
    curvature = extended.T @ extended * 119 / len(kept) + 5.0 * torch.diag(
        torch.tensor([1.0] * d + [0.0]).double())
    residual = (before @ torch.cat([x, x.new_ones(1)]))
    residual = residual - torch.eye(k, dtype=x.dtype)[
        (residual - torch.eye(k).double()).norm(dim=1).argmin()]
    # the gradient residual · [x, constant] instead of residual · [x, 1]
    for constant in (1e-3, -1e-3):
        bent = torch.cat([x, x.new_tensor([constant])])
        moved = before + torch.linalg.solve(curvature, torch.outer(residual, bent).T).T
        got = inversion.rebuild_row(before, moved, kept, **good)
        assert got.ill_conditioned and cosine(got.row, x) > 0.99
        median = extended.norm(dim=1).median()
        assert got.row.norm() == pytest.approx(median.item(), rel=0.01)


def test_rebuild_row_refuses_what_it_cannot_undo():
    before, after, kept, _ = deletion("square")
    good = dict(n=120, loss="square", penalty=5.0)
    with pytest.raises(LabError, match="models are equal"):
        inversion.rebuild_row(before, before, kept, **good)
    with pytest.raises(LabError, match=r"\(3, 6\) and \(2, 6\)"):
        inversion.rebuild_row(before, after[:2], kept, **good)
    with pytest.raises(LabError, match="for 4 columns"):
        inversion.rebuild_row(before, after, kept[:, :4], **good)
    with pytest.raises(LabError, match="no loss 'hinge'"):
        inversion.rebuild_row(before, after, kept, **{**good, "loss": "hinge"})
    with pytest.raises(LabError, match="no loss 'hinge'"):
        inversion.fit_linear(kept, kept[:, 0] > 0, loss="hinge", penalty=1.0)
    with pytest.raises(LabError, match="3 classes.*for two"):
        inversion.fit_linear(*table("softmax"), loss="logistic", penalty=1.0)


def test_softmax_with_two_classes_is_refused_or_undone():
    x, y = table("logistic")
    try:
        before, after = (inversion.fit_linear(x[s:], y[s:], loss="softmax", penalty=5.0)
                         for s in (0, 1))
        found = inversion.rebuild_row(before, after, x[1:], n=120, loss="softmax", penalty=5.0)
    except LabError:
        return
    assert cosine(found.row, x[0]) > 0.99


# ----------------------------------------------------------------------------------- image measures


def test_mse_and_psnr_by_hand():
    a = torch.tensor([[[[0.0, 1.0], [0.5, 0.25]]], [[[0.0, 0.0], [0.0, 0.0]]]])
    b = torch.tensor([[[[0.0, 0.5], [0.5, 0.75]]], [[[1.0, 1.0], [1.0, 1.0]]]])
    assert measure.mse(a, b).tolist() == [0.125, 1.0]
    assert measure.psnr(a, b).tolist() == pytest.approx([10 * math.log10(8), 0])
    assert measure.psnr(a, a).tolist() == pytest.approx([100, 100])
    # nearer than float32 can tell
    assert measure.psnr(a, (a + 1e-7).clamp(max=1)).max() == pytest.approx(100)
    assert measure.mse(a[None], b[None]).shape == (1, 2)


@pytest.mark.parametrize("value", [1.01, -0.01, float("nan"), float("inf")])
@pytest.mark.parametrize("measure", [measure.mse, measure.psnr, inversion.ssim])
def test_measures_refuse_what_is_not_a_pixel(measure, value):
    good = torch.full((2, 1, 12, 12), 0.5)
    bad = good.clone()
    bad[1, 0, 3, 3] = value
    for pair in ((bad, good), (good, bad)):
        with pytest.raises(LabError, match="Pixels from"):
            measure(*pair)


@pytest.mark.parametrize("size", [8, 28])
def test_ssim_against_its_definition(size):
    g = torch.Generator().manual_seed(0)
    a, b = (torch.rand(3, 1, size, size, generator=g) for _ in range(2))
    b[1] = 0.8 * a[1] + 0.1
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2

    def local(x):
        return correlate(x, window, mode="mirror")

    expected = []
    for x, y in zip(a[:, 0].double().numpy(), b[:, 0].double().numpy(), strict=True):
        mx, my = local(x), local(y)
        vx, vy, c = local(x * x) - mx**2, local(y * y) - my**2, local(x * y) - mx * my
        top = (2 * mx * my + 0.01**2) * (2 * c + 0.03**2)
        expected.append((top / ((mx**2 + my**2 + 0.01**2) * (vx + vy + 0.03**2))).mean())
    found = inversion.ssim(a, b)
    assert found.shape == (3,) and found.tolist() == pytest.approx(expected, abs=1e-4)
    assert inversion.ssim(a, a).tolist() == pytest.approx([1, 1, 1])
    assert inversion.ssim(a[:1], b[:1]).tolist() == pytest.approx(expected[:1], abs=1e-4)


def test_ssim_is_torchmetrics_in_colour():
    theirs = pytest.importorskip("torchmetrics.functional.image")
    a, b = torch.rand(2, 4, 3, 16, 20, generator=torch.Generator().manual_seed(0))
    expected = theirs.structural_similarity_index_measure(a, b, data_range=1.0, reduction="none")
    assert inversion.ssim(a, b).tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_ssim_against_scikit_image():
    skimage = pytest.importorskip("skimage.metrics")
    a, b = torch.rand(2, 1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    theirs = skimage.structural_similarity(a[0, 0].numpy(), b[0, 0].numpy(), data_range=1.0,
                                           gaussian_weights=True,
                                           sigma=1.5, use_sample_covariance=False)
    # it leaves the border out
    assert inversion.ssim(a, b).item() == pytest.approx(theirs, abs=0.02)


def test_assign_against_all_orders():
    for seed in range(5):
        g = torch.Generator().manual_seed(seed)
        images, originals = (torch.rand(4, 1, 3, 3, generator=g) for _ in range(2))
        best = min(itertools.permutations(range(4)),
                   key=lambda o: measure.mse(images[list(o)], originals).sum())
        assert inversion.assign(images, originals).tolist() == list(best)
        shuffled = originals[torch.tensor([2, 3, 1, 0])]
        assert torch.equal(shuffled[inversion.assign(shuffled, originals)], originals)



# ------------------------------------------------------------------------------------- threat model

def test_black_box_attackers_reach_no_gradient_and_no_weights():
    box = attack.BlackBox(softmax_model())
    for name in ("parameters", "model", "named_parameters", "forward", "__dict__"):
        assert not hasattr(box, name)
    x = torch.rand(2, *SHAPE, requires_grad=True)
    assert not box(x).requires_grad
    with pytest.raises(AttributeError):
        attack.probes_by_gradient(box, 3, 1, **GIVEN)
    with pytest.raises(AttributeError):
        attack.difference(box, box)
    probes = attack.probes_by_gradient(softmax_model(), 3, 1, **GIVEN, steps=2)
    assert release.confidence_change(box, box, probes, mean=ZERO,
                                  std=GIVEN["std"]).tolist() == [0, 0, 0]
