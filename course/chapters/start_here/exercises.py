"""The exercise of notebook 00."""

import torch

from course.exercises.engine import Exercise


# ---------------- 0.1 probability_of_label
def probability_of_label(logits, labels):
    """Probability of each row's own label. (n, k), (n,) -> (n,)"""
    return logits.softmax(1).gather(1, labels[:, None]).squeeze(1)


def _cases():
    g, cases = torch.Generator().manual_seed(1), []
    for what, n, k in (("more rows than classes", 30, 4), ("as many rows as classes", 6, 6),
                       ("one row", 1, 3), ("two classes", 9, 2), ("many rows", 300, 10)):
        logits = 2 * torch.randn(n, k, generator=g)
        cases.append((what, (logits, torch.randint(0, k, (n,), generator=g))))
    logits = 60 * torch.randn(8, 5, generator=g) + 300
    cases.append(("large logits", (logits, torch.randint(0, 5, (8,), generator=g))))
    return cases


PROBABILITY = Exercise(
    id="0.1", title="How sure is it of the right label?",
    trains="softmax, and picking one entry a row", difficulty=1, minutes=5, points=1,
    solution=probability_of_label, cases=_cases, any_float=True,
    hints=("Turn each row of logits into probabilities that add up to 1, then pick the label's "
           "one.",
           "pᵢ = exp(zᵢ,y) / Σₖ exp(zᵢ,k), where y is the label of row i.",
           "Call softmax along the classes. Then index with row numbers and labels together, or "
           "use gather."),
    mistakes=(
        ("gather(1, labels[:, None]).squeeze(1)", "max(1).values",
         "The largest probability instead of that of the label",
         "this is the largest probability of each row; take the one of the row's own label."),
        ("softmax(1)", "softmax(0)", "Softmax over the rows instead of the classes",
         "your probabilities add up to 1 over the rows. Normalise over the classes: dimension 1."),
        ("softmax", "log_softmax", "Log-probabilities instead of probabilities",
         "these are logarithms of probabilities, so they are below 0. Take softmax, not "
         "log_softmax."),
        ("logits.softmax", "-logits.log_softmax", "The loss of each row instead of its probability",
         "this is the loss, minus the logarithm. The exercise asks for the probability itself."),
        (".softmax(1)", "", "The label's logit, without softmax",
         "these are logits: softmax is missing."),
        (".gather(1, labels[:, None]).squeeze(1)", "[:, labels]",
         "Whole columns are picked instead of one entry a row",
         "indexing with [:, labels] picks whole columns for every row. Pick one entry a row."),
        (".squeeze(1)", "", "A column (n, 1) instead of (n,)",
         "the shape is (n, 1): squeeze the last dimension."),
        ("squeeze(1)", "mean()", "The mean over rows instead of one value a row",
         "you averaged over the rows: return one probability a row."),
    ),
    remark="Its logarithm, with a minus sign, is the loss that the network was trained on.",
)


EXERCISES = (PROBABILITY,)
