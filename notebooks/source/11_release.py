# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 11 · Release: what helps in what is let out?
#
# Notebook 05 read a deleted picture from two sets of weights, and notebook 10 stood at the desk
# where requests arrive. Here the provider changes what it **lets out**, and then the attacker reads
# the provider's code.
# **What helps in what is released: noise, pruning, fine-tuning, answers, privacy?**
#
# You will
# - hide an update under noise, and see what an average of ten releases brings back;
# - work out what privacy for one row promises for sixty;
# - read a picture from a network half of whose weights were set to zero;
# - attack a fine-tuned release by what it *does*, not by where its weights are;
# - write a release rule of your own, and set three attackers on it.
#
# *Time*: about one minute to run, three hours to work through.
# *You need*: notebooks 03 and 05.
# *Papers*: Hu et al. 2024, [Learn What You Want to Unlearn](https://arxiv.org/abs/2404.03233), with
# three defences; Abadi et al. 2016 (training with differential privacy). The tables of Hu et al.
# could not be read here: where a defence had to be filled in, it is our reconstruction.
# *Words*: [glossary](../docs/glossary.md).

# %% tags=["parameters"]
profile = "quick"  # smoke | quick | full | paper
dataset = "fashion"  # any image set of labkit.data.names(), or folder:PATH
seed = 0  # everything random is spawned from it
seeds = None  # number of judged seeds; None: the profile's own

# %%
import math
from functools import partial

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

import labkit as lk
from course import Lab, exercise, figures, widgets
from course.chapters import release as here
from course.chapters.release.exercises import BASELINES, mark_of
from course.chapters.release.exercises import release_rule as course_rule
from labkit import attack, defend

lab = Lab("release", profile=profile, dataset=dataset, seed=seed, seeds=seeds)
figures.style()

# %%
cfg = lab.settings(
    quick=dict(model="mlp", model_settings=dict(hidden=32), rows=(2000, 2000), epochs=8, lr=0.1,
               batch_size=128, weight_decay=0.02, seeds=3, targets=7, steps=60,
               private=dict(epochs=6, batch_size=128, lr=0.25), epsilons=(math.inf, 3.0),
               private_targets=4, harder=(3, 3)),
    smoke=dict(model_settings=dict(hidden=16), rows=(900, 600), epochs=5, lr=0.05, seeds=2,
               targets=2, steps=5, private_targets=1, harder=(1, 1),
               private=dict(epochs=2, batch_size=128, lr=0.25)),
    full=dict(rows=(6000, 4000), seeds=5, targets=8, steps=200, harder=(5, 3),
              epsilons=(math.inf, 8.0, 3.0, 1.0)),
    paper=dict(model_settings=dict(hidden=256), rows=None, epochs=30, weight_decay=5e-4))
judged, tuning = lab.seeds(cfg.seeds, "judge"), lab.seeds(2, "tune")
data = lab.load(at_most=cfg.rows, moments="test", large="size")
n, k = len(data.y), data.n_classes
lab.require(len(data.shape) == 3, "Notebook 11 rebuilds pictures: take a set of images.")
lab.require(n >= 900 and len(data.y_test) >= 400,
            "Notebook 11 needs at least 900 training and 400 test images.")
BUDGET = max(6, round(0.03 * n))  # rows of one request
recipe = dict(epochs=cfg.epochs, lr=cfg.lr, batch_size=cfg.batch_size,
              weight_decay=cfg.weight_decay)

# %%
def build(seed):
    """A fresh network; the same seed gives the same initial weights."""
    return lk.models.build(cfg.model, data, seed, **cfg.model_settings)


def train(d, seeds, skip=None):
    """One network a seed, all in the same way. skip: for each, the rows to leave out."""
    return lk.training.fit_many([build(s) for s in seeds], d.x, d.y, seeds=seeds, skip=skip,
                                workers=1, **recipe)


def world(seed):
    """A split with a provider's network θ, and the deletion of each of its first private rows."""
    return here.world(data.resplit(seed), seed, build, deleted=cfg.targets, epochs=cfg.epochs,
                      lr=cfg.lr, steps=cfg.steps)

# %% [markdown]
# ## 1 · One row, four releases
#
# As in notebook 05, a provider trains a network on public rows and fine-tunes it on 32 private
# ones: $\theta$. One person withdraws a row, the provider unlearns it by one step of ascent, and
# the result is $\theta_u$. Then, new here, it may change $\theta_u$ before anybody gets it.
#
# > **Threat model** (of the sections on inversion).
# > **Who** the server, or anyone who kept the model from before.
# > **Sees** the weights before, and the *changed* weights after; public rows with labels.
# > **May** compute anything; knows the deleted row's label. A **plain** attacker takes one release
# > as if only the deletion had changed it. An **adaptive** one knows which defence was used and how
# > strong it was, and may hold ten releases of the same $\theta_u$. That is an idealisation: who
# > gets a release after each request also gets the later deletions.
# > **Wants** the picture that was deleted.
#
# First a single deleted row and the **closed form** of notebook 05: in the first layer the weight
# from input $j$ to unit $i$ moves by $W_{ij} = b_i x_j$, with $b_i$ the move of the unit's bias, so
# that $x_j = W_{ij} / b_i$ is the picture. The noise is ten times as large as the update, half of
# the weights are pruned, and twenty mini-batches are fine-tuned.

