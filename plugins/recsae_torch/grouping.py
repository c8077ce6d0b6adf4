"""Interactions put together by user, the oldest first, and what all doors to histories refuse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from recsae.core.errors import InvalidInput, nearest
from recsae_torch.times import TIME

if TYPE_CHECKING:
    from numpy.typing import NDArray

USER = "user"
ITEM = "item"
"""Columns of a table of histories."""
NO_ITEM = "nan"
"""What stands for an item that is missing."""


class Lists(NamedTuple):
    """The histories of m users, one after another."""

    users: list[str]
    lengths: NDArray[np.int64]  # (m,)
    flat: NDArray[np.int32]  # (n,) internal ids of items
    notes: tuple[str, ...]


class Groups(NamedTuple):
    """n interactions of m users, the user first whose oldest interaction is the oldest."""

    users: NDArray[np.int64]  # (m,)
    lengths: NDArray[np.int64]  # (m,)
    rows: NDArray[np.int64]  # (n,) those of each user together, the oldest first
    n_same: int
    """Interactions at the time of another one of their user, without the first of each time."""


def group(user: NDArray[Any], time: NDArray[Any]) -> Groups:
    """Put the rows of each user together.

    Parameters
    ----------
    user
        ``(n,)`` whole numbers.
    time
        ``(n,)`` numbers; rows of one user and time keep their order.
    """
    in_order = bool((time[1:] >= time[:-1]).all())
    rows = np.argsort(user, kind="stable") if in_order else np.lexsort((time, user))
    sorted_user = user[rows]
    changes = sorted_user[1:] != sorted_user[:-1]
    starts = np.flatnonzero(np.append(True, changes)[: len(rows)])
    lengths = np.diff(np.append(starts, len(rows)))
    sorted_time = time[rows]
    n_same = int(((sorted_time[1:] == sorted_time[:-1]) & ~changes).sum())
    order = np.lexsort((rows[starts], sorted_time[starts]))
    starts, lengths = starts[order], lengths[order]
    return Groups(sorted_user[starts], lengths, rows[spans(starts, lengths)], n_same)


def spans(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """All numbers from each start on, so many as its length.

    >>> spans(np.array([7, 0]), np.array([2, 3])).tolist()
    [7, 8, 0, 1, 2]
    """
    before = np.cumsum(lengths) - lengths
    numbers: NDArray[np.int64] = np.arange(int(lengths.sum()))
    numbers += np.repeat(starts - before, lengths)
    return numbers


def draw(n_users: int, most: int | None) -> NDArray[np.int64]:
    """``(n_users,)`` a new number for each user that is kept, -1 for the others.

    At most ``most`` users are kept, always the same.

    Raises
    ------
    InvalidInput
        ``most`` is no number from 1 on.
    """
    if most is None:
        return np.arange(n_users)
    if type(most) is not int or most < 1:
        raise InvalidInput(f"max_users is {most!r}: it is a whole number from 1 on, or None.")
    kept = np.random.default_rng(0).permutation(n_users)[:most]
    numbers = np.full(n_users, -1)
    numbers[np.sort(kept)] = np.arange(len(kept))
    return numbers


def notes_on_draw(numbers: NDArray[np.int64]) -> tuple[str, ...]:
    """A remark where not all users are kept."""
    n_kept = int((numbers >= 0).sum())
    if n_kept == len(numbers):
        return ()
    return (f"{n_kept:,} of {len(numbers):,} users were drawn at random (max_users).",)


def internal_ids(different: Sequence[Any], known: pd.Series[Any]) -> NDArray[np.int32]:
    """``(n + 1,)`` internal ids of n different items and, as the last, of a row without an item.

    They are 0 where they are none of the ``known``: internal ids by external ids, as text.
    """
    text = [*map(str, different), NO_ITEM]
    return np.asarray(known.reindex(text, fill_value=0), dtype=np.int32)


def refuse_columns(names: Sequence[Any], where: str = "histories") -> None:
    """InvalidInput if the columns of users or of items are missing."""
    if {USER, ITEM} - set(names):
        raise InvalidInput(
            f"{where} has the columns {list(names)}: it needs {USER!r}, {ITEM!r} and, if its rows "
            f"are not in order, {TIME!r}."
        )


def refuse_rows(n_rows: int, n_nobody: int) -> None:
    """InvalidInput if there are no rows, or some have no user."""
    if not n_rows:
        raise InvalidInput("histories has no rows: it needs one for each interaction.")
    if n_nobody:
        raise InvalidInput(
            f"{n_nobody:,} of {n_rows:,} rows of histories have no user: leave them out."
        )


def refuse_items(n_unknown: int, n: int, first: object, known: pd.Series[Any]) -> None:
    """InvalidInput if some interactions are with items that the model does not have."""
    if n_unknown:
        raise InvalidInput(
            f"{n_unknown:,} of {n:,} interactions are with items that item_ids does not have, "
            f"{str(first)!r} among them.{nearest(str(first), known.index)} Leave them out."
        )
