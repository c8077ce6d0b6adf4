"""The loops of the search for labels, which Numba compiles.

For every latent they count thousands of predicates among its active cases and look at the F1 of
each. Tables of predicates come as the arrays of :class:`recsae.concepts.predicates.Predicates`, and
``active_starts (m + 1,)``, ``active`` as those of a sparse code by latent.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from recsae.core.kernels import tally

U = np.uintp
"""Unsigned indices, of which Numba knows that they do not count from the end."""
SLACK = 1e-9
"""F1s that are no further apart are equal: the plainer or the earlier one stays."""


@numba.njit(cache=True, nogil=True, inline="always")
def f1_at(both: float, predicted: float, positives: float) -> float:
    """The harmonic mean of precision and recall, from counts."""
    return 2.0 * both / max(predicted + positives, 1.0)


@numba.njit(cache=True, nogil=True)
def place_steps(
    indptr: Any, values: Any, counts: Any, step_of: Any, first: int, n_steps: int, at: Any, out: Any
) -> None:
    """Put the predicates of one view that are reached into the table of all.

    Parameters
    ----------
    indptr, values, counts
        ``(n + 1,)``, and of each case the values that it has and how many items have each.
    step_of
        How many thresholds each count reaches.
    first, n_steps
        The first predicate of the view, and how many each of its values has.
    at, out
        ``(n,)`` where the next entry of each case goes, and the entries; both are updated.
    """
    for row in range(len(indptr) - 1):
        place = at[row]
        for i in range(indptr[row], indptr[row + 1]):
            step = step_of[counts[i]]
            if step > 0:
                out[place] = first + values[i] * n_steps + step - 1
                place += 1
        at[row] = place


@numba.njit(cache=True, nogil=True)
def _or_more(start: Any, found: Any) -> None:
    """Turn how often each step is the one reached into how often it is reached."""
    for column in range(len(start) - 1):
        for place in range(start[column + 1] - 2, start[column] - 1, -1):
            found[place] += found[place + 1]


@numba.njit(cache=True, nogil=True)
def best_singles(
    starts: Any,
    indices: Any,
    active_starts: Any,
    active: Any,
    start: Any,
    total: Any,
    broad: Any,
    group: Any,
    deniable: Any,
    narrow: Any,
    best: Any,
    negated: Any,
    begin: Any,
    alone: Any,
) -> None:
    """The best predicate of each group, and the best one of each of the best columns.

    Parameters
    ----------
    starts, indices
        Of the table ``(n, S)`` of predicates, by case.
    start
        ``(C + 1,)`` the first predicate of each column.
    total, broad, group, deniable
        ``(S,)`` of how many cases each is true, ``(2, S)`` what it costs plain and negated,
        ``(S,)`` its group, -1 for those that are left out, and whether it may be negated.
    narrow
        ``(N,)`` predicates whose counts are wanted.
    best, negated, begin, alone
        Filled: ``(m, n_groups)`` predicates and whether each is negated, ``(m, F)`` predicates,
        best first, ``(m, N)`` of how many active cases each predicate is true.
    """
    n, n_predicates = len(starts) - 1, len(total)
    found = np.zeros(n_predicates, dtype=np.int64)
    plain, opposite = np.empty(best.shape[1]), np.empty(best.shape[1])
    low = np.empty(best.shape[1], dtype=np.int64)
    value = np.empty(begin.shape[1])
    for latent in range(len(best)):
        rows = active[active_starts[latent] : active_starts[latent + 1]]
        found[:] = 0
        tally(starts, indices, rows, found)
        _or_more(start, found)
        plain[:], opposite[:], value[:] = -np.inf, -np.inf, -np.inf
        best[latent], low[:] = 0, 0
        for column in range(len(start) - 1):
            of_column, where = -np.inf, 0
            for place in range(start[column], start[column + 1]):
                g, f1 = group[place], -1.0
                if g >= 0:
                    f1 = f1_at(found[place], total[place], len(rows)) - broad[0, place]
                    if f1 > plain[g]:
                        plain[g], best[latent, g] = f1, place
                    if deniable[place]:
                        other = f1_at(len(rows) - found[place], n - total[place], len(rows))
                        other -= broad[1, place]
                        if other > opposite[g]:
                            opposite[g], low[g] = other, place
                if f1 > of_column:
                    of_column, where = f1, place
            _insert(value, begin[latent], of_column, where)
        for g in range(best.shape[1]):
            negated[latent, g] = opposite[g] > plain[g] + SLACK
            if negated[latent, g]:
                best[latent, g] = low[g]
        for i in range(len(narrow)):
            alone[latent, i] = found[narrow[i]]


@numba.njit(cache=True, nogil=True)
def _insert(value: Any, place: Any, new: float, where: int) -> None:
    """Put something into a list of the highest values, behind those that are equal."""
    for i in range(len(value)):
        if new > value[i]:
            for j in range(len(value) - 1, i, -1):
                value[j], place[j] = value[j - 1], place[j - 1]
            value[i], place[i] = new, where
            return


@numba.njit(cache=True, nogil=True)
def _estimate(starts: Any, indices: Any, start: Any, rows: Any, limit: int, found: Any) -> float:
    """Count predicates among rows, or among ``limit`` of them that are evenly spread.

    Returns what the counts are to be multiplied by.
    """
    found[:] = 0
    some = rows
    if len(rows) > limit:
        step = (len(rows) - 1) / (limit - 1)
        some = np.empty(limit, dtype=rows.dtype)
        for i in range(limit):
            some[i] = rows[min(int(i * step), len(rows) - 1)]
    tally(starts, indices, some, found)
    _or_more(start, found)
    return len(rows) / max(len(some), 1)


@numba.njit(cache=True, nogil=True)
def extend(
    starts: Any,
    indices: Any,
    start: Any,
    total: Any,
    deniable: Any,
    joinable: Any,
    true: Any,
    latents: Any,
    active_starts: Any,
    active: Any,
    alone: Any,
    least: float,
    limit: int,
    first: int,
    value: Any,
    pairs: Any,
) -> None:
    """Try every predicate as the second beside a first one, for some latents.

    Parameters
    ----------
    starts, indices, start, total
        As of :func:`best_singles`, of the N predicates that may be the second.
    deniable, joinable
        ``(N,)`` whether each may be negated, and joined to the first by "or".
    true
        The cases, ascending, of which the first is true.
    least
        The share of the active cases that each side of an "or" must tell and the other must not.
    limit
        Cases at most that are counted.
    first
        Which it is, noted where it is the best so far.
    value, pairs
        ``(2, m)`` the F1 of the best "and" and "or" so far, and ``(2, m, 3)`` its first, its second
        predicate and whether that is negated; both are updated.
    """
    n, n_second = len(starts) - 1, len(total)
    inside = np.zeros(n, dtype=np.bool_)
    for i in range(len(true)):
        inside[true[i]] = True
    counted = np.zeros(n_second, dtype=np.int64)
    scale = _estimate(starts, indices, start, true, limit, counted)
    together = counted * scale
    for number in range(len(latents)):
        j = latents[number]
        rows = active[active_starts[j] : active_starts[j + 1]]
        hits = rows[inside[rows]]
        scale = _estimate(starts, indices, start, hits, limit, counted)
        apart = least * len(rows)
        for place in range(n_second):
            both = counted[place] * scale
            f1 = f1_at(both, together[place], len(rows))
            if f1 > value[0, j] + SLACK:
                _note(value, pairs, 0, j, f1, first, place, 0)
            if joinable[place] and min(len(hits), alone[j, place]) - both >= apart:
                one_of = len(hits) + alone[j, place] - both
                f1 = f1_at(one_of, len(true) + total[place] - together[place], len(rows))
                if f1 > value[1, j] + SLACK:
                    _note(value, pairs, 1, j, f1, first, place, 0)
        for place in range(n_second):  # of equal ones a plain one is kept
            if deniable[place]:
                both = len(hits) - counted[place] * scale
                f1 = f1_at(both, len(true) - together[place], len(rows))
                if f1 > value[0, j] + SLACK:
                    _note(value, pairs, 0, j, f1, first, place, 1)


@numba.njit(cache=True, nogil=True)
def _note(
    value: Any, pairs: Any, kind: int, j: int, f1: float, first: int, second: int, negated: int
) -> None:
    value[kind, j] = f1
    pairs[kind, j, 0], pairs[kind, j, 1], pairs[kind, j, 2] = first, second, negated


@numba.njit(cache=True, nogil=True)
def _fill(by: Any, cases: Any, start: Any, column: int, step: int, negated: int, out: Any) -> None:
    out[:] = negated != 0
    for i in range(by[start[column] + step - 1], by[start[column + 1]]):
        out[U(cases[i])] = negated == 0


@numba.njit(cache=True, nogil=True)
def fill_truth(by: Any, cases: Any, start: Any, choice: Any, out: Any) -> None:
    """Set ``out (n,)`` to whether a choice is true of each case.

    Parameters
    ----------
    by, cases
        The table of predicates by predicate.
    choice
        ``(10,)`` as :class:`recsae.concepts.search.Choice` has them.
    """
    _fill(by, cases, start, choice[0], choice[1], choice[2], out)
    if choice[3] < 0 and choice[7] < 0:
        return
    more = np.empty(len(out), dtype=np.bool_)
    if choice[3] >= 0:
        _fill(by, cases, start, choice[3], choice[4], choice[5], more)
        for i in range(len(out)):
            out[i] = (out[i] or more[i]) if choice[6] else (out[i] and more[i])
    if choice[7] >= 0:
        _fill(by, cases, start, choice[7], choice[8], choice[9], more)
        for i in range(len(out)):
            out[i] = out[i] and more[i]


@numba.njit(cache=True, nogil=True)
def gain_and_error(predicted: Any, before: Any, user: Any, rows: Any) -> tuple[float, float]:
    """By how much F1 is higher than before, and its standard error with users as the unit.

    F1 is a ratio of sums over cases; what a case adds to it above its value are the terms of its
    linearisation, whose sums over users give its variance.
    """
    n = len(user)
    active = np.zeros(n, dtype=np.bool_)
    for i in range(len(rows)):
        active[rows[i]] = True
    both, both_before, said, said_before = 0, 0, 0, 0
    for i in range(n):
        said += predicted[i]
        said_before += before[i]
        if active[i]:
            both += predicted[i]
            both_before += before[i]
    total, total_before = max(said + len(rows), 1), max(said_before + len(rows), 1)
    f1, f1_before = 2.0 * both / total, 2.0 * both_before / total_before
    squared, of_user, own = 0.0, -1, 0.0
    for i in range(n):
        if user[i] != of_user:
            squared += own * own
            of_user, own = user[i], 0.0
        a, p, b = 1.0 * active[i], 1.0 * predicted[i], 1.0 * before[i]
        own += (2 * p * a - f1 * (p + a)) / total
        own -= (2 * b * a - f1_before * (b + a)) / total_before
    squared += own * own
    return f1 - f1_before, np.sqrt(squared)


@numba.njit(cache=True, nogil=True)
def confirm(
    by: Any,
    cases: Any,
    start: Any,
    user: Any,
    active_starts: Any,
    active: Any,
    finalists: Any,
    cost: Any,
    errors: float,
    best: Any,
    net: Any,
) -> None:
    """For each latent the best of its finalists on other users, and its F1 less its cost.

    A pair must beat the best single predicate by so many standard errors.

    Parameters
    ----------
    finalists, cost
        ``(10, m, F)`` as :class:`recsae.concepts.search.Choice` has them, and ``(m, F)``.
    best, net
        ``(m,)``, filled.
    """
    n, (_, m, n_finalists) = len(user), finalists.shape
    truth, single, pair = (np.empty(n, np.bool_), np.empty(n, np.bool_), np.empty(n, np.bool_))
    for j in range(m):
        rows = active[active_starts[j] : active_starts[j + 1]]
        of_single, of_pair, alone, two = -np.inf, -np.inf, 0, -1
        for f in range(n_finalists):
            fill_truth(by, cases, start, finalists[:, j, f], truth)
            both = 0
            for i in range(len(rows)):
                both += truth[rows[i]]
            worth = f1_at(both, truth.sum(), len(rows)) - cost[j, f]
            if finalists[3, j, f] < 0:
                if worth > of_single:
                    of_single, alone = worth, f
                    single[:] = truth
            elif worth > of_pair:
                of_pair, two = worth, f
                pair[:] = truth
        best[j], net[j] = alone, of_single
        if two >= 0 and of_pair > of_single and len(rows):
            gain, error = gain_and_error(pair, single, user, rows)
            if gain > errors * error:
                best[j], net[j] = two, of_pair


@numba.njit(cache=True, nogil=True)
def keep_columns(indptr: Any, indices: Any, place: Any, starts: Any, kept: Any) -> None:
    """Keep some columns of a table of ones.

    ``place (S,)`` is the new number of each column, below 0 for those that are left out; ``starts``
    and ``kept``, which are filled, are as ``indptr (n + 1,)`` and ``indices``.
    """
    size = 0
    for row in range(len(indptr) - 1):
        for i in range(indptr[row], indptr[row + 1]):
            column = place[U(indices[i])]
            if column >= 0:
                kept[size] = column
                size += 1
        starts[row + 1] = size
