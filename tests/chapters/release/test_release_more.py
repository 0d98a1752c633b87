"""The notebook's machinery: worlds, inverters, the hunt, private trials, the release rule."""

import copy
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import labkit as lk
from course import figures
from course.chapters import release as here
from course.chapters.release import galleries, hunting, inverters, plots, rule, trained
from course.chapters.release import worlds as places
from course.exercises import EXERCISES
from labkit import attack
from labkit.base import Diverged, LabError

masked_leak, climb = (EXERCISES[f"11.{i}"].solution for i in (3, 4))


@pytest.fixture(scope="module")
def data():
    return lk.data.load("fashion", at_most=(450, 300), moments="test")


@pytest.fixture(scope="module")
def build(data):
    return lambda seed: lk.models.build("mlp", data, seed, hidden=12)


@pytest.fixture(scope="module")
def w(data, build):
    return here.world(data.resplit(1), 1, build, deleted=2, epochs=4, lr=0.1, steps=8)


@pytest.fixture(scope="module")
def another(data, build):
    return here.world(data.resplit(2), 2, build, deleted=2, epochs=4, lr=0.1, steps=8)


# --------------------------------------------------------------------------------- the world


def test_a_deletion_is_one_step_along_the_rows_gradient(w):
    for j, after in enumerate(w.after):
        loss = F.cross_entropy(w.theta(w.pool.x[[j]]), w.pool.y[[j]])
        slope = torch.cat([g.flatten() for g in
                           torch.autograd.grad(loss, list(w.theta.parameters()))])
        torch.testing.assert_close(attack.difference(w.theta, after), 1e-3 * slope, rtol=1e-5,
                                   atol=1e-12)


def test_provider_and_attacker_share_no_row_and_the_private_ones_are_nobodys(w):
    rows = [{tuple(r.flatten().tolist()) for r in x} for x in (w.kept[0], w.own[0], w.data.x[:32])]
    assert not rows[0] & rows[1] and not rows[2] & (rows[0] | rows[1])


def test_a_diverged_job_is_one_lost_run():
    def half(job):
        if job % 2:
            raise Diverged("NaN")
        return 10 * job

    assert here.run_all(half, [0, 1, 2, 3]) == [0, None, 20, None]


# --------------------------------------------------------------------------------- the inverters


def test_the_closed_form_is_labkits_with_and_without_a_mask(w):
    aim = attack.difference(w.theta, w.after[0])
    mask = torch.rand(len(aim), generator=torch.Generator().manual_seed(1)) < 0.5
    first = next(w.theta.parameters()).numel()
    mask[first:] = True  # labkit's mask may drop biases too; pruning never does
    for closed in (here.closed_form, masked_leak):
        for m in (None, mask):
            torch.testing.assert_close(here.by_closed_form(w, aim, m, closed),
                                       attack.leak(w.theta, aim, m), rtol=1e-9, atol=1e-12)


def test_rank_one_finds_the_picture_of_a_clean_update_up_to_its_length(w):
    aim, x = attack.difference(w.theta, w.after[0]), w.pool.x[0].flatten()
    found = here.rank_one(w, aim, w.label[0])
    assert abs(F.cosine_similarity(found, x, dim=0)) > 1 - 1e-9
    mean = w.means[w.label[0]].double().flatten()
    unit = x / x.norm()
    torch.testing.assert_close(found, unit * (unit @ mean), rtol=1e-6, atol=1e-9)


def test_one_deletion_many_times_uses_that_rows_label(w):
    aim = attack.difference(w.theta, w.after[1])[None]
    once = here.pictures(w, torch.cat([attack.difference(w.theta, w.after[0])[None], aim]),
                         methods=["rank one"])["rank one"][1]
    torch.testing.assert_close(here.pictures(w, aim, methods=["rank one"], row=1)["rank one"][0],
                               once)


def test_gain_and_success_are_as_defined(w):
    assert here.gains(w, w.mean_pictures) == pytest.approx([0, 0], abs=1e-4)
    assert here.near([4.999, 5, -3, 100]).tolist() == [0, 1, 0, 1]


@pytest.fixture(scope="module")
def found(w, another):
    return here.sweep([w], another, ["noise × 10", "pruning 50 %", "fine-tuning 5"], masked_leak)


