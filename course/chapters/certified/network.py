"""A small smooth network whose weights stay in a ball, and its damped Newton step."""

import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from labkit.base import Diverged
from labkit.training import kept
from labkit.unlearn.second_order import curvature_product


def fresh(world, hidden, seed) -> nn.Module:
    """tanh, float64, no BatchNorm: its Hessian is Lipschitz, as the theorem asks. Same seed, same
    weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(world.x.shape[1], hidden), nn.Tanh(),
                             nn.Linear(hidden, world.k)).double()


def flat(net) -> torch.Tensor:
    """All weights as one vector. -> (p,)"""
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def unflat(net, w) -> dict:
    """The vectors w (…, p) as the named weights of net, each (…, shape)."""
    sizes = [p.numel() for p in net.parameters()]
    parts = w.split(sizes, -1)
    return {name: part.unflatten(-1, p.shape) for (name, p), part in
            zip(net.named_parameters(), parts, strict=True)}


def project(net, radius):
    """Back into the ball |w| ≤ radius, along the line to 0."""
    with torch.no_grad():
        length = torch.cat([p.flatten() for p in net.parameters()]).norm()
        if length > radius:
            for p in net.parameters():
                p *= radius / length


def fit_in_ball(world, skip=None, *, radius, hidden, epochs, lr, seed, batch_size=50):
    """Adam, and after **every** step a projection into the ball; lr falls to 0. -> weights (p,)

    skip: rows to leave out; the others meet the batches they would have met (notebook 01). The
    retraining that the theorem speaks of is this, with the same radius. Source: Zhang et al. 2024.
    """
    net, n = fresh(world, hidden, seed), len(world.y)
    keep = kept(n, skip, world.x.device)
    optimizer, order = torch.optim.Adam(net.parameters(), lr), torch.Generator().manual_seed(seed)
    steps = epochs * -(-n // batch_size)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for _ in range(epochs):
        for batch in torch.randperm(n, generator=order).split(batch_size):
            batch = batch if keep is None else batch[keep[batch]]
            if len(batch):
                optimizer.zero_grad()
                cross_entropy(net(world.x[batch]), world.y[batch]).backward()
                optimizer.step()
                project(net, radius)
            schedule.step()
    found = flat(net)
    if not torch.isfinite(found).all():
        raise Diverged("Training in the ball diverged: lower lr.")
    return found


def logits(net, w, x) -> torch.Tensor:
    """Answers with the weights w. (p,), (n, d) -> (n, k)"""
    return functional_call(net, unflat(net, w), (x,))


def gradient(net, w, x, y) -> torch.Tensor:
    """Of the mean cross-entropy over the rows. -> (p,)"""
    return grad(lambda v: cross_entropy(logits(net, v, x), y))(w)


def times_hessian(net, w, x, y, v, damping=0.0) -> torch.Tensor:
    """(H + damping · I) v by labkit's product, without forming H. v (p,) -> (p,)"""
    found = curvature_product(net, unflat(net, w), x, y, unflat(net, v), "hessian", damping)
    return torch.cat([part.flatten() for part in found.values()])


def full_hessian(net, w, x, y, chunk=32) -> torch.Tensor:
    """H itself, column by column: the product with each unit vector. -> (p, p)"""
    columns = [vmap(lambda v: times_hessian(net, w, x, y, v))(part)
               for part in torch.eye(len(w)).to(w).split(chunk)]
    h = torch.cat(columns)
    return (h + h.T) / 2


def right(net, w, x, y) -> float:
    """Accuracy in percent."""
    with torch.no_grad():
        return 100 * float((logits(net, w, x).argmax(1) == y).double().mean())
