"""Rebuilds notebooks/NN_name.ipynb from notebooks/source/NN_name.py and executes what has changed (quick profile).

python notebooks/build.py [NN ...] [--force]   rebuild; a notebook whose source and labkit are unchanged is skipped
python notebooks/build.py --check              only look: do the cells of source and notebook agree, and is the notebook
                                               free of widget state and of paths of a machine? Exit 1 when not
python notebooks/build.py --take runs/course   execute nothing: take the outputs of the run of seed 0 that lies there
python notebooks/build.py --pooled             execute nothing: write anew what the notebooks say of all committed runs
"""

import argparse
import base64
import hashlib
import json
import os
import re
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
FIGURES = {"exposure.png": "Exposure against UA"}  # docs/figures/NAME: the figure whose alt text starts so
digest = lambda content: hashlib.sha256(content).hexdigest()[:12]  # noqa: E731
WIDGET = "application/vnd.jupyter.widget-view+json"
# What must not be in a committed notebook. [x] inside a pattern: a search for paths in this file does not find it.
LEFT = {"widget state": r"vnd\.jupyter\.widget-(?:view|state)",
        "a path of a machine": r"(?<![\w.}])/(?:[r]oot|[h]ome/\w+|[U]sers/\w+)/|[C]:\\+Users|" + re.escape(f"{ROOT}/")}


def convert(source):
    """The notebook of a py:percent file: ids that depend on nothing but the text, no metadata but tags."""
    node = jupytext.read(source)
    for index, cell in enumerate(node.cells):
        cell["id"] = digest("\n".join([source.stem, str(index), cell.source.split("\n")[0]]).encode())
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
    node.nbformat, node.nbformat_minor = 4, 5
    node.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                     "language_info": {"name": "python"}}
    return node


def fingerprint(source):
    """What decides whether a notebook has to run again: its source, the package's code, the data files."""
    from course.runs.notebook import labkit_hash

    claims = ROOT / "course" / "chapters" / source.stem[3:] / "claims.yaml"
    data = b"".join(p.read_bytes() for p in (claims, ROOT / "data" / "fashion.npz"))
    return {"source": digest(source.read_bytes()), "code": digest(labkit_hash(source.stem).encode() + data)}


def execute(node):
    """Run all cells in notebooks/, one thread; the first error ends it."""
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")
    NotebookClient(node, kernel_name="python3", timeout=1200, record_timing=False, store_widget_state=False,
                   coalesce_streams=True, resources={"metadata": {"path": str(HERE)}},
                   extra_arguments=["--log-level=ERROR"]).execute()
    node.metadata["language_info"] = {"name": "python"}
    for cell in (c for c in node.cells if c.cell_type == "code"):
        cell.outputs = [clean(o) for o in cell.outputs if WIDGET not in o.get("data", {})]


def clean(output):
    """The output without places on this machine; it is an error when one is left."""
    text = re.sub(r"/[^\s\"'<>]*/(site-packages/|ipykernel_\d+/)", "", json.dumps(output))
    for place in (str(ROOT), str(Path.home())):
        if len(place) > 5 and place in text:
            at = text.index(place)
            raise ValueError(f"An output holds a path of this machine: {text[max(0, at - 60):at + 90]!r}")
    return nbformat.from_dict(json.loads(text))


def key(node):
    """What must agree between a source and its notebook."""
    return [(c.get("id"), c.cell_type, c.source, c.metadata.get("tags", [])) for c in node.cells]


def save(path, node):
    """Write the notebook in one step, and the figures that the pages show into docs/figures/."""
    nbformat.write(node, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)
    for output in (o for c in node.cells for o in c.get("outputs", [])):
        alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
        for name in (n for n, begin in FIGURES.items() if alt.startswith(begin)):
            (ROOT / "docs" / "figures").mkdir(parents=True, exist_ok=True)
            (ROOT / "docs" / "figures" / name).write_bytes(base64.b64decode(output.data["image/png"]))


