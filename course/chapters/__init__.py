"""The chapters: course/chapters/NAME holds what only notebooks/NN_NAME.ipynb uses.

Nothing else lists them.
"""

from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parents[1] / "notebooks"


def chapters() -> dict[str, str]:
    """Name -> number, in order. A chapter without a notebook here has the number ''."""
    found = {p.parent.name: "" for p in HERE.glob("*/claims.yaml")}
    for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"):
        if path.stem[3:] in found:
            found[path.stem[3:]] = path.stem[:2]
    return dict(sorted(found.items(), key=lambda pair: (pair[1] or "~", pair[0])))


def number(name: str) -> str:
    """'01' of the chapter basics; the name itself where there is no notebook."""
    return chapters().get(name) or name


def exercises() -> dict:
    """Exercise id -> exercise, of all chapters in order."""
    found = [n for n in chapters() if (HERE / n / "exercises.py").exists()]
    modules = [import_module(f"{__name__}.{name}.exercises") for name in found]
    ordered = sorted(modules, key=lambda m: float(m.EXERCISES[0].id))
    return {e.id: e for m in ordered for e in m.EXERCISES}


def code(name: str) -> list[Path]:
    """The modules of a chapter that its notebook computes with: all but the exercises."""
    return sorted(p for p in (HERE / name).glob("*.py") if not p.stem.startswith("exercises"))
