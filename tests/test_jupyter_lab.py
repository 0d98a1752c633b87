"""`make lab` as it is: JupyterLab listens on the loopback address alone, and serves nothing without
its token.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import jupyter as lab
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="make and its shell")]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """What the server started by `make lab` says of itself: port, token, pid. Its settings are the
    defaults.
    """
    folder = tmp_path_factory.mktemp("jupyter")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "ready").touch()
    (folder / "jupyter_server_config.json").write_text(json.dumps(
        {"ServerApp": {"port": port, "port_retries": 0, "open_browser": False}}))
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "MAKE"))}
    places = dict.fromkeys(("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR",
                            "JUPYTERLAB_WORKSPACES_DIR",
                            "JUPYTERLAB_SETTINGS_DIR", "IPYTHONDIR"), str(folder))
    # the environment of these tests in place of .venv, which may not be there
    command = ["make", "lab", f"READY={folder / 'ready'}", f"BIN={Path(sys.executable).parent}"]
    with open(folder / "log", "w") as log:
        make = subprocess.Popen(command, cwd=ROOT, env=clean | places, stdout=log, stderr=log,
                                start_new_session=True)
    try:
        yield wait(make, folder, port) | {"log": folder / "log"}
    finally:
        os.killpg(make.pid, signal.SIGTERM)
        try:
            make.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(make.pid, signal.SIGKILL)


def wait(make, folder, port, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end and make.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return json.loads(next(folder.glob("jpserver-*.json")).read_text())
        except (OSError, StopIteration, ValueError):
            time.sleep(0.2)
    raise AssertionError(f"JupyterLab did not start:\n{(folder / 'log').read_text()[-2000:]}")


class Stay(urllib.request.HTTPRedirectHandler):
    """A redirection (to the login page) is an answer, and is not followed."""

    def redirect_request(self, *_):
        return None


def status(server, place, **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{server['port']}{place}", headers=headers)
    try:
        with urllib.request.build_opener(Stay).open(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


def test_nothing_is_served_without_the_token(server):
    assert len(server["token"]) >= 32 and not server["password"]
    for place in ("/api/contents", "/api/kernels", "/api/terminals"):
        assert status(server, place) == 403, place
    for place in ("/files/notebooks/01_basics.ipynb", "/lab"):
        assert status(server, place) == 302, place
    assert status(server, "/api/contents", Authorization="token 0") == 403
    assert status(server, "/api/contents", Authorization=f"token {server['token']}") == 200


def test_it_listens_on_the_loopback_address_alone(server):
    process = psutil.Process(server["pid"])
    # its name before psutil 6
    sockets = (getattr(process, "net_connections", None) or process.connections)()
    listening = {c.laddr for c in sockets if c.status == psutil.CONN_LISTEN}
    assert (server["hostname"], server["port"]) in listening
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_another_name_for_this_machine_is_refused(server):
    """So that a web page whose name is pointed at 127.0.0.1 cannot talk to it."""
    token = f"token {server['token']}"
    assert status(server, "/api/contents", Authorization=token, Host="elsewhere.example") == 403


def test_it_opens_the_first_notebook_whose_glossary_is_one_click_away(server):
    first, place = "lab/tree/notebooks/00_start_here.ipynb", f"http://127.0.0.1:{server['port']}"
    assert f"/{first}" in server["log"].read_text()
    lab.require_browser()
    with lab.browser_page() as page:
        page.goto(f"{place}/{first}?reset&token={server['token']}")
        link = page.locator(".jp-Notebook .jp-MarkdownCell a:text-is('glossary')").first
        link.click()
        page.wait_for_selector(".jp-MarkdownViewer h1:has-text('Glossary')")
        assert page.locator(".jp-MarkdownViewer strong:text-is('Target')").count()
        assert not lab.console_errors(page)
