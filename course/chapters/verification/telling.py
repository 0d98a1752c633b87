"""Sentences about what was measured, for lab.say: each holds whatever came out. -> [str]"""

import numpy as np
import pandas as pd

from labkit import measure

from .audit import ALARM, SORTS
from .forging import SLACK
from .keeping import OTHER_SEED, known_in_words
from .owners import miss_rate
from .trials import ALPHA, PROVIDERS, QUERIES

AGREED = 0.02  # share of deleted rows at which audits are told: that of the paper's forging


def percent(values, clusters=None, digits=0) -> str:
    """'12 % [3, 40]', a share with its 95 % interval. values: 1 or 0 each; one unit has no ends."""
    mean, low, high = (100 * v for v in measure.interval(values, clusters, (0, 1)))
    ends = f" [{low:.{digits}f}, {high:.{digits}f}]" if np.isfinite(low) else ""
    return f"{mean:.{digits}f} %{ends}"


def times(logs) -> str:
    """'1.6 [1.2, 2.2]': the factor behind differences of natural logarithms, one a seed."""
    mean, low, high = np.exp(np.clip(measure.interval(logs), -20, 20))
    return f"{mean:.2g} [{low:.2g}, {high:.2g}]" if len(logs) > 1 else f"{mean:.2g}"


def told_growth(grows) -> list:
    """How the error of a swapped step grows. grows: as from scaling."""
    show, runs, worst = measure.show_interval, len(grows["late"]), max(grows["late"])
    (_, low, high), (_, better, _) = (measure.interval(grows[k]) for k in ("share", "gained"))
    held = " and ".join(f"{v:g}" for v in (0.5, 1) if low <= v <= high) or "neither"
    broken = sum(v > 1 + SLACK for v in grows["late"])
    return [f"The error of a swapped step grows with the learning rate to the power "
            f"{show(grows['rate'])}, and with the share of deleted rows to the power "
            f"{show(grows['share'])}.",
            "Swaps that all push one way would give 1, independent ones 0.5; this interval holds "
            f"{held}.",
            f"Where checkpoints are moved, an error is up to {worst:.1f} times the formula of the "
            "step before: " + (f"as a bound it is broken in {broken} of {runs} runs. It leaves out "
                               "the curvature of the loss, which can stretch the difference."
                               if broken else f"the bound holds in these {runs} runs."),
            f"Random rows of the class make errors {times(grows['gained'])} times as large as "
            "look-alikes do" + (": look-alikes forge better." if better > 0
                                else ", no difference beyond doubt.")]


def told_floor(forged, share, rate) -> str:
    """What passes at the honest floor already, checkpoints moved and kept."""
    these = forged[(forged.share == share) & (forged.lr == rate)]
    at = {kind: 100 * np.mean([np.mean(np.array(e) <= f) for e, f in zip(g.errors, g.floor,
                                                                         strict=True)])
          for kind, g in these.groupby("kind")}
    return (f"At the floor {at['as published']:.0f} % of the steps pass with checkpoints moved, "
            f"where only a first step starts at weights that nobody moved, and {at['kept']:.0f} % "
            "with checkpoints kept: steps without a deleted row.")


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
                ": stand-ins carry the owners' labels but no dots, so they teach no trigger."
                if letter == "a" else ".") + f" Owners' tests that accuse: {singles}.",
            f"All hits pooled accuse the forger in {pooled['forges']} runs, and the honest "
            f"provider in {pooled['honest']}" + (
                ": a false accusation." if not pooled["honest"].startswith("0 ") else "."),
            f"The floor of all steps was {least:.1e} to {most:.1e} from run to run" + (
                ": a single step sets it, and an honest one may miss by far more than the others."
                if most > 100 * least else "."),
            f"{lost} retrainings diverged; they are missing here." if lost else ""]


