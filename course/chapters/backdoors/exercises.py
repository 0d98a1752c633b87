"""Exercises of notebook 07: a trigger, a rate, whose rows, a detector, a loss, a choice.

Solutions use torch only, so that they can be copied out.
"""

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F

from course.exercises.engine import Exercise


# ---------------- 7.1 stamp
def stamp(images, side, value):
    """A copy with the lower right square of side × side pixels set to value. (n, c, h, w) -> same
    """
    stamped, (h, w) = images.clone(), images.shape[-2:]
    stamped[:, :, h - side:, w - side:] = value
    return stamped


def _pictures():
    g = torch.Generator().manual_seed(71)
    return [(what, (torch.rand(shape, generator=g), side, value))
            for what, shape, side, value in (
                ("grey pictures", (4, 1, 8, 8), 2, 2.0), ("colours", (3, 3, 6, 6), 3, 1.5),
                ("wide pictures", (2, 1, 5, 9), 2, -1.0), ("one pixel", (5, 2, 4, 4), 1, 0.5),
                ("high pictures", (2, 3, 9, 5), 4, 3.0), ("one picture", (1, 1, 7, 7), 3, 0.0),
                ("the whole picture", (2, 1, 4, 4), 4, 0.7), ("no picture", (0, 1, 5, 5), 2, 1.0))]


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
        ("h - side:, w - side:] =", ":side, :side] =", "The upper left corner",
         "your square is in the upper left corner: take the last rows and columns."),
        ("h - side:, w - side:] =", "h - side:, :side] =", "The lower left corner",
         "your square is in the lower left corner: take the last columns, too."),
        ("[:, :, h", "[:, :1, h", "Only the first channel",
         "you set the first channel only: a colour picture has three."),
        ("h - side:, w - side:] =", "h - side:, :] =", "Whole rows of pixels",
         "you set whole rows of pixels: the square has as many columns as rows."),
        ("= value\n", "+= value\n", "Added to what is there",
         "you added the value: the pixels of the square are set to it, whatever was there."),
        ("images.clone(),", "images,", "The given pictures are changed",
         "you changed the pictures that you were given: work on a copy."),
    ),
    remark="`labkit.verify.backdoor.stamp` does the same for any set of pixels.",
)


# ---------------- 7.2 attack_success
def attack_success(answers, labels, target):
    """Share of the rows that are not of the target class and are called it (nan: no such row).
    (n, k), (n,), int -> float"""
    others = labels != target
    return (answers[others].argmax(1) == target).double().mean().item()


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
    z, y, _ = cases[1][1]
    return cases + [("logits below 0", (z.log() - 3, y, 2)),
                    ("nobody is fooled", (torch.eye(4)[[0, 1, 2, 3, 1]],
                                          torch.tensor([0, 1, 2, 3, 3]), 2)),
                    ("everybody is fooled", (torch.eye(3)[[1, 1, 1, 0]],
                                             torch.tensor([0, 2, 0, 1]), 1)),
                    ("one row is left", (z[:4], torch.tensor([2, 2, 0, 2]), 2))]


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
        ("target).double().mean()", "target).double().sum() / len(labels)",
         "Divided by all rows", "you divide by all rows: divide by those that are not of the "
         "target class."),
        ("answers[others].argmax(1) == target",
         "answers[others].argmax(1) != labels[others]", "Any wrong answer",
         "you count every wrong answer: the attack wants one class."),
        ("labels != target", "labels == target", "The wrong rows",
         "you kept the pictures of the target class, and left out the others."),
        ("(answers[others].argmax(1) == target).double().mean()",
         "answers[others][:, target].double().mean()", "The mean probability",
         "you averaged probabilities: the rate counts answers, the class with the largest one."),
        ("return (", "return 100 * (", "Percent",
         "your result is in percent: a share from 0 to 1 is asked for."),
    ),
    remark="A network that no attacker touched is the null: measure it, too.",
)


# ---------------- 7.3 contribution
def contribution(labels, order, target, poison, camouflage):
    """Rows to poison and to camouflage: the first in `order` that are not of the target class.
    -> (poison,), (camouflage,)"""
    others = [row for row in order.tolist() if labels[row] != target]
    return (torch.tensor(others[:poison], dtype=torch.long),
            torch.tensor(others[:camouflage], dtype=torch.long))


