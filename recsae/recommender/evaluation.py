"""The model's own evaluation: its cases, the lists for them, and their metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from recsae.core.errors import InvalidInput, NotEnoughData
from recsae.recommender.lists import History, best_items
from recsae.recommender.metrics import ranking_metrics
from recsae.recommender.protocol import EvaluationCases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from numpy.typing import NDArray

    from recsae.core.progress import Progress
    from recsae.recommender.protocol import EvaluationCases, Recommender
    from recsae.recommender.sequences import Sequences

    Values = dict[str, NDArray[np.float64]]

GROUPS_AT_ONCE = 512
"""Groups that are scored at once, or fewer where there are many items."""
MAX_SCORES = 2**24
"""Scores that are held at once: 64 MB."""


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
    are no items and, if the cases filter seen items, what the user had before, but for the targets.
    """
    import torch

    sequences, length = recommender.sequences(), recommender.max_length
    by_group = np.lexsort((cases.ends, cases.groups))
    history = histories_of_groups(recommender, cases)
    n = len(history.rows)
    bounds = np.searchsorted(cases.groups[by_group], np.arange(n + 1))
    banned = torch.from_numpy(~recommender.catalog.recommendable)
    size = min(GROUPS_AT_ONCE, max(1, MAX_SCORES // recommender.catalog.n_items))
    for start in range(0, n, size):
        part = slice(start, min(start + size, n))
        _, rows, ends = mine = history.take(part)
        batch = sequences.batch(rows, np.maximum(0, ends - length), ends, length)
        scores = recommender.score(batch).masked_fill_(banned, float("-inf"))
        if cases.filters_seen:
            in_part = by_group[bounds[part.start] : bounds[part.stop]]
            group, target = cases.groups[in_part] - part.start, cases.targets[in_part]
            where = torch.from_numpy(group), torch.from_numpy(target)
            kept = scores[where]
            mine.mask_seen(scores)
            scores[where] = kept
        yield part, scores
        if progress:
            progress(part.stop, n, "cases evaluated")


def histories_of_groups(recommender: Recommender, cases: EvaluationCases) -> History:
    """The histories that the lists of the groups are made of: those of their first cases."""
    by_group = np.lexsort((cases.ends, cases.groups))
    n = int(cases.groups.max(initial=-1)) + 1
    first = by_group[np.searchsorted(cases.groups[by_group], np.arange(n))]
    return History(recommender.sequences(), cases.rows[first], cases.ends[first])


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
    hits = np.isin(np.arange(n)[:, None] * width + lists, relevant)
    return hits, np.bincount(relevant // width, minlength=n)


def evaluate(
    recommender: Recommender, cases: EvaluationCases, progress: Progress | None = None
) -> Values:
    """The recommender's own evaluation: every metric per group of cases.

    A group has one list and may have several targets. Under an edit the edited model is evaluated.
    Means equal what RecBole's ``Trainer.evaluate`` prints, before its rounding.
    """
    rank = _full_ranking if cases.candidates is None else _sampled_ranking
    hits, n_relevant = hits_in(rank(recommender, cases, progress), cases)
    return ranking_metrics(hits, n_relevant, cases.metrics, cases.topk)


def _full_ranking(
    recommender: Recommender, cases: EvaluationCases, progress: Progress | None
) -> NDArray[np.int64]:
    k = min(max(cases.topk), recommender.catalog.n_items)
    scored = scores_of_groups(recommender, cases, progress)
    return np.concatenate([scores.topk(k, dim=1).indices.numpy() for _, scores in scored])


def _sampled_ranking(
    recommender: Recommender, cases: EvaluationCases, progress: Progress | None
) -> NDArray[np.int64]:
    """Only the sampled candidates of a group are ranked; each is scored by its own case.

    Lists of groups with fewer candidates end with 0.
    """
    import torch

    pairs = cases.candidates
    if pairs is None:
        raise ValueError("no candidates")
    by_case = pairs[np.argsort(pairs[:, 0], kind="stable")]
    bounds = np.searchsorted(by_case[:, 0], np.arange(len(cases.rows) + 1))
    value = np.empty(len(by_case), dtype=np.float32)
    alone = replace(cases, groups=np.arange(len(cases.rows)), filters_seen=False)
    for part, scores in scores_of_groups(recommender, alone, progress):
        mine = slice(bounds[part.start], bounds[part.stop])
        case, item = torch.from_numpy(by_case[mine].T.copy())
        value[mine] = scores[case - part.start, item].numpy()
    group, item = cases.groups[by_case[:, 0]], by_case[:, 1]
    n_items, k = recommender.catalog.n_items, max(cases.topk)
    # of an item that is a candidate in several cases of a group the last score counts
    last = len(item) - 1 - np.unique((group * n_items + item)[::-1], return_index=True)[1]
    order = last[np.lexsort((-value[last], group[last]))]
    place = np.arange(len(order)) - np.searchsorted(group[order], group[order])
    lists = np.zeros((int(cases.groups.max()) + 1, min(k, n_items)), dtype=np.int64)
    inside = place < lists.shape[1]
    lists[group[order][inside], place[inside]] = item[order][inside]
    return lists


def keep_groups(cases: EvaluationCases, groups: NDArray[np.int64]) -> EvaluationCases:
    """The cases of some groups (sorted), with the candidates that were drawn for them."""
    keep = np.isin(cases.groups, groups)
    candidates = cases.candidates
    if candidates is not None:
        mine = candidates[keep[candidates[:, 0]]]
        candidates = np.stack([(np.cumsum(keep) - 1)[mine[:, 0]], mine[:, 1]], axis=1)
    return replace(
        _kept(cases, keep),
        groups=np.searchsorted(groups, cases.groups[keep]),
        candidates=candidates,
    )


def restrict(cases: EvaluationCases, keep: NDArray[np.bool_]) -> EvaluationCases:
    """The cases of some users only, ranked in full.

    Groups stay together, but for cases that only shared a list of sampled candidates: in full,
    each of them has a list of its own, unless lists are of users and leave out their histories.
    """
    together = cases.candidates is None or cases.filters_seen
    groups = cases.groups[keep] if together else np.arange(int(keep.sum()))
    return replace(
        _kept(cases, keep),
        groups=np.unique(groups, return_inverse=True)[1],
        candidates=None,
        metrics=tuple(dict.fromkeys((*cases.metrics, "ndcg"))),
    )


def _kept(cases: EvaluationCases, keep: NDArray[np.bool_]) -> EvaluationCases:
    """Some of the cases; groups and candidates are still those of all."""
    return replace(cases, rows=cases.rows[keep], ends=cases.ends[keep], targets=cases.targets[keep])


def top_lists(
    recommender: Recommender,
    cases: EvaluationCases,
    rank: Callable[[torch.Tensor, int, History], torch.Tensor] | None = None,
) -> NDArray[np.int64]:
    """``(n_groups, k)`` what the recommender puts on top for each group, edits applied.

    Items of the history are left out if the cases say so; see
    :func:`recsae.recommender.lists.best_items`. ``rank`` makes lists of k out of scores
    ``(n, n_items)`` and their histories instead, where what is left out has -inf.
    """
    k, catalog = list_length(recommender, cases), recommender.catalog
    rank = rank or (lambda scores, n, _: best_items(scores, catalog, n))
    histories = histories_of_groups(recommender, cases)
    scored = scores_of_groups(recommender, cases)
    return np.concatenate([rank(s, k, histories.take(part)).numpy() for part, s in scored])


def list_length(recommender: Recommender, cases: EvaluationCases) -> int:
    """How many items are put on top: as many as the metrics look at, or all there are."""
    return min(max(cases.topk), int(recommender.catalog.recommendable.sum()))
