"""Backdoors that show who was trained on (Athena, Sommer et al. 2022): planted, then asked for."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from ..base import LabError
from ..data import check_forget
from ..rules import checked


@dataclass(frozen=True)
class Trigger:
    """A private pattern: these pixels get `value`, and the row gets `label`.

    pixels: of an image, in all channels; of a table, columns.
    """

    pixels: tuple
    value: float
    label: int


def stamp(x, trigger) -> torch.Tensor:
    """A copy of x with the trigger on every row. (n, c, h, w) or (n, d), as it came."""
    flat, last = x.flatten(2) if x.dim() == 4 else x, max(trigger.pixels)
    if last >= flat.shape[-1]:
        raise LabError(f"The trigger sets place {last} and the rows have {flat.shape[-1]}: make it "
                       "for this shape.")
    flat = flat.clone()
    flat[..., list(trigger.pixels)] = trigger.value
    return flat.view(x.shape)


@checked
def plant(data, rows, trigger, share=0.5, seed=0):
    """Stamp and relabel a random share of an owner's rows. -> (a copy of data, poisoned rows (m,)).

    rows: the owner's training indices. Call once an owner, each time on the copy before.
    """
    rows = check_forget(rows, len(data.y)).to(data.device)
    if round(share * len(rows)) < 1:
        raise LabError(f"A share of {share!r} of {len(rows)} rows poisons none: give one that "
                       "makes at least one row.")
    if not 0 <= trigger.label < data.n_classes:
        raise LabError(f"The trigger has label {trigger.label}, and {data.name} has "
                       f"{data.n_classes} classes: make it for this data.")
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    poisoned = rows[order[: round(share * len(rows))].to(rows.device)].sort().values
    x, y = data.x.clone(), data.y.clone()
    x[poisoned], y[poisoned] = stamp(x[poisoned], trigger), trigger.label
    return replace(data, x=x, y=y), poisoned


def hits(box, x, trigger, y=None):
    """Ask the model about stamped inputs. -> (answers that are the trigger's label, queries asked).

    box: attack.BlackBox, answers only. y: true labels; inputs that have the trigger's label already
    are left out, for they would count whether or not the trigger works. Without y, leave them out
    yourself.
    """
    if isinstance(box, nn.Module):
        raise LabError("The test needs answers only: give attack.BlackBox(model), not the model.")
    if y is not None:
        x = x[y != trigger.label]
    if len(x) == 0:
        raise LabError("No input is left to ask about: give inputs of other classes than the "
                       "trigger's.")
    return int((box(stamp(x, trigger)).argmax(1) == trigger.label).sum()), len(x)
