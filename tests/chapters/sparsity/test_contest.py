"""The contest of notebook 12: what is measured and chosen, and that a network that diverged is a
method's lost run, counted and told, while a reference that diverges ends the notebook.

On a data set of 8 × 8 pixels.
"""

import copy
import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import labkit as lk
from course import exercises  # first: it reads the exercises of all chapters
from course.chapters import sparsity as here
from course.chapters.sparsity import exercises as worked
from course.chapters.sparsity import further, judging, trials
from labkit import measure, unlearn

BLOWN = 1e38  # finite weights of this size answer infinity and NaN
LOST = {"UA": 100.0, "MIA": 100.0, "RA": 0.0, "TA": 0.0}
RECIPE = dict(epochs=3, lr=0.05, batch_size=64)


def find_mask(model, sparsity):
    return here.magnitude_mask(model, sparsity)


def one_shot(build, d, seed, mask):
    early = lk.training.fit(build(seed), d.x, d.y, seed=seed, span=(0, 1), **RECIPE)
    return here.fit_masked(early, mask, d.x, d.y, seed=seed, span=(1, 3), **RECIPE)


@pytest.fixture(scope="module")
def made():
    """Data, and the dense and the sparse network of one split, as the notebook makes them."""
    data = lk.data.load("digits", at_most=(300, 100), device="cpu")

    def build(seed):
        return lk.models.build("strided_cnn", data, seed, width=4)

    study = here.Study(data=data, build=build, recipe=RECIPE, mask=find_mask, prune=one_shot,
                       disparity=here.disparity, methods={}, grid={}, fixed={})
    return SimpleNamespace(study=study, nets=trials.originals(study, (5, (0.0, 0.8))))


@pytest.fixture
def study(made):
    """A study of its own for each test: FT, l1, GA, Fisher and influence with few settings."""
    methods = {"FT": unlearn.finetune, "l1": unlearn.l1_finetune, "GA": unlearn.gradient_ascent,
               "Fisher": unlearn.fisher_forgetting, "influence": unlearn.influence}
    grid = {"FT": [dict(lr=0.01), dict(lr=0.05)], "l1": [dict(lr=0.05, gamma=1e-3)],
            "GA": [dict(lr=0.01), dict(lr=0.1)], "Fisher": [dict(alpha=a) for a in (1e-5, 1e-4)],
            "influence": [dict(scale=s) for s in (0.5, 1.0)]}
    fixed = {"FT": dict(epochs=1), "l1": dict(epochs=1), "GA": {}, "Fisher": dict(n_rows=40),
             "influence": dict(n_rows=40, cg_steps=3)}
    return here.Study(**{**vars(made.study), "methods": methods, "grid": grid, "fixed": fixed,
                         "chosen": {name: 0 for name in grid}, "done": {}})


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def blown_up(model, data, forget, **settings):
    """A network of finite weights that answers NaN."""
    bad = copy.deepcopy(model)
    with torch.no_grad():
        for p in bad.parameters():
            p.copy_(torch.full_like(p, BLOWN))
    return bad


def diverging(model, data, forget, **settings):
    raise lk.Diverged("its weights are no longer finite")


# ---- networks

def test_the_sparse_network_is_pruned_rewound_and_trained_on_as_omp_does(made):
    dense, sparse = made.nets
    theirs, mask = here.omp(made.study.build, dense.data, sparsity=0.8, seed=5, dense=dense.model,
                            **RECIPE)
    assert same(sparse.model, theirs) and all(torch.equal(sparse.mask[k], mask[k]) for k in mask)
    assert (dense.mask, dense.sparsity, sparse.sparsity) == (None, 0.0, 0.8)


@pytest.mark.parametrize("kind", [0, 1])
def test_retraining_is_labkits_under_the_same_mask(made, kind):
    net, forget = made.nets[kind], made.nets[0].data.forget_class(3)
    method = unlearn.retrain if net.mask is None else here.prune_then(unlearn.retrain, net.mask)
    theirs = method(net.model, net.data, forget, build=made.study.build, seed=5, **RECIPE)
    assert same(trials.retrain(made.study, net.data, 5, net.mask, forget), theirs)