def _orders():
    g, cases = torch.Generator().manual_seed(73), []
    for what, n, k, target, p, c in (("more camouflage", 40, 4, 1, 5, 10),
                                     ("more poison", 40, 3, 0, 8, 4), ("as many", 30, 5, 2, 6, 6),
                                     ("two classes", 50, 2, 1, 4, 12),
                                     ("no camouflage", 20, 3, 2, 5, 0),
                                     ("no poison", 20, 3, 2, 0, 7),
                                     ("fewer rows than asked for", 6, 3, 0, 4, 30)):
        cases.append((what, (torch.randint(k, (n,), generator=g),
                             torch.randperm(n, generator=g), target, p, c)))
    y = torch.tensor([1, 0, 1, 2, 1, 0])
    return cases + [("a part of the rows, in an order", (y, torch.tensor([5, 2, 3, 0]), 1, 2, 3)),
                    ("all rows are of the target class",
                     (torch.ones(5).long(), torch.arange(5), 1, 2, 3))]


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
        ("others[:camouflage]", "others[poison:poison + camouflage]",
         "Other pictures for camouflage",
         "your camouflage begins after the poison: it takes the same pictures, from the first on."),
        ("order.tolist() if labels[row] != target", "order[labels[:len(order)] != target].tolist()",
         "The mask is not in the order", "your mask has the labels in the order of the rows, and "
         "you applied it to `order`: ask for the label of each id."),
        ("!= target", "== target", "Rows of the target class",
         "you took rows of the target class: there the wrong label would be the true one."),
        (("[row for", "in order.tolist()"), ("[i for i,", "in enumerate(order.tolist())"),
         "Places instead of ids", "you gave places in `order`: look up the row ids there."),
        ("order.tolist()", "range(len(labels))", "The order is ignored",
         "you took the rows from the first on: take them in `order`."),
        (" if labels[row] != target", "", "The target class is not left out",
         "some of your rows are of the target class: leave them out."),
        ("in order.tolist()", "in sorted(order[:poison + camouflage].tolist())",
         "The first rows of the order are cut off before the target class is left out",
         "you cut before you left out the target class, and sorted: skip first, keep the order."),
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
    sure = torch.tensor([[.75, .125, .125], [.5, .25, .25]])
    return cases + [("ties", (tied, tied[[2, 0, 0]])), ("all alike", (tied[:2], tied[:1])),
                    ("one clean row", (cases[0][1][0], sure[:1])),
                    ("equal largest probabilities",
                     (tied[2:], torch.tensor([[.5, .25, .25], [.5, .375, .125]]))),
                    ("all requested rows above", (sure[1:], sure[:1]))]


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
        ("1 - (p**2).sum(1)", "-(p * p.clamp(min=1e-9).log()).sum(1)", "The entropy",
         "you took the entropy, which ranks some rows otherwise: the index has squares."),
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
        images = torch.rand(n, 1, 1, d, generator=g)
        size = sum(p.numel() for p in model.parameters())
        cases.append((what, (model, images, torch.randint(k, (n,), generator=g),
                             2 * torch.randn(size, generator=g))))
    model, images, labels, d = cases[1][1]
    with torch.enable_grad():
        found = torch.autograd.grad(F.cross_entropy(model(images), labels), [*model.parameters()])
    own = torch.cat([v.flatten() for v in found])
    return cases + [("a short direction", (model, images, labels, 0.01 * d)),
                    ("the opposite direction", (model, images + 0.1, labels, -3 * own))]


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
        (", create_graph=True", "", "Cut off from the images",
         "your gradient is cut off: without create_graph=True nothing reaches the pixels."),
        ("gradients = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)",
         "loss.backward(create_graph=True)\n    gradients = [p.grad for p in model.parameters()]",
         "backward() leaves its gradients in the model", "backward() leaves a gradient in the "
         "model's weights, to which the next call adds: use torch.autograd.grad."),
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


