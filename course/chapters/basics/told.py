"""What the notebook on basics says of its comparisons: sentences that follow the numbers."""

import labkit as lk

from .exposure import place
from .plots import NAMES
from .tables import beyond, points, ratio

show = lk.measure.show_interval


def listed(names):
    """'a, b and c', or 'none'."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:]))) or "none"


def difference(values):
    """Mean and 95 % interval of a difference of two AUCs. -> text"""
    return show(values, limits=(-1, 1))


def _counted(n, word):
    return f"{n} {word}{'s' * (n != 1)}"


def clear(values, limits=(-1, 1)):
    """1 or -1 where the 95 % interval lies above or below 0, else 0."""
    low, high = lk.measure.interval(values, None, limits)[1:]
    return int(low > 0) - int(high < 0)


def by_chance(shares, sizes):
    """How far two shares of samples of one pool lie apart by chance, in points (95 %). -> float

    shares: two, in percent; sizes: rows of each sample. The usual normal approximation.
    """
    p = sum(share * n for share, n in zip(shares, sizes, strict=True)) / sum(sizes) / 100
    return 196 * (p * (1 - p) * sum(1 / n for n in sizes)) ** 0.5


def gaps(g, of_class, n):
    """The methods beside the untouched model and a second retraining. -> lists of names, text

    g, of_class: method -> gaps by seed, random and class request; n: number of methods.
    """
    chance = g["retrained, fresh seed"]
    found = dict(closer=beyond(g, -1), clearly=beyond(g, -1, least=chance), worse=beyond(g, 1),
                 further=beyond(g, 1, "retrained, fresh seed"))
    of = {name: listed(methods) for name, methods in found.items()}
    best = next(m for m in of_class if m in NAMES)
    rest = "" if len(found["further"]) == n else "; for the others these seeds do not decide it"
    return found, (
        f"- **Random request.** The untouched model is {points(g['untouched'])} from retraining, "
        f"a second retraining {points(chance)}. Closer than the untouched model, paired over "
        f"seeds and corrected for {n} methods: {of['closer']}; by more than two honest "
        f"retrainings differ: {of['clearly']}. Further away, so worse than doing nothing: "
        f"{of['worse']}. Still further than a second retraining: {of['further']}{rest}.\n"
        f"- **Class request.** The untouched model is {points(of_class['untouched'])} away. The "
        f"smallest mean gap has {NAMES[best]}, {points(of_class[best])}. It was picked as the "
        f"best of {n} on these same seeds, so that gap flatters it. No second retraining "
        "tells how much of it is chance.")


def cost(shares, parts, long):
    """What fine-tuning costs and leaves. parts: verdicts of the gaps' parts; long: of longer runs.
    """
    half = [{"reproduced": "less than half", "not reproduced": "not less than half"}.get(
        part["verdict"], "more or less than half is undecided") for part in parts]
    text = [f"Fine-tuning makes {shares['visits'].mean():.2f} of retraining's visits and takes "
            f"{ratio(shares['cpu'])} of its CPU seconds. Of the untouched model's gap it leaves "
            f"{ratio(shares['gap (random)'])} for the random request ({half[0]}) and "
            f"{ratio(shares['gap (class)'])} for the class ({half[1]})."]
    text += [f"With {t} times the epochs ({part.spent.mean():.2f} of the visits, "
             f"{_counted(len(part), 'seed')}) {ratio(part.left)} is left of the random gap."
             for t, part in long.dropna().groupby("times")]
    if lost := long.left.isna().sum():
        text.append(f"{_counted(lost, 'longer run')} diverged and are left out.")
    return " ".join(text)


def _setting(method, pair, ua, exposed, verdicts):
    """One line on a method: where its two settings lie, its exposure, and on which side."""
    (at, past), side = pair["exposure"].T, pair["side"][:, 1]
    where = {"past": "past it by", "below": "**not past it**, the difference is",
             "near": "not clearly past it, the difference is"}[place(pair, ua)]
    tested = place(pair, ua) == "past"
    half, other = (f" ({text}{verdicts[f'{part} {method}']})" * tested for part, text in
                   (("exposure", ""), ("side", "other side: ")))
    surer = {1: "surer", -1: "less sure", 0: "not shown to be surer or less sure"}[
        clear(side, (-100, 100))]
    untested = ("" if tested else " The claim is *not tested in that sense* here, though its card "
                "judges these two parts as well.")
    return (f"- **{NAMES[method]}**, UA {pair['UA'][:, 0].mean():.0f} and then "
            f"{pair['UA'][:, 1].mean():.0f} % (retraining's is {ua.mean():.0f} %; {where} "
            f"{points(pair['UA'][:, 1] - ua)}). Exposure less the retrained model's: "
            f"{difference(at - exposed)}, then {difference(past - exposed)}; it changes by "
            f"{difference(past - at)}{half}. The second is {surer} of the forget set by "
            f"{points(side if side.mean() > 0 else -side)}{other}.{untested}")


def pushed(pairs, methods, ua, exposed, verdicts):
    """What pushing harder does. -> text, exposure, names

    exposure: method whose second setting lies past retraining's UA -> how far its exposure there
    exceeds the retrained model's, by seed; names: of those for which both halves of the claim hold.
    pairs: of exposure.at_and_past; methods: all that were asked; ua, exposed: UA and exposure of
    the retrained models, one a seed; verdicts: part of the claim -> verdict.
    """
    lines = [_setting(m, pair, ua, exposed, verdicts) for m, pair in pairs.items()]
    past = {m: pair["exposure"][:, 1] - exposed for m, pair in pairs.items()
            if place(pair, ua) == "past"}
    whole = [NAMES[m] for m in past
             if verdicts[f"exposure {m}"] == verdicts[f"side {m}"] == "reproduced"]
    against = [f"{NAMES[m]} ({half})" for m in past for half in ("exposure", "side")
               if verdicts[f"{half} {m}"] == "not reproduced"]
    already = [NAMES[m] for m, pair in pairs.items()
               if clear(pair["exposure"][:, 0] - exposed) > 0]
    end = [f"So {len(past)} of {len(methods)} methods were judged past retraining's UA. Both "
           f"halves are shown for {listed(whole)}; the opposite of a half for "
           f"{listed(against)}. Exposed "
           "above retraining's at the first setting already, which the first half does not count: "
           f"{listed(already)}."]
    if none := [NAMES[m] for m in methods if m not in pairs]:
        end.append("With no setting of use past retraining's UA on the tuning seeds: "
                   f"{listed(none)}.")
    return "\n".join(lines) + "\n\n" + " ".join(end), past, whole


def own(name, found, g, auc, exposed, known):
    """How a method of one's own does. -> text on its gap, text on the attacks

    found: its runs by seed; g: method -> gaps; auc, exposed: of the retrained models, one a seed;
    known: runs, the retrained ones among them, with their visits and cpu.
    """
    share = found[["visits", "cpu"]].mean() / known.loc[known.method == "retrained",
                                                        ["visits", "cpu"]].mean()
    less = {m: (found.gap - g[m]).dropna() for m in ("finetune", "neggrad_plus") if m in g}
    gap = (f"The gap of {name}, at {share['visits']:.2f} of retraining's visits and "
           f"{share['cpu']:.2f} of its CPU time, less that of " + ", of ".join(
               f"{NAMES[m]}: {points(v)}" for m, v in less.items()) + ".")
    above = {"loss attack": (found.AUC - auc).dropna(),
             "attack without labels": (found.exposure - exposed).dropna()}
    more = [k for k, v in above.items() if clear(v) > 0]
    alone = {"loss attack": found.AUC.dropna() - 0.5, "attack without labels":
             found.exposure.dropna()}
    finds = [k for k in more if clear(alone[k]) > 0]
    text = ("AUC less retraining's on the same seed: " + ", ".join(
        f"{k} {difference(v)}" for k, v in above.items()) + ". ")
    if more:
        chance = f"is shown for the {listed(finds)}" if finds else "is not shown"
        return gap, text + (f"What the gap does not tell: the AUC of the {listed(more)} is above "
                            f"retraining's; above 0.5 {chance}.")
    return gap, text + ("Neither attack is shown to find the deleted rows, which does not show "
                        "that none can.")


def in_this_run(beside, apart, past, whole, methods):
    """What only this run shows of the methods, two points of the answer. -> text

    beside: lists of names, of gaps; apart: names that leave a higher AUC than retraining; past,
    whole: of pushed; methods: all that were pushed.
    """
    left = [n for n in NAMES.values() if n not in beside["further"] + apart]
    exposed = [f"{NAMES[m]} {difference(v)}" for m, v in past.items()]
    return (
        "- **Beside the reference**: for a random tenth, closer than doing nothing by more than "
        f"two retrainings differ: {listed(beside['clearly'])}. Not shown to differ from "
        "retraining, neither by a gap above a second retraining's nor by the loss attack: "
        f"{listed(left)}.\n- **Too hard**: exposure above the retrained model's, past its UA: "
        f"{listed(exposed)}. Both halves of the claim are shown for {listed(whole)}; not tested in "
        f"that sense: {listed([NAMES[m] for m in methods if m not in past])}.\n")


def winners(ranked, g):
    """Which method is closest on each seed alone, and what all seeds say. ranked: judged runs."""
    won = ranked.loc[ranked.groupby("seed")["gap"].idxmin(), "method"].value_counts()
    text = ("Asked alone, seeds name " + ", ".join(f"{NAMES[m]} ({n}×)" for m, n in won.items())
            + " the closest.")
    if len(won) < 2:
        return text
    last, first = won.index[-1], won.index[0]
    apart = (g[last] - g[first]).dropna()
    return text + (f" All together, the mean gap of {NAMES[last]} less that of {NAMES[first]} is "
                   f"{points(apart)}, which " + ("decides" if clear(apart, (-100, 100)) else
                                                 "does not decide") + " between them.")
