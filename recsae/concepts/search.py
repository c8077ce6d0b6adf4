"""The search for the predicate that best predicts when a latent is active.

Thousands of predicates are tried for each latent, so the best of them looks better than it is. The
search half of the construction users gives a few finalists: the best predicate of each kind, alone,
and pairs of which both or either must be true. The confirm half compares these few, and plainer
kinds win unless others are clearly better. Held-out users have no part in it.

A *column* is one value in one view; its *steps*, from 1, are its thresholds.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.capture.cases import spread
from recsae.concepts.predicates import Columns, Predicates, balanced_accuracy

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

N_FIRSTS = 3
"""Columns whose best predicates are tried as the first of a pair: bounds the search for pairs."""
PAIR_COST = 0.02
"""A pair must beat the best single predicate by so much balanced accuracy."""
STANDARD_ERRORS = 2.0
"""A pair must also beat it by so many standard errors, over users of the confirm half."""
EITHER_COST = 0.05
"""The same as ``PAIR_COST`` for pairs joined by "or": at .02 a fifth of the verified labels on
ml-1m were such, and read as arbitrary; at .05 one in eleven."""
MAX_PAIR_CASES = 4_000
"""Cases, where a pair's first predicate is true, that are used at most to find its second."""


class HalfOfUsers(NamedTuple):
    """Predicates on the cases of half the users; ``user (n,)`` numbers them, ascending."""

    predicates: Predicates
    user: NDArray[np.int64]


class Choice(NamedTuple):
    """One predicate or a pair for each latent: ``(m,)`` each, or ``(m, F)`` for F finalists.

    ``first`` and ``second`` are columns, -1 where there is no second predicate and, as first, for a
    latent that was never active. Steps count from 1. ``either`` is 1 where one of the two being
    true is enough.
    """

    first: NDArray[np.int64]
    step: NDArray[np.int64]
    negated: NDArray[np.int64]
    second: NDArray[np.int64]
    second_step: NDArray[np.int64]
    second_negated: NDArray[np.int64]
    either: NDArray[np.int64]

    def at(self, where: object) -> Choice:
        """The choices at an index."""
        return Choice(*(column[where] for column in self))  # type: ignore[call-overload]


class Kinds(NamedTuple):
    """The kind of each column, ``of (C,)`` from 0 on, and the cost of each kind.

    ``cost (n_kinds,)`` is by how much balanced accuracy a kind must beat the plainest, kind 0. The
    second predicate of a pair is of a kind that costs at most half of the dearest.
    """

    of: NDArray[np.int64]
    cost: NDArray[np.float64]

    @property
    def seconds(self) -> NDArray[np.int64]:
        """Columns that may be the second of a pair."""
        return np.flatnonzero(self.cost[self.of] <= self.cost.max() / 2)


def choose(
    halves: tuple[HalfOfUsers, HalfOfUsers],
    active: tuple[scipy.sparse.csc_matrix, ...],
    kinds: Kinds,
) -> Choice:
    """Choose a predicate, or a pair, for every latent.

    Parameters
    ----------
    halves
        The search half and the confirm half: different users, same columns.
    active
        ``(n, m)`` of both halves, sorted: what is stored is active.
    """
    search, confirm = halves
    singles, firsts = _singles(search.predicates, active[0], kinds)
    pairs = _pairs(search.predicates, active[0], firsts, kinds.seconds)
    finalists = Choice(*(np.column_stack(columns) for columns in zip(singles, pairs, strict=True)))
    cost = kinds.cost[kinds.of[finalists.first]]
    cost = np.where(finalists.second >= 0, np.maximum(cost, PAIR_COST), cost)
    cost = np.where(finalists.either > 0, np.maximum(cost, EITHER_COST), cost)
    m = len(cost)
    best = [
        _confirmed(confirm, finalists.at(latent), cost[latent], _rows(active[1], latent))
        for latent in range(m)
    ]
    chosen = finalists.at((np.arange(m), np.array(best, dtype=np.int64)))
    ever_active = sum(np.diff(half.indptr) for half in active) > 0
    return chosen._replace(first=np.where(ever_active, chosen.first, -1))


