# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 12 · Sparsity: does a network with fewer weights forget more easily?
#
# The exact way to forget is to train again. The cheap ways leave a gap to it. A paper of 2023
# proposed to close it from an unexpected side: throw most of the weights away first. **Does a
# network with fewer weights forget more easily?**
#
# You will
# - see the paper's claim on one network, and then what becomes of it at other learning rates;
# - prune a network, and keep it pruned through momentum and weight decay;
# - compare seven ways of forgetting, four of them sparse, too, with retraining *of the same
#   sparsity*, by a rule fixed before;
# - measure whether a pruning mask that was computed with the forgotten rows makes a difference;
# - design a schedule that makes weights small while it forgets.
#
# *Time*: about two minutes to run, three hours to work through.
# *You need*: notebook 01.
# *Papers*: Jia et al. 2023, [Model Sparsity Can Simplify Machine
# Unlearning](https://arxiv.org/abs/2304.04934); Fan et al. 2024,
# [SalUn](https://arxiv.org/abs/2310.12508); Xiao et al. 2025, [on masks and
# un-pruning](https://arxiv.org/abs/2507.18725).
# *Words*: [glossary](../docs/glossary.md).

# %% tags=["parameters"]
profile = "quick"  # smoke | quick | full | paper
dataset = "fashion"  # any image set of labkit.data.names(), or folder:PATH
seed = 0  # everything random is spawned from it
seeds = None  # number of judged seeds; None: the profile's own

# %%
import copy
from functools import partial

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

import labkit as lk
from course import Lab, exercise, figures, widgets
from course.chapters import sparsity as here
from course.chapters.sparsity import exercises as worked
from labkit import measure, unlearn

lab = Lab("sparsity", profile=profile, dataset=dataset, seed=seed, seeds=seeds)
figures.style()

# %%
# epochs of FT and l1: again, of RL and SalUn: relabel, of GA: ascent; rewind: see section 1
cfg = lab.settings(
    quick=dict(model="strided_cnn", rows=(1000, 500), needs=(900, 300), epochs=12, lr=0.1,
               schedule="onecycle", augment=False, batch_size=64, again=3, relabel=2, rewind=1,
               ascent=1, convolutions=False, sparsities=(0.0, 0.95), poisoned=0.02, black=False,
               old_mask=False, curved=(500, 200), power=(300, 15), classes=3, seeds=3, few=None,
               tuned=2, others=1, relabel_sparse=False, random=False, rounds=0, second=0),
    smoke=dict(rows=(300, 150), needs=(300, 150), epochs=3, again=2, relabel=1, curved=(60, 30),
               power=(60, 2), classes=1, seeds=2, few=1, tuned=1),
    full=dict(rows=(1200, 600), sparsities=(0.0, 0.5, 0.9, 0.95, 0.99), relabel=3,
              old_mask=True, seeds=4, tuned=3, others=2, relabel_sparse=True, random=True,
              rounds=13, second=3),
    paper=dict(model="resnet18", rows=None, epochs=182, schedule="multistep", augment=True,
               batch_size=256, again=10, relabel=10, rewind=8, ascent=5, convolutions=True,
               sparsities=(0.0, 0.95), poisoned=0.1, black=True, second=0))

# %%
data = lab.load(at_most=cfg.rows, moments="test", large="size")
n, k, SPARSE = len(data.y), data.n_classes, 0.95
lab.require(len(data.shape) == 3 and k >= 3,
            "Notebook 12 prunes convolutions: take a set of images with three classes or more.")
lab.require(n >= cfg.needs[0] and len(data.y_test) >= cfg.needs[1],
            f"Notebook 12 needs at least {cfg.needs[0]} training and {cfg.needs[1]} test images.")
judged, tuning = lab.seeds(cfg.seeds, "judge"), lab.seeds(2, "tune")
# spread over the list, chosen before any run
CLASSES = np.linspace(0, k - 1, min(cfg.classes, k)).astype(int).tolist()
if data.shape[0] > 1 and cfg.model == "strided_cnn":
    cfg.lr = 0.05  # at 0.1 some networks do not learn from pictures in colour
lab.say("Classes to forget, one at a time: " + ", ".join(data.classes[c] for c in CLASSES) + ".")

# %% [markdown]
# ## 1 · The claim, on one network
#
# Train a network, and set 95 % of its weights to zero, the smallest. *Rewind* the others to what
# they were early in training, and train them again. This is one-shot magnitude pruning (**OMP**);
# now there is a **sparse** network beside the **dense** one.
#
# A class is to be forgotten, the first of the list. The cheap way is **fine-tuning** (FT): go on
# training without the class, here at a tenth of the training rate, as the paper does. The exact way
# is **retraining** without it.
#
# Four numbers say what came of it, all in percent:
# - **UA**, the share of the forgotten rows that the network gets *wrong*;
# - **RA** and **TA**, its accuracy on retained rows and on test rows of the other classes;
# - **MIA**-efficacy, the share of the forgotten rows that a membership test takes for unseen. The
#   test is a support vector classifier (**SVC**), which learns a border between two groups of
#   numbers: here the confidences of retained rows, and those of test rows
#   (`lk.show(measure.svc_mia)` shows it).
#
# The best value of each is retraining's.
#
# > **Threat model.** **Who** an auditor of the provider; nobody attacks.
# > **Sees** the confidence of the network in the true label of every row.
# > **May** fit an SVC, as published, to tell retained rows from test rows.
# > **Wants** to know whether the forgotten rows still look like training data.

# %%
def build(seed):
    """A fresh network; the same seed gives the same initial weights."""
    return lk.models.build(cfg.model, data, seed)


