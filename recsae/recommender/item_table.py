"""Reading tables of titles and attributes from files."""

from __future__ import annotations

import csv
import io
import re
import warnings
from pathlib import Path

import pandas as pd

from recsae.core.errors import InvalidInput
from recsae.core.files import read_text

_QUOTED = re.compile(r'"(?:[^"]|"")*"')


def read_items_csv(path: Path) -> pd.DataFrame:
    """Read a user's own item table (``--items``) as strings: first column the external id.

    Cells are separated by what the header line has most of: commas, tabs or semicolons.

    Raises
    ------
    InvalidInput
        It cannot be read, or has no rows or no second column.
    """
    try:
        text = read_text(path, "utf-8-sig")
        delimiter = max(",\t;", key=text.partition("\n")[0].count)
        table = read_cells(text, delimiter)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise InvalidInput(
            f"Cannot read the item table {path}: {str(error).strip().rstrip('.')}."
        ) from error
    if table.shape[1] < 2 or table.empty:
        raise InvalidInput(
            f"The item table {path} has {len(table)} rows and {table.shape[1]} columns; it needs a "
            "header line, the item id in the first column and titles or attributes beside it."
        )
    return table


def read_cells(text: str, separator: str) -> pd.DataFrame:
    """A table of strings, with quotes as CSV has them.

    A quote that only begins a cell, or stands in its middle, is part of it, as in ``"Great" Film``,
    unless a cell holds separators or line breaks. A quote that is never closed is part of a cell
    between tabs alone.

    Raises
    ------
    ValueError
        There is no table in it, or a row has more cells than the header.
    """
    lines = [line for line in re.split(r"\r\n|\r|\n", text) if line.strip(" ")]
    even = separator == "\t" or all(line.count('"') % 2 == 0 for line in lines)
    if len(separator) == 1 and even:
        rows = [line.split(separator) for line in lines]
        if rows and all(len(row) == len(rows[0]) for row in rows):
            head, *body = [[_unquoted(cell) for cell in row] for row in rows]
            if len(set(head)) == len(head):
                return pd.DataFrame(body, columns=head, dtype=str)
    options = {"engine": "c"} if len(separator) == 1 else {"engine": "python", "quoting": 3}
    with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
        try:
            return pd.read_csv(
                io.StringIO(text),
                sep=separator,
                dtype=str,
                na_filter=False,
                index_col=False,
                **options,
            )
        except pd.errors.ParserWarning as error:
            raise ValueError(
                "it has rows with more cells than its header line; titles that hold the separator "
                "must stand in quotes"
            ) from error
        except csv.Error as error:
            raise ValueError(str(error)) from error


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if _QUOTED.fullmatch(cell) else cell
