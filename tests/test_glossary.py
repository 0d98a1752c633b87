"""The glossary: each word once, in order, with a notebook that is there and that has the word."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
ENTRY = re.compile(r"^\*\*(?P<term>.+?)\*\*\s\[(?P<number>\d\d)\]\((?P<link>\S+)\):\s(?P<text>.+)$")
ENTRIES = [ENTRY.match(" ".join(block.split())) for block in PAGE.split("\n\n")
           if block.startswith("**")]
# How a notebook writes a word that the glossary writes otherwise.
SPELLINGS = {
    "Alpha and beta (α, β)": "$\\beta = P", "Approximate unlearning": "approximate methods",
    "Black box": "BlackBox", "Conjugate gradients (CG)": "cg_steps",
    "Difference, plain and informed": "plain difference", "Exact unlearning": "exact",
    "First-order unlearning": "first-order", "Isolated row": "isolated gradient",
    "Label inference": "deleted_class", "MIA-efficacy (SVC)": "MIA-efficacy",
    "Over-confidence and under-confidence": "over-confidence",
    "Same-seed and fresh-seed retraining": "fresh seed", "Streisand effect": "streisand",
}
# Second words for sets and models that have a name in the glossary. "Naive" for the plain attacker
# is not among them: the chapters inversion and desk still say it.
FORBIDDEN = ("naïve", "forgetting set", "remaining set", "gold standard", "gold model",
             "oracle model")


def text_of(number):
    """A notebook's source, comment marks and line breaks taken out."""
    path, = (ROOT / "notebooks" / "source").glob(f"{number}_*.py")
    lines = path.read_text(encoding="utf-8").splitlines()
    return " ".join(" ".join(re.sub(r"^# ?(> ?)?", "", line) for line in lines).split())


def spellings(term):
    """What to look for: the exceptions above, else the words before, in and after brackets."""
    if term in SPELLINGS:
        return [SPELLINGS[term]]
    return [word.strip() for word in re.split(r"[(),]", term) if word.strip()]


def found(word, text):
    """Whether the word begins in the text; one of capitals alone has to be there just so."""
    just_so = word.isupper()
    pattern = rf"(?<![A-Za-z]){re.escape(word)}" + r"(?![A-Za-z])" * just_so
    return re.search(pattern, text, 0 if just_so else re.IGNORECASE) is not None


def test_every_paragraph_is_an_entry_and_terms_are_unique_and_sorted():
    assert None not in ENTRIES
    paragraphs = [b for b in PAGE.split("\n\n")[2:] if not b.startswith("## ")]
    assert len(paragraphs) == len(ENTRIES) >= 50
    terms = [entry["term"].casefold() for entry in ENTRIES]
    assert terms == sorted(set(terms))
    letters = re.findall(r"^## (.)$", PAGE, re.MULTILINE)
    assert letters == sorted({term[0].upper() for term in terms})
    assert set(SPELLINGS) <= {entry["term"] for entry in ENTRIES}


@pytest.mark.parametrize("entry", ENTRIES, ids=[str(e and e["term"]) for e in ENTRIES])
def test_an_entry_links_to_a_notebook_that_has_the_word(entry):
    notebook = (ROOT / "docs" / entry["link"]).resolve()
    assert notebook.is_file() and notebook.suffix == ".ipynb"
    assert notebook.name.startswith(entry["number"] + "_")
    words = spellings(entry["term"])
    assert any(found(word, text_of(entry["number"])) for word in words), words


def test_a_definition_is_three_sentences_at_most():
    for entry in ENTRIES:
        text = entry["text"].replace("et al. ", "et al ")
        assert text.endswith(".") and len(re.findall(r"[.?](?:\s|$)", text)) <= 3, entry["term"]


def test_a_word_is_not_introduced_in_bold_by_an_earlier_notebook():
    numbers = sorted(path.name[:2] for path in (ROOT / "notebooks" / "source").glob("*.py"))
    bold = {n: {b.casefold() for b in re.findall(r"\*\*([^*]+)\*\*", text_of(n))} for n in numbers}
    for entry in ENTRIES:
        words = {word.casefold() for word in spellings(entry["term"])}
        earlier = [n for n in numbers if n < entry["number"] and words & bold[n]]
        assert not earlier, (entry["term"], earlier)


def test_notebooks_use_no_second_word_for_what_has_one():
    for path in sorted((ROOT / "notebooks" / "source").glob("*.py")):
        text = text_of(path.name[:2]).casefold()
        assert not [word for word in FORBIDDEN if word in text], path.name


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks" / "source").glob("*.py")),
                         ids=lambda path: path.stem)
def test_links_of_a_notebook_lead_to_files(path):
    """As a code host and JupyterLab resolve them: from the notebook's own folder."""
    text = "\n".join(line for line in path.read_text(encoding="utf-8").splitlines()
                     if line.startswith("#"))
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        assert "://" in link or (ROOT / "notebooks" / link).resolve().is_file(), link
    assert path.stem != "00_start_here" or "*Words*: [glossary](../docs/glossary.md)" in text


def test_the_site_and_the_readme_lead_to_the_glossary():
    assert "\ndocs/glossary\n" in (ROOT / "site" / "index.md").read_text(encoding="utf-8")
    assert "(docs/glossary.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
