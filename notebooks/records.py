"""Keeps what a sweep found in data/records/, one small file a run: the scoreboard's data, without
executed notebooks.

python notebooks/records.py runs/course     (make records ARGS="09 10" sweeps and then does this)

Only runs of the notebooks as they lie here are taken. A file is named after notebook, profile, data
set and outer seed; an older one of that name is replaced.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "data" / "records"


def main(runs):
    from course.report import collect, write
    from course.runs.folders import digest
    from course.runs.notebook import notebook_hash, read

    now = {p.stem: notebook_hash(read(p)) for p in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")}
    newest = {}
    for record in collect(runs):
        if record["status"] == "ok" and record["notebook_hash"] == now.get(record["notebook"]):
            given = record["parameters"]
            name = f"{record['notebook']}-{given['profile']}-{given['dataset']}-s{given['seed']}"
            newest[name] = max(record, newest.get(name, record), key=lambda r: r["started"])
        else:
            why = record["error"] or "of another version of the notebook"
            print(f"records: left out {record['source']} ({record['status']}): {why}",
                  file=sys.stderr)
    for name, record in newest.items():
        if record["parameters"]["profile"] == "quick":  # what the committed notebooks show
            record |= {"executed": f"notebooks/{record['notebook']}.ipynb"}
        kept = {k: v for k, v in record.items() if k not in ("source", "digest")}
        kept |= {"digest": digest(kept)}
        lines = [f"{json.dumps(k)}: {json.dumps(v, sort_keys=True)}" for k, v in kept.items()]
        write(PLACE / f"{name}.json", "{" + ",\n ".join(lines) + "}\n")
    print(f"records: {len(newest)} in {PLACE.relative_to(ROOT)}")
    return not newest


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [ROOT / "runs" / "course"]))
