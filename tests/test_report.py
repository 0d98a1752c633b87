"""labkit report: records from run folders and notebooks, pooled over seeds; the scoreboard in
Markdown and HTML.
"""

import csv
import io
import json
import re
from pathlib import Path

import nbformat
import pytest

from course.claimfile import Part, cited, load_claims
from course.claims import judge
from course.report import (
    COLUMNS,
    collect,
    parts_table,
    runs_table,
    scoreboard,
    to_html,
    to_markdown,
    update_readme,
    write_table,
)
from course.words import in_words, parts_held
from labkit.base import LabError, data_path

DAMAGE = load_claims()["basics-ga-damage"]


def record(seed=0, values=(1.0, 1.1, 1.2), units=None, claim=DAMAGE, **changes):
    parameters = {"profile": "quick", "dataset": "fashion",
                  "seed": seed} | changes.pop("parameters", {})
    judged = judge(claim, values if isinstance(values, dict) else list(values),
                   profile=parameters["profile"],
                   units=units)
    return {"notebook": "01_basics", "status": "ok", "error": None, "parameters": parameters,
            "seconds": 41.5,
            "cpu_seconds": 80.2, "peak_mb": 512.0, "labkit": "aaa", "notebook_hash": "nnn",
            "data": "ddd",
            "versions": {}, "device": "cpu", "started": "2025-01-01T00:00:00+00:00", "records": {},
            "claims": [judged]} | changes


def save(folder, content):
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(content if isinstance(content, str)
                                        else json.dumps(content), encoding="utf-8")
    return folder


def executed(path, content, error=None):
    """An executed notebook whose outputs carry the record's claims."""
    outputs = [nbformat.v4.new_output("display_data", data={"application/vnd.labkit+json": b,
                                                            "text/plain": "."})
               for b in [{"kind": "setup", "data": "ddd", "versions": {}, "device": "cpu"}]
               + [{"kind": "claim", "claim": c} for c in content["claims"]]]
    if error:
        outputs.append(nbformat.v4.new_output("error", ename=error, evalue="no\nimages",
                                              traceback=["Traceback"]))
    source = "\n".join(f"{k} = {v!r}" for k, v in content["parameters"].items())
    node = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("lab", outputs=outputs, execution_count=2)])
    nbformat.write(node, path)
    return path


def rows(table, claim="basics-ga-damage"):
    return [r for _, r in table[table["claim"] == claim].iterrows()]


# ------------------------------------------------------------------ collecting


def test_records_of_run_folders_and_notebooks(tmp_path):
    save(tmp_path / "runs" / "01-a", record(0))
    save(tmp_path / "runs" / "01-b", record(1))
    save(tmp_path / "runs" / ".tmp-01-c-77-ab12cd34", record(2))
    executed(tmp_path / "runs" / "01_basics.ipynb", record(5))
    found = collect([tmp_path / "runs"])
    assert [r["parameters"].get("seed") for r in found] == [5, 0, 1, None]
    assert (found[3]["status"], found[3]["notebook"], found[3]["claims"]) == ("lost", "01-c", [])
    assert found[0]["claims"] == record(5)["claims"] and found[0]["data"] == "ddd"
    assert [r["parameters"]["seed"] for r in collect(tmp_path / "runs" / "01-a")] == [0]
    assert [r["parameters"]["seed"]
            for r in collect([tmp_path / "runs" / "01-a" / "record.json"])] == [0]
    with pytest.raises(LabError, match="nothing at"):
        collect([tmp_path / "none"])


