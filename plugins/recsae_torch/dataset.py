"""A user's own histories and item table as recsae keeps them: internal ids, 0 being padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from recsae.core.errors import InvalidInput, nearest
from recsae.recommender.catalog import PAD, ItemCatalog, build_catalog
from recsae.recommender.item_table import read_items_csv
from recsae.recommender.sequences import Sequences
from recsae.recommender.user_table import build_user_table
from recsae_torch.times import TIME, in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Histories: TypeAlias = Mapping[Any, Sequence[Any]] | pd.DataFrame
    ItemTable: TypeAlias = pd.DataFrame | Path | str | None

USER = "user"
ITEM = "item"
"""Columns of a DataFrame of histories."""


def make_catalog(
    item_ids: Mapping[Any, int],
    items: ItemTable,
    title_column: str | None,
    attribute_columns: Sequence[str] | None,
    separator: str | None = None,
) -> tuple[ItemCatalog, NDArray[np.int64]]:
    """The model's items in the order of its own ids, and those ids ``(n_items,)`` (padding: -1).

    Raises
    ------
    InvalidInput
        Two items have one id, or an item table that does not fit.
    """
    known = sorted(item_ids.items(), key=lambda pair: pair[1])
    ids = np.array([-1, *(own for _, own in known)], dtype=np.int64)
    twice = ids[2:][np.diff(ids[1:]) == 0]
    if len(ids) == 1 or len(twice) or ids[1] < 0:
        seen = f"{twice[0]} comes twice" if len(twice) else f"seen: {dict(known[:1])}"
        raise InvalidInput(
            f"item_ids says which number, from 0 on, the model knows each item by ({seen})."
        )
    table = _item_table(items)
    catalog = build_catalog(
        [PAD, *(str(external) for external, _ in known)],
        table,
        title_column=title_column,
        attribute_columns=attribute_columns,
        separator=separator,
    )
    return catalog, ids


def _item_table(items: ItemTable) -> pd.DataFrame | None:
    """The table as strings."""
    if items is None:
        return None
    if not isinstance(items, pd.DataFrame):
        return read_items_csv(Path(items))
    return items.astype(object).where(items.notna(), "").astype(str)


def make_sequences(histories: Histories, catalog: ItemCatalog) -> tuple[Sequences, tuple[str, ...]]:
    """Every user's history, oldest item first, in internal ids, and remarks on their order.

    Raises
    ------
    InvalidInput
        Columns are missing, their order is not clear, or an item is none of the model's.
    """
    users, lengths, items, notes = _in_order(histories)
    code, distinct = pd.factorize(items, use_na_sentinel=False)
    internal = {external: i for i, external in enumerate(catalog.external_ids) if i}
    known = np.array([internal.get(str(item), 0) for item in distinct], dtype=np.int32)
    flat = known[code]
    unknown = np.flatnonzero(flat == 0)
    if len(unknown):
        first = str(items[unknown[0]])
        raise InvalidInput(
            f"{len(unknown):,} of {len(flat):,} interactions are with items that item_ids does not "
            f"have, {first!r} among them.{nearest(first, internal)} Leave them out."
        )
    sequences = Sequences(
        flat,
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        np.array([str(user) for user in users], dtype=object),
        np.arange(1, len(users) + 1, dtype=np.int64),
    )
    return sequences, notes


def make_user_table(users: pd.DataFrame | None, sequences: Sequences) -> pd.DataFrame | None:
    """What is known of the users of the sequences.

    Raises
    ------
    InvalidInput
        It is no table with a row per user.
    """
    if users is None:
        return None
    table = isinstance(users, pd.DataFrame)
    if not table or users.shape[1] < 2:
        seen = f"has the columns {list(users.columns)}" if table else f"is a {type(users).__name__}"
        raise InvalidInput(
            f"users {seen}: it is a DataFrame with a row per user, the user in the first column "
            "and what is known of them in the others."
        )
    return build_user_table(list(sequences.users), users)


class _Ordered(NamedTuple):
    """Interactions of m users, those of each together, the oldest first."""

    users: Sequence[Any]
    lengths: NDArray[np.int64]  # (m,)
    items: NDArray[np.object_]  # (n,)
    notes: tuple[str, ...]


def _in_order(histories: Histories) -> _Ordered:
    if isinstance(histories, Mapping):
        lengths = np.array([len(items) for items in histories.values()], dtype=np.int64)
        every = np.empty(int(lengths.sum()), dtype=object)
        every[:] = list(chain.from_iterable(histories.values()))
        return _Ordered(list(histories), lengths, every, ())
    if not isinstance(histories, pd.DataFrame):
        raise InvalidInput(
            "histories is a dict of lists of items by user, or a DataFrame with a row per "
            f"interaction, not a {type(histories).__name__}."
        )
    missing = {USER, ITEM} - set(histories.columns)
    if missing:
        raise InvalidInput(
            f"histories has the columns {list(histories.columns)}: it needs {USER!r}, {ITEM!r} "
            f"and, if its rows are not in order, {TIME!r}."
        )
    nobody = int(histories[USER].isna().sum())
    if nobody:
        raise InvalidInput(
            f"{nobody:,} of {len(histories):,} rows of histories have no user: leave them out."
        )
    table, notes = in_order(histories, USER)
    code, users = pd.factorize(table[USER])
    together = np.argsort(code, kind="stable")
    items = table[ITEM].to_numpy(dtype=object)[together]
    return _Ordered(list(users), np.bincount(code, minlength=len(users)), items, notes)