def test_fine_tuning_under_a_mask_is_that_of_prune_then_bit_for_bit(made):
    net, forget = made.nets[1], made.nets[0].data.forget_class(3)
    how = dict(epochs=2, lr=0.05, batch_size=64)
    slow = here.prune_then(unlearn.finetune, net.mask)(net.model, net.data, forget, **how)
    quick = here.on(unlearn.finetune, net.mask)(net.model, net.data, forget, **how)
    assert same(slow, quick) and not same(quick, net.model)
    assert here.on(unlearn.finetune, None) is unlearn.finetune
    bad = copy.deepcopy(net.model)
    torch.nn.init.ones_(bad[0].weight)
    with pytest.raises(lk.LabError, match="The mask was lost"):
        here.on(unlearn.finetune, net.mask)(bad, net.data, forget, **how)


def test_training_under_a_mask_is_that_of_weight_times_mask_bit_for_bit(made):
    net, recipe = made.nets[1], dict(seed=2, momentum=0.9, weight_decay=0.05, **RECIPE)
    slow = here.detach_mask(lk.training.fit(here.attach_mask(made.nets[0].model, net.mask),
                                            net.data.x, net.data.y, **recipe), net.mask)
    quick = here.fit_masked(made.nets[0].model, net.mask, net.data.x, net.data.y, **recipe)
    assert same(slow, quick)
    assert not any(p._backward_hooks for p in quick.parameters()), "a hook was left"


@pytest.mark.parametrize("name", ["Fisher", "influence"])
def test_a_grid_along_a_line_is_what_each_setting_gives_alone(study, made, name):
    """These two go in one direction, and only the length hangs on the setting."""
    for net in made.nets:
        together = here.unlearned(study, net, 3, name, [0, 1])
        for i, (model, _) in enumerate(together):
            (alone, _), = here.unlearned(study, net, 3, name, [i])
            for p, q in zip(model.parameters(), alone.parameters(), strict=True):
                torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)
            if net.mask:
                here.check_mask(model, net.mask)


def test_a_network_that_is_there_already_is_not_trained_again(study, made):
    net, calls = made.nets[0], []
    study.methods["FT"] = lambda *a, **k: calls.append(k) or made.nets[1].model
    study.done = {(5, 0.0, 3, "FT", 0): net.model}
    found = here.unlearned(study, net, 3, "FT", [0, 1])
    assert found[0][0] is net.model and [c["lr"] for c in calls] == [0.05]


# ---- measures

def test_the_four_measures_are_labkits(made):
    for net in made.nets:
        forget = net.data.forget_class(3)
        found = here.score(net.model, net.data, forget)
        split = net.data.split(forget)
        logits, test = (lk.training.predict(net.model, x)
                        for x in (net.data.x, net.data.x_test[split.test]))
        assert list(found) == here.COLUMNS
        assert found["UA"] == pytest.approx(measure.unlearning_accuracy(logits[forget],
                                                                        net.data.y[forget]))
        assert found["RA"] == measure.accuracy(logits[split.retain], net.data.y[split.retain])
        assert found["TA"] == measure.accuracy(test, net.data.y_test[split.test])
        theirs = measure.svc_mia(net.model, net.data, forget, privacy=False)["efficacy"]
        assert found["MIA"] == pytest.approx(theirs)


def contest(study, made, **methods):
    study.methods.update(methods)
    study.probe = lambda model: 50.0
    return here.contest(study, (made.nets[0], 3, {name: [0] for name in methods}))


@pytest.mark.parametrize("bad", [blown_up, diverging])
def test_a_methods_network_that_diverged_is_a_lost_row(study, made, bad):
    rows = contest(study, made, l1=bad, GA=lambda *a, **k: study.build(1))
    by = {r["method"]: r for r in rows}
    assert [r["lost"] for r in rows] == [False, False, True, False]
    assert {c: by["l1"][c] for c in LOST} == LOST
    # claims need a number of every split
    assert np.isfinite(by["l1"]["cpu"]) and by["l1"]["digits"] == 10.0
    assert np.isnan(by["l1"]["distance"]) and np.isfinite(by["GA"]["distance"])


def test_the_gap_is_by_the_readers_function_to_retraining_of_the_same_sparsity(study, made):
    study.disparity = lambda row, reference: row["UA"] - reference["RA"]
    for net in made.nets:
        rows = here.contest(study, (net, 3, {"GA": [1]}))
        exact = trials.retrain(study, net.data, 5, net.mask, net.data.forget_class(3))
        target = here.score(exact, net.data, net.data.forget_class(3))
        assert [r["method"] for r in rows] == ["retrained", "original", "GA"]
        assert [r["gap"] for r in rows] == [r["UA"] - target["RA"] for r in rows]
        assert rows[1]["distance"] == pytest.approx(here.weight_distance(net.model, exact))


