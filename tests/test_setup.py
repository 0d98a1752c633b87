"""Set-up: pyproject, environment.yml, the lock, the README's commands and the wheel agree; no file
names a machine.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"pytorch": "torch"}  # conda-forge's name -> PyPI's, where they differ


def requirements():
    """Name -> range of everything that pyproject.toml asks for, the extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["dependencies"] + [r for extra in project["optional-dependencies"].values()
                                       for r in extra]
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): r.specifier for r in found} | {"python":
                                                                      project["requires-python"]}


def locked():
    """(name, version) of each line of the lock; a name may be there twice, with other markers."""
    lines = [r for r in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
             if r.strip()]
    # a line that is an option is no requirement and raises here
    found = [Requirement(line) for line in lines]
    assert all(str(r.specifier).startswith("==") and r.url is None for r in found)
    return [(canonicalize_name(r.name), str(r.specifier)[2:]) for r in found]


def files():
    """The text files that belong to the project: tracked, or new and not ignored."""
    shown = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT,
                           capture_output=True)
    if shown.returncode:
        pytest.skip("this is not a git checkout")
    for name in filter(None, shown.stdout.decode().split("\0")):
        path = ROOT / name
        if path.is_file() and path.suffix not in (".npz", ".png"):
            yield name, path.read_text(encoding="utf-8")


def test_environment_yml_and_pyproject_agree():
    entries = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    by_pip = next(e["pip"] for e in entries if isinstance(e, dict))
    assert "-e ." in by_pip, "environment.yml must install labkit itself"
    lines = [e for e in entries if isinstance(e, str) and e != "pip"] + [e for e in by_pip
                                                                         if e != "-e ."]
    conda = {}
    for requirement in map(Requirement, lines):
        name = canonicalize_name(CONDA_NAMES.get(requirement.name, requirement.name))
        assert name not in conda, f"{name} is there twice"
        conda[name] = str(requirement.specifier)
    assert conda == {name: str(wanted) for name, wanted in requirements().items()}


def test_lock_satisfies_every_range():
    versions = {}
    for name, version in locked():
        versions.setdefault(name, []).append(version)
    for name, wanted in requirements().items():
        if name != "python":
            assert name in versions, f"{name} is not in requirements.lock: make lock"
            assert all(wanted.contains(v, prereleases=True)
                       for v in versions[name]), f"{name}: make lock"


def test_lock_holds_no_address_or_option():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text and not re.search(r"(?m)^\s*-|--hash|@ ", text)


def test_every_dependency_says_why():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text.split("dependencies = [")[1].split("[project.scripts]")[0]
    bare = [line for line in block.splitlines() if line.strip().startswith('"') and "#" not in line]
    assert not bare, f"without a reason: {bare}"


def test_readme_gives_the_two_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first_block = re.search(r"```(?:sh|bash)?\n(.*?)```", readme, re.S).group(1)
    assert [line.split("#")[0].strip()
            for line in first_block.strip().splitlines()] == ["make course", "make test"]


def test_commands_in_the_pages_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?m)^([a-z]+):", makefile))
    verbs = subprocess.run([sys.executable, "-m", "course", "--help"], capture_output=True,
                           text=True).stdout
    for page in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.S))
        unknown = set(re.findall(r"(?m)\bmake ([a-z]+)", code)) - targets
        assert not unknown, f"{page} names {unknown}"
        used = set(re.findall(r"(?m)(?:^|`|\s)labkit ([a-z]+)", code))
        assert all(re.search(rf"\b{verb}\b", verbs) for verb in used), f"{page}: labkit {used}"


def test_pages_link_to_files_that_exist():
    for page in ("README.md", "CONTRIBUTING.md"):
        for link in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text(encoding="utf-8")):
            assert "://" in link or (ROOT / link).exists(), f"{page} links to {link}"


def test_every_notebook_is_named_where_readers_look():
    pages = {name: (ROOT / name).read_text(encoding="utf-8") for name in
             ("README.md", "docs/teaching.md", "notebooks/source/00_start_here.py")}
    for source in sorted((ROOT / "notebooks" / "source").glob("[0-9][0-9]_*.py")):
        number = source.stem[:2]
        assert (f"| {number} | [" in pages["README.md"] and f"(notebooks/{source.stem}.ipynb)"
                in pages["README.md"])
        assert f"\n| {number} " in pages["docs/teaching.md"], (
            f"docs/teaching.md has no minutes for {source.stem}")
        assert f"\n# | {number} | " in pages["notebooks/source/00_start_here.py"], (
            f"00 does not list {source.stem}")


