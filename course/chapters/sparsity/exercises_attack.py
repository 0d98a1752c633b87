"""Exercise of notebook 12 on the published membership attack: MIA-efficacy."""

import importlib

import numpy as np

from course.exercises.engine import Exercise

# ---------------- 12.4 mia_efficacy


def mia_efficacy(confidence_retain, confidence_test, confidence_forget):
    """Percent of the forget set that an SVC calls non-member; it learns retain against test rows. -> float"""
    from sklearn.svm import SVC

    n = min(len(confidence_retain), len(confidence_test))
    x = np.concatenate([confidence_retain[:n], confidence_test[:n]])[:, None]
    attack = SVC(C=3, gamma="auto", kernel="rbf").fit(x, np.repeat([1, 0], n))
    return float(100 * (attack.predict(confidence_forget[:, None]) == 0).mean())


def _confidence_cases():
    importlib.import_module("sklearn.svm")  # takes seconds, which should not count against the learner's
    rng, cases = np.random.default_rng(74), []
    for what, members, others, rows in (("a model that overfits", 40, 15, 60), ("few test rows", 60, 5, 50),
                                        ("one row more in the retain set", 9, 8, 90), ("equally many", 12, 12, 80),
                                        ("fewer retained than test rows", 7, 30, 80), ("many rows", 300, 100, 200)):
        retain = rng.beta(9, 1, members)
        retain[others:] = rng.beta(1, 3, len(retain[others:]))  # rows that do not count look different
        test = rng.beta(3, 1.5, others)
        test[members:] = rng.beta(9, 1, len(test[members:]))
        cases.append((what, retain, test, rng.beta(3, 1, rows)))
    cases += [
        ("a class forgotten whole", rng.beta(9, 1, 30), rng.beta(4, 2, 20), rng.beta(1, 30, 25)),
        ("a forget set still known by heart", rng.beta(9, 1, 30), rng.beta(2, 2, 20), 1 - 0.02 * rng.random(25)),
        ("members less sure than strangers", rng.beta(2, 4, 25), rng.beta(6, 1, 20), rng.random(60)),
        ("confidences close together", rng.uniform(0.6, 0.7, 20), rng.uniform(0.1, 0.35, 15), rng.random(70)),
        ("members in the middle", rng.uniform(0.4, 0.6, 20), np.r_[0.02, 0.05, 0.08, 0.9, 0.94, 0.97, 0.99],
         rng.random(80)),
        ("one row is forgotten", rng.beta(9, 1, 12), rng.beta(2, 2, 10), np.array([0.15])),
    ]
    return [(what, (retain, test, forget[_clear(retain, test, forget)])) for what, retain, test, forget in cases]


def _clear(retain, test, forget):
    """Rows off the boundary: nearer, the order of the training rows decides, as the solver stops early."""
    n = min(len(retain), len(test))
    return np.abs(_fit(retain[:n], test[:n]).decision_function(forget[:, None])) > 0.02


def _fit(members, others, **settings):
    from sklearn.svm import SVC

    x, y = np.concatenate([members, others])[:, None], np.r_[np.ones(len(members)), np.zeros(len(others))]
    return SVC(**({"C": 3, "gamma": "auto", "kernel": "rbf"} | settings)).fit(x, y)


def _strangers(members, others, rows, **settings):
    return float(100 * (_fit(members, others, **settings).predict(rows[:, None]) == 0).mean())


def _cut(retain, test):
    n = min(len(retain), len(test))
    return retain[:n], test[:n]


def _called_members(confidence_retain, confidence_test, confidence_forget):
    """The share called member"""
    return 100 - mia_efficacy(confidence_retain, confidence_test, confidence_forget)


def _share(confidence_retain, confidence_test, confidence_forget):
    """A share from 0 to 1"""
    return mia_efficacy(confidence_retain, confidence_test, confidence_forget) / 100


def _number(confidence_retain, confidence_test, confidence_forget):
    """The number of rows instead of percent"""
    return _share(confidence_retain, confidence_test, confidence_forget) * len(confidence_forget)


def _all_rows(confidence_retain, confidence_test, confidence_forget):
    """All rows of the retain set: unbalanced"""
    return _strangers(confidence_retain, confidence_test, confidence_forget)


def _all_test(confidence_retain, confidence_test, confidence_forget):
    """The retain set is cut, the test set is not"""
    return _strangers(confidence_retain[:len(confidence_test)], confidence_test, confidence_forget)


def _last_rows(confidence_retain, confidence_test, confidence_forget):
    """The last retained rows instead of the first"""
    n = min(len(confidence_retain), len(confidence_test))
    return _strangers(confidence_retain[-n:], confidence_test[:n], confidence_forget)


