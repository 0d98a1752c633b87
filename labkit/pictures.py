"""A folder of pictures as people keep it: which files count, what a person sees in them."""

import io
import os
import warnings
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image

from . import base, store
from .base import LabError, sha256

ENDINGS = tuple(".jpg .jpeg .jpe .jfif .png .bmp .gif .pgm .ppm .tif .tiff .webp".split())
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")  # Pillow's own readers
SYSTEM = {"__macosx", "@eadir", "$recycle.bin", "system volume information", "__pycache__",
          "thumbs.db", "desktop.ini"}
LAYOUT = ("expected are train/CLASS/image.png and test/CLASS/image.png below it, with the same "
          "classes")
SMALL = 2**14  # pixels up to which a picture is decoded sooner than it is found in the cache
RANGES = (1, 255, 1023, 4095, 16383, 65535)  # white: floats, and 8, 10, 12, 14, 16 bits
TURNS = {n: Image.Transpose(t) for n, t in enumerate((0, 3, 1, 5, 4, 6, 2), 2)}  # EXIF -> Pillow
HIDDEN, CLOSED = "hidden or system name", "folder that cannot be opened"
OTHERS, OUTSIDE = "file that no picture's ending has", "picture outside a class folder"


def listing(where: Path):
    """The pictures of where/train and where/test. -> ([{class: its files}, of test], left out).

    Files are in order. left out: {why: [names]}, such as hidden and system names. LabError where
    the layout is another one, a class is empty, or a link shows a folder twice.
    """
    left_out, seen, parts = defaultdict(list), set(), []
    for part in ("train", "test"):
        if not (where / part).is_dir():
            raise LabError(f"{where} has no folder {part}/: {LAYOUT}.")
        found = _walk(where, part, left_out, seen)
        empty = [name for name, files in found.items() if not files]
        if empty or not found:
            lonely = [[part, name] for name in empty]
            there = [name for name in left_out[OTHERS] if name.split(os.sep)[:2] in lonely]
            reason = f"none for {_few(empty)}" if empty else "no class"
            reason += f"; there is {_few(there)}" if there else ""
            raise LabError(f"No images for every class in {where / part} ({reason}; images end in "
                           f"{', '.join(ENDINGS)}): {LAYOUT}.")
        parts.append({name: sorted(files, key=os.path.split) for name, files in found.items()})
    classes = [list(part) for part in parts]
    if classes[0] != classes[1] or len(classes[0]) < 2:
        odd = sorted(set(classes[0]) ^ set(classes[1])) or classes[0]
        raise LabError(f"{where} needs the same classes, two or more, in train/ and test/ (look at "
                       f"{odd[0]!r}): {LAYOUT}.")
    return parts, left_out


def _walk(where, part, left_out, seen):
    """{class: its files} of one part; adds to left_out, and to seen the folders it went through."""
    def leave(why, path):
        left_out[why].append(os.path.relpath(path, where))

    found, walk = {}, os.walk(where / part, followlinks=True,
                              onerror=lambda problem: leave(CLOSED, problem.filename))
    for folder, below, names in walk:
        if (real := os.path.realpath(folder)) in seen:
            raise LabError(f"A folder of images is there twice in {where}, by way of a link, so "
                           "rows would be in two classes or in train/ and test/: remove the link.")
        seen.add(real)
        inside = Path(folder).relative_to(where / part).parts
        for name in below + names:
            path, picture = os.path.join(folder, name), name.lower().endswith(ENDINGS)
            if _hidden(name):
                leave(HIDDEN, path)
            elif name not in below and picture and inside:
                found[inside[0]].append(path)
            elif name not in below:
                leave(OUTSIDE if picture else OTHERS, path)
        below[:] = [name for name in below if not _hidden(name)]
        if not inside:
            found = {name: [] for name in sorted(below)}
    return found


def _hidden(name):
    return name.startswith(".") or name.lower() in SYSTEM


def read(where, files, labels, size):
    """files, labels: two lists each, train and test. -> ([x, x_test], sentences about them).

    x (n, c, size, size), uint8; float32 in [0, 1] where some have more than 8 bits of grey. One
    channel if all of them are grey. LabError names the pictures that cannot be read.
    """
    from tqdm import tqdm
    pixels, marks, broken = [], Counter(), []
    with warnings.catch_warnings(action="ignore"):  # Pillow's are for programmers
        for path in tqdm(files[0] + files[1], "reading pictures", unit="", delay=5, leave=False):
            try:
                picture, marked = _picture(path, size)
                pixels.append(picture)
                marks.update(marked)
            except Exception:  # what Pillow raises on a damaged file depends on where it was hit
                broken.append(path)
    if broken:
        many = [os.path.relpath(path, where) for path in broken]
        what = f"{len(broken)} images in {where} are" if broken[1:] else f"The image {broken[0]} is"
        mend = f"or remove them ({_few(many, 10)})" if broken[1:] else "it or remove it"
        raise LabError(f"{what} broken, far too large or of an unknown kind: replace {mend}.")
    if deep := [p for p in pixels if p.dtype == np.float32]:
        pixels, words = _scaled(pixels, deep)
        marks[words] = len(deep)
    channels = max(len(p) for p in pixels)
    x = np.stack([np.broadcast_to(p, (channels, size, size)) for p in pixels])
    x = x[: len(files[0])], x[len(files[0]):]
    names = [[os.path.relpath(path, where) for path in part] for part in files]
    found = [f"{n} {words}" for words, n in marks.items()]
    if same := sum(int((part == part[:, :, :1, :1]).all((1, 2, 3)).sum()) for part in x):
        found.append(f"{same} of one colour all over")
    return x, [f"all taken as {'grey' if channels == 1 else 'colour'}", *found,
               *_twins(x, labels, names)]


