"""The two packages: who may import whom, how thick they may be, and that chapters are found by
their folders.
"""

import ast
from pathlib import Path

import jupytext
import pytest

from course.chapters import chapters

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "notebooks" / "source").glob("*.py"))
LABKIT = sorted((ROOT / "labkit").rglob("*.py"))
COURSE = sorted((ROOT / "course").rglob("*.py"))
# Who may import whom inside course: a place, and what of course it may use. Chapters follow a rule
# of their own.
ALLOWED = {
    "chapters/__init__": set(),
    "claimfile": {"chapters"},
    "claims": {"chapters", "claimfile"},
    "words": {"claimfile", "runs"},
    "pooling": {"claimfile", "claims", "runs"},
    "figures": set(),
    "widgets": set(),
    "doctor": set(),
    "exercises": {"chapters"},
    "lab": {"chapters", "claimfile", "claims", "pooling", "runs", "words"},
    "runs": {"chapters", "claimfile", "claims"},
    "report": {"chapters", "claimfile", "pooling", "runs", "words"},
    "grading": {"chapters", "exercises", "runs"},
    "cli": {"claimfile", "doctor", "grading", "report", "runs"},
}


def imported(path):
    """Every module that a file imports, dotted; `from course import lab` counts as course.lab."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{a.name}" for a in node.names)


def place(path):
    parts = path.relative_to(ROOT / "course").with_suffix("").parts
    return "/".join(parts) if parts[:2] == ("chapters", "__init__") else parts[0]


def test_labkit_knows_no_notebook():
    found = {(p.name, m) for p in LABKIT for m in imported(p) if m.split(".")[0] == "course"}
    assert not found
    assert any(m.startswith("labkit.training") for p in LABKIT
               for m in imported(p)), "it reads imports"


@pytest.mark.parametrize("path", [p for p in COURSE if p.name not in ("__main__.py",)
                                  and p.parent.name != "course"
                                  or p.stem in ALLOWED],
                         ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_point_down_only(path):
    used = {m.split(".")[1] for m in imported(path) if m.startswith("course.")}
    parts = path.relative_to(ROOT / "course").parts
    # a chapter: itself, and exercises what an exercise is made of
    if parts[0] == "chapters" and len(parts) == 3:
        used = {m for m in imported(path) if m.startswith("course.")}
        own = f"course.chapters.{parts[1]}"
        allowed = ("course.exercises",) if path.stem.startswith("exercises") else ()
        assert all((m + ".").startswith((own + ".", *allowed)) or m in ("course.chapters",)
                   for m in used), used
        return
    here = place(path)
    own = here.split("/")[0]
    assert used - {own} <= ALLOWED[here], (f"{path.name} imports "
                                           f"{sorted(used - {own} - ALLOWED[here])}")


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_a_notebook_uses_its_own_chapter_only(source):
    code = "\n".join(c.source for c in jupytext.read(source).cells if c.cell_type == "code")
    tree = ast.parse(code)
    used = {f"{n.module}.{a.name}" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)
            and (n.module or "").startswith("course") for a in n.names}
    own = f"course.chapters.{source.stem[3:]}"
    free = {f"course.{name}" for name in ("Lab", "exercise", "figures",
                                          "widgets")} | {"course.doctor.checks"}
    assert all(m in free or (m + ".").startswith(own + ".") for m in used), used
    assert source.stem[3:] in chapters(), f"course/chapters/{source.stem[3:]} has no claims.yaml"


def test_what_is_used_elsewhere_has_a_public_name():
    """A leading underscore says that no other package calls it."""
    found = [f"{p.name}: {a.name}" for p in COURSE + SOURCES
             for n in ast.walk(ast.parse(p.read_text(encoding="utf-8")))
             if isinstance(n, ast.ImportFrom) and (n.module or "").split(".")[0] == "labkit"
             for a in n.names if a.name.startswith("_") and not a.name.startswith("__")]
    assert not found


def names_in(tree):
    return ({n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
            | {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)})


def named(tree):
    """{(module, name)} of `from module import name` and `module.name`, the module's last part: an
    attribute of a table and another module's function may have the name, too.
    """
    for n in ast.walk(tree):
        if isinstance(n, ast.ImportFrom):
            yield from (((n.module or "").split(".")[-1], a.name) for a in n.names)
        elif isinstance(n, ast.Attribute):
            yield getattr(n.value, "attr", getattr(n.value, "id", "")), n.attr


def test_what_one_chapter_alone_uses_stands_in_that_chapter():
    """A public function of a verb is named by two chapters, by METHODS or by labkit itself, or it
    moves down.
    """
    from labkit.unlearn import METHODS

    by_chapter = {s.stem[3:]: set() for s in SOURCES}
    for source in SOURCES:
        for cell in (c for c in jupytext.read(source).cells if c.cell_type == "code"):
            by_chapter[source.stem[3:]] |= set(named(ast.parse(cell.source)))
    for path in COURSE:
        parts = path.relative_to(ROOT / "course").parts
        if parts[0] == "chapters" and len(parts) == 3 and parts[1] in by_chapter:
            by_chapter[parts[1]] |= set(named(ast.parse(path.read_text(encoding="utf-8"))))
    trees = {p: ast.parse(p.read_text(encoding="utf-8")) for p in LABKIT if p.name != "__init__.py"}
    lonely = []
    for path, tree in trees.items():
        if path.parent == ROOT / "labkit":  # the ground
            continue
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            it = {(path.stem, node.name), (path.parent.name, node.name)}
            beside = set().union(*(names_in(n) for n in tree.body if n is not node))
            in_labkit = node.name in beside or any(it & set(named(t)) for t in trees.values())
            chapters_with = [c for c, names in by_chapter.items() if it & names]
            # what an attacker may hold stays together, with the test of it
            if node.name == "UnlearningOracle":
                continue
            if len(chapters_with) < 2 and node.name not in METHODS and not in_labkit:
                lonely.append(f"{path.relative_to(ROOT)}: {node.name} "
                              f"({', '.join(chapters_with) or 'nobody'})")
    assert not lonely, "\n".join(lonely)


def lines_of(paths):
    return sum(len(p.read_text(encoding="utf-8").splitlines()) for p in paths)


def test_the_packages_are_thin():
    inside = [p for p in COURSE if p.relative_to(ROOT / "course").parts[0] == "chapters"]
    exercises = [p for p in inside if p.stem.startswith("exercises")]
    assert lines_of(LABKIT) <= 4500  # with all seventeen notebooks
    assert lines_of(set(COURSE) - set(inside)) <= 3860  # 3,000 was the aim; what is left is used
    assert lines_of(exercises) <= 8000  # some 450 a notebook


@pytest.mark.parametrize("path", LABKIT + COURSE, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_module_can_be_read(path):
    text = path.read_text(encoding="utf-8")
    assert max(map(len, text.splitlines()), default=0) <= 100, "a line over 100 columns"
    tree = ast.parse(text)
    if not path.stem.startswith("exercises"):
        assert len(text.splitlines()) <= 250, "a module over 250 lines"
        public = [n.name for n in tree.body if isinstance(n, ast.FunctionDef) and n.name[0] != "_"]
        assert len(public) <= 13, f"{len(public)} public functions"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 40, (
                f"{node.name} has {node.end_lineno - node.lineno + 1} lines")


def test_no_list_of_chapters_stands_elsewhere():
    """Three chapters' names in one module of course or labkit would be such a list."""
    # words that mean other things too
    names = [n for n in chapters() if n not in ("sisa", "requests")]
    for path in LABKIT + [p for p in COURSE if "chapters" not in p.parts]:
        text = path.read_text(encoding="utf-8")
        assert sum(f'"{n}"' in text or f"_{n}" in text for n in names) < 3, path.name