def test_damaged_records_are_reported_and_not_fatal(tmp_path):
    runs = tmp_path / "runs"
    save(runs / "01-a", record(0))
    save(runs / "01-b", '{"notebook": "01_basics", ')
    save(runs / "01-c", {"notebook": "01_basics", "status": "ok"})
    save(runs / "01-d", "[]")
    save(runs / "01-e",
         record(1) | {"claims": [{"id": "basics-ga-damage", "profile": "quick", "parts": [{}]}]})
    (runs / "01-f").mkdir()
    executed(runs / "01-f" / "01_basics.ipynb", record(3))  # half a run: no record.json
    (runs / "02_x.ipynb").write_text("{", encoding="utf-8")
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]),
                   runs / "03_x.ipynb")
    found = collect([runs])
    assert [r["status"] for r in found].count("damaged") == 7
    table = scoreboard(found)
    assert rows(table)[0]["verdict"] == "reproduced"
    notes = "\n".join(table.attrs["notes"])
    for text in ("01-b: damaged", "01-c: damaged", "lacks 'parameters'", "01-f: damaged",
                 "no record.json",
                 "02_x: damaged", "03_x: damaged", "not executed"):
        assert text in notes
    assert "Traceback" not in notes
    assert len(runs_table(found)) == 8


# ------------------------------------------------------------------ the scoreboard


def test_every_claim_is_in_the_table_and_seeds_are_pooled():
    table = scoreboard([record(0, units=[1, 2, 3]), record(1, (1.3, 1.4, 1.5), units=[4, 5, 6])])
    assert list(table.columns) == COLUMNS
    assert list(table["claim"]) == list(load_claims())
    row, = rows(table)
    pooled = judge(DAMAGE, [1.0, 1.1, 1.2, 1.3, 1.4, 1.5], profile="quick")["parts"][0]
    assert (row["verdict"], row["n"]) == ("reproduced", "6 seeds in 2 runs")
    assert row["ours"] == in_words(pooled, DAMAGE.parts[0])
    assert (row["notebook"], row["profile"], row["dataset"]) == ("01", "quick", "fashion")
    assert row["paper's figure"] == DAMAGE.figure and row["says"] == DAMAGE.says
    assert set(table[table["claim"] != "basics-ga-damage"]["verdict"]) == {"not run"}
    assert table.attrs["notes"] == []


def test_too_few_alone_enough_together():
    assert rows(scoreboard([record(0, [1.0, 1.1])]))[0]["verdict"] == "too few"
    assert rows(scoreboard([record(s, [1.0 + s / 10])
                            for s in range(3)]))[0]["verdict"] == "reproduced"


def test_repeated_seeds_are_refused():
    with pytest.raises(LabError, match="two records of the seed 0"):
        scoreboard([record(0), record(0)])
    with pytest.raises(LabError, match="unit 3 is there twice"):
        scoreboard([record(0, units=[1, 2, 3]), record(1, units=[3, 4, 5])])


def test_configurations_have_their_own_rows():
    other = record(0, parameters={"dataset": "digits"})
    narrow = record(0, parameters={"width": 8})
    wide = record(0, parameters={"width": 16})
    found = rows(scoreboard([record(0), other]))
    assert [(r["dataset"], r["n"]) for r in found] == [("fashion", "3 seeds"),
                                                       ("digits", "3 seeds")]
    assert [r["dataset"] for r in rows(scoreboard([narrow, wide]))] == ["fashion, width=8",
                                                                        "fashion, width=16"]


def test_only_the_newest_code_counts_and_the_note_says_so():
    old = [record(s, (-1.0, -1.1, -1.2), labkit="old", started="2024-01-01") for s in (0, 1)]
    table = scoreboard([*old, record(0)])
    row, = rows(table)
    assert (row["verdict"], row["n"]) == ("reproduced", "3 seeds")
    assert any("2 older records" in n for n in table.attrs["notes"])


def test_failed_and_skipped_runs_are_listed_and_not_counted(tmp_path):
    failed = record(1, status="failed", error="ValueError: no (cell 3)")
    skipped = executed(tmp_path / "05_inversion.ipynb", record(0), error="NotForThisData")
    table = scoreboard([failed, *collect([skipped])])
    assert rows(table)[0]["verdict"] == "not run"
    assert table.attrs["notes"] == [
        "01_basics (profile quick, dataset fashion, seed 1): failed. ValueError: no (cell 3)",
        "05_inversion (profile quick, dataset fashion, seed 0): skipped. NotForThisData: no images "
        "(cell 2)"]


