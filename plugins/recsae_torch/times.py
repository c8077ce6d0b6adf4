"""The order of interactions in a table: its column of times, as numbers, dates or text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recsae.core.errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

TIME = "time"
"""Column of times in a table of interactions."""
OTHER_NAMES = frozenset(
    {"timestamp", "timestamps", "datetime", "date", "ts", "unix_timestamp", "unixtime"}
    | {"event_time", "created_at", "unixreviewtime"}
)
"""Further names of it, in lower case."""
_TIME_WORDS = frozenset({"time", "timestamp", "date", "datetime", "day", "ts"})
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_DAYS = (
    *(mark.join(order) for mark in "/-." for order in (("%d", "%m", "%Y"), ("%m", "%d", "%Y"))),
    *("%Y/%m/%d", "%Y.%m.%d", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%m %d, %Y"),
)
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
_FORMATS = (
    *(day + clock for day, clock in product(_DAYS, _CLOCKS)),
    "%a %b %d %H:%M:%S %z %Y",
    "%a %b %d %H:%M:%S %Y",
)
_SHORT = ("%d%m%y", "%m%d%y")
_YEAR_LAST = {
    6: _SHORT,
    **{
        width: tuple(order + clock for order in ("%d%m%Y", "%m%d%Y"))
        for width, clock in ((8, ""), (12, "%H%M"), (14, "%H%M%S"))
    },
}
"""Dates in digits alone that are not in the order of their numbers, by how many digits they have;
of six digits other numbers can be as well."""
_CURE = "Give numbers, dates or text such as 2020-12-31 13:59:00."


def in_order(table: pd.DataFrame, user: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows in order of time, and remarks where that rests on an assumption.

    Parameters
    ----------
    user
        Name of the column of users.

    Raises
    ------
    InvalidInput
        It is not clear which column holds the times, or what they say.
    """
    column = _column(table)
    if column is None:
        note = (
            f"histories has no column {TIME!r}: its rows are taken to be in order, the oldest "
            "first."
        )
        return table, (note,)
    named = [f"Histories are in order of the column {column!r}."] if column != TIME else []
    order = pd.Series(_order(table[column], column), index=table.index)
    table, order = table.iloc[(rows := np.argsort(order, kind="stable"))], order.iloc[rows]
    same = int(pd.DataFrame({0: table[user].to_numpy(), 1: order.to_numpy()}).duplicated().sum())
    if same:
        named.append(
            f"{same:,} of {len(table):,} interactions have the time of another one of their user; "
            "these keep the order of their rows."
        )
    return table, tuple(named)


def _column(table: pd.DataFrame) -> str | None:
    if TIME in table.columns:
        return TIME
    names = [name for name in table.columns if isinstance(name, str)]
    known = [name for name in names if name.casefold() in OTHER_NAMES]
    if len(known) == 1:
        return known[0]
    likely = known or [
        name for name in names if {w.casefold() for w in _WORD.findall(name)} & _TIME_WORDS
    ]
    if likely:
        raise InvalidInput(
            f"histories has no column {TIME!r}, but {', '.join(map(repr, likely))}: rename the one "
            f"that says when an interaction was to {TIME!r}, or leave out what is none."
        )
    return None


def _order(times: pd.Series[Any], column: str) -> NDArray[np.int64]:
    """Numbers that are in the order of the times."""
    missing = times.isna()
    if not (pd.api.types.is_numeric_dtype(times) or pd.api.types.is_datetime64_any_dtype(times)):
        missing |= times.astype(str).str.strip() == ""
    if missing.any():
        raise InvalidInput(
            f"{int(missing.sum()):,} of {len(times):,} times in the column {column!r} of histories "
            "are missing: leave these rows out."
        )
    if pd.api.types.is_bool_dtype(times):
        raise InvalidInput(f"The column {column!r} of histories holds no times, but yes and no.")
    if pd.api.types.is_datetime64_any_dtype(times):
        return _ranks(times)
    if pd.api.types.is_numeric_dtype(times):
        dates = _year_last(times, column)
        return _ranks(times) if dates is None else dates
    text = times.map(lambda value: isinstance(value, str)).astype(bool)
    if text.all():
        return _order_of_text(times.astype(object).str.strip(), column)
    if text.any():
        raise InvalidInput(
            f"The column {column!r} of histories holds text and other values, such as "
            f"{times.iloc[0]!r}. {_CURE}"
        )
    try:
        return _ranks(pd.to_datetime(times, utc=True) if _dates(times) else times)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"The times in the column {column!r} of histories, such as {times.iloc[0]!r}, cannot "
            f"be put in order. {_CURE}"
        ) from error


