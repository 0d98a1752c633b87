"""Settings chosen on splits that are not judged, the judged runs, and how values are put."""

from functools import partial

import numpy as np
import pandas as pd

from labkit.measure import interval, show_interval

from .trials import contest, originals, parallel, reference

RELABEL = ("RL", "SalUn")  # no verdict hangs on these two
RACED = ("FT", "l1", "GA", *RELABEL)  # a network for every setting; the others take one for all


def splits(study, jobs, keep=None):
    """The networks of several splits: jobs (seed, sparsities) -> a list of Networks a job."""
    return parallel(partial(originals, study, folder=keep), jobs)


def rehearse(study, rehearsal, classes, *, tuned, others, random, keep=None):
    """Every setting on splits that are not judged -> table of contest's rows.

    rehearsal: the networks of each split; tuned: classes a split, others: of these for RL and
    SalUn, and for sparse networks, which get FT alone, for a rate of their own; random: FT for a
    random tenth in dense networks, too. After the first class RACED run the settings that could
    still have the least mean: first the one that leads, then those whose sum so far is not above
    its whole sum. The choice is that of running all of them, for no disparity is below 0.
    """
    grids = {name: list(range(len(study.grid[name]))) for name in study.grid}
    if random:
        tenths = [(net, "random", {"FT": grids["FT"]}) for nets in rehearsal for net in nets
                  if not net.sparsity]
        tried = [_table(study, tenths, keep and keep / "tenth")]
    first, *later = _legs(rehearsal, classes, grids, tuned, others)
    found = _table(study, first, keep and keep / "first")
    leaders = {kind: least(study.grid, found[(found.sparsity > 0) == kind])[0]
               for kind in {net.sparsity > 0 for net, _, _ in first}}
    every = sum(later, [])
    # both rounds compare with these
    exact = parallel(lambda job: reference(study, job[0], job[1]), every)
    study.done |= {(net.seed, net.sparsity, asked, "retrained", -1): model
                   for (net, asked, _), model in zip(every, exact, strict=True)}
    lead = [(net, asked, {m: [leaders[net.sparsity > 0][m]] if m in RACED else places
                          for m, places in plan.items()}) for net, asked, plan in every]
    found = pd.concat([found, _table(study, lead, keep and keep / "lead")], ignore_index=True)
    for i, leg in enumerate(later):
        rest = [(net, asked, _in_the_race(found, leaders[net.sparsity > 0], net.sparsity > 0, plan))
                for net, asked, plan in leg]
        rest = _table(study, [job for job in rest if job[2]], keep and keep / f"rest {i}")
        found = pd.concat([found, rest], ignore_index=True)
    return pd.concat([*tried, found], ignore_index=True) if random else found


def _legs(rehearsal, classes, grids, tuned, others):
    """The jobs (network, request, method -> places) of a race, class after class of each split."""
    legs = []
    for i, nets in enumerate(rehearsal):
        for j in range(tuned):
            asked = classes[(i * tuned + j) % len(classes)]
            dense = {m: grid for m, grid in grids.items() if j < others or m not in RELABEL}
            legs.append([(net, asked, {"FT": grids["FT"]} if net.sparsity else dense)
                         for net in nets if j < others or not net.sparsity])
    return legs


def _in_the_race(found, leaders, sparse, plan):
    """method -> places that may still beat the leader, whose runs are all in the table."""
    part = found[(found.sparsity > 0) == sparse]
    total = part.gap.where(~part.lost, np.inf).groupby([part.method, part.setting]).sum()
    still = {m: [i for i in plan[m] if i != leaders[m] and total[m, i] <= total[m, leaders[m]]]
             for m in RACED if m in plan}
    return {m: places for m, places in still.items() if places}


def least(grid, runs):
    """For each method the place of the least mean gap; a setting that diverged once is none.

    -> (name -> place, mean gap of every setting)
    """
    gap = runs.gap.where(~runs.lost, np.inf)[runs.setting >= 0]
    mean = gap.groupby([runs.method, runs.setting]).mean()
    return {name: int(mean[name].idxmin()) for name in grid if name in mean}, mean