def _rows(active: scipy.sparse.csc_matrix, latent: int) -> NDArray[np.int32]:
    """Cases where a latent is active."""
    rows: NDArray[np.int32] = active.indices[active.indptr[latent] : active.indptr[latent + 1]]
    return rows


def _youden(
    both: NDArray[Any], predicted: NDArray[Any], positives: int, n: int
) -> NDArray[np.float64]:
    """Youden's J, twice balanced accuracy less 1: sensitivity minus the false-positive rate."""
    right, wrong = 1 / max(positives, 1), 1 / max(n - positives, 1)
    return both * (right + wrong) - predicted * wrong


def _singles(
    predicates: Predicates, active: scipy.sparse.csc_matrix, kinds: Kinds
) -> tuple[Choice, Choice]:
    """The best predicate of each kind ``(m, n_kinds)``, and the best few to begin pairs with.

    Predicates that are true of no case or of every one are left out, unless there are no others.
    """
    n, m = active.shape
    columns, predicted = predicates.columns, predicates.total()
    varies = (predicted > 0) & (predicted < n)
    of = kinds.of[columns.column]
    groups = [np.flatnonzero(varies & (of == kind)) for kind in range(len(kinds.cost))]
    groups = [group for group in groups if len(group)] or [np.arange(len(predicted))]
    best = np.empty((m, len(groups)), dtype=np.int64)
    negated = np.zeros((m, len(groups)), dtype=np.int64)
    begin = np.empty((m, min(N_FIRSTS, len(columns.view))), dtype=np.int64)
    for latent in range(m):
        rows = _rows(active, latent)
        youden = _youden(predicates.among(rows), predicted, len(rows), n)
        for number, group in enumerate(groups):
            of_group = youden[group]
            high, low = of_group.argmax(), of_group.argmin()
            negated[latent, number] = -of_group[low] > of_group[high] + 1e-9
            best[latent, number] = group[low if negated[latent, number] else high]
        youden[~varies] = -1
        begin[latent] = _best_of_columns(youden, columns, begin.shape[1])
    none, zero = np.full(best.shape, -1), np.zeros(best.shape, dtype=np.int64)
    singles = Choice(columns.column[best], columns.step[best], negated, none, zero, zero, zero)
    strict = columns.step[begin]
    wider = np.maximum(strict - 1, 1)  # true of more cases, for the second to narrow down
    first, step = np.tile(columns.column[begin], 2), np.column_stack([strict, wider])
    blank = np.zeros(first.shape, dtype=np.int64)
    return singles, Choice(first, step, blank, blank - 1, blank, blank, blank)


def _best_of_columns(
    youden: NDArray[np.float64], columns: Columns, number: int
) -> NDArray[np.int64]:
    """The best predicate of each of the best columns, best first."""
    chosen = np.empty(number, dtype=np.int64)
    rest = youden.copy()
    for place in range(number):
        chosen[place] = best = int(rest.argmax())
        column = columns.column[best]
        rest[columns.start[column] : columns.start[column + 1]] = -np.inf
    return chosen


