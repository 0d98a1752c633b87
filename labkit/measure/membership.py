"""Membership inference: can somebody tell from a model's answers which rows it was trained on?"""

import numpy as np

from ..base import LabError, NotForThisData
from ..training import predict
from .uncertainty import entropy


def svc_mia(model, data, forget, features="confidence", privacy=True) -> dict:
    """MIA-efficacy and MIA-privacy of Jia et al. 2023, in percent.

    An SVC (C 3, gamma 'auto', rbf) learns on the model itself to tell retain rows (the first |D_t| of them) from
    all test rows D_t, by the probability of the true label (features='confidence') or the entropy. efficacy: share
    of the forget set called non-member. The target is **retraining's value, not 100**. privacy: balanced accuracy
    of the same attack, fitted on one half of members and non-members and judged on the other; privacy=False leaves
    it out. Takes about half a second for 2 × 2,000 rows.
    """
    from sklearn.svm import SVC

    split = data.split(forget)
    train, test = (predict(model, x).cpu().double().softmax(1) for x in (data.x, data.x_test[split.test]))
    y, y_test, retain = data.y.cpu(), data.y_test[split.test].cpu(), split.retain.cpu()
    if features == "confidence":
        train, test = train.gather(1, y[:, None]), test.gather(1, y_test[:, None])
    elif features == "entropy":
        train, test = entropy(train)[:, None], entropy(test)[:, None]
    else:
        raise LabError(f"svc_mia knows the features 'confidence' and 'entropy', not {features!r}.")
    n = min(len(split.retain), len(test))
    if n < 10:
        raise NotForThisData("The SVC membership test needs at least 10 retained and 10 test rows.")
    members, others = train[retain[:n]].numpy(), test[:n].numpy()
    h = n // 2

    def attack(inside, outside):
        y = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
        return SVC(C=3, gamma="auto", kernel="rbf").fit(np.concatenate([inside, outside]), y)

    called = attack(members, others).predict(train[split.forget.cpu()].numpy())
    result = {"efficacy": 100 * float(1 - called.mean())}
    if privacy:
        half = attack(members[:h], others[:h])
        right = (half.predict(members[h:]).mean() + 1 - half.predict(others[h:]).mean()) / 2
        result["privacy"] = 100 * float(right)
    return result


