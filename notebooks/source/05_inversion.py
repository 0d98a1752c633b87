# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 · Inversion: does the deletion give away what was deleted?
#
# In notebooks 03 and 04 lawful requests did harm. Now the requests are honest, and the danger lies
# with whoever keeps the old model. There are two sets of weights, from before the deletion and from
# after. **Do they give the deleted row away?**
#
# You will
# - rebuild deleted pictures from two sets of weights, and compare with what anyone could guess;
# - see why a difference of weights is a gradient, and write the attack that uses it;
# - find out when exact retraining leaks too, and which rows leak most;
# - rebuild a patient's row from two linear models, with a formula of your own;
# - give the attack a prior of your own, and measure what it adds.
#
# *Time*: about a minute and a half to run, three hours to work through.
# *You need*: notebook 01; notebook 02 helps.
# *Papers*: Hu et al. 2024, [Learn What You Want to Unlearn](https://arxiv.org/abs/2404.03233);
# Bertran et al. 2024, [Reconstruction attacks on machine
# unlearning](https://arxiv.org/abs/2405.20272); Geiping et al. 2020 (inverting gradients). The
# tables of Hu et al. could not be read here, so none of their figures is compared; the set-up
# follows their released code.
# *Words*: [glossary](../docs/glossary.md).

# %% tags=["parameters"]
profile = "quick"  # smoke | quick | full | paper
dataset = "fashion"  # any image set of labkit.data.names(), or folder:PATH
seed = 0  # everything random is spawned from it
seeds = None  # number of judged seeds; None: the profile's own

# %%
from functools import partial

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

import labkit as lk
from course import Lab, exercise, figures, widgets
from course.chapters import inversion as here
from course.chapters.inversion.exercises import with_a_prior as worked
from labkit import attack
from labkit.measure import psnr

lab = Lab("inversion", profile=profile, dataset=dataset, seed=seed, seeds=seeds)
figures.style()

# %%
cfg = lab.settings(
    quick=dict(nets={"mlp": dict(hidden=64), "strided_cnn": {}, "small_cnn": {}},
               rows=(6000, 2000), epochs=5, lr=0.05, seeds=4, deleted=6, steps=150,
               sweep_steps=60, epochs_tried=(1, 5, 10), sizes=(8, 64, 256),
               linear_seeds=4, linear_rows=8),
    smoke=dict(nets={"mlp": dict(hidden=24), "strided_cnn": {}, "small_cnn": {}},
               rows=(1000, 500), epochs=1, seeds=2, deleted=2, steps=10, sweep_steps=10,
               epochs_tried=(1, 5), sizes=(8, 64),
               linear_seeds=2, linear_rows=2),
    full=dict(rows=(9000, 3000), epochs=8, seeds=5, deleted=8, steps=1000, sweep_steps=200),
    paper=dict(rows=None, epochs=120, steps=10000, sweep_steps=1000))
data = lab.load(at_most=cfg.rows, moments="test", large="rows")
judged, tuning = lab.seeds(cfg.seeds, "judge"), lab.seeds(1, "tune")
if profile == "quick" and data.x[0].numel() > 1000:
    judged = judged[:3]  # as large pictures take longer
lab.require(len(data.shape) == 3 and len(data.y) >= 900 and min(data.shape[1:]) >= 16,
            "Notebook 05 rebuilds pictures: it needs 900 training images of at least 16 × 16 "
            "pixels.")

# %% [markdown]
# ## 1 · What comes out
#
# As in Hu et al., a **provider** takes a network that was trained on public rows, $\theta_0$, and
# fine-tunes it on a few private ones. That gives $\theta$. Then one person withdraws a private row,
# and the provider unlearns it: $\theta_u$. A **server** stores and serves both models for the
# provider, and never held the private rows; all that it has of the deletion is the **update**
# $\Delta = \theta_u - \theta$.
#
# > **Threat model.** **Who** the server, or anyone else who kept the model from before.
# > **Sees** the weights before and after, $\theta$ and $\theta_u$, and public rows with labels.
# > **May** compute anything. It knows the network, the deleted row's label, and the *kind* of
# > unlearning, ascent or another, and it may rehearse with the provider's recipes; not the
# > private rows or their order.
# > **Wants** the picture that was deleted.
#
# The server of Hu et al. is not told the method; ours rehearses one setting of its search for each
# kind. Here is one deletion, from beginning to end, on `strided_cnn`, a small convolutional
# network. The unlearning is one step of gradient ascent on the row's loss (notebook 01).

# %%
worlds, rehearsal = here.prepare(data, judged, tuning[0], cfg)  # θ_0 for each split of the data
w = worlds[0]
theta = here.tune(w, here.CNN, list(range(32)))  # fine-tuned on 32 private rows, in float64
theta_u = here.ascend(w, theta, 0)  # one step of ascent unlearns private row 0

delta = attack.difference(theta, theta_u)  # the update: all that the server needs
found = attack.invert(theta.float(), delta[None], w.label[:1, None], shape=data.shape,
                      mean=data.mean, std=data.std, steps=cfg.steps, seed=w.seed)