@pytest.mark.parametrize("who", ["original", "retrained"])
def test_a_reference_that_answers_nan_ends_the_notebook_with_what_to_lower(study, made, who):
    net = made.nets[0]
    bad = blown_up(net.model, None, None)
    if who == "original":
        net = net._replace(model=bad)
    else:
        study.done = {(5, 0.0, 3, "retrained", -1): bad}
    with pytest.raises(lk.LabError, match="original or a retrained network.*lower lr") as caught:
        here.parallel(partial(here.contest, study), [(net, 3, {"GA": [0]})])
    assert not isinstance(caught.value, lk.Diverged), "attempt would take it for a method's"


# ---- choosing and reading

def test_a_setting_that_diverged_once_is_not_chosen():
    runs = pd.DataFrame([("l1", 0, 1.0, False), ("l1", 0, 1.0, True), ("l1", 1, 40.0, False),
                         ("GA", 0, 5.0, False), ("GA", 1, 9.0, False)],
                        columns=["method", "setting", "gap", "lost"])
    chosen, mean = here.least({"l1": [{}, {}], "GA": [{}, {}]}, runs)
    assert chosen == {"l1": 1, "GA": 0} and mean["l1"][0] == np.inf and mean["GA"][1] == 9


def test_an_edge_of_a_grid_is_told():
    grid = {"FT": [dict(lr=r) for r in (1, 2, 3)], "l1": [dict(lr=r, gamma=g)
                                                          for r in (1, 2) for g in (1, 2, 3)]}
    assert here.at_an_edge(grid, {"FT": 1, "l1": 4}) == ["l1 (lr 2)"]
    assert here.at_an_edge(grid, {"FT": 2, "l1": 0}) == ["FT (lr 3)", "l1 (lr 1)", "l1 (gamma 1)"]


def test_every_setting_is_rehearsed_and_ft_alone_on_sparse_networks_and_for_a_tenth(study, made,
                                                                                     monkeypatch):
    gaps = {i: [1, 1, 1, 1] for i in range(4)}  # nothing is behind, so all of the race is run
    tried, jobs = raced(study, made, monkeypatch, gaps, others=1, random=True)
    count = tried.groupby(["sparsity", "asked", "method"]).setting.agg(sorted)
    for asked in (0, 3, 7, 9):
        fewer = {"FT", "l1", "GA", "Fisher"} | ({"RL", "SalUn"} if asked in (0, 7) else set())
        assert set(count[0.0, asked].index) == fewer
        assert all(places == [0, 1, 2, 3] for places in count[0.0, asked])
    assert count[0.0, "random"].to_dict() == {"FT": [0, 0, 1, 1, 2, 2, 3, 3]}  # two splits
    sparse = count[0.8].to_dict()
    assert sparse == {(asked, "FT"): [0, 1, 2, 3] for asked in (0, 7)}
    assert here.tenth_place(study.grid, tried) == 0
    assert here.tenth_place(study.grid, tried[tried.asked != "random"]) is None


def raced(study, made, monkeypatch, gaps, lost=(), others=2, random=False):
    """The table, and the jobs, of a rehearsal with these disparities. gaps: place -> one a job."""
    jobs, asked = [], [0, 3, 7, 9]  # a random tenth has the gaps of the first

    def contest(study, job):
        net, request, plan = job
        jobs.append((bool(net.mask), request, plan))
        return [dict(method=m, setting=i, sparsity=net.sparsity, asked=request, lost=(i, request)
                     in lost, gap=gaps[i][asked.index(request) if request in asked else 0])
                for m in plan for i in plan[m]]

    monkeypatch.setattr(judging, "contest", contest)
    monkeypatch.setattr(judging, "reference", lambda study, net, asked: (net.sparsity, asked))
    monkeypatch.setattr(judging, "parallel", lambda job, items, keep=None: list(map(job, items)))
    study.grid = {m: [dict(lr=i) for i in range(4)]
                  for m in ("FT", "l1", "GA", "Fisher", "RL", "SalUn")}
    return here.rehearse(study, [made.nets, made.nets], asked, tuned=2, others=others,
                         random=random), jobs


