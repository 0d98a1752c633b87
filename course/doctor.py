"""Whether everything the notebooks need is here: one check a line, and what to do about a problem.
"""

import sys
from pathlib import Path


def checks() -> list[tuple[bool, str]]:
    """Python, torch, torchvision, memory, disk, data, Jupyter: (whether it is well, what was found
    and what to do).
    """
    found = []
    for check in (_python, _torch, _vision, _machine, _disk, _data, _jupyter):
        try:
            found.append(check())
        except Exception as problem:  # a check that breaks is a finding too
            found.append((False, f"{check.__name__[1:]}: {' '.join(str(problem).split())}"))
    return found


def _told(good, found, todo):
    return found if good else f"{found}: {todo}"


def _python():
    good = sys.version_info >= (3, 11)
    text = f"Python {sys.version.split()[0]}"
    return good, _told(good, text, "install 3.11 or newer, then make setup")


def _torch():
    import torch

    good = tuple(int(n) for n in torch.__version__.split("+")[0].split(".")[:2]) >= (2, 6)
    return good, _told(good, f"torch {torch.__version__}", "2.6 or newer is needed, run make setup")


def _vision():
    try:
        import torchvision
        from torchvision.ops import nms  # noqa: F401  fails where torch is of another build
    except Exception as problem:
        return False, (f"torchvision does not load ({type(problem).__name__}): install the one "
                       "made for your torch")
    return True, f"torchvision {torchvision.__version__}"


def _machine():
    import psutil
    import torch

    from labkit.base import device, jobs

    free = psutil.virtual_memory().available / 2**30
    text = (f"device {device()}, {jobs()} cores, {torch.get_num_threads()} torch threads, "
            f"{free:.1f} GB of memory free")
    return free > 1, _told(free > 1, text, "close something, the notebooks need about 1 GB")


def _disk():
    import shutil

    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return free > 1, _told(free > 1, f"disk {free:.0f} GB free here", "make room, 1 GB is needed")


def _data():
    from labkit.data import load

    load("fashion")
    return True, "data: fashion loads, its checksum is right"


def _jupyter():
    from importlib.metadata import version

    from jupyter_client.kernelspec import KernelSpecManager

    good = "python3" in KernelSpecManager().find_kernel_specs()
    return good, f"jupyterlab {version('jupyterlab')}, kernel python3 " + (
        "is there" if good else "is missing: run 'python -m ipykernel install --sys-prefix'")
