"""The whole course in one table, attack against unlearner and defence: python site/recap.py

course/chapters/recap.yaml says which part of a claim stands in which place; the numbers and
verdicts are those of the committed runs in data/records, judged together. Writes docs/recap.md.
"""

import functools
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE, README = ROOT / "docs" / "recap.md", ROOT / "README.md"
BLOCK = "<!-- recap:begin -->", "<!-- recap:end -->"
MARK = {"attacker": "A", "defender": "D", "open": "?", "reported": "·"}
HOLDS, MISSED = ("reproduced", "passed"), ("not reproduced", "failed")
OTHER = {"attacker": "defender", "defender": "attacker"}
INTRO = """# Recap: attack against unlearner and defence

What the course measured, in one table: rows are attacks, columns are ways to unlearn and to defend.
Each line is one part of a claim, judged over all committed runs (profile quick, the embedded
pictures): **whom it speaks for**, the mean with its 95 % interval, the verdict, and the notebook.
*Open*: the interval straddles what was asked; a part that is *reported* judges nothing. *By
construction*: it cannot come out otherwise unless the code is wrong. Where no claim measured
anything, *not measured* is all that can be said. A line in the attacker's favour says that an
attack worked here, not that it works everywhere.

"""
BELOW = """
## What the numbers are

What was measured, and what was asked of it; where that was changed, the scoreboard says when and
why.

"""


def main():
    sys.path.insert(0, str(ROOT))
    from course.report import write

    write(PAGE, page())
    front, before, after = README.read_text(encoding="utf-8"), *BLOCK
    start, end = front.index(before) + len(before), front.index(after)
    write(README, front[:start] + "\n" + in_short() + front[end:])
    print(f"recap: {PAGE.relative_to(ROOT)}, and in short in {README.name}")


def read() -> dict:
    return yaml.safe_load((ROOT / "course" / "chapters" / "recap.yaml").read_text("utf-8"))


def page() -> str:
    """docs/recap.md, links as from docs/."""
    given = read()
    rows, below = [["attack", *given["columns"]]], [["attack", "against", "measured", "asked",
                                                     "over", "claim, part"]]
    for row in given["attacks"]:
        places = [row.get(column, []) for column in given["columns"]]
        told = [[line(*found(entry)) for entry in entries] for entries in places]
        cells = ["<br>".join("• " * (len(lines) > 1) + text for text in lines) for lines in told]
        rows.append([f"**{row['attack']}**", *(cell or "*not measured*" for cell in cells)])
        below += [[row["attack"].split(":")[0], ": ".join(filter(None, [column, entry.get("how")])),
                   *details(*found(entry))]
                  for column, entries in zip(given["columns"], places, strict=True)
                  for entry in entries]
    return INTRO + table(rows) + BELOW + table(below)


def in_short() -> str:
    """The table of README.md: for each part whom it speaks for, one letter."""
    given = read()
    rows = [["attack", *given["columns"]]]
    for row in given["attacks"]:
        marks = [[mark(*found(entry)) for entry in row.get(column, [])]
                 for column in given["columns"]]
        rows.append([row["attack"].split(":")[0], *(" ".join(cell) or "–" for cell in marks)])
    return table(rows)


def mark(entry, claim, rule, pooled) -> str:
    """One part as a letter of MARK; '–' where it was not run or was too little."""
    part = next((p for p in (pooled or {"parts": []})["parts"] if p["name"] == rule.name), None)
    return MARK.get(speaks_for(part["verdict"], entry["favours"]), "–") if part else "–"


def table(rows) -> str:
    head, *rest = (f"| {' | '.join(row)} |\n" for row in rows)
    return head + "| --- " * len(rows[0]) + "|\n" + "".join(rest)


@functools.cache
def claims() -> dict:
    from course.claimfile import load_claims

    return load_claims()


def found(entry):
    """-> the entry, its claim, the part's rule, and the claim's pooled record (None: not run)"""
    from course.pooling import pooled_claims

    id, _, name = entry["part"].partition("/")
    claim = claims()[id]
    rule = next(part for part in claim.parts if part.name == name)
    return entry, claim, rule, pooled_claims(claim.chapter, "quick", "fashion").get(id)


def line(entry, claim, rule, pooled) -> str:
    """One part in words, with whom it speaks for and a link to its notebook."""
    from course.chapters import number
    from course.words import in_words

    how = f"{entry['how']}: " if "how" in entry else ""
    if not pooled:
        return f"{how}*not run*"
    part = next(p for p in pooled["parts"] if p["name"] == rule.name)
    place = f"../notebooks/{number(claim.chapter)}_{claim.chapter}.ipynb"  # judged: it is there
    verdict = part["verdict"] + " by construction" * bool(rule.by_construction)
    told = "" if part["verdict"] == "report" else f", {verdict}"
    return (f"{how}**{speaks_for(part['verdict'], entry['favours'])}** {in_words(part, rule)}"
            f"{told} [{number(claim.chapter)}]({place})")


def details(entry, claim, rule, pooled) -> list:
    """What is measured, what was asked, over how many units; which part of which claim."""
    from course.words import counted

    part = next((p for p in (pooled or {"parts": []})["parts"] if p["name"] == rule.name), None)
    over = f"{counted(part['n'], claim.unit)} in {pooled['runs']} runs" if part else "not run"
    return [entry["measure"], asked(rule), over, f"{claim.id}, {rule.name}"]


def asked(rule) -> str:
    return {"effect": f"{rule.side} {rule.bound:g}", "check": "all hold", "report": "nothing",
            "equivalence": f"within ± {rule.margin}"}[rule.kind]


def speaks_for(verdict, favours) -> str:
    """Whom a verdict speaks for: the one favoured, the other, or nobody."""
    if verdict in HOLDS + MISSED:
        return favours if verdict in HOLDS else OTHER[favours]
    return {"undecided": "open", "report": "reported"}.get(verdict, verdict)


if __name__ == "__main__":
    sys.exit(main())
