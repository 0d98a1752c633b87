"""Exercise of notebook 12 on how a method is judged: the disparity to retraining."""

import numpy as np

from course.exercises.engine import Exercise

# ---------------- 12.5 disparity


def disparity(method, retrained):
    """Mean of |method - retrained| over UA, MIA, RA and TA, in points. dict, dict -> float"""
    columns = ("UA", "MIA", "RA", "TA")
    return sum(abs(method[c] - retrained[c]) for c in columns) / len(columns)


def _column_cases():
    rng, cases = np.random.default_rng(75), []
    for i in range(4):
        method, retrained = ({c: float(rng.uniform(0, 100)) for c in ("UA", "MIA", "RA", "TA")} for _ in range(2))
        cases.append((f"random measures {i + 1}", (method, retrained)))
    of_class = {"UA": 100.0, "MIA": 100.0, "RA": 100.0, "TA": 94.83}  # Jia et al. 2023, one class of CIFAR-10
    same = {"UA": 14.0, "MIA": 20.0, "RA": 99.0, "TA": 86.0}
    return cases + [
        ("fine-tuning, a class forgotten", ({"UA": 22.53, "MIA": 75.0, "RA": 99.87, "TA": 94.31}, of_class)),
        ("differences that cancel", ({"UA": 20.0, "MIA": 14.0, "RA": 95.0, "TA": 90.0}, same)),
        ("the retrained model itself", (dict(same), same)),
        ("forgotten more than by retraining", (same | {"UA": 60.0, "MIA": 80.0}, same)),
        ("a column too many", (same | {"RTE": 2.5, "RA": 97.0}, same | {"RTE": 43.0})),
        ("another order of the columns", ({"TA": 80.0, "RA": 90.0, "MIA": 31.0, "UA": 11.0}, same)),
    ]


def _off(method, retrained, columns=("UA", "MIA", "RA", "TA")):
    return np.array([method[c] - retrained[c] for c in columns])


def _signed(method, retrained):
    """Signed differences, which cancel"""
    return float(_off(method, retrained).mean())


def _late_abs(method, retrained):
    """The absolute value of the mean instead of the mean of absolute values"""
    return float(abs(_off(method, retrained).mean()))


def _summed(method, retrained):
    """The sum instead of the mean"""
    return float(abs(_off(method, retrained)).sum())


def _squares(method, retrained):
    """The mean of the squares"""
    return float((_off(method, retrained) ** 2).mean())


def _root(method, retrained):
    """The root of the mean square"""
    return _squares(method, retrained) ** 0.5


def _largest(method, retrained):
    """The largest difference"""
    return float(abs(_off(method, retrained)).max())


def _ua_alone(method, retrained):
    """UA alone"""
    return abs(method["UA"] - retrained["UA"])


def _without_mia(method, retrained):
    """The mean over UA, RA and TA, without MIA"""
    return float(abs(_off(method, retrained, ("UA", "RA", "TA"))).mean())


def _all_columns(method, retrained):
    """Every column is averaged, also the run time"""
    return float(abs(_off(method, retrained, list(method))).mean())


def _by_place(method, retrained):
    """Columns are paired by their place instead of their name"""
    pairs = list(zip(method.values(), retrained.values(), strict=True))[:4]
    return sum(abs(a - b) for a, b in pairs) / len(pairs)


def _from_full(method, retrained):
    """The distance to 100 instead of to the retrained model"""
    return float(abs(_off(method, dict.fromkeys(method, 100.0))).mean())


def _relative(method, retrained):
    """Relative to the retrained model, in percent of it"""
    return float(np.mean([100 * abs(method[c] - retrained[c]) / retrained[c] for c in ("UA", "MIA", "RA", "TA")]))


def _share(method, retrained):
    """A share instead of points"""
    return disparity(method, retrained) / 100


DISPARITY = Exercise(
    id="12.5", title="The distance to retraining, over four measures",
    trains="a method is judged by its distance to retraining, forgetting and usefulness together",
    difficulty=1, minutes=5, points=1, solution=disparity, cases=_column_cases,
    hints=("In each column too much is as bad as too little: what counts is how far the method is from the retrained "
           "model. The four columns count alike.",
           "disparity = ¼ (|UA − UA*| + |MIA − MIA*| + |RA − RA*| + |TA − TA*|), with the star for the retrained "
           "model of the same sparsity.",
           "Go through the four names. Take `abs` of each difference, add them up, and divide by four."),
    mistakes=(
        (_signed, "your differences keep their signs, so too much and too little cancel. Take absolute values."),
        (_late_abs, "you took the absolute value after averaging, when the differences had already cancelled. Take it "
                    "of each difference first."),
        (_summed, "you added the four differences up: take their mean."),
        (_squares, "you squared the differences. Take absolute values, so that the result is in points."),
        (_root, "you took the root of the mean square, in which one large difference weighs more. Take the mean of "
                "absolute values."),
        (_largest, "this is the largest of the four differences: take their mean."),
        (_ua_alone, "you looked at UA alone. A model that forgets everything has a high UA too: take all four."),
        (_without_mia, "MIA is missing: this is the gap of exercise 1.3. Average over four columns."),
        (_all_columns, "you averaged every column, also the run time. Take UA, MIA, RA and TA only."),
        (_by_place, "you paired the columns by their place. Look each up by its name."),
        (_from_full, "you measured the distance to 100. The retrained model is the goal, and it rarely has 100."),
        (_relative, "you divided by the retrained model's value. Disparity is in points, not relative."),
        (_share, "you divided by 100. Disparity is in points, as its columns are."),
    ),
    remark="`measure.disparity` does the same. For a pruned network the retrained model has the same sparsity. That "
           "one is weaker than the dense one, so a smaller disparity is not yet a better model.",
)
