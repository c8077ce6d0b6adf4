"""Which statement tells best when a latent is active: found on some users, confirmed on others.

Thousands of statements are tried for each latent, so the best of them flatters itself. On the first
half of the construction users the best of each kind is found: single statements, and pairs of which
both or either must be true. On the second half these few are compared, and plainer kinds win unless
others are clearly better. Held-out users have no part in it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.capture.cases import spread
from recsae.concepts.statements import Columns, Statements, balanced_accuracy

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

N_FIRSTS = 3
PAIR_COST = 0.02
STANDARD_ERRORS = 2.0
EITHER_COST = 0.05
MAX_COUNTED = 4_000
"""Cases that are looked at for what else is true where the first statement of a pair is."""


class SearchHalf(NamedTuple):
    """Statements on the cases of some users; ``user (n,)`` numbers them, ascending."""

    statements: Statements
    user: NDArray[np.int64]


class Choice(NamedTuple):
    """Per latent a statement: columns, levels from 1 on, whether negated; second column -1 if none.

    ``either`` is 1 where one of the two being true is enough. Each ``(m,)``, or ``(m, F)`` for F
    finalists. The first column is -1 for a latent that was never active.
    """

    first: NDArray[np.int64]
    level: NDArray[np.int64]
    negated: NDArray[np.int64]
    second: NDArray[np.int64]
    second_level: NDArray[np.int64]
    second_negated: NDArray[np.int64]
    either: NDArray[np.int64]

    def at(self, where: object) -> Choice:
        """Some of them."""
        return Choice(*(column[where] for column in self))  # type: ignore[call-overload]


class Kinds(NamedTuple):
    """``of (C,)`` kind of each column, numbered from 0, and what the kinds cost.

    ``cost (n_kinds,)`` is by how much balanced accuracy a kind must beat the plainest, kind 0.
    Seconds of pairs are of kinds that cost at most half of the dearest.
    """

    of: NDArray[np.int64]
    cost: NDArray[np.float64]

    @property
    def seconds(self) -> NDArray[np.int64]:
        """Columns that may stand second in a pair."""
        return np.flatnonzero(self.cost[self.of] <= self.cost.max() / 2)


def choose(
    sides: tuple[SearchHalf, SearchHalf], active: tuple[scipy.sparse.csc_matrix, ...], kinds: Kinds
) -> Choice:
    """The statement for every latent.

    Parameters
    ----------
    sides
        Where statements are found and where they are confirmed: different users, same columns.
    active
        ``(n, m)`` of both sides, sorted: what is stored is active.
    """
    fit, confirm = sides
    singles, firsts = _singles(fit.statements, active[0], kinds)
    pairs = _pairs(fit.statements, active[0], firsts, kinds.seconds)
    finalists = Choice(*(np.column_stack(columns) for columns in zip(singles, pairs, strict=True)))
    price = kinds.cost[kinds.of[finalists.first]]
    price = np.where(finalists.second >= 0, np.maximum(price, PAIR_COST), price)
    price = np.where(finalists.either > 0, np.maximum(price, EITHER_COST), price)
    m = len(price)
    best = [
        _confirmed(confirm, finalists.at(latent), price[latent], _rows(active[1], latent))
        for latent in range(m)
    ]
    chosen = finalists.at((np.arange(m), np.array(best, dtype=np.int64)))
    seen = sum(np.diff(side.indptr) for side in active) > 0
    return chosen._replace(first=np.where(seen, chosen.first, -1))


def _rows(active: scipy.sparse.csc_matrix, latent: int) -> NDArray[np.int32]:
    """Cases where a latent is active."""
    rows: NDArray[np.int32] = active.indices[active.indptr[latent] : active.indptr[latent + 1]]
    return rows


def _merit(both: NDArray[Any], said: NDArray[Any], positives: int, n: int) -> NDArray[np.float64]:
    """Twice balanced accuracy, less 1: sensitivity minus false alarms."""
    right, wrong = 1 / max(positives, 1), 1 / max(n - positives, 1)
    return both * (right + wrong) - said * wrong


def _singles(
    statements: Statements, active: scipy.sparse.csc_matrix, kinds: Kinds
) -> tuple[Choice, Choice]:
    """The best statement of each kind ``(m, n_kinds)``, and the best few to begin pairs with.

    What is true of no case or of every one is no statement, unless there is nothing else.
    """
    n, m = active.shape
    columns, said = statements.columns, statements.total()
    tells = (said > 0) & (said < n)
    of = kinds.of[columns.column]
    groups = [np.flatnonzero(tells & (of == kind)) for kind in range(len(kinds.cost))]
    groups = [group for group in groups if len(group)] or [np.arange(len(said))]
    best = np.empty((m, len(groups)), dtype=np.int64)
    negated = np.zeros((m, len(groups)), dtype=np.int64)
    begin = np.empty((m, min(N_FIRSTS, len(columns.site))), dtype=np.int64)
    for latent in range(m):
        rows = _rows(active, latent)
        merit = _merit(statements.among(rows), said, len(rows), n)
        for number, group in enumerate(groups):
            among = merit[group]
            high, low = among.argmax(), among.argmin()
            negated[latent, number] = -among[low] > among[high] + 1e-9
            best[latent, number] = group[low if negated[latent, number] else high]
        merit[~tells] = -1
        begin[latent] = _best_of_columns(merit, columns, begin.shape[1])
    none, zero = np.full(best.shape, -1), np.zeros(best.shape, dtype=np.int64)
    singles = Choice(columns.column[best], columns.level[best], negated, none, zero, zero, zero)
    strict = columns.level[begin]
    wider = np.maximum(strict - 1, 1)  # lets more through, for the second to narrow down
    first, level = np.tile(columns.column[begin], 2), np.column_stack([strict, wider])
    blank = np.zeros(first.shape, dtype=np.int64)
    return singles, Choice(first, level, blank, blank - 1, blank, blank, blank)


def _best_of_columns(
    merit: NDArray[np.float64], columns: Columns, number: int
) -> NDArray[np.int64]:
    """The best statement of each of the best columns, best first."""
    found = np.empty(number, dtype=np.int64)
    rest = merit.copy()
    for place in range(number):
        found[place] = best = int(rest.argmax())
        rest[
            columns.start[columns.column[best]] : columns.start[columns.column[best] + 1]
        ] = -np.inf
    return found


def _pairs(
    statements: Statements,
    active: scipy.sparse.csc_matrix,
    firsts: Choice,
    seconds: NDArray[np.int64],
) -> Choice:
    """The best "both" and "either" ``(m, 2)`` that begin with one of the firsts ``(m, F)``.

    What is true of the cases that a first statement lets through is counted on some of them.
    """
    n, m = active.shape
    narrow = statements.of_columns(seconds)
    latent, key = np.repeat(np.arange(m), firsts.first.shape[1]), firsts.first.ravel()
    key = statements.columns.start[key] + firsts.level.ravel() - 1
    order = np.lexsort((latent, key))
    key, latent = key[order], latent[order]
    bounds = np.flatnonzero(np.r_[True, key[1:] != key[:-1], True])
    value, found = np.full((2, m), -np.inf), np.zeros((7, 2, m), dtype=np.int64)
    found[3] = -1
    single = np.empty((m, len(narrow.columns.column)), dtype=np.float32)
    total = narrow.total()
    for who in range(m):
        rows = _rows(active, who)
        single[who] = _merit(narrow.among(rows), total, len(rows), n)
    inside = np.zeros(n, dtype=bool)
    for start, stop in pairwise(bounds.tolist()):
        column, level = (x[key[start]] for x in statements.columns[3:])
        passed = np.sort(statements.rows(column, level))
        inside[passed] = True
        sample = passed[spread(len(passed), MAX_COUNTED)]
        said = narrow.among(sample) * (len(passed) / max(len(sample), 1))
        for who in np.unique(latent[start:stop]).tolist():
            rows = _rows(active, who)
            kept = rows[inside[rows]]
            some = kept[spread(len(kept), MAX_COUNTED)]
            both = narrow.among(some) * (len(kept) / max(len(some), 1))
            merit = _merit(both, said, len(rows), n)
            # that the second is not true: what the first alone reaches, less the same
            alone = _merit(np.array(len(kept)), np.array(len(passed)), len(rows), n)
            either = alone + single[who] - merit
            for kind, negated, where, reached in (
                (0, 0, merit.argmax(), merit.max()),
                (0, 1, merit.argmin(), alone - merit.min()),
                (1, 0, either.argmax(), either.max()),
            ):
                if reached > value[kind, who] + 1e-9:
                    value[kind, who] = reached
                    second = seconds[narrow.columns.column[where]], narrow.columns.level[where]
                    found[:, kind, who] = column, level, 0, *second, negated, kind
        inside[passed] = False
    return Choice(*(row.T for row in found))


def truth(statements: Statements, chosen: Choice) -> NDArray[np.bool_]:
    """``(F, n)`` whether each of F statements is true of each case."""

    def true_of(column: int, level: int, negated: int) -> NDArray[np.bool_]:
        true = np.full(statements.reached.shape[0], bool(negated))
        true[statements.rows(column, level)] = not negated
        return true

    said = np.ones((len(chosen.first), statements.reached.shape[0]), dtype=bool)
    for number, (*first, c2, level2, negated2, either) in enumerate(zip(*chosen, strict=True)):
        said[number] = true_of(*first)
        if c2 >= 0:
            both_or_either = np.logical_or if either else np.logical_and
            both_or_either(said[number], true_of(c2, level2, negated2), out=said[number])
    return said


def _confirmed(
    confirm: SearchHalf, finalists: Choice, price: NDArray[np.float64], rows: NDArray[np.int32]
) -> int:
    """Which of its finalists ``(F,)`` a latent takes that is active in these cases."""
    said = truth(confirm.statements, finalists)
    true, n = said[:, rows], said.shape[1]
    accuracy = balanced_accuracy(true.sum(1), said.sum(1), np.array(len(rows)), n)
    worth = accuracy - price
    plain = finalists.second < 0
    single = int(np.where(plain, worth, -np.inf).argmax())
    pair = int(np.where(plain, -np.inf, worth).argmax())
    if plain.all() or worth[pair] <= worth[single] or not len(rows):
        return single
    n_users = 1 + int(np.count_nonzero(np.diff(confirm.user[rows])))
    gained = true[pair].astype(float) - true[single]
    error = 0.5 * np.sqrt(np.var(gained) / n_users)
    return pair if accuracy[pair] - accuracy[single] > STANDARD_ERRORS * error else single
