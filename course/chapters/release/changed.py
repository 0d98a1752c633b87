"""What a provider may do to a model, or to its answers, before it lets them out."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from labkit.attack.differences import difference, flat, unflat
from labkit.attack.holdings import BlackBox
from labkit.base import LabError
from labkit.rules import checked
from labkit.training import fit
from labkit.unlearn.masks import apply_mask, keep_top, prunable


def update_rms(before, after) -> float:
    """Root mean square of θ_u − θ over all parameters, the unit of noise. LabError if it is 0."""
    return difference(before, after).square().mean().sqrt().item()


@checked
def add_noise(model, rms, seed):
    """Parameter obfuscation: θ_u + N(0, rms² I) on every parameter. -> a copy of the model.

    rms: in units of the weights, e.g. 3 * update_rms(before, after). Drawn on the CPU in float64
    as one vector, so the same seed gives the same noise to a float32 model.
    Source: Hu et al. 2024, defences.
    """
    vector, draw = flat(model), torch.Generator().manual_seed(seed)
    noise = rms * torch.randn(len(vector), generator=draw, dtype=torch.float64)
    moved = copy.deepcopy(model)
    parts = unflat(model, noise.to(vector.device)).values()
    with torch.no_grad():
        for p, part in zip(moved.parameters(), parts, strict=True):
            p += part.to(p.dtype)
    return moved


@checked(share="from 0 to 1")
def prune(model, share):
    """Set the `share` of weights with the smallest magnitude to zero, over all layers. -> a copy.

    Only weight matrices and filters count and are pruned, round(share · n) of their n weights
    exactly (of equal ones the first go); biases are left as they are.
    Source: global magnitude pruning, Han et al. 2015; against inversion Hu et al. 2024.
    """
    size = {k: p.detach().abs() for k, p in prunable(model).items()}
    if not size:
        raise LabError("The model has no weight matrix to prune: it has vectors of parameters "
                       "only.")
    return apply_mask(copy.deepcopy(model), keep_top(size, share))


@checked(lr=None)
def finetune_release(model, x, y, *, steps, lr, seed, batch_size=128, momentum=0.9):
    """Go on training for some mini-batches before the release. -> a copy of the model.

    x (n, …), y (n,): rows that may be used, retained or fresh ones. steps: mini-batches of SGD,
    0 changes nothing; lr: constant, no weight decay. Source: Hu et al. 2024, defences.
    """
    tuned, passes = copy.deepcopy(model), steps / -(-len(x) // batch_size)
    return fit(tuned, x.to(next(tuned.parameters()).dtype), y, epochs=passes, lr=lr, seed=seed,
               batch_size=batch_size, momentum=momentum, weight_decay=0, schedule="constant")


class Filtered:
    """A BlackBox whose answers are changed on the way out. It counts on the box's own counter."""

    __slots__ = ("_box", "_change")

    def __init__(self, box, change):
        """box: BlackBox, Filtered or a model; change: probabilities (n, k) -> answers (n, k)."""
        self._box = BlackBox(box) if isinstance(box, nn.Module) else box
        self._change = change

    @property
    def queries(self):
        return self._box.queries

    @property
    def limit(self):
        return self._box.limit

    def __call__(self, x):
        """Changed answers for x. (n, …) -> (n, k), without a gradient. Counts n queries."""
        return self._change(self._box(x))


@checked
def rounded(box, decimals: int) -> Filtered:
    """Answers rounded to so many decimals, not scaled back to sum to 1: that would undo it."""
    return Filtered(box, lambda p: p.round(decimals=decimals))


@checked(k="from 1")
def top_k(box, k: int) -> Filtered:
    """The k largest probabilities (of equals the first); the others share the rest evenly.

    Source: Chen et al. 2021's code.
    """
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


@checked
def tempered(box, temperature: float) -> Filtered:
    """Answers softmax(z / T) in place of softmax(z). box: a BlackBox, or a model.

    Probabilities say z up to a constant, and the constant cancels. T above 1 makes answers flat; T
    is public or not.
    """
    return Filtered(box, lambda p: (p.log() / temperature).softmax(1))
