"""Exercises of notebook 08: a signed gap, a request, the boundary, a register, PGD, a watch.

Solutions use numpy and torch, and what they import themselves, so that they can be copied out.
"""

import numpy as np
import torch
import torch.nn.functional as F

from course.exercises.engine import Exercise


# ---------------- 8.1 signed_gap
def signed_gap(said_yes, deserved, group):
    """Rate of yes of group 0 less that of group 1, among those who deserve it. (n,) -> float"""
    from fairlearn.metrics import MetricFrame, true_positive_rate

    rate = MetricFrame(metrics=true_positive_rate, y_true=deserved, y_pred=said_yes,
                       sensitive_features=group).by_group
    return float(rate[0] - rate[1])


def _applicant_cases():
    import fairlearn.metrics  # noqa: F401  its import moves a random state: not the learner's doing

    draw, cases = np.random.default_rng(81), []
    for what, n, easy, hard in (("group 1 is worse off", 40, 0.8, 0.4),
                                ("group 0 is worse off", 40, 0.4, 0.9),
                                ("many applicants", 400, 0.7, 0.6),
                                ("a small group", 60, 0.7, 0.5)):
        group = (draw.random(n) < (0.1 if "small" in what else 0.4)).astype(int)
        deserved = (draw.random(n) < np.where(group == 1, 0.5, 0.8)).astype(int)
        group[:2], deserved[:2] = (0, 1), 1
        cases.append((what, ((draw.random(n) < np.where(group == 1, hard, easy)).astype(int),
                             deserved, group)))
    return cases + [(what, tuple(np.array(a) for a in args)) for what, *args in (
        ("one deserving applicant in each group", [1, 0, 1, 0], [1, 1, 0, 0], [0, 1, 0, 1]),
        ("all deserve it", [1, 0, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1]),
        ("nobody is told yes", [0, 0, 0, 0, 0], [1, 1, 0, 1, 0], [1, 0, 0, 1, 1]),
        ("everybody is told yes", [1, 1, 1, 1, 1], [1, 1, 0, 1, 0], [1, 0, 0, 1, 1]),
        ("the rates are equal", [1, 0, 0, 1, 0, 1], [1, 1, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1]),
        ("only who does not deserve it is told yes", [0, 1, 0, 1, 1], [1, 0, 1, 0, 0],
         [0, 0, 1, 1, 1]))]


GAP = Exercise(
    id="8.1", title="A gap with a sign",
    trains="equal opportunity: a rate among the deserving of each group, and a difference that "
           "tells who is worse off",
    difficulty=1, minutes=6, points=1, solution=signed_gap, cases=_applicant_cases,
    hints=("Look only at applicants who deserve a yes. What share of them is told yes in group 0, "
           "and what share in group 1? The difference keeps its sign.",
           "gap = P(yes given deserved, group 0) − P(yes given deserved, group 1).",
           "Give `MetricFrame` the metric `true_positive_rate`, the deserving as the truth, the "
           "decisions as the prediction and the groups as the sensitive feature. Take entry 0 of "
           "its `by_group` less entry 1, and make a float of it."),
    mistakes=(
        ("rate[0] - rate[1]", "abs(rate[0] - rate[1])",
         "Unsigned, as fairlearn's equal_opportunity_difference",
         "your gap has no sign: when group 0 is worse off, it looks as if group 1 were."),
        ("rate[0] - rate[1]", "rate[1] - rate[0]", "Group 1 less group 0",
         "your sign is turned round: take group 0 less group 1, so that a gap above 0 means that "
         "group 1 is worse off."),
        ("true_positive_rate", "selection_rate",
         "All applicants, deserving or not: demographic parity",
         "you counted all applicants of a group. That is demographic parity: look at those who "
         "deserve a yes."),
        (("y_true=deserved, y_pred=said_yes",), ("y_true=said_yes, y_pred=deserved",),
         "Who deserves it among those told yes",
         "you have the share of deserving among those who are told yes: turn the two round."),
        (("import MetricFrame, true_positive_rate", "metrics=true_positive_rate"),
         ("import MetricFrame", "metrics=lambda y_true, y_pred: (y_true == y_pred).mean()"),
         "The accuracy in each group", "you compared the accuracy of both groups, which counts a "
         "rightful no as well: look at those who deserve a yes."),
        (("import MetricFrame, true_positive_rate", "metrics=true_positive_rate"),
         ("import MetricFrame", "metrics=lambda y_true, y_pred: (y_true * y_pred).mean()"),
         "Deserving applicants told yes, as a share of the whole group",
         "you divided by everybody in the group: divide by those who deserve a yes."),
        ("float(rate[0] - rate[1])", "float(100 * (rate[0] - rate[1]))", "In percent",
         "your gap is in percent: the notebook has it as a share, from −1 to 1."),
    ),
    remark="`fairlearn.metrics.equal_opportunity_difference` is the largest difference without its "
           "sign: half of the story.",
)


