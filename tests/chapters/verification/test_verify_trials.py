"""The chapter's experiments: steps read from a log, forged examples, counts of uses and audits,
against brute force, autograd and logs that were really written.
"""

import hashlib
import math

import numpy as np
import pandas as pd
import pytest
import torch

import labkit as lk
from course.chapters import verification as here
from course.chapters.verification import audit, trials
from course.exercises import EXERCISES

torch.set_num_threads(1)
DATA = lk.data.load("digits", n_train=400, n_test=200, device="cpu")
RECIPE = dict(epochs=3, lr=0.05, batch_size=32)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return here.World(DATA, "mlp", dict(hidden=16), RECIPE, owners=4, each=30, candidates=3,
                      place=tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module")
def answers(world):
    return here.answers(world, 3)


# ------------------------------------------------------------------------------------ rows and logs


def test_each_owner_stamps_half_of_its_rows_with_its_own_trigger(world):
    d, owned, triggers = here.planted(world, 3)
    plain = DATA.resplit(3)
    changed = (d.x != plain.x).flatten(1).any(1)
    assert owned.shape == (4, 30) and len(set(owned.flatten().tolist())) == 120
    assert not changed[~torch.isin(torch.arange(400), owned)].any()
    for rows, trigger in zip(owned, triggers, strict=True):
        labelled = rows[(d.y[rows] == trigger.label)]
        assert 13 <= int(changed[rows].sum()) <= 15 <= len(labelled)  # ink may be there already
        assert set(rows[changed[rows]].tolist()) <= set(labelled.tolist())
    assert torch.equal(here.gone(owned), owned.flatten().unique())
    fewer = here.planted(world, 3, owners=2, each=10, purpose="few")
    assert fewer[1].shape == (2, 10) and len(fewer[2]) == 2


def test_a_step_read_from_a_log_replays(world, answers):
    d = here.planted(world, 3)[0]
    log = here.load_log(answers["honest"][1], d)
    _, errors = here.replay_errors(log, d, world.build)
    for step in (1, 7, len(log.lines)):
        before, gradient, after = here.step_of(log, step, d, world.build)
        mine = float((before.double() - RECIPE["lr"] * gradient.double() - after).norm())
        assert mine < 1e-6 and abs(mine - float(errors[step - 1])) < 1e-6
        assert not torch.equal(before, after)
    last = torch.cat([p.detach().flatten() for p in answers["honest"][0].parameters()])
    assert torch.equal(after, last)
    edited = here.load_log(answers["edits the log"][1], d)
    before, gradient, after = here.step_of(edited, 1, d, world.build)
    assert float((before - RECIPE["lr"] * gradient - after).norm()) > 1e-3


def test_lines_are_shown_as_they_stand_in_the_file(answers):
    folder = answers["honest"][1]
    raw = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    shown = here.shown(folder, 3)
    lines = here.load_log(folder).lines
    for i, line in enumerate(shown):
        assert line["step"] == i + 1 and line["learning rate"] == RECIPE["lr"]
        assert line["rows of the batch"].startswith(", ".join(map(str, lines[i]["rows"][:4])))
        assert line["rows of the batch"].endswith(f"({len(lines[i]['rows'])})")
        before, own = (hashlib.sha256(raw[k].encode()).hexdigest()[:8] + "…" for k in (i, i + 1))
        assert (line["hash of the line before"], line["hash of this line"]) == (before, own)


def test_a_changed_row_breaks_the_chain_in_the_line_after_its_own(answers, tmp_path):
    assert "breaks at line 5:" in here.tampered(answers["honest"][1], 3, tmp_path)
    here.load_log(answers["honest"][1])  # the log itself is as it was


def test_providers_pass_and_fail_as_they_should(world, answers):
    rows = {r["provider"]: r for r in trials.trial(world, 3, answers)}
    assert set(rows) <= set(here.PROVIDERS) and set(rows) >= {"honest", "ignores", "forges"}
    assert rows["honest"]["replay"] and rows["nearest"]["replay"] and rows["search"]["replay"]
    assert not any(rows[p]["replay"] for p in ("ignores", "edits the log", "forges"))
    assert rows["ignores"]["hits"] == rows["edits the log"]["hits"]  # one and the same model
    table = here.passing(here.all_trials(world, [3], answers))
    assert list(table) == list(rows) and table["honest"][2][0] == 1 and table["ignores"][2][0] == 0


# ------------------------------------------------------------------------------------ forged logs


def test_the_formula_is_the_error_of_a_kept_checkpoint_and_shows_later_when_moved(world):
    bound = EXERCISES["9.3"].solution
    steps = here.swapped_steps(world, 5, lr=0.02, share=0.1, steps=5)
    assert len(steps) == 5
    for t in steps:
        assert len(t["rows taken out"]) == len(t["old"]) == len(t["new"]) > 0
        assert not set(t["rows taken out"]) & set(t["rows put in"])
        mine = bound(t["old"], t["new"], t["b"], 0.02)
        assert mine == pytest.approx(t["kept"], rel=1e-3)
        # stretched, of its size; none where the next step was nudged instead
        assert np.isnan(t["moved"]) or t["moved"] == pytest.approx(mine, rel=0.6)
    assert not all(np.isnan(t["moved"]) for t in steps)
    table = here.swaps_shown(steps, [1.0] * 5)
    assert list(table.step) == [t["step"] for t in steps] and set(table["your formula"]) == {
        "1.0e+00"}


def test_forged_runs_scale_as_what_they_are_made_of(world):
    rates, parts = (0.01, 0.04), (0.02, 0.05, 0.1)
    forged = here.forged_runs(world, [5, 6], rates, parts)
    kept = forged[forged.kind == "kept"]
    assert len(kept[kept.lr == rates[0]]) == 2 and len(kept[kept.lr == rates[1]]) == 6
    assert all(len(e) == len(w) for e, w in zip(forged.errors, forged.swapped, strict=True))
    assert (kept.spent == 0).all() and (forged[forged.kind == "as published"].spent > 0).all()
    grows = here.scaling(forged, rates, parts)
    assert all(0.8 < v < 1.2 for v in grows["rate"])
    assert {len(v) for v in grows.values()} == {2}


# ------------------------------------------------------------------------------------ audits


def test_suspicion_is_the_sum_over_pairs_of_epochs():
    counts = torch.from_numpy(np.random.default_rng(0).poisson(1, (4, 5, 30))).float()
    above = counts - counts.mean(2, keepdim=True)
    wanted = [sum(float((log[e] * log[f]).mean()) for e in range(5) for f in range(5) if e != f)
              for log in above]
    assert here.suspicion(counts).tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-4)
    assert here.largest_use(counts).tolist() == counts.sum(1).max(1).values.tolist()


