"""Lists of recommendations out of scores or states, without padding and without seen items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.core.threads import in_threads
from recsae.core.topk import RunningTopK, number_before, top_k

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from recsae.recommender.catalog import ItemCatalog
    from recsae.recommender.protocol import LinearHead
    from recsae.recommender.sequences import Sequences


ITEMS_AT_ONCE = 2048
STATES_AT_ONCE = 256
"""Items, and states, that are scored in one go: two megabytes of scores, which stay in the cache of
one core."""


COMPARED_AT_ONCE = 1024
"""Items that are compared with a target in one go: fewer, since most targets need few."""


class History(NamedTuple):
    """What n lists are made of, or leave out: the first ``ends[i]`` items of a sequence each."""

    sequences: Sequences
    rows: NDArray[np.int64]  # (n,)
    ends: NDArray[np.int64]  # (n,)

    def take(self, part: slice | NDArray[np.int64]) -> History:
        """The histories of some of the lists."""
        return History(self.sequences, self.rows[part], self.ends[part])

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which list, and an item that it leaves out; one pair for each such item."""
        which, _, items = self.sequences.first_items(self.rows, self.ends)
        return which, items.astype(np.int64)

    def mask_seen(self, scores: torch.Tensor) -> None:
        """Set the scores ``(n, n_items)`` of these items to -inf, in place."""
        import torch

        which, items = map(torch.from_numpy, self.pairs())
        scores[which, items] = float("-inf")


def one_history(items: list[int]) -> History:
    """The history of one list, as internal item ids, oldest first."""
    from recsae.recommender.sequences import Sequences

    bounds = np.array([0, len(items)], dtype=np.int64)
    nobody = np.zeros(1, dtype=np.int64)
    held = Sequences(np.array(items, dtype=np.int32), bounds, np.array([""], object), nobody)
    return History(held, nobody, bounds[1:])


