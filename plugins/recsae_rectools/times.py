"""Times of the interactions in a batch, for models that read them beside the items."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.sequences import Sequences


class Asked(NamedTuple):
    """A history with its times, and the time at which the next item is asked for."""

    times: NDArray[np.int64]  # (length,)
    at: int


def times_of(
    items: NDArray[np.int64], user: int, sequences: Sequences, times: NDArray[np.int64]
) -> Asked:
    """The times of a history that somebody asks about.

    A part of the user's own history has its own times, and is asked about at the time of the user's
    next interaction, or of the last where there is none. Where one item was taken out of it the
    others keep theirs, and what stands in place of an item has the time of that. Of an unknown user
    everything is at the same time.

    Parameters
    ----------
    items
        ``(length,)`` internal ids, oldest first.
    user
        Internal id, 0 if unknown.
    times
        Of the interactions in ``sequences.flat``.

    >>> from recsae.recommender.sequences import Sequences
    >>> one = Sequences(np.array([5, 6, 7]), np.array([0, 3]), np.array(["ann"]), np.array([1]))
    >>> times_of(np.array([5, 7]), 1, one, np.array([10, 20, 30]))
    Asked(times=array([10, 30]), at=30)
    """
    if user <= 0:
        return Asked(np.zeros(len(items), dtype=np.int64), 0)
    first, stop = sequences.offsets[user - 1], sequences.offsets[user]
    own, when = sequences.flat[first:stop], times[first:stop]
    places = (_nearest_part(items, own) + np.arange(len(items))).clip(max=len(own) - 1)
    if not np.array_equal(own[places], items):
        others = _one_taken_out(items, own)
        places = places if others is None else others
    after = min(int(places[-1]) + 1, len(own) - 1)
    return Asked(when[places], int(when[after]))


def _one_taken_out(items: NDArray[np.int64], own: NDArray[np.int32]) -> NDArray[np.int64] | None:
    """The places of the items in a history, if it is they with one more item between them."""
    places: list[int] = []
    for item in items.tolist():
        found = np.flatnonzero(own[places[-1] + 1 if places else 0 :] == item)
        if not len(found):
            return None
        places.append(int(found[0]) + (places[-1] + 1 if places else 0))
    return np.array(places) if places[-1] - places[0] == len(items) else None


def _nearest_part(items: NDArray[np.int64], own: NDArray[np.int32]) -> int:
    """Where the part of a history begins that has most of the items in their places.

    Of several that have as many, the beginning of the history, else the latest.
    """
    n = min(len(items), len(own))
    same = (np.lib.stride_tricks.sliding_window_view(own, n) == items[:n]).sum(1)
    most = np.flatnonzero(same == same.max())
    return int(most[0] if most[0] == 0 else most[-1])
