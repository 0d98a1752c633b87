"""The pattern that every notebook follows, so that learners recognise it: question, box, section,
check, prediction, exercises, answer. 00 is an opening, and has a shape of its own.

A rule takes a notebook with its outputs and yields what is wrong with it, in words. Each rule is
tried on a small made notebook that keeps them all, and on copies with one thing broken.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from test_reading_time import NOTEBOOKS

from course.exercises import EXERCISES

ROOT = Path(__file__).resolve().parents[1]
CUT = [p for p in NOTEBOOKS if not p.stem.startswith("00")]
BIB = (ROOT / "data" / "references.bib").read_text(encoding="utf-8")
CARD = re.compile(r"\*\*Exercise (\d+\.\d+)\*\* \(difficulty (\d), (\d+) minutes\)\.")
STUB = re.compile(r'^@exercise\("([^"]+)"\)\ndef (\w+)\(', re.M)
CHECK, PREDICT = "**Check yourself.**", "**Predict before you run.**"
# A cell with one of these compares the learner's function with another: no experiment.
COMPARES = ("lk.show(", "allclose(", "torch.equal(", "array_equal(", "assert ")


@dataclass
class Notebook:
    number: str  # without the leading zero, as exercises have it
    cells: list
    exercises: dict

    def text(self):
        return [c for c in self.cells if c.cell_type == "markdown"]

    def code(self):
        return [c for c in self.cells if c.cell_type == "code"]

    def sections(self):
        """[(heading, its cells)], a section begins with a cell that begins with '## '."""
        found = []
        for cell in self.cells:
            if cell.cell_type == "markdown" and cell.source.startswith("## "):
                found.append((cell.source.split("\n")[0][3:], []))
            if found:
                found[-1][1].append(cell)
        return found


def read(path):
    return Notebook(str(int(path.stem[:2])), nbformat.read(path, as_version=4).cells, EXERCISES)


def said(cell):
    """What a cell displays as sentences (lab.say)."""
    shown = (o.get("data", {}).get("text/markdown", "") for o in cell.get("outputs", []))
    return " ".join("".join(text) for text in shown)


def pictures(cell):
    return sum("image/png" in o.get("data", {}) for o in cell.get("outputs", []))


def tables(cell):
    pages = ("".join(o.get("data", {}).get("text/html", "")) for o in cell.get("outputs", []))
    return sum("<table" in page for page in pages)


def shows(cell):
    """Whether a cell leaves anything to look at; warnings are nothing."""
    return any(o.get("name") != "stderr" for o in cell.get("outputs", []))


# ------------------------------------------------------------------ the rules


def opening(nb):
    """The first cell: title, question, what one will do, time, prerequisites, papers, words."""
    first = nb.cells[0].source
    if not re.match(rf"# 0?{nb.number} · [^:\n]+: [^\n]+\?\n", first):
        yield "the title is not '# NN · Short title: the question?'"
    if not re.search(r"\*\*[^*]+\?\*\*", first):
        yield "no question stands in bold"
    aims = re.search(r"You will:?\n((?:- .+\n(?:  .+\n)*)+)", first)
    if not aims or not 3 <= len(re.findall("(?m)^- ", aims[1])) <= 5:
        yield "'You will' has not three to five bullets"
    for word in ("*Time*:", "*You need*:", "*Papers*:"):
        if word not in first:
            yield f"{word} is missing"
    if "*Words*: [glossary](../docs/glossary.md)" not in first:
        yield "the glossary is not linked"


def papers(nb):
    """Every paper's link is one that data/references.bib has, and there is one."""
    line = nb.cells[0].source.partition("*Papers*:")[2].partition("*Words*")[0]
    links = re.findall(r"\]\((https?://[^)\s]+)\)", line)
    yield from (f"{link} is not in references.bib" for link in links if link not in BIB)
    if not links:
        yield "no paper is linked"


def first_result(nb):
    """The first picture or table stands within the first ten cells."""
    if not any(pictures(c) or tables(c) for c in nb.cells[:10]):
        yield "no picture and no table in the first ten cells"


def rows_of_code(nb):
    """At most three cells of code in a row that show nothing."""
    silent = 0
    for cell in nb.cells:
        silent = silent + 1 if cell.cell_type == "code" and not shows(cell) else 0
        if silent == 4:
            yield f"four silent cells of code in a row, the last: {cell.source[:50]!r}"


