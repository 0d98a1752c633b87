"""The labkit command: run, sweep, report, grade, doctor. Heavy imports are made on use."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Runs the notebooks of the course, and shows what came of their claims.")


NOTEBOOKS = typer.Argument(metavar="NOTEBOOK...", help="01, 01-05, 01_basics, a path, or all.")
PLACE = {"parser": lambda text: Path(os.path.expanduser(text)), "metavar": "PATH"}  # --out=~/runs
Profile = Annotated[str, typer.Option(help="smoke, quick, full or paper.")]
Parameters = Annotated[list[str] | None, typer.Option(
    "-p", "--parameter", metavar="NAME VALUE", help="Another parameter of the notebook.")]
Out = Annotated[Path, typer.Option(help="The folder that gets one folder a run.")]
Seconds = Annotated[float | None, typer.Option(help="Seconds a run may take.")]
MB = Annotated[float | None, typer.Option(help="MB that a run's processes may take together.")]


def main(argv=None):
    """The entry point. Exit codes: 0 well, 1 something failed, 2 bad input, 130 stopped."""
    try:
        app(_pairs(sys.argv[1:] if argv is None else list(argv)), prog_name="labkit")
    except Exception as problem:
        from labkit.base import LabError

        if not isinstance(problem, LabError):
            raise
        print(f"labkit: {problem}", file=sys.stderr)
        sys.exit(2)


def _pairs(argv):
    """-p NAME VALUE -> -p NAME=VALUE: typer has no options of two words."""
    out = []
    while argv:
        word = argv.pop(0)
        if word in ("-p", "--parameter") and len(argv) > 1 and argv[0].isidentifier():
            word, argv = f"{word}{'=' if word[1] == '-' else ''}{argv[0]}={argv[1]}", argv[2:]
        out.append(word)
    return out


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False):
    if version:
        from labkit import __version__

        print(f"labkit {__version__}")
        raise typer.Exit()


@app.command()
def run(
    names: Annotated[list[str], NOTEBOOKS],
    profile: Profile = "quick",
    dataset: Annotated[str | None, typer.Option(help="The notebook's own when left out.")] = None,
    seed: Annotated[int, typer.Option(help="The outer seed; each is one independent run.")] = 0,
    parameter: Parameters = None,
    out: Out = Path("runs"),
    timeout: Seconds = None,
    memory: MB = None,
):
    """Run notebooks with papermill; one that fails does not stop the others."""
    from course.runs.choices import parse_notebooks
    from course.runs.runner import check_parameters
    from course.runs.runner import run as run_one

    paths = parse_notebooks(names, repeats=True)
    settings = dict(profile=profile, dataset=dataset, seed=seed, timeout=timeout, memory=memory,
                    parameters=_parameters(parameter))
    for path in paths:  # all of them before the first one runs
        check_parameters(path, **settings)
    found = []
    for path in paths:
        r = run_one(path, **settings, out=out)
        found.append(r["status"])
        print(f"{r['notebook']}: {r['status']}, {r['seconds']:.0f} s, {r['peak_mb']:.0f} MB, "
              f"{r['source']}")
        if r["error"]:
            print(f"labkit: {r['notebook']}: {r['error']}", file=sys.stderr)
    raise typer.Exit(1 if "failed" in found else 0)


@app.command()
def sweep(
    names: Annotated[list[str], NOTEBOOKS],
    seeds: Annotated[str, typer.Option(help="Outer seeds, as in 0-4 or 0,3,7.")] = "0",
    dataset: Annotated[str | None, typer.Option(help="One or more: fashion,folder:PATH.")] = None,
    profile: Profile = "quick",
    parameter: Parameters = None,
    out: Out = Path("runs"),
    jobs: Annotated[int, typer.Option(help="Runs at a time, on this machine.")] = 1,
    scheduler: Annotated[str | None, typer.Option(
        metavar="ADDRESS", help="A Dask scheduler whose workers take the runs.")] = None,
    timeout: Seconds = None,
    memory: MB = None,
):
    """Run notebooks over seeds and data sets; what is finished is kept when it is called again."""
    from collections import Counter

    from course.runs.choices import parse_datasets, parse_notebooks, parse_seeds
    from course.runs.sweep import sweep as run_all

    found = run_all(
        parse_notebooks(names), seeds=parse_seeds(seeds), datasets=parse_datasets(dataset),
        profile=profile, parameters=_parameters(parameter), out=out, jobs=jobs,
        scheduler=scheduler, timeout=timeout, memory=memory)
    bad = [r for r in found if r["status"] in ("failed", "lost")]
    for r in bad:
        print(f"labkit: {r['name']}: {r['error']}", file=sys.stderr)
    counts = Counter(r["status"] for r in found)
    print(f"{len(found)} runs: {', '.join(f'{n} {status}' for status, n in counts.items())}; "
          f"{sum(r['known'] for r in found)} of them were there before.")
    if counts["stopped"]:
        print("Stopped. Nothing is lost: the same command goes on with the rest.")
        raise typer.Exit(130)
    print(f"Next: labkit report {out}")
    raise typer.Exit(1 if bad else 0)


@app.command()
def report(
    runs: Annotated[list[Path] | None, typer.Argument(
        **PLACE | {"metavar": "RUNS"}, help="Folders of runs, or executed notebooks.")] = None,
    out: Annotated[Path | None, typer.Option(
        **PLACE, help="Where the scoreboard's files go; the first of RUNS, or runs/.")] = None,
    readme: Annotated[Path | None, typer.Option(
        **PLACE, help="Update the scoreboard in this file.")] = None,
):
    """Draw the scoreboard of all claims and what the runs cost; write it in several formats."""
    from course import report as made
    from labkit.base import data_path

    places = runs or [Path("runs")]
    records = made.collect(places)
    table = made.scoreboard(records)
    if not out:
        of_runs = places[0].is_dir() and not any(places[0].glob("*.ipynb"))
        out = places[0] if of_runs else Path("runs")
    if readme:  # first: what is wrong with it is told before anything is written
        made.update_readme(readme, made.to_markdown(table, readme.parent))
    texts = {"scoreboard.md": made.to_markdown(table, out),
             "scoreboard.html": made.to_html(table, out),
             "references.bib": data_path("references.bib").read_bytes()}
    for name, text in texts.items():
        made.write(out / name, text)
    written = [*(out / name for name in texts),
               *made.write_table(out, "scoreboard", made.parts_table(records))]
    columns = ["claim", "paper's figure", "ours", "n", "verdict", "profile", "dataset"]
    _show(table[columns], "Scoreboard")
    _show(made.runs_table(records).fillna("").astype(str), "Runs")
    for note in table.attrs["notes"]:
        print(f"- {note}")
    print(f"Written: {', '.join(map(str, written + [readme] * bool(readme)))}")


@app.command()
def grade(
    notebooks: Annotated[list[Path], typer.Argument(
        **PLACE | {"metavar": "NOTEBOOK..."}, help="Learners' copies.")],
    csv: Annotated[Path | None, typer.Option(
        **PLACE, help="Write file, exercise, state and points here.")] = None,
    timeout: Annotated[float, typer.Option(
        min=1, help="Seconds an exercise may take, its check included.")] = 30,
    memory: Annotated[float, typer.Option(
        min=500, help="MB that a copy's processes may take.")] = 2000,
):
    """Check the exercises of learners' copies anew; exit 1 when a copy could not be graded."""
    import pandas as pd
    from tqdm import tqdm

    from course.grading.contain import bubblewrap
    from course.grading.grade import grade as grade_one
    from course.grading.grade import write_csv

    rows, (sandbox, sentence) = [], bubblewrap()
    if csv:
        write_csv(rows, csv)  # a folder that is not there is told before an hour of work
    for path in tqdm(notebooks, unit="copy", disable=None):
        rows += grade_one(path, timeout=timeout, memory=memory, sandbox=sandbox)
        if csv:
            write_csv(rows, csv)
    table = pd.DataFrame(rows)
    _show(table.drop(columns="of"), "Exercises")
    _show(table.groupby("file", sort=False)[["points", "of"]].sum().reset_index(), "Points")
    print(sentence)
    raise typer.Exit(0 if table["exercise"].all() else 1)


@app.command()
def doctor():
    """Check that everything the notebooks need is here; exit 1 when something is not."""
    from course.doctor import checks

    found = checks()
    for good, text in found:
        print(f"{'ok     ' if good else 'problem'}  {text}")
    raise typer.Exit(0 if all(good for good, _ in found) else 1)


def _parameters(texts):
    from course.runs.runner import parse_value
    from labkit.base import LabError

    values = {}
    for text in texts or []:
        name, found, value = text.partition("=")
        if not found:
            raise LabError(f"-p {name!r} has no value: write -p NAME VALUE.")
        values[name] = parse_value(value)
    return values


def _show(table, title):
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(title=title)
    for name in table.columns:
        drawn.add_column(name, no_wrap=name in ("claim", "verdict", "status"))
    for row in table.itertuples(index=False):
        clean = ("".join(c if c.isprintable() else "?" for c in str(value)) for value in row)
        drawn.add_row(*map(escape, clean))
    Console(width=None if sys.stdout.isatty() else 160).print(drawn)
