"""Was this row deleted? An attack on the answers of two versions of a model (Chen et al. 2021).

Positives are rows that a version before knew and the version after does not; negatives were in
neither. The attacker makes shadow versions of its own, with a real retraining for every deletion,
learns from the answers of both, and is judged on another person's versions.
"""

import numpy as np

from labkit.base import LabError

FEATURES = ("difference", "sorted difference", "sorted log difference", "distance",
            "concatenation", "sorted concatenation")


def features(before, after, kind: str) -> np.ndarray:
    """What an attack model sees of the answers of two versions, (n, k) each. -> (n, f).

    'sorted …': classes in the order of the version before, the least likely first, so that a
    feature means the same for every label. 'sorted log difference' compares logarithms, in which
    small probabilities count as much as large ones (ours). Source: Chen et al. 2021, Section 3.
    """
    before, after = np.asarray(before, float), np.asarray(after, float)
    if before.shape != after.shape or before.ndim != 2:
        raise LabError(f"The versions' answers have the shapes {before.shape} and {after.shape}: "
                       "give (n, k) of both, for the same rows.")
    if kind not in FEATURES:
        raise LabError(f"There are no features {kind!r}: choose one of {', '.join(FEATURES)}.")
    if kind.startswith("sorted"):
        order = before.argsort(1, kind="stable")
        before, after = (np.take_along_axis(p, order, 1) for p in (before, after))
    if "log" in kind:
        before, after = (np.log(p.clip(1e-12)) for p in (before, after))
    if kind == "distance":
        return np.linalg.norm(before - after, axis=1, keepdims=True)
    return before - after if "difference" in kind else np.hstack([before, after])


def attack_model(name: str, seed: int = 0):
    """An untrained classifier: 'logistic', 'forest' or 'network', on standardised features.

    The scale is learned from the training rows alone: the published code learns it again from
    each query, which turns a single row into zeros.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    models = {"logistic": lambda: LogisticRegression(max_iter=500),
              "forest": lambda: RandomForestClassifier(100, min_samples_leaf=10,
                                                       random_state=seed, n_jobs=1),
              "network": lambda: MLPClassifier((32,), early_stopping=True, random_state=seed)}
    if name not in models:
        raise LabError(f"There is no attack model {name!r}: choose one of {', '.join(models)}.")
    return make_pipeline(StandardScaler(), models[name]())


def score(model, seen) -> np.ndarray:
    """How likely each row was deleted, in the fitted model's eyes. (n, f) -> (n,)."""
    return model.predict_proba(seen)[:, 1]


def classic(before) -> np.ndarray:
    """The attack on one version alone: its answers, sorted, the likeliest last. (n, k) -> (n, k).

    Source: Salem et al. 2019, as the baseline of Chen et al. 2021.
    """
    return np.sort(np.asarray(before, float), 1)
