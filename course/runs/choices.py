"""The words of `labkit run` and `labkit sweep`, checked before anything runs: notebooks, outer
seeds, data sets.
"""

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
        if not (range_ := re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", item)):
            raise LabError(f"The seeds {text!r} cannot be read at {item!r}: give whole numbers "
                           "from 0 on, as in 0-4 or 0,3,7.")
        if max(map(len, range_.groups(default=""))) > 20:
            raise LabError(f"A seed in {item.strip()[:60]!r} is too large: give whole numbers of "
                           "64 bits at most.")
        first, last = int(range_[1]), int(range_[2] or range_[1])
        if last < first:
            raise LabError(f"The range of seeds {item.strip()!r} runs backwards: write "
                           f"{last}-{first}.")
        if len(found) + last - first >= MOST:
            raise LabError(f"The seeds {text!r} are more than {MOST:,} runs of each notebook: if "
                           "that is no typing error, sweep them in parts.")
        found += range(first, last + 1)
    return _once(found, "seed")


def parse_notebooks(words, folder=None, repeats=False) -> list[Path]:
    """Notebooks from numbers, ranges as in 01-05, names, paths, all. LabError: unknown, twice."""
    found = []
    for word in words:
        if word == "all":
            if not (every := notebooks(folder)):
                raise LabError("There are no notebooks here: call labkit where the folder "
                               "notebooks/ is.")
            found += every
        elif range_ := re.fullmatch(r"(\d+)-(\d+)", word):
            first, last = int(range_[1]), int(range_[2])
            if last < first:
                raise LabError(f"The range of notebooks {word!r} runs backwards: write "
                               f"{range_[2]}-{range_[1]}.")
            ends = [find_notebook(f"{n:02}", folder) for n in (first, last)]
            every = [p for p in notebooks(folder) if first < int(p.stem[:2]) < last]
            found += [*ends[:1], *every, *(ends[1:] if last > first else [])]
        else:
            found.append(find_notebook(word, folder))
    if not found:
        raise LabError("No notebook was named: give numbers, ranges as in 01-05, names, or all.")
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
        names.append(",".join(pieces[:n]).strip())
        del pieces[:n]
    return _once([check_dataset(name) for name in names], "data set")


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


def _is_folder(name):
    kind, _, path = name.strip().partition("folder:")
    return not kind and os.path.isdir(os.path.expanduser(path))


def _once(found, what, shown=str):
    if (repeated := [item for item, n in Counter(found).items() if n > 1]):
        raise LabError(f"The {what} {shown(repeated[0])!r} is there twice: name each once.")
    return found