# ---------------- 8.2 requests_by_score
def requests_by_score(score, rows, budget):
    """Ids of at most `budget` rows with the highest scores above 0, highest first; of equal scores
    the smaller id first. (m,), (m,) int64, int -> (b,) int64"""
    by_id = rows.argsort()
    order = by_id[score[by_id].argsort(descending=True, stable=True)]
    return rows[order[score[order] > 0]][:budget]


def _score_cases():
    g, cases = torch.Generator().manual_seed(82), []
    for what, m, budget in (("a few rows", 8, 3), ("many rows", 200, 10),
                            ("a budget beyond what harms", 30, 25), ("a budget of one", 12, 1),
                            ("a budget of 0", 9, 0), ("a budget beyond all rows", 6, 20),
                            ("one row", 1, 1)):
        rows = torch.randperm(10 * m, generator=g)[:m]
        cases.append((what, (torch.randn(m, generator=g, dtype=torch.float64), rows, budget)))
    rows = torch.randperm(900, generator=g)[:300]
    cases.append(("many equal scores", (torch.randn(300, generator=g).round(), rows, 120)))
    return cases + [(what, (torch.tensor(score), torch.tensor(rows), budget))
                    for what, score, rows, budget in (
        ("equal scores", [.5, .5, 2., .5, -1.], [31, 7, 12, 19, 3], 3),
        ("all scores are equal", [.25] * 6, [9, 2, 14, 5, 30, 1], 4),
        ("a score of 0", [0., .3, 0., -.2, .1], [4, 8, 1, 3, 6], 4),
        ("no row harms the group", [-.3, 0., -.1, -2.], [5, 2, 9, 7], 3),
        ("the largest score is below 0 by far", [-9., .2, .4, -.1, .3], [11, 14, 2, 8, 5], 2),
        ("tiny scores", [2e-7, -3e-7, 1e-7, 4e-7], [40, 41, 3, 17], 3))]


REQUEST = Exercise(
    id="8.2", title="A request that must be accepted",
    trains="from scores to ids: positions are no ids, ties, a sign, a budget",
    difficulty=2, minutes=7, points=2, solution=requests_by_score, cases=_score_cases,
    hints=("A row whose score is not above 0 would leave the gap as it is or narrow it, so it is "
           "never asked for, even if the budget has room. What the provider needs are row "
           "numbers, not the places of the scores.",
           "Order the rows by (−score, id), drop those with score ≤ 0, and cut after the budget.",
           "Sort the rows by id first, then by score, descending and `stable=True`, so that ties "
           "stay in the order of their ids. Keep the places whose score is above 0, index `rows` "
           "with them, and slice to the budget."),
    mistakes=(
        ("descending=True, ", "", "The lowest scores first",
         "you began with the lowest scores: these rows, deleted, would help the group most or harm "
         "it least."),
        ("[score[order] > 0]", "", "Rows that would narrow the gap fill the budget",
         "you filled the budget with rows whose score is not above 0: deleting them helps the "
         "group. At most means at most."),
        ("score[order] > 0", "score[order] >= 0", "A score of 0 is asked for",
         "you asked for rows whose score is 0: above 0 is what is wanted."),
        ("return rows[order[score[order] > 0]]", "return order[score[order] > 0]",
         "Positions among the own rows instead of ids",
         "these are positions in the list of scores, not ids: the provider would delete other "
         "people's rows."),
        ("by_id = rows.argsort()", "by_id = torch.arange(len(rows))", "Ties in the order given",
         "your ties stay in the order in which they were given: of equal scores take the smaller "
         "id first."),
        ("by_id = rows.argsort()", "by_id = rows.argsort(descending=True)",
         "Of equal scores the larger id first",
         "your ties go to the larger id: take the smaller one first."),
        ("by_id = rows.argsort()", "by_id, score = rows.argsort(), score.abs()",
         "Ranked by the size of the score",
         "you ranked by the size of the score, whatever its sign: only rows that raise the gap "
         "count."),
        ("[:budget]", "", "The budget is not kept",
         "you asked for more than the budget: the provider refuses such a request."),
        ("[:budget]", "[:budget].sort().values", "Sorted by id",
         "you sorted the result by id: keep the order of the scores, highest first."),
    ),
    remark="`lk.attack.check_request` then looks whether the rows are owned and the budget is "
           "kept.",
)


