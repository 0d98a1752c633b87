"""Numbers with their intervals, as sentences and tables show them."""

import numpy as np
import pandas as pd

from labkit.measure import interval


def pm(values, clusters, sign="-", digits=1, limits=None) -> str:
    """'4.2 [2.0, 6.1]' over the means of the seeds; '4.2' where one seed has no interval.

    clusters: the seed of each value; None where each value is a seed's. limits: of the quantity.
    """
    mean, low, high = interval(values, clusters, limits)
    shown = f"{mean:{sign}z.{digits}f}"
    return shown + (f" [{low:z.{digits}f}, {high:z.{digits}f}]" if np.isfinite(low) else "")


def tell(values, clusters, above: str, unclear: str = "", below: str = "") -> str:
    """One of three texts: the whole 95 % interval is above 0, holds it (or there is none), or is
    below.
    """
    _, low, high = interval(values, clusters)
    return above if low > 0 else below if high < 0 else unclear


def half_width(values, clusters) -> float:
    """Half the width of the 95 % interval over the means of the seeds: a smaller mean would not be
    told from 0.
    """
    _, low, high = interval(values, clusters)
    return (high - low) / 2


def share_near(gains, clusters) -> str:
    """Percent of rows at least 5 dB nearer than the class mean, with its interval."""
    return pm(100.0 * (gains >= 5), clusters, digits=0, limits=(0, 100))


def change_table(alone, clusters) -> pd.DataFrame:
    """What one_thing_at_a_time found, a row a change, with intervals."""
    return pd.DataFrame([{"what alone is changed": what, "gain before, dB": pm(old, clusters),
                          "after": pm(new, clusters), "change": pm(new - old, clusters, "+")}
                         for what, (old, new) in alone.items()])


def crowd_table(in_crowd, weights, clusters) -> pd.DataFrame:
    """What crowd_sizes found, a row a size of request, with intervals."""
    return pd.DataFrame([{"rows in the request": u, "weight of the prior": f"{weights[u]:g}",
                          "gain, dB": pm(g, clusters), "at least 5 dB, %": share_near(g, clusters)}
                         for u, g in in_crowd.items()])


def causes_told(alone, clusters) -> tuple[str, str, str]:
    """What one_thing_at_a_time found: which changes lower the gain; what more rows do in few and in
    many batches (empty where they are not told apart); what more epochs do.
    """
    fall = {change: old - new for change, (old, new) in alone.items()}
    few, many, epochs, *_ = fall
    lower = sorted((k for k, v in fall.items() if tell(v, clusters, "yes")),
                   key=lambda k: -fall[k].mean())
    costs = ("These changes of the table lower the gain, the largest fall first: "
             + ("; ".join(lower) or "none that can be told") + ".")
    if lower[1:]:
        lead = fall[lower[0]] - fall[lower[1]]
        costs += (f" The first costs {pm(lead, clusters)} dB more than the second"
                  + tell(lead, clusters, ".", ": which costs more is open.", "."))
    apart = many in lower and few not in lower and tell(fall[many] - fall[few], clusters, "yes")
    more = -fall[epochs]
    return (costs, "More rows lower the gain in ordinary fine-tuning, and are not seen to in "
            "gentle: rows, learning rate and batches act together, and their parts are open."
            * bool(apart), f"From {epochs}, the gain changes by {pm(more, clusters, '+')} dB"
            + tell(more, clusters, ": more steps alone do not lower it.", ".", "."))


def order_told(more, clusters) -> str:
    """What retraining in the old order adds to the gain over a fresh one, dB, one a row."""
    return ("When ordinary retraining keeps the old order, the gain changes by "
            f"{pm(more, clusters, '+')} dB"
            + tell(more, clusters, ": the fresh order hides part of the row.",
                   "; whether the order matters is open.",
                   ": it is not the fresh order that hides the row."))


def rounding_told(bits, clusters) -> str:
    """What rounding to float32 leaves of a converged model's informed difference. bits: (t, 4),
    what `rounded` gives.
    """
    left, lost = bits[:, 3], bits[:, 2] - bits[:, 3]
    return ("From a start that has converged on the row too, the cosine with the true gradient is "
            f"{bits[:, 0].mean():.3f} from float64 weights, and "
            f"{pm(bits[:, 1], clusters, limits=(-1, 1), digits=2)} from the same rounded to "
            f"float32. Inverted, these gain {pm(left, clusters)} dB, "
            f"{pm(lost, clusters)} dB less"
            + tell(lost, clusters, ": rounding weakens the trace.", "; that is open.", ".")
            + tell(left, clusters, " It does not destroy it.", " Whether more than a guess is left "
                   "is open.", " No more than a guess is left."))


def sureness_told(sure, gains, clusters) -> tuple[str, str]:
    """How gains, dB, go with the probability of the label, one a row. -> (numbers, what they say of
    rows that the model is sure of: empty where that is not decided)
    """
    rho, (hard, easy) = rank_by_seed(sure, gains, clusters), (gains[sure < 0.5], gains[sure >= 0.9])
    text = f"the rank correlation within a seed is {pm(rho, None, digits=2, limits=(-1, 1))}."
    if len(hard) and len(easy):
        text += (f" Rows whose label had less than 0.5 gain {hard.mean():.1f} dB "
                 f"(n = {len(hard)}), those with at least 0.9 {easy.mean():.1f} dB "
                 f"(n = {len(easy)}).")
    sure_less = bool(interval(rho, limits=(-1, 1))[2] < 0)
    return text, "Rows that the model is sure of leak less." * sure_less


def tables_told(better, clusters) -> str:
    """How far the closed form is ahead of guesses on tables. better, clusters: of over_guesses."""
    over = " and ".join(f"{pm(v, clusters[kind], digits=2, limits=(-2, 2))} on the {kind} table"
                        for kind, v in better.items())
    return ("On tables, over all losses and penalties, the rebuilt row's cosine is ahead of the "
            "better guess, the class mean or the public row whose answer changed most, by "
            f"{over}.")


def rank_by_seed(a, b, clusters) -> list[float]:
    """Spearman's rank correlation of two columns, within each seed."""
    frame = pd.DataFrame(dict(a=a, b=b, seed=clusters))
    return [g[["a", "b"]].rank().corr().iloc[0, 1] for _, g in frame.groupby("seed", sort=False)]
