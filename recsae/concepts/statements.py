"""All statements that can be made of cases, counted.

A statement is a column (a value of an attribute at a site) and a level: "at least so many of the
site's items have the value". A sparse table has the level that each case reaches; how many of any
cases each statement is true of is one pass over their rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse

from recsae.concepts.attributes.table import N_ITEMS, SITES, ItemAttributes
from recsae.core.topk import kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases


class Columns(NamedTuple):
    """C columns and the S statements they make, the levels of a column one after another.

    ``site`` and ``value (C,)`` are indices of :data:`recsae.concepts.attributes.table.SITES` and
    of the attributes; ``start (C + 1,)`` the first statement of each; ``column`` and ``level
    (S,)``, from 1 on, say what each statement is.
    """

    site: NDArray[np.int64]
    value: NDArray[np.int64]
    start: NDArray[np.int64]
    column: NDArray[np.int64]
    level: NDArray[np.int64]

    @classmethod
    def of(cls, site: NDArray[np.int64], value: NDArray[np.int64]) -> Columns:
        """These columns with all their levels."""
        n_levels = np.array([len(thresholds) for thresholds in SITES.values()])[site]
        start = np.r_[0, np.cumsum(n_levels)]
        column = np.repeat(np.arange(len(site)), n_levels)
        return cls(site, value, start, column, np.arange(start[-1]) - start[column] + 1)

    def or_more(self, reached: NDArray[np.int64]) -> NDArray[np.int64]:
        """How often each statement is true, from how often each level is the one reached."""
        above = np.r_[0, np.cumsum(reached[::-1])][::-1]
        return np.asarray(above[:-1] - above[self.start[1:]][self.column])


class Statements(NamedTuple):
    """S statements on n cases: ``reached (n, S)`` has ones at the level of each column.

    Level 0 is not stored. ``by_column`` is the same, sorted by statement.
    """

    columns: Columns
    reached: scipy.sparse.csr_matrix
    by_column: scipy.sparse.csc_matrix

    def among(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """``(S,)`` of how many of these cases each statement is true."""
        return self.columns.or_more(tally(self.reached, rows))

    def total(self) -> NDArray[np.int64]:
        """``(S,)`` of how many cases each statement is true."""
        return self.columns.or_more(np.diff(self.by_column.indptr))

    def rows(self, column: int, level: int) -> NDArray[np.int32]:
        """The cases of which a statement is true, in no order."""
        start = self.columns.start
        first, last = self.by_column.indptr[[start[column] + level - 1, start[column + 1]]]
        found: NDArray[np.int32] = self.by_column.indices[first:last]
        return found

    def of_columns(self, chosen: NDArray[np.int64]) -> Statements:
        """Some of the columns."""
        columns = Columns.of(self.columns.site[chosen], self.columns.value[chosen])
        wide = self.columns.start[chosen][columns.column] + columns.level - 1
        by_column = self.by_column[:, wide]
        return Statements(columns, by_column.tocsr(), by_column)


def tally(reached: scipy.sparse.csr_matrix, rows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """``(S,)`` how often each column of a table of ones has an entry in these rows."""
    compiled = kernels()
    if compiled is None:
        return np.bincount(reached[rows].indices, minlength=reached.shape[1])
    found = np.zeros(reached.shape[1], dtype=np.int64)
    compiled.tally(reached.indptr, reached.indices, rows, found)
    return found


def all_statements(attributes: ItemAttributes, cases: Cases) -> Statements:
    """Every value at every site."""
    n_values = len(attributes.names)
    site, value = np.divmod(np.arange(len(SITES) * n_values), max(n_values, 1))
    columns = Columns.of(site, value)
    parts = []
    for name, thresholds in SITES.items():
        counts = attributes.counts(cases, name)
        index = levels_of(counts.data, name).astype(np.int32)
        index += counts.indices.astype(np.int32) * len(thresholds) - 1
        ones = np.ones(len(index), dtype=np.int8)
        shape = (len(cases), len(thresholds) * n_values)
        parts.append(scipy.sparse.csr_matrix((ones, index, counts.indptr), shape=shape))
    reached = scipy.sparse.hstack(parts, format="csr")
    by_column = reached.tocsc()
    by_column.data = reached.data  # all ones: kept once
    return Statements(columns, reached, by_column)


def levels_of(counts: NDArray[np.int8], site: str) -> NDArray[np.int8]:
    """How many of a site's thresholds each count reaches.

    >>> levels_of(np.array([0, 1, 7, 20]), "last20").tolist()
    [0, 1, 6, 10]
    """
    possible = np.arange(N_ITEMS.get(site, 1) + 1)
    reached = np.searchsorted(np.array(SITES[site]), possible, side="right").astype(np.int8)
    return reached[counts]


def balanced_accuracy(
    both: NDArray[Any], said: NDArray[Any], positives: NDArray[Any], n: int
) -> NDArray[Any]:
    """``(sensitivity + specificity) / 2`` from counts that broadcast against each other."""
    sensitivity = both / np.maximum(positives, 1)
    specificity = 1 - (said - both) / np.maximum(n - positives, 1)
    return np.asarray(0.5 * (sensitivity + specificity))
