"""Groups of users: by what is known of them, how much they consume, and how popular that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.concepts.attributes.people import MAX_VALUES, say_who, users_by_value

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.recommender.sequences import Sequences

MIN_USERS = 20
"""Smaller groups are left out: they say who somebody is, and little that is not chance."""
MAX_GROUPS = 8
"""At most so many groups of a column, those of most users."""
MAX_COLUMNS = 8
"""At most so many columns of a table of users, the first: each comparison makes a warning rarer."""
INTERACTIONS = "number of interactions"
POPULARITY = "popularity of their items"
TASTES = ("tail", "middle", "head")
"""Thirds of the users, those with the least popular items first."""


class Group(NamedTuple):
    """Users of one kind."""

    value: str
    users: NDArray[np.bool_]
    """``(n_users,)`` in the order of the cases."""


class Division(NamedTuple):
    """The users divided by one thing."""

    by: str
    """A column of the table of users, :data:`INTERACTIONS` or :data:`POPULARITY`."""
    groups: tuple[Group, ...]
    """Two at least; they have users in common where a column has several values of one user."""


class Divided(NamedTuple):
    """All divisions of the users of some cases."""

    divisions: tuple[Division, ...]
    left_out: dict[str, str]
    """By column what of it is left out, and why."""


def divided(cases: Cases, table: pd.DataFrame | None, popularity: NDArray[np.int64]) -> Divided:
    """Divide the users of some cases into groups of twenty at least.

    Numbers are put in bands as labels of communities have them; users of whom a column says
    nothing are in none of its groups.

    Parameters
    ----------
    table
        A :meth:`Recommender.user_table`; None: nothing is known of users.
    popularity
        ``(n_items,)`` how often each item was consumed.
    """
    rows = cases.sequence[np.r_[True, cases.sequence[1:] != cases.sequence[:-1]]]
    found: list[Division] = []
    left_out: dict[str, str] = {}
    if table is not None:
        known = table.iloc[:, :MAX_COLUMNS].reindex(list(cases.sequences.users[rows]))
        for column in table.columns[MAX_COLUMNS:]:
            left_out[str(column)] = f"only the first {MAX_COLUMNS} columns are taken"
        for column in known.columns:
            division, why = _by_column(str(column), known[column])
            found += [division] if division else []
            left_out |= {str(column): why} if why else {}
    by_themselves = [
        _division(INTERACTIONS, *_by_activity(cases.sequences.lengths[rows])),
        _division(POPULARITY, TASTES, thirds(_taste(cases.sequences, rows, popularity))),
    ]
    return Divided((*found, *(one for one in by_themselves if one is not None)), left_out)


def thirds(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The third that each value is in: ``(n,)``, 0 for the smallest to 2 for the largest.

    >>> thirds(np.array([5.0, 1.0, 3.0])).tolist()
    [2, 0, 1]
    """
    return np.asarray(np.searchsorted(np.quantile(values, [1 / 3, 2 / 3]), values))


def _taste(
    sequences: Sequences, rows: NDArray[np.integer[Any]], popularity: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How popular the items of users' whole histories are, ``(n_users,)`` mean logarithms.

    Not of the measured cases alone: whoever went on to popular items there by chance would lose
    most where these come up less.
    """
    lengths = sequences.lengths[rows]
    user = np.repeat(np.arange(len(rows)), lengths)
    place = np.arange(len(user)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    items = sequences.flat[np.repeat(sequences.offsets[rows], lengths) + place]
    return np.asarray(np.bincount(user, np.log1p(popularity[items])) / lengths)


def _by_activity(lengths: NDArray[np.int64]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Thirds of the users by how long their histories are, with their names."""
    low, high = np.floor(np.quantile(lengths, [1 / 3, 2 / 3])).astype(int).tolist()
    middle = f"{high}" if high == low + 1 else f"{low + 1} to {high}"
    names = (f"up to {low}", middle, f"over {high}")
    return names, np.searchsorted([low, high], lengths)


def _by_column(column: str, cells: pd.Series[Any]) -> tuple[Division | None, str]:
    """The groups of a column, if it has two, and what of it is left out."""
    of_value = {value: users for value, users in users_by_value(column, cells).items() if users}
    if len(of_value) > MAX_VALUES or say_who(cells, of_value):
        return None, f"{len(of_value):,} different values"
    large = [value for value, users in of_value.items() if len(users) >= MIN_USERS]
    most = sorted(large, key=lambda value: -len(of_value[value]))[:MAX_GROUPS]
    if len(most) < 2:
        return None, f"no two values of {MIN_USERS} users"
    ordered = [v for v in of_value if v in most] if cells.dtype.kind == "f" else most
    place = np.full((len(ordered), len(cells)), False)
    for row, value in enumerate(ordered):
        place[row, of_value[value]] = True
    n_out, n_rare = len(of_value) - len(most), len(of_value) - len(large)
    fewer = f"fewer than {MIN_USERS} users" if n_out == n_rare else "fewer users"
    why = f"{n_out} of {len(of_value)} values, of {fewer}" if n_out else ""
    return Division(column, tuple(map(Group, ordered, place))), why


def _division(by: str, names: tuple[str, ...], group: NDArray[np.int64]) -> Division | None:
    """The groups ``(n_users,)`` with these names that are large enough, if they are two."""
    groups = [Group(name, group == number) for number, name in enumerate(names)]
    large = tuple(one for one in groups if one.users.sum() >= MIN_USERS)
    return Division(by, large) if len(large) > 1 else None
