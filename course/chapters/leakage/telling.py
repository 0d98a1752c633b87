"""Measured numbers in words."""

import numpy as np
import pandas as pd

from labkit.measure import interval, show_interval

UNIT, DIFFERENCE = (0, 1), (-1, 1)


def share(values) -> str:
    """Mean and interval of AUCs or shares: '0.82 [0.78, 0.86]'."""
    return show_interval(values, limits=UNIT)


def difference(values) -> str:
    """Mean and interval of a difference of AUCs."""
    return show_interval(values, limits=DIFFERENCE)


def less(one, other) -> np.ndarray:
    """Original by original, or world by world, one less the other."""
    return np.asarray(one, float) - np.asarray(other, float)


def side(values, above="more", below="less", neither="not told apart here") -> str:
    """A word for a difference whose interval lies above 0, below 0, or holds it."""
    _, low, high = interval(values, None, DIFFERENCE)
    return above if low > 0 else below if high < 0 else neither


def beyond(values, line=0.0, limits=DIFFERENCE) -> list:
    """Names whose whole interval lies above a line. values: name -> numbers"""
    return [name for name, v in values.items() if interval(v, None, limits)[1] > line]


def gain_less(one, other, base) -> np.ndarray:
    """Gain over a baseline ('classic' or 'label') in one contest, less that in another."""
    return less(*(less(c["two"], c[base]) for c in (one, other)))


def hidden(found, line) -> tuple:
    """Methods whose whole interval lies below the line by one rule, and above it row by row.

    found: method -> row_contest. -> their names, and the method with the lowest AUC by the one rule
    """
    ends = {m: [interval(c[who], None, UNIT) for who in ("population", "row")]
            for m, c in found.items()}
    return ([m for m, (one, row) in ends.items() if one[2] < line < row[1]],
            min(ends, key=lambda m: ends[m][0][0]))


def places(claim, parts) -> str:
    """Places for `Lab.say_committed`, a name and a place for each part: 'mlp: {claim.mlp}; …'."""
    return "; ".join(f"{part}: {{{claim}.{part}}}" for part in parts)


def contests(found) -> pd.DataFrame:
    """A row a victim: accuracies, the attacks, what was chosen on shadows."""
    return pd.DataFrame([{
        "victim": name, "training, test accuracy":
            " / ".join(f"{100 * a:.0f}" for a in np.mean(pairs.accuracy, 0)),
        "classic": share(c["classic"]), "label before": share(c["label"]),
        "two versions": share(c["two"]), "gain": difference(less(c["two"], c["classic"])),
        "chosen": f"{c['kind']}, {c['name']}"} for name, (c, pairs) in found.items()])


def methods(found, untouched) -> pd.DataFrame:
    """A row a method: both attacks, pooled too, what doing nothing has more, TPR at 1 % FPR."""
    return pd.DataFrame([{
        "method": name, "row by row": share(c["row"]), "one rule": share(c["population"]),
        "both, pooled": " / ".join(f"{a:.2f}" for a in c["pooled"]),
        "untouched less method":
            "—" if c is untouched else difference(less(untouched["row"], c["row"])),
        "TPR at 1 % FPR": f"{100 * c['tpr'][0]:.1f} %"} for name, c in found.items()])


def project_table(reached) -> pd.DataFrame:
    """A row for each way of answering, a column for each attacker. reached: where -> who -> AUCs"""
    return pd.DataFrame([{"answers": where} | {who: share(a) for who, a in by.items()}
                         for where, by in reached.items()])


def both_attackers(reached) -> str:
    """For each way of answering, AUC of the course's attacker and of section 2's. -> text"""
    return "; ".join(f"{where} {share(by['course'])} and {share(by['section 2'])}"
                     for where, by in reached.items())


def gap_of(pairs) -> np.ndarray:
    """Training less test accuracy of each original."""
    return -np.diff(np.array(pairs.accuracy), axis=1).ravel()
