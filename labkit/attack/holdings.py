"""What an attacker may hold, and never more: own rows, a budget, and answers to queries."""

from dataclasses import dataclass, replace

import torch

from ..base import LabError
from ..data import check_forget
from ..rules import is_whole


@dataclass(frozen=True)
class Holdings:
    """A person's own training rows and how many deletions may be asked for. Made by `hold`.

    rows (m,) int64: their ids in the training set; x (m, …), y (m,): their content; n: size of the
    training set, as the provider publishes it; budget: rows that may be asked for, 1 to m.
    """

    rows: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    n: int
    budget: int

    def __len__(self):
        return len(self.rows)

    def without(self, request):
        """What is left after a request: its rows and its share of the budget are gone.

        None when the budget is spent.
        """
        request = check_request(request, self)
        left = ~torch.isin(self.rows, request)
        budget = min(self.budget - len(request), int(left.sum()))
        if budget < 1:
            return None
        return replace(self, rows=self.rows[left], x=self.x[left], y=self.y[left], budget=budget)

    def with_budget(self, budget):
        """The same rows under another budget."""
        return replace(self, budget=_checked_budget(budget, len(self)))


def hold(data, rows, budget) -> Holdings:
    """The holdings of somebody who owns `rows` of the training set: copies, never `data` itself."""
    rows = check_forget(rows, len(data.y)).to(data.x.device)
    budget = _checked_budget(budget, len(rows))
    return Holdings(rows, data.x[rows].clone(), data.y[rows].clone(), len(data.y), budget)


def check_request(request, holdings) -> torch.Tensor:
    """A deletion request as the provider checks it: own rows, each once, within budget."""
    request = check_forget(request, holdings.n).to(holdings.rows.device)
    foreign = request[~torch.isin(request, holdings.rows)]
    if len(foreign):
        raise LabError(f"The request names row {int(foreign[0])}, which the requester does not "
                       "own: only own rows can be withdrawn.")
    if len(request) > holdings.budget:
        raise LabError(f"The request has {len(request)} rows and the budget is {holdings.budget}: "
                       "ask for fewer.")
    return request


class BlackBox:
    """A model behind a counter: inputs in, probabilities out.

    No weights, no gradient, no way back to the network. queries: rows answered so far. limit: rows
    that will be answered at most, None for no limit.
    """

    __slots__ = ("_answer", "limit", "queries")

    def __init__(self, model, limit=None):
        from ..training import predict

        self._answer = lambda x: predict(model, x.detach()).softmax(1)
        self.limit, self.queries = limit, 0

    def __call__(self, x):
        """Probabilities of x. (n, …) -> (n, k), without a gradient. Counts n queries."""
        _spend(self, len(x))
        return self._answer(x)


class UnlearningOracle:
    """A provider who unlearns on trial: own rows and inputs in, probabilities thereafter out.

    Each call starts from the same deployed model. queries: trials so far. The request is checked as
    a real one is.
    """

    __slots__ = ("_answer", "holdings", "limit", "queries")

    def __init__(self, model, unlearn, holdings, limit=None):
        """unlearn: (model, rows) -> model, e.g. lambda m, rows: first_order(m, data, rows)."""
        from ..training import predict

        def answer(request, x):
            return predict(unlearn(model, request), x.detach()).softmax(1)

        self._answer, self.holdings = answer, holdings
        self.limit, self.queries = limit, 0

    def __call__(self, request, x):
        """Probabilities of x after the deletion of `request`. (b,), (n, …) -> (n, k). One query."""
        request = check_request(request, self.holdings)
        _spend(self, 1)
        return self._answer(request, x)


def _checked_budget(budget, owned):
    if not is_whole(budget) or not 1 <= budget <= owned:
        raise LabError(f"The budget is {budget!r}: give a whole number of rows from 1 to the "
                       f"{owned} that are owned.")
    return budget


def _spend(box, n):
    if box.limit is not None and box.queries + n > box.limit:
        raise LabError(f"The limit of {box.limit} queries is reached: raise it, or ask fewer "
                       "questions.")
    box.queries += n