# %%
worlds, extra = [world(s) for s in judged], world(tuning[0])  # extra: where attackers rehearse
w, j = worlds[0], 0
theta, theta_u = w.theta, w.after[j]
size = here.update_rms(theta, theta_u)
releases = {"no defence": theta_u, "noise": here.add_noise(theta_u, 10 * size, seed=1),
            "pruning": here.prune(theta_u, 0.5),
            "fine-tuning": here.finetune_release(theta_u, *w.kept, steps=20, lr=0.01, seed=1)}
closed = here.pictures(w, here.aims_at(w, releases.values()), methods=["closed form"], row=j)
made = dict(zip(releases, closed["closed form"]))
lab.figure(here.strip(w.pixels[j], {name: [image] for name, image in made.items()},
                      w.mean_pictures[j]),
           "One deleted picture, what the server rebuilds from four releases, without a defence "
           "and with noise, pruning or fine-tuning, and the class mean, each with its PSNR.")
dB = {name: lk.measure.psnr(image, w.pixels[j]).item() - w.guess[j].item()
      for name, image in made.items()}
lab.say(f"Without a defence the picture is at least {dB.pop('no defence'):.0f} dB nearer to the "
        "deleted one than the class mean. From the "
        "others: " + ", ".join(f"{lead:+.0f} dB ({name})" for name, lead in dB.items())
        + "; below 0, further away than that guess.")

# %% [markdown]
# That attacker never asked what the provider had done. Each section takes one defence: the idea,
# somebody who knows it, the price, and what to take with you.
#
# **Success is defined once for each attack.** *Inversion*: the **gain** is how many dB
# nearer to the deleted picture one is than the class mean. From 5 dB on it counts as **rebuilt**,
# below 1 dB the attack is **stopped**. (PSNR is cut at 100 dB, so the gain of an exact picture is
# "at least" what stands there.)
# *Answers*: the deleted row's class is named. *Requests*: a target's label flips, less the flips by
# a random request.
#
# **Check yourself.** Why is a picture judged against the class mean, and not by its PSNR alone?
#
# <details><summary>Answer</summary>
#
# The attacker knows the label, so the class mean is free. What counts is what the release adds.
#
# </details>

# %% [markdown]
# ## 2 · Noise
#
# *Idea*: the update is small, so a little noise on all weights should hide it:
# $$\theta_r = \theta_u + c\,\mathrm{rms}(\theta_u - \theta)\, \frac{z}{\mathrm{rms}(z)}, \qquad
# \mathrm{rms}(v) = \sqrt{\tfrac{1}{d} \textstyle\sum_i v_i^2}.$$
# $\theta_r$ is what is released, $z$ normal noise on all $d$ weights, and $c$ says how many times
# larger than the update it is.
#
# **Exercise 11.1** (difficulty 1, 6 minutes). Add the noise to the new weights. The update is there
# only for its size.

# %%
@exercise("11.1")
def release(weights, update, times, noise):
    """The weights plus noise, scaled so that its rms is times * rms of the update. (d,), (d,),
    float, (d,) -> (d,)
    """
    ...  # your code

# %% [markdown]
# *What breaks it*: fresh noise on each of $m$ releases leaves noise of $1/\sqrt{m}$ in their mean.
# A provider that answers ten requests lets ten networks out, and all of them carry the first
# deletion. So the adaptive inverter averages **ten releases**. Your function makes those of the
# figure; the sweep over all rows below it uses `here.add_noise`, without the exact stretch.
#
# Under noise the closed form drowns, so both inverters get more tools: the **search** of notebook
# 05 (in the figure) with two weights of its prior, and **rank one**: the first layer's update is an
# outer product $\delta\, x^\top$, so its first singular vector is the picture, also where single
# entries drown. On a split that is not judged they rehearse which tool serves best on which
# release, which favours the plain one too.

# %%
before, after = attack.flat(theta), attack.flat(theta_u)
draw, made = torch.Generator().manual_seed(seed), {}
for times in here.NOISE:
    ten = torch.stack([release(after, after - before, times,
                               torch.randn(len(after), generator=draw, dtype=after.dtype)
                               .to(after)) for _ in range(10)])
    aims = torch.stack([ten[0], ten.mean(0)]) - before
    made[f"× {times}"] = here.pictures(w, aims, methods=[0.1], row=j)[0.1]
lab.figure(here.strip(w.pixels[j], made, w.mean_pictures[j], ("one release", "ten, averaged")),
           "A deleted picture, rebuilt under noise of 1, 3, 10 and 30 times the update's size from "
           "one release (above) and from the mean of ten (below), and the class mean.")

# %%
names = [f"noise × {times:g}" for times in here.NOISE]
noisy = here.sweep(worlds, extra, names)
pm, near = partial(lk.measure.show_interval, limits=(-100, 100)), here.near
times = noisy.enough or here.NOISE[-1]
NOISE, MOST = f"noise × {times:g}", names[-1]
told = {name: [here.told(noisy.gain(name, who), noisy.seeds) for who in ("plain", "adaptive")]
        for name in (NOISE, MOST)}
spent = 1000 * here.seconds(lambda: here.add_noise(theta_u, size, 0))
lab.say(f"In this run, over {len(noisy.gain('none'))} deleted rows, without a defence the gain is "
        f"at least {here.told(noisy.gain('none'), noisy.seeds)}.",
        f"{NOISE.capitalize()}, " + ("the weakest that stops the plain inverter in a rehearsal"
                                     if noisy.enough else
                                     "the strongest tried; none stopped the plain inverter in the "
                                     "rehearsal")
        + f": {told[NOISE][0]}; ten releases averaged: {told[NOISE][1]}.",
        "" if MOST == NOISE else f"{MOST.capitalize()}: {told[MOST][0]}; averaged: "
                                 f"{told[MOST][1]}.")
