# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 06 · Leakage: what do a model's answers tell about a deletion?
#
# In [notebook 05](05_inversion.ipynb) somebody held two sets of weights. Most people never see
# weights. They see **answers**: a picture goes in, probabilities come out. A user who noted the
# answers before a deletion, and asks again afterwards, has two versions too. **Can a user tell who
# was deleted, and what stops it?**
#
# You will
# - name the deleted class from nothing but answers;
# - tell a deleted row from a stranger, by an attack that learned on versions of its own;
# - try what a provider might answer instead, against an attacker who knows it;
# - attack every row with two Gaussians of its own, and see what a rule for all rows misses;
# - write an attacker that uses what the published one leaves out.
#
# *Time*: a minute and a half to run, three hours to work through. *You need*: notebook 01.
# *Papers*: Chen et al. 2021, [When machine unlearning jeopardizes
# privacy](https://arxiv.org/abs/2005.02205); Hayes et al. 2024, [Inexact unlearning needs more
# careful evaluations](https://arxiv.org/abs/2403.01218); Hu et al. 2024, [Learn what you want to
# unlearn](https://arxiv.org/abs/2404.03233); the measure of the [NeurIPS 2023
# challenge](https://github.com/unlearning-challenge/starting-kit).
# *Words*: [glossary](../docs/glossary.md).

# %% tags=["parameters"]
profile = "quick"  # smoke | quick | full | paper
dataset = "fashion"  # any image set of labkit.data.names(), or folder:PATH
seed = 0  # everything random is spawned from it
seeds = None  # number of judged originals in sections 2 and 3; None: the profile's own

# %%
from functools import partial

import numpy as np
import torch

import labkit as lk
from course import Lab, exercise, figures, widgets
from course.chapters import leakage as here
from course.chapters.leakage.exercises import published
from course.chapters.leakage.exercises import who_was_deleted as worked

lab = Lab("leakage", profile=profile, dataset=dataset, seed=seed, seeds=seeds)
figures.style()

# %%
cfg = lab.settings(
    quick=dict(rows=(6000, 2000), hidden=64, label_epochs=5, label_seeds=5, probe_steps=100,
               seeds=6, shadows=6, n=600, n_sklearn=400, n_small=200, deletions=20, fewer=8,
               private=60, attacks=("logistic", "forest", "network"),
               recipe=dict(hidden=32, epochs=15, lr=0.05, batch_size=64), worlds=96,
               tuning_worlds=6, world_rows=500,
               world_recipe=dict(hidden=32, epochs=15, lr=0.1, batch_size=128)),
    smoke=dict(rows=(1500, 600), hidden=24, label_epochs=1, label_seeds=1, probe_steps=5, seeds=2,
               shadows=2, n=150, n_sklearn=80, n_small=80, deletions=4, fewer=2, private=6,
               attacks=("logistic",), worlds=18, tuning_worlds=2, world_rows=160),
    full=dict(label_seeds=10, seeds=12, shadows=12, deletions=40, fewer=20, private=100,
              worlds=192, tuning_worlds=12))
data = lab.load(at_most=cfg.rows, moments="test", large="rows")
lab.require(len(data.shape) == 3 and len(data.y) >= 900,
            "Notebook 06 makes probes of pictures, and halves the rows twice: it needs 900 training"
            " images.")
judged, shadows = lab.seeds(cfg.seeds, "judge"), lab.seeds(cfg.shadows, "tune")

# %% [markdown]
# ## 1 · Which class was deleted?
#
# > **Threat model.** **Who** a user of the service; with probes made by gradients, whoever kept the
# > old weights. **Sees** the probabilities for inputs of its own, before and after.
# > **May** ask often. **Wants** the *class* of what was deleted.
#
# As in notebook 05, a provider fine-tunes a network on private rows, and then deletes some of one
# class. The user makes **probes** on the old model: for each class a few inputs of which the model
# is as sure as can be (Hu et al. 2024). After the deletion it asks them again. All probes begin
# equally sure, so what they lose can be compared across classes.
#
# **Exercise 6.1** (difficulty 1, 6 minutes). Name the class whose probes lost most confidence, on
# average.

# %%
@exercise("6.1")
def deleted_class(before, after, probe_class):
    """The class that lost most. Answers (m, k), (m, k); the class of each probe (m,) int64 -> int
    """
    ...  # your code

# %%
trials = lk.training.parallel(partial(here.labels_trial, data, cfg, deleted_class),
                              lab.seeds(cfg.label_seeds, "labels"))
labels = here.label_records(trials)  # kind -> (named right or not, number of the trial)
queries, falls = [q for _, q, _ in trials], trials[0][2]
c = next(c for how, part, c in falls if (how, part) == ("ascent", "50"))
lab.figure(here.drawing.label_falls(figures, {how: falls[how, "50", c] for how in (
    "ascent", "exact")}, data.classes, c),
    "Bars: how the confidence of the probes of each class changed when half of one class was "
    "deleted, by a step of ascent on the left and by retraining on the right; the deleted class is "
    "coloured and has a star.")
right = {kind: lk.measure.show_interval(100 * np.array(hits), limits=(0, 100), clusters=of)
         for kind, (hits, of) in labels.items()}
