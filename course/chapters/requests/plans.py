"""Plans over time: what waiting and adapting gain, and what they cost, as tables and sentences."""

import pandas as pd

from .tables import PERCENT, POINTS, ends, percent, told


def adapting(plans) -> str:
    """What the receding horizon takes off the margin beyond *spread*, in logits, as text."""
    gained = _gained(plans)
    doubt = " (not beyond doubt)" * (ends(gained, "adapting")[0] <= 0)
    return told(gained, "adapting") + doubt


def ceiling(plans, most=0.9) -> str:
    """Whether *spread* changes so many labels (a share from most on) that adapting has no room."""
    spread = plans["spread"]
    share = (spread.kept == 0).mean()
    return ("**Labels are at their ceiling here**: *spread* changes "
            f"{percent(spread.kept == 0, spread.i)}, so adapting can add at most "
            f"{100 * (1 - share):.0f} points." if share >= most else "")


def in_margins(plans) -> str:
    """What waiting, adapting and, as a part of it, looking ahead take off the margin, in logits."""
    gained = _gained(plans)
    waiting, adapting, ahead = (told(gained, k) for k in ("waiting", "adapting", "ahead"))
    return ("In margins: **waiting**, *spread* against *at once*, lowers them by "
            f"{waiting} logits; **adapting**, *receding horizon* against *spread*, by another "
            f"{adapting}" + ", which is not beyond doubt" * (ends(gained, "adapting")[0] <= 0)
            + ". Of that, looking ahead, against *greedy*, brings "
            + (ahead if gained.ahead.abs().max() > 0.01 else "nothing") + ".")


def of_plans(plans) -> pd.DataFrame:
    """What each plan of a campaign did, as text. plans: name -> rows of `over_time`."""
    return pd.DataFrame([{
        "plan": name, "rows": part.rows.mean(), "labels changed": percent(part.kept == 0, part.i),
        "margin, logits": told(part, "margin"),
        "labels of bystanders, %": told(part, "others", PERCENT),
        "test accuracy, %": told(part, "test", PERCENT)} for name, part in plans.items()])


def worn_out(plans, ours, control) -> str:
    """Whether a campaign hits its target or wears out the whole model, in two sentences."""
    there = plans[ours].assign(apart=100 * (plans[ours].kept == 0) - plans[ours].others)
    aimed = ends(there, "apart", POINTS)[0] > 0
    test, others = ({name: told(plans[name], column, PERCENT) for name in (ours, control)}
                    for column in ("test", "others"))
    return (f"The price of the {ours}: test accuracy is {test[ours]} % against {test[control]} % "
            f"after random rows, and {others[ours]} % of the bystanders have another label, too "
            f"(random rows: {others[control]} %). The targets change more often than their "
            f"bystanders, by {told(there, 'apart', POINTS)} points"
            + (": the campaign is aimed, and wears out the model besides." if aimed else
               ", not beyond doubt: the model may be worn out as a whole."))


def _gained(plans):
    m = {k: g.margin for k, g in plans.items()}
    return plans["at once"].assign(
        waiting=m["at once"] - m["spread"], adapting=m["spread"] - m["receding horizon"],
        ahead=m["greedy"] - m["receding horizon"])
