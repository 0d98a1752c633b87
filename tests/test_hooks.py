"""What pre-commit looks at: it needs no network, passes this repository, and names each fault that
is planted.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ".pre-commit-config.yaml"
SOURCE = "# %% [markdown]\n# # Tiny\n\n# %%\n1 + 1\n"
WIDGET_STATE = {"application/vnd.jupyter.widget-state+json": {"state": {}}}


@pytest.fixture
def call(tmp_path):
    """call(folder, words …): run a command there without a network: no proxy answers, git speaks to
    files only.
    """
    away = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"),
                         "http://127.0.0.1:9")
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    git = {k: v for who in ("AUTHOR", "COMMITTER") for k, v in
           ((f"GIT_{who}_NAME", "nobody"), (f"GIT_{who}_EMAIL", "nobody@example.org"))}
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | away | git | {
        "PATH": here, "PRE_COMMIT_HOME": str(tmp_path / "cache"), "PIP_NO_INDEX": "1",
        "GIT_ALLOW_PROTOCOL": "file",
        "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}

    def run(folder, *words):
        return subprocess.run(words, cwd=folder, env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)

    return run


def started(call, folder, names):
    """A new repository in folder with these files of ours, staged."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    assert call(folder, "git", "init", "--quiet").returncode == 0
    assert call(folder, "git", "add", "--all").returncode == 0
    return folder


def test_hooks_are_local_and_install_nothing():
    config = yaml.safe_load((ROOT / CONFIG).read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {h["id"] for h in hooks} == {"ruff", "notebooks", "large-files"}
    assert all(h["language"] == "system" and "additional_dependencies" not in h for h in hooks)
    assert all(h["entry"].startswith("sh .ci/hook ") for h in hooks)


def test_a_file_over_the_limit_is_named(tmp_path):
    for name, size in (("small", 1_000_000), ("large", 1_000_001)):
        (tmp_path / name).write_bytes(bytes(size))
    command = [sys.executable, ROOT / ".ci" / "large_files.py"]
    done = subprocess.run([*command, "small", "large"], cwd=tmp_path, capture_output=True,
                          text=True)
    assert done.returncode == 1 and "large: 1.0 MB" in done.stdout and "small" not in done.stdout
    assert subprocess.run([*command, "small"], cwd=tmp_path).returncode == 0


@pytest.mark.slow  # pre-commit runs twice
def test_hooks_stop_a_commit_and_say_why(call, tmp_path):
    folder = tmp_path / "clone"
    for name in ("notebooks/source", ".ci"):
        (folder / name).mkdir(parents=True)
    (folder / "notebooks" / "source" / "01_tiny.py").write_text(SOURCE)
    sys.path.insert(0, str(ROOT / "notebooks"))
    try:
        from build import convert
    finally:
        sys.path.pop(0)
    node = convert(folder / "notebooks" / "source" / "01_tiny.py")
    nbformat.write(node, folder / "notebooks" / "01_tiny.ipynb")
    started(call, folder, [CONFIG, ".ci/hook", ".ci/large_files.py", "pyproject.toml",
                           "notebooks/build.py"])

    clean = call(folder, "pre-commit", "run", "--all-files")
    assert clean.returncode == 0 and clean.stdout.count("Passed") == 3, clean.stdout

    assert call(folder, "pre-commit", "install").returncode == 0  # make hooks
    node.cells[1].source = "1 + 2"
    node.cells[1].outputs = [nbformat.v4.new_output("stream", name="stdout",
                                                    text="/" + "home/somebody/data\n")]
    node.metadata["widgets"] = WIDGET_STATE
    nbformat.write(node, folder / "notebooks" / "01_tiny.ipynb")
    (folder / "wrong.py").write_text("import os\n")
    (folder / "large.bin").write_bytes(bytes(1_100_000))
    call(folder, "git", "add", "--all")
    refused = call(folder, "git", "commit", "-m", "with faults")
    assert refused.returncode and refused.stdout.count("Failed") == 3, refused.stdout
    for fault in ("F401", "cell 2 differs", "widget state", "a path of a machine",
                  "large.bin: 1.1 MB"):
        assert fault in refused.stdout, refused.stdout
    assert call(folder, "git", "rev-parse", "--verify", "--quiet",
                "HEAD").returncode, "a commit was made"



@pytest.mark.slow
def test_this_repository_passes_its_hooks(call, tmp_path):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT,
                            capture_output=True)
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    names = [name for name in listed.stdout.decode().split("\0") if name
             and (ROOT / name).is_file()]
    clone = started(call, tmp_path / "clone", names)
    done = call(clone, "pre-commit", "run", "--all-files")
    assert done.returncode == 0, done.stdout
