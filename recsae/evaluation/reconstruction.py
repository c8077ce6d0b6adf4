"""Does the recommender survive the SAE? Its own evaluation, and every held-out position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.capture.cases import ndcg_of_states, spread
from recsae.capture.forward import lists_of
from recsae.core.intervals import paired_ratio
from recsae.recommender.lists import top_of_states
from recsae.recommender.metrics import (
    kendall_tau,
    ndcg_of_lists,
    rank_biased_overlap,
    ranking_metrics,
)
from recsae.sae.codes import Code
from recsae.sae.editing import insert_reconstruction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.capture.windows import Windows
    from recsae.core.progress import Progress
    from recsae.recommender.protocol import LinearHead, Recommender
    from recsae.sae.model import SAE

BATCH = 4096


def heldout_accuracy(cases: Cases, sae: SAE, head: LinearHead) -> dict[str, Any]:
    """Lists before and after inserting the reconstruction, at every held-out position.

    Intervals are paired and treat users as the unit. The last position of each user is reported
    beside the whole: on a thousand last items alone the interval is several points wide.
    """
    import torch

    with torch.no_grad():
        rebuilt = torch.cat([sae(s) for s in torch.from_numpy(cases.states).split(BATCH)])
    before = cases.top_items.astype(np.int64)
    after = top_of_states(rebuilt, head, cases.catalog, history=cases.seen)
    found = compare_lists(cases, before, after)
    return {**found, "latents_for_99": fewest_latents(cases, sae, head)}


def fewest_latents(
    cases: Cases, sae: SAE, head: LinearHead, share: float = 0.99, limit: int = 20_000
) -> int | None:
    """NDCG-99% sparsity: with how few latents per sequence NDCG@10 is kept to this share.

    Of each sequence only the m most active latents are left; the smallest m is found by halving,
    as more latents keep more. Measured on at most ``limit`` cases, evenly spread; None if all
    that are active together keep less.
    """
    import torch
    from torch.nn import functional as F

    some = cases.take(spread(len(cases), limit))
    with torch.no_grad():
        parts = [sae.encode_sparse(s) for s in torch.from_numpy(some.states).split(BATCH)]
    widest = max(p.values.shape[1] for p in parts)
    values, indices = (  # where the number of active latents varies, parts are of different width
        torch.cat([F.pad(part, (0, widest - part.shape[1])) for part in column])
        for column in zip(*parts, strict=True)
    )
    values, order = values.sort(dim=1, descending=True)
    indices = indices.gather(1, order)
    whole = ndcg_of_lists(some.top_items.astype(np.int64), some.targets).sum()

    def suffice(m: int) -> bool:
        with torch.no_grad():
            rebuilt = sae.decode_sparse(Code(values[:, :m], indices[:, :m]))
        return bool(ndcg_of_states(rebuilt, some, head).sum() >= share * whole)

    few, enough = 0, values.shape[1]
    if not suffice(enough):
        return None
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if suffice(middle) else (middle, enough)
    return enough


def heldout_by_running(
    recommender: Recommender,
    cases: Cases,
    sae: SAE,
    site: str,
    windows: Windows,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The same where scores are not linear in the site: the model runs on from the reconstruction.

    ``windows`` are those that the cases were captured from.
    """
    with recommender.edit(insert_reconstruction(sae), site):
        after = lists_of(recommender, windows, progress)
    found = compare_lists(cases, cases.top_items.astype(np.int64), after)
    return {**found, "latents_for_99": None}


def compare_lists(
    cases: Cases, before: NDArray[np.int64], after: NDArray[np.int64]
) -> dict[str, Any]:
    """Metrics of two sets of lists for the same cases, and how alike the lists are."""
    last = np.r_[cases.user[1:] != cases.user[:-1], True]
    kept, low, high = _ndcg_kept(cases, before, after, np.ones(len(cases), dtype=bool))
    last_kept, last_low, last_high = _ndcg_kept(cases, before, after, last)
    return {
        "base": _means(before, cases),
        "reconstructed": _means(after, cases),
        "ndcg_kept": kept,
        "ndcg_kept_ci": [low, high],
        "last_item_ndcg_kept": last_kept,
        "last_item_ndcg_kept_ci": [last_low, last_high],
        "rbo": float(rank_biased_overlap(before, after).mean()),
        "kendall": float(kendall_tau(before, after).mean()),
        "n_users": cases.n_users,
        "n_positions": len(cases),
    }


def _ndcg_kept(
    cases: Cases, before: NDArray[np.int64], after: NDArray[np.int64], rows: NDArray[np.bool_]
) -> tuple[float, float, float]:
    def per_user(lists: NDArray[np.int64]) -> NDArray[np.float64]:
        values = ndcg_of_lists(lists[rows], cases.targets[rows])
        total = np.bincount(cases.user[rows], values, minlength=cases.n_users)
        return np.asarray(total, dtype=np.float64)

    return paired_ratio(per_user(after), per_user(before))


def _means(lists: NDArray[np.int64], cases: Cases) -> dict[str, float]:
    hits = lists == cases.targets[:, None]
    ones = np.ones(len(hits), dtype=np.int64)
    values = ranking_metrics(hits, ones, ("recall", "ndcg", "mrr"), (10,))
    return {name: float(v.mean()) for name, v in values.items()}
