"""Lists of cases whose states are all moved by one vector, many vectors one after another.

A vector adds to the score of an item the same for every case, so scores are made and sorted once;
after that a list is found among the first items of each case's own, where a bound allows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from recsae.core.topk import top_k
from recsae.recommender.lists import rows_at_once
from recsae.steering.obeyed.loops import first_of
from recsae.steering.steered_scores import mask_unavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.steering.steered_scores import HeadScorer

LENGTH = 512
"""Items of each case, the first by its own scores, that are looked at before all are."""


class ShiftedLists:
    """Lists of n cases under a linear head, their states moved.

    Parameters
    ----------
    scorer
        The scores of the cases.
    k
        Length of a list.
    """

    def __init__(self, scorer: HeadScorer, k: int) -> None:
        self.scorer, catalog = scorer, scorer.cases.catalog
        self.real = torch.from_numpy(catalog.recommendable)
        self.k = min(k, int(self.real.sum()))
        n, length = len(scorer.cases), min(LENGTH, catalog.n_items)
        self.is_whole = length == catalog.n_items
        self.best = np.empty((n, length), dtype=np.float32)
        self.items = np.empty((n, length), dtype=np.int32)
        at_once = rows_at_once(catalog.n_items)
        for first in range(0, n, at_once):
            rows = np.arange(first, min(first + at_once, n))
            found = self._scores(rows).topk(length, dim=1)
            self.best[rows], self.items[rows] = found.values.numpy(), found.indices.numpy()

    def after(self, step: torch.Tensor) -> NDArray[np.int64]:
        """Lists ``(n, k)``, in their order, where ``step (d,)`` is added to every state."""
        added = self.scorer.head.items @ step
        lists = np.empty((len(self.best), self.k), dtype=np.int64)
        unsure, most = np.empty(len(lists), dtype=bool), added[self.real].max().numpy()[()]
        first_of(self.best, self.items, added.numpy(), most, lists, unsure)
        rows = np.flatnonzero(unsure & (not self.is_whole))
        at_once = rows_at_once(len(self.real))
        for first in range(0, len(rows), at_once):
            some = rows[first : first + at_once]
            found = top_k(self._scores(some) + added, self.k)
            none = found.values == float("-inf")
            lists[some] = found.indices.masked_fill(none, 0).numpy()
        return lists

    def _scores(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """``(b, n_items)``, -inf for what lists leave out."""
        scores = self.scorer.head.score(self.scorer.states[torch.from_numpy(rows)])
        return mask_unavailable(scores, self.scorer.cases, rows)