def test_a_record_of_other_parts_is_left_out_with_a_note():
    older = record(0)
    older["claims"][0]["parts"][0]["name"] = "harm"
    table = scoreboard([older, record(1)])
    row, = rows(table)
    assert row["n"] == "3 seeds" and "basics-ga-damage had other parts" in table.attrs["notes"][0]


def test_unknown_claims_are_left_out_with_a_note():
    r = record(0)
    r["claims"][0]["id"] = "gone"
    assert "gone" in scoreboard([r]).attrs["notes"][0]


def test_conjunctions_checks_and_reports_are_shown():
    claims = load_claims()
    mia = record(0, {"original": [0.1, 0.11, 0.12], "retrained": [-0.05, 0.0, 0.05],
                     "removed": [0.1, 0.1, 0.12]}, claim=claims["basics-mia"])
    exact = record(0, {"bitwise": [True] * 19 + [False], "needs-optimiser": [True]},
                   claim=claims["sisa-exact"],
                   notebook="02_sisa")
    arch = record(0, {"mlp": [3.0, 4.0, 5.0], "strided_cnn": ["a"], "small_cnn": []},
                  claim=claims["inv-arch"],
                  notebook="05_inversion")
    table = scoreboard([mia, exact, arch])
    row, judged = rows(table, "basics-mia")[0], mia["claims"][0]
    decisive = next(p for p in judged["parts"] if p["name"] == "retrained")
    words = in_words(decisive, claims["basics-mia"].parts[1])
    assert row["verdict"] == judged["verdict"] == "undecided"
    assert (row["ours"]
            == f"retrained {words}; a margin of ± {decisive['detectable']:.2g} would have been "
               f"shown")
    assert row["holds"] == parts_held(judged, claims["basics-mia"])
    assert rows(table, "sisa-exact")[0]["ours"] == "bitwise 19 of 20 hold"
    assert rows(table, "sisa-exact")[0]["verdict"] == "failed"
    assert (rows(table, "inv-arch")[0]["ours"]
            == "mlp 4 [2, 6]; strided_cnn 1 figure; small_cnn nothing")
    assert rows(table, "inv-arch")[0]["verdict"] == "report"


@pytest.mark.parametrize("mean, half, text", [(61.384, 2.1, "61 [59, 63]"),
                                              (0.61384, 0.021, "0.61 [0.59, 0.63]"),
                                              (0.61384, 0.012, "0.614 [0.602, 0.626]"),
                                              (1234.5, 300, "1234 [934, 1534]"),
                                              (1.5, 0, "1.50 [1.50, 1.50]")])
def test_as_many_digits_as_the_interval_supports(mean, half, text):
    judged = {"kind": "effect", "mean": mean, "low": mean - half, "high": mean + half, "n": 3}
    assert in_words(judged, DAMAGE.parts[0]) == text


def test_a_rounded_end_never_lies_on_the_line_that_decides():
    judged = {"kind": "effect", "mean": 0.5, "low": 0.04, "high": 0.96, "n": 3}
    assert in_words(judged, Part("a", "effect", "", bound=0.0)) == "0.50 [0.04, 0.96]"
    assert in_words(judged, Part("a", "effect", "", bound=0.5)) == "0.5 [0.0, 1.0]"
    assert in_words(judged | {"kind": "equivalence"}, Part("a", "equivalence", "",
                                                           margin=1.0)) == "0.50 [0.04, 0.96]"


# ------------------------------------------------------------------ drawing


def test_markdown_and_html_hold_everything():
    table = scoreboard([record(0), record(1, status="failed",
                                          error="ValueError: a | <b> (cell 1)")])
    markdown = to_markdown(table)
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(lines) == len(table) + 2
    assert all(line.replace("\\|", "").count("|") == len(COLUMNS) + 1 for line in lines)
    assert "- 01_basics (profile quick, dataset fashion, seed 1): failed." in markdown
    page = to_html(table)
    assert page.startswith("<!DOCTYPE html>") and "<b>" not in page and "&lt;b&gt;" in page
    assert 'background:#0072B2;color:#FFFFFF">reproduced</td>' in page and ">not run</td>" in page
    # nothing is fetched from elsewhere
    assert "http" not in page.replace("https://", "http").split("<body>")[0]
    assert "<script" not in page and "<link" not in page