# ---------------- 8.3 push_to_boundary
def push_to_boundary(ask, x, other, steps):
    """Last point before the answer changes, from each row to its other, by `steps` halvings.
    ask: rows -> (n, k) probabilities. (n, …), (n, …) -> (n, …)"""
    label = ask(x).argmax(1)
    low = torch.zeros(len(x), *[1] * (x.dim() - 1))
    high = torch.ones_like(low)
    for _ in range(steps):
        middle = (low + high) / 2
        same = (ask(x + middle * (other - x)).argmax(1) == label).view_as(low)
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    return x + low * (other - x)


class Counted:
    """A service: rows -> probabilities. It answers `most` rows and no more."""

    def __init__(self, weight, bias, most):
        self.weight, self.bias, self.most, self.asked = weight, bias, most, 0

    def __call__(self, rows):
        self.asked += len(rows)
        if self.asked > self.most:
            raise ValueError(f"the service answers {self.most} rows here, and you have asked for "
                             "more: (steps + 1) queries a row are enough")
        with torch.no_grad():
            return (rows.flatten(1) @ self.weight + self.bias).softmax(1)

    def __eq__(self, other):
        return (torch.equal(self.weight, other.weight) and torch.equal(self.bias, other.bias)
                and self.most == other.most)

    __hash__ = None

    def __repr__(self):
        return f"a service with {len(self.bias)} labels"


def _way_cases():
    g, cases = torch.Generator().manual_seed(83), []
    for what, shape, k, steps, sharp in (
            ("two labels", (5, 3), 2, 8, 2.0), ("many labels on the way", (12, 4), 6, 10, 2.0),
            ("pictures", (4, 1, 3, 3), 4, 7, 1.0), ("colour pictures", (3, 3, 2, 2), 5, 9, 1.0),
            ("one row", (1, 5), 3, 6, 1.0), ("one halving", (6, 4), 3, 1, 1.0),
            ("no halving", (4, 3), 3, 0, 1.0), ("a service that is never sure", (8, 4), 6, 9, 0.2),
            ("a service that is always sure", (8, 4), 4, 9, 20.0),
            ("as many rows as labels", (3, 2), 3, 8, 2.0)):
        size = int(torch.tensor(shape[1:]).prod())
        weight, bias = (sharp * torch.randn(*s, generator=g) for s in ((size, k), (k,)))
        service = Counted(weight, bias, (steps + 1) * shape[0])
        pool = 2 * torch.randn(40 * shape[0], *shape[1:], generator=g)
        said = (pool.flatten(1) @ weight + bias).argmax(1)
        pairs = [(i, j) for i, j in zip(range(0, len(said), 2), range(1, len(said), 2), strict=True)
                 if said[i] != said[j]][:shape[0]]
        start, end = (torch.tensor(each) for each in zip(*pairs, strict=True))
        cases.append((what, (service, pool[start], pool[end], steps)))
    return cases