lab.say_committed("Over the committed runs, in dB: noise that stopped one release in a rehearsal "
                  "leaves {def-noise.psnr}; ten of its releases, averaged, {def-noise.averaged}. "
                  "Reproduced means below 1 dB.")
lab.say(f"*The price*: test accuracy changes by {pm(noisy.price(NOISE))} points ({NOISE}) and "
        f"{pm(noisy.price(MOST))} ({MOST}), and a release takes {spent:.0f} ms.")

# %% [markdown]
# **Take with you.** Noise is chosen for a number of releases, not for one attacker who failed.
#
# **Check yourself.** The provider chose the noise by an attacker with one release. By what should
# it have chosen?
#
# <details><summary>Answer</summary>
#
# By the number of releases that will ever carry this deletion: $c$ must grow with its root. Reusing
# one draw saves nobody: two such releases differ by the deletion made between them, free of noise.
#
# </details>

# %% [markdown]
# ## 3 · Noise with a promise: differential privacy
#
# *Idea*: training is $(\varepsilon, \delta)$-**differentially private** if no outcome becomes more
# than $e^\varepsilon$ times as likely, up to $\delta$, when one row is left out. DP-SGD clips each
# row's gradient $g_i$ to the length $C$ and adds noise to every step (Abadi et al. 2016):
# $$\theta \leftarrow \theta - \frac{\eta}{B}\Big( \textstyle\sum_i g_i \min\big(1,
# \tfrac{C}{\lVert g_i \rVert}\big) + \sigma C z \Big).$$
# $\eta$ is the rate, $B$ the size of a batch, $z$ normal noise; an accountant turns $\sigma$ and
# the number of steps into $\varepsilon$.
#
# The promise is about **one** row. Somebody who withdraws $k$ rows has
# $\big(k\varepsilon,\ \delta \sum_{i<k} e^{i\varepsilon}\big)$.
#
# **Exercise 11.2** (difficulty 2, 10 minutes). Compute both; a $\delta$ above 1 counts as 1.

# %%
@exercise("11.2")
def after_deletions(epsilon, delta, k):
    """What (epsilon, delta)-DP for one row promises for k rows: both values. float, float, int ->
    (float, float)
    """
    ...  # your code

# %%
# NBVAL_CHECK_OUTPUT
mine, theirs = after_deletions(0.5, 1e-6, 4), defend.group_epsilon(0.5, 1e-6, 4)
print("labkit's simpler bound is not smaller:", mine[0] == theirs[0] and mine[1] <= theirs[1])

# %%
least, loose = min(cfg.epsilons), math.inf
sampled = cfg.private["batch_size"] / n  # chance of a row to be in a batch
sigma = {e: here.noise_for(e, 1e-5, sampled, round(cfg.private["epochs"] / sampled))
         for e in cfg.epsilons}
promise = {rows: after_deletions(least, 1e-5, rows) for rows in (1, 2, 4, 8, BUDGET)}
lab.table(pd.DataFrame([{"rows withdrawn": rows, "ε": e, "δ": f"{d:.2g}"}
                        for rows, (e, d) in promise.items()]),
          f"What ε = {least:g} for one row promises for more", 0)
void = next((rows for rows in range(1, BUDGET + 1)
             if after_deletions(least, 1e-5, rows)[1] >= 1), None)
lab.say(f"{cfg.private['epochs']} epochs take noise of σ = {sigma[least]:.2f} for ε = {least:g}.",
        f"From {void} rows on this bound has δ = 1, which allows anything: it is void." if void
        else f"At {BUDGET} rows δ is still below 1.",
        f"A request here may have {BUDGET}.")

# %% [markdown]
# A provider with such a network unlearns in two ways, and each meets its attacker.
#
# **A step of ascent** on the deleted row comes *after* the training that the promise is about. Only
# if the step is clipped and noised too ("private step") is it covered. The adaptive inverter
# averages ten releases of that step.
#
# **Training again**, privately, with noise of its own. The attack is that of notebook 03:
#
# > **Threat model** (requests). **Who** somebody who owns half of the training rows.
# > **Sees** the weights, the target, its rows, and the recipe.
# > **May** ask to delete 3 % of all rows, a whole request. An adaptive attacker knows the clipping,
# > and chooses by what it lets through of each row's gradient (run at the finite ε only).
# > **Wants** another label for one target.

# %%
victims = lk.training.parallel(partial(attack.victim, data, train=train, targets=cfg.targets,
                                       budget=BUDGET), judged + tuning)
influence = dict(damping=cfg.weight_decay, **here.INFLUENCE)
shrink = here.shrinkage([attack.influence_against_retraining(
    v, train, {"flip": attack.label_flip}, targets=min(4, cfg.targets), **influence)
    for v in victims[len(judged):]])  # how much influence overstates, from splits not judged
setting = here.Setting(build, sigma, cfg.private, shrink, cfg.weight_decay, cfg.private_targets)
private = here.private_trials(victims[: len(judged)], worlds, setting)
lab.figure(here.privacy_figure(figures, private, cfg.epsilons),
           "Networks trained with DP-SGD at each ε. Left: gain of inverting an ordinary step of "
           "ascent, a private step, and ten private steps averaged. Right: share of labels flipped "
           "by random, chosen and aware requests, with intervals.")