moved = dict(augment=here.flip_and_crop) if cfg.augment else {}
recipe = moved | dict(epochs=cfg.epochs, lr=cfg.lr, batch_size=cfg.batch_size,
                      schedule=cfg.schedule)
again = dict(epochs=cfg.again, batch_size=cfg.batch_size) | moved
first = tuning[0]  # this network and its split are for trying out; no verdict hangs on them
d = data.resplit(first)
forget = d.forget_class(CLASSES[0])
dense = lk.training.fit(build(first), d.x, d.y, seed=first, **recipe)
layers = [name for name, w in unlearn.prunable(dense).items()
          if w.dim() == 4 or not cfg.convolutions]
sparse, mask = here.omp(build, d, sparsity=SPARSE, seed=first, dense=dense, rewind=cfg.rewind,
                        names=layers, **recipe)

# %%
one, done = {}, {}
for kind, model, kept in (("dense", dense, None), ("sparse", sparse, mask)):
    exact = here.on(unlearn.retrain, kept)(model, d, forget, build=build, seed=first, **recipe)
    tuned = here.on(unlearn.finetune, kept)(model, d, forget, lr=round(0.1 * cfg.lr, 6), **again)
    one[kind] = {name: here.score(m, d, forget) for name, m in
                 (("original", model), ("fine-tuned", tuned), ("retrained", exact))}
    s = SPARSE if kept else 0.0  # section 3 goes on with these networks
    done |= {(first, s, CLASSES[0], "retrained", -1): exact, (first, s, CLASSES[0], "FT", 0): tuned}
lab.figure(here.four_bars(figures, one),
           "UA, MIA, RA and TA of one dense and one sparse network, each as it was, fine-tuned "
           "without a class, and retrained without it.")
ua = {kind: found["fine-tuned"]["UA"] for kind, found in one.items()}
lab.say(f"After fine-tuning the dense network gets {ua['dense']:.0f} % of the class wrong, the "
        f"sparse one {ua['sparse']:.0f} %.",
        "The paper reports the same direction." if ua["sparse"] > ua["dense"]
        else "On this network the paper's claim does not show.",
        "This is one network, one class and one learning rate. The dense original's MIA, by "
        f"`measure.svc_mia`: {measure.svc_mia(dense, d, forget, privacy=False)['efficacy']:.0f} %.")

# %% [markdown]
# **Disparity** folds the four numbers into one:
# $$\tfrac14 \big(|\mathrm{UA} - \mathrm{UA}^*| + |\mathrm{MIA} - \mathrm{MIA}^*| +
# |\mathrm{RA} - \mathrm{RA}^*| + |\mathrm{TA} - \mathrm{TA}^*|\big)$$
# in points, where the star marks the retrained network *of the same sparsity*.
#
# **Exercise 12.1** (difficulty 1, 5 minutes). Compute it. A row may hold further columns.

# %%
@exercise("12.1")
def disparity(method, retrained):
    """Mean of |method − retrained| over UA, MIA, RA and TA, in points; 0 is best. dict, dict ->
    float
    """
    ...  # your code

# %%
far = {kind: {name: disparity(row, found["retrained"]) for name, row in found.items()}
       for kind, found in one.items()}
lab.say("Points from retraining, before and after fine-tuning: "
        + "; ".join(f"{f['original']:.1f} and {f['fine-tuned']:.1f} ({kind})"
                    for kind, f in far.items()) + ".",
        f"The sparse network is {far['dense']['original'] - far['sparse']['original']:.1f} points "
        "nearer before anything was forgotten: a head start has to be told from forgetting."
        if far["sparse"]["original"] < far["dense"]["original"] else
        "The sparse network has no head start here.")

# %% [markdown]
# **To take along**: beside a gain belong the start it began from, and the rate it was seen at.
#
# **Check yourself.** A method reaches a UA of 100, and so does retraining. Why may its disparity
# still be large? And why can forgetting count twice in it?
#
# <details><summary>Answer</summary>
#
# A network that answers nonsense has a UA of 100, too; its RA and TA give it away. And a wrong row
# has a low confidence in its true label, so the membership test takes it for unseen: UA and MIA
# often move together.
#
# </details>

# %% [markdown]
# ## 2 · Pruning, and staying pruned
#
# A **mask** $m$ says of each weight whether it lives, $m_i \in \{0, 1\}$. **Sparsity** is the share
# of zeros. The simplest mask keeps the largest weights, over all layers together. After the
# *rewinding*, what is left is trained again.
#
# **Exercise 12.2** (difficulty 2, 12 minutes). Find the mask. Exactly round(s · n) of all n weights
# go, the smallest first; of equal ones, the first in the order of the dict.

# %%
@exercise("12.2")
def magnitude_mask(weights, sparsity):
    """True where a weight stays; round(sparsity * n) of all n go. dict name -> tensor, float ->
    dict name -> bool tensor
    """
    ...  # your code

# %%
def find_mask(model, sparsity):
    """The mask of a trained network, by your function. -> dict name -> bool tensor"""
    return magnitude_mask({name: w.detach() for name, w in unlearn.prunable(model).items()
                           if w.dim() == 4 or not cfg.convolutions}, sparsity)


def one_shot(build, d, seed, mask):
    """Back to the weights after `rewind` epochs, then the rest of the training, the pruned at 0."""
    early = lk.training.fit(build(seed), d.x, d.y, seed=seed, span=(0, cfg.rewind), **recipe)
    return here.fit_masked(early, mask, d.x, d.y, seed=seed, span=(cfg.rewind, cfg.epochs),
                           **recipe)


yours = find_mask(dense, SPARSE)
at_once = here.apply_mask(copy.deepcopy(dense), yours)
right = [measure.accuracy(lk.training.predict(m, d.x_test), d.y_test)
         for m in (dense, at_once, sparse)]
