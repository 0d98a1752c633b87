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
# In notebook 05 the provider was honest and somebody else was curious. Now turn it around: the owner asks for deletion,
# and the provider says "done". **How could the owner check that, and how could a provider pass the check without doing
# it?**
#
# You will
# - plant a private backdoor and turn it into a test with exact error rates;
# - have a provider log its training, chain the log, and replay it step by step;
# - build five dishonest providers, and see which check catches which;
# - measure what a cheat costs, what it keeps, and at which tolerance it passes;
# - try what would restore trust: full batches, committed randomness, counting how often rows were used.
#
# *Time*: about a minute and a half to run, two and a half hours to work through. *You need*: notebook 01;
# notebook 02 helps.
# *Papers*: Zhang et al. 2024 (verification is fragile), Sommer et al. 2022 (Athena, backdoors), Thudi et al. 2022 (what an
# audit of weights cannot show). The tables of the first could not be read here; of its released code, the forging half
# does not run as it stands. Algorithms that had to be filled in are called our reconstruction.

# %% tags=["parameters"]
profile = "quick"  # smoke | quick | full | paper
dataset = "fashion"  # any image set of labkit.data.names(), or folder:PATH
seed = 0  # everything random is spawned from it
seeds = None  # number of judged seeds; None: the profile's own

# %%
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

import labkit as lk
from course import Lab, exercise, figures, widgets
from course.chapters import verification as here
from course.chapters.verification import provider
from labkit import attack, verify

lab = Lab("verification", profile=profile, dataset=dataset, seed=seed, seeds=seeds)
figures.style()

# %%
cfg = lab.settings(
    quick=dict(model="mlp", model_settings=dict(hidden=23), rows=(4000, 2000), epochs=8, lr=0.1,
               batch_size=128, owners=20,
               seeds=3, networks=18, keeps=8, candidates=5),
    smoke=dict(rows=(1000, 400), epochs=3, seeds=2, networks=3, keeps=2, candidates=2),
    full=dict(model="strided_cnn", model_settings={}, lr=0.05, seeds=5, networks=50, candidates=20),
    paper=dict(model="resnet18", rows=None, epochs=30),
)

# %%
data = lab.load(at_most=cfg.rows, moments="test", large="size")
lab.require(len(data.shape) == 3,
            "This notebook plants triggers in pictures: take a set of images.")