# %%
pseeds = private.seeds
gain = {(e, c): here.in_dB(private.of(e, c), pseeds) for e in (loose, least)
        for c in ("ascent", "noisy", "averaged")}
grey = np.concatenate([here.gains(w, w.data.mean.expand_as(w.pixels)) for w in worlds])
steps = int(private.of(least, "steps")[0])
spent = [here.Spent(math.nan, 1e-5, sigma[least], steps, sampled),
         here.Spent(math.nan, 1e-5, sigma[least], 1, 1.0)]
lab.say(f"*Inversion*, by its gain:\n- an ordinary step of ascent: {gain[least, 'ascent']} at "
        f"ε = {least:g}, {gain[loose, 'ascent']} without noise in training;\n"
        f"- a private step: {gain[least, 'noisy']}; ten of them averaged: "
        f"{gain[least, 'averaged']}; clipped only, without noise: {gain[loose, 'noisy']};\n"
        "- a flat picture of the mean brightness, which knows nothing of the row: "
        f"{here.in_dB(grey, judged)}.\n\nThe noise of a private step is at least "
        f"{sigma[least] * len(before)**0.5:.0f} times its update, and was not tried after ordinary "
        "training.",
        f"The training and one private step together promise ε = {here.composed(spent, 1e-5):.1f}, "
        f"with ten steps ε = {here.composed(spent + 9 * spent[1:], 1e-5):.1f}.")

# %%
added = {(e, who): private.beyond(e, who) for e, who in
         ((loose, "chosen"), (least, "chosen"), (least, "aware"))}
lab.say("*Requests*, flips less those of a random request: "
        f"{here.percent(added[loose, 'chosen'], pseeds, (-100, 100))} % of targets without noise, "
        f"{here.percent(added[least, 'chosen'], pseeds, (-100, 100))} % at ε = {least:g}, "
        f"{here.percent(added[least, 'aware'], pseeds, (-100, 100))} % by who knows the clipping.",
        "In this run the attack is " + "not " * (here.sides(
            added[loose, "chosen"], pseeds, limits=(-1, 1)) != "above")
        + "shown to work without noise.")
lab.say_committed("Over the committed runs, flips without noise less those with it, in shares of "
                  "the targets: {def-dp.requests} for chosen requests; {def-dp.choice} for what "
                  "they flip beyond random ones. *Below 0, more labels flip with the noise.*")
ordinary = [here.test_accuracy(v.model, v.data) for v in victims if v.seed in pseeds]
lab.say(f"*The price*: {lk.measure.show_interval(ordinary)} % of the test rows are right after "
        f"ordinary training, {lk.measure.show_interval(private.of(loose, 'accuracy'))} % clipped "
        f"only, {lk.measure.show_interval(private.of(least, 'accuracy'))} % at ε = {least:g}.")

# %% [markdown]
# With noise in training a label may flip whoever asks. That is no success of the attacker, and no
# protection of the target either.
#
# **Take with you.** A promise is about an outcome, a number of rows and a number of releases. Ask
# for all three.
#
# **Check yourself.** The network is private, and the row comes out of a step of ascent all the
# same. Was the promise broken?
#
# <details><summary>Answer</summary>
#
# No. It speaks of what training lets out. The step uses the row once more: another release, to be
# paid for in $\varepsilon$ as well.
#
# </details>

# %% [markdown]
# ## 4 · Pruning
#
# *Idea*: set the half of the weights with the smallest magnitude to zero. For a pruned weight the
# difference is no longer an update: it is $-\theta$, and that is much larger and drowns the rest.
#
# *What breaks it*: a zero can be seen. The adaptive inverter leaves those weights out. Let $W$
# (units × inputs) and $b$ (units) be the updates of the first layer's weights and biases, and
# $m_{ij} = 1$ where the released weight is not zero. Then
# $$x_j = \frac{\sum_i m_{ij}\, b_i W_{ij}}{\sum_i m_{ij}\, b_i^2}.$$
# It is the mean of $W_{ij} / b_i$, weighted by $b_i^2$.
#
# **Exercise 11.3** (difficulty 3, 12 minutes). Write this closed form. An input that no kept weight
# reads comes out as 0. From here on the inverters of the sections use yours, and fill such inputs
# with the class mean, which they know.

# %%
@exercise("11.3")
def masked_leak(weight, bias, kept):
    """The input of a layer from its update, by the weights that were kept alone. weight (h, d),
    bias (h,), kept (h, d) bool -> (d,)
    """
    ...  # your code

# %%
# NBVAL_CHECK_OUTPUT
aim = attack.difference(theta, theta_u)
mine = here.by_closed_form(w, aim, None, masked_leak)
print("with everything kept it is labkit's closed form:",
      torch.allclose(mine, attack.leak(theta, aim), rtol=1e-6, atol=1e-9))

# %%
names = {f"{100 * share:g} %": f"pruning {100 * share:g} %" for share in here.PRUNED}
pruned = here.sweep(worlds, extra, names.values(), masked_leak)
both = {"plain": "plain", "masks zeros": "adaptive"}
lab.figure(here.before_and_after(w, j, pruned, names, both),
           "A deleted picture, rebuilt with a tenth, half and nine tenths of the weights pruned by "
           "the plain inverter and by one who masks the zeros, and the class mean.")
