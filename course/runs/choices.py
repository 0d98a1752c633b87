"""The words of `labkit run` and `labkit sweep`, checked before anything runs."""

import os
import re
from collections import Counter
from pathlib import Path

from course.runs.notebook import find_notebook, notebooks
from labkit.base import LabError

MOST = 10_000  # outer seeds of one sweep


def parse_seeds(text: str) -> list[int]:
    """Outer seeds from "3", "0-4" or "0,3,7-9". LabError: unreadable, backwards, twice, many."""
    found = []
    for item in str(text).split(","):
        if not (ends := re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", item)):
            raise LabError(f"The seeds {text!r} cannot be read at {item!r}: give whole numbers "
                           "from 0 on, as in 0-4 or 0,3,7.")
        if max(map(len, ends.groups(default=""))) > 20:
            raise LabError(f"A seed in {item.strip()[:60]!r} is too large: give whole numbers of "
                           "64 bits at most.")
        every = _range(ends[1], ends[2] or ends[1])
        if len(found) + every.stop - every.start > MOST:  # no len: it may be beyond 64 bits
            raise LabError(f"The seeds {text!r} are more than {MOST:,} runs of each notebook: if "
                           "that is no typing error, sweep them in parts.")
        found += every
    return _once(found, "seed")


def parse_notebooks(words, repeats=False) -> list[Path]:
    """Notebooks from numbers, ranges as in 01-05, names, paths, all. LabError: unknown; twice,
    unless repeats says that one counts once.
    """
    found = []
    for word in words:
        if word == "all":
            found += notebooks()
        elif ends := re.fullmatch(r"(\d+)-(\d+)", word):
            wanted = _range(*ends.groups())
            for end in (wanted[0], wanted[-1]):
                find_notebook(f"{end:02}")
            found += [p for p in notebooks() if int(p.stem[:2]) in wanted]
        else:
            found.append(find_notebook(word))
    if not found:
        raise LabError("No notebook was named, or there is none here: give numbers, ranges as in "
                       "01-05, names, or all.")
    return list(dict.fromkeys(found)) if repeats else _once(found, "notebook", lambda p: p.stem)


def parse_datasets(text: str | None) -> list:
    """Data sets from "fashion,folder:PATH"; [None], each notebook's own, for None. LabError:
    unknown, twice.

    A comma belongs to a folder's path where there is such a folder.
    """
    if text is None:
        return [None]
    pieces, names = text.split(","), []
    while pieces:
        n = next(n for n in range(len(pieces), 0, -1) if n == 1 or _is_folder(",".join(pieces[:n])))
        names.append(check_dataset(",".join(pieces[:n]).strip()))
        del pieces[:n]
    return _once(names, "data set")


def check_dataset(name: str) -> str:
    """The name of a data set, or folder:PATH. LabError if there is none, before any kernel."""
    from labkit import sources

    folder = name.removeprefix("folder:")
    if name != folder and not _is_folder(name):
        raise LabError(f"There is no folder {folder!r}: give one with train/ and test/ in it.")
    if name == folder and name not in sources.names():
        raise LabError(f"There is no data set {name!r}: choose among {', '.join(sources.names())}, "
                       "or folder:PATH.")
    return name


def _range(first, last):
    if int(last) < int(first):
        raise LabError(f"The range {first}-{last} runs backwards: write {last}-{first}.")
    return range(int(first), int(last) + 1)


def _is_folder(name):
    kind, _, path = name.strip().partition("folder:")
    return not kind and os.path.isdir(os.path.expanduser(path))


def _once(found, what, shown=str):
    for item, n in Counter(found).items():
        if n > 1:
            raise LabError(f"The {what} {shown(item)!r} is there twice: name each once.")
    return found
