"""Reads data/claims.yaml: what each paper says, and how our numbers are judged. A wrong field is named."""

import math
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from course.chapters import HERE, chapters
from labkit.base import LabError, data_path

PROFILES = ("quick", "full", "paper")
KINDS = ("check", "effect", "equivalence", "report")


@dataclass(frozen=True)
class Part:
    """One measured quantity of a claim; bound is for effects, margin (± around 0) for equivalences.

    limits: the least and the greatest value that the quantity can have, where it has them (a share: 0, 1).
    by_construction: why the part cannot fail unless the code is wrong; it is then a check of code or arithmetic.
    """

    name: str
    kind: str
    quantity: str
    side: str = "above"
    bound: float = 0.0
    margin: float | None = None
    min_units: int | None = None
    limits: tuple[float, float] | None = None
    by_construction: str | None = None


@dataclass(frozen=True)
class Change:
    """An earlier predicate of a claim, in words; known: whether numbers had been seen when it was changed."""

    date: str
    predicate: str
    why: str
    known: bool


@dataclass(frozen=True)
class Claim:
    """One line of the scoreboard: who says what, their figure, and how ours is judged."""

    id: str
    notebook: str
    paper: str
    where: str
    says: str
    figure: str
    unit: str
    profile: str
    parts: tuple[Part, ...]
    min_units: int = 3
    changed: tuple[Change, ...] = ()


def load_claims(path=None) -> dict[str, Claim]:
    """All claims by id, in the file's order. path: another claims.yaml. LabError names the id and the field."""
    content = _read(path)
    papers, claims = ["new here", *content.get("papers", {})], {}
    for entry in content["claims"]:
        name = str(entry.get("id", "without an id")) if isinstance(entry, dict) else repr(entry)
        if name in claims:
            raise LabError(f"Claim {name!r}: the field 'id' is there twice; ids must differ.")
        raw = _checked(Claim, entry, f"Claim {name!r}")
        _demand(f"Claim {name!r}", parts=(isinstance(raw["parts"], list) and raw["parts"], "a list, not empty"))
        claim = Claim(**raw | {"parts": tuple(_part(p, name) for p in raw["parts"]),
                               "changed": tuple(_change(c, name) for c in raw.get("changed") or ())})
        names, words = {p.name for p in claim.parts}, "id where says figure unit".split()
        _demand(f"Claim {name!r}", **{w: (isinstance(getattr(claim, w), str), "text") for w in words})
        _demand(f"Claim {name!r}", profile=(claim.profile in PROFILES, f"one of {PROFILES}"),
                paper=(claim.paper in papers, "listed under papers:"),
                parts=(len(names) == len(claim.parts), "named apart"),
                notebook=(isinstance(claim.notebook, str), 'quoted, as in "01"'),
                min_units=(isinstance(claim.min_units, int) and claim.min_units > 1, "a whole number above 1"))
        claims[name] = claim
    return claims


def load_papers(path=None) -> dict[str, dict]:
    """The claims' papers by citation key: title (or about), authors, year; venue, pages, url … where known."""
    return _read(path).get("papers", {})


def _change(entry, claim_id):
    where = f"Claim {claim_id!r}, changed"
    change = Change(**_checked(Change, entry, where) | {"date": str(entry["date"])})
    _demand(where, known=(isinstance(change.known, bool), "true or false"), date=(len(change.date) == 10, "a day"),
            predicate=(isinstance(change.predicate, str), "text"), why=(isinstance(change.why, str), "text"))
    return change


def _part(entry, claim_id):
    name = entry.get("name", "without a name") if isinstance(entry, dict) else repr(entry)
    where = f"Claim {claim_id!r}, part {name!r}"
    part = Part(**_checked(Part, entry, where))
    limits = part.limits is None or isinstance(part.limits, list) and len(part.limits) == 2 \
        and all(map(_finite, part.limits)) and part.limits[0] < part.limits[1]
    margin = part.kind != "equivalence" or _finite(part.margin) and part.margin > 0
    _demand(where, kind=(part.kind in KINDS, f"one of {KINDS}"), margin=(margin, "a number above 0"),
            side=(part.side in ("above", "below"), "above or below"), name=(isinstance(part.name, str), "text"),
            quantity=(isinstance(part.quantity, str), "text"), bound=(_finite(part.bound), "a number"),
            limits=(limits, "two numbers, the lower one first"),
            by_construction=(part.by_construction is None or isinstance(part.by_construction, str), "text"),
            min_units=(part.min_units is None or type(part.min_units) is int and part.min_units > 0, "whole, above 0"))
    return part


def _finite(value):
    return type(value) in (int, float) and math.isfinite(value)


def _demand(where, /, **rules):
    for field, (kept, rule) in rules.items():
        if not kept:
            raise LabError(f"{where}: the field {field!r} must be {rule}.")


def _checked(cls, entry, where):
    if not isinstance(entry, dict):
        raise LabError(f"{where}: it must be a mapping of fields to values.")
    known = {f.name: f.default is MISSING for f in fields(cls)}
    if unknown := [k for k in entry if k not in known]:
        raise LabError(f"{where}: the field {unknown[0]!r} is unknown; the fields are {list(known)}.")
    if missing := [k for k, needed in known.items() if needed and k not in entry]:
        raise LabError(f"{where}: the field {missing[0]!r} is missing.")
    return entry


def _read(path):
    import yaml

    try:
        if path is None:
            path, content = data_path("papers.yaml"), {"claims": []}
            content["papers"] = yaml.safe_load(path.read_text(encoding="utf-8"))
            for name, number in chapters().items():
                path = HERE / name / "claims.yaml"
                content["claims"] += [{"notebook": number or name} | c
                                      for c in yaml.safe_load(path.read_text(encoding="utf-8")) or []]
        else:
            path = Path(path)
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise LabError(f"{path.name} cannot be read ({' '.join(str(error).split())}): restore it.") from None
    if not isinstance(content, dict) or not isinstance(content.get("claims"), list):
        raise LabError(f"{path.name} must have a list under 'claims:'.")
    if not isinstance(content.get("papers", {}), dict):
        raise LabError(f"{path.name} must have a mapping under 'papers:', from a citation key to its fields.")
    return content
