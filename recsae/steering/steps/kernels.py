"""Compiled loops that make lists, as those of :mod:`recsae.core.kernels`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def by_probability(p: Any, gain: Any, discounts: Any, places: Any) -> None:
    """Fill ``places (n, k)`` with the columns of lists that are made place by place.

    Next comes the column with the largest ``p / discount + gain``, of equal ones the first; it is
    taken once. ``p`` and ``gain``, which is changed, are ``(n, m)``; a gain of -inf is for what is
    no item, and -1 is filled in where none is left.
    """
    for row in range(len(p)):
        for place in range(places.shape[1]):
            best, most = -1, gain.dtype.type(-np.inf)
            for i in range(p.shape[1]):
                value = p[row, i] / discounts[place] + gain[row, i]
                if value > most:
                    best, most = i, value
            places[row, place] = best
            if best >= 0:
                gain[row, best] = -np.inf
