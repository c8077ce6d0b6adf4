"""The search for the predicate that best predicts when a latent is active, by F1.

Thousands of predicates are tried for each latent, so the best of them looks better than it is. The
search half of the construction users gives a few finalists: the best predicate of each kind, alone,
and pairs of which both or either must be true. The confirm half compares these few, and plainer
kinds win unless others are clearly better. Of a pair that must both be true a third is searched in
the same way. Held-out users have no part in it.

A *column* is one value in one view; its *steps*, from 1, are its thresholds.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.capture.cases import spread
from recsae.concepts.predicates import Columns, Predicates, f1_of

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

N_FIRSTS = 3
"""Columns whose best predicates are tried as the first of a pair: bounds the search for pairs."""
PAIR_COST = 0.02
"""A pair must beat the best single predicate by so much F1, and three a pair."""
STANDARD_ERRORS = 3.0
"""They must also beat it by so many standard errors, over users of the confirm half. With
activations given to other cases 1 of 192 labels of the planted run has a second statement; with two
standard errors 7 have."""
EITHER_COST = 0.05
"""The same as ``PAIR_COST`` for pairs joined by "or"."""
MIN_ALTERNATIVE = 0.2
"""The share of the active cases that each side of an "or" must tell and the other must not."""
BROAD_COST = 0.05
"""A predicate that is true of more than half of the cases, or that says "none of", must be better
by so much F1: it says little of any one case."""
MAX_PAIR_CASES = 4_000
"""Cases, where what is known of a label is true, that are used at most to find what comes next."""


class HalfOfUsers(NamedTuple):
    """Predicates on the cases of half the users; ``user (n,)`` numbers them, ascending."""

    predicates: Predicates
    user: NDArray[np.int64]


class Choice(NamedTuple):
    """One to three predicates for each latent: ``(m,)`` each, or ``(m, F)`` for F finalists.

    ``first``, ``second`` and ``third`` are columns, -1 where there is no such predicate and, as
    first, for a latent that was never active. Steps count from 1. ``either`` is 1 where one of two
    being true is enough; else all must be.
    """

    first: NDArray[np.int64]
    step: NDArray[np.int64]
    negated: NDArray[np.int64]
    second: NDArray[np.int64]
    second_step: NDArray[np.int64]
    second_negated: NDArray[np.int64]
    either: NDArray[np.int64]
    third: NDArray[np.int64]
    third_step: NDArray[np.int64]
    third_negated: NDArray[np.int64]

    def at(self, where: object) -> Choice:
        """The choices at an index."""
        return Choice(*(column[where] for column in self))  # type: ignore[call-overload]


class Kinds(NamedTuple):
    """What each of the C columns speaks of, and what that costs."""

    of: NDArray[np.int64]
    """``(C,)`` the kind of each column, from 0 on."""
    cost: NDArray[np.float64]
    """``(n_kinds,)`` by how much F1 a kind must beat the plainest, kind 0. The second predicate of
    a pair is of a kind that costs at most half of the dearest."""
    alike: NDArray[np.int64]
    """``(C,)`` equal for columns of one attribute in one view, which "or" may join."""
    deniable: NDArray[np.bool_]
    """``(C,)`` whether a predicate may be negated: another value says it otherwise."""

    def of_columns(self, chosen: NDArray[np.int64]) -> Kinds:
        """Those of some columns."""
        return Kinds(self.of[chosen], self.cost, self.alike[chosen], self.deniable[chosen])

    def denied(self, column: NDArray[np.int64]) -> NDArray[np.float64]:
        """What is added to the F1 of negated predicates of these columns: nothing, or -inf."""
        return np.where(self.deniable[column], 0, -np.inf)

    @property
    def seconds(self) -> NDArray[np.int64]:
        """Columns that may be the second of a pair."""
        return np.flatnonzero(self.cost[self.of] <= self.cost.max() / 2)


class Confirmed(NamedTuple):
    """The predicates that were chosen, and what they are worth on the confirm half."""

    choice: Choice
    net_f1: NDArray[np.float64]
    """``(m,)`` F1 less the cost of what each label is."""


def choose(
    halves: tuple[HalfOfUsers, HalfOfUsers],
    active: tuple[scipy.sparse.csc_matrix, ...],
    kinds: Kinds,
    *,
    pairs: bool = True,
) -> Confirmed:
    """Choose a predicate, or unless told otherwise up to three, for every latent.

    Parameters
    ----------
    halves
        The search half and the confirm half: different users, same columns.
    active
        ``(n, m)`` of both halves, sorted: what is stored is active.
    """
    search, confirm = halves
    broad = broad_cost(search.predicates)
    singles, firsts = _singles(search.predicates, active[0], kinds, broad)
    finalists = singles
    if pairs:
        both = _pairs(search.predicates, active[0], firsts, kinds)
        finalists = Choice(*(np.column_stack(two) for two in zip(singles, both, strict=True)))
    cost = kinds.cost[kinds.of[finalists.first]]
    place = search.predicates.columns.start[finalists.first] + finalists.step - 1
    cost = cost + np.where(finalists.second < 0, broad[finalists.negated, place], 0)
    cost = np.where(finalists.second >= 0, np.maximum(cost, PAIR_COST), cost)
    cost = np.where(finalists.either > 0, np.maximum(cost, EITHER_COST), cost)
    m = len(cost)
    best, net = np.zeros(m, dtype=np.int64), np.zeros(m)
    for latent in range(m):
        rows = rows_of(active[1], latent)
        best[latent], net[latent] = _confirmed(confirm, finalists.at(latent), cost[latent], rows)
    chosen = finalists.at((np.arange(m), best))
    if pairs:
        chosen, net = _with_thirds(halves, active, kinds, Confirmed(chosen, net))
    ever_active = sum(np.diff(half.indptr) for half in active) > 0
    return Confirmed(chosen._replace(first=np.where(ever_active, chosen.first, -1)), net)


def rows_of(active: scipy.sparse.csc_matrix, latent: int) -> NDArray[np.int32]:
    """Cases where a latent is active."""
    rows: NDArray[np.int32] = active.indices[active.indptr[latent] : active.indptr[latent + 1]]
    return rows


def broad_cost(predicates: Predicates) -> NDArray[np.float64]:
    """``(2, S)`` what each predicate, plain and negated, must be better by because it is broad."""
    n, true = predicates.reached.shape[0], predicates.total()
    plain, negated = 2 * true > n, (2 * true < n) | (predicates.columns.step == 1)
    return np.asarray(BROAD_COST * np.stack([plain, negated]))


def _singles(
    predicates: Predicates,
    active: scipy.sparse.csc_matrix,
    kinds: Kinds,
    broad: NDArray[np.float64],
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
    denied = kinds.denied(columns.column)
    best = np.empty((m, len(groups)), dtype=np.int64)
    negated = np.zeros((m, len(groups)), dtype=np.int64)
    begin = np.empty((m, min(N_FIRSTS, len(columns.view))), dtype=np.int64)
    for latent in range(m):
        rows = rows_of(active, latent)
        both = predicates.among(rows)
        plain = f1_of(both, predicted, len(rows)) - broad[0]
        opposite = f1_of(len(rows) - both, n - predicted, len(rows)) - broad[1] + denied
        for number, group in enumerate(groups):
            high, low = plain[group].argmax(), opposite[group].argmax()
            negated[latent, number] = opposite[group][low] > plain[group][high] + 1e-9
            best[latent, number] = group[low if negated[latent, number] else high]
        begin[latent] = _best_of_columns(np.where(varies, plain, -1), columns, begin.shape[1])
    singles = alone(columns.column[best], columns.step[best], negated)
    strict = columns.step[begin]
    wider = np.maximum(strict - 1, 1)  # true of more cases, for the second to narrow down
    first, step = np.tile(columns.column[begin], 2), np.column_stack([strict, wider])
    return singles, alone(first, step, np.zeros(first.shape, dtype=np.int64))


def alone(column: NDArray[np.int64], step: NDArray[np.int64], negated: NDArray[np.int64]) -> Choice:
    """Single predicates as choices."""
    zero = np.zeros(column.shape, dtype=np.int64)
    return Choice(column, step, negated, *(zero - 1, zero, zero, zero), *(zero - 1, zero, zero))


def _best_of_columns(
    value: NDArray[np.float64], columns: Columns, number: int
) -> NDArray[np.int64]:
    """The best predicate of each of the best columns, best first."""
    chosen = np.empty(number, dtype=np.int64)
    rest = value.copy()
    for place in range(number):
        chosen[place] = best = int(rest.argmax())
        column = columns.column[best]
        rest[columns.start[column] : columns.start[column + 1]] = -np.inf
    return chosen


def _pairs(
    predicates: Predicates, active: scipy.sparse.csc_matrix, firsts: Choice, kinds: Kinds
) -> Choice:
    """The best "both" and "either" ``(m, 2)`` that begin with one of the firsts ``(m, F)``.

    Of the cases where a first predicate is true, at most ``MAX_PAIR_CASES`` are counted. "Either"
    joins two values of one attribute in one view, each of which tells active cases that the other
    does not.
    """
    n, m = active.shape
    seconds = kinds.seconds
    narrow = predicates.of_columns(seconds)
    alike = kinds.alike[seconds][narrow.columns.column]
    latent, key = np.repeat(np.arange(m), firsts.first.shape[1]), firsts.first.ravel()
    key = predicates.columns.start[key] + firsts.step.ravel() - 1
    order = np.lexsort((latent, key))
    key, latent = key[order], latent[order]
    bounds = np.flatnonzero(np.r_[True, key[1:] != key[:-1], True])
    value = np.full((2, m), -np.inf)
    best = Choice(*np.zeros((len(Choice._fields), 2, m), dtype=np.int64))
    best.first[:], best.step[:], best.second[:] = firsts.first[:, 0], firsts.step[:, 0], -1
    best.third[:] = -1
    alone = np.empty((m, len(narrow.columns.column)), dtype=np.int32)
    total = narrow.total()
    denied = kinds.denied(seconds[narrow.columns.column])
    for j in range(m):
        alone[j] = narrow.among(rows_of(active, j))
    inside = np.zeros(n, dtype=bool)
    for start, stop in pairwise(bounds.tolist()):
        column = int(predicates.columns.column[key[start]])
        step = int(predicates.columns.step[key[start]])
        true = np.sort(predicates.rows(column, step))
        inside[true] = True
        together = _estimated(narrow, true)
        joinable = alike == kinds.alike[column]
        for j in np.unique(latent[start:stop]).tolist():
            rows = rows_of(active, j)
            hits = rows[inside[rows]]
            both = _estimated(narrow, hits)
            one_of = len(hits) + alone[j] - both
            fair = joinable & (
                np.minimum(len(hits), alone[j]) - both >= MIN_ALTERNATIVE * len(rows)
            )
            either = f1_of(one_of, len(true) + total - together, len(rows))
            for kind, negated, f1 in (
                (0, 0, f1_of(both, together, len(rows))),
                (0, 1, f1_of(len(hits) - both, len(true) - together, len(rows)) + denied),
                (1, 0, np.where(fair, either, -np.inf)),
            ):
                where = int(f1.argmax())
                if f1[where] > value[kind, j] + 1e-9:
                    value[kind, j] = f1[where]
                    second = seconds[narrow.columns.column[where]], narrow.columns.step[where]
                    for cell, found in zip(
                        best[:7], (column, step, 0, *second, negated, kind), strict=True
                    ):
                        cell[kind, j] = found
        inside[true] = False
    return Choice(*(row.T for row in best))


def _estimated(predicates: Predicates, rows: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """``(S,)`` of about how many of these cases each predicate is true, from some of them."""
    some = rows[spread(len(rows), MAX_PAIR_CASES)]
    return np.asarray(predicates.among(some) * (len(rows) / max(len(some), 1)))


def _with_thirds(
    halves: tuple[HalfOfUsers, HalfOfUsers],
    active: tuple[scipy.sparse.csc_matrix, ...],
    kinds: Kinds,
    confirmed: Confirmed,
) -> Confirmed:
    """Pairs that must both be true with a third predicate, where it is clearly better."""
    search, confirm = halves
    seconds = kinds.seconds
    narrow = search.predicates.of_columns(seconds)
    denied = kinds.denied(seconds[narrow.columns.column])
    chosen, net = Choice(*(column.copy() for column in confirmed.choice)), confirmed.net_f1.copy()
    for j in np.flatnonzero((chosen.second >= 0) & (chosen.either == 0)).tolist():
        pair = chosen.at([j])
        inside, rows = truth(search.predicates, pair)[0], rows_of(active[0], j)
        true, hits = np.flatnonzero(inside), rows[inside[rows]]
        together, both = _estimated(narrow, true), _estimated(narrow, hits)
        plain = f1_of(both, together, len(rows))
        opposite = f1_of(len(hits) - both, len(true) - together, len(rows)) + denied
        negated = int(opposite.max() > plain.max() + 1e-9)
        where = int((opposite if negated else plain).argmax())
        third = seconds[narrow.columns.column[where]], narrow.columns.step[where], negated
        for cell, found in zip(chosen[7:], third, strict=True):
            cell[j] = found
        both_and_all = Choice(*(np.append(a, b) for a, b in zip(pair, chosen.at([j]), strict=True)))
        predicted, of = truth(confirm.predicates, both_and_all), rows_of(active[1], j)
        gain = clear_gain(predicted[1], predicted[0], confirm.user, of)
        if gain > PAIR_COST:
            net[j] += gain - PAIR_COST
        else:
            chosen.third[j] = -1
    return Confirmed(chosen, net)


def truth(predicates: Predicates, chosen: Choice) -> NDArray[np.bool_]:
    """``(F, n)`` whether each of F choices is true of each case."""

    def true_of(column: int, step: int, negated: int) -> NDArray[np.bool_]:
        true = np.full(predicates.reached.shape[0], bool(negated))
        true[predicates.rows(column, step)] = not negated
        return true

    truth = np.ones((len(chosen.first), predicates.reached.shape[0]), dtype=bool)
    for number, (c, step, negated, *second, either, c3, step3, negated3) in enumerate(
        zip(*chosen, strict=True)
    ):
        truth[number] = true_of(c, step, negated)
        if second[0] >= 0:
            both_or_either = np.logical_or if either else np.logical_and
            both_or_either(truth[number], true_of(*second), out=truth[number])
        if c3 >= 0:
            truth[number] &= true_of(c3, step3, negated3)
    return truth


def _confirmed(
    confirm: HalfOfUsers, finalists: Choice, cost: NDArray[np.float64], rows: NDArray[np.int32]
) -> tuple[int, float]:
    """Index of the best of the finalists ``(F,)`` for a latent that is active in these cases, and
    its F1 less its cost."""
    predicted = truth(confirm.predicates, finalists)
    hit = predicted[:, rows]
    f1 = f1_of(hit.sum(1), predicted.sum(1), len(rows))
    net = f1 - cost
    plain = finalists.second < 0
    single = int(np.where(plain, net, -np.inf).argmax())
    pair = int(np.where(plain, -np.inf, net).argmax())
    if plain.all() or net[pair] <= net[single] or not len(rows):
        return single, float(net[single])
    if clear_gain(predicted[pair], predicted[single], confirm.user, rows) > 0:
        return pair, float(net[pair])
    return single, float(net[single])


def clear_gain(
    predicted: NDArray[np.bool_],
    before: NDArray[np.bool_],
    user: NDArray[np.int64],
    rows: NDArray[np.int32],
) -> float:
    """By how much F1 is higher than before, users being the unit; 0 if that may be chance.

    Parameters
    ----------
    predicted, before
        ``(n,)`` where each says "active".
    user
        ``(n,)`` of each case.
    rows
        Cases where the latent is active.
    """
    active = np.zeros(len(predicted))
    active[rows] = 1
    gained = _f1_terms(predicted, active) - _f1_terms(before, active)
    by_user = np.bincount(user, gained)
    f1, f1_before = (f1_of(p[rows].sum(), p.sum(), len(rows)) for p in (predicted, before))
    clear = f1 - f1_before > STANDARD_ERRORS * np.sqrt(np.square(by_user).sum())
    return float(f1 - f1_before) if clear else 0.0


def _f1_terms(predicted: NDArray[np.bool_], active: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(n,)`` what each case adds to F1 above its value: F1 is a ratio of sums over cases, and
    these are the terms of its linearisation, whose sums over users give its variance."""
    both, of = 2 * predicted * active, predicted + active
    total = max(of.sum(), 1)
    return np.asarray((both - both.sum() / total * of) / total)
