"""All predicates that can be made of cases, as one sparse table.

A predicate is a column (a value of an attribute in a view of the case) and a step: the threshold in
"at least so many of the view's items have the value". The table has the step that each case
reaches; counting of how many cases each predicate is true is one pass over their rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.concepts.attributes.names import VIEW_SIZES, VIEWS
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.search_loops import keep_columns, place_steps
from recsae.core import kernels

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from recsae.capture.cases import Cases


class Columns(NamedTuple):
    """C columns and their S predicates, the steps of a column one after another.

    ``view`` and ``value (C,)`` are indices of :data:`recsae.concepts.attributes.names.VIEWS` and
    of the attributes; ``start (C + 1,)`` the first predicate of each; ``column`` and ``step
    (S,)``, from 1 on, say what each predicate is.
    """

    view: NDArray[np.int64]
    value: NDArray[np.int64]
    start: NDArray[np.int64]
    column: NDArray[np.int64]
    step: NDArray[np.int64]

    @classmethod
    def of(cls, view: NDArray[np.int64], value: NDArray[np.int64]) -> Columns:
        """Columns with all their steps."""
        n_steps = np.array([len(thresholds) for thresholds in VIEWS.values()])[view]
        start = np.r_[0, np.cumsum(n_steps)]
        column = np.repeat(np.arange(len(view)), n_steps)
        return cls(view, value, start, column, np.arange(start[-1]) - start[column] + 1)

    def or_more(self, reached: NDArray[np.int64]) -> NDArray[np.int64]:
        """``(S,)`` how often each predicate is true, from how often its step is the one reached."""
        above = np.r_[0, np.cumsum(reached[::-1])][::-1]
        return np.asarray(above[:-1] - above[self.start[1:]][self.column])


class Table(NamedTuple):
    """Ones of a table: where each row begins ``(n + 1,)``, and the columns of its ones.

    Columns take two bytes each where there are few enough: tables of all predicates are large.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[Any]

    def transposed(self, n_columns: int) -> Table:
        """The same by column."""
        starts = np.zeros(n_columns + 1, dtype=np.int64)
        rows = np.empty(len(self.indices), dtype=smallest_type(len(self.indptr) - 1))
        kernels.transpose(self.indptr, self.indices, starts, rows)
        return Table(starts, rows)


class Predicates(NamedTuple):
    """S predicates on n cases: ``reached (n, S)`` has a one at the highest step of each column.

    Columns of which not even step 1 is reached have none. ``by_column`` is the same, by predicate.
    """

    columns: Columns
    reached: Table
    by_column: Table

    @property
    def n_cases(self) -> int:
        """How many cases there are."""
        return len(self.reached.indptr) - 1

    def among(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """``(S,)`` of how many of these cases each predicate is true."""
        number = np.zeros(len(self.columns.step), dtype=np.int64)
        kernels.tally(*self.reached, rows, number)
        return self.columns.or_more(number)

    def total(self) -> NDArray[np.int64]:
        """``(S,)`` of how many cases each predicate is true."""
        return self.columns.or_more(np.diff(self.by_column.indptr))

    def rows(self, column: int, step: int) -> NDArray[Any]:
        """The cases of which a predicate is true, in no order."""
        start = self.columns.start
        first, last = self.by_column.indptr[[start[column] + step - 1, start[column + 1]]]
        return self.by_column.indices[first:last]

    def of_columns(self, chosen: NDArray[np.int64]) -> SomePredicates:
        """The predicates of some columns."""
        columns = Columns.of(self.columns.view[chosen], self.columns.value[chosen])
        wide = self.columns.start[chosen][columns.column] + columns.step - 1
        place = np.full(len(self.columns.step), -1)
        place[wide] = np.arange(len(wide))
        size = int(np.diff(self.by_column.indptr)[wide].sum())
        starts, indices = (
            np.zeros_like(self.reached.indptr),
            np.empty(size, smallest_type(len(wide))),
        )
        keep_columns(*self.reached, place, starts, indices)
        return SomePredicates(columns, Table(starts, indices), self.total()[wide])


class SomePredicates(NamedTuple):
    """Predicates of some of the columns, as :class:`Predicates` has them, and their totals."""

    columns: Columns
    reached: Table
    total: NDArray[np.int64]


def smallest_type(n: int) -> type[np.unsignedinteger[Any]]:
    """The type for numbers from 0 to n - 1."""
    return np.uint16 if n <= 1 << 16 else np.uint32


def all_predicates(attributes: ItemAttributes, cases: Cases) -> Predicates:
    """The predicates of every value in every view."""
    n_values = len(attributes.names)
    view, value = np.divmod(np.arange(len(VIEWS) * n_values), max(n_values, 1))
    columns = Columns.of(view, value)
    counted = {name: attributes.counts(cases, name) for name in VIEWS}
    lookup = {name: steps_of(np.arange(VIEW_SIZES.get(name, 1) + 1), name) for name in VIEWS}
    n_reached = np.zeros(len(cases), dtype=np.int64)
    for name, counts in counted.items():
        there = np.r_[0, np.cumsum(lookup[name][counts.data] > 0)]
        n_reached += there[counts.indptr[1:]] - there[counts.indptr[:-1]]
    starts = np.r_[0, np.cumsum(n_reached)]
    indices, at = np.empty(starts[-1], smallest_type(len(columns.step))), starts[:-1].copy()
    first = 0
    for name, counts in counted.items():
        entries, n_steps = (counts.indptr, counts.indices, counts.data), len(VIEWS[name])
        place_steps(*entries, lookup[name], first, n_steps, at, indices)
        first += n_steps * n_values
    reached = Table(starts, indices)
    return Predicates(columns, reached, reached.transposed(len(columns.step)))


def steps_of(counts: NDArray[np.int8], view: str) -> NDArray[np.int8]:
    """How many of a view's thresholds each count reaches.

    >>> steps_of(np.array([0, 1, 7, 20]), "last20").tolist()
    [0, 1, 6, 10]
    """
    possible = np.arange(VIEW_SIZES.get(view, 1) + 1)
    reached = np.searchsorted(np.array(VIEWS[view]), possible, side="right").astype(np.int8)
    return reached[counts]


def f1_of(both: ArrayLike, predicted: ArrayLike, positives: ArrayLike) -> NDArray[np.float64]:
    """The harmonic mean of precision and recall, from counts that broadcast against each other.

    >>> f1_of([4, 0], [8, 0], 4).tolist()
    [0.6666666666666666, 0.0]
    """
    total = np.add(predicted, positives)
    return np.asarray(2 * np.asarray(both) / np.maximum(total, 1), dtype=np.float64)