def build(source, path, force):
    """One notebook; returns whether it worked. A failure leaves the old notebook as it was."""
    node, start = convert(source), time.perf_counter()
    node.metadata["labkit"] = fingerprint(source)
    old = nbformat.read(path, as_version=4) if path.exists() else None
    if old and not force and old.metadata.get("labkit") == node.metadata["labkit"] and key(old) == key(node):
        print(f"{source.stem}: unchanged")
        return True
    try:
        execute(node)
        save(path, node)
    except Exception as problem:
        print(f"{source.stem}: FAILED after {time.perf_counter() - start:.0f} s\n{problem}", file=sys.stderr)
        return False
    print(f"{source.stem}: executed in {time.perf_counter() - start:.0f} s", flush=True)
    return True


def take(source, path, runs):
    """The notebook with the outputs of its run in the quick profile, fashion, seed 0; all cells must be as they are."""
    from course.report.report import collect
    from course.runs.notebook import injected, notebook_hash

    node = convert(source)
    found = [r for r in collect(runs) if r["status"] == "ok" and r["notebook_hash"] == notebook_hash(node)
             and [r["parameters"].get(k) for k in ("profile", "dataset", "seed")] == ["quick", "fashion", 0]]
    if not found:
        print(f"{source.stem}: no run of seed 0 of the notebook as it is here")
        return False
    ran = nbformat.read(Path(found[-1]["source"]) / f"{source.stem}.ipynb", as_version=4)
    pairs = zip(node.cells, [c for c in ran.cells if not injected(c)], strict=True)
    for count, (cell, executed) in enumerate((pair for pair in pairs if pair[0].cell_type == "code"), start=1):
        cell.execution_count = count  # papermill's own cell was counted too
        cell.outputs = [clean(o) for o in executed.outputs if WIDGET not in o.get("data", {})]
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = count
    node.metadata["labkit"] = fingerprint(source)
    save(path, node)
    print(f"{source.stem}: the outputs of {Path(found[-1]['source']).name}")
    return True


def pooled(source, path):
    """Writes the outputs of claims anew, for the records in data/records/. Nothing else of the notebook changes."""
    from course.claimfile import load_claims
    from course.lab import MIME, claim_output, claims_output, pooled_claims
    from course.runs.notebook import notebook_parameters

    node, catalogue, results = nbformat.read(path, as_version=4), load_claims(), {}
    given = notebook_parameters(path)
    runs = pooled_claims(source.stem[3:], given["profile"], given["dataset"])
    for output in (o for c in node.cells for o in c.get("outputs", [])):
        left = output.get("data", {}).get(MIME, {})
        if left.get("kind") == "claim":
            name = left["claim"]["id"]
            results.pop(name, None)
            results[name] = left["claim"]
            output["data"] = claim_output(catalogue[name], left["claim"], runs.get(name))
        elif left.get("kind") == "claims":
            output["data"] = claims_output(catalogue, results.values(), runs)
    save(path, nbformat.from_dict(json.loads(json.dumps(node))))
    print(f"{source.stem}: {len(runs)} claims over all committed runs")
    return True


def check(source, path):
    """Whether source and notebook agree and nothing was left in the notebook; says where not."""
    mine, theirs = key(convert(source)), key(nbformat.read(path, as_version=4)) if path.exists() else []
    at = next((i for i in range(max(len(mine), len(theirs))) if mine[i:i + 1] != theirs[i:i + 1]), None)
    wrong = [] if at is None else [f"cell {at + 1} differs"]
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    wrong += [f"holds {what}" for what, pattern in LEFT.items() if re.search(pattern, text)]
    print(f"{source.stem}: " + (f"{', '.join(wrong)}: run 'make notebooks'" if wrong else "agrees"))
    return not wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="01 or 01_basics; all when left out")
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--pooled", action="store_true")
    parser.add_argument("--take", metavar="RUNS")
    args = parser.parse_args()
    pairs = [(p, HERE / f"{p.stem}.ipynb") for p in sorted((HERE / "source").glob("[0-9][0-9]_*.py"))
             if not args.names or {p.stem, p.stem[:2]} & set(args.names)]
    sys.exit(not all([check(*pair) if args.check else pooled(*pair) if args.pooled else
                      take(*pair, args.take) if args.take else build(*pair, args.force) for pair in pairs] or [False]))
