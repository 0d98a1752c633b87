"""Writes the scoreboard's tables: Markdown, one HTML page, the README's block, CSV and Parquet."""

import html
import importlib.util
import os
from pathlib import Path
from urllib.parse import quote

from course.claims import COLOURS
from labkit.base import LabError, make_folder, write_bytes

BEGIN, END = "<!-- scoreboard:begin -->", "<!-- scoreboard:end -->"
BACKS = COLOURS | {"too few": "#BBBBBB", "not run": "#DDDDDD"}


def to_markdown(table, folder=".") -> str:
    """The table as GitHub Markdown, its notes below. folder: where it will lie, for the links."""
    def cell(value):
        return str(value).replace("|", "\\|").replace("\n", " ")

    rows = [[*map(cell, table.columns)], ["---"] * len(table.columns)]
    for row, link in zip(table.itertuples(index=False), _links(table, folder), strict=True):
        first, *others = map(cell, row)
        rows.append([f"[{first}]({link})" if link else first, *others])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    notes = [f"- {' '.join(n.split())}" for n in table.attrs.get("notes", [])]
    return "\n".join(lines + ([""] + notes if notes else [])) + "\n"


def to_html(table, folder=".") -> str:
    """The table as one self-contained page; the verdict is a word on a colour."""
    def cell(column, value, link):
        text, style, back = html.escape(str(value)), "", BACKS.get(value, "#FFFFFF")
        if column == "notebook" and link:
            text = f'<a href="{html.escape(link)}">{text}</a>'
        if column == "verdict":
            ink = "#FFFFFF" if back in ("#0072B2", "#D55E00") else "#000000"
            style = f' style="background:{back};color:{ink}"'
        return f"<td{style}>{text}</td>"

    head = "".join(f"<th>{html.escape(c)}</th>" for c in table.columns)
    rows = zip(table.itertuples(index=False), _links(table, folder), strict=True)
    body = "\n".join("<tr>" + "".join(map(cell, table.columns, row, [link] * len(row))) + "</tr>"
                     for row, link in rows)
    below = table.attrs.get("notes", []) + table.attrs.get("changed", [])
    notes = "".join(f"<li>{html.escape(n)}</li>" for n in below)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Scoreboard</title>
<style>
body {{ font: 15px/1.4 sans-serif; margin: 2em; color: #000; background: #fff }}
table {{ border-collapse: collapse }}
th, td {{ border: 1px solid #999; padding: .3em .5em; text-align: left }}
</style></head><body>
<h1>Scoreboard</h1>
<p>Ours: mean [95 % interval]. Verdicts: see the course's page on claims.</p>
<table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table>
<ul>{notes}</ul>
</body></html>
"""


def update_readme(readme_path, markdown: str) -> None:
    """Replaces what stands between the two scoreboard comments of the file, and nothing else."""
    path = Path(readme_path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise LabError(f"{str(path)!r} cannot be read ({problem.strerror}): give the README to "
                       "update.") from None
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise LabError(f"{path.name} must hold the lines {BEGIN} and {END} once each, in this "
                       "order.")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    write(path, f"{before}{BEGIN}\n{markdown.strip()}\n{END}{after}")


def write_table(folder, name: str, table) -> list[Path]:
    """<name>.csv, and <name>.parquet where pyarrow is there, in the folder -> what was written"""
    written = [Path(folder) / f"{name}.csv"]
    write(written[0], table.to_csv(index=False, lineterminator="\n"))
    if importlib.util.find_spec("pyarrow"):
        written.append(Path(folder) / f"{name}.parquet")
        write(written[1], table.to_parquet(index=False))
    return written


def write(path, content: str | bytes) -> None:
    """Writes a file in one step, its folder too: a reader sees the old one or the new one."""
    content = content.encode() if isinstance(content, str) else content
    make_folder(Path(path).parent)
    write_bytes(path, content, "give another place")


def _links(table, folder):
    links = table.attrs.get("links") or [None] * len(table)
    return [link and quote(Path(os.path.relpath(link, folder)).as_posix()) for link in links]
