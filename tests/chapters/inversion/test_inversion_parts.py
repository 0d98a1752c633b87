"""The chapter's loops: worlds, the rehearsed search, crowds and their priors, records,
figures.
"""

import copy
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import labkit as lk
from course import figures
from course.chapters import inversion as here
from course.chapters.inversion.crowds import Search, search_with
from course.exercises import EXERCISES, check
from labkit import attack
from labkit.measure import psnr

CFG = SimpleNamespace(nets={"mlp": {"hidden": 12}, "strided_cnn": {}, "small_cnn": {}}, epochs=1,
                      lr=0.05, deleted=3, steps=8, sweep_steps=8)


@pytest.fixture(scope="module")
def data():
    return lk.data.load("fashion", at_most=(900, 200), moments="test", device="cpu")


@pytest.fixture(scope="module")
def prepared(data):
    return here.prepare(data, [3, 4], 9, CFG)


# ------------------------------------------------------------------------------------------ worlds


def test_a_world_keeps_private_and_public_rows_apart(data, prepared):
    (w, other), rehearsal = prepared
    assert len(w.pool.y) == 300 and len(w.y) == 600 and w.pool.x.dtype == torch.float64
    both = torch.cat([w.pool.x.float(), w.x])
    assert torch.equal(both, w.data.x) and torch.equal(torch.cat([w.pool.y, w.y]), w.data.y)
    assert torch.equal(w.pixels, data.pixels(w.pool.x[:3].float()))
    for c in range(data.n_classes):
        torch.testing.assert_close(w.means[c], data.pixels(w.x[w.y == c]).mean(0))
    torch.testing.assert_close(w.guess, psnr(w.means[w.label], w.pixels))
    assert set(w.nets) == set(other.nets) == set(CFG.nets)
    assert set(rehearsal.nets) == {"mlp", "strided_cnn"}
    assert not torch.equal(w.pool.y, rehearsal.pool.y)


def test_exact_unlearning_in_one_step_leaves_what_the_formulas_say(prepared):
    w, n = prepared[0][0], 8
    pair = here.retrained(w, "mlp", n)
    start = pair["informed"][0]
    gradients = torch.stack([here.true_gradient(w, start, j) for j in range(n)])
    for j in w.rows:
        rest = gradients[[i for i in range(n) if i != j]].mean(0)
        plain = 1e-3 / n * (gradients[j] - rest)
        torch.testing.assert_close(pair["plain"][1][j], plain, rtol=1e-5, atol=1e-12)
        torch.testing.assert_close(pair["informed"][1][j], 1e-3 * gradients[j], rtol=1e-5,
                                   atol=1e-12)


def test_a_kept_order_leaves_the_place_of_the_row_empty(prepared):
    w, recipe = prepared[0][0], dict(epochs=2, lr=1e-2, batch_size=16)
    before, kept = here.retrained(w, "mlp", 32, keep_order=True, **recipe)["plain"]
    fresh = here.retrained(w, "mlp", 32, **recipe)["plain"][1]
    order, net = torch.Generator().manual_seed(0), copy.deepcopy(w.nets["mlp"]).double()
    for _ in range(2):
        for batch in torch.randperm(32, generator=order).split(16):
            batch = batch[batch != 1]  # row 1 is deleted; all others keep their batch
            loss = torch.nn.functional.cross_entropy(net(w.pool.x[batch]), w.pool.y[batch])
            weights = list(net.parameters())
            for p, g in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                p.data -= 1e-2 * g
    torch.testing.assert_close(kept[1], attack.difference(before, net), rtol=1e-5, atol=1e-12)
    assert not torch.allclose(kept, fresh)


def test_ascent_is_a_gradient_and_others_leaves_one_row_out(prepared):
    w = prepared[0][0]
    theta = here.tune(w, "mlp", list(range(8)))
    step = attack.difference(theta, here.ascend(w, theta, 1, lr=0.1))
    assert here.cosine(step, here.true_gradient(w, theta, 1)) > 1 - 1e-9
    assert here.others(4, 2) == [0, 1, 3]
    with pytest.raises(AssertionError):
        here.others(4, 4)


