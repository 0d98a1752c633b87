"""Exercise of notebook 02 on the ensemble: a majority vote whose ties are decided."""

import torch
import torch.nn.functional as F

from course.exercises.engine import Exercise

# ---------------- 2.3 majority


def majority(logits):
    """The class with most votes; of tied ones, that with the largest mean probability. (S, n, k) -> (n,) int64"""
    votes = F.one_hot(logits.argmax(2), logits.shape[2]).sum(0)
    mean = logits.softmax(2).mean(0)
    fewer = votes < votes.max(1, keepdim=True).values
    return mean.masked_fill(fewer, -1).argmax(1)


def _probabilities(*rows):
    """Logits (S, 1, k) of members that give these probabilities to one row."""
    return torch.tensor(rows).log()[:, None]


def _member_cases():
    g = torch.Generator().manual_seed(24)
    cases = [
        ("two unsure members against one sure one", (_probabilities([.5, .3, .2], [.5, .3, .2], [.05, .9, .05]),)),
        ("two against two, the later class surer", (_probabilities([.4, .3, .3], [.4, .3, .3], [.1, .1, .8],
                                                                    [.1, .1, .8]),)),
        ("two members that disagree, and a class both like", (_probabilities([.5, .45, .05], [.02, .47, .51]),)),
        ("a tie, with one member's logits far larger", (torch.tensor([[[40., 0, 0]], [[9., 10, -90]], [[0., 3, 0]],
                                                                      [[2., 1, 0]]]),)),
    ]
    for what, s, n, k in (("more rows than members", 4, 60, 5), ("more members than rows", 7, 3, 4),
                          ("two members", 2, 30, 3), ("one member", 1, 12, 4), ("two classes", 6, 25, 2),
                          ("one row", 5, 1, 6), ("many members", 20, 50, 8)):
        cases.append((what, (torch.randn(s, n, k, generator=g) * (0.5 + 3 * torch.rand(s, 1, 1, generator=g)),)))
    cases.append(("negative logits", (cases[4][1][0] - 30,)))
    return cases


def _votes(logits):
    return F.one_hot(logits.argmax(2), logits.shape[2]).sum(0)


def _tied(logits):
    votes = _votes(logits)
    return votes == votes.max(1, keepdim=True).values


def _mean_probability(logits):
    """No vote: the largest mean probability"""
    return logits.softmax(2).mean(0).argmax(1)


def _mean_logit(logits):
    """No vote: the largest mean logit"""
    return logits.mean(0).argmax(1)


def _lowest_class(logits):
    """Of tied classes the one with the lowest number"""
    return _tied(logits).long().argmax(1)


def _over_rows(logits):
    """The votes are added up over the rows instead of the members"""
    return F.one_hot(logits.argmax(2), logits.shape[2]).sum(1).argmax(1)


def _tie_by_logits(logits):
    """Ties are decided by the mean logit"""
    return logits.mean(0).masked_fill(~_tied(logits), float("-inf")).argmax(1)


def _tie_by_all(logits):
    """On a tie, the largest mean probability of all classes"""
    tied = _tied(logits)
    return torch.where(tied.sum(1) > 1, logits.softmax(2).mean(0).argmax(1), tied.long().argmax(1))


def _tie_by_first(logits):
    """On a tie, the vote of the first member"""
    tied, first = _tied(logits), logits[0].argmax(1)
    return torch.where(tied.gather(1, first[:, None])[:, 0], first, tied.long().argmax(1))


def _number_of_votes(logits):
    """The number of votes instead of the class"""
    return _votes(logits).max(1).values


MAJORITY = Exercise(
    id="2.3", title="A vote, and its ties", trains="aggregating members; a vote is not a mean, and ties are common",
    difficulty=3, minutes=12, points=2, solution=majority, cases=_member_cases,
    hints=("Each member votes for its largest logit, and only the classes with most votes stay in the race. Where more "
           "than one is left, look at the members' probabilities.",
           "v(c) = #{s : argmax logits_s = c} and p(c) = mean over s of softmax(logits_s)(c). Predict the class with "
           "the largest p(c) among those with v(c) = max v.",
           "Make the votes one-hot with `F.one_hot` and add them up over the members. Take the softmax over the "
           "classes and its mean over the members. Set that mean to −1 where a class has fewer votes than the best "
           "one (`masked_fill`), and take the argmax of each row."),
    mistakes=(
        (_mean_probability, "you took the mean of the probabilities: one sure member outweighs two unsure ones. In a "
                            "vote each counts the same."),
        (_mean_logit, "you took the mean of the logits: that is no vote, and a member with larger logits counts more. "
                      "Let each one choose a class first."),
        (_lowest_class, "your ties go to the class with the lowest number: let the mean probability decide."),
        (_over_rows, "you added the votes up over the rows: add them up over the members, dimension 0."),
        (_tie_by_logits, "your ties are decided by the mean logit: take the softmax first, as logits of different "
                         "members have no common scale."),
        (_tie_by_all, "on a tie you look at all classes: only those with most votes are still in the race."),
        (_tie_by_first, "on a tie you follow the first member: no member may count more than another."),
        (_number_of_votes, "you returned how many votes the winner has: return its class."),
    ),
    remark="`sisa.aggregate(logits, \"vote\")` decides in the same way. With two classes and an even number of members "
           "a tie is common: an odd number avoids it.",
)