first = found.images[0, 0]
original, mean = w.pixels[0], w.means[w.label[0]]
fig = here.gallery([[original, first, mean]], titles=("deleted", "rebuilt", "class mean"), size=2,
                   under=[["", here.decibels(first, original), here.decibels(mean, original)]])
lab.figure(fig, "One deleted picture, what the server rebuilds from the two sets of weights, and "
                "the mean public picture of the class, the last two with their PSNR.")
ahead = psnr(first, original).item() - w.guess[0].item()
lab.say(f"The server never saw the picture on the left. What it rebuilt is {abs(ahead):.0f} dB "
        f"{'nearer to it' if ahead > 0 else 'further from it'} than the mean picture of its class.")

# %% [markdown]
# PSNR is $-10 \log_{10}$ of the mean squared error of pixels in $[0, 1]$: 10 dB more is a tenth of
# the error, and 100 dB is the most that is counted. The class mean is what anyone can guess who
# knows the label, and what an attack adds to its PSNR is the **gain**.
#
# The search has two settings: the weight of a *prior* that prefers smooth pictures, and whether a
# step follows the gradient or only its sign. The attacker rehearses both where it plays the
# provider: with a *clean* update (a step of ascent) and a *noisy* one (training again without the
# row, which also stands for all other kinds). Our rehearsal splits the same rows anew, judged
# private ones included: more than the box grants, though only these settings are kept of it.

# %%
attacker, tried = here.rehearse(rehearsal)
lab.table(here.rehearsal_table(tried), "Rehearsal: mean PSNR, dB")
lab.say(here.rehearsal_told(attacker, tried, rehearsal))

# %% [markdown]
# Now every seed: a split, networks and deleted rows of its own. The first rows of each private pool
# are deleted, each in a request of its own, whatever they are. The bottom row is a control: the
# same attack with the right label and the update of *another* request. Beside the PSNR stands the
# SSIM, which compares structure in small windows; 1 means equal.

# %%
looks = lk.training.parallel(partial(here.first_look, attacker), worlds)
rebuilt, control, float32 = here.look_gains(worlds, looks)  # in dB over the class mean
of_seed = [w.seed for w in worlds for _ in w.rows]
pm = partial(here.pm, clusters=of_seed)  # mean [95 % interval over the means of the seeds]
originals, made = here.overview(worlds, looks)
lab.figure(here.beside(made, originals),
           "Deleted pictures; below them what the server rebuilds, the class mean, and what the "
           "attack makes of another request's update, each with its PSNR.")
ours, means = here.likeness(worlds, looks)
lab.say(f"Over all {len(rebuilt)} deleted rows the gain is {pm(rebuilt)} dB, and the structural "
        f"similarity (SSIM) {ours:.2f} against {means:.2f} for the class mean.",
        f"{int((rebuilt >= 5).sum())} of {len(rebuilt)} pictures are at least 5 dB nearer than the "
        f"class mean; the smallest gain is {rebuilt.min():.1f} dB.",
        f"With the update of another row it is {pm(control)} dB, {pm(rebuilt - control)} dB less"
        + here.tell(rebuilt - control, of_seed, ": what the attack shows comes from the update.",
                    "; that is not decided here.", "."),
        f"(The first picture had {here.decibels(first, original)} above, from other noise and with "
        "another weight of the prior.)")

# %% [markdown]
# **Check yourself.** Why is the row *wrong request* needed, when the row *class mean* is there?
#
# <details><summary>Answer</summary>
#
# The class mean shows what the label alone is worth. Label, prior and network together might draw
# something plausible without any deletion. The wrong request has all three and the wrong update.
#
# </details>

# %% [markdown]
# ## 2 · Why a difference is a gradient
#
# One step of ascent adds a multiple of the gradient of the deleted row:
# $$\theta_u - \theta = \eta\, \nabla_\theta \ell(x^*; \theta).$$
# $x^*$ is the deleted row, $\ell$ its loss, $\eta$ the size of the step. The size is not known, and
# the attack looks only at directions.
#
# Exact unlearning is less simple. Let $\theta$ come from *one* step from $\theta_0$ with all $N$
# private rows, and $\theta_u$ from one step with the $N - 1$ others. Then the **plain difference**
# is
# $$\theta_u - \theta = \tfrac{\eta}{N}\,(g^* - \bar g),$$
# with $g^*$ the gradient of $x^*$ at $\theta_0$ and $\bar g$ the mean gradient of the others. Where
# $g^*$ is short, as for a row that the model is sure about, $\bar g$ is most of what is left.
#
# Who also knows $\theta_0$ and $N$ gets rid of $\bar g$, with the **informed difference**
# $$(N-1)(\theta_u - \theta_0) - N(\theta - \theta_0) = \eta\, g^*.$$
# The paper's code uses it. Our threat model does not grant it; it is shown for comparison.

# %%
close = pd.DataFrame(sum(lk.training.parallel(here.closeness, worlds), []))
by_kind = close.groupby("unlearning and difference", sort=False).cosine
lab.table(by_kind.agg(["mean", "min"]).reset_index().rename(
    columns={"mean": "cosine with the true gradient", "min": "smallest"}),
    f"How nearly the difference is the gradient: {len(of_seed)} deleted rows, float64", 3)
