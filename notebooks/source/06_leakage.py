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
# - write an attacker that beats the published one.
#
# *Time*: a minute and a half to run, three hours to work through. *You need*: notebook 01.
# *Papers*: Chen et al. 2021, [When machine unlearning jeopardizes
# privacy](https://arxiv.org/abs/2005.02205); Hayes et al. 2024, [Inexact unlearning needs more
# careful evaluations](https://arxiv.org/abs/2403.01218); Hu et al. 2024, [Learn what you want to
# unlearn](https://arxiv.org/abs/2404.03233); the measure of the [NeurIPS 2023
# challenge](https://github.com/unlearning-challenge/starting-kit). Tables of AUCs could not be
# read here: where a figure is missing, it says so.
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
               recipe=dict(hidden=32, epochs=15, lr=0.05, batch_size=64), worlds=96, tuning_worlds=6,
               world_rows=500,
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
        "decimals only. After retraining: "
        + ", ".join(f"{right[f'exact-{s}']} % when {s} % of the class goes" for s in here.SHARES)
        + f". Chance is {100 / data.n_classes:.0f} %.")

# %% [markdown]
# **Check yourself.** The changes on the axis are tiny. Why does the attack ask probes of extreme
# confidence, and not ordinary pictures?
#
# <details><summary>Answer</summary>
#
# All probes are sure of their class to begin with, so what differs between classes is what the
# deletion did, not how hard the pictures are. Ordinary pictures differ in hardness far more than a
# deletion moves them. What rounding does to changes so small is in the sentence above.
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
    return [make(side, part, *settings, **more) for side, part in zip((own, other), plans, strict=True)]


plans = planned(cfg.n, cfg.deletions)
mine, theirs = versions(here.networks, plans, cfg.recipe)

# %%
kept = theirs.before.argmax(1) == theirs.y  # rows that the original classifies right
sure = theirs.before.max(1)
some = np.flatnonzero(kept & theirs.deleted)  # the first deleted row that leaves room to move
i = int(next((r for r in some if sure[r] < 0.9), some[0]))  # and a stranger as sure as that
j = int(np.argmin(np.where(kept & ~theirs.deleted, abs(sure - sure[i]), 9.0)))
lab.figure(here.drawing.two_answers(figures, theirs, (i, j), ("a deleted row", "a stranger"),
                                    data.classes),
           "Probabilities of each class before and after one deletion, and their change below, for "
           "the deleted row on the left and for a stranger on the right; the row's own label has a "
           "star.")
fell = theirs.before - theirs.after
p, q = (abs(fell[r, theirs.y[r]]) for r in (i, j))
lab.say(f"The probability of the own label moves by {p:.3f} at the deleted row and by {q:.3f} at a "
        "stranger of which the original is about as sure. One pair proves nothing; many may.")

# %% [markdown]
# The attacker's half gives it pairs of which it *knows* whether the row was deleted. From those a
# classifier learns; then it is applied to the provider's pairs. What should it look at? Let $p$ be
# the answer before and $q$ the one after. Chen et al. try $p - q$, the distance
# $\lVert p - q \rVert$ and $[p, q]$, each also **sorted**: with $\pi$ the order of the classes by
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


model = here.attack_model("logistic").fit(seen(mine), mine.deleted)  # learned in one's own half
scores = model.predict_proba(seen(theirs))[:, 1]  # applied to the other person's versions
first = [here.auc(scores[theirs.original == o], theirs.deleted[theirs.original == o])
         for o in range(len(judged))]
lab.say(f"With your features the attack tells deleted rows from strangers with an AUC of "
        f"{here.share(first)}, over {len(first)} originals that it never saw. The AUC is the chance"
        " that a deleted row gets a higher score than a stranger; a coin has 0.5.")

