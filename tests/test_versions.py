"""make versions: how it reads pytest's last line and writes its table; and that the table fits
pyproject.toml.
"""

import re
import subprocess

import pytest
import versions
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from test_setup import ROOT, requirements

ROWS = versions.table(versions.PAGE.read_text(encoding="utf-8"))


def bounds():
    """Name -> the lower bound of the packages that are tried, and of Python."""
    found = {}
    for name in [*versions.PACKAGES, "python"]:
        low = [s.version for s in SpecifierSet(str(requirements()[name])) if s.operator == ">="]
        assert len(low) == 1, f"{name} has no lower bound in pyproject.toml"
        found[name] = Version(low[0])
    return found


def test_the_oldest_allowed_versions_are_those_that_were_tried():
    # rows are sorted: the one of the oldest Python
    oldest = next((r for r in ROWS if r["set"] == "oldest"), None)
    assert oldest, "docs/versions.md has no row of the oldest packages: make versions"
    low = bounds()
    tried = {name: Version(oldest[name]) for name in versions.PACKAGES}
    assert tried == {n: low[n] for n in versions.PACKAGES}, "a bound has changed: make versions"
    assert Version(oldest["python"]).release[:2] == low["python"].release[:2], ("Python's bound "
                                                                                "has changed")


def test_every_row_is_allowed_and_has_passed():
    assert {r["set"] for r in ROWS if r["python"].startswith("3.11.")} == set(versions.SETS)
    for row in ROWS:
        for name in versions.PACKAGES:
            assert SpecifierSet(str(requirements()[name])).contains(row[name]), (
                f"{name} {row[name]}: make versions")
        assert (row["notebook 01"], row["failed"]) == ("ok", "0") and int(row["passed"]) > 1000, row
        assert "the same" in row["verdicts"] and re.fullmatch(r"20\d\d-\d\d-\d\d", row["date"]), row


LINES = [("== 1234 passed, 5 skipped, 40 deselected in 200.10s (0:03:20) ==", ("1234", "0", "5")),
         ("2 failed, 10 passed, 1 warning, 3 errors in 4s", ("10", "5", "0")),
         ("== 1 failed, 1 error in 4s ==", ("0", "no result", "0")),
         ("Killed", ("0", "no result", "0")),
         ("no tests ran in 0.1s", ("0", "no result", "0")),
         ("10 passed, 1 failed in 3s\nafterwards: 3 passed", ("10", "1", "0"))]


@pytest.mark.parametrize("text, wanted", LINES)
def test_counts(text, wanted):
    found = versions.counts(f"1 passed it on\n{text}\nmore")
    assert (found["passed"], found["failed"], found["skipped"]) == wanted


def test_agreement():
    lock = [{"id": "a", "verdict": "reproduced"}, {"id": "b", "verdict": "undecided"}]
    assert versions.agreement(lock, lock[::-1]) == "all 2 the same"
    assert versions.agreement(lock, [lock[0] | {"verdict": "undecided"}]) == \
        "a: undecided (lock: reproduced); b: not run (lock: undecided)"


def test_a_row_replaces_its_own_and_no_other():
    text = f"before\n{versions.BEGIN}\n{versions.END}\nafter\n"
    row = dict.fromkeys(versions.COLUMNS, "1")
    for name, python in (("newest", "3.12.1"), ("newest", "3.11.9"), ("oldest", "3.12.1"),
                         ("newest", "3.12.4")):
        text = versions.replaced(text, row | {"set": name, "python": python})
    assert [(r["set"], r["python"]) for r in versions.table(text)] == [
        ("newest", "3.11.9"), ("oldest", "3.12.1"), ("newest", "3.12.4")]
    assert (text.startswith("before\n<!--") and text.endswith("-->\nafter\n")
            and versions.table("x".join(
        [versions.BEGIN, versions.END])) == [])


def test_unknown_words_and_help(monkeypatch, capsys):
    monkeypatch.setattr(versions, "attempt", lambda *a: pytest.fail("nothing is to be tried"))
    assert (versions.main(["latest"]) == 1 and "'latest' is unknown; use oldest, newest"
            in capsys.readouterr().out)
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    assert re.search(r"^make versions +\S", shown, re.M)


def test_main_asks_for_each_pair_and_tells_what_failed(monkeypatch, capsys, tmp_path):
    page, asked = tmp_path / "page.md", []
    page.write_text(f"{versions.BEGIN}\n{versions.END}\n", encoding="utf-8")
    monkeypatch.setattr(versions, "PAGE", page)
    monkeypatch.setattr(versions, "found_pythons", lambda: {"3.11": "a", "3.12": "b"})

    def attempt(name, python, path):
        asked.append((name, python, path))
        bad = (name, python) == ("oldest", "3.12")
        return dict.fromkeys(versions.COLUMNS, "x") | {"set": name, "python": f"{python}.1",
                                                       "failed": "2" if bad else
                                                       "0", "notebook 01": "ok"}

    monkeypatch.setattr(versions, "attempt", attempt)
    assert versions.main(["newest", "3.12"]) == 0 and asked == [("newest", "3.12", "b")]
    assert (versions.main([]) == 1 and len(asked) == 5
            and len(versions.table(page.read_text(encoding="utf-8"))) == 4)
    assert versions.main(["3.11"]) == 0
