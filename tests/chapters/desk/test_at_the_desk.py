"""What the notebook runs at the desk: people and attackers on a small victim, sums over time by
hand, gates and who knows them.
"""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import labkit as lk
from course.chapters import desk as here
from course.exercises import EXERCISES
from labkit import attack, defend
from labkit.base import Diverged, LabError

SPREAD, SUSPICION = EXERCISES["10.4"], EXERCISES["10.5"]
course_medoids = EXERCISES["10.2"].solution
RECIPE = dict(epochs=4, lr=0.1, batch_size=64, weight_decay=0.02)


@pytest.fixture(scope="module")
def scene():
    """A small network with two targets, the rules, and its desk."""
    data = lk.data.load("fashion", n_train=600, n_test=400)

    def train(d, seeds, skip=None):
        nets = [lk.models.build("mlp", data, s, hidden=16) for s in seeds]
        return lk.training.fit_many(nets, d.x, d.y, seeds=seeds, skip=skip, workers=1, **RECIPE)

    v = attack.victim(data, 3, train, targets=2, budget=18)
    rules = here.Rules(train, 1e-3, damping=0.02, shrink=0.5)
    return SimpleNamespace(v=v, rules=rules, desk=here.ready(v, rules, 0.2),
                           known=[here.influence(v, j, rules) for j in range(2)])


def frame(values, who="plain", aim="first-order", **more):
    return pd.DataFrame([dict(i=i, j=j, who=who, aim=aim, flip=x, **more)
                         for (i, j), x in values.items()])


# ---- people and attackers

def test_people_ask_for_three_sizes_and_enough_to_set_a_limit_on(scene):
    for part, least in (("learn", 12), ("gate hold", 102)):
        asked = here.people(scene.v, "one-class", 12, part)
        assert len(asked) == least and {len(r) for r in asked} <= {6, 12, 18}
        assert all(len(scene.v.data.y[r].unique()) == 1 for r in asked)
    again = here.people(scene.v, "one-class", 12, "learn")
    assert not all(torch.equal(a, b) for a, b in zip(again, asked, strict=False))


@pytest.mark.parametrize("aim", here.AIMS)
def test_the_attackers_choice_and_what_it_expects(scene, aim):
    v, rules = scene.v, scene.rules
    for j in range(2):
        request = here.choose_request(v, v.held, j, aim, rules, scene.known[j])
        attack.check_request(request, v.held)
        found = here.expected_margin(v, j, aim, request, rules, scene.known[j])
        random = attack.baseline("random", v.held, j)
        assert found < here.expected_margin(v, j, aim, random, rules, scene.known[j])
        if aim == "first-order":  # the attacker computes just what the provider does
            after = here.unlearned(v, request, rules.tau)
            z = lk.training.predict(after, v.x[[j]])[0]
            assert found == pytest.approx(attack.margin(z, v.label[j]).item(), abs=1e-3)
            assert here.flips(v, j, after) == float(found < 0)


def test_networks_without_requests_are_those_of_training(scene):
    v, r = scene.v, attack.baseline("random", scene.v.held, 0)
    nets = here.without(v, [r, r.flip(0), r[:3]], scene.rules.train)
    assert nets[0] is nets[1] and nets[2] is not nets[0]
    alone = scene.rules.train(v.data, [v.seed], [r])[0]
    a, b = (lk.training.predict(m, v.x) for m in (nets[0], alone))
    assert torch.allclose(a, b, atol=1e-4)


def test_a_victim_that_diverges_is_left_out_from_then_on():
    lost = set()

    def job(one):
        if one == (1, "b"):
            raise Diverged("gone")
        return one[0]

    found = here.surviving(job, [(0, "a"), (1, "a"), (1, "b"), (2, "a")], lost)
    assert found == [((0, "a"), 0), ((2, "a"), 2)] and lost == {1}
    assert here.surviving(job, [(1, "a"), (2, "b")], lost) == [((2, "b"), 2)]
    with pytest.raises(LabError, match="left NaN"):
        here.surviving(job, [(1, "b")], set())