HALF, MOST = "pruning 50 %", "pruning 90 %"
spent = 1000 * here.seconds(lambda: here.prune(theta_u, 0.5))
lab.say(f"Half of the weights pruned: {here.told(pruned.gain(HALF), pruned.seeds)} for who does "
        f"not look, {here.told(pruned.gain(HALF, 'adaptive'), pruned.seeds)} for who masks the "
        "zeros.",
        f"Nine tenths pruned: {here.told(pruned.gain(MOST, 'adaptive'), pruned.seeds)} with the "
        "mask.",
        f"*The price*: test accuracy changes by {pm(pruned.price(HALF))} points at half and by "
        f"{pm(pruned.price(MOST))} at nine tenths; {spent:.0f} ms a release.")

# %% [markdown]
# **Take with you.** A defence that marks what it changed tells the attacker what to leave out.
#
# **Check yourself.** Why does the mask work so well with half of the weights gone, when half of the
# update is gone with them?
#
# <details><summary>Answer</summary>
#
# Every input is read by many units, and each unit that is awake tells the whole input. One kept
# weight an input is enough, as long as that unit's bias moved.
#
# </details>

# %% [markdown]
# ## 5 · Fine-tuning
#
# *Idea*: train on for some mini-batches, on rows that may be used, before the release. The weights
# then move along a path of their own, and the update is a small part of the difference.
#
# Two adaptive attackers try to get rid of the path.
#
# - One **imitates** it: it fine-tunes the old model in the same way, on public rows of its own, and
#   subtracts that movement.
# - One does not look at weights at all. It **hunts** for the picture whose loss *rose* most:
#   $$\max_x\ \ell(x; \theta_r) - \tfrac{1}{M} \textstyle\sum_m \ell(x; \theta_m) - \alpha\, u(x).$$
#   $\ell$ is the loss with the deleted row's label, $\theta_m$ the old model, or $M$ imitations of
#   the provider's fine-tuning; $u$ is the prior of exercise 5.5, small for pictures that are usual
#   for their class, and $\alpha$ its weight.
#
# **Exercise 11.4** (difficulty 4, 20 minutes). Write one step of the hunt: each pixel moves by
# `size` along the sign of the gradient, and stays in $[0, 1]$. `prior` holds $\alpha u$.

# %%
@exercise("11.4")
def climb(images, label, released, others, prior, size):
    """One step uphill. images (n, …) in [0, 1], label (n,); released, and each of the list others:
    images -> logits (n, k); prior: images -> (n,) -> images (n, …) without gradient
    """
    ...  # your code

# %% [markdown]
# **Predict before you run.** The imitator takes the provider's steps, rate and batch size, on other
# public rows, five times, and subtracts the mean of the five paths. How alike are it and the
# provider's path after twenty steps?
#
# - a) much: a cosine above 0.5, and subtracting uncovers the update;
# - b) a little: a cosine between 0 and 0.5;
# - c) not at all: a cosine of 0 or below, and subtracting makes the difference longer.

# %%
names = {f"{steps} step{'s' * (steps > 1)}": f"fine-tuning {steps}" for steps in here.STEPS}
tuned = here.sweep(worlds, extra, names.values(), masked_leak)
plan = here.rehearse_hunt(extra, climb, ["none", *names.values()])
hunted = here.hunts([w for w in worlds if w.seed in tuned.seeds], climb, plan)
hunt = {name: np.concatenate([here.gains(w, hunted[w.seed, name]) for w in worlds
                              if w.seed in tuned.seeds]) for name in plan}
lab.figure(here.before_and_after(w, j, tuned, names, {"plain": "plain", "imitates": "adaptive",
                                                      "hunts": "hunting"}, hunted),
           "A deleted picture, rebuilt after 1, 5 and 20 steps of fine-tuning by the plain "
           "inverter, by one who imitates and by one who hunts, and the class mean.")

# %%
TUNED, tseeds = f"fine-tuning {here.STEPS[-1]}", tuned.seeds
alike = np.array([here.alike(w, here.STEPS[-1]) for w in worlds if w.seed in tseeds])
_, low, high = lk.measure.interval(alike, limits=(-1, 1))
right = ("a" if low > 0.5 else "c" if high <= 0 else "b" if low > 0 and high <= 0.5 else None)
lab.say(f"The cosine of the two paths is {lk.measure.show_interval(alike, limits=(-1, 1))}. "
        + (f"If you said {right}), you were right." if right else "It leaves the answer open.")
        + " Subtracting one path from the other makes it longer." * (right == "c"),
        "In this run fine-tuning leaves " + ", ".join(
            f"{here.told(tuned.gain(name), tseeds)} after {title}" for title, name in names.items())
        + " to the plain inverter; after the last of these, "
        f"{here.told(tuned.gain(TUNED, 'adaptive'), tseeds)} to the imitator, and "
        f"{here.told(hunt[TUNED], tseeds)} to the hunter.")
lab.say_committed("Over the committed runs, fine-tuning lowers the share of pictures that the "
                  "plain inverter rebuilds by {def-finetune.rebuilt}.")

# %%
_, weight, rehearsed = plan[TUNED]
works = here.sides(hunt["none"], tseeds) == "above"
lab.say(f"*The hunter* rehearsed α from {here.WEIGHTS[0]} to {here.WEIGHTS[-1]}, in spreads of the "
        f"rise over public rows. After {here.STEPS[-1]} steps it takes {weight}"
        + ", the heaviest" * (weight == here.WEIGHTS[-1])
        + f" ({rehearsed:+.1f} dB there). Where nothing is defended it takes "
        f"{plan['none'][1]} and gains {here.in_dB(hunt['none'], tseeds)}: "
        + ("it works there." if works else "it is not shown to work even there, so what it fails "
           "to find says nothing of fine-tuning."))