def figures(nb):
    """One to eight figures, and a displayed sentence in the same cell or the two code cells after.
    """
    code = nb.code()
    if not 1 <= sum(map(pictures, code)) <= 8:
        yield f"{sum(map(pictures, code))} figures"
    for i, cell in enumerate(code):
        if pictures(cell) and not any(map(said, code[i:i + 3])):
            yield f"a figure that no sentence reads back: {cell.source[:50]!r}"


def checks(nb):
    """Each numbered section ends with 'Check yourself': one or two questions, answers folded. Below
    it may stand an explorer.
    """
    for heading, cells in nb.sections():
        if not re.match(r"\d+ · ", heading) or any("claims_table()" in c.source for c in cells):
            continue
        places = [i for i, c in enumerate(cells)
                  if c.cell_type == "markdown" and CHECK in c.source]
        if len(places) != 1:
            yield f"{heading}: {len(places)} cells with {CHECK}"
            continue
        before, _, asked = cells[places[0]].source.partition(CHECK)
        folds = re.findall(r"\?\s+<details>\s*<summary>Answer</summary>\n\n.+?\n\n</details>",
                           asked, re.S)
        if not 1 <= len(folds) <= 2 or len(folds) != asked.count("<details"):
            yield f"{heading}: not one or two questions, each with its folded answer"
        below = [c.source for c in cells[places[0]:] if c.cell_type == "code"]
        if below and not any("widgets.explorer(" in source for source in below):
            yield f"{heading}: it does not end with {CHECK}"


def prediction(nb):
    """One prediction with answers a), b): a cell of code follows, and what it shows reveals it."""
    at = [i for i, c in enumerate(nb.cells) if c.cell_type == "markdown" and PREDICT in c.source]
    if len(at) != 1:
        yield f"{len(at)} cells with {PREDICT}"
        return
    source, after = nb.cells[at[0]].source, nb.cells[at[0] + 1:]
    if not source.startswith(PREDICT):
        yield "the prediction is not the beginning of its cell"
    if not all(f"{letter})" in source for letter in "ab") or "<details" in source:
        yield "it does not offer a) and b), or it answers itself"
    if not after or after[0].cell_type != "code":
        yield "no code follows the prediction"
    until = next((i for i, c in enumerate(after) if c.source.startswith("## ")), len(after))
    if not any(re.search(r"\b[abc]\)", said(c)) for c in after[:until]):
        yield "no displayed sentence says which answer was right"


def exercises(nb):
    """Four to six cards in the order of the text, difficulty rising, a project of 5 at the end."""
    cards = [CARD.findall(c.source) for c in nb.cells]
    found = [card for of_cell in cards for card in of_cell]
    ids, levels = [c[0] for c in found], [int(c[1]) for c in found]
    if ids != [f"{nb.number}.{k + 1}" for k in range(len(ids))] or not 4 <= len(ids) <= 6:
        yield f"the cards are {ids}"
    if any(later < earlier - 1 for earlier, later in zip(levels, levels[1:], strict=False)):
        yield f"the difficulty falls: {levels}"
    if 4 not in levels or levels[-1:] != [5] or levels.count(5) != 1:
        yield f"not one project of difficulty 5, the last, and one of 4: {levels}"
    for id, level, minutes in found:
        known = nb.exercises.get(id)
        if not known or (known.difficulty, known.minutes) != (int(level), int(minutes)):
            yield f"{id}: card and exercises.py differ"
    if found and not getattr(nb.exercises.get(ids[-1]), "floor", None):
        yield f"{ids[-1]}: the project has no measured floor"
    for of_cell, after in zip(cards, nb.cells[1:], strict=False):
        if of_cell and of_cell[-1][0] not in dict(STUB.findall(after.source)):
            yield f"{of_cell[-1][0]}: its stub does not follow its card"
    project = next((c.source for c in nb.cells if CARD.findall(c.source)[-1:] == found[-1:]), "")
    if found and not re.search(r"\n\*Judged by\* .+(\n.+)*\s*$", project):
        yield "the project's card does not end with *Judged by* …"


def used(nb):
    """What a learner writes is read by a later cell that is no comparison."""
    code = nb.code()
    for i, cell in enumerate(code):
        for id, name in STUB.findall(cell.source):
            later = (c for c in code[i + 1:] if not any(word in c.source for word in COMPARES))
            if not any(name in names(c) for c in later):
                yield f"{id}: {name} is used by no later experiment"


