"""The labkit command: exit codes, one-line errors, and a quick --help."""

import subprocess
import sys

import pytest
from test_runner import SHOW, write_notebook

from course import cli
from course.claimfile import load_claims
from course.claims import judge


@pytest.fixture
def labkit(tmp_path, monkeypatch, capfd):
    """Calls labkit with these words in an empty folder -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        with pytest.raises(SystemExit) as stop:
            cli.main(list(map(str, words)))
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return stop.value.code or 0, out, err

    return call


def claim_cell(values):
    claim = judge(load_claims()["basics-ga-damage"], values, profile="quick")
    return SHOW + f"show(kind='claim', claim={claim!r})"


def test_runs_and_report(tmp_path, labkit):
    write_notebook(tmp_path, claim_cell([1.0, 1.1, 1.2]), name="01_good")
    write_notebook(tmp_path, "1 / 0", name="02_bad")
    write_notebook(tmp_path, "class NotForThisData(Exception): pass\nraise NotForThisData('no')",
                   name="03_skip")
    (tmp_path / "notebooks").mkdir()
    for path in tmp_path.glob("*.ipynb"):
        path.rename(tmp_path / "notebooks" / path.name)
    code, out, err = labkit("run", "all", "-p", "rate", "0.25", "-p", "names", "[x]", "--seed", 2)
    assert code == 1  # one failed, the others ran
    assert "01_good: ok" in out and "02_bad: failed" in out and "03_skip: skipped" in out
    assert "labkit: 02_bad: ZeroDivisionError: division by zero (cell 3)\n" in err
    assert all(line.startswith("labkit: ") for line in err.splitlines())
    # a skipped one is no failure, but is said
    code, out, _ = labkit("run", "01", "03", "01.ipynb", "--seed", 3)
    assert code == 0 and out.count("01_good: ok") == 1  # named twice, it runs once
    assert len(list((tmp_path / "runs").iterdir())) == 5

    (tmp_path / "README.md").write_text("<!-- scoreboard:begin -->\n<!-- scoreboard:end -->\n",
                                        encoding="utf-8")
    code, out, err = labkit("report", "--readme", "README.md")
    assert code == 0 and "02_bad" in out and "reproduced" in out
    markdown = (tmp_path / "runs" / "scoreboard.md").read_text(encoding="utf-8")
    assert "| basics-ga-damage |" in markdown and "| reproduced | quick |" in markdown
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert markdown.strip().replace("](01-quick",
                                    "](runs/01-quick") in readme and "](runs/01-quick" in readme
    for name in ("scoreboard.html", "scoreboard.csv", "references.bib"):
        assert (tmp_path / "runs"
                / name).exists() and f"runs/{name}" in out.replace("\n", "").replace("\\", "/")
    assert labkit("report", "runs", "--out", "site")[0] == 0
    assert (tmp_path / "site" / "scoreboard.md").exists()


@pytest.mark.parametrize("words, text", [
    (["run", "99"], "labkit: There is no notebook '99'"),
    (["run", "01", "--profile", "quik"], "did you mean 'quick'"),
    (["run", "01", "-p", "epoch", "3"], "did you mean 'epochs'"),
    (["run", "01", "-p", "epochs", "fast"], "must be of the type int"),
    (["run", "01", "-p", "epochs", "[1"], "cannot be read"),
    (["run", "01", "-p", "epochs"], "has no value"),
    (["report"], "nothing at 'runs'"),
    (["report", "notebooks", "--readme", "none.md"], "labkit: 'none.md' cannot be read"),
])
def test_bad_input_is_one_line_and_two(tmp_path, labkit, words, text):
    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path / "notebooks", "1")
    code, out, err = labkit(*words)
    assert code == 2 and text in err and err.startswith("labkit: ") and err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_nothing_runs_when_one_of_several_is_refused(tmp_path, labkit):
    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path / "notebooks", "1")
    write_notebook(tmp_path / "notebooks", "1", name="02_bare", parameters="size = 1")
    code, _, err = labkit("run", "01", "02", "-p", "epochs", "5")
    assert code == 2 and "02_bare has no parameter 'epochs'" in err and not (tmp_path
                                                                             / "runs").exists()


@pytest.mark.parametrize("words", [["rum"], ["run"], ["run", "01", "--sed", "3"],
                                   ["run", "01", "--seed", "x"],
                                   ["run", "01", "-p"]])
def test_bad_usage_is_two(labkit, words):
    code, _, err = labkit(*words)
    assert code == 2 and err


def test_version(labkit):
    code, out, _ = labkit("--version")
    assert code == 0 and out.startswith("labkit 0.")


def test_doctor(labkit, monkeypatch):
    code, out, _ = labkit("doctor")
    lines = out.splitlines()
    assert all(line.startswith(("ok     ", "problem")) for line in lines) and len(lines) == 7
    assert code == ("problem" in out)
    for word in ("Python 3", "torch 2", "torchvision", "device", "disk", "data", "kernel python3"):
        assert word in out
    monkeypatch.setitem(sys.modules, "torchvision.ops", None)
    assert ("torchvision does not load (ModuleNotFoundError): install the one made for your torch"
            in labkit("doctor")[1])
    monkeypatch.setattr("course.doctor._data", lambda: 1 / 0)
    code, out, _ = labkit("doctor")
    assert code == 1 and "division by zero" in out


def test_help_imports_nothing_heavy():
    stub = ("import sys; from course import cli\n"
            "try: cli.main(['run', '--help'])\n"
            "except SystemExit: pass\n"
            "assert not {'torch', 'numpy', 'pandas', 'papermill', 'nbformat', 'scipy'} & "
            "set(sys.modules)")
    done = subprocess.run([sys.executable, "-c", stub], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "NOTEBOOK" in done.stdout
