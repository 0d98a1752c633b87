"""Exercises of notebook 13: two formulas for noise, a removal, a solver, an audit, an attack.

Solutions use numpy and torch only, and what they import themselves, so that they can be copied out.
"""

import functools
import math  # noqa: F401  (a planted mistake uses it)

import numpy as np
import torch

from course.exercises.engine import Exercise


# ---------------- 13.1 classic_sigma
def classic_sigma(sensitivity, epsilon, delta):
    """Δ/ε · √(2 ln(1.25/δ)). float, float, float -> float"""
    return float(sensitivity / epsilon * np.sqrt(2 * np.log(1.25 / delta)))


def _noise_cases():
    return [(what, (s, e, d)) for what, s, e, d in (
        ("a promise of ε = 1", 1.0, 1.0, 1e-5), ("a stronger promise", 1.0, 0.1, 1e-5),
        ("weights far apart", 40.0, 1.0, 1e-5), ("a large δ", 2.0, 0.5, 0.1),
        ("a tiny δ", 0.3, 0.7, 1e-9))]


CLASSIC = Exercise(
    id="13.1", title="How much noise?",
    trains="the textbook's Gaussian mechanism: which quantity divides, which multiplies",
    difficulty=1, minutes=5, points=1, solution=classic_sigma, cases=_noise_cases,
    hints=("More distance to hide needs more noise, a stronger promise (smaller ε) too.",
           "σ = Δ / ε · √(2 ln(1.25 / δ)), with the natural logarithm.",
           "`np.log` is the natural logarithm; take `np.sqrt` of twice the logarithm of 1.25 over "
           "delta, multiply by sensitivity over epsilon, and make it a float."),
    mistakes=(
        ("sensitivity / epsilon", "sensitivity * epsilon", "Multiplied by ε",
         "you multiplied by ε: a smaller ε is the stronger promise, and needs more noise."),
        ("np.log(1.25 / delta)", "np.log10(1.25 / delta)", "The logarithm to base 10",
         "you took the logarithm to base 10: it is the natural one."),
        ("np.sqrt(2 * np.log(1.25 / delta))", "2 * np.log(1.25 / delta)", "No root",
         "you left out the root."),
        ("1.25 / delta", "1 / delta", "1 in the place of 1.25", "you left out the 1.25."),
        ("2 * np.log", "np.log", "The factor 2 is left out", "you left out the factor 2."),
    ),
    remark="`here.classic_sigma` is the same. It is proved for ε of at most 1.",
)


# ---------------- 13.2 delta_of
def delta_of(epsilon, mu):
    """Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ), also for large ε. float, float -> float"""
    near, far = torch.tensor([mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu], dtype=torch.float64)
    return float(torch.special.ndtr(near) - (epsilon + torch.special.log_ndtr(far)).exp())


def _curve_cases():
    return [(what, (e, m)) for what, e, m in (
        ("μ = 1 at ε = 1", 1.0, 1.0), ("hardly apart", 0.5, 0.2), ("ε = 0", 0.0, 0.7),
        ("far apart", 10.0, 4.0), ("ε so large that e^ε overflows", 900.0, 40.0),
        ("as large as for a network", 80000.0, 400.0))]


