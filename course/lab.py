"""Lab: one run of one notebook. Profile, seeds, data, records, claims; each shown as a table and kept in the output."""

import functools
import html
import io
import json
import platform
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from IPython import get_ipython
from IPython.display import HTML, Image, Markdown, display

from course.chapters import chapters
from course.claimfile import PROFILES, load_claims
from course.claims import fits, in_words, judge, merge, parts_held, would_have_shown
from labkit import data as data_module
from labkit.base import (
    LabError,
    NotForThisData,
    cache_path,
    data_path,
    device,
    jobs,
    sha256,
    spawn_seeds,
)
from labkit.rows import checked_seed, is_whole

MIME = "application/vnd.labkit+json"
CAPS = {"quick": (6000, 2000), "full": None, "paper": None}  # rows at most, so that quick stays quick on any data


class Lab:
    """lab = Lab("basics", profile=profile, dataset=dataset, seed=seed): prints versions, device and threads.

    profile: quick | full | paper; dataset: a name or folder:PATH; seed: everything random is spawned from it; seeds:
    how many seeds are judged, None for the profile's own number.
    """

    def __init__(self, notebook, *, profile="quick", dataset="fashion", seed=0, seeds=None):
        if profile not in PROFILES:
            raise LabError(f"There is no profile {profile!r}: choose one of {', '.join(PROFILES)}.")
        seed = checked_seed(seed)
        if seeds is not None and (not is_whole(seeds) or seeds < 1):
            raise LabError(f"seeds is {seeds!r}: give a number of seeds, 1 or more, or None for the profile's own.")
        self.chapter = str(notebook)
        self.notebook = chapters().get(self.chapter) or self.chapter
        self.profile, self.dataset, self.seed = profile, dataset, seed
        self._seeds, self._settings, self._rows, self.claims = seeds, {}, "", []
        self._dollars = []  # class names that matplotlib and Markdown would take for formulas
        self._catalogue = load_claims()
        torch.set_num_threads(1)  # two threads a process were measured 10 to 35 times slower on two busy cores
        torch.manual_seed(seed)
        self.device = device()
        self.versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
        versions = " · ".join(f"{k} {v}" for k, v in self.versions.items())
        _show({"kind": "setup", "versions": self.versions, "device": str(self.device)},
              f"Notebook {self.notebook} · profile {profile} · seed {seed} · {versions} · {self.device}, "
              f"{jobs()} workers")

    def settings(self, *, quick, full=None, paper=None) -> SimpleNamespace:
        """The settings of the chosen profile; `full` starts from quick's, `paper` from full's. seeds= overrules."""
        chosen = dict(quick)
        for name, change in (("full", full), ("paper", paper)):
            if PROFILES.index(self.profile) >= PROFILES.index(name):
                chosen |= change or {}
        if self._seeds is not None:
            chosen["seeds"] = self._seeds
        self._settings = chosen
        return SimpleNamespace(**chosen)

    def load(self, min_rows=(5, 5), **settings):
        """The notebook's data set, capped by the profile; settings go to labkit.data.load. Shows its card.

        min_rows: the training and test rows that each class needs; with fewer the notebook ends as 'skipped'.
        """
        data = data_module.load(self.dataset, **({"at_most": CAPS[self.profile]} | settings))
        card = [data.card[k] for k in ("title", "licence", "source") if data.card.get(k)]
        path = self.dataset.removeprefix("folder:")  # of a folder's path the last part only: a path names its owner
        shown = path if path == self.dataset else Path(path).name or path
        text = [str(line).replace(path, shown) for line in (data.summary(), *card)]
        self._rows = data.digest()
        _show({"kind": "setup", "data": self._rows, "rows": len(data.y)}, " · ".join(text),
              "<br>".join(html.escape(str(line)) for line in text))
        if rare := data.rare(*min_rows):
            name, n, n_test = rare[0]
            more = f" (and {len(rare) - 1} more have too few)" if len(rare) > 1 else ""
            self.require(False, f"Notebook {self.notebook} needs at least {min_rows[0]} training and {min_rows[1]} "
                         f"test rows of each class, also when it draws them anew, and class {name!r} has {n} and "
                         f"{n_test}{more}: add rows, or leave such classes out.")
        self._dollars = [name for name in data.classes if "$" in name]
        return data

    def unfinished(self, part: str) -> Path | None:
        """Where a part of a long run leaves its results, to go on after a stop; None in the quick profile.

        Another folder for other data, settings or seeds, for another version of labkit, and after any change in the
        cells up to this one. For parallel(…, keep=…).
        """
        if self.profile == "quick":
            return None
        from course.runs.notebook import labkit_hash

        cells = getattr(get_ipython(), "user_ns", {}).get("In", [])
        what = json.dumps([labkit_hash(f"00_{self.chapter}"), self._rows, self._settings, cells],
                          default=str, sort_keys=True)
        code = sha256(what.encode(), digits=12)
        name = f"{self.notebook}-{self.profile}-s{self.seed}-{code}"
        return cache_path() / "unfinished" / name / part

    def seeds(self, n: int, purpose: str = "judge") -> list[int]:
        """n inner seeds for one purpose. Other purposes and other outer seeds never share one: tune ≠ judge."""
        return spawn_seeds(self.seed, n, purpose)

    def require(self, condition, why: str):
        """End the notebook with status 'skipped' and one sentence when it cannot use this data set."""
        if not condition:
            raise NotForThisData(why)

    def say(self, *sentences):
        """Show sentences that were built from this run's numbers."""
        text = " ".join(sentences)
        for name in self._dollars:
            text = text.replace(name, name.replace("$", r"\$"))
        display(Markdown(text))

    def table(self, frame, caption="", digits=1):
        """Show a pandas table; keep nothing."""
        display(HTML(_table_html(frame, caption, digits)))

    def record(self, name: str, value):
        """Keep a measurement under `name` (numbers, lists, dicts, a pandas table) in the notebook's own output."""
        plain = _plain(value)
        try:
            json.dumps(plain, allow_nan=False)  # fails here rather than in somebody's script
        except (TypeError, ValueError) as error:
            raise LabError(f"The record {name!r} cannot be kept as JSON ({error}): give finite numbers, text, lists, "
                           "dicts or a pandas table.") from None
        _show({"kind": "record", "name": name, "value": plain}, f"recorded: {name}")

    def claim(self, name: str, values, *, units=None, clusters=None) -> dict:
        """Judge a claim of data/claims.yaml on our values; show it; keep it. values: a list, or part -> list."""
        if name not in self._catalogue:
            raise LabError(f"There is no claim {name!r} in data/claims.yaml: add it there before judging it.")
        result = judge(self._catalogue[name], values, profile=self.profile, units=units, clusters=clusters)
        self.claims = [c for c in self.claims if c["id"] != name] + [result]  # a cell may be run again
        pooled = pooled_claims(self.notebook, self.profile, self.dataset)
        display(claim_output(self._catalogue[name], result, pooled.get(name)), raw=True)
        return result

    def claims_table(self):
        """What this notebook tested: paper, its claim and figure, this run, all committed runs, verdicts."""
        pooled = pooled_claims(self.notebook, self.profile, self.dataset)
        display(claims_output(self._catalogue, self.claims, pooled), raw=True)

    def figure(self, fig, alt: str):
        """Show a matplotlib figure as PNG with its description for readers who cannot see it, and close it."""
        import matplotlib.pyplot as plt

        if len(alt) < 40:
            raise LabError("A figure's alt text says what is seen in it, in one sentence of at least 40 characters.")
        for text in fig.findobj(plt.Text):
            if any(name in text.get_text() for name in self._dollars):
                text.set_parse_math(False)
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", dpi=100)
        plt.close(fig)
        display(Image(buffer.getvalue(), alt=alt), metadata={"image/png": {"alt": alt}})


