"""Probes by queries alone: inputs of which the old model is as sure as can be."""

import torch

from labkit.attack.labels import Probes, noise
from labkit.base import LabError
from labkit.rules import checked


@checked
def probes_by_queries(box, n_classes: int, count: int, *, shape, mean, std, steps=100,
                      coordinates=64, lr=0.1, h=1e-2, enough=0.9995, seed=0) -> Probes:
    """Black-box probes: the same search by zeroth-order coordinate descent with Adam.

    box: attack.BlackBox. Each of `steps` iterations asks 2 · `coordinates` answers a probe,
    symmetric differences of h pixels at random coordinates; a probe that is sure enough asks no
    more. lr falls to a fifth at confidence 0.9. Source: ZOO, Chen et al. 2017.
    """
    x, labels = noise(n_classes, count, shape, seed, mean)
    flat, draw, asked = x.flatten(1), torch.Generator().manual_seed(seed + 1), box.queries
    first, second, times = (torch.zeros_like(flat) for _ in range(3))
    if not 0 < coordinates <= flat.shape[1]:
        raise LabError(f"{coordinates} coordinates of {flat.shape[1]}: give at least 1 and at most "
                       "all of them.")

    def confidence(pixels, y):
        return box((pixels.view(-1, *shape) - mean) / std).gather(1, y[:, None]).squeeze(1)

    p = confidence(flat, labels)
    for _ in range(steps):
        open_ = (p < enough).nonzero().squeeze(1)
        if not len(open_):
            break
        where = torch.rand(len(open_), flat.shape[1], generator=draw).topk(coordinates).indices
        where = where.to(flat.device)
        p_beside = confidence(_beside(flat[open_], where, h).flatten(0, 1),
                              labels[open_].repeat_interleave(2 * coordinates))
        loss = -p_beside.clamp(min=1e-12).log()
        up, down = loss.view(len(open_), 2, coordinates).unbind(1)
        g, i = (up - down) / (2 * h), (open_[:, None], where)
        times[i] += 1
        first[i], second[i] = 0.9 * first[i] + 0.1 * g, 0.999 * second[i] + 0.001 * g**2
        spread = (second[i] / (1 - 0.999 ** times[i])).sqrt() + 1e-8
        step = first[i] / (1 - 0.9 ** times[i]) / spread
        rate = torch.where(p[open_] > 0.9, lr / 5, lr)[:, None]
        flat[i] = (flat[i] - rate * step).clamp(0, 1)
        p[open_] = confidence(flat[open_], labels[open_])
    queries = (box.queries - asked) / len(flat)
    return Probes(flat.view(n_classes, count, *shape), p.view(n_classes, count), queries)


def _beside(flat, where, h):
    """Each image (n, d) with h more at each of the coordinates (n, c), then less. -> (n, 2c, d)"""
    images = flat[:, None].repeat(1, 2 * where.shape[1], 1)
    at = torch.cat([where, where], 1)[..., None]
    signs = torch.cat([torch.full_like(where, 1), torch.full_like(where, -1)], 1)
    return images.scatter_add_(2, at, (signs[..., None] * h).to(images))
