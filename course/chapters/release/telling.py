"""Numbers as sentences: intervals over networks, and every defence's outcome in one place."""

from dataclasses import dataclass

import numpy as np

from labkit.measure import interval, show_interval

from .answering import ANSWERS
from .inverters import near
from .released import STEPS, retrained_rise

LIMITS = {"inversion": (0, 100), "answers": (0, 100), "requests": (-100, 100)}


def of(values, seeds) -> np.ndarray:
    """The number of the network of each value: rows of one network are no independent units."""
    return np.repeat(range(len(seeds)), len(values) // len(seeds))


def spread(shares, seeds, limits=(0, 100)):
    """Mean and 95 % interval in percent, from shares."""
    return interval(100 * np.asarray(shares), of(shares, seeds), limits)


def percent(shares, seeds, limits=(0, 100)) -> str:
    """'12 [3, 20]', in percent."""
    return show_interval(100 * np.asarray(shares), clusters=of(shares, seeds), limits=limits,
                         digits=0)


def in_dB(gain, seeds) -> str:
    """'12.3 [10.1, 14.2] dB'"""
    return f"{show_interval(gain, clusters=of(gain, seeds))} dB"


def sides(values, seeds, line=0.0, limits=None) -> str:
    """'above', 'below' or 'open': where the 95 % interval of the mean lies."""
    _, low, high = interval(values, of(values, seeds), limits)
    return "above" if low > line else "below" if high < line else "open"


def told(gain, seeds) -> str:
    """'12.3 [10.1, 14.2] dB (19 of 21 rebuilt)'"""
    return f"{in_dB(gain, seeds)} ({near(gain).sum():.0f} of {len(gain)} rebuilt)"


def verdicts(cases) -> list:
    """What stops whom, sentences. cases: name -> (gains in dB, seeds). Below 1 dB an attack is
    stopped, as in the claim on noise; from 5 dB on a picture counts as rebuilt.
    """
    def found(x):
        return ("stopped" if sides(*x, 1.0) == "below" else "rebuilt" if sides(*x, 5.0) == "above"
                else "open")

    heads = {"stopped": "Stopped, below 1 dB with the interval", "rebuilt": "Rebuilt, above 5 dB",
             "open": "In between or open"}
    told = [(f"{head}: ", [f"{name} ({in_dB(*x)})" for name, x in cases.items()
                           if found(x) == side]) for side, head in heads.items()]
    return [head + "; ".join(names) + "." for head, names in told if names]


@dataclass(frozen=True)
class Outcome:
    """Success of one attack, a number a target: without a defence, under it, by who knows it.

    kind: inversion, answers or requests; adaptive: None where nobody can adapt.
    """

    kind: str
    seeds: list
    undefended: np.ndarray
    plain: np.ndarray
    adaptive: np.ndarray | None = None

    def halved(self, who, guess=0.0):
        """For each network whether the defence takes more than half of the attack's lead over a
        guess, by the means of its rows. -> (networks,) bool; None where nobody can adapt
        """
        if getattr(self, who) is None:
            return None
        bare, left = (np.reshape(x, (len(self.seeds), -1)).mean(1) - guess
                      for x in (self.undefended, getattr(self, who)))
        return (bare > 0) & (left < bare / 2)


def withstanding(outcomes, guess):
    """Which defences take more than half of an attack's lead: from both attackers in every network,
    from both in some networks only, from the plain one alone in every network; and which take it
    from the plain one in no network. -> four lists

    outcomes: name -> Outcome; guess: share of classes that a guess names.
    """
    every, some, plainly, never = [], [], [], []
    for name, x in outcomes.items():
        lead = guess * (x.kind == "answers")
        plain = x.halved("plain", lead)
        never += [name] * bool(not plain.any())
        if x.adaptive is None:
            continue
        both = plain & x.halved("adaptive", lead)
        (every if both.all() else some if both.any() else plainly if plain.all() else []).append(
            name)
    return every, some, plainly, never


def still_unlearned(worlds, swept, names):
    """Deleted rows' losses under releases, and under retrained networks after the same change.

    -> (rows of a table; names under which the loss of most rows lies below what it was before the
    deletion; names under which it lies below that of the retrained network after the same change)
    """
    rows, fallen, again = [], [], []
    for name in names:
        rise = swept.risen(name)
        exact = np.concatenate([retrained_rise(w, name) for w in worlds if w.seed in swept.seeds])
        told = [show_interval(x, clusters=of(x, swept.seeds)) for x in (rise, exact, rise - exact)]
        rows.append({"change": name, **dict(zip(("release", "retrained, same change", "difference"),
                                                told, strict=True)),
                     "rows where the release's is lower": f"{(rise < exact).sum()} of {len(rise)}"})
        fallen += [name] * bool((rise < 0).mean() > 0.5)
        again += [name] * bool((rise < exact).mean() > 0.5)
    return rows, fallen, again


def outcomes(found, private, named, noise, loose, least) -> dict:
    """Every defence's Outcome. found: Sweep; private: Private; named: (defence, who) -> shares.

    noise: name of the noise that is shown; loose, least: ε without noise, and the least one.
    """
    free = near(found.gain("none"))
    out = {name: Outcome("inversion", found.seeds, free, near(found.gain(name)),
                         near(found.gain(name, "adaptive")))
           for name in (noise, "pruning 50 %", f"fine-tuning {STEPS[-1]}")}
    bare = near(private.of(loose, "ascent"))
    out["DP training, ordinary step"] = Outcome("inversion", private.seeds, bare,
                                                near(private.of(least, "ascent")))
    out["DP training and step"] = Outcome("inversion", private.seeds, bare,
                                          near(private.of(least, "noisy")),
                                          near(private.of(least, "averaged")))
    for name in [n for n in ANSWERS if n != "all digits"]:
        out[f"answers: {name}"] = Outcome("answers", found.seeds, named["all digits", "plain"],
                                          named[name, "plain"], named[name, "adaptive"])
    out[f"DP training, ε = {least:g}"] = Outcome("requests", private.seeds, *(
        private.beyond(e, who) for e, who in ((loose, "chosen"), (least, "chosen"),
                                              (least, "aware"))))
    return out