CURVE = Exercise(
    id="13.2", title="The exact curve",
    trains="hypothesis testing between two Gaussians; a product of a huge and a tiny number by "
           "its logarithm", difficulty=2, minutes=10, points=2, solution=delta_of,
    cases=_curve_cases, rtol=1e-6, atol=1e-9,
    hints=("Φ is the share of a Gaussian below a value, torch.special.ndtr. For ε = 900 e^ε is "
           "more than a float holds, and what it multiplies is next to 0: add logarithms first.",
           "e^ε Φ(z) = exp(ε + ln Φ(z)), and torch.special.log_ndtr(z) is ln Φ(z).",
           "Make both arguments a float64 tensor; `ndtr` of the first, less the exponential of "
           "epsilon plus `log_ndtr` of the second; return a float."),
    mistakes=(
        ("(epsilon + torch.special.log_ndtr(far)).exp()",
         "math.exp(epsilon) * torch.special.ndtr(far)", "e^ε by itself, which overflows",
         "e^ε alone overflows for large ε: add ε to the logarithm of Φ, then take the "
         "exponential."),
        ("(epsilon + torch.special.log_ndtr(far)).exp()", "torch.special.ndtr(far)",
         "The factor e^ε is left out", "you left out e^ε: then the curve is the distance of two "
         "Gaussians at ε = 0."),
        ("-mu / 2 - epsilon / mu", "-mu / 2 + epsilon / mu", "The second sign turned round",
         "the second argument is −μ/2 − ε/μ: both terms are negative."),
        ("mu / 2 - epsilon / mu, -", "mu / 2 - epsilon * mu, -", "ε times μ in the first argument",
         "ε is divided by μ, not multiplied."),
        ("mu / 2 - epsilon / mu, -mu / 2", "mu - epsilon / mu, -mu", "μ in the place of μ/2",
         "it is half of μ in both arguments: the two clouds lie μ apart."),
    ),
    remark="`lk.defend.gaussian_delta` is the same with scipy.",
)


# ---------------- 13.3 remove_row
def remove_row(w, x, y, x_gone, y_gone, lam):
    """w + H⁻¹ Δ. (d,), rows that stay (n, d), (n,) in {−1, 1}, the row (d,), its label, λ -> (d,)
    """
    s = torch.sigmoid(x @ w)
    hessian = (x * (s * (1 - s))[:, None]).T @ x + lam * len(x) * torch.eye(len(w)).to(x)
    pull = -y_gone * torch.sigmoid(-y_gone * (x_gone @ w)) * x_gone
    return w + torch.linalg.solve(hessian, lam * w + pull)


def _row_cases():
    g, cases = torch.Generator().manual_seed(133), []
    for what, n, d, lam, label in (("a few rows", 8, 3, 0.1, 1.0), ("the other label", 8, 3, 0.1,
                                                                    -1.0),
                                   ("one column", 5, 1, 0.5, 1.0), ("many rows", 60, 6, 0.01, -1.0),
                                   ("strong regularisation", 20, 4, 3.0, 1.0)):
        x = torch.randn(n + 1, d, generator=g, dtype=torch.float64)
        x = x / x.norm(dim=1, keepdim=True)
        y = torch.where(torch.rand(n, generator=g) < 0.5, -1.0, 1.0).double()
        w = torch.randn(d, generator=g, dtype=torch.float64)
        cases.append((what, (w, x[:-1], y, x[-1], torch.tensor(label).double(), lam)))
    return cases


REMOVE = Exercise(
    id="13.3", title="Remove a row",
    trains="gradient and Hessian of a regularised sum; which rows are in the Hessian; signs",
    difficulty=3, minutes=15, points=3, solution=remove_row, cases=_row_cases,
    hints=("At the optimum all gradients cancel. Without the row, its gradient is missing; a "
           "Newton step on the rows that stay puts that right.",
           "H = Σ s (1 − s) x xᵀ + λ n I over the n rows that stay, s = σ(w·x); "
           "Δ = λ w − y σ(−y w·x) x of the row that goes; the answer is w + H⁻¹ Δ.",
           "Take the sigmoid of x @ w; multiply each row of x by s (1 − s), and its transpose with "
           "x; add lam · n on the diagonal; `torch.linalg.solve` with Δ; add to w."),
    mistakes=(
        ("w + torch.linalg", "w - torch.linalg", "The step the other way",
         "your step goes the wrong way: taking a row's gradient out of the sum leaves −Δ, and a "
         "Newton step subtracts H⁻¹ of that."),
        ("lam * w + pull)", "pull)", "Without the row's share of the regularisation",
         "you left out λ w: the sum has λ n |w|²/2, and n falls by 1."),
        ("lam * len(x)", "lam", "λ in the place of λ n",
         "the sum's Hessian has λ n on its diagonal, not λ."),
        ("-y_gone * (x_gone @ w)", "y_gone * (x_gone @ w)", "The sign in the sigmoid",
         "the gradient of log(1 + e^(−m)) is −σ(−m): mind the sign in the sigmoid."),
        ("(s * (1 - s))", "s", "s in the place of s (1 − s)",
         "the second derivative of the loss is s (1 − s), not s."),
    ),
    remark="`here.convex.removal` is the same.",
)


