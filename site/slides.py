"""Slides of a notebook, for a lecture: python site/slides.py 05 [build/slides]

One page that needs no network and no script but MathJax, which lies beside it. Nobody marks cells:
what a lecture shows follows from the pattern that every notebook keeps. Space, PageDown and the
arrows go on (the page snaps from slide to slide), and Ctrl+P prints them.
"""

import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PLACE = ROOT / "build" / "slides"
CHECK, PREDICT, BOX = "**Check yourself.**", "**Predict before you run.**", "> **Threat model"
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<style>{style}</style>
<script>window.MathJax = {{options: {{enableMenu: false}},
  tex: {{inlineMath: [["$", "$"], ["\\\\(", "\\\\)"]]}}}}</script>
<script defer src="mathjax/tex-chtml.js"></script>
</head><body>
{slides}
</body></html>
"""


def main(name, out=PLACE):
    sys.path.insert(0, str(ROOT))
    from course.runs.notebook import find_notebook, read
    from labkit.base import LabError

    try:
        path = find_notebook(name, ROOT / "notebooks")
        node = read(path)
    except LabError as problem:
        sys.exit(f"slides: {problem}")
    found = slides(node)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{path.stem}.html").write_text(page(found), encoding="utf-8")
    copy_mathjax(out)
    print(f"slides: {len(found)} slides; open {out / path.stem}.html")


def slides(node) -> list:
    """[(heading of the section, [cells of the slide])], in the order of the notebook."""
    cells, heading = node.cells, ""
    opening, _, rest = cells[0].source.partition("You will")
    found = [("", [text(opening)]), ("", [text("You will" + rest.split("\n*Time*")[0])])]
    for i, cell in enumerate(cells[1:], start=1):
        if cell.cell_type == "code":
            if shown := [o for o in cell.outputs if is_result(o)]:
                found.append((heading, [displayed(shown), *read_back(cells[i:])]))
            elif heading == "The answer":
                found.append((heading, [displayed(cell.outputs)]))
            continue
        if cell.source.startswith("## "):
            heading = cell.source.split("\n")[0][3:]
        found += [(heading, [text(part)]) for part in parts(cell.source, heading)]
    return found


def parts(source, heading):
    """What of a cell of text is a slide: box, formula, prediction, question, what to read next."""
    box = [line for line in source.split("\n") if line.startswith(">")]
    before, check, question = source.partition(CHECK)
    if BOX in source:
        yield "\n".join(box)
    elif PREDICT in source:
        yield source
    elif "$$" in before:
        yield "\n\n".join(around_formulas(before.split("\n\n")))
    if check:
        yield check + question
    if heading == "The answer" and "**Read on**" in source:
        yield source


def around_formulas(paragraphs):
    """The paragraphs with a formula, each with the one that names its symbols; no exercise."""
    kept = {i + j for i, p in enumerate(paragraphs) if "$$" in p for j in (0, 1)}
    return [p for i, p in enumerate(paragraphs)
            if i in kept and not p.startswith(("#", "**Exercise"))]


def is_result(output):
    """A picture, or a table of results (not the card of an exercise)."""
    data = output.get("data", {})
    card = data.get("application/vnd.labkit+json", {}).get("kind") == "exercise"
    return "image/png" in data or "<table" in "".join(data.get("text/html", "")) and not card


def read_back(cells):
    """The first sentences displayed in this cell or the two of code after it in the section."""
    end = next((i for i, c in enumerate(cells) if c.source.startswith("## ")), len(cells))
    for cell in [c for c in cells[:end] if c.cell_type == "code"][:3]:
        if said := [o for o in cell.outputs if "text/markdown" in o.get("data", {})]:
            return [displayed(said)]
    return []


def text(source):
    """A cell of text; links to other notebooks would lead nowhere from here, their words stay."""
    return nbformat.v4.new_markdown_cell(re.sub(r"\[([^]]+)\]\((?!https?:)[^)]*\)", r"\1", source))


def displayed(outputs):
    """A cell of code without its code; figures keep their description."""
    return nbformat.v4.new_code_cell("", outputs=outputs)


def page(found) -> str:
    exporter = HTMLExporter(template_name="basic", exclude_input=True, exclude_input_prompt=True,
                            exclude_output_prompt=True)
    made = []
    for heading, cells in found:
        body = exporter.from_notebook_node(nbformat.v4.new_notebook(cells=cells))[0]
        above = f"<header>{heading}</header>" if heading else ""
        table = "".join(re.findall(r"<table.*?</table>", body, re.S))
        size = ' class="dense"' * (len(re.sub(r"<[^>]*>", " ", table).split()) > 90)
        made.append(f"<section{size}>{above}<div>{body}</div></section>")
    title = found[0][1][0].source.split("\n")[0].lstrip("# ")
    style = (HERE / "static" / "slides.css").read_text(encoding="utf-8")
    return PAGE.format(title=title, style=style, slides="\n".join(made))


def copy_mathjax(out):
    """The script, its fonts and TeX extensions, of the package that the site takes, too."""
    if not (spec := find_spec("sphinx-mathjax-offline")):
        sys.exit("slides: sphinx-mathjax-offline is not installed. Try: make setup")
    there = Path(spec.origin).parent / "static" / "mathjax"
    for part in ("output/chtml/fonts/woff-v2", "input/tex/extensions"):
        shutil.copytree(there / part, out / "mathjax" / part, dirs_exist_ok=True)
    shutil.copy(there / "tex-chtml.js", out / "mathjax")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit("slides: say which notebook, as in: make slides NB=05")
    sys.exit(main(*sys.argv[1:]))