# ---- the filter

@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
def test_the_learners_medoids_make_the_filter(scene, share):
    v = scene.v
    proxy = defend.residuals(v.model, v.data.x, v.data.y)
    alone = here.alone_in_class(proxy, v.data.y, share, course_medoids)
    assert torch.equal(alone, defend.isolated(v.model, v.data.x, v.data.y, share))


def test_twins_are_not_isolated_by_more_medoids_than_there_are_kinds():
    proxy = torch.tensor([[0.0, 0], [1, 0], [0, 1]]).repeat(4, 1)
    alone = here.alone_in_class(proxy, torch.zeros(12, dtype=torch.long), 0.9, course_medoids)
    assert not alone.any()


def test_filtered_requests_lose_what_waits(scene):
    v, alone = scene.v, torch.zeros(600, dtype=torch.bool)
    request = v.held.rows[:10]
    alone[request[:4]] = True
    asked = [{"random": v.held.rows[20:25], "plain": request}] * 2
    rows = pd.DataFrame(here.filtered(v, 7, "first-order", asked, alone, scene.rules))
    assert len(rows) == 8 and set(rows.i) == {7}
    kept = rows[(rows.who == "plain") & rows["filter"]]
    assert [r.tolist() for r in kept.request] == [request[4:].tolist()] * 2
    assert kept.held.tolist() == [0.4, 0.4] and rows[rows.who == "random"].held.sum() == 0
    assert here.unlearned(v, request[:0], 1.0) is v.model  # all waits: nothing is done yet


def test_in_a_queue_a_row_leaves_once(scene):
    alone = torch.arange(600) % 5 == 0
    asked = here.queue(scene.v, alone, 30)
    rows = torch.cat([r for r, _ in asked])
    assert len(rows) == len(rows.unique()) and all(len(r) for r, _ in asked)
    assert all(torch.equal(late, r[alone[r]]) for r, late in asked)


def test_a_success_is_a_flip_less_a_random_requests():
    table = frame({(0, 0): 1.0, (0, 1): 1.0, (1, 0): 0.0, (1, 1): 0.0})
    control = frame({(1, 1): 1.0, (1, 0): 0.0, (0, 1): 1.0, (0, 0): 0.0}, who="random")
    other = frame({(0, 0): 1.0}, aim="retraining", who="random")
    found = here.success(table, pd.concat([other, control]), who="plain", aim="first-order")
    assert found.value.tolist() == [1, 0, 0, -1] and found.i.tolist() == [0, 0, 1, 1]
    assert here.less(found, found.assign(value=[1, 1, 0, 0])).value.tolist() == [0, -1, 0, -1]


# ---- over time

def test_the_running_sum_is_that_of_cusum():
    rng = np.random.default_rng(0)
    lines = rng.normal(0, 1, (40, 25))
    sums = here.running(lines, 0.3)
    for line, total in zip(lines, sums, strict=True):
        over = np.flatnonzero(total > 2)
        assert here.cusum(line, 0.3, 2.0) == (over[0] if len(over) else None)


def test_campaigns_by_hand():
    pool, rng = np.zeros(4), np.random.default_rng(0)  # drift 1: others take 1 away
    def run(scores, places, limit):
        return here.campaign([1, 1, -1], scores, places, pool, (1.0, limit), 40, rng, 5)

    found = run([3.0, 3.0, 3.0], here.hasty([0] * 3), 2.5)  # sums 2, 1, 3: alarm at the second
    assert found.pop("each").tolist() == [1, 0, 0]  # from the alarm on nothing counts
    assert found == dict(alarmed=1.0, calm=0.0, success=1 / 3, given_up=0.0, took=15)
    found = run([3.0, 3.0, 3.0], [0, 3, 6], 2.5)
    assert (found["alarmed"], found["success"], found["took"]) == (0.0, 1 / 3, 17)
    found = run([3.0, 9.0, 3.0], [0, None, 6], 2.5)
    assert found["success"] == 0.0 and found["given_up"] == pytest.approx(1 / 3)
    assert run([9.0] * 3, [None] * 3, 2.5)["success"] == 0.0