def test_honest_counts_are_once_each_or_drawn(world):
    ones, drawn = audit.honest_counts(50, 3, 40, 1)
    assert ones.shape == (1, 3, 50) and (ones == 1).all()
    assert drawn.shape == (40, 3, 50) and (drawn.sum(2) == 50).all()
    assert float(drawn.var()) == pytest.approx(1, abs=0.1)  # Poisson's


def test_counts_without_training_are_those_of_a_log(world, tmp_path):
    forget = DATA.forget_random(0.1, 3)
    _, folder = here.adversarial_nearest(DATA, forget, tmp_path, build=world.build, seed=9,
                                         every=10**6, **RECIPE)
    stays = torch.ones(400, dtype=torch.bool)
    stays[forget] = False
    used = here.usage(folder, 400)
    made = audit.cheating_counts(DATA, forget, RECIPE["epochs"], RECIPE["batch_size"], 9)
    assert list(made) == list(here.SORTS)
    once, again, changing = made.values()
    assert torch.equal(once, used[:, stays].float()) and (used[:, forget] == 0).all()
    assert all((counts.sum(1) == 400).all() for counts in made.values())
    assert (once >= 1).all() and (again == 0).any()
    # the same stand-ins each epoch, or others: what is used above once goes together, or not
    assert here.suspicion(once[None]) > 0.1
    assert here.suspicion(again[None]) > here.suspicion(changing[None])