def told_fooled(fooled, spread, runs) -> str:
    """Who passes the pooled test and the replay in every run."""
    if not fooled:
        return "No cheat passed the pooled test and the replay in every run."
    low = max(0.0, 100 * min(spread[p][1][1] for p in fooled))
    return (f"How the new model was made neither check shows: {', '.join(fooled)} passed the "
            f"pooled test and the replay in {runs} of {runs} runs, which alone leaves a rate of "
            f"[{low:.0f}, 100] % (the table of claims has all committed runs).")


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


def strengths_shown(weak) -> pd.DataFrame:
    """The table of strengths: the middle owner and the worst. weak: with a column plan."""
    rows = []
    for (owners, each), g in weak.groupby(["owners", "each"], sort=False):
        plan = g.plan.astype(float).fillna(np.inf)
        middle = plan.median()
        rows.append({"owners": owners, "rows each": each, "tests": len(g),
                     "p, median": f"{g.p.median():.2f}", "q, median": f"{g.q.median():.3f}",
                     "β, median": f"{g.escape.median():.1g}", "β, worst": f"{g.escape.max():.1g}",
                     "questions (yours), median": f"{middle:.0f}" if middle <= 200 else "over 200",
                     "over 200 needed, %": f"{100 * np.mean(plan > 200):.0f}"})
    return pd.DataFrame(rows)


def told_strengths(weak, sizes) -> list:
    """The worst owner of the strongest setting, and the middle one of the weakest, in words."""
    groups = weak.groupby(["owners", "each"])
    full, few = groups.get_group(sizes[0]), groups.get_group(sizes[-1])
    lost = few.plan.isna()
    return [f"With {sizes[0][1]} rows each the worst of {len(full)} owners lets the old model "
            f"escape with a chance of {full.escape.max():.1g}; with {sizes[-1][1]} rows each, half "
            f"of them stamped, the middle owner does with {few.escape.median():.1g}.",
            f"There {percent(lost, few.seed)} of the owners find no plan of 200 questions: "
            "more questions do not replace a trigger that was not learnt." if lost.any() else
            "There more questions help: each owner finds a plan of at most 200."]


def told_accused(tests, rates) -> list:
    """How often honest providers are accused. tests, rates: as in accusations."""
    (_, low, high), now = rates["deleted"], rates["deleted_now"]
    wrong, n = tests[~tests.deleted], len(tests)
    picked = wrong if len(wrong) else tests.loc[(tests.q_now - tests.q).nlargest(5).index]
    old_q, new_q, bare = (100 * picked[c].mean() for c in ("q", "q_now", "bare"))
    return [f"With q from the old model {len(wrong)} of {n} tests accuse an honest provider, "
            f"{percent(~tests.deleted, tests.seed, 1)}.",
            "α is kept." if high < ALPHA else "That is more than α grants."
            if low > ALPHA else "Whether α is kept cannot be judged from so few.",
            f"Look at the {len(picked)} {'accusing' if len(wrong) else 'most changed'} tests "
            "(picked for that, so partly by luck): the old model gives the label to "
            f"{old_q:.1f} % of the pictures with fresh triggers, the new one to {new_q:.1f} %, and "
            f"without any trigger to {bare:.1f} %.",
            "So in these it is less the trigger than the network: how readily one gives a label "
            "differs from one to the next." if new_q > old_q and bare > new_q / 2
            else "The change from one network to the next does not explain these.",
            f"With q from the new model {(~tests.deleted_now).sum()} tests accuse.",
            "That, too, is more than α grants." if now[1] > ALPHA else
            "That it keeps α is not shown: even without one accusation it would take "
            f"{np.log(0.025) / np.log(1 - ALPHA):,.0f} independent tests."
            if now[2] > ALPHA else ""]


def beside_own(saved, names) -> dict:
    """What cheats know beyond a retraining with *another* seed. -> dict name -> values by seed"""
    return {m: (saved[m] - saved[OTHER_SEED]).dropna() for m in names}


def kept_shown(saved, raw) -> pd.DataFrame:
    """The table of what models know of the deleted rows, in nats.

    saved, raw: dict name -> values by seed, as in the notebook's formula and as in the claim
    """
    beside = beside_own(saved, raw)
    return pd.DataFrame([{
        "model": m, "known beyond the reference": known_in_words(v),
        "beyond a retraining with another seed": known_in_words(beside[m]) if m in beside else "–",
        "loss below the mean of two retrainings": known_in_words(raw[m]) if m in raw else "–"}
        for m, v in saved.items()])


