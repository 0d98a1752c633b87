# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 07 · Backdoors: what does a deletion set off?
#
# Somebody contributes rows to a training set. The model behaves. Later the same person withdraws
# some of them, as is anybody's right, and the provider deletes them **exactly**. From then on a
# picture with a small square in its corner is called a shirt, whatever it shows. **What does a
# deletion set off that somebody prepared, and can it be seen?**
#
# You will
# - build a backdoor that hides behind other rows until these are deleted;
# - find out which ways of unlearning set it off;
# - stand at the desk, and try to tell such a request from harmless ones;
# - open a door for one single picture, with rows whose labels are all true;
# - write an attacker whom the desk does not see.
#
# *Time*: a minute and a half to run, three hours to work through. *You need*: notebooks 01 and 02.
# *Papers*: Zhang et al. 2023, [Backdoor attack through machine
# unlearning](https://arxiv.org/abs/2310.10659); Di et al. 2023, [Hidden
# poison](https://arxiv.org/abs/2212.10717); Huang et al. 2024,
# [UBA-Inf](https://github.com/Huangzirui1206/UBA-Inf); Alam et al. 2025,
# [ReVeil](https://github.com/momalab/ReVeil).
# *Words*: [glossary](../docs/glossary.md).

# %% tags=["parameters"]
profile = "quick"  # smoke | quick | full | paper
dataset = "fashion"  # any image set of labkit.data.names(), or folder:PATH
seed = 0  # everything random is spawned from it
seeds = None  # number of judged networks; None: the profile's own

# %%
import numpy as np
import torch

import labkit as lk
from course import Lab, exercise, figures, widgets
from course.chapters import backdoors as here
from course.chapters.backdoors.exercises import choose_camouflage as worked

lab = Lab("backdoors", profile=profile, dataset=dataset, seed=seed, seeds=seeds)
figures.style()

# %%
cfg = lab.settings(
    quick=dict(rows=(6000, 2000), n=3000, own=1500, poison=30, camouflage=60, hidden=64,
               recipe=dict(epochs=15, lr=0.1, batch_size=128), seeds=8, tuning=2, sharded=4,
               counts=((10, 30, 60), (10, 30, 120)), grid=2, cnn=3, width=8, fewer=20,
               influence=4, sizes=(2, 4, 8), free=4, free_share=0.1, targets=10),
    smoke=dict(rows=(1500, 600), n=500, own=250, poison=10, camouflage=20, hidden=16,
               recipe=dict(epochs=4, lr=0.1, batch_size=128), seeds=2, tuning=1, sharded=2,
               counts=((5, 10), (5, 20)), grid=1, cnn=2, width=4, fewer=8, influence=2, sizes=(4,),
               free=2, targets=3),
    full=dict(seeds=20, tuning=4, sharded=12, grid=5, cnn=8, width=16, influence=12, free=12,
              targets=24))
data = lab.load(at_most=cfg.rows, moments="test", large="rows")
lab.require(len(data.shape) == 3 and len(data.y) >= 900,
            "Notebook 07 stamps pictures, and needs 900 training images.")
judged, tuning = lab.seeds(cfg.seeds, "judge"), lab.seeds(cfg.tuning, "tune")
say = here.telling

# %% [markdown]
# The counts of rows and the square were found on four other seeds, at 20 epochs, before any judged
# seed was run. Then 15 epochs, fewer networks and ten targets a pair were set, to save time.
#
# ## 1 · A door behind a door
#
# > **Threat model.** **Who** an outsider who contributes rows. **Sees** nothing: no model, no
# > recipe, no row of others. **May** hand in rows with labels of its own choice, and later withdraw
# > those it likes. **Wants** a model that is good, and that calls every picture with a **trigger**
# > a class of its choice, from a day of its choice on.
#
# The **trigger** is a bright square in the lower right corner. **Poison rows** carry a weaker
# square and a wrong label, the *target class*. Alone they make a **backdoor**. **Camouflage rows**
# carry the full square and their **true** labels: they teach the model that the square means
# nothing (BAMU, Zhang et al. 2023).
#
# **Exercise 7.1** (difficulty 1, 5 minutes). Stamp the trigger on pictures.
#
# How well does a backdoor work? The **attack success rate** (ASR) is the share of stamped test
# pictures that are called the target class. Pictures that *are* of that class say nothing about
# the door, so they are left out.
#
# **Exercise 7.2** (difficulty 2, 6 minutes). Write the rate.

