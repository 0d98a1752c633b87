"""Numbers as sentences: intervals over networks, and every defence's outcome in one place."""

from dataclasses import dataclass

import numpy as np

from labkit.measure import interval, show_interval

from .answering import ANSWERS
from .inverters import STEPS, near

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
    """'12.3 [10.1, 14.2] dB (90 [70, 97] % of the pictures rebuilt)'"""
    return (f"{in_dB(gain, seeds)} "
            f"({percent(near(gain), seeds)} % of the pictures rebuilt)")


def verdicts(cases) -> list:
    """What helps against whom, sentences. cases: name -> (gains in dB, seeds); 5 dB is success."""
    found = {name: sides(*x, 5.0) for name, x in cases.items()}
    heads = {"below": "**Helps**, the gain being below 5 dB with its interval",
             "above": "**Does not help**", "open": "**Open**"}
    return [f"{head}: " + ("; ".join(f"{name} ({in_dB(*x)})" for name, x in cases.items()
                                     if found[name] == side) or "none") + "."
            for side, head in heads.items()]


def compared(difference, seeds, limits=(-100, 100)) -> str:
    """A difference of shares in points, and what its interval shows."""
    _, low, high = spread(difference, seeds, limits)
    what = "more" if low > 0 else "fewer" if high < 0 else "no change shown"
    return f"{percent(difference, seeds, limits)} points ({what})"


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

    def left(self, who, guess=0.0):
        """The share of the attack's lead over a guess that is left, by the means."""
        part = getattr(self, who)
        lead = self.undefended.mean() - guess
        return None if part is None else (part.mean() - guess) / lead if lead > 0 else np.nan


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
