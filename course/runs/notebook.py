"""Finds notebooks; reads their parameters, and the records that the lab left in their outputs."""

import ast
import json
from pathlib import Path

from course.chapters import chapters, code
from labkit.base import LabError, home, sha256

MIME = "application/vnd.labkit+json"
ROOT = Path(__file__).resolve().parents[2]
JUDGES = ("claimfile", "claims", "lab")  # what of course/ decides about numbers and verdicts
INJECTED = {"injected-parameters", "papermill-error-cell-tag"}  # tags of papermill's cells


def find_notebook(name, folder=None) -> Path:
    """The notebook "01", "01_basics" or a path; in folder, ./notebooks, the repository's."""
    if Path(name).suffix == ".ipynb" and (path := home(name)).is_file():
        return path
    there = notebooks(folder)
    for path in there:
        if str(name).removesuffix(".ipynb") in (path.stem, path.stem.split("_")[0]):
            return path
    known = ", ".join(sorted({p.stem for p in there})) or "none"
    raise LabError(f"There is no notebook {str(name)!r}: the notebooks here are {known}.")


def notebooks(folder=None) -> list[Path]:
    """All notebooks NN_name.ipynb of the first folder that has some (or of folder alone)."""
    for place in [Path(folder)] if folder else [Path("notebooks"), ROOT / "notebooks"]:
        if found := sorted(p for p in place.glob("*.ipynb") if p.name[:2].isdigit()):
            return found
    return []


def notebook_parameters(path) -> dict:
    """Name -> value of the literals in cells tagged `parameters` or injected-parameters."""
    found = {}
    for cell in read(path).cells:
        tags = set(cell.metadata.get("tags", []))
        if cell.cell_type != "code" or not {"parameters", "injected-parameters"} & tags:
            continue
        try:
            for line in ast.parse(cell.source).body:
                targets = getattr(line, "targets", [getattr(line, "target", None)])
                names = [t.id for t in targets if isinstance(t, ast.Name)]
                found |= {name: ast.literal_eval(line.value) for name in names}
        except (ValueError, SyntaxError, AttributeError):
            raise LabError(f"{Path(path).name}: its 'parameters' cell may hold only literals, as "
                           "in seed = 0.") from None
    return found


def read(path):
    """The notebook as a nbformat node (version 4); LabError when it is none."""
    import nbformat

    try:
        return nbformat.read(str(path), as_version=4)
    except Exception as problem:
        raise LabError(f"{Path(path).name} is no notebook that can be read "
                       f"({type(problem).__name__}): give an .ipynb file that Jupyter "
                       "opens.") from None


def harvest(node) -> dict:
    """What the lab left in a notebook's outputs: data, versions, device, records (name -> value),
    claims (a list, of one that is there twice the later).
    """
    found, claims = {"data": None, "versions": None, "device": None, "records": {}}, {}
    for output in (output for cell in node.cells for output in cell.get("outputs", [])):
        bundle = output.get("data", {}).get(MIME) or {}
        kind = bundle.get("kind")
        if kind == "record":
            found["records"][bundle.get("name")] = bundle.get("value")
        elif kind == "claim" and "id" in bundle.get("claim", {}):
            claims[bundle["claim"]["id"]] = bundle["claim"]
        elif kind == "setup":
            found |= {k: bundle[k] for k in ("data", "versions", "device") if k in bundle}
    return found | {"claims": list(claims.values())}


def ending(node) -> dict:
    """Status and error of an executed notebook, by its first cell that failed; cells from 1 on."""
    for number, cell in enumerate(own_cells(node), start=1):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                name, message = output.ename.split(".")[-1], " ".join(output.evalue.split())
                return {"status": "skipped" if name == "NotForThisData" else "failed",
                        "error": f"{name}: {message} (cell {number})"}
    return {"status": "ok", "error": None}


def notebook_hash(node) -> str:
    """12 hex digits over the code cells, without papermill's own: mended text changes no run."""
    cells = [c.source for c in own_cells(node) if c.cell_type == "code"]
    return sha256(json.dumps(cells).encode(), digits=12)


def own_cells(node) -> list:
    """The cells but for those that papermill added."""
    return [c for c in node.cells if not INJECTED & set(c.metadata.get("tags", []))]


def labkit_hash(notebook: str = "") -> str:
    """12 hex digits over the code that a notebook's numbers depend on: labkit, the lab that judges
    and the modules of its chapter. notebook: its name, as in 01_basics.
    """
    files = sorted((ROOT / "labkit").rglob("*.py"))
    files += [ROOT / "course" / f"{name}.py" for name in JUDGES]
    files += code(notebook[3:]) if notebook[3:] in chapters() else []
    text = b"".join(p.relative_to(ROOT).as_posix().encode() + b"\0" + p.read_bytes() for p in files)
    return sha256(text.replace(b"\r\n", b"\n"), digits=12)
