"""What the notebook asks besides: another mask, the bound, a backdoor, features, a second network.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from labkit import training, unlearn
from labkit.attack import BlackBox
from labkit.data import load
from labkit.measure import accuracy
from labkit.models import MODELS, build
from labkit.verify import Trigger, hits, plant

from .code import imp, synflow_mask
from .distances import ascent_bound
from .judging import least, splits
from .trials import asked_rows, attempt, contest, fit_masked, on, parallel, retrain, score


def leaks(study, asked, net):
    """Retraining with the old mask and with a new one; nothing else differs.

    -> four measures of the original, "old mask" and "new mask"; "common": the share of the kept
    weights that both masks keep, in percent.
    """
    data, seed, forget = net.data, net.seed, asked_rows(net, asked)
    old = retrain(study, data, seed, net.mask, forget)
    clean = retrain(study, data, seed, None, forget)
    mask = study.mask(clean, net.sparsity)  # what pruning would have found without these rows
    new = retrain(study, data, seed, mask, forget)
    both = sum(int((mask[k] & net.mask[k]).sum()) for k in mask)
    models = {"original": net.model, "old mask": old, "new mask": new}
    return {name: score(m, data, forget) for name, m in models.items()} | {
        "common": 100 * both / sum(int(keep.sum()) for keep in net.mask.values())}


def bound_ratios(study, networks, seeds, sparsity, rows, iterations):
    """The parts of ascent's bound at a sparsity over those of the dense networks, one a seed.

    rows, iterations: of the power iteration; the rate is the schedule's mean. -> name -> list
    """
    recipe, both = study.recipe, [net for net in networks if net.sparsity in (0.0, sparsity)]

    def parts(net):
        steps = recipe["epochs"] * -(-len(net.data.y) // recipe["batch_size"])
        return ascent_bound(net.model, study.build(net.seed), net.data, mask=net.mask,
                            lr=recipe["lr"] / 2, steps=steps, n_rows=rows, iterations=iterations)

    found = {(net.seed, net.sparsity): row
             for net, row in zip(both, parallel(parts, both), strict=True)}
    return {c: [found[s, sparsity][c] / found[s, 0.0][c] for s in seeds]
            for c in ("bound", "path", "sigma")}


def digit_probe(data):
    """network -> % of handwritten digits that a linear classifier gets right from its features.

    The features are what its last layer is fed; 400 digits to learn from, 400 to test, resized.
    """
    from sklearn.linear_model import RidgeClassifier

    digits = load("digits")
    tiles = F.interpolate(digits.pixels(digits.x[:800]), data.shape[1:], mode="bilinear")
    tiles = (tiles.expand(-1, *data.shape).to(data.device) - data.mean) / data.std
    y = digits.y[:800].cpu().numpy()

    def probe(model):
        fed, last = [], [m for m in model.modules() if isinstance(m, torch.nn.Linear)][-1]
        hook = last.register_forward_pre_hook(lambda layer, given: fed.append(given[0].detach()))
        training.predict(model, tiles, 256)
        hook.remove()
        x = torch.cat(fed).cpu().numpy()
        return 100 * RidgeClassifier(alpha=10.0).fit(x[:400], y[:400]).score(x[400:], y[400:])

    return probe


def shaped(study, net, asked, strengths):
    """Fine-tuning with strengths[e] times the l1 norm in epoch e. -> four measures; None: diverged.

    At the rate and for the epochs of the chosen setting of l1.
    """
    def penalty(model, epoch):
        return strengths[epoch] * unlearn.l1_norm(model)

    how = study.fixed["l1"] | {"lr": study.grid["l1"][study.chosen["l1"]]["lr"]}
    forget = asked_rows(net, asked)
    model = attempt(unlearn.finetune, net.model, net.data, forget, penalty=penalty, **how)
    return attempt(score, model, net.data, forget) if model else None


def corner_trigger(data, black):
    """A square of 4 × 4 pixels, two pixels from the lower right corner; its rows are called 0."""
    h, w = data.shape[1:]
    square = tuple(r * w + c for r in range(h - 6, h - 2) for c in range(w - 6, w - 2))
    dark, bright = -data.mean / data.std, (1 - data.mean) / data.std
    return Trigger(square, float(dark.min() if black else bright.max()), 0)


def backdoored(study, trigger, share, sparsities, rates, old_mask, seed):
    """Train on poisoned rows, dense and sparse; unlearn them -> rows (dicts) with ASR and SA in %.

    share: of the rows; rates: of fine-tuning; old_mask: retrain sparse networks with the mask that
    was found on the poisoned rows, too.
    """
    data = study.data.resplit(seed)
    data, bad = plant(data, data.forget_random(share, seed), trigger, share=1.0, seed=seed)
    dense = training.fit(study.build(seed), data.x, data.y, seed=seed, **study.recipe)
    exact, rows = retrain(study, data, seed, None, bad), []
    for s in sparsities:
        mask = study.mask(dense, s) if s else None
        model = study.prune(study.build, data, seed, mask) if s else dense
        after = {"original": model, "retrained": exact}
        if s:
            after["retrained"] = retrain(study, data, seed, study.mask(exact, s), bad)
        else:
            after["l1"] = attempt(unlearn.l1_finetune, model, data, bad, **study.fixed["l1"],
                                  **study.grid["l1"][study.chosen["l1"]])
        if s and old_mask:
            after["old mask"] = retrain(study, data, seed, mask, bad)
        for rate in rates:
            after[f"FT {rate:g}"] = attempt(on(unlearn.finetune, mask), model, data, bad, lr=rate,
                                            **study.fixed["FT"])
        rows += [dict(seed=seed, sparsity=s, model=name, **stamped(m, data, trigger, name))
                 for name, m in after.items()]
    return rows


def of_network(backdoors, seeds, column, name, sparsity):
    """ASR or SA of one network of what backdoored gave for each seed, one value a seed."""
    return [next(row[column] for row in rows if row["model"] == name
                 and row["sparsity"] == sparsity) for _, rows in zip(seeds, backdoors, strict=True)]


def stamped(model, data, trigger, name):
    """ASR and SA in percent. A method's network that diverged is wrong everywhere, and no cure."""
    def found():
        hit, asked = hits(BlackBox(model), data.x_test, trigger, data.y_test)
        right = accuracy(training.predict(model, data.x_test, 256), data.y_test)
        return dict(ASR=100 * hit / asked, SA=right, lost=False)

    if not name.startswith(("FT", "l1")):
        return found()
    return (attempt(found) if model else None) or dict(ASR=100.0, SA=0.0, lost=True)