def _dates(times: pd.Series[Any]) -> bool:
    return bool(times.map(lambda value: hasattr(value, "isoformat")).all())


def _ranks(times: pd.Series[Any]) -> NDArray[np.int64]:
    return np.asarray(times.rank(method="dense"), dtype=np.int64)


def _order_of_text(text: pd.Series[Any], column: str) -> NDArray[np.int64]:
    """Of digits, of ISO dates, or of the only format that fits every row."""
    numbers = pd.to_numeric(text, errors="coerce")
    if numbers.notna().all() and np.isfinite(numbers).all():
        if not text.str.fullmatch(r"[+-]?\d+").all():
            return _ranks(numbers)
        dates = _year_last(text, column)
        return _ranks(text.map(int)) if dates is None else dates
    iso = _read(text, "ISO8601")
    if iso is not None:
        return iso
    found = _in_format(text, _FORMATS, column)
    if found is None:
        raise InvalidInput(
            f"The times in the column {column!r} of histories, such as {text.iloc[0]!r} and "
            f"{text.iloc[-1]!r}, are text that cannot be read as times, or not all alike. {_CURE}"
        )
    return found


def _year_last(times: pd.Series[Any], column: str) -> NDArray[np.int64] | None:
    """The order of dates such as 31122020, whose year does not come first; None of other numbers.

    Other numbers of so many digits are such dates by chance about once in 300 for each row.
    """
    digits = _digits(times.iloc[:1])  # most tables are known by their first row
    if digits is None or not any(_read(digits, form) is not None for form in _forms(digits)):
        return None
    digits = _digits(times)
    if digits is None:
        return None
    if digits.str.len().iloc[0] > len("311220"):
        return _in_format(digits, _forms(digits), column)
    as_numbers = _ranks(digits.map(int))
    orders = [order for order in (_read(digits, form) for form in _SHORT) if order is not None]
    if any(not np.array_equal(order, as_numbers) for order in orders):
        raise InvalidInput(
            f"The times in the column {column!r} of histories, such as {times.iloc[0]}, may be "
            f"dates that begin with the year, the month or the day, or numbers. {_CURE}"
        )
    return None


def _digits(times: pd.Series[Any]) -> pd.Series[Any] | None:
    """Text of an even number of digits, since 1122020 has lost its first; None of other numbers."""
    if pd.api.types.is_numeric_dtype(times):
        if not (times % 1 == 0).all():
            return None
        times = times.map(lambda value: str(int(value)))
    if not times.str.fullmatch(r"\d{5,14}").all():
        return None
    longest = int(times.str.len().max())
    return times.str.zfill(longest + longest % 2)


def _forms(digits: pd.Series[Any]) -> tuple[str, ...]:
    return _YEAR_LAST.get(int(digits.str.len().max()), ())


def _in_format(
    text: pd.Series[Any], formats: Sequence[str], column: str
) -> NDArray[np.int64] | None:
    """The order by the formats that fit every row; None if none does."""
    likely = (form for form in formats if _read(text.iloc[:1], form) is not None)
    orders = [order for order in (_read(text, form) for form in likely) if order is not None]
    if any(not np.array_equal(orders[0], order) for order in orders[1:]):
        raise InvalidInput(
            f"The times in the column {column!r} of histories, such as {text.iloc[0]!r}, may begin "
            f"with the day or with the month. {_CURE}"
        )
    return orders[0] if orders else None


def _read(text: pd.Series[Any], form: str) -> NDArray[np.int64] | None:
    found = pd.to_datetime(text, format=form, utc=True, errors="coerce")
    return _ranks(found) if found.notna().all() else None
