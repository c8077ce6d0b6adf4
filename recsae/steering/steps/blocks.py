"""Pools of items by blocks of states and items, which stay in the cache of one core."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from recsae.core.topk import RunningTopK, TopK
from recsae.recommender.lists import ITEMS_AT_ONCE, MaskedScores
from recsae.recommender.protocol import LinearHead
from recsae.steering.steps.pools import LARGEST, NONE, Part, Pool, joined

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases


class Blocks:
    """Pools under a linear head, of items in parts that have no item in common.

    The items of a part lie side by side, so that each block of them belongs to one part.
    """

    def __init__(self, cases: Cases, head: LinearHead, parts: list[Part]) -> None:
        every = torch.arange(len(head.items))
        self.cases = cases
        self.order = torch.cat([every if items is None else items for items, _ in parts])
        self.sizes = [(len(every) if items is None else len(items), k) for items, k in parts]
        bias = None if head.bias is None else head.bias[self.order]
        self.head = LinearHead(head.items[self.order], bias)

    def pool(
        self, states: torch.Tensor, part: slice | NDArray[np.int64], temperature: float | None
    ) -> Pool:
        """The pool of the states ``(b, d)`` of some of the cases."""
        seen, catalog = self.cases.seen, self.cases.catalog
        history = seen.take(part) if seen else None
        masked = MaskedScores(self.head, catalog, history, self.order.numpy())
        total, first, found = _Total(len(states), temperature), 0, []
        for size, k in self.sizes:
            best, stop = RunningTopK(len(states), min(k, size)), first + size
            for start in range(first, stop, ITEMS_AT_ONCE):
                scores = masked.of(states, start, stop=min(stop, start + ITEMS_AT_ONCE))
                best.merge(scores, start)
                total.add(scores)
            items = self.order[best.indices].masked_fill(best.values == NONE, 0)
            found.append(TopK(best.values, items))
            first = stop
        return Pool.of(joined(*found), total.log())


class _Total:
    """The denominators of the softmaxes of n rows of scores that come a block at a time."""

    def __init__(self, n: int, temperature: float | None) -> None:
        self.temperature = temperature
        self.most, self.sum = torch.full((n, 1), -LARGEST), torch.zeros(n, 1)

    def add(self, scores: torch.Tensor) -> None:
        """Take a block ``(n, m)`` in, which is used up."""
        if self.temperature is None:
            return
        most = torch.maximum(self.most, scores.amax(1, keepdim=True))
        self.sum.mul_(((self.most - most) / self.temperature).exp_())
        self.sum.add_(scores.sub_(most).div_(self.temperature).exp_().sum(1, keepdim=True))
        self.most = most

    def log(self) -> torch.Tensor:
        """Their logarithms ``(n, 1)``; 0 without a temperature."""
        if self.temperature is None:
            return self.sum
        return (self.sum.log() + self.most / self.temperature).clamp_min(-LARGEST)
