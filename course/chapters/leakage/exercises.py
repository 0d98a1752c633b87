"""Exercises of notebook 06: a class, two versions, a temperature, a baseline, a ratio.

Solutions use torch only, and what they import themselves, so that they can be copied out.
"""

import torch

from course.exercises.engine import Exercise


# ---------------- 6.1 deleted_class
def deleted_class(before, after, probe_class):
    """The class whose probes lost most confidence in it. (m, k), (m, k), (m,) int64 -> int"""
    rows = torch.arange(len(probe_class))
    change = after[rows, probe_class] - before[rows, probe_class]
    means = [change[probe_class == c].mean() for c in range(before.shape[1])]
    return int(torch.stack(means).argmin())


def _probe_cases():
    g, cases = torch.Generator().manual_seed(61), []
    for what, k, each, lost in (("a few probes", 4, 3, 2), ("many classes", 9, 2, 0),
                                ("one probe a class", 5, 1, 4), ("many probes", 3, 30, 1),
                                ("two classes", 2, 4, 1)):
        of = torch.arange(k).repeat_interleave(each)[torch.randperm(k * each, generator=g)]
        z = torch.randn(k * each, k, generator=g)
        later = z + 0.05 * torch.randn(z.shape, generator=g)
        later[of == lost, lost] -= 0.8
        cases.append((what, (z.softmax(1), later.softmax(1), of)))
    before = torch.tensor([[.9, .1, 0], [.8, .1, .1], [.1, .6, .3], [.2, .7, .1], [.1, .1, .8],
                           [.3, .3, .4]])
    after = before + torch.tensor([[-.1, .1, 0], [-.1, .1, 0], [.3, -.3, 0], [-.2, .2, 0],
                                   [.1, 0, -.1], [.1, .1, -.2]])
    return cases + [("one probe falls far, and its class does not",
                     (before, after, torch.tensor([0, 0, 1, 1, 2, 2]))),
                    ("more probes of one class than of others",
                     (before, after, torch.tensor([0, 0, 1, 0, 2, 2]))),
                    ("every class gained, one least",
                     (before, before + torch.tensor([.03, .02, .04]),
                      torch.tensor([0, 1, 2, 0, 1, 2])))]


LABEL = Exercise(
    id="6.1", title="Which class has lost?",
    trains="picking one entry a row; means by group; the sign of a fall", difficulty=1, minutes=6,
    points=1, solution=deleted_class, cases=_probe_cases,
    hints=("Each probe was made for one class. Look only at what the model says of that class, "
           "before and after, and average over the probes of a class.",
           "change_i = after[i, c_i] − before[i, c_i], with c_i the class of probe i; the answer "
           "is the class with the smallest mean change.",
           "Index both with `torch.arange(len(probe_class))` and `probe_class`, subtract, take the "
           "mean over the probes of each class, and give the position of the least as an int."),
    mistakes=(
        ("argmin()", "argmax()", "The class that gained most", "you named the class that gained: "
         "what is deleted loses confidence."),
        ("mean() for", "sum() for", "The sum over the probes of a class",
         "you added up: a class with more probes then weighs more. Take the mean."),
        ("mean() for", "min() for", "The one probe that fell furthest",
         "you took the probe that fell furthest: one probe may fall by chance. Average them."),
        ("after[rows, probe_class] - before[rows, probe_class]", "after[rows, probe_class]",
         "Only the answers after", "you looked at the answers after alone: classes differ in how "
         "sure their probes were, so take the change."),
    ),
    remark="`here.deleted_class` is the same.",
)


# ---------------- 6.2 sorted_difference
def sorted_difference(before, after):
    """Before less after, classes in the ascending order of before. (m, k), (m, k) -> (m, k)"""
    order = before.argsort(dim=1, stable=True)
    return before.gather(1, order) - after.gather(1, order)


def _version_cases():
    g, cases = torch.Generator().manual_seed(62), []
    for what, m, k, moved in (("a few rows", 4, 5, 0.5), ("many rows", 200, 10, 0.3),
                              ("one row", 1, 4, 0.8), ("as many rows as classes", 3, 3, 1.0),
                              ("two classes", 6, 2, 0.6), ("the order changes", 5, 6, 3.0)):
        z = torch.randn(m, k, generator=g)
        cases.append((what, (z.softmax(1),
                             (z + moved * torch.randn(m, k, generator=g)).softmax(1))))
    p = cases[1][1][0]
    return cases + [("the versions are equal", (p, p.clone())),
                    ("the versions are swapped", (cases[0][1][1], cases[0][1][0])),
                    ("classes are tied before",
                     (torch.tensor([[.4, .2, .2, .2], [.25, .25, .25, .25]]),
                      torch.tensor([[.4, .3, .2, .1], [.1, .2, .3, .4]])))]


