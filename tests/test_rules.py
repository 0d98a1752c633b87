"""The table of refusals and its decorator."""

import copy
import inspect
import math
import pickle
import time

import numpy as np
import pytest
import torch

from labkit import training
from labkit.base import LabError
from labkit.processes import parallel
from labkit.rules import RULES, check, checked

ODD = [None, True, "x", -1, 0, 0.5, 1, 2**70, math.nan, math.inf, [1], {}, np.ones(2), torch.eye(9)]
GOOD = {  # of each kind of rule one value inside, and one just outside
    "batch": (1, 0), "steps": (0, -1), "n_classes": (2, 1), "size": (4, 3),
    "seed": (2**64 - 1, 2**64),
    "lr": (0, math.inf), "alpha": (math.inf, -1e-9), "temperature": (1e-9, 0),
    "epsilon": (math.inf, 0), "momentum": (0, 1), "tau": (-3.5, math.nan), "share": (1, 0),
    "level": (0.5, 1), "momentum ": (np.float32(0.5), np.float64(1)),
    "sparsity": (0, 1), "delta": (0.5, 0), "p": (0, 1.1), "passes, 0 or more": (0.5, -0.5),
    "schedule": ("constant", "cosine"), "build": (dict, {}),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_lets_pass_or_says_one_sentence(name):
    for value in ODD:
        try:
            check(name, value)
        except LabError as error:
            text = str(error)
            assert name in text and "\n" not in text and text.endswith(".") and len(text) < 300


@pytest.mark.parametrize("name", GOOD)
def test_the_edge_of_a_rule(name):
    inside, outside = GOOD[name]
    check(name.strip(), inside)
    with pytest.raises(LabError):
        check(name.strip(), outside)


@checked(share="below 1", rows=None)
def example(x, lr, *, rows=(), share=0.1, size=None, steps=1, **settings):
    """What it says."""
    return x, lr, rows, share, size, steps, settings


def test_the_decorator_looks_at_what_is_given_in_any_way():
    assert example(-1, 0.5, rows=[-1], epochs=2) == (-1, 0.5, [-1], 0.1, None, 1, {"epochs": 2})
    assert example(1, lr=1, size=None)[4] is None  # None is its default
    for bad, word in ((dict(lr=-1), "lr is -1"), (dict(lr=1, share=1), "share is 1"),
                      (dict(lr=1, steps=None), "steps is None"),
                      (dict(lr=1, momentum=1), "momentum is 1")):
        with pytest.raises(LabError, match=word):
            example(1, **bad)
    with pytest.raises(LabError, match="lr is nan"):
        example(1, math.nan)
    with pytest.raises(TypeError):
        example(1, 2, 3)


def test_a_checked_function_is_still_itself():
    assert example.__doc__ == "What it says." and "share" in inspect.signature(example).parameters
    assert inspect.getsource(example).startswith("@checked(")
    assert "return x, lr" in inspect.getsource(example)
    assert pickle.loads(pickle.dumps(example)) is example and copy.deepcopy(example) is example
    assert "optimizer = " in inspect.getsource(training.fit)


def test_a_worker_refuses_in_the_same_words():
    assert parallel(lambda i: example(i, 0.5)[0], range(3), workers=2) == [0, 1, 2]
    with pytest.raises(LabError, match="^lr is -1: give a finite number, 0 or more.$"):
        parallel(lambda i: example(i, -i), range(3), workers=2)


def test_looking_costs_microseconds():
    start = time.process_time()
    for _ in range(2000):
        example(1, 0.5, share=0.2, steps=3)
    assert (time.process_time() - start) / 2000 < 1e-4


def test_a_rule_that_is_not_there_is_told_where_the_function_is_written():
    with pytest.raises(KeyError):
        checked(lr="no such rule")(lambda lr: lr)
