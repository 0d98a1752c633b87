"""The grids that are tried, and tables of what was found."""

import numpy as np
import pandas as pd

from .further import shaped
from .judging import minus, tenth_place
from .trials import COLUMNS, LOST, parallel


def grid(profile, lr):
    """The settings of every method that are tried: name -> list of dicts. lr: of training."""
    paper, full = profile == "paper", profile == "full"
    # tenths of the training rate; 1: as published
    rates = [round(t * lr / 10, 6) for t in ((1, 3, 10, 20, 40) if full else (1, 3, 10, 20))]
    l1_rates = [round(t * lr / 10, 6) for t in ((3, 10, 20) if full else (1, 3) if paper
                                                else (3, 10))]
    gammas = (1e-3, 3e-3, 1e-2) if full else (1e-5, 1e-4, 1e-3) if paper else (1e-3, 3e-3)
    # 1e-4: as published
    ascent = (1e-5, 1e-4, 1e-3, 1e-2) if paper else (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
    noise = (1e-9, 1e-8, 1e-7, 1e-6) if paper else (1e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
    return {"FT": [dict(lr=r) for r in rates],
            "l1": [dict(lr=r, gamma=g) for r in l1_rates for g in gammas],
            "GA": [dict(lr=r) for r in ascent], "Fisher": [dict(alpha=a) for a in noise],
            "influence": [dict(scale=s) for s in (0.5, 1.0, 2.0, 4.0)],
            "RL": [dict(lr=r) for r in (0.003, 0.01, 0.03)],
            "SalUn": [dict(lr=r) for r in (0.003, 0.01, 0.03)]}


def fixed(cfg, again):
    """What is not tried: name -> settings. cfg: the notebook's; again: of FT and l1."""
    relabel = dict(epochs=cfg.relabel, batch_size=cfg.batch_size)
    return {"FT": again, "l1": again, "Fisher": dict(n_rows=cfg.curved[0]),
            "GA": dict(epochs=cfg.ascent, batch_size=cfg.batch_size),
            "influence": dict(n_rows=cfg.curved[1], cg_steps=8), "RL": relabel, "SalUn": relabel}


def in_brief(settings):
    """A setting in words."""
    return " ".join(f"{knob} {value:g}" for knob, value in settings.items())


def tuning_table(tried, chosen, mean_gap):
    """The mean disparity of every setting, and which one the rule takes. -> table"""
    def put(settings, gap):
        return f"{in_brief(settings)}: " + (f"{gap:.1f}" if np.isfinite(gap) else "diverged")

    return pd.DataFrame([{"method": name, "taken": in_brief(tried[name][chosen[name]]),
                          "disparity of every setting": " · ".join(
                              put(tried[name][i], gap) for i, gap in mean_gap[name].items())}
                         for name in tried])


def methods_table(value, percent, points, published, methods, sparsity):
    """Disparity of each method, dense and sparse, its change, and what the paper has. -> table"""
    idle = minus(value("gap", "original", sparsity), value("gap", "original"))
    rows = []
    for name in methods:
        change = minus(value("gap", name, sparsity), value("gap", name))
        run = not np.isnan(value("gap", name, sparsity)).all()
        known = [published.get((name, s)) for s in (0.0, 0.95)]
        rows.append({"method": name, "dense": percent(value("gap", name)),
                     "sparse": percent(value("gap", name, sparsity)) if run else "not run",
                     "sparse − dense": points(change) if run else "",
                     "the same beyond doing nothing": points(minus(change, idle)) if run else "",
                     "published": " → ".join(f"{k[4]:g}" for k in known if k) or "not published"})
    return pd.DataFrame(rows)


def try_schedules(study, networks, asked, strengths, runs, known):
    """Disparity after l1 with each schedule: name -> one value a network.

    strengths: name -> one an epoch; runs: the table with the retrained networks of the request;
    known: name -> the method in it that is this schedule, which need not run again.
    """
    part = runs[(runs.asked == asked) & (runs.sparsity == 0)]
    ready = {name: part[(part.method == m) & (part.setting == study.chosen[m])].set_index("seed")
             for name, m in known.items()}
    goal = part[part.method == "retrained"].set_index("seed")
    jobs = [(net, name) for name in strengths if name not in known for net in networks]
    found = parallel(lambda job: shaped(study, job[0], asked, strengths[job[1]]), jobs)
    gaps = {name: [float(ready[name].gap.loc[net.seed]) for net in networks]
            if name in known else [] for name in strengths}
    for (net, name), row in zip(jobs, found, strict=True):
        gaps[name].append(study.disparity(row or LOST, goal.loc[net.seed]))
    return gaps


def random_tenth(study, runs, seeds, sparsity, masked):
    """(method, place) -> change of the disparity from dense to sparse, for a random tenth.

    Its result: to retraining with a new mask, and with the old one, one value a seed each. masked:
    what leaks gave, in the order of the seeds.
    """
    def change(method, place):
        part = runs[(runs.asked == "random") & (runs.method == method) & (runs.setting == place)]
        dense, sparse = (part[part.sparsity == s].set_index("seed").loc[seeds]
                         for s in (0.0, sparsity))
        new = [study.disparity(sparse.loc[s], m["new mask"])
               for s, m in zip(seeds, masked, strict=True)]
        return minus(new, dense.gap), minus(sparse.gap, dense.gap)

    return change


def random_changes(study, tried, runs, seeds, sparsity, masked, of_class, points):
    """The parts of the claim sparse-random, and what they say.

    FT for a random tenth runs at its own rate, by the rule of the notebook. masked: what leaks
    gave; of_class: FT's change for a class.
    """
    rate = tenth_place(study.grid, tried)
    tenth = random_tenth(study, runs, seeds, sparsity, masked)
    (new, old), (idle_new, idle_old) = tenth("FT", rate), tenth("original", -1)
    told = (f"Sparsity changes the disparity of FT for a tenth by {points(new)} points, of doing "
            f"nothing by {points(idle_new)}; to the old mask {points(old)}, {points(idle_old)}.")
    return {"old-mask": old, "new-mask": new, "untouched": idle_new,
            "less": minus(old, of_class)}, told


def one_split(runs, rates, seed):
    """(sparsity, rate, class) -> rows of the original, the retrained and the fine-tuned network."""
    def rows_of(s, lr, label):
        part = runs[(runs.seed == seed) & (runs.sparsity == s) & (runs.asked == label)]
        part = part[(part.method != "FT") | (part.setting == rates.index(lr))]
        return {m: part[part.method == m].iloc[0] for m in ("original", "retrained", "FT")}

    return rows_of


def shortcuts(runs, rule, sparsity):
    """What would fool a reader -> the best dense setting by UA alone, that gets fewest retained
    rows right, as (method, place) and its row; the change of sparse FT's disparity, a seed, when
    the dense retrained network is taken for its reference; the gain in UA class by class.
    """
    runs = runs[runs.asked != "random"]
    dense = runs[runs.sparsity == 0]
    by = dense[dense.setting >= 0].groupby(["method", "setting"])[[*COLUMNS, "gap"]].mean()
    worst = by[by.UA > by.UA.max() - 1].sort_values("RA")
    tuned = runs[(runs.method == "FT") & (runs.setting == rule)].set_index(["seed", "asked"])
    sparse = tuned[tuned.sparsity == sparsity]
    goal = dense[dense.method == "retrained"].set_index(["seed", "asked"]).loc[sparse.index]
    wrong = (sparse[COLUMNS] - goal[COLUMNS]).abs().mean(axis=1) - sparse.gap
    gain = (sparse.UA - tuned[tuned.sparsity == 0].UA.loc[sparse.index]).groupby("asked").mean()
    return (worst.index[0], worst.iloc[0]), wrong.groupby("seed").mean().tolist(), gain.to_dict()


def turned(first, second, side):
    """Parts of sparse-network on the other side of their line with the second network; and those
    decided with one of the two only. first, second: part -> one value a seed.
    """
    sides = {part: [side(values, 5 if part == "left" else 0) for values in (first[part], found)]
             for part, found in second.items()}
    return ([part for part, (a, b) in sides.items() if a * b < 0],
            [part for part, (a, b) in sides.items() if a != b and not a * b])
