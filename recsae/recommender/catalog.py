"""The catalog of items: external ids, titles and attributes by internal id."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recsae.core import columns as C
from recsae.core.errors import InvalidInput, nearest
from recsae.core.text import readable
from recsae.recommender.item_values import FOREMOST, NO_VALUES, by_weight, values_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAD = "[PAD]"
"""External id and title of padding, as RecBole has it."""
TITLE_NAMES = ("title", "movie_title", "item_title", "name", "product_name", "item_name", "artist")
"""Columns that are taken for titles, the first that a table has."""
ATTRIBUTE_NAMES = (
    *("genre", "genres", "class", "category", "categories", "tag", "tags", "brand", "brands"),
    *("type", "mpaa", "director", "country", "language", "publisher", "author", "developer"),
)
"""Columns that are taken for attributes, of RecBole's data sets and of common item tables."""
YEAR_NAMES = ("release_year", "year", "publication_year")
"""Columns of years, which become the attribute "decade"."""
_YEAR = re.compile(r" \(\d{4}\)$")
N_NAMESAKES = 5
"""Ids of items of one title that a message names at most."""


@dataclass(frozen=True)
class ItemCatalog:
    """The items of a model.

    Parameters
    ----------
    frame
        One row per internal id, in order; columns ``item_id`` (external), ``title`` and, for each
        attribute, a tuple of values per item.
    recommendable
        ``(n_items,)`` booleans; False for rows such as padding that are no items.
    title_column, attributes, notes
        Where the titles came from (None: there are none), the names of the attribute columns, and
        remarks for the report.
    separated_by
        What separates the values of each attribute, in words.
    unread
        Columns of the item table that are neither titles nor attributes.
    """

    frame: pd.DataFrame
    recommendable: NDArray[np.bool_]
    title_column: str | None = None
    attributes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    separated_by: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    @property
    def n_items(self) -> int:
        """Number of internal ids, padding included: the width of the model's scores."""
        return len(self.frame)

    def with_notes(self, *notes: str) -> ItemCatalog:
        """The catalog with further remarks for the report."""
        return replace(self, notes=(*self.notes, *notes)) if notes else self

    @cached_property
    def external_ids(self) -> list[str]:
        """External id of every internal id."""
        return list(self.frame[C.ITEM])

    @cached_property
    def titles(self) -> list[str]:
        """Title of every internal id; the external id where there is none."""
        return list(self.frame[C.TITLE])

    @cached_property
    def title_of(self) -> dict[str, str]:
        """Titles by external id."""
        return dict(zip(self.external_ids, self.titles, strict=True))

    @cached_property
    def _by_id(self) -> dict[str, int]:
        ids = {x: i for i, x in enumerate(self.external_ids) if self.recommendable[i]}
        return {**{x.strip(): i for x, i in reversed(ids.items())}, **ids}

    @cached_property
    def _by_title(self) -> dict[str, list[int]]:
        """Items by what can be typed for them: the title, or as a person says it."""
        return self._items_by(lambda title: {title, readable(title)})

    @cached_property
    def _by_title_alone(self) -> dict[str, list[int]]:
        """Items by the same without the year at the end."""
        return self._items_by(lambda t: {_YEAR.sub("", said) for said in (t, readable(t))})

    def _items_by(self, said: Callable[[str], set[str]]) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for i, title in enumerate(self.titles):
            if self.recommendable[i]:
                for key in {text.casefold() for text in said(title)}:
                    rows.setdefault(key, []).append(i)
        return rows

    def frequent_values(self, n: int = 10) -> dict[str, dict[str, int]]:
        """The most frequent values of each attribute, and of how many items they are."""
        cells = {name: self.frame[name][self.recommendable] for name in self.attributes}
        return {
            name: dict(Counter(value for values in column for value in values).most_common(n))
            for name, column in cells.items()
        }

    def internal(self, external: str) -> int:
        """Internal id of an external id or, failing that, of a title.

        A title is the catalog's or as a person says it, whatever the case: "The Shadow (1994)" is
        "Shadow, The (1994)", and so is "The Shadow" where no item is called just that.

        Raises
        ------
        InvalidInput
            Neither is known, and the message names the nearest; or several items have the title.
        """
        item = self._known(external)
        if item is None:
            text = external.strip()
            titles = list(dict.fromkeys(self.titles[rows[0]] for rows in self._by_title.values()))
            hint = nearest(text, map(readable, titles)) or nearest(text, titles)
            hint = hint or nearest(text, self._by_id)
            raise InvalidInput(f"No item has the id or title {text!r}.{hint}")
        return item

    def _known(self, external: str) -> int | None:
        text = external.strip()
        known = self._by_id.get(external, self._by_id.get(text))
        if known is not None:
            return known
        key = text.casefold()
        rows = self._by_title.get(key) or self._by_title_alone.get(key, [])
        exact = [i for i in rows if text in (self.titles[i], readable(self.titles[i]))]
        rows = exact if len(exact) == 1 else rows
        if len(rows) > 1:
            ids = ", ".join(self.external_ids[i] for i in rows[:N_NAMESAKES])
            more = "" if len(rows) <= N_NAMESAKES else " ..."
            raise InvalidInput(
                f"{len(rows)} items have the title {text!r}: give one of their ids, {ids}{more}."
            )
        return rows[0] if rows else None

    def parse_sequence(self, typed: str | Iterable[str]) -> list[int]:
        """Internal ids of external ids or titles, oldest first.

        One text is an item, or items that are separated by commas; titles that hold commas are then
        quoted as in CSV: ``1,"Good, the Bad, The"``. Of several texts each is one item.

        Raises
        ------
        InvalidInput
            There is no item, or one that is unknown, or whose title several items have.
        """
        texts = self._separated(typed) if isinstance(typed, str) else list(typed)
        texts = [text for text in texts if text.strip()]
        if not texts:
            raise InvalidInput("The sequence is empty: give item ids or titles, oldest first.")
        try:
            return [self.internal(text) for text in texts]
        except InvalidInput as error:
            if isinstance(typed, str) and len(texts) > 1:
                hint = "Titles with commas are quoted, or given one by one."
                raise InvalidInput(f"{error} {hint}") from None
            raise

    def _separated(self, typed: str) -> list[str]:
        if self._known(typed) is not None:
            return [typed]
        try:
            return next(csv.reader([typed], skipinitialspace=True), [])
        except csv.Error as error:
            raise InvalidInput(f"The sequence cannot be read: {error}.") from error


