"""The web site: it builds without a warning, its links hold, and a browser reads every page without
another host.
"""

import functools
import html
import http.server
import json
import re
import subprocess
import sys
import threading
import urllib.parse
from html.parser import HTMLParser

import jupyter as lab
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("site")]
NOTEBOOKS = sorted((lab.ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
OVERFLOWING = """() => [...document.querySelectorAll('main *')].filter(e => {
    for (let p = e.parentElement; p !== document.body; p = p.parentElement)
        if (getComputedStyle(p).overflowX !== 'visible') return false;
    const box = e.getBoundingClientRect();
    return box.width && box.right > innerWidth + 1 && !e.closest('.bd-sidebar-secondary');
}).map(e => `${e.tagName} ${e.textContent.slice(0, 60)}`)"""
RAW_FORMULAS = """\
() => [...document.querySelectorAll('article :is(p, li, td, h1, h2, h3)')].map(e => {
    const copy = e.cloneNode(true);
    copy.querySelectorAll('pre, code, mjx-container').forEach(x => x.remove());
    return copy.textContent;
}).filter(text => /[$]|\\\\[(\\[]/.test(text))"""


RAW = re.compile(r"""\]\(|\]\[|\]\{                   # [a link](there), [one][1], [words]{.class}
                     |^\s*\#{1,6}\s|^\s*[*+]\s|^\s*```  # a heading, a list, a fence
                     |^\s*\||\|\s*$|\s\|\s|\|[ :]*--      # a table
                     |\*\*|__\w|`                      # strong words, code""", re.M | re.X)
EMPTY = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source",
         "track", "wbr"}
INLINE = {"a", "abbr", "b", "em", "i", "small", "span", "strong", "sub", "sup"}


class Page(HTMLParser):
    """Of an HTML file: its addresses, ids, pictures, how many folds it has, and its article's
    words.
    """

    def __init__(self, path):
        super().__init__()
        self.links, self.ids, self.pictures, self.folds = [], set(), [], 0
        self.open, self.words = [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.words = "".join(self.words)

    def handle_endtag(self, tag):
        if tag in (inside := [name for name, _ in self.open]):  # what was never closed ends too
            del self.open[len(inside) - 1 - inside[::-1].index(tag):]
        self.words += [] if tag in INLINE else ["\n"]

    def handle_data(self, data):
        inside = [tag for tag, _ in self.open]
        if "article" in inside and not {"pre", "code", "script", "style"} & set(inside) and not any(
                {"math", "headerlink"} & set(classes) for _, classes in self.open):
            self.words.append(data)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag not in EMPTY:
            self.open.append((tag, (given.get("class") or "").split()))
        self.words += [] if tag in INLINE else ["\n"]
        self.ids.add(given.get("id"))
        self.links += [given[k] for k in ("href", "src") if given.get(k)]
        self.pictures += [given.get("alt")] if tag == "img" else []
        self.folds += tag == "details"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("sphinx", reason="sphinx is not installed: make setup")
    out = tmp_path_factory.mktemp("site") / "site"
    done = subprocess.run([sys.executable, lab.ROOT / "site" / "build.py", out],
                          capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def address(site):
    """The site on the loopback address."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0),
                                             functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def pages(site):
    return [p for p in sorted(site.rglob("*.html")) if "_static" not in p.parts]


def outputs(notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [o for c in cells for o in c.get("outputs", [])]


def test_links_lead_somewhere(site):
    found = {p: Page(p) for p in pages(site)}
    for path, page in found.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(html.unescape(link))
            if parts.scheme:
                continue
            target = (path.parent
                      / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            assert target.exists(), f"{path.name} leads to {link}"
            if parts.fragment and target in found:
                assert urllib.parse.unquote(parts.fragment) in found[target].ids, (
                    f"{path.name} leads to {link}")
    course = {link.split("#")[0] for link in found[site / "index.html"].links}
    assert ({f"notebooks/{n.stem}.html" for n in NOTEBOOKS} | {"scoreboard.html", "status.html"}
            <= course)


def test_a_notebooks_page_says_what_its_outputs_say(site):
    for notebook in NOTEBOOKS:
        path = site / "notebooks" / f"{notebook.stem}.html"
        page, text = Page(path), path.read_text(encoding="utf-8")
        alts = [o["metadata"]["image/png"]["alt"] for o in outputs(notebook)
                if "image/png" in o.get("data", {})]
        assert alts and alts == page.pictures, "each picture keeps its description"
        folded = ["".join(o["data"]["text/html"]) for o in outputs(notebook)
                  if "text/html" in o.get("data", {})]
        assert page.folds >= sum(f.count("<details") for f in folded) >= 4
        assert f'href="{notebook.name}"' not in text
        assert ('class="status"' in text
                and "torch" in text.split('class="status"')[1].split("</p>")[0])
        assert (f"notebooks/{notebook.stem}.html"
                in (site / "status.html").read_text(encoding="utf-8"))
        assert (site / "_sources" / "notebooks"
                / notebook.name).read_bytes() == notebook.read_bytes()


def test_no_page_shows_markdown(site):
    for path in pages(site):
        words = Page(path).words
        found = [words[max(0, m.start() - 40):m.end() + 40] for m in RAW.finditer(words)]
        assert len(words) > 100 or path.stem in ("genindex", "search"), path
        assert not found, f"{path.relative_to(site)}: {found}"


@pytest.mark.parametrize("raw", ["[00](notebooks/00.ipynb)", "a [word]{.verdict .passed}",
                                 "## Heading", "a | b | c",
                                 "| --- |", "**no**", "`code`", "* item"])
def test_markdown_is_seen(raw, tmp_path):
    ((tmp_path / "a.html").write_text(f"<article><p class='x'>An "
                                      f"<em>a|b</em><br>c<p>{raw}</article>"))
    assert RAW.search(Page(tmp_path / "a.html").words)
    for place in ("<pre>{}</pre>", "<p><code>{}</code>", "<p><span class='math'>{}</span>"):
        (tmp_path / "a.html").write_text(f"<article><h1>A<a "
                                         f"class='headerlink'>#</a></h1>{place.format(raw)}</article>")
        assert not RAW.search(Page(tmp_path / "a.html").words)


def test_the_scoreboard_has_every_claim(site):
    board = (lab.ROOT / "README.md").read_text(encoding="utf-8").split(
        "<!-- scoreboard:begin -->")[1].split("<!--")[0]
    claims = [line.split("|")[2].strip() for line in board.strip().splitlines()[2:]
              if line.startswith("|")]
    text = (site / "scoreboard.html").read_text(encoding="utf-8")
    assert len(claims) > 40 and all(f">{name}<" in text for name in claims)
    assert 'class="verdict not-reproduced"' in text


def test_every_page_in_a_browser(site, address):
    lab.require_browser()
    with lab.browser_page(1280, 900) as page:
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        for path in pages(site):
            name = path.relative_to(site).as_posix()
            page.set_viewport_size({"width": 1280, "height": 900})
            page.goto(f"{address}/{name}", wait_until="load")
            formulas = page.locator("span.math, div.math").count()
            if formulas:
                page.evaluate("MathJax.startup.promise")
            assert page.locator("mjx-container").count() == formulas, name
            assert page.locator("mjx-merror, [data-mjx-error]").count() == 0, name
            assert page.evaluate(RAW_FORMULAS) == [], name
            assert page.evaluate("[...document.images].every(i => i.alt.length >= 40 && "
                                 "i.naturalWidth)"), name
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            if path.stem in ("index", "scoreboard", "status"):
                lab.screenshot(page, f"site_{path.stem}")
            page.set_viewport_size({"width": 375, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            assert page.evaluate(OVERFLOWING) == [], name
        assert page.errors == []
    elsewhere = {u for u in asked if not u.startswith((address, "data:", "blob:"))}
    assert not elsewhere and any("mathjax" in u for u in asked)
    assert len(pages(site)) >= len(NOTEBOOKS) + 5


def test_figures_keep_their_colours_in_the_dark(address):
    """On a white card, without the filter that the theme lays over pictures."""
    lab.require_browser()
    with lab.browser_page(1280, 900) as page:
        page.emulate_media(color_scheme="dark")
        page.goto(f"{address}/notebooks/{NOTEBOOKS[1].stem}.html")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        looks = page.locator(".cell_output img").evaluate_all(
            "all => all.map(i => getComputedStyle(i)).map(s => [s.filter, s.backgroundColor])")
        assert looks and set(map(tuple, looks)) == {("none", "rgb(255, 255, 255)")}


def test_the_glossary_is_one_click_from_a_notebook(site):
    for notebook in NOTEBOOKS:
        source = notebook.read_text(encoding="utf-8")
        links = Page(site / "notebooks" / f"{notebook.stem}.html").links
        assert links.count("../docs/glossary.html") == 1 + source.count("(../docs/glossary.md)")


def test_keyboard_and_folds(address):
    lab.require_browser()
    with lab.browser_page(1280, 900) as page:
        page.goto(f"{address}/notebooks/{NOTEBOOKS[0].stem}.html")
        page.keyboard.press("Tab")
        first = page.evaluate("[document.activeElement.textContent.trim(), "
                              "document.activeElement.checkVisibility()]")
        assert "Skip to main content" in first[0] and first[1]
        page.keyboard.press("Enter")
        page.wait_for_function("location.hash === '#main-content'")
        seen = []
        for _ in range(12):  # from there Tab goes on inside the content, and one sees where
            page.keyboard.press("Tab")
            seen.append(page.evaluate("""() => {
                const e = document.activeElement, look = getComputedStyle(e);
                return [!!e.closest('main'), look.outlineStyle !== 'none' """
                "|| look.boxShadow !== 'none'];\n            }"))
        assert all(inside and visible for inside, visible in seen), seen
        fold = page.locator("details").filter(has_text="Hint 1").first
        assert not fold.evaluate("d => d.open")
        fold.locator("summary").focus()
        page.keyboard.press("Enter")
        assert fold.evaluate("d => d.open")


def test_no_table_is_cut_off_on_a_desk(site, address):
    lab.require_browser()
    with lab.browser_page(1400, 900) as page:
        for path in pages(site):
            page.goto(f"{address}/{path.relative_to(site).as_posix()}")
            boxes = page.evaluate("""[...document.querySelectorAll('article table')].map(
                t => [t.parentElement.scrollWidth, t.parentElement.clientWidth])""")
            assert all(wide <= seen + 1 for wide, seen in boxes), (path.name, boxes)


def test_the_wide_table_scrolls_in_its_own_box(address):
    lab.require_browser()
    with lab.browser_page(375, 800) as page:
        page.goto(f"{address}/scoreboard.html")
        box = page.locator("table").first.locator("xpath=..")
        wide, narrow = box.evaluate("b => [b.scrollWidth, b.clientWidth]")
        assert wide > 2 * narrow
        box.evaluate("b => b.scrollTo({left: 300, behavior: 'instant'})")
        assert box.evaluate("b => b.scrollLeft") == 300 and page.evaluate("scrollX") == 0


def test_search_finds_a_known_word(address):
    lab.require_browser()
    with lab.browser_page(1280, 900) as page:
        page.goto(f"{address}/search.html?q=influence")
        page.wait_for_selector("#search-results li a")
        page.wait_for_function("/finished|found/i.test(document.querySelector('#search-results').textContent)")
        links = page.locator("#search-results li a").evaluate_all("all => all.map(a => "
                                                                  "a.getAttribute('href'))")
        assert any("03_requests" in link for link in links)
        assert not page.errors
