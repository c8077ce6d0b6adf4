"""Compiled loops that make lists, as those of :mod:`recsae.core.kernels`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def by_probability(p: Any, gain: Any, items: Any, discounts: Any, places: Any) -> None:
    """Fill ``places (n, k)`` with the columns of lists that are made place by place.

    Next comes the column with the largest ``p / discount + gain``, of equal ones that of the lower
    item; it is taken once. ``p``, ``gain``, which is changed, and ``items`` are ``(n, m)``; a gain
    of -inf is for what is no item, and -1 is filled in where none is left.
    """
    for row in range(len(p)):
        for place in range(places.shape[1]):
            best, most = -1, gain.dtype.type(-np.inf)
            for i in range(p.shape[1]):
                value = p[row, i] / discounts[place] + gain[row, i]
                equal = value == most and best >= 0
                if value > most or (equal and items[row, i] < items[row, best]):
                    best, most = i, value
            places[row, place] = best
            if best >= 0:
                gain[row, best] = -np.inf


@numba.njit(cache=True, nogil=True)
def among(items: Any, others: Any, found: Any) -> None:
    """Fill ``found (n, m)`` with whether each of ``others (n, m)`` is one of the row's ``items (n,
    w)``, of which -1 is none."""
    last = np.full(max(items.max(), others.max()) + 1, -1)
    for row in range(len(items)):
        for i in range(items.shape[1]):
            if items[row, i] >= 0:
                last[items[row, i]] = row
        for i in range(others.shape[1]):
            found[row, i] = last[others[row, i]] == row


@numba.njit(cache=True, nogil=True)
def first_of_each(
    items: Any, scores: Any, p: Any, which: Any, k: int, its_items: Any, its_scores: Any, its_p: Any
) -> None:
    """Keep, of each kind of items, the k with the largest ``p``, of equal ones the lower item.

    ``items``, ``scores`` and ``p`` are ``(n, m)``, scores of -inf for what is no item; ``which
    (n_items,)`` is the kind of each item. What is kept ``(n, kinds * k)`` is filled in by ascending
    items, the rest stays as it is.
    """
    width = its_items.shape[1]
    best, counts = np.empty(width, np.int64), np.empty(width // k, np.int64)
    for row in range(len(items)):
        counts[:] = 0
        for i in range(items.shape[1]):
            if scores[row, i] == -np.inf:
                continue
            kind = which[items[row, i]]
            start, slot = kind * k, counts[kind]
            if slot == k:
                if not _before(p[row], items[row], i, best[start + k - 1]):
                    continue
                slot -= 1
            else:
                counts[kind] += 1
            while slot > 0 and _before(p[row], items[row], i, best[start + slot - 1]):
                best[start + slot] = best[start + slot - 1]
                slot -= 1
            best[start + slot] = i
        n = 0
        for kind in range(len(counts)):
            for slot in range(kind * k, kind * k + counts[kind]):
                i, place = best[slot], n
                while place > 0 and its_items[row, place - 1] > items[row, i]:
                    its_items[row, place] = its_items[row, place - 1]
                    its_scores[row, place] = its_scores[row, place - 1]
                    its_p[row, place] = its_p[row, place - 1]
                    place -= 1
                its_items[row, place] = items[row, i]
                its_scores[row, place], its_p[row, place] = scores[row, i], p[row, i]
                n += 1


@numba.njit(cache=True, nogil=True, inline="always")
def _before(p: Any, items: Any, one: int, other: int) -> bool:
    return bool(p[one] > p[other] or (p[one] == p[other] and items[one] < items[other]))