# ---------------- 13.4 lissa
def lissa(g, product, scale, steps, watch):
    """K = g, then `steps` times K = g + K − (H K) / scale; at the end K / scale. -> like g"""
    k = g
    for t in range(steps):
        k = g + k - product(k) / scale
        watch(t + 1, k / scale)
    return k / scale


@functools.cache
def _matrix(seed, p, least):
    """product: v -> v H, with eigenvalues from `least` to 1."""
    g = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(p, p, generator=g, dtype=torch.float64))
    h = q @ torch.diag(torch.linspace(least, 1, p, dtype=torch.float64)) @ q.T

    def product(v):
        return v @ h
    return product


def _silent(t, estimate):
    """A watch that looks at nothing."""


def _solver_cases():
    g = torch.Generator().manual_seed(134)
    return [(what, (torch.randn(*shape, generator=g, dtype=torch.float64),
                    _matrix(i, shape[-1], least), scale, steps, _silent))
            for i, (what, shape, least, scale, steps) in enumerate((
                ("one copy", (5,), 0.3, 1.5, 7), ("three copies", (3, 4), 0.2, 2.0, 10),
                ("no step at all", (4,), 0.5, 3.0, 0), ("one step", (6,), 0.5, 3.0, 1),
                ("many steps", (5,), 0.4, 1.2, 80), ("a scale below the largest", (4,), 0.2, 0.4,
                                                     9)))]


LISSA = Exercise(
    id="13.4", title="A solver that never sees the matrix",
    trains="a Neumann series as a recursion; where the scale divides", difficulty=4, minutes=15,
    points=3, solution=lissa, cases=_solver_cases,
    hints=("For a matrix A with eigenvalues between 0 and 2, A⁻¹ g = g + (I − A) g + (I − A)² g "
           "+ …. Each further term needs one product. Here A is H / scale.",
           "K₀ = g, K_t = g + K_{t−1} − H K_{t−1} / scale; the answer is K / scale, as "
           "H⁻¹ = A⁻¹ / scale.",
           "Begin with g; in a loop add g to K and subtract `product(K) / scale`; call "
           "`watch(t + 1, K / scale)`; return K over scale. Shapes take care of themselves."),
    mistakes=(
        ("return k / scale", "return k", "The last division is missing",
         "you return (H / scale)⁻¹ g: divide by the scale once more at the end."),
        ("product(k) / scale", "product(k)", "The scale does not divide the product",
         "the recursion is for H / scale: divide the product by the scale."),
        ("g + k - product", "k - product", "g is not added in each step",
         "each step adds g: without it the terms shrink to nothing."),
        ("g + k - product(k) / scale", "g - product(k) / scale", "K itself is forgotten",
         "each step keeps K: it is g + K − H K / scale."),
        ("    k = g\n", "    k = torch.zeros_like(g)\n", "It begins at 0",
         "you begin at 0, which is one step behind: begin with g."),
    ),
    remark="`here.deep` solves with it; the batches are drawn anew inside `product`.",
)


# ---------------- 13.5 survives
def survives(before, after, reference, refused):
    """Did it change? Was the unknown id refused? Is retraining nearer? (p,) · 3, bool -> (3,) bool
    """
    left = (after - reference).norm()
    nearer = left < (before - reference).norm() and left < (after - before).norm()
    return torch.tensor([bool((after != before).any()), bool(refused), bool(nearer)])


def _audit_cases():
    g = torch.Generator().manual_seed(135)
    w, r, z = torch.randn(3, 6, generator=g, dtype=torch.float64)
    one = w.clone()
    one[3] += 1e-7
    far = w.clone()
    far[2] += 0.5
    high, near = w + 20, w + 20 + 0.1 * z  # both far from 0
    return [("a real step", (w, w + 0.9 * (r - w), r, True)),
            ("nothing changed", (w, w.clone(), r, True)),
            ("nothing changed, any id accepted", (w, w.clone(), r, False)),
            ("a step away", (w, w - 0.2 * (r - w), r, True)),
            ("a hundredth of a step", (w, w + 0.01 * (r - w), r, True)),
            ("a step twice and a half too long", (w, w + 2.5 * (r - w), r, True)),
            ("far off to a side", (w, w + 30 * (z - w), r, True)),
            ("one weight moved by a hair", (w, one, r, False)),
            ("one weight moved far", (w, far, r, True)),
            *((f"large weights, {part:g} of the step", (high, high + part * (near - high), near,
                                                       True)) for part in (0.3, 0.8, 2.5)),
            ("the reference itself", (w, r.clone(), r, True))]