exactly = [name for name, c in by_kind if c.min() > 0.999]
lab.say("The difference is the gradient, up to its length, for: " + "; ".join(exactly) + "; for no "
        "other.", "A negative cosine means that the difference "
        "points away from the gradient." if close.cosine.min() < 0 else "")

# %% [markdown]
# **Check yourself.** The step of ascent has an unknown size $\eta$, and private sets an unknown
# size $N$. Why does neither stop the attack, and why does $\bar g$ hurt it?
#
# <details><summary>Answer</summary>
#
# Both only change the length of the difference, and the attack compares directions. $\bar g$ is
# another vector: adding it turns the direction, the more so the shorter $g^*$ is.
#
# </details>

# %% [markdown]
# ## 3 · The attack, step by step
#
# The attack looks for the picture $x$ whose gradient points where the difference points. It
# minimises
# $$1 - \frac{\langle g(x), \Delta \rangle}{\lVert g(x) \rVert\, \lVert \Delta \rVert} +
# \alpha\, \mathrm{TV}(x) \quad \text{with every pixel of } x \text{ in } [0, 1].$$
# $g(x)$ is the gradient that $x$ would give, $\Delta$ the update; $\mathrm{TV}$ is the prior, and
# $\alpha$ its weight.
#
# **Exercise 5.1** (difficulty 1, 5 minutes). The first part: one minus the cosine.

# %%
@exercise("5.1")
def cosine_distance(gradient, update):
    """1 − cosine of two vectors: 0 same direction, 2 opposite. (d,), (d,) -> scalar with its
    gradient
    """
    ...  # your code

# %% [markdown]
# The second part is the *total variation*: neighbouring pixels of photographs are mostly alike,
# those of noise are not.
#
# **Exercise 5.2** (difficulty 2, 10 minutes). Mean absolute difference of horizontal neighbours
# plus that of vertical neighbours, each image by itself.

# %%
@exercise("5.2")
def total_variation(images):
    """Roughness of each image. (n, c, h, w) -> (n,)"""
    ...  # your code

# %% [markdown]
# Here is the whole search for the first picture, with both of your functions. `create_graph=True`
# lets us differentiate a gradient once more: we ask how each *pixel* changes the gradient of the
# *weights*. Adam takes steps of about 0.1, a tenth of the way from black to white, and halves them
# three times.

# %%
w, tv = worlds[0], attacker.tv[here.CNN, "clean"]
net = here.tune(w, here.CNN, list(range(32))).float()
goal, weights = (delta / delta.norm()).float(), list(net.parameters())


def distance(x):
    """The attack's loss at a picture x (1, c, h, w) in [0, 1]."""
    loss = F.cross_entropy(net((x - data.mean) / data.std), w.label[[0]])
    parts = torch.autograd.grad(loss, weights, create_graph=True)
    g = torch.cat([part.flatten() for part in parts])
    return cosine_distance(g, goal) + tv * total_variation(x)[0]


noise = torch.randn(1, *data.shape, generator=torch.Generator().manual_seed(1))
x = noise.to(data.device).clamp(0, 1).requires_grad_()
adam, film = torch.optim.Adam([x], lr=0.1), {}
for step in range(cfg.steps + 1):
    if step in (0, 5, 20, 50, 100, cfg.steps):
        film[step] = (x.detach()[0].clone(), distance(x).item())
    halvings = sum(step >= s * cfg.steps for s in (3 / 8, 5 / 8, 7 / 8))
    adam.param_groups[0]["lr"] = 0.1 * 0.5**halvings
    slope = torch.autograd.grad(distance(x), x)[0]
    x.grad = slope.sign() if attacker.signed else slope
    adam.step()
    x.data.clamp_(0, 1)

# %%
under = [f"loss {loss:.2g}\n{here.decibels(image, original)}" for image, loss in film.values()]
fig = here.gallery([[image for image, _ in film.values()] + [original]], under=[under + [""]],
                   titles=[f"step {step}" for step in film] + ["deleted"], size=1.5)
lab.figure(fig, "The search as a film: from noise, over the first steps, to the rebuilt picture, "
                "with the attack's loss and the PSNR at each step; the deleted picture on the "
                "right.")
lab.say(f"The loss falls from {film[0][1]:.2g} to {film[cfg.steps][1]:.2g}, and the PSNR goes from "
        f"{here.decibels(film[0][0], original)} to "
        f"{here.decibels(film[cfg.steps][0], original)}.")

# %%
# NBVAL_CHECK_OUTPUT
with torch.no_grad():
    probe = torch.rand(3, *data.shape, generator=torch.Generator().manual_seed(2)).to(data.device)
ours = torch.stack([1 - (distance(p[None]) - tv * total_variation(p[None])[0]) for p in probe])
batched = attack.similarity(net, (probe[:, None] - data.mean) / data.std,
                            w.label[[0]].repeat(3)[:, None], goal.repeat(3, 1))
print("labkit's batched cosine agrees with the loop above:",
      torch.allclose(ours, batched, rtol=1e-3, atol=1e-5))