lab.say(f"One deletion, half of “{data.classes[c]}”: your function names “"
        + "” and “".join(data.classes[int(falls[how, "50", c].argmin())]
                         for how in ("ascent", "exact")) + "”. Over all classes, shares and "
        f"{len(trials)} providers the class is named right after ascent in {right['gradient']} % of"
        f" the trials with gradient-made probes, in {right['queries']} % with probes from "
        f"{np.mean(queries):,.0f} queries each, in {right['rounded']} % when answers have four "
        "decimals only. After retraining, with gradient-made probes: "
        + ", ".join(f"{right[f'exact-{s}']} % when {s} % of the class goes" for s in here.SHARES)
        + f" (a fine-tuning of the public network without the deleted rows). Chance is "
        f"{100 / data.n_classes:.0f} %.")

# %% [markdown]
# **Check yourself.** The changes on the axis are tiny. Why does the attack ask probes of extreme
# confidence, and not ordinary pictures?
#
# <details><summary>Answer</summary>
#
# All probes are sure of their class to begin with, so what differs between classes is what the
# deletion did, not how hard the pictures are. Ordinary pictures differ in hardness far more than a
# deletion moves them.
#
# </details>

# %% [markdown]
# ## 2 · Was she deleted?
#
# > **Threat model.** **Who** a user who knows a person's row, with its label, and wonders whether
# > that person withdrew it. **Sees** the probabilities for that row, before and after.
# > **May** train models: it has rows of the same kind, and knows the provider's recipe.
# > **Wants** to tell a deleted row from one that was never there.
#
# All rows are split in two halves that share nothing: the attacker's and the provider's. In each
# half a fifth are **strangers** that no model ever sees. An **original** is trained on some rows of
# the rest; then single rows are deleted, each by a real **retraining** without it, with the seed
# of the original. To train hundreds of networks in a minute, pictures are averaged down to at most
# 256 numbers here and in all that follows.

# %%
own, other = here.two_sides(data, lab.seeds(1, "sides")[0])  # attacker's half, provider's half


def planned(n, deletions, size=1):
    """Originals of both halves, their rows, and which of them each deletion takes."""
    return [here.plans(side, on, rows=n, deletions=deletions, size=size)
            for side, on in ((own, shadows), (other, judged))]


def versions(make, plans, *settings, **more):
    """Answers of both versions, in the attacker's half and in the provider's."""
    return [make(side, part, *settings, **more)
            for side, part in zip((own, other), plans, strict=True)]


plans = planned(cfg.n, cfg.deletions)
mine, theirs = versions(here.networks, plans, cfg.recipe)

# %%
i, j = here.two_alike(theirs)  # a deleted row, and a stranger of which the original is as sure
lab.figure(here.drawing.two_answers(figures, theirs, (i, j), ("a deleted row", "a stranger"),
                                    data.classes),
           "Probabilities of each class before and after one deletion, and their change below, for "
           "the deleted row on the left and a stranger on the right; the own label has a star.")
p, q = (abs((theirs.before - theirs.after)[r, theirs.y[r]]) for r in (i, j))
lab.say(f"The probability of the own label moves by {p:.3f} at the deleted row and by {q:.3f} at a "
        "stranger of which the original is about as sure. One pair proves nothing; many may.")

# %% [markdown]
# The attacker's half gives it pairs of which it *knows* whether the row was deleted. From those a
# classifier learns; then it is applied to the provider's pairs. What should it look at? Let $p$ be
# the answer before and $q$ the one after. Chen et al. try the distance $\lVert p - q \rVert$, and
# $p - q$ and $[p, q]$, as they are and **sorted**: with $\pi$ the order of the classes by
# $p$, from the least likely to the likeliest,
# $$\bigl(p_{\pi(1)} - q_{\pi(1)},\ \ldots,\ p_{\pi(k)} - q_{\pi(k)}\bigr).$$
# We add the sorted difference of logarithms.
#
# **Exercise 6.2** (difficulty 2, 8 minutes). Write the sorted difference.

# %%
@exercise("6.2")
def sorted_difference(before, after):
    """Before less after, classes in the ascending order of before. (m, k), (m, k) -> (m, k)"""
    ...  # your code

# %%
# NBVAL_CHECK_OUTPUT
before, after = torch.tensor([[0.7, 0.1, 0.2]]), torch.tensor([[0.6, 0.2, 0.2]])
print("a sure answer that got less sure:", sorted_difference(before, after).numpy().round(3) + 0.0)

# %%
def seen(pairs):
    return sorted_difference(torch.from_numpy(pairs.before), torch.from_numpy(pairs.after)).numpy()


# a logistic regression that learns in one's own half, applied to the other person's versions
first = here.on_views(seen(mine), seen(theirs), mine, theirs)
lab.say(f"With your features the attack tells deleted rows from strangers with an AUC of "
        f"{here.share(first)}, over {len(first)} originals that it never saw. The AUC is the chance"
        " that a deleted row gets a higher score than a stranger; a coin has 0.5.")

# %% [markdown]
# Whether the second version helps is judged against the **classic** attack (Salem et al. 2019),
# which has the version before alone: its sorted probabilities, as a model is often surer of rows
# that it trained on. Either attack picks one of three classifiers, and that with two versions one
# of six feature sets as well, by what does best on *shadows*: half of the attacker's own originals
# teach, the others judge. So the classic one has less to choose from. And neither uses the row's
# **label**, which the box grants: beside them stands how sure the version before was of it.

# %%
fewer = planned(cfg.n_sklearn, cfg.fewer)
pairs = {"logistic regression": versions(here.estimators, fewer, here.logistic),
         "random forest": versions(here.estimators, fewer, here.forest), "mlp": [mine, theirs]}