AUDIT = Exercise(
    id="13.5", title="Three tests of a receipt",
    trains="what evidence is: each test rules out one way to make a receipt up", difficulty=3,
    minutes=10, points=2, solution=survives, cases=_audit_cases,
    hints=("Look at the three in turn. A receipt's text takes no part: anybody can print it.",
           "after ≠ before in at least one place; refused; |after − reference| below both "
           "|before − reference| and |after − before|.",
           "Give `torch.tensor` of three bools: `(after != before).any()`, `refused`, and whether "
           "one norm lies below two others."),
    mistakes=(
        (" and left < (after - before).norm()", "", "Nearer than it was is enough",
         "you let pass what is a hair nearer than before: a hundredth of the step would do."),
        ("left < (before - reference).norm() and ", "", "Only against the old model",
         "you compared with the step's length alone: a long step to anywhere may pass. It must "
         "also be nearer than the old model was."),
        ("(after != before).any()", "(after != before).all()", "Every weight must change",
         "you ask that every weight changes: one is enough to show a change."),
        ("bool((after != before).any())", "not torch.allclose(after, before)",
         "A small change does not count", "you took a tolerance: the first test asks whether "
         "anything changed at all; how much is for the third."),
        ("bool(refused)", "not refused", "A refusal counts against it",
         "a refusal of an unknown id speaks for the provider."),
    ),
    remark="`here.receipts.survives` is the same.",
)


# ---------------- 13.6 costly_rows
def costly_rows(x, y, known_x, known_y, size, lam):
    """Own rows, each moved by at most `size`, for the largest bound. (m, d), (m,), (n, d), (n,),
    float, float -> (m, d)"""
    start, moved, lazy = x, x.clone(), lam * (len(x) + len(known_x))
    eye = torch.eye(x.shape[1], dtype=x.dtype)
    for _ in range(12):
        rows = torch.cat([known_x, moved / moved.norm(dim=1, keepdim=True)])
        labels, w = torch.cat([known_y, y]), torch.zeros(x.shape[1], dtype=x.dtype)
        for _ in range(8):  # the attacker's own model, by Newton's method
            s = torch.sigmoid(rows @ w)
            h = (rows * (s * (1 - s))[:, None]).T @ rows + lazy * eye
            pull = -labels * torch.sigmoid(-labels * (rows @ w))
            w = w - torch.linalg.solve(h, rows.T @ pull + lazy * w)
        inverse, free = torch.linalg.inv(h), moved.clone().requires_grad_()
        unit = free / free.norm(dim=1, keepdim=True)
        margin = y * (unit @ w)
        step = (lam * w - (y * torch.sigmoid(-margin))[:, None] * unit) @ inverse
        cost = (step.norm(dim=1) * (step @ rows.T).norm(dim=1)).log()
        (g,) = torch.autograd.grad(cost.sum(), free)
        moved = moved + size / 4 * g / g.norm(dim=1, keepdim=True).clamp(min=1e-12)
        far = (moved - start).norm(dim=1, keepdim=True).clamp(min=1e-12)
        moved = start + (moved - start) * (size / far).clamp(max=1)
    return moved


def _as_they_were(x, y, known_x, known_y, size, lam):
    """The rows as they were"""
    return x.clone()


def _at_random(x, y, known_x, known_y, size, lam):
    """Moved in random directions"""
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(x.shape, generator=g, dtype=x.dtype)
    return x + size * noise / noise.norm(dim=1, keepdim=True)


def _other_side(x, y, known_x, known_y, size, lam):
    """Pushed towards the mean of one's own class"""
    pull = torch.stack([known_x[known_y == label].mean(0) for label in y]) - x
    return x + size * pull / pull.norm(dim=1, keepdim=True)


