"""labkit: the thin package behind the course. Five verbs (measure, unlearn, attack, verify, defend) over one ground."""

import importlib
import warnings

# torch's own forward-mode derivatives still call torch.jit.script; the reader can do nothing about it
warnings.filterwarnings("ignore", message=".torch.jit.script. is deprecated", category=FutureWarning)

from . import data, measure, models, training, unlearn  # noqa: E402
from .base import LabError, NotForThisData, spawn_seeds  # noqa: E402

__version__ = "0.1.0"
__all__ = ["Lab", "LabError", "NotForThisData", "data", "figures", "measure", "models", "show", "spawn_seeds",
           "training", "unlearn"]

_LATER = {"Lab": ".lab", "show": ".lab", "figures": ".teach.figures"}


def __getattr__(name):  # matplotlib and IPython are imported when they are first used
    if name not in _LATER:
        raise AttributeError(f"labkit has no attribute {name!r}")
    module = importlib.import_module(_LATER[name], __name__)
    return module if _LATER[name].endswith(name) else getattr(module, name)
