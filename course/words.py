"""Claims in words: judged parts as text, and what a notebook shows of them."""

import html
import re

import pandas as pd

from course.claimfile import Change, Claim, Part
from course.runs.notebook import MIME
from labkit.base import LabError
from labkit.measure.intervals import decimals

HOLDS = ("reproduced", "passed")
# Okabe-Ito: told apart by colour-blind readers; the word is always there too.
COLOURS = {"reproduced": "#0072B2", "passed": "#0072B2", "undecided": "#F0E442",
           "not reproduced": "#D55E00", "failed": "#D55E00"}


def counted(n: int, word: str) -> str:
    """1 seed, 2 seeds"""
    return f"{n} {word}{'s' * (n != 1)}"


def said(claim: Claim) -> str:
    """What the paper says, with a † where our predicate has changed."""
    return claim.says + " †" * bool(claim.changed)


def in_words(result: dict, part: Part) -> str:
    """A judged part as text, '0.36 [0.31, 0.42]': as many decimals as its interval supports."""
    if result["kind"] == "check":
        return f"{sum(result['values'])} of {result['n']} hold"
    if result["mean"] is None:
        return counted(result["n"], "figure") if result["values"] else "nothing"
    mean, low, high = (result[k] for k in ("mean", "low", "high"))
    if low is None:
        return f"{mean:,.0f}" if abs(mean) >= 1000 else f"{mean:.3g}"
    digits = decimals((high - low) / 2)
    margin = part.margin or 0
    lines = {"effect": [part.bound], "equivalence": [-margin, margin]}.get(part.kind, [0])
    if any(round(end, digits) == line != end for end in (low, high) for line in lines):
        digits += 1  # rounded, the end would lie on the line that decides, or on 0
    return f"{mean:z.{digits}f} [{low:z.{digits}f}, {high:z.{digits}f}]"  # z: no -0.00


def parts_in_words(result: dict, claim: Claim, deciding=False, verdicts=False) -> str:
    """All judged parts of a claim, or the one that decides, named where the claim has several."""
    pairs = [(p, rule) for p, rule in zip(result["parts"], claim.parts, strict=True)
             if not deciding or p["name"] == result["decided_by"]]
    named, runs = len(claim.parts) > 1, result.get("runs", 0)
    return "; ".join(f"{p['name']} " * named + in_words(p, rule)
                     + f", {p['verdict']}" * (named and verdicts and rule.kind != "report")
                     + f", in {p.get('runs')} of them" * (0 < p.get("runs", 0) < runs)
                     for p, rule in pairs)


def would_have_shown(result: dict, part: Part) -> str:
    """What an undecided part could have decided with this n; empty where that is not known."""
    size = result.get("detectable")
    if size is None:
        return ""
    if part.limits and size > abs(part.limits[part.side == "above"] - part.bound):
        return "no difference that is possible would have been shown"
    beyond = "" if part.bound == 0 or part.kind == "equivalence" else f" beyond {part.bound:g}"
    margin = "a margin of ± " if part.kind == "equivalence" else ""
    return f"{margin}{size:.2g}{beyond} would have been shown"


def parts_held(result: dict, claim: Claim) -> str:
    """'2 of 3': how many of the parts hold that can fail; empty where there are fewer than two."""
    can_fail = {p.name for p in claim.parts if p.kind != "report" and not p.by_construction}
    verdicts = [p["verdict"] for p in result["parts"] if p["name"] in can_fail]
    return f"{sum(v in HOLDS for v in verdicts)} of {len(verdicts)}" if len(verdicts) > 1 else ""


def change_in_words(change: Change) -> str:
    """What follows 'predicate' in the note on a claim that has changed."""
    when = "after" if change.known else "before"
    return (f"changed on {change.date}, {when} numbers were known. It was: {change.predicate} "
            f"Why: {change.why}")


def output(value, text, shown=None) -> dict:
    """A cell's output: value for programs, text, and the inside of a <div>."""
    page = {"text/html": f"<div>{shown}</div>"} if shown else {}
    return {MIME: value, "text/plain": text} | page


