"""Rebuilds notebooks/NN_name.ipynb from notebooks/source/NN_name.py and executes what has changed.

python notebooks/build.py [NN ...] [--force]   rebuild, in the quick profile; where source and code
                                               are unchanged a notebook is skipped
python notebooks/build.py --check              only look: do the cells of source and notebook agree,
                                               and is the notebook free of widget state and of paths
                                               of a machine? Exit 1 when not
python notebooks/build.py --take runs/course   execute nothing: take the outputs of the run of seed
                                               0 that lies there
python notebooks/build.py --pooled             execute nothing: write anew what the notebooks say of
                                               all committed runs
"""

import argparse
import base64
import hashlib
import io
import json
import os
import re
import sys
import time
from itertools import zip_longest
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
FIGURES = {"exposure.png": "Exposure against UA"}  # docs/figures/NAME: how its alt text starts
WIDGET = "application/vnd.jupyter.widget-view+json"
# What must not be in a committed notebook. [x] in a pattern: a search for paths passes it by.
LEFT = {"widget state": r"vnd\.jupyter\.widget-(?:view|state)",
        "a path of a machine": r"(?<![\w.}])/(?:[r]oot|[h]ome/\w+|[U]sers/\w+)/|[C]:\\+Users|"
                               + re.escape(f"{ROOT}/")}


def digest(content):
    return hashlib.sha256(content).hexdigest()[:12]  # without labkit: a hook runs --check alone


def convert(source):
    """The notebook of a py:percent file: ids that depend on its text alone, no metadata."""
    node = jupytext.read(source)
    for index, cell in enumerate(node.cells):
        known = [source.stem, str(index), cell.source.split("\n")[0]]
        cell["id"] = digest("\n".join(known).encode())
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
    node.nbformat, node.nbformat_minor = 4, 5
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    node.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return node


def fingerprint(source):
    """What decides whether a notebook has to run again: source, the code it uses, data."""
    from course.runs.notebook import labkit_hash

    claims = ROOT / "course" / "chapters" / source.stem[3:] / "claims.yaml"
    data = b"".join(p.read_bytes() for p in (claims, ROOT / "data" / "fashion.npz"))
    code = labkit_hash(source.stem).encode()
    return {"source": digest(source.read_bytes()), "code": digest(code + data)}


def execute(node):
    """Run all cells in notebooks/, one thread; the first error ends it."""
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")
    NotebookClient(node, kernel_name="python3", timeout=1200, record_timing=False,
                   store_widget_state=False, coalesce_streams=True,
                   resources={"metadata": {"path": str(HERE)}},
                   extra_arguments=["--log-level=ERROR"]).execute()
    node.metadata["language_info"] = {"name": "python"}
    for cell in (c for c in node.cells if c.cell_type == "code"):
        cell.outputs = clean(cell.outputs)


def clean(outputs):
    """The outputs without widgets and places on this machine; it is an error when one is left."""
    kept = [o for o in outputs if WIDGET not in o.get("data", {})]
    text = re.sub(r"/[^\s\"'<>]*/(site-packages/|ipykernel_\d+/)", "", json.dumps(kept))
    for place in (str(ROOT), str(Path.home())):
        if len(place) > 5 and place in text:
            at = text.index(place)
            around = text[max(0, at - 60):at + 90]
            raise ValueError(f"An output holds a path of this machine: {around!r}")
    for data in (o.get("data", {}) for o in json.loads(text)):
        if png := data.get("image/png"):
            text = text.replace(json.dumps(png), json.dumps(smaller(png)))
    return [nbformat.from_dict(output) for output in json.loads(text)]


def smaller(png):
    """The same picture in fewer bytes. png: base64 text, as outputs hold it."""
    picture, out = Image.open(io.BytesIO(base64.b64decode(png))), io.BytesIO()
    if picture.mode == "RGBA" and picture.getextrema()[3] == (255, 255):
        picture = picture.convert("RGB")  # nothing shines through it
    picture.save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


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
            place = ROOT / "docs" / "figures" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(base64.b64decode(output.data["image/png"]))


