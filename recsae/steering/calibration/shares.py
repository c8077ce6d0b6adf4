"""Shares of an attribute's values in histories and in lists."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.lists import History

HEAD_OF = 0.2
"""The most popular items, which have this part of all interactions, are the head."""
TAIL_OF = 0.2
"""The least popular items, which have this part of them, are the tail; the rest is the middle."""
GROUPS = ("head", "middle", "tail")


@dataclass(frozen=True, eq=False)
class ItemShares:
    """The V values of one attribute over the items; an item with m of them has 1 / m of each."""

    attribute: str
    names: tuple[str, ...]
    values: torch.Tensor
    """``(n_items, S)`` numbers of the values of each item, V where it has fewer than S."""
    n_values: torch.Tensor
    """``(n_items,)`` how many values each item has."""

    @classmethod
    def of(
        cls, attribute: str, names: tuple[str, ...], matrix: scipy.sparse.csr_matrix
    ) -> ItemShares:
        """Of ``matrix (n_items, V)``, which is not 0 where an item has a value."""
        matrix = matrix.tocsr()
        n_values = np.diff(matrix.indptr)
        values = np.full((matrix.shape[0], max(1, int(n_values.max(initial=0)))), len(names))
        place = np.arange(len(matrix.indices)) - np.repeat(matrix.indptr[:-1], n_values)
        values[np.repeat(np.arange(len(n_values)), n_values), place] = matrix.indices
        return cls(
            attribute,
            names,
            torch.from_numpy(values.astype(np.int64)),
            torch.from_numpy(n_values.astype(np.int64)),
        )

    @property
    def n(self) -> int:
        """V, the number of values."""
        return len(self.names)

    @cached_property
    def _weights(self) -> scipy.sparse.csr_matrix:
        """``(n_items, V)`` the part of each item that each value has."""
        has = self.values.numpy() < self.n
        each = 1 / np.maximum(self.n_values.numpy(), 1)
        data = np.repeat(each, self.n_values.numpy()).astype(np.float32)
        bounds = np.r_[0, np.cumsum(self.n_values.numpy())]
        shape = (len(bounds) - 1, self.n)
        return scipy.sparse.csr_matrix((data, self.values.numpy()[has], bounds), shape)

    def of_histories(self, histories: History) -> torch.Tensor:
        """``(n, V)`` shares in the items of each history; all 0 where no item has a value."""
        _, _, items = histories.sequences.first_items(histories.rows, histories.ends)
        return self._shares(items, np.r_[0, np.cumsum(histories.ends)])

    def of_lists(self, lists: torch.Tensor) -> torch.Tensor:
        """``(n, V)`` shares in lists ``(n, k)``; the padding, 0, has no value."""
        n, k = lists.shape
        return self._shares(lists.numpy().ravel(), np.arange(n + 1) * k)

    def _shares(self, items: NDArray[np.integer[Any]], bounds: NDArray[np.int64]) -> torch.Tensor:
        ones = np.ones(len(items), dtype=np.float32)
        shape = (len(bounds) - 1, len(self.n_values))
        table = scipy.sparse.csr_matrix((ones, items, bounds), shape)
        sums = torch.from_numpy((table @ self._weights).toarray())
        return sums / sums.sum(1, keepdim=True).clamp_min(1e-12)


def popularity_groups(popularity: NDArray[np.int64], real: NDArray[np.bool_]) -> ItemShares:
    """The head, the middle and the tail of the items, by what part of all interactions they have.

    ``popularity (n_items,)`` counts interactions, ``real (n_items,)`` are the items that can be
    recommended; others are in no group. The head has the first 20 % of the interactions, the tail
    the last (Abdollahpouri et al. 2021); an item on a border is in the more popular group.
    """
    counts = np.where(real, popularity, 0)
    order = np.argsort(-counts, kind="stable")
    before = np.empty(len(counts))
    before[order] = (np.cumsum(counts[order]) - counts[order]) / max(int(counts.sum()), 1)
    group = np.digitize(before, [HEAD_OF, 1 - TAIL_OF])
    items = np.flatnonzero(real)
    shape = (len(counts), len(GROUPS))
    ones = np.ones(len(items), dtype=np.int8)
    matrix = scipy.sparse.csr_matrix((ones, (items, group[items])), shape)
    return ItemShares.of("popularity", GROUPS, matrix)