# %% [markdown]
# `attack.invert` is this loop for many rows at once.
#
# **Or without any search.** The first layer of a perceptron computes $z = Wx + b$. By the chain
# rule
# $$\frac{\partial \ell}{\partial W} = \delta\, x^\top, \qquad
# \frac{\partial \ell}{\partial b} = \delta, \qquad
# \delta = \frac{\partial \ell}{\partial z}.$$
# So each row of the weight's gradient is the *picture itself*, times a number that the bias's
# gradient tells.
#
# **Exercise 5.3** (difficulty 3, 12 minutes). Recover $x$ from both gradients. Units that were
# silent have $\delta_i = 0$: weigh the units so that these do no harm.

# %%
@exercise("5.3")
def leak(weight_gradient, bias_gradient):
    """The input of a linear layer from the gradient of one row: least squares over the units.
    (h, d), (h,) -> (d,)
    """
    ...  # your code

# %%
def from_first_layer(model, update):
    """Exercise 5.3 on the first layer's part of an update."""
    first = next(m for m in model if isinstance(m, torch.nn.Linear))
    m = first.weight.numel()
    return leak(update[:m].view_as(first.weight), update[m:m + first.out_features])


off, closed = here.closed_form(worlds, from_first_layer)
searched = np.concatenate(lk.training.parallel(partial(here.on_network, attacker),
                                               [(w, "mlp") for w in worlds]))
lab.say(f"Over {len(closed)} pictures and a perceptron, the largest error of a pixel, in float32 "
        f"and clipped to [0, 1], is {off:.1g}.",
        f"The gain of the formula is {closed.mean():.0f} dB; that of the search, with "
        f"{cfg.sweep_steps} iterations, {pm(searched)} dB. The formula needs an update from "
        "one row, one step, and a first layer that sees pixels; no label, no prior, no iteration.")

# %% [markdown]
# **Check yourself.** The formula is exact, and the search is not. Why would anybody search?
#
# <details><summary>Answer</summary>
#
# The formula needs a linear layer that sees the pixels, and an update from one row. A convolution
# sums over positions, and several rows add up to a mixture. The search needs only a gradient.
#
# </details>

# %% [markdown]
# ## 4 · When does exact unlearning leak?
#
# Exact retraining removes the row's whole influence. What about the *difference*? We vary the
# number $N$ of private rows, the epochs, and how the provider fine-tunes. *Gentle* is the paper's
# recipe: learning rate 0.001, batches of up to 128. *Ordinary* is 0.01 with batches of 16; up to 16
# rows that is one batch an epoch, so no order matters.
#
# The provider retrains in a fresh order, which a control takes back: it keeps the old order and
# batches, and leaves the row's place empty. The attacker has the plain difference; the informed one
# is shown beside it. The perceptron stands in for the network, because its search is quick. Two
# more recipes at $N = 64$ take large steps, or small batches, alone.
#
# The right panel asks who leaks most. The gradient of a row is long where the model is wrong about
# it, and a long gradient drowns out $\bar g$.

# %% [markdown]
# **Predict before you run.** The provider trains again from $\theta_0$ without the row. Nothing of
# the row is in the new model. What does the *difference* of the two models give away?
#
# a) Nothing: the new model never saw the row.
#
# b) As much as a step of ascent does: a difference is a difference.
#
# c) That depends. Write down on what most: the number of rows, of epochs, or the recipe?

# %%
SIZES = [N for N in cfg.sizes if N <= len(worlds[0].pool.y)]
LATE = [e for e in cfg.epochs_tried if e >= 5]
GRID = [(N, e, r) for N in SIZES for e in cfg.epochs_tried for r in ("gentle", "ordinary")]
GRID += [(64, e, r) for e in LATE for r in ("large steps", "small batches")]
CNN_GRID = [(8, 1, "gentle"), (64, 5, "ordinary")]
sweep = here.exact_sweep(attacker, worlds, {"mlp": GRID, here.CNN: CNN_GRID})
gain_at = partial(here.gain_at, sweep)
sure = here.sureness(worlds)
fig = here.exact_figure(figures, sweep, SIZES, cfg.epochs_tried, sure, of_seed)
lab.figure(fig, "Left: gain of the attack on exact unlearning against the number of private rows, "
                "means over the epochs tried, with 95 % intervals. Right: gain after gentle "
                "fine-tuning against the probability that the public network gives to the label, "
                "a point for each deleted row.")

# %%
parts = here.exact_parts(sweep, SIZES, LATE)
small, large, ahead = parts["small"], parts["large"], searched - parts["small"]
alone = here.one_thing_at_a_time(sweep, SIZES, cfg.epochs_tried, LATE)
fresh, same = here.orders(attacker, worlds, sweep, SIZES)
alone["a fresh order to the old one, ordinary, 5 epochs, 64 rows or more"] = fresh, same
lab.table(here.change_table(alone, of_seed), "One thing at a time")
costs, by_batches, by_epochs = here.causes_told(alone, of_seed)
lab.say_committed(
    "Gains in dB over the committed runs:",
    "\n- If you said a): {inv-exact-small.small} for exact retraining with eight rows and one step "
    "(*reproduced* means: it leaks).",
    "\n- If you said b): {inv-arch.mlp} for a step of ascent on the same rows.",
    "\n- If you said c): {inv-exact-small.large} with ordinary steps, at least 64 rows and 5 "
    "epochs (*reproduced* would mean: less than a guess); on what most, the next lines say.")