def test_lesson_pages_name_headings_and_exercises_that_exist():
    page = (ROOT / "docs" / "lessons.md").read_text(encoding="utf-8")
    lessons = {part[:2]: " ".join(part.split())
               for part in re.split(r"(?m)^## ", page) if re.match(r"\d\d ", part)}
    sources = {s.stem[:2]: s.read_text(encoding="utf-8") for s in
               (ROOT / "notebooks" / "source").glob("[0-9][0-9]_*.py")}
    assert set(lessons) == set(sources), "docs/lessons.md needs one lesson a notebook"
    for number, source in sources.items():
        headings = set(re.findall(r"(?m)^# #+ (?:\d+ · )?(.+)$", source))
        quoted = set(re.findall("“([^”]+)”", lessons[number]))
        assert quoted <= headings, f"no headings of {number}: {quoted - headings}"
        sets = re.search(r"Core: .*?exercises ([\d., ]+)\. Optional: .*?exercises:? "
                         r"(none|[\d., ]+)\.", lessons[number]).groups()
        named = [i for part in sets if part != "none" for i in part.split(", ")]
        assert sorted(named) == sorted(re.findall(r'(?m)^@exercise\("([^"]+)"\)', source)), number
        # a decimal that is no exercise would be a result, and results stand in the notebooks
        assert set(re.findall(r"\d+\.\d+", lessons[number])) <= set(named)


# The first numbering: notebook, today's chapters, its exercises by the names of their functions.
BEFORE = {
    "00_start_here": ("start_here", "probability_of_label"),
    "01_basics": ("basics", "batches_without unlearning_accuracy gap_to_retraining auc_by_ranks "
                  "best_threshold ascent_step"),
    "02_sisa": ("sisa", "place first_slices majority expected_share batch_rows"),
    "03_requests": ("requests uncertainty", "entropy ece hypergradient project "
                    "conformal_threshold"),
    "04_inversion": ("inversion", "cosine_distance total_variation leak deleted_class rebuild_row"),
    "05_verification": ("verification", "critical_value replay_error tainted_steps forging_bound"),
    "06_defences": ("desk release", "medoids threshold cusum release after_deletions"),
    "07_sparsity": ("sparsity", "magnitude_mask l1_strength masked_step mia_efficacy disparity"),
}


def test_the_page_of_new_numbers_says_where_each_exercise_is_now():
    from course.chapters import number
    from course.exercises import EXERCISES

    now, lines = {e.solution.__name__: e.id for e in EXERCISES.values()}, []
    for before, (chapters, functions) in BEFORE.items():
        moved = [f"{int(before[:2])}.{i} {name} → {now.get(name, 'gone')}"
                 for i, name in enumerate(functions.split(), 1)]
        places = ", ".join(f"{number(c)}_{c}" if number(c) != c else c for c in chapters.split())
        lines.append(f"| {before} | {places} | {'; '.join(moved)} |")
    page = (ROOT / "docs" / "renumbered.md").read_text(encoding="utf-8")
    table = "\n".join(line for line in page.splitlines() if re.match(r"\| \d\d_", line))
    assert table == "\n".join(lines), "put these lines there:\n" + "\n".join(lines)


def test_every_project_has_a_rubric_of_four_criteria():
    from course.exercises import EXERCISES

    page = (ROOT / "docs" / "lessons.md").read_text(encoding="utf-8")
    rubrics = {part[:2]: re.findall(r"(?m)^\| (it .+) \|$", part) for part in
               page.split("## Rubrics for the projects")[1].split("\n### ")[1:]}
    assert {"01", "02", "03", "04", "05", "06", "09", "10", "11", "12", "14"} <= set(rubrics)
    projects = {e.id.split(".")[0].zfill(2) for e in EXERCISES.values() if e.difficulty == 5}
    assert projects <= set(rubrics), "a project (difficulty 5) without a rubric"
    for number, criteria in rubrics.items():
        cells = [[cell.strip() for cell in row.split(" | ")] for row in criteria]
        assert len(cells) == 4 and all(len(row) == 4 and all(row) for row in cells), number
        assert all(len(set(row)) == 4 for row in cells), number