def test_stand_ins_rotate_among_neighbours():
    forget = DATA.forget_random(0.1, 3)
    swap = here.stand_ins(DATA, forget, "nearest", 0)
    firsts = [swap(forget[:1], first=k)[0].item() for k in range(4)]
    assert firsts == here.nearest(DATA, forget)[0, :4].tolist()
    few = here.stand_ins(DATA, forget, "nearest", 0)(forget[:1], first=32)[0].item()
    assert few == firsts[0]


def test_detection_flags_no_more_honest_logs_than_granted():
    g = torch.Generator().manual_seed(0)
    honest = [torch.ones(1, 2, 5), torch.rand(200, 2, 5, generator=g)]
    score = lambda c: c.sum((1, 2))  # noqa: E731
    assert 1 <= sum(audit.detection(score, honest[1:], honest[1])) <= 2
    assert sum(audit.detection(score, honest, honest[1])) == 0  # the other honest kind sets it
    assert audit.detection(score, honest, torch.full((3, 2, 5), 9.0)) == [1, 1, 1]
    assert audit.detection(lambda c: torch.zeros(len(c)), honest, honest[1]) == [0] * 200


def test_the_audit_of_the_course_beats_the_plain_count_and_not_a_provider_who_knows_it(world):
    cheating = here.cheating_logs(world, [1, 2, 3, 4], (0.15,), 6)
    found = here.detections({"plain": here.largest_use, "ours": here.suspicion}, cheating, 100, 0)
    rate = {(r.audit, r.cheat): np.mean(r.found) for r in found.itertuples()}
    once, again, changing = here.SORTS
    assert rate["ours", once] == 1 and rate["plain", once] <= 0.5
    assert rate["ours", changing] < rate["ours", once] and len(found) == 6


@pytest.mark.parametrize("case", EXERCISES["9.5"].cases(), ids=lambda case: case[0])
def test_the_floor_of_the_project_lies_between_the_plain_count_and_the_course(case):
    project, counts = EXERCISES["9.5"], case[1][0]
    plain, best = (project.measure(f(counts), counts) for f in (here.largest_use, here.suspicion))
    assert plain < project.floor(counts) < best
    order = torch.arange(len(counts)).float()
    # the place in the list tells nothing
    assert project.measure(order, counts) < project.floor(counts)
    with pytest.raises(ValueError, match="one score a log"):
        project.measure(counts, counts)


# ------------------------------------------------------------------------------------ what is kept


def test_the_best_of_several_sets_imitates_better_than_one(world):
    off = here.imitation(world, 4)
    assert all(a >= b > 0 for a, b in zip(off["random"], off["search"], strict=True))
    assert 0 < len(off["nearest"]) <= 13  # batches of 32 that hold a forgotten row


def test_what_is_known_is_said_with_its_side():
    assert here.known_in_words([1.0, 1.1, 0.9]).endswith(": more")
    assert here.known_in_words([-1.0, -1.1, -0.9]).endswith(": less")
    assert here.known_in_words([1.0, -1.0, 0.5]).endswith(": undecided")
    assert here.known_in_words([0.25]) == "+0.250: undecided"


# ------------------------------------------------------------------------------------ sentences


def told(sentences):
    return " ".join(sentences)


def test_the_prediction_follows_who_is_accused():
    def said(forges, nearest, search):
        spread = {p: [(v, 0.0, 1.0), (v, 0.0, 1.0), (1.0, 0.2, 1.0)] for p, v in
                  {"honest": 1.0, "forges": forges, "nearest": nearest, "search": search}.items()}
        matrix = pd.DataFrame([dict(provider=p, pooled=v[0][0] > 0.5, noise=1e-7)
                               for p, v in spread.items()])
        return told(here.told_passing(spread, matrix, 1))

    assert "you said a)" in said(0.0, 1.0, 0.9) and "forges 100 % [0, 100]" in said(0.0, 1.0, 0.9)
    assert "you said b)" in said(0.9, 1.0, 1.0) and "you said b)" in said(0.9, 0.1, 0.1)
    assert "you said c)" in said(0.1, 0.2, 1.0)
    assert "forger in 1 of 1 runs, and the honest provider in 0 of 1." in said(0.0, 1.0, 1.0)


