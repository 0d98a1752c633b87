"""Claims are judged rightly: simulated experiments whose truth is known, and the file that lists
them.
"""

import json
import math
import re

import numpy as np
import pytest
import yaml
from scipy import stats

from course.chapters import HERE, chapters
from course.claimfile import Claim, Part, cited, load_claims
from course.claims import ORDER, judge, judge_part
from course.pooling import merge
from course.words import committed_output, parts_held, parts_in_words, would_have_shown
from labkit.base import LabError
from labkit.measure.intervals import interval

EFFECT = Part("gain", "effect", "points")
EQUAL = Part("gap", "equivalence", "points", margin=1.0)
CHECK = Part("same", "check", "bitwise equal")
REPORT = Part("figure", "report", "anything")

IDS = """
start-surer basics-target basics-cost basics-ga-damage basics-mia basics-streisand
sisa-exact sisa-cost sisa-speedup sisa-batch sisa-accuracy
req-label req-sequential
unc-over unc-under unc-beats-label unc-transfer unc-blackbox unc-estimators unc-defences
inv-approx inv-exact-small inv-arch inv-float inv-linear inv-tabular
inv-label inv-label-blackbox leak-two-versions leak-fresh-seed leak-generalised leak-sisa
leak-mitigation leak-temperature leak-ulira leak-unlearning-helps leak-ulira-control leak-retain
leak-quality
ver-honest ver-adv-retrain ver-adv-keeps ver-forge ver-scale ver-audit
def-gradient def-gradient-adaptive def-monitor def-noise def-prune-adaptive def-finetune def-dp
sparse-ft sparse-l1 sparse-gap sparse-random sparse-bound sparse-cost sparse-backdoor sparse-network
sparse-transfer sparse-mask-leak
val-example val-properties val-sampling val-delta val-erratum val-removal val-shards val-sybil
val-exit
""".split()
NOT_PUBLISHED = """
basics-streisand req-label unc-over unc-under unc-beats-label unc-transfer unc-blackbox
unc-estimators unc-defences req-sequential inv-float inv-label-blackbox inv-tabular
leak-two-versions leak-fresh-seed leak-sisa leak-mitigation leak-unlearning-helps leak-quality
ver-adv-keeps ver-forge def-gradient def-gradient-adaptive def-dp sparse-transfer
val-removal val-shards val-sybil val-exit
""".split()


def claim(*parts, **changes):
    fields = dict(chapter="basics", id="test", paper="new here", where="", says="So.",
                  figure="not published",
                  unit="seed", profile="quick", parts=parts)
    return Claim(**fields | changes)


# ------------------------------------------------------------------ simulated experiments


@pytest.mark.parametrize("n", [5, 10])
def test_interval_covers_and_null_effect_is_rarely_reproduced(n):
    draws = np.random.default_rng(n).normal(0, 2, (2000, n))
    judged = [judge_part(EFFECT, row) for row in draws]
    covered = np.mean([j["low"] <= 0 <= j["high"] for j in judged])
    assert 0.935 <= covered <= 0.965
    # nominal 2.5 %: one side of the interval
    assert np.mean([j["verdict"] == "reproduced" for j in judged]) <= 0.035
    assert np.mean([j["verdict"] == "not reproduced" for j in judged]) <= 0.035


@pytest.mark.parametrize("n, effect", [(5, 1.5), (10, 0.8), (10, 1.2)])
def test_power_is_that_of_the_noncentral_t(n, effect):
    draws = np.random.default_rng(7).normal(effect, 1, (2000, n))
    rate = np.mean([judge_part(EFFECT, row)["verdict"] == "reproduced" for row in draws])
    power = 1 - stats.nct.cdf(stats.t.ppf(0.975, n - 1), n - 1, effect * math.sqrt(n))
    assert abs(rate - power) < 4 * math.sqrt(power * (1 - power) / 2000)


