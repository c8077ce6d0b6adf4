"""Numerical checks of an adapter: that states are causal, and that a head gives the scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsae.recommender.protocol import LinearHead, Recommender

if TYPE_CHECKING:
    from recsae.recommender.sequences import Batch


def is_causal(recommender: Recommender, site: str | None, batch: Batch, atol: float = 1e-4) -> bool:
    """Whether states do not depend on later items, tried by changing the last item.

    Tested on the sequences of ``batch`` and never assumed from the model's name. The state of the
    last position must also be the one that a single forward gives.
    """
    import torch

    rows = batch.lengths >= 2
    if not bool(rows.any()):
        return False
    batch = type(batch)(batch.items[rows], batch.lengths[rows], batch.users[rows])
    n = torch.arange(len(batch.lengths))
    states = recommender.represent(batch, site, positions=True)
    single = recommender.represent(batch, site)
    changed = batch.items.clone()
    last = batch.lengths - 1
    changed[n, last] = torch.where(changed[n, last] == 1, 2, 1)
    after = recommender.represent(batch._replace(items=changed), site, positions=True)
    shorter = batch.items.clone()
    shorter[n, last] = 0
    prefix = recommender.represent(batch._replace(items=shorter, lengths=last), site)
    earlier = torch.arange(batch.items.shape[1]) < last[:, None]
    scale = float(states.abs().max()) or 1.0
    gaps = (
        (states - after)[earlier].abs().max(),
        (states[n, last] - single).abs().max(),
        (states[n, last - 1] - prefix).abs().max(),
    )
    return all(float(gap) <= atol * scale for gap in gaps)


def verify_head(
    recommender: Recommender, head: LinearHead, batch: Batch, rtol: float = 1e-4
) -> bool:
    """Whether the head reproduces the model's own scores on ``batch``, for every real item."""
    import torch

    states = recommender.represent(batch)
    if states.shape[1] != head.items.shape[1]:
        return False
    scores, ours = recommender.score(batch), head.score(states)
    real = torch.from_numpy(recommender.catalog.recommendable)
    if scores.shape != ours.shape:
        return False
    gap = (scores - ours)[:, real].abs().max()
    return bool(gap <= rtol * (scores[:, real].abs().max() + 1e-12))