# -------------------------------------------------------------------------------------- the search


def test_the_rehearsal_takes_the_best_prior_for_each_kind_of_update(prepared):
    attacker, tried = here.rehearse(prepared[1])
    assert set(tried) == {("strided_cnn", "noisy", False), ("mlp", "noisy", False),
                          ("strided_cnn", "clean", True), ("strided_cnn", "clean", False),
                          ("mlp", "clean", False)}
    for (net, update), tv in attacker.tv.items():
        row = tried[net, update, False]
        assert row[here.TVS.index(tv)] == max(row)
    signed = max(tried["strided_cnn", "clean", True]), max(tried["strided_cnn", "clean", False])
    assert attacker.signed == (signed[0] > signed[1])
    table = here.rehearsal_table(tried)
    assert len(table) == 5 and f"prior {here.TVS[-1]:g}" in table


def test_search_is_invert_with_the_rehearsed_settings_and_gain_is_over_the_mean(prepared):
    w = prepared[0][0]
    attacker = here.Attacker({("mlp", "clean"): 0.01, ("mlp", "noisy"): 0.1}, True)
    theta = here.tune(w, "mlp", list(range(8)))
    aims = torch.stack([attack.difference(theta, here.ascend(w, theta, j)) for j in w.rows])
    how = dict(shape=w.data.shape, mean=w.data.mean, std=w.data.std, seed=w.seed, signed=True)
    for update, tv in (("clean", 0.01), ("noisy", 0.1)):
        found = attacker.search(w, theta, aims, update=update)
        plain = attack.invert(copy.deepcopy(theta).float(), aims, w.label[:, None], steps=8, tv=tv,
                              **how)
        assert torch.equal(found.images, plain.images)
    twice = SimpleNamespace(images=torch.cat([found.images, w.means[w.label][:, None]]))
    gains = here.gain(w, twice)
    np.testing.assert_allclose(gains[:3], psnr(found.images[:, 0], w.pixels) - w.guess, rtol=1e-5)
    np.testing.assert_allclose(gains[3:], 0, atol=1e-5)


def test_the_closed_form_rebuilds_all_rows_and_a_wrong_formula_does_not(prepared):
    off, gains = here.closed_form(prepared[0], attack.leak)
    assert off < 1e-5 and len(gains) == 6 and gains.min() > 40
    assert here.closed_form(prepared[0], lambda m, u: -attack.leak(m, u))[0] > 0.1


# ------------------------------------------------------------------------------------------ crowds


def test_a_crowd_is_sorted_within_a_label_only(prepared):
    c = here.crowd(prepared[0][0], 4)
    assert c.aims.shape[0] == 2 and len(c.pixels) == 8
    turned = torch.cat([c.pixels[:4].flip(0), c.pixels[4:].flip(0)])
    found = here.in_order(c, turned)
    for g in torch.arange(8).view(2, 4):
        for i in g.tolist():
            alike = g[c.label[g] == c.label[i]].tolist()
            assert any(torch.equal(found[i], turned[j]) for j in alike)
    assert here.gains(c, c.pixels.clone()) == pytest.approx(
        (psnr(c.pixels, c.pixels) - c.guess).tolist())


def test_search_with_a_smooth_prior_is_the_notebooks_search(prepared):
    w = prepared[0][0]
    c = here.crowd(w, 4)
    mine = here.with_prior(c, here.smooth(0.01))
    theirs = here.Attacker({("mlp", "clean"): 0.01}).search(w, c.model, c.aims,
                                                            c.label.view(-1, 4), steps=16)
    torch.testing.assert_close(mine, theirs.images.flatten(0, 1), rtol=0, atol=1e-3)
    assert not torch.equal(mine, here.with_prior(c, here.no_prior))


def test_a_strong_prior_wins_over_the_update(prepared):
    c = here.crowd(prepared[0][0], 8)
    found = search_with(c, lambda x: 1e5 * (x - 0.25).square().mean((1, 2, 3)), steps=150)
    torch.testing.assert_close(found, torch.full_like(found, 0.25), rtol=0, atol=0.02)


