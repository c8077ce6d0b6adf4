"""The first items by unedited scores, that all re-rankings of the same cases begin with."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from recsae.core.threads import in_one_piece
from recsae.core.topk import TopK, top_k
from recsae.steering.steered_scores import mask_unavailable
from recsae.steering.steps.blocks import Blocks
from recsae.steering.steps.pools import NONE, log_total, padded

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.recommender.protocol import LinearHead
    from recsae.steering.steered_scores import HeadScorer

MAX_KEPT = 2**24
"""Items of all cases that are kept at most, in 128 MB."""
IN_ONE_ROW = 2**14
"""Of a larger catalogue the first items are found block by block."""
CASES_AT_ONCE = 256


class First(NamedTuple):
    """The first items of b cases."""

    found: TopK
    """``(b, N)`` items and their scores, best first, -inf where there are no more."""
    total: torch.Tensor
    """``(b, 1)`` the logarithm of the softmax's denominator."""
    rows: NDArray[np.int64]
    """``(b,)`` which of the cases they are."""
    states: torch.Tensor
    """``(b, d)``"""
    cases: Cases
    head: LinearHead

    def best_of(self, has: torch.Tensor, k: int) -> TopK:
        """The k best ``(b, k)`` of the items ``(n_items,)`` that count, -inf where there are fewer.

        All of those are looked through for cases that have fewer than k among their first items.
        """
        values, indices = self.found
        best = padded(top_k(values.masked_fill(~has[indices], NONE), min(k, values.shape[1])), k)
        best = TopK(best.values, indices.gather(1, best.indices))
        lacking = torch.nonzero(best.values[:, -1] == NONE)[:, 0]
        if len(lacking):
            items = torch.nonzero(has)[:, 0]
            blocks = Blocks(self.cases, self.head, [(items, k)])
            pool = blocks.pool(self.states[lacking], self.rows[lacking.numpy()], None)
            more = padded(TopK(pool.scores, pool.items), k)
            best.values[lacking], best.indices[lacking] = more.values, more.indices
        return best

    def scores_of(self, items: torch.Tensor) -> torch.Tensor:
        """Scores ``(b, m)`` of items of each case."""
        return self.head.score_items(self.states, items)


class FirstItems:
    """The first items of all cases of a scorer.

    Parameters
    ----------
    temperature
        Of the softmax.
    n
        How many of each case.
    """

    def __init__(self, scorer: HeadScorer, temperature: float, n: int) -> None:
        self.scorer, self.temperature, self.n = scorer, temperature, n
        cases = scorer.cases
        found: Callable[[slice], tuple[TopK, torch.Tensor]] = self._in_rows
        if cases.catalog.n_items > IN_ONE_ROW:
            found = partial(self._in_blocks, Blocks(cases, scorer.head, [(None, n)]))

        def first_of(part: slice) -> tuple[torch.Tensor, ...]:
            with torch.no_grad():
                best, total = found(part)
            return best.indices.int(), best.values, total

        self._items, self._scores, self._total = in_one_piece(
            first_of, len(scorer.cases), CASES_AT_ONCE
        )

    def _in_rows(self, part: slice) -> tuple[TopK, torch.Tensor]:
        scores = mask_unavailable(self.scorer.scores(part), self.scorer.cases, part)
        best = top_k(scores, min(self.n, scores.shape[1]))
        return best, log_total(scores, best.values[:, :1], self.temperature)

    def _in_blocks(self, blocks: Blocks, part: slice) -> tuple[TopK, torch.Tensor]:
        pool = blocks.pool(self.scorer.states[part], part, self.temperature)
        return TopK(pool.scores, pool.items), pool.total

    @classmethod
    def fit(cls, scorer: HeadScorer, n: int) -> bool:
        """Whether those of so many cases can be kept."""
        return len(scorer.cases) * min(n, scorer.cases.catalog.n_items) <= MAX_KEPT

    def of(self, part: slice) -> First:
        """Those of some of the cases."""
        scorer = self.scorer
        found = TopK(self._scores[part], self._items[part].long())
        rows = np.arange(len(scorer.cases))[part]
        return First(
            *(found, self._total[part], rows, scorer.states[part]), *(scorer.cases, scorer.head)
        )