def rows_at_once(n_items: int) -> int:
    """How many rows of scores to make at a time: some four megabytes, which stay in the cache.

    >>> rows_at_once(1_000), rows_at_once(10**7)
    (1048, 16)
    """
    return max(16, 2**20 // n_items)


def best_items(
    scores: torch.Tensor, catalog: ItemCatalog, k: int = 10, history: History | None = None
) -> torch.Tensor:
    """``(n, k)`` internal ids of the best items without those of the histories.

    What is no item and what is in the histories gets a score of -inf, in ``scores (n, n_items)``
    itself. Such is never recommended: where fewer than k items are left, the list ends with 0, the
    padding.
    """
    import torch

    banned = torch.from_numpy(np.flatnonzero(~catalog.recommendable)).to(scores.device)
    scores.index_fill_(1, banned, float("-inf"))
    if history is not None:
        history.mask_seen(scores)
    lists = top_k(scores, min(k, int(catalog.recommendable.sum()))).indices
    return lists.masked_fill(scores.gather(1, lists) == float("-inf"), 0)


def top_of_states(
    states: NDArray[np.float32] | torch.Tensor,
    head: LinearHead,
    catalog: ItemCatalog,
    k: int = 10,
    history: History | None = None,
) -> NDArray[np.int64]:
    """``(n, k)`` best items of states ``(n, d)`` under a linear head.

    Items of the histories are left out; see :func:`recsae.recommender.lists.best_items`. Scores are
    made for some states and some items at a time, so that no table of states and items is held.
    """
    import torch

    states = torch.as_tensor(states)
    k = min(k, int(catalog.recommendable.sum()))
    # one block: kept among the scores that come and go, small lists would hold on to their memory
    lists = np.empty((len(states), k), dtype=np.int64)

    def rank(first: int) -> None:
        part = slice(first, first + STATES_AT_ONCE)
        mine = history.take(part) if history else None
        with torch.no_grad():
            lists[part] = _best_in_blocks(states[part], head, catalog, k, mine).numpy()

    in_threads(rank, range(0, len(states), STATES_AT_ONCE))
    return lists


def _best_in_blocks(
    states: torch.Tensor,
    head: LinearHead,
    catalog: ItemCatalog,
    k: int,
    history: History | None,
) -> torch.Tensor:
    """:func:`best_items` of states, by blocks of items."""
    best, masked = RunningTopK(len(states), k), MaskedScores(head, catalog, history)
    for first in range(0, catalog.n_items, ITEMS_AT_ONCE):
        best.merge(masked.of(states, first), first)
    return best.indices


class MaskedScores:
    """Scores of some states by blocks of items, -inf where an item cannot be recommended.

    ``order`` are the items that the head has, in its order, if not all in their own.
    """

    def __init__(
        self,
        head: LinearHead,
        catalog: ItemCatalog,
        history: History | None,
        order: NDArray[np.int64] | None = None,
    ) -> None:
        self.head, self.n_items = head, catalog.n_items
        real = catalog.recommendable if order is None else catalog.recommendable[order]
        self.banned = np.flatnonzero(~real)
        which, hidden = history.pairs() if history else (np.zeros(0, np.int64),) * 2
        if order is not None:
            place = np.full(catalog.n_items, -1)
            place[order] = np.arange(len(order))
            there = place[hidden] >= 0
            which, hidden = which[there], place[hidden[there]]
        order = np.argsort(hidden, kind="stable")  # those of each block together
        self.which, self.hidden = which[order], hidden[order]

    def of(
        self,
        states: torch.Tensor,
        first: int,
        rows: NDArray[np.int64] | None = None,
        stop: int | None = None,
    ) -> torch.Tensor:
        """``(m, b)`` of the items from ``first`` on, before ``stop`` where that is given;
        ``rows``: ascending, those of the states that are given, all of them if None."""
        import torch

        stop = stop or min(self.n_items, first + ITEMS_AT_ONCE)
        scores = self.head.part(first, stop).score(states)
        no_items = self.banned[slice(*np.searchsorted(self.banned, [first, stop]))] - first
        scores.index_fill_(1, torch.from_numpy(no_items), float("-inf"))
        seen = slice(*np.searchsorted(self.hidden, [first, stop]))
        which, items = self.which[seen], self.hidden[seen] - first
        if rows is not None and len(which):
            place = np.searchsorted(rows, which).clip(max=len(rows) - 1)
            there = rows[place] == which
            which, items = place[there], items[there]
        if len(which):
            scores[torch.from_numpy(which), torch.from_numpy(items)] = float("-inf")
        return scores


def places_of(
    states: NDArray[np.float32] | torch.Tensor,
    targets: NDArray[np.integer[Any]],
    head: LinearHead,
    catalog: ItemCatalog,
    limit: int = 10,
    history: History | None = None,
) -> NDArray[np.int64]:
    """``(n,)`` how many items come before its target in the list of each state, at most ``limit``.

    That is the place, from 0 on, that the target ``(n,)`` has in :func:`top_of_states`, without
    making the lists: a case is done as soon as ``limit`` items are found that are better. Of a
    target that is never recommended it is ``limit``.
    """
    import torch

    states = torch.as_tensor(states)
    places = np.empty(len(states), dtype=np.int64)
    order = np.argsort(targets, kind="stable")  # of one block together

    def count(first: int) -> None:
        part = order[first : first + STATES_AT_ONCE]
        masked = MaskedScores(head, catalog, history.take(part) if history else None)
        with torch.no_grad():
            places[part] = _places_in_blocks(
                states[torch.from_numpy(part)], targets[part].astype(np.int64), masked, limit
            )

    in_threads(count, range(0, len(states), STATES_AT_ONCE))
    return places


def _places_in_blocks(
    states: torch.Tensor, targets: NDArray[np.int64], masked: MaskedScores, limit: int
) -> NDArray[np.int64]:
    """:func:`places_of` some states: first the block of items that the target is in."""
    import torch

    def compared(first: int, rows: NDArray[np.int64]) -> torch.Tensor:
        stop = min(masked.n_items, first + COMPARED_AT_ONCE)
        return masked.of(states[torch.from_numpy(rows)], first, rows, stop)

    better, own = np.zeros(len(states), dtype=np.int64), targets // COMPARED_AT_ONCE
    bounds = np.empty(len(states), dtype=np.float32)
    for block in np.unique(own).tolist():
        first, rows = block * COMPARED_AT_ONCE, np.flatnonzero(own == block)
        scores = compared(first, rows)
        bounds[rows] = scores[np.arange(len(rows)), targets[rows] - first].numpy()
        better[rows] = number_before(scores, first, bounds[rows], targets[rows])
    better[~(bounds > -np.inf)] = limit
    for first in range(0, masked.n_items, COMPARED_AT_ONCE):
        rows = np.flatnonzero((better < limit) & (own != first // COMPARED_AT_ONCE))
        if len(rows):
            scores = compared(first, rows)
            better[rows] += number_before(scores, first, bounds[rows], targets[rows])
    return np.minimum(better, limit)


def top_of_scores(
    scores: torch.Tensor, catalog: ItemCatalog, k: int, seen: NDArray[np.int64]
) -> list[int]:
    """The k best items of one row of scores, without those already seen."""
    masked = scores.clone()
    masked[:, ~catalog.recommendable] = float("-inf")
    masked[:, seen] = float("-inf")
    k = min(k, int((masked > float("-inf")).sum()))
    return [int(i) for i in top_k(masked, k).indices[0]] if k else []