def test_the_search_of_the_project_is_itself_when_copied(prepared):
    search = Search(here.crowd(prepared[0][0], 8), 4)
    assert copy.deepcopy(search) is search and repr(search) == "the search"
    assert len(search.judge(search(lambda x: 0 * x.sum((1, 2, 3))))) == 8


def test_the_prior_is_rehearsed_on_requests_of_the_size_it_is_used_for(prepared):
    w, attacker = prepared[1], here.Attacker({("mlp", "clean"): 0.0})
    weights, tried = here.rehearse_crowds(attacker, w, (2, 8))
    assert set(weights) == set(tried) == {2, 8}
    for u, row in tried.items():
        assert row[here.TVS.index(weights[u])] == max(row)
        gained = here.crowd_gains(attacker, {u: here.TVS[0]}, (w, u))
        c = here.crowd(w, u)
        found = attacker.search(w, c.model, c.aims, c.label.view(-1, u), steps=16)
        assert gained == pytest.approx(here.gains(c, found.images.flatten(0, 1)))
    assert not np.allclose(tried[2], tried[8])
    in_crowd = here.crowd_sizes(attacker, weights, [w, prepared[0][0]])
    assert {u: len(g) for u, g in in_crowd.items()} == {2: 16, 8: 16}
    assert in_crowd[8][8:] == pytest.approx(here.crowd_gains(attacker, weights,
                                                             (prepared[0][0], 8)))
    table = here.crowd_table({2: np.array([6.0, 4, 5, 1])}, {2: 0.1}, [0, 0, 1, 1])
    assert table["at least 5 dB, %"][0].startswith("50 [")


PROJECT = EXERCISES["5.5"]


def test_the_project_asks_for_more_than_any_smooth_prior_and_less_than_its_solution():
    case = PROJECT.cases()[0][1]
    floor, baselines = PROJECT.floor(*case), [here.no_prior, *map(here.smooth, here.TVS)]
    reached = [PROJECT.measure(answer(*case), *case) for answer in baselines]
    best = PROJECT.measure(PROJECT.solution(*case), *case)
    assert max(reached) < floor < best and floor == pytest.approx((max(reached) + best) / 2)


def test_the_project_takes_another_prior_and_says_how_far_one_gets():
    def gaussian(search, public, classes, label):
        mean = torch.stack([public[classes == c].mean(0) for c in label])
        return search(lambda x: 0.3 * (x - mean).square().div(
            0.3 * public.var(0) + 0.1).mean((1, 2, 3)) / 10 + 0.01 * attack.total_variation(x))

    def smooth(search, public, classes, label):
        return search(lambda x: 0.1 * attack.total_variation(x))

    right, short = check(PROJECT, gaussian), check(PROJECT, smooth)
    assert right.state == "right", right.what
    assert short.state == "wrong" and "the mean gain over the class mean (dB) is" in short.what


# ----------------------------------------------------------------------------- sweeps and records


def test_records_of_exact_unlearning(prepared):
    worlds = prepared[0]
    attacker = here.Attacker({("mlp", "clean"): 0.0, ("mlp", "noisy"): 0.1})
    grid = [(8, 1, "gentle"), (64, 5, "gentle"), (64, 5, "ordinary"), (64, 5, "large steps"),
            (64, 5, "small batches")]
    sweep = pd.DataFrame(sum((here.exact_records(attacker, (i, w, "mlp", grid))
                              for i, w in enumerate(worlds)), []))
    assert len(sweep) == 2 * 3 * (5 + 2)  # informed differences of the gentle recipe only
    one = sweep[(sweep.kind == "informed") & (sweep.N == 8)]
    assert one.cosine.min() > 0.999  # one step
    parts = here.exact_parts(sweep, [8, 64], [5])
    small = sweep[(sweep.N == 8) & (sweep.kind == "plain")].gain
    np.testing.assert_array_equal(parts["small"], small)
    np.testing.assert_array_equal(parts["large"], sweep[sweep.recipe == "ordinary"].gain)
    costs = here.recipe_costs(sweep, [5])
    np.testing.assert_allclose(costs["ordinary"], parts["large-gentle"] - parts["large"])
    np.testing.assert_allclose(costs["surplus"], costs["ordinary"] - costs["large steps"]
                               - costs["small batches"])
    assert len(here.rank_correlations(sweep)) == 6
    fig = here.exact_figure(figures, sweep, [64], [5], here.sureness(worlds),
                            [w.seed for w in worlds for _ in w.rows])
    assert len(fig.axes[1].lines[0].get_xdata()) == 6