lab.say("Test accuracy of the network of section 1: {:.0f} % dense, {:.0f} % just pruned, {:.0f} % "
        "trained again.".format(*right))

# %% [markdown]
# Set weights to 0, go on training, and some come back. Their gradient is easily masked, but the
# **momentum** of earlier steps moves them. One step of SGD is
# $$v' = \mu v + g + \lambda w, \qquad w' = w - \eta v'$$
# with velocity $v$, momentum $\mu$, gradient $g$, weight decay $\lambda$, learning rate $\eta$.
#
# **Exercise 12.3** (difficulty 3, 10 minutes). Take this step so that pruned weights (`keep` is
# False) end at exactly 0, and their velocity too. Do not change the tensors you are given. Your
# step then trains: the dense network takes an epoch, is pruned in the middle of the training, and
# takes another, once with only the gradient masked, once with your step.

# %%
@exercise("12.3")
def masked_step(weight, grad, velocity, keep, lr, momentum, weight_decay):
    """One SGD step that keeps the mask. Four tensors of one shape, keep bool; three floats ->
    (weight, velocity)
    """
    ...  # your code

# %%
# NBVAL_CHECK_OUTPUT
def gradient_masked(weight, grad, velocity, keep, lr, momentum, weight_decay):
    velocity = momentum * velocity + keep * grad + weight_decay * weight
    return weight - lr * velocity, velocity


def zeros_after(step):
    """Percent of zeros after two epochs by hand; the network is pruned after the first."""
    net = copy.deepcopy(dense)
    speed = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    for keep in ({}, mask):
        here.apply_mask(net, keep)  # the weights are 0 now; their velocity is not
        for x, y in zip(d.x.split(64), d.y.split(64)):
            slopes = torch.autograd.grad(F.cross_entropy(net(x), y), list(net.parameters()))
            for (name, p), g in zip(net.named_parameters(), slopes):
                kept = keep.get(name, torch.ones_like(p, dtype=torch.bool))
                p.data, speed[name] = step(p.data, g, speed[name], kept, 0.01, 0.9, 5e-4)
    return 100 * unlearn.sparsity(net, names=list(mask))


mine, plain = zeros_after(masked_step), zeros_after(gradient_masked)
print(f"weights that are 0, your step: {mine:.0f} % · fewer, where the gradient alone is masked:",
      plain < mine)

# %% [markdown]
# **To take along**: mask the step, not the gradient. From here on every method does, and the zeros
# are counted at the end.
#
# **Check yourself.** Why does it not help to set pruned weights to 0 *before* each step?
#
# <details><summary>Answer</summary>
#
# The step itself moves them: it adds the velocity that is left from before the pruning. After the
# step they are not 0, and the network that is released is the one after the last step.
#
# </details>

# %% [markdown]
# ## 3 · Seven methods, and a rule
#
# Beside **FT** the paper has three more: **GA** climbs the loss of the forgotten rows; **Fisher**
# adds noise where the retained rows do not mind; **influence** takes one Newton step. **l1** is FT
# with a penalty (section 6). Two successors relabel: **RL** trains on all rows, the forgotten ones
# with random labels; **SalUn** is RL on the half of the weights that matter most to them.
#
# Each method has a knob, and the knob decides a great deal. **The rule**, fixed before any run:
# each knob is set where the method's mean disparity on *dense* networks is least, over splits that
# are not judged. Sparse networks get the same setting, so the rule favours the dense ones.
#
# A `Study` holds what all runs share: data, recipe, your functions, the grid of settings.
# Settings (not Fisher's or influence's) hold a race: what can no longer win after some classes does
# not run on the others. As no disparity is below 0, the winner is the same.
#
# **Exercise 12.4** (difficulty 4, 15 minutes). Which weights may SalUn move? With $n$ parameters
# (biases count), the round((1 − share) · n) with the smallest |gradient| of the *summed* loss on
# the rows stay put; of equal ones, the first. Leave no gradient behind in the model.

# %%
@exercise("12.4")
def salient(model, x, y, share):
    """Which parameters may move. network, rows, labels, float -> dict name -> bool tensor, for all
    parameters
    """
    ...  # your code


# %%
def salun(model, data, forget, *, share=0.5, **settings):
    """Random labels for the forgotten rows, and only the salient weights move."""
    moving = salient(model, data.x[forget], data.y[forget], share)
    return unlearn.random_labels(model, data, forget, moving=moving, **settings)


METHODS = {"FT": unlearn.finetune, "l1": unlearn.l1_finetune, "GA": unlearn.gradient_ascent,
           "Fisher": unlearn.fisher_forgetting, "influence": unlearn.influence,
           "RL": unlearn.random_labels, "SalUn": salun}
GRID = here.grid(profile, cfg.lr)  # the settings that are tried; the table below shows them all
RATES = [g["lr"] for g in GRID["FT"]]  # the first: as published
study = here.Study(data=data, build=build, recipe=recipe, mask=find_mask, prune=one_shot,
                   disparity=disparity, methods=METHODS, grid=GRID, fixed=here.fixed(cfg, again),
                   done=done)
trained = here.splits(study, [(tuning[1], (0.0, SPARSE)), *((s, cfg.sparsities) for s in judged)],
                      keep=lab.unfinished("networks"))
rehearsal = [here.Network(d, first, 0.0, dense, None, 0.0),
             here.Network(d, first, SPARSE, sparse, mask, 0.0)], trained[0]
tried = here.rehearse(study, rehearsal, CLASSES, tuned=cfg.tuned, others=cfg.others,
                      random=cfg.random, keep=lab.unfinished("tuning"))