lab.say(f"In this run ascent gains {pm(ahead)} dB more than exact retraining with eight rows and "
        "one step" + here.tell(ahead, of_seed, ": a difference is not just a difference.", ".", "."),
        costs)

# %%
together, eight = here.recipe_costs(sweep, LATE)["surplus"], gain_at(here.CNN, [8], [1], "gentle")
lab.say("Hu et al. report leaks for small data.", by_batches, by_epochs,
        here.tell(together, of_seed, "At N = 64 large steps and small batches together cost "
            f"{pm(together)} dB more than the two added up."),
        here.order_told(same - fresh, of_seed),
        "Within a row, over the settings, the rank correlation of the gain with the cosine to the "
        f"gradient is {pm(parts['cosine'], limits=(-1, 1), digits=2)}.")
gentle = gain_at("mlp", SIZES, cfg.epochs_tried, "gentle")
who_leaks, sure_less = here.sureness_told(sure, gentle, of_seed)
lab.say("In the right panel (gentle, means over all N and epochs)", who_leaks, sure_less,
        f"A mean hides rows: after many ordinary steps {sum(large >= 5)} of {len(large)} still "
        f"gain 5 dB or more; with the wrong request of section 1 (on {here.CNN}) "
        f"{sum(control >= 5)} did.")
lab.say(f"On {here.CNN}, with N = 8 and one step, the plain difference gains {pm(eight)} dB, the "
        f"informed one {pm(gain_at(here.CNN, [8], [1], 'gentle', 'informed'))} dB.")

# %% [markdown]
# **Check yourself.** The interval for ordinary fine-tuning may hold 0. Why is "so nothing leaks"
# the wrong conclusion?
#
# <details><summary>Answer</summary>
#
# The same interval also holds gains, up to its upper end, so it does not tell nothing from
# something. And a mean hides the rows that leak: count them, as above. To show that nothing leaks,
# the whole interval must lie within a margin.
#
# </details>

# %% [markdown]
# ## 5 · Other ways of unlearning, other requests, other networks
#
# The same rows and the same search, on $N = 64$ private rows. **Influence** unlearning moves by
# $C^{-1} g$, with $C$ a curvature. A server that suspects it can multiply by the curvature at
# *public* rows; we grant it the damping, too. **Fine-tuning** goes on with the other rows. **SISA**
# (notebook 02) retrains one shard of eight. **Another start** is exact retraining from a network
# that was pre-trained with another seed. The recipes differ: SISA and retraining are ordinary with
# 5 epochs; approximate methods and another start follow one gentle epoch.

# %%
compared = lk.training.parallel(partial(here.method_records, attacker), list(enumerate(worlds)))
ways = pd.DataFrame(sum([rows for rows, _ in compared], []))
by = {name: g.gain.to_numpy() for name, g in ways.groupby("name", sort=False)}
by["retraining, ordinary, 5 epochs"] = gain_at("mlp", [64], [5], "ordinary")
exact = ("retraining, ordinary, 5 epochs", "SISA, 8 shards, 5 epochs", "another start")
fig = here.methods_figure(figures, by, exact, of_seed)
lab.figure(fig, "Gain of the attack over the class mean for nine ways of unlearning, from least to "
                "most, with 95 % intervals: approximate ones, and exact ones by retraining.")

# %%
more = by["influence, curvature undone"] - by["influence"]
shard = by["SISA, 8 shards, 5 epochs"] - gain_at("mlp", [8], [5], "ordinary")
fewer = by["ascent, 1 step"] - by["ascent, 20 steps"]
lab.say(f"Twenty steps of ascent gain {pm(fewer)} dB less than one"
        + here.tell(fewer, of_seed, ": a path is no single gradient.", ".", "."),
        f"Fine-tuning gains {pm(by['fine-tuning, 5 epochs'])} dB, influence {pm(by['influence'])} "
        f"dB; undoing the curvature adds {pm(more, sign='+')} dB to the latter.",
        "In SISA all untouched shards are equal bit for bit, and the touched one names itself."
        if all(untouched for _, untouched in compared)
        else "In SISA some untouched shards changed: that must not be.",
        f"A shard of about eight rows gains {pm(shard, sign='+')} dB against a private set of eight"
        + here.tell(shard, of_seed, ".", ": neither told apart nor shown to be equal.", "."),
        f"Exact unlearning from another start gains {pm(by['another start'])} dB"
        "; the cosine of its difference with the row's gradient is "
        f"{pm(ways[ways.name == 'another start'].cosine, limits=(-1, 1), digits=2)}.")

# %% [markdown]
# **A crowd.** A request may name two, four or eight rows at once. Then the update is their mean
# gradient, and many sets of pictures explain it. Does a crowd hide its members? Ascent on the
# perceptron, with twice the iterations of the figures above. For two rows and more the weight of
# the prior is rehearsed anew, on eight rows of the attacker's own split: a rough choice. An update
# does not tell the order of its rows: here, in the project and in the explorer the judge matches
# the pictures to the originals.
#
# **Networks, and the last bits of a float.** The same attack on three networks; its prior was
# rehearsed on two of them. And providers store weights as float32. We start from a model that has
# *converged* on its private rows, the deleted one included, and train on with and without that row.
# This is no exact deletion, but the weights differ little. What is left of the informed difference
# when they are rounded?

