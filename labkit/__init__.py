"""labkit, the thin science behind the course: measure, unlearn, attack, verify, defend."""

import importlib
import warnings

from .base import Diverged, LabError, NotForThisData, show, spawn_seeds

# torch's own forward-mode derivatives still call torch.jit.script: nothing a reader could mend
warnings.filterwarnings("ignore", message=".torch.jit.script. is deprecated",
                        category=FutureWarning)

__version__ = "0.2.0"
_MODULES = ("data", "models", "training", "store", "measure", "unlearn", "attack", "verify",
            "defend")
__all__ = ["Diverged", "LabError", "NotForThisData", "show", "spawn_seeds", *_MODULES]


def __getattr__(name):
    """Modules are imported when they are first used, so that the command line answers at once."""
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"labkit has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
