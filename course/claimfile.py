"""Reads course/chapters/NAME/claims.yaml: what each paper says, and how our numbers are judged.

A chapter's file lists claims with the fields of Claim, all but `chapter`; `parts` and `changed`
list entries with the fields of Part and Change. A field with a default may be left out.
"""

import functools
import math
import re
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import yaml

from course.chapters import HERE, chapters
from labkit.base import LabError, data_path

PROFILES = ("smoke", "quick", "full", "paper")  # smoke judges nothing
KINDS = ("check", "effect", "equivalence", "report")


@dataclass(frozen=True)
class Part:
    """One measured quantity of a claim, and what it must do.

    kind: check (booleans that must all hold), effect (the 95 % interval lies beyond `bound`),
    equivalence (the 95 % interval lies within ± `margin`) or report (figures, no verdict).
    """

    name: str
    kind: str
    quantity: str
    side: str = "above"
    bound: float = 0.0
    margin: float | None = None
    min_units: int | None = None
    limits: tuple[float, float] | None = None  # of the quantity, [0, 1] for a share
    by_construction: str | None = None  # why it cannot fail unless the code is wrong


@dataclass(frozen=True)
class Change:
    """An earlier predicate of a claim, in words, and why it is no more."""

    date: str
    predicate: str
    why: str
    known: bool  # had numbers been seen by then?


@dataclass(frozen=True)
class Claim:
    """One line of the scoreboard: who says what, their figure, and how ours is judged."""

    chapter: str
    id: str
    paper: str  # the words that cite it in data/references.bib, or "new here"; `where` in it
    where: str
    says: str
    figure: str  # the paper's, or "not published" where nobody here could read one; never guessed
    unit: str  # what is repeated independently
    profile: str  # the lowest one with enough power
    parts: tuple[Part, ...]
    min_units: int = 3
    changed: tuple[Change, ...] = ()


def load_claims(path=None) -> dict[str, Claim]:
    """The claims of all chapters by id, in order; of one file where its path is given."""
    claims = {}
    for file in [Path(path)] if path else [HERE / name / "claims.yaml" for name in chapters()]:
        entries = _read(file, yaml.safe_load)
        if not isinstance(entries, list):
            raise LabError(f"{file.name} must be a list of claims: begin each with '- id:'.")
        for claim in (_claim(entry, file.parent.name) for entry in entries):
            if claim.id in claims:
                raise LabError(f"Claim {claim.id!r}: the field 'id' is there twice; ids must "
                               "differ.")
            claims[claim.id] = claim
    return claims


@functools.cache
def cited() -> list[str]:
    """The words that cite each paper, from the field annote of its entry in data/references.bib."""
    found = re.findall(r"annote = \{Cited here as (.*)\}", _read(data_path("references.bib")))
    return [re.sub(r"\\(.)", r"\1", words) for words in found]  # \& is BibTeX's &


def _finite(value):
    return type(value) in (int, float) and math.isfinite(value)


# What a field may hold, and in which words it is refused: by its name, else by its type. Where None
# is the default, None is allowed.
TEXT = (lambda v: isinstance(v, str), "text")
TYPES = {str: TEXT, float: (_finite, "a number"),
         bool: (lambda v: isinstance(v, bool), "true or false")}
RULES = {
    "kind": (lambda v: v in KINDS, f"one of {KINDS}"),
    "side": (lambda v: v in ("above", "below"), "above or below"),
    "margin": (lambda v: _finite(v) and v > 0, "a number above 0"),
    "min_units": (lambda v: type(v) is int and v > 0, "a whole number above 0"),
    "limits": (lambda v: isinstance(v, list) and len(v) == 2 and all(map(_finite, v))
               and v[0] < v[1], "two numbers, the lower one first"),
    "by_construction": TEXT,
    "date": (lambda v: len(str(v)) == 10, "a day"),
    "paper": (lambda v: v in ["new here", *cited()], "cited in data/references.bib"),
    "profile": (lambda v: v in PROFILES[1:], f"one of {PROFILES[1:]}"),
    "parts": (lambda v: isinstance(v, list) and v, "a list, not empty"),
    "changed": (lambda v: isinstance(v, list), "a list")}


def _claim(entry, chapter):
    where, parts = f"Claim {_name(entry, 'id')!r}", []
    given = _checked(Claim, entry, where)
    for raw in given["parts"]:
        here = f"{where}, part {_name(raw, 'name')!r}"
        parts.append(part := Part(**_checked(Part, raw, here)))
        _demand(here, "margin", part.kind != "equivalence" or part.margin, RULES["margin"][1])
    _demand(where, "parts", len({p.name for p in parts}) == len(parts), "named apart")
    changed = [_checked(Change, raw, f"{where}, changed") for raw in given.get("changed", ())]
    changed = tuple(Change(**c | {"date": str(c["date"])}) for c in changed)  # YAML reads a date
    return Claim(chapter, **given | {"parts": tuple(parts), "changed": changed})


def _name(entry, field):
    return str(entry.get(field, f"without {field}") if isinstance(entry, dict) else repr(entry))


def _checked(cls, entry, where):
    """The entry, when it has the fields of the dataclass and each holds what it may."""
    if not isinstance(entry, dict):
        raise LabError(f"{where}: it must be a mapping of fields to values.")
    known = {f.name: f for f in fields(cls) if f.name != "chapter"}
    if unknown := [k for k in entry if k not in known]:
        raise LabError(f"{where}: the field {unknown[0]!r} is unknown; the fields are "
                       f"{list(known)}.")
    for name, field in known.items():
        if name in entry:
            allowed, words = RULES.get(name) or TYPES[field.type]
            left_out = entry[name] is None and field.default is None
            _demand(where, name, left_out or allowed(entry[name]), words)
        elif field.default is MISSING:
            raise LabError(f"{where}: the field {name!r} is missing.")
    return entry


def _demand(where, field, kept, rule):
    if not kept:
        raise LabError(f"{where}: the field {field!r} must be {rule}.")


def _read(path, parse=str):
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise LabError(f"{path.name} cannot be read ({reason}): restore it.") from None
