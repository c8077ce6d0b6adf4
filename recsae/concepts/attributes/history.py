"""Attributes of histories: their length, and whether items repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsae.concepts.attributes.names import LENGTHS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases


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
