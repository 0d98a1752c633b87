"""Audits of how often rows were used: the plain count, a better one, and logs to try them on.

Logs of counts need no training: which rows nearest neighbours replace does not depend on weights.
"""

import pandas as pd
import torch

from labkit import training

from .provider import stand_ins

ALARM = 0.01  # share of honest logs that an audit may flag
SORTS = {  # what a provider does: are rows drawn with replacement, do stand-ins change each epoch?
    "each row once an epoch": (False, False),
    "with replacement": (True, False),
    "with replacement, look-alikes change": (True, True)}


def largest_use(counts):
    """The plain audit: how often the most used row was used. (logs, epochs, rows) -> (logs,)"""
    return counts.sum(1).amax(1).float()


def suspicion(counts):
    """The same rows above their share, epoch after epoch. (logs, epochs, rows) -> (logs,) float32

    Honest epochs are drawn anew, so what a row has above the mean in one says nothing of the next.
    Look-alikes stand in again and again: the products over pairs of epochs add up.
    """
    above = counts.float() - counts.float().mean(2, keepdim=True)
    pairs = above.sum(1).square() - above.square().sum(1)  # twice the sum over pairs of epochs
    return pairs.mean(1)


def detection(audit, honest, cheats) -> list:
    """Logs of cheats that an audit flags, 1 or 0 each.

    audit: (logs, epochs, rows) -> (logs,), the more the more suspicious; honest: a list of such
    counts, one for each way in which honest providers draw. The limit is the least that flags at
    most ALARM of each.
    """
    scores = [torch.as_tensor(audit(c)).double() for c in honest]
    limit = max(float(torch.quantile(s, 1 - ALARM, interpolation="higher")) for s in scores)
    return (torch.as_tensor(audit(cheats)).double() > limit).double().tolist()


def honest_counts(rows, epochs, logs, seed):
    """Honest counts: each row once an epoch, and drawn with replacement.

    -> [(1, epochs, rows), (logs, epochs, rows)] float32
    """
    draw, ones = torch.Generator().manual_seed(seed), torch.ones(1, epochs, rows)
    picks = torch.randint(rows, (logs * epochs, rows), generator=draw)
    counts = torch.zeros(logs * epochs, rows).scatter_add_(1, picks, torch.ones(1).expand_as(picks))
    return [ones, counts.view(logs, epochs, rows)]


def cheating_counts(data, forget, epochs, batch_size, seed) -> dict:
    """Counts of a provider with nearest neighbours in the places of forgotten rows, no training.

    -> dict name of SORTS -> (epochs, retained rows) float32
    """
    n, out = len(data.y), {}
    draw, swap = torch.Generator().manual_seed(seed), stand_ins(data, forget, "nearest", seed)
    stays = torch.ones(n, dtype=torch.bool)
    stays[forget] = False
    for name, (again, rotating) in SORTS.items():
        counts = []
        for e in range(epochs):
            rows = (torch.randint(n, (n,), generator=draw) if again
                    else torch.randperm(n, generator=draw))
            used = [swap(batch, e if rotating else 0)[0] for batch in rows.split(batch_size)]
            counts.append(torch.cat(used).bincount(minlength=n))
        out[name] = torch.stack(counts)[:, stays].float()
    return out


def cheating_logs(world, seeds, shares, epochs) -> dict:
    """cheating_counts for each share to forget and seed. -> dict (share, name) -> (seeds, …)"""
    def made(job):
        share, s = job
        forget = world.drawn(s, round(share * len(world.data.y)))
        found = cheating_counts(world.data.resplit(s), forget, epochs, world.recipe["batch_size"],
                                s)
        return {name: counts.numpy() for name, counts in found.items()}

    jobs = [(share, s) for share in shares for s in seeds]
    found = dict(zip(jobs, training.parallel(made, jobs), strict=True))
    return {(share, name): torch.stack([torch.from_numpy(found[share, s][name]) for s in seeds])
            for share in shares for name in SORTS}


def detections(audits, cheating, logs, seed) -> pd.DataFrame:
    """What each audit detects. audits: dict name -> function; logs: honest ones, to set the limit.

    -> a row an audit, share and sort of cheat: audit, share, cheat, found (a list of 1 and 0)
    """
    out, honest = [], {}
    for (share, cheat), counts in cheating.items():
        epochs, rows = counts.shape[1:]
        if share not in honest:
            honest = {share: honest_counts(rows, epochs, logs, seed)}
        out += [dict(audit=name, share=share, cheat=cheat,
                     found=detection(audit, honest[share], counts))
                for name, audit in audits.items()]
    return pd.DataFrame(out)
