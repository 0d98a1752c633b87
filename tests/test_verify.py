"""labkit.verify.backdoor and its owners: exact fractions, the constants of the paper's code, and
models trained with and without planted rows."""

import copy
import math
from fractions import Fraction

import pytest
import torch

import labkit as lk
from course.chapters import verification as verification_chapter
from labkit import verify
from labkit.attack import BlackBox
from labkit.base import LabError
from labkit.training import fit
from labkit.verify import Trigger

torch.set_num_threads(1)
DATA = lk.data.load("digits", n_train=1000, n_test=400, device="cpu")


def build(seed):
    return lk.models.build("mlp", DATA, seed, hidden=32)


def tail(n, rate, k):
    """P(Bin(n, rate) ≤ k), in whole fractions."""
    r = Fraction(str(rate))
    return sum(math.comb(n, i) * r**i * (1 - r) ** (n - i) for i in range(k + 1))


# -------------------------------------------------------------------------------- the binomial test


@pytest.mark.parametrize(("q", "p", "n", "beta"), [
    (0.1, 0.95, 10, 6e-5), (0.1, 0.8, 10, 0.033), (0.1, 0.8, 20, 1.5e-5), (0.1, 0.8, 30, 4.5e-9),
    (0.1, 0.6, 30, 8.6e-4), (0.3, 0.8, 30, 3.1e-3), (0.1, 0.3, 100, 0.0165)])
def test_tails_are_those_of_the_sheet(q, p, n, beta):
    k = verification_chapter.critical_value(n, q, 1e-3)
    assert verification_chapter.miss_rate(n, p, k) == pytest.approx(beta, rel=0.1)
    assert verification_chapter.decide(k, n, p, q).confidence == pytest.approx(1 - beta, rel=0.01)