# %%
smoothing, _ = here.rehearse_crowds(attacker, rehearsal, (2, 4, 8))
smoothing = {1: attacker.tv["mlp", "clean"]} | smoothing
in_crowd = here.crowd_sizes(attacker, smoothing, worlds)
of_eight = [w.seed for w in worlds for _ in range(8)]
lab.table(here.crowd_table(in_crowd, smoothing, of_eight), "Several rows in one request")
hidden = in_crowd[1] - in_crowd[8]
lab.say(f"In a request of eight the same rows gain {pm(hidden, clusters=of_eight)} dB less than "
        "alone" + here.tell(hidden, of_eight, ": a crowd hides much of its members",
                            "; that is open", ": a crowd does not hide")
        + f". {here.share_near(in_crowd[8], of_eight)} % of the pictures come out 5 dB nearer than "
        "the class mean.", here.edge_told(smoothing.values()))

# %%
twice = in_crowd[1].reshape(len(worlds), 8)[:, :cfg.deleted].ravel()  # the rows of the figures
longer = here.exact_sweep(attacker, worlds, {"mlp": [(64, 5, "ordinary")]}, here.searched_longer)
short = gain_at("mlp", [64], [5], "ordinary")
later_on = here.gain_at(longer, "mlp", [64], [5], "ordinary") - short
lab.say(f"All single-row figures on the perceptron stop after {cfg.sweep_steps} iterations, on the "
        f"way. When they are doubled, the gain after a step of ascent on the same rows changes by "
        f"{pm(twice - searched, sign='+')} dB, from {searched.mean():.1f} dB.",
        "After ordinary retraining (N = 64, 5 epochs) doubling changes the gain by "
        f"{pm(later_on, sign='+')} dB, from {pm(short)} dB.")

# %%
small_cnn = lk.training.parallel(partial(here.on_network, attacker),
                                 [(w, "small_cnn") for w in worlds[:2]])
by_net = {"mlp": searched, here.CNN: rebuilt, "small_cnn": np.concatenate(small_cnn)}
bits = np.concatenate(lk.training.parallel(partial(here.rounded, attacker), worlds))
lab.say_committed("Gain in dB after one step of ascent, over the committed runs: "
                  + "; ".join(f"{net} {{inv-arch.{net}}}" for net in by_net)
                  + ". The perceptron had fewer iterations, so this ranks no networks.")
lab.say(here.rounding_told(bits, of_seed), "In section 1, where the step was larger, rounding "
        f"changed the gain by {pm(float32 - rebuilt, sign='+')} dB.")

# %% [markdown]
# **Check yourself.** Why does retraining from another start protect the row from this attack, and
# what does it cost?
#
# <details><summary>Answer</summary>
#
# The difference is then the distance of two networks that were trained apart, and the row's share
# of it is too small to be found. It costs a whole pre-training for each deletion, which unlearning
# was meant to save.
#
# </details>

# %% [markdown]
# ## 6 · Linear models: exact, and open
#
# > **Threat model.** **Who** whoever holds both sets of weights.
# > **Sees** them, and public rows without labels.
# > **May** compute anything; knows what providers publish: the loss, the penalty $\lambda$, the
# > number of rows $n$.
# > **Wants** the deleted row. Unlearning is exact.
#
# For a linear model no search is needed (Bertran et al. 2024). Take ridge regression with weights
# and intercept $w$ before and $w_u$ after. At each optimum the gradient over its rows is zero.
# Subtract the two conditions:
# $$S\,(w - w_u) = (y - \langle w, [x, 1]\rangle)\,[x, 1], \qquad
# S = \textstyle\sum_{\text{left}} [x,1][x,1]^\top + \lambda\, \mathrm{diag}(1, \ldots, 1, 0).$$
# $(x, y)$ is the deleted row, and $[x, 1]$ has a one for the intercept. The right side is the
# deleted row, times one number, which the entry of the one tells. The server does not know $S$, so
# it takes **public** rows and scales their sum.
#
# **Exercise 5.4** (difficulty 4, 20 minutes). Rebuild the row.

# %%
@exercise("5.4")
def rebuild_row(before, after, public, n, penalty):
    """The deleted row from two ridge regressions on n and n − 1 rows. (d + 1,) twice, intercept
    last; (m, d) -> (d,)
    """
    ...  # your code

# %% [markdown]
# First one patient of a medical table, with your function. Then all trials: pictures averaged down
# to several sizes, and two tables, with two losses and three penalties. For other losses the
# formula holds to first order, with the Hessian for $S$ (`here.rebuild_row`).

# %%
sources = {name: lk.data.load(name, moments="test") for name in here.TABLES} | {dataset: data}
seeds_linear = lab.seeds(cfg.linear_seeds, "linear")
*weights, public, n, row, mean_row = here.one_deletion(sources["breast-cancer"], seeds_linear[0], 0,
                                                       penalty=100.0)
