"""Chapter basics: choices and comparisons against small tables by hand, and the project's floor."""

import copy
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import labkit as lk
from course import widgets
from course.chapters import basics
from course.chapters.basics import exposure, grids, plots, runs, tables, told
from course.exercises import EXERCISES, check

GRID = {"finetune": {"random": [{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}], "class": [{"lr": 0.5}]},
        "ssd": {"random": [{"alpha": 9}, {"alpha": 3}], "class": [{"alpha": 2}, {"alpha": 1}]}}


def table(*rows):
    names = ("seed", "kind", "method", "strength", "UA", "RA", "TA", "gap")
    return pd.DataFrame([dict(zip(names, row, strict=True)) for row in rows])


TUNED = table((1, "random", "untouched", 0.0, 4, 99, 80, 5), (2, "random", "untouched", 0.0, 6, 99,
                                                             80, 5),
              (1, "random", "finetune", 0.1, 4, 99, 80, 5), (2, "random", "finetune", 0.1, 6, 99,
                                                             80.3, 4),
              (1, "random", "finetune", 0.2, 9, 98, 80, 2), (2, "random", "finetune", 0.2, 9, 98,
                                                             80, np.nan),
              (1, "random", "finetune", 0.3, 20, 90, 80, 3), (2, "random", "finetune", 0.3, 22, 90,
                                                              70, 5))


def test_a_strength_that_lost_a_run_has_no_mean():
    np.testing.assert_equal(tables.mean_gaps(TUNED, GRID, "random", "finetune"), [4.5, np.nan, 4])
    assert np.isnan(tables.mean_gaps(TUNED, GRID, "random", "ssd")).all()


def test_ends_of_a_grid_are_told_and_an_idle_end_is_measured():
    def told(lr, gap_of=TUNED):
        return tables.ends(gap_of, GRID, {("random", "finetune"): {"lr": lr}})

    assert tables.moved(TUNED, "random", "finetune", 0.1) == pytest.approx(0.05)
    assert told(0.2) == [] and "strong end" in told(0.3)[0]
    assert "hardly changes" in told(0.1)[0]
    shifted = TUNED.assign(UA=TUNED.UA + 3 * (TUNED.strength == 0.1))
    assert "a longer grid" in told(0.1, shifted)[0]


def test_the_choice_is_marked():
    found = tables.choices(TUNED, {"finetune": GRID["finetune"]},
                           {("random", "finetune"): {"lr": 0.3}})
    assert found.iloc[0].tolist() == ["lr", "0.1: 4.5 · 0.2: lost · [0.3: 4.0]", "0.5: lost"]


@pytest.mark.parametrize("model", ["mlp", "strided_cnn"])
def test_grids_begin_with_the_strength_and_every_method_is_labkits(model):
    cfg = SimpleNamespace(model=model, batch_size=8, finetune_epochs=1, ascent_batch=4,
                          probe_rows=5, cg_steps=2, every=1)
    all_of = grids.strengths(cfg)
    cfg.every = 2
    half = grids.strengths(cfg)
    for method, kinds in all_of.items():
        assert method in lk.unlearn.METHODS and method in plots.NAMES
        for kind, settings in kinds.items():
            assert half[method][kind] == settings[::2]
            assert len({runs.strength(s) for s in settings}) == len(settings)


def test_matching_interpolates_between_neighbours_in_ua():
    swept = table((1, "random", "finetune", 0.1, 5, 0, 80, 0), (1, "random", "finetune", 0.2, 15, 0,
                                                               70, 0),
                  (2, "random", "finetune", 0.1, 12, 0, 80, 0), (2, "random", "finetune", 0.2, 15,
                                                                0, 70, 0))
    refs = {s: {"rows": {"random": {"UA": 10}}} for s in (1, 2)}
    np.testing.assert_equal(tables.matched(swept, "finetune", refs, [1, 2]), [75, np.nan])


def test_closer_than_doing_nothing_needs_the_corrected_interval():
    rng, seeds = np.random.default_rng(0), range(10)
    start = pd.Series(rng.normal(5, 0.3, 10), index=seeds)
    found = {"untouched": start, "finetune": start - 2 + rng.normal(0, 0.1, 10),
             "ssd": start + rng.normal(0, 0.5, 10), "scrub": start + 2 + rng.normal(0, 0.1, 10)}
    assert tables.beyond(found, -1) == ["fine-tuning"]
    assert tables.beyond(found, 1) == ["SCRUB"]
    assert tables.beyond(found, 1, "scrub") == [] and "SSD" in tables.beyond(found, -1, "scrub")
    assert tables.beyond({"untouched": start}, 1) == []