def _weighted(confidence_retain, confidence_test, confidence_forget):
    """All rows, with the classes weighted equally"""
    return _strangers(confidence_retain, confidence_test, confidence_forget, class_weight="balanced")


def _forget_inside(confidence_retain, confidence_test, confidence_forget):
    """The forget set stands among the members"""
    members, others = _cut(confidence_retain, confidence_test)
    return _strangers(np.concatenate([members, confidence_forget]), others, confidence_forget)


def _forget_outside(confidence_retain, confidence_test, confidence_forget):
    """The forget set stands among the non-members"""
    members, others = _cut(confidence_retain, confidence_test)
    return _strangers(members, np.concatenate([others, confidence_forget]), confidence_forget)


def _forget_only(confidence_retain, confidence_test, confidence_forget):
    """Learns forget set against test rows, and is judged on the forget set"""
    members, others = _cut(confidence_forget, confidence_test)
    return _strangers(members, others, confidence_forget)


def _accuracy(confidence_retain, confidence_test, confidence_forget):
    """The accuracy on the rows it learned from"""
    members, others = _cut(confidence_retain, confidence_test)
    return (_strangers(members, others, others) + 100 - _strangers(members, others, members)) / 2


def _test_rows(confidence_retain, confidence_test, confidence_forget):
    """The share of the test rows that is called non-member"""
    members, others = _cut(confidence_retain, confidence_test)
    return _strangers(members, others, others)


def _defaults(confidence_retain, confidence_test, confidence_forget):
    """SVC() with its default settings"""
    return _strangers(*_cut(confidence_retain, confidence_test), confidence_forget, C=1, gamma="scale")


def _default_c(confidence_retain, confidence_test, confidence_forget):
    """C is left at 1"""
    return _strangers(*_cut(confidence_retain, confidence_test), confidence_forget, C=1)


def _default_gamma(confidence_retain, confidence_test, confidence_forget):
    """gamma is left at 'scale'"""
    return _strangers(*_cut(confidence_retain, confidence_test), confidence_forget, gamma="scale")


def _linear(confidence_retain, confidence_test, confidence_forget):
    """A linear kernel"""
    return _strangers(*_cut(confidence_retain, confidence_test), confidence_forget, kernel="linear")


EFFICACY = Exercise(
    id="12.4", title="Called a non-member",
    trains="MIA-efficacy as published: who is a member, who never takes part in the fit, and what is counted",
    difficulty=3, minutes=12, points=2, solution=mia_efficacy, cases=_confidence_cases,
    hints=("The attack learns from rows whose status is known: retained rows are members, test rows are not. Only then "
           "does it see the forget set, and you count how much of it passes for unseen.",
           "MIA = 100 · #{i in D_f : attack(p_i) = non-member} / |D_f|, with p_i the probability of the true label, "
           "and the attack fitted to the first n of D_r against the first n of D_t, n = min(|D_r|, |D_t|).",
           "Cut both to the first n, join them with `np.concatenate`, and make a column of them with `[:, None]`. The "
           "targets are n ones, then n zeros. Fit `SVC(C=3, gamma=\"auto\", kernel=\"rbf\")`, predict the column of "
           "the forget set, and take the mean of what is 0, in percent."),
    mistakes=(
        (_called_members, "you counted the rows called member. Efficacy counts those called non-member."),
        (_share, "this is a share from 0 to 1. Give percent."),
        (_number, "this is a number of rows. Divide by the size of the forget set, and give percent."),
        (_all_rows, "you used all rows, so the larger side weighs more. Take the first n of both."),
        (_all_test, "you cut the retain set only. Where it is the smaller one, cut the test set to its length."),
        (_last_rows, "you took the last retained rows. The published attack takes the first."),
        (_weighted, "you used all rows and weighted the classes. The published attack takes the first n of both."),
        (_forget_inside, "the forget set is among your members, so the attack learns the answer. It must not take part "
                         "in the fit."),
        (_forget_outside, "the forget set is among your non-members, so the attack learns to call it that. It must not "
                          "take part in the fit."),
        (_forget_only, "your attack is tuned on the forget set itself. Fit it to retained against test rows."),
        (_accuracy, "this is the accuracy of the attack on the rows it learned from. Ask it about the forget set."),
        (_test_rows, "these are test rows called non-member. Ask the attack about the forget set."),
        (_defaults, "you used the default settings of `SVC`. The published attack has C = 3 and gamma 'auto'."),
        (_default_c, "your C is 1, the default. The published attack has C = 3."),
        (_default_gamma, "your gamma is 'scale', the default, which depends on the spread of the confidences. The "
                         "published attack has 'auto'."),
        (_linear, "your kernel is linear, which knows one threshold. The published attack has an rbf kernel."),
    ),
    remark="`measure.svc_mia` does this from a model and its data. The target is what the retrained model gets, not "
           "100: a row that was never seen is often called a member all the same.",
)
