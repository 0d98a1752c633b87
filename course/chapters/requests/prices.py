"""Beside each success its chance rate and its price: tables, and sentences on them."""

import pandas as pd

from .tables import PERCENT, POINTS, SAME, ends, flips, told


def against_random(table, how, column="flipped"):
    """Chosen less random rows under each way of unlearning, in points: way -> frame with i, apart.

    how: way -> the aim its requests had in mind; column: flipped (a lost run is no change), test
    or others, as `flips` has them.
    """
    found = {}
    for name, aim in how.items():
        chosen, random = flips(table, name, aim), flips(table, name, request="random")
        scale = 100 if column == "flipped" else 1
        pair = [part[column].fillna(0) if column == "flipped" else part[column]
                for part in (chosen, random)]
        found[name] = chosen[["i", "j"]].assign(apart=scale * (pair[0] - pair[1]))
    return found


def forgotten(table, how=None):
    """UA on random rows less that of same-seed retraining without the same rows, in points.

    how: a way of unlearning; None: the network before the request. -> frame with i, apart
    """
    random = table[table.request.str.startswith("random")]
    each = random.groupby(["how", "i", "request"])[["UA", "before"]].mean()
    exact = each.loc[SAME]
    ours = exact.before if how is None else each.loc[how].UA
    return (ours - exact.UA).dropna().rename("apart").reset_index()


def rises(table, how) -> str:
    """How much a way of unlearning raises UA of random rows, and how that differs from `of_step`'s
    comparison, in a sentence.
    """
    pair = forgotten(table, how), forgotten(table)
    there = pair[0].merge(pair[1], on=["i", "request"], suffixes=("", " before"))
    more = told(there.assign(apart=there.apart - there["apart before"]), "apart", POINTS)
    return (f"{how.capitalize()} raises UA by {more} points over that before the request; section "
            "2 compared with the smallest step, on other networks.")


def short(table, approximate) -> str:
    """Which approximate ways forget less than retraining beyond doubt. approximate: names."""
    names = [how for how in approximate if ends(forgotten(table, how), "apart", POINTS)[1] < 0]
    return (f"Less than retraining, {', '.join(names)} forget of random rows: before rounding, "
            "these intervals of UA end below 0.") if names else (
        "That any way forgets less than retraining is not shown.")


def of_step(grid, tau, least) -> str:
    """What the step tau forgets beyond next to no step (least), in two sentences.

    grid: rows of `attack.step_sizes`: seed, tau and UA less that of retraining, points.
    """
    each = {t: g.reset_index(drop=True) for t, g in grid.groupby("tau")}
    both = each[tau].assign(i=each[tau].seed, gain=each[tau].UA - each[least].UA,
                            retraining=-each[least].UA)
    gain, exact = (told(both, column, POINTS) for column in ("gain", "retraining"))
    return (f"Over next to no step, τ = {least:g}, UA gains {gain} points, with retraining "
            f"{exact}. " + forgets(ends(both, "gain", POINTS)[0], ends(both, "UA", POINTS)[1]))


def forgets(gain, gap) -> str:
    """Whether a step forgets, in a sentence.

    gain: the lower end of what it adds to UA; gap: the upper end of UA less that of retraining.
    """
    if gain > 0:
        return "So it forgets" + ", less than retraining" * (gap < 0) + "."
    if gap < 0:
        return ("**On these networks it hardly forgets**: that UA rises at all is not shown, that "
                "it rises less than under retraining is.")
    return "Neither is shown: that UA rises at all, that it rises less than under retraining."


def of_ways(table, how) -> pd.DataFrame:
    """Beside each way of unlearning what chosen rows do beyond random ones, as text.

    Before them the network as it was, of which only the last column can be told.
    """
    labels, test = (against_random(table, how, column) for column in ("flipped", "test"))
    unlearned = "UA less that of retraining, points"
    none = {"unlearning": "none", unlearned: told(forgotten(table), "apart", POINTS)}
    rows = [{
        "unlearning": name, "labels of targets, points": told(labels[name], "apart", POINTS),
        "bystanders after chosen rows, %":
            told(flips(table, name, aim), "others", PERCENT),
        "bystanders after random rows, %":
            told(flips(table, name, request="random"), "others", PERCENT),
        "test accuracy, points": told(test[name], "apart", POINTS),
        unlearned: "0, the reference" if name == SAME else
        told(forgotten(table, name), "apart", POINTS)} for name, aim in how.items()]
    return pd.DataFrame([none, *rows], columns=list(rows[0])).fillna("–")


def of_request(table, how, aim) -> str:
    """What chosen requests do beside their targets, as the end of a sentence."""
    chosen, random = flips(table, how, aim), flips(table, how, request="random")
    test = against_random(table, {how: aim}, "test")[how]
    return (f"the same requests change {told(chosen, 'others', PERCENT)} % of the bystanders "
            f"(random rows: {told(random, 'others', PERCENT)} %), and the test accuracy by "
            f"{told(test, 'apart', POINTS)} points against random rows")


def price(table, how, aim) -> str:
    """The same as `of_request` after chosen rows alone, shorter: what stands beside the labels."""
    test = against_random(table, {how: aim}, "test")[how]
    return (f"{told(flips(table, how, aim), 'others', PERCENT)} % of the bystanders' and "
            f"{told(test, 'apart', POINTS)} points of test accuracy")


def decided(shown, how, networks) -> str:
    """Where chosen rows change more labels than random ones beyond doubt. shown: names of how."""
    text = f"More than random rows, as far as {networks} networks show: " + (
        ", ".join(shown) or "nowhere") + "."
    if shown and len(shown) < len(how):
        text += " Elsewhere they do not decide."
    if SAME in shown:
        text += " So exact retraining is no protection: the rows are gone, and that is the attack."
    return text


def largest(table, how, shown) -> str:
    """The way with the largest mean effect, where it is none of those shown; and why it is not."""
    beyond = against_random(table, how)
    name = max(beyond, key=lambda k: beyond[k].apart.mean())
    if name in shown:
        return ""
    test = told(against_random(table, how, "test")[name], "apart", POINTS)
    why = ("so near 100 points, few networks give a wide interval"
           if beyond[name].apart.mean() > 80 else "its interval holds 0")
    return (f"The largest mean, {told(beyond[name], 'apart', POINTS)} points under {name} (test "
            f"accuracy {test}), is not among them: {why}.")


def lost(table) -> str:
    """How many outcomes are lost, where any is."""
    n = int(table.p.isna().sum())
    return (f"{n} of {len(table)} outcomes are lost because a network diverged; they count as no "
            "change.") * (n > 0)
