"""Titles and attributes of a model's items: a table of one's own, or the data set's features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae.core.errors import InvalidInput
from recsae.recommender.catalog import PAD, ItemCatalog, build_catalog
from recsae.recommender.item_table import read_items_csv

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recsae_rectools.dataset import Data

Values = tuple[str, ...]
FROM_FEATURES = (
    "No titles of items were found; items are shown by their ids.",
    "Attributes are the categorical features of items in the data set.",
)


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
    plain = build_catalog([PAD, *names], None)
    values = feature_values(data.dataset.item_features)
    if columns["title_column"] is not None:
        raise InvalidInput("Titles are read from a table of items: give one with --items FILE.csv.")
    wanted = values if columns["attribute_columns"] is None else columns["attribute_columns"]
    for name in wanted:
        if name not in values:
            raise InvalidInput(
                f"The data set's items have no categorical feature {name!r}; they have "
                f"{list(values)}. A table of items can be given with --items FILE.csv."
            )
    return _with_features(plain, {name: values[name] for name in wanted}, data.rows)


def _with_features(
    plain: ItemCatalog, values: Mapping[str, Sequence[Values]], rows: NDArray[np.int64]
) -> ItemCatalog:
    """The catalog with the values of the data set's features; items without any have none."""
    if not values:
        return plain
    frame = plain.frame.copy()
    for name, column in values.items():
        taken = f"{name} attribute" if name in plain.frame else name
        frame[taken] = [column[row] if row >= 0 else () for row in rows.tolist()]
    attributes = tuple(frame.columns[plain.frame.shape[1] :])
    return replace(plain, frame=frame, attributes=attributes, notes=FROM_FEATURES)


def feature_values(features: Any) -> dict[str, list[Values]]:
    """The values of each categorical feature, a tuple for each of the data set's ids."""
    if features is None or not hasattr(features, "get_cat_features"):  # dense ones are numbers
        return {}
    found = features.get_cat_features()
    rows, columns = found.values.nonzero()
    values: dict[str, list[Values]] = {}
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        name, value = map(str, found.names[column])
        cells = values.setdefault(name, [()] * found.values.shape[0])
        cells[row] = (*cells[row], value)
    return values