BOUNDARY = Exercise(
    id="8.3", title="To the edge of the answer",
    trains="a search that needs nothing but labels, for many rows at once; counting queries",
    difficulty=3, minutes=10, points=2, solution=push_to_boundary, cases=_way_cases, atol=1e-5,
    hints=("Somewhere on the straight way the answer changes. Ask half-way: if the answer is still "
           "that of the start, go on in the second half, else in the first. Each row has its own "
           "halves.",
           "u = (low + high) / 2 of each row, at first 0 and 1; low = u where the label at x + "
           "u (other − x) is that at x, else high = u. The answer is x + low (other − x).",
           "Ask for the labels at x once. Keep two tensors low and high with one number a row, "
           "shaped (n, 1, …) so that they broadcast. In a loop ask at their middle, compare with "
           "the labels at x, and move low or high with `torch.where`."),
    mistakes=(
        ("return x + low", "return x + high", "The first point after the change",
         "your point lies behind the boundary, where the answer has changed: return the last "
         "point before it."),
        ("return x + low", "return x + (low + high) / 2", "The middle that is left",
         "you returned the middle of what is left: nobody knows its answer. Return the low end."),
        ("torch.where(same, middle, low), torch.where(same, high, middle)",
         "torch.where(same, low, middle), torch.where(same, middle, high)",
         "The wrong half is kept", "you kept the wrong half: where the answer is still the old "
         "one, the change lies further on."),
        ("(ask(x + middle * (other - x)).argmax(1) == label)",
         "(ask(x + middle * (other - x)).argmax(1) == label).all().expand(len(x))",
         "One fraction for all rows", "your rows go the same part of the way: each has a boundary "
         "of its own."),
        ("(ask(x + middle * (other - x)).argmax(1) == label)",
         "(ask(x + middle * (other - x)).gather(1, label[:, None]) > 0.5)",
         "Probability above one half instead of the label",
         "you compared a probability with one half: with more than two labels the likeliest may "
         "have less."),
        ("label = ask(x).argmax(1)", "label, goal = ask(x).argmax(1), ask(other).argmax(1)",
         "The other rows are asked, too",
         "you asked for more than is needed: the answers at the other rows cost a query each."),
        (("        low, high", "    return x + low"),
         ("        label = torch.where(same.flatten(), label, ask(x + low * (other - x)).argmax(1))"
          "\n        low, high", "    return x + low"),
         "The start is asked again at each step",
         "you asked for the label of the low end again at each step: it is known."),
        ("low, high = torch.where(same, middle, low), torch.where(same, high, middle)",
         "low = torch.where(same, middle, low)",
         "Only the low end moves", "your high end stays, so the middle can never come back below "
         "a point where the answer had changed."),
        ("(low + high) / 2", "low + 1 / steps", "Equal steps instead of halving",
         "you walk in equal steps: halving is 2 to the number of steps as fine."),
        ("return x + low * (other - x)", "return low.flatten()", "The fraction of the way",
         "you returned the fraction of the way: return the points."),
    ),
    remark="Each halving costs a query a row and makes the point twice as near. The search does "
           "not find the nearest boundary, only one on this way.",
)


# ---------------- 8.4 in_register
def in_register(x, y, asked_x, asked_y):
    """For each asked row the smallest id of a training row with the same numbers and label, -1 if
    none. (n, …), (n,) int64, (m, …), (m,) int64 -> (m,) int64"""
    from hashlib import sha256

    def key(row, label):
        return sha256((row + 0.0).numpy().tobytes()).digest(), int(label)  # -0.0 becomes 0.0

    register = {}
    for i in range(len(x)):
        register.setdefault(key(x[i], y[i]), i)
    keys = [key(*asked) for asked in zip(asked_x, asked_y, strict=True)]
    return torch.tensor([register.get(asked, -1) for asked in keys])