# %% [markdown]
# Whether the second version helps is judged against the **classic** attack (Salem et al. 2019),
# which has the version before alone: a model is often surer of rows that it trained on. Both attacks choose what they
# look at, and one of three classifiers, by what does best on *shadows*: half of the attacker's own
# originals teach, the others judge.

# %%
fewer = planned(cfg.n_sklearn, cfg.fewer)
pairs = {"logistic regression": versions(here.estimators, fewer, here.logistic),
         "random forest": versions(here.estimators, fewer, here.forest), "mlp": [mine, theirs]}
found = {name: here.contest(*both, names=cfg.attacks) for name, both in pairs.items()}
lab.figure(here.drawing.contests(figures, found),
           "AUC of the attack with one version and with two, on logistic regression, a random "
           "forest and a perceptron, with 95 % intervals over originals and a line at one half.")
gain = {name: here.less(c["two"], c["classic"]) for name, c in found.items()}
lab.say("Two versions against one: " + "; ".join(
    f"{name} {here.share(c['two'])} against {here.share(c['classic'])}, {here.side(gain[name])}"
    for name, c in found.items()) + ".",
    "What was chosen on shadows: " + ", ".join(f"{c['kind']} ({name})" for name, c in
                                               found.items()) + ".")

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
                    "share is harder to see. It costs nothing, where there is luck to hide behind: "
                    "a logistic regression has one optimum, whatever the seed.",
                    "If you said c), yes, against what we expected.",
                    "So few originals do not decide between a) and b); the claim "
                    "*leak-fresh-seed* judges all committed runs.")
        + f" A coin is {'not ' * (min(lk.measure.interval(by_luck['two'], None, (0, 1))[1:]) > 0.5)}"
        "inside the interval of the fresh seed.")

# %% [markdown]
# More questions of the paper. Does a provider who uses **SISA** (notebook 02) leak less? Here five
# networks have a fifth of the rows each, and take as many steps as the one network took. Does it
# help to delete ten rows at a time? And is it true that the gain over the classic attack is largest
# for models that generalise well? For that the same network is trained on few rows, briefly and
# until it knows them by heart.

