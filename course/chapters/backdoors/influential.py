"""Camouflage made influential on the attacker's own surrogate (UBA-Inf), and noise (ReVeil)."""

import torch
import torch.nn.functional as F
from torch.func import functional_call

from labkit import models, training
from labkit.unlearn import second_order

from . import worlds as w

EPSILON, STEPS = 16 / 255, 8  # largest change of a pixel, as a share of the range; steps a round
DAMPING, CG = 0.05, 10


def surrogate(outsider, images, labels, recipe, hidden):
    """A network of the attacker: its own rows, and what is given. No row of the provider."""
    net = models.build("mlp", outsider, outsider.seed + 77, hidden=hidden)
    return training.fit(net, torch.cat([outsider.x, images]), torch.cat([outsider.y, labels]),
                        seed=outsider.seed + 77, **recipe)


def towards(model, x, y, bad_x, bad_label):
    """s = (H + λ)⁻¹ ∇L of stamped rows called the trigger's class. -> dict name -> tensor"""
    params = {k: v.detach() for k, v in model.named_parameters()}
    label = torch.full((len(bad_x),), bad_label, dtype=torch.long, device=bad_x.device)
    live = {k: v.clone().requires_grad_() for k, v in params.items()}
    loss = F.cross_entropy(functional_call(model, live, (bad_x,)), label)
    b = dict(zip(live, torch.autograd.grad(loss, list(live.values())), strict=True))

    def product(v):
        one = {k: t[0] for k, t in v.items()}
        out = second_order.curvature_product(model, params, x, y, one, damping=DAMPING)
        return {k: t[None] for k, t in out.items()}

    found = second_order.conjugate_gradients(product, {k: g[None] for k, g in b.items()}, CG)
    return {k: v[0] for k, v in found.items()}


def effects(model, x, y, s):
    """⟨∇ℓ(x_i), s⟩ of each row: how deleting it moves the loss that s stands for. -> (n,)"""
    params = {k: v.detach() for k, v in model.named_parameters()}

    def losses(p):
        return F.cross_entropy(functional_call(model, p, (x,)), y, reduction="none")
    return torch.func.jvp(losses, (params,), (s,))[1]


def pushed(model, x, y, s, start, size):
    """A round of steps on the pixels, down ⟨∇ℓ(x), s⟩ and within ± size of `start`."""
    low, high, x = start.min(), start.max(), x.clone()
    for _ in range(STEPS):
        x.requires_grad_()
        g, = torch.autograd.grad(effects(model, x, y, s).sum(), x)
        x = x.detach() - size / 4 * g.sign()
        x = torch.minimum(torch.maximum(x, start - size), start + size).clamp(low, high)
    return x


def influential(outsider, images, labels, recipe, hidden, *, epsilon=EPSILON, rounds=2):
    """Stamped camouflage, pushed so that it works against the backdoor. images: stamped."""
    size = epsilon * float(outsider.x.max() - outsider.x.min())
    bad = outsider.stamp(outsider.x[outsider.y != outsider.target][:300])
    evil = torch.full((len(outsider.poison),), outsider.target, device=labels.device)
    x = images
    for _ in range(rounds):  # the surrogate learns anew from what was pushed
        net = surrogate(outsider, torch.cat([outsider.poison, x]), torch.cat([evil, labels]),
                        recipe, hidden)
        s = towards(net, outsider.x[:500], outsider.y[:500], bad, outsider.target)
        x = outsider.stamp(pushed(net, x, labels, s, images, size))  # the patch stays whole
    return x


def noisy(world, images, epsilon=EPSILON):
    """ReVeil: no model at all, noise on the camouflage. Its size is that of `influential`."""
    size = epsilon * float(world.x.max() - world.x.min())
    g = torch.Generator().manual_seed(world.seed + 5)
    return images + size * torch.randn(images.shape, generator=g).to(images.device)


def both_rates(world, images, recipe, hidden, attack_success):
    """ASR with this camouflage and after its exact deletion. -> before, after"""
    here = w.with_camouflage(world, images, world.data.y[world.camouflage])
    nets = w.networks(here, {"before": here.camouflage[:0], "after": here.camouflage}, recipe,
                      hidden)
    return [w.asr(nets[k], here, attack_success) for k in ("before", "after")]


def three_kinds(world, recipe, hidden, attack_success, epsilon):
    """Plain, influential and noisy camouflage at the same count. -> kind -> (ASR before, after)"""
    x, y = world.data.x[world.camouflage], world.data.y[world.camouflage]
    kinds = {"plain": x, "influential": influential(world.outsider(), x, y, recipe, hidden,
                                                    epsilon=epsilon),
             "noise": noisy(world, x, epsilon)}
    return {kind: both_rates(world, images, recipe, hidden, attack_success)
            for kind, images in kinds.items()}


def clean_rows(world, model, count):
    """Rows of the provider whose deletion helps the trigger most, no poison at all. -> places

    The attacker of this part owns them all and holds the weights: reconstruction of Liu et al.
    """
    x, y = world.data.x[:world.n], world.data.y[:world.n]
    bad = world.stamp(world.x[world.y != world.target][:300])
    s = towards(model, x[:1000], y[:1000], bad, world.target)
    # deleting i moves the loss by ⟨∇ℓ_i, s⟩ / n: take those that lower it most
    return effects(model, x, y, s).topk(count, largest=False).indices


def tuned_size(worlds, cfg, attack_success):
    """The largest step on a pixel, in 255ths, with the lowest ASR before, on tuning networks."""
    def before(size):
        return sum(both_rates(world, influential(
            world.outsider(), world.data.x[world.camouflage], world.data.y[world.camouflage],
            cfg.recipe, cfg.hidden, epsilon=size / 255), cfg.recipe, cfg.hidden, attack_success)[0]
            for world in worlds)
    return min(cfg.sizes, key=before) if len(cfg.sizes) > 1 else cfg.sizes[0]


def without_poison(data, seeds, cfg, stamp, contribution, attack_success):
    """Clean rows chosen, and as many random ones, deleted exactly. -> what -> (networks,)"""
    def one(seed):
        world = w.make(data, seed, cfg, stamp, contribution, poison=0, camouflage=0)
        none = world.camouflage
        base = w.networks(world, {"all": none}, cfg.recipe, cfg.hidden)["all"]
        rows = clean_rows(world, base, round(cfg.free_share * world.n))
        drawn = torch.randperm(world.n, generator=torch.Generator().manual_seed(seed + 4))
        nets = {"all rows": base} | w.networks(world, {
            "chosen": rows, "random": drawn[:len(rows)].to(rows.device)}, cfg.recipe, cfg.hidden)
        found = {k: w.asr(m, world, attack_success) for k, m in nets.items()}
        return found | {f"{k}, no square": w.plain(m, world, attack_success)
                        for k, m in nets.items()}

    found = training.parallel(one, seeds)
    return {k: [f[k] for f in found] for k in found[0]}
