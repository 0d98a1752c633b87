"""Markets: rows of a data set, owners in shards, one model a shard, a majority vote.

A model is fitted once for each subset of a shard's owners; every coalition is a sum of votes.
"""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from torch.nn.functional import adaptive_avg_pool2d

from .games import Game, subsets

MODELS = {"svm": lambda: SVC(gamma="scale"), "logistic": lambda: LogisticRegression(max_iter=200)}


@dataclass(frozen=True)
class Pool:
    """Rows to draw markets from: x, y for owners and validation, x_test, y_test, classes k."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    k: int


def pool(data, side=7):
    """Rows as vectors; pictures averaged down to side x side numbers a channel."""
    flat = [(adaptive_avg_pool2d(x, side) if x.dim() == 4 else x).flatten(1).cpu().numpy()
            for x in (data.x, data.x_test)]
    return Pool(flat[0], data.y.cpu().numpy(), flat[1], data.y_test.cpu().numpy(), data.n_classes)


@dataclass(frozen=True)
class Market:
    """Owners with rows, in shards. rows: a list of index arrays, one an owner. of: their shards.

    votes: by shard, one-hot answers (2^|d|, judging rows, k) of the model of each subset, nothing
    for the empty one. The first `valid` judging rows make the utility, the others are the test.
    """

    x: np.ndarray
    y: np.ndarray
    rows: list
    of: np.ndarray
    judge_x: np.ndarray
    judge_y: np.ndarray
    valid: int
    k: int
    model: str = "svm"
    votes: tuple = ()
    spare: np.ndarray = None  # rows that nobody holds

    def right(self, coalitions):
        """Which judging rows the vote of these coalitions gets right. bool (t, n) -> (t, rows)"""
        count, votes = None, self.votes
        for j, table in enumerate(votes):
            own = np.flatnonzero(self.of == j)
            part = table[coalitions[:, own] @ (1 << np.arange(len(own)))]
            count = part.copy() if count is None else count + part
        return (count.argmax(2) == self.judge_y) & count.any(2)  # ties: the lower class

    def accuracy(self, coalitions, test=False):
        """Share of validation (or test) rows right, 0 where nobody votes. bool (t, n) -> (t,)"""
        part = slice(self.valid, None) if test else slice(None, self.valid)
        coalitions = np.asarray(coalitions)
        unique, at = np.unique(np.packbits(coalitions, axis=1), axis=0, return_inverse=True)
        rows = np.unpackbits(unique, axis=1, count=coalitions.shape[1]).astype(bool)
        found = [self.right(rows[i:i + 500])[:, part].mean(1) for i in range(0, len(rows), 500)]
        return np.concatenate(found)[at.ravel()]

    def game(self):
        return Game(self.of, self.accuracy)

    def fitted(self, shards=None):
        """The market with the answers of all models; `shards`: fit only these anew."""
        every, votes = range(self.of.max() + 1), list(self.votes)
        for j in every if shards is None else shards:
            fresh = self._table(np.flatnonzero(self.of == j))
            votes[j:j + 1] = [fresh]
        return replace(self, votes=tuple(votes))

    def _table(self, own):
        found = np.zeros((2**len(own), len(self.judge_y), self.k), np.int8)
        for s, inside in enumerate(subsets(len(own))):
            if s:
                rows = np.concatenate([self.rows[i] for i in own[inside]])
                answers = fit(self.model, self.x[rows], self.y[rows], self.judge_x)
                found[s, np.arange(len(answers)), answers] = 1
        return found


def fit(model, x, y, asked):
    """Answers of a model to `asked`; with one class in y it always answers that."""
    if len(np.unique(y)) == 1:
        return np.full(len(asked), y[0])
    return MODELS[model]().fit(x, y).predict(asked)


def make(pool, rng, owners=30, shards=5, each=4, judging=(300, 300), model="svm"):
    """A market of rows drawn at random, owners dealt to shards at random; not fitted yet."""
    valid = min(judging[0], 3 * (len(pool.y) - owners * each) // 4)
    test = min(judging[1], len(pool.y_test))
    order, asked = rng.permutation(len(pool.y)), rng.permutation(len(pool.y_test))[:test]
    held, kept = order[valid:valid + owners * each], order[:valid]
    return Market(pool.x, pool.y, np.split(held, owners), rng.permutation(owners) % shards,
                  np.concatenate([pool.x[kept], pool.x_test[asked]]),
                  np.concatenate([pool.y[kept], pool.y_test[asked]]), valid, pool.k, model,
                  spare=order[valid + owners * each:])


def again(market, rng, shards):
    """The same owners and rows, dealt to another number of shards."""
    return replace(market, of=rng.permutation(len(market.of)) % shards, votes=()).fitted()


def joined(market, rows, shard):
    """The market with one more name that holds these rows in this shard."""
    return replace(market, rows=[*market.rows, rows], of=np.append(market.of, shard))


def holding(market, owner, rows):
    """The market where this owner holds these rows instead."""
    return replace(market, rows=[rows if i == owner else r for i, r in enumerate(market.rows)])
