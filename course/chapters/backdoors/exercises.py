"""Exercises of notebook 07: a trigger, a rate, whose rows, a detector, a loss, a choice.

Solutions use torch only, so that they can be copied out.
"""

import torch
import torch.nn.functional as F

from course.exercises.engine import Exercise


# ---------------- 7.1 stamp
def stamp(images, side, value):
    """A copy with the lower right square of side × side pixels set to value. (n, c, h, w) -> same
    """
    stamped = images.clone()
    stamped[:, :, -side:, -side:] = value
    return stamped


def _pictures():
    g = torch.Generator().manual_seed(71)
    return [(what, (torch.rand(shape, generator=g), side, value))
            for what, shape, side, value in (
                ("grey pictures", (4, 1, 8, 8), 2, 2.0), ("colours", (3, 3, 6, 6), 3, 1.5),
                ("wide pictures", (2, 1, 5, 9), 2, -1.0), ("one pixel", (5, 2, 4, 4), 1, 0.5),
                ("high pictures", (2, 3, 9, 5), 4, 3.0), ("one picture", (1, 1, 7, 7), 3, 0.0))]


STAMP = Exercise(
    id="7.1", title="A square in the corner",
    trains="slices from the end of an axis; a copy instead of a change in place", difficulty=1,
    minutes=5, points=1, solution=stamp, cases=_pictures,
    hints=("Everybody else still needs the pictures as they were. Copy them first, then set the "
           "same few pixels of every picture and channel.",
           "x'[n, c, i, j] = value where i ≥ h − side and j ≥ w − side; elsewhere x' = x.",
           "`clone()` the pictures; assign the value to all rows and channels, the last `side` "
           "rows and the last `side` columns; return the copy."),
    mistakes=(
        ("-side:, -side:] =", ":side, :side] =", "The upper left corner",
         "your square is in the upper left corner: take the last rows and columns."),
        ("-side:, -side:] =", "-side:, :side] =", "The lower left corner",
         "your square is in the lower left corner: take the last columns, too."),
        ("[:, :, -side:", "[:, :1, -side:", "Only the first channel",
         "you set the first channel only: a colour picture has three."),
        ("-side:, -side:] =", "-side:, :] =", "Whole rows of pixels",
         "you set whole rows of pixels: the square has as many columns as rows."),
        ("= value\n", "+= value\n", "Added to what is there",
         "you added the value: the pixels of the square are set to it, whatever was there."),
        ("images.clone()", "images", "The given pictures are changed",
         "you changed the pictures that you were given: work on a copy."),
    ),
    remark="`labkit.verify.backdoor.stamp` does the same for any set of pixels.",
)


# ---------------- 7.2 attack_success
def attack_success(answers, labels, target):
    """Share of the rows that are not of the target class and are called it. (n, k), (n,), int
    -> float"""
    others = labels != target
    return float((answers[others].argmax(1) == target).float().mean())


def _answered():
    g, cases = torch.Generator().manual_seed(72), []
    for what, n, k, target in (("a few rows", 9, 3, 1), ("many rows", 120, 5, 0),
                               ("two classes", 30, 2, 1), ("the last class", 50, 6, 5),
                               ("hardly fooled", 80, 4, 2), ("often fooled", 70, 4, 3)):
        y = torch.randint(k, (n,), generator=g)
        y[:2] = torch.tensor([target, (target + 1) % k])
        z = torch.randn(n, k, generator=g)
        z[:, target] += {"hardly fooled": -1.5, "often fooled": 2.0}.get(what, 0.5)
        z[y == target, target] += 2
        cases.append((what, (z.softmax(1), y, target)))
    return cases


