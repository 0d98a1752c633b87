"""Rows made to be deleted: an attack on the cost of certified removal (Marchant et al. 2022)."""

from dataclasses import replace

import torch

from labkit.attack import Holdings, hold

from .convex import accuracy, hessian, remove_one_by_one, solve
from .rows import two_classes, unit


def influence(x, y, w, inverse, lam) -> torch.Tensor:
    """How far each row's removal moves the weights: |H⁻¹ (λ w + ∇ℓ)|. x (m, d), y (m,) -> (m,)"""
    pull = -y * torch.sigmoid(-y * (x @ w))
    return ((lam * w + pull[:, None] * x) @ inverse).norm(dim=1)


def within(x, start, size) -> torch.Tensor:
    """Moved back to at most `size` from its start, row by row."""
    moved = x - start
    return start + moved * (size / moved.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)


def poison(own: Holdings, known_x, known_y, size, *, lam, score=influence, rounds=10):
    """Own rows, labels as they were, changed by at most `size` for the largest score. -> (m, d)

    known_x, known_y: rows of the attacker's own collection, none of the provider's; on them and the
    own rows it trains a model of its own, without the noise, which it does not know. Each round: a
    step of a fifth of `size` along each row's gradient, then back into the ball; the model is
    trained anew on the rows as they are now. Rows have length 1, as the provider makes them.
    """
    start, y = own.x, own.y
    x = start.clone()
    for _ in range(rounds if size > 0 else 0):
        rows, labels = torch.cat([known_x, unit(x)]), torch.cat([known_y, y])
        w = solve(rows, labels, lam)
        inverse = torch.linalg.inv(hessian(w, rows, lam))
        free = x.clone().requires_grad_()
        (g,) = torch.autograd.grad(score(unit(free), y, w, inverse, lam).sum(), free)
        x = within(x + size / 5 * unit(g), start, size)
    return unit(x)


def shaken(own: Holdings, size, seed) -> torch.Tensor:
    """The null: own rows moved as far in random directions. -> (m, d)"""
    g = torch.Generator().manual_seed(seed)
    noise = torch.randn(own.x.shape, generator=g, dtype=own.x.dtype)
    return unit(own.x + size * unit(noise))


def split(data, seed, n):
    """A provider's world of two classes, and as many rows that the attacker has of its own."""
    both = two_classes(data, seed, 2 * n)
    half = len(both.y) // 2
    provider = replace(both, x=both.x[:half], y=both.y[:half], gone=torch.arange(half // 2))
    return provider, (both.x[half:2 * half], both.y[half:2 * half])


def removals(provider, x_own, remove, *, lam, sigma, limit) -> dict:
    """Train with these rows in place of the first ones, delete them first, then others.

    -> removals before retraining, accuracy of the model that was deployed
    """
    x = torch.cat([x_own, provider.x[len(x_own):]])
    done = remove_one_by_one(remove, replace(provider, x=x), torch.arange(limit), lam=lam,
                             sigma=sigma, watch=False)
    return {"removals": done.removals,
            "accuracy": accuracy(done.first, provider.x_test, provider.y_test)}


def trial(data, cfg, chosen, makers, remove, seed) -> dict:
    """One provider, each maker of rows at each size. -> name -> [removals …], name -> [accuracy …]

    makers: name -> (own, known_x, known_y, size, lam, seed) -> (m, d). Size 0: rows as they were.
    """
    lam, sigma = chosen
    provider, known = split(data, seed, cfg.pair_rows)
    m = min(cfg.own, len(provider.y) // 4)
    own = hold(provider, torch.arange(m), m)
    limit = min(cfg.limit, len(provider.y) // 2)
    found = {"size": cfg.sizes}
    plain = removals(provider, own.x, remove, lam=lam, sigma=sigma, limit=limit)
    for name, make in makers.items():
        each = [plain, *(removals(provider, make(own, *known, size, lam, seed), remove, lam=lam,
                                  sigma=sigma, limit=limit) for size in cfg.sizes[1:])]
        found[name] = {key: [e[key] for e in each] for key in plain}
    return found


MAKERS = {"on purpose": lambda own, x, y, size, lam, seed: poison(own, x, y, size, lam=lam),
          "at random": lambda own, x, y, size, lam, seed: shaken(own, size, seed)}


def handed_in(make, own: Holdings, known_x, known_y, size, lam) -> torch.Tensor:
    """What a maker of rows gives, moved back where a row went too far. -> (m, d) of length 1

    make: (x, y, known_x, known_y, size, lam) -> (m, d)
    """
    rows = make(own.x.clone(), own.y.clone(), known_x.clone(), known_y.clone(), size, lam)
    return unit(within(torch.as_tensor(rows, dtype=own.x.dtype).detach(), own.x, size))
