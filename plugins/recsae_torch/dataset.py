"""A user's own tables of items and of users as recsae keeps them: internal ids, 0 being padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from recsae.core.errors import InvalidInput
from recsae.recommender.catalog import PAD, ItemCatalog, build_catalog
from recsae.recommender.item_table import read_items_csv
from recsae.recommender.sequences import Sequences
from recsae.recommender.user_table import build_user_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    ItemTable: TypeAlias = pd.DataFrame | Path | str | None


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
    _refuse_ids(item_ids)
    names, numbers = list(item_ids), list(item_ids.values())
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    ids = np.array([-1, *map(numbers.__getitem__, order)], dtype=np.int64)
    twice = ids[2:][np.diff(ids[1:]) == 0]
    if len(ids) == 1 or len(twice) or ids[1] < 0:
        first = {names[i]: numbers[i] for i in order[:1]}
        seen = f"{twice[0]} comes twice" if len(twice) else f"seen: {first}"
        raise InvalidInput(
            f"item_ids says which number, from 0 on, the model knows each item by ({seen})."
        )
    table = _item_table(items)
    catalog = build_catalog(
        [PAD, *(str(names[i]) for i in order)],
        table,
        title_column=title_column,
        attribute_columns=attribute_columns,
        separator=separator,
    )
    return catalog, ids


def _refuse_ids(item_ids: object) -> None:
    if not isinstance(item_ids, Mapping):
        seen = f"is a {type(item_ids).__name__}"
    else:
        strange = [x for x in item_ids.values() if not isinstance(x, int | np.integer)]
        if not strange:
            return
        seen = f"has the number {strange[0]!r}"
    raise InvalidInput(
        "item_ids says which number, from 0 on, the model knows each item by: it is a dict of "
        f"whole numbers, and {seen}."
    )


def _item_table(items: ItemTable) -> pd.DataFrame | None:
    """The table as strings."""
    if items is None:
        return None
    if isinstance(items, str | Path):
        return read_items_csv(Path(items))
    if not isinstance(items, pd.DataFrame):
        raise InvalidInput(
            f"items is a {type(items).__name__}: it is a DataFrame, or the path of a CSV file, "
            "with the item in the first column and its title and attributes in the others."
        )
    return items.astype(object).where(items.notna(), "").astype(str)


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