def _show(value, text, shown=None):
    display(_output(value, text, shown), raw=True)


def _output(value, text, shown=None):
    return {MIME: value, "text/plain": text} | ({"text/html": f"<div>{shown}</div>"} if shown else {})


@functools.cache
def pooled_claims(notebook: str, profile: str, dataset: str) -> dict:
    """Claim id -> the committed records of these runs, judged together. A claim that has changed since is left out."""
    from course.runs.records import collect

    try:
        files = sorted(data_path("records").glob(f"{notebook[:2]}_*.json"))
    except LabError:  # an installed labkit brings no records
        return {}
    runs = [r for r in collect(files) if r["status"] == "ok" and profile == r["parameters"].get("profile")
            and dataset == r["parameters"].get("dataset")]
    catalogue, pooled = load_claims(), {}
    found = [c | {"parameters": {"seed": r["parameters"].get("seed")}} for r in runs for c in r["claims"]]
    for name in {c["id"] for c in found} & set(catalogue):
        if same := [c for c in found if c["id"] == name and fits(c, catalogue[name])]:
            pooled[name], = merge(same, catalogue)
    return pooled


def claim_output(claim, result, pooled) -> dict:
    """A judged claim as an output of a cell: verdict, each part with its interval, all committed runs, changes."""
    edge = {"reproduced": "#0072B2", "passed": "#0072B2", "undecided": "#F0E442", "not reproduced": "#D55E00",
            "failed": "#D55E00"}.get(result["verdict"], "#999999")
    held = f" ({held} parts hold)" if (held := parts_held(result, claim)) else ""
    lines = []
    for p, part in zip(result["parts"], claim.parts, strict=True):
        told = [f"{part.quantity}: {in_words(p, part)} ({p['n']} {claim.unit}{'s' * (p['n'] != 1)})", p["verdict"],
                would_have_shown(p, part), f"by construction: {part.by_construction}" if part.by_construction else ""]
        lines.append(", ".join(t for t in told if t))
    below = [_pooled_words(claim, pooled)] if pooled else []
    below += [f"† Predicate changed on {c.date}, {'after' if c.known else 'before'} numbers were known. "
              f"It was: {c.predicate} Why: {c.why}" for c in claim.changed]
    text = "\n".join([f"{claim.id}: {result['verdict']}{held}. Claim: {claim.says}",
                      *(f"  {t}" for t in lines), *below])
    rows = "".join(f"<li>{html.escape(t)}</li>" for t in lines)
    notes = "".join(f"<div>{html.escape(t)}</div>" for t in below)
    shown = (f'<div style="border-left: 6px solid {edge}; padding: 0.2em 1em"><b>Claim {claim.id}: this run '
             f"{result['verdict'].upper()}</b>{held}<br>{html.escape(claim.says)}<ul>{rows}</ul>{notes}</div>")
    return _output({"kind": "claim", "claim": result}, text, shown)