def test_closer_by_more_than_chance_is_judged_seed_by_seed():
    start = pd.Series([5.0, 5.2, 4.8, 5.1])
    found = {"untouched": start, "finetune": start - [2, 2.1, 1.9, 2],
             "ssd": start - [0.5, 0.4, 0.5, 0.6]}
    chance = pd.Series([0.7, 0.8, 0.7, 0.6])
    assert tables.beyond(found, -1) == ["fine-tuning", "SSD"]
    assert tables.beyond(found, -1, least=chance) == ["fine-tuning"]
    assert tables.beyond(found, -1, least=3.0) == []


def test_names_are_listed_and_no_name_is_said():
    assert [told.listed(list(names)) for names in ("", "a", "ab", "abc")] == [
        "none", "a", "a and b", "a, b and c"]


def test_a_ratio_shows_the_ends_that_decide():
    mean, low, high = lk.measure.interval([0.5, 0.9, 1.0, 0.8])
    assert tables.ratio([0.5, 0.9, 1.0, 0.8]) == f"{mean:.2f} [{low:.2f}, {high:.2f}]"
    assert tables.ratio([0.43]) == "0.43"


def test_the_usable_pair_is_nearest_and_strongest():
    tuned = pd.DataFrame({"UA": [5, 11, 20, 60.0], "TA": [80, 80, 75, 40.0]}, index=[1, 2, 3, 4])
    assert exposure.usable_pair(tuned, {"UA": 10, "TA": 80}) == (2, 3)  # 4 is of no use
    assert exposure.usable_pair(tuned.loc[:2], {"UA": 10, "TA": 80}) is None
    assert exposure.usable_pair(tuned.loc[[]], {"UA": 10, "TA": 80}) is None


def test_where_the_stronger_setting_lies_is_measured_on_the_judged_seeds():
    ua = np.array([15.0, 16, 14, 15])

    def pair(past):
        return {"UA": np.c_[ua - 5, ua + past], "exposure": np.tile([0.01, 0.03], (4, 1)),
                "side": np.full((4, 2), -2.0)}

    assert exposure.place(pair(np.array([8, 9, 8, 7.0])), ua) == "past"
    assert exposure.place(pair(np.array([-4, -5, -4, -3.0])), ua) == "below"
    assert exposure.place(pair(np.array([-4, 4, -4, 4.0])), ua) == "near"
    verdicts = {"exposure scrub": "undecided", "side scrub": "reproduced"}
    below = pair(np.array([-4, -5, -4, -3.0]))
    text, past, whole = told.pushed({"scrub": below}, ["scrub", "ssd"], ua, np.zeros(4), verdicts)
    assert "**not past it**" in text and "less sure of the forget set by 2" in text
    assert "*not tested in that sense*" in text and "undecided" not in text
    assert past == {} and whole == [] and text.endswith("on the tuning seeds: SSD.")


def test_a_half_that_is_refuted_past_the_aim_is_named():
    ua = np.array([15.0, 16, 14, 15])
    beyond = {"UA": np.c_[ua, ua + [8, 9, 8, 7]], "side": np.tile([3.0, 3.0], (4, 1)),
              "exposure": np.tile([0.01, 0.03], (4, 1)) + [[0.001], [0], [-0.001], [0]]}
    verdicts = {"exposure scrub": "reproduced", "side scrub": "not reproduced"}
    text, past, whole = told.pushed({"scrub": beyond}, ["scrub"], ua, np.zeros(4), verdicts)
    assert "the opposite of a half for SCRUB (side)" in text and "not tested" not in text
    apart = dict(clearly=["SSD"], further=["SCRUB"])
    said = told.in_this_run(apart, ["SSD"], past, whole, ["scrub", "ssd"])
    assert "shown for none; not tested in that sense: SSD." in said
    assert "loss attack: fine-tuning, " in said and "differ: SSD." in said


def test_chance_between_two_samples_is_the_binomials():
    rng = np.random.default_rng(0)
    a, b = (100 * rng.binomial(n, 0.15, 4000) / n for n in (500, 1500))
    spread = told.by_chance((15, 15), (500, 1500))
    assert (abs(a - b) < spread).mean() == pytest.approx(0.95, abs=0.01)


def test_an_auc_is_set_beside_that_of_the_same_seeds_retrained_model():
    runs_ = pd.DataFrame({"kind": ["random"] * 4, "seed": [1, 1, 2, 2],
                          "method": ["retrained", "ssd"] * 2, "AUC": [0.5, 0.53, 0.48, np.nan]})
    found = exposure.beside_retraining(runs_)
    np.testing.assert_allclose(found.above, [0, 0.03, 0, np.nan])
    assert "above" not in runs_


