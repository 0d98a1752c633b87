"""make versions: the quick tests and notebook 01 on the oldest and the newest packages that
pyproject.toml allows.

    python tests/versions.py [oldest] [newest] [3.12 ...]     (all sets, and every Python 3.11 or
    newer on the PATH)

Each pair of set and Python gets an environment of its own in build/versions/ (some gigabytes,
removed afterwards) and a row of the table in docs/versions.md; what could not be tried keeps its
old row. Logs stay in build/versions/.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from course.runs.notebook import harvest, read

ROOT = Path(__file__).resolve().parents[1]
BUILD, PAGE = ROOT / "build" / "versions", ROOT / "docs" / "versions.md"
BEGIN, END = "<!-- versions:begin -->", "<!-- versions:end -->"
SETS = {"oldest": "lowest-direct", "newest": "highest"}  # the name in the table: uv's word for it
PACKAGES = ["torch", "torchvision", "numpy", "pandas", "ipywidgets"]
COLUMNS = ["set", "python", *PACKAGES, "passed", "failed", "skipped", "notebook 01", "seconds",
           "verdicts", "date"]
MINUTES = 30  # that one command may take


def main(words=()):
    """Try what was asked for. -> 0, or 1 when something failed, could not be installed or is no
    word it knows
    """
    pythons = found_pythons()
    unknown = [w for w in words if w not in SETS and w not in pythons]
    if unknown:
        print(f"versions: {unknown[0]!r} is unknown; use {', '.join([*SETS, *pythons])}.")
        return 1
    failed = 0
    for python in [p for p in pythons if p in words] or pythons:
        for name in [s for s in SETS if s in words] or SETS:
            row = attempt(name, python, pythons[python])
            text = PAGE.read_text(encoding="utf-8")
            PAGE.write_text(replaced(text, row), encoding="utf-8")
            print(" | ".join(row.values()), flush=True)
            failed |= row["failed"] != "0" or row["notebook 01"] != "ok"
    return int(failed)


def found_pythons():
    """Version -> path of each Python on the PATH from 3.11 on that starts."""
    found = {}
    for minor in range(11, 30):
        path = shutil.which(f"python3.{minor}")
        if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:
            found[f"3.{minor}"] = path
    return found


def attempt(name, python, path):
    """Install one set for one Python, run the quick tests and notebook 01. -> its row of the table
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    place, log = BUILD / f"{name}-{python}", BUILD / f"{name}-{python}.log"
    shutil.rmtree(place, ignore_errors=True)
    log.unlink(missing_ok=True)
    row = dict.fromkeys(COLUMNS, "") | {"set": name, "python": python, "failed": "not installed",
                                        "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    mine = place / "bin" / "python"  # the script is for Linux and macOS, as the Makefile is
    install = [uv, "pip", "install", "--quiet", "--python", mine]
    try:
        # wheels only: what has none for this Python is not allowed there either, and the next
        # version is taken
        steps = [[uv, "venv", "--quiet", "--python", path, place],
                 [*install, "--only-binary", ":all:", "--resolution", SETS[name], "--requirements",
                  "pyproject.toml",
                  "--extra", "test"],
                 [*install, "--no-deps", "--editable", "."]]
        if any(call(step, log)[0] for step in steps):
            return row
        versions = json.loads(call([mine, "-c", VERSIONS, *PACKAGES], log)[1].splitlines()[-1])
        # without the build's mark: 2.15.0+cu132
        row |= {p: v.split("+")[0] for p, v in versions.items()}
        tests = [mine, "-m", "pytest", "-m", "not slow", "-n", "2", "--dist", "worksteal", "-p",
                 "no:cacheprovider",
                 # which looks at the table that is being written
                 "--quiet", "--ignore", "tests/test_versions.py"]
        row |= counts(call(tests, log)[1])
        return row | notebook(mine, log, BUILD / f"{name}-{python}-runs")
    finally:
        shutil.rmtree(place, ignore_errors=True)


VERSIONS = """
import importlib.metadata, json, platform, sys
found = {name: importlib.metadata.version(name) for name in sys.argv[1:]}
print(json.dumps(found | {"python": platform.python_version()}))
"""


def call(command, log):
    """(exit status, output) of a command in the environment whose Python it names; its output goes
    to the log too.
    """
    clean = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH",
                                                              "PYTHONHOME")}
    clean["PATH"] = f"{Path(command[0]).parent}{os.pathsep}{clean['PATH']}"
    try:
        done = subprocess.run(list(map(str, command)), cwd=ROOT, env=clean, stdout=subprocess.PIPE,
                              text=True,
                              stderr=subprocess.STDOUT, timeout=60 * MINUTES)
        code, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        code, output = (124, f"{(late.stdout or b'').decode(errors='replace')}\nlonger than "
                             f"{MINUTES} minutes")
    with open(log, "a", encoding="utf-8") as out:
        out.write(f"$ {' '.join(map(str, command))}\n{output}\n")
    return code, output


def counts(output):
    """Passed, failed (errors included) and skipped of pytest's last line; without such a line
    nothing has passed.
    """
    found = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|errors?|skipped)",
                                                    last(output))}
    bad = sum(found.get(word, 0) for word in ("failed", "error", "errors"))
    return {"passed": str(found.get("passed", 0)), "skipped": str(found.get("skipped", 0)),
            "failed": str(bad) if "passed" in found else "no result"}


def last(output):
    lines = [line for line in output.splitlines()
             if re.search(r"\d+ (passed|failed|errors?)\b.* in \d", line)]
    return lines[-1] if lines else ""


def notebook(python, log, runs):
    """Run notebook 01 and compare its verdicts with those of the committed notebook, which the lock
    has given.
    """
    shutil.rmtree(runs, ignore_errors=True)
    start = time.monotonic()
    call([python, "-m", "course", "run", "01", "--out", runs], log)
    seconds = f"{time.monotonic() - start:.0f}"
    records = [json.loads(path.read_text(encoding="utf-8")) for path in runs.glob("*/record.json")]
    if not records:
        return {"notebook 01": "failed", "seconds": seconds, "verdicts": ""}
    committed = harvest(read(next((ROOT / "notebooks").glob("01_*.ipynb"))))["claims"]
    return {"notebook 01": records[0]["status"], "seconds": seconds,
            "verdicts": agreement(committed,
                                                                                         records[0]["claims"])}


def agreement(committed, claims):
    """"same", or which verdicts differ from the committed ones, in words."""
    now = {c["id"]: c["verdict"] for c in claims}
    other = [f"{c['id']}: {now.get(c['id'], 'not run')} (lock: {c['verdict']})" for c in committed
             if now.get(c["id"]) != c["verdict"]]
    return "; ".join(other) or f"all {len(committed)} the same"


def table(text):
    """The rows (dicts) of the table between the marks of a page."""
    lines = [line for line in text.split(BEGIN)[1].split(END)[0].splitlines()
             if line.startswith("|")]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]] if cells else []


def replaced(text, row):
    """The page with this row in place of the one of the same set and minor version of Python."""
    def key(r):
        return [*map(int, r["python"].split(".")[:2])], list(SETS).index(r["set"])

    rows = sorted([r for r in table(text) if key(r) != key(row)] + [row], key=key)
    lines = [COLUMNS, ["---"] * len(COLUMNS), *([r[c] for c in COLUMNS] for r in rows)]
    drawn = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{text.split(BEGIN)[0]}{BEGIN}\n{drawn}\n{END}{text.split(END)[1]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