# %%
shards = versions(here.in_shards, plans, cfg.recipe)
tens = versions(here.networks, planned(cfg.n, max(1, cfg.deletions // 10), 10), cfg.recipe)
few = planned(cfg.n_small, cfg.deletions)
brief, long = (versions(here.networks, few, cfg.recipe | {"epochs": e}) for e in (10, 60))
more = {name: (here.contest(*both), both[1]) for name, both in (
    ("five shards", shards), ("ten at a time", tens), ("few rows, 10 epochs", brief),
    ("few rows, 60 epochs", long))}
one = here.contest(mine, theirs)  # one attack model for all, for a fair comparison
lab.table(here.contests({"the mlp above": (one, theirs)} | more), "AUC of both attacks over "
          f"{len(judged)} originals with 95 % intervals; the attack model is logistic", 2)
less = here.less(one["two"], more["five shards"][0]["two"])
gains = [here.less(c["two"], c["classic"]) for c, _ in list(more.values())[2:]]
well = here.less(*gains)
lab.say(f"Sharding takes {here.difference(less)} off the AUC: "
        f"{here.side(less, 'it leaks less', 'it leaks more')}. The gain over the classic attack, "
        f"well generalised less overfitted, is {lk.measure.show_interval(well, limits=(-2, 2))}: "
        + here.side(well / 2, "larger where the model generalises well, as the paper says.",
                    "larger where the model is overfitted, which is not what the paper says.",
                    "so few originals do not settle it."))

# %% [markdown]
# **Check yourself.** Why are the attack's features chosen on the attacker's own originals, and not
# by what works best against the provider's?
#
# <details><summary>Answer</summary>
#
# The attacker does not know which of the provider's rows were deleted: that is what it wants to
# find out. And the best of eighteen on the judged pairs would look better than it is, by luck.
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
# rule. A temperature can be taken back by who knows it: $p \propto p_T^T$. Nobody told the attacker
# $T$; but its own models have answers too, and those were not flattened.
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
rules = {name: against(rule) for name, rule in here.RULES.items()}
rules[f"T = {T:g}"] = against(partial(here.tempered, t=T), undo)
SIGMA, STEPS = 8.0, 30
private = {name: versions(here.private_versions, planned(cfg.n, deletions), sigma=s, steps=STEPS)
           for name, s, deletions in (("no noise", 0.0, cfg.deletions),
                                      ("private", SIGMA, cfg.private))}
noisy = {name: (None, here.contest(*both)["two"]) for name, both in private.items()}
lab.figure(here.drawing.rules(figures, rules, noisy),
           "AUC of the plain and of the adaptive attacker under five ways of answering, and of the "
           "attack on a linear model without and with differential privacy, 95 % intervals over "
           "originals, a line at one half.")

# %%
told = {name: here.share(a) for name, (_, a) in (rules | noisy).items()}
hot, full = rules[f"T = {T:g}"], rules["all"]
epsilon = here.epsilon_of(SIGMA, STEPS, 1e-4)
accuracy = {name: f"{100 * np.mean(both[1].accuracy, 0)[1]:.0f} %" for name, both in
            private.items()}
lab.say(f"All probabilities: {told['all']}. Two decimals: {told['2 decimals']}. The three largest: "
        f"{told['top 3']}. The label alone: {told['label only']}.",
        f"Differential privacy, ε = {epsilon:.1f} at δ = 0.0001: {told['private']}; without the "
        f"noise {told['no noise']}. The price: test accuracy {accuracy['private']} in place of "
        f"{accuracy['no noise']}.")
lab.say(f"Temperature {T:g}: the plain attacker has {here.share(hot[0])}, the adaptive one "
        f"{here.share(hot[1])}; without the defence it is {told['all']}. "
        + here.side(here.less(hot[0], full[0]), "Flattening helped who did not know of it. ",
                    "Flattening weakened who did not know of it. ", "")
        + here.side(here.less(hot[1], full[1]), "Who knows it does **better** than with no defence "
                    "at all: small probabilities move little in themselves and much in proportion, "
                    "and a high temperature shows proportions.", "Who knows it is weakened, too.",
                    "Who knows it has neither lost nor gained, as far as these originals show."))

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
# **Exercise 6.4** (difficulty 4, 15 minutes). Write the score for many rows at once.

# %%
@exercise("6.4")
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
# shadows.

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
           "AUC of the attack row by row and of one rule for all rows, for untouched networks, five "
           "ways of unlearning and retraining, with 95 % intervals over judged networks.")
sees = {m: here.less(c["row"], c["population"]) for m, c in per.items()}
CLAIMED = ("fine-tuning", "NegGrad+", "random labels", "first-order")
lab.say("Row by row less one rule for all: "
        + ", ".join(f"{m} {here.difference(sees[m])}" for m in LISTED) + ". "
        + ("A method that looks private under the one rule need not be."
           if all(here.side(sees[m], "y") == "y" for m in CLAIMED) else ""))

# %%
helps = {m: here.less(per["untouched"]["row"], per[m]["row"]) for m in here.GRID}
weak = here.vulnerable(phi["untouched"], inside)
among = {m: here.on_rows(per[m]["found"], targets, weak) for m in LISTED}
lab.table(here.methods(listed, per["untouched"]).assign(
    **{"on vulnerable rows": [f"{among[m]:.2f}" for m in LISTED]}),
    f"AUC over {cfg.worlds} judged networks with 95 % intervals; share of members caught at 1 % "
    "false alarms; pooled AUC on the fifth of the rows that lie furthest apart in untouched shadows")
lab.say("Does unlearning help against this attacker at all? Less visible than doing nothing: "
        + (", ".join(m for m in helps if here.side(helps[m], "y") == "y") or "none beyond doubt")
        + ". On the rows that were most exposed to begin with, the AUC is "
        f"{among['untouched']:.2f} untouched and {min(among[m] for m in here.GRID):.2f} after the "
        f"best of the methods; {among['retraining']:.2f} after retraining.")

# %% [markdown]
# Nobody asked about the rows that **stay**. Unlearning moves the model, and may expose some of them
# more than retraining would. Further rows of our universe are never asked for, and half of the
# networks have each. The distance between the two Gaussians is the row's exposure. Two retrainings
# differ in it by luck: 39 of 40 rows rise by less than a certain limit from one to the other. How
# many rise by more under unlearning? By luck it would be one in 40.

# %%
exposed = here.more_exposed(phi, inside, LISTED[:-1])
lab.say("Rows that stay and are more exposed than after retraining, beyond the limit: "
        + ", ".join(f"{m} {100 * e.mean():.0f} %" for m, e in exposed.items())
        + f", of {here.WATCHED}. "
        + "Doing nothing is in the list, too: compare.")

# %% [markdown]
# **Explore.** One target after the other, method after method. Which rows stay apart whatever is
# done? Which never were?

# %%
shown = {m: phi[m][:, :here.TARGETS] for m in LISTED}
far = {m: here.exposure(v, targets) for m, v in shown.items()}
figure, redraw = here.drawing.explorer(figures, shown, targets, far)
panel = widgets.explorer(figure, redraw, method=widgets.dropdown("method", list(LISTED)),
                         row=widgets.slider("target", list(range(here.TARGETS)), 0))
lab.figure(figure, "The explorer in its first state: the logit confidence of one target in "
                   "untouched networks that had it and in those that never saw it, with Gaussians.")
lab.say(redraw("untouched", 0))
panel

# %% [markdown]
# **Check yourself.** The strangers' shadows must run the unlearner as well, on other rows. What
# would the attack find if they did not?
#
# <details><summary>Answer</summary>
#
# It would find whether a model was unlearned at all: the whole model moves a little, also at rows
# that it never saw. That says nothing of a row. “What would fool you” below does it.
#
# </details>

# %% [markdown]
# ## 5 · Forgetting quality
#
# The NeurIPS 2023 challenge made a single number of this. For each deleted row take $\phi$ in $N$
# unlearned and in $N$ retrained models, and look for the rule that tells them apart best: all
# limits, all intervals. From a rule's two error rates follows
# $$\varepsilon = \max\Bigl(\ln\frac{1 - \delta - FPR}{FNR},\ \ln\frac{1 - \delta - FNR}{FPR}\Bigr).$$
# FPR and FNR are the shares of retrained models called unlearned, and of unlearned ones missed, and
# $\delta$ is 0.00001. A row counts 1 for $\varepsilon < 0.5$, and half of it for each further 0.5; **F** is the mean over
# rows. No tool can show a rate below $1/N$, so a rule with one rate 0 is left out. Its code has two
# traps: an `assert` on an array, which fails for all but single rows, and a device that is written
# in. The challenge repeats one deletion $N$ times; here every network has a half of the rows of its
# own, so the luck of the draw is on both sides.

# %%
names = [m for m in LISTED if m != "retraining"]
forgetting = here.qualities(phi, inside, [*names, "retraining again"])
ceiling = forgetting.pop("retraining again")
gaps = {m: float(np.mean(gap[m])) for m in names}
tau = here.tau(forgetting, {m: -g for m, g in gaps.items()})
lab.figure(here.drawing.quality(figures, {m: gap[m] for m in names}, forgetting, ceiling),
           "Forgetting quality F of doing nothing and of five methods against their gap to "
           "retraining, and a line where retraining against retraining lies.")
best = max(forgetting, key=forgetting.get)
lab.say(f"With N = {cfg.worlds // 2} models a side, retraining against retraining has F = "
        f"{ceiling:.3f}, and not 1: the best of so many rules finds luck. Doing nothing has "
        f"{forgetting['untouched']:.3f}; the best method, {best}, {forgetting[best]:.3f}.",
        f"The order by F and the order by the gap agree with Kendall's τ = {tau:.2f} (1: the same "
        "order, 0: unrelated).")

# %% [markdown]
# **Check yourself.** A paper reports F = 0.1 for its method, with N = 20. What must stand beside
# it?
#
# <details><summary>Answer</summary>
#
# What retraining against retraining has at N = 20, and what doing nothing has. Both depend on N and
# on the data: with few models a single lucky rule proves a large ε.
#
# </details>

# %% [markdown]
# ## 6 · Project: an attacker of your own
#
# The user of section 2 knows the row **with its label**, and the published features do not use it.
# They also compare probabilities, in which a change of 0.001 counts the same at 0.5 and at 0.002.
#
# **Exercise 6.5** (difficulty 5, 25 minutes). Write an attacker. You get your own pairs (answers
# before and after, label, deleted or not), and the judged pairs without the last. Give a score for
# each judged row, larger where it is more likely deleted. You may fit a classifier.
#
# *Judged by* the AUC on made-up versions: at least half of the way from the published attack
# (sorted differences, logistic regression) to the course's solution.

# %%
@exercise("6.5")
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
project = {where: {who: here.reached(a, *both) for who, a in ways.items()}
           for where, both in met.items()}
lab.table(here.project_table(project), "AUC against the network, over the provider's originals, "
          "with 95 % intervals")
full_ = project["all probabilities"]
ahead = here.less(full_[mine_is], full_["published"])
lab.say("The worked solution stands in for yours." if mine_is == "course" else "",
        f"On all probabilities it is {here.difference(ahead)} ahead of the published attack: "
        f"{here.side(ahead, 'better', 'worse', 'not told apart')}. Against labels alone it has "
        f"{here.share(project['label only'][mine_is])}, with a fresh seed "
        f"{here.share(project['fresh seed'][mine_is])}. A defence is as good as the best attacker "
        "it was tried against.",
        "Part of it needs no second version: that the version before was surer of the own label "
        f"of its rows gives {here.share(full_['label, before only'])}; with a fresh seed, the "
        "second version adds " + here.difference(here.less(
            project["fresh seed"][mine_is], project["fresh seed"]["label, before only"])) + ".")

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
# Three shortcuts, each with a fine number. **Judging an attack on the pairs it learned from.**
# **Strangers' shadows that skip the unlearner.** **Strangers from elsewhere**: here the same
# pictures, turned upside down.

# %%
learned = here.judged_on_what_it_learned(theirs)
honest = here.by_original(here.fit(mine, "concatenation", "forest"), theirs)
lab.say("A forest on the answers as they come, judged on the pairs it learned from, has an AUC of "
        f"{here.share(learned)}; one that learned from the attacker's own, {here.share(honest)}.")
skipped = {m: here.row_contest(here.lazy(phi[m], phi["untouched"], inside), targets)["pooled"][0]
           for m in ("first-order", "retraining")}
lab.say("Strangers' shadows without the unlearner: "
        + ", ".join(f"{m} {a:.2f} (honest: {per[m]['pooled'][0]:.2f})" for m, a in skipped.items())
        + ". Even retraining would seem to remember what it never saw."
        * bool(skipped["retraining"] > per["retraining"]["pooled"][0] + 0.05))
straight, turned = here.other_strangers(worlds)
lab.say(f"Members against strangers, by confidence alone: {here.share(straight)}; against turned "
        f"strangers, {here.share(turned)}. The second number measures whether a picture is upside "
        "down.")

# %% [markdown]
# ## What was tested
#
# Intervals are over originals in sections 2 and 3, which share one attack model, and over judged
# networks in section 4, which share shadows and rows: five committed runs, each with other rows,
# are the better witness. Retained rows share all networks.

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
_ = lab.claim("leak-temperature", {"difference": here.less(*hot[::-1]), "without": full[1],
                                   "plain": hot[0]})

# %%
lab.claim("leak-ulira", {m: sees[m] for m in CLAIMED})
lab.claim("leak-unlearning-helps", {m: helps[m] for m in CLAIMED})
both = ("retraining", "retraining again")
lab.claim("leak-ulira-control", np.concatenate([per[m]["row"] for m in both]) - 0.5,
          clusters=2 * list(range(cfg.worlds)))
lab.claim("leak-retain", {m: exposed[m] for m in CLAIMED})
lab.claim("leak-quality", {"ceiling": [ceiling], "untouched": [forgetting["untouched"]],
                           "best": [forgetting[best]], "tau": [tau]})
lab.record("methods", {m: {"row": c["pooled"][0], "population": c["pooled"][1],
                           "gap": float(np.mean(gap[m])), "F": forgetting.get(m)}
                       for m, c in listed.items() if m != "retraining"})
lab.record("project", {where: {who: float(np.mean(a)) for who, a in w.items()}
                       for where, w in project.items()})
lab.claims_table()

# %% [markdown]
# ## The answer
#
# Can a user tell who was deleted, and what stops it?

# %%
lab.say_committed(
    "Over the committed runs. **Which class?** Named right after ascent from answers alone in "
    "{inv-label-blackbox.accuracy} of the trials. **Was she deleted?** A second version adds to the "
    "AUC, when each deletion is a retraining: {leak-two-versions.logistic regression} (logistic "
    "regression), {leak-two-versions.random forest} (random forest), {leak-two-versions.mlp} "
    "(network, same seed). **What stops it?** A fresh seed takes {leak-fresh-seed.difference} off "
    "the network's AUC, five shards {leak-sisa}. Labels alone leave {leak-mitigation.label only} "
    "above a coin, differential privacy {leak-mitigation.privacy}; the three largest probabilities "
    "leave an AUC of {leak-mitigation.top 3}. At temperature 10, who knows it has "
    "{leak-temperature.difference} more than who does not.")
lab.say_committed(
    "**Row by row** the attack has more than one rule for all: {leak-ulira.fine-tuning} "
    "(fine-tuning), {leak-ulira.NegGrad+} (NegGrad+), {leak-ulira.random labels} (random labels), "
    "{leak-ulira.first-order} (first-order). Against it, unlearning is better than doing nothing "
    "by {leak-unlearning-helps.fine-tuning}, {leak-unlearning-helps.NegGrad+}, "
    "{leak-unlearning-helps.random labels} and {leak-unlearning-helps.first-order}. Retraining is "
    "{leak-ulira-control} from a coin. **Rows that stay** and are more exposed than retraining "
    "would leave them (one in 40 by luck): {leak-retain.fine-tuning} after fine-tuning, "
    "{leak-retain.NegGrad+} after NegGrad+. **F** is {leak-quality.ceiling} for retraining against "
    "retraining, and {leak-quality.untouched} for doing nothing.")
lab.say(f"In this run an attacker who uses the label has {here.share(full_['course'])} where the "
        f"published one has {here.share(full_['published'])}, and with a fresh seed "
        f"{here.share(project['fresh seed']['course'])}.", "Not shown: larger networks and "
        "more rows; an attacker without rows of the provider's kind; several deletions between two "
        "looks; whether section 3 holds against attackers yet to be written.")

# %% [markdown]
# **Read on**: [Chen et al. 2021](https://arxiv.org/abs/2005.02205), for several versions and groups
# of deletions; [Hayes et al. 2024](https://arxiv.org/abs/2403.01218), for U-LiRA at size; [Carlini
# et al. 2022](https://arxiv.org/abs/2112.03570), for the attack on models that forgot nothing.
#
# **Next**: [notebook 09](09_verification.ipynb) asks how anyone could check that a provider has
# unlearned at all. [Notebook 11](11_release.ipynb) is about defences in what is released.