def _pairs(
    predicates: Predicates,
    active: scipy.sparse.csc_matrix,
    firsts: Choice,
    seconds: NDArray[np.int64],
) -> Choice:
    """The best "both" and "either" ``(m, 2)`` that begin with one of the firsts ``(m, F)``.

    Of the cases where a first predicate is true, at most ``MAX_PAIR_CASES`` are counted.
    """
    n, m = active.shape
    narrow = predicates.of_columns(seconds)
    latent, key = np.repeat(np.arange(m), firsts.first.shape[1]), firsts.first.ravel()
    key = predicates.columns.start[key] + firsts.step.ravel() - 1
    order = np.lexsort((latent, key))
    key, latent = key[order], latent[order]
    bounds = np.flatnonzero(np.r_[True, key[1:] != key[:-1], True])
    value = np.full((2, m), -np.inf)
    best = np.zeros((len(Choice._fields), 2, m), dtype=np.int64)
    Choice(*best).second[:] = -1
    single = np.empty((m, len(narrow.columns.column)), dtype=np.float32)
    total = narrow.total()
    for j in range(m):
        rows = _rows(active, j)
        single[j] = _youden(narrow.among(rows), total, len(rows), n)
    inside = np.zeros(n, dtype=bool)
    for start, stop in pairwise(bounds.tolist()):
        first = key[start]
        column, step = predicates.columns.column[first], predicates.columns.step[first]
        true = np.sort(predicates.rows(column, step))
        inside[true] = True
        sample = true[spread(len(true), MAX_PAIR_CASES)]
        predicted = narrow.among(sample) * (len(true) / max(len(sample), 1))
        for j in np.unique(latent[start:stop]).tolist():
            rows = _rows(active, j)
            hits = rows[inside[rows]]
            some = hits[spread(len(hits), MAX_PAIR_CASES)]
            both_active = narrow.among(some) * (len(hits) / max(len(some), 1))
            both = _youden(both_active, predicted, len(rows), n)
            # "first and not second" is the first alone less "both"
            alone = _youden(np.array(len(hits)), np.array(len(true)), len(rows), n)
            either = alone + single[j] - both
            for kind, negated, where, youden in (
                (0, 0, both.argmax(), both.max()),
                (0, 1, both.argmin(), alone - both.min()),
                (1, 0, either.argmax(), either.max()),
            ):
                if youden > value[kind, j] + 1e-9:
                    value[kind, j] = youden
                    second = seconds[narrow.columns.column[where]], narrow.columns.step[where]
                    best[:, kind, j] = column, step, 0, *second, negated, kind
        inside[true] = False
    return Choice(*(row.T for row in best))


def truth(predicates: Predicates, chosen: Choice) -> NDArray[np.bool_]:
    """``(F, n)`` whether each of F predicates is true of each case."""

    def true_of(column: int, step: int, negated: int) -> NDArray[np.bool_]:
        true = np.full(predicates.reached.shape[0], bool(negated))
        true[predicates.rows(column, step)] = not negated
        return true

    truth = np.ones((len(chosen.first), predicates.reached.shape[0]), dtype=bool)
    for number, (*first, c2, step2, negated2, either) in enumerate(zip(*chosen, strict=True)):
        truth[number] = true_of(*first)
        if c2 >= 0:
            both_or_either = np.logical_or if either else np.logical_and
            both_or_either(truth[number], true_of(c2, step2, negated2), out=truth[number])
    return truth


def _confirmed(
    confirm: HalfOfUsers, finalists: Choice, cost: NDArray[np.float64], rows: NDArray[np.int32]
) -> int:
    """Index of the best of the finalists ``(F,)`` for a latent that is active in these cases."""
    predicted = truth(confirm.predicates, finalists)
    hit, n = predicted[:, rows], predicted.shape[1]
    accuracy = balanced_accuracy(hit.sum(1), predicted.sum(1), np.array(len(rows)), n)
    net = accuracy - cost
    plain = finalists.second < 0
    single = int(np.where(plain, net, -np.inf).argmax())
    pair = int(np.where(plain, -np.inf, net).argmax())
    if plain.all() or net[pair] <= net[single] or not len(rows):
        return single
    n_users = 1 + int(np.count_nonzero(np.diff(confirm.user[rows])))
    gained = hit[pair].astype(float) - hit[single]
    error = 0.5 * np.sqrt(np.var(gained) / n_users)
    return pair if accuracy[pair] - accuracy[single] > STANDARD_ERRORS * error else single