def test_the_race_leaves_out_what_cannot_win_and_chooses_as_all_runs_would(study, made,
                                                                           monkeypatch):
    gaps = {0: [9, 9, 0, 0], 1: [3, 3, 1, 1], 2: [1, 1, 4, 4], 3: [1, 2, 3, 3]}
    tried, jobs = raced(study, made, monkeypatch, gaps)
    for kind in (0.0, 0.8):
        chosen, mean = here.least(study.grid, tried[tried.sparsity == kind])
        assert chosen == {m: 1 for m in (["FT"] if kind else study.grid)}  # of the sums 18 8 10 9
        count = tried[tried.sparsity == kind].groupby(["method", "setting"]).gap.size()
        assert count["FT"].tolist() == [2, 4, 4, 4]  # the leader, 2, has 10; 0 has 18 after two
    dense = tried[tried.sparsity == 0].groupby(["method", "setting"]).gap.size()
    assert dense["Fisher"].tolist() == [4] * 4, "no network of its own for a setting: not raced"
    assert all(dense[m].tolist() == [2, 4, 4, 4] for m in ("l1", "GA", "RL", "SalUn"))
    assert study.done[5, 0.0, 7, "retrained", -1] == (0.0, 7)
    assert not any(m == "GA" and masked for masked, _, plan in jobs for m in plan)


def test_the_race_chooses_what_all_runs_choose_whatever_they_are(study, made, monkeypatch):
    runs = []
    for draw in np.random.default_rng(0).integers(0, 6, (9, 4, 4)):
        tried, _ = raced(study, made, monkeypatch, dict(enumerate(draw.tolist())))
        dense = tried[tried.sparsity == 0]
        assert set(here.least(study.grid, dense)[0].values()) == {int(draw.sum(1).argmin())}
        runs.append((dense.method == "FT").sum())
    assert max(runs) <= 16 and np.mean(runs) < 14


def test_a_setting_that_diverged_is_out_of_the_race_and_a_leader_that_diverges_wins_nothing(
        study, made, monkeypatch):
    gaps = {0: [5, 5, 5, 5], 1: [1, 1, 1, 1], 2: [0, 0, 0, 0], 3: [9, 9, 9, 9]}
    tried, _ = raced(study, made, monkeypatch, gaps, lost={(1, 0), (2, 7)})
    assert here.least(study.grid, tried[tried.sparsity == 0])[0]["FT"] == 0
    count = tried[tried.sparsity == 0].groupby(["method", "setting"]).gap.size()
    assert count["FT"].tolist()[::2] == [4, 4]


def test_kept_results_take_a_job_without_a_name(tmp_path):
    """A profile that keeps its results goes on with them."""
    jobs = partial(divmod, 7)
    assert here.parallel(jobs, [2, 3], keep=tmp_path) == [[3, 1], [2, 1]]
    assert here.parallel(partial(divmod, 0), [2, 3], keep=tmp_path) == [[3, 1], [2, 1]]


@pytest.mark.parametrize("too", [False, True])
def test_judged_networks_get_each_chosen_setting_and_ft_at_the_given_rates(study, made, monkeypatch,
                                                                      too):
    seen = []
    monkeypatch.setattr(judging, "contest", lambda study, job: seen.append(job) or [])
    monkeypatch.setattr(judging, "parallel", lambda job, items, keep=None: list(map(job, items)))
    study.grid |= {"RL": [{}], "SalUn": [{}]}
    study.chosen |= {"GA": 1, "RL": 0, "SalUn": 0}
    here.judged_runs(study, made.nets, [0, 7], 0.8, too, [0, 1])
    dense, sparse = ([plan for net, _, plan in seen if bool(net.mask) is masked]
                     for masked in (False, True))
    assert [asked for _, asked, _ in seen] == [0, 7, 0, 7]
    assert set(dense[0]) == set(study.grid) and dense[0]["GA"] == [1]
    assert set(sparse[0]) == set(study.grid) - {"l1", *(() if too else ("RL", "SalUn"))}
    assert list(dense[0]["FT"]) == list(sparse[0]["FT"]) == [0, 1]
    seen.clear()
    between = made.nets[1]._replace(sparsity=0.5)
    here.judged_runs(study, [*made.nets, between], [7], 0.8, too, [0, 1], 1)
    assert [plan for net, _, plan in seen if net is between] == [{"FT": [0, 1]}]
    assert [(net.sparsity, plan) for net, asked, plan in seen if asked == "random"] == [
        (0.0, {"FT": [1]}), (0.8, {"FT": [1]})]