def build_catalog(
    external_ids: Sequence[str],
    table: pd.DataFrame | None,
    *,
    n_pad: int = 1,
    title_column: str | None = None,
    attribute_columns: Sequence[str] | None = None,
    separator: str | None = None,
    expected: str = " ",
    kinds: Mapping[str, str] | None = None,
) -> ItemCatalog:
    """Join a model's items with a table of titles and attributes by external id.

    Parameters
    ----------
    external_ids
        External id per internal id; the first ``n_pad`` rows are padding.
    table
        Strings, first column the external id; None if there is no such table.
    title_column, attribute_columns
        Names to use; found by name if None (see ``TITLE_NAMES``, ``ATTRIBUTE_NAMES``).
    separator
        What separates the values of a cell, "none" if nothing does; None: the cells of each column
        decide, see :mod:`recsae.recommender.item_values`.
    expected, kinds
        What the file's own settings say separates values, and what its columns are ("token", one
        value, or "token_seq").

    Raises
    ------
    InvalidInput
        A column that was asked for is missing, or two rows of the table have one id.
    """
    _refuse_settings(table, attribute_columns, separator)
    ids = [PAD] * n_pad + [str(x) for x in external_ids[n_pad:]]
    frame = pd.DataFrame({C.ITEM: ids})
    recommendable = np.arange(len(ids)) >= n_pad
    if table is None or table.empty or table.shape[1] < 2:
        frame[C.TITLE] = ids
        note = "No titles or attributes of items were found; labels are by item and popularity."
        return ItemCatalog(frame, recommendable, notes=(note,))
    table, notes = _checked(table, ids[n_pad:])
    title = _pick(table, title_column, TITLE_NAMES, "title")
    wanted = attribute_columns if attribute_columns is not None else _found_attributes(table, title)
    rows = table.set_index(table.columns[0]).reindex(ids)
    titles = [PAD] * n_pad + ids[n_pad:]
    if title:
        known = rows[title].fillna("").str.replace("_", " ").str.strip()
        none = known.str.casefold().isin(NO_VALUES) & known.duplicated(keep=False)
        known = known.mask(none, "")  # one item may well be called "Null"
        titles = [t or fallback for t, fallback in zip(known, titles, strict=True)]
    else:
        notes.append("No titles of items were found; items are shown by their ids.")
    frame[C.TITLE] = titles
    notes += _mistakable(ids, titles, n_pad)
    separated, decided = {}, {}
    for column in wanted:
        _pick(table, column, (), "attribute")
        cells, name = rows[column].fillna(""), _attribute_name(column)
        if column in YEAR_NAMES:
            frame[name] = [_decade(c) for c in cells]
            continue
        kind = (kinds or {}).get(column, "")
        found = values_of(cells, separator=separator, expected=expected, kind=kind, name=column)
        values, separated[name] = found.values, found.how
        if attribute_columns is None and by_weight(values):
            notes.append(_cut_note(name, sum(len(several) > FOREMOST for several in values)))
            values = [several[:FOREMOST] for several in values]
        frame[name] = values
        if not found.expected:
            decided[name] = found.how
    names = tuple(dict.fromkeys(map(_attribute_name, wanted)))
    if not names:
        notes.append("No attributes of items were found; labels are by title term and popularity.")
    if decided:
        notes.append(
            f"By the look of the cells, values are separated by {_listing(decided)}; --separator "
            "says otherwise."
        )
    unread = _unread(table, title, wanted)
    return ItemCatalog(frame, recommendable, title, names, tuple(notes), separated, unread)


