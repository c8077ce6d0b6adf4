"""What most of the people who consume a group of items are, and few others: "mostly students"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
from scipy.special import betainc

from recsae.concepts.attributes.communities import telling
from recsae.core.columns import AGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases

MOST = 0.5
"""A value says what the people of a group are if at least so many of them have it."""
MIN_ALIKE = 5
"""So many people who consume a group alike must have a value: of fewer it would say who they are.
"""
CHANCE = 0.05
"""How likely any group at all may be said by a value that its people have by chance: of hundreds of
groups and dozens of values some stand out, and the held-out users of those are like all others."""
N_CODES = 10
"""Numbers of at most so many different values are said as they are: they are codes, or bands."""
MAX_OWN = 0.5
"""A column with more different values than this share of its users says who a user is, as ids and
postal codes do."""
MAX_VALUES = 300
"""Values of one column at most, of the most users: bounds the time."""
RESIDUAL = ("other", "others", "unknown", "not specified")
"""Values of whoever has none of the others, in lower case."""


@dataclass(frozen=True)
class People:
    """The n construction users, what they consumed and what is known of them.

    Parameters
    ----------
    consumed
        ``(n, n_items)`` share of each item in what a user consumed: every user counts as one.
    names
        Column and value.
    has
        ``(n_values, n)`` which users have them.
    """

    consumed: scipy.sparse.csc_matrix
    names: tuple[tuple[str, str], ...]
    has: scipy.sparse.csr_matrix

    @classmethod
    def of(cls, cases: Cases, table: pd.DataFrame | None) -> People | None:
        """The users of the cases in a :meth:`Recommender.user_table`; None if it says nothing."""
        if table is None or not len(cases):
            return None
        first = np.r_[True, cases.sequence[1:] != cases.sequence[:-1]]
        known = table.reindex(list(cases.sequences.users[cases.sequence[first]]))
        found = [
            (str(column), value, users)
            for column in known.columns
            for value, users in _values(str(column), known[column])
        ]
        if not found:
            return None
        n, names = cases.n_users, tuple((column, value) for column, value, _ in found)
        rows = np.repeat(np.arange(len(found)), [len(users) for *_, users in found])
        columns = np.concatenate([users for *_, users in found])
        has = scipy.sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), (len(found), n))
        own = 1 / np.bincount(cases.user, minlength=n)
        where = cases.user, cases.last_items[:, 0]
        consumed = scipy.sparse.csc_matrix((own[cases.user], where), (n, cases.catalog.n_items))
        return cls(consumed, names, has)

    def value_of(
        self, items: NDArray[np.int64], alike: NDArray[np.bool_] | None, n_groups: int
    ) -> tuple[str, str] | None:
        """Column and value that tell the people who consume a group from all; None if none does.

        At least half of the group's consumption must be of people who have it, and twice as much as
        of everybody; where the group is said by its items already, also twice as much as of those
        who consume such items: otherwise it says nothing more. So many people must do so alike that
        chance would not give it to one of all groups.

        Parameters
        ----------
        items
            Of the group.
        alike
            ``(n_items,)`` the items that have what the group's share; None if they share nothing.
        n_groups
            So many groups may get a value.
        """
        weight = np.asarray(self.consumed[:, items].sum(1)).ravel()
        if not weight.any():
            return None
        held = self.has @ weight
        share, base = held / weight.sum(), np.asarray(self.has.mean(1)).ravel()
        if alike is not None:
            others = np.asarray(self.consumed[:, np.flatnonzero(alike)].sum(1)).ravel()
            base = np.maximum(base, self.has @ others / max(others.sum(), 1e-12))
        n_holders = held**2 / np.maximum(self.has @ weight**2, 1e-12)
        likely = _by_chance(share, base, weight.sum() ** 2 / (weight**2).sum())
        pairs = zip(share.tolist(), base.tolist(), strict=True)
        worth = np.array([telling(*pair, MOST) for pair in pairs])
        worth[(n_holders < MIN_ALIKE - 1e-9) | (likely * n_groups * len(likely) > CHANCE)] = 0
        best = int(worth.argmax())
        return self.names[best] if worth[best] > 0 else None


def _by_chance(
    share: NDArray[np.float64], base: NDArray[np.float64], n: float
) -> NDArray[np.float64]:
    """How likely at least a share of n people have what a share ``base`` of all have (binomial)."""
    least = np.clip(share * n, 1e-9, n)
    return np.asarray(betainc(least, n - least + 1, np.clip(base, 0, 1)))


def _values(column: str, cells: pd.Series[Any]) -> list[tuple[str, NDArray[np.int64]]]:
    """The values of a column and which users have each, of the most users first."""
    of_value = users_by_value(column, cells)
    if say_who(cells, of_value):
        return []
    words = {v: u for v, u in of_value.items() if v.casefold() not in RESIDUAL}
    often = sorted(
        (v for v, u in words.items() if len(u) >= MIN_ALIKE), key=lambda v: -len(words[v])
    )
    return [(v, np.array(words[v], dtype=np.int64)) for v in often[:MAX_VALUES]]


def users_by_value(column: str, cells: pd.Series[Any]) -> dict[str, list[int]]:
    """Places of the users who have each value of a column of a :meth:`Recommender.user_table`.

    Numbers are put in bands, which are in their order; who has no value is with none.

    >>> import pandas as pd
    >>> users_by_value("job", pd.Series([("nurse",), (), ("clerk", "nurse")]))
    {'nurse': [0, 2], 'clerk': [2]}
    >>> users_by_value("age", pd.Series([10.0 + n for n in range(11)] + [float("nan")]))
    {'10s': [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], '20s': [10]}
    """
    if cells.dtype.kind == "f":
        return dict(_bands(column, cells.to_numpy()))
    users: dict[str, list[int]] = {}
    for user, values in enumerate(cells):
        for value in values if isinstance(values, tuple) else ():
            users.setdefault(value, []).append(user)
    return users


def say_who(cells: pd.Series[Any], of_value: Mapping[str, list[int]]) -> bool:
    """Whether so many values of a column differ that they say who a user is; bands never do."""
    n_known = len(set().union(*of_value.values()))
    return cells.dtype.kind != "f" and len(of_value) > MAX_OWN * n_known


def _bands(column: str, numbers: NDArray[np.float64]) -> Iterator[tuple[str, list[int]]]:
    """Numbers as they are if few differ, ages by decades, others by quarters of the users."""
    known = np.flatnonzero(np.isfinite(numbers))
    different = np.unique(numbers[known])
    if len(different) <= N_CODES:
        names, band = [f"{x:g}" for x in different], np.searchsorted(different, numbers[known])
    elif column.lower() in AGES:
        decades, band = np.unique(numbers[known] // 10, return_inverse=True)
        names = [f"{decade * 10:.0f}s" for decade in decades]
    else:
        low, middle, high = np.quantile(numbers[known], (0.25, 0.5, 0.75))
        band = np.searchsorted((low, middle, high), numbers[known])
        names = [f"up to {low:g}", f"{low:g} to {middle:g}", f"{middle:g} to {high:g}"]
        names.append(f"over {high:g}")
    for place, name in enumerate(names):
        yield name, known[band == place].tolist()
