"""labkit.training against a bare PyTorch loop: the same batches, skipped rows, packs, workers and
errors.
"""

import copy
import os
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course.chapters.sparsity import flip_and_crop
from labkit import base, models, processes, training
from labkit.base import Diverged, LabError
from labkit.training import fit, fit_many, fit_packed, parallel, predict

N, D, K = 203, 12, 4  # 203 is no multiple of the batch size: the last batch is smaller
RECIPE = dict(epochs=3, lr=0.2, batch_size=32)


@pytest.fixture(scope="module")
def rows():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, generator=g)
    return x, (x @ torch.randn(D, K, generator=g) + torch.randn(N, K, generator=g)).argmax(1)


def net(seed, hidden=9):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.mlp((D,), K, hidden)


def conv(seed):
    return models.build("strided_cnn", SimpleNamespace(shape=(1, 8, 8), n_classes=K,
                                                       x=torch.zeros(1)), seed, width=2)


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(),
                                                 strict=True))


def close(a, b, **tolerance):
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, **tolerance)


class Spy(nn.Module):
    """Notes the rows of every forward pass."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.seen = inner, []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return self.inner(x)


# ---- fit

@pytest.mark.parametrize("schedule, momentum", [("constant", 0.9), ("onecycle", 0.9),
                                                ("onecycle", 0.0)])
def test_fit_is_a_plain_loop(rows, schedule, momentum):
    x, y = rows
    by_hand, order = net(1), torch.Generator().manual_seed(7)
    optimizer = torch.optim.SGD(by_hand.parameters(), 0.2, momentum, weight_decay=1e-3,
                                nesterov=momentum > 0)
    step, steps = 0, 3 * 7
    for _ in range(3):
        for batch in torch.randperm(N, generator=order).split(32):
            if schedule == "onecycle":  # straight up over 30 % of the steps, straight down to 0
                up = round(0.3 * steps)
                optimizer.param_groups[0]["lr"] = 0.2 * min((step + 1) / up,
                                                            (steps - step) / (steps - up))
            optimizer.zero_grad()
            F.cross_entropy(by_hand(x[batch]), y[batch]).backward()
            optimizer.step()
            step += 1
    model = net(1)
    trained = fit(model, x, y, seed=7, schedule=schedule, momentum=momentum, weight_decay=1e-3,
                  **RECIPE)
    assert trained is model and not trained.training
    assert same(trained, by_hand)


def test_fractions_of_an_epoch(rows):
    x, y = rows
    spy = Spy(net(1))
    fit(spy, x, y, seed=0, epochs=1.5, lr=0.1, batch_size=32)
    assert len(spy.seen) == round(1.5 * 7)


def test_skipped_rows_leave_the_other_batches_as_they_were(rows):
    x, y = rows
    skip = torch.arange(5, 100, 3)
    everything, less = Spy(net(1)), Spy(net(1))
    fit(everything, x, y, seed=3, **RECIPE)
    fit(less, x, y, seed=3, skip=skip, **RECIPE)
    gone = {tuple(r.tolist()) for r in x[skip]}
    assert len(everything.seen) == len(less.seen) == 21
    for a, b in zip(everything.seen, less.seen, strict=True):
        stays = [r for r in a if tuple(r.tolist()) not in gone]
        assert torch.equal(torch.stack(stays), b)
    assert sum(map(len, less.seen)) == 3 * (N - len(skip))


def test_a_batch_without_rows_is_passed_over(rows):
    x, y = rows
    # the whole last batch of epoch one
    last = torch.randperm(N, generator=torch.Generator().manual_seed(3))[192:]
    spy = Spy(net(1))
    fit(spy, x, y, seed=3, epochs=1, lr=0.1, batch_size=32, skip=last)
    assert [len(b) for b in spy.seen] == [32] * 6


def test_an_empty_skip_changes_no_bit_and_the_seed_is_all(rows):
    x, y = rows
    plain = fit(net(1), x, y, seed=3, **RECIPE)
    torch.manual_seed(1234)  # the global generator has no say
    before = torch.get_rng_state()
    assert same(plain, fit(net(1), x, y, seed=3, skip=torch.empty(0, dtype=torch.long), **RECIPE))
    assert same(plain, fit(net(1), x, y, seed=3, **RECIPE))
    assert torch.equal(before, torch.get_rng_state())
    assert not same(plain, fit(net(1), x, y, seed=4, **RECIPE))


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 100, 1001])
def test_one_cycle_goes_up_then_down_to_zero(steps):
    rates = training._schedule("onecycle", 0.5, steps)
    top = rates.index(max(rates))
    assert len(rates) == steps and min(rates) > 0 and max(rates) <= 0.5
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:],
                                                                                  reverse=True)
    if steps >= 10:
        assert max(rates) == 0.5 and abs(top / steps - 0.3) < 0.1
        assert rates[-1] == pytest.approx(0.5 / (steps - round(0.3 * steps)))  # one step above 0
    assert training._schedule("constant", 0.5, 3) == [0.5] * 3


def test_multistep_falls_at_a_half_and_at_three_quarters():
    """182 epochs with the rate cut after 91 and 136, as in Jia et al. 2023."""
    rates = training._schedule("multistep", 0.1, 182 * 10)
    assert [i for i in range(1, 1820) if rates[i] != rates[i - 1]] == [910, 1365]
    assert [rates[i] for i in (0, 910, 1365)] == pytest.approx([0.1, 0.01, 0.001])


# ---- augmentation

def test_flip_and_crop_moves_each_image_by_itself():
    # every value once: a pixel tells where it came from
    x = torch.arange(1.0, 1 + 64 * 2 * 6 * 5).view(64, 2, 6, 5)
    moved = flip_and_crop(x, torch.Generator().manual_seed(0), pad=2)
    assert moved.shape == x.shape
    seen = set()
    for before, after in zip(x, moved, strict=True):
        found = [(flip, top, left) for flip in (False, True) for top in range(5)
                 for left in range(5) if torch.equal(
            after, F.pad(before.flip(2) if flip else before, (2,) * 4)[:, top : top + 6,
                                                                       left : left + 5])]
        assert len(found) == 1
        seen.add(found[0])
    assert [len(set(parts)) for parts in zip(*seen, strict=True)] == [2, 5, 5]
    again = flip_and_crop(x, torch.Generator().manual_seed(0), pad=2)
    assert torch.equal(moved, again)
    assert not torch.equal(moved, flip_and_crop(x, torch.Generator().manual_seed(1), pad=2))


def test_augmented_rows_do_not_depend_on_the_rows_left_out(rows):
    x, y = rows
    skip = torch.arange(5, 100, 3)

    def noise(batch, draw):
        return batch + torch.rand(batch.shape, generator=draw)

    everything, less = Spy(net(1)), Spy(net(1))
    fit(everything, x, y, seed=3, augment=noise, **RECIPE)
    fit(less, x, y, seed=3, augment=noise, skip=skip, **RECIPE)
    seen = {tuple(r.tolist()) for batch in everything.seen for r in batch}
    assert sum(map(len, less.seen)) == 3 * (N - len(skip))
    assert all(tuple(r.tolist()) in seen for batch in less.seen for r in batch)
    plain = {tuple(r.tolist()) for r in x}
    assert not any(tuple(r.tolist()) in plain for batch in less.seen for r in batch)


def test_an_unknown_schedule_is_named(rows):
    with pytest.raises(LabError, match="'cosine'.*onecycle.*constant"):
        fit(net(1), *rows, seed=0, epochs=1, lr=0.1, schedule="cosine")


@pytest.mark.parametrize("train", [
    lambda x, y, **kw: fit(net(1), x, y, seed=0, **kw),
    lambda x, y, **kw: fit_packed([net(1)], x, y, seeds=[0], **kw)])
def test_a_diverging_run_is_no_model(rows, train):
    x, y = rows
    with pytest.raises(Diverged, match="diverged.*smaller"):
        train(x, y, epochs=3, lr=1e9)
    # the loss was still finite before the last step
    with pytest.raises(Diverged, match="diverged"):
        train(x * 1e3, y, epochs=1, lr=1e38, batch_size=N, schedule="constant")
    with pytest.raises(Diverged, match="diverged"):
        train(torch.full_like(x, float("nan")), y, epochs=1, lr=0.1)


# ---- predict

def test_predict_puts_the_mode_back_and_is_float32(rows):
    x = rows[0]
    model = nn.Sequential(nn.Linear(D, K), nn.BatchNorm1d(K), nn.Dropout(0.5))
    statistics = model[1].running_mean.clone()
    for mode in (True, False):
        model.train(mode)
        logits = predict(model, x, batch_size=50)
        assert model.training is mode and all(m.training is mode for m in model)
        assert logits.dtype == torch.float32 and logits.shape == (N, K) and not logits.requires_grad
        torch.testing.assert_close(logits, predict(model, x, batch_size=N))
    assert torch.equal(model[1].running_mean,
                       statistics), "predicting must not move running statistics"
    assert predict(model.to(torch.bfloat16), x.bfloat16()).dtype == torch.float32


# ---- fit_packed

@pytest.mark.parametrize("seeds", [[4, 5, 6], [4, 4, 4]])  # of one seed: the batches are shared
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_a_pack_trains_each_model_as_fit_does(rows, momentum, seeds):
    x, y = rows
    skip = [torch.empty(0, dtype=torch.long), torch.arange(0, 60, 2), torch.tensor([202, 0, 17])]
    nets, before = [net(s) for s in (1, 2, 3)], [copy.deepcopy(net(s)) for s in (1, 2, 3)]
    packed = fit_packed(nets, x, y, seeds=seeds, skip=skip, momentum=momentum, **RECIPE)
    for i in range(3):
        alone = fit(net(i + 1), x, y, seed=seeds[i], skip=skip[i], momentum=momentum, **RECIPE)
        close(packed[i], alone, rtol=1e-4, atol=1e-5)
        assert same(nets[i], before[i]) and packed[i] is not nets[i] and not packed[i].training
    alone = fit_packed([net(2)], x, y, seeds=seeds[1:2], skip=[skip[1]], momentum=momentum,
                       **RECIPE)
    close(packed[1], alone[0], rtol=1e-4, atol=1e-5)  # a model's neighbours do not matter


def test_a_pack_wants_one_seed_and_one_skip_list_a_model(rows):
    with pytest.raises(LabError, match="2 models, 1 seeds"):
        fit_packed([net(1), net(2)], *rows, seeds=[1], **RECIPE)
    with pytest.raises(LabError, match="1 skip lists"):
        fit_packed([net(1), net(2)], *rows, seeds=[1, 2], skip=[torch.tensor([1])], **RECIPE)


def linear_twice():
    first, same = nn.Linear(D, D), nn.Linear(D, D)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), same, nn.ReLU(), same, nn.ReLU(),
                         nn.Linear(D, K))


def weight_twice():
    model = nn.Sequential(nn.Flatten(), nn.Linear(D, D), nn.ReLU(), nn.Linear(D, D), nn.ReLU(),
                          nn.Linear(D, K))
    model[3].weight = model[1].weight
    return model


@pytest.mark.parametrize("make", [
    linear_twice, weight_twice,
    lambda: nn.Sequential(nn.Flatten(), nn.Linear(D, 5, bias=False), nn.ReLU(),
                          nn.Linear(5, K, bias=False)),
    lambda: nn.Sequential(nn.Flatten(), nn.Linear(D, 5), nn.Linear(5, K)),  # no ReLU between
    lambda: nn.Sequential(nn.Flatten(), nn.Linear(D, K), nn.ReLU())])
def test_what_a_pack_would_train_as_another_network_is_refused(rows, make):
    model = make()
    with pytest.raises(LabError, match="a layer used twice: use fit_many"):
        fit_packed([model], *rows, seeds=[0], **RECIPE)
    many, = fit_many([model], *rows, seeds=[0], workers=1, **RECIPE)
    assert same(many, fit(copy.deepcopy(model), *rows, seed=0, **RECIPE))


# ---- fit_many

@pytest.mark.parametrize("kind", [net, conv])
def test_the_number_of_workers_changes_no_bit(rows, kind):
    x, y = rows
    x = torch.randn(N, 1, 8, 8, generator=torch.Generator().manual_seed(0)) if kind is conv else x
    nets, seeds = [kind(s) for s in range(5)], [10, 11, 12, 13, 14]
    skip = [None, torch.arange(7), None, torch.tensor([3]), None]
    torch.set_num_threads(2)  # also where the caller has left more threads on
    one = fit_many(nets, x, y, seeds=seeds, skip=skip, pack=2, workers=1, **RECIPE)
    two = fit_many(nets, x, y, seeds=seeds, skip=skip, pack=2, workers=2, **RECIPE)
    assert len(one) == len(two) == 5 and all(same(a, b) for a, b in zip(one, two, strict=True))
    assert all(same(nets[s], kind(s)) for s in range(5)), "the given networks must stay as they are"
    for s in range(5):
        close(one[s], fit(kind(s), x, y, seed=seeds[s], skip=skip[s], **RECIPE), rtol=1e-4,
              atol=1e-5)


def test_the_pack_size_is_part_of_the_recipe(rows):
    """Other packs may differ in the last digits; the docstring says how large a pack is and never
    more than that.
    """
    x, y = rows
    small, large = (fit_many([net(s) for s in range(4)], x, y, seeds=range(4), pack=p, workers=1,
                             **RECIPE)
                    for p in (1, 4))
    for a, b in zip(small, large, strict=True):
        close(a, b, rtol=1e-4, atol=1e-5)
    assert ("`pack` at a time" in " ".join(fit_many.__doc__.split())
            and "packed ones" in fit_packed.__doc__)
    assert fit_many([], x, y, seeds=[], **RECIPE) == []


# ---- parallel

class Odd(Exception):
    pass


def test_order_and_closures():
    offset = 100

    def job(i):
        time.sleep(0.05 * (i % 2))
        return i + offset, torch.full((2,), float(i)), os.getpid()

    found = parallel(job, range(7), workers=2)
    assert [f[0] for f in found] == list(range(100, 107))
    assert all(torch.equal(f[1], torch.full((2,), float(i))) for i, f in enumerate(found))
    assert os.getpid() not in {f[2] for f in found}
    assert parallel(job, [], workers=2) == []
    assert {f[2] for f in parallel(job, range(3), workers=1)} == {os.getpid()}


def test_slices_of_one_tensor_come_back_as_slices_of_one_tensor():
    """Or a result with ten slices of its data would weigh ten times as much."""
    def job(i):
        x = torch.arange(10_000.0) + i
        return {"x": x, "parts": list(x.split(1000)), "numbers": np.arange(i), "word": "a"}

    for i, found in enumerate(parallel(job, range(3), workers=2)):
        assert all(p.untyped_storage().data_ptr() == found["x"].untyped_storage().data_ptr()
                   for p in found["parts"])
        assert torch.equal(torch.cat(found["parts"]), torch.arange(10_000.0) + i)
        assert found["numbers"].tolist() == list(range(i)) and found["word"] == "a"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("error", [LabError("Row 3 is odd: give an even one."),
                                   Diverged("Take a smaller one."),
                                   Odd("as it was"), KeyError("k")])
def test_an_error_arrives_as_itself(workers, error):
    def job(i):
        if i == 3:
            raise error
        return i

    with pytest.raises(type(error)) as caught:
        parallel(job, range(5), workers=workers)
    assert str(caught.value) == str(error) and type(caught.value) is type(error)
    assert processes._FORKED is None and parallel(lambda i: -i, range(3), workers=2) == [0, -1, -2]


@pytest.mark.timeout(60)
def test_a_killed_worker_is_an_error_and_no_wait():
    def job(i):
        if i == 1:
            os.kill(os.getpid(), 9)
        return i

    with pytest.raises(LabError, match="worker process was killed"):
        parallel(job, range(4), workers=2)
    assert parallel(abs, [-1, -2], workers=2) == [1, 2]


def test_nested_calls_run_in_their_worker():
    def outer(i):
        return os.getpid(), parallel(lambda j: (os.getpid(), 10 * i + j), range(3), workers=2)

    for i, (pid, inner) in enumerate(parallel(outer, range(3), workers=2)):
        assert inner == [(pid, 10 * i + j) for j in range(3)]


def test_the_callers_variables_are_not_changed():
    log = []
    assert parallel(lambda i: log.append(i) or len(log), range(4), workers=2) and log == []


class Opened:
    """It makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __setstate__(self, state):
        self.path = state["path"]
        self.path.touch()


