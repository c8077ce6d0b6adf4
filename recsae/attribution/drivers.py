"""Attributions of a latent or of an item's score to the items of a history, by two methods.

Leaving an item out is exact, but the history is then another one, a place shorter. Integrated
gradients keep the history and move the items' vectors; see
:mod:`recsae.attribution.integrated_gradients`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recsae.attribution.integrated_gradients import (
    Baseline,
    Integrated,
    baseline_vectors,
    integrate,
    vectors_of,
)
from recsae.attribution.score_terms import above_mean
from recsae.core.errors import InvalidInput
from recsae.recommender.sequences import Batch, pad

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from recsae.recommender.protocol import LinearHead, Recommender
    from recsae.sae.model import SAE

ROWS = 64
"""Histories in one forward: bounds the memory."""
N_TOP = 3
"""Items at the top of two attributions that are compared, see :class:`Agreement`."""


@dataclass(frozen=True)
class LeaveOneOut:
    """What q latents and an item's score lose without each of the m items of a history.

    ``preactivations`` and ``activations`` are ``(m, q)``, ``score`` and ``above_mean`` (the score
    less the mean over items) ``(m,)``: the value with the whole history less that without the item,
    so an item with a positive figure drives the latent.
    """

    preactivations: NDArray[np.float64]
    activations: NDArray[np.float64]
    score: NDArray[np.float64]
    above_mean: NDArray[np.float64]


def leave_out(
    recommender: Recommender,
    sae: SAE,
    batch: Batch,
    latents: Sequence[int],
    item: int,
    *,
    site: str | None = None,
) -> LeaveOneOut:
    """Leave each of the m items that the model reads out of one history, all in one batch.

    Older items, beyond what the model reads, do not move up.

    Parameters
    ----------
    batch
        One history of at least two items.
    latents, item
        The latents, and the item whose score is watched, by internal id.
    site
        The site that the SAE was trained on; default the first.

    Raises
    ------
    InvalidInput
        The history has one item, or the model keeps one state for each user.
    """
    history = batch.items[0, : int(batch.lengths[0])].tolist()
    if recommender.sites()[0].per_user:
        raise InvalidInput(
            f"{recommender.name} keeps one state for each user and reads no history, so that no "
            "item can be left out of it."
        )
    if len(history) < 2:
        raise InvalidInput("A history of one item is empty without it, so it cannot be left out.")
    import torch

    variants = [history, *(history[:i] + history[i + 1 :] for i in range(len(history)))]
    every = pad(variants, recommender.max_length, int(batch.users[0]))
    values: list[list[NDArray[np.float64]]] = []
    for rows in np.array_split(np.arange(len(variants)), -(-len(variants) // ROWS)):
        with torch.no_grad():
            states = recommender.represent(_take(every, rows), site)
            pre = sae.preactivations(states)[:, list(latents)]
            active = sae.encode(states)[:, list(latents)]
            scores = recommender.score(_take(every, rows)).double().numpy()
        centred = above_mean(scores, recommender.catalog)[:, item]
        values.append([pre.double().numpy(), active.double().numpy(), scores[:, item], centred])
    whole = (np.concatenate(part) for part in zip(*values, strict=True))
    return LeaveOneOut(*(of_all[0] - of_all[1:] for of_all in whole))


def _take(batch: Batch, rows: NDArray[np.int64]) -> Batch:
    return Batch(*(part[rows].clone() for part in batch))  # some models write into what they read


def integrate_latents(
    recommender: Recommender,
    sae: SAE,
    batch: Batch,
    latents: Sequence[int],
    *,
    baseline: Baseline = "sampled-users",
    site: str | None = None,
) -> Integrated:
    """Integrated gradients of latents' pre-activations by the m items that the model reads.

    Activations themselves cannot be differentiated where latents enter or leave the top k.

    Raises
    ------
    CannotOpenModel
        The model cannot be given vectors in place of items.
    InvalidInput, NotEnoughData
        See :func:`recsae.attribution.integrated_gradients.baseline_vectors`.
    """

    def numbers(states: torch.Tensor) -> torch.Tensor:
        return sae.preactivations(states)[:, list(latents)]

    return _integrated(recommender, batch, numbers, baseline, site)


def integrate_score(
    recommender: Recommender,
    head: LinearHead,
    batch: Batch,
    item: int,
    *,
    baseline: Baseline = "sampled-users",
) -> Integrated:
    """Integrated gradients of an item's score less the mean over items, by the m items read.

    Parameters
    ----------
    head
        The recommender's linear head, by which scores are differentiated.

    Raises
    ------
    CannotOpenModel, InvalidInput, NotEnoughData
        As :func:`integrate_latents`.
    """
    import torch

    real = torch.from_numpy(recommender.catalog.recommendable)
    vector = head.items[item] - head.items[real].mean(0)
    bias = 0.0 if head.bias is None else float(head.bias[item] - head.bias[real].mean())

    def numbers(states: torch.Tensor) -> torch.Tensor:
        return (states @ vector + bias)[:, None]

    return _integrated(recommender, batch, numbers, baseline, None)


def _integrated(
    recommender: Recommender,
    batch: Batch,
    numbers: Callable[[torch.Tensor], torch.Tensor],
    baseline: Baseline,
    site: str | None,
) -> Integrated:
    from torch.nn import functional as F

    vectors = vectors_of(recommender, batch, site)
    begin = baseline_vectors(recommender, baseline, batch)
    behind = batch.items.shape[1] - len(vectors)

    def of_vectors(points: torch.Tensor) -> torch.Tensor:
        many = Batch(
            batch.items.repeat(len(points), 1),
            batch.lengths.repeat(len(points)),
            batch.users.repeat(len(points)),
        )
        padded = F.pad(points, (0, 0, 0, behind))
        return numbers(recommender.represent_from(many, padded, site))

    return integrate(of_vectors, vectors, begin)


@dataclass(frozen=True)
class Agreement:
    """How far two attributions order m history items alike.

    Rank correlations are None where one of the two gives every item the same. ``top`` is how many
    of the ``n_top`` items that one puts first the other does too.
    """

    spearman: float | None
    kendall: float | None
    top: int
    n_top: int


def agreement(left: NDArray[np.float64], right: NDArray[np.float64]) -> Agreement:
    """Compare two attributions ``(m,)`` of the same items.

    >>> agreement(np.array([3.0, 2.0, 1.0, 0.0]), np.array([2.0, 3.0, 1.0, 0.5]))
    Agreement(spearman=0.8, kendall=0.667, top=3, n_top=3)
    """
    from scipy.stats import kendalltau, spearmanr

    n_top = min(N_TOP, len(left))
    first = [set(np.argsort(-values, kind="stable")[:n_top].tolist()) for values in (left, right)]
    flat = bool(np.ptp(left) == 0 or np.ptp(right) == 0)
    rank = [
        None if flat else round(float(measure(left, right).statistic), 3)
        for measure in (spearmanr, kendalltau)
    ]
    return Agreement(rank[0], rank[1], len(first[0] & first[1]), n_top)
