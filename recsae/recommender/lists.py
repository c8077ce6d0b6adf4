"""Lists of recommendations: what they leave out, whose they are, and what in them is relevant."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.core.topk import top_k

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from numpy.typing import NDArray

    from recsae.core.progress import Progress
    from recsae.recommender.catalog import ItemCatalog
    from recsae.recommender.protocol import EvaluationCases, Recommender
    from recsae.recommender.sequences import Sequences

BATCH = 512


class History(NamedTuple):
    """What n lists leave out: the first ``ends[i]`` items of the sequence ``rows[i]``."""

    sequences: Sequences
    rows: NDArray[np.int64]  # (n,)
    ends: NDArray[np.int64]  # (n,)

    def take(self, part: slice) -> History:
        """The histories of some of the lists."""
        return History(self.sequences, self.rows[part], self.ends[part])

    def hide_in(self, scores: torch.Tensor) -> None:
        """Set the scores ``(n, n_items)`` of these items to -inf, in place."""
        import torch

        which = np.repeat(np.arange(len(self.ends)), self.ends)
        first = np.repeat(np.cumsum(self.ends) - self.ends, self.ends)
        place = self.sequences.offsets[self.rows][which] + np.arange(len(which)) - first
        items = self.sequences.flat[place].astype(np.int64)
        scores[torch.from_numpy(which), torch.from_numpy(items)] = float("-inf")


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
        history.hide_in(scores)
    lists = top_k(scores, min(k, int(catalog.recommendable.sum()))).indices
    return lists.masked_fill(scores.gather(1, lists) == float("-inf"), 0)


def scores_of_groups(
    recommender: Recommender, cases: EvaluationCases, progress: Progress | None = None
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Which groups, and scores ``(m, n_items)`` to rank for them, batch by batch.

    A group is scored once, at its first case. What must not come up has a score of -inf: rows that
    are no items and, if the cases hide the history, what the user had before, but for the targets.
    """
    import torch

    sequences, length = recommender.sequences(), recommender.max_length
    by_group = np.lexsort((cases.ends, cases.groups))
    n = int(cases.groups.max(initial=-1)) + 1
    bounds = np.searchsorted(cases.groups[by_group], np.arange(n + 1))
    first = by_group[bounds[:-1]]
    history = History(sequences, cases.rows[first], cases.ends[first])
    banned = torch.from_numpy(~recommender.catalog.recommendable)
    for start in range(0, n, BATCH):
        part = slice(start, min(start + BATCH, n))
        _, rows, ends = mine = history.take(part)
        batch = sequences.batch(rows, np.maximum(0, ends - length), ends, length)
        scores = recommender.score(batch).masked_fill_(banned, float("-inf"))
        if cases.hides_history:
            asked = by_group[bounds[part.start] : bounds[part.stop]]
            group, target = cases.groups[asked] - part.start, cases.targets[asked]
            where = torch.from_numpy(group), torch.from_numpy(target)
            kept = scores[where]
            mine.hide_in(scores)
            scores[where] = kept
        yield part, scores
        if progress:
            progress(part.stop, n, "cases evaluated")


def hits_in(
    lists: NDArray[np.int64], cases: EvaluationCases
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether the item at each rank ``(n_groups, k)`` is a target, and how many targets there are.

    ``lists (n_groups, k)`` holds the list of each group.
    """
    n = len(lists)
    if len(cases.groups) == n:
        targets = np.empty(n, dtype=np.int64)
        targets[cases.groups] = cases.targets
        return lists == targets[:, None], np.ones(n, dtype=np.int64)
    width = 1 + max(int(lists.max()), int(cases.targets.max()))
    relevant = np.unique(cases.groups * width + cases.targets)
    found = np.isin(np.arange(n)[:, None] * width + lists, relevant)
    return found, np.bincount(relevant // width, minlength=n)
