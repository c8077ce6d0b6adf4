"""Attributes of histories: their length, and whether items repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases

LENGTH = "length"
REPEAT = "repetition"
BEFORE = "consumed before"
CUTS = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 70, 100, 150, 200, 300, 500)
"""Lengths that a history can be at most, or more than: a ruler fine enough that no count of
something frequent stands in for the length."""
AT_MOST = "at most"
MORE_THAN = "more than"
LENGTHS = {f"{AT_MOST} {n} item{'s' * (n > 1)}": n for n in CUTS}


def history_length(cases: Cases, value: str) -> NDArray[np.bool_]:
    """``(n,)`` whether a history, up to the case, is as long as one of :data:`LENGTHS` says."""
    return np.asarray(cases.position.astype(np.int64) + 1 <= LENGTHS[value])


def consumed_before(cases: Cases, items: NDArray[np.int32], back: int | None) -> NDArray[np.bool_]:
    """``(n, k)`` whether items stand in the history earlier than their own place.

    Parameters
    ----------
    items
        ``(n, k)`` the last k items of the histories, newest first, or recommendations.
    back
        None for recommendations, which come after the whole history; else 0: the newest item's
        place is that of the case.
    """
    sequences = cases.sequences
    rows = np.unique(cases.sequence)
    which, position, flat = sequences.first_items(rows, sequences.lengths[rows])
    n_items = np.int64(cases.catalog.n_items)
    keys = rows.astype(np.int64)[which] * n_items + flat
    consumed, first = np.unique(keys, return_index=True)
    wanted = cases.sequence.astype(np.int64)[:, None] * n_items + items
    place = np.searchsorted(consumed, wanted).clip(max=len(consumed) - 1)
    consumed_before = (consumed[place] == wanted) & (items > 0)
    limit = cases.position.astype(np.int64)[:, None] + 1
    if back is not None:
        limit = limit - 1 - np.arange(items.shape[1])
    return np.asarray(consumed_before & (position[first][place] < limit))