SORTED = Exercise(
    id="6.2", title="What changed, class by class",
    trains="sorting two arrays by one order, so that a column means the same for every row",
    difficulty=2, minutes=8, points=1, solution=sorted_difference, cases=_version_cases,
    hints=("The likeliest class is another one for each row. Put the classes of a row in order of "
           "what the version before said of them, and move what the version after said along.",
           "With π the ascending order of p: (p − q)[π(1)], …, (p − q)[π(k)]; ties keep their "
           "order.",
           "Take `argsort` of before along dimension 1, stable; `gather` both along dimension 1 by "
           "that order, and subtract."),
    mistakes=(
        ("after.gather(1, order)", "after.sort(1).values", "Each version in its own order",
         "you sorted the versions apart: then a column compares two different classes. Use the "
         "order of before for both."),
        ("before.argsort", "after.argsort", "The order of the version after",
         "you took the order of the version after: take that of before."),
        ("stable=True", "stable=True, descending=True", "The likeliest class first",
         "your order is turned round: the least likely class comes first."),
        ("before.gather(1, order) - after.gather(1, order)",
         "after.gather(1, order) - before.gather(1, order)", "After less before",
         "your signs are turned round: before less after."),
        ("before.gather(1, order) - after.gather(1, order)", "(before - after).sort(1).values",
         "The differences themselves are sorted",
         "you sorted the differences: sort the classes by before, whatever their differences."),
        ("before.gather(1, order) - after.gather(1, order)", "before - after", "Not sorted",
         "your columns are classes: sort each row's classes by before."),
    ),
    remark="`here.features(before, after, \"sorted difference\")` is the same for numpy.",
)


# ---------------- 6.3 undo_temperature
def undo_temperature(served, own):
    """Answers without the temperature that flattened them. (m, k), (n, k) -> (m, k)"""
    logs = [p.log() - p.log().mean(1, keepdim=True) for p in (served, own)]
    spread = [(z**2).mean().sqrt() for z in logs]
    return (logs[0] * spread[1] / spread[0]).softmax(1)


def _tempered_cases():
    g, cases = torch.Generator().manual_seed(63), []
    for what, m, n, k, t in (("a temperature of 10", 6, 40, 5, 10.0), ("of 2", 30, 30, 10, 2.0),
                             ("sharpened, not flattened", 8, 20, 4, 0.5),
                             ("no temperature", 10, 10, 3, 1.0), ("one row", 1, 50, 6, 5.0),
                             ("two classes", 9, 12, 2, 3.0), ("many own rows", 5, 400, 8, 20.0)):
        z, mine = (3 * torch.randn(rows, k, generator=g) + torch.randn(k, generator=g)
                   for rows in (m, n))
        cases.append((what, ((z / t).softmax(1), mine.softmax(1))))
    return cases


TEMPERATURE = Exercise(
    id="6.3", title="A temperature nobody told you",
    trains="logits from probabilities, up to a constant; a scale read off from two samples",
    difficulty=3, minutes=10, points=2, solution=undo_temperature, cases=_tempered_cases,
    hints=("A temperature divides all logits by one number. Logarithms of probabilities are logits "
           "but for a constant in each row. Compare how far they spread with how far your own do.",
           "z = ln p less its mean over the classes of the row; s = √(mean of z²) over all rows "
           "and classes; the answer is softmax(z_served · s_own / s_served).",
           "Take the logarithm of both, subtract each row's mean, take the root of the mean "
           "square of each, multiply the served ones by the quotient, and take the softmax over "
           "dimension 1."),
    mistakes=(
        ("spread[1] / spread[0]", "spread[0] / spread[1]", "The quotient turned round",
         "your quotient is turned round: what was flattened has to be spread out again."),
        ("(logs[0] * spread[1] / spread[0]).softmax(1)", "logs[0] * spread[1] / spread[0]",
         "Logits instead of probabilities", "your rows do not sum to 1: take the softmax."),
        ("p.log() - p.log().mean(1, keepdim=True)", "p.log()", "The rows are not centred",
         "your logarithms keep the constant of each row, which is no part of the logits' spread: "
         "subtract each row's mean."),
        ("p.log().mean(1, keepdim=True)", "p.log().mean(0, keepdim=True)",
         "The mean over the rows instead of the classes",
         "you subtracted the mean over the rows: the constant is that of a row, so take the mean "
         "over its classes."),
        ("p.log() - p.log().mean(1, keepdim=True)", "p - p.mean(1, keepdim=True)",
         "Probabilities instead of their logarithms",
         "you scaled probabilities: a temperature divides logits, so take logarithms first."),
        ("(logs[0] * spread[1] / spread[0])", "(logs[0] * 10)", "Always 10",
         "you multiplied by a number of your own: read it off from the two spreads."),
    ),
    remark="The two samples are of other rows and other models, so the number is a guess; for "
           "which features of section 2 does that not matter?",
)