@pytest.mark.parametrize("n", [5, 10])
def test_equivalence_at_the_margin_is_rarely_reproduced(n):
    at_margin = np.random.default_rng(n).normal(1.0, 0.3, (2000, n))
    assert np.mean([judge_part(EQUAL, row)["verdict"] == "reproduced"
                    for row in at_margin]) <= 0.035
    inside = np.random.default_rng(n).normal(0.1, 0.1, (200, n))
    assert np.mean([judge_part(EQUAL, row)["verdict"] == "reproduced" for row in inside]) > 0.99
    outside = np.random.default_rng(n).normal(2.0, 0.1, (200, n))
    assert all(judge_part(EQUAL, row)["verdict"] == "not reproduced" for row in outside)


def test_a_vague_measurement_of_zero_is_not_an_equivalence():
    judged = judge_part(EQUAL, [-3.0, 0.1, 3.0])
    assert judged["verdict"] == judge_part(EQUAL, [-3.0, 1.5, 6.0])["verdict"] == "undecided"


def test_effect_verdicts_on_both_sides():
    below = Part("ratio", "effect", "ratio", side="below", bound=0.3)
    cases = [([0.1, 0.11, 0.12], "reproduced"), ([0.1, 0.2, 0.5], "undecided"),
             ([0.1, 0.3, 0.6], "undecided"),
             ([0.5, 0.51, 0.52], "not reproduced")]
    for values, verdict in cases:
        assert judge_part(below, values)["verdict"] == verdict
        above = Part("ratio", "effect", "ratio", side="above", bound=-0.3)
        assert judge_part(above, [-v for v in values])["verdict"] == verdict


def test_a_null_effect_is_undecided_whichever_side_its_mean_is_on():
    draws = np.random.default_rng(1).normal(0, 1, (400, 5))
    verdicts = [judge_part(EFFECT, row)["verdict"] for row in draws]
    assert 0.92 < verdicts.count("undecided") / 400 < 0.98
    assert {judge_part(EFFECT, s * np.array([-1.0, 0.1, 1.2]))["verdict"]
            for s in (1, -1)} == {"undecided"}


@pytest.mark.parametrize("part, power_at",
                         [(EFFECT, lambda d: d), (Part("gap", "equivalence", "", margin=1e-9),
                                                  None)])
def test_what_would_have_been_shown_is_shown_four_times_in_five(part, power_at):
    """The detectable effect, put in as the true one (or taken as the margin around a true 0), is
    found in 80 %.
    """
    rng, n = np.random.default_rng(2), 8
    sizes = [judge_part(part, row)["detectable"] for row in rng.normal(0, 1, (400, n))
             if judge_part(part, row)["verdict"] == "undecided"]
    size = np.median(sizes)
    if power_at:
        found = [judge_part(part, row)["verdict"] for row in rng.normal(size, 1, (2000, n))]
    else:
        wide = Part("gap", "equivalence", "", margin=size)
        found = [judge_part(wide, row)["verdict"] for row in rng.normal(0, 1, (2000, n))]
    assert 0.72 < found.count("reproduced") / 2000 < 0.88


def test_what_would_have_been_shown_in_words():
    share = Part("kept", "effect", "share", bound=0.5, limits=[0, 1])
    judged = judge_part(share, [0.4, 0.5, 0.6, 0.7])
    assert judged["verdict"] == "undecided"
    assert (would_have_shown(judged, share)
            == f"{judged['detectable']:.2g} beyond 0.5 would have been shown")
    vague = judge_part(share, [0.0, 1.0, 0.0])
    assert would_have_shown(vague, share) == "no difference that is possible would have been shown"
    assert would_have_shown(judge_part(EFFECT, [1.0, 1.1, 1.2]), EFFECT) == ""
    assert would_have_shown(judge_part(EQUAL, [-3.0, 0.1, 3.0]), EQUAL).startswith("a margin of ± ")


