"""Lists under filters and re-rankings: what becomes of a table of scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from recsae.core.topk import TopK, kernels_for, top_k
from recsae.steering.calibration.reranking import added_for_users, greedy_choice
from recsae.steering.frontier import LIST_LENGTH
from recsae.steering.steps.kinds import LEAST_CANDIDATES, found_turned
from recsae.steering.steps.pools import (
    LARGEST,
    NONE,
    CalibratedP,
    Part,
    Pool,
    best_among,
    joined,
    log_total,
    others,
    padded,
)

if TYPE_CHECKING:
    from recsae.recommender.lists import History
    from recsae.steering.calibration.shares import ItemShares
    from recsae.steering.steps.first import First, FirstItems
    from recsae.steering.steps.kinds import Calibrating, Edits

N_FIRST = 300
"""Where weights differ too much for less, re-ranking by probability chooses from so many items, the
first by score, and from the first of those with the largest weight."""
MAX_WEIGHTS = 4
"""Different weights at most of which the first items are all that a list can be made of."""


class Beside(NamedTuple):
    """What lists of n cases may be made of beside scores of edited states."""

    histories: History | None = None
    """A calibration needs them."""
    own: torch.Tensor | None = None
    """``(n, n_items)`` scores of unedited states, where two queries need them."""


NOTHING = Beside()
BestOf = Callable[[torch.Tensor, int], TopK]
"""Finds the k best of the items that count ``(n_items,)``, ``(n, k)``, for each case."""


class Reorder(NamedTuple):
    """One re-ranking, with the weights of the items; see :class:`recsae.steering.steps.kinds`."""

    weights: torch.Tensor
    """``(n_items,)``"""
    gain: float
    """What a weight of 1 adds."""
    temperature: float | None = None
    """None: it is added to scores."""
    candidates: int | None = None
    edits: Edits = "scores"
    different: torch.Tensor | None = None
    """The weights that differ; None where they are more than ``MAX_WEIGHTS``."""
    calibrated: CalibratedP | None = None

    @classmethod
    def of(
        cls,
        weights: torch.Tensor,
        gain: float,
        temperature: float | None = None,
        candidates: int | None = None,
        edits: Edits = "scores",
        calibrated: CalibratedP | None = None,
    ) -> Reorder:
        """Look at the weights, whether few of them differ."""
        different = weights.unique()
        few = different if 0 < len(different) <= MAX_WEIGHTS else None
        return cls(weights, gain, temperature, candidates, edits, few, calibrated)

    def added(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores ``(n, n_items)`` with the constants added, -inf for what is no candidate."""
        if self.candidates is not None and self.candidates < scores.shape[1]:
            first = top_k(scores, self.candidates).indices
            scores = torch.full_like(scores, NONE).scatter(1, first, scores.gather(1, first))
        return scores + self.gain * self.weights

    @property
    def in_order(self) -> bool:
        """Whether items of one weight come in the order of their scores, whatever the gain."""
        return self.different is not None and self.calibrated is None

    @property
    def by_parts(self) -> bool:
        """Whether the first items of each weight are found by themselves."""
        return self.candidates is None and self.in_order

    def width(self, k: int) -> int | None:
        """How many items a pool for lists of k has; None where any item can come up."""
        if self.candidates is None and self.temperature is None and self.different is None:
            return None
        found = self.candidates or N_FIRST + k
        if self.different is None or (self.temperature is None and self.candidates is not None):
            return found
        return min(len(self.different) * k, found)

    def pool(self, scores: torch.Tensor, k: int, own: torch.Tensor | None = None) -> Pool:
        """The items that lists of k are made of, by scores ``(n, n_items)``, -inf for no item.

        Of items with the same weight those with the larger scores always come first, so that the
        first k of each weight are enough, whatever the gain; of calibrated probabilities those with
        the larger probabilities. ``own`` are the scores of unedited states, where edits are for
        something else than scores.
        """
        if own is not None and self.edits != "scores":
            found = best_among(own, None, self._n_by_own)
            return self._found_by_two(found, partial(own.gather, 1), scores, k)
        if self.by_parts:
            found = joined(*(best_among(scores, columns, n) for columns, n in self.parts(k)))
        else:
            found = best_among(scores, None, self.candidates or N_FIRST)
            if self.candidates is None:
                found = self._with_most_useful(found, partial(_best_that_count, scores), k)
        total = self.total(scores if self.candidates is None else found.values, found.values)
        return self.settled(Pool.of(found, total), k)

    def begins_with(self, first: FirstItems) -> bool:
        """Whether pools can be made of the first items that are kept of all cases."""
        if self.candidates is None and self.temperature is None and self.different is None:
            return False  # any item can come up
        least = self.candidates or (0 if self.in_order else N_FIRST)
        return least <= first.n and self.temperature in (None, first.temperature)

    def pool_of(self, first: First, k: int, turned: torch.Tensor | None = None) -> Pool:
        """The items that lists of k are made of, as :meth:`pool` finds them in all scores.

        ``turned (n, n_items)`` are the scores of edited states, where edits find candidates.
        """
        if turned is not None:
            found = _the_first(first.found, self._n_by_own)
            return self._found_by_two(found, first.scores_of, turned, k)
        if self.candidates is not None:
            found = _the_first(first.found, self.candidates)
            return self.settled(Pool.of(found, self.total(found.values, found.values)), k)
        if self.in_order:
            different = () if self.different is None else self.different
            found = joined(*(first.best_of(self.weights == one, k) for one in different))
        else:
            found = self._with_most_useful(_the_first(first.found, N_FIRST), first.best_of, k)
        return self.settled(Pool.of(found, first.total), k)

    def _with_most_useful(self, found: TopK, best_of: BestOf, k: int) -> TopK:
        """What was found, and of each case the k best of the items with the largest weight that any
        of its items has which can be recommended."""
        weights = self.weights.unique() if self.different is None else self.different
        best = padded(TopK(found.values[:, :0], found.indices[:, :0]), k)
        for weight in weights.flip(0):
            without = (best.values[:, :1] == NONE) & (found.values[:, :1] > NONE)
            if not bool(without.any()):
                break
            mine = best_of(self.weights == weight, k)
            best = TopK(*(torch.where(without, *both) for both in zip(mine, best, strict=True)))
        return joined(found, others(found, best))

    def settled(self, pool: Pool, k: int) -> Pool:
        """The pool of items in the order of their scores with probabilities, if lists of k go by
        them."""
        if self.temperature is None:
            return pool.ascending()
        p = pool.scores / self.temperature - pool.total
        p = p.exp_() if self.calibrated is None else self.calibrated.of(p, pool.items)
        pool = pool._replace(p=p)
        if not kernels_for(p):
            return pool.ascending()
        few = self.different
        if few is None or p.shape[1] <= len(few) * k:
            return pool
        return pool.first_of_each(torch.searchsorted(few, self.weights), len(few), k)

    @property
    def _n_by_two(self) -> int:
        """How many candidates two queries find."""
        return self.candidates or LEAST_CANDIDATES

    @property
    def _n_by_own(self) -> int:
        """How many of them the unedited scores find."""
        return self._n_by_two - found_turned(self._n_by_two)

    def _found_by_two(
        self,
        found: TopK,
        own_of: Callable[[torch.Tensor], torch.Tensor],
        turned: torch.Tensor,
        k: int,
    ) -> Pool:
        """Candidates that two queries find, half and half, with the unedited scores: what was found
        by these, and others by the scores ``turned``."""
        half, temperature = found_turned(self._n_by_two), self.temperature or 1.0
        if half:
            items = top_k(turned, min(half, turned.shape[1])).indices.sort(dim=1).values
            own = own_of(items).masked_fill(turned.gather(1, items) == NONE, NONE)
            found = joined(found, others(found, TopK(own, items)))
        pool = Pool.of(found, self.total(found.values, found.values))
        if self.edits == "pushes":
            after = turned.gather(1, found.indices)
            pushes = ((after - found.values) / temperature).masked_fill(found.values == NONE, 0.0)
            pool = pool._replace(pushes=pushes)
        return self.settled(pool, k)

    def total(self, among: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """The logarithm of the softmax's denominator ``(n, 1)``, over scores ``among (n, m)``; the
        largest is one of ``own``. 0 without a temperature."""
        if self.temperature is None or not len(own):
            return torch.zeros(len(own), 1)
        return log_total(among, own.amax(1, keepdim=True), self.temperature)

    def parts(self, k: int) -> list[Part]:
        """The items of each weight, of which the first k are enough; none where many differ."""
        different = () if self.different is None else self.different
        return [(torch.nonzero(self.weights == one)[:, 0], k) for one in different]

    def lists(self, pool: Pool, k: int) -> torch.Tensor:
        """Lists ``(n, k)``, 0 where there are fewer items."""
        items, k_found = pool.items, min(k, pool.items.shape[1])
        if self.temperature is None:
            best = top_k(pool.scores + self.gain * self.weights[items], k_found)
            lists = items.gather(1, best.indices).masked_fill(best.values == NONE, 0)
        else:
            lists = self._by_probability(pool, k_found)
        return torch.nn.functional.pad(lists, (0, k - k_found))

    def _by_probability(self, pool: Pool, k: int) -> torch.Tensor:
        weights = pool.pushes if self.edits == "pushes" else self.weights[pool.items]
        gain = (self.gain * weights).masked_fill(pool.scores == NONE, NONE)
        columns = _place_by_place(pool.p, gain, pool.items, k)
        none, columns = columns < 0, columns.clamp_min(0)
        lists = pool.items.gather(1, columns).masked_fill_(none, 0)
        return likeliest_first(lists, pool.p.gather(1, columns).masked_fill_(none, NONE))


class Calibrated(NamedTuple):
    """A calibration, with the values of the items; see :class:`recsae.steering.steps.kinds`."""

    shares: ItemShares
    by: Calibrating
    strength: float
    temperature: float
    candidates: int

    def width(self, k: int) -> int:
        """How many items a pool for lists of k has."""
        return max(self.candidates, k)

    def pool(self, scores: torch.Tensor, k: int, histories: History | None) -> Pool:
        """The items that lists of k are made of, by scores ``(n, n_items)``, best first.

        Raises
        ------
        ValueError
            No histories.
        """
        if histories is None:
            raise ValueError("a calibration needs the histories of the lists")
        best = top_k(scores, min(self.width(k), scores.shape[1]))
        total = (scores / self.temperature).logsumexp(1, keepdim=True).clamp_min(-LARGEST)
        return Pool.of(best, total)._replace(target=self.shares.of_histories(histories))

    def lists(self, pool: Pool, k: int) -> torch.Tensor:
        """Lists ``(n, k)``, 0 where there are fewer items; what comes after the tenth place is in
        the order of scores."""
        n_found = min(k, pool.items.shape[1])
        order = torch.arange(n_found).expand(len(pool.items), -1)
        if self.strength:
            order = self._order(pool, n_found)
        lists = pool.items.gather(1, order)
        lists = lists.masked_fill(pool.scores.gather(1, order) == NONE, 0)
        return torch.nn.functional.pad(lists, (0, k - n_found))

    def _order(self, pool: Pool, k: int) -> torch.Tensor:
        log_p, n = pool.scores / self.temperature - pool.total, min(k, LIST_LENGTH)
        if self.by == "per-user":
            first = pool.items[:, :n].masked_fill(pool.scores[:, :n] == NONE, 0)
            added = added_for_users(pool.items, first, pool.target, self.shares)
            gained = log_p + self.strength * added
            return gained.sort(dim=1, descending=True, stable=True).indices[:, :k]
        p = log_p.exp().masked_fill(pool.scores == NONE, NONE)
        chosen = greedy_choice(pool.items, p, pool.target, self.shares, self.strength, n)
        is_first = torch.zeros_like(p).scatter(1, chosen, 1.0)
        return is_first.sort(dim=1, descending=True, stable=True).indices[:, :k]


class Ranking(NamedTuple):
    """Filters, then re-rankings one after another, then a calibration."""

    banned: torch.Tensor | None
    """``(n_items,)`` what is never in a list."""
    reorders: tuple[Reorder, ...]
    calibrated: Calibrated | None = None

    @property
    def needs_own(self) -> bool:
        """Whether lists are made of the scores of unedited states as well."""
        return any(one.edits != "scores" for one in self.reorders)

    def lists(self, scores: torch.Tensor, k: int, beside: Beside = NOTHING) -> torch.Tensor:
        """Lists ``(n, k)`` by scores ``(n, n_items)``, -inf for what is no item; 0 where there are
        fewer."""
        scores = self.before_last(scores)
        last = self.last
        if last is None:
            return best_of(scores, k)
        if isinstance(last, Reorder) and last.width(k) is None:
            return best_of(last.added(scores), k)
        return last.lists(self._pool(scores, k, beside), k)

    @property
    def last(self) -> Reorder | Calibrated | None:
        """What makes the lists out of a pool; None where they are those of the scores."""
        if self.calibrated is not None:
            return self.calibrated
        return self.reorders[-1] if self.reorders else None

    def pool(self, scores: torch.Tensor, k: int, beside: Beside) -> Pool:
        """The items that :attr:`last` makes lists of k of."""
        return self._pool(self.before_last(scores), k, beside)

    def _pool(self, before_last: torch.Tensor, k: int, beside: Beside) -> Pool:
        if self.calibrated is not None:
            return self.calibrated.pool(before_last, k, beside.histories)
        own = None if beside.own is None else self.before_last(beside.own)
        return self.reorders[-1].pool(before_last, k, own)

    @property
    def alone(self) -> Reorder | None:
        """The re-ranking, where there is nothing else."""
        if self.banned is not None or len(self.reorders) != 1 or self.calibrated is not None:
            return None
        return self.reorders[0]

    def before_last(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores after all but the last re-ranking, -inf for what is left out."""
        if self.banned is not None:
            scores = scores.masked_fill(self.banned, NONE)
        for one in self.reorders if self.calibrated else self.reorders[:-1]:
            scores = one.added(scores)
        return scores


def _place_by_place(
    p: torch.Tensor, gain: torch.Tensor, items: torch.Tensor, k: int
) -> torch.Tensor:
    """Columns ``(n, k)`` of the items with the largest ``p * discount + gain``, each taken once, by
    tables ``(n, m)``, of equal ones the lower item; -1 where none is left. ``gain`` is changed."""
    columns = torch.empty(len(p), k, dtype=torch.int64)
    if kernels_for(p, gain):
        from recsae.steering.steps import kernels as compiled

        discounts = np.log2(np.arange(2, k + 2)).astype(np.float32)
        compiled.by_probability(
            p.contiguous().numpy(), gain.numpy(), items.numpy(), discounts, columns.numpy()
        )
        return columns
    for place in range(k):
        best = (p / math.log2(place + 2) + gain).max(1, keepdim=True)
        columns[:, place] = best.indices.masked_fill(best.values == NONE, -1)[:, 0]
        gain.scatter_(1, best.indices, NONE)
    return columns


def _best_that_count(scores: torch.Tensor, has: torch.Tensor, k: int) -> TopK:
    """The k best ``(n, k)`` of the items ``(n_items,)`` that count, -inf where there are fewer."""
    return padded(best_among(scores, torch.nonzero(has)[:, 0], k), k)


def _the_first(found: TopK, n: int) -> TopK:
    return TopK(found.values[:, :n], found.indices[:, :n])


def likeliest_first(lists: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """The lists ``(n, k)`` with their likeliest items first, by probabilities ``(n, k)``: whatever
    is in a list, no order of it loses less."""
    return lists.gather(1, p.argsort(dim=1, descending=True, stable=True))


def best_of(scores: torch.Tensor, k: int) -> torch.Tensor:
    """The items ``(n, k)`` of the largest scores, 0 where fewer have one above -inf."""
    best = top_k(scores, min(k, scores.shape[1]))
    lists = best.indices.masked_fill(best.values == NONE, 0)
    return torch.nn.functional.pad(lists, (0, k - lists.shape[1]))