def names(cell):
    """The names that a cell of code reads (not those that it defines)."""
    return {n.id for n in ast.walk(ast.parse(cell.source))
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def threats(nb):
    """A quoted box that says who, sees, may, wants, in this order."""
    boxes = [c.source for c in nb.text() if "> **Threat model" in c.source]
    if not boxes:
        yield "no threat model"
    for box in boxes:
        lines = " ".join(line for line in box.split("\n") if line.startswith(">"))
        if re.findall(r"\*\*(Who|Sees|May|Wants)\*\*", lines) != ["Who", "Sees", "May", "Wants"]:
            yield "a threat model without Who, Sees, May, Wants"


def parts(nb):
    """Each once: claims table, explorer; the shortcut that would fool; the answer at the end."""
    source = "\n".join(c.source for c in nb.code())
    for call in ("lab.claims_table()", "widgets.explorer("):
        if source.count(call) != 1:
            yield f"{call} stands there {source.count(call)} times"
    if not any("What would fool you" in c.source for c in nb.text()):
        yield "no 'What would fool you'"
    heading, cells = (nb.sections() or [("", [])])[-1]
    if heading != "The answer":
        yield "the last section is not '## The answer'"
        return
    answers = [c for c in cells if c.cell_type == "code"]
    if len(answers) != 1 or "Not shown:" not in said(answers[0]):
        yield "not one cell that answers, with 'Not shown:'"
    below = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    if "**Read on**" not in below or "](" not in below:
        yield "no '**Read on**' with a link"


def words(nb):
    """No pasted pictures, and none of the words that the course does not use."""
    for cell in nb.cells:
        text = cell.source if cell.cell_type == "markdown" else said(cell)
        for word in re.findall(r"(?i)\bna[iï]ve|\bsimply\b|\bobviously\b|!\[|<img", text):
            yield f"{word!r} in {text[:60]!r}"


RULES = [opening, papers, first_result, rows_of_code, figures, checks, prediction, exercises, used,
         threats, parts, words]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", CUT, ids=lambda path: path.stem)
def test_a_notebook_keeps_the_pattern(path, rule):
    assert not list(rule(read(path)))


# ------------------------------------------------------------------ the rules can fail

SAYS, PICTURE = {"text/markdown": "It is b) here."}, {"image/png": "", "text/plain": "."}
FOLD = "\n\n<details><summary>Answer</summary>\n\nBecause.\n\n</details>"
LEVELS, JUDGED = (1, 3, 2, 4, 5), "\n\n*Judged by* it,\nhere."
MADE = [
    ("# 42 · Made: does it hold?\n\nText. **Is it so?**\n\nYou will\n- one;\n- two\n  and a bit;\n"
     "- three.\n\n*Time*: 1 s to run. *You need*: 01.\n"
     "*Papers*: [A paper](https://arxiv.org/abs/2304.04934).\n"
     "*Words*: [glossary](../docs/glossary.md)."),
    ("seed = 0",), ("import torch",), ("cfg = 1",),
    "## 1 · A section\n\n> **Threat model.**\n> **Who** she. **Sees** it.\n> **May** ask.\n"
    "> **Wants** more.",
    ("lab.figure(x)", PICTURE), ("lab.say('read')", SAYS),
    *[cell for k, level in enumerate(LEVELS, 1) for cell in (
        f"**Exercise 42.{k}** (difficulty {level}, 9 minutes). Do." + JUDGED * (k > 4),
        (f'@exercise("42.{k}")\ndef f{k}(x):\n    ...', {"text/html": "card"}))],
    ("run(f1, f2(3))\ndef g():\n    return f3(4), f4, f5", SAYS),
    f"{CHECK} Why?{FOLD}",
    "## 2 · The result",
    f"{PREDICT} What will it be? a) more; b) less.", ("run()",), ("lab.say(b)", SAYS),
    ("widgets.explorer(x)", SAYS), f"Text.\n\n{CHECK} Why this?{FOLD}\n\nWhy that?{FOLD}",
    "## What would fool you", ("lab.claims_table()", {"text/html": "<table>"}),
    "## The answer", ("lab.say(a)", {"text/markdown": "So. Not shown: that."}),
    "**Read on**: [more](https://arxiv.org/abs/2304.04934).",
]


def made(edit=lambda cells: None):
    """The made notebook; edit may change the list of its cells."""
    cells = []
    for content in MADE:
        if isinstance(content, str):
            cells.append(nbformat.v4.new_markdown_cell(content))
        else:
            outputs = [nbformat.v4.new_output("display_data", data=d) for d in content[1:]]
            cells.append(nbformat.v4.new_code_cell(content[0], outputs=outputs))
    known = {f"42.{k}": SimpleNamespace(difficulty=level, minutes=9, floor=(level > 4) and min)
             for k, level in enumerate(LEVELS, 1)}
    notebook = Notebook("42", cells, known)
    edit(notebook)
    return notebook


def swap(old, new):
    """An edit: text for other text, all over the sources and what is displayed."""
    def edit(notebook):
        found = False
        for cell in notebook.cells:
            found |= old in cell.source
            cell.source = cell.source.replace(old, new)
            for data in (o["data"] for o in cell.get("outputs", [])):
                for kind, text in data.items():
                    found |= old in text
                    data[kind] = text.replace(old, new)
        assert found, old
    return edit


def moved(old, to, copies=1):
    """An edit: the cell that begins with this text stands elsewhere (copies = 0: nowhere)."""
    def edit(notebook):
        at = next(i for i, c in enumerate(notebook.cells) if c.source.startswith(old))
        cell = notebook.cells.pop(at)
        notebook.cells[to:to] = [cell] * copies
    return edit


def floorless(notebook):
    notebook.exercises["42.5"].floor = None


BREAKS = [
    (opening, swap(": does it hold?", "")), (opening, swap("**Is it so?**", "Is it so?")),
    (opening, swap("- two\n  and a bit;\n- three.\n", "")), (opening, swap("*You need*", "Need")),
    (opening, swap("../docs/glossary.md", "glossary.md")),
    (papers, swap("2304.04934", "0000.00000")), (papers, swap("[A paper](", "A paper (")),
    (first_result, moved("lab.figure", 12)), (rows_of_code, moved("seed", 1, 2)),
    (figures, moved("lab.figure", 5, 9)), (figures, moved("lab.figure", 5, 0)),
    (figures, moved("lab.say('read')", 0, 0)),
    (checks, swap("\n\nBecause.", "")), (checks, swap("Why?", "This.")),
    (checks, swap(f"{CHECK} Why?", "Why?")), (checks, moved("run()", 24)),
    (checks, swap("Why this?", f"Why?{FOLD}\n\nWhy this?")),
    (prediction, swap(PREDICT, "Predict.")), (prediction, swap(PREDICT, f"So: {PREDICT}")),
    (prediction, swap("It is b)", "It is less")), (prediction, swap(" b) less.", " or less.")),
    (prediction, swap("b) less.", f"b) less.{FOLD}")),
    (prediction, moved(PREDICT, 23)), (prediction, moved(PREDICT, 20, 2)),
    (exercises, swap("42.3", "42.7")), (exercises, swap("(difficulty 3", "(difficulty 4")),
    (exercises, swap("(difficulty 4", "(difficulty 3")), (exercises, swap("9 min", "8 min")),
    (exercises, moved("**Exercise 42.2", 8)), (exercises, moved("**Exercise 42.5", 0, 0)),
    (exercises, swap(JUDGED, "")), (exercises, floorless),
    (exercises, moved('@exercise("42.4")', 24)),
    (used, swap("f1, ", "")), (used, swap("return f3(4), f4, f5", "return f3(4), f4\nf5 = 1")),
    (used, swap("run(f1", "torch.equal(f1")), (used, moved("run(f1", 6)),
    (threats, swap("**Threat model.**", "**Box.**")), (threats, swap("**May**", "May")),
    (threats, swap("> **Wants**", "**Wants**")),
    (parts, swap("claims_table", "table")), (parts, moved("widgets", 26, 2)),
    (parts, swap("What would fool", "What fools")), (parts, swap("## The answer", "## An end")),
    (parts, swap("Not shown:", "And")), (parts, swap("**Read on**", "More")),
    (parts, moved("lab.say(a)", 0)),
    (words, swap("Text.", "A naive try.")), (words, swap("Text.", "![](a.png)")),
    (words, swap("It is b)", "It is simply b)")),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_made_notebook_keeps_every_rule(rule):
    assert list(rule(made())) == []


@pytest.mark.parametrize("number", range(len(BREAKS)))
def test_what_breaks_a_rule_is_seen(number):
    rule, edit = BREAKS[number]
    assert list(rule(made(edit))), (rule.__name__, number)


def test_every_rule_is_broken_somewhere():
    assert {rule for rule, _ in BREAKS} == set(RULES)