found = {name: here.contest(*both, names=cfg.attacks) for name, both in pairs.items()}
lab.figure(here.drawing.contests(figures, found),
           "AUC of the classic attack, of the confidence in the own label before, and of two "
           "versions, on three kinds of model, with 95 % intervals, and a line at one half.")
gain = {name: here.less(c["two"], c["classic"]) for name, c in found.items()}
lab.say("Two versions against one: " + "; ".join(
    f"{name} {here.share(c['two'])} against {here.share(c['classic'])}, {here.side(gain[name])}"
    for name, c in found.items()) + ".",
    "AUC difference, two versions less the label's confidence before: " + ", ".join(
        f"{name} {here.difference(here.less(c['two'], c['label']))}"
        for name, c in found.items()) + ".",
    "Chosen on shadows, features and attack model: " + "; ".join(
        f"{c['kind']}, {c['name']} ({name})" for name, c in found.items()) + ".")

# %% [markdown]
# **Predict before you run.** So far the network was retrained with the seed of the original: the
# same first weights, the same order of rows. Now each retraining draws a **fresh seed**. What
# becomes of the attack on the network?
# a) Nothing: what the row did is gone in both cases.
# b) It gets weaker, as the versions now differ by luck as well.
# c) It gets stronger, as more has changed.

# %%
fresh = versions(here.networks, plans, cfg.recipe, fresh=True)
same, by_luck = found["mlp"], here.contest(*fresh, names=cfg.attacks)
drop = here.less(same["two"], by_luck["two"])
lab.say(f"With a fresh seed the AUC is {here.share(by_luck['two'])}; with the same seed it was "
        f"{here.share(same['two'])}. "
        + here.side(drop, "If you said b), yes: luck moves the answers as well, and the row's "
                    "share is harder to see. Where there is no luck to hide behind it does "
                    "nothing: a logistic regression has one optimum, whatever the seed.",
                    "If you said c), yes, against what we expected.",
                    "So few originals do not decide between a) and b); the claim "
                    "*leak-fresh-seed* judges all committed runs."))

# %% [markdown]
# Does a provider who uses **SISA** (notebook 02) leak less? Here five networks have a fifth of the
# rows each, and take as many steps as the one took. Does it help to delete ten rows at a time? And
# is the gain over the classic attack largest for models that generalise well? For that the same
# network is trained on few rows, briefly and until it knows them by heart.

