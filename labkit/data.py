"""The data: load(name) -> Data, forget sets, splits. Tensors on the device, normalised, indexed."""

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F

from . import base, sources
from .base import LabError, NotForThisData
from .rows import Split, check_forget, stratified
from .rules import checked, is_whole, some
from .sources import names  # noqa: F401  (labkit.data.names)


@dataclass(frozen=True, eq=False)
class Data:
    """A data set on one device.

    x, x_test: float32, normalised, images (n, c, h, w) or tables (n, d). y, y_test: (n,) int64.
    classes: their names. mean, std: raw values = x * std + mean (images: pixels in [0, 1]).
    groups, groups_test: (n,) int64, the protected attribute, or None. noisy: the training rows
    whose label was redrawn. card: what is known about the set.
    Raises LabError on NaN, infinite values, labels out of range and lengths that differ.
    """

    name: str
    x: torch.Tensor
    y: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor
    classes: tuple[str, ...]
    mean: torch.Tensor
    std: torch.Tensor
    card: dict
    groups: torch.Tensor | None = None
    groups_test: torch.Tensor | None = None
    noisy: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))

    def __post_init__(self):
        for part, x, y in (("training", self.x, self.y), ("test", self.x_test, self.y_test)):
            if len(x) != len(y):
                raise LabError(f"{self.name} has {len(x)} {part} rows, {len(y)} {part} labels: "
                               "give one label a row.")
            bad = (~torch.isfinite(x)).flatten(1).any(1).nonzero()
            if len(bad):
                raise LabError(f"{self.name} holds NaN or infinite values (first in {part} row "
                               f"{int(bad[0])}): clean the data before loading it.")
            if y.dtype != torch.long:
                raise LabError(f"{self.name} has {part} labels of type {y.dtype}: give whole "
                               "numbers (int64).")
            bad = ((y < 0) | (y >= self.n_classes)).nonzero()
            if len(bad):
                raise LabError(f"{self.name} has the label {int(y[bad[0]])} in {part} row "
                               f"{int(bad[0])}: labels run from 0 to {self.n_classes - 1}.")

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row: (c, h, w) for images, (d,) for tables."""
        return tuple(self.x.shape[1:])

    @property
    def device(self) -> torch.device:
        return self.x.device

    @checked(share="below 1")
    def forget_random(self, share: float, seed: int = 0) -> torch.Tensor:
        """A random `share` of the training rows, between 0 and 1. -> sorted LongTensor."""
        return self._draw(torch.arange(len(self.y)), share, seed)

    @checked
    def forget_class(self, label, share: float = 1.0, seed: int = 0) -> torch.Tensor:
        """Training rows of a class (index or name), or a share of them. -> sorted LongTensor."""
        if label in self.classes:
            label = self.classes.index(label)
        if not is_whole(label) or not 0 <= label < self.n_classes:
            raise LabError(f"{self.name} has no class {label!r}: give an index from 0 to "
                           f"{self.n_classes - 1} or one of the names {some(self.classes)}.")
        return self._draw((self.y.cpu() == int(label)).nonzero().flatten(), share, seed)

    def _draw(self, rows, share, seed):
        count = round(share * len(rows))
        chosen = np.sort(np.random.default_rng(seed).choice(len(rows), count, replace=False))
        return check_forget(rows[torch.from_numpy(chosen)], len(self.y)).to(self.device)

    def rare(self, least: int, least_test: int) -> list:
        """[(class, training rows, test rows)] where they are fewer, now or on average resplit."""
        here = torch.stack([y.cpu().bincount(minlength=self.n_classes)
                            for y in (self.y, self.y_test)])
        drawn = (here.sum(0) * here.sum(1, keepdim=True) / here.sum()).ceil()
        few = (torch.minimum(here, drawn) < torch.tensor([[least], [least_test]])).any(0)
        return [(self.classes[c], *here[:, c].tolist()) for c in few.nonzero().flatten().tolist()]

    def split(self, forget, allow_empty: bool = False) -> Split:
        """Forget, retain and test rows for a forget set. allow_empty: the empty one too."""
        forget = check_forget(forget, len(self.y), allow_empty).to(self.device)
        stays = torch.ones(len(self.y), dtype=torch.bool, device=self.device)
        stays[forget] = False
        left = torch.bincount(self.y[stays], minlength=self.n_classes)
        before = torch.bincount(self.y, minlength=self.n_classes)
        gone = (left == 0) & (before > 0)
        return Split(forget, stays.nonzero().flatten(), (~gone[self.y_test]).nonzero().flatten(),
                     tuple(gone.nonzero().flatten().tolist()))

    @checked
    def resplit(self, seed: int) -> "Data":
        """All rows pooled and split anew into as many training and test rows, at random.

        Then members and non-members come from one distribution. As published they may not:
        Fashion-MNIST's test file is about one point harder than unused rows of its training file,
        and a membership test reads that as membership.
        """
        draw = torch.Generator().manual_seed(int(seed))
        order = torch.randperm(len(self.y) + len(self.y_test), generator=draw)
        train, test = order.to(self.device).split([len(self.y), len(self.y_test)])
        new = {"noisy": torch.isin(train, self.noisy).nonzero().flatten()}
        for part in ("x", "y") if self.groups is None else ("x", "y", "groups"):
            rows = torch.cat([getattr(self, part), getattr(self, f"{part}_test")])
            new |= {part: rows[train], f"{part}_test": rows[test]}
        return replace(self, **new)

    def pixels(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised images (…, c, h, w) back to pixels in [0, 1]; of a table: NotForThisData."""
        if len(self.shape) != 3:
            raise NotForThisData(f"{self.name} is a table and has no pixels: use fashion, say.")
        return (x * self.std.to(x.device) + self.mean.to(x.device)).clamp(0, 1)

    def digest(self) -> str:
        """16 hex digits (sha256) of x, y, x_test, y_test: which data a record was made with."""
        h = hashlib.sha256()
        for tensor in (self.x, self.y, self.x_test, self.y_test):
            h.update(f"{tuple(tensor.shape)}".encode())
            h.update(tensor.cpu().contiguous().numpy())  # its bytes, without a copy
        return h.hexdigest()[:16]

    def summary(self) -> str:
        """One line: name, rows, shape, classes, redrawn labels, device."""
        noisy = f", {len(self.noisy):,} labels redrawn" if len(self.noisy) else ""
        shape = " × ".join(map(str, self.shape))
        return (f"{self.name}: {len(self.y):,} training and {len(self.y_test):,} test rows, "
                f"{shape}, {self.n_classes} classes{noisy}, on {self.device}")


