"""Sentences about owners' tests, for lab.say: each holds whatever came out. -> [str]"""

import numpy as np
import pandas as pd

from labkit import measure

from .owners import miss_rate
from .trials import ALPHA, PROVIDERS, QUERIES


def percent(values, clusters=None, digits=0) -> str:
    """'12 % [3, 40]', a share with its 95 % interval. values: 1 or 0 each; one unit has no ends."""
    mean, low, high = (100 * v for v in measure.interval(values, clusters, (0, 1)))
    ends = f" [{low:.{digits}f}, {high:.{digits}f}]" if np.isfinite(low) else ""
    return f"{mean:.{digits}f} %{ends}"


def accusing(spread) -> dict:
    """Share of single owners' tests that accuse, with its interval over networks, a provider."""
    shares = {p: 100 * (1 - np.clip(three[0], 0, 1)) for p, three in spread.items()}
    return {p: f"{mean:.0f} % [{low:.0f}, {high:.0f}]" for p, (mean, high, low) in shares.items()}


def told_passing(spread, matrix, runs) -> list:
    """Who passes which check. spread: as from passing; runs: how many there should be."""
    accused = {p for p in ("forges", "nearest", "search") if p in spread and spread[p][0][0] < 0.5}
    letter = "b" if "forges" not in accused else "a" if accused == {"forges"} else "c"
    singles = "; ".join(f"{p} {text}" for p, text in accusing(spread).items()
                        if p != "edits the log")
    pooled = {p: f"{(~g.pooled.astype(bool)).sum()} of {len(g)}"
              for p, g in matrix.groupby("provider")}
    lost, most, least = len(PROVIDERS) * runs - len(matrix), matrix.noise.max(), matrix.noise.min()
    return [f"If you said {letter}) you were right" + (
                ": whatever label a stand-in has, an owner's or another, it has no dots."
                if letter == "a" else ".") + f" Owners' tests that accuse: {singles}.",
            f"All hits pooled accuse the forger in {pooled['forges']} runs, and the honest "
            f"provider in {pooled['honest']}" + (
                ": a false accusation." if not pooled["honest"].startswith("0 ") else "."),
            f"The floor of all steps was {least:.1e} to {most:.1e} from run to run" + (
                ": a single step sets it, and an honest one may miss by far more than the others."
                if most > 100 * least else "."),
            f"{lost} retrainings diverged; they are missing here." if lost else ""]


def told_fooled(fooled, runs) -> str:
    """Who passes the pooled test and the replay in every run."""
    if not fooled:
        return "No cheat passed the pooled test and the replay in every run."
    return (f"How their new model was made neither check showed: {', '.join(fooled)} passed the "
            f"pooled test and the replay in {runs} of {runs} runs, the replay by construction: "
            "each of their steps was made.")


def told_one_test(one) -> list:
    """What the first owner can say. one: dict provider -> its test, as from ask."""
    p, q, most, beta = (one["honest"][c] for c in ("p", "q", "k", "beta"))
    passes = [name for name in PROVIDERS if name in one and one[name]["hits"] <= most]
    caught = [name for name in PROVIDERS if name in one and name not in passes]
    now = beta / (beta + miss_rate(QUERIES, q, most))
    liars = [name for name in passes if name != "honest"]
    return [f"This owner has p = {p:.2g} and q = {q:.2g}. It accuses from {most + 1} hits on: "
            f"{', '.join(caught) or 'nobody'}.",
            f"Given the old model, and this p, a pass has a chance of β = {beta:.1g}. Whoever "
            "held old and new for equally likely before should, after a pass, give the old one "
            f"{now:.1g}.",
            f"How the new model was made a pass does not tell: {', '.join(liars)} passed too."
            if liars else "No dishonest provider passed it here."]


def strengths_shown(weak, most) -> pd.DataFrame:
    """The table of strengths: the middle owner and the worst.

    weak: with a column plan, None where more than `most` questions are needed
    """
    rows = []
    for (owners, each), g in weak.groupby(["owners", "each"], sort=False):
        plan = g.plan.astype(float).fillna(np.inf)
        middle = plan.median()
        rows.append({"owners": owners, "rows each": each, "tests": len(g),
                     "p, median": f"{g.p.median():.2f}", "q, median": f"{g.q.median():.3f}",
                     "β, median": f"{g.escape.median():.1g}", "β, worst": f"{g.escape.max():.1g}",
                     "questions (yours), median": f"{middle:.0f}" if middle <= most
                     else f"over {most:,}",
                     f"over {most:,} needed, %": f"{100 * np.mean(plan > most):.0f}"})
    return pd.DataFrame(rows)


def told_strengths(weak, sizes, most) -> list:
    """The worst owner of the strongest setting, and the middle one of the weakest, in words."""
    groups = weak.groupby(["owners", "each"])
    full, few = groups.get_group(sizes[0]), groups.get_group(sizes[-1])
    lost = few.plan.isna()
    return [f"With {sizes[0][1]} rows each the worst of {len(full)} owners lets the old model "
            f"escape with a chance of {full.escape.max():.1g}; with {sizes[-1][1]} rows each, half "
            f"of them stamped, the middle owner does with {few.escape.median():.1g}.",
            f"There {most:,} questions are not enough for {percent(lost, few.seed)} of the owners; "
            f"{(few.p <= few.q).sum()} of {len(few)} have p ≤ q, where no number helps."
            if lost.any() else
            f"There more questions help: each owner finds a plan of at most {most:,}."]


def told_accused(tests, rates) -> list:
    """How often honest providers are accused. tests, rates: as in accusations."""
    now, wrong, n = rates["deleted_now"], tests[~tests.deleted], len(tests)
    picked = wrong if len(wrong) else tests.loc[(tests.q_now - tests.q).nlargest(5).index]
    old_q, old_bare, bare, new_q = (100 * picked[c].mean()
                                    for c in ("q", "bare_old", "bare", "q_now"))
    why = max((bare - old_bare, "how readily a network gives a label, without any trigger, differs "
                                "from one to the next"),
              (old_bare - old_q, "fresh triggers keep the old model from this label"),
              (new_q - bare, "fresh triggers draw the new model to this label"))[1]
    return [f"With q from the old model {len(wrong)} of {n} tests accuse an honest provider, "
            f"{percent(~tests.deleted, tests.seed, 1)}.",
            f"Look at the {len(picked)} {'accusing' if len(wrong) else 'most changed'} tests "
            "(picked for that, so partly by luck): the old model gives the label to "
            f"{old_q:.1f} % of the pictures with fresh triggers, the new one to {new_q:.1f} %; "
            f"without any trigger, to {old_bare:.1f} % and {bare:.1f} %.",
            f"The largest part of that rise: {why}." if new_q > old_q
            else "The change from one network to the next does not explain these.",
            f"With q from the new model {(~tests.deleted_now).sum()} tests accuse.",
            "That, too, is more than α grants." if now[1] > ALPHA else
            "That it keeps α is not shown: even without one accusation it would take "
            f"{np.log(0.025) / np.log(1 - ALPHA):,.0f} independent tests."
            if now[2] > ALPHA else ""]
