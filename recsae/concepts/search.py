"""The search for the predicate that best predicts when a latent is active, by F1.

Thousands of predicates are tried for each latent, so the best of them looks better than it is. The
search half of the construction users gives a few finalists: the best predicate of each kind, alone,
and pairs of which both or either must be true. The confirm half compares these few, and plainer
kinds win unless others are clearly better. Of a pair that must both be true a third is searched in
the same way. Held-out users have no part in it.

A *column* is one value in one view; its *steps*, from 1, are its thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.concepts.predicates import Columns, Predicates, SomePredicates, smallest_type
from recsae.concepts.search_loops import (
    best_singles,
    confirm,
    extend,
    fill_truth,
    gain_and_error,
)

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


@dataclass(frozen=True, eq=False)
class HalfOfUsers:
    """Predicates on the cases of half the users; ``user (n,)`` numbers them, ascending."""

    predicates: Predicates
    user: NDArray[np.int64]
    _kept: dict[bytes, SomePredicates] = field(default_factory=dict, repr=False)

    def of_columns(self, columns: NDArray[np.int64]) -> SomePredicates:
        """The predicates of some columns, kept for the next code."""
        key = columns.tobytes()
        if key not in self._kept:
            self._kept[key] = self.predicates.of_columns(columns)
        return self._kept[key]


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

    @property
    def seconds(self) -> NDArray[np.int64]:
        """Columns that may be the second of a pair."""
        return np.flatnonzero(self.cost[self.of] <= self.cost.max() / 2)

    def seconds_in(self, columns: Columns) -> NDArray[np.int64]:
        """Their predicates, in the same order."""
        return np.flatnonzero(np.isin(columns.column, self.seconds))


class Confirmed(NamedTuple):
    """The predicates that were chosen, and what they are worth on the confirm half."""

    choice: Choice
    net_f1: NDArray[np.float64]
    """``(m,)`` F1 less the cost of what each label is."""


def choose(
    halves: tuple[HalfOfUsers, HalfOfUsers],
    active: tuple[scipy.sparse.csc_matrix, ...],
    kinds: Kinds,
    usable: NDArray[np.bool_] | None = None,
) -> Confirmed:
    """Choose a predicate, or up to three, for every latent.

    Parameters
    ----------
    halves
        The search half and the confirm half: different users, same columns.
    active
        ``(n, m)`` of both halves, sorted: what is stored is active.
    usable
        ``(C,)`` columns of which one predicate alone is chosen; None: up to three, of all.
    """
    search, other = halves
    broad = broad_cost(search.predicates)
    found = _singles(search, active[0], kinds, broad, usable)
    finalists = found.singles
    if usable is None:
        following = _Following.of(search, kinds)
        both = _pairs(search, active[0], found, following)
        finalists = Choice(*(np.column_stack(two) for two in zip(finalists, both, strict=True)))
    cost = kinds.cost[kinds.of[finalists.first]]
    place = search.predicates.columns.start[finalists.first] + finalists.step - 1
    cost = cost + np.where(finalists.second < 0, broad[finalists.negated, place], 0)
    cost = np.where(finalists.second >= 0, np.maximum(cost, PAIR_COST), cost)
    cost = np.where(finalists.either > 0, np.maximum(cost, EITHER_COST), cost)
    m = len(cost)
    best, net = np.zeros(m, dtype=np.int64), np.zeros(m)
    spans = active[1].indptr, active[1].indices
    table = *other.predicates.by_column, other.predicates.columns.start, other.user
    confirm(*table, *spans, np.stack(finalists), cost, STANDARD_ERRORS, best, net)
    chosen = finalists.at((np.arange(m), best))
    if usable is None:
        chosen, net = _with_thirds(halves, active, following, Confirmed(chosen, net))
    ever_active = sum(np.diff(half.indptr) for half in active) > 0
    return Confirmed(chosen._replace(first=np.where(ever_active, chosen.first, -1)), net)


def rows_of(active: scipy.sparse.csc_matrix, latent: int) -> NDArray[np.int32]:
    """Cases where a latent is active."""
    rows: NDArray[np.int32] = active.indices[active.indptr[latent] : active.indptr[latent + 1]]
    return rows


def broad_cost(predicates: Predicates) -> NDArray[np.float64]:
    """``(2, S)`` what each predicate, plain and negated, must be better by because it is broad."""
    n, true = predicates.n_cases, predicates.total()
    plain, negated = 2 * true > n, (2 * true < n) | (predicates.columns.step == 1)
    return np.asarray(BROAD_COST * np.stack([plain, negated]))


class _Singles(NamedTuple):
    """What the search for single predicates finds of m latents."""

    singles: Choice
    """The best of each kind, ``(m, n_kinds)``."""
    firsts: Choice
    """The best few, to begin pairs with, ``(m, F)``."""
    alone: NDArray[np.unsignedinteger[Any]]
    """``(m, N)`` of how many active cases each predicate that may be a second is true."""


def _singles(
    half: HalfOfUsers,
    active: scipy.sparse.csc_matrix,
    kinds: Kinds,
    broad: NDArray[np.float64],
    usable: NDArray[np.bool_] | None,
) -> _Singles:
    """The best predicate of each kind and the best few.

    Predicates that are true of no case or of every one are left out, unless there are no others.
    """
    n, m = active.shape
    predicates = half.predicates
    columns, total = predicates.columns, predicates.total()
    allowed = np.ones(len(total), dtype=bool) if usable is None else usable[columns.column]
    varies = allowed & (total > 0) & (total < n)
    of = kinds.of[columns.column] if varies.any() else np.zeros(len(total), dtype=np.int64)
    group = np.where(varies if varies.any() else allowed, of, -1)
    there, number = np.unique(group[group >= 0], return_inverse=True)
    group[group >= 0] = number
    narrow = kinds.seconds_in(columns) if usable is None else np.zeros(0, dtype=np.int64)
    best = np.empty((m, len(there)), dtype=np.int64)
    negated, begin = np.zeros_like(best), np.zeros((m, min(N_FIRSTS, len(columns.view))), np.int64)
    alone_in = np.empty((m, len(narrow)), dtype=smallest_type(n + 1))
    table = *predicates.reached, active.indptr, active.indices
    deniable = kinds.deniable[columns.column]
    best_singles(
        *table,
        *(columns.start, total, broad, group, deniable, narrow),
        *(best, negated, begin, alone_in),
    )
    singles = alone(columns.column[best], columns.step[best], negated)
    strict = columns.step[begin]
    wider = np.maximum(strict - 1, 1)  # true of more cases, for the second to narrow down
    first, step = np.tile(columns.column[begin], 2), np.column_stack([strict, wider])
    firsts = alone(first, step, np.zeros(first.shape, dtype=np.int64))
    return _Singles(singles, firsts, alone_in)


def alone(column: NDArray[np.int64], step: NDArray[np.int64], negated: NDArray[np.int64]) -> Choice:
    """Single predicates as choices."""
    zero = np.zeros(column.shape, dtype=np.int64)
    return Choice(column, step, negated, *(zero - 1, zero, zero, zero), *(zero - 1, zero, zero))


class _Following(NamedTuple):
    """The predicates of one half that may follow a first."""

    column: NDArray[np.int64]
    """``(P,)`` column and step of each."""
    step: NDArray[np.int64]
    table: tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]
    """Where they are true, where each column begins, and of how many cases they are true."""
    deniable: NDArray[np.bool_]
    alike: NDArray[np.int64]
    """``(C,)`` of all columns, equal for those that "or" may join."""

    @classmethod
    def of(cls, half: HalfOfUsers, kinds: Kinds) -> _Following:
        """Those of the columns that may be second."""
        narrow = half.of_columns(kinds.seconds)
        column = kinds.seconds[narrow.columns.column]
        table = (*narrow.reached, narrow.columns.start, narrow.total)
        return cls(column, narrow.columns.step, table, kinds.deniable[column], kinds.alike)


def _pairs(
    half: HalfOfUsers, active: scipy.sparse.csc_matrix, found: _Singles, following: _Following
) -> Choice:
    """The best "both" and "either" ``(m, 2)`` that begin with one of the firsts ``(m, F)``.

    Of the cases where a first predicate is true, at most ``MAX_PAIR_CASES`` are counted. "Either"
    joins two values of one attribute in one view, each of which tells active cases that the other
    does not.
    """
    firsts, m = found.firsts, active.shape[1]
    columns, column_of = half.predicates.columns, following.column
    latent, key = np.repeat(np.arange(m), firsts.first.shape[1]), firsts.first.ravel()
    key = columns.start[key] + firsts.step.ravel() - 1
    key, latent = np.unique(np.stack([key, latent]), axis=1)
    bounds = np.flatnonzero(np.r_[True, key[1:] != key[:-1], True])
    value, pairs = np.full((2, m), -np.inf), np.full((2, m, 3), -1)
    pairs[:, :, 0] = columns.start[firsts.first[:, 0]] + firsts.step[:, 0] - 1
    for start, stop in pairwise(bounds.tolist()):
        first = key[start]
        column = columns.column[first]
        alike = following.alike[column_of] == following.alike[column]
        rows = half.predicates.rows(int(column), int(columns.step[first]))
        true = np.sort(rows).astype(np.int32)
        extend(
            *(*following.table, following.deniable, alike, true, latent[start:stop]),
            *(active.indptr, active.indices, found.alone, MIN_ALTERNATIVE, MAX_PAIR_CASES),
            *(first, value, pairs),
        )
    first, place, negated = np.moveaxis(pairs.transpose(1, 0, 2), 2, 0)
    zero, is_pair = np.zeros_like(first), place >= 0
    pair = alone(columns.column[first], columns.step[first], zero)
    return pair._replace(
        second=np.where(is_pair, column_of[place], -1),
        second_step=np.where(is_pair, following.step[place], 0),
        second_negated=np.where(is_pair, negated, 0),
        either=np.where(is_pair, [0, 1], 0),
    )


def _with_thirds(
    halves: tuple[HalfOfUsers, HalfOfUsers],
    active: tuple[scipy.sparse.csc_matrix, ...],
    following: _Following,
    confirmed: Confirmed,
) -> Confirmed:
    """Pairs that must both be true with a third predicate, where it is clearly better."""
    search, confirm = halves
    chosen, net = Choice(*(column.copy() for column in confirmed.choice)), confirmed.net_f1.copy()
    m, joinable = len(net), np.zeros(len(following.column), dtype=bool)
    value, found = np.full((2, m), -np.inf), np.zeros((2, m, 3), dtype=np.int64)
    none = np.zeros((0, 0), dtype=smallest_type(active[0].shape[0] + 1))
    spans = active[0].indptr, active[0].indices, none
    for j in np.flatnonzero((chosen.second >= 0) & (chosen.either == 0)).tolist():
        pair = chosen.at([j])
        true = np.flatnonzero(truth(search.predicates, pair)[0]).astype(np.int32)
        extend(
            *(*following.table, following.deniable, joinable, true, np.array([j]), *spans),
            *(MIN_ALTERNATIVE, MAX_PAIR_CASES, 0, value, found),
        )
        _, place, negated = found[0, j].tolist()
        third = following.column[place], following.step[place], negated
        for cell, one in zip(chosen[7:], third, strict=True):
            cell[j] = one
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
    true = np.empty((len(chosen.first), predicates.n_cases), dtype=bool)
    table = *predicates.by_column, predicates.columns.start
    for out, choice in zip(true, np.stack(chosen, axis=1), strict=True):
        fill_truth(*table, choice, out)
    return true


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
        ``(n,)`` of each case, ascending.
    rows
        Cases where the latent is active.
    """
    gain, error = gain_and_error(predicted, before, user, rows)
    return float(gain) if gain > STANDARD_ERRORS * error else 0.0