def test_the_sweep_tells_defended_from_undefended_and_masked_from_not(found):
    assert here.near(found.gain("none")).all()
    assert not here.near(found.gain("pruning 50 %")).any()
    assert here.near(found.gain("pruning 50 %", "adaptive")).all()
    assert found.price("none") == pytest.approx([0])
    assert found.tools["none", "plain"] == ("closed form",)
    assert set(found.rehearsed) == set(found.tools) == {("none", "plain")} | {
        (name, who) for name in ("noise × 10", "pruning 50 %", "fine-tuning 5")
        for who in ("plain", "adaptive")}


def test_enough_noise_is_the_weakest_that_stopped_the_plain_one():
    gains = {1: 9.0, 3: 0.9, 10: -4.0, 30: -5.0}
    one = inverters.Sweep([], {}, {}, {}, {}, {(f"noise × {t}", "plain"): g
                                               for t, g in gains.items()})
    assert one.enough == 3
    assert inverters.Sweep([], {}, {}, {}, {}, {("noise × 1", "plain"): 1.0}).enough is None


def test_ten_releases_are_averaged_by_who_knows_the_noise(w):
    models, adaptive, mask = inverters.released_as(w, "noise × 3")
    size = here.update_rms(w.theta, w.after[0])
    noise = [(aim - attack.difference(w.theta, w.after[0])).square().mean().sqrt().item()
             for aim in (attack.difference(w.theta, models[0]), adaptive[0])]
    assert mask is None and noise == pytest.approx([3 * size, 3 * size / 10**0.5], rel=0.05)


def test_a_world_that_diverges_is_left_out_and_none_left_is_told(w, another, monkeypatch):
    right = inverters.released_as

    def breaks(where, name):
        if where.seed == another.seed and name == "pruning 50 %":
            raise Diverged("NaN")
        return right(where, name)

    monkeypatch.setattr(inverters, "released_as", breaks)
    one = here.sweep([w, another], w, ["pruning 50 %"])
    assert one.seeds == [w.seed] and {key[0] for key in one.dB} == {w.seed}
    with pytest.raises(LabError, match="some defence left NaN"):
        here.sweep([another], w, ["pruning 50 %"])


def test_sweeps_are_put_together_without_what_one_of_them_lost(w, another):
    a = here.sweep([w, another], w, ["pruning 10 %"])
    b = here.sweep([w], another, ["noise × 1"])
    both = here.together(a, b)
    assert both.seeds == [w.seed]
    assert len(both.gain("pruning 10 %")) == len(both.gain("noise × 1")) == 2


# --------------------------------------------------------------------------------- the hunt


