"""What a provider may do to a model, or to its answers, before it lets them out. Each leaves what it is given alone."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from labkit.attack.differences import difference, flat, unflat
from labkit.attack.holdings import BlackBox
from labkit.base import LabError
from labkit.rules import is_number, is_whole
from labkit.training import fit


def update_rms(before, after) -> float:
    """Root mean square of θ_u − θ over all parameters: the unit in which noise is measured. LabError if it is zero."""
    return difference(before, after).square().mean().sqrt().item()


def add_noise(model, rms, seed):
    """Parameter obfuscation: θ_u + N(0, rms² I) on every parameter, whatever its shape. -> a copy of the model.

    rms: in units of the weights, e.g. 3 * update_rms(before, after). Drawn on the CPU in float64 as one vector, so
    the same seed gives the same noise to a float32 model. Source: Hu et al. 2024, defences.
    """
    if not is_number(rms) or not 0 <= rms < float("inf"):
        raise LabError(f"The noise has an rms of {rms!r}: give a finite number, 0 or more.")
    vector = flat(model)
    noise = rms * torch.randn(len(vector), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return _moved_by(model, noise.to(vector.device))


def prune(model, share):
    """Set the `share` (0 to 1) of weights with the smallest magnitude to zero, over all layers at once. -> a copy.

    Only weight matrices and filters count and are pruned, round(share · n) of their n weights exactly (of equal ones
    the first go); biases are left as they are. Source: global magnitude pruning, Han et al. 2015; as a defence
    against inversion Hu et al. 2024.
    """
    if not is_number(share) or not 0 <= share <= 1:
        raise LabError(f"The share to prune is {share!r}: give a number from 0 to 1, for example 0.5.")
    pruned = copy.deepcopy(model)
    weights = [p for p in pruned.parameters() if p.dim() > 1]
    if not weights:
        raise LabError("The model has no weight matrix to prune: it has vectors of parameters only.")
    size = torch.cat([p.detach().abs().flatten() for p in weights])
    size[size.argsort(stable=True)[: round(share * len(size))]] = -1
    with torch.no_grad():
        for p, part in zip(weights, size.split([p.numel() for p in weights]), strict=True):
            p[part.view(p.shape) < 0] = 0
    return pruned


def finetune_release(model, x, y, *, steps, lr, seed, batch_size=128, momentum=0.9):
    """Go on training for some mini-batches before the release. -> a copy of the model.

    x (n, …), y (n,): rows that may be used, retained or fresh ones. steps: mini-batches of SGD, 0 changes nothing;
    lr: constant, no weight decay. Source: Hu et al. 2024, defences.
    """
    if not is_whole(steps) or steps < 0:
        raise LabError(f"Fine-tuning takes whole steps, and {steps!r} was given: give 0 or more mini-batches.")
    tuned, passes = copy.deepcopy(model), steps / -(-len(x) // batch_size)
    return fit(tuned, x.to(next(tuned.parameters()).dtype), y, epochs=passes, lr=lr, seed=seed, batch_size=batch_size,
               momentum=momentum, weight_decay=0, schedule="constant")


class Filtered:
    """A BlackBox whose answers are changed on the way out. It counts on the box's own counter, under its limit."""

    __slots__ = ("_box", "_change")

    def __init__(self, box, change):
        """box: BlackBox or Filtered; change: probabilities (n, k) -> answers (n, k)."""
        if isinstance(box, nn.Module):
            box = BlackBox(box)
        self._box, self._change = box, change

    @property
    def queries(self):
        return self._box.queries

    @property
    def limit(self):
        return self._box.limit

    def __call__(self, x):
        """Changed answers for x. (n, …) -> (n, k), without a gradient. Counts n queries."""
        return self._change(self._box(x))


def rounded(box, decimals: int) -> Filtered:
    """Answers rounded to so many decimals. They are not scaled back to sum to 1: that would undo the rounding."""
    _whole(decimals, 0, "decimals")
    return Filtered(box, lambda p: p.round(decimals=decimals))


def top_k(box, k: int) -> Filtered:
    """The k largest probabilities; what is left is spread evenly over the other classes (Chen et al. 2021's code).

    Of equal probabilities the first class counts as the larger one.
    """
    _whole(k, 1, "k")

    def change(p):
        if k >= p.shape[1]:
            return p
        order = p.argsort(dim=1, descending=True, stable=True)
        rest = p.gather(1, order[:, k:]).mean(1, keepdim=True)
        return p.scatter(1, order[:, k:], rest.expand(-1, p.shape[1] - k))

    return Filtered(box, change)


def label_only(box) -> Filtered:
    """One-hot answers: the predicted class alone (the first of equals)."""
    return Filtered(box, lambda p: F.one_hot(p.argmax(1), p.shape[1]).to(p.dtype))


def tempered(box, temperature: float) -> Filtered:
    """Answers softmax(z / T) in place of softmax(z). box: a BlackBox, or a model, which is put into one.

    Probabilities say z up to a constant, and the constant cancels. T above 1 makes answers flat; T is public or not.
    """
    if not 0 < temperature < float("inf"):
        raise LabError(f"The temperature is {temperature}: give a positive number; 1 changes nothing.")
    return Filtered(box, lambda p: (p.log() / temperature).softmax(1))


def _moved_by(model, vector):
    moved = copy.deepcopy(model)
    with torch.no_grad():
        for p, part in zip(moved.parameters(), unflat(model, vector).values(), strict=True):
            p += part.to(p.dtype)
    return moved


def _whole(value, least, name):
    if not is_whole(value) or value < least:
        raise LabError(f"{name} is {value!r}: give a whole number, {least} or more.")
