"""The request defences: medoids by brute force, scores by hand and by finite differences, limits by
exact binomials.
"""

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

import labkit as lk
from course.chapters import desk as desk_chapter
from course.chapters.uncertainty import gates
from labkit import attack, defend
from labkit.base import LabError
from labkit.measure import ece

FIT, HELD, NEW = 100, 110, 200  # benign requests of each stream: to learn from, held back, unseen


@pytest.fixture(scope="module")
def desk():
    """Fashion-MNIST, 1,500 rows, an MLP; features of benign requests of the four streams, in three
    parts.
    """
    data = lk.data.load("fashion", n_train=1500, n_test=500)
    model = lk.models.build("mlp", data, 0, hidden=32)
    lk.training.fit(model, data.x, data.y, epochs=6, lr=0.1, seed=0)
    ready = desk_chapter.prepare(model, data, (data.x_test[:300], data.y_test[:300]), tau=2e-3)
    losses = ready.rows["loss"].numpy()
    asked = {s: [desk_chapter.features(ready, r) for r in defend.benign(s, data, 30,
                                                                        FIT + HELD + NEW, 7,
                                                                        losses)]
             for s in defend.REALISTIC}
    parts = [{s: rows[a:b] for s, rows in asked.items()}
             for a, b in ((0, FIT), (FIT, FIT + HELD), (FIT + HELD, FIT + HELD + NEW))]
    return SimpleNamespace(data=data, model=model, ready=ready, learn=parts[0], held=parts[1],
                           new=parts[2])


def tiny(seed=0, n=12, d=5, k=3, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(d, 4), nn.Tanh(), nn.Linear(4, k)).to(dtype)
    return model, torch.randn(n, d, generator=g, dtype=dtype), torch.randint(k, (n,), generator=g)


# ---- medoids

