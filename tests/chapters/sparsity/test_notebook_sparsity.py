"""Notebook 12: a network that diverged is a method's lost run, counted and told; a reference that
diverges ends it.

The functions are those of the notebook's source, on a data set of 8 × 8 pixels.
"""

import ast
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import labkit as lk
from course.chapters import sparsity as here  # noqa: F401  (the notebook's name for it)
from labkit import measure, unlearn  # noqa: F401  (the notebook's functions read it)

SOURCE = Path(__file__).resolve().parents[3] / "notebooks" / "source" / "12_sparsity.py"
BLOWN = 1e38  # finite weights of this size answer infinity and NaN
LOST = {"UA": 100.0, "MIA": 100.0, "RA": 0.0, "TA": 0.0}


@pytest.fixture
def nb():
    """The notebook's functions beside what they read: one split, one network, two methods."""
    data = lk.data.load("digits", at_most=(300, 100))
    names = {"copy", "np", "pd", "torch", "partial", "lk", "measure", "unlearn", "here"}
    space = {name: globals().get(name) for name in names} | {
        "data": data, "n": len(data.y), "profile": "quick", "shape": {},
                                                             "CHOSEN": {"l1": 0, "GA": 0},
        "cfg": SimpleNamespace(lr=0.1, model="strided_cnn"),
        "recipe": dict(epochs=1, lr=0.05, batch_size=64), "probe": lambda model: 50.0,
        "mia_efficacy": lambda retain, test, forget: 100.0 * float(np.mean(forget < 0.5)),
        "GRID": {m: [dict(strength=1), dict(strength=2)] for m in ("l1", "GA")},
        "FIXED": {"l1": {}, "GA": {}}, "LOST": LOST}
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    wanted = {"build", "each_row", "show", "on", "attempt", "parallel", "score", "contest", "least",
              "three_convolutions"}
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef)
             and node.name in wanted]
    assert {node.name for node in found} == wanted
    exec(compile(ast.Module(found, []), str(SOURCE), "exec"), space)
    return SimpleNamespace(**space, space=space)


def blown_up(model, data, forget, strength):
    """A network of finite weights that answers NaN."""
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.full_like(p, BLOWN))
    return model


def diverging(model, data, forget, strength):
    raise lk.Diverged("its weights are no longer finite")


def contest(nb, **methods):
    nb.space["METHODS"] = methods
    network = nb.build(0)
    return nb.contest(((nb.data, 0, 0.0, network, None, 0.0), 0, {name: [0] for name in methods}))


@pytest.mark.parametrize("bad", [blown_up, diverging])
def test_a_methods_network_that_diverged_is_a_lost_row(nb, bad):
    rows = contest(nb, l1=bad, GA=lambda model, data, forget, strength: nb.build(1))
    by = {r["method"]: r for r in rows}
    assert [r["lost"] for r in rows] == [False, False, True, False]
    assert {c: by["l1"][c] for c in LOST} == LOST
    # claims need a number of every split
    assert np.isfinite(by["l1"]["cpu"]) and by["l1"]["digits"] == 10.0
    assert np.isnan(by["l1"]["distance"]) and np.isfinite(by["GA"]["distance"])


@pytest.mark.parametrize("who", ["original", "retrained"])
def test_a_reference_that_answers_nan_ends_the_notebook_with_what_to_lower(nb, who):
    good, data = nb.build(0), nb.data
    bad = blown_up(nb.build(0), data, None, 1)
    nb.space["METHODS"] = {"GA": lambda model, data, forget, strength: nb.build(1)}
    if who == "retrained":
        nb.space["unlearn"] = SimpleNamespace(retrain=lambda *a, **k: bad,
                                              prune_then=here.prune_then)
    job = ((data, 0, 0.0, bad if who == "original" else good, None, 0.0), 0, {"GA": [0]})
    with pytest.raises(lk.LabError,
                       match="original or a retrained network.*lower lr, now 0.1") as caught:
        nb.parallel(nb.contest, [job])
    assert not isinstance(caught.value, lk.Diverged), "attempt would take it for a method's"


def test_a_setting_that_diverged_once_is_not_chosen(nb):
    runs = pd.DataFrame([("l1", 0, 1.0, False), ("l1", 0, 1.0, True), ("l1", 1, 40.0, False),
                         ("GA", 0, 5.0, False), ("GA", 1, 9.0, False)],
                        columns=["method", "setting", "gap", "lost"])
    chosen, mean = nb.least(runs)
    assert chosen == {"l1": 1, "GA": 0} and mean["l1"][0] == np.inf and mean["GA"][1] == 9


def test_words_of_values_of_which_some_are_lost(nb):
    percent = partial(nb.show, limits=(0, 100))
    assert percent([np.nan, np.nan]) == "no value (2 of 2 diverged)"
    rows = measure.show_interval([100] * 90, clusters=[0, 1, 2] * 30, limits=(0, 100))  # 30 a class
    assert percent([7.0]) == "7" and percent([100.0] * 3) == rows != measure.show_interval(
        [100] * 3, limits=(0, 100))
    there = measure.show_interval([10, 20, 30], limits=(0, 100))
    assert percent([10.0, 20.0, 30.0, np.nan]) == f"{there} (1 of 4 diverged)"


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 9, 13)])
def test_the_second_network_takes_pictures_of_any_size(nb, shape):
    net = nb.three_convolutions(shape, 7)
    assert net(torch.zeros(2, *shape)).shape == (2, 7)
    assert sum(isinstance(m, torch.nn.Conv2d) for m in net) == 3
