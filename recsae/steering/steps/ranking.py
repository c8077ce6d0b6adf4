"""Lists under filters and re-rankings: what becomes of a table of scores."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from recsae.core.topk import kernels, top_k

NONE = float("-inf")
N_FIRST = 300
"""Where weights differ too much for less, re-ranking by probability chooses from so many items, the
first by score, and from the first of those with the largest weight."""
LARGEST = float(torch.finfo(torch.float32).max)
MAX_WEIGHTS = 4
"""Different weights at most of which the first items are all that a list can be made of."""


Part = tuple[torch.Tensor | None, int]
"""Columns of the scores, None being all, and how many of the first there are enough."""


class Pool(NamedTuple):
    """The items that lists of n cases can be made of, ascending in each row."""

    items: torch.Tensor
    """``(n, m)``"""
    scores: torch.Tensor
    """``(n, m)``, -inf where there is no item."""
    total: torch.Tensor
    """``(n, 1)`` the logarithm of the softmax's denominator; 0 without a temperature."""

    def small(self) -> Pool:
        """The pool with items that take half the memory."""
        return self._replace(items=self.items.int())

    def take(self, part: slice) -> Pool:
        """Some of the cases."""
        return Pool(self.items[part].long(), self.scores[part], self.total[part])


class Reorder(NamedTuple):
    """One re-ranking, with the weights of the items; see :class:`recsae.steering.steps.kinds`."""

    weights: torch.Tensor
    """``(n_items,)``"""
    gain: float
    """What a weight of 1 adds."""
    temperature: float | None = None
    """None: it is added to scores."""
    candidates: int | None = None
    different: torch.Tensor | None = None
    """The weights that differ; None where they are more than ``MAX_WEIGHTS``."""

    @classmethod
    def of(
        cls,
        weights: torch.Tensor,
        gain: float,
        temperature: float | None = None,
        candidates: int | None = None,
    ) -> Reorder:
        """Look at the weights, whether few of them differ."""
        different = weights.unique()
        few = different if len(different) <= MAX_WEIGHTS else None
        return cls(weights, gain, temperature, candidates, few)

    def added(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores ``(n, n_items)`` with the constants added, -inf for what is no candidate."""
        if self.candidates is not None and self.candidates < scores.shape[1]:
            first = top_k(scores, self.candidates).indices
            scores = torch.full_like(scores, NONE).scatter(1, first, scores.gather(1, first))
        return scores + self.gain * self.weights

    def width(self, k: int) -> int | None:
        """How many items a pool for lists of k has; None where any item can come up."""
        if self.candidates is not None:
            return self.candidates
        if self.different is not None:
            return len(self.different) * k
        return None if self.temperature is None else N_FIRST + k

    def pool(self, scores: torch.Tensor, k: int) -> Pool:
        """The items that lists of k are made of, by scores ``(n, n_items)``, -inf for no item.

        Of items with the same weight those with the larger scores always come first, so that the
        first k of each weight are enough, whatever the gain.
        """
        found = []
        for columns, size in self._parts(scores, k):
            among = scores if columns is None else scores.index_select(1, columns)
            best = top_k(among, min(size, among.shape[1]))
            items = best.indices if columns is None else columns[best.indices]
            found.append((items, best.values))
        items, order = torch.cat([one for one, _ in found], 1).sort(dim=1, stable=True)
        own = torch.cat([values for _, values in found], 1).gather(1, order)
        own[:, 1:].masked_fill_((items[:, 1:] == items[:, :-1]) & (own[:, :-1] > NONE), NONE)
        return Pool(items, own, self.total(scores if self.candidates is None else own, own))

    def total(self, among: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """The logarithm of the softmax's denominator ``(n, 1)``, over scores ``among (n, m)``; the
        largest is one of ``own``. 0 without a temperature."""
        if self.temperature is None or not len(own):
            return torch.zeros(len(own), 1)
        most = own.amax(1, keepdim=True).clamp_min(-LARGEST)
        total = (among - most).div_(self.temperature).exp_().sum(1, keepdim=True).log_()
        return (total + most / self.temperature).clamp_min(-LARGEST)

    def parts(self, k: int) -> list[Part]:
        """The items of each weight, of which the first k are enough; none where many differ."""
        different = () if self.different is None else self.different
        return [(torch.nonzero(self.weights == one)[:, 0], k) for one in different]

    def _parts(self, scores: torch.Tensor, k: int) -> list[Part]:
        """What is enough for lists of k."""
        if self.candidates is not None:
            return [(None, self.candidates)]
        if self.different is not None:
            return self.parts(k)
        real = (scores > NONE).any(0)
        most = self.weights[real].max() if bool(real.any()) else self.weights.max()
        return [(None, N_FIRST), (torch.nonzero(self.weights >= most)[:, 0], k)]

    def lists(self, pool: Pool, k: int) -> torch.Tensor:
        """Lists ``(n, k)``, 0 where there are fewer items."""
        items, k_found = pool.items, min(k, pool.items.shape[1])
        if self.temperature is None:
            best = top_k(pool.scores + self.gain * self.weights[items], k_found)
            lists = items.gather(1, best.indices).masked_fill(best.values == NONE, 0)
        else:
            lists = self._by_probability(pool, k_found, self.temperature)
        return torch.nn.functional.pad(lists, (0, k - k_found))

    def _by_probability(self, pool: Pool, k: int, temperature: float) -> torch.Tensor:
        p = torch.exp(pool.scores / temperature - pool.total)
        gain = (self.gain * self.weights[pool.items]).masked_fill(pool.scores == NONE, NONE)
        if kernels() is not None:
            from recsae.steering.steps import kernels as compiled

            columns = torch.empty(len(p), k, dtype=torch.int64)
            discounts = np.log2(np.arange(2, k + 2)).astype(np.float32)
            compiled.by_probability(p.numpy(), gain.numpy(), discounts, columns.numpy())
            lists = pool.items.gather(1, columns.clamp_min(0))
            return lists.masked_fill_(columns < 0, 0)
        places = []
        for place in range(k):
            best = (p / math.log2(place + 2) + gain).max(1, keepdim=True)
            places.append(pool.items.gather(1, best.indices).masked_fill(best.values == NONE, 0))
            gain.scatter_(1, best.indices, NONE)
        return torch.cat(places, 1)


class Ranking(NamedTuple):
    """Filters, then re-rankings one after another."""

    banned: torch.Tensor | None
    """``(n_items,)`` what is never in a list."""
    reorders: tuple[Reorder, ...]

    def lists(self, scores: torch.Tensor, k: int) -> torch.Tensor:
        """Lists ``(n, k)`` by scores ``(n, n_items)``, -inf for what is no item; 0 where there are
        fewer."""
        scores = self.before_last(scores)
        if not self.reorders:
            return best_of(scores, k)
        last = self.reorders[-1]
        if last.width(k) is None:
            return best_of(last.added(scores), k)
        return last.lists(last.pool(scores, k), k)

    @property
    def by_parts(self) -> bool:
        """Whether there is one re-ranking alone, that tells few kinds of items apart."""
        if self.banned is not None or len(self.reorders) != 1:
            return False
        return self.reorders[0].candidates is None and self.reorders[0].different is not None

    def before_last(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores after all but the last re-ranking, -inf for what is left out."""
        if self.banned is not None:
            scores = scores.masked_fill(self.banned, NONE)
        for one in self.reorders[:-1]:
            scores = one.added(scores)
        return scores


def best_of(scores: torch.Tensor, k: int) -> torch.Tensor:
    """The items ``(n, k)`` of the largest scores, 0 where fewer have one above -inf."""
    best = top_k(scores, min(k, scores.shape[1]))
    lists = best.indices.masked_fill(best.values == NONE, 0)
    return torch.nn.functional.pad(lists, (0, k - lists.shape[1]))
