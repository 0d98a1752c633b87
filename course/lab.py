"""Lab: one run of one notebook. What it finds is shown, and kept in the notebook's own output."""

import html
import io
import json
import platform
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython import get_ipython
from IPython.display import HTML, Image, Markdown, display
from torch.nn.functional import avg_pool2d

from course.chapters import number
from course.claimfile import PROFILES, load_claims
from course.claims import judge, plain
from course.pooling import pooled_claims
from course.runs.notebook import labkit_hash
from course.words import claim_output, claims_output, committed_output, output, table_html
from labkit import base
from labkit import data as data_module
from labkit.base import LabError, NotForThisData
from labkit.rules import RULES, check, checked_seed

CAPS = {"smoke": (1500, 600), "quick": (6000, 2000), "full": None, "paper": None}  # rows


class Lab:
    """lab = Lab("basics", profile=profile, dataset=dataset, seed=seed): prints versions and device.

    profile: smoke | quick | full | paper; dataset: a name or folder:PATH; seed: all that is random
    is spawned from it; seeds: how many seeds are judged, None for the profile's own number.
    """

    def __init__(self, chapter, *, profile="quick", dataset="fashion", seed=0, seeds=None):
        check("profile", profile, (lambda name: name in PROFILES, PROFILES))
        if seeds is not None:
            check("seeds", seeds, RULES["count"])
        seed = checked_seed(seed)
        self.chapter, self.notebook = str(chapter), number(str(chapter))
        self.profile, self.dataset, self.seed = profile, dataset, seed
        self._seeds, self._settings, self._rows, self.claims = seeds, {}, "", []
        self._dollars = []  # class names that matplotlib and Markdown would take for formulas
        self._catalogue = load_claims()
        torch.set_num_threads(1)  # two a process were measured 10 to 35 times slower on busy cores
        torch.manual_seed(seed)
        self.device = base.device()
        self.versions = {"python": platform.python_version(), "torch": torch.__version__,
                         "numpy": np.__version__}
        versions = " · ".join(f"{k} {v}" for k, v in self.versions.items())
        _show({"kind": "setup", "versions": self.versions, "device": str(self.device)},
              f"Notebook {self.notebook} · profile {profile} · seed {seed} · {versions} · "
              f"{self.device}, {base.jobs()} workers")

    def settings(self, *, quick, smoke=None, full=None, paper=None) -> SimpleNamespace:
        """The profile's settings; `smoke` and `full` start from quick's, `paper` from full's."""
        chosen = dict(quick)
        changes = {"smoke": [smoke], "quick": [], "full": [full], "paper": [full, paper]}
        for change in changes[self.profile]:
            chosen |= change or {}
        if self._seeds is not None:
            chosen["seeds"] = self._seeds
        self._settings = chosen
        return SimpleNamespace(**chosen)

    def load(self, min_rows=(5, 5), large=None, **settings):
        """The data set, capped by the profile; settings go to labkit.data.load. Shows its card.

        min_rows: the training and test rows that each class needs; with fewer the notebook ends as
        'skipped'. large: what keeps rows of over 1,000 numbers within the time of a quick run,
        "rows" (every second one) or "size" (pictures at half their width and height).
        """
        data = data_module.load(self.dataset, **({"at_most": CAPS[self.profile]} | settings))
        card = [data.card[k] for k in ("title", "licence", "source") if data.card.get(k)]
        path = self.dataset.removeprefix("folder:")  # its last part only: a path names its owner
        shown = path if path == self.dataset else Path(path).name or path
        text = [str(line).replace(path, shown) for line in (data.summary(), *card)]
        self._rows = data.digest()
        _show({"kind": "setup", "data": self._rows, "rows": len(data.y)}, " · ".join(text),
              "<br>".join(html.escape(str(line)) for line in text))
        if rare := data.rare(*min_rows):
            name, n, n_test = rare[0]
            more = f" (and {len(rare) - 1} more have too few)" if len(rare) > 1 else ""
            self.require(False, f"Notebook {self.notebook} needs at least {min_rows[0]} training "
                         f"and {min_rows[1]} test rows of each class, also when it draws them anew,"
                         f" and class {name!r} has {n} and {n_test}{more}: add rows, or leave such "
                         "classes out.")
        self._dollars = [name for name in data.classes if "$" in name]
        return self._smaller(data, large) if data.x[0].numel() > 1000 else data

    def _smaller(self, data, large):
        if large == "rows" and self.profile == "quick":
            self.say("These rows are large: every second one is used, which keeps the time within "
                     "bounds.")
            halves = {f: getattr(data, f)[::2].clone() for f in ("x", "y", "x_test", "y_test")}
            return replace(data, **halves, noisy=data.noisy[:0])
        if large == "size" and self.profile in ("smoke", "quick") and data.x.dim() == 4:
            self.say(f"These pictures are large for `{self.profile}`: networks get them at half "
                     "their width and height.")
            return replace(data, x=avg_pool2d(data.x, 2), x_test=avg_pool2d(data.x_test, 2))
        return data

    def unfinished(self, part: str) -> Path | None:
        """Where a part of a long run leaves its results, to go on after a stop; None up to quick.

        Another folder for other data, settings or seeds, for another version of labkit, and after
        any change in the cells up to this one. For parallel(…, keep=…).
        """
        if self.profile in ("smoke", "quick"):
            return None
        cells = getattr(get_ipython(), "user_ns", {}).get("In", [])
        what = json.dumps([labkit_hash(f"00_{self.chapter}"), self._rows, self._settings, cells],
                          default=str, sort_keys=True)
        code = base.sha256(what.encode(), digits=12)
        name = f"{self.notebook}-{self.profile}-s{self.seed}-{code}"
        return base.cache_path() / "unfinished" / name / part

    def seeds(self, n: int, purpose: str = "judge") -> list[int]:
        """n inner seeds; no two purposes and no two outer seeds share one: tune ≠ judge."""
        return base.spawn_seeds(self.seed, n, purpose)

    def require(self, condition, why: str):
        """End the notebook as 'skipped', with one sentence, when it cannot use this data set."""
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
        display(HTML(table_html(frame, caption, digits)))

    def record(self, name: str, value):
        """Keep a measurement (numbers, lists, dicts, a pandas table) in the notebook's output."""
        value = plain(value)
        try:
            json.dumps(value, allow_nan=False)  # fails here rather than in somebody's script
        except (TypeError, ValueError) as error:
            raise LabError(f"The record {name!r} cannot be kept as JSON ({error}): give finite "
                           "numbers, text, lists, dicts or a pandas table.") from None
        _show({"kind": "record", "name": name, "value": value}, f"recorded: {name}")

    def claim(self, name: str, values, *, units=None, clusters=None) -> dict:
        """Judge a claim of the chapter's claims.yaml; show it; keep it. values: as in judge."""
        if name not in self._catalogue:
            raise LabError(f"There is no claim {name!r} in course/chapters/{self.chapter}/"
                           "claims.yaml: add it there before judging it.")
        claim = self._catalogue[name]
        result = judge(claim, values, profile=self.profile, units=units, clusters=clusters)
        self.claims = [c for c in self.claims if c["id"] != name] + [result]  # a cell may run again
        display(claim_output(claim, result, self._committed().get(name)), raw=True)
        return result

    def _committed(self, profile=None):
        return pooled_claims(self.chapter, profile or self.profile, self.dataset)

    def claims_table(self):
        """What this notebook tested: paper, claim and figure, this run, all committed runs."""
        full = self._committed("full") if self.profile == "quick" else {}
        display(claims_output(self._catalogue, self.claims, self._committed(), full), raw=True)

    def say_committed(self, *sentences):
        """Show sentences on the committed quick runs: {claim.part} becomes value and verdict."""
        committed = pooled_claims(self.chapter, "quick", "fashion")
        display(committed_output(" ".join(sentences), self._catalogue, committed), raw=True)

    def figure(self, fig, alt: str):
        """Show a matplotlib figure as PNG, described for those who cannot see it; close it."""
        if len(alt) < 40:
            raise LabError("A figure's alt text says what is seen in it, in one sentence of at "
                           "least 40 characters.")
        for text in fig.findobj(plt.Text):
            if any(name in text.get_text() for name in self._dollars):
                text.set_parse_math(False)
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", dpi=100)
        plt.close(fig)
        display(Image(buffer.getvalue(), alt=alt), metadata={"image/png": {"alt": alt}})


def _show(value, text, shown=None):
    display(output(value, text, shown), raw=True)
