"""The papers that the claims and the notebooks cite, as BibTeX. Only what is known is written: no field is guessed."""

import re

from course.claimfile import load_papers
from labkit.base import LabError, data_path


def references() -> dict[str, dict]:
    """All papers by the words that cite them: those of claims.yaml, then those of references.yaml."""
    import yaml

    path = data_path("references.yaml")
    try:
        return load_papers() | yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, TypeError) as error:
        raise LabError(f"{path.name} cannot be read ({' '.join(str(error).split())}): restore it.") from None


def bibtex(papers: dict[str, dict]) -> str:
    """One entry a paper. Its key is the first author and the year, as in jia2023; a, b … follow where two share one."""
    entries, taken = [], set()
    for cited, paper in papers.items():
        key = base = re.sub(r"[^a-z]", "", cited.split()[0].lower()) + str(paper["year"])
        for letter in "abcdefgh":
            key = base + letter if key in taken else key
        taken.add(key)
        entries.append(_entry(key, cited, paper))
    return "\n".join(entries)


def _entry(key, cited, paper):
    venue, url = str(paper.get("venue", "")), paper.get("url", "")
    preprint = re.match(r"arXiv (\d{4}\.\d{4,5})", venue)
    kind = paper.get("type") or ("misc" if preprint or not venue else "inproceedings")
    arxiv = re.search(r"arxiv\.org/abs/(\d{4}\.\d{4,5})", url)
    place = {"article": "journal", "inproceedings": "booktitle"}.get(kind, "howpublished")
    fields = {"author": _authors(paper["authors"]),
              "title": f"{{{_plain(paper['title'])}}}" if "title" in paper else None,
              place: _plain(venue) if venue and not preprint else None, "year": paper["year"],
              "volume": paper.get("volume"), "pages": str(paper.get("pages", "")).replace("-", "--"),
              "eprint": arxiv and arxiv[1], "archiveprefix": arxiv and "arXiv",
              "doi": url.partition("doi.org/")[2], "url": url,
              "note": _plain(f"Known for: {paper['about']}") if "about" in paper else None,
              "annote": f"Cited here as {_plain(cited)}"}
    lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
    return f"@{kind}{{{key},\n" + ",\n".join(lines) + "\n}\n"


def _authors(names):
    """Chen, Li -> Chen and Li; Yan et al. -> Yan and others; a body keeps its words together."""
    if names[:1].islower():
        return f"{{{names[:1].upper()}{names[1:]}}}"
    return " and ".join(re.split(r", | and ", names)).replace(" et al.", " and others")


def _plain(text):
    """Text whose characters mean nothing to LaTeX."""
    return re.sub(r"([&%$#_{}])", r"\\\1", str(text))