def test_what_cannot_fail_is_a_check_and_is_not_counted_as_reproduced():
    sure = Part("visits", "effect", "ratio", side="below", bound=1,
                by_construction="It is a count.")
    assert judge_part(sure, [0.5, 0.5, 0.5])["verdict"] == "passed"
    assert judge_part(sure, [1.5, 1.5, 1.5])["verdict"] == "failed"
    both = claim(sure, EFFECT, EQUAL)
    judged = judge(both, {"visits": [0.5] * 3, "gain": [1.0, 1.1, 1.2], "gap": [0.0, 0.1, 5.0]},
                   profile="quick")
    assert judged["verdict"] == "undecided" and parts_held(judged, both) == "1 of 2"
    alone = judge(claim(sure), [0.5] * 3, profile="quick")
    assert alone["verdict"] == "passed" and parts_held(alone, claim(sure)) == ""


def test_rows_and_targets_are_judged_over_their_seeds():
    rng = np.random.default_rng(0)
    values, seeds = rng.normal(1, 1, 30), np.repeat([1, 2, 3], 10)
    judged = judge_part(EFFECT, values, clusters=list(seeds))
    assert (judged["mean"], judged["low"], judged["high"]) == interval(values, seeds)
    assert judge_part(EFFECT, values[:20] + 9, clusters=[1] * 10 + [2] * 10)["verdict"] == "too few"
    share = Part("share", "effect", "share of targets", side="below", bound=0.2, limits=[0, 1])
    assert judge_part(share, [0.0] * 20)["low"] == 0 < judge_part(share, [0.0] * 20)["high"]
    difference = Part("share", "effect", "difference of shares", limits=[-1, 1])
    judged = judge_part(difference, [0.0] * 20)
    assert judged["low"] == pytest.approx(-judged["high"]) and judged["low"] < 0, (
        "a difference may lie below 0")
    with pytest.raises(LabError, match="2 cluster labels for 30 values"):
        judge_part(EFFECT, values, clusters=[1, 2])


# ------------------------------------------------------------------ edges


def test_too_few_units_never_get_a_verdict():
    for n in (0, 1, 2):
        for part in (EFFECT, EQUAL):
            assert judge_part(part, [5.0] * n)["verdict"] == "too few"
    assert judge_part(EFFECT, [5.0, 5.1, 5.2], min_units=10)["verdict"] == "too few"
    assert judge_part(EFFECT, [5.0] * 20, enough_power=False)["verdict"] == "too few"
    full = claim(EFFECT, profile="full")
    assert judge(full, [5.0, 5.1, 5.2], profile="quick")["verdict"] == "too few"
    assert judge(full, [5.0, 5.1, 5.2], profile="paper")["verdict"] == "reproduced"


def test_the_profile_smoke_judges_nothing_but_reports():
    for part, values in ((EFFECT, [5.0, 5.1, 5.2]), (EQUAL, [0.0, 0.1, 0.0]),
                         (CHECK, [True] * 9), (CHECK, [False] * 9)):
        judged = judge(claim(part), values, profile="smoke")
        assert judged["verdict"] == judged["parts"][0]["verdict"] == "too few"
    assert judge(claim(REPORT), [1.0], profile="smoke")["verdict"] == "report"


def test_one_value_has_no_interval_and_the_record_is_json():
    judged = judge(claim(EFFECT), np.array([2.0]), profile="quick")
    assert (judged["mean"], judged["low"], judged["high"]) == (2.0, None, None)
    json.dumps(judged, allow_nan=False)


def test_values_that_all_agree_have_no_interval_and_no_verdict():
    """Units that could have differed and did not: nothing says by how much the next one would."""
    judged = judge_part(EFFECT, [1.0, 1.0, 1.0])
    assert (judged["low"], judged["high"], judged["verdict"]) == (None, None, "undecided")
    assert judge_part(EFFECT, [0.0, 0.0, 0.0])["verdict"] == "undecided"


