"""UA, RA, TA, the gap to retraining, and what an unlearning run costs."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch._C import _functorch as functorch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from ..base import LabError
from ..training import predict


def accuracy(logits, labels) -> float:
    """Percent of rows whose largest logit is the label. (n, k), (n,) -> 0 to 100."""
    return 100 * (logits.argmax(1) == labels).cpu().double().mean().item()


def unlearning_accuracy(logits, labels) -> float:
    """UA: percent of the forget set that is **misclassified** (Jia et al. 2023). Mind the name."""
    return 100 - accuracy(logits, labels)


def evaluate(model, data, forget) -> dict:
    """UA, RA and TA of a model in percent.

    TA leaves out classes that were forgotten whole (Jia et al. 2023).
    """
    split = data.split(forget)
    train, test = predict(model, data.x), predict(model, data.x_test)
    return {
        "UA": unlearning_accuracy(train[split.forget], data.y[split.forget]),
        "RA": accuracy(train[split.retain], data.y[split.retain]),
        "TA": accuracy(test[split.test], data.y_test[split.test]),
    }


def gap(row, reference, columns=("UA", "RA", "TA")) -> float:
    """Average gap to retraining: mean of |method − retrained| over `columns`, in points."""
    if missing := [c for c in columns if c not in row or c not in reference]:
        raise LabError(f"gap needs the columns {', '.join(missing)} in both rows: measure them "
                       "first.")
    return float(np.mean([abs(row[c] - reference[c]) for c in columns]))


@dataclass
class Cost:
    """seconds (wall), cpu_seconds (this process), visits.

    visits: rows that passed forward while gradients were recorded.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    visits: int = 0


def timed(function, *args, **settings):
    """Run function(*args, **settings) and return (its result, Cost).

    The seconds are RTE, run-time efficiency. What worker processes do is not counted; fit_packed,
    which calls no module, has no visits.
    """
    cost, depth = Cost(), 0

    def enter(module, inputs):
        nonlocal depth
        if depth == 0 and torch.is_grad_enabled():
            x = inputs[0]
            while functorch.is_functorch_wrapped_tensor(x):  # in vmap a row looks like a batch of 1
                x = functorch.get_unwrapped(x)
            cost.visits += len(x)
        depth += 1

    def leave(module, inputs, output):
        nonlocal depth
        depth -= 1

    hooks = [register_module_forward_pre_hook(enter),
             register_module_forward_hook(leave, always_call=True)]
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        result = function(*args, **settings)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    finally:
        cost.seconds = time.perf_counter() - wall
        cost.cpu_seconds = time.process_time() - cpu
        for hook in hooks:
            hook.remove()
    return result, cost