RATE = Exercise(
    id="7.2", title="Does the door open?",
    trains="a share over the right rows: whom a count must leave out", difficulty=2, minutes=6,
    points=1, solution=attack_success, cases=_answered,
    hints=("A picture of the target class is called that without any door. Leave those out, above "
           "and below the line of the fraction.",
           "ASR = #{i : y_i ≠ t, argmax p_i = t} / #{i : y_i ≠ t}.",
           "Make a mask of the labels that differ from the target; take `argmax` over the classes "
           "of those rows; compare with the target; give the mean as a float."),
    mistakes=(
        ("answers[others]", "answers", "The target's own pictures count",
         "you count pictures of the target class: they are called that with any model. Leave them "
         "out."),
        ("answers[others].argmax(1) == target).float().mean()",
         "answers[others].argmax(1) == target).float().sum() / len(labels)",
         "Divided by all rows", "you divide by all rows: divide by those that are not of the "
         "target class."),
        ("answers[others].argmax(1) == target",
         "answers[others].argmax(1) != labels[others]", "Any wrong answer",
         "you count every wrong answer: the attack wants one class."),
        ("labels != target", "labels == target", "The wrong rows",
         "you kept the pictures of the target class, and left out the others."),
        ("(answers[others].argmax(1) == target).float().mean()",
         "answers[others][:, target].mean()", "The mean probability",
         "you averaged probabilities: the rate counts answers, the class with the largest one."),
        ("== target).float().mean())", "== target).float().mean() * 100)", "Percent",
         "your result is in percent: a share from 0 to 1 is asked for."),
    ),
    remark="A network that no attacker touched is the null: measure it, too.",
)


# ---------------- 7.3 contribution
def contribution(labels, order, target, poison, camouflage):
    """Rows to poison and to camouflage: the first in `order` that are not of the target class.
    -> (poison,), (camouflage,)"""
    rows = order[labels[order] != target]
    return rows[:poison], rows[:camouflage]


def _orders():
    g, cases = torch.Generator().manual_seed(73), []
    for what, n, k, target, p, c in (("more camouflage", 40, 4, 1, 5, 10),
                                     ("more poison", 40, 3, 0, 8, 4), ("as many", 30, 5, 2, 6, 6),
                                     ("two classes", 50, 2, 1, 4, 12),
                                     ("no camouflage", 20, 3, 2, 5, 0),
                                     ("no poison", 20, 3, 2, 0, 7)):
        cases.append((what, (torch.randint(k, (n,), generator=g),
                             torch.randperm(n, generator=g), target, p, c)))
    return cases


ROWS = Exercise(
    id="7.3", title="Which rows to hand in",
    trains="indexing through a permutation; ids instead of places", difficulty=3, minutes=8,
    points=2, solution=contribution, cases=_orders,
    hints=("`order` holds row ids in a random order. Go through it, skip the rows of the target "
           "class, and take what comes first, twice from the beginning.",
           "R = (o_j : y_{o_j} ≠ t), in the order of j; poison = R[1 … p], camouflage = R[1 … c].",
           "Index the labels by `order`, compare with the target, and index `order` by that mask; "
           "then slice the result twice."),
    mistakes=(
        ("rows[:camouflage]", "rows[poison:poison + camouflage]", "Other pictures for camouflage",
         "your camouflage begins after the poison: it takes the same pictures, from the first on."),
        ("labels[order] != target", "labels != target", "The mask is not in the order",
         "you asked for the labels in the order of the rows, and applied the mask to `order`: "
         "index the labels by `order` first."),
        ("labels[order] != target", "labels[order] == target", "Rows of the target class",
         "you took rows of the target class: there the wrong label would be the true one."),
        ("order[labels[order] != target]", "(labels[order] != target).nonzero().squeeze(1)",
         "Places instead of ids", "you gave places in `order`: look up the row ids there."),
        ("order[labels[order] != target]", "(labels != target).nonzero().squeeze(1)",
         "The order is ignored", "you took the rows from the first on: take them in `order`."),
        ("order[labels[order] != target]", "order", "The target class is not left out",
         "some of your rows are of the target class: leave them out."),
    ),
    remark="The released code of BAMU starts the camouflage with the poison's pictures, too.",
)


# ---------------- 7.4 seen_by_gini
def seen_by_gini(requested, clean):
    """AUROC of 1 − Σ p², requested rows against clean ones; ties half. (m, k), (n, k) -> float"""
    one, other = (1 - (p**2).sum(1) for p in (requested, clean))
    won = (one[:, None] > other).double() + 0.5 * (one[:, None] == other).double()
    return float(won.mean())