def test_one_thing_is_changed_at_a_time():
    rows = [dict(i=0, j=j, net="mlp", kind="plain", N=n, epochs=e, recipe=r,
                 gain=100 * (r == "gentle") + 10 * e + n / 64 + j)
            for j in range(2) for n in (8, 64, 256) for e in (1, 5)
            for r in here.RECIPES]
    alone = here.one_thing_at_a_time(pd.DataFrame(rows), [8, 64, 256], [1, 5], [5])
    changes = [(new - old).tolist() for old, new in alone.values()]
    assert changes == [pytest.approx([v] * 2) for v in (3.875, 3.875, 40, -100, -100, -100)]
    table = here.change_table(alone, [0, 1])
    assert table["what alone is changed"].tolist() == list(alone)
    assert [float(t.split()[0]) for t in table.change] == pytest.approx(
        [3.9, 3.9, 40, -100, -100, -100])


def test_a_longer_search_has_twice_the_iterations_and_the_same_differences(prepared):
    w, attacker = prepared[0][0], here.Attacker({("mlp", "noisy"): 0.1})
    job = 0, w, "mlp", [(8, 1, "ordinary")]
    short, longer = (pd.DataFrame(f(attacker, job)) for f in
                     (here.exact_records, here.searched_longer))
    assert short.cosine.tolist() == longer.cosine.tolist() and len(longer) == 3
    assert w.cfg.sweep_steps == 8
    pair = here.retrained(w, "mlp", 8, epochs=1, **here.RECIPES["ordinary"])["plain"]
    found = attacker.search(w, *pair, update="noisy", steps=16)
    assert longer.gain.tolist() == pytest.approx(here.gain(w, found).tolist())
    assert short.gain.tolist() != longer.gain.tolist()


def test_ranks_within_a_seed_ignore_what_differs_between_seeds():
    found = here.rank_by_seed([1, 2, 3, 11, 12, 13], [6, 5, 4, 27, 28, 29], [1, 1, 1, 2, 2, 2])
    assert found == pytest.approx([-1, 1])


def test_sureness_is_the_label_probability(prepared):
    worlds = prepared[0]
    w = worlds[1]
    p = lk.training.predict(w.nets["mlp"], w.data.x[:3]).softmax(1)
    np.testing.assert_allclose(here.sureness(worlds)[3:], p[torch.arange(3), w.label])


def test_every_method_has_a_record_for_each_row(prepared):
    w = prepared[0][0]
    attacker = here.Attacker({("mlp", "clean"): 0.0, ("mlp", "noisy"): 0.1})
    rows, untouched = here.method_records(attacker, (0, w))
    frame = pd.DataFrame(rows)
    assert untouched and set(frame.groupby("name").size()) == {3} and frame.name.nunique() == 8
    assert frame[frame.name == "ascent, 1 step"].cosine.min() > 0.999
    by = {name: g.gain.to_numpy() for name, g in frame.groupby("name")}
    fig = here.methods_figure(figures, by, ("another start",), [0, 1, 2])
    means = [g.mean() for g in by.values()]
    labels = [t.get_text() for t in fig.axes[0].get_yticklabels()]
    assert labels[0] == list(by)[int(np.argmin(means))]


