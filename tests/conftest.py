"""Shared by all tests: one thread a process, the cost table of the notebooks at the end of the run.
"""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

COSTS = pytest.StashKey[list]()


def pytest_configure(config):
    config.stash[COSTS] = []


@pytest.fixture(scope="session")
def costs(request):
    """A list of (notebook, run, seconds, CPU seconds or None, peak MB or None); shown when the
    tests have ended.
    """
    return request.config.stash[COSTS]


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash[COSTS]
    if rows:
        terminalreporter.section("what the notebooks cost")
        terminalreporter.write_line(f"{'notebook':<20} {'run':<22} {'seconds':>8} {'CPU s':>8} "
                                    f"{'peak MB':>8}")
        for notebook, name, *numbers in sorted(rows):
            shown = " ".join(f"{'' if n is None else round(n):>8}" for n in numbers)
            terminalreporter.write_line(f"{notebook:<20} {name:<22} {shown}")