def test_each_row_is_answered_by_its_own_model(w):
    x = torch.rand(2, *w.data.shape, generator=torch.Generator().manual_seed(3))
    seen = (x - w.data.mean) / w.data.std
    models = [copy.deepcopy(m).float() for m in (w.after[0], here.prune(w.after[1], 0.9))]
    own = hunting.answers(models, w.data)(x)
    for j, m in enumerate(models):
        torch.testing.assert_close(own[j], m(seen[[j]])[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(hunting.answers(models[:1], w.data)(x), models[0](seen))


def test_the_prior_prefers_usual_pictures(w):
    prior = hunting.usual(w, 2)
    noise = torch.rand(2, *w.data.shape, generator=torch.Generator().manual_seed(4))
    assert (prior(w.mean_pictures) < prior(noise)).all()


def test_the_hunt_raises_what_it_climbs(w):
    models, bases = hunting.scene(w, "none")
    assert set(bases) == {"old"} and set(hunting.scene(w, "fine-tuning 1")[1]) == {"old",
                                                                                   "imitations"}
    images = here.hunt(w, climb, models, bases["old"], 1)

    def height(x):
        released, old = (hunting.answers(m, w.data) for m in (models, bases["old"]))
        rise = (F.cross_entropy(released(x), w.label, reduction="none")
                - F.cross_entropy(old(x), w.label, reduction="none"))
        unit = hunting.usual_rise(w, models[0], bases["old"])
        return (rise - unit * hunting.usual(w, 2)(x)).sum().item()

    with torch.no_grad():
        assert height(images) > height(w.mean_pictures)
    assert images.min() >= 0 and images.max() <= 1


def test_the_hunter_takes_what_its_rehearsal_likes_best(w, another):
    plan = here.rehearse_hunt(another, climb, ["none", "fine-tuning 1"])
    base, weight, best = plan["fine-tuning 1"]
    models, bases = hunting.scene(another, "fine-tuning 1")
    every = {(b, k): here.gains(another, here.hunt(another, climb, models, others, k)).mean()
             for b, others in bases.items() for k in here.WEIGHTS}
    assert every[base, weight] == max(every.values()) == pytest.approx(best)
    assert set(here.hunts([w], climb, plan)) == {(w.seed, "none"), (w.seed, "fine-tuning 1")}


# --------------------------------------------------------------------------------- private trials


def test_shrinkage_is_least_squares_over_requests_of_the_full_budget():
    rows = [dict(predicted=p, real=r) for p, r in ((9, 0), (-2, -1), (9, 0), (-4, -1))]
    assert here.shrinkage([rows]) == pytest.approx((2 + 4) / (4 + 16))
    assert here.shrinkage([[dict(predicted=1, real=0), dict(predicted=-1, real=-7)]]) == 1
    assert here.shrinkage([[dict(predicted=1, real=0), dict(predicted=-1, real=7)]]) == 0.05


def test_what_clipping_lets_through(w):
    model, held = w.theta, SimpleNamespace(x=w.pool.x[:6], y=w.pool.y[:6])
    found = trained.passed(model, held, clip=0.5)
    for j in range(6):
        loss = F.cross_entropy(model(held.x[[j]]), held.y[[j]])
        size = sum(g.square().sum() for g in
                   torch.autograd.grad(loss, list(model.parameters()))).sqrt().item()
        assert found[j].item() == pytest.approx(min(1.0, 0.5 / size), rel=1e-6)


def test_a_private_step_is_clipped_and_its_noise_falls_with_the_releases(w):
    step = attack.difference(w.theta, here.private_ascent(w.theta, w.pool, 0, 0.0, 1, clip=1e-2))
    plain = attack.difference(w.theta, places.ascend(w.theta, w.pool, 0))
    assert step.norm().item() == pytest.approx(min(1e-5, plain.norm().item()), rel=1e-6)
    one, ten = (attack.difference(w.theta, here.private_ascent(w.theta, w.pool, 0, 2.0, 1, n))
                for n in (1, 10))
    clipped = attack.difference(w.theta, here.private_ascent(w.theta, w.pool, 0, 0.0, 1))
    torch.testing.assert_close((one - clipped) / 10**0.5, ten - clipped, rtol=1e-6, atol=1e-12)
    assert (one - clipped).square().mean().sqrt().item() == pytest.approx(2e-3, rel=0.05)


def test_private_trials_have_every_number_that_is_told(data, build, w):
    def train(d, seeds, skip=None):
        return lk.training.fit_many([build(s) for s in seeds], d.x, d.y, seeds=seeds, skip=skip,
                                    workers=1, epochs=3, lr=0.1)

    v = attack.victim(data, w.seed, train, targets=2, budget=10)
    setting = here.Setting(build, {math.inf: 0.0, 3.0: 1.0}, dict(epochs=1, batch_size=64, lr=0.2),
                           0.5, 0.02, 1)
    private = here.private_trials([v], [w], setting)
    assert here.near(private.of(3.0, "ascent")).all()  # the step was no part of the training
    assert not here.near(private.of(3.0, "averaged")).any()
    assert len(private.of(math.inf, "aware")) == 0 and len(private.of(3.0, "aware")) == 1
    assert private.of(math.inf, "spent")[0] == math.inf > private.of(3.0, "spent")[0] > 0
    assert set(private.beyond(3.0, "chosen")) <= {-1.0, 0.0, 1.0}
    fig = here.privacy_figure(figures, private, (math.inf, 3.0))
    assert [t.get_text() for t in fig.axes[0].get_xticklabels()] == ["∞", "3"]


# --------------------------------------------------------------------------------- answers


def test_answers_that_are_all_there_harm_nobody_and_labels_alone_say_least(w):
    model = w.theta
    assert here.harm(model, w.data, "all digits") == {"first label changed, %": 0,
                                                      "its probability moves by": 0}
    assert here.harm(model, w.data, "label only")["its probability moves by"] > 0.01
    named = here.named(w)
    assert set(named) == {(name, who) for name in here.ANSWERS for who in ("plain", "adaptive")}
    assert all(set(x) <= {0.0, 1.0} and len(x) == 2 for x in named.values())
    assert (named["T = 10", "adaptive"] == named["all digits", "adaptive"]).all()


# --------------------------------------------------------------------------------- the rule


@pytest.fixture(scope="module")
def publish(w):
    return here.harder(replace(w, steps=5), 2)


def test_a_rule_gets_copies_sizes_rows_and_another_seed_each_time(publish):
    calls, w = [], publish.w
    before = [attack.flat(m).clone() for m in (w.theta, *w.after)]

    def spoils(model, size, x, y, seed):
        calls.append((size, seed, len(x)))
        with torch.no_grad():
            next(model.parameters()).zero_()
        return model

    made = publish(spoils)
    assert [len(m) for m in made.releases] == [10, 10] and len(made.imitations) == 10
    assert len({seed for _, seed, _ in calls}) == 30
    assert calls[0][0] == pytest.approx(here.update_rms(w.theta, w.after[0]))
    assert {n for *_, n in calls[:20]} == {len(w.kept[0])}
    assert all(torch.equal(attack.flat(m), old) for m, old in
               zip((w.theta, *w.after), before, strict=True))


def test_three_attackers_and_the_price_judge_a_rule(publish, monkeypatch):
    monkeypatch.setattr(rule, "PRICE", 100.0)
    bare = publish(lambda model, size, x, y, seed: model)
    assert all(g.mean() > 20 for g in publish.gains(bare).values())
    half = publish.gains(publish(lambda model, size, x, y, seed: here.prune(model, 0.5)))
    assert half["averaging"].mean() > half["plain"].mean() + 3
    loud = publish(lambda model, size, x, y, seed: here.add_noise(model, 3 * size, seed))
    assert publish.gains(loud)["averaging"].mean() > publish.gains(loud)["plain"].mean()
    assert publish.judge(bare) < publish.judge(loud) == pytest.approx(
        -max(g.clip(0).mean() for g in publish.gains(loud).values()))
    drowned = publish(lambda model, size, x, y, seed: here.add_noise(model, 300 * size, seed))
    assert max(g.mean() for g in publish.gains(drowned).values()) < 0 == publish.judge(drowned)
    monkeypatch.setattr(rule, "PRICE", publish.price(bare) - 0.1)
    assert publish.judge(bare) == rule.TOO_DEAR


def test_an_imitator_undoes_what_a_rule_does_to_every_network(publish):
    gen = torch.Generator().manual_seed(9)
    shift = torch.randn(len(attack.flat(publish.w.theta)), generator=gen, dtype=torch.float64)

    def shifted(model, size, x, y, seed):
        with torch.no_grad():
            for p, part in zip(model.parameters(), attack.unflat(model, shift).values(),
                               strict=True):
                p += part
        return model

    gains = publish.gains(publish(shifted))
    assert gains["imitating"].mean() > 20 > 5 > gains["plain"].mean()


def test_the_old_network_gives_no_update_and_a_wrong_result_is_told(publish):
    old = publish(lambda model, size, x, y, seed: publish.w.theta)
    assert all((g == 0).all() for g in publish.gains(old).values())
    with pytest.raises(LabError, match="return publish"):
        publish.judge(None)


# --------------------------------------------------------------------------------- telling, figures


def test_outcomes_and_what_is_left_of_an_attack():
    one = here.Outcome("answers", [1], np.array([1.0, 0.5]), np.array([0.25, 0.25]), None)
    assert one.halved("plain", 0.25).tolist() == [True] and one.halved("adaptive") is None
    assert one.halved("plain", 0.9).tolist() == [False]  # no lead over the guess, nothing to take
    two = replace(one, seeds=[1, 2], plain=np.array([0.4, 0.3]))
    assert two.halved("plain").tolist() == [True, False]  # 0.4 of 1, 0.3 of 0.5
    low, high = np.array([0.1, 0.1]), np.array([0.9, 0.9])
    some = {name: replace(two, plain=plain, adaptive=adaptive) for name, plain, adaptive in
            (("every", low, low), ("some", low, two.plain), ("plain", low, high),
             ("no", high, low), ("nobody adapts", low, None))}
    assert here.withstanding(some, 0.0) == (["every"], ["some"], ["plain"], ["no"])
    assert here.of(np.zeros(6), [11, 12, 13]).tolist() == [0, 0, 1, 1, 2, 2]
    assert here.percent([1.0, 1.0, 0.0, 0.0], [1, 2]).startswith("50 [")


def test_figures_have_a_place_for_every_outcome_and_picture(w, found):
    some = here.Outcome("inversion", [1, 2], np.ones(4), np.zeros(4), np.array([1.0, 0, 1, 1]))
    outcomes = {"a": some, "b": replace(some, adaptive=None),
                "c": replace(some, kind="answers"), "d": replace(some, kind="requests")}
    fig = plots.who_withstands(figures, outcomes, 10)
    assert [len(ax.get_yticks()) for ax in fig.axes] == [2, 1, 1]
    names = {"half": "pruning 50 %"}
    strip = here.before_and_after(w, 0, found, names, {"plain": "plain", "masks": "adaptive"})
    assert [ax.get_title() for ax in strip.axes[:4]] == ["deleted", "no defence", "half",
                                                         "class mean"]
    assert not strip.axes[5].images and strip.axes[6].images  # nobody adapts to no defence


def test_the_explorer_says_what_it_shows(w, found):
    figure, redraw = here.panel(w, found)
    text = redraw("pruning 50 %", 1)
    for who in ("plain", "adaptive"):
        assert f"{found.dB[w.seed, 'pruning 50 %', who][1]:+.1f} dB" in text
    shown = figure.axes[2].images[0].get_array()
    assert np.allclose(shown, galleries.seen(found.made[w.seed, "pruning 50 %", "adaptive"][1]))


def test_inputs_that_no_kept_weight_reads_are_those_of_the_class_mean(w):
    aim = here.aims_at(w, w.after[:1])[0]
    mask = torch.ones_like(aim, dtype=torch.bool)
    first = next(w.theta.parameters())
    mask[: first.numel()].view(first.shape)[:, :5] = False
    label = w.label[0]
    holes = here.by_closed_form(w, aim, mask, here.closed_form)
    filled = here.by_closed_form(w, aim, mask, here.closed_form, label)
    assert not holes[:5].any()
    assert torch.allclose(filled[:5], w.means[label].flatten()[:5].to(filled))
    assert torch.equal(filled[5:], holes[5:])


def test_a_verdict_needs_its_interval_below_one_or_above_five_dB():
    cases = {"hidden": (np.array([-0.1, 0.1, 0.0]), [1, 2, 3]),
             "weak": (np.array([2.9, 3.0, 3.1]), [1, 2, 3]),
             "seen": (np.array([80.0, 81, 82]), [1, 2, 3]),
             "who knows": (np.array([-20.0, 5, 30]), [1, 2, 3])}
    stopped, rebuilt, unclear = here.verdicts(cases)
    assert "hidden" in stopped and "seen" in rebuilt
    assert "who knows" in unclear and "weak" in unclear
    assert here.verdicts({}) == []


def test_what_is_told_of_a_gain_counts_the_pictures_rebuilt():
    assert here.told(np.array([6.0, 4.0, 5.0, 7.0]), [1, 2]).endswith("dB (3 of 4 rebuilt)")


def test_a_step_of_ascent_raises_the_loss_of_its_own_row(w):
    rise = here.row_losses(w, w.after) - here.row_losses(w, [w.theta] * len(w.after))
    assert rise.shape == (len(w.after),) and (rise > 0).all()
    assert (here.retrained_rise(w, "none") > 0).all()  # training on the row had lowered it


def test_a_change_of_the_retrained_network_is_that_of_the_release(w):
    exact = here.retrained(w)
    old = here.row_losses(w, [w.theta] * len(exact))
    for name in ("noise × 10", "pruning 50 %", "fine-tuning 1"):
        models = inverters.released_as(replace(w, after=exact), name)[0]
        assert np.array_equal(here.retrained_rise(w, name), here.row_losses(w, models) - old)


def test_what_is_still_unlearned_is_held_against_the_same_change(w, found):
    names = ("none", "pruning 50 %")
    rows, fallen, again = here.still_unlearned([w], found, names)
    assert [row["change"] for row in rows] == list(names)
    assert rows[0]["rows where the release's is lower"] == "0 of 2"
    assert "none" not in fallen + again  # a step of ascent raises the loss, and by more
    low = replace(found, rise={key: x - 100 for key, x in found.rise.items()})
    assert here.still_unlearned([w], low, names)[1:] == (list(names), list(names))


def test_a_rule_is_still_unlearned_where_it_beats_retraining_under_the_same_rule(publish):
    def rule(model, size, x, y, seed):
        return here.add_noise(model, size, seed)

    made, exact = publish(rule), here.retrained(publish.w)
    again = [here.add_noise(m, here.update_rms(publish.w.theta, publish.w.after[j]), 1000 * j)
             for j, m in enumerate(exact)]
    first = [models[0] for models in made.releases]
    wanted = here.row_losses(publish.w, first) - here.row_losses(publish.w, again)
    assert publish.rise(made) == pytest.approx(wanted.mean()) and publish.rise(made) > 0
    assert publish.rise(replace(made, releases=[[m] for m in made.exact])) == 0
