"""A reader's view: JupyterLab in a headless Chromium opens each notebook, runs all its cells in
profile smoke, shows the figures, moves the explorer by keyboard.
"""

import urllib.error
import urllib.request

import jupyter as lab
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
NAMES = [p.name for p in sorted((lab.ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    lab.require_browser()
    folder = lab.copy_notebooks(tmp_path_factory.mktemp("notebooks"), *NAMES)
    with lab.jupyter_lab(folder, tmp_path_factory.mktemp("state")) as address:
        yield address


def test_without_the_token_nothing_is_served(url):
    address = url("01_basics.ipynb").split("/lab/")[0] + "/api/contents"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(address)
    assert refused.value.code == 403


EXPLORERS = [n for n in NAMES if "widgets.explorer" in (lab.ROOT / "notebooks" / n).read_text()]


@pytest.mark.parametrize("name", NAMES)
def test_runs_from_the_menu_and_its_explorer_moves(url, name):
    with lab.browser_page() as page:
        lab.open_notebook(page, url, name)
        assert lab.last_count(page) is None and lab.pictures(page) == 0
        lab.run_all(page)
        lab.wait_until_idle(page)
        lab.screenshot(page, name[:-len(".ipynb")])
        assert not lab.cell_errors(page)
        assert lab.last_count(page) is not None
        assert lab.pictures(page) >= 1
        if name in EXPLORERS:
            said = move_the_explorer(page, name[:-len(".ipynb")])
            assert "untouched" in said or name[3:] != "basics.ipynb"
        assert not lab.console_errors(page)


def move_the_explorer(page, name):
    """The first slider, by keyboard: the picture and the sentence below it change. -> the new
    sentence. Three steps at most: a method with few strengths may stay at its last for one or two.
    """
    panel = page.locator(".jp-OutputArea-output .widget-vbox").filter(
        has=page.locator(".noUi-handle")).first
    picture = panel.locator("img.widget-image, .widget-image img").first
    sentence = panel.locator("[role=status]").first
    before, said = picture.get_attribute("src"), sentence.text_content()
    handle = panel.locator(".widget-hslider .noUi-handle").first
    handle.scroll_into_view_if_needed()
    handle.focus()
    at_its_start = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemin")
    for _ in range(3):
        page.keyboard.press("ArrowRight" if at_its_start else "ArrowLeft")
        page.wait_for_function("([picture, src]) => picture.src !== src",
                               arg=[picture.element_handle(), before], timeout=10_000)
        if sentence.text_content() != said:
            break
        before = picture.get_attribute("src")
    assert sentence.text_content() != said
    lab.screenshot(page, f"explorer_{name}")
    return sentence.text_content()


WRONG = """@exercise("0.1")
def probability_of_label(logits, labels):
    return logits.softmax(1).max(1).values"""
RIGHT = WRONG.replace(".max(1).values", "[torch.arange(len(labels)), labels]")


def test_notebook_00_and_its_exercise(url):
    """Left alone the exercise says so; typed in wrong, then right, its card changes and the
    notebook goes on.
    """
    with lab.browser_page() as page:
        lab.open_notebook(page, url, "00_start_here.ipynb")
        lab.run_all(page)
        lab.wait_until_idle(page)
        assert not lab.cell_errors(page)
        cell = lab.code_cell(page, "@exercise")
        assert "not attempted" in cell.locator(".jp-OutputArea").text_content()
        for text, mark, cause in ((WRONG, "✗", "largest probability"), (RIGHT, "✓", "")):
            lab.type_and_run(page, cell, text)
            card = cell.locator(".jp-OutputArea").text_content()
            assert mark in card and cause in card and "not attempted" not in card
            cell.locator(".jp-OutputArea").scroll_into_view_if_needed()
            lab.screenshot(page, f"00_exercise_{'wrong' if mark == '✗' else 'right'}")
        hints = cell.locator("details")
        assert hints.count() >= 4 and not hints.first.evaluate("d => d.open")
        hints.first.locator("summary").click()
        assert hints.first.evaluate("d => d.open")
        assert not lab.console_errors(page)