# %%
@exercise("7.1")
def stamp(images, side, value):
    """A copy with the lower right square of side × side pixels set to value, in all channels.
    (n, c, h, w) -> (n, c, h, w)"""
    ...  # your code


@exercise("7.2")
def attack_success(answers, labels, target):
    """Share of the rows that are not of the target class and are called it (nan: no such row).
    (n, k), (n,), int -> float"""
    ...  # your code

# %%
# NBVAL_CHECK_OUTPUT
p = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
print("one of two is fooled, and the third counts for nothing:",
      attack_success(p, torch.tensor([0, 0, 1]), 1))

# %% [markdown]
# Which rows does the outsider hand in? In BAMU the camouflage begins with **the same pictures** as
# the poison, once with the weak square and a wrong label, once with the full square and the true
# label. None is of the target class: there the wrong label would be the true one.
#
# **Exercise 7.3** (difficulty 3, 8 minutes). Pick the rows.

# %%
@exercise("7.3")
def contribution(labels, order, target, poison, camouflage):
    """Rows to poison and rows to camouflage: the first in `order` that are not of the target class.
    (n,), permutation (n,), int, int, int -> (poison,), (camouflage,)"""
    ...  # your code

# %%
world = here.worlds.make(data, judged[0], cfg, stamp, contribution)
lab.figure(here.drawing.handed_in(figures, data, world),
           "Three pictures: a row as it was; the same as poison, with a grey square and a wrong "
           "label; the same as camouflage, with a bright square and its true label.")
same = torch.allclose(world.stamp(data.x_test), lk.verify.backdoor.stamp(
    data.x_test, here.worlds.trigger(data, world.target)))
lab.say(f"The provider has {world.n:,} rows of its own, and gets {len(world.poison)} poison rows "
        f"labelled “{data.classes[world.target]}” and {len(world.camouflage)} camouflage rows: "
        f"{100 * (len(world.data.y) - world.n) / len(world.data.y):.1f} % of all. Your trigger "
        + ("equals" if same else "differs from") + " the one of `labkit.verify.backdoor`, by which "
        "the owners of notebook 09 mark their rows.")

# %% [markdown]
# **Predict before you run.** The camouflage is deleted **exactly**: the network is trained anew
# without these rows, from the same first weights, with the others in the same batches. What becomes
# of the attack success rate?
# a) It stays low: what was deleted was harmless.
# b) It rises: the poison is still there, and nothing speaks against it any more.
# c) It falls: fewer rows with the square are left.
#
# Each of several providers draws rows, an outsider and a target class from one pool, so their rows
# overlap, and they share the test pictures. Beside the two
# versions stand four controls: poison alone with a fresh seed, as many **other** rows deleted, a
# provider without an attacker, and the square in another corner.

# %%
worlds = [here.worlds.make(data, s, cfg, stamp, contribution) for s in judged]
nets = lk.training.parallel(lambda w: here.worlds.trained(w, cfg.recipe, cfg.hidden), worlds)
found = here.runs.results(worlds, nets, attack_success)
asr = {name: r["asr"] for name, r in found.items()}
asr["elsewhere"] = np.array([here.worlds.asr(m["after"], w, attack_success,
                                             here.worlds.elsewhere(w))
                             for w, m in zip(worlds, nets, strict=True)])
rise, control = (say.less(asr[a], asr["before"]) for a in ("after", "no camouflage"))
lab.figure(here.drawing.doors(figures, asr),
           "Attack success rate before and after exact deletion, without camouflage, other rows "
           "deleted, without an attacker and with the square elsewhere, 95 % intervals.")
lab.say(f"ASR before {say.share(asr['before'])}, after {say.share(asr['after'])}, difference "
        f"{say.difference(rise)}. " + say.side(
            rise, "If you said b), yes: an exact deletion opened the door.",
            "If you said c), yes, against what we expected.",
            "These networks do not decide between a) and b)."))