# %%
of_class = tried[tried.asked != "random"]
study.chosen, mean_gap = here.least(GRID, of_class[of_class.sparsity == 0])
own = here.least(GRID, of_class[of_class.sparsity > 0])[0]["FT"]  # what sparse ones would take
rule = study.chosen["FT"]
lab.table(here.tuning_table(GRID, study.chosen, mean_gap),
          f"Dense networks of {len(tuning)} splits that are not judged, mean over the runs that "
          f"a setting was in; classes a split: {cfg.tuned}; RL, SalUn and sparse FT {cfg.others}")
edge = here.at_an_edge(GRID, study.chosen)
edge += [f"FT on sparse networks (lr {RATES[own]:g})"] if own in (0, len(RATES) - 1) else []
lab.say(f"The rule takes a rate of {RATES[rule]:g} for FT, where the paper has a tenth of the "
        f"training rate, {RATES[0]:g}.",
        f"At an edge of its grid: {', '.join(edge)}. A better one may lie beyond, so what is "
        "measured there need not be the least that the method can reach."
        if edge else "No setting lies at an edge.")

# %% [markdown]
# **To take along**: a setting is part of a method; say by what rule, and on what, it was chosen.
#
# **Check yourself.** Why are the settings not chosen on the networks that are judged? And why not
# separately for sparse networks, in the claim's main part?
#
# <details><summary>Answer</summary>
#
# The best of many settings looks good on the networks it was chosen on, partly by luck. And with
# one setting for both kinds, what differs is sparsity alone. As the setting may suit the
# dense ones better, fine-tuning's own rate for sparse ones is reported.
#
# </details>

# %% [markdown]
# ## 4 · At what rate?
#
# Now the judged splits: the listed classes, each method at its setting, in dense networks and in
# sparse ones (l1 only dense; RL and SalUn, too, unless in `full`). Fine-tuning runs at the
# published rate, at that of the rule, at the one that suits sparse networks, and at the largest.
# One run has few splits. So five runs of this notebook, on other splits of the same rows, are
# committed, and the main sentences are told *over the committed runs*.

# %% [markdown]
# **Predict before you run.** Section 1 showed one network at the published rate. At the rate of the
# rule, the one that suits dense networks best, sparsity adds to the UA of fine-tuning
#
# a) more than at the published rate, b) less, but clearly more than nothing, c) nothing that the
# splits could tell from 0.

# %%
networks = [net for nets in trained[1:] for net in nets]
study.probe = here.digit_probe(data)  # for section 9
last = len(RATES) - 1
rates = {i: RATES[i] for i in sorted({0, rule, own, last})}  # place in the grid -> rate
runs = here.judged_runs(study, networks, CLASSES, SPARSE, cfg.relabel_sparse, list(rates),
                        here.tenth_place(GRID, tried), keep=lab.unfinished("contest"))
