"""labkit: the thin package behind the course. Five verbs (measure, unlearn, attack, verify, defend) over one ground."""

import importlib
import warnings

from .base import Diverged, LabError, NotForThisData, spawn_seeds

# torch's own forward-mode derivatives still call torch.jit.script; the reader can do nothing about it
warnings.filterwarnings("ignore", message=".torch.jit.script. is deprecated", category=FutureWarning)

__version__ = "0.1.0"
_MODULES = {name: f".{name}"
            for name in ("data", "models", "training", "store", "measure", "unlearn", "attack", "verify", "defend")}
_MODULES |= {"figures": ".teach.figures", "widgets": ".teach.widgets"}
_NAMES = {"Lab": ".lab", "show": ".lab", "exercise": ".teach.exercises"}
__all__ = ["Diverged", "LabError", "NotForThisData", "spawn_seeds", *_MODULES, *_NAMES]


def __getattr__(name):
    """Modules are imported when they are first used, so that the command line answers at once."""
    if name in _MODULES:
        return importlib.import_module(_MODULES[name], __name__)
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name], __name__), name)
    raise AttributeError(f"labkit has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