def test_success_of_campaigns_target_by_target():
    part = pd.DataFrame([dict(i=0, each=[1.0, 0.0]), dict(i=0, each=[0.0, 0.5]),
                         dict(i=2, each=[-1.0])])
    found = here.by_target(part)
    assert found.values.tolist() == [[0, 0, 0.5], [0, 1, 0.25], [2, 0, -1]]


def test_an_effect_says_what_its_interval_allows():
    said = [here.effect(pd.DataFrame(dict(i=range(6), value=v))) for v in (
        [0.5, 0.4, 0.6, 0.5, 0.4, 0.6], [-0.5, -0.4, -0.6, -0.5, -0.4, -0.6],
        [0.5, -0.4, 0.6, -0.5, 0.4, -0.6])]
    assert [s.split(", ")[-1] for s in said] == ["shown", "the opposite is shown", "undecided"]
    assert said[0].startswith("50 [")


def test_a_plan_is_rehearsed():
    drift, limit, plan = 1.0, 4.0, SPREAD.solution
    calm, wild = np.zeros(5), np.array([0.0, 0.0, 2.4])
    room = 60 + here.START
    sure = here.rehearsed(plan, [3.0] * 4, calm, (drift, limit), room, np.random.default_rng(0))
    assert sure == plan([3.0] * 4, 0.0, drift, limit, 60)  # nothing scatters: all of the limit
    shy = here.rehearsed(plan, [3.0] * 4, wild, (drift, limit), room, np.random.default_rng(0))
    assert shy in [plan([3.0] * 4, 0.8, drift, m * limit, 60) for m in (0.75, 0.5)]


def test_sequences_with_an_attack_start_late():
    flat = {s: np.full(3, 1.0) for s in defend.REALISTIC}
    flat["one-user"] = np.array([0.9, 1.0, 1.1])  # a drift above the mean
    bad = {("plain", "first-order"): np.array([4.0])}
    seen = []

    def cusum(scores, drift, limit):
        seen.append(scores)
        return None if scores.max() < 2 else 11

    _, rows = here.streamed(0, flat, flat, bad, cusum, count=100)
    rows = pd.DataFrame(rows)
    assert len(rows) == 8 and set(rows[rows.who == "plain"].wait) == {0.0}
    assert set(rows[rows.who == "nobody"].alarmed) == {0.0}
    loud = next(s for s in seen if s.max() > 2)
    assert (loud > 2).nonzero().flatten().tolist() == list(range(here.START, here.LENGTH, 2))


# ---- gates

def test_ten_chances_of_the_threshold_against_the_sum():
    alarms = pd.DataFrame([dict(i=0, alarmed=1.0), dict(i=0, alarmed=0.5), dict(i=1, alarmed=0.25)])
    flagged = pd.DataFrame([dict(i=0, flagged=x) for x in (1.0, 0.0)] + [dict(i=1, flagged=0.0)])
    found = here.beyond_threshold(alarms, flagged, 10)
    often = np.random.default_rng(0).choice([0, 1], (20000, 10)).any(1).mean()  # drawn, not by rule
    assert found.once.tolist()[:2] == pytest.approx([often] * 2, abs=0.002) and found.once[2] == 0
    assert (found.value + found.once).tolist() == pytest.approx(alarms.alarmed)


def test_requests_above_the_drift_by_hand():
    pools = {0: {"fresh": {"a": np.array([0.0, 2.0]), "b": np.array([0.0, 0.0])}},
             1: {"fresh": {"a": np.array([2.0]), "b": np.array([2.0])}}}
    bad = {0: {"who": np.array([2.0, 2.0])}, 1: {"who": np.array([0.0, 2.0])}}
    settled = {i: (1.0, 5.0) for i in pools}
    found = here.above_drift(bad, "who", pools, settled)
    assert found.tolist() == [[1.0, 0.5], [0.25, 1.0]]