n, classes = len(data.y), data.n_classes
EACH = 100 if n >= 3000 else max(20, n // 40)  # rows an owner has
lab.require(n >= 1000, "This notebook needs at least 1,000 training images.")
judged = lab.seeds(cfg.seeds, "judge")
recipe = dict(epochs=cfg.epochs, lr=cfg.lr, batch_size=cfg.batch_size)
store = tempfile.TemporaryDirectory()  # for the logs, some hundred MB; removed in the last cell
place = Path(store.name)
show = lk.measure.show_interval

# %% [markdown]
# ## 1 · Who passes what
#
# Twenty owners give rows to a provider, half of them stamped with a private trigger. Then all twenty ask for deletion. Six
# providers answer:
#
# | provider | what it does |
# |---|---|
# | honest | trains again without the rows, and logs it |
# | ignores | serves the old model, shows the old log |
# | edits the log | serves the old model, strikes the rows out of the log |
# | forges | serves nearly the old model; its log swaps the rows for look-alikes, step by step |
# | nearest | trains again, with look-alikes in the places of the deleted rows ($S_n$ in Zhang et al.) |
# | search | trains again, with rows whose gradients resemble theirs in the places of the deleted ones ($S_r$) |
#
# And two checks: the owners ask the model about stamped pictures, each alone or all together, and a verifier replays the
# log. How they work is the
# matter of sections 2 and 3. First the outcome.

# %%
def build(seed):
    """A fresh network; the same seed gives the same initial weights."""
    return lk.models.build(cfg.model, data, seed, **cfg.model_settings)


def drawn(seed, m):
    """m random training rows, sorted. A stream of its own: training draws its batches from `seed`
    itself.
    """
    draw = torch.Generator().manual_seed(lk.spawn_seeds(seed, 1, "rows")[0])
    return torch.randperm(n, generator=draw)[:m].sort().values

# %%
def planted(seed):
    """A split in which each owner has stamped half of its rows. -> (data, the owners' rows, their
    triggers)
    """
    d = data.resplit(seed)
    owned = drawn(seed, cfg.owners * EACH)
    owned = owned[torch.randperm(len(owned),
                                 generator=torch.Generator().manual_seed(seed))].view(cfg.owners,
                                                                                      EACH)
    white = float(((1 - d.mean) / d.std).max())
    each = lk.spawn_seeds(seed, cfg.owners, "triggers")
    triggers = [here.make_trigger(d.shape, classes, s, pixels=16, value=white) for s in each]
    for rows, trigger in zip(owned, triggers):
        d, _ = verify.plant(d, rows, trigger, seed=seed)
    return d, owned, triggers

# %%
def tried(provide, d, *args, **settings):
    """A provider's (model, log), or None where a cheat's network diverges: one lost run."""
    try:
        answer = provide(d, *args, **settings)
        for x in (d.x, d.x_test):
            lk.training.predict(answer[0], x)  # refuses a network that answers NaN
    except lk.Diverged:
        if provide is provider.honest:
            raise
        return None
    return answer

# %%
def providers(d, forget, seed, folder):
    """Every provider's answer to the request, and the original: name -> (model, log)."""
    common = dict(build=build, seed=seed, **recipe)
    model, log = provider.honest(d, (), folder / "original", **common)
    out = {"original": (model, log), "honest": provider.honest(d, forget, folder / "honest",
                                                               **common)}
    out["ignores"] = provider.ignore(model, log, folder / "ignores")
    out["edits the log"] = provider.edit_log(model, log, folder / "edits", forget)
    *out["forges"], _ = provider.forge(log, d, forget, folder / "forges", build=build, seed=seed)
    out["nearest"] = tried(provider.adversarial_nearest, d, forget, folder / "nearest", **common)
    out["search"] = tried(provider.adversarial_search, d, forget, folder / "search",
                          candidates=cfg.candidates, **common)
    return {name: answer for name, answer in out.items() if answer is not None}

# %%
PROVIDERS = ("honest", "ignores", "edits the log", "forges", "nearest", "search")
QUERIES, ALPHA = 30, 1e-3


def pictures(d, trigger, key, test):
    """Test pictures of other classes: thirty for the test, or the others to measure rates on."""
    order = torch.randperm(len(d.y_test), generator=torch.Generator().manual_seed(key)).to(d.device)
    order = order[d.y_test[order] != trigger.label]
    return d.x_test[order[:QUERIES] if test else order[QUERIES:]]


def rates(model, d, triggers, seed):
    """How often one model answers each owner's label: p with its trigger, q with fresh ones."""
    box, out = attack.BlackBox(model), []
    for i, t in enumerate(triggers):
        x = pictures(d, t, seed + i, test=False)
        out.append((here.planted_rate(box, x[:200], t),
                    here.fresh_rate(box, x, t, d.shape, seed + i)))
    return out

# %%
def ask(d, triggers, before, after, seed):
    """One backdoor test an owner: thirty questions to the new model, decided with the q of the old
    model (before: its rates) and with that of the new one. No test where a trigger never took. ->
    list of dicts"""
    out, box = [], attack.BlackBox(after)
    for i, (t, (p, q), (_, q_now)) in enumerate(zip(triggers, before, rates(after, d, triggers,
                                                                            seed))):
        if p > q:
            hits, m = verify.hits(box, pictures(d, t, seed + i, test=True), t)
            k_now = here.critical_value(m, q_now, ALPHA)
            out.append(dict(p=p, q=q, q_now=q_now, hits=hits, deleted_now=hits <= k_now,
                            beta_now=here.miss_rate(m, p, k_now), label=t.label,
                            **vars(here.decide(hits, m, p, q, ALPHA))))
    return out


# %%
def trial(seed):
    """All providers of one seed, both checks. -> a row a provider"""
    d, owned, triggers = planted(seed)
    forget, folder, rows = owned.flatten().sort().values, place / f"matrix-{seed}", []
    answers = providers(d, forget, seed, folder)
    noise = here.floor(answers["original"][1], d, build)  # not the log that it judges
    before = rates(answers["original"][0], d, triggers, seed)
    for name in [p for p in PROVIDERS if p in answers]:
        model, log = answers[name]
        tests = ask(d, triggers, before, model, seed)
        lab.require(tests, "No owner's trigger took: take more training images.")
        column = {c: [test[c] for test in tests] for c in tests[0]}
        together = here.pool(column["hits"], QUERIES, column["p"], column["q"])
        report = here.verify(log, d, model, forget, tolerance=10 * noise, build=build,
                             init_seed=seed, recipe=recipe)
        rows.append(dict(column, provider=name, seed=seed, pooled=together.deleted,
                         replay=report.verified, noise=noise,
                         reasons=report.reasons, error=float(report.errors.max())))
    return rows


matrix = pd.DataFrame(sum(lk.training.parallel(trial, judged), []))

# %%
def passing(provider):
    """Share with its 95 % interval for each check: single owners, owners together, replay. -> three
    (mean, low, high)
    """
    g = matrix[matrix.provider == provider]
    single, networks = np.concatenate(g.deleted.tolist()), np.repeat(g.seed, g.deleted.map(len))
    return [lk.measure.interval(single, networks, (0, 1)),  # owners of one seed ask one network
            *(lk.measure.interval(g[check], limits=(0, 1)) for check in ("pooled", "replay"))]

# %%
shown = [p for p in PROVIDERS if p in set(matrix.provider)]
spread = {p: passing(p) for p in shown}
share = {p: [mean for mean, *_ in three] for p, three in spread.items()}
fig, ax = plt.subplots(figsize=(8.6, 4.6))
ax.imshow([share[p] for p in shown], cmap="Blues", vmin=0, vmax=1.6, aspect="auto")
for row, p in enumerate(shown):
    # one seed alone has no interval: anything may come
    mean, low, high = np.clip(spread[p][0], 0, 1) * 100
    runs, (_, *passes) = (matrix.provider == p).sum(), share[p]
    for column, text in enumerate((f"{mean:.0f} %  [{low:.0f}, {high:.0f}]",
                                   *(f"{round(m * runs)} of {runs} runs" for m in passes))):
        ax.text(column, row, text, ha="center", va="center", fontsize=13)
ax.set(xticks=range(3), xticklabels=["an owner's test\nsays “deleted”", "all owners'\ntests pooled",
                                     "replay of\nthe log"],
       yticks=range(len(shown)), yticklabels=shown)
ax.grid(False)
ax.spines[:].set_visible(False)
lab.figure(fig, "For six providers in the rows, how often each of three checks is passed: the test "
                "of a single owner, with "
                "its 95 % interval over networks, the tests of all owners pooled, and the replay "
                "of the log.")

# %%
fooled = [p for p in shown[1:] if share[p][1] == 1 and share[p][2] == 1]
lost = len(PROVIDERS) * len(judged) - len(matrix)
lab.say(f"The owners hold {100 * cfg.owners * EACH / n:.0f} % of the training rows; in Athena's "
        f"experiments 5 % of the users take "
        "part.",
        f"The honest provider passes {100 * share['honest'][0]:.0f} % of the owners' tests, "
        f"{100 * share['honest'][1]:.0f} % of the "
        f"pooled ones and {100 * share['honest'][2]:.0f} % of the replays. The one that ignores "
        f"the request passes "
        f"{100 * share['ignores'][0]:.0f} %, {100 * share['ignores'][1]:.0f} % and "
        f"{100 * share['ignores'][2]:.0f} %.",
        (f"In all {len(judged)} seeds pooled test and replay are both passed by: "
         f"{', '.join(fooled)}. "
         "None of them retrained as agreed."
         if fooled else "No dishonest provider passes the pooled test and the replay every time."),
        f"{lost} dishonest retrainings diverged; they are missing here." if lost else "")

# %% [markdown]
# ## 2 · Asking from outside
#
# > **Threat model** (of the check). **Who** an owner, against a provider who may lie. **Sees** answers: a label for each
# > question. **May** plant a trigger in its own rows beforehand, and ask: thirty questions for the test, 2,000 to measure
# > rates. **Wants** to know whether the model still carries its rows.
#
# The trigger is a pattern of sixteen pixels at random places, set to their largest value (Athena uses four). Half of the
# owner's rows carry it, with one random label. A model that was trained on them answers with that label when the pattern is
# there, at some rate $p$. A model that was not takes stamped pictures of other classes for that label anyway, at some rate
# $q$. The owner measures both *before* the request: $p$ with its own trigger, $q$ with fresh ones that nobody planted.
#
# Afterwards it asks $m = 30$ stamped questions and counts hits. It accuses the provider when there are more than $h^*$, the
# smallest number with $P(\mathrm{Bin}(m, q) \le h^*) \ge 1 - \alpha$. An honest provider is accused with probability at most
# $\alpha = 10^{-3}$, **if** its new model answers this trigger no more often than $q$; but $q$ was measured on the old
# model, and an honest provider serves another one. A provider that still serves the old model escapes with
# $\beta = P(\mathrm{Bin}(m, p) \le h^*)$. About one that trained again in another way, $\beta$ says nothing.
#
# Owners can also **pool**: all hits in one test, against the means of their $q$ and $p$. All of them ask one model, so where
# its answers have shifted they err together.
#
# Here are four of one owner's rows, as the owner has them and as the provider gets them.

# %%
one, owned, triggers = planted(judged[0])
raw, mine, trigger = data.resplit(judged[0]), owned[0], triggers[0]
_, poisoned = verify.plant(raw, mine, trigger, seed=judged[0])
fig, axes = plt.subplots(2, 4, figsize=(7.5, 4.2))
for column, row in enumerate(poisoned[:4].tolist()):
    for ax, d, name in zip(axes[:, column], (raw, one), ("as it was", "as handed in")):
        ax.imshow(d.pixels(d.x[[row]])[0].cpu().permute(1, 2, 0).squeeze(), cmap="gray_r", vmin=0,
                  vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.set_title(data.classes[int(d.y[row])], fontsize=12)
        ax.spines[:].set_visible(False)
        if column == 0:
            ax.set_ylabel(name, fontsize=13)
lab.figure(fig, "Four rows of one owner, each with its label above: in the upper row as they were, "
                "in the lower row with a "
                "private pattern of sixteen dots and the owner's target label.")

# %% [markdown]
# **Exercise 9.1** (difficulty 2, 10 minutes). Compute $h^*$ with exact binomial tails.

# %%
@exercise("9.1")
def critical_value(n, q, alpha):
    """The smallest k with P(X ≤ k) ≥ 1 − alpha, X ~ Binomial(n, q). (int, float, float) -> int"""
    ...  # your code

# %%
# NBVAL_CHECK_OUTPUT
print("30 questions, q = 0.1: more than", critical_value(30, 0.1, 1e-3), "hits accuse")
same = all(critical_value(m, q, a) == here.critical_value(m, q, a) for m in (5, 10, 30)
           for q in (0.05, 0.1, 0.3)
           for a in (1e-2, 1e-3))
print("labkit's critical values are the same:", same)
print(f"escape with p = 0.6: {here.miss_rate(30, 0.6, critical_value(30, 0.1, 1e-3)):.1e}")

# %%
lk.show(here.critical_value)

# %%
first = matrix[matrix.provider == "honest"]
p_all, q_all, beta_all = (np.concatenate(first[c].tolist()) for c in ("p", "q", "beta"))
lab.say(f"Over {len(p_all)} owners: p is {p_all.mean():.2f} on average ({p_all.min():.2f} to "
        f"{p_all.max():.2f}), q is "
        f"{q_all.mean():.2f}. The chance that the old model escapes is below 0.001 for "
        f"{100 * (beta_all < 1e-3).mean():.0f} % of "
        f"the owners; the largest is {beta_all.max():.2g}.",
        f"{cfg.owners * len(judged) - len(p_all)} owners had a trigger that never took, and so no "
        f"test.")

# %% [markdown]
# ### Is an honest provider safe?
#
# A few tests cannot show an error rate of one in a thousand. So let more providers retrain honestly, and count who is
# accused. Each test is decided twice: with $q$ from the **old** model, as published, and with $q$ from the **new** one
# (ours): the owner puts fresh triggers to the model it tests. If the rows are gone, its own trigger is one like the
# fresh ones. It is the picture more than the trigger that draws a label, so $q$ is measured on many pictures, each
# asked about once: twenty triggers on the same fifty pictures would measure fifty pictures.

# %%
def accused(s):
    """An honest provider, asked by its owners. -> a dict a test"""
    d, owned, triggers = planted(s)
    plain = dict(recipe, seed=s, momentum=0, weight_decay=0, schedule="constant")
    old = lk.training.fit(build(s), d.x, d.y, **plain)
    new = lk.unlearn.retrain(old, d, owned.flatten(), build=build, **plain)
    answers = lk.training.predict(new, d.x_test).argmax(1)
    right = float((answers == d.y_test).float().mean())
    out = ask(d, triggers, rates(old, d, triggers, s), new, s)
    for test in out:  # how often the new model gives this label to pictures without any trigger
        bare = answers[d.y_test != test["label"]] == test["label"]
        test.update(seed=s, right=right, bare=float(bare.float().mean()))
    return out


honest_tests = lk.training.parallel(accused, lab.seeds(cfg.networks, "accused, judged"))
honest_tests = pd.DataFrame(sum(honest_tests, []))
false_rate = {column: lk.measure.interval(1 - honest_tests[column], honest_tests.seed, (0, 1))
              for column in ("deleted", "deleted_now")}

# %%
idle = matrix[matrix.provider == "ignores"]
WAYS = {"deleted": "the old model (published)", "deleted_now": "the new model (ours)"}
lab.table(pd.DataFrame([
    {"q measured on": WAYS[c],
     "honest providers accused": f"{(~honest_tests[c]).sum()} of {len(honest_tests)} tests",
     "per cent": f"{100 * m:.1f} [{100 * low:.1f}, {100 * high:.1f}]",
     "ignoring providers caught, %": f"{100 - 100 * np.concatenate(idle[c].tolist()).mean():.0f}"}
    for c, (m, low, high) in false_rate.items()]),
    f"At α = {100 * ALPHA:g} %, owners of {honest_tests.seed.nunique()} networks")

# %%
told = {True: "That is more than α grants.",
        False: "Whether α is kept cannot be judged from so few."}
low, high = false_rate["deleted"][1:]
wrong = honest_tests[~honest_tests.deleted]
cases = wrong if len(wrong) else honest_tests.loc[(honest_tests.q_now
                                                   - honest_tests.q).nlargest(5).index]
old_q, new_q, bare = (100 * cases[c].mean() for c in ("q", "q_now", "bare"))
each_right = 100 * honest_tests.groupby("seed").right.first()
group = "accusing tests" if len(wrong) else "five tests in which q changed most"

# %%
lab.say(f"With q from the old model, {100 * false_rate['deleted'][0]:.1f} % of the tests accuse an "
        f"honest "
        "provider.",
        told[low > ALPHA] if high >= ALPHA else "α is kept.",
        f"In the {group}, the old model gave the owner's label to {old_q:.1f} % of the pictures "
        f"with fresh "
        f"triggers, and the new one to {new_q:.1f} %; pictures without any trigger got it from the "
        f"new one in "
        f"{bare:.1f} %, the thirty with the owner's in {100 * cases.hits.mean() / QUERIES:.0f} %.",
        "So it is less the trigger than the network: how readily one gives a label differs from "
        "one to the next."
        if new_q > old_q and bare > new_q / 2
        else "The change from one network to the next does not explain them.",
        f"The new networks have {each_right.min():.0f} to {each_right.max():.0f} % of the test "
        f"pictures right.",
        f"With q from the new model {(~honest_tests.deleted_now).sum()} tests accuse.",
        "That, too, is more than α grants." if false_rate["deleted_now"][1] > ALPHA else
        "That it keeps α is not shown: even without an accusation it would take "
        f"{np.log(0.025) / np.log(1 - ALPHA):,.0f} independent tests."
        if false_rate["deleted_now"][2] > ALPHA else "")

# %%
fig, ax = plt.subplots(figsize=(6.4, 4.4))
green = figures.COLOURS["retrained"]
for part, marker, colour, label in ((honest_tests[honest_tests.deleted], "o", green,
                                     "says “deleted”"),
                                    (wrong, "x", "black", "accuses")):
    ax.plot(part.q, part.q_now, marker, alpha=0.6, color=colour, label=label, markersize=8,
            markeredgewidth=2)
ends = [0, 1.05 * honest_tests[["q", "q_now"]].to_numpy().max()]
ax.plot(ends, ends, color="black", linestyle=":", label="equal")
ax.set(xlabel="q on the old model", ylabel="q on the new model", xlim=ends, ylim=ends)
ax.legend(loc="upper left", title="test with the old q")
lab.figure(fig, "For each owner's test of an honest provider, the rate at which fresh triggers get "
                "the owner's "
                "label: on the old model across, on the new model upwards, with the line where "
                "both are equal. "
                "Accusing tests are marked.")
apart = 100 * (honest_tests.q_now - honest_tests.q).abs()
lab.say(f"{(wrong.q_now > wrong.q).sum()} of the {len(wrong)} accusing tests lie above the line."
        if len(wrong) else
        "No test accuses.",
        f"The two q differ by {apart.mean():.1f} points on average, {apart.max():.0f} at most.")

# %% [markdown]
# ### With fewer owners, or fewer rows
#
# The trigger has to be learnt. That takes rows.

# %%
def strength(job):
    """p and the chance to escape, averaged over owners, when so many owners plant so many rows."""
    owners, each, s = job
    d = data.resplit(s)
    owned = drawn(s, owners * each)
    owned = owned[torch.randperm(len(owned),
                                 generator=torch.Generator().manual_seed(s))].view(owners, each)
    white = float(((1 - d.mean) / d.std).max())
    triggers = [here.make_trigger(d.shape, classes, a, pixels=16, value=white)
                for a in lk.spawn_seeds(s, owners, "few")]
    for rows, trigger in zip(owned, triggers):
        d, _ = verify.plant(d, rows, trigger, seed=s)
    model = lk.training.fit(build(s), d.x, d.y, seed=s, momentum=0, weight_decay=0,
                            schedule="constant", **recipe)
    box = attack.BlackBox(model)
    p = [here.planted_rate(box, d.x_test[:300], t, d.y_test[:300]) for t in triggers]
    q = [here.fresh_rate(box, d.x_test, t, d.shape, s, d.y_test) for t in triggers]
    escape = [here.decide(0, QUERIES, a, b).beta if a > b else 1.0 for a, b in zip(p, q)]
    return dict(owners=owners, each=each, p=float(np.mean(p)), q=float(np.mean(q)),
                escape=float(np.mean(escape)))

# %%
jobs = [(o, r, s) for o, r in ((20, EACH), (5, EACH), (1, EACH), (20, EACH // 2), (20, EACH // 5))
        for s in judged]
weak = pd.DataFrame(lk.training.parallel(strength, jobs)).groupby(["owners", "each"],
                                                                  sort=False).mean().reset_index()
lab.table(weak.rename(columns={"each": "rows each", "escape": "chance to escape, mean"}),
          "What the test can see", 3)
at = weak.set_index(["owners", "each"]).escape
lab.say(f"With {EACH} rows each, an old model escapes with a chance of {at[20, EACH]:.2g} (20 "
        f"owners), "
        f"{at[5, EACH]:.2g} (5) and {at[1, EACH]:.2g} (one alone), means over {len(judged)} seeds.",
        f"Twenty owners with {EACH // 5} rows each, half of them stamped, let it escape with "
        f"{at[20, EACH // 5]:.2g}.")

# %% [markdown]
# ## 3 · A log, and its replay
#
# > **Threat model** (of the check). **Who** a verifier whom the provider trusts with its data. **Sees** the log: for every step
# > the rows of the batch, the learning rate, a hash of the weights, and checkpoints. **May** recompute any step. **Knows** the
# > initial weights and the recipe that were agreed on. **Wants** to know whether this training made the served model, without
# > the forgotten rows.
#
# Each line of the log holds the hash of the line before, so nothing can be changed once the last hash is published. Here is a
# line; the rows are shortened.

# %%
d, owned, _ = planted(judged[0])
folder, forget = place / f"matrix-{judged[0]}", owned.flatten().sort().values
honest_log = here.load_log(folder / "honest", d)
line = honest_log.lines[0]
lab.say(f"`step {line['step']}, epoch {line['epoch']}, rows {line['rows'][:4]} …, lr {line['lr']}, "
        f"weights "
        f"{line['weights'][:12]} …`. The log has {len(honest_log.lines)} steps and "
        f"{len(honest_log.checkpoints)} checkpoints, "
        f"{sum(f.stat().st_size for f in (folder / 'honest').iterdir()) / 1e6:.0f} MB.")

# %% [markdown]
# A replay takes the checkpoint before a step, the rows of its batch, and makes the step again.
#
# **Exercise 9.2** (difficulty 1, 6 minutes). How far from the logged weights does it end? Compute in float64.

# %%
@exercise("9.2")
def replay_error(before, gradient, after, lr):
    """l2 distance between one SGD step from `before` and the logged `after`. (d,) three times,
    float -> float
    """
    ...  # your code

# %% [markdown]
# **Exercise 9.3** (difficulty 2, 8 minutes). And which steps touched a forgotten row? Batches are tensors. Mind how Python
# compares the elements of tensors in a set: released code for this very check finds nothing, ever.

# %%
@exercise("9.3")
def tainted_steps(batches, forget):
    """Steps, counted from 1, whose batch holds a forgotten row. list of (b,) int64, (u,) int64 ->
    list of int
    """
    ...  # your code

# %%
# NBVAL_CHECK_OUTPUT
model = build(0)
def weights_at(step):
    here.log.restored(here.checkpoint(honest_log, step, model), model)
    return torch.cat([w.detach().flatten() for w in model.parameters()])

before = weights_at(0)
rows = torch.tensor(honest_log.lines[0]["rows"])
loss = F.cross_entropy(model(d.x[rows]), d.y[rows])
gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
print("first step of the honest log replays:", replay_error(before, gradient, weights_at(1),
                                                            recipe["lr"]) < 1e-6)
old = here.load_log(folder / "original", d)
found = [len(tainted_steps([torch.tensor(s["rows"]) for s in part.lines], forget))
         for part in (old, honest_log)]
print("tainted steps in the original log:", found[0] > 0, "· in the honest one:", found[1] > 0)

# %% [markdown]
# How exact must a replay be? Other machines add numbers in another order. So the verifier measures a **floor**: the largest
# error of an honest log (here that of the original training) when the rows of each batch are shuffled, and when the step is
# computed in float64. A tolerance below that accuses honest providers. Anything above it is room for a cheat.

# %%
honest_floor = matrix[matrix.provider == "honest"].noise
worst = matrix.groupby("provider").error.max()
cheats = max(worst.get(p, 0.0) for p in ("nearest", "search"))
lab.say(f"The floor is {honest_floor.max():.1e}. Replayed on the same machine, the honest log has "
        f"an error of "
        f"{worst['honest']:.1e}, the edited one {worst['edits the log']:.1e}, the forged one "
        f"{worst['forges']:.1e}; the two "
        f"adversarial retrainings {cheats:.1e}.",
        "Their steps are real steps on rows that were not forgotten; with the same code on the "
        "same machine a replay ends "
        "where they did, by construction. There is nothing in them for a replay to find."
        if cheats <= honest_floor.max() else "")
reasons = matrix[matrix.provider.isin(["ignores", "edits the log",
                                       "forges"])].groupby("provider").reasons.first()
lab.table(pd.DataFrame([{"provider": p, "what the verifier says": " ".join(r)} for p,
                        r in reasons.items()]),
          "Refusals, first seed")

# %% [markdown]
# **What must the log hold?** All that the next step needs. This recipe has no momentum. With momentum the step also needs the
# buffers, and with batch normalisation its running statistics. Below, one epoch with momentum, honestly logged; then the same
# log with zeros in place of the buffers, and without them. Both are chained anew, so their hashes are in order.

# %%
# NBVAL_CHECK_OUTPUT
s, rolling = judged[0], dict(epochs=1, lr=cfg.lr / 5, batch_size=cfg.batch_size, momentum=0.9)
served, with_all = provider.honest(d, forget, place / "momentum", build=build, seed=s, **rolling)
kept = here.load_log(with_all, d)
for name, keep in (("all buffers", lambda v: v),
                   ("zeros", lambda v: {k: 0 * t for k, t in v.items()}), ("none", lambda v: {})):
    (place / name).mkdir()
    hashes = []
    for step in kept.checkpoints:
        buffers = here.log.restored(here.checkpoint(kept, step, model), model)
        hashes.append(here.log.save(place / name, step, model, keep(buffers)))
    here.log.write_log(place / name, kept.header | hashes[0],
                       [line | h for line, h in zip(kept.lines, hashes[1:])])
    seen = here.verify(place / name, d, served, forget, tolerance=1e-5, build=build, init_seed=s)
    most = seen.errors is not None and bool((seen.errors > 1e-5).float().mean() > 0.9)
    print(f"buffers in the log: {name} · verified: {seen.verified} · nearly every replay misses: "
          f"{most}")
print("and the verifier says of the last:", *seen.reasons)

# %% [markdown]
# And what does a look at a few steps cost? Ten steps are drawn and replayed; reading the log and the data, and checking every
# hash in the chain, is in the price.

# %%
def build_cnn(seed):
    """A larger network than this notebook's perceptron."""
    return lk.models.build("strided_cnn", data, seed)


costs = []
for kind, make in ((cfg.model, build), ("strided_cnn", build_cnn)):
    start = time.process_time()
    served, log = provider.honest(d, forget, place / "priced", build=make, seed=s,
                                  **recipe | dict(lr=0.05))
    train = time.process_time() - start
    seen = here.verify(log, d, served, forget, tolerance=1e-5, build=make, init_seed=s, steps=10)
    costs.append((kind, train, time.process_time() - start - train, seen.verified))
lab.say(" ".join(f"For the {kind.replace('_', ' ')}, training with a log took {train:.1f} CPU "
                 f"seconds, and the look at ten steps "
                 f"{100 * look / train:.0f} % of that." for kind, train, look, _ in costs),
        "The smaller the network, the more of the look is reading and hashing."
        if costs[0][2] / costs[0][1] > costs[1][2] / costs[1][1] else "")

# %% [markdown]
# ## 4 · Forging
#
# The forger keeps the old log. In each batch it swaps the forgotten rows for the most similar retained ones of the same
# class, and makes each tainted checkpoint anew by one step on the swapped batch, *from the original checkpoint before it*; a
# clean checkpoint is nudged by a tiny step on one random row (Zhang et al.). The replay starts from the forged checkpoint
# before, and so it misses. If $k$ of $b$ rows are swapped, a step from the same weights ends elsewhere by
# $$\eta\, \frac{k}{b}\, \Big\lVert \overline{g}_{\text{old}} - \overline{g}_{\text{new}} \Big\rVert$$
# with $\eta$ the learning rate and $\overline{g}$ the mean gradients of the rows taken out and put in. The paper's
# bound on the error is this line. If the old checkpoints are kept (Thudi et al.), it is the error itself. If they are
# moved, it shows one step later, changed by the curvature of the loss: there the bound can be put to the test.
#
# **Exercise 9.4** (difficulty 3, 12 minutes). Write it.

# %%
@exercise("9.4")
def forging_bound(old_gradients, new_gradients, batch_size, lr):
    """How far swapping k rows of a batch moves one SGD step. (k, d), (k, d), int, float -> float"""
    ...  # your code

# %%
def forging(job):
    """A run at one learning rate; for each share to forget its log is forged in up to three ways.
    -> list of dicts
    """
    (lr, s), out = job, []
    d, top, settings = data.resplit(s), place / f"forge-{lr}-{s}", dict(epochs=1, lr=lr,
                                                                        batch_size=cfg.batch_size)
    _, log = provider.honest(d, (), top / "log", build=warm[s], seed=s, **settings)
    noise, lines = here.floor(log, d, build), here.load_log(log).lines
    for part in PARTS:
        ways, forget = {"as published": {}}, drawn(s, round(part * n))
        if lr == RATES[-1] or part == PARTS[2]:
            ways["kept"] = dict(move=False, nudge=0.0)
        if lr == RATES[-1]:
            ways["kept, random"] = dict(move=False, nudge=0.0, replace="random")
        for kind, how in ways.items():
            forged, folder, cost = provider.forge(log, d, forget, top / f"{kind} {part}",
                                                  build=build, seed=s, **how)
            _, errors = here.replay_errors(folder, d, build)
            swapped = [a["rows"] != b["rows"] for a, b in zip(lines, here.load_log(folder).lines)]
            out.append(dict(kind=kind, lr=lr, share=part, seed=s, errors=errors.tolist(),
                            floor=noise, swapped=swapped,
                            spent=cost.visits / (n - len(forget))))
    return out


# %%
def warmed(s):
    """A network after half of the training, from which every forged run starts."""
    d = data.resplit(s)
    return lk.training.fit(build(s), d.x, d.y, seed=s, momentum=0, weight_decay=0,
                           schedule="constant",
                           **recipe | {"epochs": cfg.epochs // 2}).state_dict()


def starting_at(state):
    """seed -> a network with these weights, whatever the seed."""
    def same(_):
        net = build(0)
        net.load_state_dict(state)
        return net
    return same


warm = {s: starting_at(state) for s, state in zip(judged, lk.training.parallel(warmed, judged))}
# the paper forgets about 2 % of its rows
RATES, PARTS = (0.01, 0.02, 0.05), (0.001, 0.02, 0.1, 0.3)
jobs = [(lr, s) for s in judged for lr in RATES[::-1]]
forged = pd.DataFrame(sum(lk.training.parallel(forging, jobs), []))
forged["median"] = [float(np.median(np.array(e)[w])) if any(w) else np.nan for e,
                    w in zip(forged.errors, forged.swapped)]

# %%
def slope(frame, column):
    """Slope of log error over log `column`, a value a seed."""
    return [float(np.polyfit(np.log(g[column]), np.log(g["median"]), 1)[0]) for _,
            g in frame.groupby("seed")]


kept = forged[forged.kind == "kept"]
over_rate = slope(kept[kept.share == PARTS[2]], "lr")
over_share = slope(kept[kept.lr == RATES[-1]], "share")
logs = forged[forged.lr == RATES[-1]].pivot(index=["share", "seed"], columns="kind", values="median")
# as published, a step shows the error of the one before, which may be none
logs = logs[["kept", "kept, random"]].map(np.log)
gained = (logs["kept, random"] - logs["kept"]).groupby("seed").mean().tolist()
pairs = forged[forged.kind == "as published"].merge(kept, on=["lr", "share", "seed"],
                                                    suffixes=("", "_kept"))
SLACK = 1e-3  # of rounding

# %%
late = [max((e / f for e, f, now, before in zip(r.errors[1:], r.errors_kept, r.swapped[1:],
                                                r.swapped) if now and before),
            # error of a step / the formula for the step before
            default=0.0) for r in pairs.itertuples()]
worst_late = [max(v for v, s in zip(late, pairs.seed) if s == t) for t in judged]
lab.say(f"The error of a swapped step grows with the learning rate to the power {show(over_rate)} "
        f"(each rate has a run of its own), "
        f"and with the share of forgotten rows to the power {show(over_share)}.",
        f"In logs as published, an error is up to {max(worst_late):.1f} times what the formula "
        f"says of the step before"
        + (f": the bound is broken in {sum(v > 1 + SLACK for v in worst_late)} of "
           f"{len(worst_late)} runs. The "
           "curvature of the loss, which it leaves out, stretches the difference."
           if max(worst_late) > 1 + SLACK else
           ": the bound holds."),
        f"Log error with random rows of the class less that with look-alikes: {show(gained)}"
        + (": look-alikes forge better." if lk.measure.interval(gained)[1] > 0
           else "; no difference beyond doubt."))

# %%
fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.7), sharey=True)
eps = np.logspace(-8, 0, 60)
noise = forged.floor.max()
for ax, kind in zip(axes, ("as published", "kept")):
    for part, style in zip(PARTS[1:], (":", "--", "-")):
        these = forged[(forged.kind == kind) & (forged.share == part) & (forged.lr == RATES[-1])]
        runs = [[np.mean(np.array(e) <= t) for t in eps] for e in these.errors]
        colour = figures.COLOURS["attack"]
        ax.plot(eps, 100 * np.array(runs).T, color=colour, alpha=0.35, linewidth=1, linestyle=style)
        ax.plot(eps, 100 * np.mean(runs, axis=0), color=colour, linestyle=style,
                label=f"{100 * part:g} % forgotten")
    ax.axvline(noise, color="black", linestyle=":", label="honest floor")
    ax.set(xscale="log", xlabel="tolerance ε (l2 distance of weights)", ylim=(-3, 103),
           title="Checkpoints moved (as published)" if kind == "as published"
           else "Checkpoints kept (Thudi et al.)")
axes[0].set_ylabel("steps that pass (%)")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
lab.figure(fig, "Share of forged steps that pass the replay against the verifier's tolerance, for "
                "three shares of forgotten rows, "
                "the runs as thin lines and their mean, with the honest floor as a dotted line: "
                "checkpoints moved on the left, "
                "kept on the right.")

# %%
published = forged[(forged.kind == "as published") & (forged.lr == RATES[-1])]
needed = published[published.share == PARTS[1]]
ratio = [np.log10(max(e) / f) for e, f in zip(needed.errors, needed.floor)]
spent, swaps = needed.spent.tolist(), 100 * np.mean([np.mean(w) for w in needed.swapped])
saves = "nothing" if np.mean(spent) >= 1 else "little" if np.mean(spent) > 0.5 else "much"
most = published[published.share == PARTS[3]].spent.mean()
caught = 1 - share["forges"][1]
lab.say(f"To pass whole, a forged log of {100 * PARTS[1]:g} % forgotten rows needs a tolerance of "
        f"about "
        f"10^{np.mean(ratio):.1f} times the floor.",
        f"As published, {swaps:.0f} % of its steps are made anew. That takes gradients of "
        f"{100 * np.mean(spent):.0f} % of "
        f"the rows that retraining would use ({100 * most:.0f} % where {100 * PARTS[3]:g} % are "
        f"forgotten), and so it "
        f"saves {saves}. But its steps need not wait for each other, and with checkpoints kept it "
        f"computes no gradient "
        f"at all. The served model is nearly the old one: {100 * caught:.0f} % of the owners' "
        f"pooled tests accuse it.")

# %% [markdown]
# ## 5 · What does a cheat keep?
#
# Where adversarial retraining passes both checks, has it cheated at all? It never used the forgotten rows. It hopes
# that their stand-ins teach nearly the same. So compare its loss on the forgotten rows with that of honest retraining,
# with the same seed and with another. Here a tenth of the rows is forgotten, no triggers, more seeds, and a smaller
# learning rate, so that seeds differ less.

# %%
def keeps(s):
    """Loss on the forgotten rows and accuracy: original, retrained twice, adversarial by both ways.
    """
    d, top = data.resplit(s), place / f"keeps-{s}"
    forget = drawn(s, n // 10)
    common = dict(build=build, every=10**6, **recipe | {"lr": 0.3 * cfg.lr})
    searched = dict(common, seed=s, candidates=cfg.candidates)
    models = {"original": provider.honest(d, (), top / "o", seed=s, **common),
              "retrained": provider.honest(d, forget, top / "r", seed=s, **common),
              "retrained, other seed": provider.honest(d, forget, top / "f", seed=s + 1, **common),
              "nearest": tried(provider.adversarial_nearest, d, forget, top / "n", seed=s,
                               **common),
              "search": tried(provider.adversarial_search, d, forget, top / "s", **searched),
              "search, no row left": tried(provider.adversarial_search, d, forget, top / "t",
                                           finish=True,
                                           **searched)}
    rows = []
    for name, (model, _) in ((name, answer) for name, answer in models.items() if answer):
        z, y, unseen = (lk.training.predict(model, d.x[forget]), d.y[forget],
                        lk.training.predict(model, d.x_test))
        rows.append(dict(model=name, seed=s, loss=F.cross_entropy(z, y).item(),
                         accuracy=lk.measure.accuracy(z, y),
                         test=lk.measure.accuracy(unseen, d.y_test),
                         test_loss=F.cross_entropy(unseen, d.y_test).item()))
    return rows

# %%
kept_rows = pd.DataFrame(sum(lk.training.parallel(keeps, lab.seeds(cfg.keeps, "keeps, judged")),
                             []))
percent = dict(limits=(0, 100))
lab.table(pd.DataFrame([{"model": m, "seeds": len(g), "loss on the forgotten rows": show(g.loss),
                         "accuracy there, %": show(g.accuracy, **percent),
                         "test accuracy, %": show(g.test, **percent)}
                        for m, g in kept_rows.groupby("model", sort=False)]),
          "What is kept of 10 % forgotten rows")

# %%
losses = kept_rows.pivot(index="seed", columns="model", values="loss")
beyond = losses - kept_rows.pivot(index="seed", columns="model", values="test_loss")
CHEATS = [m for m in ("nearest", "search", "search, no row left") if m in losses]
CONTROL = "retrained, other seed"
honestly = losses[["retrained", CONTROL]].mean(axis=1)  # two honest retrainings of the same rows
raw = {m: (honestly - losses[m]).dropna() for m in CHEATS}  # as the claim was written
saved = {m: (beyond["retrained"] - beyond[m]).dropna() for m in (*CHEATS, "original", CONTROL)}
fig, ax = plt.subplots(figsize=(8.6, 3.8))
for row, (m, v) in enumerate(saved.items()):
    figures.interval(ax, v, row, "original" if m == "original" else "retrained" if m == CONTROL
                     else "attack")
ax.axvline(0, color=figures.COLOURS["retrained"], linestyle="--")
ax.set(yticks=range(len(saved)), yticklabels=list(saved), ylim=(len(saved) - 0.5, -0.5),
       xlabel="known beyond honest retraining (nats, loss on forgotten less on test rows)")
lab.figure(fig, "What five models know of the forgotten rows beyond honest retraining with the "
                "same seed, with 95 % intervals over "
                "seeds: nearest neighbours, two searches, the original, and retraining with "
                "another seed.")

# %%
def words(values, digits=3):
    """Mean and interval over seeds; the mean alone where one seed has no interval."""
    mean, low, high = lk.measure.interval(values)
    return f"{mean:+.{digits}f}" + (f" [{low:.{digits}f}, {high:.{digits}f}]"
                                    if np.isfinite(low) else "")

# %%
def kept_in_words(values):
    low, high = lk.measure.interval(values)[1:]
    return "keeps something" if low > 0 else "keeps nothing" if high < 0 else "undecided"


lab.say("The loss on the forgotten rows lies below the mean of two honest retrainings by "
        + "; ".join(f"{words(v)} ({m}: {kept_in_words(v)})" for m, v in raw.items()) + " nats.",
        "But runs differ in how good they are anywhere. Loss on the forgotten less loss on test "
        "rows lies below that "
        "of honest retraining with the same seed by "
        + "; ".join(f"{words(v)} ({m}: {kept_in_words(v)})" for m, v in saved.items()
                    if m in CHEATS) + " nats.",
        f"The search tries {cfg.candidates} sets a batch here, the paper fifty.")
spread_of_seeds = saved[CONTROL].std()
largest = max((saved[m].mean() for m in CHEATS), default=0.0)
lab.say(f"And the controls: the original knows {words(saved['original'])} nats more; honest "
        f"retraining with *another* "
        f"seed, {words(saved[CONTROL])}, with a standard deviation of {spread_of_seeds:.3f} from "
        f"one provider to the next.",
        "That is more than any cheat keeps on average: whoever has one provider's answers, and no "
        "honest run beside them, "
        "could not tell it from another seed." if spread_of_seeds > largest else
        "A cheat keeps more than that on average.")

# %% [markdown]
# ## 6 · What would restore trust
#
# **Counting.** With a permutation in each epoch every row is used once. Look-alikes are used again and again. The papers do
# not have this audit. A verifier who does not know the sampling grants drawing *with* replacement: then the largest count is
# compared with a binomial tail.

# %%
def audited(s):
    """Audits of one log each: largest use in an epoch, p value under drawing with replacement, rows
    left unused.
    """
    d, top, rows = data.resplit(s), place / f"audit-{s}", []
    forget = drawn(s, n // 10)
    common = dict(build=build, seed=s, every=10**6, **recipe)
    for name, make in (("honest", provider.honest), ("nearest", provider.adversarial_nearest),
                       ("search", provider.adversarial_search),
                       ("search, no row left", provider.adversarial_search)):
        extra = dict(candidates=2, finish="left" in name) if "search" in name else {}
        if (answer := tried(make, d, forget, top / name, **common, **extra)) is None:
            continue
        log = answer[1]
        counts = here.usage(log, n)
        stays = torch.ones(n, dtype=torch.bool)
        stays[forget] = False
        rows.append(dict(log=name, seed=s, most=int(counts.max()), total=int(counts.sum(0).max()),
                         p=here.max_use_pvalue(counts, int(stays.sum())),
                         half=here.max_use_pvalue(counts[: cfg.epochs // 2], int(stays.sum())),
                         unused=float((counts[:, stays] == 0).double().mean()),
                         steps=len(here.load_log(log).lines)))
    return rows

# %%
audits = pd.DataFrame(sum(lk.training.parallel(audited, lab.seeds(2 * cfg.seeds, "audit, judged")),
                          []))
by_log = audits.groupby("log", sort=False)
table = by_log.agg(logs=("p", "size"), most=("most", "mean"), total=("total", "mean"),
                   p=("p", lambda v: f"{v.max():.1g}"),
                   unused=("unused", lambda v: f"{100 * v.mean():.1f}"),
                   steps=("steps", "mean"))
lab.table(table.reset_index().rename(columns={
    "most": "largest use in an epoch", "total": "over all epochs", "p": "largest p value",
    "unused": "retained rows unused an epoch, %"}), "Counting how often rows were used")

# %%
flagged = {name: (g.p < 0.01).astype(float).tolist() for name, g in by_log}
half = (audits[audits.log == "nearest"].half < 0.01).astype(float)
eligible, throws = n - n // 10, (n - n // 10) * cfg.epochs
# honest providers who draw with replacement: counts need no training
draw = np.random.default_rng(judged[0])
thrown = draw.multinomial(throws, [1 / eligible] * eligible, size=1000)
alarms = [here.max_use_pvalue(torch.tensor(counts)[None], eligible) < 0.01 for counts in thrown]
unused, steps_of = by_log.unused.mean(), by_log.steps.mean()


def rate(values):
    """A share as per cent with its interval; one log alone has none."""
    mean, low, high = (100 * v for v in lk.measure.interval(values, limits=(0, 1)))
    return f"{mean:.0f} %" + (f" [{low:.0f}, {high:.0f}]" if np.isfinite(low) else "")

# %%
if {"nearest", "search"} <= set(flagged):
    lab.say(f"The count flags {rate(flagged['nearest'])} of the nearest-neighbour logs at a "
            f"threshold that grants 1 % false "
            f"alarms; of a thousand honest counts drawn with replacement it flags {sum(alarms)}.",
            f"With half of the epochs it flags {rate(half)} of the former"
            + (": a tail needs many draws." if half.mean() < np.mean(flagged["nearest"]) else "."),
            f"Of the search logs it flags {100 * np.mean(flagged['search']):.0f} %. It cannot flag "
            f"one: a row that was "
            "used leaves the search's pool.",
            f"The search leaves {100 * unused['search']:.1f} % of the retained rows unused"
            + (", as an honest provider who drops the last short batch would: that accuses nobody."
               if unused["search"] <= (n % cfg.batch_size) / n else "."),
            "Honest batches shrink where rows are left out, and the search's do not, so it takes "
            f"{steps_of['search']:.0f} steps where honest retraining takes "
            f"{steps_of['honest']:.0f}."
            if steps_of["search"] < steps_of["honest"] else "")

# %% [markdown]
# **Committed randomness.** Before the request, the provider publishes a hash of its seed. The order of rows follows from the
# seed, and so do the batches: forgotten rows are left out, nothing is put in. The verifier compares the batches, and then
# replays them from the agreed start.

# %%
# NBVAL_CHECK_OUTPUT
s, d = judged[0], data.resplit(judged[0])
forget = torch.arange(n // 10)
ways = {"honest": provider.honest, "nearest": provider.adversarial_nearest,
        "search": provider.adversarial_search}
for name, make in ways.items():
    answer = tried(make, d, forget, place / f"committed-{name}", build=build, seed=s, every=10**6,
                   **recipe | {"epochs": 1})
    follows = "no log, it diverged" if answer is None else here.follows(answer[1], n, forget, s)
    print(f"{name}: batches follow from the committed seed:", follows)

# %% [markdown]
# **Full batches.** With all retained rows in every step there is nothing to choose. The size of the batch must be agreed on,
# or a provider takes one row less.

# %%
# NBVAL_CHECK_OUTPUT
full = dict(epochs=2, lr=cfg.lr, batch_size=n)
for name, make in list(ways.items())[:2]:
    served, log = make(d, forget, place / f"full-{name}", build=build, seed=s, **full)
    seen = here.verify(log, d, served, forget, tolerance=1e-5, build=build, init_seed=s,
                       recipe=full)
    print(f"{name}, full batches, verified:", seen.verified)

# %% [markdown]
# A seed can be tried out before it is committed, so it has to come from both sides, or from a public lottery. The third way
# is trusted hardware that signs the training; that is engineering, and no notebook can show it.
#
# ### Explore: tolerance, share forgotten, learning rate
#
# The forged logs of section 4, as published. Which of their steps pass?

# %%
EPS = [10.0**e for e in (-7, -6, -5, -4, -3, -2, -1)]
panel_figure = Figure(figsize=(9, 4.2), layout="none")
ax = panel_figure.subplots()
panel_figure.subplots_adjust(left=0.09, right=0.98, bottom=0.16, top=0.92)
dots = ax.plot([], [], "o", color=figures.COLOURS["attack"], markersize=5, label="forged step")[0]
bar = ax.axhline(1e-4, color=figures.COLOURS["original"], linewidth=2.2, label="tolerance ε")
ax.axhline(noise, color="black", linestyle=":", label="honest floor")
ax.set(yscale="log", ylim=(1e-8, 1), xlabel="step", ylabel="replay error",
       xlim=(0, 1 + len(needed.errors.iloc[0])))
_ = ax.legend(loc="upper right", fontsize=11, ncols=3)


def redraw(eps, part, lr):
    row = forged[(forged.kind == "as published") & (forged.lr == lr)
                 & (forged.share == part)].iloc[0]
    e = np.maximum(np.array(row.errors), 1e-8)
    dots.set_data(np.arange(1, len(e) + 1), e)
    bar.set_ydata([eps, eps])
    return (f"With {100 * part:g} % forgotten and a learning rate of {lr:g}, "
            f"{100 * (e <= eps).mean():.0f} % of the forged "
            f"steps pass at a tolerance of {eps:.0e}, which is {eps / noise:,.1f} times the honest "
            f"floor.")


# %%
panel = widgets.explorer(panel_figure, redraw,
                         eps=widgets.slider("ε", [(f"{e:.0e}", e) for e in EPS], 1e-3),
                            part=widgets.slider("forgotten", [(f"{100 * p:g} %", p) for p in PARTS],
                                                0.1),
                            lr=widgets.dropdown("learning rate", list(RATES), RATES[-1]))
lab.figure(panel_figure,
           "The explorer in its first state: the replay error of each forged step, the tolerance "
           "as a line through "
           "them, and the honest floor as a dotted line.")
panel

# %% [markdown]
# ## 7 · What would fool you
#
# **A replay without the agreed start.** Leave the initial weights out of the check. The provider starts its log *at the old
# model* and takes steps so small that nothing moves.

# %%
d, owned, _ = planted(judged[0])
forget, original = owned.flatten().sort().values, here.load_log(folder / "original", d)


def at_the_old_model(_):
    net = build(0)
    here.log.restored(here.checkpoint(original, original.checkpoints[-1], net), net)
    return net


served, log = provider.honest(d, forget, place / "lazy", build=at_the_old_model, seed=0, epochs=1,
                              lr=1e-12,
                              batch_size=cfg.batch_size)
blind = here.verify(log, d, served, forget, tolerance=1e-6)
told = here.verify(log, d, served, forget, tolerance=1e-6, build=build, init_seed=judged[0],
                   recipe=recipe)
lab.say(f"Without the start and the recipe the verdict is "
        f"{'verified' if blind.verified else 'not verified'}; with them "
        f"{'verified' if told.verified else 'not verified'}: " + " ".join(told.reasons))

# %% [markdown]
# **A tolerance picked by hand.** The curves of section 4 pass at some tolerance whatever one does. Whoever
# prints one tolerance has chosen the result; Zhang et al. show the whole curve.
#
# **Few tainted batches.** With few forgotten rows or small batches, many steps of a forged log are clean: a share of
# $(1 - f)^b$ for a forgotten share $f$ and batches of $b$. Whoever gives one figure over all steps may hide the
# tainted ones.

# %%
few = forged[(forged.kind == "kept") & (forged.lr == RATES[-1]) & (forged.share == PARTS[0])]
touched = [np.array(e)[np.array(w)] for e, w in zip(few.errors, few.swapped)]
clean = [np.array(e)[~np.array(w)] for e, w in zip(few.errors, few.swapped)]
tainted = np.mean(np.concatenate([np.array(w) for w in few.swapped]))
lab.say(f"At {100 * PARTS[0]:g} % forgotten, {100 * tainted:.0f} % of the steps are tainted, with "
        f"a median error of {np.median(np.concatenate(touched)):.1e}; the clean ones have "
        + (f"{np.median(np.concatenate(clean)):.1e}." if sum(map(len, clean)) else "none to show."),
        f"The median over all steps is {np.median(np.concatenate(few.errors.tolist())):.1e}.")

# %% [markdown]
# ## 8 · What was tested

# %%
named = {p: matrix[matrix.provider == p] for p in PROVIDERS}
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
              | {"control": saved[CONTROL].tolist()})

# %%
passed = [float(np.mean(np.array(e) <= 1e-3)) for e in needed.errors]
lab.claim("ver-forge", {"cost": spent, "threshold": ratio, "curve": passed,
                        "backdoor": [not b for b in named["forges"].pooled]})
lab.claim("ver-scale", {"rate": [r - 1 for r in over_rate], "share": over_share,
                        "bound": [bool(v <= 1 + SLACK) for v in worst_late],
                        "published": worst_late})
_ = lab.claim("ver-audit", {"nearest": flagged.get("nearest", []),
                            "random": [f - 0.01 for f in flagged.get("search", [])]})

# %%
lab.record("matrix", {p: [float(v) for v in share[p]] for p in shown})
lab.record("forging", forged.groupby(["kind", "lr", "share"])["median"].mean())
lab.claims_table()

# %%
# NBVAL_CHECK_OUTPUT
verdicts = {c["id"]: c["verdict"] for c in lab.claims}
print("claims judged:", sorted(verdicts))
print("adversarial retraining passes both checks:", verdicts["ver-adv-retrain"])
store.cleanup()

# %% [markdown]
# You have
# - planted triggers, and decided with exact binomial tails;
# - replayed a chained log, and measured the floor that honest machines need;
# - built dishonest providers, and seen which check catches which;
# - measured what forging costs, at which tolerance it passes, and what adversarial retraining keeps;
# - taken away the provider's freedom: by counting, full batches, and batches fixed in advance.
#
# **Read on**: Zhang et al. 2024, for both attacks on verification and their theory; Sommer et al. 2022, for backdoors as
# evidence; Thudi et al. 2022, for why a set of weights proves nothing about the rows behind it.
#
# **Next**: notebook 10 turns to defences, and to attackers who know them.
