# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 00 · Start here: why would a model have to forget?
#
# Somebody asks a company to delete her data. The company deletes the rows and keeps the model that learned from them.
# **What does she have a right to, what is left of her in the model, and how would anybody check?** The course takes a
# notebook for each part of that question. This one gets you ready, in about fifteen minutes.
#
# You will
# - read what the law asks, and what it leaves open;
# - check that your machine is fit for the course;
# - look at the data that every notebook starts from;
# - do one exercise, read one claim with its verdict, and change one profile: the three habits of the course.
#
# *Time*: about ten seconds to run. *You need*: Python, and to have seen a neural network being trained once.
# *Words*: [glossary](../docs/glossary.md).

# %% tags=["parameters"]
profile = "quick"  # smoke | quick | full | paper
dataset = "fashion"  # any name of labkit.data.names(), or folder:PATH
seed = 0  # everything random is spawned from it
seeds = None  # number of seeds; None: the profile's own

# %%
# On Colab (untested), first, in a cell of its own: %pip install git+GIT-ADDRESS-OF-THIS-REPOSITORY
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
import torch.nn.functional as F

import labkit as lk
from course import Lab, exercise, figures
from course.doctor import checks

lab = Lab("start_here", profile=profile, dataset=dataset, seed=seed, seeds=seeds)
figures.style()

# %% [markdown]
# ## 1 · What the law asks
#
# Article 17 of the European General Data Protection Regulation gives a person the right to have personal data about
# her erased without undue delay, among other cases when she withdraws the consent it rested on and no other legal
# ground remains, or when the data are no longer needed for their purpose. There are exceptions, for instance where the
# law demands that the data be kept, as it often does of medical records.
# Other laws, such as California's consumer privacy act, know a similar right.
#
# What the article does **not** say is what becomes of a model. It speaks of data. Whether a trained model still
# contains personal data has to be looked at case by case; the European Data Protection Board said so in its Opinion
# 28/2024. In the United States, the Federal Trade Commission has ordered companies to delete models along with data
# that they should not have used. *This is a summary for engineers, and no legal advice.*
#
# So an engineer is left with three questions, and they are the course's:
# 1. **Forget.** How does one remove what a model learned from some rows, at less than the price of training anew?
# 2. **Attack.** What can people do with the right to ask? What does the removal itself give away?
# 3. **Verify and defend.** How does the person who asked find out whether it was done?
#
# ## 2 · Is this machine ready?
#
# The next cell makes the checks of `labkit doctor`, which you can also call from a terminal. A problem comes with what
# to do about it.

# %%
problems = [text for good, text in checks() if not good]
print("\n".join(problems) or "This machine is ready.")

# %% [markdown]
# ## 3 · The data
#
# The default is a part of Fashion-MNIST: small grey pictures of clothes from a shop's catalogue, in ten classes. It
# comes with the repository, so nothing is downloaded. Imagine each picture to be somebody's. Everything in the course
# also runs on other data: `labkit run 01 --dataset digits`, or `--dataset folder:PATH` for pictures of your own.

# %%
data = lab.load(min_rows=(2, 1))
lab.require(len(data.shape) == 3,
            "Notebook 00 shows pictures, and this data set is a table: take fashion or a folder.")