def test_one_value_a_seed_is_the_mean_over_classes_at_the_chosen_setting():
    rows = [(seed, asked, s, "FT", i, 10 * seed + 4 * (asked == 7) + 100 * s + i)
            for seed in (1, 2) for asked in (0, 7) for s in (0.0, 0.5) for i in (0, 1)]
    rows += [(seed, "random", 0.0, "FT", 1, 999) for seed in (1, 2)]
    runs = pd.DataFrame(rows, columns=["seed", "asked", "sparsity", "method", "setting", "UA"])
    value = partial(here.each_seed, runs, {"FT": 1}, [2, 1])
    assert value("UA", "FT") == [23, 13] and value("UA", "FT", 0.5, 0) == [72, 62]


def test_words_of_values_of_which_some_are_lost():
    percent = partial(here.in_words, rows=30, limits=(0, 100))
    assert percent([np.nan, np.nan]) == "no value (2 of 2 diverged)"
    rows = measure.show_interval([100] * 90, clusters=[0, 1, 2] * 30, limits=(0, 100))  # 30 a class
    assert percent([7.0]) == "7" and percent([100.0] * 3) == rows != measure.show_interval(
        [100] * 3, limits=(0, 100))
    there = measure.show_interval([10, 20, 30], limits=(0, 100))
    assert percent([10.0, 20.0, 30.0, np.nan]) == f"{there} (1 of 4 diverged)"


def test_the_side_of_an_interval():
    side = partial(here.side, rows=20)
    assert [side(v) for v in ([8, 9, 10], [-8, -9, -10], [-5, 9, 1])] == [1, -1, 0]
    assert side([8, 9, 10], 20) == -1 and here.side([1.2, 1.3, 1.25], 1, limits=None) == 1


def test_the_difference_of_two_differences_is_paired():
    words, of_side = here.differ([30, 50, 40], [10, 32, 21], 20)
    assert words.startswith("19 [") and of_side == 1
    assert here.differ([10, 32, 21], [30, 50, 40], 20)[1] == -1
    assert here.differ([5, 9, 1], [6, 4, 3], 20)[1] == 0


def test_collapse_is_counted_beside_the_retrained_network_of_the_request():
    rows = [(1, asked, m, i, s, ra) for s, asked, m, i, ra in (
        (0.0, 0, "retrained", -1, 100), (0.0, 0, "FT", 3, 10), (0.0, 0, "FT", 0, 10),
        (0.0, 7, "retrained", -1, 60), (0.0, 7, "FT", 3, 40), (0.5, 0, "retrained", -1, 96),
        (0.5, 0, "FT", 3, 90), (0.0, "random", "retrained", -1, 100),
        (0.0, "random", "FT", 3, 0))]
    runs = pd.DataFrame(rows, columns=["seed", "asked", "method", "setting", "sparsity", "RA"])
    dense, sparse = here.ruin(runs, 3, 0.5).split("; ")
    assert "1 of 2 dense networks (mean RA 25 %): not forgetting but collapse" in dense
    assert "0 of 1 sparse networks (mean RA 90 %)." in sparse


def test_what_diverged_is_told_by_setting():
    runs = pd.DataFrame([("FT", 1, 0.0, True), ("FT", 1, 0.0, False), ("FT", 0, 0.0, False),
                         ("retrained", -1, 0.0, False)],
                        columns=["method", "setting", "sparsity", "lost"])
    grid = {"FT": [dict(lr=0.1), dict(lr=0.2)]}
    assert here.diverged(runs, grid).endswith("FT at lr 0.2, 0 % sparse: 1 of 2.")
    assert here.diverged(runs[~runs.lost], grid) == ""


def test_relabelling_is_told_beside_the_least_of_the_others():
    gap = {("RL", 0.0): [1, 1, 2], ("SalUn", 0.0): [2, 2, 3], ("FT", 0.0): [9, 9, 9],
           ("FT", 0.5): [5, 5, 6], ("l1", 0.0): [7, 7, 7]}

    def told(own):
        def value(column, method, s=0.0, place=None):
            return own if place == 3 else gap.get((method, s), [np.nan] * 3)

        return here.relabelling(value, lambda v: f"{np.mean(v):g}", ["FT", "l1"], 0.5, 3)

    assert "FT at 50 % sparsity," in told([6, 6, 6]) and "-4 (RL) and -3 (SalUn)" in told([6, 6, 6])
    of_its_own = told([3, 3, 4])
    assert "FT at 50 % sparsity with its own rate," in of_its_own
    assert "-2 (RL) and -1 (SalUn)" in of_its_own