def test_what_a_method_of_ones_own_is_told_follows_the_paired_differences():
    seeds, small = range(4), np.array([0.0, 0.001, -0.001, 0.0])
    g = {"finetune": pd.Series([3.0, 3.1, 2.9, 3.0], index=seeds)}
    found = pd.DataFrame({"gap": [1.0, 1.2, 0.8, 1.0], "AUC": 0.55 + small,
                          "exposure": [0.1, -0.1, 0.1, -0.1], "visits": 30, "cpu": 0.4},
                         index=seeds)
    known = pd.DataFrame({"method": ["retrained", "finetune"], "visits": [100, 25],
                          "cpu": [1.0, 0.2]})

    def said(runs_, auc):
        return told.own("your method", runs_, g, auc, np.zeros(4), known)

    gap, meaning = said(found, 0.5 + small[::-1])
    assert "your method" in gap and "fine-tuning: -2" in gap and "NegGrad+" not in gap
    assert "at 0.30 of retraining's visits and 0.40 of its CPU time" in gap
    assert "AUC of the loss attack is above" in meaning
    assert meaning.endswith("above 0.5 is shown for the loss attack.")
    meaning = said(found.assign(AUC=0.5 + small), 0.45 + small[::-1])[1]
    assert "AUC of the loss attack is above" in meaning
    assert meaning.endswith("above 0.5 is not shown.")
    meaning = said(found.assign(AUC=0.5), 0.5 + small)[1]
    assert "Neither attack is shown" in meaning and "is above" not in meaning


def test_winners_of_single_seeds_are_told_with_their_paired_difference():
    ranked = pd.DataFrame({"seed": [1, 1, 2, 2, 3, 3], "method": ["ssd", "scrub"] * 3,
                           "gap": [1.0, 2, 2, 1, 1, 2]})
    g = {m: part.set_index("seed").gap for m, part in ranked.groupby("method")}
    text = told.winners(ranked, g)
    assert "SSD (2×), SCRUB (1×)" in text and "does not decide between" in text
    apart = tables.points(g["scrub"] - g["ssd"])
    assert f"the mean gap of SCRUB less that of SSD is {apart}" in text
    assert told.winners(ranked[ranked.seed != 2], g) == (
        "Asked alone, seeds name SSD (2×) the closest.")


def test_a_roc_curve_ends_in_both_corners_and_its_area_is_the_auc():
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(1, 1, 40).round(1), rng.normal(0, 1, 30).round(1)
    fpr, tpr = plots.rates(inside, outside)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    area = ((tpr[1:] + tpr[:-1]) / 2 * np.diff(fpr)).sum()
    assert area == pytest.approx(basics.auc(inside, outside))
    one = pd.DataFrame({"scores": [[(1.0, inside, outside)], None]})
    middle = plots.mean_tpr(one)
    assert middle[-1] == 1 and (np.diff(middle) >= 0).all()
    assert middle[50] == max(t for f, t in zip(fpr, tpr, strict=True) if f <= 0.5)
    assert np.isnan(plots.mean_tpr(one[1:])).all()


def test_exposure_of_lost_runs_is_nan_and_the_side_has_a_sign():
    sure, unsure = np.tile([0.9, 0.1], (20, 1)), np.tile([0.6, 0.5], (20, 1))
    table_ = pd.DataFrame({"method": ["a", "b", "a"], "inside": [sure, sure, None],
                           "outside": [unsure, unsure, None]})
    found = exposure.of_runs(table_, lambda a, b: 0.25, methods=["a"])
    np.testing.assert_equal(found.exposure.to_numpy(), [0.25, np.nan, np.nan])
    np.testing.assert_allclose(found.side.to_numpy(), [30, 30, np.nan])


def test_a_lost_run_has_no_auc():
    assert np.isnan(basics.over_kinds(basics.auc, None))
    two = [(0.25, np.array([1.0]), np.array([0.0])), (0.75, np.array([0.0]), np.array([1.0]))]
    assert basics.over_kinds(basics.auc, two) == 0.25


def test_each_method_has_its_own_strengths_on_the_slider():
    method = widgets.dropdown("method", list(GRID))
    request, step = widgets.dropdown("request", ["random", "class"]), widgets.slider("s", [("", 0)])
    plots.follow(method, request, step, GRID)
    assert [text for text, _ in step.options] == ["0.1", "0.2", "0.3"]
    step.value = 2
    method.value = "ssd"
    assert [text for text, _ in step.options] == ["9", "3"] and step.value == 0
    request.value = "class"
    assert [text for text, _ in step.options] == ["2", "1"]


