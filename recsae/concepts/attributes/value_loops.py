"""The compiled loop that counts values among the items of a view."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

U = np.uintp
"""Unsigned indices, of which Numba knows that they do not count from the end."""
SPARSE = 8
"""Values are sorted where fewer than one in so many is there; else all are gone through."""


@numba.njit(cache=True, nogil=True)
def count_values(
    items: Any, starts: Any, values: Any, n_values: int, column: int, more: Any
) -> Any:
    """Count how many of the items of each row have each value.

    Parameters
    ----------
    items
        ``(n, k)``, k below 128.
    starts, values
        ``(n_items + 1,)`` and the values of the items, one after another, no value of one twice.
    column, more
        A value that also counts ``more (n,)`` times; -1 if there is none.

    Returns
    -------
    tuple of ndarray
        ``(n + 1,)`` where each row begins, the values that it has, ascending, and how many items
        have each.
    """
    n, k = items.shape
    number, touched = np.zeros(n_values, np.int8), np.empty(n_values, np.int32)
    begins, size = np.zeros(n + 1, np.int32), 0
    room = max(n * k, n_values)
    found, counts = np.empty(room, np.int32), np.empty(room, np.int8)
    for row in range(n):
        n_touched = 0
        for place in range(k):
            item = U(items[row, place])
            for entry in range(U(starts[item]), U(starts[item + U(1)])):
                value = values[entry]
                if number[U(value)] == 0:
                    touched[n_touched] = value
                    n_touched += 1
                number[U(value)] += 1
        if column >= 0 and more[row] > 0:
            if number[column] == 0:
                touched[n_touched] = column
                n_touched += 1
            number[column] += more[row]
        if size + n_touched > len(found):
            found = np.concatenate((found, np.empty(len(found), np.int32)))
            counts = np.concatenate((counts, np.empty(len(counts), np.int8)))
        if n_touched * SPARSE < n_values:
            some = touched[:n_touched]
            some.sort()
            for value in some:
                found[size], counts[size] = value, number[U(value)]
                size += 1
                number[U(value)] = 0
        else:
            for value in range(U(n_values)):
                if number[value] > 0:
                    found[size], counts[size] = value, number[value]
                    size += 1
                    number[value] = 0
        begins[row + 1] = size
    return begins, found[:size].copy(), counts[:size].copy()