def _asked_cases():
    g, cases = torch.Generator().manual_seed(84), []
    for what, shape, m in (("rows of a table", (30, 4), 12), ("pictures", (20, 1, 3, 3), 9),
                           ("colour pictures", (12, 3, 2, 2), 8), ("one row is asked for", (15, 3),
                                                                   1),
                           ("a register of one row", (1, 4), 5)):
        x = torch.randn(shape, generator=g)
        y = torch.randint(0, 3, (len(x),), generator=g)
        at = torch.randint(0, len(x), (m,), generator=g)
        rows, labels = x[at].clone(), y[at].clone()
        rows[1::4] += 0.1 * torch.randn(rows[1::4].shape, generator=g)  # copies that were moved
        labels[2::4] = (labels[2::4] + 1) % 3  # somebody else's label
        cases.append((what, (x, y, rows, labels)))
    x, y = cases[0][1][0], cases[0][1][1]
    near = x[[4, 9, 2]].clone()
    near[0, 0], near[1, 3] = near[0, 0] * (1 + 2e-7), near[1, 3] + 1e-4
    few = torch.tensor([[0., 1.], [2., 0.], [0., 1.], [1., 0.], [0., 1.], [-1., 2.]])
    of = torch.tensor([1, 0, 0, 1, 1, 0])
    tiny = torch.tensor([[1e-9, 0.], [2e-9, 0.], [0., 0.], [-1e-9, 0.]])
    return cases + [
        ("a number differs a little", (x, y, near, y[[4, 9, 2]])),
        ("a row that is there more than once", (few, of, few[[4, 2, 0]], of[[4, 2, 0]])),
        ("its label makes the difference", (few, of, few[[0, 0, 1, 3]],
                                            torch.tensor([0, 1, 1, 1]))),
        ("the same numbers in another order", (few, of, few[[1, 3, 0, 5]].flip(1),
                                               of[[1, 3, 0, 5]])),
        ("minus zero", (few, of, torch.tensor([[-0., 1.], [2., -0.], [1., -0.]]),
                        torch.tensor([1, 0, 0]))),
        ("minus zero in the register", (torch.tensor([[-0., 3.], [0., 3.]]), torch.tensor([0, 0]),
                                        torch.tensor([[0., 3.], [-0., 3.]]), torch.tensor([0, 0]))),
        ("numbers near 0", (tiny, torch.tensor([0, 0, 0, 0]), tiny.flip(0) * 1,
                            torch.tensor([0, 0, 0, 0]))),
        ("nobody is known", (few, of, few + 7, of)),
        ("everybody asks", (few[[1, 3, 5]], of[[1, 3, 5]], few[[5, 3, 1]], of[[5, 3, 1]]))]


def _nearest(x, y, asked_x, asked_y):
    """The nearest row, whoever it is"""
    return torch.cdist(asked_x.flatten(1), x.flatten(1)).argmin(1)


def _close(x, y, asked_x, asked_y):
    """Nearly equal counts as equal"""
    return torch.tensor([next((i for i in range(len(x)) if y[i] == label
                               and torch.allclose(x[i], row, rtol=1e-3, atol=1e-3)), -1)
                         for row, label in zip(asked_x, asked_y, strict=True)])


REGISTER = Exercise(
    id="8.4", title="Was it ever there?",
    trains="looking rows up by a hash: what equal means, duplicates, and the one who is not found",
    difficulty=3, minutes=8, points=2, solution=in_register, cases=_asked_cases,
    hints=("Who asks for a row that is in the data can name it exactly. So nothing needs to be "
           "similar: give each training row a key that only equal rows share, and look the asked "
           "row's key up.",
           "id(r, c) = min {i : x_i = r and y_i = c}, or −1 where there is no such i. Note that "
           "−0.0 = 0.0, though their bytes differ.",
           "Go through the training rows and put hash and label into a dictionary with "
           "`setdefault`, so that the first id stays. The bytes come from `.numpy().tobytes()`, "
           "after 0.0 was added. Then `get` each asked row's key with −1 for the missing, and make "
           "a tensor of the ids."),
    mistakes=(
        (", int(label)  #", ", None  #", "The label is not compared",
         "you compared the numbers alone: a row with another label was never in the data."),
        ("register.setdefault(key(x[i], y[i]), i)", "register[key(x[i], y[i])] = i",
         "Of equal rows the last one", "of equal rows you return the last: return the smallest "
         "id."),
        ("row + 0.0", "row", "The bytes of −0.0 and 0.0",
         "you took 0.0 and −0.0 for different: they are the same number with different bytes. Add "
         "0.0 before hashing."),
        ("register.get(asked, -1)", "register.get(asked, 0)", "0 where it is missing",
         "a row that was never there gets the id 0, so somebody else's row would be deleted: "
         "return −1."),
        ("register.get(asked, -1)", "int(asked in register)",
         "Whether it is there, not where",
         "you tell whether the row is there: return its id, or −1."),
        ("for asked in keys]", "for asked in keys if asked in register]",
         "Rows that are missing are left out",
         "you left out rows that are not there: return −1 for them, so that each asked row has its "
         "answer."),
        ("row + 0.0", "row.flatten().sort().values + 0.0", "The numbers in any order",
         "you forgot the order of the numbers: two pictures may have the same pixels in other "
         "places."),
        ("row + 0.0", "row.sum() + 0.0", "Only the sum of the numbers",
         "you compared sums: different rows may have the same one."),
        (_nearest, "you return the nearest row, even if it is another one: equal is asked for, "
                   "and −1 where there is none."),
        (_close, "you let nearly equal rows pass: copies that were moved a little are just what "
                 "this should refuse."),
        ("-1) for", "-1) + 0. for", "Ids as floats",
         "your ids are floats: make them int64, so that they can index rows."),
    ),
    remark="A hash of a whole row can be tried out by whoever guesses the row. A provider adds a "
           "secret to each hash.",
)