# %%
shards = versions(here.in_shards, plans, cfg.recipe)
tens = versions(here.networks, planned(cfg.n, max(1, cfg.deletions // 10), 10), cfg.recipe)
few = planned(cfg.n_small, cfg.deletions)
brief, long = (versions(here.networks, few, cfg.recipe | {"epochs": e}) for e in (10, 60))
more = {name: (here.contest(*both, names=cfg.attacks), both[1]) for name, both in (
    ("five shards", shards), ("ten at a time", tens), ("few rows, 10 epochs", brief),
    ("few rows, 60 epochs", long))}
lab.table(here.contests({"the mlp above": (same, theirs)} | more), "AUC of the three attacks over "
          f"{len(judged)} originals with 95 % intervals, and what was chosen on shadows", 2)
less, tenfold = (here.less(same["two"], more[name][0]["two"])
                 for name in ("five shards", "ten at a time"))
well, by_label = (here.gain_less(*(more[f"few rows, {e} epochs"][0] for e in (10, 60)), base)
                  for base in ("classic", "label"))
lab.say(f"AUC difference, one network less five shards: {here.difference(less)}: "
        f"{here.side(less, 'shards leak less', 'shards leak more')}. One row less ten at a time: "
        f"{here.difference(tenfold)}: {here.side(tenfold, 'ten leak less', 'ten leak more')}.",
        "The gain over the classic attack, well generalised less overfitted, is "
        f"{lk.measure.show_interval(well, limits=(-2, 2))}: "
        + here.side(well / 2, "larger where the model generalises well, as the paper says.",
                    "larger where the model is overfitted, which is not what the paper says.",
                    "so few originals do not settle it."),
        "Gains hang on the baseline: over the label's confidence before, it is "
        f"{lk.measure.show_interval(by_label, limits=(-2, 2))}. Two versions have "
        + " and ".join(f"{np.mean(more[f'few rows, {e} epochs'][0]['two']):.2f}" for e in (10, 60))
        + ": where both are near 1, a gain tells of the baseline alone.")

# %% [markdown]
# **Check yourself.** Why are the attack's features chosen on the attacker's own originals, and not
# by what works best against the provider's?
#
# <details><summary>Answer</summary>
#
# The attacker does not know which of the provider's rows were deleted: that is what it wants to
# find out. And the best of eighteen on the judged pairs would look better than it is, by luck.
# (Traps of the released code, avoided here: it scales features anew at each query, so a single row
# becomes zeros; its epochs are batches; it overwrites a shard's answers by the mean of all.)
#
# </details>

# %% [markdown]
# ## 3 · What stops it?
#
# > **Threat model.** **Who** as before. **Sees** what the provider lets through, before and after.
# > **May** know the rule, and pass its own versions through it. **Wants** the same.
#
# A provider need not answer with all probabilities. It can round them, give the three largest and
# spread the rest evenly, or name the label alone. It can divide the logits by a **temperature**
# $T$, which flattens the answers: $p_T \propto p^{1/T}$. Or it can train with **differential
# privacy** (notebook 11 says what that promises): here a linear model, each row's gradient clipped,
# with fresh noise at each training.
#
# The *plain* attacker learned from full answers, and applies that. The *adaptive* one knows the
# rule, passes its own versions through it and learns anew. A temperature it may also take back, as
# $p \propto p_T^T$; it keeps what did better on its shadows. Who does **not** know $T$ can guess
# it, for the attacker's own models have answers too, and those were not flattened.
#
# **Exercise 6.3** (difficulty 3, 10 minutes). Undo the temperature. Take logarithms, less each
# row's mean; multiply them by the number that makes their spread (the root of the mean square) the
# same as that of `own`; take the softmax.

# %%
@exercise("6.3")
def undo_temperature(served, own):
    """Answers as they were. Flattened ones (m, k), one's own (n, k), both above 0 -> (m, k)"""
    ...  # your code

# %%
def undo(served, own):
    return undo_temperature(*(torch.from_numpy(a).double().clamp(min=1e-30)
                              for a in (served, own))).numpy()


T = 10.0
plain = same["attacker"]  # of section 2: it learned from all probabilities
against = partial(here.against_a_rule, plain, mine, theirs, names=cfg.attacks)
flatten, unflatten = partial(here.tempered, t=T), partial(here.tempered, t=1 / T)
rules = {"all": (same["two"], same["two"])} | {
    name: against(rule)[:2] for name, rule in here.RULES.items() if name != "all"}
*hot, way = against(flatten, unflatten)  # plain, adaptive
hot.append(here.who_guesses(plain, mine, here.served(theirs, flatten), undo))
rules[f"T = {T:g}"] = hot
SIGMA, STEPS = 8.0, 30
private = {name: versions(here.private_versions, planned(cfg.n, deletions), sigma=s, steps=STEPS)
           for name, s, deletions in (("no noise", 0.0, cfg.deletions),
                                      ("private", SIGMA, cfg.private))}
noisy = {name: (None, here.by_original(here.rehearse(a, names=cfg.attacks), b))
         for name, (a, b) in private.items()}
lab.figure(here.drawing.rules(figures, rules, noisy),
           "AUC of three attackers under five ways of answering, and of the attack on a linear "
           "model without and with differential privacy, 95 % intervals, a line at one half.")

# %%
told = {name: here.share(a) for name, (_, a, *_) in (rules | noisy).items()}
full = rules["all"]
epsilon = here.epsilon_of(SIGMA, STEPS, 1e-4)
accuracy = {name: f"{100 * np.mean(both[1].accuracy, 0)[1]:.0f} %" for name, both in
            private.items()}
lab.say(f"All probabilities: {told['all']}. Two decimals: {told['2 decimals']}. The three largest: "
        f"{told['top 3']}. The label alone: {told['label only']}, and "
        f"{here.share(rules['label only'][0])} for who does not know the rule.",
        f"Differential privacy, ε = {epsilon:.1f} at δ = 0.0001, {cfg.private} deletions an "
        f"original: {told['private']}; without the noise, {cfg.deletions}: {told['no noise']}. The "
        f"price: test accuracy {accuracy['private']} in place of {accuracy['no noise']}.")
knows, left = here.less(hot[1], hot[0]), lk.measure.interval(hot[0], None, (0, 1))[1] > 0.5
lab.say(f"Temperature {T:g}: the plain attacker has {here.share(hot[0])}, who knows $T$ "
        f"{here.share(hot[1])} ({way}, by its shadows), who guesses it by your function "
        f"{here.share(hot[2])}. AUC difference, who knows less plain: {here.difference(knows)}, "
        f"{here.side(knows)}. "
        + ("Not even the plain attacker is stopped: its whole interval lies above a coin."
           if left else "Whether flattening left the plain attacker anything is open."))

# %% [markdown]
# How much *more* do two versions tell than one, behind a rule? Both attacks must look at what the
# rule lets through. In the code that Chen et al. released, the classic attack and the
# concatenations read the undefended answers.
#
# **Exercise 6.4** (difficulty 3, 5 minutes). A provider rounds its answers. Give what either attack
# sees: the sorted difference, then, for the classic one, the sorted version before; both in the
# ascending, stable order of the rounded version before.

# %%
@exercise("6.4")
def both_views(before, after, decimals):
    """Sorted difference and sorted version before, of rounded answers. (m, k), (m, k), int
    -> (m, 2k)"""
    ...  # your code

# %%
DECIMALS = 0  # zeros and ones only: the hardest rounding
behind = here.behind_rounding(both_views, *pairs["random forest"], DECIMALS)
right_gain, wrong_gain = (here.less(behind["two"], behind[who])
                          for who in ("classic", "undefended"))
lab.say(f"A random forest, its answers rounded to {DECIMALS} decimals: two versions "
        f"{here.share(behind['two'])}, one {here.share(behind['classic'])}, gain "
        f"{here.difference(right_gain)} (without the version before in full, neither is that of "
        f"section 2). A baseline that reads undefended answers has "
        f"{here.share(behind['undefended'])}: the gain would be {here.difference(wrong_gain)}.")

# %% [markdown]
# **Check yourself.** Noise that is drawn *once* and used again in each retraining would also blur
# the model. Why does it protect nobody?
#
# <details><summary>Answer</summary>
#
# The attack compares two versions. Equal noise on both cancels in the difference, and what is left
# is what the row did. So each training draws its own, and that is what the promise assumes.
#
# </details>

# %% [markdown]
# ## 4 · An attacker for each row
#
# > **Threat model.** **Who** a tester, or anybody with rows and time. **Sees** the provider's
# > answers after the deletion, for rows with known labels; the version before is gone.
# > **May** train shadow models with the provider's recipe, and run its unlearner on them.
# > **Wants** to tell for each row whether it was trained on *and unlearned*, or never seen.
#
# Approximate unlearning is often tested by one rule for all rows: is the model surer of these than
# of strangers? But rows differ. A clear picture has a sure answer whether it was seen or not; an
# odd one only if it was. **U-LiRA** (Hayes et al. 2024) asks of each row by itself. Many shadows
# are trained on random halves of the rows. In half of them row $x$ was trained on and then
# unlearned; the others never saw it, **and ran the unlearner on other rows**. Let $\phi$ be the
# logit of the confidence in the row's label, $\phi = \ln p_y - \ln(1 - p_y)$. Its values in either
# kind of shadow give a Gaussian, and a new model's $\phi$ gets the score
# $$\ln N(\phi;\ \mu_{in}, \sigma_{in}) - \ln N(\phi;\ \mu_{out}, \sigma_{out}).$$
# $\mu$ and $\sigma$ are the mean and the deviation on each side, for this row alone.
#
# **Exercise 6.5** (difficulty 4, 15 minutes). Write the score for many rows at once.

# %%
@exercise("6.5")
def log_ratio(score, scores, inside):
    """log N(φ | in) − log N(φ | out) of each row. φ of a new model (m,); of the shadows (s, m);
    which shadow had which row (s, m) bool -> (m,)"""
    ...  # your code

# %%
rehearsal = here.make_worlds(data, lab.seeds(1, "world tuning")[0], cfg.tuning_worlds,
                             cfg.world_rows, cfg.world_recipe)
settings, tried = here.tune_methods(rehearsal)  # the smallest gap to retraining, on other seeds
worlds = here.make_worlds(data, lab.seeds(1, "worlds")[0], cfg.worlds, cfg.world_rows,
                          cfg.world_recipe)
phi, gap = here.unlearn_all(worlds, settings)  # method -> φ (worlds, rows)
inside = worlds.inside.numpy()
targets = inside[:, :here.TARGETS]
odd = int(np.argmax(here.exposure(phi["untouched"][:, :here.TARGETS], targets)))
PANELS = ("untouched", "fine-tuning", "retraining")
lab.figure(here.drawing.row_panels(figures, phi, inside, odd, PANELS),
           "One row: its logit confidence in networks that had it and in those that never saw it, "
           "with a Gaussian for either side; untouched, fine-tuned and retrained networks.")
lab.say(f"A row of “{data.classes[worlds.data.y[odd]]}”. The means of the two sides lie "
        + ", ".join(f"{here.exposure(phi[m][:, [odd]], inside[:, [odd]])[0]:.1f} deviations apart "
                    f"({m})" for m in PANELS) + ". It was picked as the largest distance in "
        "untouched networks, so do not take it for the rule.")
edge = [m for m, grid in here.GRID.items() if settings[m] in (grid[1][0], grid[1][-1])]
lab.say(f"Each of {len(here.GRID)} methods got the setting with the smallest gap of UA, RA, TA to "
        f"retraining, on {cfg.tuning_worlds} other networks"
        + (f"; at the edge of what was tried: {', '.join(edge)}." if edge else "."))

# %% [markdown]
# Each network has half of 50 rows that will be asked for, and is asked to unlearn all that it has
# of them. Networks are judged in turns: a third by the Gaussians of the others. Beside it stands
# the rule for all rows, as in notebook 01: one logistic regression on $\phi$, learned from the same
# shadows. Random rows may be easy to forget, so the table also has the fifth that were most exposed
# in other networks before any unlearning (as in RULI, USENIX Security 2025).

# %%
def by_row(scores, inside, at):
    """Your scores of the networks at these places, by the shadows among the others."""
    others = np.setdiff1d(np.arange(len(scores)), at)
    known = [torch.from_numpy(a[others]) for a in (scores, inside)]
    return torch.stack([log_ratio(torch.from_numpy(row), *known) for row in scores[at]]).numpy()


LISTED = ("untouched", *here.GRID, "retraining")
per = {m: here.row_contest(phi[m], inside, by_row) for m in (*LISTED, "retraining again")}
listed = {m: per[m] for m in LISTED}
lab.figure(here.drawing.methods(figures, listed),
           "AUC of the attack row by row and of one rule for all rows, for untouched networks, "
           "five ways of unlearning and retraining, with 95 % intervals over judged networks.")
sees = {m: here.less(c["row"], c["population"]) for m, c in per.items()}
CLAIMED = ("fine-tuning", "NegGrad+", "random labels", "first-order")
LINE = 0.54  # as in the claim on retraining: private is whose whole interval lies below
hidden, lowest = here.hidden({m: per[m] for m in CLAIMED}, LINE)
lab.say("AUC difference, row by row less one rule for all: "
        + ", ".join(f"{m} {here.difference(sees[m])}" for m in LISTED) + ".",
        f"Private by the one rule (below {LINE}) and not row by row (above it): "
        + (", ".join(hidden) or f"none; the lowest by the one rule is {lowest}") + ".")

# %%
helps = {m: here.less(per["untouched"]["row"], per[m]["row"]) for m in here.GRID}
weak = here.vulnerable(phi["untouched"], inside)
among = {m: here.on_rows(per[m]["found"], targets, weak) for m in LISTED}
least = min(here.GRID, key=among.get)
lab.table(here.methods(listed, per["untouched"]).assign(
    **{"on vulnerable rows": [f"{among[m]:.2f}" for m in LISTED]}),
    f"AUC over {cfg.worlds} judged networks with 95 % intervals; share of members caught at 1 % "
    "false alarms; pooled AUC on the fifth of the rows furthest apart in untouched shadows")
lab.say("Does unlearning help against this attacker? By AUC, less visible than doing nothing: "
        + (", ".join(here.beyond(helps)) or "none beyond doubt")
        + ". On the rows that were most exposed to begin with, the AUC is "
        f"{among['untouched']:.2f} untouched and {among['retraining']:.2f} after retraining; the "
        f"lowest of the methods, picked on these very networks, is {least}: {among[least]:.2f}.")

# %% [markdown]
# Nobody asked about the rows that **stay**. Unlearning moves the model, and may expose some of them
# more than retraining would. Further rows of our universe are never asked for, and half of the
# networks have each. The distance between the two Gaussians is the row's exposure. Two retrainings
# with seeds of their own differ in it by luck: from one to the other 39 of 40 rows rise by less
# than a certain limit. How many rise by more under unlearning? By luck, about one in 40.

# %%
exposed = here.more_exposed(phi, inside, LISTED)
above = here.beyond({m: 100 * e for m, e in exposed.items()}, 2.5, (0, 100))
lab.say(f"Of {here.WATCHED} rows that stay, those more exposed than by retraining, in %: "
        + ", ".join(f"{m} {lk.measure.show_interval(100 * e, limits=(0, 100), digits=1)}"
                    for m, e in exposed.items())
        + ". The last is a third retraining: luck alone, 2.5 expected. Whole interval above that: "
        + (", ".join(above) or "none") + ". The rows share their networks, and the limit has an "
        "error of its own, so luck does this too.")

# %% [markdown]
# **Explore.** One target after the other, method after method. Which rows stay apart whatever is
# done? Which never were?

# %%
shown = {m: phi[m][:, :here.TARGETS] for m in LISTED}
far = {m: here.exposure(v, targets) for m, v in shown.items()}
figure, redraw = here.drawing.explorer(figures, shown, targets, far, odd)
panel = widgets.explorer(figure, redraw, method=widgets.dropdown("method", list(LISTED)),
                         row=widgets.slider("target", list(range(here.TARGETS)), odd))
lab.figure(figure, "The explorer in its first state: the logit confidence of one target in "
                   "untouched networks that had it and in those that never saw it, with Gaussians.")
lab.say(redraw("untouched", odd))
panel

# %% [markdown]
# **Check yourself.** The strangers' shadows must run the unlearner as well, on other rows. What
# would the attack find if they did not?
#
# <details><summary>Answer</summary>
#
# In part, whether a model was unlearned at all: the whole model moves a little, also at rows that
# it never saw. That says nothing of a row. “What would fool you” measures how much it is here.
#
# </details>

# %% [markdown]
# ## 5 · Forgetting quality
#
# The NeurIPS 2023 challenge asks the same of many models. For each deleted row take $\phi$ in $N$
# unlearned and in $N$ retrained models, and look for the rule that tells them apart best: all
# limits, all intervals. From a rule's two error rates follows
# $$\varepsilon = \max\Bigl(\ln\frac{1 - \delta - FPR}{FNR},\
# \ln\frac{1 - \delta - FNR}{FPR}\Bigr).$$
# FPR and FNR are the shares of retrained models called unlearned, and of unlearned ones missed, and
# $\delta$ is 0.00001. A row counts 1 for $\varepsilon < 0.5$, and half of it for each further 0.5;
# **F** is the mean over rows. No tool can show a rate below $1/N$, so a rule with exactly one rate
# 0 is left out; with both 0 it is $\varepsilon = \infty$, and the row counts 0. The challenge's
# score is F times the shares of RA and of TA that were kept, against retraining; F alone stands
# here.
#
# Its code has two traps: an `assert` on an array, and a device that is written in. It repeats one
# deletion $N$ times; here each network has rows of its own and each retraining a seed of its own,
# so luck is on both sides. (KLoM, of data-unlearning-bench, compares the same two groups of models
# by a divergence of their margins.)

# %%
names = [m for m in LISTED if m != "retraining"]
halvings = here.qualities(phi, inside, [*names, "retraining once more"])
ceilings = halvings.pop("retraining once more")  # against a retraining with other seeds, as all are
forgetting, ceiling = {m: float(h.mean()) for m, h in halvings.items()}, float(ceilings.mean())
tau, *ends_of_tau = here.tau_interval(halvings, gap)
lab.figure(here.drawing.quality(figures, {m: gap[m] for m in names}, halvings, ceilings),
           "The gap to retraining of doing nothing and of five methods, and their forgetting "
           "quality F, with 95 % intervals, and a band where retraining against retraining lies.")
best, second = sorted(forgetting, key=forgetting.get)[:-3:-1]
lead = here.less(halvings[best], halvings[second])
lab.say(f"With N = {cfg.worlds // 2} models a side, retraining against retraining has F = "
        f"{ceiling:.3f}, and not 1: the best of so many rules finds luck. Doing nothing has "
        f"{forgetting['untouched']:.3f}; the highest is {best} with {forgetting[best]:.3f}, ahead "
        f"of {second} by {here.difference(lead)} over the very rows that picked both"
        + here.side(lead, ".", ".", ", which tells no best."),
        f"Do F and the gap rank alike? Kendall's τ of the two orders is {tau:.2f} "
        f"[{ends_of_tau[0]:.2f}, {ends_of_tau[1]:.2f}] (1: the same order, 0: unrelated; doing "
        "nothing is one of six): "
        + ("they are related." if ends_of_tau[0] > 0 else "rather the other way "
           "round." if ends_of_tau[1] < 0 else "this run does not settle it."))

# %% [markdown]
# **Check yourself.** A paper reports F = 0.1 for its method, with N = 20. What must stand beside
# it?
#
# <details><summary>Answer</summary>
#
# What retraining against retraining has at N = 20, and what doing nothing has. Both depend on N and
# on the data: more models let lucky rules prove a larger ε, so F falls as N grows.
#
# </details>

# %% [markdown]
# ## 6 · Project: an attacker of your own
#
# The user of section 2 knows the row **with its label**, and the published features do not use it.
# They also compare probabilities, in which a change of 0.001 counts the same at 0.5 and at 0.002.
#
# **Exercise 6.6** (difficulty 5, 25 minutes). Write an attacker. You get your own pairs (answers
# before and after, label, deleted or not), and the judged pairs without the last. Give a score for
# each judged row, larger where it is more likely deleted. You may fit a classifier.
#
# *Judged by* the AUC on made-up versions: at least half of the way from one published attack
# (sorted differences, logistic regression) to the course's solution. Below it also meets the attack
# that section 2 chose on shadows.

# %%
@exercise("6.6")
def who_was_deleted(own_before, own_after, own_label, own_deleted, before, after, label):
    """Scores of the judged rows. Float (n, k), (n, k), int64 (n,), bool (n,); (m, k), (m, k), (m,)
    -> (m,)"""
    ...  # your code

# %%
ways = {"published": published, "label, before only": here.sure_before, "course": worked}
if who_was_deleted is not worked:
    ways["yours"] = who_was_deleted
mine_is = list(ways)[-1]
met = {"all probabilities": (mine, theirs), "fresh seed": fresh} | {
    name: [here.served(p, here.RULES[name]) for p in (mine, theirs)]
    for name in ("2 decimals", "label only")}
chosen = {"all probabilities": same["two"], "fresh seed": by_luck["two"],
          "2 decimals": rules["2 decimals"][1], "label only": rules["label only"][1]}
project = {where: {"section 2": chosen[where]} | {who: here.reached(a, *both) for who, a in
                                                  ways.items()} for where, both in met.items()}
lab.table(here.project_table(project), "AUC against the network, over the provider's originals, "
          "with 95 % intervals; the first two do not use the label")
full_, lucky = project["all probabilities"], project["fresh seed"]
ahead = {who: here.less(full_[mine_is], full_[who]) for who in ("published", "section 2")}
second_version = here.less(lucky[mine_is], lucky["label, before only"])
lab.say("The worked solution stands in for yours." if mine_is == "course" else "",
        "AUC difference on all probabilities, this attacker less the published one: "
        f"{here.difference(ahead['published'])}; less what section 2 chose on shadows: "
        f"{lk.measure.show_interval(ahead['section 2'], 3, limits=(-1, 1))}, "
        f"{here.side(ahead['section 2'], 'better', 'worse', 'not told apart')}. A defence is as "
        "good as the best attacker it was tried against.",
        "Part of it needs no second version: see the column of the label before. AUC difference to "
        f"that, with a fresh seed: {lk.measure.show_interval(second_version, 3, limits=(-1, 1))}, "
        f"{here.side(second_version, 'more', 'less', 'not told apart')}.")

# %% [markdown]
# **Check yourself.** Retraining with the same seed leaves strangers nearly, but not exactly, where
# they were. Why does it move them at all?
#
# <details><summary>Answer</summary>
#
# Without the row, every step that had it in its batch goes another way, and all later steps start
# elsewhere. The two paths drift apart, at all inputs. The attack has to tell this trembling from
# the fall at the deleted row.
#
# </details>

# %% [markdown]
# ## What would fool you
#
# Four shortcuts. **Judging an attack on the pairs it learned from.** **One retraining for all
# deletions** of an original: all its rows move every answer. **Strangers' shadows that skip the
# unlearner.** **Strangers from elsewhere**: here the same pictures, turned upside down.

# %%
learned = here.judged_on_what_it_learned(theirs)
honest = here.by_original(here.fit(mine, "concatenation", "forest"), theirs)
lab.say("A forest on the answers as they come, judged on the pairs it learned from, has an AUC of "
        f"{here.share(learned)}; one that learned from the attacker's own, {here.share(honest)}.")
at_once = versions(here.networks, planned(cfg.n, 1, cfg.deletions), cfg.recipe)
together = here.by_original(here.rehearse(at_once[0], names=cfg.attacks), at_once[1])
apart = here.less(together, same["two"])
lab.say(f"One retraining without all {cfg.deletions} rows: {here.share(together)}, where one each "
        f"has {here.share(same['two'])}; AUC difference {here.difference(apart)}, "
        f"{here.side(apart)}. It asks about {cfg.deletions} people at once.")
skipped = {m: here.less(here.row_contest(here.lazy(phi[m], phi["untouched"], inside), targets,
                                         by_row)["row"], per[m]["row"])
           for m in (*here.GRID, "retraining")}
lab.say("AUC difference, strangers without the unlearner (shadows and judged alike) less with it: "
        + ", ".join(f"{m} {here.difference(a)}" for m, a in skipped.items())
        + ". Blamed for more than they leave, whole interval above 0: "
        + (", ".join(here.beyond(skipped)) or "none") + ".")
straight, turned = here.other_strangers(worlds)
lab.say(f"Members against strangers, by confidence alone: {here.share(straight)}; against turned "
        f"strangers, {here.share(turned)}: is a picture upside down?")

# %% [markdown]
# ## What was tested
#
# Intervals are over originals in sections 2 and 3, which share one attack model, and over judged
# networks in section 4, which share shadows and rows; retained rows share all networks. Five
# committed runs, each with other rows, are the better witness. The claims of section 4 judge the
# mean AUC of single networks; its table has the pooled one beside it.

# %%
kinds = {"approximate": "gradient"} | {kind: kind for kind in labels if kind.startswith("exact")}
lab.claim("inv-label", {part: labels[kind][0] for part, kind in kinds.items()},
          clusters={part: labels[kind][1] for part, kind in kinds.items()})
lab.claim("inv-label-blackbox", {"accuracy": labels["queries"][0], "queries": queries},
          clusters={"accuracy": labels["queries"][1]})
lab.claim("leak-two-versions", gain)
lab.claim("leak-fresh-seed", {"difference": drop, "fresh": by_luck["two"]})
lab.claim("leak-generalised", {"gain": well, "small gap": here.gap_of(brief[1]),
                               "overfitted": here.gap_of(long[1])})
lab.claim("leak-sisa", less)
lab.claim("leak-mitigation", {
    "label only": np.array(rules["label only"][1]) - 0.5,
    "privacy": np.array(noisy["private"][1]) - 0.5, "top 3": rules["top 3"][1],
    "without privacy": noisy["no noise"][1]})
_ = lab.claim("leak-temperature", {"difference": knows, "without": full[1],
                                   "plain": hot[0]})

# %%
lab.claim("leak-ulira", {m: sees[m] for m in CLAIMED})
lab.claim("leak-unlearning-helps", {m: helps[m] for m in CLAIMED})
both = ("retraining", "retraining again")
lab.claim("leak-ulira-control", np.mean([per[m]["row"] for m in both], 0) - 0.5)
lab.claim("leak-retain", {m: exposed[m] for m in CLAIMED})
lab.claim("leak-quality", {"ceiling": [ceiling], "untouched": [forgetting["untouched"]],
                           "best": [forgetting[best]], "tau": [tau]})
lab.record("methods", {m: {"row": c["pooled"][0], "population": c["pooled"][1],
                           "gap": float(np.mean(gap[m])), "F": forgetting.get(m)}
                       for m, c in listed.items() if m != "retraining"})
lab.claims_table()

# %% [markdown]
# ## The answer
#
# Can a user tell who was deleted, and what stops it?

# %%
ulira, helped, retain = (here.places(f"leak-{name}", CLAIMED) for name in (
    "ulira", "unlearning-helps", "retain"))
lab.say_committed(
    "Over the committed runs:\n- **Which class?** Named right from answers alone after ascent: "
    "{inv-label-blackbox.accuracy}; with gradient-made probes after retraining without a tenth, a "
    "half, all of it: {inv-label.exact-10}, {inv-label.exact-50}, {inv-label.exact-100}.\n"
    "- **Was she deleted?** AUC, two versions less the classic attack: "
    f"{here.places('leak-two-versions', gain)}. That gain where the model generalises well, less "
    "where it is overfitted: {leak-generalised.gain}.\n- **What stops it?** AUC, same seed less "
    "fresh: {leak-fresh-seed.difference}, fresh alone: {leak-fresh-seed.fresh}. One network less "
    "five shards: {leak-sisa}. At temperature 10, who knows it less who does not: "
    "{leak-temperature.difference}, who does not: {leak-temperature.plain}. AUC less 0.5, labels "
    "alone: {leak-mitigation.label only}; differential privacy: {leak-mitigation.privacy}. AUC, "
    "top 3: {leak-mitigation.top 3}.\n"
    f"- **Row by row**, AUC, one attack a row less one rule for all: {ulira}. Retraining, AUC less "
    f"0.5: {{leak-ulira-control}}.\n- **Doing nothing less unlearning**, the same AUC: {helped}.\n"
    f"- **Rows that stay**, share more exposed than by retraining (0.025 by luck): {retain}.\n"
    "- **F**, retraining against retraining: {leak-quality.ceiling}; doing nothing: "
    "{leak-quality.untouched}; Kendall's τ with the gap: {leak-quality.tau}.")
lab.say("In this run, AUC of an attacker who uses the label, and of section 2's: "
        f"{here.both_attackers(project)}.",
        "Not shown: larger networks and more rows; an attacker without rows of the provider's "
        "kind; several deletions between two looks; defences against attackers yet to be written.")

# %% [markdown]
# **Read on**: [Chen et al. 2021](https://arxiv.org/abs/2005.02205), for several versions and groups
# of deletions; [Hayes et al. 2024](https://arxiv.org/abs/2403.01218), for U-LiRA at size; [Carlini
# et al. 2022](https://arxiv.org/abs/2112.03570), for the attack on models that forgot nothing.
#
# **Next**: [notebook 08](08_unfair.ipynb) asks who else pays for a deletion. [Notebook
# 11](11_release.ipynb) is about defences in what is released.