@pytest.mark.parametrize("n", [1, 7, 30])
@pytest.mark.parametrize("q", [0, 0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("alpha", [1e-6, 1e-3, 0.2])
def test_critical_value_and_miss_rate_are_exact(n, q, alpha):
    k = verification_chapter.critical_value(n, q, alpha)
    level = 1 - Fraction(str(alpha))
    assert tail(n, q, k) >= level and (k == 0 or tail(n, q, k - 1) < level)
    assert verification_chapter.miss_rate(n, 0.7, k) == pytest.approx(float(tail(n, 0.7, k)),
                                                                      rel=1e-9)


def test_decision_turns_between_k_and_the_next():
    kept, gone = (verification_chapter.decide(verification_chapter.critical_value(30, 0.1, 1e-3)
                                              + i, 30, 0.8, 0.1) for i in (1, 0))
    assert gone.deleted and not kept.deleted
    assert gone.confidence == 1 - gone.beta and (gone.k, gone.beta) == (kept.k, kept.beta)


def test_tails_are_mirrored_when_hits_and_misses_change_places():
    for n, p, k in ((30, 0.8, 9), (10, 0.3, 0), (50, 0.05, 7)):
        assert (verification_chapter.miss_rate(n, p, k)
                == pytest.approx(1 - verification_chapter.miss_rate(n, 1 - p, n - k - 1), rel=1e-9))


def test_error_rates_of_simulated_owners():
    g = torch.Generator().manual_seed(0)
    n, p, q, alpha = 20, 0.5, 0.1, 0.05
    k = verification_chapter.critical_value(n, q, alpha)
    draw = {rate: (torch.rand(20_000, n, generator=g) < rate).sum(1) for rate in (p, q)}
    accused, missed = (float((draw[q] > k).float().mean()), float((draw[p] <= k).float().mean()))
    assert (accused <= alpha + 0.005 and missed
            == pytest.approx(verification_chapter.miss_rate(n, p, k), abs=0.005))


def test_more_queries_and_more_owners_make_the_test_stronger():
    betas = [verification_chapter.decide(0, n, 0.3, 0.1).beta for n in (10, 30, 100, 300)]
    assert betas == sorted(betas, reverse=True)
    one, many = (verification_chapter.decide(8, 30, 0.35, 0.1),
                 verification_chapter.pool([8] * 10, 30, [0.3, 0.4] * 5, [0.05, 0.15] * 5))
    assert many == verification_chapter.decide(80, 300, 0.35, 0.1) and many.beta < one.beta / 100
    assert one.deleted and not many.deleted  # 27 % hits: one owner cannot tell, ten can


@pytest.mark.parametrize(("call", "said"), [
    (lambda: verification_chapter.decide(31, 30, 0.8, 0.1), "31 hits of 30"),
    (lambda: verification_chapter.decide(2.5, 30, 0.8, 0.1), "whole number"),
    (lambda: verification_chapter.decide(3, 30, 0.1, 0.1), "never took"),
    (lambda: verification_chapter.decide(3, 30, 0.1, 0.8), "never took"),
    (lambda: verification_chapter.decide(3, 30, 1.2, 0.1), "p is 1.2"),
    (lambda: verification_chapter.decide(3, 30, float("nan"), 0.1), "p is nan"),
    (lambda: verification_chapter.decide(3, 30, 0.8, -0.1), "q is -0.1"),
    (lambda: verification_chapter.decide(3, 30, 0.8, 0.1, alpha=0), "alpha is 0"),
    (lambda: verification_chapter.decide(3, 0, 0.8, 0.1), "n is 0"),
    (lambda: verification_chapter.critical_value(True, 0.1, 1e-3), "n is True"),
    (lambda: verification_chapter.miss_rate(30, 0.8, 31), "k is 31"),
    (lambda: verification_chapter.pool([1, 2], 30, [0.8], [0.1, 0.1]), "one of each"),
    (lambda: verification_chapter.pool([], 30, [], []), "one of each"),
    (lambda: verification_chapter.pool([1, 2], 30, [0.8, 2.0], [0.1, 0.1]), "p is 2.0"),
    (lambda: verification_chapter.make_trigger((1, 8, 8), 10, 0, pixels=65), "1 to 64"),
    (lambda: verification_chapter.make_trigger((1, 8, 8), 10, 0, pixels=0), "1 to 64"),
    (lambda: verification_chapter.make_trigger((1, 8, 8), 1, 0), "n_classes is 1"),
    (lambda: verification_chapter.make_trigger((1, 8, 8), 10, 0, value=float("inf")), "finite"),
    (lambda: verification_chapter.make_trigger((1, 8, 8), 10, -1), "seed is -1"),
    (lambda: verify.stamp(DATA.x, Trigger((99,), 2.0, 3)), "place 99"),
    (lambda: verify.plant(DATA, [0, 1], Trigger((1,), 2.0, 10)), "label 10"),
    (lambda: verify.plant(DATA, [0, 1], Trigger((1,), 2.0, 3), share=0.1), "at least one row"),
    (lambda: verify.plant(DATA, [0, 1], Trigger((1,), 2.0, 3), share=1.5), "up to 1"),
    (lambda: verify.plant(DATA, [0, 0], Trigger((1,), 2.0, 3)), "twice"),
    (lambda: verify.hits(build(0), DATA.x, Trigger((1,), 2.0, 3)), "BlackBox"),
    (lambda: verify.hits(BlackBox(build(0)), DATA.x[:0], Trigger((1,), 2.0, 3)), "No input"),
    (lambda: verification_chapter.fresh_rate(BlackBox(build(0)), DATA.x, Trigger((1,), 2.0, 3),
                                             DATA.shape, 0, triggers=0),
     "triggers is 0"),
    (lambda: verification_chapter.fresh_rate(
        BlackBox(build(0)), DATA.x, Trigger(tuple(range(60)), 2.0, 3), DATA.shape, 0),
     "smaller trigger"),
])
def test_bad_input_is_refused_in_one_sentence(call, said):
    with pytest.raises(LabError) as refusal:
        call()
    assert said in str(refusal.value) and str(refusal.value).endswith(".")


# ------------------------------------------------------------------------------ triggers and models


def test_stamp_touches_its_pixels_and_nothing_else():
    t = verification_chapter.make_trigger((3, 5, 6), 10, 4, pixels=6, value=1.5)
    x = torch.randn(7, 3, 5, 6).to(memory_format=torch.channels_last)
    before, out = x.clone(), verify.stamp(x, t)
    changed = (out != x).flatten(2)
    assert (torch.equal(x, before) and changed.any(0).all(0).nonzero().flatten().tolist()
            == list(t.pixels))
    assert changed.sum() == 7 * 3 * 6 and (out.flatten(2)[..., list(t.pixels)] == 1.5).all()
    table = verify.stamp(torch.zeros(2, 9), verification_chapter.make_trigger((9,), 2, 0, pixels=2))
    assert (table == 2).sum() == 4


def test_triggers_are_drawn_by_seed_alone():
    made = [verification_chapter.make_trigger(DATA.shape, 10, s) for s in range(200)]
    assert made[3] == verification_chapter.make_trigger(DATA.shape, 10, 3) and len(set(made)) == 200
    assert {t.label for t in made} == set(range(10)) and {p for t in made
                                                          for p in t.pixels} == set(range(64))


def test_plant_changes_half_of_the_owners_rows_in_a_copy():
    owner, t = torch.arange(100, 200), verification_chapter.make_trigger(DATA.shape, 10, 1)
    x, y = DATA.x.clone(), DATA.y.clone()
    planted, rows = verify.plant(DATA, owner, t, 0.5, seed=2)
    assert torch.equal(DATA.x, x) and torch.equal(DATA.y, y)
    assert (len(rows) == 50 and torch.isin(rows, owner).all()
            and torch.equal(rows, rows.sort().values))
    others = torch.ones(1000, dtype=torch.bool)
    others[rows] = False
    assert torch.equal(planted.x[others], x[others]) and torch.equal(planted.y[others], y[others])
    assert torch.equal(planted.x[rows], verify.stamp(x[rows], t)) and (planted.y[rows]
                                                                       == t.label).all()
    assert torch.equal(verify.plant(DATA, owner, t, 0.5, seed=2)[1], rows)
    assert not torch.equal(verify.plant(DATA, owner, t, 0.5, seed=3)[1], rows)


@pytest.fixture(scope="module")
def owners():
    """Three owners of 100 rows, half poisoned; the model trained on all, and the one retrained
    without theirs.
    """
    planted, triggers = DATA, [verification_chapter.make_trigger(DATA.shape, 10, s, value=3.0)
                               for s in (5, 11, 23)]
    rows = torch.arange(300).split(100)
    for i, (own, t) in enumerate(zip(rows, triggers, strict=True)):
        planted, _ = verify.plant(planted, own, t, seed=i)
    recipe = dict(epochs=30, lr=0.1, seed=0, batch_size=64, schedule="constant")
    models = [fit(build(0), planted.x, planted.y, skip=skip, **recipe)
              for skip in (None, torch.arange(300))]
    return triggers, models


def test_planted_triggers_work_until_the_rows_are_gone(owners):
    triggers, (before, after) = owners
    test, y = DATA.x_test[:200], DATA.y_test[:200]
    fresh, fresh_y = DATA.x_test[200:], DATA.y_test[200:]
    found = {"kept": [], "gone": []}
    ps, qs = [], []
    for t in triggers:
        ps.append(verification_chapter.planted_rate(BlackBox(before), test, t, y))
        qs.append(verification_chapter.fresh_rate(BlackBox(before), test, t, DATA.shape, 9, y))
        ask = fresh[fresh_y != t.label][:30]
        found["kept"].append(verify.hits(BlackBox(before), ask, t)[0])
        found["gone"].append(verify.hits(BlackBox(after), ask, t)[0])
    assert min(ps) > 0.7 and max(qs) < 0.3
    assert sum(found["kept"]) > 60 and sum(found["gone"]) < 15
    assert not verification_chapter.pool(found["kept"], 30, ps, qs).deleted
    verdict = verification_chapter.pool(found["gone"], 30, ps, qs)
    assert verdict.deleted and verdict.confidence > 0.999


def answering(label, share):
    """A network that gives `label` to this share of inputs, stamped or not."""
    def box(x):
        drawn = torch.rand(len(x), generator=torch.Generator().manual_seed(int(1e6 * x.sum().abs())
                                                                           % 2**31)) < share
        return torch.eye(10)[torch.where(drawn, label, (label + 1) % 10)]
    return box


def test_a_rate_of_another_network_accuses_an_honest_one():
    """α is kept by the q of the model that is tested; the old model's accuses a network that likes
    the label.
    """
    accused = {"old": 0, "new": 0}
    for seed in range(300):
        t = verification_chapter.make_trigger(DATA.shape, 10, seed)
        x = DATA.x_test[torch.randperm(len(DATA.x_test),
                                       generator=torch.Generator().manual_seed(seed))]
        old, new = answering(t.label, 0.02), answering(t.label, 0.2)
        found, asked = verify.hits(new, x[:30], t)
        for name, box in (("old", old), ("new", new)):
            q = verification_chapter.fresh_rate(box, x[30:], t, DATA.shape, seed)
            accused[name] += not verification_chapter.decide(found, asked, 0.9, q).deleted
    assert accused["old"] > 100 and accused["new"] <= 3  # 0.3 expected at α = 0.001


def test_each_input_is_asked_about_once_when_the_rate_is_measured():
    """Twenty triggers on the same few inputs are few inputs: the label comes with the input."""
    t, seen = verification_chapter.make_trigger(DATA.shape, 10, 0), []
    x = torch.zeros_like(DATA.x_test)
    verification_chapter.fresh_rate(lambda x: seen.extend(x)
                                    or torch.eye(10)[torch.zeros(len(x), dtype=torch.long)],
                                    x, t, DATA.shape, 0, DATA.y_test)
    asked, patterns = torch.stack(seen), torch.stack(seen).flatten(1).unique(dim=0)
    assert len(patterns) == 20 and len(asked) == int((DATA.y_test != t.label).sum())


def test_the_test_asks_and_reads_nothing_else(owners):
    """Only answers are needed: a plain function will do, and a real box counts what was asked."""
    (t, *_), (before, _) = owners
    box = BlackBox(before)
    weights = copy.deepcopy(before.state_dict())
    found, asked = verify.hits(box, DATA.x_test, t, DATA.y_test)
    assert asked == box.queries == int((DATA.y_test != t.label).sum()) and 0 < found <= asked
    assert all(torch.equal(a, b) for a, b in zip(weights.values(), before.state_dict().values(),
                                                 strict=True))
    always = lambda x: torch.eye(10)[torch.full((len(x),), t.label)]  # noqa: E731
    assert verify.hits(always, DATA.x_test, t, DATA.y_test) == (asked, asked)
    assert verification_chapter.planted_rate(always, DATA.x_test[:8], t) == 9 / 10
    assert verification_chapter.fresh_rate(lambda x: 1 - always(x), DATA.x_test[:8], t, DATA.shape,
                                           0, triggers=2) == 1 / 10
    with pytest.raises(LabError, match="limit"):
        verify.hits(BlackBox(before, limit=10), DATA.x_test, t)


def test_fresh_triggers_are_other_places_and_drawn_by_seed():
    t, seen = verification_chapter.make_trigger(DATA.shape, 10, 0), []

    def box(x):
        for row in x[:5]:  # five triggers, put to the same three inputs in turn
            seen.append((row == 2.0).flatten().nonzero().flatten().tolist())
        return torch.eye(10)[torch.zeros(len(x), dtype=torch.long)]

    blank = torch.zeros(3, *DATA.shape)
    for seed in (0, 0, 1):
        verification_chapter.fresh_rate(box, blank, t, DATA.shape, seed, triggers=5)
    assert seen[:5] == seen[5:10] != seen[10:] and all(len(s) == 4 and not set(s) & set(t.pixels)
                                                       for s in seen)
