"""A reader's view: JupyterLab in a headless Chromium opens a notebook, runs all cells and shows the figures."""

import urllib.error
import urllib.request

import jupyter as lab
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    lab.require_browser()
    names = [p.name for p in sorted((lab.ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))]
    folder = lab.copy_notebooks(tmp_path_factory.mktemp("notebooks"), *names)
    with lab.jupyter_lab(folder, tmp_path_factory.mktemp("state")) as address:
        yield address


def test_without_the_token_nothing_is_served(url):
    address = url("01_basics.ipynb").split("/lab/")[0] + "/api/contents"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(address)
    assert refused.value.code == 403


def test_notebook_01_runs_from_the_menu(url):
    with lab.browser_page() as page:
        lab.open_notebook(page, url, "01_basics.ipynb")
        assert lab.last_count(page) is None and lab.pictures(page) == 0
        lab.run_all(page)
        lab.wait_until_idle(page)
        lab.screenshot(page, "01_basics")
        assert not lab.cell_errors(page)
        assert lab.last_count(page) is not None
        assert lab.pictures(page) >= 5
        assert not lab.console_errors(page)