def claim_output(claim: Claim, result: dict, committed: dict | None) -> dict:
    """A judged claim as a cell's output: verdict, parts with intervals, committed runs, changes."""
    verdict, lines = result["verdict"], []
    held = f" ({held} parts hold)" if (held := parts_held(result, claim)) else ""
    for p, part in zip(result["parts"], claim.parts, strict=True):
        measured = f"{part.quantity}: {in_words(p, part)} ({counted(p['n'], claim.unit)})"
        why = part.by_construction and f"by construction: {part.by_construction}"
        told = [measured, p["verdict"], would_have_shown(p, part), why]
        lines.append(", ".join(filter(None, told)))
    below = [f"† Predicate {change_in_words(c)}" for c in claim.changed]
    if committed:
        n = committed["runs"]
        runs = f"All {n} committed runs together" if n > 1 else "The committed run"
        parts = parts_in_words(committed, claim, verdicts=True)
        below.insert(0, f"{runs}: {committed['verdict']} ({parts}).")
    text = "\n".join([f"{claim.id}: {verdict}{held}. Claim: {claim.says}",
                      *(f"  {line}" for line in lines), *below])
    rows = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    notes = "".join(f"<div>{html.escape(line)}</div>" for line in below)
    edge = f"border-left: 6px solid {COLOURS.get(verdict, '#999999')}; padding: 0.2em 1em"
    shown = (f'<div style="{edge}"><b>Claim {claim.id}: this run {verdict.upper()}</b>{held}<br>'
             f"{html.escape(claim.says)}<ul>{rows}</ul>{notes}</div>")
    return output({"kind": "claim", "claim": result}, text, shown)


def committed_output(text: str, catalogue, committed) -> dict:
    """Sentences as a cell's output; {claim.part} becomes what the committed runs say of it.

    As 0.20 [0.07, 0.33] (reproduced, 77 targets in 5 runs); the count stands until it changes.
    """
    last = None

    def told(found):
        nonlocal last
        name, _, part = found[1].partition(".")
        known = [p.name for p in catalogue[name].parts] if name in catalogue else []
        if not known or part and part not in known:
            raise LabError(f"There is no claim or part {found[1]!r} to tell: see claims.yaml.")
        if not (together := committed.get(name)):
            return "(no committed runs yet)"
        at = known.index(part or together["decided_by"])
        p, rule = together["parts"][at], catalogue[name].parts[at]
        runs, unit = counted(p["runs"], "run"), catalogue[name].unit
        count = runs if unit == "run" else f"{counted(p['n'], unit)} in {runs}"
        beside = [p["verdict"]] * (rule.kind != "report") + [count] * (count != last)
        last = count
        return in_words(p, rule) + f" ({', '.join(beside)})" * bool(beside)

    shown = re.sub(r"\{([^{}]+)\}", told, text)
    return {MIME: {"kind": "committed", "text": text}, "text/plain": shown, "text/markdown": shown}


def claims_output(catalogue, results, committed, full=()) -> dict:
    """The table of a notebook's claims; committed, full: id -> judged over the committed runs."""
    def in_words_of(claim, runs):
        together = dict(runs).get(claim.id)
        return (f"{together['verdict']}, {counted(together['runs'], 'run')}: "
                f"{parts_in_words(together, claim)}" if together else "none")

    rows = [{"claim": said(claim), "paper": claim.paper, "its figure": claim.figure,
             "this run": parts_in_words(c, claim), "verdict of this run": c["verdict"],
             "all committed runs": in_words_of(claim, committed)}
            | ({"in full": in_words_of(claim, full)} if full else {})
            for c in results for claim in [catalogue[c["id"]]]]
    caption = "Claims of this notebook, with 95 % intervals († predicate changed)"
    return output({"kind": "claims"}, caption, table_html(pd.DataFrame(rows), caption, 2))


def table_html(frame, caption: str, digits: int) -> str:
    """A pandas table in HTML, all of it escaped; its index is shown where it names something."""
    shown = frame.copy()
    for column in shown.columns:
        if shown[column].dtype.kind == "f":
            shown[column] = shown[column].map(lambda v: f"{v:.{digits}f}")
    named = shown.index.name is not None or shown.index.dtype.kind not in "iu"
    body = shown.to_html(index=named, border=0)
    return f"<div><b>{html.escape(caption)}</b>{body}</div>"