spent = here.seconds(lambda: here.finetune_release(theta_u, *w.kept, steps=20, lr=0.01, seed=0))
lab.say(f"*The price*: test accuracy changes by {pm(tuned.price(TUNED))} points, and a release "
        f"takes {1000 * spent:.0f} ms.")

# %% [markdown]
# **Take with you.** "No attack worked" says something only if the attack works where nothing is
# defended.
#
# **Check yourself.** The imitator subtracts a path that has the same steps, rate and batch size.
# Why is so much left?
#
# <details><summary>Answer</summary>
#
# Other rows in other batches make another path; the cosine above says how much the two share. A
# likely reason: the old network was trained on the rows of both. Where training ends, the gradients
# of one half and of the other nearly cancel, so that their paths part.
#
# </details>

# %% [markdown]
# ## 6 · Only answers (optional)
#
# > **Threat model.** **Who** the same server.
# > **Sees** the weights before, and after the deletion only *changed* answers.
# > **May** ask both models about inputs of its choice; knows, if adaptive, how answers were
# > changed.
# > **Wants** the deleted row's class.
#
# The attacker asks about ten probes a class, inputs the old model is sure about, and names the
# class whose confidence falls most. Answers are rounded, cut to the top three, to the label, or
# taken at a temperature $T$: $\mathrm{softmax}(z / T)$. An adaptive attacker undoes the
# temperature: logarithms of answers are logits, up to a constant and the factor $1/T$.

# %%
alive = [w for w in worlds if w.seed in tuned.seeds]
found = [here.named(w) for w in alive]
named = {key: np.concatenate([one[key] for one in found]) for key in found[0]}
aseeds, guess = [w.seed for w in alive], 1 / k
lab.table(pd.DataFrame([{"what is let out": name, **{who: here.percent(named[name, who], aseeds)
                                                     for who in ("plain", "adaptive")},
                         **{what: f"{v:.2g}" for what, v in
                            here.harm(theta, w.data, name).items()}} for name in here.ANSWERS]),
          f"Deleted class named, % of the deleted rows (a guess: {100 * guess:.0f} %); and what "
          "honest people get (one network)")
lab.say(f"At T = 0.3 the plain attacker names {here.percent(named['T = 0.3', 'plain'], aseeds)} %, "
        f"who takes logarithms {here.percent(named['T = 0.3', 'adaptive'], aseeds)} %.")

# %% [markdown]
# **Take with you.** What has an inverse hides nothing from somebody who knows it.
#
# **Check yourself.** What can an attacker undo, a temperature or a rounding?
#
# <details><summary>Answer</summary>
#
# The temperature: it is a function that has an inverse. Rounding throws digits away, of *these*
# answers. It need not hide the deletion: an input whose old answer lies at the edge of a rounding
# shows a small change, and nobody here searched for such probes.
#
# </details>

# %% [markdown]
# ## 7 · Who withstands what
#
# The defences in one picture, each attack with its own measure of success. Tools and the noise's
# strength come from rehearsals on other splits; against private training the best tool is taken on
# the judged rows, in the attacker's favour.

# %%
swept = here.together(noisy, pruned, tuned)
outcome = here.outcomes(swept, private, named, NOISE, loose, least)
lab.figure(here.who_withstands(figures, outcome, 100 * guess),
           "Success of inversion, naming the class and requests, a panel each: without a defence, "
           "with it, and against an attacker who knows it, with 95 % intervals.")
works = {name: x for name, x in outcome.items()
         if here.spread(x.undefended, x.seeds, here.LIMITS[x.kind])[1]
         > 100 * guess * (x.kind == "answers")}
holds, partly, plainly, never = here.withstanding(works, guess)
lab.say("A defence *withstands* an attacker if it takes more than half of the success.\n"
        f"- Withstands both, in each of the {len(swept.seeds)} networks: "
        f"{', '.join(holds) or 'none'}.\n- Both, in some networks only: "
        f"{', '.join(partly) or 'none'}.\n- Only who does not know it: "
        f"{', '.join(plainly) or 'none'}.\n- Not even that one, in any network: "
        f"{', '.join(never) or 'none'}.\n" + (
            "- Not judged, as the attack is not shown to work without the defence: "
            f"{', '.join(name for name in outcome if name not in works)}.\n"
            if len(works) < len(outcome) else ""),
        "\nThese are counts, with wide intervals, of pictures *rebuilt* (5 dB): noise that passes "
        "here need not *stop* (1 dB) an attacker who averages.")

# %% [markdown]
# **Is the row still unlearned** in what is released? Its loss should be no lower than under a
# network *retrained without it*. But fine-tuning lowers the loss of rows that it never saw, too. So
# each release is compared with the retrained network *after the same change*, with the same draws.

# %%
rows, fallen, again = here.still_unlearned(worlds, swept, ("none", NOISE, HALF, TUNED))
lab.table(pd.DataFrame(rows), "Loss of the deleted row less that before the deletion")
lab.say("In this run the loss of most rows lies below what it was before the deletion under: "
        f"{', '.join(fallen) or 'none'}; and below that of the retrained network with the same "
        f"change, so that it looks learned again, under: {', '.join(again) or 'none'}.",
        f"Retraining alone raises the loss by {rows[0]['retrained, same change']}; a row that was "
        "hardly learned can hardly look learned again.")