def test_a_random_tenth_is_judged_at_its_own_rate_and_against_both_masks():
    study = SimpleNamespace(grid={"FT": [dict(lr=0.1), dict(lr=0.2)]},
                            disparity=lambda row, goal: abs(row["UA"] - goal["UA"]))
    tried = pd.DataFrame([("random", 0.0, "FT", 0, 5.0, False),
                          ("random", 0.0, "FT", 1, 3.0, False),
                          ("random", 0.5, "FT", 0, 1.0, False), (0, 0.0, "FT", 0, 1.0, False)],
                         columns=["asked", "sparsity", "method", "setting", "gap", "lost"])
    runs = pd.DataFrame([(seed, "random", s, m, place, gap, ua) for seed in (1, 2)
                         for s, m, place, gap, ua in (
                             (0.0, "FT", 0, 90, 90), (0.0, "FT", 1, 8, 7), (0.5, "FT", 1, 2, 12),
                             (0.0, "original", -1, 9, 1), (0.5, "original", -1, 7, 3))],
                        columns=["seed", "asked", "sparsity", "method", "setting", "gap", "UA"])
    masked = [{"new mask": {"UA": 15}}, {"new mask": {"UA": 20}}]
    parts, told = here.random_changes(study, tried, runs, [1, 2], 0.5, masked, [-1, -2], str)
    assert parts == {"old-mask": [-6, -6], "new-mask": [-5, 0], "untouched": [3, 8],
                     "less": [-5, -4]}
    assert "[-5, 0] points, of doing nothing by [3, 8]; to the old mask [-6, -6], [-2, -2]" in told


def test_shortcuts_by_hand():
    rows = [(1, 0, "retrained", -1, 0.0, 100, 90, 0.0, False)]
    rows += [(1, 0, "FT", i, s, ua, ra, gap, False) for i, s, ua, ra, gap in (
        (0, 0.0, 40, 95, 20), (1, 0.0, 100, 10, 50), (0, 0.9, 60, 85, 12))]
    rows += [(1, 0, "GA", 0, 0.0, 99.5, 60, 9, False)]
    runs = pd.DataFrame(rows, columns=["seed", "asked", "method", "setting", "sparsity", "UA", "RA",
                                       "gap", "lost"]).assign(MIA=100.0, TA=80.0)
    (which, worst), wrong, gain = here.shortcuts(runs, 0, 0.9)
    assert which == ("FT", 1) and worst.RA == 10 and gain == {0: 20}
    assert wrong == [pytest.approx((40 + 0 + 5 + 0) / 4 - 12)]


def test_parts_that_turn_with_the_second_network():
    first = {"gain": [5, 6, 7], "asr": [-5, -6, -7], "left": [1, 2, 1.5], "beyond": [1, -1, 0]}
    second = {"gain": [-5, -6, -7], "asr": [-4, -5, -4.5], "left": [8, 9, 8.5], "beyond": [3, 4, 3]}
    assert here.turned(first, second, partial(here.side, rows=30)) == (["gain", "left"], ["beyond"])


# ---- further questions

def test_the_old_and_the_new_mask_differ_in_nothing_else(made):
    net, forget = made.nets[1], made.nets[0].data.forget_random(0.1, 5)
    found = here.leaks(made.study, "random", net)
    clean = unlearn.retrain(net.model, net.data, forget, build=made.study.build, seed=5, **RECIPE)
    mask = find_mask(clean, 0.8)
    new = here.fit_masked(made.study.build(5), mask, net.data.x, net.data.y, seed=5, skip=forget,
                          **RECIPE)
    assert found["new mask"] == here.score(new, net.data, forget)
    kept = sum(int(m.sum()) for m in net.mask.values())
    assert found["common"] == pytest.approx(
        100 * sum(int((mask[k] & net.mask[k]).sum()) for k in mask) / kept)


def test_a_schedule_of_ones_line_is_l1_finetuning(study, made):
    net, forget = made.nets[0], made.nets[0].data.forget_class(3)
    study.fixed["l1"] = dict(epochs=3, batch_size=64)
    gamma = 2e-3
    line = [unlearn.l1_strength(e, 3, gamma) for e in range(3)]
    theirs = unlearn.l1_finetune(net.model, net.data, forget, gamma=gamma, lr=0.05, epochs=3,
                                 batch_size=64)
    assert here.shaped(study, net, 3, line) == here.score(theirs, net.data, forget)
    assert worked.decaying_schedule(3, sum(line)) == pytest.approx(line)


