"""The model's own evaluation: which cases, which lists, and the metrics of both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from recsae.core.errors import InvalidInput, NotEnoughData
from recsae.recommender.lists import History
from recsae.recommender.protocol import EvaluationCases

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from numpy.typing import NDArray

    from recsae.core.progress import Progress
    from recsae.recommender.protocol import Recommender
    from recsae.recommender.sequences import Sequences

BATCH = 512
"""Groups that are scored at once."""


def leave_one_out(sequences: Sequences, split: str = "test") -> EvaluationCases:
    """Every user's last item ("test"), or the one before ("valid"), ranked among all items."""
    back = {"test": 1, "valid": 2}.get(split)
    if back is None:
        raise InvalidInput(f"There is no split {split!r}: say 'test' or 'valid'.")
    rows = np.flatnonzero(sequences.lengths > back)
    ends = sequences.lengths[rows] - back
    targets = sequences.flat[sequences.offsets[rows] + ends].astype(np.int64)
    groups, metrics = np.arange(len(rows)), ("recall", "ndcg", "mrr")
    description = f"leave one out ({split}), full ranking"
    return EvaluationCases(rows, ends, targets, groups, None, metrics, (10,), description)


def evaluation_cases(recommender: Recommender) -> EvaluationCases:
    """The recommender's own test cases, or its validation cases where it keeps no test part.

    Recall and NDCG are always among the metrics.
    """
    try:
        cases = recommender.evaluation("test")
    except NotEnoughData:
        cases = recommender.evaluation("valid")
    return replace(cases, metrics=tuple(dict.fromkeys((*cases.metrics, "recall", "ndcg"))))


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
