"""Lists of recommendations out of scores or states, without padding and without seen items."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.core.threads import in_threads
from recsae.core.topk import RunningTopK, top_k

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from recsae.recommender.catalog import ItemCatalog
    from recsae.recommender.protocol import LinearHead
    from recsae.recommender.sequences import Sequences


ITEMS_AT_ONCE = 8192
"""Items that are scored in one go: their scores stay in the cache, and their vectors too."""


class History(NamedTuple):
    """What n lists leave out: the first ``ends[i]`` items of the sequence ``rows[i]``."""

    sequences: Sequences
    rows: NDArray[np.int64]  # (n,)
    ends: NDArray[np.int64]  # (n,)

    def take(self, part: slice) -> History:
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
    size = rows_at_once(min(catalog.n_items, ITEMS_AT_ONCE))

    def rank(first: int) -> None:
        part = slice(first, first + size)
        mine = history.take(part) if history else None
        with torch.no_grad():
            lists[part] = _best_in_blocks(states[part], head, catalog, k, mine).numpy()

    in_threads(rank, range(0, len(states), size))
    return lists


def _best_in_blocks(
    states: torch.Tensor,
    head: LinearHead,
    catalog: ItemCatalog,
    k: int,
    history: History | None,
) -> torch.Tensor:
    """:func:`best_items` of states, by blocks of items."""
    import torch

    best, n_items = RunningTopK(len(states), k), catalog.n_items
    which, hidden = history.pairs() if history else (np.zeros(0, np.int64),) * 2
    if n_items > ITEMS_AT_ONCE:  # those of each block together
        order = np.argsort(hidden, kind="stable")
        which, hidden = which[order], hidden[order]
    banned = np.flatnonzero(~catalog.recommendable)
    for first in range(0, n_items, ITEMS_AT_ONCE):
        stop = min(n_items, first + ITEMS_AT_ONCE)
        scores = head.part(first, stop).score(states)
        no_items = banned[slice(*np.searchsorted(banned, [first, stop]))] - first
        scores.index_fill_(1, torch.from_numpy(no_items), float("-inf"))
        of_block = np.searchsorted(hidden, [first, stop]) if n_items > ITEMS_AT_ONCE else (0, None)
        seen = slice(*of_block)
        at = torch.from_numpy(which[seen]), torch.from_numpy(hidden[seen] - first)
        scores[at] = float("-inf")
        best.merge(scores, first)
    return best.indices


def top_of_scores(
    scores: torch.Tensor, catalog: ItemCatalog, k: int, seen: NDArray[np.int64]
) -> list[int]:
    """The k best items of one row of scores, without those already seen."""
    masked = scores.clone()
    masked[:, ~catalog.recommendable] = float("-inf")
    masked[:, seen] = float("-inf")
    k = min(k, int((masked > float("-inf")).sum()))
    return [int(i) for i in top_k(masked, k).indices[0]] if k else []
