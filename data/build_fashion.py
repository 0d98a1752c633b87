"""Makes data/fashion.npz: 6,000 training and 2,000 test images of Fashion-MNIST, 600 and 200 a
class.

Run `python data/build_fashion.py` in the repository. It reads the full set (the Debian package
dataset-fashion-mnist when it is installed, else a download by torchvision), writes the same bytes
every time, and puts the checksum of the content into data/cards/fashion.yaml.
"""

import re
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # the labkit of this repository, installed or not
from labkit.sources import content_hash, from_torchvision  # noqa: E402

SEED = 2017


def pick(y: np.ndarray, per_class: int, rng: np.random.Generator) -> np.ndarray:
    """per_class random rows of every class, in shuffled order. (n,) -> (per_class × classes,)
    int32.
    """
    rows = [rng.choice(np.flatnonzero(y == label), per_class, replace=False)
            for label in np.unique(y)]
    return rng.permutation(np.concatenate(rows)).astype(np.int32)


def main() -> None:
    full = from_torchvision("fashion-mnist")
    rng = np.random.default_rng(SEED)
    row_train, row_test = pick(full.y, 600, rng), pick(full.y_test, 200, rng)
    x_train, x_test = (x[:, 0] for x in full.read(row_train, row_test))
    arrays = {"x_train": x_train, "y_train": full.y[row_train].astype(np.uint8),
              "row_train": row_train,
              "x_test": x_test, "y_test": full.y_test[row_test].astype(np.uint8),
              "row_test": row_test}
    np.savez_compressed(HERE / "fashion.npz", **arrays)

    sha = content_hash(arrays)
    card = HERE / "cards" / "fashion.yaml"
    text, found = re.subn(r"(?m)^sha256:.*$", f"sha256: {sha}", card.read_text(encoding="utf-8"))
    card.write_text(text if found else f"{text.rstrip()}\nsha256: {sha}\n", encoding="utf-8")
    print(f"data/fashion.npz: {(HERE / 'fashion.npz').stat().st_size / 1e6:.2f} MB, sha256 of its "
          f"content {sha}")


if __name__ == "__main__":
    main()