def test_readme_shows_a_first_command_for_each_reader_and_stays_short():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    before, rest = readme.split("<!-- scoreboard:begin -->")
    by_hand = before + rest.split("<!-- scoreboard:end -->")[1]
    by_hand = re.sub(r"(?s)(<!-- recap:begin -->).*(<!-- recap:end -->)", r"\1\2", by_hand)
    assert len(by_hand.splitlines()) <= 105
    for reader in ("teach", "learn", "do research"):
        command = re.search(rf"\*\*You {reader}:\*\* `([^`]+)`\n", before)
        assert command and command[1].startswith("make "), reader
    for picture in re.findall(r"!\[([^]]*)\]\(([^)]+)\)", readme):
        assert len(picture[0]) >= 40 and (ROOT / picture[1]).stat().st_size <= 80_000
    for place in ("Binder", "Colab", "dev container", "conda", "macOS, Windows", "CUDA, MPS"):
        assert f"| {place} (untested) |" in readme


def test_citation_agrees_with_the_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    # what the format demands
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert (citation["title"], str(citation["version"])) == (project["description"],
                                                             project["version"])
    assert citation["license"] == project["license"]["text"] and all(a["name"]
                                                                     for a in citation["authors"])


def test_ci_runs_the_readme_test_command():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "make test" in script.splitlines() and os.access(ROOT / ".ci" / "run", os.X_OK)


def test_devcontainer_is_json_and_calls_setup():
    settings = json.loads((ROOT / ".devcontainer"
                           / "devcontainer.json").read_text(encoding="utf-8"))
    assert settings["postCreateCommand"] == "make setup"


# The patterns are written with a [x] inside, so that they do not find themselves.
PLACES = (r"(?<![\w.}])/(?:[w]ork|[r]oot|[h]ome/\w+|[U]sers/\w+)/|[C]:\\+Users|"
          r"/[o]pt/(?:pypi|wheels)")
REGISTRIES = (r"[p]ypi\.org/simple|[f]iles\.pythonhosted|[-]-(?:extra-)?index-url[ =]|"
              r"[-]-find-links|[d]ownload\.pytorch\.org|[r]egistry\.npmjs|[a]naconda\.org|"
              r"[m]cr\.microsoft|[g]hcr\.io|[d]ocker\.io")


@pytest.mark.parametrize("pattern", [PLACES, REGISTRIES], ids=["paths", "registries"])
def test_no_file_names_a_machine(pattern):
    found = [f"{name}: {m.group(0)}" for name, text in files() if (m := re.search(pattern, text))]
    found += [name for name, text in files() if str(ROOT) in text]
    assert not found


def test_make_says_what_is_wrong_with_an_old_python(tmp_path):
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text("")
    old = tmp_path / "old python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(["make", "setup", f"PYTHON={str(old)!r}"], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode and "3.11" in done.stdout and not (tmp_path / ".venv").exists()


@pytest.mark.slow
def test_wheel_carries_its_data_and_works_alone(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d",
             str(tmp_path / "dist")]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert {"labkit/_data/fashion.npz", "labkit/_data/references.bib", "course/runs/folders.py",
            "labkit/_data/cards/fashion.yaml", "course/chapters/basics/claims.yaml",
            "course/chapters/basics/exercises.py"} <= set(names)
    assert {n.split("/")[0].split("-")[0] for n in names} == {
        "labkit", "course", "unlearning_under_attack"}
    assert wheel.stat().st_size < 10e6

    script = ("import labkit; assert labkit.__file__.startswith(SITE), labkit.__file__\n"
              "from course.claimfile import load_claims\n"
              "print(len(labkit.data.load('fashion').y), len(load_claims()) > 0)")
    (tmp_path / "empty").mkdir()

    def python(*arguments):
        return subprocess.run([sys.executable, *arguments], cwd=tmp_path / "empty",
                              capture_output=True, text=True,
                              env=os.environ | {"PYTHONPATH": str(tmp_path / "site")})

    done = python("-c", f"SITE = {str(tmp_path / 'site')!r}\n{script}")
    assert done.stdout.split() == ["6000", "True"], done.stderr
    assert python("-m", "course", "--version").stdout.startswith("labkit ")
    assert python("-m", "course", "doctor").returncode == 0
