"""Builds the course's web site from the executed notebooks, the README and docs/: python
site/build.py [build/site]

The pages are gathered in a temporary folder (the notebooks as they are; scoreboard and status are
written here), then Sphinx makes HTML of them. A warning is an error. Nothing is downloaded.
"""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NEEDED = ("sphinx", "myst_nb", "sphinx_book_theme", "sphinx-mathjax-offline")
PLACE = ROOT / "build" / "site"


def main(out):
    from course.report import collect

    if missing := [name for name in NEEDED if find_spec(name) is None]:
        sys.exit(f"site: {', '.join(missing)} not installed. Try: make setup")
    out = Path(out).resolve()
    if out != PLACE and out.exists() and any(out.iterdir()) and not (out / ".buildinfo").exists():
        sys.exit(f"site: {out} holds something that is not this site: give an empty folder.")
    records = collect([ROOT / "notebooks"])
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        gather(source, records)
        os.environ["SITE_STATUS"] = json.dumps({r["notebook"]: status_line(r) for r in records})
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, *"-m sphinx -W --keep-going -q -b html".split(), "-c", HERE,
                   "-d", Path(folder) / "doctrees", source, out]
        failed = subprocess.run(list(map(str, command))).returncode
    if not failed:
        pages = sum("_static" not in p.parts for p in out.rglob("*.html"))
        print(f"site: {pages} pages; open {os.path.relpath(out / 'index.html')}")
    return failed


def gather(source, records):
    """The pages, laid out as in the repository, so that links between them hold."""
    shutil.copytree(ROOT / "docs", source / "docs")
    shutil.copy(ROOT / "README.md", source)
    (source / "notebooks").mkdir()
    entries = []
    for record in records:
        shutil.copy(record["source"], source / "notebooks")
        entries.append(f"{title(record['source'])} <notebooks/{record['notebook']}>")
    index = (HERE / "index.md").read_text(encoding="utf-8")
    pages = {"index": index.replace("@notebooks@", "\n".join(entries)),
             "scoreboard": scoreboard(records), "status": status(records)}
    for name, text in pages.items():
        (source / f"{name}.md").write_text(text, encoding="utf-8")


def title(path):
    """The notebook's first heading up to the colon."""
    first = json.loads(Path(path).read_text(encoding="utf-8"))["cells"][0]["source"]
    return "".join(first).split("\n")[0].lstrip("# ").split(":")[0]


def scoreboard(records):
    """The table of the README, drawn anew, with the notebooks linked and the verdicts marked."""
    from course.report import collect, to_markdown
    from course.report import scoreboard as draw

    table = draw(collect(sorted((ROOT / "data" / "records").glob("*.json"))))
    pages = {r["notebook"][:2]: r["notebook"] for r in records}
    table.attrs["links"] = [f"notebooks/{pages[n]}.ipynb" if n in pages else None
                            for n in table["notebook"]]
    table["verdict"] = [f"[{v}]{{.verdict .{v.replace(' ', '-')}}}" for v in table["verdict"]]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    intro = re.search(r"## Scoreboard\n\n(.*?)\n\n<!--", readme, re.S)[1]
    # a page is not as wide as a file
    for into, more in (("paper", "paper's figure"), ("profile", "dataset")):
        pairs = zip(table[into], table.pop(more), strict=True)
        table[into] = [" · ".join(dict.fromkeys(filter(None, pair))) for pair in pairs]
    table = table.rename(columns={"paper": "paper · its figure", "profile": "profile · data"})
    first = ["notebook", "claim", "says", "verdict", "ours"]  # seen on a narrow screen at once
    notes, table = table.attrs, table[first + [c for c in table.columns if c not in first]]
    table.attrs.update(notes)
    changed = "\n".join(f"- {' '.join(line.split())}" for line in notes.get("changed", []))
    return (f"# Scoreboard\n\n{intro}\n\n{to_markdown(table)}\n"
            f"## Predicates that were changed\n\n{changed}\n")


def status(records):
    """One row a notebook: how its outputs came about, from what it carries, and from git."""
    fingerprint = runpy.run_path(str(ROOT / "notebooks" / "build.py"))["fingerprint"]
    columns = ("notebook", "status", "claims judged", "profile, data set", "seeds", "versions",
               "hardware", "runs in", "labkit", "commit")
    lines = ["| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]
    for record in records:
        f, name = facts(record), record["notebook"]
        now = fingerprint(ROOT / "notebooks" / "source" / f"{name}.py")["code"]
        cells = (f"[{title(record['source'])}](notebooks/{name}.ipynb)", record["status"],
                 str(len(record["claims"])), f["what"], f["seeds"], f["versions"], f["hardware"],
                 f["time"], f["code"] + ("" if f["code"] == now else " (older)"), f["commit"])
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'(?m)^version = "(.+)"', project)[1]
    return f"""# Status

How the outputs on these pages came about. Each notebook carries its own record; *runs in* is what
its text says. *labkit* is a hash over the code and data that the notebook's numbers depend on.
Marked *(older)*: they have changed since the notebook was run. *commit* is the last one that
touched the notebook.

{chr(10).join(lines)}

Built from labkit {version}, commit {commit() or "unknown (not a git checkout)"}.
"""


def status_line(record):
    """The line below the title of a notebook's page (Markdown)."""
    f = facts(record)
    parts = (f["what"], f["seeds"], f["versions"], f["hardware"], f["time"], f"labkit {f['code']}",
             f"commit {f['commit']}")
    said = " · ".join(part for part in parts if part)
    return f"**Status** {record['status']} · {said} · [all notebooks](../status.md)"


def facts(record):
    """What the executed notebook says about its run, in words."""
    node = json.loads(Path(record["source"]).read_text(encoding="utf-8"))
    outputs = [o.get("data", {}) for c in node["cells"] for o in c.get("outputs", [])]
    texts = ("".join(o.get("text/plain", "")) for o in outputs)
    setup = next((text for text in texts if "Notebook" in text), "")
    time = re.search(r"\*Time\*: (?:about )?(.+?) to run", "".join(node["cells"][0]["source"]))
    seeds = {u for c in record["claims"] if c.get("unit") == "seed" for u in c.get("units") or []}
    given = record["parameters"]
    return {
        "what": f"{given.get('profile')} profile, {given.get('dataset')}",
        "seeds": f"seed {given.get('seed')}" + (f", {len(seeds)} seeds judged" if seeds else ""),
        "versions": ", ".join(f"{k} {v}" for k, v in (record["versions"] or {}).items()),
        "hardware": setup.split(" · ")[-1] or str(record["device"]),
        "time": f"about {time[1]}" if time else "",
        "code": node["metadata"].get("labkit", {}).get("code", "unknown"),
        "commit": commit(record["source"]) or "unknown",
    }


def commit(path=None):
    """Hash and day of the last commit (that touched path); empty outside a git checkout."""
    command = ["git", "log", "-1", "--format=%h of %cs", *(["--", str(path)] if path else [])]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:] or [PLACE]))