def test_a_result_is_opened_while_others_are_worked_out(tmp_path):
    """All of them packed, and opened only then, would need the memory twice."""
    def job(i):
        if i == 0:
            return Opened(tmp_path / "opened")
        end = time.monotonic() + 10
        while not (tmp_path / "opened").exists() and time.monotonic() < end:
            time.sleep(0.01)
        return i, (tmp_path / "opened").exists()

    first, *others = parallel(job, range(4), workers=2)
    assert isinstance(first, Opened) and others == [(i, True) for i in (1, 2, 3)]


def test_without_fork_loky_gives_the_same(rows, monkeypatch):
    x, y = rows
    model = net(1)

    def job(seed):  # no optimiser: its first use imports for seconds in a fresh process
        loss = F.cross_entropy(model(x[seed::3]), y[seed::3])
        return torch.autograd.grad(loss, list(model.parameters())), predict(model, x)

    def wrong(seed):
        raise LabError(f"No seed {seed}: take another.")

    forked = parallel(job, range(3), workers=2)
    monkeypatch.setattr(processes, "sys", SimpleNamespace(platform="darwin"))
    sent = parallel(job, range(3), workers=2)
    for (grads, logits), (grads_sent, logits_sent) in zip(forked, sent, strict=True):
        assert torch.equal(logits, logits_sent)
        assert all(torch.equal(a, b) for a, b in zip(grads, grads_sent, strict=True))
    with pytest.raises(LabError, match="^No seed [01]: take another.$"):
        parallel(wrong, range(2), workers=2)


def test_the_number_of_workers_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("LABKIT_JOBS", "1")
    assert parallel(lambda i: os.getpid(), range(3)) == [os.getpid()] * 3
    monkeypatch.setenv("LABKIT_JOBS", "2")
    assert os.getpid() not in parallel(lambda i: os.getpid(), range(3))
    monkeypatch.setenv("LABKIT_JOBS", "many")
    with pytest.raises(LabError, match="many"):
        base.jobs()