def test_rounding_and_networks(prepared):
    w = prepared[0][0]
    attacker = here.Attacker({("mlp", "clean"): 0.0})
    bits = here.rounded(attacker, w)
    assert bits.shape == (3, 4) and bits[:, 0].min() > 0.99 > bits[:, 1].mean()
    assert not np.array_equal(bits[:, 2], bits[:, 3])  # another difference, another picture
    assert len(here.on_network(attacker, (w, "mlp"))) == 3


def test_three_texts_for_three_intervals():
    texts = "above", "open", "below"
    for values, wanted in (([5, 6, 5], "above"), ([-5, 6, 1], "open"), ([-5, -6, -5], "below"),
                           ([7], "open")):
        assert here.tell(values, list(range(len(values))), *texts) == wanted
    assert here.pm([4.0], [0]) == "4.0" and here.pm([4, 5, 6], [0, 1, 2], "+").startswith("+5.0 [")
    assert here.pm([0.9, 0.8, 0.9], None, limits=(-1, 1), digits=2).startswith("0.87 [0.")
    _, low, high = lk.measure.interval([4, 5, 6], [0, 1, 2])
    assert here.half_width([4, 5, 6], [0, 1, 2]) == pytest.approx((high - low) / 2)


def test_what_is_told_turns_with_the_numbers():
    of = [0, 0, 1, 1, 2, 2]
    up, open_ = np.array([5.0, 6, 5, 6, 5, 7]), np.array([5.0, -6, 1, 0, -1, 2])
    for more, wanted in ((up, "hides part"), (open_, "is open"), (-up, "it is not the fresh")):
        assert wanted in here.order_told(more, of)
    bits = np.c_[np.ones(6), np.full(6, 0.5), up + 10, up]
    bits[:, 3] += open_ / 100  # else the differences have no spread
    assert here.rounding_told(bits, of).endswith("weakens the trace. It does not destroy it.")
    bits[:, 3] -= 20
    assert here.rounding_told(bits, of).endswith("trace. No more than a guess is left.")
    sure, seeds = np.array([0.2, 0.5, 0.7, 0.95] * 3), np.repeat([0, 1, 2], 4)
    text, less = here.sureness_told(sure, np.array([4.0, 2, 3, 1, 3, 4, 1, 2, 5, 2, 3, 0]), seeds)
    assert less and "gain 4.0 dB (n = 3), those with at least 0.9 1.0 dB (n = 3)" in text
    text, less = here.sureness_told(np.full(6, 0.7) + up / 100, open_, of)
    assert less == "" and "n = " not in text
    assert "0.1 is the largest" in here.edge_told([0, 0.1]) and here.edge_told([0, 0.01]) == ""
    tried = {("mlp", "noisy", False): [9.0, 10.0], ("mlp", "clean", False): [30.0, 31.0]}
    chosen = here.Attacker({("mlp", "noisy"): 0.1, ("mlp", "clean"): 0.0})
    for guess, wanted in ((10.1, "hand in the mean."), (9.9, "has 9.9 dB there.")):
        w = SimpleNamespace(rows=range(3), guess=torch.tensor([guess]))
        assert here.rehearsal_told(chosen, tried, w).endswith(wanted)
    for close, above in ((0.999, True), (0.5, False)):
        told = here.sizes_told(pd.DataFrame(dict(side=[2, 4], n=400, columns=[4, 16], rebuilt=close,
                                                 mean=0.3)))
        assert told.startswith("With 25 rows") and ("above the rule" in told) is above
    told = here.tables_told({"medical": up / 10, "financial": open_ / 10}, dict.fromkeys(
        ("medical", "financial"), of))
    assert "0.57 [" in told and told.endswith("on the financial table.")