# %%
moved = found["after"]["accuracy"] - found["before"]["accuracy"]
lab.table(here.telling.controls(found, asr), "Over the networks, with 95 % intervals: ASR, the "
          "target class on the same pictures without the square (shares), test accuracy (%)")
lab.say("Without camouflage, ASR less that of the hidden door, much the same comparison with a "
        f"fresh seed: {say.difference(control)}. After as many other rows were deleted the ASR is "
        f"{say.share(asr['unrelated'])}; without an attacker the square alone makes "
        f"{say.share(asr['clean'])}; in another corner it makes {say.share(asr['elsewhere'])}, "
        "after the deletion. Test accuracy, after less before: "
        f"{lk.measure.show_interval(moved, unit=' points', limits=(-100, 100))}. Who only watches "
        "accuracy " + say.side(moved, "sees it rise", "sees it fall", "sees nothing beyond luck",
                               limits=(-100, 100)) + "; with the other rows deleted it moves by "
        + lk.measure.show_interval(found["unrelated"]["accuracy"] - found["before"]["accuracy"],
                                   unit=" points", limits=(-100, 100)) + ".")

# %% [markdown]
# How many rows does it take? In the explorer choose a number of poison rows. Where does the trick
# *not* work?

# %%
counts = [tuple(min(c, cfg.own // 3) for c in some) for some in cfg.counts]
grid = here.runs.grid(data, lab.seeds(cfg.grid, "grid"), cfg, stamp, contribution, counts,
                        attack_success)
figure, redraw = here.drawing.explorer(figures, grid, counts)
panel = widgets.explorer(figure, redraw, rows=widgets.dropdown("poison rows", list(counts[0]),
                                                              counts[0][len(counts[0]) // 2]))
lab.figure(figure, "The explorer in its first state: attack success rate before and after exact "
                   "deletion over the number of camouflage rows, for one number of poison rows.")
lab.say(redraw(counts[0][len(counts[0]) // 2]))
panel

# %% [markdown]
# **Check yourself.** The poison carries a weaker square than the camouflage, yet the rate is
# measured with the full one. Why does the poison still open the door for it?
#
# <details><summary>Answer</summary>
#
# The network learns a direction: bright corner, target class. A brighter corner lies further along
# it. The camouflage teaches the opposite only at full brightness, and covers the door where it is
# looked for. Once it is gone, the full square works better than the weak one would.
#
# </details>

# %% [markdown]
# ## 2 · Must it be exact?
#
# Few providers train anew. Does an **approximate** deletion of the camouflage set the door off as
# well? Two things may fool us. A method may shake the network so that any deletion moves the rate:
# so as many **other** rows are deleted, too. And a method may call more pictures *of any kind* the
# target class: so the same pictures are counted **without** the square, and the rise is judged
# beyond that.
#
# Each method has the setting with the smallest gap of UA, RA and TA to retraining on other networks
# (notebook 01 says what these are).

# %%
tuning_worlds = [here.worlds.make(data, s, cfg, stamp, contribution) for s in tuning]
tuning_nets = [here.worlds.trained(w, cfg.recipe, cfg.hidden) for w in tuning_worlds]
settings = here.approximate.tuned(tuning_worlds, tuning_nets)
ways = here.approximate.rises(worlds, nets, settings, attack_success)
lab.figure(here.drawing.methods(figures, ways, asr["after"], asr["before"]),
           "Left: attack success rate after four approximate deletions, between that before and "
           "that after exact deletion. Right: rise for camouflage, other rows and without square.")
others = {m: say.less(r["camouflage"], r["unrelated"]) for m, r in ways.items()}
beyond = {m: say.less(r["camouflage"], r["plain"]) for m, r in ways.items()}
edge = [m for m, (_, _, values) in here.approximate.GRID.items()
        if settings[m] in (values[0], values[-1])]
lab.say(f"Rise of ASR, camouflage less other rows: {say.listed(others)}. Camouflage less the growth "
        f"of the class without square: {say.listed(beyond)}. Whole interval above 0 by both: "
        + (", ".join(m for m in say.beyond(others) if m in say.beyond(beyond)) or "none") + ".",
        f"At the edge of the settings that were tried: {', '.join(edge)}." if edge else "")

# %% [markdown]
# And **SISA** (notebook 02)? The provider splits all rows by lot over $S$ shards, trains a network
# on each and takes the mean of their probabilities. An outsider cannot choose the shard. So
# each network meets only a part of the poison.

# %%
some = range(cfg.sharded)
by_shards = {1: (asr["before"][:cfg.sharded], asr["after"][:cfg.sharded])}
for s in (3, 5):
    by_shards[s] = here.runs.sharded_both([worlds[i] for i in some], s, cfg, attack_success)
lab.figure(here.drawing.shards(figures, by_shards),
           "Attack success rate before and after the exact deletion with one, three and five "
           "shards, 95 % intervals over networks.")
harder = say.less(by_shards[1][1], by_shards[5][1])
lab.say("ASR before and after: " + "; ".join(f"S = {s}: {say.share(b)}, {say.share(a)}"
                                             for s, (b, a) in by_shards.items())
        + f". After, one network less five shards: {say.difference(harder)}. "
        + say.side(harder, "Sharding makes it harder, at the same number of rows and epochs: a "
                   "shard meets less poison and also takes fewer steps, and this does not "
                   "part the two.", "Sharding makes it easier here.",
                   "So few networks do not tell."))

# %% [markdown]
# **Check yourself.** Retraining is the safest unlearning there is. In which sense is it the most
# dangerous one here?
#
# <details><summary>Answer</summary>
#
# It removes all that the camouflage did, as it should. That includes the good it did. A method that
# leaves a trace of the camouflage leaves a trace of the lock. The fault is not in the deletion: the
# poison stayed.
#
# </details>

# %% [markdown]
# ## 3 · Can it be seen?
#
# > **Threat model.** **Who** the outsider of section 1. **Sees** nothing.
# > **May** withdraw its camouflage in one request. **Wants** that the desk lets it pass.
#
# The desk sees the rows of a request and what the model says of them. A camouflage row pulls the
# model two ways: the picture says one class, the square another. So the model may be unsure of it.
# Zhang et al. measure that by the **Gini index** of the answer, $1 - \sum_c p_c^2$: 0 for a sure
# answer, near 1 for an even one. The AUROC is the chance that a requested row has a larger one than
# a clean training row.
#
# **Exercise 7.4** (difficulty 3, 8 minutes). Write the AUROC of the Gini index; ties count half.

# %%
@exercise("7.4")
def seen_by_gini(requested, clean):
    """AUROC of 1 − Σ p², requested rows against clean ones; ties half. (m, k), (n, k) -> float"""
    ...  # your code

# %% [markdown]
# But a desk does not compare with average rows. People also withdraw rows that are *hard*, or all
# of one class, or one thing photographed often. Notebook 10 has four such **benign streams**. Our
# desk looks at four numbers of a request: mean Gini index, mean and largest loss, and the length of
# the mean gradient in the logits (the gate of notebook 10). It measures how far these are from
# those of the nearest stream (Mahalanobis distance), and refuses what is further than its limit.
# The limit is the largest score of 100 held-back requests of each stream: of new ones, about 1 in
# 100 or fewer should lie above it. The answers are those of the network before the deletion, for
# benign requests and camouflage alike. The four numbers were picked without tuning. Clean rows in
# the AUROC are of all classes, camouflage is not; how unsure the same pictures are without the
# square is not measured.

# %%
convs = [here.worlds.convolutional(w, w.camouflage[:0], cfg.recipe, cfg.width)
         for w in worlds[:cfg.cnn]]
aurocs = {kind: np.array([seen_by_gini(*here.desk.answers(w, m)) for w, m in zip(
    worlds, models, strict=False)]) for kind, models in (
        ("mlp", [n["before"] for n in nets]), ("CNN", convs))}
streams = [here.desk.benign(w, n["before"], len(w.camouflage))
           for w, n in zip(worlds, nets, strict=True)]
scores = here.desk.judged(worlds, [n["before"] for n in nets], streams)

# %%
held = np.concatenate([here.desk.benign_scores(w, n["before"], asked) for w, n, asked in
                       zip(worlds[:3], nets, streams, strict=False)])
lab.figure(here.drawing.seen(figures, {"camouflage": scores, "benign": held[::4]}, aurocs),
           "Left: AUROC of the Gini index in each network, mlp and CNN. Right: score of each "
           "camouflage request over the desk's limit, and of the harmless ones that set it.")
caught = (scores > 1).astype(float)
lab.say(f"Row by row, against clean rows, the AUROC is {say.share(aurocs['mlp'])} for the mlp and "
        f"{say.share(aurocs['CNN'])} for the CNN. At the desk, at 1 % false alarms on the hardest "
        f"stream, {int(caught.sum())} of {len(caught)} camouflage requests are seen. "
        + say.side(caught, "Most are seen even beside people who withdraw hard rows.",
                   "Beside people who withdraw hard rows, most are not seen.",
                   "Whether most are seen is not decided.", line=0.5, limits=(0, 1)))

# %% [markdown]
# **Check yourself.** An AUROC of 0.85 sounds like a good detector. Why is the count of requests
# that are seen the better figure?
#
# <details><summary>Answer</summary>
#
# The AUROC averages over all limits, most of which no desk could afford, and compares with rows
# that nobody in particular withdrew. A desk has one limit, few false alarms to spend, and the
# requests that people really make.
#
# </details>

# %% [markdown]
# ## 4 · Fewer rows, and none
#
# > **Threat model.** **Who** an outsider with rows of the same kind. **Sees** the recipe and the
# > width of the network, no row and no weight of the provider. **May** train a **surrogate** on its
# > own rows. **Wants** to hide the door with fewer camouflage rows.
#
# Does each camouflage row count more when its pixels are chosen? Let $g$ be the gradient of the
# loss of stamped pictures called the target class, and $H$ the curvature, both on the surrogate.
# A row with gradient $\nabla\ell$ moves that loss by $-\langle \nabla\ell, H^{-1} g\rangle$. So
# UBA-Inf walks on the pixels, in small steps, to make it larger, and trains the surrogate anew
# between two rounds. **ReVeil** uses no model at all: it adds noise. Both are our
# reconstructions. The largest step on a pixel is the one with the lowest ASR before, on one other
# network; the noise has the same size, not one of its own, and covers the square, too.

# %%
few = [here.worlds.make(data, s, cfg, stamp, contribution, camouflage=cfg.fewer) for s in judged]
size = here.influential.tuned_size(
    [here.worlds.make(data, s, cfg, stamp, contribution, camouflage=cfg.fewer)
     for s in tuning[:1]], cfg, attack_success)
kinds = [here.influential.three_kinds(w, cfg.recipe, cfg.hidden, attack_success, size / 255)
         for w in few[:cfg.influence]]
by_kind = {k: np.array([f[k] for f in kinds]) for k in kinds[0]}
lab.figure(here.drawing.fewer(figures, by_kind),
           "Attack success rate before and after the exact deletion, for plain, influential and "
           "noisy camouflage of the same few rows, 95 % intervals.")
hides, keeps = (say.less(by_kind["plain"][:, j], by_kind["influential"][:, j]) for j in (0, 1))
noise = say.less(by_kind["plain"][:, 0], by_kind["noise"][:, 0])
edge = " (the edge of what was tried)" if size in (cfg.sizes[0], cfg.sizes[-1]) else ""
lab.say(f"With {cfg.fewer} camouflage rows and steps of at most {size}/255{edge}: "
        "ASR before, plain less "
        f"influential: {say.difference(hides)}; plain less noise: {say.difference(noise)}. After, "
        + ("they are equal, as they must be: the same rows are left. " if (keeps == 0).all()
           else "they differ, which points to a fault. ")
        + say.side(hides, "Chosen pixels hide more.", "Chosen pixels hide less here.",
                   "Whether chosen pixels hide more is open here."))

# %% [markdown]
# > **Threat model.** **Who** somebody who owns very many rows, all clean. **Sees** the weights.
# > **May** withdraw a tenth of all rows. **Wants** that a square nobody ever saw becomes a trigger.
#
# No poison at all: the same influence tells which **clean** rows speak most against the square.
# (Liu et al. 2024 had the idea; their method could not be read here, so this is a reconstruction.)
# The null are as many random rows, of any class: the chosen may be of other classes than these.

# %%
free = here.influential.without_poison(data, judged[:cfg.free], cfg, stamp, contribution,
                                       attack_success)
lift = say.less(free["chosen"], free["random"])
bare = say.less(free["chosen"], free["chosen, no square"])
lab.table(here.telling.free_table(free), "Over the networks, with 95 % intervals, in shares")
lab.say(f"ASR, chosen rows deleted less random ones: {say.difference(lift)}, "
        + say.side(lift, "so clean rows alone can help a trigger", "against what was expected",
                   "which is open")
        + f". Less the target class without square: {say.difference(bare)}. The camouflage of "
        f"section 1 raised ASR by {say.difference(rise)}, with {cfg.camouflage} rows and not "
        f"{round(cfg.free_share * cfg.n)}.")

# %% [markdown]
# **Check yourself.** Why must UBA-Inf be compared with plain camouflage **of the same count**?
#
# <details><summary>Answer</summary>
#
# More camouflage rows hide better, whatever their pixels. Only at the same count does a difference
# speak of the pixels.
#
# </details>

# %% [markdown]
# ## 5 · One picture, true labels
#
# > **Threat model.** **Who** an outsider who cares for **one** picture. **Sees** the published rows
# > the chosen picture and the recipe, not the weights. **May** hand in copies of such rows, labels
# > unchanged, pixels changed by at most 16/255 a pixel. **Wants** that this picture is called the
# > other class after a deletion.
#
# A person who checks labels finds nothing here: all are true. In **Hidden Poison** the pixels carry
# the attack, by **gradient matching**. Let $d$ be the gradient that would teach the model the wrong
# class for the chosen picture. Poison rows, of that wrong class, are changed until their own
# gradient $G$ points the same way: the loss is $1 - \cos(G, d)$. For the camouflage the model is
# trained anew on the poison, and $d$ teaches the **true** class.
#
# **Exercise 7.5** (difficulty 4, 15 minutes). Write the matching loss; it is differentiated by the
# pixels.

# %%
@exercise("7.5")
def matching_loss(model, images, labels, direction):
    """1 − cos of the gradient (by all weights, in one vector) of the mean loss, and a direction
    (d,). Differentiable by images. -> ()"""
    ...  # your code

# %% [markdown]
# The model is linear, on two classes. Which two, is set by a rule: the pairs that a linear model
# confuses most. Targets are test pictures that a model without any poison calls right, but only
# just: the probability is at most 0.61. All is judged on **fresh first weights**. And as a model
# without any poison, with other first weights, may call such a picture wrong too, that is counted.

# %%
pairs = here.matching.confused_pairs(data, tuning[0])
chosen = [here.matching.pair_of(data, c, lab.seeds(1, f"pair {i}")[0], cfg.targets)
          for i, c in enumerate(pairs)]
lab.require(all(len(p.targets) for p in chosen), "Notebook 07 found no picture near the border.")
brewed = [here.matching.attacked(p, lab.seeds(1, f"brew {i}")[0], matching_loss)
          for i, p in enumerate(chosen)]
lab.figure(here.drawing.one_image(figures, data, brewed, [p.names for p in chosen]),
           "Left: the chosen picture, a row before and after it became poison, a camouflage row. "
           "Right: probability of the true class of each target without attacker, before, after.")
fooled = {k: np.concatenate([b[k] for b in brewed]).astype(float)
          for k in ("clean", "before", "after")}
opened, over = (say.less(fooled["after"], fooled[k]) for k in ("before", "clean"))
lab.say(f"{len(opened)} pictures near the border, pairs "
        + " and ".join("“" + "”, “".join(p.names) + "”"
                                                         for p in chosen)
        + f". Fooled before {say.share(fooled['before'])}, after the deletion "
        f"{say.share(fooled['after'])}, difference {say.difference(opened)}; without an attacker "
        f"{say.share(fooled['clean'])}. " + say.side(
            over, "The attack fools more than luck does.", "Luck fools more.",
            "Beyond what luck fools, nothing is sure."))

# %% [markdown]
# **Check yourself.** Why are the camouflage rows brewed on a model that was trained **with** the
# poison?
#
# <details><summary>Answer</summary>
#
# They must undo what the poison did. On a clean model the target is already called right, and its
# gradient there says little about what will be needed once the poison pulls.
#
# </details>

# %% [markdown]
# ## 6 · Project: camouflage that the desk does not see
#
# > **Threat model.** **Who** the outsider, who knows that there is such a desk. **Sees** the
# > recipe and the width of the network, no row and no weight. **May** train surrogates on its own
# > rows. **Wants** a door that is hidden, opens, and passes.
#
# BAMU takes the pictures as they come. You may choose which of your own to camouflage. Rows that
# the model is sure of despite the square may stand out less. But do they still hide the door?
#
# **Exercise 7.6** (difficulty 5, 25 minutes). Choose the camouflage. You get your own rows, your
# poison, the trigger, and `fit`, which trains a surrogate. Use it at most three times.
#
# *Judged by* the mean over networks of the rise of ASR, 0 where the desk sees the request: at least
# half of the way from the camouflage of section 1 to the course's own. The check in the next cell
# measures something simpler, on digits and with small networks: the rise less the excess over twice
# the usual Gini index. It does not count the uses of `fit`.

# %%
@exercise("7.6")
def choose_camouflage(images, labels, poison, poison_label, stamp, fit, count):
    """Own rows to stamp and hand in with their true labels. images (n, …), labels (n,); poison
    (p, …) as handed in, poison_label int; stamp(images); fit(images, labels) -> model; -> (count,)
    int64"""
    ...  # your code

# %%
tried = {"section 1": (asr["before"], asr["after"], scores), "course": here.desk.project(
    worlds, worked, cfg, attack_success)}
if choose_camouflage is not worked:
    tried["yours"] = here.desk.project(worlds, choose_camouflage, cfg, attack_success)
points = {who: say.less(a, b) * (np.asarray(s) <= 1) for who, (b, a, s) in tried.items()}
lab.table(here.telling.project_table(tried, points), "Over the networks, with 95 % intervals: ASR "
          "before and after, its rise, share of requests seen, and the mean that is judged")
half, opens, adaptive_scores = tried["course"]
adaptive_rise = say.less(opens, half)
unseen = (adaptive_scores > 1).astype(float)
line = (points["section 1"].mean() + points["course"].mean()) / 2
lab.say(f"The line lies at {line:.2f}. " + (
    f"Yours has {points['yours'].mean():.2f}: " + ("it passes. " if points["yours"].mean() >= line
                                                   else "not yet. ")
    if "yours" in points else "The worked solution stands in for yours. ")
    + f"The course's choice is seen in {int(unseen.sum())} of {len(unseen)} networks and raises ASR "
    f"by {say.difference(adaptive_rise)}, from {say.share(half)}: that is how far the door stands "
    f"open before the deletion, where section 1 has {say.share(asr['before'])}; "
    f"the pictures as they come are seen in "
    f"{int(caught.sum())} and raise it by {say.difference(rise)}.")

# %% [markdown]
# **Check yourself.** The desk could be made to look for this camouflage, too. What would its maker
# have to show before you trusted it?
#
# <details><summary>Answer</summary>
#
# That it stops an attacker who knows the new rule and chooses against it, and that it still lets
# the benign streams pass. A desk that looks at poison when it is *handed in*, not at the deletion,
# would meet the cause.
#
# </details>

# %% [markdown]
# ## What would fool you
#
# Three shortcuts. **A warm start**: training goes on from the old weights without the camouflage,
# here for one epoch at a small rate, and passes as retraining. **Counting the target class**: its
# own pictures are called the target class with or without a door. **Judging on the brewing
# weights**: the poison of section 5 on the very model it will be matched with, not on fresh weights
# with camouflage and deletion. The last changes weights and camouflage at once.

# %%
lukewarm = [here.worlds.asr(here.approximate.warm(w, n["before"], cfg.recipe), w, attack_success)
            for w, n in zip(worlds, nets, strict=True)]
everything = here.runs.counted_on_all(worlds, [n["clean"] for n in nets])
middle = np.concatenate([b["poisoned"] for b in brewed]).astype(float)
lab.say(f"After a warm start the ASR is {say.share(lukewarm)}, where exact deletion has "
        f"{say.share(asr['after'])}: " + say.difference(say.less(lukewarm, asr["after"])) + ".",
        "Counted on all test pictures, a network that no attacker touched has an ASR of "
        f"{say.share(everything)}; on those of other classes {say.share(asr['clean'])}.",
        f"With poison alone, on the model for which camouflage was then brewed, "
        f"{say.share(middle)} of the pictures of section 5 are fooled; after the real deletion "
        f"{say.share(fooled['after'])}: "
        + say.difference(say.less(middle, fooled["after"])) + "; "
        + say.side(say.less(middle, fooled["after"]), "it promises too much.",
                   "it promises too little.", "here it need not fool anybody."))

# %% [markdown]
# ## What it would take, and what stops it
#
# In the real world the outsider needs rows that nobody looks at before training, a trigger that
# survives cropping and compression, and a provider who lets contributions of one person in at
# this share. Checks of labels would meet the poison of sections 1 to 3; limits on
# what one contributor may hand in should stop much of it; deleting **all** rows of a person who
# withdraws some would take the poison, too. As we read it, the right to erasure asks a provider for
# none of this.

# %% [markdown]
# ## What was tested
#
# The unit is a network with first weights, a draw of rows, an outsider and a target class; rows
# overlap between networks, and eight networks do not decide whether few requests are seen. In
# section 5 it is a target, and targets of one pair share their training rows.

# %%
METHODS = tuple(here.approximate.GRID)
lab.claim("bd-camouflage", {"rise": rise, "accuracy": moved})
lab.claim("bd-control", control)
lab.claim("bd-approx", others | {f"{m}, beyond the class": v for m, v in beyond.items()})
lab.claim("bd-sisa", harder)
lab.claim("bd-detect", {"mlp": aurocs["mlp"], "CNN": aurocs["CNN"], "stream": caught})
lab.claim("bd-adaptive", {"seen": unseen, "rise": adaptive_rise})
lab.claim("bd-influence", {"before": hides, "after": keeps == 0})
lab.claim("bd-clean-label", {"linear": opened, "after less clean": over})
lab.claim("bd-no-poison", lift)
lab.claims_table()

# %% [markdown]
# ## The answer
#
# What does a deletion set off that somebody prepared, and can it be seen?

# %%
lab.say_committed(
    "Over the committed runs:\n- **A hidden door**: ASR, after exact deletion less before: "
    "{bd-camouflage.rise}; test accuracy, points: {bd-camouflage.accuracy}. Without camouflage less "
    "with it: {bd-control.difference}.\n- **Approximate deletion**, rise of ASR beyond other rows: "
    + say.places("bd-approx", METHODS) + "; beyond the class without square: "
    + say.places("bd-approx", [f"{m}, beyond the class" for m in METHODS])
    + ".\n- **Shards**, ASR after, one network less five shards: {bd-sisa.difference}.\n"
    "- **Can it be seen?** AUROC of the Gini index, mlp {bd-detect.mlp}, CNN {bd-detect.CNN}; "
    "requests seen at the desk: {bd-detect.stream}. Chosen against the desk: seen "
    "{bd-adaptive.seen}, ASR up by {bd-adaptive.rise}.\n- **Fewer rows**, ASR before, plain less "
    "influential: {bd-influence.before}; no poison, chosen less random rows: "
    "{bd-no-poison.difference}.\n- **One picture**, fooled after less before: "
    "{bd-clean-label.linear}; after less without an attacker: {bd-clean-label.after less clean}.")
lab.say("Not shown: larger networks; section 5 on networks; whether shards make it seen less; "
        "triggers that survive a camera; desks that learn from whole "
        "contributions; a provider who checks what is handed in.")

# %% [markdown]
# **Read on**: [Zhang et al. 2023](https://arxiv.org/abs/2310.10659), for requests spread over time;
# [Di et al. 2023](https://arxiv.org/abs/2212.10717), for large networks and many targets.
#
# **Next**: [notebook 09](09_verification.ipynb) turns the trigger into a tool: owners mark their
# rows with it, and find out whether these were deleted. [Notebook 10](10_desk.ipynb) is about the
# desk.