def test_the_monitors_parts_and_tables_by_hand():
    keys = [(who, aim) for who in ("plain", "adaptive") for aim in here.AIMS]
    per = {key: pd.DataFrame(dict(i=[0, 0, 1], flagged=[float(k == 3), 1.0, 0.0]))
           for k, key in enumerate(keys)}
    waits = {key: pd.DataFrame(dict(i=[0, 1], wait=[float(k), 20.0], alarmed=[1.0, 0.0]))
             for k, key in enumerate(keys)}
    parts = here.monitor_parts(per, waits)
    assert parts["values"] == {
        "first-order": [0, 1, 0], "retraining": [0, 1, 0], "early, first-order": [0, 20],
        "early, retraining": [1, 20], "adaptive": [0.5, 1, 0], "adaptive-delay": [2.5, 20]}
    assert {k: len(x) for k, x in parts["clusters"].items()} == {
        k: len(x) for k, x in parts["values"].items()}
    assert parts["clusters"]["adaptive"] == [0, 0, 1]
    told = here.alarms_told(waits, 20)
    assert told["aimed at"].tolist() == [*here.AIMS] * 2
    assert told["sequences with an alarm, %"][0].startswith("50 [")
    crowd = pd.DataFrame(dict(gate="g", stream=list("aabb"), stopped=[0, 0.5, 0, 0]))
    takes = {("g", who): pd.DataFrame(dict(i=[0, 1], value=[x, x]))
             for who, x in (("plain", 0.5), ("knows", 0.0))}
    attacks = pd.DataFrame(dict(gate="g", who=["plain", "knows"] * 2, i=[0, 0, 1, 1],
                                flagged=[1.0, 0.0, 1.0, 0.5]))
    row = here.gates_told(crowd, attacks, takes).iloc[0]
    way = pd.DataFrame(dict(i=[0, 1], alarmed=1.0, given_up=[0.0, 0.5]))
    sent = here.campaigns_told({("a", "b"): way}, {("a", "b"): takes["g", "plain"]}).iloc[0]
    assert [str(x).split(" [")[0] for x in sent] == ["a", "b", "100", "50", "25"]
    assert row.iloc[1] == 25
    assert [x.split(" [")[0] for x in row.iloc[2:]] == ["100", "25", "50", "0"]
    sent = here.campaigns_told({("a", "b, at once"): way}, {
        ("a", "b, at once"): takes["g", "plain"]}).iloc[0]
    assert sent["never sent, %"] == "0 (by construction)"


def test_the_nearest_stream_is_the_monitors_score(scene):
    benign = here.benign_features(scene.v, scene.desk, "learn", 60)
    held = here.benign_features(scene.v, scene.desk, "hold", 60)
    monitor = here.fit_monitor(benign, held)
    learnt = torch.stack([here.table(rows) for rows in benign.values()])
    rows = held["one-user"]
    assert here.nearest(learnt, here.table(rows)).numpy() == pytest.approx(
        here.score(monitor, rows), rel=1e-6)
    found = here.judged_by(here.nearest, benign, {"a": rows[:5], "b": rows[5:]})
    assert [len(x) for x in found.values()] == [5, 97]
    assert found["b"] == pytest.approx(here.score(monitor, rows)[5:], rel=1e-6)


def test_who_knows_a_gate_sends_what_it_likes_best(scene):
    v, desk, rules = scene.v, scene.desk, scene.rules
    benign = {part: here.benign_features(v, desk, part, 30) for part in ("learn", "hold", "fresh")}
    tried = []
    for j in range(2):
        plain = here.choose_request(v, v.held, j, "first-order", rules, None)
        tried.append(here.candidates(v, j, "first-order", plain, plain[:3], desk, rules, None))
        assert torch.equal(tried[j][0][0], plain)
        for request, shows in tried[j][1:]:
            attack.check_request(request, v.held)
            assert here.expected_margin(v, j, "first-order", request, rules, None) < 0
            assert shows == here.features(desk, request)
    gates = {"asleep": lambda benign, requests: torch.zeros(len(requests)),
             "nearest": here.nearest}
    attacks, crowd = map(pd.DataFrame, here.met(v, 0, tried, benign, gates, rules))
    assert attacks[attacks.gate == "asleep"].flagged.sum() == 0 and len(attacks) == 8
    assert (crowd.stopped <= 0.2).all() and len(crowd) == 8
    both = attacks[attacks.gate == "nearest"].pivot(index="j", columns="who", values="flagged")
    assert (both.knows <= both.plain).all()
    monitor = here.fit_monitor(benign["learn"], benign["hold"])
    for each, least in zip(tried, here.quietest(tried, monitor), strict=True):
        scores = here.score(monitor, [shows for _, shows in each])
        assert torch.equal(least, each[int(scores.argmin())][0])


