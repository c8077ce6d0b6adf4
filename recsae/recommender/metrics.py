"""Ranking metrics by RecBole's definitions, and how alike two lists are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def ranking_metrics(
    hits: NDArray[np.bool_],
    n_relevant: NDArray[np.int64],
    metrics: tuple[str, ...],
    ks: tuple[int, ...],
) -> dict[str, NDArray[np.float64]]:
    """Each metric at each k, per case.

    Parameters
    ----------
    hits
        ``(n, K)`` whether the item at each rank is relevant.
    n_relevant
        ``(n,)`` number of relevant items.

    >>> ranking_metrics(np.array([[False, True]]), np.array([1]), ("recall", "mrr"), (2,))
    {'recall@2': array([1.]), 'mrr@2': array([0.5])}
    """
    n_ranks = hits.shape[1]
    rank = np.arange(1, n_ranks + 1)
    gain = hits / np.log2(rank + 1)
    ideal = np.cumsum(1 / np.log2(rank + 1))
    values: dict[str, NDArray[np.float64]] = {}
    for metric in metrics:
        for k in ks:
            top = min(k, n_ranks)
            first = hits[:, :top]
            if metric == "recall":
                value = first.sum(1) / n_relevant
            elif metric == "precision":
                value = first.sum(1) / k
            elif metric == "hit":
                value = first.any(1).astype(float)
            elif metric == "mrr":
                value = np.where(first.any(1), 1 / (first.argmax(1) + 1), 0.0)
            elif metric == "ndcg":
                value = gain[:, :top].sum(1) / ideal[np.minimum(n_relevant, top) - 1]
            else:
                raise ValueError(f"unknown metric {metric!r}")
            values[f"{metric}@{k}"] = np.asarray(value, dtype=np.float64)
    return values


def ndcg_of_lists(
    lists: NDArray[np.integer[Any]], targets: NDArray[np.int32]
) -> NDArray[np.float64]:
    """NDCG of lists ``(n, k)`` with one relevant item each, ``(n,)``."""
    hits = lists == targets[:, None]
    return (hits / np.log2(np.arange(2, lists.shape[1] + 2))).sum(1)  # type: ignore[no-any-return]


def ndcg_of_places(places: NDArray[np.int64], k: int = 10) -> NDArray[np.float64]:
    """NDCG@k of cases with one relevant item each, by its place ``(n,)`` from 0 on.

    >>> ndcg_of_places(np.array([0, 10])).tolist()
    [1.0, 0.0]
    """
    return np.where(places < k, 1 / np.log2(places + 2), 0.0)


def rank_biased_overlap(
    left: NDArray[np.int64], right: NDArray[np.int64], p: float = 0.9
) -> NDArray[np.float64]:
    """Rank-biased overlap of two lists per row, truncated at their length and normalised to 1.

    Webber, Moffat & Zobel 2010: sum over depths d of ``p^(d-1) |left[:d] & right[:d]| / d``.
    """
    k = left.shape[1]
    same = left[:, :, None] == right[:, None, :]
    same &= (left > 0)[:, :, None] | np.eye(k, dtype=bool)  # 0, where a list has ended, is no item
    depth = np.maximum(np.arange(k)[:, None], np.arange(k)[None, :])
    new = np.stack([(same & (depth == d)).sum((1, 2)) for d in range(k)], axis=1)
    weights = p ** np.arange(k)
    agreement = np.cumsum(new, axis=1) / np.arange(1, k + 1)
    return (agreement * weights).sum(1) / weights.sum()  # type: ignore[no-any-return]


def kendall_tau(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Kendall's tau of two top lists per row, ``(n,)``: 1 if they are the same, -1 if disjoint.

    Pairs that the lists order differently count 1, and so do pairs of which one item is missing
    in a list that therefore ranks it last; pairs that are missing in the other list count 1/2
    (Fagin, Kumar & Sivakumar 2003, "Comparing Top k Lists", p = 1/2). The sum is divided by what
    disjoint lists have.
    """
    n, k = left.shape
    apart, most = np.zeros(n), np.zeros(n)
    ranks = {}
    for name, one, other in (("left", left, right), ("right", right, left)):
        same = (one[:, :, None] == other[:, None, :]) & (one > 0)[:, :, None]
        ranks[name] = np.where(same.any(2), same.argmax(2), k), one > 0
    for name, (rank, known) in ranks.items():
        for first in range(k):
            for second in range(first + 1, k):
                earlier, later = rank[:, first], rank[:, second]
                missing = (earlier == k) & (later == k)
                turned = earlier > later
                if name == "right":  # pairs that are in both lists are counted already
                    turned &= earlier == k
                pair = known[:, second]
                apart += pair * (turned + 0.5 * missing)
                most += 0.5 * pair
    alone = {name: ((rank == k) & known).sum(1) for name, (rank, known) in ranks.items()}
    apart += alone["left"] * alone["right"]
    most += ranks["left"][1].sum(1) * ranks["right"][1].sum(1)
    return 1 - 2 * apart / np.maximum(most, 1)  # type: ignore[no-any-return]