def test_causes_are_told_by_what_the_table_decides():
    of, none = [0, 0, 1, 1, 2, 2], np.zeros(6)
    up, open_ = np.array([5.0, 6, 5, 6, 5, 7]), np.array([5.0, -6, 1, 0, -1, 2])
    costs, rows, epochs = here.causes_told({"few": (open_, none), "many": (up, none),
                                            "1 to 10": (none, up), "recipe": (9 * up, none)}, of)
    assert "first: recipe; many. The first costs 45.3 [" in costs and costs.endswith("the second.")
    assert rows.endswith("are open.") and "do not lower it" in epochs and "From 1 to 10" in epochs
    costs, rows, epochs = here.causes_told({"few": (up + open_ / 9, none), "many": (up, none),
                                            "1 to 10": (none, open_)}, of)
    assert costs.endswith("which costs more is open.") and rows == "" and epochs.endswith("] dB.")
    assert "none that can be told" in here.causes_told(dict.fromkeys("abc", (open_, none)), of)[0]


# ----------------------------------------------------------------------------------- linear models


def test_trials_of_linear_models(data):
    sources = {name: lk.data.load(name, moments="test") for name in here.TABLES}
    jobs, side = here.linear_jobs(sources | {"fashion": data}, "fashion", [1], 2)
    sizes = sorted({job[5] for job in jobs if job[0] == "fashion" and job[2] == "square"})
    assert side in sizes and all(550 / s**2 >= 5 for s in sizes)
    assert 550 / side**2 >= 60000 / 784 or side == sizes[0]
    rows = here.linear_trial(("fashion", data, "square", 1.0, 1, side, 2))
    assert len(rows) == 2 and min(r["rebuilt"] for r in rows) > 0.9
    before, after, public, n, row, mean = here.one_deletion(data, 1, 1, 1.0, side)
    mine = EXERCISES["5.4"].solution(before, after, public, n, 1.0)
    assert here.cosine(mine, row) == pytest.approx(rows[1]["rebuilt"], abs=1e-6)
    assert here.cosine(mean.double(), row) == pytest.approx(rows[1]["mean"], abs=1e-6)
    np.testing.assert_allclose(here.rule_of_thumb([2.0]), 1 / np.sqrt(2))


def test_what_a_table_gives_over_the_better_guess():
    rows = [dict(data=name, seed=s, j=0, penalty=p, rebuilt=0.9, mean=0.1 * p, changed=0.2)
            for name in here.TABLES for s in (1, 2) for p in (1, 3)]
    values, seeds = here.over_guesses(pd.DataFrame(rows))
    assert values["medical"] == pytest.approx([0.65, 0.65]) and seeds["financial"] == [1, 2]


# --------------------------------------------------------------------------------------- pictures


def test_a_gallery_has_a_cell_for_each_picture_and_says_what_it_is_told(prepared):
    w = prepared[0][0]
    fig = here.gallery([list(w.pixels), list(w.means[:3])], names=("a", "b"), titles="xyz",
                       under=[["", "", ""], ["1 dB", "2 dB", "3 dB"]])
    axes = np.array(fig.axes).reshape(2, 3)
    assert [ax.get_xlabel() for ax in axes[1]] == ["1 dB", "2 dB", "3 dB"]
    assert [ax.get_title() for ax in axes[0]] == list("xyz")
    assert (axes[0, 0].get_ylabel(), axes[1, 0].get_ylabel()) == ("a", "b")
    np.testing.assert_allclose(axes[1, 2].images[0].get_array(), w.means[2][0])
    assert here.decibels(w.means[0], w.pixels[0]).endswith(" dB")


def test_the_explorer_shows_every_state_it_was_given(prepared):
    w, steps, hows = prepared[0][0], [0, 4, 8], here.unlearners([8])
    films = {u: here.frames(here.Attacker(), (w, u, hows, steps)) for u in (1, 2)}
    assert set(films[2]) == {(how, tv, s) for how in hows for tv in here.TVS for s in steps}
    figure, redraw = here.panel(w, films)
    text = redraw(8, 0.01, 2, "ascent")
    assert text.startswith("ascent, 2 rows in the request, prior 0.01, after 8 iterations: ")
    over = (psnr(films[2]["ascent", 0.01, 8], w.pixels[:2]) - w.guess[:2]).mean().item()
    assert f"{over:+.1f} dB" in text
    redraw(0, 0.0, 1, "exact, N = 8")
    assert [ax.get_visible() for ax in figure.axes] == [True, False, True, False]