# %% [markdown]
# **Explore.** One deleted row under each defence, as both inverters see it.

# %%
names = [name for name in here.DEFENCES if name != "none"]
shown = next(w for w in worlds if w.seed in swept.seeds)
figure, redraw = here.panel(shown, swept)
panel = widgets.explorer(figure, redraw, defence=widgets.slider("defence", names, "pruning 50 %"),
                         row=widgets.slider("deleted row", list(range(cfg.targets)), 0))
lab.figure(figure, "The explorer: a deleted row, what the plain and the adaptive inverter rebuild "
                   "under the defence chosen, and the class mean, with PSNRs.")
lab.say(redraw("pruning 50 %", 0))
panel

# %% [markdown]
# **Check yourself.** Why must the plain attacker stand in the figure beside the adaptive one?
#
# <details><summary>Answer</summary>
#
# The distance between the two is what rests on a secret. Where it is large, the defence lasts until
# somebody reads the code.
#
# </details>

# %% [markdown]
# ## 8 · Project: a release rule
#
# Now a provider deletes **harder**, with a step fifty times as large. What should be done to
# $\theta_u$ before the release? A good rule hides the update, costs little, **and leaves the row
# deleted**: its loss is not below that of a network retrained without it and changed likewise.
#
# Three attackers judge your rule, each with its best tool: one takes a single release (*plain*);
# one averages ten and leaves zeros out (*averaging*); one also runs your rule on the old model with
# rows of its own, and subtracts what it does (*imitating*).
#
# **Exercise 11.5** (difficulty 5, 25 minutes). Inside your function define `rule(model, size, x, y,
# seed)`: the network after the deletion, the rms of its update, rows that may be used, and another
# seed for each release; it gives the network to be released. Then `return publish(rule)`.
# `here.add_noise`, `here.prune` and `here.finetune_release` are yours to use. Tune it under another
# name, without `@exercise` (a rule that does not pass is replaced by the course's): `publish =
# here.harder(extra)`, or `here.harder(extra, step=0.4)`, then `publish.judge(my_rule(publish))`.
# Whether the row stays deleted, the mark does not ask: `publish.rise(my_rule(publish))` is not
# below 0.
#
# A row's gain below 0 is a picture worse than the class mean. That mean is free: it counts as 0.
#
# *Judged by* its **mark**, at most 0: minus the best attacker's mean gain in dB, if the rule costs
# at most three points of accuracy against the old network, on two deletions with a step eight times
# as large again, in a network of fewer rows. It has to get half of the way from the best single
# defence to the course's rule. Once it passes, the table below has it.

# %%
@exercise("11.5")
def release_rule(publish):
    """Releases by a rule of your own. publish(rule) -> what the attackers get; rule(model, size, x,
    y, seed) -> model
    """
    ...  # your code

# %%
desks = [here.harder(w, cfg.harder[1]) for w in worlds if w.seed in swept.seeds][: cfg.harder[0]]
rules = {"no defence": BASELINES[0], "noise × 10": BASELINES[1], "pruning 50 %": BASELINES[2],
         "fine-tuning 40": BASELINES[3], "the course's": course_rule}
if release_rule is not course_rule:
    rules["yours"] = release_rule
tried = {name: [(d.price(out), d.gains(out), d.rise(out)) for d in desks for out in [rule(d)]]
         for name, rule in rules.items()}
lost = {name: np.mean([price for price, *_ in runs]) for name, runs in tried.items()}
best = {name: {who: np.mean([gains[who].mean() for _, gains, _ in runs]) for who in runs[0][1]}
        for name, runs in tried.items()}
rise = {name: np.mean([up for *_, up in runs]) for name, runs in tried.items()}
mark = {name: mark_of(rule) for name, rule in rules.items()}
lab.table(pd.DataFrame([{"rule": name, **best[name], "accuracy lost, points": lost[name],
                         "row's loss above retraining": rise[name],
                         "mark, judge's network": mark[name]} for name in rules]),
          "Mean gain, dB, smaller step; accuracy against the old network; the row's loss less that "
          f"of a retrained one under the same rule; the mark ({here.TOO_DEAR:g}: too dear)", 2)

# %%
cheap = [name for name in rules if lost[name] <= here.PRICE]
undone = [name for name in rules if rise[name] < 0]
holding = [name for name in cheap if name not in undone and max(best[name].values()) < 1]
single, ours = max(list(rules)[: len(BASELINES)], key=mark.get), mark["the course's"]
lab.say(f"The best mark of a single defence is {mark[single]:.2f} ({single}), the course's "
        f"{ours:.2f}; half of the way, which the judge asks for, is {(mark[single] + ours) / 2:.2f}"
        + (f", and yours is {mark['yours']:.2f}." if "yours" in rules else "."))
lab.say("By the means over the networks the deletion looks undone (a loss below what "
        f"retraining and the rule give) under: {', '.join(undone) or 'none'}. For at most "
        f"{here.PRICE:g} points all three attackers are stopped (below 1 dB), with the row still "
        f"deleted, under: {', '.join(holding) or 'none'} (the judge's step is larger).")

# %% [markdown]
# **Check yourself.** A provider could release the *old* network, and no attacker would see a
# difference. Why does your rule not get it?
#
# <details><summary>Answer</summary>
#
# Nothing hides the update better, but nothing is deleted. So your rule is handed the network after
# the deletion alone, and the column before the marks asks whether it brings the row back.
#
# </details>