def _too_far(x, y, known_x, known_y, size, lam):
    """Moved by more than is allowed"""
    return costly_rows(x, y, known_x, known_y, 2 * size, lam)


def _made(seed, m, n, d):
    """Two clouds: own rows, the attacker's collection, the provider's other rows."""
    g = torch.Generator().manual_seed(seed)
    y = torch.where(torch.rand(m + 2 * n, generator=g) < 0.5, -1.0, 1.0).double()
    x = torch.randn(len(y), d, generator=g, dtype=torch.float64)
    x[:, 0] += 1.5 * y
    x = x / x.norm(dim=1, keepdim=True)
    return x[:m], y[:m], x[m:m + n], y[m:m + n], x[m + n:], y[m + n:]


MADE = (("ten own rows", 136, 10, 120, 8), ("twelve own rows", 137, 12, 150, 12))


def _poison_cases():
    return [(what, (*_made(*made)[:4], 0.3, 0.02)) for what, *made in MADE]


def written(result, *arguments):
    """Sum of the bounds when the provider deletes these rows; ValueError where they break a rule.
    """
    from course.chapters.certified import convex

    x, y, _, _, size, lam = arguments
    rows = torch.as_tensor(result, dtype=torch.float64)
    if rows.shape != x.shape or not torch.isfinite(rows).all():
        raise ValueError(f"rows are finite, of the shape {tuple(x.shape)}; yours have the shape "
                         f"{tuple(rows.shape)}")
    if float((rows - x).norm(dim=1).max()) > size + 1e-6:
        raise ValueError(f"a row moved by {float((rows - x).norm(dim=1).max()):.3g}; at most "
                         f"{size:g} is allowed")
    made = next(made for _, *made in MADE if made[1] == len(x))
    *_, other_x, other_y = _made(*made)
    mine = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)
    x, y, total = torch.cat([mine, other_x]), torch.cat([y, other_y]), 0.0
    w = convex.solve(x, y, lam)
    for i in range(len(mine)):
        new = convex.removal(w, x[i + 1:], y[i + 1:], x[i], y[i], lam)
        total, w = total + convex.bound(x[i + 1:], new - w), new
    return total


def half_way(*arguments):
    """Half way from the rows as they were to the course's."""
    return (written(_as_they_were(*arguments), *arguments)
            + written(costly_rows(*arguments), *arguments)) / 2


PROJECT = Exercise(
    id="13.6", title="An attack on the cost of your own",
    trains="turning a bound that a defender computes into an objective; projected ascent",
    difficulty=5, minutes=25, points=5, solution=costly_rows, cases=_poison_cases,
    measured="what the provider's ledger gains", measure=written, floor=half_way,
    hints=("What fills the ledger is the bound, and the attacker can compute nearly all of it on "
           "rows of its own. Then move your rows uphill, and back into the ball.",
           "The bound of a row is ¼ ‖X‖ |s| |X s| with s = H⁻¹ (λ w + ∇ℓ): maximise "
           "log |s| + log |X s| by its gradient in the row, H and w held fixed.",
           "Train a model on the collection and the own rows by Newton's method; take the "
           "gradient of Σ log(|s| |X s|) in the rows by autograd; step by size/4 along each "
           "row's unit gradient; scale each change back to `size`; repeat a dozen times."),
    mistakes=(
        (_as_they_were, "you left the rows as they were: that is the lower end."),
        (_at_random, "you moved the rows at random: follow the gradient of what the removal "
                     "costs."),
        (_other_side, "you moved the rows into the middle of their class, where they hardly "
                      "matter: go where a removal moves the weights most."),
        (_too_far, "your rows moved further than `size`: project them back, row by row."),
        ("moved = moved + size / 4 * g", "moved = moved - size / 4 * g", "Downhill",
         "you went downhill: this makes the removals cheap."),
    ),
    remark="It is judged on made-up rows here, and meets the notebook's provider below.",
)


EXERCISES = (CLASSIC, CURVE, REMOVE, LISSA, AUDIT, PROJECT)
