"""Titles and attributes of a data set's items: its raw ``.item`` file, or a table of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recsae.core.errors import InvalidInput, summary_of
from recsae.recommender.catalog import ItemCatalog, build_catalog
from recsae.recommender.item_table import read_cells, read_items_csv

if TYPE_CHECKING:
    import pandas as pd

OTHER_TABLE = "Mend it, or give your own table with --items FILE.csv."


class ItemSource(NamedTuple):
    """The file that titles and attributes of items are from, and its columns; None if none."""

    path: Path | None
    columns: tuple[str, ...]


NO_ITEMS = ItemSource(None, ())
"""The source of a catalog without titles and attributes."""


class ItemTable(NamedTuple):
    """Titles and attributes as strings, and what their file says of them."""

    table: pd.DataFrame | None
    source: ItemSource
    key: str | None
    """The column of item ids; None: the first."""
    kinds: dict[str, str]
    """Types of columns, as RecBole has them."""
    expected: str
    """What separates values in a cell by the settings."""


class Columns(NamedTuple):
    """What a person says of the columns; None: they are found."""

    title_column: str | None
    attribute_columns: list[str] | None
    separator: str | None


def item_table(config: Any, folder: Path, items: str | Path | None) -> ItemTable:
    """The table that is given, or the raw ``.item`` file, types cut off.

    Read past RecBole: it would split titles into words, and most checkpoints' settings do not load
    these columns at all.

    Raises
    ------
    InvalidInput
        The file cannot be read.
    """
    if items is not None:
        table = read_items_csv(Path(items))
        return ItemTable(table, ItemSource(Path(items), tuple(table.columns)), None, {}, " ")
    path, expected = folder / f"{config['dataset']}.item", str(config["seq_separator"] or " ")
    if not path.is_file():
        return ItemTable(None, NO_ITEMS, None, {}, expected)
    try:
        table, kinds = read_raw(config, path)
    except InvalidInput as error:
        raise InvalidInput(f"The item file {path} {error}. {OTHER_TABLE}") from error
    source = ItemSource(path, tuple(table.columns))
    return ItemTable(table, source, str(config["ITEM_ID_FIELD"]), kinds, expected)


def read_raw(config: Any, path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """A file of RecBole's as strings, and the types of its columns, which it has in their names.

    Raises
    ------
    InvalidInput
        It cannot be read; the message says why.
    """
    try:
        text = path.read_text(encoding=config["encoding"] or "utf-8")
        table = read_cells(text.removeprefix("\ufeff"), config["field_separator"])
    except (OSError, ValueError, LookupError) as error:  # pandas' own are kinds of ValueError
        raise InvalidInput(f"cannot be read ({summary_of(error)})") from error
    kinds = dict(str(c).strip().partition(":")[::2] for c in table.columns)
    table.columns = [str(c).strip().partition(":")[0] for c in table.columns]
    return table.loc[:, ~table.columns.duplicated()], kinds


def item_catalog(
    external: Sequence[str], found: ItemTable, columns: Columns
) -> tuple[ItemCatalog, ItemSource]:
    """The catalog of the model's items, and where it is from.

    A file without the column of item ids is joined by the column that holds the model's ids.

    Raises
    ------
    InvalidInput
        The table does not fit; the message has the file.
    """
    table, source = found.table, found.source
    notes: list[str] = []
    if table is not None and found.key is not None:
        key = found.key if found.key in table else _key_of(table, external)
        if key is None:
            raise InvalidInput(
                f"The item file {source.path} has no column {found.key!r}, which holds the item "
                "ids by the checkpoint's settings, nor another one with ids of the model; it has "
                f"{list(table.columns)}. {OTHER_TABLE}"
            )
        if key != found.key:
            notes = [f"Items are joined by the column {key!r}: the file has no {found.key!r}."]
        table = table[[key, *(c for c in table.columns if c != key)]]
        source = source._replace(columns=tuple(table.columns))
    try:
        catalog = build_catalog(
            external,
            table,
            **columns._asdict(),
            expected=found.expected,
            kinds=found.kinds,
        )
    except InvalidInput as error:
        where = f"{source.path}: " if source.path else ""
        cure = "" if found.key is None else f" {OTHER_TABLE}"
        raise InvalidInput(f"{where}{error}{cure}") from error
    return catalog.with_notes(*notes), source


def _key_of(table: pd.DataFrame, external: Sequence[str]) -> str | None:
    """The column with most ids of the model, if they are at least half of them."""
    ids = set(external[1:])
    shares = {column: len(ids & set(table[column])) / max(1, len(ids)) for column in table.columns}
    best = max(shares, key=lambda column: shares[column], default=None)
    return best if best is not None and shares[best] >= 0.5 else None
