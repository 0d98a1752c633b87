"""Shared by all tests: one thread a process, what the notebooks cost, colour photographs."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from groups import cost_table

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).resolve().parents[1]
# Their slow tests mostly wait (kills, sweeps, copies handed in), and run beside the others.
WAITING = {"test_faults.py", "test_grade.py", "test_grade_hostile.py", "test_sweep.py"}
PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "cifar10-images.zip"


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.name in WAITING and item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.waiting)


@pytest.fixture
def costs(request):
    """costs(notebook, run, profile, CPU seconds, MB): a row of the table at the end of the tests.
    """
    return lambda *row: request.node.user_properties.append(("cost", row))


def pytest_terminal_summary(terminalreporter):
    """The rows of all workers, shown here or, where make test asks for them, written for its table.
    """
    reports = [r for found in terminalreporter.stats.values() for r in found
               if getattr(r, "when", None) == "call"]
    rows = [row for r in reports for name, row in r.user_properties if name == "cost"]
    if file := os.environ.get("LABKIT_COSTS"):
        Path(file).write_text(json.dumps(rows))
    elif rows:
        terminalreporter.section("what the notebooks cost")
        terminalreporter.write_line("\n".join(cost_table(rows)))


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """An ImageFolder of 3-channel 32x32 pictures, ten classes of 200 + 80: photographs where they
    lie beside the project, else the course's clothes, each on a colour of its own.
    """
    folder = tmp_path_factory.mktemp("photographs")
    if not PHOTOGRAPHS.is_file():
        return coloured(folder)
    with zipfile.ZipFile(PHOTOGRAPHS) as archive:
        for name in archive.namelist():
            top, _, inside = name.partition("/")  # cifar10/train/airplane/0000.jpg
            part, _, file = inside.partition("/")
            number = Path(file).stem
            if number.isdigit() and int(number) < {"train": 200, "test": 80}[part]:
                archive.extract(name, folder)
    return folder / top


def coloured(folder):
    from PIL import Image

    rng = np.random.default_rng(5)
    with np.load(ROOT / "data" / "fashion.npz") as file:
        for part, n in (("train", 2000), ("test", 800)):
            for i, (x, label) in enumerate(zip(file[f"x_{part}"][:n], file[f"y_{part}"][:n],
                                               strict=True)):
                grey = np.asarray(Image.fromarray(x).resize((32, 32)), np.float32)[..., None] / 255
                ink, paper = rng.uniform(0.6, 1, 3), rng.uniform(0, 0.4, 3)
                place = folder / part / f"class{label}"
                place.mkdir(parents=True, exist_ok=True)
                colours = 255 * (grey * ink + (1 - grey) * paper)
                Image.fromarray(colours.astype(np.uint8)).save(place / f"{i:04d}.png")
    return folder