# ---------------- 8.5 pgd
def pgd(model, x, y, eps, step, steps, low, high):
    """Inputs within eps of x, each number, and between low and high, that raise the loss: `steps`
    signed steps from x. (n, …), (n,) int64; floats or tensors that broadcast -> (n, …)"""
    moved = x.clone()
    for _ in range(steps):
        moved.requires_grad_()
        loss = F.cross_entropy(model(moved), y, reduction="sum")
        up, = torch.autograd.grad(loss, moved)
        moved = moved.detach() + step * up.sign()
        moved = torch.clamp(x + torch.clamp(moved - x, -eps, eps), low, high)
    return moved


def _ends(value, x):
    return torch.as_tensor(value, dtype=x.dtype)


def _pgd_cases():
    g, cases = torch.Generator().manual_seed(85), []
    for what, shape, k, eps, step, steps, dtype in (
            ("steps beyond eps", (6, 5), 3, 0.3, 0.2, 4, torch.float64),
            ("many small steps", (4, 4), 3, 1.0, 0.1, 12, torch.float64),
            ("one step", (5, 6), 4, 0.2, 0.1, 1, torch.float64),
            ("no step", (3, 4), 3, 0.2, 0.1, 0, torch.float64),
            ("an eps of 0", (3, 4), 3, 0.0, 0.1, 3, torch.float64),
            ("a step larger than eps", (5, 4), 2, 0.1, 0.5, 3, torch.float64),
            ("pictures, float32", (4, 1, 3, 3), 3, 0.4, 0.15, 5, torch.float32),
            ("one row", (1, 7), 3, 0.5, 0.2, 6, torch.float64)):
        net = _net(g, int(torch.tensor(shape[1:]).prod()), k, dtype)
        x = (2 * torch.rand(shape, generator=g, dtype=torch.float64) - 1).to(dtype)
        y = torch.randint(0, k, (shape[0],), generator=g)
        cases.append((what, (net, x, y, eps, step, steps, -1.0, 1.0)))
    net, x, y = cases[0][1][:3]
    ignores = _net(g, 5, 3, torch.float64)
    ignores[1].weight.data[:, 2] = 0
    eps, low, high = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1)
                      for v in ([.1, .3, .6], [-1., -.8, -2.], [1., .7, 1.5]))
    colour = _net(g, 12, 4, torch.float64)
    pixels = torch.rand(5, 3, 2, 2, generator=g, dtype=torch.float64)
    pixels = low + (high - low) * pixels
    return cases + [
        ("a number that the model does not use", (ignores, x, y, 0.3, 0.1, 4, -1.0, 1.0)),
        ("the model is right about all", (net, x, net(x).argmax(1), 0.8, 0.1, 10, -2.0, 2.0)),
        ("colour channels of unlike width", (colour, pixels, torch.tensor([0, 1, 2, 3, 0]), eps,
                                             eps / 2, 5, low, high)),
        ("x lies on the ends", (net, x.sign(), y, 0.4, 0.15, 5, -1.0, 1.0))]


def _net(g, size, k, dtype):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(size, 12), torch.nn.ReLU(),
                              torch.nn.Linear(12, k)).to(dtype).eval()
    for w in net.parameters():
        w.data = torch.randn(w.shape, generator=g, dtype=torch.float64).to(dtype)
    return net