def test_the_interval_of_a_share_lies_inside_its_limits_and_a_value_beyond_them_is_named():
    share = Part("kept", "effect", "share", bound=0.9, limits=[0, 1])
    rows, clusters = [1.0] * 29 + [0.0], [0] * 10 + [1] * 10 + [2] * 10
    free, inside = (judge_part(p, rows, clusters=clusters)
                    for p in (Part("kept", "effect", "", bound=0.9), share))
    assert free["high"] > 1 >= inside["high"] and 0 < inside["low"] < free["low"]
    with pytest.raises(LabError, match="got 1.2; it is a quantity from 0 to 1"):
        judge_part(share, [0.5, 1.2, 0.7])
    for c in load_claims().values():
        for p in c.parts:
            known = (0, 1), (-0.5, 0.5), (-1, 1), (-2, 2), (0, 100), (-100, 100), (0, 20)
            assert p.limits is None or tuple(p.limits) in known, c.id


def test_every_quantity_in_shares_or_points_of_a_share_has_its_limits():
    for c in load_claims().values():
        for p in c.parts:
            judged = p.kind in ("effect", "equivalence") and not p.by_construction
            if judged and "share" in p.quantity.split(",")[-1]:
                assert p.limits, f"{c.id}, {p.name}"


def test_checks():
    assert judge_part(CHECK, [True] * 3)["verdict"] == "passed"
    assert judge_part(CHECK, True)["verdict"] == "passed"
    assert judge_part(CHECK, np.array([True, False]))["verdict"] == "failed"
    assert judge_part(CHECK, [])["verdict"] == "too few"
    twenty = Part("same", "check", "deletions", min_units=20)
    assert judge_part(twenty, [True] * 19)["verdict"] == "too few"
    assert judge_part(twenty, [True] * 20)["verdict"] == "passed"
    with pytest.raises(LabError, match="takes True or False"):
        judge_part(CHECK, [1, 1])


def test_reports_take_anything_but_nan():
    assert judge_part(REPORT, ["mlp", "cnn"])["mean"] is None
    assert judge_part(REPORT, [1.0, 2.0])["mean"] == 1.5
    assert judge(claim(REPORT), [{"a": 1}], profile="quick")["verdict"] == "report"
    for part in (REPORT, EFFECT, EQUAL):
        with pytest.raises(LabError, match="NaN"):
            judge_part(part, [1.0, float("nan"), 2.0])
    with pytest.raises(LabError, match="takes numbers"):
        judge_part(EFFECT, ["1", "2", "3"])


def test_conjunction_takes_its_worst_part():
    parts = [Part(v, "report", "") for v in "ab"]
    assert judge(claim(*parts), {"a": [1], "b": [2]}, profile="quick")["verdict"] == "report"
    sample = {
        "failed": (Part("x", "check", ""), [False]),
        "not reproduced": (Part("x", "effect", ""), [-1.0, -1.1, -1.2]),
        "undecided": (Part("x", "effect", ""), [-3.0, -0.1, 2.0]),
        "too few": (Part("x", "effect", ""), [1.0]),
        "reproduced": (Part("x", "effect", ""), [1.0, 1.1, 1.2]),
        "passed": (Part("x", "check", ""), [True]),
        "report": (Part("x", "report", ""), ["text"]),
    }
    assert tuple(sample) == ORDER
    for i, worse in enumerate(sample):
        for better in list(sample)[i:]:
            (p, v), (q, w) = sample[worse], sample[better]
            both = claim(Part("q", q.kind, ""), Part("p", p.kind, ""))
            judged = judge(both, {"p": v, "q": w}, profile="quick")
            assert judged["verdict"] == worse
            if worse != better:
                decides = next(p for p in judged["parts"] if p["name"] == judged["decided_by"])
                assert judged["decided_by"] == "p" and judged["mean"] == decides["mean"]


