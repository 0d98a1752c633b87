# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 09 · Verification: can anyone check that a row is gone?
#
# In notebook 05 the provider was honest and somebody else was curious. Now turn it around: an
# owner asks for deletion, and the provider says "done". **How could the owner check that, and how
# could a provider pass the check without doing it?**
#
# You will
# - stamp one owner's rows, and read a provider's log line by line;
# - build two cheats on verification: training again with stand-ins, and forging the log;
# - see who passes which check, and what an owner can conclude from one test;
# - plan a test, and measure how often it accuses an honest provider;
# - write an audit of logs, and run it on cheats, one of which changes its stand-ins.
#
# *Time*: about two minutes to run, just under three hours to work through.
# *You need*: [01](01_basics.ipynb); [02](02_sisa.ipynb) helps.
# *Papers*: [Zhang et al. 2024, Verification of Machine Unlearning is
# Fragile](https://arxiv.org/abs/2408.00929); [Sommer et al. 2022, Athena, verification by
# backdoors](https://arxiv.org/abs/2003.04247); [Thudi et al. 2022, forging, and what an audit
# cannot show](https://arxiv.org/abs/2110.11891). The tables of the first could not be read here,
# and the forging half of its released code does not run as it stands. What had to be filled in is
# called our reconstruction.
# *Words*: [glossary](../docs/glossary.md).

# %% tags=["parameters"]
profile = "quick"  # smoke | quick | full | paper
dataset = "fashion"  # any image set of labkit.data.names(), or folder:PATH
seed = 0  # everything random is spawned from it
seeds = None  # number of judged seeds; None: the profile's own

# %%
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import labkit as lk
from course import Lab, exercise, figures, widgets
from course.chapters import verification as here

lab = Lab("verification", profile=profile, dataset=dataset, seed=seed, seeds=seeds)
figures.style()
cfg = lab.settings(
    quick=dict(model="mlp", model_settings=dict(hidden=23), rows=(4000, 2000), epochs=8, lr=0.1,
               batch_size=128, owners=20, seeds=3, networks=18, keeps=8, candidates=5, logs=12),
    smoke=dict(rows=(1000, 400), epochs=3, seeds=2, networks=3, keeps=2, candidates=2, logs=3),
    full=dict(model="strided_cnn", model_settings={}, lr=0.05, seeds=5, networks=50,
              candidates=20, logs=20),
    paper=dict(model="resnet18", rows=None, epochs=30))

# %%
data = lab.load(at_most=cfg.rows, moments="test", large="size")
lab.require(len(data.shape) == 3,
            "This notebook plants triggers in pictures: take a set of images.")