# ---------------- 6.4 both_views
def both_views(before, after, decimals):
    """What either attack sees of rounded answers, side by side. (m, k), (m, k), int -> (m, 2k)"""
    p, q = before.round(decimals=decimals), after.round(decimals=decimals)
    order = p.argsort(dim=1, stable=True)
    return torch.cat([p.gather(1, order) - q.gather(1, order), p.gather(1, order)], 1)


def _rounded_cases():
    g, cases = torch.Generator().manual_seed(67), []
    for what, m, k, decimals in (("two decimals", 6, 5, 2), ("one decimal", 40, 10, 1),
                                 ("labels, nearly", 8, 4, 0), ("three decimals", 30, 6, 3),
                                 ("two classes", 9, 2, 1)):
        z = 1.5 * torch.randn(m, k, generator=g)
        later = z + 0.3 * torch.randn(m, k, generator=g)
        cases.append((what, (z.softmax(1), later.softmax(1), decimals)))
    p = cases[1][1][0]
    return cases + [("the versions are equal", (p, p.clone(), 1)),
                    ("rounding ties the classes", (torch.tensor([[.33, .34, .31, .02]]),
                                                   torch.tensor([[.12, .55, .28, .05]]), 1))]


VIEWS = Exercise(
    id="6.4", title="A baseline behind the same rule",
    trains="that a defence stands before every attacker, the baseline too; rounding before sorting",
    difficulty=3, minutes=5, points=2, solution=both_views, cases=_rounded_cases,
    hints=("The provider rounds everything that it answers. So nobody sees the answers as they "
           "were: not the attack with two versions, and not the baseline.",
           "Round p and q; with π the ascending, stable order of the rounded p, the columns are "
           "(p − q)[π(1)], …, (p − q)[π(k)] and then p[π(1)], …, p[π(k)].",
           "`a.round(decimals=decimals)` for both; `argsort` the rounded before along dimension 1, "
           "stable; `gather` both; `torch.cat` the difference and before along dimension 1."),
    mistakes=(
        ("p.gather(1, order)], 1)", "before.sort(dim=1).values], 1)",
         "The baseline reads the undefended answers",
         "your baseline reads answers that nobody was given, as in the code that Chen et al. "
         "released: behind a rule, every attack reads what the rule lets through."),
        ("[p.gather(1, order) - q.gather(1, order),",
         "[before.gather(1, order) - after.gather(1, order),",
         "The attack with two versions reads the undefended answers",
         "your attack with two versions reads answers that nobody was given: take both rounded."),
        ("after.round(decimals=decimals)", "after", "The version after is not rounded",
         "you rounded the version before alone: the rule stands before both."),
        ("p.argsort", "q.argsort", "The order of the version after",
         "you took the order of the version after: take that of before, rounded."),
        ("p.argsort", "before.argsort", "The order of the undefended answers",
         "your order comes from answers that nobody was given: sort what was rounded."),
        ("p.gather(1, order) - q.gather(1, order)",
         "(before - after).round(decimals=decimals).gather(1, order)",
         "The difference is rounded", "you rounded the difference: the provider rounds each "
         "answer, and the attacker subtracts afterwards."),
    ),
    remark="Below it is asked of the notebook's own answers, the right way and the wrong one.",
)


# ---------------- 6.5 log_ratio
def log_ratio(score, scores, inside):
    """log N(score | inside) − log N(score | outside), each row its own. (m,), (s, m), (s, m) bool
    -> (m,)"""
    logs = []
    for side in (inside, ~inside):
        n = side.sum(0)
        mean = (scores * side).sum(0) / n
        variance = ((scores - mean) ** 2 * side).sum(0) / (n - 1)
        logs.append(-(score - mean) ** 2 / (2 * variance) - variance.log() / 2)
    return logs[0] - logs[1]


