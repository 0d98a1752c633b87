"""Approximate unlearning by curvature: influence (Newton) step, SSD, Fisher forgetting."""

import torch
import torch.nn.functional as F
from torch.func import functional_call, grad, jvp, vjp, vmap

from ..base import Diverged
from ..rules import checked
from ..training import predict
from .request import begin, finite


@checked
def influence(model, data, forget, *, damping=0.01, scale=1.0, cg_steps=20, n_rows=2000,
              curvature="gauss-newton", loss=F.cross_entropy, seed=0):
    """One Newton step towards the retain set's mean loss: θ + scale · H⁻¹ (∇L_D − ∇L_r).

    H is the curvature of L_r on at most `n_rows` random retain rows plus `damping` · I, inverted by
    `cg_steps` conjugate gradient steps: 'gauss-newton' (never negative) or 'hessian'. Exact for a
    quadratic loss at the optimum of L_D. Source: IU in Jia et al. 2023, Koh and Liang 2017.
    """
    student, forget, retain = begin(model, data, forget)
    if len(forget) == 0:
        return student
    params = {k: p.detach() for k, p in student.named_parameters()}
    g_forget, g_retain = (_summed_gradient(student, params, data.x[i], data.y[i], loss)
                          for i in (forget, retain))
    n, n_f, n_r = len(data.y), len(forget), len(retain)
    v = {k: g_forget[k] / n - g_retain[k] * n_f / (n * n_r) for k in params}
    if not all(torch.isfinite(t).all() for t in v.values()):
        raise Diverged("A gradient is NaN or infinite: look for NaN in the rows and the weights.")
    pick = torch.randperm(n_r, generator=torch.Generator().manual_seed(seed))[:n_rows]
    pick = retain[pick.to(retain.device)]
    x, y = data.x[pick], data.y[pick]

    def product(u):
        return curvature_product(student, params, x, y, u, curvature, damping, loss)

    step = conjugate_gradients(vmap(product), {k: t[None] for k, t in v.items()}, cg_steps)
    with torch.no_grad():
        for k, p in student.named_parameters():
            p += scale * step[k][0]
    return finite(student, "influence", scale)


@checked
def curvature_product(model, params, x, y, v, curvature="gauss-newton", damping=0.0,
                      loss=F.cross_entropy):
    """(H + damping · I) v without forming H, for the mean loss. params, v: dicts name -> tensor."""
    def logits(p):
        return functional_call(model, p, (x,))

    if curvature == "hessian":
        _, product = jvp(grad(lambda p: loss(logits(p), y)), (params,), (v,))
    else:  # Jᵀ H_out J v: the loss's Hessian in the logits, through the linearised network
        out, jv = jvp(logits, (params,), (v,))
        _, h_jv = jvp(grad(lambda o: loss(o, y)), (out,), (jv,))
        (product,) = vjp(logits, params)[1](h_jv)
    return {k: product[k] + damping * v[k] for k in v}


def conjugate_gradients(product, b, steps, tolerance=1e-6):
    """Solve A x = b for r right-hand sides at once: dict name -> (r, …) both ways.

    product: v -> A v for each of the r alone. A side stops at a relative residual of `tolerance`,
    or where the curvature along its direction is not above 0. Diverged when that or a residual is
    NaN or infinite. Source: Hestenes and Stiefel 1952.
    """
    def dots(a, c):
        return sum((a[k] * c[k]).flatten(1).sum(1) for k in a)

    def plus(a, s, c):
        return {k: a[k] + s.view(-1, *[1] * (c[k].dim() - 1)) * c[k] for k in a}

    x, r, d = {k: torch.zeros_like(t) for k, t in b.items()}, b, b
    rr = start = curve = dots(b, b)
    live = start > 0
    for _ in range(steps):
        a_d = product(d)
        curve = dots(d, a_d)
        live = live & (curve > 0) & (rr > tolerance**2 * start)
        if not live.any():
            break
        alpha = torch.where(live, rr / curve, 0)
        x, r = plus(x, alpha, d), plus(r, -alpha, a_d)
        rr, old = dots(r, r), rr
        d = plus(r, rr / old.clamp(min=1e-30), d)
    if not torch.isfinite(torch.stack([start, curve, rr])).all():
        raise Diverged("The curvature is NaN or infinite: look for NaN in the rows and weights.")
    return x


