"""`make test`: the groups of tests, one after the other, and one table of what they took.

    python tests/groups.py [--fast] [--seeds] [ARGUMENTS OF PYTEST]

quick      on every core; --fast stops here, and leaves out what is marked thorough
waiting    tests that mostly wait (kills, sweeps, copies handed in): beside the two others
slow       the notebooks, the browser, the site, set-up: as many at a time as there are cores
--seeds    also runs every notebook at full size on seed 1, before a release
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
GROUPS = {"quick": ["-m", "not slow", "-n", str(min(CORES, 8)),
                    "--dist", "worksteal"],
          "waiting": ["-m", "waiting", "-n", "2", "--dist", "loadfile"],
          "slow": ["-m", "slow and not waiting", "-n", str(min(CORES, 4)), "--dist", "loadgroup"]}
# What a run of a notebook may cost: CPU seconds, MB of its processes together.
BUDGETS = {"quick": (110, 1500), "smoke": (20, 1500)}
FACTOR = 2  # what is twice over its budget fails: processors differ, and others may be at work
NO_TESTS = 5  # pytest's exit status; right only where arguments chose among the tests


def cost_table(rows):
    """Lines of text; rows: (notebook, run, profile, CPU seconds or None, MB or None)."""
    yield f"{'notebook':<18}{'run':<34}{'CPU s':>7}{'budget':>8}{'MB':>7}{'budget':>8}"
    for notebook, run, profile, cpu, mb in sorted(rows):
        shown = [f"{'-' if value is None else round(value):>7}{limit:>8}"
                 for value, limit in zip((cpu, mb), BUDGETS[profile], strict=True)]
        yield f"{notebook:<18}{run:<34}" + "".join(shown)


def begin(name, arguments, folder, **settings):
    environment = os.environ | {"LABKIT_COSTS": str(folder / f"{name}.json")}
    return subprocess.Popen([sys.executable, "-m", "pytest", *GROUPS[name], *arguments], cwd=ROOT,
                            env=environment, **settings)


def main(arguments):
    fast, seeds = ("--fast" in arguments), ("--seeds" in arguments)
    arguments = [a for a in arguments if a not in ("--fast", "--seeds")]
    if seeds:
        os.environ["LABKIT_SEEDS"] = "1"
    began, clock, took, codes = time.monotonic(), time.time(), {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with open(folder / "waiting.txt", "w+b") as log:
            beside = None if fast else begin("waiting", arguments, folder, stdout=log, stderr=log)
            for group in ["quick"] if fast else ["quick", "slow"]:
                start = time.monotonic()
                fewer = ["-m", "not slow and not thorough"] * fast  # the last -m counts
                codes[group] = begin(group, fewer + arguments, folder).wait()
                took[group] = time.monotonic() - start
            if beside:
                codes["waiting"], ended = beside.wait(), os.fstat(log.fileno()).st_mtime
                took["waiting"] = ended - clock  # its last word; it may have waited for the others
                log.seek(0)
                print(log.read().decode(errors="replace"))
        rows = [row for file in folder.glob("*.json") for row in json.loads(file.read_text())]
    if rows:
        print(*cost_table(rows), "", sep="\n")
    for group, seconds in took.items():
        beside = " beside the others" * (group == "waiting")
        print(f"{group:<10}{seconds / 60:6.1f} minutes{beside}")
    print(f"{'together':<10}{(time.monotonic() - began) / 60:6.1f} minutes")
    fine = (0, NO_TESTS) if arguments else (0,)
    return int(any(code not in fine for code in codes.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