PGD = Exercise(
    id="8.5", title="Small changes that fool",
    trains="a gradient by the input, its sign, and the way back into a box after every step",
    difficulty=4, minutes=15, points=3, solution=pgd, cases=_pgd_cases,
    hints=("Ask in which direction each number raises the loss of the right label, and go a step "
           "of fixed size that way. If you have gone too far from the start, go back to the edge, "
           "and then on from there.",
           "x_{t+1} = clip(x_t + α sign ∇ℓ(x_t), to [x_0 − ε, x_0 + ε] and to [low, high]), with ℓ "
           "the cross-entropy of the labels y.",
           "Start from a clone of x. In each step let it require a gradient, take that of the "
           "summed cross-entropy with `torch.autograd.grad` (not `backward`), and add the step "
           "times its sign to the detached point. Clamp the distance to x to plus or minus eps, "
           "add it to x, and clamp to low and high."),
    mistakes=(
        ("moved.detach() + step", "moved.detach() - step", "Downhill: the loss falls",
         "you walked downhill, so that the model gets surer: add the step."),
        ("up.sign()", "up", "The gradient itself, not its sign",
         "you added the gradient: take its sign, so that every number moves by the whole step."),
        ("up.sign()", "up / up.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, *[1] * "
                      "(x.dim() - 1))",
         "The gradient scaled to length 1",
         "you scaled the gradient to length 1, which belongs to a ball. Here each number has its "
         "own limit: take the sign."),
        ("torch.clamp(x + torch.clamp(moved - x, -eps, eps), low, high)",
         "torch.clamp(moved, low, high)", "Nothing brings it back within eps",
         "your inputs leave the distance eps: after each step bring them back to x plus or minus "
         "eps."),
        ("torch.clamp(x + torch.clamp(moved - x, -eps, eps), low, high)",
         "x + torch.clamp(moved - x, -eps, eps)", "Nothing keeps it between low and high",
         "your inputs leave the range from low to high: such a picture cannot be sent."),
        (("        moved = torch.clamp(x + torch.clamp(moved - x, -eps, eps), low, high)",
          "    return moved"),
         ("", "    return torch.clamp(x + torch.clamp(moved - x, -eps, eps), low, high)"),
         "Brought back once, at the end",
         "you brought the inputs back only at the end: the gradients on the way were then taken "
         "outside the box. Do it after each step."),
        ("for _ in range(steps):", "for _ in range(min(1, steps)):\n        step = eps",
         "One step of size eps", "you took one step of the whole size: that is the fast gradient "
         "sign method. Take `steps` steps of the size `step`."),
        ("model(moved), y,", "model(moved), model(x).argmax(1),",
         "The model's own answers in place of the labels",
         "you took the model's answers for the labels: where it is wrong already, you would lead "
         "it back."),
        ("F.cross_entropy(model(moved), y,", "F.cross_entropy(model(moved).softmax(1), y,",
         "Probabilities are given to cross_entropy",
         "cross_entropy takes logits and applies the softmax itself: yours was applied twice."),
        ("up, = torch.autograd.grad(loss, moved)", "loss.backward()\n        up = moved.grad",
         "backward() fills the weights' gradients",
         "the result is right, but `backward` leaves gradients in the model's weights, and the "
         "next training step would add to them: take `torch.autograd.grad`."),
        ("moved = x.clone()", "moved = x.clone() + eps / 2", "It does not start at x",
         "you start somewhere else in the box: without a random start, begin at x."),
        ("model(moved), y,", "model(x + 0 * moved.detach() + (moved - moved.detach())), y,",
         "The gradient is always that at x",
         "you took the gradient at x in every step: take it where the last step has led."),
    ),
    remark="With `steps=1` and `step=eps` it is the fast gradient sign method. A random start and "
           "restarts make it stronger: robust accuracy is an upper end, always of one attack.",
)


# ---------------- 8.6 watch
def watch(before, after, deserved, group):
    """An alarm for each release: larger where it is likelier an attack on group 1, each release
    judged for itself. Probability of a yes (n,) before, (r, n) after; 0/1 (n,), (n,) -> (r,)"""
    fall = before - after
    theirs, others = (fall[..., (deserved == 1) & (group == g)].mean(-1) for g in (1, 0))
    return theirs - others


def plain_watch(before, after, deserved, group):
    """The rise of the signed gap of decisions"""
    def gap(p):
        yes = p >= 0.5
        rate = [yes[..., (deserved == 1) & (group == g)].mean(-1) for g in (0, 1)]
        return rate[0] - rate[1]

    return gap(after) - gap(before)


def _fall_of_the_group(before, after, deserved, group):
    """How far group 1 fell, whatever happened to group 0"""
    return (before - after)[..., (deserved == 1) & (group == 1)].mean(-1)


def any_move(before, after, deserved, group):
    """How far the answers moved, whomever it concerns"""
    return np.abs(after - before).mean(-1)


def _after_alone(before, after, deserved, group):
    """The gap of the new model alone, without the old one"""
    return -after[..., group == 1].mean(-1)