def _answers_of_rows():
    g, cases = torch.Generator().manual_seed(74), []
    for what, m, n, k, wide in (("a few rows", 4, 6, 3, 2.0), ("many rows", 40, 60, 5, 1.0),
                                ("two classes", 9, 12, 2, 3.0), ("hardly apart", 30, 30, 4, 2.2),
                                ("one requested row", 1, 20, 4, 0.5)):
        one = (wide * torch.randn(m, k, generator=g)).softmax(1)
        cases.append((what, (one, (2.5 * torch.randn(n, k, generator=g)).softmax(1))))
    tied = torch.tensor([[1.0, 0, 0], [0, 1, 0], [.5, .5, 0], [.5, 0, .5]])
    return cases + [("ties", (tied, tied[[2, 0, 0]])), ("all alike", (tied[:2], tied[:1]))]


GINI = Exercise(
    id="7.4", title="Unsure of what was handed in",
    trains="an impurity as a score; AUROC as a share of pairs, ties counting half", difficulty=3,
    minutes=8, points=2, solution=seen_by_gini, cases=_answers_of_rows,
    hints=("First one number a row, which is 0 for a sure answer. Then compare every requested row "
           "with every clean one.",
           "G(p) = 1 − Σ_c p_c²; AUROC = mean over i, j of [G_i > G_j] + ½ [G_i = G_j].",
           "Square and sum over the classes, take it from 1, for both. Put one as a column beside "
           "the other as a row; count greater as 1 and equal as ½; take the mean."),
    mistakes=(
        ("one[:, None] > other)", "one[:, None] < other)", "The other way round",
         "you count the clean rows that are less sure: a requested row should have the larger "
         "index."),
        ("0.5 * (one", "0.0 * (one", "Ties count nothing",
         "a tie counts nothing in yours: it should count half."),
        ("0.5 * (one", "1.0 * (one", "Ties count as won",
         "a tie counts as a win in yours: it should count half."),
        ("1 - (p**2).sum(1)", "1 - p.max(1).values", "The largest probability",
         "you took 1 less the largest probability: the index looks at all classes."),
        ("float(won.mean())", "float(won.sum())", "The number of pairs",
         "you counted the pairs: give their share."),
    ),
    remark="`here.desk.gini` is the index alone.",
)


# ---------------- 7.5 matching_loss
def matching_loss(model, images, labels, direction):
    """1 − cos of the gradient (by all weights, in one vector) of the mean loss, and a direction.
    Differentiable by images. -> ()"""
    loss = F.cross_entropy(model(images), labels)
    gradients = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    own = torch.cat([g.flatten() for g in gradients])
    return 1 - own @ direction / (own.norm() * direction.norm())


def _brewing():
    cases = []
    for what, n, d, k, hidden in (("linear, two classes", 6, 5, 2, 0), ("linear", 8, 7, 4, 0),
                                  ("one row", 1, 4, 3, 0), ("a network", 5, 6, 3, 4),
                                  ("many rows", 20, 5, 2, 0)):
        g = torch.Generator().manual_seed(75 + n)
        sizes = [(d, hidden), (hidden, k)] if hidden else [(d, k)]
        layers = []
        for i, o in sizes:
            layer = torch.nn.Linear(i, o)
            layer.weight.data = torch.randn(o, i, generator=g)
            layer.bias.data = torch.randn(o, generator=g)
            layers += [layer, torch.nn.Tanh()]
        model = torch.nn.Sequential(torch.nn.Flatten(), *layers[:-1])
        images = torch.rand(n, 1, 1, d, generator=g).requires_grad_()
        size = sum(p.numel() for p in model.parameters())
        cases.append((what, (model, images, torch.randint(k, (n,), generator=g),
                             2 * torch.randn(size, generator=g))))
    return cases


