"""Sentences about logs, forged, cheating and audited, for lab.say: each holds whatever came out.

-> [str]
"""

import numpy as np
import pandas as pd

from labkit import measure

from .audit import ALARM, SORTS
from .forging import SLACK
from .keeping import OTHER_SEED, known_in_words
from .telling import percent

AGREED = 0.02  # share of deleted rows at which audits are told: that of the paper's forging


def times(logs) -> str:
    """'1.6 [1.2, 2.2]': the factor behind differences of natural logarithms, one a seed."""
    mean, low, high = np.exp(np.clip(measure.interval(logs), -20, 20))
    return f"{mean:.2g} [{low:.2g}, {high:.2g}]" if len(logs) > 1 else f"{mean:.2g}"


def told_growth(grows) -> list:
    """How the error of a swapped step grows. grows: as from scaling."""
    show, runs, worst = measure.show_interval, len(grows["late"]), max(grows["late"])
    better = measure.interval(grows["gained"])[1]
    broken = sum(v > 1 + SLACK for v in grows["late"])
    return ["In this run the error of a swapped step grows with the learning rate to the power "
            f"{show(grows['rate'])}, and with the share of deleted rows to the power "
            f"{show(grows['share'])}.",
            "For the share, swaps that all push one way would give 1, independent ones 0.5.",
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
             for v in (saved, beside)]
    first, other = (", ".join(names) or "none for certain" for names in above)
    worse = [m for m in above[0] if measure.interval(raw[m])[2] < 0]
    ahead = "; ".join(f"{m} {percent((v > 0).astype(float))}" for m, v in beside.items() if len(v))
    return [f"In this run, on the mean of {seeds} seeds, these of {len(raw)} cheats know more than "
            f"the reference: {first}; and more than a retraining with another seed: {other}.",
            f"{', '.join(worse)}: the loss on the deleted rows is above retraining's; “more” says "
            "only that on test rows it rose further." if worse else "",
            "A verifier meets one network. The share of seeds in which a cheat's knows more than "
            f"the retraining with another seed: {ahead}; equals would win half."]


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
    once, again, rotating = SORTS
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
                       "" if high < 0 else ", which may be chance")
                   + f" (of {len(places)} settings the one that is worst for yours).")
        if np.mean(flagged(found, "the course's", sort, share)) < np.mean(
                flagged(found, "plain count", sort, share)):
            out.append("The course's audit lies behind there, too: it adds up over all rows, where "
                       "a few stand-ins weigh little, and the count looks at one row.")
    else:
        out.append("On average yours is nowhere behind the plain count.")
    rotated = flagged(found, "yours", rotating, max(found.share))
    beyond = measure.interval(rotated, limits=(0, 1))[1] > ALARM
    out.append(f"Of providers whose look-alikes rotate yours flags {percent(rotated)} at "
               f"{100 * max(found.share):g} % deleted" + (
                   ": some are still caught." if beyond else
                   f", not surely more than the {100 * ALARM:g} % of false alarms."))
    return out
