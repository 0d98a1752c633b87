"""How exposed a forget set is: an attack without labels on runs, references, and past the aim."""

import numpy as np

import labkit as lk

from .runs import seen
from .tables import curve


def of_runs(runs, attack, methods=None):
    """The table with `exposure` and `side`; NaN for lost runs, exposure also for other methods.

    attack: (features of deleted rows, of unseen rows) -> exposure. side: mean largest probability
    of deleted rows less that of unseen rows, in points.
    """
    sides = [(a, b) if methods is None or m in methods else (None, None)
             for m, a, b in zip(runs.method, runs.inside, runs.outside, strict=True)]
    found = lk.training.parallel(
        lambda pair: np.nan if pair[0] is None else attack(*pair), sides)
    surer = [np.nan if a is None else 100 * (a[:, 0].mean() - b[:, 0].mean())
             for a, b in zip(runs.inside, runs.outside, strict=True)]
    return runs.assign(exposure=np.array(found, float), side=surer)


def of_references(world, attack, seeds) -> dict:
    """original and random (retrained) -> the exposure of the random request, one a seed."""
    def one(seed):
        d, ref = world.data.resplit(seed), world.refs[seed]
        return [attack(*seen(ref["models"][name], d, ref["requests"]["random"]).values())
                for name in ("original", "random")]

    return dict(zip(("original", "random"), np.array(lk.training.parallel(one, seeds)).T,
                    strict=True))


def beside_retraining(results):
    """The runs of `judged` with `above`: AUC less that of the retrained model of the same seed."""
    aim = results[results.method == "retrained"].set_index(["kind", "seed"]).AUC
    same = [aim[key] for key in zip(results.kind, results.seed, strict=True)]
    return results.assign(above=results.AUC - same)


def figure_of(sweep, method, seeds, least_ta):
    """What plots.exposure shows of a method: mean UA, exposure by seed, whether TA is of use."""
    ua, exposed, ta = (curve(sweep, method, c, seeds)[1] for c in ("UA", "exposure", "TA"))
    return ua.mean(0), exposed, ta.mean(0) > least_ta


def usable_pair(tuned, aim, margin=3.0, most=10.0):
    """The strength nearest to the aim's UA and the strongest usable one past it; or None.

    tuned: table of UA and TA by strength, on tuning seeds; aim: retraining's UA and TA there.
    Past: more than `margin` points; usable: TA at most `most` points below retraining's.
    """
    if tuned.empty:
        return None
    at = (tuned.UA - aim["UA"]).abs().idxmin()
    usable = tuned[(tuned.UA > max(aim["UA"], tuned.UA[at]) + margin)
                   & (tuned.TA > aim["TA"] - most)]
    return (at, usable.UA.idxmax()) if len(usable) else None


def at_and_past(sweep, grid, methods, aim, seeds):
    """For each method, runs at both strengths of usable_pair, and the claim's values.

    -> {method: {UA, exposure, side: (seeds, 2), at and past}}, {part of the claim: values by seed}.
    A method with no usable strength has no values, and its parts no verdict.
    """
    pairs, values = {}, {}
    for m in methods:
        strengths = list(curve(sweep, m, "exposure", seeds)[0])
        tuned = grid[(grid.kind == "random") & (grid.method == m)]
        tuned = tuned.groupby("strength")[["UA", "TA"]].mean()
        pair = usable_pair(tuned[tuned.index.isin(strengths)].dropna(), aim)
        values |= {f"exposure {m}": [], f"side {m}": []}
        if pair:
            two = [strengths.index(v) for v in pair]
            pairs[m] = {c: curve(sweep, m, c, seeds)[1][:, two] for c in ("UA", "exposure", "side")}
            at, past = pairs[m]["exposure"].T
            values |= {f"exposure {m}": past - at, f"side {m}": pairs[m]["side"][:, 1]}
    return pairs, values


def place(pair, ua):
    """Where the stronger setting lies on the judged seeds: 'past', 'below' or 'near' the aim's UA.

    pair: of at_and_past; ua: retraining's UA, one a seed.
    """
    low, high = lk.measure.interval(pair["UA"][:, 1] - ua, limits=(-100, 100))[1:]
    return "past" if low > 0 else "below" if high < 0 else "near"


def wrong_strangers(world, scores, auc, seeds):
    """AUC of the original's forget set against the retain set, which it has seen too, by seed."""
    found = []
    for s in seeds:
        d, ref = world.data.resplit(s), world.refs[s]
        rows, model = ref["requests"]["random"], ref["models"]["original"]
        retain = d.split(rows).retain
        found.append(auc(scores(model, d.x[rows], d.y[rows]),
                         scores(model, d.x[retain], d.y[retain])))
    return found
