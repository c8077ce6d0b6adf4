"""The compiled loop that finds items which were consumed before."""

from __future__ import annotations

from typing import Any

import numba


@numba.njit(cache=True, nogil=True)
def mark_consumed(
    sequence: Any,
    position: Any,
    items: Any,
    back: int,
    flat: Any,
    offsets: Any,
    first: Any,
    out: Any,
) -> None:
    """Mark the items ``(n, k)`` that stand in the history before place ``position + 1 - back``.

    Parameters
    ----------
    sequence, position
        ``(n,)`` of each case; those of one sequence stand together.
    back
        0, or 1: then the place of item j is j earlier still.
    flat, offsets
        Histories, one after another, and where each begins.
    first
        ``(n_items,)`` filled with -1.
    """
    n, k = items.shape
    current, begin, end = -1, 0, 0
    for row in range(n):
        if sequence[row] != current:
            for i in range(begin, end):
                first[flat[i]] = -1
            current = sequence[row]
            begin, end = offsets[current], offsets[current + 1]
            for i in range(end - 1, begin - 1, -1):
                first[flat[i]] = i - begin
        for place in range(k):
            item = items[row, place]
            limit = position[row] + 1 - back * (1 + place)
            out[row, place] = item > 0 and 0 <= first[item] < limit