def _cut_note(name: str, n_items: int) -> str:
    return (
        f"{n_items:,} items have more than {FOREMOST} values of {name}. They seem to stand by "
        f"weight, so the first {FOREMOST} of an item count; name the column in "
        "--attribute-columns to count all."
    )


def _mistakable(ids: Sequence[str], titles: Sequence[str], n_pad: int) -> list[str]:
    """A note of titles that are ids of other items, since text is taken as an id first."""
    rows = np.arange(n_pad, len(ids))
    row_of = pd.Series(rows, index=pd.Index(ids[n_pad:], dtype=object))
    row_of = row_of[~row_of.index.duplicated(keep="last")]
    named = row_of.reindex(titles[n_pad:], fill_value=-1).to_numpy()
    found = [titles[row] for row in rows[(named >= 0) & (named != rows)]]
    if not found:
        return []
    several = f"{len(found):,} titles are ids of other items, among them "
    are = "1 title is the id of another item, " if len(found) == 1 else several
    return [
        f"{are}{found[0]!r}: such text is taken as the id, so give these items by their own ids."
    ]


def _listing(decided: Mapping[str, str]) -> str:
    """``commas in genres and tags, '|' in brand``."""
    by_mark: dict[str, list[str]] = {}
    for name, how in decided.items():
        by_mark.setdefault(how, []).append(name)
    return ", ".join(f"{how} in {' and '.join(names)}" for how, names in by_mark.items())


def _refuse_settings(table: pd.DataFrame | None, columns: object, separator: object) -> None:
    if isinstance(columns, str) or not isinstance(columns, Iterable | None):
        raise InvalidInput(f"attribute_columns is {columns!r}: give a list of columns.")
    if not isinstance(separator, str | None):
        raise InvalidInput(f"separator is {separator!r}: give a text, 'none' if there is nothing.")
    twice = [] if table is None else table.columns[table.columns.duplicated()].tolist()
    if twice:
        raise InvalidInput(f"The item table has the column {twice[0]!r} twice: keep one of them.")


def _checked(table: pd.DataFrame, ids: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    key = table.columns[0]
    table = table.astype(str)
    strange = ~table[key].isin(ids)
    if strange.any():
        plain = {x.strip(): x for x in reversed(ids)}
        found = [plain.get(k, k) for k in table.loc[strange, key].str.strip()]
        table[key] = table[key].mask(strange, pd.Series(found, table.index[strange], dtype=object))
    doubled = table[key][table[key].duplicated()]
    if len(doubled):
        raise InvalidInput(
            f"The item table has {len(doubled)} repeated ids, {doubled.iloc[0]!r} among them: "
            "keep one row per item."
        )
    missing = int((~pd.Index(ids, dtype=object).unique().isin(table[key])).sum())
    if missing == len(ids):
        raise InvalidInput(
            f"No id in column {key!r} of the item table is an item of the model (e.g. "
            f"{table[key].iloc[0]!r} against {ids[0]!r}): the first column must be the item id."
        )
    notes = [f"{missing} of {len(ids)} items are not in the item table."] if missing else []
    return table, notes


def _pick(table: pd.DataFrame, given: str | None, names: Sequence[str], what: str) -> str | None:
    if given is not None:
        if given not in table.columns[1:]:
            known = list(table.columns[1:])
            raise InvalidInput(f"The items have no {what} column {given!r}; they have {known}.")
        return given
    return next((n for n in names if n in table.columns[1:]), None)


def _found_attributes(table: pd.DataFrame, title: str | None) -> list[str]:
    known = (*ATTRIBUTE_NAMES, *YEAR_NAMES, "decade")
    columns = [c for c in table.columns[1:] if c in known and c != title]
    years = [c for c in columns if c in YEAR_NAMES]
    if "decade" in columns or len(years) > 1:
        drop = years if "decade" in columns else years[1:]
        columns = [c for c in columns if c not in drop]
    return columns


def _unread(table: pd.DataFrame, title: str | None, read: Sequence[str]) -> tuple[str, ...]:
    """Columns that say something that nothing was made of; a second year says nothing new."""
    known = {title, *read}
    if "decade" in map(_attribute_name, read):
        known |= {*YEAR_NAMES, "decade"}
    return tuple(c for c in table.columns[1:] if c not in known)


def _attribute_name(column: str) -> str:
    """Name of an attribute; the names of the catalog's own columns are taken."""
    name = "decade" if column in YEAR_NAMES else column
    return f"{name} attribute" if name in (C.ITEM, C.TITLE) else name


def _decade(cell: str) -> tuple[str, ...]:
    digits = cell.strip()[:4]
    return (f"{digits[:3]}0s",) if len(digits) == 4 and digits.isdigit() else ()
