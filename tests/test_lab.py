"""course.lab and labkit.base: settings, seeds, what stands in a notebook's output, errors of one
sentence.
"""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import labkit as lk
from course.lab import Lab
from course.runs.notebook import MIME
from labkit import base
from labkit.base import LabError, NotForThisData, show

matplotlib.use("Agg")


@pytest.fixture(scope="module", autouse=True)
def shell(tmp_path_factory):
    """IPython as a kernel has it, so that `display` publishes rather than prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        hooks = sys.displayhook, sys.excepthook
        yield InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
        InteractiveShell.clear_instance()
        sys.displayhook, sys.excepthook = hooks


@pytest.fixture
def lab(shell):
    with capture_output():
        return Lab("basics", seed=3)


def bundles(function):
    """What a cell with this call leaves in its output: (result, [data of each display])."""
    with capture_output() as caught:
        result = function()
    return result, [o.data for o in caught.outputs]


def kept(found):
    """The machine-readable part of the only output, after a trip through JSON as in an .ipynb."""
    (data,) = found
    assert set(data) >= {MIME, "text/plain"} and data["text/plain"]
    return json.loads(json.dumps(data[MIME], allow_nan=False))


def refuses(function, *words):
    with pytest.raises(LabError) as caught:
        function()
    text = str(caught.value)
    assert "\n" not in text and text.endswith(".") and all(w in text for w in words), text


# ---- settings

def test_settings_start_from_quick_in_smoke_and_full_and_from_full_in_paper():
    layers = dict(quick=dict(rows=10, epochs=1, seeds=2), full=dict(rows=100, seeds=5),
                  paper=dict(epochs=60), smoke=dict(rows=3))
    expected = {"smoke": dict(rows=3, epochs=1, seeds=2),
                "quick": dict(rows=10, epochs=1, seeds=2), "full": dict(rows=100, epochs=1,
                                                                        seeds=5),
                "paper": dict(rows=100, epochs=60, seeds=5)}
    for profile, settings in expected.items():
        with capture_output():
            plain = Lab("basics", profile=profile)
            overruled = Lab("basics", profile=profile, seeds=7)
        assert vars(plain.settings(**layers)) == settings
        assert vars(overruled.settings(**layers)) == settings | {"seeds": 7}
        assert vars(plain.settings(quick=dict(a=1))) == {"a": 1}
    assert layers["quick"] == dict(rows=10, epochs=1,
                                   seeds=2), "the given settings must stay as they are"


def test_a_lab_refuses_what_it_cannot_use():
    refuses(lambda: Lab("basics", profile="fast"), "'fast'", "quick", "full", "paper")
    for seed in (-1, 1.5, "0", True, None):
        refuses(lambda s=seed: Lab("basics", seed=s), repr(seed), "0 or more")
    for seeds in (0, -3, 2.0, "five", True):
        refuses(lambda s=seeds: Lab("basics", seeds=s), repr(seeds), "1 or more")


# ---- seeds

def test_no_two_purposes_and_outer_seeds_share_an_inner_seed(lab):
    everything = []
    for lab.seed in range(51):
        for purpose in ("judge", "tune", "other"):
            everything += lab.seeds(20, purpose)
    assert len(set(everything)) == len(everything) == 51 * 3 * 20
    assert all(isinstance(s, int) and 0 <= s < 2**32 for s in everything)
    assert not set(everything) & set(range(51))


def test_no_two_outer_seeds_of_any_notebook_share_an_inner_seed():
    """The purposes that the notebooks name, outer seeds 0 to 9, 60 seeds each; then what is spawned
    from those.
    """
    sources = [p.read_text(encoding="utf-8") for p in (Path(__file__).parents[1] / "notebooks"
                                                       / "source").glob("*.py")]
    named = [re.findall(rf'{call}\([^"()]*(?:\([^()]*\))?[^"()]*(?:, "([^"]+)")?\)', text)
             for text in sources for call in (r"lab\.seeds", r"spawn_seeds")]
    purposes = sorted({purpose or "judge" for found in named for purpose in found})
    assert {"judge", "tune", "count", "count many", "labels", "linear"} <= set(purposes)
    first = [s for seed in range(10) for p in purposes for s in base.spawn_seeds(seed, 60, p)]
    assert len(set(first)) == len(first)
    second = [s for seed in range(10) for one in base.spawn_seeds(seed, 10, "judge")
              for p in purposes
              for s in base.spawn_seeds(one, 5, p)]
    assert len(set(first + second)) == len(first + second) > 10000


def test_seeds_are_the_same_every_time_and_more_seeds_begin_with_the_fewer(lab):
    assert lab.seeds(5) == lab.seeds(5) == lab.seeds(5, "judge") == lab.seeds(10)[:5]
    assert base.spawn_seeds(3, 4, "judge") == lab.seeds(4) != base.spawn_seeds(4, 4, "judge")


def test_the_global_generator_starts_from_the_seed():
    import torch

    drawn = []
    for seed in (5, 5, 6):
        with capture_output():
            Lab("basics", seed=seed)
        drawn.append(torch.rand(3).tolist())
    assert drawn[0] == drawn[1] != drawn[2] and torch.get_num_threads() == 1


# ---- what is kept in the output

def test_the_setup_says_what_runs_where():
    _, found = bundles(lambda: Lab("basics", profile="quick", seed=4))
    setup = kept(found)
    assert setup["kind"] == "setup" and {"torch", "numpy",
                                         "python"} <= set(setup["versions"]) and setup["device"]
    assert all(w in found[0]["text/plain"] for w in ("Notebook 01", "quick", "seed 4"))


def test_loading_leaves_the_datas_digest(lab):
    data, found = bundles(lambda: lab.load(n_train=50, n_test=50))
    assert kept(found) == {"kind": "setup", "data": data.digest(), "rows": 50}
    assert data.summary() in found[0]["text/plain"]
    with capture_output():
        assert len(lab.load(label_noise=0.1).y) == 6000


def test_a_folders_place_stays_private(lab, tmp_path, monkeypatch):
    """The path of a learner's folder tells names; a notebook that is handed in shows its last part
    only.
    """
    from PIL import Image

    for split, name, i in itertools.product(("train", "test"), ("cat", "dog"), range(3)):
        folder = tmp_path / "secret" / "pets" / split / name
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 40, 3), 20 * i, np.uint8)).save(folder / f"{i}.png")
    monkeypatch.setattr(lab, "dataset", f"folder:{tmp_path / 'secret' / 'pets'}")
    _, found = bundles(lambda: lab.load(min_rows=(3, 3)))
    assert "folder:pets" in found[0]["text/plain"] and "secret" not in json.dumps(found[0],
                                                                                  default=str)


def test_a_rare_class_ends_the_notebook_as_skipped(lab, tmp_path, monkeypatch):
    """Before anything is trained, with the class, its numbers and what to do; as loaded, or as
    redrawn.
    """
    from PIL import Image

    def count(part, name, n):
        (tmp_path / part / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            Image.new("L", (8, 8), i).save(tmp_path / part / name / f"{i}.png")

    monkeypatch.setattr(lab, "dataset", f"folder:{tmp_path}")
    for name, n, n_test in (("dog", 40, 40), ("cat", 30, 20), ("rare", 6, 5)):
        count("train", name, n), count("test", name, n_test)
    assert bundles(lab.load)[0].rare(7, 1) == [("rare", 6, 5)], "as loaded"
    with pytest.raises(NotForThisData,
                       match=r"at least 7 training and 1 test rows.* class 'rare' "
                             r"has 6 and 5: add"):
        bundles(lambda: lab.load(min_rows=(7, 1)))
    with pytest.raises(NotForThisData, match=r"'cat' has 30 and 20 \(and 1 more have"):
        bundles(lambda: lab.load(min_rows=(35, 5)))
    # now only one row of five is a test row, and so are two or three of the eleven
    count("train", "dog", 240)
    drawn = bundles(lambda: lab.load(min_rows=(1, 1)))[0]
    assert drawn.rare(1, 5) == [("rare", 6, 5)] and not drawn.rare(1, 3)
    mean = np.mean([(drawn.resplit(s).y_test == drawn.classes.index("rare")).sum()
                    for s in range(200)])
    assert 1.7 < mean < 3, "the oracle for what is expected of a redraw: 11 rows x 65 / 341"
    with pytest.raises(NotForThisData, match="'rare' has 6 and 5"):
        bundles(lab.load)


def test_class_names_are_no_formulas(lab, tmp_path, monkeypatch):
    """In titles, labels and ticks of a figure and in sentences; formulas of the notebook stay
    formulas.
    """
    import matplotlib.pyplot as plt
    from PIL import Image

    names = ["$5_$10", "100 $ {or}$ ^more"]
    for part, name, i in itertools.product(("train", "test"), names, range(5)):
        (tmp_path / part / name).mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), i).save(tmp_path / part / name / f"{i}.png")
    monkeypatch.setattr(lab, "dataset", f"folder:{tmp_path}")

    def drawn(use=True):
        fig, axes = plt.subplots(1, 2)
        (axes[0].set_title(names[0]), axes[0].set_xlabel(f"class {names[1]}"),
         axes[1].set_title("$\\sigma(m)$"))
        axes[0].set_xticks([0, 1], names)
        lab.figure(fig, "A figure without any content, with the names of classes all over it.")
        return [t.get_text() for ax in axes for t in ax.findobj(plt.Text) if t.get_parse_math()
                and "$" in t.get_text()]

    with pytest.raises(ValueError):
        bundles(drawn)  # the names are formulas to a Lab that has not seen them
    bundles(lab.load)
    assert bundles(drawn)[0] == ["$\\sigma(m)$"]
    _, found = bundles(lambda: lab.say("The class $5_$10 is $x$."))
    assert found[0]["text/markdown"] == "The class \\$5_\\$10 is $x$."


def test_a_record_is_plain_json(lab):
    frame = pd.DataFrame({"UA": [1.5, 2.5]}, index=pd.Index(["a", "b"], name="method"))
    value = {"list": [1, 2.5, "x", None, True], "array": np.arange(3), "number": np.float32(0.5),
             7: (1, 2),
             "table": frame, "deep": [{"n": np.int64(3)}]}
    _, found = bundles(lambda: lab.record("mine", value))
    assert kept(found) == {"kind": "record", "name": "mine", "value": {
        "list": [1, 2.5, "x", None, True], "array": [0, 1, 2], "number": 0.5, "7": [1, 2],
        "table": {"method": ["a", "b"], "UA": [1.5, 2.5]}, "deep": [{"n": 3}]}}
    import torch

    assert (kept(bundles(lambda: lab.record("t", torch.tensor([1.0, 2.0])))[1])["value"]
            == [1.0, 2.0])


@pytest.mark.parametrize("value", [float("nan"), {"a": [1.0, float("inf")]}, np.array([np.nan]),
                                   object(),
                                   pd.DataFrame({"x": [1.0, np.nan]})], ids=type)
def test_a_record_refuses_what_json_cannot_hold(lab, value):
    with capture_output() as caught:
        refuses(lambda: lab.record("broken", value), "'broken'")
    assert not caught.outputs, "a refused record must not be shown"


def test_a_claim_is_judged_shown_and_kept(lab):
    units = lab.seeds(10)
    values = np.linspace(-0.4, 0.4, 10)
    result, found = bundles(lambda: lab.claim("basics-target", values, units=units))
    bundle = kept(found)
    assert bundle["kind"] == "claim" and bundle["claim"] == json.loads(json.dumps(result))
    assert (result["id"] == "basics-target" and result["verdict"] == "passed" and lab.claims
            == [result])
    (part,) = result["parts"]
    assert (part["values"] == pytest.approx(values.tolist()) and part["n"] == 10 and part["low"] < 0
            < part["high"])
    assert ("basics-target: passed" in found[0]["text/plain"]
            and "by construction" in found[0]["text/plain"])
    with capture_output() as caught:
        refuses(lambda: lab.claim("no-such-claim", [1.0]), "'no-such-claim'", "claims.yaml")
        refuses(lambda: lab.claim("basics-target", [1.0, float("nan")]), "basics-target")
    assert lab.claims == [result] and not caught.outputs


def test_beside_a_run_stands_what_all_committed_runs_say(lab, monkeypatch, tmp_path):
    """Five committed runs decide what this one leaves open; another data set has none of them."""
    from course import pooling as module

    rng = np.random.default_rng(0)
    for seed in range(5):
        judged = module.judge(lab._catalogue["basics-ga-damage"], rng.normal(3, 1, 4),
                              profile="quick")
        record = {"notebook": "01_basics", "status": "ok", "claims": [judged],
                  "parameters": {"profile": "quick", "dataset": "fashion", "seed": seed}}
        (tmp_path / f"01_basics-s{seed}.json").write_text(json.dumps(record), encoding="utf-8")
    monkeypatch.setattr(module, "data_path", lambda name: tmp_path)
    module.pooled_claims.cache_clear()
    result, (data,) = bundles(lambda: lab.claim("basics-ga-damage", [-1.0, 1.0, 4.0]))
    assert result["verdict"] == "undecided" and "basics-ga-damage: undecided" in data["text/plain"]
    assert "All 5 committed runs together: reproduced (" in data["text/plain"]
    _, (data,) = bundles(lambda: lab.say_committed("It is {basics-ga-damage} in all."))
    said = r"It is [\d.]+ \[[\d.]+, [\d.]+\] \(reproduced, 20 seeds in 5 runs\) in all\."
    assert re.fullmatch(said, data["text/markdown"])
    refuses(lambda: lab.say_committed("{basics-ga-damage.other}"), "basics-ga-damage.other")
    lab.dataset = "digits"
    assert "committed" not in bundles(lambda: lab.claim("basics-ga-damage",
                                                        [1.0, 2.0, 3.0]))[1][0]["text/plain"]
    module.pooled_claims.cache_clear()


def test_the_table_of_claims_shows_paper_figure_ours_and_verdict(lab):
    with capture_output():
        lab.claim("basics-target", np.linspace(-0.4, 0.4, 10))
    _, (data,) = bundles(lab.claims_table)
    assert all(word in data["text/html"] for word in ("passed", "its figure",
                                                      "<td>0.00 [-0.19, 0.19]"))


def test_a_table_escapes_html(lab):
    frame = pd.DataFrame({"<b>column</b>": ["<script>alert(1)</script>", "a & b"],
                          "x": [1.23456, 2.0]},
                         index=pd.Index(["<i>row</i>", "plain"], name="<u>name</u>"))
    before = frame.copy()
    _, (data,) = bundles(lambda: lab.table(frame, "<img src=x> caption", digits=2))
    page = data["text/html"]
    for tag in ("<script", "<b>column", "<i>", "<u>", "<img"):
        assert tag not in page
    assert "&lt;script&gt;" in page and "a &amp; b" in page and "&lt;img" in page
    assert "1.23" in page and "1.2345" not in page
    pd.testing.assert_frame_equal(frame, before)


def test_a_figure_wants_words_for_those_who_cannot_see_it(lab):
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    ax.plot([1, 2])
    refuses(lambda: lab.figure(fig, "A line."), "40 characters")
    alt = "A straight line that climbs from one to two, the same in every run."
    with capture_output() as caught:
        lab.figure(fig, alt)
    (output,) = caught.outputs
    assert output.data["image/png"] and output.metadata["image/png"]["alt"] == alt
    assert not plt.fignum_exists(fig.number), ("a shown figure is closed, so that it is not shown "
                                               "twice")


def test_say_and_show_are_markdown(lab):
    _, (data,) = bundles(lambda: lab.say("One.", "Two."))
    assert data["text/markdown"] == "One. Two."
    _, (data,) = bundles(lambda: show(lk.measure.gap))
    assert ("# labkit/measure/accuracy.py" in data["text/markdown"]
            and "def gap(" in data["text/markdown"])


def test_a_notebook_can_end_early(lab):
    assert lab.require(True, "It can.") is None
    with pytest.raises(NotForThisData, match="^It needs 3 classes.$"):
        lab.require(False, "It needs 3 classes.")


# ---- errors

def test_an_error_is_one_line_and_no_traceback(shell):
    for error in (LabError("Wrong: do this."), NotForThisData("Not here.")):
        assert error._render_traceback_() == [f"labkit: {error}"]
    with capture_output() as caught:
        shell.run_cell("from labkit.base import LabError\ndef deep():\n    raise LabError('Wrong: "
                       "do this.')\ndeep()")
    shown = (caught.stdout + caught.stderr).strip()
    assert shown == "labkit: Wrong: do this."


def test_the_package_names_what_it_has():
    assert set(lk.__all__) <= set(dir(lk)) and all(getattr(lk, name) is not None
                                                   for name in lk.__all__)
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = lk.nothing


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          timeout=120)
    return done.stdout.strip()


@pytest.mark.slow  # about 12 s: torch is imported three times
def test_importing_labkit_costs_a_second_at_most_beyond_torch():
    code = ("import time, torch\nstart = time.perf_counter()\nimport labkit\n"
            "labkit.data, labkit.models, labkit.training, labkit.measure, labkit.unlearn\n"
            "print(time.perf_counter() - start)")
    assert min(float(python(code)) for _ in range(3)) < 1


def test_heavy_packages_wait_until_they_are_used():
    code = ("import sys, labkit\nprint('torch' in sys.modules)\n"
            "labkit.data, labkit.models, labkit.training, labkit.measure, labkit.unlearn\n"
            "print([m for m in ('sklearn', 'seaborn', 'torchmetrics', 'torchvision', 'matplotlib', "
            "'pandas', "
            "'scipy.stats', 'IPython') if m in sys.modules])")
    assert python(code).split("\n") == ["False", "[]"]
