"""The positions of a store as cases: their user, last items, recommendations and next item."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.capture.moments import ROWS_AT_ONCE
from recsae.capture.store import FILTERS_SEEN, POSITION, SEQUENCE, STATES, TOP, ActivationStore
from recsae.core.errors import ArtifactMismatch
from recsae.recommender.lists import History, places_of
from recsae.recommender.metrics import ndcg_of_places

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from recsae.recommender.catalog import ItemCatalog
    from recsae.recommender.protocol import LinearHead
    from recsae.recommender.sequences import Sequences

N_LAST = 5
"""Most recent items that are kept with each case; the longest view of a history that labels use."""
FULL_ITEMS = 10_000
"""Up to so many items all cases are ranked for; beyond it the time would grow with them."""


@dataclass(frozen=True)
class Cases:
    """n positions in sequences, sorted by user.

    Parameters
    ----------
    sequence, position
        ``(n,)`` row of the sequence and index of its last item.
    last_items
        ``(n, 5)`` most recent items, newest first, 0 where there are fewer.
    top_items
        ``(n, 10)`` the model's recommendations, best first; 0 where no item is left to recommend.
    targets
        ``(n,)`` the item that really came next.
    states
        ``(n, d)`` hidden states.
    filters_seen
        Whether the recommendations leave out the items up to each position.
    """

    sequence: NDArray[np.int32]
    position: NDArray[np.int32]
    last_items: NDArray[np.int32]
    top_items: NDArray[np.int32]
    targets: NDArray[np.int32]
    states: NDArray[np.float32]
    sequences: Sequences
    catalog: ItemCatalog
    filters_seen: bool = False
    counted: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    """Cache of counts and samples of these cases."""

    def __len__(self) -> int:
        return len(self.sequence)

    @cached_property
    def user(self) -> NDArray[np.int64]:
        """``(n,)`` users numbered 0, 1, ... in order of appearance."""
        starts = np.r_[True, self.sequence[1:] != self.sequence[:-1]]
        return np.asarray(np.cumsum(starts) - 1, dtype=np.int64)

    @property
    def n_users(self) -> int:
        """Number of different users."""
        return int(self.user[-1]) + 1 if len(self) else 0

    @property
    def seen(self) -> History | None:
        """What lists for these cases leave out; None if they leave out nothing."""
        return self.histories if self.filters_seen else None

    @property
    def histories(self) -> History:
        """The items up to each position."""
        ends = self.position.astype(np.int64) + 1
        return History(self.sequences, self.sequence.astype(np.int64), ends)

    def per_user(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(n_users,)`` sums of the values ``(n,)`` of the cases."""
        return np.bincount(self.user, value, minlength=self.n_users).astype(np.float64)

    def take(self, rows: NDArray[Any]) -> Cases:
        """The cases at ``rows`` (ascending, so that they stay sorted by user)."""
        return Cases(
            self.sequence[rows],
            self.position[rows],
            self.last_items[rows],
            self.top_items[rows],
            self.targets[rows],
            self.states[rows],
            self.sequences,
            self.catalog,
            self.filters_seen,
        )

    def sample(self, limit: int) -> Cases:
        """At most ``limit`` of the cases, evenly spread; the same object each time."""
        if limit >= len(self):
            return self
        key = ("sample", limit)
        if key not in self.counted:
            self.counted[key] = self.take(spread(len(self), limit))
        sampled: Cases = self.counted[key]
        return sampled

    def forget(self) -> None:
        """Drop what was counted of these cases, and samples of them; it is counted again."""
        self.counted.clear()

    def recent(self, k: int) -> NDArray[np.int32]:
        """``(n, k)`` most recent items, newest first, 0 where there are fewer."""
        if k <= self.last_items.shape[1]:
            return self.last_items[:, :k]
        return recent_items(self.sequences, self.sequence, self.position, k)

    def history(self, row: int, n: int = 9) -> list[int]:
        """Internal ids of the last ``n`` items of a case, oldest first."""
        end = int(self.position[row]) + 1
        return [int(i) for i in self.sequences[int(self.sequence[row])][max(0, end - n) : end]]


def read_cases(
    store: ActivationStore, sequences: Sequences, catalog: ItemCatalog, limit: int | None = None
) -> Cases:
    """The cases of a store, sorted by user and position; evenly thinned to ``limit`` of them.

    Raises
    ------
    ArtifactMismatch
        The store has positions or items that the sequences and the catalog do not have.
    """
    sequence, position = store.column(SEQUENCE), store.column(POSITION)
    if (
        int(sequence.max(initial=0)) >= len(sequences)
        or bool((position + 1 >= sequences.lengths[sequence]).any())
        or int(store.column(TOP).max(initial=0)) >= catalog.n_items
    ):
        raise ArtifactMismatch(
            f"The states in {store.folder} are of other sequences or items than the model's: "
            "capture them anew, in another folder."
        )
    order = np.lexsort((position, sequence))
    if limit is not None:
        order = order[spread(len(order), limit)]
    sequence, position = sequence[order], position[order]
    return Cases(
        sequence,
        position,
        recent_items(sequences, sequence, position, N_LAST),
        store.rows(TOP, order),
        sequences.flat[sequences.offsets[sequence] + position + 1],
        store.rows(STATES, order),
        sequences,
        catalog,
        bool(store.manifest.get(FILTERS_SEEN, False)),
    )


def recent_items(
    sequences: Sequences, sequence: NDArray[np.int32], position: NDArray[np.int32], k: int
) -> NDArray[np.int32]:
    """``(n, k)`` items up to a position of a sequence, newest first, 0 where there are fewer."""
    items = np.empty((len(sequence), k), dtype=np.int32)
    back = np.arange(k)
    for start in range(0, len(items), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        place = (sequences.offsets[sequence[rows]] + position[rows])[:, None] - back
        inside = position[rows][:, None] >= back
        items[rows] = np.where(inside, sequences.flat[np.where(inside, place, 0)], 0)
    return items


def affordable(limit: int, n_items: int, least: int) -> int:
    """How many of ``limit`` cases to rank for: fewer, in proportion, where there are more than
    10,000 items, but not below ``least``.

    >>> affordable(4_000, 5_000, 200), affordable(4_000, 20_000, 200), affordable(4_000, 10**7, 200)
    (4000, 2000, 200)
    """
    return min(limit, max(least, limit * FULL_ITEMS // n_items))


def spread(n: int, limit: int) -> NDArray[np.int64]:
    """At most ``limit`` of n rows, evenly spread, ascending."""
    return np.unique(np.linspace(0, n - 1, min(n, limit)).astype(np.int64))


def ndcg_of_states(
    states: NDArray[np.float32] | torch.Tensor, cases: Cases, head: LinearHead
) -> NDArray[np.float64]:
    """NDCG@10 per case of what a linear head makes of the states."""
    return ndcg_of_places(places_of(states, cases.targets, head, cases.catalog, 10, cases.seen))
