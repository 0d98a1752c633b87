"""The recap: each cell is a part of a claim that exists, and the page is what the records say."""

import re
import runpy
from pathlib import Path

import pytest

from course.claimfile import load_claims

ROOT = Path(__file__).resolve().parents[1]
RECAP = runpy.run_path(str(ROOT / "site" / "recap.py"))
CLAIMS = load_claims()
GIVEN = RECAP["read"]()
ENTRIES = [(row["attack"], column, entry) for row in GIVEN["attacks"]
           for column in row if column != "attack" for entry in row[column]]


@pytest.mark.parametrize(("attack", "column", "entry"), ENTRIES,
                         ids=[entry["part"] for _, _, entry in ENTRIES])
def test_an_entry_names_a_part_that_exists_and_no_number(attack, column, entry):
    id, _, name = entry["part"].partition("/")
    assert name in [part.name for part in CLAIMS[id].parts]
    assert column in GIVEN["columns"] and set(entry) <= {"part", "favours", "how", "measure"}
    assert entry["favours"] in ("attacker", "defender")
    words = f"{attack} {entry.get('how', '')} {entry['measure']}"
    assert not re.search(r"\d", words.replace("AUC from 0.5", "").replace("less 0.5", "")), words


def test_no_part_stands_in_two_places_and_no_two_lines_look_alike():
    parts = [entry["part"] for _, _, entry in ENTRIES]
    assert len(parts) == len(set(parts)) >= 40
    places = [(attack, column, entry.get("how")) for attack, column, entry in ENTRIES]
    assert len(places) == len(set(places))


def test_the_page_is_what_the_committed_records_say():
    page = (ROOT / "docs" / "recap.md").read_text(encoding="utf-8")
    assert page == RECAP["page"](), "run 'python site/recap.py'"
    rows = [line for line in page.splitlines() if line.startswith("| **")]
    assert len(rows) == len(GIVEN["attacks"])
    assert all(row.count(" | ") == len(GIVEN["columns"]) for row in rows)
    for link in re.findall(r"\]\(([^)#]+)", page):
        assert (ROOT / "docs" / link).is_file(), link


def test_the_readme_has_the_recap_in_short_a_letter_a_part():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text.split(RECAP["BLOCK"][0])[1].split(RECAP["BLOCK"][1])[0].strip()
    assert block == RECAP["in_short"]().strip(), "run 'python site/recap.py'"
    rows = [line.strip("| ").split(" | ") for line in block.splitlines()[2:]]
    assert len(rows) == len(GIVEN["attacks"])
    for cells, row in zip(rows, GIVEN["attacks"], strict=True):
        for column, cell in zip(GIVEN["columns"], cells[1:], strict=True):
            assert set(cell) <= set("AD?·– "), cell
            assert len(cell.split()) == max(1, len(row.get(column, [])))


@pytest.mark.parametrize(("verdict", "side"), [
    ("reproduced", "attacker"), ("passed", "attacker"), ("not reproduced", "defender"),
    ("failed", "defender"), ("undecided", "open"), ("report", "reported"), ("too few", "too few")])
def test_a_verdict_speaks_for_one_side_or_nobody(verdict, side):
    assert RECAP["speaks_for"](verdict, "attacker") == side
    swapped = {"attacker": "defender", "defender": "attacker"}.get(side, side)
    assert RECAP["speaks_for"](verdict, "defender") == swapped


def test_a_line_says_what_its_record_says():
    entry = {"part": "req-label/exact", "favours": "attacker", "measure": "flips", "how": "so"}
    claim = CLAIMS["req-label"]
    rule = claim.parts[1]
    part = {"name": "exact", "kind": "effect", "n": 9, "mean": 0.2, "low": 0.111, "high": 0.289,
            "verdict": "reproduced", "values": []}
    said = RECAP["line"](entry, claim, rule, {"parts": [{"name": "first-order"}, part], "runs": 5})
    assert said.startswith("so: **attacker** 0.20 [0.11, 0.29], reproduced [0")
    missed = {"parts": [part | {"verdict": "not reproduced"}], "runs": 5}
    assert "**defender**" in RECAP["line"](entry, claim, rule, missed)
    assert RECAP["line"](entry, claim, rule, None) == "so: *not run*"
    shown = RECAP["details"](entry, claim, rule, missed)
    assert shown == ["flips", "above 0", "9 targets in 5 runs", "req-label, exact"]


def test_readers_are_led_to_it():
    assert "\ndocs/recap\n" in (ROOT / "site" / "index.md").read_text(encoding="utf-8")
    for page, link in (("README.md", "docs/recap.md"), ("docs/teaching.md", "recap.md")):
        assert f"({link})" in (ROOT / page).read_text(encoding="utf-8")
    assert "site/recap.py" in (ROOT / "Makefile").read_text(encoding="utf-8")