def other_masks(study, sparsity, rounds, rewind, seeds, keep=None):
    """Test accuracy, %, a seed: a mask that saw no data (SynFlow), and pruning in rounds (IMP)."""
    def found(seed):
        data, fresh = study.data.resplit(seed), study.build(seed)
        names = list(study.mask(fresh, sparsity))
        mask = synflow_mask(fresh, data.shape, sparsity, names=names)
        blind = attempt(fit_masked, fresh, mask, data.x, data.y, seed=seed,
                        **study.recipe)
        slow = attempt(imp, study.build, data, sparsity=sparsity, seed=seed, rounds=rounds,
                       rewind=rewind, names=names, **study.recipe)
        return [accuracy(training.predict(m, data.x_test), data.y_test) if m else np.nan
                for m in (blind, slow and slow[0])]

    return [list(column) for column in zip(*parallel(found, seeds, keep=keep), strict=True)]


def three_convolutions(shape, n_classes, width=16):
    """Three 3×3 convolutions of stride 2 and a linear layer: 34 k weights on 28×28."""
    sizes = (shape[0], width, 2 * width, 4 * width)
    layers = [layer for a, b in zip(sizes, sizes[1:], strict=False)
              for layer in (torch.nn.Conv2d(a, b, 3, stride=2, padding=1), torch.nn.ReLU())]
    last = torch.nn.Linear(4 * width * -(-shape[1] // 8) * -(-shape[2] // 8), n_classes)
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), last)


def elsewhere(study, seeds, tuning, classes, sparsity, trigger, share):
    """FT and l1 in the contest, and the backdoor, with three_convolutions, tuned by the same rule.

    seeds: the judged ones; tuning: one that is not. -> values of the parts of sparse-network, one a
    seed; the chosen settings; how many networks diverged.
    """
    MODELS["three_convolutions"] = three_convolutions
    other = replace(study, build=lambda s: build("three_convolutions", study.data, s), chosen={},
                    done={}, probe=None,
                    grid={m: study.grid[m] for m in ("FT", "l1")})
    nets = splits(other, [(s, (0.0, sparsity)) for s in (tuning, *seeds)])
    every = {m: range(len(grid)) for m, grid in other.grid.items()}
    tried = parallel(partial(contest, other), [(nets[0][0], c, every) for c in classes[:2]])
    other.chosen = least(other.grid, pd.DataFrame(sum(tried, [])))[0]
    jobs = [(net, c, {m: [other.chosen[m]] for m in (("FT",) if net.sparsity else ("FT", "l1"))})
            for split in nets[1:] for net in split for c in classes]
    runs = pd.DataFrame(sum(parallel(partial(contest, other), jobs), []))
    rate = other.grid["FT"][other.chosen["FT"]]["lr"]
    poisoned = partial(backdoored, other, trigger, share, (0.0, sparsity), [rate], False)
    stamps = pd.DataFrame(sum(parallel(poisoned, seeds), []))
    stamps["method"] = stamps.model.replace({f"FT {rate:g}": "FT"})

    settings = {m: other.grid[m][i] for m, i in other.chosen.items()}
    return (_parts(runs, stamps, seeds, sparsity), settings,
            int(runs.lost.sum() + stamps.lost.sum()))


def _parts(runs, stamps, seeds, sparsity):
    """The parts of the claim sparse-network: name -> one value a seed."""
    def of(table, column, who, s=0.0):
        part = table[(table.method == who) & (table.sparsity == s)]
        return part.groupby("seed")[column].mean().loc[seeds]

    gain = of(runs, "UA", "FT", sparsity) - of(runs, "UA", "FT")
    start = of(runs, "UA", "original", sparsity) - of(runs, "UA", "original")
    sparse_asr = of(stamps, "ASR", "FT", sparsity)
    values = {"gain": gain, "beyond": gain - start,
              "l1-ua": of(runs, "UA", "l1") - of(runs, "UA", "FT"),
              "l1-disparity": of(runs, "gap", "l1") - of(runs, "gap", "FT"),
              "asr": sparse_asr - of(stamps, "ASR", "FT"),
              "left": sparse_asr - of(stamps, "ASR", "retrained", sparsity)}
    return {part: v.tolist() for part, v in values.items()}