def test_wrong_parts_units_and_profiles_are_named():
    two = claim(EFFECT, EQUAL)
    with pytest.raises(LabError, match="part 'gap' are missing"):
        judge(two, {"gain": [1, 2, 3]}, profile="quick")
    with pytest.raises(LabError, match="no part 'gian'"):
        judge(two, {"gain": [1, 2, 3], "gap": [0, 0, 0], "gian": [1]}, profile="quick")
    with pytest.raises(LabError, match="part 'gap' are missing"):
        judge(two, [1, 2, 3], profile="quick")
    with pytest.raises(LabError, match="unit 4 is there twice"):
        judge(claim(EFFECT), [1, 2, 3], units=[4, 5, 4], profile="quick")
    with pytest.raises(LabError, match="3 values over 2 seeds"):
        judge(claim(EFFECT), [1, 2, 3], units=[4, 5], profile="quick")
    with pytest.raises(LabError, match="profile 'quik'"):
        judge(claim(EFFECT), [1, 2, 3], profile="quik")


# ------------------------------------------------------------------ merging


def record(c, values, seed, units=None, **more):
    judged = judge(c, values, units=units, profile="quick", clusters=more.pop("clusters", None))
    return judged | {"dataset": "fashion", "parameters": {"seed": seed, "dataset": "fashion"},
                     "labkit": "abc"} | more


def test_merge_equals_judging_the_pooled_values():
    c = claim(EFFECT, EQUAL)
    rng = np.random.default_rng(3)
    a, b = ({"gain": list(rng.normal(1, 1, 4)), "gap": list(rng.normal(0, 1, 4))} for _ in range(2))
    merged, = merge([record(c, a, 0, [1, 2, 3, 4]), record(c, b, 1, [5, 6, 7, 8])], {"test": c})
    pooled = judge(c, {k: a[k] + b[k] for k in a}, units=list(range(1, 9)), profile="quick")
    assert [p.pop("runs") for p in merged["parts"]] == [2, 2]
    assert {k: merged[k] for k in pooled} == pooled
    assert (merged["seeds"], merged["runs"], merged["dataset"]) == ([0, 1], 2, "fashion")


def test_a_run_without_values_of_a_part_is_not_counted_for_it():
    c = claim(EFFECT, EQUAL)
    runs = [record(c, {"gain": [1.0, 1.1, 0.9], "gap": gap}, s, None)
            for s, gap in enumerate([[0.0, 0.1, 0.2], [], [0.1, 0.0, 0.2]])]
    merged, = merge(runs, {"test": c})
    assert {p["name"]: (p["runs"], p["n"]) for p in merged["parts"]} == {"gain": (3, 9),
                                                                         "gap": (2, 6)}
    text = parts_in_words(merged, c)
    assert text.count("in 2 of them") == 1 and text.endswith("in 2 of them")
    out = committed_output("{test.gap} and {test.gain}", {"test": c}, {"test": merged})
    assert re.findall(r"in (\d) runs", out["text/markdown"]) == ["2", "3"]


def test_merge_keeps_configurations_apart_and_refuses_repeats():
    c = claim(EFFECT)
    one = record(c, [1.0, 1.1, 1.2], 0, [1, 2, 3])
    assert len(merge([one, record(c, [1.0, 1.1, 1.2], 0, [1, 2, 3], dataset="digits")],
                     {"test": c})) == 2
    assert len(merge([one, record(c, [1.0, 1.1, 1.2], 0, [1, 2, 3], labkit="def")],
                     {"test": c})) == 2
    with pytest.raises(LabError, match="unit 3 is there twice"):
        merge([one, record(c, [1.0, 1.1, 1.2], 1, [3, 4, 5])], {"test": c})
    without = [record(c, [1.0, 1.1, 1.2], 5), record(c, [1.0, 1.1, 1.2], 5)]
    with pytest.raises(LabError, match="seed 5"):
        merge(without, {"test": c})
    with pytest.raises(LabError, match="does not list"):
        merge([one], {})


