"""What a strength costs: the loss that was measured, steadied by the loss that the model expects.

A loss of 1 % of NDCG@10 is a few hits among thousands of cases, and so is known badly. The model's
own softmax says what loss is to be expected, with next to no noise, but not quite the right one.
Their ratio is known well from losses that are somewhat larger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from recsae.core.threads import in_one_piece, in_threads
from recsae.core.topk import TopK, top_k
from recsae.recommender.lists import rows_at_once
from recsae.steering.steered_scores import HeadScorer, mask_unavailable
from recsae.steering.steps.pools import LEAST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.steering.frontier import Counted, Outcome, Point
    from recsae.steering.steered_scores import SteeredScores
    from recsae.steering.steps.first import FirstItems
    from recsae.steering.steps.pools import CalibratedP

    Floats = NDArray[np.float64]

AT_ONCE = 1024
"""Cases whose items' vectors are held at a time."""
ROUNDING = 1e-5
"""Scores that differ by less than this part of them are those of one item."""
N_PLACES = 100
"""Places of items by score that are told apart; what comes later is at the next one."""
FURTHEST = 4.0
"""The ratio is taken over losses of up to so many times the one that is allowed: of SASRec on ml-1m
it changes by a tenth between 1 and 4 %, and a loss of 4 % is known three times as well."""
SPREAD = 0.5
"""Standard deviation of that ratio from goal to goal and method to method, about 1."""
SPREAD_AT_0 = 0.005
"""That of what lists by better probabilities gain without any strength, about what is expected: on
construction users of ml-1m .010 less, of lastfm .005 more, of amazon-beauty as much."""
MIN_RATIO = 0.25
MAX_RATIO = 4.0
"""A ratio beyond these says that something else goes on than what the model expects."""


class Expectation:
    """The NDCG@10 that lists of some cases may expect, by the model or by better probabilities."""

    def __init__(
        self,
        scorer: HeadScorer,
        temperature: float,
        counted: Counted,
        better: CalibratedP | None = None,
        first: FirstItems | None = None,
    ) -> None:
        self.scorer, self.temperature, self.counted = scorer, temperature, counted
        self.better, self._kept = better, first
        size = rows_at_once(scorer.cases.catalog.n_items)
        made = in_one_piece(self._totals, len(scorer.cases), size)
        self._total, self._first, self._scale = made

    @classmethod
    def of(
        cls,
        scorer: SteeredScores,
        temperature: float,
        counted: Counted,
        better: CalibratedP | None = None,
        first: FirstItems | None = None,
    ) -> Expectation | None:
        """That of the cases of a scorer, whose first items may be known; None where the model must
        be run for each."""
        if not isinstance(scorer, HeadScorer):
            return None
        return cls(scorer, temperature, counted, better, first)

    def _totals(self, part: slice) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The logarithm of the softmax's denominator ``(b, 1)`` and, for better probabilities, the
        first scores ``(b, N_PLACES)`` and the logarithm of their own denominator."""
        best, total = self._first_of(part)
        if self.better is None:
            return total, total[:, :0], total[:, :0]
        log_p = best.values / self.temperature - total
        first = self.better.of(log_p, best.indices)[:, :1].log()
        own = self.better.p * log_p[:, :1] + self.better.prior[best.indices[:, :1]]
        return total, best.values, own - first

    def _first_of(self, part: slice) -> tuple[TopK, torch.Tensor]:
        """The first items, and the logarithm of the softmax's denominator."""
        if self._kept is not None:
            known = self._kept.of(part)
            values, indices = known.found
            return TopK(values[:, :N_PLACES], indices[:, :N_PLACES]), known.total
        scores = mask_unavailable(self.scorer.scores(part), self.scorer.cases, part)
        total = (scores / self.temperature).logsumexp(1, keepdim=True)
        return top_k(scores, min(N_PLACES, scores.shape[1])), total

    def _probabilities(self, part: slice, items: torch.Tensor, by_own: bool) -> torch.Tensor:
        scores = self.scorer.head.score_items(self.scorer.states[part], items)
        log_p = scores / self.temperature - self._total[part]
        if by_own or self.better is None:
            return log_p.exp_()
        equal = scores + ROUNDING * (1 + scores.abs())
        place = torch.searchsorted(-self._first[part], -equal).add_(1).log()
        own = self.better.p * log_p.clamp_min(LEAST) + self.better.place * place
        return (own + self.better.prior[items] - self._scale[part]).exp_()

    def ndcg(self, lists: NDArray[np.int32], *, by_own: bool) -> Floats:
        """Per case ``(n,)``: the discounts of its list's items, by their probabilities, which are
        the model's own or better ones."""
        discounts = 1 / np.log2(np.arange(lists.shape[1]) + 2)
        expected = np.empty(len(lists))

        def expect(part: slice) -> None:
            items = torch.from_numpy(lists[part].astype(np.int64))
            p = self._probabilities(part, items, by_own).numpy()
            if self.counted.no_loss is not None:
                p[self.counted.no_loss[lists[part]]] = 0
            p[lists[part] == 0] = 0  # fewer items than places
            expected[part] = p @ discounts

        in_threads(expect, [slice(i, i + AT_ONCE) for i in range(0, len(lists), AT_ONCE)])
        return expected


def steadied(points: list[Point], loss: float, before: Outcome | None = None) -> list[Point]:
    """The points of a curve with the NDCG@10 that is kept by the expected loss, times a ratio.

    The ratio is that of the losses that were measured to those expected, over all points at which
    up to ``FURTHEST`` times ``loss`` is expected; the less surely it is known, the nearer to 1.

    These are losses from the first point, at a strength of 0: lists by better probabilities keep
    more than the unsteered ones, or less, before anything is favoured. What they keep there was
    measured, and is drawn to what is expected, the more the less surely it is known.

    Points without an expectation stay. ``before`` is the outcome without steering.
    """
    start = points[0]
    if start.expected is None:
        return points
    expected = [start.expected - (point.expected or 0.0) for point in points]
    near = [n for n, one in enumerate(expected) if 0 < one <= FURTHEST * loss]
    if not near:
        return points
    lost = sum(start.kept - points[n].kept for n in near)
    of_expected = sum(expected[n] for n in near)
    noise = (_error_of_loss(start.outcome, [points[n].outcome for n in near]) / SPREAD) ** 2
    ratio = (lost * of_expected + noise) / (of_expected**2 + noise)
    if not MIN_RATIO <= ratio <= MAX_RATIO:
        return points
    noise_at_0 = (_error_of_loss(before, [start.outcome]) / SPREAD_AT_0) ** 2
    at_0 = (start.kept + noise_at_0 * start.expected) / (1 + noise_at_0)
    return [
        point._replace(kept=at_0 - ratio * one) for point, one in zip(points, expected, strict=True)
    ]


def _error_of_loss(before: Outcome | None, after: list[Outcome | None]) -> float:
    """The standard error of the sum of the losses of some outcomes, users being the unit; 0 where
    they are not known."""
    known = [one.ndcg for one in after if one is not None]
    if before is None or not known:
        return 0.0
    lost = len(known) * before.ndcg - np.sum(known, axis=0)
    rest = lost - lost.sum() / before.ndcg.sum() * before.ndcg
    return float(np.sqrt(np.square(rest).sum()) / before.ndcg.sum())