mine = rebuild_row(*weights, public, n, 100.0)
jobs, SIDE = here.linear_jobs(sources, dataset, seeds_linear, cfg.linear_rows)
linear = pd.DataFrame(sum(lk.training.parallel(here.linear_trial, jobs), []))
on_images = linear[(linear.data == dataset) & (linear.loss == "square")]
fig = here.linear_figure(figures, row, mine, mean_row, on_images)
lab.figure(fig, "Left: columns of a deleted patient, rebuilt, and the class mean. Right: cosine "
                "of rebuilt and deleted row against rows a column, beside a rule of thumb.")

# %%
tabular = {name: linear[linear.data == name] for name in here.TABLES}
better, of_better = here.over_guesses(linear)
pictures = on_images[on_images.side == SIDE]
of_picture, over_mean = pictures.seed.tolist(), pictures.rebuilt - pictures["mean"]
lower, higher = (np.mean([g[g.penalty == p].groupby("seed", sort=False).rebuilt.mean()
                          for g in tabular.values()], 0) for p in (1, 100))  # a value a seed
lab.say("At λ = 100, the largest penalty tried, your function rebuilds the patient with a cosine "
        f"of {here.cosine(mine, row):.2f}; the class mean has "
        f"{here.cosine(mean_row.double(), row):.2f}.",
        f"From pictures of {SIDE} × {SIDE} pixels the deleted row comes back with a cosine of "
        f"{pm(pictures.rebuilt, clusters=of_picture, digits=3, limits=(-1, 1))}, "
        f"{pm(over_mean, clusters=of_picture, digits=2, limits=(-2, 2))} more than the class mean.",
        here.sizes_told(on_images))
lab.say(here.tables_told(better, of_better), "From λ = 1 to λ = 100 ridge regression goes from "
        f"{lower.mean():.2f} to {higher.mean():.2f} there, by "
        f"{pm(higher - lower, clusters=None, sign='+', digits=2)}" + here.tell(
            higher - lower, None, ": a larger penalty helps the attacker. More of $S$ is then the "
            "known λ.", "."))

# %% [markdown]
# **Check yourself.** The rule of thumb falls towards the left. Why do few rows a column make the
# rebuilt row less exact?
#
# <details><summary>Answer</summary>
#
# $S$ is a sum over private rows, its stand-in one over public rows. With $d$ columns from $n$ rows
# both have sampling errors, with squares of the order $d / n$. The rule of thumb,
# $1 / \sqrt{1 + 2 d / n}$, is ours. Large image sets have many rows a column, a small clinic has
# few.
#
# </details>

# %% [markdown]
# ## 7 · Project: a prior of your own
#
# A request of eight leaves many sets of pictures open. The server has public pictures with labels:
# what do *they* say about a likely picture?
#
# **Exercise 5.5** (difficulty 5, 25 minutes). Write a prior and search with it. You get `search`,
# public pictures, their classes, and the label of each deleted row. Inside your function define
# `prior(images)`: pictures (n, c, h, w) in the order of `label` give n numbers, small for likely
# pictures, differentiable. `return search(prior)`.
#
# It is added to $1 - \cos$, so its size matters. Tune it where it is not judged:
# `here.compare_priors([here.crowd(rehearsal, 8)], {"mine": with_a_prior})`.
#
# *Judged by* the mean gain over the class mean on three requests of eight rows: it has to get half
# of the way from the best baseline (no prior, or total variation at any weight rehearsed above) to
# the course's solution.

# %%
@exercise("5.5")
def with_a_prior(search, public, classes, label):
    """Pictures rebuilt with a prior of your own. search(prior) -> (n, c, h, w); public
    (m, c, h, w) in [0, 1]; classes (m,); label (n,) -> (n, c, h, w)
    """
    ...  # your code

# %%
answers = {"no prior": here.no_prior, "smooth": here.smooth(smoothing[8]),  # as rehearsed
           "the course's": worked, "yours": with_a_prior}
gained, made = here.compare_priors([here.crowd(w, 8) for w in worlds], answers)
made.pop("the course's")
lab.figure(here.beside(made, worlds[0].data.pixels(worlds[0].data.x[:8]), size=0.95),
           "Eight rows of one request, and what the search makes of their update without a prior, "
           "with a smooth one, and with the learner's, each with its PSNR.")
over = {base: gained["yours"] - gained[base] for base in ("no prior", "smooth")}
lab.say("Gain on the judged splits: "
        + "; ".join(f"{name} {pm(g, clusters=of_eight)} dB" for name, g in gained.items()) + ".",
        "(The worked solution stands in for yours.)" if with_a_prior is worked else "",
        *(f"Yours adds {pm(more, clusters=of_eight, sign='+')} dB to {base}" + here.tell(
            more, of_eight, ": better.", f": not shown to be better; with {len(worlds)} seeds a "
            f"gain below {here.half_width(more, of_eight):.1f} dB cannot be.", ": worse.")
          for base, more in over.items()))

# %% [markdown]
# **Check yourself.** A prior for the class mean, made ever stronger, ends at a gain of 0. Why 0,
# and why is that no success?
#
# <details><summary>Answer</summary>
#
# A strong prior overrules the update, and what is left is its own favourite, the class mean: the
# guess that the gain is measured against. An attack is judged by what the *update* adds.
#
# </details>
#
# **Explore.** One request on the perceptron. Top: the deleted rows. Bottom: what the attack has
# after so many iterations. *Exact* is the ordinary recipe with 5 epochs and the plain difference.
# Try: one row, ascent, and move the prior; then four. When does smoothness begin to help?