def _shadow_cases():
    g, cases = torch.Generator().manual_seed(64), []
    for what, s, m, apart in (("a few rows", 12, 4, 1.0), ("many shadows", 64, 7, 0.5),
                              ("one row", 10, 1, 2.0), ("the sides do not differ", 20, 5, 0.0),
                              ("inside lies below outside", 16, 3, -1.5)):
        inside = torch.stack([torch.randperm(s, generator=g) < s // 2 for _ in range(m)], 1)
        centre, wide = 3 * torch.randn(m, generator=g), 0.5 + torch.rand(m, generator=g)
        scores = centre + wide * (torch.randn(s, m, generator=g) * (1 + 0.7 * inside)
                                  + apart * inside)
        cases.append((what, (centre + wide * torch.randn(m, generator=g), scores, inside)))
    score, scores, inside = cases[1][1]
    few = inside.clone()
    few[12:] = False
    return cases + [("few shadows inside, many outside", (score, scores, few)),
                    ("the score is far from both", (score + 20, scores, inside))]


RATIO = Exercise(
    id="6.5", title="Each row has its own two Gaussians",
    trains="a likelihood ratio by row: which shadows belong to which side, and both deviations",
    difficulty=4, minutes=15, points=3, solution=log_ratio, cases=_shadow_cases, rtol=1e-3,
    atol=1e-3,
    hints=("For one row, some shadows had it and some did not. Each group of scores gives a "
           "Gaussian. How likely is the new score under one, and under the other?",
           "log N(φ; μ, σ) = −(φ − μ)² / (2σ²) − ln σ − ½ ln 2π; the answer is that of the inside "
           "shadows less that of the outside ones, with μ, σ of the row's own column.",
           "For each side: count the shadows of each row, add up the scores where the side is "
           "True and divide for the mean, do the same with the squared distances and n − 1 for the "
           "variance. The logarithm is minus the squared distance of the score over twice the "
           "variance, less half of the variance's logarithm. Subtract outside from inside."),
    mistakes=(
        ("logs[0] - logs[1]", "logs[1] - logs[0]", "Outside less inside",
         "your sign is turned round: above 0 means that the row was inside."),
        ("    logs.append", "    variance = variance.mean()\n        logs.append",
         "One deviation for all rows", "you took one deviation for all rows of a side: some rows "
         "are told apart by a hair, and others not at all. Take each row's own."),
        ("    variance =", "    mean = mean.mean()\n        variance =",
         "One mean for all rows", "you took one mean for all rows: that is near the population "
         "attack. Take each row's own column."),
        (" - variance.log() / 2", "", "ln σ is left out",
         "you left out ln σ: it is not the same on both sides, so it does not cancel."),
        ("-(score - mean) ** 2 / (2 * variance) - variance.log() / 2",
         "(-(score - mean) ** 2 / (2 * variance) - variance.log() / 2).exp()",
         "Densities, not their logarithms", "you subtracted densities: take logarithms first, as "
         "the ratio of densities is a difference of logarithms."),
        ("variance.log() / 2", "variance.log()", "ln σ² in the place of ln σ",
         "you subtracted ln σ²: it is ln σ, half of that."),
        ("(n - 1)", "(len(scores) - 1)", "The variance is divided by the number of all shadows",
         "you divided by the number of all shadows: each side has a count of its own."),
    ),
    remark="`here.per_row_attack` is this with a floor under the deviations, so that a row whose "
           "shadows all agree does not decide everything.",
)


# ---------------- 6.6 who_was_deleted
def who_was_deleted(own_before, own_after, own_label, own_deleted, before, after, label):
    """Scores of rows, larger where more likely deleted. (n, k) twice, (n,), (n,) bool, (m, k)
    twice, (m,) -> (m,)"""
    from sklearn.ensemble import RandomForestClassifier

    def seen(p, q, y):
        p, q = p.double().clamp(1e-6, 1 - 1e-6), q.double().clamp(1e-6, 1 - 1e-6)
        moved = q.log() - p.log()
        moved = moved - moved.mean(1, keepdim=True)
        mine, later = (a.gather(1, y[:, None]).squeeze(1).logit() for a in (p, q))
        at_label = moved.gather(1, y[:, None]).squeeze(1)
        return torch.stack([(moved.norm(dim=1) + 1e-9).log(), later - mine, mine, at_label], 1)

    forest = RandomForestClassifier(60, min_samples_leaf=10, random_state=0)
    forest.fit(seen(own_before, own_after, own_label), own_deleted)
    return torch.from_numpy(forest.predict_proba(seen(before, after, label))[:, 1])


def published(own_before, own_after, own_label, own_deleted, before, after, label):
    """The published attack: sorted differences and a logistic regression; no label"""
    from sklearn.linear_model import LogisticRegression

    seen = sorted_difference(own_before, own_after)
    middle, wide = seen.mean(0), seen.std(0).clamp(min=1e-9)
    fitted = LogisticRegression().fit((seen - middle) / wide, own_deleted)
    found = fitted.decision_function((sorted_difference(before, after) - middle) / wide)
    return torch.from_numpy(found)


def _fall(own_before, own_after, own_label, own_deleted, before, after, label):
    """How far the probability fell that fell furthest"""
    return (before - after).max(1).values


def _before_alone(own_before, own_after, own_label, own_deleted, before, after, label):
    """How sure the version before was"""
    return before.max(1).values


def _constant(own_before, own_after, own_label, own_deleted, before, after, label):
    """The same for all"""
    return torch.zeros(len(label))


def _made_up(seed, m, k):
    """Two versions of a model that was retrained: everything trembles, the deleted label falls."""
    g = torch.Generator().manual_seed(seed)
    z, y = 2.5 * torch.randn(m, k, generator=g), torch.randint(k, (m,), generator=g)
    z[torch.arange(m), y] += 4 * torch.rand(m, generator=g)
    deleted = torch.randperm(m, generator=g) < m // 2
    later = z + 0.04 * torch.exp(0.3 * torch.randn(m, 1, generator=g)) * torch.randn(
        m, k, generator=g)
    later[torch.arange(m), y] -= deleted * (0.05 + 0.25 * torch.rand(m, generator=g))
    return z.softmax(1), later.softmax(1), y, deleted


MADE = (("five classes", 65, 300, 5), ("ten classes", 66, 320, 10))


def _judged(seed, m, k):
    """The other person's versions, ten rows more, so that their number tells the case."""
    return _made_up(seed + 100, m + 10, k)


def _version_pairs():
    return [(what, (*_made_up(*made), *_judged(*made)[:3])) for what, *made in MADE]


def told_apart(result, *arguments):
    """AUC of the scores over the judged rows; ValueError where they are no scores."""
    from sklearn.metrics import roc_auc_score

    label = arguments[-1]
    scores = torch.as_tensor(result, dtype=torch.float64)
    if scores.shape != label.shape or not torch.isfinite(scores).all():
        raise ValueError(f"scores are finite numbers, one for each of the {len(label)} rows; "
                         f"yours have the shape {tuple(scores.shape)}")
    made = next(made for _, *made in MADE if made[1] + 10 == len(label))
    return float(roc_auc_score(_judged(*made)[3], scores))


def half_way(*arguments):
    """Half way from the published attack to the course's."""
    return (told_apart(published(*arguments), *arguments)
            + told_apart(who_was_deleted(*arguments), *arguments)) / 2


PROJECT = Exercise(
    id="6.6", title="An attacker of your own",
    trains="features from what is known: the row's label, logarithms, and how much of a change is "
           "usual for such a row",
    difficulty=5, minutes=25, points=5, solution=who_was_deleted, cases=_version_pairs,
    measured="the AUC on the judged rows", measure=told_apart, floor=half_way,
    hints=("The published attack does not know which class is the row's own. You do. And a change "
           "of 0.01 is nothing at a probability of 0.5, and a lot at 0.001.",
           "Compare ln(p / (1 − p)) of the row's own label before and after, and the length of the "
           "change of all logarithms; let a classifier weigh them.",
           "From each pair make a few columns: the change of the label's logit, the label's logit "
           "before, the length of the centred change of all logarithms and its entry at the label. "
           "Fit a forest with leaves of ten rows on your own versions, and give its probability "
           "for the judged rows."),
    mistakes=(
        (published, "this is the published attack, which is the lower end of what is asked for: "
                    "use the label, and logarithms."),
        (_fall, "you look at the largest fall of a probability, whichever class it is: use the "
                "row's own label."),
        (_before_alone, "you look at the version before alone: what the deletion changed is in the "
                        "difference."),
        (_constant, "all your scores are equal: they tell nobody apart."),
        ("own_deleted)\n    return", "~own_deleted.bool())\n    return",
         "Learned the wrong way round",
         "your scores are turned round: larger has to mean more likely deleted."),
    ),
    remark="It is judged on made-up versions here, and meets the notebook's own below.",
)


EXERCISES = (LABEL, SORTED, TEMPERATURE, VIEWS, RATIO, PROJECT)