def _scaled(pixels, deep):
    """All pixels in [0, 1]; deep: those of more than 8 bits, whose white is guessed from them."""
    low = min(0, *(p.min() for p in deep))
    high = max(p.max() for p in deep) - low
    white = next((r for r in RANGES if r >= high), high)
    return ([(p - low) / white if p.dtype == np.float32 else np.float32(p / 255) for p in pixels],
            f"with more than 8 bits of grey, taken from {low:g} (black) to {low + white:g} (white)")


def _picture(path, size):
    """One picture: from the cache, if a large one with this content was decoded before."""
    blob = Path(path).read_bytes()
    with Image.open(io.BytesIO(blob), formats=FORMATS) as image:
        if image.width * image.height <= SMALL:
            return _decode(image, size)
        kind = f"1 {size} {PIL.__version__} "  # 1: raise it when _decode changes
        name = sha256(kind.encode(), blob)
        kept = base.cache_path() / "pictures" / name[:2] / name
        with suppress(LookupError):
            about, tensors = store.load(kept)
            return tensors["pixels"].numpy(), about["marks"]
        pixels, marks = _decode(image, size)
        with suppress(LabError):  # a cache that cannot be written costs time, and nothing else
            store.save(kept, {"marks": marks}, {"pixels": torch.from_numpy(pixels)})
        return pixels, marks


def _decode(image, size):
    """-> (its pixels as a person sees them, (c, size, size), words for what was done for that).

    Squeezed to a square. float32, unscaled, where it has more than 8 bits of grey; else uint8.
    """
    image.draft(None, (2 * size, 2 * size))  # a JPEG: decoded at 1/2, 1/4 or 1/8 of its size
    marks = ["turned as their camera noted"] if _orientation(image) in TURNS else []
    image.load()
    turn = _orientation(image)  # once more: a TIFF is turned by Pillow when it is loaded
    if image.mode[0] in "IF":
        pixels = np.asarray(image).astype(np.float32)
        image = Image.fromarray(np.where(np.isfinite(pixels), pixels, 0))
    else:
        grey = image.mode in ("1", "L", "LA", "La")
        if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
            image = image.convert(image.mode.upper()) if "a" in image.mode else image
            image = image.convert("RGBA")
            if image.getextrema()[3][0] < 255:
                marks.append("with transparent places, laid on white")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        elif image.mode == "CMYK":
            marks.append("in the colours of print (CMYK), turned into those of a screen")
        image = image.convert("L" if grey else "RGB")
    image = image.resize((size, size), Image.Resampling.BILINEAR)  # PIL's bilinear is antialiased
    if turn in TURNS:
        image = image.transpose(TURNS[turn])
    pixels = np.array(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1), marks


def _orientation(image):
    with suppress(Exception):  # EXIF is written by many hands, and a picture is whole without it
        return image.getexif().get(0x0112)


def sizes(parts, left_out) -> list:
    """Sentences about a listing: pictures a class, and what was left out."""
    def span(part, files):
        counts = {name: len(paths) for name, paths in files.items()}
        few, many = min(counts, key=counts.get), max(counts, key=counts.get)
        spread = "" if counts[few] == counts[many] else f" ({few}) to {counts[many]:,} ({many})"
        return f"{counts[few]:,}{spread} a class in {part}/"

    found = [f"Pictures: {span('train', parts[0])}, {span('test', parts[1])}"]
    out = [f"{len(names)} {why}{'s' * (len(names) > 1)} ({_few(names)})"
           for why, names in left_out.items() if names]
    return found + (["left out: " + ", ".join(out)] if out else [])


def _twins(x, labels, names):
    """Sentences about pictures that are there twice: in one part, in both, under two labels."""
    groups = defaultdict(list)
    for part in (0, 1):
        for row, picture in enumerate(x[part]):
            groups[sha256(picture.tobytes())].append((part, row))
    if len(groups) == 1:
        return ["all of them are equal, so there is nothing to learn"]
    shown = defaultdict(list)

    def add(what, a, b):
        shown[what].append(" = ".join(names[part][row] for part, row in (a, b)))

    for first, *others in (group for group in groups.values() if len(group) > 1):
        for row in others:  # train comes before test
            add("in train/ equal to another one there, so a forgotten row may have a twin that "
                "stays" if not row[0] else "in test/ equal to another one there" if first[0]
                else "in test/ equal to one in train/, so not unseen", first, row)
        if other := [row for row in others if labels[row[0]][row[1]] != labels[first[0]][first[1]]]:
            add("under two labels", first, other[0])
    return [f"{len(pairs)} {what} ({pairs[0]})" for what, pairs in shown.items()]


def _few(names, n=3) -> str:
    names = [str(name).replace("\n", " ") for name in names]
    return ", ".join(names[:n]) + (f" and {len(names) - n:,} more" if len(names) > n else "")
