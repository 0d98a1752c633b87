"""Membership inference: can somebody tell from a model's answers which rows it was trained on?"""

import numpy as np

from ..base import LabError, NotForThisData
from ..training import predict
from .uncertainty import entropy


def svc_mia(model, data, forget, features="confidence", privacy=True) -> dict:
    """MIA-efficacy and MIA-privacy of Jia et al. 2023, in percent.

    An SVC (C 3, gamma 'auto', rbf) learns on the model itself to tell retain rows (the first |D_t|
    of them) from all test rows D_t, by the probability of the true label (features='confidence') or
    the entropy. efficacy: share of the forget set called non-member. The target is **retraining's
    value, not 100**. privacy: balanced accuracy of the same attack, fitted on one half of members
    and non-members and judged on the other; privacy=False leaves it out. Takes about half a second
    for 2 × 2,000 rows.
    """
    if features not in ("confidence", "entropy"):
        raise LabError(f"svc_mia knows the features 'confidence' and 'entropy', not {features!r}.")
    split = data.split(forget)
    train = _feature(predict(model, data.x), data.y, features)
    test = _feature(predict(model, data.x_test[split.test]), data.y_test[split.test], features)
    n = min(len(split.retain), len(test))
    if n < 10:
        raise NotForThisData("The SVC membership test needs at least 10 retained and 10 test rows.")
    members, others, h = train[split.retain[:n].cpu().numpy()], test[:n], n // 2
    called = _svc(members, others).predict(train[split.forget.cpu().numpy()])
    result = {"efficacy": 100 * float(1 - called.mean())}
    if privacy:
        half = _svc(members[:h], others[:h])
        right = (half.predict(members[h:]).mean() + 1 - half.predict(others[h:]).mean()) / 2
        result["privacy"] = 100 * float(right)
    return result


def _feature(logits, labels, kind):
    p = logits.cpu().double().softmax(1)
    found = entropy(p)[:, None] if kind == "entropy" else p.gather(1, labels.cpu()[:, None])
    return found.numpy()


def _svc(members, others):
    from sklearn.svm import SVC

    y = np.r_[np.ones(len(members)), np.zeros(len(others))]
    return SVC(C=3, gamma="auto", kernel="rbf").fit(np.concatenate([members, others]), y)
