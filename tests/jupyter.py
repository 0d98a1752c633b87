"""Helpers of the browser tests: JupyterLab on the loopback address in a folder of its own, driven
by Chromium.

    with jupyter_lab(folder) as url, browser_page() as page:
        open_notebook(page, url, "01_basics.ipynb"); run_all(page); wait_until_idle(page);
        problems(page)
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
SCREENSHOTS = ROOT / "runs" / "screenshots"  # ignored by git
SETTINGS = {  # of JupyterLab: all cells in the page, no look at the network
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/extensionmanager-extension/plugin": {"enabled": False},
}
ALLOWED = (  # console errors that say nothing about the notebook
    "favicon.ico",  # some pages have none
    # a link preview without a network
    "net::ERR_INTERNET_DISCONNECTED", "net::ERR_NAME_NOT_RESOLVED",
)


def chromium():
    """The system's Chromium; Playwright's own download is not needed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)


def require_browser():
    """Skip, with the reason, where a browser cannot be driven."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup")
    if not chromium():
        pytest.skip("there is no Chromium here: apt-get install chromium, or install Chrome")


def copy_notebooks(folder, *names):
    """Copies of the notebooks without outputs, so that what is seen later comes from this run, and
    with the profile that a person in a hurry would type. -> the folder
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        node = nbformat.read(ROOT / "notebooks" / name, as_version=4)
        for cell in node.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
            if "parameters" in cell.metadata.get("tags", []):
                assert 'profile = "quick"' in cell.source
                cell.source = cell.source.replace('profile = "quick"', 'profile = "smoke"')
        nbformat.write(node, folder / name)
    return folder


@contextmanager
def jupyter_lab(folder, state, timeout=90):
    """JupyterLab over `folder`, its settings and logs in `state`. Yields a function: name ->
    address with token.
    """
    for name, values in SETTINGS.items():
        place = state / "settings" / f"{name}.jupyterlab-settings"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(values))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    places = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime",
              "JUPYTERLAB_SETTINGS_DIR": "settings",
              "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython"}
    environment = os.environ | {k: str(state / v) for k, v in places.items()} | {"JUPYTER_TOKEN":
                                                                                 token}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1",
               f"--port={port}",
               "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}",
               "--LabApp.extension_manager=readonly",
               *(["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else [])]
    with open(state / "server.log", "w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log,
                                  start_new_session=True)
    try:
        wait_for_server(server, f"http://127.0.0.1:{port}/api/status?token={token}",
                        state / "server.log", timeout)
        # reset: without it the tabs of the test before come back, hidden behind this one
        yield lambda name: f"http://127.0.0.1:{port}/lab/tree/{name}?reset&token={token}"
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def wait_for_server(server, address, log, timeout):
    end = time.monotonic() + timeout
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"JupyterLab did not start:\n{Path(log).read_text()[-2000:]}")


@contextmanager
def browser_page(width=1400, height=1000):
    """A page of a headless Chromium; page.errors gathers what its console called an error."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=[
            "--no-sandbox", "--disable-background-networking", "--disable-component-update"])
        page = browser.new_page(viewport={"width": width, "height": height})
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(f"exception: {error}"))
        page.on("console", lambda m: m.type == "error"
                and page.errors.append(f"{m.text} ({m.location.get('url')})"))
        try:
            yield page
        finally:
            browser.close()


def open_notebook(page, url, name, timeout=120):
    """Open a notebook and wait for its kernel."""
    page.goto(url(name))
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=1000 * timeout)
    wait_until_idle(page, timeout)


def run_all(page):
    """Run > Run All Cells, as a person would; returns when the kernel has begun."""
    page.click(".lm-MenuBar-itemLabel:text-is('Run')")
    page.click(".lm-Menu-itemLabel:text-is('Run All Cells')")
    page.wait_for_function("[...document.querySelectorAll('.jp-Notebook .jp-InputArea-prompt')]"
                           ".some(p => /\\[[*0-9]+\\]/.test(p.textContent))", timeout=60_000)


def wait_until_idle(page, timeout=600):
    """Until there is a kernel, it is idle and no cell waits. (A notebook without a kernel calls
    itself idle too.)
    """
    page.wait_for_function(
        "document.querySelector('.jp-Toolbar-kernelName')?.textContent.includes('No Kernel') === "
        "false && "
        "[...document.querySelectorAll('.jp-StatusBar-TextItem')].some(t => "
        "t.textContent.endsWith('| Idle')) && "
        "![...document.querySelectorAll('.jp-Notebook .jp-InputArea-prompt')].some(p => "
        "p.textContent.includes('*'))",
        timeout=1000 * timeout)


def code_cell(page, text):
    """The first code cell whose source holds `text` (a Playwright locator)."""
    return page.locator(".jp-Notebook .jp-CodeCell").filter(
        has=page.locator(f".cm-content:has-text({text!r})")).first


def type_and_run(page, cell, text):
    """Replace a cell's source by typing, run it, wait until the kernel is idle."""
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)
    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(500)  # the kernel has to get it before it can be idle again
    wait_until_idle(page, 60)


def last_count(page):
    """The execution count of the last code cell, or None while it has none."""
    prompt = page.locator(".jp-Notebook .jp-CodeCell .jp-InputArea-prompt").last.text_content()
    digits = prompt.strip().strip("[]:")
    return int(digits) if digits.isdigit() else None


def pictures(page):
    """How many pictures the outputs show that have really been drawn."""
    return page.evaluate("[...document.querySelectorAll('.jp-Notebook .jp-OutputArea-output img')]"
                         ".filter(i => i.complete && i.naturalWidth > 50).length")


def cell_errors(page):
    """The texts of the tracebacks below cells."""
    return page.locator("[data-mime-type='application/vnd.jupyter.error']").all_text_contents()


def console_errors(page):
    return [e for e in page.errors if not any(known in e for known in ALLOWED)]


def screenshot(page, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SCREENSHOTS / f"{name}.png"))
