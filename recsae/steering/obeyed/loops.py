"""The loop that finds lists after all scores of an item have changed by the same, compiled."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def first_of(best: Any, items: Any, added: Any, most: Any, lists: Any, unsure: Any) -> None:
    """Fill the lists ``(n, k)`` of n cases, best first, 0 behind the last item of a short one.

    Parameters
    ----------
    best, items
        ``(n, m)`` the m highest scores of each case, descending, and their items.
    added
        ``(n_items,)`` what is added to the score of each.
    most
        The largest of ``added``: no item behind a place can gain more.
    unsure
        ``(n,)``, filled: whether an item that is not among the m could be in the list.
    """
    (n, m), k = best.shape, lists.shape[1]
    values = np.empty(k, best.dtype)
    for row in range(n):
        filled = 0
        unsure[row] = True
        lists[row] = 0
        for place in range(m):
            own = best[row, place]
            if own == -np.inf or (filled == k and values[k - 1] >= own + most):
                unsure[row] = False
                break
            item = items[row, place]
            value = own + added[item]
            if filled < k:
                slot = filled
                filled += 1
            elif value > values[k - 1]:
                slot = k - 1
            else:
                continue
            while slot > 0 and value > values[slot - 1]:
                values[slot], lists[row, slot] = values[slot - 1], lists[row, slot - 1]
                slot -= 1
            values[slot], lists[row, slot] = value, item
