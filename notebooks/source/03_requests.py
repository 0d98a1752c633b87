# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 03 · Malicious requests: can a lawful deletion do harm?
#
# Notebook 02 ended with a person who chose what to delete after a look at the model. Everything that person asked for was
# their own, and the provider carried it out to the letter. **How far can one get with that: can the rows that I ask you to
# forget decide how sure the model is about somebody else?**
#
# You will
# - measure how well a model knows what it does not know, and what hangs on it;
# - compute what the deletion of one row does to one prediction, without deleting it;
# - choose requests that make a model surer, or less sure, about a given input while its label stays;
# - test those requests on seven ways of unlearning, exact retraining among them, and without seeing the model at all;
# - put the defences that people already have in front of them, with a threshold that ordinary people can live with.
#
# *Time*: about a minute and a half to run, three hours to work through. *You need*: notebooks 01 and 02.
# *Papers*: Qian et al. 2025 (attacks on uncertainty), Qian et al. 2023 (malicious requests), Zhao et al. 2023 (requests
# over time). None of their formulas could be read here: **every formula below is our reconstruction from what they say
# they do.**

# %% tags=["parameters"]
profile = "quick"  # smoke | quick | full | paper
dataset = "fashion"  # any name of labkit.data.names(), or folder:PATH
seed = 0  # everything random is spawned from it
seeds = None  # number of judged seeds; None: the profile's own

# %%
import shutil
import tempfile
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch.func import functional_call, grad

import labkit as lk
from course import Lab, exercise, figures, widgets
from course.chapters import requests as here
from labkit import attack, defend
from labkit.unlearn import sisa

lab = Lab("requests", profile=profile, dataset=dataset, seed=seed, seeds=seeds)
figures.style()

# %%
cfg = lab.settings(
    quick=dict(model="mlp", model_settings=dict(hidden=32), rows=(2000, 2000), epochs=8, lr=0.1,
               batch_size=128,
               weight_decay=0.02, seeds=3, more=3, targets=7, few=3, benign=250, tuning=4,
               pairs=(8, 20, 56), cg=5),
    smoke=dict(model_settings=dict(hidden=16), rows=(400, 400), epochs=5, lr=0.05, seeds=2, more=1,
               targets=2, few=1, benign=25, tuning=2, pairs=(4, 8), cg=1),
    full=dict(model="strided_cnn", model_settings={}, rows=(1000, 2000), lr=0.05, seeds=5, more=1,
              targets=3, few=2),
    paper=dict(model="resnet18", rows=None, epochs=30, weight_decay=5e-4),
)

# %%
judged, tuning = lab.seeds(cfg.seeds, "judge"), lab.seeds(cfg.tuning, "tune")
data = lab.load(at_most=cfg.rows, moments="test")
if profile == "quick" and data.x[0].numel() > 1000:
    halves = {f: getattr(data, f)[::2].clone() for f in ("x", "y", "x_test", "y_test")}
    data = replace(data, **halves, noisy=data.noisy[:0])
    lab.say("These pictures are large: every second row is used, which keeps the time within "
            "bounds.")
n = len(data.y)
lab.require(n >= 300 and len(data.y_test) >= 200,
            "This notebook needs at least 300 training and 200 test rows.")
BUDGET = max(6, round(0.03 * n))  # rows that may be asked for: 3 % of the training set
recipe = dict(epochs=cfg.epochs, lr=cfg.lr, batch_size=cfg.batch_size,
              weight_decay=cfg.weight_decay)
interval, show = lk.measure.interval, lk.measure.show_interval
# what a quantity can be at all
SHARE, DIFFERENCE, PERCENT, POINTS = (0, 1), (-1, 1), (0, 100), (-100, 100)

# %%
def picture(d, x):
    """A row as matplotlib shows it: an image; a table as one line of grey values."""
    if x.dim() != 3:
        return (x.cpu()[None],)
    pixels = d.pixels(x).cpu().permute(1, 2, 0)
    return (pixels.squeeze(2), "gray_r") if x.shape[0] == 1 else (pixels,)


def build(seed):
    """A fresh network; the same seed gives the same initial weights."""
    return lk.models.build(cfg.model, data, seed, **cfg.model_settings)


def train(d, seeds, skip=None):
    """One network a seed, all in the same way. skip: for each, the rows to leave out."""
    return lk.training.fit_many([build(s) for s in seeds], d.x, d.y, seeds=seeds, skip=skip,
                                workers=1, **recipe)


# %% [markdown]
# ## 1 · Before any attack
#
# A few networks are trained, each on a split of its own. Its test rows are divided among three parties: the provider's
# **validation** rows, a **public** sample that an attacker may look at, and the rows that we **measure** on.

# %%
def victim(seed):
    """A trained network with its split, what the attacker holds (half of the training rows), and
    its targets.
    """
    d = data.resplit(seed)
    model, m = train(d, [seed])[0], len(d.y_test)
    parts = {k: (d.x_test[i], d.y_test[i]) for k, i in (("validation", slice(int(0.4 * m))),
             ("public", slice(int(0.4 * m), int(0.6 * m))), ("measure", slice(int(0.6 * m), None)))}
    p = lk.training.predict(model, parts["measure"][0]).softmax(1)
    picked = attack.pick_targets(p, parts["measure"][1], cfg.targets, seed)
    own = np.random.default_rng(seed).permutation(n)[: n // 2]
    return SimpleNamespace(seed=seed, data=d, model=model, held=attack.hold(d, own, BUDGET),
                           x=parts["measure"][0][picked],
                           p=p[picked], label=p[picked].argmax(1).tolist(), **parts)


victims = lk.training.parallel(victim, judged)
ALL = [(i, j) for i in range(len(victims)) for j in range(cfg.targets)]  # every (victim, target)
FEW = [(i, j) for i, j in ALL if j < cfg.few]  # the first few of each victim, for what is dear
# targets of one victim share a network: every interval is one over networks
networks, few_networks = [i for i, _ in ALL], [i for i, _ in FEW]

# %%

def percent(hits, clusters=networks):
    """The share of hits (0 or 1; NaN, a lost run, is none) in percent, with its interval over
    networks.
    """
    return show(100 * np.nan_to_num(np.asarray(hits, float)), unit=" %", clusters=list(clusters),
                limits=PERCENT)


def told(frame, column, limits=None, unit=" nats"):
    """Mean of a column of targets with its interval over networks; lost runs are left out."""
    there = frame.dropna(subset=[column])
    return show(there[column], unit=unit if limits is None else "", clusters=there.i.tolist(),
                limits=limits)


def ends(frame, column, limits=None):
    """The interval itself: (low, high)."""
    there = frame.dropna(subset=[column])
    return interval(there[column], there.i, limits)[1:]

# %% [markdown]
# **Exercise 3.1** (difficulty 1, 5 minutes). The entropy $H(p) = -\sum_c p_c \ln p_c$ says in one number how unsure a
# prediction is: 0 when one class has everything, $\ln k$ when all $k$ are alike.

# %%
@exercise("3.1")
def entropy(p):
    """Entropy of each row in nats; a probability of 0 counts 0. (n, k) -> (n,), float32 or float64
    """
    ...  # your code

# %% [markdown]
# Being unsure is not a fault. Being unsure **where it is often wrong** is what one wants. A model is *calibrated* when,
# of the predictions it makes with confidence 0.8, eight in ten are right. The expected calibration error (ECE) is the
# mean distance from that, bin by bin.
#
# **Exercise 3.2** (difficulty 2, 12 minutes). Cut the confidences into equal bins. In each, take the distance between
# mean confidence and the share that is right. Average the distances, weighted by the share of rows in the bin.

# %%
@exercise("3.2")
def ece(confidence, correct, bins):
    """Expected calibration error, 0 to 1. confidence (n,) in [0, 1], correct (n,) bool; a bin holds
    its lower edge -> float"""
    ...  # your code

# %%
# NBVAL_CHECK_OUTPUT
print("entropy of a fair coin, a sure one:",
      entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]])).numpy().round(4) + 0.0)
print("ECE of 0.9, 0.9, 0.9 with one wrong:",
      round(ece(torch.tensor([0.9, 0.9, 0.9]), torch.tensor([True, True, False]), 10), 4))

# %%
ACT = 0.8  # a prediction this sure is acted on; anything less goes to a person
rows = []
for v in victims:
    p = lk.training.predict(v.model, v.measure[0]).softmax(1)
    right, acted = p.argmax(1) == v.measure[1], p.max(1).values >= ACT
    rows.append({"accuracy, %": 100 * right.double().mean().item(), "ECE": ece(p.max(1).values,
                                                                               right, 10),
                 "acted on, %": 100 * acted.double().mean().item(),
                 "wrong among those acted on, %": 100 * (~right & acted).sum().item()
                 / max(1, int(acted.sum()))})
before = pd.DataFrame(rows)
wrong_acted, error = before["wrong among those acted on, %"], 100 - before["accuracy, %"]
lab.table(pd.DataFrame([{k: show(before[k], limits=SHARE if k == "ECE" else PERCENT)
                         for k in before}]),
          f"The networks before any request, mean and 95 % interval over {len(victims)} victims")
lab.say(f"The networks get {show(before['accuracy, %'], limits=PERCENT)} % right. Among the "
        f"answers they are at least "
        f"{ACT} sure of, {show(wrong_acted, limits=PERCENT)} % are wrong"
        + (": they know where they may err, and that is what confidence is for."
           if interval(error - wrong_acted, limits=POINTS)[1] > 0 else "."),
        f"What they are less sure of, {show(100 - before['acted on, %'], limits=PERCENT)} % of the "
        f"rows, goes to a person.")

# %% [markdown]
# ## 2 · What does one deletion do to somebody else's prediction?
#
# > **Threat model.** **Who** somebody who supplied half of the training rows, a data broker for example. **Sees** the
# > weights (in section 6 those of every network that makes up the estimate; in section 5 only answers), its own rows, a
# > labelled public sample, and what the provider publishes: training recipe, number of rows, unlearning method and its
# > step. **May** ask for the deletion of at most 3 % of the training rows, all of them its own and genuine. **Wants** the
# > model to be surer, or less sure, about one input that is not in the training set, with the label unchanged.
#
# Let $\theta$ be the weights, $\ell(z_i; \theta)$ the loss of row $i$ and $g_i = \nabla_\theta \ell(z_i; \theta)$ its
# gradient, and let $\omega_i \in \{0, 1\}$ say whether the row is asked for. First-order unlearning (Warnecke et al.
# 2023) answers a request with one step uphill:
# $$\theta_u(\omega) = \theta + \tau \sum_i \omega_i\, g_i.$$
# The attacker wants a small loss $L(\theta_u(\omega))$ at the target. Let $\omega_i$ be any number for a moment; then
# by the chain rule
# $$\frac{\partial L}{\partial \omega_i} = \tau\, \langle \nabla_\theta L(\theta_u(\omega)),\; g_i \rangle.$$
# A row is useful when its gradient points where the attacker's loss falls. This *hypergradient* is all the attack needs.
#
# **Exercise 3.3** (difficulty 4, 15 minutes). Write it. Mind where the loss gradient is taken.

# %%
@exercise("3.3")
def hypergradient(theta, gradients, weights, tau, loss_gradient):
    """d L(θ_u) / dω for θ_u = θ + τ Σ ω_i g_i. (d,), (m, d), (m,), float, (d,) -> (d,) gives (m,)
    """
    ...  # your code

# %% [markdown]
# How strong is the step, $\tau$? Too small, and nothing is unlearned; too large, and the model breaks by itself. A
# provider would compare with retraining. So the rule is: on a few **other** seeds, with random requests, take the largest
# $\tau$ whose model is at most half a point of test accuracy below the retrained one. (Other seeds are other splits of
# the same images. Only three numbers are taken from them: $\tau$, the shrinking of section 3, the budget of section 8.)

# %%
def strength(job):
    """UA and TA of first-order unlearning less those of retraining, at each tau, over two random
    requests.
    """
    d, rows = data.resplit(job), []
    model, rng = train(d, [job])[0], np.random.default_rng(job)
    tried = [torch.from_numpy(rng.permutation(n)[:BUDGET]).to(d.device) for _ in range(2)]
    for request, exact in zip(tried, train(d, [job] * 2, tried)):
        there = lk.measure.evaluate(exact, d, request)
        for t in TAUS:
            here = lk.measure.evaluate(lk.unlearn.first_order(model, d, request, tau=t), d, request)
            rows.append({"seed": job, "tau": t} | {k: here[k] - there[k] for k in here})
    return rows