shown = [int((data.y == c).nonzero()[i]) for c in range(min(10, data.n_classes)) for i in range(2)]
fig, axes = plt.subplots(2, len(shown) // 2, figsize=(10, 2.9), squeeze=False)
for i, row in enumerate(shown):
    ax = axes[i % 2, i // 2]
    picture = data.pixels(data.x[row]).cpu()
    ax.imshow(picture.permute(1, 2, 0), cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    if i % 2 == 0:
        ax.set_title(data.classes[data.y[row]].replace("/", "/\n"), fontsize=10)
lab.figure(fig, f"Two training pictures of each class: {', '.join(data.classes[:10])}.")

# %% [markdown]
# ## 4 · A first model
#
# Does a model treat the rows it learned from like any others? **Predict before you run**: of the probability that it
# gives to the right label, will the mean be higher on training rows, on unseen rows, or the same on both?
#
# First the tool for it, which is your first exercise. Replace the `...` by your code and run the cell. If you leave it,
# the worked solution stands in, and the notebook goes on; nothing can break. Hints and solution are folded below the
# cell.

# %% [markdown]
# > **Exercise 0.1.** A network ends in logits $z$; the probabilities are $p_j = e^{z_j} / \sum_k e^{z_k}$. Return the
# > probability that each row gives to its own label.

# %%
@exercise("0.1")
def probability_of_label(logits, labels):
    """Probability of each row's own label. (n, k) float, (n,) int -> (n,) float32 or float64, 0 to
    1
    """
    ...  # your code


# %% [markdown]
# Now train a few small networks, each from a seed of its own with its own split into training and unseen rows.

# %%
cfg = lab.settings(quick=dict(model="mlp", model_settings=dict(hidden=64), epochs=12, lr=0.15,
                              seeds=4),
                   full=dict(model="strided_cnn", model_settings={}, lr=0.1, seeds=5),
                   paper=dict(model="resnet18", epochs=60))
rows = data
if profile in ("smoke", "quick") and np.prod(data.shape) > 1000:
    rows = replace(data, x=F.avg_pool2d(data.x, 2), x_test=F.avg_pool2d(data.x_test, 2))
    lab.say(f"These pictures are large for `{profile}`: the networks get them at half their "
            "width and height.")


def one_seed(s):
    """Probability of the true label in percent, of each training and of each unseen row."""
    d = rows.resplit(s)
    model = lk.training.fit(lk.models.build(cfg.model, d, s, **cfg.model_settings), d.x, d.y,
                            seed=s,
                            epochs=cfg.epochs, lr=cfg.lr, batch_size=256)
    parts = (d.x, d.y), (d.x_test, d.y_test)
    return [100 * probability_of_label(lk.training.predict(model, x), y).cpu().numpy() for x,
            y in parts]


seeds_used = lab.seeds(cfg.seeds)
found = lk.training.parallel(one_seed, seeds_used)
met, unseen = np.array([[part.mean() for part in pair] for pair in found]).T

# %%
fig, ax = plt.subplots(figsize=(7, 4))
for values, label, role, line in zip(found[0], ("training rows", "unseen rows"),
                                     ("original", "other"), ("-", "--")):
    sns.ecdfplot(x=values, ax=ax, label=label, color=figures.COLOURS[role], linestyle=line)
ax.set(xlabel="probability of the right label (%)", ylabel="share of rows at or below it",
       xlim=(0, 100))
ax.legend(loc="upper left")
lab.figure(fig, "Cumulative shares of rows by the probability of their right label, for training "
                "rows (solid) and unseen "
                "rows (dashed) of the first network. The lower curve is the surer one.")

# %% [markdown]
# ### A claim and its verdict
#
# The course tests claims, most of them from papers. A claim has a rule: which quantity, over how many seeds, on which
# side of which bound. The rule is written down before its numbers are seen. Where it was changed later, the claim says
# so with a †: what it was, why, and whether numbers were known by then.
#
# A measurement over several seeds gives a 95 % interval. If the whole interval lies on the claim's side of the bound,
# the claim is *reproduced*; if it lies on the other side, *not reproduced*; if it holds the bound, *undecided*, on
# whichever side its middle is. With too few seeds there is no verdict. Some quantities cannot come out otherwise unless
# the code is wrong: they are *passed* or *failed*, and do not count as reproduced. A claim with several parts takes
# its worst one.

# %%
result = lab.claim("start-surer", met - unseen, units=seeds_used)
show = lk.measure.show_interval
percent = dict(limits=(0, 100), unit=" %")
lab.say(f"The networks give the right label {show(met, **percent)} on the rows they were trained "
        f"on and "
        f"{show(unseen, **percent)} on unseen ones. The difference is "
        f"{show(met - unseen, limits=(-100, 100))} points. "
        f"Verdict: {result['verdict']}.",
        {"reproduced": "A difference like this one is how it is found out who was in the data.",
         "not reproduced":
         "This simple signal does not show who was in the data; that does not mean that nothing "
         "was "
                           "kept."}.get(result["verdict"],
                                        "These seeds do not say whether training rows can be told."))

# %% [markdown]
# *Brackets hold the 95 % interval over seeds, and ± is its half width, here and everywhere in the course. The interval of
# a share ends at 0 and at 100 %.* Under the claim stands what all committed runs say together. `labkit report` collects
# the verdicts of all notebooks in one scoreboard.
#
# ### Profiles
#
# The parameters at the top choose how much is computed. `smoke` takes seconds: it shows that everything works on your
# machine, and judges nothing. `quick` is for a laptop and a lesson. `full` takes larger networks and more seeds, some
# minutes a notebook. `paper` takes what the papers took, and a GPU. Change `profile` and run all cells, or leave the
# notebook alone and say `labkit run 00 --profile full --seed 1` in a terminal.
#
# ## 5 · The course
#
# | | notebook | its question |
# |---|---|---|
# | 00 | start here | is everything ready? |
# | 01 | basics | what does it mean that a model has forgotten? |
# | 02 | SISA | can exact forgetting be cheap? |
# | 03 | requests | what harm can be done with the right to ask? |
# | 04 | uncertainty | can a deletion make a model too sure, or too unsure, and nobody sees it? |
# | 05 | inversion | does the deletion itself give away what was deleted? |
# | 06 | leakage | can a user tell from answers who was deleted, and what stops it? |
# | 07 | *backdoors* | *planned: what does a deletion set off that somebody prepared?* |
# | 08 | *unfair* | *planned: who is harmed?* |
# | 09 | verification | can a provider fake it? |
# | 10 | desk | what helps where requests arrive, also against attackers who know it? |
# | 11 | release | what helps in what is let out? |
# | 12 | sparsity | does a sparse model forget more easily? |
# | 13 | *certified* | *planned: what does a certificate promise?* |
# | 14 | value | what is a row worth in a sharded market, and what when its owner leaves? |
# | 15 | *assurance* | *planned: is a safety case still true after a deletion?* |
# | 16 | *arena* | *planned: anyone's method against every attack* |

# %%
# NBVAL_CHECK_OUTPUT
print("claims judged:", [c["id"] for c in lab.claims])
print("devices agree:", data.x.device.type == torch.zeros(1, device=lab.device).device.type)

# %% [markdown]
# You have
# - read what the right to erasure asks of data, and that it is silent on models;
# - checked the machine;
# - seen the data;
# - written, or been lent, a function; judged a claim; learned where the profile is changed.
#
# **Read on**: Article 17 GDPR, for its own words, half a page; Bourtoule et al. 2021, whose introduction makes the case
# for unlearning; the AI Magazine survey by Chen et al. 2025, for a map of the attacks.
#
# **Next**: notebook 01 finds out what it means that a model has forgotten.
