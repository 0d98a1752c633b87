"""What a cheat keeps of rows it took no step on, and what a count of uses sees of it."""

import pandas as pd
import torch
import torch.nn.functional as F

from labkit import measure, training

from . import provider
from .forging import starting_at, warmed
from .log import load_log
from .provider import stand_ins
from .replay import max_use_pvalue, usage
from .trials import tried

OTHER_SEED = "retrained, other seed"
CHEATS = ("nearest", "search", "search to the end")


def keeps(world, s, rate=0.3) -> list:
    """A tenth of the rows is forgotten, no triggers, at `rate` of the learning rate.

    -> a dict a model (original, retrained twice, the cheats that did not diverge): model, seed;
    loss, accuracy (%) on the forgotten rows; test_loss, test (%)
    """
    d, top = world.data.resplit(s), world.place / f"keeps-{s}"
    forget, recipe = world.drawn(s, len(d.y) // 10), world.recipe
    common = dict(build=world.build, every=10**6, **recipe | {"lr": rate * recipe["lr"]})
    searched = dict(common, seed=s, candidates=world.candidates)
    search = provider.adversarial_search
    models = {"original": provider.honest(d, (), top / "o", seed=s, **common),
              "retrained": provider.honest(d, forget, top / "r", seed=s, **common),
              OTHER_SEED: provider.honest(d, forget, top / "f", seed=s + 1, **common),
              "nearest": tried(provider.adversarial_nearest, d, forget, top / "n", seed=s,
                               **common),
              "search": tried(search, d, forget, top / "s", **searched),
              "search to the end": tried(search, d, forget, top / "t", finish=True, **searched)}
    rows = []
    for name, (model, _) in ((name, answer) for name, answer in models.items() if answer):
        z, y = training.predict(model, d.x[forget]), d.y[forget]
        unseen = training.predict(model, d.x_test)
        rows.append(dict(model=name, seed=s, loss=F.cross_entropy(z, y).item(),
                         accuracy=measure.accuracy(z, y), test=measure.accuracy(unseen, d.y_test),
                         test_loss=F.cross_entropy(unseen, d.y_test).item()))
    return rows


def imitation(world, s, batches=20) -> dict:
    """How far the gradient of stand-ins is from that of the rows they replace, as a share of it.

    A tenth of the rows is forgotten; on the first batches of an epoch, at weights half-way through
    training. 1 is what rows without any gradient would give. -> dict of lists: one random set of
    retained rows, the best of `candidates` such sets, nearest neighbours
    """
    d, size = world.data.resplit(s), world.recipe["batch_size"]
    model, forget = starting_at(world, warmed(world, s))(s).eval(), world.drawn(s, len(d.y) // 10)
    draw, swap = torch.Generator().manual_seed(s), stand_ins(d, forget, "nearest", s)
    retain, out = d.split(forget).retain, {"random": [], "search": [], "nearest": []}

    def gradient(rows):
        loss = F.cross_entropy(model(d.x[rows]), d.y[rows])
        return torch.cat([g.flatten() for g in
                          torch.autograd.grad(loss, list(model.parameters()))])

    order = torch.randperm(len(d.y), generator=draw).to(d.device)
    for batch in order.split(size)[:batches]:
        swapped = swap(batch)[0].to(d.device)
        if (places := batch != swapped).any():
            target, k = gradient(batch[places]), int(places.sum())
            sets = [retain[torch.randperm(len(retain), generator=draw)[:k].to(d.device)]
                    for _ in range(world.candidates)] + [swapped[places]]
            off = [float((gradient(rows) - target).norm() / target.norm()) for rows in sets]
            out["random"].append(off[0])
            out["search"].append(min(off[:-1]))
            out["nearest"].append(off[-1])
    return out


def kept_runs(world, seeds) -> pd.DataFrame:
    """keeps for each seed."""
    return pd.DataFrame(sum(training.parallel(lambda s: keeps(world, s), seeds), []))


def known_in_words(values) -> str:
    """Mean and interval over seeds in nats, and its side of 0; one seed has no interval."""
    mean, low, high = measure.interval(values)
    known = "more" if low > 0 else "less" if high < 0 else "undecided"
    ends = f" [{low:.3f}, {high:.3f}]" if abs(low) < float("inf") else ""
    return f"{mean:+.3f}{ends}: {known}"


def audited(world, s) -> list:
    """Counts of one log each, a tenth of the rows forgotten.

    -> a dict a log: log, seed; most, total: the largest use of a row in an epoch, over all; p: how
    likely that is when rows are drawn with replacement, half: after half of the epochs; unused:
    share of retained rows not used in an epoch; steps
    """
    d, top, rows = world.data.resplit(s), world.place / f"audit-{s}", []
    n, epochs = len(d.y), world.recipe["epochs"]
    forget, stays = world.drawn(s, n // 10), torch.ones(n, dtype=torch.bool)
    stays[forget] = False
    for name, make in (("honest", provider.honest), ("nearest", provider.adversarial_nearest),
                       ("search", provider.adversarial_search),
                       ("search to the end", provider.adversarial_search)):
        extra = dict(candidates=2, finish="end" in name) if "search" in name else {}
        if (answer := tried(make, d, forget, top / name, build=world.build, seed=s, every=10**6,
                            **world.recipe, **extra)) is None:
            continue
        counts, stay = usage(answer[1], n), int(stays.sum())
        rows.append(dict(log=name, seed=s, most=int(counts.max()), total=int(counts.sum(0).max()),
                         p=max_use_pvalue(counts, stay),
                         half=max_use_pvalue(counts[: epochs // 2], stay),
                         unused=float((counts[:, stays] == 0).double().mean()),
                         steps=len(load_log(answer[1]).lines)))
    return rows


def audit_runs(world, seeds) -> pd.DataFrame:
    """audited for each seed."""
    return pd.DataFrame(sum(training.parallel(lambda s: audited(world, s), seeds), []))


def counted(audits) -> pd.DataFrame:
    """The table of audit_runs: means over the logs of each kind, and the largest p value."""
    table = audits.groupby("log", sort=False).agg(
        logs=("p", "size"), most=("most", "mean"), total=("total", "mean"),
        p=("p", lambda v: f"{v.max():.1g}"), unused=("unused", lambda v: f"{100 * v.mean():.1f}"))
    return table.reset_index().rename(columns={
        "most": "largest use in an epoch", "total": "over all epochs", "p": "largest p value",
        "unused": "retained rows unused an epoch, %"})