@pytest.fixture(scope="module")
def world():
    data = lk.data.load("digits", n_train=300, n_test=100)

    def build(seed):
        return lk.models.build("mlp", data, seed, hidden=16)

    def measures(model, d, forget, reference=None):
        row = lk.measure.evaluate(model, d, forget)
        return row | ({"gap": lk.measure.gap(row, reference)} if reference else {})

    made = runs.World(data, build, dict(epochs=3, lr=0.1, batch_size=32), 0.1, {5: 1}, measures)
    made.refs = {5: runs.references(made, 5)}
    return made


def test_the_references_are_labkits(world):
    d, ref = world.data.resplit(5), world.refs[5]
    forget = d.forget_random(0.1, 5)
    assert torch.equal(ref["requests"]["random"], forget)
    again = lk.unlearn.retrain(world.build(5), d, forget, build=world.build, seed=5, **world.recipe)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(),
                                                 ref["models"]["random"].parameters(), strict=True))
    assert set(d.y[ref["requests"]["class"]].tolist()) == {1}
    assert "gap" not in ref["rows"]["random"] and ref["rows"]["fresh"]["gap"] >= 0


def test_a_diverged_run_is_lost_and_told_as_nan(world):
    def burst(model, data, forget):
        raise lk.Diverged("too much")

    found = runs.own(world, {"a": burst, "b": lambda m, d, f: copy.deepcopy(m)}, [5])
    assert np.isnan(found.gap[0]) and found.scores[0] is None and found.inside[0] is None
    assert found.gap[1] == pytest.approx(world.refs[5]["rows"]["original"]["gap"])


def test_one_function_under_two_names_runs_once(world):
    calls = []

    def method(model, data, forget):
        calls.append(1)
        return copy.deepcopy(model)

    found = runs.own(world, {"yours": method, "the course's": method}, [5])
    assert found.method.tolist() == ["yours", "the course's"] and len(calls) == 1


def test_the_same_batches_keep_two_trainings_together(world):
    batches = EXERCISES["1.3"].solution
    recipe = dict(epochs=3, lr=0.05, batch_size=32, seed=5)
    nobody = torch.empty(0, dtype=torch.long)
    found = runs.same_batches(world.build, batches, world.data, nobody, **recipe)
    assert found["same"] == 0 < found["other"]


# ---- the project

METHOD = EXERCISES["1.6"]


def judged(function):
    return check(METHOD, function)


def test_the_floor_is_fine_tuning_and_doing_nothing_stays_below():
    def nothing(model, data, forget):
        return copy.deepcopy(model)

    found = judged(nothing)
    assert found.state == "wrong" and "at least" in found.what
    for _, (model, data, forget) in METHOD.cases():
        floor = METHOD.floor(model, data, forget)
        assert METHOD.measure(model, model, data, forget) < floor < 0
        assert METHOD.measure(METHOD.solution(model, data, forget), model, data,
                              forget) > floor + 0.2


def test_to_retrain_is_over_the_price():
    def retrain(model, data, forget):
        student = copy.deepcopy(model)
        for p in student.parameters():
            torch.nn.init.normal_(p, std=0.05, generator=torch.Generator().manual_seed(0))
        return lk.training.fit(student, data.x, data.y, epochs=12, lr=0.15, seed=0, skip=forget)

    found = judged(retrain)
    assert found.state == "wrong" and "at most" in found.what and "visits" in found.what


def test_another_network_is_refused_in_a_sentence():
    found = judged(lambda model, data, forget: torch.nn.Linear(2, 2))
    assert found.state == "wrong" and "copy of the given model" in found.what


def test_labkits_methods_run_on_the_small_case():
    model, data, forget = METHOD.cases()[0][1]
    for name in ("neggrad_plus", "random_labels", "scrub", "first_order"):
        student = lk.unlearn.METHODS[name](model, data, forget)
        assert student.visits > 0 == model.visits


def test_a_walk_uphill_ends_where_the_network_answers_nan():
    d = lk.data.load("fashion", n_train=60, n_test=40, device="cpu")
    model = lk.models.build("mlp", d, 0, hidden=4)

    def step(network, x, y, lr):
        lost = copy.deepcopy(network)
        if network is not model:  # the second step loses it
            for p in lost.parameters():
                p.data.fill_(torch.nan)
        return lost

    walk, _ = runs.uphill(step, model, d, torch.arange(5), lr=0.1, steps=4)
    assert list(walk.step) == [0, 1] and walk.notna().all(axis=None)