each_seed = partial(here.each_seed, runs, study.chosen, judged)
# in words: a share in percent, a difference in points; a share is of as many rows as a class has
percent, points = (partial(here.in_words, rows=n // k, limits=(low, 100)) for low in (0, -100))
side = partial(here.side, rows=n // k)
right = {s: [measure.accuracy(lk.training.predict(net.model, net.data.x_test), net.data.y_test)
             for net in networks if net.sparsity == s] for s in cfg.sparsities}
lost = here.minus(right[0.0], right[SPARSE])

# %%
lab.figure(here.sweep_figure(figures, each_seed, rates, SPARSE, rule, n // k),
           "UA and disparity of fine-tuning against the learning rate, dense and sparse, with "
           "intervals over splits, and lines for the original and the retrained networks.")
gains = {i: here.minus(each_seed("UA", "FT", SPARSE, i), each_seed("UA", "FT", 0.0, i))
         for i in rates}
ahead = here.minus(each_seed("UA", "original", SPARSE), each_seed("UA", "original"))
beyond_start = here.minus(gains[rule], ahead)
by_rate, falls = here.differ(gains[0], gains[rule], n // k)  # paired, split by split
room = {i: percent(here.minus([100.0] * len(judged), each_seed("UA", "FT", 0.0, i))) for i in rates}
a_or_b = {1: "b)", -1: "a)", 0: "a) or b), undecided between them"}[falls]
verdict = {1: a_or_b, 0: "c)", -1: "none of the three"}[side(gains[rule])]
lab.say_committed(
    "Over the committed runs sparsity adds, in points of UA, {sparse-ft.published-rate} at the "
    "published rate and {sparse-ft.gain} at that of the rule. Undecided there means c). "
    "Reproduced means b) if that number is the smaller of the two, a) if it is the larger. "
    f"This run alone would say {verdict}.\n\nOf the UA that dense fine-tuning leaves, it adds "
    + "; ".join(f"{points(g)} of {room[i]} at {rates[i]:g}" for i, g in gains.items())
    + f" in this run. The first less that of the rule, paired by split: {by_rate}. Where little is "
    "left, a small gain need not be a weak effect.\n\nBefore any "
    f"unlearning the sparse networks' UA is {points(ahead)} higher. Beyond this start the gain at "
    "the rate of the rule is {sparse-ft.beyond} over the committed runs.")

# %%
own_gap = here.minus(each_seed("gap", "FT", SPARSE, own), each_seed("gap", "FT"))
lab.say(f"At the largest rate, {rates[last]:g}, " + here.ruin(runs, last, SPARSE),
        here.diverged(runs, GRID))
lab.claim("sparse-ft", {"gain": gains[rule], "beyond": beyond_start, "published-rate": gains[0],
                        "own-rate": own_gap}, units=judged)
lab.say(f"Test accuracy before unlearning: {percent(right[0.0])} % dense, {percent(right[SPARSE])} "
        "% sparse.", "The sparse networks count: none loses more than 5 points."
        if max(lost) <= 5 else
        "A sparse network loses more than 5 points, so the gaps do not count for the claim.",
        "A dense network gets less than twice what guessing would: it learned little that could be "
        "forgotten." if min(right[0.0]) < 200 / k else "",
        f"All splits are drawn from one pool of {n + len(data.y_test):,} rows: the intervals say "
        "how much a split and a seed matter, not another data set.")
if cfg.rounds:
    masks = here.other_masks(study, SPARSE, cfg.rounds, cfg.rewind, judged, lab.unfinished("masks"))
    lab.say("Masks without data (SynFlow): {} %, in rounds: {} %.".format(*map(percent, masks)))

# %% [markdown]
# **To take along**: two kinds of network at one rate differ in how that rate suits them, too.
#
# **Check yourself.** A paper shows one learning rate. Which question should a reader ask, and why
# may a larger rate bring dense and sparse networks together?
#
# <details><summary>Answer</summary>
#
# For whom was this rate chosen, and by what rule? A small rate moves a network a short way from
# where it was, and the sparse one may have been nearer to the goal before. A large rate carries
# both far from there, to forgetting or to ruin: RA says which. (A likely reason, not measured.)
#
# </details>

# %% [markdown]
# ## 5 · Does it forget better, or did it start nearer?
#
# A sparse original can be nearer to its retrained network from the start, because it fits its rows
# less well. So doing nothing stands beside the methods.
#
# The published figures stand in the table, and are no target: there a ResNet-18 was trained on
# CIFAR-10, the rates were other ones, and Fisher also overwrites the output row of the forgotten
# class. The profile `paper` comes nearer to them; it takes a GPU, and has not been run.

# %%
lab.figure(here.methods_figure(figures, each_seed, list(GRID), SPARSE, n // k),
           "Disparity to retraining of the same sparsity, for the untouched networks and after "
           "each method, dense, and sparse where it ran so, with intervals over splits.")
PAIRS = {"finetune": "FT", "ascent": "GA", "fisher": "Fisher", "influence": "influence"}


def changed(name, s=SPARSE):
    """Disparity at a sparsity less that of the dense networks, one value a seed."""
    return here.minus(each_seed("gap", name, s), each_seed("gap", name))


change, idle = {part: changed(name) for part, name in PAIRS.items()}, changed("original")
beyond = {part: here.minus(values, idle) for part, values in change.items()}
lab.table(here.methods_table(each_seed, percent, points, here.PUBLISHED, list(GRID), SPARSE),
          f"Points from retraining of the same sparsity; {len(judged)} splits, {len(CLASSES)} "
          f"classes each, 95 % intervals. Doing nothing changes by {points(idle)}")

# %%
hollow = [m for m in GRID
          if side(here.minus(each_seed("gap", "original"), each_seed("gap", m))) < 1]
lab.say_committed(
    "Beyond doing nothing sparsity changes the disparity, in points over the committed runs: "
    + ", ".join(f"{name} {{sparse-gap.{part}-beyond}}" for part, name in PAIRS.items())
    + ". Below 0 is nearer to retraining. An interval that holds 0 leaves it open; with an "
    "end near 0, five runs decide narrowly.")
lab.say("In this run not seen to be nearer to retraining than doing nothing, in dense networks: "
        + ", ".join(hollow) + ". No useful setting was found, so a change is hard to read."
        if hollow else "",
        here.relabelling(each_seed, points, [m for m in GRID if m not in ("RL", "SalUn")], SPARSE,
                         own),
        "At the other levels FT changes by "
        + "; ".join(f"{points(changed('FT', s))} ({100 * s:g} %)" for s in cfg.sparsities[1:]
                    if s != SPARSE) + "." if len(cfg.sparsities) > 2 else "")
_ = lab.claim("sparse-gap", change | {"untouched": idle, "level": [x <= 5 for x in lost]}
              | {f"{part}-beyond": v for part, v in beyond.items()}, units=judged)

# %% [markdown]
# **To take along**: take off what doing nothing changes, then look at a method.
#
# **Check yourself.** Why is "the gap shrinks from dense to sparse" not yet "sparse networks forget
# better"?
#
# <details><summary>Answer</summary>
#
# The gap of a network that nothing was done to can shrink as well, and the reference changes with
# the network: a sparse retrained network is often the weaker one. A smaller distance to a weaker
# goal is not a better model.
#
# </details>

# %% [markdown]
# ## 6 · Small weights instead of few
#
# Pruning has to come before anybody asked. The paper's second proposal needs no plan: fine-tune on
# the retained rows, and add $\gamma_e \lVert\theta\rVert_1$ to the loss of epoch $e$. The paper
# lets the strength fall along a line, $\gamma_e = \gamma\,(1 - e / E)$ in epoch $e = 0, 1, \dots$
# of $E$.
#
# **Exercise 12.5** (difficulty 5, 25 minutes). A project: when should the norm act? Share out a
# total strength over the epochs, so that fine-tuning ends nearer to retraining than with the same
# total held constant, and with the paper's line. The check runs your schedule on three small
# networks of handwritten digits.
# *Judged by* the closeness to retraining, 100 less the disparity. Asked for is half of the way from
# the better of the two plain schedules to the worked solution, all measured on the same networks.

# %%
@exercise("12.5")
def sparsity_schedule(epochs, total):
    """Strengths of the l1 norm, 0 or more, that add up to total. int, float -> list, one an epoch
    """
    ...  # your code

# %%
l1 = GRID["l1"][study.chosen["l1"]]
total = sum(unlearn.l1_strength(e, cfg.again, l1["gamma"]) for e in range(cfg.again))
shapes = {"constant": worked.constant_schedule, "the paper's line": worked.decaying_schedule,
          "yours": sparsity_schedule, "the course's": worked.sparsity_schedule}
if sparsity_schedule is worked.sparsity_schedule:
    del shapes["yours"]  # not attempted: it is the course's
strengths = {name: shape(cfg.again, total) for name, shape in shapes.items()}
some = judged[: cfg.few]
nets = [net for net in networks if net.sparsity == 0 and net.seed in some]
gaps = here.try_schedules(study, nets, CLASSES[0], strengths, runs,
                          known={"the paper's line": "l1"})  # it was judged above
start = runs[(runs.asked == CLASSES[0]) & (runs.sparsity == 0) & (runs.method == "original")]

# %%
lab.figure(here.schedules_figure(figures, strengths, gaps, start.gap.tolist()[: len(some)],
                                 n // k),
           "The strength of the norm in each epoch for every schedule, and the disparity to "
           "retraining that dense networks end with, with intervals over splits.")
mine = "yours" if "yours" in gaps else "the course's"
against = {name: here.minus(gaps[mine], gaps[name]) for name in gaps if name != mine}
lab.say(f"Forgetting {data.classes[CLASSES[0]]} at {here.in_brief(l1)}, all with "
        f"the same total. The schedule '{mine}' ends "
        + "; ".join(f"{points(v)} points from where '{name}' ends" for name, v in against.items())
        + " (nearer to retraining is seen where the whole interval is below 0).")
more, closer = (here.minus(each_seed(c, "l1"), each_seed(c, "FT")) for c in ("UA", "gap"))
lab.say_committed(
    "Over all classes, each at its own setting, l1 (the paper's line) differs from fine-tuning by "
    "{sparse-l1.ua} in UA and {sparse-l1.disparity} in disparity, in points over the committed "
    f"runs. Below 0 narrows the gap. It is not closed while points are left, in this run "
    f"{percent(each_seed('gap', 'l1'))}; RA, l1 less retrained, is "
    f"{points(here.minus(each_seed('RA', 'l1'), each_seed('RA', 'retrained')))}.")
lab.claim("sparse-l1", {"ua": more, "disparity": closer}, units=judged)
_ = lab.claim("sparse-cost", here.seconds(runs, study.chosen, judged, "l1", "FT"), units=judged)

# %% [markdown]
# **To take along**: nearer is not closed: look at what is left, and at RA.
#
# **Check yourself.** Why should a schedule be tried on other networks than those of the figure
# before it is called better?
#
# <details><summary>Answer</summary>
#
# Who tries ten schedules on three networks and keeps the best has fitted it to them. The digits of
# the check are for trying; the networks of the figure are for one look.
#
# </details>

# %% [markdown]
# ## 7 · Against which reference?
#
# The mask of a sparse network was computed from weights that were trained on **all** rows, the
# forgotten ones among them. Retraining with this **old mask**, as the released code does, is not
# quite a network that never saw them. A clean reference computes a **new mask** without them. Xiao
# et al. make this point.
#
# So retrain twice, with nothing different but the mask. A network that never saw a class is wrong
# on nearly all its rows whatever its mask, so here a random tenth of the rows is forgotten.

# %%
pruned = [net for net in networks if net.sparsity == SPARSE]
masked = here.parallel(partial(here.leaks, study, "random"), pruned, keep=lab.unfinished("leak"))
leak = {c: [m["old mask"][c] - m["new mask"][c] for m in masked] for c in here.COLUMNS}
lab.table(pd.DataFrame([{"network": name} | {c: percent([m[name][c] for m in masked])
                                             for c in here.COLUMNS}
                        for name in ("original", "old mask", "new mask")]),
          f"{100 * SPARSE:g} % sparse, a random tenth forgotten; {len(masked)} splits")
common = percent([m["common"] for m in masked])
lab.say_committed(
    "A reference whose mask knows of the rows should be nearer to the original: UA and MIA lower. "
    "Over the committed runs the old mask changes UA by {sparse-mask-leak.ua}, MIA by "
    "{sparse-mask-leak.mia}, in points. In this run it changes TA by "
    f"{points(leak['TA'])}, and the masks share {common} % of the kept weights (by chance "
    f"{100 * (1 - SPARSE):.0f} %).")
lab.claim("sparse-mask-leak", {"ua": leak["UA"], "mia": leak["MIA"]}, units=judged)
if cfg.random:  # FT for the tenth, at its own rate by the same rule
    tenth, told = here.random_changes(study, tried, runs, judged, SPARSE, masked,
                                      change["finetune"], points)
    lab.say(told)
    lab.claim("sparse-random", tenth, units=judged)

# %% [markdown]
# **To take along**: a clean reference never saw the rows, and neither did its mask.
#
# **Check yourself.** Why is the difference between the two masks no proof that somebody could name
# a forgotten row from the mask?
#
# <details><summary>Answer</summary>
#
# What was measured is how two references differ on average over many forgotten rows. An attack that
# reads a single row out of the mask would have to be written and measured.
#
# </details>

# %% [markdown]
# ## 8 · Does it clean a backdoor? (optional)
#
# > **Threat model.** **Who** somebody who contributed rows.
# > **Sees** nothing of the training.
# > **May** stamp a square on 2 % of the rows and label them 0.
# > **Wants** that any stamped picture is called 0. Later the rows are found, and unlearned.
#
# **ASR** is the share of stamped test pictures that are called 0, without those that *are* 0, and
# **SA** the accuracy on clean ones. The paper reports an ASR of 47 % after fine-tuning a dense
# network and of 14 to 15 % sparse, read off a plot, and counts pictures of class 0, about a tenth.
# The mask of a poisoned network was found on poisoned rows, so the sparse retrained network has a
# new mask.

# %%
trigger, rate = here.corner_trigger(data, cfg.black), RATES[rule]
at = sorted({rate, RATES[0]}) if cfg.old_mask else [rate]
back = here.parallel(partial(here.backdoored, study, trigger, cfg.poisoned, cfg.sparsities, at,
                             cfg.old_mask), judged, keep=lab.unfinished("backdoor"))
clean = partial(here.of_network, back, judged)  # (column, network, sparsity) -> one value a seed
lab.figure(here.backdoor_figure(figures, clean, f"FT {rate:g}", cfg.sparsities, n // k),
           "Success of the backdoor and clean accuracy against sparsity, for the poisoned "
           "original, after fine-tuning, after l1, and retrained, with intervals over splits.")
asr, price, over = (here.minus(clean(c, f"FT {rate:g}", a), clean(c, who, b)) for c, a, who, b in (
    ("ASR", SPARSE, f"FT {rate:g}", 0.0), ("SA", 0.0, f"FT {rate:g}", SPARSE),
    ("ASR", SPARSE, "retrained", SPARSE)))

# %%
fooled = sum(row["lost"] for rows in back for row in rows)
left = {s: percent(clean("ASR", f"FT {rate:g}", s)) for s in (0.0, SPARSE)}
small = here.minus(clean("ASR", "l1", 0.0), clean("ASR", f"FT {rate:g}", SPARSE))
lab.say_committed(
    "Over the committed runs, in points: sparsity changes the ASR after fine-tuning by "
    "{sparse-backdoor.asr}. Sparse less retrained it is {sparse-backdoor.left}; at most 5 would "
    "count as cleaned. Clean accuracy, dense less sparse: {sparse-backdoor.accuracy}, where the "
    f"claim allows 2. In this run the ASR is {left[0.0]} % dense, {left[SPARSE]} % sparse, and "
    f"{percent(clean('ASR', 'l1', 0.0))} % dense with l1; l1 less sparse {points(small)} "
    "(below 0: small weights clean more than few). "
    + (f"Networks that diverged, and count as fooled by every stamp: {fooled}. " if fooled else "")
    + (f"With the old mask retraining leaves {percent(clean('ASR', 'old mask', SPARSE))} %."
       if cfg.old_mask else ""))
_ = lab.claim("sparse-backdoor", {"asr": asr, "left": over, "accuracy": price}, units=judged)

# %% [markdown]
# **To take along**: less is not none.
#
# **Check yourself.** An ASR falls by a fifth. Why is this not a fifth of a cure? What should it be
# compared with?
#
# <details><summary>Answer</summary>
#
# Whoever planted the stamp may still succeed often. The measure of a cure is retraining
# without the poisoned rows, and under a mask that these rows had no part in.
#
# </details>

# %% [markdown]
# ## 9 · Theory, and features (optional)
#
# The paper bounds the distance $e$ of the *ascent*-unlearned network to the retrained one (its
# Proposition 2; read off an image of the paper):
# $$e(m) = O\big(\eta^2\, t\, \lVert m \circ (\theta_t - \theta_0) \rVert_2\, \sigma(m)\big)$$
# with the learning rate $\eta$, the training steps $t$, the weights before and after training
# $\theta_0, \theta_t$, and the largest singular value $\sigma(m)$ of the Hessian, the loss's matrix
# of second derivatives, over the kept weights. It holds for plain SGD up to an unknown constant.
# Our training has momentum and a schedule: the quantity is a guide, no bound of these networks.
#
# Another promise: unlearn source classes, and the features serve a new task as well as after
# retraining. Here that is handwritten digits; a linear classifier reads what the last layer is fed.

# %%
ratio = here.bound_ratios(study, networks, judged, SPARSE, *cfg.power)
apart = {m: np.divide(each_seed("distance", m, SPARSE), each_seed("distance", m)).tolist()
         for m in ("original", "GA")}
lab.figure(here.bound_figure(figures, ratio, apart, SPARSE),
           "Path length, curvature and bound of the sparse networks over those of the dense ones, "
           "and the measured distances to retraining, with intervals over splits.")
lab.say_committed(
    "Over the committed runs, sparse over dense: the bound {sparse-bound.bound}, the measured "
    "distance after ascent {sparse-bound.distance}. In this run the path is "
    f"{here.in_words(ratio['path'])} times as long, the curvature {here.in_words(ratio['sigma'])} "
    f"times as large, the distance untouched {here.in_words(apart['original'])} (after ascent less "
    f"untouched: {here.in_words(here.minus(apart['GA'], apart['original']))}): a distance over "
    "fewer weights is another distance, whatever was done to them.")
_ = lab.claim("sparse-bound", {"distance": [v for v in apart["GA"] if np.isfinite(v)],
                               "bound": ratio["bound"]}, units=judged)

# %%
untrained = [study.probe(build(s)) for s in judged]
scope = here.minus(each_seed("digits", "retrained"), untrained)
kept_features = here.minus(each_seed("digits", "l1"), each_seed("digits", "retrained"))
share = here.seconds(runs, study.chosen, judged, "l1", "retrained")
lab.say(f"Accuracy on digits: {percent(each_seed('digits', 'retrained'))} % from the features of "
        f"retrained networks, {percent(each_seed('digits', 'l1'))} % after l1, "
        f"{percent(untrained)} % from networks that were never trained.",
        "" if side(scope) > 0 else "The test has no room on these splits, and says nothing.")
lab.say_committed("Over the committed runs, in points: l1 less retraining "
                  "{sparse-transfer.accuracy}, where a loss of less than 1 counts as kept. All the "
                  "room that the test has, retrained less untrained, is {sparse-transfer.room}.")
_ = lab.claim("sparse-transfer", {"accuracy": kept_features, "time": share, "room": scope},
              units=judged)

# %% [markdown]
# **Check yourself.** Why is the accuracy of an *untrained* network shown?
#
# <details><summary>Answer</summary>
#
# If random features do nearly as well as trained ones, a method could destroy the features and
# lose almost nothing on this test.
#
# </details>

# %% [markdown]
# ## Explore: sparsity, learning rate, class
#
# One split: bars for fine-tuning, arrows for the original and the retrained network. Is there a
# rate at which the bars meet all green arrows, dense and sparse?

# %%
figure, redraw = here.explorer_figure(figures, here.one_split(runs, RATES, judged[0]))
levels = [(f"{100 * s:g} %", s) for s in cfg.sparsities]
panel = widgets.explorer(
    figure, redraw, s=widgets.slider("sparsity", levels, 0.0),
    lr=widgets.slider("learning rate", [(f"{r:g}", r) for r in rates.values()], RATES[0]),
    label=widgets.dropdown("class", [(data.classes[c], c) for c in CLASSES], CLASSES[0]))
lab.figure(figure, "The explorer in its first state: four bars for UA, MIA, RA and TA after "
                   "fine-tuning a dense network, with marks for original and retrained.")
panel

# %% [markdown]
# ## What would fool you
#
# **UA alone.** Take the best method of a table that shows nothing else. **The wrong reference.**
# Compare sparse networks with the *dense* retrained one, and say nothing of it. **One class.** Show
# the class that suits. All three, from this run, picked on the judged networks as nobody should:

# %%
((name, place), worst), wrong, added = here.shortcuts(runs, rule, SPARSE)
lab.say(f"By UA alone {name} with {here.in_brief(GRID[name][place])} is among the best: it gets "
        f"{worst.RA:.0f} % of the retained rows right, and is {worst.gap:.0f} points from "
        "retraining.",
        "With the dense reference the disparity of sparse fine-tuning changes by "
        f"{points(wrong)} points: "
        + ("it flatters." if side(wrong) < 0 else "here it fools nobody, for no gain is seen."),
        "At the rate of the rule sparsity adds to UA, class by class: "
        + "; ".join(f"{v:.0f} points ({data.classes[c]})" for c, v in added.items())
        + f": means of {len(judged)} networks, without intervals.")

# %% [markdown]
# ## What was tested
#
# The verdicts are of one kind of network and of this data set. The profile `full` is made to
# measure three of them again with a second network, of three convolutions. "Closes the gap" is the
# paper's word: judged is whether l1 narrows it.

# %%
lab.say(here.in_full(judged))
if cfg.second:
    second, its, gone_wrong = here.elsewhere(study, judged[: cfg.second], tuning[0], CLASSES,
                                             SPARSE, trigger, cfg.poisoned)
    lab.claim("sparse-network", second, units=judged[: cfg.second])
    of_one = dict(zip(second, (gains[rule], beyond_start, more, closer, asr, over)))
    lab.say(here.second_network(of_one, second, its, gone_wrong, side))

# %%
kind = runs.asked.map(lambda asked: "tenth" if asked == "random" else "class").rename("forgotten")
lab.record("runs", runs.groupby([kind, "method", "sparsity", "setting"])[
    [*here.COLUMNS, "gap"]].mean().reset_index())
lab.record("settings", {name: GRID[name][i] for name, i in study.chosen.items()})
lab.claims_table()

# %% [markdown]
# ## The answer

# %%
lab.say_committed(
    "**Does a network with fewer weights forget more easily?** "
    "By the UA of fine-tuning, in points over the committed runs: yes where an interval lies above "
    "0, no where it lies below, open where it holds 0.\n\n- **UA.** Sparsity adds "
    "{sparse-ft.published-rate} to fine-tuning at a tenth of the training rate, "
    "{sparse-ft.gain} at the rate that suits dense networks best; beyond the head start of doing "
    "nothing the second is {sparse-ft.beyond}.\n- **Distance to retraining** "
    "of the same sparsity (below 0: nearer), at the setting that suits dense networks: FT "
    "{sparse-gap.finetune}, GA {sparse-gap.ascent}, Fisher {sparse-gap.fisher}, influence "
    "{sparse-gap.influence}; doing nothing {sparse-gap.untouched}. "
    f"With a rate for each kind: FT {{sparse-ft.own-rate}}; {here.of_rates(RATES, rule, own)}.\n"
    "- **Without pruning** l1 changes the distance of dense fine-tuning by {sparse-l1.disparity}.\n"
    "- **The reference.** A mask that the forgotten rows had a part in changes retraining's UA by "
    "{sparse-mask-leak.ua}, its MIA by {sparse-mask-leak.mia}.\n\n"
    "Not shown: the second network (not in `quick`), networks of the papers' size, and "
    "other rows than those of one small pool.")

# %% [markdown]
# **Read on**: [Jia et al. 2023](https://arxiv.org/abs/2304.04934), for the tables of which these
# are a small copy; [Fan et al. 2024](https://arxiv.org/abs/2310.12508), who choose weights by their
# gradient; [Xiao et al. 2025](https://arxiv.org/abs/2507.18725), on pruning anew after a deletion.
#
# **Next**: [notebook 14](14_value.ipynb) asks what rows are worth; then the scoreboard of the whole
# course, `labkit report`, and your own data:
# `dataset="folder:PATH"`.