def test_rows_link_to_the_executed_notebook_of_their_first_run(tmp_path):
    for seed in (0, 1):
        executed(save(tmp_path / "my runs" / f"01-s{seed}", record(seed)) / "01_basics.ipynb",
                 record(seed))
    # its notebook is gone
    save(tmp_path / "my runs" / "01-wide", record(0, parameters={"width": 9}))
    table = scoreboard(collect(tmp_path / "my runs"))
    linked = [line for line in to_markdown(table, tmp_path / "my runs").splitlines()
              if line.startswith("| [")]
    assert len(linked) == 1 and linked[0].startswith("| [01](01-s0/01_basics.ipynb) | "
                                                     "basics-ga-damage |")
    assert "| [01](my%20runs/01-s0/01_basics.ipynb) |" in to_markdown(table, tmp_path)
    assert '<td><a href="../my%20runs/01-s0/01_basics.ipynb">01</a></td>' in to_html(table, tmp_path
                                                                                     / "site")
    assert str(tmp_path) not in to_markdown(table, tmp_path) + to_html(table, tmp_path)
    alone = scoreboard(collect(executed(tmp_path / "01_basics.ipynb", record(0))))
    assert "| [01](01_basics.ipynb) | basics-ga-damage |" in to_markdown(alone, tmp_path)


def test_a_changed_predicate_has_its_mark_and_its_note():
    table = scoreboard([])
    for claim in load_claims().values():
        row, = rows(table, claim.id)
        assert row["says"].endswith("†") == bool(claim.changed)
        assert sum(n.startswith(f"† {claim.id}:")
                   for n in table.attrs["changed"]) == len(claim.changed)


# ------------------------------------------------------------------ for programs


def test_csv_has_a_row_for_each_part_and_configuration(tmp_path):
    claims = load_claims()
    mia = {"original": [0.1, 0.11, 0.12], "retrained": [-0.05, 0.0, 0.05],
           "removed": [0.1, 0.1, 0.12]}
    exact = record(0, {"bitwise": [True] * 19 + [False], "needs-optimiser": [True]},
                   claim=claims["sisa-exact"],
                   notebook="02_sisa")
    records = [record(0, mia, units=[1, 2, 3], claim=claims["basics-mia"]),
               record(1, mia, units=[4, 5, 6], claim=claims["basics-mia"]),
               record(0, mia, claim=claims["basics-mia"], parameters={"dataset": "digits",
                                                                      "rate": 0.5}), exact]
    table = parts_table(records)
    assert len(table) == sum(len(c.parts) for c in claims.values()) + 3
    written = write_table(tmp_path, "scoreboard", table)
    assert (written[0] == tmp_path / "scoreboard.csv"
            and len(list(tmp_path.iterdir())) == len(written))
    rows = list(csv.DictReader(io.StringIO(written[0].read_text(encoding="utf-8"))))
    fashion, digits = (r for r in rows if (r["claim"], r["part"]) == ("basics-mia", "original"))
    pooled = judge(claims["basics-mia"], {k: v * 2 for k, v in mia.items()},
                   profile="quick")["parts"][0]
    assert ([float(fashion[k]) for k in ("mean", "low", "high")]
            == [pooled[k] for k in ("mean", "low", "high")])
    assert ((fashion["n"], fashion["unit"], fashion["seeds"], fashion["dataset"])
            == ("6", "seed", "0 1", "fashion"))
    assert (fashion["verdict"], fashion["claim_verdict"]) == ("reproduced", "undecided")
    assert ((fashion["labkit"], fashion["notebook_hash"], fashion["kind"])
            == ("aaa", "nnn", "effect"))
    assert (fashion["paper"] == claims["basics-mia"].paper
            and fashion["paper_figure"] == claims["basics-mia"].figure)
    assert (digits["dataset"], json.loads(digits["parameters"])) == ("digits", {"rate": 0.5})
    check = next(r for r in rows if (r["claim"], r["part"]) == ("sisa-exact", "bitwise"))
    assert ((float(check["mean"]), check["low"], check["n"], check["verdict"])
            == (0.95, "", "20", "failed"))
    idle = next(r for r in rows if r["claim"] == "inv-approx")
    assert (idle["verdict"], idle["mean"], idle["n"], idle["seeds"]) == ("not run", "", "0", "")


