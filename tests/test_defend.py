"""labkit.defend: streams against their definitions, gates against numbers by hand, thresholds
against counting.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course.chapters.uncertainty import gates
from labkit import defend
from labkit.base import LabError

N, D, K = 120, 6, 4
LOSSES = torch.rand(N, generator=torch.Generator().manual_seed(4)) ** 4


@pytest.fixture(scope="module")
def data():
    g = torch.Generator().manual_seed(0)
    return SimpleNamespace(x=torch.randn(N, 1, 2, 3, generator=g),
                           y=torch.randint(K, (N,), generator=g),
                           device=torch.device("cpu"))


def benign(kind, data, size=10, count=30, seed=0):
    return defend.benign(kind, data, size, count, seed, LOSSES)


# ---- streams

@pytest.mark.parametrize("kind", defend.STREAMS)
@pytest.mark.parametrize("size", [1, 10, 60])
def test_every_stream_asks_for_real_rows_each_once(data, kind, size):
    requests = benign(kind, data, size)
    assert len(requests) == 30
    for rows in requests:
        assert (rows.dtype == torch.long and len(rows.unique()) == len(rows) and 1 <= len(rows)
                <= size)
        assert rows.min() >= 0 and rows.max() < N
        if kind not in ("one-class", "one-user"):
            assert len(rows) == size
    assert len({tuple(rows.tolist()) for rows in requests}) > 1


@pytest.mark.parametrize("kind", defend.STREAMS)
def test_the_seed_decides(data, kind):
    a, b, c = (benign(kind, data, seed=s) for s in (1, 1, 2))
    assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))
    assert not all(torch.equal(p, q) for p, q in zip(a, c, strict=True))
    state, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()
    longer = benign(kind, data, count=40, seed=1)
    # more requests change no earlier one
    assert all(torch.equal(p, q) for p, q in zip(a, longer[:30], strict=True))
    assert torch.equal(torch.get_rng_state(), state) and (np.random.get_state()[1] == numpys).all()


def test_one_class_has_one_class(data):
    seen = set()
    for rows in benign("one-class", data):
        assert len(rows) == 10 and len(data.y[rows].unique()) == 1
        seen.add(int(data.y[rows[0]]))
    assert seen == set(range(K))
    for rows in benign("one-class", data, size=100):  # fewer rows where the class has no more
        assert len(rows) == int((data.y == data.y[rows[0]]).sum())


def test_one_user_has_few_interests(data):
    def largest_share(requests):
        return np.mean([torch.bincount(data.y[r]).max().item() / len(r) for r in requests])

    assert (largest_share(benign("one-user", data, count=200))
            > largest_share(benign("random", data, count=200)) + 0.15)


def test_the_shares_of_users_are_those_of_the_dirichlet(data):
    # one row a request: each class is as likely as its mean share, 1 / K, whatever its size is
    rows = torch.cat(benign("one-user", data, size=1, count=2000))
    shares = torch.bincount(data.y[rows], minlength=K) / 2000
    assert (shares - 1 / K).abs().max() < 4 * math.sqrt(0.25 * 0.75 / 2000)


def test_hard_rows_are_hard(data):
    hard, plain = (np.mean([LOSSES[r].mean().item() for r in benign(kind, data, count=100)])
                   for kind in ("hard-rows", "random"))
    assert hard > 1.5 * plain
    single = torch.cat(benign("hard-rows", data, size=1, count=3000))
    p = ((LOSSES + 1e-6) / (LOSSES + 1e-6).sum()).double()
    counts = torch.bincount(single, minlength=N).double()
    assert ((counts - 3000 * p).abs() < 5 * (3000 * p * (1 - p)).sqrt() + 1).all()


def test_look_alikes_are_the_nearest_neighbours(data):
    flat = data.x.flatten(1).double()
    nearest = {frozenset(sorted(range(N), key=lambda j,
                                i=i: float((flat[i] - flat[j]).norm()))[:10]) for i in range(N)}
    for rows in benign("look-alikes", data):
        assert frozenset(rows.tolist()) in nearest


@pytest.mark.parametrize("change", [dict(kind="polite"), dict(size=0), dict(size=N), dict(size=-3),
                                    dict(kind="hard-rows", losses=None)])
def test_streams_that_cannot_be_are_refused(data, change):
    with pytest.raises(LabError):
        defend.benign(**{**dict(kind="random", data=data, size=5, count=2, seed=0, losses=LOSSES),
                         **change})


def test_the_realistic_streams_leave_the_easy_one_out():
    assert {*defend.STREAMS} - {*defend.REALISTIC} == {"random"}


# ---- gates

def test_gates_do_not_mind_a_request_that_changes_nothing():
    logits, y = torch.randn(50, K, generator=torch.Generator().manual_seed(1)), torch.arange(50) % K
    assert (gates.loss_gate(logits, logits.clone(), y) == 0
            and gates.label_gate(logits, logits.clone()) == 0)


def test_gates_by_hand():
    before = torch.tensor([[0.7, 0.3], [0.2, 0.8], [0.5, 0.5], [0.9, 0.1]]).log()
    after = torch.tensor([[0.4, 0.6], [0.1, 0.9], [0.25, 0.75], [0.6, 0.4]]).log()
    y = torch.tensor([0, 1, 1, 0])
    wanted = -(math.log(0.4 / 0.7) + math.log(0.9 / 0.8) + math.log(0.75 / 0.5)
               + math.log(0.6 / 0.9)) / 4
    assert gates.loss_gate(before, after, y) == pytest.approx(wanted, abs=1e-6)
    assert gates.loss_gate(after, before, y) == pytest.approx(-wanted, abs=1e-6)
    assert gates.label_gate(before[[0, 1, 3]], after[[0, 1, 3]]) == pytest.approx(1 / 3)
    assert (gates.label_gate(before[[1, 3]],
                                        after[[1, 3]]) == 0
            and gates.label_gate(before[:1], after[:1]) == 1)


def test_residuals_are_the_gradients_in_the_logits(data):
    model = nn.Sequential(nn.Flatten(), nn.Linear(D, K))
    logits = model(data.x).detach().requires_grad_()
    (wanted,) = torch.autograd.grad(F.cross_entropy(logits, data.y, reduction="sum"), logits)
    assert torch.allclose(defend.residuals(model, data.x, data.y), wanted, atol=1e-6)


def test_the_gradient_gate_by_hand():
    proxy = torch.tensor([[3.0, 0], [-3, 0], [0, 4], [3, 4]])
    assert defend.gradient_gate(proxy, torch.tensor([0, 1])) == 0
    assert (defend.gradient_gate(proxy, torch.tensor([0, 3]))
            == pytest.approx(math.hypot(3, 2)))
    assert defend.gradient_gate(proxy, torch.tensor([2])) == pytest.approx(4)


def clusters(seed=0, per=11, lone=True):
    """Class 0: three tight clusters and one row far from them. Class 1: one cluster. The model is
    the identity.
    """
    g = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[4.0, 0, 0, 0], [0, 4, 0, 0], [0, 0, 4, 0]])
    x = torch.cat([c + 0.01 * torch.randn(per, 4, generator=g) for c in centres])
    x = torch.cat([x, torch.tensor([[0.0, 0, 0, 6]])]) if lone else x
    other = torch.tensor([0.0, 3, 1, 0]) + 0.01 * torch.randn(9, 4, generator=g)
    return torch.cat([x, other]), torch.cat([torch.zeros(len(x)), torch.ones(9)]).long()


@pytest.mark.parametrize("seed", range(4))
def test_a_lone_row_is_isolated(seed):
    x, y = clusters(seed)  # 34 rows of class 0: four medoids
    alone = defend.isolated(nn.Identity(), x, y)
    assert alone.dtype == torch.bool and alone.nonzero().flatten().tolist() == [33]
    assert gates.isolation_gate(alone, torch.tensor([33])) == 1
    assert gates.isolation_gate(alone, torch.tensor([33, 0, 1, 2])) == 0.25
    assert gates.isolation_gate(alone, torch.tensor([0, 40])) == 0
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(defend.isolated(nn.Identity(), x[order], y[order]), alone[order])


def test_rows_in_company_are_not_isolated():
    x, y = clusters(lone=False)
    assert not defend.isolated(nn.Identity(), x, y, share=3 / 33).any()
    x, y = torch.randn(5, 4), torch.tensor([0, 1, 1, 1, 1])
    assert defend.isolated(nn.Identity(), x, y)[0]  # the only row of its class


def facility_location(proxy, count):
    """The greedy algorithm from its definition: each time, the medoid that raises the total
    similarity most.
    """
    distance = [[float((a - b).norm()) for b in proxy] for a in proxy]
    top, medoids = max(map(max, distance)), []
    for _ in range(count):
        def total(j):
            return sum(max(top - row[m] for m in [*medoids, j]) for row in distance)  # noqa: B023

        medoids.append(max((j for j in range(len(proxy)) if j not in medoids), key=total))
    joined = [min(medoids, key=lambda m, row=row: row[m]) for row in distance]
    return [joined.count(joined[i]) == 1 for i in range(len(proxy))]


@pytest.mark.parametrize("seed, share", [(0, 0.1), (1, 0.3), (2, 0.5), (3, 0.9)])
def test_isolation_from_its_definition(seed, share):
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randn(40, K, generator=g).double() * 2, torch.randint(2, (40,), generator=g)
    proxy, wanted = defend.residuals(nn.Identity(), x, y), torch.zeros(40, dtype=torch.bool)
    for c in (0, 1):
        rows = (y == c).nonzero().flatten()
        wanted[rows] = torch.tensor(facility_location(proxy[rows], math.ceil(share * len(rows))))
    assert torch.equal(defend.isolated(nn.Identity(), x, y, share=share), wanted)


def test_rows_that_are_all_alike_are_not_isolated():
    x, y = torch.tensor([[2.0, 0, 0, 0]]).repeat(20, 1), torch.zeros(20).long()
    assert not defend.isolated(nn.Identity(), x, y).any()


# ---- thresholds

@pytest.mark.parametrize("n", [100, 101, 199, 200, 550, 1000])
def test_at_most_one_percent_lies_above_the_threshold(n):
    scores = np.random.default_rng(n).normal(size=n)
    found = defend.threshold(scores)
    above = (scores > found).mean()
    # and no lower score would do
    assert above <= 0.01 and (scores > np.nextafter(found, -np.inf)).mean() > 0.01
    assert defend.threshold(scores.tolist()) == found == defend.threshold(torch.from_numpy(scores))


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.29, 0.5])
def test_other_shares_of_false_alarms(share):
    for n in (50, 100, 333):
        scores = np.random.default_rng(n).normal(size=n)
        assert (scores > defend.threshold(scores, share)).mean() <= share


def test_thresholds_with_ties():
    for scores in (np.zeros(300), np.repeat([0.0, 1.0], [150, 150]), np.repeat([0.0, 0.1, 0.2],
                                                                               [280, 15, 5])):
        assert (scores > defend.threshold(scores)).mean() <= 0.01
    assert defend.threshold(np.repeat([0.0, 1.0],
                                      [298, 2])) == 0 and defend.threshold(np.zeros(100)) == 0
    assert defend.threshold(np.repeat([0.0, 1.0], [296, 4])) == 1


@pytest.mark.parametrize("n, share", [(99, 0.01), (0, 0.01), (1, 0.5), (19, 0.05)])
def test_too_few_scores_cannot_show_so_small_a_share(n, share):
    with pytest.raises(LabError, match="cannot show"):
        defend.threshold(np.zeros(n), share)
