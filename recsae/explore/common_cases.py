"""Positions that the held-out stores of two runs share: the same users after the same items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsae.capture.store import POSITION, SEQUENCE, ActivationStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.protocol import Recommender

Rows = tuple["NDArray[np.int64]", "NDArray[np.int64]"]


def common_rows(
    one: ActivationStore,
    two: ActivationStore,
    models: tuple[Recommender, Recommender] | None,
) -> Rows:
    """Rows of both stores, in the same order, that are of the same user after the same items.

    ``models`` tell which users and items those are: ids are compared, never row numbers. None where
    both stores come from the same model, whose rows are the same.
    """
    sequence = one.column(SEQUENCE).astype(np.int64)
    if models is None:
        other, shared = sequence, np.full(len(sequence), np.iinfo(np.int64).max)
    else:
        rows, where = np.unique(sequence, return_inverse=True)
        theirs, first = same_beginnings(*models, rows)
        other, shared = theirs[where], first[where]
    position = one.column(POSITION).astype(np.int64)
    kept = np.flatnonzero((other >= 0) & (position < shared))
    their_position = two.column(POSITION).astype(np.int64)
    far = 1 + max(int(position.max()), int(their_position.max()))
    mine = other[kept] * far + position[kept]
    theirs = two.column(SEQUENCE).astype(np.int64) * far + their_position
    _, here, there = np.intersect1d(mine, theirs, return_indices=True)
    return kept[here], there


def same_beginnings(one: Recommender, two: Recommender, rows: NDArray[np.int64]) -> Rows:
    """For rows of one model's sequences those of the same users in the other's, by external id.

    Two arrays ``(n,)``: the row, -1 where the other has no such user, and with how many same items
    both histories begin.
    """
    items = {str(item): row for row, item in enumerate(two.catalog.external_ids)}
    translate = np.array([items.get(str(item), -1) for item in one.catalog.external_ids])
    ours, theirs = one.sequences(), two.sequences()
    users = {str(user): row for row, user in enumerate(theirs.users)}
    other = np.array([users.get(str(ours.users[row]), -1) for row in rows], dtype=np.int64)
    shared = np.zeros(len(rows), dtype=np.int64)
    for place in np.flatnonzero(other >= 0):
        mine, yours = translate[ours[int(rows[place])]], theirs[int(other[place])]
        n = min(len(mine), len(yours))
        differs = np.flatnonzero(mine[:n] != yours[:n])
        shared[place] = differs[0] if len(differs) else n
    return other, shared
