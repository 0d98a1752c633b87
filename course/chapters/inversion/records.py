"""What the loops left, in the form that figures, sentences and claims need."""

import numpy as np
import torch

from labkit import attack, training
from labkit.measure import psnr

from .code import ssim
from .searches import leaked
from .tables import TABLES
from .worlds import ascend, tune


def look_gains(worlds, looks) -> list[np.ndarray]:
    """Gains, dB, of the three parts of first_look, over all worlds."""
    return [np.concatenate([(psnr(look[part], w.pixels) - w.guess).cpu()
                            for w, look in zip(worlds, looks, strict=True)]) for part in range(3)]


def overview(worlds, looks, most=8):
    """(deleted pictures, {name: pictures}) for `beside`: rebuilt, class mean, wrong request. The
    first rows of every world, at most so many.
    """
    shown = [(i, j) for j in worlds[0].rows for i in range(len(worlds))][:most]
    parts = {"rebuilt": [look[0] for look in looks],
             "class mean": [w.means[w.label] for w in worlds],
             "wrong request": [look[1] for look in looks]}
    return (torch.stack([worlds[i].pixels[j] for i, j in shown]),
            {name: torch.stack([found[i][j] for i, j in shown]) for name, found in parts.items()})


def likeness(worlds, looks) -> tuple[float, float]:
    """Mean SSIM with the deleted pictures: of the rebuilt ones, and of the class means."""
    made = [look[0] for look in looks], [w.means[w.label] for w in worlds]
    return tuple(np.mean([ssim(p.cpu(), w.pixels.cpu()).mean() for p, w
                          in zip(pictures, worlds, strict=True)]) for pictures in made)


def closed_form(worlds, formula):
    """One step of ascent on the perceptron, undone by a formula: (model, update) -> pixels.

    -> (largest error of a pixel, gains in dB), over all rows of all worlds.
    """
    off, gains = [], []
    for w in worlds:
        theta = tune(w, "mlp", list(range(32)))
        for j in w.rows:
            x = leaked(w, theta, attack.difference(theta, ascend(w, theta, j)), formula)
            off.append((x - w.pixels[j]).abs().max().item())
            gains.append((psnr(x, w.pixels[j]) - w.guess[j]).item())
    return max(off), np.array(gains)


def gain_at(sweep, net, sizes, epochs, recipe, kind="plain") -> np.ndarray:
    """Gain of each deleted row, in order, averaged over settings of exact_records."""
    s = sweep[(sweep.net == net) & sweep.N.isin(sizes) & sweep.epochs.isin(epochs)
              & (sweep.recipe == recipe) & (sweep.kind == kind)].sort_values(["i", "j"])
    return np.mean([g.gain.to_numpy() for _, g in s.groupby(["N", "epochs"])], 0)


def exact_parts(sweep, sizes, late) -> dict:
    """The parts of the claim on exact unlearning: gains in dB, one a row, and rank correlations.

    small: N = 8, one step; large: mean over N of at least 64 and the epochs `late`.
    """
    many = [n for n in sizes if n >= 64]
    return {"small": gain_at(sweep, "mlp", [8], [1], "gentle"),
            "large": gain_at(sweep, "mlp", many, late, "ordinary"),
            "cosine": rank_correlations(sweep),
            "large-gentle": gain_at(sweep, "mlp", many, late, "gentle"),
            "small-informed": gain_at(sweep, "mlp", [8], [1], "gentle", "informed"),
            "large-informed": gain_at(sweep, "mlp", many, late, "gentle", "informed")}


def recipe_costs(sweep, late) -> dict:
    """dB that other recipes cost against the gentle one at N = 64, one a row; 'surplus': of both
    changes together, less each alone.
    """
    at = {r: gain_at(sweep, "mlp", [64], late, r)
          for r in ("gentle", "small batches", "large steps", "ordinary")}
    lost = {r: at["gentle"] - g for r, g in at.items() if r != "gentle"}
    return lost | {"surplus": lost["ordinary"] - lost["small batches"] - lost["large steps"]}


def one_thing_at_a_time(sweep, sizes, epochs, late) -> dict:
    """What alone is changed -> (gains before, gains after), dB, one a row; on the perceptron, with
    the plain difference. The first two are more rows: in few batches, and in many.
    """
    few, most, many = [min(sizes)], [max(sizes)], [n for n in sizes if n >= 64]
    first, last = [min(epochs)], [max(epochs)]

    def at(n, e, recipe):
        return gain_at(sweep, "mlp", n, e, recipe)

    more = f"{few[0]} to {most[0]} rows"
    return {f"{more}, gentle": (at(few, epochs, "gentle"), at(most, epochs, "gentle")),
            f"{more}, ordinary": (at(few, epochs, "ordinary"), at(most, epochs, "ordinary")),
            f"{first[0]} to {last[0]} epochs, ordinary, 64 rows or more":
            (at(many, first, "ordinary"), at(many, last, "ordinary")),
            "gentle to large steps, 64 rows": (at([64], late, "gentle"),
                                               at([64], late, "large steps")),
            "gentle to small batches, 64 rows": (at([64], late, "gentle"),
                                                 at([64], late, "small batches")),
            "gentle to ordinary, 64 rows or more": (at(many, late, "gentle"),
                                                    at(many, late, "ordinary"))}


def summaries(sweep, ways, linear) -> dict:
    """Means of the three large tables, by what the run's record is to keep of them."""
    kept = {"exact": (sweep, ["net", "kind", "recipe", "N", "epochs"], ["cosine", "gain"]),
            "methods": (ways, ["name"], ["cosine", "gain"]),
            "linear": (linear, ["data", "loss", "columns", "penalty"], ["rebuilt", "mean"])}
    return {name: frame.groupby(by)[values].mean().round(4)
            for name, (frame, by, values) in kept.items()}


def rank_correlations(sweep) -> list[float]:
    """For each row, over all plain settings on the perceptron: cosine against gain."""
    plain = sweep[(sweep.net == "mlp") & (sweep.kind == "plain")]
    return plain.groupby(["i", "j"])[["cosine", "gain"]].apply(
        lambda s: s.rank().corr().iloc[0, 1]).tolist()


def sureness(worlds) -> np.ndarray:
    """The probability that the public perceptron gives to the label of each row to be deleted."""
    return np.concatenate([training.predict(w.nets["mlp"], w.data.x[:len(w.label)]).softmax(1)
                           .gather(1, w.label[:, None])[:, 0].cpu().numpy() for w in worlds])


def over_guesses(linear) -> tuple[dict, dict]:
    """Tables: cosine of the rebuilt row less that of the better guess, one value a row, the mean
    over losses and penalties; and the seed of each.
    """
    found = {}
    for text, name in zip(("medical", "financial"), TABLES, strict=True):
        g = linear[linear.data == name]
        g = g.assign(more=g.rebuilt - g[["mean", "changed"]].max(axis=1))
        found[text] = g.groupby(["seed", "j"]).more.mean()
    return ({text: v.tolist() for text, v in found.items()},
            {text: v.index.get_level_values("seed").tolist() for text, v in found.items()})