def test_merged_targets_stay_clustered():
    c = claim(EFFECT, unit="target")
    rng = np.random.default_rng(4)
    a, b = list(rng.normal(1, 1, 12)), list(rng.normal(3, 1, 12))
    merged, = merge([record(c, a, 0), record(c, b, 1)], {"test": c})
    runs = ["run 0"] * 12 + ["run 1"] * 12
    assert (merged["low"], merged["high"]) == interval(a + b, runs)[1:]
    labelled, = merge([record(c, a, 0, clusters=[1] * 6 + [2] * 6),
                       record(c, b, 1, clusters=[3] * 12)], {"test": c})
    assert labelled["low"] == interval(a + b, [1] * 6 + [2] * 6 + [3] * 12)[1]


def test_from_five_runs_on_the_run_is_the_unit():
    """Seeds of one run share the settings that it chose: with a run that differs, they are no
    independent units.
    """
    c, rng = claim(EFFECT), np.random.default_rng(6)
    runs = [list(rng.normal(shift, 0.01, 3)) for shift in (1, 2, 3, 4, 5)]
    records = [record(c, v, s, [10 * s + i for i in range(3)]) for s, v in enumerate(runs)]
    five, = merge(records, {"test": c})
    four, = merge(records[:4], {"test": c})
    assert (five["low"], five["high"]) == pytest.approx(interval([np.mean(v) for v in runs])[1:])
    assert (four["low"], four["high"]) == pytest.approx(interval(sum(runs[:4], []))[1:])
    target = claim(EFFECT, unit="target")
    five, = merge([record(target, v, s, clusters=[100 * s, 100 * s, 100 * s + 1]) for s,
                   v in enumerate(runs)],
                  {"test": target})
    assert five["low"] == pytest.approx(interval([np.mean(v) for v in runs])[1])


def test_merged_clusters_share_no_inner_seed_and_indices_stay_apart():
    c = claim(EFFECT, unit="target")
    rng = np.random.default_rng(5)
    a, b = list(rng.normal(1, 1, 12)), list(rng.normal(3, 1, 12))
    # the first, second and third seed of a run: other seeds in another run
    index = [0] * 4 + [1] * 4 + [2] * 4
    merged, = merge([record(c, v, s, clusters=index) for s, v in enumerate((a, b))], {"test": c})
    assert len(set(merged["clusters"]["gain"])) == 6
    apart = index + [i + 3 for i in index]
    assert merged["low"] == interval(a + b, apart)[1]
    seeds = [3141204427] * 6 + [1603019294] * 6
    with pytest.raises(LabError, match="inner seed 3141204427 is in two records"):
        merge([record(c, a, 0, clusters=seeds), record(c, b, 1, clusters=[3141204427] * 12)],
              {"test": c})
    merge([record(c, a, 0, clusters=seeds), record(c, b, 1, clusters=[2948674696] * 12)],
          {"test": c})


# ------------------------------------------------------------------ course/chapters/*/claims.yaml


def test_every_claim_is_listed():
    claims = load_claims()
    assert list(claims) == IDS
    assert list(dict.fromkeys(c.chapter for c in claims.values())) == list(chapters())
    for name in NOT_PUBLISHED:
        assert claims[name].figure.startswith("not published")
    assert all(c.says.endswith(".") for c in claims.values())
    assert {c.paper for c in claims.values()} - {"new here"} <= set(cited())


def test_margins_and_bounds_of_the_first_notebook():
    claims = load_claims()
    assert claims["basics-target"].parts[0].margin == 3 and claims["basics-target"].min_units == 10
    assert claims["basics-mia"].parts[1].margin == 0.03
    cost = {p.name.split()[0]: (p.side, p.bound) for p in claims["basics-cost"].parts}
    assert cost == {"visits": ("below", 0.3), "cpu": ("below", 0.3), "gap": ("below", 0.5)}
    assert claims["sparse-random"].profile == "full"


