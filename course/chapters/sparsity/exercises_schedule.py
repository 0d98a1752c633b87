"""Exercise of notebook 12 on l1-sparse unlearning: the schedule of its strength."""

from course.exercises.engine import Exercise

# ---------------- 12.2 l1_strength


def l1_strength(epoch, epochs, gamma, no_l1_epochs=0):
    """The decaying strength of the l1 norm in epoch 0, 1, …; 0 in the last no_l1_epochs. -> float"""
    share = epoch / (epochs - no_l1_epochs)
    return gamma * max(0.0, 1 - share)


def _epoch_cases():
    return [
        ("the first epoch", (0, 10, 5e-4, 0)),
        ("the second epoch", (1, 10, 5e-4, 0)),
        ("the last epoch", (9, 10, 2e-3, 0)),
        ("the middle", (5, 10, 1.0, 0)),
        ("one epoch in all", (0, 1, 0.3, 0)),
        ("the first epoch, some without l1", (0, 10, 1e-3, 4)),
        ("an early epoch, some without l1", (2, 10, 1e-3, 4)),
        ("the last epoch with l1", (5, 10, 1e-3, 4)),
        ("the first epoch without l1", (6, 10, 1e-3, 4)),
        ("the second epoch without l1", (7, 10, 1e-3, 4)),
        ("the last epoch, without l1", (9, 10, 1e-3, 4)),
        ("one epoch without l1", (3, 7, 0.5, 1)),
        ("only one epoch with l1", (0, 8, 0.02, 7)),
        ("only the first epoch had l1", (1, 8, 0.02, 7)),
        ("a strength of 0", (1, 4, 0.0, 0)),
        ("a large strength", (3, 12, 40.0, 2)),
    ]


def _growing(epoch, epochs, gamma, no_l1_epochs=0):
    """The strength grows from 0"""
    end = epochs - no_l1_epochs
    return gamma * epoch / end if epoch < end else 0.0


def _constant(epoch, epochs, gamma, no_l1_epochs=0):
    """The strength stays the same while there is l1"""
    return gamma if epoch < epochs - no_l1_epochs else 0.0


def _all_epochs(epoch, epochs, gamma, no_l1_epochs=0):
    """no_l1_epochs is not used"""
    return l1_strength(epoch, epochs, gamma)


def _cut(epoch, epochs, gamma, no_l1_epochs=0):
    """Decays over all epochs and is cut to 0 at the end"""
    return l1_strength(epoch, epochs, gamma) if epoch < epochs - no_l1_epochs else 0.0


def _from_one(epoch, epochs, gamma, no_l1_epochs=0):
    """Counts epochs from 1"""
    return l1_strength(epoch + 1, epochs, gamma, no_l1_epochs)


def _to_zero(epoch, epochs, gamma, no_l1_epochs=0):
    """The last epoch with l1 has strength 0 already"""
    return gamma * max(0.0, 1 - epoch / max(1, epochs - no_l1_epochs - 1))


def _negative(epoch, epochs, gamma, no_l1_epochs=0):
    """Goes below 0 in the last epochs"""
    return gamma * (1 - epoch / (epochs - no_l1_epochs))


def _turned(epoch, epochs, gamma, no_l1_epochs=0):
    """The absolute value: it grows again in the last epochs"""
    return abs(gamma * (1 - epoch / (epochs - no_l1_epochs)))


def _warm_up(epoch, epochs, gamma, no_l1_epochs=0):
    """The first epochs are without l1 instead of the last"""
    return l1_strength(epoch - no_l1_epochs, epochs - no_l1_epochs, gamma) if epoch >= no_l1_epochs else 0.0


def _factor(epoch, epochs, gamma, no_l1_epochs=0):
    """The factor without gamma"""
    return l1_strength(epoch, epochs, 1.0, no_l1_epochs)


def _added(epoch, epochs, gamma, no_l1_epochs=0):
    """E + no_l1_epochs in the denominator"""
    return l1_strength(epoch, epochs + no_l1_epochs, gamma)


SCHEDULE = Exercise(
    id="12.2", title="A strength that decays",
    trains="the l1 schedule: where it starts, where it ends, and what the last epochs are for",
    difficulty=1, minutes=6, points=1, solution=l1_strength, cases=_epoch_cases, atol=1e-10,
    hints=("Press weights towards 0 at first, and let the network recover at the end. The line falls from gamma in "
           "epoch 0 and would reach 0 in the first epoch without l1; there it stays.",
           "γ_e = γ max(0, 1 − e / (E − E₀)), with e = 0, 1, …, the number of epochs E, and the last E₀ of them "
           "without l1.",
           "Divide the epoch by the number of epochs that have l1. Take this from 1, replace what is negative by 0, "
           "and multiply by gamma."),
    mistakes=(
        (_growing, "your strength grows. It should be gamma in epoch 0 and decay."),
        (_constant, "your strength does not decay. Let it fall along a line."),
        (_all_epochs, "`no_l1_epochs` is not used. Your line should reach 0 that many epochs before the end."),
        (_cut, "your line decays over all epochs and is then cut off. It should reach 0 where the epochs without l1 "
               "begin."),
        (_from_one, "your epochs count from 1. The first is epoch 0 and has the full gamma."),
        (_to_zero, "the last epoch with l1 should still have a little. The line reaches 0 one epoch later."),
        (_negative, "your strength is negative in the last epochs, which rewards large weights. Stop at 0."),
        (_turned, "your strength grows again in the last epochs. It should stay 0 there."),
        (_warm_up, "your first epochs are without l1. The last ones should be."),
        (_factor, "this is the factor alone. Multiply by gamma."),
        (_added, "you added the epochs without l1 to the number of epochs. Take them off."),
    ),
    remark="`unlearn.l1_strength` knows the growing and the constant schedule too. The paper keeps the decaying one.",
)
