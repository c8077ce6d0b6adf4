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
    from recsae.concepts.attributes.history_loops import mark_consumed

    sequences, found = cases.sequences, np.empty(items.shape, dtype=bool)
    first = np.full(cases.catalog.n_items, -1, dtype=np.int64)
    where = cases.sequence, cases.position, np.ascontiguousarray(items)
    mark_consumed(*(*where, int(back is not None), sequences.flat, sequences.offsets, first, found))
    return found
