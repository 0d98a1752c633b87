"""Shared by all tests: one thread a process, which slow tests stay together, the cost table of the notebooks."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

COSTS = pytest.StashKey[list]()


def pytest_configure(config):
    config.stash[COSTS] = []


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    """The slow tests of a file share servers, and look for what others left behind: they run on one worker, in turn.
    Those of the notebooks need nothing from each other and fill the gaps."""
    for item in items:
        if item.get_closest_marker("slow") and item.path.stem != "test_notebooks":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="session")
def costs(request):
    """A list of (notebook, run, seconds, CPU seconds or None, peak MB or None); shown when the tests have ended."""
    return request.config.stash[COSTS]


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash[COSTS]
    if rows:
        terminalreporter.section("what the notebooks cost")
        terminalreporter.write_line(f"{'notebook':<20} {'run':<22} {'seconds':>8} {'CPU s':>8} {'peak MB':>8}")
        for notebook, name, *numbers in sorted(rows):
            shown = " ".join(f"{'' if n is None else round(n):>8}" for n in numbers)
            terminalreporter.write_line(f"{notebook:<20} {name:<22} {shown}")
