"""What the SAE's reconstruction keeps of the recommender's lists, at every held-out position."""

from __future__ import annotations

from dataclasses import asdict, dataclass
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

STATES_AT_ONCE = 4096
"""States encoded in one go: bounds the memory of dense activations."""
N_FEWEST_CASES = 20_000
"""Cases at most on which the fewest latents are found, evenly spread: bounds the time."""


@dataclass(frozen=True)
class ListComparison:
    """Two sets of lists for the same cases: metrics of both, and how alike they are.

    Intervals are 95 %, paired, users being the unit.
    """

    base: dict[str, float]
    """Mean Recall@10, NDCG@10 and MRR@10 before."""
    reconstructed: dict[str, float]
    """The same after."""
    ndcg_kept: float
    """NDCG@10 after, relative to before."""
    ndcg_kept_ci: tuple[float, float]
    last_item_ndcg_kept: float
    """The same at the last position of each user only."""
    last_item_ndcg_kept_ci: tuple[float, float]
    rbo: float
    """Mean rank-biased overlap of the lists."""
    kendall: float
    """Mean Kendall's tau of the lists."""
    n_users: int
    n_positions: int

    def to_dict(self) -> dict[str, Any]:
        """The figures as files have them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class HeldoutAccuracy:
    """Lists with the reconstruction in place beside those without."""

    lists: ListComparison
    latents_for_99: int | None
    """The fewest latents per sequence that keep 99 % of NDCG@10; None where that is not known."""

    def to_dict(self) -> dict[str, Any]:
        """The figures as files have them."""
        return {**self.lists.to_dict(), "latents_for_99": self.latents_for_99}


def heldout_accuracy(cases: Cases, sae: SAE, head: LinearHead) -> HeldoutAccuracy:
    """Lists before and after inserting the reconstruction, at every held-out position.

    Intervals are paired and treat users as the unit. The last position of each user is reported
    beside the whole: on a thousand last items alone the interval is several points wide.
    """
    from recsae.sae.quality import reconstructed

    rebuilt = reconstructed(sae, cases.states)
    before = cases.top_items.astype(np.int64)
    after = top_of_states(rebuilt, head, cases.catalog, history=cases.seen)
    lists = compare_lists(cases, before, after)
    return HeldoutAccuracy(lists, fewest_latents(cases, sae, head))


def fewest_latents(
    cases: Cases, sae: SAE, head: LinearHead, share: float = 0.99, limit: int = N_FEWEST_CASES
) -> int | None:
    """The fewest latents per sequence that keep this share of NDCG@10: NDCG-99% sparsity.

    Of each sequence only the m most active latents are left; the smallest m is found by halving,
    as more latents keep more. Measured on at most ``limit`` cases, evenly spread; None if all
    that are active together keep less.
    """
    import torch
    from torch.nn import functional as F

    some = cases.take(spread(len(cases), limit))
    with torch.no_grad():
        parts = [sae.encode_sparse(s) for s in torch.from_numpy(some.states).split(STATES_AT_ONCE)]
    widest = max(p.values.shape[1] for p in parts)
    values, indices = (  # where the number of active latents varies, parts are of different width
        torch.cat([F.pad(part, (0, widest - part.shape[1])) for part in column])
        for column in zip(*parts, strict=True)
    )
    values, order = values.sort(dim=1, descending=True)
    indices = indices.gather(1, order)
    whole = ndcg_of_lists(some.top_items.astype(np.int64), some.targets).sum()

    def enough_with(m: int) -> bool:
        with torch.no_grad():
            rebuilt = sae.decode_sparse(Code(values[:, :m], indices[:, :m]))
        return bool(ndcg_of_states(rebuilt, some, head).sum() >= share * whole)

    few, enough = 0, values.shape[1]
    if not enough_with(enough):
        return None
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if enough_with(middle) else (middle, enough)
    return enough


def heldout_by_running(
    recommender: Recommender,
    cases: Cases,
    sae: SAE,
    site: str,
    windows: Windows,
    progress: Progress | None = None,
) -> HeldoutAccuracy:
    """:func:`heldout_accuracy` where scores are not linear in the states of the site.

    The model runs on from the reconstruction. ``windows`` are those that the cases were captured
    from.
    """
    with recommender.edit(insert_reconstruction(sae), site):
        after = lists_of(recommender, windows, progress)
    return HeldoutAccuracy(compare_lists(cases, cases.top_items.astype(np.int64), after), None)


def compare_lists(
    cases: Cases, before: NDArray[np.int64], after: NDArray[np.int64]
) -> ListComparison:
    """Metrics of two sets of lists for the same cases, and how alike the lists are."""
    last = np.r_[cases.user[1:] != cases.user[:-1], True]
    kept, low, high = _ndcg_kept(cases, before, after, np.ones(len(cases), dtype=bool))
    last_kept, last_low, last_high = _ndcg_kept(cases, before, after, last)
    return ListComparison(
        base=_means(before, cases),
        reconstructed=_means(after, cases),
        ndcg_kept=kept,
        ndcg_kept_ci=(low, high),
        last_item_ndcg_kept=last_kept,
        last_item_ndcg_kept_ci=(last_low, last_high),
        rbo=float(rank_biased_overlap(before, after).mean()),
        kendall=float(kendall_tau(before, after).mean()),
        n_users=cases.n_users,
        n_positions=len(cases),
    )


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
