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


NO_TIME = f"histories has no column {TIME!r}: its rows are taken to be in order, the oldest first."


def time_column(names: Sequence[Any]) -> str | None:
    """Which of a table's columns holds the times; None if none does.

    Raises
    ------
    InvalidInput
        That is not clear.
    """
    if TIME in names:
        return TIME
    text = [name for name in names if isinstance(name, str)]
    known = [name for name in text if name.casefold() in OTHER_NAMES]
    if len(known) == 1:
        return known[0]
    likely = known or [
        name for name in text if {w.casefold() for w in _WORD.findall(name)} & _TIME_WORDS
    ]
    if likely:
        raise InvalidInput(
            f"histories has no column {TIME!r}, but {', '.join(map(repr, likely))}: rename the one "
            f"that says when an interaction was to {TIME!r}, or leave out what is none."
        )
    return None


def are_numbers(times: pd.Series[Any]) -> bool:
    """Whether each time says by itself where it stands, as numbers and dates do.

    Text is read by all that the column holds, and so are numbers if the first may be a date such as
    31122020.
    """
    if pd.api.types.is_datetime64_any_dtype(times):
        return True
    return times.dtype.kind in "iuf" and not _may_be_dates(times)


def numbers_of(times: pd.Series[Any]) -> NDArray[Any]:
    """Where times that :func:`are_numbers` stand; none is missing."""
    dates = pd.api.types.is_datetime64_any_dtype(times)
    return np.asarray(times.astype(np.int64) if dates else times)


def order_of(times: pd.Series[Any], column: str) -> NDArray[Any]:
    """``(n,)`` numbers that are in the order of the times.

    Parameters
    ----------
    column
        What messages call them.

    Raises
    ------
    InvalidInput
        It is not clear what they say, or some are missing.
    """
    if are_numbers(times):
        refuse_missing(int(times.isna().sum()), len(times), column)
        return numbers_of(times)
    try:
        code, distinct = pd.factorize(times)
    except TypeError as error:  # no text, number or date can do that
        raise _not_in_order(times, column) from error
    different = pd.Series(distinct)
    gone = np.append(are_blank(different), True)[code]
    refuse_missing(int(gone.sum()), len(times), column)
    order: NDArray[np.int64] = order_of_different(different, column)[code]
    return order


def are_blank(times: pd.Series[Any]) -> NDArray[np.bool_]:
    """``(n,)`` booleans: True where there is nothing but blanks."""
    if pd.api.types.is_numeric_dtype(times):
        return np.zeros(len(times), dtype=bool)
    return np.asarray(times.astype(str).str.strip() == "", dtype=bool)


def refuse_missing(n_missing: int, n: int, column: str) -> None:
    """InvalidInput if some of n times are missing."""
    if n_missing:
        raise InvalidInput(
            f"{n_missing:,} of {n:,} times in the column {column!r} of histories are missing: "
            "leave these rows out."
        )


def notes_on_times(column: str, n_same: int, n: int) -> tuple[str, ...]:
    """Remarks where the order of n interactions rests on an assumption."""
    named = [f"Histories are in order of the column {column!r}."] if column != TIME else []
    if n_same:
        named.append(
            f"{n_same:,} of {n:,} interactions have the time of another one of their user; "
            "these keep the order of their rows."
        )
    return tuple(named)


def order_of_different(times: pd.Series[Any], column: str) -> NDArray[np.int64]:
    """Of times that are all different and not missing, numbers that are in their order.

    Raises
    ------
    InvalidInput
        It is not clear what they say.
    """
    if pd.api.types.is_bool_dtype(times):
        raise InvalidInput(f"The column {column!r} of histories holds no times, but yes and no.")
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
        raise _not_in_order(times, column) from error


def _not_in_order(times: pd.Series[Any], column: str) -> InvalidInput:
    return InvalidInput(
        f"The times in the column {column!r} of histories, such as {times.iloc[0]!r}, cannot be "
        f"put in order. {_CURE}"
    )


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
    if not _may_be_dates(times):
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


def _may_be_dates(times: pd.Series[Any]) -> bool:
    """Whether the first of them can be read as such a date: most tables are known by that."""
    digits = _digits(times.iloc[:1])
    return digits is not None and any(_read(digits, f) is not None for f in _forms(digits))


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