@checked
def load(name: str = "fashion", n_train=None, n_test=None, seed: int = 0, *, label_noise=0.0,
         size=None, at_most=None, moments="train", device=None, root=None) -> Data:
    """A data set by name (see names()) or folder:PATH. The same arguments give the same rows.

    n_train, n_test: a stratified random subset (LabError if there are fewer). at_most=(6000, 2000):
    the same, but a smaller set is taken whole. label_noise: share of the training labels to redraw
    uniformly among the other classes. size: images become size × size pixels (default: as they
    are; folder and stl10: 32). Channels (columns of tables) get mean 0 and deviation 1 over the
    training rows, or the test rows with moments="test", as exact unlearning needs. root: where
    torchvision's sets lie. What was found in a folder is printed, and kept as card["found"].
    """
    if at_most is not None and (not isinstance(at_most, (tuple, list)) or len(at_most) != 2):
        raise LabError(f"at_most is {at_most!r}: give two numbers, of training and test rows.")
    where = base.device(device)
    if size is None and (name == "stl10" or str(name).startswith("folder:")):
        size = 32
    raw = sources.open_source(name, size, root)
    # one stream for each draw: more rows or more noise does not change the other choices
    train_rng, test_rng, noise_rng = map(np.random.default_rng,
                                         base.spawn_seeds(int(seed), 3, "data.load"))
    caps = at_most or (None, None)
    rows = stratified(raw.y, n_train, caps[0], train_rng, f"training rows of {name}")
    rows_test = stratified(raw.y_test, n_test, caps[1], test_rng, f"test rows of {name}")
    x, x_test = (_floats(part, size) for part in raw.read(rows, rows_test))
    if raw.found:
        print("; ".join(raw.found) + ".")
    mean, std = _moments(x_test if moments == "test" else x)
    for part in (x, x_test):
        part.sub_(mean).div_(std)
    y, k = raw.y[rows], len(raw.classes)
    noisy = np.sort(noise_rng.choice(len(y), round(label_noise * len(y)), replace=False))
    y[noisy] = (y[noisy] + noise_rng.integers(1, k, len(noisy))) % k
    y, y_test, noisy = map(torch.from_numpy, (y, raw.y_test[rows_test], noisy))
    tensors = [t.to(where) for t in (x, y, x_test, y_test)]
    groups = [None if g is None else torch.from_numpy(g[r]).to(where)
              for g, r in ((raw.groups, rows), (raw.groups_test, rows_test))]
    card = sources.card(name) | ({"found": list(raw.found)} if raw.found else {})
    return Data(name, *tensors, raw.classes, mean.to(where), std.to(where), card, *groups,
                noisy.to(where))


def _floats(x, size) -> torch.Tensor:
    """uint8 pixels to [0, 1]; images to size × size."""
    x = torch.from_numpy(np.ascontiguousarray(x))
    resize = x.ndim == 4 and size and x.shape[2:] != (size, size)
    out = torch.empty(*x.shape[:2], size, size) if resize else torch.empty(x.shape)
    for rows in torch.arange(len(x)).split(1000):  # the floats of a large set fit in memory once
        part = x[rows].float() / (255 if x.dtype == torch.uint8 else 1)
        if resize:
            part = F.interpolate(part, (size, size), mode="bilinear", antialias=True)
        out[rows] = part
    return out


def _moments(x) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of each channel (c, 1, 1) or column (d,); 1 where it is constant."""
    axes, shape = ((0, 2, 3), (-1, 1, 1)) if x.ndim == 4 else ((0,), (-1,))
    count = x.numel() / x.shape[1]
    mean = sum(part.double().sum(axes) for part in x.split(1000)) / count
    variance = sum((part.double() - mean.view(shape)).square().sum(axes)
                   for part in x.split(1000)) / count
    std = variance.sqrt()
    std[std <= 1e-6 * mean.abs().clamp(min=1e-6)] = 1
    return mean.float().view(shape), std.float().view(shape)