def tenth_place(grid, tried):
    """The place of FT's rate for a random tenth, by the same rule; None where none was tried."""
    dense = tried[(tried.asked == "random") & (tried.sparsity == 0)]
    return least(grid, dense)[0]["FT"] if len(dense) else None


def at_an_edge(grid, chosen):
    """In words, the chosen settings that lie at an edge of their grid."""
    return [f"{name} ({knob} {grid[name][i][knob]:g})" for name, i in chosen.items()
            for knob in grid[name][0]
            if grid[name][i][knob] in (min(g[knob] for g in grid[name]),
                                       max(g[knob] for g in grid[name]))]


def judged_runs(study, networks, requests, sparsity, relabel_sparse, places, tenth=None, keep=None):
    """Every method at its chosen setting, FT at these places, on all networks -> table of rows.

    l1 is meant for networks that were not pruned, and runs on those alone; RL and SalUn run on
    sparse ones if relabel_sparse. sparsity: that of the claims; at others FT runs alone. tenth:
    FT's place for a random tenth, dense and at that sparsity; None: no tenth is forgotten.
    """
    plan = {name: [study.chosen[name]] for name in study.grid}
    plan["FT"] = places
    without = {"l1", *(() if relabel_sparse else RELABEL)}
    sparse = {name: places for name, places in plan.items() if name not in without}

    def of(net):
        return plan if not net.sparsity else sparse if net.sparsity == sparsity else {"FT": places}

    jobs = [(net, asked, of(net)) for net in networks for asked in requests]
    jobs += [(net, "random", {"FT": [tenth]}) for net in networks
             if tenth is not None and net.sparsity in (0, sparsity)]
    return _table(study, jobs, keep)


def _table(study, jobs, keep):
    return pd.DataFrame(sum(parallel(partial(contest, study), jobs, keep=keep), []))


def each_seed(runs, chosen, seeds, column, method, sparsity=0.0, setting=None):
    """One value a seed: the mean over classes of a column, at the method's chosen setting."""
    setting = chosen.get(method, -1) if setting is None else setting
    part = runs[(runs.method == method) & (runs.sparsity == sparsity)
                & (runs.setting == setting) & (runs.asked != "random")]
    return part.groupby("seed")[column].mean().reindex(seeds).tolist()


def seconds(runs, chosen, seeds, name, other):
    """CPU seconds of one method over another's, dense: the median over the classes, a seed."""
    part = runs[(runs.sparsity == 0) & (runs.asked != "random")]
    cpu = [part[(part.method == m) & (part.setting == chosen.get(m, -1))]
           .set_index(["seed", "asked"]).cpu for m in (name, other)]
    return (cpu[0] / cpu[1]).groupby("seed").median().loc[seeds].tolist()


def minus(a, b):
    """a − b, value by value."""
    return np.subtract(a, b).tolist()


def differ(first, second, rows):
    """first − second, each a difference of shares in points, paired by split.

    -> its mean and interval in words; the side of 0 on which all of it lies, or 0
    """
    apart, span = minus(first, second), (-200, 200)
    return in_words(apart, rows, span), side(apart, 0, rows, span)


def each_row(values, rows):
    """One value a split as that of `rows` rows (what a class has), for no share is of fewer."""
    return np.repeat(values, rows), np.repeat(np.arange(len(values)), rows)


def in_words(values, rows=1, limits=None):
    """Mean and 95 % interval, in words; a network that diverged has no value, and that is said."""
    there = [v for v in values if np.isfinite(v)]
    gone = len(values) - len(there)
    lost = f" ({gone} of {len(values)} diverged)" if gone else ""
    if not there:
        return "no value" + lost
    if limits is None:
        return show_interval(there) + lost
    repeated, split = each_row(there, rows)
    return show_interval(repeated, clusters=split, limits=limits) + lost


def side(values, line=0.0, rows=1, limits=(-100, 100)):
    """Where the whole interval lies: 1 above the line, -1 below it, 0 where it holds the line."""
    repeated, split = each_row(values, rows)
    _, low, high = interval(repeated, split, limits)
    return 1 if low > line else -1 if high < line else 0
