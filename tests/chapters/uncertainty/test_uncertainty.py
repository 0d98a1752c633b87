"""The chapter's choosing, judging and gates against small cases worked out by hand; lost runs."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import labkit as lk
from course import exercises as cards
from course.chapters import uncertainty as here
from course.chapters.uncertainty import doubts, evading, exercises, gates, judging
from course.claimfile import load_claims
from labkit import attack, defend

D, K, N = 6, 3, 60


def generator(seed):
    return torch.Generator().manual_seed(seed)


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(D, K)).eval()


@pytest.fixture
def victim():
    """An untrained linear network, its split made up, whose attacker owns half of the rows."""
    g = generator(1)
    x, y = torch.randn(N + 50, D, generator=g), torch.randint(K, (N + 50,), generator=g)
    data = SimpleNamespace(x=x[:N], y=y[:N], device=x.device)
    model = network()
    targets = x[N + 40:N + 42]
    p = lk.training.predict(model, targets).softmax(1)
    return attack.Victim(7, data, model, attack.hold(data, range(0, N, 2), 8), targets, p,
                         p.argmax(1).tolist(), *((x[s], y[s]) for s in (
                             slice(N, N + 20), slice(N + 20, N + 40), slice(N + 30, None))))


GOALS = {"over": here.overconfidence, "under": lambda label: here.underconfidence(label, 0.5),
         "flip": attack.label_flip}


# ---- what is tuned


def test_the_step_is_the_largest_that_costs_little():
    rows = [{"tau": t, "TA": ta} for t, ta in ((1, 0.0), (1, -0.4), (2, -1.4), (2, 0.5), (4, -0.6),
                                               (4, -0.5), (3, -0.1), (3, -0.9))]
    assert here.provider_step(rows, at_most=0.5) == 3
    assert here.provider_step(rows, at_most=0.55) == 4
    assert here.provider_step([{"tau": t, "TA": -9} for t in (5, 2)], at_most=0.5) == 2


def test_overstatement_is_the_slope_through_the_origin():
    predicted = np.array([1.0, -2.0, 0.5, 3.0])
    rows = [{"predicted": p, "real": r} for p, r in zip(predicted, 0.3 * predicted, strict=True)]
    assert here.overstated(rows) == pytest.approx(0.3)
    slope, = np.linalg.lstsq(predicted[:, None], predicted**2, rcond=None)[0]
    assert slope > 1 and here.overstated([{"predicted": p, "real": p**2} for p in predicted]) == 1
    assert here.overstated([{"predicted": 1.0, "real": -1.0}]) == 0.05


# ---- choosing


def test_requests_do_what_they_are_chosen_for(victim):
    attacker = here.Attacker(GOALS, tau=0.05, shrink=0.5, damping=0.1)
    planned = here.plan([victim], attacker, [3, 8], few=1)
    assert set(planned) == {(0, 0), (0, 1)}
    assert {b for *_, b in planned[0, 0]} == {3, 8} and {b for *_, b in planned[0, 1]} == {8}
    for (_, j), asked in planned.items():
        for (_, _, budget), rows in asked.items():
            attack.check_request(rows, victim.held.with_budget(budget))
        def says(goal, j=j, asked=asked):
            model = here.stepped(victim, asked["first-order", goal, 8], 0.05)
            return attack.answer(victim, j, model)
        before = attack.answer(victim, j, victim.model)
        assert says("over")["p"] > before["p"] and says("under")["H"] > before["H"]
        assert says("flip")["p"] < before["p"]


def test_hingeless_is_minus_the_entropy():
    z = torch.randn(5, generator=generator(3))
    wanted = -torch.distributions.Categorical(logits=z).entropy()
    assert torch.allclose(here.hingeless(2)(z), wanted, atol=1e-6)
    assert torch.allclose(here.underconfidence(2, 0.0, 0.0)(z), wanted, atol=1e-6)


# ---- judging


def test_moves_are_against_the_mean_of_the_random_requests():
    def row(goal, p, H, **more):
        return dict(i=0, j=0, how="x", budget=4, kept=1.0, goal=goal, p=p, H=H) | more

    blank = [row(name, 0.5 + 0.1 * k, 1.0 + k) for k, name in enumerate(here.RANDOM)]
    table = here.against_random(blank + [row("over", 0.9, 0.5), row("under", 0.4, 3.5),
                                         row("flip", 0.2, 3.5, kept=0.0)])
    over, under, flip = (table[table.goal == g].iloc[0] for g in ("over", "under", "flip"))
    assert over.dp == pytest.approx(0.25) and over.move == pytest.approx(2.0)
    assert under.move == flip.move == pytest.approx(1.0) and under.dp == pytest.approx(-0.25)
    chosen = table[table.goal.isin(["over", "under", "flip"])]
    assert here.success(chosen, 0.9).tolist() == [1, 1, 0]
    assert here.success(chosen, 1.0).tolist() == [1, 0, 0]
    later = here.against_random([row("over", 0.9, 0.5)], table)
    assert later.move.tolist() == [2.0]


def _judged(H, kept=(1.0, 1.0, 1.0, 1.0), i=0, j=0):
    """Records of the four random requests to one target, retrained."""
    return [dict(i=i, j=j, how=here.SAME, budget=4, goal=g, p=0.5, H=h, kept=k)
            for g, h, k in zip(here.RANDOM, H, kept, strict=True)]


def test_chance_is_each_random_request_against_the_other_three():
    table = here.against_random(_judged((1.0, 1.0, 1.0, 2.0)) + _judged((1.0, 1.0, 1.0, 0.0), j=1)
                                + _judged((1.0, 1.0, 1.0, 2.0), (1, 1, 1, 0.0), j=2)
                                + _judged((1.0, 1.0, math.nan, 2.0), (1, 1, math.nan, 1), j=3))
    got = here.luck(table, here.SAME, 0.9).set_index(["j", "goal"])
    up, down = (got[got[g] == 1].index.tolist() for g in ("under", "over"))
    assert up == [(0, "random 4"), (3, "random 4")] and down == [(1, "random 4")]
    assert here.luck(table, here.SAME, 1.0)[["over", "under"]].to_numpy().sum() == 0


def test_a_duel_puts_both_attacks_beside_chance():
    def chosen(i, under, flip, kept):
        return [dict(i=i, j=0, how=here.SAME, budget=4, goal=g, p=0.3, H=h, kept=k)
                for g, h, k in (("under", under, 1.0), ("flip", flip, kept))]

    blank = _judged((1.0, 1.0, 1.0, 2.0)) + _judged((1.0, 1.0, 1.0, 1.0), i=1)
    asked = chosen(0, 3.0, 3.0, 0.0) + chosen(1, 1.1, 2.0, 1.0)
    got = here.duel(here.against_random(blank + asked), 0.5, names=[70, 80])
    assert got.i.tolist() == [70, 80] and got.kept.tolist() == [1, 1]
    assert got.under.tolist() == [1, 0] and got.flip.tolist() == [0, 1]
    assert got.chance.tolist() == [0.25, 0]


def test_a_contest_is_the_duel_on_one_more_network(victim):
    attacker = here.Attacker(GOALS, tau=0.05, shrink=0.5, damping=0.1)
    asked = []

    def train(data, seeds, skip):
        asked.extend(skip)
        assert set(seeds) == {victim.seed}
        return [network(k) for k in range(len(skip))]

    got = here.contest(victim, attacker, train, 0.1)
    assert len(asked) == 4 + 2 * 2 and got.i.tolist() == [7, 7]
    for j in (0, 1):
        says = [attack.answer(victim, j, network(k)) for k in range(8)]
        usual = np.mean([z["H"] for z in says[:4]])
        won = [z["H"] - usual > 0.1 and z["kept"] == 1 for z in says[4 + 2 * j:6 + 2 * j]]
        assert got.iloc[j][["under", "flip"]].tolist() == won


def test_counts_and_what_is_gained():
    assert here.count([1, 0, math.nan, 1.0]) == "2 of 4"
    assert here.share([1, 1, 0, 1], [0, 0, 1, 1]).endswith("% (3 of 4)")
    assert here.gained([0.5, 0.4, 0.6], [0, 1, 2]) == (
        lk.measure.show_interval([50, 40, 60], clusters=[0, 1, 2], limits=(-100, 100)), True)
    assert not here.gained([0.5, -0.4, 0.6], [0, 1, 2])[1]


def test_an_estimate_is_compared_with_softmax_target_by_target():
    def records(*rows):
        return pd.DataFrame([dict(i=i, j=j, move=m) for i, j, m in rows])

    sides = {("softmax", "over"): records((0, 1, 1.0), (0, 0, 2.0)),
             ("temperature", "over"): records((0, 0, 2.5), (0, 1, 0.5))}
    got = here.beyond_softmax(sides, "temperature", "over")
    assert got[["i", "j", "more"]].to_numpy().tolist() == [[0, 0, 0.5], [0, 1, -0.5]]


def test_which_prediction_fits():
    def less(*values):
        return pd.DataFrame({"i": range(len(values)), "less": values})

    up, down, near, under = (less(.2, .3, .25), less(-.2, -.3, -.25), less(.2, -.1, .1),
                             less(-.2, .1, -.1))
    assert here.which_fits([up, up]) == "b) fits."
    assert here.which_fits([down, down]).startswith("c) fits")
    assert here.which_fits([up, near]).startswith("the means speak for b),")
    assert here.which_fits([under, down]).startswith("the means speak for c),")
    assert "b) in one direction and c)" in here.which_fits([up, down])


def test_a_lost_run_is_no_success_and_leaves_the_means_alone():
    blank = [dict(i=i, j=0, how="x", budget=4, kept=1.0, goal=name, p=0.5, H=1.0, top=0.5)
             for i in range(3) for name in here.RANDOM]
    lost = [dict(i=i, j=0, how="x", budget=4, goal="under") | (
        dict.fromkeys(("p", "H", "kept", "top"), math.nan) if i == 1
        else dict(p=0.4, H=1.4 + i / 10, kept=1.0, top=0.4)) for i in range(3)]
    table = here.against_random(blank + lost)
    under = table[table.goal == "under"]
    assert here.success(under, 0.1).tolist() == [1, 0, 1]
    assert here.told(under, "move").startswith("0.5")
    assert np.allclose(here.ends(under, "move"), lk.measure.interval([0.4, 0.6])[1:])
    assert here.share(under.kept, under.i).startswith("67")


def test_a_network_that_breaks_is_a_lost_run(victim):
    request = victim.held.rows[:4]
    assert here.stepped(victim, request, 0.1) is not None
    assert here.stepped(victim, request, 1e39) is None
    with torch.no_grad():
        victim.model[1].weight.fill_(float("nan"))
    assert here.stepped(victim, request, 0.1) is None
    assert all(math.isnan(v) for v in attack.answer(victim, 0, None).values())


def test_an_estimate_says_whether_the_label_is_kept(victim):
    asked = victim.held.rows[:8]
    planned = {(0, j): {("first-order", g, 8): asked for g in ("over", "under")} for j in (0, 1)}
    seen = set()
    for tau in (0.05, 5.0):
        got = here.after_scaling([victim], planned, [here.controls_of(victim)], tau)
        model = here.stepped(victim, asked, tau)
        wanted = {j: attack.answer(victim, j, model)["kept"] for j in (0, 1)}
        assert len(got) == 4 and all(r["kept"] == wanted[r["j"]] for r in got)
        seen |= set(wanted.values())
    assert seen == {0.0, 1.0}


def test_the_ensembles_label_is_that_of_its_mean():
    sure, other = (nn.Sequential(nn.Flatten(), nn.Linear(D, K)) for _ in range(2))
    for model, bias in ((sure, [5.0, 0, 0]), (other, [0, 1.0, 0])):
        model[1].weight.data.zero_()
        model[1].bias.data = torch.tensor(bias)
    H, label = doubts.estimate("ensemble", None, [sure, other], torch.zeros(D), None)
    p = sum(torch.tensor(b).softmax(0) for b in ([5.0, 0, 0], [0, 1.0, 0])) / 2
    assert label == 0 and H == pytest.approx(lk.measure.entropy(p[None]).item(), rel=1e-5)
    assert doubts.estimate("ensemble", None, [other], torch.zeros(D), None)[1] == 1


def test_the_spread_is_that_of_networks_that_only_chance_tells_apart(victim, monkeypatch):
    x = victim.measure[0]
    entropies = [torch.linspace(0, 1, len(x)) * s for s in (1.0, 1.2, 0.9, 1.1)]
    monkeypatch.setattr(judging, "predict", lambda model, rows: model(rows))
    sure = torch.full((len(x), K), 0.1)
    sure[torch.arange(len(x)), victim.measure[1]] = 0.8
    v = SimpleNamespace(model=lambda rows: sure.log(), seed=3, data=None, measure=victim.measure)

    def train(data, seeds, skip):
        assert len(set(seeds)) == 4 and len(skip) == 4
        return [lambda rows, k=k: torch.full((len(rows), 1), float(k)) for k in range(4)]

    def entropy(p):  # what each of the four says, by the order in which it is asked
        return entropies[asked.pop(0)][:len(p)]

    asked = [0, 1, 2, 3]
    got = here.spread([v], [here.controls_of(victim)], train, entropy)
    pairs = [(a - b).pow(2).mean() for k, a in enumerate(entropies) for b in entropies[:k]]
    assert got == pytest.approx(1.96 * np.sqrt(np.mean(pairs)), rel=1e-5)


def test_decisions_are_counted_one_way_each():
    tops = {"random 1": [0.7, 0.7, 0.9, 0.9], "random 2": [0.9, 0.7, 0.9, 0.9],
            "over": [0.85, 0.6, 0.95, 0.95], "under": [0.5, 0.5, 0.7, 0.85]}
    table = pd.DataFrame([dict(i=0, j=j, how=here.SAME, goal=g, top=t) for g, row in tops.items()
                          for j, t in enumerate(row)])
    table = pd.concat([table, *(table[table.goal == "random 2"].assign(goal=g)
                                for g in here.RANDOM[2:])])
    got = here.crossings(table, 0.8)
    assert got.low.tolist() == [1, 1, 0, 0] and got.high.tolist() == [0, 0, 1, 1]
    assert got.over.tolist() == [1, 0, 0, 0] and got.under.tolist() == [0, 0, 1, 0]
    assert got["chance over"].tolist() == [1, 0, 0, 0] and not got["chance under"].any()
    assert got.i.tolist() == [0] * 4


def test_what_hangs_on_confidence(victim):
    answers, table = here.decisions([victim], 0.5, lk.measure.entropy,
                                    lambda sure, right, bins: float(bins))
    p = lk.training.predict(victim.model, victim.measure[0]).softmax(1)
    right = (p.argmax(1) == victim.measure[1]).numpy()
    acted = (p.max(1).values >= 0.5).numpy()
    row = table.iloc[0]
    assert row.ece == 10 and row.wrong == pytest.approx(100 * (1 - right.mean()))
    assert row["wrong acted"] == pytest.approx(100 * (1 - right[acted].mean()))
    assert row.acted == pytest.approx(100 * acted.mean()) and len(answers) == 1


# ---- gates


def test_a_gate_as_the_attacker_sees_it_is_the_gate_on_its_own_rows(victim):
    tau, rows = 0.3, torch.tensor([0, 3, 5, 11])
    w = evading.indicator(rows, len(victim.held))
    request = victim.held.rows[rows]
    (x, y), model = victim.public, victim.model
    before = lk.training.predict(model, x)
    after = lk.training.predict(here.stepped(victim, request, tau), x)
    wanted = {"validation loss": gates.loss_gate(before, after, y),
              "labels changed": gates.label_gate(before, after),
              "isolated gradients": gates.isolation_gate(
                  defend.isolated(model, victim.held.x, victim.held.y), rows),
              "gradient length": defend.gradient_gate(
                  defend.residuals(model, victim.held.x, victim.held.y), rows)}
    assert wanted["labels changed"] > 0 and set(wanted) == set(here.GATES)
    for name, score in wanted.items():
        seen, soft = gates.as_seen(name, victim, tau), w.clone().requires_grad_()
        assert float(seen(w)) == pytest.approx(score, abs=1e-5), name
        slope, = torch.autograd.grad(seen(soft), soft)
        assert torch.isfinite(slope).all() and (name == "isolated gradients" or slope.any())


@pytest.mark.parametrize("tau", [0.3, 1e39])
def test_a_trial_copy_answers_as_the_unlearned_network(victim, tau):
    request, x = victim.data.x.new_tensor([7, 2, 30], dtype=torch.long), victim.validation[0]
    got = gates.on_a_trial_copy(victim, request, tau)
    if tau > 1:
        assert not torch.isfinite(got).all()
        ready = (lk.training.predict(victim.model, x), torch.zeros(N, dtype=torch.bool),
                 torch.ones(N, D), None)
        found = gates.scores(victim, ready, request, tau)
        assert (found["validation loss"], found["labels changed"]) == (1e9, 1.0)
    else:
        wanted = lk.training.predict(here.stepped(victim, request, tau), x)
        assert torch.equal(got, wanted) and not got.requires_grad


def test_thresholds_come_from_benign_requests_alone():
    rng = np.random.default_rng(0)
    rows = [dict(i=i, stream=s, aim=None, goal=None, j=None) | dict.fromkeys(here.GATES, v)
            for i in (0, 1) for s in defend.STREAMS for v in rng.random(300) + i]
    attacks = [dict(i=i, stream="attack", aim=aim, goal="over", j=0) | dict.fromkeys(here.GATES, v)
               for i in (0, 1) for aim, v in (("first-order", 1.5), ("retraining", 0.1))]
    gate = pd.DataFrame(rows + attacks)
    limits = here.thresholds(gate, here.GATES[0], defend.REALISTIC)
    for i, limit in limits.items():
        part = gate[(gate.i == i) & gate.stream.isin(defend.REALISTIC)][here.GATES[0]]
        assert (part > limit).mean() <= 0.01 < (part >= limit).mean() + 1e-3
    more = pd.concat([gate, gate[gate.stream == "attack"].assign(**{here.GATES[0]: 99.0})])
    assert here.thresholds(more, here.GATES[0], defend.REALISTIC) == limits
    caught = here.caught(gate, defend.REALISTIC).set_index(["i", "aim"])[here.GATES[1]]
    assert caught[0, "first-order"] == 1 and caught[1, "first-order"] == 0
    assert caught[0, "retraining"] == caught[1, "retraining"] == 0
    strict = gate.assign(**{here.GATES[0]: np.where(gate.stream == "one-class", 9.0,
                                                    gate[here.GATES[0]])})
    worst = here.refused(strict, here.GATES[0], ("random",))
    assert set(worst.stream) == {"one-class"} and set(worst.i) == {0, 1}
    assert len(worst) == 600 and worst.refused.all()


# ---- the project


def test_a_request_is_cut_down_until_it_passes():
    cost = torch.tensor([0.2, 0.5, 0.1, 0.4])
    rows = torch.tensor([2, 0, 3, 1])
    for limit, kept in ((9, 4), (0.75, 3), (0.3001, 2), (0.15, 1), (0.05, 0)):
        got = evading.cut_down(rows, lambda w: w @ cost, limit, 4)
        assert got.tolist() == rows[:kept].tolist()


def test_no_graph_is_kept_where_no_slope_can_be_asked_for():
    inner = torch.ones(3, requires_grad=True)
    f = evading.lean(lambda w: (inner * w**2).sum())
    w = torch.tensor([1.0, 2.0, 3.0])
    assert f(w) == 14 and not f(w).requires_grad
    slope, = torch.autograd.grad(f(w.requires_grad_()), w)
    assert slope.tolist() == [2, 4, 6]


def test_the_projects_gain_is_refused_where_a_rule_is_broken():
    _, arguments = cards.EXERCISES["4.6"].cases()[0]
    loss, suspicion, limit, m, budget = arguments
    assert str(loss) and str(suspicion)
    for rows, why in (([0, 0], "different"), (list(range(budget + 1)), "at most"), ([m], "0 to"),
                      ([[1]], "positions")):
        with pytest.raises(ValueError, match=why):
            exercises.gained(rows, *arguments)
    with pytest.raises(ValueError, match="refuses"):
        exercises.gained([0], loss, lambda w: torch.tensor(limit + 0.1), limit, m, budget)
    assert exercises.gained([], *arguments) == 0
    w = evading.indicator(torch.tensor([4]), m)
    gain = exercises.gained([4], loss, suspicion, 1.0, m, budget)
    assert gain == pytest.approx(float(loss(w * 0) - loss(w)))


@pytest.mark.parametrize("number", range(4))
def test_the_projects_floor_lies_between_the_plain_request_and_the_courses(number):
    _, arguments = cards.EXERCISES["4.6"].cases()[number]
    plain = exercises.gained(exercises._cut(*arguments), *arguments)
    best = exercises.gained(exercises.under_the_gate(*arguments), *arguments)
    assert 0 <= plain < exercises.half_way(*arguments) < best
    loss, suspicion, limit, m, budget = arguments
    full = evading.indicator(exercises._plain(*arguments), m)
    assert float(suspicion(full)) > limit, "there is something to evade"
    assert best <= float(loss(full * 0)), "a loss of this kind cannot fall below 0"


def test_a_refused_request_changes_nothing(victim):
    attacker = here.Attacker(GOALS, tau=0.05, shrink=0.5, damping=0.1)
    planned = here.plan([victim], attacker, [8], few=0)
    before = lk.training.predict(victim.model, victim.validation[0])
    alone = defend.isolated(victim.model, victim.data.x, victim.data.y)
    ready = (before, alone, defend.residuals(victim.model, victim.data.x, victim.data.y), None)
    for limit, refused in ((-1.0, 1.0), (2.0, 0.0)):
        records = here.against_a_gate([victim], [ready], planned, [(0, 0)], "gradient length",
                                      {0: limit}, 1.0, attacker,
                                      {"two": lambda *_: torch.arange(2)})
        beside = pd.DataFrame([dict(i=0, j=0, goal=g, how=here.STEP, p=0.5, H=0.7)
                               for g in here.RANDOM])
        table = here.by_way(records, beside)["plain"]
        assert (table.done == (0 if refused else table.move)).all() and table.move.all()
        by_way = {(r["way"], r["goal"]): r for r in records}
        assert len(by_way) == len(records) == 6
        plain, two = by_way["plain", "over"], by_way["two", "over"]
        assert plain["refused"] == two["refused"] == refused
        assert (plain["p"] == pytest.approx(victim.p[0].max().item(), abs=1e-6)) == bool(refused)
        cut = by_way["plain, cut down", "over"]
        assert cut["rows"] == (0 if refused else plain["rows"]) and cut["refused"] == 0


# ---- claims


def test_lost_runs_leave_a_claim_with_their_labels():
    lab = SimpleNamespace(claim=lambda name, parts, clusters: (name, parts, clusters))
    nan = float("nan")
    name, parts, clusters = here.claim(lab, "some", {"a": [1.0, nan, 0.0], "one": [2.0],
                                                     "b": [True, False, True, True]},
                                       [10, 11, 12], {"b": [1, 1, 2, 2]})
    assert parts == {"a": [1.0, 0.0], "one": [2.0], "b": [True, False, True, True]}
    assert clusters == {"a": [10, 12], "b": [1, 1, 2, 2]}  # of the lost target none is left


def test_directions_are_parts_in_the_order_of_targets():
    frame = pd.DataFrame([dict(i=i, j=j, goal=g, move=10 * i + j + (g == "under") / 2)
                          for g in ("under", "over") for i, j in ((1, 0), (0, 1), (0, 0))])
    parts = here.by_direction("x", frame)
    assert parts["x, surer"].tolist() == [0, 1, 10]
    assert parts["x, unsure"].tolist() == [0.5, 1.5, 10.5]


def test_the_bound_of_a_useless_gate_is_the_claims():
    parts = load_claims()["unc-defences"].parts
    assert {p.bound for p in parts if p.kind == "effect"} == {here.USELESS}


def test_the_best_gate_is_that_of_each_aim():
    hits = {"first-order": ([1, 1], [1, 0], [0, 0], [0, 0]),
            "retraining": ([0, 0], [0, 0], [0, 1], [0, 0])}
    frame = pd.DataFrame([dict(i=k, j=0, aim=aim) | {g: float(h[k]) for g, h in
                                                     zip(here.GATES, of_aim, strict=True)}
                          for aim, of_aim in hits.items() for k in (0, 1)])
    assert here.best_gates(frame) == {"first-order": here.GATES[0], "retraining": here.GATES[2]}


def test_estimates_are_told_and_claimed_by_the_names_of_the_claims_parts():
    names = ("softmax", "temperature", "dropout", "ensemble", "conformal")
    sides = {(e, g): pd.DataFrame([dict(i=0, j=j, goal=g, move=10.0 * k + j) for j in (1, 0)])
             for k, e in enumerate(names) for g in ("over", "under")}
    rows = SimpleNamespace(validation=(None, range(100)), measure=(None, range(100)))
    parts = here.by_estimator(sides, [0.91, 0.78, 0.76], rows)  # 0.9 less 0.127
    wanted = [p.name for p in load_claims()["unc-estimators"].parts]
    assert sorted(parts) == sorted(wanted) and parts["coverage"] == [True, True, False]
    assert parts["ensemble, unsure"].tolist() == [30, 31]
    told = here.in_all_runs("unc-estimators", [("conformal", "over"), ("dropout", "under")],
                            {"conformal": "sets", "dropout": "masks"})
    assert told == ("sets down: {unc-estimators.conformal, surer}; "
                    "masks up: {unc-estimators.dropout, unsure}.")


def test_the_shortcut_is_what_the_step_makes_of_entropy_alone(victim):
    got = here.without_hinge([victim], [(0, 1), (0, 0)], 0.05, 8).set_index("j")
    for j in (0, 1):
        asked = here.through_the_step(victim, j, here.hingeless(victim.label[j]), 0.05, 8)
        wanted = attack.answer(victim, j, here.stepped(victim, asked, 0.05))
        assert got.loc[j, list(wanted)].to_dict() == pytest.approx(wanted)
        assert got.H[j] > lk.measure.entropy(victim.p[[j]]).item()