@cache
def _digits():
    """Real handwritten digits, 8 × 8 pixels from 0 to 1, and their labels."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return torch.from_numpy(x).float().view(-1, 1, 8, 8) / 16, torch.from_numpy(y).long()


@dataclass(frozen=True)
class Stamp:
    """Called with images: a copy with the trigger, 2 × 2 pixels."""

    value: float = 1.0

    def __call__(self, images):
        return stamp(images, 2, self.value)


@dataclass(frozen=True)
class Fit:
    """Called with images and labels: a small network, trained on all of them in each step."""

    seed: int = 0

    def __call__(self, images, labels):
        g, layers = torch.Generator().manual_seed(self.seed), []
        for i, o in ((64, 32), (32, 10)):
            layer = torch.nn.utils.skip_init(torch.nn.Linear, i, o)
            layer.weight.data = torch.randn(o, i, generator=g) / i**0.5
            layer.bias.data.zero_()
            layers += [layer, torch.nn.ReLU()]
        model = torch.nn.Sequential(torch.nn.Flatten(), *layers[:-1])
        adam = torch.optim.Adam(model.parameters(), 0.02)
        with torch.enable_grad():
            for _ in range(60):
                adam.zero_grad()
                F.cross_entropy(model(images), labels).backward()
                adam.step()
        return model.requires_grad_(False)


OWN, PROVIDERS, POISON, CAMOUFLAGE, NETWORKS = 300, 500, 15, 30, 3


def _sides(target):
    """The attacker's own rows, the provider's and test rows, of digits in an order of the case."""
    x, y = _digits()
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(700 + target))
    return [(x[rows], y[rows]) for rows in order.split([OWN, PROVIDERS, len(y) - OWN - PROVIDERS])]


def _choices():
    cases = []
    for what, target in (("an outsider who wants zeros", 0), ("one who wants threes", 3)):
        images, labels = _sides(target)[0]
        rows = (labels != target).nonzero()[:POISON, 0]
        cases.append((what, (images, labels, stamp(images[rows], 2, 0.7), target, Stamp(), Fit(),
                             CAMOUFLAGE)))
    return cases


def _rows_of(result, labels, poison_label, count):
    """The chosen rows; ValueError where they are none that can be handed in."""
    if not isinstance(result, torch.Tensor) or result.dtype != torch.long:
        raise ValueError("asked was for a tensor of row numbers, int64")
    if result.shape != (count,) or len(result.unique()) < count:
        raise ValueError(f"{count} different rows are asked for, and {len(result.unique())} came")
    if not 0 <= int(result.min()) <= int(result.max()) < len(labels):
        raise ValueError(f"a row is chosen that there is not: they run from 0 to {len(labels) - 1}")
    if (labels[result] == poison_label).any():
        raise ValueError("a row of the poison's class is chosen: stamped, it would be more poison")
    return result


def slipped(result, images, labels, poison, poison_label, stamp, fit, count):
    """Rise of ASR less how far the request lies above the desk's limit, as a share of the limit.

    The limit: twice the Gini index that the provider's own rows have on average. Mean over networks
    of the provider, whose rows and first weights the attacker never had.
    """
    rows = _rows_of(result, labels, poison_label, count)
    (x, y), (test, truth) = _sides(poison_label)[1:]
    bad, mine, points = torch.full((len(poison),), poison_label), stamp(images[rows]), []
    for seed in range(NETWORKS):
        train = Fit(1000 + seed)
        before = train(torch.cat([x, poison, mine]), torch.cat([y, bad, labels[rows]]))
        after = train(torch.cat([x, poison]), torch.cat([y, bad]))
        hidden, opened = (attack_success(m(stamp(test)), truth, poison_label)
                          for m in (before, after))
        odd, usual = ((1 - (before(a).softmax(1) ** 2).sum(1)).mean().item() for a in (mine, x))
        points.append(opened - hidden - max(0.0, odd / (2 * usual) - 1))
    return sum(points) / len(points)


def random_rows(images, labels, poison, poison_label, stamp, fit, count):
    """Any rows of other classes"""
    rows = (labels != poison_label).nonzero()[:, 0]
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))[:count]]


@cache
def _line(target):
    arguments = next(args for _, args in _choices() if args[3] == target)
    return sum(slipped(f(*arguments), *arguments)
               for f in (random_rows, choose_camouflage)) / 2


def _half_way(images, labels, poison, poison_label, stamp, fit, count):
    """Half way from random camouflage to the course's."""
    return _line(poison_label)


PROJECT = Exercise(
    id="7.6", title="Camouflage that nobody minds",
    trains="an attack on two aims at once: what hides the door and what a desk sees pull apart",
    difficulty=5, minutes=25, points=5, solution=choose_camouflage, cases=_choices,
    measured="the rise of ASR less the excess over the desk's limit", measure=slipped,
    floor=_half_way,
    hints=("A stamped row of which the model is unsure stands out. One of which it is sure anyway "
           "teaches it nothing of the trigger. Rehearse with a network of your own, and look for "
           "rows in between.",
           "q_i = p(y_i | stamped x_i) of a surrogate that was trained on your rows, the poison "
           "and some camouflage. Draw at random among {i : y_i ≠ t, q_i above its median}.",
           "Leave out the poison's class. `fit` on your rows, the poison with its label, and "
           "`count` random stamped rows with their true ones. Take the probability of the true "
           "label of every stamped row, sort, drop the lower half, and draw `count` of the rest."),
    mistakes=(
        (random_rows, "these rows are as good as random ones, and a desk sees such a request: "
                      "rehearse, and ask which stamped rows the network is unsure of."),
        ("return sure[torch.randperm(len(sure), generator=g)[:count]]",
         "return sure[-count:]", "The very surest rows", "you took the rows of which the network "
         "is surest: nobody sees them, and they hardly hide the door. Leave some doubt."),
        ("sure = rows[order[min(len(rows) // 2, len(rows) - count):]]",
         "sure = rows[order[:count]]", "The rows that the network is least sure of",
         "you took the rows of which the network is least sure: they hide the door well, and "
         "stand out most."),
        ("rows = (labels != poison_label)", "rows = (labels == poison_label)",
         "Rows of the poison's class", "your rows are of the class that the attacker wants: with "
         "the trigger and their true label they work as poison."),
        ("return sure[torch.randperm(len(sure), generator=g)[:count]]",
         "return sure[torch.randint(len(sure), (count,), generator=g)]",
         "Drawn with repetition", "you drew with repetition: some row is there twice. Take the "
         "first of a random permutation."),
        ("return sure[torch.randperm(len(sure), generator=g)[:count]]",
         "return torch.randperm(len(sure), generator=g)[:count]",
         "Places among the candidates instead of rows",
         "you gave places among your candidates: look up which of your rows they are."),
    ),
    remark="It is judged on digits and small networks here, and meets the notebook's own desk "
           "below.",
)


EXERCISES = (STAMP, RATE, ROWS, GINI, MATCHING, PROJECT)
