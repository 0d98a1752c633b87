"""Whether everything the notebooks need is here, and what to do about a problem."""

import shutil
import sys
from importlib.metadata import version


def checks() -> list[tuple[bool, str]]:
    """One a check: (whether it is well, what was found and what to do)."""
    found = []
    for check in (_python, _torch, _torchvision, _machine, _disk, _data, _jupyter):
        try:
            good, text, advice = check()
            found.append((good, text if good else f"{text}: {advice}"))
        except Exception as problem:  # a check that breaks is a finding too
            found.append((False, f"{check.__name__[1:]}: {' '.join(str(problem).split())}"))
    return found


def _python():
    text = f"Python {sys.version.split()[0]}"
    return sys.version_info >= (3, 11), text, "install 3.11 or newer, then make setup"


def _torch():
    import torch

    good = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 6)
    return good, f"torch {torch.__version__}", "2.6 or newer is needed, run make setup"


def _torchvision():
    try:
        from torchvision.ops import nms  # noqa: F401  fails where torch is of another build
    except Exception as problem:
        return (False, f"torchvision does not load ({type(problem).__name__})",
                "install the one made for your torch")
    return True, f"torchvision {version('torchvision')}", ""


def _machine():
    import psutil
    import torch

    from labkit.base import device, jobs

    free = psutil.virtual_memory().available / 2**30
    text = (f"device {device()}, {jobs()} cores, {torch.get_num_threads()} torch threads, "
            f"{free:.1f} GB of memory free")
    return free > 1, text, "close something, the notebooks need about 1 GB"


def _disk():
    free = shutil.disk_usage(".").free / 2**30
    return free > 1, f"disk {free:.0f} GB free here", "make room, 1 GB is needed"


def _data():
    from labkit.data import load

    load("fashion")
    return True, "data: fashion loads, its checksum is right", ""


def _jupyter():
    from jupyter_client.kernelspec import KernelSpecManager

    there = "python3" in KernelSpecManager().find_kernel_specs()
    kernel = f"kernel python3 is {'there' if there else 'missing'}"
    return there, f"jupyterlab {version('jupyterlab')}, {kernel}", (
        "run 'python -m ipykernel install --sys-prefix'")