def total(distance, picked):
    """The facility-location sum, from its definition."""
    return sum(max(distance.max().item() - distance[i, m].item() for m in picked)
               for i in range(len(distance)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_greedy_medoids_against_all_subsets(seed, count):
    proxy = torch.randn(10, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    distance = torch.stack([(proxy - row).norm(dim=1) for row in proxy])
    picked, joined = defend.medoids(proxy, count / 10)
    assert len(picked) == count == len(picked.unique())
    best = max(total(distance, s) for s in itertools.combinations(range(10), count))
    found = total(distance, picked.tolist())
    assert (1 - 1 / math.e) * best <= found <= best + 1e-9
    if count == 1:
        assert found == pytest.approx(best, abs=1e-9)
    for i in range(count):  # each pick raises the sum most, every gain computed anew
        before = picked[:i].tolist()
        gains = [total(distance, [*before, j]) - (total(distance, before) if before else 0)
                 for j in range(10)]
        assert gains[picked[i]] == pytest.approx(max(gains), abs=1e-9)
    assert torch.equal(picked[joined], picked[distance[:, picked].argmin(1)])


def test_medoids_stop_when_every_row_has_a_twin():
    proxy = torch.tensor([[0.0, 0], [5, 0], [0, 5]]).repeat(10, 1)
    picked, joined = defend.medoids(proxy, 0.5)
    assert len(picked) == 3 and torch.bincount(joined).tolist() == [10, 10, 10]
    assert defend.medoids(torch.zeros(1, 2))[0].tolist() == [0]


@pytest.mark.parametrize("proxy, share", [(torch.zeros(0, 2), 0.1),
                                          (torch.tensor([[math.nan, 0.0]]), 0.1),
                                          (torch.tensor([[math.inf, 0.0]]), 0.1),
                                          (torch.zeros(3, 2), 0.0),
                                          (torch.zeros(3, 2), 1.5), (torch.zeros(3, 2), math.nan)])
def test_medoids_that_cannot_be_are_refused(proxy, share):
    with pytest.raises(LabError, match="Medoids were asked|share is"):
        defend.medoids(proxy, share)


def test_a_request_is_split_into_now_and_later(desk):
    request = torch.randperm(1500, generator=torch.Generator().manual_seed(3))[:200]
    alone = defend.isolated(desk.model, desk.data.x, desk.data.y)
    now, later = desk_chapter.split_request(alone, request)
    assert now.tolist() == [r for r in request.tolist() if not alone[r]]
    assert later.tolist() == [r for r in request.tolist() if alone[r]] and len(later)
    assert torch.equal(desk.ready.rows["isolated"].bool(), alone)


@pytest.mark.parametrize("alone, request_", [(torch.zeros(5), [1]), (torch.zeros(5, 1).bool(), [1]),
                                             (torch.zeros(5).bool(), []),
                                             (torch.zeros(5).bool(), [5]),
                                             (torch.zeros(5).bool(), [1, 1])])
def test_requests_that_cannot_be_split(alone, request_):
    with pytest.raises(LabError):
        desk_chapter.split_request(alone, torch.tensor(request_, dtype=torch.long))


# ---- the trial run

def trial(before, after, y, near=0.1):
    return desk_chapter.trial_scores(desk_chapter.trial_start(before, y, near), after, y)


def test_a_trial_by_hand():
    before = torch.tensor([[0.7, 0.3], [0.2, 0.8], [0.55, 0.45], [0.9, 0.1]]).log()
    after = torch.tensor([[0.4, 0.6], [0.1, 0.9], [0.25, 0.75], [0.6, 0.4]]).log()
    y = torch.tensor([0, 1, 1, 0])
    found = trial(before, after, y, near=0.25)
    assert found["loss rise"] == pytest.approx(-(math.log(0.4 / 0.7) + math.log(0.9 / 0.8)
                                                 + math.log(0.75 / 0.45)
                                                 + math.log(0.6 / 0.9)) / 4, abs=1e-6)
    assert found["label flips"] == 0.5  # rows 0 and 2
    assert found["worst class"] == 0.5  # class 0 goes from 2 of 2 to 1 of 2, class 1 from 1 to 2
    # before: .7 right, .8 right, .55 wrong, .9 right; after: .6 wrong and .6 right in one bin, .9
    # and .75 right
    assert found["ECE rise"] == pytest.approx((0.2 + 0.1 + 0.25) / 4 - (0.3 + 0.2 + 0.55 + 0.1) / 4,
                                              abs=1e-6)
    assert found["near the boundary"] == pytest.approx(0.3, abs=1e-6)  # row 2: .55 to .25
    assert trial(before, after, y, near=0.5)["near the boundary"] == pytest.approx((0.3 + 0.3) / 2,
                                                                                   abs=1e-6)
    assert set(trial(before, before.clone(), y).values()) == {0.0}


def test_a_trial_on_real_logits(desk):
    z, y = desk.ready.panel[0], desk.ready.panel[1]
    w = z + 0.5 * torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
    found = trial(z, w, y)
    assert (found["loss rise"] == gates.loss_gate(z, w, y) and found["label flips"]
            == gates.label_gate(z, w))
    assert found["ECE rise"] == pytest.approx(ece(w.softmax(1), y) - ece(z.softmax(1), y))
    falls = [(z[y == c].argmax(1) == c).double().mean() - (w[y == c].argmax(1) == c).double().mean()
             for c in range(10)]
    assert found["worst class"] == pytest.approx(max(falls).item(), abs=1e-6)


@pytest.mark.parametrize("before, after, y, near", [
    (torch.zeros(3, 2), torch.full((3, 2), math.nan), [0, 1, 0], 0.1),
    (torch.zeros(3, 2), torch.zeros(3, 2), [0, 1, 0], 0.0), (torch.zeros(3, 2), torch.zeros(3, 2),
                                                             [0, 1, 0], 2)])
def test_trials_that_cannot_be(before, after, y, near):
    with pytest.raises(LabError):
        trial(before, after, torch.tensor(y, dtype=torch.long), near)


# ---- quarantine

def test_quarantine_by_hand():
    stream = [([1, 2, 3], [2]), ([4], []), ([5, 6], [5, 6]), ([7], [7]), ([8], []), ([9], []),
              ([10], [10])]
    plan = desk_chapter.quarantine(stream, 3)
    assert plan["removed"] == {2: 2, 5: 2, 6: 2, 7: 5, 10: 8}  # after requests 2, 5, 8
    assert plan["mean"] == (2 + 0 + 0 + 2 + 2) / 5 and plan["max"] == 2 and plan["retrains"] == 3
    at_once = desk_chapter.quarantine(stream, 1)
    assert at_once["max"] == 0 and at_once["retrains"] == 4 and at_once["removed"][10] == 6
    rare = desk_chapter.quarantine(stream, 100)
    assert rare["retrains"] == 1 and set(rare["removed"].values()) == {99} and rare["max"] == 99
    nothing = desk_chapter.quarantine([([1], [])] * 5, 2)
    assert nothing == {"removed": {}, "mean": 0, "max": 0, "retrains": 0}


@pytest.mark.parametrize("period", [1, 2, 5, 7])
def test_quarantine_against_walking_through_the_stream(period):
    rng, stream, row = np.random.default_rng(period), [], 0
    for _ in range(40):
        rows = torch.arange(row, row + 5)
        stream.append((rows, rows[torch.from_numpy(rng.random(5) < 0.1)]))
        row += 5
    waiting, gone, retrains = [], {}, 0
    for t in range(40 + period):
        waiting += [int(r) for r in stream[t][1]] if t < 40 else []
        if (t + 1) % period == 0 and waiting:
            gone |= {r: t for r in waiting}
            waiting, retrains = [], retrains + 1
    plan = desk_chapter.quarantine(stream, period)
    assert plan["removed"] == gone and plan["retrains"] == retrains and plan["max"] <= period - 1
    # every lawful deletion is carried out
    assert set(gone) == {int(r) for _, held in stream for r in held}


@pytest.mark.parametrize("stream, period", [([], 3), ([([1], [2])], 3), ([([1], [1]), ([1], [1])],
                                                                         3),
                                            ([([1], [1])], 0), ([([1], [1])], 1.5),
                                            ([([1], [1])], True)])
def test_quarantines_that_cannot_be(stream, period):
    with pytest.raises(LabError):
        desk_chapter.quarantine(stream, period)


# ---- features

def test_chi_squared_against_scipy():
    rng = np.random.default_rng(0)
    for _ in range(20):
        prior = rng.dirichlet(np.ones(5))
        labels = rng.integers(5, size=40)
        wanted = stats.chisquare(np.bincount(labels, minlength=5), 40 * prior).statistic
        assert desk_chapter.chi_squared(torch.from_numpy(labels),
                                        torch.from_numpy(prior)) == pytest.approx(wanted)
    assert desk_chapter.chi_squared(torch.tensor([0, 1]), torch.tensor([0.5, 0.5, 0.0])) == 0
    for labels in ([2], [3]):
        with pytest.raises(LabError, match="no share"):
            desk_chapter.chi_squared(torch.tensor(labels), torch.tensor([0.5, 0.5, 0.0]))


def test_coherence_against_all_pairs():
    g = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    pairs = [F.cosine_similarity(a, b, dim=0).item() for a, b in itertools.combinations(g, 2)]
    assert desk_chapter.coherence(g) == pytest.approx(np.mean(pairs), abs=1e-6)
    assert (desk_chapter.coherence(g[:1].repeat(5, 1)) == pytest.approx(1)
            and desk_chapter.coherence(g[:1]) == 0)
    assert desk_chapter.coherence(torch.tensor([[1.0, 0], [-2, 0]])) == -1


def test_self_influence_against_the_whole_kronecker_matrix():
    g = torch.Generator().manual_seed(0)
    r, h = torch.randn(30, 3, generator=g).double(), torch.randn(30, 4, generator=g).double()
    second = [v.T @ v / 30 for v in (r, h)]
    a, b = (s + 0.01 * s.diagonal().mean() * torch.eye(len(s)).double() for s in second)
    inverse = torch.linalg.inv(torch.kron(a, b))
    wanted = [torch.kron(r[i], h[i]) @ inverse @ torch.kron(r[i], h[i]) for i in range(30)]
    assert torch.allclose(desk_chapter.self_influence(r, h), torch.stack(wanted).float(), rtol=1e-4)


def test_the_shadow_step_is_first_order_unlearning_where_the_model_is_linear(desk):
    data = desk.data
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    lk.training.fit(model, data.x, data.y, epochs=2, lr=0.01, seed=0)
    panel, request = (data.x_test[:200], data.y_test[:200]), torch.arange(50)
    ready = desk_chapter.prepare(model, data, panel, tau=1e-3)
    wanted = lk.training.predict(lk.unlearn.first_order(model, data, request, tau=1e-3), panel[0])
    here, there = desk_chapter.features(ready, request), desk_chapter.features(ready, request,
                                                                               after=wanted)
    assert here == pytest.approx(there, abs=1e-4) and here["loss rise"] != 0
    assert {k: there[k] for k in list(there)[-5:]} == trial(ready.panel[0], wanted, panel[1])


def test_features_by_hand(desk):
    request = torch.tensor([3, 50, 700, 1400])
    found, data = desk_chapter.features(desk.ready, request), desk.data
    logits = lk.training.predict(desk.model, data.x)
    proxy = logits.softmax(1) - F.one_hot(data.y, 10)
    assert found["loss"] == pytest.approx(F.cross_entropy(logits[request], data.y[request]).item(),
                                          abs=1e-6)
    assert (found["entropy"]
            == pytest.approx(lk.measure.entropy(logits[request].softmax(1)).mean().item(),
                             abs=1e-6))
    assert found["gradient length"] == pytest.approx(proxy[request].mean(0).norm().item(), abs=1e-6)
    size = proxy.norm(dim=1)
    rank = np.mean([(size < size[i]).sum().item() / 1499 for i in request])
    assert found["norm percentile"] == pytest.approx(rank, abs=2e-3)
    assert found["isolated"] == gates.isolation_gate(desk.ready.rows["isolated"].bool(),
                                                                request)
    shares = stats.chisquare(np.bincount(data.y[request], minlength=10),
                             4 * np.bincount(data.y) / 1500).statistic
    assert found["class χ²"] == pytest.approx(shares / 4)
    again = desk_chapter.features(desk.ready, request.flip(0))
    assert again == pytest.approx(found, abs=1e-5)
    no_panel = desk_chapter.features(desk_chapter.prepare(desk.model, data), request)
    assert no_panel == {k: found[k] for k in list(found)[:-5]}


def test_the_desk_leaves_the_model_alone_and_refuses_broken_ones(desk):
    model, x, y = tiny(dtype=torch.float32, n=40)
    data, before = SimpleNamespace(x=x, y=y), [p.detach().clone() for p in model.parameters()]
    desk_chapter.prepare(model, data, (x, y))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert not model[-1]._forward_pre_hooks
    with torch.no_grad():
        model[0].weight[0, 0] = math.nan
    with pytest.raises(LabError, match="answers NaN"):
        desk_chapter.prepare(model, data)
    with pytest.raises(LabError, match="last linear layer"):
        desk_chapter.last_inputs(nn.Flatten(), x)
    for request in ([], [0, 0], [1500], [-1]):
        with pytest.raises(LabError):
            desk_chapter.features(desk.ready, torch.tensor(request, dtype=torch.long))
    with pytest.raises(LabError, match="logits of the trial hold NaN"):
        desk_chapter.features(desk.ready, torch.tensor([1]), after=torch.full((300, 10), math.nan))


# ---- the monitor

@pytest.mark.parametrize("method", ["nearest", "robust", "forest"])
def test_false_positives_on_unseen_requests_of_every_stream(desk, method):
    monitor = desk_chapter.fit_monitor(desk.learn, desk.held, method=method)
    assert (monitor.threshold == max(monitor.limits.values()) and set(monitor.limits)
            == set(defend.REALISTIC))
    # the limit is a sample too: its true share of false positives is Beta(1, HELD), so the count is
    # beta-binomial
    most = stats.betabinom.ppf(0.999, NEW, 1, HELD)
    stopped = []
    for stream, rows in desk.new.items():
        alarms = int((desk_chapter.score(monitor, rows) > monitor.threshold).sum())
        assert alarms <= most, stream
        own = int((desk_chapter.score(monitor, rows) > monitor.limits[stream]).sum())
        assert own <= most, stream
        stopped.append(own)
    assert sum(stopped) >= 1  # and the limits are not out of reach


def test_one_percent_of_new_requests_lies_above_a_conformal_limit():
    rng = np.random.default_rng(0)
    for n, share in ((100, 0.01), (250, 0.01), (60, 0.05)):
        above = sum(int((rng.normal(size=50) > desk_chapter.conformal_limit(rng.normal(size=n),
                                                                            share)).sum())
                    for _ in range(2000))
        exact = 1 - math.ceil((n + 1) * (1 - share) - 1e-9) / (n + 1)
        assert above / 1e5 == pytest.approx(exact, rel=0.12) and exact <= share
    scores = rng.normal(size=100)
    assert desk_chapter.conformal_limit(scores) == scores.max() > defend.threshold(scores)


def test_the_monitors_score_by_hand():
    rows = [{"a": float(a), "b": 5.0, "c": float(a == 7)} for a in range(101)]
    monitor = desk_chapter.fit_monitor({"s": rows}, {"s": rows}, method="robust")
    assert monitor.centre.tolist() == [50, 5, 0]
    # a constant feature
    assert monitor.scale[0] == pytest.approx(1.4826 * 25) and monitor.scale[1] == 1
    assert monitor.scale[2] == pytest.approx(np.std([r["c"] for r in rows]))  # a MAD of 0
    assert desk_chapter.score(monitor,
                              [{"c": 0.0, "b": 5.0,
                                "a": 100.0}])[0] == pytest.approx(50 / (1.4826 * 25))
    signed = desk_chapter.deviations(monitor, [{"a": 0.0, "b": 2.0, "c": 0.0}])
    assert signed[0].tolist() == pytest.approx([-50 / 37.065, -3, 0])
    assert monitor.threshold == monitor.limits["s"] == desk_chapter.score(monitor, rows).max()


def test_shrinking_is_that_of_scikit_learn():
    from sklearn.covariance import LedoitWolf

    rng = np.random.default_rng(0)
    tables = [rng.normal(size=(m, f)) @ rng.normal(size=(f, f)) for m, f in ((40, 9), (105, 13),
                                                                             (8, 12), (30, 1))]
    # a feature twice, and one that never changes
    tables.append(np.c_[tables[0], tables[0][:, 0], np.ones(40)])
    for table in tables:
        spread = np.where(table.std(0) > 0, table.std(0), 1.0)
        wanted = LedoitWolf().fit(table / spread).precision_ / np.outer(spread, spread)
        mean, precision = desk_chapter.mean_and_precision(table)
        np.testing.assert_allclose(mean, table.mean(0))
        np.testing.assert_allclose(precision, wanted, rtol=1e-7, atol=1e-9 * np.abs(wanted).max())


def test_the_forest_is_the_seeds(desk):
    a, b, c = (desk_chapter.fit_monitor(desk.learn, desk.held, method="forest", seed=s).threshold
               for s in (1, 1, 2))
    assert a == b != c


def test_the_distance_to_the_nearest_stream(desk):
    monitor = desk_chapter.fit_monitor(desk.learn, desk.held)
    rows = desk.new["hard-rows"][:20] + desk.new["one-user"][:20]
    table = np.array([[row[name] for name in monitor.names] for row in rows])
    wanted = []
    for learnt in desk.learn.values():
        known = np.array([[row[name] for name in monitor.names] for row in learnt])
        mean, precision = desk_chapter.mean_and_precision(known)
        assert np.allclose(mean, known.mean(0)) and np.linalg.eigvalsh((precision + precision.T)
                                                                       / 2).min() > 0
        wanted.append([math.sqrt((row - mean) @ precision @ (row - mean)) for row in table])
    assert desk_chapter.score(monitor, rows) == pytest.approx(np.min(wanted, 0))


def test_the_precision_is_the_inverse_covariance_where_rows_are_many():
    rng = np.random.default_rng(0)
    table = rng.multivariate_normal([1, 2], [[4, 1.5], [1.5, 1]], size=20000)
    mean, precision = desk_chapter.mean_and_precision(np.c_[table, np.ones(20000)])
    assert mean == pytest.approx([1, 2, 1], abs=0.05)
    assert precision[:2, :2] == pytest.approx(np.linalg.inv([[4, 1.5], [1.5, 1]]), rel=0.05)


def test_an_odd_request_is_flagged(desk):
    """The hardest rows alone, harder than people who withdraw hard rows ever ask for; benign ones
    are not odd.
    """
    worst = desk_chapter.features(desk.ready, desk.ready.rows["loss"].topk(30).indices)
    monitor = desk_chapter.fit_monitor(desk.learn, desk.held)
    assert desk_chapter.score(monitor, [worst])[0] > 1.2 * monitor.threshold
    assert all(np.median(desk_chapter.score(monitor, rows)) < 0.6 * monitor.threshold
               for rows in desk.new.values())


@pytest.mark.parametrize("change, words", [
    (dict(benign={}), "empty stream"), (dict(held_back={}), "empty stream"),
                                           (dict(benign={"a": []}), "empty stream"),
    (dict(held_back={"a": []}), "empty stream"), (dict(false_positives=0.0), "false_positives is"),
    (dict(false_positives=1.0), "false_positives is"), (dict(false_positives=math.nan),
                                                        "false_positives is"),
    (dict(false_positives=0.001), "cannot show"), (dict(method="magic"), "no method 'magic'"),
    (dict(held_back={"a": [{"u": 1.0, "w": 1.0}] * 100}),
     "differ from those the monitor knows in v, w"),
    (dict(held_back={"a": [{"u": 1.0}] * 100}), "in v"),
    (dict(benign={"a": [{"u": 1.0, "v": math.nan}] * 100}), "'v' is NaN"),
    (dict(held_back={"a": [{"u": math.inf, "v": 1.0}] * 100}), "'u' is NaN")])
def test_monitors_that_cannot_be(change, words):
    rows = [{"u": float(u), "v": 1.0} for u in range(100)]
    with pytest.raises(LabError, match=words):
        desk_chapter.fit_monitor(**{**dict(benign={"a": rows}, held_back={"a": rows}), **change})


def test_scores_that_cannot_be(desk):
    monitor = desk_chapter.fit_monitor(desk.learn, desk.held)
    row = desk.new["one-user"][0]
    for rows, words in (([], "empty"), ([row | {"new": 1.0}], "in new"),
                        ([row | {"loss": math.nan}], "'loss' is NaN"),
                        ([{k: v for k, v in row.items() if k != "loss"}], "in loss")):
        with pytest.raises(LabError, match=words):
            desk_chapter.score(monitor, rows)


# ---- over time

def test_cusum_by_hand():
    assert desk_chapter.cusum([1, 1, 1, 1], drift=0.5, limit=1.2) == 2  # 0.5, 1.0, 1.5
    assert desk_chapter.cusum([1, -5, 1, 1, 1], drift=0.5, limit=1.2) == 4  # restarts at 0
    assert desk_chapter.cusum([0.5] * 50, drift=0.5,
                              limit=0) is None and desk_chapter.cusum([3], 1, 2) is None
    assert desk_chapter.cusum([3.1], 1, 2) == 0


@pytest.mark.parametrize("seed", range(5))
def test_cusum_against_all_windows(seed):
    """S_t is the largest sum of (score − drift) over the windows that end at t, or 0."""
    scores = np.random.default_rng(seed).normal(size=60)
    for drift, limit in ((0.2, 2.0), (0.0, 4.0), (0.5, 3.0), (1.0, 50.0)):
        brute = next((t for t in range(60)
                      if max(sum(scores[a:t + 1] - drift) for a in range(t + 1)) > limit), None)
        assert desk_chapter.cusum(scores, drift, limit) == brute


def test_cusum_is_fitted_to_one_percent_of_benign_sequences():
    rng = np.random.default_rng(0)
    benign = {"mild": rng.normal(size=(200, 25)), "hard": rng.exponential(size=(200, 25))}
    drift, limit = desk_chapter.fit_cusum(benign)
    assert drift == max(v.mean() + v.std() / 2 for v in benign.values())
    assert all(sum(desk_chapter.cusum(s, drift, limit) is not None for s in rows) <= 2
               for rows in benign.values())
    most = stats.betabinom.ppf(0.999, 3000, 2, 199)  # the second largest of 200 is the limit
    for fresh in (rng.normal(size=(3000, 25)), rng.exponential(size=(3000, 25))):
        assert sum(desk_chapter.cusum(s, drift, limit) is not None for s in fresh) <= most
    shifted = rng.exponential(size=(200, 25)) + np.r_[np.zeros(5), np.full(20, 2.0)]
    found = desk_chapter.detection([desk_chapter.cusum(s, drift, limit) for s in shifted], start=5)
    assert found["TPR"] > 0.9 and 0 <= found["delay"] < 15


def test_detection_by_hand():
    assert desk_chapter.detection([3, 5, None, 7], start=5) == {"TPR": 0.5, "delay": 1.0,
                                                                "early": 0.25}
    assert desk_chapter.detection([0]) == {"TPR": 1.0, "delay": 0.0, "early": 0.0}
    never = desk_chapter.detection([None, None])
    assert never["TPR"] == 0 and math.isnan(never["delay"])


@pytest.mark.parametrize("call", [
    lambda: desk_chapter.cusum([1.0], math.nan, 1), lambda: desk_chapter.cusum([1.0], 0, math.inf),
    lambda: desk_chapter.fit_cusum({"a": np.zeros((100, 5)), "b": np.zeros((100, 6))}),
                                  lambda: desk_chapter.cusum([], 0, 1),
    lambda: desk_chapter.cusum([1, math.nan], 0, 1), lambda: desk_chapter.cusum([[1.0]], 0, 1),
                                  lambda: desk_chapter.fit_cusum({}),
    lambda: desk_chapter.fit_cusum({"a": np.zeros((0, 5))}),
                                  lambda: desk_chapter.fit_cusum({"a": np.zeros((99, 5))}),
    lambda: desk_chapter.fit_cusum({"a": np.zeros((100, 5))}, 0.0),
                                  lambda: desk_chapter.detection([]),
    lambda: desk_chapter.fit_cusum({"a": np.full((100, 5), math.inf)})])
def test_alarms_that_cannot_be(call):
    with pytest.raises(LabError):
        call()


# ---- the attacker who knows

@pytest.fixture(scope="module")
def knows():
    """Own rows, and the features that the attacker can compute, in double precision."""
    g = torch.Generator().manual_seed(0)
    m, k = 40, 4
    y = torch.randint(k, (m,), generator=g)
    residuals = torch.randn(m, k, generator=g).double().softmax(1) - F.one_hot(y, k)
    values = torch.rand(m, 2, generator=g).double()
    values[:, 0] = (values[:, 0] < 0.3).double()
    held = attack.hold(SimpleNamespace(x=torch.randn(m + 10, 3, generator=g),
                                       y=torch.cat([y, y[:10]])),
                       torch.arange(m), 10)
    prior = torch.tensor([0.1, 0.2, 0.3, 0.4]).double()
    seen = desk_chapter.monitored(residuals, y, prior, values)
    return SimpleNamespace(residuals=residuals, y=y, values=values, held=held, prior=prior,
                           seen=seen)


def test_monitored_features_are_the_monitors_own(desk):
    own = torch.arange(0, 1500, 3)
    ready = desk.ready
    values = torch.stack([ready.rows[k] for k in ("isolated", "loss", "entropy",
                                                  "norm percentile")], 1)
    seen = desk_chapter.monitored(ready.proxy[own], ready.y[own], ready.prior, values[own])
    request = torch.randperm(500, generator=torch.Generator().manual_seed(2))[:40]
    found = desk_chapter.features(ready, own[request])
    names = ("gradient length", "coherence", "class χ²", "isolated", "loss", "entropy",
             "norm percentile")
    weights = torch.zeros(500).index_fill(0, request, 1.0)
    assert seen(weights).tolist() == pytest.approx([found[k] for k in names], abs=1e-4)


@pytest.mark.parametrize("feature", [0, 2, 3, 4])
def test_evading_lowers_what_is_monitored_at_a_price(knows, feature):
    g = torch.Generator().manual_seed(feature)
    effects = torch.randn(40, generator=g).double() - knows.seen(torch.ones(40).double())[feature]
    held = replace(knows.held, x=knows.held.x.double())

    def objective(w):
        return w @ effects

    plain = attack.choose(objective, held, steps=40)
    looked_at = attack.choose(desk_chapter.evading(objective, lambda w: knows.seen(w)[feature],
                                                   100.0), held, steps=40)
    mask = [torch.isin(held.rows, c.rows).double() for c in (plain, looked_at)]
    assert knows.seen(mask[1])[feature] < knows.seen(mask[0])[feature]
    assert objective(mask[1]) >= objective(mask[0])
    free = attack.choose(desk_chapter.evading(objective, lambda w: knows.seen(w)[feature], 0.0),
                         held, steps=40)
    assert torch.equal(free.rows, plain.rows)


def test_unlike_is_the_monitors_own_distance(knows):
    rng = np.random.default_rng(0)
    streams = [desk_chapter.mean_and_precision(rng.normal(size=(200, 5)) + shift)
               for shift in (0, 3)]
    weights = torch.rand(40, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    seen = knows.seen(weights).detach().numpy()
    wanted = min(math.sqrt((seen - m) @ p @ (seen - m)) for m, p in streams)
    assert desk_chapter.unlike(knows.seen, streams)(weights).item() == pytest.approx(wanted**2)
    assert desk_chapter.unlike(knows.seen, streams, slack=wanted + 0.1)(weights).item() == 0
    penalty = desk_chapter.unlike(knows.seen, streams, slack=0.5)
    (gradient,) = torch.autograd.grad(penalty(weights), weights)
    for i in range(0, 40, 5):
        step = torch.zeros(40).double().index_fill(0, torch.tensor([i]), 1e-6)
        change = (penalty(weights + step) - penalty(weights - step)).item() / 2e-6
        assert gradient[i].item() == pytest.approx(change, rel=1e-4, abs=1e-6)


def test_clustered_rows_pass_the_filter(knows):
    alone = torch.arange(40) % 3 == 0
    left = desk_chapter.clustered(knows.held, alone)
    assert torch.equal(left.rows,
                       knows.held.rows[~alone]) and torch.equal(left.y, knows.held.y[~alone])
    assert (torch.equal(left.x, knows.held.x[~alone]) and left.budget == 10 and left.n
            == knows.held.n)
    assert desk_chapter.clustered(knows.held, torch.arange(40) >= 4).budget == 4
    flags = torch.zeros(knows.held.n, dtype=torch.bool)
    flags[:40] = alone
    assert len(desk_chapter.split_request(flags, attack.baseline("random", left, 0))[1]) == 0


def test_the_side_effect_against_unlearning_itself(desk):
    held = attack.hold(desk.data, torch.arange(100), 20)
    public = desk.data.x_test[300:400]
    penalty = desk_chapter.side_effect(desk.model, public, attack.removal(desk.model, held,
                                                                          tau=5e-3))
    w = torch.zeros(100).index_fill(0, torch.arange(20), 1.0)
    after = lk.unlearn.first_order(desk.model, desk.data, torch.arange(20), tau=5e-3)
    p, q = (lk.training.predict(m, public).double().log_softmax(1) for m in (desk.model, after))
    wanted = (p.exp() * (p - q)).sum(1).mean().item()
    assert penalty(w).item() == pytest.approx(wanted, rel=1e-3, abs=1e-6) and wanted > 0
    assert penalty(torch.zeros(100)).item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("call", [
    lambda k: desk_chapter.evading(sum, sum, -1.0), lambda k: desk_chapter.evading(sum, sum,
                                                                                   math.nan),
    lambda k: desk_chapter.clustered(k.held, torch.ones(40).bool()),
    lambda k: desk_chapter.clustered(k.held, torch.zeros(39).bool()),
    lambda k: desk_chapter.clustered(k.held, torch.zeros(40)),
                                  lambda k: desk_chapter.unlike(k.seen, []),
    lambda k: desk_chapter.monitored(k.residuals, k.y[:-1], k.prior, k.values),
    lambda k: desk_chapter.monitored(k.residuals, k.y, k.prior, k.values[:-1])])
def test_evasions_that_cannot_be(knows, call):
    with pytest.raises(LabError):
        call(knows)