# %%
steps = [s for s in (0, 10, 20, 40) if s < cfg.sweep_steps] + [cfg.sweep_steps]
batches, hows = [u for u in (1, 2, 4) if u <= cfg.deleted], here.unlearners(SIZES)
films = dict(zip(batches, lk.training.parallel(
    partial(here.frames, attacker), [(worlds[0], u, hows, steps) for u in batches])))
figure, redraw = here.panel(worlds[0], films)
panel = widgets.explorer(figure, redraw, step=widgets.slider("iteration", steps, steps[-1]),
                         tv=widgets.slider("prior", here.TVS, 0.01),
                         batch=widgets.slider("rows", batches, batches[-1]),
                         how=widgets.dropdown("unlearner", hows, "ascent"))
lab.figure(figure, f"The explorer in its first state: {batches[-1]} deleted rows on top, below "
                   "what the attack rebuilds from a step of ascent, each with its PSNR.")
lab.say(redraw(steps[-1], 0.01, batches[-1], "ascent"))
panel

# %% [markdown]
# ## What would fool you
#
# **Feeding the true gradient.** Invert `autograd.grad` of the deleted row, and call it an attack on
# unlearning. Nothing was trained, nothing unlearned. For one step of ascent that comes to the same;
# for exact unlearning it does not.
#
# **A PSNR without a baseline.** Part of it is had for nothing, by the class mean.

# %%
fed = here.fed_the_gradient(attacker, worlds, here.RECIPES["ordinary"])
lab.say("N = 64, 5 epochs, ordinary recipe: the true gradient is inverted with a gain of "
        f"{pm(fed)} dB; the difference that exact unlearning really leaves gives {pm(short)} dB, "
        f"{pm(fed - short)} dB less" + here.tell(fed - short, of_seed, ".", "; that is open.", "."))
guess = np.concatenate([w.guess.cpu() for w in worlds])
lab.say(f"The class mean has a PSNR of {guess.mean():.1f} dB on average, {guess.max():.1f} dB at "
        "best, with no attack at all.")

# %% [markdown]
# ## What was tested
#
# Rows of one seed share networks, so intervals are Student's t over the means of the seeds; those
# of shares end at 0 and 1. That exact unlearning does not leak otherwise is judged after ordinary
# fine-tuning alone, a choice made after numbers were known; gentle fine-tuning is reported.

# %%
lab.claim("inv-approx", {"rebuilt": (rebuilt >= 5).astype(float), "control": control},
          clusters=of_seed)
lab.claim("inv-exact-small", parts, clusters=of_seed)
lab.claim("inv-arch", by_net, clusters={net: of_seed[:len(v)] for net, v in by_net.items()})
lab.claim("inv-float", bits[:, 0] - bits[:, 1], clusters=of_seed)
lab.claim("inv-linear", pictures.rebuilt, clusters=of_picture)
lab.claim("inv-tabular", better, clusters=of_better)
for name, frame in here.summaries(sweep, ways, linear).items():
    lab.record(name, frame)
lab.claims_table()

# %% [markdown]
# ## The answer
#
# Do two sets of weights give the deleted row away?

# %%
lab.say_committed(
    "How much they give away depends on the deletion. Over the committed runs:",
    f"\n- One step of ascent on {here.CNN}: share of pictures at least 5 dB nearer than a guess "
    "{inv-approx.rebuilt}.",
    "\n- Exact retraining of a perceptron, gain in dB: {inv-exact-small.small} with eight rows and "
    "one step; with at least 64 rows and 5 epochs {inv-exact-small.large-gentle} by gentle steps, "
    "{inv-exact-small.large} by ordinary ones.",
    "\n- Exact deletion from a linear model: cosine {inv-linear} on small pictures; cosine beyond "
    "the better of two guesses {inv-tabular.medical} on a medical table, {inv-tabular.financial} "
    "on loans.")
lab.say(f"In this run exact retraining gains {pm(by['another start'])} dB from another start, and "
        f"{pm(eight)} dB on {here.CNN} with eight rows and one step.", by_batches,
        sure_less, "For small pictures the cosine is "
        f"{pm(over_mean, clusters=of_picture, digits=2, limits=(-2, 2))} above the class mean's.")
lab.say("Not shown: that ordinary exact retraining leaks nothing, or that longer searches or "
        "heavier priors would not find more. Large networks, an attack that averages over the "
        "provider's possible orders, an attacker who hands in the class mean where rehearsal "
        "fails, and one who does not know the kind of unlearning were not tried.")

# %% [markdown]
# **Read on**: [Hu et al. 2024](https://arxiv.org/abs/2404.03233), for the attack and three
# defences; [Bertran et al. 2024](https://arxiv.org/abs/2405.20272), for far more public rows;
# Geiping et al. 2020, for large networks and batches; Zhao et al. 2020, for labels from gradients.
#
# **Next**: [notebook 06](06_leakage.ipynb) takes the weights away: what do *answers* tell of a
# deletion, its class among it? Notebook 11 defends against the attack of this one.
