"""Loops that Numba compiles: top k of rows, gradients of a training step, tables of ones.

An SAE's time goes into finding the k largest of thousands of activations, and into sums over the k
that are active; both are short loops over data that lies in the cache. Only imported where Numba
is installed, see :func:`recsae.core.topk.kernels`; torch does the same elsewhere.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

LANE = 16
"""Entries of a row that share a maximum."""
MIN_BUCKETED = 32
"""So many entries are sorted into buckets before they are sorted one by one."""
BISECTIONS = 16
"""At most so many steps towards a bound that about k values reach; any bound is right, a near one
leaves fewer candidates."""
AT_ONCE = 256
"""Entries of a row that are compared with the last of its list in one go."""
NOTHING = -np.inf
"""The value of an empty place in a top-k list."""
U = np.uintp
"""Unsigned indices, of which Numba knows that they do not count from the end."""


@numba.njit(cache=True, nogil=True)
def _fold(maxima: Any, block: Any) -> None:
    for i in range(len(maxima)):
        maxima[i] = block[i] if block[i] > maxima[i] else maxima[i]


@numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _span(values: Any, low: Any, high: Any) -> None:
    smallest, largest = values[0], values[0]
    for i in range(len(values)):
        smallest = values[i] if values[i] < smallest else smallest
        largest = values[i] if values[i] > largest else largest
    low[0], high[0] = smallest, largest


@numba.njit(cache=True, nogil=True)
def _bound(values: Any, k: int, spare: int, guess: Any) -> int:
    """Set ``guess[0]`` to what at least k values reach, ``k + spare`` if they differ enough.

    Returns how many reach it. It begins with what it was, which is near for rows that are alike.
    Arrays of one entry keep the type of the values.
    """
    low, high = np.empty_like(guess), np.empty_like(guess)
    _span(values, low, high)
    reach = len(values)
    for _ in range(BISECTIONS):
        if not low[0] < guess[0] < high[0]:
            guess[0] = 0.5 * low[0] + 0.5 * high[0]
            if not low[0] < guess[0] < high[0]:
                break
        bound, found = guess[0], 0
        for i in range(len(values)):
            found += values[i] >= bound
        if found < k:
            high[0] = bound
        else:
            low[0], reach = bound, found
            if found <= k + spare:
                break
        guess[0] = 0.5 * low[0] + 0.5 * high[0]
    guess[0] = low[0]
    return reach


@numba.njit(cache=True, nogil=True)
def _collect(row: Any, maxima: Any, bound: Any, lanes: Any, where: Any) -> Any:
    """Set ``where`` to the columns whose values reach the bound; how many there are."""
    width, whole = U(len(maxima)), U(len(row) // len(maxima) * len(maxima))
    n_lanes, count = U(0), U(0)
    for i in range(width):
        lanes[n_lanes] = i
        n_lanes += U(maxima[i] >= bound)
    for start in range(U(0), whole, width):
        for i in range(n_lanes):
            column = start + lanes[i]
            where[count] = column
            count += U(row[column] >= bound)
    for column in range(whole, U(len(row))):
        where[count] = column
        count += U(row[column] >= bound)
    return np.int64(count)


@numba.njit(cache=True, nogil=True)
def _keep(found: Any, where: Any, count: int, k: int, guess: Any) -> int:
    """Move the k largest candidates to the front, of equal ones those with the lower column."""
    if count <= k:
        return count
    guess[0] = NOTHING
    reach = _bound(found[:count], k, 0, guess)
    if reach < count:
        bound, kept = guess[0], U(0)
        for i in range(U(count)):
            value, column = found[i], where[i]
            found[kept], where[kept] = value, column
            kept += U(value >= bound)
        count = reach
    while count > k:  # equal values are left
        worst = 0
        for i in range(1, count):
            if _before(found[worst], where[worst], found[i], where[i]):
                worst = i
        count -= 1
        found[worst], where[worst] = found[count], where[count]
    return count


@numba.njit(cache=True, nogil=True)
def row_top_k(matrix: Any, values: Any, indices: Any, in_order: bool) -> None:
    """Fill ``values (n, k)`` and ``indices (n, k)`` with the k largest of each row of ``(n, m)``.

    Of equal ones the lower index is taken. NaN and -inf never are: where fewer than k entries
    remain, values are -inf and indices 0. If ``in_order``, the largest is first, and of equal ones
    the lower index; otherwise the order within a row means nothing.

    A row is cut into strided lanes. The k-th largest of the lanes' maxima is no larger than the
    k-th largest entry, so only lanes that reach it, about k, are looked at one by one.
    """
    n, m = matrix.shape
    k = values.shape[1]
    width, zero = max(m // LANE, min(m, 2 * k)), matrix.dtype.type(0)
    maxima = np.empty(width, matrix.dtype)
    guess, second = np.zeros(1, matrix.dtype), np.zeros(1, matrix.dtype)
    lanes, where = np.empty(width + 1, np.uint32), np.empty(m + 1, np.uint32)
    found = np.empty(m, matrix.dtype)
    starts = np.empty(k + 1, np.uint32)
    for row in range(n):
        maxima[:] = NOTHING
        for start in range(0, m // width * width, width):
            _fold(maxima, matrix[row, start : start + width])
        _bound(maxima, k, k // 8 + 2, guess)
        if guess[0] == NOTHING:
            guess[0] = np.nextafter(guess[0], zero)
        count = _collect(matrix[row], maxima, guess[0], lanes, where)
        for slot in range(U(count)):
            found[slot] = matrix[row, where[slot]]
        count = _keep(found, where, count, k, second)
        if in_order and count >= MIN_BUCKETED:
            _into_buckets(found[:count], where, starts, values[row], indices[row])
        else:
            values[row, :count], indices[row, :count] = found[:count], where[:count]
        values[row, count:], indices[row, count:] = NOTHING, 0
        if in_order:
            _sort(values[row], indices[row], count)


@numba.njit(cache=True, nogil=True)
def _into_buckets(found: Any, where: Any, starts: Any, values: Any, indices: Any) -> None:
    """Fill ``values`` and ``indices`` with the candidates, roughly the largest first.

    As many buckets as candidates cut the range of the values, and each keeps their order.
    ``starts`` holds where each bucket's next candidate goes.
    """
    low, high = np.empty(1, found.dtype), np.empty(1, found.dtype)
    _span(found, low, high)
    n, span = len(found), high[0] - low[0]
    scale = (n - 1) / span if 0 < span < np.inf else np.inf
    if scale == np.inf:
        values[:n], indices[:n] = found, where[:n]
        return
    starts[: n + 1] = 0
    for i in range(U(n)):
        starts[U((high[0] - found[i]) * scale) + U(1)] += 1
    for bucket in range(1, n):
        starts[bucket] += starts[bucket - 1]
    for i in range(U(n)):
        its = U((high[0] - found[i]) * scale)
        slot = U(starts[its])
        values[slot], indices[slot] = found[i], where[i]
        starts[its] += 1


@numba.njit(cache=True, nogil=True)
def _sort(values: Any, indices: Any, count: int) -> None:
    for i in range(1, count):
        value, column, slot = values[i], indices[i], i
        while slot > 0 and _before(value, column, values[slot - 1], indices[slot - 1]):
            values[slot], indices[slot] = values[slot - 1], indices[slot - 1]
            slot -= 1
        values[slot], indices[slot] = value, column


@numba.njit(cache=True, nogil=True, inline="always")
def _before(value: Any, column: int, other: Any, its_column: int) -> bool:
    return value > other or (value == other and column < its_column)


@numba.njit(cache=True, nogil=True)
def _number_above(block: Any, bound: Any) -> int:
    above = 0
    for i in range(len(block)):
        above += block[i] > bound
    return above


@numba.njit(cache=True, nogil=True)
def merge_top_k(matrix: Any, first: int, values: Any, indices: Any) -> None:
    """Put what is larger into the ordered lists of each row, ``values (n, k)`` and ``indices``.

    ``matrix (n, m)`` are further columns, from column ``first`` on; those before have been merged.
    Of equal entries the lower column is kept. NaN and -inf never enter. Most blocks hold nothing
    that is larger than the last of a list.
    """
    n, m = matrix.shape
    k = values.shape[1]
    for row in range(n):
        for start in range(0, m, AT_ONCE):
            block = matrix[row, start : start + AT_ONCE]
            if not _number_above(block, values[row, k - 1]):
                continue
            for column in range(len(block)):
                value, slot = block[column], k - 1
                if value > values[row, slot]:
                    while slot > 0 and value > values[row, slot - 1]:
                        values[row, slot] = values[row, slot - 1]
                        indices[row, slot] = indices[row, slot - 1]
                        slot -= 1
                    values[row, slot], indices[row, slot] = value, first + start + column


@numba.njit(cache=True, nogil=True)
def _number_from(block: Any, bound: Any) -> int:
    reached = 0
    for i in range(len(block)):
        reached += block[i] >= bound
    return reached


@numba.njit(cache=True, nogil=True)
def number_before(matrix: Any, values: Any, split: Any, before: Any) -> None:
    """Count the entries of each row that are larger than its value, or equal and before ``split``.

    ``matrix (n, m)``; ``values``, ``split`` and ``before``, which is filled, ``(n,)``.
    """
    for row in range(len(matrix)):
        entries, bound, at = matrix[row], values[row], split[row]
        before[row] = _number_from(entries[:at], bound) + _number_above(entries[at:], bound)


FAST = {"reassoc", "contract", "nsz"}
"""Liberties of floating point that let sums use vector instructions; NaN stays NaN."""


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def row_products(rows: Any, table: Any, which: Any, products: Any) -> None:
    """Fill ``products (n, m)`` with those of rows ``(n, d)`` and the entries ``which (n, m)`` of
    ``table (S, d)``."""
    for row in range(len(rows)):
        for j in range(which.shape[1]):
            entry, product = U(which[row, j]), table.dtype.type(0)
            for c in range(table.shape[1]):
                product += rows[row, c] * table[entry, c]
            products[row, j] = product


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _to_slopes(terms: Any, scale: Any, left: Any) -> Any:
    """Turn what each prefix adds to ``z_p W_dec - target`` into the loss's slope at each prefix.

    A latent takes part in the terms from its smallest prefix on. Returns the last term, squared,
    and sets ``left (d,)`` to its negative.
    """
    n, d = terms.shape
    for p in range(1, n):
        for c in range(d):
            terms[p, c] += terms[p - 1, c]
    squared = terms.dtype.type(0)
    for c in range(d):
        squared += terms[n - 1, c] * terms[n - 1, c]
        left[c] = -terms[n - 1, c]
        terms[n - 1, c] *= scale
    for p in range(n - 1, 0, -1):
        for c in range(d):
            terms[p - 1, c] = terms[p - 1, c] * scale + terms[p, c]
    return squared


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def backward(
    centred: Any,
    target: Any,
    W_dec: Any,
    values: Any,
    indices: Any,
    prefix: Any,
    scale: Any,
    left: Any,
    grad_W_dec: Any,
    grad_W_enc: Any,
    grad_b_enc: Any,
    slope_sum: Any,
    fired: Any,
) -> float:
    """Add to the gradients of ``scale / 2 * sum over p of ||z_p W_dec - target||^2``.

    ``z_p`` are the active latents of prefixes 0 to p; where all are in prefix 0 there is one term.

    Parameters
    ----------
    centred, target
        What the encoder was given, less b_dec, and what is to be reconstructed ``(n, d)``.
    values, indices
        Active latents ``(n, k)``; values of 0 and below are not active.
    prefix
        The smallest that each latent is in ``(n_latents,)``, rising from 0.
    left
        ``(n, d)`` set to ``target - z W_dec`` with all active latents.
    grad_W_dec, grad_W_enc, grad_b_enc, slope_sum
        Added to; the last is ``(d,)``, the sum over states and p of the loss's slope at z_p W_dec.
    fired
        ``(n_latents,)`` set where a latent is active.

    Returns
    -------
    float
        Sum of ``||z W_dec - target||^2`` with all active latents.
    """
    n, d = centred.shape
    k = values.shape[1]
    slopes = np.empty((prefix[-1] + 1, d), centred.dtype)
    total = 0.0
    for row in range(n):
        slopes[:] = 0
        for c in range(d):
            slopes[0, c] = -target[row, c]
        for s in range(k):
            value = values[row, s]
            if value > 0:
                latent = U(indices[row, s])
                p = U(prefix[latent])
                for c in range(d):
                    slopes[p, c] += value * W_dec[latent, c]
        total += _to_slopes(slopes, scale, left[row])
        for c in range(d):
            slope_sum[c] += slopes[0, c]
        for s in range(k):
            value = values[row, s]
            if value > 0:
                latent = U(indices[row, s])
                p = U(prefix[latent])
                inner = centred.dtype.type(0)
                for c in range(d):
                    inner += W_dec[latent, c] * slopes[p, c]
                for c in range(d):
                    grad_W_dec[latent, c] += value * slopes[p, c]
                for c in range(d):
                    grad_W_enc[latent, c] += inner * centred[row, c]
                grad_b_enc[latent] += inner
                fired[latent] = True
    return total


@numba.njit(cache=True, nogil=True)
def tally(indptr: Any, indices: Any, rows: Any, found: Any) -> None:
    """Add to ``found (S,)`` how many of these rows of a table have an entry in each column."""
    for i in range(len(rows)):
        for place in range(indptr[rows[i]], indptr[rows[i] + 1]):
            found[U(indices[place])] += 1


@numba.njit(cache=True, nogil=True)
def transpose(indptr: Any, indices: Any, starts: Any, rows: Any) -> None:
    """Turn a table of ones by row into one by column, the rows of each ascending.

    Parameters
    ----------
    indptr, indices
        ``(n + 1,)`` and the columns of each row.
    starts, rows
        ``(S + 1,)`` zeros, and as many entries as there are ones; both are filled.
    """
    for i in range(len(indices)):
        starts[U(indices[i]) + U(1)] += 1
    for column in range(1, len(starts)):
        starts[column] += starts[column - 1]
    at = starts.copy()
    for row in range(len(indptr) - 1):
        for i in range(indptr[row], indptr[row + 1]):
            place = U(indices[i])
            rows[at[place]] = row
            at[place] += 1


@numba.njit(cache=True, nogil=True)
def add_rows(indptr: Any, indices: Any, table: Any, sums: Any) -> None:
    """Add to ``sums (S, d)`` the rows of ``table (n, d)`` that have an entry in each column."""
    for row in range(len(indptr) - 1):
        for i in range(indptr[row], indptr[row + 1]):
            column = U(indices[i])
            for c in range(table.shape[1]):
                sums[column, c] += table[row, c]
