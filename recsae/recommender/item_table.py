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

SEPARATORS = (",", "\t", ";", "|", "::")
"""Of cells, the likeliest first."""
_CELLS = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")
_OPEN = re.compile(r"EOF inside string starting at row (\d+)")
_IN_QUOTES = "titles that hold the separator must stand in double quotes"
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


def read_items_csv(path: Path) -> pd.DataFrame:
    """Read a user's own item table (``--items``) as strings: first column the external id.

    Cells are separated by what the header line has most of: commas, tabs, semicolons, bars or
    double colons.

    Raises
    ------
    InvalidInput
        It cannot be read, or has no rows or no second column.
    """
    try:
        text = read_text(path, "utf-8-sig")
        delimiter = max(SEPARATORS, key=text.partition("\n")[0].count)
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
            whole = _without_ends(text, separator)
            if whole is not None:
                return whole
            raise ValueError(
                f"it has rows with more cells than its header line; {_IN_QUOTES}"
            ) from error
        except pd.errors.ParserError as error:
            raise ValueError(_said(str(error))) from error
        except csv.Error as error:
            raise ValueError(str(error)) from error


def _without_ends(text: str, separator: str) -> pd.DataFrame | None:
    """The table where all that its lines have more than the header is separators at their ends."""
    if len(separator) > 1:
        return None
    try:
        head, *body = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if row]
    except csv.Error:
        return None
    if any(cell for row in body for cell in row[len(head) :]):
        return None
    cells = [[*row, *[""] * len(head)][: len(head)] for row in body]
    return pd.DataFrame(cells, columns=head, dtype=str)


def _said(error: str) -> str:
    """What is wrong with a table, out of what its parser says."""
    cells, quote = _CELLS.search(error), _OPEN.search(error)
    if cells:
        there, line, seen = cells.groups()
        return f"line {line} has {seen} cells and the lines before it {there}; {_IN_QUOTES}"
    if quote:
        return f"a quote in row {quote.group(1)} is opened and never closed"
    return error


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if _QUOTED.fullmatch(cell) else cell