# %% [markdown]
# ## What would fool you
#
# **An attacker who does not adapt.** Judged by the plain inverter alone, a defence that hides the
# row and one that moves it out of sight look alike.
#
# **A defence tried on one thing.** DP-SGD's accountant counts no later step of ascent.

# %% [markdown]
# ## What was tested
#
# Rows of one network are one cluster, and three networks cannot decide a share: even all rows
# against none is "undecided" in one run. The column "all committed runs" decides. A "target" is a
# deleted row, of requests a label, of accuracy a network. Hunter, answers, project and whether
# a row is still unlearned are not claimed.

# %%
def claim(name, parts, seeds):
    """Judge a claim whose parts are numbers a row, or a network, in the order of the seeds."""
    return lab.claim(name, parts, clusters={p: here.of(x, seeds) for p, x in parts.items()})


bare = near(private.of(loose, "ascent"))
claim("def-noise", {"psnr": noisy.gain(NOISE), "averaged": noisy.gain(NOISE, "adaptive"),
                    "accuracy": -noisy.price(NOISE)}, noisy.seeds)
claim("def-prune-adaptive", {who: near(pruned.gain(HALF, who)) for who in ("plain", "adaptive")},
      pruned.seeds)
claim("def-finetune", {"rebuilt": near(tuned.gain("none")) - near(tuned.gain(TUNED)),
                       "accuracy": tuned.price(TUNED)}, tseeds)
_ = claim("def-dp", {"inversion": bare - near(private.of(least, "ascent")),
                     "requests": private.of(loose, "chosen") - private.of(least, "chosen"),
                     "choice": added[loose, "chosen"] - added[least, "chosen"],
                     "aware": private.of(loose, "chosen") - private.of(least, "aware"),
                     "step": private.of(least, "noisy"),
                     "accuracy": private.of(loose, "accuracy") - private.of(least, "accuracy"),
                     "epsilon": private.of(least, "spent")}, pseeds)

# %%
lab.record("answers", {f"{name}, {who}": float(x.mean()) for (name, who), x in named.items()})
lab.record("hunter", {name: {"gain": x.tolist(), "base": plan[name][0], "prior": plan[name][1]}
                      for name, x in hunt.items()})
lab.record("rules", {name: best[name] | {"accuracy": lost[name]} for name in rules})
lab.record("success", {name: {who: float(getattr(x, who).mean()) for who in
                              ("undefended", "plain", "adaptive") if getattr(x, who) is not None}
                       for name, x in outcome.items()})
knows = {"noise × 30 averaged": (noisy.gain("noise × 30", "adaptive"), noisy.seeds),
         "90 % pruned, masked": (pruned.gain("pruning 90 %", "adaptive"), pruned.seeds),
         f"{TUNED}, path imitated": (tuned.gain(TUNED, "adaptive"), tseeds),
         "private step, ten averaged": (private.of(least, "averaged"), pseeds)}
lab.claims_table()

# %% [markdown]
# ## The answer
#
# What helps in what is released: noise, pruning, fine-tuning, answers, privacy?

# %%
lab.say_committed(
    "*Pictures*, over the committed runs, in dB over the class mean (stopped below 1, rebuilt from "
    "5 on). Noise that stops one release in rehearsal: {def-noise.psnr}; ten of its releases "
    "averaged: {def-noise.averaged}. A private step after private training: {def-dp.step}.",
    "Share of the pictures rebuilt with half of the weights pruned: {def-prune-adaptive.plain} by "
    "who does not look, {def-prune-adaptive.adaptive} by who masks the zeros. From what is rebuilt "
    "without a defence, fine-tuning takes {def-finetune.rebuilt} from the plain inverter; before "
    "an ordinary step, noise in training takes {def-dp.inversion}.")
lab.say("In this run, by who knows the defence:", *here.verdicts(knows),
        f"Most rows look learned again (a weak test) under: {', '.join(again) or 'none'}.")
lab.say("*Answers.* In every network of this run more than half of the lead over a guess is taken "
        "from both attackers, with these probes, by: " + (", ".join(
            f"{name[9:]} (class named in {here.percent(outcome[name].adaptive, aseeds)} %)"
            for name in holds if name.startswith("answers")) or "none") + ".")
lab.say_committed("*Requests*, over the committed runs: flips without noise less those with it are "
                  "{def-dp.requests}, beyond random requests {def-dp.choice}; below 0, more flip "
                  "with noise. Its cost beyond clipping, in points of accuracy: {def-dp.accuracy}.")
lab.say("In this run private training costs "
        f"{pm(ordinary - private.of(least, 'accuracy'))} points against ordinary training.",
        "*Large deletions.* By this run's means all attackers are stopped, and the row stays "
        f"deleted, for at most {here.PRICE:g} points, by: {', '.join(holding) or 'none'}.")
lab.say("Not shown: that fine-tuning hides a row from everybody. An attacker with the provider's "
        "rows and their order, probes at the edge of a rounding, more than ten releases, larger "
        "networks and convolutions were not tried, nor exact retraining, whose difference can leak "
        "too (notebook 05).")

# %% [markdown]
# **Read on**: [Hu et al. 2024](https://arxiv.org/abs/2404.03233), for the three defences and their
# cost; [Abadi et al. 2016](https://arxiv.org/abs/1607.00133), for DP-SGD and its accountant;
# [Carlini and Wagner 2017](https://arxiv.org/abs/1705.07263), for why a defence must be judged by
# an attacker who knows it.
#
# **Next**: notebook 12 asks whether sparse models forget better.
