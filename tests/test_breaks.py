"""Do the tests see it? Ten things are broken on purpose, one at a time, in a copy of the project.

Before a release (make test SEEDS=1, or LABKIT_SEEDS=1 pytest tests/test_breaks.py -v): each break
must fell the test that is there for it.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What is broken: file, old text, new text, the tests that are run, one that has to fall.
BREAKS = {
    "the sign of gradient ascent": (
        "labkit/unlearn/first_order.py", "step(optimizer, -F.cross_entropy",
        "step(optimizer, F.cross_entropy", "tests/test_unlearn.py",
        "test_ascent_is_one_step_uphill_and_sees_only_the_forget_set"),
    "a leak of forgotten rows into retraining": (
        "labkit/unlearn/request.py", "skip=forget)", "skip=forget[1:])",
        "tests/test_unlearn.py",
        "test_retraining_starts_elsewhere_and_never_sees_a_forgotten_row"),
    "the rule of a verdict": (
        "course/claims.py", "inside, outside = least < low and high < most,",
        "inside, outside = least < result['mean'] < most,", "tests/test_claims.py",
        "test_interval_covers_and_null_effect_is_rarely_reproduced"),
    "an interval": (
        "labkit/measure/intervals.py", "t = stdtrit(units - 1, 0.5 + level / 2)",
        "t = stdtrit(units - 1, level)", "tests/test_measure.py",
        "test_without_limits_the_interval_is_scipys_t"),
    "the import rule": (
        "labkit/measure/intervals.py", "import numpy as np\n",
        "import numpy as np\n\nimport course.claimfile  # noqa: F401\n",
        "tests/test_structure.py", "test_labkit_knows_no_notebook"),
    "what an attacker is granted": (
        "labkit/attack/holdings.py", "        self.limit, self.queries = limit, 0\n",
        "        self.limit, self.queries = model, 0\n", "tests/test_attack.py",
        "test_no_attribute_of_a_black_box_leads_to_the_network"),
    "a planted mistake that is none": (
        "course/chapters/basics/exercises.py", '"~stays[batch]"', '"(stays)[batch]"',
        "tests/test_exercises.py", "test_planted_mistake_is_rejected_with_its_message"),
    "a record of earlier code": (
        "labkit/training.py", '"""', '"""Changed since. ', "tests/test_records.py",
        "test_the_records_are_of_the_code_as_it_lies_here_and_judge_every_claim"),
    "a slider that moves nothing": (
        "course/widgets.py", 'control.observe(redraw, names="value")', "pass",
        "tests/test_figures.py", "test_explorer_redraws_at_every_change"),
    "a command of the README": (
        "Makefile", "\ncourse: $(READY)", "\ncourses: $(READY)", "tests/test_setup.py",
        "test_commands_in_the_pages_exist"),
}


@pytest.mark.slow
@pytest.mark.skipif("LABKIT_SEEDS" not in os.environ, reason="before a release: make test SEEDS=1")
@pytest.mark.parametrize("name", BREAKS)
def test_a_break_fells_its_test(name, tmp_path):
    file, old, new, tests, falls = BREAKS[name]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True,
                             check=True).stdout.splitlines()
    for path in tracked:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, tmp_path / path)
    text = (tmp_path / file).read_text(encoding="utf-8")
    assert old in text, f"{file} has changed: renew the break"
    (tmp_path / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", tests],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True,
        text=True)
    fell = re.findall(r"^FAILED \S+::(\w+)", done.stdout, flags=re.MULTILINE)
    print(f"{name}: {', '.join(dict.fromkeys(fell)) or 'nothing fell'}")
    assert any(test.startswith(falls) for test in fell), done.stdout[-3000:]
