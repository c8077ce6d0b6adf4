"""Which statement tells best when a latent is active: found on some users, confirmed on others.

Thousands of statements are tried for each latent, so the best of them flatters itself. On the first
half of the construction users the best of each kind is found, single statements and conjunctions of
two; on the second half these few are compared, and plainer kinds win unless others are clearly
better. Held-out users have no part in it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse

from recsae.statements import LEVELS, Statements, balanced_accuracy

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK, N_FIRSTS = 256, 3
CONJUNCTION_COST, STANDARD_ERRORS = 0.02, 2.0


class Side(NamedTuple):
    """Statements and activity on the cases of some users; ``user (n,)`` numbers them."""

    statements: Statements
    active: scipy.sparse.csr_matrix
    user: NDArray[np.int64]


class Choice(NamedTuple):
    """Per latent a statement: columns, levels from 1 on, whether negated; second column -1 if none.

    Each ``(m,)``, or ``(m, F)`` for F finalists.
    """

    first: NDArray[np.int64]
    level: NDArray[np.int64]
    negated: NDArray[np.int64]
    second: NDArray[np.int64]
    second_level: NDArray[np.int64]
    second_negated: NDArray[np.int64]

    def at(self, where: object) -> Choice:
        """Some of them."""
        return Choice(*(column[where] for column in self))  # type: ignore[call-overload]


def choose(fit: Side, confirm: Side, kind: NDArray[np.int64], cost: NDArray[np.float64]) -> Choice:
    """The statement for every latent.

    Parameters
    ----------
    fit, confirm
        Two sides of different users with the same columns.
    kind
        ``(C,)`` kind of each column, numbered from 0.
    cost
        ``(n_kinds,)`` by how much balanced accuracy a kind must beat the plainest, kind 0. Seconds
        of conjunctions are of kinds that cost at most half of the dearest.
    """
    singles, firsts = _singles(fit, kind, len(cost))
    readable = np.flatnonzero(cost[kind] <= cost.max() / 2)
    pairs = _pairs(fit, firsts, readable)
    finalists = Choice(*(np.column_stack(columns) for columns in zip(singles, pairs, strict=True)))
    price = cost[kind[finalists.first]]
    price = np.where(finalists.second >= 0, np.maximum(price, CONJUNCTION_COST), price)
    best = np.concatenate(
        [
            _confirmed(confirm, finalists.at(part), price[part], part)
            for part in _slices(len(price), CHUNK // 2)
        ]
    )
    return finalists.at((np.arange(len(best)), best))


def _slices(n: int, size: int) -> list[slice]:
    return [slice(first, min(n, first + size)) for first in range(0, n, size)]


def _singles(fit: Side, kind: NDArray[np.int64], n_kinds: int) -> tuple[Choice, Choice]:
    """The best statement of each kind ``(m, n_kinds)``, and the best few to begin pairs with."""
    n, m = fit.active.shape
    positives = np.asarray(fit.active.sum(0), dtype=np.float32).ravel()
    best, begin = [], []
    for part in _slices(m, CHUNK):
        both, said = fit.statements.counts(fit.active[:, part])
        accuracy = balanced_accuracy(both, said, positives[part, None, None], n)
        mine = []
        for k in range(n_kinds):
            columns = np.flatnonzero(kind == k)
            if len(columns):
                mine.append(_best(accuracy[:, columns], columns))
        best.append([np.column_stack(x) for x in zip(*mine, strict=True)])
        top = accuracy.max(2)
        order = np.argsort(-top, axis=1, kind="stable")[:, :N_FIRSTS]
        level = accuracy[np.arange(len(top))[:, None], order].argmax(2) + 1
        begin.append((order, level))
    column, level, negated = (np.concatenate(x) for x in zip(*best, strict=True))
    none = np.full(column.shape, -1)
    zero = np.zeros(column.shape, dtype=np.int64)
    order, strict = (np.concatenate(x) for x in zip(*begin, strict=True))
    wider = np.maximum(strict - 1, 1)  # lets more through, for the second to narrow down
    firsts = np.column_stack([order, order]), np.column_stack([strict, wider])
    blank = np.zeros(firsts[0].shape, dtype=np.int64)
    singles = Choice(column, level, negated, none, zero, zero)
    return singles, Choice(*firsts, blank, blank - 1, blank, blank)


def _best(
    accuracy: NDArray[np.float32], columns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Column, level and negation of the best of ``(m, C, LEVELS)``; what is never true is worst."""
    flat = accuracy.reshape(len(accuracy), -1)
    high, low = flat.argmax(1), flat.argmin(1)
    rows = np.arange(len(flat))
    negated = 1 - flat[rows, low] > flat[rows, high] + 1e-6
    where = np.where(negated, low, high)
    return columns[where // LEVELS], where % LEVELS + 1, negated.astype(np.int64)


def _pairs(fit: Side, firsts: Choice, seconds: NDArray[np.int64]) -> Choice:
    """The best conjunction ``(m, 1)`` that begins with one of the firsts ``(m, F)``."""
    n, m = fit.active.shape
    positives = np.asarray(fit.active.sum(0), dtype=np.float32).ravel()
    narrow = fit.statements.of_columns(seconds)
    latent = np.repeat(np.arange(m), firsts.first.shape[1])
    key = firsts.first.ravel() * LEVELS + firsts.level.ravel() - 1
    order = np.lexsort((latent, key))
    key, latent = key[order], latent[order]
    bounds = np.flatnonzero(np.r_[True, key[1:] != key[:-1], True])
    value = np.full(m, -1.0, dtype=np.float32)
    found = np.zeros((6, m), dtype=np.int64)
    found[3] = -1
    by_column = fit.statements.reached.tocsc()
    for start, stop in pairwise(bounds.tolist()):
        column, level = key[start] // LEVELS, key[start] % LEVELS + 1
        mine = np.unique(latent[start:stop])
        rows = _rows_reaching(by_column, int(column), int(level))
        active = fit.active[rows][:, mine]
        both, said = narrow.take(rows).counts(active)
        inside = np.asarray(active.sum(0), dtype=np.float32).ravel()[:, None, None]
        p = positives[mine, None, None]
        for negated in (0, 1):
            if negated:
                both, said = inside - both, len(rows) - said
            accuracy = balanced_accuracy(both, said, p, n).reshape(len(mine), -1)
            where = accuracy.argmax(1)
            reached = accuracy[np.arange(len(mine)), where]
            better = reached > value[mine] + 1e-6
            who, where = mine[better], where[better]
            value[who] = reached[better]
            second, second_level = seconds[where // LEVELS], where % LEVELS + 1
            ones = np.ones(len(who), dtype=np.int64)
            found[:, who] = (
                *(column * ones, level * ones, 0 * ones),
                *(second, second_level, negated * ones),
            )
    return Choice(*(row[:, None] for row in found))


def _rows_reaching(
    by_column: scipy.sparse.csc_matrix, column: int, level: int
) -> NDArray[np.int64]:
    """Rows whose level in a column is at least ``level``, ascending."""
    first, last = by_column.indptr[[column * LEVELS + level - 1, (column + 1) * LEVELS]]
    return np.sort(by_column.indices[first:last]).astype(np.int64)


def truths(statements: Statements, chosen: Choice) -> NDArray[np.bool_]:
    """``(n, m)`` whether each of m statements is true of each case."""
    by_column = statements.reached.tocsc()
    said = np.ones((len(chosen.first), statements.reached.shape[0]), dtype=bool)
    for number, (c, level, negated, c2, level2, negated2) in enumerate(zip(*chosen, strict=True)):
        for column, least, turned in ((c, level, negated), (c2, level2, negated2)):
            if column >= 0:
                true = np.zeros(said.shape[1], dtype=bool)
                true[_rows_reaching(by_column, int(column), int(least))] = True
                said[number] &= true != bool(turned)
    return said.T


def _confirmed(
    confirm: Side, finalists: Choice, price: NDArray[np.float64], part: slice
) -> NDArray[np.int64]:
    """Which of its finalists ``(m, F)`` each latent takes."""
    m, n_finalists = finalists.first.shape
    n = confirm.active.shape[0]
    active = confirm.active[:, part].tocsc()
    best = np.zeros(m, dtype=np.int64)
    said = truths(confirm.statements, Choice(*(column.ravel() for column in finalists)))
    total = said.sum(0).reshape(m, n_finalists)
    for latent in range(m):
        rows = active.indices[active.indptr[latent] : active.indptr[latent + 1]]
        mine = said[:, latent * n_finalists : (latent + 1) * n_finalists]
        true = mine[rows]
        accuracy = balanced_accuracy(true.sum(0), total[latent], np.array(len(rows)), n)
        worth = accuracy - price[latent]
        plain = finalists.second[latent] < 0
        single = int(np.where(plain, worth, -np.inf).argmax())
        best[latent] = single
        pair = int(np.where(plain, -np.inf, worth).argmax())
        if worth[pair] > worth[single] and len(rows):
            n_users = len(np.unique(confirm.user[rows]))
            gained = true[:, pair].astype(float) - true[:, single]
            error = 0.5 * np.sqrt(np.var(gained) / n_users)
            if accuracy[pair] - accuracy[single] > STANDARD_ERRORS * error:
                best[latent] = pair
    return best
