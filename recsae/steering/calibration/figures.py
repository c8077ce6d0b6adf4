"""How far lists are from the users' own histories: Steck's divergence, and popularity quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.lists import History

ALPHA = 0.01
"""So much of the other distribution is mixed into one, so that no value has a share of 0."""
LEVELS = np.arange(1, 10) / 10
"""Quantiles of a history's popularity at which the list is looked at."""


def mixed(shares: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Shares ``(..., V)`` with a little of the other ones."""
    return (1 - ALPHA) * shares + ALPHA * other


def divergence(target: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence ``(...)`` of lists from targets, both shares ``(..., V)``.

    ``sum p log(p / q')`` with ``q' = (1 - ALPHA) q + ALPHA p`` (Steck 2018, section 3): 0 where
    they are equal, at most ``-log ALPHA``. 0 where a target is empty: a history without any value
    asks for nothing.

    >>> float(divergence(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5])))
    0.0
    """
    there = target > 0
    ratio = torch.where(there, target, 1) / torch.where(there, mixed(shares, target), 1)
    return (target * ratio.log()).sum(-1)


def quantile_error(
    popularity: NDArray[np.int64], histories: History, lists: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Popularity quantile calibration error ``(n,)`` of lists ``(n, k)``.

    At each of nine quantiles of the popularity of a history's items: the part of the list that is
    less popular than that, and half of the part that is just as popular, less the same part of the
    history; the mean of the absolute differences (after the popularity quantile calibration of
    Schirmer et al. 2026). ``popularity (n_items,)`` counts interactions.
    """
    which, _, items = histories.sequences.first_items(histories.rows, histories.ends)
    own = popularity[items]
    own = own[np.lexsort((own, which))]
    starts = np.cumsum(histories.ends) - histories.ends
    place = np.ceil(LEVELS * histories.ends[:, None] - 1e-9).astype(np.int64) - 1
    bounds = own[starts[:, None] + place]
    error = np.zeros(len(bounds))
    in_list = popularity[lists]
    for level in range(bounds.shape[1]):
        bound = bounds[:, level]
        there = np.bincount(which, _below(own, bound[which]), minlength=len(bounds))
        error += np.abs(_below(in_list, bound[:, None]).mean(1) - there / histories.ends)
    return np.asarray(error / bounds.shape[1])


def _below(values: NDArray[np.int64], bounds: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 for what is below its bound, a half for what is at it."""
    return np.asarray(((values < bounds).astype(float) + (values <= bounds)) / 2)