def test_parquet_holds_the_same_where_pyarrow_is(tmp_path):
    pytest.importorskip("pyarrow")
    import pandas as pd

    table = parts_table([record(0)])
    pd.testing.assert_frame_equal(pd.read_parquet(write_table(tmp_path, "scoreboard", table)[1]),
                                  table,
                                  check_dtype=False)


BIB = data_path("references.bib").read_text(encoding="utf-8")


def entries():
    """Key -> its fields, of data/references.bib."""
    found = re.findall(r"(?ms)^@(?:article|inproceedings|misc)\{([a-z]+\d{4}[a-h]?),$(.*?)^\}$",
                       BIB)
    assert len(found) == len({key for key, _ in found}) == BIB.count("@") == BIB.count("\n}\n")
    return {key: dict(re.findall(r"(?m)^  (\w+) = \{(.*)\},?$", text)) for key, text in found}


def test_everything_that_is_cited_has_a_bibtex_entry():
    papers = cited()
    assert len(papers) == len(set(papers)) == len(entries())
    for words in papers:
        assert BIB.count("{Cited here as " + words.replace("&", "\\&") + "}") == 1
    claimed = {c.paper for c in load_claims().values()} - {"new here"}
    assert claimed <= set(papers)
    sources, named = (Path(__file__).parents[1] / "notebooks" / "source").glob("*.py"), set()
    for path in sources:
        prose = path.read_text(encoding="utf-8").replace("\n# ", " ")
        for words in re.findall(r"[A-Z]\w+(?: et al\.| and [A-Z]\w+) (?:19|20)\d\d", prose):
            found = {name for name in papers if name.startswith(words)}
            assert found, f"{path.name}: {words} is not in references.bib"
            named |= found
    assert named | claimed == set(papers), "an entry that nothing cites"


def test_bibtex_entries_have_no_empty_field_and_balanced_braces():
    assert "{}" not in BIB and "None" not in BIB
    assert all(entry.count("{") == entry.count("}") for entry in BIB.split("\n\n"))
    for key, fields in entries().items():
        assert fields["author"] and "annote" in fields
        assert key.rstrip("abcdefgh").endswith(fields["year"])
        assert ("title" in fields) != fields.get("note", "").startswith("Known for: "), key
        text = " ".join(v for k, v in fields.items() if k not in ("url", "doi", "eprint"))
        assert not re.search(r"(?<!\\)[&%$#_]", text), f"{key}: a character of LaTeX"
    jia = BIB[BIB.index("{jia2023"):].split("\n}")[0]
    for line in ("author = {Jia and Liu and Ram and",
                 "title = {{Model Sparsity Can Simplify Machine Unlearning}}",
                 "booktitle = {NeurIPS}", "eprint = {2304.04934}", "archiveprefix = {arXiv}"):
        assert line in jia


def test_readme_block_is_replaced(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# Course\n<!-- scoreboard:begin -->\nold\n<!-- scoreboard:end -->\nEnd.\n",
                      encoding="utf-8")
    for _ in range(2):
        update_readme(readme, "| a |\n")
        assert readme.read_text(encoding="utf-8") == (
            "# Course\n<!-- scoreboard:begin -->\n| a |\n<!-- scoreboard:end -->\nEnd.\n")
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]
    readme.write_text("# Course\n", encoding="utf-8")
    with pytest.raises(LabError, match="scoreboard:begin"):
        update_readme(readme, "x")
    with pytest.raises(LabError, match="cannot be read"):
        update_readme(tmp_path / "none.md", "x")
