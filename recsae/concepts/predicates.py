"""All predicates that can be made of cases, as one sparse table.

A predicate is a column (a value of an attribute in a view of the case) and a step: the threshold in
"at least so many of the view's items have the value". The table has the step that each case
reaches; counting of how many cases each predicate is true is one pass over their rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse

from recsae.concepts.attributes.table import VIEW_SIZES, VIEWS, ItemAttributes
from recsae.core import kernels

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from recsae.capture.cases import Cases


class Columns(NamedTuple):
    """C columns and their S predicates, the steps of a column one after another.

    ``view`` and ``value (C,)`` are indices of :data:`recsae.concepts.attributes.table.VIEWS` and
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


class Predicates(NamedTuple):
    """S predicates on n cases: ``reached (n, S)`` has a one at the highest step of each column.

    Columns of which not even step 1 is reached have none. ``by_column`` is the same, sorted by
    predicate.
    """

    columns: Columns
    reached: scipy.sparse.csr_matrix
    by_column: scipy.sparse.csc_matrix

    def among(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """``(S,)`` of how many of these cases each predicate is true."""
        return self.columns.or_more(tally(self.reached, rows))

    def total(self) -> NDArray[np.int64]:
        """``(S,)`` of how many cases each predicate is true."""
        return self.columns.or_more(np.diff(self.by_column.indptr))

    def rows(self, column: int, step: int) -> NDArray[np.int32]:
        """The cases of which a predicate is true, in no order."""
        start = self.columns.start
        first, last = self.by_column.indptr[[start[column] + step - 1, start[column + 1]]]
        rows: NDArray[np.int32] = self.by_column.indices[first:last]
        return rows

    def of_columns(self, chosen: NDArray[np.int64]) -> Predicates:
        """The predicates of some columns."""
        columns = Columns.of(self.columns.view[chosen], self.columns.value[chosen])
        wide = self.columns.start[chosen][columns.column] + columns.step - 1
        by_column = self.by_column[:, wide]
        return Predicates(columns, by_column.tocsr(), by_column)


def tally(reached: scipy.sparse.csr_matrix, rows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """``(S,)`` how often each column of a table of ones has an entry in these rows."""
    number = np.zeros(reached.shape[1], dtype=np.int64)
    kernels.tally(reached.indptr, reached.indices, rows, number)
    return number


def all_predicates(attributes: ItemAttributes, cases: Cases) -> Predicates:
    """The predicates of every value in every view."""
    n_values = len(attributes.names)
    view, value = np.divmod(np.arange(len(VIEWS) * n_values), max(n_values, 1))
    columns = Columns.of(view, value)
    parts = []
    for name, thresholds in VIEWS.items():
        counts = attributes.counts(cases, name)
        step = steps_of(counts.data, name)
        index = counts.indices.astype(np.int32) * len(thresholds) + step - 1
        starts, some = counts.indptr, step > 0
        if not some.all():
            index, starts = index[some], np.r_[0, np.cumsum(some)][starts]
        ones = np.ones(len(index), dtype=np.int8)
        shape = (len(cases), len(thresholds) * n_values)
        parts.append(scipy.sparse.csr_matrix((ones, index, starts), shape=shape))
    reached = scipy.sparse.hstack(parts, format="csr")
    by_column = reached.tocsc()
    by_column.data = reached.data  # all ones: kept once
    return Predicates(columns, reached, by_column)


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
