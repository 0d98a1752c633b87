"""What a parameter may be, by its name, and in which words it is refused: one table for all.

    @checked                                 each argument whose name is in RULES is looked at first
    @checked(epochs="passes, 0 or more")     here epochs follows another rule
    @checked(rows=None)                      here rows follows none

None is allowed where it is the default. What concerns two parameters stays in the function.
"""

from functools import wraps
from inspect import signature
from math import inf, isfinite

import numpy as np

from .base import LARGEST_SEED, LabError


def is_whole(value) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_number(value) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def some(items) -> str:
    text = ", ".join(map(str, items)).replace("\n", " ")
    return text if len(text) <= 120 else text[:120] + " …"


def _whole(least):
    return lambda v: is_whole(v) and v >= least, f"a whole number, {least} or more"


def _number(test, words):
    return lambda v: is_number(v) and test(v), words


def _one_of(*choices):
    return lambda v: isinstance(v, str) and v in choices, choices


RULES = {name: rule for names, rule in {
    # counts
    "batch batch_size candidates cg_steps chunk count every n n_rows": _whole(1),
    "pairs period restarts rounds shards slices triggers": _whole(1),
    "decimals epochs max_epochs steps": _whole(0),
    "n_classes": _whole(2),
    "size": (lambda v: is_whole(v) and v >= 4, "the images' side in pixels, a whole number from 4"),
    "seed init_seed": (lambda v: is_whole(v) and 0 <= v <= LARGEST_SEED,
                       "a whole number, 0 or more, of 64 bits at most"),
    # strengths
    "damping lr noise_multiplier nudge rms weight_decay":
        _number(lambda v: 0 <= v < inf, "a finite number, 0 or more"),
    "alpha cap dampening eps gamma kappa tolerance weight":
        _number(lambda v: v >= 0, "a number, 0 or more"),
    "clip temperature": _number(lambda v: 0 < v < inf, "a finite number above 0"),
    "epsilon": _number(lambda v: v > 0, "a positive number, or math.inf for no promise"),
    "momentum": _number(lambda v: 0 <= v < 1, "a number from 0 to below 1"),
    "beta drift limit scale tau value": _number(isfinite, "a finite number"),
    # shares and rates
    "near sample_rate share": _number(lambda v: 0 < v <= 1, "a share above 0 and up to 1"),
    "label_noise p q": _number(lambda v: 0 <= v <= 1, "a share between 0 and 1"),
    "false_positives floor level": _number(lambda v: 0 < v < 1, "a share above 0 and below 1"),
    "sparsity": _number(lambda v: 0 <= v < 1, "a share of the weights from 0 to below 1, as 0.95"),
    "delta": _number(lambda v: 0 < v < 1,
                     "a number between 0 and 1, below one over the number of rows"),
    "change": _one_of("order", "float64"),
    "curvature": _one_of("gauss-newton", "hessian"),
    "gamma_schedule": _one_of("decaying", "growing", "constant"),
    "horizon": _one_of("greedy", "receding"),
    "moments": (lambda v: isinstance(v, str) and v in ("train", "test"),
                "'train' or 'test', the rows whose mean and spread are used"),
    "replace": _one_of("nearest", "random"),
    "schedule": _one_of("onecycle", "constant", "multistep"),
    "build": (callable, "a function from a seed to a fresh network"),
}.items() for name in names.split()}
RULES |= {  # for @checked(name="…") where a name means something else, or more is allowed
    "passes, 0 or more": _number(lambda v: 0 <= v < inf,
                                 "passes over the rows, 0 or more; fractions are allowed"),
    "above 0": RULES["temperature"], "from 1": RULES["batch"], "below 1": RULES["level"],
    "from 0 to 1": RULES["p"],
}


def check(name, value, rule=None):
    """LabError if the value breaks the rule, one of RULES (default: that of its name)."""
    fits, words = rule or RULES[name]
    if fits(value):
        return
    said = some([repr(value)])
    if isinstance(words, str):
        raise LabError(f"{name} is {said}: give {words}.")
    choices = ", ".join(map(repr, words[:-1])) + f" or {words[-1]!r}"
    raise LabError(f"There is no {name} {said}: choose {choices}.")


def checked(function=None, /, **rules):
    """Decorator: refuses each given argument, also of **settings, that breaks its name's rule."""
    if function is None:
        return lambda f: checked(f, **rules)
    parameters = signature(function).parameters
    optional = {name for name, p in parameters.items() if p.default is None}
    due = RULES | {name: rule and RULES[rule] for name, rule in rules.items()}

    @wraps(function)
    def call(*args, **settings):
        for name, value in (*zip(parameters, args), *settings.items()):  # noqa: B905  (defaults)
            if due.get(name) and not (value is None and name in optional):
                check(name, value, due[name])
        return function(*args, **settings)

    return call


def checked_seed(seed) -> int:
    """The seed as an int, if it is one that NumPy and torch take."""
    check("seed", seed)
    return int(seed)