def _silent(before, after, deserved, group):
    """The same alarm for every release"""
    return np.zeros(after.shape[:-1])


MADE = (("a panel as large as the notebook's", 86, 400, 160, 0.15),
        ("a small group", 87, 300, 162, 0.08), ("two groups of like size", 88, 240, 164, 0.45),
        ("a large panel", 89, 900, 166, 0.12))


def _made_up(seed, n, r, share):
    """Releases of a linear model: random requests move all answers a little, attacks also push
    group 1's down. -> the four arguments, which releases are attacks
    """
    draw = np.random.default_rng(seed)
    group = (draw.random(n) < share).astype(int)
    x = draw.normal(size=(n, 8)) + np.outer(group, 0.5 * draw.normal(size=8))
    z = 0.7 + 1.1 * x @ draw.normal(size=8) / np.sqrt(8)
    deserved = (draw.random(n) < 1 / (1 + np.exp(-z - 1.5))).astype(int)
    apart = x[(deserved == 1) & (group == 1)].mean(0) - x[(deserved == 1) & (group == 0)].mean(0)
    attack = draw.permutation(r) < r // 2
    moves = 0.025 * draw.normal(size=(r, 8)) - np.outer(attack, 0.05 * apart / (apart @ apart))
    level = 0.1 * draw.normal(size=(r, 1))  # all answers rise or fall together
    after = 1 / (1 + np.exp(-(z + moves @ x.T + level)))
    return (1 / (1 + np.exp(-z)), after, deserved, group), attack


def told_apart(result, *arguments):
    """AUC of the alarms over made-up releases; ValueError where they are no alarms."""
    from sklearn.metrics import roc_auc_score

    r = len(arguments[1])
    alarms = np.asarray(result, dtype=float)
    if alarms.shape != (r,) or not np.isfinite(alarms).all():
        raise ValueError(f"alarms are finite numbers, one for each of the {r} releases; yours have "
                         f"the shape {alarms.shape}")
    made = next(made for _, *made in MADE if made[2] == r)
    return float(roc_auc_score(_made_up(*made)[1], alarms))


def half_way(*arguments):
    """Half way from the plain watch to the course's."""
    return sum(told_apart(w(*arguments), *arguments) for w in (plain_watch, watch)) / 2


WATCH = Exercise(
    id="8.6", title="A watch for the provider",
    trains="what a small, noisy group can still show: probabilities in place of decisions, each "
           "applicant compared with herself, and one group with the other",
    difficulty=5, minutes=25, points=5, solution=watch,
    cases=lambda: [(what, _made_up(*made)[0]) for what, *made in MADE],
    measured="the AUC over made-up releases", measure=told_apart, floor=half_way,
    hints=("Hardly any decision changes, but every probability moves. Do those of group 1 move "
           "down further than those of group 0?",
           "alarm = mean of (p_i − q_i) over the deserving of group 1, less the same over those of "
           "group 0, with p before and q after.",
           "Subtract after from before: the last axis holds the applicants, whether there is one "
           "release or many. Pick the deserving of each group there, take means along it, and "
           "subtract that of group 0 from that of group 1."),
    mistakes=(
        (plain_watch, "this is the plain watch, which is the lower end of what is asked for: few "
                      "decisions change, so look at probabilities."),
        (_fall_of_the_group, "you look at group 1 alone: a release may lower all answers a little. "
                             "Compare with group 0."),
        (any_move, "you measure how far answers moved, whomever it concerns and in which "
                        "direction: random requests move them as well."),
        (_after_alone, "you look at the new model alone: what the deletions changed is in the "
                       "difference to the old one."),
        (_silent, "all your alarms are equal: they tell no release from another."),
        ("return theirs - others", "return others - theirs",
         "Turned round", "your alarm is turned round: larger has to mean likelier an attack on "
                         "group 1."),
        ("return theirs - others", "return float((theirs - others).mean())",
         "One alarm for all releases",
         "you returned one number: return an alarm for each release, along the last axis the "
         "applicants."),
    ),
    remark="It is judged on made-up releases here, and meets section 1's requests below. An alarm "
           "says whom to ask; it proves nothing about intent.",
)


EXERCISES = (GAP, REQUEST, BOUNDARY, REGISTER, PGD, WATCH)
