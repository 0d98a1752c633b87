"""The notebook on requests: what its own functions do with a network that diverged.

The functions are taken from its source.
"""

import ast
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import labkit as lk
from course.chapters import requests

SOURCE = Path(__file__).parents[3] / "notebooks" / "source" / "03_requests.py"


@pytest.fixture
def notebook():
    """The notebook's functions over three victims of two targets each, without anything trained."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef)
                 and not node.decorator_list]
    names = {"lk": lk, "here": requests, "np": np, "pd": pd, "torch": torch, "PERCENT": (0, 100),
             "KAPPA": 0.5,
             "interval": lk.measure.interval, "show": lk.measure.show_interval,
             "networks": [0, 0, 1, 1, 2, 2], "judged": [10, 11, 12],
             "ALL": [(i, j) for i in range(3) for j in range(2)]}
    exec(compile(tree, SOURCE.name, "exec"), names)
    return names


def network(weight=None):
    net = nn.Linear(3, 2)
    if weight is not None:
        nn.init.constant_(net.weight, weight)
    return net


@pytest.fixture
def victim():
    x, y = torch.ones(40, 3), torch.arange(40) % 2
    return SimpleNamespace(x=x[:2], label=[0, 1], validation=(x, y))


def diverges(*_):
    raise lk.Diverged("It diverged.")


def test_a_methods_network_that_diverges_or_answers_nan_is_a_lost_run(notebook, victim):
    notebook["HOW"] = {"raises": diverges, "nan": lambda *_: network(float("nan")),
                       "well": lambda *_: network(0.1)}
    assert notebook["unlearned"](victim, "raises", None) is None
    assert notebook["unlearned"](victim, "nan", None) is None
    assert isinstance(notebook["unlearned"](victim, "well", None), nn.Module)
    for row in notebook["outcomes"](victim, range(2), None):
        assert row.pop("j") in (0, 1) and np.isnan(list(row.values())).all()
    rows = notebook["outcomes"](victim, range(2), network(0.1))
    assert [row["j"] for row in rows] == [0, 1] and np.isfinite([v for row in rows
                                                                 for v in row.values()]).all()
    assert rows[0]["p"] + rows[1]["p"] == pytest.approx(1)  # one input, two labels


def test_a_reference_that_answers_nan_is_not_passed_over(notebook, victim):
    with pytest.raises(lk.Diverged):
        notebook["answer"](victim, 0, network(float("nan")))


def test_a_lost_run_is_no_success_and_in_no_mean(notebook):
    nan = float("nan")
    assert notebook["percent"]([1, nan, 1, 1, 1, nan]).startswith("67 [")
    frame = pd.DataFrame({"i": [0, 0, 1, 1, 2, 2], "dH": [1.0, nan, 2.0, 2.0, 3.0, 3.0]})
    assert notebook["told"](frame, "dH").startswith("2 [") and notebook["ends"](frame, "dH")[0] < 1
    notebook["lab"] = SimpleNamespace(claim=lambda name, parts, clusters: (name, parts, clusters))
    name, parts, clusters = notebook["judged_on"]("some", {"a": [1.0, nan, 0.0, 1.0, 1.0, 1.0],
                                                           "one": [2.0]})
    assert parts == {"a": [1.0, 0.0, 1.0, 1.0, 1.0], "one": [2.0]}
    # the label of the lost target is gone, and no other
    assert clusters == {"a": [10, 11, 11, 12, 12]}