MATCHING = Exercise(
    id="7.5", title="A gradient that points the way",
    trains="a gradient inside a loss: what must stay differentiable; cosine and length",
    difficulty=4, minutes=15, points=3, solution=matching_loss, cases=_brewing, gradients=(1,),
    rtol=1e-3, atol=1e-5,
    hints=("Training on these rows moves the weights along their gradient. The loss says how far "
           "that is from the wanted direction, whatever the lengths. You will differentiate it by "
           "the pixels, so the gradient must remember where it came from.",
           "G = ∇_θ mean_i ℓ(x_i, y_i); loss = 1 − ⟨G, d⟩ / (‖G‖ ‖d‖).",
           "Take the cross-entropy, `torch.autograd.grad` by the parameters with "
           "`create_graph=True`, flatten and concatenate; the product with the direction, divided "
           "by both lengths, from 1."),
    mistakes=(
        ("g.flatten() for g", "g.detach().flatten() for g", "Cut off from the images",
         "your gradient is cut off: without create_graph=True nothing reaches the pixels."),
        ("1 - own @", "own @", "The cosine itself",
         "you gave the cosine, which is largest where the directions agree: a loss is smallest "
         "there."),
        (" / (own.norm() * direction.norm())", "", "The product without the lengths",
         "you did not divide by the lengths: a long gradient is no better direction."),
        ("own.norm() * direction.norm()", "direction.norm()", "Divided by one length",
         "you divided by the length of the direction alone: the gradient has one, too."),
        ("1 - own @", "1 + own @", "The opposite direction",
         "your sign is turned round: equal directions should give 0."),
        ("labels)\n", "labels, reduction=\"sum\") + 0.01 * sum((p**2).sum() for p in "
         "model.parameters())\n", "Weight decay is in the loss",
         "there is more in your loss than the rows' cross-entropy: leave the weights out of it."),
    ),
    remark="The lengths cancel, so the mean and the sum of the losses give the same.",
)


