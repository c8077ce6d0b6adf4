"""Users' own histories as recsae keeps them: internal ids of items, one user after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from recsae.core.errors import InvalidInput
from recsae.recommender.catalog import ItemCatalog
from recsae.recommender.sequences import Sequences
from recsae_torch.grouping import (
    ITEM,
    NO_ITEM,
    USER,
    Lists,
    draw,
    group,
    internal_ids,
    notes_on_draw,
    refuse_columns,
    refuse_items,
    refuse_rows,
    spans,
)
from recsae_torch.times import NO_TIME, notes_on_times, order_of, time_column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Histories: TypeAlias = Mapping[Any, Sequence[Any]] | pd.DataFrame | Path | str


def make_sequences(
    histories: Histories, catalog: ItemCatalog, max_users: int | None = None
) -> tuple[Sequences, tuple[str, ...]]:
    """Every user's history, oldest item first, in internal ids, and remarks on them.

    Raises
    ------
    InvalidInput
        Columns are missing, their order is not clear, or an item is none of the model's.
    """
    known = pd.Series(np.arange(1, catalog.n_items), index=catalog.external_ids[1:])
    known = known[~known.index.duplicated(keep="last")]
    if isinstance(histories, Mapping):
        lists = _from_mapping(histories, known, max_users)
    elif isinstance(histories, pd.DataFrame):
        lists = _from_table(histories, known, max_users)
    elif isinstance(histories, str | Path):
        from recsae_torch.out_of_core import read_histories

        lists = read_histories(Path(histories), known, max_users)
    else:
        raise InvalidInput(
            "histories is a dict of lists of items by user, a DataFrame with a row per "
            f"interaction, or the path of Parquet files, not a {type(histories).__name__}."
        )
    sequences = Sequences(
        lists.flat,
        np.concatenate([[0], np.cumsum(lists.lengths, dtype=np.int64)]),
        np.array(lists.users, dtype=object),
        np.arange(1, len(lists.users) + 1, dtype=np.int64),
    )
    return sequences, lists.notes


def _from_mapping(
    histories: Mapping[Any, Sequence[Any]], known: pd.Series[Any], max_users: int | None
) -> Lists:
    for user, items in histories.items():
        _refuse_unordered(user, items)
    lengths = np.array([len(items) for items in histories.values()], dtype=np.int64)
    every = np.empty(int(lengths.sum()), dtype=object)
    every[:] = list(chain.from_iterable(histories.values()))
    flat = _internal(every, known)
    numbers = draw(len(histories), max_users)
    kept = np.flatnonzero(numbers >= 0)
    names, starts = list(histories), np.cumsum(lengths) - lengths
    return Lists(
        [str(names[row]) for row in kept],
        lengths[kept],
        flat[spans(starts[kept], lengths[kept])],
        notes_on_draw(numbers),
    )


def _refuse_unordered(user: Any, items: Any) -> None:
    """Refuse what is no list of items in an order."""
    shape = getattr(items, "shape", (0,))
    if not isinstance(items, Mapping | Set) and len(shape) == 1:
        with suppress(TypeError):
            len(items)
            iter(items)
            return
    raise InvalidInput(
        f"The history of user {str(user)!r} is a {type(items).__name__}: it is a list of items, "
        "oldest first."
    )


def _from_table(table: pd.DataFrame, known: pd.Series[Any], max_users: int | None) -> Lists:
    refuse_columns(table.columns)
    user, users = pd.factorize(table[USER])
    refuse_rows(len(table), int((user < 0).sum()))
    column = time_column(table.columns)
    time = np.arange(len(table)) if column is None else order_of(table[column], column)
    items = _internal(table[ITEM], known)
    numbers = draw(len(users), max_users)
    notes = notes_on_draw(numbers)
    if notes:
        user = numbers[user]
        rows, users = user >= 0, users[numbers >= 0]
        user, items, time = user[rows], items[rows], time[rows]
    groups = group(user, time)
    told = (NO_TIME,) if column is None else notes_on_times(column, groups.n_same, len(items))
    names = [str(user) for user in users.take(groups.users)]
    return Lists(names, groups.lengths, items[groups.rows], (*notes, *told))


def _internal(items: Any, known: pd.Series[Any]) -> NDArray[np.int32]:
    """Internal ids of all items, in the order of their rows."""
    try:
        code, different = pd.factorize(items)  # -1 where there is none
    except TypeError as error:
        raise InvalidInput(f"Items of histories are single ids: {error}.") from error
    flat: NDArray[np.int32] = internal_ids(different, known)[code]
    unknown = np.flatnonzero(flat == 0)
    if len(unknown):
        first = code[unknown[0]]
        name = NO_ITEM if first < 0 else different[first]
        refuse_items(len(unknown), len(flat), name, known)
    return flat
