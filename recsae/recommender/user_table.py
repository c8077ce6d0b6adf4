"""Tables of users: numbers and values by user id, as recommenders give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recsae.core.columns import AGES
from recsae.core.errors import InvalidInput
from recsae.recommender.item_values import NO_VALUES, values_of

_SEVERAL = (list, tuple, set, frozenset, np.ndarray)


def build_user_table(
    users: Sequence[str],
    table: pd.DataFrame,
    *,
    kinds: Mapping[str, str] | None = None,
    expected: str = " ",
) -> pd.DataFrame:
    """What a table says of a model's users, fit for :meth:`Recommender.user_table`.

    Parameters
    ----------
    users
        Ids of the model's users, as in ``sequences().users``.
    table
        A row per user, the first column the id; cells are numbers, text or lists of text.
    kinds
        What the file says of columns: "token" (one value, also where nothing is said), "token_seq"
        (several, with ``expected`` between them), "float"; vectors ("float_seq") are left out.

    Returns
    -------
    DataFrame
        A row per user, by id; columns of numbers, NaN where there is none, and of tuples of values.

    Raises
    ------
    InvalidInput
        Two rows have one id, or no id is of a user.

    >>> rows = pd.DataFrame({"user": [2, 1], "age": [31, None], "job": ["nurse", "none"]})
    >>> build_user_table(["1", "2"], rows).to_dict("list")
    {'age': [nan, 31.0], 'job': [(), ('nurse',)]}
    """
    table = table.loc[:, ~table.columns.duplicated()]
    key = table.columns[0]
    ids = table[key].astype(str).str.strip()
    doubled = ids[ids.duplicated()]
    if len(doubled):
        raise InvalidInput(
            f"The user table has {len(doubled)} repeated ids, {doubled.iloc[0]!r} among them: "
            "keep one row per user."
        )
    if not set(ids) & set(users):
        seen = f"{ids.iloc[0]!r} against {users[0]!r}" if len(ids) else "it has no rows"
        raise InvalidInput(
            f"No id in column {key!r} of the user table is a user of the model ({seen}): the first "
            "column must be the user id, as the histories have it."
        )
    rows = table.set_axis(ids.tolist(), axis=0).reindex(list(users))
    columns: dict[str, Any] = {}
    for column in table.columns[1:]:
        kind = (kinds or {}).get(column, "")
        if kind != "float_seq":
            columns[str(column)] = _cells(rows[column], str(column), kind, expected)
    return pd.DataFrame(columns, index=pd.Index(list(users), dtype=object))


def _cells(cells: pd.Series[Any], name: str, kind: str, expected: str) -> Any:
    """Numbers, or tuples of values."""
    if any(isinstance(cell, _SEVERAL) for cell in cells):
        parts = [cell if isinstance(cell, _SEVERAL) else [cell] for cell in cells]
        return [tuple(dict.fromkeys(v for v in map(_known, values) if v)) for values in parts]
    text = [_known(cell) for cell in cells]
    numbers = pd.to_numeric(pd.Series(text, dtype=object), errors="coerce").astype(np.float64)
    numbers = numbers.replace([np.inf, -np.inf], np.nan).to_numpy()
    numeric = pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells)
    age = name.lower() in AGES and not any(np.isnan(numbers[[bool(cell) for cell in text]]))
    if age or kind == "float" or (kind == "" and numeric):
        return numbers
    return values_of(text, expected=expected, kind=kind or "token", name=name).values


def _known(cell: object) -> str:
    """A cell as text; "" where nothing is known."""
    text = str(cell).strip()
    return "" if text.casefold() in NO_VALUES or cell is pd.NaT else text