n = len(data.y)
lab.require(n >= 1000, "This notebook needs at least 1,000 training images.")
judged = lab.seeds(cfg.seeds, "judge")
recipe = dict(epochs=cfg.epochs, lr=cfg.lr, batch_size=cfg.batch_size)
store = tempfile.TemporaryDirectory()  # for the logs, some hundred MB; removed after the claims
world = here.World(data, cfg.model, cfg.model_settings, recipe, cfg.owners,
                   each=100 if n >= 3000 else max(20, n // 40),  # rows of an owner
                   candidates=cfg.candidates, place=Path(store.name))

# %% [markdown]
# ## 1 · Two ways to check
#
# Twenty owners give rows to a provider, and later all of them ask for deletion. Each prepares for
# that day. It stamps half of its rows with a private *trigger*, sixteen pixels at random places
# set to their largest value, and gives these rows one random label of its own. On the day it puts
# the pattern on thirty pictures of other classes, asks the served model, and counts *hits*:
# answers that are its label.
#
# > **Threat model** (of both checks: here it is the provider who may lie)
# >
# > - **Who** an owner; and a verifier, whom the provider trusts with its data.
# > - **Sees** a label for each question (the owner); the log and the served weights (the verifier).
# > - **May** stamp its own rows and ask; recompute any logged step; start and recipe are agreed on.
# > - **Wants** to know whether the served model still carries the owner's rows.
#
# Here are four rows of one owner. Then the questions, put to two models: the *original*, trained
# on all rows, and the *reference*, trained again without the owners' rows.

# %%
s = judged[0]
d, owned, triggers = here.planted(world, s)
forget, as_it_was = here.gone(owned), data.resplit(s)
stamped = owned[0][(d.x[owned[0]] != as_it_was.x[owned[0]]).flatten(1).any(1)][:4].tolist()
fig = here.grid([("as it was", as_it_was, stamped), ("as handed in", d, stamped)])
lab.figure(fig, "Four rows of one owner, each with its label above: in the upper line as they "
                "were, in the lower line with a private pattern of sixteen dots and the owner's "
                "label.")
lab.say(f"The owner's label is “{d.classes[triggers[0].label]}”, and half of its {world.each} rows "
        f"carry the dots. All owners together hold {100 * len(forget) / n:.0f} % of the training "
        "rows; in Athena's experiments 5 % of the users take part.")

# %%
answers = here.answers(world, s)  # of six providers; section 4 introduces them
before = here.rates(answers["original"][0], d, triggers, s)
asked = {name: here.ask(d, triggers, before, model, s) for name, (model, _) in answers.items()}
lab.require(asked["original"], "No owner's trigger took: take more training images.")
hits = {name: [test["hits"] for test in tests] for name, tests in asked.items()}
lab.say(f"Of {here.QUERIES} stamped pictures the original gives the first owner's label to "
        f"{hits['original'][0]}, and the reference to {hits['honest'][0]}.",
        f"Over {len(hits['honest'])} owners the means are {np.mean(hits['original']):.1f} and "
        f"{np.mean(hits['honest']):.1f}; the fewest that the original gives an owner are "
        f"{min(hits['original'])}, the most that the reference does {max(hits['honest'])}.",
        "So one threshold would do for all." if min(hits["original"]) > max(hits["honest"]) else
        "So no one threshold does for all owners; section 5 gives each its own.")

# %% [markdown]
# **Reading the log.** The second check needs the provider's help. For every step of training it
# writes down the rows of the batch, the learning rate, and a hash of the weights that came out;
# the weights themselves lie beside it as *checkpoints*. Each line holds the hash of the line
# before: follow the last column into the next line. So nothing can be changed once the last hash
# is published. Below are the first lines of the honest provider's log.

# %%
honest_log = here.load_log(answers["honest"][1], d)
lab.table(pd.DataFrame(here.shown(answers["honest"][1], 3)), "An honest log, its first three steps")
size = sum(f.stat().st_size for f in answers["honest"][1].iterdir()) / 1e6
usual = np.median([len(line["rows"]) for line in honest_log.lines])
lab.say(f"In brackets stands the size of the batch: it was {cfg.batch_size} for the original, and "
        f"deleted rows were left out, so that half of the batches now have {usual:.0f} or fewer.",
        f"The log has {len(honest_log.lines)} steps and, with its checkpoints, {size:.0f} MB.",
        "Name one other row in step 2 (line 3, after a header), and a reader is told: “"
        + here.tampered(answers["honest"][1], 2, world.place / "tampered") + "”")

# %% [markdown]
# A *replay* takes the checkpoint before a step and the rows of its batch, and makes the step
# again.
#
# **Exercise 9.1** (difficulty 1, 6 minutes). How far from the logged weights does a replay end?
# Compute in float64.

# %%
@exercise("9.1")
def replay_error(before, gradient, after, lr):
    """l2 distance between one SGD step from `before` and the logged `after`. (d,) three times,
    float -> float
    """
    ...  # your code

# %% [markdown]
# **Exercise 9.2** (difficulty 2, 8 minutes). And which steps touched a deleted row? Batches are
# tensors. Mind how Python compares the elements of tensors in a set: released code for this very
# check finds nothing, ever.
#
# With these two functions you are the verifier. Three logs lie on the desk: that of the original
# training, that of the honest provider, and one in which a provider struck the deleted rows out
# of the original's lines and chained it anew.

# %%
@exercise("9.2")
def tainted_steps(batches, forget):
    """Steps, counted from 1, whose batch holds a forgotten row. list of (b,) int64, (u,) int64 ->
    list of int
    """
    ...  # your code

# %%
def look(name, steps=10):
    """What your two functions find in a provider's log."""
    log = here.load_log(answers[name][1], d)
    batches = [torch.tensor(line["rows"]) for line in log.lines]
    errors = [replay_error(*here.step_of(log, t, d, world.build), recipe["lr"])
              for t in range(1, steps + 1)]
    first = here.shown(answers[name][1], 1)[0]  # the first line
    return {"log": name, "rows of step 1": first["rows of the batch"],
            "hash of the weights after it": first["hash of the weights"],
            "steps with a deleted row": f"{len(tainted_steps(batches, forget))} of {len(batches)}",
            "largest error in ten replays": f"{max(errors):.1e}"}


looks = pd.DataFrame(map(look, ("original", "honest", "edits the log")))
lab.table(looks, "The verifier's desk")
noise = here.floor(answers["original"][1], d, world.build, steps=20)
lab.say("Read the edited log: it has the honest rows and the original's weights."
        if [*looks.iloc[2, 1:3]] == [looks.iloc[1, 1], looks.iloc[0, 2]] else "",
        "Its batches are clean, and replays give it away." if float(looks.iloc[2, 4]) > 10 * noise
        else "Ten replays do not give the edited log away.",
        "How exact must a replay be? Other machines add up in another order. So the verifier "
        "replays an honest log with shuffled rows, and in double precision. The largest error of "
        f"twenty steps, {noise:.1e}, is the *floor*: a tolerance below it may accuse honest "
        "providers, and whatever lies above it is room for a cheat.")

# %% [markdown]
# **Check yourself.** Why does a replay start at the logged checkpoint before the step, and not at
# the very beginning?
#
# <details><summary>Answer</summary>
#
# Rounding errors grow from step to step, so after a whole training even an honest run ends
# elsewhere. From the checkpoint each step is judged by itself, and a few steps can be drawn at
# random instead of replaying all.
#
# </details>
#
# This recipe has no momentum. What else must the log hold where a recipe has it, and why?
#
# <details><summary>Answer</summary>
#
# The momentum buffers, for the next step cannot be computed without them; with batch
# normalisation its running statistics, too. They have to be hashed and compared like weights: a
# provider free to name buffers could reach any weights.
#
# </details>

# %% [markdown]
# ## 2 · The first cheat: train again, with look-alikes
#
# > **Threat model**
# >
# > - **Who** the provider, who wants the deleted rows to go on working for it.
# > - **Sees** everything: all rows, the requests, both checks.
# > - **May** look at the deleted rows to choose which retained rows go into a batch. It trains in
# >   full, and takes no step on a deleted row.
# > - **Wants** a model as if the rows were still there, and a log that passes.
#
# Ordinary training draws a batch $B$ from all rows. Wherever it holds a deleted row $u$, the
# provider puts a retained row in its place, a *stand-in*. Zhang et al. call this *adversarial
# retraining* (Algorithm 1), and have two ways to choose:
# $$S_n:\; \arg\max_{i \in R,\, y_i = y_u} \cos(x_i, x_u) \qquad
# S_r:\; \arg\min_{C \in \{C_1 \dots C_M\}}
# \sum_\ell \lVert \nabla_\ell L(C) - \nabla_\ell L(B \cap F) \rVert_2$$
# $x$ are pixels, $y$ labels as handed in, $F$ the deleted and $R$ the retained rows.
# $C_1 \dots C_M$ are $M$ random sets (`candidates` in the code), each of as many rows of $R$,
# unused in this epoch, as $B \cap F$ has; $\nabla_\ell L$ is the gradient of the mean loss by
# weight tensor $\ell$. So $S_n$, *nearest*, takes look-alikes with the same label. $S_r$,
# *search*, takes the one of these sets that pushes the weights most alike, whatever its labels.
# Here are the nearest stand-ins of the four stamped rows.

# %%
best = here.nearest(d, forget, top=1)[:, 0]  # one stand-in for each of the deleted rows
stand_in = dict(zip(forget.tolist(), best.tolist()))
fig = here.grid([("deleted", d, stamped), ("its stand-in", d, [stand_in[u] for u in stamped])])
lab.figure(fig, "The four stamped rows in the upper line, and below each the retained row of the "
                "same label that is most like it.")
uses = best.unique(return_counts=True)[1]
lab.say("These stand-ins have the label that the owner gave, and no dots. Will they keep the "
        f"owner's trigger alive? The {len(best)} deleted rows have {len(uses)} different nearest "
        f"rows, and one of these is the nearest to {int(uses.max())} of them, in every epoch. A "
        "batch that holds it already takes the next nearest.")

# %% [markdown]
# **Check yourself.** Why does the search compare gradients and not pictures, and what does that
# cost?
#
# <details><summary>Answer</summary>
#
# All that a batch does to a model is its gradient. Two pictures that look alike may push the
# weights apart, and which way depends on where the weights are. It costs $M + 1$ more gradients in
# each step, where *nearest* costs one look at the pixels beforehand.
#
# </details>

# %% [markdown]
# ## 3 · The second cheat: forge the log
#
# > **Threat model**
# >
# > - **Who** a provider who does not want to train again.
# > - **Sees** its old log with all checkpoints, and all rows.
# > - **May** rewrite lines and checkpoints, and chain them anew before the last hash is published.
# > - **Wants** a log that passes the replay, while nearly the old model stays in use.
#
# In each batch the forger puts look-alikes in the places of the deleted rows. Then it makes each
# such checkpoint anew, by one step on the swapped batch *from the original checkpoint before it*;
# a clean checkpoint is nudged by a tiny step on one random row (Zhang et al.). If $k$ of $b$ rows
# are swapped, a step from the same weights ends elsewhere by
# $$\eta\, \frac{k}{b}\,
# \Big\lVert \overline{g}_{\text{old}} - \overline{g}_{\text{new}} \Big\rVert$$
# with $\eta$ the learning rate and $\overline{g}$ the mean gradients of the rows taken out and
# put in. Where the old checkpoints are *kept* (Thudi et al.), this is the replay error itself.
# Where they are *moved*, it shows one step later, and the paper takes the line for a bound.
#
# **Exercise 9.3** (difficulty 3, 12 minutes). Write it.

# %%
@exercise("9.3")
def forging_bound(old_gradients, new_gradients, batch_size, lr):
    """How far swapping k rows of a batch moves one SGD step. (k, d), (k, d), int, float -> float"""
    ...  # your code

# %%
RATES, PARTS = (0.01, 0.02, 0.05), (0.001, 0.02, 0.1, 0.3)  # learning rates; shares to forget
steps = here.swapped_steps(world, s, lr=RATES[-1], share=PARTS[1], steps=6)
formula = [forging_bound(t["old"], t["new"], t["b"], RATES[-1]) for t in steps]
lab.table(here.swaps_shown(steps, formula),
          f"One forged log, {100 * PARTS[1]:g} % of the rows deleted: its first swapped steps")
off = max(abs(f / t["kept"] - 1) for t, f in zip(steps, formula))
apart = [t["moved"] / f for t, f in zip(steps, formula) if t["moved"] == t["moved"]]
lab.say(f"With checkpoints kept, formula and replay agree to {100 * off:.1g} %.",
        f"Moved, the error of the next step is {min(apart):.2f} to {max(apart):.2f} times the "
        "formula here." if apart else "",
        "Next come all learning rates, shares and seeds. Each rate has a training of its own: one "
        "epoch, from a network that is half trained.")

# %%
forged = here.forged_runs(world, judged, RATES, PARTS)
grows = here.scaling(forged, RATES, PARTS)
lab.say(*here.told_growth(grows))
lab.say_committed("Over the committed runs the power of the learning rate is 1 + "
                  "{ver-scale.rate}, that of the share {ver-scale.share}; that the formula of the "
                  "step before is a bound: {ver-scale.bound}.")

# %%
lab.figure(here.passing_steps(figures, forged, PARTS[1:], RATES[-1]),
           "Share of forged steps that pass the replay against the verifier's tolerance, for three "
           "shares of deleted rows, the runs as thin lines and their mean, with the honest floor: "
           "checkpoints moved on the left, kept on the right.")
published = forged[(forged.kind == "as published") & (forged.lr == RATES[-1])]
needed = published[published.share == PARTS[1]]
ratio = [np.log10(max(e) / f) for e, f in zip(needed.errors, needed.floor)]
spent, swaps = needed.spent.tolist(), 100 * np.mean([np.mean(w) for w in needed.swapped])
lab.say(here.told_floor(forged, PARTS[1], RATES[-1]),
        f"To pass whole, a forged log of {100 * PARTS[1]:g} % deleted rows needs a tolerance of "
        f"10^({lk.measure.show_interval(ratio)}) times the floor.",
        f"In {swaps:.0f} % of its steps rows are swapped; with checkpoints moved each such step is "
        "made anew. These steps need not wait for each other, and with checkpoints kept the forger "
        "computes no gradient at all.")
lab.say_committed("Is it cheap, with checkpoints moved? Rows differentiated, as a share of those "
                  "of retraining for as long, over the committed runs: {ver-forge.cost}. Cheap, "
                  "as the claim has it, would be below 0.1.")

# %%
panel_figure, redraw = here.forged_panel(figures, forged, RATES[-1])
panel = widgets.explorer(
    panel_figure, redraw,
    eps=widgets.slider("ε", [(f"1e-{e}", 10.0**-e) for e in range(7, 0, -1)], 1e-3),
    part=widgets.slider("forgotten", [(f"{100 * p:g} %", p) for p in PARTS], PARTS[2]),
    lr=widgets.dropdown("learning rate", list(RATES), RATES[-1]))
lab.figure(panel_figure, "The explorer in its first state: the replay error of each step of one "
                         "published forged log, the tolerance as a line through them, and the "
                         "honest floor.")
lab.say("Explore: tolerance, share forgotten, learning rate.", redraw(1e-3, PARTS[2], RATES[-1]),
        "Is there a tolerance that you would defend?")
panel

# %% [markdown]
# **Check yourself.** The forger makes the checkpoint after step $t$ by the very step that its log
# names. Why does a replay find an error nevertheless, one step later?
#
# <details><summary>Answer</summary>
#
# The next logged checkpoint was made from the *original* weights after step $t$, and the replay
# starts at the *forged* ones. Both take the same step from two places, and so end about as far
# apart as they began.
#
# </details>

# %% [markdown]
# ## 4 · Who passes what
#
# Now all twenty owners ask for deletion at once, and six providers answer:
#
# | provider | what it does |
# |---|---|
# | honest | trains again without the rows, and logs it |
# | ignores | serves the old model, shows the old log |
# | edits the log | serves the old model, strikes the rows out of the log |
# | forges | serves nearly the old model; its log is forged as published |
# | nearest | trains again, with the nearest look-alikes in the places of the deleted rows |
# | search | trains again, with the best by gradient of a few random sets in their places |
#
# Each owner asks its thirty questions, and accuses when more are hits than a model without its rows
# would give by chance (section 5 derives the number). The owners also *pool* all hits in one such
# test. The verifier checks the chain, the batches, the agreed start and recipe, and replays every
# step with a tolerance of ten times the floor.

# %% [markdown]
# **Predict before you run.** *Ignores* and *edits the log* serve the model of section 1 that gave
# its owners so many hits. Which of the other three liars do more than half of the owners accuse?
#
# - a) The forger alone.
# - b) Not the forger, whose weights were moved; if anyone, those who put stand-ins in the places
#   of the stamped rows, *nearest* or *search*.
# - c) The forger, and *nearest* or *search* as well.

# %%
matrix = here.all_trials(world, judged, answers)
spread = here.passing(matrix)
lab.figure(here.who_passes(spread, matrix.provider.value_counts()),
           "For six providers in the rows, how often each of three checks is passed: the test of "
           "a single owner, with its 95 % interval over networks, the tests of all owners pooled, "
           "and the replay of the log.")

# %%
share = {p: [mean for mean, *_ in three] for p, three in spread.items()}
fooled = [p for p in spread if p != "honest" and share[p][1] == share[p][2] == 1]
lab.say(*here.told_passing(spread, matrix, len(judged)))
lab.say(here.told_fooled(fooled, len(judged)))
lab.say_committed("Over the committed runs, that all hits pooled accuse the forger: "
                  "{ver-forge.backdoor}; that they pass *nearest* and *search*: "
                  "{ver-adv-retrain.backdoor}.")
liars = matrix[matrix.provider.isin(["ignores", "edits the log", "forges"])]
reasons = liars.groupby("provider", sort=False).reasons.first()
lab.table(pd.DataFrame([{"provider": p, "what the verifier says": " ".join(r)}
                        for p, r in reasons.items()]), "Refusals, first run")

# %% [markdown]
# **Check yourself.** Why can a replay not find anything in the logs of *nearest* and *search*?
#
# <details><summary>Answer</summary>
#
# Each of their steps is a real step on rows that were not deleted, and the same code on the same
# machine makes it again, by construction. A replay asks whether the steps were made. It does not
# ask who chose the batches, and why these.
#
# </details>

# %% [markdown]
# ## 5 · What can an owner conclude from one test?
#
# One test, one owner. In section 4 all owners' tests were pooled; here is what one of them can say.
# Before the request the owner measures two rates on the old model: $p$, how often its own trigger
# draws its label, and $q$, how often fresh triggers draw it that nobody planted. That takes many
# questions: here two hundred for $p$, and all test pictures but the thirty for $q$. Afterwards it
# asks $m = 30$ questions and accuses when there are more than $h^*$ hits:
# $$h^* = \min\{h : P(\mathrm{Bin}(m, q) > h) \le \alpha\}$$
# $\mathrm{Bin}(m, q)$ is the number of hits of a model whose answers are hits at rate $q$. An
# honest provider is accused with probability $\alpha = 10^{-3}$ at most, *if* its new model answers
# the trigger no more often than $q$. The old model escapes with probability
# $\beta = P(\mathrm{Bin}(m, p) \le h^*)$. Both are chances of a verdict, *given* a model; the
# chance of a model, given a verdict, also needs what the owner believed before.

# %%
one = {name: tests[0] for name, tests in asked.items()}
p, q, h_star = (one["honest"][c] for c in ("p", "q", "k"))
lab.figure(here.one_owner(figures, p, q, h_star, here.QUERIES,
                          {name: one[name]["hits"] for name in here.PROVIDERS if name in one}),
           "Above, how likely each number of hits is for a model without the rows and for the old "
           "one. Below, the hits that each of six providers' models gave to one owner, with the "
           "number above which it accuses.")
lab.say(*here.told_one_test(one))
all_beta = np.concatenate(matrix[matrix.provider == "honest"].beta.tolist())
lab.say(f"For {(all_beta < 1e-3).sum()} of all {len(all_beta)} owners β is below 0.001; for the "
        f"worst it is {all_beta.max():.1g}.")

# %% [markdown]
# ### Planning a test, with fewer owners or fewer rows
#
# **Exercise 9.4** (difficulty 4, 18 minutes). An owner who knows its rates can plan. What is the
# smallest $m$ for which $h^*$ keeps the chance to accuse at $\alpha$ or less, and the chance to
# escape at the given $\beta$ or less? Use exact binomial tails, with `math.comb` for the ways to
# place the hits, and return None where more than `most` questions would be needed. Then see what
# that means where fewer rows are stamped, for a trigger has to be learnt.

# %%
@exercise("9.4")
def questions(p, q, alpha, beta, most):
    """The fewest questions whose test errs with at most alpha and beta. (float, float, float,
    float, int) -> int, or None if more than `most` are needed
    """
    ...  # your code

# %%
m = questions(0.6, 0.1, 1e-3, 1e-3, 100)
escapes = [here.miss_rate(k, 0.6, here.critical_value(k, 0.1, 1e-3)) for k in range(1, m + 1)]
agrees = escapes[-1] <= 1e-3 < min(escapes[:-1])
lab.say(f"With p = 0.6 and q = 0.1, {m} questions keep both errors at one in a thousand.",
        "By the course's version, too, it is the smallest number that does." if agrees else
        "By the course's version it is not the smallest number that does.")
lk.show(here.critical_value.__wrapped__)  # as it is inside the check of its arguments

# %%
sizes = [(20, world.each), (5, world.each), (1, world.each), (20, world.each // 2),
         (20, world.each // 5)]
weak = here.strengths(world, sizes, judged)
most = min(1000, len(data.y_test))  # beyond, math.comb outgrows a float
weak["plan"] = [questions(p, q, here.ALPHA, here.ALPHA, most) if p > q else None
                for p, q in zip(weak.p, weak.q)]  # for each owner
lab.table(here.strengths_shown(weak, most), "What 30 questions can see, and what it would take")
lab.say(*here.told_strengths(weak, sizes, most),
        "Triggers and networks are new here: the worst β of so few owners is luck, in part; in "
        f"section 4's networks it was {all_beta.max():.1g}.")

# %% [markdown]
# ### Is an honest provider safe?
#
# A few tests cannot show an error rate of one in a thousand. So let more providers retrain
# honestly, and count who is accused. Each test is decided twice: with $q$ from the *old* model,
# as published, and with $q$ from the *new* one (ours), to which the owner puts fresh triggers,
# too. If the rows are gone, its own trigger is one like these.

# %%
honest_tests = here.accused_runs(world, lab.seeds(cfg.networks, "accused, judged"))
false_rate = {c: lk.measure.interval(1 - honest_tests[c], honest_tests.seed, (0, 1))
              for c in ("deleted", "deleted_now")}
lab.table(here.accusations(honest_tests, matrix, false_rate),
          f"At α = {100 * here.ALPHA:g} %, owners of {honest_tests.seed.nunique()} networks")

# %%
lab.say(*here.told_accused(honest_tests, false_rate))
lab.say_committed(f"Over the committed runs, where α grants {here.ALPHA:g}, the share of tests "
                  "that accuse an honest provider is {ver-honest.alpha} with q from the old model, "
                  "and {ver-honest.alpha-now} with q from the new one.")

# %% [markdown]
# **Check yourself.** Twenty owners test one provider, and the interval above counts them as one.
# Why are their tests no independent evidence?
#
# <details><summary>Answer</summary>
#
# They ask one and the same model. Where its answers have shifted towards a label, all owners who
# chose this label err together. So the interval takes the network as its unit, not the test.
#
# </details>

# %% [markdown]
# ## 6 · What does a cheat keep? (optional)
#
# Where training again with stand-ins passes both checks, has it cheated at all? It took no step on
# a deleted row. But it used them: *nearest* their pixels, *search* their gradients, in every step.
# It hopes that stand-ins teach nearly the same. So compare what it *knows* of the deleted rows with
# what honest retraining from the same seed knows:
# $$\text{known}(w) = \big[L_F(w_r) - L_T(w_r)\big] - \big[L_F(w) - L_T(w)\big]$$
# $L_F$ and $L_T$ are the mean losses on deleted and on test rows (cross-entropy in nats), $w_r$ the
# reference. A tenth of the rows is deleted, no triggers, more seeds, and a smaller learning rate,
# so that seeds differ less.
#
# A verifier is told the start, but not in which order an honest provider would have drawn the
# rows, so it lacks the reference. Here it takes the extreme case, and retrains from *another* seed,
# start and all. On average that model knows as much as the reference; but it shares neither start
# nor batches with the cheat, so a difference to it spreads more.
#
# *Search* ends an epoch when no unused row can stand in, and so leaves some rows out. The variant
# *search to the end* (ours) goes on without stand-ins until each row was used.

# %%
kept = here.kept_runs(world, lab.seeds(cfg.keeps, "keeps, judged"))
losses = kept.pivot(index="seed", columns="model", values="loss")
beyond = losses - kept.pivot(index="seed", columns="model", values="test_loss")
cheats = [m for m in here.CHEATS if m in losses]
honestly = losses[["retrained", here.OTHER_SEED]].mean(axis=1)  # two retrainings of the same rows
raw = {m: (honestly - losses[m]).dropna() for m in cheats}  # as the claim was written
saved = {m: (beyond["retrained"] - beyond[m]).dropna()
         for m in (*cheats, "original", here.OTHER_SEED)}
lab.figure(here.known_beyond(figures, saved,
                             {"original": "original", here.OTHER_SEED: "retrained"}),
           "What five models know of the deleted rows beyond honest retraining with the same seed, "
           "with 95 % intervals over seeds: nearest neighbours, two searches, the original, and "
           "retraining with another seed.")

# %%
lab.table(here.kept_shown(saved, raw), "In nats, with 95 % intervals: more, less or undecided")
lab.say(*here.told_kept(saved, raw))
lab.say_committed("Over the committed runs, known beyond the reference, in nats: *nearest* "
                  "{ver-adv-keeps.nearest-beyond}, *search* {ver-adv-keeps.search-beyond}, "
                  "retraining with another seed {ver-adv-keeps.control}. Loss alone, below the "
                  "mean of two retrainings, as the claim was written: *nearest* "
                  "{ver-adv-keeps.nearest}, *search* {ver-adv-keeps.search}.")
off = here.imitation(world, s)
misses = ", ".join(f"{100 * np.mean(v):.0f} % ({k})" for k, v in off.items())
lab.say("How well do stand-ins imitate? In one network, half-way through training, their gradient "
        f"misses that of the deleted rows by {misses} of its length, the mean of "
        f"{len(off['nearest'])} batches. Rows without any gradient would miss it by 100 %" + (
            "." if np.mean(off["search"]) < 1 else ", and *search* does no better than these."))

# %% [markdown]
# **Check yourself.** Why is loss on the deleted rows alone not enough to say that a cheat kept
# something?
#
# <details><summary>Answer</summary>
#
# Runs differ in how good they are on any row. A model that is better everywhere has a lower loss
# on the deleted rows, too, though it knows nothing of them. The loss on test rows takes that
# away, and another seed shows what is left of it.
#
# </details>

# %% [markdown]
# ## 7 · What would restore trust?
#
# **Counting.** With a permutation in each epoch every row is used once; look-alikes are used
# again and again. The papers do not have this audit. A verifier who does not know the sampling
# grants drawing *with* replacement, and asks how likely a row would then be used as often as the
# most used one (a binomial tail, times the number of rows, for the choice of the largest). Below
# 1 % the log is flagged.

# %%
audits = here.audit_runs(world, lab.seeds(2 * cfg.seeds, "audit, judged"))
lab.table(here.counted(audits), "Counting uses, a tenth of the rows deleted")
flagged = {name: (g.p < 0.01).astype(float).tolist() for name, g in audits.groupby("log")}
lab.say(*here.told_counts(audits))

# %% [markdown]
# **Exercise 9.5** (difficulty 5, 25 minutes). *Project: the audit that catches it.* The plain
# count looks at the one most used row, and forgets in which epoch it was used. Where fewer rows
# are deleted it sees little. Write your own audit: give each of many logs a score, larger where
# it is more suspicious.
#
# Honest providers draw in two ways, each row once an epoch or with replacement, and so do the
# cheats. Your audit then meets logs of *nearest* from the notebook's own rows, in three variants.
# No training is needed, for which rows stand in does not depend on the weights.
#
# > **Threat model** (the third variant)
# >
# > - **Who** a provider that trains again with look-alikes, and draws with replacement.
# > - **Sees** all rows. It expects some count of uses, and sees neither your audit nor its limit.
# > - **May** take for a deleted row the nearest look-alike in epoch 1, the second in epoch 2, and
# >   so on. It does no more, whatever your audit is.
# > - **Wants** to be flagged no more often than an honest provider.
#
# *Judged by* the share of cheating logs that is flagged while at most 1 % of either kind of honest
# logs is: at least half-way from the plain count to the course's own audit.

# %%
@exercise("9.5")
def suspicion(counts):
    """One score a log, larger for more suspicious. counts (logs, epochs, rows) float32: how often
    each retained row was used in each epoch -> (logs,) float32
    """
    ...  # your code

# %%
shares = (0.005, 0.01, 0.02, 0.05)
cheating = here.cheating_logs(world, lab.seeds(cfg.logs, "project, judged"), shares,
                              min(8, cfg.epochs))
found = here.detections({"plain count": here.largest_use, "yours": suspicion,
                         "the course's": here.suspicion}, cheating, 200, s)
lab.figure(here.detected(figures, found, {"plain count": ("other", ":"), "yours": ("defence", "-"),
                                          "the course's": ("defence", "--")}),
           "Share of cheating logs that three audits flag at 1 % false alarms at most, by the "
           "share of deleted rows, for three ways of drawing rows: plain count, yours, the "
           "course's.")
lab.say(*here.told_detections(found))

# %% [markdown]
# **Committed randomness.** Counting is a race. The other way is to leave no batch to choose.
# Before the request the provider publishes a hash of its seed; the order of rows, and so the
# batches, follow from it: deleted rows are left out, nothing is put in. Or all retained rows are
# in every step, *full batches*. Here the verifier compares the batches with those of the seed,
# and replays two epochs of full batches.

# %%
# NBVAL_CHECK_OUTPUT
ways = {"honest": here.honest, "nearest": here.adversarial_nearest,
        "search": here.adversarial_search}
tenth, full = torch.arange(n // 10), dict(epochs=2, lr=cfg.lr, batch_size=n)
for name, make in ways.items():
    answer = here.tried(make, as_it_was, tenth, world.place / f"committed-{name}",
                        build=world.build, seed=s, every=10**6, **recipe | {"epochs": 1})
    follows = "no log" if answer is None else here.follows(answer[1], n, tenth, s)
    print(f"{name}: batches follow from the committed seed:", follows)
for name in ("honest", "nearest"):
    served, log = ways[name](as_it_was, tenth, world.place / f"full-{name}", build=world.build,
                             seed=s, **full)
    seen = here.verify(log, as_it_was, served, tenth, tolerance=1e-5, build=world.build,
                       init_seed=s, recipe=full)
    print(f"{name}, full batches, verified: {seen.verified}", *seen.reasons, sep=": ")

# %% [markdown]
# A stand-in breaks the seed's order, and a full batch holds all retained rows already: both rules
# name a cheat by its batches.
#
# **Check yourself.** A provider commits to a seed of its own choice. What could it still do, and
# what closes that hole?
#
# <details><summary>Answer</summary>
#
# It can try out many seeds in secret and commit to the one whose model it likes best. Before the
# request that is no choice for or against these rows, unless it foresees them. So the seed should
# come from both sides, or from a public lottery. A third way is trusted hardware that signs the
# training; no notebook can show that.
#
# </details>

# %% [markdown]
# ## What would fool you
#
# **A replay without the agreed start.** Leave the initial weights out of the check. The provider
# starts its log *at the old model* and takes steps so small that nothing moves.
#
# **A tolerance picked by hand.** The curves of section 3 pass at some tolerance whatever one
# does. Whoever prints one tolerance has chosen the result.

# %%
original = here.load_log(answers["original"][1], d)


def at_the_old_model(_):
    net = world.build(0)
    here.restored(here.checkpoint(original, original.checkpoints[-1], net), net)
    return net


served, log = here.honest(d, forget, world.place / "lazy", build=at_the_old_model, seed=0,
                              epochs=1, lr=1e-12, batch_size=cfg.batch_size)
blind = here.verify(log, d, served, forget, tolerance=1e-6)
told = here.verify(log, d, served, forget, tolerance=1e-6, build=world.build, init_seed=s,
                   recipe=recipe)
lab.say(f"Without start and recipe the verdict is {'' if blind.verified else 'not '}verified; with "
        f"them {'' if told.verified else 'not '}verified: {' '.join(told.reasons)}")

# %% [markdown]
# ## What was tested

# %%
named = {p: matrix[matrix.provider == p] for p in here.PROVIDERS}
least = 0.95  # 19 of 20 owners
all_honest = [*named["honest"].deleted.map(np.mean), *honest_tests.groupby("seed").deleted.mean()]
accusations = {"alpha": (1.0 - honest_tests.deleted).tolist(),
               "alpha-now": (1.0 - honest_tests.deleted_now).tolist()}
lab.claim("ver-honest", accusations | {
    "honest-backdoor": [bool(r >= least) for r in all_honest],
    "honest-replay": named["honest"].replay.astype(bool).tolist(),
    "ignoring": [(len(x) - sum(x)) / cfg.owners >= least for x in named["ignores"].deleted],
}, clusters=dict.fromkeys(accusations, honest_tests.seed.tolist()))
both = pd.concat([named["nearest"], named["search"]])
both = both.assign(over=both.error / both.noise).groupby("seed")  # both cheats, one answer a seed
lab.claim("ver-adv-retrain", {"backdoor": both.pooled.all().tolist(),
                              "replay": both.replay.all().tolist(),
                              "error": both.over.max().tolist()})
empty = pd.Series(dtype=float)  # where every network of a cheat was lost
_ = lab.claim("ver-adv-keeps", {m: raw.get(m, empty).tolist() for m in ("nearest", "search")}
              | {f"{m}-beyond": saved.get(m, empty).tolist() for m in ("nearest", "search")}
              | {"control": saved[here.OTHER_SEED].tolist()})

# %%
passed = [float(np.mean(np.array(e) <= 1e-3)) for e in needed.errors]
lab.claim("ver-forge", {"cost": spent, "threshold": ratio, "curve": passed,
                        "backdoor": [not b for b in named["forges"].pooled]})
lab.claim("ver-scale", {"rate": [r - 1 for r in grows["rate"]], "share": grows["share"],
                        "bound": [bool(v <= 1 + here.SLACK) for v in grows["late"]],
                        "published": grows["late"]})
lab.claim("ver-audit", {"nearest": flagged.get("nearest", []),
                        "random": [f - 0.01 for f in flagged.get("search", [])]})
lab.record("matrix", {p: [float(v) for v in share[p]] for p in spread})
lab.record("forging", forged.groupby(["kind", "lr", "share"])["median"].mean())
lab.claims_table()
store.cleanup()

# %% [markdown]
# ## The answer

# %%
plain, yours = ([here.percent(here.flagged(found, audit, sort)) for sort in here.SORTS]
                for audit in ("plain count", "yours"))
lab.say_committed(
    "**Can anyone check it?** That depends on the lie; this is over the committed runs.",
    "\n- *Serving the old model*: that at least 19 of 20 owners who stamped rows catch it, one",
    "test a network: {ver-honest.ignoring}. Owner by owner, an honest provider is accused at a",
    f"rate of {{ver-honest.alpha}}, where {here.ALPHA:g} was promised.",
    f"\n- *Forging the log*, {100 * PARTS[1]:g} % deleted: a replay passes it whole only from 10",
    "to the power {ver-forge.threshold} times the floor on. Rows differentiated, as a share of",
    "retraining's: {ver-forge.cost}. That all hits, pooled, accuse it: {ver-forge.backdoor}.",
    "\n- *Training again with stand-ins*: the replay passes it by construction. That all owners'",
    "hits, pooled, pass it too: {ver-adv-retrain.backdoor}. Known of the deleted rows beyond",
    "retraining with the same seed, in nats: *nearest* {ver-adv-keeps.nearest-beyond}, *search*",
    "{ver-adv-keeps.search-beyond}, another seed {ver-adv-keeps.control}; its verdict is on loss.",
    "\n- *Counting uses*, a tenth deleted: the share of logs of *nearest* that a plain count flags",
    "is {ver-audit.nearest}; by construction it never flags *search*.")
lab.say("In this run the original, which trained on the deleted rows, knows "
        f"{saved['original'].mean():.3f} nats of them beyond retraining. With "
        f"{100 * here.AGREED:g} % deleted, each row used once an epoch, the plain count flags "
        f"{plain[0]} of the logs of *nearest*, your audit {yours[0]}; with replacement, {plain[1]} "
        f"and {yours[1]}; where look-alikes rotate, yours flags {yours[2]}.")
lab.say("Not shown: that a provider who passes has forgotten; that one network of a cheat can be "
        "told from one honest retraining; a replay on another machine, which the floor imitates; "
        "that q from the new model keeps α, or how α does where less than half of all rows is "
        "deleted; larger networks; a provider whose look-alikes rotate, or who knows the audit.")

# %% [markdown]
# **Read on**
# - [Zhang et al. 2024](https://arxiv.org/abs/2408.00929), for both attacks and their theory.
# - [Sommer et al. 2022](https://arxiv.org/abs/2003.04247), for backdoors as evidence.
# - [Thudi et al. 2022](https://arxiv.org/abs/2110.11891), for why weights prove nothing about the
# rows behind them.
#
# **Next**: [notebook 10](10_desk.ipynb) turns to defences, and to attackers who know them.