def _pooled_words(claim, pooled):
    part, rule = next((p, r) for p, r in zip(pooled["parts"], claim.parts, strict=True)
                      if p["name"] == pooled["decided_by"])
    name = f"{part['name']} " * (len(claim.parts) > 1)
    runs = f"All {pooled['runs']} committed runs together" if pooled["runs"] > 1 else "The committed run"
    return f"{runs}: {pooled['verdict']} ({name}{in_words(part, rule)})."


def claims_output(catalogue, results, pooled) -> dict:
    """The table of a notebook's claims as an output; pooled: claim id -> judged over the committed runs."""
    import pandas as pd

    rows = []
    for c in results:
        known, together = catalogue[c["id"]], pooled.get(c["id"])
        ours = "; ".join((f"{p['name']} " if len(c["parts"]) > 1 else "") + in_words(p, part)
                         for p, part in zip(c["parts"], known.parts, strict=True))
        rows.append({"claim": known.says + " †" * bool(known.changed), "paper": known.paper, "its figure": known.figure,
                     "this run": ours, "verdict of this run": c["verdict"],
                     "all committed runs": f"{together['verdict']} ({together['runs']})" if together else "none"})
    caption = "Claims of this notebook, with 95 % intervals († predicate changed)"
    return _output({"kind": "claims"}, caption, _table_html(pd.DataFrame(rows), caption, 2))


def _plain(value):
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        value = value.reset_index().to_dict("list")
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _table_html(frame, caption, digits):
    shown = frame.copy()
    for column in shown.columns:
        if shown[column].dtype.kind == "f":
            shown[column] = shown[column].map(lambda v: f"{v:.{digits}f}")
    body = shown.to_html(index=shown.index.name is not None, border=0, escape=True)
    return f"<div><b>{html.escape(caption)}</b>{body}</div>"
