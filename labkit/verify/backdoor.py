"""Verification by backdoor (Athena, Sommer et al. 2022): owners plant private triggers and test what is left."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from ..base import LabError
from ..data import check_forget
from ..rules import checked_seed, is_number, is_whole


@dataclass(frozen=True)
class Trigger:
    """A private pattern: these pixels (of an image, in all channels; of a table: columns) get `value`, and the row
    gets `label`."""

    pixels: tuple
    value: float
    label: int


def stamp(x, trigger) -> torch.Tensor:
    """A copy of x with the trigger on every row. (n, c, h, w) or (n, d), as it came."""
    flat = x.flatten(2) if x.dim() == 4 else x
    if max(trigger.pixels) >= flat.shape[-1]:
        raise LabError(f"The trigger sets place {max(trigger.pixels)} and the rows have {flat.shape[-1]}: make it for "
                       "this shape.")
    flat = flat.clone()
    flat[..., list(trigger.pixels)] = trigger.value
    return flat.view(x.shape)


def plant(data, rows, trigger, share=0.5, seed=0):
    """Stamp and relabel a random share of an owner's rows. -> (a copy of data, the poisoned rows (m,), sorted).

    rows: the owner's training indices. Call once an owner, each time on the copy before.
    """
    rows = check_forget(rows, len(data.y)).to(data.device)
    if not is_number(share) or not 0 < share <= 1 or round(share * len(rows)) < 1:
        raise LabError(f"A share of {share!r} of {len(rows)} rows poisons none or too many: give a number above 0 and "
                       "up to 1 that makes at least one row.")
    if not 0 <= trigger.label < data.n_classes:
        raise LabError(f"The trigger has label {trigger.label}, and {data.name} has {data.n_classes} classes: make it "
                       "for this data.")
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(checked_seed(seed)))
    poisoned = rows[order[: round(share * len(rows))].to(rows.device)].sort().values
    x, y = data.x.clone(), data.y.clone()
    x[poisoned], y[poisoned] = stamp(x[poisoned], trigger), trigger.label
    return replace(data, x=x, y=y), poisoned


def hits(box, x, trigger, y=None):
    """Ask the model about stamped inputs. -> (answers that are the trigger's label, queries asked).

    box: attack.BlackBox, answers only. y: true labels; inputs that have the trigger's label already are left out,
    for they would count whether or not the trigger works. Without y, leave them out yourself.
    """
    if isinstance(box, nn.Module):
        raise LabError("The test needs answers only: give attack.BlackBox(model), not the model.")
    if y is not None:
        x = x[y != trigger.label]
    if len(x) == 0:
        raise LabError("No input is left to ask about: give inputs of other classes than the trigger's.")
    return int((box(stamp(x, trigger)).argmax(1) == trigger.label).sum()), len(x)


def _checked(n, **rates):
    if not is_whole(n) or n < 1:
        raise LabError(f"n is {n!r}: give a whole number of queries, 1 or more.")
    for name, value in rates.items():
        edge = name == "alpha"
        if not is_number(value) or not (0 < value < 1 if edge else 0 <= value <= 1):
            raise LabError(f"{name} is {value!r}: give a rate {'above 0 and below 1' if edge else 'from 0 to 1'}.")
