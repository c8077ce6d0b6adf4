"""Users' time-ordered item sequences, and which users are held out.

Sequences are held one after another and padded only in batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.core.errors import InvalidInput, NotEnoughData, nearest

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

HELDOUT_SHARE = 0.2
"""Share of the users on whom labels are tested, chosen by a hash of their ids."""


class Batch(NamedTuple):
    """A batch of n left-aligned sequences, padded with 0 on the right."""

    items: torch.Tensor  # (n, length) int64 internal item ids
    lengths: torch.Tensor  # (n,) int64
    users: torch.Tensor  # (n,) int64 internal user ids, 0 where the user is unknown


@dataclass(frozen=True)
class Sequences:
    """n sequences of internal item ids.

    Parameters
    ----------
    flat, offsets
        Items of all sequences and ``(n + 1,)`` bounds: sequence i is
        ``flat[offsets[i]:offsets[i + 1]]``.
    users
        ``(n,)`` external user ids.
    user_rows
        ``(n,)`` internal user ids of the model.
    learned
        ``(n,)`` how many of a sequence's first items are behind the one state that a model without
        sequences keeps of the user; None for sequential models.
    """

    flat: NDArray[np.int32]
    offsets: NDArray[np.int64]
    users: NDArray[np.object_]
    user_rows: NDArray[np.int64]
    learned: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.users)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """``(n,)`` number of items of each sequence."""
        return np.diff(self.offsets)

    @property
    def known(self) -> NDArray[np.int64]:
        """``(n,)`` number of first items that a model may read to recommend the next: all but the
        last, or those that it was trained on."""
        return self.lengths - 1 if self.learned is None else self.learned

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.flat[self.offsets[row] : self.offsets[row + 1]]

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {user: row for row, user in enumerate(self.users)}

    def row_of(self, user: str) -> int:
        """Row of a user by external id; InvalidInput (with the nearest ids) if unknown."""
        try:
            return self._row_of[str(user)]
        except KeyError:
            hint = nearest(str(user), self._row_of)
            raise InvalidInput(f"No user has the id {user!r}.{hint}") from None

    def first_items(
        self, rows: NDArray[np.integer[Any]], ends: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
        """The first ``ends[i]`` items of each row's sequence, one after another.

        Of each item the ``i`` it is of, its place in the sequence, and the item: ``(m,)`` each.
        """
        which = np.repeat(np.arange(len(rows)), ends)
        place = np.arange(len(which)) - np.repeat(np.cumsum(ends) - ends, ends)
        return which, place, self.flat[self.offsets[rows][which] + place]

    def batch(
        self,
        rows: NDArray[np.int64],
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        length: int,
    ) -> Batch:
        """Cut ``[start, end)`` out of each row's sequence and pad to ``(n, length)``."""
        import torch

        sizes = ends - starts
        where = starts[:, None] + np.arange(length)
        inside = np.arange(length) < sizes[:, None]
        index = np.where(inside, self.offsets[rows][:, None] + where, 0)
        items = np.where(inside, self.flat[index], 0).astype(np.int64)
        return Batch(
            torch.from_numpy(items),
            torch.from_numpy(sizes.astype(np.int64)),
            torch.from_numpy(self.user_rows[rows].astype(np.int64)),
        )


def probe_batch(sequences: Sequences, max_length: int, n: int, *, even: bool = False) -> Batch:
    """The first items of up to ``n`` sequences of two and more, for numerical checks.

    They end at different lengths; if ``even`` all at the same, which at least half of them have.
    """
    rows = np.flatnonzero(sequences.lengths >= 2)
    rows = rows[np.linspace(0, len(rows) - 1, min(n, len(rows))).astype(np.int64)]
    room = np.minimum(sequences.lengths[rows], max_length)
    ends = np.maximum(2, room - np.arange(len(rows)) % 7).clip(max=room)
    if even:
        length = int(np.sort(room)[(len(room) - 1) // 2])
        rows = rows[room >= length]
        ends = np.full(len(rows), length)
    return sequences.batch(rows, np.zeros_like(rows), ends, max_length)


def pad(sequences: Sequence[Sequence[int]], length: int, user_row: int = 0) -> Batch:
    """Batch of the last ``length`` items of a few sequences typed in by hand."""
    import torch

    kept = [list(s)[-length:] for s in sequences]
    items = torch.zeros(len(kept), length, dtype=torch.int64)
    for row, sequence in enumerate(kept):
        items[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.int64)
    lengths = torch.tensor([len(s) for s in kept], dtype=torch.int64)
    return Batch(items, lengths, torch.full((len(kept),), user_row, dtype=torch.int64))


def is_heldout(user: str, share: float = HELDOUT_SHARE) -> bool:
    """Whether a user belongs to the held-out side: decided by a hash of the external id alone.

    >>> sum(is_heldout(str(u)) for u in range(1000))
    203
    """
    digest = hashlib.sha256(f"recsae/{user}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def split_users(sequences: Sequences) -> NDArray[np.bool_]:
    """``(n,)`` booleans, True for held-out users.

    Raises
    ------
    NotEnoughData
        One of the two sides would be empty.
    """
    held = np.array([is_heldout(u) for u in sequences.users], dtype=bool)
    usable = sequences.lengths >= 2
    if not (held & usable).any() or not (~held & usable).any():
        raise NotEnoughData(
            f"The data has {int(usable.sum())} users with at least two interactions: too few to "
            "keep some users aside for testing. At least a few dozen are needed."
        )
    return held
