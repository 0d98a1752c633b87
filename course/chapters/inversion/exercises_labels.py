"""Exercise of notebook 05 on labels: the class that lost confidence."""

import torch

from course.exercises.engine import Exercise

# ---------------- 5.4 deleted_class


def deleted_class(before, after, probe_class):
    """The class whose probes lost most confidence in it, on average. (m, k), (m, k), (m,) -> int"""
    rows = torch.arange(len(probe_class))
    change = after[rows, probe_class] - before[rows, probe_class]
    classes = range(before.shape[1])
    means = [change[probe_class == c].mean() for c in classes]
    return int(torch.stack(means).argmin())


def _probe_cases():
    g, cases = torch.Generator().manual_seed(44), []
    for what, k, m, scale, move in (("a few classes", 4, 11, 2, 1), ("many probes", 10, 200, 3, 0.5),
                                    ("one probe a class", 6, 6, 1, 1), ("two classes", 2, 7, 1, 1),
                                    ("one class", 1, 3, 1, 1), ("many classes", 30, 90, 2, 1),
                                    ("large changes", 5, 20, 1, 3), ("small changes", 8, 40, 4, 0.02),
                                    ("few probes", 7, 10, 1, 1), ("other numbers of probes", 9, 40, 2, 1)):
        which = torch.cat([torch.arange(k), torch.randint(0, k, (m - k,), generator=g)])[torch.randperm(m, generator=g)]
        z = scale * torch.randn(m, k, generator=g, dtype=torch.float64)
        moved = z + move * torch.randn(m, k, generator=g, dtype=torch.float64)
        cases.append((what, (z.softmax(1), moved.softmax(1), which)))
    return cases + [
        ("probes of high confidence",
         _pair([.9995] * 6, [.9991, .9996, .9994, .9983, .9994, .9989], [0, 1, 2, 1, 2, 0])),
        ("every class gains", _pair([.5, .6, .7, .4], [.9, .65, .9, .7], [0, 1, 2, 3])),
        ("a rise larger than every fall", _pair([.6, .3, .8, .7], [.5, .9, .6, .7], [0, 1, 2, 3])),
        ("many probes with small falls", _pair([.8] * 7, [.7] * 5 + [.5, .75], [2, 2, 2, 2, 2, 0, 1])),
        ("one probe against its class", _pair([.8] * 6, [.3, .9, .9, .6, .6, .8], [0, 0, 0, 1, 1, 2])),
        ("a small confidence halved", _pair([.1, .9, .5], [.04, .7, .5], [0, 1, 2])),
    ]


def _pair(before, after, which):
    """Probabilities of the two models: as given for the probe's class, the rest shared out."""
    which, k = torch.tensor(which), max(which) + 1
    p = [((1 - torch.tensor(v)) / (k - 1))[:, None].repeat(1, k).scatter(1, which[:, None], torch.tensor(v)[:, None])
         for v in (before, after)]
    return *p, which


def _own(p, probe_class):
    return p.gather(1, probe_class[:, None]).squeeze(1)


def _per_class(change, probe_class, k, of=torch.mean):
    return torch.stack([of(change[probe_class == c]) for c in range(k)])


def _largest_rise(before, after, probe_class):
    """The class that gained most"""
    return deleted_class(after, before, probe_class)


def _absolute_change(before, after, probe_class):
    """The class that changed most, up or down"""
    change = _own(after, probe_class) - _own(before, probe_class)
    return int(_per_class(change, probe_class, before.shape[1]).abs().argmax())


def _sum_of_probes(before, after, probe_class):
    """The sum over a class's probes instead of the mean"""
    change = _own(after, probe_class) - _own(before, probe_class)
    return int(_per_class(change, probe_class, before.shape[1], torch.sum).argmin())


def _top_confidence(before, after, probe_class):
    """The confidence of the class each model names instead of the probe's class"""
    return int(_per_class(after.amax(1) - before.amax(1), probe_class, before.shape[1]).argmin())


def _last_probe(before, after, probe_class):
    """The last probe of each class decides"""
    change = _own(after, probe_class) - _own(before, probe_class)
    return int(_per_class(change, probe_class, before.shape[1], lambda c: c[-1]).argmin())


def _first_probe(before, after, probe_class):
    """The first probe of each class decides"""
    change = _own(after, probe_class) - _own(before, probe_class)
    return int(_per_class(change, probe_class, before.shape[1], lambda c: c[0]).argmin())


def _single_fall(before, after, probe_class):
    """The class of the one probe that fell most"""
    return int(probe_class[(_own(after, probe_class) - _own(before, probe_class)).argmin()])


def _whole_columns(before, after, probe_class):
    """The mean of each column over all probes"""
    return int((after - before).mean(0).argmin())


def _relative(before, after, probe_class):
    """The change relative to the confidence before"""
    change = _own(after, probe_class) / _own(before, probe_class)
    return int(_per_class(change, probe_class, before.shape[1]).argmin())


def _after_alone(before, after, probe_class):
    """The class of the lowest confidence afterwards"""
    return int(_per_class(_own(after, probe_class), probe_class, before.shape[1]).argmin())


def _tensor(before, after, probe_class):
    """A tensor instead of an int"""
    return torch.tensor(deleted_class(before, after, probe_class))


DELETED = Exercise(
    id="5.4", title="Which class lost confidence",
    trains="reading a label from two models' answers: one entry a row, a mean for each class, a sign",
    difficulty=2, minutes=10, points=2, solution=deleted_class, cases=_probe_cases,
    hints=("Each probe was made to look like its class to the first model. A model that has lost a row of that class "
           "is a little less sure of it. Average over the probes of a class, as one probe is noisy.",
           "Δ_c = mean over the probes i of class c of (p_after[i, c] − p_before[i, c]); the answer is the c with the "
           "smallest Δ_c.",
           "Index each matrix with the row numbers and `probe_class` to get one probability a probe, and subtract. For "
           "each class take the mean of the entries where `probe_class` is that class. Give the place of the smallest "
           "as an int."),
    mistakes=(
        (_largest_rise, "you named the class that gained most: deleting a row lowers the confidence. Mind the order "
                        "of before and after, or take argmin."),
        (_absolute_change, "you took the largest change, up or down: keep the sign, as only a fall points to a "
                           "deletion."),
        (_sum_of_probes, "you added the changes of a class up, so a class with many probes seems to fall more. Take "
                         "the mean."),
        (_top_confidence, "you took each model's largest probability: take that of the class the probe was made for."),
        (_last_probe, "only the last probe of each class counts in yours: take the mean of all of them."),
        (_first_probe, "only the first probe of each class counts in yours: take the mean of all of them."),
        (_single_fall, "you named the class of the one probe that fell most. Single probes are noisy: take the mean "
                       "over each class first."),
        (_whole_columns, "you averaged whole columns over all probes: a class is judged by the probes made for it."),
        (_relative, "you divided by the confidence before: the exercise compares differences."),
        (_after_alone, "you looked at the confidence afterwards: it may have been low before. Subtract."),
        (_tensor, "your result is a tensor: end with .item() or int(…)."),
    ),
    remark="`attack.confidence_change` and `attack.deleted_classes` do this with a black box. Answers rounded to a few "
           "digits hide changes this small.",
)
