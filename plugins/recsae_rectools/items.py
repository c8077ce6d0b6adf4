"""Titles and attributes of a model's items: a table of one's own, or the data set's features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recsae.core.errors import InvalidInput
from recsae.recommender.catalog import PAD, ItemCatalog, build_catalog
from recsae.recommender.item_table import read_items_csv

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae_rectools.dataset import Data

MARKS = ("|", ";", "\n")
"""What may stand between values of a feature, the first that none of them has in it."""
FROM_FEATURES = "Attributes are the categorical item features of the data set."


def item_catalog(
    item_ids: Sequence[Any],
    data: Data,
    items: str | Path | None,
    columns: Mapping[str, Any],
) -> ItemCatalog:
    """The catalog of the model's items.

    Parameters
    ----------
    item_ids
        External ids in the order of recsae's internal ids, without padding.
    items
        CSV file of titles and attributes; None: the categorical features of the data set.
    columns
        ``title_column``, ``attribute_columns`` and ``separator`` as a person says them.

    Raises
    ------
    InvalidInput
        The table does not fit, or two items have the same id as text.
    """
    names = [str(item) for item in item_ids]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(
            f"Two items of the model are called {twice!r}, one by a number and one by text: let "
            "ids be of one type."
        )
    if items is not None:
        table = read_items_csv(Path(items))
        try:
            return build_catalog([PAD, *names], table, **columns)
        except InvalidInput as error:
            raise InvalidInput(f"{items}: {error}") from error
    values = feature_values(data.dataset.item_features)
    if not values:
        return build_catalog([PAD, *names], None, **columns)
    mark, cells = _cells(values, data.rows[1:])
    table = pd.DataFrame({"item_id": names, **cells})
    if columns["attribute_columns"] is None:
        columns = {**columns, "attribute_columns": list(cells)}
    kinds = dict.fromkeys(cells, "token_seq")
    catalog = build_catalog([PAD, *names], table, **columns, expected=mark, kinds=kinds)
    return catalog.with_notes(FROM_FEATURES)


def feature_values(features: Any) -> dict[str, list[tuple[str, ...]]]:
    """The values of each categorical feature, a tuple for each of the data set's ids."""
    if features is None or not hasattr(features, "get_cat_features"):  # dense ones are numbers
        return {}
    found = features.get_cat_features()
    rows, columns = found.values.nonzero()
    values: dict[str, list[tuple[str, ...]]] = {}
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        name, value = map(str, found.names[column])
        cells = values.setdefault(name, [()] * found.values.shape[0])
        cells[row] = (*cells[row], value)
    return values


def _cells(
    values: Mapping[str, Sequence[tuple[str, ...]]], rows: NDArray[np.int64]
) -> tuple[str, dict[str, list[str]]]:
    """Cells of a table, a row for each item of the model, and what separates values in them."""
    known = {value for column in values.values() for several in column for value in several}
    mark = next((m for m in MARKS if not any(m in value for value in known)), MARKS[-1])
    return mark, {
        name: [mark.join(column[row]) if row >= 0 else "" for row in rows.tolist()]
        for name, column in values.items()
    }