def test_what_a_pass_is_worth_needs_even_odds_and_both_chances():
    test = dict(p=0.2, q=0.01, k=2, beta=here.miss_rate(30, 0.2, 2))
    said = told(here.told_one_test({p: test | {"hits": h} for p, h in
                                    (("honest", 0), ("ignores", 9), ("nearest", 2))}))
    old, new = (sum(math.comb(30, h) * r**h * (1 - r) ** (30 - h) for h in range(3))
                for r in (0.2, 0.01))
    assert f"β = {old:.1g}." in said and f"the old one {old / (old + new):.1g}." in said
    assert "on: ignores." in said and "tell: nearest passed too." in said


def test_plans_are_told_by_the_middle_and_the_worst_owner():
    weak = pd.DataFrame([dict(owners=2, each=e, seed=s, p=p, q=0.01, escape=b, plan=m)
                         for e, s, p, b, m in ((9, 0, 0.8, 1e-9, 8), (9, 1, 0.6, 1e-4, 12),
                                               (3, 0, 0.1, 0.5, None), (3, 1, 0.1, 0.9, None))])
    full, few = here.strengths_shown(weak, 200).to_dict("records")
    assert (full["β, worst"], full["questions (yours), median"]) == ("0.0001", "10")
    assert (few["questions (yours), median"], few["over 200 needed, %"]) == ("over 200", "100")
    said = told(here.told_strengths(weak, [(2, 9), (2, 3)], 200))
    assert "worst of 2 owners" in said and "chance of 0.0001;" in said and "does with 0.7." in said
    assert "200 questions are not enough for 100 %" in said and "0 of 2 have p ≤ q" in said
    given = weak.fillna(150)
    assert "at most 200" in told(here.told_strengths(given, [(2, 9), (2, 3)], 200))


@pytest.mark.parametrize(("old_bare", "bare", "said"), [
    (0.01, 0.05, "differs from one to the next"), (0.05, 0.05, "keep the old model"),
    (0.0, 0.0, "draw the new model"),
])
def test_accusations_are_told_by_what_changed_most(old_bare, bare, said):
    tests = pd.DataFrame([dict(seed=s, q=0.0, q_now=0.05, bare_old=old_bare, bare=bare,
                               deleted=bool(s), deleted_now=True) for s in (0, 1)])
    assert said in told(here.told_accused(tests, {"deleted_now": (0.0, 0.0, 0.1)}))


def test_audits_are_compared_on_the_same_logs():
    def said(yours, plain):
        found = [dict(audit=a, share=s, cheat=c, found=v) for s in (0.01, here.AGREED)
                 for c in here.SORTS for a, v in (("yours", yours), ("the course's", yours),
                                                  ("plain count", plain))]
        return told(here.told_detections(pd.DataFrame(found)))

    behind = said([0.0] * 12, [1.0] * 12)
    assert "But at 1 % deleted, each row once an epoch, the count flags 100 points" in behind
    assert "not surely more than the 1 % of false alarms" in behind
    assert "lies behind there" in behind
    ahead = said([1.0] * 12, [0.0] * 12)
    assert "nowhere behind" in ahead and "some are still caught" in ahead
    assert "may be chance (of 6 settings" in said([0.0] * 12, [1.0] + [0.0] * 11)


def test_nobody_is_fooled_where_no_cheat_passed_both():
    assert here.told_fooled([], 3).startswith("No cheat passed")
    assert "nearest passed the pooled test and the replay in 3 of 3" in here.told_fooled(
        ["nearest"], 3)


def test_who_keeps_something_is_told_beside_both_retrainings():
    names = [0, 1, 2, 3]
    saved = {"nearest": pd.Series([0.1, 0.11, 0.09, 0.1], names),
             here.OTHER_SEED: pd.Series([0.5, -0.5, 0.4, -0.4], names)}
    raw = {"nearest": pd.Series([-0.2, -0.21, -0.19, -0.2], names)}
    said = told(here.told_kept(saved, raw))
    assert "the reference: nearest; and more" in said
    assert "another seed: none for certain." in said
    assert "nearest: the loss on the deleted rows is above retraining's" in said
    assert "another seed: nearest 50 % [" in said  # ahead of it in two of four seeds
    table = here.kept_shown(saved, raw).to_dict("records")
    assert table[0]["loss below the mean of two retrainings"].endswith("less")
    assert table[1]["beyond a retraining with another seed"] == "–"
