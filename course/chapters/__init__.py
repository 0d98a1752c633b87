"""The chapters: course/chapters/NAME holds what only notebooks/NN_NAME.ipynb uses. Nothing else lists them."""

from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parents[1] / "notebooks"


def chapters() -> dict[str, str]:
    """Name -> number, in the order of the numbers. A chapter without a notebook here has the number ''."""
    found = {p.parent.name: "" for p in sorted(HERE.glob("*/claims.yaml"))}
    numbers = {p.stem[3:]: p.stem[:2] for p in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    return dict(sorted((found | {k: v for k, v in numbers.items() if k in found}).items(),
                       key=lambda pair: (pair[1] or "~", pair[0])))


def exercises() -> dict:
    """Exercise id -> exercise, of all chapters in order."""
    folders = (HERE / name for name in chapters())
    modules = [import_module(f"{__name__}.{f.name}.exercises") for f in folders if (f / "exercises.py").exists()]
    return {e.id: e for m in sorted(modules, key=lambda m: float(m.EXERCISES[0].id)) for e in m.EXERCISES}


def code(name: str) -> list[Path]:
    """The modules of a chapter that its notebook computes with: all but the exercises."""
    return sorted(p for p in (HERE / name).glob("*.py") if not p.stem.startswith("exercises"))