def test_the_backdoor_is_set_measured_and_removed_by_retraining():
    data = lk.data.load("digits", at_most=(600, 300), device="cpu")
    recipe = dict(epochs=10, lr=0.1, batch_size=64)

    def build(seed):
        return lk.models.build("strided_cnn", data, seed, width=8)

    def prune(build, d, seed, mask):
        return here.fit_masked(build(seed), mask, d.x, d.y, seed=seed, **recipe)

    study = here.Study(data=data, build=build, recipe=recipe, mask=find_mask, prune=prune,
                       disparity=here.disparity, methods={}, chosen={"l1": 0},
                       grid={"l1": [dict(lr=0.01, gamma=1e-4)]},
                       fixed={"FT": dict(epochs=1), "l1": dict(epochs=1)})
    rows = here.backdoored(study, here.corner_trigger(data, False), 0.1, (0.0, 0.5), [0.01], True,
                           3)
    asr = {(r["model"], r["sparsity"]): r["ASR"] for r in rows}
    assert {m for m, s in asr if s} == {"original", "retrained", "old mask", "FT 0.01"}
    assert {m for m, s in asr if not s} == {"original", "retrained", "l1", "FT 0.01"}
    assert min(asr["original", s] for s in (0.0, 0.5)) > 50
    assert max(asr["retrained", s] for s in (0.0, 0.5)) < 20
    lost = further.stamped(blown_up(build(0), None, None), data,
                           here.corner_trigger(data, False), "FT 0.01")
    assert lost == dict(ASR=100.0, SA=0.0, lost=True)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 9, 13)])
def test_the_second_network_takes_pictures_of_any_size(shape):
    net = here.three_convolutions(shape, 7)
    assert net(torch.zeros(2, *shape)).shape == (2, 7)
    assert sum(isinstance(m, torch.nn.Conv2d) for m in net) == 3


def test_the_published_disparities_follow_from_the_published_rows():
    table = {key: dict(zip(here.COLUMNS, row, strict=False)) for key, row in here.PUBLISHED.items()}
    for (method, s), row in table.items():
        assert here.disparity(row, table["retrained", s]) == pytest.approx(
            here.PUBLISHED[method, s][4], abs=0.02)


# ---- the project

def test_the_project_is_judged_by_what_plain_schedules_reach():
    project = exercises.find("12.5")
    for _, (epochs, total) in project.cases():
        plain = [worked.closeness(f(epochs, total), epochs, total)
                 for f in (worked.constant_schedule, worked.decaying_schedule)]
        best = worked.closeness(worked.sparsity_schedule(epochs, total), epochs, total)
        assert max(plain) < project.floor(epochs, total) < best
    with pytest.raises(ValueError, match="add up to"):
        worked.closeness([0.1, 0.1], 2, 0.5)
    with pytest.raises(ValueError, match="negative"):
        worked.closeness([0.6, -0.1], 2, 0.5)
    with pytest.raises(ValueError, match="one an epoch"):
        worked.closeness([0.5], 2, 0.5)


def test_the_committed_run_in_full_is_told_with_the_seeds_it_shares(monkeypatch, tmp_path):
    monkeypatch.setattr(here.said, "data_path", lambda name: tmp_path)
    assert here.in_full([2]).startswith("No run in `full` is committed")
    claims = [{"id": "sparse-ft", "units": [1, 2, 3]}]

    def told(seeds):
        record = {"started": "2026-01-02T03:04:05+00:00", "claims": claims}
        (tmp_path / "12_sparsity-full-fashion-s0.json").write_text(json.dumps(record))
        return here.in_full(seeds)

    assert "2026-01-02, from earlier cells" in told([2, 3, 4])
    assert "Of its 3 seeds 2 are" in told([2, 3, 4])
    claims.append({"id": "sparse-network", "units": [1]})
    assert "second network" not in told([2])


def test_the_grid_of_rates():
    assert "edge" in here.of_rates([1, 3, 10], 1, 2) and "between 3 and 10" in here.of_rates(
        [1, 3, 10], 1, 2)
    inside = here.of_rates([1, 3, 10], 2, 1)
    assert "edge" not in inside and "above 10" in inside
