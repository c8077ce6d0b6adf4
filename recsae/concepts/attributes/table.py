"""The attribute values of items, and how many items around a case have each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse

from recsae.concepts.attributes.history import consumed_before, history_length
from recsae.concepts.attributes.names import (
    BANDS,
    BEFORE,
    DECADE,
    ERA,
    ITEM_ITSELF,
    LENGTH,
    OF_SHARE,
    PERIOD,
    PERIODS,
    POPULARITY,
    REPEAT,
    SEPARATOR,
    SHARE,
    VIEW_SIZES,
)
from recsae.core import columns as C
from recsae.core import layout
from recsae.core.files import read_parquet, write_parquet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.recommender.catalog import ItemCatalog

FILE = layout.ATTRIBUTES
MAX_BESIDE = 0.05
"""Two values of which so few items have none or both are each other's denial."""


@dataclass(frozen=True, eq=False)
class ItemAttributes:
    """V values of attributes over the items of a catalog.

    ``matrix (n_items, V)`` has ones where an item has a value; ``names`` are (attribute, value).
    Equality is identity, so that what was counted can be kept by the object it was counted for.
    """

    matrix: scipy.sparse.csr_matrix
    names: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        """SHA-256 of which items have which value."""
        digest = hashlib.sha256(self.matrix.indptr.astype(np.int64).tobytes())
        digest.update(self.matrix.indices.astype(np.int64).tobytes())
        return digest.hexdigest()

    @cached_property
    def deniable(self) -> NDArray[np.bool_]:
        """``(V,)`` whether "not" a value says something that no value says.

        Where all items but at most one in twenty have one of two values of an attribute and none
        has both, "not before the 1990s" is "1990s". "Not fairly popular" is popular or not.
        """
        n_items, has = self.matrix.shape[0] - 1, self.matrix.tocsc()
        middle = {(POPULARITY, band) for band in list(BANDS)[1:-1]}
        middle |= {(PERIOD, period) for period in list(PERIODS)[1:-1]}
        deniable = np.array([name not in middle for name in self.names], dtype=bool)
        size = np.diff(has.indptr)
        beside = MAX_BESIDE * n_items
        of = [DECADE if attribute == ERA else attribute for attribute, _ in self.names]
        for one in np.flatnonzero(2 * size >= n_items - beside).tolist():
            for other in np.flatnonzero(np.abs(size[one] + size - n_items) <= beside).tolist():
                if other != one and of[other] == of[one]:
                    either = has[:, [one, other]].sum(1)
                    if np.count_nonzero(either != 1) - 1 <= beside:  # but for padding
                        deniable[[one, other]] = False
        return deniable

    def save(self, folder: str | Path) -> None:
        """Write ``attributes.parquet``: attribute, value, and the items that have it."""
        columns = self.matrix.tocsc()
        items = np.split(columns.indices, columns.indptr[1:-1])
        table = pd.DataFrame(list(self.names), columns=[C.ATTRIBUTE, C.VALUE])
        write_parquet(Path(folder) / FILE, table.assign(items=items))

    @classmethod
    def load(cls, folder: str | Path, n_items: int) -> ItemAttributes:
        """Read what ``save`` wrote for a catalog of ``n_items``."""
        table = read_parquet(Path(folder) / FILE)
        items = [np.sort(has) for has in table["items"]]
        bounds = np.cumsum([0, *map(len, items)])
        indices = np.concatenate([np.zeros(0, dtype=np.int32), *items])
        ones = np.ones(len(indices), dtype=np.int8)
        matrix = scipy.sparse.csc_matrix((ones, indices, bounds), (n_items, len(items))).tocsr()
        return cls(matrix, tuple(zip(table[C.ATTRIBUTE], table[C.VALUE], strict=True)))

    def including(self, pairs: Iterable[tuple[str, str]], catalog: ItemCatalog) -> ItemAttributes:
        """The same with the sets of items among ``pairs`` of (attribute, value) as values too."""
        sets = [p for p in dict.fromkeys(pairs) if p[0] == ITEM_ITSELF and p not in self.names]
        if not sets:
            return self
        internal = {external: i for i, external in enumerate(catalog.external_ids)}
        members = [[internal[x] for x in value.split(SEPARATOR)] for _, value in sets]
        bounds = np.cumsum([0, *map(len, members)])
        ones = np.ones(bounds[-1], dtype=np.int8)
        shape = (catalog.n_items, len(sets))
        columns = scipy.sparse.csc_matrix((ones, np.concatenate(members), bounds), shape)
        matrix = scipy.sparse.hstack([self.matrix, columns], format="csr")
        return ItemAttributes(matrix, (*self.names, *sets))

    def items_with(self, attribute: str, value: str) -> NDArray[np.bool_]:
        """``(n_items,)`` which items have a value; none where it is one of the history."""
        has: NDArray[np.bool_] = self.matrix[:, [self.names.index((attribute, value))]].toarray()
        return has.ravel() > 0

    def counts(
        self, cases: Cases, view: str, columns: Sequence[int] | None = None
    ) -> scipy.sparse.csr_matrix:
        """``(n, V)`` how many of the items in a view have each value (0 is not stored).

        Views: ``last`` the last item, ``last5``, ``last20``, ``last50`` the most recent ones,
        ``top1`` the model's first recommendation, ``top10`` its first ten, ``share50`` per cent of
        the last 50 items or of as many as there are, ``history`` the history itself. Only of
        ``columns`` if given; all are kept with the cases for the next call.
        """
        if view == SHARE:
            return _in_per_cent(self.counts(cases, OF_SHARE, columns), cases)
        if columns is not None:
            chosen = ItemAttributes(self.matrix[:, columns], tuple(self.names[c] for c in columns))
            return chosen._count(cases, view)
        key = (self, view)  # the object, not its id, which is used again once it is gone
        if key not in cases.counted:
            cases.counted[key] = self._count(cases, view)
        return cases.counted[key]

    def _count(self, cases: Cases, view: str) -> scipy.sparse.csr_matrix:
        if view == "history":
            return self._facts(cases)
        from recsae.concepts.attributes.value_loops import count_values

        items, column = items_in(cases, view), -1
        more = np.zeros(len(cases), dtype=np.int8)
        if (REPEAT, BEFORE) in self.names:
            column = self.names.index((REPEAT, BEFORE))
            back = None if view.startswith("top") else 0
            more = consumed_before(cases, items, back).sum(1).astype(np.int8)
        has = self.matrix.indptr, self.matrix.indices, len(self.names)
        starts, values, counts = count_values(np.ascontiguousarray(items), *has, column, more)
        shape = len(cases), len(self.names)
        return scipy.sparse.csr_matrix((counts, values, starts), shape)

    def _facts(self, cases: Cases) -> scipy.sparse.csr_matrix:
        """``(n, V)`` ones where a value of the history itself is true."""
        rows, columns = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        for column, (attribute, value) in enumerate(self.names):
            if attribute == LENGTH:
                rows.append(np.flatnonzero(history_length(cases, value)))
                columns.append(np.full(len(rows[-1]), column))
        row, column_of = np.concatenate(rows), np.concatenate(columns)
        ones = np.ones(len(row), dtype=np.int8)
        return scipy.sparse.csr_matrix((ones, (row, column_of)), (len(cases), len(self.names)))


def items_in(cases: Cases, view: str) -> NDArray[np.int32]:
    """``(n, k)`` the items in a view of each case, nearest or best first, 0 where there are fewer.

    The array may be the cases' own: it is not to be written to.
    """
    k = VIEW_SIZES[view]
    return cases.top_items[:, :k] if view.startswith("top") else cases.recent(k)


def _in_per_cent(counts: scipy.sparse.csr_matrix, cases: Cases) -> scipy.sparse.csr_matrix:
    """Counts of the last 50 items as whole per cent of those 50, or of as many as there are."""
    there = np.minimum(cases.position, VIEW_SIZES[OF_SHARE] - 1).astype(np.int16) + 1
    of_row = np.repeat(there, np.diff(counts.indptr))
    per_cent = (100 * counts.data.astype(np.int16) // of_row).astype(np.int8)
    return scipy.sparse.csr_matrix((per_cent, counts.indices, counts.indptr), counts.shape)