def build(source, path, force):
    """One notebook; returns whether it worked. A failure leaves the old notebook as it was."""
    node, start = convert(source), time.perf_counter()
    node.metadata["labkit"] = fingerprint(source)
    old = nbformat.read(path, as_version=4) if path.exists() else None
    same = old and old.metadata.get("labkit") == node.metadata["labkit"] and key(old) == key(node)
    if same and not force:
        print(f"{source.stem}: unchanged")
        return True
    try:
        execute(node)
        save(path, node)
    except Exception as problem:
        took = time.perf_counter() - start
        print(f"{source.stem}: FAILED after {took:.0f} s\n{problem}", file=sys.stderr)
        return False
    print(f"{source.stem}: executed in {time.perf_counter() - start:.0f} s", flush=True)
    return True


def take(source, path, runs):
    """The notebook with the outputs of its quick run on fashion, seed 0; the cells must agree."""
    from course.report import collect
    from course.runs.notebook import notebook_hash, own_cells

    node = convert(source)
    wanted = {"profile": "quick", "dataset": "fashion", "seed": 0}.items()
    found = [r for r in collect(runs) if r["status"] == "ok" and wanted <= r["parameters"].items()
             and r["notebook_hash"] == notebook_hash(node)]
    if not found:
        print(f"{source.stem}: no run of seed 0 of the notebook as it is here")
        return False
    ran = nbformat.read(Path(found[-1]["source"]) / f"{source.stem}.ipynb", as_version=4)
    pairs = zip(node.cells, own_cells(ran), strict=True)
    code = [pair for pair in pairs if pair[0].cell_type == "code"]
    for count, (cell, executed) in enumerate(code, start=1):
        cell.execution_count = count  # papermill's own cell was counted too
        cell.outputs = clean(executed.outputs)
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = count
    node.metadata["labkit"] = fingerprint(source)
    save(path, node)
    print(f"{source.stem}: the outputs of {Path(found[-1]['source']).name}")
    return True


def pooled(source, path):
    """Writes the outputs of claims anew, for the records in data/records/, and nothing else."""
    from course.claimfile import load_claims
    from course.pooling import pooled_claims
    from course.runs.notebook import MIME, notebook_parameters
    from course.words import claim_output, claims_output, committed_output

    node, catalogue, results = nbformat.read(path, as_version=4), load_claims(), {}
    given = notebook_parameters(path)
    runs, full = (pooled_claims(source.stem[3:], profile, given["dataset"])
                  for profile in (given["profile"], "full"))
    for output in (o for c in node.cells for o in c.get("outputs", [])):
        left = output.get("data", {}).get(MIME, {})
        if left.get("kind") == "claim":
            name = left["claim"]["id"]
            results.pop(name, None)
            results[name] = left["claim"]
            output["data"] = claim_output(catalogue[name], left["claim"], runs.get(name))
        elif left.get("kind") == "claims":
            output["data"] = claims_output(catalogue, results.values(), runs, full)
        elif left.get("kind") == "committed":
            output["data"] = committed_output(left["text"], catalogue, runs)
    save(path, nbformat.from_dict(json.loads(json.dumps(node))))
    print(f"{source.stem}: {len(runs)} claims over all committed runs")
    return True


def check(source, path):
    """Whether source and notebook agree and nothing was left in the notebook; says where not."""
    mine, theirs = key(convert(source)), []
    if path.exists():
        theirs = key(nbformat.read(path, as_version=4))
    pairs = enumerate(zip_longest(mine, theirs), start=1)
    at = next((i for i, (one, other) in pairs if one != other), None)
    wrong = [] if at is None else [f"cell {at} differs"]
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    wrong += [f"holds {what}" for what, pattern in LEFT.items() if re.search(pattern, text)]
    print(f"{source.stem}: " + (f"{', '.join(wrong)}: run 'make notebooks'" if wrong else "agrees"))
    return not wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="01 or 01_basics; all when left out")
    for word in ("--force", "--check", "--pooled"):
        parser.add_argument(word, action="store_true")
    parser.add_argument("--take", metavar="RUNS")
    args = parser.parse_args()
    done = []
    for source in sorted((HERE / "source").glob("[0-9][0-9]_*.py")):
        if args.names and not {source.stem, source.stem[:2]} & set(args.names):
            continue
        pair = source, HERE / f"{source.stem}.ipynb"
        done.append(check(*pair) if args.check else pooled(*pair) if args.pooled else
                    take(*pair, args.take) if args.take else build(*pair, args.force))
    sys.exit(not done or not all(done))