# %%
TAUS = [1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3]
grid = pd.DataFrame(sum(lk.training.parallel(strength, tuning), []))
fine = grid.groupby("tau").TA.mean() >= -0.5
tau = max([t for t in TAUS if fine[t]], default=TAUS[0])
less = {k: {t: show(g[k], clusters=g.seed.tolist(), limits=POINTS) for t, g in grid.groupby("tau")}
        for k in ("UA", "TA")}
lab.table(pd.DataFrame([{"tau": f"{t:g}"} | {f"{k} − {k} of retraining, points": less[k][t]
                                             for k in less} for t in TAUS]),
          f"First-order unlearning of {BUDGET} random rows, two requests to each of {len(tuning)} "
          f"tuning networks: mean and "
          "95 % interval over networks")
lab.say(f"The rule takes tau = {tau:g}" + (", at the edge of the grid." if tau in (TAUS[0],
                                                                                   TAUS[-1]) else "."),
        f"UA is then {less['UA'][tau]} points from that of retraining. Below 0 means that less is "
        f"forgotten.")

# %% [markdown]
# ## 3 · Choosing the request
#
# The attacker now has a direction for each row, and a budget $B$. It lets every $\omega_i$ take any value in $[0, 1]$
# with $\sum_i \omega_i \le B$, walks downhill, and after each step goes back to the nearest allowed point. At the end
# it asks for the rows of largest weight.
#
# **Exercise 3.4** (difficulty 3, 15 minutes). Write the way back: clip to $[0, 1]$. If the sum is then over budget,
# subtract one number $\mu$ from all weights before clipping, the one that makes the sum $B$. Find it by bisection.

# %%
@exercise("3.4")
def project(weights, budget):
    """The nearest point with 0 <= w <= 1 and sum(w) <= budget. (m,), number -> (m,)"""
    ...  # your code

# %% [markdown]
# What to want? Let $p = p(x_t; \theta_u)$ be the target's prediction, $y$ the label it has now, and $m$ the **margin**:
# the logit of $y$ less the largest other one.
#
# - over-confidence: $L = -\ln p_y$;
# - under-confidence: $L = -H(p) + \lambda \max(0, \kappa - m)$, with $\lambda = 5$. The second part, the *hinge*, keeps
#   the label by a margin $\kappa$;
# - the older attack, for comparison: $L = m$, until another label wins.
#
# Here is the walk for one target and the second goal.

# %%
KAPPA = 0.5
GOALS = {"over": here.overconfidence, "under": lambda label: here.underconfidence(label, KAPPA),
         "flip": attack.label_flip}
v, x, label = victims[0], victims[0].x[0], victims[0].label[0]
out, goal = attack.logits_at(v.model, x), GOALS["under"](label)
# ω -> parameters after the request, differentiable
unlearned = attack.removal(v.model, v.held, tau=tau)
weights, walk = torch.full((len(v.held),), BUDGET / len(v.held), device=data.device), []
for step in range(16):
    weights.requires_grad_()
    value = goal(out(unlearned(weights)))
    (gradient,) = torch.autograd.grad(value, weights)
    walk.append((value.item(), attack.margin(out(unlearned(weights)), label).item()))
    size = gradient.abs().max().clamp(min=1e-12) * (step + 1) ** 0.5
    weights = project(weights.detach() - 0.5 / size * gradient, BUDGET)
choice = attack.choose(lambda w: goal(out(unlearned(w))), v.held, steps=15)
lab.say(f"In {len(walk) - 1} steps the attacker's loss falls from {walk[0][0]:.2f} to "
        f"{min(a for a, _ in walk):.2f}. "
        f"labkit's `choose` does the same walk ({choice.relaxed:.2f}) and then rounds: it asks for "
        f"{len(choice.rows)} rows, "
        f"and the loss there is {choice.rounded:.2f}. Rounding "
        f"{'costs' if choice.gap >= 0 else 'gains'} "
        f"{abs(choice.gap):.2f}.")

# %%
# NBVAL_CHECK_OUTPUT
params = {k: p.detach() for k, p in v.model.named_parameters()}
one = [grad(lambda p, i=i: attack.requests.row_losses(v.model, p, v.held.x[[i]],
                                                      v.held.y[[i]]).sum())(params)
       for i in range(20)]
G = torch.stack([torch.cat([g.flatten() for g in row.values()]) for row in one])
theta = torch.cat([p.flatten() for p in params.values()])
first = torch.cat([g.flatten() for g in grad(lambda p: out(p)[label])(params).values()])
by_hand = hypergradient(theta, G, torch.zeros(20, device=data.device), tau, lambda t: first)
effects = here.first_order_effects(v.model, v.held, out, tau=tau)[:20, label]
print("20 effects by hand and by labkit agree:", torch.allclose(by_hand, effects, rtol=1e-3,
                                                                atol=1e-6))
# away from 0 it matters where the loss gradient is taken
half = torch.full((20,), 0.5, device=data.device)
expected = tau * G @ (first + tau * G.T @ half)
got = hypergradient(theta, G, half, tau, lambda t: first + t - theta)
print("and with half weights:", torch.allclose(got, expected, rtol=1e-3, atol=1e-6))

# %%
lk.show(here.first_order_effects)

# %% [markdown]
# That was an attack on **one** way of unlearning. If the provider retrains, there is no step $\tau$. The classical
# estimate of what retraining does is the influence function (Koh and Liang 2017): replace $\tau\, \nabla L$ by
# $C^{-1} \nabla L / n$, with $C$ the curvature (Hessian matrix) of the training loss over its $n$ rows. It is an
# estimate. So before use, measure it: on the tuning seeds, what does it predict, and what does retraining do?

# %%
def influence(model, held, out):
    """Effects of the owned rows on out under retraining, as influence predicts them. (m, r)"""
    return attack.influence_effects(model, held, out, damping=cfg.weight_decay, n_rows=200,
                                    cg_steps=8)