def test_overshooting_is_judged_on_three_methods_and_on_the_side():
    claim = load_claims()["basics-streisand"]
    parts = {tuple(p.name.split()): (p.side, p.bound) for p in claim.parts if p.kind == "effect"}
    methods = ("neggrad_plus", "gradient_ascent", "random_labels")
    assert parts == {("exposure", m): ("above", 0) for m in methods} | {("side", m): ("below", 0)
                                                                        for m in methods}
    assert "on the other side" in claim.says and all(c.known for c in claim.changed)


def test_what_arithmetic_decides_is_called_so():
    """With rows drawn alike, or visits that are sums, only wrong code can fail: never counted as
    reproduced.
    """
    named = {(c.id, p.name) for c in load_claims().values() for p in c.parts
             if p.by_construction and c.chapter in ("start_here", "basics", "sisa")}
    claims = load_claims()
    assert named == {("basics-target", "gap"), ("basics-cost", "visits"),
                     ("basics-mia", "retrained"),
                     ("sisa-exact", "bitwise"), ("sisa-speedup", "visits")} | {
        (name, p.name) for name in ("sisa-cost", "sisa-batch") for p in claims[name].parts}
    exact = judge(claims["sisa-batch"], {"one-slice": [1.04, 1.05, 1.04],
                                         "slices-formula": [0.0, 0.01, -0.01],
                                         "slices": [1.07, 1.07, 1.06]}, profile="quick")
    assert exact["verdict"] == "passed"


@pytest.mark.parametrize("change, message", [
    (lambda c: c.update(extra=1), "'basics-target'.*'extra' is unknown"),
    (lambda c: c.pop("says"), "'basics-target'.*'says' is missing"),
    (lambda c: c["parts"][0].update(kind="efect"), "'basics-target'.*'kind' must be one of"),
    (lambda c: c["parts"][0].pop("quantity"), "'basics-target'.*'quantity' is missing"),
    (lambda c: c["parts"][0].pop("margin"), "'basics-target'.*'margin'"),
    (lambda c: c["parts"][0].update(side="over"), "'basics-target'.*'side'"),
    (lambda c: c["parts"][0].update(limits=[1, 0]), "'basics-target'.*'limits'"),
    (lambda c: c["parts"][0].update(limits=1), "'basics-target'.*'limits'"),
    (lambda c: c["parts"][0].update(by_construction=True), "'basics-target'.*'by_construction'"),
    (lambda c: c.update(changed=[{"date": "2026-01-01", "predicate": "a", "why": "b"}]),
     "'basics-target'.*'known'"),
    (lambda c: c.update(changed=["softer"]), "'basics-target', changed.*mapping"),
    (lambda c: c["parts"].append(c["parts"][0]), "'basics-target'.*'parts' must be named apart"),
    (lambda c: c.update(id="basics-cost"), "'basics-cost'.*'id' is there twice"),
    (lambda c: c.update(profile="fast"), "'basics-target'.*'profile'"),
    (lambda c: c.update(profile="smoke"), "'basics-target'.*'profile'"),
    (lambda c: c.update(paper="Nobody 1999"), "'basics-target'.*'paper'"),
    (lambda c: c.update(parts=[]), "'basics-target'.*'parts'"),
    (lambda c: c.update(notebook=1), "'basics-target'.*'notebook'"),
])
def test_a_bad_entry_is_named(tmp_path, change, message):
    content = yaml.safe_load((HERE / "basics" / "claims.yaml").read_text(encoding="utf-8"))
    change(content[0])
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(LabError, match=message) as error:
        load_claims(tmp_path / "claims.yaml")
    assert "\n" not in str(error.value)


def test_an_unreadable_file_is_one_sentence(tmp_path):
    (tmp_path / "claims.yaml").write_text("- id: [", encoding="utf-8")
    for path in (tmp_path / "claims.yaml", tmp_path / "none.yaml"):
        with pytest.raises(LabError, match="cannot be read"):
            load_claims(path)
    (tmp_path / "claims.yaml").write_text("claims: 3", encoding="utf-8")
    with pytest.raises(LabError, match="must be a list of claims"):
        load_claims(tmp_path / "claims.yaml")