# ---------------- 7.6 choose_camouflage
def choose_camouflage(images, labels, poison, poison_label, stamp, fit, count):
    """Own rows to stamp and hand in with their true labels. -> (count,) int64

    A surrogate with ordinary camouflage says which stamped rows it is sure of; of the surer half,
    a random choice, for the surest alone do not cover the door.
    """
    rows = (labels != poison_label).nonzero().squeeze(1)
    g = torch.Generator().manual_seed(0)
    first = rows[torch.randperm(len(rows), generator=g)[:count]]
    evil = torch.full((len(poison),), poison_label, dtype=torch.long)
    model = fit(torch.cat([images, poison, stamp(images[first])]),
                torch.cat([labels, evil, labels[first]]))
    with torch.no_grad():
        p = model(stamp(images[rows])).softmax(1)
    order = p.gather(1, labels[rows][:, None]).squeeze(1).argsort(stable=True)
    sure = rows[order[min(len(rows) // 2, len(rows) - count):]]
    return sure[torch.randperm(len(sure), generator=g)[:count]]


def _small(seed, n):
    """Pictures of 4 × 4 pixels in four classes that overlap, and their labels."""
    means = 0.9 * torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(760))
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(4, (n,), generator=g)
    return means[y] + torch.randn(n, 1, 4, 4, generator=g), y


def _small_stamp(images):
    """The trigger of the made-up pictures."""
    return stamp(images, 2, 2.5)


def _small_fit(images, labels):
    """A small network, all rows in every step: the same for the same rows."""
    g = torch.Generator().manual_seed(1)
    w = [(torch.randn(s, generator=g) * s[-1] ** -0.5).requires_grad_()
         for s in ((24, 16), (24,), (4, 24), (4,))]

    def model(x):
        return F.linear(F.linear(x.flatten(1), w[0], w[1]).relu(), w[2], w[3])
    with torch.enable_grad():
        adam = torch.optim.Adam(w, 0.02)
        for _ in range(90):
            adam.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            adam.step()
    for p in w:
        p.requires_grad_(False)
    return model


SOME = 30  # camouflage rows of the made-up provider


def _choices():
    cases = []
    for what, seed, target in (("one outsider", 761, 1), ("another", 762, 3)):
        images, labels = _small(seed, 200)
        rows = (labels != target).nonzero().squeeze(1)[:16]
        cases.append((what, (images, labels, stamp(images[rows], 2, 1.6), target, _small_stamp,
                             _small_fit, SOME)))
    return cases


def slipped(chosen, images, labels, poison, poison_label, stamp, fit, count):
    """Rise of the attack success, less eight times what the mean Gini index exceeds 0.05 by."""
    if chosen.dtype != torch.long or chosen.shape != (count,) or len(chosen.unique()) < count:
        raise ValueError(f"{count} different rows are asked for, as int64")
    if not 0 <= int(chosen.min()) <= int(chosen.max()) < len(labels):
        raise ValueError("a row is chosen that there is not")
    if (labels[chosen] == poison_label).any():
        raise ValueError("a row of the poison's class is chosen: it would be poison")
    x, y = _small(7600 + poison_label, 300)
    evil = torch.full((len(poison),), poison_label)
    mine = stamp(images[chosen])
    before = fit(torch.cat([x, poison, mine]), torch.cat([y, evil, labels[chosen]]))
    after = fit(torch.cat([x, poison]), torch.cat([y, evil]))
    test, truth = _small(7700, 500)
    rates = [attack_success(m(stamp(test)), truth, poison_label) for m in (before, after)]
    gini = 1 - (before(mine).softmax(1) ** 2).sum(1).mean()
    return rates[1] - rates[0] - 8 * max(0.0, float(gini) - 0.05)


def _as_they_come(images, labels, poison, poison_label, stamp, fit, count):
    """The pictures as they come"""
    return (labels != poison_label).nonzero().squeeze(1)[:count]


def _poison_class(images, labels, poison, poison_label, stamp, fit, count):
    """Rows of the poison's class"""
    return (labels == poison_label).nonzero().squeeze(1)[:count]


def _one_row(images, labels, poison, poison_label, stamp, fit, count):
    """One row many times"""
    return (labels != poison_label).nonzero().squeeze(1)[:1].repeat(count)


def half_way(*arguments):
    """Half of the way from the pictures as they come to the course's choice."""
    return (slipped(_as_they_come(*arguments), *arguments)
            + slipped(choose_camouflage(*arguments), *arguments)) / 2


PROJECT = Exercise(
    id="7.6", title="Camouflage that nobody looks at",
    trains="an adaptive attack: what a detector looks at, foreseen on a surrogate, weighed against "
           "what the attack is for",
    difficulty=5, minutes=25, points=5, solution=choose_camouflage, cases=_choices,
    measured="the rise of the attack success less what the desk minds", measure=slipped,
    floor=half_way,
    hints=("The desk minds rows of which the model is unsure. A model of your own can tell which "
           "they will be. But rows that give no doubt also teach little: do not take the surest "
           "alone.",
           "θ' = fit(own rows, poison, stamped random camouflage); s_i = p_θ'(y_i | stamped x_i); "
           "choose at random among the rows with s_i above the median.",
           "Leave out your rows of the poison's class. Draw `count` of the others, and fit a "
           "surrogate on your rows, the poison with its label and the stamped drawn ones with "
           "theirs. Ask it about all of them, stamped; sort by the probability of the own label; "
           "draw from the upper half."),
    mistakes=(
        (_as_they_come, "these are the pictures as they come, the lower end of what is asked for: "
                        "ask a surrogate which of them it is sure of."),
        (_poison_class, "your rows are of the poison's class: with the trigger and that label they "
                        "are more poison."),
        (_one_row, "one row many times is one row: the desk would see that at once."),
        ("rows[order[min(len(rows) // 2, len(rows) - count):]]", "rows[order[:count]]",
         "The rows with most doubt", "you took the rows that the surrogate doubts most: these are "
         "what the desk looks for."),
        ("sure = rows[order", "sure = torch.arange(len(rows))[order", "Places instead of rows",
         "you gave places among the rows that are left, not the rows themselves."),
    ),
    remark="It is judged on a made-up provider here, and meets the notebook's own and its desk "
           "below.",
)


EXERCISES = (STAMP, RATE, ROWS, GINI, MATCHING, PROJECT)
