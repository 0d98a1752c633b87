"""`make slides`: what a lecture shows of a notebook, on one page that asks no other host."""

import json
import re
import runpy
import subprocess
import sys

import jupyter as lab
import nbformat
import pytest

NOTEBOOKS = sorted((lab.ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
MADE = runpy.run_path(str(lab.ROOT / "site" / "slides.py"))
PICTURE = {"image/png": "iVBORw0KGgo=", "text/plain": "."}
FOLD = "<details><summary>Answer</summary>\n\nBecause.\n\n</details>"


def notebook(*cells):
    """Text, or (source, *what is displayed)."""
    node = nbformat.v4.new_notebook()
    for cell in cells:
        if isinstance(cell, str):
            node.cells.append(nbformat.v4.new_markdown_cell(cell))
        else:
            outputs = [nbformat.v4.new_output("display_data", data=d) for d in cell[1:]]
            node.cells.append(nbformat.v4.new_code_cell(cell[0], outputs=outputs))
    return node


SMALL = notebook(
    "# 42 · Made: so?\n\nText.\n\nYou will\n- see.\n\n*Time*: 1 s.", ("secret = 1",),
    "## 1 · First\n\nBefore.\n\n$$a = b$$\n\nHere $a$ is b.\n\nAfter.\n\n$$c$$\n\n"
    "**Exercise 42.1**",
    "Aside.\n\n> **Threat model.** **Who** she.\n\nAnd so on.",
    ("draw()", PICTURE), "Text.", ("say()", {"text/markdown": "It rose."}),
    ("later()", {"text/html": "<table><tr><td>9</td></tr></table>"}),
    ("card()", {"text/html": "<table>", "application/vnd.labkit+json": {"kind": "exercise"}}),
    "**Predict before you run.** a) or b)?", f"Told.\n\n**Check yourself.** Why?\n\n{FOLD}",
    ("table()", {"text/html": "<table>7"}), "## The answer",
    ("lab.say()", {"text/markdown": "Yes."}), "**Read on**: [more](b), [else](https://arxiv.org).")


def test_what_a_lecture_shows_and_in_which_order():
    found = MADE["slides"](SMALL)
    kinds = [" ".join(c.source + str([o.data for o in c.get("outputs", [])]) for c in cells)
             for _, cells in found]
    told = ["Made: so?", "You will", "$$a = b$$\n\nHere", "> **Threat model", "iVBOR", "<td>9",
            "**Predict", "**Check yourself.** Why?",
            "<table>7", "Yes.", "**Read on**"]
    assert len(kinds) == len(told) and all(map(str.__contains__, kinds, told)), kinds
    assert "It rose." in kinds[4], "a figure has its sentence"
    assert "Yes." not in kinds[8], "not one of another section"
    assert "more, [else](https" in kinds[-1], "links that would lead nowhere are words"
    everything = " ".join(kinds)
    for left_out in ("secret", "draw()", "Before.", "After.", "Aside.", "Told.", "*Time*",
                     "Exercise"):
        assert left_out not in everything
    assert [h for h, _ in found] == ["", ""] + ["1 · First"] * 7 + ["The answer"] * 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_has_every_figure_and_asks_nobody(path):
    node = nbformat.read(path, as_version=4)
    page = MADE["page"](MADE["slides"](node))
    alts = [o.metadata["image/png"]["alt"] for c in node.cells for o in c.get("outputs", [])
            if "image/png" in o.get("data", {})]
    assert page.count("<img") == len(alts) > 0
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//(?![^>]*>[^<]*</a>)", page)
    assert page.count("<script") == 2 and "@exercise" not in page
    assert page.count("<section") >= len(alts) + 2


def test_a_wrong_name_is_one_sentence():
    for name in (["77"], []):
        done = subprocess.run([sys.executable, lab.ROOT / "site" / "slides.py", *name],
                              capture_output=True, text=True)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("slides: ")


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_the_keyboard_goes_through_them_without_a_network(tmp_path):
    lab.require_browser()
    pytest.importorskip("sphinx", reason="sphinx is not installed: make setup")
    subprocess.run([sys.executable, lab.ROOT / "site" / "slides.py", "01", tmp_path], check=True)
    with lab.browser_page(1280, 720) as page:
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "01_basics.html").as_uri())
        page.evaluate("MathJax.startup.promise")
        assert page.locator("mjx-container").count() and not page.locator("mjx-merror").count()
        count = page.locator("section").count()
        page.evaluate("ended = 0; document.addEventListener('scrollend', () => ended++); 0")
        for number in range(1, count):
            page.keyboard.press("PageDown")
            page.wait_for_function(f"ended >= {number}")
            assert abs(page.evaluate("scrollY / innerHeight") - number) < 0.01
        assert page.evaluate("[...document.images].every(i => i.naturalWidth && i.alt)")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        lab.screenshot(page, "slides_last")
        assert not page.errors
    assert not [u for u in asked if not u.startswith(("file:", "data:", "blob:"))]
    assert json.dumps(asked).count("mathjax")