def fisher_diagonal(model, x, y, chunk=32):
    """Mean over rows of the squared gradient of each row's own loss: dict name -> tensor.

    Squared *batch* gradients, as in published code, would depend on the batches. y: labels; for the
    true Fisher information give labels drawn from the model. chunk: rows at a time.
    """
    params = {k: p.detach() for k, p in model.named_parameters()}

    def row_loss(p, xi, yi):
        return F.cross_entropy(functional_call(model, p, (xi[None],)), yi[None])

    per_row = vmap(grad(row_loss), in_dims=(None, 0, 0))
    total = {k: torch.zeros_like(p) for k, p in params.items()}
    for xs, ys in zip(x.split(chunk), y.split(chunk), strict=True):
        for k, g in per_row(params, xs, ys).items():
            total[k] += g.pow(2).sum(0)
    if not all(torch.isfinite(t).all() for t in total.values()):
        raise Diverged("The Fisher information is not finite: look for NaN in rows and weights.")
    return {k: t / len(x) for k, t in total.items()}


@checked
def ssd(model, data, forget, *, alpha=2.0, dampening=1.0, n_rows=2000, chunk=32, seed=0):
    """Selective synaptic dampening: shrink what matters far more to the forget set than to all.

    Weight i is selected when F_forget,i > alpha · F_all,i, and multiplied by min(dampening ·
    F_all,i / F_forget,i, 1). F_all is taken over at most `n_rows` random rows. Source: Foster et
    al. 2024 (alpha 10 there selects next to nothing here), per row in place of per batch.
    """
    student, forget, _ = begin(model, data, forget)
    if len(forget) == 0:
        return student
    some = torch.randperm(len(data.y), generator=torch.Generator().manual_seed(seed))[:n_rows]
    some = some.to(forget.device)
    of_all = fisher_diagonal(student, data.x[some], data.y[some], chunk)
    of_forget = fisher_diagonal(student, data.x[forget], data.y[forget], chunk)
    with torch.no_grad():
        for k, p in student.named_parameters():
            selected = of_forget[k] > alpha * of_all[k]
            factor = (dampening * of_all[k] / of_forget[k].clamp(min=1e-30)).clamp(max=1.0)
            p[selected] *= factor[selected]
    return finite(student, "ssd", dampening)


@checked
def fisher_forgetting(model, data, forget, *, alpha=1e-6, cap=1e3, chunk=32, n_rows=2000, seed=0):
    """Add noise where the retain set does not mind: θ + N(0, alpha · min(1 / F_retain, cap)).

    F_retain: diagonal, of at most `n_rows` random retain rows with labels drawn from the model.
    Source: Golatkar et al. 2020, without its code's zeroed class row; FF in Jia et al. 2023.
    """
    student, forget, retain = begin(model, data, forget)
    if len(forget) == 0:
        return student
    draw = torch.Generator().manual_seed(seed)
    x = data.x[retain[torch.randperm(len(retain), generator=draw)[:n_rows].to(retain.device)]]
    probabilities = predict(student, x).softmax(1).cpu()
    labels = torch.multinomial(probabilities, 1, generator=draw).squeeze(1).to(x.device)
    information = fisher_diagonal(student, x, labels, chunk)
    with torch.no_grad():
        for k, p in student.named_parameters():
            variance = alpha * (1 / (information[k] + 1e-8)).clamp(max=cap)
            p += variance.sqrt() * torch.randn(p.shape, generator=draw).to(p.device)
    return finite(student, "fisher_forgetting", alpha)


def _summed_gradient(model, params, x, y, loss):
    """Gradient of the summed loss over the rows, in chunks: dict name -> tensor."""
    def summed(p, xs, ys):
        return loss(functional_call(model, p, (xs,)), ys) * len(xs)

    total = {k: torch.zeros_like(p) for k, p in params.items()}
    for xs, ys in zip(x.split(512), y.split(512), strict=True):
        g = grad(summed)(params, xs, ys)
        total = {k: total[k] + g[k] for k in total}
    return total