# %%
def predicted_and_real(job):
    """Margin changes that influence predicts for chosen requests, and those that same-seed
    retraining makes.
    """
    v, rows, requests = victim(job), [], []
    for j in range(min(2, cfg.few)):
        out = attack.logits_at(v.model, v.x[j])
        start, effects = out(dict(v.model.named_parameters())).detach(), influence(v.model, v.held,
                                                                                   out)
        for goal in ("over", "flip"):
            for budget in (BUDGET // 3, BUDGET):
                picked = attack.choose(attack.through(effects, start, GOALS[goal](v.label[j])),
                                       v.held.with_budget(budget)).rows
                moved = start + effects[torch.isin(v.held.rows, picked)].sum(0)
                change = attack.margin(moved, v.label[j]) - attack.margin(start, v.label[j])
                rows.append({"seed": job, "goal": goal, "j": j, "predicted": change.item()})
                requests.append(picked)
    for row, model in zip(rows, train(v.data, [job] * len(requests), requests)):
        z = lk.training.predict(model, v.x[[row["j"]]])[0], lk.training.predict(v.model,
                                                                                v.x[[row["j"]]])[0]
        row["real"] = (attack.margin(z[0], v.label[row["j"]])
                       - attack.margin(z[1], v.label[row["j"]])).item()
    return rows

# %%
scatter = pd.DataFrame(sum(lk.training.parallel(predicted_and_real, tuning), []))

def fitted(part):
    """Slope of the line through the origin: what retraining does, as a share of what influence
    predicts.
    """
    return float((part.predicted * part.real).sum() / (part.predicted**2).sum())


slope, slopes = fitted(scatter), [fitted(part) for _, part in scatter.groupby("seed")]
SHRINK = float(np.clip(slope, 0.05, 1.0))  # what the attacker multiplies its effects by
lab.say(f"Influence has the sign right in "
        f"{percent(scatter.predicted * scatter.real > 0, scatter.seed)} of {len(scatter)} "
        f"requests to {len(tuning)} networks. What retraining does is {slope:.2f} of the "
        f"prediction, on single networks "
        f"{min(slopes):.2f} to {max(slopes):.2f}.",
        "Influence overstates, and the attacker shrinks its effects by that factor."
        if 0.05 <= slope < 1 else
        f"The attacker multiplies its effects by {SHRINK:g}, the edge of what the rule allows.")

# %%
fig, ax = plt.subplots(figsize=(7.5, 4.6))
for name, role, label in (("over", "attack", "to make surer"),
                          ("flip", "original", "to flip the label")):
    part = scatter[scatter.goal == name]
    ax.plot(part.predicted, part.real, figures.MARKERS[role], color=figures.COLOURS[role],
            label=label)
edges = np.array([scatter.predicted.min(), scatter.predicted.max()])
ax.plot(edges, edges, ":", color=figures.COLOURS["other"], label="as predicted")
ax.plot(edges, slope * edges, "--", color=figures.COLOURS["retrained"], label=f"{slope:.2f} of it")
ax.set(xlabel="margin change that influence predicts (logits)", ylabel="after retraining (logits)",
       ylim=(-1.3 * abs(scatter.real).max(), 1.3 * abs(scatter.real).max()),
       title="What influence predicts, and what retraining does")
ax.legend(loc="upper left", fontsize=11)
lab.figure(fig, "Margin change after exact retraining against the change that influence predicted, "
                "for requests chosen "
                "on tuning seeds, with the diagonal and the fitted line through the origin.")

# %% [markdown]
# ## 4 · The attack, on every way of unlearning
#
# Each target gets a request for each goal, chosen once with first-order unlearning in mind and once with retraining in
# mind. As controls, each victim gets four **random** requests of the full budget, the same for all of its targets, and
# each target two cheap guesses: rows of its class, and its nearest neighbours by pixels. Then every provider carries
# them out.

# %%
def effects_of(v, j, aim):
    """Logits of target j and how each owned row moves them, under the unlearner the attacker has in
    mind.
    """
    out = attack.logits_at(v.model, v.x[j])
    start = out(dict(v.model.named_parameters())).detach()
    if aim == "retraining":
        return start, SHRINK * influence(v.model, v.held, out)
    return start, here.first_order_effects(v.model, v.held, out, tau=tau)

# %%
def requests_for(job):
    """All requests chosen against one target, {(aim, goal): row ids}, and its logits and effects
    under retraining.
    """
    v, j = victims[job[0]], job[1]
    here.check_target(v.x[j], v.p[j], v.label[j], v.held)
    out, step = attack.logits_at(v.model, v.x[j]), attack.removal(v.model, v.held, tau=tau)
    start, effects = effects_of(v, j, "retraining")
    chosen = {("none", "same-class"): attack.baseline("same-class", v.held, j, label=v.label[j])}
    chosen["none", "nearest"] = attack.baseline("nearest", v.held, j, x=v.x[j])
    for name in GOALS:
        goal = GOALS[name](v.label[j])
        chosen["first-order", name] = attack.choose(lambda w, goal=goal: goal(out(step(w))), v.held,
                                                    steps=12).rows
        chosen["retraining", name] = attack.choose(attack.through(effects, start, goal),
                                                   v.held).rows
    return {k: attack.check_request(rows, v.held) for k, rows in chosen.items()}, (start, effects)

# %%
RANDOM = [f"random {k}" for k in range(1, 5)]


def at_random(v):
    """The random requests to one victim: {name: row ids}."""
    return {k: attack.baseline("random", v.held, v.seed % 10**6 + i) for i, k in enumerate(RANDOM)}


planned = dict(zip(ALL, lk.training.parallel(requests_for, ALL)))
requests, estimated = ({job: both[k] for job, both in planned.items()} for k in (0, 1))
controls = [at_random(v) for v in victims]

# %%
HOW = {
    "first-order": lambda v, r: lk.unlearn.first_order(v.model, v.data, r, tau=tau),
    "influence": lambda v, r: lk.unlearn.influence(v.model, v.data, r, damping=cfg.weight_decay,
                                                   n_rows=300, cg_steps=5),
    "ascent": lambda v, r: lk.unlearn.gradient_ascent(v.model, v.data, r, epochs=3,
                                                      lr=tau * BUDGET / 3, momentum=0.0),
    "fine-tuning": lambda v, r: lk.unlearn.finetune(v.model, v.data, r, epochs=1, lr=0.02,
                                                    weight_decay=cfg.weight_decay),
}


def unlearned(v, how, request):
    """The network after an approximate unlearner; None where it diverged or cannot answer, which is
    a lost run.
    """
    try:
        model = HOW[how](v, request)
        lk.training.predict(model, v.x)
        return model
    except lk.Diverged:
        return None

# %%
def answer(v, j, model):
    """What the model now says of target j: probability of its label, entropy in nats, label kept,
    top probability.
    """
    if model is None:
        return dict.fromkeys(("p", "H", "kept", "top"), np.nan)
    p = lk.training.predict(model, v.x[[j]]).softmax(1)
    return dict(p=p[0, v.label[j]].item(), H=lk.measure.entropy(p).item(),
                kept=float(p.argmax() == v.label[j]),
                top=p.max().item())

# %%
def outcomes(v, targets, model):
    """Answers, the same after temperature scaling, and conformal sets: both fitted anew after the
    deletion.
    """
    rows = [dict(j=j) | answer(v, j, model) for j in targets]
    if model is None:
        return [row | dict(H_scaled=np.nan, size=np.nan) for row in rows]
    z, z_val = (lk.training.predict(model, v.x[list(targets)]),
                lk.training.predict(model, v.validation[0]))
    T = here.fit_temperature(z_val, v.validation[1])
    q = here.conformal_threshold(z_val.softmax(1), v.validation[1])
    H, size = lk.measure.entropy((z / T).softmax(1)), here.conformal_sets(z.softmax(1), q).sum(1)
    return [row | dict(H_scaled=H[k].item(), size=float(size[k])) for k, row in enumerate(rows)]


def of_random(i, targets, how, models):
    """Outcomes at several targets of victim i after each of its random requests."""
    return [dict(i=i, aim="none", goal=goal, how=how, rows=BUDGET, **row)
            for goal, model in models.items() for row in outcomes(victims[i], targets, model)]

# %%
def approximate(job):
    """Outcomes of the requests against one target under the approximate unlearners they are meant
    for.
    """
    (i, j), v = job, victims[job[0]]
    # all others are met by requests that had first-order unlearning in mind
    fits = {"influence": "retraining"}
    return [dict(i=i, aim=aim, goal=goal, how=how, rows=len(asked),
                 **outcomes(v, [j], unlearned(v, how, asked))[0])
            for (aim, goal), asked in requests[job].items() for how in HOW
            if how == "first-order" or aim == fits.get(how, "first-order")]


def approximate_at_random(i):
    """The same for the random requests to one victim."""
    return sum([of_random(i, range(cfg.targets), how, {k: unlearned(victims[i], how, r) for k,
                                                       r in controls[i].items()})
                for how in HOW], [])


results = sum(lk.training.parallel(approximate, ALL), [])
results += sum(lk.training.parallel(approximate_at_random, range(len(victims))), [])

# %% [markdown]
# Now the exact ones. Same-seed retraining repeats the original training without the rows. Fresh-seed retraining also
# changes the initial weights and the order, as a provider would who keeps no seeds. SISA retrains the shards of an
# ensemble (three here). The label attack aimed at first-order unlearning
# goes through exact retraining too, for the first few targets of a victim.

# %%
RETRAINED = ("retrained, same seed", "retrained, fresh seed")


def seeds_for(v, how, part):
    """The victim's own seed for each of a list of requests, or a fresh one each."""
    return [v.seed] * len(part) if how == RETRAINED[0] else lk.spawn_seeds(v.seed, len(part),
                                                                           f"fresh {part[0]}")


def retrained(job):
    """Outcomes of up to eight requests against one victim under exact retraining."""
    i, how, part = job
    v = victims[i]
    models = train(v.data, seeds_for(v, how, part), [requests[i, j][key] for j, key in part])
    return [dict(i=i, aim=key[0], goal=key[1], how=how, rows=len(requests[i, j][key]),
                 **outcomes(v, [j], model)[0])
            for (j, key), model in zip(part, models)]


def retrained_at_random(job):
    """The same for the random requests to one victim."""
    (i, how), v = job, victims[job[0]]
    models = train(v.data, seeds_for(v, how, RANDOM), [controls[i][k] for k in RANDOM])
    return of_random(i, range(cfg.targets), how, dict(zip(RANDOM, models)))

# %%
jobs = []
for i, how in product(range(len(victims)), RETRAINED):
    part = [(j, k) for j in range(cfg.targets) for k in requests[i, j] if k[0] == "retraining"
            or (k == ("first-order", "flip") and j < cfg.few and how == RETRAINED[0])]
    jobs += [(i, how, part[s : s + 8]) for s in range(0, len(part), 8)]
results += sum(lk.training.parallel(retrained, jobs), [])
results += sum(lk.training.parallel(retrained_at_random,
                                    list(product(range(len(victims)), RETRAINED))), [])

# %%
def sharded(job):
    """Outcomes under SISA: the ensemble is copied for each request, since unlearning destroys its
    checkpoints.
    """
    v = victims[job]
    with tempfile.TemporaryDirectory() as folder:
        sisa.train(v.data, f"{folder}/all", build=build, shards=3, slices=1, seed=v.seed, workers=1,
                   **recipe)

        def without(name, asked):
            shutil.copytree(f"{folder}/all", f"{folder}/{name}")
            return sisa.unlearn(sisa.load(f"{folder}/{name}", v.data, build), v.data, asked,
                                workers=1)

        rows = of_random(job, range(cfg.few), "SISA", {k: without(k, controls[job][k])
                                                       for k in RANDOM[:2]})
        for j, goal in product(range(cfg.few), GOALS):
            asked = requests[job, j]["retraining", goal]
            rows.append(dict(i=job, aim="retraining", goal=goal, how="SISA", rows=len(asked),
                             **outcomes(v, [j], without(f"{goal}{j}", asked))[0]))
    return rows


results += sum(lk.training.parallel(sharded, range(len(victims))), [])

# %%
table = pd.DataFrame(results)
control = table[table.goal.isin(RANDOM)].groupby(["i", "j", "how"])[["p", "H", "H_scaled", "size",
                                                                     "top"]].mean()
table = table.join(control.add_suffix("_random"), on=["i", "j", "how"])
table["dp"], table["dH"] = table.p - table.p_random, table.H - table.H_random
AIMED = {how: "first-order" if how in ("first-order", "ascent", "fine-tuning") else "retraining"
         for how in table.how.unique()}


def of(how, goal, aim=None):
    """The rows of one goal under one way of unlearning, with the aim that fits it, in the order of
    victims and targets.
    """
    return table[(table.how == how) & (table.goal == goal)
                 & (table.aim == (aim or AIMED[how]))].sort_values(["i", "j"])


def share_at_random(how):
    """Share of the random requests that keep each target's label under one way of unlearning, by
    victim and target.
    """
    return table[(table.how == how) & table.goal.isin(RANDOM)].groupby(["i", "j"]).kept.mean()

# %%
shown = [{"unlearning": how, "aimed at": AIMED[how], "targets": len(of(how, "over")),
          "over: Δp": of(how, "over").dp.mean(), "label kept": of(how, "over").kept.mean(),
          "under: ΔH, nats": of(how, "under").dH.mean(),
          "label kept ": of(how, "under").kept.mean(),
          "flip: flipped": 1 - of(how, "flip").kept.mean(), "random: flipped": 1
          - share_at_random(how).mean()}
         for how in AIMED]
lost = table.p.isna()
lab.table(pd.DataFrame(shown),
          "Chosen requests less random ones, mean over targets; the last two columns are shares of "
          "targets", 2)
worst = min(AIMED, key=lambda how: of(how, "under").kept.mean())
lab.say("Requests to make unsure keep the label of "
        f"{percent(of('first-order', 'under').kept)} of the targets where the provider computes "
        f"what the "
        f"attacker computed."
        + (f" Where it does not, fewer may be kept: under {worst} it is "
           f"{percent(of(worst, 'under').kept, of(worst, 'under').i)}."
           if worst != "first-order" else ""),
        f"{int(lost.sum())} of {len(table)} outcomes are lost because the network diverged; they "
        f"are left out of the means "
        "and count as no success." if lost.any() else "")

# %%
guess = {g: of("first-order", g, "none") for g in ("same-class", "nearest")}
lab.say("The cheap guesses under first-order unlearning, against random requests: "
        + "; ".join(f"{text} move the confidence by {told(guess[g], 'dp', DIFFERENCE)} and keep "
                    f"the label of "
                    f"{percent(guess[g].kept)} of the targets"
                    for g, text in (("same-class", "rows of the same class"),
                                    ("nearest", "the nearest rows"))) + ".",
        "Withdrawing many rows of a class weakens the class." if ends(guess["same-class"], "dp",
                                                                      DIFFERENCE)[1] < 0 else "")

# %% [markdown]
# **Predict before you read on.** Exact retraining has no unlearning step that could be abused. Does that make it safe?
# Look at its two rows in the table.

# %%
exact = RETRAINED[0]
surer, unsure = ({how: of(how, goal) for how in ("first-order", exact)}
                 for goal in ("over", "under"))
beyond = [text for text, low in (("makes surer", ends(surer[exact], "dp", DIFFERENCE)[0]),
                                 ("makes unsure", ends(unsure[exact], "dH")[0])) if low > 0]
lab.say("Under first-order unlearning, requests chosen for it move a target's confidence by "
        f"{told(surer['first-order'], 'dp', DIFFERENCE)} against random ones, or its entropy by "
        f"{told(unsure['first-order'], 'dH')}. Under exact retraining with the same seed, requests "
        f"chosen with influence "
        f"move confidence by {told(surer[exact], 'dp', DIFFERENCE)} or entropy by "
        f"{told(unsure[exact], 'dH')}.",
        "The attack survives exact unlearning: the rows are really gone, and that is the attack."
        if len(beyond) == 2 else
        f"That it survives exact unlearning is shown here only where it {beyond[0]}." if beyond else
        "That it survives exact unlearning is not shown by so few networks.",
        f"The older attack flips the label of {percent(1 - of(exact, 'flip').kept)} of the targets "
        f"there; the requests to "
        f"make unsure, of {percent(1 - unsure[exact].kept)}.")

# %%
# by the confidence before any request
order = np.argsort([victims[i].p[j].max().item() for i, j in ALL])
fig, axes = plt.subplots(1, 2, figsize=(10.5, 4.6), sharey=True)
for ax, how in zip(axes, ("first-order", exact)):
    for frame, role in ((surer[how], "attack"), (unsure[how], "original")):
        for k, at in enumerate(order):
            ax.annotate("", (k, frame.p.iloc[at]), (k, frame.p_random.iloc[at]),
                        arrowprops=dict(arrowstyle="->", color=figures.COLOURS[role], lw=1.8))
    ax.plot(range(len(order)), surer[how].p_random.iloc[order], "o", color=figures.COLOURS["other"],
            markersize=5)
    ax.axhline(ACT, color="black", linestyle=":")
    ax.set(xlabel="targets, in one order for both", title=how[0].upper() + how[1:], ylim=(0, 1.02),
           xticks=[])
axes[0].set_ylabel("confidence in the label")
handles = [plt.Line2D([], [], color=figures.COLOURS[c], marker=m, label=t) for c, m, t in
           (("other", "o", "random requests"), ("attack", "^", "to make surer"),
            ("original", "v", "to make unsure"))]
handles += [plt.Line2D([], [], color="black", linestyle=":", label="acted on above")]
fig.legend(handles=handles, loc="outside lower center", ncols=4)
lab.figure(fig, "For each target an arrow up, to its confidence after requests for over-confidence, "
                "and an arrow down, after requests for under-confidence, from its confidence after "
                "random requests: first-order unlearning left, exact retraining right, targets "
                "sorted by their confidence before any request.")

# %%
crossed = {how: [(surer[how].p_random < ACT) & (surer[how].p >= ACT), (unsure[how].p_random >= ACT)
                 & (unsure[how].p < ACT)]
           for how in surer}
lab.say("Of the arrows, "
        + "; ".join(f"{int(a.sum())} up and {int(b.sum())} down cross the line under {how}"
                                     for how, (a, b) in crossed.items())
        + f", of {len(ALL)} targets.")

# %% [markdown]
# The dotted line is the decision of section 1: above it, nobody looks. Requests that carry a case across that line
# decide whether a person sees it. Retraining has a spread of its own: two random requests, or two seeds, do not give
# the same model. A move only counts as a **success** when it is larger than that. So let $\gamma$ be 1.96 times the
# root mean square of the entropy difference between two models, each retrained with a fresh seed after a random request,
# over all measured rows that could have been targets. A success is a move of more than $\gamma$ in the intended
# direction, with the label kept.

# %%
def spread(i):
    """Mean square entropy difference between retrained models, fresh seeds, random requests: rows
    that could be targets.
    """
    v, (x, y) = victims[i], victims[i].measure
    asked = list(controls[i].values())
    now = lk.training.predict(v.model, x).softmax(1)
    fit = (now.argmax(1) == y) & (now.max(1).values >= 0.6) & (now.max(1).values <= 0.97)
    models = train(v.data, lk.spawn_seeds(v.seed, len(asked), "spread"), asked)
    H = [lk.measure.entropy(lk.training.predict(m, x[fit]).softmax(1)) for m in models]
    return np.mean([(a - b).pow(2).mean().item() for k, a in enumerate(H) for b in H[:k]])


GAMMA = float(1.96 * np.sqrt(np.mean(lk.training.parallel(spread, range(len(victims))))))

# %%
def success(rows, direction):
    """1 where the entropy moved by more than γ in the direction (+1 up, −1 down) and the label is
    kept.
    """
    return ((direction * rows.dH > GAMMA) & (rows.kept == 1)).astype(float).to_numpy()


wins = {how: {"under": success(of(how, "under"), 1), "flip": success(of(how, "flip"), 1),
              "over": success(of(how, "over"), -1)} for how in ("first-order", exact)}
by_chance = table[(table.how == exact) & (table.goal == "random 1")].sort_values(["i", "j"])
others = table[(table.how == exact)
               & table.goal.isin(RANDOM[1:])].groupby(["i", "j"]).H.mean().to_numpy()
chance = ((by_chance.H - others).abs() > GAMMA).astype(float)
lab.say(f"The spread of retraining is {GAMMA:.2f} nats. Beyond it and with the label kept, exact "
        f"retraining is made to turn "
        f"{percent(wins[exact]['under'])} of the targets unsure and {percent(wins[exact]['over'])} "
        f"sure; the label attack "
        f"turns {percent(wins[exact]['flip'])} unsure with the label kept. A random request moves "
        f"{percent(chance)} as far, "
        "in either direction.")

# %% [markdown]
# Does the attack on uncertainty do better here than the label attack, which also makes unsure on its way? Under
# first-order unlearning it must: a label attack that succeeds cannot keep the label. Under retraining it is a question,
# and a few targets on a few networks do not answer it. So this one comparison is made on more networks.

# %%
def contest(seed):
    """For each target of one more network: success of requests to make unsure less that of the
    label attack. (targets,)
    """
    v, asked = victim(seed), []
    for j in range(cfg.targets):
        start, effects = effects_of(v, j, "retraining")
        asked += [attack.choose(attack.through(effects, start, GOALS[goal](v.label[j])),
                                v.held).rows
                  for goal in ("under", "flip")]
    asked += at_random(v).values()
    models = train(v.data, [seed] * len(asked), asked)
    gain = []
    for j in range(cfg.targets):
        usual = np.mean([answer(v, j, model)["H"] for model in models[2 * cfg.targets :]])
        won = [z["H"] - usual > GAMMA and z["kept"] for z in (answer(v, j, m)
                                                              for m in models[2 * j : 2 * j + 2])]
        gain.append(float(won[0]) - float(won[1]))
    return gain

# %%
further = lab.seeds(cfg.more * cfg.seeds, "more")
contests = [(wins[exact]["under"] - wins[exact]["flip"])[[k for k, (i, _) in enumerate(ALL)
                                                          if i == m]]
            for m in range(len(victims))] + lk.training.parallel(contest, further)
gain, gain_networks = np.concatenate(contests), np.repeat(judged + further, cfg.targets).tolist()
lab.say(f"Over {len(contests)} networks and {len(gain)} targets, the success of requests to make "
        f"unsure less that of the "
        f"label attack is {show(100 * gain, clusters=gain_networks, limits=POINTS)} points under "
        f"exact retraining.")

# %%
# no method's network: none lost
fitting = table[(table.how == exact) & (table.aim != "first-order")].sort_values(["i", "j"])
seen = {g: fitting[fitting.goal == g].top.to_numpy() for g in ("over", "under", "random 1",
                                                               "random 2")}
below, above = seen["random 1"] < ACT, seen["random 1"] >= ACT
lab.say(f"After one random request and exact retraining, a person would see {int(below.sum())} "
        f"targets. With requests for "
        f"over-confidence, {int((seen['over'][below] >= ACT).sum())} of them are acted on unseen; "
        f"with another random request, "
        f"{int((seen['random 2'][below] >= ACT).sum())}.",
        f"{int(above.sum())} targets would be acted on. With requests for under-confidence "
        f"{int((seen['under'][above] < ACT).sum())} of them wait for a person; with another random "
        f"request, "
        f"{int((seen['random 2'][above] < ACT).sum())}.")

# %% [markdown]
# ### How many rows does it take?
#
# The same attack on the first few targets of each victim with smaller budgets, and for the explorer below with other
# margins $\kappa$.

# %%
BUDGETS = sorted({max(1, round(share * BUDGET)) for share in (1 / 6, 1 / 2, 1)})
KAPPAS = (0.1, 0.5, 1.0)

# %%
def smaller(job):
    """Requests of every budget, goal and κ against one target, and what first-order unlearning and
    ascent make of them.
    """
    (i, j), v, rows, asked = job, victims[job[0]], [], {}
    for aim in ("first-order", "retraining"):
        start, effects = estimated[job] if aim == "retraining" else effects_of(v, j, aim)
        for b, (goal, kappa) in product(BUDGETS, [("over", KAPPA), ("flip", KAPPA)]
                                        + [("under", k) for k in KAPPAS]):
            # the whole budget: section 4 has it
            if aim == "retraining" and (kappa != KAPPA or b == BUDGET):
                continue
            g = here.underconfidence(v.label[j],
                                     kappa) if goal == "under" else GOALS[goal](v.label[j])
            picked = attack.choose(attack.through(effects, start, g), v.held.with_budget(b),
                                   steps=12).rows
            asked[aim, goal, b] = picked
            for how in ("first-order", "ascent") if aim == "first-order" else ():
                rows.append(dict(i=i, j=j, how=how, goal=goal, budget=b, kappa=kappa)
                            | answer(v, j, unlearned(v, how, picked)))
    return rows, asked


done = dict(zip(FEW, lk.training.parallel(smaller, FEW)))

# %%
def smaller_retrained(job):
    """The same requests, those aimed at retraining with κ = 0.5, under exact retraining with the
    same seed.
    """
    (i, j), v = job, victims[job[0]]
    asked = {k: r for k, r in done[job][1].items() if k[0] == "retraining"}
    models = train(v.data, [v.seed] * len(asked), list(asked.values()))
    return [dict(i=i, j=j, how=exact, goal=goal, budget=b, kappa=KAPPA) | answer(v, j, model)
            for (_, goal, b), model in zip(asked, models)]


cols = ["i", "j", "how", "goal", "p", "H", "kept"]
whole = table[(table.how == exact) & (table.aim == "retraining")
              & (table.j < cfg.few)][cols]  # section 4 has these
curve = pd.DataFrame(sum([r for r, _ in done.values()], [])
                     + sum(lk.training.parallel(smaller_retrained, FEW), []))
curve = pd.concat([curve, whole.assign(budget=BUDGET, kappa=KAPPA)])
curve = curve.join(control[["p", "H"]].add_suffix("_random"), on=["i", "j", "how"])
curve["dH"] = curve.H - curve.H_random

# %%
def succeeded(how, goal, kappa=KAPPA):
    """1 or 0 for each target and budget. -> (targets, budgets)"""
    part = curve[(curve.how == how) & (curve.goal == goal)
                 & (curve.kappa == kappa)].sort_values(["i", "j"])
    return np.stack([success(part[part.budget == b], -1 if goal == "over" else 1) for b in BUDGETS],
                    1)

# %%
def whiskers(ax, at, columns, role, text, limits=None, line="-", clusters=networks):
    """The mean of each column of targets, joined by a line, with its interval over networks."""
    for x, column in zip(at, columns):
        figures.interval(ax, x, list(column), role, limits=limits, clusters=clusters)
    ax.plot(at, [np.mean(column) for column in columns], line, color=figures.COLOURS[role],
            marker=figures.MARKERS[role], label=text)

# %%
fig, axes = plt.subplots(1, 2, figsize=(10.5, 4.4), sharey=True)
for ax, how in zip(axes, ("first-order", exact)):
    for goal, role, text, line, shift in (("over", "attack", "to make surer", "-", -0.025),
                                          ("under", "original", "to make unsure", "--", 0),
                                          ("flip", "other", "label attack", ":", 0.025)):
        whiskers(ax, np.add(BUDGETS, shift * BUDGET), 100 * succeeded(how, goal).T, role, text,
                 PERCENT, line, few_networks)
    ax.set(xlabel="rows asked for", title=how[0].upper() + how[1:], ylim=(-4, 104), xticks=BUDGETS)
axes[0].set_ylabel("success (% of targets)")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
lab.figure(fig, "Share of targets moved beyond the spread of retraining with the label kept, "
                "against the number of rows "
                "asked for, with 95 % intervals over networks: first-order unlearning left, exact "
                "retraining right.")
lab.say(f"With {BUDGETS[1]} rows, {100 * BUDGETS[1] / n:.1f} % of the training set, retraining "
        f"makes "
        + " and ".join(f"{percent(succeeded(exact, g)[:, 1], few_networks)} of the targets {text}"
                       for g, text in (("over", "surer"), ("under", "unsure")))
        + f", beyond its spread and with the label kept; with {BUDGETS[-1]} rows, "
        + " and ".join(percent(succeeded(exact, g)[:, -1], few_networks) for g in ("over", "under"))
        + f". These are the first {cfg.few} targets of each of {len(victims)} networks.")

# %% [markdown]
# ### Which images are asked for?

# %%
v, at = victims[0], 0
names = v.data.classes
fig, axes = plt.subplots(3, 8, figsize=(10.5, 4.6))
picks = [("over", "to make surer"), ("under", "to make unsure"), ("flip", "to flip the label")]
for row, (goal, text) in zip(axes, picks):
    chosen = requests[0, at]["retraining", goal]
    row[0].imshow(*picture(v.data, v.x[at]))
    row[0].set_title(f"target: {names[v.label[at]]}", fontsize=9)
    for ax, r in zip(row[1:], chosen[:7].tolist()):
        ax.imshow(*picture(v.data, v.data.x[r]))
        ax.set_title(names[int(v.data.y[r])], fontsize=9)
    row[0].set_ylabel(text, fontsize=10)
    for ax in row:
        ax.set(xticks=[], yticks=[])
lab.figure(fig, "Three rows of images: on the left the target, then seven of the rows asked for to "
                "make the model surer, to make it unsure, and to flip the label, each with its "
                "class.")

# %%
same = {g: np.array([(victims[i].data.y[requests[i, j]["retraining", g]]
                      == victims[i].label[j]).double().mean().item()
                     for i, j in ALL]) for g in GOALS}
own = np.array([(victims[i].held.y == victims[i].label[j]).double().mean().item() for i, j in ALL])
lab.say(f"Of the attacker's rows, {100 * own.mean():.0f} % carry a target's label. Of those asked "
        f"for to make the target "
        f"surer, {percent(same['over'])} do; to make it unsure, {percent(same['under'])}; to flip "
        f"it, "
        f"{percent(same['flip'])}.",
        "To weaken a belief, take away what supports it."
        if min(interval(same[g] - own, networks, DIFFERENCE)[1] for g in ("under", "flip")) > 0
        else "")

# %% [markdown]
# ## 5 · From answers alone
#
# > **Threat model.** **Who** as before. **Sees** its own rows, answers to queries, the recipe and the number of rows.
# > **May** train models of its own, or ask the provider what a deletion would do (a preview, or many small accounts).
# > **Wants** the same.
#
# Two ways. A **surrogate**: train networks on the own rows, choose on those, and hope that it carries over. Or **zeroth
# order**: send pairs of random trial requests $\omega^+, \omega^-$, and estimate the effects from the answers,
# $\hat s_i \propto \sum (\omega^+_i - \omega^-_i)\,(f(\omega^+) - f(\omega^-))$. The attacker's code receives a
# `BlackBox` or an `UnlearningOracle`. They have no weights and count what is asked.

# %%
def remembering(unlearn):
    """The same unlearning, which computes a request once: fewer pairs are the first of more."""
    known = {}

    def on_trial(_, request):
        key = tuple(request.tolist())
        if key not in known:
            known[key] = unlearn(request)
        return known[key]

    return on_trial

# %%
def from_answers(job):
    """Requests chosen on surrogates, and by trial requests; the second judged under first-order
    unlearning at once.
    """
    (i, j), v, rows = job, victims[job[0]], []
    box = attack.BlackBox(v.model, limit=1)
    start = box(v.x[[j]])[0].clamp(min=1e-12).log()
    effects = SHRINK * sum(influence(s, v.held, attack.logits_at(s, v.x[j]))
                           for s in surrogates[i]) / len(surrogates[i])
    asked = {g: attack.choose(attack.through(effects, start, GOALS[g](v.label[j])), v.held).rows
             for g in ("over", "under")}
    on_trial = remembering(lambda r: HOW["first-order"](v, r))
    for pairs in cfg.pairs:
        oracle = attack.UnlearningOracle(v.model, on_trial, v.held, limit=2 * pairs)
        effects = here.zeroth_order_effects(oracle, v.x[j], pairs=pairs, seed=j)
        for goal in ("over", "under"):
            picked = attack.choose(attack.through(effects, start, GOALS[goal](v.label[j])),
                                   v.held).rows
            rows.append(dict(i=i, j=j, how="first-order", goal=goal, queries=oracle.queries
                             + box.queries)
                        | answer(v, j, unlearned(v, "first-order", picked)))
    return asked, rows

# %%
def own_networks(i):
    """Three networks that the attacker trains on its own rows, by the recipe that the provider
    publishes.
    """
    held = victims[i].held
    own = replace(victims[i].data, x=held.x, y=held.y, noisy=held.rows[:0])
    return train(own, lk.spawn_seeds(judged[i], 3, "surrogate"))


surrogates = lk.training.parallel(own_networks, range(len(victims)))
blind = dict(zip(ALL, lk.training.parallel(from_answers, ALL)))

# %%
def blind_retrained(i):
    """Exact retraining without the rows that were chosen on surrogates."""
    v, keys = victims[i], [(j, g) for j in range(cfg.targets) for g in ("over", "under")]
    models = train(v.data, [v.seed] * len(keys), [blind[i, j][0][g] for j, g in keys])
    return [dict(i=i, j=j, how=exact, goal=g) | answer(v, j, model) for (j, g),
            model in zip(keys, models)]


def moved(frame):
    """Entropy moved in the intended direction, less what random requests do: nats, one value a row.
    """
    frame = frame.join(control[["p", "H"]].add_suffix("_random"), on=["i", "j", "how"])
    return frame.assign(move=np.where(frame.goal == "over", -1, 1) * (frame.H - frame.H_random))


transfer = moved(pd.DataFrame(sum(lk.training.parallel(blind_retrained, range(len(victims))), [])))
trial = moved(pd.DataFrame(sum([r for _, r in blind.values()], [])))
most = trial[trial.queries == trial.queries.max()]
white = {how: moved(pd.concat([of(how, g) for g in ("over", "under")])[cols])
         for how in ("first-order", exact)}

# %%
fig, ax = plt.subplots(figsize=(7.5, 4.4))
asked = sorted(trial.queries.unique())
for goal, role, text, shift in (("over", "attack", "to make surer", 0.97),
                                ("under", "original", "to make unsure", 1.03)):
    part = trial[trial.goal == goal].sort_values(["i", "j"])
    whiskers(ax, np.multiply(asked, shift), [part[part.queries == q].move.fillna(0) for q in asked],
             role, text)
    full = white["first-order"]
    ax.axhline(full[full.goal == goal].move.mean(), color=figures.COLOURS[role], linestyle="--",
               alpha=0.7)
ax.axhline(0, color=figures.COLOURS["other"], linestyle=":", label="random requests")
figures.log_axis(ax, asked, "queries to the provider, per target")
ax.set(ylabel="entropy moved as intended (nats)",
       title="Trial requests in place of gradients (dashed: with the weights)")
fig.legend(loc="outside lower center", ncols=3)
lab.figure(fig, "Entropy moved in the intended direction against the number of trial requests, "
                "with 95 % intervals over "
                "networks; dashed lines show the attack that sees the weights, a dotted line "
                "random requests.")
lab.say(f"Chosen on surrogates, the requests move the entropy as intended by "
        f"{told(transfer, 'move')} under exact "
        f"retraining; with the victim's weights it was {told(white[exact], 'move')}. "
        f"With {int(trial.queries.max())} queries a target, trial requests move it by "
        f"{told(most, 'move')} under "
        f"first-order unlearning; with the weights it was {told(white['first-order'], 'move')}.")

# %% [markdown]
# ## 6 · Better estimates of uncertainty?
#
# Softmax is known to be a poor measure of doubt, and there are better ones. Can they be moved as well?
# - **Temperature scaling** divides the logits by a $T$ fitted on validation rows, here anew after every deletion.
# - **MC dropout** leaves dropout on and averages over 20 masks. A **deep ensemble** averages five networks; each
#   unlearns the same request.
# - A **conformal set** holds all labels whose score $1 - p_c$ is at most $q$, where $q$ comes from validation rows. For
#   rows like those, it contains the true label at least nine times in ten.
#
# **Exercise 3.5** (difficulty 3, 10 minutes). The promise hangs on the threshold. From the scores of $n$ validation
# rows take the $\lceil (n + 1)(1 - \alpha) \rceil$-th smallest. When that rank exceeds $n$, the threshold is 1.

# %%
@exercise("3.5")
def conformal_threshold(scores, alpha):
    """The conformal threshold of calibration scores. (n,) float tensor, float -> float"""
    ...  # your code

# %%
# NBVAL_CHECK_OUTPUT
few_scores = torch.tensor([0.1, 0.5, 0.2, 0.4, 0.3, 0.9, 0.8, 0.7, 0.6])
print("9 scores, alpha 0.2 and 0.05:", round(conformal_threshold(few_scores, 0.2), 4),
      conformal_threshold(few_scores, 0.05))

# %%
def other_networks(i):
    """On victim i's rows: a perceptron with dropout, and five networks of the usual kind."""
    v = victims[i]
    drop = lk.models.build("mlp", v.data, v.seed, hidden=cfg.model_settings.get("hidden", 64),
                           dropout=0.3)
    five = train(v.data, lk.spawn_seeds(v.seed, 5, "ensemble"))
    return lk.training.fit(drop, v.data.x, v.data.y, seed=v.seed, **recipe), five

# %%
@torch.no_grad()
def estimate(name, v, networks, x):
    """Entropy by MC dropout (new masks) or ensemble, or size of the conformal set, at an input."""
    if name == "dropout":
        return lk.measure.entropy(here.mc_dropout(networks[0], x[None], 50, seed=1)).item()
    p = sum(m(x[None]).softmax(1) for m in networks) / len(networks)
    if name == "ensemble":
        return lk.measure.entropy(p).item()
    calibrated = lk.training.predict(networks[0], v.validation[0]).softmax(1)
    scores = 1 - calibrated.gather(1, v.validation[1][:, None]).squeeze(1)
    return float(here.conformal_sets(p, conformal_threshold(scores, 0.1)).sum())


def without(v, networks, request):
    """Each network after first-order unlearning of the request."""
    return [lk.unlearn.first_order(m, v.data, request, tau=tau) for m in networks]


extras = lk.training.parallel(other_networks, range(len(victims)))
behind = [{"dropout": [drop], "ensemble": five, "conformal": [v.model]}
          for v, (drop, five) in zip(victims, extras)]  # the networks behind each estimate
# the random requests are the same for all targets of a victim
after_random = [{name: [without(v, networks, asked[k]) for k in RANDOM[:2]]
                 for name, networks in every.items()}
                for v, every, asked in zip(victims, behind, controls)]

# %%
def requests_against(v, parts, name):
    """Requests for 'over' and 'under' aimed at one estimator under first-order unlearning. parts:
    (network, its outputs)
    """
    network, out = parts[0]
    # set sizes saturate: through the unlearning itself instead of linear effects
    if name == "conformal":
        step = attack.removal(v.model, v.held, tau=tau)
        goals = {g: lambda w, scale=scale: here.set_size(scale)(out(step(w))) for g,
                 scale in (("over", 1), ("under", -1))}
    else:
        start = out(dict(network.named_parameters())).detach()
        effects = sum(here.first_order_effects(m, v.held, o, tau=tau) for m, o in parts)
        goals = {g: attack.through(effects, start, GOALS[g](int(start.argmax())))
                 for g in ("over", "under")}
    return {g: attack.choose(goal, v.held, steps=8).rows for g, goal in goals.items()}

# %%
def aimed(job):
    """How far requests aimed at each estimator move it, less what random requests do."""
    v, (drop, five), j, rows = victims[job[0]], extras[job[0]], job[1], []
    x, logits, (px, py) = v.x[j], attack.logits_at(v.model, v.x[j]), v.public

    def with_threshold(p):  # the public rows stand in for the provider's validation rows
        q = here.soft_threshold(functional_call(v.model, p, (px,)).softmax(1), py, 0.1)
        return torch.cat([logits(p), q[None]])

    outs = {"dropout": [(drop, lambda p: here.mc_dropout(drop, x[None], 20, seed=0,
                                                         params=p)[0].log())],
            "ensemble": [(m, here.ensemble_outputs(five, k, x)) for k, m in enumerate(five)],
            "conformal": [(v.model, with_threshold)]}
    for name, parts in outs.items():
        after = {g: estimate(name, v, without(v, behind[job[0]][name], r), x)
                 for g, r in requests_against(v, parts, name).items()}
        blind = [estimate(name, v, networks, x) for networks in after_random[job[0]][name]]
        at_random = (blind[0] + blind[1]) / 2
        rows += [dict(i=job[0], j=j, estimator=name, goal=g, move=s * (after[g] - at_random),
                      at_random=at_random)
                 for g, s in (("over", -1), ("under", 1))]
    return rows


est = pd.DataFrame(sum(lk.training.parallel(aimed, ALL), []))

# %%
scaled = pd.concat([of("first-order", g).assign(goal=g) for g in ("over", "under")])
scaled["move"] = np.where(scaled.goal == "over", -1, 1) * (scaled.H_scaled - scaled.H_scaled_random)
plain = white["first-order"].move.mean()
coverage = []
for v in victims:
    p, q = lk.training.predict(v.model, v.measure[0]).softmax(1), lk.training.predict(v.model,
                                                                                      v.validation[0]).softmax(1)
    sets = here.conformal_sets(p, conformal_threshold(1 - q.gather(1, v.validation[1][:, None]).squeeze(1), 0.1))
    coverage.append(sets.gather(1, v.measure[1][:, None]).double().mean().item())
of_estimator = {"softmax": (white["first-order"], " nats"),
                "temperature scaling": (scaled, " nats"),
                **{text: (est[est.estimator == e], unit) for e, text, unit in
                   (("dropout", "MC dropout", " nats"), ("ensemble", "ensemble of five", " nats"),
                    ("conformal", "conformal set", " labels"))}}

# %%
sides = {(e, g): frame[frame.goal == g] for e, (frame, _) in of_estimator.items()
         for g in ("under", "over")}
lab.table(pd.DataFrame([{"estimator": e} | {f"moved {way}": told(sides[e, g], "move", unit=unit)
                                            for g, way in (("under", "up"), ("over", "down"))}
                        for e, (_, unit) in of_estimator.items()]),
          "Uncertainty moved as intended under first-order unlearning, less what random requests "
          "do; mean and 95 % "
          "interval over networks")
unmoved = [f"{e} {'up' if g == 'under' else 'down'}" for (e, g), part in sides.items()
           if ends(part, "move")[0] <= 0]
lab.say("Every estimate is moved in both directions." if not unmoved else
        f"Not beyond doubt on so few networks: {', '.join(unmoved)}. All other moves are.")

# %%
single = est[est.estimator == "conformal"].at_random <= 1
lab.say(f"Before the attack, the conformal sets held the true label for "
        f"{show([100 * c for c in coverage], limits=PERCENT)} % "
        "of the measured rows; at least nine in ten were promised. The promise is an average over "
        "rows like the validation "
        "rows. It says nothing about one row that somebody has aimed at.",
        f"{100 * single.mean():.0f} % of the targets have a set of one label after random "
        f"requests; where there is one, "
        "there is nothing to shrink." if single.any() else "")
left = {g: 100 * scaled[scaled.goal == g].move.mean()
        / white["first-order"][white["first-order"].goal == g].move.mean()
        for g in ("over", "under")}
lab.say(f"Fitting the temperature again on clean rows leaves {left['over']:.0f} % of the move down "
        f"and "
        f"{left['under']:.0f} % of the move up.",
        "One number for all rows does not repair one of them." if min(left.values()) > 25 else "")

# %% [markdown]
# ### Not one target, but all
#
# A digest of the paper (the paper itself could not be read) says that ECE rises too. For that the request must work on
# rows nobody has picked. Here it is chosen on
# the attacker's **public** sample, once so that the model gets surer of whatever it says now, and once so that it gets
# less sure and keeps its labels. Calibration is then measured on rows that neither party has used. ECE has no sign, so
# the table also has the mean confidence less the accuracy: above 0 the model is over-confident.

# %%
def goals_for_all(v):
    """Two losses of the parameters over the public sample: surer of the present answers, or less
    sure with them kept.
    """
    called = lk.training.predict(v.model, v.public[0]).argmax(1, keepdim=True)

    def less_sure(params):
        z = functional_call(v.model, params, (v.public[0],))
        m = z.gather(1, called) - z.scatter(1, called, -torch.inf).amax(1, keepdim=True)
        return (5 * (KAPPA - m).clamp(min=0)).mean() - lk.measure.entropy(z.softmax(1)).mean()

    return {"surer": lambda params: F.cross_entropy(functional_call(v.model, params,
                                                                    (v.public[0],)),
                                                    called.squeeze(1)),
            "less sure": less_sure}

# %%
def joint(i):
    """Predictions on the measured rows: before, after random and after chosen requests; first-order
    and exact.
    """
    v, asked = victims[i], {}
    step = attack.removal(v.model, v.held, tau=tau)
    newton = here.newton(v.model, v.held, damping=cfg.weight_decay, cg_steps=cfg.cg)
    for name, goal in goals_for_all(v).items():
        asked["first-order", name] = attack.choose(lambda w, goal=goal: goal(step(w)), v.held,
                                                   steps=12).rows
        asked[exact, name] = attack.choose(lambda w, goal=goal: goal(newton(SHRINK * w)), v.held,
                                           steps=5).rows
    asked["first-order", "random"] = asked[exact, "random"] = controls[i]["random 1"]
    models = {("before", "before"): v.model} | {k: unlearned(v, k[0], r) for k, r in asked.items()
                                                if k[0] != exact}
    if None in models.values():
        return None  # a lost run
    models |= dict(zip([k for k in asked if k[0] == exact],
                       train(v.data, [v.seed] * 3, [r for (how, _), r in asked.items() if how
                                                    == exact])))
    return {k: (lk.training.predict(m, v.measure[0]).softmax(1), v.measure[1]) for k,
            m in models.items()}


spoiled = [there for there in lk.training.parallel(joint, range(len(victims))) if there]

# %%
def all_rows(key, measure):
    """A measure of (probabilities, labels) for each victim, as an array."""
    return np.array([measure(*s[key]) for s in spoiled])


def surplus(p, y):
    """Mean confidence less accuracy, points."""
    return 100 * (p.max(1).values.mean() - (p.argmax(1) == y).float().mean()).item()


ECE = lk.measure.ece
lab.table(pd.DataFrame([{"unlearning": how, "request": what, "ECE": show(all_rows((how, what), ECE),
                                                                         limits=SHARE),
                         "confidence − accuracy, points": show(all_rows((how, what), surplus),
                                                               limits=POINTS),
                         "accuracy, %": show(all_rows((how, what), lk.measure.accuracy),
                                             limits=PERCENT)}
                        for how, what in spoiled[0]]),
          f"Calibration on the measured rows, mean and 95 % interval over {len(spoiled)} victims")

# %%
for how in ("first-order", exact):
    against = {(what, name): all_rows((how, what), f) - all_rows((how, "random"), f)
               for what in ("surer", "less sure") for name,
               f in (("ECE", ECE), ("surplus", surplus))}
    limits = {"ECE": DIFFERENCE, "surplus": POINTS}
    low, high = ({k: interval(v, limits=limits[k[1]])[end] for k, v in against.items()}
                 for end in (1, 2))
    found = [f"{'ECE' if name == 'ECE' else 'The surplus'} "
             f"{'rises' if low[what, name] > 0 else 'falls'} with requests to "
             f"make it {what}" for what, name in against if low[what, name] > 0 or high[what, name]
             < 0]
    lab.say(f"{how[0].upper() + how[1:]}, against random requests. Surplus of confidence: "
            + ", ".join(f"{show(against[k, 'surplus'], limits=POINTS)} points ({k})"
                        for k in ("surer", "less sure"))
            + "; ECE: " + ", ".join(f"{show(against[k, 'ECE'], limits=DIFFERENCE)} ({k})"
                                    for k in ("surer", "less sure"))
            + f". {'; '.join(found) + ' (one such interval in twenty is off by chance).' if found else ''}",
            "" if any(low[k, "ECE"] > 0 for k in ("surer", "less sure")) else
            f"That ECE rises is not shown by {len(spoiled)} victims; a rise of up to "
            f"{max(0, *(high[k, 'ECE'] for k in ('surer', 'less sure'))):.3f} is not ruled out.")

# %% [markdown]
# ## 7 · Rows made to be deleted
#
# So far all rows were genuine. Qian et al. 2023 go further, as surveys describe it: some rows are **prepared before
# training**, changed a little and with their true labels, so that their *deletion* is the attack. We reconstruct this by
# gradient matching: find $\delta$, $\|\delta\|_\infty \le \varepsilon$, so that the prepared rows' summed gradient points
# where the target gets another label. The attacker prepares them on a network of its own.

# %%
EPS = 0.3  # in units of the normalised pixels


def planted(job):
    """Prepared rows for one target: the victim trained on them, before and after they are asked for."""
    (i, j), v = job, victims[job[0]]
    rows, mine = controls[i]["random 1"], surrogates[i][0]
    z = lk.training.predict(mine, v.x[[j]])[0]
    adversarial = int(z.index_fill(0, torch.tensor([v.label[j]], device=z.device), -torch.inf).argmax())
    x = v.data.x.clone()
    x[rows] = here.craft(mine, x[rows], v.data.y[rows], v.x[j], adversarial, eps=EPS,
                           low=v.held.x.min(), high=v.held.x.max())
    d = replace(v.data, x=x)
    model = train(d, [v.seed])[0]
    poisoned = SimpleNamespace(**{**vars(v), "data": d, "model": model})
    first = {k: answer(v, j, m)["p"] for k, m in (("before", model), ("after", unlearned(poisoned, "first-order", rows)))}
    genuine = {k: answer(v, j, m)["p"] for k, m in (("before", v.model), ("after", unlearned(v, "first-order", rows)))}
    again = answer(v, j, train(d, [v.seed], [rows])[0])["p"], answer(v, j, genuinely[i])["p"]
    test = [lk.measure.accuracy(lk.training.predict(m, v.measure[0]), v.measure[1]) for m in (model, v.model)]
    return dict(i=i, before=first["before"], after=first["after"], genuine_before=genuine["before"],
                genuine_after=genuine["after"], same=again[0] == again[1],
                test=test[0] - test[1], pictures=x[rows[:7]].cpu())


# %%
genuinely = lk.training.parallel(  # retrained without the same rows, which were never prepared
    lambda i: train(victims[i].data, [victims[i].seed], [controls[i]["random 1"]])[0],
    range(len(victims)))
crafted = pd.DataFrame(lk.training.parallel(planted, FEW))

# %%
genuine = victims[0].data.x[controls[0]["random 1"]][:7].cpu()
fig, axes = plt.subplots(2, len(genuine), figsize=(10.5, 3.3))
for line, images, text in zip(axes, (genuine, crafted.pictures[0]), ("genuine", "prepared")):
    for ax, x in zip(line, images):
        ax.imshow(*picture(victims[0].data, x))
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(text)
lab.figure(fig, "Two rows of images: seven of the attacker's rows as they are, and below each the "
                "same row as it is prepared "
                "for the attack.")
if genuine.dim() == 4:
    change = 255 * (victims[0].data.pixels(crafted.pictures[0])
                    - victims[0].data.pixels(genuine)).abs()
    lab.say(f"A pixel is changed by up to {change.max():.0f} of 255, by {change.mean():.0f} on "
            f"average: "
            "whether one would notice, the pictures show.")

# %%
crafted["fall"], crafted["genuine"] = (crafted.before - crafted.after, crafted.genuine_before
                                       - crafted.genuine_after)
crafted["more"] = crafted.fall - crafted.genuine
lab.table(pd.DataFrame([{"rows": t, "p(label) before": crafted[b].mean(),
                         "after first-order unlearning": crafted[a].mean(),
                         "fall": told(crafted, fall, DIFFERENCE)}
                        for t, b, a, fall in (("the same rows, genuine", "genuine_before",
                                               "genuine_after", "genuine"),
                                              ("prepared", "before", "after", "fall"))]),
          f"{len(FEW)} targets, {BUDGET} random rows of the attacker, prepared with ε = {EPS} "
          f"(normalised pixels); the fall "
          "with its 95 % interval over networks", 2)
aimed_fall = of("first-order", "flip")[of("first-order", "flip").j
                                       < cfg.few].assign(fall=lambda f: -f.dp)
lab.say(f"The withdrawal of prepared rows costs {told(crafted, 'more', DIFFERENCE)} more of the "
        f"target's probability than "
        "that of the same rows in their genuine form"
        + (". " if ends(crafted, "more", DIFFERENCE)[0] > 0 else ": not beyond doubt. ")
        + f"Before it, the test accuracy differs by {told(crafted, 'test', POINTS)} points.",
        f"Choosing among genuine rows (section 4) costs {told(aimed_fall, 'fall', DIFFERENCE)} of "
        f"it.",
        f"Under exact retraining the preparation is void in {int(crafted.same.sum())} of "
        f"{len(crafted)} cases, bit for bit: "
        "what is left is the training set without the rows. There only the choice of rows matters."
        if crafted.same.any() else "")

# %% [markdown]
# ## 8 · Requests over time
#
# Requests come one after the other, and other people's in between. An attacker who looks at the model before each
# request can adapt (Zhao et al. 2023). Five rounds of first-order unlearning, with another person's
# request after each, and four plans of one budget:
# - all **at once**, in the first round;
# - the same rows **spread** out, as fixed beforehand;
# - **greedy**: look at the model, plan one round;
# - **receding horizon**: look at the model, plan all that is left, send one round.
#
# As a control, random rows of the attacker, spread out.
#
# So that there is room for better and for worse, the budget is the smallest of a grid with which one request flips half
# of the targets of the tuning seeds.

# %%
ROUNDS = 5


def flip_objective(v, j):
    """(model, holdings) -> objective: the label attack on target j through first-order effects at
    that model.
    """
    def objective(model, held):
        out = attack.logits_at(model, v.x[j])
        effects = here.first_order_effects(model, held, out, tau=tau)
        return attack.through(effects, out(dict(model.named_parameters())).detach(),
                              GOALS["flip"](v.label[j]))

    return objective

# %%
def flipped_at_once(job):
    """Share of a tuning victim's targets that one request flips, for each budget."""
    v = victim(job)
    targets, share = range(min(4, cfg.targets)), []
    objectives = [flip_objective(v, j)(v.model, v.held) for j in targets]
    for b in CAMPAIGNS:
        asked = [attack.choose(objectives[j], v.held.with_budget(b), steps=8).rows for j in targets]
        kept = [answer(v, j, unlearned(v, "first-order", r))["kept"] for j,
                r in zip(targets, asked)]
        share.append(np.mean([k == 0 for k in kept]))
    return share


CAMPAIGNS = [b for b in (5, 10, 20, 30, 40, 60) if b <= len(victims[0].held)]
at_once = np.mean(lk.training.parallel(flipped_at_once, tuning), 0)
campaign_budget = (CAMPAIGNS[int(np.argmax(at_once >= 0.5))] if (at_once >= 0.5).any()
                   else CAMPAIGNS[-1])
lab.say(f"The budget is {campaign_budget} rows"
        + (", at the edge of the grid." if campaign_budget in (CAMPAIGNS[0], CAMPAIGNS[-1])
           else "."))

# %%
def over_time(job):
    """Margin of one target after the campaign, for each plan."""
    (i, j), v, rows = job, victims[job[0]], []
    held, objective = v.held.with_budget(campaign_budget), flip_objective(v, j)
    others = defend.benign("one-user", v.data, BUDGET // 2, ROUNDS, 7 * j + 1)
    once = attack.choose(objective(v.model, held), held, steps=8).rows
    plans = {"at once": here.at_once(once), "spread": here.spread(once),
             "greedy": here.replan(objective, "greedy"),
             "receding horizon": here.replan(objective, "receding"),
             "random, spread": here.spread(attack.baseline("random", held, 10 * j + 3))}
    for name, plan in plans.items():
        row = dict(i=i, j=j, plan=name, asked=(), margin=np.nan, test=np.nan, kept=np.nan)
        rows.append(row)
        try:
            model, asked = here.campaign(v.model, held, plan,
                                           lambda m, r: lk.unlearn.first_order(m, v.data, r,
                                                                               tau=tau), others)
            z, measured = (lk.training.predict(model, x) for x in (v.x[[j]], v.measure[0]))
        except lk.Diverged:
            continue  # a lost run
        row |= answer(v, j, model) | dict(asked=tuple(sorted(asked.tolist())),
                                          margin=attack.margin(z[0], v.label[j]).item(),
                                          test=lk.measure.accuracy(measured, v.measure[1]))
    return rows

# %%
seqs = pd.DataFrame(sum(lk.training.parallel(over_time, ALL), []))

# %%
lab.table(pd.DataFrame([{"plan": k, "rows asked for": g.asked.map(len).mean(),
                         "labels flipped": percent(1 - g.kept),
                         "margin, logits": told(g, "margin", unit=""),
                         "test accuracy, %": told(g, "test", PERCENT)}
                        for k, g in seqs.groupby("plan", sort=False)]),
          f"{campaign_budget} rows in {ROUNDS} rounds, benign requests between them, {len(ALL)} "
          f"targets; mean and 95 % "
          "interval over networks")
lost = int(seqs.margin.isna().sum())
if lost:
    lab.say(f"{lost} of {len(seqs)} campaigns are lost because the network diverged; they count as "
            f"no flip.")
by_plan = {k: g.sort_values(["i", "j"]).reset_index() for k, g in seqs.groupby("plan")}
flipped = {k: (g.kept == 0).astype(float).to_numpy() for k, g in by_plan.items()}
margin = {k: g.margin for k, g in by_plan.items()}
gained = by_plan["at once"].assign(waiting=margin["at once"] - margin["spread"],
                                   adapting=margin["spread"] - margin["greedy"],
                                   ahead=margin["greedy"] - margin["receding horizon"])
same_rows = (by_plan["greedy"].asked == by_plan["receding horizon"].asked).sum()

# %%
lab.say(f"Spreading the same rows out lowers the margin by "
        f"{told(gained, 'waiting', unit=' logits')} against sending them at "
        f"once; planning again before each round by another "
        f"{told(gained, 'adapting', unit=' logits')}, and looking ahead "
        f"by {told(gained, 'ahead', unit=' logits')} more: the two plans that look ask for the "
        f"same rows at {same_rows} of "
        f"{len(ALL)} targets.",
        "On margins, adapting helps beyond waiting." if ends(gained, "adapting")[0] > 0 else
        "That adapting helps beyond waiting is not shown.",
        "In flipped labels, spreading out adds "
        f"{show(100 * (flipped['spread'] - flipped['at once']), clusters=networks, limits=POINTS)} "
        f"points to sending at once, "
        "and adapting to spreading out "
        f"{show(100 * (flipped['receding horizon'] - flipped['spread']), clusters=networks, limits=POINTS)} points.",
        f"A campaign shows: the test accuracy is "
        f"{told(by_plan['receding horizon'], 'test', PERCENT)} % then, after random rows "
        f"{told(by_plan['random, spread'], 'test', PERCENT)} %."
        if ends(by_plan["random, spread"], "test", PERCENT)[0] > ends(by_plan["receding horizon"],
                                                                      "test", PERCENT)[1] else "")

# %% [markdown]
# ## 9 · The defences people already have
#
# A provider can look at a request before carrying it out. Four gates, each a score: the rise of the **validation loss**
# on a trial copy; the share of validation **labels that change**; the share of requested rows with an **isolated
# gradient** (a survey says that Qian et al. 2023 filter such rows; reconstructed from EPIC, Yang et al. 2022); and the
# **length of the mean gradient** of the requested rows.
#
# A gate refuses what lies above a threshold, and refusing lawful deletions is unlawful itself. So the threshold comes
# from benign requests alone, at 1 % refused. Which benign requests? Random rows are the easy choice. Real people ask
# for *their* rows: one person's, one class's, wrongly labelled ones, twenty photographs of one thing.

# %%
GATES = ("validation loss", "labels changed", "isolated gradients", "gradient length")


def desk(i):
    """What the provider has ready before requests come in: validation logits, isolated rows,
    residuals, losses.
    """
    v = victims[i]
    z = lk.training.predict(v.model, v.data.x)
    return (lk.training.predict(v.model, v.validation[0]), defend.isolated(v.model, v.data.x,
                                                                           v.data.y),
            defend.residuals(v.model, v.data.x, v.data.y), F.cross_entropy(z, v.data.y,
                                                                           reduction="none").cpu().numpy())

# %%
def scores(v, ready, request):
    """The four suspicion scores of one request; the first two on a trial copy, by first-order
    unlearning.
    """
    before, alone, proxy, _ = ready
    try:
        after = lk.training.predict(HOW["first-order"](v, request), v.validation[0])
        on_trial = here.loss_gate(before, after, v.validation[1]), here.label_gate(before, after)
    except lk.Diverged:
        on_trial = 1e9, 1.0  # a copy that breaks is as suspicious as can be
    return dict(zip(GATES, (*on_trial, here.isolation_gate(alone, request),
                            here.gradient_gate(proxy, request))))

# %%
def gated(job):
    """Scores of one stream of benign requests to one victim, or (stream 'attack') of the chosen
    ones.
    """
    (i, stream), v = job, victims[job[0]]
    if stream == "attack":
        return [dict(i=i, j=j, stream=stream, aim=aim, goal=goal) | scores(v, desks[i], r)
                for j in range(cfg.targets) for (aim, goal), r in requests[i, j].items() if aim
                != "none"]
    # a threshold at 1 % needs a hundred, here of the random stream alone
    count = cfg.benign if stream in defend.REALISTIC else max(100, cfg.benign)
    asked = defend.benign(stream, v.data, BUDGET, count, v.seed % 10**6, desks[i][-1])
    # fresh ones, which check the threshold
    checks = cfg.benign // 5 if stream in defend.REALISTIC else 0
    fresh = defend.benign(stream, v.data, BUDGET, checks, v.seed % 10**6 + 1, desks[i][-1])
    return [dict(i=i, stream=stream + tag) | scores(v, desks[i], r)
            for tag, part in (("", asked), (", held out", fresh)) for r in part]


desks = lk.training.parallel(desk, range(len(victims)))
jobs = [(i, s) for i in range(len(victims)) for s in (*defend.STREAMS, "attack")]
gate = pd.DataFrame(sum(lk.training.parallel(gated, jobs), []))

# %%
def caught(streams):
    """Which malicious requests each gate refuses, its threshold at 1 % of the benign requests of
    these streams, victim by victim."""
    attacks = (gate.stream == "attack") & gate.goal.isin(["over", "under", "flip"])
    out = gate[attacks][["i", "j", "aim", "goal", *GATES]].copy()
    for name in GATES:
        limits = {i: defend.threshold(gate[(gate.i == i) & gate.stream.isin(streams)][name])
                  for i in range(len(victims))}
        out[name] = (out[name] > out.i.map(limits)).astype(float)
    return out


fair, easy = caught(defend.REALISTIC), caught(("random",))
on_uncertainty = fair[fair.goal.isin(["over", "under"])]

# %%
fig, axes = plt.subplots(1, 2, figsize=(10.5, 4.6), sharey=True)
for ax, aim in zip(axes, ("first-order", "retraining")):
    for frame, role, text, shift in ((easy, "other", "threshold from random requests", -0.2),
                                     (fair, "defence", "threshold from realistic requests", 0.2)):
        part = frame[(frame.aim == aim) & frame.goal.isin(["over", "under"])]
        for k, name in enumerate(GATES):
            mean, low, high = np.clip(interval(100 * part[name], part.i, PERCENT), *PERCENT)
            ax.bar(k + shift, mean, 0.38, color=figures.COLOURS[role], label=text if k == 0
                   else None,
                   hatch="//" if role == "defence" else None, edgecolor="white")
            ax.errorbar(k + shift, mean, [[mean - low], [high - mean]], color="black", capsize=3,
                        linewidth=1.2)
    ax.set(xticks=range(len(GATES)), xticklabels=[g.replace(" ", "\n") for g in GATES],
           title=f"Aimed at {aim}", ylim=(0, 103))
    ax.tick_params(axis="x", labelsize=11)
axes[0].set_ylabel("malicious requests caught (%)")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
lab.figure(fig, "Share of malicious requests that each of four gates catches at 1 % benign "
                "requests refused, with "
                "thresholds from random and from realistic benign requests, for requests aimed at "
                "first-order "
                "unlearning and at retraining.")

# %%
uncertain = easy[easy.goal.isin(["over", "under"])]
best, best_easy = (frame[list(GATES)].mean().idxmax() for frame in (on_uncertainty, uncertain))
limit = {i: defend.threshold(g[best_easy]) for i, g in gate[gate.stream == "random"].groupby("i")}
refused = {s: (g[best_easy] > g.i.map(limit)).mean() for s, g in gate.groupby("stream")
           if s in defend.REALISTIC}
PLAIN = {"one-user": "one person's requests", "one-class": "requests for one class",
         "hard-rows": "requests for hard rows",
         "look-alikes": "requests for look-alikes"}
lab.say(f"With a threshold from random requests, the best gate, “{best_easy}”, catches "
        f"{percent(uncertain[best_easy], uncertain.i)} of the attack. But it would also refuse "
        + ", ".join(f"{100 * r:.0f} % of {PLAIN[s]}" for s, r in refused.items()) + ".",
        f"With a threshold that refuses 1 % of realistic requests, the best gate is “{best}”, and "
        f"it catches "
        f"{percent(on_uncertainty[best], on_uncertainty.i)}: "
        + ", ".join(f"{percent(g[best], g.i)} of those for "
                    f"{'over' if goal == 'over' else 'under'}-confidence "
                    f"aimed at {aim}" for (aim, goal), g in on_uncertainty.groupby(["aim", "goal"]))
        + ". Best is best on these very attacks: a provider, who does not know them, may pick a "
          "worse one.")

# %%
pushed = gate[gate.stream == "attack"].groupby(["aim", "goal"])["labels changed"].mean()
people = gate[gate.stream.isin(defend.REALISTIC)]
limits = {i: defend.threshold(g[best]) for i, g in people.groupby("i")}
hardest = max(((g[best] > g.i.map(limits)).mean(), PLAIN[s]) for s, g in people.groupby("stream"))
size = table[table.aim != "none"].rows.mean()
lab.say(f"At that threshold “{best}” refuses up to {100 * hardest[0]:.1f} % of one kind "
        f"({hardest[1]}). Benign requests had "
        f"{BUDGET} rows, malicious ones {size:.0f} on average.",
        "On trial, requests for over-confidence aimed at first-order unlearning change "
        f"{100 * pushed['first-order', 'over']:.1f} % of the validation labels, those aimed at "
        f"retraining "
        f"{100 * pushed['retraining', 'over']:.1f} %, realistic requests "
        f"{100 * people['labels changed'].mean():.1f} %: "
        "what changes more than people's requests do is what a trial run sees.")

# %% [markdown]
# An attacker who knows the gates would weigh in what they look at; notebook 10 lets it. Two more defences need no
# threshold. **Recalibration** was section 6: one temperature for all rows. **Differential privacy** bounds what **one**
# row can do to any output. This attack asks for many rows at once, and for many the bound is another one.

# %%
epsilon, delta = defend.group_epsilon(3.0, 1e-5, BUDGET)
lab.say(f"A promise of ε = 3 and δ = 0.00001 for one row is one of ε = {epsilon:g} and δ = "
        f"{delta:.2g} for the {BUDGET} rows "
        "of a request" + (": it rules nothing out." if delta >= 1 else ".")
        + " Whether training with differential privacy helps all the same, and what it costs, is "
          "measured in notebook 10.")

# %% [markdown]
# ### Explore: goal, budget, κ, unlearner
#
# Each row is one of the same few targets. Grey: its confidence after random requests; coloured: after the chosen ones; a cross: the label
# is lost. Right: success against budget.

# %%
panel_figure = Figure(figsize=(10, 4.6), layout="none")
left_ax, right_ax = panel_figure.subplots(1, 2)
panel_figure.subplots_adjust(left=0.07, right=0.98, bottom=0.14, top=0.9, wspace=0.2)
sticks = left_ax.hlines(range(len(FEW)), 0, 0, color=figures.COLOURS["other"], alpha=0.5)
grey = left_ax.plot([], [], "o", color=figures.COLOURS["other"], label="random requests")[0]
kept_dots = left_ax.plot([], [], "^", color=figures.COLOURS["attack"],
                         label="chosen, label kept")[0]
lost_dots = left_ax.plot([], [], "x", color=figures.COLOURS["attack"], markersize=9,
                         label="chosen, label lost")[0]
left_ax.axvline(ACT, color="black", linestyle=":")
left_ax.set(xlim=(0, 1.02), ylim=(-0.7, len(FEW) - 0.3), xlabel="probability of the label",
            ylabel="targets", yticks=[])
left_ax.legend(loc="upper left", fontsize=10)
share_line = right_ax.plot([], [], "-o", color=figures.COLOURS["attack"])[0]
chosen_star = right_ax.plot([], [], "*", color=figures.COLOURS["original"], markersize=17)[0]
_ = right_ax.set(xlim=(0, 1.05 * BUDGET), ylim=(-4, 104), xlabel="rows asked for",
                 ylabel="success (% of targets)", xticks=BUDGETS)

# %%
def redraw(goal, budget, kappa, how):
    kappa = kappa if goal == "under" and how != exact else KAPPA  # retraining was run with one κ
    part = curve[(curve.how == how) & (curve.goal == goal)
                 & (curve.kappa == kappa)].sort_values(["p_random", "i", "j"])
    now = part[part.budget == budget]
    y, kept = np.arange(len(now)), now.kept.to_numpy() == 1
    sticks.set_segments([[(a, k), (b, k)] for k, (a, b) in enumerate(zip(now.p_random, now.p))])
    grey.set_data(now.p_random, y)
    kept_dots.set_data(now.p[kept], y[kept])
    lost_dots.set_data(now.p[~kept], y[~kept])
    share = (100 * succeeded(how, goal, kappa).mean(0)).tolist()
    share_line.set_data(BUDGETS, share)
    chosen_star.set_data([budget], [share[BUDGETS.index(budget)]])
    left_ax.set_title(f"{how}, {budget} rows" + (f", κ = {kappa:g}" if goal == "under" else ""),
                      fontsize=13)
    return (f"{budget} rows chosen for “{goal}”, unlearned by {how}: the confidence goes from "
            f"{now.p_random.mean():.2f} to "
            f"{now.p.mean():.2f} on average, the label holds for {int(kept.sum())} of {len(now)} "
            f"targets, and "
            f"{share[BUDGETS.index(budget)]:.0f} % are moved beyond the spread of retraining.")

# %%
GOAL_NAMES = [("surer", "over"), ("unsure", "under"), ("another label", "flip")]
panel = widgets.explorer(panel_figure, redraw, goal=widgets.dropdown("goal", GOAL_NAMES, "under"),
                            budget=widgets.slider("rows", BUDGETS, BUDGETS[-1]),
                            kappa=widgets.slider("κ", list(KAPPAS), KAPPA),
                            how=widgets.dropdown("unlearner", ["first-order", "ascent", exact],
                                                 exact))
lab.figure(panel_figure,
           "The explorer in its first state: for each target the probability of its label after "
           "random and "
           "after chosen requests under exact retraining on the left, success against the number "
           "of rows asked for on the "
           "right.")
panel

# %% [markdown]
# ## 10 · What would fool you
#
# **An under-confidence attack without its second half.** Leave the hinge out and ask for high entropy alone.

# %%
def no_hinge(job):
    """Label kept (1) or not (0) under first-order unlearning, with and without the hinge."""
    v, j = victims[job[0]], job[1]
    out, step = attack.logits_at(v.model, v.x[j]), attack.removal(v.model, v.held, tau=tau)
    bare = here.underconfidence(v.label[j], 0.0, weight=0.0)
    picked = attack.choose(lambda w: bare(out(step(w))), v.held, steps=15).rows
    return dict(i=job[0], j=j, **answer(v, j, unlearned(v, "first-order", picked)))


bare = pd.DataFrame(lk.training.parallel(no_hinge, FEW)).set_index(["i", "j"], drop=False)
hinged = of("first-order", "under")[of("first-order", "under").j < cfg.few].set_index(["i", "j"],
                                                                                      drop=False)
bare["excess"] = (hinged.kept == 1).astype(float) - (bare.kept == 1)
lab.say(f"Without the hinge the entropy is {told(bare, 'H')} after the request (with it: "
        f"{told(hinged, 'H')}), and "
        f"{int((bare.kept == 0).sum())} of {len(bare)} labels are lost (with it: "
        f"{int((hinged.kept == 0).sum())}). "
        "A paper could show the first number and call it an attack on uncertainty."
        + (" Part of it is the old attack on labels." if ends(bare, "excess", DIFFERENCE)[0] > 0
           else ""))

# %% [markdown]
# **Targets picked after the attack.** Ours were drawn before it, by a rule. Here is what could have been shown instead.

# %%
moves = white[exact].groupby(["i", "j"]).move.mean()
quarter = max(1, len(moves) // 4)
lab.say(f"All {len(moves)} targets, under exact retraining: moved by {moves.mean():.2f} nats on "
        f"average. The best quarter "
        f"of them, picked afterwards: {moves.nlargest(quarter).mean():.2f}. The worst "
        f"quarter: "
        f"{moves.nsmallest(quarter).mean():.2f}.")

# %% [markdown]
# **The attacker's own estimate.** Section 3 compared what influence promised with what retraining gave. Here is
# first-order unlearning, with the very $\tau$ that the attacker optimised through, beside retraining.

# %%
first_few = [of("first-order", "flip"), of(exact, "flip", "first-order"), of(exact, "flip")]
flips = [int((f[f.j < cfg.few].kept == 0).sum()) for f in first_few]
lab.say("Chosen for first-order unlearning and judged on it, the label attack flips "
        f"{flips[0]} of the first {len(FEW)} targets. Judged on retraining, the same requests flip "
        f"{flips[1]}; those chosen for retraining, {flips[2]}.")

# %% [markdown]
# ## 11 · What was tested
#
# Targets of one victim share a network and are no independent units, also where all of them agree. So the intervals are
# over the victims' means, and they end where a share ends. A few victims are few and the intervals wide: beside each
# verdict of this run stands that of all committed runs. Some parts cannot fail unless the code is wrong: there the
# attacker computes the very unlearning that is then judged. They are marked, and count as checks. “Exact” is same-seed
# retraining where nothing else is said.

# %%
def judged_on(name, parts, clusters=None):
    """lab.claim without the targets that were lost to a network that diverged. parts: name -> one
    value a target.
    """
    once, given, labels = [judged[i] for i, _ in ALL], {}, {}
    for part, values in parts.items():
        values, where = np.asarray(values), (clusters or {}).get(part, once)
        there = np.isfinite(values.astype(float))
        given[part] = values[there].tolist()
        if len(values) == len(where):
            labels[part] = [c for c, kept in zip(where, there) if kept]
    return lab.claim(name, given, clusters=labels)


def by_direction(name, frame):
    """The moves up and down as two parts of a claim, a value a target: each direction has to hold
    by itself.
    """
    return {f"{name}, {text}": frame[frame.goal == g].sort_values(["i", "j"]).move.tolist()
            for g, text in (("over", "surer"), ("under", "unsure"))}

# %%
flips = {how: 1 - of(how, "flip").kept.to_numpy() - (1 - share_at_random(how).to_numpy())
         for how in ("first-order", exact)}
kept = {goal: of("first-order", goal).kept.dropna().eq(1).tolist() for goal in ("over", "under")}
judged_on("req-label", {"first-order": flips["first-order"], "exact": flips[exact]})
judged_on("unc-over", {"confidence": of("first-order", "over").dp, "label-kept": kept["over"]})
judged_on("unc-under", {"entropy": of("first-order", "under").dH, "label-kept": kept["under"]})
judged_on("unc-beats-label", {"first-order": wins["first-order"]["under"]
                              - wins["first-order"]["flip"], "exact": gain},
          {"exact": gain_networks})
fresh = moved(pd.concat([of(RETRAINED[1], g) for g in ("over", "under")])[cols])
_ = judged_on("unc-transfer", by_direction("same seed", white[exact]) | by_direction("fresh seed",
                                                                                     fresh))

# %%
queries = most[most.goal == "over"].queries.astype(float).tolist()
judged_on("unc-blackbox", by_direction("surrogate", transfer) | by_direction("zeroth order", most)
          | {"queries": queries})
# both halves are samples
slack = 3 * np.sqrt(0.09 * (1 / len(victims[0].validation[1]) + 1 / len(victims[0].measure[1])))
parts = by_direction("temperature", scaled)
for name in ("dropout", "ensemble", "conformal"):
    parts |= by_direction(name, est[est.estimator == name])
_ = judged_on("unc-estimators", parts | {"coverage": [bool(c >= 0.9 - slack) for c in coverage]})

# %%
caught_by, limits_kept = {}, []
for aim in ("first-order", "retraining"):
    rows = on_uncertainty[on_uncertainty.aim == aim]
    gate_name = rows[list(GATES)].mean().idxmax()  # the best gate against this aim
    caught_by[f"caught, aimed at {aim}"] = rows.groupby(["i", "j"])[gate_name].mean().tolist()
    for i in range(len(victims)):
        scored, unseen = (gate[(gate.i == i) & gate.stream.isin(streams)][gate_name]
                          for streams in (defend.REALISTIC,
                                          [f"{s}, held out" for s in defend.REALISTIC]))
        allowed = 0.01 + 3 * np.sqrt(0.01 * 0.99 / len(unseen))
        limits_kept.append(bool(len(scored) >= 1000 and (unseen > defend.threshold(scored)).mean()
                                <= allowed))
easily = easy[easy.goal.isin(["over", "under"])].groupby(["i", "j"])[best_easy].mean().tolist()
judged_on("unc-defences", caught_by | {"threshold": limits_kept, "easy-stream": easily,
                                       "recalibration": [scaled.move.mean() / plain]})
_ = judged_on("req-sequential", {"gain": flipped["receding horizon"] - flipped["at once"],
                                 "adapting": flipped["receding horizon"] - flipped["spread"]})

# %%
lab.record("outcomes", table.groupby(["how", "aim", "goal"])[["p", "H", "kept", "H_scaled",
                                                              "size"]].mean()
           .round(4).dropna())
lab.claims_table()

# %%
# NBVAL_CHECK_OUTPUT
verdicts = {c["id"]: c["verdict"] for c in lab.claims}
print("claims judged:", sorted(verdicts))
print("over-confidence:", verdicts["unc-over"], "· survives retraining:", verdicts["unc-transfer"])

# %% [markdown]
# You have
# - measured calibration, and a decision that hangs on it;
# - computed what a deletion would do to one prediction, and walked to a request inside a budget;
# - tested requests that move confidence up or down under approximate and exact unlearning, against the spread of
#   retraining, and asked each time whether the label held;
# - tried the same without weights, from surrogates and from counted queries, and against four other estimates of doubt;
# - set thresholds on benign requests, easy and realistic, and compared what a gate is worth under each.
#
# **Read on**: Qian et al. 2025, for attacks on uncertainty as a goal of their own; Qian et al. 2023, for prepared rows
# and for filtering by gradients; Zhao et al. 2023, for requests over time as a control problem; Obadinma et al. 2024,
# for the same goals reached by changing the input; Koh and Liang 2017, for influence functions.
#
# **Next**: notebook 05 turns to the other side. The provider unlearns, and somebody reads from the two models what was deleted.
