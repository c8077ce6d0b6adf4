"""Numerical checks of an adapter: causality of states, what scores follow, whether a head fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsae.recommender.protocol import LinearHead, Recommender

if TYPE_CHECKING:
    import torch

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


def share_of_scores(recommender: Recommender, site: str, batch: Batch) -> float:
    """Share of the scores' variance that the states of a site determine; see ``Site.share``.

    Parameters
    ----------
    batch
        Sequences of one length, so that each has as many states as the next one.
    """
    real = recommender.catalog.recommendable
    n = len(batch.lengths)

    def moved(states: torch.Tensor) -> torch.Tensor:
        return states.view(n, -1, states.shape[-1]).roll(1, 0).reshape(states.shape)

    before = recommender.score(batch)[:, real]
    with recommender.edit(moved, site):
        return share_that_follows(before, recommender.score(batch)[:, real])


def share_that_follows(before: torch.Tensor, after: torch.Tensor) -> float:
    """How far scores follow states that were moved from each sequence to the next one.

    ``1 - sum (after - wanted)^2 / sum (before - wanted)^2``, at least 0: 1 if they follow wholly.

    >>> import torch
    >>> scores = torch.tensor([[1.0, 2.0], [3.0, 1.0]])
    >>> share_that_follows(scores, scores.roll(1, 0)), share_that_follows(scores, scores)
    (1.0, 0.0)
    """
    wanted = before.roll(1, 0)
    room = float((before - wanted).square().sum())
    missed = float((after - wanted).square().sum())
    return max(0.0, 1 - missed / room) if room > 0 and missed == missed else 0.0