def test_variants_are_requests_within_the_budget(scene):
    v = scene.v
    request = v.held.rows[:12]
    found = here.variants(v, request, [request], 0)
    assert torch.equal(found[0], request) and len(found) == 13
    assert {len(r) for r in found[1:]} == {3, 6, 9, 12, 18}
    assert all(torch.isin(request[:3], r).all() for r in found)


# ---- the project

def plain_gate(benign, requests):
    from course.chapters.desk.exercises import largest_deviation
    return largest_deviation(benign, requests)


def monitors_own(benign, requests):
    return here.nearest(benign, requests)


def test_the_project_asks_for_more_than_the_plain_gate_and_less_than_the_monitor():
    for what, args in SUSPICION.cases():
        reach = {gate: SUSPICION.measure(gate(*args), *args)
                 for gate in (plain_gate, monitors_own, SUSPICION.solution)}
        floor = SUSPICION.floor(*args)
        assert reach[plain_gate] < floor < reach[SUSPICION.solution], what
        assert reach[monitors_own] >= floor, what


def test_the_project_can_be_solved_in_another_way():
    def near_neighbours(benign, requests):
        """Mean distance to the five nearest benign requests, each stream whitened."""
        scores = []
        for seen in benign:
            root = torch.linalg.cholesky(torch.linalg.inv(
                torch.cov(seen.T) + 1e-3 * torch.eye(seen.shape[1]).to(seen)))
            new, old = requests @ root, seen @ root
            own = torch.cdist(old, old).topk(6, largest=False).values[:, 1:].mean(1)
            far = torch.cdist(new, old).topk(5, largest=False).values.mean(1)
            scores.append(far / own.quantile(0.95))
        return torch.stack(scores).amin(0)

    reached = [SUSPICION.measure(near_neighbours(*a), *a) >= SUSPICION.floor(*a)
               for _, a in SUSPICION.cases()]
    assert sum(reached) >= len(reached) - 1, reached


def test_scores_that_are_none_are_refused():
    _, (benign, requests) = SUSPICION.cases()[0]
    for scores in (torch.zeros(3), torch.full((len(requests),), torch.nan), 1.0):
        with pytest.raises(ValueError, match="asked was|NaN"):
            SUSPICION.measure(scores, benign, requests)


def test_the_noisiest_kind_what_knowing_hides_and_what_planning_spares():
    shares = {"calm": ([0.0, 0.0], [0, 1]), "loud": ([0.02, 0.04], [0, 1])}
    assert here.noisiest(shares).startswith("3.0 [")
    a, b = (pd.DataFrame(dict(i=[0, 1], j=[0, 0], flagged=x)) for x in ([1.0, 1.0], [0.0, 1.0]))
    assert here.flagged_less(a, b).value.tolist() == [1.0, 0.0]
    ways = {(aim, f"{who}, {how}"): pd.DataFrame(dict(i=[0, 1], alarmed=at)) for aim in here.AIMS
            for who in ("quiet", "plain") for how, at in (("at once", [1.0, 0.5]),
                                                          ("planned", [0.5, 0.0]))}
    told = here.spared(ways).split("; ")
    assert len(told) == 4 and all(x.startswith("50 [") for x in told)
    assert told[0].endswith("(quiet, first-order)")