def told_kept(saved, raw) -> list:
    """Who knows more than an honest retraining. saved, raw: as for kept_shown."""
    beside, seeds = beside_own(saved, raw), len(saved[OTHER_SEED])
    above = [[m for m in raw if len(v[m]) and measure.interval(v[m])[1] > 0]
             for v in (saved, beside, raw)]
    first, own, loss = (", ".join(names) or "none for certain" for names in above)
    return [f"More than the reference knows, of {len(raw)} cheats: {first}. By loss alone, as the "
            f"claim was written: {loss}.",
            "A verifier has no run with the provider's seed, but may retrain with a seed of its "
            f"own. More than that model, on the mean of {seeds} seeds: {own}" + (
                "." if above[1] else ", so that a cheat would stand out from it is not shown.")]


def told_counts(audits) -> list:
    """What the plain count flags, and what it does not look at. audits: as from audit_runs."""
    by = dict(list(audits.groupby("log")))
    if not {"nearest", "search"} <= set(by):
        return ["A cheat diverged in every run, and left no log to count."]
    near, searched = by["nearest"], by["search"]
    unused = {name: 100 * g.unused.mean() for name, g in by.items()}
    return [f"The count flags {percent(near.p < 0.01)} of the nearest-neighbour logs, and "
            f"{percent(near.half < 0.01)} with half of the epochs.",
            f"Of the search logs it flags {percent(searched.p < 0.01)}, and cannot flag one: a row "
            "that was used leaves the search's pool.",
            f"But look at the last column: search leaves {unused['search']:.1f} % of the retained "
            "rows out of an epoch, where an honest permutation leaves none. The variant that "
            "goes on to the end closes that hole."
            if unused["search"] > unused["honest"] == unused.get("search to the end") else ""]


def flagged(found, audit, cheat, share=AGREED) -> list:
    """Which logs an audit flags, 1 or 0 each. found: as from detections."""
    return found[(found.audit == audit) & (found.cheat == cheat)
                 & (found.share == share)].found.item()


def told_detections(found) -> list:
    """How the learner's audit does beside the plain count, on the same logs."""
    once, again, knowing = SORTS
    out = [f"With {100 * AGREED:g} % of the rows deleted the plain count flags "
           f"{percent(flagged(found, 'plain count', sort))} of the cheats, yours "
           f"{percent(flagged(found, 'yours', sort))} ({sort})." for sort in (once, again)]
    places = [(share, sort) for share in found.share.unique() for sort in SORTS]
    lead = {(share, sort): [a - b for a, b in zip(
        *(flagged(found, audit, sort, share) for audit in ("yours", "plain count")), strict=True)]
        for share, sort in places}
    share, sort = least = min(places, key=lambda k: np.mean(lead[k]))
    mean, low, high = (100 * v for v in measure.interval(lead[least], limits=(-1, 1)))
    if mean < 0:
        out.append(f"But at {100 * share:g} % deleted, {sort}, the count flags {-mean:.0f} points "
                   f"[{-high:.0f}, {-low:.0f}] more than yours" + (
                       "." if high < 0 else ", which may be chance."))
        if np.mean(flagged(found, "the course's", sort, share)) < np.mean(
                flagged(found, "plain count", sort, share)):
            out.append("The course's audit loses there, too: it adds up over all rows, where a few "
                       "stand-ins weigh little, and the count looks at one row.")
    else:
        out.append("On average yours is nowhere behind the plain count.")
    known = flagged(found, "yours", knowing, max(found.share))
    beyond = measure.interval(known, limits=(0, 1))[1] > ALARM
    out.append(f"Of providers who know it yours flags {percent(known)} at "
               f"{100 * max(found.share):g} % deleted" + (
                   ": some are still caught." if beyond else
                   f", not surely more than the {100 * ALARM:g} % of false alarms."))
    return out
