"""What makes the notebooks teach, run and report: from course import Lab, exercise, figures."""

import importlib

_PLACES = {"Lab": "lab", "exercise": "exercises", "figures": "figures", "widgets": "widgets"}
__all__ = list(_PLACES)


def __getattr__(name):
    """Imported at first use, so that the command line answers at once."""
    if name not in _PLACES:
        raise AttributeError(f"course has no attribute {name!r}")
    module = importlib.import_module(f".{_PLACES[name]}", __name__)
    return module if _PLACES[name] == name else getattr(module, name)


def __dir__():
    return sorted(__all__)
